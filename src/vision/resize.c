/*
 * resize.c - see resize.h for the arithmetic.
 *
 * One inner loop does both axes: a weighted sum of byte rows. The vertical pass runs it over the picture's rows; the
 * horizontal pass turns 16 rows at a time on their side, so that what were neighbours in a row become rows:
 *
 *   band of 16 rows, interleaved          on its side: [width_in, channels, 16]       result [width_out, channels, 16]
 *   r0: RGBRGBRGB...                      x0: RRRR.. GGGG.. BBBB..                     turned back into the band
 *   r1: RGBRGBRGB...               ─►     x1: RRRR.. GGGG.. BBBB..      ─► sums ─►
 *
 * Memory: the picture between the passes, two turned bands, and the weights (about 2 * S * max(n_in, n_out) of them).
 * The sums fit 32 bits: the weights' absolute sum stays below 1.7 * 2^22 for every filter here, times 255.
 */
#include "vision/resize.h"

#include <math.h>
#include <string.h>

enum { BAND = 16, BLOCK = 64, MOST = 178956970 };

typedef struct {
	int32_t shift;
	int32_t taps;   /* room a position; at most */
	int32_t *lo;    /* [n_out] first source */
	int32_t *count; /* [n_out] */
	int32_t *q;     /* [n_out, taps] */
} axis;

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

static rebus_status axis_plan(arena *a, int32_t n_in, int32_t n_out, vision_filter filter, vision_backend backend, axis *out,
                              rebus_error *err)
{
	double scale = (double)n_in / (double)n_out, most = 0.0;
	double fs = scale < 1.0 ? 1.0 : scale;
	axis x = {.taps = (int32_t)int_min((int64_t)ceil(filters[filter].reach * fs) * 2 + 1, n_in)};
	size_t n = (size_t)n_out, taps = (size_t)x.taps, all;
	x.lo = arena_get(a, n, sizeof(*x.lo));
	x.count = arena_get(a, n, sizeof(*x.count));
	x.q = size_mul(n, taps, &all) ? arena_get(a, all, sizeof(*x.q)) : NULL;
	double *w = arena_get(a, taps, sizeof(*w));
	if (!x.lo || !x.count || !x.q || !w)
		return error_memory(err, "resize weights");
	x.shift = 22;
	if (backend == VISION_TORCHVISION) {
		for (int32_t i = 0; i < n_out; i++) {
			int32_t lo, count = position_weights(n_in, scale, i, filter, w, &lo);
			for (int32_t k = 0; k < count; k++)
				most = w[k] > most ? w[k] : most;
		}
		x.shift = torch_shift(most);
	}
	for (int32_t i = 0; i < n_out; i++) {
		x.count[i] = position_weights(n_in, scale, i, filter, w, &x.lo[i]);
		for (int32_t k = 0; k < x.count[i]; k++)
			x.q[(size_t)i * taps + (size_t)k] = (int32_t)(w[k] * (double)(1 << x.shift) + (w[k] < 0.0 ? -0.5 : 0.5));
	}
	*out = x;
	return REBUS_OK;
}

