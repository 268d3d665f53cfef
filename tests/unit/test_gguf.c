/*
 * test_gguf.c - GGUF files: blocks against the reference's (data/quant.safetensors), files that are right, and files that are
 * wrong in one way each, after the holes that readers of this format have had: counts, lengths, sides and offsets that overflow
 * or claim more than there is.
 */
#include "scratch.h"

#include "files/gguf.h"
#include "kernels/quant.h"

/* ------------------------------------------------------------------------------------------------ blocks */
static const struct {
	const char *name;
	dtype type;
	bool made;
} kinds[] = {{"Q4_0", DT_Q4_0, true}, {"Q4_1", DT_Q4_1, true}, {"Q5_0", DT_Q5_0, true}, {"Q5_1", DT_Q5_1, true}, {"Q8_0", DT_Q8_0, true},
	{"Q4_K", DT_Q4_K, false}, {"Q5_K", DT_Q5_K, false}, {"Q6_K", DT_Q6_K, false}};

static const tensor_info *part(const safetensors *s, const char *kind, const char *what)
{
	char name[64];
	snprintf(name, sizeof name, "%s.%s", kind, what);
	const tensor_info *t = safetensors_find(s, name);
	assert_non_null(t);
	return t;
}

static safetensors *open_blocks(arena *a)
{
	safetensors *s;
	rebus_error err;
	arena_init(a, NULL, 0);
	assert_int_equal(safetensors_open(a, "tests/unit/data/quant.safetensors", LOAD_COPY, &s, &err), 0);
	return s;
}

static void test_blocks(void **state)
{
	(void)state;
	arena a;
	safetensors *s = open_blocks(&a);
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		const tensor_info *blocks = part(s, kinds[k].name, "blocks"), *widened = part(s, kinds[k].name, "widened");
		int64_t n = widened->shape[0];
		float y[1024], d[64], m[64];
		uint8_t q[1024];
		assert_true(n <= 1024 && dtype_bytes(kinds[k].type, n) == blocks->size);
		quant_widen(kinds[k].type, n, blocks->data, y);
		assert_memory_equal(y, widened->data, (size_t)n * 4);
		float some[300];
		quant_widen(kinds[k].type, 300, blocks->data, some);
		assert_memory_equal(some, widened->data, sizeof some);
		quant_unpack(kinds[k].type, n, blocks->data, q);
		quant_scales(kinds[k].type, n, blocks->data, d, m);
		for (int64_t i = 0; i < n; i++) {
			int64_t g = i / quant_group(kinds[k].type);
			float x = d[g] * (float)q[i] + m[g], most = (d[g] < 0 ? -d[g] : d[g]) * 255 + (m[g] < 0 ? -m[g] : m[g]);
			assert_true(y[i] - x <= most * 2e-7f && x - y[i] <= most * 2e-7f);
		}
	}
	safetensors_close(s);
	arena_free(&a);
}

static void test_made(void **state)
{
	(void)state;
	arena a;
	safetensors *s = open_blocks(&a);
	for (size_t k = 0; k < COUNT_OF(kinds); k++) {
		uint8_t made[1024];
		if (!kinds[k].made) {
			assert_false(quant_make(kinds[k].type, 256, part(s, kinds[k].name, "widened")->data, made));
			continue;
		}
		const tensor_info *values = part(s, kinds[k].name, "values"), *blocks = part(s, kinds[k].name, "blocks");
		assert_true(blocks->size <= sizeof made);
		assert_true(quant_make(kinds[k].type, values->shape[0], values->data, made));
		assert_memory_equal(made, blocks->data, blocks->size);
	}
	const float odd[32] = {[0] = 1.0f / 0.0f, [1] = 0.0f / 0.0f, [2] = 1e38f, [3] = -1e38f};
	uint8_t made[34];
	for (size_t k = 0; k < 5; k++)
		assert_true(quant_make(kinds[k].type, 32, odd, made)); /* any bytes, but nothing undefined */
	safetensors_close(s);
	arena_free(&a);
}

