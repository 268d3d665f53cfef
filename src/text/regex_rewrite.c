/*
 * regex_rewrite.c - Oniguruma's Ruby syntax into PCRE2's; see regex.h.
 *
 * What is rewritten, because the two read it differently:
 *
 *   \s          [\t-\r \x85 \xa0 ...]   White_Space: PCRE2's also has U+180E
 *   \w \d \h    explicit classes        PCRE2 10.42's \w has no marks and all numbers; Oniguruma's \h is a hex digit
 *   [:space:]   explicit classes        also digit, word, punct, xdigit
 *   \b          look-arounds on \w
 *   \p{L}       [\p{L}...]              and what newer Unicode versions added (unicode_tables.c)
 *   \p{Han}     \p{sc:Han}              the script, not the script extensions
 *   x{1,3}+     (?:x{1,3})+             an interval is not possessive in Ruby; ?+ *+ ++ are, in both
 *   x{,3}       x{0,3}
 *   (?m:...)    (?s:...)                Ruby's m lets the dot match a newline; ^ and $ are about lines always
 *   \v \uHHHH   \x0b \x{HHHH}
 *
 * Nested classes, intersections (&&), absent operators and callouts are refused by name. One difference stays: without regard
 * to case Oniguruma also takes one letter for several (ss for the sharp s, fi for the ligature), PCRE2 does not.
 *
 * Reference: Oniguruma 6.9's doc/RE and what the tokenizers library answers for every code point and class.
 */
#include <string.h>

#include "text/regex.h"
#include "text/unicode.h"

enum { GROUPS_MOST = 200 };

#define WHITE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

typedef struct {
	const char *s, *where;
	size_t n, i;
	buf *out;
	size_t groups[GROUPS_MOST], depth; /* where in out each open group starts */
	size_t atom;                       /* where in out the last atom starts */
	rebus_error *err;
} rewrite;

static void add_ranges(rewrite *w, const unicode_class *c)
{
	for (size_t i = 0; i < c->count; i++)
		buf_format(w->out, "\\x{%x}-\\x{%x}", (unsigned)c->ranges[i].first, (unsigned)c->ranges[i].last);
}

/* Everything later whose category begins with name ("L", "Lu"), or that is the script. */
static void add_later(rewrite *w, const char *name, size_t n)
{
	for (const unicode_class *c = unicode_later; c->name; c++)
		if (n <= strlen(c->name) && memcmp(c->name, name, n) == 0 && (n <= 2 ? strlen(c->name) == 2 : n == strlen(c->name)))
			add_ranges(w, c);
}

static void add_digits(rewrite *w)
{
	buf_text(w->out, "\\p{Nd}");
	add_later(w, "Nd", 2);
}

/* Outside a class Oniguruma looks Latin-1 up in a table of its own: superscript digits and fractions are word characters. */
static void add_word(rewrite *w, bool in_class)
{
	buf_text(w->out, "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}");
	if (!in_class)
		buf_text(w->out, "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}");
	add_later(w, "L", 1);
	add_later(w, "M", 1);
	add_later(w, "Nd", 2);
	add_later(w, "word", 4);
}

static rebus_status refuse(rewrite *w, const char *what)
{
	return error_set(w->err, REBUS_UNSUPPORTED, "%s: regular expression: byte %zu: %s", w->where, w->i, what);
}

/* At \p or \P; name becomes what is between the braces, negated tells P or ^. i moves past it. */
static rebus_status property_read(rewrite *w, const char **name, size_t *n, bool *negated)
{
	*negated = w->s[w->i + 1] == 'P';
	size_t at = w->i + 2;
	if (at < w->n && w->s[at] != '{') {
		*name = w->s + at;
		*n = 1;
		w->i = at + 1;
		return REBUS_OK;
	}
	const char *end = at < w->n ? memchr(w->s + at, '}', w->n - at) : NULL;
	if (!end)
		return error_set(w->err, REBUS_FORMAT, "%s: regular expression: byte %zu: \\p without {name}", w->where, w->i);
	*name = w->s + at + 1;
	*n = (size_t)(end - *name);
	if (*n && (*name)[0] == '^') {
		*negated = !*negated;
		++*name;
		--*n;
	}
	w->i = at + 1 + (size_t)(end - (w->s + at));
	return REBUS_OK;
}

