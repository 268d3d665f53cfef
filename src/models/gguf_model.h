/* gguf_model.h - what gguf_model.c does for open.c: a GGUF file in the place of a folder's config.json and weights. */
#ifndef REBUS_GGUF_MODEL_H
#define REBUS_GGUF_MODEL_H

#include "files/gguf.h"
#include "models/model.h"

/* m->config and m->gguf_kind from m->gguf. UNSUPPORTED: another architecture, or a part of it; FORMAT. */
rebus_status gguf_model_config(struct rebus_model *m, rebus_error *err);
/* m->weights, after gguf_model_config. */
rebus_status gguf_model_weights(struct rebus_model *m, rebus_error *err);

#endif
