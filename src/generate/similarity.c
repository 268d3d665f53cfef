/* similarity.c - see similarity.h. */
#include "generate/similarity.h"

#include <math.h>

rebus_status similarity_logits(const rebus_session *s, const plan_rows *pictures, const plan_rows *texts, arena *a, plan_rows *out, rebus_error *err)
{
	const weight *scale = s->m->self.f->similarity_scale ? s->m->self.f->similarity_scale(s->m) : NULL;
	if (!scale || pictures->width != texts->width)
		return error_set(err, REBUS_MISUSE, "a %s model does not compare pictures with texts", rebus_model_family(s->m));
	float *logits = arena_get(a, (size_t)pictures->rows, (size_t)texts->rows * sizeof *logits);
	if (!logits)
		return error_memory(err, "similarities");
	float factor = (float)exp((double)scale->f32[0]), bias = s->m->self.f->similarity_bias ? s->m->self.f->similarity_bias(s->m)->f32[0] : 0.0f;
	for (int64_t p = 0; p < pictures->rows; p++)
		for (int64_t t = 0; t < texts->rows; t++)
			logits[p * texts->rows + t] = factor * s->m->k->dot(pictures->width, pictures->data + p * pictures->stride, texts->data + t * texts->stride) + bias;
	*out = (plan_rows){logits, pictures->rows, texts->rows, texts->rows};
	return REBUS_OK;
}
