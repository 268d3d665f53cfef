/*
 * test_bind.c - a table in the manner of a real family bound to files written here: values, shapes, alternatives, prefixes,
 * stacked parts, copies where the file's alignment or type asks for them, and what is reported when something is wrong.
 */
#include "scratch.h"

#include "files/bind.h"

enum { HIDDEN = 4, WIDE = 6, LAYERS = 2 };

typedef struct {
	int64_t hidden, wide, layers, patch_width, positions, twice;
	bool bias;
} sample_config;

typedef struct {
	weight norm, qkv, up;
} sample_layer;

typedef struct {
	weight cls, position, patch, words, head, scale, extra;
} sample_weights;

#define V(m) WEIGHT_AT(sample_weights, m)
#define L(m) WEIGHT_AT(sample_layer, m)
#define D(m) WEIGHT_DIM(sample_config, m)
#define BIASED .when = WEIGHT_IF(sample_config, bias)

static const weight_row rows[] = {
	WEIGHT_ROW(VECTOR, "{p}cls_token", V(cls), .out = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}position", V(position), .out = D(positions), .in = D(hidden)),
	WEIGHT_ROW(CONV, "{p}patch.weight", V(patch), .out = D(hidden), .in = D(patch_width)),
	WEIGHT_ROW(BIAS, "{p}patch.bias", V(patch), .out = D(hidden)),
	WEIGHT_ROW(LOOKUP, "{p}words.weight|{p}wte.weight", V(words), .out = WEIGHT_ANY, .in = D(hidden)),
	WEIGHT_ROW(SCALAR, "logit_scale", V(scale)),
	WEIGHT_ROW(LINEAR, "head.weight|{p}words.weight|{p}wte.weight", V(head), .out = WEIGHT_ANY, .in = D(hidden)),
	WEIGHT_ROW(VECTOR, "{p}extra", V(extra), .out = D(hidden), .optional = true),
	WEIGHT_ROW(VECTOR, "{p}layer.{i}.norm.weight", L(norm), .out = D(hidden)),
	WEIGHT_ROW(LINEAR, "{p}layer.{i}.q.weight", L(qkv), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, "{p}layer.{i}.q.bias", L(qkv), .out = D(hidden), BIASED),
	WEIGHT_ROW(LINEAR, "{p}layer.{i}.k.weight", L(qkv), .out = D(twice), .in = D(hidden), .part = 1),
	WEIGHT_ROW(TURNED, "{p}layer.{i}.up.weight", L(up), .out = D(wide), .in = D(hidden)),
};

static const sample_config config = {.hidden = HIDDEN, .wide = WIDE, .layers = LAYERS, .patch_width = 12, .positions = 5,
                                     .twice = 8, .bias = true};
static float numbers[256];
static uint16_t halves[256];

static tensor_out list[64];
static size_t listed;
static char names[64][64];

static tensor_out *add(const char *name, tensor_type type, int32_t rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
	snprintf(names[listed], sizeof names[0], "%s", name);
	list[listed] = (tensor_out){.name = names[listed], .type = type, .rank = rank, .shape = {a, b, c, d},
	                            .data = type == TENSOR_F32 ? (void *)numbers : halves};
	return &list[listed++];
}

static void fill(const char *prefix)
{
	char name[64];
	listed = 0;
	for (int i = 0; i < 256; i++) {
		numbers[i] = (float)i + 0.25f;
		halves[i] = (uint16_t)(0x3C00 + i); /* f16: 1 + i / 1024 */
	}
#define P(text) (snprintf(name, sizeof name, "%s%s", prefix, text), name)
	add(P("cls_token"), TENSOR_F32, 3, 1, 1, HIDDEN, 0);
	add(P("position"), TENSOR_F16, 3, 1, 5, HIDDEN, 0);
	add(P("patch.weight"), TENSOR_F32, 4, HIDDEN, 3, 2, 2);
	add(P("patch.bias"), TENSOR_F16, 1, HIDDEN, 0, 0, 0);
	add(P("wte.weight"), TENSOR_BF16, 2, 7, HIDDEN, 0, 0);
	add("logit_scale", TENSOR_F32, 0, 0, 0, 0, 0);
	for (int i = 0; i < LAYERS; i++) {
		char inner[32];
#define I(text) (snprintf(inner, sizeof inner, "layer.%d.%s", i, text), P(inner))
		add(I("norm.weight"), TENSOR_F32, 1, HIDDEN, 0, 0, 0);
		add(I("q.weight"), TENSOR_F32, 2, HIDDEN, HIDDEN, 0, 0);
		add(I("q.bias"), TENSOR_F32, 1, HIDDEN, 0, 0, 0);
		add(I("k.weight"), TENSOR_F16, 2, 8, HIDDEN, 0, 0);
		add(I("up.weight"), TENSOR_F32, 2, HIDDEN, WIDE, 0, 0);
		add(I("attn.position_ids"), TENSOR_I64, 1, 2, 0, 0, 0);
#undef I
	}
	add("stray", TENSOR_F32, 1, 2, 0, 0, 0);
#undef P
}

