/*
 * samples_tar.c - WebDataset shards: FILE.tar, or several, PREFIX{000..012}.tar.
 *
 * Members that follow each other and whose names agree up to the first dot after the last slash are one sample:
 *
 *     0001.jpg  0001.txt  0001.cls      a picture, its caption, its class (a number)
 *     0002.jpg  0002.json               a picture, and an object as a line of FILE.jsonl has it, without "image"
 *
 * Other members are passed over. Shards are walked once when the set is opened; a sample is read where it lies when it is
 * wanted, so a shard that vanishes costs its samples and no more.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/json.h"
#include "files/tar.h"
#include "train/samples.h"

enum { MOST_SAMPLES = 1 << 28, MOST_TEXT = 1 << 20, MOST_DIGITS = 9 };

typedef struct member {
	const char *shard;
	size_t offset, size; /* of the picture */
	sample_file rest;    /* its path is NULL */
} member;

typedef struct shards {
	member *at;
	int64_t count, room;
	const char *key; /* of the last sample */
} shards;

static const char *const picture_ends[] = {"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"};

/* The sample a member belongs to, the last one or a new one; NULL: no memory. */
static member *sample_of(arena *a, shards *s, const char *shard, const char *name, size_t key)
{
	if (s->count && s->key && s->at[s->count - 1].shard == shard && strlen(s->key) == key && !memcmp(s->key, name, key))
		return &s->at[s->count - 1];
	if (s->count == s->room) {
		int64_t room = s->room ? 2 * s->room : 256;
		member *more = room <= MOST_SAMPLES ? arena_zero(a, (size_t)room, sizeof *more) : NULL;
		if (!more)
			return NULL;
		if (s->count)
			memcpy(more, s->at, (size_t)s->count * sizeof *more);
		s->at = more;
		s->room = room;
	}
	s->key = arena_text(a, name, key);
	if (!s->key)
		return NULL;
	s->at[s->count] = (member){.shard = shard, .rest.label = -1};
	return &s->at[s->count++];
}

static bool is_picture(const char *end)
{
	for (size_t i = 0; i < COUNT_OF(picture_ends); i++)
		if (!strcmp(end, picture_ends[i]))
			return true;
	return false;
}

static rebus_status add_caption(arena *a, const tar_member *x, member *to, rebus_error *err)
{
	size_t n = x->size;
	while (n && (x->data[n - 1] == '\n' || x->data[n - 1] == '\r'))
		n--;
	turn *t = arena_get(a, 1, sizeof *t);
	const char *text = n <= MOST_TEXT ? arena_text(a, (const char *)x->data, n) : NULL;
	if (!t || !text)
		return error_memory(err, "samples");
	*t = (turn){"user", text};
	to->rest.turns = t;
	to->rest.turn_count = 1;
	return REBUS_OK;
}

static rebus_status add_object(arena *a, const tar_member *x, member *to, rebus_error *err)
{
	json *j = NULL;
	sample_file said = {.label = -1};
	rebus_status status = json_parse((const char *)x->data, x->size, "sample", 10000, &j, err);
	if (!status)
		status = samples_read_json(a, j, NULL, &said, err);
	json_free(j);
	if (status)
		return status;
	if (said.turns)
		to->rest.turns = said.turns, to->rest.turn_count = said.turn_count;
	if (said.class_name || said.label >= 0)
		to->rest.class_name = said.class_name, to->rest.label = said.label;
	return REBUS_OK;
}

static rebus_status add_class(const tar_member *x, member *to, rebus_error *err)
{
	char digits[MOST_DIGITS + 1] = "", *end;
	size_t n = x->size;
	while (n && (x->data[n - 1] == '\n' || x->data[n - 1] == ' '))
		n--;
	if (n && n <= MOST_DIGITS)
		memcpy(digits, x->data, n);
	long v = strtol(digits, &end, 10);
	if (!n || end == digits || *end || v < 0)
		return error_set(err, REBUS_FORMAT, "a class that is no number");
	to->rest.label = (int32_t)v;
	return REBUS_OK;
}

