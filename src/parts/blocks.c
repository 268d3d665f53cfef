/* blocks.c - see blocks.h. */
#include "parts/blocks.h"

#include <math.h>

static const weight *present(const weight *w)
{
	return w && w->parts ? w : NULL;
}

node_id part_norm(net *n, const char *name, node_id x, const weight *w, const weight *b, const block_options *o)
{
	return o->rms ? graph_rms_norm(n->g, name, x, w, (float)o->eps) : graph_layer_norm(n->g, name, x, present(w), present(b), (float)o->eps);
}

static slot self_layout(net *n, const block_options *o)
{
	slot *at = o->near ? &n->near : &n->self;
	if (o->at)
		return o->at;
	if (!*at)
		*at = graph_slot_layout(n->g, o->near ? "near" : "self", n->rows, n->size.cache > 0 ? n->cache : n->rows);
	return *at;
}

/* Queries or keys: their norms, their angles. */
static node_id turned(net *n, const char *name, node_id x, const weight *norm, const block_options *o)
{
	if (present(norm))
		x = graph_rms_norm_heads(n->g, graph_text(n->g, "%s_norm", name), x, norm, (int32_t)o->head_dim, (float)o->eps);
	node_id angles = o->near && n->near_angles ? n->near_angles : n->angles;
	return o->rotary ? graph_rotate(n->g, graph_text(n->g, "%s_rotary", name), x, angles, (int32_t)o->head_dim, o->pairs) : x;
}

/* Scores with a bias by distance; returns where the keys' places come from. */
static slot by_distance(net *n, const block_options *o, attention *spec)
{
	spec->bias = (bias_spec){.kind = BIAS_BUCKET, .buckets = (int32_t)o->buckets->out, .far = (int32_t)o->far, .both_ways = o->both_ways};
	bool cached = n->size.cache > 0;
	if (!n->order)
		n->order = graph_slot_column(n->g, "order", n->rows, 3);
	if (cached && !n->cache_order)
		n->cache_order = graph_slot_column(n->g, "order in the cache", n->cache, 3);
	return cached ? n->cache_order : n->order;
}

node_id part_attention(net *n, const char *name, node_id x, const block_weights *w, const block_options *o)
{
	graph *g = n->g;
	int32_t d = (int32_t)o->head_dim, wide = (int32_t)o->heads * d, narrow = (int32_t)o->kv_heads * d;
	bool cached = n->size.cache > 0;
	node_id qkv = graph_linear(g, graph_text(g, "%s.qkv", name), x, &w->qkv);
	node_id q = graph_view(g, qkv, 0, wide), k = graph_view(g, qkv, wide, narrow), v = graph_view(g, qkv, wide + narrow, narrow);
	q = turned(n, graph_text(g, "%s.q", name), q, &w->q_norm, o);
	k = turned(n, graph_text(g, "%s.k", name), k, &w->k_norm, o);
	if (cached) {
		if (!n->where)
			n->where = graph_slot_column(g, "cache row", n->rows, 1);
		k = graph_cache(g, graph_text(g, "%s.cache_k", name), k, n->cache, n->where);
		v = graph_cache(g, graph_text(g, "%s.cache_v", name), v, n->cache, n->where);
	}
	attention spec = {.heads = (int32_t)o->heads, .kv_heads = (int32_t)o->kv_heads, .head_dim = d, .v_dim = d, .cap = (float)o->cap};
	spec.scale = (float)(o->scale > 0 ? o->scale : 1.0 / sqrt((double)d));
	const char *attend = graph_text(g, "%s.attend", name);
	if (!o->buckets)
		return graph_linear(g, name, graph_attend(g, attend, q, k, v, &spec, self_layout(n, o), 0, 0, 0), &w->out);
	slot key_order = by_distance(n, o, &spec);
	node_id y = graph_attend(g, attend, q, k, v, &spec, self_layout(n, o), graph_param(g, o->buckets), n->order, key_order);
	return graph_linear(g, name, y, &w->out);
}

