/*
 * op_loss.c - softmax, mean cross-entropy, column sums, and their gradients.
 *
 *   softmax             in: x                      softmax_back        in: y, dy
 *   entropy_rows        in: x; column attr.at -> [log sum exp x, (1 - e) x[target] + e mean(x)] a row, e = attr.factor
 *   cross_entropy       in: x, entropy_rows        cross_entropy_back  in: x, dL; column attr.at
 *   column_sum          in: x -> [1, width]; its gradient is the row repeated (spread)
 *
 * The rows' logarithms are many tasks; cross_entropy is one: rows in ascending order, one sum in double, so the loss has the
 * same bits everywhere. A target that is negative counts for nothing (the reference writes -100); no target at all gives 0
 * and no gradient.
 */
#include "graph/graph.h"

#include <string.h>

enum { SUM_COLUMNS = 64 };

static bool same_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

/* ------------------------------------------------------------------------------------------------ softmax */
static void softmax_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	s->k->softmax(rows, s->n->width, s->in[0] + r0 * s->ld[0], s->ld[0], s->out + r0 * s->ldo, s->ldo);
}

static void softmax_back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	s->k->softmax_back(rows, s->n->width, s->in[0] + r0 * s->ld[0], s->ld[0], s->in[1] + r0 * s->ld[1], s->ld[1], s->out + r0 * s->ldo, s->ldo);
}

static void softmax_gradient(graph *g, node_id self, node_id d)
{
	node_id x = graph_node(g, self)->in[0];
	if (graph_needs(g, x))
		graph_flow(g, x, graph_append(g, &op_softmax_back, NULL, (node_id[]){self, d}, 2, NULL, NULL));
}

const op op_softmax = {.name = "softmax", .shape = same_shape, .tasks = step_row_tasks, .forward = softmax_forward, .gradient = softmax_gradient};
const op op_softmax_back = {.name = "softmax_back", .shape = same_shape, .tasks = step_row_tasks, .forward = softmax_back_forward};

node_id graph_softmax(graph *g, const char *name, node_id x)
{
	return graph_append(g, &op_softmax, name, &x, 1, NULL, NULL);
}

/* ------------------------------------------------------------------------------------------------ cross-entropy */
static int64_t target_count(const int32_t *target, int64_t rows)
{
	int64_t n = 0;
	for (int64_t r = 0; r < rows; r++)
		n += target[r] >= 0;
	return n;
}

static bool rows_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = 2;
	return graph_slot_is(g, n->a.at, SLOT_COLUMN, graph_node(g, n->in[0])->rows) && graph_slot_info(g, n->a.at)->width == 1;
}

static rebus_status entropy_check(const step *s, rebus_error *err)
{
	const int32_t *target = step_at(s, s->n->a.at);
	for (int64_t r = 0; r < s->in_rows[0]; r++)
		if (target[r] >= s->in_width[0])
			return error_set(err, REBUS_MISUSE, "%s: target %d of %d classes", s->n->name ? s->n->name : "cross entropy", target[r], s->in_width[0]);
	return REBUS_OK;
}

/* Cut by what is read. */
static int64_t rows_block(const step *s)
{
	return int_max(1, STEP_FLOATS / int_max(1, s->in_width[0]));
}

static int64_t rows_tasks(const step *s)
{
	return ceil_div(s->rows, rows_block(s));
}

static float mean(const float *x, int64_t n)
{
	double sum = 0;
	for (int64_t i = 0; i < n; i++)
		sum += (double)x[i];
	return (float)(sum / (double)n);
}

static void rows_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	const int32_t *target = step_at(s, s->n->a.at);
	int64_t block = rows_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++) {
		const float *x = s->in[0] + r * s->ld[0];
		bool counts = target[r] >= 0;
		float smooth = s->n->a.factor;
		s->out[r * s->ldo] = counts ? s->k->log_sum_exp(s->in_width[0], x) : 0.0f;
		s->out[r * s->ldo + 1] = counts ? x[target[r]] : 0.0f;
		if (counts && smooth > 0)
			s->out[r * s->ldo + 1] = (1 - smooth) * x[target[r]] + smooth * mean(x, s->in_width[0]);
	}
}

