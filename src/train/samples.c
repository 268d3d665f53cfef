/* samples.c - see samples.h. */
#include "train/samples.h"

#include <stdlib.h>
#include <string.h>

rebus_status samples_get_file(const samples *s, int64_t i, arena *a, sample *out, rebus_error *err)
{
	const sample_files *f = s->own;
	const sample_file *file = &f->at[i];
	sample x = {.label = file->label, .turns = file->turns, .turn_count = file->turn_count};
	rebus_status status = file->path ? vision_load(a, file->path, NULL, &x.pic, err) : REBUS_OK;
	if (!status)
		*out = x;
	return status;
}

static int32_t find_name(const char *const *names, int32_t count, const char *name)
{
	for (int32_t i = 0; i < count; i++)
		if (names[i] && !strcmp(names[i], name))
			return i;
	return -1;
}

/* Class names become the model's numbers. */
static rebus_status number_classes(samples *s, const char *const *labels, int32_t label_count, rebus_error *err)
{
	sample_files *f = s->own;
	if (s->get != samples_get_file)
		return REBUS_OK;
	for (int64_t i = 0; i < f->count; i++) {
		sample_file *x = &f->at[i];
		if (!x->class_name)
			continue;
		char *end;
		long number = strtol(x->class_name, &end, 10);
		x->label = find_name(labels ? labels : s->classes, labels ? label_count : s->class_count, x->class_name);
		if (x->label < 0 && s->numbered && !*end && number >= 0 && number <= INT32_MAX)
			x->label = (int32_t)number;
		if (x->label < 0)
			return error_set(err, REBUS_FORMAT, "%s: class %.60s of %.80s is not among the model's %d labels", s->name, x->class_name, x->path, label_count);
	}
	return REBUS_OK;
}

rebus_status samples_open(arena *a, const char *spec, const char *const *labels, int32_t label_count, samples **out, rebus_error *err)
{
	size_t n = strlen(spec);
	samples *s = arena_zero(a, 1, sizeof *s);
	if (!s || !(s->name = arena_text(a, spec, n)))
		return error_memory(err, "samples");
	rebus_status status;
	if (!strncmp(spec, "idx:", 4))
		status = samples_idx(a, spec + 4, s, err);
	else if (file_is_folder(spec))
		status = samples_folder(a, spec, s, err);
	else if (n > 6 && !strcmp(spec + n - 6, ".jsonl"))
		status = samples_lines(a, spec, s, err);
	else if (n > 4 && (!strcmp(spec + n - 4, ".csv") || !strcmp(spec + n - 4, ".tsv")))
		status = samples_csv(a, spec, s, err);
	else if (n > 4 && !strcmp(spec + n - 4, ".tar"))
		status = samples_tar(a, spec, labels, label_count, s, err);
	else if (!file_exists(spec))
		status = error_set(err, REBUS_IO, "%s: no such file", spec);
	else
		status = error_set(err, REBUS_MISUSE, "%s: expected idx:IMAGES,LABELS, a folder, FILE.jsonl, FILE.csv or FILE.tar", spec);
	if (!status)
		status = number_classes(s, labels, label_count, err);
	if (!status && !s->count)
		status = error_set(err, REBUS_FORMAT, "%s: no samples", spec);
	if (!status)
		*out = s;
	return status;
}
