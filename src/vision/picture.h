/*
 * picture.h - decoded pictures: the bytes of a file in, 8-bit pixels out, as Pillow 13 would give them.
 *
 *   bytes ─► which format ─┬─► JPEG, PNG, GIF, BMP                                 always there    ┐
 *                          ├─► WebP, TIFF        meson features webp, tiff         auto: if found  ├─► upright ─► picture
 *                          └─► AVIF, HEIC        meson features avif, heif         auto: if found  ┘   (EXIF)   ─► vision_rgb
 *
 * A picture keeps what transformers' processors see: grey stays one plane, transparency stays a plane. What Pillow holds in
 * other modes is resolved here, because no processor can use it as it is; `mode` remembers where it came from:
 *
 *   mode   file                                          planes here   how
 *   1      PNG, BMP, TIFF of 1 bit                       1, or 2       0 and 255; PNG's tRNS becomes alpha
 *   L      grey; GIF whose palette is the grey ramp      1, or 2       2 and 4 bit times 85 and 17; PNG, GIF: alpha by key
 *   I;16   PNG, TIFF grey of 16 or 12 bit                1, or 2       values above 255 become 255, as Pillow 13 converts them
 *   I, F   TIFF of 32 bits, integers or floats           1             the same, and 0 below 0
 *   LA     grey + alpha, 8 bit                           2
 *   P      palette                                       3, or 4       an index beyond the palette is opaque black
 *   PA     TIFF palette + alpha                          4
 *   RGB    colour                                        3, or 4       16 bit: the high byte; PNG's tRNS becomes alpha
 *   RGBA   colour + alpha, PNG 16-bit grey + alpha       4             16 bit: the high byte; premultiplied: divided again
 *   CMYK   JPEG, TIFF of four inks                       3             r = k' - c*k'/255 with k' = 255 - k (JPEG: inverted)
 *
 * Like transformers.image_utils.load_image, and unlike PIL.Image.open alone, files are turned upright: EXIF tag 0x0112, and
 * where it is not there XMP's tiff:Orientation (all formats but GIF and BMP, which have neither). Unlike load_image the alpha
 * plane is kept: vision_rgb lays it on white, which is what the processors do with a picture that still has it.
 *
 * Strictness follows Pillow: a file that ends inside the pixels is an error; damage that libjpeg bridges over is not; a PNG
 * whose checksums fail is an error, those of the pixels' chunks and of what follows excepted.
 *
 * Every file is untrusted. Sides and pixels are checked before anything is taken for them; `memory` bounds the planes and
 * what a library is known to take beside them, `scans` and `frames` bound the time.
 */
#ifndef REBUS_PICTURE_H
#define REBUS_PICTURE_H

#include "base/base.h"

typedef struct picture {
	int32_t width, height;
	int32_t channels; /* 1 L, 2 LA, 3 RGB, 4 RGBA */
	const char *mode; /* what the file held, in Pillow's names; static text; NULL: what channels says */
	uint8_t *pixels;  /* [height, width, channels] */
} picture;

/* 0 anywhere: the default named beside it */
typedef struct picture_limits {
	int64_t pixels; /* 178,956,970: where Pillow raises DecompressionBombError */
	int32_t side;   /* 1,000,000 */
	int32_t scans;  /* 128 of a JPEG; each costs a pass over the picture */
	int32_t frames; /* 10,000 of an animation */
	size_t bytes;   /* 256 MiB of file */
	size_t memory;  /* 4 GiB while decoding: planes, and what the format's library takes beside them */
} picture_limits;

/* limits NULL: the defaults. name is used in messages. The pixels live in `a`; on failure the arena is as it was. */
rebus_status vision_decode(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                           picture *out, rebus_error *err);
rebus_status vision_load(arena *a, const char *path, const picture_limits *limits, picture *out, rebus_error *err);

/* An animation: whole pictures of one size, each laid over those before it, and how long each is shown. */
typedef struct picture_frames {
	picture *at;       /* [count] */
	int32_t *duration; /* [count], milliseconds */
	int32_t count;
} picture_frames;

/* All frames of a GIF or WebP as Pillow's seek() gives them; one frame of anything else. Memory is checked for all of them. */
rebus_status vision_decode_frames(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                                  picture_frames *out, rebus_error *err);

/* "JPEG, PNG, GIF, BMP, WebP, TIFF": what this build decodes, static text */
const char *vision_formats(void);

/* Three planes: grey is repeated, alpha composited on white with Pillow's integers. `in` RGB: out shares its pixels. */
rebus_status vision_rgb(arena *a, const picture *in, picture *out, rebus_error *err);

/* Mirrors or turns in place as EXIF orientation 2 ... 8 asks; any other value changes nothing. Scratch comes from a. */
rebus_status vision_orient(arena *a, picture *p, int orientation, rebus_error *err);

/* Three planes of 8 bits to a PNG file, in place whole or not at all. */
rebus_status vision_png_write(const char *path, const picture *p, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ inside src/vision */
typedef struct picture_source {
	const uint8_t *bytes;
	size_t size;
	const char *name;
	picture_limits limits; /* no zeros */
} picture_source;

/* orientation: 0 where the file says nothing, or the decoder has turned the picture already */
typedef rebus_status picture_decoder(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err);
picture_decoder picture_jpeg, picture_png, picture_gif, picture_bmp, picture_webp, picture_tiff, picture_avif, picture_heif;

typedef rebus_status picture_frame_decoder(arena *a, const picture_source *in, picture_frames *out, rebus_error *err);
picture_frame_decoder picture_gif_frames, picture_webp_frames;

/*
 * Checks the sides against the limits and takes the pixels from the arena; fills all of p. beside: bytes a pixel that will be
 * in use beside the picture's own, ours or a library's.
 */
rebus_status picture_new(arena *a, const picture_source *in, int64_t width, int64_t height, int channels, int beside,
                         const char *mode, picture *p, rebus_error *err);
rebus_status picture_check(const picture_source *in, int64_t width, int64_t height, int bytes_a_pixel, rebus_error *err);
/* The arrays of `count` frames. */
rebus_status picture_frames_new(arena *a, const picture_source *in, int64_t count, int64_t width, int64_t height,
                                picture_frames *out, rebus_error *err);
int picture_exif(const uint8_t *tiff, size_t size); /* orientation in a TIFF header and its first directory; 0: none */
int picture_xmp(const uint8_t *text, size_t size);  /* tiff:Orientation in an XMP packet; 0: none */
int picture_png_orientation(arena *a, const picture_source *in); /* 0: none, -1: no memory */
bool picture_starts(const uint8_t *bytes, size_t size, size_t at, const char *magic, size_t n);
uint32_t picture_little(const uint8_t *p, int bytes); /* a little-endian number */
/* Pillow's cmyk2rgb of one pixel; inverted: 255 is no ink, as Adobe's JPEGs have it */
void picture_cmyk(const uint8_t in[4], bool inverted, uint8_t out[3]);

#endif
