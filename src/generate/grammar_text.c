/*
 * grammar_text.c - grammars as llama.cpp's users write them (GBNF).
 *
 *   root   ::= item ("," " "? item)*     # the whole answer; a rule is a name, ::= and what it stands for
 *   item   ::= [a-zà-ÿ]{1,12} | number
 *   number ::= "-"? ("0" | [1-9] [0-9]*)
 *
 *   "text"      escapes \" \\ \n \r \t \xHH \uHHHH \UHHHHHHHH        x y       one after the other
 *   [a-z_]      a character of these; [^...] any other               x | y     either
 *   .           any character                                        x? x* x+ x{3} x{1,} x{,4} x{1,4}   repeated
 *   (...)       a group; inside it line ends are blanks              # ...     to the end of the line
 *
 * A rule ends with its line, unless that ends with ::= or | or the next one begins with |. Characters are code points, so
 * a grammar can only make valid UTF-8. Reference: llama.cpp, grammars/README.md. Its token references (<think>, <[1000]>) are
 * refused: a text is what fits here, whatever tokens it is made of.
 */
#include <string.h>

#include "generate/grammar.h"

enum { NAME_SLOTS = 2 * GRAMMAR_RULES_MOST };

typedef struct reading {
	rules *r;
	const char *s;
	size_t n, at, line;
	int depth;
	uint32_t *names; /* [NAME_SLOTS] rules by name, plus 1; 0: free */
	rebus_error *err;
} reading;

static rebus_status fail(const reading *x, const char *expected)
{
	if (x->at >= x->n)
		return error_set(x->err, REBUS_MISUSE, "grammar: line %zu: the end, expected %s", x->line, expected);
	uint32_t cp;
	size_t size = utf8_get(x->s + x->at, x->n - x->at, &cp);
	return error_set(x->err, REBUS_MISUSE, "grammar: line %zu: %.*s, expected %s", x->line, (int)size, cp == '\n' ? "line end" : x->s + x->at, expected);
}

static char peek(const reading *x)
{
	return x->at < x->n ? x->s[x->at] : 0;
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Blanks and comments; lines: line ends as well. */
static void skip(reading *x, bool lines)
{
	while (x->at < x->n) {
		char c = x->s[x->at];
		if (c == '#') {
			while (x->at < x->n && x->s[x->at] != '\n' && x->s[x->at] != '\r')
				x->at++;
		} else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
			x->line += c == '\n';
			x->at++;
		} else {
			return;
		}
	}
}

static rebus_status read_name(reading *x, size_t *from, size_t *size)
{
	*from = x->at;
	while (name_char(peek(x)))
		x->at++;
	*size = x->at - *from;
	return *size ? REBUS_OK : fail(x, "the name of a rule");
}

/* The rule of that name, which may be defined later. */
static int32_t find_rule(reading *x, size_t from, size_t size)
{
	uint64_t hash = 0;
	for (size_t i = 0; i < size; i++)
		hash = bits_mix(hash ^ (unsigned char)x->s[from + i]);
	size_t at = (size_t)hash % NAME_SLOTS;
	for (; x->names[at]; at = (at + 1) % NAME_SLOTS) {
		const char *name = rules_at(x->r, (int32_t)x->names[at] - 1)->name;
		if (strlen(name) == size && !memcmp(name, x->s + from, size))
			return (int32_t)x->names[at] - 1;
	}
	int32_t made = rules_new(x->r, x->s + from, size);
	x->names[at] = (uint32_t)(made + 1);
	return made;
}

/* ------------------------------------------------------------------------------------------------ characters */
static rebus_status read_hex(reading *x, int digits, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < digits; i++, x->at++) {
		char c = peek(x);
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return fail(x, "a hexadecimal digit");
		*out = *out << 4 | (uint32_t)d;
	}
	if (!*out || *out > 0x10FFFF || (*out >= 0xD800 && *out <= 0xDFFF))
		return error_set(x->err, REBUS_MISUSE, "grammar: line %zu: U+%X cannot be in a text", x->line, (unsigned)*out);
	return REBUS_OK;
}

