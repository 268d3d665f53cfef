/*
 * narrow_avx2.c - products of bfloat16 and of 8-bit numbers, the epilogue of packed products, and the roundings for AVX2; see
 * narrow.c.
 *
 *   BF16  both halves of a word widen by a shift or a mask; two multiply-adds of f32 a word. No faster than f32 where the
 *         arithmetic is the limit; half the weights to read where memory is.
 *   INT8  vpmaddubsw would saturate (255 * 127 * 2 > 32767), so bytes widen to 16 bits: even and odd ones apart,
 *         vpmaddwd adds two products each in 32 bits, which is exact.
 *
 *        b0    b1      4 rows x 16 columns: 8 accumulators, the halves of 2 vectors of the panel and of a word of A
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx2.h"

enum { ROWS = 4, COLUMNS = 16 };

typedef struct {
	const char *a, *panel;
	char *c;
	int64_t row_step, words, ldc; /* row_step and ldc in bytes */
	bool add;
} tile_call;

INLINE __m256i word(const char *at)
{
	int32_t w;
	__builtin_memcpy(&w, at, 4);
	return _mm256_set1_epi32(w);
}

/* The two parts of a word: BF16 the high and the low value as f32; INT8 the even and the odd bytes as 16 bits, signed or not. */
INLINE void split(const precision as, const bool is_signed, __m256i x, __m256i out[2])
{
	if (as == PRECISION_BF16) {
		out[0] = _mm256_and_si256(x, _mm256_set1_epi32((int)0xFFFF0000u));
		out[1] = _mm256_slli_epi32(x, 16);
	} else if (is_signed) {
		out[0] = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
		out[1] = _mm256_srai_epi16(x, 8);
	} else {
		out[0] = _mm256_and_si256(x, _mm256_set1_epi16(0xFF));
		out[1] = _mm256_srli_epi16(x, 8);
	}
}

INLINE __m256i step(const precision as, __m256i acc, const __m256i x[2], const __m256i b[2])
{
	if (as == PRECISION_INT8) {
		acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x[0], b[0]));
		return _mm256_add_epi32(acc, _mm256_madd_epi16(x[1], b[1]));
	}
	__m256 f = _mm256_fmadd_ps(_mm256_castsi256_ps(x[0]), _mm256_castsi256_ps(b[0]), _mm256_castsi256_ps(acc));
	return _mm256_castps_si256(_mm256_fmadd_ps(_mm256_castsi256_ps(x[1]), _mm256_castsi256_ps(b[1]), f));
}

INLINE void tile_rows(const precision as, const int rows, const tile_call *t)
{
	__m256i acc[ROWS][2];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i][0] = acc[i][1] = _mm256_setzero_si256();
	const char *a = t->a, *panel = t->panel;
	for (int64_t p = t->words; p > 0; p--, a += 4, panel += 4 * COLUMNS) {
		__m256i b0[2], b1[2];
		split(as, true, _mm256_loadu_si256((const __m256i *)(const void *)panel), b0);
		split(as, true, _mm256_loadu_si256((const __m256i *)(const void *)(panel + 32)), b1);
		UNROLL for (int i = 0; i < rows; i++) {
			__m256i x[2];
			split(as, false, word(a + i * t->row_step), x);
			acc[i][0] = step(as, acc[i][0], x, b0);
			acc[i][1] = step(as, acc[i][1], x, b1);
		}
	}
	UNROLL for (int i = 0; i < rows; i++)
		UNROLL for (int v = 0; v < 2; v++) {
			__m256i *c = (__m256i *)(void *)(t->c + i * t->ldc + 32 * v), s = acc[i][v];
			if (t->add && as == PRECISION_INT8)
				s = _mm256_add_epi32(_mm256_loadu_si256(c), s);
			else if (t->add)
				s = _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(_mm256_loadu_si256(c)), _mm256_castsi256_ps(s)));
			_mm256_storeu_si256(c, s);
		}
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

void narrow_tile_bf16_avx2(const packed_call *p)
{
	tile_all(PRECISION_BF16, p->m, (tile_call){p->a, p->panel, p->c, 4 * p->row_step, p->words, 4 * p->ldc, p->add});
}

void narrow_tile_int8_avx2(const packed_call *p)
{
	tile_all(PRECISION_INT8, p->m, (tile_call){p->a, p->panel, p->c, 4 * p->row_step, p->words, 4 * p->ldc, p->add});
}

