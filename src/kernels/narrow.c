/*
 * narrow.c - products of bfloat16 and of 8-bit numbers, the epilogue of every packed product, and the roundings: the
 * portable definition.
 *
 *   BF16  a word is two values:   c += a1 b1 + a0 b0         in f32, every product exact
 *   INT8  a word is four bytes:   c += sum of a b            a unsigned (value + 128), b signed; exact in 32 bits
 *
 * Rounding to bfloat16 keeps infinities and NaNs; rounding to 8 bits is to nearest even, by adding and taking away 1.5 * 2^23.
 */
#include "kernels/approx.h"
#include "kernels/inner.h"

#include <string.h>

enum { PANEL = 16 };

static uint32_t word_at(const void *p, int64_t index)
{
	uint32_t w;
	memcpy(&w, (const char *)p + 4 * index, 4);
	return w;
}

void narrow_tile_bf16(const packed_call *t)
{
	for (int64_t i = 0; i < t->m; i++) {
		float sum[PANEL] = {0}, *to = (float *)t->c + i * t->ldc;
		for (int64_t p = 0; p < t->words; p++) {
			uint32_t x = word_at(t->a, i * t->row_step + p);
			float low = approx_float(x << 16), high = approx_float(x & 0xFFFF0000u);
			for (int j = 0; j < PANEL; j++) {
				uint32_t y = word_at(t->panel, p * PANEL + j);
				sum[j] += high * approx_float(y & 0xFFFF0000u);
				sum[j] += low * approx_float(y << 16);
			}
		}
		for (int j = 0; j < PANEL; j++)
			to[j] = t->add ? to[j] + sum[j] : sum[j];
	}
}

void narrow_tile_int8(const packed_call *t)
{
	for (int64_t i = 0; i < t->m; i++) {
		int32_t sum[PANEL] = {0}, *to = (int32_t *)t->c + i * t->ldc;
		const uint8_t *x = (const uint8_t *)t->a + 4 * i * t->row_step;
		const int8_t *y = t->panel;
		for (int64_t p = 0; p < t->words; p++, x += 4, y += 4 * PANEL)
			for (int j = 0; j < PANEL; j++)
				for (int b = 0; b < 4; b++)
					sum[j] += x[b] * y[4 * j + b];
		for (int j = 0; j < PANEL; j++)
			to[j] = t->add ? to[j] + sum[j] : sum[j];
	}
}

void narrow_finish(const tile_end *e)
{
	for (int64_t i = 0; i < e->rows; i++) {
		float *x = e->tile + i * e->columns;
		for (int64_t j = 0; j < e->n; j++) {
			if (e->scale) {
				int32_t sum;
				memcpy(&sum, &x[j], sizeof sum);
				x[j] = (float)(sum - e->offset[j]) * (e->row_scale[i * e->row_step] * e->scale[j]);
			}
			if (e->bias)
				x[j] += e->bias[j];
		}
		if (e->act != ACT_NONE)
			kernels_portable.act(e->act, e->n, x, x);
		for (int64_t j = 0; j < e->n; j++)
			x[j] = e->residual ? x[j] + e->residual[i * e->ldr + j] : x[j];
		if (e->half)
			narrow_to_bf16(e->n, x, e->half + i * e->ldh);
		else
			memcpy(e->c + i * e->ldc, x, (size_t)e->n * sizeof *x);
	}
}

void narrow_fetch(const tile_end *e)
{
	(void)e; /* C17 has no way to ask */
}

float narrow_largest(int64_t n, const float *x)
{
	uint32_t most = 0;
	for (int64_t i = 0; i < n; i++) {
		uint32_t bits = approx_bits(x[i]) & 0x7FFFFFFFu;
		most = bits > most ? bits : most;
	}
	return approx_float(most < 0x7F800000u ? most : 0x7FC00000u);
}

void narrow_to_int8(int64_t n, const float *x, float factor, uint8_t *y)
{
	const float round = 0x1.8p23f;
	for (int64_t i = 0; i < n; i++)
		y[i] = (uint8_t)((int)(x[i] * factor + round - round) + 128);
}

void narrow_to_bf16(int64_t n, const float *x, uint16_t *y)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = dtype_to_bfloat(x[i]);
}
