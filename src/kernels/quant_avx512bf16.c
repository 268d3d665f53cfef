/*
 * quant_avx512bf16.c - products with weights in blocks by vpdpbusd (VNNI): few rows, and the tile of 12 x 16.
 *
 *   64 values of a row, two groups, as one vector of bytes (pair_at), whatever the format:
 *
 *       halves   [16 bytes of block 0 twice | 16 bytes of block 1 twice] >> (0, 4, 0, 4) & 15, fifth bits by a mask
 *       K        [32 bytes twice] >> (0, 4) & 15
 *
 * Few rows: an output is vectors of 16 sums over the pairs ascending, lanes 0-7 the first groups', 8-15 the second ones', added at
 * the end; d of both groups is spread over them. What m adds is a vector of its own.
 *
 * Tile: weights q - centre where that is all of m (Q4_0, Q5_0, Q8_0, Q6_K), signed; else q, and m times the row's sum is added. Activations
 * are xq + 128, so a group's sum starts at -128 sum q, which the panel holds. A panel, group by group:
 *
 *   [group / 4 words][16 columns] | d [16] | m [16] | -128 sum q [16]          and the same for columns 16-31 behind all groups
 *
 * A group costs 8 words x 12 vpdpbusd and 3 operations (4 with m) for each of 12 vectors of sums. Twelve rows by one vector of columns
 * read a panel half as often as six by two would, and a panel of 576 values a column stays in the first-level cache.
 */
#include "kernels/inner.h"
#include "kernels/lanes_avx512.h"

enum { AT_ONCE = 4, FEW = 7, ROWS = 12, WIDE = 16 };

INLINE __m128i load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

INLINE __m256i load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE uint32_t word(const uint8_t *p)
{
	uint32_t x;
	__builtin_memcpy(&x, p, 4);
	return x;
}

/* Two blocks of 32, the second at b1 (b0 again where there is none). */
INLINE __m512i pair_small(const dtype type, const uint8_t *b0, const uint8_t *b1)
{
	if (type == DT_Q8_0)
		return _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(load32(b0 + 2)), load32(b1 + 2), 1), _mm512_set1_epi8((char)128));
	const int at = type == DT_Q4_0 ? 2 : type == DT_Q4_1 ? 4 : type == DT_Q5_0 ? 6 : 8, bits = type == DT_Q5_0 ? 2 : 4;
	const __m512i shift = _mm512_set_epi64(0x400000004, 0x400000004, 0, 0, 0x400000004, 0x400000004, 0, 0);
	__m512i v = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(b0 + at)), 0xFF00, load16(b1 + at));
	v = _mm512_and_si512(_mm512_srlv_epi32(v, shift), _mm512_set1_epi8(15));
	if (type == DT_Q5_0 || type == DT_Q5_1)
		v = _mm512_mask_add_epi8(v, (__mmask64)word(b1 + bits) << 32 | word(b0 + bits), v, _mm512_set1_epi8(16));
	return v;
}

/* Pair p, 0 to 3, of a block of 256. */
INLINE __m512i pair_large(const dtype type, const uint8_t *b, int p)
{
	if (type == DT_Q6_K) {
		const int half = p / 2, late = p % 2;
		__m512i low = _mm512_loadu_si512(b + 64 * half), high = _mm512_broadcast_i64x4(load32(b + 128 + 32 * half));
		low = _mm512_and_si512(_mm512_srli_epi32(low, (unsigned)(4 * late)), _mm512_set1_epi8(15));
		__m512i by = _mm512_inserti64x4(_mm512_set1_epi32(4 * late), _mm256_set1_epi32(4 * late + 2), 1);
		high = _mm512_and_si512(_mm512_srlv_epi32(high, by), _mm512_set1_epi8(3));
		return _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
	}
	const uint8_t *q = b + (type == DT_Q4_K ? 16 : 48) + 32 * p;
	__m512i v = _mm512_broadcast_i64x4(load32(q));
	v = _mm512_and_si512(_mm512_srlv_epi32(v, _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(4), 1)), _mm512_set1_epi8(15));
	if (type == DT_Q5_K) {
		__m512i bit = _mm512_inserti64x4(_mm512_set1_epi8((char)(1 << 2 * p)), _mm256_set1_epi8((char)(2 << 2 * p)), 1);
		v = _mm512_mask_add_epi8(v, _mm512_test_epi8_mask(_mm512_broadcast_i64x4(load32(b + 16)), bit), v, _mm512_set1_epi8(16));
	}
	return v;
}

