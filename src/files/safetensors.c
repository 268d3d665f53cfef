/*
 * safetensors.c - opens checkpoints: finds the files, reads their headers, keeps the tensors for lookup; see safetensors.h.
 *
 *   file or folder ─► file names ─► file_open ─► safetensors_header_read ─► list of nodes ─► all[]      in file order
 *                     (index: each once)                                                   └► by_name[]  sorted
 *
 * Lookup is by binary search: as quick as a hash table where it counts (a model asks for each of its tensors once), shows
 * duplicates side by side, and no choice of names can make it slow.
 */
#include "files/safetensors.h"
#include "files/json.h"
#include "files/safetensors_header.h"
#include "files/torch_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_BYTES = 256 << 20 };

struct safetensors {
	const tensor_info **all, **by_name; /* [count] */
	size_t count;
	file_map *files; /* [opened] */
	size_t opened;
};

static const struct {
	const char *name;
	int bits;
} types[TENSOR_TYPES] = {
	{"unknown", 0},
#define X(name, bits) {#name, bits},
	TENSOR_TYPE_LIST(X)
#undef X
};

const char *tensor_type_name(tensor_type type)
{
	static const char *const blocks[] = {
#define X(name) #name,
		TENSOR_BLOCK_LIST(X)
#undef X
	};
	return type < TENSOR_TYPES ? types[type].name : blocks[type - TENSOR_TYPES];
}

int tensor_type_bits(tensor_type type)
{
	return type < TENSOR_TYPES ? types[type].bits : 0;
}

tensor_type tensor_type_parse(const char *name, size_t size)
{
	for (int i = 1; i < TENSOR_TYPES; i++)
		if (text_is(name, size, types[i].name))
			return (tensor_type)i;
	return TENSOR_UNKNOWN;
}

void tensor_shape_text(const tensor_info *t, char *out, size_t room)
{
	size_t n = (size_t)snprintf(out, room, "[");
	for (int32_t i = 0; i < t->rank && n < room; i++)
		n += (size_t)snprintf(out + n, room - n, "%s%" PRId64, i ? "," : "", t->shape[i]);
	if (n < room)
		snprintf(out + n, room - n, "]");
}

const char *safetensors_tail(const char *path)
{
	enum { SHOWN = 100 };
	size_t n = strlen(path);
	return n > SHOWN ? path + n - SHOWN : path;
}

static int name_order(const void *x, const void *y)
{
	return strcmp((*(const tensor_info *const *)x)->name, (*(const tensor_info *const *)y)->name);
}

static rebus_status tables_make(safetensors *s, arena *a, const tensor_list *list, const char *path, rebus_error *err)
{
	size_t i = 0;
	s->count = list->count;
	s->all = arena_get(a, s->count, sizeof *s->all);
	s->by_name = arena_get(a, s->count, sizeof *s->by_name);
	if (!s->all || !s->by_name)
		return error_memory(err, path);
	for (const tensor_node *n = list->first; n; n = n->next)
		s->all[i++] = &n->info;
	if (s->count)
		memcpy(s->by_name, s->all, s->count * sizeof *s->all);
	qsort(s->by_name, s->count, sizeof *s->by_name, name_order);
	for (i = 1; i < s->count; i++) {
		const tensor_info *t = s->by_name[i], *u = s->by_name[i - 1];
		bool same = t->file == u->file;
		if (!strcmp(t->name, u->name))
			return error_set(err, REBUS_FORMAT, "%s: tensor %.80s: occurs twice%s%.60s%s%.60s", safetensors_tail(path), t->name,
			                 same ? "" : ", in ", same ? "" : t->file, same ? "" : " and ", same ? "" : u->file);
	}
	return REBUS_OK;
}

