/*
 * vector_avx2.c - activations, sums, widening and rotary for AVX2; formulas as in elementwise.c and rotate.c.
 *
 * Tails go through the same vector code under a mask, so a value's bits do not depend on its place. `kind` is a constant
 * in each loop: the switch is outside.
 */
#include "kernels/entries.h"
#include "kernels/lanes_avx2.h"

KERNEL_DECLARE(_avx2)

INLINE __m256 gelu_inner(__m256 u)
{
	__m256 square = _mm256_mul_ps(u, u);
	__m256 cube = _mm256_mul_ps(_mm256_mul_ps(square, u), lanes_set(GELU_TANH_B));
	return lanes_tanh(_mm256_mul_ps(lanes_set(GELU_TANH_A), _mm256_add_ps(u, cube)));
}

INLINE __m256 value(const act_kind kind, __m256 x)
{
	const __m256 one = lanes_set(1), half = lanes_set(0.5f);
	switch (kind) {
	case ACT_RELU:
		return _mm256_max_ps(_mm256_setzero_ps(), x);
	case ACT_GELU:
		return _mm256_mul_ps(_mm256_mul_ps(half, x), _mm256_add_ps(one, lanes_erf(_mm256_mul_ps(x, lanes_set(GELU_ROOT_HALF)))));
	case ACT_GELU_TANH:
		return _mm256_mul_ps(_mm256_mul_ps(half, x), _mm256_add_ps(one, gelu_inner(lanes_clamp(x, -GELU_FLAT, GELU_FLAT))));
	case ACT_QUICK_GELU:
		return _mm256_mul_ps(x, lanes_sigmoid(_mm256_mul_ps(lanes_set(QUICK_GELU_A), x)));
	case ACT_SILU:
		return _mm256_mul_ps(x, lanes_sigmoid(x));
	case ACT_TANH:
		return lanes_tanh(x);
	case ACT_SIGMOID:
		return lanes_sigmoid(x);
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return x;
}

INLINE __m256 slope(const act_kind kind, __m256 x)
{
	const __m256 one = lanes_set(1), half = lanes_set(0.5f);
	__m256 u = lanes_clamp(x, -GELU_FLAT, GELU_FLAT), s, t;
	switch (kind) {
	case ACT_RELU:
		return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ), one);
	case ACT_GELU:
		t = lanes_exp(_mm256_mul_ps(_mm256_mul_ps(lanes_set(-0.5f), u), u));
		s = _mm256_mul_ps(half, _mm256_add_ps(one, lanes_erf(_mm256_mul_ps(x, lanes_set(GELU_ROOT_HALF)))));
		return _mm256_fmadd_ps(_mm256_mul_ps(u, lanes_set(GELU_DENSITY)), t, s);
	case ACT_GELU_TANH:
		t = gelu_inner(u);
		s = _mm256_mul_ps(_mm256_mul_ps(half, u), _mm256_mul_ps(_mm256_fnmadd_ps(t, t, one), lanes_set(GELU_TANH_A)));
		u = _mm256_fmadd_ps(_mm256_mul_ps(lanes_set(3.0f * GELU_TANH_B), u), u, one);
		return _mm256_fmadd_ps(s, u, _mm256_mul_ps(half, _mm256_add_ps(one, t)));
	case ACT_QUICK_GELU:
		s = lanes_sigmoid(_mm256_mul_ps(lanes_set(QUICK_GELU_A), x));
		return _mm256_mul_ps(s, _mm256_fmadd_ps(_mm256_mul_ps(lanes_set(QUICK_GELU_A), x), _mm256_sub_ps(one, s), one));
	case ACT_SILU:
		s = lanes_sigmoid(x);
		return _mm256_mul_ps(s, _mm256_fmadd_ps(x, _mm256_sub_ps(one, s), one));
	case ACT_TANH:
		t = lanes_tanh(x);
		return _mm256_fnmadd_ps(t, t, one);
	case ACT_SIGMOID:
		s = lanes_sigmoid(x);
		return _mm256_mul_ps(s, _mm256_sub_ps(one, s));
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return one;
}

