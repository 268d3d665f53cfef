/*
 * attend_tile.c - the tiles of attention, portable: the definition of what a level's attend_lanes compute.
 *
 * With bf16 operands queries, keys, values and probabilities are rounded to bf16 (to nearest even) and kept as f32, so the
 * products are exact and their sums are in f32; maxima, exp and the sum of exp are those of f32 in both.
 */
#include "kernels/approx.h"
#include "kernels/attend_inner.h"

#include <math.h>

enum { COLUMNS = 16 };

static float rounded(bool bf16, float x)
{
	return bf16 ? dtype_bfloat(dtype_to_bfloat(x)) : x;
}

static void pack_queries(bool bf16, int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)
{
	for (int64_t p = 0; p < d; p++, to += COLUMNS)
		for (int64_t i = 0; i < COLUMNS; i++)
			to[i] = i < rows ? rounded(bf16, q[i * ldq + p] * scale) : 0;
}

static void pack_rows(bool bf16, int64_t n, int64_t d, const float *x, int64_t ldx, float *to)
{
	for (int64_t j = 0; j < n; j++)
		for (int64_t p = 0; p < d; p++)
			to[j * d + p] = rounded(bf16, x[j * ldx + p]);
}

static void tile(int64_t m, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, const float *alpha, float *c,
	int64_t used)
{
	(void)used;
	for (int64_t i = 0; i < m; i++, c += COLUMNS) {
		float sum[COLUMNS] = {0};
		for (int64_t p = 0; p < k; p++) {
			float x = a[i * row_step + p * k_step];
			for (int j = 0; j < COLUMNS; j++)
				sum[j] += x * b[p * COLUMNS + j];
		}
		for (int j = 0; j < COLUMNS; j++)
			c[j] = alpha ? sum[j] + c[j] * alpha[j] : sum[j];
	}
}

/* Adds the bias, blanks what is not seen, and finds the columns' maxima; NaN does not count as one. */
static void see(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *top)
{
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		for (int i = 0; i < COLUMNS; i++) {
			if (bias)
				s[i] += bias[j * COLUMNS + i] * ATTEND_LOG2E;
			if (lo && (j < lo[i] || j >= hi[i]))
				s[i] = -INFINITY;
			top[i] = s[i] > top[i] ? s[i] : top[i];
		}
}

static void softmax(bool bf16, int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l,
	float *alpha)
{
	float top[COLUMNS], shift[COLUMNS], sum[COLUMNS] = {0};
	memcpy(top, m, sizeof top);
	see(n, s, bias, lo, hi, top);
	for (int i = 0; i < COLUMNS; i++) {
		shift[i] = top[i] == -INFINITY ? 0 : top[i];
		alpha[i] = approx_exp2(m[i] - shift[i]);
	}
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		for (int i = 0; i < COLUMNS; i++) {
			float e = approx_exp2(s[i] - shift[i]);
			sum[i] += e;
			s[i] = rounded(bf16, e);
		}
	for (int i = 0; i < COLUMNS; i++)
		l[i] = l[i] * alpha[i] + sum[i];
	memcpy(m, top, sizeof top);
}

static void finish(int64_t rows, int64_t d, const float *out, const float *l, float *to, int64_t ldo)
{
	for (int64_t i = 0; i < rows; i++) {
		float factor = l[i] == 0 ? 0 : 1.0f / l[i];
		for (int64_t p = 0; p < d; p++)
			to[i * ldo + p] = l[i] == 0 ? 0 : out[p * COLUMNS + i] * factor;
	}
}

#define KIND(name, bf16)                                                                                                             \
	static void name##_queries(int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)                         \
	{                                                                                                                                \
		pack_queries(bf16, rows, d, q, ldq, scale, to);                                                                              \
	}                                                                                                                                \
	static void name##_rows(int64_t n, int64_t d, const float *x, int64_t ldx, float *to)                                            \
	{                                                                                                                                \
		pack_rows(bf16, n, d, x, ldx, to);                                                                                           \
	}                                                                                                                                \
	static void name##_softmax(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l,     \
		float *alpha, int64_t used)                                                                                                  \
	{                                                                                                                                \
		(void)used;                                                                                                                  \
		softmax(bf16, n, s, bias, lo, hi, m, l, alpha);                                                                              \
	}                                                                                                                                \
	const attend_lanes attend_##name##_portable = {.columns = COLUMNS, .step = COLUMNS, .pack = 1, .queries = name##_queries,        \
		.keys = name##_rows, .values = name##_rows, .tile = tile, .softmax = name##_softmax, .finish = finish};

KIND(f32, false)
KIND(bf16, true)
