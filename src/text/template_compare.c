/*
 * template_compare.c - ==, <, in, and walking over whatever can be walked over.
 *
 * Python's rules: numbers compare by value whatever their type, texts by code point (which UTF-8 keeps), lists and tuples
 * by their first difference, dicts only for equality; anything else is equal to itself alone, and `<` between unlike types
 * is an error. Comparing recurses with the values' nesting, which r->depth bounds.
 */
#include "text/template_inside.h"

#include <math.h>
#include <string.h>

static rebus_status deeper(template_run *r)
{
	if (r->depth >= r->limits.depth * 16)
		return template_fail(r, REBUS_LIMIT, "values nested too deep");
	r->depth++;
	return REBUS_OK;
}

static int compare_text(const template_string *a, const template_string *b)
{
	size_t n = a->size < b->size ? a->size : b->size;
	int c = n ? memcmp(a->data, b->data, n) : 0;
	return c ? (c < 0 ? -1 : 1) : (a->size > b->size) - (a->size < b->size);
}

/* An integer against a real number without rounding the integer. 2: NaN */
static int compare_mixed(int64_t i, double x)
{
	if (isnan(x))
		return 2;
	if (x >= 9223372036854775808.0)
		return -1;
	if (x < -9223372036854775808.0)
		return 1;
	int64_t whole = (int64_t)x;
	if (i != whole)
		return i < whole ? -1 : 1;
	double rest = x - (double)whole;
	return rest > 0 ? -1 : rest < 0;
}

/* false: not both numbers */
static bool compare_numbers(value a, value b, int *out)
{
	int64_t i, j;
	bool ia = template_is_int(a, &i), ib = template_is_int(b, &j);
	if (!(ia || a.kind == VALUE_REAL) || !(ib || b.kind == VALUE_REAL))
		return false;
	if (ia && ib) {
		*out = (i > j) - (i < j);
	} else if (ia) {
		*out = compare_mixed(i, b.as.real);
	} else if (ib) {
		*out = compare_mixed(j, a.as.real);
		*out = *out == 2 ? 2 : -*out;
	} else {
		double x = a.as.real, y = b.as.real;
		*out = isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
	}
	return true;
}

static rebus_status equal_maps(template_run *r, const template_map *a, const template_map *b, bool *out)
{
	rebus_status status = REBUS_OK;
	bool same = a->count == b->count;
	for (size_t i = 0; same && i < a->count; i++) {
		template_pair *pair = NULL;
		TRY(template_map_find(r, b, a->at[i].key, &pair));
		same = pair != NULL;
		if (pair)
			TRY(template_equal(r, a->at[i].item, pair->item, &same));
	}
	*out = same;
done:
	return status;
}

rebus_status template_equal(template_run *r, value a, value b, bool *out)
{
	rebus_status status = REBUS_OK;
	int order;
	TRY(template_step(r, 1));
	if (compare_numbers(a, b, &order)) {
		*out = order == 0;
		return REBUS_OK;
	}
	if (a.kind != b.kind) {
		*out = false;
		return REBUS_OK;
	}
	switch (a.kind) {
	case VALUE_NONE:
	case VALUE_UNDEFINED:
		*out = true;
		break;
	case VALUE_TEXT:
		TRY(template_step(r, a.as.text->size / 256));
		*out = a.as.text->size == b.as.text->size && compare_text(a.as.text, b.as.text) == 0;
		break;
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_RANGE: {
		bool same = a.as.list->count == b.as.list->count;
		TRY(deeper(r));
		for (size_t i = 0; same && i < a.as.list->count; i++)
			TRY(template_equal(r, a.as.list->at[i], b.as.list->at[i], &same));
		r->depth--;
		*out = same;
		break;
	}
	case VALUE_KEYS:
	case VALUE_ITEMS: { /* as sets */
		bool same = a.as.list->count == b.as.list->count;
		TRY(deeper(r));
		for (size_t i = 0; same && i < a.as.list->count; i++)
			TRY(template_contains(r, b, a.as.list->at[i], &same));
		r->depth--;
		*out = same;
		break;
	}
	case VALUE_DICT:
		TRY(deeper(r));
		TRY(equal_maps(r, a.as.map, b.as.map, out));
		r->depth--;
		break;
	case VALUE_FUNCTION:
		*out = a.as.function == b.as.function;
		break;
	case VALUE_METHOD:
		*out = a.as.method->which == b.as.method->which && a.as.method->self.kind == b.as.method->self.kind &&
		       a.as.method->self.as.list == b.as.method->self.as.list;
		break;
	default:
		*out = a.as.list == b.as.list;
	}
done:
	return status;
}

rebus_status template_order(template_run *r, value a, value b, const char *op, int *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_step(r, 1));
	if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, a.kind == VALUE_UNDEFINED ? a : b);
	if (compare_numbers(a, b, out))
		return REBUS_OK;
	if (a.kind == VALUE_TEXT && b.kind == VALUE_TEXT) {
		TRY(template_step(r, a.as.text->size / 256));
		*out = compare_text(a.as.text, b.as.text);
		return REBUS_OK;
	}
	if (a.kind != b.kind || (a.kind != VALUE_LIST && a.kind != VALUE_TUPLE))
		return template_fail(r, REBUS_FORMAT, "'%s' not supported between instances of '%s' and '%s'", op, template_type(a),
			template_type(b));
	const template_list_body *x = a.as.list, *y = b.as.list;
	TRY(deeper(r));
	for (size_t i = 0; i < x->count && i < y->count; i++) {
		bool same;
		TRY(template_equal(r, x->at[i], y->at[i], &same));
		if (!same) {
			status = template_order(r, x->at[i], y->at[i], op, out);
			r->depth--;
			return status;
		}
	}
	r->depth--;
	*out = (x->count > y->count) - (x->count < y->count);
