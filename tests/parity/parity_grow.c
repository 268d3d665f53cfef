/*
 * parity_grow.c - answers that grow: the cache against computing everything anew, what a step costs, sampling, streaming.
 *
 *   cache       logits of the steps  =  the last logits of prefills of the prompt and the first k new ids: relative L2 1e-6
 *               (a step has one query row a sequence, which attention takes another way than many: never the same bits)
 *   counters    8 prompts take as many matrix products as one; no step plans or allocates
 */
#include "parity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/tensors.h"
#include "models/model.h"

enum { MOST = 16, MANY = 9 };
static const double NEAR = 1e-6;

/* ------------------------------------------------------------------------------------------------ cache */
/* Before an encoder's model answers, there is its first id. */
static bool reads_apart(const fixture *f)
{
	return f->model->self.f->build_encoder != NULL;
}

/* What an answer begins with and the first k generated ids, as an input. */
static rebus_tensors *longer_ids(const fixture *f, const rebus_tensor *ids, const rebus_tensor *more, int64_t k)
{
	rebus_tensors *t = NULL;
	int64_t n = reads_apart(f) ? 1 : ids->shape[1], start = f->model->text.f->words(f->model->text.config)->start;
	if (tensors_new(NULL, &t, NULL))
		return NULL;
	int64_t *to = tensors_add(t, "", reads_apart(f) ? "decoder_input_ids" : "input_ids", REBUS_I64, 2, (int64_t[]){1, n + k});
	memcpy(to, reads_apart(f) ? &start : ids->data, (size_t)n * sizeof *to);
	memcpy(to + n, more->data, (size_t)k * sizeof *to);
	return t;
}

/* The logits of every step of prompt `at` of a traced run, made anew by a prefill each. */
static bool recompute(const fixture *f, size_t at, const rebus_tensor *ids, const rebus_tensor *more, const rebus_tensor *logits, float *anew)
{
	int64_t w = logits->shape[2];
	memcpy(anew, logits->data, (size_t)w * sizeof *anew); /* the first comes of a prefill */
	for (int64_t k = 1; k < logits->shape[1]; k++) {
		rebus_tensor x;
		rebus_tensors *inputs = longer_ids(f, ids, more, k);
		rebus_prompt *p = fixture_prompt(f, at, NULL);
		rebus_tensors *run = inputs && p ? trace_run(f, &p, 1, false, 0, inputs) : NULL;
		bool made = run && check(rebus_tensors_find(run, "logits", &x), "%s: no logits", f->name);
		if (made)
			memcpy(anew + k * w, (const float *)x.data + (x.shape[1] - 1) * w, (size_t)w * sizeof *anew);
		rebus_tensors_free(run);
		rebus_tensors_free(inputs);
		rebus_prompt_free(p);
		if (!made)
			return false;
	}
	return true;
}

static void compare_cached(const fixture *f, const rebus_tensors *run, size_t at, size_t count)
{
	char name[3][64];
	rebus_tensor ids, more, logits;
	snprintf(name[0], sizeof name[0], "%zu.input_ids", at);
	snprintf(name[1], sizeof name[1], "%zu.generated_ids", at);
	snprintf(name[2], sizeof name[2], "%zu.generated_logits", at);
	if (!check(rebus_tensors_find(run, name[0], &ids) && rebus_tensors_find(run, name[1], &more) && rebus_tensors_find(run, name[2], &logits),
			   "%s: no ids or logits of prompt %zu", f->name, at))
		return;
	float *anew = malloc((size_t)tensor_count(&logits) * sizeof *anew);
	if (anew && recompute(f, at, &ids, &more, &logits, anew)) {
		rebus_tensor y = logits;
		y.data = anew;
		double d = tensor_distance(&logits, &y);
		check(d <= NEAR, "%s %s as one of %zu: relative L2 %.3g between cached steps and prefills", f->name, fixture_case(f, at), count, d);
	}
	free(anew);
}

