/*
 * few_avx2.c - products of fewer than 8 rows for AVX2 and FMA: dot products that read B from end to end once; see few_avx512.c.
 *
 * A row's chains: four vectors over k modulo 32, added as (0 + 1) + (2 + 3), then across. Up to three rows of A at a time; for
 * the others the row of B is in the first-level cache.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx2.h"

enum { ROWS = 3, MOST = 7, COLUMNS = 4 };

/* The sums of four vectors, in order */
INLINE __m128 sum_four(const __m256 x[COLUMNS])
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

INLINE void few_row(const int rows, const dtype type, const int64_t size, int64_t k, const float *a, int64_t lda, const char *b,
                    __m256 out[ROWS])
{
	__m256 acc[ROWS][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++)
			acc[i][v] = _mm256_setzero_ps();
	int64_t p = 0;
	for (; p + 32 <= k; p += 32)
		UNROLL for (int v = 0; v < 4; v++) {
			__m256 w = lanes_widen(type, b + (p + 8 * v) * size, 8);
			UNROLL for (int i = 0; i < rows; i++)
				acc[i][v] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i * lda + p + 8 * v), w, acc[i][v]);
		}
	UNROLL for (int v = 0; v < 4; v++) {
		int64_t left = k - p - 8 * v;
		if (left <= 0)
			break;
		__m256 w = lanes_widen(type, b + (p + 8 * v) * size, left);
		UNROLL for (int i = 0; i < rows; i++)
			acc[i][v] = _mm256_fmadd_ps(lanes_get(a + i * lda + p + 8 * v, left), w, acc[i][v]);
	}
	UNROLL for (int i = 0; i < rows; i++)
		out[i] = _mm256_add_ps(_mm256_add_ps(acc[i][0], acc[i][1]), _mm256_add_ps(acc[i][2], acc[i][3]));
}

INLINE void few_type(const dtype type, const int64_t size, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const char *b, int64_t ldb, float *c, int64_t ldc)
{
	for (int64_t j = 0; j < n; j += COLUMNS) {
		__m256 sums[MOST + ROWS][COLUMNS], out[ROWS];
		for (int64_t l = 0; l < COLUMNS; l++) {
			const char *row = b + int_min(j + l, n - 1) * ldb * size;
			for (int64_t i = 0; i < m; i += ROWS) {
				if (m - i == 1)
					few_row(1, type, size, k, a + i * lda, lda, row, out);
				else if (m - i == 2)
					few_row(2, type, size, k, a + i * lda, lda, row, out);
				else
					few_row(3, type, size, k, a + i * lda, lda, row, out);
				for (int64_t r = 0; r < int_min(ROWS, m - i); r++)
					sums[i + r][l] = out[r];
			}
		}
		for (int64_t i = 0; i < m; i++)
			_mm_maskstore_ps(c + i * ldc + j, _mm256_castsi256_si128(lanes_mask(n - j)), sum_four(sums[i]));
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
