/*
 * op_linear.c - y = x W^T + b, its input's gradient dx = dy W, and its weight's dW = dy^T x.
 *
 * The weight may have up to three parts stacked along the outputs; each is one matrix product into its own columns of y.
 *
 *   linear     in: x, param W, param b (or 0)
 *   linear_dx  in: dy, param W, what the parts before gave (or 0); attr.part is the part. Parts add up one node after the
 *              other, so that every element stays one chain
 *   linear_dw  in: dy, x -> [out, in], all parts at once
 *
 * graph_round makes all three round their factors to bf16 on the way.
 * Where the graph has packs, W is read from there (or will be: until it is made ready a product has the same bits without); in bf16 and
 * int8 x is a narrow node (op_narrow.c), made by graph_linear. So it is where W lies in blocks, which are multiplied as they lie.
 *
 * Cost: 2 m n k operations; x, W and y move once.
 */
#include "graph/graph.h"

/* Weights of other types than f32 are frozen: they are read as they are. */
static precision products(const graph *g, dtype type)
{
	return type == DT_F32 ? graph_rounds(g) : PRECISION_F32;
}

static gemm_call call_forward(const step *s, int part, int64_t column)
{
	const weight *w = s->n->w;
	const matrix *m = &w->part[part];
	return (gemm_call){.form = GEMM_NT, .m = s->rows, .n = m->out, .k = m->in, .a = s->in[0], .lda = s->ld[0], .b = m->data, .ldb = m->in,
		.b_type = m->type, .c = s->as == PRECISION_BF16 ? s->out + column / 2 : s->out + column, .ldc = s->ldo, .bias = w->bias[part], .act = s->act,
		.residual = s->residual ? s->residual + column : NULL, .ldr = s->ldr, .pack = s->pack[part], .c_as = s->as,
		.products = products(plan_graph(s->plan), m->type), .whole = graph_packs(plan_graph(s->plan)) && m->type == DT_F32};
}

/* Parts start in the middle of a row of narrow C, so all are even. */
static bool linear_narrows(const node *n, precision as)
{
	bool even = as == PRECISION_BF16;
	for (int p = 0; p < n->w->parts; p++)
		even &= n->w->part[p].out % 2 == 0;
	return even;
}

/* of x as the weight sees it */
static int32_t read_width(const graph *g, const node *x)
{
	return x->op == &op_narrow ? graph_node(g, x->in[0])->width : x->width;
}

static bool linear_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]);
	if (n->w->f32 || n->w->out > INT32_MAX)
		return graph_fail(g, REBUS_SHAPE, "%s: %s is no matrix", n->name ? n->name : "linear", n->w->name ? n->w->name : "its weight");
	n->rows = x->rows;
	n->width = (int32_t)n->w->out;
	if (x->op == &op_narrow && n->w->in > INT8_DEPTH)
		return graph_fail(g, REBUS_UNSUPPORTED, "%s: %lld inputs, at most %d in bf16 and int8", n->name ? n->name : "linear", (long long)n->w->in, INT8_DEPTH);
	if (read_width(g, x) != n->w->in)
		return graph_fail(g, REBUS_SHAPE, "%s: reads %d columns, %s wants %lld", n->name ? n->name : "linear", read_width(g, x),
			n->w->name ? n->w->name : "its weight", (long long)n->w->in);
	return true;
}

static int64_t linear_tasks(const step *s)
{
	int64_t tasks = 0, column = 0;
	for (int p = 0; p < s->n->w->parts; p++) {
		gemm_call c = call_forward(s, p, column);
		tasks += s->k->gemm_tasks(&c);
		column += s->n->w->part[p].out;
	}
	return tasks;
}

static void linear_forward(const step *s, int64_t task, void *scratch)
{
	int64_t column = 0;
	for (int p = 0; p < s->n->w->parts; p++) {
		gemm_call c = call_forward(s, p, column);
		int64_t tasks = s->k->gemm_tasks(&c);
		if (task < tasks) {
			s->k->gemm_run(&c, task, scratch);
			return;
		}
		task -= tasks;
		column += s->n->w->part[p].out;
	}
}

