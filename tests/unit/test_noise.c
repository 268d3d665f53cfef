/* test_noise.c - the noise that drops patches: its numbers, that they depend on nothing else, and the order it gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokens/noise.h"

/* SplitMix64, three times mixed, computed apart. */
static void numbers(void **state)
{
	(void)state;
	static const struct {
		uint64_t seed, sequence, place;
		int32_t want; /* times 2^-24 */
	} cases[] = {{0, 0, 0, 2327157}, {0, 0, 1, 3093159}, {77, 0, 0, 11052501}, {77, 3, 63, 2736735}, {UINT64_MAX, (uint64_t)1 << 32, 5, 14247574}};
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_true(tokens_noise(cases[i].seed, cases[i].sequence, cases[i].place) == (float)cases[i].want * 0x1p-24f);
}

/* Places by ascending noise, each once, equal ones as they came. */
static void check_order(const float *noise, int32_t count)
{
	int32_t order[300], seen[300] = {0};
	tokens_by_noise(noise, count, order);
	for (int32_t i = 0; i < count; i++) {
		assert_in_range(order[i], 0, count - 1);
		assert_int_equal(seen[order[i]]++, 0);
		if (i)
			assert_true(noise[order[i - 1]] < noise[order[i]] || (noise[order[i - 1]] == noise[order[i]] && order[i - 1] < order[i]));
	}
}

static void order(void **state)
{
	(void)state;
	float noise[300];
	static const float few[] = {0.7f, 0.1f, 0.9f, 0.4f};
	int32_t at[4];
	tokens_by_noise(few, 4, at);
	assert_memory_equal(at, ((int32_t[]){1, 3, 0, 2}), sizeof at);
	for (int32_t count = 0; count <= 300; count += count < 5 ? 1 : 59) {
		for (int32_t i = 0; i < count; i++)
			noise[i] = tokens_noise(9, (uint64_t)count, (uint64_t)i);
		check_order(noise, count);
		for (int32_t i = 0; i < count; i++) /* many alike */
			noise[i] = (float)(i * 7 % 3);
		check_order(noise, count);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(order)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
