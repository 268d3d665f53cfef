/* test_config.c - every kind of field: present, absent, null, of the wrong kind, out of range. */
#include "scratch.h"

#include "files/config.h"

typedef struct {
	int64_t hidden, layers, head_dim;
	double eps, theta;
	bool bias;
	const char *name;
	int32_t patch[2];
	int_list picked;
	act_kind act;
} sample;

static const field table[] = {
	CONFIG_INT_NEEDED(sample, hidden, "hidden_size|n_embd", 1, 65536),
	CONFIG_INT(sample, layers, "num_hidden_layers", 0, 1000, 12),
	CONFIG_INT(sample, head_dim, "head_dim", 1, 1024, 0),
	CONFIG_REAL(sample, eps, "layer_norm_eps", 0, 1, 1e-12),
	CONFIG_REAL(sample, theta, "rope_theta|rope_parameters.rope_theta|rope_parameters.deep.theta", 1, 1e9, 10000),
	CONFIG_FLAG(sample, bias, "qkv_bias", true),
	CONFIG_TEXT(sample, name, "model_type", "none"),
	CONFIG_PAIR(sample, patch, "patch_size", 1, 1024, 16),
	CONFIG_INTS(sample, picked, "vision_feature_layer", -1000, 1000),
	CONFIG_ACT(sample, act, "hidden_act", "gelu"),
};

static rebus_status read_text(arena *a, const char *text, sample *out, rebus_error *err)
{
	json *j = NULL;
	assert_int_equal(json_parse(text, strlen(text), "config.json", 100000, &j, NULL), REBUS_OK);
	rebus_status status = config_read(a, j, "config.json", table, COUNT_OF(table), out, err);
	json_free(j);
	return status;
}

static void test_defaults(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"{\"hidden_size\": 64}",
		"{\"hidden_size\": null, \"n_embd\": 64, \"patch_size\": null, \"hidden_act\": null, \"rope_theta\": null}",
		"{\"n_embd\": 64.0, \"rope_parameters\": null, \"model_type\": null, \"vision_feature_layer\": null, \"qkv_bias\": null}",
	};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		arena a;
		sample s;
		rebus_error err;
		arena_init(&a, NULL, 0);
		if (read_text(&a, texts[i], &s, &err))
			fail_msg("%s: %s", texts[i], err.text);
		assert_int_equal(s.hidden, 64);
		assert_int_equal(s.layers, 12);
		assert_int_equal(s.head_dim, 0);
		assert_true(s.eps == 1e-12 && s.theta == 10000 && s.bias);
		assert_string_equal(s.name, "none");
		assert_int_equal(s.patch[0], 16);
		assert_int_equal(s.patch[1], 16);
		assert_int_equal(s.picked.count, 0);
		assert_int_equal(s.act, ACT_GELU);
		arena_free(&a);
	}
}

static void test_given(void **state)
{
	(void)state;
	arena a;
	sample s;
	arena_init(&a, NULL, 0);
	static const char all[] = "{\"hidden_size\": 32, \"n_embd\": 64, \"layer_norm_eps\": 1e-5, \"qkv_bias\": false, "
	                          "\"model_type\": \"vit\", \"rope_parameters\": {\"rope_theta\": 500000, \"deep\": {}},"
	                          "\"patch_size\": [8, 10], \"vision_feature_layer\": [-2, 5], \"hidden_act\": \"quick_gelu\", \"head_dim\": 1024}";
	static const char single[] = "{\"hidden_size\": 1, \"vision_feature_layer\": -2, \"patch_size\": 14,"
	                             "\"rope_parameters\": {\"deep\": {\"theta\": 7}}}";
	assert_int_equal(read_text(&a, all, &s, NULL), REBUS_OK);
	assert_int_equal(s.hidden, 32);
	assert_true(s.eps == 1e-5 && s.theta == 500000 && !s.bias);
	assert_string_equal(s.name, "vit");
	assert_int_equal(s.patch[0], 8);
	assert_int_equal(s.patch[1], 10);
	assert_int_equal(s.picked.count, 2);
	assert_int_equal(s.picked.at[0], -2);
	assert_int_equal(s.picked.at[1], 5);
	assert_int_equal(s.act, ACT_QUICK_GELU);
	assert_int_equal(s.head_dim, 1024);
	assert_int_equal(read_text(&a, single, &s, NULL), REBUS_OK);
	assert_int_equal(s.picked.count, 1);
	assert_int_equal(s.picked.at[0], -2);
	assert_int_equal(s.patch[1], 14);
	assert_true(s.theta == 7);
	assert_int_equal(read_text(&a, "{\"hidden_size\": 1, \"vision_feature_layer\": []}", &s, NULL), REBUS_OK);
	assert_int_equal(s.picked.count, 0);
	arena_free(&a);
}

