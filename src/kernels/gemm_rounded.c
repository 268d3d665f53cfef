/*
 * gemm_rounded.c - the matrix product of f32 matrices with factors rounded to bfloat16 on their way into the task: training
 * in bf16, where weights change with every step and nothing is made ready.
 *
 *   B ─► panels [words][columns]   ─┐ a word: two values that follow each other in k (narrow.c)
 *                                   ├─► sums in f32 ─► accumulator where k is cut ─► epilogue ─► C
 *   A ─► rows [rows][words]        ─┘ NT, NN: a row tile at a time; TN: a whole block, turned
 *
 * Which task packs what is as in gemm.c. One chain for every m: blocks of k depend on k alone.
 */
#include "kernels/inner.h"

#include <string.h>

enum { BLOCK_ROWS = 336, BLOCK_COLUMNS = 256, WANTED_TASKS = 12, DEPTH = 512, PAD = 16, TILE_MOST = 16 * 32 };

typedef struct {
	int64_t rows, columns, row_blocks, column_blocks, words, depth;
} cut;

static cut cut_of(const inner *in, const gemm_call *g)
{
	const int64_t unit = in->packed[PRECISION_BF16].columns;
	bool turned = g->form == GEMM_TN;
	cut c = {.words = (g->k + 1) / 2};
	c.depth = int_min(c.words, gemm_depth(c.words, turned ? TURNED_DEPTH : DEPTH));
	if (g->m <= 0 || g->n <= 0)
		return c;
	int64_t parts = ceil_div(g->n, turned ? TURNED_COLUMNS : BLOCK_COLUMNS);
	c.columns = ceil_div(ceil_div(g->n, parts), unit) * unit;
	c.row_blocks = ceil_div(g->m, turned ? TURNED_ROWS : BLOCK_ROWS);
	if (turned)
		c.row_blocks = int_max(c.row_blocks, int_min(ceil_div(TURNED_TASKS, ceil_div(g->n, c.columns)), g->m / TURNED_LEAST));
	while (!turned && c.columns > unit && c.row_blocks * ceil_div(g->n, c.columns) < WANTED_TASKS)
		c.columns = ceil_div(ceil_div(c.columns, 2), unit) * unit;
	c.rows = ceil_div(g->m, c.row_blocks);
	c.row_blocks = ceil_div(g->m, c.rows);
	c.column_blocks = ceil_div(g->n, c.columns);
	return c;
}

int64_t gemm_rounded_tasks(const inner *in, const gemm_call *g)
{
	cut c = cut_of(in, g);
	return c.row_blocks * c.column_blocks;
}

/* Of the largest cut any shape up to this one may have. */
size_t gemm_rounded_scratch(const inner *in, const gemm_call *g)
{
	bool turned = g->form == GEMM_TN;
	int64_t unit = in->packed[PRECISION_BF16].columns, depth = int_min((g->k + 1) / 2, turned ? TURNED_DEPTH : DEPTH) + PAD;
	int64_t rows = int_min(g->m, turned ? TURNED_ROWS : BLOCK_ROWS), columns = int_min(g->n, turned ? TURNED_COLUMNS : BLOCK_COLUMNS) + unit;
	int64_t copied = turned ? rows + PAD : in->packed[PRECISION_BF16].rows;
	return (size_t)(TILE_MOST + depth * columns + rows * columns + copied * (depth + PAD)) * 4 + 3 * 64;
}

typedef struct {
	const inner *in;
	const gemm_call *g;
	const cut *c;
	int64_t row, rows, column, n, wide, ldw;
	float *tile, *acc;
	uint32_t *panels, *copy;
} task_of;

/* k values of A and B from value k0 on */
static void pack_block(const task_of *t, int64_t k0, int64_t k)
{
	const gemm_call *g = t->g;
	const int64_t unit = t->in->packed[PRECISION_BF16].columns, words = (k + 1) / 2;
	const float *b = g->b;
	for (int64_t j = 0; j < t->n; j += unit) {
		int64_t n = int_min(unit, t->n - j);
		if (g->form == GEMM_NT)
			t->in->pairs_rows(n, k, b + (t->column + j) * g->ldb + k0, g->ldb, t->panels + j * words, unit);
		else
			t->in->pairs_columns(n, k, b + k0 * g->ldb + t->column + j, g->ldb, t->panels + j * words, unit);
	}
	if (g->form == GEMM_TN)
		t->in->pairs_turned(t->rows, k, g->a + k0 * g->lda + t->row, g->lda, t->copy, t->ldw);
}

/* The next block's rows, a share a row tile */
static void ask_ahead(const task_of *t, int64_t k0, int64_t share, int64_t shares)
{
	const gemm_call *g = t->g;
	int64_t k = int_min(2 * t->c->depth, g->k - k0), first = k0 + k * share / shares, rows = k0 + k * (share + 1) / shares - first;
	if (k <= 0 || g->form != GEMM_TN)
		return;
	t->in->ahead(rows, t->rows * 4, g->a + first * g->lda + t->row, g->lda * 4);
	t->in->ahead(rows, t->n * 4, (const float *)g->b + first * g->ldb + t->column, g->ldb * 4);
}