static tensor_out *listed_as(const char *name)
{
	for (size_t i = 0; i < listed; i++)
		if (!strcmp(list[i].name, name))
			return &list[i];
	fail_msg("no %s", name);
	return NULL;
}

typedef struct {
	arena a;
	safetensors *file;
	sample_weights w;
	sample_layer layers[LAYERS];
	uint8_t *used;
} bound;

static rebus_status bind_list(bound *b, const char *prefix, const sample_config *c, rebus_error *err)
{
	memset(b, 0, sizeof *b);
	arena_init(&b->a, NULL, 0);
	const char *path = scratch_path("m.safetensors");
	assert_int_equal(safetensors_write(path, list, listed, NULL), REBUS_OK);
	assert_int_equal(safetensors_open(&b->a, path, LOAD_MAP, &b->file, NULL), REBUS_OK);
	b->used = bind_used(&b->a, b->file);
	bind_job job = {.from = b->file, .prefix = prefix, .rows = rows, .count = COUNT_OF(rows), .config = c, .into = &b->w,
	                .layers = b->layers,
	                .layer_size = sizeof(sample_layer), .layer_count = c->layers, .used = b->used};
	return bind_weights(&b->a, &job, err);
}

static void let_go(bound *b)
{
	safetensors_close(b->file);
	arena_free(&b->a);
}

static void test_bound(void **state)
{
	(void)state;
	static const char *const prefixes[] = {"vit.", ""};
	for (size_t p = 0; p < 2; p++) {
		bound b;
		rebus_error err;
		fill(prefixes[p]);
		if (bind_list(&b, prefixes[p], &config, &err))
			fail_msg("%s", err.text);
		assert_string_equal(b.w.cls.name, p ? "cls_token" : "vit.cls_token");
		assert_int_equal(b.w.cls.out, HIDDEN);
		assert_int_equal(b.w.cls.in, 1);
		assert_memory_equal(b.w.cls.f32, numbers, HIDDEN * sizeof(float));
		assert_int_equal(b.w.position.out, 5); /* widened */
		assert_int_equal(b.w.position.in, HIDDEN);
		assert_int_equal(b.w.position.part[0].type, DT_F32);
		assert_null(b.w.position.f32);
		assert_true(((const float *)b.w.position.part[0].data)[3] == 1.0f + 3.0f / 1024);
		assert_int_equal(b.w.patch.out, HIDDEN);
		assert_int_equal(b.w.patch.in, 12);
		assert_ptr_equal(b.w.patch.part[0].data, safetensors_find(b.file, b.w.patch.name)->data); /* in the file */
		assert_true(b.w.patch.bias[0][2] == 1.0f + 2.0f / 1024);
		assert_int_equal(b.w.words.out, 7);
		assert_int_equal(b.w.words.part[0].type, DT_BF16);
		assert_ptr_equal(b.w.head.part[0].data, b.w.words.part[0].data); /* tied by the table's alternatives */
		assert_true(b.w.scale.f32[0] == numbers[0]);
		assert_int_equal(b.w.extra.parts, 0);
		for (int i = 0; i < LAYERS; i++) {
			const weight *qkv = &b.layers[i].qkv, *up = &b.layers[i].up;
			assert_int_equal(qkv->parts, 2);
			assert_int_equal(qkv->out, 12);
			assert_int_equal(qkv->in, HIDDEN);
			assert_int_equal(qkv->part[0].type, DT_F32);
			assert_int_equal(qkv->part[1].type, DT_F16);
			assert_int_equal(qkv->part[1].out, 8);
			assert_non_null(qkv->bias[0]);
			assert_null(qkv->bias[1]);
			assert_int_equal(up->out, WIDE);
			assert_int_equal(up->in, HIDDEN);
			for (int o = 0; o < WIDE; o++)
				for (int k = 0; k < HIDDEN; k++)
					assert_true(((const float *)up->part[0].data)[o * HIDDEN + k] == numbers[k * WIDE + o]);
		}
		static const char *const ignore[] = {"*.position_ids", "nothing*"};
		size_t at = 0;
		assert_string_equal(bind_unused(b.file, b.used, ignore, p ? 2 : 1, &at)->name, "stray");
		assert_null(bind_unused(b.file, b.used, ignore, COUNT_OF(ignore), &at));
		size_t n = 0;
		for (at = 0; bind_unused(b.file, b.used, NULL, 0, &at); n++)
			continue;
		assert_int_equal(n, 3);
		assert_true(bind_has(b.file, prefixes[p], "none|{p}position"));
		assert_false(bind_has(b.file, "other.", "none|{p}position"));
		let_go(&b);
	}
}

