/*
 * vocabulary.c - a model's tokens: to their ids by hash, and back by a table of ids.
 *
 *   slots   ... | 0 | 3 | 0 | 1 | ...        index into entries plus 1, open addressing
 *   entries   0: "the" = 17 | 1: "a" = 4 | 2: ...
 *   by_id   ... [17] = 1 ...
 *
 * BPE and WordPiece write a map of tokens to ids. Unigram writes a list of [token, score], where a token may stand twice: it
 * then means its last place, and the first is an id that only decodes.
 */
#include <math.h>
#include <string.h>

#include "text/text_inside.h"

const vocabulary_entry *vocabulary_look(const vocabulary_table *v, const char *s, size_t n)
{
	if (!v->count)
		return NULL;
	for (size_t k = text_hash(s, n) & v->mask; v->slots[k]; k = (k + 1) & v->mask) {
		const vocabulary_entry *e = &v->entries[v->slots[k] - 1];
		if (e->token.n == n && memcmp(e->token.s, s, n) == 0)
			return e;
	}
	return NULL;
}

int32_t vocabulary_find(const vocabulary_table *v, const char *s, size_t n)
{
	const vocabulary_entry *e = vocabulary_look(v, s, n);
	return e ? e->id : -1;
}

static void entry_index(vocabulary_table *v, size_t i)
{
	const vocabulary_entry *e = &v->entries[i];
	size_t k = text_hash(e->token.s, e->token.n) & v->mask;
	while (v->slots[k]) {
		const text_span *other = &v->entries[v->slots[k] - 1].token;
		if (other->n == e->token.n && memcmp(other->s, e->token.s, other->n) == 0)
			break;
		k = (k + 1) & v->mask;
	}
	v->distinct += !v->slots[k];
	v->slots[k] = (uint32_t)i + 1;
	v->by_id[e->id] = (uint32_t)i + 1;
}

/* Room for count tokens of so many bytes in all, and ids below id_end. */
static rebus_status table_begin(tokenizer *t, size_t count, size_t bytes, size_t id_end, char **text, rebus_error *err)
{
	vocabulary_table *v = &t->vocabulary;
	size_t slots = text_table_size(count);
	*text = arena_get(t->arena, bytes + 1, 1);
	v->entries = arena_get(t->arena, count + 1, sizeof(*v->entries));
	v->slots = arena_zero(t->arena, slots, sizeof(*v->slots));
	v->by_id = arena_zero(t->arena, id_end + 1, sizeof(*v->by_id));
	if (!*text || !v->entries || !v->slots || !v->by_id)
		return error_memory(err, "the vocabulary");
	v->mask = slots - 1;
	v->ids = id_end;
	return REBUS_OK;
}

static void entry_put(vocabulary_table *v, char **text, const char *s, size_t n, int64_t id)
{
	memcpy(*text, s, n);
	(*text)[n] = 0;
	v->entries[v->count] = (vocabulary_entry){{*text, n}, (int32_t)id};
	*text += n + 1;
	entry_index(v, v->count++);
}

static rebus_status size_check(size_t count, rebus_error *err)
{
	if (count > TEXT_VOCABULARY_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: model.vocab: %zu tokens, more than %d", count, TEXT_VOCABULARY_MOST);
	return REBUS_OK;
}

static rebus_status token_check(size_t size, rebus_error *err)
{
	if (size > TEXT_TOKEN_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: model.vocab: a token of %zu bytes, more than %d", size, TEXT_TOKEN_MOST);
	return REBUS_OK;
}

static rebus_status map_read(tokenizer *t, const json *map, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	size_t bytes = 0;
	char *text;
	int64_t id, last = -1;
	if (json_kind_of(map) != JSON_MAP)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.vocab is not a map of tokens to ids");
	TRY(size_check(json_count(map), err));
	for (json_each it = json_first(map); json_next(&it);) {
		if (json_kind_of(it.value) != JSON_INT || !json_int(it.value, &id) || id < 0 || id >= 2 * (int64_t)TEXT_VOCABULARY_MOST)
			return error_set(err, REBUS_FORMAT, "tokenizer.json: model.vocab: id of %.60s is not an integer from 0 to %d", it.key,
			                 2 * TEXT_VOCABULARY_MOST - 1);
		TRY(token_check(strlen(it.key), err));
		bytes += strlen(it.key) + 1;
		last = int_max(last, id);
	}
	TRY(table_begin(t, json_count(map), bytes, (size_t)(last + 1), &text, err));
	for (json_each it = json_first(map); json_next(&it);) {
		json_int(it.value, &id);
		entry_put(&t->vocabulary, &text, it.key, strlen(it.key), id);
	}
done:
	return status;
}

static rebus_status list_read(tokenizer *t, const json *list, const double **scores, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	size_t bytes = 0, n, count = json_count(list);
	char *text;
	if (json_kind_of(list) != JSON_LIST)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.vocab is not a list of tokens with scores");
	TRY(size_check(count, err));
	double *score = arena_get(t->arena, count + 1, sizeof(*score));
	if (!score)
		return error_memory(err, "the vocabulary");
	for (size_t i = 0; i < count; i++) {
		const json *pair = json_at(list, i);
		if (json_count(pair) != 2 || !json_text(json_at(pair, 0), &n) || !json_real(json_at(pair, 1), &score[i]) || !isfinite(score[i]))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: model.vocab: entry %zu is not a token with its score", i);
		TRY(token_check(n, err));
		bytes += n + 1;
	}
	TRY(table_begin(t, count, bytes, count, &text, err));
	for (size_t i = 0; i < count; i++) {
		const char *s = json_text(json_at(json_at(list, i), 0), &n);
		entry_put(&t->vocabulary, &text, s, n, (int64_t)i);
	}
	*scores = score;
done:
	return status;
}

rebus_status vocabulary_read(tokenizer *t, const json *j, const double **scores, rebus_error *err)
{
	return scores ? list_read(t, j, scores, err) : map_read(t, j, err);
}

void vocabulary_bytes(const vocabulary_table *v, int32_t out[256])
{
	for (int b = 0; b < 256; b++) {
		char name[8] = {'<', '0', 'x', "0123456789ABCDEF"[b >> 4], "0123456789ABCDEF"[b & 15], '>'};
		out[b] = vocabulary_find(v, name, 6);
	}
}

rebus_status model_affix(tokenizer *t, const json *model, const char *name, text_span *out, rebus_error *err)
{
	if (!json_get(model, name))
		return REBUS_OK;
	if (!json_text(json_get(model, name), NULL))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.%s is not a string", name);
	if (!span_json(json_get(model, name), t->arena, out))
		return error_memory(err, "a tokenizer");
	if (out->n > TEXT_AFFIX_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: model.%s: more than %d bytes", name, TEXT_AFFIX_MOST);
	return REBUS_OK;
}
