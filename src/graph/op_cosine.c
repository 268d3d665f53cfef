/*
 * op_cosine.c - heads of unit length, with a learned scale: what makes q.k a cosine (Liu et al. 2022, equation 2).
 *
 *   cosine     in: x, s (or none)     y_h = f_h x_h / max(|x_h|, EPS)      f_h = exp(min(s_h, most)), or 1; h: columns of a head
 *   cosine_dx  in: x, dy, s           dx_h = f_h (dy_h - u_h (u_h . dy_h)) / |x_h|, u = x / |x|; below EPS f_h dy_h / EPS
 *   cosine_ds  in: y, dy, s           [1, heads]: the sum over rows of y_h . dy_h, or 0 where s_h > most
 */
#include "graph/graph.h"

#include <math.h>

static const float EPS = 1e-12f;

static bool cosine_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]);
	n->rows = x->rows;
	n->width = x->width;
	if (n->a.head_dim < 1 || x->width % n->a.head_dim)
		return false;
	const node *s = graph_node(g, n->in[n->a.part]);
	return !n->a.part || (s->width == x->width / n->a.head_dim && graph_rows_max(g, n->in[n->a.part]) == 1);
}

static float factor(const step *s, int32_t h)
{
	if (!s->n->a.part)
		return 1.0f;
	const float x = s->in[s->n->a.part][h], most = s->n->a.factor;
	return (float)exp((double)(x < most ? x : most));
}

static float length_of(const step *s, const float *x)
{
	return sqrtf(s->k->dot(s->n->a.head_dim, x, x));
}

static void cosine_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	int32_t d = s->n->a.head_dim, heads = s->n->width / d;
	for (int32_t h = 0; h < heads; h++) {
		float f = factor(s, h);
		for (int64_t r = task * block; r < r1; r++) {
			const float *x = s->in[0] + r * s->ld[0] + h * d;
			s->k->scale(d, f / fmaxf(length_of(s, x), EPS), x, s->out + r * s->ldo + h * d);
		}
	}
}

static void dx_head(const step *s, float f, const float *x, const float *dy, float *dx)
{
	int32_t d = s->n->a.head_dim;
	float length = length_of(s, x), inverse = 1.0f / fmaxf(length, EPS);
	s->k->scale(d, f * inverse, dy, dx);
	if (length > EPS)
		s->k->axpy(d, -f * inverse * inverse * inverse * s->k->dot(d, x, dy), x, dx);
}

static void dx_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	int32_t d = s->n->a.head_dim, heads = s->n->width / d;
	for (int32_t h = 0; h < heads; h++) {
		float f = factor(s, h);
		for (int64_t r = task * block; r < r1; r++)
			dx_head(s, f, s->in[0] + r * s->ld[0] + h * d, s->in[1] + r * s->ld[1] + h * d, s->out + r * s->ldo + h * d);
	}
}

static bool ds_shape(graph *g, node *n)
{
	n->rows = graph_space_fixed(g, 1);
	n->width = graph_node(g, n->in[2])->width;
	return true;
}

static int64_t ds_tasks(const step *s)
{
	return s->n->width;
}

static void ds_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int32_t d = s->n->a.head_dim;
	double sum = 0;
	for (int64_t r = 0; r < s->in_rows[0]; r++)
		sum += (double)s->k->dot(d, s->in[0] + r * s->ld[0] + task * d, s->in[1] + r * s->ld[1] + task * d);
	s->out[task] = s->in[2][task] > s->n->a.factor ? 0.0f : (float)sum;
}

static void cosine_cost(const step *s, cost *c)
{
	double v = (double)s->rows * s->n->width;
	*c = (cost){4 * v, 8 * v};
}

static void cosine_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	attr a = {.head_dim = n.a.head_dim, .factor = n.a.factor, .part = n.in[1] ? 2 : 0};
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_cosine_dx, NULL, (node_id[]){n.in[0], d, n.in[1]}, 3, NULL, &a));
	if (graph_needs(g, n.in[1]))
		graph_flow(g, n.in[1], graph_append(g, &op_cosine_ds, NULL, (node_id[]){self, d, n.in[1]}, 3, NULL, &a));
}

const op op_cosine = {
	.name = "cosine", .shape = cosine_shape, .cost = cosine_cost, .tasks = step_row_tasks, .forward = cosine_forward, .gradient = cosine_gradient};
const op op_cosine_dx = {.name = "cosine_dx", .shape = cosine_shape, .cost = cosine_cost, .tasks = step_row_tasks, .forward = dx_forward};
const op op_cosine_ds = {.name = "cosine_ds", .shape = ds_shape, .tasks = ds_tasks, .forward = ds_forward};

node_id graph_cosine(graph *g, const char *name, node_id x, const weight *scale, int32_t head_dim, float most)
{
	attr a = {.head_dim = head_dim, .factor = most, .part = scale ? 1 : 0};
	return graph_append(g, &op_cosine, name, (node_id[]){x, graph_param(g, scale)}, 2, NULL, &a);
}
