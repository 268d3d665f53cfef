/*
 * attend_avx512bf16.c - the tiles of attention for AVX-512 with BF16: pairs of operands that the processor multiplies and adds.
 */
#include "kernels/attend_tile_avx512.h"

ATTEND_KIND(bf16, PAIRS)
const attend_lanes attend_bf16_avx512bf16 = ATTEND_LANES(bf16, 2);
