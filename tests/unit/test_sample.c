/*
 * test_sample.c - what may be drawn, and how likely, against transformers' LogitsProcessors (sample_expected.h); the counts that
 * penalties use are as they were after each call; a seed draws in proportion.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "generate/sample.h"
#include "sample_expected.h"

static candidate list[WIDTH];
static float probability[WIDTH], scores[WIDTH];
static int32_t counts[WIDTH];
static const sample_room room = {list, probability, scores, counts};
static const sample_history history = {prompt, said, COUNT_OF(prompt), COUNT_OF(said)};

/* [WIDTH] of a case; returns how many are left. */
static int64_t distribution(size_t i, double *out)
{
	const float *x = sample_scores(&cases[i].how, &history, cases[i].logits, WIDTH, &room);
	int64_t kept = sample_kept(kernels_get(CPU_PORTABLE), &cases[i].how, x, WIDTH, &room);
	double total = 0;
	for (int64_t k = 0; k < kept; k++)
		total += (double)probability[k];
	for (int32_t id = 0; id < WIDTH; id++)
		out[id] = 0;
	for (int64_t k = 0; k < kept; k++)
		out[list[k].id] = (double)probability[k] / total;
	return kept;
}

static void as_the_reference(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		double p[WIDTH];
		distribution(i, p);
		for (int32_t id = 0; id < WIDTH; id++) {
			if (fabs(p[id] - (double)cases[i].probability[id]) > 1e-6 || (p[id] > 0) != (cases[i].probability[id] > 0))
				fail_msg("case %zu, token %d: %.9g, expected %.9g", i, id, p[id], (double)cases[i].probability[id]);
			assert_int_equal(counts[id], 0);
		}
	}
}

static void greedy(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		sampling s = cases[i].how;
		double p[WIDTH];
		distribution(i, p);
		s.temperature = 0;
		const float *x = sample_scores(&s, &history, cases[i].logits, WIDTH, &room);
		int32_t id = sample_next(kernels_get(CPU_PORTABLE), &s, x, WIDTH, 0, 0, &room);
		for (int32_t k = 0; k < WIDTH; k++)
			assert_true(p[k] <= p[id]);
	}
}

static void drawn(void **state)
{
	(void)state;
	enum { DRAWS = 20000 };
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		double p[WIDTH];
		int32_t seen[WIDTH] = {0};
		distribution(i, p);
		for (int64_t step = 0; step < DRAWS; step++) {
			const float *x = sample_scores(&cases[i].how, &history, cases[i].logits, WIDTH, &room);
			seen[sample_next(kernels_get(CPU_PORTABLE), &cases[i].how, x, WIDTH, (int64_t)i, step, &room)]++;
		}
		for (int32_t id = 0; id < WIDTH; id++) { /* six deviations of a binomial */
			double far = 6 * sqrt(DRAWS * p[id] * (1 - p[id]));
			if (fabs(seen[id] - DRAWS * p[id]) > far)
				fail_msg("case %zu, token %d: drawn %d times, expected %.0f +- %.0f", i, id, seen[id], DRAWS * p[id], far);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_reference), cmocka_unit_test(greedy), cmocka_unit_test(drawn)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
