/*
 * gpt2.c - GPT-2 (Radford et al. 2019): GPT2LMHeadModel.
 *
 *     ids ─► wte + wpe[place] ─► L x block ─► layer norm ─► rows asked for ─► wte^T
 *     block:  x + attention(norm x);  x + fc2(gelu(fc1 norm x))
 *
 * Weights are those of a Conv1D: [in, out], turned once when opened. Query, key and value lie in one tensor. Files name tensors
 * with and without "transformer." in front; old ones hold the causal mask as h.N.attn.bias. n_inner null: 4 n_embd.
 */
#include "models/model.h"

#include <math.h>

typedef struct gpt2_config {
	int64_t hidden, layers, heads, mlp, vocabulary, positions, qkv;
	double eps;
	act_kind act;
	bool scaled, by_layer, cross, tied;
	text_shape shape;
} gpt2_config;

typedef struct gpt2_weights {
	weight table, order, norm, norm_bias, head;
	block_weights *layers;
} gpt2_weights;

static const field fields[] = {
	CONFIG_INT(gpt2_config, hidden, "n_embd", 1, 65536, 768),
	CONFIG_INT(gpt2_config, layers, "n_layer", 1, MODEL_LAYERS, 12),
	CONFIG_INT(gpt2_config, heads, "n_head", 1, 1024, 12),
	CONFIG_INT(gpt2_config, mlp, "n_inner", 1, 1 << 20, 0),
	CONFIG_INT(gpt2_config, vocabulary, "vocab_size", 1, 1 << 24, 50257),
	CONFIG_INT(gpt2_config, positions, "n_positions", 1, 1 << 24, 1024),
	CONFIG_REAL(gpt2_config, eps, "layer_norm_epsilon", 0, 1, 1e-5),
	CONFIG_ACT(gpt2_config, act, "activation_function", "gelu_new"),
	CONFIG_FLAG(gpt2_config, scaled, "scale_attn_weights", true),
	CONFIG_FLAG(gpt2_config, by_layer, "scale_attn_by_inverse_layer_idx", false),
	CONFIG_FLAG(gpt2_config, cross, "add_cross_attention", false),
	CONFIG_FLAG(gpt2_config, tied, "tie_word_embeddings", true),
};

#define V(m) WEIGHT_AT(gpt2_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(gpt2_config, m)
#define LAYER "{p}h.{i}."

static const weight_row rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}wte.weight", V(table), .out = D(vocabulary), .in = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}wpe.weight", V(order), .out = D(positions), .in = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "ln_1.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "ln_1.bias", L(norm1_bias), .out = D(hidden)),
	WEIGHT_ROW(TURNED, LAYER "attn.c_attn.weight", L(qkv), .out = D(qkv), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attn.c_attn.bias", L(qkv), .out = D(qkv)),
	WEIGHT_ROW(TURNED, LAYER "attn.c_proj.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attn.c_proj.bias", L(out), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "ln_2.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "ln_2.bias", L(norm2_bias), .out = D(hidden)),
	WEIGHT_ROW(TURNED, LAYER "mlp.c_fc.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "mlp.c_fc.bias", L(up), .out = D(mlp)),
	WEIGHT_ROW(TURNED, LAYER "mlp.c_proj.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, LAYER "mlp.c_proj.bias", L(down), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}ln_f.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}ln_f.bias", V(norm_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "lm_head.weight", V(head), .out = D(vocabulary), .in = D(hidden), .optional = true, .only = "",
		.unless = WEIGHT_IF(gpt2_config, tied)),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	gpt2_config *c = config;
	(void)a;
	if (c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: n_embd: %lld, expected a multiple of n_head (%lld)", (long long)c->hidden, (long long)c->heads);
	if (c->cross)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: add_cross_attention: true, expected a model without an encoder");
	c->mlp = c->mlp ? c->mlp : 4 * c->hidden;
	c->qkv = 3 * c->hidden;
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions, .learned_order = true};
	return REBUS_OK;
}

static const text_shape *words(const void *config)
{
	return &((const gpt2_config *)config)->shape;
}

static node_id text_embedding(net *n, const component *part, const char *name, bool features)
{
	const gpt2_weights *w = part->weights;
	return part_token_embedding(n, graph_text(n->g, "%s.wte", name), &w->table, features);
}

static void text_layers(net *n, const component *part, const char *name, node_id x)
{
	const gpt2_config *c = part->config;
	const gpt2_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->heads, .head_dim = c->hidden / c->heads, .eps = c->eps, .act = c->act,
		.attention = "attn", .mlp = "mlp"};
	x = part_order_embedding(n, graph_text(n->g, "%s.embeddings", name), x, &w->order);
	for (int64_t i = 0; i < c->layers; i++) {
		net_see_hidden(n, "", i, x);
		o.scale = (c->scaled ? 1 / sqrt((double)o.head_dim) : 1) / (c->by_layer ? (double)(i + 1) : 1);
		x = part_block(n, graph_text(n->g, "%s.h.%lld", name, (long long)i), x, &w->layers[i], &o);
	}
	x = part_norm(n, graph_text(n->g, "%s.ln_f", name), x, &w->norm, &w->norm_bias, &o);
	net_see_hidden(n, "", c->layers, x);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	x = part_head(n, "lm_head", part_pick(n, "rows asked for", x), &w->head, c->tied ? &w->table : NULL);
	net_see(n, "logits", x, OUTPUT_PICKED, true);
}

static void build_text(net *n, const struct rebus_model *m)
{
	text_layers(n, &m->self, "transformer", text_embedding(n, &m->self, "transformer", false));
}

static const char *const architectures[] = {"GPT2LMHeadModel", NULL};
static const char *const ignored[] = {"*.attn.bias", "*.attn.masked_bias", NULL};

const family family_gpt2 = {
	.model_type = "gpt2",
	.architectures = architectures,
	.abilities = REBUS_READS_TEXT | REBUS_GENERATES,
	.prefixes = "transformer.|",
	.ignored = ignored,
	.config_size = sizeof(gpt2_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(gpt2_weights),
	.layers_at = offsetof(gpt2_weights, layers),
	.layer_count_at = offsetof(gpt2_config, layers),
	.width_at = offsetof(gpt2_config, hidden),
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.derive = derive,
	.words = words,
	.text_embedding = text_embedding,
	.text_layers = text_layers,
	.build_text = build_text,
	.text_pick = PICK_LAST,
};
