/*
 * test_plan.c - what a plan promises: fusion, threads, reuse of memory and changing row counts never change a bit; limits,
 * maxima and bad data are refused; a run allocates nothing, can be stopped, and no failed allocation leaks.
 */
#include "graph_net.h"

#include <limits.h>

#include <stdatomic.h>

static const int32_t four[] = {0, 1, 2, 3}, lengths[] = {9, 17, 8, 64}; /* 98 rows */
enum { ROWS = 98 };

/* ------------------------------------------------------------------------------------------------ an allocator that counts */
typedef struct {
	_Atomic long calls, live, bytes;
	long fail_at; /* this call fails, counted from 1; 0: none */
} counter;

static void *count_alloc(void *user, size_t size)
{
	counter *n = user;
	if (atomic_fetch_add(&n->calls, 1) + 1 == n->fail_at)
		return NULL;
	void *p = base_allocator.alloc(NULL, size);
	if (p) {
		atomic_fetch_add(&n->live, 1);
		atomic_fetch_add(&n->bytes, (long)size);
		memset(p, 0xFF, size); /* a NaN as f32, and no pointer */
	}
	return p;
}

static void count_free(void *user, void *memory, size_t size)
{
	counter *n = user;
	atomic_fetch_sub(&n->live, 1);
	atomic_fetch_sub(&n->bytes, (long)size);
	base_allocator.free(NULL, memory, size);
}

static rebus_allocator counting(counter *n)
{
	return (rebus_allocator){n, count_alloc, count_free};
}

/* ------------------------------------------------------------------------------------------------ the same bits */
static const cpu_level levels[] = {CPU_PORTABLE, CPU_AVX2, CPU_AVX512};

/* Everything the net computes, forward and back, into one matrix of bits: hidden rows, loss, all gradients. */
static void keep_results(small_net *n)
{
	graph_keep(n->c.g, n->hidden);
	graph_gradient(n->c.g, &n->loss, NULL, 1);
	graph_keep(n->c.g, n->loss);
	for (int i = 0; i < n->params; i++) {
		assert_true(graph_gradient_of(n->c.g, n->param[i]) > 0);
		graph_keep(n->c.g, graph_gradient_of(n->c.g, n->param[i]));
	}
}

static void expect_same(const small_net *n, const plan *a, const small_net *m, const plan *b, const char *what)
{
	assert_int_equal(n->params, m->params);
	if (!case_same_bits(plan_output(a, n->hidden), plan_output(b, m->hidden)))
		fail_msg("%s: other rows", what);
	if (!case_same_bits(plan_output(a, n->loss), plan_output(b, m->loss)))
		fail_msg("%s: another loss", what);
	for (int i = 0; i < n->params; i++)
		if (!case_same_bits(plan_output(a, graph_gradient_of(n->c.g, n->param[i])), plan_output(b, graph_gradient_of(m->c.g, m->param[i]))))
			fail_msg("%s: another gradient of parameter %d", what, i);
}

static plan *run_net(small_net *n, int64_t rows, bool keep_all, cpu_level level, int threads)
{
	net_begin(n, rows, 0, true);
	keep_results(n);
	for (node_id i = 1; i <= graph_count(n->c.g) && keep_all; i++)
		graph_keep(n->c.g, i);
	plan *p = case_plan(&n->c, kernels_get(level), threads);
	net_feed_batch(n, 4, four, lengths);
	case_run(&n->c, p, threads);
	return p;
}

static void fusion_and_reuse(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(levels); i++) {
		small_net n, m;
		plan *a = run_net(&n, ROWS, false, levels[i], 1), *b = run_net(&m, ROWS, true, levels[i], 1);
		assert_true(plan_about(a).fused > 0);
		assert_int_equal(plan_about(b).fused, 0);
		assert_true(plan_about(a).activations < plan_about(b).activations);
		assert_int_equal(plan_about(a).steps + plan_about(a).fused, plan_about(b).steps);
		expect_same(&n, a, &m, b, "everything kept");
		plan_free(a);
		plan_free(b);
		net_end(&n);
		net_end(&m);
	}
}

static void threads(void **state)
{
	(void)state;
	static const int counts[] = {2, 3, 8};
	for (size_t i = 0; i < COUNT_OF(levels); i++) {
		small_net n, m;
		plan *a = run_net(&n, ROWS, false, levels[i], 1);
		for (size_t t = 0; t < COUNT_OF(counts); t++) {
			plan *b = run_net(&m, ROWS, false, levels[i], counts[t]);
			expect_same(&n, a, &m, b, "threads");
			plan_free(b);
			net_end(&m);
		}
		plan_free(a);
		net_end(&n);
	}
}

