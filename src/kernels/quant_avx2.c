/*
 * quant_avx2.c - products of few rows with weights in blocks for AVX2, also the AVX-512 level without VNNI.
 *
 * A group of 32 values is one vector of bytes q; vpmaddubsw multiplies them by signed activations and adds pairs in 16 bits, which
 * q below 64 cannot fill. Q8_0's bytes could, so there |w| is multiplied by x with the sign of w, and m does not count. vpmaddwd adds
 * pairs again; the eight sums, exact, are scaled by d dx and added over the groups ascending, lane by lane.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx2.h"

enum { ROWS_MOST = 7 };

INLINE __m256i load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE __m256i halves(const uint8_t *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}

/* 16 where bit i of the four bytes is set, for value i */
INLINE __m256i fifths(const uint8_t *p)
{
	int32_t w;
	__builtin_memcpy(&w, p, 4);
	const __m256i byte = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
	const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
	__m256i v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(w), byte), bit);
	return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8(16));
}

/* Group s of a block of 256. */
INLINE __m256i large_at(const dtype type, const uint8_t *b, int s)
{
	const __m256i four = _mm256_set1_epi8(15);
	if (type == DT_Q6_K) {
		const int half = s / 4, i = s % 4;
		__m256i low = _mm256_and_si256(_mm256_srli_epi16(load32(b + 64 * half + 32 * (i % 2)), i / 2 * 4), four);
		__m256i high = _mm256_and_si256(_mm256_srli_epi16(load32(b + 128 + 32 * half), 2 * i), _mm256_set1_epi8(3));
		return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
	}
	__m256i q = _mm256_and_si256(_mm256_srli_epi16(load32(b + (type == DT_Q4_K ? 16 : 48) + s / 2 * 32), s % 2 * 4), four);
	if (type == DT_Q4_K)
		return q;
	__m256i high = _mm256_and_si256(_mm256_srli_epi16(load32(b + 16), s), _mm256_set1_epi8(1));
	return _mm256_or_si256(q, _mm256_slli_epi16(high, 4));
}

INLINE __m256i group_at(const dtype type, const uint8_t *row, int64_t g)
{
	const int64_t s = quant_bytes(type);
	if (type == DT_Q8_0)
		return load32(row + g * s + 2);
	if (type == DT_Q4_0 || type == DT_Q4_1)
		return halves(row + g * s + (type == DT_Q4_0 ? 2 : 4));
	if (type == DT_Q5_0 || type == DT_Q5_1)
		return _mm256_or_si256(halves(row + g * s + (type == DT_Q5_0 ? 6 : 8)), fifths(row + g * s + (type == DT_Q5_0 ? 2 : 4)));
	return large_at(type, row + g / 8 * s, (int)(g % 8));
}

INLINE __m256 dots(const dtype type, __m256i q, __m256i x)
{
	__m256i two = type == DT_Q8_0 ? _mm256_maddubs_epi16(_mm256_sign_epi8(q, q), _mm256_sign_epi8(x, q)) : _mm256_maddubs_epi16(q, x);
	return _mm256_cvtepi32_ps(_mm256_madd_epi16(two, _mm256_set1_epi16(1)));
}

INLINE float across(__m256 x)
{
	__m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

INLINE void few_type(const dtype type, const quant_few *f)
{
	const int group = type == DT_Q6_K ? 16 : 32;
	const int64_t groups = f->k / 32, parts = f->k / group, bytes = (int64_t)dtype_bytes(type, f->k);
	float *d = f->scratch, *m = d + parts;
	for (int64_t j = 0; j < f->n; j++) {
		const uint8_t *row = (const uint8_t *)f->b + j * bytes;
		__m256 acc[ROWS_MOST];
		for (int64_t i = 0; i < f->m; i++)
			acc[i] = _mm256_setzero_ps();
		quant_scales(type, f->k, row, d, m);
		for (int64_t g = 0; g < groups; g++) {
			__m256i q = group_at(type, row, g);
			__m256 s = group == 16 ? _mm256_set_m128(_mm_set1_ps(d[2 * g + 1]), _mm_set1_ps(d[2 * g])) : _mm256_set1_ps(d[g]);
			for (int64_t i = 0; i < f->m; i++) {
				quant_row x = quant_row_of(f->a + i * f->lda, f->k);
				__m256i v = _mm256_xor_si256(load32(x.byte + g * 32), _mm256_set1_epi8((char)128));
				acc[i] = _mm256_fmadd_ps(dots(type, q, v), _mm256_mul_ps(s, _mm256_set1_ps(x.scale[g])), acc[i]);
			}
		}
		for (int64_t i = 0; i < f->m; i++) {
			quant_row x = quant_row_of(f->a + i * f->lda, f->k);
			const float *sum = group == 16 ? x.half : x.sum;
			__m256 least = _mm256_setzero_ps();
			for (int64_t g = 0; type != DT_Q8_0 && g < parts; g += 8)
				least = _mm256_fmadd_ps(lanes_get(m + g, parts - g), lanes_get(sum + g, parts - g), least);
			f->c[i * f->ldc + j] = across(_mm256_add_ps(acc[i], least));
		}
	}
}

#define FEW_TYPE(type)          \
	case type:                  \
		few_type(type, f);      \
		break;

static void few(const quant_few *f)
{
	switch (f->type) {
		FEW_TYPE(DT_Q4_0)
		FEW_TYPE(DT_Q4_1)
		FEW_TYPE(DT_Q5_0)
		FEW_TYPE(DT_Q5_1)
		FEW_TYPE(DT_Q8_0)
		FEW_TYPE(DT_Q4_K)
		FEW_TYPE(DT_Q5_K)
		FEW_TYPE(DT_Q6_K)
	default:
		break;
	}
}

const quant_lanes quant_avx2 = {.few = few};
