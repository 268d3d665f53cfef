/*
 * tokenizer.c - opening a tokenizer and sending texts through it; see tokenizer.h for the way and text_inside.h for the parts.
 *
 *   folder/tokenizer.json            the parts                          usual; else vocab_files.c tells which
 *          tokenizer_config.json     class, special tokens, lengths     usual
 *          config.json               model_type, which may decide the class
 *          special_tokens_map.json   special tokens                     old folders
 *          added_tokens.json         further tokens                     old folders
 *
 * Reference: transformers 5.23.0 (AutoTokenizer) over tokenizers 0.23 (src/tokenizer/mod.rs).
 */
#include <string.h>

#include "text/text_inside.h"

enum { SIDE_FILE_MOST = 32 << 20, VALUES_MOST = 20 << 20, SIDE_VALUES_MOST = 2 << 20 };

/* ------------------------------------------------------------------------------------------------ opening */
static rebus_status padding_read(tokenizer *t, const json *padding, const json *truncation, rebus_error *err)
{
	text_info *i = &t->info;
	int64_t id = 0, type = 0;
	if (padding) {
		i->padding.stated = true;
		json_int(json_get(json_get(padding, "strategy"), "Fixed"), &i->padding.length);
		json_int(json_get(padding, "pad_to_multiple_of"), &i->padding.multiple);
		json_int(json_get(padding, "pad_id"), &id);
		json_int(json_get(padding, "pad_type_id"), &type);
		if (id < 0 || id > INT32_MAX || type < 0 || type > INT32_MAX || i->padding.length < 0 || i->padding.multiple < 0)
			return error_set(err, REBUS_FORMAT, "tokenizer.json: padding: a number is out of range");
		i->padding.id = (int32_t)id;
		i->padding.type_id = (int32_t)type;
		i->pad_left = json_is(json_get(padding, "direction"), "Left") || (!json_has(padding, "direction") && i->pad_left);
	}
	if (truncation) {
		i->truncation.stated = true;
		json_int(json_get(truncation, "max_length"), &i->truncation.length);
		json_int(json_get(truncation, "stride"), &i->truncation.stride);
		if (i->truncation.length < 0 || i->truncation.stride < 0)
			return error_set(err, REBUS_FORMAT, "tokenizer.json: truncation: a number is out of range");
		i->truncate_left = json_is(json_get(truncation, "direction"), "Left");
	}
	return REBUS_OK;
}

static rebus_status side_read(const json *j, const char *name, bool *left, rebus_error *err)
{
	const json *side = json_get(j, name);
	if (!side)
		return REBUS_OK;
	if (!json_is(side, "left") && !json_is(side, "right"))
		return error_set(err, REBUS_FORMAT, "tokenizer_config.json: %s is neither left nor right", name);
	*left = json_is(side, "left");
	return REBUS_OK;
}

