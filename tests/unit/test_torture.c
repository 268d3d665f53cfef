/*
 * test_torture.c - every allocation fails once, and nothing breaks.
 *
 * A scenario is the whole way of a user: open, prompt, ask (or embed, classify, trace, inspect), close. It is run with an
 * allocator that refuses call number n, for n = 1, 2, 3 ... until a run meets no refusal:
 *
 *   step ─► fails with MEMORY and one clean line ─► the same step again, on the same handles, with memory: must succeed
 *        └► succeeds ──────────────────────────────► ... ─► the result is the one of an undisturbed run
 *
 * and once more with an allocator that refuses every call from number n until the step has failed. The allocator fills what
 * it gives and what it takes back with garbage, compares the sizes given to free with those asked for, and holds nothing at
 * the end. A step must not hide that it was refused something: success after a refusal is a failure of the test.
 *
 * REBUS_MODELS: where the trained folders are ("models"). REBUS_TORTURE_STRIDE: beyond call 300 take every so many (1; the
 * sanitized builds take 7, since each run is some ten times slower there).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rebus.h"
#include "rebus_lab.h"

enum { HEAD = 64, DENSE = 300, TEXT_MOST = 1 << 16 };

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

/* ------------------------------------------------------------------------------------------------ the allocator */
typedef struct heap {
	pthread_mutex_t lock;
	long calls, refuse; /* refuse: number of the call, 0 none */
	bool on;            /* every call from there on */
	long refused;
	long blocks;
	size_t bytes;
	bool wrong; /* a size given to free that was not asked for */
} heap;

static heap h = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *heap_alloc(void *user, size_t size)
{
	heap *x = user;
	char *p = NULL;
	pthread_mutex_lock(&x->lock);
	x->calls++;
	bool refused = x->refuse && (x->on ? x->calls >= x->refuse : x->calls == x->refuse);
	x->refused += refused;
	if (!refused)
		p = aligned_alloc(64, (size + HEAD + 63) / 64 * 64);
	if (p) {
		memcpy(p, &size, sizeof size);
		memset(p + HEAD, 0xA5, size);
		x->blocks++;
		x->bytes += size;
	}
	pthread_mutex_unlock(&x->lock);
	return p ? p + HEAD : NULL;
}

static void heap_free(void *user, void *memory, size_t size)
{
	heap *x = user;
	char *p = (char *)memory - HEAD;
	size_t asked;
	memcpy(&asked, p, sizeof asked);
	pthread_mutex_lock(&x->lock);
	x->wrong |= asked != size;
	x->blocks--;
	x->bytes -= asked;
	memset(p + HEAD, 0x5A, asked);
	free(p);
	pthread_mutex_unlock(&x->lock);
}

static const rebus_allocator allocator = {&h, heap_alloc, heap_free};

/* ------------------------------------------------------------------------------------------------ a step */
/* Did the step fail as it should? Then there is memory again. */
static bool refused_cleanly(rebus_status status, const rebus_error *err, const char *step)
{
	long refused = h.refused;
	h.refused = h.refuse = 0;
	if (!status) {
		if (refused)
			fail_msg("%s: call %ld was refused, and it says it succeeded", step, h.calls);
		return false;
	}
	if (!refused || status != REBUS_MEMORY || err->code != REBUS_MEMORY)
		fail_msg("%s: %s (%d) \"%s\", with %ld calls refused", step, rebus_status_name(status), err->code, err->text, refused);
	assert_true(strlen(err->text) > 3);
	for (const char *p = err->text; *p; p++)
		assert_true((unsigned char)*p >= 0x20);
	return true;
}

