/*
 * grammar_string.c - JSON strings: of any characters, of a length, of a pattern or format, other than some names.
 *
 *   letter   any character but " \ and controls | \" \\ \/ \b \f \n \r \t | \uXXXX, but for surrogates
 *
 * Formats are those of RFC 3339 and RFC 4122, with days that exist: 2024-02-29, but no 2023-02-29.
 */
#include <stdio.h>
#include <string.h>

#include "generate/grammar_inside.h"

enum { CONTROLS = 0x20 };

static const char short_names[CONTROLS] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

static void add_escape(rules *r, grammar_node *either, uint32_t cp)
{
	char text[8] = {'\\', cp < CONTROLS ? short_names[cp] : (char)cp};
	if (!text[1])
		snprintf(text, sizeof text, "\\u%04X", (unsigned)cp);
	rules_add(r, either, rules_text(r, text, strlen(text)));
}

grammar_node *string_set(rules *r, const code_range *list, size_t count)
{
	grammar_node *either = rules_list(r, NODE_EITHER);
	buf plain;
	buf_init(&plain, r->mem->from, GRAMMAR_TEXT_MOST);
	for (size_t i = 0; i < count; i++) {
		uint32_t first = list[i].first, last = list[i].last;
		for (uint32_t cp = first; cp <= last && cp < CONTROLS; cp++)
			add_escape(r, either, cp);
		if (first <= '"' && last >= '"')
			add_escape(r, either, '"');
		if (first <= '\\' && last >= '\\')
			add_escape(r, either, '\\');
		first = first < CONTROLS ? CONTROLS : first;
		static const uint32_t parts[][2] = {{CONTROLS, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0x10FFFF}};
		for (size_t k = 0; k < COUNT_OF(parts); k++)
			ranges_add(&plain, first > parts[k][0] ? first : parts[k][0], last < parts[k][1] ? last : parts[k][1]);
	}
	ranges_normal(&plain);
	if (plain.failed)
		r->failed = plain.failed;
	if (plain.size)
		rules_add(r, either, rules_set(r, ranges_data(&plain), ranges_count(&plain)));
	buf_free(&plain);
	return either;
}

static grammar_node *quoted(schema *x, grammar_node *inside)
{
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	rules_add(x->r, list, rules_text(x->r, "\"", 1));
	rules_add(x->r, list, inside);
	rules_add(x->r, list, rules_text(x->r, "\"", 1));
	return list;
}

static grammar_node *any_letter(schema *x)
{
	if (x->letter < 0) {
		x->letter = rules_new(x->r, "any character", 13);
		rules_define(x->r, x->letter, schema_regex(x,
			"[^\"\\\\\\x00-\\x1F]|\\\\([\"\\\\/bfnrt]|u([0-9A-CE-Fa-ce-f][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}))", false));
	}
	return rules_call(x->r, x->letter);
}

grammar_node *schema_string(schema *x)
{
	if (x->string < 0) {
		x->string = rules_new(x->r, "any string", 10);
		rules_define(x->r, x->string, quoted(x, rules_repeat(x->r, any_letter(x), 0, UINT32_MAX)));
	}
	return rules_call(x->r, x->string);
}

grammar_node *string_literal(schema *x, const char *s, size_t n)
{
	buf text;
	buf_init(&text, x->r->mem->from, 8 * GRAMMAR_TEXT_MOST);
	buf_json(&text, s, n);
	grammar_node *node = text.failed ? NULL : rules_text(x->r, text.data, text.size);
	if (text.failed)
		x->r->failed = text.failed;
	buf_free(&text);
	return node;
}

/* ------------------------------------------------------------------------------------------------ formats */
#define YEAR "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
#define FOURS "(0[48]|[2468][048]|[13579][26])"
#define DATE                                                                                                                                 \
	"(" YEAR "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}" FOURS "|" FOURS "00)-02-29)"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])"
#define HEX(n) "[0-9a-f]{" n "}"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

static const char *const formats[][2] = {
	{"date", DATE},
	{"time", TIME},
	{"date-time", DATE "T" TIME},
	{"uuid", HEX("8") "-" HEX("4") "-" HEX("4") "-" HEX("4") "-" HEX("12")},
	{"ipv4", OCTET "\\." OCTET "\\." OCTET "\\." OCTET},
};

static rebus_status format_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	for (size_t i = 0; i < COUNT_OF(formats); i++)
		if (json_is(j, formats[i][0])) {
			*out = quoted(x, schema_regex(x, formats[i][1], false));
			return REBUS_OK;
		}
	const char *name = json_text(j, NULL);
	return name ? schema_refuse(x, where, "this format", "one of date, time, date-time, uuid, ipv4") : schema_wrong(x, where, "format", "a text");
}

