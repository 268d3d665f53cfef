/* patches.c - see patches.h: a run of pw values for each channel and line of a patch. */
#include "vision/patches.h"

#include <string.h>

/* Values x ... x + n - 1 of line y, of all channels, a channel `apart` floats after the one before. */
static void run_of(const pixels *px, int32_t y, int32_t x, int32_t n, size_t apart, float *out)
{
	size_t at = (size_t)y * (size_t)px->width + (size_t)x, channels = (size_t)px->channels, plane = (size_t)px->height * (size_t)px->width;
	if (px->data) {
		for (size_t c = 0; c < channels; c++)
			memcpy(out + c * apart, px->data + c * plane + at, (size_t)n * sizeof *out);
		return;
	}
	const uint8_t *from = px->bytes + at * channels;
	const float *table = px->table;
	if (channels == 3) { /* the usual case, every byte read where it lies */
		for (int32_t i = 0; i < n; i++, from += 3) {
			out[i] = table[from[0]];
			out[apart + (size_t)i] = table[256 + from[1]];
			out[2 * apart + (size_t)i] = table[512 + from[2]];
		}
		return;
	}
	for (size_t c = 0; c < channels; c++)
		for (size_t i = 0; i < (size_t)n; i++)
			out[c * apart + i] = table[c * 256 + from[i * channels + c]];
}

/* The same with the channels of a value side by side. */
static void run_last(const pixels *px, int32_t y, int32_t x, int32_t n, float *out)
{
	size_t at = (size_t)y * (size_t)px->width + (size_t)x, channels = (size_t)px->channels, plane = (size_t)px->height * (size_t)px->width;
	for (size_t i = 0; i < (size_t)n; i++)
		for (size_t c = 0; c < channels; c++)
			*out++ = px->data ? px->data[c * plane + at + i] : px->table[c * 256 + px->bytes[(at + i) * channels + c]];
}

static void cut(const pixels *px, int32_t rows, int32_t columns, int32_t ph, int32_t pw, bool last, float *out)
{
	const size_t apart = (size_t)ph * (size_t)pw, width = (size_t)px->channels * apart;
	for (int32_t r = 0; r < rows; r++)
		for (int32_t k = 0; k < columns; k++, out += width) {
			int32_t x = k * pw, inside = (int32_t)int_max(0, int_min(pw, px->width - x));
			if (inside < pw || (r + 1) * ph > px->height)
				memset(out, 0, width * sizeof *out);
			for (int32_t i = 0; i < ph && r * ph + i < px->height; i++)
				if (last)
					run_last(px, r * ph + i, x, inside, out + (size_t)i * (size_t)pw * (size_t)px->channels);
				else
					run_of(px, r * ph + i, x, inside, apart, out + i * pw);
		}
}

void vision_patches(const pixels *px, int32_t rows, int32_t columns, int32_t ph, int32_t pw, float *out)
{
	cut(px, rows, columns, ph, pw, false, out);
}

void vision_patches_last(const pixels *px, int32_t rows, int32_t columns, int32_t ph, int32_t pw, float *out)
{
	cut(px, rows, columns, ph, pw, true, out);
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
