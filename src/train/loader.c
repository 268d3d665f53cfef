/* loader.c - see loader.h. */
#include "train/loader.h"

#include <string.h>

#include "train/augment.h"
#include "train/crew.h"

rebus_status loader_open(loader *l, const rebus_model *m, const recipe *r, const samples *set, const rebus_runner *team, bool training,
                         prepare_item prepare, arena *a, rebus_error *err)
{
	*l = (loader){.m = m, .r = r, .set = set, .team = team, .prepare = prepare, .shuffled = -1, .augments = training};
	if (set->count > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%s: %lld samples, at most %d", set->name, (long long)set->count, INT32_MAX / 4);
	l->members = arena_zero(a, (size_t)team->threads, sizeof *l->members);
	l->items = arena_zero(a, (size_t)r->batch, sizeof *l->items);
	l->order = training ? arena_get(a, (size_t)set->count, sizeof *l->order) : NULL;
	if (!l->members || !l->items || (training && !l->order))
		return error_memory(err, "samples");
	for (int i = 0; i < team->threads; i++)
		arena_init(&l->members[i], m->mem.from, 0);
	return REBUS_OK;
}

static void forget(loader *l)
{
	for (int64_t i = 0; i < l->item_count; i++)
		rebus_prompt_free(l->items[i].prompt);
	l->item_count = 0;
	for (int i = 0; l->members && i < l->team->threads; i++)
		arena_release(&l->members[i], (arena_mark){0});
}

void loader_close(loader *l)
{
	forget(l);
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

uint64_t item_bits(const item *it, uint64_t number)
{
	return random_bits((uint64_t)it->r->seed, RANDOM_TOKENS, it->draw, number);
}

double item_unit(const item *it, uint64_t number)
{
	return (double)(item_bits(it, number) >> 11) * 0x1p-53;
}

typedef struct reading {
	loader *l;
	int64_t epoch, first;
	rebus_status *status;
	rebus_error *errors;
} reading;

static rebus_status read_one(const reading *x, int64_t number, arena *a, item *it, rebus_error *err)
{
	const loader *l = x->l;
	rebus_status status;
	sample s;
	arena pixels;
	arena_init(&pixels, l->m->mem.from, 0);
	TRY(l->set->get(l->set, number, &pixels, &s, err));
	it->label = s.label;
	it->r = l->r;
	it->draw = l->augments ? (uint64_t)(x->epoch * l->set->count + number) : (uint64_t)number | (uint64_t)1 << 63;
	if (l->augments && s.pic.pixels)
		TRY(augment_picture(l->r, (uint64_t)(x->epoch * l->set->count + number), &pixels, &s.pic, err));
	TRY(rebus_prompt_new(l->m, NULL, &it->prompt, err));
	TRY(l->prepare(l->m, &s, a, it, err));
done:
	arena_free(&pixels);
	return status;
}

static void read_task(void *arg, int64_t task, int member)
{
	const reading *x = arg;
	int64_t at = x->first + task, number = x->l->order ? x->l->order[at] : at;
	x->status[task] = read_one(x, number, &x->l->members[member], &x->l->items[task], &x->errors[task]);
}

/* Memory ends a run, and so does a set that cannot be meant for this model; anything else costs the sample. */
static rebus_status gather(const reading *x, int64_t count, batch *out, rebus_error *err)
{
	for (int64_t i = 0; i < count; i++) {
		if (x->status[i] == REBUS_MEMORY || x->status[i] == REBUS_MISUSE || x->status[i] == REBUS_SHAPE)
			return error_set(err, x->status[i], "%s: %s", x->l->set->name, x->errors[i].text);
		if (x->status[i]) {
			if (!out->skipped++)
				out->reason = x->errors[i];
			continue;
		}
		out->at[out->count] = &x->l->items[i];
		out->prompts[out->count++] = x->l->items[i].prompt;
	}
	return REBUS_OK;
}

rebus_status loader_get(loader *l, int64_t epoch, int64_t first, int64_t count, arena *a, batch *out, rebus_error *err)
{
	size_t n = (size_t)count;
	reading x = {.l = l, .epoch = epoch, .first = first, .status = arena_zero(a, n, sizeof *x.status), .errors = arena_zero(a, n, sizeof *x.errors)};
	batch b = {.at = arena_zero(a, n, sizeof *b.at), .prompts = arena_zero(a, n, sizeof *b.prompts)};
	if (!x.status || !x.errors || !b.at || !b.prompts)
		return error_memory(err, "samples");
	forget(l);
	memset(l->items, 0, n * sizeof *l->items);
	l->item_count = count;
	shuffle(l, epoch);
	crew_run(l->team, count, read_task, &x);
	rebus_status status = gather(&x, count, &b, err);
	if (!status)
		*out = b;
	return status;
}
