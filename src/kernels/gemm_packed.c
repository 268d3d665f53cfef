/*
 * gemm_packed.c - the matrix product with a pack: how it is cut and accumulated (once, for every level and precision).
 *
 *   A [m, words]   row tile ─┐     panels of a task's columns, read where they lie, one after the other
 *                            ├──►  sums in registers ─► [rows, columns] in scratch ─► epilogue ─► C
 *   pack           panel ────┘
 *
 * A panel is one stretch of memory, so the processor's own prefetching follows it and nothing is copied in a task. Row
 * tiles of a task have as equal numbers of rows as can be: 197 rows are 15 tiles of 13 and 14, none with one row. Only where
 * k is cut do sums go through an accumulator of the task's columns.
 *
 * An element's chain depends on k alone, so the bits do not depend on the cut, and a product of f32 has the bits that
 * gemm.c gives for 8 rows and more.
 */
#include "kernels/inner.h"

#include <string.h>

enum { BLOCK_ROWS = 336, BLOCK_COLUMNS = 64, WANTED_TASKS = 12, PAD = 16, TILE_MOST = 16 * 32 };

typedef struct {
	int64_t rows, columns, row_blocks, column_blocks, words, depth;
} cut;

static cut cut_of(const inner *in, const gemm_call *g)
{
	const packed_tile *t = &in->packed[g->pack->as];
	int64_t words = narrow_words(g->pack->as, g->k) - (g->pack->as == PRECISION_INT8);
	cut c = {.words = words, .depth = int_min(words, gemm_depth(words, t->depth))};
	if (g->m <= 0 || g->n <= 0)
		return c;
	c.row_blocks = ceil_div(g->m, BLOCK_ROWS);
	c.rows = ceil_div(g->m, c.row_blocks);
	c.row_blocks = ceil_div(g->m, c.rows);
	c.columns = BLOCK_COLUMNS;
	while (c.columns > t->columns && c.row_blocks * ceil_div(g->n, c.columns) < WANTED_TASKS)
		c.columns /= 2;
	c.column_blocks = ceil_div(g->n, c.columns);
	return c;
}

int64_t gemm_packed_tasks(const inner *in, const gemm_call *g)
{
	cut c = cut_of(in, g);
	return c.row_blocks * c.column_blocks;
}

static bool copied(const gemm_call *g)
{
	return g->lda % 512 == 0;
}

/* A tile's sums, an accumulator where k is cut, a copy of a row tile of A: of the largest cut any shape up to this one has. */
size_t gemm_packed_scratch(const inner *in, const gemm_call *g)
{
	const packed_tile *t = &in->packed[g->pack->as];
	int64_t words = narrow_words(g->pack->as, g->k), acc = words > t->depth ? int_min(g->m, BLOCK_ROWS) * BLOCK_COLUMNS : 0;
	int64_t copy = t->rows * (int_min(words, t->depth) + PAD);
	return (size_t)(TILE_MOST + acc + copy) * sizeof(float) + 3 * 64;
}

typedef struct {
	const inner *in;
	const gemm_call *g;
	const cut *c;
	int64_t column, n, row0; /* of the task */
	int64_t tiles, index; /* row tiles of the task, and the one at work */
	float *tile, *acc, *copy;
} task_of;

tile_end gemm_end(const gemm_call *g, int64_t row, int64_t rows, int64_t column, int64_t n, float *tile, int64_t columns)
{
	tile_end e = {.rows = rows, .n = n, .tile = tile, .columns = columns, .act = g->act};
	e.bias = g->bias ? g->bias + column : NULL;
	e.residual = g->residual ? g->residual + row * g->ldr + column : NULL;
	e.ldr = g->ldr;
	if (g->c_as == PRECISION_BF16) {
		e.half = (uint16_t *)(void *)(g->c + row * g->ldc) + column;
		e.ldh = 2 * g->ldc;
	} else {
		e.c = g->c + row * g->ldc + column;
		e.ldc = g->ldc;
	}
	return e;
}

static tile_end end_of(const task_of *t, int64_t row, int64_t rows, int64_t column, int64_t n)
{
	const gemm_call *g = t->g;
	tile_end e = gemm_end(g, row, rows, column, n, t->tile, t->in->packed[g->pack->as].columns);
	if (g->pack->as == PRECISION_INT8) {
		e.scale = pack_scales(t->in, g->pack) + column;
		e.offset = pack_offsets(t->in, g->pack) + column;
		e.row_scale = g->a + row * g->lda;
		e.row_step = g->lda;
	}
	return e;
}

