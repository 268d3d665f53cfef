/*
 * rope.h - rotary frequencies from a configuration (Su et al. 2021), with the scalings of published checkpoints.
 *
 *   default  inv_freq[i] = theta^(-2 i / dim)
 *   linear   the same divided by factor
 *   llama3   wavelength > original / low: divided by factor; < original / high: as it is; between: blended
 *            smooth = (original / wavelength - low) / (high - low), (1 - smooth) f / factor + smooth f
 * All in f32 as transformers computes them.
 */
#ifndef REBUS_ROPE_H
#define REBUS_ROPE_H

#include "base/base.h"

typedef struct rope_config {
	const char *type; /* "default", "linear", "llama3" */
	double theta, factor, low, high, original;
} rope_config;

/* out [dim / 2] in the arena. Fails with UNSUPPORTED for another type. */
rebus_status part_rope(arena *a, const rope_config *c, int64_t dim, const float **out, rebus_error *err);

#endif
