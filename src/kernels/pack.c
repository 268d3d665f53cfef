/*
 * pack.c - weights made ready once, and rows rounded to a narrow type; once, for every level.
 *
 *   B [n, k]  ─►  panel 0 │ panel 1 │ ...   each [words][columns] of 32-bit words, zero beyond n and k
 *                 INT8: then scale [n], f32, and offset [n], int32, both rounded up to whole panels
 *
 *   word p of column j:  F32  b[j][p]     BF16  b[j][2p], b[j][2p + 1]     INT8  b[j][4p] ... b[j][4p + 3], signed bytes
 *
 * Activations of INT8 are stored as value + 128, which the instructions want unsigned; the sum of a row with a column then
 * holds 128 times the sum of the column's weights too much, its offset.
 *
 * Scales are symmetric, one for a row of activations and one for an output's weights (Jacob et al. 2018 describe the
 * scheme; rows of activations are measured as they come). A row whose largest value is below 2^-100 counts as zero.
 */
#include "kernels/inner.h"

#include <string.h>

enum { STRETCH = 1024, PER_BF16 = 2, PER_INT8 = 4 };

static int64_t words_of(precision as, int64_t k)
{
	return as == PRECISION_INT8 ? ceil_div(k, PER_INT8) : as == PRECISION_BF16 ? ceil_div(k, PER_BF16) : k;
}

int64_t narrow_words(precision as, int64_t width)
{
	if (as == PRECISION_BLOCKS)
		return quant_row_head(width) + width / 4;
	return words_of(as, width) + (as == PRECISION_INT8);
}

static int64_t panel_count(const inner *in, precision as, int64_t n)
{
	return ceil_div(n, in->packed[as].columns);
}

/* n and k are a weight's sides, whose product was checked when it was bound: rounding up at most doubles it, and the caller's
 * limits are far below what 64 bits hold. */
size_t pack_bytes(const inner *in, precision as, int64_t n, int64_t k)
{
	size_t columns = (size_t)(panel_count(in, as, n) * in->packed[as].columns);
	return columns * ((size_t)words_of(as, k) + (as == PRECISION_INT8 ? 2 : 0)) * 4;
}

int64_t pack_panels(const inner *in, const gemm_pack *p)
{
	return panel_count(in, p->as, p->n);
}

const float *pack_scales(const inner *in, const gemm_pack *p)
{
	int64_t columns = panel_count(in, p->as, p->n) * in->packed[p->as].columns;
	return (const float *)p->data + columns * words_of(p->as, p->k);
}

const int32_t *pack_offsets(const inner *in, const gemm_pack *p)
{
	int64_t columns = panel_count(in, p->as, p->n) * in->packed[p->as].columns;
	return (const int32_t *)(const void *)(pack_scales(in, p) + columns);
}

/* factor for rounding, and the scale: 0 and 0 for a row that counts as zero */
static float factor_of(float largest, float *scale)
{
	if (largest < 0x1p-100f) {
		*scale = 0;
		return 0;
	}
	*scale = largest / 127;
	return 127 / largest;
}

/* One column of a panel: every word to its place, a stretch of the row at a time. */
static int32_t pack_column(const inner *in, precision as, dtype type, int64_t k, const char *row, float factor, char *panel, int64_t columns)
{
	int32_t sum = 0;
	for (int64_t p = 0; p < k; p += STRETCH) {
		float wide[STRETCH];
		union {
			uint32_t word[STRETCH / 2];
			uint16_t half[STRETCH];
			uint8_t byte[STRETCH];
		} to = {.word = {0}};
		int64_t n = int_min(STRETCH, k - p), words = words_of(as, n);
		in->table->widen(type, n, row + dtype_bytes(type, p), wide);
		if (as == PRECISION_BF16) {
			in->to_bf16(n, wide, to.half);
		} else {
			in->to_int8(n, wide, factor, to.byte);
			for (int64_t i = 0; i < n; i++) {
				to.byte[i] ^= 128; /* value + 128, to the signed byte */
				sum += (int8_t)to.byte[i];
			}
		}
		for (int64_t i = 0; i < words; i++, panel += columns * 4)
			memcpy(panel, &to.word[i], 4);
	}
	return sum;
}

static float largest_of(const inner *in, dtype type, int64_t k, const char *row)
{
	float most = 0;
	for (int64_t p = 0; p < k; p += STRETCH) {
		float wide[STRETCH];
		int64_t n = int_min(STRETCH, k - p);
		in->table->widen(type, n, row + dtype_bytes(type, p), wide);
		float x = in->largest(n, wide);
		most = x <= most ? most : x; /* a NaN stays */
		if (most != most)
			break;
	}
	return most;
}

void pack_panel(const inner *in, const gemm_pack *p, dtype type, const void *b, int64_t ldb, int64_t panel)
{
	const int64_t columns = in->packed[p->as].columns, words = words_of(p->as, p->k), j0 = panel * columns, n = int_min(columns, p->n - j0);
	const char *rows = (const char *)b + dtype_bytes(type, j0 * ldb);
	char *to = (char *)p->data + panel * columns * words * 4;
	if (p->as == PRECISION_F32) {
		in->pack_rows(type, n, p->k, rows, ldb, (float *)(void *)to);
		return;
	}
	float *scale = (float *)pack_scales(in, p) + j0;
	int32_t *offset = (int32_t *)pack_offsets(in, p) + j0;
	if (n < columns)
		memset(to, 0, (size_t)(columns * words * 4));
	for (int64_t j = 0; j < columns; j++) {
		const char *row = rows + dtype_bytes(type, j * ldb);
		float factor = 0;
		if (p->as == PRECISION_INT8) {
			float largest = j < n ? largest_of(in, type, p->k, row) : 0;
			scale[j] = largest; /* where it is no number */
			offset[j] = 0;
			if (largest == largest)
				factor = factor_of(largest, &scale[j]);
		}
		int32_t sum = j < n ? pack_column(in, p->as, type, p->k, row, factor, to + 4 * j, columns) : 0;
		if (p->as == PRECISION_INT8)
			offset[j] = 128 * sum;
	}
}

static void narrow_int8(const inner *in, int64_t width, const float *x, char *y)
{
	float largest = in->largest(width, x), scale = largest, factor = 0;
	uint8_t *byte = (uint8_t *)y + 4;
	if (largest == largest)
		factor = factor_of(largest, &scale);
	memcpy(y, &scale, 4);
	if (largest == largest)
		in->to_int8(width, x, factor, byte);
	else
		memset(byte, 128, (size_t)width); /* the scale says it */
	memset(byte + width, 128, (size_t)(words_of(PRECISION_INT8, width) * PER_INT8 - width));
}

void narrow_rows(const inner *in, precision as, int64_t rows, int64_t width, const float *x, int64_t ldx, void *y, int64_t ldy)
{
	for (int64_t i = 0; i < rows; i++) {
		char *to = (char *)y + i * ldy * 4;
		if (as == PRECISION_BLOCKS) {
			quant_narrow(in, width, x + i * ldx, to);
		} else if (as == PRECISION_INT8) {
			narrow_int8(in, width, x + i * ldx, to);
		} else if (as == PRECISION_BF16) {
			in->to_bf16(width, x + i * ldx, (uint16_t *)(void *)to);
			if (width % 2)
				memset(to + 2 * width, 0, 2);
		} else {
			memcpy(to, x + i * ldx, (size_t)width * sizeof *x);
		}
	}
}
