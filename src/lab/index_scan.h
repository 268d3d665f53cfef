/*
 * index_scan.h - the rows nearest to a query, exactly: every row is looked at, by a team of threads.
 *
 *   rows ─► a stripe a thread ─► dots of each row with the query and with itself ─► the stripe's best ─► the best of all
 *
 * score = <query, row> / (|query| |row|): rows need not have unit length, and the scale of a row of int8 falls out. Rows are
 * read once, where they lie. The order is total (higher score, then lower row), so the number of threads does not matter.
 */
#ifndef REBUS_INDEX_SCAN_H
#define REBUS_INDEX_SCAN_H

#include "lab/index.h"

/* <row, query> and <row, row>; sums in f32 lanes, whose error is near float's own. row: [n] of the store's type, unaligned. */
typedef void (*index_dots)(const void *row, const float *query, size_t n, float *xy, float *yy);
index_dots index_dots_of(rebus_store store, cpu_level level);

void index_dots_f32_avx2(const void *row, const float *query, size_t n, float *xy, float *yy);
void index_dots_f16_avx2(const void *row, const float *query, size_t n, float *xy, float *yy);
void index_dots_i8_avx2(const void *row, const float *query, size_t n, float *xy, float *yy);

typedef struct index_rows {
	rebus_store store;
	const void *data; /* [rows, width] */
	size_t rows, width;
} index_rows;
/* rows, scores [top], the first min(top, rows) are filled, best first. threads 0: what the process may use. */
rebus_status index_scan(const index_rows *x, const float *query, size_t top, int threads, cpu_level level, size_t *rows, float *scores, rebus_error *err);

#endif
