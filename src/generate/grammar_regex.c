/*
 * grammar_regex.c - regular expressions as rules, for `--regex` and for "pattern" of JSON schemas.
 *
 *   a b    abc   (ab)  (?:ab)  (?<n>ab)   a|b   .   [a-z\d]  [^x]   \d \w \s \D \W \S   \n \t \xHH \uHHHH \u{H}   a? a* a+ a{2} a{2,} a{2,4}
 *
 * A lazy ? behind a repetition changes nothing here: both fit the same texts. What is no regular language or depends on what
 * stands around (back references, look-around, \b, flags, possessive repetitions) is refused by name.
 *
 * Engines differ in what \d, \w, \s and . mean: only in ASCII (ECMA-262) or in all scripts (Python). Here each stands for what
 * all of them accept: \d is 0-9, and \D what is a digit to none. So an answer fits the expression whoever judges it.
 */
#include <string.h>

#include "generate/grammar.h"
#include "generate/grammar_inside.h"
#include "text/unicode.h"

typedef struct reading {
	rules *r;
	const char *s, *where;
	size_t n, at;
	int depth;
	bool quoted;
	rebus_error *err;
} reading;

static rebus_status fail(const reading *x, const char *expected)
{
	return error_set(x->err, REBUS_MISUSE, "%s: at byte %zu of %.60s: expected %s", x->where, x->at, x->s, expected);
}

static rebus_status refuse(const reading *x, const char *what)
{
	return error_set(x->err, REBUS_UNSUPPORTED, "%s: %s at byte %zu of %.60s: not supported, expected a regular expression without it", x->where,
		what, x->at, x->s);
}

static char peek(const reading *x)
{
	return x->at < x->n ? x->s[x->at] : 0;
}

static char peek_at(const reading *x, size_t ahead)
{
	return x->at + ahead < x->n ? x->s[x->at + ahead] : 0;
}

/* ------------------------------------------------------------------------------------------------ sets */
static grammar_node *set_node(reading *x, buf *list)
{
	ranges_normal(list);
	if (list->failed)
		x->r->failed = list->failed;
	return x->quoted ? string_set(x->r, ranges_data(list), ranges_count(list)) : rules_set(x->r, ranges_data(list), ranges_count(list));
}

/* Digits, word characters, blanks: what every engine takes for one, or (wide) what any does. */
static void add_kind(char kind, bool wide, buf *list)
{
	static const code_range digits[] = {{'0', '9'}}, words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}, blanks[] = {{'\t', '\r'}, {' ', ' '}};
	static const code_range all_blanks[] = {{'\t', '\r'}, {0x1C, 0x20}, {0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x180E, 0x180E}, {0x2000, 0x200A},
		{0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
	const code_range *from = kind == 'd' ? digits : kind == 'w' ? words : wide ? all_blanks : blanks;
	size_t n = kind == 'd' ? COUNT_OF(digits) : kind == 'w' ? COUNT_OF(words) : wide ? COUNT_OF(all_blanks) : COUNT_OF(blanks);
	for (size_t i = 0; i < n; i++)
		ranges_add(list, from[i].first, from[i].last);
	for (uint32_t cp = 0x80; wide && kind != 's' && cp <= 0x10FFFF; cp++) {
		uint32_t first = cp;
		while (cp <= 0x10FFFF && (unicode_numeric(cp) || (kind == 'w' && unicode_word(cp))))
			cp++;
		if (cp > first)
			ranges_add(list, first, cp - 1);
	}
}

/* \d or \D and so on. wide: the set is to be taken away from all characters. */
static void add_class(char letter, bool wide, buf *list)
{
	bool other = letter >= 'A' && letter <= 'Z';
	buf own;
	if (!other) {
		add_kind(letter, wide, list);
		return;
	}
	buf_init(&own, list->from, list->limit);
	add_kind((char)(letter - 'A' + 'a'), !wide, &own);
	ranges_invert(&own);
	if (own.size)
		buf_add(list, own.data, own.size);
	if (own.failed)
		list->failed = own.failed;
	buf_free(&own);
}

static rebus_status read_hex(reading *x, size_t digits, uint32_t *out)
{
	bool braced = digits == 4 && peek(x) == '{';
	size_t n = 0;
	*out = 0;
	x->at += braced;
	for (; braced ? peek(x) != '}' && n < 7 : n < digits; n++, x->at++) {
		char c = peek(x);
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return fail(x, "a hexadecimal digit");
		*out = *out << 4 | (uint32_t)d;
	}
	x->at += braced;
	if (*out > 0x10FFFF || (*out >= 0xD800 && *out <= 0xDFFF) || !n)
		return fail(x, "the number of a character");
	return REBUS_OK;
}

/* After a backslash: a class (*letter) or a character. */
static rebus_status read_escape(reading *x, bool in_set, char *letter, uint32_t *cp)
{
	static const char names[] = "nrtfv0", values[] = "\n\r\t\f\v";
	char c = peek(x);
	*letter = 0;
	if (!c)
		return fail(x, "something after the backslash");
	if (strchr("dDwWsS", c)) {
		*letter = c;
		x->at++;
		return REBUS_OK;
	}
	if (c == 'x' || c == 'u' || c == 'U') {
		x->at++;
		return read_hex(x, c == 'x' ? 2 : c == 'u' ? 4 : 8, cp);
	}
	if (c == 'b' && in_set) {
		*cp = '\b';
	} else if (strchr(names, c)) {
		if (c == '0' && peek_at(x, 1) >= '0' && peek_at(x, 1) <= '9')
			return refuse(x, "an octal number");
		*cp = (unsigned char)values[strchr(names, c) - names];
	} else if (c >= '1' && c <= '9') {
		return refuse(x, "a back reference");
	} else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
		char what[16] = {'\\', c};
		return refuse(x, what);
	} else {
		x->at += utf8_get(x->s + x->at, x->n - x->at, cp);
		return REBUS_OK;
	}
	x->at++;
	return REBUS_OK;
}

