/*
 * dinov2.c - DINOv2 (Oquab et al. 2023): Dinov2Model, Dinov2ForImageClassification; and with registers (Darcet et al. 2024,
 * figure 6): Dinov2WithRegistersModel, Dinov2WithRegistersForImageClassification.
 *
 *     picture ─► patches ─► linear ─► [class, patches] + position ─► [class, registers, patches] ─► L x block ─► norm ─┐
 *                                                                                                                     ▼
 *     class row: pooler_output;   [class row | mean of patches] ─► classifier   ◄──────────────────────── last_hidden_state
 *
 *     block:  x + scale1 attention(norm x);  x + scale2 mlp(norm x)
 *     mlp:    fc2 gelu fc1; of the giant models down(silu(gate) * up), gate and up being one tensor, weights_in
 *
 * Pictures may have any size: positions are resampled unasked, wherever the grid is not the checkpoint's square; with
 * registers by an antialiased bicubic. Registers have no position and do not count in the mean. The gated MLP's width follows
 * from mlp_ratio: two thirds, rounded up to a multiple of 8. mask_token is for training.
 */
#include <string.h>

#include "models/model.h"

typedef struct dinov2_config {
	int64_t hidden, layers, heads, channels, registers;
	int32_t image[2], patch[2];
	double eps, ratio;
	bool qkv_bias, gated, plain, with_registers;
	act_kind act;
	int64_t mlp, stacked, patch_width, positions, pooled;
	tower_shape shape;
} dinov2_config;

typedef struct dinov2_weights {
	weight class_row, registers, position, patch, norm, norm_bias, classifier;
	block_weights *layers;
} dinov2_weights;

