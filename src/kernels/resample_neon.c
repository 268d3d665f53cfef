/*
 * resample_neon.c - weighted sums of bytes for NEON, in 32-bit products, so that weights of any size are one.
 *
 *   across   a pixel's channels are four lanes (those beyond 4 bytes of its row are read singly), one source after the other
 *   down     16 columns, one row after the other
 */
#include "kernels/entries.h"
#include "kernels/lanes_neon.h"

KERNEL_DECLARE(_neon)

/* 0 to 255 by two saturations */
static inline uint8x8_t clipped(int32x4_t low, int32x4_t high, int32x4_t shift)
{
	int16x8_t both = vcombine_s16(vqmovn_s32(vshlq_s32(low, shift)), vqmovn_s32(vshlq_s32(high, shift)));
	return vqmovun_s16(both);
}

static inline int32x4_t pixel_at(const uint8_t *p, int64_t left)
{
	uint32_t bytes = 0;
	memcpy(&bytes, p, left >= 4 ? 4 : (size_t)left);
	return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes))))));
}

void kernel_resample_across_neon(const resample *x, int64_t rows, int32_t channels, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	const int32x4_t shift = vdupq_n_s32(-x->shift);
	const int64_t row = (int64_t)x->n_in * channels;
	for (int64_t r = 0; r < rows; r++, in += ldi, out += ldo)
		for (int64_t i = 0; i < x->n_out; i++) {
			const int32_t *q = x->q + i * x->taps;
			int32x4_t sum = vdupq_n_s32(1 << (x->shift - 1));
			int64_t at = (int64_t)x->lo[i] * channels;
			for (int32_t k = 0; k < x->count[i]; k++, at += channels)
				sum = vmlaq_n_s32(sum, row - at >= 4 ? pixel_at(in + at, 4) : pixel_at(in + at, row - at), q[k]);
			uint8_t four[8];
			vst1_u8(four, clipped(sum, sum, shift));
			memcpy(out + i * channels, four, (size_t)channels);
		}
}

/* 16 columns from `in` on */
static inline void down_wide(const int32_t *q, int32_t count, int32_t scale, const uint8_t *in, int64_t ldi, uint8_t *out)
{
	const int32x4_t shift = vdupq_n_s32(-scale);
	int32x4_t sum[4];
	UNROLL for (int v = 0; v < 4; v++)
		sum[v] = vdupq_n_s32(1 << (scale - 1));
	for (int32_t k = 0; k < count; k++, in += ldi) {
		uint8x16_t bytes = vld1q_u8(in);
		uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
		sum[0] = vmlaq_n_s32(sum[0], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), q[k]);
		sum[1] = vmlaq_n_s32(sum[1], vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))), q[k]);
		sum[2] = vmlaq_n_s32(sum[2], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), q[k]);
		sum[3] = vmlaq_n_s32(sum[3], vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high))), q[k]);
	}
	vst1_u8(out, clipped(sum[0], sum[1], shift));
	vst1_u8(out + 8, clipped(sum[2], sum[3], shift));
}

void kernel_resample_down_neon(const resample *x, int64_t width, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	const int64_t whole = width / 16 * 16;
	for (int64_t i = 0; i < x->n_out; i++)
		for (int64_t j = 0; j < whole; j += 16)
			down_wide(x->q + i * x->taps, x->count[i], x->shift, in + x->lo[i] * ldi + j, ldi, out + i * ldo + j);
	kernel_resample_down(x, width - whole, in + whole, ldi, out + whole, ldo);
}
