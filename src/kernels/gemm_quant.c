/*
 * gemm_quant.c - the matrix product with weights in blocks (quant.h): how it is cut, and the portable definition.
 *
 *   rows of A, 8 bits a value     few: fewer than 8 rows. Each row of B is read once, where it lies, by dot products
 *   rows of B, blocks             more, where the level has a tile: a task unpacks its columns panel by panel, and runs all rows over
 *                                 them; else dot products, four rows of A at a time
 *
 * A narrow row of n values, whole groups as the weights' rows are, in 32-bit words (PRECISION_BLOCKS), g = n / 32 groups:
 *
 *   [g: dx = max |x| / 127][g: dx * sum of xq][2g: the same of each half][up to a multiple of 16][8g: xq + 128, four a word]
 *
 * xq = round(x / dx), to nearest even. A group's sum of q xq is exact, so only d' dx (..) + m' dx sum of xq and the sums over groups
 * round: levels agree within their bounds, and rows do not depend on each other.
 */
#include "kernels/approx.h"
#include "kernels/inner.h"

#include <string.h>

enum { FEW = 8, FEW_AT_ONCE = 4, BLOCK_ROWS = 512, COLUMNS = 64, WANTED_TASKS = 12 };

/* ------------------------------------------------------------------------------------------------ narrow rows */
quant_row quant_row_of(const void *row, int64_t n)
{
	const float *f = row;
	int64_t g = n / QUANT_GROUP;
	return (quant_row){.scale = f, .sum = f + g, .half = f + 2 * g, .byte = (const uint8_t *)row + 4 * quant_row_head(n)};
}

int64_t quant_row_head(int64_t n)
{
	return (4 * n / QUANT_GROUP + 15) / 16 * 16;
}

void quant_narrow(const inner *in, int64_t n, const float *x, void *row)
{
	float *f = row;
	uint8_t *byte = (uint8_t *)row + 4 * quant_row_head(n);
	int64_t groups = n / QUANT_GROUP;
	if (in->quant->narrow) {
		quant_made row_ = {f, f + groups, f + 2 * groups, byte};
		in->quant->narrow(groups, x, &row_);
		return;
	}
	for (int64_t g = 0; g < groups; g++, x += QUANT_GROUP, byte += QUANT_GROUP) {
		float most = in->largest(QUANT_GROUP, x), scale = most;
		int32_t sum[2] = {0, 0};
		if (most == most) {
			scale = most < 0x1p-100f ? 0 : most / 127;
			in->to_int8(QUANT_GROUP, x, most < 0x1p-100f ? 0 : 127 / most, byte);
		} else {
			memset(byte, 128, QUANT_GROUP);
		}
		for (int i = 0; i < QUANT_GROUP; i++)
			sum[i / 16] += byte[i] - 128;
		f[g] = scale;
		f[groups + g] = scale * (float)(sum[0] + sum[1]);
		f[2 * groups + 2 * g] = scale * (float)sum[0];
		f[2 * groups + 2 * g + 1] = scale * (float)sum[1];
	}
}

/* ------------------------------------------------------------------------------------------------ the cut */
typedef struct {
	int64_t rows, columns, row_blocks, column_blocks;
	bool few;
} cut;

static cut cut_of(const inner *in, const gemm_call *g)
{
	cut c = {.few = g->m < FEW || !in->quant->tile};
	if (g->m <= 0 || g->n <= 0)
		return c;
	c.row_blocks = ceil_div(g->m, BLOCK_ROWS);
	c.rows = ceil_div(g->m, c.row_blocks);
	c.row_blocks = ceil_div(g->m, c.rows);
	c.columns = c.few && g->n < 512 ? 16 : COLUMNS;
	while (!c.few && c.columns > QUANT_PANEL && c.row_blocks * ceil_div(g->n, c.columns) < WANTED_TASKS)
		c.columns /= 2;
	c.column_blocks = ceil_div(g->n, c.columns);
	return c;
}

int64_t gemm_quant_tasks(const inner *in, const gemm_call *g)
{
	cut c = cut_of(in, g);
	return c.row_blocks * c.column_blocks;
}

