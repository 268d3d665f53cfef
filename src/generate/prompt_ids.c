/*
 * prompt_ids.c - from pieces to the ids a model reads.
 *
 *   pieces ─► messages ─► chat template ─► text ─► ids ─► placeholder ids repeated for their picture's rows
 *         └─► raw: texts joined, the placeholder written where a picture stands ─┘
 *
 * Special tokens are added as the reference's calls do: a processor (a model that reads pictures) adds them unless the text
 * begins with the first token already; apply_chat_template of a tokenizer adds none; raw text gets them.
 */
#include <string.h>

#include "generate/prompt.h"

enum { PROMPT_BYTES = 16 << 20 };

static const char *placeholder(const rebus_model *m)
{
	return m->self.f->image_token ? text_token(m->words, (int32_t)m->self.f->image_token(m->self.config), NULL) : NULL;
}

static size_t count_of(const char *s, size_t n, const char *word)
{
	size_t found = 0, k = strlen(word);
	for (size_t i = 0; k && i + k <= n; i++)
		if (!memcmp(s + i, word, k)) {
			found++;
			i += k - 1;
		}
	return found;
}

/* Do the texts themselves say where pictures go? */
static bool texts_hold_placeholders(const rebus_prompt *p)
{
	const char *word = p->picture_count || p->m->self.f->image_token ? placeholder(p->m) : NULL;
	for (int32_t i = 0; word && i < p->piece_count; i++)
		if (!p->pieces[i].image && count_of(p->pieces[i].text, p->pieces[i].size, word))
			return true;
	return false;
}

