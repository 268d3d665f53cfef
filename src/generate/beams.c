/*
 * beams.c - beam search; see beams.h.
 *
 *     running   B beginnings, each with the sum of its tokens' log-probabilities
 *     step      every beginning with every token: the best K = max(2, 1 + end tokens) B of them
 *                 those that end, among the best B     ─► finished, by sum / length ^ penalty; the best B stay
 *                 the best B that go on                ─► running
 *     done      when no running one can become better than the worst finished one, were it to end here (early_stopping: when B have ended)
 *
 * Reference: transformers 5.23, generation/utils.py, _beam_search with do_sample off, including its order of additions in f32: what must
 * not be chosen gets -1e9 added rather than being left out. Equal scores: the earlier candidate, by beam, then by token.
 */
#include "generate/beams.h"

#include <math.h>
#include <string.h>

#define NEVER (-1e9f)

typedef struct offer { /* a beginning and its next token */
	float score;
	int32_t beam, id; /* id -1: a finished answer, at `beam` */
	bool ends;
} offer;

typedef struct finished {
	float score;
	int32_t count;
	bool real;
	int32_t *ids;
} finished;

typedef struct group { /* of one prompt */
	float score[BEAMS_MOST];
	int32_t *ids[BEAMS_MOST], *next_ids[BEAMS_MOST]; /* [max_tokens] */
	finished done[BEAMS_MOST];
	int32_t *spare[BEAMS_MOST]; /* room for answers that may come to be finished */
	bool open, hopeful;
} group;

typedef struct searching {
	const beam_search *b;
	int32_t prompts, beams, kept, length; /* kept: K; length: of what is running */
	group *groups;
	offer *offers, *merged;
	int32_t *next;
} searching;

static bool is_end(const searching *x, int32_t id)
{
	const rebus_model *m = x->b->g->s->m;
	for (int32_t i = 0; i < m->eos_count && !x->b->ignore_eos; i++)
		if (m->eos[i] == id)
			return true;
	return false;
}

/* Puts an offer into a list of at most `most`, best first; the earlier of equals first. */
static void keep(offer *list, int32_t *count, int32_t most, offer o)
{
	if (*count == most && !(o.score > list[most - 1].score))
		return;
	int32_t i = *count < most ? (*count)++ : most - 1;
	for (; i > 0 && o.score > list[i - 1].score; i--)
		list[i] = list[i - 1];
	list[i] = o;
}

/* The K best continuations of a group. */
static rebus_status look_ahead(const searching *x, int32_t p, int32_t *count, rebus_error *err)
{
	const beam_search *b = x->b;
	const group *q = &x->groups[p];
	*count = 0;
	for (int32_t i = 0; i < x->beams; i++) {
		int64_t width;
		const float *logits = growth_logits(b->g, p * x->beams + i, &width);
		rebus_status status = session_numbers(&(plan_rows){logits, 1, width, width}, "logits", err);
		if (status)
			return status;
		float sum = b->g->s->m->k->log_sum_exp(width, logits), *chance = b->room->probability;
		for (int64_t k = 0; k < width; k++)
			chance[k] = logits[k] - sum;
		const sequence *prompt = &b->g->list[p * x->beams];
		sample_history h = {prompt->ids, q->ids[i], prompt->count, x->length};
		const float *scores = sample_scores(b->how, &h, chance, width, b->room);
		for (int64_t k = 0; k < width; k++)
			keep(x->offers, count, x->kept, (offer){scores[k] + q->score[i], i, (int32_t)k, false});
	}
	for (int32_t i = 0; i < *count; i++)
		x->offers[i].ends = is_end(x, x->offers[i].id) || x->length + 1 == b->max_tokens;
	return REBUS_OK;
}

static bool all_real(const group *q, int32_t beams)
{
	for (int32_t i = 0; i < beams; i++)
		if (!q->done[i].real)
			return false;
	return true;
}

static void copy_ids(const searching *x, const group *q, const offer *o, int32_t *to)
{
	memcpy(to, q->ids[o->beam], (size_t)x->length * sizeof *to);
	to[x->length] = o->id;
}

/* The best B of what had ended and what ends now. */
static void finish(const searching *x, group *q, int32_t count)
{
	int32_t merged = 0, spare = 0;
	bool full = all_real(q, x->beams) && x->b->early_stopping;
	float divisor = powf((float)(x->length + 1), x->b->length_penalty);
	finished before[BEAMS_MOST];
	bool stays[BEAMS_MOST] = {false};
	memcpy(before, q->done, sizeof before);
	for (int32_t i = 0; i < x->beams; i++)
		keep(x->merged, &merged, x->beams, (offer){before[i].score, i, -1, before[i].real});
	for (int32_t i = 0; i < count; i++) {
		bool now = x->offers[i].ends && i < x->beams;
		float score = x->offers[i].score / divisor;
		score += full ? NEVER : 0;
		score += q->hopeful ? 0 : NEVER;
		score += now ? 0 : NEVER;
		keep(x->merged, &merged, x->beams, (offer){score, x->offers[i].beam, x->offers[i].id, now});
	}
	for (int32_t i = 0; i < merged; i++)
		if (x->merged[i].id < 0)
			stays[x->merged[i].beam] = true;
	for (int32_t i = 0; i < x->beams; i++)
		if (!stays[i])
			q->spare[spare++] = before[i].ids;
	for (int32_t i = 0; i < merged; i++) {
		const offer *o = &x->merged[i];
		if (o->id < 0) {
			q->done[i] = before[o->beam];
			continue;
		}
		q->done[i] = (finished){o->score, x->length + 1, o->ends, q->spare[--spare]};
		copy_ids(x, q, o, q->done[i].ids);
	}
}

