/*
 * picture.c - which format a file has, its orientation, and the way to three planes; see picture.h.
 *
 * Formats are told by their first bytes, never by the file's name. A picture format that is known but not decoded is
 * UNSUPPORTED and named; anything else is FORMAT and described, because what arrives instead of a picture is most often
 * an HTML error page, a Git LFS pointer or an empty file.
 *
 * Compositing on white is PIL.Image.alpha_composite with an opaque white background, in its fixed point of 7 extra bits:
 *
 *   c1 = alpha * 128,  c2 = 255 * 128 - c1,  t = value * c1 + 255 * c2 + (128 << 7),  out = (((t >> 8) + t) >> 8) >> 7
 */
#include "vision/picture.h"
#include "vision/picture_formats.h" /* written by the build: REBUS_WEBP, ... */

#include <string.h>

/* A format of ours, and the library it takes where that is a choice made at build time. */
typedef struct {
	const char *name, *library;
	picture_decoder *decode; /* NULL: this build is without the library */
	picture_frame_decoder *frames;
} format;

enum { JPEG, PNG, GIF, BMP, WEBP, TIFF, AVIF, HEIC, FORMATS };

#ifdef REBUS_WEBP
#define HAVE_WEBP ", WebP"
#else
#define HAVE_WEBP
#define picture_webp NULL
#define picture_webp_frames NULL
#endif
#ifdef REBUS_TIFF
#define HAVE_TIFF ", TIFF"
#else
#define HAVE_TIFF
#define picture_tiff NULL
#endif
#ifdef REBUS_AVIF
#define HAVE_AVIF ", AVIF"
#else
#define HAVE_AVIF
#define picture_avif NULL
#endif
#ifdef REBUS_HEIF
#define HAVE_HEIF ", HEIC"
#else
#define HAVE_HEIF
#define picture_heif NULL
#endif

static const format formats[FORMATS] = {
	[JPEG] = {"JPEG", NULL, picture_jpeg, NULL},
	[PNG] = {"PNG", NULL, picture_png, NULL},
	[GIF] = {"GIF", NULL, picture_gif, picture_gif_frames},
	[BMP] = {"BMP", NULL, picture_bmp, NULL},
	[WEBP] = {"WebP", "libwebp", picture_webp, picture_webp_frames},
	[TIFF] = {"TIFF", "libtiff", picture_tiff, NULL},
	[AVIF] = {"AVIF", "libavif", picture_avif, NULL},
	[HEIC] = {"HEIC", "libheif", picture_heif, NULL},
};

static const struct {
	int32_t format;
	int32_t at, size;
	const char *magic;
} magics[] = {
	{JPEG, 0, 3, "\xff\xd8\xff"}, {PNG, 0, 8, "\x89PNG\r\n\x1a\n"}, {GIF, 0, 6, "GIF87a"},  {GIF, 0, 6, "GIF89a"},
	{BMP, 0, 2, "BM"},            {WEBP, 8, 4, "WEBP"},             {TIFF, 0, 4, "II*\0"},  {TIFF, 0, 4, "MM\0*"},
	{TIFF, 0, 4, "II+\0"},        {TIFF, 0, 4, "MM\0+"},            {AVIF, 4, 7, "ftypavi"}, {HEIC, 4, 7, "ftyphei"},
	{HEIC, 4, 7, "ftyphev"},
};

static const struct {
	const char *name;
	size_t at, size;
	const char *magic;
} foreign[] = {
	{"JPEG XL", 0, 2, "\xff\x0a"},
	{"JPEG XL", 4, 4, "JXL "},
	{"JPEG 2000", 4, 4, "jP  "},
	{"JPEG 2000", 0, 4, "\xff\x4f\xff\x51"},
	{"Photoshop", 0, 4, "8BPS"},
	{"PDF", 0, 4, "%PDF"},
	{"icon", 0, 4, "\0\0\1\0"},
	{"MP4 or QuickTime video", 4, 4, "ftyp"},
};

static const picture_limits defaults = {
	.pixels = 178956970, .side = 1000000, .scans = 128, .frames = 10000, .bytes = 256u << 20, .memory = (size_t)4 << 30,
};

const char *vision_formats(void)
{
	return "JPEG, PNG, GIF, BMP" HAVE_WEBP HAVE_TIFF HAVE_AVIF HAVE_HEIF;
}

static picture_limits limits_of(const picture_limits *given)
{
	picture_limits l = given ? *given : defaults;
	if (l.pixels <= 0)
		l.pixels = defaults.pixels;
	if (l.side <= 0 || l.side > defaults.side)
		l.side = defaults.side;
	if (l.scans <= 0)
		l.scans = defaults.scans;
	if (l.frames <= 0)
		l.frames = defaults.frames;
	if (!l.bytes)
		l.bytes = defaults.bytes;
	if (!l.memory)
		l.memory = defaults.memory;
	return l;
}

