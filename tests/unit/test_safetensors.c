/* test_safetensors.c - files that are right, files that are wrong in one way each, shards, and the writer. */
#include "scratch.h"

#include "files/safetensors.h"

typedef struct {
	const char *header;
	size_t data;
	const char *says; /* NULL: accepted */
} image_case;

#define T(name, type, shape, begin, end)                                                                                   \
	"\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static const image_case cases[] = {
	{"{}", 0, NULL},
	{"{}    ", 0, NULL},
	{"{\"__metadata__\":{}}", 0, NULL},
	{"{\"__metadata__\":null}", 0, NULL},
	{"{\"__metadata__\":{\"format\":\"pt\",\"a\":\"\\u00e9\"}}", 0, NULL},
	{"{" T("a", "F32", "[2,3]", 0, 24) "}", 24, NULL},
	{"{" T("a", "F32", "[]", 0, 4) "}", 4, NULL},
	{"{" T("b", "U8", "[3]", 4, 7) "," T("a", "F32", "[1]", 0, 4) "}", 7, NULL},
	{"{" T("a", "F32", "[0]", 0, 0) "," T("b", "I8", "[2]", 0, 2) "," T("c", "F32", "[7,0]", 2, 2) "}", 2, NULL},
	{"{ \"a\" : { \"shape\" : [ 1 , 2 ] ,\n\"data_offsets\" : [ 0 , 4 ] , \"dtype\" : \"F16\" } }\n\t\r ", 4, NULL},
	{"{" T("a", "F4", "[4]", 0, 2) "}", 2, NULL},
	{"{" T("a", "Q9_K", "[4]", 0, 5) "}", 5, NULL},
	{"{" T("", "U8", "[1]", 0, 1) "}", 1, NULL},
	{"{" T("a", "U8", "[1,1,1,1,1,1,1,1]", 0, 1) "}", 1, NULL},
	{"", 0, "expected '{'"},
	{" {}", 0, "expected '{'"},
	{"[]", 0, "expected '{'"},
	{"{", 0, "where it ends"},
	{"{}x", 0, "only blanks"},
	{"{}\x01", 0, "only blanks"},
	{"{" T("a", "F32", "[2]", 0, 8) ",}", 8, "a tensor's name"},
	{"{" T("a", "F32", "[2,]", 0, 8) "}", 8, "a whole number"},
	{"{" T("a", "F32", "[2]", 0, 8) "}", 9, "9 bytes of data, expected the 8"},
	{"{}", 1, "1 bytes of data"},
	{"{" T("a", "F32", "[2]", 0, 8) "}", 7, "data_offsets [0,8], expected a range of the 7"},
	{"{" T("a", "F32", "[2]", 8, 0) "}", 8, "data_offsets [8,0]"},
	{"{" T("a", "F32", "[2]", 0, 18446744073709551615) "}", 8, "data_offsets [0,18446744073709551615]"},
	{"{" T("a", "F32", "[2]", 0, 18446744073709551616) "}", 8, "a number below 2^64"},
	{"{" T("a", "F32", "[3]", 0, 8) "}", 8, "8 bytes of data, expected 12 for F32 [3]"},
	{"{" T("a", "F4", "[3]", 0, 2) "}", 2, "2 bytes of data"},
	{"{" T("a", "U8", "[4]", 0, 4) "," T("b", "U8", "[4]", 2, 6) "}", 6, "they overlap"},
	{"{" T("a", "U8", "[4]", 0, 4) "," T("b", "U8", "[4]", 0, 4) "}", 4, "they overlap"},
	{"{" T("a", "U8", "[4]", 0, 4) "," T("b", "U8", "[0]", 2, 2) "}", 4, "they overlap"},
	{"{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 4, 6) "}", 6, "a hole"},
	{"{" T("a", "U8", "[2]", 2, 4) "}", 4, "a hole"},
	{"{" T("a", "U8", "[2]", 0, 2) "," T("a", "U8", "[2]", 2, 4) "}", 4, "tensor a: occurs twice"},
	{"{" T("a", "U8", "[2]", 0, 2) "," T("\\u0061", "U8", "[2]", 2, 4) "}", 4, "tensor a: occurs twice"},
	{"{" T("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0, "multiply to more"},
	{"{" T("a", "F64", "[2305843009213693952]", 0, 0) "}", 0, "multiply to more"},
	{"{" T("a", "X", "[4294967296,4294967296]", 0, 0) "}", 0, "multiply to more"},
	{"{" T("a", "U8", "[9223372036854775808,0]", 0, 0) "}", 0, "multiply to more"},
	{"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "more than 8 numbers"},
	{"{" T("a", "U8", "[-1]", 0, 1) "}", 1, "a whole number"},
	{"{" T("a", "U8", "[01]", 0, 1) "}", 1, "a whole number"},
	{"{" T("a", "U8", "[1.0]", 0, 1) "}", 1, "',' or ']'"},
	{"{" T("a", "U8", "[1e0]", 0, 1) "}", 1, "',' or ']'"},
	{"{" T("a", "U8", "1", 0, 1) "}", 1, "a shape"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "[begin, end]"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1, "more than 2 numbers"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets"},
	{"{\"a\":{}}", 0, "dtype, shape or data_offsets"},
	{"{\"a\":[]}", 0, "'{' of a tensor"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "each once"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"other\":[1],\"data_offsets\":[0,1]}}", 1, "each once"},
	{"{\"a\":{\"dtype\":\"0123456789012345678901234567890123456789\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
	 "of more than 31 bytes"},
	{"{" T("a\\u0000b", "U8", "[1]", 0, 1) "}", 1, "text without NUL"},
	{"{" T("a\\ud800", "U8", "[1]", 0, 1) "}", 1, "surrogates in pairs"},
	{"{" T("a\\udc00", "U8", "[1]", 0, 1) "}", 1, "surrogates in pairs"},
	{"{" T("a\\ud800\\u0041", "U8", "[1]", 0, 1) "}", 1, "surrogates in pairs"},
	{"{" T("a\\x", "U8", "[1]", 0, 1) "}", 1, "an escape"},
	{"{" T("a\\u12g4", "U8", "[1]", 0, 1) "}", 1, "an escape"},
	{"{" T("a\xff", "U8", "[1]", 0, 1) "}", 1, "UTF-8"},
	{"{" T("a\xc0\x80", "U8", "[1]", 0, 1) "}", 1, "UTF-8"},
	{"{" T("a\n", "U8", "[1]", 0, 1) "}", 1, "control bytes"},
	{"{\"__metadata__\":{\"a\":1}}", 0, "text, as every value"},
	{"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "one __metadata__"},
	{"{\"__metadata__\":[]}", 0, "of __metadata__"},
};

static void test_images(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint8_t image[1024];
		size_t size = scratch_image(image, cases[i].header, cases[i].data);
		rebus_error err = {.code = REBUS_OK};
		arena a;
		arena_init(&a, NULL, 1 << 20);
		safetensors *s = NULL;
		rebus_status status = safetensors_open_memory(&a, image, size, "x.safetensors", &s, &err);
		if (cases[i].says) {
			if (!status)
				fail_msg("case %zu, %s, was accepted", i, cases[i].header);
			assert_int_equal(status, err.code);
			assert_true(status == REBUS_FORMAT || status == REBUS_LIMIT);
			assert_null(s);
			assert_has(err.text, cases[i].says);
			assert_has(err.text, "x.safetensors: ");
		} else if (status) {
			fail_msg("case %zu, %s: %s", i, cases[i].header, err.text);
		}
		safetensors_close(s);
		arena_free(&a);
	}
}

static void test_contents(void **state)
{
	(void)state;
	static const char header[] = "{" T("caf\\u00e9/\\ud83d\\ude00", "BF16", "[2,2]", 4,
	                                   12) ",\"__metadata__\":{\"k\":\"v\"}," T("b", "I32", "[]", 0, 4) ","
	                             T("weird", "Q4_0", "[32]", 12, 30) "}";
	uint8_t image[1024];
	size_t size = scratch_image(image + 1, header, 30); /* odd address: nothing may rely on alignment */
	arena a;
	safetensors *s = NULL;
	char shape[64];
	arena_init(&a, NULL, 0);
	assert_int_equal(safetensors_open_memory(&a, image + 1, size, "m", &s, NULL), REBUS_OK);
	assert_int_equal(safetensors_count(s), 3);
	const tensor_info *t = safetensors_find(s, "caf\xc3\xa9/\xf0\x9f\x98\x80");
	assert_non_null(t);
	assert_int_equal(t->type, TENSOR_BF16);
	assert_string_equal(t->type_text, "BF16");
	assert_int_equal(t->rank, 2);
	assert_int_equal(t->size, 8);
	assert_int_equal(((const uint8_t *)t->data)[0], 4);
	tensor_shape_text(t, shape, sizeof shape);
	assert_string_equal(shape, "[2,2]");
	tensor_shape_text(t, shape, 4);
	assert_string_equal(shape, "[2,");
	assert_ptr_equal(safetensors_at(s, 0), t);
	assert_string_equal(safetensors_at(s, 1)->name, "b");
	assert_int_equal(safetensors_at(s, 1)->rank, 0);
	t = safetensors_find(s, "weird");
	assert_int_equal(t->type, TENSOR_UNKNOWN);
	assert_string_equal(t->type_text, "Q4_0");
	assert_int_equal(t->size, 18);
	assert_null(safetensors_at(s, 3));
	assert_null(safetensors_find(s, "c"));
	assert_null(safetensors_find(s, "__metadata__"));
	safetensors_close(s);
	safetensors_close(NULL);
	arena_free(&a);
}

/* Every proper prefix of a good file is refused, and so is every file with one more byte. */
static void test_truncated(void **state)
{
	(void)state;
	uint8_t image[1024];
	size_t size = scratch_image(image,
	                            "{\"__metadata__\":{\"format\":\"pt\"}," T("a", "F32", "[2]", 0, 8) "," T("b", "U8", "[3]", 8,
	                                                                                                      11) "}", 11);
	for (size_t n = 0; n <= size; n++) {
		uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a read beyond it */
		assert_non_null(exact);
		memcpy(exact, image, n);
		arena a;
		safetensors *s = NULL;
		arena_init(&a, NULL, 0);
		rebus_status status = safetensors_open_memory(&a, exact, n, "m", &s, NULL);
		assert_int_equal(status, n == size ? REBUS_OK : REBUS_FORMAT);
		safetensors_close(s);
		arena_free(&a);
		free(exact);
	}
}

static void test_header_size(void **state)
{
	(void)state;
	uint8_t image[16] = {0};
	static const uint64_t sizes[] = {100000001, UINT64_MAX, UINT64_MAX - 7, 1ull << 63, 9, 100000000};
	rebus_error err;
	arena a;
	safetensors *s = NULL;
	arena_init(&a, NULL, 0);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		for (int k = 0; k < 8; k++)
			image[k] = (uint8_t)(sizes[i] >> 8 * k);
		assert_int_equal(safetensors_open_memory(&a, image, sizeof image, "m", &s, &err), REBUS_FORMAT);
		assert_has(err.text, sizes[i] > 100000000 ? "expected at most 100000000" : "cut short?");
	}
	arena_free(&a);
}

static void test_long_name(void **state)
{
	(void)state;
	static char header[4096];
	static uint8_t image[4200];
	for (size_t n = 1023; n <= 1026; n++) {
		int k = snprintf(header, sizeof header, "{\"%0*d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", (int)n, 0);
		assert_true(k > 0);
		arena a;
		safetensors *s = NULL;
		arena_init(&a, NULL, 0);
		rebus_status status = safetensors_open_memory(&a, image, scratch_image(image, header, 1), "m", &s, NULL);
		assert_int_equal(status, n <= 1024 ? REBUS_OK : REBUS_LIMIT);
		safetensors_close(s);
		arena_free(&a);
	}
}

static void shard_write(const char *name, const char *header, size_t data)
{
	uint8_t image[1024];
	scratch_write(name, image, scratch_image(image, header, data));
}

static rebus_status folder_open(const char *index, safetensors_load load, rebus_error *err)
{
	if (index)
		scratch_write("model.safetensors.index.json", index, strlen(index));
	arena a;
	safetensors *s = NULL;
	arena_init(&a, NULL, 0);
	rebus_status status = safetensors_open(&a, scratch_folder, load, &s, err);
	if (!status) {
		assert_int_equal(safetensors_count(s), 3);
		assert_string_equal(safetensors_find(s, "c")->file, "2.safetensors");
		assert_int_equal(*(const uint8_t *)safetensors_find(s, "c")->data, 0);
	} else {
		assert_null(s);
	}
	safetensors_close(s);
	arena_free(&a);
	return status;
}

static void test_shards(void **state)
{
	(void)state;
	rebus_error err;
	assert_int_equal(folder_open(NULL, LOAD_MAP, &err), REBUS_IO);
	assert_has(err.text, "expected model.safetensors, pytorch_model.bin or");
	shard_write("1.safetensors", "{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 2, 4) "}", 4);
	shard_write("2.safetensors", "{" T("c", "U8", "[2]", 0, 2) "}", 2);
	shard_write("3.safetensors", "{" T("a", "U8", "[2]", 0, 2) "}", 2);
	static const char good[] = "{\"metadata\":{},\"weight_map\":"
	                           "{\"a\":\"1.safetensors\",\"c\":\"2.safetensors\",\"b\":\"1.safetensors\"}}";
	assert_int_equal(folder_open(good, LOAD_MAP, &err), REBUS_OK);
	assert_int_equal(folder_open(good, LOAD_COPY, &err), REBUS_OK);
	static const struct {
		const char *index, *says;
	} bad[] = {
		{"{\"weight_map\":{\"a\":\"../1.safetensors\"}}", "plain name"},
		{"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "plain name"},
		{"{\"weight_map\":{\"a\":\"..\"}}", "plain name"},
		{"{\"weight_map\":{\"a\":\".\"}}", "plain name"},
		{"{\"weight_map\":{\"a\":\"\"}}", "plain name"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\\u0000\"}}", "plain name"},
		{"{\"weight_map\":{\"a\":1}}", "plain name"},
		{"{\"weight_map\":{\"a\":null}}", "plain name"},
		{"{\"weight_map\":{}}", "0 files, expected 1 to 1000"},
		{"{\"weight_map\":[]}", "expected an object"},
		{"{}", "expected an object"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\"}", "JSON"},
		{"{\"weight_map\":{\"a\":\"9.safetensors\"}}", "cannot be opened"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\",\"z\":\"2.safetensors\"}}",
		 "tensor z: expected in 2.safetensors, which lacks it"},
		{"{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}", "it is in 1.safetensors"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"3.safetensors\"}}", "tensor a: occurs twice, in"},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		if (!folder_open(bad[i].index, LOAD_MAP, &err))
			fail_msg("accepted: %s", bad[i].index);
		assert_has(err.text, bad[i].says);
	}
	shard_write("2.safetensors", "{" T("c", "U8", "[2]", 0, 2) "}", 1);
	assert_int_equal(folder_open(good, LOAD_MAP, &err), REBUS_FORMAT);
	assert_has(err.text, "2.safetensors: tensor c: data_offsets");
}

static void test_many_shards(void **state)
{
	(void)state;
	buf b;
	rebus_error err;
	buf_init(&b, NULL, 0);
	buf_text(&b, "{\"weight_map\":{");
	for (int i = 0; i < 1001; i++)
		buf_format(&b, "%s\"t%d\":\"s%d.safetensors\"", i ? "," : "", i, i);
	buf_text(&b, "}}");
	assert_int_equal(folder_open(b.data, LOAD_MAP, &err), REBUS_LIMIT);
	assert_has(err.text, "1001 files, expected 1 to 1000");
	buf_free(&b);
}

static void test_write(void **state)
{
	(void)state;
	static const uint8_t bytes[3] = {7, 8, 9};
	static const float numbers[6] = {1, 2, 3, 4, 5, 6};
	static const int64_t ids[2] = {-1, 1ll << 40};
	tensor_out list[] = {
		{.name = "bytes", .type = TENSOR_U8, .rank = 1, .shape = {3}, .data = bytes},
		{.name = "n\"\\\n\xc3\xa9", .type = TENSOR_F32, .rank = 2, .shape = {2, 3}, .data = numbers},
		{.name = "ids", .type = TENSOR_I64, .rank = 1, .shape = {2}, .data = ids},
		{.name = "one", .type = TENSOR_F32, .rank = 0, .data = numbers},
		{.name = "none", .type = TENSOR_F32, .rank = 2, .shape = {0, 5}},
	};
	rebus_error err;
	arena a;
	safetensors *s = NULL;
	arena_init(&a, NULL, 0);
	const char *path = scratch_path("model.safetensors");
	assert_int_equal(safetensors_write(path, list, COUNT_OF(list), &err), REBUS_OK);
	assert_int_equal(safetensors_open(&a, scratch_folder, LOAD_MAP, &s, &err), REBUS_OK);
	assert_int_equal(safetensors_count(s), COUNT_OF(list));
	for (size_t i = 0; i < COUNT_OF(list); i++) {
		const tensor_info *t = safetensors_find(s, list[i].name);
		assert_non_null(t);
		assert_int_equal(t->type, list[i].type);
		assert_int_equal(t->rank, list[i].rank);
		assert_memory_equal(t->shape, list[i].shape, sizeof t->shape);
		assert_int_equal((uintptr_t)t->data % ((size_t)tensor_type_bits(t->type) / 8), 0);
		if (t->size)
			assert_memory_equal(t->data, list[i].data, t->size);
	}
	safetensors_close(s);
	list[0].name = "ids";
	assert_int_equal(safetensors_write(path, list, COUNT_OF(list), &err), REBUS_MISUSE);
	assert_has(err.text, "given twice");
	list[0].name = "\xff";
	assert_int_equal(safetensors_write(path, list, COUNT_OF(list), &err), REBUS_MISUSE);
	list[0].name = "__metadata__";
	assert_int_equal(safetensors_write(path, list, COUNT_OF(list), &err), REBUS_MISUSE);
	list[0] = (tensor_out){.name = "x", .type = TENSOR_F4, .rank = 1, .shape = {2}, .data = bytes};
	assert_int_equal(safetensors_write(path, list, COUNT_OF(list), &err), REBUS_MISUSE);
	list[0] = (tensor_out){.name = "x", .type = TENSOR_F32, .rank = 2, .shape = {INT64_MAX, INT64_MAX}, .data = bytes};
	assert_int_equal(safetensors_write(path, list, COUNT_OF(list), &err), REBUS_MISUSE);
	assert_int_equal(safetensors_write(scratch_path("no/such/folder"), list + 1, 1, &err), REBUS_IO);
	assert_false(file_exists(scratch_path("model.safetensors.tmp")));
	assert_int_equal(safetensors_open(&a, path, LOAD_COPY, &s, &err), REBUS_OK); /* what was there is still whole */
	assert_int_equal(safetensors_count(s), COUNT_OF(list));
	safetensors_close(s);
	assert_int_equal(safetensors_write(path, NULL, 0, &err), REBUS_OK);
	assert_int_equal(safetensors_open(&a, path, LOAD_COPY, &s, &err), REBUS_OK);
	assert_int_equal(safetensors_count(s), 0);
	assert_null(safetensors_find(s, "x"));
	safetensors_close(s);
	arena_free(&a);
}

/* Allocation number n fails, for every n: an error each time, nothing lost. */
static struct {
	size_t left, held;
} torture;

static void *torture_get(void *user, size_t size)
{
	if (!torture.left)
		return NULL;
	torture.left--;
	torture.held += size;
	return base_allocator.alloc(user, size);
}

static void torture_give(void *user, void *memory, size_t size)
{
	torture.held -= size;
	base_allocator.free(user, memory, size);
}

static void test_no_memory(void **state)
{
	(void)state;
	static const rebus_allocator from = {NULL, torture_get, torture_give};
	static const char index[] = "{\"weight_map\":{\"a\":\"1.safetensors\"}}";
	scratch_write("model.safetensors.index.json", index, strlen(index));
	shard_write("1.safetensors", "{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 2, 4) "}", 4);
	rebus_status status = REBUS_MEMORY;
	unlink(scratch_path("model.safetensors"));
	for (size_t n = 0; status && n < 100; n++) {
		arena a;
		safetensors *s = NULL;
		torture.left = n;
		arena_init(&a, &from, 0);
		status = safetensors_open(&a, scratch_folder, LOAD_COPY, &s, NULL);
		assert_true(status == REBUS_OK || status == REBUS_MEMORY);
		safetensors_close(s);
		arena_free(&a);
		assert_int_equal(torture.held, 0);
	}
	assert_int_equal(status, REBUS_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images),
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_header_size),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test_setup_teardown(test_shards, scratch_begin, scratch_end),
		cmocka_unit_test_setup_teardown(test_many_shards, scratch_begin, scratch_end),
		cmocka_unit_test_setup_teardown(test_write, scratch_begin, scratch_end),
		cmocka_unit_test_setup_teardown(test_no_memory, scratch_begin, scratch_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