static void wrong(const sample_config *c, rebus_status want, const char *says)
{
	bound b;
	rebus_error err = {.text = ""};
	rebus_status status = bind_list(&b, "", c, &err);
	if (status != want)
		fail_msg("status %d, '%s', expected '%s'", status, err.text, says);
	if (says)
		assert_has(err.text, says);
	let_go(&b);
	fill("");
}

static void test_wrong(void **state)
{
	(void)state;
	sample_config c = config;
	fill("");
	listed_as("wte.weight")->name = "gone";
	wrong(&config, REBUS_SHAPE, "weights: missing tensor, expected one of words.weight, wte.weight");
	listed_as("layer.1.norm.weight")->name = "gone";
	wrong(&config, REBUS_SHAPE, "weights: missing tensor, expected layer.1.norm.weight");
	listed_as("layer.1.q.weight")->shape[1] = 3;
	wrong(&config, REBUS_SHAPE, "layer.1.q.weight: shape [4,3], want [4,4]");
	listed_as("layer.0.up.weight")->shape[1] = 3;
	wrong(&config, REBUS_SHAPE, "layer.0.up.weight: shape [4,3], want [4,6]");
	listed_as("layer.0.q.weight")->rank = 1;
	wrong(&config, REBUS_SHAPE, "layer.0.q.weight: shape [4], want [4,4]");
	listed_as("patch.weight")->shape[3] = 1;
	wrong(&config, REBUS_SHAPE, "patch.weight: shape [4,3,2,1], want [4,12], the latter over all sides but the first");
	listed_as("patch.bias")->shape[0] = 5;
	wrong(&config, REBUS_SHAPE, "patch.bias: shape [5], want [4]");
	listed_as("wte.weight")->shape[1] = 5;
	wrong(&config, REBUS_SHAPE, "wte.weight: shape [7,5], want [any,4]");
	listed_as("logit_scale")->rank = 1;
	listed_as("logit_scale")->shape[0] = 2;
	wrong(&config, REBUS_SHAPE, "logit_scale: shape [2], want [1]");
	listed_as("cls_token")->shape[1] = 2;
	wrong(&config, REBUS_SHAPE, "cls_token: shape [1,2,4], want [4]");
	listed_as("layer.0.q.weight")->type = TENSOR_I16;
	wrong(&config, REBUS_UNSUPPORTED, "layer.0.q.weight: dtype I16, expected F32, F16 or BF16");
	listed_as("cls_token")->type = TENSOR_F64;
	listed_as("cls_token")->data = numbers;
	wrong(&config, REBUS_UNSUPPORTED, "cls_token: dtype F64");
	listed_as("layer.1.q.bias")->name = "gone";
	wrong(&config, REBUS_SHAPE, "layer.1.q.bias");
	listed_as("layer.1.q.bias")->name = "gone";
	c.bias = false;
	wrong(&c, REBUS_OK, NULL);
	listed_as("patch.weight")->shape[0] = 0; /* sides whose product does not fit, made possible by a 0 */
	listed_as("patch.weight")->shape[1] = listed_as("patch.weight")->shape[2] = INT64_MAX;
	listed_as("patch.weight")->shape[1] = 0;
	wrong(&config, REBUS_SHAPE, "patch.weight: shape [0,0,");
	c = config;
	c.layers = 0;
	wrong(&c, REBUS_OK, NULL);
}