INLINE void act_loop(const act_kind kind, int64_t n, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i += 8)
		lanes_put(y + i, n - i, value(kind, lanes_get(x + i, n - i)));
}

INLINE void act_back_loop(const act_kind kind, int64_t n, const float *x, const float *dy, float *dx)
{
	for (int64_t i = 0; i < n; i += 8)
		lanes_put(dx + i, n - i, _mm256_mul_ps(lanes_get(dy + i, n - i), slope(kind, lanes_get(x + i, n - i))));
}

INLINE void gate_loop(const act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	for (int64_t i = 0; i < n; i += 8)
		lanes_put(y + i, n - i, _mm256_mul_ps(value(kind, lanes_get(a + i, n - i)), lanes_get(b + i, n - i)));
}

INLINE void gate_back_loop(const act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da, float *db)
{
	for (int64_t i = 0; i < n; i += 8) {
		__m256 x = lanes_get(a + i, n - i), y = lanes_get(b + i, n - i), g = lanes_get(dy + i, n - i);
		lanes_put(da + i, n - i, _mm256_mul_ps(_mm256_mul_ps(g, y), slope(kind, x)));
		lanes_put(db + i, n - i, _mm256_mul_ps(g, value(kind, x)));
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

void kernel_act_avx2(act_kind kind, int64_t n, const float *x, float *y)
{
	EACH_KIND(act_loop, n, x, y)
}

void kernel_act_back_avx2(act_kind kind, int64_t n, const float *x, const float *dy, float *dx)
{
	EACH_KIND(act_back_loop, n, x, dy, dx)
}

void kernel_gate_avx2(act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	EACH_KIND(gate_loop, n, a, b, y)
}

void kernel_gate_back_avx2(act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da, float *db)
{
	EACH_KIND(gate_back_loop, n, a, b, dy, da, db)
}

/* ------------------------------------------------------------------------------------------------ plain loops */
void kernel_add_avx2(int64_t n, const float *a, const float *b, float *y)
{
	int64_t i = 0;
	for (; i + 32 <= n; i += 32)
		for (int64_t j = i; j < i + 32; j += 8)
			_mm256_storeu_ps(y + j, _mm256_add_ps(_mm256_loadu_ps(a + j), _mm256_loadu_ps(b + j)));
	for (; i < n; i += 8)
		lanes_put(y + i, n - i, _mm256_add_ps(lanes_get(a + i, n - i), lanes_get(b + i, n - i)));
}

void kernel_axpy_avx2(int64_t n, float s, const float *x, float *y)
{
	const __m256 factor = lanes_set(s);
	for (int64_t i = 0; i < n; i += 8)
		lanes_put(y + i, n - i, _mm256_fmadd_ps(factor, lanes_get(x + i, n - i), lanes_get(y + i, n - i)));
}

void kernel_scale_avx2(int64_t n, float s, const float *x, float *y)
{
	const __m256 factor = lanes_set(s);
	for (int64_t i = 0; i < n; i += 8)
		lanes_put(y + i, n - i, _mm256_mul_ps(factor, lanes_get(x + i, n - i)));
}

void kernel_widen_avx2(dtype type, int64_t n, const void *x, float *y)
{
	const char *from = x;
	int64_t i = 0;
	if (type == DT_F16)
		for (; i + 8 <= n; i += 8)
			_mm256_storeu_ps(y + i, lanes_half(from + 2 * i));
	else if (type == DT_BF16)
		for (; i + 8 <= n; i += 8)
			_mm256_storeu_ps(y + i, lanes_bfloat(from + 2 * i));
	else if (type == DT_I32)
		for (; i + 8 <= n; i += 8)
			_mm256_storeu_ps(y + i, _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(const void *)(from + 4 * i))));
	kernel_widen(type, n - i, from + i * (int64_t)dtype_size(type), y + i); /* exact, so the same bits */
}

