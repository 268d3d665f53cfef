/*
 * t5.c - T5 (Raffel et al. 2020), T5 1.1 and Flan-T5 (Chung et al. 2022): T5ForConditionalGeneration.
 *
 *     ids ─► embedding ─► L x block (both ways) ─► norm ──────────────────┐ keys and values
 *     start, answer so far ─► embedding ─► L x block (causal, then across ◄┘) ─► norm ─► (d_model^-1/2) ─► head
 *     block:  x + attention(norm x);  (x + across(norm x));  x + wo(act(wi norm x)), or x + wo(act(wi_0 norm x) * wi_1 norm x)
 *
 * Scores are not scaled; a table of the first block, for each stack one, adds a number by the distance of places, in buckets
 * that grow with it. Across there is none. Norms are RMS norms, nothing has a bias, the head size is d_kv.
 *
 * Two conventions for the head. T5 1.0: the embedding, rows scaled before it. 1.1: a matrix of its own, not scaled; its files say
 * "tie_word_embeddings": false, or, as transformers 5 writes them, true and "scale_decoder_outputs": false. A lm_head.weight that is
 * there counts whatever is said.
 */
#include "models/model.h"

#include <math.h>
#include <string.h>

typedef struct t5_config {
	int64_t hidden, layers, answer_layers, heads, head_dim, mlp, vocabulary, buckets, far, start, wide, deepest;
	double eps;
	const char *projection;
	bool scaled, gated, plain;
	act_kind act;
	text_shape shape;
} t5_config;

typedef struct t5_layer {
	block_weights read, answer;
	cross_weights across;
} t5_layer;

typedef struct t5_weights {
	weight table, read_buckets, read_norm, buckets, norm, head;
	t5_layer *layers;
} t5_weights;

static const field fields[] = {
	CONFIG_INT(t5_config, hidden, "d_model", 1, 65536, 512),
	CONFIG_INT(t5_config, head_dim, "d_kv", 1, 512, 64),
	CONFIG_INT(t5_config, mlp, "d_ff", 1, 1 << 20, 2048),
	CONFIG_INT(t5_config, layers, "num_layers", 1, MODEL_LAYERS, 6),
	CONFIG_INT(t5_config, answer_layers, "num_decoder_layers", 1, MODEL_LAYERS, 0),
	CONFIG_INT(t5_config, heads, "num_heads", 1, 1024, 8),
	CONFIG_INT(t5_config, vocabulary, "vocab_size", 1, 1 << 24, 32128),
	CONFIG_INT(t5_config, buckets, "relative_attention_num_buckets", 4, 65536, 32),
	CONFIG_INT(t5_config, far, "relative_attention_max_distance", 1, 1 << 24, 128),
	CONFIG_INT(t5_config, start, "decoder_start_token_id|pad_token_id", 0, 1 << 24, 0),
	CONFIG_REAL(t5_config, eps, "layer_norm_epsilon", 0, 1, 1e-6),
	CONFIG_TEXT(t5_config, projection, "feed_forward_proj", "relu"),
	CONFIG_FLAG(t5_config, scaled, "scale_decoder_outputs|tie_word_embeddings", true),
};

#define V(m) WEIGHT_AT(t5_weights, m)
#define L(m) WEIGHT_AT(t5_layer, m)
#define D(m) WEIGHT_DIM(t5_config, m)
#define READ "{p}encoder.block.{i}.layer."
#define ANSWER "{p}decoder.block.{i}.layer."
#define GATED WEIGHT_IF(t5_config, gated)
#define PLAIN WEIGHT_IF(t5_config, plain)

#define ATTENTION(stack, name, to, count)                                                                                  \
	WEIGHT_ROW(LINEAR, stack name ".q.weight", L(to.qkv), .out = D(wide), .in = D(hidden), .upto = D(count)),         \
	WEIGHT_ROW(LINEAR, stack name ".k.weight", L(to.qkv), .out = D(wide), .in = D(hidden), .part = 1, .upto = D(count)), \
	WEIGHT_ROW(LINEAR, stack name ".v.weight", L(to.qkv), .out = D(wide), .in = D(hidden), .part = 2, .upto = D(count)), \
	WEIGHT_ROW(LINEAR, stack name ".o.weight", L(to.out), .out = D(hidden), .in = D(wide), .upto = D(count))
