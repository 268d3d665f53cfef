/*
 * streams.c - steps that wait for memory, each beside a plain copy: a test that none has become slow, and the figures of
 * docs/performance.md.
 *
 *   rate of an operation over 16,384 rows of 768 (48 MiB)   ÷   rate of copying as many bytes
 *
 *   streams [THREADS]      with an argument only prints: the shares on so many threads by the clock
 *
 * As a test it is one thread, timed by the processor time it used, in turns with the copy, best against best; tries go on until
 * the floor is reached or time is out. Bytes are what the operation must read and write; what a cache reads before it is written
 * to counts for both alike.
 */
#include "kernels/kernels.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 16384, WIDTH = 768, HEAD = 64, BLOCK = 32 };
static const double give_up = 3; /* seconds an operation */

typedef struct streams streams;
struct streams {
	const kernels *k;
	float *x, *y, *z, *w, *angles; /* [ROWS, WIDTH] three times, [2, WIDTH], [ROWS, HEAD] */
	int32_t *from;                 /* [ROWS]: rows in another order */
	uint16_t *half;                /* [ROWS, WIDTH] */
	void (*run)(const streams *s, int64_t row, int64_t rows);
	_Atomic int64_t next;
};

static void run_copy(const streams *s, int64_t row, int64_t rows)
{
	memcpy(s->z + row * WIDTH, s->x + row * WIDTH, (size_t)(rows * WIDTH) * sizeof(float));
}

static void run_layer_norm(const streams *s, int64_t row, int64_t rows)
{
	s->k->layer_norm(rows, WIDTH, s->x + row * WIDTH, WIDTH, s->w, s->w + WIDTH, 1e-6f, s->z + row * WIDTH, WIDTH);
}

static void run_rms_norm(const streams *s, int64_t row, int64_t rows)
{
	s->k->rms_norm(rows, WIDTH, s->x + row * WIDTH, WIDTH, s->w, 1e-6f, s->z + row * WIDTH, WIDTH);
}

static void run_gelu(const streams *s, int64_t row, int64_t rows)
{
	s->k->act(ACT_GELU, rows * WIDTH, s->x + row * WIDTH, s->z + row * WIDTH);
}

static void run_silu(const streams *s, int64_t row, int64_t rows)
{
	s->k->act(ACT_SILU, rows * WIDTH, s->x + row * WIDTH, s->z + row * WIDTH);
}

static void run_gate(const streams *s, int64_t row, int64_t rows)
{
	s->k->gate(ACT_SILU, rows * WIDTH, s->x + row * WIDTH, s->y + row * WIDTH, s->z + row * WIDTH);
}

static void run_add(const streams *s, int64_t row, int64_t rows)
{
	s->k->add(rows * WIDTH, s->x + row * WIDTH, s->y + row * WIDTH, s->z + row * WIDTH);
}

static void run_rotate(const streams *s, int64_t row, int64_t rows)
{
	s->k->rotate(rows, WIDTH / HEAD, HEAD, HEAD / 2, 0, 1, s->x + row * WIDTH, WIDTH, s->angles + row * HEAD, HEAD, s->z + row * WIDTH, WIDTH);
}

static void run_rotate_pairs(const streams *s, int64_t row, int64_t rows)
{
	s->k->rotate(rows, WIDTH / HEAD, HEAD, HEAD / 2, 1, 1, s->x + row * WIDTH, WIDTH, s->angles + row * HEAD, HEAD, s->z + row * WIDTH, WIDTH);
}

/* A row map of two weighted sources, as a resampled position has */
static void run_map(const streams *s, int64_t row, int64_t rows)
{
	for (int64_t r = row; r < row + rows; r++) {
		s->k->scale(WIDTH, 0.25f, s->x + (int64_t)s->from[r] * WIDTH, s->z + r * WIDTH);
		s->k->axpy(WIDTH, 0.75f, s->y + (int64_t)s->from[r] * WIDTH, s->z + r * WIDTH);
	}
}

static void run_narrow(const streams *s, int64_t row, int64_t rows)
{
	s->k->narrow(PRECISION_BF16, rows, WIDTH, s->x + row * WIDTH, WIDTH, s->z + row * WIDTH, WIDTH);
}

/* As plans do it: row by row, what is rounded is still in the first-level cache */
static void run_norm_narrow(const streams *s, int64_t row, int64_t rows)
{
	float one[WIDTH];
	for (int64_t r = row; r < row + rows; r++) {
		s->k->layer_norm(1, WIDTH, s->x + r * WIDTH, WIDTH, s->w, s->w + WIDTH, 1e-6f, one, WIDTH);
		s->k->narrow(PRECISION_BF16, 1, WIDTH, one, WIDTH, s->z + r * WIDTH / 2, WIDTH / 2);
	}
}

static void run_widen(const streams *s, int64_t row, int64_t rows)
{
	s->k->widen(DT_BF16, rows * WIDTH, s->half + row * WIDTH, s->z + row * WIDTH);
}

