/*
 * bind.h - weights bound by table: a family says which tensor goes into which field of its weights, under which names and
 * with which shape; the tensors are found, checked and left where they lie.
 *
 *   typedef struct { weight norm_w, norm_b, qkv, ...; } vit_layer;
 *   typedef struct { weight cls, position, patch, ...; vit_layer *layers; } vit_weights;
 *   #define V(m) WEIGHT_AT(vit_weights, m)
 *   #define L(m) WEIGHT_AT(vit_layer, m)
 *   #define D(m) WEIGHT_DIM(vit_config, m)
 *   #define A "{p}encoder.layer.{i}.attention.attention."
 *   static const weight_row vit_rows[] = {
 *           WEIGHT_ROW(VECTOR, "{p}embeddings.cls_token", V(cls), .out = D(hidden)),
 *           WEIGHT_ROW(TABLE, "{p}embeddings.position_embeddings", V(position), .out = D(positions), .in = D(hidden)),
 *           WEIGHT_ROW(CONV, "{p}embeddings.patch_embeddings.projection.weight", V(patch), .out = D(hidden), .in = D(patch)),
 *           WEIGHT_ROW(BIAS, "{p}embeddings.patch_embeddings.projection.bias", V(patch), .out = D(hidden)),
 *           WEIGHT_ROW(VECTOR, "{p}encoder.layer.{i}.layernorm_before.weight", L(norm_w), .out = D(hidden)),
 *           WEIGHT_ROW(LINEAR, A "query.weight", L(qkv), .out = D(hidden), .in = D(hidden)),
 *           WEIGHT_ROW(LINEAR, A "key.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 1),
 *           WEIGHT_ROW(BIAS, A "query.bias", L(qkv), .out = D(hidden), .when = WEIGHT_IF(vit_config, qkv_bias)),
 *           WEIGHT_ROW(LINEAR, "classifier.weight", V(head), .out = WEIGHT_ANY, .in = D(hidden), .optional = true),
 *   };
 *   bind_job job = {.from = file, .prefix = "vit.", .rows = vit_rows, .count = COUNT_OF(vit_rows), .config = &config,
 *                   .into = &w, .layers = w.layers, .layer_size = sizeof(vit_layer), .layer_count = config.layers, .used = used};
 *   bind_weights(a, &job, err);
 *
 * Names: alternatives divided by '|', best first; {p} is the prefix of the composing family ("vit." in a classifier's file,
 * "" in a bare model's), {i} the number of a layer. A row with {i} is repeated for every layer and its field lies in the
 * layer's struct. The first alternative that exists is taken and marked used. A weight's parts come in ascending order, a
 * bias after its matrix.
 *
 * Alignment: what is bound has at least its type's alignment. A file that puts data elsewhere costs a copy.
 */
#ifndef REBUS_BIND_H
#define REBUS_BIND_H

#include "files/safetensors.h"
#include "kernels/weight.h"

typedef enum {
	WEIGHT_LINEAR, /* [out, in] -> part[row.part], as it is stored */
	WEIGHT_TURNED, /* [in, out] (GPT-2's Conv1D): turned once into the arena -> part[row.part], in the file's type */
	WEIGHT_CONV,   /* [out, c, kh, kw] or [out, c, t, kh, kw], seen as [out, in] with in their product; as LINEAR */
	WEIGHT_BIAS,   /* [out] -> bias[row.part], in f32; any number of sides, if all but one are 1 */
	WEIGHT_VECTOR, /* [out] -> f32, and part[0] the same as f32 [out, 1]; sides as for BIAS */
	WEIGHT_SCALAR, /* one number, whatever its shape; as a VECTOR of 1 */
	WEIGHT_TABLE,  /* [..., in] -> part[0] in f32, rows the product of all sides but the last; a copy only if not f32 */
	WEIGHT_LOOKUP  /* the same, but as it is stored: embeddings, of which a run reads few rows */
} weight_kind;

