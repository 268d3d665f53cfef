/*
 * gemm_neon.c - the register tile of 6 x 16 for NEON, packing, and products of fewer than 8 rows.
 *
 *        b0   b1   b2   b3       24 accumulators, 4 vectors of B and a broadcast value of A: 29 of the 32 registers.
 *   a0 │ c00  c01  c02  c03 │    Each step of k is 4 loads, 6 broadcasts and 24 multiply-adds.
 *   .. │                    │
 *   a5 │ c50  c51  c52  c53 │
 *
 * few: four chains of four lanes over k modulo 16, added as (0 + 1) + (2 + 3), then across; up to three rows of A at a time.
 */
#include "kernels/attend_inner.h"
#include "kernels/lanes_neon.h"

enum { ROWS = 6, COLUMNS = 16, DEPTH = 256, FEW_ROWS = 3 };

typedef struct {
	const float *a;
	int64_t row_step, k_step;
	const float *b;
	int64_t ldb;
	float *c;
	int64_t ldc, k;
	bool add;
} tile_call;

/* How many values are left for vector v of n columns: at least 0 */
static inline int64_t left_of(int64_t n, int v)
{
	return int_max(0, int_min(4, n - 4 * v));
}

/* rows is a constant; n < 16 only where tail is set */
INLINE void tile_rows(const int rows, const bool tail, const tile_call *t, int64_t n)
{
	float32x4_t acc[ROWS][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++)
			acc[i][v] = lanes_zero();
	const float *a = t->a, *b = t->b;
	for (int64_t p = 0; p < t->k; p++, a += t->k_step, b += t->ldb) {
		float32x4_t y[4];
		UNROLL for (int v = 0; v < 4; v++)
			y[v] = !tail ? vld1q_f32(b + 4 * v) : left_of(n, v) ? lanes_get(b + 4 * v, left_of(n, v)) : lanes_zero();
		UNROLL for (int i = 0; i < rows; i++) {
			float32x4_t x = vld1q_dup_f32(a + i * t->row_step);
			UNROLL for (int v = 0; v < 4; v++)
				acc[i][v] = vfmaq_f32(acc[i][v], x, y[v]);
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++) {
			float *c = t->c + i * t->ldc + 4 * v;
			int64_t left = tail ? left_of(n, v) : 4;
			if (!left)
				continue;
			if (t->add)
				acc[i][v] = vaddq_f32(lanes_get(c, left), acc[i][v]);
			lanes_put(c, left, acc[i][v]);
		}
}

static void tile_full(const tile_call *t)
{
	tile_rows(ROWS, false, t, COLUMNS);
}

static void tile_wide(int64_t rows, const tile_call *t)
{
	switch (rows) {
	case 1:
		tile_rows(1, false, t, COLUMNS);
		break;
	case 2:
		tile_rows(2, false, t, COLUMNS);
		break;
	case 3:
		tile_rows(3, false, t, COLUMNS);
		break;
	case 4:
		tile_rows(4, false, t, COLUMNS);
		break;
	default:
		tile_rows(5, false, t, COLUMNS);
	}
}

/* Fewer columns are rare: a row at a time */
static void tile_narrow(int64_t rows, int64_t n, tile_call t)
{
	for (int64_t i = 0; i < rows; i++, t.a += t.row_step, t.c += t.ldc)
		tile_rows(1, true, &t, n);
}

static void tile(int64_t m, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add)
{
	for (int64_t i = 0; i < m; i += ROWS)
		for (int64_t j = 0; j < n; j += COLUMNS) {
			tile_call t = {a + i * row_step, row_step, k_step, b + j, ldb, c + i * ldc + j, ldc, k, add};
			if (n - j < COLUMNS)
				tile_narrow(int_min(ROWS, m - i), n - j, t);
			else if (m - i >= ROWS)
				tile_full(&t);
			else
				tile_wide(m - i, &t);
		}
}

/* ------------------------------------------------------------------------------------------------ packing */
/* Four columns of a panel: rows of b, transposed. */
INLINE void pack_four(const dtype type, const int64_t size, int64_t n, int64_t k, const char *b, int64_t ldb, float *panel)
{
	for (int64_t p = 0; p < k; p += 4) {
		float32x4_t r[4];
		int64_t left = k - p;
		UNROLL for (int i = 0; i < 4; i++)
			r[i] = i < n ? lanes_widen(type, b + (i * ldb + p) * size, left) : lanes_zero();
		lanes_transpose(r);
		UNROLL for (int i = 0; i < 4; i++)
			if (i < left)
				vst1q_f32(panel + (p + i) * COLUMNS, r[i]);
	}
}

static void pack_rows(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	for (int64_t j = 0; j < COLUMNS; j += 4) {
		if (type == DT_F32)
			pack_four(DT_F32, 4, n - j, k, (const char *)b + j * ldb * 4, ldb, panel + j);
		else if (type == DT_F16)
			pack_four(DT_F16, 2, n - j, k, (const char *)b + j * ldb * 2, ldb, panel + j);
		else
			pack_four(DT_BF16, 2, n - j, k, (const char *)b + j * ldb * 2, ldb, panel + j);
	}
}

static void pack_columns(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	const char *from = b;
	const int64_t size = (int64_t)dtype_size(type);
	for (int64_t p = 0; p < k; p++, from += ldb * size, panel += COLUMNS)
		for (int64_t j = 0; j < COLUMNS; j += 4)
			vst1q_f32(panel + j, j < n ? lanes_widen(type, from + j * size, n - j) : lanes_zero());
}

/* ------------------------------------------------------------------------------------------------ few rows */
INLINE void few_row(const int rows, const dtype type, const int64_t size, int64_t k, const float *a, int64_t lda, const char *b, float *c,
                    int64_t ldc)
{
	float32x4_t acc[FEW_ROWS][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++)
			acc[i][v] = lanes_zero();
	int64_t p = 0;
	for (; p + 16 <= k; p += 16)
		UNROLL for (int v = 0; v < 4; v++) {
			float32x4_t w = lanes_widen(type, b + (p + 4 * v) * size, 4);
			UNROLL for (int i = 0; i < rows; i++)
				acc[i][v] = vfmaq_f32(acc[i][v], vld1q_f32(a + i * lda + p + 4 * v), w);
		}
	UNROLL for (int v = 0; v < 4; v++) {
		int64_t left = k - p - 4 * v;
		if (left <= 0)
			break;
		float32x4_t w = lanes_widen(type, b + (p + 4 * v) * size, left);
		UNROLL for (int i = 0; i < rows; i++)
			acc[i][v] = vfmaq_f32(acc[i][v], lanes_get(a + i * lda + p + 4 * v, left), w);
	}
	UNROLL for (int i = 0; i < rows; i++)
		c[i * ldc] = lanes_sum_four(acc[i]);
}

INLINE void few_type(const dtype type, const int64_t size, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const char *b,
                     int64_t ldb, float *c, int64_t ldc)
{
	for (int64_t j = 0; j < n; j++, b += ldb * size, c++)
		for (int64_t i = 0; i < m; i += FEW_ROWS) {
			if (m - i == 1)
				few_row(1, type, size, k, a + i * lda, lda, b, c + i * ldc, ldc);
			else if (m - i == 2)
				few_row(2, type, size, k, a + i * lda, lda, b, c + i * ldc, ldc);
			else
				few_row(3, type, size, k, a + i * lda, lda, b, c + i * ldc, ldc);
		}
}

static void few(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b, int64_t ldb, float *c, int64_t ldc)
{
	if (type == DT_F32)
		few_type(DT_F32, 4, m, n, k, a, lda, b, ldb, c, ldc);
	else if (type == DT_F16)
		few_type(DT_F16, 2, m, n, k, a, lda, b, ldb, c, ldc);
	else
		few_type(DT_BF16, 2, m, n, k, a, lda, b, ldb, c, ldc);
}

static void packed_tile_f32(const packed_call *p)
{
	tile(p->m, COLUMNS, p->words, p->a, p->row_step, 1, p->panel, COLUMNS, p->c, p->ldc, p->add);
}

const inner inner_neon = {
	.rows = ROWS,
	.columns = COLUMNS,
	.depth = DEPTH,
	.tile = tile,
	.pack_rows = pack_rows,
	.pack_columns = pack_columns,
	.few = few,
	.ahead = gemm_ahead_portable,
	.pairs_rows = pairs_rows_portable,
	.pairs_columns = pairs_columns_portable,
	.pairs_turned = pairs_turned_portable,
	.softmax_tile = attend_softmax_neon,
	.grad_tile = softmax_grad_portable,
	.finite = softmax_finite_portable,
	.attend = &attend_f32_neon,
	.attend_bf16 = &attend_bf16_neon,
	.packed = {{ROWS, COLUMNS, DEPTH, packed_tile_f32}, {4, COLUMNS, DEPTH, narrow_tile_bf16_neon}, {4, COLUMNS, DEPTH, narrow_tile_int8_neon}},
	.quant = &quant_portable,
	.finish = narrow_finish_neon,
	.fetch = narrow_fetch,
	.largest = narrow_largest_neon,
	.to_int8 = narrow_to_int8_neon,
	.to_bf16 = narrow_to_bf16_neon,
	.table = &kernels_neon,
};
