/*
 * unicode.c - classes, lower case, normal forms and repair of UTF-8; see unicode.h. The only file that includes utf8proc.
 *
 * Normal forms. The reference's tables end with Unicode 9: code points assigned since are plain there, they neither
 * decompose nor compose nor change place. A plain code point is a starter that composes with nothing, so nothing is
 * reordered or composed across it. The text may therefore be cut at such code points and the stretches between them be
 * normalised one by one:
 *
 *     "e\u0301 \U00011938 a\u0323"  ─►  nfc("e\u0301 ")  \U00011938  nfc(" a\u0323")
 *
 * utf8proc keeps its tables stable for older code points (the Unicode normalisation policy), so the result does not
 * depend on the version found on the system.
 */
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

bool unicode_in(const unicode_class *c, uint32_t cp)
{
	size_t low = 0, high = c->count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (cp < c->ranges[mid].first)
			high = mid;
		else if (cp > c->ranges[mid].last)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

static bool in_later(const char *name, uint32_t cp)
{
	for (const unicode_class *c = unicode_later; c->name; c++)
		if (strncmp(c->name, name, strlen(name)) == 0 && unicode_in(c, cp))
			return true;
	return false;
}

bool unicode_white(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool unicode_numeric(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= '0' && cp <= '9';
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO ||
	       unicode_in(&unicode_numeric_later, cp);
}

bool unicode_punctuated(uint32_t cp)
{
	return unicode_in(&unicode_punctuation, cp);
}

bool unicode_mark(uint32_t cp)
{
	return cp >= 0x300 && unicode_in(&unicode_marks, cp);
}

bool unicode_word(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') || cp == '_';
	if (cp == 0x200C || cp == 0x200D)
		return true;
	if (cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || (cp >= 0xBC && cp <= 0xBE)) /* word characters for Oniguruma only */
		return false;
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_PC:
		return true;
	default:
		return in_later("L", cp) || in_later("M", cp) || in_later("Nd", cp) || in_later("word", cp);
	}
}

uint32_t unicode_kind(uint32_t cp)
{
	switch (utf8proc_category((utf8proc_int32_t)cp)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
		return UNICODE_LETTER;
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
	case UTF8PROC_CATEGORY_NO:
		return UNICODE_NUMBER;
	case UTF8PROC_CATEGORY_CN: /* or assigned later than the library knows */
		return in_later("L", cp) ? UNICODE_LETTER : in_later("N", cp) ? UNICODE_NUMBER : UNICODE_OTHER;
	default:
		return unicode_white(cp) ? UNICODE_BLANK : UNICODE_OTHER;
	}
}

size_t unicode_lower(uint32_t cp, uint32_t out[2])
{
	if (cp < 0x80) {
		out[0] = cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
		return 1;
	}
	if (cp == 0x130) {
		out[0] = 'i';
		out[1] = 0x307;
		return 2;
	}
	for (const unicode_shift *s = unicode_lower_later; s->first; s++)
		if (cp >= s->first && cp <= s->last) {
			out[0] = (uint32_t)((int32_t)cp + s->distance);
			return 1;
		}
	out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
	return 1;
}

unicode_break unicode_break_class(uint32_t cp)
{
	static const unsigned char classes[] = {
		[UTF8PROC_BOUNDCLASS_CR] = BREAK_CR,           [UTF8PROC_BOUNDCLASS_LF] = BREAK_LF,
		[UTF8PROC_BOUNDCLASS_CONTROL] = BREAK_CONTROL, [UTF8PROC_BOUNDCLASS_EXTEND] = BREAK_JOIN,
		[UTF8PROC_BOUNDCLASS_L] = BREAK_L,             [UTF8PROC_BOUNDCLASS_V] = BREAK_V,
		[UTF8PROC_BOUNDCLASS_T] = BREAK_T,             [UTF8PROC_BOUNDCLASS_LV] = BREAK_LV,
		[UTF8PROC_BOUNDCLASS_LVT] = BREAK_LVT,         [UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR] = BREAK_REGIONAL,
		[UTF8PROC_BOUNDCLASS_SPACINGMARK] = BREAK_JOIN, [UTF8PROC_BOUNDCLASS_ZWJ] = BREAK_JOIN,
	};
	if (cp >= 0x20 && cp < 0x7F)
		return BREAK_OTHER;
	if (unicode_in(&unicode_prepended, cp))
		return BREAK_PREPEND;
	if (unicode_in(&unicode_pictographs, cp))
		return BREAK_PICTOGRAPH;
	if (unicode_in(&unicode_joins_later, cp))
		return BREAK_JOIN;
	if (cp == 0x2065 || (cp >= 0xFFF0 && cp <= 0xFFF8)) /* not assigned, ignorable */
		return BREAK_CONTROL;
	size_t c = utf8proc_get_property((utf8proc_int32_t)cp)->boundclass;
	return c < COUNT_OF(classes) ? (unicode_break)classes[c] : BREAK_OTHER;
}

/* ------------------------------------------------------------------------------------------------ normal forms */
static rebus_status normal_stretch(unicode_form form, const char *s, size_t n, buf *out, rebus_error *err)
{
	static const int options[] = {
		[UNICODE_NFC] = UTF8PROC_COMPOSE,
		[UNICODE_NFD] = UTF8PROC_DECOMPOSE,
		[UNICODE_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
		[UNICODE_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
	};
	bool ascii = true;
	for (size_t i = 0; i < n && ascii; i++)
		ascii = (unsigned char)s[i] < 0x80;
	if (ascii) {
		buf_add(out, s, n);
		return REBUS_OK;
	}
	utf8proc_uint8_t *made = NULL;
	utf8proc_ssize_t size = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &made,
	                                     (utf8proc_option_t)(options[form] | UTF8PROC_STABLE));
	if (size < 0) {
		free(made);
		return size == UTF8PROC_ERROR_NOMEM ? error_memory(err, "a normal form") :
		                                      error_set(err, REBUS_LIMIT, "normal form: %s", utf8proc_errmsg(size));
	}
	buf_add(out, made, (size_t)size);
	free(made); /* utf8proc allocates by itself */
	return REBUS_OK;
}

rebus_status unicode_normal(unicode_form form, const char *s, size_t n, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool compat = form == UNICODE_NFKC || form == UNICODE_NFKD;
	size_t from = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t k = utf8_get(s + i, n - i, &cp);
		if (cp >= 0x300 && (unicode_in(&unicode_form_later, cp) || (compat && unicode_in(&unicode_compat_later, cp)))) {
			TRY(normal_stretch(form, s + from, i - from, out, err));
			buf_add(out, s + i, k);
			from = i + k;
		}
		i += k;
	}
	TRY(normal_stretch(form, s + from, n - from, out, err));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ repair */
/* Bytes of the longest prefix of s that begins a valid sequence (whole: it is one); at least 1. */
static size_t sequence_part(const unsigned char *s, size_t n, bool *whole)
{
	unsigned char c = s[0], low = 0x80, high = 0xBF;
	*whole = true;
	if (c < 0x80)
		return 1;
	size_t need = c >= 0xC2 && c <= 0xDF ? 2 : c >= 0xE0 && c <= 0xEF ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
	*whole = false;
	if (!need)
		return 1;
	if (c == 0xE0)
		low = 0xA0;
	else if (c == 0xED)
		high = 0x9F;
	else if (c == 0xF0)
		low = 0x90;
	else if (c == 0xF4)
		high = 0x8F;
	size_t i = 1;
	for (; i < need && i < n && s[i] >= low && s[i] <= high; i++) {
		low = 0x80;
		high = 0xBF;
	}
	*whole = i == need;
	return i;
}

void unicode_repair(const char *s, size_t n, buf *out)
{
	size_t from = 0;
	for (size_t i = 0; i < n;) {
		bool whole;
		size_t k = sequence_part((const unsigned char *)s + i, n - i, &whole);
		if (!whole) {
			buf_add(out, s + from, i - from);
			buf_add(out, "\xEF\xBF\xBD", 3);
			from = i + k;
		}
		i += k;
	}
	buf_add(out, s + from, n - from);
}

size_t unicode_unfinished(const char *s, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)s[n - back];
		if ((c & 0xC0) == 0x80)
			continue;
		bool whole;
		size_t k = sequence_part((const unsigned char *)s + n - back, back, &whole);
		size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
		return !whole && k == back && c >= 0xC2 && c <= 0xF4 && back < need ? back : 0;
	}
	return 0;
}
