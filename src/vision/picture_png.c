/*
 * picture_png.c - PNG by libpng, which only this file and png_write.c know.
 *
 * libpng only undoes compression, filters and interlacing; samples are turned into 8-bit planes here, by Pillow's rules,
 * which are not libpng's (see the table in picture.h). Colour type and depth give a row's raw form:
 *
 *   grey 1, 2, 4 ─► one byte a sample, unscaled       palette ─► one byte, an index       16 bit ─► two bytes, high first
 *
 * tRNS names one colour as transparent (grey, RGB) or gives the palette's first entries an alpha. Pillow compares the low
 * byte of the named value with the 8-bit pixel it has made, whatever the depth was (mode 1: zero or not zero); so do we.
 *
 * Chunks that say nothing about pixels (text, profiles, gamma, ...) are skipped without being parsed; picture_png_text.c looks
 * at those that state an orientation. Checksums must hold up to the pixels, and the pixels' stream has one of its own; as in
 * Pillow those of the pixels' chunks do not matter, and after the last pixel chunks need only be whole.
 *
 * Errors come by longjmp to `jump`; everything that must survive it lives in `reader`.
 */
#include "vision/picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

enum { NEAR = 8192 }; /* libpng reads pixels by so many bytes */

typedef struct {
	png_structp png;
	png_infop info;
	const uint8_t *bytes;
	size_t size, at;
	jmp_buf jump;
	bool dry, bad_data;
	bool cut; /* the file ends in a chunk of pixels */
	char text[128];
	uint8_t *raw;     /* the row being read, or of an interlaced picture all rows */
	png_uint_32 y;    /* its number */
	arena_mark before; /* raw */
} reader;

typedef struct {
	png_uint_32 width, height;
	int depth, colour, interlace;
	int planes;      /* of the output */
	size_t raw;      /* bytes of a row as libpng gives it */
	int scale;       /* grey of less than 8 bits: what 1 is worth */
	bool keyed;      /* tRNS names a colour */
	uint8_t key[3];
	uint8_t palette[256][4];
} form;

static void fail(png_structp png, png_const_charp text)
{
	reader *r = png_get_error_ptr(png);
	snprintf(r->text, sizeof(r->text), "%s", text);
	longjmp(r->jump, 1);
}

static void warn(png_structp png, png_const_charp text)
{
	reader *r = png_get_error_ptr(png);
	if (strstr(text, "incorrect data check")) /* the stream's own checksum, after its last byte */
		r->bad_data = true;
}

static void feed(png_structp png, png_bytep to, size_t n)
{
	reader *r = png_get_io_ptr(png);
	if (r->cut && r->size - r->at < 2 * NEAR) /* so that the bytes before the end are used */
		png_set_compression_buffer_size(png, 1);
	if (n > r->size - r->at) {
		r->dry = true;
		png_error(png, "the file ends");
	}
	memcpy(to, r->bytes + r->at, n);
	r->at += n;
}

/* 5-byte names: four letters and a NUL, one after the other */
static void skip_chunks(png_structp png)
{
	static const png_byte names[] = "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0"
	                                "zTXt";
	png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
	png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, names, (int)(sizeof(names) / 5));
}

static void palette_fill(form *f, const reader *r)
{
	png_colorp colours = NULL;
	png_bytep alpha = NULL;
	int count = 0, alphas = 0;
	for (int i = 0; i < 256; i++)
		f->palette[i][3] = 255;
	png_get_PLTE(r->png, r->info, &colours, &count);
	if (png_get_valid(r->png, r->info, PNG_INFO_tRNS)) {
		png_get_tRNS(r->png, r->info, &alpha, &alphas, NULL);
		f->planes = 4;
	}
	for (int i = 0; i < count && i < 256; i++) {
		f->palette[i][0] = colours[i].red;
		f->palette[i][1] = colours[i].green;
		f->palette[i][2] = colours[i].blue;
	}
	for (int i = 0; alpha && i < alphas && i < 256; i++)
		f->palette[i][3] = alpha[i];
}

