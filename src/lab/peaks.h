/*
 * peaks.h - what this machine can do at most, measured: the roof that a step's time is compared with.
 *
 *   arithmetic   multiply-adds that stay in registers, at a kernel level, all threads at once: of f32, or of a session's bf16
 *                or int8 where the level has instructions for them
 *   reading      a buffer larger than the last cache, streamed by all threads at once
 *   barrier      an empty step of a plan: one task taken, one meeting
 *   entry        waking the team for a run and waiting until it is done
 *
 * A step of f operations and b bytes takes at least max(f / arithmetic, b / reading) seconds (the roofline, Williams et al.
 * 2009). Rows that are still in a cache are read faster than memory, so a step that reading bounds may pass its roof.
 */
#ifndef REBUS_PEAKS_H
#define REBUS_PEAKS_H

#include "kernels/kernels.h"

typedef struct peaks {
	double flops, bytes;   /* a second */
	double barrier, entry; /* seconds */
	size_t streamed;       /* bytes of the buffer that was read */
} peaks;

/* Some 0.4 s, a few at most. The best of many short tries, so that other programs disturb little. */
rebus_status peaks_measure(const rebus_runner *runner, cpu_level level, precision as, const rebus_allocator *from, peaks *out, rebus_error *err);

/* Multiply-adds of one thread alone, operations a second of its processor time. */
double peaks_thread(cpu_level level);

typedef struct peak_products {
	float (*multiply)(int64_t rounds, float a, float b); /* 0 < a, b < 2 */
	double flops; /* a round */
} peak_products;

/* The loops of a level. Results are returned so that nothing can be left out. */
typedef struct peak_loops {
	peak_products f32;
	float (*read)(const float *x, size_t count); /* count: a multiple of 256 */
} peak_loops;
extern const peak_loops peak_portable, peak_avx2, peak_avx512, peak_neon;
extern const peak_products peak_bf16_avx512bf16, peak_int8_avx512bf16;

#endif
