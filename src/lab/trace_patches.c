/*
 * trace_patches.c - see trace_patches.h. The reference fills every picture up to the budget N (Siglip2ImageProcessor):
 *
 *   pixel_values          F32 (pictures, N, patch side * patch side * channels)   rows of patches, channel last; 0 behind them
 *   spatial_shapes        I64 (pictures, 2)                                       rows and columns of the grid
 *   pixel_attention_mask  I64 (pictures, N)                                       1 for rows * columns patches, then 0
 *
 * Here a picture is its values and its grid, and nothing is filled up.
 */
#include "lab/trace_patches.h"

#include <string.h>

#include "vision/patches.h"

bool trace_flat(const rebus_model *m)
{
	return m->vision.f && m->vision.f->tower(m->vision.config)->flat;
}

static rebus_status wrong(const char *name, const char *expected, rebus_error *err)
{
	return error_set(err, REBUS_MISUSE, "inputs: %s: expected %s", name, expected);
}

/* Ones for the grid's patches, zeros behind them. */
static bool mask_fits(const rebus_tensor *mask, int64_t picture, int64_t count)
{
	const int64_t *row = (const int64_t *)mask->data + picture * mask->shape[1];
	for (int64_t k = 0; k < mask->shape[1]; k++)
		if (row[k] != (k < count))
			return false;
	return true;
}

static rebus_status take_one(rebus_prompt *p, const tower_shape *t, const rebus_tensor *values, int64_t i, const int64_t grid[2], rebus_error *err)
{
	int64_t most = values->shape[1], width = values->shape[2];
	if (grid[0] < 1 || grid[1] < 1 || grid[0] > most || grid[1] > most / grid[0])
		return wrong("spatial_shapes", "rows and columns of at most as many patches as pixel_values has", err);
	arena scratch;
	arena_init(&scratch, p->mem.from, 0);
	int32_t height = (int32_t)grid[0] * t->patch[0], columns = (int32_t)grid[1], px_width = columns * t->patch[1];
	float *px = arena_get(&scratch, (size_t)(grid[0] * grid[1]), (size_t)width * sizeof *px);
	rebus_status status = px ? REBUS_OK : error_memory(err, "a picture");
	if (!status) {
		vision_pixels_last((const float *)values->data + i * most * width, (int32_t)t->channels, (int32_t)grid[0], columns, t->patch[0], t->patch[1], px);
		status = prompt_add_pixels(p, px, (int32_t)t->channels, height, px_width, (int32_t)most, err);
	}
	arena_free(&scratch);
	return status;
}

rebus_status trace_take_patches(rebus_prompt *p, const rebus_tensors *inputs, const rebus_tensor *values, rebus_error *err)
{
	const tower_shape *t = p->m->vision.f->tower(p->m->vision.config);
	rebus_tensor grids, mask;
	int64_t width = t->channels * t->patch[0] * t->patch[1];
	if (values->type != REBUS_F32 || values->rank != 3 || values->shape[0] < 1 || values->shape[1] < 1 || values->shape[1] > PATCHES_MOST ||
		values->shape[2] != width)
		return error_set(err, REBUS_MISUSE, "inputs: pixel_values: expected F32 (pictures, patches, %lld)", (long long)width);
	if (!rebus_tensors_find(inputs, "spatial_shapes", &grids) || grids.type != REBUS_I64 || grids.rank != 2 || grids.shape[0] != values->shape[0] ||
		grids.shape[1] != 2)
		return wrong("spatial_shapes", "I64 (pictures, 2) beside pixel_values", err);
	bool masked = rebus_tensors_find(inputs, "pixel_attention_mask", &mask);
	if (masked && (mask.type != REBUS_I64 || mask.rank != 2 || mask.shape[0] != values->shape[0] || mask.shape[1] != values->shape[1]))
		return wrong("pixel_attention_mask", "I64 (pictures, patches)", err);
	for (int64_t i = 0; i < values->shape[0]; i++) {
		const int64_t *grid = (const int64_t *)grids.data + 2 * i;
		rebus_status status = take_one(p, t, values, i, grid, err);
		if (status)
			return status;
		if (masked && !mask_fits(&mask, i, grid[0] * grid[1]))
			return wrong("pixel_attention_mask", "1 for every patch of the picture's grid, then 0", err);
	}
	return REBUS_OK;
}

rebus_status trace_give_patches(rebus_tensors *out, const char *prefix, const rebus_prompt *p, rebus_error *err)
{
	const tower_shape *t = p->m->vision.f->tower(p->m->vision.config);
	int64_t n = p->picture_count, width = t->channels * t->patch[0] * t->patch[1], most = 0;
	for (int32_t k = 0; k < n; k++)
		most = int_max(most, int_max(p->pictures[k].padded, p->pictures[k].rows * p->pictures[k].columns));
	for (int32_t k = 0; k < n; k++)
		if (p->pictures[k].padded && p->pictures[k].padded != most)
			return error_set(err, REBUS_MISUSE, "pictures of %lld and %d patches in one call, the reference stacks equal ones", (long long)most,
				p->pictures[k].padded);
	float *values = tensors_add(out, prefix, "pixel_values", REBUS_F32, 3, (int64_t[]){n, most, width});
	int64_t *mask = tensors_add(out, prefix, "pixel_attention_mask", REBUS_I64, 2, (int64_t[]){n, most});
	int64_t *grids = tensors_add(out, prefix, "spatial_shapes", REBUS_I64, 2, (int64_t[]){n, 2});
	for (int32_t k = 0; values && mask && grids && k < n; k++) {
		const grid_picture *g = &p->pictures[k];
		int64_t count = (int64_t)g->rows * g->columns;
		float *to = values + k * most * width;
		vision_patches_last(&g->px, g->rows, g->columns, t->patch[0], t->patch[1], to);
		memset(to + count * width, 0, (size_t)((most - count) * width) * sizeof *to);
		for (int64_t i = 0; i < most; i++)
			mask[k * most + i] = i < count;
		grids[2 * k] = g->rows;
		grids[2 * k + 1] = g->columns;
	}
	return REBUS_OK;
}