static rebus_status info_read(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	text_info *i = &t->info;
	const json *config = j->tokenizer_config, *inputs = json_get(config, "model_input_names");
	double most;
	*i = (text_info){.class_name = rule->name, .model_max_length = INT64_MAX, .pad_left = rule->pad_left};
	i->type_ids = !rule->two_inputs;
	TRY(padding_read(t, json_get(j->tokenizer, "padding"), json_get(j->tokenizer, "truncation"), err));
	TRY(side_read(config, "padding_side", &i->pad_left, err));
	TRY(side_read(config, "truncation_side", &i->truncate_left, err));
	const json *length = json_get(config, "model_max_length");
	if (json_real(length ? length : json_get(config, "max_len"), &most) && most >= 0 && most < 9e18)
		i->model_max_length = (int64_t)most;
	if (json_kind_of(inputs) == JSON_LIST) {
		i->type_ids = false;
		for (size_t k = 0; k < json_count(inputs); k++)
			i->type_ids = i->type_ids || json_is(json_at(inputs, k), "token_type_ids");
	}
	const json *template = json_get(config, "chat_template");
	for (size_t k = 0; json_kind_of(template) == JSON_LIST && k < json_count(template); k++)
		if (json_is(json_get(json_at(template, k), "name"), "default"))
			template = json_get(json_at(template, k), "template");
	text_span text;
	if (json_text(template, NULL)) {
		if (!span_json(template, t->arena, &text))
			return error_memory(err, "the chat template");
		i->chat_template = text.s;
	}
	bool clean = false, really = false; /* the first alone does nothing to BPE */
	json_flag(json_get(config, "clean_up_tokenization_spaces"), &clean);
	json_flag(json_get(config, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"), &really);
	t->clean_up = clean && (really || t->model != MODEL_BPE);
	json_flag(json_get(config, "split_special_tokens"), &t->added.split_special);
done:
	return status;
}

typedef rebus_status part_reader(tokenizer *t, const json *j, rebus_error *err);

/* A part from the class's JSON where it rebuilds, else from the file. */
static rebus_status part_read(tokenizer *t, const class_rule *rule, const char *own, const json *file, part_reader *read,
                              rebus_error *err)
{
	if (!rule->rebuilt)
		return read(t, file, err);
	if (!own)
		return REBUS_OK;
	json *j = NULL;
	rebus_status status = json_parse(own, strlen(own), rule->name, 1000, &j, err);
	if (status == REBUS_OK)
		status = read(t, j, err);
	json_free(j);
	return status;
}

static rebus_status model_kind_read(const class_rule *rule, const json *model, model_kind *out, rebus_error *err)
{
	static const char *const kinds[] = {[MODEL_BPE] = "BPE", [MODEL_WORDPIECE] = "WordPiece", [MODEL_UNIGRAM] = "Unigram"};
	const char *type = json_text(json_get(model, "type"), NULL);
	size_t k = 0;
	if (json_kind_of(model) != JSON_MAP)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model is not a map");
	if (!type) { /* old files leave it out */
		k = json_kind_of(json_get(model, "merges")) == JSON_LIST ? MODEL_BPE : json_kind_of(json_get(model, "vocab")) == JSON_LIST ?
		    MODEL_UNIGRAM : json_has(model, "max_input_chars_per_word") ? MODEL_WORDPIECE : COUNT_OF(kinds);
		if (k == COUNT_OF(kinds))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: model.type is missing");
	} else {
		while (k < COUNT_OF(kinds) && strcmp(kinds[k], type) != 0)
			k++;
		if (k == COUNT_OF(kinds))
			return error_set(err, REBUS_UNSUPPORTED, "tokenizer.json: model.type %.40s, expected BPE, WordPiece or Unigram", type);
	}
	if (rule->rebuilt && k != rule->model)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.type %s, but %s wants %s", kinds[k], rule->name, kinds[rule->model]);
	*out = (model_kind)k;
	return REBUS_OK;
}

static rebus_status model_read(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err)
{
	const json *model = json_get(j->tokenizer, "model");
	rebus_status status;
	TRY(model_kind_read(rule, model, &t->model, err));
	TRY(vocabulary_read(t, json_get(model, "vocab"), t->model == MODEL_UNIGRAM ? &t->unigram.scores : NULL, err));
	text_span unk = {0};
	if (t->named[TEXT_UNK])
		unk = (text_span){t->named[TEXT_UNK], strlen(t->named[TEXT_UNK])};
	bpe_options o = {.fuse_unk = rule->fuse_unk, .byte_fallback = rule->byte_fallback, .make_merges = j->made};
	if (j->made && !rule->rebuilt) { /* the plain class over a SentencePiece model */
		o.fuse_unk = true;
		json_flag(json_get(model, "byte_fallback"), &o.byte_fallback);
		TRY(model_affix(t, model, "unk_token", &o.unk, err));
	}
	if (rule->unk_in_model)
		o.unk = unk;
	if (rule->suffix)
		o.suffix = (text_span){rule->suffix, strlen(rule->suffix)};
	wordpiece_options w = {.unk = unk.s ? unk : (text_span){"None", 4}, .prefix = {"##", 2}, .longest = 100};
	unigram_options u = {.unk_id = 2};
	switch (t->model) {
	case MODEL_BPE:
		return bpe_read(t, model, rule->rebuilt || j->made ? &o : NULL, err);
	case MODEL_WORDPIECE:
		return wordpiece_read(t, model, rule->rebuilt ? &w : NULL, err);
	case MODEL_UNIGRAM:
		return unigram_read(t, model, rule->rebuilt && !rule->pieces ? &u : NULL, err);
	}
done:
	return status;
}

/* The Precompiled among the file's normalizers, and no other; not in a list within the list. */
static const json *file_charsmap(const json *normalizer)
{
	const json *list = json_get(normalizer, "normalizers");
	if (json_is(json_get(normalizer, "type"), "Precompiled"))
		return normalizer;
	for (size_t i = 0; json_is(json_get(normalizer, "type"), "Sequence") && i < json_count(list); i++)
		if (json_is(json_get(json_at(list, i), "type"), "Precompiled"))
			return json_at(list, i);
	return NULL;
}

static bool option(const json *config, const char *name)
{
	bool yes = false;
	json_flag(json_get(config, name), &yes);
	return yes;
}

static rebus_status parts_read(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const json *file = j->tokenizer;
	t->norms = arena_get(t->arena, PARTS_MOST, sizeof(*t->norms));
	t->pres = arena_get(t->arena, PARTS_MOST, sizeof(*t->pres));
	t->decodes = arena_get(t->arena, PARTS_MOST, sizeof(*t->decodes));
	if (!t->norms || !t->pres || !t->decodes) {
		status = error_memory(err, "a tokenizer");
		goto done;
	}
	TRY(special_names(t, rule, j, err));
	TRY(model_read(t, rule, j, err));
	TRY(info_read(t, rule, j, err));
	if (rule->pieces)
		TRY(normalizer_read(t, json_get(file, "normalizer"), err));
	else if (rule->charsmap)
		TRY(normalizer_read(t, file_charsmap(json_get(file, "normalizer")), err));
	else
		TRY(part_read(t, rule, rule->normalizer, json_get(file, "normalizer"), normalizer_read, err));
	TRY(part_read(t, rule, rule->pre_tokenizer, json_get(file, "pre_tokenizer"), pretokenizer_read, err));
	TRY(part_read(t, rule, rule->decoder, json_get(file, "decoder"), decoder_read, err));
	TRY(special_add(t, rule, j, err));
	for (size_t i = 0; i < TEXT_NAMED; i++)
		t->named_id[i] = t->named[i] ? text_id(t, t->named[i]) : -1;
	if (rule->post == POST_FILE && j->made)
		TRY(post_ends(t, option(j->tokenizer_config, "add_bos_token"), option(j->tokenizer_config, "add_eos_token"), err));
	else if (rule->post == POST_FILE)
		TRY(post_read(t, json_get(file, "post_processor"), err));
	else
		TRY(post_class(t, rule->post, err));
done:
	return status;
}

static rebus_status map_parse(const char *text, size_t n, const char *name, size_t most_values, json **out, rebus_error *err)
{
	rebus_status status = json_parse(text, n, name, most_values, out, err);
	if (status == REBUS_OK && json_kind_of(*out) != JSON_MAP)
		status = error_set(err, REBUS_FORMAT, "%s: not a map", name);
	return status;
}

static rebus_status side_parse(const char *text, size_t n, const char *name, json **out, rebus_error *err)
{
	if (!text)
		return REBUS_OK;
	if (n > SIDE_FILE_MOST)
		return error_set(err, REBUS_LIMIT, "%s: more than %d bytes", name, SIDE_FILE_MOST);
	return map_parse(text, n, name, SIDE_VALUES_MOST, out, err);
}

static rebus_status pieces_begin(tokenizer *t, rebus_error *err);

/* The named tokens of a SentencePiece model, where the configuration names no others. */
static rebus_status pieces_named(arena *a, const json *file, class_rule *rule, rebus_error *err)
{
	static const struct {
		const char *member;
		text_named which;
	} list[] = {{"pieces_unk", TEXT_UNK}, {"pieces_bos", TEXT_BOS}, {"pieces_eos", TEXT_EOS}};
	for (size_t i = 0; i < COUNT_OF(list); i++) {
		size_t n;
		const char *s = json_text(json_get(file, list[i].member), &n);
		if (s && !(rule->named[list[i].which] = arena_text(a, s, n)))
			return error_memory(err, "a tokenizer");
	}
	return REBUS_OK;
}

rebus_status text_open_memory(arena *a, const text_files *f, tokenizer **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	json *file = NULL, *config = NULL, *map = NULL, *added = NULL, *model = NULL;
	tokenizer *t = NULL;
	class_rule rule;
	if (f->tokenizer_json_size > TEXT_FILE_MOST) {
		status = error_set(err, REBUS_LIMIT, "tokenizer.json: %zu bytes, more than %d", f->tokenizer_json_size, TEXT_FILE_MOST);
		goto done;
	}
	TRY(side_parse(f->tokenizer_config, f->tokenizer_config_size, "tokenizer_config.json", &config, err));
	TRY(side_parse(f->special_tokens_map, f->special_tokens_map_size, "special_tokens_map.json", &map, err));
	TRY(side_parse(f->added_tokens, f->added_tokens_size, "added_tokens.json", &added, err));
	TRY(side_parse(f->config, f->config_size, "config.json", &model, err));
	TRY(rule_choose(a, config, model, f->tokenizer_json, f->tokenizer_json_size, f->sentencepiece.data != NULL, &rule, err));
	if (f->tokenizer_json && !rule.pieces)
		TRY(map_parse(f->tokenizer_json, f->tokenizer_json_size, "tokenizer.json", VALUES_MOST, &file, err));
	else
		TRY(vocab_files_read(a->from, f, &rule, config, &file, err));
	if (!rule.rebuilt && !f->tokenizer_json)
		TRY(pieces_named(a, file, &rule, err));
	t = arena_zero(a, 1, sizeof(*t));
	if (!t) {
		status = error_memory(err, "a tokenizer");
		goto done;
	}
	t->arena = a;
	t->from = a->from;
	t->strip_decoded = rule.strip_decoded;
	text_trees trees = {file, config, map, added, model, !f->tokenizer_json || rule.pieces};
	TRY(parts_read(t, &rule, &trees, err));
	if (rule.pieces)
		TRY(pieces_begin(t, err));
	*out = t;
	t = NULL;
done:
	text_close(t);
	json_free(file);
	json_free(config);
	json_free(map);
	json_free(added);
	json_free(model);
	return status;
}

void text_close(tokenizer *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->norm_count; i++)
		regex_close(t->norms[i].regex);
	for (size_t i = 0; i < t->pre_count; i++)
		regex_close(t->pres[i].regex);
	for (size_t i = 0; i < t->decode_count; i++)
		regex_close(t->decodes[i].regex);
	regex_close(t->gpt2);
	t->norm_count = t->pre_count = t->decode_count = 0;
	t->gpt2 = NULL;
}

/* Maps folder/name into m if it is there. */
static rebus_status file_find(const char *folder, const char *name, size_t most, const rebus_allocator *from, file_map *m,
	bool *open,
                              rebus_error *err)
{
	buf path;
	buf_init(&path, from, 4096);
	buf_format(&path, "%s/%s", folder, name);
	rebus_status status = buf_check(&path, err, "a path");
	if (status == REBUS_OK && file_exists(path.data)) {
		status = file_open(m, path.data, most, true, from, err);
		*open = status == REBUS_OK;
	}
	buf_free(&path);
	return status;
}

rebus_status text_exists(const rebus_allocator *from, const char *folder, bool *out, rebus_error *err)
{
	static const char *const names[] = {"tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model"};
	bool found = false;
	for (size_t i = 0; i < COUNT_OF(names) && !found; i++) {
		buf path;
		buf_init(&path, from, 4096);
		buf_format(&path, "%s/%s", folder, names[i]);
		rebus_status status = buf_check(&path, err, "a path");
		found = !status && file_exists(path.data);
		buf_free(&path);
		if (status)
			return status;
	}
	*out = found;
	return REBUS_OK;
}

rebus_status text_open(arena *a, const char *folder, tokenizer **out, rebus_error *err)
{
	enum { OLD = 5, SPIECE = 9 }; /* the files from OLD on are read where there is no tokenizer.json, or instead of it (SigLIP) */
	static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	                                    "config.json",    "vocab.json",            "merges.txt",              "vocab.txt",
	                                    "tokenizer.model", "spiece.model"};
	rebus_status status = REBUS_OK;
	file_map maps[COUNT_OF(names)] = {0};
	bool open[COUNT_OF(names)] = {0};
	text_files f = {0};
	text_file *old[] = {&f.vocab_json, &f.merges_txt, &f.vocab_txt, &f.sentencepiece, &f.sentencepiece};
	const char **text[] = {&f.tokenizer_json, &f.tokenizer_config, &f.special_tokens_map, &f.added_tokens, &f.config};
	size_t *size[] = {&f.tokenizer_json_size, &f.tokenizer_config_size, &f.special_tokens_map_size, &f.added_tokens_size,
	                  &f.config_size};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if ((i >= OLD && i != SPIECE && f.tokenizer_json) || (i == SPIECE && f.sentencepiece.data))
			continue;
		TRY(file_find(folder, names[i], i && i < OLD ? SIDE_FILE_MOST : TEXT_FILE_MOST, a->from, &maps[i], &open[i], err));
		const char *data = maps[i].data ? (const char *)maps[i].data : open[i] ? "" : NULL;
		if (i >= OLD) {
			*old[i - OLD] = (text_file){data, maps[i].size};
			f.sentencepiece_name = i + 2 >= COUNT_OF(names) ? names[i] : NULL;
		} else {
			*text[i] = data;
			*size[i] = maps[i].size;
		}
	}
	TRY(text_open_memory(a, &f, out, err));
