/*
 * test_torture_malloc.c - malloc fails once, or from some call on, under everybody: the libraries that rebus stands on too.
 *
 * test_torture.c refuses what rebus asks of its allocator. PCRE2, libjpeg, libpng and the C library ask malloc
 * themselves, so this program has a malloc of its own, which the dynamic linker puts in front of everybody's. Call number n
 * is refused, for n = 1, 2, 3 ... (REBUS_TORTURE_STRIDE beyond the first 200, see test_torture.c):
 *
 *   a run fails with MEMORY and one clean line, or says what the undisturbed run said; nothing crashes; rebus leaves nothing behind
 *
 * Unlike there a refusal may do no harm (libpng does without what it wanted to keep). Not under sanitizers, which bring a
 * malloc of their own.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rebus.h"

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer) || !defined(__GLIBC__)

int main(void)
{
	puts("skipped: malloc is the sanitizer's");
	return 77;
}

#else
enum { DENSE = 200, TEXT_MOST = 4096 };

/* ------------------------------------------------------------------------------------------------ malloc */
#define SEEN __attribute__((visibility("default"))) /* by the shared libraries; the build hides names */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static struct {
	long calls, refuse, refused, blocks;
	bool armed, on; /* on: every call from there on */
} h; /* one thread allocates at a time: sessions here have one thread */

static bool refuse(void)
{
	if (!h.armed)
		return false;
	h.calls++;
	bool no = h.refuse && (h.on ? h.calls >= h.refuse : h.calls == h.refuse);
	h.refused += no;
	if (no)
		errno = ENOMEM;
	return no;
}

static void *count(void *p)
{
	h.blocks += p && h.armed;
	return p;
}

SEEN void *malloc(size_t size)
{
	return refuse() ? NULL : count(__libc_malloc(size));
}

SEEN void *calloc(size_t n, size_t size)
{
	return refuse() ? NULL : count(__libc_calloc(n, size));
}

SEEN void *realloc(void *p, size_t size)
{
	if (refuse())
		return NULL;
	void *q = __libc_realloc(p, size);
	if (!p)
		count(q);
	return q;
}

SEEN void *aligned_alloc(size_t align, size_t size)
{
	return refuse() ? NULL : count(__libc_memalign(align, size));
}

SEEN void *memalign(size_t align, size_t size);
SEEN void *memalign(size_t align, size_t size)
{
	return aligned_alloc(align, size);
}

SEEN int posix_memalign(void **out, size_t align, size_t size)
{
	void *p = aligned_alloc(align, size);
	if (p)
		*out = p;
	return p ? 0 : ENOMEM;
}

SEEN void free(void *p)
{
	h.blocks -= p && h.armed;
	__libc_free(p);
}

/* ------------------------------------------------------------------------------------------------ runs */
static const char *in_models(const char *name)
{
	static char paths[8][512];
	static unsigned next;
	const char *folder = getenv("REBUS_MODELS");
	char *p = paths[next++ % 8];
	snprintf(p, sizeof paths[0], "%s/%s", folder && *folder ? folder : "models", name);
	return p;
}

#define TRY(call)                                                                                                          \
	do {                                                                                                               \
		if ((status = (call)))                                                                                     \
			goto done;                                                                                         \
	} while (0)

typedef rebus_status scenario(char *text, rebus_error *err);

static rebus_status asks(char *text, rebus_error *err)
{
	rebus_status status;
	rebus_model *model = NULL;
	rebus_session *session = NULL;
	rebus_prompt *prompt = NULL;
	rebus_answer *answer = NULL;
	rebus_session_options s = rebus_session_defaults();
	s.threads = 1;
	TRY(rebus_model_open(in_models("llava-easyvqa"), NULL, &model, err));
	TRY(rebus_session_open(model, &s, &session, err));
	TRY(rebus_prompt_new(model, NULL, &prompt, err));
	TRY(rebus_prompt_image_file(prompt, in_models("llava-easyvqa/pictures/0.png"), err));
	TRY(rebus_prompt_text(prompt, "what shape is in the image?", err));
	TRY(rebus_ask(session, &prompt, 1, NULL, &answer, err));
	snprintf(text, TEXT_MOST, "%s", rebus_answer_text(answer, 0));
done:
	rebus_answer_free(answer);
	rebus_prompt_free(prompt);
	rebus_session_close(session);
	rebus_model_close(model);
	return status;
}