static uint8_t clip(int32_t v)
{
	return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* out[j] = clip(sum over k of q[k] * in[k * stride + j]), 0 <= j < n. The full blocks have a constant length: they vectorise. */
static void blend(const uint8_t *in, size_t stride, const int32_t *q, int32_t count, int32_t shift, size_t n, uint8_t *out)
{
	int32_t sum[BLOCK], half = 1 << (shift - 1);
	size_t j = 0;
	for (; j + BLOCK <= n; j += BLOCK) {
		for (int i = 0; i < BLOCK; i++)
			sum[i] = half;
		for (int32_t k = 0; k < count; k++) {
			const uint8_t *row = in + (size_t)k * stride + j;
			for (int i = 0; i < BLOCK; i++)
				sum[i] += q[k] * row[i];
		}
		for (int i = 0; i < BLOCK; i++)
			out[j + (size_t)i] = clip(sum[i] >> shift);
	}
	for (; j + BAND <= n; j += BAND) {
		for (int i = 0; i < BAND; i++)
			sum[i] = half;
		for (int32_t k = 0; k < count; k++) {
			const uint8_t *row = in + (size_t)k * stride + j;
			for (int i = 0; i < BAND; i++)
				sum[i] += q[k] * row[i];
		}
		for (int i = 0; i < BAND; i++)
			out[j + (size_t)i] = clip(sum[i] >> shift);
	}
	for (; j < n; j++) {
		int32_t s = half;
		for (int32_t k = 0; k < count; k++)
			s += q[k] * in[(size_t)k * stride + j];
		out[j] = clip(s >> shift);
	}
}

/* in [height_in, width] bytes -> out [height_out, width] bytes; width counts channels */
static void vertical(const uint8_t *in, size_t width, const axis *x, int32_t height_out, uint8_t *out)
{
	for (int32_t y = 0; y < height_out; y++)
		blend(in + (size_t)x->lo[y] * width, width, x->q + (size_t)y * (size_t)x->taps, x->count[y], x->shift, width,
		      out + (size_t)y * width);
}

/* in [height, width_in, channels] -> out [height, width_out, channels]; lying holds one turned band of each */
static void horizontal(const uint8_t *in, int32_t height, size_t row_in, const axis *x, size_t row_out, size_t channels,
                       uint8_t *out,
                       uint8_t *lying, uint8_t *done)
{
	size_t step = channels * BAND;
	for (int32_t y = 0; y < height; y += BAND) {
		size_t rows = (size_t)int_min(BAND, height - y);
		const uint8_t *from = in + (size_t)y * row_in;
		uint8_t *to = out + (size_t)y * row_out;
		for (size_t r = 0; r < rows; r++)
			for (size_t j = 0; j < row_in; j++)
				lying[j * BAND + r] = from[r * row_in + j];
		for (size_t i = 0; i < row_out / channels; i++)
			blend(lying + (size_t)x->lo[i] * step, step, x->q + i * (size_t)x->taps, x->count[i], x->shift, step,
			      done + i * step);
		for (size_t r = 0; r < rows; r++)
			for (size_t j = 0; j < row_out; j++)
				to[r * row_out + j] = done[j * BAND + r];
	}
}

static rebus_status across(arena *a, const picture *in, int32_t width, vision_filter filter, vision_backend backend, picture *out,
                           rebus_error *err)
{
	axis x;
	size_t c = (size_t)in->channels, row_in = (size_t)in->width * c, row_out = (size_t)width * c;
	rebus_status status = REBUS_OK;
	arena_mark here = arena_here(a);
	uint8_t *lying = arena_zero(a, row_in, BAND), *turned = arena_get(a, row_out, BAND);
	if (!lying || !turned) {
		status = error_memory(err, "resize scratch");
		goto done;
	}
	TRY(axis_plan(a, in->width, width, filter, backend, &x, err));
	horizontal(in->pixels, in->height, row_in, &x, row_out, c, out->pixels, lying, turned);
done:
	arena_release(a, here);
	return status;
}

static rebus_status down(arena *a, const picture *in, int32_t height, vision_filter filter, vision_backend backend, picture *out,
                         rebus_error *err)
{
	axis x;
	rebus_status status = REBUS_OK;
	arena_mark here = arena_here(a);
	TRY(axis_plan(a, in->height, height, filter, backend, &x, err));
	vertical(in->pixels, (size_t)in->width * (size_t)in->channels, &x, height, out->pixels);
done:
	arena_release(a, here);
	return status;
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

static rebus_status nearest(arena *a, const picture *in, picture *out, vision_backend backend, rebus_error *err)
{
	arena_mark here = arena_here(a);
	int32_t *xs = arena_get(a, (size_t)out->width, sizeof(*xs)), *ys = arena_get(a, (size_t)out->height, sizeof(*ys));
	if (!xs || !ys) {
		arena_release(a, here);
		return error_memory(err, "resize scratch");
	}
	bool small = out->width + out->height <= 128;
	nearest_axis(in->width, out->width, backend, small, xs);
	nearest_axis(in->height, out->height, backend, small, ys);
	size_t c = (size_t)in->channels;
	uint8_t *to = out->pixels;
	for (int32_t y = 0; y < out->height; y++)
		for (int32_t x = 0; x < out->width; x++, to += c)
			memcpy(to, in->pixels + ((size_t)ys[y] * (size_t)in->width + (size_t)xs[x]) * c, c);
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

rebus_status vision_resize(arena *a, const picture *in, int64_t width, int64_t height, vision_filter filter,
                           vision_backend backend,
                           picture *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	picture result = *in, between = *in;
	arena_mark start = arena_here(a), kept = start;
	bool vertical_first = backend == VISION_PIL && height < in->height && 2 * (in->width - width) < in->height - height;
	if (width == in->width && height == in->height) {
		*out = *in;
		return REBUS_OK;
	}
	TRY(check(in, width, height, filter, backend, vertical_first, err));
	result.width = (int32_t)width;
	result.height = (int32_t)height;
	size_t c = (size_t)in->channels;
	result.pixels = arena_get(a, (size_t)width * (size_t)height, c);
	kept = arena_here(a);
	if (!result.pixels) {
		status = error_memory(err, "resized picture");
		goto done;
	}
	if (filter == VISION_NEAREST) {
		TRY(nearest(a, in, &result, backend, err));
		goto done;
	}
	if (width == in->width || height == in->height) {
		TRY(height == in->height ? across(a, in, result.width, filter, backend, &result, err)
		                         : down(a, in, result.height, filter, backend, &result, err));
		goto done;
	}
	between.width = vertical_first ? in->width : result.width;
	between.height = vertical_first ? result.height : in->height;
	between.pixels = arena_get(a, (size_t)between.width * (size_t)between.height, c);
	if (!between.pixels) {
		status = error_memory(err, "picture between two resize passes");
		goto done;
	}
	if (vertical_first) {
		TRY(down(a, in, result.height, filter, backend, &between, err));
		TRY(across(a, &between, result.width, filter, backend, &result, err));
	} else {
		TRY(across(a, in, result.width, filter, backend, &between, err));
		TRY(down(a, &between, result.height, filter, backend, &result, err));
	}
done:
	arena_release(a, status ? start : kept);
	if (!status)
		*out = result;
	return status;
}