done:
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (open[i])
			file_close(&maps[i]);
	return status;
}

/* ------------------------------------------------------------------------------------------------ encoding */
/* Cuts, normalises, cuts again: the text into w->now. */
static rebus_status cut(text_work *w, const char *s, size_t n)
{
	rebus_status status = REBUS_OK;
	added_cut(w->t, false, s, n, 0, true, &w->now);
	TRY(buf_check(&w->now.list, w->err, "the pieces of a text"));
	for (size_t i = 0; i < pieces_count(&w->now); i++) {
		const text_piece *p = pieces_at(&w->now, i);
		const buf *normal;
		bool first = p->first;
		if (p->id >= 0) {
			pieces_add(&w->next, 0, 0, p->id, false);
			continue;
		}
		TRY(normalizer_run(w, s + p->from, p->size, &first, &normal));
		size_t base = w->next.text.size;
		if (normal->size) {
			buf_add(&w->next.text, normal->data, normal->size);
			added_cut(w->t, true, normal->data, normal->size, base, first, &w->next);
		}
		TRY(buf_check(&w->next.text, w->err, "a normalised text"));
	}
	TRY(buf_check(&w->next.list, w->err, "the pieces of a text"));
	text_pieces swap = w->now;
	w->now = w->next;
	w->next = swap;
done:
	return status;
}

