/* optimiser.h - one step: the gradient's norm, clipping, and the weights' move. */
#ifndef REBUS_OPTIMISER_H
#define REBUS_OPTIMISER_H

#include "train/parameters.h"

typedef enum { ADAMW, SGD, LION } optimiser_kind;
optimiser_kind optimiser_parse(const char *name);

typedef struct optimiser_step {
	optimiser_kind kind;
	const kernels *k;
	const recipe *r;
	int64_t number;  /* from 1 */
	double rate;     /* the schedule's */
	float factor;    /* on gradients, from clipping */
	bool watch;      /* also leave sums of squares of gradient, update and weight in part */
} optimiser_step;

/* Euclidean norm of all gradients together; the same bits at any number of threads. */
double optimiser_norm(parameters *list, const rebus_runner *team, const kernels *k);
void optimiser_move(parameters *list, const rebus_runner *team, optimiser_step *s);
/* Rate of step `number` (from 1) of `total`. */
double optimiser_rate(const recipe *r, int64_t number, int64_t total);

/* Of one tensor after a watched move. */
typedef struct optimiser_seen {
	double gradient, variance, update, weight; /* norm, variance of values, norms */
} optimiser_seen;
optimiser_seen optimiser_saw(const parameters *list, int32_t parameter);

#endif
