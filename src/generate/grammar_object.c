/*
 * grammar_object.c - JSON objects and arrays.
 *
 * Members come in the order of "properties", those not required may be left out, then others where additionalProperties asks
 * for them, under names of their own. Whether a comma is due depends on whether something stands before:
 *
 *   first(i)  = member i, then later(i + 1)  |  first(i + 1) where i may be left out       first(n) = nothing, or others
 *   later(i)  = "," member i, later(i + 1)   |  later(i + 1) where i may be left out       later(n) = ("," other)*
 */
#include <stdlib.h>
#include <string.h>

#include "generate/grammar_inside.h"

typedef struct member {
	int32_t rule; /* "name": value */
	bool required;
} member;

typedef struct object {
	buf members, names; /* member; text_file */
	grammar_node *other; /* a member of another name; NULL: there are none */
	int32_t other_rule;
} object;

static grammar_node *sequence(rules *r, grammar_node *a, grammar_node *b)
{
	grammar_node *list = rules_list(r, NODE_SEQUENCE);
	rules_add(r, list, a);
	rules_add(r, list, b);
	return list;
}

/* "name": value, as a rule of its own; name: a literal */
static int32_t member_rule(schema *x, grammar_node *name, grammar_node *value)
{
	int32_t rule = rules_new(x->r, "a member", 8);
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	rules_add(x->r, list, name);
	rules_add(x->r, list, schema_mark(x, ":"));
	rules_add(x->r, list, value);
	rules_define(x->r, rule, list);
	return rule;
}

static bool is_required(const json *j, const char *name, size_t n)
{
	const json *list = json_get(j, "required");
	for (size_t i = 0; i < json_count(list); i++) {
		size_t size;
		const char *s = json_text(json_at(list, i), &size);
		if (s && size == n && !memcmp(s, name, n))
			return true;
	}
	return false;
}

static rebus_status required_check(const schema *x, const json *j, const char *where)
{
	const json *list = json_get(j, "required");
	if (list && json_kind_of(list) != JSON_LIST)
		return schema_wrong(x, where, "required", "a list of names");
	for (size_t i = 0; i < json_count(list); i++)
		if (!json_text(json_at(list, i), NULL))
			return schema_wrong(x, where, "required", "a list of names");
	if (json_count(list) > 4096)
		return error_set(x->err, REBUS_LIMIT, "schema: %.80s: more than 4096 required names", where);
	return REBUS_OK;
}

static void add_member(schema *x, object *o, const char *name, size_t n, grammar_node *value, bool required)
{
	member one = {member_rule(x, string_literal(x, name, n), value), required};
	text_file copy = {arena_text(x->r->mem, name, n), n};
	if (!copy.data)
		x->r->failed = REBUS_MEMORY;
	buf_add(&o->members, &one, sizeof one);
	buf_add(&o->names, &copy, sizeof copy);
}

static const char *below(schema *x, const char *where, const char *step, const char *name)
{
	const char *s = arena_format(x->r->mem, "%.200s/%s%s%.60s", where, step, *step ? "/" : "", name);
	return s ? s : "";
}

static int by_name(const void *a, const void *b)
{
	const text_file *x = a, *y = b;
	int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
	return order ? order : x->size < y->size ? -1 : x->size > y->size;
}

static rebus_status members_read(schema *x, const json *j, const char *where, object *o)
{
	rebus_status status;
	const json *properties = json_get(j, "properties"), *list = json_get(j, "required"), *more = json_get(j, "additionalProperties");
	bool allowed = true;
	bool told = json_flag(more, &allowed);
	if (properties && json_kind_of(properties) != JSON_MAP)
		return schema_wrong(x, where, "properties", "a map of names to schemas");
	TRY(required_check(x, j, where));
	for (json_each it = json_first(properties); json_next(&it);) {
		grammar_node *value = NULL;
		TRY(schema_read(x, it.value, below(x, where, "properties", it.key), &value));
		add_member(x, o, it.key, strlen(it.key), value, is_required(j, it.key, strlen(it.key)));
	}
	for (size_t i = 0; i < json_count(list); i++) { /* required, but not described */
		size_t n;
		const char *name = json_text(json_at(list, i), &n);
		bool known = false;
		for (size_t k = 0; k < o->names.size / sizeof(text_file) && !known; k++) {
			const text_file *t = (const text_file *)(const void *)o->names.data + k;
			known = t->size == n && !memcmp(t->data, name, n);
		}
		if (known)
			continue;
		add_member(x, o, name, n, !allowed ? rules_set(x->r, NULL, 0) : more && !told ? schema_call(x, more, below(x, where, "", "additionalProperties"))
			: schema_value(x), true);
	}
	if (more && allowed) {
		text_file *names = (text_file *)(void *)o->names.data;
		size_t n = o->names.size / sizeof *names;
		if (n)
			qsort(names, n, sizeof *names, by_name);
		o->other_rule = member_rule(x, string_other_than(x, names, n), told ? schema_value(x) : schema_call(x, more, below(x, where, "",
			"additionalProperties")));
		o->other = rules_call(x->r, o->other_rule);
	}
done:
	return status;
}

