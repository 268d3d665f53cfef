/*
 * fuzz_picture.c - any bytes as a picture: decoded under small limits, made RGB, and sent through a small pipe of each back
 * end. What is decoded must keep to the limits; what fails must leave nothing behind.
 */
#include "vision/processor.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const picture_limits limits = {.pixels = 1 << 16, .side = 2048, .scans = 8, .bytes = 1 << 16};
	static const processor pipe = {
		.convert_rgb = true, .resize = true, .crop = true, .rescale = true, .normalize = true,
		.size = {.shortest = 16}, .crop_height = 17, .crop_width = 19, .filter = VISION_BICUBIC,
		.rescale_factor = 1.0 / 255.0, .mean = {0.5}, .std = {0.25},
	};
	arena a;
	picture p;
	rebus_error err = {.code = REBUS_OK};
	arena_init(&a, NULL, 16 << 20);
	rebus_status status = vision_decode(&a, data, size, "fuzz", &limits, &p, &err);
	check(status == err.code);
	if (status) {
		check(a.total == 0 && err.text[0]);
		return 0;
	}
	check(p.width >= 1 && p.width <= limits.side && p.height >= 1 && p.height <= limits.side);
	check((int64_t)p.width * p.height <= limits.pixels && p.channels >= 1 && p.channels <= 4 && p.mode);
	for (int backend = VISION_TORCHVISION; backend <= VISION_PIL; backend++) {
		pixels out;
		if (vision_process(&a, kernels_get(cpu_detect()), &pipe, &p, (vision_backend)backend, NULL, &out, &err))
			check(err.code == REBUS_MEMORY); /* a thin picture: its long side becomes very long */
		else
			check(out.channels == 3 && out.height == 17 && out.width == 19);
	}
	arena_free(&a);
	return 0;
}
