/*
 * siglip.c - SigLIP (Zhai et al. 2023): SiglipModel; SigLIP 2 NaFlex (Tschannen et al. 2025): Siglip2Model; their towers alone
 * (SiglipVisionModel, SiglipTextModel, Siglip2VisionModel, Siglip2TextModel), as parts of other models, and with a classifier of
 * the patches' mean (SiglipForImageClassification, Siglip2ForImageClassification), which does not ask the probe.
 *
 *     picture ─► patches ─► linear ─► + position ─► L x block ─► norm ─► the probe's attention, y + mlp(norm y) ─┐
 *                                                                                                              cosine * exp(scale) + bias
 *     text ─► ids, padded ─► embedding + position ─► L x block, both ways ─► norm ─► last row ─► linear ─────────┘
 *
 * No class row: a learned probe asks, the patches answer. Texts are padded to the full length and padding is read like any
 * token, so the last row is often padding. The blocks are CLIP's with eps 1e-6 and the tanh form of gelu; a text's score is a
 * sigmoid. Names: query, key and value of the probe's attention are one tensor, in_proj_weight.
 *
 * SigLIP 2 NaFlex takes a picture at its own ratio of sides, as many patches as a budget allows; its patches are rows of a
 * plain linear layer, channel last, and the square table of positions is resampled to every picture's grid, bilinear and
 * antialiased. The reference fills pictures up to the budget and masks what it filled in; here nothing is filled up.
 * Checkpoints of SigLIP 2 with one size are SiglipModel with another tokenizer.
 */
#include <string.h>

#include "models/clip_block.h"
#include "models/model.h"

typedef struct siglip_config {
	bool nothing; /* all fields are the towers' */
} siglip_config;

typedef struct siglip_tower_config {
	int64_t hidden, layers, heads, mlp, channels;
	int32_t image[2], patch[2];
	double eps;
	bool head, flat, square; /* flat: NaFlex; square: not */
	act_kind act;
	int64_t patch_width, positions, stacked;
	tower_shape shape;
} siglip_tower_config;

typedef struct siglip_text_config {
	int64_t hidden, layers, heads, mlp, vocabulary, positions, projection;
	double eps;
	act_kind act;
	text_shape shape;
} siglip_text_config;

typedef struct siglip_weights {
	weight scale, bias;
} siglip_weights;

typedef struct siglip_tower_weights {
	weight patch, position, after, after_bias;
	probe_weights head;
	block_weights *layers;
} siglip_tower_weights;

typedef struct siglip_text_weights {
	weight table, position, norm, norm_bias, head;
	block_weights *layers;
} siglip_text_weights;