typedef struct weight_row {
	const char *names;
	int32_t at; /* offset of the weight, in the layer's struct if names holds {i} */
	weight_kind kind;
	int32_t out, in; /* WEIGHT_DIM, 0: one, or what the configuration of this component does not say: WEIGHT_ANY, _TOWER, _WORDS */
	int32_t part;    /* 0, 1, 2 */
	int32_t upto;    /* WEIGHT_DIM: with {i}, of so many layers only; 0: of all */
	int32_t when;    /* WEIGHT_IF: the row counts only if that flag is set; 0: always */
	int32_t third;   /* 1, 2, 3: only these rows of a tensor that stacks three alike, such as query, key and value; 0: all */
	bool optional;   /* absent: the weight keeps parts == 0; a bias: passed over if its matrix is absent */
	bool plus_one;   /* VECTOR: the file has w - 1 (Gemma's norms) */
	/* For new weights: sides of 1 before and after what out and in say; an optional one is made where the
	 * architecture's name ends so ('|' separates alternatives) */
	int32_t lead, trail;
	int32_t blank; /* WEIGHT_IF: TABLE: it begins as zeros */
	int32_t waves; /* WEIGHT_IF: TABLE: it begins as sines and cosines of the places of a tower's patches, and stays so */
	int32_t times; /* WEIGHT_DIM: `in` so many times, as that many things are joined; 0: once */
	const char *only;
	int32_t unless; /* WEIGHT_IF: not made where that flag is set, as another tensor stands for it (tied heads) */
} weight_row;

/* Sides that are not compared. New weights have there: as many as the model has labels; the width of its tower, of its text model. */
enum { WEIGHT_ANY = -1, WEIGHT_TOWER = -2, WEIGHT_WORDS = -3 };
#define WEIGHT_AT(s, m) _Generic(&((s *)0)->m, weight *: (int32_t)offsetof(s, m))
#define WEIGHT_DIM(s, m) _Generic(&((s *)0)->m, int64_t *: (int32_t)offsetof(s, m) + 1) /* the value of a config's field */
#define WEIGHT_IF(s, m) _Generic(&((s *)0)->m, bool *: (int32_t)offsetof(s, m) + 1)
#define WEIGHT_ROW(kind_, names_, at_, ...) {.kind = WEIGHT_##kind_, .names = (names_), .at = (at_), __VA_ARGS__}

typedef struct bind_job {
	const safetensors *from; /* must outlive the weights: names and most data lie there */
	const char *prefix;      /* {p} */
	const weight_row *rows;
	size_t count;
	const void *config; /* the struct that out, in and when point into */
	void *into;         /* the struct of rows without {i}, cleared by the caller */
	void *layers;       /* [layer_count] structs of layer_size bytes, cleared by the caller; NULL: rows with {i} are skipped */
	size_t layer_size;
	int64_t layer_first, layer_count; /* {i} runs from layer_first */
	uint8_t *used;                    /* bind_used's, or NULL */
	bool plain;   /* norms are whole and matrices [out, in], whatever the rows say (GGUF) */
	bool blocks;  /* matrices and lookups in blocks stay as they lie; else they are widened to f32 */
	float **own;                      /* [tensors], cleared: all data is copied into the arena as f32, to be changed there; NULL: not */
} bind_job;

/* Fails with SHAPE (missing, wrong sides), UNSUPPORTED (dtype), MEMORY; the structs then hold some of the weights. */
rebus_status bind_weights(arena *a, const bind_job *job, rebus_error *err);
bool bind_has(const safetensors *from, const char *prefix, const char *names); /* is any alternative there? no {i} */

uint8_t *bind_used(arena *a, const safetensors *from); /* a cleared bit for every tensor; NULL: no memory */
/* Goes over the tensors nothing was bound to, but those that match a pattern ('*': any text) of ignore. *at starts as 0. */
const tensor_info *bind_unused(const safetensors *from, const uint8_t *used, const char *const *ignore, size_t count, size_t *at);

/* The values of a tensor of F32, F16 or BF16 as f32 in the arena, every one widened exactly. */
rebus_status bind_f32(arena *a, const tensor_info *t, const float **out, rebus_error *err);

#endif
