/*
 * attend_back.c - the gradient of attention, once for every level: three passes over the forward's tiles.
 *
 *   P  = exp(S scale + bias - lse)         recomputed from the forward's lse (Dao et al. 2022)
 *   dP = dO V^T        dS = P (dP - delta), delta = sum over v_dim of dO * O
 *
 *   dq pass      a task: a block of query rows, a head       dQ = scale dS K
 *   dkv pass     a task: ATTEND_KEYS key rows, a kv head     dK = scale dS^T Q, dV = P^T dO, over every segment that
 *                                                            overlaps them, and the query heads that share the kv head
 *   dtable pass  a task: a head                              d_table[entry] = sum of dS; SLOPE: sum of -distance dS
 *   with a cap, S scale = cap t, t = tanh(scale q.k / cap), and dS is multiplied by 1 - t^2
 *
 * No pass adds into what another task writes, so sums have one order. Key rows in no segment get 0. As in the forward,
 * what a row does not see must not leak: dS is 0 there by selection, and products over rows or keys that hold something
 * not finite take only what is seen.
 */
#include "kernels/approx.h"
#include "kernels/inner.h"

typedef struct {
	float *s, *dp, *bias, *panel, *dk, *dv, *lse, *delta;
	int32_t *lo, *hi, *index;
	int64_t ldk, ldv; /* of dk, dv [ATTEND_KEYS, ...] */
	double *table;    /* [bias_entries] */
	attend_bias maker;
} work;

/* s [m, TILE] = rows of a [m, d] times keys [n, d] transposed, through panels at `panel` */
static void score_rows(const inner *in, int64_t m, int64_t n, int64_t d, const float *a, int64_t lda, const float *keys, int64_t ldk,
                       float *panel, float *s)
{
	for (int64_t j = 0; j < n; j += in->columns) {
		int64_t w = int_min(in->columns, n - j);
		in->pack_rows(DT_F32, w, d, keys + j * ldk, ldk, panel);
		in->tile(m, (w + 15) / 16 * 16, d, a, lda, 1, panel, in->columns, s + j, TILE, false);
	}
}

