/* patches.c - see patches.h: one copy of pw values for each channel and line of a patch. */
#include "vision/patches.h"

#include <string.h>

void vision_patches(const float *pixels, int32_t channels, int32_t height, int32_t width, int32_t ph, int32_t pw, float *out)
{
	size_t plane = (size_t)height * (size_t)width, run = (size_t)pw;
	for (int32_t y = 0; y <= height - ph; y += ph)
		for (int32_t x = 0; x <= width - pw; x += pw)
			for (int32_t c = 0; c < channels; c++)
				for (int32_t i = 0; i < ph; i++, out += run)
					memcpy(out, pixels + (size_t)c * plane + ((size_t)y + (size_t)i) * (size_t)width + (size_t)x,
					       run * sizeof(*out));
}

void vision_patches_last(const float *pixels, int32_t channels, int32_t height, int32_t width, int32_t ph, int32_t pw, float *out)
{
	size_t plane = (size_t)height * (size_t)width;
	for (int32_t y = 0; y <= height - ph; y += ph)
		for (int32_t x = 0; x <= width - pw; x += pw)
			for (int32_t i = 0; i < ph; i++)
				for (int32_t j = 0; j < pw; j++)
					for (int32_t c = 0; c < channels; c++)
						*out++ = pixels[(size_t)c * plane + ((size_t)y + (size_t)i) * (size_t)width + (size_t)x + (size_t)j];
}

void vision_pixels_last(const float *patches, int32_t channels, int32_t rows, int32_t columns, int32_t ph, int32_t pw, float *pixels)
{
	size_t width = (size_t)columns * (size_t)pw, plane = (size_t)rows * (size_t)ph * width;
	for (int32_t y = 0; y < rows; y++)
		for (int32_t x = 0; x < columns; x++)
			for (int32_t i = 0; i < ph; i++)
				for (int32_t j = 0; j < pw; j++)
					for (int32_t c = 0; c < channels; c++)
						pixels[(size_t)c * plane + ((size_t)y * (size_t)ph + (size_t)i) * width + (size_t)x * (size_t)pw + (size_t)j] = *patches++;
}
