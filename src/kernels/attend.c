/*
 * attend.c - attention over a layout, once for every level; attend_inner.h has what the level gives.
 *
 *   a task: one head, up to 256 query rows           for rows of one segment:   O^T = 0, m = -infinity, l = 0
 *                                                      Q turned into panels of 16 or 32 queries
 *            panel 0  panel 1  ...                     for each tile of 126 keys, from kv0 upwards:
 *          ┌────────┬────────┐                           K, V copied close together
 *   keys   │ S^T    │        │ 126                       for each panel that sees some of them:
 *          ├────────┼────────┤                             S^T = K Q^T
 *          │        │        │                             P^T = 2^(S^T + bias - m'), alpha = 2^(m - m'), l = l alpha + sum P
 *                                                          O^T = O^T alpha + V^T P^T
 *                                                      out = O / l, lse = m + log l
 *
 * (Dao et al. 2022; the running maximum is Milakov and Gimelshein 2018.) Memory is a tile and the task's rows, however long
 * the segment.
 *
 * Same bits. A row's tiles are counted from kv0, every element's chain runs over the tile's keys in ascending order, and
 * a key that a row does not see gives P = 0 exactly, which changes no sum; so neither the other rows of the task, nor
 * what else is packed, nor how far the segment goes on beyond hi matters. A segment of fewer than 8 query rows (decoding)
 * goes to attend_row.c, row by row.
 *
 * What is not seen must not leak, not even a NaN: 0 times NaN is NaN. Where some row of a panel sees a tile only in part, its
 * values are looked through, and if any is not finite (rounded to bf16, if they are), each row multiplies values in which all it does not see is 0.
 */
#include "kernels/approx.h"
#include "kernels/attend_inner.h"

#include <math.h>

enum { FEW = 8, WANTED_TASKS = 24, WIDE_HEAD = 128, MOST_ROWS = ATTEND_ROWS * ATTEND_JOINT };

/* Some rows of one segment, and where the tiles' operands lie. */
typedef struct {
	const inner *in;
	const attend_lanes *lanes;
	const attend_call *call;
	segment seg;
	int32_t row, rows, h, kv_head;
	float *queries, *out; /* panels of [words(head_dim), columns] and [v_dim, columns] */
	float *m, *l, *alpha; /* [rows, whole panels], the same, [columns] */
	float *keys, *values, *s, *bias, *spare; /* the tile's; spare [v_dim, columns] */
	int32_t *lo, *hi; /* [columns] */
	attend_bias maker;
	attend_block soon; /* what comes after these rows, of head soon_h; no rows: nothing */
	int32_t soon_h;
} work;

/* What a panel sees of a tile: keys from ... to - 1, some row less than that if partial. */
typedef struct {
	int32_t from, to;
	bool partial;
} sight;

static int32_t joint_most(const attention *spec)
{
	return spec->head_dim > WIDE_HEAD || spec->v_dim > WIDE_HEAD ? 1 : ATTEND_JOINT;
}

static float *take(char *base, size_t *at, size_t count)
{
	float *p = base ? (float *)(void *)(base + *at) : NULL;
	*at += size_round(count * sizeof *p, 64);
	return p;
}

/* Lays the scratch out, or only says how large it is. */
static size_t lay_out(work *w, const attention *spec, char *base)
{
	const size_t rows = (size_t)joint_most(spec) * ATTEND_ROWS, d = (size_t)spec->head_dim, vd = (size_t)spec->v_dim;
	size_t at = 0;
	w->queries = take(base, &at, rows * d);
	w->out = take(base, &at, rows * vd);
	w->m = take(base, &at, rows);
	w->l = take(base, &at, rows);
	w->alpha = take(base, &at, ATTEND_COLUMNS);
	w->keys = take(base, &at, ATTEND_SPAN * d);
	w->values = take(base, &at, ATTEND_SPAN * vd);
	w->s = take(base, &at, ATTEND_SPAN * ATTEND_COLUMNS);
	w->bias = take(base, &at, ATTEND_SPAN * ATTEND_COLUMNS);
	w->spare = take(base, &at, vd * ATTEND_COLUMNS);
	w->lo = (int32_t *)(void *)take(base, &at, ATTEND_COLUMNS);
	w->hi = (int32_t *)(void *)take(base, &at, ATTEND_COLUMNS);
	if (base)
		attend_bias_open(&w->maker, w->call, base + at);
	return at + attend_bias_size(&spec->bias);
}