INLINE bool is_large(const dtype type)
{
	return type >= DT_Q4_K;
}

/* Values [64 p, 64 p + 64) of a row; alone: only the first half is there. */
INLINE __m512i pair_at(const dtype type, const uint8_t *row, int64_t p, bool alone)
{
	const int64_t s = quant_bytes(type);
	if (is_large(type))
		return pair_large(type, row + p / 4 * s, (int)(p % 4));
	return pair_small(type, row + 2 * p * s, row + (2 * p + !alone) * s);
}

/* d, m of a row's groups, one after the other. */
INLINE void scales(const dtype type, int64_t groups, const uint8_t *row, float *d, float *m)
{
	if (is_large(type)) {
		quant_scales(type, groups * quant_group(type), row, d, m);
		return;
	}
	const int64_t s = quant_bytes(type);
	const float centre = (float)-quant_centre(type);
	for (int64_t g = 0; g < groups; g += 16) {
		uint32_t bits[16] = {0};
		int64_t n = groups - g < 16 ? groups - g : 16;
		for (int64_t i = 0; i < n; i++)
			bits[i] = word(row + (g + i) * s);
		__m512i v = _mm512_loadu_si512(bits);
		__m512 x = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
		_mm512_storeu_ps(d + g, x);
		_mm512_storeu_ps(m + g, quant_centre(type) ? _mm512_mul_ps(x, wide_set(centre)) : _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16))));
	}
}

/* ------------------------------------------------------------------------------------------------ few rows */
typedef struct {
	const quant_few *f;
	int64_t pairs, groups, padded; /* groups as the format has them; a multiple of 16 */
	int8_t *x;        /* [m][pairs * 64] */
	float *wide;      /* [m][pairs][16]: dx of each lane's group */
	float *least;     /* [m][pairs][4]: what a small block's d and m are multiplied by; a large one's, [m][padded]: the groups' sums */
	float *d, *m;     /* [padded] of a row of large blocks */
} few_work;

INLINE bool plus_m(const dtype type)
{
	return !is_large(type) && !quant_centre(type);
}

INLINE void few_begin(const dtype type, const few_work *w)
{
	const quant_few *f = w->f;
	const float centre = (float)-quant_centre(type);
	for (int64_t i = 0; i < f->m; i++) {
		quant_row r = quant_row_of(f->a + i * f->lda, f->k);
		const float *sum = quant_group(type) == 16 ? r.half : r.sum;
		for (int64_t p = 0; p < w->pairs; p++) {
			const bool both = p * 64 + 64 <= f->k;
			__mmask64 there = both ? ~(__mmask64)0 : 0xFFFFFFFF;
			__m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(there, r.byte + p * 64), _mm512_set1_epi8((char)128));
			_mm512_storeu_si512(w->x + (i * w->pairs + p) * 64, _mm512_maskz_mov_epi8(there, v));
			__m512 s = _mm512_mask_mov_ps(_mm512_set1_ps(r.scale[2 * p]), 0xFF00, _mm512_set1_ps(both ? r.scale[2 * p + 1] : 0));
			_mm512_storeu_ps(w->wide + (i * w->pairs + p) * 16, s);
			if (is_large(type))
				continue;
			float s0 = r.sum[2 * p], s1 = both ? r.sum[2 * p + 1] : 0;
			__m128 four = plus_m(type) ? _mm_set_ps(s1, 0, s0, 0) : _mm_set_ps(0, 0, centre * s1, centre * s0);
			_mm_storeu_ps(w->least + (i * w->pairs + p) * 4, four);
		}
		for (int64_t g = 0; is_large(type) && g < w->padded; g += 16)
			_mm512_storeu_ps(w->least + i * w->padded + g, _mm512_maskz_loadu_ps(wide_mask(w->groups - g), sum + g));
	}
	for (int64_t g = 0; g < 2 * w->padded; g += 16)
		_mm512_storeu_ps(w->d + g, _mm512_setzero_ps()); /* what is past a row's groups stays 0 */
}

