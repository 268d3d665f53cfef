/* test_position_grid.c - resampling weights against torch.nn.functional.interpolate, their sums, and what is refused. */
#include "scratch.h"

#include <math.h>

#include "vision_expected.h"

static grid_taps make(arena *a, grid_method method, grid_size from, grid_size to)
{
	grid_taps g;
	rebus_error err;
	if (vision_grid_taps(a, method, from, to, &g, &err))
		fail_msg("%s", err.text);
	return g;
}

static void test_reference(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(grid_cases); i++) {
		const grid_case *c = &grid_cases[i];
		arena a;
		float weight[16] = {0};
		arena_init(&a, NULL, 0);
		grid_taps g = make(&a, c->method, c->from, c->to);
		assert_int_equal(g.cells, c->to.height * c->to.width);
		for (int32_t k = (g.cells - 2) * g.taps; k < (g.cells - 1) * g.taps; k++)
			weight[g.from[k]] += g.coef[k];
		for (int k = 0; k < 16; k++)
			if (fabsf(weight[k] - c->weight[k]) > 1e-6f)
				fail_msg("case %zu, source %d: %.9g, want %.9g", i, k, (double)weight[k], (double)c->weight[k]);
		arena_free(&a);
	}
}

static void test_sums(void **state)
{
	(void)state;
	for (int method = GRID_BICUBIC; method <= GRID_BILINEAR_ENDS; method++)
		for (int32_t side = 1; side < 30; side += 4) {
			arena a;
			arena_init(&a, NULL, 0);
			grid_taps g = make(&a, (grid_method)method, (grid_size){side, 31 - side}, (grid_size){9, 14});
			for (int32_t cell = 0; cell < g.cells; cell++) {
				float sum = 0.0f;
				for (int32_t k = cell * g.taps; k < (cell + 1) * g.taps; k++) {
					assert_in_range(g.from[k], 0, side * (31 - side) - 1);
					sum += g.coef[k];
				}
				assert_true(fabsf(sum - 1.0f) < 2e-6f);
			}
			arena_free(&a);
		}
}

static void test_none(void **state)
{
	(void)state;
	arena a;
	arena_init(&a, NULL, 0);
	grid_taps g = make(&a, GRID_NONE, (grid_size){3, 4}, (grid_size){3, 4});
	assert_int_equal(g.taps, 1);
	for (int32_t i = 0; i < 12; i++)
		assert_true(g.from[i] == i && g.coef[i] == 1.0f);
	arena_free(&a);
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		grid_method method;
		grid_size from, to;
		rebus_status code;
	} cases[] = {
		{GRID_NONE, {3, 4}, {4, 3}, REBUS_SHAPE},
		{GRID_BICUBIC, {0, 4}, {4, 3}, REBUS_SHAPE},
		{GRID_BICUBIC, {4, 4}, {4, -3}, REBUS_SHAPE},
		{GRID_BICUBIC, {4097, 4}, {4, 3}, REBUS_LIMIT},
		{GRID_BICUBIC, {4, 4}, {4096, 4096}, REBUS_LIMIT},
		{GRID_BICUBIC_WIDE, {4096, 4096}, {1024, 1024}, REBUS_LIMIT},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		rebus_error err;
		grid_taps g = {.taps = -7};
		arena_init(&a, NULL, 0);
		assert_int_equal(vision_grid_taps(&a, cases[i].method, cases[i].from, cases[i].to, &g, &err), cases[i].code);
		assert_int_equal(g.taps, -7);
		assert_int_equal(a.total, 0);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference), cmocka_unit_test(test_sums),
		cmocka_unit_test(test_none),      cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests_name("position_grid", tests, NULL, NULL);
}
