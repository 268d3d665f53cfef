/* test_json.c - what published files contain although it is not JSON, what is refused, and the bounds. */
#include "scratch.h"

#include "files/json.h"

static json *parse(const char *text)
{
	json *j = NULL;
	rebus_error err;
	if (json_parse(text, strlen(text), "t", 1000, &j, &err))
		fail_msg("%s: %s", text, err.text);
	return j;
}

static json *parse_many(const char *text, size_t n)
{
	json *j = NULL;
	rebus_error err;
	if (json_parse(text, n, "t", 1 << 20, &j, &err))
		fail_msg("%s", err.text);
	return j;
}

static void test_values(void **state)
{
	(void)state;
	json *j = parse(" {\"i\": -3, \"r\": 2.0, \"h\": 2.5, \"t\": true, \"n\": null, "
	                "\"s\": \"x\", \"l\": [1, [2], {}], \"m\": {\"k\": 1}} \n");
	int64_t i = 0;
	double r = 0;
	bool b = false;
	assert_int_equal(json_kind_of(j), JSON_MAP);
	assert_int_equal(json_count(j), 8);
	assert_true(json_int(json_get(j, "i"), &i) && i == -3);
	assert_true(json_int(json_get(j, "r"), &i) && i == 2);
	assert_false(json_int(json_get(j, "h"), &i));
	assert_true(json_real(json_get(j, "i"), &r) && r == -3.0);
	assert_true(json_flag(json_get(j, "t"), &b) && b);
	assert_false(json_flag(json_get(j, "i"), &b));
	assert_false(json_int(json_get(j, "t"), &i));
	assert_false(json_real(json_get(j, "s"), &r));
	assert_true(json_has(j, "n"));
	assert_null(json_get(j, "n"));
	assert_false(json_has(j, "zz"));
	assert_true(json_is(json_get(j, "s"), "x"));
	assert_false(json_is(json_get(j, "l"), "x"));
	assert_int_equal(json_count(json_get(j, "l")), 3);
	assert_null(json_at(json_get(j, "l"), 3));
	assert_null(json_at(j, 0));
	assert_null(json_get(NULL, "x"));
	assert_null(json_get(json_get(j, "l"), "x"));
	assert_null(json_text(NULL, NULL));
	assert_int_equal(json_kind_of(NULL), JSON_NONE);
	const char *order[] = {"i", "r", "h", "t", "n", "s", "l", "m"};
	size_t n = 0;
	for (json_each it = json_first(j); json_next(&it); n++)
		assert_string_equal(it.key, order[n]);
	assert_int_equal(n, 8);
	json_each none = json_first(json_get(j, "l"));
	assert_false(json_next(&none));
	json_free(j);
	json_free(NULL);
}

