/* sample.c - see sample.h. */
#include "generate/sample.h"

#include <stdlib.h>

static uint64_t mix(uint64_t x)
{
	x += 0x9E3779B97F4A7C15u;
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

/* In [0, 1). */
static double uniform(uint64_t seed, int64_t sequence, int64_t step)
{
	return (double)(mix(mix(mix(seed) ^ (uint64_t)sequence) ^ (uint64_t)step) >> 11) * 0x1p-53;
}

static int32_t largest(const float *x, int64_t n)
{
	int64_t at = 0;
	for (int64_t i = 1; i < n; i++)
		if (x[i] > x[at])
			at = i;
	return (int32_t)at;
}

/* Largest first; equal ones by id, so that the order is the same everywhere. */
static int by_value(const void *a, const void *b)
{
	const candidate *x = a, *y = b;
	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

int32_t sample_next(const kernels *k, const sampling *s, const float *logits, int64_t width, int64_t sequence, int64_t step, candidate *scratch,
                    float *probability)
{
	if (s->temperature <= 0)
		return largest(logits, width);
	int64_t n = 0;
	for (int64_t i = 0; i < width; i++)
		if (logits[i] == logits[i]) /* a broken model's NaN can never be drawn */
			scratch[n++] = (candidate){logits[i] / s->temperature, (int32_t)i};
	if (!n)
		return 0;
	qsort(scratch, (size_t)n, sizeof *scratch, by_value);
	if (s->top_k > 0)
		n = int_min(n, s->top_k);
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		probability[i] = scratch[i].value;
	k->softmax(1, n, probability, n, probability, n);
	int64_t kept = 0;
	while (kept < n && (kept == 0 || total < (double)s->top_p))
		total += (double)probability[kept++];
	double draw = uniform(s->seed, sequence, step) * total;
	for (int64_t i = 0; i < kept; i++) {
		draw -= (double)probability[i];
		if (draw < 0)
			return scratch[i].id;
	}
	return scratch[kept - 1].id;
}