/* d and m of two small blocks as d0 m0 d1 m1, or d0 d1 0 0; and d over the lanes of its group's sums */
INLINE __m128 pair_scales(const dtype type, const uint8_t *b0, const uint8_t *b1)
{
	if (plus_m(type))
		return _mm_cvtph_ps(_mm_insert_epi32(_mm_cvtsi32_si128((int)word(b0)), (int)word(b1), 1));
	return _mm_cvtph_ps(_mm_insert_epi16(_mm_cvtsi32_si128((int)(word(b0) & 0xFFFF)), (int)(word(b1) & 0xFFFF), 1));
}

INLINE __m512 spread_small(const dtype type, __m128 x)
{
	const int second = plus_m(type) ? 2 : 1;
	const __m512i at = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(second), 1);
	return _mm512_permutexvar_ps(at, _mm512_castps128_ps512(x));
}

INLINE __m512 spread_large(const dtype type, const float *d, int64_t p)
{
	if (type == DT_Q6_K)
		return _mm512_permutexvar_ps(_mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0), _mm512_broadcast_f32x4(_mm_loadu_ps(d + 4 * p)));
	return _mm512_mask_broadcastss_ps(_mm512_set1_ps(d[2 * p]), 0xFF00, _mm_load_ss(d + 2 * p + 1));
}

/* One row of B by all rows of A: vectors whose lanes are still to be added. */
INLINE void few_row(const dtype type, const int rows, const few_work *w, const uint8_t *b, __m512 out[FEW])
{
	__m512 acc[FEW], late[FEW];
	__m128 least[FEW];
	UNROLL for (int i = 0; i < rows; i++) {
		acc[i] = late[i] = _mm512_setzero_ps();
		least[i] = _mm_setzero_ps();
	}
	const int64_t pairs = w->pairs, whole = w->f->k / 64, s = quant_bytes(type);
	if (is_large(type))
		scales(type, w->groups, b, w->d, w->m);
	for (int64_t p = 0; p < pairs; p++) {
		__m512i q = pair_at(type, b, p, p >= whole);
		__m128 x = is_large(type) ? _mm_setzero_ps() : pair_scales(type, b + 2 * p * s, b + (2 * p + (p < whole)) * s);
		__m512 d = is_large(type) ? spread_large(type, w->d, p) : spread_small(type, x);
		UNROLL for (int i = 0; i < rows; i++) {
			__m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, _mm512_loadu_si512(w->x + (i * pairs + p) * 64));
			acc[i] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_loadu_ps(w->wide + (i * pairs + p) * 16)), _mm512_cvtepi32_ps(dot), acc[i]);
			if (!is_large(type))
				least[i] = _mm_fmadd_ps(x, _mm_loadu_ps(w->least + (i * pairs + p) * 4), least[i]);
		}
	}
	for (int64_t g = 0; is_large(type) && g < w->padded; g += 16) {
		__m512 y = _mm512_loadu_ps(w->m + g);
		UNROLL for (int i = 0; i < rows; i++)
			late[i] = _mm512_fmadd_ps(y, _mm512_loadu_ps(w->least + i * w->padded + g), late[i]);
	}
	UNROLL for (int i = 0; i < rows; i++)
		out[i] = _mm512_add_ps(acc[i], is_large(type) ? late[i] : _mm512_zextps128_ps512(least[i]));
}

