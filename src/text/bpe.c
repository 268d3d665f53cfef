/*
 * bpe.c - byte pair encoding: the merges, and a word to ids.
 *
 * A word is first one symbol a character: its id, or the ids of its bytes (<0x0A>, byte_fallback), or the unknown token's.
 * Then, while any neighbouring pair has a merge, the pair of lowest rank (leftmost among equals) becomes one symbol:
 *
 *   t h e r e     merges  0: h e    1: t he    2: r e
 *   t he  r e     ─► the  r e  ─►  the re
 *
 * Symbols are a doubly linked list in an array, and candidate pairs wait in a heap ordered by rank and place; a candidate
 * whose symbols have changed since is passed over when it comes up. n symbols cost O(n log n), so a text of a megabyte
 * without a blank is no problem for a tokenizer that merges over the whole text.
 *
 * Most words of a text are tokens as they are. Whether the merges lead there (they need not) is remembered by token, so that such a
 * word costs one look-up; others are short, and a search along the symbols beats the heap. Where no merge crosses the beginning of
 * a word, U+2581 behind something else, a text without pre-tokenizer is cut there: what the merges do on one side
 * cannot depend on the other.
 *
 * Reference: tokenizers 0.23, src/models/bpe/{model,word,serialization}.rs, its quirks included: with byte_fallback a
 * pending unknown token is written after the bytes that follow it, and a candidate is still good if its pair now merges
 * into the same token.
 */
#include <stdatomic.h>
#include <string.h>

#include "text/text_inside.h"

enum { MAKING_MOST = 1 << 30 }; /* bytes looked at */
enum { WORD_MOST = 256, FEW = 40 }; /* bytes of a word that is looked up, symbols that are searched along */

#define MARK "\xE2\x96\x81"

/* ------------------------------------------------------------------------------------------------ merges */
static size_t merge_slot(const bpe_model *m, uint64_t pair)
{
	uint64_t h = pair * 0x9E3779B97F4A7C15u;
	size_t k = (size_t)(h >> 32) & m->merge_mask;
	while (m->merges[k].pair != UINT64_MAX && m->merges[k].pair != pair)
		k = (k + 1) & m->merge_mask;
	return k;
}

static const bpe_merge *merge_find(const bpe_model *m, int32_t left, int32_t right)
{
	const bpe_merge *e = &m->merges[merge_slot(m, (uint64_t)(uint32_t)left << 32 | (uint32_t)right)];
	return e->pair == UINT64_MAX ? NULL : e;
}

static rebus_status merge_parts(const json *j, size_t rank, text_span *a, text_span *b, rebus_error *err)
{
	if (json_kind_of(j) == JSON_LIST && json_count(j) == 2) {
		a->s = json_text(json_at(j, 0), &a->n);
		b->s = json_text(json_at(j, 1), &b->n);
		if (a->s && b->s)
			return REBUS_OK;
	}
	size_t n;
	const char *s = json_text(j, &n), *blank = s ? memchr(s, ' ', n) : NULL;
	if (blank && !memchr(blank + 1, ' ', n - (size_t)(blank - s) - 1)) {
		*a = (text_span){s, (size_t)(blank - s)};
		*b = (text_span){blank + 1, n - a->n - 1};
		return REBUS_OK;
	}
	return error_set(err, REBUS_FORMAT, "tokenizer.json: model.merges: entry %zu is neither \"a b\" nor [\"a\", \"b\"]", rank);
}

static bool joins_mark(text_span a, text_span b)
{
	return b.n >= 3 && !memcmp(b.s, MARK, 3) && (a.n < 3 || memcmp(a.s + a.n - 3, MARK, 3) != 0);
}

