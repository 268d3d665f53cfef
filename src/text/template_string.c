/*
 * template_string.c - Python's string methods over UTF-8.
 *
 * Positions that a template sees count code points, positions here count bytes; template_offset goes from one to the other,
 * at once where the text is ASCII. Search and comparison need no such care: UTF-8 of a code point never lies inside that of
 * another. White space is Python's str.isspace, wider than ASCII's. Case is in template_case.c.
 */
#include "text/template_inside.h"

#include <string.h>

size_t template_points(template_string *s)
{
	if (s->points == SIZE_MAX) {
		size_t n = 0;
		for (size_t i = 0; i < s->size; i++)
			n += ((unsigned char)s->data[i] & 0xC0) != 0x80;
		s->points = n;
	}
	return s->points;
}

size_t template_offset(template_string *s, size_t point)
{
	if (template_points(s) == s->size || point >= s->points)
		return point >= s->points ? s->size : point;
	size_t at = 0;
	for (; at < s->size; at++)
		if (((unsigned char)s->data[at] & 0xC0) != 0x80 && point-- == 0)
			break;
	return at;
}

bool template_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
	       (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

/* The code point that ends at s + n; returns its length. */
static size_t utf8_last(const char *s, size_t n, uint32_t *cp)
{
	size_t k = 1;
	while (k < 4 && k < n && ((unsigned char)s[n - k] & 0xC0) == 0x80)
		k++;
	size_t got = utf8_get(s + n - k, k, cp);
	if (got == k)
		return k;
	*cp = 0xFFFD;
	return 1;
}

static bool in_set(const template_string *set, uint32_t cp)
{
	if (!set)
		return template_space(cp);
	for (size_t i = 0; i < set->size;) {
		uint32_t member;
		i += utf8_get(set->data + i, set->size - i, &member);
		if (member == cp)
			return true;
	}
	return false;
}

static size_t start_in(const template_string *set, const char *s, size_t n)
{
	size_t at = 0;
	uint32_t cp;
	while (at < n) {
		size_t k = utf8_get(s + at, n - at, &cp);
		if (!in_set(set, cp))
			break;
		at += k;
	}
	return at;
}

static size_t end_in(const template_string *set, const char *s, size_t n)
{
	size_t left = n;
	uint32_t cp;
	while (left) {
		size_t k = utf8_last(s, left, &cp);
		if (!in_set(set, cp))
			break;
		left -= k;
	}
	return n - left;
}

size_t template_space_start(const char *s, size_t n)
{
	return start_in(NULL, s, n);
}

size_t template_space_end(const char *s, size_t n)
{
	return end_in(NULL, s, n);
}

rebus_status template_strip(template_run *r, const template_string *s, const template_string *set, bool left, bool right, value *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_step(r, s->size / 64 * (set ? set->size + 1 : 1)));
	size_t begin = left ? start_in(set, s->data, s->size) : 0;
	size_t end = s->size - (right ? end_in(set, s->data + begin, s->size - begin) : 0);
	TRY(template_string_view(r, s->data + begin, end - begin, out));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ search */
/*
 * Short needles are compared at each place where their first byte is. For long ones that could cost the product of both
 * lengths, so a rolling hash goes along (Rabin and Karp): sum of byte[i] * BASE^(size - 1 - i), modulo 2^64.
 */
enum { SHORT = 32 };
static const uint64_t BASE = 0x9E3779B97F4A7C15u;

static uint64_t hash_bytes(const char *s, size_t size, bool backward)
{
	uint64_t h = 0;
	for (size_t i = 0; i < size; i++)
		h = h * BASE + (unsigned char)s[backward ? size - 1 - i : i];
	return h;
}

static uint64_t base_power(size_t n)
{
	uint64_t power = 1, square = BASE;
	for (; n; n >>= 1, square *= square)
		if (n & 1)
			power *= square;
	return power;
}

static const char *find_long(const char *s, size_t n, const char *what, size_t size)
{
	uint64_t want = hash_bytes(what, size, false), have = hash_bytes(s, size, false), top = base_power(size - 1);
	for (size_t at = 0;; at++) {
		if (have == want && memcmp(s + at, what, size) == 0)
			return s + at;
		if (at + size >= n)
			return NULL;
		have = (have - (unsigned char)s[at] * top) * BASE + (unsigned char)s[at + size];
	}
}

static const char *find_long_last(const char *s, size_t n, const char *what, size_t size)
{
	size_t at = n - size;
	uint64_t want = hash_bytes(what, size, true), have = hash_bytes(s + at, size, true), top = base_power(size - 1);
	for (;; at--) {
		if (have == want && memcmp(s + at, what, size) == 0)
			return s + at;
		if (!at)
			return NULL;
		have = (have - (unsigned char)s[at + size - 1] * top) * BASE + (unsigned char)s[at - 1];
	}
}

const char *template_find(const char *s, size_t n, const char *what, size_t size)
{
	if (!size)
		return s ? s : "";
	if (size > SHORT)
		return n >= size ? find_long(s, n, what, size) : NULL;
	while (n >= size) {
		const char *at = memchr(s, *what, n - size + 1);
		if (!at)
			return NULL;
		if (memcmp(at, what, size) == 0)
			return at;
		n -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	return NULL;
}

const char *template_find_last(const char *s, size_t n, const char *what, size_t size)
{
	if (size > SHORT)
		return n >= size ? find_long_last(s, n, what, size) : NULL;
	for (size_t at = n >= size ? n - size + 1 : 0; at-- > 0;)
		if (memcmp(s + at, what, size) == 0)
			return s + at;
	return NULL;
}

static rebus_status charge_search(template_run *r, const template_string *s, const template_string *what)
{
	return template_step(r, (s->size + what->size) / 16);
}

/* An empty `from` is found before every code point and at the end. */
static size_t next_place(const template_string *s, const template_string *from, size_t at, bool first)
{
	uint32_t cp;
	if (from->size) {
		const char *found = template_find(s->data + at, s->size - at, from->data, from->size);
		return found ? (size_t)(found - s->data) : SIZE_MAX;
	}
	if (first)
		return at;
	return at < s->size ? at + utf8_get(s->data + at, s->size - at, &cp) : SIZE_MAX;
}

rebus_status template_replace(template_run *r, const template_string *s, const template_string *from, const template_string *to,
	int64_t most, value *out)
{
	rebus_status status = REBUS_OK;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	size_t copied = 0, at = 0;
	TRY(charge_search(r, s, from));
	for (int64_t i = 0; most < 0 || i < most; i++) {
		size_t place = next_place(s, from, at, i == 0);
		if (place == SIZE_MAX)
			break;
		TRY(template_step(r, 1));
		buf_add(&b, s->data + copied, place - copied);
		buf_add(&b, to->data, to->size);
		copied = place + from->size;
		at = from->size ? copied : place;
	}
	buf_add(&b, s->data + copied, s->size - copied);
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ split */
static rebus_status add_part(template_run *r, value list, const char *data, size_t size)
{
	rebus_status status = REBUS_OK;
	value part;
	TRY(template_string_view(r, data, size, &part));
	TRY(template_seq_add(r, list, part));
done:
	return status;
}

static void reverse_list(value list)
{
	template_list_body *l = list.as.list;
	for (size_t i = 0; i < l->count / 2; i++) {
		value swap = l->at[i];
		l->at[i] = l->at[l->count - 1 - i];
		l->at[l->count - 1 - i] = swap;
	}
}

static size_t word_length(const char *s, size_t n)
{
	size_t at = 0;
	uint32_t cp;
	while (at < n) {
		size_t k = utf8_get(s + at, n - at, &cp);
		if (template_space(cp))
			break;
		at += k;
	}
	return at;
}

static rebus_status split_words(template_run *r, const template_string *s, int64_t most, value list)
{
	rebus_status status = REBUS_OK;
	size_t at = template_space_start(s->data, s->size);
	for (int64_t i = 0; at < s->size; i++) {
		size_t n = most >= 0 && i >= most ? s->size - at : word_length(s->data + at, s->size - at);
		TRY(add_part(r, list, s->data + at, n));
		at += n;
		at += template_space_start(s->data + at, s->size - at);
	}
done:
	return status;
}

static rebus_status split_words_right(template_run *r, const template_string *s, int64_t most, value list)
{
	rebus_status status = REBUS_OK;
	size_t end = s->size - template_space_end(s->data, s->size);
	uint32_t cp;
	for (int64_t i = 0; end; i++) {
		size_t begin = most >= 0 && i >= most ? 0 : end;
		while (begin) {
			size_t k = utf8_last(s->data, begin, &cp);
			if (template_space(cp))
				break;
			begin -= k;
		}
		TRY(add_part(r, list, s->data + begin, end - begin));
		end = begin - template_space_end(s->data, begin);
	}
	reverse_list(list);
done:
	return status;
}

static rebus_status split_by(template_run *r, const template_string *s, const template_string *by, int64_t most, value list)
{
	rebus_status status = REBUS_OK;
	size_t at = 0;
	for (int64_t i = 0; most < 0 || i < most; i++) {
		const char *found = template_find(s->data + at, s->size - at, by->data, by->size);
		if (!found)
			break;
		TRY(add_part(r, list, s->data + at, (size_t)(found - s->data) - at));
		at = (size_t)(found - s->data) + by->size;
	}
	TRY(add_part(r, list, s->data + at, s->size - at));
done:
	return status;
}

static rebus_status split_by_right(template_run *r, const template_string *s, const template_string *by, int64_t most, value list)
{
	rebus_status status = REBUS_OK;
	size_t end = s->size;
	for (int64_t i = 0; most < 0 || i < most; i++) {
		const char *found = template_find_last(s->data, end, by->data, by->size);
		if (!found)
			break;
		size_t begin = (size_t)(found - s->data) + by->size;
		TRY(add_part(r, list, s->data + begin, end - begin));
		end = begin - by->size;
	}
	TRY(add_part(r, list, s->data, end));
	reverse_list(list);
done:
	return status;
}

rebus_status template_split(template_run *r, const template_string *s, const template_string *by, int64_t most, bool right, value *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_seq_new(r, VALUE_LIST, 0, out));
	if (by && !by->size)
		return template_fail(r, REBUS_FORMAT, "empty separator");
	if (by)
		TRY(charge_search(r, s, by));
	else
		TRY(template_step(r, s->size / 64));
	if (by)
		TRY(right ? split_by_right(r, s, by, most, *out) : split_by(r, s, by, most, *out));
	else
		TRY(right ? split_words_right(r, s, most, *out) : split_words(r, s, most, *out));
done:
	return status;
}

static bool line_break(uint32_t cp)
{
	return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

rebus_status template_lines(template_run *r, const template_string *s, bool keep, value *out)
{
	rebus_status status = REBUS_OK;
	size_t begin = 0, at = 0;
	uint32_t cp;
	TRY(template_seq_new(r, VALUE_LIST, 0, out));
	TRY(template_step(r, s->size / 64));
	while (at < s->size) {
		size_t k = utf8_get(s->data + at, s->size - at, &cp);
		if (line_break(cp)) {
			if (cp == '\r' && at + 1 < s->size && s->data[at + 1] == '\n')
				k = 2;
			TRY(add_part(r, *out, s->data + begin, at - begin + (keep ? k : 0)));
			begin = at + k;
		}
		at += k;
	}
	if (begin < s->size)
		TRY(add_part(r, *out, s->data + begin, s->size - begin));
done:
	return status;
}

rebus_status template_letters(template_run *r, template_string *s, value *out)
{
	rebus_status status = REBUS_OK;
	uint32_t cp;
	TRY(template_seq_new(r, VALUE_LIST, template_points(s), out));
	for (size_t at = 0; at < s->size;) {
		size_t k = utf8_get(s->data + at, s->size - at, &cp);
		TRY(add_part(r, *out, s->data + at, k));
		at += k;
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ padding */
rebus_status template_pad(template_run *r, template_string *s, int64_t width, uint32_t fill, int where, value *out)
{
	rebus_status status = REBUS_OK;
	buf b;
	char letter[4];
	size_t size = utf8_put(fill, letter);
	int64_t have = (int64_t)template_points(s), more = width > have ? width - have : 0;
	int64_t left = where < 0 ? 0 : where > 0 ? more : more / 2 + (more & width & 1);
	buf_init(&b, r->scratch->from, r->limits.output);
	if (more > (int64_t)r->limits.output)
		TRY(template_fail(r, REBUS_LIMIT, "a string of %lld letters, at most %zu", (long long)width, r->limits.output));
	TRY(template_step(r, (size_t)more / 16));
	for (int64_t i = 0; i < left; i++)
		buf_add(&b, letter, size);
	buf_add(&b, s->data, s->size);
	for (int64_t i = left; i < more; i++)
		buf_add(&b, letter, size);
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}
