/* test_batching.c - inputs cut into runs by every policy, against cuts worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "generate/batching.h"

static arena mem;

static int begin(void **state)
{
	(void)state;
	arena_init(&mem, NULL, 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	arena_free(&mem);
	return 0;
}

#define expect_ints(have, ...)                                                                                             \
	do {                                                                                                               \
		const int32_t want_[] = {__VA_ARGS__};                                                                     \
		for (size_t i_ = 0; i_ < COUNT_OF(want_); i_++)                                                            \
			if ((have)[i_] != want_[i_])                                                                       \
				fail_msg("%s[%zu] is %d, want %d", #have, i_, (int)(have)[i_], want_[i_]);                 \
	} while (0)

/* Grids of 2x2, 2x4, 4x2, 2x2, 2x4 and 2x2 behind a class row. */
static const batch_item items[] = {{1, 4, {2, 2}}, {1, 8, {2, 4}}, {1, 8, {4, 2}}, {1, 4, {2, 2}}, {1, 8, {2, 4}}, {1, 4, {2, 2}}};

static batch_list cut(rebus_batching policy, int64_t tokens)
{
	batch_list b;
	assert_int_equal(batching_cut(&mem, policy, tokens, items, COUNT_OF(items), &b, NULL), REBUS_OK);
	return b;
}

static void expect_batch(const batch_list *b, int32_t i, int32_t first, int32_t count, int32_t pad_to)
{
	assert_true(i < b->count);
	if (b->at[i].first != first || b->at[i].count != count || b->at[i].pad_to != pad_to)
		fail_msg("batch %d is %d of %d padded to %d", i, b->at[i].first, b->at[i].count, b->at[i].pad_to);
}

static void packs(void **state)
{
	(void)state;
	batch_list b = cut(REBUS_PACK, 23);
	assert_int_equal(b.count, 2);
	expect_ints(b.order, 0, 1, 2, 3, 4, 5);
	expect_batch(&b, 0, 0, 3, 0); /* 5 + 9 + 9 */
	expect_batch(&b, 1, 3, 3, 0);
	assert_true(b.real == 42 && b.computed == 42);
	b = cut(REBUS_PACK, 22);
	assert_int_equal(b.count, 3);
	b = cut(REBUS_PACK, 0);
	assert_int_equal(b.count, 1);
	b = cut(REBUS_PACK, 1); /* one that is too long runs alone */
	assert_int_equal(b.count, 6);
}

static void buckets(void **state)
{
	(void)state;
	batch_list b = cut(REBUS_BUCKET, 0);
	assert_int_equal(b.count, 3);
	expect_ints(b.order, 0, 3, 5, 1, 4, 2); /* a shape's inputs stay in order */
	expect_batch(&b, 0, 0, 3, 0);
	expect_batch(&b, 1, 3, 2, 0);
	expect_batch(&b, 2, 5, 1, 0); /* 4x2 is as long as 2x4 and another shape */
	assert_true(b.real == 42 && b.computed == 42);
	b = cut(REBUS_BUCKET, 10);
	assert_int_equal(b.count, 5);
	expect_batch(&b, 0, 0, 2, 0);
}

static void pads(void **state)
{
	(void)state;
	batch_list b = cut(REBUS_PAD, 0);
	assert_int_equal(b.count, 1);
	expect_batch(&b, 0, 0, 6, 8);
	assert_true(b.real == 42 && b.computed == 54);
	b = cut(REBUS_PAD, 18); /* 1 + 4 and 1 + 8 are 18 once padded */
	assert_int_equal(b.count, 3);
	expect_ints(b.order, 0, 1, 2, 3, 4, 5);
	expect_batch(&b, 1, 2, 2, 8);
	b = cut(REBUS_PAD, 17);
	assert_int_equal(b.count, 6);
	expect_batch(&b, 0, 0, 1, 4);
	assert_true(b.computed == 42);
}

static void nothing_and_no_memory(void **state)
{
	(void)state;
	batch_list b;
	arena small;
	arena_init(&small, NULL, 64);
	assert_int_equal(batching_cut(&mem, REBUS_BUCKET, 0, items, 0, &b, NULL), REBUS_OK);
	assert_int_equal(b.count, 0);
	assert_int_equal(batching_cut(&small, REBUS_PACK, 0, items, COUNT_OF(items), &b, NULL), REBUS_MEMORY);
	arena_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(packs, begin, end),
		cmocka_unit_test_setup_teardown(buckets, begin, end),
		cmocka_unit_test_setup_teardown(pads, begin, end),
		cmocka_unit_test_setup_teardown(nothing_and_no_memory, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
