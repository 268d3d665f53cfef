/*
 * noise.h - random masking (He et al. 2022, "Masked autoencoders"): every patch draws a number, those with the least stay.
 *
 *     noise  .7 .1 .9 .4      order  1 3 0 2      half of them dropped:  1 3 stay, in this order
 *
 * Numbers depend on seed, sequence and place alone (SplitMix64, Steele et al. 2014), never on what else is drawn.
 */
#ifndef REBUS_NOISE_H
#define REBUS_NOISE_H

#include "base/base.h"

float tokens_noise(uint64_t seed, uint64_t sequence, uint64_t place); /* in [0, 1), multiples of 2^-24 */
/* Places by ascending noise, equal ones in their order. */
void tokens_by_noise(const float *noise, int32_t count, int32_t *order /* [count] */);

#endif
