/*
 * resize.c - see resize.h for the arithmetic: weights of an axis here, the sums in kernels (resample.c).
 *
 *   picture ─► across or down ─► picture between ─► down or across ─► result
 *   only the columns and rows that the wanted part of the result reads
 *
 * Memory: the picture between the passes and the weights (about 2 * S * max(n_in, n_out) of them). The sums fit 32 bits: the
 * weights' absolute sum stays below 1.7 * 2^22 for every filter here, times 255.
 */
#include "vision/resize.h"

#include <math.h>
#include <string.h>

enum { MOST = 178956970, SPLIT = 11 };

static double f_box(double x)
{
	return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double f_bilinear(double x)
{
	x = fabs(x);
	return x < 1.0 ? 1.0 - x : 0.0;
}

static double f_hamming(double x)
{
	x = fabs(x);
	if (x == 0.0)
		return 1.0;
	if (x >= 1.0)
		return 0.0;
	x *= 3.14159265358979323846;
	return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* Pillow's constants are floats */
}

static double f_bicubic(double x)
{
	const double a = -0.5;
	x = fabs(x);
	if (x < 1.0)
		return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
	return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static double sinc(double x)
{
	if (x == 0.0)
		return 1.0;
	x *= 3.14159265358979323846;
	return sin(x) / x;
}

static double f_lanczos(double x)
{
	return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct {
	const char *name;
	double (*f)(double);
	double reach;
} filters[VISION_FILTERS] = {
	[VISION_NEAREST] = {"nearest", NULL, 0.0},       [VISION_LANCZOS] = {"lanczos", f_lanczos, 3.0},
	[VISION_BILINEAR] = {"bilinear", f_bilinear, 1.0}, [VISION_BICUBIC] = {"bicubic", f_bicubic, 2.0},
	[VISION_BOX] = {"box", f_box, 0.5},              [VISION_HAMMING] = {"hamming", f_hamming, 1.0},
};

const char *vision_filter_name(vision_filter filter)
{
	return (unsigned)filter < VISION_FILTERS ? filters[filter].name : "?";
}

bool vision_filter_parse(const char *name, vision_filter *out)
{
	for (int i = 0; i < VISION_FILTERS; i++)
		if (!strcmp(filters[i].name, name)) {
			*out = (vision_filter)i;
			return true;
		}
	return false;
}

/* Weights of one position in double, into w; returns how many and where they start. */
static int32_t position_weights(int32_t n_in, double scale, int32_t i, vision_filter filter, double *w, int32_t *lo)
{
	double fs = scale < 1.0 ? 1.0 : scale, reach = filters[filter].reach * fs, inverse = 1.0 / fs;
	double centre = (i + 0.5) * scale, sum = 0.0;
	int64_t from = int_max((int64_t)(centre - reach + 0.5), 0), to = int_min((int64_t)(centre + reach + 0.5), n_in);
	int32_t count = (int32_t)int_max(to - from, 0);
	for (int32_t k = 0; k < count; k++) {
		w[k] = filters[filter].f(((double)(k + from) - centre + 0.5) * inverse);
		sum += w[k];
	}
	for (int32_t k = 0; k < count && sum != 0.0; k++)
		w[k] /= sum;
	*lo = (int32_t)from;
	return count;
}

static int32_t torch_shift(double most)
{
	int32_t shift = 0;
	while (shift < 22 && (int64_t)(0.5 + most * (double)(1 << (shift + 1))) < (1 << 15))
		shift++;
	return shift;
}

/* How far the weights are scaled. */
static int32_t shift_of(int32_t n_in, int32_t n_out, vision_filter filter, vision_backend backend, double *w)
{
	double most = 0.0;
	if (backend == VISION_PIL)
		return 22;
	for (int32_t i = 0; i < n_out; i++) {
		int32_t lo, count = position_weights(n_in, (double)n_in / (double)n_out, i, filter, w, &lo);
		for (int32_t k = 0; k < count; k++)
			most = w[k] > most ? w[k] : most;
	}
	return torch_shift(most);
}

/* Positions first ... first + count - 1 of an axis that is resized from n_in to n_out. */
static rebus_status axis_plan(arena *a, int32_t n_in, int32_t n_out, int32_t first, int32_t count, vision_filter filter, vision_backend backend,
                              resample *out, rebus_error *err)
{
	double scale = (double)n_in / (double)n_out, fs = scale < 1.0 ? 1.0 : scale;
	size_t n = (size_t)count, taps = (size_t)int_min((int64_t)ceil(filters[filter].reach * fs) * 2 + 1, n_in), all;
	taps = size_round(taps, 4);
	int32_t *lo = arena_get(a, n, sizeof *lo), *counts = arena_get(a, n, sizeof *counts);
	int32_t *q = size_mul(n, taps, &all) ? arena_zero(a, all, sizeof *q) : NULL;
	double *w = arena_get(a, taps, sizeof *w);
	int16_t *low = q ? arena_get(a, all, sizeof *low) : NULL, *high = NULL;
	if (!lo || !counts || !q || !w || !low)
		return error_memory(err, "resize weights");
	resample x = {.n_in = n_in, .n_out = count, .taps = (int32_t)taps, .narrow = true, .lo = lo, .count = counts, .q = q, .low = low};
	x.shift = shift_of(n_in, n_out, filter, backend, w);
	for (size_t i = 0; i < n; i++) {
		counts[i] = position_weights(n_in, scale, first + (int32_t)i, filter, w, &lo[i]);
		for (int32_t k = 0; k < counts[i]; k++) {
			int32_t v = (int32_t)(w[k] * (double)(1 << x.shift) + (w[k] < 0.0 ? -0.5 : 0.5));
			q[i * taps + (size_t)k] = v;
			x.narrow = x.narrow && v >= INT16_MIN && v <= INT16_MAX;
		}
	}
	high = x.narrow ? NULL : arena_get(a, all, sizeof *high);
	if (!x.narrow && !high)
		return error_memory(err, "resize weights");
	for (size_t i = 0; i < all; i++) {
		int32_t over = (q[i] - (q[i] & ((1 << SPLIT) - 1))) / (1 << SPLIT); /* rounded down */
		low[i] = (int16_t)(x.narrow ? q[i] : q[i] - over * (1 << SPLIT));
		if (high)
			high[i] = (int16_t)over;
	}
	x.high = high;
	*out = x;
	return REBUS_OK;
}

/* What a plan reads of its axis: [from, end). Starts and ends ascend. */
static int32_t reads_from(const resample *x)
{
	return x->lo[0];
}

static int32_t reads_to(const resample *x)
{
	return x->lo[x->n_out - 1] + x->count[x->n_out - 1];
}

/* The axis begins `by` later. */
static void move_start(resample *x, int32_t by, int32_t n_in)
{
	int32_t *lo = (int32_t *)x->lo; /* ours: axis_plan made it */
	for (int32_t i = 0; i < x->n_out; i++)
		lo[i] -= by;
	x->n_in = n_in;
}

/*
 * Where each output position reads. Pillow steps through in double; torch computes in float, by one of two functions that
 * round differently: results whose sides add up to 128 or less (small) take the plain one, others the one with a fused step.
 */
static void nearest_axis(int32_t n_in, int32_t n_out, vision_backend backend, bool small, int32_t *from)
{
	double step = (double)n_in / (double)n_out, at = step * 0.5;
	float scale = (float)n_in / (float)n_out;
	for (int32_t i = 0; i < n_out; i++, at += step) {
		int64_t k = (int64_t)at;
		if (backend == VISION_TORCHVISION && small)
			k = (int64_t)floorf(((float)i + 0.5f) * scale);
		else if (backend == VISION_TORCHVISION)
			k = (int64_t)floorf(fmaxf(fmaf(scale, (float)i + 0.5f, -0.5f), 0.0f) + 0.5f);
		from[i] = (int32_t)int_max(int_min(k, n_in - 1), 0);
	}
}

static rebus_status nearest(arena *a, const picture *in, int32_t width, int32_t height, vision_backend backend, const vision_window *part, picture *out,
                            rebus_error *err)
{
	arena_mark here = arena_here(a);
	int32_t *xs = arena_get(a, (size_t)width, sizeof(*xs)), *ys = arena_get(a, (size_t)height, sizeof(*ys));
	if (!xs || !ys) {
		arena_release(a, here);
		return error_memory(err, "resize scratch");
	}
	bool small = width + height <= 128;
	nearest_axis(in->width, width, backend, small, xs);
	nearest_axis(in->height, height, backend, small, ys);
	size_t c = (size_t)in->channels;
	uint8_t *to = out->pixels;
	for (int32_t y = 0; y < part->height; y++)
		for (int32_t x = 0; x < part->width; x++, to += c)
			memcpy(to, in->pixels + ((size_t)ys[part->y + y] * (size_t)in->width + (size_t)xs[part->x + x]) * c, c);
	arena_release(a, here);
	return REBUS_OK;
}

static rebus_status check(const picture *in, int64_t width, int64_t height, vision_filter filter, vision_backend backend,
                          bool vertical_first, rebus_error *err)
{
	if (width < 1 || height < 1)
		return error_set(err, REBUS_MISUSE, "resize to %lld x %lld: expected at least 1 x 1", (long long)width,
		                 (long long)height);
	int64_t mid_w = vertical_first ? in->width : width, mid_h = vertical_first ? height : in->height;
	if (width > MOST / height || mid_w > MOST / mid_h)
		return error_set(err, REBUS_LIMIT, "resize of %d x %d to %lld x %lld (width x height): more than %d pixels",
		                 (int)in->width,
		                 (int)in->height, (long long)width, (long long)height, (int)MOST);
	if (backend == VISION_TORCHVISION && (filter == VISION_BOX || filter == VISION_HAMMING))
		return error_set(err, REBUS_UNSUPPORTED, "resize: torchvision has no %s filter; the pil back end has",
		                 filters[filter].name);
	if (backend == VISION_PIL && filter != VISION_NEAREST && (in->channels == 2 || in->channels == 4))
		return error_set(err, REBUS_UNSUPPORTED, "resize: %d planes with the pil back end, expected 1 or 3", (int)in->channels);
	return REBUS_OK;
}

/* Across first; rows: what down reads, or the part's. */
static rebus_status across_down(arena *a, const kernels *k, const picture *in, const resample *xs, resample *ys, const vision_window *part,
                                uint8_t *out, rebus_error *err)
{
	size_t c = (size_t)in->channels, row_in = (size_t)in->width * c, row = (size_t)part->width * c;
	int32_t from = ys ? reads_from(ys) : part->y, rows = ys ? reads_to(ys) - from : part->height;
	uint8_t *between = ys ? arena_get(a, (size_t)rows, row) : out;
	if (!between)
		return error_memory(err, "picture between two resize passes");
	k->resample_across(xs, rows, in->channels, in->pixels + (size_t)from * row_in, (int64_t)row_in, between, (int64_t)row);
	if (!ys)
		return REBUS_OK;
	move_start(ys, from, rows);
	k->resample_down(ys, (int64_t)row, between, (int64_t)row, out, (int64_t)row);
	return REBUS_OK;
}

/* Down first; columns: what across reads, or the part's. */
static rebus_status down_across(arena *a, const kernels *k, const picture *in, const resample *ys, resample *xs, const vision_window *part,
                                uint8_t *out, rebus_error *err)
{
	size_t c = (size_t)in->channels, row_in = (size_t)in->width * c, row = (size_t)part->width * c;
	int32_t from = xs ? reads_from(xs) : part->x, columns = xs ? reads_to(xs) - from : part->width;
	size_t wide = (size_t)columns * c;
	uint8_t *between = xs ? arena_get(a, (size_t)part->height, wide) : out;
	if (!between)
		return error_memory(err, "picture between two resize passes");
	k->resample_down(ys, (int64_t)wide, in->pixels + (size_t)from * c, (int64_t)row_in, between, (int64_t)wide);
	if (!xs)
		return REBUS_OK;
	move_start(xs, from, columns);
	k->resample_across(xs, part->height, in->channels, between, (int64_t)wide, out, (int64_t)row);
	return REBUS_OK;
}

static void cut_out(const picture *in, const vision_window *part, uint8_t *out)
{
	size_t c = (size_t)in->channels, row = (size_t)part->width * c;
	for (int32_t y = 0; y < part->height; y++)
		memcpy(out + (size_t)y * row, in->pixels + ((size_t)(part->y + y) * (size_t)in->width + (size_t)part->x) * c, row);
}

rebus_status vision_resize(arena *a, const kernels *k, const picture *in, int64_t width, int64_t height, vision_filter filter, vision_backend backend,
                           const vision_window *part, picture *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	picture result = *in;
	arena_mark start = arena_here(a), kept = start;
	bool vertical_first = backend == VISION_PIL && height < in->height && 2 * (in->width - width) < in->height - height;
	bool across = width != in->width, down = height != in->height;
	resample xs, ys;
	if (!across && !down && !part) {
		*out = *in;
		return REBUS_OK;
	}
	if (across || down)
		TRY(check(in, width, height, filter, backend, vertical_first, err));
	vision_window all = {0, 0, (int32_t)width, (int32_t)height};
	part = part ? part : &all;
	result.width = part->width;
	result.height = part->height;
	result.pixels = arena_get(a, (size_t)part->width * (size_t)part->height, (size_t)in->channels);
	kept = arena_here(a);
	if (!result.pixels) {
		status = error_memory(err, "resized picture");
		goto done;
	}
	if (!across && !down)
		cut_out(in, part, result.pixels);
	else if (filter == VISION_NEAREST)
		TRY(nearest(a, in, (int32_t)width, (int32_t)height, backend, part, &result, err));
	if ((!across && !down) || filter == VISION_NEAREST)
		goto done;
	if (across)
		TRY(axis_plan(a, in->width, (int32_t)width, part->x, part->width, filter, backend, &xs, err));
	if (down)
		TRY(axis_plan(a, in->height, (int32_t)height, part->y, part->height, filter, backend, &ys, err));
	if (across && !vertical_first) {
		TRY(across_down(a, k, in, &xs, down ? &ys : NULL, part, result.pixels, err));
	} else {
		TRY(down_across(a, k, in, &ys, across ? &xs : NULL, part, result.pixels, err));
	}
done:
	arena_release(a, status ? start : kept);
	if (!status)
		*out = result;
	return status;
}
