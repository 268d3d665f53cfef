/*
 * graph.c - building a graph: nodes, spaces, slots, and the walk that appends gradients.
 *
 * The gradient walk goes from the last forward node to the first. Each node's incoming contributions are added up in the
 * order they were made (graph_flow), then the operation's own gradient function appends what its inputs get:
 *
 *     views of a node hand theirs to the node they look at, which joins them column by column (graph_concat)
 *     a node used k times gets k - 1 additions
 *
 * Nodes appended by the walk have no gradients themselves. What they read of the forward run goes through graph_again, which
 * gives the node itself or one that computes it once more.
 */
#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_ROOM = 64 };

typedef struct flow { /* one contribution to a node's gradient */
	struct flow *next;
	node_id d;
	int32_t column, width; /* the columns it covers */
	bool taken;
} flow;

struct graph {
	arena mem;
	bool train;
	pack_set *ready;
	rebus_status status;
	rebus_error err;
	node *nodes;
	space *spaces;
	slot_info *slots;
	int32_t node_count, node_room, space_count, space_room, slot_count, slot_room;
	flow **flows, **flow_ends; /* [walk_count + 1] */
	node_id *gradients;        /* [walk_count + 1] */
	slot draw;
	node_id *again;            /* [walk_count + 1]: the node made from this one once more, 0 none yet */
	node_id walk_count, first_mark, last_mark;
	again_kind how;
	precision products;
	bool walking;
	bool narrow;
};

bool graph_is_narrow(const graph *g)
{
	return g->narrow;
}

void graph_set_narrow(graph *g)
{
	g->narrow = true;
}

/* Element 0 of each array stands for "none" and is all zero, so that looking at it is harmless. */
static bool first_room(graph *g)
{
	g->nodes = arena_zero(&g->mem, FIRST_ROOM, sizeof *g->nodes);
	g->spaces = arena_zero(&g->mem, FIRST_ROOM, sizeof *g->spaces);
	g->slots = arena_zero(&g->mem, FIRST_ROOM, sizeof *g->slots);
	g->node_room = g->space_room = g->slot_room = FIRST_ROOM;
	return g->nodes && g->spaces && g->slots;
}

rebus_status graph_new(const rebus_allocator *from, bool train, graph **out, rebus_error *err)
{
	arena mem;
	arena_init(&mem, from, 0);
	graph *g = arena_zero(&mem, 1, sizeof *g);
	if (!g) {
		arena_free(&mem);
		return error_memory(err, "a graph");
	}
	g->mem = mem;
	g->train = train;
	if (!first_room(g)) {
		graph_free(g);
		return error_memory(err, "a graph");
	}
	*out = g;
	return REBUS_OK;
}

void graph_use_packs(graph *g, pack_set *p)
{
	if (g->train && packs_precision(p) != PRECISION_F32)
		graph_fail(g, REBUS_UNSUPPORTED, "precision %s: training computes in f32", precision_name(packs_precision(p)));
	else if (!g->train)
		g->ready = p;
}

pack_set *graph_packs(const graph *g)
{
	return g->ready;
}

void graph_free(graph *g)
{
	if (!g)
		return;
	arena mem = g->mem; /* the graph lies in its own arena */
	arena_free(&mem);
}

rebus_status graph_check(const graph *g, rebus_error *err)
{
	if (g->status)
		return error_set(err, g->status, "%s", g->err.text);
	return REBUS_OK;
}

bool graph_fail(graph *g, rebus_status code, const char *format, ...)
{
	if (g->status)
		return false;
	va_list args;
	va_start(args, format);
	char text[sizeof g->err.text];
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	g->status = error_set(&g->err, code, "%s", text);
	return false;
}

const char *graph_text(graph *g, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	const char *copy = arena_text(&g->mem, text, strlen(text));
	if (copy)
		return copy;
	graph_fail(g, REBUS_MEMORY, "no memory for the graph");
	return ""; /* a name to go on with */
}

