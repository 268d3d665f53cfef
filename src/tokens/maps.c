/* maps.c - row maps and angles made from the token table; see tokens.h. */
#include <math.h>

#include "tokens/tokens.h"

static rebus_status one_tap(arena *a, int64_t rows, int64_t rows_in, int32_t **from, rowmap *out, rebus_error *err)
{
	*from = arena_get(a, (size_t)rows, sizeof **from);
	if (!*from)
		return error_memory(err, "a row map");
	*out = (rowmap){.rows_out = rows, .rows_in = rows_in, .taps = 1, .from = *from};
	return REBUS_OK;
}

rebus_status tokens_map_sources(arena *a, const tokens *t, const int64_t base[TOKEN_KINDS], int64_t rows_in, rowmap *out, rebus_error *err)
{
	int32_t *from;
	rebus_status status = one_tap(a, t->rows, rows_in, &from, out, err);
	if (status)
		return status;
	for (int64_t r = 0; r < t->rows; r++) {
		int64_t b = base[t->kind[r]], row = b < 0 ? -1 : b + t->source[r];
		if (row >= rows_in || (b >= 0 && t->source[r] < 0))
			return error_set(err, REBUS_MISUSE, "token %lld: %s %d, expected less than %lld", (long long)r, tokens_kind_name((token_kind)t->kind[r]),
							 t->source[r], (long long)(rows_in - b));
		from[r] = (int32_t)row;
	}
	return REBUS_OK;
}

rebus_status tokens_map_pick(arena *a, const int32_t *rows, int64_t count, int64_t rows_in, rowmap *out, rebus_error *err)
{
	int32_t *from;
	rebus_status status = one_tap(a, count, rows_in, &from, out, err);
	for (int64_t i = 0; !status && i < count; i++) {
		if (rows[i] < -1 || rows[i] >= rows_in)
			return error_set(err, REBUS_MISUSE, "row %d of %lld", rows[i], (long long)rows_in);
		from[i] = rows[i];
	}
	return status;
}

rebus_status tokens_map_segments(arena *a, const tokens *t, int64_t table_rows, rowmap *out, rebus_error *err)
{
	int32_t *from;
	rebus_status status = one_tap(a, t->rows, table_rows, &from, out, err);
	for (int64_t r = 0; !status && r < t->rows; r++) {
		if (t->segment[r] < 0 || t->segment[r] >= table_rows)
			return error_set(err, REBUS_SHAPE, "token %lld: segment %d, expected less than config.json's type_vocab_size %lld", (long long)r,
				t->segment[r], (long long)table_rows);
		from[r] = t->segment[r];
	}
	return status;
}

rebus_status tokens_map_order(arena *a, const tokens *t, int64_t offset, int64_t table_rows, rowmap *out, rebus_error *err)
{
	int32_t *from;
	rebus_status status = one_tap(a, t->rows, table_rows, &from, out, err);
	for (int64_t r = 0; !status && r < t->rows; r++) {
		int64_t row = offset + (int64_t)t->at[AT_ORDER][r];
		if (row < 0 || row >= table_rows)
			return error_set(err, REBUS_LIMIT, "a sequence of more than %lld tokens: the model has no position for the next one",
							 (long long)(table_rows - offset));
		from[r] = (int32_t)row;
	}
	return status;
}

void tokens_angles(const tokens *t, int axis, const float *inv_freq, int32_t half, float *out)
{
	for (int64_t r = 0; r < t->rows; r++)
		for (int32_t i = 0; i < half; i++) {
			float angle = t->at[axis][r] * inv_freq[i];
			out[r * 2 * half + i] = (float)cos((double)angle);
			out[r * 2 * half + half + i] = (float)sin((double)angle);
		}
}