static const field fields[] = {
	CONFIG_INT(dinov2_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(dinov2_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(dinov2_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(dinov2_config, registers, "num_register_tokens", 1, 4096, 4),
	CONFIG_REAL(dinov2_config, ratio, "mlp_ratio", 0.01, 1024, 4),
	CONFIG_INT(dinov2_config, channels, "num_channels", 1, 64, 3),
	CONFIG_PAIR(dinov2_config, image, "image_size", 1, 65536, 224),
	CONFIG_PAIR(dinov2_config, patch, "patch_size", 1, 4096, 0),
	CONFIG_REAL(dinov2_config, eps, "layer_norm_eps", 0, 1, 1e-6),
	CONFIG_FLAG(dinov2_config, qkv_bias, "qkv_bias", true),
	CONFIG_FLAG(dinov2_config, gated, "use_swiglu_ffn", false),
	CONFIG_ACT(dinov2_config, act, "hidden_act", "gelu"),
};

#define V(m) WEIGHT_AT(dinov2_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(dinov2_config, m)
#define BIASED WEIGHT_IF(dinov2_config, qkv_bias)
#define GATED WEIGHT_IF(dinov2_config, gated)
#define PLAIN WEIGHT_IF(dinov2_config, plain)
#define LAYER "{p}encoder.layer.{i}."

static const weight_row rows[] = {
	WEIGHT_ROW(VECTOR, "{p}embeddings.cls_token", V(class_row), .out = D(hidden), .lead = 2),
	WEIGHT_ROW(TABLE, "{p}embeddings.register_tokens", V(registers), .out = D(registers), .in = D(hidden), .lead = 1,
		.when = WEIGHT_IF(dinov2_config, with_registers)),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embeddings", V(position), .out = D(positions), .in = D(hidden), .lead = 1),
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embeddings.projection.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}embeddings.patch_embeddings.projection.bias", V(patch), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "norm1.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "norm1.bias", L(norm1_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "attention.attention.query.weight", L(qkv), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "attention.attention.key.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 1),
	WEIGHT_ROW(LINEAR, LAYER "attention.attention.value.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 2),
	WEIGHT_ROW(BIAS, LAYER "attention.attention.query.bias", L(qkv), .out = D(hidden), .when = BIASED),
	WEIGHT_ROW(BIAS, LAYER "attention.attention.key.bias", L(qkv), .out = D(hidden), .part = 1, .when = BIASED),
	WEIGHT_ROW(BIAS, LAYER "attention.attention.value.bias", L(qkv), .out = D(hidden), .part = 2, .when = BIASED),
	WEIGHT_ROW(LINEAR, LAYER "attention.output.dense.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attention.output.dense.bias", L(out), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layer_scale1.lambda1", L(scale1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "norm2.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "norm2.bias", L(norm2_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "mlp.fc1.weight", L(up), .out = D(mlp), .in = D(hidden), .when = PLAIN),
	WEIGHT_ROW(BIAS, LAYER "mlp.fc1.bias", L(up), .out = D(mlp), .when = PLAIN),
	WEIGHT_ROW(LINEAR, LAYER "mlp.fc2.weight", L(down), .out = D(hidden), .in = D(mlp), .when = PLAIN),
	WEIGHT_ROW(BIAS, LAYER "mlp.fc2.bias", L(down), .out = D(hidden), .when = PLAIN),
	WEIGHT_ROW(LINEAR, LAYER "mlp.weights_in.weight", L(up), .out = D(stacked), .in = D(hidden), .when = GATED),
	WEIGHT_ROW(BIAS, LAYER "mlp.weights_in.bias", L(up), .out = D(stacked), .when = GATED),
	WEIGHT_ROW(LINEAR, LAYER "mlp.weights_out.weight", L(down), .out = D(hidden), .in = D(mlp), .when = GATED),
	WEIGHT_ROW(BIAS, LAYER "mlp.weights_out.bias", L(down), .out = D(hidden), .when = GATED),
	WEIGHT_ROW(VECTOR, LAYER "layer_scale2.lambda1", L(scale2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}layernorm.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}layernorm.bias", V(norm_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "classifier.weight", V(classifier), .out = WEIGHT_ANY, .in = D(pooled), .optional = true, .only = "ForImageClassification"),
	WEIGHT_ROW(BIAS, "classifier.bias", V(classifier), .out = WEIGHT_ANY, .optional = true, .only = "ForImageClassification"),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	dinov2_config *c = config;
	if (c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: hidden_size: %lld, expected a multiple of num_attention_heads (%lld)",
			(long long)c->hidden, (long long)c->heads);
	if (!c->patch[0]) /* the classes' defaults */
		c->patch[0] = c->patch[1] = c->with_registers ? 16 : 14;
	c->mlp = (int64_t)((double)c->hidden * c->ratio);
	if (c->gated)
		c->mlp = (c->mlp * 2 / 3 + 7) / 8 * 8;
	if (!c->mlp)
		return error_set(err, REBUS_FORMAT, "config.json: mlp_ratio: %g of hidden_size %lld leaves no width", c->ratio, (long long)c->hidden);
	c->act = c->gated ? ACT_SILU : c->act;
	c->plain = !c->gated;
	c->stacked = 2 * c->mlp;
	c->pooled = 2 * c->hidden;
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	c->positions = 1 + (int64_t)(c->image[0] / c->patch[0]) * (c->image[1] / c->patch[1]);
	c->shape = (tower_shape){.channels = c->channels, .learned = 1, .placed = 1, .positions = c->positions, .resample = GRID_BICUBIC, .always = true};
	if (c->with_registers) {
		c->shape.learned += c->registers;
		c->shape.resample = GRID_BICUBIC_WIDE;
	}
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return REBUS_OK;
}

static rebus_status derive_registers(arena *a, void *config, rebus_error *err)
{
	((dinov2_config *)config)->with_registers = true;
	return derive(a, config, err);
}

static const tower_shape *tower(const void *config)
{
	return &((const dinov2_config *)config)->shape;
}

static void tower_layers(net *n, const component *part, const char *name, node_id *hidden)
{
	const dinov2_config *c = part->config;
	const dinov2_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->heads, .head_dim = c->hidden / c->heads, .eps = c->eps, .act = c->act, .gated = c->gated,
		.attention = "attention", .mlp = "mlp"};
	const weight *learned[] = {&w->class_row, &w->registers};
	hidden[0] = part_patch_embedding(n, graph_text(n->g, "%s.embeddings", name), &w->patch, learned, c->with_registers ? 2 : 1, &w->position);
	for (int64_t i = 0; i < c->layers; i++)
		hidden[i + 1] = part_block(n, graph_text(n->g, "%s.encoder.layer.%lld", name, (long long)i), hidden[i], &w->layers[i], &o);
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const dinov2_config *c = m->self.config;
	const dinov2_weights *w = m->self.weights;
	const char *name = m->self.f->model_type;
	node_id hidden[MODEL_LAYERS + 1];
	tower_layers(n, &m->self, name, hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "", i, hidden[i]);
	node_id x = graph_layer_norm(n->g, graph_text(n->g, "%s.layernorm", name), hidden[c->layers], &w->norm, &w->norm_bias, (float)c->eps);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	node_id both[2] = {part_pick(n, graph_text(n->g, "%s.class", name), x), 0};
	net_see(n, "pooler_output", both[0], OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, both[0], OUTPUT_PICKED, true);
	if (!w->classifier.parts)
		return;
	both[1] = part_pool(n, "mean of patches", x);
	net_see(n, "logits", graph_linear(n->g, "classifier", graph_concat(n->g, "pooled", both, 2), &w->classifier), OUTPUT_PICKED, true);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST;
}

#define SHARED                                                                                                             \
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,                                                                \
	.ignored = ignored,                                                                                                  \
	.processor = "BitImageProcessor",                                                                                    \
	.config_size = sizeof(dinov2_config),                                                                                \
	.fields = fields,                                                                                                    \
	.field_count = COUNT_OF(fields),                                                                                     \
	.weights_size = sizeof(dinov2_weights),                                                                              \
	.layers_at = offsetof(dinov2_weights, layers),                                                                       \
	.layer_count_at = offsetof(dinov2_config, layers),                                                                   \
	.width_at = offsetof(dinov2_config, hidden),                                                                         \
	.rows = rows,                                                                                                        \
	.row_count = COUNT_OF(rows),                                                                                         \
	.tower = tower,                                                                                                      \
	.tower_layers = tower_layers,                                                                                        \
	.build_vision = build_vision,                                                                                        \
	.vision_pick = vision_pick,                                                                                          \
	.vision_pool = PICK_MEAN

static const char *const ignored[] = {"*embeddings.mask_token", NULL};
static const char *const architectures[] = {"Dinov2Model", "Dinov2ForImageClassification", NULL};

const family family_dinov2 = {
	.model_type = "dinov2",
	.architectures = architectures,
	.prefixes = "dinov2.|",
	.derive = derive,
	SHARED,
};

static const char *const register_architectures[] = {"Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification", NULL};

const family family_dinov2_with_registers = {
	.model_type = "dinov2_with_registers",
	.architectures = register_architectures,
	.prefixes = "dinov2_with_registers.|",
	.derive = derive_registers,
	SHARED,
};
