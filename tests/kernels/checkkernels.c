/*
 * checkkernels.c - the kernel checker: every entry of the table, at every level the processor has, against double
 * precision; and with --bench the speed of the same entries.
 *
 *   checkkernels [--cpu LEVEL] [--seed N] [--entry NAME] [--after BYTES] [--bench] [--threads N] [--list]
 *
 * --after puts so many bytes of poison between an array and the page without access. It is 0, and reading one float too
 * many is a fault, except for emulators (QEMU 7) that load a whole vector where the processor loads under a mask: 64.
 *
 * A failing case is one line; the last line is `N passed, N failed`; exit code 1 if any failed, 2 if misused.
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define POISON 0x7FC5A5A5u
enum { SLOTS = 128, LEAD = 256 };

const kernels *check_table;

static struct {
	uint64_t state;
	const char *entry;
	long passed, failed;
	int threads;
	size_t after;
	struct {
		char *base; /* a region; the last page has no access */
		size_t room, size;
	} slot[SLOTS];
	int used;
} here;

/* ------------------------------------------------------------------------------------------------ random values */
void check_seed(uint64_t seed)
{
	here.state = seed;
}

uint64_t check_random(void)
{
	uint64_t z = here.state += 0x9E3779B97F4A7C15u; /* splitmix64 */
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

int64_t check_between(int64_t low, int64_t high)
{
	return low + (int64_t)(check_random() % (uint64_t)(high - low + 1));
}

float check_value(void)
{
	uint64_t z = check_random();
	float sum = 0;
	for (int i = 0; i < 4; i++)
		sum += (float)(z >> 16 * i & 0xFFFF) / 65536.0f;
	return sum - 2.0f + 1e-4f;
}

/* ------------------------------------------------------------------------------------------------ guarded memory */
static void fill(void *p, size_t size)
{
	unsigned char *to = p;
	for (size_t i = 0; i < size; i++) /* aligned to the end: whole floats of poison count back from there */
		to[size - 1 - i] = (unsigned char)(POISON >> 8 * (3 - i % 4));
}

static bool filled(const void *p, size_t size)
{
	const unsigned char *from = p;
	bool ok = true;
	for (size_t i = 0; i < size; i++)
		ok &= from[size - 1 - i] == (unsigned char)(POISON >> 8 * (3 - i % 4));
	return ok;
}

void check_begin(void)
{
	here.used = 0;
}

void *check_bytes(size_t size, size_t align)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (here.used == SLOTS) {
		fprintf(stderr, "too many arrays in a case\n");
		exit(2);
	}
	int i = here.used++;
	size = (size + align - 1) / align * align;
	size_t room = (size + LEAD + here.after + page - 1) / page * page;
	if (here.slot[i].room < room) {
		if (here.slot[i].base)
			munmap(here.slot[i].base, here.slot[i].room + page);
		char *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (base == MAP_FAILED || mprotect(base + room, page, PROT_NONE)) {
			fprintf(stderr, "no memory for a case\n");
			exit(2);
		}
		here.slot[i].base = base;
		here.slot[i].room = room;
	}
	here.slot[i].size = size;
	char *data = here.slot[i].base + here.slot[i].room - here.after - size;
	fill(data, size);
	fill(data - LEAD, LEAD);
	fill(data + size, here.after);
	return data;
}

bool check_end(void)
{
	bool ok = true;
	for (int i = 0; i < here.used; i++) {
		const char *end = here.slot[i].base + here.slot[i].room - here.after;
		ok &= filled(end - here.slot[i].size - LEAD, LEAD) && filled(end, here.after);
	}
	here.used = 0;
	return ok;
}

float *check_floats(int64_t n)
{
	float *p = check_bytes((size_t)n * sizeof *p, sizeof *p);
	for (int64_t i = 0; i < n; i++)
		p[i] = check_value();
	return p;
}

matrix check_output(int64_t rows, int64_t width, int64_t ld)
{
	int64_t n = rows ? (rows - 1) * ld + width : 0;
	return (matrix){rows, width, ld, check_bytes((size_t)n * sizeof(float), sizeof(float))};
}

