/*
 * samples_lines.c - FILE.jsonl, a sample a line, in the forms of samples.h. Names of files count from the list's folder.
 */
#include <string.h>

#include "train/samples.h"

enum { MOST_BYTES = 1 << 30 };

/* A text of the document, copied; NULL: not there. */
static const char *copy_of(arena *a, const json *j, bool *room)
{
	size_t n;
	const char *text = json_text(j, &n), *copy = text ? arena_text(a, text, n) : NULL;
	*room &= !text || copy;
	return copy;
}

static const char *role_of(const char *from)
{
	if (!strcmp(from, "human") || !strcmp(from, "user"))
		return "user";
	if (!strcmp(from, "gpt") || !strcmp(from, "assistant"))
		return "assistant";
	return strcmp(from, "system") ? NULL : "system";
}

/* "messages" or "conversations"; false: not of that form. */
static bool read_turns(arena *a, const json *list, const char *who, const char *what, sample_file *out, bool *room)
{
	size_t n = json_count(list);
	turn *t = arena_zero(a, n, sizeof *t);
	*room &= t != NULL;
	for (size_t i = 0; t && i < n; i++) {
		const char *from = json_text(json_get(json_at(list, i), who), NULL);
		t[i] = (turn){from ? role_of(from) : NULL, copy_of(a, json_get(json_at(list, i), what), room)};
		if (!t[i].role || !t[i].text)
			return false;
	}
	out->turns = t;
	out->turn_count = (int32_t)n;
	return n > 0 && n <= TURNS_MOST;
}

/* "text" alone, or with its "answer". */
static bool read_pair(arena *a, const json *j, sample_file *out, bool *room)
{
	turn *t = arena_zero(a, 2, sizeof *t);
	*room &= t != NULL;
	if (!t)
		return true;
	t[0] = (turn){"user", copy_of(a, json_get(j, json_has(j, "text") ? "text" : "caption"), room)};
	t[1] = (turn){"assistant", copy_of(a, json_get(j, "answer"), room)};
	out->turns = t;
	out->turn_count = t[1].text ? 2 : 1;
	return t[0].text != NULL && !(json_has(j, "answer") && !t[1].text);
}

rebus_status samples_read_json(arena *a, const json *j, const char *folder, sample_file *out, rebus_error *err)
{
	int64_t label = -1;
	bool room = true, sound = json_kind_of(j) == JSON_MAP;
	*out = (sample_file){.path = folder ? copy_of(a, json_get(j, "image"), &room) : NULL, .class_name = copy_of(a, json_get(j, "label"), &room)};
	if (json_has(j, "messages"))
		sound &= read_turns(a, json_get(j, "messages"), "role", "content", out, &room);
	else if (json_has(j, "conversations"))
		sound &= read_turns(a, json_get(j, "conversations"), "from", "value", out, &room);
	else if (json_has(j, "text") || json_has(j, "caption"))
		sound &= read_pair(a, j, out, &room);
	else
		sound &= json_has(j, "label") || !folder;
	if (json_has(j, "label") && !out->class_name)
		sound &= json_int(json_get(j, "label"), &label) && label >= 0 && label <= INT32_MAX;
	sound &= !folder || out->path || (!json_has(j, "image") && out->turns);
	out->label = (int32_t)label;
	if (room && out->path && out->path[0] != '/') {
		out->path = arena_format(a, "%s%s", folder, out->path);
		room = out->path != NULL;
	}
	if (!room)
		return error_memory(err, "samples");
	return sound ? REBUS_OK : error_set(err, REBUS_FORMAT, "expected {\"image\": FILE} with \"label\", \"text\", \"messages\" or \"conversations\"");
}

static rebus_status read_line(arena *a, const char *path, const char *folder, const char *line, size_t size, int64_t number, sample_file *out, rebus_error *err)
{
	json *j = NULL;
	rebus_status status = json_parse(line, size, "sample", 10000, &j, err);
	if (!status)
		status = samples_read_json(a, j, folder, out, err);
	json_free(j);
	return status ? error_prefix(err, status, "%s: line %lld", path, (long long)number) : REBUS_OK;
}

rebus_status samples_lines(arena *a, const char *path, samples *out, rebus_error *err)
{
	file_map f;
	int64_t lines = 1, number = 0;
	rebus_status status = file_open(&f, path, MOST_BYTES, true, a->from, err);
	if (status)
		return status;
	const char *slash = strrchr(path, '/'), *folder = arena_text(a, path, slash ? (size_t)(slash - path) + 1 : 0);
	for (size_t i = 0; i < f.size; i++)
		lines += f.data[i] == '\n';
	sample_files *files = arena_zero(a, 1, sizeof *files);
	if (files)
		files->at = arena_zero(a, (size_t)lines, sizeof *files->at);
	if (!files || !files->at || !folder) {
		status = error_memory(err, path);
		goto done;
	}
	for (size_t at = 0, end; at < f.size; at = end + 1) {
		const char *line = (const char *)f.data + at;
		const char *stop = memchr(line, '\n', f.size - at);
		end = stop ? at + (size_t)(stop - line) : f.size;
		number++;
		size_t n = end - at;
		while (n && (line[n - 1] == '\r' || line[n - 1] == ' '))
			n--;
		if (n)
			TRY(read_line(a, path, folder, line, n, number, &files->at[files->count++], err));
	}
	out->count = files->count;
	out->get = samples_get_file;
	out->own = files;
done:
	file_close(&f);
	return status;
}
