/*
 * text_decoder.c - ids to text: tokens, then the decoder of tokenizer.json, a list of steps from token list to token list.
 *
 *   ByteLevel      characters back to GPT-2's bytes; all in one, repaired to UTF-8
 *   Metaspace      U+2581 to a space, none in the first token
 *   Replace        in each token
 *   ByteFallback   runs of <0x0A> to characters, to one U+FFFD a byte where the run is not UTF-8
 *   Fuse           all in one
 *   Strip          up to so many of one character off each token's ends
 *   BPEDecoder     a suffix to a space, to nothing in the last token
 *   WordPiece      a prefix off, or a space before, but for the first token; with cleanup spaces before punctuation go
 *
 * What is left is joined; without a decoder with spaces between. CLIPTokenizer then turns </w> into a space and strips.
 * Reference: tokenizers 0.23, src/decoders; transformers 5, tokenization_clip.py and clean_up_tokenization.
 * text_stream.c decodes id by id.
 */
#include <string.h>

#include "text/text_inside.h"

/* ------------------------------------------------------------------------------------------------ reading */
static rebus_status one_char(const json *j, arena *a, text_span *out, const char *or_else, rebus_error *err)
{
	uint32_t cp;
	rebus_status status = span_need(j, a, out, or_else, err);
	if (!status && (!out->n || utf8_get(out->s, out->n, &cp) != out->n))
		status = error_set(err, REBUS_FORMAT, "%s", or_else);
	return status;
}

static rebus_status replace_read(tokenizer *t, const json *j, decode_step *step, rebus_error *err)
{
	rebus_status status = span_need(json_get(j, "content"), t->arena, &step->put,
		"tokenizer.json: decoder: Replace without content", err);
	return status ? status : pattern_read(t, j, "tokenizer.json: decoder: Replace", &step->find, &step->regex, err);
}

