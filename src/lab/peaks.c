/*
 * peaks.c - measuring the machine's peaks; see peaks.h.
 *
 *   arithmetic:  try 0 │ try 1 │ ...      each: the team runs some milliseconds of multiply-adds, the shortest counts
 *   reading:     the buffer is cut into one part a thread, written by that thread first, then read some times
 *   barrier:     STEPS empty steps in one run, as run.c takes them
 *   entry:       runs of nothing
 */
#include "lab/peaks.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum {
	TRIES = 24,
	ROUNDS = 1000000,
	STEPS = 250,
	ENTRIES = 25,
	LINE_FLOATS = 256, /* what a part of the buffer is a multiple of */
};
static const double most_time = 0.4; /* seconds a peak may take; on a busy machine an empty step can take milliseconds */
static const size_t most_streamed = (size_t)256 << 20, least_streamed = (size_t)16 << 20;

/* ------------------------------------------------------------------------------------------------ portable loops */
enum { LANES = 32 };

/* x = x a + b with a < 1 moves towards b / (1 - a): neither overflow nor denormals. */
static float multiply(int64_t rounds, float a, float b)
{
	float x[LANES], sum = 0;
	for (int i = 0; i < LANES; i++)
		x[i] = (float)i;
	for (int64_t r = 0; r < rounds; r++)
		for (int i = 0; i < LANES; i++)
			x[i] = x[i] * a + b;
	for (int i = 0; i < LANES; i++)
		sum += x[i];
	return sum;
}

static float read_all(const float *x, size_t count)
{
	float sum[16] = {0}, all = 0;
	for (size_t i = 0; i < count; i += 16)
		for (size_t j = 0; j < 16; j++)
			sum[j] += x[i + j];
	for (size_t j = 0; j < 16; j++)
		all += sum[j];
	return all;
}

const peak_loops peak_portable = {{multiply, 2.0 * LANES}, read_all};

static const peak_loops *loops_of(cpu_level level)
{
#ifdef REBUS_X86
	if (level == CPU_AVX512 || level == CPU_AVX512BF16)
		return &peak_avx512;
	if (level == CPU_AVX2)
		return &peak_avx2;
#endif
#ifdef REBUS_NEON
	if (level == CPU_NEON)
		return &peak_neon;
#endif
	(void)level;
	return &peak_portable;
}

static peak_products products_of(cpu_level level, precision as)
{
#ifdef REBUS_X86
	if (level == CPU_AVX512BF16 && as != PRECISION_F32)
		return as == PRECISION_BF16 ? peak_bf16_avx512bf16 : peak_int8_avx512bf16;
#endif
	(void)as;
	return loops_of(level)->f32;
}

/* ------------------------------------------------------------------------------------------------ the team */
typedef struct measuring {
	const peak_loops *loops;
	peak_products products;
	int threads;
	float *buffer;
	size_t part; /* floats a thread */
	barrier *meet;
	_Atomic int64_t next[STEPS], done[STEPS];
	_Atomic int sink; /* results go somewhere */
} measuring;

static void keep(measuring *m, float x)
{
	if (x == 1.5f)
		atomic_fetch_add(&m->sink, 1);
}

static void work_multiply(void *arg, int index)
{
	measuring *m = arg;
	keep(m, m->products.multiply(ROUNDS, 0.5f + 1e-3f * (float)index, 0.25f));
}

static void work_fill(void *arg, int index)
{
	measuring *m = arg;
	memset(m->buffer + (size_t)index * m->part, 0, m->part * sizeof(float));
}

static void work_read(void *arg, int index)
{
	measuring *m = arg;
	keep(m, m->loops->read(m->buffer + (size_t)index * m->part, m->part));
}

static void work_steps(void *arg, int index)
{
	measuring *m = arg;
	(void)index;
	for (int i = 0; i < STEPS; i++) {
		int64_t mine = 0;
		while (atomic_fetch_add_explicit(&m->next[i], 1, memory_order_relaxed) < m->threads)
			mine++;
		if (mine && atomic_fetch_add(&m->done[i], mine) + mine == m->threads)
			barrier_tell(m->meet);
		barrier_until(m->meet, &m->done[i], m->threads);
	}
}

static void work_nothing(void *arg, int index)
{
	(void)arg;
	(void)index;
}

/* Seconds of the shortest of some runs, `times` in a row. */
static double shortest(const rebus_runner *r, void (*work)(void *, int), measuring *m, int times)
{
	double best = 0, begin = time_now();
	for (int i = 0; i < TRIES && time_now() - begin < most_time; i++) {
		for (int k = 0; k < STEPS; k++) {
			atomic_store_explicit(&m->next[k], 0, memory_order_relaxed);
			atomic_store_explicit(&m->done[k], 0, memory_order_relaxed);
		}
		double start = time_now();
		for (int k = 0; k < times; k++)
			r->run(r->user, work, m);
		double took = (time_now() - start) / times;
		best = i == 0 || took < best ? took : best;
	}
	return best > 0 ? best : 1e-9;
}

/* As much as can be had, halving. */
static rebus_status take_buffer(measuring *m, arena *a, size_t *size, rebus_error *err)
{
	for (*size = most_streamed; *size >= least_streamed; *size /= 2) {
		m->part = *size / sizeof(float) / (size_t)m->threads / LINE_FLOATS * LINE_FLOATS;
		m->buffer = arena_get(a, m->part * (size_t)m->threads, sizeof(float));
		if (m->buffer) {
			*size = m->part * (size_t)m->threads * sizeof(float);
			return REBUS_OK;
		}
	}
	return error_memory(err, "a buffer to read");
}

rebus_status peaks_measure(const rebus_runner *runner, cpu_level level, precision as, const rebus_allocator *from, peaks *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	peaks p = {0};
	arena a;
	arena_init(&a, from, 0);
	measuring *m = arena_zero(&a, 1, sizeof *m);
	if (!m) {
		status = error_memory(err, "peaks");
		goto done;
	}
	m->loops = loops_of(level);
	m->products = products_of(level, as);
	m->threads = runner->threads;
	m->meet = barrier_new(&a, runner->threads);
	if (!m->meet) {
		status = error_memory(err, "a barrier");
		goto done;
	}
	p.flops = m->products.flops * ROUNDS * runner->threads / shortest(runner, work_multiply, m, 1);
	p.barrier = shortest(runner, work_steps, m, 1) / STEPS;
	p.entry = shortest(runner, work_nothing, m, ENTRIES);
	barrier_end(m->meet);
	TRY(take_buffer(m, &a, &p.streamed, err));
	runner->run(runner->user, work_fill, m);
	p.bytes = (double)p.streamed / shortest(runner, work_read, m, 1);
	*out = p;
done:
	arena_free(&a);
	return status;
}

static double processor_time(void)
{
	struct timespec t;
	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) ? time_now() : (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double peaks_thread(cpu_level level)
{
	const peak_loops *loops = loops_of(level);
	double best = 0;
	volatile float sink = 0;
	for (int i = 0; i < TRIES; i++) {
		double start = processor_time();
		sink = loops->f32.multiply(ROUNDS, 0.5f, 0.25f);
		double took = processor_time() - start;
		best = i == 0 || took < best ? took : best;
	}
	(void)sink;
	return loops->f32.flops * ROUNDS / (best > 0 ? best : 1e-9);
}
