/*
 * scan_avx2.c - dots of a stored row with a query and with itself (index_scan.h), in 256-bit lanes with fused multiply-adds.
 *
 * Two accumulators each hide the latency; what is left behind a multiple of 16 goes through a buffer of zeros, so the tail has
 * the same lanes.
 */
#include <immintrin.h>
#include <string.h>

#include "lab/index_scan.h"

typedef struct sums {
	__m256 xy[2], yy[2];
} sums;

static inline void add(sums *s, int at, __m256 x, __m256 y)
{
	s->xy[at] = _mm256_fmadd_ps(x, y, s->xy[at]);
	s->yy[at] = _mm256_fmadd_ps(x, x, s->yy[at]);
}

static inline float add_lanes(__m256 a, __m256 b)
{
	__m256 c = _mm256_add_ps(a, b);
	__m128 d = _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
	d = _mm_add_ps(d, _mm_movehl_ps(d, d));
	d = _mm_add_ss(d, _mm_movehdup_ps(d));
	return _mm_cvtss_f32(d);
}

static inline __m256 load_f32(const uint8_t *p)
{
	return _mm256_loadu_ps((const float *)(const void *)p);
}

static inline __m256 load_f16(const uint8_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256 load_i8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

#define DOTS(name, load, size)                                                                                             \
	void name(const void *row, const float *query, size_t n, float *xy, float *yy)                                     \
	{                                                                                                                  \
		sums s = {{_mm256_setzero_ps(), _mm256_setzero_ps()}, {_mm256_setzero_ps(), _mm256_setzero_ps()}};         \
		const uint8_t *p = row;                                                                                    \
		size_t i = 0;                                                                                              \
		for (; i + 16 <= n; i += 16) {                                                                             \
			add(&s, 0, load(p + i * (size)), _mm256_loadu_ps(query + i));                                      \
			add(&s, 1, load(p + (i + 8) * (size)), _mm256_loadu_ps(query + i + 8));                            \
		}                                                                                                          \
		if (i < n) {                                                                                               \
			uint8_t x[16 * (size)] = {0};                                                                      \
			float y[16] = {0};                                                                                 \
			memcpy(x, p + i * (size), (n - i) * (size));                                                       \
			memcpy(y, query + i, (n - i) * sizeof *y);                                                         \
			add(&s, 0, load(x), _mm256_loadu_ps(y));                                                           \
			add(&s, 1, load(x + 8 * (size)), _mm256_loadu_ps(y + 8));                                          \
		}                                                                                                          \
		*xy = add_lanes(s.xy[0], s.xy[1]);                                                                         \
		*yy = add_lanes(s.yy[0], s.yy[1]);                                                                         \
	}

DOTS(index_dots_f32_avx2, load_f32, 4)
DOTS(index_dots_f16_avx2, load_f16, 2)
DOTS(index_dots_i8_avx2, load_i8, 1)