/* What may follow the member before i: see above. Made from the end, so that each is there before it is called. */
static grammar_node *members_node(schema *x, const object *o)
{
	rules *r = x->r;
	const member *list = (const member *)(const void *)o->members.data;
	size_t n = o->members.size / sizeof *list;
	int32_t first = rules_new(r, "members", 7), later = rules_new(r, "members", 7);
	grammar_node *more = o->other ? rules_repeat(r, sequence(r, schema_mark(x, ","), rules_call(r, o->other_rule)), 0, UINT32_MAX) : NULL;
	rules_define(r, later, more ? more : rules_text(r, "", 0));
	rules_define(r, first, o->other ? rules_repeat(r, sequence(r, o->other, rules_call(r, later)), 0, 1) : rules_text(r, "", 0));
	while (n-- > 0) {
		int32_t before[2] = {rules_new(r, "members", 7), rules_new(r, "members", 7)};
		for (int i = 0; i < 2; i++) {
			grammar_node *either = rules_list(r, NODE_EITHER), *one = rules_list(r, NODE_SEQUENCE);
			if (i)
				rules_add(r, one, schema_mark(x, ","));
			rules_add(r, one, rules_call(r, list[n].rule));
			rules_add(r, one, rules_call(r, later));
			rules_add(r, either, one);
			if (!list[n].required)
				rules_add(r, either, rules_call(r, i ? later : first));
			rules_define(r, before[i], either);
		}
		first = before[0];
		later = before[1];
	}
	return rules_call(r, first);
}

static grammar_node *between_marks(schema *x, const char *open, grammar_node *inside, const char *close)
{
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	rules_add(x->r, list, schema_mark(x, open));
	rules_add(x->r, list, inside);
	rules_add(x->r, list, schema_space(x));
	rules_add(x->r, list, rules_text(x->r, close, 1));
	return list;
}

rebus_status object_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	object o = {.other = NULL};
	if (!json_has(j, "properties") && !json_has(j, "required") && !json_has(j, "additionalProperties")) {
		*out = schema_object(x);
		return REBUS_OK;
	}
	buf_init(&o.members, x->r->mem->from, GRAMMAR_TEXT_MOST);
	buf_init(&o.names, x->r->mem->from, GRAMMAR_TEXT_MOST);
	TRY(members_read(x, j, where, &o));
	TRY(buf_check(&o.members, x->err, "a schema"));
	TRY(buf_check(&o.names, x->err, "a schema"));
	*out = between_marks(x, "{", members_node(x, &o), "}");
done:
	buf_free(&o.members);
	buf_free(&o.names);
	return status;
}

/* ------------------------------------------------------------------------------------------------ arrays */
typedef struct array {
	const json *places, *items; /* places: the first ones, each of its own */
	const char *where;
	uint32_t min, max, placed;
	bool any; /* items of any kind */
} array;

