/*
 * decoder.h - what Llama and its relatives share: one stack, of which each family's file says what it has.
 *
 *     ids ─► embedding (x sqrt(hidden)) ─► L x block ─► RMS norm ─► rows asked for ─► lm_head ─► (cap tanh(x / cap))
 *     block:  x + after1(attention(norm1 x));  x + after2(down(act(gate norm2 x) * up norm2 x))
 *
 * Attention is causal; some blocks see the last `window` keys only, maybe with angles of their own. Queries and keys may have a
 * norm for each head, scores a cap. What a family does not have keeps 0 in its configuration and no row in its table of weights.
 */
#ifndef REBUS_DECODER_H
#define REBUS_DECODER_H

#include "models/model.h"

typedef struct decoder_config {
	int64_t hidden, layers, heads, kv_heads, head_dim, mlp, vocabulary, positions;
	double eps;
	bool qkv_bias, out_bias, mlp_bias, tied, use_window, both_ways, pairs; /* pairs: columns 2i, 2i + 1 are turned together */
	act_kind act;
	rope_config rope, near_rope; /* near_rope.type NULL: the blocks that see the last keys turn as the others do */
	int64_t window;        /* 0: every block sees all keys */
	name_list layer_types; /* "sliding_attention" or "full_attention", a block each */
	int64_t window_from, window_skip; /* without layer_types: blocks from window_from on, but every window_skip-th (0: none) sees all */
	double score_dim;      /* scores are scaled by its -1/2 power; 0: head_dim */
	double cap, logit_cap; /* 0: none */
	bool scale_embedding;
	bool partial;          /* rope.partial of a head's columns are turned; else all */
	int64_t q_width, kv_width; /* derived, as all below */
	bool *near;            /* [layers] */
	rope turn, near_turn;
	text_shape shape;
} decoder_config;

typedef struct decoder_weights {
	weight table, norm, head;
	block_weights *layers;
} decoder_weights;

#define DECODER_V(m) WEIGHT_AT(decoder_weights, m)
#define DECODER_L(m) WEIGHT_AT(block_weights, m)
#define DECODER_D(m) WEIGHT_DIM(decoder_config, m)
#define DECODER_IF(m) WEIGHT_IF(decoder_config, m)
#define DECODER_LAYER "{p}layers.{i}."

/* Fields; a family adds rope, what is its own, and its class's defaults. */
#define DECODER_FIELDS(hidden_, layers_, heads_, kv_heads_, mlp_, vocabulary_, positions_, eps_, tied_)                   \
	CONFIG_INT(decoder_config, hidden, "hidden_size", 1, 65536, hidden_),                                             \
	CONFIG_INT(decoder_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, layers_),                                \
	CONFIG_INT(decoder_config, heads, "num_attention_heads", 1, 1024, heads_),                                        \
	CONFIG_INT(decoder_config, kv_heads, "num_key_value_heads", 1, 1024, kv_heads_),                                  \
	CONFIG_INT(decoder_config, mlp, "intermediate_size", 1, 1 << 20, mlp_),                                           \
	CONFIG_INT(decoder_config, vocabulary, "vocab_size", 1, 1 << 24, vocabulary_),                                    \
	CONFIG_INT(decoder_config, positions, "max_position_embeddings", 1, 1 << 28, positions_),                         \
	CONFIG_REAL(decoder_config, eps, "rms_norm_eps", 0, 1, eps_),                                                     \
	CONFIG_FLAG(decoder_config, tied, "tie_word_embeddings", tied_)

/* Weights. */
#define DECODER_OUTER                                                                                                     \
	WEIGHT_ROW(LOOKUP, "{p}embed_tokens.weight", DECODER_V(table), .out = DECODER_D(vocabulary), .in = DECODER_D(hidden)), \
	WEIGHT_ROW(LINEAR, "lm_head.weight|language_model.lm_head.weight", DECODER_V(head), .out = DECODER_D(vocabulary), \
		.in = DECODER_D(hidden), .optional = true, .only = "", .unless = WEIGHT_IF(decoder_config, tied))
