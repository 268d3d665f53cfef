/*
 * few.c - products of fewer than 8 rows, portable: dot products that read each row of B once.
 */
#include "kernels/entries.h"
#include "kernels/inner.h"

#include <string.h>

enum { FEW = 8 };

/* Eight partial sums, by k modulo 8, added in pairs. A stretch of a row of B is widened once for all rows of A. */
static void add_products(int64_t k, const float *x, const float *y, float sum[8])
{
	float s[8];
	int64_t p = 0;
	memcpy(s, sum, sizeof s);
	for (; p + 8 <= k; p += 8)
		for (int l = 0; l < 8; l++)
			s[l] += x[p + l] * y[p + l];
	for (; p < k; p++)
		s[p & 7] += x[p] * y[p];
	memcpy(sum, s, sizeof s);
}

void gemm_few_portable(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b, int64_t ldb,
                       float *c, int64_t ldc)
{
	enum { STRETCH = 512 };
	float sum[FEW][8], wide[STRETCH];
	for (int64_t j = 0; j < n; j++) {
		memset(sum, 0, sizeof sum);
		for (int64_t p = 0; p < k; p += STRETCH) {
			int64_t some = int_min(STRETCH, k - p);
			kernel_widen(type, some, (const char *)b + (j * ldb + p) * (int64_t)dtype_size(type), wide);
			for (int64_t i = 0; i < m; i++)
				add_products(some, a + i * lda + p, wide, sum[i]);
		}
		for (int64_t i = 0; i < m; i++) {
			const float *s = sum[i];
			c[i * ldc + j] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
		}
	}
}
