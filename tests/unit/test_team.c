/*
 * test_team.c - threads: every member works once a run, waits see what was written before them, a member that comes late or
 * one after the other holds nobody up; a session with threads of the caller's starts none; quotas of control groups, old and new.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "scratch.h"

enum { MOST = 8, STEPS = 300 };

/* ------------------------------------------------------------------------------------------------ team and barrier */
typedef struct {
	int threads, late; /* this member sleeps first; -1: nobody */
	barrier *meet;
	_Atomic int64_t next[STEPS], done[STEPS];
	int64_t value[STEPS]; /* plain: written in a step by one member, read in the next by another */
	_Atomic int calls[MOST];
} steps;

static void take_steps(void *arg, int index)
{
	steps *s = arg;
	atomic_fetch_add(&s->calls[index], 1);
	if (index == s->late)
		for (double end = time_now() + 0.01; time_now() < end;)
			;
	for (int i = 0; i < STEPS; i++) {
		if (atomic_fetch_add(&s->next[i], 1) == 0) {
			s->value[i] = 1 + (i ? s->value[i - 1] : 0);
			if (atomic_fetch_add(&s->done[i], 1) + 1 == 1)
				barrier_tell(s->meet);
		}
		barrier_until(s->meet, &s->done[i], 1);
	}
}

static void members(void **state)
{
	(void)state;
	for (int count = 1; count <= MOST; count = count < 3 ? count + 1 : count + 5)
		for (int late = -1; late < count; late += late < 0 ? 1 : count) {
			arena a;
			team *t;
			arena_init(&a, NULL, 0);
			steps *s = arena_zero(&a, 1, sizeof *s);
			assert_int_equal(team_open(count, NULL, &t, NULL), REBUS_OK);
			s->meet = barrier_new(&a, count);
			s->late = late;
			rebus_runner r = team_runner(t);
			for (int run = 1; run <= 20; run++) {
				for (int i = 0; i < STEPS; i++) {
					atomic_store(&s->next[i], 0);
					atomic_store(&s->done[i], 0);
				}
				r.run(r.user, take_steps, s);
				assert_int_equal(s->value[STEPS - 1], STEPS);
				for (int i = 0; i < count; i++)
					assert_int_equal(atomic_load(&s->calls[i]), run);
			}
			barrier_end(s->meet);
			team_close(t);
			arena_free(&a);
		}
}

typedef struct {
	barrier *meet;
	_Atomic int64_t never;
	_Atomic int left;
} stuck;

static void wait_or_break(void *arg, int index)
{
	stuck *s = arg;
	if (!index) {
		for (double end = time_now() + 0.02; time_now() < end;) /* long enough that some sleep */
			;
		barrier_break(s->meet, true);
	}
	barrier_until(s->meet, &s->never, 1);
	atomic_fetch_add(&s->left, 1);
}

static void broken(void **state)
{
	(void)state;
	arena a;
	team *t;
	arena_init(&a, NULL, 0);
	assert_int_equal(team_open(3, NULL, &t, NULL), REBUS_OK);
	stuck s = {.meet = barrier_new(&a, 3)};
	rebus_runner r = team_runner(t);
	assert_false(barrier_broken(s.meet));
	r.run(r.user, wait_or_break, &s);
	assert_int_equal(atomic_load(&s.left), 3);
	assert_true(barrier_broken(s.meet));
	barrier_break(s.meet, false);
	assert_false(barrier_broken(s.meet));
	barrier_end(s.meet);
	team_close(t);
	arena_free(&a);
}

