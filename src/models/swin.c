/*
 * swin.c - Swin Transformer (Liu et al. 2021, figure 3): SwinModel, SwinForImageClassification; and Swin Transformer V2 (Liu et
 * al. 2022, figure 1): Swinv2Model, Swinv2ForImageClassification.
 *
 *     picture ─► patches ─► linear ─► norm ─► stage 0 ─► merge ─► stage 1 ─► ... ─► norm ─► mean of rows ─► classifier
 *     stage:  blocks, plain and shifted windows in turn (tokens/windows.h)      V1    x + attention(norm x);  x + mlp(norm x)
 *     merge:  4 neighbours side by side ─► V1: norm, linear   V2: linear, norm  V2    x + norm attention(x);  x + norm mlp(x)
 *
 * V1 scores: q.k d^-1/2 + table[distance]. V2: cosine of q and k times a head's scale, + 16 sigmoid of an MLP of the logarithm
 * of the distance; keys have no bias. Rows that the shift brought together lose 100, in the reference's V2 200: it adds the
 * mask twice. Padding of a grid to whole windows comes after the norm, is zero, and is attended to. A picture that is no
 * multiple of the patch is padded too.
 *
 * V1 cuts the window to a smaller grid, for which its table does not fit: an error. V2 decides window and shift from
 * config.json's image_size, whatever the picture's. hidden_states.i is what enters stage i, after merging; eps of the
 * embedding's and the merging norms is torch's, not the configuration's. relative_position_index and the like are no weights.
 */
#include <string.h>

#include "models/model.h"
#include "parts/pyramid.h"

static const double TORCH_EPS = 1e-5;

typedef struct swin_stage_config {
	int64_t hidden, depth, heads, mlp, entries, pieces, axes, table_hidden, next, merge_norm;
	bool first_version, second_version, merges, qkv_bias, key_bias;
	window_options o;
} swin_stage_config;

typedef struct swin_config {
	int64_t embed, channels, window;
	int_list depths, heads, trained;
	int32_t image[2], patch[2];
	double eps, ratio;
	bool qkv_bias, absolute, second_version;
	act_kind act;
	int64_t patch_width, positions, last;
	swin_stage_config stage[PYRAMID_STAGES];
	pyramid_shape windows;
	tower_shape shape;
} swin_config;

typedef struct swin_weights {
	weight patch, embed_norm, embed_norm_bias, position, norm, norm_bias, classifier;
} swin_weights;

typedef struct swin_stage_weights {
	block_weights *layers;
	weight reduction, merge_norm, merge_norm_bias;
} swin_stage_weights;

static const field fields[] = {
	CONFIG_INT(swin_config, embed, "embed_dim", 1, 8192, 96),
	CONFIG_INT(swin_config, channels, "num_channels", 1, 64, 3),
	CONFIG_INT(swin_config, window, "window_size", 1, 512, 7),
	CONFIG_INTS(swin_config, depths, "depths", 1, MODEL_LAYERS),
	CONFIG_INTS(swin_config, heads, "num_heads", 1, 1024),
	CONFIG_INTS(swin_config, trained, "pretrained_window_sizes", 0, 512),
	CONFIG_PAIR(swin_config, image, "image_size", 1, 65536, 224),
	CONFIG_PAIR(swin_config, patch, "patch_size", 1, 4096, 4),
	CONFIG_REAL(swin_config, ratio, "mlp_ratio", 0.01, 1024, 4),
	CONFIG_REAL(swin_config, eps, "layer_norm_eps", 0, 1, 1e-5),
	CONFIG_FLAG(swin_config, qkv_bias, "qkv_bias", true),
	CONFIG_FLAG(swin_config, absolute, "use_absolute_embeddings", false),
	CONFIG_ACT(swin_config, act, "hidden_act", "gelu"),
};

