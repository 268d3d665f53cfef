/*
 * dtype.c - the element types, the names of precisions and activations, and the one logarithm.
 *
 *   f32   1 sign, 8 exponent, 23 fraction bits
 *   bf16  1, 8, 7: the upper half of a float
 *   f16   1, 5, 10: exponents 1 to 30 shift by 127 - 15; 31 is infinity or NaN; 0 is a subnormal, fraction * 2^-24
 */
#include "kernels/approx.h"
#include "kernels/quant.h"

static const struct {
	const char *name;
	int size, block; /* bytes and values of a block */
} types[DT_COUNT] = {
	[DT_F32] = {"f32", 4, 1}, [DT_F16] = {"f16", 2, 1}, [DT_BF16] = {"bf16", 2, 1}, [DT_I32] = {"i32", 4, 1},
#define X(name, text, values, bytes, centre) [DT_##name] = {text, bytes, values},
	QUANT_LIST(X)
#undef X
};

static const struct {
	const char *name;
	act_kind kind;
} act_names[] = {
	{"relu", ACT_RELU},           {"gelu", ACT_GELU},
	{"gelu_new", ACT_GELU_TANH},  {"gelu_pytorch_tanh", ACT_GELU_TANH},
	{"gelu_fast", ACT_GELU_TANH}, {"quick_gelu", ACT_QUICK_GELU},
	{"silu", ACT_SILU},           {"swish", ACT_SILU},
	{"tanh", ACT_TANH},           {"sigmoid", ACT_SIGMOID},
	{"linear", ACT_NONE},
};

static const char *const precision_names[PRECISIONS] = {"f32", "bf16", "int8"};

bool precision_parse(const char *name, precision *out)
{
	for (int i = 0; i < PRECISIONS; i++)
		if (!strcmp(name, precision_names[i])) {
			*out = (precision)i;
			return true;
		}
	return false;
}

const char *precision_name(precision p)
{
	return precision_names[p];
}

size_t dtype_size(dtype type)
{
	return (unsigned)type < DT_COUNT && types[type].block == 1 ? (size_t)types[type].size : 0;
}

int64_t dtype_block(dtype type)
{
	return (unsigned)type < DT_COUNT ? types[type].block : 1;
}

size_t dtype_bytes(dtype type, int64_t values)
{
	return (unsigned)type < DT_COUNT ? (size_t)(values / types[type].block) * (size_t)types[type].size : 0;
}

const char *dtype_name(dtype type)
{
	return (unsigned)type < DT_COUNT ? types[type].name : "unknown";
}

float dtype_half(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3FFu;
	if (exponent == 31)
		return approx_float(sign | 0x7F800000u | fraction << 13);
	if (exponent == 0) {
		float x = (float)fraction * 0x1p-24f;
		return sign ? -x : x;
	}
	return approx_float(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

float dtype_bfloat(uint16_t bits)
{
	return approx_float((uint32_t)bits << 16);
}

uint16_t dtype_to_bfloat(float x)
{
	uint32_t u = approx_bits(x);
	if ((u & 0x7FFFFFFFu) > 0x7F800000u)
		return (uint16_t)(u >> 16 | 0x40u); /* a NaN must not round to infinity */
	return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1)) >> 16);
}

/* The fraction keeps 10 bits, fewer where the exponent is below the least: what is shifted out rounds. */
uint16_t dtype_to_half(float x)
{
	uint32_t u = approx_bits(x), sign = u >> 16 & 0x8000u, bits = u & 0x7FFFFFFFu;
	if (bits > 0x7F800000u)
		return (uint16_t)(sign | 0x7E00u);
	if (bits >= 0x477FF000u) /* 65520 and more */
		return (uint16_t)(sign | 0x7C00u);
	if (bits < 0x33000000u) /* below half of the least */
		return (uint16_t)sign;
	int exponent = (int)(bits >> 23) - 127, shift = exponent < -14 ? -1 - exponent : 13;
	uint32_t fraction = (bits & 0x7FFFFFu) | 0x800000u, kept = fraction >> shift, rest = fraction & ((1u << shift) - 1), middle = 1u << (shift - 1);
	kept += rest > middle || (rest == middle && (kept & 1));
	return (uint16_t)(sign | (exponent < -14 ? kept : kept + ((uint32_t)(exponent + 14) << 10)));
}

bool act_parse(const char *name, act_kind *out)
{
	for (size_t i = 0; i < COUNT_OF(act_names); i++)
		if (!strcmp(name, act_names[i].name)) {
			*out = act_names[i].kind;
			return true;
		}
	return false;
}

/* x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(z), z = (m - 1) / (m + 1), |z| < 0.172: its series. */
double approx_log(double x)
{
	if (!(x > 0))
		return x == 0 ? -(double)approx_float(0x7F800000u) : (double)approx_float(0x7FC00000u);
	uint64_t u;
	memcpy(&u, &x, sizeof u);
	if (u >> 52 == 2047)
		return x;
	int e = 0;
	if (u >> 52 == 0) {
		x *= 0x1p54;
		memcpy(&u, &x, sizeof u);
		e = -54;
	}
	e += (int)(u >> 52) - 1023;
	u = (u & 0xFFFFFFFFFFFFFu) | (uint64_t)1023 << 52;
	memcpy(&x, &u, sizeof x);
	if (x > 1.4142135623730951) {
		x *= 0.5;
		e++;
	}
	double z = (x - 1) / (x + 1), s = z * z, sum = 0;
	for (int i = 19; i >= 1; i -= 2)
		sum = sum * s + 1.0 / i;
	return (double)e * 0.69314718055994530942 + 2 * z * sum;
}
