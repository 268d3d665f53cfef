/*
 * early.c - rows that nobody reads are not computed: a selection of rows, moved up through what works on each row by itself.
 *
 *     x ─► attend ─► out ─► + ─► norm ─► up ─► act ─► down ─► + ─► norm ─► pick          all rows of the last block
 *     x ─► attend ─► pick ─► out ─► + ─► norm ─► up ─► act ─► down ─► + ─► norm           the picked ones
 *
 * A class is read from one row of a picture and an answer from the rows that learn, so most of the last block's work is
 * for nothing. The nodes above the selection are made again in its own space; the old ones stay in the graph, and a plan
 * leaves out what no output needs. Only while the graph is built, and only in training: with fewer than 8 rows a product
 * adds in another order (docs/numerics.md), and what a picture gives must not depend on its company.
 */
#include "graph/graph.h"

typedef struct lift {
	graph *g;
	slot map;
	space_id from, to;
	bool *early;    /* [nodes + 1]: made again */
	node_id *made;  /* [nodes + 1] */
} lift;

static bool by_rows(const op *o)
{
	return o == &op_linear || o == &op_add || o == &op_act || o == &op_gate || o == &op_scale || o == &op_scale_columns || o == &op_layer_norm ||
		o == &op_rms_norm;
}

/* A node goes up where all that read it do. */
static void find_early(const lift *l, node_id x, bool *read)
{
	l->early[x] = by_rows(graph_node(l->g, x)->op);
	for (node_id id = graph_count(l->g); id > x; id--) /* readers beside the selection, but not of x itself */
		for (int i = 0; i < NODE_INPUTS; i++)
			read[graph_node(l->g, id)->in[i]] |= graph_node(l->g, id)->in[i] != x;
	for (node_id id = x; id > 0; id--) {
		const node *n = graph_node(l->g, id);
		if (id < x)
			l->early[id] = l->early[id] && !read[id] && by_rows(n->op) && n->rows == l->from;
		for (int i = 0; i < NODE_INPUTS; i++) {
			if (l->early[id])
				l->early[n->in[i]] = true;
			else
				read[n->in[i]] = true;
		}
		read[n->view_of] |= n->view_of > 0;
	}
}

static node_id select_rows(lift *l, node_id id)
{
	return graph_append(l->g, &op_move, NULL, &id, 1, NULL, &(attr){.at = l->map});
}

/* In ascending order, so that what a node reads is there. */
static node_id make_again(lift *l, node_id x)
{
	for (node_id id = 1; id <= x; id++) {
		if (!l->early[id])
			continue;
		node n = *graph_node(l->g, id);
		for (int i = 0; i < NODE_INPUTS; i++) {
			node_id in = n.in[i];
			if (!in || graph_node(l->g, in)->rows != l->from)
				continue;
			if (!l->made[in])
				l->made[in] = select_rows(l, in);
			n.in[i] = l->made[in];
		}
		int count = NODE_INPUTS;
		while (count > 0 && !n.in[count - 1])
			count--;
		l->made[id] = graph_append(l->g, n.op, NULL, n.in, count, n.w, &n.a);
	}
	return l->made[x];
}

node_id graph_move_early(graph *g, const char *name, node_id x, space_id out, slot map)
{
	const slot_info *s = graph_slot_info(g, map);
	bool fits = graph_slot_is(g, map, SLOT_MAP, out) && s->taps == 1 && !s->concat && !graph_check(g, NULL);
	if (!fits || x < 1 || !by_rows(graph_node(g, x)->op) || graph_packs(g))
		return graph_move(g, name, &x, 1, out, map);
	size_t count = (size_t)graph_count(g) + 1;
	arena mem;
	arena_init(&mem, NULL, 0);
	lift l = {.g = g, .map = map, .from = graph_node(g, x)->rows, .to = out, .early = arena_zero(&mem, count, sizeof *l.early),
		.made = arena_zero(&mem, count, sizeof *l.made)};
	bool *read = arena_zero(&mem, count, sizeof *read);
	node_id y = 0;
	if (l.early && l.made && read) {
		find_early(&l, x, read);
		y = make_again(&l, x);
		graph_rename(g, y, name);
	} else {
		graph_fail(g, REBUS_MEMORY, "no memory for the graph");
	}
	arena_free(&mem);
	return y;
}