/* Room for one more element; arrays double, the old copy stays in the arena until the graph goes. */
static void *grow(graph *g, void *array, int32_t count, int32_t *room, size_t size)
{
	if (count + 1 < *room)
		return array;
	int32_t next = *room * 2;
	if (next > GRAPH_NODES) {
		graph_fail(g, REBUS_LIMIT, "a graph of more than %d nodes, spaces or slots", GRAPH_NODES - 1);
		return NULL;
	}
	void *p = arena_zero(&g->mem, (size_t)next, size);
	if (!p) {
		graph_fail(g, REBUS_MEMORY, "no memory for the graph");
		return NULL;
	}
	memcpy(p, array, (size_t)(count + 1) * size);
	*room = next;
	return p;
}

float *graph_constant(graph *g, int64_t count)
{
	float *p = arena_zero(&g->mem, (size_t)count, sizeof *p);
	if (!p)
		graph_fail(g, REBUS_MEMORY, "no memory for the graph");
	return p;
}

static space_id space_add(graph *g, const char *name, int64_t max, bool fixed)
{
	if (g->status)
		return 0;
	if (max < 0 || max > INT32_MAX / 2) {
		graph_fail(g, REBUS_LIMIT, "%s: %lld rows, expected at most %d", name, (long long)max, INT32_MAX / 2);
		return 0;
	}
	space *p = grow(g, g->spaces, g->space_count, &g->space_room, sizeof *p);
	if (!p)
		return 0;
	g->spaces = p;
	g->spaces[++g->space_count] = (space){.name = name, .max = max, .fixed = fixed};
	return g->space_count;
}

space_id graph_space(graph *g, const char *name, int64_t max)
{
	return space_add(g, name, max, false);
}

space_id graph_space_fixed(graph *g, int64_t rows)
{
	for (int32_t i = 1; i <= g->space_count; i++)
		if (g->spaces[i].fixed && g->spaces[i].max == rows)
			return i;
	return space_add(g, "parameters", rows, true);
}

static slot slot_add(graph *g, slot_info info)
{
	if (g->status)
		return 0;
	if (info.rows < 1 || info.rows > g->space_count || info.kv_rows < 0 || info.kv_rows > g->space_count) {
		graph_fail(g, REBUS_SHAPE, "slot %s: no such space", info.name);
		return 0;
	}
	int64_t values = g->spaces[info.rows].max * int_max(info.taps, 1);
	if (values > INT32_MAX || (info.kind == SLOT_MAP && info.taps < 1) || (info.kind == SLOT_LAYOUT && !info.kv_rows) ||
	    ((info.kind == SLOT_COLUMN || info.kind == SLOT_INPUT) && info.width < 1)) {
		graph_fail(g, REBUS_LIMIT, "slot %s: %lld rows, %d sources a row, width %lld: out of range", info.name, (long long)g->spaces[info.rows].max,
			info.taps, (long long)info.width);
		return 0;
	}
	slot_info *p = grow(g, g->slots, g->slot_count, &g->slot_room, sizeof *p);
	if (!p)
		return 0;
	g->slots = p;
	g->slots[++g->slot_count] = info;
	return g->slot_count;
}

slot graph_slot_layout(graph *g, const char *name, space_id q, space_id kv)
{
	return slot_add(g, (slot_info){.kind = SLOT_LAYOUT, .name = name, .rows = q, .kv_rows = kv});
}

slot graph_slot_map(graph *g, const char *name, space_id out, int32_t taps, bool concat)
{
	return slot_add(g, (slot_info){.kind = SLOT_MAP, .name = name, .rows = out, .taps = taps, .concat = concat});
}

slot graph_slot_column(graph *g, const char *name, space_id rows, int32_t width)
{
	return slot_add(g, (slot_info){.kind = SLOT_COLUMN, .name = name, .rows = rows, .width = width});
}

slot graph_slot_transposed(graph *g, slot map, int64_t rows_in)
{
	for (slot i = 1; i <= g->slot_count; i++)
		if (g->slots[i].transposed_of == map && g->slots[i].rows_in == rows_in)
			return i;
	slot_info from = g->slots[map];
	return slot_add(g, (slot_info){.kind = SLOT_MAP, .name = from.name, .rows = from.rows, .taps = from.taps, .transposed_of = map, .rows_in = rows_in});
}