size_t attend_cut_scratch(const attention *spec)
{
	work w;
	size_t many = lay_out(&w, spec, NULL), one = attend_row_size(spec);
	return many > one ? many : one;
}

/* ------------------------------------------------------------------------------------------------ a tile and a panel */
typedef struct {
	int32_t row, rows;            /* of the queries */
	float *queries, *out, *m, *l; /* the panel's */
} panel;

static panel panel_at(const work *w, int32_t i)
{
	const attention *spec = w->call->spec;
	const int64_t columns = w->lanes->columns, first = i * columns;
	return (panel){w->row + (int32_t)first, (int32_t)int_min(columns, w->rows - first), w->queries + first * attend_words(spec->head_dim, w->lanes->pack),
		w->out + first * spec->v_dim, w->m + first, w->l + first};
}

static void pack_tile(const work *w, int32_t j0, int32_t keys)
{
	const attend_call *c = w->call;
	const int64_t key = (int64_t)w->seg.kv0 + j0;
	w->lanes->keys(keys, c->spec->head_dim, c->k + key * c->ldk + (int64_t)w->kv_head * c->spec->head_dim, c->ldk, w->keys);
	w->lanes->values(keys, c->spec->v_dim, c->v + key * c->ldv + (int64_t)w->kv_head * c->spec->v_dim, c->ldv, w->values);
}

/* From and to are widened to whole words; then the others' elements are there but not seen. */
static sight look(const work *w, const panel *p, int32_t j0, int32_t keys)
{
	const attend_block b = {w->seg, p->row, p->rows};
	const int32_t pack = w->lanes->pack;
	sight s = {0, keys, false};
	if (w->call->at->lo || w->call->at->hi)
		s.partial = attend_seen(w->call->at, &b, j0, ATTEND_SPAN, w->lo, w->hi, &s.from, &s.to);
	if (s.from >= s.to)
		return s;
	int32_t from = s.from / pack * pack, to = (int32_t)int_min((s.to + pack - 1) / pack * pack, keys);
	s = (sight){from, to, s.partial || from != s.from || to != s.to};
	for (int32_t i = 0; i < w->lanes->columns && s.partial; i++) { /* from here on the tile starts at from */
		w->lo[i] = i < p->rows ? w->lo[i] - from : 0;
		w->hi[i] = i < p->rows ? w->hi[i] - from : 0;
	}
	return s;
}

/* What is left to do to the scores before 2^x: the cap, and the bias if there is one */
static const float *finish_scores(work *w, const panel *p, sight see, int32_t j0)
{
	const attention *spec = w->call->spec;
	const kernels *t = w->in->table;
	const int64_t columns = w->lanes->columns, used = ceil_div(p->rows, w->lanes->step) * w->lanes->step;
	for (int32_t j = 0; j < see.to - see.from && spec->cap > 0; j++) {
		t->act(ACT_TANH, used, w->s + j * columns, w->s + j * columns);
		t->scale(used, spec->cap * ATTEND_LOG2E, w->s + j * columns, w->s + j * columns);
	}
	if (spec->bias.kind == BIAS_NONE)
		return NULL;
	const int64_t key = (int64_t)w->seg.kv0 + j0 + see.from;
	attend_bias_queries(&w->maker, p->row, p->rows);
	for (int32_t j = 0; j < see.to - see.from; j++) {
		float *to = w->bias + j * columns;
		attend_bias_against(&w->maker, w->h, key + j, j, see.partial ? w->lo : NULL, w->hi, p->rows, to);
		for (int64_t i = p->rows; i < used; i++)
			to[i] = 0;
	}
	return w->bias;
}

