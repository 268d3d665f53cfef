/*
 * picture_jpeg.c - JPEG by libjpeg-turbo's classic interface. The only file that includes jpeglib.h.
 *
 * As Pillow decodes: accurate integer transform (JDCT_ISLOW), fancy upsampling of the colour planes, block smoothing of
 * unfinished progressive pictures, and a source that has all bytes at once and then none:
 *
 *   bytes ─► header ─► (progressive: all scans are read here) ─► rows ─► L, RGB, or CMYK ─► RGB
 *
 * A source that runs dry makes libjpeg return instead of inventing the rest; that is the truncated file. libjpeg's warnings
 * (damaged codes, restarts it had to search) are not errors, as in Pillow; it fills such places with grey.
 *
 * libjpeg allocates by itself, at most a few bytes a pixel, and reports errors by a longjmp to `jump`: no object of ours
 * may be acquired between setjmp and its use, so everything lives in `reader`.
 */
#include "vision/picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

typedef struct {
	struct jpeg_decompress_struct d; /* first: the progress call gets only this */
	struct jpeg_error_mgr errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	jmp_buf jump;
	int scans;
	bool many_scans;
	const char *mode;
	char text[JMSG_LENGTH_MAX];
} reader;

static void fail(j_common_ptr d)
{
	reader *r = (reader *)(void *)d;
	d->err->format_message(d, r->text);
	longjmp(r->jump, 1);
}

static void say_nothing(j_common_ptr d)
{
	(void)d;
}

static void count_warning(j_common_ptr d, int level)
{
	if (level < 0)
		d->err->num_warnings++;
}

static void source_nothing(j_decompress_ptr d)
{
	(void)d;
}

static boolean source_dry(j_decompress_ptr d)
{
	(void)d;
	return FALSE;
}

static void source_skip(j_decompress_ptr d, long n)
{
	struct jpeg_source_mgr *s = d->src;
	if (n <= 0)
		return;
	size_t step = (size_t)n < s->bytes_in_buffer ? (size_t)n : s->bytes_in_buffer;
	s->next_input_byte += step;
	s->bytes_in_buffer -= step;
}

static void watch(j_common_ptr d)
{
	reader *r = (reader *)(void *)d;
	if (r->d.input_scan_number > r->scans) {
		r->many_scans = true;
		longjmp(r->jump, 1);
	}
}

/* The first EXIF segment decides; XMP where it says nothing. */
static int orientation_of(const struct jpeg_decompress_struct *d)
{
	static const char xmp[] = "http://ns.adobe.com/xap/1.0/";
	int found = 0, other = 0;
	bool seen = false;
	for (jpeg_saved_marker_ptr m = d->marker_list; m; m = m->next) {
		size_t n = m->data_length;
		if (m->marker != JPEG_APP0 + 1)
			continue;
		if (!seen && n > 6 && !memcmp(m->data, "Exif\0\0", 6)) {
			found = picture_exif(m->data, n);
			seen = true;
		} else if (n >= sizeof(xmp) && !memcmp(m->data, xmp, sizeof(xmp))) {
			other = picture_xmp(m->data + sizeof(xmp), n - sizeof(xmp));
		}
	}
	return found ? found : other;
}

static rebus_status truncated(const picture_source *in, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: JPEG ends inside the picture, after %zu bytes", in->name, in->size);
}

static void open_source(reader *r, const uint8_t *bytes, size_t size)
{
	r->source = (struct jpeg_source_mgr){
		.next_input_byte = bytes,
		.bytes_in_buffer = size,
		.init_source = source_nothing,
		.fill_input_buffer = source_dry,
		.skip_input_data = source_skip,
		.resync_to_restart = jpeg_resync_to_restart,
		.term_source = source_nothing,
	};
	r->d.src = &r->source;
	r->progress.progress_monitor = watch;
	r->d.progress = &r->progress;
}