static void test_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
		rebus_status status;
	} cases[] = {
		{"{}", "config.json: hidden_size|n_embd: missing", REBUS_FORMAT},
		{"{\"hidden_size\": 0}", "config.json: hidden_size: 0, expected 1 to 65536", REBUS_FORMAT},
		{"{\"n_embd\": 65537}", "config.json: n_embd: 65537, expected 1 to 65536", REBUS_FORMAT},
		{"{\"hidden_size\": -99999999999999999999999}", "expected 1 to 65536", REBUS_FORMAT},
		{"{\"hidden_size\": 1.5}", "config.json: hidden_size: 1.5, expected a whole number from 1 to 65536", REBUS_FORMAT},
		{"{\"hidden_size\": NaN}", "expected a whole number from 1 to 65536", REBUS_FORMAT},
		{"{\"hidden_size\": \"64\"}", "config.json: hidden_size: '64', expected a whole number from 1 to 65536", REBUS_FORMAT},
		{"{\"hidden_size\": true}", "expected a whole number", REBUS_FORMAT},
		{"{\"hidden_size\": [64]}", "hidden_size: a list, expected a whole number", REBUS_FORMAT},
		{"{\"hidden_size\": {}}", "hidden_size: an object, expected a whole number", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"layer_norm_eps\": NaN}", "layer_norm_eps: nan, expected 0 to 1", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"layer_norm_eps\": Infinity}", "layer_norm_eps: inf, expected 0 to 1", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"rope_parameters\": {\"rope_theta\": 0}}",
		 "rope_parameters.rope_theta: 0, expected 1 to 1000000000", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"qkv_bias\": 1}", "qkv_bias: 1, expected true or false", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"model_type\": 1}", "model_type: 1, expected text", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"model_type\": \"a\\u0000b\"}", "expected text", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"patch_size\": [8]}",
		 "patch_size: a list, expected a number or [height, width], each from 1 to 1024", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"patch_size\": [8, 0]}", "each from 1 to 1024", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"patch_size\": [8, null]}", "each from 1 to 1024", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"patch_size\": {\"height\": 8}}", "patch_size: an object", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"vision_feature_layer\": [1, 2000]}", "each from -1000 to 1000", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"vision_feature_layer\": [[1]]}", "each from -1000 to 1000", REBUS_FORMAT},
		{"{\"hidden_size\": 1, \"hidden_act\": \"mish\"}", "hidden_act: 'mish', expected an activation", REBUS_UNSUPPORTED},
		{"{\"hidden_size\": 1, \"hidden_act\": 3}", "hidden_act: 3, expected an activation", REBUS_FORMAT},
		{"[]", "config.json: something else, expected an object", REBUS_FORMAT},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		sample s, before;
		rebus_error err;
		memset(&s, 0x5a, sizeof s);
		before = s;
		arena_init(&a, NULL, 0);
		rebus_status status = read_text(&a, cases[i].text, &s, &err);
		if (status != cases[i].status)
			fail_msg("%s: status %d: %s", cases[i].text, status, err.text);
		assert_has(err.text, cases[i].says);
		assert_memory_equal(&s, &before, sizeof s);
		arena_free(&a);
	}
}

static void test_long_list(void **state)
{
	(void)state;
	for (int n = CONFIG_INTS_MOST; n <= CONFIG_INTS_MOST + 1; n++) {
		buf b;
		arena a;
		sample s;
		buf_init(&b, NULL, 0);
		arena_init(&a, NULL, 0);
		buf_text(&b, "{\"hidden_size\": 1, \"vision_feature_layer\": [");
		for (int i = 0; i < n; i++)
			buf_text(&b, i ? ",1" : "1");
		buf_text(&b, "]}");
		assert_int_equal(read_text(&a, b.data, &s, NULL), n == CONFIG_INTS_MOST ? REBUS_OK : REBUS_FORMAT);
		arena_free(&a);
		buf_free(&b);
	}
	assert_int_equal(config_read(NULL, NULL, "config.json: vision_config", table, COUNT_OF(table), NULL, NULL), REBUS_FORMAT);
}

/* Lists of numbers and of names; a null that means 0, and is not the absence that means the default. */
typedef struct {
	real_list factors;
	name_list types;
	int64_t window;
	double cap;
} lists;

static const field list_table[] = {
	CONFIG_REALS(lists, factors, "rope.short|factors", 0, 100),
	CONFIG_NAMES(lists, types, "layer_types"),
	CONFIG_INT_OR_NULL(lists, window, "a.window|window", 1, 10000, 4096),
	CONFIG_REAL_OR_NULL(lists, cap, "cap", 0, 100, 30),
};

static rebus_status read_lists(arena *a, const char *text, lists *out, rebus_error *err)
{
	json *j = NULL;
	assert_int_equal(json_parse(text, strlen(text), "config.json", 100000, &j, NULL), REBUS_OK);
	rebus_status status = config_read(a, j, "config.json", list_table, COUNT_OF(list_table), out, err);
	json_free(j);
	return status;
}

static void test_lists(void **state)
{
	(void)state;
	static const char *const bad[] = {"{\"factors\": 1}", "{\"factors\": [1, 101]}", "{\"factors\": [1, \"2\"]}", "{\"layer_types\": \"full\"}",
		"{\"layer_types\": [\"full\", 1]}", "{\"layer_types\": [\"a\\u0000b\"]}", "{\"window\": 0}"};
	arena a;
	lists s;
	rebus_error err;
	arena_init(&a, NULL, 0);
	assert_int_equal(read_lists(&a, "{}", &s, &err), REBUS_OK);
	assert_true(!s.factors.count && !s.types.count && s.window == 4096 && s.cap == 30);
	assert_int_equal(read_lists(&a, "{\"window\": null, \"cap\": null, \"factors\": [1, 2.5], \"layer_types\": [\"x\", \"y\"]}", &s, &err), REBUS_OK);
	assert_true(s.window == 0 && s.cap == 0 && s.factors.count == 2 && s.factors.at[1] == 2.5 && s.types.count == 2);
	assert_string_equal(s.types.at[1], "y");
	assert_int_equal(read_lists(&a, "{\"a\": {\"window\": null}}", &s, &err), REBUS_OK);
	assert_true(s.window == 0);
	assert_int_equal(read_lists(&a, "{\"a\": {\"window\": null}, \"window\": 7, \"rope\": {\"short\": [3]}, \"factors\": [4, 5]}", &s, &err), REBUS_OK);
	assert_true(s.window == 7 && s.factors.count == 1 && s.factors.at[0] == 3);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (read_lists(&a, bad[i], &s, &err) != REBUS_FORMAT)
			fail_msg("%s: read", bad[i]);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_given),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_long_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
