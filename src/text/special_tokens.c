/*
 * special_tokens.c - which tokens are named bos, eos, pad, image, ..., and which are cut out of the text.
 *
 * Names come from the class's defaults, tokenizer_config.json, and special_tokens_map.json where the config lists no
 * added_tokens_decoder (folders from before 2023), each over the one before; a null unsets. A name is a string or an
 * object {content, lstrip, rstrip, normalized, single_word, special}.
 *
 * Tokens are added in lists, in the reference's order, since a token without an id of the model's takes the next free one:
 *
 *   1  tokenizer.json's added_tokens              plain class only: a rebuilt class starts with none
 *   2  added_tokens_decoder of the config, by id  else added_tokens.json and tokenizer.json's, by id
 *      then names that are not yet among them     then extra_special_tokens
 *   3  all names and extras again, as plain special tokens (Qwen2Tokenizer)
 *
 * Reference: transformers 5.23.0, tokenization_utils_base.py (_from_pretrained), tokenization_utils_tokenizers.py (__init__).
 */
#include <stdlib.h>
#include <string.h>

#include "text/text_inside.h"

enum { EXTRAS_MOST = 4096 };

static const char *const names[TEXT_NAMED] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                              "pad_token", "cls_token", "mask_token"};

/* A string, or an object with content. text NULL: neither. */
static added_token token_read(const json *j)
{
	added_token out = {0};
	const json *content = json_kind_of(j) == JSON_MAP ? json_get(j, "content") : j;
	out.content.s = json_text(content, &out.content.n);
	out.special = json_kind_of(j) != JSON_MAP;
	json_flag(json_get(j, "special"), &out.special);
	out.normalized = !out.special;
	json_flag(json_get(j, "normalized"), &out.normalized);
	json_flag(json_get(j, "lstrip"), &out.lstrip);
	json_flag(json_get(j, "rstrip"), &out.rstrip);
	json_flag(json_get(j, "single_word"), &out.single_word);
	return out;
}

static bool legacy(const text_trees *j)
{
	return !json_has(j->tokenizer_config, "added_tokens_decoder");
}

/* The value of a name and whether any file states it (null counts). */
static const json *name_value(const text_trees *j, const char *name, bool *stated)
{
	const json *from = legacy(j) && json_has(j->special_tokens_map, name) ? j->special_tokens_map : j->tokenizer_config;
	*stated = json_has(from, name);
	return json_get(from, name);
}

/*
 * Tokens without names. A map of extra_special_tokens gives names, and leaves the list to additional_special_tokens; an empty
 * list of them shuts out that of special_tokens_map.json. *early: known as special when added_tokens.json is read.
 */
static const json *extra_list(const text_trees *j, bool *early)
{
	const json *extra = json_get(j->tokenizer_config, "extra_special_tokens");
	const json *additional = json_get(j->tokenizer_config, "additional_special_tokens");
	*early = json_kind_of(extra) != JSON_MAP;
	if (json_kind_of(extra) == JSON_LIST && json_count(extra))
		return extra;
	if (additional && *early)
		return additional;
	if (*early && (json_has(j->tokenizer_config, "extra_special_tokens") || json_has(j->tokenizer_config,
			"additional_special_tokens")))
		return NULL;
	*early = false;
	const json *pieces = json_get(j->tokenizer, "pieces_added"); /* in the place of additional_special_tokens */
	if (j->made && pieces && json_kind_of(json_get(j->special_tokens_map, "extra_special_tokens")) != JSON_LIST)
		return pieces;
	if (legacy(j) && json_has(j->special_tokens_map, "additional_special_tokens"))
		return json_get(j->special_tokens_map, "additional_special_tokens");
	*early = !additional;
	return additional || !legacy(j) ? additional : json_get(j->special_tokens_map, "extra_special_tokens");
}

static bool standard_name(const char *key)
{
	for (size_t i = 0; i < TEXT_NAMED; i++)
		if (strcmp(names[i], key) == 0)
			return true;
	return false;
}

static bool ends_in_token(const char *key)
{
	size_t n = strlen(key);
	return n > 6 && strcmp(key + n - 6, "_token") == 0 && !standard_name(key);
}

