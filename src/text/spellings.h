/*
 * spellings.h - what bytes each token adds to a text, sorted, for what walks over all tokens at once (constrained output).
 *
 *   id ─► token as the model spells it ─► decoder's steps, this token alone ─► bytes
 *
 *   "\u0120{"     ByteLevel          " {"          "\u2581a"  Replace, Fuse, Strip   " a", but "a" as the first of a text
 *   "<0xC3>"      ByteFallback       C3            "##ing"    WordPiece              "ing"
 *
 * Together the bytes are what text_decode makes of the ids, without its clean-up of blanks. Decoders whose tokens depend on
 * what comes after them (a suffix that is a blank but for the last token, a Strip on the right, Replace in what was joined) are refused.
 */
#ifndef REBUS_SPELLINGS_H
#define REBUS_SPELLINGS_H

#include "text/tokenizer.h"

enum { SPELLING_MOST = 1024 }; /* bytes of one token; longer ones, empty ones and special ones are left out */

typedef struct spelling {
	uint32_t at; /* in bytes */
	int32_t id;
	uint16_t size, common; /* common: bytes it shares with the one before it */
} spelling;

typedef struct spellings {
	const char *bytes;
	const spelling *list; /* [count], by bytes, then by id */
	size_t count;
} spellings;

/* first: as the first token of a text. */
rebus_status text_spellings(const tokenizer *t, arena *a, bool first, spellings *out, rebus_error *err);
bool text_spells_first(const tokenizer *t); /* is the first token spelled otherwise than later ones? */

#endif
