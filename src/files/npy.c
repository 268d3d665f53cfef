/* npy.c - .npy files; the format is in npy.h. Reference: NumPy's numpy/lib/format.py and its NEP 1. */
#include "files/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEADER = 128, HEADER_READ_MOST = 1 << 16 };

static const struct {
	const char *name;
	size_t size;
} types[] = {[NPY_F32] = {"<f4", 4}, [NPY_F16] = {"<f2", 2}, [NPY_I8] = {"|i1", 1}};

size_t npy_size(npy_type type)
{
	return types[type].size;
}

static void header_make(char out[HEADER], npy_type type, int64_t rows, int64_t width)
{
	static const char magic[10] = "\x93NUMPY\x01\x00\x76\x00"; /* 0x76 = HEADER - 10 */
	char text[HEADER];
	int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRId64 ", %" PRId64 "), }", types[type].name, rows,
	                 width);
	memset(out, ' ', HEADER);
	memcpy(out, magic, sizeof magic);
	memcpy(out + sizeof magic, text, (size_t)n);
	out[HEADER - 1] = '\n';
}

rebus_status npy_begin(npy_out *o, const char *path, npy_type type, int64_t width, rebus_error *err)
{
	char header[HEADER];
	npy_out made = {.type = type, .width = width};
	if (width < 1 || width > INT32_MAX)
		return error_set(err, REBUS_MISUSE, "%s: rows of %" PRId64 " numbers, expected 1 to %d", path, width, INT32_MAX);
	rebus_status status = file_create(&made.file, path, err);
	if (status)
		return status;
	header_make(header, type, 0, width);
	status = file_write(&made.file, header, sizeof header, err);
	if (status)
		file_discard(&made.file);
	else
		*o = made;
	return status;
}

rebus_status npy_rows(npy_out *o, int64_t rows, const void *data, rebus_error *err)
{
	size_t bytes;
	if (rows < 0 || rows > INT64_MAX - o->rows || !size_mul((size_t)rows, (size_t)o->width * npy_size(o->type), &bytes))
		return error_set(err, REBUS_LIMIT, "%s: %" PRId64 " rows more than a file can hold", o->file.path, rows);
	rebus_status status = file_write(&o->file, data, bytes, err);
	if (!status)
		o->rows += rows;
	return status;
}

rebus_status npy_end(npy_out *o, rebus_error *err)
{
	char header[HEADER];
	header_make(header, o->type, o->rows, o->width);
	for (size_t done = 0; done < sizeof header;) {
		ssize_t n = pwrite(o->file.fd, header + done, sizeof header - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			error_set(err, REBUS_IO, "%s: cannot be written: %s", o->file.path, strerror(errno));
			file_discard(&o->file);
			return REBUS_IO;
		}
		done += (size_t)n;
	}
	return file_commit(&o->file, err);
}

void npy_discard(npy_out *o)
{
	file_discard(&o->file);
}

rebus_status npy_write(const char *path, int64_t rows, int64_t width, const float *data, rebus_error *err)
{
	npy_out o;
	rebus_status status = npy_begin(&o, path, NPY_F32, width, err);
	if (status)
		return status;
	status = npy_rows(&o, rows, data, err);
	if (status)
		npy_discard(&o);
	return status ? status : npy_end(&o, err);
}

/* A cursor over the header's text, a Python dictionary. */
typedef struct {
	const char *at, *end;
} cursor;

static bool take(cursor *c, const char *word)
{
	size_t n = strlen(word);
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t'))
		c->at++;
	if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n))
		return false;
	c->at += n;
	return true;
}

/* 'text' or "text", without escapes */
static bool take_quoted(cursor *c, char *out, size_t room)
{
	size_t n = 0;
	if (!take(c, "'") && !take(c, "\""))
		return false;
	char quote = c->at[-1];
	while (c->at < c->end && *c->at != quote && *c->at != '\\' && n + 1 < room)
		out[n++] = *c->at++;
	out[n] = 0;
	if (c->at == c->end || *c->at != quote)
		return false;
	c->at++;
	return true;
}

