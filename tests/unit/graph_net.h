/*
 * graph_net.h - a small decoder for tests: embedding, two pre-norm blocks with rotary, grouped, causal attention (cached or
 * not) and a gated or plain MLP, a norm, the tied head and its loss. Rows come from a token table, as in a model.
 *
 *   ids ─► move ─► [ norm ─► qkv ─► rotate ─► (cache) ─► attend ─► out ─► + ─► norm ─► up ─► gate ─► down ─► + ] x 2 ─► norm ─► head
 */
#ifndef TESTS_GRAPH_NET_H
#define TESTS_GRAPH_NET_H

#include "graph_case.h"
#include "tokens/tokens.h"

enum { NET_VOCAB = 37, NET_WIDTH = 48, NET_HEADS = 4, NET_KV = 2, NET_DIM = 12, NET_HIDDEN = 100, NET_LAYERS = 2, NET_PARAMS = 32 };

typedef struct small_net {
	graph_case c;
	space_id rows, cache;
	slot source, self, angles, where, target;
	node_id hidden, logits, loss, param[NET_PARAMS];
	int params;
} small_net;

static inline weight *net_weight(small_net *n, weight *w)
{
	node_id id = graph_param(n->c.g, w);
	assert_true(n->params + 2 < NET_PARAMS);
	n->param[n->params++] = id;
	if (w->bias[0])
		n->param[n->params++] = graph_param_bias(n->c.g, w);
	return w;
}

static inline weight *net_norm(small_net *n)
{
	weight *w = case_vector(&n->c, NET_WIDTH);
	for (int i = 0; i < NET_WIDTH; i++)
		((float *)(uintptr_t)w->f32)[i] += 2;
	return net_weight(n, w);
}

static inline node_id net_attention(small_net *n, node_id x, node_id angles)
{
	graph *g = n->c.g;
	static const int64_t qkv_out[] = {NET_HEADS * NET_DIM, NET_KV * NET_DIM, NET_KV * NET_DIM};
	node_id qkv = graph_linear(g, "qkv", x, net_weight(n, case_weight(&n->c, DT_F32, NET_WIDTH, qkv_out, 0)));
	node_id q = graph_rotate(g, "rq", graph_view(g, qkv, 0, NET_HEADS * NET_DIM), angles, NET_DIM, 0);
	node_id k = graph_rotate(g, "rk", graph_view(g, qkv, NET_HEADS * NET_DIM, NET_KV * NET_DIM), angles, NET_DIM, 0);
	node_id v = graph_view(g, qkv, (NET_HEADS + NET_KV) * NET_DIM, NET_KV * NET_DIM);
	attention spec = {.heads = NET_HEADS, .kv_heads = NET_KV, .head_dim = NET_DIM, .v_dim = NET_DIM, .scale = 0.3f};
	if (n->cache) {
		k = graph_cache(g, "ck", k, n->cache, n->where);
		v = graph_cache(g, "cv", v, n->cache, n->where);
	}
	node_id y = graph_attend(g, "attend", q, k, v, &spec, n->self, 0, 0, 0);
	return graph_linear(g, "out", y, net_weight(n, case_matrix(&n->c, DT_F32, NET_WIDTH, NET_HEADS * NET_DIM, true)));
}

static inline node_id net_mlp(small_net *n, node_id x, bool gated)
{
	graph *g = n->c.g;
	node_id h;
	if (gated) {
		node_id up = graph_linear(g, "up", x, net_weight(n, case_weight(&n->c, DT_F32, NET_WIDTH, (int64_t[]){NET_HIDDEN, NET_HIDDEN, 0}, 0)));
		h = graph_gate(g, "gate", ACT_SILU, graph_view(g, up, 0, NET_HIDDEN), graph_view(g, up, NET_HIDDEN, NET_HIDDEN));
	} else {
		h = graph_act(g, "act", ACT_GELU, graph_linear(g, "up", x, net_weight(n, case_matrix(&n->c, DT_F32, NET_HIDDEN, NET_WIDTH, true))));
	}
	return graph_linear(g, "down", h, net_weight(n, case_matrix(&n->c, DT_F32, NET_WIDTH, NET_HIDDEN, true)));
}

