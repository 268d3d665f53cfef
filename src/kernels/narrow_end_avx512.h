/*
 * narrow_end_avx512.h - the epilogue of packed products for AVX-512, for the files that say how f32 becomes bfloat16.
 *
 *   tile [rows, 16 or 32] ─► scales, offsets (INT8) ─► bias ─► activation ─► residual ─► C, f32 or bf16        a vector at a time
 *
 * It walks a register tile that is still in the first-level cache, once. Whole tiles, which nearly all are, go without masks.
 */
#ifndef REBUS_NARROW_END_AVX512_H
#define REBUS_NARROW_END_AVX512_H

#include "kernels/act_avx512.h"
#include "kernels/inner.h"

/* columns j ... of row i of the tile, scaled and with the bias */
INLINE __m512 finish_raw(const tile_end *e, int64_t i, int64_t j, __mmask16 mask)
{
	__m512 v = _mm512_loadu_ps(e->tile + i * e->columns + j);
	if (e->scale) {
		__m512i sum = _mm512_sub_epi32(_mm512_castps_si512(v), _mm512_maskz_loadu_epi32(mask, e->offset + j));
		__m512 scale = _mm512_mul_ps(wide_set(e->row_scale[i * e->row_step]), _mm512_maskz_loadu_ps(mask, e->scale + j));
		v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
	}
	return e->bias ? _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, e->bias + j)) : v;
}

INLINE void finish_vector(const act_kind act, __m256i (*const to_half)(__m512), const tile_end *e, int64_t i, int64_t j, __mmask16 mask)
{
	__m512 v = act_value(act, finish_raw(e, i, j, mask));
	if (e->residual)
		v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, e->residual + i * e->ldr + j));
	if (e->half)
		_mm256_mask_storeu_epi16(e->half + i * e->ldh + j, mask, to_half(v));
	else
		_mm512_mask_storeu_ps(e->c + i * e->ldc + j, mask, v);
}

INLINE void finish_tile(const act_kind act, __m256i (*const to_half)(__m512), const tile_end *e)
{
	if (e->n == 32) {
		for (int64_t i = 0; i < e->rows; i++) {
			finish_vector(act, to_half, e, i, 0, 0xFFFF);
			finish_vector(act, to_half, e, i, 16, 0xFFFF);
		}
		return;
	}
	for (int64_t i = 0; i < e->rows; i++)
		for (int64_t j = 0; j < e->n; j += 16)
			finish_vector(act, to_half, e, i, j, wide_mask(e->n - j));
}

#define FINISH_CASE(kind, to_half)        \
	case kind:                            \
		finish_tile(kind, to_half, e);    \
		break;

#define FINISH_ENTRY(name, to_half)                                     \
	void name(const tile_end *e)                                        \
	{                                                                   \
		switch (e->act) {                                               \
			FINISH_CASE(ACT_RELU, to_half)                              \
			FINISH_CASE(ACT_GELU, to_half)                              \
			FINISH_CASE(ACT_GELU_TANH, to_half)                         \
			FINISH_CASE(ACT_QUICK_GELU, to_half)                        \
			FINISH_CASE(ACT_SILU, to_half)                              \
			FINISH_CASE(ACT_TANH, to_half)                              \
			FINISH_CASE(ACT_SIGMOID, to_half)                           \
		default:                                                        \
			finish_tile(ACT_NONE, to_half, e);                          \
		}                                                               \
	}

#endif
