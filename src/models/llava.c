/*
 * llava.c - LLaVA-1.5 (Liu et al. 2023b, figure 1): LlavaForConditionalGeneration.
 *
 *     picture ─► any tower ─► hidden states of vision_feature_layer ─► without the class row ─► linear ─► gelu ─► linear ┐
 *                                                                                                                       ▼
 *     text ─► ids with a placeholder for every picture row ─► embedding ─► the placeholders' rows are replaced ─► any text model
 *
 * vision_feature_layer counts what enters the first block as 0, negative ones from the end; a list of layers is joined on
 * columns. vision_feature_select_strategy "full" keeps the class row, "default" drops it.
 */
#include <string.h>

#include "models/model.h"

typedef struct llava_config {
	int_list feature_layers;
	const char *strategy;
	act_kind act;
	int64_t image_token, joined; /* joined: how many feature layers */
	bool biased;
} llava_config;

typedef struct llava_weights {
	weight first, second;
} llava_weights;

static const field fields[] = {
	CONFIG_INTS(llava_config, feature_layers, "vision_feature_layer", -MODEL_LAYERS - 1, MODEL_LAYERS),
	CONFIG_TEXT(llava_config, strategy, "vision_feature_select_strategy", "default"),
	CONFIG_ACT(llava_config, act, "projector_hidden_act", "gelu"),
	CONFIG_INT(llava_config, image_token, "image_token_index|image_token_id", 0, 1 << 24, 32000),
	CONFIG_FLAG(llava_config, biased, "multimodal_projector_bias", true),
};

#define V(m) WEIGHT_AT(llava_weights, m)
#define BIASED WEIGHT_IF(llava_config, biased)
static const weight_row rows[] = {
	WEIGHT_ROW(LINEAR, "{p}multi_modal_projector.linear_1.weight", V(first), .out = WEIGHT_WORDS, .in = WEIGHT_TOWER,
		.times = WEIGHT_DIM(llava_config, joined)),
	WEIGHT_ROW(BIAS, "{p}multi_modal_projector.linear_1.bias", V(first), .out = WEIGHT_WORDS, .when = BIASED),
	WEIGHT_ROW(LINEAR, "{p}multi_modal_projector.linear_2.weight", V(second), .out = WEIGHT_WORDS, .in = WEIGHT_WORDS),
	WEIGHT_ROW(BIAS, "{p}multi_modal_projector.linear_2.bias", V(second), .out = WEIGHT_WORDS, .when = BIASED),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	llava_config *c = config;
	if (strcmp(c->strategy, "default") && strcmp(c->strategy, "full"))
		return error_set(err, REBUS_FORMAT, "config.json: vision_feature_select_strategy: %s, expected default or full", c->strategy);
	if (c->feature_layers.count > NODE_INPUTS)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: vision_feature_layer: %d layers, expected at most %d", c->feature_layers.count, NODE_INPUTS);
	if (!c->feature_layers.count && c->feature_layers.at)
		return error_set(err, REBUS_FORMAT, "config.json: vision_feature_layer: an empty list, expected a layer");
	if (!c->feature_layers.count) { /* the class's default */
		int64_t *penultimate = arena_get(a, 1, sizeof *penultimate);
		if (!penultimate)
			return error_memory(err, "config.json");
		*penultimate = -2;
		c->feature_layers = (int_list){1, penultimate};
	}
	c->joined = c->feature_layers.count;
	return REBUS_OK;
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const llava_config *c = m->self.config;
	const llava_weights *w = m->self.weights;
	node_id hidden[MODEL_LAYERS + 1], picked[NODE_INPUTS];
	int64_t layers = component_layers(&m->vision);
	m->vision.f->tower_layers(n, &m->vision, "vision_tower", hidden);
	for (int64_t i = 0; i <= layers; i++)
		net_see_hidden(n, "vision.", i, hidden[i]);
	for (int32_t i = 0; i < c->feature_layers.count; i++) {
		int64_t layer = c->feature_layers.at[i] < 0 ? c->feature_layers.at[i] + layers + 1 : c->feature_layers.at[i];
		if (layer < 0 || layer > layers) {
			graph_fail(n->g, REBUS_FORMAT, "config.json: vision_feature_layer: %lld of a tower of %lld layers",
				(long long)c->feature_layers.at[i], (long long)layers);
			return;
		}
		picked[i] = part_pick(n, "vision_tower.selected", hidden[layer]);
	}
	node_id x = c->feature_layers.count == 1 ? picked[0] : graph_concat(n->g, "vision_tower.joined", picked, c->feature_layers.count);
	x = graph_linear(n->g, "multi_modal_projector.linear_1", x, &w->first);
	x = graph_act(n->g, "multi_modal_projector.act", c->act, x);
	x = graph_linear(n->g, "multi_modal_projector", x, &w->second);
	net_see(n, "image_features", x, OUTPUT_FLAT, true);
}

static void build_text(net *n, const struct rebus_model *m)
{
	const family *f = m->text.f;
	node_id x = f->text_embedding(n, &m->text, "language_model.model", true);
	net_see(n, "inputs_embeds", x, OUTPUT_ROWS, false);
	f->text_layers(n, &m->text, "language_model.model", x);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	return strcmp(((const llava_config *)m->self.config)->strategy, "full") ? PICK_PATCHES : PICK_ALL;
}

static int64_t image_token(const void *config)
{
	return ((const llava_config *)config)->image_token;
}

static const char *const architectures[] = {"LlavaForConditionalGeneration", NULL};
static const char *const ignored[] = {"*.position_ids", "*.rotary_emb.inv_freq", NULL};

const family family_llava = {
	.model_type = "llava",
	.architectures = architectures,
	.abilities = REBUS_READS_PICTURES | REBUS_READS_TEXT | REBUS_GENERATES,
	.prefixes = "|model.",
	.ignored = ignored,
	.processor = "CLIPImageProcessor",
	.config_size = sizeof(llava_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(llava_weights),
	.layers_at = SIZE_MAX,
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.vision = {.member = "vision_config", .fallback = "clip_vision_model",
		.prefixes = "vision_tower.vision_model.|vision_tower.|model.vision_tower.vision_model.|model.vision_tower."},
	.text = {.member = "text_config", .fallback = "llama", .prefixes = "language_model.model.|model.language_model."},
	.derive = derive,
	.build_vision = build_vision,
	.build_text = build_text,
	.vision_pick = vision_pick,
	.text_pick = PICK_LAST,
	.image_token = image_token,
};
