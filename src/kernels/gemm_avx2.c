/*
 * gemm_avx2.c - the register tile of 6 x 16 for AVX2 and FMA, and packing.
 *
 *        b0      b1          12 accumulators, 2 vectors of B and 1 broadcast value of A: 15 of the 16 registers.
 *   a0 │ c0 0  │ c0 1 │      Each step of k is 2 loads, 6 broadcasts and 12 multiply-adds; the adds have a latency of 4
 *   .. │       │      │      and a rate of 2, so 8 chains suffice to keep both units busy.
 *   a5 │ c5 0  │ c5 1 │
 */
#include "kernels/attend_inner.h"
#include "kernels/lanes_avx2.h"

enum { ROWS = 6, COLUMNS = 16, DEPTH = 384 };

typedef struct {
	const float *a;
	int64_t row_step, k_step;
	const float *b;
	int64_t ldb;
	float *c;
	int64_t ldc, k;
	bool add;
} tile_call;

/* rows is a constant; n < 16 only where tail is set */
INLINE void tile_rows(const int rows, const bool tail, const tile_call *t, int64_t n)
{
	const __m256i mask0 = lanes_mask(n), mask1 = lanes_mask(n - 8);
	__m256 acc[ROWS][2];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i][0] = acc[i][1] = _mm256_setzero_ps();
	const float *low = t->a, *high = t->a + 3 * t->row_step, *b = t->b;
	for (int64_t p = 0; p < t->k; p++) {
		__m256 b0 = tail ? _mm256_maskload_ps(b, mask0) : _mm256_loadu_ps(b);
		__m256 b1 = tail ? _mm256_maskload_ps(b + 8, mask1) : _mm256_loadu_ps(b + 8);
		UNROLL for (int i = 0; i < rows; i++) {
			__m256 x = _mm256_broadcast_ss((i < 3 ? low : high) + (i % 3) * t->row_step);
			acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
			acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
		}
		low += t->k_step;
		high += t->k_step;
		b += t->ldb;
	}
	UNROLL for (int i = 0; i < rows; i++) {
		float *c = t->c + i * t->ldc;
		UNROLL for (int v = 0; v < 2; v++) {
			const __m256i mask = v ? mask1 : mask0;
			if (tail) {
				if (t->add)
					acc[i][v] = _mm256_add_ps(_mm256_maskload_ps(c + 8 * v, mask), acc[i][v]);
				_mm256_maskstore_ps(c + 8 * v, mask, acc[i][v]);
			} else {
				if (t->add)
					acc[i][v] = _mm256_add_ps(_mm256_loadu_ps(c + 8 * v), acc[i][v]);
				_mm256_storeu_ps(c + 8 * v, acc[i][v]);
			}
		}
	}
}

static void tile_full(const tile_call *t)
{
	tile_rows(ROWS, false, t, COLUMNS);
}

static void tile_part(int64_t rows, int64_t n, const tile_call *t)
{
	switch (rows) {
	case 1:
		tile_rows(1, true, t, n);
		break;
	case 2:
		tile_rows(2, true, t, n);
		break;
	case 3:
		tile_rows(3, true, t, n);
		break;
	case 4:
		tile_rows(4, true, t, n);
		break;
	case 5:
		tile_rows(5, true, t, n);
		break;
	default:
		tile_rows(ROWS, true, t, n);
	}
}

static void tile(int64_t m, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add)
{
	for (int64_t i = 0; i < m; i += ROWS)
		for (int64_t j = 0; j < n; j += COLUMNS) {
			tile_call t = {a + i * row_step, row_step, k_step, b + j, ldb, c + i * ldc + j, ldc, k, add};
			if (m - i >= ROWS && n - j >= COLUMNS)
				tile_full(&t);
			else
				tile_part(int_min(ROWS, m - i), int_min(COLUMNS, n - j), &t);
		}
}

/* ------------------------------------------------------------------------------------------------ packing */
/* Eight columns of a panel: rows of b, transposed. */
INLINE void pack_eight(const dtype type, const int64_t size, int64_t n, int64_t k, const char *b, int64_t ldb, float *panel)
{
	for (int64_t p = 0; p < k; p += 8) {
		__m256 r[8];
		int64_t left = k - p;
		UNROLL for (int i = 0; i < 8; i++)
			r[i] = i < n ? lanes_widen(type, b + (i * ldb + p) * size, left) : _mm256_setzero_ps();
		lanes_transpose(r);
		UNROLL for (int i = 0; i < 8; i++)
			if (i < left)
				_mm256_storeu_ps(panel + (p + i) * COLUMNS, r[i]);
	}
}

static void pack_rows(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	for (int64_t j = 0; j < COLUMNS; j += 8) {
		if (type == DT_F32)
			pack_eight(DT_F32, 4, n - j, k, (const char *)b + j * ldb * 4, ldb, panel + j);
		else if (type == DT_F16)
			pack_eight(DT_F16, 2, n - j, k, (const char *)b + j * ldb * 2, ldb, panel + j);
		else
			pack_eight(DT_BF16, 2, n - j, k, (const char *)b + j * ldb * 2, ldb, panel + j);
	}
}

static void pack_columns(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	const char *from = b;
	const int64_t size = (int64_t)dtype_size(type);
	for (int64_t p = 0; p < k; p++, from += ldb * size, panel += COLUMNS)
		for (int64_t j = 0; j < COLUMNS; j += 8)
			_mm256_storeu_ps(panel + j, j < n ? lanes_widen(type, from + j * size, n - j) : _mm256_setzero_ps());
}

static void packed_tile_f32(const packed_call *p)
{
	tile(p->m, COLUMNS, p->words, p->a, p->row_step, 1, p->panel, COLUMNS, p->c, p->ldc, p->add);
}

void gemm_ahead_avx2(int64_t rows, int64_t bytes, const void *from, int64_t step)
{
	const char *row = from;
	for (; rows > 0; rows--, row += step) {
		for (int64_t i = 0; i < bytes; i += 64)
			_mm_prefetch(row + i, _MM_HINT_T1);
		_mm_prefetch(row + bytes - 1, _MM_HINT_T1);
	}
}

const inner inner_avx2 = {
	.rows = ROWS,
	.columns = COLUMNS,
	.depth = DEPTH,
	.tile = tile,
	.pack_rows = pack_rows,
	.pack_columns = pack_columns,
	.few = gemm_few_avx2,
	.ahead = gemm_ahead_avx2,
	.pairs_rows = pairs_rows_portable,
	.pairs_columns = pairs_columns_portable,
	.pairs_turned = pairs_turned_portable,
	.softmax_tile = attend_softmax_avx2,
	.grad_tile = attend_grad_avx2,
	.finite = attend_finite_avx2,
	.attend = &attend_f32_avx2,
	.attend_bf16 = &attend_bf16_avx2,
	.packed = {{ROWS, COLUMNS, DEPTH, packed_tile_f32}, {4, COLUMNS, DEPTH, narrow_tile_bf16_avx2}, {4, COLUMNS, DEPTH, narrow_tile_int8_avx2}},
	.quant = &quant_avx2,
	.finish = narrow_finish_avx2,
	.fetch = narrow_fetch_avx2,
	.largest = narrow_largest_avx2,
	.to_int8 = narrow_to_int8_avx2,
	.to_bf16 = narrow_to_bf16_avx2,
	.table = &kernels_avx2,
};
