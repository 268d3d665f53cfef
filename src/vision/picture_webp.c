/*
 * picture_webp.c - WebP by libwebp and libwebpdemux. The only file that includes its headers.
 *
 * As Pillow, through the animation decoder, which also reads stills: a frame is decoded into its place on a transparent
 * canvas and laid over what is there.
 *
 *   RIFF, size, WEBP | VP8 , VP8L or VP8X | (ALPH, ANIM, ANMF, EXIF, XMP , ...)     ─► canvas RGBA ─► RGB where no alpha
 *
 * The canvas is stated in the file's first 30 bytes and checked before libwebp takes two of them (8 bytes a pixel) and, for
 * the frame it decodes, at most as much again. EXIF and XMP give the orientation.
 */
#include "vision/picture.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

enum { BESIDE = 20 }; /* bytes a pixel: two canvases, and a lossless frame with its transforms */

typedef struct {
	WebPAnimDecoder *decoder;
	WebPAnimInfo info;
	int channels;
} reader;

static rebus_status undecodable(const picture_source *in, const char *what, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: WebP cannot be decoded: %s", in->name, what);
}

static rebus_status open_reader(reader *r, const picture_source *in, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	WebPBitstreamFeatures f;
	WebPData data = {in->bytes, in->size};
	VP8StatusCode code = WebPGetFeatures(in->bytes, in->size, &f);
	if (code == VP8_STATUS_NOT_ENOUGH_DATA)
		return error_set(err, REBUS_FORMAT, "%s: WebP ends inside its header, after %zu bytes", in->name, in->size);
	if (code != VP8_STATUS_OK)
		return undecodable(in, code == VP8_STATUS_UNSUPPORTED_FEATURE ? "a feature that libwebp does not know" : "a wrong header", err);
	TRY(picture_check(in, f.width, f.height, BESIDE, err));
	r->channels = f.has_alpha ? 4 : 3;
	r->decoder = WebPAnimDecoderNew(&data, NULL);
	if (!r->decoder)
		return undecodable(in, "wrong or cut off chunks", err);
	if (!WebPAnimDecoderGetInfo(r->decoder, &r->info))
		status = undecodable(in, "no canvas", err);
	else
		status = picture_check(in, r->info.canvas_width, r->info.canvas_height, BESIDE, err);
done:
	if (status)
		WebPAnimDecoderDelete(r->decoder);
	return status;
}

static rebus_status read_frame(reader *r, arena *a, const picture_source *in, picture *p, int *end, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	uint8_t *canvas = NULL;
	TRY(picture_new(a, in, r->info.canvas_width, r->info.canvas_height, r->channels, BESIDE, r->channels == 4 ? "RGBA" : "RGB", p,
	                err));
	if (!WebPAnimDecoderGetNext(r->decoder, &canvas, end))
		return undecodable(in, "wrong or cut off pixels", err);
	for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++)
		memcpy(p->pixels + i * (size_t)p->channels, canvas + 4 * i, (size_t)p->channels);
done:
	return status;
}

static int orientation_of(const reader *r)
{
	const WebPDemuxer *d = WebPAnimDecoderGetDemuxer(r->decoder);
	WebPChunkIterator chunk;
	int found = 0;
	if (WebPDemuxGetChunk(d, "EXIF", 1, &chunk)) {
		found = picture_exif(chunk.chunk.bytes, chunk.chunk.size);
		WebPDemuxReleaseChunkIterator(&chunk);
	}
	if (!found && WebPDemuxGetChunk(d, "XMP ", 1, &chunk)) {
		found = picture_xmp(chunk.chunk.bytes, chunk.chunk.size);
		WebPDemuxReleaseChunkIterator(&chunk);
	}
	return found;
}

rebus_status picture_webp(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	reader r = {0};
	picture p = {0};
	int end;
	TRY(open_reader(&r, in, err));
	status = read_frame(&r, a, in, &p, &end, err);
	if (!status) {
		*orientation = orientation_of(&r);
		*out = p;
	}
	WebPAnimDecoderDelete(r.decoder);
done:
	return status;
}

rebus_status picture_webp_frames(arena *a, const picture_source *in, picture_frames *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	reader r = {0};
	picture_frames all = {0};
	int begin = 0, end = 0;
	TRY(open_reader(&r, in, err));
	status = picture_frames_new(a, in, r.info.frame_count, r.info.canvas_width, r.info.canvas_height, &all, err);
	for (int32_t k = 0; !status && k < all.count; k++, begin = end) {
		status = read_frame(&r, a, in, &all.at[k], &end, err);
		if (!status)
			status = vision_orient(a, &all.at[k], orientation_of(&r), err);
		all.duration[k] = end - begin;
	}
	WebPAnimDecoderDelete(r.decoder);
	if (!status)
		*out = all;
done:
	return status;
}
