/*
 * grammar_mask.c - rebus_grammar: which tokens may come next, and what an answer is after one; see grammar.h.
 *
 *   sorted tokens   "{"  "{\""  "{\"a"  "}"      the stand after each byte is kept in a row; the next token begins where it
 *   shared          0    1      2       0        differs from the one before; where nothing may follow, all that begin so
 *                                                are passed over
 *
 * A token is allowed where its bytes lead to a stand from which the grammar can be finished, by bytes. Where a tokenizer has
 * every byte the grammar needs as a token, it can be finished by tokens, too. Where not (a WordPiece vocabulary without some
 * letter), the stands that tokens lead to are looked through for an end, up to GRAMMAR_CHECKED_MOST of them a time; those
 * that certainly have none are not allowed. Stands beyond that number are taken for good.
 *
 * A grammar may be used by any number of sessions: what is computed lies behind a lock. When stands take too much they are
 * forgotten; an answer finds its own again by its places, or by its bytes where frames went too (after an error).
 */
#include <stdlib.h>
#include <string.h>

#include "generate/grammar.h"

enum { SAID_MOST = 1 << 28 };

struct rebus_grammar {
	arena mem;
	const tokenizer *words;
	mutex *lock;
	machine machine;
	spellings later, first;
	bool two;   /* the first token is spelled otherwise */
	bool whole; /* every byte that the machine needs is a token */
	size_t mask_words;
	int32_t *place; /* [ids]: where a token is in later.list, -1: it is not */
	int32_t *first_place;
	size_t ids;
	walk walk;
	uint32_t generation, era, searches; /* era: of frames, from 1 */
	uint32_t *stack; /* [SPELLING_MOST + 1] stands after each byte of a token */
};

/* ------------------------------------------------------------------------------------------------ making */
static rebus_status places_make(arena *a, const spellings *s, size_t ids, int32_t **out, rebus_error *err)
{
	int32_t *at = arena_get(a, ids + 1, sizeof *at);
	if (!at)
		return error_memory(err, "a grammar");
	for (size_t i = 0; i < ids; i++)
		at[i] = -1;
	for (size_t i = 0; i < s->count; i++)
		at[s->list[i].id] = (int32_t)i;
	*out = at;
	return REBUS_OK;
}

static rebus_status tokens_make(rebus_grammar *g, rebus_error *err)
{
	rebus_status status;
	bool single[256] = {false};
	TRY(text_spellings(g->words, &g->mem, false, &g->later, err));
	g->two = text_spells_first(g->words);
	if (g->two)
		TRY(text_spellings(g->words, &g->mem, true, &g->first, err));
	for (size_t i = 0; i < g->later.count; i++) {
		const spelling *s = &g->later.list[i];
		g->ids = (size_t)s->id >= g->ids ? (size_t)s->id + 1 : g->ids;
		if (s->size == 1)
			single[(unsigned char)g->later.bytes[s->at]] = true;
	}
	for (size_t i = 0; i < g->first.count; i++)
		g->ids = (size_t)g->first.list[i].id >= g->ids ? (size_t)g->first.list[i].id + 1 : g->ids;
	g->whole = true;
	for (int i = 0; i < 256; i++)
		g->whole = g->whole && (single[i] || !g->machine.bytes[i]);
	g->mask_words = (g->ids + 31) / 32;
	TRY(places_make(&g->mem, &g->later, g->ids, &g->place, err));
	if (g->two)
		TRY(places_make(&g->mem, &g->first, g->ids, &g->first_place, err));
done:
	return status;
}

static rebus_status rules_read(rules *r, rebus_grammar_kind kind, const char *text, size_t n, rebus_error *err)
{
	if (n > GRAMMAR_TEXT_MOST)
		return error_set(err, REBUS_LIMIT, "grammar: %zu bytes, expected at most %d", n, GRAMMAR_TEXT_MOST);
	if (!utf8_valid(text, n))
		return error_set(err, REBUS_MISUSE, "grammar: not UTF-8");
	switch (kind) {
	case REBUS_GRAMMAR_GBNF:
		return grammar_read_text(r, text, n, err);
	case REBUS_GRAMMAR_REGEX:
		return grammar_read_regex(r, text, n, err);
	case REBUS_GRAMMAR_JSON_SCHEMA:
		return grammar_read_schema(r, text, n, err);
	}
	return error_set(err, REBUS_MISUSE, "grammar: kind %d, expected one of rebus_grammar_kind", (int)kind);
}