/* c [rows, n] += p [rows, TILE] b [keys, n], where row i reads only keys lo[i] ... hi[i] - 1 if b holds what is not finite */
static void weigh(const inner *in, int64_t rows, int64_t n, const float *p, const int32_t *lo, const int32_t *hi, int32_t from,
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

static int64_t round_width(int64_t n)
{
	return (n + 15) / 16 * 16;
}

size_t attend_back_size(const attention *spec)
{
	size_t tiles = (size_t)3 * ATTEND_ROWS * TILE, lines = 5 * TILE;
	size_t panel = (size_t)int_max(spec->head_dim, spec->v_dim) * TILE;
	size_t sums = (size_t)(round_width(spec->head_dim) + round_width(spec->v_dim)) * TILE;
	return (tiles + lines + panel + sums) * sizeof(float) + attend_bias_size(&spec->bias) +
	       (size_t)bias_entries(&spec->bias) * sizeof(double) + 64;
}

static work work_open(const attend_back_call *call, void *scratch)
{
	const attention *spec = call->f.spec;
	work w = {.ldk = round_width(spec->head_dim), .ldv = round_width(spec->v_dim)};
	w.s = scratch;
	w.dp = w.s + ATTEND_ROWS * TILE;
	w.bias = w.dp + ATTEND_ROWS * TILE;
	w.dk = w.bias + ATTEND_ROWS * TILE;
	w.dv = w.dk + TILE * w.ldk;
	w.lse = w.dv + TILE * w.ldv;
	w.delta = w.lse + TILE;
	w.lo = (int32_t *)(w.delta + TILE);
	w.hi = w.lo + TILE;
	w.index = w.hi + TILE;
	w.panel = (float *)(w.index + TILE);
	float *rest = w.panel + int_max(spec->head_dim, spec->v_dim) * TILE;
	attend_bias_open(&w.maker, &call->f, rest);
	w.table = (double *)(void *)((char *)rest + attend_bias_size(&spec->bias));
	return w;
}

/* A tile of query rows against keys: where they lie, and the head. */
typedef struct {
	const float *q, *d_out, *k, *v;
	int32_t h;
	int64_t key; /* row of the first key */
} place;

static place place_of(const attend_back_call *c, const attend_block *b, int32_t h, int64_t key)
{
	const attend_call *f = &c->f;
	const attention *spec = f->spec;
	int64_t kv_head = h / (spec->heads / spec->kv_heads);
	return (place){
		.q = f->q + b->row * f->ldq + (int64_t)h * spec->head_dim,
		.d_out = c->d_out + b->row * c->ld_dout + (int64_t)h * spec->v_dim,
		.k = f->k + key * f->ldk + kv_head * spec->head_dim,
		.v = f->v + key * f->ldv + kv_head * spec->v_dim,
		.h = h,
		.key = key,
	};
}

/* Fills s with P and dp with dS of the block's rows against keys key ... key + to - 1; lo, hi are set. */
static void gradients(const inner *in, const attend_back_call *c, work *w, const attend_block *b, const place *p, int32_t from,
                      int32_t to)
{
	const attend_call *f = &c->f;
	const attention *spec = f->spec;
	const float *bias = spec->bias.kind == BIAS_NONE ? NULL : w->bias;
	if (bias)
		attend_bias_keys(&w->maker, p->key, from, to);
	for (int32_t i = 0; i < b->rows; i++) {
		w->lse[i] = f->lse[(int64_t)(b->row + i) * spec->heads + p->h];
		w->delta[i] = c->delta[(int64_t)(b->row + i) * spec->heads + p->h];
		if (bias)
			attend_bias_row(&w->maker, p->h, b->row + i, w->lo[i], w->hi[i], w->bias + i * TILE, NULL);
	}
	score_rows(in, b->rows, to, spec->head_dim, p->q, f->ldq, p->k, f->ldk, w->panel, w->s);
	score_rows(in, b->rows, to, spec->v_dim, p->d_out, c->ld_dout, p->v, f->ldv, w->panel, w->dp);
	float scale = attend_cap(in, spec, b->rows, 0, to, w->s);
	if (spec->cap > 0) /* a cap has no bias beside it: its tile is free */
		memcpy(w->bias, w->s, (size_t)b->rows * TILE * sizeof *w->bias);
	in->grad_tile(b->rows, w->s, w->dp, scale, bias, w->lo, w->hi, w->lse, w->delta);
	for (int64_t i = 0; i < b->rows && spec->cap > 0; i++)
		for (int64_t j = i * TILE + w->lo[i]; j < i * TILE + w->hi[i]; j++)
			w->dp[j] *= 1 - w->bias[j] / spec->cap * (w->bias[j] / spec->cap);
}

/* ------------------------------------------------------------------------------------------------ dq */
int64_t attend_back_dq_tasks(const attend_back_call *call)
{
	return call->dq ? attend_blocks(call->f.at) * call->f.spec->heads + 1 : 0;
}

static void clear_dq(const attend_back_call *c, int64_t from, int64_t to)
{
	for (int64_t r = from; r < to; r++)
		memset(c->dq + r * c->ld_dq, 0, (size_t)c->f.spec->heads * (size_t)c->f.spec->head_dim * sizeof *c->dq);
}

static void clear_gaps(const attend_back_call *c)
{
	const layout *at = c->f.at;
	int64_t row = 0;
	for (int32_t i = 0; i < at->count; i++) {
		clear_dq(c, row, at->seg[i].q0);
		row = int_max(row, at->seg[i].q1);
	}
	clear_dq(c, row, c->f.q_rows);
}

void attend_back_dq(const inner *in, const attend_back_call *c, int64_t task, void *scratch)
{
	const attention *spec = c->f.spec;
	if (task == attend_blocks(c->f.at) * spec->heads) {
		clear_gaps(c);
		return;
	}
	work w = work_open(c, scratch);
	attend_block b = attend_find(c->f.at, task / spec->heads);
	int32_t h = (int32_t)(task % spec->heads), from, to;
	memset(w.dk, 0, (size_t)(b.rows * w.ldk) * sizeof *w.dk); /* room for dq: as many rows, as wide */
	for (int32_t j0 = 0; j0 < b.seg.kv1 - b.seg.kv0; j0 += TILE) {
		bool partial = attend_seen(c->f.at, &b, j0, TILE, w.lo, w.hi, &from, &to);
		if (from >= to)
			continue;
		place p = place_of(c, &b, h, b.seg.kv0 + j0);
		gradients(in, c, &w, &b, &p, from, to);
		weigh(in, b.rows, spec->head_dim, w.dp, w.lo, w.hi, from, to, partial, p.k, c->f.ldk, w.dk, w.ldk);
	}
	for (int32_t i = 0; i < b.rows; i++)
		in->table->scale(spec->head_dim, spec->scale, w.dk + i * w.ldk,
		                 c->dq + (b.row + i) * c->ld_dq + (int64_t)h * spec->head_dim);
}

/* ------------------------------------------------------------------------------------------------ dkv */
int64_t attend_back_dkv_tasks(const attend_back_call *call)
{
	return call->dkv ? ceil_div(call->f.kv_rows, TILE) * call->f.spec->kv_heads : 0;
}

/* c [keys from ... to - 1, n] += p^T b: p [rows, TILE], b [rows, n]. A row that is not finite gives only to keys it sees. */
static void spread(const inner *in, const work *w, int32_t rows, int64_t n, const float *p, int32_t from, int32_t to,
                   bool partial, const float *b, int64_t ldb, float *c, int64_t ldc)
{
	bool clean = true;
	for (int32_t i = 0; i < rows && partial && clean; i++)
		clean = in->finite(n, b + i * ldb);
	if (clean) {
		in->tile(to - from, n, rows, p + from, 1, TILE, b, ldb, c + from * ldc, ldc, true);
		return;
	}
	for (int32_t i = 0; i < rows; i++)
		if (w->lo[i] < w->hi[i])
			in->tile(w->hi[i] - w->lo[i], n, 1, p + i * TILE + w->lo[i], 1, TILE, b + i * ldb, ldb, c + w->lo[i] * ldc, ldc,
			         true);
}

/* One block of query rows against the keys [key, key + TILE) of the matrix that lie in its segment. The tile is counted from
 * `key`, not from kv0: the sums of a key row do not care. */
static void block_against(const inner *in, const attend_back_call *c, work *w, const attend_block *b, int64_t key,
                          int32_t kv_head)
{
	const attend_call *f = &c->f;
	const attention *spec = f->spec;
	int32_t group = spec->heads / spec->kv_heads, from, to;
	int64_t first = int_max(key, b->seg.kv0); /* the tile's columns are counted from here */
	attend_block cut = *b;
	cut.seg.kv1 = (int32_t)int_min(b->seg.kv1, key + TILE);
	bool partial = attend_seen(f->at, &cut, (int32_t)(first - b->seg.kv0), TILE, w->lo, w->hi, &from, &to);
	if (from >= to)
		return;
	for (int32_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
		place p = place_of(c, b, h, first);
		gradients(in, c, w, b, &p, from, to);
		float *dk = w->dk + (first - key) * w->ldk, *dv = w->dv + (first - key) * w->ldv;
		spread(in, w, b->rows, spec->v_dim, w->s, from, to, partial, p.d_out, c->ld_dout, dv, w->ldv);
		spread(in, w, b->rows, spec->head_dim, w->dp, from, to, partial, p.q, f->ldq, dk, w->ldk);
	}
}

void attend_back_dkv(const inner *in, const attend_back_call *c, int64_t task, void *scratch)
{
	const attend_call *f = &c->f;
	const attention *spec = f->spec;
	work w = work_open(c, scratch);
	int32_t kv_head = (int32_t)(task % spec->kv_heads);
	int64_t key = task / spec->kv_heads * TILE, keys = int_min(TILE, f->kv_rows - key);
	memset(w.dk, 0, (size_t)(keys * w.ldk) * sizeof *w.dk);
	memset(w.dv, 0, (size_t)(keys * w.ldv) * sizeof *w.dv);
	for (int32_t i = 0; i < f->at->count; i++) {
		if (f->at->seg[i].kv0 >= key + keys || f->at->seg[i].kv1 <= key)
			continue;
		for (int64_t block = f->at->first[i]; block < f->at->first[i + 1]; block++) {
			attend_block b = attend_find(f->at, block);
			block_against(in, c, &w, &b, key, kv_head);
		}
	}
	float *dk = c->dkv + key * c->ld_dkv + (int64_t)kv_head * spec->head_dim;
	float *dv = c->dkv + key * c->ld_dkv + (int64_t)spec->kv_heads * spec->head_dim + (int64_t)kv_head * spec->v_dim;
	for (int64_t i = 0; i < keys; i++) {
		in->table->scale(spec->head_dim, spec->scale, w.dk + i * w.ldk, dk + i * c->ld_dkv);
		memcpy(dv + i * c->ld_dkv, w.dv + i * w.ldv, (size_t)spec->v_dim * sizeof *dv);
	}
}

/* ------------------------------------------------------------------------------------------------ dtable */
int64_t attend_back_dtable_tasks(const attend_back_call *call)
{
	return call->d_table && bias_entries(&call->f.spec->bias) ? call->f.spec->heads : 0;
}

static void collect(const attend_back_call *c, work *w, const attend_block *b, const place *p)
{
	bool slope = c->f.spec->bias.kind == BIAS_SLOPE;
	for (int32_t i = 0; i < b->rows; i++) {
		const float *ds = w->dp + i * TILE;
		attend_bias_row(&w->maker, p->h, b->row + i, w->lo[i], w->hi[i], w->bias + i * TILE, w->index);
		for (int32_t j = w->lo[i]; j < w->hi[i]; j++) {
			if (slope)
				w->table[0] -= (double)w->index[j] * (double)ds[j];
			else
				w->table[w->index[j]] += (double)ds[j];
		}
	}
}

void attend_back_dtable(const inner *in, const attend_back_call *c, int64_t task, void *scratch)
{
	const attention *spec = c->f.spec;
	work w = work_open(c, scratch);
	int64_t entries = bias_entries(&spec->bias);
	int32_t h = (int32_t)task, from, to;
	memset(w.table, 0, (size_t)entries * sizeof *w.table);
	for (int64_t block = 0; block < attend_blocks(c->f.at); block++) {
		attend_block b = attend_find(c->f.at, block);
		for (int32_t j0 = 0; j0 < b.seg.kv1 - b.seg.kv0; j0 += TILE) {
			attend_seen(c->f.at, &b, j0, TILE, w.lo, w.hi, &from, &to);
			if (from >= to)
				continue;
			place p = place_of(c, &b, h, b.seg.kv0 + j0);
			gradients(in, c, &w, &b, &p, from, to);
			collect(c, &w, &b, &p);
		}
	}
	for (int64_t e = 0; e < entries; e++)
		c->d_table[e * spec->heads + h] = (float)w.table[e];
}
