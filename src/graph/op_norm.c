/*
 * op_norm.c - layer norm (Ba et al. 2016), RMS norm (Zhang and Sennrich 2019), unit length, and their gradients.
 *
 *   layer_norm  in: x, w, b     y = (x - mean) rstd w + b        norm_stats  in: x            [mean, rstd] a row
 *   rms_norm    in: x, w        y = x rstd w                     norm_dx     in: x, stats, w, dy
 *   unit        in: x           y = x / |x|_2                    norm_dw     in: x, stats, dy [1, width]
 *                                                                unit_back   in: x, y, dy
 * Of heads (Qwen 3, Gemma 3): the RMS norm of each head's columns with one weight for all of them; to the kernels a row is as
 * many rows as there are heads.
 *
 * The gradient recomputes the statistics once (norm_stats) instead of keeping them from the forward run.
 */
#include "graph/graph.h"

#include <math.h>
#include <string.h>

enum { DW_COLUMNS = 64 }; /* columns a task */

/* What one norm goes over: a row, or a head of it. */
static int32_t unit_width(const step *s, int32_t whole)
{
	return s->n->a.head_dim ? s->n->a.head_dim : whole;
}

static bool norm_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]);
	int32_t width = n->a.head_dim ? n->a.head_dim : x->width;
	n->rows = x->rows;
	n->width = x->width;
	if (width < 1 || x->width % width)
		return graph_fail(g, REBUS_SHAPE, "%s: %d columns in heads of %d", n->name ? n->name : "norm", x->width, width);
	for (int i = 1; i < 3; i++)
		if (n->in[i] && (graph_node(g, n->in[i])->width != width || graph_rows_max(g, n->in[i]) != 1))
			return graph_fail(g, REBUS_SHAPE, "%s: a norm of %d columns has %d weights", n->name ? n->name : "norm", width,
				graph_node(g, n->in[i])->width);
	return n->in[1] || n->op == &op_layer_norm;
}

static bool norm_narrows(const node *n, precision as)
{
	(void)as;
	return n->op == &op_layer_norm || !n->a.head_dim;
}

static size_t norm_scratch(const graph *g, const node *n, const kernels *k)
{
	(void)g;
	(void)k;
	return (size_t)n->width * sizeof(float);
}

/* Row by row, so that what is rounded is still in the first-level cache */
static void forward_narrow(const step *s, int64_t r0, int64_t rows, float *row)
{
	for (int64_t r = r0; r < r0 + rows; r++) {
		const float *x = s->in[0] + r * s->ld[0];
		if (s->op == &op_layer_norm)
			s->k->layer_norm(1, s->n->width, x, s->ld[0], s->in[1], s->in[2], s->n->a.eps, row, s->n->width);
		else
			s->k->rms_norm(1, s->n->width, x, s->ld[0], s->in[1], s->n->a.eps, row, s->n->width);
		step_narrow(s, row, r);
	}
}

static void layer_forward(const step *s, int64_t task, void *scratch)
{
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	if (s->as != PRECISION_F32) {
		forward_narrow(s, r0, rows, scratch);
		return;
	}
	s->k->layer_norm(rows, s->n->width, s->in[0] + r0 * s->ld[0], s->ld[0], s->in[1], s->in[2], s->n->a.eps, s->out + r0 * s->ldo, s->ldo);
}

static void rms_forward(const step *s, int64_t task, void *scratch)
{
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	int32_t d = unit_width(s, s->n->width);
	if (s->as != PRECISION_F32)
		forward_narrow(s, r0, rows, scratch);
	else if (d == s->n->width)
		s->k->rms_norm(rows, d, s->in[0] + r0 * s->ld[0], s->ld[0], s->in[1], s->n->a.eps, s->out + r0 * s->ldo, s->ldo);
	else
		for (int64_t r = r0; r < r0 + rows; r++)
			s->k->rms_norm(s->n->width / d, d, s->in[0] + r * s->ld[0], d, s->in[1], s->n->a.eps, s->out + r * s->ldo, d);
}