/* ------------------------------------------------------------------------------------------------ threads of the caller */
static int threads_alive(void)
{
	int count = 0;
	DIR *d = opendir("/proc/self/task");
	assert_non_null(d);
	for (const struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}

typedef struct {
	int runs, most;
} one_by_one;

/* No threads at all: member after member, the last one first */
static void run_in_turn(void *user, void (*work)(void *, int), void *arg)
{
	one_by_one *u = user;
	u->runs++;
	for (int i = 2; i >= 0; i--)
		work(arg, i);
	int alive = threads_alive();
	u->most = alive > u->most ? alive : u->most;
}

enum { LABELS = 10 };

static void classify(const rebus_runner *runner, float values[LABELS])
{
	rebus_model *m;
	rebus_session *s;
	rebus_prompt *p;
	rebus_scores *scores;
	rebus_error err;
	assert_int_equal(rebus_model_open("models/vit-fashion", NULL, &m, &err), REBUS_OK);
	rebus_session_options o = rebus_session_defaults();
	o.runner = runner;
	assert_int_equal(rebus_session_open(m, &o, &s, &err), REBUS_OK);
	assert_int_equal(rebus_prompt_new(m, NULL, &p, &err), REBUS_OK);
	static uint8_t pixels[28 * 28 * 3];
	for (size_t i = 0; i < sizeof pixels; i++)
		pixels[i] = (uint8_t)(i * 37 % 251);
	assert_int_equal(rebus_prompt_image_rgb(p, pixels, 28, 28, &err), REBUS_OK);
	assert_int_equal(rebus_classify(s, &p, 1, NULL, 0, &scores, &err), REBUS_OK);
	assert_int_equal(rebus_scores_labels(scores), LABELS);
	for (size_t i = 0; i < LABELS; i++)
		values[i] = rebus_scores_value(scores, 0, i);
	rebus_scores_free(scores);
	rebus_prompt_free(p);
	rebus_session_close(s);
	rebus_model_close(m);
}

/* Its threads are all there are, and the scores are those of a team, to the bit. */
static void callers_threads(void **state)
{
	(void)state;
	float mine[LABELS], of_a_team[LABELS];
	one_by_one user = {0};
	const rebus_runner runner = {.user = &user, .threads = 3, .run = run_in_turn};
	const int before = threads_alive();
	classify(&runner, mine);
	assert_true(user.runs > 0);
	assert_int_equal(user.most, before);
	classify(NULL, of_a_team);
	assert_memory_equal(mine, of_a_team, sizeof mine);
}

/* ------------------------------------------------------------------------------------------------ quotas */
static void put(const char *folder, const char *name, const char *text)
{
	char path[300];
	assert_true(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
	FILE *f = fopen(scratch_path(path), "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void folder(const char *name)
{
	assert_int_equal(mkdir(scratch_path(name), 0700), 0);
}

static int quota(const char *mount, const char *self)
{
	char where[700];
	snprintf(where, sizeof where, "%s", scratch_path(mount));
	return cpu_group_quota(where, scratch_path(self));
}

static void quotas(void **state)
{
	(void)state;
	folder("none");
	put(".", "self", "0::/\n");
	assert_int_equal(quota("none", "self"), 0);
	assert_int_equal(quota("none", "missing"), 0);

	folder("two"); /* version 2: a container sees its own limit at the root */
	put("two", "cpu.max", "150000 100000\n");
	assert_int_equal(quota("two", "self"), 2);
	put("two", "cpu.max", "max 100000\n");
	assert_int_equal(quota("two", "self"), 0);
	put("two", "cpu.max", "-5 0\n");
	assert_int_equal(quota("two", "self"), 0);
	put("two", "cpu.max", "nonsense\n");
	assert_int_equal(quota("two", "self"), 0);
	put("two", "cpu.max", "9223372036854775807 1\n");
	assert_int_equal(quota("two", "self"), 1 << 20);

	put("two", "cpu.max", "max 100000\n"); /* nested: the least of all above counts */
	folder("two/user");
	folder("two/user/job");
	put("two/user", "cpu.max", "300000 100000\n");
	put("two/user/job", "cpu.max", "500000 100000\n");
	put(".", "nested", "1:name=systemd:/elsewhere\n0::/user/job\n");
	assert_int_equal(quota("two", "nested"), 3);
	put("two/user/job", "cpu.max", "100000 100000\n");
	assert_int_equal(quota("two", "nested"), 1);
	assert_int_equal(quota("two", "self"), 0);
	put(".", "odd", "\n:\n::\n0::\n0::job\nxyz");
	assert_int_equal(quota("two", "odd"), 0);

	folder("one"); /* version 1: a tree of its own for processors, two files */
	folder("one/cpu");
	put("one/cpu", "cpu.cfs_quota_us", "-1\n");
	put("one/cpu", "cpu.cfs_period_us", "100000\n");
	assert_int_equal(quota("one", "self"), 0);
	put("one/cpu", "cpu.cfs_quota_us", "400000\n");
	assert_int_equal(quota("one", "self"), 4);
	folder("one/cpu/job");
	put("one/cpu/job", "cpu.cfs_quota_us", "50000\n");
	put("one/cpu/job", "cpu.cfs_period_us", "100000\n");
	put(".", "job", "7:memory:/job\n4:cpu,cpuacct:/job\n");
	assert_int_equal(quota("one", "job"), 1);

	assert_true(cpu_quota() >= 1);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
	(void)info;
	(void)kind;
	(void)at;
	return remove(path);
}

static int remove_all(void **state)
{
	(void)state;
	return nftw(scratch_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members),
		cmocka_unit_test(broken),
		cmocka_unit_test(callers_threads),
		cmocka_unit_test(quotas),
	};
	return cmocka_run_group_tests(tests, scratch_begin, remove_all);
}
