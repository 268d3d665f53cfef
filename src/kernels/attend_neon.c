/*
 * attend_neon.c - attention for NEON: the tiles of attend_inner.h for f32 and for f32 rounded to bf16; and, for one row alone, a
 * step of the online softmax along a row of 64 scores. Gradients are the portable ones.
 */
#include "kernels/attend_inner.h"
#include "kernels/lanes_neon.h"

#include <math.h>

enum { TILE_ROWS = 6, COLUMNS = 16, VECTORS = COLUMNS / 4 };

/* Which of columns j ... j + 3 lie in [lo, hi) */
static inline uint32x4_t seen(int32_t j, int32_t lo, int32_t hi)
{
	static const int32_t iota[4] = {0, 1, 2, 3};
	int32x4_t at = vaddq_s32(vdupq_n_s32(j), vld1q_s32(iota));
	return vandq_u32(vcgeq_s32(at, vdupq_n_s32(lo)), vcltq_s32(at, vdupq_n_s32(hi)));
}

void attend_softmax_neon(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l,
                         float *alpha)
{
	for (int64_t r = 0; r < rows; r++, s += TILE) {
		float32x4_t top = lanes_set(-INFINITY), sum = lanes_zero();
		alpha[r] = 1;
		if (lo[r] >= hi[r]) {
			memset(s, 0, TILE * sizeof *s);
			continue;
		}
		for (int j = 0; j < TILE; j += 4) {
			float32x4_t x = vmulq_n_f32(vld1q_f32(s + j), scale);
			x = bias ? vaddq_f32(x, vld1q_f32(bias + r * TILE + j)) : x;
			x = lanes_pick(seen(j, lo[r], hi[r]), x, lanes_set(-INFINITY));
			top = vmaxnmq_f32(x, top); /* skips NaN */
			vst1q_f32(s + j, x);
		}
		float most = vmaxnmvq_f32(top);
		most = most > m[r] ? most : m[r];
		float32x4_t shift = lanes_set(most == -INFINITY ? 0 : most);
		for (int j = 0; j < TILE; j += 4) {
			float32x4_t e = lanes_exp(vsubq_f32(vld1q_f32(s + j), shift));
			vst1q_f32(s + j, e);
			sum = vaddq_f32(sum, e);
		}
		if (most != m[r]) /* exp(0) is 1: the same bits, sooner */
			alpha[r] = vgetq_lane_f32(lanes_exp(vsubq_f32(lanes_set(m[r]), shift)), 0);
		l[r] = l[r] * alpha[r] + lanes_sum(sum);
		m[r] = most;
	}
}

/* ------------------------------------------------------------------------------------------------ tiles of columns */
typedef struct {
	const float *a;
	int64_t row_step, k_step, k;
	const float *b, *alpha;
	float *c;
} tile_call;

/* rows is a constant: 24 accumulators, four vectors of the panel, a broadcast value: 29 of the 32 registers */
INLINE void tile_rows(const int rows, const tile_call *t)
{
	float32x4_t acc[TILE_ROWS][VECTORS];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < VECTORS; v++)
			acc[i][v] = lanes_zero();
	const float *a = t->a, *b = t->b;
	for (int64_t p = t->k; p > 0; p--, a += t->k_step, b += COLUMNS) {
		float32x4_t y[VECTORS];
		UNROLL for (int v = 0; v < VECTORS; v++)
			y[v] = vld1q_f32(b + 4 * v);
		UNROLL for (int i = 0; i < rows; i++) {
			float32x4_t x = vld1q_dup_f32(a + i * t->row_step);
			UNROLL for (int v = 0; v < VECTORS; v++)
				acc[i][v] = vfmaq_f32(acc[i][v], x, y[v]);
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < VECTORS; v++) {
			float *c = t->c + i * COLUMNS + 4 * v;
			if (t->alpha)
				acc[i][v] = vfmaq_f32(acc[i][v], vld1q_f32(c), vld1q_f32(t->alpha + 4 * v));
			vst1q_f32(c, acc[i][v]);
		}
}

/* Rows are shared out evenly, so that no register tile is left with too few chains. */
static void tile(int64_t m, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, const float *alpha, float *c,
	int64_t used)
{
	(void)used;
	for (int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS, i = 0; tiles > 0; tiles--) {
		int64_t rows = (m - i + tiles - 1) / tiles;
		tile_call t = {a + i * row_step, row_step, k_step, k, b, alpha, c + i * COLUMNS};
		switch (rows) {
		case 1:
			tile_rows(1, &t);
			break;
		case 2:
			tile_rows(2, &t);
			break;
		case 3:
			tile_rows(3, &t);
			break;
		case 4:
			tile_rows(4, &t);
			break;
		case 5:
			tile_rows(5, &t);
			break;
		default:
			tile_rows(TILE_ROWS, &t);
		}
		i += rows;
	}
}

/* To bf16 and back, to nearest even; NaN stays one */
INLINE float32x4_t round_operand(const bool bf16, float32x4_t x)
{
	if (!bf16)
		return x;
	const uint32x4_t high = vdupq_n_u32(0xFFFF0000u);
	uint32x4_t u = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
	uint32x4_t r = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
	r = vbslq_u32(vceqq_f32(x, x), r, vorrq_u32(u, vdupq_n_u32(0x00400000)));
	return vreinterpretq_f32_u32(vandq_u32(r, high));
}

