/* tensors.c - rebus_tensors_* of rebus_lab.h. */
#include "lab/tensors.h"

#include <string.h>

#include "files/safetensors.h"

struct rebus_tensors {
	arena mem;
	rebus_tensor *at;
	size_t count, room;
	bool failed;
};

rebus_status tensors_new(const rebus_allocator *from, rebus_tensors **out, rebus_error *err)
{
	arena mem;
	arena_init(&mem, from, 0);
	rebus_tensors *t = arena_zero(&mem, 1, sizeof *t);
	if (!t) {
		arena_free(&mem);
		return error_memory(err, "tensors");
	}
	t->mem = mem;
	*out = t;
	return REBUS_OK;
}

static bool more_room(rebus_tensors *t)
{
	if (t->count < t->room)
		return true;
	size_t room = t->room ? 2 * t->room : 64;
	rebus_tensor *p = room <= TENSORS_MOST ? arena_get(&t->mem, room, sizeof *p) : NULL;
	if (!p)
		return false;
	if (t->count)
		memcpy(p, t->at, t->count * sizeof *p);
	t->at = p;
	t->room = room;
	return true;
}

void *tensors_add(rebus_tensors *t, const char *prefix, const char *name, rebus_dtype type, int32_t rank, const int64_t *shape)
{
	size_t n = type == REBUS_I64 ? sizeof(int64_t) : sizeof(float);
	bool fits = !t->failed && prefix && more_room(t);
	for (int32_t i = 0; i < rank; i++)
		fits = fits && size_mul(n, (size_t)shape[i], &n);
	char *full = fits ? arena_format(&t->mem, "%s%s", prefix, name) : NULL;
	void *data = full ? arena_get(&t->mem, n, 1) : NULL;
	if (!data) {
		t->failed = true;
		return NULL;
	}
	rebus_tensor *x = &t->at[t->count++];
	*x = (rebus_tensor){.name = full, .type = type, .rank = rank, .data = data};
	for (int32_t i = 0; i < rank; i++)
		x->shape[i] = shape[i];
	return data;
}

rebus_status tensors_check(const rebus_tensors *t, rebus_error *err)
{
	return t->failed ? error_memory(err, "tensors") : REBUS_OK;
}

void rebus_tensors_free(rebus_tensors *t)
{
	if (!t)
		return;
	arena mem = t->mem; /* the list lies in its own arena */
	arena_free(&mem);
}

size_t rebus_tensors_count(const rebus_tensors *t)
{
	return t->count;
}

rebus_tensor rebus_tensors_at(const rebus_tensors *t, size_t number)
{
	return t->at[number];
}

bool rebus_tensors_find(const rebus_tensors *t, const char *name, rebus_tensor *out)
{
	for (size_t i = 0; i < t->count; i++)
		if (!strcmp(t->at[i].name, name)) {
			*out = t->at[i];
			return true;
		}
	return false;
}

static rebus_status take_one(rebus_tensors *t, const tensor_info *x, rebus_error *err)
{
	bool whole = x->type == TENSOR_I64 || x->type == TENSOR_I32;
	if (!whole && x->type != TENSOR_F32)
		return error_set(err, REBUS_FORMAT, "%s: tensor %s: %s, expected F32, I64 or I32", x->file, x->name, x->type_text);
	void *to = tensors_add(t, "", x->name, whole ? REBUS_I64 : REBUS_F32, x->rank, x->shape);
	if (!to)
		return error_memory(err, "tensors");
	if (x->type == TENSOR_I32)
		for (size_t i = 0; i < x->size / sizeof(int32_t); i++) {
			int32_t v;
			memcpy(&v, (const char *)x->data + i * sizeof v, sizeof v);
			((int64_t *)to)[i] = v;
		}
	else if (x->size)
		memcpy(to, x->data, x->size);
	return REBUS_OK;
}

rebus_status rebus_tensors_load(const char *path, rebus_tensors **out, rebus_error *err)
{
	rebus_status status;
	arena a;
	safetensors *s = NULL;
	rebus_tensors *t = NULL;
	arena_init(&a, NULL, 0);
	TRY(safetensors_open(&a, path, LOAD_COPY, &s, err));
	TRY(tensors_new(NULL, &t, err));
	for (size_t i = 0; i < safetensors_count(s); i++)
		TRY(take_one(t, safetensors_at(s, i), err));
	*out = t;
	t = NULL;
done:
	rebus_tensors_free(t);
	safetensors_close(s);
	arena_free(&a);
	return status;
}

rebus_status rebus_tensors_save(const rebus_tensors *t, const char *path, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, t->mem.from, 0);
	tensor_out *list = arena_zero(&a, t->count, sizeof *list);
	if (!list) {
		status = error_memory(err, path);
		goto done;
	}
	for (size_t i = 0; i < t->count; i++) {
		list[i] = (tensor_out){.name = t->at[i].name, .type = t->at[i].type == REBUS_I64 ? TENSOR_I64 : TENSOR_F32,
			.rank = t->at[i].rank, .data = t->at[i].data};
		memcpy(list[i].shape, t->at[i].shape, sizeof list[i].shape);
	}
	status = safetensors_write(path, list, t->count, err);
done:
	arena_free(&a);
	return status;
}
