/*
 * test_patch_resize.c - patches of another size: w' = w pinv(R) by what defines it. Where patches grow w' R = w; in any case
 * what is left, w' R - w, is at right angles to every row of R (least squares). R comes from position_grid.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "vision/patch_resize.h"
#include "vision/position_grid.h"

enum { OUT = 3, CHANNELS = 2 };

/* One channel of one output: w [old^2], now [patch^2]. */
static void check_plane(const grid_taps *r, const float *w, int32_t old, const float *now, int32_t patch)
{
	double left[64 * 64], most = 0, whole = 0;
	for (int32_t i = 0; i < old * old; i++)
		left[i] = -(double)w[i];
	for (int32_t j = 0; j < patch * patch; j++)
		for (int32_t k = 0; k < r->taps; k++)
			left[r->from[j * r->taps + k]] += (double)r->coef[j * r->taps + k] * (double)now[j];
	for (int32_t i = 0; i < old * old; i++) {
		most = fmax(most, fabs(left[i]));
		whole = fmax(whole, fabs((double)w[i]));
	}
	if (patch >= old && most > 2e-5 * whole)
		fail_msg("%d to %d: off by %g of %g", old, patch, most, whole);
	for (int32_t j = 0; j < patch * patch; j++) {
		double along = 0;
		for (int32_t k = 0; k < r->taps; k++)
			along += (double)r->coef[j * r->taps + k] * left[r->from[j * r->taps + k]];
		if (fabs(along) > 2e-5 * whole)
			fail_msg("%d to %d: row %d still explains %g", old, patch, j, along);
	}
}

static void check_size(int32_t old, int32_t patch)
{
	arena a;
	rebus_error err;
	grid_taps r;
	weight w = {.name = "w", .parts = 1, .out = OUT, .in = (int64_t)CHANNELS * old * old};
	static float values[OUT * CHANNELS * 64 * 64];
	for (int64_t i = 0; i < OUT * w.in; i++)
		values[i] = (float)(i * 7919 % 1013) / 506.5f - 1;
	w.part[0] = (matrix){.data = values, .type = DT_F32, .out = OUT, .in = w.in};
	arena_init(&a, NULL, 0);
	if (vision_patch_resize(&a, &w, CHANNELS, (int32_t[]){old, old}, patch, &err) ||
		vision_grid_taps(&a, GRID_BICUBIC_WIDE, (grid_size){old, old}, (grid_size){patch, patch}, &r, &err))
		fail_msg("%d to %d: %s", old, patch, err.text);
	assert_int_equal(w.in, CHANNELS * patch * patch);
	assert_int_equal(w.part[0].in, w.in);
	assert_int_equal(w.part[0].type, DT_F32);
	for (int32_t k = 0; k < OUT * CHANNELS; k++)
		check_plane(&r, values + k * old * old, old, (const float *)w.part[0].data + k * patch * patch, patch);
	arena_free(&a);
}

static void sizes(void **state)
{
	(void)state;
	static const int32_t pairs[][2] = {{8, 8}, {8, 9}, {8, 16}, {16, 8}, {14, 11}, {16, 48}, {30, 13}};
	for (size_t i = 0; i < COUNT_OF(pairs); i++)
		check_size(pairs[i][0], pairs[i][1]);
}

static void refused(void **state)
{
	(void)state;
	arena a;
	rebus_error err;
	static const float values[CHANNELS * 8 * 8];
	weight w = {.name = "w", .parts = 1, .out = 1, .in = (int64_t)CHANNELS * 8 * 8};
	w.part[0] = (matrix){.data = values, .type = DT_F32, .out = 1, .in = w.in};
	arena_init(&a, NULL, 0);
	for (int32_t patch = -1; patch < PATCH_LEAST; patch++)
		assert_int_equal(vision_patch_resize(&a, &w, CHANNELS, (int32_t[]){8, 8}, patch, &err), REBUS_MISUSE);
	assert_int_equal(vision_patch_resize(&a, &w, CHANNELS, (int32_t[]){8, 8}, PATCH_MOST + 1, &err), REBUS_MISUSE);
	assert_int_equal(w.in, CHANNELS * 8 * 8);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
