/*
 * index_writer.c - writes vectors by name row by row so that nothing is lost when the program ends; files as in index.h.
 *
 *   rebus_index_add ─► PATH.part   head: "rebus part 1\n" ─ u32 size ─ about
 *                                  rows: u32 name size ─ u32 width ─ u32 check ─ name ─ NUL ─ width floats
 *   rebus_index_finish             PATH.part ─► PATH (and PATH.files), each put in place whole; then PATH.part goes
 *
 * The check is FNV-1a over the rest of the row. Every row is handed to the system by one write, so whoever is killed leaves
 * whole rows and at most one piece of a row, which the next writer cuts off. Numbers are little endian, as the hosts are.
 * A lock on PATH.part keeps two writers apart; the system drops it when the writer ends, however it ends.
 */
#include "lab/index.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/npy.h"

enum { NAME_MOST = 1 << 20, WIDTH_MOST = 1 << 20, ABOUT_MOST = 1 << 16, BLOCK = 1 << 20 };

static const char magic[] = "rebus part 1\n";

struct rebus_index_writer {
	arena a; /* holds this struct too */
	const char *path, *part;
	index_kind kind;
	rebus_store store;
	int fd;
	bool ours; /* PATH.part holds nothing but what this writer put there */
	file_map before; /* PATH.part as it was found; names point into it */
	const char **names; /* [have] */
	size_t head, have, rows, size, width; /* size: bytes of whole rows and head */
	buf row;
};

typedef struct {
	const char *name;
	size_t name_size, width;
	const uint8_t *vector; /* not aligned */
} record;

static uint32_t check_more(uint32_t h, const void *data, size_t n)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

