/*
 * clip.c - CLIP (Radford et al. 2021, figure 1): CLIPModel, and its two towers alone (CLIPVisionModel, CLIPTextModel, both with their
 * projection too), as parts of other models, and with a classifier of the patches' mean (CLIPForImageClassification).
 *
 *     picture ─► patches ─► linear ─► [class, patches] + position ─► norm ─► L x block ─► class row ─► norm ─► projection ┐
 *                                                                                                                        cosine * exp(scale)
 *     text ─► ids ─► embedding + position ─► L x block (causal) ─► norm ─► row of the end token ─► projection ───────────┘
 *
 * last_hidden_state of the picture tower is not normalised; "pre_layrnorm" is the checkpoints' spelling. The end token's row
 * is the first eos, or where eos_token_id is 2 (old files) the highest id. Projections have no bias.
 */
#include <string.h>

#include "models/clip_block.h"
#include "models/model.h"

typedef struct clip_config {
	int64_t projection;
} clip_config;

typedef struct clip_tower_config {
	int64_t hidden, layers, heads, mlp, channels, projection;
	int32_t image[2], patch[2];
	double eps;
	bool projects;
	act_kind act;
	int64_t patch_width, positions;
	tower_shape shape;
} clip_tower_config;

typedef struct clip_text_config {
	int64_t hidden, layers, heads, mlp, vocabulary, positions, eos, projection;
	double eps;
	bool projects;
	act_kind act;
	text_shape shape;
} clip_text_config;

typedef struct clip_weights {
	weight picture_projection, text_projection, scale;
} clip_weights;

typedef struct clip_tower_weights {
	weight class_row, position, patch, before, before_bias, after, after_bias, projection;
	block_weights *layers;
} clip_tower_weights;

typedef struct clip_text_weights {
	weight table, position, norm, norm_bias, projection;
	block_weights *layers;
} clip_text_weights;

