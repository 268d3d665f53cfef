/*
 * fuzz_safetensors.c - any bytes as a safetensors file: opened, listed, every tensor found again, and a table bound to it.
 *
 * The bytes are checked to be read only inside their range by the sanitizer; here it is checked that what was accepted
 * makes sense: data inside the file, sizes that add up, and names that lead back to their tensor.
 */
#include "files/bind.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
	int64_t hidden;
} sample_config;

typedef struct {
	weight a, b, c, d;
} sample_weights;

#define V(m) WEIGHT_AT(sample_weights, m)
static const weight_row rows[] = {
	WEIGHT_ROW(LINEAR, "{p}a|q", V(a), .out = WEIGHT_ANY, .in = WEIGHT_ANY, .optional = true),
	WEIGHT_ROW(BIAS, "b", V(a), .out = WEIGHT_ANY, .optional = true),
	WEIGHT_ROW(TURNED, "b|a", V(b), .out = WEIGHT_ANY, .in = WEIGHT_ANY, .optional = true),
	WEIGHT_ROW(CONV, "a|q", V(b), .out = WEIGHT_ANY, .in = WEIGHT_ANY, .optional = true, .part = 1),
	WEIGHT_ROW(TABLE, "a", V(c), .out = WEIGHT_ANY, .in = WEIGHT_ANY, .optional = true),
	WEIGHT_ROW(VECTOR, "a", V(d), .out = WEIGHT_ANY, .optional = true),
};

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const sample_config config = {.hidden = 4};
	arena a;
	safetensors *s = NULL;
	rebus_error err = {.code = REBUS_OK};
	arena_init(&a, NULL, 64 << 20);
	rebus_status status = safetensors_open_memory(&a, data, size, "fuzz", &s, &err);
	check(status == err.code);
	if (!status) {
		size_t sum = 0;
		for (size_t i = 0; i < safetensors_count(s); i++) {
			const tensor_info *t = safetensors_at(s, i);
			char shape[64];
			tensor_shape_text(t, shape, sizeof shape);
			check(safetensors_find(s, t->name) == t);
			check((const uint8_t *)t->data >= data && t->size <= (size_t)(data + size - (const uint8_t *)t->data));
			sum += t->size;
		}
		check(sum <= size);
		for (size_t r = 0; r < COUNT_OF(rows); r++) { /* one by one, so that a failure hides no other row */
			sample_weights w;
			memset(&w, 0, sizeof w);
			bind_job job = {.from = s, .prefix = "x.", .rows = rows + r, .count = COUNT_OF(rows) - r, .config = &config,
			                .into = &w, .used = bind_used(&a, s)};
			check(job.used);
			bind_weights(&a, &job, &err);
			size_t at = 0;
			while (bind_unused(s, job.used, NULL, 0, &at))
				continue;
		}
	}
	safetensors_close(s);
	arena_free(&a);
	return 0;
}