static rebus_status raw_text(const rebus_prompt *p, buf *out, rebus_error *err)
{
	const char *word = placeholder(p->m);
	bool given = texts_hold_placeholders(p);
	for (int32_t i = 0; i < p->piece_count; i++) {
		if (!p->pieces[i].image)
			buf_add(out, p->pieces[i].text, p->pieces[i].size);
		else if (!word)
			return error_set(err, REBUS_FORMAT, "%s: the tokenizer has no placeholder for a picture", p->m->folder);
		else if (!given)
			buf_text(out, word);
	}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ template */
static rebus_status item_value(arena *a, const piece *x, template_value *out, rebus_error *err)
{
	template_value d = template_dict(a);
	rebus_status status = template_dict_set(a, d, "type", template_text(a, x->image ? "image" : "text", x->image ? 5 : 4), err);
	if (!status && !x->image)
		status = template_dict_set(a, d, "text", template_text(a, x->text, x->size), err);
	*out = d;
	return status;
}

/* The content of message number `message`: a string if all is text (unless the prompt says otherwise), else the list of pieces. */
static rebus_status content_value(const rebus_prompt *p, arena *a, int32_t message, bool drop_images, template_value *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool all_text = true;
	buf joined;
	buf_init(&joined, a->from, PROMPT_BYTES);
	template_value list = template_list(a);
	for (int32_t i = 0; i < p->piece_count; i++) {
		const piece *x = &p->pieces[i];
		if (x->message != message || (x->image && drop_images))
			continue;
		all_text &= !x->image;
		template_value item;
		TRY(item_value(a, x, &item, err));
		TRY(template_list_add(a, list, item, err));
		buf_add(&joined, x->text, x->size);
	}
	TRY(buf_check(&joined, err, "a message"));
	*out = all_text && !p->listed ? template_text(a, joined.data ? joined.data : "", joined.size) : list;
done:
	buf_free(&joined);
	return status;
}

static rebus_status message_value(const rebus_prompt *p, arena *a, int32_t message, bool drop_images, template_value messages, rebus_error *err)
{
	rebus_status status;
	const char *role = message ? p->roles[message - 1] : "user";
	template_value content, d = template_dict(a);
	TRY(content_value(p, a, message, drop_images, &content, err));
	TRY(template_dict_set(a, d, "role", template_text(a, role, strlen(role)), err));
	TRY(template_dict_set(a, d, "content", content, err));
	TRY(template_list_add(a, messages, d, err));
done:
	return status;
}

static rebus_status special_tokens(const rebus_model *m, arena *a, template_value *out, rebus_error *err)
{
	static const struct {
		const char *name;
		text_named which;
	} named[] = {{"bos_token", TEXT_BOS}, {"eos_token", TEXT_EOS}, {"unk_token", TEXT_UNK}, {"sep_token", TEXT_SEP},
		{"pad_token", TEXT_PAD}, {"cls_token", TEXT_CLS}, {"mask_token", TEXT_MASK}};
	*out = template_dict(a);
	for (size_t i = 0; i < COUNT_OF(named); i++) {
		const char *s = text_named_token(m->words, named[i].which);
		rebus_status status = s ? template_dict_set(a, *out, named[i].name, template_text(a, s, strlen(s)), err) : REBUS_OK;
		if (status)
			return status;
	}
	const char *s = text_named_extra(m->words, "image_token");
	return s ? template_dict_set(a, *out, "image_token", template_text(a, s, strlen(s)), err) : REBUS_OK;
}

static rebus_status chat_text(const rebus_prompt *p, bool ask, buf *out, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, p->mem.from, 0);
	template_value messages = template_list(&a);
	bool first_used = false, drop = texts_hold_placeholders(p);
	for (int32_t i = 0; i < p->piece_count; i++)
		first_used |= p->pieces[i].message == 0;
	if (first_used || !p->role_count)
		TRY(message_value(p, &a, 0, drop, messages, err));
	for (int32_t r = 1; r <= p->role_count; r++)
		TRY(message_value(p, &a, r, drop, messages, err));
	template_chat_call call = {.messages = messages, .add_generation_prompt = ask};
	TRY(special_tokens(p->m, &a, &call.tokens, err));
	TRY(template_chat(p->m->chat, &a, &call, out, err));
done:
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ ids */
static rebus_status need_words(const rebus_model *m, rebus_error *err)
{
	return m->words ? REBUS_OK : error_set(err, REBUS_IO, "%s: no tokenizer.json, so text cannot be read", m->folder);
}

static bool begins_with_first_token(const rebus_model *m, const buf *text)
{
	const char *bos = text_named_token(m->words, TEXT_BOS);
	size_t n = bos ? strlen(bos) : 0;
	return n && text->size >= n && !memcmp(text->data, bos, n);
}

/* Ids of a tokenizer that was made for another table of embeddings. A placeholder's row is replaced, so its id may be any. */
static rebus_status check_ids(const rebus_model *m, const ids *list, int64_t placeholder_id, rebus_error *err)
{
	int64_t most = m->text.f->words(m->text.config)->vocabulary;
	for (size_t i = 0; i < ids_count(list); i++) {
		int32_t id = ids_data(list)[i];
		if ((id < 0 || id >= most) && id != placeholder_id)
			return error_set(err, REBUS_SHAPE,
				"%s: tokenizer.json gives the id %d, expected less than config.json's vocab_size %lld", m->folder, id, (long long)most);
	}
	return REBUS_OK;
}

static rebus_status take(arena *a, const ids *list, size_t rows, sequence *out, rebus_error *err)
{
	out->ids = arena_get(a, rows, sizeof(int32_t));
	out->picture = arena_get(a, rows, sizeof(int32_t));
	if (!out->ids || !out->picture)
		return error_memory(err, "a prompt");
	out->count = (int32_t)rows;
	for (size_t i = 0; i < rows && i < ids_count(list); i++) {
		out->ids[i] = ids_data(list)[i];
		out->picture[i] = -1;
	}
	return REBUS_OK;
}

/* Every placeholder becomes the rows of the next picture. */
static rebus_status expand(const rebus_prompt *p, arena *a, const ids *list, const int64_t *feature_rows, sequence *out, rebus_error *err)
{
	int64_t image = p->m->self.f->image_token ? p->m->self.f->image_token(p->m->self.config) : -1;
	int32_t found = 0;
	int64_t rows = 0;
	rebus_status status = check_ids(p->m, list, image, err);
	if (status)
		return status;
	for (size_t i = 0; i < ids_count(list); i++) {
		bool here = image >= 0 && ids_data(list)[i] == image;
		rows += here && found < p->picture_count ? feature_rows[found] : 1;
		found += here;
	}
	if (found != p->picture_count)
		return error_set(err, REBUS_MISUSE, "the prompt has %d places for pictures and %d pictures, expected as many", found, p->picture_count);
	if (rows > TEXT_IDS_MOST)
		return error_set(err, REBUS_LIMIT, "a prompt of %lld tokens, expected at most %d", (long long)rows, TEXT_IDS_MOST);
	status = take(a, list, (size_t)rows, out, err);
	int64_t to = 0;
	found = 0;
	for (size_t i = 0; !status && i < ids_count(list); i++) {
		int32_t id = ids_data(list)[i];
		bool here = image >= 0 && id == image;
		for (int64_t k = here ? feature_rows[found] : 1; k > 0; k--, to++) {
			out->ids[to] = id;
			out->picture[to] = here ? found : -1;
		}
		found += here;
	}
	return status;
}

static rebus_status one_sequence(const rebus_prompt *p, bool ask, arena *a, const int64_t *feature_rows, sequence *out, rebus_error *err)
{
	rebus_status status;
	buf text;
	ids list;
	bool chat = p->m->chat && !p->options.raw;
	buf_init(&text, p->mem.from, PROMPT_BYTES);
	ids_init(&list, p->mem.from, 0);
	TRY(need_words(p->m, err));
	if (p->role_count && !chat) {
		status = error_set(err, REBUS_MISUSE, "messages: %s has no chat template", p->m->folder);
		goto done;
	}
	TRY(chat ? chat_text(p, ask, &text, err) : raw_text(p, &text, err));
	TRY(buf_check(&text, err, "a prompt"));
	bool special = !chat || (p->m->vision.f && !begins_with_first_token(p->m, &text));
	TRY(text_encode(p->m->words, text.data ? text.data : "", text.size, special && !p->options.bare, &list, err));
	TRY(ids_check(&list, err));
	TRY(expand(p, a, &list, feature_rows, out, err));
done:
	buf_free(&text);
	ids_free(&list);
	return status;
}

rebus_status prompt_sequence(const rebus_prompt *p, arena *a, const int64_t *feature_rows, sequence *out, rebus_error *err)
{
	return one_sequence(p, true, a, feature_rows, out, err);
}

rebus_status prompt_conversation(const rebus_prompt *p, arena *a, const int64_t *feature_rows, sequence *out, rebus_error *err)
{
	return one_sequence(p, false, a, feature_rows, out, err);
}

/* Padding that the model was trained to read: up to `most` ids, on the tokenizer's side. */
static rebus_status pad(const rebus_prompt *p, ids *list, int64_t most, rebus_error *err)
{
	int32_t id = text_named_id(p->m->words, TEXT_PAD);
	int64_t add = most - (int64_t)ids_count(list);
	if (id < 0)
		return error_set(err, REBUS_FORMAT, "%s: the tokenizer has no padding token, and the model reads padding", p->m->folder);
	for (int64_t i = 0; i < add; i++)
		ids_add(list, id);
	rebus_status status = ids_check(list, err);
	if (status || add <= 0 || !text_get_info(p->m->words)->pad_left)
		return status;
	int32_t *at = (int32_t *)(void *)list->bytes.data;
	memmove(at + add, at, (size_t)(most - add) * sizeof *at);
	for (int64_t i = 0; i < add; i++)
		at[i] = id;
	return REBUS_OK;
}

static rebus_status take_segments(arena *a, const ids *types, sequence *out, rebus_error *err)
{
	size_t n = ids_count(types);
	out->segment = arena_get(a, n + 1, sizeof *out->segment);
	if (!out->segment)
		return error_memory(err, "a prompt");
	if (n)
		memcpy(out->segment, ids_data(types), n * sizeof *out->segment);
	return REBUS_OK;
}

rebus_status prompt_text_ids(const rebus_prompt *p, arena *a, const piece *t, bool whole, sequence *out, rebus_error *err)
{
	rebus_status status;
	ids list, types;
	ids_init(&list, p->mem.from, 0);
	ids_init(&types, p->mem.from, 0);
	TRY(need_words(p->m, err));
	const text_shape *w = p->m->text.f->words(p->m->text.config);
	int64_t most = text_get_info(p->m->words)->model_max_length;
	bool as_is = whole || p->options.bare;
	most = w->full ? int_min(most, w->positions) : most;
	TRY(text_encode_pair(p->m->words, t->text, t->size, t->pair, t->pair_size, !p->options.bare, as_is ? INT64_MAX : most, &list, &types, err));
	if (!as_is && w->full)
		TRY(pad(p, &list, most, err));
	TRY(check_ids(p->m, &list, -1, err));
	TRY(take(a, &list, ids_count(&list), out, err));
	if (t->pair)
		TRY(take_segments(a, &types, out, err));
done:
	ids_free(&list);
	ids_free(&types);
	return status;
}
