/*
 * timm_vit.c - timm's VisionTransformer and VisionTransformerDistilled (timm/models/vision_transformer.py, deit.py): ViT, DeiT,
 * DeiT III, FlexiViT, the towers of CLIP and SigLIP, DINOv2 with and without registers, and what else timm_list.c has.
 *
 *     picture ─► patches ─► linear ─► [class, registers, patches] + position ─► (norm) ─► L x block ─► norm ─┐
 *                                                                                                          ▼
 *        logits ◄─ head ◄─ (norm) ◄─ pool: the class row, the mean of patches, or attention by a latent ◄─ last_hidden_state
 *
 *     block:  x + scale1 attention(norm x);  x + scale2 mlp(norm x)           query, key and value are one tensor
 *
 * The norm stands before the pool, or after it where the pool is a mean, unless fc_norm says otherwise. Positions: one for
 * each row, or (no_embed_class) for patches only. Distilled: [class, distillation, patches], a head for each of the two
 * rows, logits their mean. pooler_output is what enters the head (forward_head(pre_logits=True)).
 *
 * FlexiViT (Beyer et al. 2023) was trained with patches of many sizes: rebus_model_options.patch_size brings the patches'
 * weights to another one by the pseudo-inverse of the resize (vision/patch_resize.h), as timm does for any of these models,
 * and positions follow the grid. They are resampled by an antialiased bicubic from the grid of config.json's size.
 */
#include <string.h>

#include "models/model.h"
#include "models/timm.h"
#include "vision/patch_resize.h"

typedef struct timm_vit_config {
	const char *architecture;
	int64_t hidden, layers, heads, channels, registers, classes;
	int32_t image[2], patch[2];
	double eps, ratio;
	bool class_row, distilled, placed, pre_norm, scaled, qkv_bias, proj_bias, final_norm, norm_after, all_rows, gated;
	const char *pool;
	act_kind act;
	int64_t qkv, mlp, inner, patch_width, positions, twice, one;
	bool registered, patch_bias, normed, pooled_norm, latent, headed, two_heads;
	tower_shape shape;
} timm_vit_config;

typedef struct timm_vit_weights {
	weight class_row, distillation_row, registers, position, patch, pre_norm, pre_norm_bias, norm, norm_bias, last_norm, last_norm_bias;
	weight head, distillation_head;
	probe_weights probe;
	block_weights *layers;
} timm_vit_weights;

#define ARGS "model_args."
static const field fields[] = {
	CONFIG_INT_KEPT(timm_vit_config, hidden, ARGS "embed_dim", 1, 65536),
	CONFIG_INT_KEPT(timm_vit_config, layers, ARGS "depth", 1, MODEL_LAYERS),
	CONFIG_INT_KEPT(timm_vit_config, heads, ARGS "num_heads", 1, 1024),
	CONFIG_INT_KEPT(timm_vit_config, registers, ARGS "reg_tokens", 0, 4096),
	CONFIG_INT(timm_vit_config, classes, ARGS "num_classes|num_classes|pretrained_cfg.num_classes", 0, 1 << 20, 1000),
	CONFIG_PAIR_KEPT(timm_vit_config, patch, ARGS "patch_size", 1, 4096),
	CONFIG_REAL_KEPT(timm_vit_config, ratio, ARGS "mlp_ratio", 0.01, 1024),
	CONFIG_FLAG_KEPT(timm_vit_config, class_row, ARGS "class_token"),
	CONFIG_FLAG_KEPT(timm_vit_config, pre_norm, ARGS "pre_norm"),
	CONFIG_FLAG_KEPT(timm_vit_config, qkv_bias, ARGS "qkv_bias"),
	CONFIG_FLAG(timm_vit_config, proj_bias, ARGS "proj_bias", true),
	CONFIG_FLAG_KEPT(timm_vit_config, final_norm, ARGS "final_norm"),
	CONFIG_FLAG_KEPT(timm_vit_config, all_rows, ARGS "pool_include_prefix"),
};
static const char *const arguments[] = {
	"embed_dim", "depth", "num_heads", "reg_tokens", "patch_size", "mlp_ratio", "class_token", "pre_norm", "qkv_bias", "proj_bias", "final_norm",
	"pool_include_prefix", "no_embed_class", "fc_norm", "init_values", "global_pool", "act_layer", NULL,
};

