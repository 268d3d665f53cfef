/*
 * graph_case.h - what the tests of the graph share: a graph together with the data of one run, random weights, and a run.
 *
 *   graph_case ─ graph g, rows by space, data by slot ──case_feed──► feed ──► plan_run
 *
 * Everything lies in one arena. Values are normal with a fixed seed; data starts one element off its alignment, as in a
 * mapped checkpoint. Spaces are planned for more rows than a run has.
 */
#ifndef TESTS_GRAPH_CASE_H
#define TESTS_GRAPH_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

enum { CASE_SPACES = 64, CASE_SLOTS = 64, CASE_OUTS = 4, CASE_SLACK = 3 };

typedef struct graph_case {
	arena mem;
	graph *g;
	uint64_t seed;
	int64_t rows[CASE_SPACES];
	const void *at[CASE_SLOTS];
	node_id out[CASE_OUTS], seeds[CASE_OUTS];
	int outs;
} graph_case;

static inline void case_begin(graph_case *c, bool train, uint64_t seed)
{
	*c = (graph_case){.seed = seed};
	arena_init(&c->mem, NULL, 0);
	assert_int_equal(graph_new(NULL, train, &c->g, NULL), REBUS_OK);
}

static inline void case_end(graph_case *c)
{
	graph_free(c->g);
	arena_free(&c->mem);
}

