/*
 * timm_swin.c - timm's SwinTransformer and SwinTransformerV2 (timm/models/swin_transformer.py, swin_transformer_v2.py).
 *
 *     picture ─► patches ─► linear ─► norm ─► stage 0 ─► stage 1 ─► ... ─► norm ─► mean of rows ─► head.fc
 *     stage:  merge (but for the first), then blocks, plain and shifted windows in turn
 *
 * What swin.c says of scores, norms and merging holds, and differs in this: a stage begins with merging, not ends; query, key
 * and value are one tensor (V2: with biases of query and value apart); all norms have eps 1e-5; the mask of V2 counts once;
 * the shift goes round the grid before it is padded; sides of patches that are no multiple are cut. Window and shift are
 * decided side by side from config.json's size, whatever the picture's: a grid's side of one window or less is the window, and
 * is not shifted. last_hidden_state is (pictures, rows, columns, width); hidden_states.i + 1 is what leaves stage i.
 */
#include <string.h>

#include "models/model.h"
#include "models/timm.h"
#include "parts/pyramid.h"

static const double EPS = 1e-5;

typedef struct timm_stage_config {
	int64_t hidden, depth, heads, mlp, entries, pieces, axes, table_hidden, qkv, merge_norm;
	bool first_version, second_version, merges, qkv_bias, fused_bias, own_bias;
	window_options o;
} timm_stage_config;

typedef struct timm_swin_config {
	int64_t embed, channels, classes;
	int_list depths, heads, trained, windows;
	int32_t image[2], patch[2];
	double ratio;
	bool qkv_bias, second_version, headed, always;
	int64_t patch_width, last;
	timm_stage_config stage[PYRAMID_STAGES];
	pyramid_shape shape_of_windows;
	tower_shape shape;
} timm_swin_config;

typedef struct timm_swin_weights {
	weight patch, embed_norm, embed_norm_bias, norm, norm_bias, head;
} timm_swin_weights;

typedef struct timm_stage_weights {
	block_weights *layers;
	weight reduction, merge_norm, merge_norm_bias;
} timm_stage_weights;

#define ARGS "model_args."
static const field fields[] = {
	CONFIG_INT_KEPT(timm_swin_config, embed, ARGS "embed_dim", 1, 8192),
	CONFIG_INT(timm_swin_config, classes, ARGS "num_classes|num_classes|pretrained_cfg.num_classes", 0, 1 << 20, 1000),
	CONFIG_INTS_KEPT(timm_swin_config, depths, ARGS "depths", 1, MODEL_LAYERS),
	CONFIG_INTS_KEPT(timm_swin_config, heads, ARGS "num_heads", 1, 1024),
	CONFIG_INTS_KEPT(timm_swin_config, windows, ARGS "window_size", 1, 512),
	CONFIG_INTS_KEPT(timm_swin_config, trained, ARGS "pretrained_window_sizes", 0, 512),
	CONFIG_PAIR(timm_swin_config, patch, ARGS "patch_size", 1, 4096, 4),
	CONFIG_REAL(timm_swin_config, ratio, ARGS "mlp_ratio", 0.01, 1024, 4),
	CONFIG_FLAG(timm_swin_config, qkv_bias, ARGS "qkv_bias", true),
	CONFIG_FLAG(timm_swin_config, always, ARGS "always_partition", false),
};
static const char *const arguments[] = {"embed_dim", "depths", "num_heads", "window_size", "pretrained_window_sizes", "patch_size", "mlp_ratio", "qkv_bias",
	"always_partition", "global_pool", NULL};

