/*
 * template_value.c - the values of templates: making them, comparing them, the dict.
 *
 * A value is two words and is passed by value; what it points to lives in an arena and never moves (except the array of a
 * list or dict that grows). Values are not changed once a template can see them, as the sandbox forbids it: only a
 * namespace's attributes change.
 *
 *   dict: pairs   [key item][key item][key item]        in order of insertion, what iteration shows
 *         slots   [ ][2][ ][ ][1][ ][3][ ]              open addressing by hash, made once there are more than a few pairs
 *
 * Keys are Python's: 1, 1.0 and True are one key, tuples of keys are keys, lists are not.
 */
#include "text/template_inside.h"

#include <math.h>
#include <string.h>

enum { PIECE = 16 << 10, FEW = 8 };

void *template_get(template_pool *p, size_t count, size_t size)
{
	size_t n;
	if (!size_mul(count, size, &n) || n > SIZE_MAX / 2)
		return NULL;
	n = size_round(n ? n : 1, 16);
	if (p->used > p->limit || n > p->limit - p->used) {
		p->full = true;
		return NULL;
	}
	void *out = NULL;
	if (n <= p->left) {
		out = p->at;
	} else if (n > PIECE / 8) {
		out = arena_get(p->from, n, 1);
		if (out) {
			p->used += n;
			memset(out, 0, n);
		}
		return out;
	} else {
		out = p->at = arena_get(p->from, PIECE, 1);
		p->left = p->at ? PIECE : 0;
	}
	if (!out)
		return NULL;
	memset(out, 0, n);
	p->at += n;
	p->left -= n;
	p->used += n;
	return out;
}

/* ------------------------------------------------------------------------------------------------ strings */
static template_string *string_make(template_pool *p, const char *data, size_t size, bool copy)
{
	template_string *s = template_get(p, 1, sizeof *s + (copy ? size : 0));
	if (!s)
		return NULL;
	if (copy && size)
		memcpy(s + 1, data, size);
	*s = (template_string){.data = copy ? (const char *)(s + 1) : data, .size = size, .points = SIZE_MAX};
	return s;
}

static rebus_status string_value(template_run *r, template_string *s, value *out)
{
	if (!s)
		return template_no_memory(r);
	*out = (value){.kind = VALUE_TEXT, .as.text = s};
	return REBUS_OK;
}

static rebus_status string_bound(template_run *r, size_t size)
{
	if (size > r->limits.output)
		return template_fail(r, REBUS_LIMIT, "a string of %zu bytes, at most %zu", size, r->limits.output);
	return template_step(r, size / 256);
}

rebus_status template_string_new(template_run *r, const char *data, size_t size, value *out)
{
	rebus_status status = REBUS_OK;
	TRY(string_bound(r, size));
	TRY(string_value(r, string_make(&r->pool, data, size, true), out));
done:
	return status;
}

/* Costs as much as reading it, for it will be counted or hashed anew. */
rebus_status template_string_view(template_run *r, const char *data, size_t size, value *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_step(r, size / 256));
	TRY(string_value(r, string_make(&r->pool, data, size, false), out));
done:
	return status;
}

rebus_status template_string_take(template_run *r, const buf *b, value *out)
{
	rebus_status status = REBUS_OK;
	if (b->failed == REBUS_LIMIT)
		return template_fail(r, REBUS_LIMIT, "a string of more than %zu bytes", r->limits.output);
	TRY(buf_check(b, r->err, "a string"));
	TRY(template_string_new(r, b->data, b->size, out));
done:
	return status;
}

rebus_status template_string_c(template_run *r, const char *text, value *out)
{
	return template_string_view(r, text, strlen(text), out);
}

/* ------------------------------------------------------------------------------------------------ sequences */
static bool seq_grow(template_pool *p, template_list_body *l)
{
	if (l->count < l->room)
		return true;
	size_t room;
	if (!size_mul(l->room ? l->room : 2, 2, &room))
		return false;
	value *at = template_get(p, room, sizeof *at);
	if (!at)
		return false;
	if (l->count)
		memcpy(at, l->at, l->count * sizeof *at);
	l->at = at;
	l->room = room;
	return true;
}

