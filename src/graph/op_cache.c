/*
 * op_cache.c - rows that stay between runs: the key-value cache.
 *
 *   cache       in: rows; the column attr.at says at which row of the cache space each goes. The node is the whole cache; its
 *               memory is the plan's and never reused. Rows are written once a run before anything reads them
 *   cache_back  d_rows[i] = d_cache[where[i]]
 */
#include "graph/graph.h"

#include <string.h>

static bool cache_shape(graph *g, node *n)
{
	n->rows = n->a.of;
	n->width = graph_node(g, n->in[0])->width;
	return n->a.of > 0 && n->a.of <= graph_spaces(g) && graph_slot_is(g, n->a.at, SLOT_COLUMN, graph_node(g, n->in[0])->rows) &&
		graph_slot_info(g, n->a.at)->width == 1;
}

/* rows of the table that go to, or come from, a cache of so many */
static rebus_status check_where(const step *s, int64_t rows, int64_t cache, rebus_error *err)
{
	const int32_t *where = step_at(s, s->n->a.at);
	for (int64_t r = 0; r < rows; r++)
		if (where[r] < 0 || where[r] >= cache)
			return error_set(err, REBUS_MISUSE, "%s: row %d of a cache of %lld", s->n->name ? s->n->name : "cache", where[r], (long long)cache);
	return REBUS_OK;
}

static rebus_status cache_check(const step *s, rebus_error *err)
{
	return check_where(s, s->in_rows[0], s->rows, err);
}

static int64_t cache_tasks(const step *s)
{
	return ceil_div(s->in_rows[0], step_row_block(s));
}

static void cache_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	const int32_t *where = step_at(s, s->n->a.at);
	int64_t block = step_row_block(s), r1 = int_min(s->in_rows[0], (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		memcpy(s->out + where[r] * s->ldo, s->in[0] + r * s->ld[0], (size_t)s->n->width * sizeof(float));
}

static void cache_cost(const step *s, cost *c)
{
	*c = (cost){0, 8.0 * (double)s->in_rows[0] * s->n->width};
}

static void cache_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_cache_back, NULL, (node_id[]){d}, 1, NULL, &(attr){.at = n.a.at, .of = n.in[0]}));
}

const op op_cache = {.name = "cache",
					 .shape = cache_shape,
					 .cost = cache_cost,
					 .check = cache_check,
					 .tasks = cache_tasks,
					 .forward = cache_forward,
					 .gradient = cache_gradient};

node_id graph_cache(graph *g, const char *name, node_id rows, space_id cache, slot where)
{
	return graph_append(g, &op_cache, name, &rows, 1, NULL, &(attr){.at = where, .of = cache});
}

static bool back_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->a.of)->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static void back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	const int32_t *where = step_at(s, s->n->a.at);
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	for (int64_t r = task * block; r < r1; r++)
		memcpy(s->out + r * s->ldo, s->in[0] + where[r] * s->ld[0], (size_t)s->n->width * sizeof(float));
}

static rebus_status back_check(const step *s, rebus_error *err)
{
	return check_where(s, s->rows, s->in_rows[0], err);
}

const op op_cache_back = {.name = "cache_back", .shape = back_shape, .check = back_check, .tasks = step_row_tasks, .forward = back_forward};