static void key_fill(form *f, const reader *r)
{
	png_color_16p key = NULL;
	if (!png_get_valid(r->png, r->info, PNG_INFO_tRNS) || !png_get_tRNS(r->png, r->info, NULL, NULL, &key) || !key)
		return;
	f->keyed = true;
	f->planes++;
	if (f->colour == PNG_COLOR_TYPE_GRAY) {
		f->key[0] = (uint8_t)(f->depth == 1 ? (key->gray ? 255 : 0) : key->gray & 255);
	} else {
		f->key[0] = (uint8_t)(key->red & 255);
		f->key[1] = (uint8_t)(key->green & 255);
		f->key[2] = (uint8_t)(key->blue & 255);
	}
}

static const char *form_find(form *f, const reader *r)
{
	f->scale = f->depth == 1 ? 255 : f->depth == 2 ? 85 : f->depth == 4 ? 17 : 1;
	switch (f->colour) {
	case PNG_COLOR_TYPE_GRAY:
		f->planes = 1;
		key_fill(f, r);
		return f->depth == 1 ? "1" : f->depth == 16 ? "I;16" : "L";
	case PNG_COLOR_TYPE_RGB:
		f->planes = 3;
		key_fill(f, r);
		return "RGB";
	case PNG_COLOR_TYPE_PALETTE:
		f->planes = 3;
		palette_fill(f, r);
		return "P";
	case PNG_COLOR_TYPE_GRAY_ALPHA:
		f->planes = f->depth == 16 ? 4 : 2;
		return f->depth == 16 ? "RGBA" : "LA";
	default:
		f->planes = 4;
		return "RGBA";
	}
}

static uint8_t grey(const form *f, const uint8_t *in)
{
	if (f->depth == 16)
		return in[0] ? 255 : in[1];
	return (uint8_t)(in[0] * f->scale);
}

static void convert_row(const form *f, const uint8_t *in, uint8_t *out)
{
	size_t step = f->depth == 16 ? 2 : 1; /* bytes a sample */
	for (png_uint_32 x = 0; x < f->width; x++, out += f->planes) {
		switch (f->colour) {
		case PNG_COLOR_TYPE_PALETTE:
			memcpy(out, f->palette[*in], (size_t)f->planes);
			in++;
			break;
		case PNG_COLOR_TYPE_GRAY:
			out[0] = grey(f, in);
			in += step;
			if (f->keyed)
				out[1] = out[0] == f->key[0] ? 0 : 255;
			break;
		case PNG_COLOR_TYPE_GRAY_ALPHA:
			memset(out, in[0], (size_t)f->planes - 1);
			out[f->planes - 1] = in[step];
			in += 2 * step;
			break;
		default:
			for (int c = 0; c < (f->colour == PNG_COLOR_TYPE_RGB ? 3 : 4); c++, in += step)
				out[c] = in[0];
			if (f->keyed)
				out[3] = memcmp(out, f->key, 3) ? 255 : 0;
		}
	}
}

/* Interlaced pictures need all raw rows at once, others one. */
static rebus_status read_rows(reader *r, arena *a, const form *f, const char *name, picture *p, rebus_error *err)
{
	bool all = f->interlace != PNG_INTERLACE_NONE;
	size_t n;
	r->before = arena_here(a);
	r->raw = size_mul(f->raw, all ? f->height : 1, &n) ? arena_zero(a, n, 1) : NULL;
	if (!r->raw)
		return error_memory(err, name);
	int passes = png_set_interlace_handling(r->png);
	for (int pass = 0; pass < passes; pass++)
		for (r->y = 0; r->y < f->height; r->y++) {
			uint8_t *row = all ? r->raw + (size_t)r->y * f->raw : r->raw;
			png_read_row(r->png, row, NULL);
			if (pass == passes - 1)
				convert_row(f, row, p->pixels + (size_t)r->y * f->width * (size_t)f->planes);
		}
	arena_release(a, r->before);
	return REBUS_OK;
}

