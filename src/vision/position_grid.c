/*
 * position_grid.c - see position_grid.h. Per axis, as ATen's UpSampleKernel.cpp and UpSample.h compute in float:
 *
 *   scale = n_in / n_out                                 corners aligned: (n_in - 1) / (n_out - 1), 0 for one position
 *   plain:       at = scale * (i + 0.5) - 0.5            bilinear: at least 0; corners aligned: at = scale * i
 *                j = floor(at), t = at - j in [0, 1]     sources j-1 ... j+2 (bicubic) or j, j+1, cut to the border
 *   antialiased: as resize.h's weights, in float and not rounded to integers
 *
 * ATen is compiled with contraction of a * b + c into one rounding, on processors that have it; the explicit fmaf below
 * stand where it does so. Without them a position far from 0 is off by up to 5e-7 of a cell.
 *
 * One thing is ATen's mistake, and followed (torch 2.13): the antialiased pass over rows of a table that lies plane after
 * plane, as SigLIP 2's does, takes the first output row for all of them where the result is one column wide.
 */
#include "vision/position_grid.h"

#include <math.h>

enum { SIDE = 4096, WEIGHTS = 64 << 20 };

typedef struct {
	int32_t taps;
	int32_t *from; /* [n_out, taps] */
	float *coef;   /* [n_out, taps] */
} axis;

static float near_cubic(float x, float a)
{
	return fmaf(fmaf(a + 2.0f, x, -(a + 3.0f)) * x, x, 1.0f);
}

static float far_cubic(float x, float a)
{
	return fmaf(fmaf(fmaf(a, x, -5.0f * a), x, 8.0f * a), x, -4.0f * a);
}

static float wide_filter(float x, bool cubic)
{
	x = fabsf(x);
	if (x < 1.0f)
		return cubic ? near_cubic(x, -0.5f) : 1.0f - x;
	return cubic && x < 2.0f ? far_cubic(x, -0.5f) : 0.0f;
}

static void fill_wide(const axis *x, bool cubic, int32_t n_in, int32_t n_out)
{
	float scale = (float)n_in / (float)n_out, reach = cubic ? 2.0f : 1.0f;
	float support = scale >= 1.0f ? reach * scale : reach, inverse = scale >= 1.0f ? 1.0f / scale : 1.0f;
	for (int32_t i = 0; i < n_out; i++) {
		float centre = scale * ((float)i + 0.5f), sum = 0.0f;
		int64_t lo = int_max((int64_t)(centre - support + 0.5f), 0);
		int64_t count = int_min((int64_t)(centre + support + 0.5f), n_in) - lo;
		int32_t *from = x->from + (size_t)i * (size_t)x->taps;
		float *coef = x->coef + (size_t)i * (size_t)x->taps;
		for (int32_t k = 0; k < x->taps; k++) {
			from[k] = (int32_t)int_min(lo + k, n_in - 1);
			coef[k] = k < count ? wide_filter(((float)(k + lo) - centre + 0.5f) * inverse, cubic) : 0.0f;
			sum += coef[k];
		}
		for (int32_t k = 0; k < x->taps && sum != 0.0f; k++)
			coef[k] /= sum;
	}
}

static void fill_plain(const axis *x, grid_method method, int32_t n_in, int32_t n_out)
{
	bool cubic = method == GRID_BICUBIC, ends = method == GRID_BILINEAR_ENDS;
	float scale = ends ? (n_out > 1 ? (float)(n_in - 1) / (float)(n_out - 1) : 0.0f) : (float)n_in / (float)n_out;
	for (int32_t i = 0; i < n_out; i++) {
		float at = ends ? scale * (float)i : fmaf(scale, (float)i + 0.5f, -0.5f);
		if (!cubic && at < 0.0f)
			at = 0.0f;
		int32_t j = (int32_t)int_min((int64_t)floorf(at), n_in - 1);
		float t = fminf(fmaxf(at - (float)j, 0.0f), 1.0f);
		int32_t *from = x->from + (size_t)i * (size_t)x->taps;
		float *coef = x->coef + (size_t)i * (size_t)x->taps;
		for (int32_t k = 0; k < x->taps; k++)
			from[k] = (int32_t)int_max(int_min(j + k - (cubic ? 1 : 0), n_in - 1), 0);
		if (cubic) {
			const float a = -0.75f;
			coef[0] = far_cubic(t + 1.0f, a);
			coef[1] = near_cubic(t, a);
			coef[2] = near_cubic(1.0f - t, a);
			coef[3] = far_cubic(2.0f - t, a);
		} else {
			coef[0] = 1.0f - t;
			coef[1] = t;
		}
	}
}

