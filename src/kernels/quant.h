/*
 * quant.h - weights in blocks, as GGUF files hold them: sizes, values, and making them.
 *
 *   Q4_0   32 values   d: f16 | 16 bytes: low halves are values 0-15, high halves 16-31            d (q - 8)
 *   Q4_1   32          d, m: f16 | 16 bytes, the same                                               d q + m
 *   Q5_0   32          d: f16 | u32: fifth bits, value i's is bit i | 16 bytes, the same            d (q - 16)
 *   Q5_1   32          d, m: f16 | u32 | 16 bytes                                                   d q + m
 *   Q8_0   32          d: f16 | 32 signed bytes                                                     q d
 *   Q4_K   256         d, dmin: f16 | 12 bytes: 8 pairs (s, t) of 6 bits | 128 bytes                (d s) q - (dmin t)
 *   Q5_K   256         d, dmin: f16 | 12 bytes | 32 bytes: fifth bits | 128 bytes                   (d s) q - (dmin t)
 *   Q6_K   256         128 bytes: low 4 bits | 64 bytes: high 2 bits | 16 signed bytes s | d: f16   (d s) (q - 32)
 *
 * s and t of the K formats belong to 32 values each, s of Q6_K to 16. How the bits of a K block lie is in quant.c.
 *
 * What is computed with them, beside their exact values (quant_widen): every format is d' q + m' over groups of 32 values, Q6_K's
 * over 16, with q unsigned (Q8_0: q + 128). So one product serves all:
 *
 *     sum over a group of w x  =  d' dx (sum of q xq, in whole numbers)  +  m' dx (sum of xq)       x = dx xq, xq of 8 bits
 *
 * Reference: the Python package gguf 0.19 (quants.py), with which values and made blocks agree to the bit.
 */
#ifndef REBUS_QUANT_H
#define REBUS_QUANT_H

#include "kernels/kernels.h"

/* name, as text, values and bytes of a block, what is taken from q (0: m is a number of the block's own) */
#define QUANT_LIST(X)                                                                                                      \
	X(Q4_0, "q4_0", 32, 18, 8) X(Q4_1, "q4_1", 32, 20, 0) X(Q5_0, "q5_0", 32, 22, 16) X(Q5_1, "q5_1", 32, 24, 0)           \
	X(Q8_0, "q8_0", 32, 34, 128) X(Q4_K, "q4_k", 256, 144, 0) X(Q5_K, "q5_k", 256, 176, 0) X(Q6_K, "q6_k", 256, 210, 32)

enum {
	QUANT_GROUP = 32, QUANT_BLOCK_MOST = 256,
#define X(name, text, values, bytes, centre) QUANT_VALUES_##name = values, QUANT_BYTES_##name = bytes, QUANT_CENTRE_##name = centre,
	QUANT_LIST(X)
#undef X
};

/* Constants where the type is one. */
static inline int quant_bytes(dtype type)
{
#define X(name, text, values, bytes, centre) type == DT_##name ? bytes :
	return QUANT_LIST(X) 0;
#undef X
}

static inline int quant_centre(dtype type)
{
#define X(name, text, values, bytes, centre) type == DT_##name ? centre :
	return QUANT_LIST(X) 0;
#undef X
}

/* The values of n/dtype_block blocks; a last block may be cut short. */
void quant_widen(dtype type, int64_t n, const void *x, float *y);
/* n values, a multiple of 32, as blocks of Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0; false for another type. */
bool quant_make(dtype type, int64_t n, const float *x, void *y);

/* A row of n values as what products compute with: q [n]; d, m [n / 32], for Q6_K [n / 16]. */
int quant_group(dtype type); /* 32, or 16 */
void quant_unpack(dtype type, int64_t n, const void *x, uint8_t *q);
void quant_scales(dtype type, int64_t n, const void *x, float *d, float *m);

#endif
