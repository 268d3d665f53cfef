/*
 * team.c - a team of threads that sleeps between runs, and the barrier its members meet at.
 *
 *   caller: run(work) ──► generation + 1, wake all ──► work(arg, 0) ──► wait until the others are done
 *   member i:  sleep until the generation moves ──► work(arg, i) ──► count down ──► sleep
 *
 * One run of a plan is one entry; its steps are separated by barrier_wait, which spins for a few microseconds (a decode
 * step has some 250 barriers in 4 ms) and then sleeps, so that an oversubscribed machine still moves.
 */
#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SPINS = 4000 };

struct barrier {
	_Atomic int waiting;
	_Atomic unsigned generation;
	_Atomic int sleepers;
	int threads, spins;
	pthread_mutex_t lock;
	pthread_cond_t moved;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static bool barrier_init(barrier *b, int threads)
{
	atomic_init(&b->waiting, 0);
	atomic_init(&b->generation, 0);
	atomic_init(&b->sleepers, 0);
	b->threads = threads;
	b->spins = threads <= cpu_quota() ? SPINS : 0; /* with more threads than processors, whoever spins keeps another from coming */
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

void barrier_wait(barrier *b)
{
	if (b->threads == 1)
		return;
	unsigned now = atomic_load(&b->generation);
	if (atomic_fetch_add(&b->waiting, 1) + 1 == b->threads) {
		atomic_store(&b->waiting, 0);
		pthread_mutex_lock(&b->lock); /* a sleeper between its check and its wait must not miss the move */
		atomic_fetch_add(&b->generation, 1);
		if (atomic_load(&b->sleepers))
			pthread_cond_broadcast(&b->moved);
		pthread_mutex_unlock(&b->lock);
		return;
	}
	for (int i = 0; i < b->spins; i++) {
		if (atomic_load_explicit(&b->generation, memory_order_acquire) != now)
			return;
		pause_briefly();
	}
	pthread_mutex_lock(&b->lock);
	atomic_fetch_add(&b->sleepers, 1);
	while (atomic_load(&b->generation) == now)
		pthread_cond_wait(&b->moved, &b->lock);
	atomic_fetch_sub(&b->sleepers, 1);
	pthread_mutex_unlock(&b->lock);
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
	int threads, started;
	pthread_mutex_t lock;
	pthread_cond_t wake, finished;
	unsigned generation;
	int running;
	bool quit;
	void (*work)(void *, int);
	void *arg;
	member members[]; /* [threads]; member 0 is the caller */
};

static void *member_main(void *p)
{
	member *m = p;
	team *t = m->team;
	unsigned seen = 0;
	pthread_mutex_lock(&t->lock);
	for (;;) {
		while (!t->quit && t->generation == seen)
			pthread_cond_wait(&t->wake, &t->lock);
		if (t->quit)
			break;
		seen = t->generation;
		void (*work)(void *, int) = t->work;
		void *arg = t->arg;
		pthread_mutex_unlock(&t->lock);
		work(arg, m->index);
		pthread_mutex_lock(&t->lock);
		if (--t->running == 0)
			pthread_cond_signal(&t->finished);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void team_run(void *user, void (*work)(void *, int), void *arg)
{
	team *t = user;
	if (t->threads == 1) {
		work(arg, 0);
		return;
	}
	pthread_mutex_lock(&t->lock);
	t->work = work;
	t->arg = arg;
	t->running = t->threads - 1;
	t->generation++;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	work(arg, 0);
	pthread_mutex_lock(&t->lock);
	while (t->running)
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
	*t = (team){.from = from, .threads = threads, .started = 1};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	pthread_cond_init(&t->finished, NULL);
	for (; t->started < threads; t->started++) {
		member *m = &t->members[t->started];
		*m = (member){.team = t, .index = t->started};
		if (pthread_create(&m->thread, NULL, member_main, m)) {
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
	pthread_mutex_lock(&t->lock);
	t->quit = true;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
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