bool graph_slot_is(const graph *g, slot id, slot_kind kind, space_id rows)
{
	return id > 0 && id <= g->slot_count && g->slots[id].kind == kind && g->slots[id].rows == rows;
}

slot graph_draw(graph *g, bool make)
{
	if (!g->draw && make)
		g->draw = slot_add(g, (slot_info){.kind = SLOT_COLUMN, .name = "draw", .rows = graph_space_fixed(g, 1), .width = 4});
	return g->draw;
}

int32_t graph_count(const graph *g)
{
	return g->node_count;
}

const node *graph_node(const graph *g, node_id id)
{
	return &g->nodes[id];
}

const space *graph_space_info(const graph *g, space_id id)
{
	return &g->spaces[id];
}

const slot_info *graph_slot_info(const graph *g, slot id)
{
	return &g->slots[id];
}

int32_t graph_spaces(const graph *g)
{
	return g->space_count;
}

int32_t graph_slots(const graph *g)
{
	return g->slot_count;
}

int64_t graph_rows_max(const graph *g, node_id id)
{
	return g->spaces[g->nodes[id].rows].max;
}

node_id graph_find(const graph *g, const char *name)
{
	for (node_id i = g->node_count; i > 0; i--)
		if (g->nodes[i].name && !strcmp(g->nodes[i].name, name))
			return i;
	return 0;
}

void graph_keep(graph *g, node_id id)
{
	if (id > 0 && id <= g->node_count)
		g->nodes[id].keep = true;
}

void graph_unkeep(graph *g, node_id id)
{
	if (id > 0 && id <= g->node_count)
		g->nodes[id].keep = false;
}

void graph_rename(graph *g, node_id id, const char *name)
{
	if (id > 0 && id <= g->node_count)
		g->nodes[id].name = name;
}

void graph_freeze(graph *g, node_id id)
{
	if (id > 0 && id <= g->node_count)
		g->nodes[id].frozen = true;
}

void graph_want(graph *g, node_id input)
{
	if (input > 0 && input <= g->node_count)
		g->nodes[input].needs_grad = true;
}

bool graph_needs(const graph *g, node_id id)
{
	return id > 0 && g->nodes[id].needs_grad;
}

/* Whether a node's rows are f32 where they lie. A parameter's may be of another type, or lie in parts. */
static bool is_plain(const graph *g, node_id id)
{
	const node *n = &g->nodes[id];
	if (n->op != &op_param)
		return true;
	return n->w->f32 || (n->w->parts == 1 && (n->a.which == 1 || n->w->part[0].type == DT_F32));
}

/* Matrix products read the weight itself, moves one matrix of any type; everything else wants f32. */
static bool can_read(graph *g, const node *n, int i)
{
	const node *in = &g->nodes[n->in[i]];
	if (in->op == &op_narrow && n->op != &op_linear)
		return graph_fail(g, REBUS_SHAPE, "%s: reads rows rounded for a product", n->name ? n->name : n->op->name);
	if (((n->op == &op_linear || n->op == &op_linear_dx) && i > 0) || is_plain(g, n->in[i]))
		return true;
	if (n->op == &op_move && in->w->parts == 1)
		return true;
	return graph_fail(g, REBUS_UNSUPPORTED, "%s: reads %s, which is not one matrix of f32", n->name ? n->name : n->op->name,
		in->name ? in->name : "a parameter");
}

/* ------------------------------------------------------------------------------------------------ once more */
void graph_recompute(graph *g, again_kind how)
{
	g->how = how;
}

void graph_round(graph *g, precision as)
{
	g->products = as;
}

precision graph_rounds(const graph *g)
{
	return g->products;
}

void graph_mark(graph *g, node_id id)
{
	if (id > 0 && id <= g->node_count)
		g->nodes[id].mark = true;
}

