/*
 * arrange.c - see arrange.h. A picture's patches are numbered row by row; what the tower reads is a list of them.
 *
 *     cut       a box of the grid stays: token-cut of its area                     0 1 2 3        1 2
 *     drop      a share of what is left goes, drawn one by one                     4 5 6 7   ─►   5 6   ─►   6 2 1
 *     order     reversed, or shuffled (a share of pictures each)                   8 9 ...
 *     mask      a share of all patches is read as zeros, one by one or as a box
 *
 *   token-positions move   a patch keeps the position of its place, wherever it stands in the list: for a tower of full attention
 *                          another order is then the same set, and only what is dropped, cut or masked counts
 *   token-positions stay   positions keep their order and patches move over them: the k-th patch of the new order has the position
 *                          that the k-th had. The picture is another one, unless the model has no positions
 *
 * FlexiViT's random patch size (Beyer et al. 2023) is not among them: it needs the resampled weights' gradient.
 */
#include "train/arrange.h"

#include <math.h>
#include <string.h>

enum { DRAW_SIZE = 1 << 20, DRAW_CUT, DRAW_TOP, DRAW_LEFT, DRAW_REVERSE, DRAW_SHUFFLE, DRAW_BOX, DRAW_BOX_TOP, DRAW_BOX_LEFT,
	DRAW_DROP = 2 << 20, DRAW_ORDER = 3 << 20, DRAW_MASK = 4 << 20 };

bool arrange_any(const recipe *r)
{
	bool order = r->token_shuffle > 0 || r->token_reverse > 0;
	return order || r->token_drop > 0 || r->token_drop_final > 0 || r->token_mask > 0 || r->token_cut < 1 || r->resize > 0;
}

rebus_status arrange_check(const rebus_model *m, const recipe *r, rebus_error *err)
{
	const tower_shape *s = m->vision.f ? m->vision.f->tower(m->vision.config) : NULL;
	if (!arrange_any(r))
		return REBUS_OK;
	if (!s || s->windows || s->masks || s->flat || (m->self.f->abilities & REBUS_GENERATES))
		return error_set(err, REBUS_MISUSE, "token-..., resize: a %s model, expected an encoder of pictures whose patches are one sequence",
			m->self.f->model_type);
	return REBUS_OK;
}

void arrange_size(const rebus_model *m, item *it)
{
	const tower_shape *s = m->vision.f ? m->vision.f->tower(m->vision.config) : NULL;
	if (!s || !(it->r->resize > 0))
		return;
	double factor = 1 + it->r->resize * (2 * item_unit(it, DRAW_SIZE) - 1);
	it->prompt->options.height = s->patch[0] * (int32_t)fmax(1, round(factor * s->image[0] / s->patch[0]));
	it->prompt->options.width = s->patch[1] * (int32_t)fmax(1, round(factor * s->image[1] / s->patch[1]));
}

/* A box of `share` of the grid's area, with its sides' ratio. */
typedef struct box {
	int32_t top, left, height, width;
} box;

static int32_t side(double share, int32_t whole)
{
	return (int32_t)fmax(1, fmin(whole, round(sqrt(share) * whole)));
}

static box draw_box(const item *it, const grid_picture *g, double share, uint64_t top, uint64_t left)
{
	box b = {.height = side(share, g->rows), .width = side(share, g->columns)};
	b.top = (int32_t)(item_unit(it, top) * (g->rows - b.height + 1));
	b.left = (int32_t)(item_unit(it, left) * (g->columns - b.width + 1));
	return b;
}

static bool inside(const box *b, int32_t y, int32_t x)
{
	return y >= b->top && y < b->top + b->height && x >= b->left && x < b->left + b->width;
}

/* count of list, drawn one by one; the others go. Their order stays. */
static int32_t keep_some(const item *it, int32_t *list, int32_t count, double drop)
{
	int32_t keep = (int32_t)fmax(1, round(count * (1 - drop))), n = 0;
	for (int32_t i = 0; i < count; i++)
		if (item_unit(it, DRAW_DROP + (uint64_t)i) * (count - i) < keep - n) /* Knuth's algorithm S */
			list[n++] = list[i];
	return n;
}

static void reorder(const item *it, int32_t *list, int32_t count)
{
	const recipe *r = it->r;
	if (item_unit(it, DRAW_REVERSE) < r->token_reverse)
		for (int32_t i = 0, k = count - 1; i < k; i++, k--) {
			int32_t t = list[i];
			list[i] = list[k];
			list[k] = t;
		}
	for (int32_t i = count - 1; i > 0 && item_unit(it, DRAW_SHUFFLE) < r->token_shuffle; i--) {
		int32_t k = (int32_t)(item_unit(it, DRAW_ORDER + (uint64_t)i) * (i + 1)), t = list[i];
		list[i] = list[k];
		list[k] = t;
	}
}

static void mask(const item *it, const grid_picture *g, uint8_t *masked)
{
	bool block = !strcmp(it->r->token_mask_kind, "block");
	box b = draw_box(it, g, it->r->token_mask, DRAW_BOX_TOP, DRAW_BOX_LEFT);
	for (int32_t k = 0; k < g->rows * g->columns; k++)
		masked[k] = block ? inside(&b, k / g->columns, k % g->columns) : item_unit(it, DRAW_MASK + (uint64_t)k) < it->r->token_mask;
}

static rebus_status arrange_one(const item *it, grid_picture *g, double progress, rebus_error *err)
{
	const recipe *r = it->r;
	arena *a = &it->prompt->mem;
	int32_t cells = g->rows * g->columns, n = 0;
	double drop = r->token_drop_final < 0 ? r->token_drop : r->token_drop + (r->token_drop_final - r->token_drop) * progress;
	int32_t *kept = arena_get(a, (size_t)cells, sizeof *kept), *place = arena_get(a, (size_t)cells, sizeof *place);
	uint8_t *masked = arena_zero(a, (size_t)cells, 1);
	if (!kept || !place || !masked)
		return error_memory(err, "a picture's tokens");
	box b = draw_box(it, g, r->token_cut, DRAW_TOP, DRAW_LEFT);
	for (int32_t k = 0; k < cells; k++)
		if (r->token_cut >= 1 || inside(&b, k / g->columns, k % g->columns))
			kept[n++] = k;
	n = drop > 0 ? keep_some(it, kept, n, drop) : n;
	memcpy(place, kept, (size_t)n * sizeof *place);
	reorder(it, kept, n);
	if (r->token_mask > 0)
		mask(it, g, masked);
	g->kept = kept;
	g->seen = n;
	g->place = !strcmp(r->token_positions, "stay") ? place : NULL;
	g->masked = r->token_mask > 0 ? masked : NULL;
	return REBUS_OK;
}

rebus_status arrange_tokens(item *it, double progress, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (int32_t i = 0; i < it->prompt->picture_count && !status; i++)
		status = arrange_one(it, &it->prompt->pictures[i], progress, err);
	return status;
}
