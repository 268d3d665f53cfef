/* trace_patches.h - pictures as models with a budget of patches take them: pixel_values, pixel_attention_mask, spatial_shapes. */
#ifndef REBUS_TRACE_PATCHES_H
#define REBUS_TRACE_PATCHES_H

#include "generate/prompt.h"
#include "lab/tensors.h"

/* Does the model take its pictures so? */
bool trace_flat(const rebus_model *m);
/* Pictures of `inputs` instead of the prompt's own, which the caller took away. */
rebus_status trace_take_patches(rebus_prompt *p, const rebus_tensors *inputs, const rebus_tensor *values, rebus_error *err);
/* Fails with MISUSE where pictures have different budgets. */
rebus_status trace_give_patches(rebus_tensors *out, const char *prefix, const rebus_prompt *p, rebus_error *err);

#endif
