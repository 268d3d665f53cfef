/*
 * template_methods.c - methods of texts, lists and dicts, and the functions every template can call.
 *
 * One table names them all. A method that Python has and this does not is in the table too, so that `x.method is defined`
 * answers rightly and a call says UNSUPPORTED with the name; those that change a list or dict are marked as the sandbox
 * marks them.
 */
#include "text/template_inside.h"

#include <string.h>

enum { MOST = 4 }; /* arguments of one method */

typedef rebus_status method_run(template_run *r, value self, const value *at, value *out);

/* ------------------------------------------------------------------------------------------------ arguments */
rebus_status template_take(template_run *r, const template_args *args, const char *what, const char *const *names, size_t needed,
	value *out)
{
	size_t count = 0;
	while (names[count])
		out[count++] = (value){.kind = VALUE_MISSING};
	if (args->count > count)
		return template_fail(r, REBUS_FORMAT, "%s() takes at most %zu arguments (%zu given)", what, count, args->count);
	for (size_t i = 0; i < args->count; i++)
		out[i] = args->at[i];
	for (size_t k = 0; k < args->keyword_count; k++) {
		const template_string *key = args->keywords[k].key.as.text;
		size_t i = 0;
		while (i < count && !text_is(key->data, key->size, names[i]))
			i++;
		if (i == count || out[i].kind != VALUE_MISSING)
			return template_fail(r, REBUS_FORMAT, "%s() got %s '%.*s'", what,
				i == count ? "an unexpected keyword argument" : "multiple values for argument", (int)int_min((int64_t)key->size, 60), key->data);
		out[i] = args->keywords[k].item;
	}
	for (size_t i = 0; i < needed; i++)
		if (out[i].kind == VALUE_MISSING)
			return template_fail(r, REBUS_FORMAT, "%s() missing required argument '%s'", what, names[i]);
	return REBUS_OK;
}

static rebus_status want_text(template_run *r, value v, const char *what)
{
	if (v.kind == VALUE_TEXT)
		return REBUS_OK;
	return template_fail(r, REBUS_FORMAT, "%s must be str, not %s", what, template_type(v));
}

static rebus_status want_int(template_run *r, value v, int64_t missing, int64_t *out)
{
	*out = missing;
	if (v.kind == VALUE_MISSING || template_is_int(v, out))
		return REBUS_OK;
	return template_fail(r, REBUS_FORMAT, "'%s' object cannot be interpreted as an integer", template_type(v));
}

/* ------------------------------------------------------------------------------------------------ texts */
static rebus_status do_upper(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_recase(r, self.as.text, CASE_UPPER, out);
}

static rebus_status do_lower(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_recase(r, self.as.text, CASE_LOWER, out);
}

static rebus_status do_title(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_recase(r, self.as.text, CASE_TITLE, out);
}

static rebus_status do_capitalize(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_recase(r, self.as.text, CASE_CAPITAL, out);
}

static rebus_status do_swapcase(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_recase(r, self.as.text, CASE_SWAP, out);
}

static rebus_status strip(template_run *r, value self, const value *at, bool left, bool right, value *out)
{
	if (at[0].kind != VALUE_MISSING && at[0].kind != VALUE_NONE && at[0].kind != VALUE_TEXT)
		return template_fail(r, REBUS_FORMAT, "strip arg must be None or str");
	return template_strip(r, self.as.text, at[0].kind == VALUE_TEXT ? at[0].as.text : NULL, left, right, out);
}

static rebus_status do_strip(template_run *r, value self, const value *at, value *out)
{
	return strip(r, self, at, true, true, out);
}

static rebus_status do_lstrip(template_run *r, value self, const value *at, value *out)
{
	return strip(r, self, at, true, false, out);
}

static rebus_status do_rstrip(template_run *r, value self, const value *at, value *out)
{
	return strip(r, self, at, false, true, out);
}

static rebus_status split(template_run *r, value self, const value *at, bool right, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t most;
	bool words = at[0].kind == VALUE_MISSING || at[0].kind == VALUE_NONE;
	if (!words)
		TRY(want_text(r, at[0], "separator"));
	TRY(want_int(r, at[1], -1, &most));
	TRY(template_split(r, self.as.text, words ? NULL : at[0].as.text, most, right, out));
done:
	return status;
}

static rebus_status do_split(template_run *r, value self, const value *at, value *out)
{
	return split(r, self, at, false, out);
}