static rebus_status read_char(reading *x, uint32_t *out)
{
	static const char names[] = "nrt\"\\[]-^/", values[] = "\n\r\t\"\\[]-^/";
	if (peek(x) != '\\') {
		x->line += peek(x) == '\n';
		x->at += utf8_get(x->s + x->at, x->n - x->at, out);
		return REBUS_OK;
	}
	x->at++;
	char c = peek(x);
	const char *known = c ? strchr(names, c) : NULL;
	if (!known && c != 'x' && c != 'u' && c != 'U')
		return fail(x, "one of n r t \" \\ [ ] - ^ / x u U after a backslash");
	x->at++;
	if (known) {
		*out = (unsigned char)values[known - names];
		return REBUS_OK;
	}
	return read_hex(x, c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
}

static rebus_status read_text(reading *x, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	buf text;
	buf_init(&text, x->r->mem->from, GRAMMAR_TEXT_MOST);
	buf_add(&text, "", 0);
	x->at++;
	while (peek(x) != '"') {
		uint32_t cp;
		char bytes[4];
		if (x->at >= x->n || peek(x) == '\n') {
			status = fail(x, "a closing \"");
			goto done;
		}
		TRY(read_char(x, &cp));
		buf_add(&text, bytes, utf8_put(cp, bytes));
	}
	x->at++;
	TRY(buf_check(&text, x->err, "a grammar"));
	*out = rules_text(x->r, text.data, text.size);
done:
	buf_free(&text);
	return status;
}

static rebus_status read_set(reading *x, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	buf list;
	buf_init(&list, x->r->mem->from, GRAMMAR_TEXT_MOST);
	x->at++;
	bool other = peek(x) == '^';
	x->at += other;
	while (peek(x) != ']') {
		uint32_t first, last;
		if (x->at >= x->n) {
			status = fail(x, "a closing ]");
			goto done;
		}
		TRY(read_char(x, &first));
		last = first;
		if (peek(x) == '-' && x->at + 1 < x->n && x->s[x->at + 1] != ']') {
			x->at++;
			TRY(read_char(x, &last));
		}
		if (last < first) {
			status = error_set(x->err, REBUS_MISUSE, "grammar: line %zu: a range from U+%04X down to U+%04X, expected one that goes up", x->line,
				(unsigned)first,
				(unsigned)last);
			goto done;
		}
		ranges_add(&list, first, last);
	}
	x->at++;
	if (other)
		ranges_invert(&list);
	TRY(buf_check(&list, x->err, "a grammar"));
	*out = rules_set(x->r, ranges_data(&list), ranges_count(&list));
done:
	buf_free(&list);
	return status;
}

/* ------------------------------------------------------------------------------------------------ rules */
static rebus_status read_either(reading *x, bool nested, grammar_node **out);

static rebus_status read_count(reading *x, uint32_t *out)
{
	uint64_t v = 0;
	if (peek(x) < '0' || peek(x) > '9')
		return fail(x, "a number");
	for (; peek(x) >= '0' && peek(x) <= '9'; x->at++)
		v = v < GRAMMAR_STATES_MOST ? 10 * v + (uint64_t)(peek(x) - '0') : v;
	if (v > GRAMMAR_STATES_MOST)
		return error_set(x->err, REBUS_LIMIT, "grammar: line %zu: more than %d times", x->line, GRAMMAR_STATES_MOST);
	*out = (uint32_t)v;
	return REBUS_OK;
}

/* What may stand behind an item, any number of times. */
static rebus_status read_repeats(reading *x, grammar_node **item)
{
	for (;;) {
		char c = peek(x);
		uint32_t min = c == '+', max = c == '?' ? 1 : UINT32_MAX;
		if (c != '?' && c != '*' && c != '+' && c != '{')
			return REBUS_OK;
		x->at++;
		if (c == '{') {
			rebus_status status = REBUS_OK;
			skip(x, false);
			if (peek(x) != ',')
				status = read_count(x, &min);
			skip(x, false);
			max = min;
			if (!status && peek(x) == ',') {
				x->at++;
				skip(x, false);
				max = UINT32_MAX;
				if (peek(x) != '}')
					status = read_count(x, &max);
				skip(x, false);
			}
			if (!status && peek(x) != '}')
				status = fail(x, "}");
			if (!status && max < min)
				status = error_set(x->err, REBUS_MISUSE, "grammar: line %zu: {%u,%u}: expected no less at most than at least", x->line, min, max);
			if (status)
				return status;
			x->at++;
		}
		*item = rules_repeat(x->r, *item, min, max);
		skip(x, false);
	}
}

static rebus_status read_item(reading *x, grammar_node **out)
{
	static const code_range all = {0, 0x10FFFF};
	rebus_status status = REBUS_OK;
	size_t from, size;
	switch (peek(x)) {
	case '"':
		return read_text(x, out);
	case '[':
		return read_set(x, out);
	case '.':
		x->at++;
		*out = rules_set(x->r, &all, 1);
		return REBUS_OK;
	case '<':
	case '!':
		return error_set(x->err, REBUS_UNSUPPORTED, "grammar: line %zu: a reference to a token (%c): expected texts, sets and rules", x->line, peek(x));
	case '(':
		if (++x->depth > GRAMMAR_DEPTH_MOST)
			return error_set(x->err, REBUS_LIMIT, "grammar: line %zu: more than %d brackets within each other", x->line, GRAMMAR_DEPTH_MOST);
		x->at++;
		skip(x, true);
		status = read_either(x, true, out);
		skip(x, true);
		if (!status && peek(x) != ')')
			status = fail(x, "a closing )");
		x->at++;
		x->depth--;
		return status;
	default:
		status = read_name(x, &from, &size);
		if (!status)
			*out = rules_call(x->r, find_rule(x, from, size));
		return status;
	}
}

static bool item_follows(const reading *x)
{
	char c = peek(x);
	return c && (name_char(c) || strchr("\"[.(<!", c));
}

static rebus_status read_sequence(reading *x, bool nested, grammar_node **out)
{
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	for (skip(x, nested); item_follows(x); skip(x, nested)) {
		grammar_node *item = NULL;
		rebus_status status = read_item(x, &item);
		skip(x, nested);
		if (!status)
			status = read_repeats(x, &item);
		if (status)
			return status;
		rules_add(x->r, list, item);
	}
	*out = list;
	return REBUS_OK;
}

/* Is there a | here, maybe at the beginning of a later line? Then it is passed over. */
static bool bar(reading *x)
{
	reading ahead = *x;
	skip(&ahead, true);
	if (peek(&ahead) != '|')
		return false;
	ahead.at++;
	skip(&ahead, true);
	*x = ahead;
	return true;
}

static rebus_status read_either(reading *x, bool nested, grammar_node **out)
{
	grammar_node *list = rules_list(x->r, NODE_EITHER);
	do {
		grammar_node *one = NULL;
		rebus_status status = read_sequence(x, nested, &one);
		if (status)
			return status;
		rules_add(x->r, list, one);
	} while (bar(x));
	*out = list;
	return REBUS_OK;
}

static rebus_status read_rule(reading *x)
{
	rebus_status status;
	size_t from, size;
	grammar_node *body = NULL;
	TRY(read_name(x, &from, &size));
	int32_t rule = find_rule(x, from, size);
	skip(x, false);
	if (x->n - x->at < 3 || memcmp(x->s + x->at, "::=", 3) != 0) {
		status = fail(x, "::=");
		goto done;
	}
	x->at += 3;
	skip(x, true);
	if (rule >= 0 && rules_at(x->r, rule)->body) {
		status = error_set(x->err, REBUS_MISUSE, "grammar: line %zu: rule %.60s is defined twice", x->line, rules_at(x->r, rule)->name);
		goto done;
	}
	TRY(read_either(x, false, &body));
	rules_define(x->r, rule, body);
	if (x->at < x->n && peek(x) != '\n' && peek(x) != '\r')
		status = fail(x, "the end of the rule");
done:
	return status;
}

rebus_status grammar_read_text(rules *r, const char *s, size_t n, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	reading x = {.r = r, .s = s, .n = n, .line = 1, .err = err};
	x.names = arena_zero(r->mem, NAME_SLOTS, sizeof *x.names);
	if (!x.names)
		return error_memory(err, "a grammar");
	x.s = "root";
	find_rule(&x, 0, 4);
	TRY(rules_check(r, err));
	x.s = s;
	for (skip(&x, true); x.at < n; skip(&x, true)) {
		TRY(read_rule(&x));
		TRY(rules_check(r, err));
	}
	TRY(rules_check(r, err));
	if (!rules_at(r, 0)->body)
		status = error_set(err, REBUS_MISUSE, "grammar: no rule root, expected root ::= ... for the whole answer");
done:
	return status;
}