/* A deep graph of every cheap kind of step, with long and short lives mixed: kept wholly or not at all. */
static node_id deep(graph_case *c, space_id s)
{
	node_id x = case_input(c, s, 16), old[8], y;
	weight *w = case_weight(c, DT_F32, 16, (int64_t[]){9, 2, 5}, 5), *norm = case_vector(c, 16);
	for (int i = 0; i < 8; i++)
		old[i] = x;
	for (int i = 0; i < 120; i++) {
		node_id r = old[case_below(c, 8)];
		switch (case_below(c, 7)) {
		case 0:
			y = graph_linear(c->g, NULL, x, w);
			break;
		case 1:
			y = graph_act(c->g, NULL, ACT_TANH, graph_act(c->g, NULL, ACT_SILU, graph_linear(c->g, NULL, r, w)));
			break;
		case 2:
			y = graph_add(c->g, NULL, r, graph_act(c->g, NULL, ACT_SILU, graph_linear(c->g, NULL, x, w)));
			break;
		case 3:
			y = graph_rms_norm(c->g, NULL, graph_add(c->g, NULL, x, r), norm, 1e-5f);
			break;
		case 4:
			y = graph_gate(c->g, NULL, ACT_SIGMOID, r, x);
			break;
		case 5:
			y = graph_concat(c->g, NULL, (node_id[]){graph_view(c->g, r, 3, 5), graph_view(c->g, x, 5, 11)}, 2);
			break;
		default:
			y = graph_act(c->g, NULL, ACT_TANH, graph_add(c->g, NULL, graph_linear(c->g, NULL, r, w), x));
			break;
		}
		old[case_below(c, 8)] = x;
		x = y;
	}
	return x;
}

static void deep_reuse(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		graph_case a, b;
		case_begin(&a, false, seed);
		case_begin(&b, false, seed);
		node_id x = deep(&a, case_space(&a, 21)), y = deep(&b, case_space(&b, 21));
		graph_keep(a.g, x);
		for (node_id i = 1; i <= graph_count(b.g); i++)
			graph_keep(b.g, i);
		plan *p = case_plan(&a, kernels_get(CPU_PORTABLE), 2), *q = case_plan(&b, kernels_get(CPU_PORTABLE), 2);
		assert_true(plan_about(p).activations < plan_about(q).activations);
		for (int again = 0; again < 2; again++) {
			case_run(&a, p, 2);
			case_run(&b, q, 2);
			assert_true(case_same_bits(plan_output(p, x), plan_output(q, y)));
		}
		plan_free(p);
		plan_free(q);
		case_end(&a);
		case_end(&b);
	}
}

/* One plan for the most rows serves every count: as a plan made for just that count. */
static void row_counts(void **state)
{
	(void)state;
	static const struct {
		int count;
		int32_t length[4];
	} batches[] = {{4, {9, 17, 8, 64}}, {1, {1}}, {2, {70, 30}}, {3, {8, 8, 3}}, {1, {98}}, {4, {9, 17, 8, 64}}};
	small_net n, m;
	net_begin(&n, 120, 0, true);
	keep_results(&n);
	plan *p = case_plan(&n.c, kernels_get(CPU_PORTABLE), 2);
	for (size_t i = 0; i < COUNT_OF(batches); i++) {
		int64_t rows = 0;
		for (int j = 0; j < batches[i].count; j++)
			rows += batches[i].length[j];
		net_feed_batch(&n, batches[i].count, four, batches[i].length);
		case_run(&n.c, p, 2);
		net_begin(&m, rows, 0, true);
		keep_results(&m);
		plan *q = case_plan(&m.c, kernels_get(CPU_PORTABLE), 2);
		net_feed_batch(&m, batches[i].count, four, batches[i].length);
		case_run(&m.c, q, 2);
		expect_same(&n, p, &m, q, "another row count");
		plan_free(q);
		net_end(&m);
	}
	plan_free(p);
	net_end(&n);
}

/* ------------------------------------------------------------------------------------------------ refusals */
static rebus_status run_case(graph_case *c, plan *p, rebus_error *err)
{
	team *t;
	case_ok(team_open(1, NULL, &t, err), err);
	rebus_runner runner = team_runner(t);
	feed f = case_feed(c);
	rebus_status status = plan_run(p, &f, &runner, NULL, NULL, err);
	team_close(t);
	return status;
}

/* The parts of a good run of 26 rows, copied so that one of them can be spoiled. */
typedef struct {
	rowmap map;
	layout at;
	segment seg[2];
	int32_t from[26], start[27], target[26];
} fed;

