/*
 * picture.h - decoded pictures: bytes of a JPEG or PNG file in, 8-bit pixels out, as Pillow 13 would give them.
 *
 *   bytes ─► which format ─► JPEG (picture_jpeg.c) ┐
 *                        └─► PNG  (picture_png.c)  ┴─► upright by its EXIF orientation ─► picture ─► vision_rgb
 *
 * A picture keeps what transformers' processors see: grey stays one plane, transparency stays a plane. What Pillow holds in
 * other modes is resolved here, because no processor can use it as it is; `mode` remembers where it came from:
 *
 *   mode   file                                   planes here   how
 *   1      PNG grey 1 bit                         1, or 2       0 and 255; tRNS becomes alpha
 *   L      grey                                   1, or 2       2 and 4 bit times 85 and 17
 *   I;16   PNG grey 16 bit                        1, or 2       values above 255 become 255, as Pillow 13 converts them
 *   LA     PNG grey + alpha, 8 bit                2
 *   P      PNG palette                            3, or 4       an index beyond the palette is opaque black
 *   RGB    colour                                 3, or 4       16 bit: the high byte; tRNS becomes alpha
 *   RGBA   PNG colour + alpha, 16-bit grey + alpha 4            16 bit: the high byte
 *   CMYK   JPEG of four planes                    3             inverted (Adobe's convention), then r = k' - c*k'/255
 *
 * Like transformers.image_utils.load_image, and unlike PIL.Image.open alone, files are turned upright (EXIF tag 0x0112, for
 * JPEG also XMP's tiff:Orientation). Unlike load_image the alpha plane is kept: vision_rgb lays it on white, which is what
 * the processors do with a picture that still has it.
 *
 * Strictness follows Pillow: a file that ends inside the pixels is an error; damage that libjpeg bridges over is not; a PNG
 * whose checksums fail is an error, except in what follows the last pixel.
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
	size_t bytes;   /* 256 MiB of file */
} picture_limits;

/* limits NULL: the defaults. name is used in messages. The pixels live in `a`; on failure the arena is as it was. */
rebus_status vision_decode(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                           picture *out,
                           rebus_error *err);
rebus_status vision_load(arena *a, const char *path, const picture_limits *limits, picture *out, rebus_error *err);

/* Three planes: grey is repeated, alpha composited on white with Pillow's integers. `in` RGB: out shares its pixels. */
rebus_status vision_rgb(arena *a, const picture *in, picture *out, rebus_error *err);

/* Mirrors or turns in place as EXIF orientation 2 ... 8 asks; any other value changes nothing. Scratch comes from a. */
rebus_status vision_orient(arena *a, picture *p, int orientation, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ inside src/vision */
rebus_status picture_jpeg(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                          picture *out,
                          int *orientation, rebus_error *err);
rebus_status picture_png(arena *a, const uint8_t *bytes, size_t size, const char *name, const picture_limits *limits,
                         picture *out,
                         int *orientation, rebus_error *err);
/* Checks the sides against the limits and takes the pixels from the arena; fills all of p. */
rebus_status picture_new(arena *a, int64_t width, int64_t height, int channels, const char *mode, const char *name,
                         const picture_limits *limits, picture *p, rebus_error *err);
int picture_exif(const uint8_t *tiff, size_t size);     /* orientation in a TIFF header and its first directory; 0: none */
int picture_xmp(const uint8_t *text, size_t size);      /* tiff:Orientation in an XMP packet; 0: none */

#endif