static int text_order(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static bool plain_name(const char *name, size_t size)
{
	return name && size && size < 256 && strlen(name) == size && !strchr(name, '/') && !strstr(name, "..") && strcmp(name, ".");
}

/* The distinct files of an index, sorted. */
static rebus_status index_files(arena *a, const json *map, const char *path, const char ***out, size_t *count, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena scratch;
	size_t n = 0, distinct = 0, most = json_count(map);
	arena_init(&scratch, a->from, 0);
	const char **all = arena_get(&scratch, most, sizeof *all), **files = NULL;
	if (!all) {
		status = error_memory(err, path);
		goto done;
	}
	for (json_each it = json_first(map); json_next(&it); n++) {
		size_t size = 0;
		all[n] = json_text(it.value, &size);
		if (!plain_name(all[n], size)) {
			status = error_set(err, REBUS_FORMAT,
			                   "%s: weight_map: %.60s: is in '%.60s', expected the plain name of a file beside it", safetensors_tail(path),
			                   it.key, all[n] ? all[n] : "(no text)");
			goto done;
		}
	}
	qsort(all, n, sizeof *all, text_order);
	for (size_t i = 0; i < n; i++)
		if (!i || strcmp(all[i], all[distinct - 1]))
			all[distinct++] = all[i];
	if (!n || distinct > SHARD_MOST) {
		status = error_set(err, n ? REBUS_LIMIT : REBUS_FORMAT, "%s: weight_map: %zu files, expected 1 to %d", safetensors_tail(path),
		                   distinct, SHARD_MOST);
		goto done;
	}
	files = arena_get(a, distinct, sizeof *files);
	for (size_t i = 0; files && i < distinct; i++)
		if (!(files[i] = arena_text(a, all[i], strlen(all[i]))))
			files = NULL;
	if (!files) {
		status = error_memory(err, path);
		goto done;
	}
	*out = files;
	*count = distinct;
done:
	arena_free(&scratch);
	return status;
}

/* Every name of the index lies where the index says. A shard may hold more. */
static rebus_status index_check(const safetensors *s, const json *map, const char *path, rebus_error *err)
{
	for (json_each it = json_first(map); json_next(&it);) {
		const tensor_info *t = safetensors_find(s, it.key);
		if (!t || !json_is(it.value, t->file))
			return error_set(err, REBUS_FORMAT, "%s: tensor %.80s: expected in %.60s, which lacks it%s%.60s", safetensors_tail(path), it.key,
			                 json_text(it.value, NULL), t ? "; it is in " : "", t ? t->file : "");
	}
	return REBUS_OK;
}

/* What a file is, its first bytes say: a zip is torch.save's. */
static rebus_status image_read(arena *a, const uint8_t *data, size_t size, const char *file, const char *shown, tensor_list *list, rebus_error *err)
{
	return torch_is_zip(data, size) ? torch_read(a, data, size, file, shown, list, err) : safetensors_header_read(a, data, size, file, shown, list, err);
}

static rebus_status files_open(safetensors *s, arena *a, const char *folder, const char *const *names, size_t count,
                               safetensors_load load, tensor_list *list, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	s->files = arena_zero(a, count, sizeof *s->files);
	if (!s->files)
		return error_memory(err, folder);
	for (size_t i = 0; i < count; i++) {
		const char *path = arena_format(a, "%s%s", folder, names[i]);
		if (!path)
			return error_memory(err, folder);
		file_map *f = &s->files[i];
		TRY(file_open(f, path, 0, load == LOAD_COPY, a->from, err));
		s->opened++;
		TRY(image_read(a, f->data, f->size, names[i], safetensors_tail(path), list, err));
	}
done:
	return status;
}

static rebus_status index_open(safetensors *s, arena *a, const char *folder, const char *path, safetensors_load load,
                               rebus_error *err)
{
	rebus_status status = REBUS_OK;
	json *index = NULL;
	const char **names = NULL;
	size_t count = 0;
	tensor_list list = {.count = 0};
	TRY(json_load(path, INDEX_BYTES, 2 * (size_t)TENSOR_MOST, &index, err));
	const json *map = json_get(index, "weight_map");
	if (json_kind_of(map) != JSON_MAP) {
		status = error_set(err, REBUS_FORMAT, "%s: weight_map: expected an object of tensor names and file names", safetensors_tail(path));
		goto done;
	}
	TRY(index_files(a, map, path, &names, &count, err));
	TRY(files_open(s, a, folder, names, count, load, &list, err));
	TRY(tables_make(s, a, &list, path, err));
	TRY(index_check(s, map, path, err));
done:
	json_free(index);
	return status;
}

static rebus_status single_open(safetensors *s, arena *a, const char *path, safetensors_load load, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	tensor_list list = {.count = 0};
	const char *slash = strrchr(path, '/');
	const char *folder = arena_text(a, path, slash ? (size_t)(slash + 1 - path) : 0), *name = slash ? slash + 1 : path;
	name = arena_text(a, name, strlen(name));
	if (!folder || !name)
		return error_memory(err, path);
	TRY(files_open(s, a, folder, &name, 1, load, &list, err));
	TRY(tables_make(s, a, &list, path, err));
done:
	return status;
}

rebus_status safetensors_open(arena *a, const char *path, safetensors_load load, safetensors **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_mark mark = arena_here(a);
	safetensors *s = arena_zero(a, 1, sizeof *s);
	bool folder = file_is_folder(path);
	size_t n = strlen(path);
	const char *slash = !folder || (n && path[n - 1] == '/') ? "" : "/";
	const char *single = folder ? arena_format(a, "%s%smodel.safetensors", path, slash) : path;
	const char *index = arena_format(a, "%s%smodel.safetensors.index.json", path, slash);
	if (folder && single && index && !file_exists(single) && !file_exists(index)) { /* as transformers: only where there is nothing better */
		single = arena_format(a, "%s%spytorch_model.bin", path, slash);
		index = arena_format(a, "%s%spytorch_model.bin.index.json", path, slash);
	}
	const char *inside = arena_format(a, "%s%s", path, slash);
	if (!s || !single || !index || !inside)
		status = error_memory(err, path);
	else if (!folder || file_exists(single))
		status = single_open(s, a, single, load, err);
	else if (file_exists(index))
		status = index_open(s, a, inside, index, load, err);
	else
		status = error_set(err, REBUS_IO,
		                   "%s: no weights here, expected model.safetensors, pytorch_model.bin or the index of either", safetensors_tail(path));
	if (status) {
		safetensors_close(s);
		arena_release(a, mark);
	} else {
		*out = s;
	}
	return status;
}

rebus_status safetensors_open_memory(arena *a, const void *data, size_t size, const char *name, safetensors **out,
                                     rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_mark mark = arena_here(a);
	tensor_list list = {.count = 0};
	safetensors *s = arena_zero(a, 1, sizeof *s);
	const char *file = arena_text(a, name, strlen(name));
	if (!s || !file) {
		status = error_memory(err, name);
		goto done;
	}
	TRY(image_read(a, data, size, file, safetensors_tail(name), &list, err));
	TRY(tables_make(s, a, &list, name, err));
	*out = s;
done:
	if (status)
		arena_release(a, mark);
	return status;
}

rebus_status safetensors_open_list(arena *a, const tensor_list *list, const char *shown, safetensors **out, rebus_error *err)
{
	arena_mark mark = arena_here(a);
	safetensors *s = arena_zero(a, 1, sizeof *s);
	rebus_status status = s ? tables_make(s, a, list, shown, err) : error_memory(err, shown);
	if (status)
		arena_release(a, mark);
	else
		*out = s;
	return status;
}

void safetensors_close(safetensors *s)
{
	for (size_t i = 0; s && i < s->opened; i++)
		file_close(&s->files[i]);
	if (s)
		s->opened = 0;
}

void safetensors_forget(const safetensors *s, const void *data, size_t size)
{
	for (size_t i = 0; i < s->opened; i++)
		file_forget(&s->files[i], data, size);
}

const tensor_info *safetensors_find(const safetensors *s, const char *name)
{
	size_t lo = 0, hi = s->count;
	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;
		int order = strcmp(name, s->by_name[middle]->name);
		if (!order)
			return s->by_name[middle];
		if (order < 0)
			hi = middle;
		else
			lo = middle + 1;
	}
	return NULL;
}

size_t safetensors_count(const safetensors *s)
{
	return s->count;
}

const tensor_info *safetensors_at(const safetensors *s, size_t number)
{
	return number < s->count ? s->all[number] : NULL;
}
