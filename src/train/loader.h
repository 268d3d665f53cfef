/* loader.h - batches: which samples, in which order, read, augmented and prepared ahead of the steps by threads of their own. */
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

typedef struct loader loader;
typedef struct read_job { /* a sample to be read */
	ahead_job base;
	loader *of;
	int64_t epoch, at, number; /* at: its place in the epoch's order; number: in the set */
	arena mem;                 /* what the item has beyond its prompt */
	item it;
	rebus_status status;
	rebus_error err;
} read_job;

/*
 * A ring of jobs; its members go on by one as the ring's numbers, modulo room, do:
 *
 *     ... free │ held: the batch made last │ put: being read ahead, in order │ free ...
 *              freed                       taken                             put
 */
struct loader {
	const rebus_model *m;
	const recipe *r;
	const samples *set;
	const rebus_runner *team;
	prepare_item prepare;
	ahead *queue;    /* NULL: batches are read when they are asked for, by the team */
	read_job *jobs;  /* [room] */
	int64_t room, freed, taken, put;
	int64_t next_epoch, next_at; /* of the next job to put */
	int32_t *order;  /* [set->count] of epoch `shuffled` */
	int64_t shuffled;
	bool augments;
	int64_t in_epoch, total; /* steps of an epoch, of the run; set before the first batch */
};

rebus_status loader_open(loader *l, const rebus_model *m, const recipe *r, const samples *set, const rebus_runner *team, bool training,
                         prepare_item prepare, arena *a, rebus_error *err);
void loader_close(loader *l);
/* Samples [first, first + count) of an epoch, shuffled if training. What it gives stays until the next call; lists lie in a. */
rebus_status loader_get(loader *l, int64_t epoch, int64_t first, int64_t count, arena *a, batch *out, rebus_error *err);

#endif