static void property_name(rewrite *w, const char *name, size_t n)
{
	if (n > 3 || (n == 3 && memcmp(name, "Any", 3) != 0)) { /* longer than a category: a script */
		static const char *const scripts[] = {"Han", "Hiragana", "Katakana", "Hangul", "Latin", "Greek", "Cyrillic", "Arabic",
		                                      "Hebrew", "Thai", "Devanagari", "Bengali", "Tamil", "Armenian", "Georgian"};
		for (size_t i = 0; i < COUNT_OF(scripts); i++)
			if (text_is(name, n, scripts[i]))
				buf_text(w->out, "sc:");
	}
	buf_add(w->out, name, n);
}

static void property_body(rewrite *w, const char *name, size_t n, bool negated)
{
	buf_text(w->out, negated ? "\\P{" : "\\p{");
	property_name(w, name, n);
	buf_byte(w->out, '}');
	if (!negated)
		add_later(w, name, n);
}

/* \uHHHH: i at the backslash; moves past. False: not four hex digits. */
static bool hex4(rewrite *w)
{
	if (w->n - w->i < 6)
		return false;
	for (size_t k = 2; k < 6; k++)
		if (!memchr("0123456789abcdefABCDEF", w->s[w->i + k], 22))
			return false;
	buf_format(w->out, "\\x{%.4s}", w->s + w->i + 2);
	w->i += 6;
	return true;
}

static rebus_status escape_in_class(rewrite *w)
{
	char c = w->s[w->i + 1];
	bool set = true;
	const char *name;
	size_t n;
	bool negated;
	rebus_status status = REBUS_OK;
	switch (c) {
	case 's':
		buf_text(w->out, WHITE);
		break;
	case 'S':
		buf_text(w->out, "\\S\\x{180e}");
		break;
	case 'd':
		add_digits(w);
		break;
	case 'D':
		buf_text(w->out, "\\P{Nd}");
		break;
	case 'w':
		add_word(w, true);
		break;
	case 'h':
		buf_text(w->out, "0-9a-fA-F");
		break;
	case 'v':
		buf_text(w->out, "\\x0b");
		break;
	case 'p':
	case 'P':
		TRY(property_read(w, &name, &n, &negated));
		property_body(w, name, n, negated);
		w->i -= 2;
		break;
	case 'u':
		if (!hex4(w))
			return error_set(w->err, REBUS_FORMAT, "%s: regular expression: byte %zu: \\u without four digits", w->where, w->i);
		return REBUS_OK;
	case 'W':
	case 'H':
	case 'R':
	case 'X':
	case 'C':
	case 'M':
	case 'c':
	case 'N':
	case 'Q':
	case 'E':
		return refuse(w, "this escape inside a class");
	default:
		set = false;
		buf_add(w->out, w->s + w->i, 2);
		break;
	}
	w->i += 2;
	if (set && w->i + 1 < w->n && w->s[w->i] == '-' && w->s[w->i + 1] != ']') { /* no range can start at a set */
		buf_text(w->out, "\\-");
		w->i++;
	}
done:
	return status;
}