done:
	return status;
}

static rebus_status find_item(template_run *r, value *at, size_t count, value what, bool *out)
{
	rebus_status status = REBUS_OK;
	bool same = false;
	for (size_t i = 0; i < count && !same; i++)
		TRY(template_equal(r, at[i], what, &same));
	*out = same;
done:
	return status;
}

rebus_status template_contains(template_run *r, value in, value what, bool *out)
{
	rebus_status status = REBUS_OK;
	template_pair *pair = NULL;
	bool same = false;
	if (in.kind == VALUE_TEXT) {
		if (what.kind != VALUE_TEXT)
			return template_fail(r, REBUS_FORMAT, "'in <string>' requires string as left operand, not %s", template_type(what));
		TRY(template_step(r, in.as.text->size / 16));
		*out = template_find(in.as.text->data, in.as.text->size, what.as.text->data, what.as.text->size) != NULL;
	} else if (in.kind == VALUE_DICT) {
		TRY(template_map_find(r, in.as.map, what, &pair));
		*out = pair != NULL;
	} else if (in.kind == VALUE_STREAM) { /* uses it up to where it was found */
		template_list_body *l = in.as.list;
		while (l->next < l->count && !same)
			TRY(template_equal(r, l->at[l->next++], what, &same));
		*out = same;
	} else if (template_is_seq(in)) {
		TRY(find_item(r, in.as.list->at, in.as.list->count, what, out));
	} else if (in.kind == VALUE_UNDEFINED) {
		*out = false;
	} else {
		return template_fail(r, REBUS_FORMAT, "argument of type '%s' is not iterable", template_type(in));
	}
done:
	return status;
}

rebus_status template_items(template_run *r, value v, value **at, size_t *count)
{
	rebus_status status = REBUS_OK;
	if (v.kind == VALUE_STREAM) {
		*at = v.as.list->at ? v.as.list->at + v.as.list->next : NULL;
		*count = v.as.list->count - v.as.list->next;
		v.as.list->next = v.as.list->count;
	} else if (template_is_seq(v)) {
		*at = v.as.list->at;
		*count = v.as.list->count;
	} else if (v.kind == VALUE_UNDEFINED) {
		*at = NULL;
		*count = 0;
	} else if (v.kind == VALUE_DICT || v.kind == VALUE_TEXT) {
		value all;
		if (v.kind == VALUE_TEXT) {
			TRY(template_letters(r, v.as.text, &all));
		} else {
			TRY(template_seq_new(r, VALUE_LIST, v.as.map->count, &all));
			for (size_t i = 0; i < v.as.map->count; i++)
				TRY(template_seq_add(r, all, v.as.map->at[i].key));
		}
		*at = all.as.list->at;
		*count = all.as.list->count;
	} else {
		return template_fail(r, REBUS_FORMAT, "'%s' object is not iterable", template_type(v));
	}
	TRY(template_step(r, *count / 4));
done:
	return status;
}

rebus_status template_length(template_run *r, value v, int64_t *out)
{
	if (v.kind == VALUE_LOOP)
		return template_loop_length(r, v.as.loop, out);
	if (v.kind == VALUE_TEXT)
		*out = (int64_t)template_points(v.as.text);
	else if (v.kind == VALUE_DICT)
		*out = (int64_t)v.as.map->count;
	else if (v.kind == VALUE_UNDEFINED)
		*out = 0;
	else if (template_is_seq(v) && v.kind != VALUE_STREAM)
		*out = (int64_t)v.as.list->count;
	else
		return template_fail(r, REBUS_FORMAT, "object of type '%s' has no len()", template_type(v));
	return template_step(r, v.kind == VALUE_TEXT ? v.as.text->size / 64 : 0);
}

/* ------------------------------------------------------------------------------------------------ sorting */
static rebus_status comes_before(template_run *r, value right, value left, bool descending, bool *out)
{
	rebus_status status = REBUS_OK;
	int order;
	TRY(template_order(r, right, left, "<", &order));
	*out = descending ? order == 1 : order == -1;
done:
	return status;
}

/* Merges at[begin .. middle) and at[middle .. end), both sorted, through `spare`. */
static rebus_status merge(template_run *r, value *at, value *keys, value *spare, size_t begin, size_t middle, size_t end, bool descending)
{
	rebus_status status = REBUS_OK;
	value *spare_keys = spare + end, *by = keys ? keys : at;
	size_t left = begin, right = middle;
	for (size_t i = begin; i < end; i++) {
		bool take_right = left == middle;
		if (left < middle && right < end)
			TRY(comes_before(r, by[right], by[left], descending, &take_right));
		size_t from = take_right ? right++ : left++;
		spare[i] = at[from];
		if (keys)
			spare_keys[i - begin] = keys[from];
	}
	memcpy(at + begin, spare + begin, (end - begin) * sizeof *at);
	if (keys)
		memcpy(keys + begin, spare_keys, (end - begin) * sizeof *keys);
done:
	return status;
}

rebus_status template_sort(template_run *r, value *items, value *keys, size_t count, bool descending)
{
	rebus_status status = REBUS_OK;
	value spare_list;
	if (count < 2)
		return REBUS_OK;
	TRY(template_seq_new(r, VALUE_LIST, count * 2, &spare_list));
	for (size_t width = 1; width < count; width *= 2)
		for (size_t begin = 0; begin + width < count; begin += 2 * width) {
			size_t end = begin + 2 * width < count ? begin + 2 * width : count;
			TRY(merge(r, items, keys, spare_list.as.list->at, begin, begin + width, end, descending));
		}
done:
	return status;
}