static rebus_status model_run(text_work *w, const char *s, size_t n, ids *out)
{
	switch (w->t->model) {
	case MODEL_BPE:
		return bpe_run(w, s, n, out);
	case MODEL_WORDPIECE:
		return wordpiece_run(w, s, n, out);
	case MODEL_UNIGRAM:
		return unigram_run(w, s, n, out);
	}
	return REBUS_OK;
}

/*
 * SiglipTokenizer: U+2581 before the text, those in it are blanks; then every part between special tokens is given to the
 * model with "<unk>" before it (sentencepiece drops a blank that nothing precedes), whose ids are dropped again.
 */
static rebus_status marked_text(const char *s, size_t n, buf *out, rebus_error *err)
{
	static const char mark[] = "\xE2\x96\x81";
	buf_text(out, mark);
	for (size_t i = 0; i < n; i++) {
		bool here = n - i >= 3 && !memcmp(s + i, mark, 3);
		buf_byte(out, here ? ' ' : s[i]);
		i += here ? 2 : 0;
	}
	return buf_check(out, err, "a text");
}

static rebus_status pieces_begin(tokenizer *t, rebus_error *err)
{
	rebus_status status;
	text_work w = {0};
	ids list;
	size_t n = strlen(TEXT_PIECES_BEFORE);
	ids_init(&list, t->from, 0);
	TRY(work_begin(&w, t, n, err));
	TRY(model_run(&w, TEXT_PIECES_BEFORE, n, &list));
	TRY(ids_check(&list, err));
	t->pieces = true;
	t->pieces_before = ids_count(&list);
done:
	work_end(&w);
	ids_free(&list);
	return status;
}