/* What is beyond the middle between bfloat16's largest number and the next rounds to infinity. */
static bool finite_values(const work *w, sight see, int32_t j0)
{
	static const float bfloat_end = 0x1.FFp127f;
	const attend_call *c = w->call;
	const bool rounded = c->products == DT_BF16;
	bool finite = true;
	for (int32_t j = see.from; j < see.to && finite; j++) {
		const float *v = c->v + ((int64_t)w->seg.kv0 + j0 + j) * c->ldv + (int64_t)w->kv_head * c->spec->v_dim;
		finite = rounded ? w->in->largest(c->spec->v_dim, v) < bfloat_end : w->in->finite(c->spec->v_dim, v);
	}
	return finite;
}

/* Key j of the packed values := 0 */
static void blank(const work *w, int32_t j)
{
	const int32_t pack = w->lanes->pack, d = w->call->spec->v_dim;
	char *to = (char *)(w->values + (int64_t)(j / pack) * d) + (size_t)(j % pack) * sizeof(float) / (size_t)pack;
	for (int32_t i = 0; i < d; i++, to += sizeof(float))
		memset(to, 0, sizeof(float) / (size_t)pack);
}

static void weigh(const work *w, const panel *p, sight see, float *out)
{
	const int64_t d = w->call->spec->v_dim;
	w->lanes->tile(d, attend_words(see.to - see.from, w->lanes->pack), w->values + see.from / w->lanes->pack * d, 1, d, w->s, w->alpha, out, p->rows);
}

/* Row by row, every time with values of which only what the row sees is left */
static void weigh_unsound(const work *w, const panel *p, sight see, int32_t j0, int32_t keys)
{
	const int64_t d = w->call->spec->v_dim, columns = w->lanes->columns;
	for (int32_t i = 0; i < p->rows; i++) {
		if (w->lo[i] >= w->hi[i])
			continue;
		pack_tile(w, j0, keys);
		for (int32_t j = see.from; j < see.to; j++)
			if (j - see.from < w->lo[i] || j - see.from >= w->hi[i])
				blank(w, j);
		memcpy(w->spare, p->out, (size_t)(d * columns) * sizeof *w->spare);
		weigh(w, p, see, w->spare);
		for (int64_t c = 0; c < d; c++)
			p->out[c * columns + i] = w->spare[c * columns + i];
	}
	pack_tile(w, j0, keys);
}

static void panel_tile(work *w, const panel *p, sight see, int32_t j0, int32_t keys)
{
	const int64_t words = attend_words(w->call->spec->head_dim, w->lanes->pack);
	w->lanes->tile(see.to - see.from, words, w->keys + see.from * words, words, 1, p->queries, NULL, w->s, p->rows);
	const float *bias = finish_scores(w, p, see, j0);
	w->lanes->softmax(see.to - see.from, w->s, bias, see.partial ? w->lo : NULL, w->hi, p->m, p->l, w->alpha, p->rows);
	if (see.partial && !finite_values(w, see, j0))
		weigh_unsound(w, p, see, j0, keys);
	else
		weigh(w, p, see, p->out);
}

/* ------------------------------------------------------------------------------------------------ rows of a segment */
/* Keys that any of the rows sees, from kv0. */
static void range(const work *w, int32_t *from, int32_t *to)
{
	const layout *at = w->call->at;
	const int32_t keys = w->seg.kv1 - w->seg.kv0;
	*from = at->lo ? keys : 0;
	*to = at->hi ? 0 : keys;
	for (int32_t i = w->row; i < w->row + w->rows; i++) {
		if (at->lo)
			*from = (int32_t)int_min(*from, at->lo[i]);
		if (at->hi)
			*to = (int32_t)int_max(*to, at->hi[i]);
	}
	*from = (int32_t)int_max(*from, 0) / ATTEND_SPAN * ATTEND_SPAN;
	*to = (int32_t)int_min(*to, keys);
}

static void start(const work *w, int32_t panels)
{
	const attend_call *c = w->call;
	const attention *spec = c->spec;
	const int64_t rows = (int64_t)panels * w->lanes->columns;
	const float scale = spec->cap > 0 ? spec->scale / spec->cap : spec->scale * ATTEND_LOG2E;
	memset(w->out, 0, (size_t)(rows * spec->v_dim) * sizeof *w->out);
	memset(w->l, 0, (size_t)rows * sizeof *w->l);
	for (int64_t i = 0; i < rows; i++)
		w->m[i] = -INFINITY;
	for (int32_t i = 0; i < panels; i++) {
		panel p = panel_at(w, i);
		w->lanes->queries(p.rows, spec->head_dim, c->q + p.row * c->ldq + (int64_t)w->h * spec->head_dim, c->ldq, scale, p.queries);
	}
}

