/*
 * template_lex.c - template text to tokens, and what white space around tags means.
 *
 *   text {%- if x +%} text {{ y -}} text {# comment #} {% raw %} {{ text }} {% endraw %}
 *        └ strips the white space before  └ and after
 *
 * Set as transformers sets it up:
 *   trim_blocks     one newline after %} and #} is dropped (not after }}, nor after +%})
 *   lstrip_blocks   spaces between the start of a line and {% or {# are dropped (not before {{, nor before {%+)
 *   and always      \r\n and \r become \n, and one newline at the very end of the source is dropped.
 *
 * Inside a tag an end mark only counts where all brackets are closed, so {{ {'a': {}} }} is what it seems. Tokens are made
 * on demand. Follows jinja2/lexer.py, whose regular expressions these functions spell out.
 */
#include "text/template_inside.h"

#include <string.h>

rebus_status template_lex_open(template_parser *p, const char *source, size_t size)
{
	char *copy = template_get(&p->pool, size + 1, 1);
	if (!copy)
		return template_no_room(p);
	size_t n = 0;
	for (size_t i = 0; i < size; i++) {
		if (source[i] == '\r' && i + 1 < size && source[i + 1] == '\n')
			continue;
		copy[n++] = source[i] == '\r' ? '\n' : source[i];
	}
	if (n && copy[n - 1] == '\n')
		n--;
	p->source = p->at = copy;
	p->end = copy + n;
	p->lex_line = 1;
	p->line_starting = true;
	return REBUS_OK;
}

static rebus_status lex_string(template_parser *p, const char *data, size_t size, template_token *out)
{
	template_string *s = template_get(&p->pool, 1, sizeof *s);
	if (!s)
		return template_no_room(p);
	*s = (template_string){.data = data, .size = size, .points = SIZE_MAX};
	template_string_ready(s); /* what a program holds is not written to while it is rendered */
	out->text = s;
	return REBUS_OK;
}

/* Moves on to `to`, counting lines. */
static void lex_move(template_parser *p, const char *to)
{
	for (; p->at < to; p->at++)
		p->lex_line += *p->at == '\n';
}

static bool lex_is(const template_parser *p, const char *at, const char *mark)
{
	size_t n = strlen(mark);
	return (size_t)(p->end - at) >= n && memcmp(at, mark, n) == 0;
}

/* The end of a block or comment at `at`: "-%}" and white space, "+%}", or "%}" and one newline. NULL: there is none. */
static const char *lex_end(const template_parser *p, const char *at, const char *mark)
{
	bool strip = at < p->end && *at == '-', keep = at < p->end && *at == '+';
	const char *mark_at = at + (strip || keep);
	if (!lex_is(p, mark_at, mark))
		return NULL;
	at = mark_at + strlen(mark);
	if (strip)
		at += template_space_start(at, (size_t)(p->end - at));
	else if (!keep && at < p->end && *at == '\n')
		at++;
	return at;
}

/* {% raw %} at `at`; returns what is after it. Only -%} strips here, and no newline is dropped after %}. */
static const char *lex_raw_begin(const template_parser *p, const char *at)
{
	if (!lex_is(p, at, "{%"))
		return NULL;
	at += 2;
	if (at < p->end && (*at == '-' || *at == '+'))
		at++;
	at += template_space_start(at, (size_t)(p->end - at));
	if (!lex_is(p, at, "raw"))
		return NULL;
	at += 3;
	at += template_space_start(at, (size_t)(p->end - at));
	if (lex_is(p, at, "%}"))
		return at + 2;
	if (!lex_is(p, at, "-%}"))
		return NULL;
	at += 3;
	return at + template_space_start(at, (size_t)(p->end - at));
}

