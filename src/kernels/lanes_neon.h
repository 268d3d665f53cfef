/*
 * lanes_neon.h - four floats at a time: loads with tails, sums in a fixed order, exp, exp2, erf, tanh (see approx.h).
 *
 * Only files compiled for NEON may include this. `left` is how many values remain, 1 or more; lanes past it are neither read
 * nor written and hold 0. vmaxq and vminq give NaN if an operand is one; vmaxnmq gives the other.
 */
#ifndef REBUS_LANES_NEON_H
#define REBUS_LANES_NEON_H

#include "kernels/approx.h"

#include <arm_neon.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

static inline float32x4_t lanes_get(const float *p, int64_t left)
{
	float some[4] = {0};
	if (left >= 4)
		return vld1q_f32(p);
	memcpy(some, p, (size_t)left * sizeof *some);
	return vld1q_f32(some);
}

static inline void lanes_put(float *p, int64_t left, float32x4_t x)
{
	float some[4];
	if (left >= 4) {
		vst1q_f32(p, x);
		return;
	}
	vst1q_f32(some, x);
	memcpy(p, some, (size_t)left * sizeof *some);
}

static inline float32x4_t lanes_set(float x)
{
	return vdupq_n_f32(x);
}

static inline float32x4_t lanes_zero(void)
{
	return vdupq_n_f32(0);
}

/* x in the lanes that are left, 0 in the others */
static inline float32x4_t lanes_keep(float32x4_t x, int64_t left)
{
	static const uint32_t ones[8] = {~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0};
	if (left >= 4)
		return x;
	return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vld1q_u32(ones + 4 - left)));
}

static inline float lanes_sum(float32x4_t x)
{
	float32x2_t s = vadd_f32(vget_low_f32(x), vget_high_f32(x));
	return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
}