#define DECODER_NORM(name, m, ...)                                                                                        \
	WEIGHT_ROW(VECTOR, DECODER_LAYER name ".weight", DECODER_L(m), .out = DECODER_D(hidden), __VA_ARGS__)
#define DECODER_QKV                                                                                                       \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "self_attn.q_proj.weight", DECODER_L(qkv), .out = DECODER_D(q_width), .in = DECODER_D(hidden)), \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "self_attn.k_proj.weight", DECODER_L(qkv), .out = DECODER_D(kv_width), .in = DECODER_D(hidden), .part = 1), \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "self_attn.v_proj.weight", DECODER_L(qkv), .out = DECODER_D(kv_width), .in = DECODER_D(hidden), .part = 2), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "self_attn.q_proj.bias", DECODER_L(qkv), .out = DECODER_D(q_width), .when = DECODER_IF(qkv_bias)), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "self_attn.k_proj.bias", DECODER_L(qkv), .out = DECODER_D(kv_width), .part = 1, .when = DECODER_IF(qkv_bias)), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "self_attn.v_proj.bias", DECODER_L(qkv), .out = DECODER_D(kv_width), .part = 2, .when = DECODER_IF(qkv_bias))
#define DECODER_OUT                                                                                                       \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "self_attn.o_proj.weight", DECODER_L(out), .out = DECODER_D(hidden), .in = DECODER_D(q_width)), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "self_attn.o_proj.bias", DECODER_L(out), .out = DECODER_D(hidden), .when = DECODER_IF(out_bias))
#define DECODER_UP                                                                                                        \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "mlp.gate_proj.weight", DECODER_L(up), .out = DECODER_D(mlp), .in = DECODER_D(hidden)), \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "mlp.up_proj.weight", DECODER_L(up), .out = DECODER_D(mlp), .in = DECODER_D(hidden), .part = 1), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "mlp.gate_proj.bias", DECODER_L(up), .out = DECODER_D(mlp), .when = DECODER_IF(mlp_bias)), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "mlp.up_proj.bias", DECODER_L(up), .out = DECODER_D(mlp), .part = 1, .when = DECODER_IF(mlp_bias))
#define DECODER_DOWN                                                                                                      \
	WEIGHT_ROW(LINEAR, DECODER_LAYER "mlp.down_proj.weight", DECODER_L(down), .out = DECODER_D(hidden), .in = DECODER_D(mlp)), \
	WEIGHT_ROW(BIAS, DECODER_LAYER "mlp.down_proj.bias", DECODER_L(down), .out = DECODER_D(hidden), .when = DECODER_IF(mlp_bias))

/* What follows from the fields. A family's own derive comes first, where it has one. */
rebus_status decoder_derive(arena *a, void *config, rebus_error *err);
const text_shape *decoder_words(const void *config);
node_id decoder_embedding(net *n, const component *c, const char *name, bool features);
void decoder_layers(net *n, const component *c, const char *name, node_id embeddings);
void decoder_build(net *n, const struct rebus_model *m);

/* All members of a descriptor that such a family has in common. */
#define DECODER_FAMILY(type, classes, field_table, weight_table, derive_) DECODER_FAMILY_OF(decoder_config, type, classes, field_table, weight_table, derive_)
#define DECODER_FAMILY_OF(config, type, classes, field_table, weight_table, derive_)                                                \
	.model_type = (type), .architectures = (classes), .abilities = REBUS_READS_TEXT | REBUS_GENERATES, .prefixes = "model.|", \
	.ignored = decoder_ignored, .config_size = sizeof(config), .fields = (field_table), .field_count = COUNT_OF(field_table), \
	.weights_size = sizeof(decoder_weights), .layers_at = offsetof(decoder_weights, layers),                          \
	.layer_count_at = offsetof(decoder_config, layers), .width_at = offsetof(decoder_config, hidden), .rows = (weight_table), \
	.row_count = COUNT_OF(weight_table), .derive = (derive_), .words = decoder_words, .text_embedding = decoder_embedding, .text_layers = decoder_layers,  \
	.build_text = decoder_build, .text_pick = PICK_LAST
extern const char *const decoder_ignored[];

#endif
