/*
 * opt.c - OPT (Zhang et al. 2022): OPTForCausalLM.
 *
 *     ids ─► embedding ─► (project_in) + position[place + 2] ─► L x block ─► (layer norm) ─► (project_out) ─► embedding^T
 *     block:  x + attention(norm x);  x + fc2(relu(fc1 norm x));   350m: norm(x + attention x), norm(x + fc2(relu(fc1 x)))
 *
 * The two projections are there where words are narrower than the stack (350m), the last norm where norms stand before
 * (do_layer_norm_before). Galactica's files have no biases (enable_bias) and norms without weights. Decoder's prefix in
 * files: "model.decoder.", "decoder." in old ones.
 */
#include "models/model.h"

typedef struct opt_config {
	int64_t hidden, layers, heads, mlp, vocabulary, positions, words, rows;
	act_kind act;
	bool before, no_last, biased, weighted, tied, projected, last;
	text_shape shape;
} opt_config;

typedef struct opt_weights {
	weight table, order, in, out, norm, norm_bias, head;
	block_weights *layers;
} opt_weights;

static const field fields[] = {
	CONFIG_INT(opt_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(opt_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(opt_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(opt_config, mlp, "ffn_dim", 1, 1 << 20, 3072),
	CONFIG_INT(opt_config, vocabulary, "vocab_size", 1, 1 << 24, 50272),
	CONFIG_INT(opt_config, positions, "max_position_embeddings", 1, 1 << 24, 2048),
	CONFIG_INT(opt_config, words, "word_embed_proj_dim", 1, 65536, 0),
	CONFIG_ACT(opt_config, act, "activation_function", "relu"),
	CONFIG_FLAG(opt_config, before, "do_layer_norm_before", true),
	CONFIG_FLAG(opt_config, no_last, "_remove_final_layer_norm", false),
	CONFIG_FLAG(opt_config, biased, "enable_bias", true),
	CONFIG_FLAG(opt_config, weighted, "layer_norm_elementwise_affine", true),
	CONFIG_FLAG(opt_config, tied, "tie_word_embeddings", true),
};

#define V(m) WEIGHT_AT(opt_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(opt_config, m)
#define BIASED WEIGHT_IF(opt_config, biased)
#define WEIGHTED WEIGHT_IF(opt_config, weighted)
#define PROJECTED WEIGHT_IF(opt_config, projected)
#define LAST WEIGHT_IF(opt_config, last)
#define LAYER "{p}layers.{i}."
#define SQUARE .out = D(hidden), .in = D(hidden)

static const weight_row rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}embed_tokens.weight", V(table), .out = D(vocabulary), .in = D(words)),
	WEIGHT_ROW(TABLE, "{p}embed_positions.weight", V(order), .out = D(rows), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, "{p}project_in.weight", V(in), .out = D(hidden), .in = D(words), .when = PROJECTED),
	WEIGHT_ROW(LINEAR, "{p}project_out.weight", V(out), .out = D(words), .in = D(hidden), .when = PROJECTED),
	WEIGHT_ROW(VECTOR, LAYER "self_attn_layer_norm.weight", L(norm1), .out = D(hidden), .when = WEIGHTED),
	WEIGHT_ROW(VECTOR, LAYER "self_attn_layer_norm.bias", L(norm1_bias), .out = D(hidden), .when = WEIGHTED),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.q_proj.weight", L(qkv), SQUARE),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.k_proj.weight", L(qkv), SQUARE, .part = 1),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.v_proj.weight", L(qkv), SQUARE, .part = 2),
	WEIGHT_ROW(BIAS, LAYER "self_attn.q_proj.bias", L(qkv), .out = D(hidden), .when = BIASED),
	WEIGHT_ROW(BIAS, LAYER "self_attn.k_proj.bias", L(qkv), .out = D(hidden), .part = 1, .when = BIASED),
	WEIGHT_ROW(BIAS, LAYER "self_attn.v_proj.bias", L(qkv), .out = D(hidden), .part = 2, .when = BIASED),
	WEIGHT_ROW(LINEAR, LAYER "self_attn.out_proj.weight", L(out), SQUARE),
	WEIGHT_ROW(BIAS, LAYER "self_attn.out_proj.bias", L(out), .out = D(hidden), .when = BIASED),
	WEIGHT_ROW(VECTOR, LAYER "final_layer_norm.weight", L(norm2), .out = D(hidden), .when = WEIGHTED),
	WEIGHT_ROW(VECTOR, LAYER "final_layer_norm.bias", L(norm2_bias), .out = D(hidden), .when = WEIGHTED),
	WEIGHT_ROW(LINEAR, LAYER "fc1.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "fc1.bias", L(up), .out = D(mlp), .when = BIASED),
	WEIGHT_ROW(LINEAR, LAYER "fc2.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, LAYER "fc2.bias", L(down), .out = D(hidden), .when = BIASED),
	WEIGHT_ROW(VECTOR, "{p}final_layer_norm.weight", V(norm), .out = D(hidden), .when = LAST),
	WEIGHT_ROW(VECTOR, "{p}final_layer_norm.bias", V(norm_bias), .out = D(hidden), .when = LAST),
	WEIGHT_ROW(LINEAR, "lm_head.weight|language_model.lm_head.weight", V(head), .out = D(vocabulary), .in = D(words), .optional = true, .only = "",
		.unless = WEIGHT_IF(opt_config, tied)),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	opt_config *c = config;
	(void)a;
	if (c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: hidden_size: %lld, expected a multiple of num_attention_heads (%lld)", (long long)c->hidden,
			(long long)c->heads);
	c->words = c->words ? c->words : c->hidden;
	c->projected = c->words != c->hidden;
	c->last = c->before && !c->no_last && c->weighted;
	c->rows = c->positions + 2;
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions, .learned_order = true, .order_offset = 2};
	return REBUS_OK;
}

static const text_shape *words(const void *config)
{
	return &((const opt_config *)config)->shape;
}

/* Words as the stack reads them; features of pictures already are. */
static node_id text_embedding(net *n, const component *part, const char *name, bool features)
{
	const opt_config *c = part->config;
	const opt_weights *w = part->weights;
	const char *own = graph_text(n->g, "%s.embed_tokens", name);
	if (!c->projected)
		return part_token_embedding(n, own, &w->table, features);
	if (features)
		graph_fail(n->g, REBUS_UNSUPPORTED, "word_embed_proj_dim: %lld of hidden_size %lld, expected the same where there are pictures", (long long)c->words,
			(long long)c->hidden);
	return graph_linear(n->g, graph_text(n->g, "%s.project_in", name), part_token_embedding(n, own, &w->table, false), &w->in);
}

static void text_layers(net *n, const component *part, const char *name, node_id x)
{
	const opt_config *c = part->config;
	const opt_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->heads, .head_dim = c->hidden / c->heads, .eps = 1e-5, .act = c->act, .after = !c->before,
		.attention = "self_attn", .mlp = "mlp"};
	x = part_order_embedding(n, graph_text(n->g, "%s.embeddings", name), x, &w->order);
	for (int64_t i = 0; i < c->layers; i++) {
		net_see_hidden(n, "", i, x);
		x = part_block(n, graph_text(n->g, "%s.layers.%lld", name, (long long)i), x, &w->layers[i], &o);
	}
	if (c->before && !c->no_last)
		x = part_norm(n, graph_text(n->g, "%s.final_layer_norm", name), x, &w->norm, &w->norm_bias, &o);
	if (c->projected)
		x = graph_linear(n->g, graph_text(n->g, "%s.project_out", name), x, &w->out);
	net_see_hidden(n, "", c->layers, x);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	x = part_head(n, "lm_head", part_pick(n, "rows asked for", x), &w->head, c->tied ? &w->table : NULL);
	net_see(n, "logits", x, OUTPUT_PICKED, true);
}

static void build_text(net *n, const struct rebus_model *m)
{
	text_layers(n, &m->self, "model.decoder", text_embedding(n, &m->self, "model.decoder", false));
}

static const char *const architectures[] = {"OPTForCausalLM", NULL};

const family family_opt = {
	.model_type = "opt",
	.architectures = architectures,
	.abilities = REBUS_READS_TEXT | REBUS_GENERATES,
	.prefixes = "model.decoder.|decoder.|",
	.config_size = sizeof(opt_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(opt_weights),
	.layers_at = offsetof(opt_weights, layers),
	.layer_count_at = offsetof(opt_config, layers),
	.width_at = offsetof(opt_config, hidden),
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.derive = derive,
	.words = words,
	.text_embedding = text_embedding,
	.text_layers = text_layers,
	.build_text = build_text,
	.text_pick = PICK_LAST,
};
