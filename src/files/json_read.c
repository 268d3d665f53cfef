/*
 * json_read.c - a text of JSON to a tree; see json_tree.h.
 *
 * One pass. The values of a list or map wait on a stack until it closes, then move side by side into their place:
 *
 *   [1, [2, 3], 4      stack  1 | LIST ─► 2 3 | 4        "]" moves 1, LIST, 4 away and pushes the outer LIST
 *
 * Texts and values are cut from chunks that the document owns. Nothing is larger than the text allows: a value needs two bytes
 * of it, nesting ends at JSON_DEPTH, and so many values are refused when there are too many.
 *
 * A member named twice has its last value at its first place, as in Python. A hostile map may have names that all hash alike: the
 * steps of the search are counted and bounded. Numbers of up to 15 digits times a power of ten that doubles hold are exact in one
 * multiplication or division (Clinger 1990); others are the C library's business.
 *
 * Why not a library: docs/dependencies.md.
 */
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/json_tree.h"

enum { CHUNK = 64 << 10, NUMBER_MOST = 4096, EXACT_DIGITS = 15, EXACT_POWER = 22, PROBES_EACH = 64 };

typedef struct pool { /* memory that is cut from the front of chunks */
	char *at;
	size_t left;
} pool;

typedef struct document {
	json root; /* first: what callers hold is the document */
	arena mem;
} document;

typedef struct reader {
	const char *s, *name; /* name: for messages */
	size_t n, at, values, most;
	document *d;
	pool texts, trees;
	buf stack;
	uint64_t probes;
	rebus_error *err;
} reader;

static rebus_status bad(reader *r, size_t at, const char *why)
{
	if (at >= r->n)
		return error_set(r->err, REBUS_FORMAT, "%s: JSON ends too early", r->name);
	return error_set(r->err, REBUS_FORMAT, "%s: byte %zu is not JSON: %s", r->name, at, why);
}

static void *take(reader *r, pool *p, size_t size)
{
	size = size_round(size + !size, 8);
	if (size > p->left) {
		size_t chunk = size > CHUNK ? size : CHUNK;
		char *more = arena_get(&r->d->mem, chunk, 1);
		if (!more)
			return NULL;
		*p = (pool){more, chunk};
	}
	void *out = p->at;
	p->at += size;
	p->left -= size;
	return out;
}

static rebus_status push(reader *r, const json *v)
{
	buf_add(&r->stack, v, sizeof *v);
	return buf_check(&r->stack, r->err, r->name);
}

static void skip_blanks(reader *r)
{
	while (r->at < r->n && (r->s[r->at] == ' ' || r->s[r->at] == '\n' || r->s[r->at] == '\t' || r->s[r->at] == '\r'))
		r->at++;
}

/* ------------------------------------------------------------------------------------------------ texts */
static int hex4(const char *s)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* The character of the escape at s[at], a backslash; 0 bytes read where there is none. A lone surrogate becomes U+FFFD. */
static size_t unescape(const char *s, size_t left, uint32_t *cp)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (left < 2)
		return 0;
	const char *simple = s[1] ? strchr(from, s[1]) : NULL;
	if (simple) {
		*cp = (unsigned char)to[simple - from];
		return 2;
	}
	int high = left >= 6 && s[1] == 'u' ? hex4(s + 2) : -1;
	if (high < 0)
		return 0;
	int low = high >= 0xD800 && high < 0xDC00 && left >= 12 && s[6] == '\\' && s[7] == 'u' ? hex4(s + 8) : -1;
	bool pair = low >= 0xDC00 && low < 0xE000;
	*cp = pair ? 0x10000 + ((uint32_t)(high - 0xD800) << 10 | (uint32_t)(low - 0xDC00)) :
	      high >= 0xD800 && high < 0xE000 ? 0xFFFD : (uint32_t)high;
	return pair ? 12 : 6;
}

