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
 * ViT-MAE (He et al. 2022, figure 1): ViTMAEModel, ViTMAEForPreTraining: a share of the patches, drawn at random, is dropped once
 * positions are added, and the others go on in the order of the draw, behind the class row. No pooler. The second class puts
 * the picture together again and says the dropped patches' pixels; its loss is their mean squared error:
 *
 *     norm ─► decoder_embed ─► [class, patch or mask row, ...] in place + position ─► K x block ─► norm ─► pred ─► pixels
 *
 * Positions of both are sines and cosines that are not learned (the class fixes them; its from_pretrained forgets it). transformers 5
 * writes the decoder's blocks under another name (decoder_encoder.layer) than the Hub's files have (decoder_layers); both are read.
 *
 * hidden_states.i is what enters block i; last_hidden_state comes after the final norm. Names of the Hub and of
 * transformers 5 are the same; a bare model's have no "vit." or "deit." in front.
 */
#include <string.h>

#include "models/model.h"

typedef struct vit_config {
	int64_t hidden, layers, heads, mlp, channels;
	int32_t image[2], patch[2];
	int64_t restored_hidden, restored_layers, restored_heads, restored_mlp, deepest; /* of the decoder */
	double eps;
	bool qkv_bias, distilled; /* distilled: DeiT */
	bool waves; /* ViTMAE: positions are not learned */
	const char *position_kind; /* rebus_positions, a key of our own: learned, sincos, none, rotary */
	bool blank;                /* the table begins as zeros, and stays so */
	bool restores, restores_biased, normed; /* it with its decoder; normed: its loss is of patches less their mean over their deviation */
	double mask_ratio;
	act_kind act, pooler_act;
	int64_t patch_width, positions, pooled;
	tower_shape shape;
} vit_config;

typedef struct vit_layer {
	block_weights own, restored; /* the tower's, the decoder's */
} vit_layer;

typedef struct vit_weights {
	weight class_row, distillation_row, position, patch, norm, norm_bias, pooler, classifier, class_head, distillation_head;
	weight restored_in, mask_row, restored_position, restored_norm, restored_norm_bias, pixels;
	vit_layer *layers;
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
	CONFIG_TEXT(vit_config, position_kind, "rebus_positions", "learned"),
	CONFIG_REAL(vit_config, mask_ratio, "mask_ratio", 0, 1, 0.75),
	CONFIG_INT(vit_config, restored_hidden, "decoder_hidden_size", 1, 65536, 512),
	CONFIG_INT(vit_config, restored_layers, "decoder_num_hidden_layers", 1, MODEL_LAYERS, 8),
	CONFIG_INT(vit_config, restored_heads, "decoder_num_attention_heads", 1, 1024, 16),
	CONFIG_INT(vit_config, restored_mlp, "decoder_intermediate_size", 1, 1 << 20, 2048),
	CONFIG_FLAG(vit_config, normed, "norm_pix_loss", false),
};

#define V(m) WEIGHT_AT(vit_weights, m)
#define L(m) WEIGHT_AT(vit_layer, m)
#define D(m) WEIGHT_DIM(vit_config, m)
#define BIASED WEIGHT_IF(vit_config, qkv_bias)
#define DISTILLED WEIGHT_IF(vit_config, distilled)
#define RESTORES WEIGHT_IF(vit_config, restores)

