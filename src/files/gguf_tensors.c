/*
 * gguf_tensors.c - the list of tensors of a GGUF file, each checked by itself and all against each other; see gguf.h.
 *
 *   name | sides | type | offset  ─►  values ─► whole blocks a row ─► bytes ─► [begin, end) in the data section ─► no two overlap
 */
#include "files/gguf.h"
#include "kernels/quant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ggml's types by number: name, values and bytes of a block; those not computed with are TENSOR_UNKNOWN. */
#define BLOCKS(name) {#name, TENSOR_##name, QUANT_VALUES_##name, QUANT_BYTES_##name}
static const struct type_row {
	const char *name;
	tensor_type type;
	uint16_t block, bytes;
} types[] = {
	[0] = {"F32", TENSOR_F32, 1, 4}, [1] = {"F16", TENSOR_F16, 1, 2}, [2] = BLOCKS(Q4_0), [3] = BLOCKS(Q4_1),
	[6] = BLOCKS(Q5_0), [7] = BLOCKS(Q5_1), [8] = BLOCKS(Q8_0), [9] = {"Q8_1", 0, 32, 40},
	[10] = {"Q2_K", 0, 256, 84}, [11] = {"Q3_K", 0, 256, 110}, [12] = BLOCKS(Q4_K), [13] = BLOCKS(Q5_K),
	[14] = BLOCKS(Q6_K), [15] = {"Q8_K", 0, 256, 292}, [16] = {"IQ2_XXS", 0, 256, 66}, [17] = {"IQ2_XS", 0, 256, 74},
	[18] = {"IQ3_XXS", 0, 256, 98}, [19] = {"IQ1_S", 0, 256, 50}, [20] = {"IQ4_NL", 0, 32, 18}, [21] = {"IQ3_S", 0, 256, 110},
	[22] = {"IQ2_S", 0, 256, 82}, [23] = {"IQ4_XS", 0, 256, 136}, [24] = {"I8", TENSOR_I8, 1, 1}, [25] = {"I16", TENSOR_I16, 1, 2},
	[26] = {"I32", TENSOR_I32, 1, 4}, [27] = {"I64", TENSOR_I64, 1, 8}, [28] = {"F64", TENSOR_F64, 1, 8}, [29] = {"IQ1_M", 0, 256, 56},
	[30] = {"BF16", TENSOR_BF16, 1, 2}, [34] = {"TQ1_0", 0, 256, 54}, [35] = {"TQ2_0", 0, 256, 66}, [39] = {"MXFP4", 0, 32, 17},
	[40] = {"NVFP4", 0, 64, 36}, [41] = {"Q1_0", 0, 128, 18},
};

static rebus_status tensor_wrong(const gguf_cursor *c, const tensor_info *t, const char *what)
{
	return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: %s", c->shown, t->name, what);
}

/* Sides come innermost first. */
static rebus_status read_sides(gguf_cursor *c, tensor_info *t, size_t *values)
{
	uint64_t rank, side;
	if (!gguf_take(c, 4, &rank))
		return gguf_ends(c, "a tensor");
	if (rank < 1 || rank > GGUF_SIDES)
		return tensor_wrong(c, t, "expected 1 to 4 sides");
	t->rank = (int32_t)rank;
	*values = 1;
	for (int32_t i = t->rank; i-- > 0;) {
		if (!gguf_take(c, 8, &side))
			return gguf_ends(c, "a tensor");
		if (side < 1 || side > INT64_MAX || !size_mul(*values, (size_t)side, values) || *values > INT64_MAX)
			return tensor_wrong(c, t, "sides of 0, or that multiply to more than 2^63 - 1");
		t->shape[i] = (int64_t)side;
	}
	return REBUS_OK;
}

static rebus_status read_type(gguf_cursor *c, tensor_info *t, size_t values)
{
	uint64_t type;
	if (!gguf_take(c, 4, &type))
		return gguf_ends(c, "a tensor");
	if (type >= COUNT_OF(types) || !types[type].name)
		return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: type %" PRIu64 ", expected one of ggml's", c->shown, t->name, type);
	const struct type_row *r = &types[type];
	if (t->shape[t->rank - 1] % r->block)
		return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: rows of %" PRId64 " values, expected whole blocks of %d for %s", c->shown, t->name,
			t->shape[t->rank - 1], r->block, r->name);
	t->type = r->type;
	t->type_text = r->name;
	return size_mul(values / r->block, r->bytes, &t->size) ? REBUS_OK : tensor_wrong(c, t, "more bytes than can be counted");
}