static const uint32_t *rows_at(const task_of *t, int64_t row, int64_t rows, int64_t k0, int64_t k)
{
	if (t->g->form == GEMM_TN)
		return t->copy + row * t->ldw;
	for (int64_t i = 0; i < rows; i++) {
		uint16_t *to = (uint16_t *)(void *)(t->copy + i * t->ldw);
		t->in->to_bf16(k, t->g->a + (t->row + row + i) * t->g->lda + k0, to);
		to[k] = 0; /* the other half of the last word, where k is odd */
	}
	return t->copy;
}

static void run_tile(const task_of *t, int64_t row, int64_t rows, int64_t k0, int64_t k)
{
	const gemm_call *g = t->g;
	const packed_tile *kernel = &t->in->packed[PRECISION_BF16];
	const int64_t unit = kernel->columns, words = (k + 1) / 2;
	const bool first = k0 == 0, last = k0 + k >= g->k;
	packed_call call = {.m = rows, .words = words, .a = rows_at(t, row, rows, k0, k), .row_step = t->ldw, .add = !first};
	for (int64_t j = 0; j < t->n; j += unit) {
		float *acc = t->acc + row * t->wide + j;
		call.panel = t->panels + j * words;
		call.soon = call.rows_soon = call.panel; /* nothing is asked for: what comes next is not there yet */
		call.c = last ? t->tile : acc;
		call.ldc = last ? unit : t->wide;
		if (!last) {
			kernel->tile(&call);
			continue;
		}
		for (int64_t i = 0; !first && i < rows; i++)
			memcpy(t->tile + i * unit, acc + i * t->wide, (size_t)unit * sizeof *acc);
		kernel->tile(&call);
		tile_end e = gemm_end(g, t->row + row, rows, t->column + j, int_min(unit, t->n - j), t->tile, unit);
		t->in->finish(&e);
	}
}

void gemm_rounded_run(const inner *in, const gemm_call *g, int64_t task, void *scratch)
{
	const packed_tile *kernel = &in->packed[PRECISION_BF16];
	cut c = cut_of(in, g);
	task_of t = {.in = in, .g = g, .c = &c, .tile = scratch, .ldw = c.depth + PAD};
	t.column = task % c.column_blocks * c.columns;
	t.n = int_min(c.columns, g->n - t.column);
	t.wide = ceil_div(t.n, kernel->columns) * kernel->columns;
	t.row = task / c.column_blocks * c.rows;
	t.rows = int_min(c.rows, g->m - t.row);
	t.acc = t.tile + TILE_MOST;
	t.panels = (uint32_t *)(t.acc + t.rows * t.wide);
	t.copy = t.panels + c.depth * t.wide;
	int64_t tiles = ceil_div(t.rows, kernel->rows);
	for (int64_t k0 = 0; k0 == 0 || k0 < g->k; k0 += 2 * c.depth) {
		int64_t k = int_min(2 * c.depth, g->k - k0);
		pack_block(&t, k0, k);
		for (int64_t i = 0; i < tiles; i++) {
			int64_t row = t.rows * i / tiles;
			ask_ahead(&t, k0 + k, i, tiles);
			run_tile(&t, row, t.rows * (i + 1) / tiles - row, k0, k);
		}
		if (!g->k)
			break;
	}
}

/* ------------------------------------------------------------------------------------------------ pairs, for every level */
static uint32_t pair(float low, float high)
{
	return (uint32_t)dtype_to_bfloat(low) | (uint32_t)dtype_to_bfloat(high) << 16;
}

void pairs_rows_portable(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns)
{
	for (int64_t w = 0; 2 * w < k; w++)
		for (int64_t j = 0; j < columns; j++) {
			const float *at = b + j * ldb + 2 * w;
			panel[w * columns + j] = j < n ? pair(at[0], 2 * w + 1 < k ? at[1] : 0) : 0;
		}
}

void pairs_columns_portable(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns)
{
	for (int64_t w = 0; 2 * w < k; w++)
		for (int64_t j = 0; j < columns; j++) {
			const float *at = b + 2 * w * ldb + j;
			panel[w * columns + j] = j < n ? pair(at[0], 2 * w + 1 < k ? at[ldb] : 0) : 0;
		}
}

void pairs_turned_portable(int64_t m, int64_t k, const float *a, int64_t lda, uint32_t *to, int64_t ldto)
{
	for (int64_t w = 0; 2 * w < k; w++)
		for (int64_t i = 0; i < m; i++) {
			const float *at = a + 2 * w * lda + i;
			to[i * ldto + w] = pair(at[0], 2 * w + 1 < k ? at[lda] : 0);
		}
}
