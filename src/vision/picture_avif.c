/*
 * picture_avif.c - AVIF by libavif. The only file that includes avif/avif.h.
 *
 * As Pillow 13 (_avif.c): the first picture of the file, its colours by avifImageYUVToRGB with libavif's defaults, 8 bits
 * whatever the file has; grey where it has one plane; alpha where it has that. The rotation and mirroring of the file's boxes
 * (irot, then imir) are the orientation; EXIF's is a copy of it, and XMP's counts where neither is there.
 *
 *   ftyp | meta: sizes, properties, places | mdat: AV1 ─► dav1d or aom, inside libavif ─► Y, U, V, A ─► RGB, RGBA, L
 *
 * How chroma planes of half the size are enlarged is libavif's choice and has changed between its releases, so pictures equal
 * Pillow's only with the libavif that Pillow has (1.4.2 in its packages).
 */
#include "vision/picture.h"

#include <string.h>

#include <avif/avif.h>

static rebus_status undecodable(const picture_source *in, avifResult result, rebus_error *err)
{
	if (result == AVIF_RESULT_OUT_OF_MEMORY)
		return error_memory(err, in->name);
	return error_set(err, REBUS_FORMAT, "%s: AVIF cannot be decoded: %s", in->name, avifResultToString(result));
}

/* irot turns against the clock in quarters, then imir mirrors: axis 0 top with bottom, 1 left with right. */
static int orientation_of(const avifImage *image)
{
	static const int8_t by_angle[4][3] = {{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}}; /* not mirrored, axis 0, axis 1 */
	int angle = image->transformFlags & AVIF_TRANSFORM_IROT ? image->irot.angle & 3 : 0;
#if AVIF_VERSION >= 1000000
	int axis = image->imir.axis;
#else
	int axis = image->imir.mode;
#endif
	int turn = by_angle[angle][image->transformFlags & AVIF_TRANSFORM_IMIR ? 1 + (axis & 1) : 0];
	if (turn == 1 && !picture_exif(image->exif.data, image->exif.size))
		return picture_xmp(image->xmp.data, image->xmp.size);
	return turn;
}

static rebus_status read_picture(avifDecoder *d, arena *a, const picture_source *in, picture *p, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	avifRGBImage rgb;
	avifResult result = avifDecoderSetIOMemory(d, in->bytes, in->size);
	if (result == AVIF_RESULT_OK)
		result = avifDecoderParse(d);
	if (result != AVIF_RESULT_OK)
		return undecodable(in, result, err);
	TRY(picture_check(in, d->image->width, d->image->height, 16, err));
	if ((result = avifDecoderNthImage(d, 0)) != AVIF_RESULT_OK)
		return undecodable(in, result, err);
	bool grey = !d->alphaPresent && d->image->yuvFormat == AVIF_PIXEL_FORMAT_YUV400;
	int channels = d->alphaPresent ? 4 : 3;
	TRY(picture_new(a, in, d->image->width, d->image->height, channels, 16, grey ? "L" : channels == 4 ? "RGBA" : "RGB", p, err));
	avifRGBImageSetDefaults(&rgb, d->image);
	rgb.depth = 8;
	rgb.format = channels == 4 ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
	rgb.pixels = p->pixels;
	rgb.rowBytes = (uint32_t)p->width * (uint32_t)channels;
	if ((result = avifImageYUVToRGB(d->image, &rgb)) != AVIF_RESULT_OK)
		return undecodable(in, result, err);
	for (size_t i = 0; grey && i < (size_t)p->width * (size_t)p->height; i++)
		p->pixels[i] = p->pixels[3 * i];
	if (grey)
		p->channels = 1;
	*orientation = orientation_of(d->image);
done:
	return status;
}

rebus_status picture_avif(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	picture p = {0};
	avifDecoder *d = avifDecoderCreate();
	if (!d)
		return error_memory(err, in->name);
	d->maxThreads = 1;
	d->strictFlags = AVIF_STRICT_ALPHA_ISPE_REQUIRED; /* as Pillow: not clap, not pixi */
	d->imageSizeLimit = in->limits.pixels < AVIF_DEFAULT_IMAGE_SIZE_LIMIT ? (uint32_t)in->limits.pixels : AVIF_DEFAULT_IMAGE_SIZE_LIMIT;
	d->imageDimensionLimit = (uint32_t)in->limits.side;
	d->imageCountLimit = (uint32_t)in->limits.frames;
	rebus_status status = read_picture(d, a, in, &p, orientation, err);
	avifDecoderDestroy(d);
	if (!status)
		*out = p;
	return status;
}