/* Every f16 comes back; what lies between two goes to the nearer, halves to the even one. */
static void test_halves(void **state)
{
	(void)state;
	for (uint32_t h = 0; h < 65536; h++) {
		float x = dtype_half((uint16_t)h);
		if (x != x)
			continue;
		assert_int_equal(dtype_to_half(x), h);
		float next = dtype_half((uint16_t)(h + 1));
		if ((h & 0x7FFF) >= 0x7BFF)
			continue;
		float middle = (x + next) / 2;
		assert_int_equal(dtype_to_half(middle), h & 1 ? h + 1 : h);
		assert_int_equal(dtype_to_half(middle + (x - middle) / 4), h);
		assert_int_equal(dtype_to_half(middle + (next - middle) / 4), h + 1);
	}
	assert_int_equal(dtype_to_half(65519.0f), 0x7BFF);
	assert_int_equal(dtype_to_half(65520.0f), 0x7C00);
	assert_int_equal(dtype_to_half(-1e30f), 0xFC00);
	assert_int_equal(dtype_to_half(1e-30f), 0);
}

/* ------------------------------------------------------------------------------------------------ files */
/* A file put together piece by piece: put("u4", 3) and so on. */
static uint8_t image[8192];
static size_t image_size;

static void put(size_t bytes, uint64_t x)
{
	for (size_t i = 0; i < bytes; i++)
		image[image_size++] = (uint8_t)(x >> 8 * i);
}

static void put_text(const char *s)
{
	put(8, strlen(s));
	memcpy(image + image_size, s, strlen(s));
	image_size += strlen(s);
}

static void head(uint64_t version, uint64_t tensors, uint64_t values)
{
	image_size = 0;
	memcpy(image, "GGUF", 4);
	image_size = 4;
	put(4, version);
	put(8, tensors);
	put(8, values);
}

static void tensor(const char *name, uint64_t sides, uint64_t a, uint64_t b, uint64_t type, uint64_t offset)
{
	put_text(name);
	put(4, sides);
	put(8, a);
	if (sides > 1)
		put(8, b);
	put(4, type);
	put(8, offset);
}

static void data(size_t size)
{
	while (image_size % 32)
		put(1, 0);
	memset(image + image_size, 7, size);
	image_size += size;
}

static void good_file(void)
{
	head(3, 2, 5);
	put_text("general.architecture"), put(4, 8), put_text("llama");
	put_text("llama.block_count"), put(4, 4), put(4, 7);
	put_text("list"), put(4, 9), put(4, 8), put(8, 3), put_text("a"), put_text(""), put_text("bcd");
	put_text("less"), put(4, 5), put(4, (uint64_t)-5);
	put_text("yes"), put(4, 7), put(1, 1);
	tensor("x", 2, 64, 3, 2, 0);
	tensor("y", 1, 4, 0, 0, 128);
	data(144);
}

static rebus_status open_image(arena *a, size_t size, gguf **g, rebus_error *err)
{
	uint8_t *exact = malloc(size ? size : 1); /* its own block, so that a sanitizer sees its end */
	assert_non_null(exact);
	memcpy(exact, image, size);
	rebus_status status = gguf_open_memory(a, exact, size, "t.gguf", g, err);
	if (status) {
		assert_int_equal(status, err->code);
		assert_true(strlen(err->text) > 10 && !strchr(err->text, '\n'));
		free(exact);
	}
	return status;
}

static void test_good(void **state)
{
	(void)state;
	arena a;
	gguf *g;
	rebus_error err;
	arena_init(&a, NULL, 0);
	good_file();
	scratch_write("t.gguf", image, image_size);
	for (int load = LOAD_MAP; load <= LOAD_COPY; load++) {
		assert_int_equal(gguf_open(&a, scratch_path("t.gguf"), (safetensors_load)load, &g, &err), 0);
		int64_t x;
		double r;
		bool flag;
		size_t n;
		assert_true(gguf_int(gguf_find(g, "llama.block_count"), 0, &x) && x == 7);
		assert_true(gguf_int(gguf_find(g, "less"), 0, &x) && x == -5);
		assert_true(gguf_real(gguf_find(g, "less"), 0, &r) && r == -5);
		assert_true(gguf_flag(gguf_find(g, "yes"), &flag) && flag);
		assert_true(!gguf_int(gguf_find(g, "yes"), 0, &x) && !gguf_int(gguf_find(g, "less"), 1, &x));
		assert_true(!gguf_find(g, "les") && !gguf_find(g, "lesser"));
		const char *s = gguf_text(gguf_find(g, "general.architecture"), &n);
		assert_true(s && n == 5 && !memcmp(s, "llama", 5) && !gguf_text(gguf_find(g, "list"), &n));
		gguf_texts it = gguf_each(gguf_find(g, "list"));
		assert_true(gguf_next(&it) && it.size == 1 && gguf_next(&it) && !it.size && gguf_next(&it) && it.size == 3 && !memcmp(it.text, "bcd", 3));
		assert_false(gguf_next(&it));
		assert_int_equal(gguf_count(g), 5);
		const tensor_list *list = gguf_tensors(g);
		const tensor_info *t = &list->first->info, *y = &list->first->next->info;
		assert_true(list->count == 2 && t->type == TENSOR_Q4_0 && t->rank == 2 && t->shape[0] == 3 && t->shape[1] == 64 && t->size == 108);
		assert_true(y->type == TENSOR_F32 && y->size == 16 && (const char *)y->data == (const char *)t->data + 128);
		safetensors *w;
		assert_int_equal(safetensors_open_list(&a, list, "t.gguf", &w, &err), 0);
		assert_ptr_equal(safetensors_find(w, "y"), y);
		gguf_close(g);
	}
	arena_free(&a);
}