/* ------------------------------------------------------------------------------------------------ the epilogue */
static inline __m256 raw_at(const tile_end *e, int64_t i, int64_t j)
{
	int64_t left = e->n - j;
	__m256 v = _mm256_loadu_ps(e->tile + i * e->columns + j);
	if (e->scale) {
		__m256i offset = _mm256_maskload_epi32(e->offset + j, lanes_mask(left));
		__m256 scale = _mm256_mul_ps(lanes_set(e->row_scale[i * e->row_step]), lanes_get(e->scale + j, left));
		v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_castps_si256(v), offset)), scale);
	}
	return e->bias ? _mm256_add_ps(v, lanes_get(e->bias + j, left)) : v;
}

void narrow_finish_avx2(const tile_end *e)
{
	for (int64_t i = 0; i < e->rows; i++)
		for (int64_t j = 0; j < e->n; j += 8)
			_mm256_storeu_ps(e->tile + i * e->columns + j, raw_at(e, i, j));
	if (e->act != ACT_NONE)
		kernels_avx2.act(e->act, e->rows * e->columns, e->tile, e->tile);
	for (int64_t i = 0; i < e->rows; i++)
		for (int64_t j = 0; j < e->n; j += 8) {
			__m256 v = _mm256_loadu_ps(e->tile + i * e->columns + j);
			if (e->residual)
				v = _mm256_add_ps(v, lanes_get(e->residual + i * e->ldr + j, e->n - j));
			if (e->half)
				_mm256_storeu_ps(e->tile + i * e->columns + j, v);
			else
				lanes_put(e->c + i * e->ldc + j, e->n - j, v);
		}
	for (int64_t i = 0; i < e->rows && e->half; i++)
		narrow_to_bf16_avx2(e->n, e->tile + i * e->columns, e->half + i * e->ldh);
}

void narrow_fetch_avx2(const tile_end *e)
{
	for (int64_t i = 0; i < e->rows && e->half; i++) {
		__builtin_prefetch(e->half + i * e->ldh, 1);
		__builtin_prefetch(e->half + i * e->ldh + e->n - 1, 1);
	}
	for (int64_t i = 0; i < e->rows && !e->half; i++) {
		__builtin_prefetch(e->c + i * e->ldc, 1);
		__builtin_prefetch(e->c + i * e->ldc + e->n - 1, 1);
		if (e->n > 16)
			__builtin_prefetch(e->c + i * e->ldc + 16, 1);
	}
	for (int64_t i = 0; e->residual && i < e->rows; i++) {
		__builtin_prefetch(e->residual + i * e->ldr);
		__builtin_prefetch(e->residual + i * e->ldr + e->n - 1);
		if (e->n > 16)
			__builtin_prefetch(e->residual + i * e->ldr + 16);
	}
}

/* ------------------------------------------------------------------------------------------------ roundings */
/* As whole numbers the bits of |x| are in order, NaN above infinity. */
float narrow_largest_avx2(int64_t n, const float *x)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
	__m256i most = _mm256_setzero_si256();
	for (int64_t i = 0; i < n; i += 8)
		most = _mm256_max_epu32(most, _mm256_and_si256(magnitude, _mm256_castps_si256(lanes_get(x + i, n - i))));
	uint32_t lane[8], bits = 0;
	_mm256_storeu_si256((__m256i *)(void *)lane, most);
	for (int i = 0; i < 8; i++)
		bits = lane[i] > bits ? lane[i] : bits;
	return approx_float(bits < 0x7F800000u ? bits : 0x7FC00000u);
}

void narrow_to_int8_avx2(int64_t n, const float *x, float factor, uint8_t *y)
{
	const __m256 f = lanes_set(factor);
	for (int64_t i = 0; i < n; i += 8) {
		__m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(lanes_get(x + i, n - i), f));
		__m128i h = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
		uint8_t eight[16];
		_mm_storeu_si128((__m128i *)(void *)eight, _mm_xor_si128(_mm_packs_epi16(h, h), _mm_set1_epi8((char)128)));
		__builtin_memcpy(y + i, eight, (size_t)int_min(8, n - i));
	}
}

void narrow_to_bf16_avx2(int64_t n, const float *x, uint16_t *y)
{
	const __m256i half = _mm256_set1_epi32(0x7FFF), one = _mm256_set1_epi32(1), quiet = _mm256_set1_epi32(0x400000);
	for (int64_t i = 0; i < n; i += 8) {
		__m256 v = lanes_get(x + i, n - i);
		__m256i u = _mm256_castps_si256(v), nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
		__m256i r = _mm256_add_epi32(_mm256_add_epi32(u, half), _mm256_and_si256(_mm256_srli_epi32(u, 16), one));
		r = _mm256_srli_epi32(_mm256_blendv_epi8(r, _mm256_or_si256(u, quiet), nan), 16);
		uint16_t eight[8];
		_mm_storeu_si128((__m128i *)(void *)eight, _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)));
		__builtin_memcpy(y + i, eight, 2 * (size_t)int_min(8, n - i));
	}
}
