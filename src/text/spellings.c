/* spellings.c - see spellings.h. The steps are those of text_decoder.c, for one token at a time. */
#include <stdlib.h>
#include <string.h>

#include "text/spellings.h"
#include "text/text_inside.h"

enum { SPELLED_MOST = 64 << 20 };

/* A Strip after Fuse takes from the whole text: off its first token only, where it takes one character. */
static bool is_joined(const tokenizer *t, size_t step)
{
	for (size_t i = 0; i < step; i++)
		if (t->decodes[i].kind == DECODE_FUSE || t->decodes[i].kind == DECODE_BYTES)
			return true;
	return false;
}

static rebus_status refuse(const char *what, rebus_error *err)
{
	return error_set(err, REBUS_UNSUPPORTED, "constrained output: this tokenizer's decoder %s, so a token's bytes depend on what follows", what);
}

static rebus_status steps_check(const tokenizer *t, rebus_error *err)
{
	if (t->strip_decoded)
		return refuse("strips the text", err);
	for (size_t i = 0; i < t->decode_count; i++) {
		const decode_step *s = &t->decodes[i];
		bool joined = is_joined(t, i);
		if (s->kind == DECODE_SUFFIX)
			return refuse("has a suffix", err);
		if (s->kind == DECODE_REPLACE && (s->regex || joined))
			return refuse("replaces in what was joined, or by a regular expression", err);
		if (s->kind == DECODE_STRIP && joined && (s->stop || s->start > 1))
			return refuse("strips the text's end", err);
		if (joined && s->kind != DECODE_STRIP && s->kind != DECODE_FUSE && s->kind != DECODE_REPLACE)
			return refuse("has steps after what was joined", err);
	}
	return REBUS_OK;
}

bool text_spells_first(const tokenizer *t)
{
	for (size_t i = 0; i < t->decode_count; i++) {
		const decode_step *s = &t->decodes[i];
		if (s->kind == DECODE_WORDPIECE || (s->kind == DECODE_METASPACE && s->scheme != SCHEME_NEVER) || (s->kind == DECODE_STRIP && is_joined(t, i)))
			return true;
	}
	return !t->has_decoder;
}

static void spell_bytes(const buf *in, buf *out)
{
	for (size_t k = 0; k < in->size;) {
		uint32_t cp;
		k += utf8_get(in->data + k, in->size - k, &cp);
		int byte = text_char_to_byte(cp);
		if (byte < 0) { /* the token stands for itself */
			out->size = 0;
			buf_add(out, in->data, in->size);
			return;
		}
		buf_byte(out, byte);
	}
}

static void spell_strip(const decode_step *s, bool joined, bool first, const buf *in, buf *out)
{
	size_t from = 0, end = in->size, unit = s->find.n;
	for (size_t i = 0; i < s->start && (!joined || first) && end - from >= unit && !memcmp(in->data + from, s->find.s, unit); i++)
		from += unit;
	for (size_t i = 0; i < s->stop && !joined && end - from >= unit && !memcmp(in->data + end - unit, s->find.s, unit); i++)
		end -= unit;
	buf_add(out, in->data + from, end - from);
}

static void spell_step(const tokenizer *t, size_t i, bool first, const buf *in, buf *out, buf *spare)
{
	const decode_step *s = &t->decodes[i];
	int byte;
	out->size = 0;
	switch (s->kind) {
	case DECODE_BYTES:
		spell_bytes(in, out);
		return;
	case DECODE_METASPACE:
		decoder_replace(in->data, in->size, s->find, " ", first && s->scheme != SCHEME_NEVER ? 0 : 1, out);
		return;
	case DECODE_REPLACE:
		decoder_replace(in->data, in->size, s->find, s->put.s, s->put.n, out);
		return;
	case DECODE_FALLBACK:
		byte = decoder_byte(in->data, in->size);
		if (byte >= 0)
			buf_byte(out, byte);
		else
			buf_add(out, in->data, in->size);
		return;
	case DECODE_STRIP:
		spell_strip(s, is_joined(t, i), first, in, out);
		return;
	case DECODE_WORDPIECE:
		decoder_wordpiece(s, in->data, in->size, first, out, spare);
		return;
	case DECODE_FUSE:
	case DECODE_SUFFIX:
		buf_add(out, in->data, in->size);
		return;
	}
}

