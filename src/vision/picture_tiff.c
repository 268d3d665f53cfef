/*
 * picture_tiff.c - TIFF by libtiff. The only file that includes tiffio.h.
 *
 * libtiff undoes compression, predictors, byte and bit order; what samples mean is decided here, by Pillow's table (OPEN_INFO
 * of TiffImagePlugin.py). A file says it with five fields:
 *
 *   photometric      sample format   bits, samples        extra samples        mode        planes here
 *   0, 1 grey        unsigned        1; 2, 4, 8           -                    1; L        1    0: inverted, but for 16 bits
 *                    unsigned        12, 16, 32           -                    I;16, I     1
 *                    signed, float   16, 32               -                    I, F        1
 *                    unsigned        8 8                  0; 2                 L; LA       1; 2
 *   2 colour         unsigned        8 or 16, 3 times     -                    RGB         3
 *                                    8, 4 to 6 times      none, 1 or 2 first   RGBA        4    1: premultiplied
 *                                                         0 first              RGB         3
 *   3 palette        unsigned        1, 2, 4, 8; 8 8      -; 0; 2              P; P; PA    3; 3; 4
 *   5 inks           unsigned        8 or 16, 4 times     (0 and 0 0 at 8)     CMYK        3
 *   6 YCbCr          unsigned        8 8 8                -                    RGB         3    by libtiff, or libjpeg in it;
 *                                                                                               here if raw, as Pillow does
 *
 * Everything else is refused as Pillow refuses it, and CIELab (8), which the reference converts by a colour profile.
 * On purpose these are read rightly where Pillow 13 has them wrong: uncompressed separate planes of 16 bits, of which it takes
 * bytes for samples; subsampled YCbCr without compression; compressed I and F in big-endian files, whose bytes it exchanges
 * twice; big-endian BigTIFF, which it refuses.
 *
 * The first picture of a file is read. Memory: one strip or tile, checked, and libtiff's own allocations, each limited.
 */
#include "vision/picture.h"

#include <stdio.h>
#include <string.h>

#include <tiffio.h>

enum { BLOCK = 16 << 20 }; /* bytes of a tile that any picture may have */

typedef struct {
	const picture_source *in;
	TIFF *tiff;
	uint64_t at;
	char text[160]; /* the first error */

	uint32_t width, height;
	uint16_t photometric, compression, planar, sample_format, bits, samples, extras, extra[8], fill_order;
	const char *mode;
	int channels;
	bool inverted, premultiplied, invented, ycc, by_libtiff; /* by_libtiff: colours too */
	uint16_t *red, *green, *blue;             /* palette */
} reader;

/* ------------------------------------------------------------------------------------------------ bytes */
static tmsize_t feed(thandle_t h, void *to, tmsize_t n)
{
	reader *r = (reader *)h;
	uint64_t left = r->at < r->in->size ? r->in->size - r->at : 0;
	size_t take = n < 0 ? 0 : (uint64_t)n < left ? (size_t)n : (size_t)left;
	if (take)
		memcpy(to, r->in->bytes + r->at, take);
	r->at += take;
	return (tmsize_t)take;
}

static tmsize_t refuse_write(thandle_t h, void *from, tmsize_t n)
{
	(void)h;
	(void)from;
	(void)n;
	return 0;
}

static toff_t seek(thandle_t h, toff_t to, int whence)
{
	reader *r = (reader *)h;
	r->at = whence == SEEK_CUR ? r->at + to : whence == SEEK_END ? r->in->size + to : to;
	return r->at;
}

static int close_nothing(thandle_t h)
{
	(void)h;
	return 0;
}

static toff_t size_of(thandle_t h)
{
	return ((reader *)h)->in->size;
}

static int keep_error(TIFF *tiff, void *user, const char *module, const char *format, va_list list)
{
	reader *r = user;
	(void)tiff;
	(void)module;
	if (!r->text[0])
		vsnprintf(r->text, sizeof r->text, format, list);
	return 1;
}

static int no_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list list)
{
	(void)tiff;
	(void)user;
	(void)module;
	(void)format;
	(void)list;
	return 1;
}

static rebus_status undecodable(const reader *r, rebus_error *err)
{
	bool limit = strstr(r->text, "byte limit"); /* of one allocation, in open_tiff */
	return error_set(err, limit ? REBUS_LIMIT : REBUS_FORMAT, "%s: TIFF cannot be decoded: %s", r->in->name, r->text[0] ? r->text : "wrong or cut off data");
}