static void cache_checks(const fixture *f, size_t count)
{
	rebus_prompt *prompts[MOST];
	if (!fixture_prompts(f, 0, count, prompts))
		return;
	int32_t steps = fixture_tokens(f, 0);
	rebus_tensors *run = trace_run(f, prompts, count, true, steps, NULL);
	prompts_free(prompts, count);
	for (size_t i = 0; run && i < count && i < f->cases; i++)
		compare_cached(f, run, i, count);
	rebus_tensors_free(run);
}

/* ------------------------------------------------------------------------------------------------ counters */
typedef struct counting { /* an allocator that counts */
	int64_t calls, step_calls[256];
	int32_t steps;
} counting;

static void *count_alloc(void *user, size_t size)
{
	((counting *)user)->calls++;
	return base_allocator.alloc(base_allocator.user, size);
}

static void count_free(void *user, void *memory, size_t size)
{
	(void)user;
	base_allocator.free(base_allocator.user, memory, size);
}

/* Streaming: what came, prompt by prompt. */
typedef struct heard {
	char text[MOST][4096];
	size_t size[MOST], stop_at;
	counting *count;
} heard;

static bool hear(void *user, size_t prompt, const char *text, size_t size)
{
	heard *h = user;
	if (h->size[prompt] + size < sizeof h->text[0]) {
		memcpy(h->text[prompt] + h->size[prompt], text, size);
		h->size[prompt] += size;
	}
	if (h->count && h->count->steps < (int32_t)COUNT_OF(h->count->step_calls))
		h->count->step_calls[h->count->steps++] = h->count->calls;
	return !h->stop_at || h->size[prompt] < h->stop_at;
}

static rebus_answer *ask(const fixture *f, size_t first, size_t count, const rebus_ask_options *o)
{
	rebus_prompt *prompts[MOST];
	rebus_answer *a = NULL;
	rebus_error err = {0};
	if (!fixture_prompts(f, first, count, prompts))
		return NULL;
	check_call(rebus_ask(f->session, prompts, count, o, &a, &err), &err, f->name);
	prompts_free(prompts, count);
	return a;
}

static int64_t products_of(const fixture *f, size_t first, size_t count, const rebus_ask_options *o, int64_t *runs)
{
	rebus_counters before = rebus_session_counters(f->session);
	rebus_answer_free(ask(f, first, count, o));
	rebus_counters after = rebus_session_counters(f->session);
	*runs = after.runs - before.runs;
	return after.matrix_products - before.matrix_products;
}

/* Case 0 is the one with pictures, where there are any. */
static void product_checks(const fixture *f)
{
	rebus_ask_options o = rebus_ask_defaults();
	int64_t one_runs, many_runs;
	o.max_tokens = 12;
	o.ignore_eos = true;
	int64_t many = products_of(f, 0, 8, &o, &many_runs), one = products_of(f, 0, 1, &o, &one_runs);
	check(one == many && one > 0, "%s: %lld matrix products for 8 prompts, %lld for 1", f->name, (long long)many, (long long)one);
	check(one_runs == many_runs && one_runs > 0, "%s: %lld runs for 8 prompts, %lld for 1", f->name, (long long)many_runs, (long long)one_runs);
	rebus_counters before = rebus_session_counters(f->session);
	products_of(f, 0, 8, &o, &many_runs);
	products_of(f, 1, 3, &o, &many_runs);
	rebus_counters after = rebus_session_counters(f->session);
	check(before.plans == after.plans && after.plans <= 2, "%s: %lld plans, then %lld for runs that fit", f->name, (long long)before.plans,
		  (long long)after.plans);
}

