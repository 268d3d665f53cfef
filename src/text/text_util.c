/*
 * text_util.c - small things that the tokenizer's files share: lists of ids and pieces, hashing, search, GPT-2's byte
 * alphabet; see text_inside.h.
 *
 * GPT-2's alphabet gives every byte a printable character, so that a vocabulary is text: the bytes 21-7E, A1-AC and AE-FF
 * stand for themselves as code points, the other 68 take U+0100, U+0101, ... in order. A space is U+0120.
 */
#include <string.h>

#include "text/text_inside.h"

enum { LITERAL_MOST = 1024, STEPS_EACH = 64, STEPS_LEAST = 64 << 20 };

/* ------------------------------------------------------------------------------------------------ lists */
void ids_init(ids *list, const rebus_allocator *from, size_t most)
{
	buf_init(&list->bytes, from, (most ? most : TEXT_IDS_MOST) * sizeof(int32_t));
}

void ids_free(ids *list)
{
	buf_free(&list->bytes);
}

void ids_add(ids *list, int32_t id)
{
	buf_add(&list->bytes, &id, sizeof(id));
}

size_t ids_count(const ids *list)
{
	return list->bytes.size / sizeof(int32_t);
}

const int32_t *ids_data(const ids *list)
{
	return (const int32_t *)(const void *)list->bytes.data;
}

rebus_status ids_check(const ids *list, rebus_error *err)
{
	if (list->bytes.failed == REBUS_LIMIT)
		return error_set(err, REBUS_LIMIT, "text: more than %zu tokens", list->bytes.limit / sizeof(int32_t));
	return buf_check(&list->bytes, err, "a list of token ids");
}

void pieces_init(text_pieces *p, const rebus_allocator *from)
{
	buf_init(&p->text, from, WORK_MOST);
	buf_init(&p->list, from, (size_t)4 * WORK_MOST);
}

void pieces_free(text_pieces *p)
{
	buf_free(&p->text);
	buf_free(&p->list);
}

void pieces_clear(text_pieces *p)
{
	p->text.size = p->list.size = 0;
}

void pieces_add(text_pieces *p, size_t from, size_t size, int32_t id, bool first)
{
	text_piece piece = {from, size, id, first};
	buf_add(&p->list, &piece, sizeof(piece));
}

size_t pieces_count(const text_pieces *p)
{
	return p->list.size / sizeof(text_piece);
}

const text_piece *pieces_at(const text_pieces *p, size_t i)
{
	return (const text_piece *)(const void *)p->list.data + i;
}

const char *pieces_text(const text_pieces *p, size_t i)
{
	return p->text.data ? p->text.data + pieces_at(p, i)->from : "";
}

rebus_status work_begin(text_work *w, const tokenizer *t, size_t text_bytes, rebus_error *err)
{
	*w = (text_work){.t = t, .err = err, .most_steps = STEPS_LEAST + (uint64_t)STEPS_EACH * text_bytes};
	pieces_init(&w->now, t->from);
	pieces_init(&w->next, t->from);
	buf_init(&w->a, t->from, WORK_MOST);
	buf_init(&w->b, t->from, WORK_MOST);
	buf_init(&w->marks, t->from, (size_t)4 * WORK_MOST);
	buf_init(&w->symbols, t->from, (size_t)4 * WORK_MOST);
	buf_init(&w->queue, t->from, (size_t)4 * WORK_MOST);
	return regex_run_begin(&w->run, text_bytes, err);
}

void work_end(text_work *w)
{
	pieces_free(&w->now);
	pieces_free(&w->next);
	buf_free(&w->a);
	buf_free(&w->b);
	buf_free(&w->marks);
	buf_free(&w->symbols);
	buf_free(&w->queue);
	if (w->run.data)
		regex_run_end(&w->run);
}

/* ------------------------------------------------------------------------------------------------ strings */
text_span span_copy(arena *a, const char *s, size_t n)
{
	return (text_span){arena_text(a, s, n), n};
}

bool span_json(const json *j, arena *a, text_span *out)
{
	size_t n;
	const char *s = json_text(j, &n);
	text_span copy = s ? span_copy(a, s, n) : (text_span){0};
	if (!copy.s)
		return false;
	*out = copy;
	return true;
}

rebus_status span_need(const json *j, arena *a, text_span *out, const char *or_else, rebus_error *err)
{
	if (!json_text(j, NULL))
		return error_set(err, REBUS_FORMAT, "%s", or_else);
	return span_json(j, a, out) ? REBUS_OK : error_memory(err, "a tokenizer");
}

size_t text_table_size(size_t entries)
{
	size_t slots = 8;
	while (slots < 2 * entries + 2)
		slots *= 2;
	return slots;
}

size_t text_find(const char *s, size_t n, size_t at, text_span find)
{
	while (at < n && n - at >= find.n) {
		const char *hit = memchr(s + at, find.s[0], n - at - find.n + 1);
		if (!hit)
			return n;
		if (memcmp(hit, find.s, find.n) == 0)
			return (size_t)(hit - s);
		at = (size_t)(hit - s) + 1;
	}
	return n;
}

rebus_status pattern_read(tokenizer *t, const json *j, const char *where, text_span *find, text_regex **regex, rebus_error *err)
{
	const json *pattern = json_get(j, "pattern");
	size_t n;
	const char *s = json_text(json_get(pattern, "Regex"), &n);
	if (s)
		return regex_open(s, n, where, regex, err);
	if (!json_text(json_get(pattern, "String"), &n))
		return error_set(err, REBUS_FORMAT, "%s: pattern is neither {String} nor {Regex}", where);
	if (n > LITERAL_MOST)
		return error_set(err, REBUS_LIMIT, "%s: pattern of %zu bytes, more than %d", where, n, LITERAL_MOST);
	if (n == 0) /* matches between all characters, which is a regular expression's business */
		return regex_open("", 0, where, regex, err);
	return span_json(json_get(pattern, "String"), t->arena, find) ? REBUS_OK : error_memory(err, where);
}

/* ------------------------------------------------------------------------------------------------ GPT-2's alphabet */
static bool stands_for_itself(int byte)
{
	return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

uint32_t text_byte_to_char(int byte)
{
	if (stands_for_itself(byte))
		return (uint32_t)byte;
	if (byte <= 0x20)
		return 0x100 + (uint32_t)byte;
	return byte == 0xAD ? 0x143 : 0x121 + (uint32_t)(byte - 0x7F);
}

int text_char_to_byte(uint32_t cp)
{
	if (cp < 0x100)
		return stands_for_itself((int)cp) ? (int)cp : -1;
	if (cp <= 0x120)
		return (int)cp - 0x100;
	return cp == 0x143 ? 0xAD : cp <= 0x142 ? (int)cp - 0x121 + 0x7F : -1;
}

void text_bytes_write(const char *s, size_t n, buf *out)
{
	char *to = n > SIZE_MAX / 2 ? NULL : buf_reserve(out, 2 * n), *from = to;
	for (size_t i = 0; to && i < n; i++) {
		uint32_t cp = text_byte_to_char((unsigned char)s[i]);
		if (cp < 0x80) {
			*to++ = (char)cp;
			continue;
		}
		*to++ = (char)(0xC0 | cp >> 6);
		*to++ = (char)(0x80 | (cp & 63));
	}
	out->size += (size_t)(to - from);
}
