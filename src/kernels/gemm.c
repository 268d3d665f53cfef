/*
 * gemm.c - the matrix product: how it is cut, packed and accumulated (once, for every level), and the portable tile.
 *
 * A task owns a block of C. For each block of `depth` values of k it packs B into panels, then runs every row tile over
 * every panel; partial sums meet in an accumulator in scratch, and the last block of k is followed by the epilogue while
 * the rows are still warm. Goto and van de Geijn (2008) describe the scheme.
 *
 *            n: blocks of 128 (64, 32 where tasks would be few)
 *          ┌─────────┬─────────┐            for k0 = 0, depth, ...
 *   m      │ task 0  │ task 1  │                pack B[k0 ..., block] into panels [k][columns]
 *   blocks ├─────────┼─────────┤                for each row tile: for each panel: acc (+)= A tile * panel
 *   <= 336 │ task 2  │ task 3  │                last k0: C = act(acc + bias) + residual, row tile by row tile
 *          └─────────┴─────────┘
 *
 * An element's chain depends on k and depth alone, so any cut gives the same bits. NT with fewer than 8 rows is bound by
 * memory: no packing, dot products that read each row of B once.
 *
 * TN, a gradient's sum over many rows, has few outputs and long k: about four tasks, their blocks near square so that A^T
 * and B, which each packs for itself, are read as seldom as can be. A^T is packed as B is, row tiles side by side in a
 * panel's columns; blocks of k are short enough that both stay in the second-level cache, where the next block's rows are
 * asked for while this one's are multiplied.
 *
 * A whose rows lie a multiple of 2 KiB apart would fall into a few sets of the first-level cache: it is copied, a row tile
 * at a time.
 */
#include "kernels/attend_inner.h"

#include <string.h>

enum { FEW = 8, BLOCK_ROWS = 336, BLOCK_COLUMNS = 128, WANTED_TASKS = 12, PAD = 16 };

typedef struct {
	int64_t rows, columns, row_blocks, column_blocks;
	bool few;
} cut;

static int64_t equal_parts(int64_t n, int64_t parts, int64_t unit)
{
	return ceil_div(ceil_div(n, parts), unit) * unit;
}

static void cut_turned(const inner *in, const gemm_call *g, cut *c)
{
	c->columns = equal_parts(g->n, ceil_div(g->n, TURNED_COLUMNS), in->columns);
	int64_t wanted = int_min(ceil_div(TURNED_TASKS, ceil_div(g->n, c->columns)), int_max(1, g->m / TURNED_LEAST));
	c->rows = ceil_div(g->m, int_max(wanted, ceil_div(g->m, TURNED_ROWS)));
	c->row_blocks = ceil_div(g->m, c->rows);
}

static cut cut_of(const inner *in, const gemm_call *g)
{
	cut c = {.few = g->form == GEMM_NT && g->m < FEW && !g->whole};
	if (g->m <= 0 || g->n <= 0)
		return c;
	if (c.few) {
		c.rows = g->m;
		c.columns = g->n >= 512 ? 64 : 16;
		c.row_blocks = 1;
	} else if (g->form == GEMM_TN) {
		cut_turned(in, g, &c);
	} else {
		c.row_blocks = ceil_div(g->m, BLOCK_ROWS);
		c.rows = ceil_div(ceil_div(g->m, c.row_blocks), in->rows) * in->rows;
		c.row_blocks = ceil_div(g->m, c.rows);
		c.columns = BLOCK_COLUMNS;
		while (c.columns > 32 && c.row_blocks * ceil_div(g->n, c.columns) < WANTED_TASKS)
			c.columns /= 2;
	}
	c.column_blocks = ceil_div(g->n, c.columns);
	return c;
}

int64_t gemm_cut_tasks(const inner *in, const gemm_call *call)
{
	if (call->pack)
		return gemm_packed_tasks(in, call);
	if (dtype_block(call->b_type) > 1)
		return gemm_quant_tasks(in, call);
	if (call->products == PRECISION_BF16)
		return gemm_rounded_tasks(in, call);
	cut c = cut_of(in, call);
	return c.row_blocks * c.column_blocks;
}

/* The chain of an element is cut here, so this may depend on k alone. Blocks are as equal as can be: a short last one would
 * cost as much beside its work as a long one. */
int64_t gemm_depth(int64_t k, int64_t most)
{
	int64_t blocks = int_max(1, ceil_div(k, most));
	return int_max(16, (ceil_div(k, blocks) + 15) / 16 * 16);
}

static int64_t depth_most(const inner *in, const gemm_call *g)
{
	return g->form == GEMM_TN ? int_min(in->depth, TURNED_DEPTH) : in->depth;
}

