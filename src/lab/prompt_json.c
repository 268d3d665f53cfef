/*
 * prompt_json.c - one line of a --batch file as pieces of a prompt.
 *
 *   line      {"image": FILE or [FILE, ...], "text": TEXT}      either may be absent; pictures first
 *             {"text": TEXT, "pair": TEXT}                      two segments of one text
 *             {"content": [piece, ...]}
 *             {"messages": [{"role": ROLE, "content": TEXT or [piece, ...]}, ...]}
 *   piece     {"text": TEXT}, {"image": FILE}, or {"pair": TEXT} after the text that it belongs to
 *
 * Every key must be known: a misspelt one would otherwise change the question without a word. Whatever is wrong with the
 * line itself is MISUSE, also where it is no JSON at all; a picture that cannot be read keeps its own status.
 */
#include "rebus_lab.h"

#include <stdio.h>
#include <string.h>

#include "files/json.h"
#include "generate/prompt.h"

enum { LINE_VALUES = 1 << 16 };

/* Where the pieces of a line go. */
typedef struct {
	void *user;
	rebus_status (*on_role)(void *user, const char *role, rebus_error *err);
	rebus_status (*on_piece)(void *user, rebus_piece_kind kind, const char *text, size_t size, rebus_error *err);
} taker;

static rebus_status wrong(rebus_error *err, const char *what)
{
	return error_set(err, REBUS_MISUSE,
	                 "%s, expected {\"image\": FILE, \"text\": TEXT}, {\"content\": [pieces]} or {\"messages\": [...]}", what);
}

static rebus_status take_text(const taker *t, const json *j, rebus_error *err)
{
	size_t size;
	const char *text = json_text(j, &size);
	return text ? t->on_piece(t->user, REBUS_PIECE_TEXT, text, size, err) : wrong(err, "\"text\" is not a string");
}

static rebus_status take_pair(const taker *t, const json *j, rebus_error *err)
{
	size_t size;
	const char *text = json_text(j, &size);
	return text ? t->on_piece(t->user, REBUS_PIECE_PAIR, text, size, err) : wrong(err, "\"pair\" is not a string");
}

static rebus_status take_picture(const taker *t, const json *j, rebus_error *err)
{
	size_t size;
	const char *path = json_text(j, &size);
	if (!path || strlen(path) != size)
		return wrong(err, "\"image\" is not the name of a file");
	return t->on_piece(t->user, REBUS_PIECE_IMAGE, path, size, err);
}

/* Keys that belong to models of later versions get a reason of their own. */
static rebus_status unknown(const char *key, rebus_error *err)
{
	static const char *const later[][2] = {
		{"video", "no model of this version takes videos"},
		{"fps", "no model of this version takes videos"},
	};
	for (size_t i = 0; i < COUNT_OF(later); i++)
		if (!strcmp(key, later[i][0]))
			return error_set(err, REBUS_MISUSE, "\"%s\": %s, expected \"image\" or \"text\"", key, later[i][1]);
	char what[96];
	snprintf(what, sizeof what, "unknown key \"%.60s\"", key);
	return wrong(err, what);
}

