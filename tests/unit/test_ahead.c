/*
 * test_ahead.c - work ahead: jobs come out in the order they were put, hold no more than the limit, and can be dropped at any
 * moment; pictures made ahead have the values, and the errors, of those made in place.
 */
#include "scratch.h"

#include <stdatomic.h>
#include <time.h>

#include "generate/prompt.h"

/* ------------------------------------------------------------------------------------------------ jobs that only hold memory */
typedef struct hold {
	ahead_job base;
	int number;
	size_t size;
	void *memory;
} hold;

static struct {
	_Atomic size_t now, most;
} held;

static void *held_alloc(void *user, size_t size)
{
	(void)user;
	void *p = base_allocator.alloc(NULL, size);
	size_t now = atomic_fetch_add(&held.now, p ? size : 0) + (p ? size : 0), most = atomic_load(&held.most);
	while (now > most && !atomic_compare_exchange_weak(&held.most, &most, now))
		continue;
	return p;
}

static void held_free(void *user, void *memory, size_t size)
{
	(void)user;
	atomic_fetch_sub(&held.now, size);
	base_allocator.free(NULL, memory, size);
}

static const rebus_allocator holding = {NULL, held_alloc, held_free};

/* Holds `size` until it is taken, and on the way three times as much in two pieces. */
static void hold_work(ahead_job *job)
{
	hold *h = (hold *)(void *)job;
	h->memory = job->counted.alloc(job->counted.user, h->size);
	void *scratch = job->counted.alloc(job->counted.user, 2 * h->size);
	if (scratch)
		job->counted.free(job->counted.user, scratch, 2 * h->size);
}

static void hold_free(hold *h)
{
	if (h->memory)
		holding.free(NULL, h->memory, h->size);
	h->memory = NULL;
}

static ahead *hold_open(int threads, size_t limit)
{
	ahead *q = NULL;
	atomic_store(&held.now, 0);
	atomic_store(&held.most, 0);
	assert_int_equal(ahead_open(threads, limit, hold_work, &holding, &q, NULL), REBUS_OK);
	return q;
}

enum { JOBS = 200, UNIT = 1 << 10 };

static void test_order_and_limit(void **state)
{
	(void)state;
	static hold jobs[JOBS];
	for (int threads = 1; threads <= 5; threads += 2) {
		ahead *q = hold_open(threads, 10 * UNIT);
		size_t own = atomic_load(&held.now); /* the queue's */
		for (int i = 0; i < JOBS; i++) {
			jobs[i] = (hold){.number = i, .size = i % 17 == 5 ? 20 * UNIT : (size_t)(1 + i % 4) * UNIT};
			ahead_put(q, &jobs[i].base);
		}
		for (int i = 0; i < JOBS; i++) {
			hold *h = (hold *)(void *)ahead_take(q);
			assert_ptr_equal(h, &jobs[i]);
			assert_non_null(h->memory);
			hold_free(h);
		}
		assert_null(ahead_take(q));
		ahead_close(q);
		assert_int_equal(atomic_load(&held.now), 0);
		/* the limit, one oldest job of at most 60, and one that was taken and not yet freed */
		assert_in_range(atomic_load(&held.most), 60 * UNIT, own + (10 + 60 + 20) * UNIT);
	}
}

