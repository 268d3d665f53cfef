/*
 * resample_avx2.c - weighted sums of bytes for AVX2, by pairs of 16-bit products (vpmaddwd).
 *
 * across: four pixels of a row at a time, of four rows, so that a load of weights serves four:
 *
 *   16 bytes   r0 g0 b0 r1 g1 b1 r2 g2 b2 r3 g3 b3 ....
 *   shuffled   r0 r1 g0 g1 b0 b1 .. .. │ r2 r3 g2 g3 b2 b3 .. ..      with zeros between, so 16 bits, a half in each lane
 *   times      q0 q1 q0 q1 q0 q1 q0 q1 │ q2 q3 q2 q3 q2 q3 q2 q3      pairs added: r g b . │ r g b .  in 32 bits
 *
 * down: two rows at a time, 16 columns, interleaved: a0 b0 a1 b1 ... times q0 q1 q0 q1 ...
 *
 * Weights of more than 16 bits are two products: q = 2048 * high + low, and so are the sums, modulo 2^32, in which the
 * final sum fits. `narrow` and the number of rows are constants in each loop: the choice is outside.
 */
#include "kernels/entries.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
enum { SPLIT = 11, MANY = 4 };

KERNEL_DECLARE(_avx2)

/* 16 bytes of which `left` may be read; zeros beyond */
INLINE __m128i bytes_at(const uint8_t *p, int64_t left)
{
	if (left >= 16)
		return _mm_loadu_si128((const __m128i *)(const void *)p);
	uint8_t few[16] = {0};
	memcpy(few, p, (size_t)left);
	return _mm_loadu_si128((const __m128i *)(const void *)few);
}

/* Two weights in every 32 bits */
INLINE __m256i pair_at(const int16_t *q)
{
	int32_t both;
	memcpy(&both, q, sizeof both);
	return _mm256_set1_epi32(both);
}

/* Weights 0, 1 in every 32 bits of the low lane, 2, 3 in the high lane's */
INLINE __m256i pairs_at(const int16_t *q)
{
	const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
	return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(const void *)q)), spread);
}

INLINE __m256i joined(__m256i low, __m256i high, const bool narrow)
{
	return narrow ? low : _mm256_add_epi32(low, _mm256_slli_epi32(high, SPLIT));
}

/* Which bytes of four pixels go where, by channels; -1 and what is not said: zero. */
static __m256i order_of(int32_t channels)
{
	static const int8_t order[4][16] = {
		{0, 1, -1, -1, -1, -1, -1, -1, 2, 3, -1, -1, -1, -1, -1, -1},
		{0, 2, 1, 3, -1, -1, -1, -1, 4, 6, 5, 7, -1, -1, -1, -1},
		{0, 3, 1, 4, 2, 5, -1, -1, 6, 9, 7, 10, 8, 11, -1, -1},
		{0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15},
	};
	int8_t wide[32];
	for (int i = 0; i < 16; i++) {
		wide[2 * i] = order[channels - 1][i];
		wide[2 * i + 1] = -1;
	}
	return _mm256_loadu_si256((const __m256i *)(const void *)wide);
}

typedef struct {
	__m256i order;
	__m128i shift;
	int64_t step, row; /* bytes of four pixels, of a row that is read */
	int32_t channels;
} plan;

/* Position i of `rows` rows, four bytes of each: the channels, then bytes without meaning. inside: 16 bytes may be read at
 * every four pixels of it. */
INLINE __m128i across_one(const resample *x, const plan *p, int64_t i, const int rows, const bool narrow, const bool inside, const uint8_t *in,
                          int64_t ldi)
{
	__m256i low[MANY], high[MANY];
	__m128i sum[MANY];
	const int64_t at = (int64_t)x->lo[i] * p->channels;
	const int16_t *low_q = x->low + i * x->taps, *high_q = x->high + (narrow ? 0 : i * x->taps);
	UNROLL
	for (int r = 0; r < MANY; r++) {
		low[r] = _mm256_inserti128_si256(_mm256_setzero_si256(), _mm_set1_epi32(1 << (x->shift - 1)), 0);
		high[r] = _mm256_setzero_si256();
	}
	for (int64_t k = 0, count = x->count[i], from = at; k < count; k += 4, from += p->step) {
		const __m256i ql = pairs_at(low_q + k), qh = narrow ? ql : pairs_at(high_q + k);
		UNROLL
		for (int r = 0; r < rows; r++) {
			const uint8_t *four = in + r * ldi + from;
			__m256i pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes_at(four, inside ? 16 : p->row - from)), p->order);
			low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(pixels, ql));
			if (!narrow)
				high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(pixels, qh));
		}
	}
	UNROLL
	for (int r = 0; r < MANY; r++) {
		__m256i all = joined(low[r < rows ? r : 0], high[r < rows ? r : 0], narrow);
		sum[r] = _mm_sra_epi32(_mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)), p->shift);
	}
	return _mm_packus_epi16(_mm_packs_epi32(sum[0], sum[1]), _mm_packs_epi32(sum[2], sum[3])); /* both clip */
}

