/*
 * walk.c - names of files under a folder or matching a pattern, one at a time, in the order of their bytes.
 *
 *   photos          every picture and tar file under it, by the ending of its name; names that begin with a dot are left out
 *   photos/2*.jpg   what matches, as in a shell; ** stands for any number of folders; a folder that matches is walked whole
 *
 * Only the names of the folders on the way down are held, so a tree of millions costs the memory of its largest folders.
 * Links are followed, but not into a folder that is being walked already.
 */
#define _XOPEN_SOURCE 700
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH = 64, DOUBLE_STARS = 4 };

typedef struct {
	char **names; /* [count], sorted */
	size_t count, at, path_size;
	dev_t device;
	ino_t number;
	bool whole; /* everything under it counts */
} level;

struct cli_walk {
	level levels[DEPTH];
	size_t depth;
	char *path;
	size_t room;
	const char *pattern; /* NULL: all under the folder */
};

bool cli_is_picture_name(const char *name)
{
	static const char *const endings[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib",
	                                      ".tif", ".tiff", ".heic", ".heif", ".avif"};
	size_t n = strlen(name);
	for (size_t i = 0; i < CLI_COUNT(endings); i++) {
		size_t m = strlen(endings[i]), k = 0;
		while (n > m && k < m && (name[n - m + k] | 0x20) == (endings[i][k] | 0x20))
			k++;
		if (n > m && k == m)
			return true;
	}
	return false;
}

bool cli_is_tar_name(const char *name)
{
	size_t n = strlen(name);
	return n > 4 && !strcmp(name + n - 4, ".tar");
}

bool cli_is_pattern(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

bool cli_is_folder(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void level_free(level *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->names[i]);
	free(l->names);
	*l = (level){.names = NULL};
}

void cli_walk_close(cli_walk *w)
{
	if (!w)
		return;
	while (w->depth)
		level_free(&w->levels[--w->depth]);
	free(w->path);
	free(w);
}

static rebus_status names_of(const char *path, level *l, rebus_error *err)
{
	cli_list names = {.items = NULL};
	rebus_status status = REBUS_OK;
	DIR *d = opendir(path);
	if (!d)
		return cli_error(err, REBUS_IO, "%.160s: the folder cannot be opened: %s", path, strerror(errno));
	for (struct dirent *e; !status && (errno = 0, e = readdir(d));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		char **name = cli_list_add(&names, sizeof *name);
		if (!name || !(*name = strdup(e->d_name)))
			status = cli_no_memory(err);
	}
	if (!status && errno)
		status = cli_error(err, REBUS_IO, "%.160s: the folder cannot be read: %s", path, strerror(errno));
	closedir(d);
	l->names = names.items;
	l->count = names.count;
	if (l->count)
		qsort(l->names, l->count, sizeof *l->names, by_bytes);
	return status;
}

/* Goes down into w->path; nothing happens where that would be a loop. */
static rebus_status enter(cli_walk *w, bool whole, rebus_error *err)
{
	struct stat st;
	const char *path = *w->path ? w->path : ".";
	if (stat(path, &st))
		return cli_error(err, REBUS_IO, "%.160s: the folder cannot be opened: %s", path, strerror(errno));
	for (size_t i = 0; i < w->depth; i++)
		if (w->levels[i].device == st.st_dev && w->levels[i].number == st.st_ino)
			return REBUS_OK;
	if (w->depth == DEPTH)
		return cli_error(err, REBUS_LIMIT, "%.160s: folders more than %d deep", path, DEPTH);
	level l = {.path_size = strlen(w->path), .device = st.st_dev, .number = st.st_ino, .whole = whole};
	rebus_status status = names_of(path, &l, err);
	if (status)
		level_free(&l);
	else
		w->levels[w->depth++] = l;
	return status;
}

static bool set_path(cli_walk *w, size_t keep, const char *name)
{
	size_t need = keep + strlen(name) + 2;
	if (need > w->room) {
		char *p = realloc(w->path, 2 * need);
		if (!p)
			return false;
		w->path = p;
		w->room = 2 * need;
	}
	if (keep && w->path[keep - 1] != '/')
		w->path[keep++] = '/';
	strcpy(w->path + keep, name);
	return true;
}

/* Folder by folder; prefix: is the path the beginning of one that matches? */
static bool matches(const char *pattern, const char *path, bool prefix)
{
	char part[256], name[256];
	for (;;) {
		if (!*path)
			return prefix || !*pattern;
		if (!*pattern)
			return false;
		size_t n = strcspn(pattern, "/"), m = strcspn(path, "/");
		const char *pattern_rest = pattern + n + (pattern[n] == '/'), *path_rest = path + m + (path[m] == '/');
		if (n == 2 && !strncmp(pattern, "**", 2)) {
			if (matches(pattern_rest, path, prefix))
				return true;
			if (*path == '.')
				return false;
			path = path_rest;
			continue;
		}
		if (n >= sizeof part || m >= sizeof name)
			return false;
		memcpy(part, pattern, n);
		memcpy(name, path, m);
		part[n] = name[m] = 0;
		if (fnmatch(part, name, FNM_PERIOD))
			return false;
		pattern = pattern_rest;
		path = path_rest;
	}
}

rebus_status cli_walk_open(const char *path, bool pattern, cli_walk **out, rebus_error *err)
{
	cli_walk *w = calloc(1, sizeof *w);
	if (!w)
		return cli_no_memory(err);
	rebus_status status = REBUS_OK;
	size_t root = strlen(path);
	if (pattern) {
		size_t stars = 0;
		for (const char *p = path; (p = strstr(p, "**")); p += 2)
			stars++;
		if (stars > DOUBLE_STARS)
			status = cli_error(err, REBUS_MISUSE, "%.160s: more than %d times **", path, DOUBLE_STARS);
		w->pattern = path;
		root = (size_t)(strpbrk(path, "*?[") - path);
		while (root && path[root - 1] != '/')
			root--;
		while (root > 1 && path[root - 1] == '/') /* "a//b*" would not match its own "a/b1" */
			root--;
		if (path[root] == '/' && path[root + 1] == '/' && !status)
			status = cli_error(err, REBUS_MISUSE, "%.160s: two slashes in a pattern, expected one", path);
	}
	if (!status && !set_path(w, 0, path))
		status = cli_no_memory(err);
	if (!status) {
		w->path[root] = 0;
		status = enter(w, !pattern, err);
	}
	if (status)
		cli_walk_close(w);
	else
		*out = w;
	return status;
}

rebus_status cli_walk_next(cli_walk *w, const char **out, rebus_error *err)
{
	while (w->depth) {
		level *l = &w->levels[w->depth - 1];
		struct stat st;
		if (l->at == l->count) {
			level_free(l);
			w->depth--;
			continue;
		}
		const char *name = l->names[l->at++];
		if (l->whole && *name == '.')
			continue;
		if (!set_path(w, l->path_size, name))
			return cli_no_memory(err);
		bool whole = l->whole || matches(w->pattern, w->path, false);
		if (!whole && !matches(w->pattern, w->path, true))
			continue;
		bool known = !stat(w->path, &st);
		if (known && S_ISDIR(st.st_mode)) {
			*out = w->path;
			rebus_status status = enter(w, whole, err);
			if (status)
				return status;
			continue;
		}
		if (l->whole ? !cli_is_picture_name(name) && !cli_is_tar_name(name) : !whole)
			continue;
		*out = w->path;
		return REBUS_OK;
	}
	*out = NULL;
	return REBUS_OK;
}