/* {% endraw %} at `at`; returns what is after it. */
static const char *lex_raw_end(const template_parser *p, const char *at)
{
	if (!lex_is(p, at, "{%"))
		return NULL;
	at += 2;
	if (at < p->end && (*at == '-' || *at == '+'))
		at++;
	at += template_space_start(at, (size_t)(p->end - at));
	if (!lex_is(p, at, "endraw"))
		return NULL;
	at += 6;
	at += template_space_start(at, (size_t)(p->end - at));
	return lex_end(p, at, "%}");
}

/* Text from p->at up to a tag at `tag`, without what the tag's sign and lstrip_blocks take from its end. */
static size_t lex_trimmed(const template_parser *p, const char *tag, bool block)
{
	size_t n = (size_t)(tag - p->at);
	char sign = tag + 2 < p->end ? tag[2] : 0;
	if (sign == '-')
		return n - template_space_end(p->at, n);
	if (sign == '+' || !block)
		return n;
	size_t line = n;
	while (line && p->at[line - 1] != '\n')
		line--;
	if ((line || p->line_starting) && template_space_start(p->at + line, n - line) == n - line)
		return line;
	return n;
}

static rebus_status lex_comment(template_parser *p, const char *tag)
{
	int line = p->lex_line;
	const char *at = tag + 2, *after = NULL;
	if (at < p->end && (*at == '-' || *at == '+'))
		at++;
	for (; at < p->end && !(after = lex_end(p, at, "#}")); at++)
		;
	if (!after)
		return template_fail_at(p->err, REBUS_FORMAT, line, "Missing end of comment tag");
	lex_move(p, after);
	p->line_starting = after[-1] == '\n';
	return REBUS_OK;
}

static rebus_status lex_raw(template_parser *p, const char *body, template_token *out, bool *found)
{
	rebus_status status = REBUS_OK;
	int line = p->lex_line;
	lex_move(p, body);
	p->line_starting = body[-1] == '\n';
	const char *tag = body, *after = NULL;
	for (; tag < p->end && !(after = lex_raw_end(p, tag)); tag++)
		;
	if (!after)
		return template_fail_at(p->err, REBUS_FORMAT, line, "Missing end of raw directive");
	size_t n = lex_trimmed(p, tag, true);
	*out = (template_token){.kind = TOKEN_DATA, .line = p->lex_line};
	if (n)
		TRY(lex_string(p, p->at, n, out));
	*found = n > 0;
	lex_move(p, after);
	p->line_starting = after[-1] == '\n';
done:
	return status;
}

