/*
 * trained.c - the folders of models/ against their results.json: what the reference said of the bundled test pictures.
 *
 *   vit-fashion     predictions, logits to 5 decimals      clip-fashion   the same over captions, to 4
 *   llava-easyvqa   the answers to 60 questions            all: in one packed run, in runs of a few, and one by one
 */
#include "parity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

typedef struct trained {
	char folder[128];
	json *results;
	rebus_model *model;
	rebus_session *session;
} trained;

static bool trained_open(trained *t, const char *name)
{
	char path[192];
	rebus_error err = {0};
	*t = (trained){0};
	snprintf(t->folder, sizeof t->folder, "models/%s", name);
	snprintf(path, sizeof path, "%s/results.json", t->folder);
	return check_call(json_load(path, 1 << 20, 1 << 16, &t->results, &err), &err, path) &&
		   check_call(rebus_model_open(t->folder, NULL, &t->model, &err), &err, t->folder) &&
		   check_call(rebus_session_open(t->model, NULL, &t->session, &err), &err, t->folder);
}

static void trained_close(trained *t)
{
	rebus_session_close(t->session);
	rebus_model_close(t->model);
	json_free(t->results);
}

static rebus_prompt *ask_of(const trained *t, const char *picture, const char *text)
{
	rebus_prompt *p = NULL;
	rebus_error err = {0};
	if (!check_call(rebus_prompt_new(t->model, NULL, &p, &err), &err, t->folder))
		return NULL;
	if ((!picture || check_call(rebus_prompt_image_file(p, picture, &err), &err, picture)) &&
		(!text || check_call(rebus_prompt_text(p, text, &err), &err, text)))
		return p;
	rebus_prompt_free(p);
	return NULL;
}

static int64_t whole(const json *j)
{
	int64_t v = -1;
	json_int(j, &v);
	return v;
}

/* ------------------------------------------------------------------------------------------------ pictures to labels */
/* Pictures [from, from + count) in one run: the best label is the one predicted. */
static void classify(const trained *t, rebus_prompt *const *prompts, int from, int count, const char *const *labels, size_t label_count,
					 const char *const *names)
{
	rebus_scores *s = NULL;
	rebus_error err = {0};
	if (!check_call(rebus_classify(t->session, prompts + from, (size_t)count, labels, label_count, &s, &err), &err, t->folder))
		return;
	for (int i = 0; i < count; i++) {
		int64_t want = whole(json_at(json_get(t->results, "first_100_predictions"), (size_t)(from + i)));
		const char *got = rebus_scores_label(s, (size_t)i, 0);
		check(want >= 0 && !strcmp(got, names[want]), "%s: picture %d of a run of %d is %s, expected %s", t->folder, from + i, count, got,
			  want < 0 ? "?" : names[want]);
	}
	rebus_scores_free(s);
}

/* One call of the reference: all pictures, and the captions where there are two towers. */
static void logits(const trained *t, int pictures, const char *const *captions, size_t caption_count, const char *name, double bound)
{
	rebus_prompt *p = ask_of(t, NULL, NULL);
	rebus_tensors *out = NULL;
	rebus_tensor x;
	rebus_error err = {0};
	char path[256];
	double worst = 0;
	for (int i = 0; p && i < pictures; i++) {
		snprintf(path, sizeof path, "%s/pictures/%02d.png", t->folder, i);
		check_call(rebus_prompt_image_file(p, path, &err), &err, path);
	}
	for (size_t i = 0; p && i < caption_count; i++)
		check_call(rebus_prompt_text(p, captions[i], &err), &err, captions[i]);
	if (p && check_call(rebus_trace(t->session, &p, 1, NULL, &out, &err), &err, t->folder) &&
		check(rebus_tensors_find(out, name, &x), "%s: no %s", t->folder, name)) {
		const json *first = json_get(t->results, "first_logits");
		for (size_t i = 0; i < json_count(first); i++)
			for (size_t k = 0; k < json_count(json_at(first, i)); k++) {
				double want = INFINITY, d;
				json_real(json_at(json_at(first, i), k), &want);
				d = fabs((double)((const float *)x.data)[i * (size_t)x.shape[1] + k] - want);
				worst = d > worst || d != d ? d : worst;
			}
		check(json_count(first) && worst <= bound, "%s: a logit is off by %.3g", t->folder, worst);
		printf("%s: logits within %.2g\n", t->folder, worst);
	}
	rebus_tensors_free(out);
	rebus_prompt_free(p);
}