/* Row tiles of A^T side by side in a panel */
static int64_t tiles_a_panel(const inner *in)
{
	return in->columns / in->rows;
}

/* Of the largest cut any shape up to this one may have, so that it grows with the shape. */
size_t gemm_cut_scratch(const inner *in, const gemm_call *call)
{
	if (call->pack)
		return gemm_packed_scratch(in, call);
	if (dtype_block(call->b_type) > 1)
		return gemm_quant_scratch(in, call);
	if (call->products == PRECISION_BF16)
		return gemm_rounded_scratch(in, call);
	bool turned = call->form == GEMM_TN;
	int64_t rows = int_min(call->m, turned ? TURNED_ROWS : BLOCK_ROWS) + 2 * in->rows;
	int64_t columns = ceil_div(int_min(int_max(call->n, 1), turned ? TURNED_COLUMNS : BLOCK_COLUMNS), in->columns) * in->columns;
	int64_t depth = int_min(call->k, depth_most(in, call));
	int64_t panels = depth * columns, acc = rows * (columns + PAD);
	int64_t copy = turned ? ceil_div(ceil_div(rows, in->rows), tiles_a_panel(in)) * depth * in->columns : in->rows * (depth + PAD);
	return (size_t)(panels + acc + copy) * sizeof(float) + 3 * 64;
}

static const char *element(const void *b, dtype type, int64_t index)
{
	return (const char *)b + index * (int64_t)dtype_size(type);
}

/* C = act(acc + bias) + residual over n columns; c may be the residual. */
static void finish(const inner *in, const gemm_call *g, int64_t row, int64_t column, int64_t n, float *acc)
{
	const kernels *t = in->table;
	float *c = g->c + row * g->ldc + column;
	if (g->bias)
		t->add(n, acc, g->bias + column, acc);
	if (g->act != ACT_NONE)
		t->act(g->act, n, acc, acc);
	if (g->residual)
		t->add(n, acc, g->residual + row * g->ldr + column, c);
	else
		memcpy(c, acc, (size_t)n * sizeof *c);
}

static void run_few(const inner *in, const gemm_call *g, int64_t column, int64_t n, float *acc)
{
	in->few(g->m, n, g->k, g->a, g->lda, g->b_type, element(g->b, g->b_type, column * g->ldb), g->ldb, acc, n);
	for (int64_t i = 0; i < g->m; i++)
		finish(in, g, i, column, n, acc + i * n);
}

typedef struct {
	const float *a;
	int64_t row_step, k_step;
} a_tile;

/* The rows [row, row + rows) of A at k0 ... k0 + k - 1, copied where that pays. */
static a_tile tile_of(const gemm_call *g, int64_t row, int64_t rows, int64_t k0, int64_t k, float *copy)
{
	const float *a = g->a + row * g->lda + k0;
	if (g->lda % 512 || rows < 2)
		return (a_tile){a, g->lda, 1};
	for (int64_t i = 0; i < rows; i++)
		memcpy(copy + i * (k + PAD), a + i * g->lda, (size_t)k * sizeof *a);
	return (a_tile){copy, k + PAD, 1};
}

static void pack_block(const inner *in, const gemm_call *g, int64_t column, int64_t n, int64_t k0, int64_t k, float *panels)
{
	for (int64_t j = 0; j < n; j += in->columns) {
		int64_t w = int_min(in->columns, n - j);
		if (g->form == GEMM_NT)
			in->pack_rows(g->b_type, w, k, element(g->b, g->b_type, (column + j) * g->ldb + k0), g->ldb, panels + j * k);
		else
			in->pack_columns(g->b_type, w, k, element(g->b, g->b_type, k0 * g->ldb + column + j), g->ldb, panels + j * k);
	}
}

/* A block of C = A^T B. Its row tiles have as equal numbers of rows as can be, as they lie side by side in panels of A^T. */
typedef struct {
	int64_t row, rows, column, n, wide, depth, tiles;
	float *acc, *panels, *turned;
} turned_block;

static int64_t tile_begin(const turned_block *t, int64_t tile)
{
	return t->rows * tile / t->tiles;
}

static void pack_turned(const inner *in, const gemm_call *g, const turned_block *t, int64_t k0, int64_t k)
{
	float *to = t->turned;
	for (int64_t i = 0; i < t->tiles; i += tiles_a_panel(in), to += k * in->columns) {
		int64_t first = tile_begin(t, i), last = tile_begin(t, int_min(t->tiles, i + tiles_a_panel(in)));
		in->pack_columns(DT_F32, last - first, k, g->a + k0 * g->lda + t->row + first, g->lda, to);
	}
}

