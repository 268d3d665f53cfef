/*
 * samples_lines.c - FILE.jsonl, a sample a line: {"image": FILE, "label": NAME or NUMBER}. Files count from the list's folder.
 */
#include <stdio.h>
#include <string.h>

#include "files/json.h"
#include "train/samples.h"

enum { MOST_BYTES = 1 << 30 };

static rebus_status read_line(arena *a, const char *path, const char *folder, const char *line, size_t size, int64_t number, sample_file *out, rebus_error *err)
{
	json *j = NULL;
	int64_t label = -1;
	char where[64];
	rebus_status status = json_parse(line, size, "sample", 1000, &j, err);
	const char *image = json_text(json_get(j, "image"), NULL), *name = json_text(json_get(j, "label"), NULL);
	snprintf(where, sizeof where, "line %lld", (long long)number);
	if (!status && (!image || (!name && (!json_int(json_get(j, "label"), &label) || label < 0 || label > INT32_MAX))))
		status = error_set(err, REBUS_FORMAT, "expected {\"image\": FILE, \"label\": NAME or NUMBER}");
	if (!status) {
		const char *file = image[0] == '/' ? arena_text(a, image, strlen(image)) : arena_format(a, "%s%s", folder, image);
		*out = (sample_file){.path = file, .class_name = name ? arena_text(a, name, strlen(name)) : NULL, .label = (int32_t)label};
		if (!file || (name && !out->class_name))
			status = error_memory(err, path);
	}
	json_free(j);
	return status ? error_prefix(err, status, "%s: %s", path, where) : REBUS_OK;
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