static void allocation_checks(const char *name)
{
	counting count = {0};
	rebus_allocator from = {&count, count_alloc, count_free};
	static heard h;
	fixture f;
	if (!fixture_open(&f, name, &(fixture_how){.allocator = &from, .threads = 2}))
		return;
	h = (heard){.count = &count};
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = 120;
	o.ignore_eos = true;
	o.on_text = hear;
	o.user = &h;
	rebus_answer_free(ask(&f, 0, 1, &o));
	int32_t settled = 1;
	if (count.steps >= 16) /* some of these models say nothing but broken characters, which are held back */
		check(count.step_calls[settled] == count.step_calls[count.steps - 1], "%s: %lld allocations between piece %d and piece %d of an answer", name,
			  (long long)(count.step_calls[count.steps - 1] - count.step_calls[settled]), settled, count.steps - 1);
	fixture_close(&f);
}

/* ------------------------------------------------------------------------------------------------ sampling, streaming */
static bool same_ids(const rebus_answer *a, size_t i, const rebus_answer *b, size_t j)
{
	size_t n, m;
	const int32_t *x = rebus_answer_ids(a, i, &n), *y = rebus_answer_ids(b, j, &m);
	return n == m && n && !memcmp(x, y, n * sizeof *x);
}

static void sampling_checks(const fixture *f)
{
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = 12;
	o.ignore_eos = true;
	o.temperature = 1.5f;
	o.seed = 5;
	rebus_answer *a = ask(f, 0, 3, &o), *again = ask(f, 0, 3, &o), *alone = ask(f, 0, 1, &o);
	o.seed = 6;
	rebus_answer *other = ask(f, 0, 3, &o);
	o.top_k = 1;
	rebus_answer *top = ask(f, 0, 3, &o);
	o.temperature = 0;
	rebus_answer *greedy = ask(f, 0, 3, &o);
	if (a && again && alone && other && top && greedy) {
		bool differs = false;
		for (size_t i = 0; i < 3; i++) {
			check(same_ids(a, i, again, i), "%s: prompt %zu: a seed gives two answers", f->name, i);
			check(same_ids(top, i, greedy, i), "%s: prompt %zu: the one most likely is not the greedy choice", f->name, i);
			differs |= !same_ids(a, i, other, i);
		}
		check(differs, "%s: two seeds give one answer", f->name);
		check(same_ids(a, 0, alone, 0), "%s: a sampled answer depends on what else is asked", f->name);
	}
	rebus_answer *all[] = {a, again, alone, other, top, greedy};
	for (size_t i = 0; i < COUNT_OF(all); i++)
		rebus_answer_free(all[i]);
}

/* Any piece of an answer as a stop ends it there, whole or across tokens; what is streamed is what is kept. */
static void stop_text_checks(const fixture *f)
{
	static heard h;
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = 16;
	o.ignore_eos = true;
	rebus_answer *whole = ask(f, 0, 1, &o);
	size_t n = whole ? strlen(rebus_answer_text(whole, 0)) : 0, count;
	for (size_t from = 0; from < n; from += 3) {
		char stop[8] = "", expected[4096];
		size_t k = 1 + from % 5 < n - from ? 1 + from % 5 : n - from;
		memcpy(stop, rebus_answer_text(whole, 0) + from, k);
		const char *stops[] = {"never said \x01", stop};
		const char *text = rebus_answer_text(whole, 0);
		snprintf(expected, sizeof expected, "%.*s", (int)(strstr(text, stop) - text), text);
		h = (heard){0};
		o.stops = stops;
		o.stop_count = COUNT_OF(stops);
		o.on_text = hear;
		o.user = &h;
		o.log_probabilities = true;
		rebus_answer *a = ask(f, 0, 1, &o);
		if (a) {
			size_t ids;
			rebus_answer_ids(a, 0, &ids);
			check(!strcmp(rebus_answer_text(a, 0), expected) && rebus_answer_end(a, 0) == REBUS_END_STOP, "%s: stop \"%s\": \"%s\", expected \"%s\"",
				  f->name, stop, rebus_answer_text(a, 0), expected);
			check(h.size[0] == strlen(expected) && !memcmp(h.text[0], expected, h.size[0]), "%s: stop \"%s\": other text streamed than kept", f->name, stop);
			const float *chance = rebus_answer_log_probabilities(a, 0, &count);
			check(count == ids && ids, "%s: %zu log-probabilities of %zu tokens", f->name, count, ids);
			for (size_t c = 0; c < count; c++)
				check(chance[c] <= 0 && chance[c] > -20, "%s: log-probability %g of the most likely token", f->name, (double)chance[c]);
		}
		rebus_answer_free(a);
	}
	rebus_answer_free(whole);
}

