/*
 * beams.h - the likeliest answer among several that grow side by side.
 */
#ifndef REBUS_BEAMS_H
#define REBUS_BEAMS_H

#include "generate/sample.h"
#include "generate/session.h"

typedef struct beam_search {
	growth *g; /* just begun, with so many beams */
	const sampling *how; /* bias and penalties */
	const sample_room *room;
	int32_t max_tokens;
	float length_penalty;
	bool early_stopping, ignore_eos;
} beam_search;

typedef struct beam_answer {
	const int32_t *ids;
	int32_t count;
	float score; /* sum of log-probabilities / count ^ length_penalty */
} beam_answer;

/* One answer for each prompt; out [prompts], what it points to is in a. */
rebus_status beams_run(const beam_search *b, arena *a, beam_answer *out, rebus_error *err);

#endif
