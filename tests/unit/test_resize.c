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

static const kernels *best(void)
{
	return kernels_get(cpu_detect());
}

/* Every level has the reference's integers. */
static void test_reference(void **state)
{
	(void)state;
	for (size_t i = 0; i < CPU_LEVELS * COUNT_OF(resize_cases); i++) {
		const resize_case *c = &resize_cases[i / CPU_LEVELS];
		const kernels *k = kernels_get((cpu_level)(i % CPU_LEVELS));
		arena a;
		rebus_error err;
		picture out;
		arena_init(&a, NULL, 0);
		picture in = noise(&a, c->height, c->width, c->channels);
		if (vision_resize(&a, k, &in, c->to_width, c->to_height, (vision_filter)c->filter, c->backend, NULL, &out, &err))
			fail_msg("%s", err.text);
		assert_int_equal(out.width, c->to_width);
		assert_int_equal(out.height, c->to_height);
		if (fnv(out.pixels, (size_t)out.width * (size_t)out.height * (size_t)out.channels) != c->hash)
			fail_msg("%s: %d x %d to %d x %d, %s, %s: differs", cpu_name(k->level), c->height, c->width, c->to_height, c->to_width,
			         vision_filter_name((vision_filter)c->filter), c->backend == VISION_PIL ? "pil" : "torchvision");
		arena_free(&a);
	}
}

/* A part alone has the bytes it has in the whole, also where only one axis changes, or none. */
static void test_part(void **state)
{
	(void)state;
	static const int32_t sizes[][2] = {{19, 31}, {40, 60}, {40, 17}, {9, 60}, {77, 90}, {5, 110}, {100, 7}};
	for (size_t i = 0; i < COUNT_OF(sizes) * 4 * 2 * 2; i++) {
		arena a;
		picture whole, part;
		rebus_error err;
		vision_filter filters[] = {VISION_NEAREST, VISION_LANCZOS, VISION_BILINEAR, VISION_BICUBIC}, filter = filters[i / 4 % 4];
		vision_backend backend = i & 1 ? VISION_PIL : VISION_TORCHVISION;
		int32_t height = sizes[i / 16][0], width = sizes[i / 16][1];
		arena_init(&a, NULL, 0);
		picture in = noise(&a, 40, 60, i & 2 ? 3 : 1);
		assert_int_equal(vision_resize(&a, best(), &in, width, height, filter, backend, NULL, &whole, &err), REBUS_OK);
		vision_window w = {width / 3, height / 4, width - width / 3 - width / 5, height - height / 4 - height / 5};
		assert_int_equal(vision_resize(&a, best(), &in, width, height, filter, backend, &w, &part, &err), REBUS_OK);
		assert_true(part.width == w.width && part.height == w.height);
		size_t c = (size_t)in.channels, row = (size_t)w.width * c;
		for (int32_t y = 0; y < w.height; y++)
			assert_memory_equal(part.pixels + (size_t)y * row, whole.pixels + ((size_t)(w.y + y) * (size_t)width + (size_t)w.x) * c, row);
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
				assert_int_equal(vision_resize(&a, best(), &in, to, 41 - to, (vision_filter)filter, VISION_PIL, NULL, &out, &err), REBUS_OK);
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
	assert_int_equal(vision_resize(&a, best(), &in, 5, 4, VISION_BICUBIC, VISION_PIL, NULL, &out, &err), REBUS_OK);
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
		assert_int_equal(vision_resize(&a, best(), &in, cases[i].width, cases[i].height, cases[i].filter, cases[i].backend, NULL, &out, &err),
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
		rebus_status status = vision_resize(&a, best(), &in, 50, 9, VISION_LANCZOS, VISION_PIL, NULL, &out, &err);
		assert_true(status == REBUS_OK || (status == REBUS_MEMORY && a.total == before));
		done = !status;
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference), cmocka_unit_test(test_part), cmocka_unit_test(test_flat),   cmocka_unit_test(test_same_size),
		cmocka_unit_test(test_refused),   cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
