/*
 * test_train_small.c - a small decoder trained with plain gradient descent: the loss falls at every step, and every weight has
 * the same bits at any number of threads.
 */
#include "graph_net.h"

enum { STEPS = 10 };
static const double RATE = 0.01;

static const int32_t two[] = {0, 1}, lengths[] = {20, 13};

static void descend(const small_net *n, const plan *p)
{
	for (int i = 0; i < n->params; i++) {
		node_id d = graph_gradient_of(n->c.g, n->param[i]);
		plan_rows g = plan_output(p, d), w = plan_output(p, n->param[i]);
		assert_int_equal(g.rows * g.width, w.rows * w.width);
		for (int64_t j = 0; j < w.rows * w.width; j++)
			((float *)(uintptr_t)w.data)[j] -= (float)RATE * g.data[j / g.width * g.stride + j % g.width];
	}
}

/* Stacked weights are not one matrix in memory, which descend wants: this net has them made one after the other. */
static void join_parts(small_net *n)
{
	for (int i = 0; i < n->params; i++) {
		const node *p = graph_node(n->c.g, n->param[i]);
		weight *w = (weight *)(uintptr_t)p->w;
		if (w->parts < 2)
			continue;
		float *all = case_get(&n->c, w->out * w->in, sizeof *all), *at = all;
		for (int k = 0; k < w->parts; k++) {
			memcpy(at, w->part[k].data, (size_t)(w->part[k].out * w->in) * sizeof *at);
			w->part[k].data = at;
			at += w->part[k].out * w->in;
		}
	}
}

static void train(small_net *n, plan **p, cpu_level level, int threads, float *loss)
{
	net_begin(n, 40, 0, true);
	join_parts(n);
	graph_gradient(n->c.g, &n->loss, NULL, 1);
	graph_keep(n->c.g, n->loss);
	for (int i = 0; i < n->params; i++) {
		graph_keep(n->c.g, n->param[i]);
		graph_keep(n->c.g, graph_gradient_of(n->c.g, n->param[i]));
	}
	*p = case_plan(&n->c, kernels_get(level), threads);
	net_feed_batch(n, 2, two, lengths);
	for (int i = 0; i <= STEPS; i++) {
		case_run(&n->c, *p, threads);
		loss[i] = plan_output(*p, n->loss).data[0];
		descend(n, *p);
	}
}

static void learns(void **state)
{
	(void)state;
	static const cpu_level levels[] = {CPU_PORTABLE, CPU_AVX2, CPU_AVX512};
	for (size_t v = 0; v < COUNT_OF(levels); v++) {
		small_net n, m;
		plan *p, *q;
		float loss[STEPS + 1], again[STEPS + 1];
		train(&n, &p, levels[v], 1, loss);
		train(&m, &q, levels[v], 2, again);
		for (int i = 1; i <= STEPS; i++)
			if (!(loss[i] < loss[i - 1]))
				fail_msg("%s: step %d: the loss goes from %g to %g", cpu_name(levels[v]), i, (double)loss[i - 1], (double)loss[i]);
		assert_memory_equal(loss, again, sizeof loss);
		for (int i = 0; i < n.params; i++)
			assert_true(case_same_bits(plan_output(p, n.param[i]), plan_output(q, m.param[i])));
		print_message("%s: %g to %g\n", cpu_name(kernels_get(levels[v])->level), (double)loss[0], (double)loss[STEPS]);
		plan_free(p);
		plan_free(q);
		net_end(&n);
		net_end(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(learns)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
