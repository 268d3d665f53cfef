/*
 * fuzz_gguf.c - any bytes as a GGUF file: its values and tensors, the configuration and names made of them, its tokenizer, and a
 * few values of every tensor, exact and as whole numbers with scales.
 *
 * The bytes are checked to be read only inside their range by the sanitizer; here it is checked that what was accepted makes
 * sense: data inside the file, sizes that follow from sides and type, numbers that are what their place says.
 */
#include "kernels/quant.h"
#include "models/gguf_model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static void look_at_values(const gguf *g)
{
	for (size_t i = 0; i < gguf_count(g); i++) {
		const gguf_value *v = gguf_at(g, i);
		int64_t whole;
		double real;
		bool flag;
		size_t n, sum = 0;
		check(v->key_size && (v->list || v->count == 1));
		for (uint64_t k = 0; k < v->count && k < 100; k++)
			if (gguf_int(v, k, &whole))
				check(gguf_real(v, k, &real) && real == (double)whole);
		check(!gguf_int(v, v->count, &whole) && !gguf_real(v, v->count, &real));
		gguf_flag(v, &flag);
		const char *s = gguf_text(v, &n);
		check(!s || n < v->size);
		gguf_texts it = gguf_each(v);
		while (gguf_next(&it))
			sum += it.size + 8;
		check(!sum || sum == v->size);
	}
}

static void look_at_tensor(const tensor_info *t, const uint8_t *data, size_t size)
{
	static const dtype types[] = {
#define X(name) DT_##name,
		TENSOR_BLOCK_LIST(X)
#undef X
	};
	check((const uint8_t *)t->data >= data && t->size <= (size_t)(data + size - (const uint8_t *)t->data));
	if (t->type < TENSOR_Q4_0)
		return;
	dtype type = types[t->type - TENSOR_Q4_0];
	int64_t n = int_min(t->shape[t->rank - 1], 4 * QUANT_BLOCK_MOST) / dtype_block(type) * dtype_block(type);
	float y[4 * QUANT_BLOCK_MOST], d[64], m[64];
	uint8_t q[4 * QUANT_BLOCK_MOST];
	check(n > 0 && dtype_bytes(type, n) <= t->size);
	quant_widen(type, n, t->data, y);
	quant_unpack(type, n, t->data, q);
	quant_scales(type, n, t->data, d, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rebus_model m = {.folder = "fuzz.gguf"};
	rebus_error err = {.code = REBUS_OK};
	arena_init(&m.mem, NULL, 256 << 20);
	rebus_status status = gguf_open_memory(&m.mem, data, size, "fuzz.gguf", &m.gguf, &err);
	check(status == err.code);
	if (!status) {
		look_at_values(m.gguf);
		for (const tensor_node *n = gguf_tensors(m.gguf)->first; n; n = n->next)
			look_at_tensor(&n->info, data, size);
		if (!gguf_model_config(&m, &err) && !gguf_model_weights(&m, &err))
			check(safetensors_count(m.weights) <= gguf_tensors(m.gguf)->count);
		if (text_gguf_exists(m.gguf) && !text_open_gguf(&m.mem, m.gguf, &m.words, &err)) {
			ids list;
			ids_init(&list, NULL, 0);
			text_encode(m.words, "a b\xE2\x96\x81 12", 9, true, &list, &err);
			ids_free(&list);
		}
	}
	text_close(m.words);
	safetensors_close(m.weights);
	json_free(m.config);
	arena_free(&m.mem);
	return 0;
}
