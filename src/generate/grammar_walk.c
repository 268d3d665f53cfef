/*
 * grammar_walk.c - where the machine is after some bytes: stands, made when they are first come to; see grammar.h.
 *
 *   stand ─ byte ─► every place's edges that hold the byte ─► settle: nothing-edges, calls (a frame), ends (off the frame) ─► places
 *                                                             sorted ─► found among the stands, or a new one
 *
 * Only places with edges over bytes are kept. Frames and stands are found again by hash, so equal ones are one and a step is
 * a look-up the second time. Stand 0 is the one that nothing follows.
 */
#include <stdlib.h>
#include <string.h>

#include "generate/grammar.h"

enum { SLOTS_LEAST = 1024, BOTTOM = 0 };

static uint64_t hash_of(uint64_t h, uint64_t v)
{
	return bits_mix(h ^ v);
}

stand *walk_stand(const walk *w, uint32_t at)
{
	return (stand *)(void *)w->stands.data + at;
}

static const place *places_at(const walk *w, uint32_t first)
{
	return (const place *)(const void *)w->places.data + first;
}

static const frame *frame_at(const walk *w, uint32_t i)
{
	return (const frame *)(const void *)w->frames.data + i;
}

size_t walk_bytes(const walk *w)
{
	return w->cache.total + w->stands.size + w->places.size + w->slots.size;
}

/* ------------------------------------------------------------------------------------------------ hash tables */
static uint32_t *slots_of(const buf *b)
{
	return (uint32_t *)(void *)b->data;
}

static size_t slots_count(const buf *b)
{
	return b->size / sizeof(uint32_t);
}

static bool slots_clear(buf *b, size_t count)
{
	static const uint32_t blank[SLOTS_LEAST];
	b->size = 0;
	for (size_t i = 0; i < count; i += SLOTS_LEAST)
		buf_add(b, blank, sizeof blank);
	return !b->failed;
}

static void slots_put(buf *b, uint64_t hash, uint32_t value)
{
	size_t mask = slots_count(b) - 1, at = (size_t)hash & mask;
	while (slots_of(b)[at])
		at = (at + 1) & mask;
	slots_of(b)[at] = value;
}

static uint64_t frame_hash(frame f)
{
	return hash_of(hash_of(1, f.state), f.below);
}

static uint64_t stand_hash(const place *p, size_t n, bool end)
{
	uint64_t h = end;
	for (size_t i = 0; i < n; i++)
		h = hash_of(h, (uint64_t)p[i].state << 32 | p[i].frame);
	return h;
}

static bool frames_grow(walk *w)
{
	size_t n = w->frames.size / sizeof(frame);
	if (2 * n < slots_count(&w->frame_slots))
		return true;
	if (!slots_clear(&w->frame_slots, 2 * slots_count(&w->frame_slots)))
		return false;
	for (size_t i = 1; i < n; i++)
		slots_put(&w->frame_slots, frame_hash(*frame_at(w, (uint32_t)i)), (uint32_t)i + 1);
	return true;
}

