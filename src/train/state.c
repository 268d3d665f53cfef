/*
 * state.c - what resuming needs, in one safetensors file that is there whole or not at all.
 *
 *   OUT/state.safetensors   about            the recipe's line, as bytes
 *                           position         I64: steps done, samples skipped, step of the best evaluation, evaluations since
 *                           best             F64: its score
 *                           value.NAME, moment1.NAME, moment2.NAME, average.NAME    F32, of each trained tensor
 *
 * Everything else follows from the recipe and the number of steps, so a run that was stopped at any moment goes on from here
 * and ends with the same bits as one that was not.
 */
#include <string.h>

#include "files/safetensors.h"
#include "train/trainer.h"

enum { POSITION = 4 };

static const char *path_of(const trainer *t, arena *a)
{
	return arena_format(a, "%s/state.safetensors", t->r->out);
}

/* The arrays of one parameter by kind; NULL where the run keeps none. */
static float *kept(const parameter *p, int kind)
{
	float *const arrays[] = {p->value, p->moment1, p->moment2, p->average};
	return p->frozen ? NULL : arrays[kind];
}
static const char *const kinds[] = {"value", "moment1", "moment2", "average"};

rebus_status state_save(trainer *t, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, NULL, 0);
	size_t count = 0;
	int64_t position[POSITION] = {t->number, t->skipped, t->best_at, t->worse};
	const char *path = path_of(t, &a);
	tensor_out *list = arena_zero(&a, 4 * (size_t)t->list.count + 3, sizeof *list);
	if (!path || !list) {
		status = error_memory(err, "a state");
		goto done;
	}
	list[count++] = (tensor_out){"about", TENSOR_U8, 1, {(int64_t)strlen(t->about)}, t->about};
	list[count++] = (tensor_out){"position", TENSOR_I64, 1, {POSITION}, position};
	list[count++] = (tensor_out){"best", TENSOR_F64, 1, {1}, &t->best};
	for (int32_t i = 0; i < t->list.count; i++)
		for (size_t k = 0; k < COUNT_OF(kinds); k++) {
			const parameter *p = &t->list.at[i];
			if (!kept(p, (int)k))
				continue;
			list[count] = (tensor_out){arena_format(&a, "%s.%s", kinds[k], p->name), TENSOR_F32, 1, {p->count}, kept(p, (int)k)};
			if (!list[count++].name) {
				status = error_memory(err, "a state");
				goto done;
			}
		}
	TRY(safetensors_write(path, list, count, err));
done:
	arena_free(&a);
	return status;
}

static rebus_status take(const safetensors *s, const char *path, const char *name, tensor_type type, void *to, int64_t count, rebus_error *err)
{
	const tensor_info *x = safetensors_find(s, name);
	if (!x || x->type != type || x->rank != 1 || x->shape[0] != count)
		return error_set(err, REBUS_FORMAT, "%s: %.100s: missing or of another shape; remove the file to begin anew", path, name);
	memcpy(to, x->data, x->size);
	return REBUS_OK;
}

static rebus_status read_state(trainer *t, const char *path, const safetensors *s, arena *a, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	int64_t position[POSITION];
	const tensor_info *about = safetensors_find(s, "about");
	if (!about || about->size != strlen(t->about) || memcmp(about->data, t->about, about->size)) {
		status = error_set(err, REBUS_MISUSE, "%s: is of another recipe; give another folder, or remove the file to begin anew", path);
		goto done;
	}
	TRY(take(s, path, "position", TENSOR_I64, position, POSITION, err));
	TRY(take(s, path, "best", TENSOR_F64, &t->best, 1, err));
	for (int32_t i = 0; i < t->list.count; i++)
		for (size_t k = 0; k < COUNT_OF(kinds); k++) {
			const parameter *p = &t->list.at[i];
			const char *name = kept(p, (int)k) ? arena_format(a, "%s.%s", kinds[k], p->name) : "";
			if (!name) {
				status = error_memory(err, "a state");
				goto done;
			}
			if (*name)
				TRY(take(s, path, name, TENSOR_F32, kept(p, (int)k), p->count, err));
		}
	t->number = position[0];
	t->skipped = position[1];
	t->best_at = position[2];
	t->worse = position[3];
done:
	return status;
}

rebus_status state_load(trainer *t, bool *found, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	safetensors *s = NULL;
	arena a;
	arena_init(&a, NULL, 0);
	const char *path = path_of(t, &a);
	if (!path)
		status = error_memory(err, "a state");
	*found = path && file_exists(path);
	if (*found) {
		TRY(safetensors_open(&a, path, LOAD_MAP, &s, err));
		TRY(read_state(t, path, s, &a, err));
	}
done:
	safetensors_close(s);
	arena_free(&a);
	return status;
}