static rebus_status open_tiff(reader *r, rebus_error *err)
{
	TIFFOpenOptions *o = TIFFOpenOptionsAlloc();
	if (!o)
		return error_memory(err, r->in->name);
	TIFFOpenOptionsSetMaxSingleMemAlloc(o, (tmsize_t)(r->in->limits.memory < INT32_MAX ? r->in->limits.memory : INT32_MAX));
	TIFFOpenOptionsSetErrorHandlerExtR(o, keep_error, r);
	TIFFOpenOptionsSetWarningHandlerExtR(o, no_warning, r);
	r->tiff = TIFFClientOpenExt("picture", "rmC", (thandle_t)r, feed, refuse_write, seek, close_nothing, size_of, NULL, NULL, o);
	TIFFOpenOptionsFree(o);
	return r->tiff ? REBUS_OK : undecodable(r, err);
}

/* ------------------------------------------------------------------------------------------------ what it holds */
static bool only_unspecified(const reader *r, int from)
{
	for (int i = from; i < r->extras && i < 8; i++)
		if (r->extra[i] != EXTRASAMPLE_UNSPECIFIED)
			return false;
	return true;
}

/*
 * A tag's value, low 16 bits, as the file itself has it: libtiff invents and corrects some. -1: not there; 65535: neither
 * a short nor a long
 */
static int raw_tag(const reader *r, uint16_t tag)
{
	const uint8_t *p = r->in->bytes;
	bool big = TIFFIsBigEndian(r->tiff), wide = p[2] == 43 || p[3] == 43;
	uint64_t at = TIFFCurrentDirOffset(r->tiff), size = r->in->size, count = 0, n = wide ? 8 : 2, entry = wide ? 20 : 12;
	if (at > size || size - at < n)
		return -1;
	for (uint64_t i = 0; i < n; i++)
		count = count << 8 | p[at + (big ? i : n - 1 - i)];
	for (at += n; count && size - at >= entry; count--, at += entry) {
		const uint8_t *value = p + at + entry - (wide ? 8 : 4);
		if ((big ? p[at] << 8 | p[at + 1] : p[at + 1] << 8 | p[at]) != tag)
			continue;
		int type = p[at + (big ? 3 : 2)];
		if (type != TIFF_SHORT && type != TIFF_LONG)
			return UINT16_MAX;
		value += big && type == TIFF_LONG ? 2 : 0;
		return big ? value[0] << 8 | value[1] : value[1] << 8 | value[0];
	}
	return -1;
}

static void read_fields(reader *r)
{
	uint16_t *extra = NULL, extras = 0;
	r->compression = COMPRESSION_NONE;
	TIFFGetField(r->tiff, TIFFTAG_IMAGEWIDTH, &r->width);
	TIFFGetField(r->tiff, TIFFTAG_IMAGELENGTH, &r->height);
	TIFFGetField(r->tiff, TIFFTAG_PHOTOMETRIC, &r->photometric);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_COMPRESSION, &r->compression);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_PLANARCONFIG, &r->planar);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLEFORMAT, &r->sample_format);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_BITSPERSAMPLE, &r->bits);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLESPERPIXEL, &r->samples);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_FILLORDER, &r->fill_order);
	TIFFGetFieldDefaulted(r->tiff, TIFFTAG_EXTRASAMPLES, &extras, &extra);
	for (int i = 0; i < extras && i < 8; i++)
		r->extra[i] = extra[i];
	r->extras = raw_tag(r, TIFFTAG_EXTRASAMPLES) < 0 ? 0 : extras;
	if (r->planar == PLANARCONFIG_SEPARATE && r->extras && r->extras < r->samples && only_unspecified(r, 0)) {
		r->samples -= r->extras; /* planes that nobody needs */
		r->extras = 0;
	}
	/* what libtiff takes for premultiplied where the file is silent, and Pillow with it */
	r->invented = r->planar == PLANARCONFIG_SEPARATE && extras && !extra[0] && r->compression != COMPRESSION_NONE;
	if (raw_tag(r, TIFFTAG_PHOTOMETRIC) >= 0)
		r->photometric = (uint16_t)raw_tag(r, TIFFTAG_PHOTOMETRIC);
	if (r->compression == COMPRESSION_OJPEG)
		r->photometric = PHOTOMETRIC_YCBCR;
}

static void set(reader *r, const char *mode, int channels)
{
	r->mode = mode;
	r->channels = channels;
}