size_t gemm_quant_scratch(const inner *in, const gemm_call *g)
{
	size_t few = (size_t)(FEW * COLUMNS) * sizeof(float) + quant_few_room(g->k), tile = 0;
	if (in->quant->tile)
		tile = (size_t)(in->quant->rows * QUANT_PANEL) * sizeof(float) + in->quant->panel_room(g->b_type, g->k);
	return (few > tile ? few : tile) + 64;
}

static void finish(const inner *in, const gemm_call *g, int64_t row, int64_t rows, int64_t column, int64_t n, float *tile, int64_t columns)
{
	tile_end e = gemm_end(g, row, rows, column, n, tile, columns);
	in->finish(&e);
}

static void run_few(const inner *in, const gemm_call *g, const cut *c, int64_t row0, int64_t rows, int64_t column, int64_t n, float *scratch)
{
	int64_t at_once = rows < FEW ? rows : FEW_AT_ONCE;
	for (int64_t i = 0; i < rows; i += at_once) {
		quant_few f = {.m = int_min(at_once, rows - i), .n = n, .k = g->k, .lda = g->lda, .type = g->b_type, .c = scratch, .ldc = c->columns,
			.a = g->a + (row0 + i) * g->lda, .b = (const uint8_t *)g->b + dtype_bytes(g->b_type, column * g->ldb), .scratch = scratch + FEW * COLUMNS};
		in->quant->few(&f);
		finish(in, g, row0 + i, f.m, column, n, scratch, c->columns);
	}
}

void gemm_quant_run(const inner *in, const gemm_call *g, int64_t task, void *scratch)
{
	cut c = cut_of(in, g);
	int64_t column = task % c.column_blocks * c.columns, n = int_min(c.columns, g->n - column);
	int64_t row0 = task / c.column_blocks * c.rows, rows = int_min(c.rows, g->m - row0);
	if (c.few) {
		run_few(in, g, &c, row0, rows, column, n, scratch);
		return;
	}
	float *tile = scratch, *panel = tile + in->quant->rows * QUANT_PANEL;
	int64_t tiles = ceil_div(rows, in->quant->rows), each = rows / tiles, more = rows % tiles;
	for (int64_t j = 0; j < n; j += QUANT_PANEL) {
		int64_t some = int_min(QUANT_PANEL, n - j), row = row0;
		in->quant->panel(g->b_type, some, g->k, (const uint8_t *)g->b + dtype_bytes(g->b_type, (column + j) * g->ldb), panel);
		for (int64_t i = 0; i < tiles; i++) {
			int64_t many = each + (i < more);
			in->quant->tile(g->b_type, many, g->k, g->a + row * g->lda, g->lda, panel, tile);
			finish(in, g, row, many, column + j, some, tile, QUANT_PANEL);
			row += many;
		}
	}
}

/* ------------------------------------------------------------------------------------------------ the portable level */
size_t quant_few_room(int64_t k)
{
	return (size_t)(FEW * k) * 3 + (size_t)(4 * k / 16) * 2 * sizeof(float) + 4096;
}

static float group_dot(const uint8_t *q, const uint8_t *x, int n)
{
	int32_t sum = 0;
	for (int i = 0; i < n; i++)
		sum += q[i] * (x[i] - 128);
	return (float)sum;
}

static void few(const quant_few *f)
{
	const int group = quant_group(f->type);
	const int64_t groups = f->k / group;
	float *d = f->scratch, *m = d + groups;
	uint8_t *q = (uint8_t *)(m + groups);
	for (int64_t j = 0; j < f->n; j++) {
		const uint8_t *row = (const uint8_t *)f->b + dtype_bytes(f->type, j * f->k);
		quant_scales(f->type, f->k, row, d, m);
		quant_unpack(f->type, f->k, row, q);
		for (int64_t i = 0; i < f->m; i++) {
			quant_row x = quant_row_of(f->a + i * f->lda, f->k);
			const float *sum = group == 16 ? x.half : x.sum;
			float y = 0;
			for (int64_t g = 0; g < groups; g++)
				y += d[g] * x.scale[g * group / QUANT_GROUP] * group_dot(q + g * group, x.byte + g * group, group) + m[g] * sum[g];
			f->c[i * f->ldc + j] = y;
		}
	}
}

const quant_lanes quant_portable = {.few = few};