static void write_narrow(const work *w, const panel *p)
{
	const attend_call *c = w->call;
	const int64_t d = c->spec->v_dim;
	w->lanes->finish(p->rows, d, p->out, p->l, w->spare, d);
	for (int32_t r = 0; r < p->rows; r++)
		w->in->to_bf16(d, w->spare + r * d, attend_narrow(c, p->row + r, w->h));
}

static void write(const work *w, int32_t panels)
{
	const attend_call *c = w->call;
	const attention *spec = c->spec;
	for (int32_t i = 0; i < panels; i++) {
		panel p = panel_at(w, i);
		if (c->out_as == PRECISION_BF16)
			write_narrow(w, &p);
		else
			w->lanes->finish(p.rows, spec->v_dim, p.out, p.l, c->out + p.row * c->ldo + (int64_t)w->h * spec->v_dim, c->ldo);
		for (int32_t r = 0; r < p.rows && c->lse; r++)
			c->lse[(int64_t)(p.row + r) * spec->heads + w->h] = p.l[r] == 0 ? -INFINITY : (float)(p.m[r] * ATTEND_LN2 + approx_log(p.l[r]));
	}
}

/* The share of panel i of so many of the queries, keys and values that the task after this one starts with */
static void fetch_soon(const work *w, int32_t i, int32_t panels)
{
	const attend_call *c = w->call;
	const attention *spec = c->spec;
	const int32_t kv_head = w->soon_h / (spec->heads / spec->kv_heads), rows = w->soon.rows;
	const int32_t keys = rows ? (int32_t)int_min(ATTEND_SPAN, w->soon.seg.kv1 - w->soon.seg.kv0) : 0;
	const int32_t row = rows * i / panels, row_end = rows * (i + 1) / panels, j = keys * i / panels, end = keys * (i + 1) / panels;
	const int64_t q = (int64_t)w->soon.row + row, key = (int64_t)w->soon.seg.kv0 + j;
	if (row < row_end)
		w->lanes->fetch(row_end - row, spec->head_dim, c->q + q * c->ldq + (int64_t)w->soon_h * spec->head_dim, c->ldq);
	if (j < end) {
		w->lanes->fetch(end - j, spec->head_dim, c->k + key * c->ldk + (int64_t)kv_head * spec->head_dim, c->ldk);
		w->lanes->fetch(end - j, spec->v_dim, c->v + key * c->ldv + (int64_t)kv_head * spec->v_dim, c->ldv);
	}
}

/* While panel i of so many is at work, its share of the next tile's keys and values comes nearer. */
static void fetch_share(const work *w, int32_t i, int32_t panels, int32_t j0, int32_t end)
{
	const attend_call *c = w->call;
	const int32_t next = j0 + ATTEND_SPAN, n = (int32_t)int_min(ATTEND_SPAN, end - next);
	if (!w->lanes->fetch)
		return;
	if (n <= 0) {
		fetch_soon(w, i, panels);
		return;
	}
	const int32_t from = n * i / panels, rows = n * (i + 1) / panels - from;
	const int64_t key = (int64_t)w->seg.kv0 + next + from;
	w->lanes->fetch(rows, c->spec->head_dim, c->k + key * c->ldk + (int64_t)w->kv_head * c->spec->head_dim, c->ldk);
	w->lanes->fetch(rows, c->spec->v_dim, c->v + key * c->ldv + (int64_t)w->kv_head * c->spec->v_dim, c->ldv);
}

