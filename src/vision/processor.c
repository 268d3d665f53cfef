/*
 * processor.c - runs a processor on one picture, and prints its pipe; see processor.h.
 *
 *   picture ─► planes ─► pad_square ─► resize, the part that the crop leaves ─► bytes and a table of 256 floats a channel
 *              (8-bit, in scratch)                                              └► or floats, where crop or pad goes beyond
 *
 * The result's size is known before any work is done (result_size).
 */
#include "vision/processor.h"

#include <math.h>
#include <string.h>

enum { MOST = 178956970 };

typedef struct {
	int64_t height, width;
} extent;

/* ------------------------------------------------------------------------------------------------ sizes */
/* get_size_with_aspect_ratio: the short side becomes `shortest` unless the long one would pass `longest` */
static extent fit_edges(extent in, int32_t shortest, int32_t longest)
{
	double small = (double)int_min(in.height, in.width), large = (double)int_max(in.height, in.width), raw = shortest;
	int64_t size = shortest;
	if (large / small * shortest > longest) {
		raw = longest * small / large;
		size = (int64_t)nearbyint(raw); /* half to even, as Python rounds */
	}
	if ((in.height <= in.width && in.height == size) || (in.width <= in.height && in.width == size))
		return in;
	if (in.width < in.height)
		return (extent){(int64_t)(raw * (double)in.height / (double)in.width), size};
	return (extent){size, (int64_t)(raw * (double)in.width / (double)in.height)};
}

/* get_scaled_image_size: a whole number of patches, at least one */
static int64_t scaled_side(double scale, int64_t side, int32_t patch)
{
	int64_t size = (int64_t)ceil((double)side * scale / (double)patch) * patch;
	return size > patch ? size : patch;
}

/* get_image_size_for_max_num_patches: the largest scale, found by halving, at which the patches are within the budget */
static extent fit_patches(extent in, int32_t patch, int32_t budget)
{
	const double eps = 1e-5;
	double low = eps / 10, high = 100.0;
	while (high - low >= eps) {
		double scale = (low + high) / 2;
		double rows = (double)scaled_side(scale, in.height, patch) / (double)patch, columns = (double)scaled_side(scale, in.width, patch) / (double)patch;
		*(rows * columns <= (double)budget ? &low : &high) = scale;
	}
	return (extent){scaled_side(low, in.height, patch), scaled_side(low, in.width, patch)};
}

/* ResizeKeepRatio: sides round(side / ratio), half to even, the ratio being the smaller or the larger one's */
static extent keep_ratio(extent in, extent to, bool larger)
{
	double h = (double)in.height / (double)to.height, w = (double)in.width / (double)to.width;
	double ratio = larger ? fmax(h, w) : fmin(h, w);
	return (extent){(int64_t)nearbyint((double)in.height / ratio), (int64_t)nearbyint((double)in.width / ratio)};
}

static extent fitted(const processor *p, extent in)
{
	extent to = {(int64_t)floor(p->crop_height / p->crop_pct), (int64_t)floor(p->crop_width / p->crop_pct)};
	if (to.height < 1 || to.width < 1 || p->fit == FIT_SQUASH)
		return to;
	if (p->fit == FIT_BORDER)
		return keep_ratio(in, to, true);
	if (to.height != to.width)
		return keep_ratio(in, to, false);
	int64_t small = int_min(in.height, in.width), large = int_max(in.height, in.width);
	int64_t other = (int64_t)((double)(to.height * large) / (double)small);
	return in.width <= in.height ? (extent){other, to.height} : (extent){to.height, other};
}

static extent resized(const processor *p, extent in)
{
	const processor_size *s = &p->size;
	if (p->fit)
		return fitted(p, in);
	if (s->shortest && s->longest)
		return fit_edges(in, s->shortest, s->longest);
	if (s->shortest) {
		int64_t small = int_min(in.height, in.width), large = int_max(in.height, in.width);
		int64_t other = (int64_t)((double)(s->shortest * large) / (double)small);
		return in.width <= in.height ? (extent){other, s->shortest} : (extent){s->shortest, other};
	}
	if (s->max_height && s->max_width) {
		double scale = fmin((double)s->max_height / (double)in.height, (double)s->max_width / (double)in.width);
		return (extent){(int64_t)((double)in.height * scale), (int64_t)((double)in.width * scale)};
	}
	return (extent){s->height, s->width};
}

