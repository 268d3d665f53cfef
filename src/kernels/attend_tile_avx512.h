/*
 * attend_tile_avx512.h - the tiles of attention for AVX-512, for three kinds of operands: f32; f32 rounded to bf16; pairs of
 * bf16, where the processor multiplies them (the file that includes this is compiled for it).
 *
 *            q 0 ... 15  q 16 ... 31     28 accumulators, 2 vectors of the panel, 1 broadcast word: 31 of 32 registers.
 *   row 0  │   c0 0    │   c0 1    │     Rows are shared out evenly over as few register tiles as hold them, so that none
 *   ..     │           │           │     is left with too few chains to hide the adds' latency. A last panel of up to 16
 *   row 13 │   c13 0   │   c13 1   │     queries takes one vector.
 */
#ifndef REBUS_ATTEND_TILE_AVX512_H
#define REBUS_ATTEND_TILE_AVX512_H

#include "kernels/attend_inner.h"
#include "kernels/lanes_avx512.h"

#include <math.h>

enum { TILE_ROWS = 14, COLUMNS = 32 };
typedef enum { EXACT, ROUNDED, PAIRS } operands;

/* ------------------------------------------------------------------------------------------------ products */
INLINE __m512 multiply(const operands of, __m512 sum, __m512 x, __m512 y)
{
#ifdef __AVX512BF16__
	if (of == PAIRS)
		return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(x), (__m512bh)_mm512_castps_si512(y));
#endif
	(void)of;
	return _mm512_fmadd_ps(x, y, sum);
}

typedef struct {
	const float *a;
	int64_t row_step, k_step, k;
	const float *b, *alpha;
	float *c;
} tile_call;

/* rows and vectors are constants. Row i of A is i % 3 steps from one of five pointers: x86 addresses reach two steps. */
INLINE void tile_rows(const operands of, const int rows, const int vectors, const tile_call *t)
{
	__m512 acc[TILE_ROWS][2];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i][0] = acc[i][1] = _mm512_setzero_ps();
	const int64_t step = t->row_step, k_step = t->k_step;
	const float *a0 = t->a, *a3 = a0 + 3 * step, *a6 = a3 + 3 * step, *a9 = a6 + 3 * step, *a12 = a9 + 3 * step, *b = t->b;
	for (int64_t p = t->k; p > 0; p--) {
		__m512 b0 = _mm512_loadu_ps(b), b1 = vectors > 1 ? _mm512_loadu_ps(b + 16) : b0;
		UNROLL for (int i = 0; i < rows; i++) {
			const float *from = i < 3 ? a0 : i < 6 ? a3 : i < 9 ? a6 : i < 12 ? a9 : a12;
			__m512 x = _mm512_set1_ps(from[(i % 3) * step]);
			acc[i][0] = multiply(of, acc[i][0], x, b0);
			if (vectors > 1)
				acc[i][1] = multiply(of, acc[i][1], x, b1);
		}
		a0 += k_step;
		a3 += k_step;
		a6 += k_step;
		a9 += k_step;
		a12 += k_step;
		b += COLUMNS;
	}
	UNROLL for (int v = 0; v < vectors; v++) {
		float *c = t->c + 16 * v;
		if (t->alpha) {
			const __m512 alpha = _mm512_loadu_ps(t->alpha + 16 * v);
			UNROLL for (int i = 0; i < rows; i++)
				acc[i][v] = _mm512_fmadd_ps(_mm512_loadu_ps(c + i * COLUMNS), alpha, acc[i][v]);
		}
		UNROLL for (int i = 0; i < rows; i++)
			_mm512_storeu_ps(c + i * COLUMNS, acc[i][v]);
	}
}

#define TILE_CASE(n)                \
	case n:                         \
		if (wide)                   \
			tile_rows(of, n, 2, t); \
		else                        \
			tile_rows(of, n, 1, t); \
		break;