static rebus_status machine_read(rebus_grammar *g, rebus_grammar_kind kind, const char *text, size_t n, rebus_error *err)
{
	rebus_status status;
	rules r;
	arena scratch;
	arena_init(&scratch, g->mem.from, 0);
	rules_begin(&r, &scratch);
	TRY(rules_read(&r, kind, text, n, err));
	TRY(rules_check(&r, err));
	for (size_t i = 0; i < rules_count(&r); i++)
		if (!rules_at(&r, (int32_t)i)->body) {
			status = error_set(err, REBUS_MISUSE, "grammar: rule %.60s is used, but not defined", rules_at(&r, (int32_t)i)->name);
			goto done;
		}
	TRY(machine_make(&r, &g->mem, &g->machine, err));
done:
	rules_end(&r);
	arena_free(&scratch);
	return status;
}

rebus_status grammar_new(const tokenizer *words, const rebus_allocator *from, rebus_grammar_kind kind, const char *text, size_t size, rebus_grammar **out,
                         rebus_error *err)
{
	rebus_status status;
	arena mem;
	arena_init(&mem, from, 0);
	rebus_grammar *g = arena_zero(&mem, 1, sizeof *g);
	mutex *lock = g ? mutex_new(&mem) : NULL;
	if (!lock) {
		arena_free(&mem);
		return error_memory(err, "a grammar");
	}
	*g = (rebus_grammar){.mem = mem, .words = words, .lock = lock, .era = 1};
	g->stack = arena_get(&g->mem, SPELLING_MOST + 1, sizeof *g->stack);
	if (!g->stack) {
		status = error_memory(err, "a grammar");
		goto done;
	}
	TRY(machine_read(g, kind, text, size, err));
	TRY(tokens_make(g, err));
	TRY(walk_begin(&g->walk, &g->machine, g->mem.from, err));
	*out = g;
	g = NULL;
done:
	rebus_grammar_free(g);
	return status;
}

rebus_status rebus_grammar_new(const rebus_model *m, rebus_grammar_kind kind, const char *text, rebus_grammar **out, rebus_error *err)
{
	if (!(m->self.f->abilities & REBUS_GENERATES) || !m->words)
		return error_set(err, REBUS_MISUSE, "grammar: a %s model does not generate text", rebus_model_family(m));
	return grammar_new(m->words, m->mem.from, kind, text, strlen(text), out, err);
}

void rebus_grammar_free(rebus_grammar *g)
{
	if (!g)
		return;
	walk_end(&g->walk);
	mutex_end(g->lock);
	arena mem = g->mem; /* it lies in its own arena */
	arena_free(&mem);
}

bool grammar_for(const rebus_grammar *g, const tokenizer *words)
{
	return g->words == words;
}

size_t grammar_mask_words(const rebus_grammar *g)
{
	return g->mask_words;
}

