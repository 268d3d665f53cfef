/*
 * team.c - a team of threads that sleeps between runs, and the barrier where its members wait for each other's tasks.
 *
 *   caller: run(work) ──► generation + 1, wake who sleeps ──► work(arg, 0) ──► wait until the others are done
 *   member i:  wait until the generation moves ──► work(arg, i) ──► count down ──► wait
 *
 * One run of a plan is one entry; between steps members wait until the tasks of a step are done, not until every member is
 * there: one that the system keeps off a processor holds nobody up unless it was in the middle of a task.
 *
 * Every wait spins for some ten microseconds (a decode step has some 250 steps in 4 ms, and the next one follows soon) and then
 * sleeps, so that an oversubscribed machine still moves.
 */
#include "base/base.h"
#include "base/thread.h"

#include <stdatomic.h>

enum { SPINS = 4000 };

struct barrier {
	_Atomic int sleepers;
	_Atomic bool broken;
	int spins;
	pthread_mutex_t lock;
	pthread_cond_t moved;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* With more threads than processors, whoever spins keeps another from coming. */
static int spins_of(int threads)
{
	return threads <= cpu_quota() ? SPINS : 0;
}

static bool barrier_init(barrier *b, int threads)
{
	atomic_init(&b->sleepers, 0);
	atomic_init(&b->broken, false);
	b->spins = spins_of(threads);
	if (pthread_mutex_init(&b->lock, NULL))
		return false;
	if (pthread_cond_init(&b->moved, NULL)) {
		pthread_mutex_destroy(&b->lock);
		return false;
	}
	return true;
}

barrier *barrier_new(arena *a, int threads)
{
	barrier *b = arena_zero(a, 1, sizeof *b);
	return b && barrier_init(b, threads) ? b : NULL;
}

void barrier_end(barrier *b)
{
	if (!b)
		return;
	pthread_cond_destroy(&b->moved);
	pthread_mutex_destroy(&b->lock);
}

static bool reached(const barrier *b, const _Atomic int64_t *count, int64_t goal)
{
	return atomic_load(count) >= goal || atomic_load(&b->broken);
}

void barrier_until(barrier *b, const _Atomic int64_t *count, int64_t goal)
{
	for (int i = 0; i < b->spins; i++) {
		if (reached(b, count, goal))
			return;
		pause_briefly();
	}
	pthread_mutex_lock(&b->lock);
	atomic_fetch_add(&b->sleepers, 1); /* before the last look: who counts up after it sees a sleeper */
	while (!reached(b, count, goal))
		pthread_cond_wait(&b->moved, &b->lock);
	atomic_fetch_sub(&b->sleepers, 1);
	pthread_mutex_unlock(&b->lock);
}

void barrier_tell(barrier *b)
{
	if (!atomic_load(&b->sleepers))
		return;
	pthread_mutex_lock(&b->lock); /* a sleeper between its look and its wait must not miss this */
	pthread_cond_broadcast(&b->moved);
	pthread_mutex_unlock(&b->lock);
}

void barrier_break(barrier *b, bool broken)
{
	atomic_store(&b->broken, broken);
	barrier_tell(b);
}

bool barrier_broken(const barrier *b)
{
	return atomic_load_explicit(&b->broken, memory_order_relaxed);
}

struct mutex {
	pthread_mutex_t m;
};

mutex *mutex_new(arena *a)
{
	mutex *m = arena_zero(a, 1, sizeof *m);
	return m && !pthread_mutex_init(&m->m, NULL) ? m : NULL;
}

void mutex_end(mutex *m)
{
	if (m)
		pthread_mutex_destroy(&m->m);
}

void mutex_lock(mutex *m)
{
	pthread_mutex_lock(&m->m);
}

void mutex_unlock(mutex *m)
{
	pthread_mutex_unlock(&m->m);
}

typedef struct {
	struct team *team;
	pthread_t thread;
	int index;
} member;

struct team {
	const rebus_allocator *from;
	int threads, started, spins;
	pthread_mutex_t lock;
	pthread_cond_t wake, finished;
	_Atomic unsigned generation;
	_Atomic int running;
	_Atomic bool quit;
	int sleepers; /* members; under the lock */
	void (*work)(void *, int);
	void *arg;
	member members[]; /* [threads]; member 0 is the caller */
};

static bool idle(team *t, unsigned seen)
{
	return atomic_load(&t->generation) == seen && !atomic_load(&t->quit);
}

static void wait_for_work(team *t, unsigned seen)
{
	for (int i = 0; i < t->spins; i++) {
		if (!idle(t, seen))
			return;
		pause_briefly();
	}
	pthread_mutex_lock(&t->lock);
	t->sleepers++;
	while (idle(t, seen))
		pthread_cond_wait(&t->wake, &t->lock);
	t->sleepers--;
	pthread_mutex_unlock(&t->lock);
}

static void *member_main(void *p)
{
	member *m = p;
	team *t = m->team;
	for (unsigned seen = 0;; seen++) { /* the next generation comes only when this one is done everywhere */
		wait_for_work(t, seen);
		if (atomic_load(&t->quit))
			return NULL;
		t->work(t->arg, m->index);
		if (atomic_fetch_sub(&t->running, 1) == 1) {
			pthread_mutex_lock(&t->lock);
			pthread_cond_signal(&t->finished);
			pthread_mutex_unlock(&t->lock);
		}
	}
}

static void wake_members(team *t)
{
	pthread_mutex_lock(&t->lock); /* a member between its look and its sleep must not miss this */
	if (t->sleepers)
		pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

static void team_run(void *user, void (*work)(void *, int), void *arg)
{
	team *t = user;
	if (t->threads == 1) {
		work(arg, 0);
		return;
	}
	t->work = work;
	t->arg = arg;
	atomic_store(&t->running, t->threads - 1);
	atomic_fetch_add(&t->generation, 1);
	wake_members(t);
	work(arg, 0);
	for (int i = 0; i < t->spins && atomic_load(&t->running); i++)
		pause_briefly();
	if (!atomic_load(&t->running))
		return;
	pthread_mutex_lock(&t->lock);
	while (atomic_load(&t->running))
		pthread_cond_wait(&t->finished, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

rebus_status team_open(int threads, const rebus_allocator *from, team **out, rebus_error *err)
{
	if (threads < 1 || threads > 1024)
		return error_set(err, REBUS_MISUSE, "threads: %d, expected 1 to 1024", threads);
	if (!from)
		from = &base_allocator;
	team *t = from->alloc(from->user, sizeof *t + (size_t)threads * sizeof(member));
	if (!t)
		return error_memory(err, "threads");
	*t = (team){.from = from, .threads = threads, .started = 1, .spins = spins_of(threads)};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	pthread_cond_init(&t->finished, NULL);
	for (; t->started < threads; t->started++) {
		member *m = &t->members[t->started];
		*m = (member){.team = t, .index = t->started};
		if (!thread_start(&m->thread, member_main, m)) {
			team_close(t);
			return error_set(err, REBUS_MEMORY, "no thread: the system refuses to start %d", threads);
		}
	}
	*out = t;
	return REBUS_OK;
}

void team_close(team *t)
{
	if (!t)
		return;
	atomic_store(&t->quit, true);
	wake_members(t);
	for (int i = 1; i < t->started; i++)
		pthread_join(t->members[i].thread, NULL);
	pthread_cond_destroy(&t->finished);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	t->from->free(t->from->user, t, sizeof *t + (size_t)t->threads * sizeof(member));
}

rebus_runner team_runner(team *t)
{
	return (rebus_runner){.user = t, .threads = t->threads, .run = team_run};
}