INLINE void tile_part(const operands of, int64_t rows, bool wide, const tile_call *t)
{
	switch (rows) {
		TILE_CASE(1)
		TILE_CASE(2)
		TILE_CASE(3)
		TILE_CASE(4)
		TILE_CASE(5)
		TILE_CASE(6)
		TILE_CASE(7)
		TILE_CASE(8)
		TILE_CASE(9)
		TILE_CASE(10)
		TILE_CASE(11)
		TILE_CASE(12)
		TILE_CASE(13)
	default:
		if (wide)
			tile_rows(of, TILE_ROWS, 2, t);
		else
			tile_rows(of, TILE_ROWS, 1, t);
	}
}

INLINE void tile_all(const operands of, int64_t m, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b,
	const float *alpha, float *c, int64_t used)
{
	for (int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS, i = 0; tiles > 0; tiles--) {
		int64_t rows = (m - i + tiles - 1) / tiles;
		tile_call t = {a + i * row_step, row_step, k_step, k, b, alpha, c + i * COLUMNS};
		tile_part(of, rows, used > 16, &t);
		i += rows;
	}
}

/* ------------------------------------------------------------------------------------------------ packing */
INLINE __m512 round_operand(const operands of, __m512 x)
{
	if (of == EXACT)
		return x;
	__m512i u = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
	__m512i r = _mm512_and_si512(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), _mm512_set1_epi32((int)0xFFFF0000));
	__m512i quiet = _mm512_and_si512(_mm512_or_si512(u, _mm512_set1_epi32(0x00400000)), _mm512_set1_epi32((int)0xFFFF0000));
	return _mm512_castsi512_ps(_mm512_mask_mov_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet));
}

#ifdef __AVX512BF16__
/* 32 values: sixteen words of neighbours */
INLINE __m512 pairs_along(__m512 x0, __m512 x1)
{
	return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(x1, x0));
}

/* sixteen words (low[i], high[i]) */
INLINE __m512 pairs_of(__m512 low, __m512 high)
{
	const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
		3, 18, 2, 17, 1, 16, 0);
	return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low)));
}
#else
INLINE __m512 pairs_along(__m512 x0, __m512 x1)
{
	(void)x1;
	return x0;
}

INLINE __m512 pairs_of(__m512 low, __m512 high)
{
	(void)high;
	return low;
}
#endif

INLINE __m512 get_or_zero(const float *p, int64_t left)
{
	return left > 0 ? wide_get(p, left) : _mm512_setzero_ps();
}

/* Words p ... p + 15 of a row of d values */
INLINE __m512 words_at(const operands of, const float *x, int64_t p, int64_t d, float scale)
{
	const __m512 by = wide_set(scale);
	if (of != PAIRS)
		return round_operand(of, _mm512_mul_ps(get_or_zero(x + p, d - p), by));
	return pairs_along(_mm512_mul_ps(get_or_zero(x + 2 * p, d - 2 * p), by), _mm512_mul_ps(get_or_zero(x + 2 * p + 16, d - 2 * p - 16), by));
}

INLINE void pack_queries(const operands of, int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)
{
	const int64_t words = of == PAIRS ? (d + 1) / 2 : d;
	for (int64_t i0 = 0; i0 < COLUMNS; i0 += 16)
		for (int64_t p = 0; p < words; p += 16) {
			__m512 r[16];
			for (int i = 0; i < 16; i++)
				r[i] = i0 + i < rows ? words_at(of, q + (i0 + i) * ldq, p, d, scale) : _mm512_setzero_ps();
			wide_transpose(r);
			UNROLL for (int i = 0; i < 16; i++)
				if (p + i < words)
					_mm512_storeu_ps(to + (p + i) * COLUMNS + i0, r[i]);
		}
}

INLINE void fetch_rows(int64_t n, int64_t d, const float *x, int64_t ldx)
{
	for (int64_t j = 0; j < n; j++, x += ldx)
		for (int64_t p = 0; p < d; p += 16)
			_mm_prefetch((const char *)(x + p), _MM_HINT_T1);
}

INLINE void pack_keys(const operands of, int64_t n, int64_t d, const float *k, int64_t ldk, float *to)
{
	const int64_t words = of == PAIRS ? (d + 1) / 2 : d;
	for (int64_t j = 0; j < n; j++, k += ldk, to += words)
		for (int64_t p = 0; p < words; p += 16)
			wide_put(to + p, words - p, words_at(of, k, p, d, 1));
}

