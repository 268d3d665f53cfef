/* sentencepiece.h - the pieces of a SentencePiece model file and what belongs to them; they point into the file's bytes. */
#ifndef REBUS_SENTENCEPIECE_H
#define REBUS_SENTENCEPIECE_H

#include "text/text_inside.h"

typedef enum { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE } piece_type;
typedef struct {
	text_span text;
	float score;
	piece_type type;
} text_piece_model;
typedef struct {
	const text_piece_model *pieces;
	size_t count;
	bool unigram;       /* trained as such, else as BPE, words or characters */
	bool byte_fallback;
	int64_t ids[3];       /* of the unknown token, the first and the last one; below 0: none */
	text_span named[3];   /* their pieces */
	text_span charsmap; /* n 0: none */
} sentencepiece_model;

/* name is used in messages. Fails with FORMAT, LIMIT or MEMORY. */
rebus_status sentencepiece_read(arena *a, const char *name, const char *s, size_t n, sentencepiece_model *out, rebus_error *err);

#endif