static rebus_status add_member(arena *a, shards *s, const char *shard, const tar_member *x, const uint8_t *begin, rebus_error *err)
{
	const char *slash = strrchr(x->name, '/'), *dot = strchr(slash ? slash : x->name, '.');
	bool picture = dot && is_picture(dot + 1), text = dot && !strcmp(dot, ".txt"), object = dot && !strcmp(dot, ".json"), label = dot && !strcmp(dot, ".cls");
	if (!picture && !text && !object && !label)
		return REBUS_OK;
	member *to = sample_of(a, s, shard, x->name, (size_t)(dot - x->name));
	if (!to)
		return error_memory(err, "samples");
	if (picture) {
		to->offset = (size_t)(x->data - begin);
		to->size = x->size;
		return REBUS_OK;
	}
	rebus_status status = text ? add_caption(a, x, to, err) : object ? add_object(a, x, to, err) : add_class(x, to, err);
	return status ? error_prefix(err, status, "%s: %.80s", shard, x->name) : REBUS_OK;
}

static rebus_status walk(arena *a, shards *s, const char *shard, rebus_error *err)
{
	file_map f;
	tar t;
	tar_member x;
	bool got = true;
	rebus_status status = file_open(&f, shard, 0, false, a->from, err);
	if (status)
		return status;
	tar_begin(&t, f.data, f.size, shard, a->from);
	while (!status && got) {
		status = tar_next(&t, &x, &got, err);
		if (!status && got)
			status = add_member(a, s, shard, &x, f.data, err);
	}
	tar_end(&t);
	file_close(&f);
	return status;
}

/* PREFIX{000..012}REST, or one name. */
static rebus_status walk_all(arena *a, shards *s, const char *spec, rebus_error *err)
{
	const char *open = strchr(spec, '{'), *dots = open ? strstr(open, "..") : NULL, *close = dots ? strchr(dots, '}') : NULL;
	if (!close) {
		const char *name = arena_text(a, spec, strlen(spec));
		return name ? walk(a, s, name, err) : error_memory(err, spec);
	}
	int width = (int)(dots - open - 1);
	long first = strtol(open + 1, NULL, 10), last = strtol(dots + 2, NULL, 10);
	if (width < 1 || width > MOST_DIGITS || first < 0 || last < first || last - first > 1 << 20)
		return error_set(err, REBUS_MISUSE, "%s: expected shards like {000..012}", spec);
	rebus_status status = REBUS_OK;
	for (long i = first; i <= last && !status; i++) {
		const char *name = arena_format(a, "%.*s%0*ld%s", (int)(open - spec), spec, width, i, close + 1);
		status = name ? walk(a, s, name, err) : error_memory(err, spec);
	}
	return status;
}

static rebus_status get(const samples *s, int64_t i, arena *a, sample *out, rebus_error *err)
{
	const member *m = &((const shards *)s->own)->at[i];
	sample x = {.label = m->rest.label, .turns = m->rest.turns, .turn_count = m->rest.turn_count};
	uint8_t *bytes = m->size ? arena_get(a, m->size, 1) : NULL;
	if (m->size && !bytes)
		return error_memory(err, "a sample");
	int fd = m->size ? open(m->shard, O_RDONLY | O_CLOEXEC) : -1;
	size_t got = 0;
	for (ssize_t n = 1; fd >= 0 && got < m->size && n > 0; got += n > 0 ? (size_t)n : 0)
		n = pread(fd, bytes + got, m->size - got, (off_t)(m->offset + got));
	if (fd >= 0)
		close(fd);
	if (got < m->size)
		return error_set(err, REBUS_IO, "%s: a sample at byte %zu can no longer be read", m->shard, m->offset);
	rebus_status status = m->size ? vision_decode(a, bytes, m->size, m->shard, NULL, &x.pic, err) : REBUS_OK;
	if (!status)
		*out = x;
	return status;
}

static rebus_status number_class(const samples *s, const char *const *labels, int32_t count, sample_file *x, rebus_error *err)
{
	for (int32_t i = 0; labels && i < count && x->label < 0; i++)
		x->label = labels[i] && !strcmp(labels[i], x->class_name) ? i : -1;
	if (x->label < 0)
		return error_set(err, REBUS_FORMAT, "%s: class %.60s is not among the model's %d labels", s->name, x->class_name, count);
	return REBUS_OK;
}

rebus_status samples_tar(arena *a, const char *spec, const char *const *labels, int32_t label_count, samples *out, rebus_error *err)
{
	shards *s = arena_zero(a, 1, sizeof *s);
	rebus_status status = s ? walk_all(a, s, spec, err) : error_memory(err, "samples");
	for (int64_t i = 0; !status && i < s->count; i++)
		if (s->at[i].rest.class_name)
			status = number_class(out, labels, label_count, &s->at[i].rest, err);
	if (status)
		return status;
	out->count = s->count;
	out->get = get;
	out->own = s;
	return REBUS_OK;
}
