/* crew.h - tasks shared out among a team, outside of any plan; and random numbers that depend on nothing but their place. */
#ifndef REBUS_CREW_H
#define REBUS_CREW_H

#include "base/base.h"

/* work(arg, task, member) once for every task in 0 ... tasks - 1, in any order; member: which thread, from 0. */
typedef void (*crew_work)(void *arg, int64_t task, int member);
void crew_run(const rebus_runner *team, int64_t tasks, crew_work work, void *arg);

/* Counter-based: the same (seed, what, at, number) gives the same bits anywhere, in any order. */
typedef enum { RANDOM_ORDER, RANDOM_AUGMENT, RANDOM_WEIGHTS, RANDOM_TOKENS, RANDOM_DROPOUT } random_what;
uint64_t random_bits(uint64_t seed, random_what what, uint64_t at, uint64_t number);
double random_unit(uint64_t seed, random_what what, uint64_t at, uint64_t number);   /* [0, 1) */
double random_normal(uint64_t seed, random_what what, uint64_t at, uint64_t number); /* mean 0, deviation 1 */

#endif