/* Cut anywhere, it is refused; only the padding before the data may miss its tensors. */
static void test_cut(void **state)
{
	(void)state;
	arena a;
	gguf *g;
	rebus_error err;
	arena_init(&a, NULL, 0);
	good_file();
	for (size_t n = 0; n < image_size; n++) {
		if (!open_image(&a, n, &g, &err))
			fail_msg("accepted with %zu of %zu bytes", n, image_size);
		arena_free(&a);
	}
}

typedef void builder(void);
static void bad_magic(void) { good_file(), image[3] = 'f'; }
static void bad_version(void) { good_file(), image[4] = 1; }
static void bad_endian(void) { good_file(), image[4] = 0, image[7] = 3; }
static void tensors_many(void) { head(3, (uint64_t)-1, 0), data(64); }
static void tensors_claim(void) { head(3, 1000, 0), data(64); }
static void values_many(void) { head(3, 0, (uint64_t)-1), data(64); }
static void values_claim(void) { head(3, 0, 100), data(64); }
static void key_long(void) { head(3, 0, 1), put(8, (uint64_t)-1), data(64); }
static void key_empty(void) { head(3, 0, 1), put_text(""), put(4, 4), put(4, 0), data(64); }
static void key_nul(void) { head(3, 0, 1), put(8, 3), put(1, 'a'), put(1, 0), put(1, 'b'), put(4, 4), put(4, 0), data(64); }
static void key_bytes(void) { head(3, 0, 1), put_text("\xff\xfe"), put(4, 4), put(4, 0), data(64); }
static void key_twice(void) { head(3, 0, 2), put_text("k"), put(4, 4), put(4, 0), put_text("k"), put(4, 4), put(4, 0), data(64); }
static void kind_unknown(void) { head(3, 0, 1), put_text("k"), put(4, 13), put(4, 0), data(64); }
static void list_of_lists(void) { head(3, 0, 1), put_text("k"), put(4, 9), put(4, 9), put(8, 1), data(64); }
static void list_claims(void) { head(3, 0, 1), put_text("k"), put(4, 9), put(4, 4), put(8, 100), data(64); }
static void list_overflows(void) { head(3, 0, 1), put_text("k"), put(4, 9), put(4, 10), put(8, (uint64_t)1 << 61), data(64); }
static void list_of_texts(void) { head(3, 0, 1), put_text("k"), put(4, 9), put(4, 8), put(8, (uint64_t)-1), data(64); }
static void text_claims(void) { head(3, 0, 1), put_text("k"), put(4, 8), put(8, (uint64_t)-8), data(64); }
static void alignment_odd(void) { head(3, 0, 1), put_text("general.alignment"), put(4, 4), put(4, 48), data(64); }
static void alignment_zero(void) { head(3, 0, 1), put_text("general.alignment"), put(4, 4), put(4, 0), data(64); }
static void alignment_large(void) { head(3, 0, 1), put_text("general.alignment"), put(4, 10), put(8, (uint64_t)1 << 63), data(64); }
static void alignment_text(void) { head(3, 0, 1), put_text("general.alignment"), put(4, 8), put_text("32"), data(64); }
static void sides_none(void) { head(3, 1, 0), tensor("x", 0, 0, 0, 0, 0), data(64); }
static void sides_five(void) { head(3, 1, 0), put_text("x"), put(4, 5), data(256); }
static void sides_many(void) { head(3, 1, 0), put_text("x"), put(4, 0xFFFFFFFF), data(256); }
static void side_zero(void) { head(3, 1, 0), tensor("x", 2, 4, 0, 0, 0), data(64); }
static void sides_overflow(void) { head(3, 1, 0), tensor("x", 2, (uint64_t)1 << 32, (uint64_t)1 << 32, 0, 0), data(64); }
static void sides_negative(void) { head(3, 1, 0), tensor("x", 1, (uint64_t)-4, 0, 0, 0), data(64); }
static void bytes_overflow(void) { head(3, 1, 0), tensor("x", 1, (uint64_t)1 << 62, 0, 0, 0), data(64); }
static void type_unknown(void) { head(3, 1, 0), tensor("x", 1, 4, 0, 4, 0), data(64); }
static void type_large(void) { head(3, 1, 0), tensor("x", 1, 4, 0, 0xFFFFFFFF, 0), data(64); }
static void block_part(void) { head(3, 1, 0), tensor("x", 2, 48, 2, 2, 0), data(64); }
static void offset_odd(void) { head(3, 1, 0), tensor("x", 1, 4, 0, 0, 16), data(64); }
static void offset_large(void) { head(3, 1, 0), tensor("x", 1, 4, 0, 0, (uint64_t)-32), data(64); }
static void offset_end(void) { head(3, 1, 0), tensor("x", 1, 16, 0, 0, 32), data(64); }
static void overlap(void) { head(3, 2, 0), tensor("x", 1, 16, 0, 0, 0), tensor("y", 1, 4, 0, 0, 32), data(64); }
static void same_place(void) { head(3, 2, 0), tensor("x", 1, 4, 0, 0, 0), tensor("y", 1, 4, 0, 0, 0), data(64); }
static void name_empty(void) { head(3, 1, 0), tensor("", 1, 4, 0, 0, 0), data(64); }
static void name_long(void) { head(3, 1, 0), put(8, (uint64_t)1 << 40), data(64); }
static void no_data(void) { head(3, 1, 0), tensor("x", 1, 4, 0, 0, 0); }

