/*
 * processor.h - image processors: preprocessor_config.json in, a printable pipe, and pixel_values out.
 *
 * A processor is what transformers 5.23.0 does between a picture and a vision tower:
 *
 *   convert_rgb|pad_square(122,116,104)|resize(shortest_edge=224,bicubic)|center_crop(224x224)|rescale(1/255)|normalize(...)
 *
 *   resize(patches=256,side=16,bilinear)|rescale(1/255)|normalize(...)                              SigLIP 2 NaFlex
 *
 * Steps that are off are not there. Everything up to rescale works on 8-bit values (resize.h), so the last two are one
 * table of 256 floats a channel, and values can stay bytes until patches are cut (patches.h). The two back ends round
 * differently and both are followed to the bit:
 *
 *                 torchvision (default)                          pil
 *   crop          smaller pictures: (crop - size) / 2 zeros      the odd zero goes left and above
 *                 left and above, the odd one right, below
 *   both on       (x - m) / s with m = mean * (1 / rescale),     x * rescale in double, rounded to float, then
 *                 s = std * (1 / rescale), all in float          (x - mean) / std in float
 *   rescale only  x * rescale in float                           x * rescale in double, rounded
 *   normalize only  (x - mean) / std in float                    the same
 *
 * Files leave fields out: then the class's default of transformers 5.23.0 holds (processor_config.c has the table). Fields
 * that no class reads are collected as warnings; a class that is not in the table is UNSUPPORTED.
 */
#ifndef REBUS_PROCESSOR_H
#define REBUS_PROCESSOR_H

#include "files/json.h"
#include "vision/resize.h"

/* One of: height and width; shortest; shortest and longest; max_height and max_width. 0: not given. */
typedef struct processor_size {
	int32_t height, width, shortest, longest, max_height, max_width;
} processor_size;

/*
 * How a picture comes to the size of the crop. PLAIN: resize to `size`, then crop, as transformers does. The others are
 * timm's (processor_timm.c), by the crop's size and crop_pct; they are of one back end and know no other.
 */
typedef enum { FIT_PLAIN, FIT_CENTER, FIT_SQUASH, FIT_BORDER } processor_fit;

typedef struct processor {
	const char *name; /* the class, without Fast or Pil; static text */
	int fit;          /* processor_fit */
	double crop_pct;  /* of FIT_CENTER and on */
	bool convert_rgb, pad_square, resize, crop, rescale, normalize, pad;
	processor_size size;
	int32_t crop_height, crop_width;
	int32_t pad_height, pad_width; /* of the result, zeros right and below; 0: to the batch's largest, which is the caller's */
	int32_t patch, budget; /* budget: resized to at most so many square patches, whatever the sides' ratio (SigLIP 2 NaFlex); 0: not so */
	vision_filter filter;
	double rescale_factor;
	int32_t means, stds; /* 0: one number for all channels, else one a channel */
	double mean[4], std[4];
	const char *const *warnings; /* one line each, in the arena */
	int32_t warning_count;
} processor;

/*
 * What the caller asks for instead of the processor's; NULL: nothing. With a size, resizing is on and the crop is of the same
 * size; a budget counts for processors that have one.
 */
typedef struct vision_size {
	int32_t height, width; /* 0: the processor's */
	int32_t budget;        /* 0: the processor's */
} vision_size;

enum { PATCHES_MOST = 1 << 16 }; /* of a budget */

/* Pixel values, in either of two forms; the second is a quarter of the size and becomes floats where they are used. */
typedef struct pixels {
	float *data; /* [channels, height, width], or NULL: */
	int32_t channels, height, width;
	const uint8_t *bytes; /* [height, width, channels], each through its channel's table: */
	const float *table;   /* [channels, 256] */
} pixels;

/*
 * root: a preprocessor_config.json, or a processor_config.json with an `image_processor` inside. fallback: the class to
 * assume where the file names none (the reference asks the model's type); NULL: that is an error. Strings go to `a`.
 */
rebus_status vision_processor_parse(arena *a, const json *root, const char *file, const char *fallback, processor *out,
                                    rebus_error *err);
/* From a checkpoint's folder: processor_config.json if it holds an image processor, else preprocessor_config.json. */
rebus_status vision_processor_load(arena *a, const char *folder, const char *fallback, processor *out, rebus_error *err);

/* From the pretrained_cfg of a folder of timm's (processor_timm.c). */
rebus_status vision_processor_timm(const json *about, const char *file, processor *out, rebus_error *err);

/* The pipe as one line, in `a`; NULL: no memory. */
const char *vision_pipe_text(arena *a, const processor *p, const vision_size *size);

/*
 * What out points to comes from `a` and is kept, scratch is released; on failure the arena is as it was. As bytes, unless the
 * result holds more than the picture (a crop that is larger, padding), which bytes cannot say.
 */
rebus_status vision_prepare(arena *a, const kernels *k, const processor *p, const picture *in, vision_backend backend, const vision_size *size,
                            pixels *out, rebus_error *err);
/* The same with out->data. */
rebus_status vision_process(arena *a, const kernels *k, const processor *p, const picture *in, vision_backend backend, const vision_size *size,
                            pixels *out, rebus_error *err);
/* The values of either form as floats, [channels, height, width]. */
void vision_values(const pixels *p, float *out);

#endif
