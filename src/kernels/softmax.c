/*
 * softmax.c - portable softmax, its gradient, and the loops over a tile of attention scores.
 *
 *   y = exp(x - max) / sum exp(x - max);  dx = y (dy - sum dy y);  log sum exp = max + log sum exp(x - max)
 *
 * The online softmax (Milakov and Gimelshein 2018, as in FlashAttention): going from maximum m to m' rescales what was
 * summed by alpha = exp(m - m'). Sums run over the whole tile with zeros where a row does not see, so they do not depend
 * on where the tile was cut.
 *
 * A maximum skips NaN, but exp(NaN - m) is NaN and reaches the sum, so a NaN score always shows in the result.
 */
#include "kernels/approx.h"
#include "kernels/entries.h"
#include "kernels/inner.h"

#include <math.h>

static float row_max(int64_t n, const float *x)
{
	float m = -INFINITY;
	for (int64_t i = 0; i < n; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

/* y = exp(x - shift); the sum of eight partial sums, by column modulo 8 */
static float exp_row(int64_t n, const float *x, float shift, float *y)
{
	float sum[8] = {0};
	for (int64_t i = 0; i < n; i++) {
		float e = approx_exp(x[i] - shift);
		if (y)
			y[i] = e;
		sum[i & 7] += e;
	}
	return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

void kernel_softmax(int64_t rows, int64_t width, const float *x, int64_t ldx, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		float m = row_max(width, x);
		float sum = exp_row(width, x, m == -INFINITY ? 0 : m, y);
		if (sum != 0)
			kernel_scale(width, 1.0f / sum, y, y);
	}
}

void kernel_softmax_back(int64_t rows, int64_t width, const float *y, int64_t ldy, const float *dy, int64_t lddy, float *dx,
                         int64_t lddx)
{
	for (int64_t r = 0; r < rows; r++, y += ldy, dy += lddy, dx += lddx) {
		float sum = kernel_dot(width, y, dy);
		for (int64_t c = 0; c < width; c++)
			dx[c] = y[c] * (dy[c] - sum);
	}
}

float kernel_log_sum_exp(int64_t width, const float *x)
{
	float m = row_max(width, x);
	float sum = exp_row(width, x, m == -INFINITY ? 0 : m, NULL);
	return (float)((double)m + approx_log(sum != 0 ? (double)sum : 1));
}

void softmax_tile_portable(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                           float *l, float *alpha)
{
	for (int64_t r = 0; r < rows; r++, s += TILE) {
		alpha[r] = 1;
		if (lo[r] < hi[r]) {
			for (int32_t j = lo[r]; j < hi[r]; j++)
				s[j] = s[j] * scale + (bias ? bias[r * TILE + j] : 0);
			float top = row_max(hi[r] - lo[r], s + lo[r]);
			top = top > m[r] ? top : m[r];
			float shift = top == -INFINITY ? 0 : top, sum[8] = {0};
			for (int32_t j = lo[r]; j < hi[r]; j++) {
				s[j] = approx_exp(s[j] - shift);
				sum[j & 7] += s[j];
			}
			alpha[r] = approx_exp(m[r] - shift);
			l[r] = l[r] * alpha[r] + (((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])));
			m[r] = top;
		}
		for (int32_t j = 0; j < lo[r]; j++)
			s[j] = 0;
		for (int32_t j = hi[r]; j < TILE; j++)
			s[j] = 0;
	}
}

void softmax_grad_portable(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo,
                           const int32_t *hi, const float *lse, const float *delta)
{
	for (int64_t r = 0; r < rows; r++, s += TILE, dp += TILE) {
		bool none = lse[r] == -INFINITY;
		for (int32_t j = 0; j < TILE; j++) {
			bool seen = j >= lo[r] && j < hi[r] && !none;
			s[j] = seen ? approx_exp(s[j] * scale + (bias ? bias[r * TILE + j] : 0) - lse[r]) : 0;
			dp[j] = seen ? s[j] * (dp[j] - delta[r]) : 0;
		}
	}
}

bool softmax_finite_portable(int64_t n, const float *x)
{
	bool bad = false;
	for (int64_t i = 0; i < n; i++)
		bad |= (approx_bits(x[i]) & 0x7F800000u) == 0x7F800000u;
	return !bad;
}