/* From the first quote on; what lies between is copied, the escapes replaced. It never grows. */
static rebus_status read_text(reader *r, json *out)
{
	size_t from = ++r->at, escapes = 0;
	bool plain = true; /* ASCII */
	while (r->at < r->n && r->s[r->at] != '"') {
		unsigned char c = (unsigned char)r->s[r->at];
		if (c < 0x20)
			return bad(r, r->at, "a control character in a text");
		plain = plain && c < 0x80;
		escapes += c == '\\';
		r->at += c == '\\' ? 2 : 1;
	}
	if (r->at >= r->n)
		return bad(r, r->n, "");
	size_t n = r->at++ - from;
	const char *s = r->s + from;
	if (!plain && !utf8_valid(s, n))
		return error_set(r->err, REBUS_FORMAT, "%s: byte %zu: a text that is not UTF-8", r->name, from);
	char *text = take(r, &r->texts, n + 1), *to = text;
	if (!text)
		return error_memory(r->err, r->name);
	if (!escapes) {
		memcpy(text, s, n);
		to += n;
	}
	for (size_t i = 0; escapes && i < n;) {
		if (s[i] != '\\') {
			*to++ = s[i++];
			continue;
		}
		uint32_t cp;
		char utf8[4];
		size_t k = unescape(s + i, n - i, &cp);
		if (!k)
			return bad(r, from + i, "no such escape");
		size_t size = utf8_put(cp, utf8);
		memcpy(to, utf8, size);
		to += size;
		i += k;
	}
	*to = 0;
	*out = (json){.kind = JSON_TEXT, .count = (uint32_t)(to - text), .is.text = text};
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ numbers */
static size_t digits(reader *r, uint64_t *value, int *used)
{
	size_t from = r->at;
	for (; r->at < r->n && r->s[r->at] >= '0' && r->s[r->at] <= '9'; r->at++) {
		if (*used < EXACT_DIGITS + 3)
			*value = *value * 10 + (uint64_t)(r->s[r->at] - '0');
		*used += *value != 0; /* leading zeros do not count */
	}
	return r->at - from;
}

/* By the C library, whose point may be another one. */
static rebus_status convert(reader *r, size_t from, bool whole, json *out)
{
	char text[NUMBER_MOST + 1];
	size_t n = r->at - from;
	if (n > NUMBER_MOST)
		return error_set(r->err, REBUS_LIMIT, "%s: byte %zu: a number of %zu characters, more than %d", r->name, from, n, NUMBER_MOST);
	memcpy(text, r->s + from, n);
	text[n] = 0;
	char *dot = strchr(text, '.');
	if (dot)
		*dot = localeconv()->decimal_point[0];
	if (whole) /* beyond 64 bits: clamped */
		*out = (json){.kind = JSON_INT, .is.whole = strtoll(text, NULL, 10)};
	else
		*out = (json){.kind = JSON_REAL, .is.real = strtod(text, NULL)};
	return REBUS_OK;
}

static rebus_status read_number(reader *r, json *out)
{
	static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
	                                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	size_t from = r->at, first, behind = 0;
	uint64_t value = 0;
	int used = 0, power = 0;
	bool minus = r->s[r->at] == '-', whole = true;
	r->at += minus;
	first = r->at;
	if (!digits(r, &value, &used))
		return bad(r, r->at, "expected a digit");
	if (r->s[first] == '0' && r->at - first > 1)
		return bad(r, first, "a number begins with 0");
	if (r->at < r->n && r->s[r->at] == '.') {
		whole = false;
		r->at++;
		behind = digits(r, &value, &used);
		if (!behind)
			return bad(r, r->at, "expected a digit");
	}
	if (r->at < r->n && (r->s[r->at] | 32) == 'e') {
		whole = false;
		r->at++;
		bool down = r->at < r->n && r->s[r->at] == '-';
		r->at += down || (r->at < r->n && r->s[r->at] == '+');
		size_t begin = r->at;
		for (; r->at < r->n && r->s[r->at] >= '0' && r->s[r->at] <= '9'; r->at++)
			power = power < 10000 ? power * 10 + r->s[r->at] - '0' : power;
		if (r->at == begin)
			return bad(r, r->at, "expected a digit");
		power = down ? -power : power;
	}
	if (whole && used <= EXACT_DIGITS + 3) {
		*out = (json){.kind = JSON_INT, .is.whole = minus ? -(int64_t)value : (int64_t)value};
		return REBUS_OK;
	}
	int64_t scale = (int64_t)power - (int64_t)int_min((int64_t)behind, 1 << 20);
	if (whole || used > EXACT_DIGITS || scale < -EXACT_POWER || scale > EXACT_POWER)
		return convert(r, from, whole, out);
	double d = scale < 0 ? (double)value / powers[-scale] : (double)value * powers[scale];
	*out = (json){.kind = JSON_REAL, .is.real = minus ? -d : d};
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ words */
static rebus_status read_word(reader *r, json *out)
{
	static const struct {
		const char *text;
		json is;
	} words[] = {
		{"true", {.kind = JSON_BOOL, .is.flag = true}}, {"false", {.kind = JSON_BOOL}}, {"null", {.kind = JSON_NULL}},
		{"NaN", {.kind = JSON_REAL, .is.real = (double)NAN}},   {"Infinity", {.kind = JSON_REAL, .is.real = (double)INFINITY}},
		{"-Infinity", {.kind = JSON_REAL, .is.real = (double)-INFINITY}},
	};
	size_t left = r->n - r->at;
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		size_t n = strlen(words[i].text), same = 0;
		while (same < n && same < left && r->s[r->at + same] == words[i].text[same])
			same++;
		if (same == n) {
			r->at += n;
			*out = words[i].is;
			return REBUS_OK;
		}
		if (same == left)
			return bad(r, r->n, "");
	}
	return bad(r, r->at, "expected a value");
}

/* ------------------------------------------------------------------------------------------------ lists and maps */
static json *stacked(const reader *r, size_t from)
{
	return (json *)(void *)(r->stack.data + from);
}

/* The members that waited, each name once, in *items. */
static rebus_status place_members(reader *r, const json *waiting, size_t count, json *items, json_table *table, size_t *kept)
{
	uint32_t *slots = table ? (uint32_t *)(void *)(items + 2 * count) : NULL;
	*kept = 0;
	for (size_t i = 0; i < count; i++) {
		const json *name = &waiting[2 * i];
		size_t k = 0, same = *kept;
		if (table) {
			k = json_slot(table, items, name->is.text, name->count, &r->probes);
			same = slots[k] ? slots[k] - 1 : same;
		}
		for (size_t m = 0; !table && m < *kept && same == *kept; m++)
			if (items[2 * m].count == name->count && !memcmp(items[2 * m].is.text, name->is.text, name->count))
				same = m;
		items[2 * same] = *name;
		items[2 * same + 1] = waiting[2 * i + 1];
		if (table)
			slots[k] = (uint32_t)same + 1;
		*kept += same == *kept;
		if (r->probes > (uint64_t)PROBES_EACH * (r->values + 1000))
			return error_set(r->err, REBUS_LIMIT, "%s: a map whose names are made to be slow to find", r->name);
	}
	return REBUS_OK;
}

static rebus_status close_map(reader *r, size_t from, json *out)
{
	size_t count = (r->stack.size - from) / sizeof(json) / 2, slots = 0, kept = 0;
	for (slots = count > MAP_SMALL ? 64 : 0; slots && slots < 2 * count;)
		slots *= 2;
	char *memory = take(r, &r->trees, sizeof(json_table) + 2 * count * sizeof(json) + slots * sizeof(uint32_t));
	if (!memory)
		return error_memory(r->err, r->name);
	json_table *table = (json_table *)(void *)memory;
	json *items = (json *)(void *)(table + 1);
	if (slots) {
		memset(items + 2 * count, 0, slots * sizeof(uint32_t));
		*table = (json_table){(const uint32_t *)(const void *)(items + 2 * count), slots - 1};
	}
	rebus_status status = place_members(r, count ? stacked(r, from) : NULL, count, items, slots ? table : NULL, &kept);
	r->stack.size = from;
	*out = (json){.kind = JSON_MAP, .count = (uint32_t)kept, .is.items = items};
	return status;
}

static rebus_status close_list(reader *r, size_t from, json *out)
{
	size_t size = r->stack.size - from;
	json *items = take(r, &r->trees, size);
	if (!items)
		return error_memory(r->err, r->name);
	if (size)
		memcpy(items, stacked(r, from), size);
	r->stack.size = from;
	*out = (json){.kind = JSON_LIST, .count = (uint32_t)(size / sizeof(json)), .is.items = items};
	return REBUS_OK;
}

static rebus_status read_value(reader *r, int depth, json *out);

static rebus_status read_many(reader *r, int depth, json *out)
{
	rebus_status status = REBUS_OK;
	bool map = r->s[r->at++] == '{';
	char close = map ? '}' : ']';
	size_t from = r->stack.size;
	json v;
	skip_blanks(r);
	bool empty = r->at < r->n && r->s[r->at] == close;
	while (!empty) {
		if (map) {
			if (r->at >= r->n || r->s[r->at] != '"')
				return bad(r, r->at, "expected a name in quotes");
			TRY(read_text(r, &v));
			TRY(push(r, &v));
			skip_blanks(r);
			if (r->at >= r->n || r->s[r->at] != ':')
				return bad(r, r->at, "expected a colon");
			r->at++;
		}
		TRY(read_value(r, depth + 1, &v));
		TRY(push(r, &v));
		skip_blanks(r);
		if (r->at < r->n && r->s[r->at] == close)
			break;
		if (r->at >= r->n || r->s[r->at] != ',')
			return bad(r, r->at, map ? "expected a comma or }" : "expected a comma or ]");
		r->at++;
		skip_blanks(r);
	}
	r->at++;
	status = map ? close_map(r, from, out) : close_list(r, from, out);
done:
	return status;
}

static rebus_status read_value(reader *r, int depth, json *out)
{
	skip_blanks(r);
	if (r->at >= r->n)
		return bad(r, r->n, "");
	if (++r->values > r->most)
		return error_set(r->err, REBUS_LIMIT, "%s: more than the limit of %zu values", r->name, r->most);
	char c = r->s[r->at];
	if (c == '"')
		return read_text(r, out);
	if ((c == '-' && !(r->at + 1 < r->n && r->s[r->at + 1] == 'I')) || (c >= '0' && c <= '9'))
		return read_number(r, out);
	if (c != '{' && c != '[')
		return read_word(r, out);
	if (depth == JSON_DEPTH)
		return error_set(r->err, REBUS_LIMIT, "%s: nested deeper than %d levels", r->name, JSON_DEPTH);
	return read_many(r, depth, out);
}

rebus_status json_parse(const char *text, size_t size, const char *name, size_t most_values, json **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena mem;
	document *d = NULL;
	reader r = {.s = text, .n = size, .name = name, .most = most_values, .err = err};
	if (size > INT32_MAX - 1)
		return error_set(err, REBUS_LIMIT, "%s: %zu bytes of JSON, more than 2 GiB", name, size);
	arena_init(&mem, NULL, 0);
	buf_init(&r.stack, NULL, SIZE_MAX / 2);
	d = arena_zero(&mem, 1, sizeof *d);
	if (!d) {
		status = error_memory(err, name);
		goto done;
	}
	d->mem = mem;
	r.d = d;
	TRY(read_value(&r, 0, &d->root));
	skip_blanks(&r);
	if (r.at < size)
		status = error_set(err, REBUS_FORMAT, "%s: byte %zu: something follows the JSON value", name, r.at);
	else if (d->root.kind == JSON_NULL)
		status = error_set(err, REBUS_FORMAT, "%s: is null, expected a JSON value", name);
	if (status)
		goto done;
	*out = &d->root;
	d = NULL;
done:
	buf_free(&r.stack);
	json_free(d ? &d->root : NULL);
	return status;
}

void json_free(json *j)
{
	if (!j)
		return;
	arena mem = ((document *)(void *)j)->mem; /* the document lies in its own arena */
	arena_free(&mem);
}
