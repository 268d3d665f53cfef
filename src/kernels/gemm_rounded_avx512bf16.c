/*
 * gemm_rounded_avx512bf16.c - rounding f32 matrices to words of two bfloat16 for gemm_rounded.c.
 *
 *   along a row   two vectors of 16 values become the 16 words of 32 values in one instruction
 *   down columns  rows p and p + 1: the same instruction gives all of p's, then all of p + 1's; a permutation pairs them
 *
 * Where words of one row are to lie side by side or one above the other, blocks of 16 x 16 words are transposed.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx512.h"

INLINE __m512 bits(__m512bh x)
{
	return _mm512_castsi512_ps((__m512i)x);
}

/* 32 values of a row, `left` of them there */
INLINE __m512 along(const float *x, int64_t left)
{
	return bits(_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(wide_mask(left - 16), x + 16), _mm512_maskz_loadu_ps(wide_mask(left), x)));
}

/* 16 columns of two rows; the second may be missing */
INLINE __m512 down(const float *x, int64_t ld, int64_t rows, __mmask16 mask)
{
	const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
	                                        22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
	__m512 low = rows > 0 ? _mm512_maskz_loadu_ps(mask, x) : _mm512_setzero_ps();
	__m512 high = rows > 1 ? _mm512_maskz_loadu_ps(mask, x + ld) : _mm512_setzero_ps();
	return _mm512_castsi512_ps(_mm512_permutexvar_epi16(turns, (__m512i)_mm512_cvtne2ps_pbh(high, low)));
}

void pairs_rows_avx512bf16(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns)
{
	const int64_t words = (k + 1) / 2;
	for (int64_t j = 0; j < columns; j += 16)
		for (int64_t w = 0; w < words; w += 16) {
			__m512 r[16];
			UNROLL for (int i = 0; i < 16; i++)
				r[i] = j + i < n ? along(b + (j + i) * ldb + 2 * w, k - 2 * w) : _mm512_setzero_ps();
			wide_transpose(r);
			UNROLL for (int i = 0; i < 16; i++)
				if (w + i < words)
					_mm512_storeu_ps(panel + (w + i) * columns + j, r[i]);
		}
}

void pairs_columns_avx512bf16(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns)
{
	for (int64_t p = 0; p < k; p += 2, b += 2 * ldb, panel += columns)
		for (int64_t j = 0; j < columns; j += 16)
			_mm512_storeu_ps(panel + j, j < n ? down(b + j, ldb, k - p, wide_mask(n - j)) : _mm512_setzero_ps());
}

/* Sixteen words of a row are written where fewer are left: the room is there. */
void pairs_turned_avx512bf16(int64_t m, int64_t k, const float *a, int64_t lda, uint32_t *to, int64_t ldto)
{
	for (int64_t w = 0; 2 * w < k; w += 16)
		for (int64_t i = 0; i < m; i += 16) {
			__m512 r[16];
			UNROLL for (int t = 0; t < 16; t++)
				r[t] = down(a + 2 * (w + t) * lda + i, lda, k - 2 * (w + t), wide_mask(m - i));
			wide_transpose(r);
			UNROLL for (int t = 0; t < 16; t++)
				if (i + t < m)
					_mm512_storeu_ps(to + (i + t) * ldto + w, r[t]);
		}
}
