/*
 * attend.c - attention over a layout, once for every level; the level gives the products and the softmax of a tile.
 *
 *   for a block of up to 64 query rows of one segment, one head:           O = 0, m = -infinity, l = 0
 *       for each tile of 64 keys that some row sees, from kv0 upwards:
 *           S = Q K^T                    [rows, 64], K transposed into panels
 *           P = exp(S scale + bias - m') [rows, 64], m' the new maximum; alpha = exp(m - m'); l = l alpha + sum P
 *           O = O alpha + P V            [rows, v_dim]
 *       out = O / l,  lse = m + log l
 *
 * (Dao et al. 2022; the running maximum is Milakov and Gimelshein 2018.) Memory is one tile, however long the segment.
 *
 * Same bits. A row's tiles are counted from kv0, every element's chain runs over the tile's keys in ascending order, and
 * a key that a row does not see gives P = 0 exactly, which changes no sum; so neither the other rows of the block, nor
 * what else is packed, nor how far the segment goes on beyond hi matters. A segment of fewer than 8 query rows (decoding)
 * takes dot products instead, row by row.
 *
 * With a cap, S scale becomes cap tanh(S scale / cap) in the tile, before the softmax: a loop of its own, so that the softmax
 * of a level knows nothing of it.
 *
 * What is not seen must not leak, not even a NaN: 0 times NaN is NaN. A tile that some row sees only in part is therefore
 * looked through, and if V holds anything not finite there, each row multiplies exactly the keys it sees (same chain).
 */
#include "kernels/approx.h"
#include "kernels/inner.h"

#include <math.h>

enum { FEW = 8 };

typedef struct {
	float *s, *bias, *panel, *out, *m, *l, *alpha;
	int32_t *lo, *hi;
	int64_t ldo; /* of out [ATTEND_ROWS, v_dim] */
	attend_bias maker;
} work;

size_t attend_cut_scratch(const attention *spec)
{
	size_t tile = (size_t)ATTEND_ROWS * TILE * sizeof(float);
	size_t panel = (size_t)spec->head_dim * TILE * sizeof(float),
		   out = (size_t)ATTEND_ROWS * size_round((size_t)spec->v_dim, 16) * sizeof(float);
	return 2 * tile + panel + out + 5 * ATTEND_ROWS * sizeof(float) + attend_bias_size(&spec->bias) + 64;
}

static work work_open(const attend_call *call, void *scratch)
{
	const attention *spec = call->spec;
	work w = {.ldo = (int64_t)size_round((size_t)spec->v_dim, 16)};
	w.s = scratch;
	w.bias = w.s + ATTEND_ROWS * TILE;
	w.out = w.bias + ATTEND_ROWS * TILE;
	w.m = w.out + ATTEND_ROWS * w.ldo;
	w.l = w.m + ATTEND_ROWS;
	w.alpha = w.l + ATTEND_ROWS;
	w.lo = (int32_t *)(w.alpha + ATTEND_ROWS);
	w.hi = w.lo + ATTEND_ROWS;
	w.panel = (float *)(w.hi + ATTEND_ROWS);
	attend_bias_open(&w.maker, call, w.panel + (int64_t)spec->head_dim * TILE);
	return w;
}

void attend_scores(const inner *in, int64_t m, int64_t n, int64_t d, const float *a, int64_t lda, const float *keys, int64_t ldk,
                   float *panel, float *s)
{
	for (int64_t j = 0; j < n; j += in->columns) {
		int64_t w = int_min(in->columns, n - j);
		in->pack_rows(DT_F32, w, d, keys + j * ldk, ldk, panel);
		in->tile(m, (w + 15) / 16 * 16, d, a, lda, 1, panel, in->columns, s + j, TILE, false);
	}
}

float attend_cap(const inner *in, const attention *spec, int64_t rows, int32_t from, int32_t to, float *s)
{
	if (spec->cap <= 0)
		return spec->scale;
	for (int64_t i = 0; i < rows; i++) {
		float *row = s + i * TILE + from;
		in->table->scale(to - from, spec->scale / spec->cap, row, row);
		in->table->act(ACT_TANH, to - from, row, row);
		in->table->scale(to - from, spec->cap, row, row);
	}
	return 1;
}