static rebus_status merge_put(bpe_model *m, text_span a, text_span b, uint32_t rank, buf *joined, rebus_error *err)
{
	size_t prefix = m->o.prefix.s ? m->o.prefix.n : 0;
	if (b.n < prefix)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.merges: entry %u: %.40s is shorter than the prefix",
		                 (unsigned)rank, b.s);
	joined->size = 0;
	buf_add(joined, a.s, a.n);
	buf_add(joined, b.s + prefix, b.n - prefix);
	rebus_status status = buf_check(joined, err, "a merged token");
	if (status)
		return status;
	int32_t left = vocabulary_find(m->vocabulary, a.s, a.n), right = vocabulary_find(m->vocabulary, b.s, b.n);
	int32_t made = vocabulary_find(m->vocabulary, joined->data, joined->size);
	if (left < 0 || right < 0 || made < 0) {
		const char *lacks = left < 0 ? a.s : right < 0 ? b.s : joined->data;
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.merges: entry %u: %.40s is not in the vocabulary",
		                 (unsigned)rank, lacks);
	}
	uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
	m->apart = m->apart && !joins_mark(a, b);
	m->merges[merge_slot(m, pair)] = (bpe_merge){pair, rank, made}; /* a pair named twice has its last rank */
	return REBUS_OK;
}