static inline node_id net_block(small_net *n, node_id x, node_id angles, bool gated)
{
	graph *g = n->c.g;
	node_id y = graph_rms_norm(g, "norm1", x, net_norm(n), 1e-5f);
	x = graph_add(g, "middle", x, net_attention(n, y, angles));
	y = graph_layer_norm(g, "norm2", x, net_norm(n), net_norm(n), 1e-5f);
	return graph_add(g, "end", x, net_mlp(n, y, gated));
}

/* The same seed gives the same weights, whatever the sizes. cache 0: none. */
static inline void net_begin(small_net *n, int64_t rows, int64_t cache, bool train)
{
	*n = (small_net){0};
	case_begin(&n->c, train, 77);
	graph *g = n->c.g;
	n->rows = graph_space(g, "tokens", rows);
	if (cache) {
		n->cache = graph_space(g, "cache", cache);
		n->where = graph_slot_column(g, "where", n->rows, 1);
		n->c.rows[n->cache] = cache;
	}
	n->source = graph_slot_map(g, "source", n->rows, 1, false);
	n->self = graph_slot_layout(g, "self", n->rows, cache ? n->cache : n->rows);
	weight *table = net_weight(n, case_matrix(&n->c, DT_F32, NET_VOCAB, NET_WIDTH, false));
	node_id ids = graph_param(g, table), angles = graph_input(g, "angles", n->rows, NET_DIM, &n->angles);
	node_id x = graph_move(g, "embed", &ids, 1, n->rows, n->source);
	for (int i = 0; i < NET_LAYERS; i++)
		x = net_block(n, x, angles, i > 0);
	n->hidden = graph_rms_norm(g, "norm", x, net_norm(n), 1e-5f);
	n->logits = graph_linear(g, "head", n->hidden, table);
	if (train) {
		n->target = graph_slot_column(g, "target", n->rows, 1);
		n->loss = graph_cross_entropy(g, "loss", n->logits, n->target);
	}
	case_ok(graph_check(g, NULL), &(rebus_error){.text = "the small net"});
}

static inline void net_end(small_net *n)
{
	case_end(&n->c);
}

/* Rows of sequences of the given lengths, ids by a formula of sequence and order; order from `from` on. */
static inline tokens net_tokens(small_net *n, int count, const int32_t *seq, const int32_t *from, const int32_t *length)
{
	tokens t;
	int64_t rows = 0;
	for (int i = 0; i < count; i++)
		rows += length[i];
	assert_int_equal(tokens_new(&n->c.mem, rows, &t, NULL), REBUS_OK);
	for (int i = 0; i < count; i++)
		for (int32_t j = from[i]; j < from[i] + length[i]; j++)
			tokens_add(&t, TOKEN_TEXT, seq[i], j, -1, (seq[i] * 11 + j * j * 5 + j * 3) % NET_VOCAB);
	return t;
}

/* Feeds everything but the layout. */
static inline void net_feed_tokens(small_net *n, const tokens *t)
{
	static const float inv_freq[NET_DIM / 2] = {1, 0.3f, 0.1f, 0.03f, 0.01f, 0.003f};
	int64_t base[TOKEN_KINDS] = {0, -1, -1, -1, -1};
	rowmap *map = case_get(&n->c, 1, sizeof *map);
	float *angles = case_get(&n->c, t->rows * NET_DIM, sizeof *angles);
	int32_t *target = case_get(&n->c, t->rows, sizeof *target);
	assert_int_equal(tokens_map_sources(&n->c.mem, t, base, NET_VOCAB, map, NULL), REBUS_OK);
	tokens_angles(t, AT_ORDER, inv_freq, NET_DIM / 2, angles);
	for (int64_t r = 0; r < t->rows; r++)
		target[r] = r + 1 < t->rows && t->seq[r + 1] == t->seq[r] ? t->source[r + 1] : -100;
	n->c.rows[n->rows] = t->rows;
	n->c.at[n->source] = map;
	n->c.at[n->angles] = angles;
	if (n->target)
		n->c.at[n->target] = target;
}

/* Feeds a batch without a cache, causal within each sequence. */
static inline void net_feed_batch(small_net *n, int count, const int32_t *seq, const int32_t *length)
{
	static const int32_t zeros[16];
	tokens t = net_tokens(n, count, seq, zeros, length);
	layout *l = case_get(&n->c, 1, sizeof *l);
	net_feed_tokens(n, &t);
	assert_int_equal(tokens_layout(&n->c.mem, &t, true, l, NULL), REBUS_OK);
	n->c.at[n->self] = l;
}

#endif
