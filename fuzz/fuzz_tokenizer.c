/*
 * fuzz_tokenizer.c - hostile tokenizer files, and hostile texts for good ones.
 *
 *   input = tokenizer.json [ NUL tokenizer_config.json [ NUL text ] ]      without a text the file itself is the text
 *         | M SentencePiece model                                         read for each class that reads one
 *         | V vocab.txt | W vocab.json NUL merges.txt
 *
 * What opens is used: the text is encoded with and without special tokens and as a pair, the ids are decoded at once and one
 * by one, every text and piece must be valid UTF-8, and all tokens are spelled.
 */
#include "text/spellings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MOST = 4096 };

static void decode(const tokenizer *t, const ids *list)
{
	buf whole;
	text_stream stream;
	const char *piece;
	size_t size;
	buf_init(&whole, NULL, 1 << 24);
	rebus_status status = text_decode(t, ids_data(list), ids_count(list), true, &whole, NULL);
	if (status == REBUS_OK && whole.size && !utf8_valid(whole.data, whole.size))
		abort();
	text_stream_begin(&stream, t, true);
	bool good = true;
	for (size_t i = 0; i < ids_count(list) && i < 512 && good; i++) {
		good = text_stream_push(&stream, ids_data(list)[i], &piece, &size, NULL) == REBUS_OK;
		if (good && !utf8_valid(piece, size))
			abort();
	}
	if (good && text_stream_end(&stream, &piece, &size, NULL) == REBUS_OK && !utf8_valid(piece, size))
		abort();
	text_stream_free(&stream);
	buf_free(&whole);
}

/* The spellings of all tokens are in order, none is empty, and each says what it shares with the one before. */
static void spell(const tokenizer *t, arena *a)
{
	spellings s;
	if (text_spellings(t, a, text_spells_first(t), &s, NULL))
		return;
	for (size_t i = 0; i < s.count; i++) {
		const spelling *x = &s.list[i], *last = i ? x - 1 : x;
		const char *mine = s.bytes + x->at, *before = s.bytes + last->at;
		if (!x->size || x->size > SPELLING_MOST || x->common > x->size || x->common > last->size || memcmp(mine, before, x->common) != 0)
			abort();
		if (i && x->common < last->size && (x->common == x->size || (unsigned char)mine[x->common] < (unsigned char)before[x->common]))
			abort();
	}
}

static void use(const text_files *f, const char *text, size_t text_size)
{
	arena a;
	tokenizer *t = NULL;
	ids list, types;
	arena_init(&a, NULL, 64 << 20);
	ids_init(&list, NULL, 1 << 20);
	ids_init(&types, NULL, 1 << 20);
	if (text_open_memory(&a, f, &t, NULL) == REBUS_OK) {
		text_encode(t, text, text_size, true, &list, NULL);
		text_encode_pair(t, text, text_size / 2, text + text_size / 2, text_size - text_size / 2, false,
			text_size % 2 ? (int64_t)text_size / 3 : INT64_MAX, &list, &types, NULL);
		decode(t, &list);
		spell(t, &a);
	}
	text_close(t);
	ids_free(&list);
	ids_free(&types);
	arena_free(&a);
}

/* Older files, for each class that reads them; the file's own bytes are the text. */
static void use_old(char kind, const char *s, size_t size)
{
	static const char *const classes[] = {"{\"tokenizer_class\":\"T5Tokenizer\"}", "{\"tokenizer_class\":\"LlamaTokenizer\"}",
	                                      "{\"tokenizer_class\":\"GemmaTokenizer\"}", "{\"tokenizer_class\":\"PreTrainedTokenizerFast\"}",
	                                      "{\"tokenizer_class\":\"BertTokenizer\"}",
	                                      "{\"tokenizer_class\":\"CLIPTokenizer\"}"};
	static const struct {
		char kind;
		size_t from, end;
	} reads[] = {{'M', 0, 4}, {'V', 4, 5}, {'W', 5, 6}};
	const char *nul = kind == 'W' && size ? memchr(s, 0, size) : NULL;
	size_t first = nul ? (size_t)(nul - s) : size;
	text_files f = {.sentencepiece_name = "spiece.model"};
	if (kind == 'M')
		f.sentencepiece = (text_file){s, size};
	if (kind == 'V')
		f.vocab_txt = (text_file){s, size};
	if (kind == 'W') {
		f.vocab_json = (text_file){s, first};
		f.merges_txt = nul ? (text_file){nul + 1, size - first - 1} : (text_file){"", 0};
	}
	for (size_t k = 0; k < COUNT_OF(reads); k++)
		for (size_t i = reads[k].from; i < reads[k].end && kind == reads[k].kind; i++) {
			f.tokenizer_config = classes[i];
			f.tokenizer_config_size = strlen(classes[i]);
			use(&f, s, size > TEXT_MOST ? TEXT_MOST : size);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;
	if (size && (s[0] == 'M' || s[0] == 'V' || s[0] == 'W')) {
		use_old(s[0], s + 1, size - 1);
		return 0;
	}
	text_files f = {.tokenizer_json = s, .tokenizer_json_size = size};
	const char *text = s;
	size_t text_size = size;
	const char *nul = size ? memchr(s, 0, size) : NULL;
	if (nul) {
		f.tokenizer_json_size = (size_t)(nul - s);
		f.tokenizer_config = nul + 1;
		f.tokenizer_config_size = size - f.tokenizer_json_size - 1;
		nul = f.tokenizer_config_size ? memchr(nul + 1, 0, f.tokenizer_config_size) : NULL;
	}
	if (nul) {
		f.tokenizer_config_size = (size_t)(nul - f.tokenizer_config);
		text = nul + 1;
		text_size = size - (size_t)(text - s);
	}
	if (f.tokenizer_config && !f.tokenizer_config_size)
		f.tokenizer_config = NULL;
	text_size = text_size > TEXT_MOST ? TEXT_MOST : text_size;
	use(&f, text, text_size);
	return 0;
}
