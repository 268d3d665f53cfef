/*
 * fuzz_picture.c - any bytes as a picture: decoded under small limits, as one and as an animation, made RGB, and sent through
 * a small pipe of each back end. What is decoded must keep to the limits; what fails must leave nothing behind.
 *
 * Built once for all formats and once for each, which then looks only at inputs that begin as that format does (FORMAT).
 */
#include "vision/processor.h"

#include <stdlib.h>
#include <string.h>

#ifndef FORMAT
#define FORMAT ""
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static bool begins(const uint8_t *data, size_t size)
{
	static const struct {
		const char *format;
		size_t at;
		const char *magic;
	} starts[] = {{"jpeg", 0, "\xff\xd8\xff"}, {"png", 0, "\x89PNG"}, {"gif", 0, "GIF8"},    {"bmp", 0, "BM"},      {"webp", 8, "WEBP"},
	              {"tiff", 0, "II"},           {"tiff", 0, "MM"},     {"avif", 4, "ftypa"}, {"heif", 4, "ftyph"}};
	for (size_t i = 0; i < COUNT_OF(starts); i++)
		if (!strcmp(starts[i].format, FORMAT) && picture_starts(data, size, starts[i].at, starts[i].magic, strlen(starts[i].magic)))
			return true;
	return !FORMAT[0];
}

static void check_picture(const picture *p, const picture_limits *limits)
{
	check(p->width >= 1 && p->width <= limits->side && p->height >= 1 && p->height <= limits->side);
	check((int64_t)p->width * p->height <= limits->pixels && p->channels >= 1 && p->channels <= 4 && p->mode);
}

static void animation(const uint8_t *data, size_t size, const picture_limits *limits)
{
	arena a;
	picture_frames all;
	rebus_error err = {.code = REBUS_OK};
	arena_init(&a, NULL, 16 << 20);
	rebus_status status = vision_decode_frames(&a, data, size, "fuzz", limits, &all, &err);
	check(status == err.code && (status ? a.total == 0 && err.text[0] : all.count >= 1 && all.count <= limits->frames));
	for (int32_t k = 0; !status && k < all.count; k++)
		check_picture(&all.at[k], limits);
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const picture_limits limits = {
		.pixels = 1 << 16, .side = 2048, .scans = 8, .frames = 16, .bytes = 1 << 16, .memory = 32 << 20,
	};
	static const processor pipe = {
		.convert_rgb = true, .resize = true, .crop = true, .rescale = true, .normalize = true,
		.size = {.shortest = 16}, .crop_height = 17, .crop_width = 19, .filter = VISION_BICUBIC,
		.rescale_factor = 1.0 / 255.0, .mean = {0.5}, .std = {0.25},
	};
	arena a;
	picture p;
	rebus_error err = {.code = REBUS_OK};
	if (!begins(data, size))
		return 0;
	animation(data, size, &limits);
	arena_init(&a, NULL, 16 << 20);
	rebus_status status = vision_decode(&a, data, size, "fuzz", &limits, &p, &err);
	check(status == err.code);
	if (status) {
		check(a.total == 0 && err.text[0]);
		return 0;
	}
	check_picture(&p, &limits);
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