/* ------------------------------------------------------------------------------------------------ over the tokens */
/* The tokens that may follow `at`; seen: the stands they lead to, NULL: nobody asks. */
static rebus_status allow(rebus_grammar *g, uint32_t at, const spellings *s, uint32_t *mask, uint32_t *allowed, buf *seen, rebus_error *err)
{
	size_t depth = 0; /* bytes of the token before for which the stand is known */
	*allowed = 0;
	g->stack[0] = at;
	for (size_t i = 0; i < s->count; i++) {
		const spelling *t = &s->list[i];
		if (t->common < depth)
			depth = t->common;
		while (depth < t->size) {
			uint32_t next;
			rebus_status status = walk_step(&g->walk, g->stack[depth], (unsigned char)s->bytes[t->at + depth], &next, err);
			if (status)
				return status;
			if (next == STAND_NONE)
				break;
			g->stack[++depth] = next;
		}
		if (depth < t->size) {
			while (i + 1 < s->count && s->list[i + 1].common > depth)
				i++;
			continue;
		}
		mask[t->id / 32] |= (uint32_t)1 << t->id % 32;
		++*allowed;
		if (seen)
			buf_add(seen, &g->stack[depth], sizeof(uint32_t));
	}
	return REBUS_OK;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Distinct ones, sorted. */
static size_t distinct(buf *list)
{
	uint32_t *at = (uint32_t *)(void *)list->data;
	size_t n = list->size / sizeof *at, kept = 0;
	if (n)
		qsort(at, n, sizeof *at, by_number);
	for (size_t i = 0; i < n; i++)
		if (!kept || at[kept - 1] != at[i])
			at[kept++] = at[i];
	list->size = kept * sizeof *at;
	return kept;
}

/*
 * Can tokens end what stands at `from`? A search over stands: 1 yes (or nobody knows after so many), -1 no. What was found out
 * of the stands that were looked at on the way is kept where it is sure: all of a search that found no end have none.
 */
static rebus_status finishes(rebus_grammar *g, uint32_t from, int8_t *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	buf todo, next;
	size_t looked = 0;
	arena_mark mark = arena_here(&g->mem);
	uint32_t *mask = arena_zero(&g->mem, g->mask_words, sizeof *mask), allowed;
	buf_init(&todo, g->mem.from, GRAMMAR_CACHE_END);
	buf_init(&next, g->mem.from, GRAMMAR_CACHE_END);
	buf_add(&todo, &from, sizeof from);
	walk_stand(&g->walk, from)->search = ++g->searches;
	*out = mask ? -1 : 0;
	for (; *out < 0 && looked < todo.size / sizeof from; looked++) {
		uint32_t at = ((const uint32_t *)(const void *)todo.data)[looked];
		const stand *s = walk_stand(&g->walk, at);
		if (s->end || s->finishes > 0 || looked == GRAMMAR_CHECKED_MOST) {
			*out = 1;
			break;
		}
		if (s->finishes < 0)
			continue;
		next.size = 0;
		TRY(allow(g, at, &g->later, mask, &allowed, &next, err));
		size_t n_next = distinct(&next);
		for (size_t i = 0; i < n_next; i++) {
			uint32_t n = ((const uint32_t *)(const void *)next.data)[i];
			stand *there = walk_stand(&g->walk, n);
			if (there->end)
				*out = 1;
			if (there->search != g->searches)
				buf_add(&todo, &n, sizeof n);
			there->search = g->searches;
		}
		if (todo.failed || next.failed)
			break;
	}
	if (!mask || todo.failed || next.failed)
		status = error_memory(err, "a grammar");
	for (size_t i = 0; !status && *out < 0 && i < todo.size / sizeof from; i++)
		walk_stand(&g->walk, ((const uint32_t *)(const void *)todo.data)[i])->finishes = -1;
	if (!status && *out > 0)
		walk_stand(&g->walk, from)->finishes = 1;
done:
	arena_release(&g->mem, mark);
	buf_free(&todo);
	buf_free(&next);
	return status;
}

/* Takes out the tokens after which no tokens lead to an end. */
static rebus_status prune(rebus_grammar *g, uint32_t at, const spellings *s, uint32_t *mask, uint32_t *allowed, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (size_t i = 0; i < s->count; i++) {
		const spelling *t = &s->list[i];
		uint32_t bit = (uint32_t)1 << t->id % 32, end = at;
		if (!(mask[t->id / 32] & bit))
			continue;
		for (size_t k = 0; k < t->size; k++)
			TRY(walk_step(&g->walk, end, (unsigned char)s->bytes[t->at + k], &end, err));
		int8_t good = walk_stand(&g->walk, end)->finishes;
		if (!good)
			TRY(finishes(g, end, &good, err));
		if (good < 0) {
			mask[t->id / 32] &= ~bit;
			--*allowed;
		}
	}
done:
	return status;
}

static rebus_status mask_of(rebus_grammar *g, uint32_t at, bool first, const uint32_t **out, uint32_t *allowed, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	stand *s = walk_stand(&g->walk, at);
	uint32_t *mask = first ? s->first_mask : s->mask, count = first ? s->first_allowed : s->allowed;
	const spellings *tokens = first ? &g->first : &g->later;
	if (!mask) {
		mask = arena_zero(&g->walk.cache, g->mask_words, sizeof *mask);
		if (!mask)
			return error_memory(err, "a grammar");
		TRY(allow(g, at, tokens, mask, &count, NULL, err));
		if (!g->whole)
			TRY(prune(g, at, tokens, mask, &count, err));
		s = walk_stand(&g->walk, at);
		*(first ? &s->first_mask : &s->mask) = mask;
		*(first ? &s->first_allowed : &s->allowed) = count;
	}
	*out = mask;
	*allowed = count;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ answers */
/* What an answer must know of its stand to find it again. */
static rebus_status keep(const rebus_grammar *g, grammar_at *at, rebus_error *err)
{
	const stand *s = walk_stand(&g->walk, at->stand);
	at->places.size = 0;
	at->end = s->end;
	at->generation = g->generation;
	at->era = g->era;
	if (s->count)
		buf_add(&at->places, walk_places(&g->walk, at->stand), s->count * sizeof(place));
	return buf_check(&at->places, err, "an answer");
}

static rebus_status forget(rebus_grammar *g, rebus_error *err)
{
	g->generation++;
	return walk_forget(&g->walk, err);
}

/* The stand after all of the answer's bytes. */
static rebus_status say_again(rebus_grammar *g, grammar_at *at, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	at->stand = g->walk.start;
	for (size_t i = 0; i < at->said.size; i++) {
		TRY(walk_step(&g->walk, at->stand, (unsigned char)at->said.data[i], &at->stand, err));
		if (walk_bytes(&g->walk) <= GRAMMAR_CACHE_MOST)
			continue;
		TRY(keep(g, at, err));
		TRY(forget(g, err));
		TRY(walk_find(&g->walk, (const place *)(const void *)at->places.data, at->places.size / sizeof(place), at->end, &at->stand, err));
	}
	status = keep(g, at, err);
done:
	return status;
}

/* Forgets stands where they take too much, and finds the answer's again where they were. */
static rebus_status refresh(rebus_grammar *g, grammar_at *at, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	g->walk.steps = 0;
	if (!g->walk.m) {
		g->era++;
		g->generation++;
		TRY(walk_begin(&g->walk, &g->machine, g->mem.from, err));
	}
	if (walk_bytes(&g->walk) > GRAMMAR_CACHE_MOST)
		TRY(forget(g, err));
	if (at->generation == g->generation && at->era == g->era)
		return REBUS_OK;
	if (at->era != g->era)
		return say_again(g, at, err);
	at->generation = g->generation;
	status = walk_find(&g->walk, (const place *)(const void *)at->places.data, at->places.size / sizeof(place), at->end, &at->stand, err);
done:
	return status;
}

rebus_status grammar_begin(const rebus_grammar *grammar, grammar_at *at, rebus_error *err)
{
	*at = (grammar_at){.era = 0}; /* before the first, so that the first look finds it */
	buf_init(&at->said, grammar->mem.from, SAID_MOST);
	buf_init(&at->places, grammar->mem.from, 0);
	buf_add(&at->said, "", 0);
	return buf_check(&at->said, err, "an answer");
}

void grammar_end(grammar_at *at)
{
	buf_free(&at->said);
	buf_free(&at->places);
}

rebus_status grammar_mask(const rebus_grammar *grammar, grammar_at *at, uint32_t *mask, size_t *allowed, bool *ends, rebus_error *err)
{
	rebus_status status;
	rebus_grammar *g = (rebus_grammar *)grammar; /* what is behind the lock changes */
	const uint32_t *found = NULL;
	uint32_t count = 0;
	mutex_lock(g->lock);
	TRY(refresh(g, at, err));
	TRY(mask_of(g, at->stand, g->two && !at->said.size, &found, &count, err));
	memcpy(mask, found, g->mask_words * sizeof *mask);
	*allowed = count;
	*ends = walk_stand(&g->walk, at->stand)->end;
done:
	if (status == REBUS_LIMIT || status == REBUS_MEMORY)
		walk_end(&g->walk); /* it may be anything; refresh begins anew */
	mutex_unlock(g->lock);
	return status;
}

rebus_status grammar_take(const rebus_grammar *grammar, grammar_at *at, int32_t id, size_t *size, rebus_error *err)
{
	rebus_status status;
	rebus_grammar *g = (rebus_grammar *)grammar;
	bool first = g->two && !at->said.size;
	const spellings *tokens = first ? &g->first : &g->later;
	int32_t place = id >= 0 && (size_t)id < g->ids ? (first ? g->first_place : g->place)[id] : -1;
	if (place < 0)
		return error_set(err, REBUS_MISUSE, "grammar: token %d is no text", id);
	const spelling *t = &tokens->list[place];
	mutex_lock(g->lock);
	TRY(refresh(g, at, err));
	for (size_t i = 0; i < t->size; i++)
		TRY(walk_step(&g->walk, at->stand, (unsigned char)tokens->bytes[t->at + i], &at->stand, err));
	buf_add(&at->said, tokens->bytes + t->at, t->size);
	TRY(buf_check(&at->said, err, "an answer"));
	TRY(keep(g, at, err));
	*size = t->size;
done:
	if (status == REBUS_LIMIT || status == REBUS_MEMORY)
		walk_end(&g->walk);
	mutex_unlock(g->lock);
	return status;
}

rebus_status grammar_accepts(const rebus_grammar *grammar, const char *s, size_t n, bool *fits, bool *begins, rebus_error *err)
{
	rebus_status status;
	rebus_grammar *g = (rebus_grammar *)grammar;
	mutex_lock(g->lock);
	grammar_at at;
	TRY(grammar_begin(g, &at, err));
	TRY(refresh(g, &at, err));
	buf_add(&at.said, s, n);
	TRY(buf_check(&at.said, err, "a text"));
	TRY(say_again(g, &at, err));
	*fits = walk_stand(&g->walk, at.stand)->end;
	*begins = at.stand != STAND_NONE;
done:
	grammar_end(&at);
	if (status == REBUS_LIMIT || status == REBUS_MEMORY)
		walk_end(&g->walk);
	mutex_unlock(g->lock);
	return status;
}
