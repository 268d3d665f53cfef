/* loader.c - see loader.h. */
#include "train/loader.h"

#include <string.h>

#include "train/augment.h"
#include "train/crew.h"

rebus_status loader_open(loader *l, const rebus_model *m, const recipe *r, const samples *set, const rebus_runner *team, bool training, arena *a,
                         rebus_error *err)
{
	*l = (loader){.m = m, .r = r, .set = set, .team = team, .shuffled = -1, .augments = training};
	if (set->count > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%s: %lld samples, at most %d", set->name, (long long)set->count, INT32_MAX / 4);
	l->members = arena_zero(a, (size_t)team->threads, sizeof *l->members);
	l->order = training ? arena_get(a, (size_t)set->count, sizeof *l->order) : NULL;
	if (!l->members || (training && !l->order))
		return error_memory(err, "samples");
	for (int i = 0; i < team->threads; i++)
		arena_init(&l->members[i], m->mem.from, 0);
	return REBUS_OK;
}

void loader_close(loader *l)
{
	for (int i = 0; l->members && i < l->team->threads; i++)
		arena_free(&l->members[i]);
}

/* Fisher and Yates, drawn by seed and epoch. */
static void shuffle(loader *l, int64_t epoch)
{
	if (!l->order || l->shuffled == epoch)
		return;
	for (int64_t i = 0; i < l->set->count; i++)
		l->order[i] = (int32_t)i;
	for (int64_t i = l->set->count - 1; i > 0; i--) {
		int64_t k = (int64_t)(random_unit((uint64_t)l->r->seed, RANDOM_ORDER, (uint64_t)epoch, (uint64_t)i) * (double)(i + 1));
		int32_t t = l->order[i];
		l->order[i] = l->order[k];
		l->order[k] = t;
	}
	l->shuffled = epoch;
}

typedef struct reading {
	loader *l;
	int64_t epoch, first;
	grid_picture *pictures; /* [count] */
	int32_t *labels;
	rebus_status *status;
	rebus_error *errors;
} reading;

static rebus_status read_one(const reading *x, int64_t number, arena *a, grid_picture *out, int32_t *label, rebus_error *err)
{
	const loader *l = x->l;
	sample s;
	rebus_status status = l->set->get(l->set, number, a, &s, err);
	if (!status && l->augments)
		status = augment_picture(l->r, (uint64_t)(x->epoch * l->set->count + number), a, &s.pic, err);
	if (!status)
		status = prompt_grid(l->m, a, &s.pic, out, err);
	*label = s.label;
	return status;
}

static void read_task(void *arg, int64_t task, int member)
{
	const reading *x = arg;
	int64_t at = x->first + task, number = x->l->order ? x->l->order[at] : at;
	x->status[task] = read_one(x, number, &x->l->members[member], &x->pictures[task], &x->labels[task], &x->errors[task]);
}

/* Memory ends a run; anything else costs the sample. */
static rebus_status gather(const reading *x, int64_t count, batch *out, rebus_error *err)
{
	for (int64_t i = 0; i < count; i++) {
		if (x->status[i] == REBUS_MEMORY)
			return error_memory(err, "samples");
		if (x->status[i]) {
			if (!out->skipped++)
				out->reason = x->errors[i];
			continue;
		}
		out->pictures[out->count] = &x->pictures[i];
		out->labels[out->count++] = x->labels[i];
	}
	return REBUS_OK;
}

rebus_status loader_get(loader *l, int64_t epoch, int64_t first, int64_t count, arena *a, batch *out, rebus_error *err)
{
	size_t n = (size_t)count;
	reading x = {.l = l, .epoch = epoch, .first = first, .pictures = arena_zero(a, n, sizeof *x.pictures), .labels = arena_zero(a, n, sizeof *x.labels),
		.status = arena_zero(a, n, sizeof *x.status), .errors = arena_zero(a, n, sizeof *x.errors)};
	batch b = {.pictures = arena_zero(a, n, sizeof *b.pictures), .labels = x.labels};
	if (!x.pictures || !x.labels || !x.status || !x.errors || !b.pictures)
		return error_memory(err, "samples");
	for (int i = 0; i < l->team->threads; i++)
		arena_release(&l->members[i], (arena_mark){0});
	shuffle(l, epoch);
	crew_run(l->team, count, read_task, &x);
	rebus_status status = gather(&x, count, &b, err);
	if (!status)
		*out = b;
	return status;
}