static void feed_copy(small_net *n, fed *d)
{
	net_feed_batch(n, 2, four, lengths);
	d->map = *(const rowmap *)n->c.at[n->source];
	d->at = *(const layout *)n->c.at[n->self];
	memcpy(d->seg, d->at.seg, sizeof d->seg);
	memcpy(d->from, d->map.from, sizeof d->from);
	memcpy(d->target, n->c.at[n->target], sizeof d->target);
	for (int i = 0; i < 27; i++)
		d->start[i] = i;
	d->map.from = d->from;
	d->at.seg = d->seg;
	n->c.at[n->source] = &d->map;
	n->c.at[n->self] = &d->at;
	n->c.at[n->target] = d->target;
}

static const struct {
	rebus_status status;
	const char *says;
} refusals[] = {
	{REBUS_LIMIT, "tokens: 27 rows, planned for at most 26"},
	{REBUS_LIMIT, "tokens: -1 rows"},
	{REBUS_LIMIT, "source: a map of 26 rows"},
	{REBUS_MISUSE, "slot source: nothing is fed"},
	{REBUS_MISUSE, "slot self"},
	{REBUS_MISUSE, "slot angles"},
	{REBUS_MISUSE, "slot target"},
	{REBUS_LIMIT, "52 sources"},
	{REBUS_LIMIT, "a map of"},
	{REBUS_LIMIT, "a map from 38 rows"},
	{REBUS_MISUSE, "reads row 37 of 37"},
	{REBUS_MISUSE, "reads row -2"},
	{REBUS_LIMIT, "a map of"},
	{REBUS_LIMIT, "a map of"},
	{REBUS_LIMIT, "27 sources"},
	{REBUS_MISUSE, "a layout"},
	{REBUS_MISUSE, "a layout"},
	{REBUS_MISUSE, "a layout"},
	{REBUS_MISUSE, "a layout"},
	{REBUS_MISUSE, "a layout"},
	{REBUS_MISUSE, "a layout"},
	{REBUS_MISUSE, "loss: target 37 of 37 classes"},
	{REBUS_OK, ""},
	{REBUS_OK, ""},
};

static void spoil(small_net *n, fed *d, size_t how)
{
	switch (how) {
	case 0: n->c.rows[n->rows] = 27; break;
	case 1: n->c.rows[n->rows] = -1; break;
	case 2: n->c.rows[n->rows] = 25; break;
	case 3: n->c.at[n->source] = NULL; break;
	case 4: n->c.at[n->self] = NULL; break;
	case 5: n->c.at[n->angles] = NULL; break;
	case 6: n->c.at[n->target] = NULL; break;
	case 7: d->map.taps = 2; break;
	case 8: d->map.concat = true; d->map.taps = 2; break;
	case 9: d->map.rows_in = NET_VOCAB + 1; break;
	case 10: d->from[25] = NET_VOCAB; break;
	case 11: d->from[0] = -2; break;
	case 12: d->map.start = d->start; d->start[0] = 1; break;
	case 13: d->map.start = d->start; d->start[5] = 9; break;
	case 14: d->map.start = d->start; d->start[26] = 27; break;
	case 15: d->seg[1].q1 = 27; break;
	case 16: d->seg[1].kv1 = 27; break;
	case 17: d->seg[1].q0 = 8; break;
	case 18: d->seg[0].q0 = -1; break;
	case 19: d->at.first = NULL; break;
	case 20: d->at.lo = NULL; break;
	case 21: d->target[3] = NET_VOCAB; break;
	case 22: d->map.start = d->start; d->map.taps = 0; break;
	default: break;
	}
}

static void bad_runs(void **state)
{
	(void)state;
	small_net n;
	fed d;
	net_begin(&n, 26, 0, true);
	keep_results(&n);
	plan *p = case_plan(&n.c, kernels_get(CPU_PORTABLE), 1);
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		rebus_error err = {.text = ""};
		feed_copy(&n, &d);
		spoil(&n, &d, i);
		rebus_status status = run_case(&n.c, p, &err);
		if (status != refusals[i].status || !strstr(err.text, refusals[i].says))
			fail_msg("%zu: want '%s', got %d: %s", i, refusals[i].says, (int)status, err.text);
	}
	plan_free(p);
	net_end(&n);
}

