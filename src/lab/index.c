/*
 * index.c - reads vectors that `rebus embed` wrote and searches them; the files are described in index.h.
 *
 *   PATH ─► mapped, checked: shape, type, a name a row ─► index_scan.c
 *
 * A .npy or .safetensors file is searched where it lies; only the list of names is copied, once, whose line ends become the
 * ends of strings. Rows need not have unit length (only two-tower models give such vectors).
 */
#include "lab/index_scan.h"

#include <stdio.h>
#include <string.h>

#include "files/json.h"
#include "files/npy.h"
#include "files/safetensors.h"

enum { LINE_VALUES = 1 << 20 };

struct rebus_index {
	arena a; /* holds this struct too */
	npy_in npy;
	safetensors *tensors;
	rebus_store store;
	const void *data; /* [rows, width] */
	const char **names; /* [rows] */
	size_t rows, width;
};

static bool ends_with(const char *s, const char *ending)
{
	size_t n = strlen(s), m = strlen(ending);
	return n > m && !strcmp(s + n - m, ending);
}

rebus_status index_kind_of(const char *path, index_kind *out, rebus_error *err)
{
	if (ends_with(path, ".npy"))
		*out = INDEX_NPY;
	else if (ends_with(path, ".safetensors"))
		*out = INDEX_SAFETENSORS;
	else if (ends_with(path, ".jsonl"))
		*out = INDEX_JSONL;
	else
		return error_set(err, REBUS_MISUSE, "%s: unknown kind of file, expected one that ends in .npy, .safetensors or .jsonl",
		                 path);
	return REBUS_OK;
}

bool index_name_is_plain(const char *name, size_t size)
{
	return !(size && name[0] == '"') && !memchr(name, '\n', size) && !memchr(name, '\r', size);
}

void index_name_put(buf *b, const char *name, size_t size)
{
	if (index_name_is_plain(name, size))
		buf_add(b, name, size);
	else
		buf_json(b, name, size);
	buf_byte(b, '\n');
}

/* A name that is written as a JSON string, in the arena. */
static rebus_status quoted_name(arena *a, const char *line, size_t size, const char *where, size_t row, const char **out, rebus_error *err)
{
	rebus_status status;
	json *j = NULL;
	size_t length;
	TRY(json_parse(line, size, where, 1, &j, err));
	const char *name = json_text(j, &length);
	if (!name || memchr(name, 0, length)) {
		status = error_set(err, REBUS_FORMAT, "%s: line %zu is not a name", where, row + 1);
		goto done;
	}
	const char *copy = arena_text(a, name, length);
	if (!copy) {
		status = error_memory(err, where);
		goto done;
	}
	*out = copy;
done:
	json_free(j);
	return status;
}

/* The list must have exactly one line a row. */
static rebus_status names_read(rebus_index *x, const char *given, size_t size, const char *where, rebus_error *err)
{
	size_t row = 0;
	x->names = arena_get(&x->a, x->rows, sizeof *x->names);
	char *text = arena_text(&x->a, given, size), *end = text + size;
	if (!x->names || !text)
		return error_memory(err, where);
	if (memchr(text, 0, size))
		return error_set(err, REBUS_FORMAT, "%s: byte %zu is a NUL, expected names", where, strlen(text));
	while (text < end) {
		char *stop = memchr(text, '\n', (size_t)(end - text));
		stop = stop ? stop : end;
		if (row == x->rows)
			return error_set(err, REBUS_FORMAT, "%s: more names than the %zu rows of vectors", where, x->rows);
		*stop = 0;
		x->names[row] = text;
		rebus_status status = *text == '"' ? quoted_name(&x->a, text, (size_t)(stop - text), where, row, &x->names[row], err) : REBUS_OK;
		if (status)
			return status;
		row++;
		text = stop + (stop < end);
	}
	if (row != x->rows)
		return error_set(err, REBUS_FORMAT, "%s: %zu names, expected one for each of %zu rows", where, row, x->rows);
	return REBUS_OK;
}

static rebus_status npy_load(rebus_index *x, const char *path, rebus_error *err)
{
	rebus_status status;
	file_map list = {.data = NULL};
	char *where = arena_format(&x->a, "%s.files", path);
	if (!where)
		return error_memory(err, path);
	TRY(npy_open(&x->npy, path, 0, err));
	x->data = x->npy.data;
	x->store = x->npy.type == NPY_F32 ? REBUS_STORE_F32 : x->npy.type == NPY_F16 ? REBUS_STORE_F16 : REBUS_STORE_INT8;
	x->rows = (size_t)x->npy.rows;
	x->width = (size_t)x->npy.width;
	TRY(file_open(&list, where, 0, false, NULL, err));
	TRY(names_read(x, list.size ? (const char *)list.data : "", list.size, where, err));
done:
	file_close(&list);
	return status;
}

