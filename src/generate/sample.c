/* sample.c - see sample.h. */
#include "generate/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In [0, 1). */
static double uniform(uint64_t seed, int64_t sequence, int64_t step)
{
	return (double)(bits_mix(bits_mix(bits_mix(seed) ^ (uint64_t)sequence) ^ (uint64_t)step) >> 11) * 0x1p-53;
}

static int32_t largest(const float *x, int64_t n)
{
	int64_t at = 0;
	for (int64_t i = 1; i < n; i++)
		if (x[i] > x[at])
			at = i;
	return (int32_t)at;
}

/* Largest first; equal ones by id, so that the order is the same everywhere. */
static int by_value(const void *a, const void *b)
{
	const candidate *x = a, *y = b;
	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

/* ------------------------------------------------------------------------------------------------ bias, penalties */
static bool changes(const sampling *s)
{
	return s->bias_count || (s->repetition > 0 && s->repetition != 1) || s->presence != 0 || s->frequency != 0;
}

static void repeat(const sampling *s, const int32_t *ids, int64_t count, int64_t width, const sample_room *room)
{
	for (int64_t i = 0; i < count; i++) {
		int32_t id = ids[i];
		if (id < 0 || id >= width || room->counts[id]) /* once each */
			continue;
		room->counts[id] = 1;
		room->scores[id] = room->scores[id] < 0 ? room->scores[id] * s->repetition : room->scores[id] / s->repetition;
	}
}

static void forget(const int32_t *ids, int64_t count, int64_t width, int32_t *counts)
{
	for (int64_t i = 0; i < count; i++)
		if (ids[i] >= 0 && ids[i] < width)
			counts[ids[i]] = 0;
}

/* counts is all 0 before and after. */
const float *sample_scores(const sampling *s, const sample_history *h, const float *logits, int64_t width, const sample_room *room)
{
	if (!changes(s))
		return logits;
	memcpy(room->scores, logits, (size_t)width * sizeof *logits);
	for (size_t i = 0; i < s->bias_count; i++)
		if (s->bias[i].id >= 0 && s->bias[i].id < width)
			room->scores[s->bias[i].id] += s->bias[i].value;
	if (s->repetition > 0 && s->repetition != 1) {
		repeat(s, h->prompt, h->prompt_count, width, room);
		repeat(s, h->said, h->said_count, width, room);
		forget(h->prompt, h->prompt_count, width, room->counts);
		forget(h->said, h->said_count, width, room->counts);
	}
	for (int64_t i = 0; i < h->said_count && (s->presence != 0 || s->frequency != 0); i++)
		if (h->said[i] >= 0 && h->said[i] < width)
			room->scores[h->said[i]] -= s->frequency + (room->counts[h->said[i]]++ ? 0 : s->presence);
	forget(h->said, h->said_count, width, room->counts);
	return room->scores;
}

/* ------------------------------------------------------------------------------------------------ drawing */
int64_t sample_kept(const kernels *k, const sampling *s, const float *scores, int64_t width, const sample_room *room)
{
	candidate *list = room->list;
	float *probability = room->probability;
	int64_t n = 0, kept = 0;
	double total = 0;
	for (int64_t i = 0; i < width; i++)
		if (scores[i] == scores[i] && scores[i] > -INFINITY) /* a broken model's NaN can never be drawn, nor what is forbidden */
			list[n++] = (candidate){scores[i] / s->temperature, (int32_t)i};
	qsort(list, (size_t)n, sizeof *list, by_value);
	for (int64_t most = s->top_k > 0 ? s->top_k : n; n > most && list[n - 1].value < list[most - 1].value;)
		n--;
	for (int64_t i = 0; i < n; i++)
		probability[i] = list[i].value;
	k->softmax(1, n, probability, n, probability, n);
	while (kept < n && (kept == 0 || total < (double)s->top_p))
		total += (double)probability[kept++];
	while (kept > 1 && probability[kept - 1] < s->min_p * probability[0])
		kept--;
	return kept;
}

int32_t sample_next(const kernels *k, const sampling *s, const float *scores, int64_t width, int64_t sequence, int64_t step, const sample_room *room)
{
	if (s->temperature <= 0)
		return largest(scores, width);
	int64_t kept = sample_kept(k, s, scores, width, room);
	double total = 0;
	for (int64_t i = 0; i < kept; i++)
		total += (double)room->probability[i];
	double draw = uniform(s->seed, sequence, step) * total;
	for (int64_t i = 0; i < kept; i++) {
		draw -= (double)room->probability[i];
		if (draw < 0)
			return room->list[i].id;
	}
	return kept ? room->list[kept - 1].id : 0;
}
