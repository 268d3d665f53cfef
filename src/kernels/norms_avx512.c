/*
 * norms_avx512.c - norms and softmax for AVX-512; formulas as in norms.c and softmax.c.
 *
 * A row's sum is four vectors of partial sums over whole groups of 64 columns, the rest into the first, added as
 * (0 + 1) + (2 + 3): an order that depends on the width alone.
 */
#include "kernels/entries.h"
#include "kernels/lanes_avx512.h"

#include <math.h>

KERNEL_DECLARE(_avx2)
KERNEL_DECLARE(_avx512)

typedef struct {
	float mean, rstd;
} stats;

static inline float sum_four(__m512 s0, __m512 s1, __m512 s2, __m512 s3)
{
	return wide_sum(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static float row_sum(int64_t n, const float *x)
{
	__m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	int64_t i = 0;
	for (; i + 64 <= n; i += 64) {
		s0 = _mm512_add_ps(s0, _mm512_loadu_ps(x + i));
		s1 = _mm512_add_ps(s1, _mm512_loadu_ps(x + i + 16));
		s2 = _mm512_add_ps(s2, _mm512_loadu_ps(x + i + 32));
		s3 = _mm512_add_ps(s3, _mm512_loadu_ps(x + i + 48));
	}
	for (; i < n; i += 16)
		s0 = _mm512_add_ps(s0, wide_get(x + i, n - i));
	return sum_four(s0, s1, s2, s3);
}

static float row_squares(int64_t n, const float *x, float mean)
{
	const __m512 m = wide_set(mean);
	__m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	int64_t i = 0;
	for (; i + 64 <= n; i += 64) {
		__m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(x + i), m), d1 = _mm512_sub_ps(_mm512_loadu_ps(x + i + 16), m);
		__m512 d2 = _mm512_sub_ps(_mm512_loadu_ps(x + i + 32), m), d3 = _mm512_sub_ps(_mm512_loadu_ps(x + i + 48), m);
		s0 = _mm512_fmadd_ps(d0, d0, s0);
		s1 = _mm512_fmadd_ps(d1, d1, s1);
		s2 = _mm512_fmadd_ps(d2, d2, s2);
		s3 = _mm512_fmadd_ps(d3, d3, s3);
	}
	for (; i < n; i += 16) {
		__m512 d = _mm512_maskz_sub_ps(wide_mask(n - i), wide_get(x + i, n - i), m);
		s0 = _mm512_fmadd_ps(d, d, s0);
	}
	return sum_four(s0, s1, s2, s3);
}

static stats row_stats(int64_t n, const float *x, float eps, bool rms)
{
	if (!n)
		return (stats){0, 1.0f / sqrtf(eps)};
	float mean = rms ? 0 : row_sum(n, x) / (float)n;
	return (stats){mean, 1.0f / sqrtf(row_squares(n, x, mean) / (float)n + eps)};
}

void kernel_layer_norm_avx512(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, const float *b, float eps,
                              float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		stats s = row_stats(width, x, eps, false);
		const __m512 mean = wide_set(s.mean), rstd = wide_set(s.rstd);
		for (int64_t c = 0; c < width; c += 16) {
			int64_t left = width - c;
			__m512 v = _mm512_mul_ps(_mm512_sub_ps(wide_get(x + c, left), mean), rstd);
			v = w ? _mm512_mul_ps(v, wide_get(w + c, left)) : v;
			wide_put(y + c, left, b ? _mm512_add_ps(v, wide_get(b + c, left)) : v);
		}
	}
}

void kernel_rms_norm_avx512(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, float eps, float *y,
                            int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		const __m512 rstd = wide_set(row_stats(width, x, eps, true).rstd);
		for (int64_t c = 0; c < width; c += 16) {
			__m512 v = _mm512_mul_ps(wide_get(x + c, width - c), rstd);
			wide_put(y + c, width - c, w ? _mm512_mul_ps(v, wide_get(w + c, width - c)) : v);
		}
	}
}

void kernel_norm_stats_avx512(int64_t rows, int64_t width, const float *x, int64_t ldx, float eps, bool rms, float *out)
{
	for (int64_t r = 0; r < rows; r++, x += ldx) {
		stats s = row_stats(width, x, eps, rms);
		out[2 * r] = s.mean;
		out[2 * r + 1] = s.rstd;
	}
}