static rebus_status read_member(reading *x, char *letter, uint32_t *cp)
{
	*letter = 0;
	if (x->at >= x->n)
		return fail(x, "a closing ]");
	if (peek(x) == '\\') {
		x->at++;
		return read_escape(x, true, letter, cp);
	}
	x->at += utf8_get(x->s + x->at, x->n - x->at, cp);
	return REBUS_OK;
}

static rebus_status read_set(reading *x, grammar_node **out)
{
	rebus_status status = REBUS_OK;
	buf list;
	buf_init(&list, x->r->mem->from, GRAMMAR_TEXT_MOST);
	x->at++;
	bool other = peek(x) == '^';
	x->at += other;
	if (peek(x) == ']') {
		status = refuse(x, "a set that begins with ]");
		goto done;
	}
	while (peek(x) != ']') {
		char letter, end;
		uint32_t first = 0, last;
		if (peek(x) == '[' && peek_at(x, 1) == ':') {
			status = refuse(x, "a named set, [:");
			goto done;
		}
		TRY(read_member(x, &letter, &first));
		last = first;
		if (!letter && peek(x) == '-' && peek_at(x, 1) && peek_at(x, 1) != ']') {
			x->at++;
			TRY(read_member(x, &end, &last));
			if (end || last < first) {
				status = fail(x, "a range that goes up");
				goto done;
			}
		}
		if (letter)
			add_class(letter, other, &list);
		else
			ranges_add(&list, first, last);
	}
	x->at++;
	if (other)
		ranges_invert(&list);
	TRY(buf_check(&list, x->err, "an expression"));
	*out = set_node(x, &list);
done:
	buf_free(&list);
	return status;
}

static grammar_node *class_node(reading *x, char letter)
{
	buf list;
	buf_init(&list, x->r->mem->from, GRAMMAR_TEXT_MOST);
	if (letter == '.') { /* line ends of all engines */
		ranges_add(&list, '\n', '\n');
		ranges_add(&list, '\r', '\r');
		ranges_add(&list, 0x2028, 0x2029);
		ranges_invert(&list);
	} else {
		add_class(letter, false, &list);
	}
	grammar_node *node = set_node(x, &list);
	buf_free(&list);
	return node;
}

static grammar_node *char_node(reading *x, uint32_t cp)
{
	code_range one = {cp, cp};
	return x->quoted ? string_set(x->r, &one, 1) : rules_set(x->r, &one, 1);
}

/* ------------------------------------------------------------------------------------------------ groups, repetitions */
static rebus_status read_either(reading *x, bool anywhere, grammar_node **out);

/* After the opening bracket: what it is. */
static rebus_status read_group_kind(reading *x)
{
	if (peek(x) != '?')
		return REBUS_OK;
	char a = peek_at(x, 1), b = peek_at(x, 2);
	if (a == ':') {
		x->at += 2;
		return REBUS_OK;
	}
	if (a == '=' || a == '!' || (a == '<' && (b == '=' || b == '!')))
		return refuse(x, "look-around");
	if (a != '<' && !(a == 'P' && b == '<'))
		return refuse(x, a == '>' ? "an atomic group" : a == 'P' ? "a reference to a group" : "flags or a group of another kind");
	while (peek(x) && peek(x) != '>')
		x->at++;
	if (peek(x) != '>')
		return fail(x, "> after the name of a group");
	x->at++;
	return REBUS_OK;
}

static rebus_status read_atom(reading *x, grammar_node **out)
{
	rebus_status status;
	uint32_t cp = 0;
	char letter;
	switch (peek(x)) {
	case '(':
		x->at++;
		if (++x->depth > GRAMMAR_DEPTH_MOST)
			return error_set(x->err, REBUS_LIMIT, "%s: more than %d groups within each other", x->where, GRAMMAR_DEPTH_MOST);
		status = read_group_kind(x);
		if (!status)
			status = read_either(x, false, out);
		if (!status && peek(x) != ')')
			status = fail(x, "a closing )");
		x->at++;
		x->depth--;
		return status;
	case '[':
		return read_set(x, out);
	case '.':
		x->at++;
		*out = class_node(x, '.');
		return REBUS_OK;
	case '\\':
		x->at++;
		status = read_escape(x, false, &letter, &cp);
		if (!status)
			*out = letter ? class_node(x, letter) : char_node(x, cp);
		return status;
	case '*':
	case '+':
	case '?':
		return fail(x, "something to repeat");
	case '^':
	case '$':
		return refuse(x, "^ or $ within the expression");
	default:
		x->at += utf8_get(x->s + x->at, x->n - x->at, &cp);
		*out = char_node(x, cp);
		return REBUS_OK;
	}
}

