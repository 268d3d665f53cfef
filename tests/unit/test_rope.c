/*
 * test_rope.c - rotary angles of every scaling against transformers (rope_expected.h), and what is refused.
 *
 * Of each case the angles of a sequence's last place; a sequence of another length beside it changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "parts/rope.h"
#include "rope_expected.h"

enum { DIM = 16 };

static void angles_of_every_type(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		rope r;
		rebus_error err;
		tokens t;
		const int32_t length[2] = {3, cases[i].length};
		arena_init(&a, NULL, 0);
		if (part_rope(&a, &cases[i].c, DIM, cases[i].positions, &r, &err))
			fail_msg("%s: %s", cases[i].c.type, err.text);
		assert_int_equal(tokens_new(&a, 4, &t, &err), 0);
		for (int32_t k = 0; k < 3; k++)
			tokens_add(&t, TOKEN_TEXT, 0, k, -1, 0);
		tokens_add(&t, TOKEN_TEXT, 1, cases[i].length - 1, -1, 0);
		float out[4 * DIM];
		part_rope_angles(&r, &t, length, out);
		for (int32_t c = 0; c < DIM; c++)
			if (fabs((double)out[3 * DIM + c] - (double)cases[i].expected[c]) > 2e-6 * cases[i].length)
				fail_msg("case %zu, %s of %d: column %d is %.9g, expected %.9g", i, cases[i].c.type, cases[i].length, c, (double)out[3 * DIM + c],
					(double)cases[i].expected[c]);
		for (int32_t c = 0; c < DIM / 2; c++)
			assert_true(out[c] == r.scale && out[DIM / 2 + c] == 0);
		arena_free(&a);
	}
}

static void refused(void **state)
{
	(void)state;
	static const struct {
		rope_config c;
		rebus_status code;
	} bad[] = {
		{{.type = "proportional", .theta = 10000}, REBUS_UNSUPPORTED},
		{{.type = "linear", .theta = 10000}, REBUS_FORMAT},
		{{.type = "llama3", .theta = 10000, .factor = 2, .low = 4, .high = 4}, REBUS_FORMAT},
		{{.type = "longrope", .theta = 10000, .factor = 2, .short_factor = {8, short_factors}}, REBUS_FORMAT},
		{{.type = "longrope", .theta = 10000, .factor = 2, .short_factor = {7, short_factors}, .long_factor = {8, long_factors}}, REBUS_FORMAT},
		{{.type = "yarn", .theta = 10000, .factor = 2, .original = 1}, REBUS_FORMAT},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		arena a;
		rope r = {.half = 77};
		rebus_error err = {0};
		arena_init(&a, NULL, 0);
		assert_int_equal(part_rope(&a, &bad[i].c, DIM, 64, &r, &err), bad[i].code);
		assert_true(err.text[0] && r.half == 77);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(angles_of_every_type), cmocka_unit_test(refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
