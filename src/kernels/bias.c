/*
 * bias.c - score bias from coordinates, made a row of a tile at a time.
 *
 *   GRID    entry (yq - yk + H - 1)(2W - 1) + (xq - xk + W - 1) of a (2H - 1)(2W - 1) table, as Swin (Liu et al. 2021)
 *   BUCKET  T5 (Raffel et al. 2020): d = order_k - order_q. Both ways: n = buckets / 2, keys after the query use the upper
 *           half; else n = buckets and such keys have distance 0. Distances below n / 2 have a bucket each, larger ones
 *           n/2 + trunc(log(d / (n/2)) / log(far / (n/2)) (n - n/2)), at most n - 1, computed in float as the reference
 *           does: the rounding decides at the edges.
 *   SLOPE   -slope |order_q - order_k|, ALiBi (Press et al. 2022)
 *
 * Buckets by distance are tabulated per task up to BUCKET_FAR; beyond that (a `far` no known model has) each is computed.
 */
#include "kernels/approx.h"
#include "kernels/inner.h"

int64_t bias_entries(const bias_spec *b)
{
	switch (b->kind) {
	case BIAS_GRID:
		return (2 * (int64_t)b->side[0] - 1) * (2 * (int64_t)b->side[1] - 1);
	case BIAS_BUCKET:
		return b->buckets;
	case BIAS_SLOPE:
		return 1;
	case BIAS_NONE:
		break;
	}
	return 0;
}

/* The bucket of a distance >= 0 among n. */
static int32_t bucket_of(int64_t distance, int32_t n, int32_t far)
{
	int32_t exact = n / 2;
	if (distance < exact)
		return (int32_t)distance;
	if (exact < 1 || far <= exact)
		return (int32_t)int_max(n - 1, 0);
	float ratio = (float)approx_log((double)((float)distance / (float)exact));
	float span = (float)approx_log((double)far / exact);
	return (int32_t)int_min(exact + (int64_t)(ratio / span * (float)(n - exact)), n - 1);
}

static int32_t bucket_count(const bias_spec *b)
{
	return b->both_ways ? b->buckets / 2 : b->buckets;
}

size_t attend_bias_size(const bias_spec *b)
{
	return b->kind == BIAS_BUCKET ? sizeof(int32_t) * BUCKET_FAR : 0;
}

void attend_bias_open(attend_bias *bias, const attend_call *call, void *memory)
{
	const bias_spec *b = &call->spec->bias;
	*bias = (attend_bias){.spec = call->spec, .table = call->table, .q_at = call->q_at, .kv_at = call->kv_at, .buckets = memory};
	if (b->kind != BIAS_BUCKET)
		return;
	/* From `far` on all distances share the last bucket, and the last one tabulated stands for them. */
	bias->filled = (int32_t)int_min(int_max((int64_t)b->far + 1, 1), BUCKET_FAR);
	for (int32_t i = 0; i < bias->filled; i++)
		bias->buckets[i] = bucket_of(i, bucket_count(b), b->far);
}

void attend_bias_keys(attend_bias *bias, int64_t key, int32_t lo, int32_t hi)
{
	const bias_spec *b = &bias->spec->bias;
	const int32_t width = 2 * b->side[1] - 1;
	for (int32_t j = lo; j < hi; j++) {
		const int32_t *at = bias->kv_at + 3 * (key + j);
		bias->key_a[j] = b->kind == BIAS_GRID ? at[0] * width + at[1] : at[0];
		bias->key_b[j] = at[2];
	}
}

static void grid_row(const attend_bias *bias, int32_t h, int64_t q, int32_t lo, int32_t hi, float *out, int32_t *index)
{
	const bias_spec *b = &bias->spec->bias;
	const int32_t *at = bias->q_at + 3 * q, region = at[2];
	const int64_t heads = bias->spec->heads;
	const int32_t origin = (at[0] + b->side[0] - 1) * (2 * b->side[1] - 1) + at[1] + b->side[1] - 1;
	const float *table = bias->table + h, other = b->other_region;
	for (int32_t j = lo; j < hi; j++) {
		float x = table[(origin - bias->key_a[j]) * heads];
		out[j] = bias->key_b[j] == region ? x : x + other;
	}
	for (int32_t j = lo; j < hi && index; j++)
		index[j] = origin - bias->key_a[j];
}

