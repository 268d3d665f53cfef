/*
 * vision_check.h - what the tests of src/vision share: the tables' types, the noise that make_vision_data.py fills its
 * pictures with as well, and the hash it stores.
 */
#ifndef TESTS_VISION_CHECK_H
#define TESTS_VISION_CHECK_H

#include "vision/position_grid.h"
#include "vision/processor.h"

typedef struct {
	const char *file;
	int32_t width, height;
	const char *mode;
	uint64_t own, rgb; /* own 0: the reference's own planes are not ours */
} picture_case;

typedef struct {
	int32_t height, width, channels, to_height, to_width;
	int filter;
	vision_backend backend;
	uint64_t hash;
} resize_case;

typedef struct {
	const char *config;
	int32_t channels, to_height, to_width;
	vision_backend backend;
	int32_t out_channels, out_height, out_width;
	uint64_t hash;
} processor_case;

typedef struct {
	grid_method method;
	grid_size from, to;
	float weight[16];
} grid_case;

static inline uint64_t fnv(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < size; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static inline void fill_noise(uint8_t *out, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525u + 1013904223u;
		out[i] = (uint8_t)(seed >> 24);
	}
}

#endif
