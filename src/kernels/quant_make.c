/*
 * quant_make.c - values made into blocks of 32 (quant.h): the roundings of the reference, to the bit.
 *
 *   Q4_0, Q5_0   d = (the value of largest magnitude) / -8 (-16), so that it is met exactly; q = floor(x / d + 8.5), at most 15 (31)
 *   Q4_1, Q5_1   m the least, d = (largest - least) / 15 (31); q = floor((x - m) / d + 0.5)
 *   Q8_0         d = max |x| / 127; q = x / d to nearest, halves away from zero
 *
 * x / d is x times the rounded 1 / d. Scales are then rounded to f16, to nearest even.
 */
#include "kernels/quant.h"

#include <math.h>
#include <string.h>

enum { N = QUANT_GROUP };

static void put_half(uint8_t *to, float x)
{
	uint16_t bits = dtype_to_half(x);
	to[0] = (uint8_t)(bits & 255);
	to[1] = (uint8_t)(bits >> 8);
}

/* As the reference's cast: of what is no number or out of range nothing is promised, but nothing undefined happens. */
static int whole(float x, int most)
{
	return x >= 0 ? x < (float)most ? (int)x : most : 0;
}

static void put_halves(const int q[N], uint8_t *fifth, uint8_t *to)
{
	uint32_t bits = 0;
	for (int i = 0; i < N; i++)
		bits |= (uint32_t)(q[i] >> 4) << i;
	for (int i = 0; i < 16; i++)
		to[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
	for (int i = 0; fifth && i < 4; i++)
		fifth[i] = (uint8_t)(bits >> 8 * i);
}

static float inverse(float d)
{
	return d == 0 ? 0 : 1 / d;
}

static void make_centred(const float *x, int steps, uint8_t *to)
{
	int q[N];
	float most = 0;
	for (int i = 0; i < N; i++)
		most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
	float d = most / (float)-steps, id = inverse(d);
	for (int i = 0; i < N; i++)
		q[i] = whole(x[i] * id + ((float)steps + 0.5f), 2 * steps - 1);
	put_half(to, d);
	put_halves(q, steps == 16 ? to + 2 : NULL, to + (steps == 16 ? 6 : 2));
}

static void make_ranged(const float *x, int steps, uint8_t *to)
{
	int q[N];
	float least = x[0], most = x[0];
	for (int i = 1; i < N; i++) {
		least = x[i] < least ? x[i] : least;
		most = x[i] > most ? x[i] : most;
	}
	float d = (most - least) / (float)steps, id = inverse(d);
	for (int i = 0; i < N; i++)
		q[i] = whole((x[i] - least) * id + 0.5f, steps);
	put_half(to, d);
	put_half(to + 2, least);
	put_halves(q, steps == 31 ? to + 4 : NULL, to + (steps == 31 ? 8 : 4));
}

static void make_bytes(const float *x, uint8_t *to)
{
	float most = 0;
	for (int i = 0; i < N; i++)
		most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
	float d = most / 127, id = inverse(d);
	put_half(to, d);
	for (int i = 0; i < N; i++) {
		float y = x[i] * id, a = fabsf(y), low = floorf(a);
		int q = whole(low + floorf(2 * (a - low)), 127);
		to[2 + i] = (uint8_t)(y < 0 ? -q : q);
	}
}

bool quant_make(dtype type, int64_t n, const float *x, void *y)
{
	uint8_t *to = y;
	if (type < DT_Q4_0 || type > DT_Q8_0)
		return false;
	for (int64_t i = 0; i < n; i += N, to += dtype_bytes(type, N)) {
		if (type == DT_Q8_0)
			make_bytes(x + i, to);
		else if (type == DT_Q4_0 || type == DT_Q5_0)
			make_centred(x + i, type == DT_Q4_0 ? 8 : 16, to);
		else
			make_ranged(x + i, type == DT_Q4_1 ? 15 : 31, to);
	}
	return true;
}
