/*
 * test_tokens.c - the token table and what is made from it, against values worked out by hand; and what rests on it: a
 * sequence gives the same rows packed with others or alone, and through the cache or recomputed.
 */
#include "graph_net.h"

static arena mem;

static int begin(void **state)
{
	(void)state;
	arena_init(&mem, NULL, 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	arena_free(&mem);
	return 0;
}

#define expect_ints(have, ...)                                                                                             \
	do {                                                                                                               \
		const int32_t want_[] = {__VA_ARGS__};                                                                     \
		for (size_t i_ = 0; i_ < COUNT_OF(want_); i_++)                                                            \
			if ((have)[i_] != want_[i_])                                                                       \
				fail_msg("%s[%zu] is %d, want %d", #have, i_, (int)(have)[i_], want_[i_]);                 \
	} while (0)

/* A class row and a 2 x 3 picture, then two words. */
static tokens picture_and_words(void)
{
	tokens t;
	assert_int_equal(tokens_new(&mem, 9, &t, NULL), REBUS_OK);
	tokens_add(&t, TOKEN_LEARNED, 0, 0, 0, 0);
	tokens_add_grid(&t, TOKEN_IMAGE, 0, 1, 0, 4, 2, 3);
	tokens_add(&t, TOKEN_TEXT, 1, 0, -1, 464);
	tokens_add(&t, TOKEN_TEXT, 1, 1, -1, 7);
	return t;
}

static void table(void **state)
{
	(void)state;
	tokens t = picture_and_words();
	assert_int_equal(t.rows, 9);
	expect_ints(t.kind, TOKEN_LEARNED, TOKEN_IMAGE, TOKEN_IMAGE, TOKEN_IMAGE, TOKEN_IMAGE, TOKEN_IMAGE, TOKEN_IMAGE, TOKEN_TEXT, TOKEN_TEXT);
	expect_ints(t.seq, 0, 0, 0, 0, 0, 0, 0, 1, 1);
	expect_ints(t.order, 0, 1, 2, 3, 4, 5, 6, 0, 1);
	expect_ints(t.picture, 0, 0, 0, 0, 0, 0, 0, -1, -1);
	expect_ints(t.source, 0, 4, 5, 6, 7, 8, 9, 464, 7);
	expect_ints(t.at[AT_T], 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_ints(t.at[AT_Y], 0, 0, 0, 0, 1, 1, 1, 0, 0);
	expect_ints(t.at[AT_X], 0, 0, 1, 2, 0, 1, 2, 0, 0);
	expect_ints(t.at[AT_ORDER], 0, 1, 2, 3, 4, 5, 6, 0, 1);
	assert_string_equal(tokens_kind_name(TOKEN_VIDEO), "video");
	rebus_error err;
	tokens none;
	assert_int_equal(tokens_new(&mem, -1, &none, &err), REBUS_LIMIT);
	assert_int_equal(tokens_new(&mem, (int64_t)1 << 40, &none, &err), REBUS_LIMIT);
	assert_int_equal(tokens_new(&mem, 0, &none, &err), REBUS_OK);
}

static void expect_segment(const layout *l, int32_t i, int32_t q0, int32_t q1, int32_t kv0, int32_t kv1)
{
	segment s = l->seg[i];
	if (s.q0 != q0 || s.q1 != q1 || s.kv0 != kv0 || s.kv1 != kv1)
		fail_msg("segment %d is [%d, %d) over [%d, %d)", i, s.q0, s.q1, s.kv0, s.kv1);
}

static void layouts(void **state)
{
	(void)state;
	tokens t = picture_and_words(), none, long_one;
	layout l;
	assert_int_equal(tokens_layout(&mem, &t, false, &l, NULL), REBUS_OK);
	assert_int_equal(l.count, 2);
	expect_segment(&l, 0, 0, 7, 0, 7);
	expect_segment(&l, 1, 7, 9, 7, 9);
	assert_true(!l.lo && !l.hi);
	expect_ints(l.first, 0, 1, 2);
	assert_int_equal(tokens_layout(&mem, &t, true, &l, NULL), REBUS_OK);
	expect_ints(l.lo, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_ints(l.hi, 1, 2, 3, 4, 5, 6, 7, 1, 2);

	assert_int_equal(tokens_new(&mem, 0, &none, NULL), REBUS_OK);
	assert_int_equal(tokens_layout(&mem, &none, true, &l, NULL), REBUS_OK);
	assert_int_equal(l.count, 0);

	assert_int_equal(tokens_new(&mem, 194, &long_one, NULL), REBUS_OK);
	for (int32_t i = 0; i < 194; i++) /* 64, 65 and 65 rows: 1, 2 and 2 blocks */
		tokens_add(&long_one, TOKEN_TEXT, i < 64 ? 3 : i < 129 ? 1 : 3, i, -1, 0);
	assert_int_equal(tokens_layout(&mem, &long_one, false, &l, NULL), REBUS_OK);
	assert_int_equal(l.count, 3); /* sequence 3 comes back: it is another segment */
	expect_ints(l.first, 0, 1, 3, 5);
	expect_segment(&l, 2, 129, 194, 129, 194);
}

static void padded_layouts(void **state)
{
	(void)state;
	tokens t;
	layout l;
	assert_int_equal(tokens_new(&mem, 9, &t, NULL), REBUS_OK);
	for (int32_t i = 0; i < 9; i++) /* 2 rows and 2 of padding; 2 without; padding alone */
		tokens_add(&t, i == 2 || i == 3 || i > 5 ? TOKEN_PAD : TOKEN_TEXT, i < 4 ? 0 : i < 6 ? 1 : 2, i, -1, 0);
	assert_int_equal(tokens_layout(&mem, &t, false, &l, NULL), REBUS_OK);
	assert_int_equal(l.count, 3);
	expect_segment(&l, 0, 0, 4, 0, 4);
	expect_ints(l.lo, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_ints(l.hi, 2, 2, 2, 2, 2, 2, 0, 0, 0);
	assert_int_equal(tokens_layout(&mem, &t, true, &l, NULL), REBUS_OK);
	expect_ints(l.hi, 1, 2, 2, 2, 1, 2, 0, 0, 0);
}

static void cached_layouts(void **state)
{
	(void)state;
	tokens t = picture_and_words();
	layout l;
	int32_t where[9];
	const int32_t region[] = {100, 20}, past[] = {0, 5};
	assert_int_equal(tokens_layout_cached(&mem, &t, region, past, where, &l, NULL), REBUS_OK);
	assert_int_equal(l.count, 2);
	expect_segment(&l, 0, 0, 7, 100, 107);
	expect_segment(&l, 1, 7, 9, 20, 27);
	expect_ints(where, 100, 101, 102, 103, 104, 105, 106, 25, 26);
	expect_ints(l.lo, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_ints(l.hi, 1, 2, 3, 4, 5, 6, 7, 6, 7);
	expect_ints(l.first, 0, 1, 2);
}

static void maps(void **state)
{
	(void)state;
	tokens t = picture_and_words();
	rowmap m;
	rebus_error err;
	/* stacked: a word table of 500, 10 patches, 1 learned row */
	int64_t base[TOKEN_KINDS] = {0, 500, -1, 510, -1};
	assert_int_equal(tokens_map_sources(&mem, &t, base, 511, &m, &err), REBUS_OK);
	assert_true(m.rows_out == 9 && m.rows_in == 511 && m.taps == 1 && !m.concat && !m.start && !m.coef);
	expect_ints(m.from, 510, 504, 505, 506, 507, 508, 509, 464, 7);
	base[TOKEN_LEARNED] = -1;
	assert_int_equal(tokens_map_sources(&mem, &t, base, 511, &m, &err), REBUS_OK);
	expect_ints(m.from, -1, 504);
	assert_int_equal(tokens_map_sources(&mem, &t, base, 509, &m, &err), REBUS_MISUSE);
	assert_string_equal(err.text, "token 6: image 9, expected less than 9");
	t.source[8] = -3;
	assert_int_equal(tokens_map_sources(&mem, &t, base, 511, &m, &err), REBUS_MISUSE);

	const int32_t pick[] = {8, -1, 0};
	assert_int_equal(tokens_map_pick(&mem, pick, 3, 9, &m, &err), REBUS_OK);
	assert_true(m.rows_out == 3 && m.rows_in == 9 && m.taps == 1);
	expect_ints(m.from, 8, -1, 0);
	assert_int_equal(tokens_map_pick(&mem, pick, 3, 8, &m, &err), REBUS_MISUSE);
	assert_int_equal(tokens_map_pick(&mem, (int32_t[]){-2}, 1, 8, &m, &err), REBUS_MISUSE);
	assert_int_equal(tokens_map_pick(&mem, NULL, 0, 8, &m, &err), REBUS_OK);

	assert_int_equal(tokens_map_order(&mem, &t, 2, 9, &m, &err), REBUS_OK);
	expect_ints(m.from, 2, 3, 4, 5, 6, 7, 8, 2, 3);
	assert_int_equal(tokens_map_order(&mem, &t, 2, 8, &m, &err), REBUS_LIMIT);
	assert_string_equal(err.text, "a sequence of more than 6 tokens: the model has no position for the next one");
}

static void angles(void **state)
{
	(void)state;
	tokens t = picture_and_words();
	const float inv_freq[] = {1, 0.5f};
	float out[9 * 4];
	tokens_angles(&t, AT_X, inv_freq, 2, out);
	/* row 6 stands at x 2: angles 2 and 1 */
	const float want[] = {-0.416146837f, 0.540302306f, 0.909297427f, 0.841470985f};
	assert_memory_equal(out + 6 * 4, want, sizeof want);
	const float zero[] = {1, 1, 0, 0};
	assert_memory_equal(out, zero, sizeof zero);
	t.at[AT_Y][6] = 1.5f; /* fractions are allowed: angles 1.5 and 0.75 */
	tokens_angles(&t, AT_Y, inv_freq, 2, out);
	const float half[] = {0.0707372017f, 0.731688869f, 0.997494987f, 0.681638760f};
	assert_memory_equal(out + 6 * 4, half, sizeof half);
}

/* ------------------------------------------------------------------------------------------------ through a graph */
static const int32_t four[] = {0, 1, 2, 3}, lengths[] = {9, 17, 8, 64};
static const cpu_level levels[] = {CPU_PORTABLE, CPU_AVX2, CPU_AVX512};

static plan_rows part(plan_rows all, int64_t from, int64_t rows)
{
	return (plan_rows){all.data + from * all.stride, rows, all.width, all.stride};
}

typedef struct {
	double error, norm; /* squared */
} distance;

static void add_distance(distance *d, plan_rows a, plan_rows b)
{
	for (int64_t i = 0; i < a.rows * a.width; i++) {
		double x = (double)a.data[i / a.width * a.stride + i % a.width], y = (double)b.data[i / b.width * b.stride + i % b.width];
		d->error += (x - y) * (x - y);
		d->norm += y * y;
	}
}

static double relative(distance d)
{
	return sqrt(d.error / d.norm);
}

static void packed_and_alone(void **state)
{
	(void)state;
	for (size_t v = 0; v < COUNT_OF(levels); v++) {
		small_net n;
		net_begin(&n, 101, 0, false);
		graph_keep(n.c.g, n.hidden);
		graph_keep(n.c.g, n.logits);
		plan *all = case_plan(&n.c, kernels_get(levels[v]), 2), *one = case_plan(&n.c, kernels_get(levels[v]), 1);
		const int32_t with_short[] = {9, 17, 3, 64}; /* fewer than 8 rows: close, no more is promised */
		for (int round = 0; round < 2; round++) {
			const int32_t *length = round ? with_short : lengths;
			net_feed_batch(&n, 4, four, length);
			case_run(&n.c, all, 2);
			for (int64_t s = 0, row = 0; s < 4; row += length[s++]) {
				net_feed_batch(&n, 1, four + s, length + s);
				case_run(&n.c, one, 1);
				plan_rows a = part(plan_output(all, n.hidden), row, length[s]), b = part(plan_output(all, n.logits), row, length[s]);
				if (length[s] >= 8 && !(case_same_bits(a, plan_output(one, n.hidden)) && case_same_bits(b, plan_output(one, n.logits))))
					fail_msg("%s: sequence %d differs packed and alone", cpu_name(levels[v]), (int)s);
				distance d = {0};
				add_distance(&d, a, plan_output(one, n.hidden));
				assert_true(relative(d) < 1e-6);
			}
		}
		plan_free(all);
		plan_free(one);
		net_end(&n);
	}
}

/* One run through the cache: rows [past, past + length) of each listed sequence. */
static void run_cached(small_net *n, plan *p, int count, const int32_t *seq, int32_t *past, const int32_t *length)
{
	static const int32_t region[] = {0, 20, 90, 100};
	int32_t from[4];
	for (int i = 0; i < count; i++)
		from[i] = past[seq[i]];
	tokens t = net_tokens(n, count, seq, from, length);
	int32_t *where = case_get(&n->c, t.rows, sizeof *where);
	layout *l = case_get(&n->c, 1, sizeof *l);
	net_feed_tokens(n, &t);
	assert_int_equal(tokens_layout_cached(&n->c.mem, &t, region, past, where, l, NULL), REBUS_OK);
	n->c.at[n->self] = l;
	n->c.at[n->where] = where;
	case_run(&n->c, p, 2);
	for (int i = 0; i < count; i++)
		past[seq[i]] += length[i];
}

typedef struct {
	small_net whole, cached;
	plan *p, *q; /* without a cache, with one */
	int64_t row[4];
	distance d; /* over all rows that need not have the same bits */
} pair;

static void pair_begin(pair *x, cpu_level level)
{
	static const int64_t rows[] = {0, 9, 26, 34};
	*x = (pair){0};
	net_begin(&x->whole, 98, 0, false);
	net_begin(&x->cached, 98, 170, false);
	memcpy(x->row, rows, sizeof rows);
	graph_keep(x->whole.c.g, x->whole.logits);
	graph_keep(x->cached.c.g, x->cached.logits);
	x->p = case_plan(&x->whole.c, kernels_get(level), 2);
	x->q = case_plan(&x->cached.c, kernels_get(level), 2);
	net_feed_batch(&x->whole, 4, four, lengths);
	case_run(&x->whole.c, x->p, 2);
}

static void pair_end(pair *x)
{
	if (!(relative(x->d) < 1e-6))
		fail_msg("decoded rows are off by %.3g", relative(x->d));
	plan_free(x->p);
	plan_free(x->q);
	net_end(&x->whole);
	net_end(&x->cached);
}

/* The last run's rows against those of the run without a cache: bits, or noted for the end, where 1e-6 over all is asked. */
static void expect_rows(pair *x, int count, const int32_t *seq, const int32_t *past, const int32_t *length, bool bits)
{
	for (int64_t i = 0, row = 0; i < count; row += length[i++]) {
		plan_rows have = part(plan_output(x->q, x->cached.logits), row, length[i]);
		plan_rows want = part(plan_output(x->p, x->whole.logits), x->row[seq[i]] + past[seq[i]] - length[i], length[i]);
		distance d = {0};
		add_distance(&d, have, want);
		if (bits ? !case_same_bits(have, want) : !(relative(d) < 4e-6))
			fail_msg("sequence %d before row %d: off by %.3g", seq[i], past[seq[i]], relative(d));
		if (!bits)
			x->d = (distance){x->d.error + d.error, x->d.norm + d.norm};
	}
}

static void prefill_and_decode(void **state)
{
	(void)state;
	for (size_t v = 0; v < COUNT_OF(levels); v++) {
		pair x;
		int32_t past[4] = {0}, ones[] = {1, 1, 1, 1};
		const int32_t prompt[] = {8, 9}, seq[] = {1, 3};
		pair_begin(&x, levels[v]);
		run_cached(&x.cached, x.q, 2, seq, past, prompt);
		expect_rows(&x, 2, seq, past, prompt, true);
		for (int i = 0; i < 8; i++) { /* together */
			run_cached(&x.cached, x.q, 2, seq, past, ones);
			expect_rows(&x, 2, seq, past, ones, false);
		}
		while (past[3] < 64) { /* one goes on */
			run_cached(&x.cached, x.q, 1, seq + 1, past, ones);
			expect_rows(&x, 1, seq + 1, past, ones, false);
		}
		run_cached(&x.cached, x.q, 1, four, past, lengths); /* another begins in the same cache */
		expect_rows(&x, 1, four, past, lengths, true);
		pair_end(&x);
	}
}

static void chunked_prefill(void **state)
{
	(void)state;
	for (size_t v = 0; v < COUNT_OF(levels); v++) {
		pair x;
		int32_t past[4] = {0};
		const int32_t seq[] = {3, 1}, chunks[][2] = {{9, 9}, {40, 8}, {8, 0}, {7, 0}};
		pair_begin(&x, levels[v]);
		for (size_t i = 0; i < COUNT_OF(chunks); i++) {
			int count = chunks[i][1] ? 2 : 1;
			run_cached(&x.cached, x.q, count, seq, past, chunks[i]);
			expect_rows(&x, count, seq, past, chunks[i], chunks[i][0] >= 8);
		}
		pair_end(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(table, begin, end), cmocka_unit_test_setup_teardown(layouts, begin, end),
		cmocka_unit_test_setup_teardown(padded_layouts, begin, end), cmocka_unit_test_setup_teardown(maps, begin, end),
		cmocka_unit_test_setup_teardown(cached_layouts, begin, end), cmocka_unit_test_setup_teardown(maps, begin, end),
		cmocka_unit_test_setup_teardown(angles, begin, end), cmocka_unit_test(packed_and_alone), cmocka_unit_test(prefill_and_decode),
		cmocka_unit_test(chunked_prefill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
