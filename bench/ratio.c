/*
 * ratio.c - a test that no kernel has become slow, in ratios instead of seconds.
 *
 *   rate of an operation, one thread     ÷     rate of multiply-adds in registers (peaks.h), same thread
 *
 * for products of 197 rows (weights as they lie, and made ready in f32, bf16 and int8), one row (a step of decoding), attention of 197
 * tokens in f32 and bf16, and layer norm, at every level. All is small enough for the second-level cache. Both are timed by the processor
 * time that the thread used, in turns, and the best of each counts, so other programs on the machine matter little; tries go on until
 * the floor is reached or time is out. The floors leave a third of what was measured when they were written.
 */
#include "attention.h"
#include "lab/peaks.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ROWS = 197, WIDE = 256 };
static const double give_up = 4; /* seconds a ratio */

static double thread_time(void)
{
	struct timespec t;
	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) ? time_now() : (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
	const kernels *k;
	gemm_call product, ready[PRECISIONS], one;
	gemm_pack pack[PRECISIONS];
	attend_case attend;
	float *x, *y;
	void *scratch;
} cases;

static void run_gemm(const cases *c, const gemm_call *call)
{
	for (int64_t t = 0, n = c->k->gemm_tasks(call); t < n; t++)
		c->k->gemm_run(call, t, c->scratch);
}

static void run_product(const cases *c)
{
	run_gemm(c, &c->product);
}

static void run_f32(const cases *c)
{
	run_gemm(c, &c->ready[PRECISION_F32]);
}

static void run_bf16(const cases *c)
{
	run_gemm(c, &c->ready[PRECISION_BF16]);
}

static void run_int8(const cases *c)
{
	run_gemm(c, &c->ready[PRECISION_INT8]);
}

static void run_one(const cases *c)
{
	run_gemm(c, &c->one);
}

static void run_attend(const cases *c)
{
	for (int64_t t = 0, n = c->k->attend_tasks(&c->attend.call); t < n; t++)
		c->k->attend_run(&c->attend.call, t, c->scratch);
}

static void run_attend_bf16(const cases *c)
{
	cases other = *c;
	other.attend.call.products = DT_BF16;
	run_attend(&other);
}

static void run_norm(const cases *c)
{
	c->k->layer_norm(ROWS, WIDTH, c->x, WIDTH, c->x, c->x, 1e-5f, c->y, WIDTH);
}

#define PRODUCT (2.0 * ROWS * WIDE * WIDTH)
enum { LEVELS = 3 };
static const cpu_level levels[LEVELS] = {CPU_AVX2, CPU_AVX512, CPU_AVX512BF16};
static const struct {
	const char *name;
	void (*run)(const cases *c);
	double flops; /* 0: attention's own */
	double floor[LEVELS];
} all[] = {
	{"product", run_product, PRODUCT, {0.5, 0.5, 0.5}},
	{"ready f32", run_f32, PRODUCT, {0.5, 0.5, 0.5}},
	{"ready bf16", run_bf16, PRODUCT, {0.5, 0.5, 1.2}},
	{"ready int8", run_int8, PRODUCT, {0.75, 0.75, 2.2}},
	{"one row", run_one, 2.0 * WIDE * WIDTH, {0.08, 0.08, 0.07}},
	{"attention", run_attend, 0, {0.4, 0.4, 0.4}},
	{"attention bf16", run_attend_bf16, 0, {0.4, 0.4, 0.65}},
	{"layer norm", run_norm, 8.0 * ROWS * WIDTH, {0.12, 0.12, 0.1}},
};

static bool ratio(const cases *c, size_t i, size_t level)
{
	double flops = all[i].flops > 0 ? all[i].flops : attend_case_flops(&c->attend), floor = all[i].floor[level];
	double peak = 0, best = 0, begin = time_now();
	int tries = 0;
	all[i].run(c);
	do {
		double p = peaks_thread(c->k->level), start = thread_time();
		for (int j = 0; j < 3; j++)
			all[i].run(c);
		double took = (thread_time() - start) / 3, rate = flops / (took > 0 ? took : 1);
		peak = p > peak ? p : peak;
		best = rate > best ? rate : best;
		tries++;
	} while (tries < 3 || (best < floor * peak && time_now() - begin < give_up));
	bool good = best >= floor * peak;
	printf("%s %-10s %-14s %7.1f of %6.1f GFLOP/s: %.2f, at least %.2f (%d tries)\n", good ? "ok  " : "FAIL", cpu_name(c->k->level), all[i].name, best * 1e-9,
		peak * 1e-9, best / peak, floor, tries);
	return good;
}

static bool make_ready(cases *c, arena *a, precision as, const float *w)
{
	gemm_pack *p = &c->pack[as];
	int64_t words = narrow_words(as, WIDTH);
	*p = (gemm_pack){.as = as, .n = WIDE, .k = WIDTH, .data = arena_get(a, 1, c->k->pack_size(as, WIDE, WIDTH))};
	float *narrow = arena_get(a, (size_t)(ROWS * words), sizeof *narrow);
	if (!p->data || !narrow)
		return false;
	for (int64_t t = 0, n = c->k->pack_tasks(p); t < n; t++)
		c->k->pack_run(p, DT_F32, w, WIDTH, t);
	c->k->narrow(as, ROWS, WIDTH, c->x, WIDTH, narrow, words);
	c->ready[as] = c->product;
	c->ready[as].pack = p;
	c->ready[as].a = narrow;
	c->ready[as].lda = words;
	return true;
}

static bool make(cases *c, arena *a)
{
	float *w = filled(a, WIDE * WIDTH);
	c->x = filled(a, ROWS * WIDTH);
	c->y = filled(a, ROWS * WIDTH);
	if (!attend_case_make(&c->attend, a, ROWS) || !w || !c->x || !c->y)
		return false;
	c->product = (gemm_call){.form = GEMM_NT, .m = ROWS, .n = WIDE, .k = WIDTH, .a = c->x, .b = w, .b_type = DT_F32, .c = c->y, .lda = WIDTH, .ldb = WIDTH,
		.ldc = WIDTH};
	c->one = c->product;
	c->one.m = 1;
	size_t most = c->k->attend_scratch(&c->attend.spec), size = c->k->gemm_scratch(&c->product);
	most = size > most ? size : most;
	for (int as = 0; as < PRECISIONS; as++) {
		if (!make_ready(c, a, (precision)as, w))
			return false;
		size = c->k->gemm_scratch(&c->ready[as]);
		most = size > most ? size : most;
	}
	c->scratch = arena_get(a, 1, most);
	return c->scratch != NULL;
}

int main(void)
{
	int passed = 0, failed = 0;
	for (size_t l = 0; l < LEVELS; l++) {
		arena a;
		arena_init(&a, NULL, 0);
		static cases c;
		c = (cases){.k = kernels_get(levels[l])};
		if (c.k->level != levels[l])
			continue; /* this processor or build has it not */
		if (!make(&c, &a))
			return 2;
		for (size_t i = 0; i < COUNT_OF(all); i++)
			*(ratio(&c, i, l) ? &passed : &failed) += 1;
		arena_free(&a);
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
