/* embed.c - rebus_embed: pictures, then texts, in the runs that the session's batching makes of them. */
#include <math.h>
#include <string.h>

#include "generate/batching.h"

struct rebus_vectors {
	arena mem;
	size_t rows, width;
	float *data;
};

/* Copies an output's rows, one after the other. */
static void copy_rows(const plan_rows *from, float *to)
{
	for (int64_t r = 0; r < from->rows; r++)
		memcpy(to + r * from->width, from->data + r * from->stride, (size_t)from->width * sizeof(float));
}

/* The texts of all prompts as sequences. */
static rebus_status text_list(rebus_prompt *const *prompts, size_t count, arena *a, sequence **out, int32_t *texts, rebus_error *err)
{
	int64_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += prompt_texts(prompts[i]);
	if (total > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%lld texts in one call", (long long)total);
	sequence *list = arena_zero(a, (size_t)total, sizeof *list);
	if (!list)
		return error_memory(err, "texts");
	*texts = 0;
	for (size_t i = 0; i < count; i++)
		for (int32_t k = 0; k < prompts[i]->piece_count; k++)
			if (!prompts[i]->pieces[k].image) {
				rebus_status status = prompt_text_ids(prompts[i], a, &prompts[i]->pieces[k], false, &list[(*texts)++], err);
				if (status)
					return status;
			}
	*out = list;
	return REBUS_OK;
}

rebus_status rebus_embed(rebus_session *s, rebus_prompt *const *prompts, size_t count, rebus_vectors **out, rebus_error *err)
{
	rebus_status status;
	arena a, mem;
	picture_list pictures = {0};
	sequence *texts = NULL;
	int32_t text_count = 0;
	plan_rows seen = {0}, read = {0};
	arena_init(&a, s->m->mem.from, 0);
	arena_init(&mem, s->m->mem.from, 0);
	if (s->m->self.f->abilities & REBUS_GENERATES) {
		status = error_set(err, REBUS_MISUSE, "a %s model gives no embeddings", rebus_model_family(s->m));
		goto done;
	}
	if (s->m->vision.f)
		TRY(session_pictures(prompts, count, &a, &pictures, err));
	if (s->m->text.f)
		TRY(text_list(prompts, count, &a, &texts, &text_count, err));
	if (!pictures.count && !text_count) {
		status = error_set(err, REBUS_MISUSE, "nothing to embed: no picture and no text");
		goto done;
	}
	if (pictures.count)
		TRY(batching_see(s, &pictures, NET_EMBEDDING, &a, &seen, err));
	if (text_count)
		TRY(batching_read(s, texts, text_count, NET_EMBEDDING, &a, &read, err));
	TRY(session_numbers(&seen, "embeddings of pictures", err));
	TRY(session_numbers(&read, "embeddings of texts", err));
	int64_t width = seen.rows ? seen.width : read.width;
	rebus_vectors *v = arena_zero(&mem, 1, sizeof *v);
	float *data = v ? arena_get(&mem, (size_t)(seen.rows + read.rows), (size_t)width * sizeof(float)) : NULL;
	if (!data) {
		status = error_memory(err, "embeddings");
		goto done;
	}
	copy_rows(&seen, data);
	copy_rows(&read, data + seen.rows * width);
	*v = (rebus_vectors){.mem = mem, .rows = (size_t)(seen.rows + read.rows), .width = (size_t)width, .data = data};
	*out = v;
done:
	arena_free(&a);
	if (status)
		arena_free(&mem);
	return status;
}

void rebus_vectors_free(rebus_vectors *v)
{
	if (!v)
		return;
	arena mem = v->mem; /* the vectors lie in their own arena */
	arena_free(&mem);
}

const float *rebus_vectors_data(const rebus_vectors *v, size_t *rows, size_t *width)
{
	*rows = v->rows;
	*width = v->width;
	return v->data;
}
