/*
 * prompt.h - what a caller put in, and what a run reads of it.
 *
 *   prompt: pieces in order (texts, pictures), maybe in messages
 *      │ encoders                                    │ models that generate
 *      ▼                                             ▼
 *   every picture, every text a sequence          one sequence: template ─► ids ─► placeholders become picture rows
 */
#ifndef REBUS_PROMPT_H
#define REBUS_PROMPT_H

#include "models/model.h"
#include "tokens/tokens.h"
#include "vision/position_grid.h"

typedef struct piece {
	bool image;
	const char *text; /* of `size` bytes, NUL after it */
	size_t size;
	const char *pair; /* second segment of a text, of pair_size bytes, NUL after it; NULL: none */
	size_t pair_size;
	int32_t picture; /* number in pictures */
	int32_t message; /* number in roles */
} piece;

typedef struct grid_picture { /* a processed picture and its patch grid */
	pixels px;
	int32_t rows, columns;
	int32_t padded; /* patches that the reference fills it up to; 0: it does not */
	float *noise;  /* [rows * columns] where patches are dropped at random: those of the least noise stay; else NULL */
	int32_t *kept; /* [rows * columns] patches by noise, the first `seen` of which stay; NULL: all do */
	int32_t seen;
	const int32_t *place;  /* [seen] patches in whose places the kept ones stand; NULL: each in its own */
	const uint8_t *masked; /* [rows * columns] patches whose pixels are zeros; NULL: none */
	bool resample; /* positions are interpolated, by this method: */
	grid_method positions;
} grid_picture;

struct rebus_prompt {
	const rebus_model *m;
	bool listed; /* templates get every content as a list of pieces, also where all is text */
	arena mem;
	rebus_prompt_options options;
	grid_method positions;
	piece *pieces;
	grid_picture *pictures;
	const char **roles; /* message 0 is the plain one, role NULL */
	int32_t piece_count, piece_room, picture_count, picture_room, role_count, role_room;
};

/* One sequence of text to run: ids as the model reads them; picture rows have the placeholder's id. */
typedef struct sequence {
	int32_t *ids;
	int32_t *picture; /* [count]: which of the prompt's pictures the row belongs to, -1 none */
	int32_t *segment; /* [count]; NULL: all 0 */
	int32_t count;
} sequence;

/* rebus_prompt_new with an allocator of its own */
rebus_status prompt_new(const rebus_model *m, const rebus_prompt_options *options, const rebus_allocator *from, rebus_prompt **out, rebus_error *err);
/* The one sequence of a model that generates; rows of picture p are feature_rows[p] many. */
rebus_status prompt_sequence(const rebus_prompt *p, arena *a, const int64_t *feature_rows, sequence *out, rebus_error *err);
/* The same without the words that ask for an answer: the conversation as it stands. */
rebus_status prompt_conversation(const rebus_prompt *p, arena *a, const int64_t *feature_rows, sequence *out, rebus_error *err);
/* A text of an encoder, cut to the longest the tokenizer states, unless whole. */
rebus_status prompt_text_ids(const rebus_prompt *p, arena *a, const piece *t, bool whole, sequence *out, rebus_error *err);
int32_t prompt_texts(const rebus_prompt *p);
/* rebus_prompt_pair, of a text that may hold NUL characters. */
rebus_status prompt_pair(rebus_prompt *p, const char *text, size_t size, rebus_error *err);
/* Adds values that are processed already ([channels, height, width], copied). padded: of grid_picture. */
rebus_status prompt_add_pixels(rebus_prompt *p, const float *data, int32_t channels, int32_t height, int32_t width, int32_t padded, rebus_error *err);
/* A decoded picture; read, not kept. */
rebus_status prompt_picture(rebus_prompt *p, const picture *in, const char *name, rebus_error *err);
/* Drops patches by this noise instead of our own, [rows * columns] of picture `number`. */
rebus_status prompt_mask(rebus_prompt *p, int32_t number, const float *noise, rebus_error *err);
/* How many rows the features of a picture have, by the family's pick rule. */
int64_t prompt_feature_rows(const rebus_model *m, const grid_picture *g);

#endif
