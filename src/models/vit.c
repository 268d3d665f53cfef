/*
 * vit.c - Vision Transformer (Dosovitskiy et al. 2021, figure 1): ViTModel, ViTForImageClassification; and DeiT (Touvron et
 * al. 2021, figure 2): DeiTModel, DeiTForImageClassification, DeiTForImageClassificationWithTeacher.
 *
 *     picture ─► patches ─► linear ─► [class, patches] + position ─► L x block ─► norm ─► class row ─► classifier
 *                                                                                      └► tanh(dense): pooler (ViTModel)
 *     block:  x + attention(norm x);  x + mlp(norm x)          gelu, full attention, scale d^-1/2, eps 1e-12
 *
 * DeiT is ViT with a second learned row, which learned from a teacher: [class, distillation, patches], a position for each.
 * WithTeacher has a classifier for either row, and its logits are the mean of both; the other class reads the class row only.
 *
 * ViT-MAE (He et al. 2022, figure 1): ViTMAEModel, and the encoder of ViTMAEForPreTraining: a share of the patches, drawn at
 * random, is dropped once positions are added, and the others go on in the order of the draw, behind the class row. No pooler.
 *
 * hidden_states.i is what enters block i; last_hidden_state comes after the final norm. Names of the Hub and of
 * transformers 5 are the same; a bare model's have no "vit." or "deit." in front.
 */
#include <string.h>

#include "models/model.h"

typedef struct vit_config {
	int64_t hidden, layers, heads, mlp, channels;
	int32_t image[2], patch[2];
	double eps;
	bool qkv_bias, distilled; /* distilled: DeiT */
	double mask_ratio;
	act_kind act, pooler_act;
	int64_t patch_width, positions, pooled;
	tower_shape shape;
} vit_config;

typedef struct vit_weights {
	weight class_row, distillation_row, position, patch, norm, norm_bias, pooler, classifier, class_head, distillation_head;
	block_weights *layers;
} vit_weights;

