/*
 * attend_avx2.c - a step of the online softmax over a tile of 64 columns, and of its gradient; eight vectors a row.
 */
#include "kernels/inner.h"
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