bool picture_starts(const uint8_t *bytes, size_t size, size_t at, const char *magic, size_t n)
{
	return size >= at && size - at >= n && !memcmp(bytes + at, magic, n);
}

/* A file of the family of MP4 whose first brand only says "pictures": the compatible brands tell which. */
static int by_brands(const uint8_t *bytes, size_t size)
{
	if (!picture_starts(bytes, size, 4, "ftypmif1", 8) && !picture_starts(bytes, size, 4, "ftypmsf1", 8))
		return FORMATS;
	size_t end = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
	for (size_t at = 16; at + 4 <= end && at + 4 <= size && at < 256; at += 4)
		if (!memcmp(bytes + at, "avi", 3))
			return AVIF;
	return HEIC;
}

/* BMP without its file header, as it stands in other files: the size of its information header, one plane */
static bool bare_bitmap(const uint8_t *bytes, size_t size)
{
	static const uint8_t sizes[] = {12, 40, 52, 56, 64, 108, 124};
	return size >= 16 && !bytes[1] && !bytes[2] && !bytes[3] && memchr(sizes, bytes[0], sizeof sizes) &&
		   picture_little(bytes + (bytes[0] == 12 ? 8 : 12), 2) == 1;
}

static int format_of(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < COUNT_OF(magics); i++)
		if (picture_starts(bytes, size, (size_t)magics[i].at, magics[i].magic, (size_t)magics[i].size))
			return magics[i].format;
	return bare_bitmap(bytes, size) ? BMP : by_brands(bytes, size);
}

static rebus_status refuse(const picture_source *in, rebus_error *err)
{
	const uint8_t *bytes = in->bytes;
	size_t size = in->size;
	if (!size)
		return error_set(err, REBUS_FORMAT, "%s: is empty, expected a picture (%s)", in->name, vision_formats());
	for (size_t i = 0; i < COUNT_OF(foreign); i++)
		if (picture_starts(bytes, size, foreign[i].at, foreign[i].magic, foreign[i].size))
			return error_set(err, REBUS_UNSUPPORTED, "%s: looks like a %s file, expected a picture (%s)", in->name, foreign[i].name,
			                 vision_formats());
	if (picture_starts(bytes, size, 0, "version https://git-lfs", 23))
		return error_set(err, REBUS_FORMAT, "%s: is a Git LFS pointer, not the picture itself", in->name);
	if (bytes[0] == '<' || picture_starts(bytes, size, 0, "\xef\xbb\xbf<", 4))
		return error_set(err, REBUS_FORMAT, "%s: looks like HTML, XML or SVG text, expected a picture (%s)", in->name,
		                 vision_formats());
	return error_set(err, REBUS_FORMAT, "%s: not a picture, expected %s", in->name, vision_formats());
}

/* ------------------------------------------------------------------------------------------------ limits */
rebus_status picture_check(const picture_source *in, int64_t width, int64_t height, int bytes_a_pixel, rebus_error *err)
{
	const picture_limits *l = &in->limits;
	if (width < 1 || height < 1)
		return error_set(err, REBUS_FORMAT, "%s: %lld x %lld pixels, expected at least 1 x 1", in->name, (long long)width,
		                 (long long)height);
	if (width > l->side || height > l->side)
		return error_set(err, REBUS_LIMIT, "%s: %lld x %lld pixels, more than %d a side", in->name, (long long)width,
		                 (long long)height, (int)l->side);
	if (width > l->pixels / height)
		return error_set(err, REBUS_LIMIT, "%s: %lld x %lld pixels, more than the limit of %lld in all", in->name,
		                 (long long)width, (long long)height, (long long)l->pixels);
	if ((size_t)(width * height) > l->memory / (size_t)bytes_a_pixel)
		return error_set(err, REBUS_LIMIT, "%s: %lld x %lld pixels of %d bytes while decoding, more than the limit of %zu bytes",
		                 in->name, (long long)width, (long long)height, bytes_a_pixel, l->memory);
	return REBUS_OK;
}

rebus_status picture_new(arena *a, const picture_source *in, int64_t width, int64_t height, int channels, int beside,
                         const char *mode, picture *p, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	TRY(picture_check(in, width, height, channels + beside, err));
	uint8_t *pixels = arena_get(a, (size_t)(width * height), (size_t)channels);
	if (!pixels)
		return error_memory(err, in->name);
	*p = (picture){.width = (int32_t)width, .height = (int32_t)height, .channels = channels, .mode = mode, .pixels = pixels};
done:
	return status;
}

