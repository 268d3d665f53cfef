/*
 * post_processor.c - what is put around an encoded text, or a pair of them.
 *
 *   TemplateProcessing   <s> $A            <s> $A <s> $B
 *   RobertaProcessing    <s> $A </s>       <s> $A </s> </s> $B </s>       all of type 0
 *   BertProcessing       [CLS] $A [SEP]    [CLS] $A [SEP] $B [SEP]        types 0 and 1
 *   ByteLevel            nothing (it moves offsets)
 *   Sequence             at most one of the others that add something
 *   none                 $A                $A $B
 *
 * Some classes put theirs in the place of the file's: CLIPTokenizer, BertTokenizer, and T5Tokenizer ($A </s> $B </s>).
 * All become templates here. Reference: tokenizers 0.23, src/processors. Without special tokens the template still orders
 * the texts and gives their types.
 */
#include <string.h>

#include "text/text_inside.h"

enum { ITEMS_MOST = 256, SPECIAL_IDS_MOST = 4096 };

static bool id_read(const json *j, int32_t *out)
{
	int64_t v;
	if (!json_int(j, &v) || v < 0 || v > INT32_MAX)
		return false;
	*out = (int32_t)v;
	return true;
}

static rebus_status special_read(tokenizer *t, const json *tokens, const json *piece, post_item *out, rebus_error *err)
{
	const char *name = json_text(json_get(piece, "id"), NULL);
	const json *list = json_get(json_get(tokens, name ? name : ""), "ids");
	size_t n = json_count(list);
	int32_t *id = n && n <= SPECIAL_IDS_MOST ? arena_get(t->arena, n, sizeof(*id)) : NULL;
	if (json_kind_of(list) != JSON_LIST || n > SPECIAL_IDS_MOST)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: special token %.40s has no list of ids",
		                 name ? name : "?");
	if (n && !id)
		return error_memory(err, "the post-processor");
	for (size_t i = 0; i < n; i++)
		if (!id_read(json_at(list, i), &id[i]))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: special token %.40s: an id is not a number", name);
	*out = (post_item){.sequence = -1, .id = id, .count = n};
	return REBUS_OK;
}

static rebus_status template_read(tokenizer *t, const json *list, const json *tokens, bool pair, post_template *out,
                                  rebus_error *err)
{
	rebus_status status = REBUS_OK;
	size_t n = json_count(list);
	if (json_kind_of(list) != JSON_LIST || n > ITEMS_MOST)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: a template is not a list of at most %d pieces",
		                 ITEMS_MOST);
	post_item *items = arena_zero(t->arena, n + 1, sizeof(*items));
	if (!items)
		return error_memory(err, "the post-processor");
	for (size_t i = 0; i < n; i++) {
		const json *sequence = json_get(json_at(list, i), "Sequence"), *special = json_get(json_at(list, i), "SpecialToken");
		if (sequence && (json_is(json_get(sequence, "id"), "A") || (pair && json_is(json_get(sequence, "id"), "B"))))
			items[i].sequence = json_is(json_get(sequence, "id"), "B");
		else if (special)
			TRY(special_read(t, tokens, special, &items[i], err));
		else
			return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: piece %zu is neither a Sequence nor a SpecialToken", i);
		if (!id_read(json_get(sequence ? sequence : special, "type_id"), &items[i].type))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: piece %zu has no type_id", i);
	}
	*out = (post_template){items, n};
done:
	return status;
}

/* cls A sep, and for a pair B between sep and sep (Roberta) or before sep (Bert) */
static rebus_status around(tokenizer *t, int32_t cls, int32_t sep, bool roberta, rebus_error *err)
{
	int32_t *id = arena_get(t->arena, 2, sizeof(*id));
	post_item *items = arena_get(t->arena, 6, sizeof(*items));
	if (!id || !items)
		return error_memory(err, "the post-processor");
	id[0] = cls;
	id[1] = sep;
	size_t n = 0;
	items[n++] = (post_item){.sequence = -1, .id = id, .count = 1};
	items[n++] = (post_item){.sequence = 0, .type = 0};
	items[n++] = (post_item){.sequence = -1, .id = id + 1, .count = 1};
	t->post.single = (post_template){items, n};
	if (roberta)
		items[n++] = (post_item){.sequence = -1, .id = id + 1, .count = 1};
	items[n++] = (post_item){.sequence = 1, .type = roberta ? 0 : 1};
	items[n++] = (post_item){.sequence = -1, .id = id + 1, .count = 1, .type = roberta ? 0 : 1};
	t->post.pair = (post_template){items, n};
	return REBUS_OK;
}

/* A eos, and for a pair B eos, all of type 0 */
static rebus_status ended(tokenizer *t, int32_t eos, rebus_error *err)
{
	int32_t *id = arena_get(t->arena, 1, sizeof(*id));
	post_item *items = arena_get(t->arena, 4, sizeof(*items));
	if (!id || !items)
		return error_memory(err, "the post-processor");
	*id = eos;
	for (int i = 0; i < 4; i++)
		items[i] = i % 2 ? (post_item){.sequence = -1, .id = id, .count = 1} : (post_item){.sequence = i / 2};
	t->post.single = (post_template){items, 2};
	t->post.pair = (post_template){items, 4};
	return REBUS_OK;
}

