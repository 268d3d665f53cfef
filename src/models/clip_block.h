/* clip_block.h - the blocks of CLIP's towers, and of SigLIP's, and their classifier, under the names both have. */
#ifndef REBUS_CLIP_BLOCK_H
#define REBUS_CLIP_BLOCK_H

#include "models/family.h"

#define CLIP_LAYER "{p}encoder.layers.{i}."
#define CLIP_AT(m) WEIGHT_AT(block_weights, m)
#define CLIP_SQUARE(config) .out = WEIGHT_DIM(config, hidden), .in = WEIGHT_DIM(config, hidden)
#define CLIP_BLOCK_ROWS(config) \
	WEIGHT_ROW(VECTOR, CLIP_LAYER "layer_norm1.weight", CLIP_AT(norm1), .out = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(VECTOR, CLIP_LAYER "layer_norm1.bias", CLIP_AT(norm1_bias), .out = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(LINEAR, CLIP_LAYER "self_attn.q_proj.weight", CLIP_AT(qkv), CLIP_SQUARE(config)), \
	WEIGHT_ROW(LINEAR, CLIP_LAYER "self_attn.k_proj.weight", CLIP_AT(qkv), CLIP_SQUARE(config), .part = 1), \
	WEIGHT_ROW(LINEAR, CLIP_LAYER "self_attn.v_proj.weight", CLIP_AT(qkv), CLIP_SQUARE(config), .part = 2), \
	WEIGHT_ROW(BIAS, CLIP_LAYER "self_attn.q_proj.bias", CLIP_AT(qkv), .out = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(BIAS, CLIP_LAYER "self_attn.k_proj.bias", CLIP_AT(qkv), .out = WEIGHT_DIM(config, hidden), .part = 1), \
	WEIGHT_ROW(BIAS, CLIP_LAYER "self_attn.v_proj.bias", CLIP_AT(qkv), .out = WEIGHT_DIM(config, hidden), .part = 2), \
	WEIGHT_ROW(LINEAR, CLIP_LAYER "self_attn.out_proj.weight", CLIP_AT(out), CLIP_SQUARE(config)), \
	WEIGHT_ROW(BIAS, CLIP_LAYER "self_attn.out_proj.bias", CLIP_AT(out), .out = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(VECTOR, CLIP_LAYER "layer_norm2.weight", CLIP_AT(norm2), .out = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(VECTOR, CLIP_LAYER "layer_norm2.bias", CLIP_AT(norm2_bias), .out = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(LINEAR, CLIP_LAYER "mlp.fc1.weight", CLIP_AT(up), .out = WEIGHT_DIM(config, mlp), .in = WEIGHT_DIM(config, hidden)), \
	WEIGHT_ROW(BIAS, CLIP_LAYER "mlp.fc1.bias", CLIP_AT(up), .out = WEIGHT_DIM(config, mlp)), \
	WEIGHT_ROW(LINEAR, CLIP_LAYER "mlp.fc2.weight", CLIP_AT(down), .out = WEIGHT_DIM(config, hidden), .in = WEIGHT_DIM(config, mlp)), \
	WEIGHT_ROW(BIAS, CLIP_LAYER "mlp.fc2.bias", CLIP_AT(down), .out = WEIGHT_DIM(config, hidden))

static inline rebus_status clip_heads_fit(const char *where, int64_t hidden, int64_t heads, rebus_error *err)
{
	if (hidden % heads)
		return error_set(err, REBUS_FORMAT, "config.json: %s: hidden_size: %lld, expected a multiple of num_attention_heads (%lld)", where, (long long)hidden,
			(long long)heads);
	return REBUS_OK;
}

static inline block_options clip_block(int64_t hidden, int64_t heads, double eps, act_kind act)
{
	return (block_options){.heads = heads, .kv_heads = heads, .head_dim = hidden / heads, .eps = eps, .act = act, .attention = "self_attn", .mlp = "mlp"};
}

/* A classifier of the mean of the patches, as CLIPForImageClassification and SiglipForImageClassification have it. */
typedef struct clip_classifier_weights {
	weight classifier;
} clip_classifier_weights;

static const weight_row clip_classifier_rows[] = {
	WEIGHT_ROW(LINEAR, "classifier.weight", WEIGHT_AT(clip_classifier_weights, classifier), .out = WEIGHT_ANY, .in = WEIGHT_TOWER),
	WEIGHT_ROW(BIAS, "classifier.bias", WEIGHT_AT(clip_classifier_weights, classifier), .out = WEIGHT_ANY),
};
static const char *const clip_classifier_ignored[] = {"*.position_ids", "vision_model.head.*", NULL};

static inline void clip_classify(net *n, const clip_classifier_weights *w, node_id x)
{
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	node_id mean = part_pool(n, "mean", x);
	net_see(n, NET_EMBEDDING, mean, OUTPUT_PICKED, true);
	net_see(n, "logits", graph_linear(n->g, "classifier", mean, &w->classifier), OUTPUT_PICKED, true);
}

typedef struct clip_classifier_config {
	bool nothing; /* all fields are the tower's */
} clip_classifier_config;

#define CLIP_CLASSIFIER \
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES, \
	.prefixes = "", \
	.ignored = clip_classifier_ignored, \
	.config_size = sizeof(clip_classifier_config), \
	.weights_size = sizeof(clip_classifier_weights), \
	.layers_at = SIZE_MAX, \
	.rows = clip_classifier_rows, \
	.row_count = COUNT_OF(clip_classifier_rows), \
	.vision_pool = PICK_MEAN

#endif
