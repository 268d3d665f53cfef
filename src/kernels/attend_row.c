/*
 * attend_row.c - attention of one query row against its keys, for segments of fewer than 8 rows: a decode step has one.
 *
 *   for each tile of 64 keys that the row sees, from kv0:    s = q k_j scale + bias, by dot products
 *                                                            p = exp(s - m'), l = l alpha + sum p, out = out alpha + p V
 *
 * It waits for memory: each key and value is read once, where it lies. Products are in f32 whatever the call's precision.
 */
#include "kernels/approx.h"
#include "kernels/attend_inner.h"

#include <math.h>

typedef struct {
	float *s, *bias, *out; /* [TILE], [TILE], [v_dim] */
	float m, l, alpha;
	attend_bias maker;
} work;

static int64_t round_width(int64_t n)
{
	return (n + 15) / 16 * 16;
}

size_t attend_row_size(const attention *spec)
{
	return (size_t)(2 * TILE + round_width(spec->v_dim)) * sizeof(float) + attend_bias_size(&spec->bias);
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

/* The keys the row sees, from kv0. */
static void range(const layout *at, int32_t row, int32_t keys, int32_t *from, int32_t *to)
{
	*from = at->lo ? (int32_t)int_max(at->lo[row], 0) : 0;
	*to = at->hi ? (int32_t)int_min(at->hi[row], keys) : keys;
}

/* One tile: keys from ... to - 1 of the one that starts at row `key` of the matrix */
static void row_tile(const inner *in, const attend_call *c, work *w, int64_t row, int32_t h, int32_t kv_head, int64_t key, int32_t from, int32_t to)
{
	const attention *spec = c->spec;
	const float *q = c->q + row * c->ldq + (int64_t)h * spec->head_dim;
	const float *k = c->k + (key + from) * c->ldk + (int64_t)kv_head * spec->head_dim, *bias = NULL;
	const float *v = c->v + (key + from) * c->ldv + (int64_t)kv_head * spec->v_dim;
	in->few(1, to - from, spec->head_dim, q, c->ldq, DT_F32, k, c->ldk, w->s + from, TILE);
	if (spec->bias.kind != BIAS_NONE) {
		attend_bias_keys(&w->maker, key, from, to);
		attend_bias_row(&w->maker, h, row, from, to, w->bias, NULL);
		bias = w->bias;
	}
	float scale = attend_cap(in, spec, 1, from, to, w->s);
	in->softmax_tile(1, w->s, scale, bias, &from, &to, &w->m, &w->l, &w->alpha);
	if (w->alpha != 1)
		in->table->scale(spec->v_dim, w->alpha, w->out, w->out);
	in->tile(1, spec->v_dim, to - from, w->s + from, TILE, 1, v, c->ldv, w->out, spec->v_dim, true);
}

void attend_row(const inner *in, const attend_call *c, const segment *seg, int32_t row, int32_t h, void *scratch)
{
	const attention *spec = c->spec;
	work w = {.s = scratch, .m = -INFINITY};
	w.bias = w.s + TILE;
	w.out = w.bias + TILE;
	attend_bias_open(&w.maker, c, w.out + round_width(spec->v_dim));
	memset(w.out, 0, (size_t)spec->v_dim * sizeof *w.out);
	int32_t first, end, kv_head = h / (spec->heads / spec->kv_heads);
	range(c->at, row, seg->kv1 - seg->kv0, &first, &end);
	for (int32_t j0 = first / TILE * TILE; j0 < end; j0 += TILE) {
		int32_t from = (int32_t)int_max(first - j0, 0), to = (int32_t)int_min(end - j0, TILE);
		if (from < to)
			row_tile(in, c, &w, row, h, kv_head, (int64_t)seg->kv0 + j0, from, to);
	}
	bool narrow = c->out_as == PRECISION_BF16;
	float *to = narrow ? w.out : c->out + row * c->ldo + (int64_t)h * spec->v_dim;
	if (w.l == 0)
		memset(to, 0, (size_t)spec->v_dim * sizeof *to);
	else
		in->table->scale(spec->v_dim, 1.0f / w.l, w.out, to);
	if (narrow)
		in->to_bf16(spec->v_dim, to, attend_narrow(c, row, h));
	if (c->lse)
		c->lse[(int64_t)row * spec->heads + h] = w.l == 0 ? -INFINITY : (float)((double)w.m + approx_log(w.l));
}