static rebus_status do_rsplit(template_run *r, value self, const value *at, value *out)
{
	return split(r, self, at, true, out);
}

static rebus_status do_splitlines(template_run *r, value self, const value *at, value *out)
{
	return template_lines(r, self.as.text, template_truth(at[0]), out);
}

static rebus_status partition(template_run *r, value self, const value *at, bool right, value *out)
{
	rebus_status status = REBUS_OK;
	const template_string *s = self.as.text, *by = at[0].as.text;
	value part;
	TRY(want_text(r, at[0], "separator"));
	if (!by->size)
		TRY(template_fail(r, REBUS_FORMAT, "empty separator"));
	TRY(template_step(r, s->size / 16));
	const char *found = right ? template_find_last(s->data, s->size, by->data, by->size) : template_find(s->data, s->size, by->data, by->size);
	size_t head = found ? (size_t)(found - s->data) : right ? 0 : s->size, middle = found ? by->size : 0;
	const size_t cuts[] = {0, head, head + middle, s->size};
	TRY(template_seq_new(r, VALUE_TUPLE, 3, out));
	for (int i = 0; i < 3; i++) {
		TRY(template_string_view(r, s->data + cuts[i], cuts[i + 1] - cuts[i], &part));
		TRY(template_seq_add(r, *out, part));
	}
done:
	return status;
}

static rebus_status do_partition(template_run *r, value self, const value *at, value *out)
{
	return partition(r, self, at, false, out);
}

static rebus_status do_rpartition(template_run *r, value self, const value *at, value *out)
{
	return partition(r, self, at, true, out);
}

/* The part of a text that [start, end) of code points means; *start becomes its first code point, false: past the end. */
static rebus_status window(template_run *r, template_string *s, value start, value end, int64_t *first, template_string *out, bool *in)
{
	rebus_status status = REBUS_OK;
	int64_t count = (int64_t)template_points(s), last;
	TRY(want_int(r, start.kind == VALUE_NONE ? (value){.kind = VALUE_MISSING} : start, 0, first));
	TRY(want_int(r, end.kind == VALUE_NONE ? (value){.kind = VALUE_MISSING} : end, count, &last));
	*first = *first < 0 ? int_max(*first + count, 0) : *first;
	last = last < 0 ? int_max(last + count, 0) : int_min(last, count);
	*in = *first <= last;
	size_t begin = *in ? template_offset(s, (size_t)*first) : 0, stop = *in ? template_offset(s, (size_t)last) : 0;
	*out = (template_string){.data = s->data + begin, .size = stop - begin, .points = SIZE_MAX};
	TRY(template_step(r, s->size / 16));
done:
	return status;
}

static rebus_status search(template_run *r, value self, const value *at, bool right, bool must, value *out)
{
	rebus_status status = REBUS_OK;
	template_string w;
	int64_t first;
	bool in;
	TRY(want_text(r, at[0], "argument"));
	TRY(window(r, self.as.text, at[1], at[2], &first, &w, &in));
	const template_string *what = at[0].as.text;
	const char *found = !in ? NULL : right ? template_find_last(w.data, w.size, what->data, what->size)
	                                       : template_find(w.data, w.size, what->data, what->size);
	if (!found && must)
		TRY(template_fail(r, REBUS_FORMAT, "substring not found"));
	template_string before = {.data = w.data, .size = found ? (size_t)(found - w.data) : 0, .points = SIZE_MAX};
	*out = template_int(found ? first + (int64_t)template_points(&before) : -1);
done:
	return status;
}

static rebus_status do_find(template_run *r, value self, const value *at, value *out)
{
	return search(r, self, at, false, false, out);
}

static rebus_status do_rfind(template_run *r, value self, const value *at, value *out)
{
	return search(r, self, at, true, false, out);
}

static rebus_status do_index(template_run *r, value self, const value *at, value *out)
{
	return search(r, self, at, false, true, out);
}

static rebus_status do_rindex(template_run *r, value self, const value *at, value *out)
{
	return search(r, self, at, true, true, out);
}

static rebus_status do_count(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	template_string w;
	int64_t first, n = 0;
	bool in;
	TRY(want_text(r, at[0], "argument"));
	TRY(window(r, self.as.text, at[1], at[2], &first, &w, &in));
	const template_string *what = at[0].as.text;
	const char *s = w.data, *end = w.data + w.size;
	if (in && !what->size)
		n = (int64_t)template_points(&w) + 1;
	while (in && what->size && (s = template_find(s, (size_t)(end - s), what->data, what->size))) {
		s += what->size;
		n++;
	}
	*out = template_int(n);
done:
	return status;
}