static rebus_status step_read(tokenizer *t, const json *j, rebus_error *err)
{
	static const struct {
		const char *type;
		decode_kind kind;
	} kinds[] = {
		{"ByteLevel", DECODE_BYTES}, {"Metaspace", DECODE_METASPACE}, {"Replace", DECODE_REPLACE},   {"ByteFallback", DECODE_FALLBACK},
		{"Fuse", DECODE_FUSE},       {"Strip", DECODE_STRIP},         {"BPEDecoder", DECODE_SUFFIX},
		{"WordPiece", DECODE_WORDPIECE},
	};
	const char *type = json_text(json_get(j, "type"), NULL);
	if (!type)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: decoder: a step without its type");
	size_t k = 0;
	while (k < COUNT_OF(kinds) && strcmp(kinds[k].type, type) != 0)
		k++;
	if (k == COUNT_OF(kinds))
		return error_set(err, REBUS_UNSUPPORTED, "tokenizer.json: decoder: type %.40s is not supported", type);
	if (t->decode_count == PARTS_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: decoder: more than %d steps", PARTS_MOST);
	decode_step *step = &t->decodes[t->decode_count++];
	*step = (decode_step){.kind = kinds[k].kind};
	int64_t start, stop;
	rebus_status status;
	switch (step->kind) {
	case DECODE_REPLACE:
		return replace_read(t, j, step, err);
	case DECODE_METASPACE:
		step->scheme = json_is(json_get(j, "prepend_scheme"), "never") ? SCHEME_NEVER : SCHEME_ALWAYS;
		return one_char(json_get(j, "replacement"), t->arena, &step->find,
			"tokenizer.json: decoder: Metaspace: replacement is not one character", err);
	case DECODE_STRIP:
		if (!json_int(json_get(j, "start"), &start) || !json_int(json_get(j, "stop"), &stop) || start < 0 || stop < 0)
			return error_set(err, REBUS_FORMAT, "tokenizer.json: decoder: Strip needs one character, start and stop");
		step->start = (size_t)start;
		step->stop = (size_t)stop;
		return one_char(json_get(j, "content"), t->arena, &step->find,
			"tokenizer.json: decoder: Strip needs one character, start and stop", err);
	case DECODE_SUFFIX:
		status = span_need(json_get(j, "suffix"), t->arena, &step->find, "tokenizer.json: decoder: BPEDecoder without suffix", err);
		return status || step->find.n ? status : error_set(err, REBUS_FORMAT, "tokenizer.json: decoder: BPEDecoder without suffix");
	case DECODE_WORDPIECE:
		if (!json_flag(json_get(j, "cleanup"), &step->clean))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: decoder: WordPiece without prefix and cleanup");
		return span_need(json_get(j, "prefix"), t->arena, &step->find,
			"tokenizer.json: decoder: WordPiece without prefix and cleanup", err);
	case DECODE_BYTES:
	case DECODE_FALLBACK:
	case DECODE_FUSE:
		return REBUS_OK;
	}
	return REBUS_OK;
}

rebus_status decoder_read(tokenizer *t, const json *j, rebus_error *err)
{
	if (json_kind_of(j) == JSON_NONE || json_kind_of(j) == JSON_NULL)
		return REBUS_OK;
	t->has_decoder = true;
	if (!json_is(json_get(j, "type"), "Sequence"))
		return step_read(t, j, err);
	const json *list = json_get(j, "decoders");
	if (json_kind_of(list) != JSON_LIST)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: decoder: Sequence without decoders");
	for (size_t i = 0; i < json_count(list); i++) {
		rebus_status status = decoder_read(t, json_at(list, i), err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ steps */
static void token_end(text_pieces *p, size_t from)
{
	pieces_add(p, from, p->text.size - from, -1, false);
}

static void bytes_step(const text_pieces *in, text_pieces *out, buf *bytes)
{
	bytes->size = 0;
	for (size_t i = 0; i < pieces_count(in); i++) {
		const text_piece *p = pieces_at(in, i);
		const char *s = pieces_text(in, i);
		size_t before = bytes->size;
		for (size_t k = 0; k < p->size;) {
			uint32_t cp;
			k += utf8_get(s + k, p->size - k, &cp);
			int byte = text_char_to_byte(cp);
			if (byte < 0) { /* one strange character: the token stands for itself */
				bytes->size = before;
				buf_add(bytes, s, p->size);
				break;
			}
			buf_byte(bytes, byte);
		}
	}
	if (bytes->failed)
		out->text.failed = bytes->failed;
	else
		unicode_repair(bytes->data ? bytes->data : "", bytes->size, &out->text);
	token_end(out, 0);
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of a token <0x0A>; -1: none. Rust's from_str_radix also takes a plus sign. */
int decoder_byte(const char *s, size_t n)
{
	if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
		return -1;
	int high = s[3] == '+' ? 0 : hex_value(s[3]), low = hex_value(s[4]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The bytes from `from` on are a run: together they are one piece if they are UTF-8, else each becomes U+FFFD. */
static void run_end(size_t from, text_pieces *out)
{
	size_t n = out->text.size - from;
	if (!n)
		return;
	if (utf8_valid(out->text.data + from, n)) {
		token_end(out, from);
		return;
	}
	out->text.size = from;
	for (size_t i = 0; i < n; i++) {
		from = out->text.size;
		buf_add(&out->text, "\xEF\xBF\xBD", 3);
		token_end(out, from);
	}
}

static void fallback_step(const text_pieces *in, text_pieces *out)
{
	size_t run = 0; /* where the bytes of this run begin */
	for (size_t i = 0; i < pieces_count(in); i++) {
		const text_piece *p = pieces_at(in, i);
		const char *s = pieces_text(in, i);
		int byte = decoder_byte(s, p->size);
		if (byte >= 0) {
			buf_byte(&out->text, byte);
			continue;
		}
		run_end(run, out);
		run = out->text.size;
		buf_add(&out->text, s, p->size);
		token_end(out, run);
		run = out->text.size;
	}
	run_end(run, out);
}

void decoder_replace(const char *s, size_t n, text_span find, const char *put, size_t put_size, buf *out)
{
	for (size_t at = 0; at < n;) {
		size_t hit = text_find(s, n, at, find);
		buf_add(out, s + at, hit - at);
		if (hit < n)
			buf_add(out, put, put_size);
		at = hit < n ? hit + find.n : n;
	}
}

/* Takes spaces before punctuation out of text, which is the last thing in out; spare is scratch. */
static void clean_up(bool wordpiece, buf *out, size_t from, buf *spare)
{
	static const char *const pairs[][2] = {{" .", "."},   {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
	                                       {" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"},
		{" 're", "'re"}};
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		text_span find = {pairs[i][0], strlen(pairs[i][0])};
		if (out->size <= from || (find.n == 7 && !wordpiece) || text_find(out->data + from, out->size - from, 0,
				find) == out->size - from)
			continue;
		spare->size = 0;
		decoder_replace(out->data + from, out->size - from, find, pairs[i][1], strlen(pairs[i][1]), spare);
		out->size = from;
		buf_add(out, spare->data, spare->size);
		if (spare->failed)
			out->failed = spare->failed;
	}
}

static rebus_status replace_step(const decode_step *step, const text_pieces *in, text_pieces *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	regex_run run = {0};
	if (step->regex)
		TRY(regex_run_begin(&run, in->text.size, err));
	for (size_t i = 0; i < pieces_count(in); i++) {
		const text_piece *p = pieces_at(in, i);
		const char *s = pieces_text(in, i);
		size_t from = out->text.size;
		if (!step->regex) {
			decoder_replace(s, p->size, step->find, step->put.s, step->put.n, &out->text);
		} else if (p->size) {
			regex_at at = {0};
			size_t done_to = 0;
			bool found;
			for (;;) {
				TRY(regex_next(step->regex, &run, s, p->size, &at, &found, err));
				if (!found || out->text.failed)
					break;
				buf_add(&out->text, s + done_to, at.first - done_to);
				buf_add(&out->text, step->put.s, step->put.n);
				done_to = at.last;
			}
			buf_add(&out->text, s + done_to, p->size - done_to);
		}
		token_end(out, from);
	}
done:
	if (step->regex)
		regex_run_end(&run);
	return status;
}

static void strip_token(const decode_step *step, const char *s, size_t n, buf *out)
{
	size_t from = 0, end = n, unit = step->find.n;
	for (size_t i = 0; i < step->start && n - from >= unit && memcmp(s + from, step->find.s, unit) == 0; i++)
		from += unit;
	for (size_t i = 0; i < step->stop && end - from >= unit && memcmp(s + end - unit, step->find.s, unit) == 0; i++)
		end -= unit;
	buf_add(out, s + from, end - from);
}

static void token_step(const decode_step *step, const text_pieces *in, text_pieces *out)
{
	size_t n = pieces_count(in);
	for (size_t i = 0; i < n; i++) {
		const text_piece *p = pieces_at(in, i);
		const char *s = pieces_text(in, i);
		size_t from = out->text.size;
		bool edge = step->kind == DECODE_SUFFIX ? i + 1 == n : i == 0 && step->scheme != SCHEME_NEVER;
		if (step->kind == DECODE_STRIP)
			strip_token(step, s, p->size, &out->text);
		else if (step->kind == DECODE_FUSE)
			buf_add(&out->text, s, p->size);
		else /* METASPACE and SUFFIX */
			decoder_replace(s, p->size, step->find, " ", edge ? 0 : 1, &out->text);
		if (step->kind != DECODE_FUSE)
			token_end(out, from);
	}
	if (step->kind == DECODE_FUSE)
		token_end(out, 0);
}

void decoder_wordpiece(const decode_step *step, const char *s, size_t n, bool first, buf *out, buf *spare)
{
	size_t from = out->size, skip = 0;
	if (!first && n >= step->find.n && memcmp(s, step->find.s, step->find.n) == 0)
		skip = step->find.n;
	else if (!first)
		buf_byte(out, ' ');
	buf_add(out, s + skip, n - skip);
	if (step->clean)
		clean_up(true, out, from, spare);
}

static void wordpiece_step(const decode_step *step, const text_pieces *in, text_pieces *out, buf *spare)
{
	for (size_t i = 0; i < pieces_count(in); i++) {
		size_t from = out->text.size;
		decoder_wordpiece(step, pieces_text(in, i), pieces_at(in, i)->size, i == 0, &out->text, spare);
		token_end(out, from);
	}
}

static rebus_status step_run(const decode_step *step, const text_pieces *in, text_pieces *out, buf *spare, rebus_error *err)
{
	switch (step->kind) {
	case DECODE_BYTES:
		bytes_step(in, out, spare);
		return REBUS_OK;
	case DECODE_FALLBACK:
		fallback_step(in, out);
		return REBUS_OK;
	case DECODE_WORDPIECE:
		wordpiece_step(step, in, out, spare);
		return REBUS_OK;
	case DECODE_REPLACE:
		return replace_step(step, in, out, err);
	case DECODE_METASPACE:
	case DECODE_FUSE:
	case DECODE_STRIP:
	case DECODE_SUFFIX:
		token_step(step, in, out);
		return REBUS_OK;
	}
	return REBUS_OK;
}

/* Tokens through the decoder's steps, joined; without what comes after the decoder. */
rebus_status decoder_run(const tokenizer *t, const int32_t *id, size_t n, bool skip_special, buf room[DECODE_ROOM], buf *out,
	rebus_error *err)
{
	rebus_status status = REBUS_OK;
	text_pieces now = {room[0], room[1]}, next = {room[2], room[3]};
	pieces_clear(&now);
	for (size_t i = 0; i < n; i++) {
		size_t size, from = now.text.size;
		const char *s = text_token(t, id[i], &size);
		if (!s || (skip_special && text_is_special(t, id[i])))
			continue;
		buf_add(&now.text, s, size);
		token_end(&now, from);
	}
	for (size_t k = 0; k < t->decode_count; k++) {
		TRY(buf_check(&now.text, err, "a decoded text"));
		TRY(buf_check(&now.list, err, "a decoded text"));
		pieces_clear(&next);
		TRY(step_run(&t->decodes[k], &now, &next, &room[4], err));
		text_pieces swap = now;
		now = next;
		next = swap;
	}
	TRY(buf_check(&now.text, err, "a decoded text"));
	TRY(buf_check(&now.list, err, "a decoded text"));
	for (size_t i = 0; i < pieces_count(&now); i++) {
		const text_piece *p = pieces_at(&now, i);
		if (i && !t->has_decoder)
			buf_byte(out, ' ');
		if (p->size)
			buf_add(out, pieces_text(&now, i), p->size);
	}
	status = buf_check(out, err, "a decoded text");
done:
	room[0] = now.text;
	room[1] = now.list;
	room[2] = next.text;
	room[3] = next.list;
	return status;
}

void decoder_room_begin(buf room[DECODE_ROOM], const rebus_allocator *from)
{
	for (int i = 0; i < DECODE_ROOM; i++)
		buf_init(&room[i], from, i % 2 ? (size_t)4 * WORK_MOST : WORK_MOST);
}

void decoder_room_free(buf room[DECODE_ROOM])
{
	for (int i = 0; i < DECODE_ROOM; i++)
		buf_free(&room[i]);
}

/* ------------------------------------------------------------------------------------------------ after the decoder */
static bool python_blank(uint32_t cp)
{
	return unicode_white(cp) || (cp >= 0x1C && cp <= 0x1F);
}

/* Where str.strip() starts and ends. */
void decoder_strip(const char *s, size_t n, size_t *from, size_t *end)
{
	uint32_t cp;
	size_t k;
	*from = 0;
	*end = n;
	while (*from < n && (k = utf8_get(s + *from, n - *from, &cp)) && python_blank(cp))
		*from += k;
	while (*end > *from) {
		size_t at = *end - 1;
		while (at > *from && ((unsigned char)s[at] & 0xC0) == 0x80)
			at--;
		utf8_get(s + at, *end - at, &cp);
		if (!python_blank(cp))
			break;
		*end = at;
	}
}

rebus_status text_decode(const tokenizer *t, const int32_t *id, size_t n, bool skip_special, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	buf plain, spaced, room[DECODE_ROOM];
	buf_init(&plain, t->from, WORK_MOST);
	buf_init(&spaced, t->from, WORK_MOST);
	decoder_room_begin(room, t->from);
	if (!t->strip_decoded && !t->clean_up) {
		status = decoder_run(t, id, n, skip_special, room, out, err);
		goto done;
	}
	TRY(decoder_run(t, id, n, skip_special, room, &plain, err));
	if (t->strip_decoded && plain.size) {
		size_t from, end;
		if (t->bpe.o.suffix.n)
			decoder_replace(plain.data, plain.size, t->bpe.o.suffix, " ", 1, &spaced);
		else
			buf_add(&spaced, plain.data, plain.size);
		TRY(buf_check(&spaced, err, "a decoded text"));
		decoder_strip(spaced.data, spaced.size, &from, &end);
		plain.size = 0;
		buf_add(&plain, spaced.data + from, end - from);
	}
	if (t->clean_up)
		clean_up(false, &plain, 0, &spaced);
	TRY(buf_check(&plain, err, "a decoded text"));
	if (plain.size)
		buf_add(out, plain.data, plain.size);
	status = buf_check(out, err, "a decoded text");
done:
	buf_free(&plain);
	buf_free(&spaced);
	decoder_room_free(room);
	return status;
}
