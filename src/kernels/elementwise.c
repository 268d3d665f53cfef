/*
 * elementwise.c - portable loops over values: activations and their derivatives, gates, sums, widening.
 *
 *   GELU       x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016); GELU_TANH, its tanh form:
 *              x (1 + tanh(a (x + b x^3))) / 2.  Derivatives: Phi + x phi;  (1 + t) / 2 + x (1 - t^2) a (1 + 3 b x^2) / 2
 *   SILU       x s(x), s the logistic function; derivative s (1 + x (1 - s)).  QUICK_GELU: x s(1.702 x)
 *
 * Where |x| > GELU_FLAT, x is replaced by the bound inside the functions (never as a factor), so that x^3 cannot
 * overflow into infinity times zero.
 */
#include "kernels/approx.h"
#include "kernels/entries.h"
#include "kernels/quant.h"
#include "kernels/inner.h"

static float limit(float x)
{
	x = x > GELU_FLAT ? GELU_FLAT : x;
	return x < -GELU_FLAT ? -GELU_FLAT : x;
}

static float value(act_kind kind, float x)
{
	switch (kind) {
	case ACT_RELU:
		return x > 0 || x != x ? x : 0;
	case ACT_GELU:
		return 0.5f * x * (1.0f + approx_erf(x * GELU_ROOT_HALF));
	case ACT_GELU_TANH: {
		float u = limit(x);
		return 0.5f * x * (1.0f + approx_tanh(GELU_TANH_A * (u + GELU_TANH_B * u * u * u)));
	}
	case ACT_QUICK_GELU:
		return x * approx_sigmoid(QUICK_GELU_A * x);
	case ACT_SILU:
		return x * approx_sigmoid(x);
	case ACT_TANH:
		return approx_tanh(x);
	case ACT_SIGMOID:
		return approx_sigmoid(x);
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return x;
}

static float slope(act_kind kind, float x)
{
	switch (kind) {
	case ACT_RELU:
		return x > 0 ? 1 : 0;
	case ACT_GELU: {
		float u = limit(x);
		return 0.5f * (1.0f + approx_erf(x * GELU_ROOT_HALF)) + u * GELU_DENSITY * approx_exp(-0.5f * u * u);
	}
	case ACT_GELU_TANH: {
		float u = limit(x), t = approx_tanh(GELU_TANH_A * (u + GELU_TANH_B * u * u * u));
		return 0.5f * (1.0f + t) + 0.5f * u * (1.0f - t * t) * GELU_TANH_A * (1.0f + 3.0f * GELU_TANH_B * u * u);
	}
	case ACT_QUICK_GELU: {
		float s = approx_sigmoid(QUICK_GELU_A * x);
		return s * (1.0f + QUICK_GELU_A * x * (1.0f - s));
	}
	case ACT_SILU: {
		float s = approx_sigmoid(x);
		return s * (1.0f + x * (1.0f - s));
	}
	case ACT_TANH: {
		float t = approx_tanh(x);
		return 1.0f - t * t;
	}
	case ACT_SIGMOID: {
		float s = approx_sigmoid(x);
		return s * (1.0f - s);
	}
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return 1;
}

void kernel_act(act_kind kind, int64_t n, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = value(kind, x[i]);
}

void kernel_act_back(act_kind kind, int64_t n, const float *x, const float *dy, float *dx)
{
	for (int64_t i = 0; i < n; i++)
		dx[i] = dy[i] * slope(kind, x[i]);
}

void kernel_gate(act_kind kind, int64_t n, const float *a, const float *b, float *y)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = value(kind, a[i]) * b[i];
}

void kernel_gate_back(act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da, float *db)
{
	for (int64_t i = 0; i < n; i++) {
		float x = a[i], g = dy[i], y = b[i];
		da[i] = g * y * slope(kind, x);
		db[i] = g * value(kind, x);
	}
}

void kernel_add(int64_t n, const float *a, const float *b, float *y)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = a[i] + b[i];
}

void kernel_axpy(int64_t n, float s, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i++)
		y[i] += s * x[i];
}

void kernel_scale(int64_t n, float s, const float *x, float *y)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = s * x[i];
}

void kernel_widen(dtype type, int64_t n, const void *x, float *y)
{
	const char *from = x;
	if (dtype_block(type) > 1) {
		quant_widen(type, n, x, y);
		return;
	}
	for (int64_t i = 0; i < n; i++) {
		uint16_t half;
		int32_t whole;
		switch (type) {
		case DT_F16:
		case DT_BF16:
			memcpy(&half, from + 2 * i, sizeof half);
			y[i] = type == DT_F16 ? dtype_half(half) : dtype_bfloat(half);
			break;
		case DT_I32:
			memcpy(&whole, from + 4 * i, sizeof whole);
			y[i] = (float)whole;
			break;
		default:
			memcpy(y + i, from + 4 * i, sizeof *y);
			break;
		}
	}
}

float kernel_dot(int64_t n, const float *a, const float *b)
{
	float s[8] = {0};
	for (int64_t i = 0; i < n; i++)
		s[i & 7] += a[i] * b[i];
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

void kernel_column_sum(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, float *s)
{
	for (int64_t c = c0; c < c1; c++)
		s[c] = 0;
	for (int64_t r = 0; r < rows; r++, x += ldx)
		for (int64_t c = c0; c < c1; c++)
			s[c] += x[c];
}
