/*
 * vocab_files.c - folders without tokenizer.json: older files, written as the tokenizer.json that they stand for.
 *
 *   GPT2Tokenizer CLIPTokenizer Qwen2Tokenizer    vocab.json, merges.txt         BPE
 *   BertTokenizer                                 vocab.txt, a token a line      WordPiece
 *   T5Tokenizer                                   spiece.model                   Unigram, Precompiled, control and user tokens
 *   SiglipTokenizer                               spiece.model                   Unigram, its own normal form, then Precompiled
 *   LlamaTokenizer GemmaTokenizer Siglip2...      tokenizer.model                BPE, its merges made of the pieces
 *   the plain class (Mistral, Phi-3)              tokenizer.model                BPE or Unigram, as it was trained
 *
 * For the plain class a whole file is written, of what the model says: U+2581 for blanks after Precompiled, no pre-tokenizer,
 * blanks again when decoding (with bytes where it has them), its unknown, first and last token. For the others
 * only the vocabulary is written; a class that reads such files rebuilds all other parts (class_rules.c). Control and user tokens
 * of a SentencePiece model stand under "pieces_added", which special_tokens.c reads. Merges of a SentencePiece model are
 * all splits of a piece into two pieces, by the id of the whole, then by the length of the left part (bpe.c makes them).
 *
 * Reference: transformers 5.23.0, tokenization_utils_tokenizers.py (convert_to_native_format) and convert_slow_tokenizer.py
 * (SentencePieceExtractor, T5Converter, build_tokenizer_from_spm_proto). Of other files the plain class makes nothing.
 */
#include <string.h>

#include "text/sentencepiece.h"
#include "text/text_inside.h"

enum { MADE_VALUES_MOST = 20 << 20, VOCAB_VALUES_MOST = 4 << 20 };

/* ------------------------------------------------------------------------------------------------ lines */
/* The next line of s without its end. */
static bool next_line(const char *s, size_t n, size_t *at, text_span *line)
{
	if (*at >= n)
		return false;
	const char *end = memchr(s + *at, '\n', n - *at);
	size_t size = end ? (size_t)(end - s) - *at : n - *at;
	*line = (text_span){s + *at, size};
	*at += size + 1;
	if (end && line->n && line->s[line->n - 1] == '\r')
		line->n--;
	return true;
}

static size_t trimmed(text_span line)
{
	size_t n = line.n;
	while (n) {
		size_t at = n - 1;
		uint32_t cp;
		while (at && ((unsigned char)line.s[at] & 0xC0) == 0x80)
			at--;
		utf8_get(line.s + at, n - at, &cp);
		if (!unicode_white(cp))
			break;
		n = at;
	}
	return n;
}

static rebus_status lines_check(const text_file *f, const char *name, rebus_error *err)
{
	if (!f->data)
		return error_set(err, REBUS_IO, "tokenizer.json: missing, and %s too", name);
	return utf8_valid(f->data, f->size) ? REBUS_OK : error_set(err, REBUS_FORMAT, "%s: not UTF-8", name);
}

static rebus_status write_bpe(const text_files *f, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	json *vocab = NULL;
	text_span line;
	TRY(lines_check(&f->vocab_json, "vocab.json", err));
	TRY(lines_check(&f->merges_txt, "merges.txt", err));
	TRY(json_parse(f->vocab_json.data, f->vocab_json.size, "vocab.json", VOCAB_VALUES_MOST, &vocab, err));
	buf_text(out, "{\"model\":{\"type\":\"BPE\",\"vocab\":");
	buf_add(out, f->vocab_json.data, f->vocab_json.size);
	buf_text(out, ",\"merges\":[");
	for (size_t at = 0, n = 0; next_line(f->merges_txt.data, f->merges_txt.size, &at, &line); n++) {
		buf_text(out, n ? "," : "");
		buf_json(out, line.s, line.n);
	}
	buf_text(out, "]}}");
done:
	json_free(vocab);
	return status;
}

static rebus_status write_wordpiece(const text_files *f, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	text_span line;
	TRY(lines_check(&f->vocab_txt, "vocab.txt", err));
	buf_text(out, "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{");
	for (size_t at = 0, n = 0; next_line(f->vocab_txt.data, f->vocab_txt.size, &at, &line); n++) {
		buf_text(out, n ? "," : "");
		buf_json(out, line.s, trimmed(line));
		buf_format(out, ":%zu", n);
	}
	buf_text(out, "}}}");
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ SentencePiece */
static void base64_write(text_span bytes, buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < bytes.n; i += 3) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < bytes.n ? (unsigned char)bytes.s[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			buf_byte(out, i + k > bytes.n ? '=' : digits[bits >> (18 - 6 * k) & 63]);
	}
}