INLINE void few_rows(const dtype type, const int rows, const few_work *w)
{
	const quant_few *f = w->f;
	const int64_t bytes = (int64_t)dtype_bytes(type, f->k);
	few_begin(type, w);
	for (int64_t j = 0; j < f->n; j += AT_ONCE) {
		__m512 sums[FEW][AT_ONCE];
		for (int r = 0; r < AT_ONCE; r++) {
			__m512 out[FEW];
			if (j + r < f->n)
				few_row(type, rows, w, (const uint8_t *)f->b + (j + r) * bytes, out);
			UNROLL for (int i = 0; i < rows; i++)
				sums[i][r] = j + r < f->n ? out[i] : _mm512_setzero_ps();
		}
		UNROLL for (int i = 0; i < rows; i++)
			_mm_mask_storeu_ps(f->c + i * f->ldc + j, (__mmask8)(wide_mask(f->n - j) & 15), wide_sum_four(sums[i]));
	}
}

#define FEW_CASE(rows)               \
	case rows:                       \
		few_rows(type, rows, w);     \
		break;

INLINE void few_type(const dtype type, const few_work *w)
{
	switch (w->f->m) {
		FEW_CASE(1)
		FEW_CASE(2)
		FEW_CASE(3)
		FEW_CASE(4)
		FEW_CASE(5)
		FEW_CASE(6)
		FEW_CASE(7)
	default:
		break;
	}
}

#define TYPE_CASE(call, type, ...)       \
	case type:                           \
		call(type, __VA_ARGS__);         \
		break;
#define EACH_TYPE(call, type, ...)               \
	switch (type) {                              \
		TYPE_CASE(call, DT_Q4_0, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q4_1, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q5_0, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q5_1, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q8_0, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q4_K, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q5_K, __VA_ARGS__)    \
		TYPE_CASE(call, DT_Q6_K, __VA_ARGS__)    \
	default:                                     \
		break;                                   \
	}

static void few(const quant_few *f)
{
	few_work w = {.f = f, .pairs = (f->k + 63) / 64, .groups = f->k / quant_group(f->type)};
	w.padded = (w.groups + 15) / 16 * 16;
	w.wide = f->scratch;
	w.least = w.wide + f->m * w.pairs * 16;
	w.d = w.least + f->m * (is_large(f->type) ? w.padded : 4 * w.pairs);
	w.m = w.d + w.padded;
	w.x = (int8_t *)(w.m + w.padded);
	EACH_TYPE(few_type, f->type, &w)
}

/* ------------------------------------------------------------------------------------------------ narrow rows */
static void narrow(int64_t groups, const float *x, const quant_made *row)
{
	for (int64_t g = 0; g < groups; g++, x += QUANT_GROUP) {
		__m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
		float most = wide_max(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
		__mmask16 odd = _mm512_fpclass_ps_mask(a, 0x99) | _mm512_fpclass_ps_mask(b, 0x99); /* NaN, infinities */
		bool none = most < 0x1p-100f;
		float scale = odd ? __builtin_nanf("") : none ? 0 : most / 127;
		__m512 factor = wide_set(odd || none ? 0 : 127 / most);
		__m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(a, factor)), q = _mm512_cvtps_epi32(_mm512_mul_ps(b, factor));
		if (odd)
			p = q = _mm512_setzero_si512();
		__m256i bytes = _mm256_set_m128i(_mm512_cvtepi32_epi8(q), _mm512_cvtepi32_epi8(p));
		_mm256_storeu_si256((__m256i *)(void *)(row->byte + g * QUANT_GROUP), _mm256_xor_si256(bytes, _mm256_set1_epi8((char)128)));
		__m256i sums = _mm256_sad_epu8(_mm256_xor_si256(bytes, _mm256_set1_epi8((char)128)), _mm256_setzero_si256());
		int32_t first = _mm256_extract_epi32(sums, 0) + _mm256_extract_epi32(sums, 2) - 16 * 128;
		int32_t second = _mm256_extract_epi32(sums, 4) + _mm256_extract_epi32(sums, 6) - 16 * 128;
		row->scale[g] = scale;
		row->sum[g] = scale * (float)(first + second);
		row->half[2 * g] = scale * (float)first;
		row->half[2 * g + 1] = scale * (float)second;
	}
}

