/*
 * attend_avx2.c - attention for AVX2: the tiles of attend_inner.h for f32 and for f32 rounded to bf16; and, for one row alone
 * and for the gradient, a step of the online softmax along a row of 64 scores, eight vectors.
 */
#include "kernels/attend_inner.h"
#include "kernels/lanes_avx2.h"

#include <math.h>

/* Which of columns j ... j + 7 lie in [lo, hi) */
static inline __m256 seen(int32_t j, int32_t lo, int32_t hi)
{
	__m256i at = _mm256_add_epi32(_mm256_set1_epi32(j), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
	__m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(lo), at);
	return _mm256_castsi256_ps(_mm256_andnot_si256(below, _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), at)));
}

static inline __m256 score(const float *s, const float *bias, float scale)
{
	__m256 x = _mm256_mul_ps(_mm256_loadu_ps(s), lanes_set(scale));
	return bias ? _mm256_add_ps(x, _mm256_loadu_ps(bias)) : x;
}

void attend_softmax_avx2(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                         float *l, float *alpha)
{
	for (int64_t r = 0; r < rows; r++, s += TILE) {
		if (lo[r] >= hi[r]) {
			for (int j = 0; j < TILE; j += 8)
				_mm256_storeu_ps(s + j, _mm256_setzero_ps());
			alpha[r] = 1;
			continue;
		}
		__m256 top = lanes_set(-INFINITY), sum = _mm256_setzero_ps();
		for (int j = 0; j < TILE; j += 8) {
			__m256 x = score(s + j, bias ? bias + r * TILE + j : NULL, scale);
			x = _mm256_blendv_ps(lanes_set(-INFINITY), x, seen(j, lo[r], hi[r]));
			top = _mm256_max_ps(x, top); /* a NaN gives the second: it is skipped */
			_mm256_storeu_ps(s + j, x);
		}
		float most = lanes_max(top);
		most = most > m[r] ? most : m[r];
		__m256 shift = lanes_set(most == -INFINITY ? 0 : most);
		for (int j = 0; j < TILE; j += 8) {
			__m256 e = lanes_exp(_mm256_sub_ps(_mm256_loadu_ps(s + j), shift));
			_mm256_storeu_ps(s + j, e);
			sum = _mm256_add_ps(sum, e);
		}
		alpha[r] =
			most == m[r]
		        ? 1
		        : _mm256_cvtss_f32(lanes_exp(_mm256_sub_ps(lanes_set(m[r]), shift))); /* exp(0) is 1: the same bits, sooner */
		l[r] = l[r] * alpha[r] + lanes_sum(sum);
		m[r] = most;
	}
}

void attend_grad_avx2(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo, const int32_t *hi,
                      const float *lse, const float *delta)
{
	for (int64_t r = 0; r < rows; r++, s += TILE, dp += TILE) {
		int32_t end = lse[r] == -INFINITY ? lo[r] : hi[r];
		for (int j = 0; j < TILE; j += 8) {
			__m256 x = _mm256_sub_ps(score(s + j, bias ? bias + r * TILE + j : NULL, scale), lanes_set(lse[r])),
				   mask = seen(j, lo[r], end);
			__m256 p = _mm256_and_ps(lanes_exp(x), mask);
			__m256 g = _mm256_mul_ps(p, _mm256_sub_ps(_mm256_loadu_ps(dp + j), lanes_set(delta[r])));
			_mm256_storeu_ps(s + j, p);
			_mm256_storeu_ps(dp + j, _mm256_and_ps(g, mask));
		}
	}
}

bool attend_finite_avx2(int64_t n, const float *x)
{
	const __m256i exponent = _mm256_set1_epi32(0x7F800000);
	__m256i bad = _mm256_setzero_si256();
	for (int64_t i = 0; i < n; i += 8) {
		__m256i bits = _mm256_and_si256(_mm256_castps_si256(lanes_get(x + i, n - i)), exponent);
		bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(bits, exponent));
	}
	return _mm256_testz_si256(bad, bad);
}

/* ------------------------------------------------------------------------------------------------ tiles of columns */
enum { TILE_ROWS = 6, COLUMNS = 16 };

typedef struct {
	const float *a;
	int64_t row_step, k_step, k;
	const float *b, *alpha;
	float *c;
} tile_call;