#define V(m) WEIGHT_AT(swin_weights, m)
#define D(m) WEIGHT_DIM(swin_config, m)
static const weight_row rows[] = {
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embeddings.projection.weight", V(patch), .out = D(embed), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}embeddings.patch_embeddings.projection.bias", V(patch), .out = D(embed)),
	WEIGHT_ROW(VECTOR, "{p}embeddings.norm.weight", V(embed_norm), .out = D(embed)),
	WEIGHT_ROW(VECTOR, "{p}embeddings.norm.bias", V(embed_norm_bias), .out = D(embed)),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embeddings", V(position), .out = D(positions), .in = D(embed), .when = WEIGHT_IF(swin_config, absolute),
		.lead = 1),
	WEIGHT_ROW(VECTOR, "{p}layernorm.weight", V(norm), .out = D(last)),
	WEIGHT_ROW(VECTOR, "{p}layernorm.bias", V(norm_bias), .out = D(last)),
	WEIGHT_ROW(LINEAR, "classifier.weight", V(classifier), .out = WEIGHT_ANY, .in = D(last), .optional = true, .only = "ForImageClassification"),
	WEIGHT_ROW(BIAS, "classifier.bias", V(classifier), .out = WEIGHT_ANY, .optional = true, .only = "ForImageClassification"),
};
#undef V
#undef D

