/*
 * template_tests.c - what stands after `is`.
 *
 *   value is name      value is name argument      value is name(argument)      list|select("name", argument)
 *
 * One table: name, how many arguments, function. The comparisons have several names each.
 */
#include "text/template_inside.h"

#include <string.h>

typedef rebus_status test_run(template_run *r, value on, const value *at, bool *out);

static rebus_status modulo(template_run *r, value on, value by, int64_t want, bool *out)
{
	rebus_status status = REBUS_OK;
	value rest;
	TRY(template_binary(r, TOKEN_MOD, on, by, &rest));
	TRY(template_equal(r, rest, template_int(want), out));
done:
	return status;
}

static rebus_status is_odd(template_run *r, value on, const value *at, bool *out)
{
	(void)at;
	return modulo(r, on, template_int(2), 1, out);
}

static rebus_status is_even(template_run *r, value on, const value *at, bool *out)
{
	(void)at;
	return modulo(r, on, template_int(2), 0, out);
}

static rebus_status is_divisible(template_run *r, value on, const value *at, bool *out)
{
	return modulo(r, on, at[0], 0, out);
}

static rebus_status is_in_class(template_run *r, value on, int which, bool *out)
{
	rebus_status status = REBUS_OK;
	value text;
	TRY(template_str_value(r, on, &text));
	TRY(template_step(r, text.as.text->size / 16));
	*out = template_is_class(text.as.text, which);
done:
	return status;
}

static rebus_status is_lower(template_run *r, value on, const value *at, bool *out)
{
	(void)at;
	return is_in_class(r, on, CLASS_LOWER, out);
}

static rebus_status is_upper(template_run *r, value on, const value *at, bool *out)
{
	(void)at;
	return is_in_class(r, on, CLASS_UPPER, out);
}

static rebus_status is_in(template_run *r, value on, const value *at, bool *out)
{
	return template_contains(r, at[0], on, out);
}

static rebus_status is_equal(template_run *r, value on, const value *at, bool *out)
{
	return template_equal(r, on, at[0], out);
}

static rebus_status is_unequal(template_run *r, value on, const value *at, bool *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_equal(r, on, at[0], out));
	*out = !*out;
done:
	return status;
}

static rebus_status is_greater(template_run *r, value on, const value *at, bool *out)
{
	int order = 0;
	rebus_status status = template_order(r, on, at[0], ">", &order);
	*out = order == 1;
	return status;
}

static rebus_status is_at_least(template_run *r, value on, const value *at, bool *out)
{
	int order = 0;
	rebus_status status = template_order(r, on, at[0], ">=", &order);
	*out = order == 1 || order == 0;
	return status;
}

static rebus_status is_less(template_run *r, value on, const value *at, bool *out)
{
	int order = 0;
	rebus_status status = template_order(r, on, at[0], "<", &order);
	*out = order == -1;
	return status;
}

static rebus_status is_at_most(template_run *r, value on, const value *at, bool *out)
{
	int order = 0;
	rebus_status status = template_order(r, on, at[0], "<=", &order);
	*out = order == -1 || order == 0;
	return status;
}

/* Python's `is`: the same object. Small values are the same object as their equals, texts by accident; here by value. */
static rebus_status is_same(template_run *r, value on, const value *at, bool *out)
{
	*out = on.kind == at[0].kind;
	if (!*out || on.kind == VALUE_NONE)
		return REBUS_OK;
	if (on.kind <= VALUE_TEXT)
		return template_equal(r, on, at[0], out);
	*out = on.kind == VALUE_FUNCTION ? on.as.function == at[0].as.function : on.as.list == at[0].as.list;
	return REBUS_OK;
}

static rebus_status is_filter(template_run *r, value on, const value *at, bool *out)
{
	(void)r;
	(void)at;
	*out = on.kind == VALUE_TEXT && template_filter_named(on.as.text) >= 0;
	return REBUS_OK;
}

static rebus_status is_test(template_run *r, value on, const value *at, bool *out)
{
	(void)r;
	(void)at;
	*out = on.kind == VALUE_TEXT && template_test_named(on.as.text) >= 0;
	return REBUS_OK;
}