typedef struct {
	buf a, b, spare, bytes, list;
} speller;

static void spell(const tokenizer *t, speller *s, int32_t id, bool first)
{
	size_t n;
	const char *token = text_token(t, id, &n);
	if (!token || !n || n > SPELLING_MOST || text_is_special(t, id))
		return;
	s->a.size = 0;
	if (!t->has_decoder && !first)
		buf_byte(&s->a, ' ');
	buf_add(&s->a, token, n);
	for (size_t i = 0; i < t->decode_count; i++) {
		if (!s->a.size)
			return;
		spell_step(t, i, first, &s->a, &s->b, &s->spare);
		buf swap = s->a;
		s->a = s->b;
		s->b = swap;
	}
	if (!s->a.size || s->a.size > SPELLING_MOST)
		return;
	spelling one = {.at = (uint32_t)s->bytes.size, .id = id, .size = (uint16_t)s->a.size};
	buf_add(&s->bytes, s->a.data, s->a.size);
	buf_add(&s->list, &one, sizeof one);
}

typedef struct {
	const char *s;
	size_t n;
	int32_t id;
} sortable;

static int by_bytes(const void *a, const void *b)
{
	const sortable *x = a, *y = b;
	int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
	if (order)
		return order;
	return x->n != y->n ? (x->n < y->n ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

static rebus_status sort(const speller *s, arena *a, spellings *out, rebus_error *err)
{
	size_t n = s->list.size / sizeof(spelling);
	const spelling *in = (const spelling *)(const void *)s->list.data;
	char *bytes = arena_get(a, s->bytes.size + 1, 1);
	spelling *list = arena_get(a, n + 1, sizeof *list);
	arena_mark mark = arena_here(a);
	sortable *order = arena_get(a, n + 1, sizeof *order);
	if (!bytes || !list || !order)
		return error_memory(err, "the spellings of tokens");
	for (size_t i = 0; i < n; i++)
		order[i] = (sortable){s->bytes.data + in[i].at, in[i].size, in[i].id};
	if (n)
		qsort(order, n, sizeof *order, by_bytes);
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		size_t common = 0;
		while (i && common < order[i].n && common < order[i - 1].n && order[i].s[common] == order[i - 1].s[common])
			common++;
		list[i] = (spelling){(uint32_t)at, order[i].id, (uint16_t)order[i].n, (uint16_t)common};
		memcpy(bytes + at, order[i].s, order[i].n);
		at += order[i].n;
	}
	arena_release(a, mark);
	*out = (spellings){bytes, list, n};
	return REBUS_OK;
}

rebus_status text_spellings(const tokenizer *t, arena *a, bool first, spellings *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	speller s;
	buf *all[] = {&s.a, &s.b, &s.spare, &s.bytes, &s.list};
	for (size_t i = 0; i < COUNT_OF(all); i++)
		buf_init(all[i], t->from, SPELLED_MOST);
	TRY(steps_check(t, err));
	size_t ids = t->vocabulary.ids > t->added.id_end ? t->vocabulary.ids : t->added.id_end;
	for (size_t id = 0; id < ids; id++)
		spell(t, &s, (int32_t)id, first);
	for (size_t i = 0; i < COUNT_OF(all); i++)
		TRY(buf_check(all[i], err, "the spellings of tokens"));
	status = sort(&s, a, out, err);
done:
	for (size_t i = 0; i < COUNT_OF(all); i++)
		buf_free(all[i]);
	return status;
}