enum { RENAMED_MOST = 1000 };

static bool is_piece(const sentencepiece_model *m, const char *text, size_t n)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->pieces[i].text.n == n && !memcmp(m->pieces[i].text.s, text, n))
			return true;
	return false;
}

/* added_tokens_decoder of tokenizer_config.json may give placeholders among the pieces other names. */
static rebus_status rename_pieces(arena *a, sentencepiece_model *m, const json *config, rebus_error *err)
{
	size_t renamed = 0;
	const json *list = json_get(config, "added_tokens_decoder");
	text_piece_model *own = arena_get(a, m->count, sizeof *own);
	if (!own)
		return error_memory(err, "the vocabulary");
	memcpy(own, m->pieces, m->count * sizeof *own);
	for (json_each it = json_first(list); json_next(&it);) {
		size_t n, id = 0, k = 0;
		const char *text = json_text(json_get(it.value, "content"), &n);
		for (; it.key[k] >= '0' && it.key[k] <= '9' && k < 9; k++)
			id = 10 * id + (size_t)(it.key[k] - '0');
		if (!text || !k || it.key[k] || id >= m->count || (own[id].text.n == n && !memcmp(own[id].text.s, text, n)))
			continue;
		if (++renamed > RENAMED_MOST)
			return error_set(err, REBUS_LIMIT, "tokenizer_config.json: added_tokens_decoder: more than %d other names for pieces", RENAMED_MOST);
		if (!is_piece(m, text, n))
			own[id].text = (text_span){text, n};
	}
	m->pieces = own;
	return REBUS_OK;
}

static void write_unigram_vocab(const sentencepiece_model *m, int64_t extra_ids, buf *out)
{
	buf_text(out, "{\"model\":{\"type\":\"Unigram\",");
	for (size_t i = 0; i < m->count; i++)
		if (m->pieces[i].type == PIECE_UNKNOWN) {
			buf_format(out, "\"unk_id\":%zu,", i);
			break;
		}
	buf_format(out, "\"byte_fallback\":%s,\"vocab\":[", m->byte_fallback ? "true" : "false");
	for (size_t i = 0; i < m->count; i++) {
		buf_text(out, i ? ",[" : "[");
		buf_json(out, m->pieces[i].text.s, m->pieces[i].text.n);
		buf_format(out, ",%.17g]", (double)m->pieces[i].score);
	}
	for (int64_t i = extra_ids; i-- > 0;)
		buf_format(out, ",[\"<extra_id_%lld>\",0]", (long long)i);
	buf_text(out, "]}");
}

static void write_bpe_vocab(const sentencepiece_model *m, buf *out)
{
	buf_format(out, "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":%s,\"unk_token\":", m->byte_fallback ? "true" : "false");
	buf_json(out, m->named[0].s, m->named[0].n);
	buf_text(out, ",\"vocab\":{");
	for (size_t i = 0; i < m->count; i++) {
		buf_text(out, i ? "," : "");
		buf_json(out, m->pieces[i].text.s, m->pieces[i].text.n);
		buf_format(out, ":%zu", i);
	}
	buf_text(out, "}}");
}

