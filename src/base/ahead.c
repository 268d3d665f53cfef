/*
 * ahead.c - a queue of jobs that threads of its own do ahead of who takes them; see base.h.
 *
 *   oldest ─► job ─► job ─► job ─► job ─► NULL        begun in this order: `begin` is the first that nobody has begun
 *             done   at work       begin
 *
 * No deadlock: jobs begin in order, so the oldest has begun before any other can hold memory; it never waits for room; and
 * when it is taken the next becomes the oldest. A thread that waits for room is woken by every give and every take.
 *
 * The threads run at a lower priority than the caller's where the system has one for each thread (Linux): a team that
 * computes on all processors is slowed as little as can be, and as soon as it waits for a job they have all of them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"
#include "base/thread.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICER = 10 };

struct ahead {
	const rebus_allocator *from;
	void (*work)(ahead_job *job);
	pthread_mutex_t lock;
	pthread_cond_t more, done, room; /* a job to begin; the oldest may be done; memory was given, or another is the oldest */
	ahead_job *oldest, *begin, *last;
	size_t limit, held, size; /* size: of this struct, with its threads */
	bool stopping;
	int threads;
	pthread_t thread[]; /* [threads] */
};

static bool has_room(const ahead *q, const ahead_job *job, size_t size)
{
	return job == q->oldest || (q->held <= q->limit && size <= q->limit - q->held);
}

static void *counted_alloc(void *user, size_t size)
{
	ahead_job *job = user;
	ahead *q = job->of;
	if (size > SIZE_MAX / 4)
		return NULL;
	pthread_mutex_lock(&q->lock);
	while (!q->stopping && !has_room(q, job, size))
		pthread_cond_wait(&q->room, &q->lock);
	bool go = !q->stopping;
	if (go) {
		q->held += size;
		job->held += size;
	}
	pthread_mutex_unlock(&q->lock);
	void *p = go ? q->from->alloc(q->from->user, size) : NULL;
	if (go && !p) {
		pthread_mutex_lock(&q->lock);
		q->held -= size;
		job->held -= size;
		pthread_cond_broadcast(&q->room);
		pthread_mutex_unlock(&q->lock);
	}
	return p;
}

static void counted_free(void *user, void *memory, size_t size)
{
	ahead_job *job = user;
	ahead *q = job->of;
	q->from->free(q->from->user, memory, size);
	pthread_mutex_lock(&q->lock);
	q->held -= size;
	job->held -= size;
	pthread_cond_broadcast(&q->room);
	pthread_mutex_unlock(&q->lock);
}

static void step_back(void)
{
#ifdef __linux__
	id_t self = (id_t)syscall(SYS_gettid);
	(void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + NICER); /* refused: it stays as it is */
#endif
}

static void *ahead_main(void *p)
{
	ahead *q = p;
	step_back();
	pthread_mutex_lock(&q->lock);
	for (;;) {
		while (!q->stopping && !q->begin)
			pthread_cond_wait(&q->more, &q->lock);
		if (q->stopping)
			break;
		ahead_job *job = q->begin;
		q->begin = job->next;
		pthread_mutex_unlock(&q->lock);
		q->work(job);
		pthread_mutex_lock(&q->lock);
		job->done = true;
		if (job == q->oldest)
			pthread_cond_signal(&q->done);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

rebus_status ahead_open(int threads, size_t limit, void (*work)(ahead_job *job), const rebus_allocator *from, ahead **out, rebus_error *err)
{
	if (threads < 1 || threads > 1024)
		return error_set(err, REBUS_MISUSE, "threads ahead: %d, expected 1 to 1024", threads);
	if (!from)
		from = &base_allocator;
	size_t size = sizeof(ahead) + (size_t)threads * sizeof(pthread_t);
	ahead *q = from->alloc(from->user, size);
	if (!q)
		return error_memory(err, "threads ahead");
	*q = (ahead){.from = from, .work = work, .limit = limit, .size = size};
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->more, NULL);
	pthread_cond_init(&q->done, NULL);
	pthread_cond_init(&q->room, NULL);
	for (; q->threads < threads; q->threads++) /* fewer than asked will do */
		if (!thread_start(&q->thread[q->threads], ahead_main, q))
			break;
	if (!q->threads) {
		ahead_close(q);
		return error_set(err, REBUS_MEMORY, "no thread: the system refuses to start one");
	}
	*out = q;
	return REBUS_OK;
}

void ahead_put(ahead *q, ahead_job *job)
{
	*job = (ahead_job){.of = q, .counted = {job, counted_alloc, counted_free}};
	pthread_mutex_lock(&q->lock);
	if (q->last)
		q->last->next = job;
	else
		q->oldest = job;
	q->last = job;
	if (!q->begin)
		q->begin = job;
	pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
}

ahead_job *ahead_take(ahead *q)
{
	pthread_mutex_lock(&q->lock);
	ahead_job *job = q->oldest;
	while (job && !job->done && !q->stopping)
		pthread_cond_wait(&q->done, &q->lock);
	if (job) {
		q->oldest = job->next;
		if (!q->oldest)
			q->last = NULL;
		if (q->begin == job)
			q->begin = job->next;
		q->held -= job->held;
		job->held = 0;
		pthread_cond_broadcast(&q->room);
	}
	pthread_mutex_unlock(&q->lock);
	return job;
}

void ahead_stop(ahead *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_broadcast(&q->more);
	pthread_cond_broadcast(&q->room);
	pthread_mutex_unlock(&q->lock);
	for (; q->threads > 0; q->threads--)
		pthread_join(q->thread[q->threads - 1], NULL);
}

void ahead_close(ahead *q)
{
	if (!q)
		return;
	ahead_stop(q);
	pthread_cond_destroy(&q->room);
	pthread_cond_destroy(&q->done);
	pthread_cond_destroy(&q->more);
	pthread_mutex_destroy(&q->lock);
	q->from->free(q->from->user, q, q->size);
}
