/*
 * op_source.c - nodes that compute nothing: inputs of a run, parameters, constants, column views; and one that repeats a row.
 *
 *   input     fed each run through slot attr.at, [rows, width]
 *   param     a weight's values where they lie, attr.which 0: the matrix [out, in], 1: the bias [1, out]. Linear layers and
 *             row maps read it in the file's own type; everything else wants f32
 *   constant  attr.eps everywhere, rows of attr.of's space, width attr.which
 *   view      columns [column, column + width) of another node
 *   spread    row 0 of the input in every row of attr.of's space: the gradient of a column sum
 */
#include "graph/graph.h"

#include <string.h>

static bool input_shape(graph *g, node *n)
{
	const slot_info *s = graph_slot_info(g, n->a.at);
	n->rows = s->rows;
	n->width = (int32_t)s->width;
	return n->a.at > 0;
}

const op op_input = {.name = "input", .shape = input_shape};

node_id graph_input(graph *g, const char *name, space_id rows, int32_t width, slot *out)
{
	attr a = {.at = graph_slot_column(g, name, rows, width)};
	node_id id = graph_append(g, &op_input, name, NULL, 0, NULL, &a);
	if (id && out)
		*out = a.at;
	return id;
}

static bool param_shape(graph *g, node *n)
{
	const weight *w = n->w;
	bool bias = n->a.which == 1;
	bool vector = w->f32 != NULL; /* one row, however the checkpoint shapes it */
	int64_t width = bias ? w->out : vector ? w->out * w->in : w->in;
	if (w->parts < 1 || w->out < 1 || w->in < 1 || w->out > INT32_MAX / 2 || w->in > INT32_MAX / 2 || width > INT32_MAX / 2)
		return graph_fail(g, REBUS_SHAPE, "%s: %d parts of [%lld, %lld]", w->name ? w->name : "a weight", w->parts, (long long)w->out, (long long)w->in);
	n->rows = graph_space_fixed(g, bias || vector ? 1 : w->out);
	n->width = (int32_t)width;
	n->needs_grad = graph_trains(g);
	return n->rows > 0;
}

const op op_param = {.name = "param", .shape = param_shape};

static node_id param_find(graph *g, const weight *w, int32_t which)
{
	if (!w)
		return 0;
	for (node_id i = 1; i <= graph_count(g); i++) {
		const node *n = graph_node(g, i);
		if (n->op == &op_param && n->w == w && n->a.which == which)
			return i;
	}
	attr a = {.which = which};
	return graph_append(g, &op_param, w->name, NULL, 0, w, &a);
}

node_id graph_param(graph *g, const weight *w)
{
	return param_find(g, w, 0);
}

node_id graph_param_bias(graph *g, const weight *w)
{
	return param_find(g, w, 1);
}

static bool constant_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->a.of)->rows;
	n->width = n->a.which;
	return n->width > 0;
}

static void constant_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		for (int32_t c = 0; c < s->n->width; c++)
			s->out[r * s->ldo + c] = s->n->a.eps;
}

const op op_constant = {.name = "constant", .shape = constant_shape, .tasks = step_row_tasks, .forward = constant_forward};

static bool view_shape(graph *g, node *n)
{
	const node *of = graph_node(g, n->in[0]);
	n->column = n->a.part;
	n->width = n->a.which;
	n->rows = of->rows;
	n->view_of = n->in[0];
	return n->column >= 0 && n->width > 0 && n->column <= of->width - n->width;
}

const op op_view = {.name = "view", .shape = view_shape};

node_id graph_view(graph *g, node_id of, int32_t column, int32_t width)
{
	attr a = {.part = column, .which = width};
	return graph_append(g, &op_view, NULL, &of, 1, NULL, &a);
}

static bool spread_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->a.of)->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static void spread_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		memcpy(s->out + r * s->ldo, s->in[0], (size_t)s->n->width * sizeof(float));
}

const op op_spread = {.name = "spread", .shape = spread_shape, .tasks = step_row_tasks, .forward = spread_forward};