static void bad_cache(void **state)
{
	(void)state;
	small_net n;
	rebus_error err = {.text = ""};
	int32_t where[9], bad[] = {-1, 20};
	int32_t region[] = {0}, past[] = {0}, zero[] = {0};
	layout l;
	net_begin(&n, 9, 20, false);
	graph_keep(n.c.g, n.hidden);
	plan *p = case_plan(&n.c, kernels_get(CPU_PORTABLE), 1);
	tokens t = net_tokens(&n, 1, four, zero, lengths);
	net_feed_tokens(&n, &t);
	assert_int_equal(tokens_layout_cached(&n.c.mem, &t, region, past, where, &l, NULL), REBUS_OK);
	n.c.at[n.self] = &l;
	n.c.at[n.where] = where;
	assert_int_equal(run_case(&n.c, p, &err), REBUS_OK);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		where[4] = bad[i];
		assert_int_equal(run_case(&n.c, p, &err), REBUS_MISUSE);
		assert_non_null(strstr(err.text, "of a cache of 20"));
	}
	plan_free(p);
	net_end(&n);
}

static void wrong_threads(void **state)
{
	(void)state;
	small_net n;
	rebus_error err;
	plan *p = NULL;
	net_begin(&n, ROWS, 0, false);
	graph_keep(n.c.g, n.hidden);
	assert_int_equal(plan_make(n.c.g, kernels_get(CPU_PORTABLE), 0, 0, NULL, &p, &err), REBUS_MISUSE);
	p = case_plan(&n.c, kernels_get(CPU_PORTABLE), 2);
	net_feed_batch(&n, 4, four, lengths);
	assert_int_equal(run_case(&n.c, p, &err), REBUS_MISUSE);
	plan_free(p);
	net_end(&n);
}

/* A map may be from fewer rows than its inputs have (the rest gets no gradient), not from more; with the forward move or without. */
static void bad_moves(void **state)
{
	(void)state;
	static const int32_t from[] = {4, 0, -1, 4};
	for (int forward = 0; forward < 2; forward++) {
		graph_case c;
		rebus_error err = {.text = ""};
		case_begin(&c, false, 1);
		space_id in = case_space(&c, 7), out = case_space(&c, 4);
		rowmap m = {.rows_out = 4, .rows_in = 5, .taps = 1, .from = from};
		slot map = graph_slot_map(c.g, "map", out, 1, false);
		node_id x = case_input(&c, in, 3), y = graph_move(c.g, "y", &x, 1, out, map), seed = case_input(&c, out, 3);
		graph_gradient(c.g, &y, &seed, 1);
		node_id d = graph_gradient_of(c.g, x);
		graph_keep(c.g, forward ? y : d);
		plan *p = case_plan(&c, kernels_get(CPU_PORTABLE), 1);
		assert_int_equal(run_case(&c, p, &err), REBUS_MISUSE);
		assert_string_equal(err.text, "slot map: nothing is fed");
		c.at[map] = &m;
		case_ok(run_case(&c, p, &err), &err);
		const float *s = c.at[graph_node(c.g, seed)->a.at], *dx = plan_output(p, d).data;
		for (int r = 0; r < 7 && !forward; r++)
			for (int i = 0; i < 3; i++) {
				float want = r == 4 ? s[i] + s[9 + i] : r == 0 ? s[3 + i] : 0;
				if (dx[3 * r + i] < want || dx[3 * r + i] > want)
					fail_msg("row %d: %g, want %g", r, (double)dx[3 * r + i], (double)want);
			}
		m.rows_in = 8; /* within the maximum, but not of this run */
		assert_int_equal(run_case(&c, p, &err), REBUS_MISUSE);
		assert_non_null(strstr(err.text, "a map from 8 rows, its input"));
		m.rows_in = 11;
		assert_int_equal(run_case(&c, p, &err), forward ? REBUS_MISUSE : REBUS_LIMIT);
		plan_free(p);
		case_end(&c);
	}
}

