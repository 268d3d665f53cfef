/*
 * grammar_schema.c - JSON schemas as rules: every text that fits is JSON, and valid by the schema.
 *
 *   {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}, "required": ["a"]}
 *      ─►  "{" space "\"a\"" ":" space ("0" | [1-9][0-9]{0,17}) space "}"
 *
 *   any           type (one or a list), enum, const, anyOf, oneOf and allOf of one, $ref within the schema, $defs; true, false
 *   strings       minLength, maxLength | pattern | format date, time, date-time, uuid, ipv4
 *   numbers       minimum, maximum, exclusiveMinimum, exclusiveMaximum (whole ones where the number need not be)
 *   arrays        items, prefixItems, minItems, maxItems
 *   objects       properties, required, additionalProperties (true or a schema; where nothing is said, no others)
 *
 * What only tells (title, description, default, ...) is passed over; whatever else a schema says is refused by name, since an
 * answer might not be valid by it. oneOf is anyOf where no value can fit two: of different types, of different constants, or
 * objects that both need a member whose constants differ. A schema without type is of the types its keywords speak of, or of
 * any. Whitespace: nothing, one blank, or a line end with up to 20 blanks, after { [ , : and before } ].
 *
 * Reference: JSON Schema 2020-12 (and items as a list, additionalItems, definitions of older drafts).
 */
#include <stdlib.h>
#include <string.h>

#include "generate/grammar_inside.h"

typedef enum { OF_ANY = 0, OF_STRING = 1, OF_NUMBER = 2, OF_ARRAY = 4, OF_OBJECT = 8, TELLS = 16 } keyword_of;
static const struct {
	const char *name;
	keyword_of of;
} keywords[] = {
	{"type", OF_ANY}, {"enum", OF_ANY}, {"const", OF_ANY}, {"anyOf", OF_ANY}, {"oneOf", OF_ANY}, {"allOf", OF_ANY}, {"$ref", OF_ANY},
	{"minLength", OF_STRING}, {"maxLength", OF_STRING}, {"pattern", OF_STRING}, {"format", OF_STRING},
	{"minimum", OF_NUMBER}, {"maximum", OF_NUMBER}, {"exclusiveMinimum", OF_NUMBER}, {"exclusiveMaximum", OF_NUMBER}, {"multipleOf", OF_NUMBER},
	{"items", OF_ARRAY}, {"prefixItems", OF_ARRAY}, {"minItems", OF_ARRAY}, {"maxItems", OF_ARRAY}, {"uniqueItems", OF_ARRAY}, {"additionalItems", OF_ARRAY},
	{"properties", OF_OBJECT}, {"required", OF_OBJECT}, {"additionalProperties", OF_OBJECT},
	{"title", TELLS}, {"description", TELLS}, {"default", TELLS}, {"examples", TELLS}, {"example", TELLS}, {"$schema", TELLS}, {"$id", TELLS}, {"id", TELLS},
	{"$comment", TELLS}, {"$defs", TELLS}, {"definitions", TELLS}, {"deprecated", TELLS}, {"readOnly", TELLS}, {"writeOnly", TELLS}, {"$anchor", TELLS},
	{"discriminator", TELLS},
};

rebus_status schema_refuse(const schema *x, const char *where, const char *what, const char *expected)
{
	return error_set(x->err, REBUS_UNSUPPORTED, "schema: %.80s: %s is not supported, expected %s", where, what, expected);
}

rebus_status schema_wrong(const schema *x, const char *where, const char *what, const char *expected)
{
	return error_set(x->err, REBUS_MISUSE, "schema: %.80s: %s: expected %s", where, what, expected);
}

