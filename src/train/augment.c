/*
 * augment.c - see augment.h.
 *
 *   flip    mirrored left to right
 *   shift   moved by whole pixels, up to a share of each side; the pixels of the edge repeat
 *   erase   a box of 2 to 33 % of the area with sides 0.3 to 3.3 to one, overwritten with noise (Zhong et al. 2020)
 */
#include "train/augment.h"

#include <math.h>
#include <string.h>

#include "train/crew.h"

enum { DRAW_FLIP, DRAW_DOWN, DRAW_RIGHT, DRAW_ERASE, DRAW_AREA, DRAW_SIDES, DRAW_TOP, DRAW_LEFT, DRAW_NOISE };

static double draw(const recipe *r, uint64_t at, uint64_t what)
{
	return random_unit((uint64_t)r->seed, RANDOM_AUGMENT, at, what);
}

static void flip(picture *p)
{
	size_t c = (size_t)p->channels;
	for (int32_t y = 0; y < p->height; y++) {
		uint8_t *row = p->pixels + (size_t)y * (size_t)p->width * c;
		for (size_t i = 0, k = (size_t)p->width - 1; i < k; i++, k--)
			for (size_t j = 0; j < c; j++) {
				uint8_t t = row[i * c + j];
				row[i * c + j] = row[k * c + j];
				row[k * c + j] = t;
			}
	}
}

static int32_t clamp(int32_t v, int32_t most)
{
	return v < 0 ? 0 : v > most ? most : v;
}

static rebus_status shift(picture *p, int32_t down, int32_t right, arena *a, rebus_error *err)
{
	size_t c = (size_t)p->channels, size = (size_t)p->height * (size_t)p->width * c;
	uint8_t *to = arena_get(a, size, 1);
	if (!to)
		return error_memory(err, "a picture");
	for (int32_t y = 0; y < p->height; y++)
		for (int32_t x = 0; x < p->width; x++) {
			size_t from = (size_t)clamp(y - down, p->height - 1) * (size_t)p->width + (size_t)clamp(x - right, p->width - 1);
			memcpy(to + ((size_t)y * (size_t)p->width + (size_t)x) * c, p->pixels + from * c, c);
		}
	p->pixels = to;
	return REBUS_OK;
}

static void erase(const recipe *r, uint64_t at, picture *p)
{
	double area = (0.02 + 0.31 * draw(r, at, DRAW_AREA)) * p->height * p->width;
	double sides = exp((2 * draw(r, at, DRAW_SIDES) - 1) * log(3.3));
	int32_t h = clamp((int32_t)lround(sqrt(area * sides)), p->height), w = clamp((int32_t)lround(sqrt(area / sides)), p->width);
	int32_t y0 = (int32_t)(draw(r, at, DRAW_TOP) * (p->height - h + 1)), x0 = (int32_t)(draw(r, at, DRAW_LEFT) * (p->width - w + 1));
	uint64_t n = DRAW_NOISE;
	for (int32_t y = y0; y < y0 + h; y++)
		for (int32_t i = x0 * p->channels; i < (x0 + w) * p->channels; i++)
			p->pixels[(size_t)y * (size_t)p->width * (size_t)p->channels + (size_t)i] = (uint8_t)random_bits((uint64_t)r->seed, RANDOM_AUGMENT, at, n++);
}

static int32_t distance(double share, int32_t side, double draw)
{
	int32_t most = (int32_t)(share * side);
	return (int32_t)(draw * (2 * most + 1)) - most;
}

rebus_status augment_picture(const recipe *r, uint64_t at, arena *a, picture *p, rebus_error *err)
{
	if (draw(r, at, DRAW_FLIP) < r->flip)
		flip(p);
	if (r->shift > 0) {
		rebus_status status = shift(p, distance(r->shift, p->height, draw(r, at, DRAW_DOWN)), distance(r->shift, p->width, draw(r, at, DRAW_RIGHT)), a, err);
		if (status)
			return status;
	}
	if (draw(r, at, DRAW_ERASE) < r->erase)
		erase(r, at, p);
	return REBUS_OK;
}
