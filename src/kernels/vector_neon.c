/*
 * vector_neon.c - activations, sums, widening, norms and softmax for NEON; formulas as in elementwise.c, norms.c and softmax.c.
 *
 * Tails go through the same vector code, so a value's bits do not depend on its place. A row's sum is four vectors of partial
 * sums over whole groups of 16 columns, the rest into the first, added as (0 + 1) + (2 + 3): an order that depends on the
 * width alone. `kind` is a constant in each loop: the switch is outside.
 */
#include "kernels/entries.h"
#include "kernels/lanes_neon.h"

#include <math.h>

KERNEL_DECLARE(_neon)

/* ------------------------------------------------------------------------------------------------ activations */
INLINE float32x4_t gelu_inner(float32x4_t u)
{
	float32x4_t cube = vmulq_f32(vmulq_f32(vmulq_f32(u, u), u), lanes_set(GELU_TANH_B));
	return lanes_tanh(vmulq_f32(lanes_set(GELU_TANH_A), vaddq_f32(u, cube)));
}

INLINE float32x4_t value(const act_kind kind, float32x4_t x)
{
	const float32x4_t one = lanes_set(1), half = lanes_set(0.5f);
	switch (kind) {
	case ACT_RELU:
		return vmaxq_f32(lanes_zero(), x);
	case ACT_GELU:
		return vmulq_f32(vmulq_f32(half, x), vaddq_f32(one, lanes_erf(vmulq_f32(x, lanes_set(GELU_ROOT_HALF)))));
	case ACT_GELU_TANH:
		return vmulq_f32(vmulq_f32(half, x), vaddq_f32(one, gelu_inner(lanes_clamp(x, -GELU_FLAT, GELU_FLAT))));
	case ACT_QUICK_GELU:
		return vmulq_f32(x, lanes_sigmoid(vmulq_f32(lanes_set(QUICK_GELU_A), x)));
	case ACT_SILU:
		return vmulq_f32(x, lanes_sigmoid(x));
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

INLINE void act_loop(const act_kind kind, int64_t n, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i += 4)
		lanes_put(y + i, n - i, value(kind, lanes_get(x + i, n - i)));
}

INLINE void gate_loop(const act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	for (int64_t i = 0; i < n; i += 4)
		lanes_put(y + i, n - i, vmulq_f32(value(kind, lanes_get(a + i, n - i)), lanes_get(b + i, n - i)));
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

void kernel_act_neon(act_kind kind, int64_t n, const float *x, float *y)
{
	EACH_KIND(act_loop, n, x, y)
}

void kernel_gate_neon(act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	EACH_KIND(gate_loop, n, a, b, y)
}

/* ------------------------------------------------------------------------------------------------ plain loops */
void kernel_add_neon(int64_t n, const float *a, const float *b, float *y)
{
	for (int64_t i = 0; i < n; i += 4)
		lanes_put(y + i, n - i, vaddq_f32(lanes_get(a + i, n - i), lanes_get(b + i, n - i)));
}

void kernel_axpy_neon(int64_t n, float s, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i += 4)
		lanes_put(y + i, n - i, vfmaq_n_f32(lanes_get(y + i, n - i), lanes_get(x + i, n - i), s));
}

void kernel_scale_neon(int64_t n, float s, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i += 4)
		lanes_put(y + i, n - i, vmulq_n_f32(lanes_get(x + i, n - i), s));
}

void kernel_widen_neon(dtype type, int64_t n, const void *x, float *y)
{
	const char *from = x;
	int64_t i = 0;
	if (type == DT_F16)
		for (; i + 4 <= n; i += 4)
			vst1q_f32(y + i, lanes_half(from + 2 * i));
	else if (type == DT_BF16)
		for (; i + 4 <= n; i += 4)
			vst1q_f32(y + i, lanes_bfloat(from + 2 * i));
	kernel_widen(type, n - i, from + i * (int64_t)dtype_size(type), y + i); /* exact, so the same bits */
}

float kernel_dot_neon(int64_t n, const float *a, const float *b)
{
	float32x4_t s[4] = {lanes_zero(), lanes_zero(), lanes_zero(), lanes_zero()};
	int64_t i = 0;
	for (; i + 16 <= n; i += 16)
		UNROLL for (int v = 0; v < 4; v++)
			s[v] = vfmaq_f32(s[v], vld1q_f32(a + i + 4 * v), vld1q_f32(b + i + 4 * v));
	for (; i < n; i += 4)
		s[0] = vfmaq_f32(s[0], lanes_get(a + i, n - i), lanes_get(b + i, n - i));
	return lanes_sum_four(s);
}

