/*
 * narrow_neondot.c - the tile of 8-bit products by the dot product instructions of armv8.2-a (sdot): four products of signed
 * bytes added to 32 bits. The activations' offset as in narrow_neon.c. Run only where the system says the processor has them.
 */
#include "kernels/inner.h"

#include <arm_neon.h>
#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
enum { ROWS = 4, COLUMNS = 16 };

static inline __attribute__((always_inline)) void rows_of(const int rows, int64_t words, const char *a, int64_t row_step, const int8_t *panel, int32_t *c,
                                                          int64_t ldc, bool add)
{
	int32x4_t acc[ROWS][4], sums[4];
	UNROLL for (int v = 0; v < 4; v++) {
		sums[v] = vdupq_n_s32(0);
		UNROLL for (int i = 0; i < rows; i++)
			acc[i][v] = vdupq_n_s32(0);
	}
	for (; words > 0; words--, a += 4, panel += 4 * COLUMNS) {
		int8x16_t y[4];
		UNROLL for (int v = 0; v < 4; v++) {
			y[v] = vld1q_s8(panel + 16 * v);
			sums[v] = vdotq_s32(sums[v], y[v], vdupq_n_s8(1));
		}
		UNROLL for (int i = 0; i < rows; i++) {
			uint32_t word;
			memcpy(&word, a + i * row_step, 4);
			int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(word ^ 0x80808080u));
			UNROLL for (int v = 0; v < 4; v++)
				acc[i][v] = vdotq_s32(acc[i][v], y[v], x);
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 4; v++) {
			int32_t *to = c + i * ldc + 4 * v;
			int32x4_t all = vaddq_s32(acc[i][v], vshlq_n_s32(sums[v], 7));
			vst1q_s32(to, add ? vaddq_s32(vld1q_s32(to), all) : all);
		}
}

void narrow_tile_int8_neondot(int64_t m, int64_t words, const void *a, int64_t row_step, const void *panel, void *c, int64_t ldc, bool add)
{
	const char *from = a;
	int32_t *to = c;
	for (; m > 0; m -= ROWS, from += 4 * ROWS * row_step, to += ROWS * ldc) {
		if (m == 1)
			rows_of(1, words, from, 4 * row_step, panel, to, ldc, add);
		else if (m == 2)
			rows_of(2, words, from, 4 * row_step, panel, to, ldc, add);
		else if (m == 3)
			rows_of(3, words, from, 4 * row_step, panel, to, ldc, add);
		else
			rows_of(ROWS, words, from, 4 * row_step, panel, to, ldc, add);
	}
}