static const struct {
	builder *build;
	const char *says;
} wrong[] = {
	{bad_magic, "no GGUF file"}, {bad_version, "version 1, expected 2 or 3"}, {bad_endian, "in big endian"}, {tensors_many, "tensors, expected at most"},
	{tensors_claim, "1000 tensors"}, {values_many, "values, expected at most"}, {values_claim, "100 values"}, {key_long, "a key: goes beyond"},
	{key_empty, "a key of 0 bytes"}, {key_nul, "without NUL"}, {key_bytes, "of UTF-8"}, {key_twice, "value k: occurs twice"},
	{kind_unknown, "of unknown kind"}, {list_of_lists, "a list of lists"}, {list_claims, "claims more"}, {list_overflows, "claims more"},
	{list_of_texts, "claims more"}, {text_claims, "claims more"}, {alignment_odd, "a power of two"}, {alignment_zero, "a power of two"},
	{alignment_large, "a power of two"}, {alignment_text, "a power of two"}, {sides_none, "1 to 4 sides"}, {sides_five, "1 to 4 sides"},
	{sides_many, "1 to 4 sides"}, {side_zero, "sides of 0"}, {sides_overflow, "multiply to more"}, {sides_negative, "sides of 0, or"},
	{bytes_overflow, "more bytes than"}, {type_unknown, "type 4, expected one of ggml's"}, {type_large, "expected one of ggml's"},
	{block_part, "whole blocks of 32 for Q4_0"}, {offset_odd, "a multiple of 32"}, {offset_large, "expected to lie in"}, {offset_end, "expected to lie in"},
	{overlap, "tensor y: overlaps x"}, {same_place, "overlaps"}, {name_empty, "name of 0 bytes"}, {name_long, "name: goes beyond"},
	{no_data, "expected to lie in the 0 bytes"},
};

static void test_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		arena a;
		gguf *g = NULL;
		rebus_error err = {0};
		arena_init(&a, NULL, 1 << 20);
		wrong[i].build();
		if (!open_image(&a, image_size, &g, &err))
			fail_msg("case %zu: accepted, expected \"%s\"", i, wrong[i].says);
		if (!strstr(err.text, wrong[i].says))
			fail_msg("case %zu: \"%s\", expected \"%s\"", i, err.text, wrong[i].says);
		assert_null(g);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks), cmocka_unit_test(test_made), cmocka_unit_test(test_halves), cmocka_unit_test(test_good), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_wrong),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
