/*
 * template_show.c - values as text: str, repr, and JSON.
 *
 *   value      str     repr     json
 *   None       None    None     null
 *   True       True    True     true
 *   "it's"     it's    "it's"   "it's"
 *   1e16       1e+16   1e+16    1e+16
 *   [1, "a"]   [1, 'a']  the same  [1, "a"]
 *
 * JSON is json.dumps: ", " and ": " between things, or with an indent "," and a new line. What has no JSON is an error, as
 * are values that hold themselves, which only a namespace can.
 */
#include "text/template_inside.h"

#include <math.h>
#include <string.h>
#include <utf8proc.h>

static rebus_status deeper(template_run *r)
{
	if (r->depth >= r->limits.depth * 16)
		return template_fail(r, REBUS_LIMIT, "values nested too deep");
	r->depth++;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ repr */
static bool printable(uint32_t cp)
{
	if (cp < 0x7F)
		return cp >= 0x20;
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c != UTF8PROC_CATEGORY_CN && (c < UTF8PROC_CATEGORY_ZS || c > UTF8PROC_CATEGORY_CO);
}

static void repr_string(const template_string *s, buf *out)
{
	bool single = memchr(s->data ? s->data : "", '\'', s->size) != NULL, twice = memchr(s->data ? s->data : "", '"', s->size) != NULL;
	char quote = single && !twice ? '"' : '\'';
	buf_byte(out, quote);
	for (size_t i = 0; i < s->size;) {
		uint32_t cp;
		size_t n = utf8_get(s->data + i, s->size - i, &cp);
		if (cp == (unsigned char)quote || cp == '\\')
			buf_format(out, "\\%c", (char)cp);
		else if (cp == '\n' || cp == '\r' || cp == '\t')
			buf_text(out, cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : "\\t");
		else if (printable(cp))
			buf_add(out, s->data + i, n);
		else
			buf_format(out, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
		i += n;
	}
	buf_byte(out, quote);
}

static rebus_status repr_items(template_run *r, const template_list_body *l, buf *out)
{
	rebus_status status = REBUS_OK;
	for (size_t i = 0; i < l->count; i++) {
		if (i)
			buf_text(out, ", ");
		TRY(template_repr(r, l->at[i], out));
	}
done:
	return status;
}

static rebus_status repr_map(template_run *r, const template_map *m, buf *out)
{
	rebus_status status = REBUS_OK;
	buf_byte(out, '{');
	for (size_t i = 0; i < m->count; i++) {
		if (i)
			buf_text(out, ", ");
		TRY(template_repr(r, m->at[i].key, out));
		buf_text(out, ": ");
		TRY(template_repr(r, m->at[i].item, out));
	}
	buf_byte(out, '}');
done:
	return status;
}

static rebus_status repr_seq(template_run *r, value v, buf *out)
{
	rebus_status status = REBUS_OK;
	const template_list_body *l = v.as.list;
	static const char *const open[] = {[VALUE_LIST] = "[", [VALUE_TUPLE] = "(", [VALUE_KEYS] = "dict_keys([",
		[VALUE_VALUES] = "dict_values([", [VALUE_ITEMS] = "dict_items(["};
	static const char *const close[] = {[VALUE_LIST] = "]", [VALUE_TUPLE] = ")", [VALUE_KEYS] = "])", [VALUE_VALUES] = "])",
		[VALUE_ITEMS] = "])"};
	if (v.kind == VALUE_RANGE) {
		buf_format(out, l->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)", (long long)l->start, (long long)l->stop,
			(long long)l->step);
		return REBUS_OK;
	}
	buf_text(out, open[v.kind]);
	TRY(repr_items(r, l, out));
	buf_text(out, v.kind == VALUE_TUPLE && l->count == 1 ? ",)" : close[v.kind]);
done:
	return status;
}

static rebus_status repr_other(template_run *r, value v, buf *out)
{
	rebus_status status = REBUS_OK;
	if (v.kind == VALUE_NAMESPACE) {
		buf_text(out, "<Namespace ");
		TRY(repr_map(r, v.as.map, out));
		buf_byte(out, '>');
	} else if (v.kind == VALUE_LOOP) {
		int64_t length;
		TRY(template_loop_length(r, v.as.loop, &length));
		buf_format(out, "<LoopContext %lld/%lld>", (long long)v.as.loop->index0 + 1, (long long)length);
	} else if (v.kind == VALUE_MACRO) {
		const node *n = v.as.macro->node;
		buf_text(out, "<Macro ");
		if (n->name)
			repr_string(n->name, out);
		else
			buf_text(out, "anonymous");
		buf_byte(out, '>');
	} else {
		status = template_fail(r, REBUS_UNSUPPORTED, "writing a %s, whose text is an address", template_type(v));
	}
done:
	return status;
}

rebus_status template_repr(template_run *r, value v, buf *out)
{
	rebus_status status = REBUS_OK;
	char text[40];
	TRY(template_step(r, 1));
	TRY(deeper(r));
	switch (v.kind) {
	case VALUE_UNDEFINED:
		buf_text(out, "Undefined");
		break;
	case VALUE_NONE:
		buf_text(out, "None");
		break;
	case VALUE_BOOL:
		buf_text(out, v.as.flag ? "True" : "False");
		break;
	case VALUE_INT:
		buf_format(out, "%lld", (long long)v.as.integer);
		break;
	case VALUE_REAL:
		template_real_repr(v.as.real, text);
		buf_text(out, text);
		break;
	case VALUE_TEXT:
		TRY(template_step(r, v.as.text->size / 16));
		if (v.as.text->safe)
			buf_text(out, "Markup(");
		repr_string(v.as.text, out);
		if (v.as.text->safe)
			buf_byte(out, ')');
		break;
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_RANGE:
	case VALUE_KEYS:
	case VALUE_VALUES:
	case VALUE_ITEMS:
		TRY(repr_seq(r, v, out));
		break;
	case VALUE_DICT:
		TRY(repr_map(r, v.as.map, out));
		break;
	default:
		TRY(repr_other(r, v, out));
	}
	r->depth--;
	if (out->failed) /* a value that holds itself many times over must end */
		TRY(template_fail(r, out->failed, "the text is longer than %zu bytes", out->limit));
done:
	return status;
}

rebus_status template_str(template_run *r, value v, buf *out)
{
	rebus_status status = REBUS_OK;
	if (v.kind == VALUE_TEXT) {
		TRY(template_step(r, v.as.text->size / 256));
		buf_add(out, v.as.text->data, v.as.text->size);
	} else if (v.kind != VALUE_UNDEFINED) {
		TRY(template_repr(r, v, out));
	}
	if (out->failed == REBUS_LIMIT)
		TRY(template_fail(r, REBUS_LIMIT, "the text is longer than %zu bytes", out->limit));
	TRY(buf_check(out, r->err, "rendered text"));
done:
	return status;
}

rebus_status template_str_value(template_run *r, value v, value *out)
{
	rebus_status status = REBUS_OK;
	buf b;
	if (v.kind == VALUE_TEXT) {
		*out = v;
		return REBUS_OK;
	}
	buf_init(&b, r->scratch->from, r->limits.output);
	TRY(template_str(r, v, &b));
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ JSON */
static void write_string(const template_string *s, bool ascii, buf *out)
{
	static const char letters[] = "\"\\\n\r\t\f\b", names[] = "\"\\nrtfb";
	buf_byte(out, '"');
	for (size_t i = 0; i < s->size;) {
		uint32_t cp;
		size_t n = utf8_get(s->data + i, s->size - i, &cp);
		const char *known = cp && cp < 0x80 ? strchr(letters, (int)cp) : NULL;
		if (known)
			buf_format(out, "\\%c", names[known - letters]);
		else if (cp < 0x20 || (ascii && cp >= 0x7F && cp < 0x10000))
			buf_format(out, "\\u%04x", (unsigned)cp);
		else if (ascii && cp >= 0x10000)
			buf_format(out, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((cp - 0x10000) >> 10)), (unsigned)(0xDC00 + (cp & 0x3FF)));
		else
			buf_add(out, s->data + i, n);
		i += n;
	}
	buf_byte(out, '"');
}

static void write_real(double x, buf *out)
{
	char text[40];
	template_real_repr(x, text);
	buf_text(out, isnan(x) ? "NaN" : isinf(x) ? (x < 0 ? "-Infinity" : "Infinity") : text);
}

static void write_newline(const template_json *how, int level, buf *out)
{
	if (!how->pretty)
		return;
	buf_byte(out, '\n');
	for (int i = 0; i < level && !out->failed; i++)
		buf_add(out, how->indent->data, how->indent->size);
}

static rebus_status write_any(template_run *r, value v, const template_json *how, int level, buf *out);

static rebus_status write_list(template_run *r, const template_list_body *l, const template_json *how, int level, buf *out)
{
	rebus_status status = REBUS_OK;
	buf_byte(out, '[');
	for (size_t i = 0; i < l->count; i++) {
		if (i)
			buf_add(out, how->item->data, how->item->size);
		write_newline(how, level + 1, out);
		TRY(write_any(r, l->at[i], how, level + 1, out));
	}
	if (l->count)
		write_newline(how, level, out);
	buf_byte(out, ']');
done:
	return status;
}

/* A key is a text in JSON, whatever it was. */
static rebus_status write_key(template_run *r, value key, const template_json *how, buf *out)
{
	rebus_status status = REBUS_OK;
	if (key.kind == VALUE_TEXT) {
		write_string(key.as.text, how->ascii, out);
	} else if (key.kind == VALUE_NONE || key.kind == VALUE_BOOL || key.kind == VALUE_INT || key.kind == VALUE_REAL) {
		buf_byte(out, '"');
		TRY(write_any(r, key, how, 0, out));
		buf_byte(out, '"');
	} else {
		status = template_fail(r, REBUS_FORMAT, "keys must be str, int, float, bool or None, not %s", template_type(key));
	}
done:
	return status;
}

static rebus_status write_map(template_run *r, const template_map *m, const template_json *how, int level, buf *out)
{
	rebus_status status = REBUS_OK;
	value order = {.kind = VALUE_MISSING};
	if (how->sorted && m->count) {
		TRY(template_seq_new(r, VALUE_LIST, m->count, &order));
		for (size_t i = 0; i < m->count; i++)
			TRY(template_seq_add(r, order, m->at[i].key));
		TRY(template_sort(r, order.as.list->at, NULL, m->count, false));
	}
	buf_byte(out, '{');
	for (size_t i = 0; i < m->count; i++) {
		template_pair *pair = &m->at[i];
		if (how->sorted)
			TRY(template_map_find(r, m, order.as.list->at[i], &pair));
		if (i)
			buf_add(out, how->item->data, how->item->size);
		write_newline(how, level + 1, out);
		TRY(write_key(r, pair->key, how, out));
		buf_add(out, how->key->data, how->key->size);
		TRY(write_any(r, pair->item, how, level + 1, out));
	}
	if (m->count)
		write_newline(how, level, out);
	buf_byte(out, '}');
done:
	return status;
}

static rebus_status write_any(template_run *r, value v, const template_json *how, int level, buf *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_step(r, 1));
	TRY(deeper(r));
	switch (v.kind) {
	case VALUE_NONE:
		buf_text(out, "null");
		break;
	case VALUE_BOOL:
		buf_text(out, v.as.flag ? "true" : "false");
		break;
	case VALUE_INT:
		buf_format(out, "%lld", (long long)v.as.integer);
		break;
	case VALUE_REAL:
		write_real(v.as.real, out);
		break;
	case VALUE_TEXT:
		TRY(template_step(r, v.as.text->size / 16));
		write_string(v.as.text, how->ascii, out);
		break;
	case VALUE_LIST:
	case VALUE_TUPLE:
		TRY(write_list(r, v.as.list, how, level, out));
		break;
	case VALUE_DICT:
		TRY(write_map(r, v.as.map, how, level, out));
		break;
	default:
		TRY(template_fail(r, REBUS_FORMAT, "Object of type %s is not JSON serializable", template_type(v)));
	}
	r->depth--;
	if (out->failed)
		TRY(template_fail(r, out->failed, "the JSON is longer than %zu bytes", out->limit));
done:
	return status;
}

rebus_status template_to_json(template_run *r, value v, const template_json *how, buf *out)
{
	return write_any(r, v, how, 0, out);
}