/* Each builds something that cannot be; the graph keeps the first failure and every later call is harmless. */
static void bad_graphs(void **state)
{
	(void)state;
	for (int i = 0; i < 31; i++) {
		graph_case c;
		rebus_error err;
		plan *p = NULL;
		case_begin(&c, true, 1);
		space_id s = case_space(&c, 5), t = case_space(&c, 5);
		node_id x = case_input(&c, s, 8), y = case_input(&c, t, 8), z = case_input(&c, s, 6), r = 0;
		slot map = graph_slot_map(c.g, "map", s, 1, false), self = graph_slot_layout(c.g, "self", s, s), column = graph_slot_column(c.g, "column", s, 1);
		weight *w = case_matrix(&c, DT_F32, 6, 8, false), *half = case_matrix(&c, DT_BF16, 1, 8, false), *v = case_vector(&c, 6);
		weight *two = case_weight(&c, DT_F32, 8, (int64_t[]){3, 3, 0}, 0);
		attention spec = {.heads = 2, .kv_heads = 2, .head_dim = 4, .v_dim = 4, .scale = 1}, odd = spec, grid = spec;
		odd.kv_heads = 3;
		grid.bias = (bias_spec){.kind = BIAS_GRID, .side = {2, 2}};
		node_id table = graph_param(c.g, case_matrix(&c, DT_F32, 9, 2, false));
		switch (i) {
		case 0: r = graph_add(c.g, "bad", x, y); break;
		case 1: r = graph_add(c.g, "bad", x, z); break;
		case 2: r = graph_add(c.g, "bad", x, 0); break;
		case 3: r = graph_add(c.g, "bad", 0, x); break;
		case 4: r = graph_add(c.g, "bad", x, 9999); break;
		case 5: r = graph_linear(c.g, "bad", z, w); break;
		case 6: r = graph_linear(c.g, "bad", x, NULL); break;
		case 7: r = graph_linear(c.g, "bad", z, v); break;
		case 8: r = graph_layer_norm(c.g, "bad", x, v, NULL, 1e-5f); break;
		case 9: r = graph_rms_norm(c.g, "bad", x, NULL, 1e-5f); break;
		case 10: r = graph_rms_norm(c.g, "bad", x, half, 1e-5f); break;
		case 11: r = graph_rms_norm(c.g, "bad", x, w, 1e-5f); break;
		case 12: r = graph_view(c.g, x, 1, 8); break;
		case 13: r = graph_view(c.g, x, -1, 2); break;
		case 14: r = graph_view(c.g, 0, 0, 1); break;
		case 15: r = graph_concat(c.g, "bad", (node_id[]){x, 0, x}, 3); break;
		case 16: r = graph_concat(c.g, "bad", (node_id[]){x, y}, 2); break;
		case 17: r = graph_concat(c.g, "bad", (node_id[]){x, x, x, x, x, x, x}, 7); break;
		case 18: r = graph_move(c.g, "bad", (node_id[]){x, z}, 2, s, map); break;
		case 19: r = graph_move(c.g, "bad", &x, 1, t, map); break;
		case 20: r = graph_move(c.g, "bad", &x, 1, s, self); break;
		case 21: r = graph_move(c.g, "bad", (node_id[]){graph_param(c.g, two)}, 1, s, map); break;
		case 22: r = graph_rotate(c.g, "bad", x, z, 4, 0); break;
		case 23: r = graph_rotate(c.g, "bad", x, 0, 4, 0); break;
		case 24: r = graph_cache(c.g, "bad", x, 99, column); break;
		case 25: r = graph_cache(c.g, "bad", y, s, column); break;
		case 26: r = graph_attend(c.g, "bad", x, x, x, &odd, self, 0, 0, 0); break;
		case 27: r = graph_attend(c.g, "bad", x, y, y, &spec, self, 0, 0, 0); break;
		case 28: r = graph_attend(c.g, "bad", x, x, x, &grid, self, table, column, column); break;
		case 29: r = graph_cross_entropy(c.g, "bad", y, column); break;
		default: graph_gradient(c.g, &x, &z, 1); break;
		}
		assert_int_equal(r, 0);
		graph_keep(c.g, graph_act(c.g, "after", ACT_GELU, x));
		graph_gradient(c.g, &x, NULL, 1);
		rebus_status status = plan_make(c.g, kernels_get(CPU_PORTABLE), 1, 0, NULL, &p, &err);
		if (status != REBUS_SHAPE && status != REBUS_UNSUPPORTED && status != REBUS_LIMIT)
			fail_msg("graph %d: status %d", i, status);
		assert_null(p);
		case_end(&c);
	}
}

static void too_large(void **state)
{
	(void)state;
	graph_case c;
	rebus_error err;
	plan *p = NULL;
	case_begin(&c, false, 1);
	node_id x = case_input(&c, case_space(&c, 2), 4);
	for (int i = 0; i < GRAPH_NODES; i++)
		x = graph_act(c.g, NULL, ACT_RELU, x);
	assert_int_equal(x, 0);
	assert_int_equal(graph_check(c.g, &err), REBUS_LIMIT);
	case_end(&c);

	case_begin(&c, false, 1);
	assert_int_equal(graph_space(c.g, "huge", (int64_t)1 << 40), 0);
	assert_int_equal(plan_make(c.g, kernels_get(CPU_PORTABLE), 1, 0, NULL, &p, &err), REBUS_LIMIT);
	case_end(&c);

	case_begin(&c, false, 1); /* each matrix fits in a size, all of them do not */
	space_id huge = graph_space(c.g, "huge", INT32_MAX / 2);
	slot at;
	x = graph_input(c.g, "x", huge, INT32_MAX / 2, &at);
	for (int i = 0; i < 9; i++)
		graph_keep(c.g, x = graph_act(c.g, NULL, ACT_RELU, x));
	assert_int_equal(graph_check(c.g, &err), REBUS_OK);
	assert_int_equal(plan_make(c.g, kernels_get(CPU_PORTABLE), 1, 0, NULL, &p, &err), REBUS_MEMORY);
	case_end(&c);
}

