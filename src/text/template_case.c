/*
 * template_case.c - upper, lower and title case, and the classes of letters, as Python's str has them.
 *
 * One code point maps to one in utf8proc's tables; Unicode's SpecialCasing adds those that become several ("ß" is "SS" in
 * capitals), which are listed here: code point, capitals, title case. U+1F80 ... U+1FAF follow a rule: the capital with a
 * capital iota after it. Sigma at the end of a word has a small letter of its own.
 *
 * template_is_class looks at general categories, where Python looks at derived properties; the two differ for a few hundred
 * code points that are neither letters of an alphabet nor digits.
 */
#include "text/template_inside.h"

#include <utf8proc.h>

static const struct {
	uint16_t from, upper[3], title[3];
} special[] = {
	{0xDF, {0x53, 0x53}, {0x53, 0x73}}, {0x149, {0x2BC, 0x4E}, {0x2BC, 0x4E}}, {0x1F0, {0x4A, 0x30C}, {0x4A, 0x30C}},
	{0x390, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}}, {0x3B0, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
	{0x587, {0x535, 0x552}, {0x535, 0x582}}, {0x1E96, {0x48, 0x331}, {0x48, 0x331}}, {0x1E97, {0x54, 0x308}, {0x54, 0x308}},
	{0x1E98, {0x57, 0x30A}, {0x57, 0x30A}}, {0x1E99, {0x59, 0x30A}, {0x59, 0x30A}}, {0x1E9A, {0x41, 0x2BE}, {0x41, 0x2BE}},
	{0x1F50, {0x3A5, 0x313}, {0x3A5, 0x313}}, {0x1F52, {0x3A5, 0x313, 0x300}, {0x3A5, 0x313, 0x300}},
	{0x1F54, {0x3A5, 0x313, 0x301}, {0x3A5, 0x313, 0x301}}, {0x1F56, {0x3A5, 0x313, 0x342}, {0x3A5, 0x313, 0x342}},
	{0x1FB2, {0x1FBA, 0x399}, {0x1FBA, 0x345}}, {0x1FB3, {0x391, 0x399}, {0x1FBC}}, {0x1FB4, {0x386, 0x399}, {0x386, 0x345}},
	{0x1FB6, {0x391, 0x342}, {0x391, 0x342}}, {0x1FB7, {0x391, 0x342, 0x399}, {0x391, 0x342, 0x345}},
	{0x1FBC, {0x391, 0x399}, {0x1FBC}}, {0x1FC2, {0x1FCA, 0x399}, {0x1FCA, 0x345}}, {0x1FC3, {0x397, 0x399}, {0x1FCC}},
	{0x1FC4, {0x389, 0x399}, {0x389, 0x345}}, {0x1FC6, {0x397, 0x342}, {0x397, 0x342}},
	{0x1FC7, {0x397, 0x342, 0x399}, {0x397, 0x342, 0x345}}, {0x1FCC, {0x397, 0x399}, {0x1FCC}},
	{0x1FD2, {0x399, 0x308, 0x300}, {0x399, 0x308, 0x300}}, {0x1FD3, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
	{0x1FD6, {0x399, 0x342}, {0x399, 0x342}}, {0x1FD7, {0x399, 0x308, 0x342}, {0x399, 0x308, 0x342}},
	{0x1FE2, {0x3A5, 0x308, 0x300}, {0x3A5, 0x308, 0x300}}, {0x1FE3, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
	{0x1FE4, {0x3A1, 0x313}, {0x3A1, 0x313}}, {0x1FE6, {0x3A5, 0x342}, {0x3A5, 0x342}},
	{0x1FE7, {0x3A5, 0x308, 0x342}, {0x3A5, 0x308, 0x342}}, {0x1FF2, {0x1FFA, 0x399}, {0x1FFA, 0x345}},
	{0x1FF3, {0x3A9, 0x399}, {0x1FFC}}, {0x1FF4, {0x38F, 0x399}, {0x38F, 0x345}}, {0x1FF6, {0x3A9, 0x342}, {0x3A9, 0x342}},
	{0x1FF7, {0x3A9, 0x342, 0x399}, {0x3A9, 0x342, 0x345}}, {0x1FFC, {0x3A9, 0x399}, {0x1FFC}},
	{0xFB00, {0x46, 0x46}, {0x46, 0x66}}, {0xFB01, {0x46, 0x49}, {0x46, 0x69}}, {0xFB02, {0x46, 0x4C}, {0x46, 0x6C}},
	{0xFB03, {0x46, 0x46, 0x49}, {0x46, 0x66, 0x69}}, {0xFB04, {0x46, 0x46, 0x4C}, {0x46, 0x66, 0x6C}},
	{0xFB05, {0x53, 0x54}, {0x53, 0x74}}, {0xFB06, {0x53, 0x54}, {0x53, 0x74}}, {0xFB13, {0x544, 0x546}, {0x544, 0x576}},
	{0xFB14, {0x544, 0x535}, {0x544, 0x565}}, {0xFB15, {0x544, 0x53B}, {0x544, 0x56B}},
	{0xFB16, {0x54E, 0x546}, {0x54E, 0x576}}, {0xFB17, {0x544, 0x53D}, {0x544, 0x56D}},
};

static utf8proc_category_t category(uint32_t cp)
{
	return utf8proc_category((utf8proc_int32_t)cp);
}

static bool is_lower(uint32_t cp)
{
	return utf8proc_islower((utf8proc_int32_t)cp) != 0;
}

static bool is_upper(uint32_t cp)
{
	return utf8proc_isupper((utf8proc_int32_t)cp) != 0;
}

static bool is_title(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_LT;
}

static bool is_cased(uint32_t cp)
{
	return is_lower(cp) || is_upper(cp) || is_title(cp);
}

static bool is_alpha(uint32_t cp)
{
	utf8proc_category_t c = category(cp);
	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

static bool is_digit(uint32_t cp)
{
	return category(cp) == UTF8PROC_CATEGORY_ND || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 ||
	       (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468);
}

static bool is_numeric(uint32_t cp)
{
	utf8proc_category_t c = category(cp);
	return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool template_word(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') || cp == '_';
	return is_alpha(cp) || is_numeric(cp);
}

/* ------------------------------------------------------------------------------------------------ mapping */
static void add_point(buf *b, uint32_t cp)
{
	char out[4];
	buf_add(b, out, utf8_put(cp, out));
}

static void add_points(buf *b, const uint16_t points[3])
{
	for (int i = 0; i < 3 && points[i]; i++)
		add_point(b, points[i]);
}

static void add_upper(buf *b, uint32_t cp, bool title)
{
	if (cp < 0x80) {
		buf_byte(b, cp >= 'a' && cp <= 'z' ? (int)cp - 32 : (int)cp);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(special); i++)
		if (special[i].from == cp) {
			add_points(b, title ? special[i].title : special[i].upper);
			return;
		}
	if (cp >= 0x1F80 && cp <= 0x1FAF && !title) {
		static const uint16_t capitals[] = {0x1F08, 0x1F28, 0x1F68};
		add_point(b, capitals[(cp - 0x1F80) / 16] + (cp & 7));
		add_point(b, 0x399);
		return;
	}
	utf8proc_int32_t one = (utf8proc_int32_t)cp;
	add_point(b, (uint32_t)(title ? utf8proc_totitle(one) : utf8proc_toupper(one)));
}

/* A letter that decides whether a sigma ends a word: those between do not count. */
static bool is_ignorable(uint32_t cp)
{
	utf8proc_category_t c = category(cp);
	return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_LM ||
	       c == UTF8PROC_CATEGORY_SK || cp == '\'' || cp == '.' || cp == ':' || cp == 0xB7 || cp == 0x2019;
}

static bool sigma_is_final(const template_string *s, size_t at, bool before)
{
	uint32_t cp = 0;
	for (size_t i = at + 2; i < s->size;) {
		i += utf8_get(s->data + i, s->size - i, &cp);
		if (!is_ignorable(cp))
			return before && !is_cased(cp);
	}
	return before;
}

/* before: the last letter that counts is cased */
static void add_lower(buf *b, const template_string *s, size_t at, uint32_t cp, bool before)
{
	if (cp == 0x3A3) {
		add_point(b, sigma_is_final(s, at, before) ? 0x3C2 : 0x3C3);
	} else if (cp == 0x130) { /* capital I with a dot keeps the dot */
		add_point(b, 'i');
		add_point(b, 0x307);
	} else if (cp < 0x80) {
		buf_byte(b, cp >= 'A' && cp <= 'Z' ? (int)cp + 32 : (int)cp);
	} else {
		add_point(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
	}
}

/* What jinja2's |title splits words at: hyphen, white space and opening brackets */
static bool starts_word(uint32_t cp)
{
	return cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || template_space(cp);
}

/*
 * CASE_TITLE is str.title (a word starts after what is no letter), CASE_WORDS is |title (after white space and the like),
 * CASE_CAPITAL is str.capitalize, CASE_SWAP is str.swapcase.
 */
rebus_status template_recase(template_run *r, const template_string *s, template_case how, value *out)
{
	rebus_status status = REBUS_OK;
	buf b;
	bool start = true, before = false; /* at the start of a word; after a cased letter */
	uint32_t cp;
	buf_init(&b, r->scratch->from, r->limits.output);
	TRY(template_step(r, s->size / 16));
	for (size_t at = 0; at < s->size;) {
		size_t k = utf8_get(s->data + at, s->size - at, &cp);
		bool capital = how == CASE_UPPER || (how == CASE_SWAP && is_lower(cp)) || (how >= CASE_TITLE && how != CASE_SWAP && start);
		bool small = how != CASE_SWAP || is_upper(cp);
		if (how == CASE_WORDS && starts_word(cp))
			capital = small = false;
		if (capital)
			add_upper(&b, cp, how == CASE_TITLE || how == CASE_CAPITAL);
		else if (small)
			add_lower(&b, s, at, cp, before);
		else
			add_point(&b, cp);
		start = how == CASE_TITLE ? !is_cased(cp) : how == CASE_WORDS ? starts_word(cp) : false;
		before = is_cased(cp) || (before && is_ignorable(cp));
		if (how == CASE_WORDS && start)
			before = false; /* each word is mapped by itself */
		at += k;
	}
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ classes */
static bool is_in_class(uint32_t cp, int which)
{
	switch (which) {
	case CLASS_ALPHA:
		return is_alpha(cp);
	case CLASS_DIGIT:
		return is_digit(cp);
	case CLASS_ALNUM:
		return is_alpha(cp) || is_digit(cp) || is_numeric(cp);
	case CLASS_SPACE:
		return template_space(cp);
	case CLASS_ASCII:
		return cp < 0x80;
	case CLASS_DECIMAL:
		return category(cp) == UTF8PROC_CATEGORY_ND;
	default:
		return is_numeric(cp);
	}
}

/* All letters are of the class and there is one; lower, upper, title: no cased letter is otherwise and there is one. */
bool template_is_class(const template_string *s, int which)
{
	bool any = which == CLASS_ASCII, cased = which == CLASS_LOWER || which == CLASS_UPPER, after = false;
	uint32_t cp;
	for (size_t at = 0; at < s->size;) {
		at += utf8_get(s->data + at, s->size - at, &cp);
		if (cased) {
			bool right = which == CLASS_LOWER ? is_lower(cp) : is_upper(cp);
			if (is_cased(cp) && !right)
				return false;
			any |= right;
		} else if (which == CLASS_TITLE) {
			if ((is_lower(cp) && !after) || (is_upper(cp) && after) || (is_title(cp) && after))
				return false;
			after = is_cased(cp);
			any |= after;
		} else {
			if (!is_in_class(cp, which))
				return false;
			any = true;
		}
	}
	return any;
}