/* The processor with the caller's size put in. */
static processor with_size(const processor *p, const vision_size *size)
{
	processor q = *p;
	if (size && size->budget && q.budget)
		q.budget = size->budget;
	if (size && size->height) {
		q.resize = true;
		q.size = (processor_size){.height = size->height, .width = size->width};
		q.crop_height = size->height;
		q.crop_width = size->width;
	}
	return q;
}

static rebus_status result_size(const processor *p, const picture *in, extent *after_resize, extent *after_crop, extent *result,
                                rebus_error *err)
{
	extent e = {in->height, in->width};
	if (p->pad_square)
		e.height = e.width = int_max(e.height, e.width);
	bool fits = p->budget && !p->size.height;
	if (p->resize)
		e = fits ? fit_patches(e, p->patch, p->budget) : resized(p, e);
	if (p->budget && (e.height % p->patch || e.width % p->patch))
		return error_set(err, REBUS_FORMAT, "picture of %lld x %lld (height x width) before it is cut, expected multiples of patch_size %d",
		                 (long long)e.height, (long long)e.width, (int)p->patch);
	if (fits && e.height / p->patch > p->budget / (e.width / p->patch))
		return error_set(err, REBUS_FORMAT, "picture of %lld x %lld (height x width), more than %d patches of %d x %d, and do_resize is off",
		                 (long long)e.height, (long long)e.width, (int)p->budget, (int)p->patch, (int)p->patch);
	if (e.height < 1 || e.width < 1 || e.height > INT32_MAX || e.width > INT32_MAX)
		return error_set(err, REBUS_FORMAT, "picture of %d x %d (height x width) would be resized to %lld x %lld",
		                 (int)in->height, (int)in->width, (long long)e.height, (long long)e.width);
	*after_resize = e;
	if (p->crop)
		e = (extent){p->crop_height, p->crop_width};
	*after_crop = e;
	if (p->pad && p->pad_height) {
		if (e.height > p->pad_height || e.width > p->pad_width)
			return error_set(err, REBUS_FORMAT, "picture of %lld x %lld after resizing, more than pad_size %d x %d",
			                 (long long)e.height, (long long)e.width, (int)p->pad_height, (int)p->pad_width);
		e = (extent){p->pad_height, p->pad_width};
	}
	if (e.height > MOST / e.width)
		return error_set(err, REBUS_LIMIT, "result of %lld x %lld values a channel, more than %d", (long long)e.height,
		                 (long long)e.width, (int)MOST);
	*result = e;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ planes */
static const char *const by_planes[] = {"L", "LA", "RGB", "RGBA"};

static const char *mode_of(const picture *in)
{
	return in->mode ? in->mode : by_planes[in->channels - 1];
}

/* Without convert_rgb the reference takes the file's own planes: alpha that came from tRNS is not among them. */
static rebus_status own_planes(arena *a, const picture *in, picture *out, rebus_error *err)
{
	const char *mode = mode_of(in);
	int32_t planes = 4;
	while (planes && strcmp(mode, by_planes[planes - 1]))
		planes--;
	if (!planes || planes > in->channels)
		return error_set(err, REBUS_FORMAT, "picture of mode %s, expected RGB: this processor does not convert (do_convert_rgb)",
		                 mode);
	*out = *in;
	if (planes == in->channels)
		return REBUS_OK;
	size_t n = (size_t)in->width * (size_t)in->height, c = (size_t)planes;
	out->channels = planes;
	out->pixels = arena_get(a, n, c);
	if (!out->pixels)
		return error_memory(err, "picture's planes");
	for (size_t i = 0; i < n; i++)
		memcpy(out->pixels + i * c, in->pixels + i * (size_t)in->channels, c);
	return REBUS_OK;
}

/* Image.convert("RGB") of Pillow: grey three times, alpha dropped. */
static rebus_status drop_alpha(arena *a, const picture *in, picture *out, rebus_error *err)
{
	*out = *in;
	if (in->channels == 3)
		return REBUS_OK;
	size_t n = (size_t)in->width * (size_t)in->height, c = (size_t)in->channels;
	out->channels = 3;
	out->mode = NULL;
	out->pixels = arena_get(a, n, 3);
	if (!out->pixels)
		return error_memory(err, "picture's planes");
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < 3; k++)
			out->pixels[3 * i + k] = in->pixels[c * i + (c < 3 ? 0 : k)];
	return REBUS_OK;
}