static void norm_cost(const step *s, cost *c)
{
	double v = (double)s->rows * s->n->width;
	*c = (cost){8 * v, 4 * v + step_writes(s)};
}

static void norm_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	bool rms = n.op == &op_rms_norm;
	if (!graph_needs(g, n.in[0]) && !graph_needs(g, n.in[1]) && !graph_needs(g, n.in[2]))
		return;
	attr a = {.eps = n.a.eps, .rms = rms, .head_dim = n.a.head_dim};
	node_id stats = graph_append(g, &op_norm_stats, NULL, &n.in[0], 1, NULL, &a);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_norm_dx, NULL, (node_id[]){n.in[0], stats, n.in[1], d}, 4, NULL, &a));
	if (graph_needs(g, n.in[1]))
		graph_flow(g, n.in[1], graph_append(g, &op_norm_dw, NULL, (node_id[]){n.in[0], stats, d}, 3, NULL, &a));
	if (graph_needs(g, n.in[2]))
		graph_flow(g, n.in[2], graph_column_sum(g, NULL, d));
}

const op op_layer_norm = {
	.name = "layer_norm", .shape = norm_shape, .cost = norm_cost, .scratch = norm_scratch, .tasks = step_row_tasks, .forward = layer_forward,
	.gradient = norm_gradient, .narrows = norm_narrows};
const op op_rms_norm = {.name = "rms_norm", .shape = norm_shape, .cost = norm_cost, .scratch = norm_scratch, .tasks = step_row_tasks, .forward = rms_forward,
	.gradient = norm_gradient, .narrows = norm_narrows};

node_id graph_layer_norm(graph *g, const char *name, node_id x, const weight *w, const weight *b, float eps)
{
	return graph_append(g, &op_layer_norm, name, (node_id[]){x, w ? graph_param(g, w) : 0, b ? graph_param(g, b) : 0}, 3, NULL, &(attr){.eps = eps});
}

node_id graph_rms_norm(graph *g, const char *name, node_id x, const weight *w, float eps)
{
	return graph_append(g, &op_rms_norm, name, (node_id[]){x, graph_param(g, w)}, 2, NULL, &(attr){.eps = eps});
}

node_id graph_rms_norm_heads(graph *g, const char *name, node_id x, const weight *w, int32_t head_dim, float eps)
{
	return graph_append(g, &op_rms_norm, name, (node_id[]){x, graph_param(g, w)}, 2, NULL, &(attr){.eps = eps, .head_dim = head_dim});
}

/* ------------------------------------------------------------------------------------------------ gradients of norms */
static bool stats_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = n->a.head_dim ? 2 * (graph_node(g, n->in[0])->width / n->a.head_dim) : 2;
	return true;
}

static int64_t stats_block(const step *s)
{
	return int_max(1, STEP_FLOATS / int_max(1, s->in_width[0]));
}

static int64_t stats_tasks(const step *s)
{
	return ceil_div(s->rows, stats_block(s));
}

static void stats_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = stats_block(s), r0 = task * block, rows = int_min(s->rows - r0, block), heads = s->n->width / 2;
	int32_t d = unit_width(s, s->in_width[0]);
	if (heads == 1)
		s->k->norm_stats(rows, d, s->in[0] + r0 * s->ld[0], s->ld[0], s->n->a.eps, s->n->a.rms, s->out + r0 * 2);
	else
		for (int64_t r = r0; r < r0 + rows; r++)
			s->k->norm_stats(heads, d, s->in[0] + r * s->ld[0], d, s->n->a.eps, s->n->a.rms, s->out + r * s->ldo);
}

const op op_norm_stats = {.name = "norm_stats", .shape = stats_shape, .tasks = stats_tasks, .forward = stats_forward};

