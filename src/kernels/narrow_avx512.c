/*
 * narrow_avx512.c - the epilogue of packed products (narrow_end_avx512.h) and the roundings for AVX-512; see narrow.c.
 */
#include "kernels/narrow_end_avx512.h"

/* A NaN must not round to infinity. */
INLINE __m256i round_to_half(__m512 v)
{
	const __m512i half = _mm512_set1_epi32(0x7FFF), one = _mm512_set1_epi32(1), quiet = _mm512_set1_epi32(0x400000);
	__m512i u = _mm512_castps_si512(v);
	__m512i r = _mm512_add_epi32(_mm512_add_epi32(u, half), _mm512_and_si512(_mm512_srli_epi32(u, 16), one));
	r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), u, quiet);
	return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}

FINISH_ENTRY(narrow_finish_avx512, round_to_half)

/* As whole numbers the bits of |x| are in order, NaN above infinity. */
float narrow_largest_avx512(int64_t n, const float *x)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
	__m512i most = _mm512_setzero_si512(), other = most;
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		most = _mm512_max_epu32(most, _mm512_and_si512(magnitude, _mm512_loadu_si512(x + i)));
		other = _mm512_max_epu32(other, _mm512_and_si512(magnitude, _mm512_loadu_si512(x + i + 16)));
	}
	for (; i < n; i += 16)
		most = _mm512_max_epu32(most, _mm512_and_si512(magnitude, _mm512_maskz_loadu_epi32(wide_mask(n - i), x + i)));
	uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(most, other));
	return approx_float(bits < 0x7F800000u ? bits : 0x7FC00000u);
}

void narrow_to_int8_avx512(int64_t n, const float *x, float factor, uint8_t *y)
{
	const __m512 f = wide_set(factor);
	const __m128i zero = _mm_set1_epi8((char)128);
	for (int64_t i = 0; i < n; i += 16) {
		__mmask16 mask = wide_mask(n - i);
		__m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), f));
		_mm_mask_storeu_epi8(y + i, mask, _mm_xor_si128(_mm512_cvtepi32_epi8(q), zero));
	}
}

void narrow_to_bf16_avx512(int64_t n, const float *x, uint16_t *y)
{
	for (int64_t i = 0; i < n; i += 16)
		_mm256_mask_storeu_epi16(y + i, wide_mask(n - i), round_to_half(_mm512_maskz_loadu_ps(wide_mask(n - i), x + i)));
}