rebus_status template_seq_new(template_run *r, template_kind kind, size_t room, value *out)
{
	template_list_body *l = template_get(&r->pool, 1, sizeof *l);
	value *at = room && l ? template_get(&r->pool, room, sizeof *at) : NULL;
	if (!l || (room && !at))
		return template_no_memory(r);
	l->at = at;
	l->room = room;
	*out = (value){.kind = kind, .as.list = l};
	return REBUS_OK;
}

rebus_status template_seq_add(template_run *r, value seq, value item)
{
	rebus_status status = REBUS_OK;
	TRY(template_step(r, 1));
	if (!seq_grow(&r->pool, seq.as.list))
		TRY(template_no_memory(r));
	seq.as.list->at[seq.as.list->count++] = item;
done:
	return status;
}

bool template_is_seq(value v)
{
	return v.kind >= VALUE_LIST && v.kind <= VALUE_STREAM;
}

/* ------------------------------------------------------------------------------------------------ hashing */
static uint32_t hash_string(template_string *s)
{
	if (!s->hash) {
		uint32_t h = 2166136261u;
		for (size_t i = 0; i < s->size; i++)
			h = (h ^ (unsigned char)s->data[i]) * 16777619u;
		s->hash = h ? h : 1;
	}
	return s->hash;
}

void template_string_ready(template_string *s)
{
	template_points(s);
	hash_string(s);
}

static uint32_t hash_int(int64_t i)
{
	return (uint32_t)(((uint64_t)i * 0x9E3779B97F4A7C15u) >> 32);
}

/* false: not hashable */
static bool hash_value(value v, int depth, uint32_t *out)
{
	int64_t i;
	switch (v.kind) {
	case VALUE_TEXT:
		*out = hash_string(v.as.text);
		return true;
	case VALUE_BOOL:
	case VALUE_INT:
		template_is_int(v, &i);
		*out = hash_int(i);
		return true;
	case VALUE_REAL: /* a whole number hashes as the integer it equals */
		*out = fabs(v.as.real) < 9e18 && v.as.real == floor(v.as.real) ? hash_int((int64_t)v.as.real) : 7;
		return true;
	case VALUE_TUPLE:
		*out = 3;
		for (size_t k = 0; k < v.as.list->count; k++) {
			uint32_t h;
			if (!depth || !hash_value(v.as.list->at[k], depth - 1, &h))
				return false;
			*out = *out * 31 + h;
		}
		return true;
	case VALUE_LIST:
	case VALUE_DICT:
	case VALUE_KEYS:
	case VALUE_ITEMS:
	case VALUE_MISSING:
		return false;
	default:
		*out = (uint32_t)v.kind;
		return true;
	}
}

/* Equality of keys, which cannot hold anything that needs a long walk. */
static bool same_key(value a, value b, int depth)
{
	double x, y;
	int64_t i, j;
	if (a.kind == VALUE_TEXT || b.kind == VALUE_TEXT)
		return a.kind == b.kind && a.as.text->size == b.as.text->size &&
		       memcmp(a.as.text->data, b.as.text->data, a.as.text->size) == 0;
	if (template_is_int(a, &i) && template_is_int(b, &j))
		return i == j;
	if (template_is_number(a, &x) && template_is_number(b, &y))
		return x == y;
	if (a.kind != b.kind)
		return false;
	if (a.kind == VALUE_TUPLE) {
		if (a.as.list->count != b.as.list->count || !depth)
			return false;
		for (size_t k = 0; k < a.as.list->count; k++)
			if (!same_key(a.as.list->at[k], b.as.list->at[k], depth - 1))
				return false;
		return true;
	}
	return a.kind == VALUE_NONE || a.kind == VALUE_UNDEFINED || (a.kind == VALUE_FUNCTION && a.as.function == b.as.function) ||
	       (a.kind != VALUE_FUNCTION && a.as.list == b.as.list);
}