static void choose_grey(reader *r)
{
	bool whole = r->sample_format == SAMPLEFORMAT_UINT, is_signed = r->sample_format == SAMPLEFORMAT_INT;
	bool dark = r->photometric == PHOTOMETRIC_MINISBLACK, little = !TIFFIsBigEndian(r->tiff);
	int bits = r->bits;
	r->inverted = !dark;
	if (r->samples == 2 && bits == 8 && whole && dark && r->extras == 1) {
		if (r->extra[0] == EXTRASAMPLE_UNSPECIFIED)
			set(r, "L", 1);
		else if (r->extra[0] == EXTRASAMPLE_UNASSALPHA)
			set(r, "LA", 2);
	}
	if (r->samples != 1 || r->extras)
		return;
	if ((whole && (bits == 1 || bits == 2 || bits == 4 || bits == 8)) || (is_signed && bits == 8 && dark))
		set(r, bits == 1 ? "1" : "L", 1);
	else if (whole && ((bits == 16 && (dark || little)) || (bits == 12 && dark && little)))
		set(r, "I;16", 1);
	else if (dark && ((is_signed && (bits == 16 || bits == 32)) || (whole && bits == 32 && little)))
		set(r, "I", 1);
	else if (bits == 32 && r->sample_format == SAMPLEFORMAT_IEEEFP)
		set(r, "F", 1);
}

static void choose_colour(reader *r)
{
	int extras = r->samples - 3;
	if (r->sample_format != SAMPLEFORMAT_UINT || (r->bits != 8 && r->bits != 16) || extras < 0 || extras > (r->bits == 8 ? 3 : 1))
		return;
	if (!extras) {
		set(r, "RGB", 3);
	} else if (r->extras == 0 && extras == 1) {
		r->premultiplied = r->invented;
		set(r, "RGBA", 4);
	} else if (r->extras == extras && only_unspecified(r, 1)) {
		r->premultiplied = r->extra[0] == EXTRASAMPLE_ASSOCALPHA;
		set(r, r->extra[0] == EXTRASAMPLE_UNSPECIFIED ? "RGB" : "RGBA", r->extra[0] == EXTRASAMPLE_UNSPECIFIED ? 3 : 4);
	}
}

static void choose_palette(reader *r)
{
	if (r->sample_format != SAMPLEFORMAT_UINT || !TIFFGetField(r->tiff, TIFFTAG_COLORMAP, &r->red, &r->green, &r->blue))
		return;
	if (r->samples == 1 && !r->extras && (r->bits == 1 || r->bits == 2 || r->bits == 4 || r->bits == 8))
		set(r, "P", 3);
	else if (r->samples == 2 && r->extras == 1 && r->bits == 8 && r->extra[0] == EXTRASAMPLE_UNSPECIFIED)
		set(r, "P", 3);
	else if (r->samples == 2 && r->extras == 1 && r->bits == 8 && r->extra[0] == EXTRASAMPLE_UNASSALPHA)
		set(r, "PA", 4);
}

