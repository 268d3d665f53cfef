/*
 * ahead_pictures.c - rebus_ahead_*: prompts of one picture, made by the threads of a queue (base.h) in the order of their files.
 *
 *   rebus_ahead_file ─► job: path ─► thread: read, decode, process ─► job: prompt or error ─► rebus_ahead_next ─► the caller
 *                                    memory counted by the queue                              memory no longer counted
 *
 * The file's bytes and the decoded picture are scratch of the thread and counted too, so that many threads with large
 * pictures stay below the limit. A prompt changes hands with its arena: the chunks came from the model's allocator through
 * the queue's count, and go back to the model's allocator.
 */
#include "generate/prompt.h"

#include <string.h>

enum { MEMORY = 256 << 20 };

struct rebus_ahead {
	const rebus_model *m;
	arena mem;
	rebus_prompt_options prompt;
	ahead *queue;
	size_t count;
};

typedef struct picture_job {
	ahead_job base;
	const rebus_ahead *of;
	arena mem; /* the job lies in it */
	const char *name;
	const void *bytes; /* NULL: name is a file */
	size_t size;
	rebus_prompt *prompt;
	rebus_status status;
	rebus_error err;
} picture_job;

rebus_ahead_options rebus_ahead_defaults(void)
{
	return (rebus_ahead_options){0};
}

static void make_prompt(ahead_job *base)
{
	picture_job *j = (picture_job *)(void *)base;
	rebus_status status = prompt_new(j->of->m, &j->of->prompt, &base->counted, &j->prompt, &j->err);
	if (!status)
		status = j->bytes ? rebus_prompt_image_bytes(j->prompt, j->bytes, j->size, j->name, &j->err) : rebus_prompt_image_file(j->prompt, j->name, &j->err);
	if (status) {
		rebus_prompt_free(j->prompt);
		j->prompt = NULL;
	}
	j->status = status;
}

rebus_status rebus_ahead_open(const rebus_model *m, const rebus_prompt_options *prompt, const rebus_ahead_options *options, rebus_ahead **out, rebus_error *err)
{
	rebus_status status;
	rebus_ahead_options o = options ? *options : rebus_ahead_defaults();
	rebus_prompt *tried = NULL;
	arena mem;
	arena_init(&mem, m->mem.from, 0);
	TRY(rebus_prompt_new(m, prompt, &tried, err)); /* what is wrong with the options is told now */
	rebus_ahead *q = arena_zero(&mem, 1, sizeof *q);
	if (!q) {
		status = error_memory(err, "pictures ahead");
		goto done;
	}
	q->m = m;
	q->prompt = prompt ? *prompt : rebus_prompt_defaults();
	if (q->prompt.positions) {
		q->prompt.positions = arena_text(&mem, prompt->positions, strlen(prompt->positions));
		if (!q->prompt.positions) {
			status = error_memory(err, "pictures ahead");
			goto done;
		}
	}
	TRY(ahead_open(o.threads ? o.threads : cpu_quota(), o.memory ? o.memory : MEMORY, make_prompt, m->mem.from, &q->queue, err));
	q->mem = mem;
	*out = q;
done:
	rebus_prompt_free(tried);
	if (status)
		arena_free(&mem);
	return status;
}

static rebus_status put(rebus_ahead *q, const void *bytes, size_t size, const char *name, rebus_error *err)
{
	arena mem;
	arena_init(&mem, q->m->mem.from, 0);
	picture_job *j = arena_zero(&mem, 1, sizeof *j);
	const char *copy = j ? arena_text(&mem, name, strlen(name)) : NULL;
	if (!copy) {
		arena_free(&mem);
		return error_memory(err, "a picture ahead");
	}
	j->of = q;
	j->mem = mem;
	j->name = copy;
	j->bytes = bytes;
	j->size = size;
	q->count++;
	ahead_put(q->queue, &j->base);
	return REBUS_OK;
}

rebus_status rebus_ahead_file(rebus_ahead *q, const char *path, rebus_error *err)
{
	return put(q, NULL, 0, path, err);
}

rebus_status rebus_ahead_bytes(rebus_ahead *q, const void *bytes, size_t size, const char *name, rebus_error *err)
{
	return put(q, size ? bytes : "", size, name, err); /* an empty file may have no address */
}

static void job_free(picture_job *j)
{
	arena mem = j->mem; /* the job lies in its own arena */
	arena_free(&mem);
}

/* The oldest, with its prompt's memory handed over; NULL: none. */
static picture_job *take(rebus_ahead *q)
{
	picture_job *j = (picture_job *)(void *)ahead_take(q->queue);
	if (j && j->prompt)
		j->prompt->mem.from = q->m->mem.from;
	q->count -= j != NULL;
	return j;
}

rebus_status rebus_ahead_next(rebus_ahead *q, rebus_prompt **out, rebus_error *err)
{
	picture_job *j = take(q);
	if (!j)
		return error_set(err, REBUS_MISUSE, "no picture ahead: as many were taken as were put");
	rebus_status status = j->status;
	if (status && err)
		*err = j->err;
	if (!status)
		*out = j->prompt;
	job_free(j);
	return status;
}

size_t rebus_ahead_count(const rebus_ahead *q)
{
	return q->count;
}

void rebus_ahead_close(rebus_ahead *q)
{
	if (!q)
		return;
	ahead_stop(q->queue);
	for (picture_job *j; (j = take(q));) {
		rebus_prompt_free(j->prompt);
		job_free(j);
	}
	ahead_close(q->queue);
	arena mem = q->mem; /* the queue lies in its own arena */
	arena_free(&mem);
}