static bool ends_with(const template_string *s, const template_string *part, bool at_end)
{
	return s->size >= part->size && memcmp(s->data + (at_end ? s->size - part->size : 0), part->data, part->size) == 0;
}

static rebus_status affix(template_run *r, value self, const value *at, bool at_end, value *out)
{
	rebus_status status = REBUS_OK;
	template_string w;
	int64_t first;
	bool in, holds = false;
	TRY(window(r, self.as.text, at[1], at[2], &first, &w, &in));
	if (at[0].kind == VALUE_TUPLE) {
		for (size_t i = 0; i < at[0].as.list->count && !holds; i++) {
			TRY(want_text(r, at[0].as.list->at[i], "tuple for startswith or endswith"));
			holds = in && ends_with(&w, at[0].as.list->at[i].as.text, at_end);
		}
	} else {
		TRY(want_text(r, at[0], "first arg of startswith or endswith"));
		holds = in && ends_with(&w, at[0].as.text, at_end);
	}
	*out = template_flag(holds);
done:
	return status;
}

static rebus_status do_startswith(template_run *r, value self, const value *at, value *out)
{
	return affix(r, self, at, false, out);
}

static rebus_status do_endswith(template_run *r, value self, const value *at, value *out)
{
	return affix(r, self, at, true, out);
}

static rebus_status do_removeprefix(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	const template_string *s = self.as.text;
	TRY(want_text(r, at[0], "argument"));
	size_t n = ends_with(s, at[0].as.text, false) ? at[0].as.text->size : 0;
	TRY(template_string_view(r, s->data + n, s->size - n, out));
done:
	return status;
}

static rebus_status do_removesuffix(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	const template_string *s = self.as.text;
	TRY(want_text(r, at[0], "argument"));
	size_t n = ends_with(s, at[0].as.text, true) ? at[0].as.text->size : 0;
	TRY(template_string_view(r, s->data, s->size - n, out));
done:
	return status;
}

static rebus_status do_replace(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t most;
	TRY(want_text(r, at[0], "replace() argument 1"));
	TRY(want_text(r, at[1], "replace() argument 2"));
	TRY(want_int(r, at[2], -1, &most));
	TRY(template_replace(r, self.as.text, at[0].as.text, at[1].as.text, most, out));
done:
	return status;
}

