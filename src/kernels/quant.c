/*
 * quant.c - weights in blocks: their values, and their parts; see quant.h.
 *
 * The K formats, 256 values as 8 stretches of 32:
 *
 *   Q4_K, Q5_K   byte i of 32 bytes number j holds value i of stretch 2j in its low half, of stretch 2j + 1 in its high half;
 *                fifth bits: bit s of byte i belongs to value i of stretch s
 *   pairs        bytes 0-3: s 0-3 in 6 bits, 4-7: t 0-3; 8-11: low halves s 4-7, high halves t 4-7, their upper two bits
 *                the upper two of bytes 0-3 and 4-7
 *   Q6_K         each half of 128 values: byte i of 64 low bytes holds value i low, value i + 64 high; byte i of 32 high ones
 *                the upper bits of values i, i + 32, i + 64, i + 96
 */
#include "kernels/quant.h"

#include <string.h>

enum { K = 256, STRETCHES = 8, HALF = 128 };

static float half_at(const uint8_t *p)
{
	return dtype_half((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t word_at(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int quant_group(dtype type)
{
	return type == DT_Q6_K ? 16 : QUANT_GROUP;
}

/* ------------------------------------------------------------------------------------------------ whole numbers */
static void halves(const uint8_t *from, const uint8_t *fifth, uint8_t *q)
{
	uint32_t bits = fifth ? word_at(fifth) : 0;
	for (int i = 0; i < 16; i++) {
		q[i] = (uint8_t)((from[i] & 15) | (bits >> i & 1) << 4);
		q[i + 16] = (uint8_t)(from[i] >> 4 | (bits >> (i + 16) & 1) << 4);
	}
}

static void halves_k(const uint8_t *from, const uint8_t *fifth, uint8_t *q)
{
	for (int s = 0; s < STRETCHES; s++)
		for (int i = 0; i < 32; i++) {
			int low = from[s / 2 * 32 + i] >> (s % 2 * 4) & 15, high = fifth ? fifth[i] >> s & 1 : 0;
			q[s * 32 + i] = (uint8_t)(low | high << 4);
		}
}

static void sixes(const uint8_t *low, const uint8_t *high, uint8_t *q)
{
	for (int h = 0; h < 2; h++, low += 64, high += 32, q += HALF)
		for (int s = 0; s < 4; s++)
			for (int i = 0; i < 32; i++)
				q[s * 32 + i] = (uint8_t)((low[s % 2 * 32 + i] >> (s / 2 * 4) & 15) | (high[i] >> 2 * s & 3) << 4);
}

static void unpack_block(dtype type, const uint8_t *b, uint8_t *q)
{
	switch (type) {
	case DT_Q4_0:
		halves(b + 2, NULL, q);
		break;
	case DT_Q4_1:
		halves(b + 4, NULL, q);
		break;
	case DT_Q5_0:
		halves(b + 6, b + 2, q);
		break;
	case DT_Q5_1:
		halves(b + 8, b + 4, q);
		break;
	case DT_Q8_0:
		for (int i = 0; i < 32; i++)
			q[i] = b[2 + i] ^ 128;
		break;
	case DT_Q4_K:
		halves_k(b + 16, NULL, q);
		break;
	case DT_Q5_K:
		halves_k(b + 48, b + 16, q);
		break;
	default:
		sixes(b, b + 128, q);
		break;
	}
}

void quant_unpack(dtype type, int64_t n, const void *x, uint8_t *q)
{
	const uint8_t *b = x;
	int64_t block = dtype_block(type);
	for (int64_t i = 0; i < n; i += block, b += dtype_bytes(type, block))
		unpack_block(type, b, q + i);
}

/* ------------------------------------------------------------------------------------------------ scales */
static int pair_s(const uint8_t *p, int i)
{
	return i < 4 ? p[i] & 63 : (p[i + 4] & 15) | (p[i - 4] >> 2 & 48);
}

static int pair_t(const uint8_t *p, int i)
{
	return i < 4 ? p[i + 4] & 63 : p[i + 4] >> 4 | (p[i] >> 2 & 48);
}

/* Of one block: d and m of every group. */
static void block_scales(dtype type, const uint8_t *b, float *d, float *m)
{
	if (type == DT_Q4_K || type == DT_Q5_K) {
		float whole = half_at(b), least = half_at(b + 2);
		for (int i = 0; i < STRETCHES; i++) {
			d[i] = whole * (float)pair_s(b + 4, i);
			m[i] = -(least * (float)pair_t(b + 4, i));
		}
	} else if (type == DT_Q6_K) {
		float whole = half_at(b + 208);
		for (int i = 0; i < 16; i++) {
			d[i] = whole * (float)(int8_t)b[192 + i];
			m[i] = -QUANT_CENTRE_Q6_K * d[i];
		}
	} else {
		*d = half_at(b);
		*m = quant_centre(type) ? (float)-quant_centre(type) * *d : half_at(b + 2);
	}
}

void quant_scales(dtype type, int64_t n, const void *x, float *d, float *m)
{
	const uint8_t *b = x;
	int64_t block = dtype_block(type), groups = block / quant_group(type);
	for (int64_t i = 0; i < n / block; i++, b += dtype_bytes(type, block))
		block_scales(type, b, d + i * groups, m + i * groups);
}

/* ------------------------------------------------------------------------------------------------ values */
/* In the order of the reference's roundings: a product, then a sum. */
static void widen_block(dtype type, const uint8_t *b, float *y)
{
	uint8_t q[QUANT_BLOCK_MOST];
	float d[K / 16], m[K / 16];
	int block = (int)dtype_block(type), group = quant_group(type), centre = quant_centre(type);
	unpack_block(type, b, q);
	block_scales(type, b, d, m);
	for (int i = 0; i < block; i++) {
		float x = d[i / group] * (float)(q[i] - centre);
		y[i] = centre ? x : x + m[i / group];
	}
}

void quant_widen(dtype type, int64_t n, const void *x, float *y)
{
	const uint8_t *b = x;
	int64_t block = dtype_block(type), left = n;
	for (; left >= block; left -= block, b += dtype_bytes(type, block), y += block)
		widen_block(type, b, y);
	if (left) {
		float last[QUANT_BLOCK_MOST];
		widen_block(type, b, last);
		memcpy(y, last, (size_t)left * sizeof *y);
	}
}
