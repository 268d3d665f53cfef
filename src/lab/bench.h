/* bench.h - what bench.c measures and bench_report.c writes. */
#ifndef REBUS_BENCH_H
#define REBUS_BENCH_H

#include "graph/graph.h"
#include "lab/peaks.h"
#include "lab/report.h"

enum { BENCH_REPEAT_MOST = 1000, BENCH_PARTS = 4 };

/* One step, or several that are told together: sums over their steps and over the timed runs, divided when written. */
typedef struct bench_line {
	const char *op, *name; /* name NULL: none */
	int32_t steps;
	int64_t rows, width; /* of the last step and run */
	double seconds, flops, bytes;
} bench_line;

typedef struct bench_part {
	const char *name, *unit;
	double seconds[BENCH_REPEAT_MOST];
	int32_t count;
	double units, flops, bytes; /* of one run */
	size_t planned;             /* bytes of the plan; 0: no plan ran */
	int64_t batches;            /* runs of the plan in one timed run of the part; 0: one, not cut by a policy */
	int64_t rows, computed;     /* tokens, without and with padding, where batches > 0 */
	bench_line *lines;          /* [line_count], one a step */
	int32_t line_count;
} bench_part;

typedef struct bench_result {
	const char *cpu, *precision;
	int threads;
	size_t prompts;
	bench_part *part[BENCH_PARTS];
	int32_t part_count;
	bool measured; /* peaks */
	peaks peak;
	size_t ready;             /* bytes: weights made ready for products */
	size_t resident, weights; /* bytes: the most this process had, mapped files in it; the tensors of the checkpoint's files */
} bench_result;

/* a: for what is grouped. */
rebus_status bench_write(const bench_result *r, bool json, bool profile, arena *a, buf *out, rebus_error *err);

#endif
