/* crew.c - see crew.h. */
#include "train/crew.h"

#include <math.h>
#include <stdatomic.h>

typedef struct crew {
	crew_work work;
	void *arg;
	int64_t tasks;
	_Atomic int64_t next;
} crew;

static void take(void *arg, int member)
{
	crew *c = arg;
	for (int64_t i; (i = atomic_fetch_add(&c->next, 1)) < c->tasks;)
		c->work(c->arg, i, member);
}

void crew_run(const rebus_runner *team, int64_t tasks, crew_work work, void *arg)
{
	crew c = {.work = work, .arg = arg, .tasks = tasks};
	atomic_init(&c.next, 0);
	team->run(team->user, take, &c);
}

uint64_t random_bits(uint64_t seed, random_what what, uint64_t at, uint64_t number)
{
	return bits_mix(bits_mix(bits_mix(bits_mix(seed) ^ (uint64_t)what) ^ at) ^ number);
}

double random_unit(uint64_t seed, random_what what, uint64_t at, uint64_t number)
{
	return (double)(random_bits(seed, what, at, number) >> 11) * 0x1p-53;
}

/* Box and Muller 1958. */
double random_normal(uint64_t seed, random_what what, uint64_t at, uint64_t number)
{
	double u = random_unit(seed, what, at, 2 * number), v = random_unit(seed, what, at, 2 * number + 1);
	return sqrt(-2 * log(1 - u)) * cos(2 * acos(-1.0) * v);
}
