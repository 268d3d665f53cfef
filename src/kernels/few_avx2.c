/*
 * few_avx2.c - products of fewer than 8 rows for AVX2 and FMA: dot products that read each row of B once.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx2.h"

/* The sums of four vectors, in order */
INLINE __m128 sum_four(__m256 a, __m256 b, __m256 c, __m256 d)
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Four columns (the last ones may repeat) by up to three rows: twelve chains of eight lanes. */
INLINE void few_rows(const int rows, const dtype type, const int64_t size, int64_t k, const float *a, int64_t lda,
                     const char *const b[4], __m128 out[3])
{
	__m256 acc[3][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int j = 0; j < 4; j++)
			acc[i][j] = _mm256_setzero_ps();
	int64_t p = 0;
	for (; p + 8 <= k; p += 8) {
		__m256 w[4];
		UNROLL for (int j = 0; j < 4; j++)
			w[j] = lanes_widen(type, b[j] + p * size, 8);
		UNROLL for (int i = 0; i < rows; i++) {
			__m256 x = _mm256_loadu_ps(a + i * lda + p);
			UNROLL for (int j = 0; j < 4; j++)
				acc[i][j] = _mm256_fmadd_ps(x, w[j], acc[i][j]);
		}
	}
	if (p < k) {
		UNROLL for (int j = 0; j < 4; j++) {
			__m256 w = lanes_widen(type, b[j] + p * size, k - p);
			UNROLL for (int i = 0; i < rows; i++)
				acc[i][j] = _mm256_fmadd_ps(lanes_get(a + i * lda + p, k - p), w, acc[i][j]);
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		out[i] = sum_four(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
}

INLINE void few_type(const dtype type, const int64_t size, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const char *b, int64_t ldb, float *c, int64_t ldc)
{
	for (int64_t j = 0; j < n; j += 4) {
		const char *four[4];
		for (int64_t l = 0; l < 4; l++)
			four[l] = b + int_min(j + l, n - 1) * ldb * size;
		for (int64_t i = 0; i < m; i += 3) {
			__m128 out[3];
			if (m - i == 1)
				few_rows(1, type, size, k, a + i * lda, lda, four, out);
			else if (m - i == 2)
				few_rows(2, type, size, k, a + i * lda, lda, four, out);
			else
				few_rows(3, type, size, k, a + i * lda, lda, four, out);
			for (int64_t r = 0; r < int_min(3, m - i); r++)
				_mm_maskstore_ps(c + (i + r) * ldc + j, _mm256_castsi256_si128(lanes_mask(n - j)), out[r]);
		}
	}
}

void gemm_few_avx2(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b,
                     int64_t ldb, float *c, int64_t ldc)
{
	if (type == DT_F32)
		few_type(DT_F32, 4, m, n, k, a, lda, b, ldb, c, ldc);
	else if (type == DT_F16)
		few_type(DT_F16, 2, m, n, k, a, lda, b, ldb, c, ldc);
	else
		few_type(DT_BF16, 2, m, n, k, a, lda, b, ldb, c, ldc);
}
