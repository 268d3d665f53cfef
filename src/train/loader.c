/* loader.c - see loader.h. */
#include "train/loader.h"

#include <string.h>

#include "train/arrange.h"
#include "train/augment.h"
#include "train/crew.h"

enum { MEMORY = 256 << 20 }; /* of what is read ahead */

/* Share of the run that is done when the sample's step begins; an evaluation sees what it ends with. */
static double progress_of(const loader *l, const read_job *j)
{
	int64_t step = j->epoch * l->in_epoch + j->at / (l->r->batch * l->r->accumulate);
	return l->augments && l->total ? (double)step / (double)l->total : 1;
}

static rebus_status read_one(const loader *l, read_job *j, const rebus_allocator *from, rebus_error *err)
{
	rebus_status status;
	sample s;
	arena pixels;
	item *it = &j->it;
	uint64_t draw = (uint64_t)(j->epoch * l->set->count + j->number);
	arena_init(&pixels, from, 0);
	arena_init(&j->mem, from, 0);
	TRY(l->set->get(l->set, j->number, &pixels, &s, err));
	it->label = s.label;
	it->r = l->r;
	it->draw = l->augments ? draw : (uint64_t)j->number | (uint64_t)1 << 63;
	if (l->augments && s.pic.pixels)
		TRY(augment_picture(l->r, draw, &pixels, &s.pic, err));
	TRY(prompt_new(l->m, NULL, from, &it->prompt, err));
	bool arranged = arrange_any(l->r) && (l->augments || !strcmp(l->r->token_evaluate, "yes"));
	if (arranged)
		arrange_size(l->m, it);
	TRY(l->prepare(l->m, &s, &j->mem, it, err));
	if (arranged)
		TRY(arrange_tokens(it, progress_of(l, j), err));
done:
	arena_free(&pixels);
	return status;
}

static void read_ahead(ahead_job *base)
{
	read_job *j = (read_job *)(void *)base;
	j->status = read_one(j->of, j, &base->counted, &j->err);
}

rebus_status loader_open(loader *l, const rebus_model *m, const recipe *r, const samples *set, const rebus_runner *team, bool training,
                         prepare_item prepare, arena *a, rebus_error *err)
{
	*l = (loader){.m = m, .r = r, .set = set, .team = team, .prepare = prepare, .shuffled = -1, .augments = training, .room = r->batch * (1 + r->ahead)};
	if (set->count > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%s: %lld samples, at most %d", set->name, (long long)set->count, INT32_MAX / 4);
	l->jobs = arena_zero(a, (size_t)l->room, sizeof *l->jobs);
	l->order = training ? arena_get(a, (size_t)set->count, sizeof *l->order) : NULL;
	if (!l->jobs || (training && !l->order))
		return error_memory(err, "samples");
	return r->ahead ? ahead_open(team->threads, MEMORY, read_ahead, m->mem.from, &l->queue, err) : REBUS_OK;
}

static read_job *job_at(const loader *l, int64_t number)
{
	return &l->jobs[number % l->room];
}

/* The oldest that was put: its memory is the loader's from now on. */
static read_job *take_job(loader *l)
{
	read_job *j = job_at(l, l->taken++);
	if (l->queue) {
		ahead_take(l->queue);
		j->mem.from = l->m->mem.from;
		if (j->it.prompt)
			j->it.prompt->mem.from = l->m->mem.from;
	}
	return j;
}

static void forget(loader *l)
{
	for (; l->freed < l->taken; l->freed++) {
		read_job *j = job_at(l, l->freed);
		rebus_prompt_free(j->it.prompt);
		j->it.prompt = NULL;
		arena_free(&j->mem);
	}
}

static void drain(loader *l)
{
	while (l->taken < l->put)
		take_job(l);
	forget(l);
}

void loader_close(loader *l)
{
	if (!l->jobs)
		return;
	if (l->queue)
		ahead_stop(l->queue);
	drain(l);
	ahead_close(l->queue);
	*l = (loader){0};
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

/* The next sample in order; false: the set has been gone through, and nobody goes on. */
static bool put_job(loader *l)
{
	if (l->next_at == l->set->count && !l->augments)
		return false;
	if (l->next_at == l->set->count) {
		l->next_epoch++;
		l->next_at = 0;
	}
	shuffle(l, l->next_epoch);
	read_job *j = job_at(l, l->put++);
	*j = (read_job){.of = l, .epoch = l->next_epoch, .at = l->next_at, .number = l->order ? l->order[l->next_at] : l->next_at};
	arena_init(&j->mem, l->m->mem.from, 0);
	l->next_at++;
	if (l->queue)
		ahead_put(l->queue, &j->base);
	return true;
}

static void read_task(void *arg, int64_t task, int member)
{
	loader *l = arg;
	read_job *j = job_at(l, l->taken + task);
	(void)member;
	j->status = read_one(l, j, l->m->mem.from, &j->err);
}

/* Memory ends a run, and so does a set that cannot be meant for this model; anything else costs the sample. */
static rebus_status gather(loader *l, int64_t count, batch *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (int64_t i = 0; i < count; i++) {
		const read_job *j = take_job(l);
		if (!status && (j->status == REBUS_MEMORY || j->status == REBUS_MISUSE || j->status == REBUS_SHAPE))
			status = error_set(err, j->status, "%s: %s", l->set->name, j->err.text);
		if (j->status) {
			if (!out->skipped++)
				out->reason = j->err;
			continue;
		}
		out->at[out->count] = &j->it;
		out->prompts[out->count++] = j->it.prompt;
	}
	return status;
}

rebus_status loader_get(loader *l, int64_t epoch, int64_t first, int64_t count, arena *a, batch *out, rebus_error *err)
{
	size_t n = (size_t)count;
	batch b = {.at = arena_zero(a, n, sizeof *b.at), .prompts = arena_zero(a, n, sizeof *b.prompts)};
	if (!b.at || !b.prompts)
		return error_memory(err, "samples");
	forget(l);
	const read_job *oldest = l->taken < l->put ? job_at(l, l->taken) : NULL;
	if (!oldest || oldest->epoch != epoch || oldest->at != first) {
		drain(l); /* the run begins, or goes on elsewhere */
		l->next_epoch = epoch;
		l->next_at = first;
	}
	while (l->put - l->taken < (l->queue ? l->room : count) && put_job(l))
		;
	if (!l->queue)
		crew_run(l->team, count, read_task, l);
	rebus_status status = gather(l, count, &b, err);
	if (!status)
		*out = b;
	return status;
}
