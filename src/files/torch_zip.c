/*
 * torch_zip.c - finds an entry of a zip whose entries are stored, not compressed; see torch_file.h (APPNOTE.TXT 6.3, PKWARE).
 *
 *     local header PK\3\4 + name + bytes ... │ central directory PK\1\2 + name ... │ (zip64 end PK\6\6, locator PK\6\7) │ end PK\5\6
 *
 * Read from the end. Sizes and offsets of 0xFFFFFFFF stand in a zip64 extra field. Every range is checked against the file.
 */
#include "files/torch_file.h"

#include <stdlib.h>
#include <string.h>

enum { END_BYTES = 22, LOCATOR_BYTES = 20, END64_BYTES = 56, ENTRY_BYTES = 46, LOCAL_BYTES = 30, COMMENT_MOST = 65535 };
static const uint64_t IN_EXTRA = 0xFFFFFFFFu;

static uint64_t number(const uint8_t *p, int bytes)
{
	uint64_t v = 0;
	for (int i = bytes; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

static bool inside(uint64_t at, uint64_t n, size_t size)
{
	return at <= size && n <= size - at;
}

bool torch_is_zip(const uint8_t *data, size_t size)
{
	return size >= 4 && !memcmp(data, "PK\3\4", 4);
}

/* Where the central directory lies. */
static bool directory(const uint8_t *d, size_t size, uint64_t *at, uint64_t *bytes)
{
	size_t lowest = size > END_BYTES + COMMENT_MOST ? size - END_BYTES - COMMENT_MOST : 0;
	if (size < END_BYTES)
		return false;
	for (size_t e = size - END_BYTES + 1; e-- > lowest;) {
		if (memcmp(d + e, "PK\5\6", 4))
			continue;
		*bytes = number(d + e + 12, 4);
		*at = number(d + e + 16, 4);
		if (*at == IN_EXTRA || *bytes == IN_EXTRA) {
			if (e < LOCATOR_BYTES || memcmp(d + e - LOCATOR_BYTES, "PK\6\7", 4))
				return false;
			uint64_t far = number(d + e - LOCATOR_BYTES + 8, 8);
			if (!inside(far, END64_BYTES, size) || memcmp(d + far, "PK\6\6", 4))
				return false;
			*bytes = number(d + far + 40, 8);
			*at = number(d + far + 48, 8);
		}
		return inside(*at, *bytes, size);
	}
	return false;
}

/* Sizes and place of an entry; what does not fit 32 bits comes from its extra field, in a fixed order. */
static bool wide(const uint8_t *entry, const uint8_t *extra, size_t left, uint64_t *packed, uint64_t *plain, uint64_t *at)
{
	uint64_t *want[3] = {plain, packed, at};
	*packed = number(entry + 20, 4);
	*plain = number(entry + 24, 4);
	*at = number(entry + 42, 4);
	while (left >= 4) {
		size_t id = (size_t)number(extra, 2), n = (size_t)number(extra + 2, 2), used = 4;
		if (n > left - 4)
			return false;
		for (int i = 0; i < 3 && id == 1; i++)
			if (*want[i] == IN_EXTRA) {
				if (used + 8 > n + 4)
					return false;
				*want[i] = number(extra + used, 8);
				used += 8;
			}
		extra += n + 4;
		left -= n + 4;
	}
	return true;
}

static rebus_status broken(const char *shown, const char *what, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: %s", shown, what);
}

static int by_ending(const void *x, const void *y)
{
	const torch_bytes *a = x, *b = y;
	size_t n = a->name_size < b->name_size ? a->name_size : b->name_size;
	int order = memcmp(a->name, b->name, n);
	return order ? order : a->name_size < b->name_size ? -1 : a->name_size > b->name_size;
}

/* The entry whose record is p; its name begins with the first slash. */
static bool entry(const uint8_t *data, size_t size, const uint8_t *p, torch_bytes *out)
{
	size_t name = (size_t)number(p + 28, 2), extra = (size_t)number(p + 30, 2);
	const char *text = (const char *)p + ENTRY_BYTES, *slash = memchr(text, '/', name);
	uint64_t packed, plain, local;
	if (!wide(p, p + ENTRY_BYTES + name, extra, &packed, &plain, &local) || number(p + 10, 2) || packed != plain || !inside(local, LOCAL_BYTES, size) ||
		memcmp(data + local, "PK\3\4", 4))
		return false;
	uint64_t begin = local + LOCAL_BYTES + number(data + local + 26, 2) + number(data + local + 28, 2);
	if (!inside(begin, plain, size))
		return false;
	*out = (torch_bytes){data + begin, (size_t)plain, slash ? slash : text, slash ? name - (size_t)(slash - text) : 0};
	return true;
}

rebus_status torch_zip_open(arena *a, const uint8_t *data, size_t size, const char *shown, torch_zip *out, rebus_error *err)
{
	uint64_t at = 0, left = 0;
	size_t count = 0;
	if (!directory(data, size, &at, &left))
		return broken(shown, "a zip without its directory, expected a whole file", err);
	torch_bytes *list = arena_get(a, (size_t)left / ENTRY_BYTES + 1, sizeof *list);
	if (!list)
		return error_memory(err, shown);
	for (const uint8_t *p = data + at; left >= ENTRY_BYTES;) {
		size_t n = ENTRY_BYTES + (size_t)(number(p + 28, 2) + number(p + 30, 2) + number(p + 32, 2));
		if (memcmp(p, "PK\1\2", 4) || n > left)
			return broken(shown, "a broken directory of the zip", err);
		if (!entry(data, size, p, &list[count++]))
			return broken(shown, "an entry of the zip lies outside of it or is compressed, expected stored ones, as torch.save writes them", err);
		p += n;
		left -= n;
	}
	qsort(list, count, sizeof *list, by_ending);
	*out = (torch_zip){list, count};
	return REBUS_OK;
}

torch_bytes torch_zip_find(const torch_zip *z, const char *ending)
{
	const torch_bytes key = {.name = ending, .name_size = strlen(ending)}, *found = bsearch(&key, z->list, z->count, sizeof key, by_ending);
	return found ? *found : (torch_bytes){0};
}
