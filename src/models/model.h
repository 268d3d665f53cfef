/* model.h - an opened model: configuration, parts, weights, processor, tokenizer, template. Read-only after opening. */
#ifndef REBUS_MODEL_H
#define REBUS_MODEL_H

#include "models/family.h"
#include "text/template.h"
#include "text/tokenizer.h"
#include "vision/processor.h"

enum { MODEL_WARNINGS = 64 };

struct rebus_model {
	arena mem;
	const char *folder;
	const kernels *k;
	json *config;
	const char *architecture; /* config.json's first, or NULL */
	component self, vision, text; /* vision and text may be self; f NULL: none */
	struct gguf *gguf; /* NULL: a folder. Its norms are whole and its matrices [out, in], whatever the family's table says */
	const struct kind *gguf_kind; /* gguf_model.c */
	bool widened;          /* its weights in blocks were widened to f32 */
	safetensors *weights;
	uint8_t *used;
	float **own; /* [tensors]: trainable values; NULL: the model is read-only */
	struct adapter_set *adapter; /* NULL: none */
	pack_set *ready; /* weights made ready for products, in the precision asked for */
	processor *pictures;       /* NULL: the folder has none */
	tokenizer *words;          /* NULL: the folder has none */
	template_program *chat;    /* NULL: the folder has none */
	const char *const *labels; /* [label_count] or NULL */
	int64_t label_count;
	int32_t eos[16];
	int32_t eos_count;
	const char *warnings[MODEL_WARNINGS];
	size_t warning_count;
};

const char *model_architecture(const json *config); /* the first that config.json names, or NULL */
const char *model_precision(const struct rebus_model *m); /* f32, bf16, int8, or stored: blocks as they lie */
void model_warn(struct rebus_model *m, const char *text);
/* From timm's configuration: always as many as there are classes. */
rebus_status model_label_names(struct rebus_model *m, const json *config, int64_t count, rebus_error *err);
rebus_status model_labels(struct rebus_model *m, const json *config, rebus_error *err);

/* The configuration alone: no weights, processor or tokenizer. */
rebus_status model_open_config(const char *folder, struct rebus_model **out, rebus_error *err);
/* New weights for such a model, drawn by seed, written to path (.safetensors). */
rebus_status model_write_fresh(const struct rebus_model *m, uint64_t seed, const char *path, rebus_error *err);

#endif