/* rows is a constant: 12 accumulators, two vectors of the panel, a broadcast value: 15 of the 16 registers */
INLINE void tile_rows(const int rows, const tile_call *t)
{
	__m256 acc[TILE_ROWS][2];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i][0] = acc[i][1] = _mm256_setzero_ps();
	const int64_t step = t->row_step;
	const float *a0 = t->a, *a3 = a0 + 3 * step, *b = t->b;
	for (int64_t p = t->k; p > 0; p--, a0 += t->k_step, a3 += t->k_step, b += COLUMNS) {
		__m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
		UNROLL for (int i = 0; i < rows; i++) {
			__m256 x = _mm256_broadcast_ss((i < 3 ? a0 : a3) + (i % 3) * step);
			acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
			acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 2; v++) {
			float *c = t->c + i * COLUMNS + 8 * v;
			if (t->alpha)
				acc[i][v] = _mm256_fmadd_ps(_mm256_loadu_ps(c), _mm256_loadu_ps(t->alpha + 8 * v), acc[i][v]);
			_mm256_storeu_ps(c, acc[i][v]);
		}
}

/* Rows are shared out evenly, so that no register tile is left with too few chains. */
static void tile(int64_t m, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, const float *alpha, float *c,
	int64_t used)
{
	(void)used;
	for (int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS, i = 0; tiles > 0; tiles--) {
		int64_t rows = (m - i + tiles - 1) / tiles;
		tile_call t = {a + i * row_step, row_step, k_step, k, b, alpha, c + i * COLUMNS};
		switch (rows) {
		case 1:
			tile_rows(1, &t);
			break;
		case 2:
			tile_rows(2, &t);
			break;
		case 3:
			tile_rows(3, &t);
			break;
		case 4:
			tile_rows(4, &t);
			break;
		case 5:
			tile_rows(5, &t);
			break;
		default:
			tile_rows(TILE_ROWS, &t);
		}
		i += rows;
	}
}

/* To bf16 and back, to nearest even; NaN stays one */
INLINE __m256 round_operand(const bool bf16, __m256 x)
{
	if (!bf16)
		return x;
	const __m256i high = _mm256_set1_epi32((int)0xFFFF0000);
	__m256i u = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
	__m256i r = _mm256_and_si256(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), high);
	__m256i quiet = _mm256_and_si256(_mm256_or_si256(u, _mm256_set1_epi32(0x00400000)), high);
	return _mm256_blendv_ps(_mm256_castsi256_ps(r), _mm256_castsi256_ps(quiet), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

INLINE void pack_queries(const bool bf16, int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)
{
	for (int64_t i0 = 0; i0 < COLUMNS; i0 += 8)
		for (int64_t p = 0; p < d; p += 8) {
			__m256 r[8];
			for (int i = 0; i < 8; i++) {
				r[i] = i0 + i < rows ? _mm256_mul_ps(lanes_get(q + (i0 + i) * ldq + p, d - p), lanes_set(scale)) : _mm256_setzero_ps();
				r[i] = round_operand(bf16, r[i]);
			}
			lanes_transpose(r);
			UNROLL for (int i = 0; i < 8; i++)
				if (p + i < d)
					_mm256_storeu_ps(to + (p + i) * COLUMNS + i0, r[i]);
		}
}

INLINE void pack_rows(const bool bf16, int64_t n, int64_t d, const float *x, int64_t ldx, float *to)
{
	for (int64_t j = 0; j < n; j++, x += ldx, to += d)
		for (int64_t p = 0; p < d; p += 8)
			lanes_put(to + p, d - p, round_operand(bf16, lanes_get(x + p, d - p)));
}

/* 2^x, the whole part added to the exponent in two halves, so that results go smoothly to 0 */
INLINE __m256 exp2_of(__m256 x)
{
	x = _mm256_max_ps(lanes_set(EXP2_LOW), x);
	__m256 n = _mm256_floor_ps(x), r = _mm256_sub_ps(x, n);
	__m256 p = _mm256_fmadd_ps(r, lanes_set(EXP2_5), lanes_set(EXP2_4));
	p = _mm256_fmadd_ps(p, r, lanes_set(EXP2_3));
	p = _mm256_fmadd_ps(p, r, lanes_set(EXP2_2));
	p = _mm256_fmadd_ps(p, r, lanes_set(EXP2_1));
	p = _mm256_fmadd_ps(p, r, lanes_set(1));
	__m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
	const __m256i bias = _mm256_set1_epi32(127);
	__m256 by_half = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
	__m256 by_rest = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
	return _mm256_mul_ps(_mm256_mul_ps(p, by_half), by_rest);
}

/* Adds the bias, blanks what is not seen, and finds the columns' maxima; NaN does not count as one. */
INLINE void see(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, __m256 top[2])
{
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		UNROLL for (int v = 0; v < 2; v++) {
			__m256 x = _mm256_loadu_ps(s + 8 * v);
			if (bias)
				x = _mm256_fmadd_ps(_mm256_loadu_ps(bias + j * COLUMNS + 8 * v), lanes_set(ATTEND_LOG2E), x);
			if (lo) {
				const __m256i at = _mm256_set1_epi32((int32_t)j);
				__m256i before = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(lo + 8 * v)), at);
				__m256i seen_here = _mm256_andnot_si256(before, _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(hi + 8 * v)), at));
				x = _mm256_blendv_ps(lanes_set(-INFINITY), x, _mm256_castsi256_ps(seen_here));
			}
			top[v] = _mm256_max_ps(x, top[v]);
			if (bias || lo)
				_mm256_storeu_ps(s + 8 * v, x);
		}
}

