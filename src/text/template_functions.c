/*
 * template_functions.c - the functions every template can call.
 *
 *   range(stop)  range(start, stop, step)      at most 100000 numbers, as the sandbox allows
 *   namespace(dict, name=value ...)            an object whose attributes {% set ns.x = ... %} changes
 *   dict(dict, name=value ...)
 *   cycler(a, b ...)   joiner(separator)
 *   raise_exception(message)                   ends rendering with MISUSE and the message
 *   strftime_now(format)                       the local time
 *
 * The caller's variables hide them.
 */
#include "text/template_inside.h"

#include <string.h>
#include <time.h>

enum { MOST_RANGE = 100000 };

static const char *const names[] = {[FUNCTION_RANGE] = "range", [FUNCTION_NAMESPACE] = "namespace", [FUNCTION_DICT] = "dict",
	[FUNCTION_RAISE] = "raise_exception", [FUNCTION_NOW] = "strftime_now", [FUNCTION_CYCLER] = "cycler",
	[FUNCTION_JOINER] = "joiner", [FUNCTION_LIPSUM] = "lipsum"};

bool template_function_named(const template_string *name, value *out)
{
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (text_is(name->data, name->size, names[i])) {
			*out = (value){.kind = VALUE_FUNCTION, .as.function = (int)i};
			return true;
		}
	return false;
}

static rebus_status call_range(template_run *r, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t part[3] = {0, 0, 1};
	if (!args->count || args->count > 3 || args->keyword_count)
		return template_fail(r, REBUS_FORMAT, "range expected 1 to 3 arguments, got %zu", args->count);
	for (size_t i = 0; i < args->count; i++)
		if (!template_is_int(args->at[i], &part[args->count == 1 ? 1 : i]))
			return template_fail(r, REBUS_FORMAT, "'%s' object cannot be interpreted as an integer", template_type(args->at[i]));
	int64_t start = part[0], stop = part[1], step = part[2];
	if (!step)
		return template_fail(r, REBUS_FORMAT, "range() arg 3 must not be zero");
	uint64_t span = step > 0 ? (stop > start ? (uint64_t)stop - (uint64_t)start : 0) : (start > stop ? (uint64_t)start - (uint64_t)stop : 0);
	uint64_t size = step > 0 ? (uint64_t)step : 0 - (uint64_t)step, count = span ? (span - 1) / size + 1 : 0;
	if (count > MOST_RANGE)
		return template_fail(r, REBUS_LIMIT, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MOST_RANGE);
	TRY(template_step(r, (size_t)count / 4));
	TRY(template_seq_new(r, VALUE_RANGE, (size_t)count, out));
	template_list_body *l = out->as.list;
	l->start = start;
	l->stop = stop;
	l->step = step;
	for (uint64_t i = 0; i < count; i++)
		l->at[l->count++] = template_int((int64_t)((uint64_t)start + i * (uint64_t)step));
done:
	return status;
}

/* The pairs of dict(...): of a dict or a list of pairs, then of keywords. */
static rebus_status fill_map(template_run *r, const template_args *args, template_map *m)
{
	rebus_status status = REBUS_OK;
	value *at, *pair;
	size_t count, two;
	if (args->count > 1)
		TRY(template_fail(r, REBUS_FORMAT, "dict expected at most 1 argument, got %zu", args->count));
	if (args->count && args->at[0].kind == VALUE_DICT) {
		const template_map *from = args->at[0].as.map;
		for (size_t i = 0; i < from->count; i++)
			TRY(template_map_set(r, m, from->at[i].key, from->at[i].item));
	} else if (args->count) {
		TRY(template_items(r, args->at[0], &at, &count));
		for (size_t i = 0; i < count; i++) {
			TRY(template_items(r, at[i], &pair, &two));
			if (two != 2)
				TRY(template_fail(r, REBUS_FORMAT, "dictionary update sequence element #%zu has length %zu; 2 is required", i, two));
			TRY(template_map_set(r, m, pair[0], pair[1]));
		}
	}
	for (size_t i = 0; i < args->keyword_count; i++)
		TRY(template_map_set(r, m, args->keywords[i].key, args->keywords[i].item));
done:
	return status;
}