/* ------------------------------------------------------------------------------------------------ sizes and counts */
static void limits(void **state)
{
	(void)state;
	small_net n;
	rebus_error err;
	plan *p = NULL;
	plan_info measured;
	net_begin(&n, ROWS, 0, true);
	keep_results(&n);
	const kernels *k = kernels_get(CPU_PORTABLE);
	assert_int_equal(plan_measure(n.c.g, k, 2, NULL, &measured, &err), REBUS_OK);
	assert_int_equal(plan_make(n.c.g, k, 2, measured.total - 1, NULL, &p, &err), REBUS_LIMIT);
	assert_null(p);
	assert_int_equal(plan_make(n.c.g, k, 2, measured.total, NULL, &p, &err), REBUS_OK);
	plan_info made = plan_about(p);
	assert_memory_equal(&made, &measured, sizeof made);
	assert_true(made.total == made.activations + made.persistent + made.scratch + made.maps && made.maps > 0 && !made.persistent);
	plan_free(p);
	net_end(&n);

	net_begin(&n, ROWS, 1000, false);
	graph_keep(n.c.g, n.hidden);
	assert_int_equal(plan_measure(n.c.g, k, 1, NULL, &measured, &err), REBUS_OK);
	assert_int_equal(measured.persistent, 2 * NET_LAYERS * 1000 * NET_KV * NET_DIM * sizeof(float));
	net_end(&n);
}

static void dead_nodes(void **state)
{
	(void)state;
	graph_case c;
	case_begin(&c, true, 1);
	space_id s = case_space(&c, 5);
	node_id x = case_input(&c, s, 8);
	slot dead_map = graph_slot_map(c.g, "dead", s, 1, false), dead_input;
	node_id other = graph_input(c.g, "dead", s, 8, &dead_input);
	node_id y = graph_linear(c.g, "y", x, case_matrix(&c, DT_F32, 8, 8, true)); /* 1 step, with the activation and the sum */
	node_id gone = graph_softmax(c.g, "gone", graph_move(c.g, "moved", &other, 1, s, dead_map));
	y = graph_add(c.g, "sum", graph_act(c.g, "act", ACT_GELU, y), x);
	y = graph_linear(c.g, "z", y, case_weight(&c, DT_F32, 8, (int64_t[]){2, 3, 0}, 0));
	graph_keep(c.g, y);
	graph_gradient(c.g, &y, NULL, 1); /* nobody keeps a gradient */
	plan *p = case_plan(&c, kernels_get(CPU_PORTABLE), 1);
	assert_int_equal(plan_about(p).steps, 2);
	assert_int_equal(plan_about(p).fused, 2);
	assert_int_equal(plan_about(p).maps, 0);
	plan_step_info info;
	assert_true(plan_step_at(p, 0, &info) && info.cost.flops == 0 && !info.rows);
	case_run(&c, p, 1);
	case_run(&c, p, 1);
	plan_count n = plan_counts(p);
	assert_int_equal(n.runs, 2);
	assert_int_equal(n.steps, 4);
	assert_int_equal(n.products, 4);
	assert_null(plan_output(p, gone).data);
	assert_true(plan_step_at(p, 0, &info) && !strcmp(info.op, "linear") && !strcmp(info.name, "sum"));
	assert_true(info.cost.flops == 2.0 * 5 * 8 * 8 && info.rows == 5 && info.seconds == 0);
	plan_profile(p, true);
	case_run(&c, p, 1);
	assert_true(plan_step_at(p, 0, &info) && info.seconds > 0);
	assert_false(plan_step_at(p, 2, &info) || plan_step_at(p, -1, &info));
	plan_free(p);
	case_end(&c);
}

