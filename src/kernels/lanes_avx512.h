/*
 * lanes_avx512.h - sixteen floats at a time; see lanes_avx2.h. Only files compiled for AVX-512 F, BW, VL and DQ may include
 * this. Masked-out lanes are neither read nor written and hold 0.
 */
#ifndef REBUS_LANES_AVX512_H
#define REBUS_LANES_AVX512_H

#include "kernels/approx.h"

#include <immintrin.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

static inline __mmask16 wide_mask(int64_t left)
{
	return (__mmask16)(left >= 16 ? 0xFFFFu : left <= 0 ? 0u : (1u << left) - 1);
}

static inline __m512 wide_get(const float *p, int64_t left)
{
	return left >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(wide_mask(left), p);
}

static inline void wide_put(float *p, int64_t left, __m512 x)
{
	if (left >= 16)
		_mm512_storeu_ps(p, x);
	else
		_mm512_mask_storeu_ps(p, wide_mask(left), x);
}

static inline __m512 wide_set(float x)
{
	return _mm512_set1_ps(x);
}

/* Our own order, not the compiler's reduction */
static inline float wide_sum(__m512 x)
{
	__m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline __m256 wide_fold(__m512 x)
{
	return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}

/* The sums of four vectors, in order */
static inline __m128 wide_sum_four(const __m512 x[4])
{
	__m256 s = _mm256_hadd_ps(_mm256_hadd_ps(wide_fold(x[0]), wide_fold(x[1])), _mm256_hadd_ps(wide_fold(x[2]), wide_fold(x[3])));
	return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

static inline float wide_max(__m512 x)
{
	__m256 h = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* min and max give their second operand if one is NaN, so a NaN passes. */
static inline __m512 wide_clamp(__m512 x, float low, float high)
{
	return _mm512_min_ps(wide_set(high), _mm512_max_ps(wide_set(low), x));
}

static inline __m512 wide_exp(__m512 x)
{
	x = wide_clamp(x, EXP_LOW, EXP_HIGH);
	__m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, wide_set(EXP_LOG2E), wide_set(EXP_ROUND)), wide_set(EXP_ROUND));
	__m512 r = _mm512_fnmadd_ps(n, wide_set(EXP_LN2_LOW), _mm512_fnmadd_ps(n, wide_set(EXP_LN2_HIGH), x));
	__m512 p = _mm512_fmadd_ps(r, wide_set(EXP_6), wide_set(EXP_5));
	p = _mm512_fmadd_ps(p, r, wide_set(EXP_4));
	p = _mm512_fmadd_ps(p, r, wide_set(EXP_3));
	p = _mm512_fmadd_ps(p, r, wide_set(EXP_2));
	p = _mm512_add_ps(wide_set(1), _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, r));
	return _mm512_scalef_ps(p, n);
}

static inline __m512 wide_abs(__m512 x)
{
	return _mm512_abs_ps(x);
}

static inline __m512 wide_sign(__m512 magnitude, __m512 x)
{
	return _mm512_or_ps(magnitude, _mm512_and_ps(wide_set(-0.0f), x));
}

static inline __m512 wide_erf(__m512 x)
{
	__m512 t = wide_abs(x), s = _mm512_mul_ps(x, x);
	__m512 p = _mm512_fmadd_ps(s, wide_set(ERF_11), wide_set(ERF_9));
	p = _mm512_fmadd_ps(p, s, wide_set(ERF_7));
	p = _mm512_fmadd_ps(p, s, wide_set(ERF_5));
	p = _mm512_fmadd_ps(p, s, wide_set(ERF_3));
	p = _mm512_fmadd_ps(p, s, wide_set(ERF_1));
	__m512 near = _mm512_fmadd_ps(p, x, x);
	__mmask16 small = _mm512_cmp_ps_mask(t, wide_set(ERF_SPLIT), _CMP_LT_OQ);
	t = _mm512_min_ps(wide_set(ERFC_TOP), t);
	__m512 q = _mm512_fmadd_ps(t, wide_set(ERFC_5), wide_set(ERFC_4));
	q = _mm512_fmadd_ps(q, t, wide_set(ERFC_3));
	q = _mm512_fmadd_ps(q, t, wide_set(ERFC_2));
	q = _mm512_fmadd_ps(q, t, wide_set(ERFC_1));
	q = _mm512_fmadd_ps(q, t, wide_set(ERFC_0));
	q = wide_exp(_mm512_mul_ps(q, _mm512_sub_ps(_mm512_setzero_ps(), t)));
	return _mm512_mask_mov_ps(wide_sign(_mm512_sub_ps(wide_set(1), q), x), small, near);
}

static inline __m512 wide_tanh(__m512 x)
{
	__m512 t = wide_abs(x), s = _mm512_mul_ps(x, x);
	__m512 p = _mm512_fmadd_ps(s, wide_set(TANH_11), wide_set(TANH_9));
	p = _mm512_fmadd_ps(p, s, wide_set(TANH_7));
	p = _mm512_fmadd_ps(p, s, wide_set(TANH_5));
	p = _mm512_fmadd_ps(p, s, wide_set(TANH_3));
	__m512 near = _mm512_fmadd_ps(_mm512_mul_ps(p, s), x, x);
	__mmask16 small = _mm512_cmp_ps_mask(t, wide_set(TANH_SPLIT), _CMP_LT_OQ);
	__m512 e = _mm512_add_ps(wide_exp(_mm512_add_ps(t, t)), wide_set(1));
	__m512 far = wide_sign(_mm512_sub_ps(wide_set(1), _mm512_div_ps(wide_set(2), e)), x);
	return _mm512_mask_mov_ps(far, small, near);
}

static inline __m512 wide_sigmoid(__m512 x)
{
	__m512 e = wide_exp(_mm512_sub_ps(_mm512_setzero_ps(), x));
	return _mm512_div_ps(wide_set(1), _mm512_add_ps(wide_set(1), e));
}

/* Up to sixteen elements of a type, widened */
static inline __m512 wide_widen(dtype type, const void *p, int64_t left)
{
	if (type == DT_F32)
		return wide_get(p, left);
	__m256i half = left >= 16 ? _mm256_loadu_si256(p) : _mm256_maskz_loadu_epi16(wide_mask(left), p);
	if (type == DT_F16)
		return _mm512_cvtph_ps(half);
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* r[i] lane j := r[j] lane i */
INLINE void wide_transpose(__m512 r[16])
{
	__m512 t[16];
	UNROLL for (int i = 0; i < 16; i += 2) { /* pairs of rows, then fours, within each 128 bits */
		t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
	}
	UNROLL for (int i = 0; i < 16; i += 4) {
		r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
		r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
	}
	UNROLL for (int i = 0; i < 4; i++) { /* r[4 g + i] holds columns i, 4 + i, 8 + i, 12 + i of rows 4 g ... 4 g + 3 */
		t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xDD);
		t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xDD);
	}
	UNROLL for (int i = 0; i < 4; i++) {
		r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
		r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
		r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xDD);
		r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xDD);
	}
}

#endif