/* ------------------------------------------------------------------------------------------------ dicts */
static template_pair *map_search(const template_map *m, value key, uint32_t hash, size_t *probes)
{
	if (!m->slot_count) {
		for (size_t i = 0; i < m->count; i++)
			if (same_key(m->at[i].key, key, 16))
				return &m->at[i];
		return NULL;
	}
	for (size_t at = hash & (m->slot_count - 1); m->slots[at]; at = (at + 1) & (m->slot_count - 1)) {
		template_pair *pair = &m->at[m->slots[at] - 1];
		++*probes;
		if (same_key(pair->key, key, 16))
			return pair;
	}
	return NULL;
}

static void map_place(template_map *m, size_t index)
{
	uint32_t hash = 0;
	hash_value(m->at[index].key, 16, &hash);
	size_t at = hash & (m->slot_count - 1);
	while (m->slots[at])
		at = (at + 1) & (m->slot_count - 1);
	m->slots[at] = (uint32_t)index + 1;
}

static bool map_grow(template_pool *p, template_map *m)
{
	if (m->count < m->room)
		return true;
	size_t room = m->room ? m->room * 2 : 4;
	if (room > UINT32_MAX / 4)
		return false;
	template_pair *at = template_get(p, room, sizeof *at);
	uint32_t *slots = room > FEW ? template_get(p, room * 2, sizeof *slots) : NULL;
	if (!at || (room > FEW && !slots))
		return false;
	if (m->count)
		memcpy(at, m->at, m->count * sizeof *at);
	m->at = at;
	m->room = room;
	m->slots = slots;
	m->slot_count = slots ? room * 2 : 0;
	for (size_t i = 0; slots && i < m->count; i++)
		map_place(m, i);
	return true;
}

bool template_pool_map_set(template_pool *p, template_map *m, value key, value item)
{
	uint32_t hash = 0;
	size_t probes = 0;
	if (!hash_value(key, 16, &hash))
		return false;
	template_pair *pair = map_search(m, key, hash, &probes);
	if (pair) {
		pair->item = item;
		return true;
	}
	if (!map_grow(p, m))
		return false;
	m->at[m->count++] = (template_pair){key, item};
	if (m->slot_count)
		map_place(m, m->count - 1);
	return true;
}

template_pair *template_map_text(const template_map *m, const template_string *key)
{
	size_t probes = 0;
	value v = {.kind = VALUE_TEXT};
	template_string copy = *key;
	v.as.text = &copy;
	return map_search(m, v, m->slot_count ? hash_string(&copy) : 0, &probes);
}

rebus_status template_map_new(template_run *r, template_kind kind, value *out)
{
	template_map *m = template_get(&r->pool, 1, sizeof *m);
	if (!m)
		return template_no_memory(r);
	*out = (value){.kind = kind, .as.map = m};
	return REBUS_OK;
}

rebus_status template_map_find(template_run *r, const template_map *m, value key, template_pair **out)
{
	uint32_t hash;
	size_t probes = 0;
	if (!hash_value(key, 16, &hash))
		return template_fail(r, REBUS_FORMAT, "unhashable type: '%s'", template_type(key));
	*out = map_search(m, key, hash, &probes);
	return template_step(r, probes);
}