static rebus_status axis_plan(arena *a, grid_method method, int32_t n_in, int32_t n_out, axis *out, rebus_error *err)
{
	bool wide = method == GRID_BICUBIC_WIDE || method == GRID_BILINEAR_WIDE;
	bool cubic = method == GRID_BICUBIC || method == GRID_BICUBIC_WIDE;
	axis x = {.taps = method == GRID_NONE ? 1 : cubic ? 4 : 2};
	if (wide) {
		float scale = (float)n_in / (float)n_out;
		float support = (cubic ? 2.0f : 1.0f) * (scale >= 1.0f ? scale : 1.0f);
		x.taps = (int32_t)int_min((int64_t)ceilf(support) * 2 + 1, n_in);
	}
	x.from = arena_get(a, (size_t)n_out * (size_t)x.taps, sizeof(*x.from));
	x.coef = arena_get(a, (size_t)n_out * (size_t)x.taps, sizeof(*x.coef));
	if (!x.from || !x.coef)
		return error_memory(err, "position grid");
	if (wide) {
		fill_wide(&x, cubic, n_in, n_out);
	} else if (method == GRID_NONE) {
		for (int32_t i = 0; i < n_out; i++) {
			x.from[i] = i;
			x.coef[i] = 1.0f;
		}
	} else {
		fill_plain(&x, method, n_in, n_out);
	}
	*out = x;
	return REBUS_OK;
}

static void multiply(const axis *ys, const axis *xs, grid_size from, grid_size to, const grid_taps *out)
{
	int32_t *source = out->from;
	float *coef = out->coef;
	for (int32_t y = 0; y < to.height; y++)
		for (int32_t x = 0; x < to.width; x++)
			for (int32_t i = 0; i < ys->taps; i++)
				for (int32_t j = 0; j < xs->taps; j++) {
					size_t at_y = (size_t)y * (size_t)ys->taps + (size_t)i, at_x = (size_t)x * (size_t)xs->taps + (size_t)j;
					*source++ = ys->from[at_y] * from.width + xs->from[at_x];
					*coef++ = ys->coef[at_y] * xs->coef[at_x];
				}
}

static void repeat_first_row(const axis *ys, int32_t rows)
{
	for (int32_t i = 1; i < rows; i++)
		for (int32_t k = 0; k < ys->taps; k++) {
			ys->from[(size_t)i * (size_t)ys->taps + (size_t)k] = ys->from[k];
			ys->coef[(size_t)i * (size_t)ys->taps + (size_t)k] = ys->coef[k];
		}
}

static rebus_status check(grid_method method, grid_size from, grid_size to, rebus_error *err)
{
	if (from.height < 1 || from.width < 1 || to.height < 1 || to.width < 1)
		return error_set(err, REBUS_SHAPE, "position grid: %d x %d to %d x %d, expected at least 1 x 1", (int)from.height,
		                 (int)from.width, (int)to.height, (int)to.width);
	if (from.height > SIDE || from.width > SIDE || to.height > SIDE || to.width > SIDE)
		return error_set(err, REBUS_LIMIT, "position grid: %d x %d to %d x %d, more than %d a side", (int)from.height,
		                 (int)from.width,
		                 (int)to.height, (int)to.width, (int)SIDE);
	if (method == GRID_NONE && (from.height != to.height || from.width != to.width))
		return error_set(err, REBUS_SHAPE, "position grid: %d x %d, want %d x %d, and these positions are not interpolated",
		                 (int)from.height, (int)from.width, (int)to.height, (int)to.width);
	return REBUS_OK;
}

rebus_status vision_grid_taps(arena *a, grid_method method, grid_size from, grid_size to, grid_taps *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	axis ys, xs;
	grid_taps g = {0};
	TRY(check(method, from, to, err));
	arena_mark start = arena_here(a);
	arena scratch;
	arena_init(&scratch, a->from, 0);
	status = axis_plan(&scratch, method, from.height, to.height, &ys, err);
	if (!status)
		status = axis_plan(&scratch, method, from.width, to.width, &xs, err);
	if (!status && method == GRID_BILINEAR_WIDE && to.width == 1 && to.height != from.height)
		repeat_first_row(&ys, to.height);
	if (!status) {
		size_t cells = (size_t)to.height * (size_t)to.width, taps = (size_t)ys.taps * (size_t)xs.taps;
		if (taps > WEIGHTS / cells) {
			status = error_set(err, REBUS_LIMIT, "position grid: %zu cells of %zu weights, more than %d in all", cells, taps,
			                   (int)WEIGHTS);
		} else {
			g = (grid_taps){.cells = (int32_t)cells, .taps = (int32_t)taps};
			g.from = arena_get(a, cells * taps, sizeof(*g.from));
			g.coef = arena_get(a, cells * taps, sizeof(*g.coef));
			if (!g.from || !g.coef)
				status = error_memory(err, "position grid");
		}
	}
	if (!status) {
		multiply(&ys, &xs, from, to, &g);
		*out = g;
	} else {
		arena_release(a, start);
	}
	arena_free(&scratch);
done:
	return status;
}
