/*
 * label_names.c - what a classifier's outputs are called.
 *
 *   transformers   "id2label": {"0": "cat", "1": "dog"}
 *   timm           "label_names": ["cat", "dog"], or {"0": "cat"}; in old files "labels"
 */
#include <stdio.h>
#include <stdlib.h>

#include "models/model.h"

/* id2label: {"0": "cat", ...}; a member that is missing or out of range is an error, since labels are what the user sees. */
rebus_status model_labels(struct rebus_model *m, const json *config, rebus_error *err)
{
	const json *map = json_get(config, "id2label");
	size_t count = json_count(map);
	if (!count)
		return REBUS_OK;
	const char **labels = arena_zero(&m->mem, count, sizeof *labels);
	if (!labels)
		return error_memory(err, "labels");
	json_each it = json_first(map);
	while (json_next(&it)) {
		char *end;
		unsigned long i = strtoul(it.key, &end, 10);
		const char *text = json_text(it.value, NULL);
		if (end == it.key || *end || i >= count || !text)
			return error_set(err, REBUS_FORMAT, "config.json: id2label: \"%.40s\" does not name one of %zu labels", it.key, count);
		labels[i] = text;
	}
	for (size_t i = 0; i < count; i++)
		if (!labels[i])
			return error_set(err, REBUS_FORMAT, "config.json: id2label: no label %zu of %zu", i, count);
	m->labels = labels;
	m->label_count = (int64_t)count;
	return REBUS_OK;
}

/* A class that has none is LABEL_i, as in transformers. */
rebus_status model_label_names(struct rebus_model *m, const json *config, int64_t count, rebus_error *err)
{
	const json *about = json_get(config, "pretrained_cfg"), *names = json_get(config, "label_names");
	names = names ? names : json_get(about, "label_names");
	names = names ? names : json_get(config, "labels");
	if (!count)
		return REBUS_OK;
	const char **labels = arena_zero(&m->mem, (size_t)count, sizeof *labels);
	if (!labels)
		return error_memory(err, "labels");
	for (int64_t i = 0; i < count; i++) {
		char key[24];
		snprintf(key, sizeof key, "%lld", (long long)i);
		const json *name = json_kind_of(names) == JSON_LIST ? json_at(names, (size_t)i) : json_get(names, key);
		labels[i] = json_text(name, NULL);
		if (!labels[i])
			labels[i] = arena_format(&m->mem, "LABEL_%lld", (long long)i);
		if (!labels[i])
			return error_memory(err, "labels");
	}
	m->labels = labels;
	m->label_count = count;
	return REBUS_OK;
}
