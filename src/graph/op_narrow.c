/*
 * op_narrow.c - rows rounded for products of bf16 or int8, or with weights in blocks: once for all the products that read them.
 *
 *   narrow  in: x    rows of 32-bit words as kernels.h describes them; attr.which is the precision
 *
 * Only matrix products read such a node. It has no gradient: training computes in f32.
 *
 * Where nobody else reads x, the step that makes x writes narrow rows itself (plan.c): a norm and a gate row by row, through
 * scratch; products and attention, whose tasks have parts of rows, bf16 only.
 */
#include "graph/graph.h"

static bool narrow_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]);
	n->rows = x->rows;
	n->width = (int32_t)narrow_words((precision)n->a.which, x->width);
	return true;
}

static void narrow_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	s->k->narrow((precision)s->n->a.which, rows, s->in_width[0], s->in[0] + r0 * s->ld[0], s->ld[0], s->out + r0 * s->ldo, s->ldo);
}

void step_narrow(const step *s, const float *row, int64_t r)
{
	s->k->narrow(s->as, 1, s->n->width, row, s->n->width, s->out + r * s->ldo, s->ldo);
}

static void narrow_cost(const step *s, cost *c)
{
	*c = (cost){0, 4.0 * (double)s->rows * (double)(s->in_width[0] + s->n->width)};
}

const op op_narrow = {.name = "narrow", .shape = narrow_shape, .cost = narrow_cost, .tasks = step_row_tasks, .forward = narrow_forward};

node_id graph_narrow(graph *g, node_id x, precision as)
{
	enum { LOOK_BACK = 64 }; /* the products that read the same rows stand together */
	graph_set_narrow(g);
	node_id last = graph_count(g);
	for (node_id id = last; id > 0 && id > last - LOOK_BACK; id--)
		if (graph_node(g, id)->op == &op_narrow && graph_node(g, id)->in[0] == x && graph_node(g, id)->a.which == (int32_t)as)
			return id;
	return graph_append(g, &op_narrow, NULL, &x, 1, NULL, &(attr){.which = (int32_t)as});
}