/* Text outside of tags, up to the next tag; then the tag's begin. Comments and raw blocks are passed here. */
static rebus_status lex_root(template_parser *p, template_token *out)
{
	rebus_status status = REBUS_OK;
	for (;;) {
		const char *tag = p->at;
		while (tag < p->end && !(*tag == '{' && tag + 1 < p->end && memchr("%{#", tag[1], 3)))
			tag++;
		bool none = tag >= p->end;
		size_t n = none ? (size_t)(p->end - p->at) : lex_trimmed(p, tag, tag[1] != '{');
		*out = (template_token){.kind = n ? TOKEN_DATA : TOKEN_EOF, .line = p->lex_line};
		if (n)
			TRY(lex_string(p, p->at, n, out));
		lex_move(p, tag);
		p->line_starting = false;
		if (none || n) { /* the tag is met again, with no text before it, on the next call */
			p->line_starting = false;
			return REBUS_OK;
		}
		const char *raw = lex_raw_begin(p, tag);
		bool found = false;
		if (raw) {
			TRY(lex_raw(p, raw, out, &found));
			if (found)
				return REBUS_OK;
		} else if (tag[1] == '#') {
			TRY(lex_comment(p, tag));
		} else {
			out->kind = tag[1] == '%' ? TOKEN_BLOCK_BEGIN : TOKEN_PRINT_BEGIN;
			p->state = tag[1] == '%' ? LEX_BLOCK : LEX_PRINT;
			p->at += 2;
			if (p->at < p->end && (*p->at == '-' || *p->at == '+'))
				p->at++;
			return REBUS_OK;
		}
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ literals */
static int hex_digit(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \xhh, \uhhhh, \Uhhhhhhhh: s is after the letter */
static bool unescape_hex(const char **s, const char *end, int digits, uint32_t *cp)
{
	*cp = 0;
	for (int i = 0; i < digits; i++, (*s)++) {
		int d = *s < end ? hex_digit(**s) : -1;
		if (d < 0)
			return false;
		*cp = *cp << 4 | (uint32_t)d;
	}
	return *cp <= 0x10FFFF;
}

/* One escape, s at the letter after the backslash. Writes at most 12 bytes; returns how many, or 0 with *bad set. */
static size_t unescape(const char **s, const char *end, char *to, const char **bad)
{
	static const char letters[] = "\\'\"abfnrtv", meaning[] = "\\'\"\a\b\f\n\r\t\v";
	uint32_t cp;
	const char *known = memchr(letters, **s, sizeof letters - 1);
	if (known) {
		(*s)++;
		*to = meaning[known - letters];
		return 1;
	}
	char c = **s;
	if (c == 'x' || c == 'u' || c == 'U') {
		(*s)++;
		if (unescape_hex(s, end, c == 'x' ? 2 : c == 'u' ? 4 : 8, &cp))
			return utf8_put(cp, to);
		*bad = "truncated or illegal \\x, \\u or \\U escape";
		return 0;
	}
	if (c >= '0' && c <= '7') {
		cp = 0;
		for (int i = 0; i < 3 && *s < end && **s >= '0' && **s <= '7'; i++, (*s)++)
			cp = cp * 8 + (uint32_t)(**s - '0');
		return utf8_put(cp, to);
	}
	if (c == 'N') {
		*bad = "\\N{...} escapes";
		return 0;
	}
	*to++ = '\\';
	if ((unsigned char)c < 0x80) {
		(*s)++;
		*to = c;
		return 2;
	}
	/* jinja2 turns what is not ASCII into an escape first, whose own backslash this one then quotes */
	static const char hex[] = "0123456789abcdef";
	*s += utf8_get(*s, (size_t)(end - *s), &cp);
	int digits = cp < 0x100 ? 2 : cp < 0x10000 ? 4 : 8;
	*to++ = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
	for (int i = digits - 1; i >= 0; i--)
		*to++ = hex[cp >> (4 * i) & 15];
	return (size_t)digits + 2;
}

static rebus_status lex_quoted(template_parser *p, template_token *out)
{
	const char *s = p->at + 1, *end = s;
	while (end < p->end && *end != *p->at)
		end += *end == '\\' && end + 1 < p->end ? 2 : 1;
	if (end >= p->end)
		return template_fail_at(p->err, REBUS_FORMAT, p->lex_line, "unexpected char %c: the string never ends", *p->at);
	size_t n = 0, room = (size_t)(end - s);
	char *to = template_get(&p->pool, room * 3 + 16, 1); /* a quoted backslash before U+80 or above grows 3 bytes to 6 */
	if (!to)
		return template_no_room(p);
	const char *bad = NULL;
	while (s < end && !bad) {
		if (*s != '\\') {
			to[n++] = *s++;
		} else if (s[1] == '\n') {
			s += 2;
		} else {
			s++;
			n += unescape(&s, end, to + n, &bad);
		}
	}
	if (bad)
		return template_fail_at(p->err, *bad == '\\' ? REBUS_UNSUPPORTED : REBUS_FORMAT, p->lex_line, "%s in a string", bad);
	out->kind = TOKEN_STRING;
	lex_move(p, end + 1);
	return lex_string(p, to, n, out);
}

/* digits with single underlines between them; NULL: none at `at` */
static const char *digits_end(const template_parser *p, const char *at, int base)
{
	const char *last = NULL;
	for (; at < p->end; at++) {
		int d = hex_digit(*at);
		if (d >= 0 && d < base)
			last = at + 1;
		else if (*at != '_' || !last || at[-1] == '_')
			break;
	}
	return last;
}

/* The longest real number at p->at, or NULL: digits with a fraction, an exponent, or both. */
static const char *real_end(const template_parser *p)
{
	const char *whole = digits_end(p, p->at, 10), *at = whole;
	bool real = false;
	if (!whole || (p->at > p->source && p->at[-1] == '.'))
		return NULL;
	if (at + 1 < p->end && *at == '.') {
		const char *fraction = digits_end(p, at + 1, 10);
		if (fraction) {
			at = fraction;
			real = true;
		}
	}
	if (at < p->end && (*at == 'e' || *at == 'E')) {
		const char *e = at + 1;
		if (e < p->end && (*e == '+' || *e == '-'))
			e++;
		e = digits_end(p, e, 10);
		if (e) {
			at = e;
			real = true;
		}
	}
	return real ? at : NULL;
}

static rebus_status lex_number(template_parser *p, template_token *out)
{
	const char *end = real_end(p);
	if (end) {
		out->kind = TOKEN_REAL;
		if (!template_read_real(p->at, (size_t)(end - p->at), &out->real))
			return template_fail_at(p->err, REBUS_FORMAT, p->lex_line, "a number that cannot be read");
		p->at = end;
		return REBUS_OK;
	}
	int base = 10;
	if (*p->at == '0') {
		int mark = p->at + 1 < p->end ? p->at[1] | 0x20 : 0;
		int want = mark == 'b' ? 2 : mark == 'o' ? 8 : mark == 'x' ? 16 : 0;
		const char *at = p->at + 2;
		if (want && at < p->end && *at == '_')
			at++;
		end = want ? digits_end(p, at, want) : NULL;
		base = end ? want : 1; /* 1: nothing but zeros may follow a zero */
	}
	if (!end)
		end = digits_end(p, p->at, base);
	bool too_big = false;
	out->kind = TOKEN_INT;
	if (base > 1 && !template_read_int(p->at, (size_t)(end - p->at), base, &out->integer, &too_big))
		return template_fail_at(p->err, too_big ? REBUS_LIMIT : REBUS_FORMAT, p->lex_line, "an integer of more than 64 bits");
	p->at = end;
	return REBUS_OK;
}

static const char *name_end(const template_parser *p)
{
	const char *at = p->at;
	while (at < p->end) {
		uint32_t cp;
		size_t n = utf8_get(at, (size_t)(p->end - at), &cp);
		if (!template_word(cp))
			break;
		at += n;
	}
	return at;
}

/* ------------------------------------------------------------------------------------------------ operators */
static const struct {
	char text[3];
	uint8_t kind;
} operators[] = { /* longer ones first */
	{"//", TOKEN_FLOORDIV}, {"**", TOKEN_POW}, {"==", TOKEN_EQ}, {"!=", TOKEN_NE}, {">=", TOKEN_GE}, {"<=", TOKEN_LE},
	{"+", TOKEN_ADD}, {"-", TOKEN_SUB}, {"/", TOKEN_DIV}, {"*", TOKEN_MUL}, {"%", TOKEN_MOD}, {"~", TOKEN_TILDE},
	{"[", TOKEN_LBRACKET}, {"]", TOKEN_RBRACKET}, {"(", TOKEN_LPAREN}, {")", TOKEN_RPAREN}, {"{", TOKEN_LBRACE},
	{"}", TOKEN_RBRACE}, {">", TOKEN_GT}, {"<", TOKEN_LT}, {"=", TOKEN_ASSIGN}, {".", TOKEN_DOT}, {":", TOKEN_COLON},
	{"|", TOKEN_PIPE}, {",", TOKEN_COMMA}, {";", TOKEN_SEMICOLON},
};

static rebus_status lex_bracket(template_parser *p, char c)
{
	if (c == '(' || c == '[' || c == '{') {
		if (p->brace_count == TEMPLATE_BRACES)
			return template_fail_at(p->err, REBUS_LIMIT, p->lex_line, "more than %d open brackets", TEMPLATE_BRACES);
		p->braces[p->brace_count++] = c == '(' ? ')' : c == '[' ? ']' : '}';
	} else if (c == ')' || c == ']' || c == '}') {
		if (!p->brace_count)
			return template_fail_at(p->err, REBUS_FORMAT, p->lex_line, "unexpected '%c'", c);
		char want = p->braces[--p->brace_count];
		if (want != c)
			return template_fail_at(p->err, REBUS_FORMAT, p->lex_line, "unexpected '%c', expected '%c'", c, want);
	}
	return REBUS_OK;
}

static rebus_status lex_operator(template_parser *p, template_token *out)
{
	rebus_status status = REBUS_OK;
	for (size_t i = 0; i < COUNT_OF(operators); i++)
		if (lex_is(p, p->at, operators[i].text)) {
			if (!operators[i].text[1])
				TRY(lex_bracket(p, *p->at));
			out->kind = operators[i].kind;
			p->at += strlen(operators[i].text);
			return REBUS_OK;
		}
	status = template_fail_at(p->err, REBUS_FORMAT, p->lex_line, "unexpected char '%c'", *p->at);
done:
	return status;
}

/* The end mark of the tag we are in, if it is here and all brackets are closed. */
static bool lex_tag_end(template_parser *p, template_token *out)
{
	const char *after = NULL;
	if (p->brace_count)
		return false;
	if (p->state == LEX_BLOCK) {
		after = lex_end(p, p->at, "%}");
	} else if (lex_is(p, p->at, "}}")) {
		after = p->at + 2;
	} else if (lex_is(p, p->at, "-}}")) {
		after = p->at + 3;
		after += template_space_start(after, (size_t)(p->end - after));
	}
	if (!after)
		return false;
	out->kind = p->state == LEX_BLOCK ? TOKEN_BLOCK_END : TOKEN_PRINT_END;
	p->state = LEX_ROOT;
	lex_move(p, after);
	p->line_starting = after[-1] == '\n';
	return true;
}

rebus_status template_lex_next(template_parser *p, template_token *out)
{
	rebus_status status = REBUS_OK;
	if (p->state == LEX_ROOT)
		return lex_root(p, out);
	*out = (template_token){.kind = TOKEN_EOF, .line = p->lex_line};
	if (lex_tag_end(p, out))
		return REBUS_OK;
	lex_move(p, p->at + template_space_start(p->at, (size_t)(p->end - p->at)));
	out->line = p->lex_line;
	if (p->at >= p->end || lex_tag_end(p, out))
		return REBUS_OK;
	const char *name = name_end(p);
	if (*p->at >= '0' && *p->at <= '9') {
		TRY(lex_number(p, out));
	} else if (name > p->at) {
		out->kind = TOKEN_NAME;
		TRY(lex_string(p, p->at, (size_t)(name - p->at), out));
		p->at = name;
	} else if (*p->at == '\'' || *p->at == '"') {
		TRY(lex_quoted(p, out));
	} else {
		TRY(lex_operator(p, out));
	}
done:
	return status;
}

const char *template_token_name(const template_token *t, char room[48])
{
	static const char *const names[] = {[TOKEN_EOF] = "end of template", [TOKEN_DATA] = "template data / text",
		[TOKEN_PRINT_BEGIN] = "begin of print statement", [TOKEN_PRINT_END] = "end of print statement",
		[TOKEN_BLOCK_BEGIN] = "begin of statement block", [TOKEN_BLOCK_END] = "end of statement block",
		[TOKEN_STRING] = "string", [TOKEN_INT] = "integer", [TOKEN_REAL] = "float"};
	if (t->kind == TOKEN_NAME) {
		size_t n = t->text->size < 47 ? t->text->size : 47;
		memcpy(room, t->text->data, n);
		room[n] = 0;
		return room;
	}
	for (size_t i = 0; i < COUNT_OF(operators); i++)
		if (operators[i].kind == t->kind)
			return operators[i].text;
	return names[t->kind];
}
