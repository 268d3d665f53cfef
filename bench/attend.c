/*
 * attend.c - the attention kernel alone, as a contender of peers.py: the protocol of worker.py.
 *
 *   attend TOKENS THREADS [bf16]     "ready {...}", then on every line "go" the seconds of some runs
 */
#include "attention.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	const kernels *k;
	const attend_call *call;
	_Atomic int64_t next;
	int64_t tasks;
	char *scratch;
	size_t scratch_each;
} shared;

static void work(void *arg, int index)
{
	shared *s = arg;
	for (int64_t t; (t = atomic_fetch_add(&s->next, 1)) < s->tasks;)
		s->k->attend_run(s->call, t, s->scratch + (size_t)index * s->scratch_each);
}

int main(int argc, char **argv)
{
	enum { RUNS_MOST = 50 };
	int32_t tokens = argc > 1 ? (int32_t)strtol(argv[1], NULL, 10) : 0;
	int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
	arena a;
	arena_init(&a, NULL, 0);
	team *t = NULL;
	attend_case c;
	if (tokens < 1 || tokens > 65536 || threads < 1 || !attend_case_make(&c, &a, tokens) || team_open(threads, NULL, &t, NULL)) {
		fprintf(stderr, "usage: attend TOKENS THREADS [bf16]\n");
		return 2;
	}
	c.call.products = argc > 3 && !strcmp(argv[3], "bf16") ? DT_BF16 : DT_F32;
	rebus_runner r = team_runner(t);
	shared s = {.k = kernels_get(cpu_detect()), .call = &c.call};
	s.tasks = s.k->attend_tasks(s.call);
	s.scratch_each = size_round(s.k->attend_scratch(&c.spec) + 64, 64);
	s.scratch = arena_get(&a, (size_t)threads, s.scratch_each);
	if (!s.scratch)
		return 2;
	char line[16] = "go\n";
	double once = 0;
	for (bool first = true; first || (fgets(line, sizeof line, stdin) && !strcmp(line, "go\n")); first = false) {
		int runs = first ? 2 : (int)int_max(1, int_min(RUNS_MOST, (int64_t)(0.6 / once)));
		if (!first)
			printf("{\"seconds\": [");
		for (int i = 0; i < runs; i++) {
			atomic_store(&s.next, 0);
			double start = time_now();
			r.run(r.user, work, &s);
			once = time_now() - start;
			if (!first)
				printf("%s%.6f", i ? ", " : "", once);
		}
		if (first)
			printf("ready {\"flops\": %.0f}\n", attend_case_flops(&c));
		else
			printf("]}\n");
		fflush(stdout);
	}
	team_close(t);
	arena_free(&a);
	return 0;
}