static const field fields[] = {
	CONFIG_INT(vit_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(vit_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(vit_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(vit_config, mlp, "intermediate_size", 1, 1 << 20, 3072),
	CONFIG_INT(vit_config, channels, "num_channels", 1, 64, 3),
	CONFIG_PAIR(vit_config, image, "image_size", 1, 65536, 224),
	CONFIG_PAIR(vit_config, patch, "patch_size", 1, 4096, 16),
	CONFIG_REAL(vit_config, eps, "layer_norm_eps", 0, 1, 1e-12),
	CONFIG_FLAG(vit_config, qkv_bias, "qkv_bias", true),
	CONFIG_ACT(vit_config, act, "hidden_act", "gelu"),
	CONFIG_ACT(vit_config, pooler_act, "pooler_act", "tanh"),
	CONFIG_INT(vit_config, pooled, "pooler_output_size", 1, 65536, 0),
	CONFIG_REAL(vit_config, mask_ratio, "mask_ratio", 0, 1, 0.75),
};

#define V(m) WEIGHT_AT(vit_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(vit_config, m)
#define BIASED WEIGHT_IF(vit_config, qkv_bias)
#define DISTILLED WEIGHT_IF(vit_config, distilled)
#define LAYER "{p}encoder.layer.{i}."

static const weight_row rows[] = {
	WEIGHT_ROW(VECTOR, "{p}embeddings.cls_token", V(class_row), .out = D(hidden), .lead = 2),
	WEIGHT_ROW(VECTOR, "{p}embeddings.distillation_token", V(distillation_row), .out = D(hidden), .when = DISTILLED, .lead = 2),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embeddings", V(position), .out = D(positions), .in = D(hidden), .lead = 1),
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embeddings.projection.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}embeddings.patch_embeddings.projection.bias", V(patch), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_before.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_before.bias", L(norm1_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "attention.attention.query.weight", L(qkv), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "attention.attention.key.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 1),
	WEIGHT_ROW(LINEAR, LAYER "attention.attention.value.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 2),
	WEIGHT_ROW(BIAS, LAYER "attention.attention.query.bias", L(qkv), .out = D(hidden), .when = BIASED),
	WEIGHT_ROW(BIAS, LAYER "attention.attention.key.bias", L(qkv), .out = D(hidden), .part = 1, .when = BIASED),
	WEIGHT_ROW(BIAS, LAYER "attention.attention.value.bias", L(qkv), .out = D(hidden), .part = 2, .when = BIASED),
	WEIGHT_ROW(LINEAR, LAYER "attention.output.dense.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attention.output.dense.bias", L(out), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_after.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_after.bias", L(norm2_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "intermediate.dense.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "intermediate.dense.bias", L(up), .out = D(mlp)),
	WEIGHT_ROW(LINEAR, LAYER "output.dense.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, LAYER "output.dense.bias", L(down), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}layernorm.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}layernorm.bias", V(norm_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "{p}pooler.dense.weight", V(pooler), .out = D(pooled), .in = D(hidden), .optional = true, .only = "ViTModel|DeiTModel"),
	WEIGHT_ROW(BIAS, "{p}pooler.dense.bias", V(pooler), .out = D(pooled), .optional = true, .only = "ViTModel|DeiTModel"),
	WEIGHT_ROW(LINEAR, "classifier.weight", V(classifier), .out = WEIGHT_ANY, .in = D(hidden), .optional = true, .only = "ForImageClassification"),
	WEIGHT_ROW(BIAS, "classifier.bias", V(classifier), .out = WEIGHT_ANY, .optional = true, .only = "ForImageClassification"),
	WEIGHT_ROW(LINEAR, "cls_classifier.weight", V(class_head), .out = WEIGHT_ANY, .in = D(hidden), .when = DISTILLED, .optional = true,
		.only = "WithTeacher"),
	WEIGHT_ROW(BIAS, "cls_classifier.bias", V(class_head), .out = WEIGHT_ANY, .when = DISTILLED, .optional = true,
		.only = "WithTeacher"),
	WEIGHT_ROW(LINEAR, "distillation_classifier.weight", V(distillation_head), .out = WEIGHT_ANY, .in = D(hidden), .when = DISTILLED, .optional = true,
		.only = "WithTeacher"),
	WEIGHT_ROW(BIAS, "distillation_classifier.bias", V(distillation_head), .out = WEIGHT_ANY, .when = DISTILLED, .optional = true,
		.only = "WithTeacher"),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	vit_config *c = config;
	if (c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: hidden_size: %lld, expected a multiple of num_attention_heads (%lld)",
			(long long)c->hidden, (long long)c->heads);
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	int64_t learned = c->distilled ? 2 : 1;
	c->positions = learned + (int64_t)(c->image[0] / c->patch[0]) * (c->image[1] / c->patch[1]);
	if (!c->pooled)
		c->pooled = c->hidden;
	c->shape = (tower_shape){.channels = c->channels, .learned = learned, .placed = learned, .positions = c->positions, .resample = GRID_BICUBIC};
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return REBUS_OK;
}

static rebus_status derive_distilled(arena *a, void *config, rebus_error *err)
{
	((vit_config *)config)->distilled = true;
	return derive(a, config, err);
}

static rebus_status derive_masked(arena *a, void *config, rebus_error *err)
{
	vit_config *c = config;
	rebus_status status = derive(a, config, err);
	c->shape.masks = true;
	c->shape.mask_ratio = c->mask_ratio;
	return status;
}

static const tower_shape *tower(const void *config)
{
	return &((const vit_config *)config)->shape;
}

static void tower_layers(net *n, const component *part, const char *name, node_id *hidden)
{
	const vit_config *c = part->config;
	const vit_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->heads, .head_dim = c->hidden / c->heads, .eps = c->eps, .act = c->act,
		.attention = "attention", .mlp = "output"};
	const weight *learned[] = {&w->class_row, &w->distillation_row};
	hidden[0] = part_patch_embedding(n, graph_text(n->g, "%s.embeddings", name), &w->patch, learned, (int)c->shape.learned, &w->position);
	for (int64_t i = 0; i < c->layers; i++)
		hidden[i + 1] = part_block(n, graph_text(n->g, "%s.encoder.layer.%lld", name, (long long)i), hidden[i], &w->layers[i], &o);
}

/* The heads of DeiT with a teacher. */
static void build_heads(net *n, const vit_weights *w, node_id first, node_id x)
{
	node_id a = graph_linear(n->g, "cls_classifier", first, &w->class_head);
	node_id b = graph_linear(n->g, "distillation_classifier", part_pool(n, "distillation", x), &w->distillation_head);
	net_see(n, "cls_logits", a, OUTPUT_PICKED, false);
	net_see(n, "distillation_logits", b, OUTPUT_PICKED, false);
	net_see(n, "logits", graph_scale(n->g, "logits", graph_add(n->g, "logits.sum", a, b), 0.5f), OUTPUT_PICKED, true);
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const vit_config *c = m->self.config;
	const vit_weights *w = m->self.weights;
	const char *name = m->self.f->model_type;
	node_id hidden[MODEL_LAYERS + 1];
	tower_layers(n, &m->self, name, hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "", i, hidden[i]);
	node_id x = graph_layer_norm(n->g, graph_text(n->g, "%s.layernorm", name), hidden[c->layers], &w->norm, &w->norm_bias, (float)c->eps);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	node_id first = part_pick(n, graph_text(n->g, "%s.class", name), x), pooled = first;
	if (w->pooler.parts) {
		pooled = graph_linear(n->g, graph_text(n->g, "%s.pooler.dense", name), first, &w->pooler);
		pooled = graph_act(n->g, graph_text(n->g, "%s.pooler", name), c->pooler_act, pooled);
		net_see(n, "pooler_output", pooled, OUTPUT_PICKED, true);
	}
	net_see(n, NET_EMBEDDING, pooled, OUTPUT_PICKED, true);
	if (w->classifier.parts)
		net_see(n, "logits", graph_linear(n->g, "classifier", first, &w->classifier), OUTPUT_PICKED, true);
	else if (w->class_head.parts && w->distillation_head.parts)
		build_heads(n, w, first, x);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST;
}

#define SHARED                                                                                                             \
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,                                                                \
	.config_size = sizeof(vit_config),                                                                                   \
	.fields = fields,                                                                                                    \
	.field_count = COUNT_OF(fields),                                                                                     \
	.weights_size = sizeof(vit_weights),                                                                                 \
	.layers_at = offsetof(vit_weights, layers),                                                                          \
	.layer_count_at = offsetof(vit_config, layers),                                                                      \
	.width_at = offsetof(vit_config, hidden),                                                                            \
	.rows = rows,                                                                                                        \
	.row_count = COUNT_OF(rows),                                                                                         \
	.tower = tower,                                                                                                      \
	.tower_layers = tower_layers,                                                                                        \
	.build_vision = build_vision,                                                                                        \
	.vision_pick = vision_pick

static const char *const architectures[] = {"ViTForImageClassification", "ViTModel", NULL};

const family family_vit = {
	.model_type = "vit",
	.architectures = architectures,
	.prefixes = "vit.|",
	.processor = "ViTImageProcessor",
	.derive = derive,
	SHARED,
};

static const char *const distilled_architectures[] = {"DeiTForImageClassificationWithTeacher", "DeiTForImageClassification", "DeiTModel", NULL};

const family family_deit = {
	.model_type = "deit",
	.architectures = distilled_architectures,
	.prefixes = "deit.|",
	.processor = "DeiTImageProcessor",
	.derive = derive_distilled,
	.vision_pool = PICK_SECOND,
	SHARED,
};

static const char *const masked_architectures[] = {"ViTMAEModel", "ViTMAEForPreTraining", NULL};
static const char *const decoder[] = {"decoder.*", NULL};

const family family_vit_mae = {
	.model_type = "vit_mae",
	.architectures = masked_architectures,
	.prefixes = "vit.|",
	.processor = "ViTImageProcessor",
	.ignored = decoder,
	.derive = derive_masked,
	SHARED,
};