/* Asks for a share of the next block of k, to be there when it is packed. */
static void ask_ahead(const inner *in, const gemm_call *g, const turned_block *t, int64_t k0, int64_t tile)
{
	int64_t k = int_min(t->depth, g->k - k0), first = k0 + k * tile / t->tiles, rows = k0 + k * (tile + 1) / t->tiles - first;
	if (k <= 0)
		return;
	in->ahead(rows, t->rows * 4, g->a + first * g->lda + t->row, g->lda * 4);
	in->ahead(rows, t->n * (int64_t)dtype_size(g->b_type), element(g->b, g->b_type, first * g->ldb + t->column), g->ldb * (int64_t)dtype_size(g->b_type));
}

static void run_turned(const inner *in, const gemm_call *g, const turned_block *t)
{
	const int64_t lda = t->wide + PAD, per = tiles_a_panel(in);
	for (int64_t k0 = 0; k0 < g->k; k0 += t->depth) {
		int64_t k = int_min(t->depth, g->k - k0);
		pack_block(in, g, t->column, t->n, k0, k, t->panels);
		pack_turned(in, g, t, k0, k);
		for (int64_t i = 0; i < t->tiles; i++) {
			int64_t row = tile_begin(t, i), rows = tile_begin(t, i + 1) - row;
			ask_ahead(in, g, t, k0 + k, i);
			const float *a = t->turned + i / per * k * in->columns + row - tile_begin(t, i / per * per);
			for (int64_t j = 0; j < t->wide; j += in->columns)
				in->tile(rows, in->columns, k, a, 1, in->columns, t->panels + j * k, in->columns, t->acc + row * lda + j, lda, k0 > 0);
		}
	}
	for (int64_t i = 0; i < t->rows; i++)
		finish(in, g, t->row + i, t->column, t->n, t->acc + i * lda);
}

void gemm_cut_run(const inner *in, const gemm_call *g, int64_t task, void *scratch)
{
	if (g->pack) {
		gemm_packed_run(in, g, task, scratch);
		return;
	}
	if (dtype_block(g->b_type) > 1) {
		gemm_quant_run(in, g, task, scratch);
		return;
	}
	if (g->products == PRECISION_BF16) {
		gemm_rounded_run(in, g, task, scratch);
		return;
	}
	cut c = cut_of(in, g);
	int64_t column = task % c.column_blocks * c.columns, n = int_min(c.columns, g->n - column);
	int64_t row0 = task / c.column_blocks * c.rows, row1 = int_min(row0 + c.rows, g->m);
	if (c.few) {
		run_few(in, g, column, n, scratch);
		return;
	}
	int64_t wide = ceil_div(n, in->columns) * in->columns, lda = wide + PAD, depth = int_min(g->k, gemm_depth(g->k, depth_most(in, g)));
	float *acc = scratch, *panels = acc + (row1 - row0) * lda, *copy = panels + depth * wide;
	if (g->k == 0)
		memset(acc, 0, (size_t)((row1 - row0) * lda) * sizeof *acc);
	if (g->form == GEMM_TN) {
		run_turned(in, g, &(turned_block){row0, row1 - row0, column, n, wide, depth, ceil_div(row1 - row0, in->rows), acc, panels, copy});
		return;
	}
	for (int64_t k0 = 0; k0 == 0 || k0 < g->k; k0 += depth) {
		int64_t k = int_min(depth, g->k - k0);
		pack_block(in, g, column, n, k0, k, panels);
		for (int64_t row = row0; row < row1; row += in->rows) {
			int64_t rows = int_min(in->rows, row1 - row);
			float *to = acc + (row - row0) * lda;
			a_tile a = tile_of(g, row, rows, k0, k, copy);
			for (int64_t j = 0; j < wide && k; j += in->columns)
				in->tile(rows, in->columns, k, a.a, a.row_step, a.k_step, panels + j * k, in->columns, to + j, lda, k0 > 0);
			for (int64_t i = 0; i < rows && k0 + k >= g->k; i++)
				finish(in, g, row + i, column, n, to + i * lda);
		}
		if (!g->k)
			break;
	}
}

/* ------------------------------------------------------------------------------------------------ the portable level */
enum { ROWS = 4, COLUMNS = 8, PANEL = 16, DEPTH = 256 };

/* n values, widened, to every step-th place */
static void read_row(dtype type, int64_t n, const char *from, float *to, int64_t step)
{
	uint16_t half;
	if (type == DT_F32 && step == 1)
		memcpy(to, from, (size_t)n * sizeof *to);
	else if (type == DT_F32)
		for (int64_t i = 0; i < n; i++)
			memcpy(to + i * step, from + 4 * i, sizeof *to);
	else if (type == DT_F16)
		for (int64_t i = 0; i < n; i++) {
			memcpy(&half, from + 2 * i, sizeof half);
			to[i * step] = dtype_half(half);
		}
	else
		for (int64_t i = 0; i < n; i++) {
			memcpy(&half, from + 2 * i, sizeof half);
			to[i * step] = dtype_bfloat(half);
		}
}

