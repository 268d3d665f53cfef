/*
 * norms.c - portable layer norm (Ba et al. 2016), RMS norm (Zhang and Sennrich 2019), and their gradients.
 *
 *   mean = sum x / n;  var = sum (x - mean)^2 / n;  rms: mean 0, var = sum x^2 / n;  rstd = 1 / sqrt(var + eps)
 *
 * Sums are eight partial sums, by column modulo 8, added in pairs. The square root is IEEE's own, so exact.
 */
#include "kernels/entries.h"
#include "kernels/inner.h"

#include <math.h>

typedef struct {
	float mean, rstd;
} stats;

static float add_eight(const float s[8])
{
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static stats row_stats(int64_t width, const float *x, float eps, bool rms)
{
	float sum[8] = {0}, square[8] = {0}, mean = 0;
	if (!width)
		return (stats){0, 1.0f / sqrtf(eps)};
	if (!rms) {
		for (int64_t c = 0; c < width; c++)
			sum[c & 7] += x[c];
		mean = add_eight(sum) / (float)width;
	}
	for (int64_t c = 0; c < width; c++) {
		float d = x[c] - mean;
		square[c & 7] += d * d;
	}
	return (stats){mean, 1.0f / sqrtf(add_eight(square) / (float)width + eps)};
}

void kernel_layer_norm(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, const float *b, float eps,
                       float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		stats s = row_stats(width, x, eps, false);
		for (int64_t c = 0; c < width; c++) {
			float v = (x[c] - s.mean) * s.rstd;
			v = w ? v * w[c] : v;
			y[c] = b ? v + b[c] : v;
		}
	}
}

void kernel_rms_norm(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, float eps, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		stats s = row_stats(width, x, eps, true);
		for (int64_t c = 0; c < width; c++) {
			float v = x[c] * s.rstd;
			y[c] = w ? v * w[c] : v;
		}
	}
}

void kernel_norm_stats(int64_t rows, int64_t width, const float *x, int64_t ldx, float eps, bool rms, float *out)
{
	for (int64_t r = 0; r < rows; r++, x += ldx) {
		stats s = row_stats(width, x, eps, rms);
		out[2 * r] = s.mean;
		out[2 * r + 1] = s.rstd;
	}
}

void kernel_norm_dx(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *st, const float *w, bool rms,
                    const float *dy, int64_t lddy, float *dx, int64_t lddx)
{
	if (!width)
		return;
	for (int64_t r = 0; r < rows; r++, x += ldx, dy += lddy, dx += lddx) {
		float mean = st[2 * r], rstd = st[2 * r + 1], g_sum[8] = {0}, gx_sum[8] = {0};
		for (int64_t c = 0; c < width; c++) {
			float g = w ? dy[c] * w[c] : dy[c];
			g_sum[c & 7] += g;
			gx_sum[c & 7] += g * ((x[c] - mean) * rstd);
		}
		float g_mean = rms ? 0 : add_eight(g_sum) / (float)width, gx_mean = add_eight(gx_sum) / (float)width;
		for (int64_t c = 0; c < width; c++) {
			float g = w ? dy[c] * w[c] : dy[c];
			dx[c] = rstd * (g - g_mean - (x[c] - mean) * rstd * gx_mean);
		}
	}
}

void kernel_norm_dw(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, const float *st, const float *dy,
                    int64_t lddy, float *dw)
{
	for (int64_t c = c0; c < c1; c++)
		dw[c] = 0;
	for (int64_t r = 0; r < rows; r++, x += ldx, dy += lddy)
		for (int64_t c = c0; c < c1; c++)
			dw[c] += dy[c] * ((x[c] - st[2 * r]) * st[2 * r + 1]);
}
