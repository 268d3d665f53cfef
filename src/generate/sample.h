/*
 * sample.h - choosing the next token from logits.
 *
 *   logits ─► + bias ─► repetition ─► presence, frequency ─► scores      temperature 0: the largest, the first of equals (greedy)
 *   scores ─► / temperature ─► top_k largest (and their equals) ─► the smallest set whose sum reaches top_p (Holtzman et al. 2020)
 *          ─► those of at least min_p times the largest probability (Nguyen et al. 2024) ─► drawn by a counter-based random number
 *
 * The order is that of transformers' LogitsProcessors; tests/unit/test_sample compares with them. The random number depends on
 * seed, sequence and step alone (SplitMix64, Steele et al. 2014), so an answer does not depend on what else is in the batch.
 */
#ifndef REBUS_SAMPLE_H
#define REBUS_SAMPLE_H

#include "kernels/kernels.h"
#include "rebus.h"

typedef struct sampling {
	float temperature, top_p;
	int32_t top_k;
	uint64_t seed;
	float min_p, repetition, presence, frequency; /* repetition 0 or 1, the others 0: none */
	const rebus_token_bias *bias;
	size_t bias_count;
} sampling;

typedef struct sample_history { /* what a sequence holds so far */
	const int32_t *prompt, *said;
	int64_t prompt_count, said_count;
} sample_history;

typedef struct candidate {
	float value;
	int32_t id;
} candidate;

typedef struct sample_room { /* [width] each; probability is used only where temperature > 0, counts and scores only where logits change */
	candidate *list;
	float *probability, *scores;
	int32_t *counts;
} sample_room;

/* The logits with bias and penalties: themselves where there are none, else room->scores. */
const float *sample_scores(const sampling *s, const sample_history *h, const float *logits, int64_t width, const sample_room *room);
/* What may be drawn: room->list, most likely first, and room->probability, which need not add up to 1. Returns how many. */
int64_t sample_kept(const kernels *k, const sampling *s, const float *scores, int64_t width, const sample_room *room);
int32_t sample_next(const kernels *k, const sampling *s, const float *scores, int64_t width, int64_t sequence, int64_t step, const sample_room *room);

#endif