INLINE void pack_values(const operands of, int64_t n, int64_t d, const float *v, int64_t ldv, float *to)
{
	if (of != PAIRS) {
		pack_keys(of, n, d, v, ldv, to);
		return;
	}
	for (int64_t j = 0; j < n; j += 2, v += 2 * ldv, to += d)
		for (int64_t p = 0; p < d; p += 16)
			wide_put(to + p, d - p, pairs_of(wide_get(v + p, d - p), j + 1 < n ? wide_get(v + ldv + p, d - p) : _mm512_setzero_ps()));
}

/* ------------------------------------------------------------------------------------------------ softmax */
/* 2^x; scalef takes the whole part itself, and reduce leaves 0 of an infinity */
INLINE __m512 exp2_of(__m512 x)
{
	__m512 r = _mm512_reduce_ps(x, 1); /* x - floor(x) */
	__m512 p = _mm512_fmadd_ps(r, wide_set(EXP2_5), wide_set(EXP2_4));
	p = _mm512_fmadd_ps(p, r, wide_set(EXP2_3));
	p = _mm512_fmadd_ps(p, r, wide_set(EXP2_2));
	p = _mm512_fmadd_ps(p, r, wide_set(EXP2_1));
	return _mm512_scalef_ps(_mm512_fmadd_ps(p, r, wide_set(1)), x);
}

INLINE __mmask16 seen(const int32_t *lo, const int32_t *hi, int64_t j)
{
	const __m512i at = _mm512_set1_epi32((int32_t)j);
	return _mm512_cmple_epi32_mask(_mm512_loadu_si512(lo), at) & _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(hi), at);
}

/* Adds the bias, blanks what is not seen, and finds the columns' maxima; NaN does not count as one. */
INLINE void see(const int vectors, int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, __m512 top[2])
{
	if (!bias && !lo) {
		for (int64_t j = 0; j < n; j++, s += COLUMNS)
			UNROLL for (int v = 0; v < vectors; v++)
				top[v] = _mm512_max_ps(_mm512_loadu_ps(s + 16 * v), top[v]);
		return;
	}
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		UNROLL for (int v = 0; v < vectors; v++) {
			__m512 x = _mm512_loadu_ps(s + 16 * v);
			if (bias)
				x = _mm512_fmadd_ps(_mm512_loadu_ps(bias + j * COLUMNS + 16 * v), wide_set(ATTEND_LOG2E), x);
			if (lo)
				x = _mm512_mask_mov_ps(wide_set(-INFINITY), seen(lo + 16 * v, hi + 16 * v, j), x);
			top[v] = _mm512_max_ps(x, top[v]);
			_mm512_storeu_ps(s + 16 * v, x);
		}
}

INLINE void softmax_columns(const operands of, const int vectors, int64_t n, float *s, const float *bias, const int32_t *lo,
	const int32_t *hi, float *m, float *l, float *alpha)
{
	__m512 top[2], shift[2], sum[2];
	UNROLL for (int v = 0; v < vectors; v++)
		top[v] = _mm512_loadu_ps(m + 16 * v);
	see(vectors, n, s, bias, lo, hi, top);
	UNROLL for (int v = 0; v < vectors; v++) {
		shift[v] = _mm512_mask_mov_ps(top[v], _mm512_cmp_ps_mask(top[v], wide_set(-INFINITY), _CMP_EQ_OQ), _mm512_setzero_ps());
		_mm512_storeu_ps(alpha + 16 * v, exp2_of(_mm512_sub_ps(_mm512_loadu_ps(m + 16 * v), shift[v])));
		_mm512_storeu_ps(m + 16 * v, top[v]);
		sum[v] = _mm512_setzero_ps();
	}
	float *to = s;
	const int64_t step = of == PAIRS ? 2 : 1;
	for (int64_t j = 0; j < n; j += step, s += step * COLUMNS, to += COLUMNS)
		UNROLL for (int v = 0; v < vectors; v++) {
			__m512 e = exp2_of(_mm512_sub_ps(_mm512_loadu_ps(s + 16 * v), shift[v])), word = round_operand(of == ROUNDED ? ROUNDED : EXACT, e);
			sum[v] = _mm512_add_ps(sum[v], e);
			if (of == PAIRS) {
				__m512 next = _mm512_setzero_ps();
				if (j + 1 < n)
					next = exp2_of(_mm512_sub_ps(_mm512_loadu_ps(s + COLUMNS + 16 * v), shift[v]));
				sum[v] = _mm512_add_ps(sum[v], next);
				word = pairs_of(e, next);
			}
			_mm512_storeu_ps(to + 16 * v, word);
		}
	UNROLL for (int v = 0; v < vectors; v++)
		_mm512_storeu_ps(l + 16 * v, _mm512_fmadd_ps(_mm512_loadu_ps(l + 16 * v), _mm512_loadu_ps(alpha + 16 * v), sum[v]));
}