/* ------------------------------------------------------------------------------------------------ panels */
INLINE int64_t group_words(const dtype type)
{
	return type == DT_Q6_K ? 4 : 8;
}

/* 16 columns of a panel, in words */
INLINE int64_t half_panel(const dtype type, int64_t k)
{
	return k / quant_group(type) * (group_words(type) + 3) * WIDE;
}

static size_t panel_room(dtype type, int64_t k)
{
	return (size_t)half_panel(type, k) * (QUANT_PANEL / WIDE) * 4;
}

/* 16 columns, values [64 p, 64 p + 64): words turned, and -128 times each group's sum. */
INLINE void panel_pair(const dtype type, int64_t n, int64_t bytes, const uint8_t *b, int64_t p, bool alone, int32_t *to)
{
	const int64_t words = group_words(type), step = (words + 3) * WIDE;
	__m512i v[16];
	UNROLL for (int j = 0; j < 16; j++)
		v[j] = j < n ? _mm512_sub_epi8(pair_at(type, b + j * bytes, p, alone), _mm512_set1_epi8((char)quant_centre(type))) : _mm512_setzero_si512();
	wide_transpose((__m512 *)(void *)v);
	for (int64_t g = 0; g < (alone ? 1 : 16 / words); g++, to += step) {
		__m512i sum = _mm512_setzero_si512();
		for (int64_t i = 0; i < words; i++) {
			__m512i x = v[g * words + i];
			sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8((char)128), x);
			_mm512_storeu_si512(to + i * WIDE, x);
		}
		_mm512_storeu_si512(to + (words + 2) * WIDE, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
	}
}

INLINE void panel_type(const dtype type, int64_t n, int64_t k, const uint8_t *b, int32_t *to)
{
	enum { SOME = 64 };
	const int64_t bytes = (int64_t)dtype_bytes(type, k), words = group_words(type), step = (words + 3) * WIDE;
	const int64_t groups = k / (4 * words), half = half_panel(type, k);
	for (int64_t j = 0; j < QUANT_PANEL; j += WIDE)
		for (int64_t p = 0; p < (k + 63) / 64; p++)
			panel_pair(type, n - j, bytes, b + j * bytes, p, p >= k / 64, to + j / WIDE * half + p * (16 / words) * step);
	const int64_t each = is_large(type) ? 256 / (4 * words) : 1;
	for (int64_t j = 0; j < QUANT_PANEL; j++)
		for (int64_t g = 0; g < groups; g += SOME) {
			float d[SOME] = {0}, m[SOME] = {0};
			int64_t some = groups - g < SOME ? groups - g : SOME;
			if (j < n)
				scales(type, some, b + j * bytes + g / each * quant_bytes(type), d, m);
			float *at = (float *)(void *)(to + j / WIDE * half + g * step + words * WIDE + j % WIDE);
			for (int64_t i = 0; i < some; i++, at += step) {
				at[0] = d[i];
				at[WIDE] = m[i];
			}
		}
}

static void panel(dtype type, int64_t n, int64_t k, const void *b, void *to)
{
	EACH_TYPE(panel_type, type, n, k, b, to)
}

/* ------------------------------------------------------------------------------------------------ the tile */
typedef struct {
	const char *scale, *sum, *byte; /* of the first row */
	int64_t row, groups;            /* bytes from row to row */
	const int32_t *panel;
	float *c;
} tile_call;

INLINE __m512i four(const char *at)
{
	int32_t w;
	__builtin_memcpy(&w, at, 4);
	return _mm512_set1_epi32(w);
}

INLINE __m512 one(const char *at)
{
	float x;
	__builtin_memcpy(&x, at, 4);
	return _mm512_set1_ps(x);
}