/* A frozen parameter gets none, and what only leads to frozen ones is not computed; whenever it was frozen or wanted. */
static void frozen(void **state)
{
	(void)state;
	graph_case c;
	case_begin(&c, true, 1);
	space_id s = case_space(&c, 5);
	slot at;
	node_id x = graph_input(c.g, "x", s, 8, &at);
	weight *w = case_matrix(&c, DT_F32, 8, 8, false), *u = case_matrix(&c, DT_F32, 8, 8, false);
	node_id a = graph_linear(c.g, "a", x, w), b = graph_linear(c.g, "b", a, u);
	graph_freeze(c.g, graph_param(c.g, w));
	graph_gradient(c.g, &b, &a, 1);
	assert_int_equal(graph_gradient_of(c.g, graph_param(c.g, w)), 0);
	assert_int_equal(graph_gradient_of(c.g, a), 0);
	assert_true(graph_gradient_of(c.g, graph_param(c.g, u)) > 0);
	case_end(&c);

	case_begin(&c, false, 1);
	s = case_space(&c, 5);
	x = graph_input(c.g, "x", s, 8, &at);
	b = graph_act(c.g, "b", ACT_TANH, x);
	graph_want(c.g, x);
	graph_gradient(c.g, &b, &x, 1);
	assert_true(graph_gradient_of(c.g, x) > 0);
	case_end(&c);
}

/* ------------------------------------------------------------------------------------------------ stopping */
typedef struct {
	int asked, until;
} stopper;

static bool stop_after(void *user)
{
	stopper *s = user;
	return ++s->asked >= s->until;
}

static void stopping(void **state)
{
	(void)state;
	for (int count = 1; count <= 8; count++) {
		small_net n, m;
		plan *q = run_net(&m, ROWS, false, CPU_PORTABLE, 1), *p = run_net(&n, ROWS, false, CPU_PORTABLE, count);
		rebus_error err;
		team *t;
		case_ok(team_open(count, NULL, &t, &err), &err);
		rebus_runner runner = team_runner(t);
		feed f = case_feed(&n.c);
		stopper all = {.until = INT_MAX}; /* asked after every step, where those of one task in a row are one, and between slow tasks */
		case_ok(plan_run(p, &f, &runner, stop_after, &all, &err), &err);
		assert_true(all.asked >= 2);
		for (int until = 1; until <= all.asked; until += until < 6 ? 1 : 11) {
			stopper s = {.until = until};
			int64_t before = plan_counts(p).steps;
			rebus_status status = plan_run(p, &f, &runner, stop_after, &s, &err);
			int64_t done = plan_counts(p).steps - before;
			assert_in_range(done, 0, plan_about(p).steps);
			assert_int_equal(status, s.asked == until ? REBUS_CANCELLED : REBUS_OK); /* how often it is asked depends on the time, too */
			assert_in_range(s.asked, 1, until);
		}
		case_ok(plan_run(p, &f, &runner, NULL, NULL, &err), &err);
		expect_same(&n, p, &m, q, "after a stop");
		team_close(t);
		plan_free(p);
		plan_free(q);
		net_end(&n);
		net_end(&m);
	}
}

/* One step of many slow tasks: the caller is asked between them, and the others stop, too. */
static void stopping_inside(void **state)
{
	enum { WIDE = 1024, LONG = 672 };
	static float data[LONG * WIDE], weights[WIDE * WIDE];
	(void)state;
	for (int count = 1; count <= 2; count++) {
		graph_case c;
		rebus_error err;
		team *t;
		plan *p;
		slot at;
		case_begin(&c, false, 1);
		space_id rows = graph_space(c.g, "rows", LONG);
		weight w = {.name = "w", .parts = 1, .part = {{weights, DT_F32, WIDE, WIDE}}, .out = WIDE, .in = WIDE};
		graph_keep(c.g, graph_linear(c.g, "y", graph_input(c.g, "x", rows, WIDE, &at), &w));
		c.rows[rows] = LONG;
		c.at[at] = data;
		case_ok(team_open(count, NULL, &t, &err), &err);
		case_ok(plan_make(c.g, kernels_get(CPU_PORTABLE), count, 0, NULL, &p, &err), &err);
		rebus_runner runner = team_runner(t);
		feed f = case_feed(&c);
		stopper s = {.until = 1};
		assert_int_equal(plan_run(p, &f, &runner, stop_after, &s, &err), REBUS_CANCELLED);
		assert_int_equal(s.asked, 1);
		assert_int_equal(plan_counts(p).steps, 0);
		case_ok(plan_run(p, &f, &runner, NULL, NULL, &err), &err);
		assert_int_equal(plan_counts(p).steps, 1);
		team_close(t);
		plan_free(p);
		case_end(&c);
	}
}