INLINE void softmax_all(const operands of, int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
	float *l, float *alpha, int64_t used)
{
	if (used > 16)
		softmax_columns(of, 2, n, s, bias, lo, hi, m, l, alpha);
	else
		softmax_columns(of, 1, n, s, bias, lo, hi, m, l, alpha);
}

INLINE void finish_columns(int64_t rows, int64_t d, const float *out, const float *l, float *to, int64_t ldo)
{
	for (int64_t i0 = 0; i0 < rows; i0 += 16) {
		const __m512 sum = wide_get(l + i0, rows - i0);
		const __mmask16 some = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_NEQ_UQ);
		const __m512 factor = _mm512_maskz_div_ps(some, wide_set(1), sum);
		for (int64_t p = 0; p < d; p += 16) {
			__m512 r[16];
			for (int i = 0; i < 16; i++)
				r[i] = p + i < d ? _mm512_maskz_mul_ps(some, _mm512_loadu_ps(out + (p + i) * COLUMNS + i0), factor) : _mm512_setzero_ps();
			wide_transpose(r);
			UNROLL for (int i = 0; i < 16; i++)
				if (i0 + i < rows)
					wide_put(to + (i0 + i) * ldo + p, d - p, r[i]);
		}
	}
}

#define ATTEND_KIND(name, of)                                                                                                        \
	static void name##_queries(int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)                         \
	{                                                                                                                                \
		pack_queries(of, rows, d, q, ldq, scale, to);                                                                                \
	}                                                                                                                                \
	static void name##_fetch(int64_t n, int64_t d, const float *x, int64_t ldx)                                                      \
	{                                                                                                                                \
		fetch_rows(n, d, x, ldx);                                                                                                    \
	}                                                                                                                                \
	static void name##_keys(int64_t n, int64_t d, const float *k, int64_t ldk, float *to)                                            \
	{                                                                                                                                \
		pack_keys(of, n, d, k, ldk, to);                                                                                             \
	}                                                                                                                                \
	static void name##_values(int64_t n, int64_t d, const float *v, int64_t ldv, float *to)                                          \
	{                                                                                                                                \
		pack_values(of, n, d, v, ldv, to);                                                                                           \
	}                                                                                                                                \
	static void name##_tile(int64_t m, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b,                  \
		const float *alpha, float *c, int64_t used)                                                                                  \
	{                                                                                                                                \
		tile_all(of, m, k, a, row_step, k_step, b, alpha, c, used);                                                                  \
	}                                                                                                                                \
	static void name##_softmax(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l,     \
		float *alpha, int64_t used)                                                                                                  \
	{                                                                                                                                \
		softmax_all(of, n, s, bias, lo, hi, m, l, alpha, used);                                                                      \
	}                                                                                                                                \
	static void name##_finish(int64_t rows, int64_t d, const float *out, const float *l, float *to, int64_t ldo)                     \
	{                                                                                                                                \
		finish_columns(rows, d, out, l, to, ldo);                                                                                    \
	}

#define ATTEND_LANES(name, words)                                                                                                    \
	{                                                                                                                                \
		.columns = COLUMNS, .step = 16, .pack = words, .queries = name##_queries, .fetch = name##_fetch, .keys = name##_keys,        \
		.values = name##_values, .tile = name##_tile, .softmax = name##_softmax, .finish = name##_finish                                                      \
	}

#endif