#define V(m) WEIGHT_AT(timm_swin_weights, m)
#define D(m) WEIGHT_DIM(timm_swin_config, m)
static const weight_row rows[] = {
	WEIGHT_ROW(CONV, "{p}patch_embed.proj.weight", V(patch), .out = D(embed), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}patch_embed.proj.bias", V(patch), .out = D(embed)),
	WEIGHT_ROW(VECTOR, "{p}patch_embed.norm.weight", V(embed_norm), .out = D(embed)),
	WEIGHT_ROW(VECTOR, "{p}patch_embed.norm.bias", V(embed_norm_bias), .out = D(embed)),
	WEIGHT_ROW(VECTOR, "{p}norm.weight", V(norm), .out = D(last)),
	WEIGHT_ROW(VECTOR, "{p}norm.bias", V(norm_bias), .out = D(last)),
	WEIGHT_ROW(LINEAR, "{p}head.fc.weight", V(head), .out = D(classes), .in = D(last), .when = WEIGHT_IF(timm_swin_config, headed)),
	WEIGHT_ROW(BIAS, "{p}head.fc.bias", V(head), .out = D(classes), .when = WEIGHT_IF(timm_swin_config, headed)),
};
#undef V
#undef D

#define V(m) WEIGHT_AT(timm_stage_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(timm_stage_config, m)
#define IF(m) .when = WEIGHT_IF(timm_stage_config, m)
#define BLOCK "{p}blocks.{i}."
static const weight_row stage_rows[] = {
	WEIGHT_ROW(LINEAR, "{p}downsample.reduction.weight", V(reduction), .out = D(hidden), .in = D(pieces), IF(merges)),
	WEIGHT_ROW(VECTOR, "{p}downsample.norm.weight", V(merge_norm), .out = D(merge_norm), IF(merges)),
	WEIGHT_ROW(VECTOR, "{p}downsample.norm.bias", V(merge_norm_bias), .out = D(merge_norm), IF(merges)),
	WEIGHT_ROW(VECTOR, BLOCK "norm1.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, BLOCK "norm1.bias", L(norm1_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.qkv.weight", L(qkv), .out = D(qkv), .in = D(hidden), IF(first_version)),
	WEIGHT_ROW(BIAS, BLOCK "attn.qkv.bias", L(qkv), .out = D(qkv), IF(fused_bias)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.qkv.weight", L(qkv), .out = D(hidden), .in = D(hidden), .third = 1, IF(second_version)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.qkv.weight", L(qkv), .out = D(hidden), .in = D(hidden), .third = 2, .part = 1, IF(second_version)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.qkv.weight", L(qkv), .out = D(hidden), .in = D(hidden), .third = 3, .part = 2, IF(second_version)),
	WEIGHT_ROW(BIAS, BLOCK "attn.q_bias", L(qkv), .out = D(hidden), IF(own_bias)),
	WEIGHT_ROW(BIAS, BLOCK "attn.v_bias", L(qkv), .out = D(hidden), .part = 2, IF(own_bias)),
	WEIGHT_ROW(TABLE, BLOCK "attn.relative_position_bias_table", L(table), .out = D(entries), .in = D(heads), IF(first_version)),
	WEIGHT_ROW(VECTOR, BLOCK "attn.logit_scale", L(table_scale), .out = D(heads), .trail = 2, IF(second_version)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.cpb_mlp.0.weight", L(table_up), .out = D(table_hidden), .in = D(axes), IF(second_version)),
	WEIGHT_ROW(BIAS, BLOCK "attn.cpb_mlp.0.bias", L(table_up), .out = D(table_hidden), IF(second_version)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.cpb_mlp.2.weight", L(table_down), .out = D(heads), .in = D(table_hidden), IF(second_version)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.proj.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, BLOCK "attn.proj.bias", L(out), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, BLOCK "norm2.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, BLOCK "norm2.bias", L(norm2_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, BLOCK "mlp.fc1.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, BLOCK "mlp.fc1.bias", L(up), .out = D(mlp)),
	WEIGHT_ROW(LINEAR, BLOCK "mlp.fc2.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, BLOCK "mlp.fc2.bias", L(down), .out = D(hidden)),
};

/* ------------------------------------------------------------------------------------------------ configuration */
typedef struct listed {
	const char *name;
	bool second_version;
	int64_t embed, window[PYRAMID_STAGES], depths[4], heads[4], trained[4]; /* window[1] 0: one for all stages */
} listed;

#define DEEP {2, 2, 18, 2}
#define FLAT {2, 2, 6, 2}
#define THREE {3, 6, 12, 24}
#define FOUR {4, 8, 16, 32}
#define SIX {6, 12, 24, 48}
#define TRAINED {12, 12, 12, 6}
static const listed list[] = {
	{"swin_tiny_patch4_window7_224", false, 96, {7}, FLAT, THREE, {0}},
	{"swin_small_patch4_window7_224", false, 96, {7}, DEEP, THREE, {0}},
	{"swin_base_patch4_window7_224", false, 128, {7}, DEEP, FOUR, {0}},
	{"swin_base_patch4_window12_384", false, 128, {12}, DEEP, FOUR, {0}},
	{"swin_large_patch4_window7_224", false, 192, {7}, DEEP, SIX, {0}},
	{"swin_large_patch4_window12_384", false, 192, {12}, DEEP, SIX, {0}},
	{"swin_s3_tiny_224", false, 96, {7, 7, 14, 7}, FLAT, THREE, {0}},
	{"swin_s3_small_224", false, 96, {14, 14, 14, 7}, DEEP, THREE, {0}},
	{"swin_s3_base_224", false, 96, {7, 7, 14, 7}, {2, 2, 30, 2}, THREE, {0}},
	{"swinv2_tiny_window8_256", true, 96, {8}, FLAT, THREE, {0}},
	{"swinv2_tiny_window16_256", true, 96, {16}, FLAT, THREE, {0}},
	{"swinv2_small_window8_256", true, 96, {8}, DEEP, THREE, {0}},
	{"swinv2_small_window16_256", true, 96, {16}, DEEP, THREE, {0}},
	{"swinv2_base_window8_256", true, 128, {8}, DEEP, FOUR, {0}},
	{"swinv2_base_window16_256", true, 128, {16}, DEEP, FOUR, {0}},
	{"swinv2_base_window12_192", true, 128, {12}, DEEP, FOUR, {0}},
	{"swinv2_base_window12to16_192to256", true, 128, {16}, DEEP, FOUR, TRAINED},
	{"swinv2_base_window12to24_192to384", true, 128, {24}, DEEP, FOUR, TRAINED},
	{"swinv2_large_window12_192", true, 192, {12}, DEEP, SIX, {0}},
	{"swinv2_large_window12to16_192to256", true, 192, {16}, DEEP, SIX, TRAINED},
	{"swinv2_large_window12to24_192to384", true, 192, {24}, DEEP, SIX, TRAINED},
};

static const listed *find(const char *architecture)
{
	for (size_t i = 0; architecture && i < COUNT_OF(list); i++)
		if (!strcmp(list[i].name, architecture))
			return &list[i];
	return NULL;
}

static bool builds(const char *architecture)
{
	return find(architecture) != NULL;
}

static rebus_status begin(const json *object, void *config, rebus_error *err)
{
	timm_swin_config *c = config;
	const listed *l = find(timm_architecture(object));
	if (!l)
		return error_set(err, REBUS_FORMAT, "config.json: architecture: missing, expected one of timm's Swin Transformers");
	const char *pool = json_text(json_get(json_get(object, "model_args"), "global_pool"), NULL);
	rebus_status status = timm_check_args(object, arguments, err);
	if (status)
		return status;
	if (pool && strcmp(pool, "avg"))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: model_args.global_pool: '%.20s', expected avg", pool);
	*c = (timm_swin_config){.embed = l->embed, .channels = 3, .image = {224, 224}, .second_version = l->second_version, .depths = {4, l->depths},
		.heads = {4, l->heads}, .trained = {4, l->trained}, .windows = {l->window[1] ? 4 : 1, l->window}};
	return timm_input(object, &c->channels, c->image, err);
}

/* What is stated of stage i: window and shift, side by side. */
static void derive_window(timm_swin_config *c, int32_t i)
{
	int32_t window = (int32_t)c->windows.at[c->windows.count == 1 ? 0 : i];
	for (int k = 0; k < 2; k++) {
		int32_t side = c->image[k] / c->patch[k];
		for (int32_t s = 0; s < i; s++)
			side = (side + 1) / 2;
		bool whole = side <= window && !c->always;
		c->shape_of_windows.window[i][k] = whole ? (int32_t)int_max(side, 1) : window;
		c->shape_of_windows.shift[i][k] = whole ? 0 : window / 2;
	}
}

static rebus_status derive_stage(timm_swin_config *c, int32_t i, rebus_error *err)
{
	bool second = c->second_version;
	timm_stage_config *s = &c->stage[i];
	derive_window(c, i);
	const int32_t *window = c->shape_of_windows.window[i];
	*s = (timm_stage_config){.hidden = c->embed << i, .depth = c->depths.at[i], .heads = c->heads.at[i], .axes = 2, .table_hidden = 512,
		.first_version = !second, .second_version = second,
		.merges = i > 0, .qkv_bias = c->qkv_bias, .fused_bias = c->qkv_bias && !second, .own_bias = c->qkv_bias && second};
	if (s->hidden % s->heads || s->hidden / s->heads > 512)
		return error_set(err, REBUS_FORMAT, "config.json: num_heads: %lld heads of %lld columns, expected a divisor and heads of at most 512",
			(long long)s->heads, (long long)s->hidden);
	s->mlp = (int64_t)(c->ratio * (double)s->hidden);
	s->entries = (2 * (int64_t)window[0] - 1) * (2 * (int64_t)window[1] - 1);
	s->pieces = 2 * s->hidden;
	s->qkv = 3 * s->hidden;
	s->merge_norm = second ? s->hidden : s->pieces;
	s->o = (window_options){.stage = i, .window = {window[0], window[1]}, .other_region = -100, .cosine = second, .after = second,
		.trained = second && i < c->trained.count ? (int32_t)c->trained.at[i] : 0};
	s->o.block = (block_options){.heads = s->heads, .kv_heads = s->heads, .head_dim = s->hidden / s->heads, .eps = EPS, .act = ACT_GELU,
		.attention = "attn", .mlp = "mlp"};
	return s->mlp ? REBUS_OK : error_set(err, REBUS_FORMAT, "config.json: mlp_ratio: %g of %lld columns leaves no width", c->ratio, (long long)s->hidden);
}

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	timm_swin_config *c = config;
	int32_t count = c->depths.count;
	if (count < 1 || count > PYRAMID_STAGES || c->heads.count < count || (c->windows.count != 1 && c->windows.count != count))
		return error_set(err, REBUS_FORMAT,
			"config.json: depths: %d stages, %d num_heads and %d window_size, expected at most %d, one for each, and one or one for each", count,
			c->heads.count, c->windows.count, PYRAMID_STAGES);
	if (c->image[0] < c->patch[0] || c->image[1] < c->patch[1])
		return error_set(err, REBUS_FORMAT, "config.json: pictures of %dx%d, smaller than a patch of %dx%d", c->image[0], c->image[1], c->patch[0],
			c->patch[1]);
	c->shape_of_windows = (pyramid_shape){.stages = count, .rolls = true};
	for (int32_t i = 0; i < count; i++) {
		rebus_status status = derive_stage(c, i, err);
		if (status)
			return status;
	}
	c->headed = c->classes > 0;
	c->last = c->stage[count - 1].hidden;
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	c->shape = (tower_shape){.channels = c->channels, .windows = &c->shape_of_windows};
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return REBUS_OK;
}

static void *stage_config(void *config, int64_t i)
{
	timm_swin_config *c = config;
	return i < c->depths.count ? &c->stage[i] : NULL;
}

static int64_t classes(const void *config)
{
	return ((const timm_swin_config *)config)->classes;
}

static const tower_shape *tower(const void *config)
{
	return &((const timm_swin_config *)config)->shape;
}

/* ------------------------------------------------------------------------------------------------ nodes */
static node_id merge(net *n, const char *name, node_id x, const timm_stage_config *c, const timm_stage_weights *w)
{
	x = part_merge(n, graph_text(n->g, "%s.pieces", name), x, c->o.stage - 1);
	if (!c->o.after)
		x = graph_layer_norm(n->g, graph_text(n->g, "%s.norm", name), x, &w->merge_norm, &w->merge_norm_bias, (float)EPS);
	x = graph_linear(n->g, c->o.after ? graph_text(n->g, "%s.reduction", name) : name, x, &w->reduction);
	return c->o.after ? graph_layer_norm(n->g, name, x, &w->merge_norm, &w->merge_norm_bias, (float)EPS) : x;
}

static node_id stage(net *n, const char *name, node_id x, const component *part)
{
	const timm_stage_config *c = part->config;
	const timm_stage_weights *w = part->weights;
	if (c->merges)
		x = merge(n, graph_text(n->g, "%s.downsample", name), x, c, w);
	for (int64_t i = 0; i < c->depth; i++)
		x = part_window_block(n, graph_text(n->g, "%s.blocks.%lld", name, (long long)i), x, &w->layers[i], &c->o, i % 2);
	return x;
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const timm_swin_config *c = m->self.config;
	const timm_swin_weights *w = m->self.weights;
	int32_t count = c->depths.count;
	node_id x = part_patch_embedding(n, "patch_embed", &w->patch, NULL, 0, NULL);
	x = graph_layer_norm(n->g, "patch_embed.norm", x, &w->embed_norm, &w->embed_norm_bias, (float)EPS);
	if (n->wants.hidden)
		net_see_stage(n, "hidden_states.0", x, 0);
	for (int32_t i = 0; i < count; i++) {
		x = stage(n, graph_text(n->g, "layers.%d", i), x, &m->self.stage[i]);
		if (n->wants.hidden)
			net_see_stage(n, graph_text(n->g, "hidden_states.%d", i + 1), x, i);
	}
	x = graph_layer_norm(n->g, "norm", x, &w->norm, &w->norm_bias, (float)EPS);
	net_see_grid(n, "last_hidden_state", x, count - 1);
	x = part_pool(n, "head.global_pool", x);
	net_see(n, "pooler_output", x, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, x, OUTPUT_PICKED, true);
	if (c->headed)
		net_see(n, "logits", graph_linear(n->g, "head.fc", x, &w->head), OUTPUT_PICKED, true);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST; /* one row a picture, which is the pool's */
}

/* ------------------------------------------------------------------------------------------------ the family */
static const family family_timm_stage = {
	.model_type = "a stage of timm's swin",
	.config_size = sizeof(timm_stage_config),
	.weights_size = sizeof(timm_stage_weights),
	.layers_at = offsetof(timm_stage_weights, layers),
	.layer_count_at = offsetof(timm_stage_config, depth),
	.rows = stage_rows,
	.row_count = COUNT_OF(stage_rows),
};

static const char *const architectures[] = {"TimmWrapperForImageClassification", "TimmWrapperModel", NULL};
static const char *const ignored[] = {"*.relative_position_index", "*.relative_coords_table", "*.attn_mask", NULL};

const family family_timm_swin = {
	.model_type = "timm swin",
	.architectures = architectures,
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,
	.prefixes = "timm_model.|",
	.ignored = ignored,
	.config_size = sizeof(timm_swin_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(timm_swin_weights),
	.layers_at = SIZE_MAX,
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.stage = &family_timm_stage,
	.stage_prefix = "layers.",
	.stage_config = stage_config,
	.builds = builds,
	.classes = classes,
	.begin = begin,
	.derive = derive,
	.tower = tower,
	.build_vision = build_vision,
	.vision_pick = vision_pick,
	.vision_pool = PICK_MEAN,
};