/* Rows of A in the words [p, p + words): where they lie, or copied off strides that would fall into few sets of the cache. */
static const float *words_at(const task_of *t, int64_t row, int64_t rows, int64_t p, int64_t words, int64_t *step)
{
	const float *a = t->g->a + row * t->g->lda + p + (t->g->pack->as == PRECISION_INT8);
	*step = t->g->lda;
	if (!copied(t->g) || rows < 2)
		return a;
	*step = t->c->depth + PAD;
	for (int64_t i = 0; i < rows; i++)
		memcpy(t->copy + i * *step, a + i * t->g->lda, (size_t)words * 4);
	return t->copy;
}

/*
 * While the row tiles of a block of k run, the panels of the next one (of this task, else of the task beside it) come nearer, a share
 * with each row tile: the first row tile would wait for them.
 */
static void ask_panel(const task_of *t, int64_t p, int64_t j, packed_call *call)
{
	const int64_t columns = t->in->packed[t->g->pack->as].columns;
	int64_t column = t->column, next = p + t->c->depth;
	if (next >= t->c->words) {
		column = column + t->c->columns < t->g->n ? column + t->c->columns : 0;
		next = 0;
	}
	if (column + j >= t->g->n)
		return;
	int64_t share = int_min(t->c->depth, t->c->words - next) * columns * 4 / t->tiles;
	call->soon = (const char *)t->g->pack->data + 4 * ((column + j) * t->c->words + next * columns) + t->index * share;
	call->soon_step = share / int_max(1, call->words) + 1;
}

/* And in the task that is the first to read its rows of A, the next row tile's, a share with each panel. */
static void ask_rows(const task_of *t, int64_t j, packed_call *call)
{
	const int64_t columns = t->in->packed[t->g->pack->as].columns, share = call->m * t->g->lda * 4 / ceil_div(t->n, columns);
	if (t->column || t->index + 1 >= t->tiles)
		return;
	call->rows_soon = (const char *)call->a + call->m * t->g->lda * 4 + j / columns * share;
	call->rows_step = share / int_max(1, call->words) + 1;
}

static void run_rows(const task_of *t, int64_t row, int64_t rows, int64_t p, int64_t words)
{
	const packed_tile *k = &t->in->packed[t->g->pack->as];
	bool first = p == 0, last = p + words >= t->c->words;
	packed_call call = {.m = rows, .words = words, .add = !first};
	call.a = words_at(t, row, rows, p, words, &call.row_step);
	for (int64_t j = 0; j < t->n; j += k->columns) {
		float *acc = t->acc + (row - t->row0) * BLOCK_COLUMNS + j, *to = last ? t->tile : acc;
		call.panel = (const float *)t->g->pack->data + (t->column + j) * t->c->words + p * k->columns;
		call.c = to;
		call.ldc = last ? k->columns : BLOCK_COLUMNS;
		for (int64_t i = 0; last && !first && i < rows; i++)
			memcpy(to + i * call.ldc, acc + i * BLOCK_COLUMNS, (size_t)k->columns * 4);
		tile_end e = end_of(t, row, rows, t->column + j, int_min(k->columns, t->n - j));
		if (last)
			t->in->fetch(&e);
		call.soon = call.rows_soon = call.panel; /* nothing: what is there already */
		call.soon_step = call.rows_step = 0;
		ask_panel(t, p, j, &call);
		if (!copied(t->g))
			ask_rows(t, j, &call);
		k->tile(&call);
		if (last)
			t->in->finish(&e);
	}
}

void gemm_packed_run(const inner *in, const gemm_call *g, int64_t task, void *scratch)
{
	cut c = cut_of(in, g);
	task_of t = {.in = in, .g = g, .c = &c, .tile = scratch};
	t.column = task % c.column_blocks * c.columns;
	t.n = int_min(c.columns, g->n - t.column);
	t.row0 = task / c.column_blocks * c.rows;
	int64_t rows = int_min(c.rows, g->m - t.row0), tiles = ceil_div(rows, in->packed[g->pack->as].rows), each = rows / tiles, more = rows % tiles;
	t.tiles = tiles;
	t.copy = t.tile + TILE_MOST;
	t.acc = t.copy + in->packed[g->pack->as].rows * (c.depth + PAD);
	for (int64_t p = 0; p == 0 || p < c.words; p += c.depth) {
		int64_t words = int_min(c.depth, c.words - p), row = t.row0;
		for (int64_t i = 0; i < tiles; i++) {
			int64_t some = each + (i < more);
			t.index = i;
			run_rows(&t, row, some, p, words);
			row += some;
		}
		if (!c.words)
			break;
	}
}