/* The call, and where memory was refused the same call again. Uses `err`. A step refuses nothing that an earlier one was refused. */
#define STEP(call)                                                                                                         \
	do {                                                                                                               \
		long left = h.refuse;                                                                                      \
		err = (rebus_error){.code = REBUS_OK};                                                                     \
		rebus_status status_ = (call);                                                                             \
		if (!status_ && !h.refused)                                                                                \
			h.refuse = left;                                                                                   \
		else if (refused_cleanly(status_, &err, #call) && (call))                                                  \
			fail_msg("%s: fails again, with memory: %s", #call, err.text);                                     \
	} while (0)

static const char *in_models(const char *name)
{
	static char paths[8][512];
	static unsigned next;
	const char *folder = getenv("REBUS_MODELS");
	char *p = paths[next++ % 8];
	snprintf(p, sizeof paths[0], "%s/%s", folder && *folder ? folder : "models", name);
	return p;
}

/* What a run had to say. */
typedef struct result {
	char data[TEXT_MOST];
	size_t size;
} result;

static void say(result *r, const void *data, size_t size)
{
	assert_true(size <= sizeof r->data - r->size);
	memcpy(r->data + r->size, data, size);
	r->size += size;
}

typedef struct bench {
	rebus_model *model;
	rebus_session *session;
	rebus_error err;
} bench;

static void begin(bench *b, const char *folder, int threads)
{
	rebus_model_options m = rebus_model_defaults();
	rebus_session_options s = rebus_session_defaults();
	rebus_error err;
	m.allocator = &allocator;
	s.threads = threads;
	STEP(rebus_model_open(in_models(folder), &m, &b->model, &err));
	STEP(rebus_session_open(b->model, &s, &b->session, &err));
}

static void end(bench *b)
{
	rebus_session_close(b->session);
	rebus_model_close(b->model);
}

static rebus_prompt *prompt(const bench *b, const char *picture, const char *text)
{
	rebus_prompt *p;
	rebus_error err;
	STEP(rebus_prompt_new(b->model, NULL, &p, &err));
	if (picture)
		STEP(rebus_prompt_image_file(p, in_models(picture), &err));
	if (text)
		STEP(rebus_prompt_text(p, text, &err));
	return p;
}

/* ------------------------------------------------------------------------------------------------ scenarios */
static void say_answer(result *r, const rebus_answer *a)
{
	for (size_t i = 0; i < rebus_answer_count(a); i++) {
		size_t n;
		const int32_t *ids = rebus_answer_ids(a, i, &n);
		say(r, ids, n * sizeof *ids);
		say(r, rebus_answer_text(a, i), strlen(rebus_answer_text(a, i)) + 1);
	}
}

static void asks(result *r)
{
	bench b;
	rebus_error err;
	rebus_answer *a, *again;
	begin(&b, "llava-easyvqa", 2);
	rebus_prompt *p[2] = {prompt(&b, "llava-easyvqa/pictures/0.png", "what shape is in the image?"), NULL};
	STEP(rebus_prompt_new(b.model, NULL, &p[1], &err));
	STEP(rebus_prompt_message(p[1], "user", &err));
	STEP(rebus_prompt_image_file(p[1], in_models("llava-easyvqa/pictures/1.png"), &err));
	STEP(rebus_prompt_text(p[1], "what is the color of the shape? \xff\xe2\x82\xac", &err));
	STEP(rebus_ask(b.session, p, 1, NULL, &a, &err));
	say_answer(r, a);
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = 3;
	o.temperature = 0.5f;
	o.ignore_eos = true;
	STEP(rebus_ask(b.session, p, 2, &o, &again, &err)); /* more than the first plan was made for */
	say_answer(r, again);
	rebus_answer_free(again);
	rebus_answer_free(a);
	rebus_prompt_free(p[1]);
	rebus_prompt_free(p[0]);
	end(&b);
}

static void embeds(result *r)
{
	bench b;
	rebus_error err;
	rebus_vectors *v;
	rebus_scores *s;
	rebus_prompt_options o = rebus_prompt_defaults();
	const char *labels[] = {"a photo of a bag", "a photo of a sneaker"};
	size_t rows, width;
	begin(&b, "clip-fashion", 1);
	rebus_prompt *p[2] = {prompt(&b, "clip-fashion/pictures/00.png", "a photo of a coat"), NULL};
	o.height = 36;
	o.width = 20;
	STEP(rebus_prompt_new(b.model, &o, &p[1], &err));
	STEP(rebus_prompt_image_file(p[1], in_models("clip-fashion/pictures/01.png"), &err)); /* positions are resampled */
	STEP(rebus_embed(b.session, p, 2, &v, &err));
	const float *data = rebus_vectors_data(v, &rows, &width);
	say(r, data, rows * width * sizeof *data);
	rebus_vectors_free(v);
	STEP(rebus_classify(b.session, p, 2, labels, 2, &s, &err));
	for (size_t i = 0; i < 2; i++) {
		float value = rebus_scores_value(s, i, 0);
		say(r, rebus_scores_label(s, i, 0), strlen(rebus_scores_label(s, i, 0)));
		say(r, &value, sizeof value);
	}
	rebus_scores_free(s);
	rebus_prompt_free(p[1]);
	rebus_prompt_free(p[0]);
	end(&b);
}

static void classifies(result *r)
{
	bench b;
	rebus_error err;
	rebus_scores *s;
	begin(&b, "vit-fashion", 1);
	rebus_prompt *p = prompt(&b, "vit-fashion/pictures/00.png", NULL);
	STEP(rebus_classify(b.session, &p, 1, NULL, 0, &s, &err));
	for (size_t i = 0; i < rebus_scores_labels(s); i++) {
		float value = rebus_scores_value(s, 0, i);
		say(r, &value, sizeof value);
	}
	rebus_scores_free(s);
	rebus_prompt_free(p);
	end(&b);
}

static void say_tensors(result *r, const rebus_tensors *t)
{
	for (size_t i = 0; i < rebus_tensors_count(t); i++) {
		rebus_tensor x = rebus_tensors_at(t, i);
		say(r, x.name, strlen(x.name));
		say(r, x.shape, sizeof x.shape);
		say(r, x.data, 4);
	}
}

static void traces(result *r)
{
	bench b;
	rebus_error err;
	rebus_tensors *t;
	rebus_trace_options o = {.hidden_states = true, .max_tokens = 2, .batch = true};
	begin(&b, "llava-easyvqa", 1);
	rebus_prompt *p = prompt(&b, "llava-easyvqa/pictures/0.png", "what shape?");
	STEP(rebus_trace(b.session, &p, 1, &o, &t, &err));
	say_tensors(r, t);
	rebus_tensors_free(t);
	rebus_prompt_free(p);
	end(&b);
	begin(&b, "clip-fashion", 1);
	o.max_tokens = 0;
	p = prompt(&b, "clip-fashion/pictures/00.png", "a photo of a coat");
	STEP(rebus_trace(b.session, &p, 1, &o, &t, &err));
	say_tensors(r, t);
	rebus_tensors_free(t);
	rebus_prompt_free(p);
	end(&b);
}

static void inspects(result *r)
{
	bench b;
	rebus_error err;
	rebus_text *t;
	begin(&b, "llava-easyvqa", 1);
	rebus_prompt *p = prompt(&b, "llava-easyvqa/pictures/0.png", "what shape?");
	STEP(rebus_tokens_json(b.model, p, &t, &err));
	say(r, rebus_text_data(t, NULL), strlen(rebus_text_data(t, NULL)));
	rebus_text_free(t);
	STEP(rebus_tokens_table(b.model, p, &t, &err));
	say(r, rebus_text_data(t, NULL), strlen(rebus_text_data(t, NULL)));
	rebus_text_free(t);
	STEP(rebus_inspect(b.session, p, 16, true, true, &t, &err)); /* memory is told as it is: not the same twice */
	rebus_text_free(t);
	STEP(rebus_inspect(b.session, p, 16, false, true, &t, &err));
	rebus_text_free(t);
	rebus_bench_options o = {.repeat = 1, .max_tokens = 1, .profile = true, .json = true};
	STEP(rebus_bench(b.session, &p, 1, &o, &t, &err));
	rebus_text_free(t);
	rebus_prompt_free(p);
	static const char line[] = "{\"image\": \"nothing.png\"}", good[] = "{\"messages\": [{\"role\": \"user\", \"content\": [{\"text\": \"what\"}]}]}";
	STEP(rebus_prompt_new(b.model, NULL, &p, &err));
	rebus_status status = rebus_prompt_json(p, line, sizeof line - 1, &err);
	if (!(status == REBUS_IO && !h.refused))
		refused_cleanly(status, &err, "rebus_prompt_json");
	rebus_prompt_free(p);
	STEP(rebus_prompt_new(b.model, NULL, &p, &err));
	status = rebus_prompt_json(p, good, sizeof good - 1, &err);
	if (status || h.refused)
		refused_cleanly(status, &err, "rebus_prompt_json");
	rebus_prompt_free(p);
	end(&b);
}

/* ------------------------------------------------------------------------------------------------ the loop */
static void run(void (*scenario)(result *), long refuse, bool on, result *out)
{
	h.calls = h.refused = h.blocks = 0;
	h.bytes = 0;
	h.wrong = false;
	h.refuse = refuse;
	h.on = on;
	out->size = 0;
	scenario(out);
	h.refuse = 0;
	if (h.blocks || h.bytes || h.wrong)
		fail_msg("call %ld refused: %ld blocks of %zu bytes are left%s", refuse, h.blocks, h.bytes, h.wrong ? ", and a size given to free is wrong" : "");
}

static void torture(void (*scenario)(result *))
{
	static result want, got;
	const char *text = getenv("REBUS_TORTURE_STRIDE");
	long stride = text && atol(text) > 0 ? atol(text) : STRIDE, runs = 0;
	run(scenario, 0, false, &want);
	long calls = h.calls;
	assert_true(calls > 10 && want.size + 1 > 0);
	for (int on = 0; on < 2; on++)
		for (long n = 1; n <= calls; n += n < DENSE ? 1 : stride, runs++) {
			run(scenario, n, on, &got);
			if (got.size != want.size || memcmp(got.data, want.data, want.size))
				fail_msg("call %ld refused: the result is another one afterwards", n);
		}
	print_message("           %ld allocations, %ld runs\n", calls, runs);
}

static void test_ask(void **state)
{
	(void)state;
	torture(asks);
}

static void test_embed(void **state)
{
	(void)state;
	torture(embeds);
}

static void test_classify(void **state)
{
	(void)state;
	torture(classifies);
}

static void test_trace(void **state)
{
	(void)state;
	torture(traces);
}

static void test_inspect(void **state)
{
	(void)state;
	torture(inspects);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ask),
		cmocka_unit_test(test_embed),
		cmocka_unit_test(test_classify),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_inspect),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
