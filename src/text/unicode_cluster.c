/*
 * unicode_cluster.c - what a reader sees as one character: extended grapheme clusters (UAX 29, rules GB3 to GB13).
 *
 *   e U+0301      é                 a letter and its mark (GB9)
 *   CR LF         one line end      (GB3); other controls stand alone (GB4, GB5)
 *   ᄒ ᅡ ᆫ         한                Hangul syllables (GB6 to GB8)
 *   ☕ ZWJ 🔥      one picture       (GB11), 🇫 🇷 one flag (GB12)
 *   क ् त         a conjunct        consonants around a linker (GB9c)
 *
 * The Precompiled normalizer asks for them; the data is that of the reference's crate (unicode-segmentation, Unicode 17).
 */
#include "text/unicode.h"

typedef struct {
	unicode_break before;
	bool picture;  /* ... pictograph, then marks, so far */
	bool joiner;   /* picture, and the last was ZWJ */
	bool single;   /* an odd number of regional indicators */
	bool conjunct; /* consonant, then marks that keep a conjunct open */
	bool linker;   /* conjunct, and one of them was a linker */
} cluster_state;

static void pass(cluster_state *s, unicode_break c, uint32_t cp)
{
	bool joins = c == BREAK_JOIN;
	s->joiner = s->picture && cp == 0x200D;
	bool extends = joins && !unicode_in(&unicode_spacing, cp);
	s->picture = c == BREAK_PICTOGRAPH || (s->picture && (extends || cp == 0x200C) && !s->joiner);
	s->single = c == BREAK_REGIONAL && !s->single;
	if (unicode_in(&unicode_consonants, cp)) {
		s->conjunct = true;
		s->linker = false;
	} else if (!extends) {
		s->conjunct = s->linker = false;
	} else {
		s->linker = s->conjunct && (s->linker || unicode_in(&unicode_linkers, cp));
	}
	s->before = c;
}

static bool goes_on(const cluster_state *s, unicode_break next, uint32_t cp)
{
	unicode_break before = s->before;
	if (before == BREAK_CR)
		return next == BREAK_LF;
	if (before == BREAK_CONTROL || before == BREAK_LF || next == BREAK_CONTROL || next == BREAK_CR || next == BREAK_LF)
		return false;
	if (before == BREAK_L && (next == BREAK_L || next == BREAK_V || next == BREAK_LV || next == BREAK_LVT))
		return true;
	if ((before == BREAK_LV || before == BREAK_V) && (next == BREAK_V || next == BREAK_T))
		return true;
	if ((before == BREAK_LVT || before == BREAK_T) && next == BREAK_T)
		return true;
	if (next == BREAK_JOIN || before == BREAK_PREPEND)
		return true;
	if (s->linker && unicode_in(&unicode_consonants, cp))
		return true;
	return (s->joiner && next == BREAK_PICTOGRAPH) || (s->single && next == BREAK_REGIONAL);
}

size_t unicode_cluster(const char *s, size_t n)
{
	uint32_t cp;
	size_t at = utf8_get(s, n, &cp);
	if (at < n && (unsigned char)s[0] >= 0x20 && (unsigned char)s[0] < 0x7F && (unsigned char)s[at] < 0x80)
		return at; /* two of ASCII, the first no control */
	cluster_state state = {0};
	pass(&state, unicode_break_class(cp), cp);
	while (at < n) {
		size_t k = utf8_get(s + at, n - at, &cp);
		unicode_break next = unicode_break_class(cp);
		if (!goes_on(&state, next, cp))
			break;
		pass(&state, next, cp);
		at += k;
	}
	return at;
}