const op op_entropy_rows = {.name = "entropy_rows", .shape = rows_shape, .check = entropy_check, .tasks = rows_tasks, .forward = rows_forward};

static bool entropy_shape(graph *g, node *n)
{
	n->rows = graph_space_fixed(g, 1);
	n->width = 1;
	return n->in[1] != 0;
}

static int64_t one_task(const step *s)
{
	(void)s;
	return 1;
}

static void entropy_forward(const step *s, int64_t task, void *scratch)
{
	(void)task;
	(void)scratch;
	const int32_t *target = step_at(s, s->n->a.at);
	int64_t n = target_count(target, s->in_rows[1]);
	double sum = 0;
	for (int64_t r = 0; r < s->in_rows[1]; r++) {
		const float *row = s->in[1] + r * s->ld[1];
		sum += target[r] >= 0 ? (double)row[0] - (double)row[1] : 0;
	}
	s->out[0] = n ? (float)(sum / (double)n) : 0.0f;
}

static void entropy_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_cross_entropy_back, NULL, (node_id[]){n.in[0], d}, 2, NULL, &(attr){.at = n.a.at, .factor = n.a.factor}));
}

/* dx = (softmax(x) - (1 - e) onehot - e / width) dL / n */
static void entropy_back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	const int32_t *target = step_at(s, s->n->a.at);
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block), n = target_count(target, s->rows), w = s->n->width;
	float scale = n ? s->in[1][0] / (float)n : 0.0f, smooth = s->n->a.factor;
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		if (target[r] < 0) {
			memset(out, 0, (size_t)w * sizeof(float));
			continue;
		}
		s->k->softmax(1, w, s->in[0] + r * s->ld[0], s->ld[0], out, s->ldo);
		out[target[r]] -= 1.0f - smooth;
		for (int64_t i = 0; i < w && smooth > 0; i++)
			out[i] -= smooth / (float)w;
		s->k->scale(w, scale, out, out);
	}
}

const op op_cross_entropy = {.name = "cross_entropy", .shape = entropy_shape, .tasks = one_task, .forward = entropy_forward, .gradient = entropy_gradient};
const op op_cross_entropy_back = {
	.name = "cross_entropy_back", .shape = same_shape, .check = entropy_check, .tasks = step_row_tasks, .forward = entropy_back_forward};

node_id graph_cross_entropy(graph *g, const char *name, node_id x, slot target)
{
	return graph_cross_entropy_smooth(g, name, x, target, 0);
}

node_id graph_cross_entropy_smooth(graph *g, const char *name, node_id x, slot target, float smooth)
{
	attr a = {.at = target, .factor = smooth};
	node_id rows = graph_append(g, &op_entropy_rows, name, &x, 1, NULL, &a);
	return graph_append(g, &op_cross_entropy, name, (node_id[]){x, rows}, 2, NULL, &a);
}

/* ------------------------------------------------------------------------------------------------ column sum */
static bool sum_shape(graph *g, node *n)
{
	n->rows = graph_space_fixed(g, 1);
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static int64_t sum_tasks(const step *s)
{
	return ceil_div(s->n->width, SUM_COLUMNS);
}

static void sum_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t c0 = task * SUM_COLUMNS, c1 = int_min(c0 + SUM_COLUMNS, s->n->width);
	s->k->column_sum(s->in_rows[0], c0, c1, s->in[0], s->ld[0], s->out);
}

static void sum_gradient(graph *g, node_id self, node_id d)
{
	node_id x = graph_node(g, self)->in[0];
	if (graph_needs(g, x))
		graph_flow(g, x, graph_append(g, &op_spread, NULL, &d, 1, NULL, &(attr){.of = x}));
}

const op op_column_sum = {.name = "column_sum", .shape = sum_shape, .tasks = sum_tasks, .forward = sum_forward, .gradient = sum_gradient};

node_id graph_column_sum(graph *g, const char *name, node_id x)
{
	return graph_append(g, &op_column_sum, name, &x, 1, NULL, NULL);
}
