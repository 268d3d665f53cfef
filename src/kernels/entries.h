/*
 * entries.h - declarations of the table's plain entries, by level. KERNEL_DECLARE() gives the portable names
 * (kernel_layer_norm), KERNEL_DECLARE(_avx2) those of a level (kernel_layer_norm_avx2); definitions spell them out.
 */
#ifndef REBUS_ENTRIES_H
#define REBUS_ENTRIES_H

#include "kernels/kernels.h"

#define KERNEL_DECLARE(level)                                                                                                   \
	void kernel_layer_norm##level(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, const float *b,     \
	                              float eps, float *y, int64_t ldy);                                                            \
	void kernel_rms_norm##level(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, float eps, float *y,  \
	                            int64_t ldy);                                                                                   \
	void kernel_norm_stats##level(int64_t rows, int64_t width, const float *x, int64_t ldx, float eps, bool rms, float *stats); \
	void kernel_norm_dx##level(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *stats, const float *w,    \
	                           bool rms, const float *dy, int64_t lddy, float *dx, int64_t lddx);                               \
	void kernel_norm_dw##level(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, const float *stats,           \
	                           const float *dy, int64_t lddy, float *dw);                                                       \
	void kernel_act##level(act_kind kind, int64_t n, const float *x, float *y);                                                 \
	void kernel_act_back##level(act_kind kind, int64_t n, const float *x, const float *dy, float *dx);                          \
	void kernel_gate##level(act_kind kind, int64_t n, const float *a, const float *b, float *y);                                \
	void kernel_gate_back##level(act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da,          \
	                             float *db);                                                                                    \
	void kernel_add##level(int64_t n, const float *a, const float *b, float *y);                                                \
	void kernel_axpy##level(int64_t n, float s, const float *x, float *y);                                                      \
	void kernel_scale##level(int64_t n, float s, const float *x, float *y);                                                     \
	void kernel_widen##level(dtype type, int64_t n, const void *x, float *y);                                                   \
	float kernel_dot##level(int64_t n, const float *a, const float *b);                                                         \
	void kernel_column_sum##level(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, float *s);                 \
	void kernel_rotate##level(int64_t rows, int32_t heads, int32_t head_dim, int32_t half, int pairing, float sign,             \
	                          const float *x, int64_t ldx, const float *cos_sin, int64_t ldc, float *y, int64_t ldy);           \
	void kernel_softmax##level(int64_t rows, int64_t width, const float *x, int64_t ldx, float *y, int64_t ldy);                \
	void kernel_softmax_back##level(int64_t rows, int64_t width, const float *y, int64_t ldy, const float *dy, int64_t lddy,    \
	                                float *dx, int64_t lddx);                                                                   \
	float kernel_log_sum_exp##level(int64_t width, const float *x);                                                             \
	void kernel_resample_across##level(const resample *x, int64_t rows, int32_t channels, const uint8_t *in, int64_t ldi,       \
	                                   uint8_t *out, int64_t ldo);                                                              \
	void kernel_resample_down##level(const resample *x, int64_t width, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo);

KERNEL_DECLARE()

#endif