static bool is_cheap(const op *o)
{
	return o == &op_act || o == &op_gate || o == &op_layer_norm || o == &op_rms_norm || o == &op_rotate || o == &op_narrow ||
		o == &op_dropout;
}

static bool is_kept(const graph *g, node_id id)
{
	const node *n = &g->nodes[id];
	if (n->keep || n->mark || !n->op->forward)
		return true;
	return g->how == AGAIN_BLOCKS && id < g->last_mark ? id < g->first_mark : !is_cheap(n->op);
}

node_id graph_again(graph *g, node_id id)
{
	if (!g->walking || id < 1 || id > g->walk_count || g->status)
		return id;
	node n = g->nodes[id];
	if (n.view_of) {
		node_id of = graph_again(g, n.view_of);
		return of == n.view_of ? id : graph_view(g, of, n.column, n.width);
	}
	if (is_kept(g, id))
		return id;
	if (g->again[id])
		return g->again[id];
	int count = NODE_INPUTS;
	while (count > 0 && !n.in[count - 1])
		count--;
	return g->again[id] = graph_append(g, n.op, NULL, n.in, count, n.w, &n.a);
}

node_id graph_append(graph *g, const op *kind, const char *name, const node_id *in, int count, const weight *w, const attr *a)
{
	if (g->status)
		return 0;
	node n = {.op = kind, .name = name, .w = w};
	if (a)
		n.a = *a;
	for (int i = 0; i < count; i++) {
		if (in[i] < 0 || in[i] > g->node_count || (!i && !in[i])) {
			graph_fail(g, REBUS_SHAPE, "%s: input %d is no node", name ? name : kind->name, i);
			return 0;
		}
		n.in[i] = graph_again(g, in[i]);
		if (in[i] && !can_read(g, &n, i))
			return 0;
	}
	if (!kind->shape(g, &n)) {
		if (!g->status)
			graph_fail(g, REBUS_SHAPE, "%s: inputs do not fit", name ? name : kind->name);
		return 0;
	}
	node *p = grow(g, g->nodes, g->node_count, &g->node_room, sizeof *p);
	if (!p)
		return 0;
	g->nodes = p;
	g->nodes[++g->node_count] = n;
	return g->node_count;
}

/* ------------------------------------------------------------------------------------------------ gradients */
void graph_flow(graph *g, node_id to, node_id d)
{
	if (!d || !graph_needs(g, to) || g->status)
		return;
	int32_t column = 0, width = g->nodes[to].width;
	while (g->nodes[to].view_of) {
		column += g->nodes[to].column;
		to = g->nodes[to].view_of;
	}
	if (to > g->walk_count)
		return;
	flow *f = arena_zero(&g->mem, 1, sizeof *f);
	if (!f) {
		graph_fail(g, REBUS_MEMORY, "no memory for the graph");
		return;
	}
	*f = (flow){.d = d, .column = column, .width = width};
	if (g->flow_ends[to])
		g->flow_ends[to]->next = f;
	else
		g->flows[to] = f;
	g->flow_ends[to] = f;
}

static node_id constant_like(graph *g, node_id of, int32_t width, float value)
{
	attr a = {.of = of, .which = width, .eps = value};
	return graph_append(g, &op_constant, NULL, NULL, 0, NULL, &a);
}

/* The parts not yet taken, in ascending columns without overlap, joined side by side; missing columns are zero. 0: none left. */
static node_id flow_layer(graph *g, node_id id)
{
	node_id parts[NODE_INPUTS];
	int count = 0;
	int32_t at = 0, width = g->nodes[id].width;
	while (count + 2 < NODE_INPUTS) {
		flow *best = NULL;
		for (flow *f = g->flows[id]; f; f = f->next)
			if (!f->taken && f->column >= at && (!best || f->column < best->column))
				best = f;
		if (!best)
			break;
		if (best->column > at)
			parts[count++] = constant_like(g, id, best->column - at, 0);
		parts[count++] = best->d;
		best->taken = true;
		at = best->column + best->width;
	}
	if (!count)
		return 0;
	if (at < width)
		parts[count++] = constant_like(g, id, width - at, 0);
	return count == 1 ? parts[0] : graph_concat(g, NULL, parts, count);
}

