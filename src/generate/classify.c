/*
 * classify.c - rebus_classify.
 *
 *   labels of the model's own   softmax over its logits
 *   labels as texts             softmax over exp(scale) * cosine of the picture with each text (CLIP, zero-shot), or where
 *                               labels are independent a sigmoid of each (SigLIP)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate/batching.h"
#include "generate/labels.h"
#include "generate/similarity.h"

struct rebus_scores {
	arena mem;
	size_t pictures, labels;
	const char **names; /* [labels] */
	float *values;      /* [pictures, labels] best first */
	int32_t *order;     /* [pictures, labels] label of each rank */
};

static rebus_status new_scores(const rebus_session *s, size_t pictures, size_t labels, rebus_scores **out, rebus_error *err)
{
	arena mem;
	size_t n;
	arena_init(&mem, s->m->mem.from, 0);
	rebus_scores *x = arena_zero(&mem, 1, sizeof *x);
	if (x && size_mul(pictures, labels, &n)) {
		x->names = arena_zero(&mem, labels, sizeof *x->names);
		x->values = arena_get(&mem, n, sizeof *x->values);
		x->order = arena_get(&mem, n, sizeof *x->order);
	}
	if (!x || !x->names || !x->values || !x->order) {
		arena_free(&mem);
		return error_memory(err, "scores");
	}
	x->pictures = pictures;
	x->labels = labels;
	x->mem = mem;
	*out = x;
	return REBUS_OK;
}

typedef struct rank {
	float value;
	int32_t label;
} rank;

static int best_first(const void *a, const void *b)
{
	const rank *x = a, *y = b;
	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->label < y->label ? -1 : 1;
}

static rebus_status fill(rebus_scores *x, const kernels *k, bool independent, const plan_rows *logits, arena *a, rebus_error *err)
{
	rank *ranks = arena_get(a, x->labels, sizeof *ranks);
	if (!ranks)
		return error_memory(err, "scores");
	for (size_t p = 0; p < x->pictures; p++) {
		float *values = x->values + p * x->labels;
		const float *from = logits->data + (int64_t)p * logits->stride;
		if (independent)
			k->act(ACT_SIGMOID, (int64_t)x->labels, from, values);
		else
			k->softmax(1, (int64_t)x->labels, from, logits->stride, values, (int64_t)x->labels);
		for (size_t i = 0; i < x->labels; i++)
			ranks[i] = (rank){values[i], (int32_t)i};
		qsort(ranks, x->labels, sizeof *ranks, best_first);
		for (size_t i = 0; i < x->labels; i++) {
			values[i] = ranks[i].value;
			x->order[p * x->labels + i] = ranks[i].label;
		}
	}
	return REBUS_OK;
}

static rebus_status check_call(const rebus_session *s, bool labels, rebus_error *err)
{
	unsigned can = rebus_model_abilities(s->m);
	if (!(can & (REBUS_TWO_TOWERS | REBUS_CLASSIFIES)))
		return error_set(err, REBUS_MISUSE, "a %s model without labels does not classify", rebus_model_family(s->m));
	if (can & REBUS_TWO_TOWERS && !labels)
		return error_set(err, REBUS_MISUSE, "no label: a %s model chooses among the texts it is given", rebus_model_family(s->m));
	if (!(can & REBUS_TWO_TOWERS) && labels)
		return error_set(err, REBUS_MISUSE, "labels are given: a %s model has its own", rebus_model_family(s->m));
	return REBUS_OK;
}

/* [pictures, labels] in a. */
static rebus_status logits_of(rebus_session *s, const picture_list *pictures, const rebus_labels *labels, arena *a, plan_rows *out, rebus_error *err)
{
	rebus_status status;
	plan_rows seen;
	if (labels) {
		const plan_rows texts = {labels->vectors, (int64_t)labels->count, (int64_t)labels->width, (int64_t)labels->width};
		TRY(batching_see(s, pictures, "image_embeds", a, &seen, err));
		TRY(similarity_logits(s, &seen, &texts, a, out, err));
	} else {
		TRY(batching_see(s, pictures, "logits", a, out, err));
		if (out->width != s->m->label_count) {
			status = error_set(err, REBUS_SHAPE, "config.json: id2label: %lld labels, the classifier has %lld", (long long)s->m->label_count,
			                   (long long)out->width);
			goto done;
		}
	}
	TRY(session_numbers(out, "scores", err));
done:
	return status;
}

rebus_status rebus_classify_among(rebus_session *s, rebus_prompt *const *prompts, size_t count, const rebus_labels *labels, rebus_scores **out,
                                  rebus_error *err)
{
	rebus_status status;
	arena a;
	rebus_scores *x = NULL;
	picture_list pictures;
	plan_rows logits = {0};
	arena_init(&a, s->m->mem.from, 0);
	TRY(check_call(s, labels, err));
	TRY(session_pictures(prompts, count, &a, &pictures, err));
	if (!pictures.count) {
		status = error_set(err, REBUS_MISUSE, "nothing to classify: no picture");
		goto done;
	}
	TRY(logits_of(s, &pictures, labels, &a, &logits, err));
	TRY(new_scores(s, (size_t)pictures.count, (size_t)logits.width, &x, err));
	for (size_t i = 0; i < x->labels; i++) {
		x->names[i] = labels ? arena_text(&x->mem, labels->names[i], strlen(labels->names[i])) : s->m->labels[i];
		if (!x->names[i]) {
			status = error_memory(err, "labels");
			goto done;
		}
	}
	TRY(fill(x, s->m->k, labels && s->m->self.f->independent, &logits, &a, err));
	*out = x;
	x = NULL;
done:
	rebus_scores_free(x);
	arena_free(&a);
	return status;
}

rebus_status rebus_classify(rebus_session *s, rebus_prompt *const *prompts, size_t count, const char *const *texts, size_t text_count, rebus_scores **out,
                            rebus_error *err)
{
	rebus_labels *labels = NULL;
	rebus_status status = REBUS_OK;
	TRY(check_call(s, text_count, err));
	if (text_count)
		TRY(rebus_labels_new(s, texts, text_count, NULL, 0, &labels, err));
	TRY(rebus_classify_among(s, prompts, count, labels, out, err));
done:
	rebus_labels_free(labels);
	return status;
}

void rebus_scores_free(rebus_scores *x)
{
	if (!x)
		return;
	arena mem = x->mem; /* the scores lie in their own arena */
	arena_free(&mem);
}

size_t rebus_scores_pictures(const rebus_scores *x)
{
	return x->pictures;
}

size_t rebus_scores_labels(const rebus_scores *x)
{
	return x->labels;
}

const char *rebus_scores_label(const rebus_scores *x, size_t number, size_t place)
{
	return number < x->pictures && place < x->labels ? x->names[x->order[number * x->labels + place]] : NULL;
}

float rebus_scores_value(const rebus_scores *x, size_t number, size_t place)
{
	return number < x->pictures && place < x->labels ? x->values[number * x->labels + place] : 0;
}