#define MLP(stack, name, to, count)                                                                                        \
	WEIGHT_ROW(LINEAR, stack name ".wi.weight", L(to.up), .out = D(mlp), .in = D(hidden), .when = PLAIN, .upto = D(count)), \
	WEIGHT_ROW(LINEAR, stack name ".wi_0.weight", L(to.up), .out = D(mlp), .in = D(hidden), .when = GATED, .upto = D(count)), \
	WEIGHT_ROW(LINEAR, stack name ".wi_1.weight", L(to.up), .out = D(mlp), .in = D(hidden), .part = 1, .when = GATED, .upto = D(count)), \
	WEIGHT_ROW(LINEAR, stack name ".wo.weight", L(to.down), .out = D(hidden), .in = D(mlp), .upto = D(count))
#define NORM(stack, number, to, count) WEIGHT_ROW(VECTOR, stack number ".layer_norm.weight", L(to), .out = D(hidden), .upto = D(count))
#define BUCKETS(stack) "{p}" stack ".block.0.layer.0.SelfAttention.relative_attention_bias.weight"

static const weight_row rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}shared.weight|{p}encoder.embed_tokens.weight|{p}decoder.embed_tokens.weight", V(table), .out = D(vocabulary), .in = D(hidden)),
	WEIGHT_ROW(TABLE, BUCKETS("encoder"), V(read_buckets), .out = D(buckets), .in = D(heads)),
	ATTENTION(READ, "0.SelfAttention", read, layers),
	NORM(READ, "0", read.norm1, layers),
	MLP(READ, "1.DenseReluDense", read, layers),
	NORM(READ, "1", read.norm2, layers),
	WEIGHT_ROW(VECTOR, "{p}encoder.final_layer_norm.weight", V(read_norm), .out = D(hidden)),
	WEIGHT_ROW(TABLE, BUCKETS("decoder"), V(buckets), .out = D(buckets), .in = D(heads)),
	ATTENTION(ANSWER, "0.SelfAttention", answer, answer_layers),
	NORM(ANSWER, "0", answer.norm1, answer_layers),
	WEIGHT_ROW(LINEAR, ANSWER "1.EncDecAttention.q.weight", L(across.q), .out = D(wide), .in = D(hidden), .upto = D(answer_layers)),
	WEIGHT_ROW(LINEAR, ANSWER "1.EncDecAttention.k.weight", L(across.kv), .out = D(wide), .in = D(hidden), .upto = D(answer_layers)),
	WEIGHT_ROW(LINEAR, ANSWER "1.EncDecAttention.v.weight", L(across.kv), .out = D(wide), .in = D(hidden), .part = 1, .upto = D(answer_layers)),
	WEIGHT_ROW(LINEAR, ANSWER "1.EncDecAttention.o.weight", L(across.out), .out = D(hidden), .in = D(wide), .upto = D(answer_layers)),
	NORM(ANSWER, "1", across.norm, answer_layers),
	MLP(ANSWER, "2.DenseReluDense", answer, answer_layers),
	NORM(ANSWER, "2", answer.norm2, answer_layers),
	WEIGHT_ROW(VECTOR, "{p}decoder.final_layer_norm.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "lm_head.weight", V(head), .out = D(vocabulary), .in = D(hidden), .optional = true, .only = "",
		.unless = WEIGHT_IF(t5_config, scaled)),
};

/* "relu", "gated-gelu" and the like; the reference takes gated-gelu for its tanh form. */
static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	t5_config *c = config;
	(void)a;
	c->gated = !strncmp(c->projection, "gated-", 6);
	c->plain = !c->gated;
	if (!act_parse(c->projection + (c->gated ? 6 : 0), &c->act))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: feed_forward_proj: %.60s, expected an activation, maybe after gated-", c->projection);
	if (c->gated && c->act == ACT_GELU)
		c->act = ACT_GELU_TANH;
	if (c->buckets % 2)
		return error_set(err, REBUS_FORMAT, "config.json: relative_attention_num_buckets: %lld, expected an even number", (long long)c->buckets);
	if (c->start >= c->vocabulary)
		return error_set(err, REBUS_FORMAT, "config.json: decoder_start_token_id: %lld, expected less than vocab_size (%lld)", (long long)c->start,
			(long long)c->vocabulary);
	c->answer_layers = c->answer_layers ? c->answer_layers : c->layers;
	c->deepest = int_max(c->layers, c->answer_layers);
	c->wide = c->heads * c->head_dim;
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = 1 << 24, .relative = true, .start = c->start};
	return REBUS_OK;
}

static const text_shape *words(const void *config)
{
	return &((const t5_config *)config)->shape;
}