/* [:name:] at i, of the names whose meaning PCRE2 can be told. False: anything else. */
static bool bracket_read(rewrite *w)
{
	static const char *const names[] = {"[:space:]", "[:digit:]", "[:word:]", "[:punct:]", "[:xdigit:]"};
	size_t k = 0;
	while (k < COUNT_OF(names) && (w->n - w->i < strlen(names[k]) || memcmp(w->s + w->i, names[k], strlen(names[k])) != 0))
		k++;
	if (k == COUNT_OF(names))
		return false;
	w->i += strlen(names[k]);
	if (k == 0) {
		buf_text(w->out, WHITE);
	} else if (k == 1) {
		add_digits(w);
	} else if (k == 2) {
		add_word(w, true);
	} else if (k == 3) {
		buf_text(w->out, "\\p{P}\\p{S}");
		add_later(w, "P", 1);
		add_later(w, "S", 1);
	} else {
		buf_text(w->out, "0-9a-fA-F");
	}
	return true;
}

static rebus_status class_read(rewrite *w)
{
	rebus_status status = REBUS_OK;
	buf_byte(w->out, '[');
	w->i++;
	if (w->i < w->n && w->s[w->i] == '^') {
		buf_byte(w->out, '^');
		w->i++;
	}
	for (bool first = true; w->i < w->n; first = false) {
		char c = w->s[w->i];
		if (c == ']' && !first) {
			buf_byte(w->out, ']');
			w->i++;
			return REBUS_OK;
		}
		if (c == '\\' && w->i + 1 < w->n) {
			TRY(escape_in_class(w));
		} else if (c == '[') {
			if (!bracket_read(w))
				return refuse(w, "a class inside a class");
		} else if (c == '&' && w->i + 1 < w->n && w->s[w->i + 1] == '&') {
			return refuse(w, "an intersection of classes");
		} else {
			if (c == ']')
				buf_byte(w->out, '\\');
			buf_byte(w->out, c);
			w->i++;
		}
	}
	status = error_set(w->err, REBUS_FORMAT, "%s: regular expression: a class without its end", w->where);
done:
	return status;
}

static void word_look(rewrite *w, bool boundary)
{
	/* behind and not ahead, or ahead and not behind; \B: both or neither */
	for (int side = 0; side < 2; side++) {
		buf_text(w->out, side ? "|(?<![" : "(?:(?<=[");
		add_word(w, false);
		buf_text(w->out, boundary == !side ? "])(?![" : "])(?=[");
		add_word(w, false);
		buf_text(w->out, "])");
	}
	buf_byte(w->out, ')');
}

static rebus_status escape_read(rewrite *w)
{
	char c = w->s[w->i + 1];
	const char *name;
	size_t n;
	bool negated;
	rebus_status status = REBUS_OK;
	w->atom = w->out->size;
	switch (c) {
	case 's':
	case 'S':
		buf_text(w->out, c == 's' ? "[" WHITE "]" : "[^" WHITE "]");
		break;
	case 'd':
	case 'D':
	case 'w':
	case 'W':
		buf_text(w->out, c == 'd' || c == 'w' ? "[" : "[^");
		if (c == 'd' || c == 'D')
			add_digits(w);
		else
			add_word(w, false);
		buf_byte(w->out, ']');
		break;
	case 'h':
	case 'H':
		buf_text(w->out, c == 'h' ? "[0-9a-fA-F]" : "[^0-9a-fA-F]");
		break;
	case 'v':
		buf_text(w->out, "\\x0b");
		break;
	case 'b':
	case 'B':
		word_look(w, c == 'b');
		break;
	case 'p':
	case 'P':
		TRY(property_read(w, &name, &n, &negated));
		buf_text(w->out, negated ? "[^" : "[");
		property_body(w, name, n, false);
		buf_byte(w->out, ']');
		return REBUS_OK;
	case 'u':
		return hex4(w) ? REBUS_OK : error_set(w->err, REBUS_FORMAT, "%s: regular expression: byte %zu: \\u without four digits",
		                                      w->where, w->i);
	case 'C':
	case 'M':
	case 'c':
	case 'o':
		return refuse(w, "this escape");
	case 'Q':
	case 'E':
		buf_byte(w->out, c);
		break;
	default:
		buf_add(w->out, w->s + w->i, 2);
		break;
	}
	w->i += 2;
done:
	return status;
}