static void many_rows(work *w)
{
	const int32_t panels = (int32_t)ceil_div(w->rows, w->lanes->columns);
	int32_t j0, end;
	range(w, &j0, &end);
	start(w, panels);
	for (; j0 < end; j0 += ATTEND_SPAN) {
		int32_t keys = (int32_t)int_min(ATTEND_SPAN, w->seg.kv1 - w->seg.kv0 - j0);
		bool packed = false;
		for (int32_t i = 0; i < panels; i++) {
			panel p = panel_at(w, i);
			sight see = look(w, &p, j0, keys);
			if (see.from >= see.to)
				continue;
			if (!packed)
				pack_tile(w, j0, keys);
			packed = true;
			fetch_share(w, i, panels, j0, end);
			panel_tile(w, &p, see, j0, keys);
		}
	}
	write(w, panels);
}

/* ------------------------------------------------------------------------------------------------ tasks */
static void clear_rows(const attend_call *c, int64_t from, int64_t to)
{
	const attention *spec = c->spec;
	for (int64_t r = from; r < to; r++) {
		memset(c->out + r * c->ldo, 0, (size_t)spec->heads * (size_t)spec->v_dim * (c->out_as == PRECISION_BF16 ? 2 : 4));
		for (int32_t h = 0; h < spec->heads && c->lse; h++)
			c->lse[r * spec->heads + h] = -INFINITY;
	}
}

static void clear_gaps(const attend_call *c)
{
	int64_t row = 0;
	for (int32_t i = 0; i < c->at->count; i++) {
		clear_rows(c, row, c->at->seg[i].q0);
		row = int_max(row, c->at->seg[i].q1);
	}
	clear_rows(c, row, c->q_rows);
}

/* Blocks of query rows that share a task: many, unless that leaves too few tasks. By shape alone. */
static int64_t joint_of(const attend_call *c)
{
	int64_t joint = joint_most(c->spec);
	while (joint > 1 && ceil_div(attend_blocks(c->at), joint) * c->spec->heads < WANTED_TASKS)
		joint /= 2;
	return joint;
}

int64_t attend_cut_tasks(const attend_call *call)
{
	return ceil_div(attend_blocks(call->at), joint_of(call)) * call->spec->heads + 1;
}

/* The block at *at and those after it, before end, that belong to the same segment; *at moves behind them. */
static attend_block many_at(const layout *l, int64_t *at, int64_t end)
{
	attend_block b = attend_find(l, (*at)++);
	for (; *at < end && b.row + b.rows < b.seg.q1; (*at)++)
		b.rows += (int32_t)int_min(ATTEND_ROWS, b.seg.q1 - b.row - b.rows);
	return b;
}

/* What this member most likely does when it is done with the rows before `block` of the task that ends with `end` */
static void find_soon(work *w, int64_t block, int64_t end, int64_t blocks, int64_t joint)
{
	w->soon = (attend_block){0};
	w->soon_h = w->h + (block >= blocks);
	block = block >= blocks ? 0 : block;
	if (w->soon_h == w->call->spec->heads)
		return;
	int64_t stop = block < end && w->soon_h == w->h ? end : int_min(block + joint, blocks);
	w->soon = many_at(w->call->at, &block, stop);
}

/* Task by task through the rows of a head, so that its keys and values stay in the cache. */
void attend_cut_run(const inner *in, const attend_call *call, int64_t task, void *scratch)
{
	const attention *spec = call->spec;
	const int64_t blocks = attend_blocks(call->at), joint = joint_of(call), groups = ceil_div(blocks, joint);
	if (task == groups * spec->heads) {
		clear_gaps(call);
		return;
	}
	const int32_t h = (int32_t)(task / groups);
	const int64_t end = int_min((task % groups + 1) * joint, blocks);
	work w = {.in = in, .lanes = call->products == DT_BF16 ? in->attend_bf16 : in->attend, .call = call, .h = h, .kv_head = h / (spec->heads / spec->kv_heads)};
	lay_out(&w, spec, scratch);
	for (int64_t block = task % groups * joint; block < end;) {
		attend_block b = many_at(call->at, &block, end);
		if (b.seg.q1 - b.seg.q0 < FEW) {
			for (int32_t row = b.row; row < b.row + b.rows; row++)
				attend_row(in, call, &b.seg, row, h, scratch);
			continue;
		}
		find_soon(&w, block, end, blocks, joint);
		w.seg = b.seg;
		w.row = b.row;
		w.rows = b.rows;
		many_rows(&w);
	}
}
