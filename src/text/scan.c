/*
 * scan.c - a matcher for simple regular expressions; see scan.h.
 *
 *   's|'t|'re| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+            GPT-2's
 *
 * Such a pattern is a few ways, tried in order at each place; a way is a few items, each a class of characters so many times:
 *
 *   ways   ' s | ' t | ' r e | ␣? L+ | ␣? N+ | ␣? O+ | S+ not-before O | S+
 *
 * An item takes as many characters as it may, then fewer, until the rest of the way fits: the order in which a backtracking matcher
 * looks, so the match is the same. A class is a bit for each ASCII character and, beyond ASCII, whether letters, numbers and blanks
 * belong to it. By its first byte a place knows which ways to try at all.
 *
 * Simple: literals, classes of ASCII characters, \s, \S, \p{L}, \p{N}, their complements; ? * + {m} {m,n}; (?i:a|b) of ASCII letters as a
 * whole way; a look-ahead (?!x) for one class at a way's end. Everything else is PCRE2's business (regex.c), and so is a
 * text that takes too many steps. tests/unit/test_scan.c compares the two on every code point and on random texts.
 */
#include <string.h>

#include "text/scan.h"
#include "text/unicode.h"

enum { WAYS_MOST = 32, ITEMS_MOST = 24, TIMES_MOST = 1000 };

typedef struct {
	uint64_t ascii[2];
	uint32_t beyond; /* kinds of characters beyond ASCII */
	uint32_t folded; /* one such character that a letter without regard to case is too: U+017F, U+212A; 0: none */
} scan_class;

typedef struct {
	scan_class is;
	uint32_t least, most; /* most UINT32_MAX: any number */
} scan_item;

typedef struct {
	scan_item items[ITEMS_MOST];
	int count;
	bool unless; /* the last item must not follow; it is not part of the match */
} scan_way;

struct text_scan {
	uint32_t begins[256]; /* by a place's first byte: a bit for each way that may match there */
	scan_way ways[WAYS_MOST];
	int count;
};

/* ------------------------------------------------------------------------------------------------ classes */
static bool in_class(const scan_class *c, const char *s, size_t n, size_t *size)
{
	unsigned char first = (unsigned char)s[0];
	if (first < 0x80) {
		*size = 1;
		return c->ascii[first >> 6] >> (first & 63) & 1;
	}
	uint32_t cp;
	*size = utf8_get(s, n, &cp);
	if (c->beyond == UNICODE_ANY || !c->beyond)
		return c->beyond || (c->folded && cp == c->folded);
	return (unicode_kind(cp) & c->beyond) || (c->folded && cp == c->folded);
}

static void add_ascii(scan_class *c, unsigned char first, unsigned char last)
{
	for (unsigned i = first; i <= last; i++)
		c->ascii[i >> 6] |= (uint64_t)1 << (i & 63);
}

static void complement(scan_class *c)
{
	c->ascii[0] = ~c->ascii[0];
	c->ascii[1] = ~c->ascii[1];
	c->beyond ^= UNICODE_ANY;
}

static void add_kind(scan_class *c, char kind, bool negated)
{
	scan_class k = {.beyond = kind == 'L' ? UNICODE_LETTER : kind == 'N' ? UNICODE_NUMBER : UNICODE_BLANK};
	if (kind == 'L') {
		add_ascii(&k, 'A', 'Z');
		add_ascii(&k, 'a', 'z');
	} else if (kind == 'N') {
		add_ascii(&k, '0', '9');
	} else {
		add_ascii(&k, '\t', '\r');
		add_ascii(&k, ' ', ' ');
	}
	if (negated)
		complement(&k);
	c->ascii[0] |= k.ascii[0];
	c->ascii[1] |= k.ascii[1];
	c->beyond |= k.beyond;
}

/* ------------------------------------------------------------------------------------------------ reading a pattern */
typedef struct {
	const char *s;
	size_t n, i;
	bool any_case;
} pattern;

static bool next_is(const pattern *p, const char *text)
{
	size_t n = strlen(text);
	return p->n - p->i >= n && memcmp(p->s + p->i, text, n) == 0;
}