static rebus_status check_planes(const processor *p, const picture *in, vision_backend backend, rebus_error *err)
{
	int32_t counts[2] = {p->means, p->stds};
	for (int i = 0; i < 2 && p->normalize; i++)
		if (counts[i] && counts[i] != in->channels && !(backend == VISION_TORCHVISION && counts[i] == 1))
			return error_set(err, REBUS_FORMAT, "picture of mode %s has %d planes, %s has %d%s", mode_of(in), (int)in->channels,
			                 i ? "image_std" : "image_mean", (int)counts[i],
			                 p->convert_rgb ? "" : ", and this processor does not convert to RGB");
	if (p->pad_square && p->means != in->channels)
		return error_set(err, REBUS_FORMAT, "picture of mode %s has %d planes, its padding colour (image_mean) has %d",
		                 mode_of(in),
		                 (int)in->channels, (int)p->means);
	return REBUS_OK;
}

/* LLaVA's: a square of the long side, in the colour int(mean * 255), the picture in its middle, the odd line below, right */
static rebus_status pad_to_square(arena *a, const processor *p, picture *in, rebus_error *err)
{
	if (in->width == in->height)
		return REBUS_OK;
	picture out = *in;
	out.width = out.height = (int32_t)int_max(in->width, in->height);
	size_t side = (size_t)out.width, c = (size_t)in->channels;
	if (side > MOST / side)
		return error_set(err, REBUS_LIMIT, "padding to a square of %zu, more than %d pixels", side, (int)MOST);
	out.pixels = arena_get(a, side * side, c);
	if (!out.pixels)
		return error_memory(err, "padded picture");
	for (size_t i = 0; i < side * side; i++)
		for (size_t k = 0; k < c; k++)
			out.pixels[i * c + k] = (uint8_t)(int)(p->mean[k] * 255.0);
	size_t top = (side - (size_t)in->height) / 2, left = (side - (size_t)in->width) / 2, row = (size_t)in->width * c;
	for (size_t y = 0; y < (size_t)in->height; y++)
		memcpy(out.pixels + ((top + y) * side + left) * c, in->pixels + y * row, row);
	*in = out;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ values */
static void value_table(const processor *p, vision_backend backend, int channel, float table[256])
{
	float mean = (float)p->mean[p->means > 1 ? channel : 0], std = (float)p->std[p->stds > 1 ? channel : 0];
	bool fused = backend == VISION_TORCHVISION && p->rescale && p->normalize && !p->fit;
	if (fused) {
		float back = (float)(1.0 / p->rescale_factor);
		mean *= back;
		std *= back;
	}
	for (int v = 0; v < 256; v++) {
		float x = (float)v;
		if (p->fit)
			x /= 255.0f;
		else if (p->rescale && !fused)
			x = backend == VISION_TORCHVISION ? x * (float)p->rescale_factor : (float)((double)v * p->rescale_factor);
		table[v] = p->normalize ? (x - mean) / std : x;
	}
}

static int64_t crop_start(const processor *p, int64_t size, int64_t crop, vision_backend backend)
{
	int64_t d = size - crop;
	if (p->fit)
		return d < 0 ? -(-d / 2) : (int64_t)nearbyint((double)d / 2.0);
	return backend == VISION_PIL && d < 0 ? -((1 - d) / 2) : d / 2; /* pil: floor; torchvision: toward zero */
}

/* The part of a resized picture that the cut leaves. */
static vision_window left_by(const processor *p, extent picture, extent cut, vision_backend backend)
{
	int64_t top = crop_start(p, picture.height, cut.height, backend), left = crop_start(p, picture.width, cut.width, backend);
	int64_t y = int_max(top, 0), x = int_max(left, 0), y1 = int_min(top + cut.height, picture.height), x1 = int_min(left + cut.width, picture.width);
	return (vision_window){(int32_t)x, (int32_t)y, (int32_t)(x1 - x), (int32_t)(y1 - y)};
}

/* What the cut has where the picture ends: byte 0, or the colour of a border. */
static float beyond_value(const processor *p, int32_t channel, const float *table)
{
	return table[p->fit == FIT_BORDER ? (int)nearbyint(255.0 * p->mean[p->means > 1 ? channel : 0]) : 0];
}

/* Floats: the part where the cut has it, `beyond` elsewhere in the cut, 0 (of the result) beyond the cut. */
static void lay_out(const picture *part, int64_t top, int64_t left, extent cut, const float *table, const float *beyond, const pixels *out)
{
	float *to = out->data;
	for (int32_t c = 0; c < out->channels; c++, table += 256)
		for (int64_t y = 0; y < out->height; y++) {
			bool row_inside = y >= top && y < top + part->height;
			const uint8_t *row = row_inside ? part->pixels + (size_t)(y - top) * (size_t)part->width * (size_t)part->channels + c : NULL;
			for (int64_t x = 0; x < out->width; x++) {
				bool inside = row && x >= left && x < left + part->width;
				*to++ = y >= cut.height || x >= cut.width ? 0.0f : inside ? table[row[(x - left) * part->channels]] : beyond[c];
			}
		}
}

void vision_values(const pixels *p, float *out)
{
	size_t n = (size_t)p->height * (size_t)p->width, c = (size_t)p->channels;
	if (p->data) {
		memcpy(out, p->data, n * c * sizeof *out);
		return;
	}
	for (size_t k = 0; k < c; k++)
		for (size_t i = 0; i < n; i++)
			*out++ = p->table[k * 256 + p->bytes[i * c + k]];
}

/* The planes the processor works on, padded to a square if it says so; in scratch, or `in` itself. */
static rebus_status planes_of(arena *scratch, const processor *p, const picture *in, vision_backend backend, picture *out, rebus_error *err)
{
	rebus_status status;
	picture work;
	if (p->fit)
		TRY(drop_alpha(scratch, in, &work, err));
	else
		TRY(p->convert_rgb ? vision_rgb(scratch, in, &work, err) : own_planes(scratch, in, &work, err));
	TRY(check_planes(p, &work, backend, err));
	if (p->pad_square)
		TRY(pad_to_square(scratch, p, &work, err));
	*out = work;
done:
	return status;
}

/* The resized part, in `a` in any case. */
static rebus_status resized_part(arena *a, const kernels *k, const processor *p, const picture *work, extent to, vision_backend backend,
                                 const vision_window *part, picture *out, rebus_error *err)
{
	rebus_status status = vision_resize(a, k, work, to.width, to.height, p->filter, backend, part, out, err);
	if (status || out->pixels != work->pixels)
		return status;
	size_t n = (size_t)work->height * (size_t)work->width * (size_t)work->channels;
	out->pixels = arena_get(a, n, 1);
	if (!out->pixels)
		return error_memory(err, "pixel values");
	memcpy(out->pixels, work->pixels, n);
	return REBUS_OK;
}

rebus_status vision_prepare(arena *a, const kernels *k, const processor *p, const picture *in, vision_backend backend, const vision_size *size,
                            pixels *out, rebus_error *err)
{
	rebus_status status;
	processor q = with_size(p, size);
	if (q.fit)
		backend = VISION_PIL;
	arena_mark start = arena_here(a);
	arena scratch;
	extent to = {0}, cut = {0}, all = {0};
	picture work, part;
	float beyond[4];
	arena_init(&scratch, a->from, 0);
	TRY(result_size(&q, in, &to, &cut, &all, err));
	TRY(planes_of(&scratch, &q, in, backend, &work, err));
	pixels result = {.channels = work.channels, .height = (int32_t)all.height, .width = (int32_t)all.width};
	float *table = arena_get(a, (size_t)work.channels, 256 * sizeof *table);
	vision_window left = left_by(&q, to, cut, backend);
	bool whole = left.height == to.height && left.width == to.width, bytes = left.height == all.height && left.width == all.width;
	if (!table) {
		status = error_memory(err, "pixel values");
		goto done;
	}
	for (int32_t c = 0; c < work.channels; c++) {
		value_table(&q, backend, c, table + c * 256);
		beyond[c] = beyond_value(&q, c, table + c * 256);
	}
	TRY(resized_part(bytes ? a : &scratch, k, &q, &work, to, backend, whole ? NULL : &left, &part, err));
	result.table = table;
	result.bytes = bytes ? part.pixels : NULL;
	if (!bytes) {
		result.data = arena_get(a, (size_t)all.height * (size_t)all.width, (size_t)result.channels * sizeof(float));
		if (!result.data) {
			status = error_memory(err, "pixel values");
			goto done;
		}
		lay_out(&part, left.y - crop_start(&q, to.height, cut.height, backend),
			left.x - crop_start(&q, to.width, cut.width, backend), cut, table, beyond, &result);
	}
	*out = result;
done:
	arena_free(&scratch);
	if (status)
		arena_release(a, start);
	return status;
}

rebus_status vision_process(arena *a, const kernels *k, const processor *p, const picture *in, vision_backend backend, const vision_size *size,
                            pixels *out, rebus_error *err)
{
	arena_mark start = arena_here(a);
	pixels px;
	rebus_status status = vision_prepare(a, k, p, in, backend, size, &px, err);
	if (status || px.data) {
		if (!status)
			*out = px;
		return status;
	}
	float *data = arena_get(a, (size_t)px.height * (size_t)px.width, (size_t)px.channels * sizeof *data);
	if (!data) {
		arena_release(a, start);
		return error_memory(err, "pixel values");
	}
	vision_values(&px, data);
	px.data = data;
	*out = px;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ text */
static void add_numbers(buf *b, const double *v, int32_t count)
{
	buf_text(b, count ? "[" : "");
	for (int32_t i = 0; i < (count ? count : 1); i++)
		buf_format(b, "%s%.9g", i ? "," : "", v[i]);
	buf_text(b, count ? "]" : "");
}

static void add_resize(buf *b, const processor *p)
{
	const processor_size *s = &p->size;
	static const char *const how[] = {[FIT_CENTER] = "at least ", [FIT_SQUASH] = "", [FIT_BORDER] = "at most "};
	if (p->fit)
		buf_format(b, "|resize(%s%dx%d", how[p->fit], (int)floor(p->crop_height / p->crop_pct), (int)floor(p->crop_width / p->crop_pct));
	else if (s->shortest && s->longest)
		buf_format(b, "|resize(shortest_edge=%d,longest_edge=%d", (int)s->shortest, (int)s->longest);
	else if (s->shortest)
		buf_format(b, "|resize(shortest_edge=%d", (int)s->shortest);
	else if (s->max_height && s->max_width)
		buf_format(b, "|resize(max=%dx%d", (int)s->max_height, (int)s->max_width);
	else if (s->height)
		buf_format(b, "|resize(%dx%d", (int)s->height, (int)s->width);
	else
		buf_format(b, "|resize(patches=%d,side=%d", (int)p->budget, (int)p->patch);
	buf_format(b, ",%s)", vision_filter_name(p->filter));
}

const char *vision_pipe_text(arena *a, const processor *p, const vision_size *size)
{
	processor q = with_size(p, size);
	buf b;
	buf_init(&b, a->from, 4096);
	if (q.convert_rgb)
		buf_text(&b, "|convert_rgb");
	if (q.fit)
		buf_text(&b, "|drop_alpha");
	if (q.pad_square)
		buf_format(&b, "|pad_square(%d,%d,%d)", (int)(q.mean[0] * 255.0), (int)(q.mean[1] * 255.0), (int)(q.mean[2] * 255.0));
	if (q.resize)
		add_resize(&b, &q);
	if (q.crop)
		buf_format(&b, "|center_crop(%dx%d)", (int)q.crop_height, (int)q.crop_width);
	if (q.rescale && q.rescale_factor == 1.0 / 255.0)
		buf_text(&b, "|rescale(1/255)");
	else if (q.rescale)
		buf_format(&b, "|rescale(%.9g)", q.rescale_factor);
	if (q.normalize) {
		buf_text(&b, "|normalize(");
		add_numbers(&b, q.mean, q.means);
		buf_byte(&b, ',');
		add_numbers(&b, q.std, q.stds);
		buf_byte(&b, ')');
	}
	if (q.pad && q.pad_height)
		buf_format(&b, "|pad(%dx%d)", (int)q.pad_height, (int)q.pad_width);
	else if (q.pad)
		buf_text(&b, "|pad(largest of the batch)");
	const char *text = b.failed ? NULL : arena_text(a, b.size ? b.data + 1 : "", b.size ? b.size - 1 : 0);
	buf_free(&b);
	return text;
}
