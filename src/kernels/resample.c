/*
 * resample.c - weighted sums of bytes along an axis: the definition; see `resample` in kernels.h.
 *
 *   across   a row     r g b r g b r g b r g b ...   ─►  R G B R G B ...     position i from count[i] pixels from lo[i] on
 *   down     rows      lo[i], lo[i] + 1, ...         ─►  row i               each column by itself
 */
#include "kernels/entries.h"

enum { BLOCK = 64 };

static uint8_t clip(int32_t v)
{
	return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void kernel_resample_across(const resample *x, int64_t rows, int32_t channels, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	const int32_t half = 1 << (x->shift - 1);
	for (int64_t r = 0; r < rows; r++, in += ldi, out += ldo)
		for (int64_t i = 0; i < x->n_out; i++) {
			const int32_t *q = x->q + i * x->taps;
			const uint8_t *from = in + (int64_t)x->lo[i] * channels;
			for (int32_t c = 0; c < channels; c++) {
				int32_t sum = half;
				for (int32_t k = 0; k < x->count[i]; k++)
					sum += q[k] * from[k * channels + c];
				out[i * channels + c] = clip(sum >> x->shift);
			}
		}
}

/* A block has a constant length where it can, so that compilers make vectors of it. */
static void down_block(const int32_t *q, int32_t count, int32_t shift, const uint8_t *in, int64_t ldi, int n, uint8_t *out)
{
	int32_t sum[BLOCK];
	for (int j = 0; j < n; j++)
		sum[j] = 1 << (shift - 1);
	for (int32_t k = 0; k < count; k++)
		for (int j = 0; j < n; j++)
			sum[j] += q[k] * in[k * ldi + j];
	for (int j = 0; j < n; j++)
		out[j] = clip(sum[j] >> shift);
}

void kernel_resample_down(const resample *x, int64_t width, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	for (int64_t i = 0; i < x->n_out; i++, out += ldo) {
		const int32_t *q = x->q + i * x->taps;
		const uint8_t *from = in + x->lo[i] * ldi;
		int64_t j = 0;
		for (; j + BLOCK <= width; j += BLOCK)
			down_block(q, x->count[i], x->shift, from + j, ldi, BLOCK, out + j);
		if (j < width)
			down_block(q, x->count[i], x->shift, from + j, ldi, (int)(width - j), out + j);
	}
}
