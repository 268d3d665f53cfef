/*
 * op_dropout.c - dropout, by element (Srivastava et al. 2014) or by sample (stochastic depth, Huang et al. 2016).
 *
 *   dropout   in: x     y = x m / (1 - p),  m = 0 with probability p, else 1; attr.factor = p
 *             attr.at   column [1 row, 4]: the run's draw as two words, whether it counts (0: y = x), nothing
 *             attr.q_at column [rows, 1]: the sample of each row, whose rows share one m; 0: each element has its own
 *             attr.which  the number of this node, so that no two nodes draw the same
 *
 * What is drawn is a function of the run's draw, the node's number and the element's place (row and column, or sample), so
 * nothing is kept for the gradient: dx = dy m / (1 - p) is the same operation on dy, and thread count and order do not matter.
 */
#include "graph/graph.h"

#include <string.h>

static bool dropout_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]);
	n->rows = x->rows;
	n->width = x->width;
	if (n->a.q_at && !(graph_slot_is(g, n->a.q_at, SLOT_COLUMN, x->rows) && graph_slot_info(g, n->a.q_at)->width == 1))
		return false;
	return graph_slot_is(g, n->a.at, SLOT_COLUMN, graph_space_fixed(g, 1)) && graph_slot_info(g, n->a.at)->width == 4;
}

/* Two columns a draw: 32 bits each. */
static void drop_row(uint64_t key, uint32_t limit, float scale, int64_t width, const float *x, float *y)
{
	for (int64_t c = 0; c < width; c += 2) {
		uint64_t bits = bits_mix(key ^ (uint64_t)c);
		y[c] = (uint32_t)bits < limit ? 0.0f : scale * x[c];
		if (c + 1 < width)
			y[c + 1] = (uint32_t)(bits >> 32) < limit ? 0.0f : scale * x[c + 1];
	}
}

static void dropout_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	const int32_t *draw = step_at(s, s->n->a.at), *sample = s->n->a.q_at ? step_at(s, s->n->a.q_at) : NULL;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block), w = s->n->width;
	double p = (double)s->n->a.factor;
	uint32_t limit = (uint32_t)(p * 4294967296.0);
	float scale = (float)(1 / (1 - p));
	uint64_t key = bits_mix(((uint64_t)(uint32_t)draw[0] | (uint64_t)(uint32_t)draw[1] << 32) ^ bits_mix((uint64_t)s->n->a.which));
	for (int64_t r = task * block; r < r1; r++) {
		const float *x = s->in[0] + r * s->ld[0];
		float *y = s->out + r * s->ldo;
		if (!draw[2])
			memcpy(y, x, (size_t)w * sizeof *y);
		else if (!sample)
			drop_row(bits_mix(key ^ (uint64_t)r), limit, scale, w, x, y);
		else if ((uint32_t)bits_mix(key ^ (uint64_t)(uint32_t)sample[r]) < limit)
			memset(y, 0, (size_t)w * sizeof *y);
		else
			s->k->scale(w, scale, x, y);
	}
}

static void dropout_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_dropout, NULL, &d, 1, NULL, &n.a));
}

static void dropout_cost(const step *s, cost *c)
{
	double values = (double)s->rows * s->n->width;
	*c = (cost){4 * values, 8 * values};
}

const op op_dropout = {
	.name = "dropout", .shape = dropout_shape, .cost = dropout_cost, .tasks = step_row_tasks, .forward = dropout_forward, .gradient = dropout_gradient};

static node_id drop(graph *g, const char *name, node_id x, float p, slot sample)
{
	if (!graph_trains(g) || !(p > 0))
		return x;
	if (!(p < 1)) {
		graph_fail(g, REBUS_MISUSE, "%s: a share of %g is dropped, expected less than 1", name ? name : "dropout", (double)p);
		return 0;
	}
	return graph_append(g, &op_dropout, name, &x, 1, NULL, &(attr){.factor = p, .at = graph_draw(g, true), .q_at = sample, .which = graph_count(g)});
}

node_id graph_dropout(graph *g, const char *name, node_id x, float p)
{
	return drop(g, name, x, p, 0);
}

node_id graph_drop_path(graph *g, const char *name, node_id x, float p, slot sample)
{
	return drop(g, name, x, p, sample);
}
