/*
 * check.h - what the kernel checker's files share: guarded memory, random values, reports, timing.
 *
 *   one guarded array:   │ poison ........ │ data [count] │ page without access │
 *                          checked after     ends exactly    a read past the end
 *                          each case         at the page     is a fault
 *
 * Data ends on a page boundary, so its start falls where its size puts it: every alignment of a float occurs. A matrix
 * with a row stride larger than its width holds poison between its rows too.
 */
#ifndef REBUS_CHECK_H
#define REBUS_CHECK_H

#include "kernels/kernels.h"

#define CHECK_EPS 0x1p-24 /* half a unit in the last place: the error of one rounding */

typedef struct {
	int64_t rows, width, ld;
	float *at;
} matrix;

void check_seed(uint64_t seed);
uint64_t check_random(void);
int64_t check_between(int64_t low, int64_t high); /* both included */
float check_value(void);                          /* about -2 to 2, bell-shaped */

/* Arrays of this case, freed by check_end. check_bytes is filled with bytes that are a NaN as floats. */
void check_begin(void);
void *check_bytes(size_t size, size_t align);
float *check_floats(int64_t n);                               /* random values */
matrix check_matrix(int64_t rows, int64_t width, int64_t ld); /* random; poison between rows */
matrix check_output(int64_t rows, int64_t width, int64_t ld); /* all poison */
bool check_bounds(matrix m);                                  /* the poison between the rows is still there */
bool check_end(void);                                         /* the poison before every array too */
bool check_poison(float x);
matrix check_part(matrix m, int64_t row, int64_t rows);
bool check_same(matrix a, matrix b); /* bit for bit */

/* One case's verdict; prints a line if it failed. The entry and the level are put in front. */
void check_case(bool ok, const char *format, ...) BASE_PRINTF(2, 3);
/* |got - want| <= bound; NaN equals NaN, infinities must be equal. Keeps the worst ratio for the report. */
typedef struct {
	double worst;
	int64_t row, column;
	double got, want;
} verdict;
void check_near(verdict *v, int64_t row, int64_t column, double got, double want, double bound);

/* All tasks of a product, from the first or from the last; what a larger one is given as scratch must be enough for it. */
void check_product(const kernels *k, const gemm_call *call, const gemm_call *larger, bool reverse);

extern const kernels *check_table;

/* Benchmarks: runs `work` until enough time has passed; prints the rate of `amount` per call in 1e9 per second. */
typedef struct {
	void (*task)(void *arg, int64_t task, void *scratch);
	void *arg;
	int64_t tasks;
	size_t scratch;
} bench_work;
void bench_run(const bench_work *work, double amount, const char *unit, const char *format, ...) BASE_PRINTF(4, 5);
typedef struct {
	const kernels *k;
	gemm_call call;
} bench_product;
bench_work bench_product_work(bench_product *p); /* one run of it */

typedef struct {
	const char *name;
	void (*check)(const kernels *k);
	void (*bench)(const kernels *k);
} check_entry;
/* each ends with a NULL name */
extern const check_entry check_products[], check_packed[], check_blocks[], check_attention[], check_vectors[], check_resampling[];

#endif
