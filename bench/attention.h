/* attention.h - one attention of 12 heads of 64 over so many tokens, for the two programs here. */
#ifndef REBUS_BENCH_ATTENTION_H
#define REBUS_BENCH_ATTENTION_H

#include "kernels/kernels.h"

enum { HEADS = 12, HEAD_DIM = 64, WIDTH = HEADS * HEAD_DIM };

typedef struct {
	attention spec;
	segment seg;
	int32_t first[2];
	layout at;
	attend_call call;
} attend_case;

/* Values do not matter to the time, but zeros or NaNs might. */
static inline float *filled(arena *a, int64_t count)
{
	float *x = arena_get(a, (size_t)count, sizeof *x);
	for (int64_t i = 0; x && i < count; i++)
		x[i] = (float)((i * 37 + i / 64 * 11) % 256 - 128) / 128;
	return x;
}

/* false: no memory */
static inline bool attend_case_make(attend_case *c, arena *a, int32_t tokens)
{
	*c = (attend_case){.spec = {.heads = HEADS, .kv_heads = HEADS, .head_dim = HEAD_DIM, .v_dim = HEAD_DIM, .scale = 0.125f}, .seg = {0, tokens, 0, tokens}};
	c->at = (layout){.count = 1, .seg = &c->seg};
	layout_finish(&c->at, c->first);
	float *q = filled(a, (int64_t)tokens * WIDTH), *k = filled(a, (int64_t)tokens * WIDTH), *v = filled(a, (int64_t)tokens * WIDTH);
	float *out = filled(a, (int64_t)tokens * WIDTH);
	c->call = (attend_call){.spec = &c->spec, .at = &c->at, .q_rows = tokens, .kv_rows = tokens, .q = q, .k = k, .v = v, .out = out, .ldq = WIDTH,
		.ldk = WIDTH, .ldv = WIDTH, .ldo = WIDTH};
	return q && k && v && out;
}

static inline double attend_case_flops(const attend_case *c)
{
	return 4.0 * (double)c->call.q_rows * (double)c->call.kv_rows * WIDTH;
}

#endif
