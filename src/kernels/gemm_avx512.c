/*
 * gemm_avx512.c - the register tile of 14 x 32 for AVX-512, and packing.
 *
 *         b0       b1        28 accumulators, 2 vectors of B, 1 broadcast value of A: 31 of the 32 registers. A step of k
 *   a0  │ c0 0   │ c0 1  │   is 2 loads, 14 broadcasts and 28 multiply-adds. Tiles with fewer rows have a kernel each, and
 *   ..  │        │       │   so have those with one vector of columns: the chain of an element is the same in all.
 *   a13 │ c13 0  │ c13 1 │
 */
#include "kernels/attend_inner.h"
#include "kernels/lanes_avx512.h"

enum { ROWS = 14, COLUMNS = 32, DEPTH = 1024 };

typedef struct {
	const float *a;
	int64_t row_step, k_step;
	const float *b;
	int64_t ldb;
	float *c;
	int64_t ldc, k;
	bool add;
	__mmask16 mask[2];
	const char *soon, *rows_soon;
	int64_t soon_step, rows_step;
} tile_call;

/* rows and vectors are constants. Row i of A is i % 3 steps from one of five pointers: x86 addresses reach two steps. */
INLINE void tile_rows(const int rows, const int vectors, const tile_call *t)
{
	const __mmask16 mask0 = t->mask[0], mask1 = t->mask[1];
	__m512 acc[ROWS][2];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i][0] = acc[i][1] = _mm512_setzero_ps();
	const int64_t step = t->row_step, k_step = t->k_step, ldb = t->ldb, soon_step = t->soon_step, rows_step = t->rows_step;
	const char *soon = t->soon, *rows_soon = t->rows_soon;
	const float *a0 = t->a, *a3 = a0 + 3 * step, *a6 = a3 + 3 * step, *a9 = a6 + 3 * step, *a12 = a9 + 3 * step, *b = t->b;
	for (int64_t p = t->k; p > 0; p--) {
		__m512 b0 = _mm512_maskz_loadu_ps(mask0, b), b1 = vectors > 1 ? _mm512_maskz_loadu_ps(mask1, b + 16) : b0;
		_mm_prefetch(soon, _MM_HINT_T1);
		_mm_prefetch(rows_soon, _MM_HINT_T1);
		UNROLL for (int i = 0; i < rows; i++) {
			const float *from = i < 3 ? a0 : i < 6 ? a3 : i < 9 ? a6 : i < 12 ? a9 : a12;
			__m512 x = _mm512_set1_ps(from[(i % 3) * step]);
			acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
			if (vectors > 1)
				acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
		}
		a0 += k_step;
		a3 += k_step;
		a6 += k_step;
		a9 += k_step;
		a12 += k_step;
		b += ldb;
		soon += soon_step;
		rows_soon += rows_step;
	}
	UNROLL for (int i = 0; i < rows; i++) {
		float *c = t->c + i * t->ldc;
		UNROLL for (int v = 0; v < vectors; v++) {
			const __mmask16 mask = v ? mask1 : mask0;
			if (t->add)
				acc[i][v] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c + 16 * v), acc[i][v]);
			_mm512_mask_storeu_ps(c + 16 * v, mask, acc[i][v]);
		}
	}
}

#define TILE_CASE(n)            \
	case n:                     \
		if (wide)               \
			tile_rows(n, 2, t); \
		else                    \
			tile_rows(n, 1, t); \
		break;

static void tile_part(int64_t rows, bool wide, const tile_call *t)
{
	switch (rows) {
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
		if (wide)
			tile_rows(14, 2, t);
		else
			tile_rows(14, 1, t);
	}
}

void gemm_tile_avx512(int64_t m, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add)
{
	for (int64_t i = 0; i < m; i += ROWS)
		for (int64_t j = 0; j < n; j += COLUMNS) {
			tile_call t = {a + i * row_step, row_step, k_step, b + j, ldb,
			               c + i * ldc + j,  ldc,      k,      add,   {wide_mask(n - j), wide_mask(n - j - 16)},
			               (const char *)b, (const char *)b, 0, 0};
			tile_part(int_min(ROWS, m - i), n - j > 16, &t);
		}
}

