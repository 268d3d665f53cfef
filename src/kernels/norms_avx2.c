/*
 * norms_avx2.c - norms and softmax for AVX2; formulas as in norms.c and softmax.c.
 *
 * A row's sum is four vectors of partial sums over whole groups of 32 columns, the rest into the first, added as
 * (0 + 1) + (2 + 3): an order that depends on the width alone.
 */
#include "kernels/entries.h"
#include "kernels/lanes_avx2.h"

#include <math.h>

KERNEL_DECLARE(_avx2)

static inline float sum_four(const __m256 s[4])
{
	return lanes_sum(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
}

static float row_sum(int64_t n, const float *x)
{
	__m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		s[0] = _mm256_add_ps(s[0], _mm256_loadu_ps(x + i));
		s[1] = _mm256_add_ps(s[1], _mm256_loadu_ps(x + i + 8));
		s[2] = _mm256_add_ps(s[2], _mm256_loadu_ps(x + i + 16));
		s[3] = _mm256_add_ps(s[3], _mm256_loadu_ps(x + i + 24));
	}
	for (; i < n; i += 8)
		s[0] = _mm256_add_ps(s[0], lanes_get(x + i, n - i));
	return sum_four(s);
}

static float row_squares(int64_t n, const float *x, float mean)
{
	const __m256 m = lanes_set(mean);
	__m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		__m256 d0 = _mm256_sub_ps(_mm256_loadu_ps(x + i), m), d1 = _mm256_sub_ps(_mm256_loadu_ps(x + i + 8), m);
		__m256 d2 = _mm256_sub_ps(_mm256_loadu_ps(x + i + 16), m), d3 = _mm256_sub_ps(_mm256_loadu_ps(x + i + 24), m);
		s[0] = _mm256_fmadd_ps(d0, d0, s[0]);
		s[1] = _mm256_fmadd_ps(d1, d1, s[1]);
		s[2] = _mm256_fmadd_ps(d2, d2, s[2]);
		s[3] = _mm256_fmadd_ps(d3, d3, s[3]);
	}
	for (; i < n; i += 8) {
		__m256 d = lanes_keep(_mm256_sub_ps(lanes_get(x + i, n - i), m), n - i);
		s[0] = _mm256_fmadd_ps(d, d, s[0]);
	}
	return sum_four(s);
}

typedef struct {
	float mean, rstd;
} stats;

static stats row_stats(int64_t n, const float *x, float eps, bool rms)
{
	if (!n)
		return (stats){0, 1.0f / sqrtf(eps)};
	float mean = rms ? 0 : row_sum(n, x) / (float)n;
	return (stats){mean, 1.0f / sqrtf(row_squares(n, x, mean) / (float)n + eps)};
}

void kernel_layer_norm_avx2(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, const float *b, float eps,
                            float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		stats s = row_stats(width, x, eps, false);
		const __m256 mean = lanes_set(s.mean), rstd = lanes_set(s.rstd);
		for (int64_t c = 0; c < width; c += 8) {
			int64_t left = width - c;
			__m256 v = _mm256_mul_ps(_mm256_sub_ps(lanes_get(x + c, left), mean), rstd);
			v = w ? _mm256_mul_ps(v, lanes_get(w + c, left)) : v;
			lanes_put(y + c, left, b ? _mm256_add_ps(v, lanes_get(b + c, left)) : v);
		}
	}
}

void kernel_rms_norm_avx2(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, float eps, float *y,
                          int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		const __m256 rstd = lanes_set(row_stats(width, x, eps, true).rstd);
		for (int64_t c = 0; c < width; c += 8) {
			__m256 v = _mm256_mul_ps(lanes_get(x + c, width - c), rstd);
			lanes_put(y + c, width - c, w ? _mm256_mul_ps(v, lanes_get(w + c, width - c)) : v);
		}
	}
}

void kernel_norm_stats_avx2(int64_t rows, int64_t width, const float *x, int64_t ldx, float eps, bool rms, float *out)
{
	for (int64_t r = 0; r < rows; r++, x += ldx) {
		stats s = row_stats(width, x, eps, rms);
		out[2 * r] = s.mean;
		out[2 * r + 1] = s.rstd;
	}
}

