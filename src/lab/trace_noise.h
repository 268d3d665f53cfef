/* trace_noise.h - what a model that drops patches at random (ViTMAE) takes and gives: noise, mask, ids_restore. */
#ifndef REBUS_TRACE_NOISE_H
#define REBUS_TRACE_NOISE_H

#include "generate/session.h"
#include "lab/tensors.h"

/* F32 (pictures, patches) instead of what was drawn. Fails with MISUSE for another type or shape. */
rebus_status trace_take_noise(rebus_prompt *p, const rebus_tensor *noise, rebus_error *err);
/* Nothing where no patches are dropped. All pictures must have one grid, which the caller checks. */
void trace_give_masks(rebus_tensors *out, const char *prefix, const rebus_prompt *p);
/* The loss over pictures [p0, p1) of the last run; nothing where no decoder restores patches, or none was dropped. */
void trace_give_loss(rebus_tensors *out, const char *prefix, const run_net *seen, const run_rows *rows, int32_t p0, int32_t p1);

#endif
