/*
 * llama.c - Llama (Touvron et al. 2023): LlamaForCausalLM, and the text part of other models.
 *
 *     ids ─► embedding ─► L x block ─► RMS norm ─► rows asked for ─► lm_head
 *     block:  x + attention(norm x);  x + down(silu(gate norm x) * up norm x)
 *
 * Attention is causal, with num_key_value_heads shared by groups of query heads (Ainslie et al. 2023), queries and keys
 * turned by half-split rotary angles (Su et al. 2021), scale d^-1/2. No biases unless attention_bias or mlp_bias says so.
 * lm_head.weight counts where the file has it; else the embedding is used, if tie_word_embeddings allows.
 */
#include "models/model.h"

typedef struct llama_config {
	int64_t hidden, layers, heads, kv_heads, head_dim, mlp, vocabulary, positions;
	double eps;
	bool attention_bias, mlp_bias, tied;
	act_kind act;
	const char *rope_type;
	double theta, factor, low, high, original;
	int64_t q_width, kv_width;
	text_shape shape;
} llama_config;

typedef struct llama_weights {
	weight table, norm, head;
	block_weights *layers;
} llama_weights;

#define ROPE(name) "rope_parameters." name "|rope_scaling." name
static const field fields[] = {
	CONFIG_INT(llama_config, hidden, "hidden_size", 1, 65536, 4096),
	CONFIG_INT(llama_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 32),
	CONFIG_INT(llama_config, heads, "num_attention_heads", 1, 1024, 32),
	CONFIG_INT(llama_config, kv_heads, "num_key_value_heads", 1, 1024, 0),
	CONFIG_INT(llama_config, head_dim, "head_dim", 1, 512, 0),
	CONFIG_INT(llama_config, mlp, "intermediate_size", 1, 1 << 20, 11008),
	CONFIG_INT(llama_config, vocabulary, "vocab_size", 1, 1 << 24, 32000),
	CONFIG_INT(llama_config, positions, "max_position_embeddings", 1, 1 << 28, 2048),
	CONFIG_REAL(llama_config, eps, "rms_norm_eps", 0, 1, 1e-6),
	CONFIG_FLAG(llama_config, attention_bias, "attention_bias", false),
	CONFIG_FLAG(llama_config, mlp_bias, "mlp_bias", false),
	CONFIG_FLAG(llama_config, tied, "tie_word_embeddings", false),
	CONFIG_ACT(llama_config, act, "hidden_act", "silu"),
	CONFIG_TEXT(llama_config, rope_type, "rope_parameters.rope_type|rope_scaling.rope_type|rope_scaling.type", "default"),
	CONFIG_REAL(llama_config, theta, "rope_parameters.rope_theta|rope_theta", 1, 1e12, 10000),
	CONFIG_REAL(llama_config, factor, ROPE("factor"), 1e-6, 1e6, 1),
	CONFIG_REAL(llama_config, low, ROPE("low_freq_factor"), 1e-6, 1e6, 1),
	CONFIG_REAL(llama_config, high, ROPE("high_freq_factor"), 1e-6, 1e6, 4),
	CONFIG_REAL(llama_config, original, ROPE("original_max_position_embeddings"), 1, 1e9, 8192),
};

#define V(m) WEIGHT_AT(llama_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(llama_config, m)
#define ATTENTION_BIASED WEIGHT_IF(llama_config, attention_bias)
#define MLP_BIASED WEIGHT_IF(llama_config, mlp_bias)
#define LAYER "{p}layers.{i}."

