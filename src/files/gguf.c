/*
 * gguf.c - reads a GGUF file's values and hands them out; see gguf.h. Its tensors: gguf_tensors.c.
 *
 *   file ─► head ─► values, each with the place of its bytes ─► sorted by key ─► tensors
 *
 * Nothing is copied: a value is where it lies, and numbers are put together byte by byte whenever they are asked for.
 */
#include "files/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The least a value and a tensor take, so that counts cannot claim what the file has no room for. */
enum { VALUE_LEAST = 8 + 4 + 1, TENSOR_LEAST = 8 + 4 + 8 + 4 + 8, VALUES_MOST = 1 << 20 };

struct gguf {
	file_map file;
	bool opened;
	const char *name;
	gguf_value *all;
	const gguf_value **by_key; /* [count] */
	size_t count;
	tensor_list tensors;
};

static const size_t sizes[GGUF_KINDS] = {[GGUF_U8] = 1, [GGUF_I8] = 1, [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
	[GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};

/* ------------------------------------------------------------------------------------------------ the cursor */
static uint64_t number(const uint8_t *p, size_t size)
{
	uint64_t x = 0;
	for (size_t i = size; i-- > 0;)
		x = x << 8 | p[i];
	return x;
}

bool gguf_take(gguf_cursor *c, size_t size, uint64_t *out)
{
	if ((size_t)(c->end - c->at) < size)
		return false;
	*out = number(c->at, size);
	c->at += size;
	return true;
}

bool gguf_take_text(gguf_cursor *c, const char **text, size_t *size)
{
	uint64_t n;
	if (!gguf_take(c, 8, &n) || n > (uint64_t)(c->end - c->at))
		return false;
	*text = (const char *)c->at;
	*size = (size_t)n;
	c->at += n;
	return true;
}

rebus_status gguf_ends(const gguf_cursor *c, const char *what)
{
	return error_set(c->err, REBUS_FORMAT, "%s: byte %zu: %s: goes beyond the end of the file (%zu bytes)", c->shown, (size_t)(c->at - c->data), what,
		(size_t)(c->end - c->data));
}

/* ------------------------------------------------------------------------------------------------ values */
static rebus_status value_wrong(const gguf_cursor *c, const gguf_value *v, const char *what)
{
	return error_set(c->err, REBUS_FORMAT, "%s: value %.*s: %s", c->shown, (int)int_min((int64_t)v->key_size, 80), v->key, what);
}

static bool pass_texts(gguf_cursor *c, uint64_t count)
{
	const char *text;
	size_t size;
	for (; count; count--)
		if (!gguf_take_text(c, &text, &size))
			return false;
	return true;
}

static rebus_status read_value(gguf_cursor *c, gguf_value *v)
{
	uint64_t kind, size;
	size_t bytes;
	if (!gguf_take_text(c, &v->key, &v->key_size))
		return gguf_ends(c, "a key");
	if (!v->key_size || v->key_size > GGUF_KEY || memchr(v->key, 0, v->key_size) || !utf8_valid(v->key, v->key_size))
		return error_set(c->err, REBUS_FORMAT, "%s: byte %zu: a key of %zu bytes, expected 1 to %d bytes of UTF-8 without NUL", c->shown,
			(size_t)((const uint8_t *)v->key - c->data), v->key_size, GGUF_KEY);
	if (!gguf_take(c, 4, &kind))
		return gguf_ends(c, "a kind");
	v->count = 1;
	if ((v->list = kind == GGUF_LIST) && (!gguf_take(c, 4, &kind) || !gguf_take(c, 8, &v->count)))
		return gguf_ends(c, "a list");
	if (kind >= GGUF_KINDS || kind == GGUF_LIST)
		return value_wrong(c, v, v->list && kind == GGUF_LIST ? "a list of lists, expected numbers or texts" : "of unknown kind, expected 0 to 12");
	v->kind = (gguf_kind)kind;
	v->at = c->at;
	size = (uint64_t)(c->end - c->at);
	if (kind == GGUF_TEXT ? v->count > size / 8 || !pass_texts(c, v->count) : !size_mul((size_t)v->count, sizes[kind], &bytes) || bytes > size)
		return value_wrong(c, v, "claims more than the file holds");
	if (kind != GGUF_TEXT)
		c->at += bytes;
	v->size = (size_t)(c->at - v->at);
	return REBUS_OK;
}

static int key_compare(const char *a, size_t n, const char *b, size_t m)
{
	int order = memcmp(a, b, n < m ? n : m);
	return order ? order : n < m ? -1 : n > m;
}

static int key_order(const void *x, const void *y)
{
	const gguf_value *a = *(const gguf_value *const *)x, *b = *(const gguf_value *const *)y;
	return key_compare(a->key, a->key_size, b->key, b->key_size);
}

static rebus_status read_values(gguf *g, arena *a, gguf_cursor *c, uint64_t count)
{
	if (count > VALUES_MOST || count > (uint64_t)(c->end - c->at) / VALUE_LEAST)
		return error_set(c->err, count > VALUES_MOST ? REBUS_LIMIT : REBUS_FORMAT, "%s: %" PRIu64 " values, expected at most %d, and a file that holds them",
			c->shown, count, VALUES_MOST);
	g->count = (size_t)count;
	g->all = arena_zero(a, g->count + 1, sizeof *g->all);
	g->by_key = arena_get(a, g->count + 1, sizeof *g->by_key);
	if (!g->all || !g->by_key)
		return error_memory(c->err, c->shown);
	for (size_t i = 0; i < g->count; i++) {
		rebus_status status = read_value(c, &g->all[i]);
		if (status)
			return status;
		g->by_key[i] = &g->all[i];
	}
	qsort(g->by_key, g->count, sizeof *g->by_key, key_order);
	for (size_t i = 1; i < g->count; i++)
		if (!key_order(&g->by_key[i - 1], &g->by_key[i]))
			return value_wrong(c, g->by_key[i], "occurs twice");
	return REBUS_OK;
}

static rebus_status read_alignment(const gguf *g, const gguf_cursor *c, size_t *out)
{
	const gguf_value *v = gguf_find(g, "general.alignment");
	int64_t x = GGUF_ALIGNMENT;
	if (v && (!gguf_int(v, 0, &x) || v->list || x < 1 || x > GGUF_ALIGNMENT_MOST || (x & (x - 1))))
		return value_wrong(c, v, "expected a power of two from 1 to 65536");
	*out = (size_t)x;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ opening */
static rebus_status read_all(gguf *g, arena *a, gguf_cursor *c)
{
	uint64_t version, tensors, values;
	size_t alignment = 0;
	rebus_status status;
	if (c->end - c->data < 4 || memcmp(c->data, "GGUF", 4))
		return error_set(c->err, REBUS_FORMAT, "%s: no GGUF file, expected it to begin with GGUF", c->shown);
	c->at += 4;
	if (!gguf_take(c, 4, &version))
		return gguf_ends(c, "the version");
	if (version != 2 && version != 3)
		return error_set(c->err, REBUS_UNSUPPORTED, "%s: version %" PRIu64 "%s, expected 2 or 3, little endian", c->shown,
			version & 0xFFFF ? version : version >> 24, version & 0xFFFF ? "" : " in big endian");
	if (!gguf_take(c, 8, &tensors) || !gguf_take(c, 8, &values))
		return gguf_ends(c, "the counts");
	if (tensors > TENSOR_MOST || tensors > (uint64_t)(c->end - c->at) / TENSOR_LEAST)
		return error_set(c->err, tensors > TENSOR_MOST ? REBUS_LIMIT : REBUS_FORMAT,
			"%s: %" PRIu64 " tensors, expected at most %d, and a file that holds them", c->shown, tensors, TENSOR_MOST);
	TRY(read_values(g, a, c, values));
	TRY(read_alignment(g, c, &alignment));
	TRY(gguf_read_tensors(a, c, tensors, alignment, g->name, &g->tensors));
done:
	return status;
}

static rebus_status open_image(arena *a, const char *name, gguf *g, rebus_error *err)
{
	const char *slash = strrchr(name, '/');
	g->name = arena_text(a, slash ? slash + 1 : name, strlen(slash ? slash + 1 : name));
	if (!g->name)
		return error_memory(err, name);
	if (!g->file.data)
		return error_set(err, REBUS_FORMAT, "%s: an empty file, expected GGUF", safetensors_tail(name));
	gguf_cursor c = {g->file.data, g->file.data, g->file.data + g->file.size, safetensors_tail(name), err};
	return read_all(g, a, &c);
}

rebus_status gguf_open(arena *a, const char *path, safetensors_load load, gguf **out, rebus_error *err)
{
	rebus_status status;
	arena_mark mark = arena_here(a);
	gguf *g = arena_zero(a, 1, sizeof *g);
	if (!g)
		return error_memory(err, path);
	TRY(file_open(&g->file, path, 0, load == LOAD_COPY, a->from, err));
	g->opened = true;
	TRY(open_image(a, path, g, err));
	*out = g;
	return REBUS_OK;
done:
	gguf_close(g);
	arena_release(a, mark);
	return status;
}

rebus_status gguf_open_memory(arena *a, const void *data, size_t size, const char *name, gguf **out, rebus_error *err)
{
	arena_mark mark = arena_here(a);
	gguf *g = arena_zero(a, 1, sizeof *g);
	if (!g)
		return error_memory(err, name);
	g->file = (file_map){.data = size ? data : NULL, .size = size};
	rebus_status status = open_image(a, name, g, err);
	if (status)
		arena_release(a, mark);
	else
		*out = g;
	return status;
}

void gguf_close(gguf *g)
{
	if (g && g->opened)
		file_close(&g->file);
	if (g)
		g->opened = false;
}

void gguf_forget(const gguf *g, const void *data, size_t size)
{
	if (g->opened)
		file_forget(&g->file, data, size);
}

const char *gguf_name(const gguf *g)
{
	return g->name;
}

const tensor_list *gguf_tensors(const gguf *g)
{
	return &g->tensors;
}

/* ------------------------------------------------------------------------------------------------ asking */
const gguf_value *gguf_find(const gguf *g, const char *key)
{
	size_t lo = 0, hi = g->count, n = strlen(key);
	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;
		int order = key_compare(key, n, g->by_key[middle]->key, g->by_key[middle]->key_size);
		if (!order)
			return g->by_key[middle];
		if (order < 0)
			hi = middle;
		else
			lo = middle + 1;
	}
	return NULL;
}

size_t gguf_count(const gguf *g)
{
	return g->count;
}

const gguf_value *gguf_at(const gguf *g, size_t i)
{
	return i < g->count ? &g->all[i] : NULL;
}

bool gguf_int(const gguf_value *v, uint64_t i, int64_t *out)
{
	if (!v || i >= v->count || v->kind == GGUF_TEXT || v->kind == GGUF_F32 || v->kind == GGUF_F64 || v->kind == GGUF_BOOL)
		return false;
	size_t size = sizes[v->kind];
	uint64_t x = number(v->at + i * size, size);
	bool below_zero = (v->kind == GGUF_I8 || v->kind == GGUF_I16 || v->kind == GGUF_I32 || v->kind == GGUF_I64) && x >> (8 * size - 1);
	if (below_zero && size < 8)
		x |= ~(uint64_t)0 << 8 * size;
	if (!below_zero && x > INT64_MAX)
		return false;
	*out = below_zero ? -(int64_t)(~x) - 1 : (int64_t)x;
	return true;
}

bool gguf_real(const gguf_value *v, uint64_t i, double *out)
{
	int64_t whole;
	if (gguf_int(v, i, &whole)) {
		*out = (double)whole;
		return true;
	}
	if (!v || i >= v->count || (v->kind != GGUF_F32 && v->kind != GGUF_F64))
		return false;
	if (v->kind == GGUF_F32) {
		float x;
		memcpy(&x, v->at + i * sizeof x, sizeof x);
		*out = (double)x;
	} else {
		memcpy(out, v->at + i * sizeof *out, sizeof *out);
	}
	return true;
}

bool gguf_flag(const gguf_value *v, bool *out)
{
	if (!v || v->list || v->kind != GGUF_BOOL || *v->at > 1)
		return false;
	*out = *v->at == 1;
	return true;
}

const char *gguf_text(const gguf_value *v, size_t *size)
{
	if (!v || v->list || v->kind != GGUF_TEXT)
		return NULL;
	if (size)
		*size = v->size - 8;
	return (const char *)v->at + 8;
}

gguf_texts gguf_each(const gguf_value *v)
{
	return v && v->list && v->kind == GGUF_TEXT ? (gguf_texts){.at = v->at, .left = v->count} : (gguf_texts){0};
}

bool gguf_next(gguf_texts *it)
{
	if (!it->left)
		return false;
	it->size = (size_t)number(it->at, 8);
	it->text = (const char *)it->at + 8;
	it->at += 8 + it->size;
	it->left--;
	return true;
}