float kernel_dot_avx2(int64_t n, const float *a, const float *b)
{
	__m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
		s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
		s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
		s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
	}
	for (; i < n; i += 8)
		s0 = _mm256_fmadd_ps(lanes_get(a + i, n - i), lanes_get(b + i, n - i), s0);
	return lanes_sum(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
}

void kernel_column_sum_avx2(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, float *s)
{
	int64_t c = c0;
	for (; c + 32 <= c1; c += 32) {
		__m256 t0 = _mm256_setzero_ps(), t1 = t0, t2 = t0, t3 = t0;
		for (int64_t r = 0; r < rows; r++) {
			const float *row = x + r * ldx + c;
			t0 = _mm256_add_ps(t0, _mm256_loadu_ps(row));
			t1 = _mm256_add_ps(t1, _mm256_loadu_ps(row + 8));
			t2 = _mm256_add_ps(t2, _mm256_loadu_ps(row + 16));
			t3 = _mm256_add_ps(t3, _mm256_loadu_ps(row + 24));
		}
		_mm256_storeu_ps(s + c, t0);
		_mm256_storeu_ps(s + c + 8, t1);
		_mm256_storeu_ps(s + c + 16, t2);
		_mm256_storeu_ps(s + c + 24, t3);
	}
	for (; c < c1; c += 8) {
		__m256 t = _mm256_setzero_ps();
		for (int64_t r = 0; r < rows; r++)
			t = _mm256_add_ps(t, lanes_get(x + r * ldx + c, c1 - c));
		lanes_put(s + c, c1 - c, t);
	}
}

/* ------------------------------------------------------------------------------------------------ rotary */
INLINE void rotate_split(int32_t half, __m256 sign, const float *x, const float *cos, float *y)
{
	const float *sin = cos + half;
	for (int32_t i = 0; i < half; i += 8) {
		int64_t left = half - i;
		__m256 c = lanes_get(cos + i, left), s = _mm256_mul_ps(sign, lanes_get(sin + i, left));
		__m256 x1 = lanes_get(x + i, left), x2 = lanes_get(x + half + i, left);
		lanes_put(y + i, left, _mm256_fnmadd_ps(x2, s, _mm256_mul_ps(x1, c)));
		lanes_put(y + half + i, left, _mm256_fmadd_ps(x1, s, _mm256_mul_ps(x2, c)));
	}
}

/* Four pairs a vector: cos and sin are spread to both of a pair, x is multiplied by cos, its swapped pairs by sin. */
INLINE void rotate_pairs(int32_t half, __m256 sign, const float *x, const float *cos, float *y)
{
	const __m256i spread = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
	const float *sin = cos + half;
	for (int32_t i = 0; i < half; i += 4) {
		int64_t left = half - i;
		__m256 c = _mm256_permutevar8x32_ps(lanes_get(cos + i, left < 4 ? left : 4), spread);
		__m256 s = _mm256_mul_ps(sign, _mm256_permutevar8x32_ps(lanes_get(sin + i, left < 4 ? left : 4), spread));
		__m256 v = lanes_get(x + 2 * i, 2 * left);
		__m256 swapped = _mm256_permute_ps(v, 0xB1);
		lanes_put(y + 2 * i, 2 * left, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s)));
	}
}

void kernel_rotate_avx2(int64_t rows, int32_t heads, int32_t head_dim, int32_t half, int pairing, float sign, const float *x,
                        int64_t ldx, const float *cos_sin, int64_t ldc, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++)
		for (int32_t h = 0; h < heads; h++) {
			const float *from = x + r * ldx + (int64_t)h * head_dim;
			float *to = y + r * ldy + (int64_t)h * head_dim;
			if (pairing)
				rotate_pairs(half, lanes_set(sign), from, cos_sin + r * ldc, to);
			else
				rotate_split(half, lanes_set(sign), from, cos_sin + r * ldc, to);
			if (from != to && head_dim > 2 * half)
				memcpy(to + 2 * half, from + 2 * half, (size_t)(head_dim - 2 * half) * sizeof *to);
		}
}