/* Four bytes of each row; what is too much is overwritten by the next position, so the last ones take less. */
INLINE void put(__m128i x, const int rows, size_t size, uint8_t *out, int64_t ldo)
{
	const int32_t v[MANY] = {_mm_cvtsi128_si32(x), _mm_extract_epi32(x, 1), _mm_extract_epi32(x, 2), _mm_extract_epi32(x, 3)};
	UNROLL
	for (int r = 0; r < rows; r++)
		memcpy(out + r * ldo, &v[r], size);
}

INLINE void across_rows(const resample *x, const int rows, const bool narrow, int32_t channels, const uint8_t *in, int64_t ldi, uint8_t *out,
                        int64_t ldo)
{
	const plan p = {order_of(channels), _mm_cvtsi32_si128(x->shift), 4 * (int64_t)channels, (int64_t)x->n_in * channels, channels};
	for (int64_t i = 0; i < x->n_out; i++, out += channels) {
		int64_t reads = (int64_t)x->lo[i] * channels + (x->count[i] + 3) / 4 * p.step + 16 - p.step;
		__m128i four = reads <= p.row ? across_one(x, &p, i, rows, narrow, true, in, ldi) : across_one(x, &p, i, rows, narrow, false, in, ldi);
		if ((x->n_out - i) * channels >= 4)
			put(four, rows, 4, out, ldo);
		else
			put(four, rows, (size_t)channels, out, ldo);
	}
}

INLINE void across_all(const resample *x, const bool narrow, int64_t rows, int32_t channels, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	int64_t r = 0;
	for (; r + MANY <= rows; r += MANY)
		across_rows(x, MANY, narrow, channels, in + r * ldi, ldi, out + r * ldo, ldo);
	for (; r < rows; r++)
		across_rows(x, 1, narrow, channels, in + r * ldi, ldi, out + r * ldo, ldo);
}

void kernel_resample_across_avx2(const resample *x, int64_t rows, int32_t channels, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	if (x->narrow)
		across_all(x, true, rows, channels, in, ldi, out, ldo);
	else
		across_all(x, false, rows, channels, in, ldi, out, ldo);
}

/* 16 columns from `in` on, of which `left` may be read */
INLINE __m128i down_one(const resample *x, int64_t i, const bool narrow, const uint8_t *in, int64_t ldi, int64_t left)
{
	const int16_t *low_q = x->low + i * x->taps, *high_q = x->high + (narrow ? 0 : i * x->taps);
	__m256i low[2], high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
	low[0] = low[1] = _mm256_set1_epi32(1 << (x->shift - 1));
	for (int32_t k = 0, count = x->count[i]; k < count; k += 2) {
		__m128i a = bytes_at(in + k * ldi, left), b = k + 1 < count ? bytes_at(in + (k + 1) * ldi, left) : a; /* there its weight is 0 */
		__m256i first = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), second = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
		__m256i q = pair_at(low_q + k);
		low[0] = _mm256_add_epi32(low[0], _mm256_madd_epi16(first, q));
		low[1] = _mm256_add_epi32(low[1], _mm256_madd_epi16(second, q));
		if (!narrow) {
			q = pair_at(high_q + k);
			high[0] = _mm256_add_epi32(high[0], _mm256_madd_epi16(first, q));
			high[1] = _mm256_add_epi32(high[1], _mm256_madd_epi16(second, q));
		}
	}
	const __m128i shift = _mm_cvtsi32_si128(x->shift);
	__m256i first = _mm256_sra_epi32(joined(low[0], high[0], narrow), shift), second = _mm256_sra_epi32(joined(low[1], high[1], narrow), shift);
	__m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xD8); /* the pack went by lanes */
	return _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
}

INLINE void down_all(const resample *x, const bool narrow, int64_t width, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	for (int64_t i = 0; i < x->n_out; i++, out += ldo) {
		const uint8_t *from = in + x->lo[i] * ldi;
		int64_t j = 0;
		for (; j + 16 <= width; j += 16)
			_mm_storeu_si128((__m128i *)(void *)(out + j), down_one(x, i, narrow, from + j, ldi, 16));
		if (j == width)
			continue;
		uint8_t last[16];
		_mm_storeu_si128((__m128i *)(void *)last, down_one(x, i, narrow, from + j, ldi, width - j));
		memcpy(out + j, last, (size_t)(width - j));
	}
}

void kernel_resample_down_avx2(const resample *x, int64_t width, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo)
{
	if (x->narrow)
		down_all(x, true, width, in, ldi, out, ldo);
	else
		down_all(x, false, width, in, ldi, out, ldo);
}
