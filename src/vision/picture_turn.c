/*
 * picture_turn.c - the eight orientations, and where files state them: EXIF's tag 0x0112 and XMP's tiff:Orientation.
 *
 * EXIF is a TIFF header with a directory of twelve-byte entries, all in the byte order of its first two letters:
 *
 *   II or MM | 42 | offset ─► count | tag, type, count, value or offset | tag, ... | next
 *
 * Only the first directory is read, and of an entry that is there twice the first, as Pillow does.
 */
#include "vision/picture.h"

#include <string.h>

/* Each of the eight is: swap the axes or not, then count each from its far end or not. */
rebus_status vision_orient(arena *a, picture *p, int orientation, rebus_error *err)
{
	static const struct {
		int8_t from_right, from_bottom, swapped;
	} turn[9] = {
		[2] = {1, 0, 0}, [3] = {1, 1, 0}, [4] = {0, 1, 0}, [5] = {0, 0, 1}, [6] = {0, 1, 1}, [7] = {1, 1, 1}, [8] = {1, 0, 1},
	};
	if (orientation < 2 || orientation > 8)
		return REBUS_OK;
	arena_mark here = arena_here(a);
	size_t w = (size_t)p->width, h = (size_t)p->height, c = (size_t)p->channels;
	bool swapped = turn[orientation].swapped;
	size_t out_w = swapped ? h : w, out_h = swapped ? w : h;
	uint8_t *turned = arena_get(a, w * h, c);
	if (!turned)
		return error_memory(err, "turning a picture upright");
	for (size_t y = 0; y < out_h; y++)
		for (size_t x = 0; x < out_w; x++) {
			size_t sx = swapped ? y : x, sy = swapped ? x : y;
			sx = turn[orientation].from_right ? w - 1 - sx : sx;
			sy = turn[orientation].from_bottom ? h - 1 - sy : sy;
			memcpy(turned + (y * out_w + x) * c, p->pixels + (sy * w + sx) * c, c);
		}
	memcpy(p->pixels, turned, w * h * c);
	p->width = (int32_t)out_w;
	p->height = (int32_t)out_h;
	arena_release(a, here);
	return REBUS_OK;
}

static uint32_t number(const uint8_t *p, int bytes, bool big)
{
	uint32_t v = 0;
	for (int i = 0; i < bytes; i++)
		v = v << 8 | p[big ? i : bytes - 1 - i];
	return v;
}

/* The first value of an entry; 0 for the types that Pillow does not take for numbers: bytes, text, undefined. */
static double value_of(const uint8_t *p, uint32_t type, bool big)
{
	uint32_t low = number(p, 4, big), high;
	union {
		uint32_t bits;
		float value;
	} f = {low};
	switch (type) {
	case 3:
		return number(p, 2, big);
	case 4:
	case 13:
		return low;
	case 5:
		high = number(p + 4, 4, big);
		return high ? (double)low / high : 0;
	case 6:
		return (int8_t)*p;
	case 8:
		return (int16_t)number(p, 2, big);
	case 9:
		return (int32_t)low;
	case 11:
		return f.value;
	default:
		return 0;
	}
}

int picture_exif(const uint8_t *tiff, size_t size)
{
	static const uint8_t width_of[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}; /* TIFF's types */
	for (int i = 0; i < 2 && picture_starts(tiff, size, 0, "Exif\0\0", 6); i++) {
		tiff += 6;
		size -= 6;
	}
	if (size < 8)
		return 0;
	bool big = tiff[0] == 'M' && tiff[1] == 'M';
	if ((!big && (tiff[0] != 'I' || tiff[1] != 'I')) || number(tiff + 2, 2, big) != 42)
		return 0;
	size_t at = number(tiff + 4, 4, big);
	if (at > size - 2)
		return 0;
	size_t entries = number(tiff + at, 2, big);
	at += 2;
	for (size_t i = 0; i < entries && size - at >= 12; i++, at += 12) {
		uint32_t type = number(tiff + at + 2, 2, big);
		size_t count = number(tiff + at + 4, 4, big), from = at + 8;
		size_t wide = type < COUNT_OF(width_of) ? width_of[type] : 0;
		if (number(tiff + at, 2, big) != 0x0112 || !wide || !count)
			continue;
		if (count > 4 / wide) { /* not in the entry itself */
			from = number(tiff + from, 4, big);
			if (from > size || count > (size - from) / wide)
				return 0;
		}
		double value = value_of(tiff + from, type, big);
		return value >= 1 && value <= 8 && value == (int)value ? (int)value : 0;
	}
	return 0;
}

uint32_t picture_little(const uint8_t *p, int bytes)
{
	return number(p, bytes, false);
}

int picture_xmp(const uint8_t *text, size_t size)
{
	static const char tag[] = "tiff:Orientation";
	const size_t n = sizeof(tag) - 1;
	for (size_t i = 0; i + n + 1 < size; i++) {
		if (memcmp(text + i, tag, n))
			continue;
		size_t at = i + n;
		if (text[at] == '>')
			at += 1;
		else if (text[at] == '=' && text[at + 1] == '"')
			at += 2;
		else
			continue;
		if (at < size && text[at] >= '0' && text[at] <= '9')
			return text[at] - '0';
	}
	return 0;
}
