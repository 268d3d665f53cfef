/*
 * see.c - pictures through the tower: every picture a sequence of its own, all in one run, each on its own patch grid.
 *
 *     picture 0:  class | 2 x 3 patches        picture 1:  class | 4 x 4 patches        one table of 1 + 6 + 1 + 16 rows
 *     positions:  its own grid resampled from the table, or the table as it is          one row map
 *
 * Padding (a policy of batching, never needed) puts rows of kind PAD after a picture's own: patches of zeros, without a
 * position, which are computed like any row and seen by none.
 */
#include <math.h>
#include <string.h>

#include "generate/session.h"
#include "generate/session_net.h"
#include "generate/whole.h"
#include "vision/patches.h"

rebus_status session_pictures(rebus_prompt *const *prompts, size_t count, arena *a, picture_list *out, rebus_error *err)
{
	int64_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += prompts[i]->picture_count;
	if (total > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%lld pictures in one call", (long long)total);
	*out = (picture_list){.at = arena_get(a, (size_t)total, sizeof *out->at)};
	if (!out->at)
		return error_memory(err, "pictures");
	for (size_t i = 0; i < count; i++)
		for (int32_t k = 0; k < prompts[i]->picture_count; k++)
			out->at[out->count++] = &prompts[i]->pictures[k];
	return REBUS_OK;
}

typedef struct sight { /* a run being put together */
	const tower_shape *shape;
	const picture_list *list;
	pick_rule pick;
	int64_t patch_rows;
	tokens table;
	float *patches;
	int32_t *picked; /* rows of the table that heads see */
	int64_t picked_count;
	rowmap source, position, seen, pool;
	pyramid *windows; /* NULL: the patches stay one grid */
	rowmap probe;
	layout self, cross;
	whole_run *whole; /* NULL: nothing is restored */
	float *angles;    /* NULL: nothing is turned */
} sight;

static bool picks(const sight *v, bool learned, int32_t order)
{
	return v->pick == PICK_ALL || (v->pick == PICK_PATCHES && !learned) || (v->pick == PICK_FIRST && order == 0);
}

static void mask_patches(const sight *v, const grid_picture *g, int64_t patch)
{
	int64_t width = v->shape->channels * v->shape->patch[0] * v->shape->patch[1];
	for (int32_t k = 0; g->masked && k < g->rows * g->columns; k++)
		if (g->masked[k])
			memset(v->patches + (patch + k) * width, 0, (size_t)width * sizeof *v->patches);
}

static void add_picture(sight *v, int32_t i, int64_t *patch)
{
	const grid_picture *g = v->list->at[i];
	const tower_shape *s = v->shape;
	int32_t learned = (int32_t)s->learned, count = g->rows * g->columns;
	for (int32_t k = 0; k < learned; k++)
		tokens_add(&v->table, TOKEN_LEARNED, i, k, i, k);
	for (int32_t k = 0; k < g->seen && g->place; k++) {
		tokens_add_some(&v->table, TOKEN_IMAGE, i, learned + k, i, 0, &g->place[k], 1, g->columns);
		v->table.source[v->table.rows - 1] = (int32_t)*patch + g->kept[k];
	}
	if (g->kept && !g->place)
		tokens_add_some(&v->table, TOKEN_IMAGE, i, learned, i, (int32_t)*patch, g->kept, g->seen, g->columns);
	else if (!g->kept)
		tokens_add_grid(&v->table, TOKEN_IMAGE, i, learned, i, (int32_t)*patch, g->rows, g->columns);
	int64_t row = v->table.rows - learned - g->seen;
	for (int32_t k = 0; k < learned + g->seen; k++)
		if (picks(v, k < learned, k))
			v->picked[v->picked_count++] = (int32_t)(row + k);
	(s->flat ? vision_patches_last : vision_patches)(&g->px, g->rows, g->columns, s->patch[0], s->patch[1],
	                                                 v->patches + *patch * s->channels * s->patch[0] * s->patch[1]);
	mask_patches(v, g, *patch);
	*patch += count;
	for (int32_t k = g->seen; k < v->list->pad_to; k++, (*patch)++)
		tokens_add(&v->table, TOKEN_PAD, i, learned + k, i, (int32_t)*patch);
}

static rebus_status make_table(sight *v, arena *a, run_rows *rows, rebus_error *err)
{
	int64_t total = 0;
	for (int32_t i = 0; i < v->list->count; i++) {
		const grid_picture *g = v->list->at[i];
		int64_t padding = int_max(0, v->list->pad_to - g->seen);
		v->patch_rows += (int64_t)g->rows * g->columns + padding;
		total += g->seen + padding + v->shape->learned;
	}
	if (int_max(total, v->patch_rows) > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%lld picture tokens in one call", (long long)total);
	rebus_status status = tokens_new(a, total, &v->table, err);
	if (status)
		return status;
	size_t n = (size_t)v->list->count + 1;
	size_t patch_bytes = (size_t)(v->shape->channels * v->shape->patch[0] * v->shape->patch[1]) * sizeof(float);
	v->patches = (v->list->pad_to ? arena_zero : arena_get)(a, (size_t)v->patch_rows, patch_bytes);
	v->picked = arena_get(a, (size_t)total, sizeof *v->picked);
	*rows = (run_rows){.count = v->list->count, .row = arena_get(a, n, sizeof(int32_t)), .picked = arena_get(a, n, sizeof(int32_t)),
		.patch = arena_get(a, n, sizeof(int32_t))};
	if (v->shape->flat)
		rows->padded = arena_get(a, n, sizeof(int32_t));
	if (!v->patches || !v->picked || !rows->row || !rows->picked || !rows->patch || (v->shape->flat && !rows->padded))
		return error_memory(err, "pictures");
	int64_t patch = 0;
	for (int32_t i = 0; i < v->list->count; i++) {
		rows->row[i] = (int32_t)v->table.rows;
		rows->picked[i] = (int32_t)v->picked_count;
		rows->patch[i] = (int32_t)patch;
		if (rows->padded)
			rows->padded[i] = v->list->at[i]->padded;
		add_picture(v, i, &patch);
	}
	rows->row[v->list->count] = (int32_t)v->table.rows;
	rows->picked[v->list->count] = (int32_t)v->picked_count;
	rows->patch[v->list->count] = (int32_t)patch;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ positions */
typedef struct map_room { /* a row map being written */
	int32_t *start, *from;
	float *coef;
	int64_t taps;
} map_room;

static void one_source(map_room *m, int64_t row, int64_t from)
{
	m->start[row] = (int32_t)m->taps;
	m->from[m->taps] = (int32_t)from;
	m->coef[m->taps++] = 1.0f;
}

/* The weights of one picture's grid; taps 0: the table is taken as it is. */
static rebus_status picture_taps(const sight *v, const grid_picture *g, arena *a, grid_taps *out, rebus_error *err)
{
	*out = (grid_taps){0};
	if (!g->resample)
		return REBUS_OK;
	grid_size own = {v->shape->grid[0], v->shape->grid[1]};
	while (!v->shape->grid[0] && (int64_t)(own.height + 1) * (own.height + 1) <= v->shape->positions - v->shape->placed)
		own.height = ++own.width;
	rebus_status status = vision_grid_taps(a, g->positions, own, (grid_size){g->rows, g->columns}, out, err);
	if (status && g->positions == GRID_NONE)
		return error_set(err, REBUS_MISUSE, "positions none: a grid of %dx%d patches, expected the checkpoint's %dx%d", g->rows, g->columns, own.height,
			own.width);
	return status;
}

/* Rows row ... end - 1 of one picture; taps whose weight is 0 are left out. Rows without a position get none: a sum of nothing. */
static void add_positions(const sight *v, const grid_picture *g, const grid_taps *t, int64_t row, int64_t end, map_room *m)
{
	int64_t learned = v->shape->learned, placed = v->shape->placed, count = g->seen;
	for (int64_t k = 0; k < learned; k++)
		if (k < placed)
			one_source(m, row + k, k);
		else
			m->start[row + k] = (int32_t)m->taps;
	for (int64_t k = 0; k < count; k++) {
		int64_t cell = g->place ? g->place[k] : g->kept ? g->kept[k] : k;
		if (!t->taps) {
			one_source(m, row + learned + k, placed + cell);
			continue;
		}
		m->start[row + learned + k] = (int32_t)m->taps;
		for (int64_t j = cell * t->taps; j < (cell + 1) * t->taps; j++)
			if (t->coef[j] != 0) {
				m->from[m->taps] = (int32_t)placed + t->from[j];
				m->coef[m->taps++] = t->coef[j];
			}
	}
	for (int64_t r = row + learned + count; r < end; r++)
		m->start[r] = (int32_t)m->taps;
}

static rebus_status make_positions(const sight *v, const run_rows *rows, arena *a, rowmap *out, rebus_error *err)
{
	grid_taps *taps = arena_get(a, (size_t)v->list->count, sizeof *taps);
	int64_t most = v->table.rows;
	if (!taps)
		return error_memory(err, "positions");
	for (int32_t i = 0; i < v->list->count; i++) {
		rebus_status status = picture_taps(v, v->list->at[i], a, &taps[i], err);
		if (status)
			return status;
		most += (int64_t)taps[i].cells * taps[i].taps;
	}
	if (most > INT32_MAX / 2)
		return error_set(err, REBUS_LIMIT, "positions: %lld weights in one call", (long long)most);
	map_room m = {.start = arena_get(a, (size_t)v->table.rows + 1, sizeof(int32_t)), .from = arena_get(a, (size_t)most, sizeof(int32_t)),
	              .coef = arena_get(a, (size_t)most, sizeof(float))};
	if (!m.start || !m.from || !m.coef)
		return error_memory(err, "positions");
	for (int32_t i = 0; i < v->list->count; i++)
		add_positions(v, v->list->at[i], &taps[i], rows->row[i], rows->row[i + 1], &m);
	m.start[v->table.rows] = (int32_t)m.taps;
	*out = (rowmap){.rows_out = v->table.rows, .rows_in = v->shape->positions, .start = m.start, .from = m.from, .coef = m.coef};
	return REBUS_OK;
}

/* Without padding. */
static int32_t own_rows(const sight *v, int32_t i)
{
	return (int32_t)v->shape->learned + v->list->at[i]->seen;
}

/* The pyramid of the pictures' windows. */
static rebus_status make_windows(sight *v, run_rows *rows, arena *a, rebus_error *err)
{
	int32_t(*grids)[2] = arena_get(a, (size_t)v->list->count, sizeof *grids);
	v->windows = arena_zero(a, 1, sizeof *v->windows);
	if (!grids || !v->windows)
		return error_memory(err, "windows");
	for (int32_t i = 0; i < v->list->count; i++) {
		if (own_rows(v, i) < v->list->pad_to)
			return error_set(err, REBUS_UNSUPPORTED, "batching: pictures of %dx%d patches padded to %d, but windows see padding; expected pack or bucket",
			                 v->list->at[i]->rows, v->list->at[i]->columns, v->list->pad_to);
		grids[i][0] = v->list->at[i]->rows;
		grids[i][1] = v->list->at[i]->columns;
	}
	rows->windows = v->windows;
	return tokens_pyramid(a, v->shape->windows, (const int32_t(*)[2])grids, v->list->count, v->windows, err);
}

/* A second row for each picture's heads: its second row, or the mean of its patches (of a pyramid: of the last stage's rows). */
static rebus_status make_pool(const sight *v, const run_rows *rows, pick_rule rule, arena *a, rowmap *out, rebus_error *err)
{
	int32_t count = v->list->count;
	const pyramid_stage *last = v->windows ? &v->windows->stage[v->windows->stages - 1] : NULL;
	const int32_t *row = last ? last->row : rows->row;
	map_room m = {.start = arena_get(a, (size_t)count + 1, sizeof(int32_t)), .from = arena_get(a, (size_t)v->table.rows, sizeof(int32_t)),
	              .coef = arena_get(a, (size_t)v->table.rows, sizeof(float))};
	if (!m.start || !m.from || !m.coef)
		return error_memory(err, "pictures");
	for (int32_t i = 0; i < count; i++) {
		if (rule == PICK_SECOND) {
			one_source(&m, i, rows->row[i] + 1);
			continue;
		}
		int64_t first = row[i] + v->shape->learned, n = (last ? row[i + 1] : rows->row[i] + own_rows(v, i)) - first;
		m.start[i] = (int32_t)m.taps;
		for (int64_t k = 0; k < n; k++) {
			m.from[m.taps] = (int32_t)(first + k);
			m.coef[m.taps++] = 1.0f / (float)n;
		}
	}
	m.start[count] = (int32_t)m.taps;
	*out = (rowmap){.rows_out = count, .rows_in = row[count], .start = m.start, .from = m.from, .coef = m.coef};
	return REBUS_OK;
}

/* A copy of the probe for each picture, and what it sees. */
static rebus_status make_probe(sight *v, const run_rows *rows, arena *a, rebus_error *err)
{
	int32_t count = v->list->count, *from = arena_zero(a, (size_t)count, sizeof *from), *first = arena_get(a, (size_t)count + 1, sizeof *first);
	segment *seg = arena_get(a, (size_t)count, sizeof *seg);
	if (!from || !first || !seg)
		return error_memory(err, "pictures");
	for (int32_t i = 0; i < count; i++)
		seg[i] = (segment){i, i + 1, rows->row[i] + (int32_t)v->shape->unseen, rows->row[i] + own_rows(v, i)};
	v->probe = (rowmap){.rows_out = count, .rows_in = 1, .taps = 1, .from = from};
	v->cross = (layout){.count = count, .seg = seg};
	layout_finish(&v->cross, first);
	return REBUS_OK;
}

/*
 * Rotary angles in two dimensions (Heo et al. 2024, axial): half of a head's pairs turn by the row, half by the column, pair i of them
 * by its place times 100^(-i / (half / 2)). Rows without a place are not turned.
 */
static rebus_status make_angles(sight *v, arena *a, rebus_error *err)
{
	int32_t half = v->shape->turn_half, quarter = half / 2;
	float *to = v->angles = arena_get(a, (size_t)v->table.rows, 2 * (size_t)half * sizeof *to);
	if (!to)
		return error_memory(err, "angles");
	for (int64_t r = 0; r < v->table.rows; r++, to += 2 * half)
		for (int32_t i = 0; i < half; i++) {
			bool placed = v->table.kind[r] == TOKEN_IMAGE;
			double at = placed ? (double)v->table.at[i < quarter ? AT_Y : AT_X][r] : 0, turn = at * pow(100, -(double)(i % quarter) / quarter);
			to[i] = (float)cos(turn);
			to[half + i] = (float)sin(turn);
		}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ the run */
/* Everything a run is fed with, in the arena. */
static rebus_status look(sight *v, const rebus_model *m, const picture_list *list, arena *a, run_rows *rows, rebus_error *err)
{
	rebus_status status;
	*v = (sight){.shape = m->vision.f->tower(m->vision.config), .list = list, .pick = m->self.f->vision_pick(m)};
	TRY(make_table(v, a, rows, err));
	int64_t base[TOKEN_KINDS] = {-1, 0, 0, v->patch_rows, 0};
	TRY(tokens_map_sources(a, &v->table, base, v->patch_rows + v->shape->learned, &v->source, err));
	TRY(make_positions(v, rows, a, &v->position, err));
	TRY(tokens_map_pick(a, v->picked, v->picked_count, v->table.rows, &v->seen, err));
	if (v->shape->probe)
		TRY(make_probe(v, rows, a, err));
	if (v->shape->windows)
		TRY(make_windows(v, rows, a, err));
	if (m->self.f->vision_pool)
		TRY(make_pool(v, rows, m->self.f->vision_pool, a, &v->pool, err));
	if (v->shape->turn_half)
		TRY(make_angles(v, a, err));
	if (v->shape->restores)
		TRY(whole_pictures(v->shape, list, rows, a, &v->whole, err));
	TRY(tokens_layout(a, &v->table, false, &v->self, err));
done:
	return status;
}

static net_size size_of(const sight *v)
{
	net_size size = {.rows = v->table.rows, .patches = v->patch_rows, .picked = v->picked_count,
		.whole = v->whole ? v->whole->rows : 0};
	for (int32_t s = 0; v->windows && s < v->windows->stages; s++) {
		size.stage_rows[s] = v->windows->stage[s].rows;
		for (int32_t k = 0; k < 2; k++)
			size.window_rows[s][k] = v->windows->stage[s].cut[k].rows;
	}
	return size;
}

static net_run run_of(const sight *v)
{
	return (net_run){.table = &v->table, .patches = v->patches, .patch_rows = v->patch_rows, .source = &v->source, .position = &v->position, .pick = &v->seen,
		.pool = &v->pool, .probe = &v->probe, .self = &v->self, .cross = &v->cross, .windows = v->windows, .whole = v->whole, .angles = v->angles};
}

rebus_status session_sight(const rebus_model *m, const picture_list *list, arena *a, run_rows *rows, net_size *need, net_run *out, rebus_error *err)
{
	sight *v = arena_zero(a, 1, sizeof *v);
	if (!v)
		return error_memory(err, "pictures");
	rebus_status status = look(v, m, list, a, rows, err);
	if (status)
		return status;
	*need = size_of(v);
	*out = run_of(v);
	return REBUS_OK;
}

rebus_status session_see(rebus_session *s, const picture_list *list, net_wants wants, arena *a, run_rows *rows, rebus_error *err)
{
	rebus_status status;
	sight v;
	feed f;
	TRY(look(&v, s->m, list, a, rows, err));
	TRY(session_net(s, NET_VISION, size_of(&v), wants, err));
	net_run r = run_of(&v);
	TRY(net_feed(&s->vision.n, &r, a, &f, err));
	TRY(plan_run(s->vision.p, &f, &s->runner, s->options.stop, s->options.user, err));
done:
	return status;
}

rebus_status session_measure_see(rebus_session *s, const picture_list *list, arena *a, size_t *plan_bytes, rebus_error *err)
{
	sight v;
	run_rows rows;
	rebus_status status = look(&v, s->m, list, a, &rows, err);
	return status ? status : session_measure_net(s, NET_VISION, size_of(&v), plan_bytes, err);
}