/* ------------------------------------------------------------------------------------------------ picture tower */
static const field tower_fields[] = {
	CONFIG_INT(siglip_tower_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(siglip_tower_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(siglip_tower_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(siglip_tower_config, mlp, "intermediate_size", 1, 1 << 20, 3072),
	CONFIG_INT(siglip_tower_config, channels, "num_channels", 1, 64, 3),
	CONFIG_PAIR(siglip_tower_config, image, "image_size", 1, 65536, 224),
	CONFIG_PAIR(siglip_tower_config, patch, "patch_size", 1, 4096, 16),
	CONFIG_REAL(siglip_tower_config, eps, "layer_norm_eps", 0, 1, 1e-6),
	CONFIG_FLAG(siglip_tower_config, head, "vision_use_head", true),
	CONFIG_ACT(siglip_tower_config, act, "hidden_act", "gelu_pytorch_tanh"),
};

static const field flat_fields[] = {
	CONFIG_INT(siglip_tower_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(siglip_tower_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(siglip_tower_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(siglip_tower_config, mlp, "intermediate_size", 1, 1 << 20, 3072),
	CONFIG_INT(siglip_tower_config, channels, "num_channels", 1, 64, 3),
	CONFIG_INT(siglip_tower_config, positions, "num_patches", 1, 1 << 20, 256),
	CONFIG_PAIR(siglip_tower_config, patch, "patch_size", 1, 4096, 16),
	CONFIG_REAL(siglip_tower_config, eps, "layer_norm_eps", 0, 1, 1e-6),
	CONFIG_FLAG(siglip_tower_config, head, "vision_use_head", true),
	CONFIG_ACT(siglip_tower_config, act, "hidden_act", "gelu_pytorch_tanh"),
};

#define V(m) WEIGHT_AT(siglip_tower_weights, m)
#define D(m) WEIGHT_DIM(siglip_tower_config, m)
#define HEAD WEIGHT_IF(siglip_tower_config, head)
static const weight_row tower_rows[] = {
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embedding.weight", V(position), .out = D(positions), .in = D(hidden)),
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embedding.weight", V(patch), .out = D(hidden), .in = D(patch_width),
		.when = WEIGHT_IF(siglip_tower_config, square)),
	WEIGHT_ROW(LINEAR, "{p}embeddings.patch_embedding.weight", V(patch), .out = D(hidden), .in = D(patch_width),
		.when = WEIGHT_IF(siglip_tower_config, flat)),
	WEIGHT_ROW(BIAS, "{p}embeddings.patch_embedding.bias", V(patch), .out = D(hidden)),
	CLIP_BLOCK_ROWS(siglip_tower_config),
	WEIGHT_ROW(VECTOR, "{p}post_layernorm.weight", V(after), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}post_layernorm.bias", V(after_bias), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}head.probe", V(head.probe), .out = D(hidden), .when = HEAD, .lead = 2),
	WEIGHT_ROW(LINEAR, "{p}head.attention.in_proj_weight", V(head.in), .out = D(stacked), .in = D(hidden), .when = HEAD),
	WEIGHT_ROW(BIAS, "{p}head.attention.in_proj_bias", V(head.in), .out = D(stacked), .when = HEAD),
	WEIGHT_ROW(LINEAR, "{p}head.attention.out_proj.weight", V(head.out), .out = D(hidden), .in = D(hidden), .when = HEAD),
	WEIGHT_ROW(BIAS, "{p}head.attention.out_proj.bias", V(head.out), .out = D(hidden), .when = HEAD),
	WEIGHT_ROW(VECTOR, "{p}head.layernorm.weight", V(head.norm), .out = D(hidden), .when = HEAD),
	WEIGHT_ROW(VECTOR, "{p}head.layernorm.bias", V(head.norm_bias), .out = D(hidden), .when = HEAD),
	WEIGHT_ROW(LINEAR, "{p}head.mlp.fc1.weight", V(head.up), .out = D(mlp), .in = D(hidden), .when = HEAD),
	WEIGHT_ROW(BIAS, "{p}head.mlp.fc1.bias", V(head.up), .out = D(mlp), .when = HEAD),
	WEIGHT_ROW(LINEAR, "{p}head.mlp.fc2.weight", V(head.down), .out = D(hidden), .in = D(mlp), .when = HEAD),
	WEIGHT_ROW(BIAS, "{p}head.mlp.fc2.bias", V(head.down), .out = D(hidden), .when = HEAD),
};
#undef V
#undef D

static rebus_status tower_derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	siglip_tower_config *c = config;
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	c->square = !c->flat;
	if (c->square)
		c->positions = (int64_t)(c->image[0] / c->patch[0]) * (c->image[1] / c->patch[1]);
	c->stacked = 3 * c->hidden;
	c->shape = (tower_shape){.channels = c->channels, .positions = c->positions, .resample = GRID_BICUBIC, .probe = c->head};
	if (c->flat) {
		c->shape.flat = c->shape.always = true;
		c->shape.resample = GRID_BILINEAR_WIDE;
	}
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return clip_heads_fit("vision_config", c->hidden, c->heads, err);
}

static rebus_status flat_derive(arena *a, void *config, rebus_error *err)
{
	siglip_tower_config *c = config;
	int64_t side = 1;
	while (side * side < c->positions)
		side++;
	if (side * side != c->positions)
		return error_set(err, REBUS_FORMAT, "config.json: vision_config: num_patches: %lld, expected the square of a whole number", (long long)c->positions);
	c->flat = true;
	return tower_derive(a, config, err);
}

static const tower_shape *tower(const void *config)
{
	return &((const siglip_tower_config *)config)->shape;
}

static void tower_layers(net *n, const component *part, const char *name, node_id *hidden)
{
	const siglip_tower_config *c = part->config;
	const siglip_tower_weights *w = part->weights;
	block_options o = clip_block(c->hidden, c->heads, c->eps, c->act);
	hidden[0] = part_patch_embedding(n, graph_text(n->g, "%s.embeddings", name), &w->patch, NULL, 0, &w->position);
	for (int64_t i = 0; i < c->layers; i++)
		hidden[i + 1] = part_block(n, graph_text(n->g, "%s.encoder.layers.%lld", name, (long long)i), hidden[i], &w->layers[i], &o);
}

/* ------------------------------------------------------------------------------------------------ text tower */
static const field text_fields[] = {
	CONFIG_INT(siglip_text_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(siglip_text_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(siglip_text_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(siglip_text_config, mlp, "intermediate_size", 1, 1 << 20, 3072),
	CONFIG_INT(siglip_text_config, vocabulary, "vocab_size", 1, 1 << 24, 32000),
	CONFIG_INT(siglip_text_config, positions, "max_position_embeddings", 1, 1 << 20, 64),
	CONFIG_INT(siglip_text_config, projection, "projection_size", 1, 65536, 0),
	CONFIG_REAL(siglip_text_config, eps, "layer_norm_eps", 0, 1, 1e-6),
	CONFIG_ACT(siglip_text_config, act, "hidden_act", "gelu_pytorch_tanh"),
};

#define V(m) WEIGHT_AT(siglip_text_weights, m)
#define D(m) WEIGHT_DIM(siglip_text_config, m)
static const weight_row text_rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}embeddings.token_embedding.weight", V(table), .out = D(vocabulary), .in = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embedding.weight", V(position), .out = D(positions), .in = D(hidden)),
	CLIP_BLOCK_ROWS(siglip_text_config),
	WEIGHT_ROW(VECTOR, "{p}final_layer_norm.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}final_layer_norm.bias", V(norm_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "{p}head.weight", V(head), .out = D(projection), .in = D(hidden)),
	WEIGHT_ROW(BIAS, "{p}head.bias", V(head), .out = D(projection)),
};
#undef V
#undef D

static rebus_status text_derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	siglip_text_config *c = config;
	if (!c->projection)
		c->projection = c->hidden;
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions, .learned_order = true, .both_ways = true, .full = true};
	return clip_heads_fit("text_config", c->hidden, c->heads, err);
}

static const text_shape *words(const void *config)
{
	return &((const siglip_text_config *)config)->shape;
}

static node_id text_embedding(net *n, const component *part, const char *name, bool features)
{
	const siglip_text_weights *w = part->weights;
	node_id x = part_token_embedding(n, graph_text(n->g, "%s.embeddings.token_embedding", name), &w->table, features);
	return part_order_embedding(n, graph_text(n->g, "%s.embeddings", name), x, &w->position);
}

static void text_layers(net *n, const component *part, const char *name, node_id x)
{
	const siglip_text_config *c = part->config;
	const siglip_text_weights *w = part->weights;
	block_options o = clip_block(c->hidden, c->heads, c->eps, c->act);
	net_see_hidden(n, "text.", 0, x);
	for (int64_t i = 0; i < c->layers; i++) {
		x = part_block(n, graph_text(n->g, "%s.encoder.layers.%lld", name, (long long)i), x, &w->layers[i], &o);
		net_see_hidden(n, "text.", i + 1, x);
	}
	x = graph_layer_norm(n->g, graph_text(n->g, "%s.final_layer_norm", name), x, &w->norm, &w->norm_bias, (float)c->eps);
	net_see(n, "text.last_hidden_state", x, OUTPUT_ROWS, false);
	x = graph_linear(n->g, graph_text(n->g, "%s.head", name), part_pick(n, graph_text(n->g, "%s.last", name), x), &w->head);
	net_see(n, "text.pooler_output", x, OUTPUT_PICKED, true);
}

/* ------------------------------------------------------------------------------------------------ building */
static const weight_row rows[] = {
	WEIGHT_ROW(SCALAR, "logit_scale", WEIGHT_AT(siglip_weights, scale), .lead = 1),
	WEIGHT_ROW(SCALAR, "logit_bias", WEIGHT_AT(siglip_weights, bias), .lead = 1),
};

/* A tower alone names its outputs without saying which it is, and gives what it pools as it is. */
static bool alone(const struct rebus_model *m)
{
	return m->self.config == m->vision.config || m->self.config == m->text.config;
}

static void see_unit(net *n, const struct rebus_model *m, const char *name, node_id pooled)
{
	node_id unit = alone(m) ? pooled : graph_unit(n->g, name, pooled);
	if (!alone(m))
		net_see(n, name, unit, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, unit, OUTPUT_PICKED, true);
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const siglip_tower_config *c = m->vision.config;
	const siglip_tower_weights *w = m->vision.weights;
	const char *prefix = alone(m) ? "" : "vision.";
	block_options o = clip_block(c->hidden, c->heads, c->eps, c->act);
	node_id hidden[MODEL_LAYERS + 1];
	if (!c->head && !alone(m)) {
		graph_fail(n->g, REBUS_UNSUPPORTED, "config.json: vision_config.vision_use_head: false, and nothing pools a picture's rows");
		return;
	}
	tower_layers(n, &m->vision, "vision_model", hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, prefix, i, hidden[i]);
	node_id x = graph_layer_norm(n->g, "vision_model.post_layernorm", hidden[c->layers], &w->after, &w->after_bias, (float)c->eps);
	net_see(n, graph_text(n->g, "%slast_hidden_state", prefix), x, OUTPUT_ROWS, !c->head);
	if (!c->head)
		return;
	o.attention = "attention";
	node_id pooled = part_probe(n, "vision_model.head", x, &w->head, &o);
	net_see(n, graph_text(n->g, "%spooler_output", prefix), pooled, OUTPUT_PICKED, false);
	see_unit(n, m, "image_embeds", pooled);
}

static void build_text(net *n, const struct rebus_model *m)
{
	text_layers(n, &m->text, "text_model", text_embedding(n, &m->text, "text_model", false));
	const net_output *pooled = net_find(n, "text.pooler_output");
	if (pooled)
		see_unit(n, m, "text_embeds", pooled->node);
	for (int32_t i = 0; i < n->output_count && alone(m); i++)
		if (!strncmp(n->outputs[i].name, "text.", 5))
			n->outputs[i].name += 5;
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST; /* one row a picture, which is the probe's */
}

static const weight *similarity_scale(const struct rebus_model *m)
{
	return &((const siglip_weights *)m->self.weights)->scale;
}

static const weight *similarity_bias(const struct rebus_model *m)
{
	return &((const siglip_weights *)m->self.weights)->bias;
}

static const char *const ignored[] = {"*.position_ids", NULL};

/* ------------------------------------------------------------------------------------------------ towers alone and as parts */
#define TOWER                                                                                                              \
	.abilities = REBUS_READS_PICTURES,                                                                                 \
	.prefixes = "vision_model.|",                                                                                      \
	.ignored = ignored,                                                                                                \
	.config_size = sizeof(siglip_tower_config),                                                                        \
	.weights_size = sizeof(siglip_tower_weights),                                                                      \
	.layers_at = offsetof(siglip_tower_weights, layers),                                                               \
	.layer_count_at = offsetof(siglip_tower_config, layers),                                                           \
	.width_at = offsetof(siglip_tower_config, hidden),                                                                 \
	.rows = tower_rows,                                                                                                \
	.row_count = COUNT_OF(tower_rows),                                                                                 \
	.tower = tower,                                                                                                    \
	.tower_layers = tower_layers,                                                                                      \
	.build_vision = build_vision,                                                                                      \
	.vision_pick = vision_pick

static const char *const vision_architectures[] = {"SiglipVisionModel", NULL};
const family family_siglip_vision = {
	.model_type = "siglip_vision_model",
	.architectures = vision_architectures,
	.processor = "SiglipImageProcessor",
	.fields = tower_fields,
	.field_count = COUNT_OF(tower_fields),
	.derive = tower_derive,
	TOWER,
};

static const char *const flat_architectures[] = {"Siglip2VisionModel", NULL};
const family family_siglip2_vision = {
	.model_type = "siglip2_vision_model",
	.architectures = flat_architectures,
	.processor = "Siglip2ImageProcessor",
	.fields = flat_fields,
	.field_count = COUNT_OF(flat_fields),
	.derive = flat_derive,
	TOWER,
};

#define WORDS                                                                                                              \
	.abilities = REBUS_READS_TEXT,                                                                                     \
	.prefixes = "text_model.|",                                                                                        \
	.ignored = ignored,                                                                                                \
	.config_size = sizeof(siglip_text_config),                                                                         \
	.fields = text_fields,                                                                                             \
	.field_count = COUNT_OF(text_fields),                                                                              \
	.weights_size = sizeof(siglip_text_weights),                                                                       \
	.layers_at = offsetof(siglip_text_weights, layers),                                                                \
	.layer_count_at = offsetof(siglip_text_config, layers),                                                            \
	.width_at = offsetof(siglip_text_config, hidden),                                                                  \
	.rows = text_rows,                                                                                                 \
	.row_count = COUNT_OF(text_rows),                                                                                  \
	.derive = text_derive,                                                                                             \
	.words = words,                                                                                                    \
	.text_embedding = text_embedding,                                                                                  \
	.text_layers = text_layers,                                                                                        \
	.build_text = build_text,                                                                                          \
	.text_pick = PICK_LAST

static const char *const text_architectures[] = {"SiglipTextModel", NULL};
const family family_siglip_text = {.model_type = "siglip_text_model", .architectures = text_architectures, WORDS};

static const char *const text2_architectures[] = {"Siglip2TextModel", NULL};
const family family_siglip2_text = {.model_type = "siglip2_text_model", .architectures = text2_architectures, WORDS};

/* ------------------------------------------------------------------------------------------------ both */
#define BOTH                                                                                                               \
	.abilities = REBUS_READS_PICTURES | REBUS_READS_TEXT | REBUS_TWO_TOWERS,                                           \
	.prefixes = "",                                                                                                    \
	.ignored = ignored,                                                                                                \
	.config_size = sizeof(siglip_config),                                                                              \
	.weights_size = sizeof(siglip_weights),                                                                            \
	.layers_at = SIZE_MAX,                                                                                             \
	.rows = rows,                                                                                                      \
	.row_count = COUNT_OF(rows),                                                                                       \
	.build_vision = build_vision,                                                                                      \
	.build_text = build_text,                                                                                          \
	.vision_pick = vision_pick,                                                                                        \
	.text_pick = PICK_LAST,                                                                                            \
	.similarity_scale = similarity_scale,                                                                              \
	.similarity_bias = similarity_bias,                                                                                \
	.independent = true

static const char *const architectures[] = {"SiglipModel", NULL};
const family family_siglip = {
	.model_type = "siglip",
	.architectures = architectures,
	.processor = "SiglipImageProcessor",
	.vision = {"vision_config", "siglip_vision_model", "vision_model.", true},
	.text = {"text_config", "siglip_text_model", "text_model.", true},
	BOTH,
};

static const char *const architectures2[] = {"Siglip2Model", NULL};
const family family_siglip2 = {
	.model_type = "siglip2",
	.architectures = architectures2,
	.processor = "Siglip2ImageProcessor",
	.vision = {"vision_config", "siglip2_vision_model", "vision_model.", true},
	.text = {"text_config", "siglip2_text_model", "text_model.", true},
	BOTH,
};

/* ------------------------------------------------------------------------------------------------ classifiers */
static void build_classifier(net *n, const struct rebus_model *m)
{
	const siglip_tower_config *c = m->vision.config;
	const siglip_tower_weights *w = m->vision.weights;
	node_id hidden[MODEL_LAYERS + 1];
	tower_layers(n, &m->vision, "vision_model", hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "", i, hidden[i]);
	node_id x = graph_layer_norm(n->g, "vision_model.post_layernorm", hidden[c->layers], &w->after, &w->after_bias, (float)c->eps);
	clip_classify(n, m->self.weights, x);
}

static const char *const classifier_architectures[] = {"SiglipForImageClassification", NULL};
const family family_siglip_classifier = {
	.model_type = "siglip",
	.architectures = classifier_architectures,
	.processor = "SiglipImageProcessor",
	.vision = {"vision_config", "siglip_vision_model", "vision_model.", true},
	.build_vision = build_classifier,
	CLIP_CLASSIFIER,
	.vision_pick = vision_pick,
};

static const char *const classifier2_architectures[] = {"Siglip2ForImageClassification", NULL};
const family family_siglip2_classifier = {
	.model_type = "siglip2",
	.architectures = classifier2_architectures,
	.processor = "Siglip2ImageProcessor",
	.vision = {"vision_config", "siglip2_vision_model", "vision_model.", true},
	.build_vision = build_classifier,
	CLIP_CLASSIFIER,
	.vision_pick = vision_pick,
};
