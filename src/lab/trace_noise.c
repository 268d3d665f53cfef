/*
 * trace_noise.c - see trace_noise.h.
 *
 *   noise        F32 (pictures, patches)   drawn here from the seed, or given: the reference draws with torch.rand
 *   mask         F32 (pictures, patches)   1 where a patch was dropped
 *   ids_restore  I64 (pictures, patches)   place of each patch in the order of the noise
 *   loss         F32 ()                    mean error of the dropped patches, where there is a decoder
 */
#include "lab/trace_noise.h"

#include <math.h>
#include <string.h>

rebus_status trace_take_noise(rebus_prompt *p, const rebus_tensor *noise, rebus_error *err)
{
	const float *x = noise->data;
	int64_t patches = noise->rank == 2 ? noise->shape[1] : 0;
	bool good = noise->type == REBUS_F32 && noise->rank == 2 && noise->shape[0] == p->picture_count;
	for (int32_t i = 0; good && i < p->picture_count; i++)
		good = patches == (int64_t)p->pictures[i].rows * p->pictures[i].columns;
	for (int64_t i = 0; good && i < p->picture_count * patches; i++)
		good = !isnan(x[i]);
	if (!good)
		return error_set(err, REBUS_MISUSE, "inputs: noise: expected F32 (pictures, patches), a number for every patch");
	for (int32_t i = 0; i < p->picture_count; i++) {
		rebus_status status = prompt_mask(p, i, x + i * patches, err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

void trace_give_masks(rebus_tensors *out, const char *prefix, const rebus_prompt *p)
{
	if (!p->picture_count || !p->pictures[0].kept)
		return;
	int64_t n = (int64_t)p->pictures[0].rows * p->pictures[0].columns, shape[2] = {p->picture_count, n};
	float *noise = tensors_add(out, prefix, "noise", REBUS_F32, 2, shape);
	float *mask = tensors_add(out, prefix, "mask", REBUS_F32, 2, shape);
	int64_t *restore = tensors_add(out, prefix, "ids_restore", REBUS_I64, 2, shape);
	for (int32_t k = 0; noise && mask && restore && k < p->picture_count; k++) {
		const grid_picture *g = &p->pictures[k];
		memcpy(noise + k * n, g->noise, (size_t)n * sizeof *noise);
		for (int32_t j = 0; j < n; j++) {
			mask[k * n + g->kept[j]] = j >= g->seen;
			restore[k * n + g->kept[j]] = j;
		}
	}
}

/* The net's own loss is that of all prompts together; here each has its own, from the errors of its patches. */
void trace_give_loss(rebus_tensors *out, const char *prefix, const run_net *seen, const run_rows *rows, int32_t p0, int32_t p1)
{
	plan_rows x;
	double sum = 0;
	int64_t dropped = 0;
	if (!session_output(seen, NET_PATCH_ERRORS, &x, NULL))
		return;
	for (int64_t r = rows->patch[p0]; r < rows->patch[p1]; r++) {
		sum += (double)x.data[r * x.stride];
		dropped += rows->dropped[r];
	}
	float *loss = dropped ? tensors_add(out, prefix, "loss", REBUS_F32, 0, NULL) : NULL;
	if (loss)
		*loss = (float)(sum / (double)dropped);
}
