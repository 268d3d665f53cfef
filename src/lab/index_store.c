/*
 * index_store.c - how the numbers of a vector are stored (lab/index.h).
 *
 *   f16    each rounded to nearest, ties to even; a number beyond 65504 is refused
 *   int8   each divided by the row's scale, its largest magnitude / 127, and rounded; a row of zeros has the scale 0
 */
#include <math.h>
#include <string.h>

#include "lab/index.h"

size_t index_store_size(rebus_store store)
{
	return store == REBUS_STORE_F32 ? sizeof(float) : store == REBUS_STORE_F16 ? sizeof(uint16_t) : sizeof(int8_t);
}

uint16_t index_half(float x)
{
	uint32_t bits, sign;
	memcpy(&bits, &x, sizeof bits);
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits >= 0x47800000) /* 65536 and more, infinity, NaN */
		return (uint16_t)(sign | (bits > 0x7f800000 ? 0x7e00 : 0x7c00));
	if (bits < 0x38800000) { /* below 2^-14: a multiple of 2^-24, which adding 0.5 rounds to in the lower bits */
		float y;
		memcpy(&y, &bits, sizeof y);
		y += 0.5f;
		memcpy(&bits, &y, sizeof bits);
		return (uint16_t)(sign | (bits - 0x3f000000));
	}
	bits += 0xfff + (bits >> 13 & 1); /* to nearest, ties to even; a carry goes into the exponent */
	return (uint16_t)(sign | ((bits - 0x38000000) >> 13));
}

static float value_at(const uint8_t *vector, size_t i)
{
	float v;
	memcpy(&v, vector + i * sizeof v, sizeof v);
	return v;
}

float index_scale(const uint8_t *vector, size_t width)
{
	float most = 0;
	for (size_t i = 0; i < width; i++)
		most = fmaxf(most, fabsf(value_at(vector, i)));
	return most / 127.0f;
}

bool index_store_put(buf *b, rebus_store store, const uint8_t *vector, size_t width)
{
	float scale = store == REBUS_STORE_INT8 ? index_scale(vector, width) : 0;
	if (store == REBUS_STORE_F32) {
		buf_add(b, vector, width * sizeof(float));
		return true;
	}
	for (size_t i = 0; i < width; i++) {
		float v = value_at(vector, i);
		if (store == REBUS_STORE_F16) {
			uint16_t half = index_half(v);
			if ((half & 0x7fff) >= 0x7c00)
				return false;
			buf_add(b, &half, sizeof half);
		} else {
			float q = scale > 0 ? nearbyintf(v / scale) : 0;
			buf_byte(b, (int8_t)fmaxf(-127, fminf(127, q)));
		}
	}
	return true;
}