static bool stands_grow(walk *w)
{
	size_t n = w->stands.size / sizeof(stand);
	if (2 * n < slots_count(&w->slots))
		return true;
	if (!slots_clear(&w->slots, 2 * slots_count(&w->slots)))
		return false;
	for (size_t i = 0; i < n; i++) {
		const stand *s = walk_stand(w, (uint32_t)i);
		slots_put(&w->slots, stand_hash(places_at(w, s->first), s->count, s->end), (uint32_t)i + 1);
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------ limits */
static rebus_status check(const walk *w, rebus_error *err)
{
	const buf *all[] = {&w->stands, &w->places, &w->frames, &w->slots, &w->frame_slots, &w->reached, &w->seen};
	for (size_t i = 0; i < COUNT_OF(all); i++)
		if (all[i]->failed == REBUS_MEMORY)
			return error_memory(err, "a grammar");
	return error_set(err, REBUS_LIMIT, "grammar: too ambiguous or too deep: more than %d places at once, or %d frames, or %d MiB", GRAMMAR_PLACES_MOST,
		GRAMMAR_FRAMES_MOST, GRAMMAR_CACHE_END >> 20);
}

static rebus_status spend(walk *w, uint64_t steps, rebus_error *err)
{
	w->steps += steps;
	return w->steps <= w->most_steps ? REBUS_OK : error_set(err, REBUS_LIMIT, "grammar: too ambiguous: more than %d million steps for one token",
		GRAMMAR_STEPS_MOST >> 20);
}

/* ------------------------------------------------------------------------------------------------ settling */
static rebus_status frame_find(walk *w, frame f, uint32_t *out, rebus_error *err)
{
	uint64_t hash = frame_hash(f);
	size_t mask = slots_count(&w->frame_slots) - 1, at = (size_t)hash & mask;
	for (uint32_t i; (i = slots_of(&w->frame_slots)[at]); at = (at + 1) & mask) {
		const frame *g = frame_at(w, i - 1);
		if (g->state == f.state && g->below == f.below) {
			*out = i - 1;
			return REBUS_OK;
		}
	}
	uint32_t made = (uint32_t)(w->frames.size / sizeof f);
	buf_add(&w->frames, &f, sizeof f);
	if (w->frames.failed)
		return check(w, err);
	slots_of(&w->frame_slots)[at] = made + 1;
	*out = made;
	return frames_grow(w) ? REBUS_OK : check(w, err);
}

/* reached is a list and, in seen, a hash table of the places in it. */
static void reach(walk *w, place p)
{
	size_t n = w->reached.size / sizeof p;
	if (2 * n >= slots_count(&w->seen)) {
		if (!slots_clear(&w->seen, slots_count(&w->seen) ? 2 * slots_count(&w->seen) : SLOTS_LEAST))
			return;
		for (size_t i = 0; i < n; i++) {
			const place *q = (const place *)(const void *)w->reached.data + i;
			slots_put(&w->seen, hash_of(q->state, q->frame), (uint32_t)i + 1);
		}
	}
	uint64_t hash = hash_of(p.state, p.frame);
	size_t mask = slots_count(&w->seen) - 1, at = (size_t)hash & mask;
	for (uint32_t i; (i = slots_of(&w->seen)[at]); at = (at + 1) & mask) {
		const place *q = (const place *)(const void *)w->reached.data + i - 1;
		if (q->state == p.state && q->frame == p.frame)
			return;
	}
	slots_of(&w->seen)[at] = (uint32_t)n + 1;
	buf_add(&w->reached, &p, sizeof p);
}

/* What is reached from here without a byte. */
static rebus_status settle_one(walk *w, place p, bool *end, rebus_error *err)
{
	const machine_state *s = &w->m->states[p.state];
	if (s->end && p.frame == BOTTOM)
		*end = true;
	else if (s->end)
		reach(w, (place){frame_at(w, p.frame)->state, frame_at(w, p.frame)->below});
	for (uint32_t e = s->edges; e; e = w->m->edges[e - 1].next) {
		const machine_edge *edge = &w->m->edges[e - 1];
		w->steps++;
		if (!edge->live || edge->kind == EDGE_BYTES)
			continue;
		if (edge->kind == EDGE_NOTHING) {
			reach(w, (place){edge->to, p.frame});
			continue;
		}
		const machine_state *back = &w->m->states[edge->to];
		uint32_t f = p.frame;
		if (!back->end || back->edges) { /* else nothing is left to do after the call */
			rebus_status status = frame_find(w, (frame){edge->to, p.frame}, &f, err);
			if (status)
				return status;
		}
		reach(w, (place){w->m->starts[edge->rule], f});
	}
	return REBUS_OK;
}

static int by_place(const void *a, const void *b)
{
	const place *x = a, *y = b;
	if (x->state != y->state)
		return x->state < y->state ? -1 : 1;
	return x->frame != y->frame ? (x->frame < y->frame ? -1 : 1) : 0;
}

rebus_status walk_find(walk *w, const place *list, size_t n, bool end, uint32_t *out, rebus_error *err)
{
	uint64_t hash = stand_hash(list, n, end);
	size_t mask = slots_count(&w->slots) - 1, at = (size_t)hash & mask;
	for (uint32_t i; (i = slots_of(&w->slots)[at]); at = (at + 1) & mask) {
		const stand *s = walk_stand(w, i - 1);
		if (s->count == n && s->end == end && (!n || !memcmp(places_at(w, s->first), list, n * sizeof *list))) {
			*out = i - 1;
			return REBUS_OK;
		}
	}
	uint32_t made = (uint32_t)(w->stands.size / sizeof(stand));
	stand s = {.first = (uint32_t)(w->places.size / sizeof *list), .count = (uint32_t)n, .end = end};
	buf_add(&w->places, list, n * sizeof *list);
	buf_add(&w->stands, &s, sizeof s);
	if (w->places.failed || w->stands.failed || walk_bytes(w) > GRAMMAR_CACHE_END)
		return check(w, err);
	slots_of(&w->slots)[at] = made + 1;
	*out = made;
	return stands_grow(w) ? REBUS_OK : check(w, err);
}

/* What is in reached, settled, as a stand. */
static rebus_status settle(walk *w, uint32_t *out, rebus_error *err)
{
	size_t kept = 0, n = 0;
	bool end = false;
	for (; n < w->reached.size / sizeof(place); n++) {
		place p = ((const place *)(const void *)w->reached.data)[n];
		rebus_status status = settle_one(w, p, &end, err);
		if (status)
			return status;
		if (w->reached.failed || w->seen.failed)
			return check(w, err);
	}
	place *list = (place *)(void *)w->reached.data;
	for (size_t i = 0; i < n; i++)
		if (w->m->states[list[i].state].bytes)
			list[kept++] = list[i];
	if (kept)
		qsort(list, kept, sizeof *list, by_place);
	return walk_find(w, list, kept, end, out, err);
}

static bool reached_clear(walk *w)
{
	w->reached.size = 0;
	return slots_clear(&w->seen, SLOTS_LEAST);
}

rebus_status walk_step(walk *w, uint32_t at, unsigned char byte, uint32_t *out, rebus_error *err)
{
	rebus_status status;
	stand *s = walk_stand(w, at);
	if (s->next && s->next[byte]) {
		*out = s->next[byte] - 1;
		return REBUS_OK;
	}
	if (!s->next) {
		s->next = arena_zero(&w->cache, 256, sizeof *s->next);
		if (!s->next)
			return check(w, err);
	}
	if (!reached_clear(w))
		return check(w, err);
	for (uint32_t i = 0; i < s->count; i++) {
		place p = places_at(w, s->first)[i];
		for (uint32_t e = w->m->states[p.state].edges; e; e = w->m->edges[e - 1].next) {
			const machine_edge *edge = &w->m->edges[e - 1];
			w->steps++;
			if (edge->live && edge->kind == EDGE_BYTES && byte >= edge->first && byte <= edge->last)
				reach(w, (place){edge->to, p.frame});
		}
	}
	TRY(settle(w, out, err));
	TRY(spend(w, 1, err));
	walk_stand(w, at)->next[byte] = *out + 1;
done:
	return status;
}

const place *walk_places(const walk *w, uint32_t at)
{
	return places_at(w, walk_stand(w, at)->first);
}

rebus_status walk_forget(walk *w, rebus_error *err)
{
	rebus_status status;
	uint32_t none;
	w->stands.size = w->places.size = 0;
	arena_free(&w->cache);
	if (!slots_clear(&w->slots, SLOTS_LEAST) || !reached_clear(w))
		return check(w, err);
	TRY(walk_find(w, NULL, 0, false, &none, err));
	reach(w, (place){w->m->starts[0], BOTTOM});
	TRY(settle(w, &w->start, err));
done:
	return status;
}

rebus_status walk_begin(walk *w, const machine *m, const rebus_allocator *from, rebus_error *err)
{
	const frame bottom = {0, 0};
	*w = (walk){.m = m, .from = from, .most_steps = GRAMMAR_STEPS_MOST};
	buf_init(&w->stands, from, GRAMMAR_CACHE_END);
	buf_init(&w->places, from, GRAMMAR_CACHE_END);
	buf_init(&w->frames, from, (size_t)GRAMMAR_FRAMES_MOST * sizeof(frame));
	buf_init(&w->slots, from, GRAMMAR_CACHE_END);
	buf_init(&w->frame_slots, from, GRAMMAR_CACHE_END);
	buf_init(&w->reached, from, (size_t)GRAMMAR_PLACES_MOST * sizeof(place));
	buf_init(&w->seen, from, (size_t)4 * GRAMMAR_PLACES_MOST * sizeof(uint32_t));
	arena_init(&w->cache, from, GRAMMAR_CACHE_END);
	buf_add(&w->frames, &bottom, sizeof bottom);
	if (!slots_clear(&w->frame_slots, SLOTS_LEAST) || w->frames.failed)
		return check(w, err);
	return walk_forget(w, err);
}

void walk_end(walk *w)
{
	buf *all[] = {&w->stands, &w->places, &w->frames, &w->slots, &w->frame_slots, &w->reached, &w->seen};
	for (size_t i = 0; w->m && i < COUNT_OF(all); i++)
		buf_free(all[i]);
	if (w->m)
		arena_free(&w->cache);
	w->m = NULL;
}
