/*
 * template_sequences.c - filters over lists and whatever else can be walked over.
 *
 *   attribute="a.b.0"     looks up a, in it b, in it item 0; sort takes several with commas between
 *   case_sensitive=false  compares texts in lower case, the default of Jinja's
 *
 * In Python map, select, reject, unique, batch, slice and items give generators: they have no length, are true even when
 * empty, and can be walked once. Here they are a VALUE_STREAM, whose items were computed at once; the difference shows only
 * where an item is an error that nobody comes to.
 */
#include "text/template_filters.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------ attributes */
static bool is_digits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return n > 0;
}

/* Follows a path of names and numbers from an item. A `otherwise` that is given takes the place of what is undefined. */
static rebus_status follow(template_run *r, value item, const char *path, size_t size, value otherwise, value *out)
{
	rebus_status status = REBUS_OK;
	const char *end = path + size;
	for (;;) {
		const char *dot = size ? memchr(path, '.', (size_t)(end - path)) : NULL, *stop = dot ? dot : end;
		size_t n = (size_t)(stop - path);
		value index;
		int64_t i;
		bool too_big;
		if (is_digits(path, n) && template_read_int(path, n, 10, &i, &too_big))
			index = template_int(i);
		else
			TRY(template_string_view(r, path, n, &index));
		TRY(template_step(r, 1));
		TRY(template_item(r, item, index, &item));
		if (item.kind == VALUE_UNDEFINED && template_given(otherwise))
			item = otherwise;
		if (!dot)
			break;
		path = dot + 1;
	}
	*out = item;
done:
	return status;
}

static rebus_status attribute_of(template_run *r, value item, value attribute, value otherwise, value *out)
{
	rebus_status status = REBUS_OK;
	*out = item;
	if (attribute.kind == VALUE_TEXT)
		return follow(r, item, attribute.as.text->data, attribute.as.text->size, otherwise, out);
	if (template_given(attribute)) {
		TRY(template_item(r, item, attribute, out));
		if (out->kind == VALUE_UNDEFINED && template_given(otherwise))
			*out = otherwise;
	}
done:
	return status;
}

static rebus_status fold(template_run *r, value v, bool sensitive, value *out)
{
	*out = v;
	if (sensitive || v.kind != VALUE_TEXT)
		return REBUS_OK;
	return template_recase(r, v.as.text, CASE_LOWER, out);
}

