/*
 * memory.c - checked sizes, arenas, growing buffers and UTF-8.
 *
 * An arena's chunk is at least 64 KiB, so that small objects cost no call to the allocator; an object larger than that
 * gets a chunk of its own size. Every object starts on a cache line: vector loads never split, and false sharing between
 * threads that own neighbouring objects cannot happen. A test may set ARENA_CHUNK to see every object cost a call.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef ARENA_CHUNK
#define ARENA_CHUNK (64 << 10)
#endif
enum { ALIGN = 64, CHUNK = ARENA_CHUNK, LARGE_PAGE = 2 << 20 };

struct arena_chunk {
	arena_chunk *before;
	size_t size, used; /* both from the chunk's own start, header included */
};

bool size_mul(size_t a, size_t b, size_t *out)
{
	if (b && a > SIZE_MAX / b)
		return false;
	*out = a * b;
	return true;
}

bool size_add(size_t a, size_t b, size_t *out)
{
	if (a > SIZE_MAX - b)
		return false;
	*out = a + b;
	return true;
}

size_t size_round(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

int64_t int_min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t int_max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

int64_t ceil_div(int64_t a, int64_t b)
{
	return (a + b - 1) / b;
}

uint64_t bits_mix(uint64_t x)
{
	x += 0x9E3779B97F4A7C15u;
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

static void *aligned_get(void *user, size_t size)
{
	(void)user;
	if (size > SIZE_MAX - ALIGN)
		return NULL;
	return aligned_alloc(ALIGN, size_round(size ? size : 1, ALIGN));
}

static void aligned_give(void *user, void *memory, size_t size)
{
	(void)user;
	(void)size;
	free(memory);
}

void memory_large_pages(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
	uintptr_t from = size_round((uintptr_t)memory, LARGE_PAGE), to = ((uintptr_t)memory + size) / LARGE_PAGE * LARGE_PAGE;
	if (from < to)
		(void)!madvise((void *)from, to - from, MADV_HUGEPAGE); /* a hint */
#else
	(void)memory;
	(void)size;
#endif
}

const rebus_allocator base_allocator = {NULL, aligned_get, aligned_give};

void arena_init(arena *a, const rebus_allocator *from, size_t limit)
{
	*a = (arena){.from = from ? from : &base_allocator, .limit = limit ? limit : SIZE_MAX};
}

void arena_free(arena *a)
{
	while (a->last) {
		arena_chunk *c = a->last;
		a->last = c->before;
		a->from->free(a->from->user, c, c->size);
	}
	a->total = 0;
}

static bool chunk_add(arena *a, size_t need)
{
	size_t size;
	if (!size_add(need, ALIGN, &size))
		return false;
	if (size < CHUNK && a->last) /* the first chunk of an arena that holds little stays small */
		size = CHUNK;
	else if (size < CHUNK / 16)
		size = CHUNK / 16;
	if (size > a->limit || a->total > a->limit - size)
		return false;
	arena_chunk *c = a->from->alloc(a->from->user, size);
	if (!c)
		return false;
	*c = (arena_chunk){.before = a->last, .size = size, .used = ALIGN};
	a->last = c;
	a->total += size;
	return true;
}

void *arena_get(arena *a, size_t count, size_t size)
{
	size_t n;
	if (!size_mul(count, size, &n) || n > SIZE_MAX - 2 * ALIGN)
		return NULL;
	n = size_round(n ? n : 1, ALIGN);
	if ((!a->last || a->last->size - a->last->used < n) && !chunk_add(a, n))
		return NULL;
	void *p = (char *)a->last + a->last->used;
	a->last->used += n;
	return p;
}

void *arena_zero(arena *a, size_t count, size_t size)
{
	void *p = arena_get(a, count, size);
	if (p)
		memset(p, 0, count * size);
	return p;
}

char *arena_text(arena *a, const char *text, size_t length)
{
	size_t n;
	char *p = size_add(length, 1, &n) ? arena_get(a, n, 1) : NULL;
	if (!p)
		return NULL;
	if (length)
		memcpy(p, text, length);
	p[length] = 0;
	return p;
}

char *arena_format(arena *a, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *p = n < 0 ? NULL : arena_get(a, (size_t)n + 1, 1);
	if (!p)
		return NULL;
	va_start(args, format);
	vsnprintf(p, (size_t)n + 1, format, args);
	va_end(args);
	return p;
}

bool arena_reserve(arena *a, size_t size)
{
	return (a->last && a->last->size - a->last->used >= size) || chunk_add(a, size);
}

arena_mark arena_here(const arena *a)
{
	return (arena_mark){a->last, a->last ? a->last->used : 0};
}

void arena_release(arena *a, arena_mark mark)
{
	while (a->last && a->last != mark.chunk) {
		arena_chunk *c = a->last;
		a->last = c->before;
		a->total -= c->size;
		a->from->free(a->from->user, c, c->size);
	}
	if (a->last)
		a->last->used = mark.used;
}

void buf_init(buf *b, const rebus_allocator *from, size_t limit)
{
	*b = (buf){.from = from ? from : &base_allocator, .limit = limit ? limit : SIZE_MAX / 2};
}

void buf_free(buf *b)
{
	if (b->data)
		b->from->free(b->from->user, b->data, b->room);
	b->data = NULL;
	b->size = b->room = 0;
}

static bool buf_grow(buf *b, size_t more)
{
	if (b->failed)
		return false;
	if (more > b->limit - b->size) {
		b->failed = REBUS_LIMIT;
		return false;
	}
	size_t need = b->size + more + 1;
	if (need <= b->room)
		return true;
	size_t room = b->room ? b->room : 64;
	while (room < need)
		room *= 2;
	char *p = b->from->alloc(b->from->user, room);
	if (!p) {
		b->failed = REBUS_MEMORY;
		return false;
	}
	if (b->size)
		memcpy(p, b->data, b->size);
	if (b->data)
		b->from->free(b->from->user, b->data, b->room);
	b->data = p;
	b->room = room;
	return true;
}

void buf_add(buf *b, const void *data, size_t size)
{
	if (!buf_grow(b, size))
		return;
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	b->data[b->size] = 0;
}

char *buf_reserve(buf *b, size_t more)
{
	return buf_grow(b, more) ? b->data + b->size : NULL;
}

void buf_text(buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_byte(buf *b, int c)
{
	char x = (char)c;
	buf_add(b, &x, 1);
}

void buf_format(buf *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0 || !buf_grow(b, (size_t)n))
		return;
	va_start(args, format);
	vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
	va_end(args);
	b->size += (size_t)n;
}

void buf_json(buf *b, const char *text, size_t length)
{
	buf_byte(b, '"');
	for (size_t i = 0; i < length;) {
		uint32_t cp;
		char out[4];
		size_t n = utf8_get(text + i, length - i, &cp);
		i += n;
		if (cp == '"' || cp == '\\')
			buf_format(b, "\\%c", (char)cp);
		else if (cp == '\n')
			buf_text(b, "\\n");
		else if (cp == '\t')
			buf_text(b, "\\t");
		else if (cp < 0x20 || cp == 0x7f)
			buf_format(b, "\\u%04x", (unsigned)cp);
		else
			buf_add(b, out, utf8_put(cp, out));
	}
	buf_byte(b, '"');
}

rebus_status buf_check(const buf *b, rebus_error *err, const char *what)
{
	if (b->failed == REBUS_MEMORY)
		return error_memory(err, what);
	if (b->failed)
		return error_set(err, b->failed, "%s is larger than the limit of %zu bytes", what, b->limit);
	return REBUS_OK;
}

size_t utf8_get(const char *s, size_t n, uint32_t *cp)
{
	const unsigned char *u = (const unsigned char *)s;
	*cp = 0xFFFD;
	if (!n)
		return 0;
	if (u[0] < 0x80) {
		*cp = u[0];
		return 1;
	}
	size_t len = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : 2;
	if (u[0] < 0xC2 || u[0] > 0xF4 || n < len)
		return 1;
	uint32_t c = u[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xC0) != 0x80)
			return 1;
		c = c << 6 | (u[i] & 0x3Fu);
	}
	if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10FFFF)) || (c >= 0xD800 && c < 0xE000))
		return 1;
	*cp = c;
	return len;
}

