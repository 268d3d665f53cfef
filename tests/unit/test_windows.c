/*
 * test_windows.c - pyramids of windows: every row of a stage is in one window of either cut, padding is a zero row, regions are
 * those of the reference's mask, merging takes each row once, and what cannot be cut is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokens/windows.h"

static void make(arena *a, const pyramid_shape *shape, const int32_t (*grids)[2], int32_t count, pyramid *out)
{
	rebus_error err;
	if (tokens_pyramid(a, shape, grids, count, out, &err))
		fail_msg("%s", err.text);
}

/* Rows go into windows and come back; windows follow one another, each a segment of its own. */
static void check_cut(const window_cut *c, int64_t rows, int32_t window)
{
	int64_t used = 0;
	assert_int_equal(c->into.rows_out, c->rows);
	assert_int_equal(c->back.rows_out, rows);
	assert_int_equal(c->rows, (int64_t)c->at.count * window * window);
	for (int64_t r = 0; r < rows; r++)
		assert_int_equal(c->into.from[c->back.from[r]], r);
	for (int64_t i = 0; i < c->rows; i++) {
		used += c->into.from[i] >= 0;
		assert_int_equal(c->place[3 * i], i % (window * window) / window);
		assert_int_equal(c->place[3 * i + 1], i % window);
	}
	assert_int_equal(used, rows);
	for (int32_t s = 0; s < c->at.count; s++) {
		assert_int_equal(c->at.seg[s].q0, s * window * window);
		assert_int_equal(c->at.seg[s].q1, (s + 1) * window * window);
		assert_int_equal(c->at.seg[s].kv0, c->at.seg[s].q0);
		assert_int_equal(c->at.seg[s].kv1, c->at.seg[s].q1);
	}
}

static void check_merge(arena *a, const pyramid_stage *from, const pyramid_stage *to)
{
	int32_t *seen = arena_zero(a, (size_t)from->rows, sizeof *seen);
	assert_non_null(seen);
	assert_int_equal(from->merge.rows_out, to->rows);
	for (int64_t i = 0; i < 4 * to->rows; i++)
		if (from->merge.from[i] >= 0)
			seen[from->merge.from[i]]++;
	for (int64_t r = 0; r < from->rows; r++)
		assert_int_equal(seen[r], 1);
}

static void test_rows(void **state)
{
	(void)state;
	static const int32_t grids[][2] = {{7, 10}, {6, 6}, {13, 5}, {6, 31}};
	static const pyramid_shape shape = {.stages = 3, .window = {{3, 3}, {3, 3}, {2, 2}}, .shift = {{1, 1}, {1, 1}, {1, 1}}};
	arena a;
	pyramid p = {0};
	arena_init(&a, NULL, 0);
	make(&a, &shape, grids, COUNT_OF(grids), &p);
	assert_int_equal(p.stages, 3);
	assert_int_equal(p.stage[0].rows, 70 + 36 + 65 + 186);
	assert_int_equal(p.stage[1].rows, 20 + 9 + 21 + 48);
	assert_int_equal(p.stage[2].row[1], 2 * 3);
	for (int32_t s = 0; s < 3; s++) {
		for (int32_t v = 0; v < 2; v++)
			check_cut(&p.stage[s].cut[v], p.stage[s].rows, shape.window[s][0]);
		if (s < 2)
			check_merge(&a, &p.stage[s], &p.stage[s + 1]);
	}
	arena_free(&a);
}

/* A picture of 3 x 5 in windows of 2 x 3, shifted by 1 to the right only: the shift goes round before the padding. */
static void test_roll(void **state)
{
	(void)state;
	static const int32_t grid[1][2] = {{3, 5}};
	static const pyramid_shape shape = {.stages = 1, .window = {{2, 3}}, .shift = {{0, 1}}, .rolls = true};
	static const int32_t want[24] = {1, 2, 3, 6, 7, 8, 4, 0, -1, 9, 5, -1, 11, 12, 13, -1, -1, -1, 14, 10, -1, -1, -1, -1};
	arena a;
	pyramid p = {0};
	arena_init(&a, NULL, 0);
	make(&a, &shape, grid, 1, &p);
	const window_cut *c = &p.stage[0].cut[1];
	assert_int_equal(c->rows, 24);
	assert_memory_equal(c->into.from, want, sizeof want);
	assert_int_equal(c->place[3 * 4], 1); /* the window's second row, second column */
	assert_int_equal(c->place[3 * 4 + 1], 1);
	assert_int_equal(p.stage[0].grid[0][0], 3);
	assert_int_equal(p.stage[0].grid[0][1], 5);
	/* columns 3 and 4 of the padded six are of one region, 5 of another; rows are not shifted, and no window crosses their regions */
	assert_int_equal(c->place[3 * 6 + 2], c->place[3 * 7 + 2]);
	assert_int_not_equal(c->place[3 * 6 + 2], c->place[3 * 8 + 2]);
	assert_int_equal(c->place[3 * 6 + 2], c->place[3 * 9 + 2]);
	arena_free(&a);
}

/* One picture of 5 x 5 in windows of 3, shifted by 1: padded to 6 x 6, row (1, 1) comes first. */
static void test_shift(void **state)
{
	(void)state;
	static const int32_t grid[1][2] = {{5, 5}};
	static const pyramid_shape shape = {.stages = 1, .window = {{3, 3}}, .shift = {{1, 1}}};
	arena a;
	pyramid p = {0};
	arena_init(&a, NULL, 0);
	make(&a, &shape, grid, 1, &p);
	const window_cut *c = &p.stage[0].cut[1];
	assert_int_equal(c->into.from[0], 6);
	assert_int_equal(c->into.from[9], 9);      /* window 1: row 1, columns 4, 5 (padding), 0 */
	assert_int_equal(c->into.from[10], -1);
	assert_int_equal(c->into.from[11], 5);
	assert_int_equal(c->place[2], 0);
	assert_int_equal(c->place[3 * 9 + 2], 1);  /* columns 3 and 4 of the padded six are the middle region, 5 the last */
	assert_int_equal(c->place[3 * 11 + 2], 2);
	assert_int_equal(c->place[3 * 35 + 2], 8);
	assert_int_equal(p.stage[0].cut[0].place[3 * 35 + 2], 0);
	arena_free(&a);
}

static void test_small(void **state)
{
	(void)state;
	static const int32_t one[1][2] = {{3, 9}}, less[1][2] = {{2, 9}}, vast[1][2] = {{40000, 40000}};
	pyramid_shape shape = {.stages = 1, .window = {{3, 3}}, .shift = {{1, 1}}, .fits = true};
	arena a;
	pyramid p = {0};
	rebus_error err;
	arena_init(&a, NULL, 0);
	make(&a, &shape, one, 1, &p);
	assert_memory_equal(p.stage[0].cut[0].into.from, p.stage[0].cut[1].into.from, 27 * sizeof(int32_t)); /* no shift */
	assert_int_equal(tokens_pyramid(&a, &shape, less, 1, &p, &err), REBUS_MISUSE);
	shape.fits = false;
	assert_int_equal(tokens_pyramid(&a, &shape, less, 1, &p, &err), REBUS_OK);
	assert_int_equal(tokens_pyramid(&a, &shape, vast, 1, &p, &err), REBUS_LIMIT);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_roll),
		cmocka_unit_test(test_shift), cmocka_unit_test(test_small)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
