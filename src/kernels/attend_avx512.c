/*
 * attend_avx512.c - attention for AVX-512: the tiles of attend_tile_avx512.h for f32 and for f32 rounded to bf16; and, for one
 * row alone and for the gradient, a step of the online softmax along a row of 64 scores, four vectors.
 */
#include "kernels/attend_tile_avx512.h"

ATTEND_KIND(f32, EXACT)
ATTEND_KIND(bf16, ROUNDED)
const attend_lanes attend_f32_avx512 = ATTEND_LANES(f32, 1), attend_bf16_avx512 = ATTEND_LANES(bf16, 1);

/* Bit j: column j lies in [lo, hi) */
static inline uint64_t seen_bits(int32_t lo, int32_t hi)
{
	if (lo >= hi)
		return 0;
	return (hi >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << hi) - 1) & ~(((uint64_t)1 << lo) - 1);
}

static inline __m512 score(__mmask16 mask, const float *s, const float *bias, float scale)
{
	__m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, s), wide_set(scale));
	return bias ? _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, bias)) : x;
}

void attend_softmax_avx512(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                           float *l, float *alpha)
{
	const __m512 none = wide_set(-INFINITY);
	for (int64_t r = 0; r < rows; r++, s += TILE) {
		uint64_t mask = seen_bits(lo[r], hi[r]);
		const float *b = bias ? bias + r * TILE : NULL;
		if (!mask) {
			for (int j = 0; j < TILE; j += 16)
				_mm512_storeu_ps(s + j, _mm512_setzero_ps());
			alpha[r] = 1;
			continue;
		}
		__mmask16 k0 = (__mmask16)mask, k1 = (__mmask16)(mask >> 16), k2 = (__mmask16)(mask >> 32), k3 = (__mmask16)(mask >> 48);
		__m512 x0 = _mm512_mask_mov_ps(none, k0, score(k0, s, b, scale)),
			   x1 = _mm512_mask_mov_ps(none, k1, score(k1, s + 16, b ? b + 16 : b, scale));
		__m512 x2 = _mm512_mask_mov_ps(none, k2, score(k2, s + 32, b ? b + 32 : b, scale)),
			   x3 = _mm512_mask_mov_ps(none, k3, score(k3, s + 48, b ? b + 48 : b, scale));
		__m512 top = _mm512_max_ps(x3, _mm512_max_ps(x2, _mm512_max_ps(x1, _mm512_max_ps(x0, none)))); /* skips NaN */
		float most = wide_max(top);
		most = most > m[r] ? most : m[r];
		__m512 shift = wide_set(most == -INFINITY ? 0 : most);
		x0 = wide_exp(_mm512_sub_ps(x0, shift));
		x1 = wide_exp(_mm512_sub_ps(x1, shift));
		x2 = wide_exp(_mm512_sub_ps(x2, shift));
		x3 = wide_exp(_mm512_sub_ps(x3, shift));
		_mm512_storeu_ps(s, x0);
		_mm512_storeu_ps(s + 16, x1);
		_mm512_storeu_ps(s + 32, x2);
		_mm512_storeu_ps(s + 48, x3);
		alpha[r] =
			most == m[r]
		        ? 1
		        : _mm512_cvtss_f32(wide_exp(_mm512_sub_ps(wide_set(m[r]), shift))); /* exp(0) is 1: the same bits, sooner */
		l[r] = l[r] * alpha[r] + wide_sum(_mm512_add_ps(_mm512_add_ps(x0, x1), _mm512_add_ps(x2, x3)));
		m[r] = most;
	}
}

void attend_grad_avx512(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo, const int32_t *hi,
                        const float *lse, const float *delta)
{
	for (int64_t r = 0; r < rows; r++, s += TILE, dp += TILE) {
		uint64_t mask = lse[r] == -INFINITY ? 0 : seen_bits(lo[r], hi[r]);
		for (int j = 0; j < TILE; j += 16) {
			__mmask16 k = (__mmask16)(mask >> j);
			__m512 x = _mm512_sub_ps(score(k, s + j, bias ? bias + r * TILE + j : NULL, scale), wide_set(lse[r]));
			__m512 p = _mm512_maskz_mov_ps(k, wide_exp(x));
			_mm512_storeu_ps(s + j, p);
			_mm512_storeu_ps(dp + j,
			                 _mm512_maskz_mul_ps(k, p, _mm512_sub_ps(_mm512_maskz_loadu_ps(k, dp + j), wide_set(delta[r]))));
		}
	}
}

bool attend_finite_avx512(int64_t n, const float *x)
{
	const __m512i exponent = _mm512_set1_epi32(0x7F800000);
	__mmask16 bad = 0;
	for (int64_t i = 0; i < n; i += 16)
		bad |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(wide_get(x + i, n - i)), exponent), exponent);
	return !bad;
}
