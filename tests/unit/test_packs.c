/*
 * test_packs.c - weights made ready for products: made once, found by plans, within the stated loss; what is not ready, or cannot
 * be, is refused; a failed allocation leaves nothing behind.
 */
#include "graph_case.h"

typedef struct built { /* x [rows, 40] -> stacked 24 + 17 -> GELU -> 512 -> + y: two narrow inputs where rounding is asked for */
	graph_case c;
	weight *up, *down, *same;
	node_id y;
} built;

enum { ROWS = 29, WIDTH = 40, WIDE = 512 };

/* The same weights and inputs for every precision. */
static void build(built *b, pack_set *ready)
{
	case_begin(&b->c, false, 11);
	graph_use_packs(b->c.g, ready);
	b->up = case_weight(&b->c, DT_F32, WIDTH, (int64_t[]){24, 17, 0}, 1);
	b->down = case_matrix(&b->c, DT_BF16, WIDE, 41, true);
	b->same = case_matrix(&b->c, DT_F32, WIDE, 41, false);
	space_id s = case_space(&b->c, ROWS);
	node_id x = case_input(&b->c, s, WIDTH), h = graph_act(b->c.g, "h", ACT_GELU, graph_linear(b->c.g, "up", x, b->up));
	b->y = graph_add(b->c.g, "y", graph_linear(b->c.g, "down", h, b->down), graph_linear(b->c.g, "same", h, b->same));
	graph_keep(b->c.g, b->y);
}

typedef struct told {
	int count;
	size_t bytes;
} told;

static void is_done(void *user, const void *data, size_t size)
{
	told *t = user;
	assert_non_null(data);
	t->count++;
	t->bytes += size;
}

static pack_set *packs_of(precision as)
{
	pack_set *p = NULL;
	assert_int_equal(packs_new(NULL, as, &p, NULL), REBUS_OK);
	return p;
}

static void prepare(pack_set *ready, const built *b, const kernels *k, told *t)
{
	team *threads;
	rebus_error err = {0};
	case_ok(team_open(1, NULL, &threads, &err), &err); /* done is called by whoever finishes a matrix: one thread may count */
	rebus_runner r = team_runner(threads);
	case_ok(packs_prepare(ready, b->c.g, k, &r, t ? is_done : NULL, t, &err), &err);
	team_close(threads);
}

static double distance(plan_rows a, plan_rows b)
{
	double d = 0, size = 0;
	for (int64_t r = 0; r < b.rows; r++)
		for (int64_t i = 0; i < b.width; i++) {
			double x = (double)a.data[r * a.stride + i], y = (double)b.data[r * b.stride + i];
			d += (x - y) * (x - y);
			size += y * y;
		}
	return sqrt(d / size);
}

/* f32: the bits of products without packs; bf16 and int8: off by some of their steps, 2^-8 and 1 / 254 of a row's largest. */
static void results(void **state)
{
	static const cpu_level levels[] = {CPU_PORTABLE, CPU_AVX2, CPU_AVX512, CPU_AVX512BF16};
	static const double bounds[] = {0, 0x1p-7, 0x1p-5};
	(void)state;
	for (size_t l = 0; l < COUNT_OF(levels); l++)
		for (int as = 0; as < PRECISIONS; as++) {
			const kernels *k = kernels_get(levels[l]);
			pack_set *ready = packs_of((precision)as);
			built plain, b;
			told t = {0};
			build(&plain, NULL);
			build(&b, ready);
			prepare(ready, &b, k, &t);
			assert_int_equal(t.count, as == PRECISION_F32 ? 3 : 4); /* a bf16 weight stays where it is in f32 */
			size_t bytes = packs_bytes(ready);
			assert_true(bytes > 0 && t.bytes > 0);
			prepare(ready, &b, k, &t); /* nothing is left to do */
			assert_true(t.count == (as == PRECISION_F32 ? 3 : 4) && packs_bytes(ready) == bytes);
			plan *p = case_plan(&plain.c, k, 2), *q = case_plan(&b.c, k, 2);
			assert_int_equal(plan_about(q).steps, plan_about(p).steps + (as == PRECISION_F32 ? 0 : 2));
			case_run(&plain.c, p, 2);
			case_run(&b.c, q, 2);
			double d = distance(plan_output(q, b.y), plan_output(p, plain.y));
			assert_true(d <= bounds[as] && (as == PRECISION_F32 || d > 1e-5));
			plan_free(p);
			plan_free(q);
			case_end(&plain.c);
			case_end(&b.c);
			packs_free(ready);
		}
}

