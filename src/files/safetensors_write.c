/*
 * safetensors_write.c - writes a list of tensors as one safetensors file; the format is in safetensors.h.
 *
 *   pass over 64, 32, 16, 8 bits an element: name, dtype, shape, running offset ─► header, padded to 8 bytes ─► file
 *   the same passes again: the data
 *
 * Because the largest elements come first and the header ends on a multiple of 8, each tensor is aligned to its element.
 */
#include "files/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const int widths[] = {64, 32, 16, 8};

static int by_name(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static rebus_status bytes_of(const tensor_out *t, size_t *out, rebus_error *err)
{
	size_t n = (size_t)tensor_type_bits(t->type) / 8;
	bool fits = t->rank >= 0 && t->rank <= TENSOR_RANK && n && tensor_type_bits(t->type) % 8 == 0;
	for (int32_t i = 0; fits && i < t->rank; i++)
		fits = t->shape[i] >= 0 && size_mul(n, (size_t)t->shape[i], &n);
	if (!fits || (n && !t->data))
		return error_set(err, REBUS_MISUSE, "tensor %.80s: cannot be written, expected whole bytes, 0 to %d sides and data",
		                 t->name, TENSOR_RANK);
	*out = n;
	return REBUS_OK;
}

static rebus_status names_check(const tensor_out *list, size_t count, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena scratch;
	arena_init(&scratch, NULL, 0);
	const char **names = arena_get(&scratch, count, sizeof *names);
	if (!names) {
		status = error_memory(err, "tensor names");
		goto done;
	}
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(list[i].name);
		names[i] = list[i].name;
		if (n > TENSOR_NAME || !utf8_valid(names[i], n) || !strcmp(names[i], "__metadata__")) {
			status = error_set(err, REBUS_MISUSE, "tensor %.80s: cannot be written, expected a name of at most %d bytes of UTF-8",
			                   names[i], TENSOR_NAME);
			goto done;
		}
	}
	qsort(names, count, sizeof *names, by_name);
	for (size_t i = 1; i < count; i++)
		if (!strcmp(names[i], names[i - 1])) {
			status = error_set(err, REBUS_MISUSE, "tensor %.80s: given twice, expected names that differ", names[i]);
			goto done;
		}
done:
	arena_free(&scratch);
	return status;
}

static rebus_status header_make(buf *b, const tensor_out *list, size_t count, rebus_error *err)
{
	size_t offset = 0;
	buf_text(b, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t w = 0; w < COUNT_OF(widths); w++)
		for (size_t i = 0; i < count; i++) {
			const tensor_out *t = &list[i];
			size_t bytes, end;
			if (tensor_type_bits(t->type) != widths[w])
				continue;
			rebus_status status = bytes_of(t, &bytes, err);
			if (status)
				return status;
			if (!size_add(offset, bytes, &end))
				return error_set(err, REBUS_LIMIT, "tensor %.80s: the file would be larger than memory can address", t->name);
			buf_byte(b, ',');
			buf_json(b, t->name, strlen(t->name));
			buf_format(b, ":{\"dtype\":\"%s\",\"shape\":[", tensor_type_name(t->type));
			for (int32_t k = 0; k < t->rank; k++)
				buf_format(b, "%s%" PRId64, k ? "," : "", t->shape[k]);
			buf_format(b, "],\"data_offsets\":[%zu,%zu]}", offset, end);
			offset = end;
		}
	buf_byte(b, '}');
	while (!b->failed && b->size % 8)
		buf_byte(b, ' ');
	return buf_check(b, err, "the header");
}

rebus_status safetensors_write(const char *path, const tensor_out *list, size_t count, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	file_out f = {.fd = -1};
	buf header;
	uint8_t length[8];
	size_t bytes;
	buf_init(&header, NULL, 100000000);
	if (count > TENSOR_MOST) {
		status = error_set(err, REBUS_LIMIT, "%zu tensors, expected at most %d in a file", count, TENSOR_MOST);
		goto done;
	}
	for (size_t i = 0; i < count; i++) /* types that no pass below would meet */
		TRY(bytes_of(&list[i], &bytes, err));
	TRY(names_check(list, count, err));
	TRY(header_make(&header, list, count, err));
	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t)((uint64_t)header.size >> 8 * i);
	TRY(file_create(&f, path, err));
	TRY(file_write(&f, length, sizeof length, err));
	TRY(file_write(&f, header.data, header.size, err));
	for (size_t w = 0; w < COUNT_OF(widths); w++)
		for (size_t i = 0; i < count; i++)
			if (tensor_type_bits(list[i].type) == widths[w]) {
				TRY(bytes_of(&list[i], &bytes, err));
				TRY(file_write(&f, list[i].data, bytes, err));
			}
	TRY(file_commit(&f, err));
done:
	file_discard(&f);
	buf_free(&header);
	return status;
}