#define V(m) WEIGHT_AT(swin_stage_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(swin_stage_config, m)
#define IF(m) WEIGHT_IF(swin_stage_config, m)
#define LAYER "{p}blocks.{i}."
#define SELF LAYER "attention.self."
static const weight_row stage_rows[] = {
	WEIGHT_ROW(VECTOR, LAYER "layernorm_before.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_before.bias", L(norm1_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, SELF "query.weight", L(qkv), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, SELF "key.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 1),
	WEIGHT_ROW(LINEAR, SELF "value.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 2),
	WEIGHT_ROW(BIAS, SELF "query.bias", L(qkv), .out = D(hidden), .when = IF(qkv_bias)),
	WEIGHT_ROW(BIAS, SELF "key.bias", L(qkv), .out = D(hidden), .part = 1, .when = IF(key_bias)),
	WEIGHT_ROW(BIAS, SELF "value.bias", L(qkv), .out = D(hidden), .part = 2, .when = IF(qkv_bias)),
	WEIGHT_ROW(TABLE, SELF "relative_position_bias_table", L(table), .out = D(entries), .in = D(heads), .when = IF(first_version)),
	WEIGHT_ROW(VECTOR, SELF "logit_scale", L(table_scale), .out = D(heads), .when = IF(second_version), .trail = 2),
	WEIGHT_ROW(LINEAR, SELF "continuous_position_bias_mlp.0.weight", L(table_up), .out = D(table_hidden), .in = D(axes), .when = IF(second_version)),
	WEIGHT_ROW(BIAS, SELF "continuous_position_bias_mlp.0.bias", L(table_up), .out = D(table_hidden), .when = IF(second_version)),
	WEIGHT_ROW(LINEAR, SELF "continuous_position_bias_mlp.2.weight", L(table_down), .out = D(heads), .in = D(table_hidden), .when = IF(second_version)),
	WEIGHT_ROW(LINEAR, LAYER "attention.output.dense.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attention.output.dense.bias", L(out), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_after.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, LAYER "layernorm_after.bias", L(norm2_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "intermediate.dense.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "intermediate.dense.bias", L(up), .out = D(mlp)),
	WEIGHT_ROW(LINEAR, LAYER "output.dense.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, LAYER "output.dense.bias", L(down), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "{p}downsample.reduction.weight", V(reduction), .out = D(next), .in = D(pieces), .when = IF(merges)),
	WEIGHT_ROW(VECTOR, "{p}downsample.norm.weight", V(merge_norm), .out = D(merge_norm), .when = IF(merges)),
	WEIGHT_ROW(VECTOR, "{p}downsample.norm.bias", V(merge_norm_bias), .out = D(merge_norm), .when = IF(merges)),
};

/* ------------------------------------------------------------------------------------------------ configuration */
static const int64_t usual_depths[] = {2, 2, 6, 2}, usual_heads[] = {3, 6, 12, 24}, usual_trained[] = {0, 0, 0, 0};

/* Window and shift of stage i. */
static void derive_window(swin_config *c, int32_t i)
{
	pyramid_shape *w = &c->windows;
	int32_t high = (c->image[0] / c->patch[0]) >> i, side = (int32_t)c->window, shift = side / 2;
	if (c->second_version) {
		side = (int32_t)int_max(1, int_min(high, c->window)); /* the reference takes both from the height */
		shift = high <= side ? 0 : shift;
	}
	for (int k = 0; k < 2; k++) {
		w->window[i][k] = side;
		w->shift[i][k] = shift;
	}
}

static rebus_status derive_stage(swin_config *c, int32_t i, rebus_error *err)
{
	swin_stage_config *s = &c->stage[i];
	*s = (swin_stage_config){.hidden = c->embed << i, .depth = c->depths.at[i], .heads = c->heads.at[i], .axes = 2, .table_hidden = 512,
		.first_version = !c->second_version,
		.second_version = c->second_version, .merges = i + 1 < c->depths.count, .qkv_bias = c->qkv_bias, .key_bias = c->qkv_bias && !c->second_version};
	if (s->hidden % s->heads || s->hidden / s->heads > 512)
		return error_set(err, REBUS_FORMAT,
			"config.json: num_heads: %lld heads of %lld columns, expected a divisor and heads of at most 512", (long long)s->heads,
			(long long)s->hidden);
	derive_window(c, i);
	int64_t side = 2 * (int64_t)c->windows.window[i][0] - 1;
	s->mlp = (int64_t)(c->ratio * (double)s->hidden);
	s->entries = side * side;
	s->pieces = 4 * s->hidden;
	s->next = 2 * s->hidden;
	s->merge_norm = c->second_version ? s->next : s->pieces;
	s->o = (window_options){.stage = i, .window = {c->windows.window[i][0], c->windows.window[i][1]},
		.other_region = c->second_version ? -200 : -100, .cosine = c->second_version,
		.after = c->second_version, .trained = i < c->trained.count ? (int32_t)c->trained.at[i] : 0};
	s->o.block = (block_options){.heads = s->heads, .kv_heads = s->heads, .head_dim = s->hidden / s->heads, .eps = c->eps, .act = c->act,
		.attention = "attention", .mlp = "output"};
	return s->mlp ? REBUS_OK : error_set(err, REBUS_FORMAT, "config.json: mlp_ratio: %g of %lld columns leaves no width", c->ratio, (long long)s->hidden);
}

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	swin_config *c = config;
	c->depths = c->depths.count ? c->depths : (int_list){COUNT_OF(usual_depths), usual_depths};
	c->heads = c->heads.count ? c->heads : (int_list){COUNT_OF(usual_heads), usual_heads};
	c->trained = c->trained.count ? c->trained : (int_list){COUNT_OF(usual_trained), usual_trained};
	if (c->depths.count > PYRAMID_STAGES || c->heads.count < c->depths.count)
		return error_set(err, REBUS_FORMAT,
			"config.json: depths: %d stages and %d num_heads, expected at most %d and one for each", c->depths.count, c->heads.count,
			PYRAMID_STAGES);
	if (c->absolute && c->second_version)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: use_absolute_embeddings: Swin V2 has none");
	c->windows = (pyramid_shape){.stages = c->depths.count, .fits = !c->second_version};
	for (int32_t i = 0; i < c->depths.count; i++) {
		rebus_status status = derive_stage(c, i, err);
		if (status)
			return status;
	}
	c->last = c->stage[c->depths.count - 1].hidden;
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	c->positions = (int64_t)(c->image[0] / c->patch[0]) * (c->image[1] / c->patch[1]);
	c->shape = (tower_shape){.channels = c->channels, .positions = c->absolute ? c->positions : 0, .resample = GRID_BICUBIC,
		.pads = true, .windows = &c->windows};
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return REBUS_OK;
}

static rebus_status derive_second(arena *a, void *config, rebus_error *err)
{
	((swin_config *)config)->second_version = true;
	return derive(a, config, err);
}

static void *stage_config(void *config, int64_t i)
{
	swin_config *c = config;
	return i < c->depths.count ? &c->stage[i] : NULL;
}

static const tower_shape *tower(const void *config)
{
	return &((const swin_config *)config)->shape;
}

/* ------------------------------------------------------------------------------------------------ nodes */
static node_id merge(net *n, const char *name, node_id x, const swin_stage_config *c, const swin_stage_weights *w)
{
	x = part_merge(n, graph_text(n->g, "%s.pieces", name), x, c->o.stage);
	if (!c->o.after)
		x = graph_layer_norm(n->g, graph_text(n->g, "%s.norm", name), x, &w->merge_norm, &w->merge_norm_bias, (float)TORCH_EPS);
	x = graph_linear(n->g, c->o.after ? graph_text(n->g, "%s.reduction", name) : name, x, &w->reduction);
	return c->o.after ? graph_layer_norm(n->g, name, x, &w->merge_norm, &w->merge_norm_bias, (float)TORCH_EPS) : x;
}

static node_id stage(net *n, const char *name, node_id x, const component *part)
{
	const swin_stage_config *c = part->config;
	const swin_stage_weights *w = part->weights;
	for (int64_t i = 0; i < c->depth; i++)
		x = part_window_block(n, graph_text(n->g, "%s.blocks.%lld", name, (long long)i), x, &w->layers[i], &c->o, i % 2);
	return c->merges ? merge(n, graph_text(n->g, "%s.downsample", name), x, c, w) : x;
}

static void see_hidden(net *n, int32_t i, node_id x, int32_t at)
{
	if (n->wants.hidden)
		net_see_stage(n, graph_text(n->g, "hidden_states.%d", i), x, at);
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const swin_config *c = m->self.config;
	const swin_weights *w = m->self.weights;
	const char *name = m->self.f->model_type;
	int32_t count = c->depths.count;
	node_id x = part_patch_embedding(n, graph_text(n->g, "%s.embeddings", name), &w->patch, NULL, 0, NULL);
	x = graph_layer_norm(n->g, graph_text(n->g, "%s.embeddings.norm", name), x, &w->embed_norm, &w->embed_norm_bias, (float)TORCH_EPS);
	if (c->absolute)
		x = part_positions(n, graph_text(n->g, "%s.embeddings.positions", name), x, &w->position);
	see_hidden(n, 0, x, 0);
	for (int32_t i = 0; i < count; i++) {
		x = stage(n, graph_text(n->g, "%s.encoder.layers.%d", name, i), x, &m->self.stage[i]);
		see_hidden(n, i + 1, x, i + 1 < count ? i + 1 : i);
	}
	x = graph_layer_norm(n->g, graph_text(n->g, "%s.layernorm", name), x, &w->norm, &w->norm_bias, (float)c->eps);
	net_see_stage(n, "last_hidden_state", x, count - 1);
	node_id pooled = part_pool(n, graph_text(n->g, "%s.pooler", name), x);
	net_see(n, "pooler_output", pooled, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, pooled, OUTPUT_PICKED, true);
	if (w->classifier.parts)
		net_see(n, "logits", graph_linear(n->g, "classifier", pooled, &w->classifier), OUTPUT_PICKED, true);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST; /* one row a picture, which is the pool's */
}

/* ------------------------------------------------------------------------------------------------ families */
static const family family_swin_stage = {
	.model_type = "a stage of swin",
	.config_size = sizeof(swin_stage_config),
	.weights_size = sizeof(swin_stage_weights),
	.layers_at = offsetof(swin_stage_weights, layers),
	.layer_count_at = offsetof(swin_stage_config, depth),
	.rows = stage_rows,
	.row_count = COUNT_OF(stage_rows),
};

#define SHARED                                                                                                             \
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,                                                                \
	.processor = "ViTImageProcessor",                                                                                    \
	.ignored = ignored,                                                                                                  \
	.config_size = sizeof(swin_config),                                                                                  \
	.fields = fields,                                                                                                    \
	.field_count = COUNT_OF(fields),                                                                                     \
	.weights_size = sizeof(swin_weights),                                                                                \
	.layers_at = SIZE_MAX,                                                                                               \
	.rows = rows,                                                                                                        \
	.row_count = COUNT_OF(rows),                                                                                         \
	.stage = &family_swin_stage,                                                                                         \
	.stage_prefix = "encoder.layers.",                                                                                   \
	.stage_config = stage_config,                                                                                        \
	.tower = tower,                                                                                                      \
	.build_vision = build_vision,                                                                                        \
	.vision_pick = vision_pick,                                                                                          \
	.vision_pool = PICK_MEAN

static const char *const ignored[] = {"*.relative_position_index", "*.relative_coords_table", "*.attn_mask", "*embeddings.mask_token", NULL};
static const char *const architectures[] = {"SwinModel", "SwinForImageClassification", NULL};

const family family_swin = {
	.model_type = "swin",
	.architectures = architectures,
	.prefixes = "swin.|",
	.derive = derive,
	SHARED,
};

static const char *const second_architectures[] = {"Swinv2Model", "Swinv2ForImageClassification", NULL};

const family family_swinv2 = {
	.model_type = "swinv2",
	.architectures = second_architectures,
	.prefixes = "swinv2.|",
	.derive = derive_second,
	SHARED,
};