static rebus_status array_shape(schema *x, const json *j, const char *where, array *a)
{
	rebus_status status = REBUS_OK;
	bool flag = true;
	const json *items = json_get(j, "items"), *places = json_get(j, "prefixItems");
	*a = (array){.where = where, .max = UINT32_MAX, .places = places, .items = items, .any = !items && !places};
	if (json_kind_of(items) == JSON_LIST) { /* as old drafts have it */
		if (places)
			return schema_wrong(x, where, "items", "a schema beside prefixItems");
		a->places = items;
		a->items = json_get(j, "additionalItems");
	}
	if (a->places && json_kind_of(a->places) != JSON_LIST)
		return schema_wrong(x, where, "prefixItems", "a list of schemas");
	if (json_flag(json_get(j, "uniqueItems"), &flag) && flag)
		return schema_refuse(x, where, "uniqueItems", "a schema without it");
	TRY(schema_count(x, j, "minItems", where, &a->min));
	TRY(schema_count(x, j, "maxItems", where, &a->max));
	a->placed = (uint32_t)json_count(a->places);
	if (json_flag(a->items, &flag)) {
		a->any = flag;
		a->items = NULL;
		if (!flag && a->max > a->placed)
			a->max = a->placed;
	} else if (!a->items && a->places && a->min > a->placed) {
		a->any = true; /* whatever fills it up */
	} else if (!a->items && a->places && a->max > a->placed) {
		a->max = a->placed;
	}
done:
	return status;
}

static grammar_node *array_item(schema *x, const array *a)
{
	return a->items ? schema_call(x, a->items, below(x, a->where, "", "items")) : schema_value(x);
}

/* Items from number k on, in an array of at least min and at most max. */
static grammar_node *array_rest(schema *x, const array *a)
{
	rules *r = x->r;
	uint32_t k = a->placed, left = a->max == UINT32_MAX ? UINT32_MAX : a->max > k ? a->max - k : 0, need = a->min > k ? a->min - k : 0;
	if (left < need)
		return rules_set(r, NULL, 0);
	if (!left)
		return rules_text(r, "", 0);
	if (k)
		return rules_repeat(r, sequence(r, schema_mark(x, ","), array_item(x, a)), need, left);
	grammar_node *more = rules_repeat(r, sequence(r, schema_mark(x, ","), array_item(x, a)), need ? need - 1 : 0, left == UINT32_MAX ? left : left - 1);
	grammar_node *list = sequence(r, array_item(x, a), more);
	return need ? list : rules_repeat(r, list, 0, 1);
}

rebus_status array_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	rebus_status status;
	rules *r = x->r;
	array a;
	TRY(array_shape(x, j, where, &a));
	if (a.any && !a.placed && !a.min && a.max == UINT32_MAX) {
		*out = schema_array(x);
		return REBUS_OK;
	}
	int32_t rest = rules_new(r, "items", 5);
	rules_define(r, rest, array_rest(x, &a));
	for (uint32_t k = a.placed; k-- > 0;) {
		char number[16];
		grammar_node *value = NULL, *one = rules_list(r, NODE_SEQUENCE);
		int32_t before = rules_new(r, "items", 5);
		buf text;
		buf_init(&text, r->mem->from, sizeof number);
		buf_format(&text, "%u", k);
		TRY(schema_read(x, json_at(a.places, k), below(x, where, "prefixItems", text.data ? text.data : ""), &value));
		buf_free(&text);
		if (k)
			rules_add(r, one, schema_mark(x, ","));
		rules_add(r, one, value);
		rules_add(r, one, rules_call(r, rest));
		if (k >= a.max)
			one = rules_text(r, "", 0);
		else if (k >= a.min)
			one = rules_repeat(r, one, 0, 1);
		rules_define(r, before, one);
		rest = before;
	}
	*out = between_marks(x, "[", rules_call(r, rest), "]");
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ any */
static grammar_node *list_of(schema *x, grammar_node *first, grammar_node *later)
{
	grammar_node *more = rules_repeat(x->r, sequence(x->r, schema_mark(x, ","), later), 0, UINT32_MAX);
	return rules_repeat(x->r, sequence(x->r, first, more), 0, 1);
}

grammar_node *schema_object(schema *x)
{
	if (x->object < 0) {
		x->object = rules_new(x->r, "any object", 10);
		int32_t one = member_rule(x, schema_string(x), schema_value(x));
		rules_define(x->r, x->object, between_marks(x, "{", list_of(x, rules_call(x->r, one), rules_call(x->r, one)), "}"));
	}
	return rules_call(x->r, x->object);
}

grammar_node *schema_array(schema *x)
{
	if (x->array < 0) {
		x->array = rules_new(x->r, "any array", 9);
		rules_define(x->r, x->array, between_marks(x, "[", list_of(x, schema_value(x), schema_value(x)), "]"));
	}
	return rules_call(x->r, x->array);
}