static size_t linear_scratch(const graph *g, const node *n, const kernels *k)
{
	size_t most = 0;
	pack_set *ready = graph_packs(g);
	for (int p = 0; p < n->w->parts; p++) {
		gemm_call c = {.form = GEMM_NT, .m = graph_space_info(g, n->rows)->max, .n = n->w->part[p].out, .k = n->w->part[p].in, .b_type = n->w->part[p].type,
			.products = products(g, n->w->part[p].type)};
		size_t size = packs_precision(ready) == PRECISION_F32 ? k->gemm_scratch(&c) : 0;
		most = size > most ? size : most;
		if (!ready)
			continue;
		gemm_pack pack = {.as = packs_precision(ready), .n = c.n, .k = c.k};
		c.pack = &pack;
		size = k->gemm_scratch(&c);
		most = size > most ? size : most;
	}
	return most;
}

static void linear_cost(const step *s, cost *c)
{
	const weight *w = s->n->w;
	c->flops = 2.0 * (double)s->rows * (double)w->out * (double)w->in;
	c->bytes = 4.0 * (double)s->rows * (double)narrow_words(s->pack[0] ? s->pack[0]->as : PRECISION_F32, w->in) + step_writes(s);
	for (int p = 0; p < w->parts; p++)
		c->bytes += s->pack[p] ? (double)s->k->pack_size(s->pack[p]->as, s->pack[p]->n, s->pack[p]->k)
			: (double)dtype_bytes(w->part[p].type, w->part[p].out * w->in);
}

static void linear_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0])) {
		node_id dx = 0;
		for (int32_t p = 0; p < n.w->parts; p++)
			dx = graph_append(g, &op_linear_dx, NULL, (node_id[]){d, n.in[1], dx}, 3, n.w, &(attr){.part = p});
		graph_flow(g, n.in[0], dx);
	}
	if (graph_needs(g, n.in[1]))
		graph_flow(g, n.in[1], graph_append(g, &op_linear_dw, NULL, (node_id[]){d, n.in[0]}, 2, n.w, NULL));
	if (graph_needs(g, n.in[2]))
		graph_flow(g, n.in[2], graph_column_sum(g, NULL, d));
}

const op op_linear = {.name = "linear", .shape = linear_shape, .cost = linear_cost, .scratch = linear_scratch, .tasks = linear_tasks,
	.forward = linear_forward, .gradient = linear_gradient, .narrows = linear_narrows, .products = 1};

/* How many parts of a weight lie in blocks. */
static int in_blocks(const weight *w)
{
	int count = 0;
	for (int p = 0; p < w->parts; p++)
		count += dtype_block(w->part[p].type) > 1;
	return count;
}

node_id graph_linear(graph *g, const char *name, node_id x, const weight *w)
{
	if (!w) {
		graph_fail(g, REBUS_SHAPE, "%s: no weight", name ? name : "linear");
		return 0;
	}
	bool biased = false;
	for (int p = 0; p < w->parts; p++)
		biased |= w->bias[p] != NULL;
	precision as = packs_precision(graph_packs(g));
	if (as == PRECISION_F32 && in_blocks(w) > 0)
		as = PRECISION_BLOCKS;
	if (as == PRECISION_BLOCKS && in_blocks(w) < w->parts) {
		graph_fail(g, REBUS_UNSUPPORTED, "%s: some parts in blocks and others not, expected all alike", name ? name : w->name);
		return 0;
	}
	node_id narrow = as != PRECISION_F32 ? graph_narrow(g, x, as) : x;
	node_id in[3] = {narrow, graph_param(g, w), biased ? graph_param_bias(g, w) : 0};
	if (!graph_has_beside(w))
		return graph_append(g, &op_linear, name, in, 3, w, NULL);
	const char *base = graph_text(g, "%s.base_layer", name ? name : w->name);
	return graph_linear_beside(g, name, x, graph_append(g, &op_linear, base, in, 3, w, NULL), w);
}

