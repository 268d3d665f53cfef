/*
 * approx.h - exp, erf, tanh, log of our own: the coefficients, shared by every level, and the scalar definition.
 *
 * Nothing here calls the C library, so results are the same on every system. The polynomials are minimax fits made for
 * this file (Lawson's reweighted least squares in double precision), with these errors before rounding:
 *
 *   exp   x = n ln 2 + r, |r| <= ln(2) / 2 (Cody and Waite's two-part ln 2):  1 + r + r^2 P4(r),   relative 3e-9
 *   exp2  x = n + r, 0 <= r < 1:  1 + r P4(r), relative 8e-8: attention's, two steps shorter than exp
 *   erf   |x| < 7/8:  x + x P5(x^2),  relative 9e-9;   else  sign(x) (1 - exp(-t P5(t))), t = min(|x|, 4),  3e-9
 *   tanh  |x| < 1/2:  x + x^3 P4(x^2), relative 4e-10;  else  sign(x) (1 - 2 / (exp(2 |x|) + 1))
 *
 * With f32 rounding: exp and exp2 have relative error <= 2e-7 where its result is normal, erf and tanh absolute error <= 2e-7. exp
 * scales by 2^n in two factors, so that results go smoothly through the subnormals to 0 and to infinity; NaN stays NaN.
 */
#ifndef REBUS_APPROX_H
#define REBUS_APPROX_H

#include "kernels/kernels.h"

#include <string.h>

#define EXP_LOW (-110.0f) /* below: 0 */
#define EXP_HIGH 89.0f    /* above: infinity */
#define EXP_LOG2E 1.44269504f
#define EXP_LN2_HIGH 0.693359375f /* 9 bits: n times this is exact */
#define EXP_LN2_LOW (-2.12194440e-4f)
#define EXP_ROUND 12582912.0f /* 1.5 * 2^23: adding it rounds to a whole number in the low bits */
#define EXP_2 4.999999404e-01f
#define EXP_3 1.666652113e-01f
#define EXP_4 4.166838899e-02f
#define EXP_5 8.368716575e-03f
#define EXP_6 1.381459879e-03f

#define EXP2_LOW (-200.0f) /* below: 0 */
#define EXP2_1 6.931513118e-01f
#define EXP2_2 2.401644500e-01f
#define EXP2_3 5.579991376e-02f
#define EXP2_4 9.017029415e-03f
#define EXP2_5 1.867130496e-03f

#define ERF_SPLIT 0.875f
#define ERF_1 1.283791512e-01f
#define ERF_3 (-3.761255145e-01f)
#define ERF_5 1.128245518e-01f
#define ERF_7 (-2.679146267e-02f)
#define ERF_9 5.032181274e-03f
#define ERF_11 (-6.203254452e-04f)
#define ERFC_TOP 4.0f
#define ERFC_0 1.128522515e+00f
#define ERFC_1 6.356912851e-01f
#define ERFC_2 1.052969918e-01f
#define ERFC_3 (-2.291219495e-02f)
#define ERFC_4 3.221797990e-03f
#define ERFC_5 (-2.148049534e-04f)

#define TANH_SPLIT 0.5f
#define TANH_3 (-3.333332837e-01f)
#define TANH_5 1.333297044e-01f
#define TANH_7 (-5.389996991e-02f)
#define TANH_9 2.130170353e-02f
#define TANH_11 (-6.653572433e-03f)

/* The activations. Beyond GELU_FLAT both forms of GELU are x or 0 to the last bit. */
#define GELU_FLAT 20.0f
#define GELU_ROOT_HALF 0.707106781f
#define GELU_DENSITY 0.398942280f /* 1 / sqrt(2 pi) */
#define GELU_TANH_A 0.797884561f  /* sqrt(2 / pi) */
#define GELU_TANH_B 0.044715f
#define QUICK_GELU_A 1.702f

static inline uint32_t approx_bits(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return u;
}

static inline float approx_float(uint32_t u)
{
	float x;
	memcpy(&x, &u, sizeof x);
	return x;
}

static inline float approx_abs(float x)
{
	return approx_float(approx_bits(x) & 0x7FFFFFFFu);
}

static inline float approx_sign(float magnitude, float x)
{
	return approx_float((approx_bits(magnitude) & 0x7FFFFFFFu) | (approx_bits(x) & 0x80000000u));
}

/* p times 2^n, n as the rounding constant left it in t's low bits, within -600 and 400 */
static inline float approx_scale(float p, float t)
{
	/* n = half + rest; unsigned, since a NaN leaves any bits in t. 1024 keeps the halving of negatives exact. */
	uint32_t n_up = approx_bits(t) - approx_bits(EXP_ROUND) + 1024, half = n_up >> 1, rest = n_up - half;
	return p * approx_float((half - 512 + 127) << 23) * approx_float((rest - 512 + 127) << 23);
}

static inline float approx_exp(float x)
{
	x = x < EXP_LOW ? EXP_LOW : x;
	x = x > EXP_HIGH ? EXP_HIGH : x;
	float t = x * EXP_LOG2E + EXP_ROUND;
	float n = t - EXP_ROUND;
	float r = (x - n * EXP_LN2_HIGH) - n * EXP_LN2_LOW;
	float p = EXP_2 + r * (EXP_3 + r * (EXP_4 + r * (EXP_5 + r * EXP_6)));
	p = 1.0f + (r + r * r * p);
	return approx_scale(p, t);
}

static inline float approx_exp2(float x)
{
	x = x < EXP2_LOW ? EXP2_LOW : x;
	float t = x + EXP_ROUND, n = t - EXP_ROUND;
	if (n > x) {
		t -= 1;
		n -= 1;
	}
	float r = x - n;
	return approx_scale(1.0f + r * (EXP2_1 + r * (EXP2_2 + r * (EXP2_3 + r * (EXP2_4 + r * EXP2_5)))), t);
}

static inline float approx_erf(float x)
{
	float t = approx_abs(x), s = x * x;
	if (t < ERF_SPLIT)
		return x + x * (ERF_1 + s * (ERF_3 + s * (ERF_5 + s * (ERF_7 + s * (ERF_9 + s * ERF_11)))));
	t = t > ERFC_TOP ? ERFC_TOP : t;
	float q = ERFC_0 + t * (ERFC_1 + t * (ERFC_2 + t * (ERFC_3 + t * (ERFC_4 + t * ERFC_5))));
	return approx_sign(1.0f - approx_exp(-t * q), x);
}

static inline float approx_tanh(float x)
{
	float t = approx_abs(x), s = x * x;
	if (t < TANH_SPLIT)
		return x + x * s * (TANH_3 + s * (TANH_5 + s * (TANH_7 + s * (TANH_9 + s * TANH_11))));
	return approx_sign(1.0f - 2.0f / (approx_exp(2.0f * t) + 1.0f), x);
}

static inline float approx_sigmoid(float x)
{
	return 1.0f / (1.0f + approx_exp(-x));
}

/* log in double precision, relative error below 1e-14 for normal x; log(0) is -infinity, NaN and infinity stay. dtype.c */
double approx_log(double x);

#endif