#define V(m) WEIGHT_AT(timm_vit_weights, m)
#define L(m) WEIGHT_AT(block_weights, m)
#define D(m) WEIGHT_DIM(timm_vit_config, m)
#define IF(m) .when = WEIGHT_IF(timm_vit_config, m)
#define BLOCK "{p}blocks.{i}."
#define POOL "{p}attn_pool."

static const weight_row rows[] = {
	WEIGHT_ROW(CONV, "{p}patch_embed.proj.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}patch_embed.proj.bias", V(patch), .out = D(hidden), IF(patch_bias)),
	WEIGHT_ROW(VECTOR, "{p}cls_token", V(class_row), .out = D(hidden), .lead = 2, IF(class_row)),
	WEIGHT_ROW(VECTOR, "{p}dist_token", V(distillation_row), .out = D(hidden), .lead = 2, IF(distilled)),
	WEIGHT_ROW(TABLE, "{p}reg_token", V(registers), .out = D(registers), .in = D(hidden), .lead = 1, IF(registered)),
	WEIGHT_ROW(TABLE, "{p}pos_embed", V(position), .out = D(positions), .in = D(hidden), .lead = 1),
	WEIGHT_ROW(VECTOR, "{p}norm_pre.weight", V(pre_norm), .out = D(hidden), IF(pre_norm)),
	WEIGHT_ROW(VECTOR, "{p}norm_pre.bias", V(pre_norm_bias), .out = D(hidden), IF(pre_norm)),
	WEIGHT_ROW(VECTOR, BLOCK "norm1.weight", L(norm1), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, BLOCK "norm1.bias", L(norm1_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.qkv.weight", L(qkv), .out = D(qkv), .in = D(hidden)),
	WEIGHT_ROW(BIAS, BLOCK "attn.qkv.bias", L(qkv), .out = D(qkv), IF(qkv_bias)),
	WEIGHT_ROW(LINEAR, BLOCK "attn.proj.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, BLOCK "attn.proj.bias", L(out), .out = D(hidden), IF(proj_bias)),
	WEIGHT_ROW(VECTOR, BLOCK "ls1.gamma|" BLOCK "gamma_1", L(scale1), .out = D(hidden), IF(scaled)),
	WEIGHT_ROW(VECTOR, BLOCK "norm2.weight", L(norm2), .out = D(hidden)),
	WEIGHT_ROW(VECTOR, BLOCK "norm2.bias", L(norm2_bias), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, BLOCK "mlp.fc1.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, BLOCK "mlp.fc1.bias", L(up), .out = D(mlp), IF(proj_bias)),
	WEIGHT_ROW(LINEAR, BLOCK "mlp.fc2.weight", L(down), .out = D(hidden), .in = D(inner)),
	WEIGHT_ROW(BIAS, BLOCK "mlp.fc2.bias", L(down), .out = D(hidden), IF(proj_bias)),
	WEIGHT_ROW(VECTOR, BLOCK "ls2.gamma|" BLOCK "gamma_2", L(scale2), .out = D(hidden), IF(scaled)),
	WEIGHT_ROW(VECTOR, "{p}norm.weight", V(norm), .out = D(hidden), IF(normed)),
	WEIGHT_ROW(VECTOR, "{p}norm.bias", V(norm_bias), .out = D(hidden), IF(normed)),
	WEIGHT_ROW(TABLE, POOL "latent", V(probe.probe), .out = D(one), .in = D(hidden), .lead = 1, IF(latent)),
	WEIGHT_ROW(LINEAR, POOL "q.weight", V(probe.in), .out = D(hidden), .in = D(hidden), IF(latent)),
	WEIGHT_ROW(LINEAR, POOL "kv.weight", V(probe.in), .out = D(twice), .in = D(hidden), .part = 1, IF(latent)),
	WEIGHT_ROW(BIAS, POOL "q.bias", V(probe.in), .out = D(hidden), IF(latent)),
	WEIGHT_ROW(BIAS, POOL "kv.bias", V(probe.in), .out = D(twice), .part = 1, IF(latent)),
	WEIGHT_ROW(LINEAR, POOL "proj.weight", V(probe.out), .out = D(hidden), .in = D(hidden), IF(latent)),
	WEIGHT_ROW(BIAS, POOL "proj.bias", V(probe.out), .out = D(hidden), IF(latent)),
	WEIGHT_ROW(VECTOR, POOL "norm.weight", V(probe.norm), .out = D(hidden), IF(latent)),
	WEIGHT_ROW(VECTOR, POOL "norm.bias", V(probe.norm_bias), .out = D(hidden), IF(latent)),
	WEIGHT_ROW(LINEAR, POOL "mlp.fc1.weight", V(probe.up), .out = D(mlp), .in = D(hidden), IF(latent)),
	WEIGHT_ROW(BIAS, POOL "mlp.fc1.bias", V(probe.up), .out = D(mlp), IF(latent)),
	WEIGHT_ROW(LINEAR, POOL "mlp.fc2.weight", V(probe.down), .out = D(hidden), .in = D(inner), IF(latent)),
	WEIGHT_ROW(BIAS, POOL "mlp.fc2.bias", V(probe.down), .out = D(hidden), IF(latent)),
	WEIGHT_ROW(VECTOR, "{p}fc_norm.weight", V(last_norm), .out = D(hidden), IF(pooled_norm)),
	WEIGHT_ROW(VECTOR, "{p}fc_norm.bias", V(last_norm_bias), .out = D(hidden), IF(pooled_norm)),
	WEIGHT_ROW(LINEAR, "{p}head.weight", V(head), .out = D(classes), .in = D(hidden), IF(headed)),
	WEIGHT_ROW(BIAS, "{p}head.bias", V(head), .out = D(classes), IF(headed)),
	WEIGHT_ROW(LINEAR, "{p}head_dist.weight", V(distillation_head), .out = D(classes), .in = D(hidden), IF(two_heads)),
	WEIGHT_ROW(BIAS, "{p}head_dist.bias", V(distillation_head), .out = D(classes), IF(two_heads)),
};

/* ------------------------------------------------------------------------------------------------ configuration */
static bool builds(const char *architecture)
{
	const timm_vit_row *row = timm_vit_find(architecture);
	return row && !(row->flags & TIMM_DISTILLED);
}

static bool builds_distilled(const char *architecture)
{
	const timm_vit_row *row = timm_vit_find(architecture);
	return row && row->flags & TIMM_DISTILLED;
}

/* The names that timm's registry of activations has, and ours. */
static rebus_status read_act(const json *args, act_kind *out, rebus_error *err)
{
	const char *name = json_text(json_get(args, "act_layer"), NULL);
	if (!name)
		return REBUS_OK;
	name = !strcmp(name, "gelu_tanh") ? "gelu_pytorch_tanh" : name;
	return act_parse(name, out) ? REBUS_OK : error_set(err, REBUS_UNSUPPORTED, "config.json: model_args.act_layer: %.40s", name);
}

/* What has no default of its own: the pool decides where the norm is, a number whether there are scales. */
static rebus_status read_choices(const json *object, timm_vit_config *c, rebus_error *err)
{
	static const char *const pools[] = {"token", "avg", "map"};
	const json *args = json_get(object, "model_args"), *values = json_get(args, "init_values");
	double real;
	bool unplaced = !c->placed;
	const char *pool = json_text(json_get(args, "global_pool"), NULL);
	pool = pool ? pool : json_text(json_get(json_get(object, "pretrained_cfg"), "global_pool"), NULL);
	for (size_t i = 0; pool && i <= COUNT_OF(pools); i++) {
		if (i == COUNT_OF(pools))
			return error_set(err, REBUS_UNSUPPORTED, "config.json: global_pool: '%.20s', expected token, avg or map", pool);
		if (!strcmp(pool, pools[i])) {
			if (strcmp(c->pool, pools[i]) && !c->norm_after)
				c->norm_after = i == 1;
			c->pool = pools[i];
			break;
		}
	}
	if (!json_flag(json_get(args, "fc_norm"), &c->norm_after) && strcmp(c->pool, "avg"))
		c->norm_after = false;
	if (values)
		c->scaled = json_real(values, &real) && real != 0;
	json_flag(json_get(args, "no_embed_class"), &unplaced);
	c->placed = !unplaced;
	return read_act(args, &c->act, err);
}

static rebus_status begin(const json *object, void *config, rebus_error *err)
{
	timm_vit_config *c = config;
	const char *name = timm_architecture(object);
	const timm_vit_row *row = name ? timm_vit_find(name) : NULL;
	if (!row)
		return error_set(err, REBUS_FORMAT, "config.json: architecture: missing, expected one of timm's Vision Transformers");
	rebus_status status = timm_check_args(object, arguments, err);
	if (status)
		return status;
	uint32_t f = row->flags;
	*c = (timm_vit_config){.hidden = row->width, .layers = row->depth, .heads = row->heads, .registers = row->registers, .channels = 3,
		.image = {224, 224}, .patch = {row->patch, row->patch}, .eps = f & TIMM_EPS_5 ? 1e-5 : 1e-6, .ratio = row->ratio,
		.class_row = !(f & TIMM_CLASSLESS), .distilled = f & TIMM_DISTILLED, .placed = !(f & TIMM_UNPLACED), .pre_norm = f & TIMM_PRE_NORM,
		.scaled = f & TIMM_SCALED, .qkv_bias = !(f & TIMM_PLAIN_QKV), .final_norm = !(f & TIMM_UNNORMED),
		.norm_after = f & TIMM_AVERAGE && !(f & TIMM_NORM_FIRST), .all_rows = f & TIMM_ALL_ROWS, .gated = f & TIMM_GATED,
		.pool = f & TIMM_LATENT ? "map" : f & TIMM_AVERAGE ? "avg" : "token",
		.act = f & TIMM_GATED ? ACT_SILU : f & TIMM_QUICK ? ACT_QUICK_GELU : f & TIMM_TANH ? ACT_GELU_TANH : ACT_GELU};
	status = timm_input(object, &c->channels, c->image, err);
	return status ? status : read_choices(object, c, err);
}

static rebus_status check(const timm_vit_config *c, rebus_error *err)
{
	if (c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: model_args.embed_dim: %lld, expected a multiple of num_heads (%lld)", (long long)c->hidden,
			(long long)c->heads);
	if (!c->class_row && !strcmp(c->pool, "token"))
		return error_set(err, REBUS_FORMAT, "config.json: global_pool: token, but class_token is false");
	if (c->distilled && (!c->class_row || c->registers || strcmp(c->pool, "token")))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: a distilled model of another pool or learned rows than class and distillation");
	if (c->all_rows && !strcmp(c->pool, "avg"))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: pool_include_prefix: a mean over learned rows is not supported");
	if (!c->mlp || (c->gated && c->mlp % 2))
		return error_set(err, REBUS_FORMAT, "config.json: model_args.mlp_ratio: %g of %lld columns, expected an even width of the MLP", c->ratio,
			(long long)c->hidden);
	return REBUS_OK;
}

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	timm_vit_config *c = config;
	int64_t learned = (c->class_row ? 1 : 0) + (c->distilled ? 1 : 0) + c->registers;
	c->one = 1;
	c->twice = 2 * c->hidden;
	c->qkv = 3 * c->hidden;
	c->mlp = (int64_t)((double)c->hidden * c->ratio);
	c->inner = c->gated ? c->mlp / 2 : c->mlp;
	c->registered = c->registers > 0;
	c->patch_bias = !c->pre_norm;
	c->normed = c->final_norm && !c->norm_after;
	c->pooled_norm = c->final_norm && c->norm_after;
	c->latent = !strcmp(c->pool, "map");
	c->headed = c->classes > 0;
	c->two_heads = c->headed && c->distilled;
	c->patch_width = c->channels * c->patch[0] * c->patch[1];
	c->shape = (tower_shape){.channels = c->channels, .learned = learned, .placed = c->placed ? learned : 0, .resample = GRID_BICUBIC_WIDE,
		.probe = c->latent, .unseen = c->all_rows ? 0 : learned};
	for (int i = 0; i < 2; i++) {
		c->shape.image[i] = c->image[i];
		c->shape.patch[i] = c->patch[i];
		c->shape.grid[i] = c->image[i] / c->patch[i];
		if (!c->shape.grid[i])
			return error_set(err, REBUS_FORMAT, "config.json: pictures of %dx%d, smaller than a patch of %dx%d", c->image[0], c->image[1], c->patch[0],
				c->patch[1]);
	}
	c->positions = c->shape.placed + (int64_t)c->shape.grid[0] * c->shape.grid[1];
	c->shape.positions = c->positions;
	return check(c, err);
}

static int64_t classes(const void *config)
{
	return ((const timm_vit_config *)config)->classes;
}

static const tower_shape *tower(const void *config)
{
	return &((const timm_vit_config *)config)->shape;
}

static rebus_status repatch(arena *a, component *part, int32_t patch, rebus_error *err)
{
	timm_vit_config *c = part->config;
	timm_vit_weights *w = part->weights;
	rebus_status status = vision_patch_resize(a, &w->patch, c->channels, c->patch, patch, err);
	if (!status)
		for (int i = 0; i < 2; i++)
			c->patch[i] = c->shape.patch[i] = patch;
	return status;
}

/* ------------------------------------------------------------------------------------------------ nodes */
static node_id layers(net *n, const timm_vit_config *c, const timm_vit_weights *w, const block_options *o)
{
	const weight *learned[3];
	int count = 0;
	if (c->class_row)
		learned[count++] = &w->class_row;
	if (c->distilled)
		learned[count++] = &w->distillation_row;
	if (c->registered)
		learned[count++] = &w->registers;
	node_id x = part_patch_embedding(n, "patch_embed", &w->patch, learned, count, &w->position);
	if (c->pre_norm)
		x = graph_layer_norm(n->g, "norm_pre", x, &w->pre_norm, &w->pre_norm_bias, (float)c->eps);
	net_see_hidden(n, "", 0, x);
	for (int64_t i = 0; i < c->layers; i++) {
		x = part_block(n, graph_text(n->g, "blocks.%lld", (long long)i), x, &w->layers[i], o);
		net_see_hidden(n, "", i + 1, x);
	}
	return c->normed ? graph_layer_norm(n->g, "norm", x, &w->norm, &w->norm_bias, (float)c->eps) : x;
}

/* Two rows, two heads. */
static void distilled_heads(net *n, const timm_vit_config *c, const timm_vit_weights *w, node_id x)
{
	node_id first = part_pick(n, "class", x), second = part_pool(n, "distillation", x);
	node_id both = graph_scale(n->g, "pool", graph_add(n->g, "pool.sum", first, second), 0.5f);
	net_see(n, "pooler_output", both, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, both, OUTPUT_PICKED, true);
	if (!c->headed)
		return;
	node_id a = graph_linear(n->g, "head", first, &w->head), b = graph_linear(n->g, "head_dist", second, &w->distillation_head);
	net_see(n, "logits", graph_scale(n->g, "logits", graph_add(n->g, "logits.sum", a, b), 0.5f), OUTPUT_PICKED, true);
}

static void build_vision(net *n, const struct rebus_model *m)
{
	const timm_vit_config *c = m->self.config;
	const timm_vit_weights *w = m->self.weights;
	block_options o = {.heads = c->heads, .kv_heads = c->heads, .head_dim = c->hidden / c->heads, .eps = c->eps, .act = c->act, .gated = c->gated,
		.attention = "attn", .mlp = "mlp"};
	node_id x = layers(n, c, w, &o);
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, false);
	if (c->distilled) {
		distilled_heads(n, c, w, x);
		return;
	}
	if (c->latent)
		x = part_probe(n, "attn_pool", x, &w->probe, &o);
	else
		x = !strcmp(c->pool, "avg") ? part_pool(n, "pool", x) : part_pick(n, "pool", x);
	if (c->pooled_norm)
		x = graph_layer_norm(n->g, "fc_norm", x, &w->last_norm, &w->last_norm_bias, (float)c->eps);
	net_see(n, "pooler_output", x, OUTPUT_PICKED, true);
	net_see(n, NET_EMBEDDING, x, OUTPUT_PICKED, true);
	if (c->headed)
		net_see(n, "logits", graph_linear(n->g, "head", x, &w->head), OUTPUT_PICKED, true);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST;
}

static const char *const architectures[] = {"TimmWrapperForImageClassification", "TimmWrapperModel", NULL};

#define SHARED                                                                                                             \
	.architectures = architectures,                                                                                      \
	.prefixes = "timm_model.|",                                                                                          \
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,                                                                \
	.config_size = sizeof(timm_vit_config),                                                                              \
	.fields = fields,                                                                                                    \
	.field_count = COUNT_OF(fields),                                                                                     \
	.weights_size = sizeof(timm_vit_weights),                                                                            \
	.layers_at = offsetof(timm_vit_weights, layers),                                                                     \
	.layer_count_at = offsetof(timm_vit_config, layers),                                                                 \
	.width_at = offsetof(timm_vit_config, hidden),                                                                       \
	.rows = rows,                                                                                                        \
	.row_count = COUNT_OF(rows),                                                                                         \
	.begin = begin,                                                                                                      \
	.classes = classes,                                                                                                  \
	.derive = derive,                                                                                                    \
	.tower = tower,                                                                                                      \
	.repatch = repatch,                                                                                                  \
	.build_vision = build_vision,                                                                                        \
	.vision_pick = vision_pick

const family family_timm_vit = {
	.model_type = "timm vit",
	.builds = builds,
	.vision_pool = PICK_MEAN,
	SHARED,
};

const family family_timm_distilled = {
	.model_type = "timm distilled vit",
	.builds = builds_distilled,
	.vision_pool = PICK_SECOND,
	SHARED,
};