/* ------------------------------------------------------------------------------------------------ packing */
/* Sixteen columns of a panel: rows of b, transposed. */
INLINE void pack_sixteen(const dtype type, const int64_t size, int64_t n, int64_t k, const char *b, int64_t ldb, float *panel)
{
	for (int64_t p = 0; p < k; p += 16) {
		__m512 r[16];
		int64_t left = k - p;
		if (n >= 16 && left >= 16) {
			UNROLL for (int i = 0; i < 16; i++)
				r[i] = wide_widen(type, b + (i * ldb + p) * size, 16);
		} else {
			UNROLL for (int i = 0; i < 16; i++)
				r[i] = i < n ? wide_widen(type, b + (i * ldb + p) * size, left) : _mm512_setzero_ps();
		}
		wide_transpose(r);
		UNROLL for (int i = 0; i < 16; i++)
			if (i < left)
				_mm512_storeu_ps(panel + (p + i) * COLUMNS, r[i]);
	}
}

void gemm_pack_rows_avx512(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	for (int64_t j = 0; j < COLUMNS; j += 16) {
		if (type == DT_F32)
			pack_sixteen(DT_F32, 4, n - j, k, (const char *)b + j * ldb * 4, ldb, panel + j);
		else if (type == DT_F16)
			pack_sixteen(DT_F16, 2, n - j, k, (const char *)b + j * ldb * 2, ldb, panel + j);
		else
			pack_sixteen(DT_BF16, 2, n - j, k, (const char *)b + j * ldb * 2, ldb, panel + j);
	}
}

void gemm_pack_columns_avx512(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	const char *from = b;
	const int64_t size = (int64_t)dtype_size(type);
	for (int64_t p = 0; p < k; p++, from += ldb * size, panel += COLUMNS)
		for (int64_t j = 0; j < COLUMNS; j += 16)
			_mm512_storeu_ps(panel + j, j < n ? wide_widen(type, from + j * size, n - j) : _mm512_setzero_ps());
}

void gemm_packed_tile_avx512(const packed_call *p)
{
	tile_call t = {p->a, p->row_step, 1, p->panel, COLUMNS, p->c, p->ldc, p->words, p->add, {0xFFFF, 0xFFFF}, p->soon, p->rows_soon, p->soon_step,
		p->rows_step};
	tile_part(p->m, true, &t);
}

const inner inner_avx512 = {
	.rows = ROWS,
	.columns = COLUMNS,
	.depth = DEPTH,
	.tile = gemm_tile_avx512,
	.pack_rows = gemm_pack_rows_avx512,
	.pack_columns = gemm_pack_columns_avx512,
	.few = gemm_few_avx512,
	.ahead = gemm_ahead_avx2,
	.pairs_rows = pairs_rows_portable,
	.pairs_columns = pairs_columns_portable,
	.pairs_turned = pairs_turned_portable,
	.softmax_tile = attend_softmax_avx512,
	.grad_tile = attend_grad_avx512,
	.finite = attend_finite_avx512,
	.attend = &attend_f32_avx512,
	.attend_bf16 = &attend_bf16_avx512,
	.packed = {{ROWS, COLUMNS, DEPTH, gemm_packed_tile_avx512}, {4, 16, DEPTH, narrow_tile_bf16_avx2}, {4, 16, DEPTH, narrow_tile_int8_avx2}},
	.quant = &quant_avx2,
	.finish = narrow_finish_avx512,
	.fetch = narrow_fetch_avx2,
	.largest = narrow_largest_avx512,
	.to_int8 = narrow_to_int8_avx512,
	.to_bf16 = narrow_to_bf16_avx512,
	.table = &kernels_avx512,
};