void kernel_norm_dx_avx512(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *st, const float *w, bool rms,
                           const float *dy, int64_t lddy, float *dx, int64_t lddx)
{
	if (!width)
		return;
	for (int64_t r = 0; r < rows; r++, x += ldx, dy += lddy, dx += lddx) {
		const __m512 mean = wide_set(st[2 * r]), rstd = wide_set(st[2 * r + 1]);
		__m512 g_sum = _mm512_setzero_ps(), gx_sum = g_sum;
		for (int64_t c = 0; c < width; c += 16) {
			int64_t left = width - c;
			__m512 g = wide_get(dy + c, left), hat = _mm512_mul_ps(_mm512_sub_ps(wide_get(x + c, left), mean), rstd);
			g = w ? _mm512_mul_ps(g, wide_get(w + c, left)) : g; /* 0 past the end */
			g_sum = _mm512_add_ps(g_sum, g);
			gx_sum = _mm512_add_ps(gx_sum, _mm512_maskz_mul_ps(wide_mask(left), g, hat));
		}
		const __m512 g_mean = wide_set(rms ? 0 : wide_sum(g_sum) / (float)width),
					 gx_mean = wide_set(wide_sum(gx_sum) / (float)width);
		for (int64_t c = 0; c < width; c += 16) {
			int64_t left = width - c;
			__m512 g = wide_get(dy + c, left), hat = _mm512_mul_ps(_mm512_sub_ps(wide_get(x + c, left), mean), rstd);
			g = w ? _mm512_mul_ps(g, wide_get(w + c, left)) : g;
			wide_put(dx + c, left, _mm512_mul_ps(rstd, _mm512_fnmadd_ps(hat, gx_mean, _mm512_sub_ps(g, g_mean))));
		}
	}
}

/* ------------------------------------------------------------------------------------------------ softmax */
static float row_max(int64_t n, const float *x)
{
	__m512 top = wide_set(-INFINITY);
	for (int64_t i = 0; i < n; i += 16) {
		__m512 v = wide_get(x + i, n - i);
		if (n - i < 16)
			v = _mm512_mask_mov_ps(wide_set(-INFINITY), wide_mask(n - i), v);
		top = _mm512_max_ps(v, top);
	}
	return wide_max(top);
}

static float exp_row(int64_t n, const float *x, float shift, float *y)
{
	const __m512 by = wide_set(shift);
	__m512 s0 = _mm512_setzero_ps(), s1 = s0;
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		__m512 e0 = wide_exp(_mm512_sub_ps(_mm512_loadu_ps(x + i), by)),
			   e1 = wide_exp(_mm512_sub_ps(_mm512_loadu_ps(x + i + 16), by));
		if (y) {
			_mm512_storeu_ps(y + i, e0);
			_mm512_storeu_ps(y + i + 16, e1);
		}
		s0 = _mm512_add_ps(s0, e0);
		s1 = _mm512_add_ps(s1, e1);
	}
	for (; i < n; i += 16) {
		__m512 e = wide_exp(_mm512_sub_ps(wide_get(x + i, n - i), by));
		if (y)
			wide_put(y + i, n - i, e);
		s0 = _mm512_mask_add_ps(s0, wide_mask(n - i), s0, e);
	}
	return wide_sum(_mm512_add_ps(s0, s1));
}

void kernel_softmax_avx512(int64_t rows, int64_t width, const float *x, int64_t ldx, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		float m = row_max(width, x);
		float sum = exp_row(width, x, m == -INFINITY ? 0 : m, y);
		if (sum != 0)
			kernel_scale_avx2(width, 1.0f / sum, y, y);
	}
}

void kernel_softmax_back_avx512(int64_t rows, int64_t width, const float *y, int64_t ldy, const float *dy, int64_t lddy,
                                float *dx, int64_t lddx)
{
	for (int64_t r = 0; r < rows; r++, y += ldy, dy += lddy, dx += lddx) {
		const __m512 sum = wide_set(kernel_dot_avx2(width, y, dy));
		for (int64_t c = 0; c < width; c += 16)
			wide_put(dx + c, width - c,
			         _mm512_mul_ps(wide_get(y + c, width - c), _mm512_sub_ps(wide_get(dy + c, width - c), sum)));
	}
}

float kernel_log_sum_exp_avx512(int64_t width, const float *x)
{
	float m = row_max(width, x);
	float sum = exp_row(width, x, m == -INFINITY ? 0 : m, NULL);
	return (float)((double)m + approx_log(sum != 0 ? (double)sum : 1));
}
