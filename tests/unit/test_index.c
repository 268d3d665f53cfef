/*
 * test_index.c - vectors stored in every form and searched: each result against a plain loop in double over the numbers that
 * the file holds, whatever the number of threads, the width and the level; half precision for every half and between.
 */
#include "scratch.h"

#include <math.h>

#include "kernels/kernels.h"
#include "lab/index_scan.h"

enum { ROWS = 1500 };

static float noise(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static void half_precision(void **state)
{
	(void)state;
	for (uint32_t bits = 0; bits < 0x7c00; bits++) {
		float x = dtype_half((uint16_t)bits), next = bits < 0x7bff ? dtype_half((uint16_t)(bits + 1)) : 65536.0f, middle = (x + next) / 2;
		assert_int_equal(index_half(x), bits);
		assert_int_equal(index_half(-x), bits | 0x8000);
		assert_int_equal(index_half(nextafterf(middle, 0)), bits);
		assert_int_equal(index_half(middle), bits + (bits & 1)); /* ties to even */
		assert_int_equal(index_half(nextafterf(middle, 1e9f)), bits + 1);
	}
	assert_int_equal(index_half(1e30f), 0x7c00);
	assert_int_equal(index_half(NAN) & 0x7e00, 0x7e00);
}

/* What the file holds of number i. */
static double held(rebus_store store, const uint8_t *row, size_t i)
{
	float f;
	uint16_t h;
	if (store == REBUS_STORE_INT8)
		return (int8_t)row[i];
	if (store == REBUS_STORE_F16) {
		memcpy(&h, row + 2 * i, sizeof h);
		return (double)dtype_half(h);
	}
	memcpy(&f, row + 4 * i, sizeof f);
	return (double)f;
}

static double plain_score(rebus_store store, const uint8_t *row, const float *query, size_t width)
{
	double xy = 0, xx = 0, yy = 0;
	for (size_t i = 0; i < width; i++) {
		double x = held(store, row, i);
		xy += x * query[i];
		xx += x * x;
		yy += (double)query[i] * query[i];
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* The best are the best of the plain loop, in order, each score within 2e-6 of it. */
static void expect_best(const index_rows *x, const float *query, size_t top, const size_t *rows, const float *scores)
{
	size_t step = x->width * index_store_size(x->store), better = 0;
	const uint8_t *data = x->data;
	for (size_t k = 0; k < top; k++) {
		double want = plain_score(x->store, data + rows[k] * step, query, x->width);
		if (fabs(want - (double)scores[k]) > 2e-6 || (k && (scores[k] > scores[k - 1] || (scores[k] == scores[k - 1] && rows[k] < rows[k - 1]))))
			fail_msg("place %zu: row %zu has %.9g, expected %.9g and no more than the one before", k, rows[k], (double)scores[k], want);
	}
	for (size_t r = 0; r < x->rows; r++)
		better += plain_score(x->store, data + r * step, query, x->width) > (double)scores[top - 1] + 2e-6;
	if (better >= top)
		fail_msg("%zu rows are better than the last of %zu", better, top);
}

static void search(rebus_store store, size_t width, uint64_t seed)
{
	static size_t rows[ROWS], first[ROWS];
	static float scores[ROWS], vector[600], query[600];
	const size_t tops[] = {1, 10, 700, ROWS};
	buf data;
	buf_init(&data, NULL, 1 << 26);
	for (size_t r = 0; r < ROWS; r++) {
		for (size_t i = 0; i < width; i++)
			vector[i] = r % 97 ? noise(&seed) * (float)(1 + r % 5) : 0; /* some rows are zeros, others the same */
		assert_true(index_store_put(&data, store, (const uint8_t *)vector, width));
	}
	for (size_t i = 0; i < width; i++)
		query[i] = noise(&seed);
	const index_rows x = {store, data.data, ROWS, width};
	for (cpu_level level = CPU_PORTABLE; level <= cpu_detect() && level <= CPU_AVX2; level++)
		for (size_t t = 0; t < COUNT_OF(tops); t++)
			for (int threads = 1; threads <= 5; threads += 2) {
				assert_int_equal(index_scan(&x, query, tops[t], threads, level, rows, scores, NULL), REBUS_OK);
				expect_best(&x, query, tops[t], rows, scores);
				if (threads == 1)
					memcpy(first, rows, sizeof first);
				assert_memory_equal(rows, first, tops[t] * sizeof *rows);
			}
	buf_free(&data);
}

static void every_store(void **state)
{
	(void)state;
	const size_t widths[] = {1, 7, 16, 33, 512, 600};
	for (size_t i = 0; i < COUNT_OF(widths); i++)
		for (rebus_store store = REBUS_STORE_F32; store <= REBUS_STORE_INT8; store++)
			search(store, widths[i], 17 * i + (uint64_t)store);
}

/* Through files: what was added comes back, rounded as the store says, and is found. */
static void files(void **state)
{
	(void)state;
	const char *const endings[] = {"a.npy", "a.safetensors"};
	enum { N = 300, W = 24 };
	for (size_t e = 0; e < COUNT_OF(endings); e++)
		for (rebus_store store = REBUS_STORE_F32; store <= REBUS_STORE_INT8; store++) {
			rebus_error err = {0};
			rebus_index_writer *w;
			rebus_index *x;
			size_t have, found, rows[3];
			float scores[3], vectors[N][W];
			uint64_t seed = e + 5;
			assert_int_equal(rebus_index_create(scratch_path(endings[e]), store, "test", false, &w, &have, &err), REBUS_OK);
			for (size_t r = 0; r < N; r++) {
				char name[40];
				snprintf(name, sizeof name, r % 50 ? "photo %zu" : "\"two\nlines\" %zu", r);
				for (size_t i = 0; i < W; i++)
					vectors[r][i] = noise(&seed);
				assert_int_equal(rebus_index_add(w, name, vectors[r], W, &err), REBUS_OK);
			}
			assert_int_equal(rebus_index_finish(w, &err), REBUS_OK);
			if (rebus_index_load(scratch_path(endings[e]), &x, &err))
				fail_msg("%s", err.text);
			assert_int_equal(rebus_index_rows(x), N);
			assert_string_equal(rebus_index_file(x, 51), "photo 51");
			assert_string_equal(rebus_index_file(x, 50), "\"two\nlines\" 50");
			assert_null(rebus_index_file(x, N));
			for (size_t r = 0; r < N; r += 37) {
				assert_int_equal(rebus_index_search(x, vectors[r], W, 3, 2, rows, scores, &found, &err), REBUS_OK);
				assert_int_equal(found, 3);
				assert_int_equal(rows[0], r);
				assert_true(fabsf(scores[0] - 1) < (store == REBUS_STORE_INT8 ? 1e-4f : 1e-6f));
			}
			assert_int_equal(rebus_index_search(x, vectors[0], W - 1, 3, 1, rows, scores, &found, &err), REBUS_SHAPE);
			rebus_index_free(x);
		}
	rebus_index_writer *w;
	rebus_error err;
	size_t have;
	assert_int_equal(rebus_index_create(scratch_path("a.jsonl"), REBUS_STORE_F16, "", false, &w, &have, &err), REBUS_MISUSE);
	assert_int_equal(rebus_index_create(scratch_path("b.npy"), REBUS_STORE_F16, "", false, &w, &have, &err), REBUS_OK);
	assert_int_equal(rebus_index_add(w, "large", (float[]){1, 70000}, 2, &err), REBUS_OK);
	assert_int_equal(rebus_index_finish(w, &err), REBUS_LIMIT);
	assert_has(err.text, "too large for f16");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(half_precision), cmocka_unit_test(every_store), cmocka_unit_test(files)};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