static rebus_status choose_output(reader *r, const char *name, rebus_error *err)
{
	struct jpeg_decompress_struct *d = &r->d;
	if (d->data_precision != 8)
		return error_set(err, REBUS_UNSUPPORTED, "%s: JPEG of %d bits a sample, expected 8", name, d->data_precision);
	switch (d->num_components) {
	case 1:
		d->out_color_space = JCS_GRAYSCALE;
		r->mode = "L";
		return REBUS_OK;
	case 3:
		d->out_color_space = JCS_RGB;
		r->mode = "RGB";
		return REBUS_OK;
	case 4:
		d->out_color_space = JCS_CMYK;
		r->mode = "CMYK";
		return REBUS_OK;
	default:
		return error_set(err, REBUS_UNSUPPORTED, "%s: JPEG of %d planes, expected 1, 3 or 4", name, d->num_components);
	}
}

/* Everything that may longjmp. p is the caller's, so its value after a jump is known. */
static rebus_status read_picture(reader *r, arena *a, const picture_source *in, picture *p, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	struct jpeg_decompress_struct *d = &r->d;
	const char *name = in->name;
	if (setjmp(r->jump)) {
		if (r->many_scans)
			return error_set(err, REBUS_LIMIT, "%s: JPEG of more than %d scans", name, r->scans);
		if (d->err->msg_code == JERR_OUT_OF_MEMORY)
			return error_memory(err, name);
		return error_set(err, REBUS_FORMAT, "%s: JPEG cannot be decoded: %s", name, r->text);
	}
	jpeg_save_markers(d, JPEG_APP0 + 1, 0xffff);
	if (jpeg_read_header(d, TRUE) != JPEG_HEADER_OK)
		return truncated(in, err);
	TRY(choose_output(r, name, err));
	int beside = jpeg_has_multiple_scans(d) ? 2 * d->num_components : 1; /* all coefficients, or a few rows */
	TRY(picture_new(a, in, d->image_width, d->image_height, d->num_components == 1 ? 1 : 3, beside, r->mode, p, err));
	*orientation = orientation_of(d);
	d->dct_method = JDCT_ISLOW;
	d->do_fancy_upsampling = TRUE;
	if (!jpeg_start_decompress(d))
		return truncated(in, err);
	arena_mark here = arena_here(a);
	uint8_t *row = d->out_color_components == 4 ? arena_get(a, d->output_width, 4) : NULL;
	if (d->out_color_components == 4 && !row)
		return error_memory(err, name);
	while (d->output_scanline < d->output_height) {
		uint8_t *to = p->pixels + (size_t)d->output_scanline * (size_t)p->width * (size_t)p->channels;
		JSAMPROW line = row ? row : to;
		if (jpeg_read_scanlines(d, &line, 1) != 1)
			return truncated(in, err);
		if (row)
			for (int32_t x = 0; x < p->width; x++)
				picture_cmyk(row + 4 * (size_t)x, true, to + 3 * (size_t)x);
	}
	jpeg_finish_decompress(d); /* a file may end before its end marker, but not go on with a wrong one */
	arena_release(a, here);
done:
	return status;
}

rebus_status picture_jpeg(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	reader r;
	picture p = {0};
	memset(&r, 0, sizeof(r));
	r.d.err = jpeg_std_error(&r.errors);
	r.errors.error_exit = fail;
	r.errors.output_message = say_nothing;
	r.errors.emit_message = count_warning;
	r.scans = in->limits.scans;
	if (setjmp(r.jump)) {
		jpeg_destroy_decompress(&r.d); /* what it has by now */
		return error_set(err, REBUS_MEMORY, "%s: libjpeg cannot start: %s", in->name, r.text);
	}
	jpeg_create_decompress(&r.d);
	open_source(&r, in->bytes, in->size);
	rebus_status status = read_picture(&r, a, in, &p, orientation, err);
	jpeg_destroy_decompress(&r.d);
	if (!status)
		*out = p;
	return status;
}
