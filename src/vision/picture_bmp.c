/*
 * picture_bmp.c - BMP, and its information header alone (DIB), read here: the format is a header and rows.
 *
 *   "BM", size, 0, offset | header size: 12 (OS/2), 40, 52, 56, 64, 108 or 124 | masks | palette | rows, bottom row first
 *
 * Pillow's rules (BmpImagePlugin.py), which differ from what other readers do:
 *
 *   - 32 bits are BGRX unless BITFIELDS names an alpha mask; only the masks in `layouts` are read, others are an error.
 *   - A palette that is the grey ramp (two colours: black, white) makes the file grey, and rows are then read as plain bytes
 *     (two colours: bits) whatever the depth was. So a ramp of 16 greys is an error: its rows are too short for bytes.
 *   - Where the header's offset points to the end of the header, the palette is assumed to lie between.
 *   - Runs (RLE) past the end of a row are cut, jumps leave index 0, and too few pixels are an error.
 *   - The height's highest byte 0xff means rows from the top.
 */
#include "vision/picture.h"

#include <string.h>

enum { RAW, RLE8, RLE4, BITFIELDS };

typedef struct {
	const uint8_t *bytes;
	size_t size, at;
	uint32_t width, height, bits, compression, colours;
	uint32_t entry; /* bytes of a palette entry */
	bool top_down;
	uint32_t mask[4];
	const char *mode, *order; /* of a pixel's bytes, for 24 and 32 bits */
	bool sixteen;             /* 5, 6, 5 bits instead of 5, 5, 5 */
	uint8_t palette[256][3];
	bool palette_long; /* more than 256 colours, which only grey ramps may have */
} bitmap;

static const struct {
	uint32_t bits, mask[4];
	const char *order;
} layouts[] = {
	{32, {0xff0000, 0xff00, 0xff, 0}, "BGRX"},         {32, {0xff000000, 0xff0000, 0xff00, 0}, "XBGR"},
	{32, {0xff000000, 0xff00, 0xff, 0}, "BGXR"},       {32, {0xff000000, 0xff0000, 0xff00, 0xff}, "ABGR"},
	{32, {0xff, 0xff00, 0xff0000, 0xff000000}, "RGBA"}, {32, {0xff0000, 0xff00, 0xff, 0xff000000}, "BGRA"},
	{32, {0xff000000, 0xff00, 0xff, 0xff0000}, "BGAR"}, {32, {0, 0, 0, 0}, "BGRA"},
	{24, {0xff0000, 0xff00, 0xff, 0}, "BGR"},          {16, {0xf800, 0x7e0, 0x1f, 0}, "565"},
	{16, {0x7c00, 0x3e0, 0x1f, 0}, "555"},
};

static rebus_status short_file(const picture_source *in, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: BMP ends inside the picture, after %zu bytes", in->name, in->size);
}

static rebus_status read_masks(bitmap *b, const picture_source *in, const uint8_t *h, size_t size, rebus_error *err)
{
	for (size_t i = 0; i < 4; i++) {
		if (size >= 52) {
			b->mask[i] = i < 3 || size >= 56 ? picture_little(h + 40 + 4 * i, 4) : 0;
		} else if (i < 3) {
			if (b->size - b->at < 4)
				return short_file(in, err);
			b->mask[i] = picture_little(b->bytes + b->at, 4);
			b->at += 4;
		}
	}
	return REBUS_OK;
}

/* h: the information header, its size word included */
static rebus_status read_header(bitmap *b, const picture_source *in, rebus_error *err)
{
	if (b->size - b->at < 4)
		return short_file(in, err);
	const uint8_t *h = b->bytes + b->at;
	size_t size = picture_little(h, 4);
	if (size != 12 && size != 40 && size != 52 && size != 56 && size != 64 && size != 108 && size != 124)
		return error_set(err, REBUS_UNSUPPORTED, "%s: BMP header of %zu bytes, expected 12, 40, 52, 56, 64, 108 or 124", in->name,
		                 size);
	if (b->size - b->at < size)
		return short_file(in, err);
	b->at += size;
	b->entry = size == 12 ? 3 : 4;
	if (size == 12) {
		b->width = picture_little(h + 4, 2);
		b->height = picture_little(h + 6, 2);
		b->bits = picture_little(h + 10, 2);
		return REBUS_OK;
	}
	b->top_down = h[11] == 0xff;
	b->width = picture_little(h + 4, 4);
	b->height = picture_little(h + 8, 4);
	if (b->top_down)
		b->height = 0u - b->height;
	b->bits = picture_little(h + 14, 2);
	b->compression = picture_little(h + 16, 4);
	b->colours = picture_little(h + 32, 4);
	return b->compression == BITFIELDS ? read_masks(b, in, h, size, err) : REBUS_OK;
}

