/*
 * act_avx512.h - the value of an activation, a vector at a time, for AVX-512: for loops over values and for the epilogue of
 * products. The kind is a constant wherever this is called. Formulas: elementwise.c, act_tables.h.
 */
#ifndef REBUS_ACT_AVX512_H
#define REBUS_ACT_AVX512_H

#include "kernels/act_tables.h"
#include "kernels/kernels.h"
#include "kernels/lanes_avx512.h"

/* x (1/2 + h(x)); see act_tables.h. A NaN passes: min gives its second operand, and the sum carries it. */
INLINE __m512 half_odd(const int pieces, const float *h, float width, float end, __m512 x, float factor)
{
	const __m512 sign = wide_set(-0.0f), magic = wide_set(EXP_ROUND);
	__m512 u = _mm512_mul_ps(x, wide_set(factor)), t = _mm512_min_ps(wide_set(end), wide_abs(u));
	__m512 i = _mm512_fmadd_ps(t, wide_set(1 / width), magic); /* the low bits are the number of the piece */
	__m512 r = _mm512_fnmadd_ps(_mm512_sub_ps(i, magic), wide_set(width), t), p[5];
	UNROLL for (int k = 0; k < 5; k++)
		p[k] = pieces == 16 ? _mm512_permutexvar_ps(_mm512_castps_si512(i), _mm512_loadu_ps(h + 16 * k))
		                    : _mm512_permutex2var_ps(_mm512_loadu_ps(h + 32 * k), _mm512_castps_si512(i), _mm512_loadu_ps(h + 32 * k + 16));
	__m512 y = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_fmadd_ps(p[4], r, p[3]), r, p[2]), r, p[1]), r, p[0]);
	y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(t, wide_set(end), _CMP_EQ_OQ), wide_set(0.5f));
	return _mm512_mul_ps(x, _mm512_add_ps(wide_set(0.5f), _mm512_xor_ps(y, _mm512_and_ps(sign, u))));
}

INLINE __m512 act_value(const act_kind kind, __m512 x)
{
	switch (kind) {
	case ACT_RELU:
		return _mm512_max_ps(_mm512_setzero_ps(), x);
	case ACT_GELU:
		return half_odd(16, h_gelu[0], H_GELU_WIDTH, H_GELU_END, x, 1);
	case ACT_GELU_TANH:
		return half_odd(16, h_gelu_tanh[0], H_GELU_TANH_WIDTH, H_GELU_TANH_END, x, 1);
	case ACT_QUICK_GELU:
		return half_odd(32, h_sigmoid[0], H_SIGMOID_WIDTH, H_SIGMOID_END, x, QUICK_GELU_A);
	case ACT_SILU:
		return half_odd(32, h_sigmoid[0], H_SIGMOID_WIDTH, H_SIGMOID_END, x, 1);
	case ACT_TANH:
		return wide_tanh(x);
	case ACT_SIGMOID:
		return wide_sigmoid(x);
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return x;
}

#endif