static void stream_checks(const fixture *f)
{
	static heard h;
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = 24;
	o.ignore_eos = true;
	o.on_text = hear;
	o.user = &h;
	h = (heard){0};
	rebus_answer *a = ask(f, 0, f->cases, &o);
	for (size_t i = 0; a && i < f->cases; i++)
		check(strlen(rebus_answer_text(a, i)) == h.size[i] && !memcmp(rebus_answer_text(a, i), h.text[i], h.size[i]),
			  "%s %s: the pieces are not the text", f->name, fixture_case(f, i));
	h = (heard){.stop_at = 3};
	rebus_answer *cut = ask(f, 0, f->cases, &o);
	for (size_t i = 0; cut && i < f->cases; i++) {
		size_t n;
		rebus_answer_ids(cut, i, &n);
		if (h.size[i] >= 3)
			check(rebus_answer_end(cut, i) == REBUS_END_CALLER && (a && !strncmp(rebus_answer_text(cut, i), rebus_answer_text(a, i), h.size[i])),
				  "%s %s: stopped by the caller after %zu tokens, and says otherwise", f->name, fixture_case(f, i), n);
	}
	rebus_answer_free(a);
	rebus_answer_free(cut);
}

/* ------------------------------------------------------------------------------------------------ stopping */
typedef struct patience {
	int64_t left; /* below 0: for ever */
} patience;

static bool impatient(void *user)
{
	patience *p = user;
	return p->left == 0 || (p->left > 0 && --p->left == 0);
}

static void stop_checks(const char *name)
{
	static const int64_t after[] = {1, 7, 60, 150};
	patience p = {-1};
	fixture f;
	if (!fixture_open(&f, name, &(fixture_how){.stop = impatient, .user = &p, .threads = 2}))
		return;
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = 10;
	o.ignore_eos = true;
	rebus_answer *whole = ask(&f, 0, 2, &o);
	for (size_t i = 0; whole && i < COUNT_OF(after); i++) {
		rebus_prompt *prompts[2];
		rebus_answer *cut = NULL;
		rebus_error err = {0};
		if (!fixture_prompts(&f, 0, 2, prompts))
			break;
		p.left = after[i];
		rebus_status status = rebus_ask(f.session, prompts, 2, &o, &cut, &err);
		check(status == REBUS_CANCELLED && !cut, "%s: stopped after %lld steps: %s", name, (long long)after[i], status ? err.text : "no error");
		rebus_answer_free(cut);
		p.left = -1;
		rebus_answer *again = ask(&f, 0, 2, &o);
		check(again && same_ids(whole, 0, again, 0) && same_ids(whole, 1, again, 1), "%s: another answer after a run that was stopped", name);
		rebus_answer_free(again);
		prompts_free(prompts, 2);
	}
	rebus_answer_free(whole);
	fixture_close(&f);
}

void grow_checks(const char *name)
{
	fixture f;
	if (!fixture_open(&f, name, NULL))
		return;
	bool generates = f.generates;
	if (generates) {
		product_checks(&f);
		cache_checks(&f, f.cases);
		cache_checks(&f, MANY);
		sampling_checks(&f);
		stream_checks(&f);
		stop_text_checks(&f);
	}
	fixture_close(&f);
	if (generates) {
		allocation_checks(name);
		stop_checks(name);
	}
}