/* words: of a group; least: m counts. Row i is i % 3 steps from one of four pointers, as x86 addresses reach two. */
INLINE void tile_rows(const int words, const bool least, const int rows, const tile_call *t)
{
	__m512 acc[ROWS];
	UNROLL for (int i = 0; i < rows; i++)
		acc[i] = _mm512_setzero_ps();
	const int64_t row = t->row, sums = t->sum - t->scale;
	const char *x0 = t->byte, *x3 = x0 + 3 * row, *x6 = x3 + 3 * row, *x9 = x6 + 3 * row;
	const char *s0 = t->scale, *s3 = s0 + 3 * row, *s6 = s3 + 3 * row, *s9 = s6 + 3 * row;
	const int32_t *b = t->panel;
	for (int64_t g = 0; g < t->groups; g++, b += (words + 3) * WIDE) {
		__m512i sum[ROWS];
		UNROLL for (int i = 0; i < rows; i++)
			sum[i] = _mm512_loadu_si512(b + (words + 2) * WIDE);
		UNROLL for (int p = 0; p < words; p++) {
			__m512i w = _mm512_loadu_si512(b + p * WIDE);
			UNROLL for (int i = 0; i < rows; i++)
				sum[i] = _mm512_dpbusd_epi32(sum[i], four((i < 3 ? x0 : i < 6 ? x3 : i < 9 ? x6 : x9) + (i % 3) * row + 4 * p), w);
		}
		__m512 d = _mm512_loadu_ps(b + words * WIDE), m = _mm512_loadu_ps(b + (words + 1) * WIDE);
		UNROLL for (int i = 0; i < rows; i++) {
			const char *s = (i < 3 ? s0 : i < 6 ? s3 : i < 9 ? s6 : s9) + (i % 3) * row;
			acc[i] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[i]), d), one(s), acc[i]);
			if (least)
				acc[i] = _mm512_fmadd_ps(m, one(s + sums), acc[i]);
		}
		x0 += 4 * words;
		x3 += 4 * words;
		x6 += 4 * words;
		x9 += 4 * words;
		int64_t next = words == 8 || g % 2 ? 4 : 0;
		s0 += next;
		s3 += next;
		s6 += next;
		s9 += next;
	}
	UNROLL for (int i = 0; i < rows; i++)
		_mm512_storeu_ps(t->c + i * QUANT_PANEL, acc[i]);
}

#define TILE_CASE(n)                        \
	case n:                                 \
		tile_rows(words, least, n, t);      \
		break;

INLINE void tile_some(const int words, const bool least, int64_t rows, const tile_call *t)
{
	switch (rows) {
		TILE_CASE(1)
		TILE_CASE(2)
		TILE_CASE(3)
		TILE_CASE(4)
		TILE_CASE(5)
		TILE_CASE(6)
		TILE_CASE(7)
		TILE_CASE(8)
		TILE_CASE(9)
		TILE_CASE(10)
		TILE_CASE(11)
	default:
		tile_rows(words, least, 12, t);
	}
}

static void tile(dtype type, int64_t m, int64_t k, const float *a, int64_t lda, const void *panel_, float *c)
{
	quant_row r = quant_row_of(a, k);
	for (int64_t j = 0; j < QUANT_PANEL; j += WIDE) {
		tile_call t = {(const char *)r.scale, (const char *)r.sum, (const char *)r.byte, 4 * lda, k / quant_group(type),
			(const int32_t *)panel_ + j / WIDE * half_panel(type, k), c + j};
		if (type == DT_Q6_K)
			tile_some(4, false, m, &t);
		else if (quant_centre(type))
			tile_some(8, false, m, &t);
		else
			tile_some(8, true, m, &t);
	}
}

const quant_lanes quant_avx512bf16 = {.few = few, .narrow = narrow, .rows = ROWS, .panel_room = panel_room, .panel = panel, .tile = tile};