size_t utf8_put(uint32_t cp, char out[4])
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
		cp = 0xFFFD;
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xC0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 63));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xE0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 63));
		out[2] = (char)(0x80 | (cp & 63));
		return 3;
	}
	out[0] = (char)(0xF0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 63));
	out[2] = (char)(0x80 | (cp >> 6 & 63));
	out[3] = (char)(0x80 | (cp & 63));
	return 4;
}

bool utf8_valid(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		uint64_t eight;
		if (n - i >= 8 && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u))) {
			i += 8;
			continue;
		}
		size_t k = utf8_get(s + i, n - i, &cp);
		if (k == 1 && (unsigned char)s[i] >= 0x80)
			return false;
		i += k;
	}
	return true;
}

bool text_is(const char *s, size_t n, const char *literal)
{
	return strlen(literal) == n && memcmp(s, literal, n) == 0;
}

uint32_t text_hash(const char *s, size_t n)
{
	const uint64_t odd = 0x9E3779B97F4A7C15u;
	uint64_t h = n * odd, w = 0;
	for (; n > 8; n -= 8, s += 8) {
		memcpy(&w, s, 8);
		h = (h ^ w) * odd;
		h ^= h >> 32;
	}
	w = 0;
	if (n >= 4) { /* both halves, which overlap */
		uint32_t a, b;
		memcpy(&a, s, 4);
		memcpy(&b, s + n - 4, 4);
		w = (uint64_t)a << 32 | b;
	} else if (n) {
		w = (uint64_t)(unsigned char)s[0] << 16 | (uint64_t)(unsigned char)s[n / 2] << 8 | (unsigned char)s[n - 1];
	}
	h = (h ^ w) * odd;
	h = (h ^ h >> 32) * odd;
	return (uint32_t)(h >> 32);
}