static rebus_status choose_mode(reader *r, rebus_error *err)
{
	bool plain = r->sample_format == SAMPLEFORMAT_UINT;
	switch (r->photometric) {
	case PHOTOMETRIC_MINISWHITE:
	case PHOTOMETRIC_MINISBLACK:
		choose_grey(r);
		break;
	case PHOTOMETRIC_RGB:
		choose_colour(r);
		break;
	case PHOTOMETRIC_PALETTE:
		choose_palette(r);
		break;
	case PHOTOMETRIC_SEPARATED:
		if (plain && ((r->bits == 8 && r->samples >= 4 && r->samples <= 6) || (r->bits == 16 && r->samples == 4)) &&
		    r->extras == r->samples - 4 && only_unspecified(r, 0))
			set(r, "CMYK", 3);
		break;
	case PHOTOMETRIC_YCBCR:
		if (plain && r->bits == 8 && (r->samples == 3 || r->samples == 1) && !r->extras)
			set(r, r->samples == 3 ? "RGB" : "L", r->samples == 3 ? 3 : 1);
		break;
	default:
		break;
	}
	if (r->photometric == PHOTOMETRIC_CIELAB)
		return error_set(err, REBUS_UNSUPPORTED, "%s: TIFF in CIELab, expected grey, RGB, YCbCr, CMYK or a palette", r->in->name);
	if (!r->mode)
		return error_set(err, REBUS_UNSUPPORTED,
		                 "%s: TIFF of photometric %u, sample format %u, %u samples of %u bits, %u of them extra (first: %u), which the "
		                 "reference does not read either", r->in->name, r->photometric, r->sample_format, r->samples, r->bits, r->extras,
		                 r->extra[0]);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ samples */
/* Sample i of a row: fewer than 8 bits are packed from the high end, 12 too; 16 and 32 are in this machine's order. */
static uint32_t sample(const uint8_t *row, size_t i, int bits)
{
	uint16_t half;
	uint32_t word;
	switch (bits) {
	case 8:
		return row[i];
	case 12:
		row += i / 2 * 3;
		return i % 2 ? (row[1] & 15u) << 8 | row[2] : (uint32_t)row[0] << 4 | row[1] >> 4;
	case 16:
		memcpy(&half, row + 2 * i, 2);
		return half;
	case 32:
		memcpy(&word, row + 4 * i, 4);
		return word;
	default:
		return row[i * (size_t)bits / 8] >> (8 - bits - (int)(i * (size_t)bits & 7)) & ((1 << bits) - 1);
	}
}

static uint8_t clip(double v)
{
	return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
}

static uint8_t grey(const reader *r, uint32_t v)
{
	if (r->mode[0] == 'F') {
		float f;
		memcpy(&f, &v, 4);
		return f != f ? 0 : clip(f);
	}
	if (r->mode[0] == 'I' && !r->mode[1])
		return clip(r->bits == 16 ? (int16_t)v : (int32_t)v);
	if (r->mode[0] == 'I')
		return v > 255 ? 255 : (uint8_t)v;
	v = r->bits == 1 ? v * 255 : r->bits == 2 ? v * 85 : r->bits == 4 ? v * 17 : v;
	return (uint8_t)(r->inverted ? 255 - v : v);
}

static void divide(uint8_t p[4])
{
	for (int c = 0; c < 3; c++)
		p[c] = !p[3] ? 0 : p[3] == 255 ? p[c] : clip(p[c] * 255 / p[3]);
}

/* JFIF's conversion in Pillow's integers of 6 extra bits, whose tables are rounded toward zero after adding a half */
static void make_rgb(uint8_t p[3])
{
	int y = p[0], cb = p[1] - 128, cr = p[2] - 128;
	int red = (int)(1.402 * 64 * cr + 0.5), blue = (int)(1.772 * 64 * cb + 0.5);
	int green = (int)(-0.34414 * 64 * cb + 0.5) + (int)(-0.71414 * 64 * cr + 0.5);
	p[0] = clip(y + (red >> 6));
	p[1] = clip(y + (green >> 6));
	p[2] = clip(y + (blue >> 6));
}

static uint8_t high(const reader *r, const uint8_t *row, size_t i)
{
	uint32_t v = sample(row, i, r->bits);
	return (uint8_t)(r->bits == 16 ? v >> 8 : v);
}

/* `count` pixels with all samples of a pixel beside each other */
static void convert(const reader *r, const uint8_t *row, size_t count, uint8_t *out)
{
	uint8_t inks[4];
	for (size_t x = 0; x < count; x++, out += r->channels) {
		size_t first = x * r->samples;
		if (r->photometric == PHOTOMETRIC_PALETTE) {
			uint32_t v = sample(row, first, r->bits);
			out[0] = (uint8_t)(r->red[v] >> 8);
			out[1] = (uint8_t)(r->green[v] >> 8);
			out[2] = (uint8_t)(r->blue[v] >> 8);
			if (r->channels == 4)
				out[3] = row[first + 1];
		} else if (r->photometric == PHOTOMETRIC_SEPARATED) {
			for (size_t c = 0; c < 4; c++)
				inks[c] = high(r, row, first + c);
			picture_cmyk(inks, false, out);
		} else if (r->channels < 3) {
			out[0] = grey(r, sample(row, first, r->bits));
			if (r->channels == 2)
				out[1] = row[first + 1];
		} else {
			for (size_t c = 0; c < (size_t)r->channels; c++)
				out[c] = high(r, row, first + c);
			if (r->premultiplied)
				divide(out);
			if (r->ycc)
				make_rgb(out);
		}
	}
}

/* ------------------------------------------------------------------------------------------------ strips and tiles */
typedef struct {
	uint32_t width, height;   /* of a block; of a strip: the picture's width */
	tmsize_t bytes, row;
	uint8_t *data;
	uint8_t *inks; /* separate planes of CMYK: the whole picture with four planes; else NULL */
	bool tiled;
} blocks;

static rebus_status find_blocks(const reader *r, arena *a, int planes, blocks *b, rebus_error *err)
{
	b->tiled = TIFFIsTiled(r->tiff);
	if (b->tiled) {
		TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &b->width);
		TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &b->height);
		b->bytes = TIFFTileSize(r->tiff);
		b->row = TIFFTileRowSize(r->tiff);
	} else {
		b->width = r->width;
		if (!TIFFGetField(r->tiff, TIFFTAG_ROWSPERSTRIP, &b->height) || b->height > r->height)
			b->height = r->height;
		b->bytes = TIFFStripSize(r->tiff);
		b->row = TIFFScanlineSize(r->tiff);
	}
	int64_t need = ((int64_t)b->width * r->bits * (planes > 1 ? 1 : r->samples) + 7) / 8;
	bool odd = b->tiled && b->bytes != need * b->height; /* the reference's rule */
	if (odd || b->bytes < 1 || !b->width || !b->height || b->row < need || b->bytes / b->row < (b->height < r->height ? b->height : r->height))
		return error_set(err, REBUS_FORMAT, "%s: TIFF %ss of %lld bytes in rows of %lld, expected %u rows of %lld", r->in->name,
		                 b->tiled ? "tile" : "strip", (long long)b->bytes, (long long)b->row, (unsigned)b->height, (long long)need);
	/* a tile may be larger than the picture, but there is no reason to be much larger */
	int64_t picture = (((int64_t)r->width * r->bits * r->samples + 7) / 8) * r->height, most = int_max(4 * picture, BLOCK);
	if (b->bytes > most || (size_t)b->bytes > r->in->limits.memory)
		return error_set(err, REBUS_LIMIT, "%s: TIFF %ss of %lld bytes for a picture of %lld, more than the limit of %lld", r->in->name,
		                 b->tiled ? "tile" : "strip", (long long)b->bytes, (long long)picture,
		                 (long long)int_min(most, (int64_t)(r->in->limits.memory / 2)));
	b->data = arena_zero(a, (size_t)b->bytes, 1);
	return b->data ? REBUS_OK : error_memory(err, r->in->name);
}