#define ON(kind) (1u << (kind))

/* Tests that only look at the kind: a set of kinds each. */
enum {
	SEQUENCES = ON(VALUE_TEXT) | ON(VALUE_LIST) | ON(VALUE_TUPLE) | ON(VALUE_RANGE) | ON(VALUE_DICT) | ON(VALUE_UNDEFINED),
	ITERABLES = SEQUENCES | ON(VALUE_KEYS) | ON(VALUE_VALUES) | ON(VALUE_ITEMS) | ON(VALUE_STREAM) | ON(VALUE_LOOP),
	CALLABLES = ON(VALUE_MACRO) | ON(VALUE_METHOD) | ON(VALUE_FUNCTION) | ON(VALUE_LOOP) | ON(VALUE_JOINER) | ON(VALUE_UNDEFINED),
};

static const struct {
	const char *name;
	unsigned kinds; /* where run is NULL */
	test_run *run;
	uint8_t arguments;
} tests[] = {
	{"defined", ~ON(VALUE_UNDEFINED), NULL, 0},
	{"undefined", ON(VALUE_UNDEFINED), NULL, 0},
	{"none", ON(VALUE_NONE), NULL, 0},
	{"boolean", ON(VALUE_BOOL), NULL, 0},
	{"true", 0, NULL, 0},
	{"false", 0, NULL, 0},
	{"integer", ON(VALUE_INT), NULL, 0},
	{"float", ON(VALUE_REAL), NULL, 0},
	{"number", ON(VALUE_INT) | ON(VALUE_REAL) | ON(VALUE_BOOL), NULL, 0},
	{"string", ON(VALUE_TEXT), NULL, 0},
	{"mapping", ON(VALUE_DICT), NULL, 0},
	{"sequence", SEQUENCES, NULL, 0},
	{"iterable", ITERABLES, NULL, 0},
	{"callable", CALLABLES, NULL, 0},
	{"escaped", 0, NULL, 0},
	{"odd", 0, is_odd, 0},
	{"even", 0, is_even, 0},
	{"divisibleby", 0, is_divisible, 1},
	{"lower", 0, is_lower, 0},
	{"upper", 0, is_upper, 0},
	{"filter", 0, is_filter, 0},
	{"test", 0, is_test, 0},
	{"sameas", 0, is_same, 1},
	{"in", 0, is_in, 1},
	{"==", 0, is_equal, 1},
	{"eq", 0, is_equal, 1},
	{"equalto", 0, is_equal, 1},
	{"!=", 0, is_unequal, 1},
	{"ne", 0, is_unequal, 1},
	{">", 0, is_greater, 1},
	{"gt", 0, is_greater, 1},
	{"greaterthan", 0, is_greater, 1},
	{"ge", 0, is_at_least, 1},
	{">=", 0, is_at_least, 1},
	{"<", 0, is_less, 1},
	{"lt", 0, is_less, 1},
	{"lessthan", 0, is_less, 1},
	{"<=", 0, is_at_most, 1},
	{"le", 0, is_at_most, 1},
};

int template_test_named(const template_string *name)
{
	for (size_t i = 0; i < COUNT_OF(tests); i++)
		if (text_is(name->data, name->size, tests[i].name))
			return (int)i;
	return -1;
}

rebus_status template_test_call(template_run *r, int which, value on, const template_args *args, bool *out)
{
	static const char *const names[] = {"other", NULL}, *const none[] = {NULL};
	rebus_status status = REBUS_OK;
	value at[1];
	const char *name = tests[which].name;
	TRY(template_take(r, args, name, tests[which].arguments ? names : none, tests[which].arguments, at));
	if (tests[which].run)
		return tests[which].run(r, on, at, out);
	*out = (tests[which].kinds & ON(on.kind)) != 0;
	if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0)
		*out = on.kind == VALUE_BOOL && on.as.flag == (*name == 't');
	if (strcmp(name, "escaped") == 0)
		*out = on.kind == VALUE_TEXT && on.as.text->safe;
done:
	return status;
}