static void refusals(void **state)
{
	(void)state;
	const kernels *k = kernels_get(CPU_PORTABLE);
	pack_set *ready = packs_of(PRECISION_INT8);
	rebus_error err = {0};
	built b;
	plan *p = NULL;
	size_t bytes = 0;
	build(&b, ready);
	assert_int_equal(plan_make(b.c.g, k, 1, 0, NULL, &p, &err), REBUS_MISUSE); /* not ready */
	assert_true(!p && strstr(err.text, "not ready"));
	case_ok(packs_measure(ready, b.c.g, k, &bytes, &err), &err); /* what it would be */
	prepare(ready, &b, k, NULL);
	assert_int_equal(packs_bytes(ready), bytes);
	graph_gradient(b.c.g, &b.y, NULL, 1);
	assert_int_equal(graph_check(b.c.g, &err), REBUS_UNSUPPORTED);
	case_end(&b.c);

	graph_case c; /* a graph that trains */
	case_begin(&c, true, 1);
	graph_use_packs(c.g, ready);
	assert_int_equal(graph_check(c.g, &err), REBUS_UNSUPPORTED);
	case_end(&c);

	case_begin(&c, false, 1); /* nothing but a product reads rounded rows */
	graph_use_packs(c.g, ready);
	node_id x = case_input(&c, case_space(&c, 4), 8);
	assert_false(graph_add(c.g, "sum", graph_narrow(c.g, x, PRECISION_INT8), graph_narrow(c.g, x, PRECISION_INT8)));
	assert_int_equal(graph_check(c.g, &err), REBUS_SHAPE);
	case_end(&c);

	case_begin(&c, false, 1); /* sums could overflow */
	graph_use_packs(c.g, ready);
	x = case_input(&c, case_space(&c, 1), INT8_DEPTH + 1);
	assert_false(graph_linear(c.g, "deep", x, case_matrix(&c, DT_F32, 1, INT8_DEPTH + 1, false)));
	assert_int_equal(graph_check(c.g, &err), REBUS_UNSUPPORTED);
	case_end(&c);
	packs_free(ready);
}

/* ------------------------------------------------------------------------------------------------ rounded where it is made */
/* x -> norm -> q, k, v -> attention -> gate with itself -> rms norm -> GELU(linear) -> linear; keep: all that is rounded is an output too */
static node_id build_block(graph_case *c, pack_set *ready, bool keep)
{
	enum { HEADS = 2, HEAD = 20 };
	static const segment all = {0, ROWS, 0, ROWS};
	case_begin(c, false, 5);
	graph_use_packs(c->g, ready);
	space_id s = case_space(c, ROWS);
	attention spec = {.heads = HEADS, .kv_heads = HEADS, .head_dim = HEAD, .v_dim = HEAD, .scale = 0.3f};
	slot at = case_layout(c, s, s, 1, &all, NULL, NULL);
	node_id made[4];
	made[0] = graph_layer_norm(c->g, "norm", case_input(c, s, WIDTH), case_vector(c, WIDTH), case_vector(c, WIDTH), 1e-5f);
	node_id qkv = graph_linear(c->g, "qkv", made[0], case_weight(c, DT_F32, WIDTH, (int64_t[]){WIDTH, WIDTH, WIDTH}, 1));
	node_id part[3];
	for (int i = 0; i < 3; i++)
		part[i] = graph_view(c->g, qkv, i * WIDTH, WIDTH);
	made[1] = graph_attend(c->g, "attend", part[0], part[1], part[2], &spec, at, 0, 0, 0);
	node_id y = graph_linear(c->g, "out", made[1], case_matrix(c, DT_F32, WIDTH, WIDTH, true));
	made[2] = graph_gate(c->g, "gate", ACT_SILU, y, part[1]);
	y = graph_linear(c->g, "up", made[2], case_matrix(c, DT_BF16, WIDE, WIDTH, true));
	made[3] = graph_act(c->g, "act", ACT_GELU, y);
	y = graph_linear(c->g, "down", made[3], case_matrix(c, DT_F32, WIDTH, WIDE, false));
	for (int i = 0; i < 4 && keep; i++)
		graph_keep(c->g, made[i]);
	graph_keep(c->g, y);
	return y;
}

