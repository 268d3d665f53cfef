/*
 * windows.h - pictures cut into windows, stage by stage (Liu et al. 2021, figures 2 and 4), as row maps, layouts and places.
 *
 *   stage 0  rows of the table: each picture's patches      a stage's rows are cut in two ways, plain and shifted:
 *      │ merge: 2 x 2 neighbours side by side                  into   rows of a stage ─► windows, one after the other
 *   stage 1  ceil(h/2) x ceil(w/2) rows a picture               at     a segment a window
 *      │ merge                                                  place  y, x in the window, and region
 *     ...                                                       back   windows ─► rows of the stage
 *
 * A grid that is no multiple of the window is padded right and below: such rows of a window are zero rows (-1 in `into`), are
 * attended to like any other, and nothing goes back from them. Shifted windows start `shift` rows down and to the right and
 * go round the border; rows that were not neighbours are of different regions. An odd side has a zero row to merge with.
 */
#ifndef REBUS_WINDOWS_H
#define REBUS_WINDOWS_H

#include "tokens/tokens.h"

enum { PYRAMID_STAGES = 8 };

typedef struct pyramid_shape {
	int32_t stages;
	int32_t window[PYRAMID_STAGES][2], shift[PYRAMID_STAGES][2]; /* height, width in rows of the stage; shift: of the shifted windows */
	bool rolls; /* the shift goes round the grid, and padding follows it; else padding comes first and goes round too */
	bool fits; /* a grid with a side of one window is not shifted, a smaller one is an error */
} pyramid_shape;

typedef struct window_cut {
	int64_t rows; /* of all windows */
	rowmap into, back;
	layout at;
	int32_t *place; /* [rows, 3]: y, x, region */
} window_cut;

typedef struct pyramid_stage {
	int64_t rows;
	int32_t *row;      /* [pictures + 1]: where each one's rows begin */
	int32_t (*grid)[2]; /* [pictures]: rows and columns of each */
	rowmap merge;      /* to the next stage: four pieces a row; none at the last */
	window_cut cut[2]; /* plain, shifted */
} pyramid_stage;

typedef struct pyramid {
	int32_t stages;
	pyramid_stage stage[PYRAMID_STAGES];
} pyramid;

/* grids [count][2]: rows and columns of each picture at stage 0, packed one after the other. */
rebus_status tokens_pyramid(arena *a, const pyramid_shape *shape, const int32_t (*grids)[2], int32_t count, pyramid *out, rebus_error *err);

#endif