/* A weight whose second part has other inputs than the first, and one whose first part is missing. */
static void test_parts(void **state)
{
	(void)state;
	static const weight_row stacked[] = {
		WEIGHT_ROW(LINEAR, "q", V(head), .out = WEIGHT_ANY, .in = WEIGHT_ANY, .optional = true),
		WEIGHT_ROW(LINEAR, "k", V(head), .out = WEIGHT_ANY, .in = WEIGHT_ANY, .part = 1),
		WEIGHT_ROW(BIAS, "b", V(head), .out = WEIGHT_ANY, .part = 1, .optional = true),
	};
	static const struct {
		const char *q, *k, *b;
		int64_t k_in, b_out;
		const char *says;
	} cases[] = {
		{"q", "k", "b", 4, 3, NULL},
		{"q", "k", "b", 5, 3, "k: 5 inputs, want 4 as in q"},
		{"gone", "k", "b", 4, 3, "k: is part 2 of a stacked weight"},
		{"q", "k", "b", 4, 2, "b: 2 numbers, want as many as its weight has outputs (3)"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		safetensors *s = NULL;
		sample_weights w = {.head = {.parts = 0}};
		rebus_error err = {.text = ""};
		listed = 0;
		add(cases[i].q, TENSOR_F32, 2, 2, 4, 0, 0);
		add(cases[i].k, TENSOR_F32, 2, 3, cases[i].k_in, 0, 0);
		add(cases[i].b, TENSOR_F32, 1, cases[i].b_out, 0, 0, 0);
		arena_init(&a, NULL, 0);
		assert_int_equal(safetensors_write(scratch_path("m.safetensors"), list, listed, NULL), REBUS_OK);
		assert_int_equal(safetensors_open(&a, scratch_path("m.safetensors"), LOAD_COPY, &s, NULL), REBUS_OK);
		bind_job job = {.from = s, .prefix = "", .rows = stacked, .count = COUNT_OF(stacked), .config = &config, .into = &w};
		assert_int_equal(bind_weights(&a, &job, &err), cases[i].says ? REBUS_SHAPE : REBUS_OK);
		if (cases[i].says)
			assert_has(err.text, cases[i].says);
		safetensors_close(s);
		arena_free(&a);
	}
}

/* Data at an odd address: everything that is bound is aligned. Names that expand beyond any bound are missing, not more. */
static void test_unaligned(void **state)
{
	(void)state;
	static uint8_t image[512];
	static const weight_row odd[] = {
		WEIGHT_ROW(LINEAR, "q", V(head), .out = WEIGHT_ANY, .in = WEIGHT_ANY),
		WEIGHT_ROW(LOOKUP, "h", V(words), .out = WEIGHT_ANY, .in = WEIGHT_ANY),
		WEIGHT_ROW(VECTOR, "{p}", V(extra), .out = D(hidden), .optional = true),
	};
	for (size_t shift = 0; shift < 4; shift++) {
		arena a;
		safetensors *s = NULL;
		sample_weights w = {.head = {.parts = 0}};
		size_t size = scratch_image(image + shift,
		                            "{\"q\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
		                            "\"h\":{\"dtype\":\"BF16\",\"shape\":[2,1],\"data_offsets\":[16,20]}}",
		                            20);
		char prefix[2000];
		memset(prefix, 'x', sizeof prefix - 1);
		prefix[sizeof prefix - 1] = 0;
		arena_init(&a, NULL, 0);
		assert_int_equal(safetensors_open_memory(&a, image + shift, size, "m", &s, NULL), REBUS_OK);
		bind_job job = {.from = s, .prefix = prefix, .rows = odd, .count = COUNT_OF(odd), .config = &config, .into = &w};
		assert_int_equal(bind_weights(&a, &job, NULL), REBUS_OK);
		assert_int_equal((uintptr_t)w.head.part[0].data % 4, 0);
		assert_int_equal((uintptr_t)w.words.part[0].data % 2, 0);
		assert_memory_equal(w.head.part[0].data, safetensors_find(s, "q")->data, 16);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bound, scratch_begin, scratch_end),
		cmocka_unit_test_setup_teardown(test_wrong, scratch_begin, scratch_end),
		cmocka_unit_test_setup_teardown(test_parts, scratch_begin, scratch_end),
		cmocka_unit_test(test_unaligned),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
