/* hub.c - see hub.h. */
#include "files/hub.h"

#include <stdlib.h>
#include <string.h>

static const char *cache_root(arena *a)
{
	const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *xdg = getenv("XDG_CACHE_HOME"), *user = getenv("HOME");
	if (cache && *cache)
		return cache;
	if (home && *home)
		return arena_format(a, "%s/hub", home);
	if (xdg && *xdg)
		return arena_format(a, "%s/huggingface/hub", xdg);
	return arena_format(a, "%s/.cache/huggingface/hub", user ? user : "");
}

/* ORG/NAME of the Hub: two plain names. */
static bool looks_like_repository(const char *name)
{
	const char *slash = strchr(name, '/');
	return slash && slash != name && slash[1] && !strchr(slash + 1, '/') && name[0] != '.' && !strstr(name, "..");
}

rebus_status hub_folder(arena *a, const char *name, const char **out, rebus_error *err)
{
	if (file_is_folder(name)) {
		*out = arena_text(a, name, strlen(name));
		return *out ? REBUS_OK : error_memory(err, name);
	}
	if (file_exists(name))
		return error_set(err, REBUS_IO, "%s: is a file, expected a checkpoint folder or FILE.gguf", name);
	if (!looks_like_repository(name))
		return error_set(err, REBUS_IO, "%s: no such folder", name);
	const char *root = cache_root(a), *slash = strchr(name, '/');
	const char *repository = root ? arena_format(a, "%s/models--%.*s--%s", root, (int)(slash - name), name, slash + 1) : NULL;
	const char *ref = repository ? arena_format(a, "%s/refs/main", repository) : NULL;
	if (!ref)
		return error_memory(err, name);
	file_map f;
	rebus_status status = file_open(&f, ref, 256, true, a->from, NULL);
	if (status)
		return status == REBUS_MEMORY ? error_memory(err, name) : error_set(err, REBUS_IO,
			"%s: no such folder, and not in the Hugging Face cache (%s)", name, root);
	size_t n = f.size;
	while (n && strchr("\r\n \t", f.data[n - 1]))
		n--;
	bool plain = n > 0;
	for (size_t i = 0; i < n; i++)
		plain &= f.data[i] != '/' && f.data[i] != '.' && f.data[i] > ' ';
	const char *folder = plain ? arena_format(a, "%s/snapshots/%.*s", repository, (int)n, (const char *)f.data) : NULL;
	file_close(&f);
	if (plain && !folder)
		return error_memory(err, name);
	if (!folder || !file_is_folder(folder))
		return error_set(err, REBUS_IO, "%s: its snapshot is not in the Hugging Face cache (%s)", name, repository);
	*out = folder;
	return REBUS_OK;
}
