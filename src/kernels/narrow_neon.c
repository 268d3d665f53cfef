/*
 * narrow_neon.c - products of bfloat16 and of 8-bit numbers, the epilogue of packed products, and the roundings for NEON; see
 * narrow.c. Only what every armv8-a has: no dot products.
 *
 *   BF16  both halves of a word widen by a shift or a mask; two multiply-adds of f32 a word
 *   INT8  signed bytes times signed bytes give 16 bits, of which pairs are added into 32 (smull, sadalp). The activations are
 *         value + 128: with the top bit turned they are the value, and 128 times the sum of a column's weights is added.
 *
 *             panel: 16 words, 4 vectors          a column's word w0 w1 w2 w3 times a word of A: pairs (w0 + w1), (w2 + w3)
 *   4 rows │ 4 x 4 x 2 halves of 2 columns │      are apart until the end
 */
#include "kernels/inner.h"
#include "kernels/lanes_neon.h"

enum { ROWS = 4, COLUMNS = 16 };

typedef struct {
	const char *a, *panel;
	char *c;
	int64_t row_step, words, ldc; /* row_step and ldc in bytes */
	bool add;
} tile_call;

static inline uint32_t word(const char *at)
{
	uint32_t w;
	memcpy(&w, at, 4);
	return w;
}

static inline float32x4_t upper(uint32x4_t x)
{
	return vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xFFFF0000u)));
}

static inline float32x4_t lower(uint32x4_t x)
{
	return vreinterpretq_f32_u32(vshlq_n_u32(x, 16));
}

INLINE void rows_bf16(const int rows, const tile_call *t)
{
	float32x4_t acc[ROWS][4];
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++)
			acc[i][v] = lanes_zero();
	const char *a = t->a, *panel = t->panel;
	for (int64_t p = t->words; p > 0; p--, a += 4, panel += 4 * COLUMNS)
		UNROLL for (int v = 0; v < 4; v++) {
			uint32x4_t y = vreinterpretq_u32_u8(vld1q_u8((const uint8_t *)panel + 16 * v));
			float32x4_t high = upper(y), low = lower(y);
			UNROLL for (int i = 0; i < rows; i++) {
				uint32_t x = word(a + i * t->row_step);
				acc[i][v] = vfmaq_n_f32(acc[i][v], high, approx_float(x & 0xFFFF0000u));
				acc[i][v] = vfmaq_n_f32(acc[i][v], low, approx_float(x << 16));
			}
		}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++) {
			float *c = (float *)(void *)(t->c + i * t->ldc) + 4 * v;
			vst1q_f32(c, t->add ? vaddq_f32(vld1q_f32(c), acc[i][v]) : acc[i][v]);
		}
}

