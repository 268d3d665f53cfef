/*
 * op_attend.c - attention over a layout (kernels.h), and its gradient (Dao et al. 2022, algorithm 4: probabilities are made
 * again from the log-sum, memory stays linear in the rows).
 *
 *   attend         in: q, k, v, bias table (or 0)
 *   attend_lse     the log-sum of attr.of, written by attend itself; exists only where a gradient wants it
 *   attend_delta   in: d_out, out -> [q rows, heads], the sum over v_dim of their product
 *   attend_dq      in: q, k, v, table, delta, d_out
 *   attend_dkv     the same -> [kv rows, dk then dv], two views
 *   attend_dtable  the same -> the bias table's
 */
#include "graph/graph.h"

static const node *forward_of(const step *s)
{
	return graph_node(plan_graph(s->plan), s->n->a.of);
}

static attend_call call_of(const step *s, const node *n)
{
	return (attend_call){.spec = &n->a.attend, .at = step_at(s, n->a.at), .q_rows = plan_rows_now(s->plan, graph_node(plan_graph(s->plan), n->in[0])->rows),
		.kv_rows = s->in_rows[1], .q = s->in[0], .k = s->in[1], .v = s->in[2], .ldq = s->ld[0], .ldk = s->ld[1], .ldv = s->ld[2], .table = s->in[3],
		.q_at = n->a.q_at ? step_at(s, n->a.q_at) : NULL, .kv_at = n->a.kv_at ? step_at(s, n->a.kv_at) : NULL};
}

static bool has_coordinates(const graph *g, slot at, space_id rows)
{
	return graph_slot_is(g, at, SLOT_COLUMN, rows) && graph_slot_info(g, at)->width == 3;
}

static bool attend_shape(graph *g, node *n)
{
	const node *q = graph_node(g, n->in[0]), *k = graph_node(g, n->in[1]), *v = graph_node(g, n->in[2]);
	const attention *a = &n->a.attend;
	const bias_spec *b = &a->bias;
	const char *name = n->name ? n->name : "attention";
	int64_t heads = a->heads, kv_heads = a->kv_heads;
	if (a->heads < 1 || a->kv_heads < 1 || a->heads % a->kv_heads)
		return graph_fail(g, REBUS_SHAPE, "%s: %d heads over %d key heads, expected a multiple", name, a->heads, a->kv_heads);
	if (a->head_dim < 1 || a->head_dim > 512 || a->v_dim < 1 || a->v_dim > 512)
		return graph_fail(g, REBUS_UNSUPPORTED, "%s: heads of %d and %d columns, expected 1 to 512", name, a->head_dim, a->v_dim);
	if (q->width != heads * a->head_dim || k->width != kv_heads * a->head_dim || v->width != kv_heads * a->v_dim || k->rows != v->rows ||
		heads * a->v_dim > INT32_MAX)
		return graph_fail(g, REBUS_SHAPE, "%s: query, key and value of %d, %d and %d columns do not fit %d heads", name, q->width, k->width, v->width,
						  a->heads);
	n->rows = q->rows;
	n->width = (int32_t)(heads * a->v_dim);
	if (!graph_slot_is(g, n->a.at, SLOT_LAYOUT, q->rows) || graph_slot_info(g, n->a.at)->kv_rows != k->rows)
		return graph_fail(g, REBUS_SHAPE, "%s: no layout of its query and key rows", name);
	if (a->cap < 0 || (a->cap > 0 && b->kind != BIAS_NONE))
		return graph_fail(g, REBUS_UNSUPPORTED, "%s: scores capped at %g and biased, expected one of the two", name, (double)a->cap);
	if (b->kind == BIAS_NONE)
		return !n->in[3];
	if ((b->kind == BIAS_GRID && (b->side[0] < 1 || b->side[1] < 1 || b->side[0] > 8192 || b->side[1] > 8192)) ||
	    (b->kind == BIAS_BUCKET && (b->buckets < 2 || b->buckets > 65536 || b->far < 1)))
		return graph_fail(g, REBUS_UNSUPPORTED, "%s: a bias over %d x %d places or %d buckets up to %d", name, b->side[0], b->side[1], b->buckets, b->far);
	if (!has_coordinates(g, n->a.q_at, q->rows) || !has_coordinates(g, n->a.kv_at, k->rows) || graph_node(g, n->in[3])->width != heads ||
	    graph_rows_max(g, n->in[3]) != bias_entries(b))
		return graph_fail(g, REBUS_SHAPE, "%s: the bias table does not fit, expected [%lld, %d]", name, (long long)bias_entries(&a->bias), a->heads);
	return true;
}