/* ------------------------------------------------------------------------------------------------ norms */
static float row_sum(int64_t n, const float *x)
{
	float32x4_t s[4] = {lanes_zero(), lanes_zero(), lanes_zero(), lanes_zero()};
	int64_t i = 0;
	for (; i + 16 <= n; i += 16)
		UNROLL for (int v = 0; v < 4; v++)
			s[v] = vaddq_f32(s[v], vld1q_f32(x + i + 4 * v));
	for (; i < n; i += 4)
		s[0] = vaddq_f32(s[0], lanes_get(x + i, n - i));
	return lanes_sum_four(s);
}

static float row_squares(int64_t n, const float *x, float mean)
{
	const float32x4_t m = lanes_set(mean);
	float32x4_t s[4] = {lanes_zero(), lanes_zero(), lanes_zero(), lanes_zero()};
	int64_t i = 0;
	for (; i + 16 <= n; i += 16)
		UNROLL for (int v = 0; v < 4; v++) {
			float32x4_t d = vsubq_f32(vld1q_f32(x + i + 4 * v), m);
			s[v] = vfmaq_f32(s[v], d, d);
		}
	for (; i < n; i += 4) {
		float32x4_t d = lanes_keep(vsubq_f32(lanes_get(x + i, n - i), m), n - i);
		s[0] = vfmaq_f32(s[0], d, d);
	}
	return lanes_sum_four(s);
}

typedef struct {
	float mean, rstd;
} stats;

static stats row_stats(int64_t n, const float *x, float eps, bool rms)
{
	if (!n)
		return (stats){0, 1.0f / sqrtf(eps)};
	float mean = rms ? 0 : row_sum(n, x) / (float)n;
	return (stats){mean, 1.0f / sqrtf(row_squares(n, x, mean) / (float)n + eps)};
}

void kernel_layer_norm_neon(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, const float *b, float eps, float *y,
                            int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		stats s = row_stats(width, x, eps, false);
		const float32x4_t mean = lanes_set(s.mean), rstd = lanes_set(s.rstd);
		for (int64_t c = 0; c < width; c += 4) {
			int64_t left = width - c;
			float32x4_t v = vmulq_f32(vsubq_f32(lanes_get(x + c, left), mean), rstd);
			v = w ? vmulq_f32(v, lanes_get(w + c, left)) : v;
			lanes_put(y + c, left, b ? vaddq_f32(v, lanes_get(b + c, left)) : v);
		}
	}
}

void kernel_rms_norm_neon(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, float eps, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		const float rstd = row_stats(width, x, eps, true).rstd;
		for (int64_t c = 0; c < width; c += 4) {
			float32x4_t v = vmulq_n_f32(lanes_get(x + c, width - c), rstd);
			lanes_put(y + c, width - c, w ? vmulq_f32(v, lanes_get(w + c, width - c)) : v);
		}
	}
}

void kernel_norm_stats_neon(int64_t rows, int64_t width, const float *x, int64_t ldx, float eps, bool rms, float *out)
{
	for (int64_t r = 0; r < rows; r++, x += ldx) {
		stats s = row_stats(width, x, eps, rms);
		out[2 * r] = s.mean;
		out[2 * r + 1] = s.rstd;
	}
}

/* ------------------------------------------------------------------------------------------------ softmax */
static float row_max(int64_t n, const float *x)
{
	float32x4_t top = lanes_set(-INFINITY);
	int64_t i = 0;
	for (; i + 4 <= n; i += 4)
		top = vmaxnmq_f32(vld1q_f32(x + i), top);
	float most = vmaxnmvq_f32(top);
	for (; i < n; i++)
		most = x[i] > most ? x[i] : most;
	return most;
}

static float exp_row(int64_t n, const float *x, float shift, float *y)
{
	float32x4_t s[2] = {lanes_zero(), lanes_zero()};
	for (int64_t i = 0; i < n; i += 4) {
		float32x4_t e = lanes_exp(vsubq_f32(lanes_get(x + i, n - i), lanes_set(shift)));
		if (y)
			lanes_put(y + i, n - i, e);
		s[i >> 2 & 1] = vaddq_f32(s[i >> 2 & 1], lanes_keep(e, n - i));
	}
	return lanes_sum(vaddq_f32(s[0], s[1]));
}

void kernel_softmax_neon(int64_t rows, int64_t width, const float *x, int64_t ldx, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++, x += ldx, y += ldy) {
		float m = row_max(width, x);
		float sum = exp_row(width, x, m == -INFINITY ? 0 : m, y);
		if (sum != 0)
			kernel_scale_neon(width, 1.0f / sum, y, y);
	}
}

float kernel_log_sum_exp_neon(int64_t width, const float *x)
{
	float m = row_max(width, x);
	float sum = exp_row(width, x, m == -INFINITY ? 0 : m, NULL);
	return (float)((double)m + approx_log(sum != 0 ? (double)sum : 1));
}
