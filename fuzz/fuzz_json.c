/*
 * fuzz_json.c - any bytes as JSON: parsed, walked through every accessor, and read as a configuration with every kind of
 * field. Every member is found by its name. What config_read accepts must lie in the ranges the table states.
 */
#include "files/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
	int64_t hidden;
	double theta;
	bool bias;
	const char *name;
	int32_t patch[2];
	int_list picked;
	act_kind act;
} sample;

static const field table[] = {
	CONFIG_INT(sample, hidden, "hidden_size|n_embd", 1, 65536, 64),
	CONFIG_REAL(sample, theta, "rope_theta|rope_parameters.rope_theta", 1, 1e9, 10000),
	CONFIG_FLAG(sample, bias, "qkv_bias", true),
	CONFIG_TEXT(sample, name, "model_type", "none"),
	CONFIG_PAIR(sample, patch, "patch_size", 1, 1024, 16),
	CONFIG_INTS(sample, picked, "layers", -10, 10),
	CONFIG_ACT(sample, act, "hidden_act", "gelu"),
};

static void check(bool good)
{
	if (!good)
		abort();
}

static void walk(const json *j, int depth)
{
	int64_t i;
	double d;
	bool b;
	size_t n = 0;
	check(depth <= JSON_DEPTH + 1);
	json_int(j, &i);
	json_real(j, &d);
	json_flag(j, &b);
	const char *s = json_text(j, &n);
	check(!s || s[n] == 0);
	for (size_t k = 0; json_kind_of(j) == JSON_LIST && k < json_count(j); k++)
		walk(json_at(j, k), depth + 1);
	for (json_each it = json_first(j); json_next(&it);) {
		check(it.key[it.key_size] == 0 && utf8_valid(it.key, it.key_size));
		check(strlen(it.key) < it.key_size || json_get(j, it.key) == it.value);
		walk(it.value, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json *j = NULL;
	rebus_error err = {.code = REBUS_OK};
	rebus_status status = json_parse((const char *)data, size, "fuzz", 10000, &j, &err);
	check(status == err.code && !status == (j != NULL));
	if (status)
		return 0;
	walk(j, 0);
	arena a;
	sample s;
	memset(&s, 0, sizeof s);
	arena_init(&a, NULL, 16 << 20);
	if (!config_read(&a, j, "fuzz", table, COUNT_OF(table), &s, &err)) {
		check(s.hidden >= 1 && s.hidden <= 65536 && s.theta >= 1 && s.theta <= 1e9 && s.name);
		check(s.patch[0] >= 1 && s.patch[0] <= 1024 && s.patch[1] >= 1 && s.patch[1] <= 1024);
		for (int32_t i = 0; i < s.picked.count; i++)
			check(s.picked.at[i] >= -10 && s.picked.at[i] <= 10);
		check((unsigned)s.act < ACT_COUNT);
	}
	arena_free(&a);
	json_free(j);
	return 0;
}