static void wait_for(long milliseconds)
{
	nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

static void test_limit_without_large(void **state)
{
	(void)state;
	static hold jobs[JOBS];
	ahead *q = hold_open(4, 32 * UNIT);
	size_t own = atomic_load(&held.now);
	for (int i = 0; i < JOBS; i++) {
		jobs[i] = (hold){.size = UNIT};
		ahead_put(q, &jobs[i].base);
	}
	while (atomic_load(&held.now) < own + 28 * UNIT) /* nobody takes, so what they hold grows to the limit and stays */
		wait_for(1);
	wait_for(20);
	assert_in_range(atomic_load(&held.now), own + 28 * UNIT, own + 33 * UNIT); /* the oldest may come last */
	for (int i = 0; i < JOBS; i++) {
		hold *h = (hold *)(void *)ahead_take(q);
		hold_free(h);
	}
	assert_in_range(atomic_load(&held.most), own + 28 * UNIT, own + 36 * UNIT); /* the oldest does not wait for its three */
	ahead_close(q);
	assert_int_equal(atomic_load(&held.now), 0);
}

static void test_stop(void **state)
{
	(void)state;
	static hold jobs[JOBS];
	for (int taken = 0; taken < JOBS; taken += 37) {
		ahead *q = hold_open(3, 8 * UNIT);
		for (int i = 0; i < JOBS; i++) {
			jobs[i] = (hold){.size = (size_t)(1 + i % 3) * UNIT};
			ahead_put(q, &jobs[i].base);
		}
		for (int i = 0; i < taken; i++)
			hold_free((hold *)(void *)ahead_take(q));
		ahead_stop(q);
		for (int i = taken; i < JOBS; i++) {
			hold *h = (hold *)(void *)ahead_take(q);
			assert_ptr_equal(h, &jobs[i]);
			hold_free(h);
		}
		assert_null(ahead_take(q));
		ahead_close(q);
		assert_int_equal(atomic_load(&held.now), 0);
	}
	ahead_close(NULL);
}

/* ------------------------------------------------------------------------------------------------ pictures */
#define FIXTURE "tests/parity/fixtures/vit-hub"
static const char *const files[] = {
	"tests/parity/pictures/clear.png", "tests/parity/pictures/missing.png", "tests/parity/pictures/photo.jpg", "README.md",
	"tests/unit/data/vision/exif6.jpg", "tests/parity/pictures/tall.png",  "tests/unit/data/vision/cmyk.jpg", "tests/parity/pictures",
};

static void same_as_in_place(const rebus_model *m, const rebus_prompt_options *o, const char *file, rebus_status status, const rebus_prompt *got,
                             const rebus_error *got_error)
{
	rebus_error err = {0};
	rebus_prompt *want = NULL;
	assert_int_equal(rebus_prompt_new(m, o, &want, NULL), REBUS_OK);
	assert_int_equal(rebus_prompt_image_file(want, file, &err), status);
	if (status) {
		assert_string_equal(got_error->text, err.text);
	} else {
		const pixels *a = &got->pictures[0].px, *b = &want->pictures[0].px;
		assert_int_equal(got->picture_count, 1);
		assert_true(a->channels == b->channels && a->height == b->height && a->width == b->width);
		size_t n = (size_t)a->channels * (size_t)a->height * (size_t)a->width;
		float *x = test_malloc(n * sizeof *x), *y = test_malloc(n * sizeof *y);
		vision_values(a, x);
		vision_values(b, y);
		assert_memory_equal(x, y, n * sizeof *x);
		test_free(x);
		test_free(y);
	}
	rebus_prompt_free(want);
}

static rebus_model *open_model(void)
{
	rebus_model *m = NULL;
	rebus_error err;
	if (rebus_model_open(FIXTURE, NULL, &m, &err))
		fail_msg("%s", err.text);
	return m;
}

static void test_pictures(void **state)
{
	(void)state;
	enum { ROUNDS = 5, COUNT = COUNT_OF(files) };
	rebus_model *m = open_model();
	char positions[] = "bilinear";
	rebus_prompt_options o = {.height = 40, .width = 56, .positions = positions};
	for (size_t memory = 1; memory < 1u << 28; memory <<= 13) {
		rebus_ahead *q = NULL;
		assert_int_equal(rebus_ahead_open(m, &o, &(rebus_ahead_options){.threads = 3, .memory = memory}, &q, NULL), REBUS_OK);
		memset(positions, 'x', sizeof positions - 1); /* it was copied */
		for (size_t i = 0; i < ROUNDS * COUNT; i++)
			assert_int_equal(rebus_ahead_file(q, files[i % COUNT], NULL), REBUS_OK);
		assert_int_equal(rebus_ahead_count(q), ROUNDS * COUNT);
		memcpy(positions, "bilinear", sizeof positions);
		for (size_t i = 0; i < ROUNDS * COUNT; i++) {
			rebus_error err = {0};
			rebus_prompt *p = NULL;
			rebus_status s = rebus_ahead_next(q, &p, &err);
			same_as_in_place(m, &o, files[i % COUNT], s, p, &err);
			assert_true((s == REBUS_OK) == (p != NULL));
			rebus_prompt_free(p);
		}
		rebus_prompt *none = NULL;
		assert_int_equal(rebus_ahead_next(q, &none, NULL), REBUS_MISUSE);
		assert_null(none);
		rebus_ahead_close(q);
	}
	rebus_model_close(m);
}

/* Closed while pictures wait, are at work, and are done; a prompt that was taken outlives the queue. */
static void test_pictures_dropped(void **state)
{
	(void)state;
	rebus_model *m = open_model();
	for (size_t taken = 0; taken < 4; taken++) {
		rebus_ahead *q = NULL;
		rebus_prompt *kept[4] = {0};
		rebus_error err;
		assert_int_equal(rebus_ahead_open(m, NULL, NULL, &q, NULL), REBUS_OK);
		for (size_t i = 0; i < 40; i++)
			assert_int_equal(rebus_ahead_file(q, files[2 + i % 2 * 3], NULL), REBUS_OK);
		for (size_t i = 0; i < taken; i++)
			assert_int_equal(rebus_ahead_next(q, &kept[i], &err), REBUS_OK);
		rebus_ahead_close(q);
		for (size_t i = 0; i < taken; i++) {
			same_as_in_place(m, NULL, files[2 + i % 2 * 3], REBUS_OK, kept[i], NULL);
			rebus_prompt_free(kept[i]);
		}
	}
	rebus_ahead_close(NULL);
	rebus_model_close(m);
}

static void test_bytes_and_misuse(void **state)
{
	(void)state;
	rebus_model *m = open_model();
	rebus_ahead *q = NULL;
	rebus_prompt *p = NULL;
	rebus_error err;
	file_map f;
	assert_int_equal(rebus_ahead_open(m, &(rebus_prompt_options){.positions = "round"}, NULL, &q, &err), REBUS_MISUSE);
	assert_has(err.text, "round");
	assert_int_equal(rebus_ahead_open(m, NULL, &(rebus_ahead_options){.threads = -1}, &q, &err), REBUS_MISUSE);
	assert_null(q);
	assert_int_equal(rebus_ahead_open(m, NULL, NULL, &q, &err), REBUS_OK);
	assert_int_equal(file_open(&f, files[2], 0, true, NULL, &err), REBUS_OK);
	assert_int_equal(rebus_ahead_bytes(q, f.data, f.size, "in memory", &err), REBUS_OK);
	assert_int_equal(rebus_ahead_bytes(q, NULL, 0, "nothing", &err), REBUS_OK);
	assert_int_equal(rebus_ahead_next(q, &p, &err), REBUS_OK);
	same_as_in_place(m, NULL, files[2], REBUS_OK, p, NULL);
	rebus_prompt_free(p);
	assert_int_equal(rebus_ahead_next(q, &p, &err), REBUS_FORMAT);
	assert_has(err.text, "nothing: is empty");
	file_close(&f);
	rebus_ahead_close(q);
	rebus_model_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_limit), cmocka_unit_test(test_limit_without_large), cmocka_unit_test(test_stop),
		cmocka_unit_test(test_pictures), cmocka_unit_test(test_pictures_dropped), cmocka_unit_test(test_bytes_and_misuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