static void test_lenient(void **state)
{
	(void)state;
	json *j = parse("{\"big\": 1000000000000000019884624838656, \"low\": -99999999999999999999, "
	                "\"inf\": Infinity, \"nan\": NaN, \"minus\": -Infinity}");
	int64_t i = 0;
	double r = 0;
	assert_true(json_int(json_get(j, "big"), &i));
	assert_int_equal(i, INT64_MAX);
	assert_true(json_int(json_get(j, "low"), &i));
	assert_true(i == INT64_MIN);
	assert_true(json_real(json_get(j, "inf"), &r) && r > 1e308);
	assert_true(json_real(json_get(j, "minus"), &r) && r < -1e308);
	assert_true(json_real(json_get(j, "nan"), &r) && r != r);
	assert_false(json_int(json_get(j, "inf"), &i));
	assert_false(json_int(json_get(j, "nan"), &i));
	json_free(j);
	j = parse("[\"\\uD836\\udC00\", \"\\\\ud836\\ud836\"]"); /* a pair whose low bits look like a surrogate; a backslash, then a lone one */
	assert_string_equal(json_text(json_at(j, 0), NULL), "\xf0\x9d\xa0\x80");
	assert_string_equal(json_text(json_at(j, 1), NULL), "\\ud836\xef\xbf\xbd");
	json_free(j);
	j = parse("[\"a\\u0000b\", \"\\ud800\", \"\\udc00x\", \"\\ud83d\\ude00\", \"\\u00e9\"]");
	size_t n = 0;
	const char *s = json_text(json_at(j, 0), &n);
	assert_int_equal(n, 3);
	assert_memory_equal(s, "a\0b", 3);
	assert_false(json_is(json_at(j, 0), "a"));
	assert_string_equal(json_text(json_at(j, 1), NULL), "\xef\xbf\xbd");
	assert_string_equal(json_text(json_at(j, 2), NULL), "\xef\xbf\xbdx");
	assert_string_equal(json_text(json_at(j, 3), NULL), "\xf0\x9f\x98\x80");
	assert_string_equal(json_text(json_at(j, 4), NULL), "\xc3\xa9");
	json_free(j);
	j = parse("7");
	assert_true(json_int(j, &i) && i == 7);
	json_free(j);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", " ", "{", "[1,", "{\"a\"", "{\"a\":", "{\"a\":1", "\"abc", "nul", "tru", "-", "{} x", "[] []", "1 2", "{]",
		"{\"a\" 1}", "[1 2]", "\"\\x\"", "\"\\u12\"", "[\"\\ud8", "null", "{a:1}x", "}", ",", "\\",
		"[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "1e", "'a'", "\"a\nb\"", "\"\xff\"", "\"\xed\xa0\x80\"", "// x\n1",
		"nulL", "{\"a\"}", "[1}", "-Infinit", "\"\\u00g0\"",
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		json *j = NULL;
		rebus_error err = {.code = REBUS_OK};
		rebus_status status = json_parse(bad[i], strlen(bad[i]), "t", 1000, &j, &err);
		if (status != REBUS_FORMAT)
			fail_msg("'%s': status %d", bad[i], status);
		assert_null(j);
		assert_has(err.text, "t: ");
	}
}

static void test_truncated(void **state)
{
	(void)state;
	static const char text[] = "{\"a\": [1, -2.5e3, true, null, \"x\\u00e9\\n\"], \"b\": {\"c\": {}}}";
	for (size_t n = 0; n < sizeof text - 1; n++) {
		char *part = malloc(n ? n : 1);
		json *j = NULL;
		assert_non_null(part);
		memcpy(part, text, n);
		assert_int_equal(json_parse(part, n, "t", 1000, &j, NULL), REBUS_FORMAT);
		assert_null(j);
		free(part);
	}
}

static void test_bombs(void **state)
{
	(void)state;
	enum { SIZE = 1 << 20 };
	char *text = malloc(SIZE);
	assert_non_null(text);
	json *j = NULL;
	rebus_error err;
	memset(text, '[', SIZE);
	assert_int_equal(json_parse(text, SIZE, "t", SIZE, &j, &err), REBUS_LIMIT);
	assert_has(err.text, "deeper than 64");
	for (size_t i = 0; i + 5 <= SIZE; i += 5)
		memcpy(text + i, "{\"a\":", 5);
	assert_int_equal(json_parse(text, SIZE, "t", SIZE, &j, &err), REBUS_LIMIT);
	for (size_t i = 0; i < SIZE; i += 2)
		memcpy(text + i, i ? "1," : "[ ", 2);
	assert_int_equal(json_parse(text, SIZE, "t", 1000, &j, &err), REBUS_LIMIT);
	assert_has(err.text, "more than the limit of 1000");
	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	assert_int_equal(json_parse(text, 128, "t", 1000, &j, &err), REBUS_OK);
	json_free(j);
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	assert_int_equal(json_parse(text, 130, "t", 1000, &j, &err), REBUS_LIMIT);
	free(text);
}

/* A name given twice has its last value at its first place, in small maps and in those with a table. */
static void test_twice(void **state)
{
	(void)state;
	for (int count = 3; count <= 3000; count *= 10) {
		buf text;
		int64_t v = 0;
		buf_init(&text, NULL, 0);
		buf_text(&text, "{\"n0\": -1");
		for (int i = 0; i < count; i++)
			buf_format(&text, ", \"n%d\": %d", i, i);
		buf_format(&text, ", \"n%d\": 7, \"\": null}", count / 2);
		json *j = parse_many(text.data, text.size);
		assert_int_equal(json_count(j), count + 1);
		for (int i = 0; i < count; i++) {
			char name[16];
			snprintf(name, sizeof name, "n%d", i);
			assert_true(json_int(json_get(j, name), &v));
			assert_int_equal(v, i == count / 2 ? 7 : i);
		}
		assert_true(json_has(j, "") && !json_get(j, ""));
		assert_false(json_has(j, "n"));
		json_each it = json_first(j);
		assert_true(json_next(&it) && !strcmp(it.key, "n0") && it.key_size == 2 && json_int(it.value, &v) && v == 0);
		json_free(j);
		buf_free(&text);
	}
}

/* Every number is the double that the C library makes of its text. */
static void test_numbers(void **state)
{
	(void)state;
	static const char *const fixed[] = {"0.1", "-0.0", "1e22", "1e23", "123456789012345e-22", "123456789012345e22", "9007199254740993.0", "1e-400", "4.9e-324",
	                                    "1.7976931348623157e308", "-11.387661933898926", "0.000000000000000000000000000000000000001", "5e+3", "1E5",
	                                    "100000000000000000000000000000000000000000.0", "179769313486231580793728971405301e276"};
	uint64_t draw = 1;
	for (size_t i = 0; i < 20000 + COUNT_OF(fixed); i++) {
		char text[64];
		double d = 0;
		snprintf(text, sizeof text, "%s", i < COUNT_OF(fixed) ? fixed[i] : "");
		if (i >= COUNT_OF(fixed)) {
			uint64_t m = draw = bits_mix(draw + i);
			snprintf(text, sizeof text, "-%d.%0*llue%d", (int)(m % 900), (int)(1 + m / 1000 % 19), (unsigned long long)(m >> 20 >> m % 40),
				(int)(m / 7777 % 60) - 30);
		}
		json *j = parse(text);
		assert_true(json_real(j, &d));
		double want = strtod(text, NULL);
		if (memcmp(&d, &want, sizeof d) != 0)
			fail_msg("%s: %a, want %a", text, d, want);
		json_free(j);
	}
	static const char *const whole[] = {"0", "-1", "999999999999999999", "1000000000000000000", "9223372036854775807", "-9223372036854775808"};
	for (size_t i = 0; i < COUNT_OF(whole); i++) {
		int64_t v = 0;
		json *j = parse(whole[i]);
		assert_true(json_int(j, &v) && v == strtoll(whole[i], NULL, 10));
		json_free(j);
	}
}

static void test_load(void **state)
{
	(void)state;
	json *j = NULL;
	rebus_error err;
	scratch_write("a.json", "{\"a\": 1}", 8);
	assert_int_equal(json_load(scratch_path("a.json"), 100, 100, &j, &err), REBUS_OK);
	json_free(j);
	assert_int_equal(json_load(scratch_path("a.json"), 7, 100, &j, &err), REBUS_LIMIT);
	assert_int_equal(json_load(scratch_path("b.json"), 100, 100, &j, &err), REBUS_IO);
	assert_int_equal(json_load(scratch_folder, 100, 100, &j, &err), REBUS_IO);
	scratch_write("e.json", "", 0);
	assert_int_equal(json_load(scratch_path("e.json"), 100, 100, &j, &err), REBUS_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_lenient),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test_setup_teardown(test_load, scratch_begin, scratch_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