/* The best B that go on: their parents, ids and scores. */
static void go_on(const searching *x, group *q, int32_t count, int32_t *parent, int32_t *next)
{
	int32_t chosen = 0;
	for (int32_t i = 0; i < count; i++) {
		offer o = x->offers[i];
		o.score += o.ends ? NEVER : 0;
		keep(x->merged, &chosen, x->beams, o);
	}
	for (int32_t i = 0; i < x->beams; i++) { /* a vocabulary of fewer tokens than beams leaves some without */
		const offer *o = &x->merged[i < chosen ? i : 0];
		copy_ids(x, q, o, q->next_ids[i]);
		q->score[i] = i < chosen ? o->score : NEVER;
		parent[i] = o->beam;
		next[i] = o->id;
	}
	for (int32_t i = 0; i < x->beams; i++) {
		int32_t *swap = q->ids[i];
		q->ids[i] = q->next_ids[i];
		q->next_ids[i] = swap;
	}
}

/* Could a running one still become better, were it to end at this length? */
static bool hopes(const searching *x, const group *q, int32_t length)
{
	float best = q->score[0] / powf((float)length, x->b->length_penalty), least = q->done[0].score;
	bool any = false;
	for (int32_t i = 0; i < x->beams; i++)
		least = q->done[i].score < least ? q->done[i].score : least;
	for (int32_t i = 0; i < x->beams; i++)
		any = any || best > (q->done[i].real ? least : NEVER);
	return any;
}

static rebus_status step_group(searching *x, int32_t p, rebus_error *err)
{
	group *q = &x->groups[p];
	int32_t count, parent[BEAMS_MOST], *next = x->next + p * x->beams;
	bool last = x->length + 1 == x->b->max_tokens;
	rebus_status status = look_ahead(x, p, &count, err);
	if (status)
		return status;
	finish(x, q, count);
	go_on(x, q, count, parent, next);
	q->hopeful = q->hopeful && hopes(x, q, x->length + 1);
	q->open = !last && q->hopeful && !(all_real(q, x->beams) && x->b->early_stopping);
	if (q->open)
		growth_select(x->b->g, p * x->beams, parent);
	return REBUS_OK;
}

static rebus_status room_for(searching *x, arena *a, rebus_error *err)
{
	size_t each = (size_t)x->b->max_tokens, beams = (size_t)x->beams;
	x->groups = arena_zero(a, (size_t)x->prompts, sizeof *x->groups);
	x->offers = arena_get(a, (size_t)x->kept, sizeof *x->offers);
	x->merged = arena_get(a, beams, sizeof *x->merged);
	x->next = arena_get(a, (size_t)x->prompts * beams, sizeof *x->next);
	if (!x->groups || !x->offers || !x->merged || !x->next)
		return error_memory(err, "an answer");
	for (int32_t p = 0; p < x->prompts; p++) {
		group *q = &x->groups[p];
		int32_t *ids = arena_get(a, 3 * beams * each, sizeof *ids);
		if (!ids)
			return error_memory(err, "an answer");
		q->open = q->hopeful = true;
		for (size_t i = 0; i < beams; i++) {
			q->score[i] = i ? NEVER : 0;
			q->ids[i] = ids + 3 * i * each;
			q->next_ids[i] = q->ids[i] + each;
			q->done[i] = (finished){.score = NEVER, .ids = q->next_ids[i] + each};
		}
	}
	return REBUS_OK;
}

rebus_status beams_run(const beam_search *b, arena *a, beam_answer *out, rebus_error *err)
{
	rebus_status status;
	int32_t ends = b->ignore_eos ? 0 : b->g->s->m->eos_count, beams = b->g->beams;
	searching x = {.b = b, .prompts = b->g->count / beams, .beams = beams, .kept = (ends > 1 ? 1 + ends : 2) * beams};
	TRY(room_for(&x, a, err));
	for (bool open = b->max_tokens > 0; open; x.length++) {
		open = false;
		for (int32_t p = 0; p < x.prompts; p++) {
			if (x.groups[p].open)
				TRY(step_group(&x, p, err));
			for (int32_t i = 0; !x.groups[p].open && i < beams; i++)
				x.next[p * beams + i] = -1;
			open = open || x.groups[p].open;
		}
		if (open)
			TRY(growth_step(b->g, x.next, err));
	}
	for (int32_t p = 0; p < x.prompts; p++)
		out[p] = (beam_answer){x.groups[p].done[0].ids, x.groups[p].done[0].count, x.groups[p].done[0].score};
done:
	return status;
}
