/*
 * gguf_words.c - the tokenizer that a GGUF file's metadata describes, written as the files of a folder that it stands for.
 *
 *   tokenizer.ggml.model   gpt2    ─► tokenizer.json: byte-level BPE of tokens and merges; tokenizer.ggml.pre says how texts are
 *                                     split (patterns below)
 *                          llama   ─► tokenizer.model: SentencePiece's pieces with their scores and types
 *   ...bos_token_id and the like, chat_template, add_bos_token, add_space_prefix ─► tokenizer_config.json
 *
 * So everything after this is what folders go through. As llama.cpp has it: a file of kind llama begins texts with bos, and puts a
 * blank before them and behind every special token, unless it says otherwise. Types of tokens: 3 control (special), 4 given by the
 * user (cut out of texts, but not special).
 */
#include <string.h>

#include "files/gguf.h"
#include "text/text_inside.h"

enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER = 4 };

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define AFTER "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* How texts are split: a pattern of words, or GPT-2's own (NULL), after single digits where that is said. */
static const struct pre_row {
	const char *names; /* of tokenizer.ggml.pre, each between blanks */
	const char *pattern;
	bool digits, whole; /* whole: a word that is a token is not merged */
	bool form;          /* texts in the composed form (NFC) first */
	bool bos;           /* bos before a text, unless the file says otherwise */
} pres[] = {
	{.names = " default gpt-2 gpt2 phi-2 mpt olmo jais jina-es jina-de jina-v2-code gigachat roberta-bpe trillion "},
	{.names = " smollm starcoder refact command-r codeshell exaone minerva-7b ", .digits = true},
	{.names = " llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 dbrx smaug-bpe ",
		.pattern = CONTRACTIONS "|" BEFORE "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" AFTER, .whole = true, .bos = true},
	{.names = " qwen2 deepseek-r1-qwen megrez kormo stablelm2 hunyuan ",
		.pattern = CONTRACTIONS "|" BEFORE "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" AFTER, .form = true},
	{.names = " tekken ", .pattern = BEFORE UPPER "*" LOWER "+|" BEFORE UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" AFTER, .whole = true},
	{.names = " gpt-4o llama4 kanana2 ",
		.pattern = BEFORE UPPER "*" LOWER "+" CONTRACTIONS "?|" BEFORE UPPER "+" LOWER "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" AFTER},
};

typedef struct {
	const gguf *g;
	const gguf_value *tokens, *types;
	buf out;
	rebus_error *err;
} words;

static rebus_status words_wrong(const words *w, const char *key, const char *what)
{
	return error_set(w->err, REBUS_FORMAT, "%s: tokenizer.ggml.%s: %s", gguf_name(w->g), key, what);
}

static int64_t type_of(const words *w, uint64_t i)
{
	int64_t type = TYPE_NORMAL;
	gguf_int(w->types, i, &type);
	return type;
}

static bool flag_or(const words *w, const char *key, bool otherwise)
{
	gguf_flag(gguf_find(w->g, key), &otherwise);
	return otherwise;
}

static const char *truth(bool yes)
{
	return yes ? "true" : "false";
}

/* ------------------------------------------------------------------------------------------------ byte-level BPE */
static rebus_status find_pre(const words *w, const struct pre_row **out)
{
	size_t n = 0;
	const char *name = gguf_text(gguf_find(w->g, "tokenizer.ggml.pre"), &n);
	*out = &pres[0];
	if (!name)
		return REBUS_OK;
	for (size_t i = 0; i < COUNT_OF(pres); i++)
		for (const char *at = pres[i].names; at[1]; at += 1 + strcspn(at + 1, " "))
			if (strcspn(at + 1, " ") == n && !memcmp(at + 1, name, n)) {
				*out = &pres[i];
				return REBUS_OK;
			}
	return error_set(w->err, REBUS_UNSUPPORTED, "%s: tokenizer.ggml.pre: %.*s, expected the way a known model splits texts, such as llama-bpe or qwen2",
		gguf_name(w->g), (int)int_min((int64_t)n, 40), name);
}

static void write_split(words *w, const struct pre_row *pre)
{
	buf *b = &w->out;
	buf_text(b, ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
	if (pre->digits)
		buf_text(b, "{\"type\":\"Digits\",\"individual_digits\":true},");
	if (pre->pattern) {
		buf_text(b, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
		buf_json(b, pre->pattern, strlen(pre->pattern));
		buf_text(b, "},\"behavior\":\"Isolated\",\"invert\":false},");
	}
	buf_format(b, "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"use_regex\":%s}]}", truth(flag_or(w, "tokenizer.ggml.add_space_prefix", false)),
		truth(!pre->pattern));
}

static void write_added(words *w)
{
	gguf_texts it = gguf_each(w->tokens);
	buf_text(&w->out, "\"added_tokens\":[");
	bool first = true;
	for (uint64_t i = 0; gguf_next(&it); i++) {
		int64_t type = type_of(w, i);
		if (type != TYPE_CONTROL && type != TYPE_USER)
			continue;
		buf_format(&w->out, "%s{\"id\":%llu,\"content\":", first ? "" : ",", (unsigned long long)i);
		buf_json(&w->out, it.text, it.size);
		buf_format(&w->out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":%s}", truth(type == TYPE_CONTROL));
		first = false;
	}
	buf_text(&w->out, "]");
}

/* The text of the token that a value names; NULL: none */
static const char *named(const words *w, const char *key, size_t *size)
{
	int64_t id;
	if (!gguf_int(gguf_find(w->g, key), 0, &id))
		return NULL;
	gguf_texts it = gguf_each(w->tokens);
	for (int64_t i = 0; gguf_next(&it); i++)
		if (i == id) {
			*size = it.size;
			return it.text;
		}
	return NULL;
}

static void write_ends(words *w, const struct pre_row *pre)
{
	static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"};
	static const char *const flags[] = {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"};
	const char *text[2];
	size_t size[2] = {0};
	for (int i = 0; i < 2; i++)
		text[i] = flag_or(w, flags[i], !i && pre->bos) ? named(w, keys[i], &size[i]) : NULL;
	if (!text[0] && !text[1])
		return;
	buf *b = &w->out;
	buf_text(b, ",\"post_processor\":{\"type\":\"TemplateProcessing\"");
	for (int pair = 0; pair < 2; pair++) {
		buf_text(b, pair ? ",\"pair\":[" : ",\"single\":[");
		for (int sequence = 0; sequence <= pair; sequence++) {
			buf_text(b, sequence ? "," : "");
			for (int part = 0; part < 3; part++) {
				const char *end = part == 1 ? NULL : text[part / 2];
				if (part == 1) {
					buf_format(b, "{\"Sequence\":{\"id\":\"%c\",\"type_id\":%d}}", 'A' + sequence, sequence);
				} else if (end) {
					buf_text(b, part ? "," : "");
					buf_text(b, "{\"SpecialToken\":{\"id\":");
					buf_json(b, end, size[part / 2]);
					buf_format(b, ",\"type_id\":%d}}%s", sequence, part ? "" : ",");
				}
			}
		}
		buf_text(b, "]");
	}
	buf_text(b, ",\"special_tokens\":{");
	for (int i = 0, n = 0; i < 2; i++) {
		int64_t id = 0;
		if (!text[i] || (i && text[0] && size[0] == size[1] && !memcmp(text[0], text[1], size[0])))
			continue;
		gguf_int(gguf_find(w->g, keys[i]), 0, &id);
		buf_text(b, n++ ? "," : "");
		buf_json(b, text[i], size[i]);
		buf_text(b, ":{\"id\":");
		buf_json(b, text[i], size[i]);
		buf_format(b, ",\"ids\":[%lld],\"tokens\":[", (long long)id);
		buf_json(b, text[i], size[i]);
		buf_text(b, "]}");
	}
	buf_text(b, "}}");
}

static rebus_status write_bpe(words *w)
{
	const struct pre_row *pre;
	const gguf_value *merges = gguf_find(w->g, "tokenizer.ggml.merges");
	rebus_status status = find_pre(w, &pre);
	if (status)
		return status;
	if (!merges || !merges->list || merges->kind != GGUF_TEXT)
		return words_wrong(w, "merges", "missing, expected a list of texts");
	buf *b = &w->out;
	buf_text(b, "{");
	write_added(w);
	if (pre->form)
		buf_text(b, ",\"normalizer\":{\"type\":\"NFC\"}");
	write_split(w, pre);
	write_ends(w, pre);
	buf_format(b, ",\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":{", truth(pre->whole));
	gguf_texts it = gguf_each(w->tokens);
	for (uint64_t i = 0; gguf_next(&it); i++) {
		buf_text(b, i ? "," : "");
		buf_json(b, it.text, it.size);
		buf_format(b, ":%llu", (unsigned long long)i);
	}
	buf_text(b, "},\"merges\":[");
	it = gguf_each(merges);
	for (uint64_t i = 0; gguf_next(&it); i++) {
		buf_text(b, i ? "," : "");
		buf_json(b, it.text, it.size);
	}
	buf_text(b, "]}}");
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ SentencePiece */
static void put_varint(buf *b, uint64_t x)
{
	for (; x >= 128; x >>= 7)
		buf_byte(b, (int)(x & 127) | 128);
	buf_byte(b, (int)x);
}

static size_t varint_size(uint64_t x)
{
	size_t n = 1;
	for (; x >= 128; x >>= 7)
		n++;
	return n;
}

/* SentencePiece makes merges of the order of ids; scores that fall with them say the same. */
static rebus_status write_pieces(words *w)
{
	const gguf_value *scores = gguf_find(w->g, "tokenizer.ggml.scores");
	buf *b = &w->out;
	gguf_texts it = gguf_each(w->tokens);
	double last = 0;
	bool begun = false;
	for (uint64_t i = 0; gguf_next(&it); i++) {
		double score = 0;
		int64_t type = type_of(w, i);
		if (scores && !gguf_real(scores, i, &score))
			return words_wrong(w, "scores", "expected a number for each token");
		if (type == TYPE_NORMAL && begun && score > last)
			return error_set(w->err, REBUS_UNSUPPORTED, "%s: tokenizer.ggml.scores: number %llu is greater than the one before, expected scores that fall",
				gguf_name(w->g), (unsigned long long)i);
		if (type == TYPE_NORMAL) {
			last = score;
			begun = true;
		}
		float f = (float)score;
		buf_byte(b, 1 << 3 | 2);
		put_varint(b, 1 + varint_size(it.size) + it.size + 5 + 2);
		buf_byte(b, 1 << 3 | 2);
		put_varint(b, it.size);
		buf_add(b, it.text, it.size);
		buf_byte(b, 2 << 3 | 5);
		buf_add(b, &f, sizeof f);
		buf_byte(b, 3 << 3);
		buf_byte(b, (int)(type >= TYPE_NORMAL && type <= 6 ? type : TYPE_NORMAL));
	}
	static const char bpe[] = {2 << 3 | 2, 2, 3 << 3, 2}; /* TrainerSpec: model_type 2 */
	buf_add(b, bpe, sizeof bpe);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ tokenizer_config.json */
static void write_config(const words *w, bool pieces, buf *b)
{
	static const char *const keys[][2] = {{"bos_token", "tokenizer.ggml.bos_token_id"}, {"eos_token", "tokenizer.ggml.eos_token_id"},
		{"unk_token", "tokenizer.ggml.unknown_token_id"}, {"sep_token", "tokenizer.ggml.seperator_token_id"},
		{"pad_token", "tokenizer.ggml.padding_token_id"}, {"mask_token", "tokenizer.ggml.mask_token_id"}};
	buf_format(b, "{\"tokenizer_class\":\"%s\",\"clean_up_tokenization_spaces\":false", pieces ? "LlamaTokenizer" : "PreTrainedTokenizerFast");
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		size_t n;
		const char *text = named(w, keys[i][1], &n);
		if (!text)
			continue;
		buf_format(b, ",\"%s\":", keys[i][0]);
		buf_json(b, text, n);
	}
	if (pieces) {
		bool prefix = flag_or(w, "tokenizer.ggml.add_space_prefix", true);
		buf_format(b, ",\"legacy\":%s,\"add_prefix_space\":%s,\"add_bos_token\":%s,\"add_eos_token\":%s", truth(prefix), truth(prefix),
			truth(flag_or(w, "tokenizer.ggml.add_bos_token", true)), truth(flag_or(w, "tokenizer.ggml.add_eos_token", false)));
	}
	size_t n;
	const char *chat = gguf_text(gguf_find(w->g, "tokenizer.chat_template"), &n);
	if (chat) {
		buf_text(b, ",\"chat_template\":");
		buf_json(b, chat, n);
	}
	buf_text(b, "}");
}

static rebus_status check_tokens(const words *w)
{
	if (!w->tokens || !w->tokens->list || w->tokens->kind != GGUF_TEXT || w->tokens->count > TEXT_VOCABULARY_MOST)
		return words_wrong(w, "tokens", "expected a list of at most 2097152 texts");
	if (w->types && (!w->types->list || w->types->count != w->tokens->count))
		return words_wrong(w, "token_type", "expected a number for each token");
	gguf_texts it = gguf_each(w->tokens);
	while (gguf_next(&it))
		if (it.size > TEXT_TOKEN_MOST || !utf8_valid(it.text, it.size))
			return words_wrong(w, "tokens", "a token is not UTF-8, or longer than 65536 bytes");
	return REBUS_OK;
}

bool text_gguf_exists(const gguf *g)
{
	return gguf_find(g, "tokenizer.ggml.model") != NULL && gguf_find(g, "tokenizer.ggml.tokens") != NULL;
}

rebus_status text_open_gguf(arena *a, const gguf *g, tokenizer **out, rebus_error *err)
{
	rebus_status status;
	size_t n = 0;
	words w = {.g = g, .tokens = gguf_find(g, "tokenizer.ggml.tokens"), .types = gguf_find(g, "tokenizer.ggml.token_type"), .err = err};
	const char *model = gguf_text(gguf_find(g, "tokenizer.ggml.model"), &n);
	bool pieces = model && text_is(model, n, "llama");
	buf config;
	buf_init(&w.out, a->from, TEXT_FILE_MOST);
	buf_init(&config, a->from, TEXT_FILE_MOST);
	if (!model || (!pieces && !text_is(model, n, "gpt2"))) {
		status = error_set(err, REBUS_UNSUPPORTED, "%s: tokenizer.ggml.model: %.*s, expected gpt2 or llama", gguf_name(g), (int)int_min((int64_t)n, 40),
			model ? model : "");
		goto done;
	}
	TRY(check_tokens(&w));
	TRY(pieces ? write_pieces(&w) : write_bpe(&w));
	write_config(&w, pieces, &config);
	TRY(buf_check(&w.out, err, "the vocabulary"));
	TRY(buf_check(&config, err, "the vocabulary"));
	text_files f = {.tokenizer_config = config.data, .tokenizer_config_size = config.size};
	if (pieces) {
		f.sentencepiece = (text_file){w.out.data, w.out.size};
		f.sentencepiece_name = gguf_name(g);
	} else {
		f.tokenizer_json = w.out.data;
		f.tokenizer_json_size = w.out.size;
	}
	status = text_open_memory(a, &f, out, err);
	if (status)
		status = error_prefix(err, status, "%s", gguf_name(g));
done:
	buf_free(&w.out);
	buf_free(&config);
	return status;
}