static uint32_t u32_get(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* The row at *at; false at the end, and where the bytes are no whole row. */
static bool record_next(const uint8_t *data, size_t size, size_t *at, record *out)
{
	const uint8_t *p = data + *at;
	size_t left = size - *at;
	if (left < 12)
		return false;
	uint32_t name = u32_get(p), width = u32_get(p + 4);
	if (name > NAME_MOST || width < 1 || width > WIDTH_MOST)
		return false;
	size_t body = (size_t)name + 1 + (size_t)width * sizeof(float);
	if (left - 12 < body || p[12 + name] || memchr(p + 12, 0, name))
		return false;
	if (check_more(check_more(2166136261u, p, 8), p + 12, body) != u32_get(p + 8))
		return false;
	*out = (record){(const char *)p + 12, name, width, p + 12 + name + 1};
	*at += 12 + body;
	return true;
}

static rebus_status part_write(rebus_index_writer *w, const void *data, size_t size, rebus_error *err)
{
	const char *p = data;
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(w->fd, p + done, size - done, (off_t)(w->size + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_set(err, REBUS_IO, "%s: cannot be written: %s", w->part, n ? strerror(errno) : "no room");
		done += (size_t)n;
	}
	w->size += size;
	return REBUS_OK;
}

/* Empties PATH.part and writes the head. */
static rebus_status part_begin(rebus_index_writer *w, const buf *head, rebus_error *err)
{
	w->ours = true;
	if (ftruncate(w->fd, 0))
		return error_set(err, REBUS_IO, "%s: cannot be written: %s", w->part, strerror(errno));
	w->size = 0;
	w->head = head->size;
	return part_write(w, head->data, head->size, err);
}

/* Finds the whole rows of a file whose head is right; the names stay where they are mapped. */
static rebus_status part_resume(rebus_index_writer *w, rebus_error *err)
{
	const uint8_t *data = w->before.data;
	record r;
	size_t at = w->head, have = 0;
	for (; record_next(data, w->before.size, &at, &r) && (!have || r.width == w->width); have++) {
		w->width = r.width;
		w->size = at;
	}
	if (ftruncate(w->fd, (off_t)w->size))
		return error_set(err, REBUS_IO, "%s: cannot be written: %s", w->part, strerror(errno));
	w->names = arena_get(&w->a, have, sizeof *w->names);
	if (!w->names)
		return error_memory(err, w->part);
	at = w->head;
	for (size_t i = 0; i < have; i++) {
		record_next(data, w->before.size, &at, &r);
		w->names[i] = r.name;
	}
	w->have = w->rows = have;
	w->ours = true;
	return REBUS_OK;
}

/* Decides between beginning and resuming by the first bytes of what is there. */
static rebus_status part_open(rebus_index_writer *w, const buf *head, bool resume, rebus_error *err)
{
	struct stat st;
	w->fd = open(w->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
	if (w->fd < 0)
		return error_set(err, REBUS_IO, "%s: cannot be written: %s", w->part, strerror(errno));
	if (fstat(w->fd, &st) || !S_ISREG(st.st_mode))
		return error_set(err, REBUS_IO, "%s: not a regular file", w->part);
	if (flock(w->fd, LOCK_EX | LOCK_NB))
		return error_set(err, REBUS_IO, "%s: %s", w->part,
		                 errno == EWOULDBLOCK ? "another process is writing it" : strerror(errno));
	if (!resume || !st.st_size)
		return part_begin(w, head, err);
	rebus_status status = file_open(&w->before, w->part, 0, false, NULL, err);
	if (status)
		return status;
	size_t common = w->before.size < head->size ? w->before.size : head->size;
	if (!memcmp(w->before.data, head->data, common)) {
		if (common < head->size)
			return part_begin(w, head, err);
		w->head = w->size = head->size;
		return part_resume(w, err);
	}
	bool ours = w->before.size >= sizeof magic - 1 && !memcmp(w->before.data, magic, sizeof magic - 1);
	return error_set(err, REBUS_FORMAT, "%s: %s, expected what this call left unfinished; remove it or begin anew", w->part,
	                 ours ? "left by a call with another model or other options" : "not a list of vectors");
}

rebus_status rebus_index_create(const char *path, rebus_store store, const char *about, bool resume, rebus_index_writer **out, size_t *have,
                                rebus_error *err)
{
	rebus_status status;
	index_kind kind;
	arena a;
	buf head;
	rebus_index_writer *w = NULL;
	size_t size = strlen(about);
	uint32_t about_size = (uint32_t)size;
	buf_init(&head, NULL, ABOUT_MOST + sizeof magic + 4);
	TRY(index_kind_of(path, &kind, err));
	if (store < REBUS_STORE_F32 || store > REBUS_STORE_INT8 || (store && kind == INDEX_JSONL)) {
		status = error_set(err, REBUS_MISUSE, "%s: lines hold decimal numbers, expected .npy or .safetensors for f16 and int8", path);
		goto done;
	}
	if (file_is_folder(path)) {
		status = error_set(err, REBUS_IO, "%s: is a folder, expected a file to write", path);
		goto done;
	}
	buf_add(&head, magic, sizeof magic - 1);
	buf_add(&head, &about_size, sizeof about_size);
	buf_add(&head, about, size);
	TRY(buf_check(&head, err, "what the vectors depend on"));
	arena_init(&a, NULL, 0);
	w = arena_zero(&a, 1, sizeof *w);
	if (!w) {
		status = error_memory(err, path);
		goto done;
	}
	w->a = a;
	w->kind = kind;
	w->store = store;
	w->fd = -1;
	buf_init(&w->row, NULL, 16 + NAME_MOST + (size_t)WIDTH_MOST * sizeof(float));
	w->path = arena_text(&w->a, path, strlen(path));
	w->part = arena_format(&w->a, "%s.part", path);
	if (!w->path || !w->part) {
		status = error_memory(err, path);
		goto done;
	}
	TRY(part_open(w, &head, resume, err));
	*out = w;
	*have = w->have;
	w = NULL;
done:
	buf_free(&head);
	rebus_index_abandon(w);
	return status;
}

const char *rebus_index_have(const rebus_index_writer *writer, size_t row)
{
	return row < writer->have ? writer->names[row] : NULL;
}

rebus_status rebus_index_add(rebus_index_writer *writer, const char *file, const float *vector, size_t width, rebus_error *err)
{
	size_t name = strlen(file);
	if (name > NAME_MOST)
		return error_set(err, REBUS_LIMIT, "%.80s...: a name of %zu bytes, more than %d", file, name, NAME_MOST);
	if (width < 1 || width > WIDTH_MOST || (writer->rows && width != writer->width))
		return error_set(err, REBUS_SHAPE, "%s: a vector of %zu numbers, expected %zu like those before", writer->part, width,
		                 writer->width);
	for (size_t i = 0; i < width; i++)
		if (!isfinite(vector[i]))
			return error_set(err, REBUS_FORMAT, "%.160s: number %zu of its vector is not finite", file, i);
	uint32_t head[3] = {(uint32_t)name, (uint32_t)width, 0};
	head[2] = check_more(check_more(check_more(2166136261u, head, 8), file, name + 1), vector, width * sizeof *vector);
	writer->row.size = 0;
	buf_add(&writer->row, head, sizeof head);
	buf_add(&writer->row, file, name + 1);
	buf_add(&writer->row, vector, width * sizeof *vector);
	rebus_status status = buf_check(&writer->row, err, writer->part);
	if (!status)
		status = part_write(writer, writer->row.data, writer->row.size, err);
	if (status)
		return status;
	writer->width = width;
	writer->rows++;
	return REBUS_OK;
}

/* Bytes on their way to a file, in blocks. */
typedef struct {
	file_out *file;
	buf b;
} sink;

static rebus_status sink_flush(sink *s, size_t keep, rebus_error *err)
{
	rebus_status status = buf_check(&s->b, err, s->file->path);
	if (status || s->b.size < keep)
		return status;
	status = file_write(s->file, s->b.data, s->b.size, err);
	s->b.size = 0;
	return status;
}

static void sink_init(sink *s, file_out *file)
{
	s->file = file;
	buf_init(&s->b, NULL, (size_t)16 * BLOCK + 16 * (size_t)WIDTH_MOST + 6 * (size_t)NAME_MOST);
}

typedef enum { PUT_NAMES, PUT_VECTORS, PUT_SCALES, PUT_LINES } what_to_put;

static void line_put(buf *b, const record *r)
{
	buf_text(b, "{\"file\": ");
	buf_json(b, r->name, r->name_size);
	buf_text(b, ", \"vector\": [");
	for (size_t i = 0; i < r->width; i++) {
		float v;
		memcpy(&v, r->vector + i * sizeof v, sizeof v);
		buf_format(b, i ? ", %.9g" : "%.9g", (double)v);
	}
	buf_text(b, "]}\n");
}

/* One part of every row of PATH.part, one after the other, into a file. */
static rebus_status rows_put(const rebus_index_writer *w, const file_map *part, what_to_put what, file_out *to, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	sink s;
	record r;
	size_t at = w->head;
	sink_init(&s, to);
	for (size_t row = 0; row < w->rows; row++) {
		if (!record_next(part->data, part->size, &at, &r) || r.width != w->width) {
			status = error_set(err, REBUS_IO, "%s: changed while it was in use", w->part);
			goto done;
		}
		if (what == PUT_NAMES)
			index_name_put(&s.b, r.name, r.name_size);
		else if (what == PUT_SCALES)
			buf_add(&s.b, &(float){index_scale(r.vector, r.width)}, sizeof(float));
		else if (what == PUT_LINES)
			line_put(&s.b, &r);
		else if (!index_store_put(&s.b, w->store, r.vector, r.width)) {
			status = error_set(err, REBUS_LIMIT, "%.150s: its vector has a number too large for f16, expected at most 65504", r.name);
			goto done;
		}
		TRY(sink_flush(&s, BLOCK, err));
	}
	TRY(sink_flush(&s, 0, err));
done:
	buf_free(&s.b);
	return status;
}

/* All files are complete before any is put in place. */
static rebus_status finish_npy(const rebus_index_writer *w, const file_map *part, rebus_error *err)
{
	static const npy_type types[] = {[REBUS_STORE_F32] = NPY_F32, [REBUS_STORE_F16] = NPY_F16, [REBUS_STORE_INT8] = NPY_I8};
	rebus_status status;
	npy_out vectors = {.file = {.fd = -1}}, scales = {.file = {.fd = -1}};
	file_out list = {.fd = -1};
	char path[4200];
	TRY(npy_begin(&vectors, w->path, types[w->store], (int64_t)w->width, err));
	TRY(rows_put(w, part, PUT_VECTORS, &vectors.file, err));
	vectors.rows = (int64_t)w->rows;
	if (w->store == REBUS_STORE_INT8) {
		snprintf(path, sizeof path, "%s.scales", w->path);
		TRY(npy_begin(&scales, path, NPY_F32, 1, err));
		TRY(rows_put(w, part, PUT_SCALES, &scales.file, err));
		scales.rows = (int64_t)w->rows;
	}
	snprintf(path, sizeof path, "%s.files", w->path);
	TRY(file_create(&list, path, err));
	TRY(rows_put(w, part, PUT_NAMES, &list, err));
	TRY(npy_end(&vectors, err));
	if (w->store == REBUS_STORE_INT8)
		TRY(npy_end(&scales, err));
	TRY(file_commit(&list, err));
done:
	npy_discard(&vectors);
	npy_discard(&scales);
	file_discard(&list);
	return status;
}

static size_t names_size(const rebus_index_writer *w, const file_map *part)
{
	buf b;
	record r;
	size_t at = w->head, size = 0;
	buf_init(&b, NULL, 8 * (size_t)NAME_MOST);
	for (size_t row = 0; row < w->rows && record_next(part->data, part->size, &at, &r); row++) {
		b.size = 0;
		index_name_put(&b, r.name, r.name_size);
		size += b.size;
	}
	buf_free(&b);
	return size;
}

static rebus_status finish_safetensors(const rebus_index_writer *w, const file_map *part, rebus_error *err)
{
	rebus_status status;
	file_out f = {.fd = -1};
	static const char *const types[] = {[REBUS_STORE_F32] = "F32", [REBUS_STORE_F16] = "F16", [REBUS_STORE_INT8] = "I8"};
	char head[512], more[128] = "";
	/* Scales come first: every tensor is aligned then, as readers expect. */
	size_t scales = w->store == REBUS_STORE_INT8 ? w->rows * sizeof(float) : 0;
	size_t data = scales + w->rows * w->width * index_store_size(w->store), names = names_size(w, part);
	if (scales)
		snprintf(more, sizeof more, "\"scales\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[0,%zu]},", w->rows, scales);
	int n = snprintf(head + 8, sizeof head - 8,
	                 "{\"__metadata__\":{\"format\":\"pt\"},%s"
	                 "\"embeddings\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]},"
	                 "\"files\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}}",
	                 more, types[w->store], w->rows, w->width, scales, data, names, data, data + names);
	uint64_t size = size_round((size_t)n, 8);
	memset(head + 8 + n, ' ', (size_t)size - (size_t)n);
	memcpy(head, &size, sizeof size);
	TRY(file_create(&f, w->path, err));
	TRY(file_write(&f, head, 8 + (size_t)size, err));
	if (scales)
		TRY(rows_put(w, part, PUT_SCALES, &f, err));
	TRY(rows_put(w, part, PUT_VECTORS, &f, err));
	TRY(rows_put(w, part, PUT_NAMES, &f, err));
	if (f.written != 8 + (size_t)size + data + names) {
		status = error_set(err, REBUS_MEMORY, "no memory for the names of %s", w->path);
		goto done;
	}
	TRY(file_commit(&f, err));
done:
	file_discard(&f);
	return status;
}

static rebus_status finish_jsonl(const rebus_index_writer *w, const file_map *part, rebus_error *err)
{
	rebus_status status;
	file_out f = {.fd = -1};
	TRY(file_create(&f, w->path, err));
	TRY(rows_put(w, part, PUT_LINES, &f, err));
	TRY(file_commit(&f, err));
done:
	file_discard(&f);
	return status;
}

rebus_status rebus_index_finish(rebus_index_writer *writer, rebus_error *err)
{
	rebus_status status;
	file_map part = {.data = NULL};
	if (!writer->rows) {
		status = error_set(err, REBUS_MISUSE, "%s: no vectors to write", writer->path);
		goto done;
	}
	TRY(file_open(&part, writer->part, 0, false, NULL, err));
	if (writer->kind == INDEX_NPY)
		TRY(finish_npy(writer, &part, err));
	else if (writer->kind == INDEX_SAFETENSORS)
		TRY(finish_safetensors(writer, &part, err));
	else
		TRY(finish_jsonl(writer, &part, err));
	writer->rows = 0; /* so that the rows go, which are in PATH now */
done:
	file_close(&part);
	rebus_index_abandon(writer);
	return status;
}

void rebus_index_abandon(rebus_index_writer *writer)
{
	if (!writer)
		return;
	if (writer->fd >= 0) {
		if (writer->ours && !writer->rows)
			unlink(writer->part);
		close(writer->fd);
	}
	file_close(&writer->before);
	buf_free(&writer->row);
	arena a = writer->a;
	arena_free(&a);
}