/* splitmix64 (Steele et al. 2014) */
static inline uint64_t case_bits(graph_case *c)
{
	uint64_t z = c->seed += 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

static inline double case_uniform(graph_case *c)
{
	return ((double)(case_bits(c) >> 11) + 0.5) / 9007199254740992.0;
}

static inline int32_t case_below(graph_case *c, int32_t n)
{
	return (int32_t)(case_bits(c) % (uint64_t)n);
}

static inline float case_normal(graph_case *c)
{
	double radius = sqrt(-2 * log(case_uniform(c))), turn = case_uniform(c);
	return (float)(radius * cos(6.283185307179586 * turn));
}

static inline void *case_get(graph_case *c, int64_t count, size_t size)
{
	void *p = arena_zero(&c->mem, (size_t)count + 1, size);
	assert_non_null(p);
	return (char *)p + size;
}

static inline float *case_floats(graph_case *c, int64_t count, double scale)
{
	float *x = case_get(c, count, sizeof *x);
	for (int64_t i = 0; i < count; i++)
		x[i] = (float)scale * case_normal(c);
	return x;
}

static inline int32_t *case_ints(graph_case *c, const int32_t *from, int64_t count)
{
	int32_t *x = case_get(c, count, sizeof *x);
	memcpy(x, from, (size_t)count * sizeof *x);
	return x;
}

/* count values of about `scale` in a type; halves are 2^-e (1 + m / 1024) */
static inline void *case_values(graph_case *c, dtype type, int64_t count, double scale)
{
	if (type == DT_F32)
		return case_floats(c, count, scale);
	uint16_t *x = case_get(c, count, sizeof *x);
	for (int64_t i = 0; i < count; i++)
		x[i] = type == DT_BF16 ? dtype_to_bfloat((float)scale * case_normal(c))
							   : (uint16_t)((case_bits(c) & 0x83FFu) | (uint32_t)(11 + case_below(c, 4)) << 10);
	return x;
}

/* ------------------------------------------------------------------------------------------------ sources */
static inline space_id case_space(graph_case *c, int64_t rows)
{
	space_id id = graph_space(c->g, "rows", rows + CASE_SLACK);
	c->rows[id] = rows;
	return id;
}

static inline int64_t case_rows(const graph_case *c, space_id id)
{
	const space *s = graph_space_info(c->g, id);
	return s->fixed ? s->max : c->rows[id];
}

static inline node_id case_input(graph_case *c, space_id rows, int32_t width)
{
	slot at;
	node_id id = graph_input(c->g, "x", rows, width, &at);
	graph_want(c->g, id);
	c->at[at] = case_floats(c, case_rows(c, rows) * width, 1);
	return id;
}

/* up to three parts of out[] rows, 0 none; bias: bit p gives part p one */
static inline weight *case_weight(graph_case *c, dtype type, int64_t in, const int64_t out[WEIGHT_PARTS], unsigned bias)
{
	weight *w = case_get(c, 1, sizeof *w);
	*w = (weight){.name = "w", .in = in};
	for (int p = 0; p < WEIGHT_PARTS && out[p]; p++) {
		w->part[p] = (matrix){.data = case_values(c, type, out[p] * in, 1 / sqrt((double)in)), .type = type, .out = out[p], .in = in};
		w->bias[p] = bias >> p & 1 ? case_floats(c, out[p], 1) : NULL;
		w->out += out[p];
		w->parts++;
	}
	return w;
}

static inline weight *case_matrix(graph_case *c, dtype type, int64_t out, int64_t in, bool bias)
{
	return case_weight(c, type, in, (int64_t[]){out, 0, 0}, bias);
}

static inline weight *case_vector(graph_case *c, int64_t n)
{
	weight *w = case_matrix(c, DT_F32, n, 1, false);
	w->f32 = w->part[0].data;
	return w;
}

static inline slot case_map(graph_case *c, space_id out, int32_t taps, rowmap m)
{
	slot s = graph_slot_map(c->g, "map", out, taps, m.concat);
	rowmap *copy = case_get(c, 1, sizeof *copy);
	*copy = m;
	c->at[s] = copy;
	return s;
}

static inline slot case_layout(graph_case *c, space_id q, space_id kv, int32_t count, const segment *seg, const int32_t *lo, const int32_t *hi)
{
	slot s = graph_slot_layout(c->g, "layout", q, kv);
	layout *l = case_get(c, 1, sizeof *l);
	segment *copy = case_get(c, count, sizeof *copy);
	int32_t *first = case_get(c, count + 1, sizeof *first);
	memcpy(copy, seg, (size_t)count * sizeof *copy);
	*l = (layout){.count = count, .seg = copy, .lo = lo, .hi = hi};
	layout_finish(l, first);
	c->at[s] = l;
	return s;
}

static inline slot case_column(graph_case *c, space_id rows, int32_t width, const int32_t *data)
{
	slot s = graph_slot_column(c->g, "column", rows, width);
	c->at[s] = data;
	return s;
}

/* An output, kept, and an input of its shape that is its gradient's seed. */
static inline void case_out(graph_case *c, node_id id)
{
	slot at;
	assert_int_equal(graph_check(c->g, NULL), REBUS_OK);
	assert_true(id > 0 && c->outs < CASE_OUTS);
	graph_keep(c->g, id);
	space_id rows = graph_node(c->g, id)->rows;
	int32_t width = graph_node(c->g, id)->width;
	c->seeds[c->outs] = graph_input(c->g, "seed", rows, width, &at);
	c->at[at] = case_floats(c, case_rows(c, rows) * width, 1);
	c->out[c->outs++] = id;
}

/* ------------------------------------------------------------------------------------------------ runs */
static inline feed case_feed(graph_case *c)
{
	feed f;
	assert_true(graph_spaces(c->g) < CASE_SPACES && graph_slots(c->g) < CASE_SLOTS);
	assert_int_equal(feed_new(&c->mem, c->g, &f, NULL), REBUS_OK);
	for (space_id i = 1; i <= graph_spaces(c->g); i++)
		f.rows[i] = c->rows[i];
	for (slot i = 1; i <= graph_slots(c->g); i++)
		f.at[i] = c->at[i];
	return f;
}

static inline void case_ok(rebus_status status, const rebus_error *err)
{
	if (status)
		fail_msg("%s: %s", rebus_status_name(status), err->text);
}

static inline void case_run(graph_case *c, plan *p, int threads)
{
	team *t;
	rebus_error err;
	feed f = case_feed(c);
	case_ok(team_open(threads, NULL, &t, &err), &err);
	rebus_runner runner = team_runner(t);
	case_ok(plan_run(p, &f, &runner, NULL, NULL, &err), &err);
	team_close(t);
}

/* Memory full of NaN: a plan that reads what nobody wrote shows it. */
static inline void *case_poison(void *user, size_t size)
{
	void *p = base_allocator.alloc(user, size);
	return p ? memset(p, 0xFF, size) : NULL;
}

static inline plan *case_plan(graph_case *c, const kernels *k, int threads)
{
	static rebus_allocator poisoned;
	plan *p;
	rebus_error err;
	poisoned = (rebus_allocator){.alloc = case_poison, .free = base_allocator.free};
	case_ok(plan_make(c->g, k, threads, 0, &poisoned, &p, &err), &err);
	return p;
}

static inline bool case_same_bits(plan_rows a, plan_rows b)
{
	if (a.rows != b.rows || a.width != b.width)
		return false;
	for (int64_t r = 0; r < a.rows; r++)
		if (memcmp(a.data + r * a.stride, b.data + r * b.stride, (size_t)a.width * sizeof(float)))
			return false;
	return true;
}

#endif