void kernel_norm_dx_avx2(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *st, const float *w, bool rms,
                         const float *dy, int64_t lddy, float *dx, int64_t lddx)
{
	if (!width)
		return;
	for (int64_t r = 0; r < rows; r++, x += ldx, dy += lddy, dx += lddx) {
		const __m256 mean = lanes_set(st[2 * r]), rstd = lanes_set(st[2 * r + 1]);
		__m256 g_sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, gx_sum[2] = {g_sum[0], g_sum[0]};
		for (int64_t c = 0; c < width; c += 8) {
			int64_t left = width - c, odd = c >> 3 & 1;
			__m256 g = lanes_get(dy + c, left), hat = _mm256_mul_ps(_mm256_sub_ps(lanes_get(x + c, left), mean), rstd);
			g = w ? _mm256_mul_ps(g, lanes_get(w + c, left)) : g; /* 0 past the end, and so is its product */
			g_sum[odd] = _mm256_add_ps(g_sum[odd], g);
			gx_sum[odd] = _mm256_fmadd_ps(g, lanes_keep(hat, left), gx_sum[odd]);
		}
		const __m256 g_mean = lanes_set(rms ? 0 : lanes_sum(_mm256_add_ps(g_sum[0], g_sum[1])) / (float)width);
		const __m256 gx_mean = lanes_set(lanes_sum(_mm256_add_ps(gx_sum[0], gx_sum[1])) / (float)width);
		for (int64_t c = 0; c < width; c += 8) {
			int64_t left = width - c;
			__m256 g = lanes_get(dy + c, left), hat = _mm256_mul_ps(_mm256_sub_ps(lanes_get(x + c, left), mean), rstd);
			g = w ? _mm256_mul_ps(g, lanes_get(w + c, left)) : g;
			lanes_put(dx + c, left, _mm256_mul_ps(rstd, _mm256_fnmadd_ps(hat, gx_mean, _mm256_sub_ps(g, g_mean))));
		}
	}
}

void kernel_norm_dw_avx2(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, const float *st, const float *dy,
                         int64_t lddy, float *dw)
{
	for (int64_t c = c0; c < c1; c += 32) { /* a cache line or two of each row, all rows, then the next */
		int64_t end = c + 32 < c1 ? c + 32 : c1;
		__m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
		for (int64_t r = 0; r < rows; r++) {
			const __m256 mean = lanes_set(st[2 * r]), rstd = lanes_set(st[2 * r + 1]);
			for (int64_t i = c; i < end; i += 8) {
				__m256 hat = _mm256_mul_ps(_mm256_sub_ps(lanes_get(x + r * ldx + i, end - i), mean), rstd);
				s[(i - c) >> 3] = _mm256_fmadd_ps(lanes_get(dy + r * lddy + i, end - i), hat, s[(i - c) >> 3]);
			}
		}
		for (int64_t i = c; i < end; i += 8)
			lanes_put(dw + i, end - i, s[(i - c) >> 3]);
	}
}

/* ------------------------------------------------------------------------------------------------ softmax */
static float row_max(int64_t n, const float *x)
{
	__m256 top = lanes_set(-INFINITY);
	for (int64_t i = 0; i < n; i += 8) {
		__m256 v = lanes_get(x + i, n - i);
		if (n - i < 8)
			v = _mm256_blendv_ps(lanes_set(-INFINITY), v, _mm256_castsi256_ps(lanes_mask(n - i)));
		top = _mm256_max_ps(v, top);
	}
	return lanes_max(top);
}

static float exp_row(int64_t n, const float *x, float shift, float *y)
{
	const __m256 by = lanes_set(shift);
	__m256 s0 = _mm256_setzero_ps(), s1 = s0;
	int64_t i = 0;
	for (; i + 16 <= n; i += 16) {
		__m256 e0 = lanes_exp(_mm256_sub_ps(_mm256_loadu_ps(x + i), by)),
			   e1 = lanes_exp(_mm256_sub_ps(_mm256_loadu_ps(x + i + 8), by));
		if (y) {
			_mm256_storeu_ps(y + i, e0);
			_mm256_storeu_ps(y + i + 8, e1);
		}
		s0 = _mm256_add_ps(s0, e0);
		s1 = _mm256_add_ps(s1, e1);
	}
	for (; i < n; i += 8) {
		__m256 e = lanes_exp(_mm256_sub_ps(lanes_get(x + i, n - i), by));
		if (y)
			lanes_put(y + i, n - i, e);
		s0 = _mm256_add_ps(s0, lanes_keep(e, n - i));
	}
	return lanes_sum(_mm256_add_ps(s0, s1));
}

void kernel_softmax_avx2(int64_t rows, int64_t width, const float *x, int64_t ldx, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		float m = row_max(width, x);
		float sum = exp_row(width, x, m == -INFINITY ? 0 : m, y);
		if (sum != 0)
			kernel_scale_avx2(width, 1.0f / sum, y, y);
	}
}

void kernel_softmax_back_avx2(int64_t rows, int64_t width, const float *y, int64_t ldy, const float *dy, int64_t lddy, float *dx,
                              int64_t lddx)
{
	for (int64_t r = 0; r < rows; r++, y += ldy, dy += lddy, dx += lddx) {
		const __m256 sum = lanes_set(kernel_dot_avx2(width, y, dy));
		for (int64_t c = 0; c < width; c += 8)
			lanes_put(dx + c, width - c,
			          _mm256_mul_ps(lanes_get(y + c, width - c), _mm256_sub_ps(lanes_get(dy + c, width - c), sum)));
	}
}

float kernel_log_sum_exp_avx2(int64_t width, const float *x)
{
	float m = row_max(width, x);
	float sum = exp_row(width, x, m == -INFINITY ? 0 : m, NULL);
	return (float)((double)m + approx_log(sum != 0 ? (double)sum : 1));
}
