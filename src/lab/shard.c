/* shard.c - rebus_tar_*: the members of a mapped tar file (files/tar.h), for callers of the public headers. */
#include "files/tar.h"
#include "rebus_lab.h"

struct rebus_tar {
	arena a; /* holds this struct too */
	file_map map;
	tar t;
};

rebus_status rebus_tar_open(const char *path, rebus_tar **out, rebus_error *err)
{
	arena a;
	arena_init(&a, NULL, 0);
	rebus_tar *x = arena_zero(&a, 1, sizeof *x);
	const char *name = x ? arena_format(&a, "%s", path) : NULL;
	rebus_status status = name ? file_open(&x->map, path, 0, false, NULL, err) : error_memory(err, path);
	if (status) {
		arena_free(&a);
		return status;
	}
	x->a = a;
	tar_begin(&x->t, x->map.data, x->map.size, name, NULL);
	*out = x;
	return REBUS_OK;
}

rebus_status rebus_tar_next(rebus_tar *x, const char **name, const void **bytes, size_t *size, bool *got, rebus_error *err)
{
	tar_member m;
	rebus_status status = tar_next(&x->t, &m, got, err);
	if (status || !*got)
		return status;
	*name = m.name;
	*bytes = m.data;
	*size = m.size;
	return REBUS_OK;
}

void rebus_tar_close(rebus_tar *x)
{
	if (!x)
		return;
	tar_end(&x->t);
	file_close(&x->map);
	arena a = x->a;
	arena_free(&a);
}