static rebus_status read_block(reader *r, const blocks *b, uint32_t x, uint32_t y, int plane, rebus_error *err)
{
	uint32_t number = b->tiled ? TIFFComputeTile(r->tiff, x, y, 0, (uint16_t)plane) : TIFFComputeStrip(r->tiff, y, (uint16_t)plane);
	if (!TIFFGetStrileByteCount(r->tiff, number)) /* libtiff would read an uncompressed one from the start of the file */
		return error_set(err, REBUS_FORMAT, "%s: TIFF cannot be decoded: %s %u has no bytes", r->in->name, b->tiled ? "tile" : "strip",
		                 (unsigned)number);
	tmsize_t n = b->tiled ? TIFFReadEncodedTile(r->tiff, number, b->data, b->bytes)
	                      : TIFFReadEncodedStrip(r->tiff, number, b->data, b->bytes);
	return n < 0 ? undecodable(r, err) : REBUS_OK;
}

/* One plane of the rows of a block into its place among the others. */
static void spread(const reader *r, const blocks *b, const uint8_t *row, size_t count, int plane, size_t pixel, const picture *p)
{
	uint8_t *out = b->inks ? b->inks + 4 * pixel : p->pixels + (size_t)p->channels * pixel;
	for (size_t x = 0; x < count; x++, out += b->inks ? 4 : p->channels)
		out[plane] = high(r, row, x);
}

