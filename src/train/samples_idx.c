/*
 * samples_idx.c - pictures and classes in the form of MNIST's files (LeCun et al. 1998), plain or gzip.
 *
 *   images   00 00 08 03 | count | rows | columns | count x rows x columns bytes       numbers: 4 bytes, big endian
 *   labels   00 00 08 01 | count |                  count bytes
 */
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "train/samples.h"

enum { MOST_BYTES = INT_MAX }; /* of either file, unpacked */

typedef struct idx {
	const uint8_t *pixels, *labels;
	int32_t rows, columns;
} idx;

static uint32_t number(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The header's numbers, then as many bytes as they say. */
static rebus_status read_bytes(gzFile f, const char *path, void *to, size_t size, rebus_error *err)
{
	for (size_t got = 0; got < size;) {
		size_t some = size - got > 1 << 20 ? 1 << 20 : size - got;
		int n = gzread(f, (uint8_t *)to + got, (unsigned)some);
		if (n <= 0)
			return error_set(err, REBUS_FORMAT, "%s: ends after %zu bytes of a part of %zu", path, got, size);
		got += (size_t)n;
	}
	return REBUS_OK;
}

static rebus_status read_idx(arena *a, const char *path, int sides, uint32_t side[3], const uint8_t **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	uint8_t head[16], *data, more;
	size_t size = 1;
	gzFile f = gzopen(path, "rb");
	if (!f)
		return error_set(err, REBUS_IO, "%s: cannot be read", path);
	TRY(read_bytes(f, path, head, 4 + 4 * (size_t)sides, err));
	bool sound = number(head) == 0x800 + (uint32_t)sides;
	for (int i = 0; i < sides && sound; i++) {
		side[i] = number(head + 4 + 4 * i);
		sound = size_mul(size, side[i], &size) && size <= MOST_BYTES;
	}
	if (!sound) {
		status = error_set(err, REBUS_FORMAT, "%s: not an idx file of bytes with %d sides and at most 2 GiB", path, sides);
		goto done;
	}
	data = arena_get(a, size, 1);
	if (!data) {
		status = error_memory(err, path);
		goto done;
	}
	TRY(read_bytes(f, path, data, size, err));
	if (gzread(f, &more, 1) > 0) {
		status = error_set(err, REBUS_FORMAT, "%s: more bytes than its header says", path);
		goto done;
	}
	*out = data;
done:
	gzclose(f);
	return status;
}

static rebus_status get(const samples *s, int64_t i, arena *a, sample *out, rebus_error *err)
{
	const idx *x = s->own;
	size_t size = (size_t)x->rows * (size_t)x->columns;
	uint8_t *copy = arena_get(a, size, 1);
	if (!copy)
		return error_memory(err, "a sample");
	memcpy(copy, x->pixels + (size_t)i * size, size);
	*out = (sample){.pic = {.width = x->columns, .height = x->rows, .channels = 1, .pixels = copy}, .label = x->labels[i]};
	return REBUS_OK;
}

rebus_status samples_idx(arena *a, const char *spec, samples *out, rebus_error *err)
{
	const char *comma = strchr(spec, ',');
	uint32_t image[3], label[3];
	idx *x = arena_zero(a, 1, sizeof *x);
	const char *images = comma ? arena_text(a, spec, (size_t)(comma - spec)) : NULL;
	if (!comma)
		return error_set(err, REBUS_MISUSE, "idx:%s: expected idx:IMAGES,LABELS", spec);
	if (!x || !images)
		return error_memory(err, "samples");
	rebus_status status = read_idx(a, images, 3, image, &x->pixels, err);
	if (!status)
		status = read_idx(a, comma + 1, 1, label, &x->labels, err);
	if (status)
		return status;
	if (image[0] != label[0] || image[1] < 1 || image[2] < 1)
		return error_set(err, REBUS_FORMAT, "idx:%s: %u pictures of %ux%u and %u labels", spec, image[0], image[1], image[2], label[0]);
	x->rows = (int32_t)image[1];
	x->columns = (int32_t)image[2];
	out->count = image[0];
	out->get = get;
	out->own = x;
	return REBUS_OK;
}