void part_features(net *n, int64_t width)
{
	n->given = graph_input(n->g, "features", n->features, (int32_t)width, &n->features_in);
	if (n->wants.train) /* the seed of the gradient of whatever made them */
		graph_want(n->g, n->given);
}

node_id part_cross(net *n, const char *name, node_id x, const cross_weights *w, const block_options *o)
{
	graph *g = n->g;
	int32_t d = (int32_t)o->head_dim, wide = (int32_t)o->heads * d;
	bool kept = n->size.memory > 0;
	if (!n->cross)
		n->cross = graph_slot_layout(g, "cross", n->rows, kept ? n->memory : n->features);
	if (kept && !n->where_memory)
		n->where_memory = graph_slot_column(g, "row of the memory", n->features, 1);
	node_id q = graph_linear(g, graph_text(g, "%s.q", name), x, &w->q), kv = graph_linear(g, graph_text(g, "%s.kv", name), n->given, &w->kv);
	if (kept)
		kv = graph_cache(g, graph_text(g, "%s.memory", name), kv, n->memory, n->where_memory);
	attention spec = {.heads = (int32_t)o->heads, .kv_heads = (int32_t)o->heads, .head_dim = d, .v_dim = d};
	spec.scale = (float)(o->scale > 0 ? o->scale : 1.0 / sqrt((double)d));
	node_id y = graph_attend(g, graph_text(g, "%s.attend", name), q, graph_view(g, kv, 0, wide), graph_view(g, kv, wide, wide), &spec, n->cross, 0, 0, 0);
	return graph_linear(g, name, y, &w->out);
}

node_id part_mlp(net *n, const char *name, node_id x, const weight *first, const weight *last, const block_options *o)
{
	graph *g = n->g;
	node_id up = graph_linear(g, graph_text(g, "%s.up", name), x, first);
	if (!up)
		return 0;
	node_id h;
	if (o->gated) {
		int32_t half = graph_node(g, up)->width / 2;
		h = graph_gate(g, graph_text(g, "%s.gate", name), o->act, graph_view(g, up, 0, half), graph_view(g, up, half, half));
	} else {
		h = graph_act(g, graph_text(g, "%s.act", name), o->act, up);
	}
	return graph_linear(g, name, h, last);
}

static node_id scaled(net *n, const char *name, node_id x, const weight *w)
{
	return present(w) ? graph_scale_columns(n->g, name, x, w) : x;
}

/* Where the column of a node's samples is; NULL: its rows are neither the table's nor a stage's. */
static slot *samples_of(net *n, node_id x)
{
	space_id rows = x ? graph_node(n->g, x)->rows : 0;
	if (rows == n->rows)
		return &n->sample;
	for (int32_t s = 1; s < PYRAMID_STAGES; s++)
		if (n->stage[s].rows && n->stage[s].rows == rows)
			return &n->stage[s].sample;
	return NULL;
}

node_id part_chance(net *n, const char *name, node_id x)
{
	const net_wants *w = &n->wants;
	slot *samples = samples_of(n, x);
	if (!w->train || (!(w->dropout > 0) && !(w->drop_path > 0)))
		return x;
	x = graph_dropout(n->g, graph_text(n->g, "%s.dropout", name), x, w->dropout);
	if (!(w->drop_path > 0) || !samples)
		return x;
	if (!*samples)
		*samples = graph_slot_column(n->g, "sample", graph_node(n->g, x)->rows, 1);
	float share = w->blocks > 1 ? w->drop_path * (float)int_min(n->block, w->blocks - 1) / (float)(w->blocks - 1) : w->drop_path;
	return graph_drop_path(n->g, graph_text(n->g, "%s.drop_path", name), x, share, *samples);
}

/* Vaswani et al. 2017, as BERT has it. */
static node_id block_after(net *n, const char *name, node_id x, const block_weights *w, const block_options *o)
{
	graph *g = n->g;
	const char *first = graph_text(g, "%s.%s", name, o->attention), *second = graph_text(g, "%s.%s", name, o->mlp);
	node_id a = part_chance(n, first, part_attention(n, first, x, w, o));
	x = graph_add(g, graph_text(g, "%s.sum1", name), x, a);
	x = part_norm(n, graph_text(g, "%s.middle", name), x, &w->norm1, &w->norm1_bias, o);
	node_id b = part_chance(n, second, part_mlp(n, second, x, &w->up, &w->down, o));
	n->block++;
	x = graph_add(g, graph_text(g, "%s.sum2", name), x, b);
	return part_norm(n, name, x, &w->norm2, &w->norm2_bias, o);
}