/* ------------------------------------------------------------------------------------------------ picture tower */
static const field tower_fields[] = {
	CONFIG_INT(clip_tower_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(clip_tower_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(clip_tower_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(clip_tower_config, mlp, "intermediate_size", 1, 1 << 20, 3072),
	CONFIG_INT(clip_tower_config, channels, "num_channels", 1, 64, 3),
	CONFIG_PAIR(clip_tower_config, image, "image_size", 1, 65536, 224),
	CONFIG_PAIR(clip_tower_config, patch, "patch_size", 1, 4096, 32),
	CONFIG_REAL(clip_tower_config, eps, "layer_norm_eps", 0, 1, 1e-5),
	CONFIG_INT(clip_tower_config, projection, "projection_dim", 1, 65536, 512),
	CONFIG_ACT(clip_tower_config, act, "hidden_act", "quick_gelu"),
};

#define V(m) WEIGHT_AT(clip_tower_weights, m)
#define D(m) WEIGHT_DIM(clip_tower_config, m)
static const weight_row tower_rows[] = {
	WEIGHT_ROW(VECTOR, "{p}embeddings.class_embedding", V(class_row), .out = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embedding.weight", V(position), .out = D(positions), .in = D(hidden)),
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embedding.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(VECTOR, "{p}pre_layrnorm.weight", V(before), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}pre_layrnorm.bias", V(before_bias), .out = D(hidden)),
	CLIP_BLOCK_ROWS(clip_tower_config),
	WEIGHT_ROW(VECTOR, "{p}post_layernorm.weight", V(after), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}post_layernorm.bias", V(after_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "visual_projection.weight", V(projection), .out = D(projection), .in = D(hidden), .when = WEIGHT_IF(clip_tower_config, projects)),
};
#undef V
#undef D

static bool projects(const json *object)
{
	const char *architecture = model_architecture(object);
	return architecture && strstr(architecture, "WithProjection");
}

static rebus_status tower_begin(const json *object, void *config, rebus_error *err)
{
	(void)err;
	((clip_tower_config *)config)->projects = projects(object);
	return REBUS_OK;
}

static rebus_status tower_derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	clip_tower_config *c = config;
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	c->positions = 1 + (int64_t)(c->image[0] / c->patch[0]) * (c->image[1] / c->patch[1]);
	c->shape = (tower_shape){.channels = c->channels, .learned = 1, .placed = 1, .positions = c->positions, .resample = GRID_BICUBIC};
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return clip_heads_fit("vision_config", c->hidden, c->heads, err);
}

static const tower_shape *tower(const void *config)
{
	return &((const clip_tower_config *)config)->shape;
}

static void tower_layers(net *n, const component *part, const char *name, node_id *hidden)
{
	const clip_tower_config *c = part->config;
	const clip_tower_weights *w = part->weights;
	block_options o = clip_block(c->hidden, c->heads, c->eps, c->act);
	node_id x = part_patch_embedding(n, graph_text(n->g, "%s.embeddings", name), &w->patch, (const weight *[]){&w->class_row}, 1, &w->position);
	hidden[0] = graph_layer_norm(n->g, graph_text(n->g, "%s.pre_layrnorm", name), x, &w->before, &w->before_bias, (float)c->eps);
	for (int64_t i = 0; i < c->layers; i++)
		hidden[i + 1] = part_block(n, graph_text(n->g, "%s.encoder.layers.%lld", name, (long long)i), hidden[i], &w->layers[i], &o);
}

/* A tower alone gives what it pools as it is, not as a unit vector. */
static void build_tower(net *n, const struct rebus_model *m)
{
	const clip_tower_config *c = m->self.config;
	const clip_tower_weights *w = m->self.weights;
	node_id hidden[MODEL_LAYERS + 1];
	tower_layers(n, &m->self, "vision_model", hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "", i, hidden[i]);
	net_see(n, "last_hidden_state", hidden[c->layers], OUTPUT_ROWS, false);
	node_id pooled = part_pick(n, "vision_model.class", hidden[c->layers]);
	pooled = graph_layer_norm(n->g, "vision_model.post_layernorm", pooled, &w->after, &w->after_bias, (float)c->eps);
	if (c->projects)
		pooled = graph_linear(n->g, "visual_projection", pooled, &w->projection);
	net_see(n, c->projects ? "image_embeds" : "pooler_output", pooled, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, pooled, OUTPUT_PICKED, true);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST;
}

static const char *const ignored[] = {"*.position_ids", NULL};
static const char *const tower_architectures[] = {"CLIPVisionModel", "CLIPVisionModelWithProjection", NULL};

const family family_clip_vision = {
	.model_type = "clip_vision_model",
	.architectures = tower_architectures,
	.abilities = REBUS_READS_PICTURES,
	.prefixes = "vision_model.|",
	.ignored = ignored,
	.processor = "CLIPImageProcessor",
	.begin = tower_begin,
	.build_vision = build_tower,
	.vision_pick = vision_pick,
	.config_size = sizeof(clip_tower_config),
	.fields = tower_fields,
	.field_count = COUNT_OF(tower_fields),
	.weights_size = sizeof(clip_tower_weights),
	.layers_at = offsetof(clip_tower_weights, layers),
	.layer_count_at = offsetof(clip_tower_config, layers),
	.width_at = offsetof(clip_tower_config, hidden),
	.rows = tower_rows,
	.row_count = COUNT_OF(tower_rows),
	.derive = tower_derive,
	.tower = tower,
	.tower_layers = tower_layers,
};

/* ------------------------------------------------------------------------------------------------ text tower */
static const field text_fields[] = {
	CONFIG_INT(clip_text_config, hidden, "hidden_size", 1, 65536, 512),
	CONFIG_INT(clip_text_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(clip_text_config, heads, "num_attention_heads", 1, 1024, 8),
	CONFIG_INT(clip_text_config, mlp, "intermediate_size", 1, 1 << 20, 2048),
	CONFIG_INT(clip_text_config, vocabulary, "vocab_size", 1, 1 << 24, 49408),
	CONFIG_INT(clip_text_config, positions, "max_position_embeddings", 1, 1 << 24, 77),
	CONFIG_INT(clip_text_config, eos, "eos_token_id", 0, 1 << 24, 49407),
	CONFIG_REAL(clip_text_config, eps, "layer_norm_eps", 0, 1, 1e-5),
	CONFIG_INT(clip_text_config, projection, "projection_dim", 1, 65536, 512),
	CONFIG_ACT(clip_text_config, act, "hidden_act", "quick_gelu"),
};

#define V(m) WEIGHT_AT(clip_text_weights, m)
#define D(m) WEIGHT_DIM(clip_text_config, m)
static const weight_row text_rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}embeddings.token_embedding.weight", V(table), .out = D(vocabulary), .in = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embedding.weight", V(position), .out = D(positions), .in = D(hidden)),
	CLIP_BLOCK_ROWS(clip_text_config),
	WEIGHT_ROW(VECTOR, "{p}final_layer_norm.weight", V(norm), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}final_layer_norm.bias", V(norm_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "text_projection.weight", V(projection), .out = D(projection), .in = D(hidden), .when = WEIGHT_IF(clip_text_config, projects)),
};
#undef V
#undef D

static rebus_status text_begin(const json *object, void *config, rebus_error *err)
{
	(void)err;
	((clip_text_config *)config)->projects = projects(object);
	return REBUS_OK;
}

static rebus_status text_derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	clip_text_config *c = config;
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions, .eos = c->eos, .learned_order = true};
	return clip_heads_fit("text_config", c->hidden, c->heads, err);
}

