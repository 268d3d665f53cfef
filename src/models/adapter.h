/*
 * adapter.h - low-rank adapters (LoRA, Hu et al. 2021) of a model: made anew, read from and written to PEFT's form, folded.
 *
 *     adapter_config.json           r, lora_alpha, lora_dropout, use_rslora, rank_pattern, alpha_pattern, target_modules, ...
 *     adapter_model.safetensors     base_model.model.MODULE.lora_A.weight [r, in], .lora_B.weight [out, r]
 *                                   base_model.model.MODULE.weight, of modules that were trained whole
 *
 * A module that is adapted has its branch beside its weight (weight.h): every graph of the model computes it then.
 */
#ifndef REBUS_ADAPTER_H
#define REBUS_ADAPTER_H

#include "models/model.h"

typedef struct adapted_module {
	const char *name, *file; /* as transformers calls it in memory, and as the checkpoint does; without ".weight" */
	weight *of;              /* beside part[at] and, if one tensor holds more, the parts after it */
	int32_t at;
	weight down, up;         /* F32; their names are PEFT's keys */
	adapter beside;
	int64_t outputs;
} adapted_module;

typedef struct adapter_plan { /* what is to be adapted, and how */
	const char *target; /* names apart by ',' (a module's name, or what follows a dot in it), all-linear, or an expression for whole names */
	const char *whole;  /* expression: tensors whose names it finds are trained whole beside it; NULL: none */
	int64_t rank;
	double alpha, dropout;
	bool rslora;
	uint64_t seed;
} adapter_plan;

typedef struct whole_tensor {
	const char *name;    /* the checkpoint's */
	const float *values; /* as they were read, in the checkpoint's order */
} whole_tensor;

typedef struct adapter_set {
	adapted_module *at;
	int32_t count;
	adapter_plan plan;
	whole_tensor *whole; /* tensors of the checkpoint that the adapter replaces */
	int32_t whole_count;
} adapter_set;

/* The tensor's name, with what transformers calls its module in memory. */
void model_module_name(const struct rebus_model *m, const char *tensor, char out[TENSOR_NAME + 1]);

/* Every weight of the model that its parts' tables bind, once. */
typedef rebus_status (*model_visit)(void *arg, weight *w, const weight_row *row, rebus_error *err);
rebus_status model_each_weight(struct rebus_model *m, model_visit visit, void *arg, rebus_error *err);

/* Either may be called once, before the model's first graph; memory is the model's. */
rebus_status adapter_make(struct rebus_model *m, const adapter_plan *plan, rebus_error *err);
rebus_status adapter_read(struct rebus_model *m, const char *folder, rebus_error *err);

/* folder gets both files. values: of a tensor (key: PEFT's, or the checkpoint's) as it is to be written. */
typedef struct adapter_values {
	const float *(*get)(void *user, const char *key, const float *as_it_is);
	void *user;
} adapter_values;
rebus_status adapter_write(const struct rebus_model *m, const char *folder, const char *base, const adapter_values *values, const tensor_out *whole,
                           size_t whole_count, rebus_error *err);
bool adapter_is_key(const char *name); /* of a low-rank factor */

/* W + scale B A of one tensor of the checkpoint, in its own shape, F32 in the arena; *out NULL: nothing is beside it. values NULL: as they are. */
rebus_status adapter_fold(const struct rebus_model *m, const tensor_info *t, const adapter_values *values, arena *a, const float **out, rebus_error *err);

#endif