/* A block: of the tower, or of the decoder, whose names have two forms. */
#define NAMES_OWN(rest) "{p}encoder.layer.{i}." rest
#define NAMES_RESTORED(rest) "decoder.decoder_layers.{i}." rest "|decoder.decoder_encoder.layer.{i}." rest
#define BLOCK_ROW(kind, name, at, out_, count, if_, ...) WEIGHT_ROW(kind, name, L(at), .out = D(out_), .upto = D(count), .when = if_, __VA_ARGS__)
#define BLOCK(name, to, wide, mlp_, count, if_, if_biased)                                                                         \
	BLOCK_ROW(VECTOR, name("layernorm_before.weight"), to.norm1, wide, count, if_),                                                \
	BLOCK_ROW(VECTOR, name("layernorm_before.bias"), to.norm1_bias, wide, count, if_),                                             \
	BLOCK_ROW(LINEAR, name("attention.attention.query.weight"), to.qkv, wide, count, if_, .in = D(wide)),                          \
	BLOCK_ROW(LINEAR, name("attention.attention.key.weight"), to.qkv, wide, count, if_, .in = D(wide), .part = 1),                 \
	BLOCK_ROW(LINEAR, name("attention.attention.value.weight"), to.qkv, wide, count, if_, .in = D(wide), .part = 2),               \
	BLOCK_ROW(BIAS, name("attention.attention.query.bias"), to.qkv, wide, count, if_biased),                                       \
	BLOCK_ROW(BIAS, name("attention.attention.key.bias"), to.qkv, wide, count, if_biased, .part = 1),                              \
	BLOCK_ROW(BIAS, name("attention.attention.value.bias"), to.qkv, wide, count, if_biased, .part = 2),                            \
	BLOCK_ROW(LINEAR, name("attention.output.dense.weight"), to.out, wide, count, if_, .in = D(wide)),                             \
	BLOCK_ROW(BIAS, name("attention.output.dense.bias"), to.out, wide, count, if_),                                                \
	BLOCK_ROW(VECTOR, name("layernorm_after.weight"), to.norm2, wide, count, if_),                                                 \
	BLOCK_ROW(VECTOR, name("layernorm_after.bias"), to.norm2_bias, wide, count, if_),                                              \
	BLOCK_ROW(LINEAR, name("intermediate.dense.weight"), to.up, mlp_, count, if_, .in = D(wide)),                                  \
	BLOCK_ROW(BIAS, name("intermediate.dense.bias"), to.up, mlp_, count, if_),                                                     \
	BLOCK_ROW(LINEAR, name("output.dense.weight"), to.down, wide, count, if_, .in = D(mlp_)),                                      \
	BLOCK_ROW(BIAS, name("output.dense.bias"), to.down, wide, count, if_)

static const weight_row rows[] = {
	WEIGHT_ROW(VECTOR, "{p}embeddings.cls_token", V(class_row), .out = D(hidden), .lead = 2),
	WEIGHT_ROW(VECTOR, "{p}embeddings.distillation_token", V(distillation_row), .out = D(hidden), .when = DISTILLED, .lead = 2),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embeddings", V(position), .out = D(positions), .in = D(hidden), .waves = WEIGHT_IF(vit_config, waves),
		.blank = WEIGHT_IF(vit_config, blank), .lead = 1),
	WEIGHT_ROW(CONV, "{p}embeddings.patch_embeddings.projection.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}embeddings.patch_embeddings.projection.bias", V(patch), .out = D(hidden)),
	BLOCK(NAMES_OWN, own, hidden, mlp, layers, 0, BIASED),
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
	WEIGHT_ROW(VECTOR, "decoder.mask_token", V(mask_row), .out = D(restored_hidden), .when = RESTORES, .lead = 2),
	WEIGHT_ROW(TABLE, "decoder.decoder_pos_embed", V(restored_position), .out = D(positions), .in = D(restored_hidden), .waves = RESTORES,
		.when = RESTORES, .lead = 1),
	WEIGHT_ROW(LINEAR, "decoder.decoder_embed.weight", V(restored_in), .out = D(restored_hidden), .in = D(hidden), .when = RESTORES),
	WEIGHT_ROW(BIAS, "decoder.decoder_embed.bias", V(restored_in), .out = D(restored_hidden), .when = RESTORES),
	BLOCK(NAMES_RESTORED, restored, restored_hidden, restored_mlp, restored_layers, RESTORES, WEIGHT_IF(vit_config, restores_biased)),
	WEIGHT_ROW(VECTOR, "decoder.decoder_norm.weight", V(restored_norm), .out = D(restored_hidden), .when = RESTORES),
	WEIGHT_ROW(VECTOR, "decoder.decoder_norm.bias", V(restored_norm_bias), .out = D(restored_hidden), .when = RESTORES),
	WEIGHT_ROW(LINEAR, "decoder.decoder_pred.weight", V(pixels), .out = D(patch_width), .in = D(restored_hidden), .when = RESTORES),
	WEIGHT_ROW(BIAS, "decoder.decoder_pred.bias", V(pixels), .out = D(patch_width), .when = RESTORES),
};