/* The file ends after the last pixel but before the end of the stream: the rows are there, the last ones not yet converted. */
static bool only_end_missing(reader *r, arena *a, const form *f, const picture *p)
{
	bool all = f->interlace != PNG_INTERLACE_NONE;
	if (!r->dry || !r->raw || (all ? png_get_current_pass_number(r->png) < 7 : png_get_current_row_number(r->png) < f->height))
		return false;
	for (; r->y < f->height; r->y++)
		convert_row(f, all ? r->raw + (size_t)r->y * f->raw : r->raw, p->pixels + (size_t)r->y * f->width * (size_t)f->planes);
	arena_release(a, r->before);
	return true;
}

static rebus_status jumped(const reader *r, const char *name, rebus_error *err)
{
	if (r->dry)
		return error_set(err, REBUS_FORMAT, "%s: PNG ends inside the picture, after %zu bytes", name, r->size);
	if (strstr(r->text, " memory")) /* libpng's only way to tell */
		return error_memory(err, name);
	return error_set(err, REBUS_FORMAT, "%s: PNG cannot be decoded: %s", name, r->text);
}

static rebus_status read_picture(reader *r, arena *a, form *f, const picture_source *in, picture *p, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *name = in->name;
	if (setjmp(r->jump))
		return only_end_missing(r, a, f, p) ? REBUS_OK : jumped(r, name, err);
	png_set_read_fn(r->png, r, feed);
	png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
	png_set_user_limits(r->png, (png_uint_32)in->limits.side, (png_uint_32)in->limits.side);
	png_set_chunk_malloc_max(r->png, 1 << 20);
	png_set_chunk_cache_max(r->png, 64);
	skip_chunks(r->png);
	png_read_info(r->png, r->info);
	png_get_IHDR(r->png, r->info, &f->width, &f->height, &f->depth, &f->colour, &f->interlace, NULL, NULL);
	const char *mode = form_find(f, r);
	int raw = f->interlace == PNG_INTERLACE_NONE ? 1 : f->depth == 16 ? 8 : 4; /* most bytes of a pixel before conversion */
	TRY(picture_new(a, in, f->width, f->height, f->planes, raw, mode, p, err));
	png_set_packing(r->png);
	png_set_interlace_handling(r->png);
	png_read_update_info(r->png, r->info);
	png_set_crc_action(r->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
	f->raw = png_get_rowbytes(r->png, r->info);
	TRY(read_rows(r, a, f, name, p, err));
	if (r->bad_data)
		status = error_set(err, REBUS_FORMAT, "%s: PNG cannot be decoded: the pixels' checksum does not fit", name);
done:
	return status;
}

/* Whether a chunk that begins after the last pixel (`from`) is cut off: the reference reads them all, up to a next frame. */
static bool tail_is_cut(const picture_source *in, size_t from)
{
	for (size_t at = 8; in->size - at >= 8;) {
		const uint8_t *p = in->bytes + at;
		size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		if (at >= from && (!memcmp(p + 4, "IEND", 4) || !memcmp(p + 4, "fcTL", 4)))
			return false;
		if (in->size - at - 8 < length)
			return at >= from;
		at += 8 + length;
		at += in->size - at < 4 ? in->size - at : 4;
	}
	return false;
}

rebus_status picture_png(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	reader r = {.bytes = in->bytes, .size = in->size, .cut = tail_is_cut(in, 0)};
	form f = {0};
	picture p = {0};
	if (setjmp(r.jump))
		return error_set(err, REBUS_MEMORY, "%s: libpng cannot start: %s", in->name, r.text);
	r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, fail, warn);
	r.info = r.png ? png_create_info_struct(r.png) : NULL;
	if (!r.info) {
		png_destroy_read_struct(&r.png, NULL, NULL);
		return error_memory(err, in->name);
	}
	rebus_status status = read_picture(&r, a, &f, in, &p, err);
	if (!status && tail_is_cut(in, r.at))
		status = error_set(err, REBUS_FORMAT, "%s: PNG ends inside a chunk, after %zu bytes", in->name, in->size);
	if (!status) {
		*orientation = picture_png_orientation(a, in);
		if (*orientation < 0)
			status = error_memory(err, in->name);
		else
			*out = p;
	}
	png_destroy_read_struct(&r.png, &r.info, NULL);
	return status;
}