/* ------------------------------------------------------------------------------------------------ memory */
static void nothing_allocated(void **state)
{
	(void)state;
	small_net n;
	counter count = {0};
	rebus_allocator from = counting(&count);
	rebus_error err;
	team *t;
	plan *p;
	net_begin(&n, ROWS, 0, true);
	keep_results(&n);
	case_ok(team_open(3, &from, &t, &err), &err);
	case_ok(plan_make(n.c.g, kernels_get(CPU_PORTABLE), 3, 0, &from, &p, &err), &err);
	net_feed_batch(&n, 4, four, lengths);
	feed f = case_feed(&n.c);
	rebus_runner runner = team_runner(t);
	long before = count.calls;
	size_t arena_before = n.c.mem.total;
	for (int i = 0; i < 3; i++)
		case_ok(plan_run(p, &f, &runner, NULL, NULL, &err), &err);
	assert_int_equal(count.calls, before);
	assert_int_equal(n.c.mem.total, arena_before);
	plan_free(p);
	team_close(t);
	assert_int_equal(count.live, 0);
	assert_int_equal(count.bytes, 0);
	net_end(&n);
}

/* Builds a graph with all its gradients and plans it, all from one allocator. */
static rebus_status build_and_plan(const rebus_allocator *from, weight *const *w, bool dry)
{
	graph *g = NULL;
	plan *p = NULL;
	plan_info info;
	rebus_error err;
	rebus_status status;
	TRY(graph_new(from, true, &g, &err));
	space_id s = graph_space(g, "rows", 20);
	slot map = graph_slot_map(g, "map", s, 2, false), self = graph_slot_layout(g, "self", s, s), target = graph_slot_column(g, "target", s, 1);
	attention spec = {.heads = 2, .kv_heads = 2, .head_dim = 4, .v_dim = 4, .scale = 1};
	node_id table = graph_param(g, w[0]), x = graph_move(g, graph_text(g, "m%d", 1), &table, 1, s, map);
	for (int i = 0; i < 40; i++) {
		x = graph_rms_norm(g, graph_text(g, "norm.%d", i), x, w[1], 1e-5f);
		node_id y = graph_linear(g, "qkv", x, w[2]);
		y = graph_attend(g, "a", graph_view(g, y, 0, 8), graph_view(g, y, 8, 8), graph_view(g, y, 16, 8), &spec, self, 0, 0, 0);
		x = graph_add(g, "x", x, graph_act(g, "act", ACT_GELU, y));
	}
	node_id loss = graph_cross_entropy(g, "loss", graph_linear(g, "head", x, w[0]), target);
	graph_gradient(g, &loss, NULL, 1);
	graph_keep(g, graph_gradient_of(g, table));
	if (dry)
		TRY(plan_measure(g, kernels_get(CPU_PORTABLE), 2, from, &info, &err));
	else
		TRY(plan_make(g, kernels_get(CPU_PORTABLE), 2, 0, from, &p, &err));
done:
	plan_free(p);
	graph_free(g);
	return status;
}

static void failed_allocations(void **state)
{
	(void)state;
	graph_case c;
	case_begin(&c, true, 1);
	weight *w[] = {case_matrix(&c, DT_F32, 12, 8, false), case_vector(&c, 8), case_weight(&c, DT_F32, 8, (int64_t[]){8, 8, 8}, 7)};
	for (int dry = 0; dry < 2; dry++)
		for (long at = 1;; at++) {
			counter count = {.fail_at = at};
			rebus_allocator from = counting(&count);
			rebus_status status = build_and_plan(&from, w, dry);
			assert_int_equal(count.live, 0);
			assert_int_equal(count.bytes, 0);
			if (count.calls < at) {
				assert_int_equal(status, REBUS_OK);
				assert_true(at > 10);
				break;
			}
			assert_int_equal(status, REBUS_MEMORY);
		}
	for (long at = 1; at < 2; at++) {
		counter count = {.fail_at = at};
		rebus_allocator from = counting(&count);
		team *t = NULL;
		assert_int_equal(team_open(2, &from, &t, NULL), REBUS_MEMORY);
		assert_null(t);
	}
	case_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fusion_and_reuse), cmocka_unit_test(threads), cmocka_unit_test(deep_reuse), cmocka_unit_test(row_counts),
		cmocka_unit_test(bad_runs), cmocka_unit_test(bad_moves), cmocka_unit_test(bad_cache), cmocka_unit_test(wrong_threads), cmocka_unit_test(bad_graphs),
		cmocka_unit_test(too_large), cmocka_unit_test(limits), cmocka_unit_test(dead_nodes), cmocka_unit_test(frozen), cmocka_unit_test(stopping),
		cmocka_unit_test(stopping_inside), cmocka_unit_test(nothing_allocated), cmocka_unit_test(failed_allocations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
