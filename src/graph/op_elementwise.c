/*
 * op_elementwise.c - sums, activations, gates, scales and columns side by side.
 *
 *   add        a + b
 *   act        act(x);          act_back   in: x, dy           dx = dy act'(x)
 *   gate       act(a) b;        gate_back  in: a, b, dy        [da | db], two views
 *   scale      factor x
 *   scale_columns  in: x, w of one row     y[r][c] = x[r][c] w[c] (LayerScale, Touvron et al. 2021b);  dw[c] = sum over r of dy x
 *   concat     inputs side by side; its gradient is a view for each
 */
#include "graph/graph.h"

#include <string.h>

static double values(const step *s)
{
	return (double)s->rows * s->n->width;
}

/* ------------------------------------------------------------------------------------------------ add */
static bool add_shape(graph *g, node *n)
{
	const node *a = graph_node(g, n->in[0]), *b = graph_node(g, n->in[1]);
	n->rows = a->rows;
	n->width = a->width;
	return n->in[1] && a->rows == b->rows && a->width == b->width;
}

static void add_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		s->k->add(s->n->width, s->in[0] + r * s->ld[0], s->in[1] + r * s->ld[1], s->out + r * s->ldo);
}

static void add_cost(const step *s, cost *c)
{
	*c = (cost){values(s), 12 * values(s)};
}

static void add_gradient(graph *g, node_id self, node_id d)
{
	node_id a = graph_node(g, self)->in[0], b = graph_node(g, self)->in[1];
	graph_flow(g, a, d);
	graph_flow(g, b, d);
}

const op op_add = {.name = "add", .shape = add_shape, .cost = add_cost, .tasks = step_row_tasks, .forward = add_forward, .gradient = add_gradient};

node_id graph_add(graph *g, const char *name, node_id a, node_id b)
{
	return graph_append(g, &op_add, name, (node_id[]){a, b}, 2, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------ act */
static bool same_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static void act_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		s->k->act(s->n->a.act, s->n->width, s->in[0] + r * s->ld[0], s->out + r * s->ldo);
}

static void act_back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		s->k->act_back(s->n->a.act, s->n->width, s->in[0] + r * s->ld[0], s->in[1] + r * s->ld[1], s->out + r * s->ldo);
}

static void act_cost(const step *s, cost *c)
{
	*c = (cost){20 * values(s), 8 * values(s)};
}

static void act_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_act_back, NULL, (node_id[]){n.in[0], d}, 2, NULL, &(attr){.act = n.a.act}));
}

const op op_act = {.name = "act", .shape = same_shape, .cost = act_cost, .tasks = step_row_tasks, .forward = act_forward, .gradient = act_gradient};
const op op_act_back = {.name = "act_back", .shape = same_shape, .cost = act_cost, .tasks = step_row_tasks, .forward = act_back_forward};

node_id graph_act(graph *g, const char *name, act_kind act, node_id x)
{
	return graph_append(g, &op_act, name, &x, 1, NULL, &(attr){.act = act});
}

/* ------------------------------------------------------------------------------------------------ gate */
static bool gate_narrows(const node *n, precision as)
{
	(void)n;
	(void)as;
	return true;
}

static size_t gate_scratch(const graph *g, const node *n, const kernels *k)
{
	(void)g;
	(void)k;
	return (size_t)n->width * sizeof(float);
}

static void gate_forward(const step *s, int64_t task, void *scratch)
{
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->as == PRECISION_F32 ? s->out + r * s->ldo : scratch;
		s->k->gate(s->n->a.act, s->n->width, s->in[0] + r * s->ld[0], s->in[1] + r * s->ld[1], out);
		if (s->as != PRECISION_F32)
			step_narrow(s, out, r);
	}
}

static bool gate_back_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	if (graph_node(g, n->in[0])->width > INT32_MAX / 2)
		return false;
	n->width = 2 * graph_node(g, n->in[0])->width;
	return true;
}

static void gate_back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block), w = s->n->width / 2;
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		s->k->gate_back(s->n->a.act, w, s->in[0] + r * s->ld[0], s->in[1] + r * s->ld[1], s->in[2] + r * s->ld[2], out, out + w);
	}
}

static void gate_cost(const step *s, cost *c)
{
	*c = (cost){21 * values(s), 8 * values(s) + step_writes(s)};
}