matrix check_matrix(int64_t rows, int64_t width, int64_t ld)
{
	matrix m = check_output(rows, width, ld);
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < width; c++)
			m.at[r * ld + c] = check_value();
	return m;
}

bool check_poison(float x)
{
	uint32_t u;
	memcpy(&u, &x, sizeof u);
	return u == POISON;
}

bool check_bounds(matrix m)
{
	bool ok = true;
	for (int64_t r = 0; r + 1 < m.rows; r++)
		for (int64_t c = m.width; c < m.ld; c++)
			ok &= check_poison(m.at[r * m.ld + c]);
	return ok;
}

matrix check_part(matrix m, int64_t row, int64_t rows)
{
	return (matrix){rows, m.width, m.ld, m.at + row * m.ld};
}

bool check_same(matrix a, matrix b)
{
	for (int64_t r = 0; r < a.rows && a.width; r++)
		if (memcmp(a.at + r * a.ld, b.at + r * b.ld, (size_t)a.width * sizeof *a.at))
			return false;
	return true;
}

/* ------------------------------------------------------------------------------------------------ reports */
void check_case(bool ok, const char *format, ...)
{
	if (ok) {
		here.passed++;
		return;
	}
	here.failed++;
	va_list args;
	va_start(args, format);
	printf("FAIL %s %s: ", here.entry, cpu_name(check_table->level));
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

void check_near(verdict *v, int64_t row, int64_t column, double got, double want, double bound)
{
	double ratio = got == want || (isnan(got) && isnan(want)) ? 0 : fabs(got - want) / bound;
	if (!(ratio <= 1) && !(ratio <= v->worst))
		*v = (verdict){isnan(ratio) ? INFINITY : ratio, row, column, got, want};
	else if (ratio > v->worst)
		*v = (verdict){ratio, row, column, got, want};
}

/* ------------------------------------------------------------------------------------------------ timing */
typedef struct {
	const bench_work *work;
	char *scratch;
	size_t scratch_step;
	int threads, repeats;
} bench_state;

static void bench_part(void *arg, int thread)
{
	bench_state *s = arg;
	for (int r = 0; r < s->repeats; r++)
		for (int64_t t = thread; t < s->work->tasks; t += s->threads)
			s->work->task(s->work->arg, t, s->scratch + (size_t)thread * s->scratch_step);
}

/* One thread is timed by the processor time it used, so that other programs do not count; several by the clock. */
static double bench_now(void)
{
	struct timespec t;
	if (here.threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
		return time_now();
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_run(const bench_work *work, double amount, const char *unit, const char *format, ...)
{
	arena a;
	arena_init(&a, NULL, 0);
	team *t = NULL;
	bench_state s = {.work = work, .threads = here.threads, .repeats = 1, .scratch_step = size_round(work->scratch + 64, 64)};
	s.scratch = arena_get(&a, (size_t)here.threads, s.scratch_step);
	if (!s.scratch || team_open(here.threads, NULL, &t, NULL) != REBUS_OK)
		exit(2);
	rebus_runner runner = team_runner(t);
	double best = 1e30, spent = 0;
	for (int i = 0; i < 50 && spent < 0.25; i++) {
		double start = bench_now();
		runner.run(runner.user, bench_part, &s);
		double once = (bench_now() - start) / s.repeats;
		spent += once * s.repeats;
		best = once < best ? once : best;
		if (i == 0 && once < 0.005)
			s.repeats = (int)(0.005 / (once + 1e-9)) + 1;
	}
	char name[128];
	va_list args;
	va_start(args, format);
	vsnprintf(name, sizeof name, format, args);
	va_end(args);
	printf("%-9s %-12s %-52s %9.3f us %8.2f %s\n", cpu_name(check_table->level), here.entry, name, best * 1e6,
	       amount / best * 1e-9, unit);
	fflush(stdout);
	team_close(t);
	arena_free(&a);
}

/* ------------------------------------------------------------------------------------------------ products */
void check_product(const kernels *k, const gemm_call *call, const gemm_call *larger, bool reverse)
{
	size_t size = k->gemm_scratch(call);
	void *scratch = check_bytes(size, 64);
	int64_t tasks = k->gemm_tasks(call);
	check_case(k->gemm_scratch(larger) >= size, "scratch of m=%d n=%d k=%d is not enough for m=%d n=%d k=%d", (int)larger->m, (int)larger->n,
		(int)larger->k, (int)call->m, (int)call->n, (int)call->k);
	for (int64_t t = 0; t < tasks; t++)
		k->gemm_run(call, reverse ? tasks - 1 - t : t, scratch);
}

static void product_task(void *arg, int64_t task, void *scratch)
{
	bench_product *p = arg;
	p->k->gemm_run(&p->call, task, scratch);
}

bench_work bench_product_work(bench_product *p)
{
	return (bench_work){product_task, p, p->k->gemm_tasks(&p->call), p->k->gemm_scratch(&p->call)};
}

/* ------------------------------------------------------------------------------------------------ the program */
static const check_entry *const groups[] = {check_products, check_packed, check_blocks, check_attention, check_vectors, check_resampling};

static void run_all(const char *only, bool bench)
{
	for (size_t g = 0; g < COUNT_OF(groups); g++)
		for (const check_entry *e = groups[g]; e->name; e++) {
			if (only && strcmp(only, e->name))
				continue;
			here.entry = e->name;
			if (bench && e->bench)
				e->bench(check_table);
			else if (!bench)
				e->check(check_table);
		}
}

#if defined(__SANITIZE_ADDRESS__) /* it tells more itself */
static void catch_faults(void)
{
}
#else
/* An access past an array's end: the page behind it has no access. */
static void fault(int signal_number)
{
	static const char text[] = ": touches memory past the end of an array\n";
	const char *const parts[] = {"FAIL ", here.entry, " ", cpu_name(check_table->level), text};
	(void)signal_number;
	fflush(stdout);
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		if (write(STDOUT_FILENO, parts[i], strlen(parts[i])) < 0)
			break;
	_exit(1);
}

static void catch_faults(void)
{
	signal(SIGSEGV, fault);
	signal(SIGBUS, fault);
}
#endif

static int usage(void)
{
	fprintf(stderr,
	        "usage: checkkernels [--cpu LEVEL] [--seed N] [--entry NAME] [--after BYTES] [--bench] [--threads N] [--list]\n");
	return 2;
}

int main(int argc, char **argv)
{
	bool bench = false, one = false;
	const char *only = NULL;
	uint64_t seed = 20240917;
	cpu_level level = CPU_PORTABLE;
	here.threads = 1;
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (!strcmp(argv[i], "--bench")) {
			bench = true;
		} else if (!strcmp(argv[i], "--list")) {
			for (size_t g = 0; g < COUNT_OF(groups); g++)
				for (const check_entry *e = groups[g]; e->name; e++)
					printf("%s\n", e->name);
			return 0;
		} else if (!value) {
			return usage();
		} else if (!strcmp(argv[i], "--cpu")) {
			one = true;
			if (!cpu_parse(argv[++i], &level))
				return usage();
			if (kernels_get(level)->level != level) {
				fprintf(stderr, "this processor or build has no %s\n", cpu_name(level));
				return 2;
			}
		} else if (!strcmp(argv[i], "--seed")) {
			seed = strtoull(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--entry")) {
			only = argv[++i];
		} else if (!strcmp(argv[i], "--after")) {
			here.after = strtoul(argv[++i], NULL, 10) / 64 * 64; /* whole lines: alignments stay */
			if (here.after > 4096)
				return usage();
		} else if (!strcmp(argv[i], "--threads")) {
			here.threads = (int)strtol(argv[++i], NULL, 10);
			if (here.threads < 1 || here.threads > 1024)
				return usage();
		} else {
			return usage();
		}
	}
	catch_faults();
	printf("seed %llu\n", (unsigned long long)seed);
	for (int l = 0; l < CPU_LEVELS; l++) {
		check_table = kernels_get((cpu_level)l);
		if ((one && l != (int)level) || check_table->level != (cpu_level)l)
			continue;
		check_seed(seed);
		run_all(only, bench);
	}
	if (!bench)
		printf("%ld passed, %ld failed\n", here.passed, here.failed);
	return here.failed ? 1 : 0;
}
