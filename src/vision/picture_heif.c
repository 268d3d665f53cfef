/*
 * picture_heif.c - HEIC by libheif, which brings its decoder for HEVC. The only file that includes libheif/heif.h.
 *
 * Neither Pillow nor transformers reads HEIC by itself, so there is no reference; the picture is the file's primary one, in
 * 8 bits, RGB or RGBA, turned and mirrored by libheif as the file's boxes say. EXIF's orientation repeats these and is not read.
 *
 *   ftyp | meta: sizes, properties, places | mdat: HEVC, often in tiles ─► libde265 inside libheif ─► RGB, RGBA
 */
#include "vision/picture.h"

#include <string.h>

#include <libheif/heif.h>

typedef struct {
	struct heif_context *context;
	struct heif_image_handle *handle;
	struct heif_decoding_options *options;
	struct heif_image *image;
} reader;

static rebus_status undecodable(const picture_source *in, struct heif_error e, rebus_error *err)
{
	if (e.code == heif_error_Memory_allocation_error && e.subcode != heif_suberror_Security_limit_exceeded)
		return error_memory(err, in->name);
	return error_set(err, REBUS_FORMAT, "%s: HEIC cannot be decoded: %s", in->name, e.message ? e.message : "libheif does not say why");
}

static rebus_status read_picture(reader *r, arena *a, const picture_source *in, picture *p, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	heif_context_set_maximum_image_size_limit(r->context, in->limits.side);
	struct heif_error e = heif_context_read_from_memory_without_copy(r->context, in->bytes, in->size, NULL);
	if (!e.code)
		e = heif_context_get_primary_image_handle(r->context, &r->handle);
	if (e.code)
		return undecodable(in, e, err);
	int channels = heif_image_handle_has_alpha_channel(r->handle) ? 4 : 3;
	TRY(picture_check(in, heif_image_handle_get_width(r->handle), heif_image_handle_get_height(r->handle), 16, err));
	r->options->convert_hdr_to_8bit = 1;
	e = heif_decode_image(r->handle, &r->image, heif_colorspace_RGB,
	                      channels == 4 ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB, r->options);
	if (e.code)
		return undecodable(in, e, err);
	int stride = 0, width = heif_image_get_width(r->image, heif_channel_interleaved);
	int height = heif_image_get_height(r->image, heif_channel_interleaved);
	const uint8_t *rows = heif_image_get_plane_readonly(r->image, heif_channel_interleaved, &stride);
	TRY(picture_new(a, in, width, height, channels, 16, channels == 4 ? "RGBA" : "RGB", p, err));
	if (!rows || stride < width * channels)
		return error_set(err, REBUS_FORMAT, "%s: HEIC cannot be decoded: no rows of %d pixels", in->name, width);
	for (size_t y = 0; y < (size_t)height; y++)
		memcpy(p->pixels + y * (size_t)width * (size_t)channels, rows + y * (size_t)stride, (size_t)width * (size_t)channels);
done:
	return status;
}

rebus_status picture_heif(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	rebus_status status;
	picture p = {0};
	reader r = {.context = heif_context_alloc(), .options = heif_decoding_options_alloc()};
	(void)orientation;
	status = r.context && r.options ? read_picture(&r, a, in, &p, err) : error_memory(err, in->name);
	heif_image_release(r.image);
	heif_image_handle_release(r.handle);
	heif_decoding_options_free(r.options);
	heif_context_free(r.context);
	if (!status)
		*out = p;
	return status;
}
