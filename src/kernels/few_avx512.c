/*
 * few_avx512.c - products of fewer than 8 rows for AVX-512: dot products that read B from end to end once.
 *
 * B is read strictly in order, one row after the other: that is what the processor's prefetching follows. (Four rows side by
 * side read at six tenths of the memory's speed, one at all of it.) A row of C's chains: four vectors over k modulo 64, added as
 * (0 + 1) + (2 + 3), then across.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx512.h"

enum { ROWS = 7, COLUMNS = 4 };

/* One row of B by all rows of A */
INLINE void few_row(const int rows, const dtype type, const int64_t size, int64_t k, const float *a, int64_t lda, const char *b,
                    __m512 out[ROWS])
{
	__m512 acc[ROWS][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++)
			acc[i][v] = _mm512_setzero_ps();
	int64_t p = 0;
	for (; p + 64 <= k; p += 64)
		UNROLL for (int v = 0; v < 4; v++) {
			__m512 w = wide_widen(type, b + (p + 16 * v) * size, 16);
			UNROLL for (int i = 0; i < rows; i++)
				acc[i][v] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i * lda + p + 16 * v), w, acc[i][v]);
		}
	UNROLL for (int v = 0; v < 4; v++) {
		int64_t left = k - p - 16 * v;
		if (left <= 0)
			break;
		__m512 w = wide_widen(type, b + (p + 16 * v) * size, left);
		UNROLL for (int i = 0; i < rows; i++)
			acc[i][v] = _mm512_fmadd_ps(wide_get(a + i * lda + p + 16 * v, left), w, acc[i][v]);
	}
	UNROLL for (int i = 0; i < rows; i++)
		out[i] = _mm512_add_ps(_mm512_add_ps(acc[i][0], acc[i][1]), _mm512_add_ps(acc[i][2], acc[i][3]));
}

INLINE void few_rows(const int rows, const dtype type, const int64_t size, int64_t n, int64_t k, const float *a, int64_t lda,
                     const char *b, int64_t ldb, float *c, int64_t ldc)
{
	for (int64_t j = 0; j < n; j += COLUMNS) {
		__m512 sums[ROWS][COLUMNS], out[ROWS];
		for (int64_t l = 0; l < COLUMNS; l++) { /* the last ones may repeat */
			few_row(rows, type, size, k, a, lda, b + int_min(j + l, n - 1) * ldb * size, out);
			UNROLL for (int i = 0; i < rows; i++)
				sums[i][l] = out[i];
		}
		for (int i = 0; i < rows; i++)
			_mm_mask_storeu_ps(c + i * ldc + j, (__mmask8)(wide_mask(n - j) & 15), wide_sum_four(sums[i]));
	}
}

#define FEW_CASE(rows)                                        \
	case rows:                                                \
		few_rows(rows, type, size, n, k, a, lda, b, ldb, c, ldc); \
		break;

INLINE void few_type(const dtype type, const int64_t size, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const char *b, int64_t ldb, float *c, int64_t ldc)
{
	switch (m) {
		FEW_CASE(1)
		FEW_CASE(2)
		FEW_CASE(3)
		FEW_CASE(4)
		FEW_CASE(5)
		FEW_CASE(6)
		FEW_CASE(7)
	default:
		break;
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
