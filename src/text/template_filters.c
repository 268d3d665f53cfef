/*
 * template_filters.c - the table of filters, and those that work on a single value.
 *
 *   value|name      value|name(argument, keyword=argument)      list|map("name", argument)
 *
 * Filters over sequences are in template_sequences.c. The filters that Jinja has for web pages are in the table without a
 * function: using one says UNSUPPORTED.
 */
#include "text/template_filters.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ arguments */
bool template_given(value v)
{
	return v.kind != VALUE_MISSING && v.kind != VALUE_NONE;
}

rebus_status template_want_int(template_run *r, value v, int64_t missing, int64_t *out)
{
	*out = missing;
	if (v.kind == VALUE_MISSING || template_is_int(v, out))
		return REBUS_OK;
	if (v.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, v);
	return template_fail(r, REBUS_FORMAT, "'%s' object cannot be interpreted as an integer", template_type(v));
}

static rebus_status want_text(template_run *r, value v, const char *what)
{
	if (v.kind == VALUE_TEXT)
		return REBUS_OK;
	if (v.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, v);
	return template_fail(r, REBUS_FORMAT, "%s must be a string, not %s", what, template_type(v));
}

/* ------------------------------------------------------------------------------------------------ texts */
static rebus_status recase(template_run *r, value on, template_case how, value *out)
{
	rebus_status status = REBUS_OK;
	value text;
	TRY(template_str_value(r, on, &text));
	TRY(template_recase(r, text.as.text, how, out));
done:
	return status;
}

static rebus_status do_upper(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	return recase(r, on, CASE_UPPER, out);
}

static rebus_status do_lower(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	return recase(r, on, CASE_LOWER, out);
}

static rebus_status do_title(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	return recase(r, on, CASE_WORDS, out);
}

static rebus_status do_capitalize(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	return recase(r, on, CASE_CAPITAL, out);
}

static rebus_status do_string(template_run *r, value on, const value *at, value *out)
{
	(void)at;
	return template_str_value(r, on, out);
}

static rebus_status do_safe(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text;
	(void)at;
	TRY(template_str_value(r, on, &text));
	TRY(template_string_view(r, text.as.text->data, text.as.text->size, out));
	out->as.text->safe = true;
done:
	return status;
}

static rebus_status do_escape(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text;
	(void)at;
	TRY(template_str_value(r, on, &text));
	TRY(template_escape(r, text.as.text, out));
done:
	return status;
}

static rebus_status do_forceescape(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text, plain;
	(void)at;
	TRY(template_str_value(r, on, &text));
	TRY(template_string_view(r, text.as.text->data, text.as.text->size, &plain));
	TRY(template_escape(r, plain.as.text, out));
done:
	return status;
}

static rebus_status do_trim(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text;
	TRY(template_str_value(r, on, &text));
	if (template_given(at[0]))
		TRY(want_text(r, at[0], "strip arg"));
	TRY(template_strip(r, text.as.text, template_given(at[0]) ? at[0].as.text : NULL, true, true, out));
done:
	return status;
}

static rebus_status do_replace(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text, from, to;
	int64_t most;
	TRY(template_str_value(r, on, &text));
	TRY(template_str_value(r, at[0], &from));
	TRY(template_str_value(r, at[1], &to));
	TRY(template_want_int(r, template_given(at[2]) ? at[2] : (value){.kind = VALUE_MISSING}, -1, &most));
	TRY(template_replace(r, text.as.text, from.as.text, to.as.text, most, out));
done:
	return status;
}

static rebus_status do_center(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text;
	int64_t width;
	TRY(template_str_value(r, on, &text));
	TRY(template_want_int(r, at[0], 80, &width));
	TRY(template_pad(r, text.as.text, width, ' ', 0, out));
done:
	return status;
}

static rebus_status do_wordcount(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value text;
	int64_t words = 0;
	bool inside = false;
	(void)at;
	TRY(template_str_value(r, on, &text));
	const template_string *s = text.as.text;
	TRY(template_step(r, s->size / 16));
	for (size_t i = 0; i < s->size;) {
		uint32_t cp;
		i += utf8_get(s->data + i, s->size - i, &cp);
		words += template_word(cp) && !inside;
		inside = template_word(cp);
	}
	*out = template_int(words);
done:
	return status;
}