static rebus_status read_tensor(arena *a, gguf_cursor *c, tensor_list *list, const char *file, size_t *offset)
{
	const char *name;
	size_t size, values;
	uint64_t at;
	rebus_status status;
	if (!gguf_take_text(c, &name, &size))
		return gguf_ends(c, "a tensor's name");
	if (!size || size > TENSOR_NAME || memchr(name, 0, size) || !utf8_valid(name, size))
		return error_set(c->err, REBUS_FORMAT, "%s: byte %zu: a tensor's name of %zu bytes, expected 1 to %d bytes of UTF-8 without NUL", c->shown,
			(size_t)((const uint8_t *)name - c->data), size, TENSOR_NAME);
	tensor_node *n = arena_zero(a, 1, sizeof *n + size + 1);
	if (!n)
		return error_memory(c->err, c->shown);
	memcpy(n->name, name, size);
	n->info.name = n->name;
	n->info.file = file;
	n->info.number = (uint32_t)list->count;
	TRY(read_sides(c, &n->info, &values));
	TRY(read_type(c, &n->info, values));
	if (!gguf_take(c, 8, &at))
		return gguf_ends(c, "a tensor");
	*offset = (size_t)at;
	*(list->last ? &list->last->next : &list->first) = n;
	list->last = n;
	list->count++;
done:
	return status;
}

static int place_order(const void *x, const void *y)
{
	const tensor_info *a = *(const tensor_info *const *)x, *b = *(const tensor_info *const *)y;
	uintptr_t p = (uintptr_t)a->data, q = (uintptr_t)b->data;
	return p < q ? -1 : p > q;
}

static rebus_status check_overlap(arena *a, const gguf_cursor *c, const tensor_list *list)
{
	rebus_status status = REBUS_OK;
	arena_mark mark = arena_here(a);
	size_t i = 0;
	const tensor_info **by_place = arena_get(a, list->count + 1, sizeof *by_place);
	if (!by_place)
		return error_memory(c->err, c->shown);
	for (const tensor_node *n = list->first; n; n = n->next)
		by_place[i++] = &n->info;
	qsort(by_place, list->count, sizeof *by_place, place_order);
	for (i = 1; i < list->count && !status; i++)
		if ((const uint8_t *)by_place[i - 1]->data + by_place[i - 1]->size > (const uint8_t *)by_place[i]->data)
			status = error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: overlaps %.80s", c->shown, by_place[i]->name, by_place[i - 1]->name);
	arena_release(a, mark);
	return status;
}

rebus_status gguf_read_tensors(arena *a, gguf_cursor *c, uint64_t count, size_t alignment, const char *file, tensor_list *out)
{
	rebus_status status = REBUS_OK;
	tensor_list list = {.count = 0};
	size_t *offset = arena_get(a, (size_t)count + 1, sizeof *offset), i = 0;
	if (!offset)
		return error_memory(c->err, c->shown);
	while (i < count) {
		TRY(read_tensor(a, c, &list, file, &offset[i]));
		i++;
	}
	size_t head = (size_t)(c->at - c->data), all = (size_t)(c->end - c->data), begin = head + (alignment - head % alignment) % alignment;
	size_t section = begin > all ? 0 : all - begin;
	i = 0;
	for (tensor_node *n = list.first; n; n = n->next, i++) {
		if (offset[i] % alignment)
			return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: offset %zu, expected a multiple of %zu", c->shown, n->name, offset[i], alignment);
		if (offset[i] > section || n->info.size > section - offset[i])
			return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: %zu bytes at offset %zu, expected to lie in the %zu bytes of data", c->shown, n->name,
				n->info.size, offset[i], section);
		n->info.data = c->data + begin + offset[i];
	}
	TRY(check_overlap(a, c, &list));
	*out = list;
done:
	return status;
}