static const text_shape *words(const void *config)
{
	return &((const clip_text_config *)config)->shape;
}

static node_id text_embedding(net *n, const component *part, const char *name, bool features)
{
	const clip_text_weights *w = part->weights;
	node_id x = part_token_embedding(n, graph_text(n->g, "%s.embeddings.token_embedding", name), &w->table, features);
	return part_order_embedding(n, graph_text(n->g, "%s.embeddings", name), x, &w->position);
}

static void text_layers(net *n, const component *part, const char *name, node_id x)
{
	const clip_text_config *c = part->config;
	const clip_text_weights *w = part->weights;
	block_options o = clip_block(c->hidden, c->heads, c->eps, c->act);
	net_see_hidden(n, "text.", 0, x);
	for (int64_t i = 0; i < c->layers; i++) {
		x = part_block(n, graph_text(n->g, "%s.encoder.layers.%lld", name, (long long)i), x, &w->layers[i], &o);
		net_see_hidden(n, "text.", i + 1, x);
	}
	x = graph_layer_norm(n->g, graph_text(n->g, "%s.final_layer_norm", name), x, &w->norm, &w->norm_bias, (float)c->eps);
	net_see(n, "text.last_hidden_state", x, OUTPUT_ROWS, true);
}

static void build_words(net *n, const struct rebus_model *m)
{
	const clip_text_config *c = m->self.config;
	const clip_text_weights *w = m->self.weights;
	text_layers(n, &m->self, "text_model", text_embedding(n, &m->self, "text_model", false));
	const net_output *last = net_find(n, "text.last_hidden_state");
	if (!last)
		return;
	node_id pooled = part_pick(n, "text_model.end", last->node);
	if (c->projects)
		pooled = graph_linear(n->g, "text_projection", pooled, &w->projection);
	net_see(n, c->projects ? "text_embeds" : "pooler_output", pooled, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, pooled, OUTPUT_PICKED, true);
	for (int32_t i = 0; i < n->output_count; i++)
		if (!strncmp(n->outputs[i].name, "text.", 5))
			n->outputs[i].name += 5;
}

static const char *const text_architectures[] = {"CLIPTextModel", "CLIPTextModelWithProjection", NULL};

const family family_clip_text = {
	.model_type = "clip_text_model",
	.architectures = text_architectures,
	.abilities = REBUS_READS_TEXT,
	.prefixes = "text_model.|",
	.ignored = ignored,
	.begin = text_begin,
	.build_text = build_words,
	.text_pick = PICK_END,
	.config_size = sizeof(clip_text_config),
	.fields = text_fields,
	.field_count = COUNT_OF(text_fields),
	.weights_size = sizeof(clip_text_weights),
	.layers_at = offsetof(clip_text_weights, layers),
	.layer_count_at = offsetof(clip_text_config, layers),
	.width_at = offsetof(clip_text_config, hidden),
	.rows = text_rows,
	.row_count = COUNT_OF(text_rows),
	.derive = text_derive,
	.words = words,
	.text_embedding = text_embedding,
	.text_layers = text_layers,
};

/* ------------------------------------------------------------------------------------------------ both */
static const field fields[] = {
	CONFIG_INT(clip_config, projection, "projection_dim", 1, 65536, 512),
};