static block_options options(const t5_config *c, const weight *buckets, bool both_ways)
{
	return (block_options){.heads = c->heads, .kv_heads = c->heads, .head_dim = c->head_dim, .eps = c->eps, .act = c->act, .rms = true, .gated = c->gated,
		.scale = 1, .buckets = buckets, .far = c->far, .both_ways = both_ways, .attention = "layer.0.SelfAttention", .mlp = "layer.1.DenseReluDense"};
}

static void build_encoder(net *n, const struct rebus_model *m)
{
	const t5_config *c = m->self.config;
	const t5_weights *w = m->self.weights;
	block_options o = options(c, &w->read_buckets, true);
	node_id x = part_token_embedding(n, "encoder.embed_tokens", &w->table, false);
	for (int64_t i = 0; i < c->layers; i++) {
		net_see_hidden(n, "encoder_", i, x);
		x = part_block(n, graph_text(n->g, "encoder.block.%lld", (long long)i), x, &w->layers[i].read, &o);
	}
	x = part_norm(n, "encoder.final_layer_norm", x, &w->read_norm, NULL, &o);
	net_see_hidden(n, "encoder_", c->layers, x);
	net_see(n, "encoder_last_hidden_state", x, OUTPUT_ROWS, true);
}

/* One of the three sums of a block that answers. */
static node_id sum(net *n, const char *name, node_id x, node_id y)
{
	return graph_add(n->g, graph_text(n->g, "%s.sum", name), x, y);
}

static node_id answer_block(net *n, const char *name, node_id x, const t5_layer *w, const block_options *o)
{
	graph *g = n->g;
	const char *self = graph_text(g, "%s.layer.0.SelfAttention", name), *across = graph_text(g, "%s.layer.1.EncDecAttention", name);
	const char *mlp = graph_text(g, "%s.layer.2.DenseReluDense", name);
	node_id y = part_attention(n, self, part_norm(n, graph_text(g, "%s.layer.0.layer_norm", name), x, &w->answer.norm1, NULL, o), &w->answer, o);
	x = sum(n, self, x, part_chance(n, self, y));
	x = sum(n, across, x, part_cross(n, across, part_norm(n, graph_text(g, "%s.layer.1.layer_norm", name), x, &w->across.norm, NULL, o), &w->across, o));
	node_id h = part_norm(n, graph_text(g, "%s.layer.2.layer_norm", name), x, &w->answer.norm2, NULL, o);
	y = part_chance(n, mlp, part_mlp(n, mlp, h, &w->answer.up, &w->answer.down, o));
	n->block++;
	return graph_add(g, name, x, y);
}

static void build_text(net *n, const struct rebus_model *m)
{
	const t5_config *c = m->self.config;
	const t5_weights *w = m->self.weights;
	block_options o = options(c, &w->buckets, false);
	part_features(n, c->hidden);
	node_id x = part_token_embedding(n, "decoder.embed_tokens", &w->table, false);
	for (int64_t i = 0; i < c->answer_layers; i++) {
		net_see_hidden(n, "decoder_", i, x);
		x = answer_block(n, graph_text(n->g, "decoder.block.%lld", (long long)i), x, &w->layers[i], &o);
	}
	x = part_norm(n, "decoder.final_layer_norm", x, &w->norm, NULL, &o);
	net_see_hidden(n, "decoder_", c->answer_layers, x);
	net_see(n, "decoder_last_hidden_state", x, OUTPUT_ROWS, false);
	x = part_pick(n, "rows asked for", x);
	if (c->scaled)
		x = graph_scale(n->g, "decoder.scaled", x, (float)(1 / sqrt((double)c->hidden)));
	net_see(n, "logits", part_head(n, "lm_head", x, &w->head, &w->table), OUTPUT_PICKED, true);
}

static const char *const architectures[] = {"T5ForConditionalGeneration", NULL};
static const char *const ignored[] = {"*coder.embed_tokens.weight", "*.EncDecAttention.relative_attention_bias.weight", NULL};

const family family_t5 = {
	.model_type = "t5",
	.architectures = architectures,
	.abilities = REBUS_READS_TEXT | REBUS_GENERATES,
	.prefixes = "",
	.ignored = ignored,
	.config_size = sizeof(t5_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(t5_weights),
	.layers_at = offsetof(t5_weights, layers),
	.layer_size = sizeof(t5_layer),
	.layer_count_at = offsetof(t5_config, deepest),
	.width_at = offsetof(t5_config, hidden),
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.derive = derive,
	.words = words,
	.build_encoder = build_encoder,
	.build_text = build_text,
	.text_pick = PICK_LAST,
};