/* The entry of a key d places after the query (before it: d < 0) */
static int64_t bucket_entry(const attend_bias *bias, int64_t d)
{
	const bias_spec *b = &bias->spec->bias;
	const int32_t n = bucket_count(b);
	int64_t side = b->both_ways && d > 0 ? n : 0;
	d = b->both_ways && d > 0 ? d : d < 0 ? -d : 0;
	if (d >= bias->filled && b->far >= BUCKET_FAR)
		return side + bucket_of(d, n, b->far);
	return side + bias->buckets[int_min(d, bias->filled - 1)];
}

static void bucket_row(const attend_bias *bias, int32_t h, int64_t q, int32_t lo, int32_t hi, float *out, int32_t *index)
{
	const int64_t order = bias->q_at[3 * q];
	for (int32_t j = lo; j < hi; j++) {
		int64_t entry = bucket_entry(bias, bias->key_a[j] - order);
		out[j] = bias->table[entry * bias->spec->heads + h];
		if (index)
			index[j] = (int32_t)entry;
	}
}

void attend_bias_row(const attend_bias *bias, int32_t h, int64_t q, int32_t lo, int32_t hi, float *out, int32_t *index)
{
	switch (bias->spec->bias.kind) {
	case BIAS_GRID:
		grid_row(bias, h, q, lo, hi, out, index);
		break;
	case BIAS_BUCKET:
		bucket_row(bias, h, q, lo, hi, out, index);
		break;
	case BIAS_SLOPE:
		for (int32_t j = lo; j < hi; j++) {
			int64_t d = (int64_t)bias->q_at[3 * q] - bias->key_a[j];
			out[j] = -bias->table[h] * (float)(d < 0 ? -d : d);
			if (index)
				index[j] = (int32_t)(d < 0 ? -d : d); /* the slope's factor: there is one entry */
		}
		break;
	case BIAS_NONE:
		break;
	}
}

/* ------------------------------------------------------------------------------------------------ a key against queries */
void attend_bias_queries(attend_bias *bias, int64_t row, int32_t rows)
{
	const bias_spec *b = &bias->spec->bias;
	for (int32_t i = 0; i < rows; i++) {
		const int32_t *at = bias->q_at + 3 * (row + i);
		bias->query_a[i] = b->kind == BIAS_GRID ? (at[0] + b->side[0] - 1) * (2 * b->side[1] - 1) + at[1] + b->side[1] - 1 : at[0];
		bias->query_b[i] = at[2];
	}
}

static void against_grid(const attend_bias *bias, int32_t h, const int32_t *at, int32_t from, int32_t to, float *out)
{
	const bias_spec *b = &bias->spec->bias;
	const int64_t heads = bias->spec->heads;
	const int32_t offset = at[0] * (2 * b->side[1] - 1) + at[1], region = at[2];
	const float *table = bias->table + h, other = b->other_region;
	for (int32_t i = from; i < to; i++) {
		float x = table[(bias->query_a[i] - offset) * heads];
		out[i] = bias->query_b[i] == region ? x : x + other;
	}
}

static void against(const attend_bias *bias, int32_t h, const int32_t *at, int32_t from, int32_t to, float *out)
{
	switch (bias->spec->bias.kind) {
	case BIAS_GRID:
		against_grid(bias, h, at, from, to, out);
		break;
	case BIAS_BUCKET:
		for (int32_t i = from; i < to; i++)
			out[i] = bias->table[bucket_entry(bias, (int64_t)at[0] - bias->query_a[i]) * bias->spec->heads + h];
		break;
	case BIAS_SLOPE:
		for (int32_t i = from; i < to; i++) {
			int64_t d = (int64_t)at[0] - bias->query_a[i];
			out[i] = -bias->table[h] * (float)(d < 0 ? -d : d);
		}
		break;
	case BIAS_NONE:
		break;
	}
}

void attend_bias_against(const attend_bias *bias, int32_t h, int64_t key, int32_t j, const int32_t *lo, const int32_t *hi, int32_t rows, float *out)
{
	const int32_t *at = bias->kv_at + 3 * key;
	if (!lo) {
		against(bias, h, at, 0, rows, out);
		return;
	}
	for (int32_t i = 0, end; i < rows; i = end) { /* runs of queries that see the key: only their places need to fit the table */
		for (end = i; end < rows && j >= lo[end] && j < hi[end];)
			end++;
		against(bias, h, at, i, end, out);
		for (; end < rows && (j < lo[end] || j >= hi[end]); end++)
			out[end] = 0;
	}
}
