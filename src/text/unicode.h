/*
 * unicode.h - the few questions about code points that tokenizers ask, answered as the reference answers them.
 *
 * The reference (the tokenizers library) asks Rust's char methods and crates with Unicode tables of different ages; the
 * tables of utf8proc and PCRE2 on a given system have yet other ages. unicode_tables.c holds the differences.
 */
#ifndef REBUS_UNICODE_H
#define REBUS_UNICODE_H

#include "base/base.h"

typedef struct {
	uint32_t first, last;
} unicode_range;
typedef struct {
	const char *name; /* of a general category or script, where one is meant */
	const unicode_range *ranges;
	size_t count;
} unicode_class;
typedef struct {
	uint32_t first, last;
	int32_t distance;
} unicode_shift;

extern const unicode_class unicode_later[]; /* what a PCRE2 of Unicode 14 lacks, by category; ends with name NULL */
extern const unicode_class unicode_numeric_later, unicode_punctuation, unicode_marks, unicode_form_later, unicode_compat_later;
extern const unicode_class unicode_dropped, unicode_ideographs, unicode_nonspacing;
extern const unicode_class unicode_joins_later, unicode_spacing, unicode_prepended, unicode_pictographs, unicode_linkers,
	unicode_consonants;
extern const unicode_shift unicode_lower_later[]; /* ends with first 0 */

typedef enum { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD } unicode_form;

bool unicode_white(uint32_t cp);       /* White_Space: 25 code points, without U+180E */
bool unicode_numeric(uint32_t cp);     /* Nd, Nl, No */
bool unicode_punctuated(uint32_t cp);  /* ASCII punctuation and P* */
bool unicode_mark(uint32_t cp);        /* combining mark */
bool unicode_word(uint32_t cp);        /* \w of Rust's regex crate */
/* \p{L}, \p{N}, \s, or none of them, of Oniguruma; one bit. */
enum { UNICODE_LETTER = 1, UNICODE_NUMBER = 2, UNICODE_BLANK = 4, UNICODE_OTHER = 8, UNICODE_ANY = 15 };
uint32_t unicode_kind(uint32_t cp);
bool unicode_in(const unicode_class *c, uint32_t cp);
size_t unicode_lower(uint32_t cp, uint32_t out[2]); /* char::to_lowercase: context-free, U+0130 gives two */

/* How a character takes part in grapheme clusters. */
typedef enum {
	BREAK_OTHER,
	BREAK_CR,
	BREAK_LF,
	BREAK_CONTROL,
	BREAK_JOIN, /* extend, spacing mark or joiner */
	BREAK_PREPEND,
	BREAK_PICTOGRAPH,
	BREAK_REGIONAL,
	BREAK_L, /* Hangul */
	BREAK_V,
	BREAK_T,
	BREAK_LV,
	BREAK_LVT,
} unicode_break;
unicode_break unicode_break_class(uint32_t cp);
/* Bytes of the extended grapheme cluster that begins s; n > 0 (unicode_cluster.c). */
size_t unicode_cluster(const char *s, size_t n);

/* Appends the normal form. s is valid UTF-8. */
rebus_status unicode_normal(unicode_form form, const char *s, size_t n, buf *out, rebus_error *err);
/* Appends s with every maximal invalid part replaced by one U+FFFD, as String::from_utf8_lossy and bytes.decode do. */
void unicode_repair(const char *s, size_t n, buf *out);
/* Length of the last unfinished UTF-8 sequence at the end of s: 0 to 3 bytes that more bytes could complete. */
size_t unicode_unfinished(const char *s, size_t n);

#endif
