/* windows.c - see windows.h. */
#include "tokens/windows.h"

enum { PIECES = 4 };

typedef struct grid { /* a picture at one stage */
	int32_t h, w, row;
} grid;

static int32_t padded(int32_t side, int32_t window)
{
	return (int32_t)ceil_div(side, window) * window;
}

static rebus_status too_many(rebus_error *err)
{
	return error_set(err, REBUS_LIMIT, "more picture tokens in one call than can be counted");
}

/* ------------------------------------------------------------------------------------------------ merging */
/* The four pieces of a merged row: down first, then to the right. */
static void merge_picture(const grid *from, const grid *to, int32_t *source)
{
	for (int32_t y = 0; y < to->h; y++)
		for (int32_t x = 0; x < to->w; x++)
			for (int32_t k = 0; k < PIECES; k++) {
				int32_t r = 2 * y + k % 2, c = 2 * x + k / 2;
				source[((int64_t)to->row + (int64_t)y * to->w + x) * PIECES + k] = r < from->h && c < from->w ? from->row + r * from->w + c : -1;
			}
}

static rebus_status merge(arena *a, pyramid_stage *s, const grid *from, const grid *to, int64_t rows, int32_t count, rebus_error *err)
{
	int32_t *source = arena_get(a, (size_t)rows, PIECES * sizeof *source);
	if (!source)
		return error_memory(err, "windows");
	for (int32_t i = 0; i < count; i++)
		merge_picture(&from[i], &to[i], source);
	s->merge = (rowmap){.rows_out = rows, .rows_in = s->rows, .taps = PIECES, .concat = true, .from = source};
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ windows */
static int32_t region(int32_t at, int32_t side, int32_t window, int32_t shift)
{
	return (at >= side - window) + (at >= side - shift);
}

typedef struct cutting { /* a cut being written */
	int32_t row, segments;
	bool rolls;
	const int32_t *window; /* height, width */
	int32_t *into, *back, *place;
	segment *seg;
} cutting;

static void cut_picture(cutting *c, const grid *g, const int32_t shift[2])
{
	int32_t h = c->window[0], w = c->window[1], tall = padded(g->h, h), wide = padded(g->w, w);
	bool shifted = shift[0] || shift[1];
	for (int32_t top = 0; top < tall; top += h)
		for (int32_t left = 0; left < wide; left += w) {
			c->seg[c->segments++] = (segment){c->row, c->row + h * w, c->row, c->row + h * w};
			for (int32_t i = 0; i < h * w; i++, c->row++) {
				int32_t y = top + i / w, x = left + i % w, fy = (y + shift[0]) % tall, fx = (x + shift[1]) % wide;
				if (c->rolls) {
					fy = y < g->h ? (y + shift[0]) % g->h : g->h;
					fx = x < g->w ? (x + shift[1]) % g->w : g->w;
				}
				int32_t *place = c->place + 3 * (int64_t)c->row;
				place[0] = i / w;
				place[1] = i % w;
				place[2] = shifted ? 3 * region(y, tall, h, shift[0]) + region(x, wide, w, shift[1]) : 0;
				c->into[c->row] = -1;
				if (fy < g->h && fx < g->w) {
					c->into[c->row] = g->row + fy * g->w + fx;
					c->back[c->into[c->row]] = c->row;
				}
			}
		}
}

static rebus_status cut(arena *a, const grid *grids, int32_t count, int64_t stage_rows, const int32_t window[2], const int32_t shift[2],
	const pyramid_shape *shape, window_cut *out, rebus_error *err)
{
	static const int32_t none[2] = {0, 0};
	int64_t rows = 0;
	for (int32_t i = 0; i < count; i++)
		rows += (int64_t)padded(grids[i].h, window[0]) * padded(grids[i].w, window[1]);
	if (rows > INT32_MAX / 4)
		return too_many(err);
	int64_t segments = rows / ((int64_t)window[0] * window[1]);
	cutting c = {.rolls = shape->rolls, .window = window, .into = arena_get(a, (size_t)rows, sizeof *c.into),
		.back = arena_get(a, (size_t)stage_rows, sizeof *c.back),
		.place = arena_get(a, (size_t)rows, 3 * sizeof *c.place), .seg = arena_get(a, (size_t)segments, sizeof *c.seg)};
	int32_t *first = arena_get(a, (size_t)segments + 1, sizeof *first);
	if (!c.into || !c.back || !c.place || !c.seg || !first)
		return error_memory(err, "windows");
	for (int32_t i = 0; i < count; i++)
		cut_picture(&c, &grids[i], shape->fits && int_min(grids[i].h, grids[i].w) <= window[0] ? none : shift);
	*out = (window_cut){.rows = rows, .into = {.rows_out = rows, .rows_in = stage_rows, .taps = 1, .from = c.into},
		.back = {.rows_out = stage_rows, .rows_in = rows, .taps = 1, .from = c.back}, .at = {.count = c.segments, .seg = c.seg}, .place = c.place};
	layout_finish(&out->at, first);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ the whole */
/* What a stage's pictures become at the next one; rows in all. */
static int64_t halve(const grid *from, int32_t count, grid *to)
{
	int64_t rows = 0;
	for (int32_t i = 0; i < count; i++) {
		to[i] = (grid){(from[i].h + 1) / 2, (from[i].w + 1) / 2, (int32_t)rows};
		rows += (int64_t)to[i].h * to[i].w;
	}
	return rows;
}

static rebus_status make_stage(arena *a, const pyramid_shape *shape, int32_t s, const grid *grids, int32_t count, int64_t rows,
	pyramid_stage *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	static const int32_t none[2] = {0, 0};
	const int32_t *window = shape->window[s];
	*out = (pyramid_stage){.rows = rows, .row = arena_get(a, (size_t)count + 1, sizeof(int32_t)), .grid = arena_get(a, (size_t)count, sizeof *out->grid)};
	if (!out->row || !out->grid)
		return error_memory(err, "windows");
	for (int32_t i = 0; i < count; i++) {
		out->row[i] = grids[i].row;
		out->grid[i][0] = grids[i].h;
		out->grid[i][1] = grids[i].w;
		if (shape->fits && (grids[i].h < window[0] || grids[i].w < window[1]))
			return error_set(err, REBUS_MISUSE, "a picture's grid of %dx%d at stage %d is smaller than a window of %dx%d",
				grids[i].h, grids[i].w, s, window[0], window[1]);
	}
	out->row[count] = (int32_t)rows;
	for (int32_t v = 0; v < 2; v++)
		TRY(cut(a, grids, count, rows, window, v ? shape->shift[s] : none, shape, &out->cut[v], err));
done:
	return status;
}

rebus_status tokens_pyramid(arena *a, const pyramid_shape *shape, const int32_t (*grids)[2], int32_t count, pyramid *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	grid *now = arena_get(a, (size_t)count, sizeof *now);
	int64_t rows = 0;
	if (!now)
		return error_memory(err, "windows");
	for (int32_t i = 0; i < count; i++) {
		now[i] = (grid){grids[i][0], grids[i][1], (int32_t)rows};
		rows += (int64_t)grids[i][0] * grids[i][1];
		if (rows > INT32_MAX / 8)
			return too_many(err);
	}
	out->stages = shape->stages;
	for (int32_t s = 0; s < shape->stages; s++) {
		TRY(make_stage(a, shape, s, now, count, rows, &out->stage[s], err));
		if (s + 1 == shape->stages)
			break;
		grid *next = arena_get(a, (size_t)count, sizeof *next);
		if (!next)
			return error_memory(err, "windows");
		rows = halve(now, count, next);
		TRY(merge(a, &out->stage[s], now, next, rows, count, err));
		now = next;
	}
done:
	return status;
}
