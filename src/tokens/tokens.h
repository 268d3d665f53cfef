/*
 * tokens.h - the token table: what a batch is, whatever the model.
 *
 * One row a token, sequences packed one after the other; nothing is padded. Columns say what a row is and where it stands:
 *
 *   row   kind     seq  order  picture  source        t  y  x   1-D
 *   0     LEARNED  0    0      0        0 (class)     .  .  .   0
 *   1     IMAGE    0    1      0        0 (patch)     0  0  0   1
 *   2     IMAGE    0    2      0        1             0  0  1   2
 *   ...
 *   17    TEXT     1    0      -1       464 (id)      .  .  .   0
 *
 * Everything a run needs is a function of the table: layouts (who attends to whom), row maps (where rows come from), angles
 * and position rows. `source` is a token id (TEXT), a row of the patch or feature matrix (IMAGE, VIDEO), or a row of a
 * learned table (LEARNED).
 */
#ifndef REBUS_TOKENS_H
#define REBUS_TOKENS_H

#include "base/base.h"
#include "kernels/kernels.h"

typedef enum { TOKEN_TEXT, TOKEN_IMAGE, TOKEN_VIDEO, TOKEN_LEARNED, TOKEN_PAD, TOKEN_KINDS } token_kind;
const char *tokens_kind_name(token_kind kind);

enum { AT_T, AT_Y, AT_X, AT_ORDER, AT_AXES };

typedef struct tokens {
	int64_t rows, cap;
	uint8_t *kind;
	int32_t *seq, *order, *picture, *source;
	int32_t *segment; /* of a text of several, such as BERT's pairs; 0 elsewhere */
	float *at[AT_AXES]; /* t, y, x and 1-D position; fractions allowed */
} tokens;

rebus_status tokens_new(arena *a, int64_t cap, tokens *out, rebus_error *err);
/* Appends a row; the caller made room. Its 1-D position is its order. */
void tokens_add(tokens *t, token_kind kind, int32_t seq, int32_t order, int32_t picture, int32_t source);
/* Appends a picture's patch grid, rows first, sources from `source` on; t 0, y and x the place in the grid. */
void tokens_add_grid(tokens *t, token_kind kind, int32_t seq, int32_t order, int32_t picture, int32_t source, int32_t rows, int32_t columns);

/* Some of a grid's patches, in the order listed. */
void tokens_add_some(tokens *t, token_kind kind, int32_t seq, int32_t order, int32_t picture, int32_t source, const int32_t *patch, int32_t count,
                     int32_t columns);

/* ------------------------------------------------------------------------------------------------ layouts */
/*
 * One segment a sequence. causal: a row sees its sequence up to itself. Rows of padding stand last in their sequence: nobody
 * sees them, and they see what its last row sees, as in a padded batch of the reference.
 */
rebus_status tokens_layout(arena *a, const tokens *t, bool causal, layout *out, rebus_error *err);
/*
 * Against a cache: sequence s keeps its keys from row region[s] of the cache on, `past[s]` of them from runs before this
 * one (arrays by sequence number). Rows see every key of their sequence up to themselves. where [rows] receives the cache
 * row of each token.
 */
rebus_status tokens_layout_cached(arena *a, const tokens *t, const int32_t *region, const int32_t *past, int32_t *where, layout *out, rebus_error *err);

/* The same, but a row sees at most the last `window` keys of what `from` lets it see, its own among them. from has lo and hi. */
rebus_status tokens_layout_near(arena *a, const layout *from, int64_t rows, int64_t window, layout *out, rebus_error *err);

/* To other rows: those of sequence s see rows first[s / share] ... first[s / share + 1] - 1 of them (by sequence number), all of these. */
rebus_status tokens_layout_across(arena *a, const tokens *t, const int32_t *first, int32_t share, layout *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ row maps */
/* out[i] = stacked row base[kind] + source; a negative base reads the zero row. */
rebus_status tokens_map_sources(arena *a, const tokens *t, const int64_t base[TOKEN_KINDS], int64_t rows_in, rowmap *out, rebus_error *err);
/* The listed rows, in that order; -1 the zero row. */
rebus_status tokens_map_pick(arena *a, const int32_t *rows, int64_t count, int64_t rows_in, rowmap *out, rebus_error *err);
/* A learned table by segment. */
rebus_status tokens_map_segments(arena *a, const tokens *t, int64_t table_rows, rowmap *out, rebus_error *err);
/* A learned table by 1-D position: row offset + (int)at[ORDER]. */
rebus_status tokens_map_order(arena *a, const tokens *t, int64_t offset, int64_t table_rows, rowmap *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ angles */
/*
 * Rotary angles along one axis (Su et al. 2021): out [rows, 2 * half] = cos then sin of at[axis] * inv_freq[i]. The product
 * and the angle are f32, as the reference computes them; cos and sin are taken in double and rounded once.
 */
void tokens_angles(const tokens *t, int axis, const float *inv_freq, int32_t half, float *out);

#endif
