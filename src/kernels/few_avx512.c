/*
 * few_avx512.c - products of fewer than 8 rows for AVX-512: dot products that read each row of B once.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx512.h"

INLINE __m256 fold(__m512 x)
{
	return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}

/* Four columns (the last ones may repeat) by up to four rows: sixteen chains of sixteen lanes. */
INLINE void few_rows(const int rows, const dtype type, const int64_t size, int64_t k, const float *a, int64_t lda,
                     const char *const b[4], __m128 out[4])
{
	__m512 acc[4][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int j = 0; j < 4; j++)
			acc[i][j] = _mm512_setzero_ps();
	for (int64_t p = 0; p < k; p += 16) {
		__m512 w[4];
		int64_t left = k - p;
		UNROLL for (int j = 0; j < 4; j++)
			w[j] = wide_widen(type, b[j] + p * size, left);
		UNROLL for (int i = 0; i < rows; i++) {
			__m512 x = wide_get(a + i * lda + p, left);
			UNROLL for (int j = 0; j < 4; j++)
				acc[i][j] = _mm512_fmadd_ps(x, w[j], acc[i][j]);
		}
	}
	UNROLL for (int i = 0; i < rows; i++) {
		__m256 s =
			_mm256_hadd_ps(_mm256_hadd_ps(fold(acc[i][0]), fold(acc[i][1])), _mm256_hadd_ps(fold(acc[i][2]), fold(acc[i][3])));
		out[i] = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
	}
}

INLINE void few_type(const dtype type, const int64_t size, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const char *b, int64_t ldb, float *c, int64_t ldc)
{
	for (int64_t j = 0; j < n; j += 4) {
		const char *four[4];
		for (int64_t l = 0; l < 4; l++)
			four[l] = b + int_min(j + l, n - 1) * ldb * size;
		for (int64_t i = 0; i < m; i += 4) {
			__m128 out[4];
			if (m - i == 1)
				few_rows(1, type, size, k, a + i * lda, lda, four, out);
			else if (m - i == 2)
				few_rows(2, type, size, k, a + i * lda, lda, four, out);
			else if (m - i == 3)
				few_rows(3, type, size, k, a + i * lda, lda, four, out);
			else
				few_rows(4, type, size, k, a + i * lda, lda, four, out);
			for (int64_t r = 0; r < int_min(4, m - i); r++)
				_mm_mask_storeu_ps(c + (i + r) * ldc + j, (__mmask8)(wide_mask(n - j) & 15), out[r]);
		}
	}
}

void gemm_few_avx512(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b,
                     int64_t ldb, float *c, int64_t ldc)
{
	if (type == DT_F32)
		few_type(DT_F32, 4, m, n, k, a, lda, b, ldb, c, ldc);
	else if (type == DT_F16)
		few_type(DT_F16, 2, m, n, k, a, lda, b, ldb, c, ldc);
	else
		few_type(DT_BF16, 2, m, n, k, a, lda, b, ldb, c, ldc);
}