static rebus_status choose_layout(bitmap *b, const picture_source *in, rebus_error *err)
{
	if (b->bits != 1 && b->bits != 4 && b->bits != 8 && b->bits != 16 && b->bits != 24 && b->bits != 32)
		return error_set(err, REBUS_UNSUPPORTED, "%s: BMP of %u bits a pixel, expected 1, 4, 8, 16, 24 or 32", in->name,
		                 (unsigned)b->bits);
	b->mode = b->bits <= 8 ? "P" : "RGB";
	b->order = b->bits == 16 ? "555" : b->bits == 24 ? "BGR" : "BGRX";
	if (b->compression > BITFIELDS)
		return error_set(err, REBUS_UNSUPPORTED, "%s: BMP of compression %u, expected 0 (none), 1, 2 (runs) or 3 (masks)", in->name,
		                 (unsigned)b->compression);
	if (b->compression != BITFIELDS)
		return REBUS_OK;
	for (size_t i = 0; i < COUNT_OF(layouts); i++)
		if (layouts[i].bits == b->bits && !memcmp(layouts[i].mask, b->mask, (b->bits == 32 ? 4 : 3) * sizeof b->mask[0])) {
			b->order = layouts[i].order;
			b->sixteen = !strcmp(b->order, "565");
			if (strchr(b->order, 'A'))
				b->mode = "RGBA";
			return REBUS_OK;
		}
	return error_set(err, REBUS_UNSUPPORTED, "%s: BMP of %u bits with masks %08x %08x %08x %08x, which nothing reads", in->name,
	                 (unsigned)b->bits, (unsigned)b->mask[0], (unsigned)b->mask[1], (unsigned)b->mask[2], (unsigned)b->mask[3]);
}