rebus_status schema_count(const schema *x, const json *j, const char *name, const char *where, uint32_t *out)
{
	int64_t v;
	const json *at = json_get(j, name);
	if (!at)
		return REBUS_OK;
	if (!json_int(at, &v) || v < 0)
		return schema_wrong(x, where, name, "a whole number from 0");
	if (v > GRAMMAR_STATES_MOST && name[1] == 'a')
		v = UINT32_MAX; /* a maximum that no answer reaches is none */
	else if (v > GRAMMAR_STATES_MOST)
		return error_set(x->err, REBUS_LIMIT, "schema: %.80s: %s %lld, expected at most %d", where, name, (long long)v, GRAMMAR_STATES_MOST);
	*out = (uint32_t)v;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ small rules */
grammar_node *schema_regex(schema *x, const char *expression, bool quoted)
{
	grammar_node *node = NULL;
	grammar_expression(x->r, expression, strlen(expression), quoted, false, "schema", &node, NULL); /* ours: only memory can fail, which is kept */
	return node;
}

grammar_node *schema_space(schema *x)
{
	if (x->space < 0) {
		x->space = rules_new(x->r, "space", 5);
		rules_define(x->r, x->space, schema_regex(x, "( |\\n[ \\t]{0,20})?", false));
	}
	return rules_call(x->r, x->space);
}

grammar_node *schema_mark(schema *x, const char *s)
{
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	rules_add(x->r, list, rules_text(x->r, s, strlen(s)));
	rules_add(x->r, list, schema_space(x));
	return list;
}

static grammar_node *any_number(schema *x, bool whole)
{
	int32_t *rule = whole ? &x->integer : &x->number;
	if (*rule < 0) {
		grammar_node *body = NULL;
		*rule = rules_new(x->r, "any number", 10);
		number_read(x, NULL, "", whole, &body); /* no bounds, nothing to refuse */
		rules_define(x->r, *rule, body);
	}
	return rules_call(x->r, *rule);
}

grammar_node *schema_value(schema *x)
{
	if (x->value < 0) {
		x->value = rules_new(x->r, "any value", 9);
		grammar_node *either = rules_list(x->r, NODE_EITHER);
		rules_define(x->r, x->value, either);
		rules_add(x->r, either, schema_object(x));
		rules_add(x->r, either, schema_array(x));
		rules_add(x->r, either, schema_string(x));
		rules_add(x->r, either, any_number(x, false));
		rules_add(x->r, either, schema_regex(x, "true|false|null", false));
	}
	return rules_call(x->r, x->value);
}

/* ------------------------------------------------------------------------------------------------ constants */
static void write_number(double v, buf *out)
{
	for (int digits = 15; digits <= 17; digits++) {
		size_t from = out->size;
		buf_format(out, "%.*g", digits, v);
		if (out->failed || strtod(out->data + from, NULL) == v)
			return;
		if (digits < 17)
			out->size = from;
	}
}

void json_write(const json *j, buf *out)
{
	int64_t whole;
	double real;
	bool flag = false;
	size_t n;
	const char *s;
	switch (json_kind_of(j)) {
	case JSON_BOOL:
		json_flag(j, &flag);
		buf_text(out, flag ? "true" : "false");
		return;
	case JSON_INT:
		json_int(j, &whole);
		buf_format(out, "%lld", (long long)whole);
		return;
	case JSON_REAL:
		json_real(j, &real);
		write_number(real, out);
		return;
	case JSON_TEXT:
		s = json_text(j, &n);
		buf_json(out, s, n);
		return;
	case JSON_LIST:
		for (size_t i = 0; i < json_count(j); i++) {
			buf_text(out, i ? "," : "[");
			json_write(json_at(j, i), out);
		}
		buf_text(out, json_count(j) ? "]" : "[]");
		return;
	case JSON_MAP:
		buf_text(out, "{");
		for (json_each it = json_first(j); json_next(&it);) {
			if (out->data[out->size - 1] != '{')
				buf_text(out, ",");
			buf_json(out, it.key, strlen(it.key));
			buf_text(out, ":");
			json_write(it.value, out);
		}
		buf_text(out, "}");
		return;
	case JSON_NULL:
	case JSON_NONE:
		buf_text(out, "null");
		return;
	}
}

static bool type_fits(const json *types, const json *value)
{
	static const char *const names[] = {[JSON_NULL] = "null", [JSON_BOOL] = "boolean", [JSON_INT] = "integer", [JSON_REAL] = "number", [JSON_TEXT] = "string",
		[JSON_LIST] = "array", [JSON_MAP] = "object", [JSON_NONE] = "null"};
	json_kind kind = json_kind_of(value);
	int64_t whole;
	if (!types)
		return true;
	size_t many = json_kind_of(types) == JSON_LIST ? json_count(types) : 1;
	for (size_t i = 0; i < many; i++) {
		const json *type = json_kind_of(types) == JSON_LIST ? json_at(types, i) : types;
		if (json_is(type, names[kind]) || (json_is(type, "number") && kind == JSON_INT) || (json_is(type, "integer") && json_int(value, &whole)))
			return true;
	}
	return false;
}

static rebus_status constant(schema *x, const json *value, grammar_node **out)
{
	buf text;
	buf_init(&text, x->r->mem->from, 8 * GRAMMAR_TEXT_MOST);
	json_write(value, &text);
	rebus_status status = buf_check(&text, x->err, "a schema");
	if (!status)
		*out = rules_text(x->r, text.data, text.size);
	buf_free(&text);
	return status;
}

/* Members of a schema other than these two and what only tells? Then the first of them. */
static const char *beside(const json *j, const char *one, const char *other)
{
	for (json_each it = json_first(j); json_next(&it);) {
		if (!strcmp(it.key, one) || (other && !strcmp(it.key, other)))
			continue;
		for (size_t i = 0; i < COUNT_OF(keywords); i++)
			if (!strcmp(it.key, keywords[i].name) && keywords[i].of != TELLS)
				return keywords[i].name;
	}
	return NULL;
}

static rebus_status refuse_beside(const schema *x, const char *where, const char *one, const char *other)
{
	return error_set(x->err, REBUS_UNSUPPORTED, "schema: %.80s: %s beside %s is not supported, expected one without the other", where, other, one);
}

static rebus_status constants_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	bool one = json_has(j, "const");
	const char *name = one ? "const" : "enum", *other = beside(j, name, "type");
	const json *list = json_get(j, "enum"), *types = json_get(j, "type");
	if (other)
		return refuse_beside(x, where, name, other);
	if (!one && json_kind_of(list) != JSON_LIST)
		return schema_wrong(x, where, "enum", "a list of values");
	grammar_node *either = rules_list(x->r, NODE_EITHER);
	for (size_t i = 0; i < (one ? 1 : json_count(list)); i++) {
		const json *value = one ? json_get(j, "const") : json_at(list, i);
		grammar_node *node = NULL;
		if (!type_fits(types, value))
			continue;
		TRY(constant(x, value, &node));
		rules_add(x->r, either, node);
	}
	*out = either;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ references */
grammar_node *schema_call(schema *x, const json *j, const char *where)
{
	size_t at = (size_t)bits_mix((uint64_t)(uintptr_t)j) % SCHEMA_SLOTS;
	for (; x->known[at].at; at = (at + 1) % SCHEMA_SLOTS)
		if (x->known[at].at == j)
			return rules_call(x->r, x->known[at].rule);
	schema_todo todo = {j, where, rules_new(x->r, where, strlen(where))};
	x->known[at] = (schema_entry){j, todo.rule};
	buf_add(&x->todo, &todo, sizeof todo);
	if (x->todo.failed)
		x->r->failed = x->todo.failed;
	return rules_call(x->r, todo.rule);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One step of a JSON pointer: ~1 is a slash, ~0 a tilde, %20 a byte. */
static void pointer_step(const char **s, buf *out)
{
	const char *p = *s;
	out->size = 0;
	buf_add(out, "", 0);
	for (; *p && *p != '/'; p++) {
		if (*p == '~' && (p[1] == '0' || p[1] == '1'))
			buf_byte(out, *++p == '1' ? '/' : '~');
		else if (*p == '%' && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
			buf_byte(out, hex(p[1]) * 16 + hex(p[2]));
			p += 2;
		} else {
			buf_byte(out, *p);
		}
	}
	*s = p;
}

static rebus_status reference_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	const char *to = json_text(json_get(j, "$ref"), NULL), *other = beside(j, "$ref", NULL), *at;
	const json *found = x->root;
	buf step;
	buf_init(&step, x->r->mem->from, GRAMMAR_TEXT_MOST);
	if (!to || to[0] != '#' || (to[1] && to[1] != '/')) {
		status = schema_refuse(x, where, "a $ref outside the schema", "#/$defs/NAME or another place in it");
		goto done;
	}
	if (other) {
		status = refuse_beside(x, where, "$ref", other);
		goto done;
	}
	for (at = to + 1; found && *at == '/';) {
		at++;
		pointer_step(&at, &step);
		TRY(buf_check(&step, x->err, "a schema"));
		found = json_kind_of(found) == JSON_LIST ? json_at(found, (size_t)strtoul(step.data, NULL, 10)) : json_get(found, step.data);
	}
	if (!found) {
		status = error_set(x->err, REBUS_MISUSE, "schema: %.80s: $ref %.80s: nothing is there", where, to);
		goto done;
	}
	const char *name = arena_text(x->r->mem, to, strlen(to));
	*out = schema_call(x, found, name ? name : "");
done:
	buf_free(&step);
	return status;
}

/* ------------------------------------------------------------------------------------------------ one of several */
/* The schema behind references, or NULL where they go nowhere or round in circles. */
static const json *behind(const schema *x, const json *j)
{
	for (int i = 0; i < 16 && json_has(j, "$ref"); i++) {
		const char *to = json_text(json_get(j, "$ref"), NULL), *name = to ? strrchr(to, '/') : NULL;
		const json *defs = name && !strncmp(to, "#/$defs/", 8) && name == to + 7 ? json_get(x->root, "$defs")
			: name && !strncmp(to, "#/definitions/", 14) && name == to + 13 ? json_get(x->root, "definitions") : NULL;
		j = json_get(defs, name ? name + 1 : "");
	}
	return json_has(j, "$ref") ? NULL : j;
}

static bool same_json(const schema *x, const json *a, const json *b)
{
	double p, q;
	buf s, t;
	if (json_real(a, &p) && json_real(b, &q))
		return p == q;
	buf_init(&s, x->r->mem->from, 0);
	buf_init(&t, x->r->mem->from, 0);
	json_write(a, &s);
	json_write(b, &t);
	bool same = s.failed || t.failed || (s.size == t.size && !memcmp(s.data, t.data, s.size));
	buf_free(&s);
	buf_free(&t);
	return same;
}

static size_t constants(const json *j)
{
	return json_has(j, "const") ? 1 : json_count(json_get(j, "enum"));
}

static const json *constant_at(const json *j, size_t i)
{
	return json_has(j, "const") ? json_get(j, "const") : json_at(json_get(j, "enum"), i);
}

/* Can no value fit both? Constants that differ, types that differ, or objects that need a member of which that is true. */
static bool apart(const schema *x, const json *a, const json *b, int depth)
{
	a = behind(x, a);
	b = behind(x, b);
	if (!a || !b || depth > 4)
		return false;
	if (constants(a) && constants(b)) {
		for (size_t i = 0; i < constants(a); i++)
			for (size_t k = 0; k < constants(b); k++)
				if (same_json(x, constant_at(a, i), constant_at(b, k)))
					return false;
		return true;
	}
	const json *s = json_get(a, "type"), *t = json_get(b, "type");
	if (json_text(s, NULL) && constants(b)) {
		for (size_t k = 0; k < constants(b); k++)
			if (type_fits(s, constant_at(b, k)))
				return false;
		return true;
	}
	if (json_text(t, NULL) && constants(a))
		return apart(x, b, a, depth + 1);
	if (!json_text(s, NULL) || !json_text(t, NULL))
		return false;
	if (!json_is(s, json_text(t, NULL)))
		return !((json_is(s, "number") && json_is(t, "integer")) || (json_is(s, "integer") && json_is(t, "number")));
	if (!json_is(s, "object"))
		return false;
	for (size_t i = 0; i < json_count(json_get(a, "required")); i++) {
		const char *name = json_text(json_at(json_get(a, "required"), i), NULL);
		bool both = false;
		for (size_t k = 0; name && k < json_count(json_get(b, "required")); k++)
			both = both || json_is(json_at(json_get(b, "required"), k), name);
		if (both && apart(x, json_get(json_get(a, "properties"), name), json_get(json_get(b, "properties"), name), depth + 1))
			return true;
	}
	return false;
}

static rebus_status several_read(schema *x, const json *j, const char *name, const char *where, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	const json *list = json_get(j, name);
	const char *other = beside(j, name, NULL);
	if (json_kind_of(list) != JSON_LIST || !json_count(list))
		return schema_wrong(x, where, name, "a list of schemas");
	if (other)
		return refuse_beside(x, where, name, other);
	if (!strcmp(name, "allOf") && json_count(list) > 1)
		return schema_refuse(x, where, "allOf of more than one", "a schema with all of it");
	if (!strcmp(name, "oneOf") && json_count(list) > 64)
		return schema_refuse(x, where, "oneOf of more than 64", "anyOf");
	grammar_node *either = rules_list(x->r, NODE_EITHER);
	for (size_t i = 0; i < json_count(list); i++) {
		grammar_node *one = NULL;
		const char *below = arena_format(x->r->mem, "%.200s/%s/%zu", where, name, i);
		for (size_t k = 0; k < i && !strcmp(name, "oneOf"); k++)
			if (!apart(x, json_at(list, k), json_at(list, i), 0))
				return error_set(x->err, REBUS_UNSUPPORTED, "schema: %.80s: oneOf: a value might fit %zu and %zu, expected anyOf,"
					" or a constant that tells them "
					"apart", where, k, i);
		TRY(schema_read(x, json_at(list, i), below ? below : "", &one));
		rules_add(x->r, either, one);
	}
	*out = either;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ types */
static rebus_status keywords_check(const schema *x, const json *j, const char *where, unsigned *spoken)
{
	*spoken = 0;
	for (json_each it = json_first(j); json_next(&it);) {
		size_t i = 0;
		while (i < COUNT_OF(keywords) && strcmp(it.key, keywords[i].name) != 0)
			i++;
		if (i == COUNT_OF(keywords) && strncmp(it.key, "x-", 2) != 0)
			return error_set(x->err, REBUS_UNSUPPORTED, "schema: %.80s: keyword %.40s is not supported", where, it.key);
		if (i < COUNT_OF(keywords) && keywords[i].of != TELLS)
			*spoken |= (unsigned)keywords[i].of;
	}
	return REBUS_OK;
}

static rebus_status type_read(schema *x, const json *j, const char *type, const char *where, grammar_node **out)
{
	if (!strcmp(type, "string"))
		return string_read(x, j, where, out);
	if (!strcmp(type, "object"))
		return object_read(x, j, where, out);
	if (!strcmp(type, "array"))
		return array_read(x, j, where, out);
	if (!strcmp(type, "number") || !strcmp(type, "integer"))
		return number_read(x, j, where, type[0] == 'i', out);
	if (!strcmp(type, "boolean") || !strcmp(type, "null")) {
		*out = schema_regex(x, type[0] == 'b' ? "true|false" : "null", false);
		return REBUS_OK;
	}
	return error_set(x->err, REBUS_MISUSE, "schema: %.80s: type %.40s, expected string, number, integer, boolean, null, array or object", where, type);
}

static rebus_status types_read(schema *x, const json *j, const char *where, unsigned spoken, grammar_node **out)
{
	static const struct {
		keyword_of of;
		const char *type;
	} spoken_of[] = {{OF_STRING, "string"}, {OF_NUMBER, "number"}, {OF_ARRAY, "array"}, {OF_OBJECT, "object"}};
	rebus_status status = REBUS_OK;
	const json *types = json_get(j, "type");
	const char *one = json_text(types, NULL);
	grammar_node *node = NULL, *either;
	if (one)
		return type_read(x, j, one, where, out);
	if (!types && !spoken) {
		*out = schema_value(x);
		return REBUS_OK;
	}
	if (types && (json_kind_of(types) != JSON_LIST || !json_count(types)))
		return schema_wrong(x, where, "type", "a name or a list of names");
	either = rules_list(x->r, NODE_EITHER);
	for (size_t i = 0; i < json_count(types); i++) {
		const char *name = json_text(json_at(types, i), NULL);
		if (!name)
			return schema_wrong(x, where, "type", "a name or a list of names");
		TRY(type_read(x, j, name, where, &node));
		rules_add(x->r, either, node);
	}
	for (size_t i = 0; !types && i < COUNT_OF(spoken_of); i++) {
		if (!(spoken & (unsigned)spoken_of[i].of))
			continue;
		TRY(type_read(x, j, spoken_of[i].type, where, &node));
		rules_add(x->r, either, node);
	}
	*out = either;
done:
	return status;
}

rebus_status schema_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	bool flag;
	unsigned spoken;
	static const char *const several[] = {"anyOf", "oneOf", "allOf"};
	if (json_flag(j, &flag)) {
		*out = flag ? schema_value(x) : rules_set(x->r, NULL, 0);
		return REBUS_OK;
	}
	if (json_kind_of(j) != JSON_MAP)
		return schema_wrong(x, where, "a schema", "an object, true or false");
	rebus_status status = keywords_check(x, j, where, &spoken);
	if (status)
		return status;
	if (json_has(j, "$ref"))
		return reference_read(x, j, where, out);
	if (json_has(j, "const") || json_has(j, "enum"))
		return constants_read(x, j, where, out);
	for (size_t i = 0; i < COUNT_OF(several); i++)
		if (json_has(j, several[i]))
			return several_read(x, j, several[i], where, out);
	return types_read(x, j, where, spoken, out);
}

rebus_status grammar_read_schema(rules *r, const char *s, size_t n, rebus_error *err)
{
	rebus_status status;
	json *root = NULL;
	schema x = {.r = r, .space = -1, .value = -1, .object = -1, .array = -1, .string = -1, .letter = -1, .number = -1, .integer = -1, .err = err};
	buf_init(&x.todo, r->mem->from, GRAMMAR_RULES_MOST * sizeof(schema_todo));
	TRY(json_parse(s, n, "schema", SCHEMA_VALUES_MOST, &root, err));
	x.root = root;
	x.known = arena_zero(r->mem, SCHEMA_SLOTS, sizeof *x.known);
	if (!x.known) {
		status = error_memory(err, "a schema");
		goto done;
	}
	if (!root) {
		status = schema_wrong(&x, "#", "a schema", "an object, true or false");
		goto done;
	}
	schema_call(&x, root, "#");
	for (size_t i = 0; i < x.todo.size / sizeof(schema_todo); i++) {
		schema_todo one = ((const schema_todo *)(const void *)x.todo.data)[i];
		grammar_node *body = NULL;
		TRY(rules_check(r, err));
		TRY(schema_read(&x, one.at, one.where, &body));
		rules_define(r, one.rule, body);
	}
	status = rules_check(r, err);
done:
	json_free(root);
	buf_free(&x.todo);
	return status;
}