rebus_status post_ends(tokenizer *t, bool bos, bool eos, rebus_error *err)
{
	int32_t *id = arena_get(t->arena, 2, sizeof(*id));
	post_item *items = arena_get(t->arena, 6, sizeof(*items));
	if (!id || !items)
		return error_memory(err, "the post-processor");
	id[0] = t->named_id[TEXT_BOS];
	id[1] = t->named_id[TEXT_EOS];
	size_t n = 0, single = 0;
	for (int part = 0; part < 2; part++) {
		if (bos && id[0] >= 0)
			items[n++] = (post_item){.sequence = -1, .id = id, .count = 1, .type = part};
		items[n++] = (post_item){.sequence = part, .type = part};
		if (eos && id[1] >= 0)
			items[n++] = (post_item){.sequence = -1, .id = id + 1, .count = 1, .type = part};
		single = part ? single : n;
	}
	t->post.single = (post_template){items, single};
	t->post.pair = (post_template){items, n};
	return REBUS_OK;
}

rebus_status post_class(tokenizer *t, post_kind kind, rebus_error *err)
{
	int32_t cls = t->named_id[TEXT_CLS], sep = t->named_id[TEXT_SEP];
	if (kind == POST_BERT) /* the ids of BERT's own vocabularies where a token is unset */
		return around(t, cls < 0 ? 2 : cls, sep < 0 ? 3 : sep, false, err);
	if (t->named_id[TEXT_EOS] < 0 || (kind == POST_CLIP && t->named_id[TEXT_BOS] < 0))
		return error_set(err, REBUS_FORMAT, "tokenizer_config.json: %s needs %s", t->info.class_name,
		                 kind == POST_CLIP ? "bos_token and eos_token" : "eos_token");
	t->post.once = kind == POST_SIGLIP;
	return kind == POST_CLIP ? around(t, t->named_id[TEXT_BOS], t->named_id[TEXT_EOS], true, err) : ended(t,
		t->named_id[TEXT_EOS], err);
}

static rebus_status around_read(tokenizer *t, const json *j, bool roberta, rebus_error *err)
{
	int32_t cls, sep;
	if (!id_read(json_at(json_get(j, "cls"), 1), &cls) || !id_read(json_at(json_get(j, "sep"), 1), &sep))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: cls and sep are not [token, id]");
	return around(t, cls, sep, roberta, err);
}

static rebus_status one_read(tokenizer *t, const json *j, int *adds, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const json *type = json_get(j, "type");
	if (json_is(type, "ByteLevel"))
		return REBUS_OK;
	if (json_is(type, "Sequence")) {
		const json *list = json_get(j, "processors");
		if (json_kind_of(list) != JSON_LIST)
			return error_set(err, REBUS_FORMAT, "tokenizer.json: post_processor: Sequence without processors");
		for (size_t i = 0; i < json_count(list); i++)
			TRY(one_read(t, json_at(list, i), adds, err));
		return REBUS_OK;
	}
	if (++*adds > 1)
		return error_set(err, REBUS_UNSUPPORTED, "tokenizer.json: post_processor: a Sequence of two that add tokens is not supported");
	if (json_is(type, "RobertaProcessing") || json_is(type, "BertProcessing"))
		return around_read(t, j, json_is(type, "RobertaProcessing"), err);
	if (!json_is(type, "TemplateProcessing")) {
		const char *name = json_text(type, NULL);
		return error_set(err, name ? REBUS_UNSUPPORTED : REBUS_FORMAT, "tokenizer.json: post_processor: type %.40s is not supported",
		                 name ? name : "(none)");
	}
	TRY(template_read(t, json_get(j, "single"), json_get(j, "special_tokens"), false, &t->post.single, err));
	TRY(template_read(t, json_get(j, "pair"), json_get(j, "special_tokens"), true, &t->post.pair, err));
done:
	return status;
}

rebus_status post_read(tokenizer *t, const json *j, rebus_error *err)
{
	static const post_item plain[] = {{.sequence = 0, .type = 0}, {.sequence = 1, .type = 1}};
	int adds = 0;
	t->post = (post_steps){.single = {plain, 1}, .pair = {plain, 2}};
	return json_kind_of(j) == JSON_NONE || json_kind_of(j) == JSON_NULL ? REBUS_OK : one_read(t, j, &adds, err);
}

size_t post_special(const tokenizer *t, bool pair)
{
	const post_template *p = pair ? &t->post.pair : &t->post.single;
	size_t n = 0;
	for (size_t i = 0; i < p->count; i++)
		n += p->items[i].sequence < 0 ? p->items[i].count : 0;
	return n;
}

rebus_status post_run(const tokenizer *t, const ids *a, const ids *b, bool add_special, ids *out, ids *types, rebus_error *err)
{
	const post_template *p = b ? &t->post.pair : &t->post.single;
	size_t start = ids_count(out);
	for (size_t i = 0; i < p->count; i++) {
		const post_item *item = &p->items[i];
		const ids *from = item->sequence == 1 ? b : a;
		const int32_t *id = item->sequence < 0 ? item->id : ids_data(from);
		size_t n = item->sequence < 0 ? (add_special ? item->count : 0) : ids_count(from), have = ids_count(out);
		if (t->post.once && item->sequence < 0 && have > start && ids_data(out)[have - 1] == id[0])
			continue;
		if (n)
			buf_add(&out->bytes, id, n * sizeof(*id));
		for (size_t k = 0; k < n && types; k++)
			ids_add(types, item->type);
	}
	rebus_status status = ids_check(out, err);
	return status || !types ? status : ids_check(types, err);
}
