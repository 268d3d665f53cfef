/*
 * heat_map.c - rebus_attention_png: a map of attention drawn over the picture as the model saw it.
 *
 *   processed picture, its normalisation undone ─► enlarged by a whole factor ─┐
 *   map, its least 0 and its most 1 ─► bilinear between patch centres ─► colours ┴─► half and half ─► PNG
 *
 * Colours go from dark blue over blue, cyan and yellow to red.
 */
#include <math.h>

#include "lab/attention.h"
#include "vision/picture.h"

enum { SIDE_WANTED = 448 };

static const float stops[5][3] = {{10, 10, 80}, {20, 90, 220}, {60, 210, 200}, {250, 220, 60}, {220, 30, 20}};

static void colour(float heat, float out[3])
{
	float at = fmaxf(0, fminf(1, heat)) * 4;
	int i = at < 3 ? (int)at : 3;
	for (int c = 0; c < 3; c++)
		out[c] = stops[i][c] + (at - (float)i) * (stops[i + 1][c] - stops[i][c]);
}

static float between(const attention_map *m, float y, float x)
{
	y = fmaxf(0, fminf((float)(m->rows - 1), y));
	x = fmaxf(0, fminf((float)(m->columns - 1), x));
	int32_t y0 = (int32_t)y, x0 = (int32_t)x, y1 = y0 + 1 < m->rows ? y0 + 1 : y0, x1 = x0 + 1 < m->columns ? x0 + 1 : x0;
	float fy = y - (float)y0, fx = x - (float)x0;
	const float *above = m->values + y0 * m->columns, *below = m->values + y1 * m->columns;
	return (1 - fy) * ((1 - fx) * above[x0] + fx * above[x1]) + fy * ((1 - fx) * below[x0] + fx * below[x1]);
}

/* 0 ... 255 of a channel at a place of the processed picture. */
static float value_at(const processor *p, const pixels *px, int c, int32_t y, int32_t x)
{
	int from = px->channels == 3 ? c : 0;
	if (px->bytes)
		return px->bytes[((int64_t)y * px->width + x) * px->channels + from];
	double v = (double)px->data[((int64_t)from * px->height + y) * px->width + x];
	if (p && p->normalize)
		v = v * p->std[p->stds ? from : 0] + p->mean[p->means ? from : 0];
	if (p && p->rescale && p->rescale_factor > 0)
		v /= p->rescale_factor;
	return (float)fmax(0, fmin(255, v));
}

static void draw(const processor *p, const pixels *px, const attention_map *m, int32_t factor, picture *out)
{
	float least = INFINITY, most = -INFINITY;
	for (int32_t i = 0; i < m->rows * m->columns; i++) {
		least = fminf(least, m->values[i]);
		most = fmaxf(most, m->values[i]);
	}
	float span = most > least ? most - least : 1;
	uint8_t *to = out->pixels;
	for (int32_t y = 0; y < out->height; y++)
		for (int32_t x = 0; x < out->width; x++) {
			float place_y = ((float)y + 0.5f) / (float)out->height * (float)m->rows - 0.5f;
			float place_x = ((float)x + 0.5f) / (float)out->width * (float)m->columns - 0.5f, heat[3];
			colour((between(m, place_y, place_x) - least) / span, heat);
			for (int c = 0; c < 3; c++)
				*to++ = (uint8_t)(0.5f * heat[c] + 0.5f * value_at(p, px, c, y / factor, x / factor) + 0.5f);
		}
}

rebus_status rebus_attention_png(rebus_session *s, rebus_prompt *prompt, const rebus_attention_options *options, const char *path, rebus_error *err)
{
	const rebus_attention_options o = options ? *options : rebus_attention_defaults();
	rebus_status status;
	attention_map map;
	arena a;
	arena_init(&a, s->m->mem.from, 0);
	TRY(attention_look(s, prompt, &o, &a, NULL, &map, err));
	const pixels *px = &prompt->pictures[0].px;
	int32_t most = px->height > px->width ? px->height : px->width, factor = most < SIDE_WANTED ? (SIDE_WANTED + most - 1) / most : 1;
	picture out = {.width = px->width * factor, .height = px->height * factor, .channels = 3};
	out.pixels = arena_get(&a, (size_t)out.width * (size_t)out.height, 3);
	if (!out.pixels) {
		status = error_memory(err, "a picture of attention");
		goto done;
	}
	draw(s->m->pictures, px, &map, factor, &out);
	TRY(vision_png_write(path, &out, err));
done:
	arena_free(&a);
	return status;
}