static rebus_status call_map(template_run *r, const template_args *args, template_kind kind, value *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_map_new(r, kind, out));
	TRY(fill_map(r, args, out->as.map));
	for (size_t i = 0; kind == VALUE_NAMESPACE && i < out->as.map->count; i++) {
		value key = out->as.map->at[i].key;
		if (key.kind == VALUE_TEXT && key.as.text->size && key.as.text->data[0] == '_')
			TRY(template_fail(r, REBUS_FORMAT, "Chat templates cannot store underscore-prefixed attributes on a namespace"));
	}
done:
	return status;
}

static rebus_status call_raise(template_run *r, const template_args *args)
{
	rebus_status status = REBUS_OK;
	static const char *const arguments[] = {"message", NULL};
	value message, text;
	TRY(template_take(r, args, "raise_exception", arguments, 1, &message));
	TRY(template_str_value(r, message, &text));
	status = template_fail(r, REBUS_MISUSE, "%.*s", (int)int_min((int64_t)text.as.text->size, 200), text.as.text->data);
done:
	return status;
}

static rebus_status call_now(template_run *r, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	static const char *const arguments[] = {"format", NULL};
	value format;
	char text[1024];
	struct tm local;
	TRY(template_take(r, args, "strftime_now", arguments, 1, &format));
	if (format.kind != VALUE_TEXT)
		TRY(template_fail(r, REBUS_FORMAT, "strftime() argument 1 must be str, not %s", template_type(format)));
	time_t now = r->options.now ? (time_t)r->options.now : time(NULL);
	char *pattern = template_get(&r->pool, format.as.text->size + 2, 1); /* a space at the end: an empty result is no failure */
	if (!pattern)
		TRY(template_no_memory(r));
	memcpy(pattern, format.as.text->data, format.as.text->size);
	pattern[format.as.text->size] = ' ';
	size_t n = format.as.text->size < sizeof text && localtime_r(&now, &local) ? strftime(text, sizeof text, pattern, &local) : 0;
	if (!n)
		TRY(template_fail(r, REBUS_LIMIT, "a time of more than %zu bytes", sizeof text));
	TRY(template_string_new(r, text, n - 1, out));
done:
	return status;
}

static rebus_status call_wheel(template_run *r, const template_args *args, bool joiner, value *out)
{
	rebus_status status = REBUS_OK;
	static const char *const arguments[] = {"sep", NULL};
	value list, separator, empty;
	if (joiner) {
		TRY(template_take(r, args, "joiner", arguments, 0, &separator));
		if (separator.kind == VALUE_MISSING)
			TRY(template_string_c(r, ", ", &separator));
		TRY(template_string_c(r, "", &empty));
	} else if (!args->count || args->keyword_count) {
		TRY(template_fail(r, REBUS_FORMAT, "at least one item has to be provided"));
	}
	TRY(template_seq_new(r, VALUE_LIST, 2, &list));
	if (joiner) {
		TRY(template_seq_add(r, list, empty));
		TRY(template_seq_add(r, list, separator));
	}
	for (size_t i = 0; !joiner && i < args->count; i++)
		TRY(template_seq_add(r, list, args->at[i]));
	template_wheel *w = template_get(&r->pool, 1, sizeof *w);
	if (!w)
		TRY(template_no_memory(r));
	*w = (template_wheel){.at = list.as.list->at, .count = list.as.list->count};
	*out = (value){.kind = joiner ? VALUE_JOINER : VALUE_CYCLER, .as.wheel = w};
done:
	return status;
}

rebus_status template_function_call(template_run *r, int which, const template_args *args, value *out)
{
	switch (which) {
	case FUNCTION_RANGE:
		return call_range(r, args, out);
	case FUNCTION_NAMESPACE:
		return call_map(r, args, VALUE_NAMESPACE, out);
	case FUNCTION_DICT:
		return call_map(r, args, VALUE_DICT, out);
	case FUNCTION_RAISE:
		return call_raise(r, args);
	case FUNCTION_NOW:
		return call_now(r, args, out);
	case FUNCTION_CYCLER:
	case FUNCTION_JOINER:
		return call_wheel(r, args, which == FUNCTION_JOINER, out);
	default:
		return template_fail(r, REBUS_UNSUPPORTED, "the function %s", names[which]);
	}
}