static bool digit_at(const reading *x, size_t ahead)
{
	return peek_at(x, ahead) >= '0' && peek_at(x, ahead) <= '9';
}

static uint32_t read_count(reading *x)
{
	uint64_t v = 0;
	for (; digit_at(x, 0); x->at++)
		v = v <= GRAMMAR_STATES_MOST ? 10 * v + (uint64_t)(peek(x) - '0') : v;
	return v > GRAMMAR_STATES_MOST ? GRAMMAR_STATES_MOST + 1 : (uint32_t)v;
}

static rebus_status read_repeat(reading *x, grammar_node **atom)
{
	char c = peek(x);
	uint32_t min = c == '+', max = c == '?' ? 1 : UINT32_MAX;
	if (c == '{' && digit_at(x, 1)) {
		x->at++;
		min = max = read_count(x);
		if (peek(x) == ',') {
			x->at++;
			max = digit_at(x, 0) ? read_count(x) : UINT32_MAX;
		}
		if (peek(x) != '}')
			return fail(x, "}");
		if (max < min)
			return fail(x, "no less at most than at least");
		if (min > GRAMMAR_STATES_MOST || (max > GRAMMAR_STATES_MOST && max != UINT32_MAX))
			return error_set(x->err, REBUS_LIMIT, "%s: more than %d times", x->where, GRAMMAR_STATES_MOST);
	} else if (c != '?' && c != '*' && c != '+') {
		return REBUS_OK;
	}
	x->at++;
	if (peek(x) == '+')
		return refuse(x, "a possessive repetition");
	x->at += peek(x) == '?';
	if (peek(x) == '*' || peek(x) == '?' || peek(x) == '+' || (peek(x) == '{' && digit_at(x, 1)))
		return fail(x, "a group around what is repeated twice");
	*atom = rules_repeat(x->r, *atom, min, max);
	return REBUS_OK;
}

static grammar_node *anything(reading *x)
{
	static const code_range all = {0, 0x10FFFF};
	return rules_repeat(x->r, x->quoted ? string_set(x->r, &all, 1) : rules_set(x->r, &all, 1), 0, UINT32_MAX);
}

static rebus_status read_sequence(reading *x, bool anywhere, grammar_node **out)
{
	grammar_node *list = rules_list(x->r, NODE_SEQUENCE);
	bool outermost = !x->depth, begun = outermost && peek(x) == '^', ended = false;
	x->at += begun;
	if (anywhere && !begun)
		rules_add(x->r, list, anything(x));
	while (x->at < x->n && peek(x) != '|' && peek(x) != ')') {
		grammar_node *atom = NULL;
		if (outermost && peek(x) == '$' && (x->at + 1 == x->n || peek_at(x, 1) == '|')) {
			x->at++;
			ended = true;
			break;
		}
		rebus_status status = read_atom(x, &atom);
		if (!status)
			status = read_repeat(x, &atom);
		if (status)
			return status;
		rules_add(x->r, list, atom);
	}
	if (anywhere && !ended)
		rules_add(x->r, list, anything(x));
	*out = list;
	return REBUS_OK;
}

static rebus_status read_either(reading *x, bool anywhere, grammar_node **out)
{
	grammar_node *list = rules_list(x->r, NODE_EITHER);
	for (;;) {
		grammar_node *one = NULL;
		rebus_status status = read_sequence(x, anywhere, &one);
		if (status)
			return status;
		rules_add(x->r, list, one);
		if (peek(x) != '|')
			break;
		x->at++;
	}
	*out = list;
	return REBUS_OK;
}

rebus_status grammar_expression(rules *r, const char *s, size_t n, bool quoted, bool anywhere, const char *where, grammar_node **out, rebus_error *err)
{
	reading x = {.r = r, .s = s, .where = where, .n = n, .quoted = quoted, .err = err};
	if (memchr(s, 0, n))
		return error_set(err, REBUS_MISUSE, "%s: holds a NUL, expected \\0", where);
	rebus_status status = read_either(&x, anywhere, out);
	if (!status && x.at < n)
		status = fail(&x, "no closing ) here");
	return status ? status : rules_check(r, err);
}

rebus_status grammar_read_regex(rules *r, const char *s, size_t n, rebus_error *err)
{
	grammar_node *body = NULL;
	int32_t root = rules_new(r, "expression", 10);
	rebus_status status = grammar_expression(r, s, n, false, false, "expression", &body, err);
	if (!status)
		rules_define(r, root, body);
	return status;
}