static rebus_status take_content(const taker *t, const json *list, rebus_error *err)
{
	if (json_kind_of(list) == JSON_TEXT)
		return take_text(t, list, err);
	if (json_kind_of(list) != JSON_LIST || !json_count(list))
		return wrong(err, "\"content\" is not a list of pieces");
	for (size_t i = 0; i < json_count(list); i++) {
		const json *item = json_at(list, i);
		rebus_status status;
		json_each it = json_first(item);
		if (json_kind_of(item) != JSON_MAP || json_count(item) != 1 || !json_next(&it))
			status = json_has(item, "video") ? unknown("video", err) : wrong(err, "a piece is not an object of one key");
		else if (!strcmp(it.key, "text"))
			status = take_text(t, it.value, err);
		else if (!strcmp(it.key, "image"))
			status = take_picture(t, it.value, err);
		else if (!strcmp(it.key, "pair"))
			status = take_pair(t, it.value, err);
		else
			status = unknown(it.key, err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

static rebus_status take_messages(const taker *t, const json *list, rebus_error *err)
{
	if (json_kind_of(list) != JSON_LIST || !json_count(list))
		return wrong(err, "\"messages\" is not a list of messages");
	for (size_t i = 0; i < json_count(list); i++) {
		const json *m = json_at(list, i);
		size_t size;
		const char *role = json_text(json_get(m, "role"), &size);
		if (json_count(m) != 2 || !role || strlen(role) != size || !json_has(m, "content"))
			return wrong(err, "a message is not {\"role\": ROLE, \"content\": ...}");
		rebus_status status = t->on_role(t->user, role, err);
		if (!status)
			status = take_content(t, json_get(m, "content"), err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

static rebus_status take_short(const taker *t, const json *line, rebus_error *err)
{
	const json *image = json_get(line, "image");
	rebus_status status = REBUS_OK;
	json_each it = json_first(line);
	while (json_next(&it))
		if (strcmp(it.key, "image") && strcmp(it.key, "text") && strcmp(it.key, "pair"))
			return unknown(it.key, err);
	if (json_kind_of(image) == JSON_LIST && !json_count(image))
		return wrong(err, "\"image\" is an empty list");
	if (json_kind_of(image) == JSON_LIST)
		for (size_t i = 0; i < json_count(image) && !status; i++)
			status = take_picture(t, json_at(image, i), err);
	else if (json_has(line, "image"))
		status = take_picture(t, image, err);
	if (!status && json_has(line, "text"))
		status = take_text(t, json_get(line, "text"), err);
	if (!status && json_has(line, "pair"))
		status = take_pair(t, json_get(line, "pair"), err);
	return status;
}

static rebus_status take_line(const taker *t, const char *text, size_t size, rebus_error *err)
{
	json *line = NULL;
	rebus_status status = json_parse(text, size, "line", LINE_VALUES, &line, err);
	if (status == REBUS_MEMORY)
		return status;
	if (status) {
		if (err)
			err->code = REBUS_MISUSE;
		return REBUS_MISUSE;
	}
	if (json_kind_of(line) != JSON_MAP || !json_count(line))
		status = wrong(err, "not a JSON object with something in it");
	else if (json_count(line) == 1 && json_has(line, "content"))
		status = json_kind_of(json_get(line, "content")) == JSON_LIST ? take_content(t, json_get(line, "content"), err)
		                                                               : wrong(err, "\"content\" is not a list of pieces");
	else if (json_count(line) == 1 && json_has(line, "messages"))
		status = take_messages(t, json_get(line, "messages"), err);
	else
		status = take_short(t, line, err);
	json_free(line);
	return status;
}

static rebus_status prompt_role(void *user, const char *role, rebus_error *err)
{
	return rebus_prompt_message(user, role, err);
}

static rebus_status prompt_piece(void *user, rebus_piece_kind kind, const char *text, size_t size, rebus_error *err)
{
	if (kind == REBUS_PIECE_PAIR)
		return prompt_pair(user, text, size, err);
	if (kind == REBUS_PIECE_IMAGE)
		return rebus_prompt_image_file(user, text, err);
	rebus_prompt *p = user;
	const char *copy = arena_text(&p->mem, text, size);
	if (!copy)
		return error_memory(err, "a prompt");
	rebus_status status = rebus_prompt_text(p, "", err);
	if (!status) { /* JSON's texts may hold NUL characters, C's may not */
		p->pieces[p->piece_count - 1].text = copy;
		p->pieces[p->piece_count - 1].size = size;
	}
	return status;
}

rebus_status rebus_prompt_json(rebus_prompt *prompt, const char *line, size_t size, rebus_error *err)
{
	const taker t = {.user = prompt, .on_role = prompt_role, .on_piece = prompt_piece};
	return take_line(&t, line, size, err);
}

typedef struct {
	void *user;
	rebus_status (*on_piece)(void *user, rebus_piece_kind kind, const char *text, rebus_error *err);
} plain_taker;

static rebus_status plain_role(void *user, const char *role, rebus_error *err)
{
	(void)user;
	(void)role;
	(void)err;
	return REBUS_OK;
}

static rebus_status plain_piece(void *user, rebus_piece_kind kind, const char *text, size_t size, rebus_error *err)
{
	plain_taker *p = user;
	if (strlen(text) != size)
		return error_set(err, REBUS_MISUSE, "\"text\" holds a NUL, which cannot be part of it here");
	return p->on_piece(p->user, kind, text, err);
}

rebus_status rebus_pieces_json(const char *line, size_t size,
                               rebus_status (*on_piece)(void *user, rebus_piece_kind kind, const char *text, rebus_error *err),
                               void *user, rebus_error *err)
{
	plain_taker p = {user, on_piece};
	const taker t = {.user = &p, .on_role = plain_role, .on_piece = plain_piece};
	return take_line(&t, line, size, err);
}