static void gate_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (!graph_needs(g, n.in[0]) && !graph_needs(g, n.in[1]))
		return;
	node_id both = graph_append(g, &op_gate_back, NULL, (node_id[]){n.in[0], n.in[1], d}, 3, NULL, &(attr){.act = n.a.act});
	graph_flow(g, n.in[0], graph_view(g, both, 0, n.width));
	graph_flow(g, n.in[1], graph_view(g, both, n.width, n.width));
}

const op op_gate = {.name = "gate", .shape = add_shape, .cost = gate_cost, .scratch = gate_scratch, .tasks = step_row_tasks, .forward = gate_forward,
	.gradient = gate_gradient, .narrows = gate_narrows};
const op op_gate_back = {.name = "gate_back", .shape = gate_back_shape, .cost = gate_cost, .tasks = step_row_tasks, .forward = gate_back_forward};

node_id graph_gate(graph *g, const char *name, act_kind act, node_id a, node_id b)
{
	return graph_append(g, &op_gate, name, (node_id[]){a, b}, 2, NULL, &(attr){.act = act});
}

/* ------------------------------------------------------------------------------------------------ scale */
static void scale_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		s->k->scale(s->n->width, s->n->a.factor, s->in[0] + r * s->ld[0], s->out + r * s->ldo);
}

static void scale_cost(const step *s, cost *c)
{
	*c = (cost){values(s), 8 * values(s)};
}

static void scale_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_scale(g, NULL, d, n.a.factor));
}

const op op_scale = {.name = "scale", .shape = same_shape, .cost = scale_cost, .tasks = step_row_tasks, .forward = scale_forward, .gradient = scale_gradient};

node_id graph_scale(graph *g, const char *name, node_id x, float factor)
{
	return graph_append(g, &op_scale, name, &x, 1, NULL, &(attr){.factor = factor});
}

static bool columns_shape(graph *g, node *n)
{
	same_shape(g, n);
	return n->in[1] && graph_node(g, n->in[1])->width == n->width && graph_rows_max(g, n->in[1]) == 1;
}

static void columns_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		s->k->gate(ACT_NONE, s->n->width, s->in[0] + r * s->ld[0], s->in[1], s->out + r * s->ldo);
}

static void columns_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_scale_columns, NULL, (node_id[]){d, n.in[1]}, 2, NULL, NULL));
	if (graph_needs(g, n.in[1]))
		graph_flow(g, n.in[1], graph_column_sum(g, NULL, graph_gate(g, NULL, ACT_NONE, d, n.in[0])));
}

const op op_scale_columns = {
	.name = "scale_columns", .shape = columns_shape, .cost = scale_cost, .tasks = step_row_tasks, .forward = columns_forward, .gradient = columns_gradient};

node_id graph_scale_columns(graph *g, const char *name, node_id x, const weight *w)
{
	return graph_append(g, &op_scale_columns, name, (node_id[]){x, graph_param(g, w)}, 2, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------ concat */
static bool concat_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	for (int i = 0; i < NODE_INPUTS && n->in[i]; i++) {
		if (graph_node(g, n->in[i])->rows != n->rows || graph_node(g, n->in[i])->width > INT32_MAX - n->width)
			return false;
		n->width += graph_node(g, n->in[i])->width;
	}
	return true;
}

static void concat_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		for (int i = 0; i < NODE_INPUTS && s->in[i]; i++) {
			memcpy(out, s->in[i] + r * s->ld[i], (size_t)s->in_width[i] * sizeof(float));
			out += s->in_width[i];
		}
	}
}

static void concat_cost(const step *s, cost *c)
{
	*c = (cost){0, 8 * values(s)};
}

static void concat_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	int32_t at = 0;
	for (int i = 0; i < NODE_INPUTS && n.in[i]; i++) {
		int32_t w = graph_node(g, n.in[i])->width;
		if (graph_needs(g, n.in[i]))
			graph_flow(g, n.in[i], graph_view(g, d, at, w));
		at += w;
	}
}

const op op_concat = {
	.name = "concat", .shape = concat_shape, .cost = concat_cost, .tasks = step_row_tasks, .forward = concat_forward, .gradient = concat_gradient};

node_id graph_concat(graph *g, const char *name, const node_id *in, int count)
{
	if (count < 1 || count > NODE_INPUTS) {
		graph_fail(g, REBUS_LIMIT, "%s: joins %d matrices, expected 1 to %d", name ? name : "concat", count, NODE_INPUTS);
		return 0;
	}
	for (int i = 0; i < count; i++)
		if (!in[i])
			graph_fail(g, REBUS_SHAPE, "%s: input %d is no node", name ? name : "concat", i);
	return graph_append(g, &op_concat, name, in, count, NULL, NULL);
}
