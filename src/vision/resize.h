/*
 * resize.h - resizing 8-bit pictures with the very integers of Pillow and of torchvision.
 *
 * Both resample one axis at a time, antialiased, and round to 8 bits between the axes. For n_in -> n_out samples:
 *
 *   scale = n_in / n_out,  fs = max(scale, 1),  centre = (i + 0.5) * scale
 *   lo = max(int(centre - S*fs + 0.5), 0),  hi = min(int(centre + S*fs + 0.5), n_in)
 *   w[k] = f((k + lo - centre + 0.5) / fs) / sum            in double; S is the filter's reach: 0.5, 1, 1, 2, 3
 *   q[k] = int(w[k] * 2^P +- 0.5)
 *   out  = clip((sum of q[k] * in[lo + k] + 2^(P-1)) >> P, 0, 255)
 *
 *                     Pillow 13                                   torchvision (torch 2.13)
 *   P                 22                                          largest <= 22 that keeps every weight of the axis below 2^15
 *   first pass        vertical iff h < h_in and                   horizontal
 *                     2 * (w_in - w) < h_in - h, else horizontal
 *   nearest           int((i + 0.5) * scale), summed in double    "nearest-exact": floor((i + 0.5) * scale) in float
 *   box, hamming      yes                                         refused, as F.interpolate refuses them
 *
 * An axis whose size does not change is skipped. torchvision's integers are those of a processor with AVX2 or NEON; the
 * float path that torch takes without them is not followed.
 */
#ifndef REBUS_RESIZE_H
#define REBUS_RESIZE_H

#include "kernels/kernels.h"
#include "vision/picture.h"

typedef enum { VISION_TORCHVISION, VISION_PIL } vision_backend; /* whose arithmetic; torchvision is the reference's default */
typedef enum {
	VISION_NEAREST, VISION_LANCZOS, VISION_BILINEAR, VISION_BICUBIC, VISION_BOX, VISION_HAMMING, VISION_FILTERS
} vision_filter;

const char *vision_filter_name(vision_filter filter); /* the enum's values are Pillow's numbers */
bool vision_filter_parse(const char *name, vision_filter *out);

/* A part of the result, inside it: only that is computed, with the bits it has in the whole. */
typedef struct vision_window {
	int32_t x, y, width, height;
} vision_window;

/*
 * out->pixels comes from `a` and is kept; scratch is released. part NULL: all; equal size and all of it: out shares in's
 * pixels. Fails with LIMIT where the result or the picture between the passes would have more than 178,956,970 pixels, with
 * UNSUPPORTED for a filter the back end refuses and for Pillow with an alpha plane (it premultiplies), with MEMORY.
 */
rebus_status vision_resize(arena *a, const kernels *k, const picture *in, int64_t width, int64_t height, vision_filter filter, vision_backend backend,
                           const vision_window *part, picture *out, rebus_error *err);

#endif