/* An escape, at its backslash, into the class. */
static bool read_escape(pattern *p, scan_class *c)
{
	if (p->n - p->i < 2)
		return false;
	char e = p->s[p->i + 1];
	if (e == 'p' || e == 'P') {
		bool known = p->n - p->i >= 5 && p->s[p->i + 2] == '{' && (p->s[p->i + 3] == 'L' || p->s[p->i + 3] == 'N') && p->s[p->i + 4] == '}';
		if (known)
			add_kind(c, p->s[p->i + 3], e == 'P');
		p->i += 5;
		return known;
	}
	p->i += 2;
	if (e == 's' || e == 'S') {
		add_kind(c, ' ', e == 'S');
		return true;
	}
	unsigned char plain = e == 'r' ? '\r' : e == 'n' ? '\n' : e == 't' ? '\t' : (unsigned char)e;
	bool letter = (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') || (e >= '0' && e <= '9');
	if (plain >= 0x80 || (letter && plain == (unsigned char)e))
		return false;
	add_ascii(c, plain, plain);
	return true;
}

static bool read_set(pattern *p, scan_class *c)
{
	bool negated = next_is(p, "[^"), any = false;
	p->i += negated ? 2 : 1;
	for (; p->i < p->n && p->s[p->i] != ']'; any = true) {
		unsigned char x = (unsigned char)p->s[p->i];
		if (x == '\\') {
			if (!read_escape(p, c) || (p->i < p->n && p->s[p->i] == '-'))
				return false;
			continue;
		}
		if (x >= 0x80 || x == '[' || x == '&' || x == '-' || x == '^')
			return false;
		unsigned char last = x;
		if (p->n - p->i > 2 && p->s[p->i + 1] == '-') {
			last = (unsigned char)p->s[p->i + 2];
			if (last == ']' || last == '\\' || last == '[' || last >= 0x80 || last < x)
				return false;
			p->i += 2;
		}
		p->i++;
		add_ascii(c, x, last);
	}
	if (p->i >= p->n || !any || p->any_case)
		return false;
	p->i++;
	if (negated)
		complement(c);
	return true;
}

static bool read_class(pattern *p, scan_class *c)
{
	unsigned char x = (unsigned char)p->s[p->i];
	*c = (scan_class){.beyond = 0};
	if (x == '[')
		return read_set(p, c);
	if (x == '\\')
		return !p->any_case && read_escape(p, c);
	if (x >= 0x80 || strchr("^$.|?*+(){}]&", x))
		return false;
	p->i++;
	add_ascii(c, x, x);
	unsigned char other = (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') ? x ^ 32 : x;
	if (p->any_case) {
		add_ascii(c, other, other);
		c->folded = (x | 32) == 's' ? 0x17F : (x | 32) == 'k' ? 0x212A : 0;
	}
	return true;
}

static bool read_count(pattern *p, uint32_t *out)
{
	size_t from = p->i;
	for (*out = 0; p->i < p->n && p->s[p->i] >= '0' && p->s[p->i] <= '9'; p->i++)
		*out = *out > TIMES_MOST ? *out : *out * 10 + (uint32_t)(p->s[p->i] - '0');
	return p->i > from && *out <= TIMES_MOST;
}

static bool read_times(pattern *p, scan_item *item)
{
	char c = p->i < p->n ? p->s[p->i] : 0;
	item->least = c != '?' && c != '*';
	item->most = c == '*' || c == '+' ? UINT32_MAX : 1;
	if (c == '{') {
		p->i++;
		if (!read_count(p, &item->least))
			return false;
		item->most = item->least;
		if (p->i < p->n && p->s[p->i] == ',') {
			p->i++;
			item->most = UINT32_MAX;
			if (p->i < p->n && p->s[p->i] != '}' && !read_count(p, &item->most))
				return false;
		}
		if (p->i >= p->n || p->s[p->i] != '}' || item->most < item->least || !item->most)
			return false;
	}
	p->i += c == '?' || c == '*' || c == '+' || c == '{';
	return p->i >= p->n || !strchr("?*+{", p->s[p->i]); /* lazy, possessive, or twice */
}

/* Up to the bar, the bracket or the end. */
static bool read_way(pattern *p, scan_way *way)
{
	bool must = false;
	*way = (scan_way){.count = 0};
	while (p->i < p->n && p->s[p->i] != '|' && p->s[p->i] != ')') {
		if (way->count == ITEMS_MOST || way->unless)
			return false;
		scan_item *item = &way->items[way->count++];
		if (next_is(p, "(?!")) {
			p->i += 3;
			way->unless = true;
			item->least = item->most = 1;
			if (p->i >= p->n || !read_class(p, &item->is) || p->i >= p->n || p->s[p->i++] != ')')
				return false;
			continue;
		}
		if (!read_class(p, &item->is) || !read_times(p, item))
			return false;
		must = must || item->least;
	}
	return must;
}

static bool read_ways(pattern *p, text_scan *out)
{
	for (;;) {
		bool group = !p->any_case && next_is(p, "(?i:");
		if (group) {
			p->i += 4;
			p->any_case = true;
		}
		if (out->count == WAYS_MOST || !read_way(p, &out->ways[out->count++]))
			return false;
		if (p->any_case && p->i < p->n && p->s[p->i] == ')') {
			p->i++;
			p->any_case = false;
		}
		if (p->i >= p->n)
			return !p->any_case;
		if (p->s[p->i++] != '|')
			return false;
	}
}

static bool may_begin(const scan_way *way, unsigned char byte)
{
	for (int i = 0; i < way->count - way->unless; i++) {
		const scan_class *c = &way->items[i].is;
		if (byte < 0x80 ? c->ascii[byte >> 6] >> (byte & 63) & 1 : c->beyond || c->folded)
			return true;
		if (way->items[i].least)
			return false;
	}
	return false;
}

text_scan *scan_open(const char *s, size_t n)
{
	pattern p = {.s = s, .n = n};
	text_scan *out = base_allocator.alloc(NULL, sizeof *out);
	if (!out)
		return NULL;
	memset(out, 0, sizeof *out);
	if (!read_ways(&p, out)) {
		scan_close(out);
		return NULL;
	}
	for (int b = 0; b < 256; b++)
		for (int i = 0; i < out->count; i++)
			out->begins[b] |= may_begin(&out->ways[i], (unsigned char)b) ? (uint32_t)1 << i : 0;
	return out;
}

void scan_close(text_scan *scan)
{
	if (scan)
		base_allocator.free(NULL, scan, sizeof *scan);
}

/* ------------------------------------------------------------------------------------------------ matching */
static size_t char_before(const char *s, size_t at)
{
	do
		at--;
	while (((unsigned char)s[at] & 0xC0) == 0x80);
	return at;
}

/* Does the way match from items[i] on at `at`? *end is then where. */
static bool fits(const scan_way *way, int i, const char *s, size_t n, size_t at, size_t *end, uint64_t *steps)
{
	size_t size, from = at;
	if (i == way->count) {
		*end = at;
		return true;
	}
	const scan_item *item = &way->items[i];
	*steps -= *steps > 0;
	if (way->unless && i == way->count - 1) {
		*end = at;
		return at >= n || !in_class(&item->is, s + at, n - at, &size);
	}
	uint32_t times = 0;
	while (times < item->most && at < n && in_class(&item->is, s + at, n - at, &size)) {
		at += size;
		times++;
	}
	*steps -= *steps > times ? times : *steps;
	for (; times >= item->least && *steps; times--) {
		if (fits(way, i + 1, s, n, at, end, steps))
			return true;
		if (at == from)
			return false;
		at = char_before(s, at);
	}
	return false;
}

scan_result scan_find(const text_scan *scan, const char *s, size_t n, size_t from, size_t *first, size_t *last, uint64_t *steps)
{
	for (size_t at = from; at < n; at++) {
		uint32_t ways = ((unsigned char)s[at] & 0xC0) == 0x80 ? 0 : scan->begins[(unsigned char)s[at]];
		for (int i = 0; ways; i++, ways >>= 1) {
			bool hit = ways & 1 && fits(&scan->ways[i], 0, s, n, at, last, steps);
			if (!*steps)
				return SCAN_UNSURE;
			if (hit) {
				*first = at;
				return SCAN_FOUND;
			}
		}
	}
	return SCAN_NONE;
}
