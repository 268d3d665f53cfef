/*
 * patch_resize.h - a patch embedding for patches of another size (Beyer et al. 2023, "FlexiViT", equation 2: PI-resize).
 *
 * Let R [new^2, old^2] be the linear map that resizes a patch from old x old to new x new. Weights w' for the new size should
 * give what w gives: w'.(R x) = w.x for every patch x. The least-squares answer, exact where patches grow:
 *
 *     w' = w pinv(R)                           for each output and channel, w a row of old^2 numbers
 *
 * R is the antialiased bicubic of torch.nn.functional.interpolate (position_grid.h), as timm's resample_patch_embed has it. It
 * is a product of one map each axis, R = Ry x Rx; so are its singular vectors, and its singular values are all products:
 *
 *     Ry = Uy Sy Vy^T,  Rx = Ux Sx Vx^T        w' = Uy ((Vy^T w Vx) / (sy sx)) Ux^T      w as [old, old], w' [new, new]
 *
 * Products below 1.2e-7 max(old, new)^2 of the largest count as zero, as torch.linalg.pinv in float32 has it.
 */
#ifndef REBUS_PATCH_RESIZE_H
#define REBUS_PATCH_RESIZE_H

#include "kernels/weight.h"

enum { PATCH_LEAST = 8, PATCH_MOST = 48 }; /* sizes that may be asked for */

/*
 * w [out, channels * size[0] * size[1]], one part, becomes [out, channels * patch * patch] in f32, in the arena; its bias stays.
 * Unchanged where the size is the same. Fails with MISUSE for a size that may not be asked for, with UNSUPPORTED where the
 * weights' own patches are wider than 128.
 */
rebus_status vision_patch_resize(arena *a, weight *w, int64_t channels, const int32_t size[2], int32_t patch, rebus_error *err);

#endif