static rebus_status do_join(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	value *items;
	size_t count;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	TRY(template_items(r, at[0], &items, &count));
	for (size_t i = 0; i < count; i++) {
		if (items[i].kind != VALUE_TEXT)
			TRY(template_fail(r, REBUS_FORMAT, "sequence item %zu: expected str instance, %s found", i, template_type(items[i])));
		if (i)
			TRY(template_str(r, self, &b));
		TRY(template_str(r, items[i], &b));
	}
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

static rebus_status pad(template_run *r, value self, const value *at, int where, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t width;
	uint32_t fill = ' ';
	TRY(want_int(r, at[0], 0, &width));
	if (at[1].kind != VALUE_MISSING) {
		TRY(want_text(r, at[1], "the fill character"));
		template_string *s = at[1].as.text;
		if (template_points(s) != 1)
			TRY(template_fail(r, REBUS_FORMAT, "The fill character must be exactly one character long"));
		utf8_get(s->data, s->size, &fill);
	}
	TRY(template_pad(r, self.as.text, width, fill, where, out));
done:
	return status;
}

static rebus_status do_center(template_run *r, value self, const value *at, value *out)
{
	return pad(r, self, at, 0, out);
}

static rebus_status do_ljust(template_run *r, value self, const value *at, value *out)
{
	return pad(r, self, at, -1, out);
}

static rebus_status do_rjust(template_run *r, value self, const value *at, value *out)
{
	return pad(r, self, at, 1, out);
}

/* Zeros go between a sign and the rest. */
static rebus_status do_zfill(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	template_string *s = self.as.text;
	int64_t width;
	TRY(want_int(r, at[0], 0, &width));
	size_t sign = s->size && (*s->data == '-' || *s->data == '+');
	template_string rest = {.data = s->data + sign, .size = s->size - sign, .points = SIZE_MAX};
	value padded, head;
	TRY(template_pad(r, &rest, width < 0 ? 0 : width - (int64_t)sign, '0', 1, &padded));
	TRY(template_string_view(r, s->data, sign, &head));
	TRY(template_binary(r, TOKEN_ADD, head, padded, out));
done:
	return status;
}

#define CLASS_METHOD(name, which)                                                                                          \
	static rebus_status name(template_run *r, value self, const value *at, value *out)                                 \
	{                                                                                                                  \
		(void)at;                                                                                                  \
		*out = template_flag(template_is_class(self.as.text, which));                                              \
		return template_step(r, self.as.text->size / 16);                                                          \
	}
CLASS_METHOD(do_isalpha, CLASS_ALPHA)
CLASS_METHOD(do_isdigit, CLASS_DIGIT)
CLASS_METHOD(do_isalnum, CLASS_ALNUM)
CLASS_METHOD(do_isspace, CLASS_SPACE)
CLASS_METHOD(do_islower, CLASS_LOWER)
CLASS_METHOD(do_isupper, CLASS_UPPER)
CLASS_METHOD(do_isascii, CLASS_ASCII)
CLASS_METHOD(do_isdecimal, CLASS_DECIMAL)
CLASS_METHOD(do_isnumeric, CLASS_NUMERIC)
CLASS_METHOD(do_istitle, CLASS_TITLE)

/* ------------------------------------------------------------------------------------------------ lists, dicts */
static rebus_status list_index(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t count = (int64_t)self.as.list->count, start, stop;
	bool same = false;
	TRY(want_int(r, at[1], 0, &start));
	TRY(want_int(r, at[2], count, &stop));
	start = start < 0 ? int_max(start + count, 0) : start;
	stop = stop < 0 ? stop + count : int_min(stop, count);
	for (int64_t i = start; i < stop; i++) {
		TRY(template_equal(r, self.as.list->at[i], at[0], &same));
		if (same) {
			*out = template_int(i);
			return REBUS_OK;
		}
	}
	TRY(template_fail(r, REBUS_FORMAT, "the value is not in the list"));
done:
	return status;
}

static rebus_status list_count(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t n = 0;
	bool same;
	for (size_t i = 0; i < self.as.list->count; i++) {
		TRY(template_equal(r, self.as.list->at[i], at[0], &same));
		n += same;
	}
	*out = template_int(n);
done:
	return status;
}

static rebus_status list_copy(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	(void)r;
	*out = self; /* it never changes, so nobody can tell */
	return REBUS_OK;
}

static rebus_status dict_get(template_run *r, value self, const value *at, value *out)
{
	rebus_status status = REBUS_OK;
	template_pair *pair = NULL;
	TRY(template_map_find(r, self.as.map, at[0], &pair));
	*out = pair ? pair->item : at[1].kind == VALUE_MISSING ? template_none() : at[1];
done:
	return status;
}

rebus_status template_dict_view(template_run *r, const template_map *m, template_kind kind, value *out)
{
	rebus_status status = REBUS_OK;
	value pair;
	template_kind view = kind == VALUE_STREAM || kind == VALUE_LIST ? VALUE_ITEMS : kind;
	TRY(template_seq_new(r, kind, m->count, out));
	for (size_t i = 0; i < m->count; i++) {
		if (view == VALUE_ITEMS) {
			TRY(template_seq_new(r, VALUE_TUPLE, 2, &pair));
			TRY(template_seq_add(r, pair, m->at[i].key));
			TRY(template_seq_add(r, pair, m->at[i].item));
		}
		TRY(template_seq_add(r, *out, view == VALUE_ITEMS ? pair : view == VALUE_KEYS ? m->at[i].key : m->at[i].item));
	}
done:
	return status;
}

static rebus_status dict_items(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_dict_view(r, self.as.map, VALUE_ITEMS, out);
}

static rebus_status dict_keys(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_dict_view(r, self.as.map, VALUE_KEYS, out);
}

static rebus_status dict_values(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	return template_dict_view(r, self.as.map, VALUE_VALUES, out);
}

/* ------------------------------------------------------------------------------------------------ wheels */
static rebus_status cycler_next(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	(void)r;
	template_wheel *w = self.as.wheel;
	*out = w->at[w->next];
	w->next = (w->next + 1) % w->count;
	return REBUS_OK;
}

static rebus_status cycler_reset(template_run *r, value self, const value *at, value *out)
{
	(void)at;
	(void)r;
	self.as.wheel->next = 0;
	*out = template_none();
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ the table */
typedef enum { HAS, UNSAFE, LACKS, FREE } support; /* FREE: takes any number of arguments, run below */

#define ON(kind) (1u << (kind))
enum { ON_TEXT = 1u << VALUE_TEXT, ON_LIST = 1u << VALUE_LIST, ON_DICT = 1u << VALUE_DICT, ON_CYCLER = 1u << VALUE_CYCLER,
	ON_SEQ = 1u << VALUE_LIST | 1u << VALUE_TUPLE | 1u << VALUE_RANGE, ON_LOOP = 1u << VALUE_LOOP };

static const struct {
	const char *name;
	unsigned on; /* bit of each kind that has it */
	support support;
	uint8_t needed;
	const char *names[MOST + 1]; /* NULL ends; names of arguments that go by position only start with a space */
	method_run *run;
} methods[] = {
	{"upper", ON_TEXT, HAS, 0, {NULL}, do_upper},
	{"lower", ON_TEXT, HAS, 0, {NULL}, do_lower},
	{"strip", ON_TEXT, HAS, 0, {" chars"}, do_strip},
	{"lstrip", ON_TEXT, HAS, 0, {" chars"}, do_lstrip},
	{"rstrip", ON_TEXT, HAS, 0, {" chars"}, do_rstrip},
	{"split", ON_TEXT, HAS, 0, {"sep", "maxsplit"}, do_split},
	{"rsplit", ON_TEXT, HAS, 0, {"sep", "maxsplit"}, do_rsplit},
	{"splitlines", ON_TEXT, HAS, 0, {"keepends"}, do_splitlines},
	{"startswith", ON_TEXT, HAS, 1, {" prefix", " start", " end"}, do_startswith},
	{"endswith", ON_TEXT, HAS, 1, {" suffix", " start", " end"}, do_endswith},
	{"replace", ON_TEXT, HAS, 2, {" old", " new", " count"}, do_replace},
	{"title", ON_TEXT, HAS, 0, {NULL}, do_title},
	{"capitalize", ON_TEXT, HAS, 0, {NULL}, do_capitalize},
	{"swapcase", ON_TEXT, HAS, 0, {NULL}, do_swapcase},
	{"find", ON_TEXT, HAS, 1, {" sub", " start", " end"}, do_find},
	{"rfind", ON_TEXT, HAS, 1, {" sub", " start", " end"}, do_rfind},
	{"index", ON_TEXT, HAS, 1, {" sub", " start", " end"}, do_index},
	{"rindex", ON_TEXT, HAS, 1, {" sub", " start", " end"}, do_rindex},
	{"count", ON_TEXT, HAS, 1, {" sub", " start", " end"}, do_count},
	{"join", ON_TEXT, HAS, 1, {" iterable"}, do_join},
	{"format", ON_TEXT, FREE, 0, {NULL}, NULL},
	{"partition", ON_TEXT, HAS, 1, {" sep"}, do_partition},
	{"rpartition", ON_TEXT, HAS, 1, {" sep"}, do_rpartition},
	{"isdigit", ON_TEXT, HAS, 0, {NULL}, do_isdigit},
	{"isalpha", ON_TEXT, HAS, 0, {NULL}, do_isalpha},
	{"isalnum", ON_TEXT, HAS, 0, {NULL}, do_isalnum},
	{"isspace", ON_TEXT, HAS, 0, {NULL}, do_isspace},
	{"islower", ON_TEXT, HAS, 0, {NULL}, do_islower},
	{"isupper", ON_TEXT, HAS, 0, {NULL}, do_isupper},
	{"isascii", ON_TEXT, HAS, 0, {NULL}, do_isascii},
	{"isdecimal", ON_TEXT, HAS, 0, {NULL}, do_isdecimal},
	{"isnumeric", ON_TEXT, HAS, 0, {NULL}, do_isnumeric},
	{"istitle", ON_TEXT, HAS, 0, {NULL}, do_istitle},
	{"zfill", ON_TEXT, HAS, 1, {" width"}, do_zfill},
	{"removeprefix", ON_TEXT, HAS, 1, {" prefix"}, do_removeprefix},
	{"removesuffix", ON_TEXT, HAS, 1, {" suffix"}, do_removesuffix},
	{"center", ON_TEXT, HAS, 1, {" width", " fillchar"}, do_center},
	{"ljust", ON_TEXT, HAS, 1, {" width", " fillchar"}, do_ljust},
	{"rjust", ON_TEXT, HAS, 1, {" width", " fillchar"}, do_rjust},
	{"casefold", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"encode", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"expandtabs", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"format_map", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"isidentifier", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"isprintable", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"maketrans", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"translate", ON_TEXT, LACKS, 0, {NULL}, NULL},
	{"index", ON_SEQ, HAS, 1, {" value", " start", " stop"}, list_index},
	{"count", ON_SEQ, HAS, 1, {" value"}, list_count},
	{"copy", ON_LIST | ON_DICT, HAS, 0, {NULL}, list_copy},
	{"append", ON_LIST, UNSAFE, 0, {NULL}, NULL},
	{"extend", ON_LIST, UNSAFE, 0, {NULL}, NULL},
	{"insert", ON_LIST, UNSAFE, 0, {NULL}, NULL},
	{"remove", ON_LIST, UNSAFE, 0, {NULL}, NULL},
	{"reverse", ON_LIST, UNSAFE, 0, {NULL}, NULL},
	{"sort", ON_LIST, UNSAFE, 0, {NULL}, NULL},
	{"clear", ON_LIST | ON_DICT, UNSAFE, 0, {NULL}, NULL},
	{"pop", ON_LIST | ON_DICT, UNSAFE, 0, {NULL}, NULL},
	{"popitem", ON_DICT, UNSAFE, 0, {NULL}, NULL},
	{"setdefault", ON_DICT, UNSAFE, 0, {NULL}, NULL},
	{"update", ON_DICT, UNSAFE, 0, {NULL}, NULL},
	{"get", ON_DICT, HAS, 1, {" key", " default"}, dict_get},
	{"items", ON_DICT, HAS, 0, {NULL}, dict_items},
	{"keys", ON_DICT, HAS, 0, {NULL}, dict_keys},
	{"values", ON_DICT, HAS, 0, {NULL}, dict_values},
	{"fromkeys", ON_DICT, LACKS, 0, {NULL}, NULL},
	{"next", ON_CYCLER, HAS, 0, {NULL}, cycler_next},
	{"reset", ON_CYCLER, HAS, 0, {NULL}, cycler_reset},
	{"cycle", ON_LOOP, FREE, 0, {NULL}, NULL},
	{"changed", ON_LOOP, FREE, 0, {NULL}, NULL},
};

int template_method_named(value of, const template_string *name, bool *unsafe)
{
	*unsafe = name->size > 4 && memcmp(name->data, "__", 2) == 0 && memcmp(name->data + name->size - 2, "__", 2) == 0;
	for (size_t i = 0; i < COUNT_OF(methods); i++)
		if ((methods[i].on & ON(of.kind)) && text_is(name->data, name->size, methods[i].name)) {
			*unsafe = methods[i].support == UNSAFE;
			return *unsafe ? -1 : (int)i;
		}
	return -1;
}

/* loop.cycle(...), loop.changed(...) */
static rebus_status loop_method(template_run *r, template_loop *l, bool cycle, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	value now;
	bool same = false;
	if (args->keyword_count)
		TRY(template_fail(r, REBUS_FORMAT, "loop's methods take no keyword arguments"));
	if (cycle && !args->count)
		TRY(template_fail(r, REBUS_FORMAT, "no items for cycling given"));
	if (cycle) {
		*out = args->at[(size_t)l->index0 % args->count];
		return REBUS_OK;
	}
	TRY(template_seq_new(r, VALUE_TUPLE, args->count, &now));
	for (size_t i = 0; i < args->count; i++)
		TRY(template_seq_add(r, now, args->at[i]));
	if (l->changed.kind == VALUE_TUPLE)
		TRY(template_equal(r, l->changed, now, &same));
	if (!same)
		l->changed = now;
	*out = template_flag(!same);
done:
	return status;
}

rebus_status template_method_call(template_run *r, const template_method *m, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	value at[MOST + 1], result;
	const char *name = methods[m->which].name;
	if (methods[m->which].support == LACKS)
		TRY(template_fail(r, REBUS_UNSUPPORTED, "the method %s.%s", template_type(m->self), name));
	if (m->self.kind == VALUE_LOOP)
		return loop_method(r, m->self.as.loop, strcmp(name, "cycle") == 0, args, out);
	if (methods[m->which].support == FREE)
		return template_braces(r, m->self.as.text, args, out);
	TRY(template_take(r, args, name, methods[m->which].names, methods[m->which].needed, at));
	TRY(methods[m->which].run(r, m->self, at, &result));
	*out = result;
done:
	return status;
}
