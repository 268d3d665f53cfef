/*
 * config.c - fills a struct from JSON by a table of fields; see config.h.
 *
 *   path "a|b.c" ─► a ? else b ─► c ─► value or absent ─► kind, range ─► values[]  ─► all good: the struct
 *
 * All values are read before the first is stored: a configuration that is wrong leaves the struct as it was.
 */
#include "files/config.h"

#include <stdio.h>
#include <string.h>

/* What is stored, as it is stored. */
typedef union {
	int64_t whole;
	double real;
	bool flag;
	const char *text;
	int32_t pair[2];
	int_list list;
	real_list reals;
	name_list names;
	act_kind act;
} value;

typedef struct {
	arena *a;
	const char *where;
	const field *f;
	rebus_error *err;
} reading;

/* Follows one alternative, from `path` up to '|' or its end. NULL: absent, or null. */
static const json *descend(const json *j, const char *path, size_t size)
{
	while (j && size) {
		char key[128];
		const char *dot = memchr(path, '.', size);
		size_t n = dot ? (size_t)(dot - path) : size;
		if (n >= sizeof key)
			return NULL;
		memcpy(key, path, n);
		key[n] = 0;
		j = json_get(j, key);
		path += dot ? n + 1 : n;
		size -= dot ? n + 1 : n;
	}
	return json_kind_of(j) == JSON_NULL ? NULL : j;
}

static const json *find(const json *object, const char *path, const char **name, int *length)
{
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, "|");
		const json *j = descend(object, p, n);
		if (j || !p[n]) {
			*name = j ? p : path;
			*length = (int)(j ? n : strlen(path));
			return j;
		}
		p += n;
	}
}

/* Is any alternative written as null? */
static bool null_there(const json *object, const char *path)
{
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, "|"), head = 0;
		char key[128];
		for (size_t i = 0; i < n; i++)
			head = p[i] == '.' ? i + 1 : head;
		const json *map = head ? descend(object, p, head - 1) : object;
		if (n - head < sizeof key) {
			memcpy(key, p + head, n - head);
			key[n - head] = 0;
			if (map && json_has(map, key) && !json_get(map, key))
				return true;
		}
		if (!p[n])
			return false;
		p += n;
	}
}

/* A value as messages show it. */
static const char *shown(const json *j, char *out, size_t room)
{
	double d;
	int64_t i;
	size_t n;
	const char *s = json_text(j, &n);
	if (s)
		snprintf(out, room, "'%.40s'", s);
	else if (json_kind_of(j) == JSON_INT && json_int(j, &i))
		snprintf(out, room, "%lld", (long long)i);
	else if (json_real(j, &d))
		snprintf(out, room, "%g", d);
	else
		snprintf(out, room, "%s",
		         json_kind_of(j) == JSON_BOOL ? "true or false" : json_kind_of(j) == JSON_LIST ? "a list" : "an object");
	return out;
}

static bool whole_in(const field *f, const json *j, int64_t *out)
{
	int64_t v;
	if (!json_int(j, &v) || (double)v < f->low || (double)v > f->high)
		return false;
	*out = v;
	return true;
}

static bool take_pair(const field *f, const json *j, int32_t out[2])
{
	int64_t v[2];
	bool list = json_kind_of(j) == JSON_LIST;
	if (list && json_count(j) != 2)
		return false;
	for (size_t i = 0; i < 2; i++) {
		if (!whole_in(f, list ? json_at(j, i) : j, &v[i]) || v[i] < INT32_MIN || v[i] > INT32_MAX)
			return false;
		out[i] = (int32_t)v[i];
	}
	return true;
}

