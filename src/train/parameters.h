/*
 * parameters.h - the tensors that training moves: their values in the model, where a pass leaves their gradients, and what
 * the optimiser keeps of them.
 *
 *     graph's parameter nodes (stacked weights: a part each) ─► parameter: value, gradient sources, moments, rate
 *     all parameters, cut into pieces of PIECE values         ─► the unit of work of a team
 */
#ifndef REBUS_PARAMETERS_H
#define REBUS_PARAMETERS_H

#include "models/adapter.h"
#include "train/recipe.h"

enum { PIECE = 16384, GRADIENT_SOURCES = 4 };

typedef struct gradient_source { /* rows of a kept node of a plan */
	plan *const *p;
	const bool *live; /* whether this pass computed it */
	node_id node;
	int64_t row0;
} gradient_source;

typedef struct parameter {
	const char *name;
	float *value;          /* [rows, width], in the model */
	int64_t rows, width, count;
	bool turned, plus_one; /* the checkpoint has it as [width, rows]; less by 1 */
	bool matrix;           /* it is no vector */
	bool frozen, reached;  /* reached: some pass of this step gave it a gradient; else it stays */
	double rate, decay;    /* rate: factor on the schedule's */
	float *moment1, *moment2, *sum, *average; /* [count] or NULL */
	const float *gradient; /* of this step */
	const float *given;    /* where it lies, if no plan has it */
	gradient_source source[GRADIENT_SOURCES];
	int32_t sources;
} parameter;

typedef struct piece_of { /* pieces never cross parameters */
	int32_t parameter;
	int64_t first, count;
} piece_of;

typedef struct parameters {
	parameter *at;
	int32_t count;
	piece_of *pieces;
	int64_t piece_count, values; /* values: that are trained */
	double *part;                /* [piece_count, 4] scratch of a reduction */
} parameters;

/* Adds the parameters of a net whose gradient has been appended; *p is the plan it will have, *live says whether
 * its gradients are of this pass. */
rebus_status parameters_add(parameters *list, arena *a, const net *n, plan *const *p, const bool *live, rebus_error *err);
/* One number whose gradient nobody's graph computes. */
rebus_status parameters_add_number(parameters *list, arena *a, const char *name, float *value, const float *gradient, rebus_error *err);
/* Which weights stay as they are: those a pattern finds; with an adapter all but its own and those it has whole. */
typedef struct freeze_rule {
	const char *pattern; /* NULL: none */
	const adapter_set *set;
} freeze_rule;
/* Freezing, rates and memory as the recipe says; layers: blocks of the deepest part, for layer-wise decay. */
rebus_status parameters_ready(parameters *list, arena *a, const recipe *r, const freeze_rule *rule, rebus_error *err);
/* Where gradients lie now; accumulate: adds them to sums, `share` of each, instead (first: the sums begin). */
void parameters_gather(parameters *list, const rebus_runner *team, bool sum, bool first, float share);

/* Calls work(arg, piece) for every piece, on the team. */
typedef void (*piece_work)(void *arg, parameters *list, int64_t piece);
void parameters_each(parameters *list, const rebus_runner *team, piece_work work, void *arg);

/* Freezes the nodes of a graph whose weights all are, before its gradient is appended. */
rebus_status parameters_freeze(graph *g, const freeze_rule *rule, rebus_error *err);

#endif