/* Half a panel, 8 columns: 4 vectors of 2 columns' pairs */
INLINE void rows_int8(const int rows, const int half, const tile_call *t)
{
	int32x4_t acc[ROWS][4], sums[4];
	UNROLL for (int v = 0; v < 4; v++) {
		sums[v] = vdupq_n_s32(0);
		UNROLL for (int i = 0; i < rows; i++)
			acc[i][v] = vdupq_n_s32(0);
	}
	const char *a = t->a, *panel = t->panel + 32 * half;
	for (int64_t p = t->words; p > 0; p--, a += 4, panel += 4 * COLUMNS) {
		int8x8_t y[4];
		UNROLL for (int v = 0; v < 4; v++) {
			y[v] = vld1_s8((const int8_t *)panel + 8 * v);
			sums[v] = vpadalq_s16(sums[v], vmovl_s8(y[v]));
		}
		UNROLL for (int i = 0; i < rows; i++) {
			int8x8_t x = vreinterpret_s8_u32(vdup_n_u32(word(a + i * t->row_step) ^ 0x80808080u));
			UNROLL for (int v = 0; v < 4; v++)
				acc[i][v] = vpadalq_s16(acc[i][v], vmull_s8(x, y[v]));
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v += 2) {
			int32_t *c = (int32_t *)(void *)(t->c + i * t->ldc) + 8 * half + 2 * v;
			int32x4_t all = vpaddq_s32(vaddq_s32(acc[i][v], vshlq_n_s32(sums[v], 7)), vaddq_s32(acc[i][v + 1], vshlq_n_s32(sums[v + 1], 7)));
			vst1q_s32(c, t->add ? vaddq_s32(vld1q_s32(c), all) : all);
		}
}

INLINE void tile_rows(const precision as, const int rows, const tile_call *t)
{
	if (as == PRECISION_BF16) {
		rows_bf16(rows, t);
		return;
	}
	rows_int8(rows, 0, t);
	rows_int8(rows, 1, t);
}

INLINE void tile_all(const precision as, int64_t m, tile_call t)
{
	for (; m > 0; m -= ROWS, t.a += ROWS * t.row_step, t.c += ROWS * t.ldc) {
		if (m == 1)
			tile_rows(as, 1, &t);
		else if (m == 2)
			tile_rows(as, 2, &t);
		else if (m == 3)
			tile_rows(as, 3, &t);
		else
			tile_rows(as, ROWS, &t);
	}
}

void narrow_tile_bf16_neon(const packed_call *p)
{
	tile_all(PRECISION_BF16, p->m, (tile_call){p->a, p->panel, p->c, 4 * p->row_step, p->words, 4 * p->ldc, p->add});
}

void narrow_tile_int8_neon(const packed_call *p)
{
	tile_all(PRECISION_INT8, p->m, (tile_call){p->a, p->panel, p->c, 4 * p->row_step, p->words, 4 * p->ldc, p->add});
}

/* ------------------------------------------------------------------------------------------------ the epilogue */
static inline float32x4_t raw_at(const tile_end *e, int64_t i, int64_t j)
{
	int64_t left = e->n - j;
	float32x4_t v = vld1q_f32(e->tile + i * e->columns + j);
	if (e->scale) {
		int32_t offset[4] = {0};
		memcpy(offset, e->offset + j, (size_t)int_min(4, left) * sizeof *offset);
		float32x4_t scale = vmulq_f32(lanes_set(e->row_scale[i * e->row_step]), lanes_get(e->scale + j, left));
		v = vmulq_f32(vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_f32(v), vld1q_s32(offset))), scale);
	}
	return e->bias ? vaddq_f32(v, lanes_get(e->bias + j, left)) : v;
}

void narrow_finish_neon(const tile_end *e)
{
	for (int64_t i = 0; i < e->rows; i++) {
		float *row = e->tile + i * e->columns;
		for (int64_t j = 0; j < e->n; j += 4)
			vst1q_f32(row + j, raw_at(e, i, j));
		if (e->act != ACT_NONE)
			kernels_neon.act(e->act, e->n, row, row);
		for (int64_t j = 0; j < e->n; j += 4) {
			float32x4_t v = vld1q_f32(row + j);
			if (e->residual)
				v = vaddq_f32(v, lanes_get(e->residual + i * e->ldr + j, e->n - j));
			lanes_put(e->half ? row + j : e->c + i * e->ldc + j, e->n - j, v);
		}
		if (e->half)
			narrow_to_bf16_neon(e->n, row, e->half + i * e->ldh);
	}
}

/* ------------------------------------------------------------------------------------------------ roundings */
/* As whole numbers the bits of |x| are in order, NaN above infinity. */
float narrow_largest_neon(int64_t n, const float *x)
{
	uint32x4_t most = vdupq_n_u32(0);
	for (int64_t i = 0; i < n; i += 4)
		most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(lanes_get(x + i, n - i))));
	uint32_t bits = vmaxvq_u32(most);
	return approx_float(bits < 0x7F800000u ? bits : 0x7FC00000u);
}

void narrow_to_int8_neon(int64_t n, const float *x, float factor, uint8_t *y)
{
	for (int64_t i = 0; i < n; i += 4) {
		int32x4_t q = vaddq_s32(vcvtnq_s32_f32(vmulq_n_f32(lanes_get(x + i, n - i), factor)), vdupq_n_s32(128));
		uint16x4_t h = vqmovun_s32(q);
		uint8_t eight[8];
		vst1_u8(eight, vqmovn_u16(vcombine_u16(h, h)));
		memcpy(y + i, eight, (size_t)int_min(4, n - i));
	}
}

void narrow_to_bf16_neon(int64_t n, const float *x, uint16_t *y)
{
	for (int64_t i = 0; i < n; i += 4) {
		float32x4_t v = lanes_get(x + i, n - i);
		uint32x4_t u = vreinterpretq_u32_f32(v), number = vceqq_f32(v, v);
		uint32x4_t r = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7FFF)), vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1)));
		uint16_t four[4];
		vst1_u16(four, vshrn_n_u32(vbslq_u32(number, r, vorrq_u32(u, vdupq_n_u32(0x400000))), 16));
		memcpy(y + i, four, 2 * (size_t)int_min(4, n - i));
	}
}
