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

#include <string.h>

static const struct {
	const char *name;
	size_t at, size;
	const char *magic;
} foreign[] = {
	{"GIF", 0, 4, "GIF8"},
	{"WebP", 8, 4, "WEBP"},
	{"BMP", 0, 2, "BM"},
	{"TIFF", 0, 4, "II*\0"},
	{"TIFF", 0, 4, "MM\0*"},
	{"BigTIFF", 0, 4, "II+\0"},
	{"BigTIFF", 0, 4, "MM\0+"},
	{"AVIF", 4, 8, "ftypavif"},
	{"AVIF", 4, 8, "ftypavis"},
	{"HEIC", 4, 7, "ftyphei"},
	{"HEIC", 4, 7, "ftyphev"},
	{"HEIF", 4, 8, "ftypmif1"},
	{"HEIF", 4, 8, "ftypmsf1"},
	{"JPEG XL", 0, 2, "\xff\x0a"},
	{"JPEG XL", 4, 4, "JXL "},
	{"JPEG 2000", 4, 4, "jP  "},
	{"JPEG 2000", 0, 4, "\xff\x4f\xff\x51"},
	{"Photoshop", 0, 4, "8BPS"},
	{"PDF", 0, 4, "%PDF"},
	{"icon", 0, 4, "\0\0\1\0"},
	{"MP4 or QuickTime video", 4, 4, "ftyp"},
};

static const picture_limits defaults = {.pixels = 178956970, .side = 1000000, .scans = 128, .bytes = 256u << 20};

static picture_limits limits_of(const picture_limits *given)
{
	picture_limits l = given ? *given : defaults;
	if (l.pixels <= 0)
		l.pixels = defaults.pixels;
	if (l.side <= 0 || l.side > defaults.side)
		l.side = defaults.side;
	if (l.scans <= 0)
		l.scans = defaults.scans;
	if (!l.bytes)
		l.bytes = defaults.bytes;
	return l;
}

static bool starts(const uint8_t *bytes, size_t size, size_t at, const char *magic, size_t n)
{
	return size >= at + n && !memcmp(bytes + at, magic, n);
}

static rebus_status refuse(const uint8_t *bytes, size_t size, const char *name, rebus_error *err)
{
	if (!size)
		return error_set(err, REBUS_FORMAT, "%s: is empty, expected a JPEG or PNG picture", name);
	for (size_t i = 0; i < COUNT_OF(foreign); i++)
		if (starts(bytes, size, foreign[i].at, foreign[i].magic, foreign[i].size))
			return error_set(err, REBUS_UNSUPPORTED, "%s: looks like a %s file, expected a JPEG or PNG picture", name,
			                 foreign[i].name);
	if (starts(bytes, size, 0, "version https://git-lfs", 23))
		return error_set(err, REBUS_FORMAT, "%s: is a Git LFS pointer, not the picture itself", name);
	if (bytes[0] == '<' || starts(bytes, size, 0, "\xef\xbb\xbf<", 4))
		return error_set(err, REBUS_FORMAT, "%s: looks like HTML, XML or SVG text, expected a JPEG or PNG picture", name);
	return error_set(err, REBUS_FORMAT, "%s: not a picture, expected JPEG (ff d8 ff) or PNG (89 50 4e 47) at its start", name);
}

rebus_status picture_new(arena *a, int64_t width, int64_t height, int channels, const char *mode, const char *name,
                         const picture_limits *limits, picture *p, rebus_error *err)
{
	if (width < 1 || height < 1)
		return error_set(err, REBUS_FORMAT, "%s: %lld x %lld pixels, expected at least 1 x 1", name, (long long)width,
		                 (long long)height);
	if (width > limits->side || height > limits->side)
		return error_set(err, REBUS_LIMIT, "%s: %lld x %lld pixels, more than %d a side", name, (long long)width,
		                 (long long)height,
		                 (int)limits->side);
	if (width > limits->pixels / height)
		return error_set(err, REBUS_LIMIT, "%s: %lld x %lld pixels, more than the limit of %lld in all", name, (long long)width,
		                 (long long)height, (long long)limits->pixels);
	size_t n;
	uint8_t *pixels = size_mul((size_t)width, (size_t)height, &n) ? arena_get(a, n, (size_t)channels) : NULL;
	if (!pixels)
		return error_memory(err, name);
	*p = (picture){.width = (int32_t)width, .height = (int32_t)height, .channels = channels, .mode = mode, .pixels = pixels};
	return REBUS_OK;
}

rebus_status vision_decode(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                           picture *out,
                           rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_mark start = arena_here(a);
	picture_limits l = limits_of(limits);
	picture p = {0};
	int orientation = 0;
	if (size > l.bytes) {
		status = error_set(err, REBUS_LIMIT, "%s: %zu bytes, more than the limit of %zu", name, size, l.bytes);
		goto done;
	}
	if (starts(bytes, size, 0, "\xff\xd8\xff", 3))
		TRY(picture_jpeg(a, bytes, size, name, &l, &p, &orientation, err));
	else if (starts(bytes, size, 0, "\x89PNG\r\n\x1a\n", 8))
		TRY(picture_png(a, bytes, size, name, &l, &p, &orientation, err));
	else
		TRY(refuse(bytes, size, name, err));
	TRY(vision_orient(a, &p, orientation, err));
	*out = p;
done:
	if (status)
		arena_release(a, start);
	return status;
}

rebus_status vision_load(arena *a, const char *path, const picture_limits *limits, picture *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	file_map file = {0};
	TRY(file_open(&file, path, limits_of(limits).bytes, true, a->from, err)); /* a copy: a mapped file may shrink under libjpeg */
	status = vision_decode(a, file.data, file.size, path, limits, out, err);
	file_close(&file);
done:
	return status;
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

int picture_exif(const uint8_t *tiff, size_t size)
{
	static const uint8_t width_of[] = {[1] = 1, [3] = 2, [4] = 4, [6] = 1, [8] = 2, [9] = 4}; /* TIFF's integer types */
	int found = 0;
	while (starts(tiff, size, 0, "Exif\0\0", 6)) {
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
		uint32_t type = number(tiff + at + 2, 2, big), count = number(tiff + at + 4, 4, big);
		uint32_t wide = type < COUNT_OF(width_of) ? width_of[type] : 0;
		if (number(tiff + at, 2, big) == 0x0112 && wide && count && count <= 4 / wide)
			found = (int)(number(tiff + at + 8, (int)wide, big) & 0xffff);
	}
	return found;
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
