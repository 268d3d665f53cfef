/*
 * op_move.c - the one way rows move (rowmap, kernels.h), and its gradient.
 *
 * move: inputs are stacked in order, by their row counts of this run; out[i] is what the map of slot attr.at says. A
 * parameter among them is read in the file's own type, so an embedding is a move whose sources are token ids.
 *
 * move_back: the gradient of input number attr.which of node attr.of. It reads the transposed map, which plan_run makes once
 * a run with sources ascending, so each row is one sum in a fixed order and no two tasks write the same row:
 *
 *     forward   out[i]  = sum_j coef[j] in[from[j]]
 *     backward  d_in[r] = sum over (i, j) with from[j] = r of coef[j] d_out[i]       (concat: of the j-th piece of d_out[i])
 */
#include "graph/graph.h"

#include <string.h>

static int32_t input_count(const node *n)
{
	int32_t count = 0;
	while (count < NODE_INPUTS && n->in[count])
		count++;
	return count;
}

static bool move_shape(graph *g, node *n)
{
	const slot_info *s = graph_slot_info(g, n->a.at);
	int32_t width = graph_node(g, n->in[0])->width;
	for (int i = 0; i < input_count(n); i++)
		if (graph_node(g, n->in[i])->width != width)
			return graph_fail(g, REBUS_SHAPE, "%s: rows of %d and of %d columns cannot be one table", n->name ? n->name : "move", width,
				graph_node(g, n->in[i])->width);
	n->rows = s->rows;
	if (s->concat && (int64_t)width * s->taps > INT32_MAX)
		return graph_fail(g, REBUS_LIMIT, "%s: %d pieces of %d columns side by side", n->name ? n->name : "move", s->taps, width);
	n->width = s->concat ? width * s->taps : width;
	return width > 0;
}

/* This run's rows of the first `count` inputs of a move. */
static int64_t rows_before(const step *s, const node *move, int32_t count)
{
	int64_t rows = 0;
	for (int32_t i = 0; i < count; i++)
		rows += plan_rows_now(s->plan, graph_node(plan_graph(s->plan), move->in[i])->rows);
	return rows;
}

static rebus_status check_rows(const step *s, const node *move, int64_t from, rebus_error *err)
{
	int64_t rows = rows_before(s, move, input_count(move));
	if (from > rows)
		return error_set(err, REBUS_MISUSE, "%s: a map from %lld rows, its inputs have %lld", move->name ? move->name : "move", (long long)from,
						 (long long)rows);
	return REBUS_OK;
}

static rebus_status move_check(const step *s, rebus_error *err)
{
	const rowmap *map = step_at(s, s->n->a.at);
	return check_rows(s, s->n, map->rows_in, err);
}

/* A row of the stacked inputs as f32: where it lies, or widened into `into`. NULL: the zero row. */
static const float *row_of(const step *s, int64_t from, int32_t width, float *into)
{
	if (from < 0)
		return NULL;
	int i = 0;
	while (from >= s->in_rows[i])
		from -= s->in_rows[i++];
	const node *n = graph_node(plan_graph(s->plan), s->in_id[i]);
	const weight *w = n->w;
	if (n->op != &op_param || n->a.which == 1 || w->f32 || w->part[0].type == DT_F32)
		return s->in[i] + from * s->ld[i];
	const matrix *m = &w->part[0];
	s->k->widen(m->type, width, (const char *)m->data + dtype_bytes(m->type, from * m->in), into);
	return into;
}

static void move_forward(const step *s, int64_t task, void *scratch)
{
	const rowmap *map = step_at(s, s->n->a.at);
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	int32_t width = s->in_width[0];
	size_t bytes = (size_t)width * sizeof(float);
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		int64_t j0 = map->start ? map->start[r] : r * map->taps, j1 = map->start ? map->start[r + 1] : j0 + map->taps;
		if (!map->concat && j0 == j1)
			memset(out, 0, bytes);
		for (int64_t j = j0; j < j1; j++) {
			const float *row = row_of(s, map->from[j], width, scratch);
			const float coef = map->coef ? map->coef[j] : 1.0f;
			float *to = map->concat ? out + (j - j0) * width : out;
			bool first = map->concat || j == j0;
			if (!row && first)
				memset(to, 0, bytes);
			else if (row && !first)
				s->k->axpy(width, coef, row, to);
			else if (row && map->coef)
				s->k->scale(width, coef, row, to);
			else if (row)
				memcpy(to, row, bytes);
		}
	}
}

static size_t move_scratch(const graph *g, const node *n, const kernels *k)
{
	(void)k;
	return (size_t)graph_node(g, n->in[0])->width * sizeof(float);
}

static void move_cost(const step *s, cost *c)
{
	*c = (cost){0, 8.0 * (double)s->rows * s->n->width};
}

static void move_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	int64_t rows_in = 0;
	for (int32_t i = 0; i < input_count(&n); i++)
		rows_in += graph_rows_max(g, n.in[i]);
	for (int32_t i = 0; i < input_count(&n); i++)
		if (graph_needs(g, n.in[i])) {
			attr a = {.at = graph_slot_transposed(g, n.a.at, rows_in), .of = self, .which = i};
			graph_flow(g, n.in[i], graph_append(g, &op_move_back, NULL, &d, 1, NULL, &a));
		}
}

const op op_move = {.name = "move",
					.shape = move_shape,
					.cost = move_cost,
					.check = move_check,
					.scratch = move_scratch,
					.tasks = step_row_tasks,
					.forward = move_forward,
					.gradient = move_gradient};

node_id graph_move(graph *g, const char *name, const node_id *in, int count, space_id out, slot map)
{
	if (count < 1 || count > NODE_INPUTS || !graph_slot_is(g, map, SLOT_MAP, out)) {
		graph_fail(g, REBUS_SHAPE, "%s: its map does not fit", name ? name : "move");
		return 0;
	}
	for (int i = 0; i < count; i++)
		if (!in[i])
			graph_fail(g, REBUS_SHAPE, "%s: input %d is no node", name ? name : "move", i);
	return graph_append(g, &op_move, name, in, count, NULL, &(attr){.at = map});
}

static bool back_shape(graph *g, node *n)
{
	const node *to = graph_node(g, graph_node(g, n->a.of)->in[n->a.which]);
	n->rows = to->rows;
	n->width = to->width;
	return n->a.at != 0;
}

static const node *move_of(const step *s)
{
	return graph_node(plan_graph(s->plan), s->n->a.of);
}

static rebus_status back_check(const step *s, rebus_error *err)
{
	const rowmap *map = step_at(s, s->n->a.at);
	return check_rows(s, move_of(s), map->rows_out, err); /* transposed */
}

static void back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	const rowmap *map = step_at(s, s->n->a.at);
	int64_t offset = rows_before(s, move_of(s), s->n->a.which), block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	int32_t width = s->n->width, pieces = s->in_width[0] / width;
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		memset(out, 0, (size_t)width * sizeof(float));
		if (offset + r >= map->rows_out) /* the map was made for fewer rows: nothing reads the rest */
			continue;
		for (int32_t j = map->start[offset + r]; j < map->start[offset + r + 1]; j++) {
			int32_t from = map->from[j];
			s->k->axpy(width, map->coef[j], s->in[0] + (from / pieces) * s->ld[0] + (from % pieces) * width, out);
		}
	}
}

const op op_move_back = {.name = "move_back", .shape = back_shape, .cost = move_cost, .check = back_check, .tasks = step_row_tasks, .forward = back_forward};
