/*
 * weight.h - a weight as the graph and the kernels see it: where its bytes lie and what they mean.
 *
 * y = x W^T + b. Up to three parts stack along the outputs (query, key, value; gate, up), each where it lies in the mapped
 * file, at any alignment of its type, in the file's own type. Plain data: who owns the bytes is the model's business.
 */
#ifndef REBUS_WEIGHT_H
#define REBUS_WEIGHT_H

#include "kernels/kernels.h"

enum { WEIGHT_PARTS = 3 };

typedef struct matrix {
	const void *data; /* row-major [out, in] */
	dtype type;
	int64_t out, in;
	const char *name; /* the tensor's in the checkpoint */
	bool turned;      /* the checkpoint has it as [in, out] */
	bool plus_one;    /* the checkpoint has values less by 1 */
} matrix;

/* A low-rank branch beside a matrix (Hu et al. 2021): y += up(scale down(dropped x)). */
typedef struct adapter {
	const struct weight *down, *up; /* [rank, in], [outputs, rank] */
	float scale, drop;              /* drop: share of x that is dropped while training */
	int32_t parts;                  /* so many parts of the weight, from its own on, are one matrix to it */
} adapter;

typedef struct weight {
	const char *name; /* the first part's, as the checkpoint calls it */
	int32_t parts;
	matrix part[WEIGHT_PARTS];
	const float *bias[WEIGHT_PARTS]; /* [part's out] or NULL */
	const char *bias_name[WEIGHT_PARTS];
	const float *f32;                /* vectors and scalars: their values in f32; else NULL */
	int64_t out, in;                 /* out summed over the parts */
	const adapter *beside[WEIGHT_PARTS]; /* at the first of its parts; NULL: none */
} weight;

#endif