void attend_weigh(const inner *in, int64_t rows, int64_t n, const float *p, const int32_t *lo, const int32_t *hi, int32_t from,
                  int32_t to, bool partial, const float *b, int64_t ldb, float *c, int64_t ldc)
{
	bool clean = true;
	for (int32_t j = from; j < to && partial && clean; j++)
		clean = in->finite(n, b + j * ldb);
	if (clean) {
		in->tile(rows, n, to - from, p + from, TILE, 1, b + from * ldb, ldb, c, ldc, true);
		return;
	}
	for (int64_t i = 0; i < rows; i++)
		if (lo[i] < hi[i])
			in->tile(1, n, hi[i] - lo[i], p + i * TILE + lo[i], TILE, 1, b + lo[i] * ldb, ldb, c + i * ldc, ldc, true);
}

/* Keys that any row of the block sees, from kv0. */
static void range(const layout *at, const attend_block *b, int32_t *from, int32_t *to)
{
	int32_t keys = b->seg.kv1 - b->seg.kv0;
	*from = at->lo ? keys : 0;
	*to = at->hi ? 0 : keys;
	for (int32_t i = b->row; i < b->row + b->rows; i++) {
		if (at->lo)
			*from = (int32_t)int_min(*from, at->lo[i]);
		if (at->hi)
			*to = (int32_t)int_max(*to, at->hi[i]);
	}
	*from = (int32_t)int_max(*from, 0) / TILE * TILE;
	*to = (int32_t)int_min(*to, keys);
}

static void start(work *w, int32_t rows)
{
	memset(w->out, 0, (size_t)(rows * w->ldo) * sizeof *w->out);
	memset(w->l, 0, (size_t)rows * sizeof *w->l);
	for (int32_t i = 0; i < rows; i++)
		w->m[i] = -INFINITY;
}

static void rescale(const inner *in, const work *w, int32_t rows, int32_t width)
{
	for (int32_t i = 0; i < rows; i++)
		if (w->alpha[i] != 1)
			in->table->scale(width, w->alpha[i], w->out + i * w->ldo, w->out + i * w->ldo);
}

static void write(const inner *in, const attend_call *c, const work *w, int64_t row, int32_t rows, int32_t h)
{
	const attention *spec = c->spec;
	for (int32_t i = 0; i < rows; i++) {
		float *to = c->out + (row + i) * c->ldo + (int64_t)h * spec->v_dim;
		bool none = w->l[i] == 0;
		if (none)
			memset(to, 0, (size_t)spec->v_dim * sizeof *to);
		else
			in->table->scale(spec->v_dim, 1.0f / w->l[i], w->out + i * w->ldo, to);
		if (c->lse)
			c->lse[(row + i) * spec->heads + h] = none ? -INFINITY : (float)((double)w->m[i] + approx_log(w->l[i]));
	}
}

static const float *bias_rows(const attend_call *c, work *w, const attend_block *b, int32_t h, int32_t j0, int32_t from,
                              int32_t to)
{
	if (c->spec->bias.kind == BIAS_NONE)
		return NULL;
	attend_bias_keys(&w->maker, b->seg.kv0 + j0, from, to);
	for (int32_t i = 0; i < b->rows; i++)
		attend_bias_row(&w->maker, h, b->row + i, w->lo[i], w->hi[i], w->bias + i * TILE, NULL);
	return w->bias;
}

