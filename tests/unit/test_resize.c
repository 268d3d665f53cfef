/* test_resize.c - every filter of both back ends against Pillow and torchvision, and what is refused. */
#include "scratch.h"

#include "vision_expected.h"

static picture noise(arena *a, int32_t height, int32_t width, int32_t channels)
{
	size_t n = (size_t)height * (size_t)width * (size_t)channels;
	picture p = {.width = width, .height = height, .channels = channels, .pixels = arena_get(a, n, 1)};
	assert_non_null(p.pixels);
	fill_noise(p.pixels, n, (uint32_t)(height * 1000 + width));
	return p;
}

static void test_reference(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(resize_cases); i++) {
		const resize_case *c = &resize_cases[i];
		arena a;
		rebus_error err;
		picture out;
		arena_init(&a, NULL, 0);
		picture in = noise(&a, c->height, c->width, c->channels);
		if (vision_resize(&a, &in, c->to_width, c->to_height, (vision_filter)c->filter, c->backend, &out, &err))
			fail_msg("%s", err.text);
		assert_int_equal(out.width, c->to_width);
		assert_int_equal(out.height, c->to_height);
		if (fnv(out.pixels, (size_t)out.width * (size_t)out.height * (size_t)out.channels) != c->hash)
			fail_msg("%d x %d to %d x %d, %s, %s: differs", c->height, c->width, c->to_height, c->to_width,
			         vision_filter_name((vision_filter)c->filter), c->backend == VISION_PIL ? "pil" : "torchvision");
		arena_free(&a);
	}
}

/* A flat picture stays flat at any size: the weights sum to 1 after rounding, or the clip hides it at the ends. */
static void test_flat(void **state)
{
	(void)state;
	static const uint8_t values[] = {0, 1, 127, 254, 255};
	for (size_t v = 0; v < COUNT_OF(values); v++)
		for (int filter = 0; filter < VISION_FILTERS; filter++)
			for (int32_t to = 1; to < 40; to += 6) {
				uint8_t bytes[13 * 17];
				memset(bytes, values[v], sizeof bytes);
				picture in = {.width = 17, .height = 13, .channels = 1, .pixels = bytes}, out;
				arena a;
				rebus_error err;
				arena_init(&a, NULL, 0);
				assert_int_equal(vision_resize(&a, &in, to, 41 - to, (vision_filter)filter, VISION_PIL, &out, &err), REBUS_OK);
				for (int32_t k = 0; k < out.width * out.height; k++)
					assert_int_equal(out.pixels[k], values[v]);
				arena_free(&a);
			}
}

static void test_same_size(void **state)
{
	(void)state;
	arena a;
	rebus_error err;
	picture out;
	arena_init(&a, NULL, 0);
	picture in = noise(&a, 4, 5, 4);
	assert_int_equal(vision_resize(&a, &in, 5, 4, VISION_BICUBIC, VISION_PIL, &out, &err), REBUS_OK);
	assert_ptr_equal(out.pixels, in.pixels);
	arena_free(&a);
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		int64_t width, height;
		vision_filter filter;
		vision_backend backend;
		rebus_status code;
	} cases[] = {
		{0, 5, VISION_BILINEAR, VISION_PIL, REBUS_MISUSE},
		{5, -1, VISION_BILINEAR, VISION_PIL, REBUS_MISUSE},
		{5, 9, VISION_BOX, VISION_TORCHVISION, REBUS_UNSUPPORTED},
		{5, 9, VISION_HAMMING, VISION_TORCHVISION, REBUS_UNSUPPORTED},
		{5, 9, VISION_BICUBIC, VISION_PIL, REBUS_UNSUPPORTED}, /* four planes */
		{20000, 20000, VISION_BICUBIC, VISION_TORCHVISION, REBUS_LIMIT},
		{INT64_MAX, 2, VISION_BICUBIC, VISION_TORCHVISION, REBUS_LIMIT},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		rebus_error err;
		picture out = {.width = -7};
		arena_init(&a, NULL, 0);
		picture in = noise(&a, 4, 5, 4);
		size_t before = a.total;
		assert_int_equal(vision_resize(&a, &in, cases[i].width, cases[i].height, cases[i].filter, cases[i].backend, &out, &err),
		                 cases[i].code);
		assert_int_equal(out.width, -7);
		assert_int_equal(a.total, before);
		arena_free(&a);
	}
}

/* Any limit of the arena: done, or MEMORY with the arena as it was. */
static void test_memory(void **state)
{
	(void)state;
	bool done = false;
	for (size_t limit = 6000; !done; limit += 3000) {
		arena a;
		rebus_error err;
		picture out;
		arena_init(&a, NULL, limit);
		picture in = noise(&a, 20, 30, 3);
		size_t before = a.total;
		rebus_status status = vision_resize(&a, &in, 50, 9, VISION_LANCZOS, VISION_PIL, &out, &err);
		assert_true(status == REBUS_OK || (status == REBUS_MEMORY && a.total == before));
		done = !status;
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference), cmocka_unit_test(test_flat),   cmocka_unit_test(test_same_size),
		cmocka_unit_test(test_refused),   cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
