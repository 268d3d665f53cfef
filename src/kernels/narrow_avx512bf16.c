/*
 * narrow_avx512bf16.c - the register tiles of 14 x 32 for products of bfloat16 (vdpbf16ps) and of 8-bit numbers (vpdpbusd).
 *
 * A word of A against a vector of 16 words of a panel: two or four products a lane and instruction, at the rate of the
 * multiply-adds of f32, so the shape is that of gemm_avx512.c: 28 accumulators, 2 vectors of the panel, 1 broadcast word.
 *
 * vdpbf16ps adds first the product of the high halves, then that of the low ones, each rounded to nearest, subnormals
 * taken as 0. AMX tiles are not used: none of the machines this was written on has them.
 */
#include "kernels/attend_inner.h"
#include "kernels/narrow_end_avx512.h"

enum { ROWS = 14, COLUMNS = 32, DEPTH = 1024 };

INLINE __m512i word(const char *at)
{
	int32_t w;
	__builtin_memcpy(&w, at, 4);
	return _mm512_set1_epi32(w);
}

INLINE __m512i step(const precision as, __m512i acc, __m512i x, __m512i b)
{
	if (as == PRECISION_INT8)
		return _mm512_dpbusd_epi32(acc, x, b);
	return _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(acc), (__m512bh)x, (__m512bh)b));
}

INLINE __m512i sum(const precision as, __m512i x, __m512i y)
{
	if (as == PRECISION_INT8)
		return _mm512_add_epi32(x, y);
	return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(y)));
}

INLINE void tile_rows(const precision as, const int rows, const packed_call *t)
{
	__m512i acc[ROWS][2];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i][0] = acc[i][1] = _mm512_setzero_si512();
	const int64_t row = 4 * t->row_step, soon_step = t->soon_step, rows_step = t->rows_step;
	const char *a0 = t->a, *a3 = a0 + 3 * row, *a6 = a3 + 3 * row, *a9 = a6 + 3 * row, *a12 = a9 + 3 * row;
	const char *b = t->panel, *soon = t->soon, *rows_soon = t->rows_soon;
	for (int64_t p = t->words; p > 0; p--) {
		__m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + 64);
		_mm_prefetch(soon, _MM_HINT_T1);
		_mm_prefetch(rows_soon, _MM_HINT_T1);
		UNROLL for (int i = 0; i < rows; i++) {
			const char *from = i < 3 ? a0 : i < 6 ? a3 : i < 9 ? a6 : i < 12 ? a9 : a12;
			__m512i x = word(from + (i % 3) * row);
			acc[i][0] = step(as, acc[i][0], x, b0);
			acc[i][1] = step(as, acc[i][1], x, b1);
		}
		a0 += 4;
		a3 += 4;
		a6 += 4;
		a9 += 4;
		a12 += 4;
		b += 128;
		soon += soon_step;
		rows_soon += rows_step;
	}
	UNROLL for (int i = 0; i < rows; i++) {
		char *c = (char *)t->c + 4 * i * t->ldc;
		UNROLL for (int v = 0; v < 2; v++) {
			if (t->add)
				acc[i][v] = sum(as, _mm512_loadu_si512(c + 64 * v), acc[i][v]);
			_mm512_storeu_si512(c + 64 * v, acc[i][v]);
		}
	}
}

#define TILE_CASE(n)             \
	case n:                      \
		tile_rows(as, n, t);     \
		break;

INLINE void tile_part(const precision as, const packed_call *t)
{
	switch (t->m) {
		TILE_CASE(1)
		TILE_CASE(2)
		TILE_CASE(3)
		TILE_CASE(4)
		TILE_CASE(5)
		TILE_CASE(6)
		TILE_CASE(7)
		TILE_CASE(8)
		TILE_CASE(9)
		TILE_CASE(10)
		TILE_CASE(11)
		TILE_CASE(12)
		TILE_CASE(13)
	default:
		tile_rows(as, 14, t);
	}
}

static void tile_bf16(const packed_call *p)
{
	tile_part(PRECISION_BF16, p);
}

static void tile_int8(const packed_call *p)
{
	tile_part(PRECISION_INT8, p);
}

static void to_bf16(int64_t n, const float *x, uint16_t *y)
{
	int64_t i = 0;
	for (; i + 32 <= n; i += 32)
		_mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
	for (; i < n; i += 16)
		_mm256_mask_storeu_epi16(y + i, wide_mask(n - i), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(wide_mask(n - i), x + i)));
}

INLINE __m256i to_half(__m512 v)
{
	return (__m256i)_mm512_cvtneps_pbh(v);
}

static FINISH_ENTRY(finish, to_half)

const inner inner_avx512bf16 = {
	.rows = ROWS,
	.columns = COLUMNS,
	.depth = DEPTH,
	.tile = gemm_tile_avx512,
	.pack_rows = gemm_pack_rows_avx512,
	.pack_columns = gemm_pack_columns_avx512,
	.few = gemm_few_avx512,
	.ahead = gemm_ahead_avx2,
	.pairs_rows = pairs_rows_avx512bf16,
	.pairs_columns = pairs_columns_avx512bf16,
	.pairs_turned = pairs_turned_avx512bf16,
	.softmax_tile = attend_softmax_avx512,
	.grad_tile = attend_grad_avx512,
	.finite = attend_finite_avx512,
	.attend = &attend_f32_avx512,
	.attend_bf16 = &attend_bf16_avx512bf16,
	.packed = {{ROWS, COLUMNS, DEPTH, gemm_packed_tile_avx512}, {ROWS, COLUMNS, DEPTH, tile_bf16}, {ROWS, COLUMNS, DEPTH, tile_int8}},
	.quant = &quant_avx512bf16,
	.finish = finish,
	.fetch = narrow_fetch_avx2,
	.largest = narrow_largest_avx512,
	.to_int8 = narrow_to_int8_avx512,
	.to_bf16 = to_bf16,
	.table = &kernels_avx512bf16,
};