/* A step that writes narrow rows itself gives the bits of one whose rows are rounded afterwards. */
static void rounded(void **state)
{
	static const cpu_level levels[] = {CPU_PORTABLE, CPU_AVX2, CPU_AVX512, CPU_AVX512BF16};
	static const int32_t fewer[] = {0, 4, 2}; /* int8 has a scale a row: only whole rows, of norms and gates */
	(void)state;
	for (size_t l = 0; l < COUNT_OF(levels); l++)
		for (int as = PRECISION_BF16; as < PRECISIONS; as++) {
			const kernels *k = kernels_get(levels[l]);
			graph_case apart, one;
			pack_set *ready[2] = {packs_of((precision)as), packs_of((precision)as)};
			node_id x = build_block(&apart, ready[0], true), y = build_block(&one, ready[1], false);
			prepare(ready[0], &(built){.c = apart}, k, NULL);
			prepare(ready[1], &(built){.c = one}, k, NULL);
			plan *p = case_plan(&apart, k, 2), *q = case_plan(&one, k, 2);
			assert_int_equal(plan_about(p).steps - plan_about(q).steps, fewer[as]);
			case_run(&apart, p, 2);
			case_run(&one, q, 2);
			assert_true(case_same_bits(plan_output(p, x), plan_output(q, y)));
			plan_free(p);
			plan_free(q);
			case_end(&apart);
			case_end(&one);
			packs_free(ready[0]);
			packs_free(ready[1]);
		}
}

/* ------------------------------------------------------------------------------------------------ memory */
typedef struct counter {
	long calls, live, fail_at;
} counter;

static void *count_alloc(void *user, size_t size)
{
	counter *n = user;
	if (++n->calls == n->fail_at)
		return NULL;
	void *p = base_allocator.alloc(NULL, size);
	n->live += p != NULL;
	return p;
}

static void count_free(void *user, void *memory, size_t size)
{
	counter *n = user;
	n->live--;
	base_allocator.free(NULL, memory, size);
}

static void failed_allocations(void **state)
{
	(void)state;
	const kernels *k = kernels_get(CPU_PORTABLE);
	team *threads;
	assert_int_equal(team_open(1, NULL, &threads, NULL), REBUS_OK);
	rebus_runner r = team_runner(threads);
	rebus_status status = REBUS_MEMORY;
	long at = 1;
	for (; status; at++) {
		counter n = {.fail_at = at};
		rebus_allocator from = {&n, count_alloc, count_free};
		pack_set *ready = NULL;
		rebus_error err = {0};
		built b;
		status = packs_new(&from, PRECISION_BF16, &ready, &err);
		if (!status) {
			build(&b, ready);
			status = packs_prepare(ready, b.c.g, k, &r, NULL, NULL, &err);
			assert_true(!status == (packs_find(ready, &b.up->part[0]) != NULL)); /* all or nothing */
			assert_true(!status == (packs_bytes(ready) > 0));
			case_end(&b.c);
			packs_free(ready);
		}
		assert_true(!status || (status == REBUS_MEMORY && err.code == REBUS_MEMORY));
		assert_int_equal(n.live, 0);
	}
	assert_true(at > 2);
	team_close(threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(results), cmocka_unit_test(refusals), cmocka_unit_test(rounded),
		cmocka_unit_test(failed_allocations)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
