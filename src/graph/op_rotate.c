/*
 * op_rotate.c - rotary position encoding (Su et al. 2021). The angles are a node, so that they can be learned.
 *
 *   rotate         in: x [rows, heads * head_dim], cos_sin [rows, 2 pairs]; attr.head_dim, attr.pairing, attr.sign
 *   rotate_dangle  in: x, dy -> d cos_sin: over the heads, d cos = dy1 x1 + dy2 x2, d sin = dy2 x1 - dy1 x2
 * Rotations are orthogonal: the gradient of x is dy rotated back.
 */
#include "graph/graph.h"

#include <string.h>

static bool rotate_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]), *c = graph_node(g, n->in[1]);
	n->rows = x->rows;
	n->width = x->width;
	return n->in[1] && x->rows == c->rows && n->a.head_dim > 0 && x->width % n->a.head_dim == 0 && c->width % 2 == 0 && c->width <= n->a.head_dim;
}

static void rotate_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r0 = task * block, rows = int_min(s->rows - r0, block);
	int32_t d = s->n->a.head_dim;
	s->k->rotate(rows, s->n->width / d, d, s->in_width[1] / 2, s->n->a.pairing, s->n->a.sign, s->in[0] + r0 * s->ld[0], s->ld[0],
		s->in[1] + r0 * s->ld[1], s->ld[1], s->out + r0 * s->ldo, s->ldo);
}

static void rotate_cost(const step *s, cost *c)
{
	double v = (double)s->rows * s->n->width;
	*c = (cost){3 * v, 8 * v};
}

static void rotate_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	attr a = n.a;
	a.sign = -1;
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_rotate, NULL, (node_id[]){d, n.in[1]}, 2, NULL, &a));
	if (graph_needs(g, n.in[1])) {
		a.of = n.in[1];
		graph_flow(g, n.in[1], graph_append(g, &op_rotate_dangle, NULL, (node_id[]){n.in[0], d}, 2, NULL, &a));
	}
}

const op op_rotate = {
	.name = "rotate", .shape = rotate_shape, .cost = rotate_cost, .tasks = step_row_tasks, .forward = rotate_forward, .gradient = rotate_gradient};

node_id graph_rotate(graph *g, const char *name, node_id x, node_id cos_sin, int32_t head_dim, int pairing)
{
	return graph_append(g, &op_rotate, name, (node_id[]){x, cos_sin}, 2, NULL, &(attr){.head_dim = head_dim, .pairing = pairing, .sign = 1});
}

static bool dangle_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->a.of)->rows;
	n->width = graph_node(g, n->a.of)->width;
	return true;
}

static void dangle_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block);
	int32_t d = s->n->a.head_dim, half = s->n->width / 2;
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		memset(out, 0, (size_t)s->n->width * sizeof(float));
		for (int32_t h = 0; h < s->in_width[0] / d; h++) {
			const float *x = s->in[0] + r * s->ld[0] + h * d, *dy = s->in[1] + r * s->ld[1] + h * d;
			for (int32_t i = 0; i < half; i++) {
				int32_t a = s->n->a.pairing ? 2 * i : i, b = s->n->a.pairing ? 2 * i + 1 : i + half;
				out[i] += dy[a] * x[a] + dy[b] * x[b];
				out[half + i] += dy[b] * x[a] - dy[a] * x[b];
			}
		}
	}
}

const op op_rotate_dangle = {.name = "rotate_dangle", .shape = dangle_shape, .tasks = step_row_tasks, .forward = dangle_forward};
