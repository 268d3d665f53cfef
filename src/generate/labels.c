/*
 * labels.c - rebus_labels_*: texts to choose among, through the text tower once for any number of pictures.
 *
 *   label × templates ─► texts ─► text tower ─► unit vectors ─► their mean, of unit length: the label's vector
 *
 * The mean of unit vectors, made one again, is the prompt ensemble of CLIP (Radford et al. 2021, 3.1.4). Without templates a
 * label is a text as it stands, and its vector is what the tower gives.
 */
#include "generate/labels.h"

#include <math.h>
#include <string.h>

#include "generate/batching.h"

enum { TEXTS_MOST = 1 << 24, TEXTS_A_RUN = 256, TEMPLATE_MOST = 1 << 16 };

static rebus_status check_template(const char *text, rebus_error *err)
{
	const char *at = strstr(text, "{}");
	if (!at || strstr(at + 2, "{}") || strlen(text) > TEMPLATE_MOST)
		return error_set(err, REBUS_MISUSE, "template \"%.120s\": expected {} once in it, where the label goes, and at most %d bytes", text, TEMPLATE_MOST);
	return REBUS_OK;
}

/* The template with the label in it; the label alone where there is none. NULL: no memory. */
static const char *fill_in(arena *a, const char *template, const char *label)
{
	if (!template)
		return label;
	const char *at = strstr(template, "{}");
	return arena_format(a, "%.*s%s%s", (int)(at - template), template, label, at + 2);
}

typedef struct asked { /* what rebus_labels_new was given; templates one NULL where there are none */
	const char *const *labels, *const *templates;
	size_t label_count, template_count;
} asked;

/* Vectors of the texts of labels first ... first + count - 1, in a. */
static rebus_status read_texts(rebus_session *s, const asked *w, size_t first, size_t count, arena *a, plan_rows *out, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *p = NULL;
	size_t n = count * w->template_count;
	sequence *list = arena_zero(a, n, sizeof *list);
	if (!list)
		return error_memory(err, "labels");
	TRY(rebus_prompt_new(s->m, NULL, &p, err));
	for (size_t i = 0; i < n; i++) {
		const char *text = fill_in(a, w->templates[i % w->template_count], w->labels[first + i / w->template_count]);
		if (!text) {
			status = error_memory(err, "labels");
			goto done;
		}
		TRY(rebus_prompt_text(p, text, err));
		TRY(prompt_text_ids(p, a, &p->pieces[i], false, &list[i], err));
	}
	TRY(batching_read(s, list, (int32_t)n, "text_embeds", a, out, err));
	TRY(session_numbers(out, "embeddings of labels", err));
done:
	rebus_prompt_free(p);
	return status;
}

/* The mean of `count` rows, of unit length; one row as it is. */
static rebus_status mean_of(const plan_rows *x, int64_t first, int64_t count, const char *label, float *out, rebus_error *err)
{
	double length = 0;
	for (int64_t c = 0; c < x->width; c++) {
		double sum = 0;
		for (int64_t r = first; r < first + count; r++)
			sum += (double)x->data[r * x->stride + c];
		out[c] = (float)(sum / (double)count);
		length += (double)out[c] * out[c];
	}
	if (count == 1)
		return REBUS_OK;
	if (!(length > 0))
		return error_set(err, REBUS_FORMAT, "label %.120s: its templates' vectors cancel each other", label);
	for (int64_t c = 0; c < x->width; c++)
		out[c] = (float)((double)out[c] / sqrt(length));
	return REBUS_OK;
}

static rebus_status fill_vectors(rebus_session *s, const asked *w, rebus_labels *x, rebus_error *err)
{
	size_t step = w->template_count < TEXTS_A_RUN ? TEXTS_A_RUN / w->template_count : 1;
	for (size_t i = 0; i < w->label_count; i += step) {
		arena a;
		plan_rows texts = {0};
		size_t count = step < w->label_count - i ? step : w->label_count - i;
		arena_init(&a, s->m->mem.from, 0);
		rebus_status status = read_texts(s, w, i, count, &a, &texts, err);
		if (!status && !x->vectors) {
			x->width = (size_t)texts.width;
			x->vectors = arena_get(&x->mem, w->label_count, x->width * sizeof *x->vectors);
			status = x->vectors ? REBUS_OK : error_memory(err, "labels");
		}
		for (size_t k = 0; !status && k < count; k++)
			status = mean_of(&texts, (int64_t)(k * w->template_count), (int64_t)w->template_count, w->labels[i + k], x->vectors + (i + k) * x->width, err);
		arena_free(&a);
		if (status)
			return status;
	}
	return REBUS_OK;
}

rebus_status rebus_labels_new(rebus_session *s, const char *const *labels, size_t label_count, const char *const *templates, size_t template_count,
                              rebus_labels **out, rebus_error *err)
{
	static const char *const none[1] = {NULL};
	rebus_status status;
	arena mem;
	size_t texts;
	asked w = {labels, template_count ? templates : none, label_count, template_count ? template_count : 1};
	if (!(rebus_model_abilities(s->m) & REBUS_TWO_TOWERS))
		return error_set(err, REBUS_MISUSE, "labels are given: a %s model %s", rebus_model_family(s->m),
		                 rebus_model_abilities(s->m) & REBUS_CLASSIFIES ? "has its own" : "does not compare pictures with texts");
	if (!label_count || !size_mul(label_count, w.template_count, &texts) || texts > TEXTS_MOST)
		return error_set(err, REBUS_MISUSE, "%zu labels and %zu templates, expected a label and at most %d texts", label_count, template_count, TEXTS_MOST);
	for (size_t i = 0; i < template_count; i++) {
		status = check_template(templates[i], err);
		if (status)
			return status;
	}
	arena_init(&mem, s->m->mem.from, 0);
	rebus_labels *x = arena_zero(&mem, 1, sizeof *x);
	if (x)
		*x = (rebus_labels){.mem = mem, .count = label_count};
	const char **names = x ? arena_zero(&x->mem, label_count, sizeof *names) : NULL;
	bool room = names != NULL;
	for (size_t i = 0; room && i < label_count; i++)
		room = (names[i] = arena_text(&x->mem, labels[i], strlen(labels[i]))) != NULL;
	status = room ? fill_vectors(s, &w, x, err) : error_memory(err, "labels");
	if (status) {
		mem = x ? x->mem : mem;
		arena_free(&mem);
		return status;
	}
	x->names = names;
	*out = x;
	return REBUS_OK;
}

void rebus_labels_free(rebus_labels *x)
{
	if (!x)
		return;
	arena mem = x->mem; /* the labels lie in their own arena */
	arena_free(&mem);
}
