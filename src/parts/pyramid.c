/* pyramid.c - see pyramid.h. */
#include "parts/pyramid.h"

#include <math.h>

/* The highest logarithm of a head's scale: ln 100. */
static const float SCALE_MOST = 4.605170185988092f;

static net_cut *cut_of(net *n, int32_t stage, bool shifted)
{
	net_cut *c = &n->stage[stage].cut[shifted];
	graph *g = n->g;
	if (!c->into) {
		space_id rows = n->stage[stage].rows;
		c->into = graph_slot_map(g, "into windows", c->rows, 1, false);
		c->back = graph_slot_map(g, "out of windows", rows, 1, false);
		c->at = graph_slot_layout(g, "windows", c->rows, c->rows);
		c->place = graph_slot_column(g, "places in windows", c->rows, 3);
	}
	return c;
}

/* sign(d) log2(8 |d| / most + 1) / log2 8 of a distance in a window; as the reference rounds it. */
static float log_distance(int32_t d, int32_t window, int32_t trained)
{
	float x = (float)d, by = trained > 0 ? (float)(trained - 1) : (float)(window - 1);
	if (by > 0)
		x /= by;
	x *= 8.0f;
	return (x < 0 ? -1.0f : x > 0 ? 1.0f : 0.0f) * log2f(fabsf(x) + 1.0f) / 3.0f;
}

/* Every distance of two rows of a window, [(2 height - 1) (2 width - 1), 2]; nothing to train. */
static node_id distances(net *n, const window_options *o)
{
	int32_t wide = 2 * o->window[1] - 1, all = (2 * o->window[0] - 1) * wide;
	float *data = graph_constant(n->g, (int64_t)all * 2);
	weight *w = arena_zero(&n->mem, 1, sizeof *w);
	if (!data || !w) {
		graph_fail(n->g, REBUS_MEMORY, "no memory for a table of distances");
		return 0;
	}
	for (int32_t i = 0; i < all; i++) {
		data[2 * i] = log_distance(i / wide - o->window[0] + 1, o->window[0], o->trained);
		data[2 * i + 1] = log_distance(i % wide - o->window[1] + 1, o->window[1], o->trained);
	}
	*w = (weight){.name = "distances", .parts = 1, .part[0] = {data, DT_F32, all, 2}, .out = all, .in = 2};
	node_id id = graph_param(n->g, w);
	graph_freeze(n->g, id);
	return id;
}

static node_id score_table(net *n, const char *name, const block_weights *w, const window_options *o)
{
	graph *g = n->g;
	if (!o->cosine)
		return graph_param(g, &w->table);
	node_id t = graph_linear(g, graph_text(g, "%s.continuous_position_bias_mlp.0", name), distances(n, o), &w->table_up);
	t = graph_act(g, graph_text(g, "%s.continuous_position_bias_mlp.1", name), ACT_RELU, t);
	t = graph_linear(g, graph_text(g, "%s.continuous_position_bias_mlp.2", name), t, &w->table_down);
	t = graph_act(g, graph_text(g, "%s.bias_sigmoid", name), ACT_SIGMOID, t);
	return graph_scale(g, graph_text(g, "%s.bias", name), t, 16.0f);
}

static node_id window_attention(net *n, const char *name, node_id x, const block_weights *w, const window_options *o, bool shifted)
{
	graph *g = n->g;
	const net_cut *c = cut_of(n, o->stage, shifted);
	int32_t d = (int32_t)o->block.head_dim, heads = (int32_t)o->block.heads, wide = heads * d;
	x = graph_move(g, graph_text(g, "%s.windows", name), &x, 1, c->rows, c->into);
	node_id qkv = graph_linear(g, graph_text(g, "%s.qkv", name), x, &w->qkv);
	node_id q = graph_view(g, qkv, 0, wide), k = graph_view(g, qkv, wide, wide), v = graph_view(g, qkv, 2 * wide, wide);
	if (o->cosine) {
		q = graph_cosine(g, graph_text(g, "%s.unit_q", name), q, &w->table_scale, d, SCALE_MOST);
		k = graph_cosine(g, graph_text(g, "%s.unit_k", name), k, NULL, d, 0);
	}
	attention spec = {.heads = heads, .kv_heads = heads, .head_dim = d, .v_dim = d, .scale = o->cosine ? 1.0f : (float)(1.0 / sqrt((double)d)),
		.bias = {.kind = BIAS_GRID, .side = {o->window[0], o->window[1]}, .other_region = o->other_region}};
	node_id y = graph_attend(g, graph_text(g, "%s.attend", name), q, k, v, &spec, c->at, score_table(n, name, w, o), c->place, c->place);
	y = graph_move(g, graph_text(g, "%s.rows", name), &y, 1, n->stage[o->stage].rows, c->back);
	return graph_linear(g, name, y, &w->out);
}

node_id part_window_block(net *n, const char *name, node_id x, const block_weights *w, const window_options *o, bool shifted)
{
	graph *g = n->g;
	const block_options *b = &o->block;
	const char *first = graph_text(g, "%s.%s", name, b->attention), *second = graph_text(g, "%s.%s", name, b->mlp);
	const char *norm1 = graph_text(g, "%s.norm1", name), *norm2 = graph_text(g, "%s.norm2", name);
	node_id y = o->after ? x : part_norm(n, norm1, x, &w->norm1, &w->norm1_bias, b);
	y = window_attention(n, first, y, w, o, shifted);
	y = o->after ? part_norm(n, norm1, y, &w->norm1, &w->norm1_bias, b) : y;
	x = graph_add(g, graph_text(g, "%s.middle", name), x, part_chance(n, first, y));
	y = o->after ? x : part_norm(n, norm2, x, &w->norm2, &w->norm2_bias, b);
	y = part_mlp(n, second, y, &w->up, &w->down, b);
	y = o->after ? part_norm(n, norm2, y, &w->norm2, &w->norm2_bias, b) : y;
	y = part_chance(n, second, y);
	n->block++;
	return graph_add(g, name, x, y);
}

node_id part_merge(net *n, const char *name, node_id x, int32_t stage)
{
	net_stage *s = &n->stage[stage];
	space_id to = n->stage[stage + 1].rows;
	if (!s->merge)
		s->merge = graph_slot_map(n->g, "merge", to, 4, true);
	return graph_move(n->g, name, &x, 1, to, s->merge);
}