/* Everything that flows into a node, added in the order it came; whole ones first, then those of its views. */
static node_id flow_sum(graph *g, node_id id)
{
	node_id sum = 0, d;
	for (flow *f = g->flows[id]; f; f = f->next)
		if (f->width == g->nodes[id].width) {
			f->taken = true;
			sum = sum ? graph_add(g, NULL, sum, f->d) : f->d;
		}
	while (!g->status && (d = flow_layer(g, id)))
		sum = sum ? graph_add(g, NULL, sum, d) : d;
	return sum;
}

/* Who needs a gradient: parameters and wanted inputs that are not frozen, and what is computed from one that does. */
static void find_needs(graph *g)
{
	for (node_id id = 1; id <= g->node_count; id++) {
		node *n = &g->nodes[id];
		for (int i = 0; i < NODE_INPUTS; i++)
			n->needs_grad |= g->nodes[n->in[i]].needs_grad;
		n->needs_grad &= !n->frozen;
	}
}

static bool seed_fits(graph *g, node_id out, node_id seed)
{
	if (out < 1 || out > g->node_count || seed < 0 || seed > g->node_count)
		return graph_fail(g, REBUS_SHAPE, "graph_gradient: no such node");
	const node *o = &g->nodes[out], *s = &g->nodes[seed];
	if (seed && (o->rows != s->rows || o->width != s->width))
		return graph_fail(g, REBUS_SHAPE, "graph_gradient: a seed of %d columns for %s of %d, or of other rows", s->width, o->name ? o->name : "an output",
			o->width);
	return true;
}

void graph_gradient(graph *g, const node_id *out, const node_id *seed, int count)
{
	if (g->status)
		return;
	if (packs_precision(g->ready) != PRECISION_F32) {
		graph_fail(g, REBUS_UNSUPPORTED, "precision %s: gradients are computed in f32", precision_name(packs_precision(g->ready)));
		return;
	}
	if (g->gradients) {
		graph_fail(g, REBUS_SHAPE, "graph_gradient: called twice");
		return;
	}
	for (int i = 0; i < count; i++)
		if (!seed_fits(g, out[i], seed ? seed[i] : 0))
			return;
	find_needs(g);
	size_t n = (size_t)g->node_count + 1;
	g->flows = arena_zero(&g->mem, n, sizeof(flow *));
	g->flow_ends = arena_zero(&g->mem, n, sizeof(flow *));
	g->gradients = arena_zero(&g->mem, n, sizeof(node_id));
	g->again = arena_zero(&g->mem, n, sizeof(node_id));
	if (!g->flows || !g->flow_ends || !g->gradients || !g->again) {
		graph_fail(g, REBUS_MEMORY, "no memory for the graph");
		return;
	}
	g->walk_count = g->node_count;
	g->walking = true;
	for (node_id id = g->node_count; id > 0; id--) {
		g->last_mark = g->nodes[id].mark ? (g->last_mark ? g->last_mark : id) : g->last_mark;
		g->first_mark = g->nodes[id].mark ? id : g->first_mark;
	}
	for (int i = 0; i < count && !g->status; i++) {
		node_id d = seed ? seed[i] : 0;
		graph_flow(g, out[i], d ? d : constant_like(g, out[i], g->nodes[out[i]].width, 1));
	}
	for (node_id id = g->walk_count; id > 0 && !g->status; id--) {
		if (!g->flows[id])
			continue;
		node_id d = flow_sum(g, id);
		if (g->status)
			break;
		g->gradients[id] = d;
		if (g->nodes[id].op->gradient)
			g->nodes[id].op->gradient(g, id, d);
	}
	g->walking = false;
}

node_id graph_gradient_of(const graph *g, node_id id)
{
	return g->gradients && id > 0 && id <= g->walk_count ? g->gradients[id] : 0;
}

void graph_set_lse(graph *g, node_id attend, node_id lse)
{
	g->nodes[attend].lse = lse;
}

bool graph_trains(const graph *g)
{
	return g->train;
}
