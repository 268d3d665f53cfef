/*
 * samples_folder.c - FOLDER/CLASS/FILE: classes are the folders in the order of their names, samples the files in theirs.
 * Names that begin with a dot are passed over.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "train/samples.h"

enum { MOST = 1 << 26 };

typedef struct names {
	const char **at;
	size_t count, room;
} names;

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool add_name(arena *a, names *n, const char *text)
{
	if (n->count == n->room) {
		size_t room = n->room ? 2 * n->room : 64;
		const char **more = room <= MOST ? arena_get(a, room, sizeof *more) : NULL;
		if (!more)
			return false;
		if (n->count)
			memcpy(more, n->at, n->count * sizeof *more);
		n->at = more;
		n->room = room;
	}
	n->at[n->count] = arena_text(a, text, strlen(text));
	return n->at[n->count++] != NULL;
}

static rebus_status list(arena *a, const char *path, names *out, rebus_error *err)
{
	DIR *d = opendir(path);
	if (!d)
		return error_set(err, REBUS_IO, "%s: cannot be read", path);
	bool room = true;
	for (struct dirent *e; room && (e = readdir(d));)
		if (e->d_name[0] != '.')
			room = add_name(a, out, e->d_name);
	closedir(d);
	if (!room)
		return error_memory(err, path);
	if (out->count)
		qsort(out->at, out->count, sizeof *out->at, by_text);
	return REBUS_OK;
}

static rebus_status add_class(arena *a, const char *path, const char *name, names *paths, names *of, rebus_error *err)
{
	names files = {0};
	const char *folder = arena_format(a, "%s/%s", path, name);
	rebus_status status = folder ? list(a, folder, &files, err) : error_memory(err, path);
	for (size_t i = 0; !status && i < files.count; i++) {
		const char *file = arena_format(a, "%s/%s", folder, files.at[i]);
		if (!file || !add_name(a, paths, file) || !add_name(a, of, name))
			status = error_memory(err, path);
	}
	return status;
}

rebus_status samples_folder(arena *a, const char *path, samples *out, rebus_error *err)
{
	names entries = {0}, classes = {0}, paths = {0}, of = {0};
	rebus_status status = list(a, path, &entries, err);
	for (size_t i = 0; !status && i < entries.count; i++) {
		const char *folder = arena_format(a, "%s/%s", path, entries.at[i]);
		if (!folder || (file_is_folder(folder) && !add_name(a, &classes, entries.at[i])))
			status = error_memory(err, path);
		else if (file_is_folder(folder))
			status = add_class(a, path, entries.at[i], &paths, &of, err);
	}
	if (status)
		return status;
	sample_files *f = arena_zero(a, 1, sizeof *f);
	sample_file *at = arena_zero(a, paths.count + 1, sizeof *at);
	if (!f || !at)
		return error_memory(err, "samples");
	for (size_t i = 0; i < paths.count; i++)
		at[i] = (sample_file){.path = paths.at[i], .class_name = of.at[i], .label = -1};
	*f = (sample_files){at, (int64_t)paths.count};
	out->count = f->count;
	out->classes = classes.at;
	out->class_count = (int32_t)classes.count;
	out->get = samples_get_file;
	out->own = f;
	return REBUS_OK;
}