static int64_t attend_tasks(const step *s)
{
	attend_call c = call_of(s, s->n);
	return s->k->attend_tasks(&c);
}

static void attend_forward(const step *s, int64_t task, void *scratch)
{
	attend_call c = call_of(s, s->n);
	const graph *g = plan_graph(s->plan);
	c.products = graph_rounds(g) == PRECISION_F32 && !graph_is_narrow(g) ? DT_F32 : DT_BF16;
	c.out = s->out;
	c.ldo = s->ldo;
	c.lse = s->lse;
	c.out_as = s->as;
	s->k->attend_run(&c, task, scratch);
}

static size_t attend_scratch(const graph *g, const node *n, const kernels *k)
{
	(void)g;
	return k->attend_scratch(&n->a.attend);
}

static bool attend_narrows(const node *n, precision as)
{
	return as == PRECISION_BF16 && n->a.attend.v_dim % 2 == 0;
}

static double pairs_seen(const step *s, const node *n)
{
	const layout *l = step_at(s, n->a.at);
	double pairs = 0;
	for (int32_t i = 0; i < l->count; i++) {
		segment g = l->seg[i];
		if (!l->lo)
			pairs += (double)(g.q1 - g.q0) * (g.kv1 - g.kv0);
		else
			for (int32_t r = g.q0; r < g.q1; r++)
				pairs += l->hi[r] - l->lo[r];
	}
	return pairs;
}

static void attend_cost(const step *s, cost *c)
{
	const attention *a = &s->n->a.attend;
	c->flops = 2 * pairs_seen(s, s->n) * a->heads * (a->head_dim + a->v_dim);
	c->bytes = step_writes(s) + 4 * ((double)s->rows * a->heads * a->head_dim + (double)s->in_rows[1] * a->kv_heads * (a->head_dim + a->v_dim));
}

static void attend_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (!graph_needs(g, self))
		return;
	node_id now = graph_again(g, self);
	attr a = {.of = now};
	if (!graph_node(g, now)->lse)
		graph_set_lse(g, now, graph_append(g, &op_attend_lse, NULL, NULL, 0, NULL, &a));
	node_id delta = graph_append(g, &op_attend_delta, NULL, (node_id[]){d, now}, 2, NULL, &a);
	node_id in[6] = {n.in[0], n.in[1], n.in[2], n.in[3], delta, d};
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_attend_dq, NULL, in, 6, NULL, &a));
	if (graph_needs(g, n.in[1]) || graph_needs(g, n.in[2])) {
		node_id both = graph_append(g, &op_attend_dkv, NULL, in, 6, NULL, &a);
		int32_t k = n.a.attend.kv_heads * n.a.attend.head_dim, v = n.a.attend.kv_heads * n.a.attend.v_dim;
		graph_flow(g, n.in[1], graph_view(g, both, 0, k));
		graph_flow(g, n.in[2], graph_view(g, both, k, v));
	}
	if (graph_needs(g, n.in[3]))
		graph_flow(g, n.in[3], graph_append(g, &op_attend_dtable, NULL, in, 6, NULL, &a));
}

const op op_attend = {.name = "attend",
					  .shape = attend_shape,
					  .cost = attend_cost,
					  .scratch = attend_scratch,
					  .tasks = attend_tasks,
					  .forward = attend_forward,
					  .gradient = attend_gradient,
					  .narrows = attend_narrows};

node_id graph_attend(graph *g, const char *name, node_id q, node_id k, node_id v, const attention *spec, slot at, node_id table, slot q_at, slot kv_at)
{
	attr a = {.attend = *spec, .at = at, .q_at = q_at, .kv_at = kv_at};
	return graph_append(g, &op_attend, name, (node_id[]){q, k, v, table}, 4, NULL, &a);
}

