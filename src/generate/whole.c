/* whole.c - see whole.h. */
#include "generate/whole.h"

#include "vision/position_grid.h"

typedef struct whole_room { /* what is being written */
	const tower_shape *shape;
	whole_run *out;
	int32_t *source, *patches, *dropped; /* [whole rows], [patch rows], [patch rows] */
	int32_t *start, *from;               /* of positions */
	float *coef;
	int64_t taps;
	segment *seg;
} whole_room;

static int64_t cells(const grid_picture *g)
{
	return (int64_t)g->rows * g->columns;
}

/* The decoder's table is a row of patches, resampled along it wherever a picture has another number of them. */
static rebus_status picture_taps(const tower_shape *s, const grid_picture *g, arena *a, grid_taps *out, rebus_error *err)
{
	int32_t own = (int32_t)(s->positions - s->placed);
	*out = (grid_taps){0};
	if (cells(g) == own)
		return REBUS_OK;
	if (own > 4096 || cells(g) > 4096)
		return error_set(err, REBUS_LIMIT, "a decoder's positions for %lld patches from %d, expected at most 4096", (long long)cells(g), own);
	return vision_grid_taps(a, s->resample, (grid_size){1, own}, (grid_size){1, (int32_t)cells(g)}, out, err);
}

static void add_source(whole_room *w, const grid_picture *g, int32_t first, int64_t row, int64_t patch, int64_t patch_end, int32_t mask)
{
	w->source[row] = first;
	for (int64_t k = 0; k < cells(g); k++) {
		w->source[row + 1 + k] = mask;
		w->patches[patch + k] = (int32_t)(row + 1 + k);
		w->dropped[patch + k] = 1;
	}
	for (int32_t k = 0; k < g->seen; k++) {
		int32_t cell = g->kept ? g->kept[k] : k;
		w->source[row + 1 + cell] = first + (int32_t)w->shape->learned + k;
		w->dropped[patch + cell] = 0;
	}
	for (int64_t k = patch + cells(g); k < patch_end; k++) {
		w->patches[k] = -1;
		w->dropped[k] = 0;
	}
}

static void add_tap(whole_room *w, int32_t from, float coef)
{
	w->from[w->taps] = from;
	w->coef[w->taps++] = coef;
}

static void add_positions(whole_room *w, const grid_picture *g, const grid_taps *t, int64_t row)
{
	w->start[row] = (int32_t)w->taps;
	add_tap(w, 0, 1);
	for (int64_t k = 0; k < cells(g); k++) {
		w->start[row + 1 + k] = (int32_t)w->taps;
		if (!t->taps)
			add_tap(w, (int32_t)k + 1, 1);
		for (int64_t j = k * t->taps; j < (k + 1) * t->taps; j++)
			if (t->coef[j] != 0)
				add_tap(w, t->from[j] + 1, t->coef[j]);
	}
}

static bool take_room(whole_room *w, arena *a, int64_t patch_rows, int64_t taps, int32_t count)
{
	size_t n = (size_t)w->out->rows;
	w->source = arena_get(a, n, sizeof *w->source);
	w->patches = arena_get(a, (size_t)patch_rows, sizeof *w->patches);
	w->dropped = arena_get(a, (size_t)patch_rows, sizeof *w->dropped);
	w->start = arena_get(a, n + 1, sizeof *w->start);
	w->from = arena_get(a, (size_t)taps, sizeof *w->from);
	w->coef = arena_get(a, (size_t)taps, sizeof *w->coef);
	w->seg = arena_get(a, (size_t)count, sizeof *w->seg);
	return w->source && w->patches && w->dropped && w->start && w->from && w->coef && w->seg;
}

static void finish(whole_room *w, int64_t table_rows, int64_t patch_rows, int32_t count, int32_t *first)
{
	whole_run *out = w->out;
	w->start[out->rows] = (int32_t)w->taps;
	out->source = (rowmap){.rows_out = out->rows, .rows_in = table_rows + 1, .taps = 1, .from = w->source};
	out->patches = (rowmap){.rows_out = patch_rows, .rows_in = out->rows, .taps = 1, .from = w->patches};
	out->position = (rowmap){.rows_out = out->rows, .rows_in = w->shape->positions, .start = w->start, .from = w->from, .coef = w->coef};
	out->dropped = w->dropped;
	out->self = (layout){.count = count, .seg = w->seg};
	layout_finish(&out->self, first);
}

rebus_status whole_pictures(const tower_shape *shape, const picture_list *list, run_rows *rows, arena *a, whole_run **out, rebus_error *err)
{
	int32_t count = list->count, *first = arena_get(a, (size_t)count + 1, sizeof *first);
	whole_room w = {.shape = shape, .out = arena_zero(a, 1, sizeof *w.out)};
	grid_taps *taps = arena_get(a, (size_t)count, sizeof *taps);
	if (!first || !w.out || !taps)
		return error_memory(err, "pictures");
	int64_t table_rows = rows->row[count], patch_rows = rows->patch[count], most = 0;
	for (int32_t i = 0; i < count; i++) {
		rebus_status status = picture_taps(shape, list->at[i], a, &taps[i], err);
		if (status)
			return status;
		most += 1 + cells(list->at[i]) * int_max(1, taps[i].taps);
		w.out->rows += 1 + cells(list->at[i]);
	}
	if (most > INT32_MAX / 2)
		return error_set(err, REBUS_LIMIT, "positions: %lld weights in one call", (long long)most);
	if (!take_room(&w, a, patch_rows, most, count))
		return error_memory(err, "pictures");
	int64_t row = 0;
	for (int32_t i = 0; i < count; i++) {
		const grid_picture *g = list->at[i];
		add_source(&w, g, rows->row[i], row, rows->patch[i], rows->patch[i + 1], (int32_t)table_rows);
		add_positions(&w, g, &taps[i], row);
		w.seg[i] = (segment){(int32_t)row, (int32_t)(row + 1 + cells(g)), (int32_t)row, (int32_t)(row + 1 + cells(g))};
		row += 1 + cells(g);
	}
	finish(&w, table_rows, patch_rows, count, first);
	rows->dropped = w.dropped;
	*out = w.out;
	return REBUS_OK;
}