static bool dx_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static void dx_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	int32_t d = unit_width(s, s->n->width);
	if (d == s->n->width)
		s->k->norm_dx(rows, d, s->in[0] + r0 * s->ld[0], s->ld[0], s->in[1] + r0 * 2, s->in[2], s->n->a.rms, s->in[3] + r0 * s->ld[3], s->ld[3],
			s->out + r0 * s->ldo, s->ldo);
	else
		for (int64_t r = r0; r < r0 + rows; r++)
			s->k->norm_dx(s->n->width / d, d, s->in[0] + r * s->ld[0], d, s->in[1] + r * s->ld[1], s->in[2], s->n->a.rms, s->in[3] + r * s->ld[3], d,
				s->out + r * s->ldo, d);
}

const op op_norm_dx = {.name = "norm_dx", .shape = dx_shape, .cost = norm_cost, .tasks = step_row_tasks, .forward = dx_forward};

static bool dw_shape(graph *g, node *n)
{
	n->rows = graph_space_fixed(g, 1);
	n->width = n->a.head_dim ? n->a.head_dim : graph_node(g, n->in[0])->width;
	return true;
}

static int64_t dw_tasks(const step *s)
{
	return ceil_div(s->n->width, DW_COLUMNS);
}

/* Columns [c0, c1) of every head of every row, one row after the other. */
static void dw_heads(const step *s, int64_t c0, int64_t c1)
{
	int32_t d = s->n->a.head_dim;
	float row[DW_COLUMNS];
	memset(s->out + c0, 0, (size_t)(c1 - c0) * sizeof *s->out);
	for (int64_t r = 0; r < s->in_rows[0]; r++) {
		s->k->norm_dw(s->in_width[0] / d, 0, c1 - c0, s->in[0] + r * s->ld[0] + c0, d, s->in[1] + r * s->ld[1], s->in[2] + r * s->ld[2] + c0, d, row);
		s->k->add(c1 - c0, s->out + c0, row, s->out + c0);
	}
}

static void dw_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t c0 = task * DW_COLUMNS, c1 = int_min(c0 + DW_COLUMNS, s->n->width);
	if (s->n->a.head_dim)
		dw_heads(s, c0, c1);
	else
		s->k->norm_dw(s->in_rows[0], c0, c1, s->in[0], s->ld[0], s->in[1], s->in[2], s->ld[2], s->out);
}

const op op_norm_dw = {.name = "norm_dw", .shape = dw_shape, .tasks = dw_tasks, .forward = dw_forward};

/* ------------------------------------------------------------------------------------------------ unit length */
static void unit_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++) {
		const float *x = s->in[0] + r * s->ld[0];
		s->k->scale(s->n->width, 1.0f / sqrtf(s->k->dot(s->n->width, x, x)), x, s->out + r * s->ldo);
	}
}

/* dx = (dy - y (y . dy)) / |x| */
static void unit_back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block), w = s->n->width;
	for (int64_t r = task * block; r < r1; r++) {
		const float *x = s->in[0] + r * s->ld[0], *y = s->in[1] + r * s->ld[1], *dy = s->in[2] + r * s->ld[2];
		float *dx = s->out + r * s->ldo, inv = 1.0f / sqrtf(s->k->dot(w, x, x));
		s->k->scale(w, inv, dy, dx);
		s->k->axpy(w, -inv * s->k->dot(w, y, dy), y, dx);
	}
}

static void unit_gradient(graph *g, node_id self, node_id d)
{
	node_id x = graph_node(g, self)->in[0];
	if (graph_needs(g, x))
		graph_flow(g, x, graph_append(g, &op_unit_back, NULL, (node_id[]){x, self, d}, 3, NULL, NULL));
}

const op op_unit = {.name = "unit", .shape = dx_shape, .cost = norm_cost, .tasks = step_row_tasks, .forward = unit_forward, .gradient = unit_gradient};
const op op_unit_back = {.name = "unit_back", .shape = dx_shape, .cost = norm_cost, .tasks = step_row_tasks, .forward = unit_back_forward};

node_id graph_unit(graph *g, const char *name, node_id x)
{
	return graph_append(g, &op_unit, name, &x, 1, NULL, NULL);
}