rebus_status template_map_set(template_run *r, template_map *m, value key, value item)
{
	rebus_status status = REBUS_OK;
	template_pair *pair = NULL;
	TRY(template_map_find(r, m, key, &pair));
	TRY(template_step(r, 1));
	if (pair)
		pair->item = item;
	else if (!template_pool_map_set(&r->pool, m, key, item))
		TRY(template_no_memory(r));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ constructors */
value template_none(void)
{
	return (value){.kind = VALUE_NONE};
}

value template_flag(bool flag)
{
	return (value){.kind = VALUE_BOOL, .as.flag = flag};
}

value template_int(int64_t integer)
{
	return (value){.kind = VALUE_INT, .as.integer = integer};
}

value template_real(double real)
{
	return (value){.kind = VALUE_REAL, .as.real = real};
}

static value text_in(template_pool *p, const char *text, size_t size)
{
	template_string *s = NULL;
	if (utf8_valid(text, size)) {
		s = string_make(p, text, size, true);
	} else if (size < SIZE_MAX / 4) {
		char *to = template_get(p, size * 3, 1);
		size_t n = 0;
		for (size_t i = 0; to && i < size;) {
			uint32_t cp;
			i += utf8_get(text + i, size - i, &cp);
			n += utf8_put(cp, to + n);
		}
		s = to ? string_make(p, to, n, false) : NULL;
	}
	return s ? (value){.kind = VALUE_TEXT, .as.text = s} : (value){.kind = VALUE_MISSING};
}

value template_text(arena *a, const char *text, size_t size)
{
	template_pool p = {.from = a, .limit = SIZE_MAX};
	if (size <= PIECE / 8 && utf8_valid(text, size)) { /* one object of its own size, not a piece for many */
		template_string *s = arena_zero(a, 1, sizeof *s + size + 1);
		if (!s)
			return (value){.kind = VALUE_MISSING};
		memcpy(s + 1, text ? text : "", size);
		*s = (template_string){.data = (const char *)(s + 1), .size = size, .points = SIZE_MAX};
		return (value){.kind = VALUE_TEXT, .as.text = s};
	}
	return text_in(&p, text, size);
}

value template_list(arena *a)
{
	template_list_body *l = arena_zero(a, 1, sizeof *l);
	return l ? (value){.kind = VALUE_LIST, .as.list = l} : (value){.kind = VALUE_MISSING};
}

value template_dict(arena *a)
{
	template_map *m = arena_zero(a, 1, sizeof *m);
	return m ? (value){.kind = VALUE_DICT, .as.map = m} : (value){.kind = VALUE_MISSING};
}

rebus_status template_list_add(arena *a, value list, value item, rebus_error *err)
{
	template_pool p = {.from = a, .limit = SIZE_MAX};
	if (list.kind != VALUE_LIST || item.kind == VALUE_MISSING || !seq_grow(&p, list.as.list))
		return error_memory(err, "a template's list");
	list.as.list->at[list.as.list->count++] = item;
	return REBUS_OK;
}

rebus_status template_dict_set(arena *a, value dict, const char *key, value item, rebus_error *err)
{
	template_pool p = {.from = a, .limit = SIZE_MAX};
	value name = template_text(a, key, strlen(key));
	if (dict.kind != VALUE_DICT || name.kind == VALUE_MISSING || item.kind == VALUE_MISSING ||
		!template_pool_map_set(&p, dict.as.map, name, item))
		return error_memory(err, "a template's dict");
	return REBUS_OK;
}

/* json.h has bounded the nesting, so this may recurse. */
static bool json_value(template_pool *p, const json *from, value *out)
{
	int64_t i;
	double x;
	bool flag;
	size_t size;
	const char *text;
	switch (json_kind_of(from)) {
	case JSON_BOOL:
		json_flag(from, &flag);
		*out = template_flag(flag);
		return true;
	case JSON_INT:
		json_int(from, &i);
		*out = template_int(i);
		return true;
	case JSON_REAL:
		json_real(from, &x);
		*out = template_real(x);
		return true;
	case JSON_TEXT:
		text = json_text(from, &size);
		*out = text_in(p, text, size);
		return out->kind == VALUE_TEXT;
	case JSON_LIST: {
		template_list_body *l = template_get(p, 1, sizeof *l);
		l = l && (l->at = template_get(p, json_count(from), sizeof *l->at)) ? l : NULL;
		*out = (value){.kind = VALUE_LIST, .as.list = l};
		for (size_t k = 0; l && k < json_count(from); k++)
			if (!json_value(p, json_at(from, k), &l->at[l->count++]))
				return false;
		if (l)
			l->room = l->count;
		return l != NULL;
	}
	case JSON_MAP: {
		template_map *m = template_get(p, 1, sizeof *m);
		*out = (value){.kind = VALUE_DICT, .as.map = m};
		json_each it = json_first(from);
		while (m && json_next(&it)) {
			value key = text_in(p, it.key, strlen(it.key)), item;
			if (key.kind != VALUE_TEXT || !json_value(p, it.value, &item) || !template_pool_map_set(p, m, key, item))
				return false;
		}
		return m != NULL;
	}
	default:
		*out = template_none();
		return true;
	}
}

rebus_status template_from_json(arena *a, const json *from, value *out, rebus_error *err)
{
	template_pool p = {.from = a, .limit = SIZE_MAX};
	value v;
	if (!json_value(&p, from, &v))
		return error_memory(err, "a template's variables");
	*out = v;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ undefined */
rebus_status template_undefined_new(template_run *r, const template_undefined *u, value *out)
{
	template_undefined *copy = template_get(&r->pool, 1, sizeof *copy);
	if (!copy)
		return template_no_memory(r);
	*copy = *u;
	*out = (value){.kind = VALUE_UNDEFINED, .as.undefined = copy};
	return REBUS_OK;
}

rebus_status template_undefined_hint(template_run *r, const char *hint, value *out)
{
	return template_undefined_new(r, &(template_undefined){.hint = hint}, out);
}

rebus_status template_undefined_fail(template_run *r, value v)
{
	const template_undefined *u = v.as.undefined;
	if (!u || u->hint)
		return template_fail(r, REBUS_FORMAT, "%s", u ? u->hint : "the value is undefined");
	int n = u->name ? (int)int_min((int64_t)u->name->size, 100) : 0;
	const char *name = u->name ? u->name->data : "";
	if (u->unsafe)
		return template_fail(r, REBUS_FORMAT, "access to attribute '%.*s' of '%s' object is unsafe.", n, name, u->owner);
	if (!u->owner)
		return template_fail(r, REBUS_FORMAT, "'%.*s' is undefined", n, name);
	if (u->name)
		return template_fail(r, REBUS_FORMAT, "'%s object' has no attribute '%.*s'", u->owner, n, name);
	if (u->index.kind == VALUE_INT)
		return template_fail(r, REBUS_FORMAT, "%s object has no element %lld", u->owner, (long long)u->index.as.integer);
	return template_fail(r, REBUS_FORMAT, "%s object has no such element", u->owner);
}

/* ------------------------------------------------------------------------------------------------ looking at values */
bool template_is_int(value v, int64_t *out)
{
	if (v.kind != VALUE_INT && v.kind != VALUE_BOOL)
		return false;
	*out = v.kind == VALUE_BOOL ? v.as.flag : v.as.integer;
	return true;
}

bool template_is_number(value v, double *out)
{
	int64_t i;
	if (template_is_int(v, &i))
		*out = (double)i;
	else if (v.kind == VALUE_REAL)
		*out = v.as.real;
	else
		return false;
	return true;
}

const char *template_type(value v)
{
	static const char *const names[] = {[VALUE_MISSING] = "missing", [VALUE_UNDEFINED] = "Undefined", [VALUE_NONE] = "NoneType",
		[VALUE_BOOL] = "bool", [VALUE_INT] = "int", [VALUE_REAL] = "float", [VALUE_TEXT] = "str", [VALUE_LIST] = "list",
		[VALUE_TUPLE] = "tuple", [VALUE_RANGE] = "range", [VALUE_KEYS] = "dict_keys", [VALUE_VALUES] = "dict_values",
		[VALUE_ITEMS] = "dict_items", [VALUE_STREAM] = "generator", [VALUE_DICT] = "dict", [VALUE_NAMESPACE] = "Namespace",
		[VALUE_LOOP] = "LoopContext", [VALUE_MACRO] = "Macro", [VALUE_METHOD] = "builtin_function_or_method",
		[VALUE_FUNCTION] = "function", [VALUE_CYCLER] = "Cycler", [VALUE_JOINER] = "Joiner"};
	return names[v.kind];
}

bool template_truth(value v)
{
	switch (v.kind) {
	case VALUE_MISSING:
	case VALUE_UNDEFINED:
	case VALUE_NONE:
		return false;
	case VALUE_BOOL:
		return v.as.flag;
	case VALUE_INT:
		return v.as.integer != 0;
	case VALUE_REAL:
		return v.as.real != 0;
	case VALUE_TEXT:
		return v.as.text->size > 0;
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_RANGE:
	case VALUE_KEYS:
	case VALUE_VALUES:
	case VALUE_ITEMS:
		return v.as.list->count > 0;
	case VALUE_DICT:
		return v.as.map->count > 0;
	default:
		return true;
	}
}