static const weight_row rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}embed_tokens.weight", V(table), .out = D(vocabulary), .in = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "input_layernorm.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.q_proj.weight", L(qkv), .out = D(q_width), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.k_proj.weight", L(qkv), .out = D(kv_width), .in = D(hidden), .part = 1),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.v_proj.weight", L(qkv), .out = D(kv_width), .in = D(hidden), .part = 2),
	WEIGHT_ROW(BIAS, LAYER "self_attn.q_proj.bias", L(qkv), .out = D(q_width), .when = ATTENTION_BIASED),
	WEIGHT_ROW(BIAS, LAYER "self_attn.k_proj.bias", L(qkv), .out = D(kv_width), .part = 1, .when = ATTENTION_BIASED),
	WEIGHT_ROW(BIAS, LAYER "self_attn.v_proj.bias", L(qkv), .out = D(kv_width), .part = 2, .when = ATTENTION_BIASED),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.o_proj.weight", L(out), .out = D(hidden), .in = D(q_width)),
	WEIGHT_ROW(BIAS, LAYER "self_attn.o_proj.bias", L(out), .out = D(hidden), .when = ATTENTION_BIASED),
	WEIGHT_ROW(VECTOR, LAYER "post_attention_layernorm.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "mlp.gate_proj.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "mlp.up_proj.weight", L(up), .out = D(mlp), .in = D(hidden), .part = 1),
	WEIGHT_ROW(BIAS, LAYER "mlp.gate_proj.bias", L(up), .out = D(mlp), .when = MLP_BIASED),
	WEIGHT_ROW(BIAS, LAYER "mlp.up_proj.bias", L(up), .out = D(mlp), .part = 1, .when = MLP_BIASED),
	WEIGHT_ROW(LINEAR, LAYER "mlp.down_proj.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, LAYER "mlp.down_proj.bias", L(down), .out = D(hidden), .when = MLP_BIASED),
	WEIGHT_ROW(VECTOR, "{p}norm.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "lm_head.weight|language_model.lm_head.weight", V(head), .out = D(vocabulary), .in = D(hidden), .optional = true, .only = ""),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	llama_config *c = config;
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
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions, .rotary = c->head_dim};
	rope_config r = {c->rope_type, c->theta, c->factor, c->low, c->high, c->original};
	return part_rope(a, &r, c->head_dim, &c->shape.inv_freq, err);
}

static const text_shape *words(const void *config)
{
	return &((const llama_config *)config)->shape;
}

static node_id text_embedding(net *n, const component *part, const char *name, bool features)
{
	const llama_weights *w = part->weights;
	return part_token_embedding(n, graph_text(n->g, "%s.embed_tokens", name), &w->table, features);
}

static void text_layers(net *n, const component *part, const char *name, node_id x)
{
	const llama_config *c = part->config;
	const llama_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .eps = c->eps, .act = c->act, .rms = true, .gated = true,
		.rotary = true, .attention = "self_attn", .mlp = "mlp"};
	part_angles(n, c->head_dim);
	for (int64_t i = 0; i < c->layers; i++) {
		net_see_hidden(n, "", i, x);
		x = part_block(n, graph_text(n->g, "%s.layers.%lld", name, (long long)i), x, &w->layers[i], &o);
	}
	x = graph_rms_norm(n->g, graph_text(n->g, "%s.norm", name), x, &w->norm, (float)c->eps);
	net_see_hidden(n, "", c->layers, x);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	if (!w->head.parts && !c->tied) {
		graph_fail(n->g, REBUS_SHAPE, "lm_head.weight: not in the checkpoint, and config.json does not tie it to the embedding");
		return;
	}
	node_id rows_asked = part_pick(n, "rows asked for", x);
	net_see(n, "logits", graph_linear(n->g, "lm_head", rows_asked, w->head.parts ? &w->head : &w->table), OUTPUT_PICKED, true);
}

static void build_text(net *n, const struct rebus_model *m)
{
	m->self.f->text_layers(n, &m->self, "model", m->self.f->text_embedding(n, &m->self, "model", false));
}

static const char *const architectures[] = {"LlamaForCausalLM", NULL};
static const char *const ignored[] = {"*.rotary_emb.inv_freq", NULL};

const family family_llama = {
	.model_type = "llama",
	.architectures = architectures,
	.abilities = REBUS_READS_TEXT | REBUS_GENERATES,
	.prefixes = "model.|",
	.ignored = ignored,
	.config_size = sizeof(llama_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(llama_weights),
	.layers_at = offsetof(llama_weights, layers),
	.layer_count_at = offsetof(llama_config, layers),
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.derive = derive,
	.words = words,
	.text_embedding = text_embedding,
	.text_layers = text_layers,
	.build_text = build_text,
	.text_pick = PICK_LAST,
};