static inline float lanes_sum_four(const float32x4_t s[4])
{
	return lanes_sum(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
}

/* a where the mask is set, else b */
static inline float32x4_t lanes_pick(uint32x4_t mask, float32x4_t a, float32x4_t b)
{
	return vbslq_f32(mask, a, b);
}

/* NaN passes */
static inline float32x4_t lanes_clamp(float32x4_t x, float low, float high)
{
	return vminq_f32(vmaxq_f32(x, lanes_set(low)), lanes_set(high));
}

/* p times 2^n, in two factors, so that results go smoothly through the subnormals */
static inline float32x4_t lanes_scale(float32x4_t p, float32x4_t n)
{
	int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
	const int32x4_t bias = vdupq_n_s32(127);
	float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
	float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
	return vmulq_f32(vmulq_f32(p, a), b);
}

static inline float32x4_t lanes_exp(float32x4_t x)
{
	x = lanes_clamp(x, EXP_LOW, EXP_HIGH);
	float32x4_t n = vsubq_f32(vfmaq_f32(lanes_set(EXP_ROUND), x, lanes_set(EXP_LOG2E)), lanes_set(EXP_ROUND));
	float32x4_t r = vfmsq_f32(vfmsq_f32(x, n, lanes_set(EXP_LN2_HIGH)), n, lanes_set(EXP_LN2_LOW));
	float32x4_t p = vfmaq_f32(lanes_set(EXP_5), r, lanes_set(EXP_6));
	p = vfmaq_f32(lanes_set(EXP_4), p, r);
	p = vfmaq_f32(lanes_set(EXP_3), p, r);
	p = vfmaq_f32(lanes_set(EXP_2), p, r);
	p = vaddq_f32(lanes_set(1), vfmaq_f32(r, vmulq_f32(r, r), p));
	return lanes_scale(p, n);
}

static inline float32x4_t lanes_exp2(float32x4_t x)
{
	x = vmaxq_f32(lanes_set(EXP2_LOW), x);
	float32x4_t n = vrndmq_f32(x), r = vsubq_f32(x, n);
	float32x4_t p = vfmaq_f32(lanes_set(EXP2_4), r, lanes_set(EXP2_5));
	p = vfmaq_f32(lanes_set(EXP2_3), p, r);
	p = vfmaq_f32(lanes_set(EXP2_2), p, r);
	p = vfmaq_f32(lanes_set(EXP2_1), p, r);
	return lanes_scale(vfmaq_f32(lanes_set(1), p, r), n);
}

static inline float32x4_t lanes_sign(float32x4_t magnitude, float32x4_t x)
{
	return lanes_pick(vdupq_n_u32(0x80000000u), x, magnitude);
}

static inline float32x4_t lanes_erf(float32x4_t x)
{
	float32x4_t t = vabsq_f32(x), s = vmulq_f32(x, x);
	float32x4_t p = vfmaq_f32(lanes_set(ERF_9), s, lanes_set(ERF_11));
	p = vfmaq_f32(lanes_set(ERF_7), p, s);
	p = vfmaq_f32(lanes_set(ERF_5), p, s);
	p = vfmaq_f32(lanes_set(ERF_3), p, s);
	p = vfmaq_f32(lanes_set(ERF_1), p, s);
	float32x4_t near = vfmaq_f32(x, p, x);
	uint32x4_t small = vcltq_f32(t, lanes_set(ERF_SPLIT));
	t = vminq_f32(lanes_set(ERFC_TOP), t);
	float32x4_t q = vfmaq_f32(lanes_set(ERFC_4), t, lanes_set(ERFC_5));
	q = vfmaq_f32(lanes_set(ERFC_3), q, t);
	q = vfmaq_f32(lanes_set(ERFC_2), q, t);
	q = vfmaq_f32(lanes_set(ERFC_1), q, t);
	q = vfmaq_f32(lanes_set(ERFC_0), q, t);
	q = lanes_exp(vmulq_f32(q, vnegq_f32(t)));
	return lanes_pick(small, near, lanes_sign(vsubq_f32(lanes_set(1), q), x));
}

static inline float32x4_t lanes_tanh(float32x4_t x)
{
	float32x4_t t = vabsq_f32(x), s = vmulq_f32(x, x);
	float32x4_t p = vfmaq_f32(lanes_set(TANH_9), s, lanes_set(TANH_11));
	p = vfmaq_f32(lanes_set(TANH_7), p, s);
	p = vfmaq_f32(lanes_set(TANH_5), p, s);
	p = vfmaq_f32(lanes_set(TANH_3), p, s);
	float32x4_t near = vfmaq_f32(x, vmulq_f32(p, s), x);
	float32x4_t e = vaddq_f32(lanes_exp(vaddq_f32(t, t)), lanes_set(1));
	float32x4_t far = lanes_sign(vsubq_f32(lanes_set(1), vdivq_f32(lanes_set(2), e)), x);
	return lanes_pick(vcltq_f32(t, lanes_set(TANH_SPLIT)), near, far);
}

static inline float32x4_t lanes_sigmoid(float32x4_t x)
{
	return vdivq_f32(lanes_set(1), vaddq_f32(lanes_set(1), lanes_exp(vnegq_f32(x))));
}

/* Four halves or bfloats, widened */
static inline float32x4_t lanes_half(const void *p)
{
	uint16_t bits[4];
	memcpy(bits, p, sizeof bits);
	return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(bits)));
}

static inline float32x4_t lanes_bfloat(const void *p)
{
	uint16_t bits[4];
	memcpy(bits, p, sizeof bits);
	return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(bits), 16));
}

/* Four elements of a type, or `left` of them */
static inline float32x4_t lanes_widen(dtype type, const void *p, int64_t left)
{
	uint16_t some[4] = {0};
	if (type == DT_F32)
		return lanes_get(p, left);
	if (left < 4) {
		memcpy(some, p, (size_t)left * sizeof *some);
		p = some;
	}
	return type == DT_F16 ? lanes_half(p) : lanes_bfloat(p);
}

/* r[i] lane j := r[j] lane i */
INLINE void lanes_transpose(float32x4_t r[4])
{
	float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
	r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
	r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
	r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
	r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#endif
