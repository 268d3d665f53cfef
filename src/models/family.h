/*
 * family.h - what one file of src/models says of its family, and the model that is opened with it.
 *
 * A family is data (which fields of config.json, which tensors, what it reads) and a few functions that build nodes. Models
 * compose: config.json's vision_config and text_config name families too, found in the same registry, so that LLaVA is any
 * tower, a projector and any text model:
 *
 *     config.json ─► family `llava` ─┬─ vision_config.model_type ─► family `clip_vision_model`  (layers)
 *                                    └─ text_config.model_type   ─► family `llama`              (layers, text)
 *
 * Nothing outside src/models asks for a model type.
 */
#ifndef REBUS_FAMILY_H
#define REBUS_FAMILY_H

#include "files/bind.h"
#include "files/config.h"
#include "parts/blocks.h"
#include "parts/rope.h"
#include "vision/position_grid.h"

typedef struct family family;

typedef struct component { /* a family with its configuration and weights */
	const family *f;
	void *config, *weights;
	struct component *stage; /* [stages], where the family has them */
	int64_t stages;
} component;

/* What the token table needs to know of a tower. */
typedef struct tower_shape {
	int64_t channels, learned; /* planes; rows before the patches (class, distillation, registers) */
	int64_t placed;            /* so many of the learned rows, the first ones, have a position */
	int32_t image[2], patch[2]; /* height, width */
	int64_t unseen;            /* so many of them the probe does not see */
	int64_t positions;         /* rows of the position table: of the placed ones, then of the patches; 0 none */
	int32_t grid[2];           /* of the table's patches, resampled unasked wherever a picture's is another; 0: a square */
	grid_method resample;      /* how the reference resamples it to another grid */
	int32_t turn_half;         /* queries and keys are turned by the place of their patch: columns of a head / 2; 0: not */
	bool masks;                /* patches are dropped at random, */
	double mask_ratio;         /* this share of them unless asked otherwise */
	bool restores;             /* a decoder says what the dropped ones were */
	bool probe;                /* a learned row for each picture pools it */
	bool flat;                 /* the reference takes rows of patches, channel last, filled up with zeros to a budget: pixel_attention_mask */
	bool pads;                 /* sides that are no multiple of the patch are padded with zeros, not cut */
	const pyramid_shape *windows; /* NULL: the patches stay one grid */
	bool always;               /* it does so unasked, whenever the grid is not the square it has */
} tower_shape;

/* What it needs to know of a text model. */
typedef struct text_shape {
	int64_t vocabulary, positions; /* longest sequence */
	int64_t eos;                   /* where PICK_END looks; 2: the highest id (old CLIP files), else the first eos */
	const rope *turn, *near_turn;  /* of queries and keys; near_turn: of blocks that see the last keys only; NULL: none, or the same */
	int64_t restart;               /* a sequence that grows beyond is read again from its start, as other angles count then; 0: never */
	int64_t window;                /* how many keys such blocks see; 0: there are none */
	bool learned_order;            /* a learned table by place */
	int64_t segments;              /* rows of a learned table by segment; 0: a text has one segment only */
	bool relative;                 /* scores are biased by the distance of places */
	int64_t start;                 /* with an encoder: the id an answer begins with */
	int64_t order_offset;          /* rows of it before the first place */
	bool both_ways;                /* a row sees the rows after it too */
	bool full;                     /* texts are padded to the longest sequence, and padding is read like any token */
} text_shape;

/* Rows of a sequence that heads see. PICK_MEAN: one row, the mean of the patches. */
typedef enum { PICK_NONE, PICK_FIRST, PICK_SECOND, PICK_PATCHES, PICK_ALL, PICK_LAST, PICK_END, PICK_MEAN } pick_rule;

typedef struct sub_config { /* a part of a composed model */
	const char *member;   /* of config.json; NULL: none */
	const char *fallback; /* its model_type where it says none */
	const char *prefixes; /* of its tensors, '|' separated, the first that fits counts */
	bool exact;           /* it must be of the fallback's family */
} sub_config;

struct rebus_model;

struct family {
	const char *model_type;
	const char *const *architectures; /* classes whose outputs are computed, NULL-terminated; NULL: only as a part */
	unsigned abilities;               /* rebus_ability */
	const char *prefixes;             /* of the family's own tensors */
	const char *processor;            /* image processor class where the folder names none */
	const char *const *ignored;       /* tensors that are no weights, NULL-terminated; NULL: none */

	size_t config_size;
	const field *fields;
	size_t field_count;
	size_t weights_size, layers_at;   /* layers_at: offset of the block_weights pointer in the weights, SIZE_MAX: none */
	size_t layer_size;                /* of a layer's struct; 0: block_weights */
	size_t layer_count_at;            /* offset of the int64_t in the configuration */
	size_t width_at;                  /* the same, of how wide the rows are that leave the last block */
	const weight_row *rows;
	size_t row_count;
	sub_config vision, text;
	/* Parts in a row that are alike, such as the stages of a pyramid, under the family's own prefix, this one and a number. */
	const family *stage;
	const char *stage_prefix;
	void *(*stage_config)(void *config, int64_t i); /* NULL past the last */

	/* timm's folders name an architecture instead of a family: is it this one's? NULL: no. */
	bool (*builds)(const char *architecture);
	int64_t (*classes)(const void *config); /* of timm's folders, which may leave labels out; else NULL */
	/* Before the fields are read: values of fields that are kept where absent. May be NULL. */
	rebus_status (*begin)(const json *object, void *config, rebus_error *err);
	/* After the fields are read: what follows from them. May be NULL. */
	rebus_status (*derive)(arena *a, void *config, rebus_error *err);
	const tower_shape *(*tower)(const void *config);
	/* After binding: patches of another size, weights and shape with them. NULL: they have one size. */
	rebus_status (*repatch)(arena *a, component *c, int32_t patch, rebus_error *err);
	const text_shape *(*words)(const void *config);

	/* As a part: hidden[0] is what enters the first block, hidden[i] what leaves block i - 1; names start with `name`. */
	void (*tower_layers)(net *n, const component *c, const char *name, node_id *hidden);
	/* From embeddings to logits, outputs named on the way. */
	void (*text_layers)(net *n, const component *c, const char *name, node_id embeddings);
	node_id (*text_embedding)(net *n, const component *c, const char *name, bool features);

	/* As a model. */
	void (*build_vision)(net *n, const struct rebus_model *m);
	void (*build_text)(net *n, const struct rebus_model *m);
	void (*build_encoder)(net *n, const struct rebus_model *m); /* reads the prompt, of which the text net sees the rows; NULL: the text net reads it */
	pick_rule (*vision_pick)(const struct rebus_model *m);
	pick_rule vision_pool; /* what part_pool gives: PICK_SECOND, PICK_MEAN, or none */
	pick_rule text_pick;
	const weight *(*similarity_scale)(const struct rebus_model *m); /* two towers: logits = exp(scale) * cosine + bias */
	const weight *(*similarity_bias)(const struct rebus_model *m);  /* NULL: 0 */
	bool independent;                                               /* a text's score is a sigmoid, not a share of one */
	int64_t (*image_token)(const void *config);                     /* the id a picture's rows replace */
};

int64_t component_layers(const component *c); /* blocks, by the family's layer_count_at */
const family *registry_find(const char *model_type); /* the first of that type */
/* Of that type, the one whose architecture it is, else the first; NULL: there is none. */
const family *registry_choose(const char *model_type, const char *architecture);
const family *registry_builds(const char *architecture); /* of timm */
const family *registry_at(size_t i); /* NULL past the last */

enum { MODEL_LAYERS = 1024 };

#endif