static void pictures_checks(const char *name, const char *const *names, bool captions, double bound)
{
	enum { PICTURES = 20, LABELS = 10 };
	trained t;
	rebus_prompt *prompts[PICTURES];
	const char *labels[LABELS];
	int made = 0;
	char path[256];
	if (!trained_open(&t, name))
		return;
	for (size_t i = 0; i < LABELS; i++)
		labels[i] = captions ? json_text(json_at(json_get(t.results, "captions"), i), NULL) : names[i];
	for (; made < PICTURES; made++) {
		snprintf(path, sizeof path, "%s/pictures/%02d.png", t.folder, made);
		if (!(prompts[made] = ask_of(&t, path, NULL)))
			break;
	}
	if (made == PICTURES) {
		size_t n = captions ? LABELS : 0;
		classify(&t, prompts, 0, PICTURES, captions ? labels : NULL, n, labels);
		classify(&t, prompts, 3, 7, captions ? labels : NULL, n, labels);
		for (int i = 0; i < PICTURES; i++)
			classify(&t, prompts, i, 1, captions ? labels : NULL, n, labels);
		logits(&t, PICTURES, labels, n, captions ? "logits_per_image" : "logits", bound);
	}
	prompts_free(prompts, (size_t)made);
	trained_close(&t);
}

/* ------------------------------------------------------------------------------------------------ questions */
static const char *trimmed(const char *text)
{
	static char out[256];
	size_t n;
	while (*text == ' ')
		text++;
	snprintf(out, sizeof out, "%s", text);
	for (n = strlen(out); n && out[n - 1] == ' '; n--)
		out[n - 1] = 0;
	return out;
}

static void answer(const trained *t, rebus_prompt *const *prompts, size_t from, size_t count)
{
	rebus_ask_options o = rebus_ask_defaults();
	rebus_answer *a = NULL;
	rebus_error err = {0};
	o.max_tokens = 6;
	if (!check_call(rebus_ask(t->session, prompts + from, count, &o, &a, &err), &err, t->folder))
		return;
	for (size_t i = 0; i < count; i++) {
		const json *q = json_at(json_get(t->results, "first"), from + i);
		const char *want = json_text(json_get(q, "reference_answer"), NULL), *got = trimmed(rebus_answer_text(a, i));
		check(want && !strcmp(got, want), "%s: %s of picture %lld, one of %zu: \"%s\", expected \"%s\"", t->folder,
			  json_text(json_get(q, "question"), NULL), (long long)whole(json_get(q, "picture")), count, got, want ? want : "?");
		check(rebus_answer_end(a, i) == REBUS_END_TOKEN, "%s: answer %zu does not end", t->folder, from + i);
	}
	rebus_answer_free(a);
}

static void questions_checks(const char *name)
{
	trained t;
	rebus_prompt *prompts[MOST];
	size_t made = 0, count;
	char path[256];
	if (!trained_open(&t, name))
		return;
	count = json_count(json_get(t.results, "first"));
	check(count == 60, "%s: %zu questions", t.folder, count);
	for (; made < count && made < MOST; made++) {
		const json *q = json_at(json_get(t.results, "first"), made);
		snprintf(path, sizeof path, "%s/pictures/%lld.png", t.folder, (long long)whole(json_get(q, "picture")));
		if (!(prompts[made] = ask_of(&t, path, json_text(json_get(q, "question"), NULL))))
			break;
	}
	answer(&t, prompts, 0, made);
	for (size_t i = 0; i < made; i += 7)
		answer(&t, prompts, i, (size_t)int_min(7, (int64_t)(made - i)));
	for (size_t i = 0; i < made; i++)
		answer(&t, prompts, i, 1);
	prompts_free(prompts, made);
	trained_close(&t);
}

int main(void)
{
	static const char *const names[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
	pictures_checks("vit-fashion", names, false, 1e-5);
	pictures_checks("clip-fashion", names, true, 1e-4);
	questions_checks("llava-easyvqa");
	return check_report();
}