static rebus_status take_list(const reading *r, const json *j, bool *good, int_list *out)
{
	bool list = json_kind_of(j) == JSON_LIST;
	size_t n = list ? json_count(j) : 1;
	*good = n <= CONFIG_INTS_MOST;
	if (!*good)
		return REBUS_OK;
	int64_t *at = arena_get(r->a, n, sizeof *at);
	if (!at)
		return error_memory(r->err, r->where);
	for (size_t i = 0; *good && i < n; i++)
		*good = whole_in(r->f, list ? json_at(j, i) : j, &at[i]);
	*out = (int_list){.count = (int32_t)n, .at = at};
	return REBUS_OK;
}

/* Lists that have no single form: numbers, or texts. */
static rebus_status take_many(const reading *r, const json *j, bool *good, value *out)
{
	size_t n = json_count(j);
	*good = json_kind_of(j) == JSON_LIST && n <= CONFIG_INTS_MOST;
	if (!*good)
		return REBUS_OK;
	double *reals = r->f->kind == FIELD_REALS ? arena_get(r->a, n, sizeof *reals) : NULL;
	const char **names = reals ? NULL : arena_zero(r->a, n, sizeof *names);
	if (!reals && !names)
		return error_memory(r->err, r->where);
	for (size_t i = 0; *good && i < n; i++) {
		size_t size;
		const char *text = json_text(json_at(j, i), &size);
		if (reals)
			*good = json_real(json_at(j, i), &reals[i]) && reals[i] >= r->f->low && reals[i] <= r->f->high;
		else if ((*good = text && strlen(text) == size) && !(names[i] = arena_text(r->a, text, size)))
			return error_memory(r->err, r->where);
	}
	if (reals)
		out->reals = (real_list){.count = (int32_t)n, .at = reals};
	else
		out->names = (name_list){.count = (int32_t)n, .at = names};
	return REBUS_OK;
}

/* good: the value is of the field's kind and in its range */
static rebus_status take(const reading *r, const json *j, bool *good, value *out)
{
	size_t n = 0;
	const char *text = json_text(j, &n);
	bool plain = text && strlen(text) == n;
	switch (r->f->kind) {
	case FIELD_INT:
		*good = whole_in(r->f, j, &out->whole);
		break;
	case FIELD_REAL:
		*good = json_real(j, &out->real) && out->real >= r->f->low && out->real <= r->f->high;
		break;
	case FIELD_FLAG:
		*good = json_flag(j, &out->flag);
		break;
	case FIELD_TEXT:
		*good = plain;
		if (plain && !(out->text = arena_text(r->a, text, n)))
			return error_memory(r->err, r->where);
		break;
	case FIELD_PAIR:
		*good = take_pair(r->f, j, out->pair);
		break;
	case FIELD_INTS:
		return take_list(r, j, good, &out->list);
	case FIELD_REALS:
	case FIELD_NAMES:
		return take_many(r, j, good, out);
	case FIELD_ACT:
		*good = plain && act_parse(text, &out->act);
		break;
	}
	return REBUS_OK;
}

static rebus_status wrong(const reading *r, const json *j, const char *name, int length)
{
	static const char *const kinds[] = {
		[FIELD_INT] = "a whole number", [FIELD_REAL] = "a number", [FIELD_FLAG] = "true or false", [FIELD_TEXT] = "text",
		[FIELD_PAIR] = "a number or [height, width], each", [FIELD_INTS] = "a number or a list of at most 4096, each",
		[FIELD_REALS] = "a list of at most 4096 numbers, each", [FIELD_NAMES] = "a list of at most 4096 texts",
		[FIELD_ACT] = "an activation rebus knows: gelu, silu, relu and the like",
	};
	char text[64];
	const field *f = r->f;
	bool range = f->kind != FIELD_FLAG && f->kind != FIELD_TEXT && f->kind != FIELD_NAMES && f->kind != FIELD_ACT;
	bool kind_fits = json_kind_of(j) == JSON_INT || (json_kind_of(j) == JSON_REAL && f->kind == FIELD_REAL);
	shown(j, text, sizeof text);
	if (range && kind_fits && (f->kind == FIELD_INT || f->kind == FIELD_REAL))
		return error_set(r->err, REBUS_FORMAT, "%s: %.*s: %s, expected %.15g to %.15g", r->where, length, name, text, f->low,
		                 f->high);
	if (range)
		return error_set(r->err, REBUS_FORMAT, "%s: %.*s: %s, expected %s from %.15g to %.15g", r->where, length, name, text,
		                 kinds[f->kind], f->low, f->high);
	return error_set(r->err, f->kind == FIELD_ACT && json_text(j, NULL) ? REBUS_UNSUPPORTED : REBUS_FORMAT,
	                 "%s: %.*s: %s, expected %s", r->where, length, name, text, kinds[f->kind]);
}

