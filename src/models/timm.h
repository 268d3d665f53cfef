/*
 * timm.h - folders in the form of timm (Wightman 2019, pytorch-image-models 1.0.31): what its families share.
 *
 *   config.json   {"architecture": "vit_small_patch16_224",    ─► which family, and the constructor's arguments (timm_list.c)
 *                  "model_args": {"img_size": 256, ...},       ─► of them other values
 *                  "num_classes": 10, "label_names": [...],    ─► labels
 *                  "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [...], "crop_pct": 0.9, ...}}
 *                                                              ─► size of the pictures, and the processor
 *
 * Files of before 2023 have the fields of pretrained_cfg at the top. transformers writes the same with "model_type":
 * "timm_wrapper", and reads both. An argument that is not understood is an error: it would change what is computed.
 */
#ifndef REBUS_TIMM_H
#define REBUS_TIMM_H

#include "models/family.h"

enum {
	TIMM_DISTILLED = 1,    /* a second learned row with a head of its own: VisionTransformerDistilled */
	TIMM_CLASSLESS = 2,    /* class_token=False */
	TIMM_UNPLACED = 4,     /* no_embed_class=True: learned rows have no position */
	TIMM_PRE_NORM = 8,     /* a norm before the blocks, and no bias of the patches */
	TIMM_EPS_5 = 16,       /* norms with eps 1e-5, else 1e-6 */
	TIMM_SCALED = 32,      /* init_values: LayerScale */
	TIMM_PLAIN_QKV = 64,   /* qkv_bias=False */
	TIMM_AVERAGE = 128,    /* global_pool="avg" */
	TIMM_LATENT = 256,     /* global_pool="map" */
	TIMM_NORM_FIRST = 512, /* fc_norm=False: the norm stays before the pool */
	TIMM_QUICK = 1024,     /* act_layer="quick_gelu" */
	TIMM_TANH = 2048,      /* act_layer="gelu_tanh" */
	TIMM_GATED = 4096,     /* mlp_layer=GluMlp with SiLU, the gate first */
	TIMM_UNNORMED = 8192,  /* final_norm=False */
	TIMM_ALL_ROWS = 16384  /* pool_include_prefix=True: the pool sees learned rows too */
};

typedef struct timm_vit_row {
	const char *name;
	int16_t patch, width, depth, heads;
	double ratio;
	int16_t registers;
	uint32_t flags;
} timm_vit_row;

const timm_vit_row *timm_vit_find(const char *architecture); /* NULL: none such */

/* The folder's architecture; NULL: it is none of timm's. */
const char *timm_architecture(const json *config);
/* Of model_args, else of pretrained_cfg.input_size: planes and size of the pictures. Unchanged where neither says. */
rebus_status timm_input(const json *config, int64_t *channels, int32_t image[2], rebus_error *err);
/* UNSUPPORTED for a member of model_args that is neither listed (NULL-terminated) nor of training alone. */
rebus_status timm_check_args(const json *config, const char *const *known, rebus_error *err);

#endif
