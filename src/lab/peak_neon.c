/*
 * peak_neon.c - the loops of peaks.h at the NEON level: 16 chains of multiply-adds (a latency of four cycles at up to four a
 * cycle), eight sums for reading.
 */
#include "lab/peaks.h"

#include <arm_neon.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
enum { CHAINS = 16, SUMS = 8 };

static float multiply(int64_t rounds, float a, float b)
{
	const float32x4_t va = vdupq_n_f32(a), vb = vdupq_n_f32(b);
	float32x4_t x[CHAINS], sum = vdupq_n_f32(0);
	UNROLL for (int i = 0; i < CHAINS; i++)
		x[i] = vdupq_n_f32((float)i);
	for (int64_t r = 0; r < rounds; r++)
		UNROLL for (int i = 0; i < CHAINS; i++)
			x[i] = vfmaq_f32(vb, x[i], va);
	UNROLL for (int i = 0; i < CHAINS; i++)
		sum = vaddq_f32(sum, x[i]);
	return vaddvq_f32(sum);
}

static float read_all(const float *x, size_t count)
{
	float32x4_t s[SUMS], sum = vdupq_n_f32(0);
	UNROLL for (int i = 0; i < SUMS; i++)
		s[i] = vdupq_n_f32(0);
	for (size_t at = 0; at < count; at += 4 * SUMS)
		UNROLL for (int i = 0; i < SUMS; i++)
			s[i] = vaddq_f32(s[i], vld1q_f32(x + at + 4 * (size_t)i));
	UNROLL for (int i = 0; i < SUMS; i++)
		sum = vaddq_f32(sum, s[i]);
	return vaddvq_f32(sum);
}

const peak_loops peak_neon = {{multiply, 2.0 * 4 * CHAINS}, read_all};