/* ------------------------------------------------------------------------------------------------ gradient */
static bool lse_shape(graph *g, node *n)
{
	const node *of = graph_node(g, n->a.of);
	n->rows = of->rows;
	n->width = of->a.attend.heads;
	return true;
}

/* Cut by what is read: the rows written are only as wide as there are heads. */
static int64_t delta_block(const step *s)
{
	return int_max(1, STEP_FLOATS / int_max(1, s->in_width[0]));
}

static int64_t delta_tasks(const step *s)
{
	return ceil_div(s->rows, delta_block(s));
}

static void delta_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = delta_block(s), r1 = int_min(s->rows, (task + 1) * block);
	int32_t d = forward_of(s)->a.attend.v_dim;
	for (int64_t r = task * block; r < r1; r++)
		for (int32_t h = 0; h < s->n->width; h++)
			s->out[r * s->ldo + h] = s->k->dot(d, s->in[0] + r * s->ld[0] + h * d, s->in[1] + r * s->ld[1] + h * d);
}

static attend_back_call back_of(const step *s)
{
	const node *f = forward_of(s);
	attend_back_call c = {.f = call_of(s, f), .d_out = s->in[5], .ld_dout = s->ld[5], .delta = s->in[4]};
	plan_rows out = plan_matrix(s->plan, s->n->a.of), lse = plan_matrix(s->plan, f->lse);
	c.f.out = (float *)out.data;
	c.f.ldo = out.stride;
	c.f.lse = (float *)lse.data;
	return c;
}

static attend_back_call back_dq(const step *s)
{
	attend_back_call c = back_of(s);
	c.dq = s->out;
	c.ld_dq = s->ldo;
	return c;
}

static attend_back_call back_dkv(const step *s)
{
	attend_back_call c = back_of(s);
	c.dkv = s->out;
	c.ld_dkv = s->ldo;
	return c;
}

static attend_back_call back_dtable(const step *s)
{
	attend_back_call c = back_of(s);
	c.d_table = s->out;
	return c;
}

static bool dq_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static bool dkv_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[1])->rows;
	n->width = graph_node(g, n->in[1])->width + graph_node(g, n->in[2])->width;
	return true;
}

static bool dtable_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[3])->rows;
	n->width = graph_node(g, n->in[3])->width;
	return true;
}

#define PASS(pass)                                                                                                         \
	static int64_t pass##_tasks(const step *s)                                                                         \
	{                                                                                                                  \
		attend_back_call c = back_##pass(s);                                                                       \
		return s->k->attend_##pass##_tasks(&c);                                                                    \
	}                                                                                                                  \
	static void pass##_forward(const step *s, int64_t task, void *scratch)                                             \
	{                                                                                                                  \
		attend_back_call c = back_##pass(s);                                                                       \
		s->k->attend_##pass##_run(&c, task, scratch);                                                              \
	}
PASS(dq)
PASS(dkv)
PASS(dtable)
#undef PASS

static size_t back_scratch(const graph *g, const node *n, const kernels *k)
{
	return k->attend_back_scratch(&graph_node(g, n->a.of)->a.attend);
}

static void back_cost(const step *s, cost *c)
{
	const node *f = forward_of(s);
	const attention *a = &f->a.attend;
	c->flops = 2 * pairs_seen(s, f) * a->heads * (2 * a->head_dim + a->v_dim);
	c->bytes = 4 * (double)s->rows * s->n->width;
}

const op op_attend_lse = {.name = "attend_lse", .shape = lse_shape};
const op op_attend_delta = {.name = "attend_delta", .shape = lse_shape, .tasks = delta_tasks, .forward = delta_forward};
const op op_attend_dq = {.name = "attend_dq", .shape = dq_shape, .cost = back_cost, .scratch = back_scratch, .tasks = dq_tasks, .forward = dq_forward};
const op op_attend_dkv = {.name = "attend_dkv", .shape = dkv_shape, .cost = back_cost, .scratch = back_scratch, .tasks = dkv_tasks, .forward = dkv_forward};
const op op_attend_dtable = {
	.name = "attend_dtable", .shape = dtable_shape, .cost = back_cost, .scratch = back_scratch, .tasks = dtable_tasks, .forward = dtable_forward};