static rebus_status extra_put(tokenizer *t, const char *name, const json *value, rebus_error *err)
{
	added_token token = token_read(value);
	if (!token.content.s || !token.content.n)
		return REBUS_OK;
	if (t->extra_count == EXTRAS_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer_config.json: more than %d special tokens", EXTRAS_MOST);
	text_extra *e = &t->extras[t->extra_count];
	e->how = token;
	e->token = arena_text(t->arena, token.content.s, token.content.n);
	e->name = name ? arena_text(t->arena, name, strlen(name)) : NULL;
	if (!e->token || (name && !e->name))
		return error_memory(err, "the special tokens");
	t->extra_count++;
	return REBUS_OK;
}

/*
 * How many of <extra_id_0>, <extra_id_1>, ... T5Tokenizer adds to the list: extra_ids (100) of them unless there are some, or
 * extra_special_tokens says all there is.
 */
static rebus_status sentinels_wanted(const class_rule *rule, const text_trees *j, const json *list, size_t *out, rebus_error *err)
{
	const json *config = j->tokenizer_config, *extra = json_get(config, "extra_special_tokens");
	int64_t count = 100;
	bool map = json_kind_of(extra) == JSON_MAP;
	bool stated = (json_has(config, "extra_special_tokens") && !map) ||
	              (json_has(config, "additional_special_tokens") && !json_count(extra)) ||
	              (legacy(j) && json_kind_of(json_get(j->special_tokens_map, "extra_special_tokens")) == JSON_LIST);
	if (!rule->extra_ids || stated)
		return REBUS_OK;
	size_t have = 0;
	for (size_t i = 0; json_kind_of(list) == JSON_LIST && i < json_count(list); i++) {
		added_token token = token_read(json_at(list, i));
		have += token.content.s && text_find(token.content.s, token.content.n, 0, (text_span){"<extra_id_", 10}) < token.content.n;
	}
	if (json_has(config, "extra_ids") && (!json_int(json_get(config, "extra_ids"), &count) || count < 0 || count > EXTRAS_MOST))
		return error_set(err, REBUS_FORMAT, "tokenizer_config.json: extra_ids is not a number from 0 to %d", EXTRAS_MOST);
	if (have && count > 0 && (size_t)count != have)
		return error_set(err, REBUS_FORMAT, "tokenizer_config.json: extra_ids %d, but additional_special_tokens lists %zu of them",
			(int)count, have);
	*out = have ? 0 : (size_t)count;
	return REBUS_OK;
}

static rebus_status sentinel_put(tokenizer *t, size_t i, rebus_error *err)
{
	const char *text = arena_format(t->arena, "<extra_id_%zu>", i);
	if (!text)
		return error_memory(err, "the special tokens");
	if (t->extra_count == EXTRAS_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer_config.json: more than %d special tokens", EXTRAS_MOST);
	t->extras[t->extra_count++] = (text_extra){.token = text, .how = {.content = {text, strlen(text)}, .special = true}};
	return REBUS_OK;
}

static rebus_status extras_read(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool early;
	const json *list = extra_list(j, &early), *map = json_get(j->tokenizer_config, "extra_special_tokens");
	size_t sentinels = 0;
	TRY(sentinels_wanted(rule, j, list, &sentinels, err));
	size_t most = int_min(EXTRAS_MOST, (int64_t)(json_count(j->tokenizer_config) + json_count(map) + json_count(list) + sentinels));
	t->extras = arena_get(t->arena, most + 1, sizeof(*t->extras));
	if (!t->extras)
		return error_memory(err, "the special tokens");
	for (json_each it = json_first(j->tokenizer_config); json_next(&it);)
		if (ends_in_token(it.key))
			TRY(extra_put(t, it.key, it.value, err));
	for (json_each it = json_first(map); json_next(&it);)
		TRY(extra_put(t, it.key, it.value, err));
	for (size_t i = 0; json_kind_of(list) == JSON_LIST && i < json_count(list); i++)
		TRY(extra_put(t, NULL, json_at(list, i), err));
	for (size_t i = 0; i < sentinels; i++)
		TRY(sentinel_put(t, i, err));
done:
	return status;
}

rebus_status special_names(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err)
{
	for (size_t i = 0; i < TEXT_NAMED; i++) {
		bool stated;
		const json *value = name_value(j, names[i], &stated);
		/* classes with a pad_token argument do not look at tokenizer.json's padding */
		if (!stated && i == TEXT_PAD && (!rule->rebuilt || strcmp(rule->name, "LlamaTokenizer") == 0)) {
			value = json_get(json_get(j->tokenizer, "padding"), "pad_token");
			stated = value != NULL;
		}
		added_token token = token_read(value);
		if (!stated)
			token.content = (text_span){rule->named[i], rule->named[i] ? strlen(rule->named[i]) : 0};
		else if (value && !token.content.s)
			return error_set(err, REBUS_FORMAT, "tokenizer_config.json: %s is neither a string nor an object with content", names[i]);
		if (token.content.s && !(t->named[i] = arena_text(t->arena, token.content.s, token.content.n)))
			return error_memory(err, "the special tokens");
	}
	return extras_read(t, rule, j, err);
}

/* ------------------------------------------------------------------------------------------------ adding */
typedef struct {
	int64_t id;
	size_t order;
	added_token token;
} numbered;

static int by_id_and_order(const void *a, const void *b)
{
	const numbered *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static bool is_name(const tokenizer *t, text_span s)
{
	for (size_t i = 0; i < TEXT_NAMED; i++)
		if (t->named[i] && text_is(s.s, s.n, t->named[i]))
			return true;
	for (size_t i = 0; i < t->extra_count; i++)
		if (t->extras[i].name && text_is(s.s, s.n, t->extras[i].token))
			return true;
	return false;
}

static rebus_status copy_put(tokenizer *t, added_token token, rebus_error *err)
{
	if (!added_find(t, token.content.s, token.content.n)) {
		token.content = span_copy(t->arena, token.content.s, token.content.n);
		if (!token.content.s)
			return error_memory(err, "the added tokens");
	}
	return added_put(t, &token, err);
}

static void number(numbered *list, size_t *n, int64_t id, added_token token)
{
	list[*n] = (numbered){id, *n, token};
	++*n;
}

/* The second list's first part: numbered tokens, into list (which has room); in order of ids, the last of an id counts. */
static rebus_status numbered_read(tokenizer *t, const text_trees *j, numbered *list, size_t *count, rebus_error *err)
{
	size_t n = 0;
	int64_t id;
	bool early;
	extra_list(j, &early);
	for (json_each it = json_first(json_get(j->tokenizer_config, "added_tokens_decoder")); json_next(&it);) {
		char *end;
		id = strtoll(it.key, &end, 10);
		added_token token = token_read(it.value);
		if (*end || end == it.key || !token.content.s)
			return error_set(err, REBUS_FORMAT, "tokenizer_config.json: added_tokens_decoder: %.40s is not an id with a token", it.key);
		number(list, &n, id, token);
	}
	for (json_each it = json_first(legacy(j) ? j->added_tokens : NULL); json_next(&it);) {
		added_token token = {.content = {it.key, strlen(it.key)}};
		token.special = is_name(t, token.content);
		for (size_t i = 0; i < t->extra_count && early; i++)
			token.special = token.special || strcmp(t->extras[i].token, it.key) == 0;
		token.normalized = !token.special;
		if (!json_int(it.value, &id))
			return error_set(err, REBUS_FORMAT, "added_tokens.json: id of %.40s is not a number", it.key);
		number(list, &n, id, token);
	}
	const json *file = legacy(j) ? json_get(j->tokenizer, "added_tokens") : NULL;
	for (size_t i = 0; i < json_count(file); i++) {
		added_token token = token_read(json_at(file, i));
		if (!json_int(json_get(json_at(file, i), "id"), &id) || !token.content.s)
			return error_set(err, REBUS_FORMAT, "tokenizer.json: added_tokens: entry %zu has no id or no content", i);
		number(list, &n, id, token);
	}
	qsort(list, n, sizeof(*list), by_id_and_order);
	*count = n;
	return REBUS_OK;
}

static rebus_status second_list(tokenizer *t, const text_trees *j, numbered *list, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	size_t n = 0;
	TRY(numbered_read(t, j, list, &n, err));
	added_list(t);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && list[i].id == list[i + 1].id)
			continue;
		added_token token = list[i].token;
		token.special = token.special || is_name(t, token.content);
		TRY(copy_put(t, token, err));
	}
	for (size_t i = 0; i < TEXT_NAMED + t->extra_count; i++) {
		const text_extra *extra = i < TEXT_NAMED ? NULL : &t->extras[i - TEXT_NAMED];
		const char *text = extra ? extra->token : t->named[i];
		if (!text || added_find(t, text, strlen(text)))
			continue;
		bool stated;
		added_token token = extra ? extra->how : token_read(name_value(j, names[i], &stated));
		if (!extra && !token.content.s) /* the class's own, or the padding's */
			token = (added_token){0};
		token.content = (text_span){text, strlen(text)};
		token.special = token.special || !extra || extra->name;
		TRY(copy_put(t, token, err));
	}
done:
	return status;
}

static rebus_status third_list(tokenizer *t, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	added_list(t);
	for (size_t i = 0; i < TEXT_NAMED + t->extra_count; i++) {
		const char *text = i < TEXT_NAMED ? t->named[i] : t->extras[i - TEXT_NAMED].token;
		if (text)
			TRY(copy_put(t, (added_token){.special = true, .content = {text, strlen(text)}}, err));
	}
done:
	return status;
}

rebus_status special_add(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const json *file = json_get(j->tokenizer, "added_tokens");
	size_t most = 2 * json_count(file) + json_count(j->added_tokens);
	most += json_count(json_get(j->tokenizer_config, "added_tokens_decoder"));
	TRY(added_begin(t, most + TEXT_NAMED + t->extra_count, err));
	if (!rule->rebuilt) {
		added_list(t);
		for (size_t i = 0; i < json_count(file); i++) {
			added_token token = token_read(json_at(file, i));
			if (json_kind_of(json_at(file, i)) != JSON_MAP || !token.content.s)
				return error_set(err, REBUS_FORMAT, "tokenizer.json: added_tokens: entry %zu has no content", i);
			TRY(copy_put(t, token, err));
		}
	}
	/* scratch that is not given back: what is added after it must stay */
	numbered *list = arena_get(t->arena, most + 1, sizeof(*list));
	if (!list)
		return error_memory(err, "the added tokens");
	TRY(second_list(t, j, list, err));
	if (rule->respecial)
		TRY(third_list(t, err));
	status = added_finish(t, err);
done:
	return status;
}