/* A copy of what can be walked over, so that it may be sorted. */
static rebus_status copy_items(template_run *r, value on, template_kind kind, value *out)
{
	rebus_status status = REBUS_OK;
	value *at;
	size_t count;
	TRY(template_items(r, on, &at, &count));
	TRY(template_step(r, count));
	TRY(template_seq_new(r, kind, count, out));
	if (count)
		memcpy(out->as.list->at, at, count * sizeof *at);
	out->as.list->count = count;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ first, last, length */
rebus_status sequence_length(template_run *r, value on, const value *at, value *out)
{
	int64_t n = 0;
	(void)at;
	rebus_status status = template_length(r, on, &n);
	*out = template_int(n);
	return status;
}

rebus_status sequence_list(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	return copy_items(r, on, VALUE_LIST, out);
}

rebus_status sequence_first(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items;
	size_t count;
	(void)at;
	if (on.kind == VALUE_STREAM) { /* takes one and leaves the rest */
		template_list_body *l = on.as.list;
		if (l->next < l->count) {
			*out = l->at[l->next++];
			return REBUS_OK;
		}
		return template_undefined_hint(r, "No first item, sequence was empty.", out);
	}
	TRY(template_items(r, on, &items, &count));
	if (count)
		*out = items[0];
	else
		TRY(template_undefined_hint(r, "No first item, sequence was empty.", out));
done:
	return status;
}

static bool reversible(value v)
{
	return v.kind == VALUE_TEXT || v.kind == VALUE_DICT || v.kind == VALUE_UNDEFINED ||
	       (template_is_seq(v) && v.kind != VALUE_STREAM);
}

rebus_status sequence_last(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items;
	size_t count;
	(void)at;
	if (!reversible(on))
		TRY(template_fail(r, REBUS_FORMAT, "'%s' object is not reversible", template_type(on)));
	TRY(template_items(r, on, &items, &count));
	if (count)
		*out = items[count - 1];
	else
		TRY(template_undefined_hint(r, "No last item, sequence was empty.", out));
done:
	return status;
}

rebus_status sequence_reverse(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	(void)at;
	if (on.kind == VALUE_TEXT)
		return template_slice(r, on, template_none(), template_none(), template_int(-1), out);
	TRY(copy_items(r, on, reversible(on) ? VALUE_STREAM : VALUE_LIST, out));
	template_list_body *l = out->as.list;
	for (size_t i = 0; i < l->count / 2; i++) {
		value swap = l->at[i];
		l->at[i] = l->at[l->count - 1 - i];
		l->at[l->count - 1 - i] = swap;
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ join, sum */
rebus_status sequence_join(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, item, none = {.kind = VALUE_MISSING};
	size_t count;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	TRY(template_items(r, on, &items, &count));
	for (size_t i = 0; i < count; i++) {
		TRY(template_step(r, 1));
		TRY(attribute_of(r, items[i], at[1], none, &item));
		if (i && at[0].kind != VALUE_MISSING)
			TRY(template_str(r, at[0], &b));
		TRY(template_str(r, item, &b));
	}
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

rebus_status sequence_sum(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, item, none = {.kind = VALUE_MISSING}, sum = at[1].kind == VALUE_MISSING ? template_int(0) : at[1];
	size_t count;
	if (sum.kind == VALUE_TEXT)
		TRY(template_fail(r, REBUS_FORMAT, "sum() can't sum strings [use ''.join(seq) instead]"));
	TRY(template_items(r, on, &items, &count));
	for (size_t i = 0; i < count; i++) {
		TRY(attribute_of(r, items[i], at[0], none, &item));
		TRY(template_binary(r, TOKEN_ADD, sum, item, &sum));
	}
	*out = sum;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ order */
static rebus_status extreme(template_run *r, value on, const value *at, int want, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, key, best_key, none = {.kind = VALUE_MISSING};
	size_t count;
	int order;
	TRY(template_items(r, on, &items, &count));
	if (!count)
		return template_undefined_hint(r, "No aggregated item, sequence was empty.", out);
	for (size_t i = 0; i < count; i++) {
		TRY(attribute_of(r, items[i], at[1], none, &key));
		TRY(fold(r, key, template_truth(at[0]), &key));
		order = want;
		if (i)
			TRY(template_order(r, key, best_key, want < 0 ? "<" : ">", &order));
		if (order == want) {
			*out = items[i];
			best_key = key;
		}
	}
done:
	return status;
}

rebus_status sequence_max(template_run *r, value on, const value *at, value *out)
{
	return extreme(r, on, at, 1, out);
}

rebus_status sequence_min(template_run *r, value on, const value *at, value *out)
{
	return extreme(r, on, at, -1, out);
}

/* The key of |sort: one value for each attribute of a list with commas. */
static rebus_status sort_key(template_run *r, value item, value attribute, bool sensitive, value *out)
{
	rebus_status status = REBUS_OK;
	value part, none = {.kind = VALUE_MISSING};
	TRY(template_seq_new(r, VALUE_LIST, 0, out));
	if (attribute.kind != VALUE_TEXT) {
		TRY(attribute_of(r, item, attribute, none, &part));
		TRY(fold(r, part, sensitive, &part));
		return template_seq_add(r, *out, part);
	}
	const char *path = attribute.as.text->data, *end = path + attribute.as.text->size;
	for (;;) {
		const char *comma = end > path ? memchr(path, ',', (size_t)(end - path)) : NULL;
		TRY(follow(r, item, path, (size_t)((comma ? comma : end) - path), none, &part));
		TRY(fold(r, part, sensitive, &part));
		TRY(template_seq_add(r, *out, part));
		if (!comma)
			break;
		path = comma + 1;
	}
done:
	return status;
}

rebus_status sequence_sort(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value keys, key;
	TRY(copy_items(r, on, VALUE_LIST, out));
	template_list_body *l = out->as.list;
	TRY(template_seq_new(r, VALUE_LIST, l->count, &keys));
	for (size_t i = 0; i < l->count; i++) {
		TRY(sort_key(r, l->at[i], at[2], template_truth(at[1]), &key));
		TRY(template_seq_add(r, keys, key));
	}
	TRY(template_sort(r, l->at, keys.as.list->at, l->count, template_truth(at[0])));
done:
	return status;
}

rebus_status sequence_dictsort(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value keys, key;
	const template_string *by = at[1].kind == VALUE_TEXT ? at[1].as.text : NULL;
	bool by_value = by && text_is(by->data, by->size, "value");
	if (at[1].kind != VALUE_MISSING && !by_value && !(by && text_is(by->data, by->size, "key")))
		TRY(template_fail(r, REBUS_FORMAT, "You can only sort by either \"key\" or \"value\""));
	if (on.kind == VALUE_UNDEFINED)
		TRY(template_undefined_fail(r, on));
	if (on.kind != VALUE_DICT)
		TRY(template_fail(r, REBUS_FORMAT, "'%s' object has no attribute 'items'", template_type(on)));
	TRY(template_dict_view(r, on.as.map, VALUE_LIST, out));
	template_list_body *l = out->as.list;
	TRY(template_seq_new(r, VALUE_LIST, l->count, &keys));
	for (size_t i = 0; i < l->count; i++) {
		TRY(fold(r, l->at[i].as.list->at[by_value], template_truth(at[0]), &key));
		TRY(template_seq_add(r, keys, key));
	}
	TRY(template_sort(r, l->at, keys.as.list->at, l->count, template_truth(at[2])));
done:
	return status;
}

rebus_status sequence_items(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	if (on.kind == VALUE_UNDEFINED)
		return template_seq_new(r, VALUE_STREAM, 0, out);
	if (on.kind != VALUE_DICT)
		return template_fail(r, REBUS_FORMAT, "Can only get item pairs from a mapping.");
	return template_dict_view(r, on.as.map, VALUE_STREAM, out);
}

rebus_status sequence_unique(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, key, seen, none = {.kind = VALUE_MISSING};
	size_t count;
	TRY(template_items(r, on, &items, &count));
	TRY(template_map_new(r, VALUE_DICT, &seen));
	TRY(template_seq_new(r, VALUE_STREAM, 0, out));
	for (size_t i = 0; i < count; i++) {
		template_pair *pair = NULL;
		TRY(attribute_of(r, items[i], at[1], none, &key));
		TRY(fold(r, key, template_truth(at[0]), &key));
		TRY(template_map_find(r, seen.as.map, key, &pair));
		if (pair)
			continue;
		TRY(template_map_set(r, seen.as.map, key, template_none()));
		TRY(template_seq_add(r, *out, items[i]));
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ groups */
static rebus_status group_add(template_run *r, value groups, value name, value *members)
{
	rebus_status status = REBUS_OK;
	value group;
	TRY(template_seq_new(r, VALUE_LIST, 0, members));
	TRY(template_seq_new(r, VALUE_TUPLE, 2, &group));
	group.as.list->group = true;
	TRY(template_seq_add(r, group, name));
	TRY(template_seq_add(r, group, *members));
	TRY(template_seq_add(r, groups, group));
done:
	return status;
}

rebus_status sequence_groupby(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value sorted, keys, key, name, members;
	TRY(copy_items(r, on, VALUE_LIST, &sorted));
	template_list_body *l = sorted.as.list;
	TRY(template_seq_new(r, VALUE_LIST, l->count, &keys));
	for (size_t i = 0; i < l->count; i++) {
		TRY(attribute_of(r, l->at[i], at[0], at[1], &key));
		TRY(fold(r, key, template_truth(at[2]), &key));
		TRY(template_seq_add(r, keys, key));
	}
	TRY(template_sort(r, l->at, keys.as.list->at, l->count, false));
	TRY(template_seq_new(r, VALUE_LIST, 0, out));
	for (size_t i = 0; i < l->count; i++) {
		bool same = false;
		if (i)
			TRY(template_equal(r, keys.as.list->at[i], keys.as.list->at[i - 1], &same));
		if (!same) { /* the name of a group is its first member's, in its own case */
			TRY(attribute_of(r, l->at[i], at[0], at[1], &name));
			TRY(group_add(r, *out, name, &members));
		}
		TRY(template_seq_add(r, members, l->at[i]));
	}
done:
	return status;
}

rebus_status sequence_batch(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, row = {.kind = VALUE_MISSING};
	size_t count;
	double size;
	if (!template_is_number(at[0], &size))
		size = -1; /* it is only compared for equality, so a row never gets full */
	TRY(template_items(r, on, &items, &count));
	TRY(template_seq_new(r, VALUE_STREAM, 0, out));
	for (size_t i = 0; i < count; i++) {
		bool full = row.kind == VALUE_LIST && (double)row.as.list->count == size;
		if (row.kind == VALUE_MISSING && size == 0) { /* Python gives an empty row first, then all in one */
			TRY(template_seq_new(r, VALUE_LIST, 0, &row));
			full = true;
		}
		if (full)
			TRY(template_seq_add(r, *out, row));
		if (full || row.kind == VALUE_MISSING)
			TRY(template_seq_new(r, VALUE_LIST, 0, &row));
		TRY(template_seq_add(r, row, items[i]));
	}
	if (row.kind == VALUE_LIST) {
		while (template_given(at[1]) && (double)row.as.list->count < size)
			TRY(template_seq_add(r, row, at[1]));
		TRY(template_seq_add(r, *out, row));
	}
done:
	return status;
}

rebus_status sequence_slice(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, column;
	size_t count, taken = 0;
	int64_t slices;
	TRY(template_want_int(r, at[0], 0, &slices));
	TRY(template_items(r, on, &items, &count));
	if (!slices)
		TRY(template_fail(r, REBUS_FORMAT, "integer division or modulo by zero"));
	TRY(template_seq_new(r, VALUE_STREAM, 0, out));
	for (int64_t i = 0; i < slices; i++) {
		bool longer = i < (int64_t)count % slices;
		TRY(template_seq_new(r, VALUE_LIST, 0, &column));
		for (size_t end = taken + count / (size_t)slices + longer; taken < end; taken++)
			TRY(template_seq_add(r, column, items[taken]));
		if (template_given(at[1]) && !longer)
			TRY(template_seq_add(r, column, at[1]));
		TRY(template_seq_add(r, *out, column));
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ map, select */
static rebus_status map_attribute(template_run *r, value *items, size_t count, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	static const char *const names[] = {"attribute", "default", NULL};
	value at[2], item;
	TRY(template_take(r, args, "map", names, 1, at));
	for (size_t i = 0; i < count; i++) {
		TRY(attribute_of(r, items[i], at[0], at[1], &item));
		TRY(template_seq_add(r, *out, item));
	}
done:
	return status;
}

static bool has_keyword(const template_args *args, const char *name)
{
	for (size_t i = 0; i < args->keyword_count; i++) {
		const template_string *key = args->keywords[i].key.as.text;
		if (text_is(key->data, key->size, name))
			return true;
	}
	return false;
}

rebus_status sequence_map(template_run *r, value on, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, item, result;
	size_t count;
	if (!template_truth(on) && on.kind != VALUE_LIST && on.kind != VALUE_TUPLE) /* `if value:`, so None|map is empty */
		return template_seq_new(r, VALUE_STREAM, 0, out);
	TRY(template_items(r, on, &items, &count));
	TRY(template_seq_new(r, VALUE_STREAM, 0, &result));
	if (!count) {
		*out = result;
		return REBUS_OK;
	}
	if (!args->count && has_keyword(args, "attribute")) {
		TRY(map_attribute(r, items, count, args, &result));
	} else if (!args->count || args->at[0].kind != VALUE_TEXT) {
		TRY(template_fail(r, REBUS_FORMAT, "map requires a filter argument"));
	} else {
		int which = template_filter_named(args->at[0].as.text);
		template_args rest = {args->at + 1, args->count - 1, args->keywords, args->keyword_count};
		if (which < 0)
			TRY(template_fail(r, REBUS_FORMAT, "No filter named '%.*s'.", (int)int_min((int64_t)args->at[0].as.text->size, 80),
				args->at[0].as.text->data));
		for (size_t i = 0; i < count; i++) {
			TRY(template_filter_call(r, which, items[i], &rest, &item));
			TRY(template_seq_add(r, result, item));
		}
	}
	*out = result;
done:
	return status;
}

/* select and reject: [attribute,] [test, arguments of the test ...] */
static rebus_status choose(template_run *r, value on, const template_args *args, bool attribute, bool keep, value *out)
{
	rebus_status status = REBUS_OK;
	value *items, subject, result, none = {.kind = VALUE_MISSING};
	size_t count, skip = attribute;
	int which = -1;
	bool holds;
	TRY(template_seq_new(r, VALUE_STREAM, 0, &result));
	if (!template_truth(on)) {
		*out = result;
		return REBUS_OK;
	}
	TRY(template_items(r, on, &items, &count));
	if (attribute && !args->count)
		TRY(template_fail(r, REBUS_FORMAT, "Missing parameter for attribute name"));
	if (args->count > skip) {
		value name = args->at[skip++];
		which = name.kind == VALUE_TEXT ? template_test_named(name.as.text) : -1;
		if (which < 0)
			TRY(template_fail(r, REBUS_FORMAT, "No test named '%.*s'.",
				name.kind == VALUE_TEXT ? (int)int_min((int64_t)name.as.text->size, 80) : 1, name.kind == VALUE_TEXT ? name.as.text->data : "?"));
	}
	template_args rest = {args->count > skip ? args->at + skip : NULL, args->count - skip, args->keywords, args->keyword_count};
	for (size_t i = 0; i < count; i++) {
		TRY(template_step(r, 1));
		subject = items[i];
		if (attribute)
			TRY(attribute_of(r, items[i], args->at[0], none, &subject));
		holds = template_truth(subject);
		if (which >= 0)
			TRY(template_test_call(r, which, subject, &rest, &holds));
		if (holds == keep)
			TRY(template_seq_add(r, result, items[i]));
	}
	*out = result;
done:
	return status;
}

rebus_status sequence_select(template_run *r, value on, const template_args *args, value *out)
{
	return choose(r, on, args, false, true, out);
}

rebus_status sequence_reject(template_run *r, value on, const template_args *args, value *out)
{
	return choose(r, on, args, false, false, out);
}

rebus_status sequence_selectattr(template_run *r, value on, const template_args *args, value *out)
{
	return choose(r, on, args, true, true, out);
}

rebus_status sequence_rejectattr(template_run *r, value on, const template_args *args, value *out)
{
	return choose(r, on, args, true, false, out);
}

/* "%s"|format(x): what % does, with a tuple or a dict of what is given */
rebus_status sequence_format(template_run *r, value on, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	value text, all;
	TRY(template_str_value(r, on, &text));
	if (args->count && args->keyword_count)
		TRY(template_fail(r, REBUS_FORMAT, "can't handle positional and keyword arguments at the same time"));
	if (args->keyword_count) {
		TRY(template_map_new(r, VALUE_DICT, &all));
		for (size_t i = 0; i < args->keyword_count; i++)
			TRY(template_map_set(r, all.as.map, args->keywords[i].key, args->keywords[i].item));
	} else {
		TRY(template_seq_new(r, VALUE_TUPLE, args->count, &all));
		for (size_t i = 0; i < args->count; i++)
			TRY(template_seq_add(r, all, args->at[i]));
	}
	TRY(template_percent(r, text.as.text, all, out));
done:
	return status;
}
