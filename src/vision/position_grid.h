/*
 * position_grid.h - resampling a learned position table to another patch grid, as weights.
 *
 * A checkpoint stores one vector a patch of its training grid (from.h x from.w). At another grid (to.h x to.w) each cell's
 * vector is a weighted sum of a few stored ones; the weights depend on the two grids only. Here they are made, in the float
 * arithmetic of torch.nn.functional.interpolate(table, size=(to.h, to.w), align_corners=False), so that a row map applies
 * them and its transpose is the gradient:
 *
 *   out[cell] = sum over k < taps of coef[cell * taps + k] * table[from[cell * taps + k]]
 *
 *   method              interpolate(...)                       taps          who
 *   GRID_NONE           (none; the grids must be equal)        1
 *   GRID_BICUBIC        mode="bicubic"            a = -0.75    4 x 4         ViT, DeiT, DINOv2, CLIP, SigLIP, BLIP
 *   GRID_BILINEAR       mode="bilinear"                        2 x 2
 *   GRID_BICUBIC_WIDE   "bicubic", antialias=True  a = -0.5    by the scale  timm, DINOv2 with registers
 *   GRID_BILINEAR_WIDE  "bilinear", antialias=True             by the scale  SigLIP 2
 *   GRID_BILINEAR_ENDS  "bilinear", align_corners=True         2 x 2         Qwen3-VL
 *
 * Every method is a product of one axis each: taps of a cell are row-major over (its rows) x (its columns). Positions
 * outside repeat the border (not antialiased) or do not exist (antialiased, the rest is scaled to sum 1); unused taps have
 * coefficient 0 and a valid source.
 */
#ifndef REBUS_POSITION_GRID_H
#define REBUS_POSITION_GRID_H

#include "base/base.h"

typedef enum {
	GRID_NONE, GRID_BICUBIC, GRID_BILINEAR, GRID_BICUBIC_WIDE, GRID_BILINEAR_WIDE, GRID_BILINEAR_ENDS
} grid_method;

typedef struct grid_size {
	int32_t height, width;
} grid_size;

typedef struct grid_taps {
	int32_t cells; /* to.height * to.width, row-major */
	int32_t taps;
	int32_t *from; /* [cells, taps] y * from.width + x */
	float *coef;   /* [cells, taps] */
} grid_taps;

/*
 * Arrays come from `a`. Fails with SHAPE where a side is below 1 or GRID_NONE gets unequal grids, with LIMIT beyond 4096 a
 * side or 64 Mi weights in all, with MEMORY; the arena is then as it was.
 */
rebus_status vision_grid_taps(arena *a, grid_method method, grid_size from, grid_size to, grid_taps *out, rebus_error *err);

#endif
