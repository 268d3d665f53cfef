/* trace_noise.h - what a model that drops patches at random (ViTMAE) takes and gives: noise, mask, ids_restore. */
#ifndef REBUS_TRACE_NOISE_H
#define REBUS_TRACE_NOISE_H

#include "generate/prompt.h"
#include "lab/tensors.h"

/* F32 (pictures, patches) instead of what was drawn. Fails with MISUSE for another type or shape. */
rebus_status trace_take_noise(rebus_prompt *p, const rebus_tensor *noise, rebus_error *err);
/* Nothing where no patches are dropped. All pictures must have one grid, which the caller checks. */
void trace_give_masks(rebus_tensors *out, const char *prefix, const rebus_prompt *p);

#endif
