/* decoder.c - see decoder.h. */
#include "models/decoder.h"

#include <math.h>
#include <string.h>

const char *const decoder_ignored[] = {"*.rotary_emb.inv_freq", NULL};

static rebus_status heads(decoder_config *c, rebus_error *err)
{
	if (!c->kv_heads)
		c->kv_heads = c->heads;
	if (c->heads % c->kv_heads)
		return error_set(err, REBUS_FORMAT, "config.json: num_attention_heads: %lld, expected a multiple of num_key_value_heads (%lld)", (long long)c->heads,
			(long long)c->kv_heads);
	if (!c->head_dim && c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: hidden_size: %lld, expected a multiple of num_attention_heads (%lld)", (long long)c->hidden,
			(long long)c->heads);
	if (!c->head_dim)
		c->head_dim = c->hidden / c->heads;
	if (c->head_dim % 2)
		return error_set(err, REBUS_FORMAT, "config.json: head_dim: %lld, expected an even number", (long long)c->head_dim);
	c->q_width = c->heads * c->head_dim;
	c->kv_width = c->kv_heads * c->head_dim;
	return REBUS_OK;
}

/* Which blocks see the last keys only. */
static rebus_status windows(arena *a, decoder_config *c, rebus_error *err)
{
	c->near = arena_zero(a, (size_t)c->layers, sizeof *c->near);
	if (!c->near)
		return error_memory(err, "config.json");
	if (c->layer_types.count && c->layer_types.count != c->layers)
		return error_set(err, REBUS_FORMAT, "config.json: layer_types: %d names, expected %lld", c->layer_types.count, (long long)c->layers);
	for (int64_t i = 0; i < c->layers; i++) {
		const char *type = c->layer_types.count ? c->layer_types.at[i] : NULL;
		if (type && strcmp(type, "sliding_attention") && strcmp(type, "full_attention"))
			return error_set(err, REBUS_UNSUPPORTED, "config.json: layer_types: %s, expected sliding_attention or full_attention", type);
		bool near = type ? type[0] == 's' : i >= c->window_from && !(c->window_skip && (i + 1) % c->window_skip == 0);
		c->near[i] = near && c->window > 0;
		c->shape.window = c->near[i] ? c->window : c->shape.window;
	}
	return REBUS_OK;
}

static rebus_status turn(arena *a, const decoder_config *c, const rope_config *of, rope *out, rebus_error *err)
{
	int64_t dim = c->partial ? (int64_t)((double)c->head_dim * of->partial) : c->head_dim;
	if (dim < 2 || dim % 2)
		return error_set(err, REBUS_FORMAT, "config.json: partial_rotary_factor: %g turns %lld of %lld columns, expected an even number", of->partial,
			(long long)dim, (long long)c->head_dim);
	return part_rope(a, of, dim, c->positions, out, err);
}

rebus_status decoder_derive(arena *a, void *config, rebus_error *err)
{
	decoder_config *c = config;
	rebus_status status;
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions};
	TRY(heads(c, err));
	TRY(windows(a, c, err));
	TRY(turn(a, c, &c->rope, &c->turn, err));
	c->shape.turn = &c->turn;
	if (c->turn.dynamic) /* that is what it is for */
		c->shape.positions = (int64_t)fmin((double)c->positions * fmax(c->rope.factor, 1), 1 << 28);
	if (c->near_rope.type) {
		TRY(turn(a, c, &c->near_rope, &c->near_turn, err));
		c->shape.near_turn = &c->near_turn;
	}
done:
	return status;
}

const text_shape *decoder_words(const void *config)
{
	return &((const decoder_config *)config)->shape;
}

node_id decoder_embedding(net *n, const component *part, const char *name, bool features)
{
	const decoder_config *c = part->config;
	const decoder_weights *w = part->weights;
	const char *own = graph_text(n->g, "%s.embed_tokens", name);
	if (c->scale_embedding)
		return part_scaled_embedding(n, own, &w->table, features, (float)sqrt((double)c->hidden));
	return part_token_embedding(n, own, &w->table, features);
}

static node_id head(net *n, const decoder_config *c, const decoder_weights *w, node_id x)
{
	node_id y = part_head(n, "lm_head", x, &w->head, c->tied ? &w->table : NULL);
	if (c->logit_cap <= 0)
		return y;
	y = graph_act(n->g, "lm_head.tanh", ACT_TANH, graph_scale(n->g, "lm_head.scaled", y, (float)(1 / c->logit_cap)));
	return graph_scale(n->g, "logits", y, (float)c->logit_cap);
}

void decoder_layers(net *n, const component *part, const char *name, node_id x)
{
	const decoder_config *c = part->config;
	const decoder_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .eps = c->eps, .act = c->act, .rms = true, .gated = true,
		.rotary = true, .pairs = c->pairs, .cap = c->cap, .scale = c->score_dim > 0 ? 1 / sqrt(c->score_dim) : 0, .attention = "self_attn", .mlp = "mlp"};
	part_angles(n, 2 * (int64_t)c->turn.half, false);
	if (c->near_rope.type)
		part_angles(n, 2 * (int64_t)c->near_turn.half, true);
	for (int64_t i = 0; i < c->layers; i++) {
		net_see_hidden(n, "", i, x);
		o.near = c->near[i];
		x = part_block(n, graph_text(n->g, "%s.layers.%lld", name, (long long)i), x, &w->layers[i], &o);
	}
	x = graph_rms_norm(n->g, graph_text(n->g, "%s.norm", name), x, &w->norm, (float)c->eps);
	net_see_hidden(n, "", c->layers, x);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	net_see(n, "logits", head(n, c, w, part_pick(n, "rows asked for", x)), OUTPUT_PICKED, true);
}

void decoder_build(net *n, const struct rebus_model *m)
{
	decoder_layers(n, &m->self, "model", decoder_embedding(n, &m->self, "model", false));
}