static node_id after(net *n, const char *name, node_id x, const weight *w, const block_options *o)
{
	return present(w) ? part_norm(n, name, x, w, NULL, o) : x;
}

node_id part_block(net *n, const char *name, node_id x, const block_weights *w, const block_options *o)
{
	graph *g = n->g;
	if (o->after)
		return block_after(n, name, x, w, o);
	const char *first = graph_text(g, "%s.%s", name, o->attention), *second = graph_text(g, "%s.%s", name, o->mlp);
	node_id a = part_attention(n, first, part_norm(n, graph_text(g, "%s.norm1", name), x, &w->norm1, &w->norm1_bias, o), w, o);
	a = after(n, graph_text(g, "%s.after1", name), a, &w->after1, o);
	a = part_chance(n, first, scaled(n, graph_text(g, "%s.scale1", name), a, &w->scale1));
	x = graph_add(g, graph_text(g, "%s.middle", name), x, a);
	node_id b = part_mlp(n, second, part_norm(n, graph_text(g, "%s.norm2", name), x, &w->norm2, &w->norm2_bias, o), &w->up, &w->down, o);
	b = after(n, graph_text(g, "%s.after2", name), b, &w->after2, o);
	b = part_chance(n, second, scaled(n, graph_text(g, "%s.scale2", name), b, &w->scale2));
	n->block++;
	return graph_add(g, name, x, b);
}

static slot source_map(net *n)
{
	if (!n->source)
		n->source = graph_slot_map(n->g, "embedding", n->rows, 1, false);
	return n->source;
}

static node_id add_positions(net *n, const char *name, node_id x, const weight *table, int32_t taps)
{
	if (!n->position)
		n->position = graph_slot_map(n->g, "position", n->rows, n->wants.train ? taps : POSITION_TAPS_MOST, false);
	node_id t = graph_param(n->g, table);
	node_id p = graph_move(n->g, graph_text(n->g, "%s.position", name), &t, 1, n->rows, n->position);
	return graph_add(n->g, name, x, p);
}

node_id part_positions(net *n, const char *name, node_id x, const weight *table)
{
	return add_positions(n, name, x, table, POSITION_TAPS);
}

node_id part_patch_embedding(net *n, const char *name, const weight *patch, const weight *const *learned, int count, const weight *position)
{
	graph *g = n->g;
	node_id in = graph_input(g, "patches", n->patches, (int32_t)patch->in, &n->patches_in);
	node_id rows[NODE_INPUTS] = {graph_linear(g, graph_text(g, "%s.patch", name), in, patch)};
	for (int i = 0; i < count && i + 1 < NODE_INPUTS; i++)
		rows[i + 1] = graph_param(g, learned[i]);
	node_id x = graph_move(g, graph_text(g, "%s.rows", name), rows, count + 1, n->rows, source_map(n));
	x = present(position) ? add_positions(n, name, x, position, POSITION_TAPS) : x;
	return n->wants.train ? graph_dropout(g, graph_text(g, "%s.dropout", name), x, n->wants.dropout) : x;
}

/* What is scaled afterwards is divided before: features. */
static node_id embedding(net *n, const char *name, const weight *table, bool features, float divide)
{
	node_id rows[2] = {graph_param(n->g, table), 0};
	int count = 1;
	if (features) {
		node_id in = rows[count++] = graph_input(n->g, "features", n->features, (int32_t)table->in, &n->features_in);
		if (n->wants.train) /* the seed of the gradient of whatever made them */
			graph_want(n->g, in);
		if (divide != 1)
			rows[1] = graph_scale(n->g, graph_text(n->g, "%s.features", name), in, 1 / divide);
	}
	return graph_move(n->g, name, rows, count, n->rows, source_map(n));
}