static void write_charsmap(const sentencepiece_model *m, buf *out)
{
	buf_text(out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
	base64_write(m->charsmap, out);
	buf_text(out, "\"}");
}

/* SigLIP's canonicalize_text, what sentencepiece does to blanks, and what stands before every part (tokenizer.c). */
static void write_canonical(const sentencepiece_model *m, bool lower, buf *out)
{
	buf_text(out, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
	buf_text(out, lower ? "{\"type\":\"Lowercase\"}," : "");
	buf_text(out, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[!-/:-@\\\\[-`{-~]\"},\"content\":\"\"},"
	              "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},"
	              "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},");
	if (m->charsmap.n) {
		write_charsmap(m, out);
		buf_text(out, ",");
	}
	buf_text(out, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" +\"},\"content\":\" \"},"
	              "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[ \xE2\x96\x81]+$\"},\"content\":\"\"},"
	              "{\"type\":\"Prepend\",\"prepend\":\"" TEXT_PIECES_BEFORE "\"}]}}");
}

/* The parts that the plain class makes. */
static void write_plain(const sentencepiece_model *m, buf *out)
{
	static const char *const names[] = {"unk", "bos", "eos"};
	buf_text(out, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
	if (m->charsmap.n) {
		write_charsmap(m, out);
		buf_text(out, ",");
	}
	buf_text(out, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}]},"
	              "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"}");
	buf_text(out, m->byte_fallback ? ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}" : "]}");
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (m->ids[i] >= 0) {
			buf_format(out, ",\"pieces_%s\":", names[i]);
			buf_json(out, m->named[i].s, m->named[i].n);
		}
}

static rebus_status write_sentencepiece(const text_files *f, const class_rule *rule, const json *config, buf *out,
	rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *name = f->sentencepiece_name ? f->sentencepiece_name : "tokenizer.model";
	sentencepiece_model m;
	const text_piece_model *original;
	arena scratch;
	int64_t extra_ids = 100;
	arena_init(&scratch, out->from, 0);
	if (!f->sentencepiece.data) {
		status = error_set(err, REBUS_IO, "tokenizer.json: missing, and %s too", name);
		goto done;
	}
	TRY(sentencepiece_read(&scratch, name, f->sentencepiece.data, f->sentencepiece.size, &m, err));
	if (json_has(config, "extra_ids") && (!json_int(json_get(config, "extra_ids"), &extra_ids) || extra_ids < 0 ||
			extra_ids > 4096)) {
		status = error_set(err, REBUS_FORMAT, "tokenizer_config.json: extra_ids is not a number from 0 to 4096");
		goto done;
	}
	original = m.pieces; /* control and user tokens keep their names */
	if (!rule->rebuilt && !m.unigram)
		TRY(rename_pieces(&scratch, &m, config, err));
	if (rule->rebuilt ? rule->model == MODEL_UNIGRAM : m.unigram)
		write_unigram_vocab(&m, rule->rebuilt && !rule->pieces ? extra_ids : 0, out);
	else
		write_bpe_vocab(&m, out);
	if (!rule->rebuilt)
		write_plain(&m, out);
	if (rule->pieces) {
		write_canonical(&m, rule->lower, out);
		goto done;
	}
	if (m.charsmap.n && rule->rebuilt) {
		buf_text(out, ",\"normalizer\":");
		write_charsmap(&m, out);
	}
	buf_text(out, ",\"pieces_added\":[");
	for (size_t i = 0, n = 0; i < m.count; i++) {
		const text_piece_model *p = &original[i];
		if (p->type != PIECE_CONTROL && p->type != PIECE_USER)
			continue;
		buf_text(out, n++ ? ",{\"content\":" : "{\"content\":");
		buf_json(out, p->text.s, p->text.n);
		buf_format(out, ",\"normalized\":false,\"special\":%s}", p->type == PIECE_CONTROL ? "true" : "false");
	}
	buf_text(out, "]}");
done:
	arena_free(&scratch);
	return status;
}

rebus_status vocab_files_read(const rebus_allocator *from, const text_files *f, const class_rule *rule, const json *config,
	json **out,
                              rebus_error *err)
{
	rebus_status status;
	buf made;
	buf_init(&made, from, TEXT_FILE_MOST);
	bool plain = !rule->rebuilt && f->sentencepiece.data && !f->vocab_json.data && !f->vocab_txt.data;
	if (!rule->rebuilt && !plain) {
		const char *have = f->vocab_json.data ? "vocab.json" : f->vocab_txt.data ? "vocab.txt" : f->sentencepiece.data ?
			f->sentencepiece_name : NULL;
		return have ? error_set(err, REBUS_UNSUPPORTED,
			"%s: without tokenizer.json it is read for BertTokenizer, CLIPTokenizer, GemmaTokenizer, "
		                                                "GPT2Tokenizer, LlamaTokenizer, Qwen2Tokenizer, SiglipTokenizer, T5Tokenizer only", have) :
		              error_set(err, REBUS_IO, "tokenizer.json: missing");
	}
	if (plain)
		TRY(write_sentencepiece(f, rule, config, &made, err));
	else if (rule->model == MODEL_WORDPIECE)
		TRY(write_wordpiece(f, &made, err));
	else if (rule->model == MODEL_UNIGRAM || rule->byte_fallback)
		TRY(write_sentencepiece(f, rule, config, &made, err));
	else
		TRY(write_bpe(f, &made, err));
	TRY(buf_check(&made, err, "the vocabulary"));
	status = json_parse(made.data, made.size, "the vocabulary", MADE_VALUES_MOST, out, err);
done:
	buf_free(&made);
	return status;
}
