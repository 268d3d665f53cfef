/* json.c - what callers ask of a parsed document; see json.h, and json_tree.h for how it lies. */
#include <math.h>
#include <string.h>

#include "files/json_tree.h"

rebus_status json_load(const char *path, size_t most_bytes, size_t most_values, json **out, rebus_error *err)
{
	file_map f;
	rebus_status status = file_open(&f, path, most_bytes, true, NULL, err);
	if (status)
		return status;
	status = json_parse((const char *)f.data, f.size, path, most_values, out, err);
	file_close(&f);
	return status;
}

json_kind json_kind_of(const json *j)
{
	return j ? (json_kind)j->kind : JSON_NONE;
}

/* What chains see: a null is as good as nothing. */
static const json *unless_null(const json *j)
{
	return j->kind == JSON_NULL ? NULL : j;
}

static bool named(const json *name, const char *s, size_t n)
{
	return name->count == n && memcmp(name->is.text, s, n) == 0;
}

size_t json_slot(const json_table *t, const json *items, const char *name, size_t size, uint64_t *probes)
{
	size_t k = text_hash(name, size) & t->mask;
	for (; t->slots[k] && !named(&items[2 * (size_t)(t->slots[k] - 1)], name, size); k = (k + 1) & t->mask)
		++*probes;
	return k;
}

static const json *member(const json *j, const char *key)
{
	if (json_kind_of(j) != JSON_MAP)
		return NULL;
	size_t n = strlen(key);
	if (j->count > MAP_SMALL) {
		const json_table *t = (const json_table *)(const void *)j->is.items - 1;
		uint64_t probes = 0;
		size_t k = json_slot(t, j->is.items, key, n, &probes);
		return t->slots[k] ? &j->is.items[2 * (size_t)(t->slots[k] - 1) + 1] : NULL;
	}
	for (uint32_t i = 0; i < j->count; i++)
		if (named(&j->is.items[2 * i], key, n))
			return &j->is.items[2 * i + 1];
	return NULL;
}

const json *json_get(const json *j, const char *key)
{
	const json *v = member(j, key);
	return v ? unless_null(v) : NULL;
}

bool json_has(const json *j, const char *key)
{
	return member(j, key) != NULL;
}

const json *json_at(const json *j, size_t i)
{
	return json_kind_of(j) == JSON_LIST && i < j->count ? unless_null(&j->is.items[i]) : NULL;
}

size_t json_count(const json *j)
{
	json_kind k = json_kind_of(j);
	return k == JSON_LIST || k == JSON_MAP ? j->count : 0;
}

const char *json_text(const json *j, size_t *size)
{
	if (json_kind_of(j) != JSON_TEXT)
		return NULL;
	if (size)
		*size = j->count;
	return j->is.text;
}

bool json_is(const json *j, const char *literal)
{
	size_t n;
	const char *s = json_text(j, &n);
	return s && text_is(s, n, literal);
}

bool json_int(const json *j, int64_t *out)
{
	json_kind k = json_kind_of(j);
	if (k == JSON_INT) {
		*out = j->is.whole;
		return true;
	}
	if (k == JSON_REAL) {
		double d = j->is.real;
		if (d >= -9e18 && d <= 9e18 && d == floor(d)) {
			*out = (int64_t)d;
			return true;
		}
	}
	return false;
}

bool json_real(const json *j, double *out)
{
	json_kind k = json_kind_of(j);
	if (k != JSON_INT && k != JSON_REAL)
		return false;
	*out = k == JSON_INT ? (double)j->is.whole : j->is.real;
	return true;
}

bool json_flag(const json *j, bool *out)
{
	if (json_kind_of(j) != JSON_BOOL)
		return false;
	*out = j->is.flag;
	return true;
}

json_each json_first(const json *j)
{
	bool map = json_kind_of(j) == JSON_MAP;
	return (json_each){.at = map ? j->is.items : NULL, .end = map ? j->is.items + 2 * (size_t)j->count : NULL};
}

bool json_next(json_each *it)
{
	if (it->at == it->end)
		return false;
	it->key = it->at->is.text;
	it->key_size = it->at->count;
	it->value = unless_null(&it->at[1]);
	it->at += 2;
	return true;
}
