/* check_resampling.c - weighted sums of bytes against 64-bit integers: equal to the bit at every level. */
#include "check.h"

#include <string.h>

static uint8_t *random_bytes(int64_t n)
{
	uint8_t *p = check_bytes((size_t)n, 1);
	for (int64_t i = 0; i < n; i++)
		p[i] = check_random() & 7 ? (uint8_t)check_random() : check_random() & 1 ? 255 : 0;
	return p;
}

/* Random positions and weights. Wide weights add up to at most 1.7 * 2^22, narrow ones fit 16 bits. */
static resample random_axis(int32_t n_in, int32_t n_out, bool narrow)
{
	resample x = {.n_in = n_in, .n_out = n_out, .shift = narrow ? (int32_t)check_between(14, 16) : 22, .narrow = narrow};
	int32_t most = (int32_t)int_min(n_in, check_between(1, 21));
	x.taps = (most + 3) / 4 * 4;
	size_t n = (size_t)n_out, all = n * (size_t)x.taps;
	int32_t *lo = check_bytes(n * sizeof *lo, sizeof *lo), *count = check_bytes(n * sizeof *count, sizeof *count);
	int32_t *q = check_bytes(all * sizeof *q, sizeof *q);
	int16_t *low = check_bytes(all * sizeof *low, sizeof *low), *high = check_bytes(all * sizeof *high, sizeof *high);
	for (int32_t i = 0; i < n_out; i++) {
		int64_t left = narrow ? 32767 : (int64_t)(1.7 * (1 << 22));
		count[i] = (int32_t)check_between(i % 7 == 3 ? most : 1, most);
		lo[i] = (int32_t)check_between(i % 5 == 1 ? n_in - count[i] : 0, n_in - count[i]);
		for (int32_t k = 0; k < x.taps; k++) {
			int64_t v = k < count[i] ? check_between(-left / 2, k ? left / 2 : left) : 0;
			left -= narrow ? 0 : v < 0 ? -v : v;
			q[i * x.taps + k] = (int32_t)v;
			low[i * x.taps + k] = (int16_t)(narrow ? v : v & 2047);
			high[i * x.taps + k] = (int16_t)(narrow ? 0x5555 : (v - (v & 2047)) / 2048);
		}
	}
	x.lo = lo;
	x.count = count;
	x.q = q;
	x.low = low;
	x.high = narrow ? NULL : high;
	return x;
}

static int exact_sum(const resample *x, int32_t i, const uint8_t *from, int64_t step)
{
	int64_t sum = (int64_t)1 << (x->shift - 1);
	for (int32_t k = 0; k < x->count[i]; k++)
		sum += (int64_t)x->q[i * x->taps + k] * from[(x->lo[i] + k) * step];
	sum >>= x->shift;
	return (int)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void check_resample(const kernels *k)
{
	for (int i = 0; i < 400; i++) {
		bool narrow = i & 1, down = i & 2;
		int32_t n_in = (int32_t)check_between(1, i % 3 ? 40 : 300), n_out = (int32_t)check_between(1, 60), channels = (int32_t)check_between(1, 4);
		int64_t other = check_between(0, down ? 70 : 11), rows_in = down ? n_in : other, rows_out = down ? n_out : other;
		int64_t wide_in = down ? other : (int64_t)n_in * channels, wide_out = down ? other : (int64_t)n_out * channels;
		int64_t ldi = wide_in + check_between(0, 5), ldo = wide_out + check_between(0, 5);
		check_begin();
		resample x = random_axis(n_in, n_out, narrow);
		/* the last row ends at the page without access; of the output, gaps between the rows stay as they were */
		uint8_t *in = random_bytes(rows_in ? (rows_in - 1) * ldi + wide_in : 0);
		size_t out_size = (size_t)(rows_out ? (rows_out - 1) * ldo + wide_out : 0);
		uint8_t *out = check_bytes(out_size, 1), *before = check_bytes(out_size, 1);
		memcpy(before, out, out_size);
		if (down)
			k->resample_down(&x, other, in, ldi, out, ldo);
		else
			k->resample_across(&x, other, channels, in, ldi, out, ldo);
		int64_t wrong = 0;
		for (int64_t r = 0; r < rows_out; r++)
			for (int64_t c = 0; c < (r + 1 < rows_out ? ldo : wide_out); c++) {
				int want = before[r * ldo + c];
				if (c < wide_out && down)
					want = exact_sum(&x, (int32_t)r, in + c, ldi);
				else if (c < wide_out)
					want = exact_sum(&x, (int32_t)(c / channels), in + r * ldi + c % channels, channels);
				wrong += out[r * ldo + c] != want;
			}
		bool bounds = check_end();
		check_case(!wrong && bounds, "%s, %d to %d, %d channels, other side %lld%s: %lld bytes differ%s", down ? "down" : "across", (int)n_in, (int)n_out,
		           (int)channels, (long long)other, narrow ? ", narrow" : "", (long long)wrong, bounds ? "" : ", writes outside");
	}
}

typedef struct {
	const kernels *k;
	resample x;
	const uint8_t *in;
	uint8_t *out;
	bool down;
} resample_work;

static void run_resample(void *arg, int64_t task, void *scratch)
{
	const resample_work *w = arg;
	(void)task;
	(void)scratch;
	if (w->down)
		w->k->resample_down(&w->x, 3L * 224, w->in, 3L * 224, w->out, 3L * 224);
	else
		w->k->resample_across(&w->x, 768, 3, w->in, 3L * 1024, w->out, 3L * 224);
}

/* The positions of a bilinear resize, which is all that the time depends on. */
static void spread(resample *x)
{
	for (int32_t i = 0; i < x->n_out; i++) {
		((int32_t *)x->count)[i] = (int32_t)int_min(x->taps, 2 * x->n_in / x->n_out);
		((int32_t *)x->lo)[i] = (int32_t)int_min((int64_t)i * x->n_in / x->n_out, x->n_in - x->count[i]);
	}
}

static void bench_resample(const kernels *k)
{
	for (int i = 0; i < 4; i++) {
		resample_work w = {.k = k, .down = i & 1};
		do {
			check_begin();
			w.x = random_axis(w.down ? 768 : 1024, 224, i & 2);
		} while (w.x.taps != 12);
		spread(&w.x);
		w.in = random_bytes(768L * 1024 * 3);
		w.out = check_bytes(768L * 224 * 3, 1);
		double read = w.down ? 768.0 * 224 * 3 : 768.0 * 1024 * 3;
		bench_run(&(bench_work){.task = run_resample, .arg = &w, .tasks = 1}, read, "GB/s", "%s, %s weights", w.down ? "768 to 224 down" : "1024 to 224 across",
		          w.x.narrow ? "16-bit" : "wide");
		check_end();
	}
}

const check_entry check_resampling[] = {
	{"resample", check_resample, bench_resample},
	{NULL, NULL, NULL},
};
