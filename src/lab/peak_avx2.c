/*
 * peak_avx2.c - the loops of peaks.h at the AVX2 level.
 *
 * 12 chains of multiply-adds hide a latency of four cycles at two a cycle, and leave registers for the operands; eight sums do the
 * same for reading.
 */
#include "lab/peaks.h"

#include <immintrin.h>

static float sum_of(__m256 x)
{
	float lane[8], sum = 0;
	_mm256_storeu_ps(lane, x);
	for (int i = 0; i < 8; i++)
		sum += lane[i];
	return sum;
}

static float multiply(int64_t rounds, float a, float b)
{
	const __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b);
	__m256 x0 = _mm256_set1_ps(0.0f), x1 = _mm256_set1_ps(1.0f), x2 = _mm256_set1_ps(2.0f), x3 = _mm256_set1_ps(3.0f);
	__m256 x4 = _mm256_set1_ps(4.0f), x5 = _mm256_set1_ps(5.0f), x6 = _mm256_set1_ps(6.0f), x7 = _mm256_set1_ps(7.0f);
	__m256 x8 = _mm256_set1_ps(8.0f), x9 = _mm256_set1_ps(9.0f), x10 = _mm256_set1_ps(10.0f), x11 = _mm256_set1_ps(11.0f);
	for (int64_t r = 0; r < rounds; r++) {
		x0 = _mm256_fmadd_ps(x0, va, vb);
		x1 = _mm256_fmadd_ps(x1, va, vb);
		x2 = _mm256_fmadd_ps(x2, va, vb);
		x3 = _mm256_fmadd_ps(x3, va, vb);
		x4 = _mm256_fmadd_ps(x4, va, vb);
		x5 = _mm256_fmadd_ps(x5, va, vb);
		x6 = _mm256_fmadd_ps(x6, va, vb);
		x7 = _mm256_fmadd_ps(x7, va, vb);
		x8 = _mm256_fmadd_ps(x8, va, vb);
		x9 = _mm256_fmadd_ps(x9, va, vb);
		x10 = _mm256_fmadd_ps(x10, va, vb);
		x11 = _mm256_fmadd_ps(x11, va, vb);
	}
	__m256 sum = x0;
	sum = _mm256_add_ps(sum, x1);
	sum = _mm256_add_ps(sum, x2);
	sum = _mm256_add_ps(sum, x3);
	sum = _mm256_add_ps(sum, x4);
	sum = _mm256_add_ps(sum, x5);
	sum = _mm256_add_ps(sum, x6);
	sum = _mm256_add_ps(sum, x7);
	sum = _mm256_add_ps(sum, x8);
	sum = _mm256_add_ps(sum, x9);
	sum = _mm256_add_ps(sum, x10);
	sum = _mm256_add_ps(sum, x11);
	return sum_of(sum);
}

static float read_all(const float *x, size_t count)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
	for (size_t i = 0; i < count; i += 8 * 8) {
		s0 = _mm256_add_ps(s0, _mm256_loadu_ps(x + i + 0));
		s1 = _mm256_add_ps(s1, _mm256_loadu_ps(x + i + 8));
		s2 = _mm256_add_ps(s2, _mm256_loadu_ps(x + i + 16));
		s3 = _mm256_add_ps(s3, _mm256_loadu_ps(x + i + 24));
		s4 = _mm256_add_ps(s4, _mm256_loadu_ps(x + i + 32));
		s5 = _mm256_add_ps(s5, _mm256_loadu_ps(x + i + 40));
		s6 = _mm256_add_ps(s6, _mm256_loadu_ps(x + i + 48));
		s7 = _mm256_add_ps(s7, _mm256_loadu_ps(x + i + 56));
	}
	s0 = _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3));
	s4 = _mm256_add_ps(_mm256_add_ps(s4, s5), _mm256_add_ps(s6, s7));
	return sum_of(_mm256_add_ps(s0, s4));
}

const peak_loops peak_avx2 = {{multiply, 2.0 * 8 * 12}, read_all};
