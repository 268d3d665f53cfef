/*
 * sample.h - choosing the next token from logits.
 *
 *   temperature 0   the largest logit, the first of equals (greedy)
 *   else            softmax(logits / temperature) over the top_k largest, of which the smallest set whose sum reaches top_p
 *                   stays (Holtzman et al. 2020), drawn by a counter-based random number
 *
 * The number depends on seed, sequence and step alone (SplitMix64, Steele et al. 2014), so an answer does not depend on what
 * else is in the batch.
 */
#ifndef REBUS_SAMPLE_H
#define REBUS_SAMPLE_H

#include "kernels/kernels.h"

typedef struct sampling {
	float temperature, top_p;
	int32_t top_k;
	uint64_t seed;
} sampling;

typedef struct candidate {
	float value;
	int32_t id;
} candidate;

/* scratch [width], probability [width] are used only where temperature > 0. */
int32_t sample_next(const kernels *k, const sampling *s, const float *logits, int64_t width, int64_t sequence, int64_t step, candidate *scratch,
                    float *probability);

#endif