static rebus_status classify(const char *folder, const char *picture, const char *const *labels, size_t count, char *text, rebus_error *err)
{
	rebus_status status;
	rebus_model *model = NULL;
	rebus_session *session = NULL;
	rebus_prompt *prompt = NULL;
	rebus_scores *scores = NULL;
	rebus_session_options s = rebus_session_defaults();
	s.threads = 1;
	TRY(rebus_model_open(in_models(folder), NULL, &model, err));
	TRY(rebus_session_open(model, &s, &session, err));
	TRY(rebus_prompt_new(model, NULL, &prompt, err));
	TRY(rebus_prompt_image_file(prompt, picture, err));
	TRY(rebus_classify(session, &prompt, 1, labels, count, &scores, err));
	snprintf(text, TEXT_MOST, "%s %.9g", rebus_scores_label(scores, 0, 0), (double)rebus_scores_value(scores, 0, 0));
done:
	rebus_scores_free(scores);
	rebus_prompt_free(prompt);
	rebus_session_close(session);
	rebus_model_close(model);
	return status;
}

static rebus_status chooses(char *text, rebus_error *err)
{
	static const char *const labels[] = {"a photo of a bag", "a photo of a sneaker"};
	return classify("clip-fashion", "tests/unit/data/vision/progressive.jpg", labels, 2, text, err);
}

static rebus_status classifies(char *text, rebus_error *err)
{
	return classify("vit-fashion", in_models("vit-fashion/pictures/00.png"), NULL, 0, text, err);
}

static rebus_status run(scenario *f, long number, bool on, char *text)
{
	rebus_error err = {.code = REBUS_OK};
	text[0] = 0;
	h.calls = h.refused = h.blocks = 0;
	h.refuse = number;
	h.on = on;
	h.armed = true;
	rebus_status status = f(text, &err);
	h.armed = false;
	if (h.blocks)
		fail_msg("call %ld refused: %ld blocks are left", number, h.blocks);
	if (status && (status != REBUS_MEMORY || err.code != status || !h.refused || strlen(err.text) < 4))
		fail_msg("call %ld refused: %s (%d) \"%s\"", number, rebus_status_name(status), err.code, err.text);
	for (const char *p = err.text; status && *p; p++)
		assert_true((unsigned char)*p >= 0x20);
	return status;
}

static void torture(scenario *f)
{
	char want[TEXT_MOST], got[TEXT_MOST];
	const char *text = getenv("REBUS_TORTURE_STRIDE");
	long stride = text && atol(text) > 0 ? atol(text) : 1, runs = 0, harmless = 0;
	assert_int_equal(run(f, 0, false, want), REBUS_OK); /* what the C library keeps for good is there now */
	assert_int_equal(run(f, 0, false, want), REBUS_OK);
	long calls = h.calls;
	for (int on = 0; on < 2; on++)
		for (long n = 1; n <= calls; n += n < DENSE ? 1 : stride, runs++) {
			rebus_status status = run(f, n, on, got);
			harmless += !status;
			if (!status && strcmp(got, want))
				fail_msg("call %ld refused: \"%s\", expected \"%s\"", n, got, want);
		}
	print_message("           %ld calls of malloc, %ld runs: %ld did no harm\n", calls, runs, harmless);
}

static void test_ask(void **state)
{
	(void)state;
	torture(asks);
}

static void test_choose(void **state)
{
	(void)state;
	torture(chooses);
}

static void test_classify(void **state)
{
	(void)state;
	torture(classifies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ask),
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_classify),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