INLINE void softmax_columns(const bool bf16, int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
	float *l, float *alpha)
{
	__m256 top[2], shift[2], sum[2];
	UNROLL for (int v = 0; v < 2; v++)
		top[v] = _mm256_loadu_ps(m + 8 * v);
	see(n, s, bias, lo, hi, top);
	UNROLL for (int v = 0; v < 2; v++) {
		shift[v] = _mm256_andnot_ps(_mm256_cmp_ps(top[v], lanes_set(-INFINITY), _CMP_EQ_OQ), top[v]);
		_mm256_storeu_ps(alpha + 8 * v, exp2_of(_mm256_sub_ps(_mm256_loadu_ps(m + 8 * v), shift[v])));
		_mm256_storeu_ps(m + 8 * v, top[v]);
		sum[v] = _mm256_setzero_ps();
	}
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		UNROLL for (int v = 0; v < 2; v++) {
			__m256 e = exp2_of(_mm256_sub_ps(_mm256_loadu_ps(s + 8 * v), shift[v]));
			sum[v] = _mm256_add_ps(sum[v], e);
			_mm256_storeu_ps(s + 8 * v, round_operand(bf16, e));
		}
	UNROLL for (int v = 0; v < 2; v++)
		_mm256_storeu_ps(l + 8 * v, _mm256_fmadd_ps(_mm256_loadu_ps(l + 8 * v), _mm256_loadu_ps(alpha + 8 * v), sum[v]));
}

static void finish(int64_t rows, int64_t d, const float *out, const float *l, float *to, int64_t ldo)
{
	for (int64_t i0 = 0; i0 < rows; i0 += 8) {
		const __m256 sum = lanes_get(l + i0, rows - i0), some = _mm256_cmp_ps(sum, _mm256_setzero_ps(), _CMP_NEQ_UQ);
		const __m256 factor = _mm256_and_ps(some, _mm256_div_ps(lanes_set(1), sum));
		for (int64_t p = 0; p < d; p += 8) {
			__m256 r[8];
			for (int i = 0; i < 8; i++)
				r[i] = p + i < d ? _mm256_and_ps(some, _mm256_mul_ps(_mm256_loadu_ps(out + (p + i) * COLUMNS + i0), factor)) : _mm256_setzero_ps();
			lanes_transpose(r);
			UNROLL for (int i = 0; i < 8; i++)
				if (i0 + i < rows)
					lanes_put(to + (i0 + i) * ldo + p, d - p, r[i]);
		}
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
		softmax_columns(bf16, n, s, bias, lo, hi, m, l, alpha);                                                                      \
	}                                                                                                                                \
	const attend_lanes attend_##name##_avx2 = {.columns = COLUMNS, .step = COLUMNS, .pack = 1, .queries = name##_queries,            \
		.keys = name##_rows, .values = name##_rows, .tile = tile, .softmax = name##_softmax, .finish = finish};

KIND(f32, false)
KIND(bf16, true)
