/*
 * precision.c - what bf16 and int8 lose on the trained folders of models/, bounded; and that they keep the promises of bits.
 *
 *   vit-fashion, clip-fashion   vectors of 20 pictures: cosine with those of f32; the best labels that stay the same
 *   llava-easyvqa               answers to 60 questions that are the reference's
 *
 * A line is printed for each, so this program is also what docs/numerics.md quotes. At every level the processor has. Same
 * bits: one thread and three, a picture alone and among others. What cannot be done in a precision is refused.
 */
#include "parity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PICTURES = 20, LABELS = 10, QUESTIONS = 64, WIDTH = 1024 };

typedef struct run_of {
	rebus_model *model;
	rebus_session *session;
	rebus_prompt *prompts[QUESTIONS];
	int made;
} run_of;

static bool open_run(run_of *r, const char *folder, const char *precision, const char *cpu, int threads)
{
	rebus_model_options m = rebus_model_defaults();
	rebus_session_options s = rebus_session_defaults();
	rebus_error err = {0};
	*r = (run_of){0};
	m.precision = precision;
	m.cpu = cpu;
	s.threads = threads;
	return check_call(rebus_model_open(folder, &m, &r->model, &err), &err, folder) &&
	       check_call(rebus_session_open(r->model, &s, &r->session, &err), &err, folder);
}

static bool add_prompt(run_of *r, const char *picture, const char *text)
{
	rebus_error err = {0};
	rebus_prompt **p = &r->prompts[r->made];
	if (!check_call(rebus_prompt_new(r->model, NULL, p, &err), &err, "a prompt"))
		return false;
	r->made++;
	return check_call(rebus_prompt_image_file(*p, picture, &err), &err, picture) && (!text || check_call(rebus_prompt_text(*p, text, &err), &err, text));
}

static void close_run(run_of *r)
{
	prompts_free(r->prompts, (size_t)r->made);
	rebus_session_close(r->session);
	rebus_model_close(r->model);
}