static void many_rows(const inner *in, const attend_call *c, work *w, const attend_block *b, int32_t h, const float *k,
                      const float *v)
{
	const attention *spec = c->spec;
	const float *q = c->q + b->row * c->ldq + (int64_t)h * spec->head_dim;
	int32_t j0, end, from, to;
	range(c->at, b, &j0, &end);
	start(w, b->rows);
	for (; j0 < end; j0 += TILE) {
		bool partial = attend_seen(c->at, b, j0, w->lo, w->hi, &from, &to);
		if (from >= to)
			continue;
		attend_scores(in, b->rows, to, spec->head_dim, q, c->ldq, k + j0 * c->ldk, c->ldk, w->panel, w->s);
		float scale = attend_cap(in, spec, b->rows, 0, to, w->s);
		in->softmax_tile(b->rows, w->s, scale, bias_rows(c, w, b, h, j0, from, to), w->lo, w->hi, w->m, w->l, w->alpha);
		rescale(in, w, b->rows, spec->v_dim);
		attend_weigh(in, b->rows, spec->v_dim, w->s, w->lo, w->hi, from, to, partial, v + j0 * c->ldv, c->ldv, w->out, w->ldo);
	}
	write(in, c, w, b->row, b->rows, h);
}

/* One query row against its keys by dot products: memory-bound, each key and value is read once. */
static void one_row(const inner *in, const attend_call *c, work *w, const attend_block *b, int32_t h, const float *k,
                    const float *v)
{
	const attention *spec = c->spec;
	const float *q = c->q + b->row * c->ldq + (int64_t)h * spec->head_dim;
	int32_t j0, end, from, to;
	range(c->at, b, &j0, &end);
	start(w, 1);
	for (; j0 < end; j0 += TILE) {
		attend_seen(c->at, b, j0, w->lo, w->hi, &from, &to);
		if (from >= to)
			continue;
		in->few(1, to - from, spec->head_dim, q, c->ldq, DT_F32, k + (j0 + from) * c->ldk, c->ldk, w->s + from, TILE);
		float scale = attend_cap(in, spec, 1, from, to, w->s);
		in->softmax_tile(1, w->s, scale, bias_rows(c, w, b, h, j0, from, to), w->lo, w->hi, w->m, w->l, w->alpha);
		rescale(in, w, 1, spec->v_dim);
		in->tile(1, spec->v_dim, to - from, w->s + from, TILE, 1, v + (j0 + from) * c->ldv, c->ldv, w->out, w->ldo, true);
	}
	write(in, c, w, b->row, 1, h);
}

static void clear_rows(const attend_call *c, int64_t from, int64_t to)
{
	const attention *spec = c->spec;
	for (int64_t r = from; r < to; r++) {
		memset(c->out + r * c->ldo, 0, (size_t)spec->heads * (size_t)spec->v_dim * sizeof *c->out);
		for (int32_t h = 0; h < spec->heads && c->lse; h++)
			c->lse[r * spec->heads + h] = -INFINITY;
	}
}

int64_t attend_cut_tasks(const attend_call *call)
{
	return attend_blocks(call->at) * call->spec->heads + 1;
}

void attend_cut_run(const inner *in, const attend_call *call, int64_t task, void *scratch)
{
	const attention *spec = call->spec;
	if (task == attend_blocks(call->at) * spec->heads) {
		int64_t row = 0;
		for (int32_t i = 0; i < call->at->count; i++) {
			clear_rows(call, row, call->at->seg[i].q0);
			row = int_max(row, call->at->seg[i].q1);
		}
		clear_rows(call, row, call->q_rows);
		return;
	}
	work w = work_open(call, scratch);
	attend_block b = attend_find(call->at, task / spec->heads);
	int32_t h = (int32_t)(task % spec->heads), kv_head = h / (spec->heads / spec->kv_heads);
	const float *k = call->k + b.seg.kv0 * call->ldk + (int64_t)kv_head * spec->head_dim;
	const float *v = call->v + b.seg.kv0 * call->ldv + (int64_t)kv_head * spec->v_dim;
	if (b.seg.q1 - b.seg.q0 >= FEW) {
		many_rows(in, call, &w, &b, h, k, v);
		return;
	}
	for (attend_block one = {b.seg, b.row, 1}; one.row < b.row + b.rows; one.row++)
		one_row(in, call, &w, &one, h, k, v);
}