/*
 * rebus_positions: a key of config.json that only rebus knows, for comparing what positions do. sincos: the table of ViTMAE, which
 * stays as it is; none: a table of zeros, which stays; rotary: zeros too, and queries and keys turned by the place of their patch
 * (tower_shape.turn_half). Others load sincos and none as they are; rotary they compute without the turning.
 */
static rebus_status position_rule(vit_config *c, rebus_error *err)
{
	const char *kind = c->position_kind;
	bool rotary = !strcmp(kind, "rotary"), known = rotary || !strcmp(kind, "learned") || !strcmp(kind, "sincos") || !strcmp(kind, "none");
	int64_t head = c->hidden / c->heads;
	if (!known)
		return error_set(err, REBUS_MISUSE, "config.json: rebus_positions: %.40s, expected learned, sincos, none or rotary", kind);
	if (rotary && head % 4)
		return error_set(err, REBUS_FORMAT, "config.json: rebus_positions: rotary: heads of %lld columns, expected a multiple of 4", (long long)head);
	c->waves |= !strcmp(kind, "sincos");
	c->blank = rotary || !strcmp(kind, "none");
	c->shape.turn_half = rotary ? (int32_t)(head / 2) : 0;
	return REBUS_OK;
}

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
	c->restores_biased = c->restores && c->qkv_bias;
	c->deepest = c->restores ? int_max(c->layers, c->restored_layers) : c->layers;
	c->shape = (tower_shape){.channels = c->channels, .learned = learned, .placed = learned, .positions = c->positions, .resample = GRID_BICUBIC};
	memcpy(c->shape.image, c->image, sizeof c->image);
	memcpy(c->shape.patch, c->patch, sizeof c->patch);
	return position_rule(c, err);
}

static rebus_status derive_distilled(arena *a, void *config, rebus_error *err)
{
	((vit_config *)config)->distilled = true;
	return derive(a, config, err);
}

/* The decoder belongs to one of the two classes. */
static rebus_status begin_masked(const json *object, void *config, rebus_error *err)
{
	(void)err;
	const char *architecture = model_architecture(object);
	((vit_config *)config)->restores = architecture && !strcmp(architecture, "ViTMAEForPreTraining");
	return REBUS_OK;
}