rebus_status picture_frames_new(arena *a, const picture_source *in, int64_t count, int64_t width, int64_t height,
                                picture_frames *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	TRY(picture_check(in, width, height, 16, err));
	if (count < 1 || count > in->limits.frames)
		return error_set(err, REBUS_LIMIT, "%s: %lld frames, more than the limit of %d", in->name, (long long)count,
		                 (int)in->limits.frames);
	if ((size_t)(width * height) > in->limits.memory / 4 / (size_t)count)
		return error_set(err, REBUS_LIMIT, "%s: %lld frames of %lld x %lld pixels, more than the limit of %zu bytes", in->name,
		                 (long long)count, (long long)width, (long long)height, in->limits.memory);
	picture_frames f = {.count = (int32_t)count};
	f.at = arena_zero(a, (size_t)count, sizeof *f.at);
	f.duration = arena_zero(a, (size_t)count, sizeof *f.duration);
	if (!f.at || !f.duration)
		return error_memory(err, in->name);
	*out = f;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ decoding */
static rebus_status source_open(const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                                picture_source *in, const format **f, rebus_error *err)
{
	*in = (picture_source){bytes, size, name, limits_of(limits)};
	if (size > in->limits.bytes)
		return error_set(err, REBUS_LIMIT, "%s: %zu bytes, more than the limit of %zu", name, size, in->limits.bytes);
	int found = format_of(bytes, size);
	if (found == FORMATS)
		return refuse(in, err);
	*f = &formats[found];
	if (!(*f)->decode)
		return error_set(err, REBUS_UNSUPPORTED, "%s: %s picture, but this rebus was built without %s", name, (*f)->name,
		                 (*f)->library);
	return REBUS_OK;
}

rebus_status vision_decode(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                           picture *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_mark start = arena_here(a);
	picture_source in;
	const format *f;
	picture p = {0};
	int orientation = 0;
	TRY(source_open(bytes, size, name, limits, &in, &f, err));
	TRY(f->decode(a, &in, &p, &orientation, err));
	TRY(vision_orient(a, &p, orientation, err));
	*out = p;
done:
	if (status)
		arena_release(a, start);
	return status;
}

rebus_status vision_decode_frames(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                                  picture_frames *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_mark start = arena_here(a);
	picture_source in;
	const format *f;
	picture_frames all = {0};
	int orientation = 0;
	TRY(source_open(bytes, size, name, limits, &in, &f, err));
	if (f->frames) {
		TRY(f->frames(a, &in, &all, err));
	} else {
		TRY(picture_frames_new(a, &in, 1, 1, 1, &all, err));
		TRY(f->decode(a, &in, all.at, &orientation, err));
		TRY(vision_orient(a, all.at, orientation, err));
	}
	*out = all;
done:
	if (status)
		arena_release(a, start);
	return status;
}

rebus_status vision_load(arena *a, const char *path, const picture_limits *limits, picture *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	file_map file = {0};
	TRY(file_open(&file, path, limits_of(limits).bytes, true, a->from, err)); /* a copy: a mapped file may shrink under a library */
	status = vision_decode(a, file.data, file.size, path, limits, out, err);
	file_close(&file);
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ colours */
void picture_cmyk(const uint8_t in[4], bool inverted, uint8_t out[3])
{
	int light = inverted ? in[3] : 255 - in[3];
	for (int c = 0; c < 3; c++) {
		int t = (inverted ? 255 - in[c] : in[c]) * light + 128;
		out[c] = (uint8_t)(light - (((t >> 8) + t) >> 8));
	}
}

static uint8_t on_white(uint32_t value, uint32_t alpha)
{
	if (!alpha)
		return 255;
	uint32_t c1 = alpha * 128, c2 = 255 * 128 - c1;
	uint32_t t = value * c1 + 255 * c2 + (128u << 7);
	return (uint8_t)((((t >> 8) + t) >> 8) >> 7);
}

rebus_status vision_rgb(arena *a, const picture *in, picture *out, rebus_error *err)
{
	if (in->channels == 3) {
		*out = *in;
		return REBUS_OK;
	}
	picture p = *in;
	size_t n = (size_t)in->width * (size_t)in->height;
	p.channels = 3;
	p.pixels = arena_get(a, n, 3);
	if (!p.pixels)
		return error_memory(err, "picture in RGB");
	const uint8_t *from = in->pixels;
	uint8_t *to = p.pixels;
	for (size_t i = 0; i < n; i++, from += in->channels, to += 3) {
		bool colour = in->channels == 4;
		uint32_t alpha = in->channels == 1 ? 255 : from[in->channels - 1];
		for (int c = 0; c < 3; c++)
			to[c] = on_white(from[colour ? c : 0], alpha);
	}
	*out = p;
	return REBUS_OK;
}