#define V(m) WEIGHT_AT(clip_weights, m)
#define D(m) WEIGHT_DIM(clip_config, m)
static const weight_row rows[] = {
	WEIGHT_ROW(LINEAR, "visual_projection.weight", V(picture_projection), .out = D(projection), .in = WEIGHT_TOWER),
	WEIGHT_ROW(LINEAR, "text_projection.weight", V(text_projection), .out = D(projection), .in = WEIGHT_WORDS),
	WEIGHT_ROW(SCALAR, "logit_scale", V(scale)),
};

static void build_vision(net *n, const struct rebus_model *m)
{
	const clip_weights *w = m->self.weights;
	const clip_tower_config *c = m->vision.config;
	const clip_tower_weights *t = m->vision.weights;
	node_id hidden[MODEL_LAYERS + 1];
	m->vision.f->tower_layers(n, &m->vision, "vision_model", hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "vision.", i, hidden[i]);
	net_see(n, "vision.last_hidden_state", hidden[c->layers], OUTPUT_ROWS, false);
	node_id first = part_pick(n, "vision_model.class", hidden[c->layers]);
	first = graph_layer_norm(n->g, "vision_model.post_layernorm", first, &t->after, &t->after_bias, (float)c->eps);
	node_id pooled = graph_linear(n->g, "visual_projection", first, &w->picture_projection);
	net_see(n, "vision.pooler_output", pooled, OUTPUT_PICKED, false);
	node_id unit = graph_unit(n->g, "image_embeds", pooled);
	net_see(n, "image_embeds", unit, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, unit, OUTPUT_PICKED, true);
}

static void build_text(net *n, const struct rebus_model *m)
{
	const clip_weights *w = m->self.weights;
	const family *f = m->text.f;
	f->text_layers(n, &m->text, "text_model", f->text_embedding(n, &m->text, "text_model", false));
	const net_output *last = net_find(n, "text.last_hidden_state");
	if (!last)
		return;
	node_id pooled = graph_linear(n->g, "text_projection", part_pick(n, "text_model.end", last->node), &w->text_projection);
	net_see(n, "text.pooler_output", pooled, OUTPUT_PICKED, false);
	node_id unit = graph_unit(n->g, "text_embeds", pooled);
	net_see(n, "text_embeds", unit, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, unit, OUTPUT_PICKED, true);
}

static const weight *similarity_scale(const struct rebus_model *m)
{
	return &((const clip_weights *)m->self.weights)->scale;
}

static const char *const architectures[] = {"CLIPModel", NULL};

const family family_clip = {
	.model_type = "clip",
	.architectures = architectures,
	.abilities = REBUS_READS_PICTURES | REBUS_READS_TEXT | REBUS_TWO_TOWERS,
	.prefixes = "",
	.ignored = ignored,
	.processor = "CLIPImageProcessor",
	.config_size = sizeof(clip_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(clip_weights),
	.layers_at = SIZE_MAX,
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.vision = {"vision_config", "clip_vision_model", "vision_model.", true},
	.text = {"text_config", "clip_text_model", "text_model.", true},
	.build_vision = build_vision,
	.build_text = build_text,
	.vision_pick = vision_pick,
	.text_pick = PICK_END,
	.similarity_scale = similarity_scale,
};

/* ------------------------------------------------------------------------------------------------ a classifier */
static void build_classifier(net *n, const struct rebus_model *m)
{
	const clip_tower_config *c = m->vision.config;
	node_id hidden[MODEL_LAYERS + 1];
	tower_layers(n, &m->vision, "vision_model", hidden);
	for (int64_t i = 0; i <= c->layers; i++)
		net_see_hidden(n, "", i, hidden[i]);
	clip_classify(n, m->self.weights, hidden[c->layers]);
}

static const char *const classifier_architectures[] = {"CLIPForImageClassification", NULL};

const family family_clip_classifier = {
	.model_type = "clip",
	.architectures = classifier_architectures,
	.processor = "CLIPImageProcessor",
	.vision = {"vision_config", "clip_vision_model", "vision_model.", true},
	.build_vision = build_classifier,
	CLIP_CLASSIFIER,
	.vision_pick = vision_pick,
};
