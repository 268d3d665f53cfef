/*
 * test_torch.c - files that torch.save wrote (fuzz/corpus/torch): tensors, views and parameters as they are; what would run code, is
 * compressed, cut or strided is refused with the reason.
 */
#include "scratch.h"

#include "files/torch_file.h"

#define CORPUS "fuzz/corpus/torch/"

static void test_plain(void **state)
{
	(void)state;
	static const char *const files[] = {CORPUS "plain.bin", CORPUS "proto4.bin", CORPUS "dict.bin"};
	static const size_t counts[] = {5, 1, 3};
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		arena a;
		safetensors *s = NULL;
		rebus_error err;
		arena_init(&a, NULL, 0);
		if (safetensors_open(&a, files[i], i ? LOAD_MAP : LOAD_COPY, &s, &err))
			fail_msg("%s: %s", files[i], err.text);
		assert_int_equal(safetensors_count(s), counts[i]);
		if (!i) {
			const tensor_info *x = safetensors_find(s, "a"), *c = safetensors_find(s, "c"), *e = safetensors_find(s, "e");
			assert_true(x && c && e && x->type == TENSOR_F32 && x->rank == 2 && x->shape[0] == 3 && x->shape[1] == 4);
			assert_true((const char *)e->data == (const char *)x->data + 16 && e->shape[0] == 1); /* a view of the same storage */
			for (int64_t k = 0; k < 6; k++)
				assert_memory_equal((const char *)c->data + 8 * k, &k, 8);
			assert_int_equal(safetensors_find(s, "b")->type, TENSOR_F16);
			assert_int_equal(safetensors_find(s, "d")->type, TENSOR_BF16);
		}
		safetensors_close(s);
		arena_free(&a);
	}
}

static void test_refused(void **state)
{
	(void)state;
	static const struct {
		const char *file, *text;
		rebus_status code;
	} bad[] = {
		{CORPUS "evil.bin", "names posix.system, expected tensors and nothing that could be run", REBUS_UNSUPPORTED},
		{CORPUS "cut.bin", "a zip without its directory", REBUS_FORMAT},
		{CORPUS "packed.bin", "is compressed", REBUS_FORMAT},
		{CORPUS "turned.bin", "do not follow one another", REBUS_UNSUPPORTED},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		arena a;
		safetensors *s = NULL;
		rebus_error err = {0};
		arena_init(&a, NULL, 0);
		assert_int_equal(safetensors_open(&a, bad[i].file, LOAD_MAP, &s, &err), bad[i].code);
		if (!strstr(err.text, bad[i].text))
			fail_msg("%s: \"%s\", expected \"%s\"", bad[i].file, err.text, bad[i].text);
		assert_null(s);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
