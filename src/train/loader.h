/* loader.h - batches: which samples, in which order, read, augmented and prepared by the team. */
#ifndef REBUS_LOADER_H
#define REBUS_LOADER_H

#include "generate/prompt.h"
#include "train/recipe.h"
#include "train/samples.h"

typedef struct item { /* a sample as its objective wants it */
	rebus_prompt *prompt; /* its picture, if it has one */
	int32_t label;
	sequence text;        /* count 0: none */
	int32_t *target;      /* [text.count]: the id that a row is to predict, -1 none */
	const recipe *r;
	uint64_t draw;        /* what is drawn for it depends on: the sample and the epoch; in an evaluation the sample alone */
} item;

uint64_t item_bits(const item *it, uint64_t number); /* of the recipe's seed, the item's draw and number */
double item_unit(const item *it, uint64_t number);   /* [0, 1) */

typedef struct batch {
	const item **at; /* [count] */
	rebus_prompt **prompts; /* [count], the items' */
	int32_t count, skipped; /* skipped: samples that could not be read; the first one's reason: */
	rebus_error reason;
} batch;

/* What an objective makes of a sample that has been read; it->prompt is there and empty, memory is a's. */
typedef rebus_status (*prepare_item)(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err);

typedef struct loader {
	const rebus_model *m;
	const recipe *r;
	const samples *set;
	const rebus_runner *team;
	prepare_item prepare;
	arena *members;  /* [threads]: what the batch that was made last has beyond prompts */
	item *items;     /* of that batch */
	int64_t item_count;
	int32_t *order;  /* [set->count] of epoch `shuffled` */
	int64_t shuffled;
	bool augments;
} loader;

rebus_status loader_open(loader *l, const rebus_model *m, const recipe *r, const samples *set, const rebus_runner *team, bool training,
                         prepare_item prepare, arena *a, rebus_error *err);
void loader_close(loader *l);
/* Samples [first, first + count) of an epoch, shuffled if training. What it gives stays until the next call; lists lie in a. */
rebus_status loader_get(loader *l, int64_t epoch, int64_t first, int64_t count, arena *a, batch *out, rebus_error *err);

#endif