static const struct {
	const char *name;
	void (*run)(const streams *s, int64_t row, int64_t rows);
	double bytes; /* a value */
	double floor; /* of the copy's rate, one thread */
} cases[] = {
	{"layer_norm", run_layer_norm, 8, 0.5}, {"rms_norm", run_rms_norm, 8, 0.5}, {"gelu", run_gelu, 8, 0.25}, {"silu", run_silu, 8, 0.3},
	{"gate", run_gate, 12, 0.3},            {"add", run_add, 12, 0.5},          {"rotate", run_rotate, 8, 0.5},
	{"rotate_pairs", run_rotate_pairs, 8, 0.5}, {"map", run_map, 12, 0.4},      {"widen", run_widen, 6, 0.4},
	{"narrow", run_narrow, 6, 0.4},         {"norm_narrow", run_norm_narrow, 6, 0.3},
};

static double thread_time(void)
{
	struct timespec t;
	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) ? time_now() : (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes a second of one turn through everything */
static double rate_alone(streams *s, void (*run)(const streams *, int64_t, int64_t), double bytes)
{
	double start = thread_time();
	for (int64_t row = 0; row < ROWS; row += BLOCK)
		run(s, row, BLOCK);
	double took = thread_time() - start;
	return bytes * ROWS * WIDTH / (took > 0 ? took : 1);
}

static bool check(streams *s, size_t i)
{
	double copy = 0, best = 0, begin = time_now();
	int tries = 0;
	do {
		double c = rate_alone(s, run_copy, 8), r = rate_alone(s, cases[i].run, cases[i].bytes);
		copy = c > copy ? c : copy;
		best = r > best ? r : best;
		tries++;
	} while (tries < 3 || (best < cases[i].floor * copy && time_now() - begin < give_up));
	bool good = best >= cases[i].floor * copy;
	printf("%s %-10s %-13s %6.1f of %6.1f GB/s: %.2f of a copy, at least %.2f (%d tries)\n", good ? "ok  " : "FAIL", cpu_name(s->k->level), cases[i].name,
		best * 1e-9, copy * 1e-9, best / copy, cases[i].floor, tries);
	return good;
}

/* ------------------------------------------------------------------------------------------------ several threads */
static void work(void *arg, int index)
{
	streams *s = arg;
	(void)index;
	for (int64_t b; (b = atomic_fetch_add(&s->next, 1)) < ROWS / BLOCK;)
		s->run(s, b * BLOCK, BLOCK);
}

static double rate_of_team(streams *s, const rebus_runner *r, void (*run)(const streams *, int64_t, int64_t), double bytes)
{
	double best = 1e9;
	s->run = run;
	for (int i = 0; i < 8; i++) {
		atomic_store(&s->next, 0);
		double start = time_now();
		r->run(r->user, work, s);
		double took = time_now() - start;
		best = took < best ? took : best;
	}
	return bytes * ROWS * WIDTH / best;
}

static int show(streams *s, int threads)
{
	team *t;
	if (team_open(threads, NULL, &t, NULL))
		return 2;
	rebus_runner r = team_runner(t);
	double copy = rate_of_team(s, &r, run_copy, 8);
	printf("%-10s %d threads: copy %.1f GB/s\n", cpu_name(s->k->level), threads, copy * 1e-9);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		double rate = rate_of_team(s, &r, cases[i].run, cases[i].bytes);
		printf("  %-13s %6.1f GB/s, %.2f of a copy\n", cases[i].name, rate * 1e-9, rate / copy);
	}
	team_close(t);
	return 0;
}

static bool make(streams *s, arena *a)
{
	const int64_t n = (int64_t)ROWS * WIDTH;
	float **all[] = {&s->x, &s->y, &s->z};
	for (size_t i = 0; i < COUNT_OF(all); i++) {
		*all[i] = arena_get(a, (size_t)n, sizeof(float));
		for (int64_t j = 0; *all[i] && j < n; j++)
			(*all[i])[j] = (float)((j * 37 + j / 64 * 11) % 256 - 128) / 64;
	}
	s->w = arena_get(a, 2 * WIDTH, sizeof(float));
	s->angles = arena_get(a, (size_t)ROWS * HEAD, sizeof(float));
	s->from = arena_get(a, (size_t)ROWS, sizeof(int32_t));
	s->half = arena_zero(a, (size_t)n, sizeof(uint16_t));
	if (!s->x || !s->y || !s->z || !s->w || !s->angles || !s->from || !s->half)
		return false;
	for (int i = 0; i < 2 * WIDTH; i++)
		s->w[i] = 1;
	for (int64_t i = 0; i < (int64_t)ROWS * HEAD; i++)
		s->angles[i] = 0.5f;
	for (int64_t i = 0; i < (int64_t)ROWS; i++)
		s->from[i] = (int32_t)(i ^ 3);
	return true;
}

int main(int argc, char **argv)
{
	int passed = 0, failed = 0, threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
	arena a;
	arena_init(&a, NULL, 0);
	static streams s;
	if (argc > 2 || (argc > 1 && (threads < 1 || threads > 1024)) || !make(&s, &a)) {
		fprintf(stderr, "usage: streams [THREADS]\n");
		return 2;
	}
	s.k = kernels_get(cpu_detect());
	if (threads) {
		int code = show(&s, threads);
		arena_free(&a);
		return code;
	}
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		*(check(&s, i) ? &passed : &failed) += 1;
	arena_free(&a);
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