/* What stood before the part, and a mark alone before a special token. */
static void pieces_drop(const tokenizer *t, const char *s, size_t n, size_t start, size_t before, bool special, ids *out)
{
	size_t many = ids_count(out), k = t->pieces_before, size = strlen(TEXT_PIECES_BEFORE);
	int32_t *id = (int32_t *)(void *)out->bytes.data;
	if (special && many == start + 1 && id[start] == vocabulary_find(&t->vocabulary, "\xE2\x96\x81", 3))
		out->bytes.size -= sizeof *id;
	if (special || n < size || memcmp(s, TEXT_PIECES_BEFORE, size) != 0 || many - before < k)
		return;
	memmove(id + before, id + before + k, (many - before - k) * sizeof *id);
	out->bytes.size -= k * sizeof *id;
}

static rebus_status encode(const tokenizer *t, const char *s, size_t n, ids *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	text_work w = {0};
	size_t start = ids_count(out);
	buf repaired, marked;
	buf_init(&repaired, t->from, (size_t)3 * TEXT_INPUT_MOST);
	buf_init(&marked, t->from, (size_t)3 * TEXT_INPUT_MOST + 3);
	if (n > TEXT_INPUT_MOST)
		return error_set(err, REBUS_LIMIT, "text: %zu bytes, more than %d", n, TEXT_INPUT_MOST);
	TRY(work_begin(&w, t, n, err));
	if (!utf8_valid(s, n)) {
		unicode_repair(s, n, &repaired);
		TRY(buf_check(&repaired, err, "a text"));
		s = repaired.data;
		n = repaired.size;
	}
	if (t->pieces) {
		TRY(marked_text(s, n, &marked, err));
		s = marked.data;
		n = marked.size;
	}
	if (n) {
		TRY(cut(&w, s, n));
		TRY(pretokenizer_run(&w));
	}
	for (size_t i = 0; i < pieces_count(&w.now); i++) {
		const text_piece *p = pieces_at(&w.now, i);
		size_t before = ids_count(out);
		if (t->pieces && p->id >= 0)
			pieces_drop(t, NULL, 0, start, before, true, out);
		if (p->id >= 0)
			ids_add(out, p->id);
		else
			TRY(model_run(&w, pieces_text(&w.now, i), p->size, out));
		if (t->pieces && p->id < 0)
			pieces_drop(t, pieces_text(&w.now, i), p->size, start, before, false, out);
		TRY(ids_check(out, err));
	}
done:
	work_end(&w);
	buf_free(&repaired);
	buf_free(&marked);
	return status;
}

