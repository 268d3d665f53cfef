/* json.c - json-c behind bounds; see json.h. The only file that includes json-c. */
#include "files/json.h"

#include <json-c/json.h>
#include <math.h>
#include <string.h>

/* Counts values and nesting without building anything. Structure inside strings does not count. */
static rebus_status bounds_check(const char *s, size_t n, const char *name, size_t most, rebus_error *err)
{
	size_t values = 1, depth = 0;
	bool text = false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (text) {
			if (c == '\\')
				i++;
			else if (c == '"')
				text = false;
		} else if (c == '"') {
			text = true;
		} else if (c == '{' || c == '[') {
			values++;
			if (++depth > JSON_DEPTH)
				return error_set(err, REBUS_LIMIT, "%s: nested deeper than %d levels", name, JSON_DEPTH);
		} else if (c == '}' || c == ']') {
			depth -= depth > 0;
		} else if (c == ',') {
			values++;
		}
	}
	if (values > most)
		return error_set(err, REBUS_LIMIT, "%s: about %zu values, more than the limit of %zu", name, values, most);
	return REBUS_OK;
}

static int hex4(const char *s)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* The code point of an escaped pair of surrogates, \uD83D\uDE00; 0 where there is none. */
static uint32_t pair_at(const char *s, size_t n)
{
	if (n < 12 || s[0] != '\\' || s[1] != 'u' || s[6] != '\\' || s[7] != 'u')
		return 0;
	int high = hex4(s + 2), low = hex4(s + 8);
	if (high < 0xD800 || high > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
		return 0;
	return 0x10000 + ((uint32_t)(high - 0xD800) << 10 | (uint32_t)(low - 0xDC00));
}

/*
 * json-c 0.16 takes some pairs of surrogates apart again (those whose code point ends in D800 ... DFFF, as \ud836\udc00), so
 * pairs are replaced by their UTF-8 before it sees them. Twelve bytes become four: the copy is never longer.
 */
static void pairs_replace(const char *text, size_t size, buf *out)
{
	size_t from = 0;
	for (size_t i = 0; i < size; i++) {
		if (text[i] != '\\')
			continue;
		uint32_t cp = pair_at(text + i, size - i);
		if (!cp) {
			i++; /* what follows belongs to this escape, a backslash too */
			continue;
		}
		char utf8[4];
		buf_add(out, text + from, i - from);
		buf_add(out, utf8, utf8_put(cp, utf8));
		from = i + 12;
		i += 11;
	}
	buf_add(out, text + from, size - from);
}

static bool has_surrogates(const char *text, size_t size)
{
	for (size_t i = 0; i + 12 <= size; i++)
		if (text[i] == '\\' && text[i + 1] == 'u' && (text[i + 2] | 32) == 'd')
			return true;
	return false;
}

rebus_status json_parse(const char *text, size_t size, const char *name, size_t most_values, json **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	json *root = NULL;
	struct json_tokener *t = NULL;
	buf plain;
	buf_init(&plain, NULL, 0);
	if (size > INT32_MAX - 1)
		return error_set(err, REBUS_LIMIT, "%s: %zu bytes of JSON, more than 2 GiB", name, size);
	TRY(bounds_check(text, size, name, most_values, err));
	if (has_surrogates(text, size)) {
		pairs_replace(text, size, &plain);
		TRY(buf_check(&plain, err, name));
		text = plain.data;
		size = plain.size;
	}
	t = json_tokener_new_ex(JSON_DEPTH + 2);
	if (!t) {
		status = error_memory(err, name);
		goto done;
	}
	root = json_tokener_parse_ex(t, text, (int)size);
	enum json_tokener_error e = json_tokener_get_error(t);
	size_t at = json_tokener_get_parse_end(t);
	if (e == json_tokener_continue) { /* a bare number at the end: only a terminator says it is complete */
		root = json_tokener_parse_ex(t, "", 1);
		e = json_tokener_get_error(t);
		at = size;
	}
	if (e != json_tokener_success) {
		status = e == json_tokener_continue || at >= size ? error_set(err, REBUS_FORMAT, "%s: JSON ends too early", name)
		                                                  : error_set(err, REBUS_FORMAT, "%s: byte %zu is not JSON: %s", name, at, json_tokener_error_desc(e));
		goto done;
	}
	for (size_t i = at; i < size; i++)
		if (!strchr(" \t\r\n", text[i]) || !text[i]) {
			status = error_set(err, REBUS_FORMAT, "%s: byte %zu: something follows the JSON value", name, i);
			goto done;
		}
	if (!root) {
		status = error_set(err, REBUS_FORMAT, "%s: is null, expected a JSON value", name);
		goto done;
	}
	*out = root;
	root = NULL;
done:
	if (root)
		json_object_put(root);
	if (t)
		json_tokener_free(t);
	buf_free(&plain);
	return status;
}

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

void json_free(json *j)
{
	if (j)
		json_object_put(j);
}

json_kind json_kind_of(const json *j)
{
	if (!j)
		return JSON_NONE;
	switch (json_object_get_type(j)) {
	case json_type_boolean:
		return JSON_BOOL;
	case json_type_int:
		return JSON_INT;
	case json_type_double:
		return JSON_REAL;
	case json_type_string:
		return JSON_TEXT;
	case json_type_array:
		return JSON_LIST;
	case json_type_object:
		return JSON_MAP;
	case json_type_null:
		break;
	}
	return JSON_NULL;
}

const json *json_get(const json *j, const char *key)
{
	json *v = NULL;
	if (json_kind_of(j) == JSON_MAP)
		json_object_object_get_ex(j, key, &v);
	return v;
}

bool json_has(const json *j, const char *key)
{
	return json_kind_of(j) == JSON_MAP && json_object_object_get_ex(j, key, NULL);
}

const json *json_at(const json *j, size_t i)
{
	return json_kind_of(j) == JSON_LIST && i < json_object_array_length(j) ? json_object_array_get_idx(j, i) : NULL;
}

size_t json_count(const json *j)
{
	json_kind k = json_kind_of(j);
	return k == JSON_LIST ? json_object_array_length(j) : k == JSON_MAP ? (size_t)json_object_object_length(j) : 0;
}

const char *json_text(const json *j, size_t *size)
{
	if (json_kind_of(j) != JSON_TEXT)
		return NULL;
	if (size)
		*size = (size_t)json_object_get_string_len(j);
	return json_object_get_string((json *)j);
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
		*out = json_object_get_int64(j);
		return true;
	}
	if (k == JSON_REAL) {
		double d = json_object_get_double(j);
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
	*out = json_object_get_double(j);
	return true;
}

bool json_flag(const json *j, bool *out)
{
	if (json_kind_of(j) != JSON_BOOL)
		return false;
	*out = json_object_get_boolean(j);
	return true;
}

json_each json_first(const json *j)
{
	return (json_each){.at = json_kind_of(j) == JSON_MAP ? json_object_get_object(j)->head : NULL};
}

bool json_next(json_each *it)
{
	struct lh_entry *e = it->at;
	if (!e)
		return false;
	it->key = (const char *)lh_entry_k(e);
	it->value = lh_entry_v(e);
	it->at = e->next;
	return true;
}