static rebus_status derive_masked(arena *a, void *config, rebus_error *err)
{
	vit_config *c = config;
	c->waves = true;
	if (c->restores && c->restored_hidden % c->restored_heads)
		return error_set(err, REBUS_FORMAT, "config.json: decoder_hidden_size: %lld, expected a multiple of decoder_num_attention_heads (%lld)",
			(long long)c->restored_hidden, (long long)c->restored_heads);
	rebus_status status = derive(a, config, err);
	c->shape.masks = true;
	c->shape.mask_ratio = c->mask_ratio;
	c->shape.restores = c->restores;
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
	o.rotary = c->shape.turn_half > 0;
	if (o.rotary)
		part_angles(n, 2 * c->shape.turn_half, false);
	hidden[0] = part_patch_embedding(n, graph_text(n->g, "%s.embeddings", name), &w->patch, learned, (int)c->shape.learned, &w->position);
	for (int64_t i = 0; i < c->layers; i++)
		hidden[i + 1] = part_block(n, graph_text(n->g, "%s.encoder.layer.%lld", name, (long long)i), hidden[i], &w->layers[i].own, &o);
	if (c->waves || c->blank)
		graph_freeze(n->g, graph_param(n->g, &w->position));
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

/* Rows of whole pictures, dropped patches as the mask row, with positions. */
static node_id put_together(net *n, const vit_weights *w, node_id x)
{
	graph *g = n->g;
	net_whole *at = &n->whole;
	at->source = graph_slot_map(g, "whole", at->rows, 1, false);
	at->position = graph_slot_map(g, "place in the whole", at->rows, POSITION_TAPS, false);
	at->self = graph_slot_layout(g, "whole to itself", at->rows, at->rows);
	at->patches = graph_slot_map(g, "patches of the whole", n->patches, 1, false);
	at->dropped = graph_slot_column(g, "dropped", n->patches, 1);
	node_id rows[] = {graph_linear(g, "decoder.decoder_embed", x, &w->restored_in), graph_param(g, &w->mask_row)};
	node_id table = graph_param(g, &w->restored_position);
	graph_freeze(g, table);
	node_id whole = graph_move(g, "decoder.whole", rows, 2, at->rows, at->source);
	return graph_add(g, "decoder.sum", whole, graph_move(g, "decoder.position", &table, 1, at->rows, at->position));
}

/* What the dropped patches were, and how far off that is. */
static void build_decoder(net *n, const vit_config *c, const vit_weights *w, node_id x)
{
	graph *g = n->g;
	x = put_together(n, w, x);
	block_options o = {.heads = c->restored_heads, .kv_heads = c->restored_heads, .head_dim = c->restored_hidden / c->restored_heads, .eps = c->eps,
		.act = c->act, .at = n->whole.self, .attention = "attention", .mlp = "output"};
	for (int64_t i = 0; i < c->restored_layers; i++)
		x = part_block(n, graph_text(g, "decoder.decoder_layers.%lld", (long long)i), x, &w->layers[i].restored, &o);
	x = graph_layer_norm(g, "decoder.decoder_norm", x, &w->restored_norm, &w->restored_norm_bias, (float)c->eps);
	x = graph_move(g, "decoder.patches", &x, 1, n->patches, n->whole.patches);
	x = graph_linear(g, "decoder.decoder_pred", x, &w->pixels);
	net_see(n, "logits", x, OUTPUT_PATCHES, false);
	node_id rows, loss = graph_pixel_error(g, "loss", x, graph_find(g, "patches"), n->whole.dropped, (int32_t)c->channels, c->normed, &rows);
	net_see(n, NET_PATCH_ERRORS, rows, OUTPUT_PATCHES, false);
	if (n->wants.train)
		net_see(n, NET_LOSS, loss, OUTPUT_FLAT, false);
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
	else if (c->restores)
		build_decoder(n, c, w, x);
}

static pick_rule vision_pick(const struct rebus_model *m)
{
	(void)m;
	return PICK_FIRST;
}

#define SHARED                                                                                                             \
	.config_size = sizeof(vit_config),                                                                                   \
	.fields = fields,                                                                                                    \
	.field_count = COUNT_OF(fields),                                                                                     \
	.weights_size = sizeof(vit_weights),                                                                                 \
	.layers_at = offsetof(vit_weights, layers),                                                                          \
	.layer_size = sizeof(vit_layer),                                                                                     \
	.layer_count_at = offsetof(vit_config, deepest),                                                                     \
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
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,
	.prefixes = "vit.|",
	.processor = "ViTImageProcessor",
	.derive = derive,
	SHARED,
};

static const char *const distilled_architectures[] = {"DeiTForImageClassificationWithTeacher", "DeiTForImageClassification", "DeiTModel", NULL};

const family family_deit = {
	.model_type = "deit",
	.architectures = distilled_architectures,
	.abilities = REBUS_READS_PICTURES | REBUS_CLASSIFIES,
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
	.abilities = REBUS_READS_PICTURES,
	.prefixes = "vit.|",
	.processor = "ViTImageProcessor",
	.ignored = decoder,
	.begin = begin_masked,
	.derive = derive_masked,
	SHARED,
};
