/*
 * peak_avx512bf16.c - the multiply-adds of peaks.h for bfloat16 (two a lane) and 8-bit numbers (four a lane).
 *
 * Twelve chains, as in peak_avx512.c. Operands are zeros and ones: the time does not depend on them, and nothing overflows.
 */
#include "lab/peaks.h"

#include <immintrin.h>

enum { CHAINS = 12 };

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

static float multiply_bf16(int64_t rounds, float a, float b)
{
	const __m512bh va = (__m512bh)_mm512_set1_epi32(a > 2 ? 0x3F803F80 : 0), vb = (__m512bh)_mm512_set1_epi32(b > 2 ? 0x3F803F80 : 0);
	__m512 x[CHAINS], sum = _mm512_setzero_ps();
	UNROLL for (int i = 0; i < CHAINS; i++)
		x[i] = _mm512_set1_ps((float)i);
	for (int64_t r = 0; r < rounds; r++) {
		UNROLL for (int i = 0; i < CHAINS; i++)
			x[i] = _mm512_dpbf16_ps(x[i], va, vb);
	}
	UNROLL for (int i = 0; i < CHAINS; i++)
		sum = _mm512_add_ps(sum, x[i]);
	return _mm512_cvtss_f32(sum);
}

static float multiply_int8(int64_t rounds, float a, float b)
{
	const __m512i va = _mm512_set1_epi8(a > 2), vb = _mm512_set1_epi8(b > 2);
	__m512i x[CHAINS], sum = _mm512_setzero_si512();
	UNROLL for (int i = 0; i < CHAINS; i++)
		x[i] = _mm512_set1_epi32(i);
	for (int64_t r = 0; r < rounds; r++) {
		UNROLL for (int i = 0; i < CHAINS; i++)
			x[i] = _mm512_dpbusd_epi32(x[i], va, vb);
	}
	UNROLL for (int i = 0; i < CHAINS; i++)
		sum = _mm512_add_epi32(sum, x[i]);
	return (float)_mm512_cvtsi512_si32(sum);
}

const peak_products peak_bf16_avx512bf16 = {multiply_bf16, 2.0 * 32 * CHAINS}, peak_int8_avx512bf16 = {multiply_int8, 2.0 * 64 * CHAINS};