static bool take_number(cursor *c, int64_t *out)
{
	int64_t v = 0;
	take(c, "");
	const char *from = c->at;
	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
		if (v > (INT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (*c->at - '0');
	}
	*out = v;
	return c->at != from;
}

/* The value of one member: bit 1 descr, 2 fortran_order, 4 shape. */
static bool take_member(cursor *c, unsigned bit, npy_type *type, int64_t shape[2])
{
	char name[8];
	if (bit == 1) {
		if (!take_quoted(c, name, sizeof name))
			return false;
		for (size_t i = 0; i < COUNT_OF(types); i++)
			if (!strcmp(name, types[i].name)) {
				*type = (npy_type)i;
				return true;
			}
		return false;
	}
	if (bit == 2)
		return take(c, "False");
	if (!take(c, "(") || !take_number(c, &shape[0]) || !take(c, ",") || !take_number(c, &shape[1]))
		return false;
	take(c, ",");
	return take(c, ")");
}

/* Members in any order, a comma after the last one or not. what: the part that is wrong. */
static bool dictionary_read(cursor *c, npy_type *type, int64_t shape[2], const char **what)
{
	static const char whole[] = "{'descr': ..., 'fortran_order': ..., 'shape': ...}";
	unsigned seen = 0;
	bool more = take(c, "{");
	*what = whole;
	if (!more)
		return false;
	while (!take(c, "}")) {
		char key[16];
		if (!more || !take_quoted(c, key, sizeof key) || !take(c, ":"))
			return false;
		unsigned bit = !strcmp(key, "descr") ? 1 : !strcmp(key, "fortran_order") ? 2 : !strcmp(key, "shape") ? 4 : 0;
		if (!bit || seen & bit)
			return false;
		seen |= bit;
		*what = bit == 1 ? "descr '<f4' (float32), '<f2' or '|i1'" : bit == 2 ? "fortran_order False" : "a shape (rows, width)";
		if (!take_member(c, bit, type, shape))
			return false;
		*what = whole;
		more = take(c, ",");
	}
	take(c, "");
	return seen == 7 && c->at == c->end;
}

rebus_status npy_parse(npy_in *in, const void *bytes, size_t size, const char *name, rebus_error *err)
{
	const uint8_t *p = bytes;
	npy_in made = {.data = NULL};
	int64_t shape[2];
	const char *what;
	size_t head = size > 6 && p[6] == 1 ? 10 : 12, length, want;
	if (size < head || memcmp(p, "\x93NUMPY", 6) || p[6] < 1 || p[6] > 3)
		return error_set(err, REBUS_FORMAT, "%s: expected a .npy file of version 1, 2 or 3", name);
	length = head == 10 ? p[8] | (size_t)p[9] << 8 : p[8] | (size_t)p[9] << 8 | (size_t)p[10] << 16 | (size_t)p[11] << 24;
	if (length > size - head || length > HEADER_READ_MOST)
		return error_set(err, REBUS_FORMAT, "%s: header of %zu bytes, expected at most %d and the %zu that follow", name, length,
		                 HEADER_READ_MOST, size - head);
	cursor c = {(const char *)p + head, (const char *)p + head + length};
	if (!dictionary_read(&c, &made.type, shape, &what))
		return error_set(err, REBUS_FORMAT, "%s: header byte %zu: expected %s", name, (size_t)(c.at - (const char *)p), what);
	head += length;
	if (!size_mul((size_t)shape[0], (size_t)shape[1], &want) || !size_mul(want, npy_size(made.type), &want) || want != size - head)
		return error_set(err, REBUS_FORMAT, "%s: %zu bytes of data, expected those of shape (%" PRId64 ", %" PRId64 ")", name,
		                 size - head, shape[0], shape[1]);
	if (((uintptr_t)p + head) % npy_size(made.type))
		return error_set(err, REBUS_FORMAT, "%s: data begins at byte %zu, expected a multiple of %zu", name, head, npy_size(made.type));
	made.rows = shape[0];
	made.width = shape[1];
	made.data = p + head;
	*in = made;
	return REBUS_OK;
}

rebus_status npy_open(npy_in *in, const char *path, size_t most_bytes, rebus_error *err)
{
	file_map file;
	rebus_status status = file_open(&file, path, most_bytes, false, NULL, err);
	if (status)
		return status;
	status = npy_parse(in, file.data, file.size, path, err);
	if (status)
		file_close(&file);
	else
		in->file = file;
	return status;
}

void npy_close(npy_in *in)
{
	file_close(&in->file);
	in->data = NULL;
}