/* Every line but the first, unless it is empty; `first` and `blank` lift the two exceptions. */
static rebus_status do_indent(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value lines, indent = at[0], space;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	TRY(want_text(r, on, "what is indented"));
	if (indent.kind != VALUE_TEXT) {
		int64_t width;
		TRY(template_want_int(r, at[0], 4, &width));
		TRY(template_string_c(r, " ", &space));
		TRY(template_repeat(r, space, width, &indent));
	}
	bool first = template_truth(at[1]), blank = template_truth(at[2]);
	buf_add(&b, on.as.text->data, on.as.text->size);
	buf_byte(&b, '\n');
	TRY(template_string_take(r, &b, &space));
	TRY(template_lines(r, space.as.text, false, &lines));
	b.size = 0;
	const template_list_body *l = lines.as.list;
	for (size_t i = 0; i < l->count; i++) {
		if (i)
			buf_byte(&b, '\n');
		if (i ? blank || l->at[i].as.text->size : first)
			TRY(template_str(r, indent, &b));
		TRY(template_str(r, l->at[i], &b));
	}
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

static rebus_status do_truncate(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t length, leeway, points, end_points = 3;
	value end = at[2], head, parts;
	TRY(template_length(r, on, &points));
	TRY(template_want_int(r, at[0], 255, &length));
	TRY(template_want_int(r, template_given(at[3]) ? at[3] : (value){.kind = VALUE_MISSING}, 5, &leeway));
	if (end.kind == VALUE_MISSING)
		TRY(template_string_c(r, "...", &end));
	else
		TRY(template_length(r, end, &end_points));
	if (length < end_points || leeway < 0)
		TRY(template_fail(r, REBUS_FORMAT, "expected length >= %lld and leeway >= 0", (long long)end_points));
	*out = on;
	if (points <= length || points - length <= leeway)
		return REBUS_OK;
	TRY(want_text(r, on, "what is truncated"));
	TRY(template_slice(r, on, template_none(), template_int(length - end_points), template_none(), &head));
	if (!template_truth(at[1])) {
		template_string space = {.data = " ", .size = 1, .points = 1};
		TRY(template_split(r, head.as.text, &space, 1, true, &parts));
		head = parts.as.list->at[0];
	}
	TRY(template_binary(r, TOKEN_ADD, head, end, out));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ numbers */
static rebus_status do_abs(template_run *r, value on, const value *at, value *out)
{
	int64_t i;
	(void)at;
	if (template_is_int(on, &i) && i >= 0) {
		*out = template_int(i);
		return REBUS_OK;
	}
	if (on.kind == VALUE_REAL) {
		*out = template_real(fabs(on.as.real));
		return REBUS_OK;
	}
	return on.kind == VALUE_INT ? template_unary(r, TOKEN_SUB, on, out)
	                            : template_fail(r, REBUS_FORMAT, "bad operand type for abs(): '%s'", template_type(on));
}

/* int(x), else int(float(x)), else the default */
static rebus_status do_int(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t i, base;
	double x;
	bool too_big = false;
	TRY(template_want_int(r, at[1], 10, &base));
	*out = at[0].kind == VALUE_MISSING ? template_int(0) : at[0];
	if (on.kind == VALUE_UNDEFINED)
		TRY(template_undefined_fail(r, on));
	if (template_is_int(on, &i)) {
		*out = template_int(i);
		return REBUS_OK;
	}
	if (on.kind == VALUE_TEXT && base >= 0 && base <= 36 &&
		template_read_int(on.as.text->data, on.as.text->size, (int)base, &i, &too_big)) {
		*out = template_int(i);
		return REBUS_OK;
	}
	if (on.kind != VALUE_REAL && (on.kind != VALUE_TEXT || !template_read_real(on.as.text->data, on.as.text->size, &x)))
		return REBUS_OK;
	x = on.kind == VALUE_REAL ? on.as.real : x;
	if (on.kind == VALUE_REAL && isinf(x))
		return REBUS_OK; /* OverflowError from int() is not caught the first time, but the second */
	if (isnan(x) || isinf(x))
		return REBUS_OK;
	if (fabs(x) >= 9223372036854775808.0 || too_big)
		TRY(template_fail(r, REBUS_LIMIT, "an integer of more than 64 bits"));
	*out = template_int((int64_t)x);
done:
	return status;
}

static rebus_status do_float(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	double x;
	if (on.kind == VALUE_UNDEFINED)
		TRY(template_undefined_fail(r, on));
	if (template_is_number(on, &x) || (on.kind == VALUE_TEXT && template_read_real(on.as.text->data, on.as.text->size, &x)))
		*out = template_real(x);
	else
		*out = at[0].kind == VALUE_MISSING ? template_real(0) : at[0];
done:
	return status;
}

static rebus_status do_round(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t digits;
	value scale, scaled;
	double x;
	TRY(template_want_int(r, at[0], 0, &digits));
	if (at[1].kind != VALUE_MISSING)
		TRY(want_text(r, at[1], "method"));
	const template_string *how = at[1].kind == VALUE_TEXT ? at[1].as.text : NULL;
	bool up = how && text_is(how->data, how->size, "ceil"), down = how && text_is(how->data, how->size, "floor");
	if (!up && !down && how && !text_is(how->data, how->size, "common"))
		TRY(template_fail(r, REBUS_FORMAT, "method must be common, ceil or floor"));
	if (!up && !down)
		return template_round(r, on, digits, out);
	TRY(template_binary(r, TOKEN_POW, template_int(10), template_int(digits), &scale));
	TRY(template_binary(r, TOKEN_MUL, on, scale, &scaled));
	if (!template_is_number(scaled, &x))
		TRY(template_fail(r, REBUS_FORMAT, "must be real number, not %s", template_type(scaled)));
	if (!isfinite(x))
		TRY(template_fail(r, REBUS_FORMAT, "cannot convert float infinity or NaN to integer"));
	if (fabs(x) >= 9223372036854775808.0)
		TRY(template_fail(r, REBUS_LIMIT, "an integer of more than 64 bits"));
	TRY(template_binary(r, TOKEN_DIV, template_int((int64_t)(up ? ceil(x) : floor(x))), scale, out));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ any value */
static rebus_status do_default(template_run *r, value on, const value *at, value *out)
{
	if (on.kind != VALUE_UNDEFINED && !(template_truth(at[1]) && !template_truth(on))) {
		*out = on;
		return REBUS_OK;
	}
	*out = at[0];
	return at[0].kind == VALUE_MISSING ? template_string_c(r, "", out) : REBUS_OK;
}

static rebus_status do_attr(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	bool unsafe;
	TRY(want_text(r, at[0], "attribute name"));
	if (on.kind == VALUE_DICT && template_method_named(on, at[0].as.text, &unsafe) < 0 && !unsafe)
		return template_undefined_new(r, &(template_undefined){.name = at[0].as.text, .owner = "dict"}, out);
	TRY(template_attr(r, on, at[0].as.text, out));
done:
	return status;
}

static rebus_status json_part(template_run *r, value v, const char *otherwise, template_string *room, const template_string **out)
{
	*room = (template_string){.data = otherwise, .size = strlen(otherwise), .points = SIZE_MAX};
	*out = room;
	if (v.kind == VALUE_MISSING)
		return REBUS_OK;
	if (v.kind != VALUE_TEXT)
		return template_fail(r, REBUS_FORMAT, "tojson: separators must be strings, not %s", template_type(v));
	*out = v.as.text;
	return REBUS_OK;
}

/* tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False) */
static rebus_status do_tojson(template_run *r, value on, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value indent = at[1], item = {.kind = VALUE_MISSING}, key = {.kind = VALUE_MISSING}, space, *pair;
	template_string rooms[3];
	template_json how = {.ascii = template_truth(at[0]), .pretty = template_given(at[1]), .sorted = template_truth(at[3])};
	size_t count;
	int64_t width;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	if (template_is_int(indent, &width)) {
		TRY(template_string_c(r, " ", &space));
		TRY(template_repeat(r, space, width, &indent));
	}
	if (template_given(at[2])) {
		TRY(template_items(r, at[2], &pair, &count));
		if (count != 2)
			TRY(template_fail(r, REBUS_FORMAT, "tojson: separators are two strings"));
		item = pair[0];
		key = pair[1];
	}
	TRY(json_part(r, how.pretty ? indent : (value){.kind = VALUE_MISSING}, "", &rooms[0], &how.indent));
	TRY(json_part(r, item, how.pretty ? "," : ", ", &rooms[1], &how.item));
	TRY(json_part(r, key, ": ", &rooms[2], &how.key));
	TRY(template_to_json(r, on, &how, &b));
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ the table */
static const struct {
	const char *name;
	filter_run *run;
	const char *names[5];
	uint8_t needed;
	filter_free *free; /* takes any arguments */
} filters[] = {
	{"abs", do_abs, {NULL}, 0, NULL},
	{"attr", do_attr, {"name"}, 1, NULL},
	{"batch", sequence_batch, {"linecount", "fill_with"}, 1, NULL},
	{"capitalize", do_capitalize, {NULL}, 0, NULL},
	{"center", do_center, {"width"}, 0, NULL},
	{"count", sequence_length, {NULL}, 0, NULL},
	{"d", do_default, {"default_value", "boolean"}, 0, NULL},
	{"default", do_default, {"default_value", "boolean"}, 0, NULL},
	{"dictsort", sequence_dictsort, {"case_sensitive", "by", "reverse"}, 0, NULL},
	{"e", do_escape, {NULL}, 0, NULL},
	{"escape", do_escape, {NULL}, 0, NULL},
	{"filesizeformat", NULL, {NULL}, 0, NULL},
	{"first", sequence_first, {NULL}, 0, NULL},
	{"float", do_float, {"default"}, 0, NULL},
	{"forceescape", do_forceescape, {NULL}, 0, NULL},
	{"format", NULL, {NULL}, 0, sequence_format},
	{"groupby", sequence_groupby, {"attribute", "default", "case_sensitive"}, 1, NULL},
	{"indent", do_indent, {"width", "first", "blank"}, 0, NULL},
	{"int", do_int, {"default", "base"}, 0, NULL},
	{"items", sequence_items, {NULL}, 0, NULL},
	{"join", sequence_join, {"d", "attribute"}, 0, NULL},
	{"last", sequence_last, {NULL}, 0, NULL},
	{"length", sequence_length, {NULL}, 0, NULL},
	{"list", sequence_list, {NULL}, 0, NULL},
	{"lower", do_lower, {NULL}, 0, NULL},
	{"map", NULL, {NULL}, 0, sequence_map},
	{"max", sequence_max, {"case_sensitive", "attribute"}, 0, NULL},
	{"min", sequence_min, {"case_sensitive", "attribute"}, 0, NULL},
	{"pprint", NULL, {NULL}, 0, NULL},
	{"random", NULL, {NULL}, 0, NULL},
	{"reject", NULL, {NULL}, 0, sequence_reject},
	{"rejectattr", NULL, {NULL}, 0, sequence_rejectattr},
	{"replace", do_replace, {"old", "new", "count"}, 2, NULL},
	{"reverse", sequence_reverse, {NULL}, 0, NULL},
	{"round", do_round, {"precision", "method"}, 0, NULL},
	{"safe", do_safe, {NULL}, 0, NULL},
	{"select", NULL, {NULL}, 0, sequence_select},
	{"selectattr", NULL, {NULL}, 0, sequence_selectattr},
	{"slice", sequence_slice, {"slices", "fill_with"}, 1, NULL},
	{"sort", sequence_sort, {"reverse", "case_sensitive", "attribute"}, 0, NULL},
	{"string", do_string, {NULL}, 0, NULL},
	{"striptags", NULL, {NULL}, 0, NULL},
	{"sum", sequence_sum, {"attribute", "start"}, 0, NULL},
	{"title", do_title, {NULL}, 0, NULL},
	{"tojson", do_tojson, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, NULL},
	{"trim", do_trim, {"chars"}, 0, NULL},
	{"truncate", do_truncate, {"length", "killwords", "end", "leeway"}, 0, NULL},
	{"unique", sequence_unique, {"case_sensitive", "attribute"}, 0, NULL},
	{"upper", do_upper, {NULL}, 0, NULL},
	{"urlencode", NULL, {NULL}, 0, NULL},
	{"urlize", NULL, {NULL}, 0, NULL},
	{"wordcount", do_wordcount, {NULL}, 0, NULL},
	{"wordwrap", NULL, {NULL}, 0, NULL},
	{"xmlattr", NULL, {NULL}, 0, NULL},
};

int template_filter_named(const template_string *name)
{
	for (size_t i = 0; i < COUNT_OF(filters); i++)
		if (text_is(name->data, name->size, filters[i].name))
			return (int)i;
	return -1;
}

rebus_status template_filter_call(template_run *r, int which, value on, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	value at[5], result;
	if (filters[which].free)
		return filters[which].free(r, on, args, out);
	if (!filters[which].run)
		TRY(template_fail(r, REBUS_UNSUPPORTED, "the filter %s", filters[which].name));
	TRY(template_take(r, args, filters[which].name, filters[which].names, filters[which].needed, at));
	TRY(filters[which].run(r, on, at, &result));
	*out = result;
done:
	return status;
}