/* ------------------------------------------------------------------------------------------------ dx = dy W */
static gemm_call call_dx(const step *s)
{
	const weight *w = s->n->w;
	int64_t column = 0;
	for (int p = 0; p < s->n->a.part; p++)
		column += w->part[p].out;
	const matrix *m = &w->part[s->n->a.part];
	return (gemm_call){.form = GEMM_NN, .m = s->rows, .n = m->in, .k = m->out, .a = s->in[0] + column, .lda = s->ld[0], .b = m->data, .ldb = m->in,
		.b_type = m->type, .c = s->out, .ldc = s->ldo, .residual = s->in[2], .ldr = s->ld[2],
		.products = products(plan_graph(s->plan), m->type)};
}

static bool dx_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = (int32_t)n->w->in;
	return graph_node(g, n->in[0])->width == n->w->out;
}

static int64_t dx_tasks(const step *s)
{
	gemm_call c = call_dx(s);
	return s->k->gemm_tasks(&c);
}

static void dx_forward(const step *s, int64_t task, void *scratch)
{
	gemm_call c = call_dx(s);
	s->k->gemm_run(&c, task, scratch);
}

static size_t dx_scratch(const graph *g, const node *n, const kernels *k)
{
	const matrix *m = &n->w->part[n->a.part];
	gemm_call c = {.form = GEMM_NN, .m = graph_space_info(g, n->rows)->max, .n = m->in, .k = m->out, .b_type = m->type,
		.products = products(g, m->type)};
	return k->gemm_scratch(&c);
}

static void dx_cost(const step *s, cost *c)
{
	const matrix *m = &s->n->w->part[s->n->a.part];
	c->flops = 2.0 * (double)s->rows * (double)m->out * (double)m->in;
	c->bytes = 4.0 * (double)s->rows * (double)(m->out + m->in) + (double)m->out * (double)m->in * (double)dtype_size(m->type);
}

const op op_linear_dx = {
	.name = "linear_dx", .shape = dx_shape, .cost = dx_cost, .scratch = dx_scratch, .tasks = dx_tasks, .forward = dx_forward, .products = 1};

/* ------------------------------------------------------------------------------------------------ dW = dy^T x */
static gemm_call call_dw(const step *s)
{
	return (gemm_call){.form = GEMM_TN, .m = s->n->w->out, .n = s->n->w->in, .k = s->in_rows[0], .a = s->in[0], .lda = s->ld[0], .b = s->in[1],
		.ldb = s->ld[1], .b_type = DT_F32, .c = s->out, .ldc = s->ldo, .products = graph_rounds(plan_graph(s->plan))};
}

static bool dw_shape(graph *g, node *n)
{
	n->rows = graph_space_fixed(g, n->w->out);
	n->width = (int32_t)n->w->in;
	return graph_node(g, n->in[0])->rows == graph_node(g, n->in[1])->rows;
}

static int64_t dw_tasks(const step *s)
{
	gemm_call c = call_dw(s);
	return s->k->gemm_tasks(&c);
}

static void dw_forward(const step *s, int64_t task, void *scratch)
{
	gemm_call c = call_dw(s);
	s->k->gemm_run(&c, task, scratch);
}

static size_t dw_scratch(const graph *g, const node *n, const kernels *k)
{
	gemm_call c = {.form = GEMM_TN, .m = n->w->out, .n = n->w->in, .k = graph_rows_max(g, n->in[0]), .b_type = DT_F32, .products = graph_rounds(g)};
	return k->gemm_scratch(&c);
}

static void dw_cost(const step *s, cost *c)
{
	const weight *w = s->n->w;
	c->flops = 2.0 * (double)s->in_rows[0] * (double)w->out * (double)w->in;
	c->bytes = 4.0 * ((double)s->in_rows[0] * (double)(w->out + w->in) + (double)w->out * (double)w->in);
}

const op op_linear_dw = {
	.name = "linear_dw", .shape = dw_shape, .cost = dw_cost, .scratch = dw_scratch, .tasks = dw_tasks, .forward = dw_forward, .products = 1};
