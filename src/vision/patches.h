/*
 * patches.h - a picture's values cut into patches, one row a patch, so that patch embedding is a plain matrix product.
 *
 *   pixels [channels, height, width] ─► rows [rows * columns, channels * ph * pw]
 *
 * Patches go left to right, then down. Inside a row the order is channel, y, x: that of a convolution's weight
 * [out, channels, ph, pw] flattened, so the weight is used as the file holds it. What is left of a side that is not a
 * multiple of the patch is dropped, as a convolution with stride = kernel drops it, and where the grid reaches beyond the
 * picture there are zeros; whoever must refuse either, does.
 *
 * Values that are still bytes become floats on the way: one pass over the picture, from what was resized to what is
 * multiplied, with the same bits as by way of [channels, height, width].
 */
#ifndef REBUS_PATCHES_H
#define REBUS_PATCHES_H

#include "vision/processor.h"

/* All sizes at least 1; out must not overlap pixels. */
void vision_patches(const pixels *px, int32_t rows, int32_t columns, int32_t ph, int32_t pw, float *out);
/* The same with the order y, x, channel inside a row, for models whose patches go through a plain linear layer (SigLIP 2 NaFlex). */
void vision_patches_last(const pixels *px, int32_t rows, int32_t columns, int32_t ph, int32_t pw, float *out);
/* The way back: rows * columns patches of that order to pixels [channels, rows * ph, columns * pw]. */
void vision_pixels_last(const float *patches, int32_t channels, int32_t rows, int32_t columns, int32_t ph, int32_t pw, float *pixels);

#endif