node_id part_token_embedding(net *n, const char *name, const weight *table, bool features)
{
	return embedding(n, name, table, features, 1);
}

node_id part_scaled_embedding(net *n, const char *name, const weight *table, bool features, float scale)
{
	return graph_scale(n->g, name, embedding(n, graph_text(n->g, "%s.rows", name), table, features, scale), scale);
}

node_id part_order_embedding(net *n, const char *name, node_id x, const weight *table)
{
	return add_positions(n, name, x, table, 1);
}

node_id part_segment_embedding(net *n, const char *name, node_id x, const weight *table)
{
	if (!n->segment)
		n->segment = graph_slot_map(n->g, "segment", n->rows, 1, false);
	node_id t = graph_param(n->g, table);
	node_id s = graph_move(n->g, graph_text(n->g, "%s.segment", name), &t, 1, n->rows, n->segment);
	return graph_add(n->g, graph_text(n->g, "%s.words", name), x, s);
}

node_id part_pick(net *n, const char *name, node_id x)
{
	if (!n->pick)
		n->pick = graph_slot_map(n->g, "pick", n->picked, 1, false);
	if (n->wants.train)
		return graph_move_early(n->g, name, x, n->picked, n->pick);
	return graph_move(n->g, name, &x, 1, n->picked, n->pick);
}

node_id part_head(net *n, const char *name, node_id x, const weight *own, const weight *tied)
{
	if (present(own) || tied)
		return graph_linear(n->g, name, x, present(own) ? own : tied);
	graph_fail(n->g, REBUS_SHAPE, "%s.weight: not in the checkpoint, and config.json does not tie it to the embedding", name);
	return 0;
}

node_id part_pool(net *n, const char *name, node_id x)
{
	if (!n->pool)
		n->pool = graph_slot_map(n->g, "pool", n->picked, (int32_t)n->size.rows, false);
	return graph_move(n->g, name, &x, 1, n->picked, n->pool);
}

void part_angles(net *n, int64_t turned_, bool near)
{
	node_id x = graph_input(n->g, near ? "near angles" : "angles", n->rows, (int32_t)turned_, near ? &n->near_angles_in : &n->angles_in);
	*(near ? &n->near_angles : &n->angles) = x;
}

/*
 * The one tensor of query, key and value multiplies the probe and the rows whole: what is not needed of it is a row and a
 * third of one product.
 */
node_id part_probe(net *n, const char *name, node_id x, const probe_weights *w, const block_options *o)
{
	graph *g = n->g;
	int32_t d = (int32_t)o->head_dim, wide = (int32_t)o->heads * d;
	if (!n->probe) {
		n->probe = graph_slot_map(g, "probe", n->picked, 1, false);
		n->cross = graph_slot_layout(g, "cross", n->picked, n->rows);
	}
	const char *attention_name = graph_text(g, "%s.%s", name, o->attention);
	node_id q = graph_linear(g, graph_text(g, "%s.query", attention_name), graph_param(g, &w->probe), &w->in);
	node_id kv = graph_linear(g, graph_text(g, "%s.key_value", attention_name), x, &w->in);
	node_id k = graph_view(g, kv, wide, wide), v = graph_view(g, kv, 2 * wide, wide);
	q = graph_view(g, q, 0, wide);
	q = graph_move(g, graph_text(g, "%s.probe", name), &q, 1, n->picked, n->probe);
	attention spec = {.heads = (int32_t)o->heads, .kv_heads = (int32_t)o->heads, .head_dim = d, .v_dim = d, .scale = (float)(1.0 / sqrt((double)d))};
	node_id y = graph_attend(g, graph_text(g, "%s.attend", name), q, k, v, &spec, n->cross, 0, 0, 0);
	y = graph_linear(g, attention_name, y, &w->out);
	node_id h = part_norm(n, graph_text(g, "%s.norm", name), y, &w->norm, &w->norm_bias, o);
	return graph_add(g, name, y, part_mlp(n, graph_text(g, "%s.%s", name, o->mlp), h, &w->up, &w->down, o));
}
