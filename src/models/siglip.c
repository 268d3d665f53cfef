/*
 * siglip.c - SigLIP (Zhai et al. 2023): SiglipModel, and its two towers as parts of other models.
 *
 *     picture ─► patches ─► linear ─► + position ─► L x block ─► norm ─► the probe's attention, y + mlp(norm y) ─┐
 *                                                                                                              cosine * exp(scale) + bias
 *     text ─► ids, padded ─► embedding + position ─► L x block, both ways ─► norm ─► last row ─► linear ─────────┘
 *
 * No class row: a learned probe asks, the patches answer. Texts are padded to the full length and padding is read like any
 * token, so the last row is often padding. The blocks are CLIP's with eps 1e-6 and the tanh form of gelu; a text's score is a
 * sigmoid. Names: query, key and value of the probe's attention are one tensor, in_proj_weight.
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
	bool head;
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

#define V(m) WEIGHT_AT(siglip_tower_weights, m)
#define D(m) WEIGHT_DIM(siglip_tower_config, m)
#define HEAD WEIGHT_IF(siglip_tower_config, head)
static const weight_row tower_rows[] = {
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embedding.weight", V(position), .out = D(positions), .in = D(hidden)),
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embedding.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}embeddings.patch_embedding.bias", V(patch), .out = D(hidden)),
	CLIP_BLOCK_ROWS(siglip_tower_config),
	WEIGHT_ROW(VECTOR, "{p}post_layernorm.weight", V(after), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}post_layernorm.bias", V(after_bias), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}head.probe", V(head.probe), .out = D(hidden), .when = HEAD),
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
	c->positions = (int64_t)(c->image[0] / c->patch[0]) * (c->image[1] / c->patch[1]);
	c->stacked = 3 * c->hidden;
	c->shape = (tower_shape){.channels = c->channels, .positions = c->positions, .resample = GRID_BICUBIC, .probe = c->head};
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return clip_heads_fit("vision_config", c->hidden, c->heads, err);
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

const family family_siglip_vision = {
	.model_type = "siglip_vision_model",
	.config_size = sizeof(siglip_tower_config),
	.fields = tower_fields,
	.field_count = COUNT_OF(tower_fields),
	.weights_size = sizeof(siglip_tower_weights),
	.layers_at = offsetof(siglip_tower_weights, layers),
	.layer_count_at = offsetof(siglip_tower_config, layers),
	.rows = tower_rows,
	.row_count = COUNT_OF(tower_rows),
	.derive = tower_derive,
	.tower = tower,
	.tower_layers = tower_layers,
};

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

const family family_siglip_text = {
	.model_type = "siglip_text_model",
	.config_size = sizeof(siglip_text_config),
	.fields = text_fields,
	.field_count = COUNT_OF(text_fields),
	.weights_size = sizeof(siglip_text_weights),
	.layers_at = offsetof(siglip_text_weights, layers),
	.layer_count_at = offsetof(siglip_text_config, layers),
	.rows = text_rows,
	.row_count = COUNT_OF(text_rows),
	.derive = text_derive,
	.words = words,
	.text_embedding = text_embedding,
	.text_layers = text_layers,
};

/* ------------------------------------------------------------------------------------------------ both */
static const weight_row rows[] = {
	WEIGHT_ROW(SCALAR, "logit_scale", WEIGHT_AT(siglip_weights, scale)),
	WEIGHT_ROW(SCALAR, "logit_bias", WEIGHT_AT(siglip_weights, bias)),
};

static void see_unit(net *n, const char *name, node_id pooled)
{
	node_id unit = graph_unit(n->g, name, pooled);
	net_see(n, name, unit, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, unit, OUTPUT_PICKED, true);
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const siglip_tower_config *c = m->vision.config;
	const siglip_tower_weights *w = m->vision.weights;
	block_options o = clip_block(c->hidden, c->heads, c->eps, c->act);
	node_id hidden[MODEL_LAYERS + 1];
	if (!c->head) {
		graph_fail(n->g, REBUS_UNSUPPORTED, "config.json: vision_config.vision_use_head: false, and nothing pools a picture's rows");
		return;
	}
	m->vision.f->tower_layers(n, &m->vision, "vision_model", hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "vision.", i, hidden[i]);
	node_id x = graph_layer_norm(n->g, "vision_model.post_layernorm", hidden[c->layers], &w->after, &w->after_bias, (float)c->eps);
	net_see(n, "vision.last_hidden_state", x, OUTPUT_ROWS, false);
	o.attention = "attention";
	node_id pooled = part_probe(n, "vision_model.head", x, &w->head, &o);
	net_see(n, "vision.pooler_output", pooled, OUTPUT_PICKED, false);
	see_unit(n, "image_embeds", pooled);
}

static void build_text(net *n, const struct rebus_model *m)
{
	const family *f = m->text.f;
	f->text_layers(n, &m->text, "text_model", f->text_embedding(n, &m->text, "text_model", false));
	const net_output *pooled = net_find(n, "text.pooler_output");
	if (pooled)
		see_unit(n, "text_embeds", pooled->node);
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

static const char *const architectures[] = {"SiglipModel", NULL};
static const char *const ignored[] = {"*.position_ids", NULL};

const family family_siglip = {
	.model_type = "siglip",
	.architectures = architectures,
	.abilities = REBUS_READS_PICTURES | REBUS_READS_TEXT | REBUS_TWO_TOWERS,
	.prefixes = "",
	.ignored = ignored,
	.processor = "SiglipImageProcessor",
	.config_size = sizeof(siglip_config),
	.weights_size = sizeof(siglip_weights),
	.layers_at = SIZE_MAX,
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.vision = {"vision_config", "siglip_vision_model", "vision_model.", true},
	.text = {"text_config", "siglip_text_model", "text_model.", true},
	.build_vision = build_vision,
	.build_text = build_text,
	.vision_pick = vision_pick,
	.text_pick = PICK_LAST,
	.similarity_scale = similarity_scale,
	.similarity_bias = similarity_bias,
	.independent = true,
};