static rebus_status take_default(const reading *r, value *out)
{
	const field *f = r->f;
	if (f->kind == FIELD_INT)
		out->whole = (int64_t)f->fallback;
	else if (f->kind == FIELD_REAL)
		out->real = f->fallback;
	else if (f->kind == FIELD_FLAG)
		out->flag = f->fallback != 0;
	else if (f->kind == FIELD_TEXT)
		out->text = f->fallback_text;
	else if (f->kind == FIELD_PAIR)
		out->pair[0] = out->pair[1] = (int32_t)f->fallback;
	else if (f->kind == FIELD_INTS)
		out->list = (int_list){.count = 0};
	else if (f->kind == FIELD_REALS)
		out->reals = (real_list){.count = 0};
	else if (f->kind == FIELD_NAMES)
		out->names = (name_list){.count = 0};
	else if (!act_parse(f->fallback_text, &out->act))
		return error_set(r->err, REBUS_UNSUPPORTED, "%s: %s: no activation is called '%s'", r->where, f->path, f->fallback_text);
	return REBUS_OK;
}

static void store(const field *f, const value *v, void *out)
{
	static const size_t sizes[] = {
		[FIELD_INT] = sizeof v->whole, [FIELD_REAL] = sizeof v->real, [FIELD_FLAG] = sizeof v->flag,
		[FIELD_TEXT] = sizeof v->text, [FIELD_PAIR] = sizeof v->pair, [FIELD_INTS] = sizeof v->list,
		[FIELD_REALS] = sizeof v->reals, [FIELD_NAMES] = sizeof v->names, [FIELD_ACT] = sizeof v->act,
	};
	memcpy((char *)out + f->offset, v, sizes[f->kind]);
}

rebus_status config_read(arena *a, const json *object, const char *where, const field *table, size_t count, void *out,
                         rebus_error *err)
{
	rebus_status status = REBUS_OK;
	value values[CONFIG_FIELDS_MOST];
	bool kept[CONFIG_FIELDS_MOST];
	if (json_kind_of(object) != JSON_MAP)
		return error_set(err, REBUS_FORMAT, "%s: %s, expected an object", where, object ? "something else" : "missing");
	if (count > CONFIG_FIELDS_MOST)
		return error_set(err, REBUS_LIMIT, "%s: a table of %zu fields, expected at most %d", where, count, CONFIG_FIELDS_MOST);
	for (size_t i = 0; i < count; i++) {
		reading r = {.a = a, .where = where, .f = &table[i], .err = err};
		const char *name;
		int length;
		bool good = true;
		const json *j = find(object, table[i].path, &name, &length);
		if (!j && table[i].required)
			return error_set(err, REBUS_FORMAT, "%s: %s: missing", where, table[i].path);
		kept[i] = !j && table[i].kept;
		if (kept[i])
			continue;
		if (!j && table[i].nullable && null_there(object, table[i].path))
			values[i] = (value){.whole = 0}; /* the same bits for a real */
		else
			TRY(j ? take(&r, j, &good, &values[i]) : take_default(&r, &values[i]));
		if (!good)
			return wrong(&r, j, name, length);
	}
	for (size_t i = 0; i < count; i++)
		if (!kept[i])
			store(&table[i], &values[i], out);
done:
	return status;
}