static rebus_status pattern_read_node(schema *x, const json *j, const char *where, grammar_node **out)
{
	size_t n;
	const char *text = json_text(j, &n);
	grammar_node *inside = NULL;
	if (!text)
		return schema_wrong(x, where, "pattern", "a text");
	rebus_status status = grammar_expression(x->r, text, n, true, true, where, &inside, x->err);
	if (!status)
		*out = quoted(x, inside);
	return status;
}

rebus_status string_read(schema *x, const json *j, const char *where, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	const json *pattern = json_get(j, "pattern"), *format = json_get(j, "format");
	bool length = json_has(j, "minLength") || json_has(j, "maxLength");
	uint32_t min = 0, max = UINT32_MAX;
	if ((pattern != NULL) + (format != NULL) + length > 1)
		return schema_refuse(x, where, "more than one of pattern, format and lengths", "one of them");
	if (pattern)
		return pattern_read_node(x, pattern, where, out);
	if (format)
		return format_read(x, format, where, out);
	TRY(schema_count(x, j, "minLength", where, &min));
	TRY(schema_count(x, j, "maxLength", where, &max));
	if (length)
		*out = max < min ? rules_set(x->r, NULL, 0) : quoted(x, rules_repeat(x->r, any_letter(x), min, max));
	else
		*out = schema_string(x);
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ names that are taken */
/* What a name that has begun like all of these may go on with, up to its closing quote. Characters are taken whole. */
static grammar_node *other_than(schema *x, const text_file *names, size_t count, size_t at, buf *scratch, int depth)
{
	rules *r = x->r;
	grammar_node *either = rules_list(r, NODE_EITHER);
	bool ends = false; /* one of them ends here */
	size_t mark = scratch->size;
	if (depth > GRAMMAR_DEPTH_MOST) {
		r->failed = REBUS_LIMIT;
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		uint32_t cp;
		if (names[i].size <= at) {
			ends = true;
			continue;
		}
		utf8_get(names[i].data + at, names[i].size - at, &cp);
		ranges_add(scratch, cp, cp);
	}
	if (!ends)
		rules_add(r, either, rules_text(r, "\"", 1));
	size_t many = (scratch->size - mark) / sizeof(code_range);
	buf others;
	buf_init(&others, r->mem->from, GRAMMAR_TEXT_MOST);
	for (size_t i = 0; i < many; i++) {
		uint32_t cp = ((const code_range *)(const void *)(scratch->data + mark))[i].first;
		ranges_add(&others, cp, cp);
	}
	ranges_add(&others, 0, CONTROLS - 1);
	ranges_add(&others, '"', '"');
	ranges_add(&others, '\\', '\\');
	ranges_invert(&others);
	grammar_node *free_end = rules_list(r, NODE_SEQUENCE);
	rules_add(r, free_end, rules_set(r, ranges_data(&others), ranges_count(&others)));
	rules_add(r, free_end, rules_repeat(r, schema_regex(x, "[^\"\\\\\\x00-\\x1F]", false), 0, UINT32_MAX));
	rules_add(r, free_end, rules_text(r, "\"", 1));
	rules_add(r, either, free_end);
	buf_free(&others);
	for (size_t from = 0; from < count;) { /* the names are sorted: those with one next character stand together */
		size_t end = from + 1, n;
		uint32_t cp, other;
		if (names[from].size <= at) {
			from++;
			continue;
		}
		n = utf8_get(names[from].data + at, names[from].size - at, &cp);
		while (end < count && names[end].size > at && utf8_get(names[end].data + at, names[end].size - at, &other) && other == cp)
			end++;
		grammar_node *list = rules_list(r, NODE_SEQUENCE);
		if (cp >= CONTROLS && cp != '"' && cp != '\\') { /* others cannot stand in a name without an escape, and there are none */
			rules_add(r, list, rules_text(r, names[from].data + at, n));
			rules_add(r, list, other_than(x, names + from, end - from, at + n, scratch, depth + 1));
			rules_add(r, either, list);
		}
		from = end;
	}
	scratch->size = mark;
	return either;
}

grammar_node *string_other_than(schema *x, const text_file *names, size_t count)
{
	buf scratch;
	buf_init(&scratch, x->r->mem->from, GRAMMAR_TEXT_MOST * sizeof(code_range));
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	rules_add(x->r, list, rules_text(x->r, "\"", 1));
	rules_add(x->r, list, other_than(x, names, count, 0, &scratch, 0));
	if (scratch.failed)
		x->r->failed = scratch.failed;
	buf_free(&scratch);
	return list;
}