INLINE void pack_queries(const bool bf16, int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)
{
	for (int64_t i0 = 0; i0 < COLUMNS; i0 += 4)
		for (int64_t p = 0; p < d; p += 4) {
			float32x4_t r[4];
			for (int i = 0; i < 4; i++) {
				r[i] = i0 + i < rows ? vmulq_n_f32(lanes_get(q + (i0 + i) * ldq + p, d - p), scale) : lanes_zero();
				r[i] = round_operand(bf16, r[i]);
			}
			lanes_transpose(r);
			UNROLL for (int i = 0; i < 4; i++)
				if (p + i < d)
					vst1q_f32(to + (p + i) * COLUMNS + i0, r[i]);
		}
}

INLINE void pack_rows(const bool bf16, int64_t n, int64_t d, const float *x, int64_t ldx, float *to)
{
	for (int64_t j = 0; j < n; j++, x += ldx, to += d)
		for (int64_t p = 0; p < d; p += 4)
			lanes_put(to + p, d - p, round_operand(bf16, lanes_get(x + p, d - p)));
}

/* Adds the bias, blanks what is not seen, and finds the columns' maxima; NaN does not count as one. */
INLINE void see(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float32x4_t top[VECTORS])
{
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		UNROLL for (int v = 0; v < VECTORS; v++) {
			float32x4_t x = vld1q_f32(s + 4 * v);
			if (bias)
				x = vfmaq_n_f32(x, vld1q_f32(bias + j * COLUMNS + 4 * v), ATTEND_LOG2E);
			if (lo) {
				const int32x4_t at = vdupq_n_s32((int32_t)j);
				uint32x4_t here = vandq_u32(vcgeq_s32(at, vld1q_s32(lo + 4 * v)), vcltq_s32(at, vld1q_s32(hi + 4 * v)));
				x = lanes_pick(here, x, lanes_set(-INFINITY));
			}
			top[v] = vmaxnmq_f32(x, top[v]);
			if (bias || lo)
				vst1q_f32(s + 4 * v, x);
		}
}

INLINE void softmax_columns(const bool bf16, int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l,
	float *alpha)
{
	float32x4_t top[VECTORS], shift[VECTORS], sum[VECTORS];
	UNROLL for (int v = 0; v < VECTORS; v++)
		top[v] = vld1q_f32(m + 4 * v);
	see(n, s, bias, lo, hi, top);
	UNROLL for (int v = 0; v < VECTORS; v++) {
		shift[v] = lanes_pick(vceqq_f32(top[v], lanes_set(-INFINITY)), lanes_zero(), top[v]);
		vst1q_f32(alpha + 4 * v, lanes_exp2(vsubq_f32(vld1q_f32(m + 4 * v), shift[v])));
		vst1q_f32(m + 4 * v, top[v]);
		sum[v] = lanes_zero();
	}
	for (int64_t j = 0; j < n; j++, s += COLUMNS)
		UNROLL for (int v = 0; v < VECTORS; v++) {
			float32x4_t e = lanes_exp2(vsubq_f32(vld1q_f32(s + 4 * v), shift[v]));
			sum[v] = vaddq_f32(sum[v], e);
			vst1q_f32(s + 4 * v, round_operand(bf16, e));
		}
	UNROLL for (int v = 0; v < VECTORS; v++)
		vst1q_f32(l + 4 * v, vfmaq_f32(sum[v], vld1q_f32(l + 4 * v), vld1q_f32(alpha + 4 * v)));
}

static void finish(int64_t rows, int64_t d, const float *out, const float *l, float *to, int64_t ldo)
{
	for (int64_t i0 = 0; i0 < rows; i0 += 4) {
		const float32x4_t sum = lanes_get(l + i0, rows - i0), factor = vdivq_f32(lanes_set(1), sum);
		const uint32x4_t none = vceqq_f32(sum, lanes_zero());
		for (int64_t p = 0; p < d; p += 4) {
			float32x4_t r[4];
			for (int i = 0; i < 4; i++)
				r[i] = p + i < d ? lanes_pick(none, lanes_zero(), vmulq_f32(vld1q_f32(out + (p + i) * COLUMNS + i0), factor)) : lanes_zero();
			lanes_transpose(r);
			UNROLL for (int i = 0; i < 4; i++)
				if (i0 + i < rows)
					lanes_put(to + (i0 + i) * ldo + p, d - p, r[i]);
		}
	}
}

#define KIND(name, bf16)                                                                                                             \
	static void name##_queries(int64_t rows, int64_t d, const float *q, int64_t ldq, float scale, float *to)                         \
	{                                                                                                                                \
		pack_queries(bf16, rows, d, q, ldq, scale, to);                                                                              \
	}                                                                                                                                \
	static void name##_rows(int64_t n, int64_t d, const float *x, int64_t ldx, float *to)                                            \
	{                                                                                                                                \
		pack_rows(bf16, n, d, x, ldx, to);                                                                                           \
	}                                                                                                                                \
	static void name##_softmax(int64_t n, float *s, const float *bias, const int32_t *lo, const int32_t *hi, float *m, float *l,     \
		float *alpha, int64_t used)                                                                                                  \
	{                                                                                                                                \
		(void)used;                                                                                                                  \
		softmax_columns(bf16, n, s, bias, lo, hi, m, l, alpha);                                                                      \
	}                                                                                                                                \
	const attend_lanes attend_##name##_neon = {.columns = COLUMNS, .step = COLUMNS, .pack = 1, .queries = name##_queries,            \
		.keys = name##_rows, .values = name##_rows, .tile = tile, .softmax = name##_softmax, .finish = finish};

KIND(f32, false)
KIND(bf16, true)
