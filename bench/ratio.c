/*
 * ratio.c - a test that no kernel has become slow, in ratios instead of seconds.
 *
 *   rate of the matrix product 197 x 768 x 768, one thread     ÷     rate of multiply-adds in registers (peaks.h), same thread
 *
 * and the same for attention of 197 tokens. Both are timed by the processor time that the thread used, in turns, and the best
 * of each counts, so other programs on the machine matter little; tries go on until the floor is reached or time is out. The
 * floors leave a third of what was measured when they were written.
 */
#include "attention.h"
#include "lab/peaks.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROWS = 197 };
static const double give_up = 5; /* seconds a ratio */

static double thread_time(void)
{
	struct timespec t;
	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) ? time_now() : (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
	const kernels *k;
	gemm_call gemm;
	attend_case attend;
	void *scratch;
} cases;

static void run_gemm(const cases *c)
{
	for (int64_t t = 0, n = c->k->gemm_tasks(&c->gemm); t < n; t++)
		c->k->gemm_run(&c->gemm, t, c->scratch);
}

static void run_attend(const cases *c)
{
	for (int64_t t = 0, n = c->k->attend_tasks(&c->attend.call); t < n; t++)
		c->k->attend_run(&c->attend.call, t, c->scratch);
}

static bool ratio(const cases *c, const char *name, void (*run)(const cases *), double flops, double floor)
{
	double peak = 0, best = 0, begin = time_now();
	int tries = 0;
	run(c);
	do {
		double p = peaks_thread(c->k->level), start = thread_time();
		for (int i = 0; i < 3; i++)
			run(c);
		double took = (thread_time() - start) / 3, rate = flops / (took > 0 ? took : 1);
		peak = p > peak ? p : peak;
		best = rate > best ? rate : best;
		tries++;
	} while (tries < 3 || (best < floor * peak && time_now() - begin < give_up));
	bool good = best >= floor * peak;
	printf("%s %-8s %-10s %7.1f of %6.1f GFLOP/s: %.2f, at least %.2f (%d tries)\n", good ? "ok  " : "FAIL", cpu_name(c->k->level), name, best * 1e-9,
		peak * 1e-9, best / peak, floor, tries);
	return good;
}

int main(void)
{
	static const struct {
		cpu_level level;
		double gemm, attend;
	} floors[] = {{CPU_AVX2, 0.5, 0.3}, {CPU_AVX512, 0.5, 0.3}};
	int passed = 0, failed = 0;
	for (size_t i = 0; i < COUNT_OF(floors); i++) {
		arena a;
		arena_init(&a, NULL, 0);
		cases c = {.k = kernels_get(floors[i].level)};
		if (c.k->level != floors[i].level)
			continue; /* this processor or build has it not */
		float *x = filled(&a, ROWS * WIDTH), *w = filled(&a, WIDTH * WIDTH), *y = filled(&a, ROWS * WIDTH);
		c.gemm = (gemm_call){.form = GEMM_NT, .m = ROWS, .n = WIDTH, .k = WIDTH, .a = x, .b = w, .b_type = DT_F32, .c = y, .lda = WIDTH, .ldb = WIDTH,
			.ldc = WIDTH};
		bool made = attend_case_make(&c.attend, &a, ROWS) && x && w && y;
		size_t gemm = c.k->gemm_scratch(&c.gemm), attend = c.k->attend_scratch(&c.attend.spec);
		c.scratch = arena_get(&a, 1, gemm > attend ? gemm : attend);
		if (!made || !c.scratch)
			return 2;
		bool good[] = {ratio(&c, "product", run_gemm, 2.0 * ROWS * WIDTH * WIDTH, floors[i].gemm),
			ratio(&c, "attention", run_attend, attend_case_flops(&c.attend), floors[i].attend)};
		for (size_t k = 0; k < COUNT_OF(good); k++)
			*(good[k] ? &passed : &failed) += 1;
		arena_free(&a);
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