static void keep_part(ids *list, size_t keep, bool left)
{
	size_t size = keep * sizeof(int32_t);
	if (keep >= ids_count(list))
		return;
	if (left && keep)
		memmove(list->bytes.data, list->bytes.data + list->bytes.size - size, size);
	list->bytes.size = size;
}

/* The longer one becomes as long as the shorter, then both lose alike; the longer keeps the odd one. */
static void cut_longest(const tokenizer *t, ids *a, ids *b, size_t most)
{
	size_t less = ids_count(a), more = ids_count(b);
	bool swap = less > more;
	if (less + more <= most)
		return;
	less = swap ? more : less;
	more = less > most ? less : less > most - less ? less : most - less;
	if (less + more > most) {
		less = most / 2;
		more = less + most % 2;
	}
	keep_part(a, swap ? more : less, t->info.truncate_left);
	keep_part(b, swap ? less : more, t->info.truncate_left);
}

rebus_status text_encode_pair(const tokenizer *t, const char *a, size_t a_size, const char *b, size_t b_size, bool add_special,
                              int64_t most, ids *out, ids *types, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	ids first, second;
	ids_init(&first, t->from, 0);
	ids_init(&second, t->from, 0);
	TRY(encode(t, a, a_size, &first, err));
	if (b_size)
		TRY(encode(t, b, b_size, &second, err));
	int64_t room = most - (add_special ? (int64_t)post_special(t, b_size > 0) : 0);
	if (most < INT64_MAX && b_size)
		cut_longest(t, &first, &second, (size_t)int_max(room, 0));
	else if (most < INT64_MAX)
		keep_part(&first, (size_t)int_max(room, 0), t->info.truncate_left);
	TRY(post_run(t, &first, b_size ? &second : NULL, add_special, out, types, err));
done:
	ids_free(&first);
	ids_free(&second);
	return status;
}