static rebus_status group_open(rewrite *w)
{
	const char *s = w->s + w->i;
	size_t left = w->n - w->i;
	if (left > 1 && s[1] == '*')
		return refuse(w, "a verb");
	if (left > 2 && s[1] == '?' && s[2] == '#') {
		const char *end = memchr(s, ')', left);
		w->i = end ? (size_t)(end - w->s) + 1 : w->n;
		return REBUS_OK;
	}
	size_t k = 1;
	bool only_flags = false;
	size_t at = w->out->size;
	buf_byte(w->out, '(');
	if (left > 2 && s[1] == '?') {
		buf_byte(w->out, '?');
		k = 2;
		while (k < left && strchr("imx-", s[k]) && s[k])
			buf_byte(w->out, s[k] == 'm' ? 's' : s[k]), k++;
		if (k < left && s[k] == ')' && k > 2) {
			only_flags = true;
			buf_byte(w->out, ')');
			k++;
		} else if (k >= left || !strchr(k > 2 ? ":" : ":=!><", s[k]) || !s[k]) {
			return refuse(w, "this kind of group");
		}
	}
	w->i += k;
	if (only_flags)
		return REBUS_OK;
	if (w->depth == GROUPS_MOST)
		return error_set(w->err, REBUS_LIMIT, "%s: regular expression: groups nested deeper than %d", w->where, GROUPS_MOST);
	w->groups[w->depth++] = at;
	return REBUS_OK;
}

/* {n}, {n,}, {,m}, {n,m} at i: writes it, wraps the atom where a plus follows, moves i. False: not an interval. */
static bool interval_read(rewrite *w)
{
	size_t k = w->i + 1, digits[2] = {0, 0};
	char number[2][8];
	int part = 0;
	for (; k < w->n && w->s[k] != '}'; k++) {
		if (w->s[k] == ',' && part == 0)
			part = 1;
		else if (w->s[k] >= '0' && w->s[k] <= '9' && digits[part] < 6)
			number[part][digits[part]++] = w->s[k];
		else
			return false;
	}
	if (k >= w->n || (!digits[0] && !digits[1]))
		return false;
	number[0][digits[0]] = number[1][digits[1]] = 0;
	buf_format(w->out, part ? "{%s,%s}" : "{%s}", digits[0] ? number[0] : "0", number[1]);
	w->i = k + 1;
	if (w->i < w->n && w->s[w->i] == '+' && !w->out->failed && w->atom <= w->out->size) {
		buf_text(w->out, "(?:)"); /* room for the wrapping */
		if (!w->out->failed) {
			char *d = w->out->data;
			memmove(d + w->atom + 3, d + w->atom, w->out->size - 4 - w->atom);
			memcpy(d + w->atom, "(?:", 3);
			d[w->out->size - 1] = ')';
		}
	}
	return true;
}

rebus_status regex_rewrite(const char *pattern, size_t n, const char *where, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	rewrite all = {.s = pattern, .n = n, .where = where, .out = out, .err = err}, *w = &all;
	while (w->i < w->n) {
		char c = w->s[w->i];
		if (c == '\\' && w->i + 1 < w->n) {
			TRY(escape_read(w));
		} else if (c == '[') {
			w->atom = w->out->size;
			TRY(class_read(w));
		} else if (c == '(') {
			TRY(group_open(w));
		} else if (c == '{') {
			if (interval_read(w))
				continue;
			w->atom = w->out->size;
			buf_text(w->out, "\\{");
			w->i++;
		} else {
			if (c == ')' && w->depth)
				w->atom = w->groups[--w->depth];
			else if (!strchr("*+?|", c) && ((unsigned char)c & 0xC0) != 0x80)
				w->atom = w->out->size;
			buf_byte(w->out, c);
			w->i++;
		}
	}
	status = buf_check(w->out, w->err, "a regular expression");
done:
	return status;
}
