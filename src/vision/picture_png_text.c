/*
 * picture_png_text.c - the orientation a PNG states, read from its chunks in memory. The only file that includes zlib.h.
 *
 * libpng takes as much memory as a chunk claims to be long, before it has seen a byte of it; so it skips these, and they are
 * looked at here, where they lie, and unpacked to 1 MiB at most, which is Pillow's limit too. The first that is there counts:
 *
 *   eXIf    EXIF
 *   text "Raw profile type exif"     "\nexif\n  length\n", then EXIF in hexadecimal, in lines (ImageMagick)
 *   text "XML:com.adobe.xmp"         XMP
 *
 *   tEXt: key 0 text      zTXt: key 0 method, deflated text      iTXt: key 0 deflated? method, language 0 key 0 text
 */
#include "vision/picture.h"

#include <string.h>

#include <zlib.h>

enum { MOST = 1 << 20 };

typedef struct {
	const uint8_t *at;
	size_t size;
} bytes;

typedef struct {
	arena *a;
	uint8_t *room; /* [MOST] for unpacked text, once it is needed */
	bool has_exif, no_memory;
	int exif, profile, xmp;
} findings;

/* Cuts off and returns what stands before the next 0. */
static bytes until_nul(bytes *rest)
{
	const uint8_t *nul = rest->size ? memchr(rest->at, 0, rest->size) : NULL;
	bytes part = {rest->at, nul ? (size_t)(nul - rest->at) : rest->size};
	size_t used = part.size + (nul != NULL);
	rest->at += used;
	rest->size -= used;
	return part;
}

/* Nothing where it is damaged or too long */
static bytes unpack(findings *f, bytes packed)
{
	z_stream z = {.next_in = (uint8_t *)(uintptr_t)packed.at, .avail_in = (uInt)packed.size};
	bytes nothing = {NULL, 0};
	f->room = f->room ? f->room : arena_get(f->a, MOST, 1);
	if (!f->room || inflateInit(&z) != Z_OK) {
		f->no_memory = true;
		return nothing;
	}
	z.next_out = f->room;
	z.avail_out = MOST;
	int result = inflate(&z, Z_FINISH);
	bytes text = {f->room, MOST - z.avail_out};
	inflateEnd(&z);
	return result == Z_STREAM_END ? text : nothing;
}

/* Three lines, then hexadecimal digits. */
static int raw_profile(findings *f, bytes text)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	int lines = 0, half = -1, found;
	size_t n = 0;
	arena_mark here = arena_here(f->a);
	uint8_t *exif = arena_get(f->a, text.size / 2 + 1, 1);
	if (!exif) {
		f->no_memory = true;
		return 0;
	}
	for (size_t i = 0; i < text.size; i++) {
		lines += text.at[i] == '\n';
		const char *digit = lines > 2 && text.at[i] ? strchr(digits, text.at[i]) : NULL;
		if (!digit)
			continue;
		int value = (int)(digit - digits) % 16;
		if (half >= 0)
			exif[n++] = (uint8_t)(half << 4 | value);
		half = half < 0 ? value : -1;
	}
	found = picture_exif(exif, n);
	arena_release(f->a, here);
	return found;
}

static void read_text(findings *f, const uint8_t *kind, bytes data)
{
	bytes key = until_nul(&data);
	bool profile = text_is((const char *)key.at, key.size, "Raw profile type exif");
	bool packed = !memcmp(kind, "zTXt", 4);
	if (!profile && !text_is((const char *)key.at, key.size, "XML:com.adobe.xmp"))
		return;
	if (!memcmp(kind, "iTXt", 4)) {
		if (data.size < 2)
			return;
		packed = data.at[0];
		data = (bytes){data.at + 2, data.size - 2};
		until_nul(&data);
		until_nul(&data);
	} else if (packed && data.size) {
		data = (bytes){data.at + 1, data.size - 1};
	}
	if (packed)
		data = unpack(f, data);
	if (profile)
		f->profile = raw_profile(f, data);
	else
		f->xmp = picture_xmp(data.at, data.size);
}

int picture_png_orientation(arena *a, const picture_source *in)
{
	findings f = {.a = a};
	arena_mark here = arena_here(a);
	for (size_t at = 8; at < in->size && in->size - at >= 8;) {
		const uint8_t *p = in->bytes + at;
		size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		if (!memcmp(p + 4, "IEND", 4) || in->size - at - 8 < length)
			break;
		if (!memcmp(p + 4, "eXIf", 4)) {
			f.has_exif = true;
			f.exif = picture_exif(p + 8, length);
		} else if (!memcmp(p + 4, "tEXt", 4) || !memcmp(p + 4, "zTXt", 4) || !memcmp(p + 4, "iTXt", 4)) {
			read_text(&f, p + 4, (bytes){p + 8, length});
		}
		at += 8 + length;
		at += in->size - at < 4 ? in->size - at : 4;
	}
	arena_release(a, here);
	int exif = f.has_exif ? f.exif : f.profile;
	return f.no_memory ? -1 : exif ? exif : f.xmp;
}
