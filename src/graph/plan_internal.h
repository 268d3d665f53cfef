/* plan_internal.h - what plan.c (making) and run.c (running) share; nobody else includes it. */
#ifndef REBUS_PLAN_INTERNAL_H
#define REBUS_PLAN_INTERNAL_H

#include <stdatomic.h>

#include "graph/graph.h"

typedef struct place { /* where a node's rows lie */
	size_t offset, size; /* bytes from the plan's memory */
	int32_t first, last; /* steps between which it must stay */
	bool used, persistent;
} place;

struct plan {
	arena mem;
	const graph *g;
	const kernels *k;
	const rebus_allocator *from;
	int32_t threads, step_count;
	step *steps;
	_Atomic int64_t *next; /* [threads, steps]: the next task to take of a member's share */
	_Atomic int64_t *done; /* [steps]: tasks that are */
	place *places;         /* [nodes + 1] */
	uint8_t *memory;
	size_t memory_size;
	size_t scratch_each;
	uint8_t *scratch;
	int64_t *rows;    /* [spaces + 1] of this run */
	const void **at;  /* [slots + 1] of this run */
	rowmap *maps;     /* [slots + 1]: transposed maps and their room */
	double *seconds;  /* [steps] */
	cost *costs;      /* [steps] */
	bool *reads;      /* [slots + 1]: a planned node does, so it must be fed */
	barrier *meet;
	plan_info info;
	plan_count count;
	bool profile;
	/* while running */
	bool (*stop)(void *);
	void *stop_user;
	int32_t begin, end; /* the steps of this run */
	double asked;       /* when member 0 asked last */
};

/* The node whose memory a view looks into, and at which column. */
node_id plan_root(const graph *g, node_id id, int32_t *column);

/* Floats from a row of a node with memory of its own to the next. Rows a multiple of 2 KiB apart would fall into few sets of
 * the first-level cache, and a product reads 14 of them side by side: those are put a line further apart. Outputs and caches are dense. */
int64_t plan_stride(const node *n);

#endif
