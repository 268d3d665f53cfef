/*
 * lanes_avx2.h - eight floats at a time: loads with tails, sums in a fixed order, exp, erf, tanh (see approx.h).
 *
 * Only files compiled for AVX2 and FMA may include this. `left` is how many values remain, 1 or more; lanes past it are
 * neither read nor written and hold 0.
 */
#ifndef REBUS_LANES_AVX2_H
#define REBUS_LANES_AVX2_H

#include "kernels/approx.h"

#include <immintrin.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

static inline __m256i lanes_mask(int64_t left)
{
	const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(left < 8 ? (int)left : 8), iota);
}

static inline __m256 lanes_get(const float *p, int64_t left)
{
	return left >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lanes_mask(left));
}

static inline void lanes_put(float *p, int64_t left, __m256 x)
{
	if (left >= 8)
		_mm256_storeu_ps(p, x);
	else
		_mm256_maskstore_ps(p, lanes_mask(left), x);
}

/* x in the lanes that are left, 0 in the others */
static inline __m256 lanes_keep(__m256 x, int64_t left)
{
	return left >= 8 ? x : _mm256_and_ps(x, _mm256_castsi256_ps(lanes_mask(left)));
}

static inline float lanes_sum(__m256 x)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float lanes_max(__m256 x)
{
	__m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
	s = _mm_max_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline __m256 lanes_set(float x)
{
	return _mm256_set1_ps(x);
}

/* min and max give their second operand if one is NaN, so a NaN passes. */
static inline __m256 lanes_clamp(__m256 x, float low, float high)
{
	return _mm256_min_ps(lanes_set(high), _mm256_max_ps(lanes_set(low), x));
}

static inline __m256 lanes_exp(__m256 x)
{
	x = lanes_clamp(x, EXP_LOW, EXP_HIGH);
	__m256 t = _mm256_fmadd_ps(x, lanes_set(EXP_LOG2E), lanes_set(EXP_ROUND));
	__m256 n = _mm256_sub_ps(t, lanes_set(EXP_ROUND));
	__m256 r = _mm256_fnmadd_ps(n, lanes_set(EXP_LN2_LOW), _mm256_fnmadd_ps(n, lanes_set(EXP_LN2_HIGH), x));
	__m256 p = _mm256_fmadd_ps(r, lanes_set(EXP_6), lanes_set(EXP_5));
	p = _mm256_fmadd_ps(p, r, lanes_set(EXP_4));
	p = _mm256_fmadd_ps(p, r, lanes_set(EXP_3));
	p = _mm256_fmadd_ps(p, r, lanes_set(EXP_2));
	p = _mm256_add_ps(lanes_set(1), _mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r));
	__m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
	const __m256i one = _mm256_set1_epi32(127);
	__m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23));
	__m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23));
	return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}

static inline __m256 lanes_abs(__m256 x)
{
	return _mm256_andnot_ps(lanes_set(-0.0f), x);
}

static inline __m256 lanes_sign(__m256 magnitude, __m256 x)
{
	return _mm256_or_ps(magnitude, _mm256_and_ps(lanes_set(-0.0f), x));
}

static inline __m256 lanes_erf(__m256 x)
{
	__m256 t = lanes_abs(x), s = _mm256_mul_ps(x, x);
	__m256 p = _mm256_fmadd_ps(s, lanes_set(ERF_11), lanes_set(ERF_9));
	p = _mm256_fmadd_ps(p, s, lanes_set(ERF_7));
	p = _mm256_fmadd_ps(p, s, lanes_set(ERF_5));
	p = _mm256_fmadd_ps(p, s, lanes_set(ERF_3));
	p = _mm256_fmadd_ps(p, s, lanes_set(ERF_1));
	__m256 near = _mm256_fmadd_ps(p, x, x), small = _mm256_cmp_ps(t, lanes_set(ERF_SPLIT), _CMP_LT_OQ);
	t = _mm256_min_ps(lanes_set(ERFC_TOP), t);
	__m256 q = _mm256_fmadd_ps(t, lanes_set(ERFC_5), lanes_set(ERFC_4));
	q = _mm256_fmadd_ps(q, t, lanes_set(ERFC_3));
	q = _mm256_fmadd_ps(q, t, lanes_set(ERFC_2));
	q = _mm256_fmadd_ps(q, t, lanes_set(ERFC_1));
	q = _mm256_fmadd_ps(q, t, lanes_set(ERFC_0));
	q = lanes_exp(_mm256_mul_ps(q, _mm256_sub_ps(_mm256_setzero_ps(), t)));
	return _mm256_blendv_ps(lanes_sign(_mm256_sub_ps(lanes_set(1), q), x), near, small);
}

static inline __m256 lanes_tanh(__m256 x)
{
	__m256 t = lanes_abs(x), s = _mm256_mul_ps(x, x);
	__m256 p = _mm256_fmadd_ps(s, lanes_set(TANH_11), lanes_set(TANH_9));
	p = _mm256_fmadd_ps(p, s, lanes_set(TANH_7));
	p = _mm256_fmadd_ps(p, s, lanes_set(TANH_5));
	p = _mm256_fmadd_ps(p, s, lanes_set(TANH_3));
	__m256 near = _mm256_fmadd_ps(_mm256_mul_ps(p, s), x, x), small = _mm256_cmp_ps(t, lanes_set(TANH_SPLIT), _CMP_LT_OQ);
	__m256 e = _mm256_add_ps(lanes_exp(_mm256_add_ps(t, t)), lanes_set(1));
	__m256 far = lanes_sign(_mm256_sub_ps(lanes_set(1), _mm256_div_ps(lanes_set(2), e)), x);
	return _mm256_blendv_ps(far, near, small);
}

static inline __m256 lanes_sigmoid(__m256 x)
{
	__m256 e = lanes_exp(_mm256_sub_ps(_mm256_setzero_ps(), x));
	return _mm256_div_ps(lanes_set(1), _mm256_add_ps(lanes_set(1), e));
}

/* Eight halves or bfloats, widened */
static inline __m256 lanes_half(const void *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

static inline __m256 lanes_bfloat(const void *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

/* Eight elements of a type, or `left` of them */
static inline __m256 lanes_widen(dtype type, const void *p, int64_t left)
{
	uint16_t some[8] = {0};
	if (type == DT_F32)
		return lanes_get(p, left);
	if (left < 8) {
		memcpy(some, p, (size_t)left * sizeof *some);
		p = some;
	}
	return type == DT_F16 ? lanes_half(p) : lanes_bfloat(p);
}

/* r[i] lane j := r[j] lane i */
INLINE void lanes_transpose(__m256 r[8])
{
	__m256 t[8], u[8];
	UNROLL for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	UNROLL for (int i = 0; i < 8; i += 4) {
		u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
		u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
	}
	UNROLL for (int i = 0; i < 4; i++) {
		r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
		r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
	}
}

#endif
