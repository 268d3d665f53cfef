/*
 * fuzz_torch.c - a pickle, put into a zip as torch.save would, or any bytes that begin as a zip: what is accepted lies inside the file.
 *
 * The first byte says which: 'P': the rest is data.pkl, beside storages "0" and "1" of 256 bytes; else the bytes are the file.
 */
#include "files/torch_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(buf *b, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++, v >>= 8)
		buf_add(b, (const char[]){(char)v}, 1);
}

static const char *const names[] = {"a/data.pkl", "a/data/0", "a/data/1"};

/* Stored entries, without check sums, which are not looked at. */
static void zip(buf *b, const uint8_t *pickle, size_t size)
{
	static const uint8_t storage[256];
	const uint8_t *bytes[] = {pickle, storage, storage};
	size_t sizes[] = {size, sizeof storage, sizeof storage}, at[3], begin;
	for (int i = 0; i < 3; i++) {
		at[i] = b->size;
		buf_add(b, "PK\3\4", 4);
		put(b, 0, 10);
		put(b, 0, 4);
		put(b, sizes[i], 4);
		put(b, sizes[i], 4);
		put(b, strlen(names[i]), 2);
		put(b, 0, 2);
		buf_add(b, names[i], strlen(names[i]));
		buf_add(b, (const char *)bytes[i], sizes[i]);
	}
	begin = b->size;
	for (int i = 0; i < 3; i++) {
		buf_add(b, "PK\1\2", 4);
		put(b, 0, 8);
		put(b, 0, 4);
		put(b, 0, 4);
		put(b, sizes[i], 4);
		put(b, sizes[i], 4);
		put(b, strlen(names[i]), 2);
		put(b, 0, 12);
		put(b, at[i], 4);
		buf_add(b, names[i], strlen(names[i]));
	}
	size_t directory = b->size - begin;
	buf_add(b, "PK\5\6", 4);
	put(b, 0, 8);
	put(b, directory, 4);
	put(b, begin, 4);
	put(b, 0, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	arena a;
	buf b;
	safetensors *s = NULL;
	rebus_error err = {.code = REBUS_OK};
	arena_init(&a, NULL, 64 << 20);
	buf_init(&b, NULL, 0);
	if (size && data[0] == 'P')
		zip(&b, data + 1, size - 1);
	const uint8_t *file = b.size ? (const uint8_t *)b.data : data;
	size_t n = b.size ? b.size : size;
	if (!safetensors_open_memory(&a, file, n, "fuzz", &s, &err))
		for (size_t i = 0; i < safetensors_count(s); i++) {
			const tensor_info *t = safetensors_at(s, i);
			const uint8_t *at = t->data;
			if (safetensors_find(s, t->name) != t || at < file || t->size > (size_t)(file + n - at))
				abort();
		}
	safetensors_close(s);
	buf_free(&b);
	arena_free(&a);
	return 0;
}