static rebus_status tensors_load(rebus_index *x, const char *path, rebus_error *err)
{
	rebus_status status = safetensors_open(&x->a, path, LOAD_MAP, &x->tensors, err);
	if (status)
		return status;
	const tensor_info *v = safetensors_find(x->tensors, "embeddings"), *names = safetensors_find(x->tensors, "files");
	if (!v || (v->type != TENSOR_F32 && v->type != TENSOR_F16 && v->type != TENSOR_I8) || v->rank != 2)
		return error_set(err, REBUS_FORMAT, "%s: no vectors in it, expected a tensor \"embeddings\", F32, F16 or I8 [rows, width]", path);
	if (!names || names->type != TENSOR_U8 || names->rank != 1)
		return error_set(err, REBUS_FORMAT, "%s: no names in it, expected a tensor \"files\", U8, a name a line", path);
	x->data = v->data;
	x->store = v->type == TENSOR_F32 ? REBUS_STORE_F32 : v->type == TENSOR_F16 ? REBUS_STORE_F16 : REBUS_STORE_INT8;
	x->rows = (size_t)v->shape[0];
	x->width = (size_t)v->shape[1];
	return names_read(x, names->data, names->size, path, err);
}

/* A line of a .jsonl file; out [width], or NULL to ask for the width alone. */
static rebus_status line_read(rebus_index *x, const char *line, size_t size, const char *where, size_t row, float *out,
                              rebus_error *err)
{
	rebus_status status = REBUS_OK;
	json *j = NULL;
	size_t length;
	TRY(json_parse(line, size, where, LINE_VALUES, &j, err));
	const json *vector = json_get(j, "vector");
	const char *name = json_text(json_get(j, "file"), &length);
	size_t width = json_count(vector);
	bool right = json_kind_of(vector) == JSON_LIST && width && name && !memchr(name, 0, length) && (!out || width == x->width);
	for (size_t i = 0; right && out && i < width; i++) {
		double v;
		right = json_real(json_at(vector, i), &v);
		if (right)
			out[i] = (float)v;
	}
	if (!right) {
		status = error_set(err, REBUS_FORMAT,
		                   "%s: expected {\"file\": NAME, \"vector\": [as many numbers as in the first line]}", where);
		goto done;
	}
	x->width = width;
	if (out && !(x->names[row] = arena_text(&x->a, name, length)))
		status = error_memory(err, where);
done:
	json_free(j);
	return status;
}

static rebus_status lines_load(rebus_index *x, const char *path, rebus_error *err)
{
	rebus_status status;
	file_map f = {.data = NULL};
	TRY(file_open(&f, path, 0, false, NULL, err));
	const char *text = f.size ? (const char *)f.data : "", *end = text + f.size;
	float *data = NULL;
	for (const char *p = text; p && p < end; x->rows++) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		p = stop ? stop + 1 : NULL;
	}
	for (size_t row = 0; row < x->rows; row++) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		char where[160];
		stop = stop ? stop : end;
		size_t size = (size_t)(stop - text), bytes = 0;
		snprintf(where, sizeof where, "%.100s: line %zu", path, row + 1);
		if (!row) {
			TRY(line_read(x, text, size, where, row, NULL, err));
			/* A number and its comma take two bytes, which bounds what a small file can ask for. */
			if (!size_mul(x->rows, x->width, &bytes) || bytes > f.size) {
				status = error_set(err, REBUS_FORMAT, "%s: %zu lines of %zu numbers do not fit its %zu bytes", path, x->rows,
				                   x->width, f.size);
				goto done;
			}
			data = arena_get(&x->a, bytes, sizeof *data);
			x->names = arena_get(&x->a, x->rows, sizeof *x->names);
			if (!data || !x->names) {
				status = error_memory(err, path);
				goto done;
			}
		}
		TRY(line_read(x, text, size, where, row, data + row * x->width, err));
		text = stop + (stop < end);
	}
	x->data = data;
done:
	file_close(&f);
	return status;
}

rebus_status rebus_index_load(const char *path, rebus_index **out, rebus_error *err)
{
	rebus_status status;
	index_kind kind;
	arena a;
	rebus_index *x = NULL;
	TRY(index_kind_of(path, &kind, err));
	arena_init(&a, NULL, 0);
	x = arena_zero(&a, 1, sizeof *x);
	if (!x)
		return error_memory(err, path);
	x->a = a;
	if (kind == INDEX_NPY)
		TRY(npy_load(x, path, err));
	else if (kind == INDEX_SAFETENSORS)
		TRY(tensors_load(x, path, err));
	else
		TRY(lines_load(x, path, err));
	*out = x;
	x = NULL;
done:
	rebus_index_free(x);
	return status;
}

void rebus_index_free(rebus_index *index)
{
	if (!index)
		return;
	npy_close(&index->npy);
	safetensors_close(index->tensors);
	arena a = index->a;
	arena_free(&a);
}

size_t rebus_index_rows(const rebus_index *index)
{
	return index->rows;
}

const char *rebus_index_file(const rebus_index *index, size_t row)
{
	return row < index->rows ? index->names[row] : NULL;
}

rebus_status rebus_index_search(const rebus_index *index, const float *query, size_t width, size_t top, int threads, size_t *rows, float *scores,
                                size_t *found, rebus_error *err)
{
	if (width != index->width)
		return error_set(err, REBUS_SHAPE, "index: vectors of %zu numbers, the query has %zu, expected those of the same model",
		                 index->width, width);
	if (threads < 0 || threads > 1024)
		return error_set(err, REBUS_MISUSE, "threads: %d, expected 0 to 1024", threads);
	const index_rows all = {index->store, index->data, index->rows, width};
	rebus_status status = index_scan(&all, query, top, threads, cpu_detect(), rows, scores, err);
	if (!status)
		*found = top < index->rows ? top : index->rows;
	return status;
}
