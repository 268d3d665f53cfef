/*
 * rotate.c - rotary position embedding (Su et al. 2021), portable.
 *
 *   half-split (pairing 0)   x: [ x1 ........ | x2 ........ | copied ]     interleaved (1):  [ x1 x2 x1 x2 ... | copied ]
 *   y1 = x1 cos - x2 sin     y2 = x2 cos + x1 sin                          row of cos_sin:   [ cos ... | sin ... ]
 *
 * Both values of a pair are read before either is written, so a head may be rotated in place.
 */
#include "kernels/entries.h"
#include "kernels/inner.h"

#include <string.h>

void kernel_rotate(int64_t rows, int32_t heads, int32_t head_dim, int32_t half, int pairing, float sign, const float *x,
                   int64_t ldx, const float *cos_sin, int64_t ldc, float *y, int64_t ldy)
{
	for (int64_t r = 0; r < rows; r++)
		for (int32_t h = 0; h < heads; h++) {
			const float *from = x + r * ldx + (int64_t)h * head_dim, *c = cos_sin + r * ldc, *s = c + half;
			float *to = y + r * ldy + (int64_t)h * head_dim;
			for (int32_t i = 0; i < half; i++) {
				int32_t i1 = pairing ? 2 * i : i, i2 = pairing ? 2 * i + 1 : i + half;
				float x1 = from[i1], x2 = from[i2], sine = sign * s[i];
				to[i1] = x1 * c[i] - x2 * sine;
				to[i2] = x2 * c[i] + x1 * sine;
			}
			if (from != to && head_dim > 2 * half)
				memcpy(to + 2 * half, from + 2 * half, (size_t)(head_dim - 2 * half) * sizeof *to);
		}
}