/* Palette or grey ramp; a palette that the file cuts short is as long as it is. */
static rebus_status read_palette(bitmap *b, const picture_source *in, rebus_error *err)
{
	if (b->colours < 1 || b->colours > 65536)
		return error_set(err, REBUS_FORMAT, "%s: BMP palette of %u colours, expected 1 to 65536", in->name, (unsigned)b->colours);
	size_t want = (size_t)b->entry * b->colours, there = b->size - b->at < want ? b->size - b->at : want;
	const uint8_t *p = b->bytes + b->at;
	bool ramp = true;
	for (size_t i = 0; i < b->colours; i++) {
		size_t at = i * b->entry;
		uint8_t grey = (uint8_t)(b->colours == 2 ? i * 255 : i);
		bool whole = at + 3 <= there;
		ramp &= whole && p[at] == grey && p[at + 1] == grey && p[at + 2] == grey;
		if (i < 256 && at + b->entry <= there)
			for (int c = 0; c < 3; c++)
				b->palette[i][c] = p[at + 2 - (size_t)c];
	}
	b->at += there;
	b->palette_long = there / b->entry > 256;
	if (ramp)
		b->mode = b->colours <= 2 ? "1" : "L";
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ rows */
static void convert_row(const bitmap *b, int bits, const uint8_t *in, uint8_t *out)
{
	int planes = !strcmp(b->mode, "RGBA") ? 4 : bits > 8 || !strcmp(b->mode, "P") ? 3 : 1;
	for (uint32_t x = 0; x < b->width; x++, out += planes) {
		if (bits <= 8) {
			uint32_t shift = 8 - (uint32_t)bits - (x * (uint32_t)bits & 7), v = in[(size_t)x * (size_t)bits / 8] >> shift & ((1u << bits) - 1);
			if (planes == 3)
				memcpy(out, b->palette[v], 3);
			else
				*out = !strcmp(b->mode, "1") ? (v ? 255 : 0) : (uint8_t)v;
		} else if (bits == 16) {
			uint32_t v = picture_little(in + 2 * (size_t)x, 2);
			out[0] = (uint8_t)((v >> (b->sixteen ? 11 : 10) & 31) * 255 / 31);
			out[1] = (uint8_t)(b->sixteen ? (v >> 5 & 63) * 255 / 63 : (v >> 5 & 31) * 255 / 31);
			out[2] = (uint8_t)((v & 31) * 255 / 31);
		} else {
			for (int c = 0; c < bits / 8; c++, in++) {
				const char *place = memchr("RGBA", b->order[c], 4);
				if (place)
					out[place - "RGBA"] = *in;
			}
		}
	}
}

static rebus_status read_raw(const bitmap *b, const picture_source *in, size_t from, const picture *p, rebus_error *err)
{
	int bits = !strcmp(b->mode, "1") ? 1 : !strcmp(b->mode, "L") ? 8 : (int)b->bits;
	size_t row = ((size_t)b->width * (size_t)bits + 7) / 8, stride = ((size_t)b->width * b->bits + 31) / 8 & ~(size_t)3;
	if (stride < row)
		return error_set(err, REBUS_FORMAT, "%s: BMP of %u bits with a grey palette, whose rows are too short for bytes", in->name,
		                 (unsigned)b->bits);
	for (size_t y = 0; y < b->height; y++) {
		size_t at = from + y * stride; /* the padding of the last row may be missing */
		if (at > b->size || b->size - at < row)
			return short_file(in, err);
		size_t to = b->top_down ? y : b->height - 1 - y;
		convert_row(b, bits, b->bytes + at, p->pixels + to * b->width * (size_t)p->channels);
	}
	return REBUS_OK;
}

/* The indices of a picture in runs, first row of the file first; all that were written, at most `most`. */
static size_t read_runs(const bitmap *b, size_t at, uint8_t *to, size_t most)
{
	size_t n = 0, x = 0, width = b->width;
	const uint8_t *p = b->bytes;
	while (n < most && b->size - at >= 2) {
		size_t count = p[at], what = p[at + 1];
		at += 2;
		if (count) { /* a run */
			if (x + count > width)
				count = x < width ? width - x : 0;
			for (size_t i = 0; i < count && n < most; i++)
				to[n++] = (uint8_t)(b->compression == RLE8 ? what : i % 2 ? what & 15 : what >> 4);
			x += count;
		} else if (what == 0) { /* end of the row */
			while (n % width && n < most)
				to[n++] = 0;
			x = 0;
		} else if (what == 1) { /* end of the picture */
			break;
		} else if (what == 2) { /* a jump */
			if (b->size - at < 2)
				break;
			size_t jump = p[at] + p[at + 1] * width;
			at += 2;
			for (; jump && n < most; jump--)
				to[n++] = 0;
			x = n % width;
		} else { /* so many pixels as they are, padded to an even place in the file */
			size_t pixels = most - n < what ? most - n : what, bytes = b->compression == RLE8 ? pixels : (pixels + 1) / 2;
			size_t there = b->size - at < bytes ? b->size - at : bytes;
			for (size_t i = 0; i < there * (b->compression == RLE8 ? 1 : 2) && n < most && i < pixels; i++)
				to[n++] = b->compression == RLE8 ? p[at + i] : i % 2 ? p[at + i / 2] & 15 : p[at + i / 2] >> 4;
			at += there;
			if (there < bytes || n == most)
				break;
			x += what;
			at += at % 2;
			if (at > b->size)
				break;
		}
	}
	return n;
}

static rebus_status read_rle(const bitmap *b, arena *a, const picture_source *in, size_t from, const picture *p, rebus_error *err)
{
	size_t all = (size_t)b->width * b->height;
	arena_mark here = arena_here(a);
	if (b->bits > 8)
		return error_set(err, REBUS_FORMAT, "%s: BMP of %u bits in runs, expected a palette", in->name, (unsigned)b->bits);
	uint8_t *indices = arena_get(a, all, 1);
	if (!indices)
		return error_memory(err, in->name);
	size_t n = from <= b->size ? read_runs(b, from, indices, all) : 0;
	if (n < all)
		return error_set(err, REBUS_FORMAT, "%s: BMP runs end after %zu of %zu pixels", in->name, n, all);
	for (size_t y = 0; y < b->height; y++) {
		size_t to = b->top_down ? y : b->height - 1 - y;
		convert_row(b, 8, indices + y * b->width, p->pixels + to * b->width * (size_t)p->channels);
	}
	arena_release(a, here);
	return REBUS_OK;
}

rebus_status picture_bmp(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bitmap b = {.bytes = in->bytes, .size = in->size};
	picture p = {0};
	size_t offset = 0, header_at = 0;
	(void)orientation;
	if (picture_starts(in->bytes, in->size, 0, "BM", 2)) {
		if (in->size < 14)
			return short_file(in, err);
		offset = picture_little(in->bytes + 10, 4);
		b.at = header_at = 14;
	}
	TRY(read_header(&b, in, err));
	TRY(choose_layout(&b, in, err));
	size_t header_end = header_at + picture_little(in->bytes + header_at, 4);
	if (!b.colours)
		b.colours = 1u << (b.bits & 31);
	if (header_at && offset == header_end && b.bits <= 8)
		offset += (size_t)b.entry * b.colours;
	if (b.bits <= 8)
		TRY(read_palette(&b, in, err));
	if (!strcmp(b.mode, "P") && b.palette_long)
		return error_set(err, REBUS_FORMAT, "%s: BMP palette of %u colours, more than 256", in->name, (unsigned)b.colours);
	int planes = !strcmp(b.mode, "RGBA") ? 4 : b.bits > 8 || !strcmp(b.mode, "P") ? 3 : 1;
	TRY(picture_new(a, in, b.width, b.height, planes, 1, b.mode, &p, err));
	if (!offset)
		offset = b.at;
	TRY(b.compression == RLE8 || b.compression == RLE4 ? read_rle(&b, a, in, offset, &p, err) : read_raw(&b, in, offset, &p, err));
	*out = p;
done:
	return status;
}