static rebus_status merges_begin(tokenizer *t, size_t count, rebus_error *err)
{
	bpe_model *m = &t->bpe;
	if (count > TEXT_MERGES_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: model.merges: %zu entries, more than %d", count, TEXT_MERGES_MOST);
	size_t slots = text_table_size(count);
	m->merges = arena_get(t->arena, slots, sizeof(*m->merges));
	m->merge_mask = slots - 1;
	if (!m->merges)
		return error_memory(err, "the merges");
	for (size_t i = 0; i < slots; i++)
		m->merges[i] = (bpe_merge){.pair = UINT64_MAX};
	return REBUS_OK;
}

static rebus_status merges_read(tokenizer *t, const json *list, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bpe_model *m = &t->bpe;
	buf joined;
	buf_init(&joined, t->from, 2 * TEXT_TOKEN_MOST);
	size_t count = json_count(list);
	if (json_kind_of(list) != JSON_LIST) {
		status = error_set(err, REBUS_FORMAT, "tokenizer.json: model.merges is not a list");
		goto done;
	}
	TRY(merges_begin(t, count, err));
	uint32_t rank = 0;
	for (size_t i = 0; i < count; i++) {
		text_span a, b;
		const char *text = json_text(json_at(list, i), NULL);
		if (text && strncmp(text, "#version", 8) == 0)
			continue;
		TRY(merge_parts(json_at(list, i), i, &a, &b, err));
		TRY(merge_put(m, a, b, rank++, &joined, err));
	}
done:
	buf_free(&joined);
	return status;
}

/* All splits of a token into two tokens, by the id of the whole, then by the length of the left part. */
static rebus_status merges_make(tokenizer *t, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bpe_model *m = &t->bpe;
	const vocabulary_table *v = &t->vocabulary;
	size_t work = 0, count = 0;
	for (size_t i = 0; i < v->count && work <= MAKING_MOST; i++)
		work += v->entries[i].token.n * v->entries[i].token.n;
	if (work > MAKING_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.model: its pieces are too long to make merges of");
	for (int filling = 0; filling < 2; filling++) { /* first only counted */
		uint32_t rank = 0;
		if (filling)
			TRY(merges_begin(t, count, err));
		for (size_t id = 0; id < v->ids; id++) {
			text_span whole = v->by_id[id] ? v->entries[v->by_id[id] - 1].token : (text_span){"", 0};
			for (size_t k = 1; k < whole.n; k++) {
				if (((unsigned char)whole.s[k] & 0xC0) == 0x80)
					continue;
				int32_t left = vocabulary_find(v, whole.s, k), right = left < 0 ? -1 : vocabulary_find(v, whole.s + k, whole.n - k);
				if (right < 0)
					continue;
				uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
				count += !filling;
				m->apart = m->apart && !joins_mark((text_span){whole.s, k}, (text_span){whole.s + k, whole.n - k});
				if (filling)
					m->merges[merge_slot(m, pair)] = (bpe_merge){pair, rank++, (int32_t)id};
			}
		}
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ reading */
static rebus_status options_read(tokenizer *t, const json *model, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bpe_options *o = &t->bpe.o;
	double dropout;
	if (json_real(json_get(model, "dropout"), &dropout) && dropout != 0)
		return error_set(err, REBUS_UNSUPPORTED, "tokenizer.json: model.dropout %g: random merges are not supported", dropout);
	json_flag(json_get(model, "fuse_unk"), &o->fuse_unk);
	json_flag(json_get(model, "byte_fallback"), &o->byte_fallback);
	json_flag(json_get(model, "ignore_merges"), &o->ignore_merges);
	TRY(model_affix(t, model, "unk_token", &o->unk, err));
	TRY(model_affix(t, model, "continuing_subword_prefix", &o->prefix, err));
	TRY(model_affix(t, model, "end_of_word_suffix", &o->suffix, err));
done:
	return status;
}

rebus_status bpe_read(tokenizer *t, const json *model, const bpe_options *rebuilt, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bpe_model *m = &t->bpe;
	m->vocabulary = &t->vocabulary;
	if (rebuilt)
		m->o = *rebuilt;
	else
		TRY(options_read(t, model, err));
	m->apart = true;
	if (m->o.make_merges && !json_get(model, "merges"))
		TRY(merges_make(t, err));
	else
		TRY(merges_read(t, json_get(model, "merges"), err));
	m->unk_id = m->o.unk.s ? vocabulary_find(m->vocabulary, m->o.unk.s, m->o.unk.n) : -1;
	vocabulary_bytes(m->vocabulary, m->byte_ids);
	for (uint32_t cp = 0; cp < BPE_CHARS; cp++) {
		char c[4];
		m->char_ids[cp] = vocabulary_find(m->vocabulary, c, utf8_put(cp, c));
	}
	m->apart = m->apart && vocabulary_find(m->vocabulary, MARK, 3) >= 0 && !m->o.prefix.s && !m->o.suffix.s;
	m->whole = arena_get(t->arena, m->vocabulary->count + 1, 1);
	if (!m->whole)
		return error_memory(err, "the vocabulary");
	for (size_t i = 0; i < m->vocabulary->count; i++)
		atomic_init(&m->whole[i], WHOLE_UNKNOWN);
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ a word to symbols */
typedef struct {
	int32_t id, before, after; /* neighbours, -1: none */
	bool gone;
} symbol;
typedef struct {
	uint32_t rank, place;
	int32_t made;
} candidate;

static void symbol_add(text_work *w, int32_t id)
{
	int32_t n = (int32_t)(w->symbols.size / sizeof(symbol));
	symbol s = {.id = id, .before = n - 1, .after = n + 1};
	char *to = buf_reserve(&w->symbols, sizeof s);
	if (to)
		memcpy(to, &s, sizeof s);
	w->symbols.size += to ? sizeof s : 0;
}

static bool bytes_add(text_work *w, const char *s, size_t n)
{
	const bpe_model *m = &w->t->bpe;
	for (size_t i = 0; i < n; i++)
		if (m->byte_ids[(unsigned char)s[i]] < 0)
			return false;
	for (size_t i = 0; i < n; i++)
		symbol_add(w, m->byte_ids[(unsigned char)s[i]]);
	return true;
}

/* *plain: every symbol is spelled like the text it stands for. */
static rebus_status symbols_make(text_work *w, const char *s, size_t n, bool *plain)
{
	const bpe_model *m = &w->t->bpe;
	bool pending = false;
	*plain = !m->o.prefix.s;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		char with[2 * TEXT_AFFIX_MOST + 4];
		const char *c = s + i;
		size_t k = utf8_get(c, n - i, &cp), size = k;
		bool prefixed = i > 0 && m->o.prefix.s && m->o.prefix.n, suffixed = i + k == n && m->o.suffix.s && m->o.suffix.n;
		if (prefixed || suffixed) {
			size = 0;
			if (prefixed)
				memcpy(with, m->o.prefix.s, size = m->o.prefix.n);
			memcpy(with + size, c, k);
			size += k;
			if (suffixed) {
				memcpy(with + size, m->o.suffix.s, m->o.suffix.n);
				size += m->o.suffix.n;
			}
			c = with;
		}
		i += k;
		int32_t id = cp < BPE_CHARS && !prefixed && !suffixed ? m->char_ids[cp] : vocabulary_find(m->vocabulary, c, size);
		if (id >= 0) {
			if (pending)
				symbol_add(w, m->unk_id);
			pending = false;
			symbol_add(w, id);
			continue;
		}
		*plain = false;
		if ((m->o.byte_fallback && bytes_add(w, c, size)) || !m->o.unk.s)
			continue;
		if (m->unk_id < 0)
			return error_set(w->err, REBUS_FORMAT, "tokenizer.json: the unknown token %.40s is not in the vocabulary", m->o.unk.s);
		if (pending && !m->o.fuse_unk)
			symbol_add(w, m->unk_id);
		pending = true;
	}
	if (pending)
		symbol_add(w, m->unk_id);
	return buf_check(&w->symbols, w->err, "a text's symbols");
}

/* ------------------------------------------------------------------------------------------------ merging */
static bool candidate_before(const candidate *a, const candidate *b)
{
	return a->rank < b->rank || (a->rank == b->rank && a->place < b->place);
}

static void queue_push(buf *queue, candidate c)
{
	buf_add(queue, &c, sizeof(c));
	if (queue->failed)
		return;
	candidate *q = (candidate *)(void *)queue->data;
	size_t i = queue->size / sizeof(c) - 1;
	while (i && candidate_before(&c, &q[(i - 1) / 2])) {
		q[i] = q[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	q[i] = c;
}

static candidate queue_pop(buf *queue)
{
	candidate *q = (candidate *)(void *)queue->data;
	queue->size -= sizeof(candidate);
	size_t n = queue->size / sizeof(candidate), i = 0;
	candidate top = q[0], last = q[n];
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= n)
			break;
		if (child + 1 < n && candidate_before(&q[child + 1], &q[child]))
			child++;
		if (!candidate_before(&q[child], &last))
			break;
		q[i] = q[child];
		i = child;
	}
	q[i] = last;
	return top;
}

static void pair_push(text_work *w, const symbol *s, int32_t left, int32_t right)
{
	const bpe_merge *m = merge_find(&w->t->bpe, s[left].id, s[right].id);
	if (m)
		queue_push(&w->queue, (candidate){m->rank, (uint32_t)left, m->made});
}

static rebus_status merge_all(text_work *w)
{
	symbol *s = (symbol *)(void *)w->symbols.data;
	int32_t n = (int32_t)(w->symbols.size / sizeof(symbol));
	if (n)
		s[n - 1].after = -1;
	w->queue.size = 0;
	for (int32_t i = 0; i + 1 < n; i++)
		pair_push(w, s, i, i + 1);
	while (w->queue.size && !w->queue.failed) {
		candidate c = queue_pop(&w->queue);
		symbol *left = &s[c.place];
		if (left->gone || left->after < 0)
			continue;
		symbol *right = &s[left->after];
		const bpe_merge *m = merge_find(&w->t->bpe, left->id, right->id);
		if (!m || m->made != c.made)
			continue;
		left->id = c.made;
		left->after = right->after;
		right->gone = true;
		if (left->after >= 0)
			s[left->after].before = (int32_t)c.place;
		if (left->before >= 0)
			pair_push(w, s, left->before, (int32_t)c.place);
		if (left->after >= 0)
			pair_push(w, s, (int32_t)c.place, left->after);
	}
	return buf_check(&w->queue, w->err, "a text's merges");
}

/*
 * The same for a few symbols, by search. What heap and search may differ in, a candidate that is good although its symbols have
 * changed, needs two pairs of one place that make the same token: not where symbols are spelled like their text.
 */
static void merge_few(text_work *w, ids *out)
{
	const symbol *s = (const symbol *)(const void *)w->symbols.data;
	size_t n = w->symbols.size / sizeof(symbol);
	const bpe_merge *next[FEW]; /* of symbols i and i + 1; NULL: none */
	int32_t id[FEW];
	for (size_t i = 0; i < n; i++)
		id[i] = s[i].id;
	for (size_t i = 0; i + 1 < n; i++)
		next[i] = merge_find(&w->t->bpe, id[i], id[i + 1]);
	while (n > 1) {
		size_t best = n;
		uint32_t rank = UINT32_MAX;
		for (size_t i = 0; i + 1 < n; i++)
			if (next[i] && (best == n || next[i]->rank < rank)) {
				best = i;
				rank = next[i]->rank;
			}
		if (best == n)
			break;
		id[best] = next[best]->made;
		n--;
		for (size_t i = best + 1; i < n; i++) {
			id[i] = id[i + 1];
			next[i - 1] = next[i];
		}
		if (best)
			next[best - 1] = merge_find(&w->t->bpe, id[best - 1], id[best]);
		if (best + 1 < n)
			next[best] = merge_find(&w->t->bpe, id[best], id[best + 1]);
	}
	for (size_t i = 0; i < n; i++)
		ids_add(out, id[i]);
}

static rebus_status merge_word(text_work *w, const char *s, size_t n, ids *out)
{
	rebus_status status = REBUS_OK;
	bool plain;
	w->symbols.size = 0;
	TRY(symbols_make(w, s, n, &plain));
	if (!w->symbols.size)
		return REBUS_OK;
	if (plain && w->symbols.size <= FEW * sizeof(symbol)) {
		merge_few(w, out);
		return REBUS_OK;
	}
	TRY(merge_all(w));
	const symbol *list = (const symbol *)(const void *)w->symbols.data;
	for (int32_t i = 0; i >= 0; i = list[i].after)
		ids_add(out, list[i].id);
done:
	return status;
}

/* The token that is spelled like the word; NULL: none. */
static const vocabulary_entry *word_token(const bpe_model *m, const char *s, size_t n)
{
	char with[WORD_MOST + TEXT_AFFIX_MOST];
	size_t more = m->o.suffix.s ? m->o.suffix.n : 0;
	if (n > WORD_MOST)
		return NULL;
	if (!more)
		return vocabulary_look(m->vocabulary, s, n);
	memcpy(with, s, n);
	memcpy(with + n, m->o.suffix.s, more);
	return vocabulary_look(m->vocabulary, with, n + more);
}

static rebus_status word_run(text_work *w, const char *s, size_t n, ids *out)
{
	const bpe_model *m = &w->t->bpe;
	const vocabulary_entry *e = word_token(m, s, n);
	_Atomic unsigned char *known = e ? &m->whole[e - m->vocabulary->entries] : NULL;
	unsigned char answer = known ? atomic_load_explicit(known, memory_order_relaxed) : WHOLE_NO;
	if (answer == WHOLE_YES) {
		ids_add(out, e->id);
		return REBUS_OK;
	}
	size_t before = ids_count(out);
	rebus_status status = merge_word(w, s, n, out);
	if (!status && answer == WHOLE_UNKNOWN && !out->bytes.failed) {
		bool whole = ids_count(out) == before + 1 && ids_data(out)[before] == e->id;
		atomic_store_explicit(known, whole ? WHOLE_YES : WHOLE_NO, memory_order_relaxed);
	}
	return status;
}

/* Where the next word begins: a mark behind something else. */
static size_t word_end(const char *s, size_t n)
{
	size_t i = 1;
	while (i < n && ((unsigned char)s[i] != 0xE2 || n - i < 3 || memcmp(s + i, MARK, 3) != 0 || (i >= 3 && !memcmp(s + i - 3, MARK, 3))))
		i++;
	return i;
}

rebus_status bpe_run(text_work *w, const char *s, size_t n, ids *out)
{
	const bpe_model *m = &w->t->bpe;
	rebus_status status = REBUS_OK;
	if (m->o.ignore_merges) {
		int32_t id = vocabulary_find(m->vocabulary, s, n);
		if (id >= 0) {
			ids_add(out, id);
			return REBUS_OK;
		}
	}
	while (n && !status) {
		size_t end = m->apart ? word_end(s, n) : n;
		status = word_run(w, s, end, out);
		s += end;
		n -= end;
	}
	return status;
}