rebus_status text_encode(const tokenizer *t, const char *s, size_t n, bool add_special, ids *out, rebus_error *err)
{
	return text_encode_pair(t, s, n, NULL, 0, add_special, INT64_MAX, out, NULL, err);
}

/* ------------------------------------------------------------------------------------------------ lookups */
int32_t text_id(const tokenizer *t, const char *token)
{
	size_t n = strlen(token);
	const added_token *e = added_find(t, token, n);
	return e ? e->id : vocabulary_find(&t->vocabulary, token, n);
}

const char *text_token(const tokenizer *t, int32_t id, size_t *n)
{
	const added_token *e = added_by_id(t, id);
	const vocabulary_table *v = &t->vocabulary;
	text_span s = {0};
	if (e)
		s = e->shown;
	else if (id >= 0 && (size_t)id < v->ids && v->by_id[id])
		s = v->entries[v->by_id[id] - 1].token;
	if (n)
		*n = s.n;
	return s.s;
}

bool text_is_special(const tokenizer *t, int32_t id)
{
	size_t n;
	const char *s = text_token(t, id, &n);
	const added_token *e = s ? added_find(t, s, n) : NULL;
	return e && e->ever_special;
}

size_t text_vocabulary(const tokenizer *t)
{
	size_t n = t->vocabulary.distinct;
	for (size_t i = 0; i < t->added.count; i++) {
		const text_span *s = &t->added.list[i].content;
		n += vocabulary_find(&t->vocabulary, s->s, s->n) < 0;
	}
	return n;
}

const char *text_named_token(const tokenizer *t, text_named which)
{
	return which < TEXT_NAMED ? t->named[which] : NULL;
}

int32_t text_named_id(const tokenizer *t, text_named which)
{
	return which < TEXT_NAMED ? t->named_id[which] : -1;
}

const char *text_named_extra(const tokenizer *t, const char *name)
{
	for (size_t i = 0; i < t->extra_count; i++)
		if (t->extras[i].name && strcmp(t->extras[i].name, name) == 0)
			return t->extras[i].token;
	return NULL;
}

const text_info *text_get_info(const tokenizer *t)
{
	return &t->info;
}