static bool pictures_of(run_of *r, const char *folder)
{
	char path[256];
	for (int i = 0; i < PICTURES; i++) {
		snprintf(path, sizeof path, "%s/pictures/%02d.png", folder, i);
		if (!add_prompt(r, path, NULL))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------ pictures */
typedef struct seen {
	float x[PICTURES][WIDTH];
	size_t width;
	char label[PICTURES][64];
} seen;

static bool look(run_of *r, int from, int count, const char *const *labels, seen *out)
{
	rebus_error err = {0};
	rebus_vectors *v = NULL;
	rebus_scores *s = NULL;
	size_t rows;
	bool ok = check_call(rebus_embed(r->session, r->prompts + from, (size_t)count, &v, &err), &err, "embed") &&
	          check_call(rebus_classify(r->session, r->prompts + from, (size_t)count, labels, labels ? LABELS : 0, &s, &err), &err, "classify");
	if (ok) {
		const float *x = rebus_vectors_data(v, &rows, &out->width);
		ok = check(rows == (size_t)count && out->width <= WIDTH, "%zu vectors of %zu", rows, out->width);
		for (int i = 0; ok && i < count; i++) {
			memcpy(out->x[from + i], x + (size_t)i * out->width, out->width * sizeof(float));
			snprintf(out->label[from + i], sizeof out->label[0], "%s", rebus_scores_label(s, (size_t)i, 0));
		}
	}
	rebus_vectors_free(v);
	rebus_scores_free(s);
	return ok;
}

static double cosine(const float *a, const float *b, size_t n)
{
	double ab = 0, aa = 0, bb = 0;
	for (size_t i = 0; i < n; i++) {
		ab += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
	}
	return ab / sqrt(aa * bb);
}

static void compare(const char *folder, const char *precision, const char *cpu, const seen *exact, const seen *got, double bound, int labels)
{
	double least = 1;
	int same = 0;
	for (int i = 0; i < PICTURES; i++) {
		double c = cosine(exact->x[i], got->x[i], exact->width);
		least = c < least || c != c ? c : least;
		same += !strcmp(exact->label[i], got->label[i]);
	}
	check(least >= bound, "%s, %s, %s: a vector's cosine with that of f32 is %.7f, expected %.7f", folder, precision, cpu, least, bound);
	check(same >= labels, "%s, %s, %s: %d of %d labels stay, expected %d", folder, precision, cpu, same, PICTURES, labels);
	check(memcmp(exact->x, got->x, sizeof exact->x) != 0, "%s, %s, %s: the bits of f32", folder, precision, cpu);
	printf("%s, %s, %s: cosine with f32 at least %.7f, %d of %d labels the same\n", folder, precision, cpu, least, same, PICTURES);
}

static void pictures_checks(const char *folder, const char *precision, const char *cpu, const char *const *labels, double bound, int same_labels)
{
	static seen exact, got, again, alone;
	run_of f32, narrow, more;
	bool ok = open_run(&f32, folder, NULL, cpu, 1) && pictures_of(&f32, folder) && look(&f32, 0, PICTURES, labels, &exact);
	close_run(&f32);
	ok = open_run(&narrow, folder, precision, cpu, 1) && ok && pictures_of(&narrow, folder) && look(&narrow, 0, PICTURES, labels, &got);
	if (ok)
		compare(folder, precision, cpu, &exact, &got, bound, same_labels);
	for (int i = 0; ok && i < PICTURES; i += 3)
		ok = look(&narrow, i, 1, labels, &alone) && check(!memcmp(alone.x[i], got.x[i], got.width * sizeof(float)),
		                                                  "%s, %s, %s: picture %d alone has other bits", folder, precision, cpu, i);
	close_run(&narrow);
	ok = open_run(&more, folder, precision, cpu, 3) && ok && pictures_of(&more, folder) && look(&more, 0, PICTURES, labels, &again);
	if (ok)
		check(!memcmp(again.x, got.x, sizeof got.x), "%s, %s, %s: three threads give other bits than one", folder, precision, cpu);
	close_run(&more);
}

/* ------------------------------------------------------------------------------------------------ questions */
static bool questions_of(run_of *r, const char *folder, const json *results)
{
	char path[256];
	for (size_t i = 0; i < json_count(json_get(results, "first")) && i < QUESTIONS; i++) {
		const json *q = json_at(json_get(results, "first"), i);
		int64_t picture = -1;
		json_int(json_get(q, "picture"), &picture);
		snprintf(path, sizeof path, "%s/pictures/%lld.png", folder, (long long)picture);
		if (!add_prompt(r, path, json_text(json_get(q, "question"), NULL)))
			return false;
	}
	return r->made > 0;
}

static bool is_answer(const char *got, const char *want)
{
	size_t n = want ? strlen(want) : 0;
	got += strspn(got, " ");
	return want && !strncmp(got, want, n) && !got[n + strspn(got + n, " ")];
}

static void answers_checks(const char *folder, const char *precision, const char *cpu, int bound)
{
	char path[256];
	json *results = NULL;
	rebus_error err = {0};
	rebus_ask_options o = rebus_ask_defaults();
	rebus_answer *a = NULL;
	run_of r;
	int good = 0;
	o.max_tokens = 6;
	snprintf(path, sizeof path, "%s/results.json", folder);
	if (open_run(&r, folder, precision, cpu, 2) && check_call(json_load(path, 1 << 20, 1 << 16, &results, &err), &err, path) &&
	    check(questions_of(&r, folder, results), "%s: no questions", folder) &&
	    check_call(rebus_ask(r.session, r.prompts, (size_t)r.made, &o, &a, &err), &err, folder)) {
		for (int i = 0; i < r.made; i++)
			good += is_answer(rebus_answer_text(a, (size_t)i), json_text(json_get(json_at(json_get(results, "first"), (size_t)i), "reference_answer"), NULL));
		check(good >= bound, "%s, %s, %s: %d of %d answers are the reference's, expected %d", folder, precision, cpu, good, r.made, bound);
		printf("%s, %s, %s: %d of %d answers are the reference's\n", folder, precision, cpu, good, r.made);
	}
	rebus_answer_free(a);
	json_free(results);
	close_run(&r);
}

static void refusals(void)
{
	rebus_model_options o = rebus_model_defaults();
	rebus_model *m = NULL;
	rebus_error err = {0};
	o.precision = "int3";
	check(rebus_model_open("models/vit-fashion", &o, &m, &err) == REBUS_MISUSE && !m && strstr(err.text, "int3"), "precision int3 is taken");
	o.precision = "bf16";
	o.trainable = true;
	check(rebus_model_open("models/vit-fashion", &o, &m, &err) == REBUS_UNSUPPORTED && !m && strstr(err.text, "f32"), "a model is trained in bf16");
}

int main(void)
{
	static const char *const levels[] = {"portable", "avx2", "avx512", "avx512bf16"};
	static const char *const captions[] = {"a photo of a t-shirt", "a photo of a trouser", "a photo of a pullover", "a photo of a dress", "a photo of a coat",
	                                       "a photo of a sandal", "a photo of a shirt", "a photo of a sneaker", "a photo of a bag", "a photo of a boot"};
	cpu_level best = cpu_detect();
	for (size_t i = 0; i < COUNT_OF(levels); i++) {
		cpu_level level;
		if (!cpu_parse(levels[i], &level) || level > best)
			continue;
		pictures_checks("models/vit-fashion", "bf16", levels[i], NULL, 0.9999, PICTURES);
		pictures_checks("models/vit-fashion", "int8", levels[i], NULL, 0.999, PICTURES - 1);
		pictures_checks("models/clip-fashion", "bf16", levels[i], captions, 0.9999, PICTURES);
		pictures_checks("models/clip-fashion", "int8", levels[i], captions, 0.999, PICTURES - 1);
		answers_checks("models/llava-easyvqa", "bf16", levels[i], 60);
		answers_checks("models/llava-easyvqa", "int8", levels[i], 58);
	}
	refusals();
	return check_report();
}
