/* sequences.c - see sequences.h. */
#include "generate/sequences.h"

rebus_status sequences_make(rebus_prompt *const *prompts, size_t count, arena *a, sequence **out, rebus_error *err)
{
	sequence *list = arena_zero(a, count, sizeof *list);
	if (!list)
		return error_memory(err, "prompts");
	for (size_t i = 0; i < count; i++) {
		const rebus_prompt *p = prompts[i];
		int64_t *rows = arena_get(a, (size_t)p->picture_count, sizeof *rows);
		if (!rows)
			return error_memory(err, "prompts");
		for (int32_t k = 0; k < p->picture_count; k++)
			rows[k] = prompt_feature_rows(p->m, &p->pictures[k]);
		rebus_status status = prompt_sequence(p, a, rows, &list[i], err);
		if (status)
			return count > 1 ? error_prefix(err, status, "prompt %zu", i) : status;
	}
	*out = list;
	return REBUS_OK;
}

rebus_status sequences_features(rebus_session *s, rebus_prompt *const *prompts, size_t count, net_wants wants, arena *a, plan_rows *out, rebus_error *err)
{
	picture_list list;
	run_rows rows;
	*out = (plan_rows){0};
	if (!s->m->vision.f)
		return REBUS_OK;
	rebus_status status = session_pictures(prompts, count, a, &list, err);
	if (status || !list.count)
		return status;
	status = session_see(s, &list, wants, a, &rows, err);
	if (!status && !session_output(&s->vision, "image_features", out, NULL))
		return error_set(err, REBUS_UNSUPPORTED, "a %s model gives no picture features", rebus_model_family(s->m));
	return status;
}
