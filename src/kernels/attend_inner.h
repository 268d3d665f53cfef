/*
 * attend_inner.h - what attend.c needs of a level: products and a softmax over tiles whose columns are query rows.
 *
 *              queries side by side                S^T = K Q^T      the keys' elements are broadcast, so K is read as it lies;
 *            ┌──────────────┐                      maxima, exp and sums of a query go down its column: no lane asks another.
 *   keys     │ S^T, then P^T│ <= ATTEND_SPAN       O^T = V^T P^T    P^T is the panel just made, V read as it lies
 *            └──────────────┘                      A row's result is a column until the end, when it is turned and divided.
 *
 * Operands are words of 32 bits: one f32, or two bf16 whose products are added (pack 2). Scores are in units of log 2: the
 * queries are multiplied by scale / ln 2 when they are packed, and 2^x is what the softmax takes.
 */
#ifndef REBUS_ATTEND_INNER_H
#define REBUS_ATTEND_INNER_H

#include "kernels/inner.h"

#define ATTEND_LOG2E 1.44269504f
#define ATTEND_LN2 0.693147180559945

enum {
	ATTEND_SPAN = 126,   /* keys of a tile: whole register tiles of 14 and of 6 rows, and even */
	ATTEND_COLUMNS = 32, /* most columns of a panel */
	ATTEND_JOINT = 4,    /* blocks of ATTEND_ROWS query rows that may share a task, and with it packed keys and values */
};

typedef struct attend_lanes {
	int32_t columns; /* of a panel, its row stride in words */
	int32_t step;    /* a panel's columns are computed in whole steps of so many */
	int32_t pack;    /* elements a word */

	/* to [words(d), columns]: q [rows, d] times scale, turned; columns from rows on are 0 */
	void (*queries)(int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to);
	/* Asks for the lines of x [n, d], which will be packed soon; NULL: nothing to be gained */
	void (*fetch)(int64_t n, int64_t d, const float *x, int64_t ldx);
	/* to [n, words(d)]: k [n, d] */
	void (*keys)(int64_t n, int64_t d, const float *k, int64_t ldk, float *to);
	/* to [words(n), d]: v [n, d], elements of a word one below the other */
	void (*values)(int64_t n, int64_t d, const float *v, int64_t ldv, float *to);
	/* c [m, columns] = A [m, k] b [k, columns], plus alpha [columns] times c if alpha is given; A by two strides, in words.
	 * Every element: one chain over k ascending that starts from 0. Columns up to a whole step beyond `used` are computed. */
	void (*tile)(int64_t m, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, const float *alpha, float *c,
		int64_t used);
	/* One step of the online softmax down the columns of s [n, columns], which leaves P^T [words(n), columns] in its place. bias
	 * [n, columns] or NULL, in natural units; column i sees rows lo[i] <= j < hi[i], others give exactly 0 (lo NULL: all).
	 * m, l: the running maximum and sum; alpha: the factor for what was summed before. */
	void (*softmax)(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l, float *alpha,
		int64_t used);
	/* to [rows, d] = column i of out [d, columns] divided by l[i]; 0 where l is 0 */
	void (*finish)(int64_t rows, int64_t d, const float *out, const float *l, float *to, int64_t ldo);
} attend_lanes;

/* attend_tile.c, attend_avx2.c, attend_avx512.c, attend_avx512bf16.c: products in f32, and of operands rounded to bf16 */
extern const attend_lanes attend_f32_portable, attend_bf16_portable, attend_f32_avx2, attend_bf16_avx2, attend_f32_avx512,
	attend_bf16_avx512, attend_bf16_avx512bf16, attend_f32_neon, attend_bf16_neon;

/* Where row `row` of head h goes in an output of narrow rows */
static inline uint16_t *attend_narrow(const attend_call *c, int64_t row, int32_t h)
{
	return (uint16_t *)(void *)(c->out + row * c->ldo) + (int64_t)h * c->spec->v_dim;
}

static inline int64_t attend_words(int64_t n, int32_t pack)
{
	return (n + pack - 1) / pack;
}

#endif