static void pack_rows(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	for (int64_t j = 0; j < n; j++)
		read_row(type, k, element(b, type, j * ldb), panel + j, PANEL);
	for (int64_t p = 0; p < k && n < PANEL; p++)
		memset(panel + p * PANEL + n, 0, (size_t)(PANEL - n) * sizeof *panel);
}

static void pack_columns(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel)
{
	for (int64_t p = 0; p < k; p++, panel += PANEL) {
		read_row(type, n, element(b, type, p * ldb), panel, 1);
		if (n < PANEL)
			memset(panel + n, 0, (size_t)(PANEL - n) * sizeof *panel);
	}
}

/* ROWS x COLUMNS of full columns: the accumulators stay in registers. */
static void block_full(int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb, float *out)
{
	float c0[COLUMNS] = {0}, c1[COLUMNS] = {0}, c2[COLUMNS] = {0}, c3[COLUMNS] = {0};
	for (int64_t p = 0; p < k; p++) {
		const float *x = a + p * k_step, *y = b + p * ldb;
		float x0 = x[0], x1 = x[row_step], x2 = x[2 * row_step], x3 = x[3 * row_step];
		for (int j = 0; j < COLUMNS; j++) {
			c0[j] += x0 * y[j];
			c1[j] += x1 * y[j];
			c2[j] += x2 * y[j];
			c3[j] += x3 * y[j];
		}
	}
	memcpy(out, c0, sizeof c0);
	memcpy(out + COLUMNS, c1, sizeof c1);
	memcpy(out + 2 * COLUMNS, c2, sizeof c2);
	memcpy(out + 3 * COLUMNS, c3, sizeof c3);
}

static void block_part(int64_t rows, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b,
                       int64_t ldb, float *out)
{
	memset(out, 0, ROWS * COLUMNS * sizeof *out);
	for (int64_t p = 0; p < k; p++)
		for (int64_t i = 0; i < rows; i++) {
			float x = a[i * row_step + p * k_step];
			for (int64_t j = 0; j < n; j++)
				out[i * COLUMNS + j] += x * b[p * ldb + j];
		}
}

static void tile(int64_t m, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add)
{
	float out[ROWS * COLUMNS];
	for (int64_t i0 = 0; i0 < m; i0 += ROWS)
		for (int64_t j0 = 0; j0 < n; j0 += COLUMNS) {
			int64_t rows = int_min(ROWS, m - i0), w = int_min(COLUMNS, n - j0);
			if (rows == ROWS && w == COLUMNS)
				block_full(k, a + i0 * row_step, row_step, k_step, b + j0, ldb, out);
			else
				block_part(rows, w, k, a + i0 * row_step, row_step, k_step, b + j0, ldb, out);
			for (int64_t i = 0; i < rows; i++) {
				float *to = c + (i0 + i) * ldc + j0;
				for (int64_t j = 0; j < w; j++)
					to[j] = add ? to[j] + out[i * COLUMNS + j] : out[i * COLUMNS + j];
			}
		}
}

static void packed_tile_f32(const packed_call *p)
{
	tile(p->m, PANEL, p->words, p->a, p->row_step, 1, p->panel, PANEL, p->c, p->ldc, p->add);
}

void gemm_ahead_portable(int64_t rows, int64_t bytes, const void *from, int64_t step)
{
	(void)rows, (void)bytes, (void)from, (void)step; /* C17 has no way to ask */
}

const inner inner_portable = {
	.rows = ROWS,
	.columns = PANEL,
	.depth = DEPTH,
	.tile = tile,
	.pack_rows = pack_rows,
	.pack_columns = pack_columns,
	.few = gemm_few_portable,
	.ahead = gemm_ahead_portable,
	.pairs_rows = pairs_rows_portable,
	.pairs_columns = pairs_columns_portable,
	.pairs_turned = pairs_turned_portable,
	.softmax_tile = softmax_tile_portable,
	.grad_tile = softmax_grad_portable,
	.finite = softmax_finite_portable,
	.attend = &attend_f32_portable,
	.attend_bf16 = &attend_bf16_portable,
	.packed = {{ROWS, PANEL, DEPTH, packed_tile_f32}, {ROWS, PANEL, DEPTH, narrow_tile_bf16}, {ROWS, PANEL, DEPTH, narrow_tile_int8}},
	.quant = &quant_portable,
	.finish = narrow_finish,
	.fetch = narrow_fetch,
	.largest = narrow_largest,
	.to_int8 = narrow_to_int8,
	.to_bf16 = narrow_to_bf16,
	.table = &kernels_portable,
};
