/*
 * added_tokens.c - tokens that are cut out of the text before the model sees it: <s>, <image>, <|im_start|>.
 *
 * Two tries of bytes: one over the contents, searched in the raw text, one over the normal forms of those marked
 * `normalized`, searched in the normalised text between them. At each place the longest match counts:
 *
 *   "a <img> b"   <img> with lstrip and rstrip:   ["a"] [<img> = " <img> "] ["b"]
 *
 * single_word refuses a match next to a word character; the search then goes on behind it. lstrip and rstrip take the
 * blanks around into the match. Reference: tokenizers 0.23, src/tokenizer/added_vocabulary.rs, which also says how ids
 * are given: a token of the model keeps its id, others follow the vocabulary; the ids in tokenizer.json are not read.
 */
#include <string.h>

#include "text/text_inside.h"

enum { CONTENT_MOST = 1024, NODES_MOST = 16 << 20 };

/* ------------------------------------------------------------------------------------------------ the list */
rebus_status added_begin(tokenizer *t, size_t most, rebus_error *err)
{
	added_tokens *a = &t->added;
	if (most > TEXT_VOCABULARY_MOST)
		return error_set(err, REBUS_LIMIT, "added tokens: %zu, more than %d", most, TEXT_VOCABULARY_MOST);
	size_t slots = text_table_size(most);
	a->list = arena_get(t->arena, most + 1, sizeof(*a->list));
	a->slots = arena_zero(t->arena, slots, sizeof(*a->slots));
	a->most = most;
	a->mask = slots - 1;
	return a->list && a->slots ? REBUS_OK : error_memory(err, "the added tokens");
}

void added_list(tokenizer *t)
{
	added_tokens *a = &t->added;
	int64_t size = (int64_t)t->vocabulary.count, last = -1;
	for (size_t i = 0; i < a->count; i++)
		last = int_max(last, a->list[i].id);
	a->next_id = (int32_t)(last >= 0 && (last >= size || size == 0) ? last + 1 : size);
}

static added_token *find(const added_tokens *a, const char *s, size_t n)
{
	if (!a->most)
		return NULL;
	for (size_t k = text_hash(s, n) & a->mask; a->slots[k]; k = (k + 1) & a->mask) {
		added_token *e = &a->list[a->slots[k] - 1];
		if (e->content.n == n && memcmp(e->content.s, s, n) == 0)
			return e;
	}
	return NULL;
}

const added_token *added_find(const tokenizer *t, const char *s, size_t n)
{
	return find(&t->added, s, n);
}

const added_token *added_by_id(const tokenizer *t, int32_t id)
{
	const added_tokens *a = &t->added;
	return id >= 0 && (size_t)id < a->id_end && a->by_id[id] >= 0 ? &a->list[a->by_id[id]] : NULL;
}

