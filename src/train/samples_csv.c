/*
 * samples_csv.c - FILE.csv or FILE.tsv, a sample a record (RFC 4180): a field may be quoted, then "" is a quote and line ends
 * belong to it. The first record names the columns:
 *
 *   picture   image, filepath, file_name, filename, file, path       counts from the table's folder
 *   text      text, caption, title, question     answer   answer     label   label, class
 *
 * Other columns are passed over. The fields of .tsv are apart by tabs, of .csv by commas.
 */
#include <string.h>

#include "train/samples.h"

enum { MOST_BYTES = 1 << 30, COLUMNS_MOST = 256 };
typedef enum { PICTURE, TEXT, ANSWER, LABEL, MEANINGS } meaning;
static const char *const names[MEANINGS][8] = {
	{"image", "filepath", "file_name", "filename", "file", "path"}, {"text", "caption", "title", "question"}, {"answer"}, {"label", "class"}};

typedef struct table {
	const char *at, *end;
	char separator;
	int64_t line; /* of `at` */
} table;

/* The next field, copied; *last: it ends its record. NULL: no memory, or (bad) a quote that does not end. */
static char *next_field(table *t, arena *a, bool *last, bool *bad)
{
	char *out = arena_get(a, (size_t)(t->end - t->at) + 1 < 256 ? (size_t)(t->end - t->at) + 1 : 256, 1);
	size_t n = 0, room = (size_t)(t->end - t->at) + 1 < 256 ? (size_t)(t->end - t->at) + 1 : 256;
	bool quoted = t->at < t->end && *t->at == '"';
	t->at += quoted;
	for (; out && t->at < t->end; t->at++) {
		char c = *t->at;
		if (quoted && c == '"') {
			if (t->at + 1 == t->end || t->at[1] != '"') {
				quoted = false;
				continue;
			}
			t->at++;
		} else if (!quoted && (c == t->separator || c == '\n')) {
			break;
		}
		t->line += c == '\n';
		if (n + 1 == room) {
			char *more = arena_get(a, room *= 2, 1);
			if (more)
				memcpy(more, out, n);
			out = more;
		}
		if (out)
			out[n++] = c;
	}
	*bad = quoted;
	*last = t->at == t->end || *t->at == '\n';
	t->line += t->at < t->end && *t->at == '\n';
	t->at += t->at < t->end;
	while (out && n && *last && out[n - 1] == '\r')
		n--;
	if (out)
		out[n] = 0;
	return out;
}

static rebus_status read_record(table *t, arena *a, const char *path, const char **field, int *count, rebus_error *err)
{
	bool last = false, bad = false;
	int64_t line = t->line;
	for (*count = 0; !last;) {
		char *text = next_field(t, a, &last, &bad);
		if (!text)
			return error_memory(err, path);
		if (bad)
			return error_set(err, REBUS_FORMAT, "%s: line %lld: a quote that does not end", path, (long long)line);
		if (*count == COLUMNS_MOST)
			return error_set(err, REBUS_FORMAT, "%s: line %lld: more than %d fields", path, (long long)line, COLUMNS_MOST);
		field[(*count)++] = text;
	}
	return REBUS_OK;
}

static void find_columns(const char *const *field, int count, int column[MEANINGS])
{
	for (int m = 0; m < MEANINGS; m++) {
		column[m] = -1;
		for (int k = 0; k < 8 && names[m][k] && column[m] < 0; k++)
			for (int i = 0; i < count && column[m] < 0; i++)
				column[m] = strcmp(field[i], names[m][k]) ? -1 : i;
	}
}

static rebus_status add(arena *a, const char *path, const char *folder, const char *const *field, const int column[MEANINGS],
                        sample_file *out, rebus_error *err)
{
	const char *what[MEANINGS];
	for (int m = 0; m < MEANINGS; m++)
		what[m] = column[m] >= 0 && *field[column[m]] ? field[column[m]] : NULL;
	*out = (sample_file){.class_name = what[LABEL], .label = -1};
	if (what[PICTURE])
		out->path = what[PICTURE][0] == '/' ? what[PICTURE] : arena_format(a, "%s%s", folder, what[PICTURE]);
	turn *t = what[TEXT] ? arena_get(a, 2, sizeof *t) : NULL;
	if ((what[PICTURE] && !out->path) || (what[TEXT] && !t))
		return error_memory(err, path);
	if (t) {
		t[0] = (turn){"user", what[TEXT]};
		t[1] = (turn){"assistant", what[ANSWER]};
		out->turns = t;
		out->turn_count = what[ANSWER] ? 2 : 1;
	}
	return REBUS_OK;
}

static rebus_status read_table(table *t, arena *a, const char *path, sample_files *files, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *field[COLUMNS_MOST], *slash = strrchr(path, '/'), *folder = arena_text(a, path, slash ? (size_t)(slash - path) + 1 : 0);
	int column[MEANINGS], count, columns;
	int64_t lines = 1;
	for (const char *p = t->at; p < t->end; p++)
		lines += *p == '\n';
	files->at = arena_zero(a, (size_t)lines, sizeof *files->at);
	TRY(folder && files->at ? REBUS_OK : error_memory(err, path));
	TRY(read_record(t, a, path, field, &columns, err));
	find_columns(field, columns, column);
	if (column[PICTURE] < 0 && column[TEXT] < 0) {
		status = error_set(err, REBUS_FORMAT, "%s: its first line names no column of pictures (image, filepath, ...) and none of texts (text, ...)",
			path);
		goto done;
	}
	while (t->at < t->end) {
		int64_t line = t->line;
		TRY(read_record(t, a, path, field, &count, err));
		if (count == 1 && !*field[0])
			continue;
		if (count != columns) {
			status = error_set(err, REBUS_FORMAT, "%s: line %lld: %d fields, expected %d", path, (long long)line, count, columns);
			goto done;
		}
		TRY(add(a, path, folder, field, column, &files->at[files->count++], err));
	}
done:
	return status;
}

rebus_status samples_csv(arena *a, const char *path, samples *out, rebus_error *err)
{
	file_map f;
	rebus_status status = file_open(&f, path, MOST_BYTES, true, a->from, err);
	if (status)
		return status;
	sample_files *files = arena_zero(a, 1, sizeof *files);
	size_t n = strlen(path);
	const char *begin = f.size ? (const char *)f.data : "";
	bool marked = f.size >= 3 && !memcmp(begin, "\xEF\xBB\xBF", 3);
	table t = {.at = begin + (marked ? 3 : 0), .end = begin + f.size, .separator = n > 4 && !strcmp(path + n - 4, ".tsv") ? '\t' : ',', .line = 1};
	status = files ? read_table(&t, a, path, files, err) : error_memory(err, path);
	file_close(&f);
	if (status)
		return status;
	out->count = files->count;
	out->numbered = true;
	out->get = samples_get_file;
	out->own = files;
	return REBUS_OK;
}
