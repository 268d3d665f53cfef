/*
 * vector_avx512.c - activations, gates and their gradients for AVX-512; formulas as in elementwise.c. The other loops over values wait for
 * memory and are those of AVX2.
 */
#include "kernels/entries.h"
#include "kernels/act_avx512.h"

KERNEL_DECLARE(_avx512)

INLINE __m512 gelu_inner(__m512 u)
{
	__m512 square = _mm512_mul_ps(u, u);
	__m512 cube = _mm512_mul_ps(_mm512_mul_ps(square, u), wide_set(GELU_TANH_B));
	return wide_tanh(_mm512_mul_ps(wide_set(GELU_TANH_A), _mm512_add_ps(u, cube)));
}

INLINE __m512 slope(const act_kind kind, __m512 x)
{
	const __m512 one = wide_set(1), half = wide_set(0.5f);
	__m512 u = wide_clamp(x, -GELU_FLAT, GELU_FLAT), s, t;
	switch (kind) {
	case ACT_RELU:
		return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), one);
	case ACT_GELU:
		t = wide_exp(_mm512_mul_ps(_mm512_mul_ps(wide_set(-0.5f), u), u));
		s = _mm512_mul_ps(half, _mm512_add_ps(one, wide_erf(_mm512_mul_ps(x, wide_set(GELU_ROOT_HALF)))));
		return _mm512_fmadd_ps(_mm512_mul_ps(u, wide_set(GELU_DENSITY)), t, s);
	case ACT_GELU_TANH:
		t = gelu_inner(u);
		s = _mm512_mul_ps(_mm512_mul_ps(half, u), _mm512_mul_ps(_mm512_fnmadd_ps(t, t, one), wide_set(GELU_TANH_A)));
		u = _mm512_fmadd_ps(_mm512_mul_ps(wide_set(3.0f * GELU_TANH_B), u), u, one);
		return _mm512_fmadd_ps(s, u, _mm512_mul_ps(half, _mm512_add_ps(one, t)));
	case ACT_QUICK_GELU:
		s = wide_sigmoid(_mm512_mul_ps(wide_set(QUICK_GELU_A), x));
		return _mm512_mul_ps(s, _mm512_fmadd_ps(_mm512_mul_ps(wide_set(QUICK_GELU_A), x), _mm512_sub_ps(one, s), one));
	case ACT_SILU:
		s = wide_sigmoid(x);
		return _mm512_mul_ps(s, _mm512_fmadd_ps(x, _mm512_sub_ps(one, s), one));
	case ACT_TANH:
		t = wide_tanh(x);
		return _mm512_fnmadd_ps(t, t, one);
	case ACT_SIGMOID:
		s = wide_sigmoid(x);
		return _mm512_mul_ps(s, _mm512_sub_ps(one, s));
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return one;
}

INLINE void act_loop(const act_kind kind, int64_t n, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i += 16)
		wide_put(y + i, n - i, act_value(kind, wide_get(x + i, n - i)));
}

INLINE void act_back_loop(const act_kind kind, int64_t n, const float *x, const float *dy, float *dx)
{
	for (int64_t i = 0; i < n; i += 16)
		wide_put(dx + i, n - i, _mm512_mul_ps(wide_get(dy + i, n - i), slope(kind, wide_get(x + i, n - i))));
}

INLINE void gate_loop(const act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	for (int64_t i = 0; i < n; i += 16)
		wide_put(y + i, n - i, _mm512_mul_ps(act_value(kind, wide_get(a + i, n - i)), wide_get(b + i, n - i)));
}

INLINE void gate_back_loop(const act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da, float *db)
{
	for (int64_t i = 0; i < n; i += 16) {
		__m512 x = wide_get(a + i, n - i), y = wide_get(b + i, n - i), g = wide_get(dy + i, n - i);
		wide_put(da + i, n - i, _mm512_mul_ps(_mm512_mul_ps(g, y), slope(kind, x)));
		wide_put(db + i, n - i, _mm512_mul_ps(g, act_value(kind, x)));
	}
}

#define EACH_KIND(loop, ...)               \
	switch (kind) {                        \
	case ACT_RELU:                         \
		loop(ACT_RELU, __VA_ARGS__);       \
		break;                             \
	case ACT_GELU:                         \
		loop(ACT_GELU, __VA_ARGS__);       \
		break;                             \
	case ACT_GELU_TANH:                    \
		loop(ACT_GELU_TANH, __VA_ARGS__);  \
		break;                             \
	case ACT_QUICK_GELU:                   \
		loop(ACT_QUICK_GELU, __VA_ARGS__); \
		break;                             \
	case ACT_SILU:                         \
		loop(ACT_SILU, __VA_ARGS__);       \
		break;                             \
	case ACT_TANH:                         \
		loop(ACT_TANH, __VA_ARGS__);       \
		break;                             \
	case ACT_SIGMOID:                      \
		loop(ACT_SIGMOID, __VA_ARGS__);    \
		break;                             \
	case ACT_NONE:                         \
	case ACT_COUNT:                        \
		loop(ACT_NONE, __VA_ARGS__);       \
	}

void kernel_act_avx512(act_kind kind, int64_t n, const float *x, float *y)
{
	EACH_KIND(act_loop, n, x, y)
}

void kernel_act_back_avx512(act_kind kind, int64_t n, const float *x, const float *dy, float *dx)
{
	EACH_KIND(act_back_loop, n, x, dy, dx)
}

void kernel_gate_avx512(act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	EACH_KIND(gate_loop, n, a, b, y)
}

void kernel_gate_back_avx512(act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da, float *db)
{
	EACH_KIND(gate_back_loop, n, a, b, dy, da, db)
}
