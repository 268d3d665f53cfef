/* loader.h - batches: which samples, in which order, read, augmented and processed by the team. */
#ifndef REBUS_LOADER_H
#define REBUS_LOADER_H

#include "generate/prompt.h"
#include "train/recipe.h"
#include "train/samples.h"

typedef struct batch {
	const grid_picture **pictures; /* [count] */
	int32_t *labels, count;
	int32_t skipped;               /* samples that could not be read; the first one's reason: */
	rebus_error reason;
} batch;

typedef struct loader {
	const rebus_model *m;
	const recipe *r;
	const samples *set;
	const rebus_runner *team;
	arena *members;  /* [threads]: the pixels of the batch that was made last */
	int32_t *order;  /* [set->count] of epoch `shuffled` */
	int64_t shuffled;
	bool augments;
} loader;

rebus_status loader_open(loader *l, const rebus_model *m, const recipe *r, const samples *set, const rebus_runner *team, bool training, arena *a,
                         rebus_error *err);
void loader_close(loader *l);
/* Samples [first, first + count) of an epoch, shuffled if training. What it gives stays until the next call; lists lie in a. */
rebus_status loader_get(loader *l, int64_t epoch, int64_t first, int64_t count, arena *a, batch *out, rebus_error *err);

#endif
