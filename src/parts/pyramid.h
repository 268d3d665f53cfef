/*
 * pyramid.h - blocks of a pyramid of windows (tokens/windows.h): attention inside windows, merging between stages.
 *
 *   Swin (Liu et al. 2021)        x + attention(norm x);  x + mlp(norm x)       score: scale q.k + table[distance]
 *   Swin V2 (Liu et al. 2022)     x + norm attention(x);  x + norm mlp(x)       score: s_h cos(q, k) + 16 sigmoid(mlp(log distance))
 */
#ifndef REBUS_PYRAMID_H
#define REBUS_PYRAMID_H

#include "parts/blocks.h"

typedef struct window_options {
	block_options block;
	int32_t stage, window[2]; /* window: height, width */
	int32_t trained;    /* cosine: the window that log distances are measured by; 0: its own */
	float other_region; /* added to the score of rows that are no neighbours */
	bool cosine;        /* scores of Swin V2 */
	bool after;         /* norms after attention and the MLP, not before */
} window_options;

/* The rows of o->stage through one block, in plain or in shifted windows. */
node_id part_window_block(net *n, const char *name, node_id x, const block_weights *w, const window_options *o, bool shifted);
/* Four neighbours side by side: from the rows of `stage` to those of the next. */
node_id part_merge(net *n, const char *name, node_id x, int32_t stage);

#endif