rebus_status added_put(tokenizer *t, const added_token *token, rebus_error *err)
{
	added_tokens *a = &t->added;
	if (!token->content.n)
		return REBUS_OK;
	if (token->content.n > CONTENT_MOST)
		return error_set(err, REBUS_LIMIT, "added token %.40s...: more than %d bytes", token->content.s, CONTENT_MOST);
	added_token *e = find(a, token->content.s, token->content.n);
	if (e) {
		bool ever = e->ever_special || token->special;
		text_span content = e->content;
		int32_t id = e->id;
		*e = *token;
		e->content = content;
		e->id = id;
		e->ever_special = ever;
		return REBUS_OK;
	}
	if (a->count == a->most)
		return error_set(err, REBUS_LIMIT, "added tokens: more than %zu", a->most);
	e = &a->list[a->count++];
	*e = *token;
	e->ever_special = token->special;
	e->id = vocabulary_find(&t->vocabulary, token->content.s, token->content.n);
	if (e->id < 0)
		e->id = a->next_id++;
	size_t k = text_hash(token->content.s, token->content.n) & a->mask;
	while (a->slots[k])
		k = (k + 1) & a->mask;
	a->slots[k] = (uint32_t)a->count;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ the tries */
static size_t edge_slot(const added_trie *t, uint32_t node, unsigned char byte)
{
	uint64_t h = ((uint64_t)node << 8 | byte) * 0x9E3779B97F4A7C15u;
	size_t k = (size_t)(h >> 32) & t->mask;
	while (t->edges[k].child && (t->edges[k].node != node || t->edges[k].byte != byte))
		k = (k + 1) & t->mask;
	return k;
}

static void trie_put(added_trie *t, text_span s, int32_t token)
{
	uint32_t node = 0;
	t->begins[(unsigned char)s.s[0]] = true;
	for (size_t i = 0; i < s.n; i++) {
		size_t k = edge_slot(t, node, (unsigned char)s.s[i]);
		if (!t->edges[k].child) {
			t->hits[t->nodes] = -1;
			t->edges[k] = (added_edge){.node = node, .byte = (unsigned char)s.s[i], .child = (uint32_t)t->nodes++};
		}
		node = t->edges[k].child;
	}
	if (t->hits[node] < 0)
		t->hits[node] = token;
}

static rebus_status trie_make(tokenizer *t, bool normal, added_trie *out, rebus_error *err)
{
	const added_tokens *a = &t->added;
	size_t nodes = 1;
	for (size_t i = 0; i < a->count; i++)
		if (a->list[i].normalized == normal)
			nodes += a->list[i].shown.n;
	if (nodes > NODES_MOST)
		return error_set(err, REBUS_LIMIT, "added tokens: more than %d bytes in all", NODES_MOST);
	size_t slots = text_table_size(nodes);
	out->edges = arena_zero(t->arena, slots, sizeof(*out->edges));
	out->hits = arena_get(t->arena, nodes, sizeof(*out->hits));
	if (!out->edges || !out->hits)
		return error_memory(err, "the added tokens");
	out->mask = slots - 1;
	out->nodes = 1;
	out->hits[0] = -1;
	for (size_t i = 0; i < a->count; i++)
		if (a->list[i].normalized == normal && a->list[i].shown.n)
			trie_put(out, a->list[i].shown, (int32_t)i);
	return REBUS_OK;
}

static rebus_status ids_index(tokenizer *t, rebus_error *err)
{
	added_tokens *a = &t->added;
	for (size_t i = 0; i < a->count; i++)
		a->id_end = (size_t)int_max((int64_t)a->id_end, a->list[i].id + 1);
	a->by_id = arena_get(t->arena, a->id_end, sizeof(*a->by_id));
	if (!a->by_id)
		return error_memory(err, "the added tokens");
	for (size_t i = 0; i < a->id_end; i++)
		a->by_id[i] = -1;
	for (size_t i = 0; i < a->count; i++)
		a->by_id[a->list[i].id] = (int32_t)i;
	return REBUS_OK;
}

rebus_status added_finish(tokenizer *t, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	text_work w = {0};
	TRY(work_begin(&w, t, 0, err));
	for (size_t i = 0; i < t->added.count; i++) {
		added_token *e = &t->added.list[i];
		const buf *normal;
		bool first = true;
		e->shown = e->content;
		if (!e->normalized || !t->norm_count)
			continue;
		TRY(normalizer_run(&w, e->content.s, e->content.n, &first, &normal));
		if (normal->size > CONTENT_MOST * 4) {
			status = error_set(err, REBUS_LIMIT, "added token %.40s: its normal form is too long", e->content.s);
			goto done;
		}
		if (normal->size != e->content.n || memcmp(normal->data, e->content.s, e->content.n) != 0)
			e->shown = span_copy(t->arena, normal->data ? normal->data : "", normal->size);
		if (!e->shown.s) {
			status = error_memory(err, "the added tokens");
			goto done;
		}
	}
	TRY(trie_make(t, false, &t->added.raw, err));
	TRY(trie_make(t, true, &t->added.normal, err));
	TRY(ids_index(t, err));
done:
	work_end(&w);
	return status;
}

/* ------------------------------------------------------------------------------------------------ cutting */
/* The longest token at s; NULL: none. */
static const added_token *longest(const tokenizer *t, const added_trie *trie, const char *s, size_t n, size_t *size)
{
	int32_t hit = -1;
	uint32_t node = 0;
	for (size_t i = 0; i < n; i++) {
		size_t k = edge_slot(trie, node, (unsigned char)s[i]);
		node = trie->edges[k].child;
		if (!node)
			break;
		if (trie->hits[node] >= 0) {
			hit = trie->hits[node];
			*size = i + 1;
		}
	}
	return hit < 0 ? NULL : &t->added.list[hit];
}

/* Start of the character that ends at `at`. */
static size_t char_before(const char *s, size_t at)
{
	do
		at--;
	while (at && ((unsigned char)s[at] & 0xC0) == 0x80);
	return at;
}

static bool stands_alone(const char *s, size_t n, size_t from, size_t end)
{
	uint32_t cp;
	if (from) {
		size_t at = char_before(s, from);
		utf8_get(s + at, from - at, &cp);
		if (unicode_word(cp))
			return false;
	}
	if (end < n) {
		utf8_get(s + end, n - end, &cp);
		if (unicode_word(cp))
			return false;
	}
	return true;
}

static size_t blanks_before(const char *s, size_t at)
{
	while (at) {
		uint32_t cp;
		size_t from = char_before(s, at);
		utf8_get(s + from, at - from, &cp);
		if (!unicode_white(cp))
			break;
		at = from;
	}
	return at;
}

static size_t blanks_after(const char *s, size_t n, size_t at)
{
	while (at < n) {
		uint32_t cp;
		size_t k = utf8_get(s + at, n - at, &cp);
		if (!unicode_white(cp))
			break;
		at += k;
	}
	return at;
}

void added_cut(const tokenizer *t, bool normal, const char *s, size_t n, size_t base, bool first, text_pieces *out)
{
	const added_trie *trie = normal ? &t->added.normal : &t->added.raw;
	size_t done_to = 0;
	for (size_t i = 0; i < n;) {
		size_t size = 0;
		const added_token *e = trie->begins[(unsigned char)s[i]] ? longest(t, trie, s + i, n - i, &size) : NULL;
		if (!e) {
			i++;
			continue;
		}
		size_t from = i, end = i + size;
		i = end;
		if ((t->added.split_special && e->ever_special) || (e->single_word && !stands_alone(s, n, from, end)))
			continue;
		if (e->lstrip) {
			size_t blank = blanks_before(s, from);
			from = blank > done_to ? blank : done_to;
		}
		if (e->rstrip)
			end = blanks_after(s, n, end);
		if (from > done_to)
			pieces_add(out, base + done_to, from - done_to, -1, first && done_to == 0);
		if (end > from) /* else another token's blanks were all there was of this one */
			pieces_add(out, 0, 0, e->id, false);
		done_to = end;
	}
	if (done_to < n)
		pieces_add(out, base + done_to, n - done_to, -1, first && done_to == 0);
}