static rebus_status read_blocks(reader *r, arena *a, const picture *p, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	blocks b = {0};
	int bands = r->photometric == PHOTOMETRIC_SEPARATED ? 4 : r->mode[0] == 'P' ? (r->mode[1] ? 2 : 1) : r->channels;
	int planes = r->planar == PLANARCONFIG_SEPARATE && bands > 1 ? bands : 1;
	size_t all = (size_t)p->width * (size_t)p->height;
	if (planes > 1 && (r->mode[0] == 'P' || (r->bits != 8 && r->bits != 16)))
		return error_set(err, REBUS_UNSUPPORTED, "%s: TIFF planes of mode %s with %u bits", r->in->name, r->mode, r->bits);
	TRY(find_blocks(r, a, planes, &b, err));
	if (planes > 1 && r->photometric == PHOTOMETRIC_SEPARATED) {
		b.inks = arena_get(a, all, 4);
		if (!b.inks)
			return error_memory(err, r->in->name);
	}
	for (uint32_t y = 0; y < r->height; y += b.height)
		for (int plane = 0; plane < planes; plane++)
			for (uint32_t x = 0; x < r->width; x += b.width) {
				TRY(read_block(r, &b, x, y, plane, err));
				size_t rows = r->height - y < b.height ? r->height - y : b.height;
				size_t count = r->width - x < b.width ? r->width - x : b.width;
				for (size_t i = 0; i < rows; i++) {
					size_t pixel = (y + i) * r->width + x;
					if (planes > 1)
						spread(r, &b, b.data + i * (size_t)b.row, count, plane, pixel, p);
					else
						convert(r, b.data + i * (size_t)b.row, count, p->pixels + pixel * (size_t)p->channels);
				}
			}
	for (size_t i = 0; i < all && b.inks; i++)
		picture_cmyk(b.inks + 4 * i, false, p->pixels + 3 * i);
	for (size_t i = 0; i < all && planes > 1 && r->premultiplied; i++)
		divide(p->pixels + 4 * i);
done:
	return status;
}

/* YCbCr: libtiff makes colours of it, subsampled or not. */
static rebus_status read_by_libtiff(reader *r, arena *a, const picture *p, rebus_error *err)
{
	TIFFRGBAImage image;
	char text[1024] = "";
	size_t all = (size_t)p->width * (size_t)p->height;
	uint32_t *raster = arena_zero(a, all, sizeof *raster);
	if (!raster)
		return error_memory(err, r->in->name);
	if (!TIFFRGBAImageOK(r->tiff, text) || !TIFFRGBAImageBegin(&image, r->tiff, 1, text))
		return error_set(err, REBUS_FORMAT, "%s: TIFF cannot be decoded: %.150s", r->in->name, text);
	image.orientation = image.req_orientation = ORIENTATION_TOPLEFT;
	int good = TIFFRGBAImageGet(&image, raster, r->width, r->height);
	TIFFRGBAImageEnd(&image);
	if (!good)
		return undecodable(r, err);
	for (size_t i = 0; i < all; i++) {
		p->pixels[3 * i] = (uint8_t)TIFFGetR(raster[i]);
		p->pixels[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
		p->pixels[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
	}
	return REBUS_OK;
}

static int orientation_of(const reader *r)
{
	uint16_t found = 0;
	uint32_t size = 0;
	const void *xmp = NULL;
	if (TIFFGetField(r->tiff, TIFFTAG_ORIENTATION, &found))
		return found;
	return TIFFGetField(r->tiff, TIFFTAG_XMLPACKET, &size, &xmp) ? picture_xmp(xmp, size) : 0;
}

static rebus_status read_picture(reader *r, arena *a, picture *p, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	read_fields(r);
	TRY(picture_check(r->in, r->width, r->height, 1, err));
	TRY(choose_mode(r, err));
	if (r->photometric == PHOTOMETRIC_YCBCR && r->samples == 3) {
		uint16_t wide = 2, high = 2;
		TIFFGetFieldDefaulted(r->tiff, TIFFTAG_YCBCRSUBSAMPLING, &wide, &high);
		bool contiguous = r->planar == PLANARCONFIG_CONTIG;
		r->ycc = r->compression == COMPRESSION_NONE && wide == 1 && high == 1 && contiguous;
		r->by_libtiff = !r->ycc && !(r->compression == COMPRESSION_JPEG && contiguous);
		if (!r->by_libtiff && !r->ycc)
			TIFFSetField(r->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
	}
	if (r->compression == COMPRESSION_ADOBE_DEFLATE || r->compression == COMPRESSION_DEFLATE) /* libdeflate differs on damage */
		TIFFSetField(r->tiff, TIFFTAG_DEFLATE_SUBCODEC, DEFLATE_SUBCODEC_ZLIB);
	TRY(picture_new(a, r->in, r->width, r->height, r->channels, 4, r->mode, p, err));
	*orientation = orientation_of(r);
	arena_mark here = arena_here(a);
	TRY(r->by_libtiff ? read_by_libtiff(r, a, p, err) : read_blocks(r, a, p, err));
	arena_release(a, here);
done:
	return status;
}

rebus_status picture_tiff(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	reader r = {.in = in};
	picture p = {0};
	TRY(open_tiff(&r, err));
	status = read_picture(&r, a, &p, orientation, err);
	TIFFClose(r.tiff);
	if (!status)
		*out = p;
done:
	return status;
}
