/*
 * check_blocks.c - products with weights in blocks (kernels/quant.h): every format, few rows and many, epilogues, tails, equal bits
 * however a product is cut, and the narrow rows they read.
 *
 * The reference takes the rows as rounded and the blocks as they lie, and sums in double. A group of weights d q + m times dx xq is
 * exact but for its sum in whole numbers being scaled; so an output may be off by
 *   u (groups + 8) sum over groups of (|d| dx sum |q xq| + |m| dx sum |xq|)
 * which also bounds what multiplying by q of another origin (q - 8, q - 128) leaves in rounding m.
 */
#include "check.h"
#include "kernels/quant.h"

#include <math.h>
#include <string.h>

typedef struct {
	dtype type;
	int64_t m, n, k;
	bool bias;
	act_kind act;
	int residual; /* 0 none, 1 apart, 2 c itself */
} shape;

typedef struct {
	gemm_call call;
	matrix c, before;
	uint8_t *b;
	float *a, *dx; /* [m, k] whole numbers, [m, k / 32] */
} problem;

static const struct {
	int half, many; /* where f16 scales are, how many */
} places[DT_COUNT] = {[DT_Q4_0] = {0, 1}, [DT_Q4_1] = {0, 2}, [DT_Q5_0] = {0, 1}, [DT_Q5_1] = {0, 2}, [DT_Q8_0] = {0, 1}, [DT_Q4_K] = {0, 2},
	[DT_Q5_K] = {0, 2}, [DT_Q6_K] = {208, 1}};

/* Any bytes are blocks; scales of moderate size. */
static uint8_t *make_blocks(dtype type, int64_t n, int64_t k)
{
	size_t size = dtype_bytes(type, dtype_block(type)), all = dtype_bytes(type, n * k);
	uint8_t *b = check_bytes(all, 2);
	for (size_t i = 0; i < all; i++)
		b[i] = (uint8_t)check_random();
	for (size_t at = 0; at < all; at += size)
		for (int i = 0; i < places[type].many; i++) {
			uint16_t half = (uint16_t)((check_random() & 0x83FF) | (uint64_t)check_between(7, 15) << 10);
			memcpy(b + at + places[type].half + 2 * i, &half, 2);
		}
	return b;
}

static problem make(const shape *s, const kernels *k)
{
	problem p = {.b = make_blocks(s->type, s->n, s->k)};
	int64_t words = narrow_words(PRECISION_BLOCKS, s->k), lda = words + 16 * check_between(0, 2), ldc = s->n + check_between(0, 9), groups = s->k / 32;
	matrix x = check_matrix(s->m, s->k, s->k + check_between(0, 5)), narrow = check_output(s->m, words, lda);
	for (int64_t i = 0; i < s->m * s->k && s->k && check_random() % 4 == 0; i += 1 + check_between(0, 40))
		x.at[i / s->k * x.ld + i % s->k] *= (float)ldexp(1, (int)check_between(-20, 20)) * (float)check_between(0, 1);
	k->narrow(PRECISION_BLOCKS, s->m, s->k, x.at, x.ld, narrow.at, lda);
	check_case(check_bounds(narrow), "narrow blocks: wrote between rows of %d words", (int)words);
	p.a = check_floats(s->m * s->k);
	p.dx = check_floats(s->m * groups);
	for (int64_t i = 0; i < s->m; i++)
		for (int64_t g = 0; g < groups; g++) {
			float most = 0;
			for (int j = 0; j < 32; j++)
				most = fmaxf(most, fabsf(x.at[i * x.ld + g * 32 + j]));
			p.dx[i * groups + g] = most < 0x1p-100f ? 0 : most / 127;
			for (int j = 0; j < 32; j++)
				p.a[i * s->k + g * 32 + j] = most < 0x1p-100f ? 0 : nearbyintf(x.at[i * x.ld + g * 32 + j] * (127 / most));
		}
	p.c = s->residual == 2 ? check_matrix(s->m, s->n, ldc) : check_output(s->m, s->n, ldc);
	p.before = check_matrix(s->m, s->n, s->n + 3);
	for (int64_t i = 0; i < s->m && s->residual == 2 && s->n; i++)
		memcpy(p.before.at + i * p.before.ld, p.c.at + i * ldc, (size_t)s->n * 4);
	p.call = (gemm_call){.form = GEMM_NT, .m = s->m, .n = s->n, .k = s->k, .a = narrow.at, .lda = lda, .b = p.b, .ldb = s->k, .b_type = s->type,
		.c = p.c.at, .ldc = ldc, .act = s->act};
	p.call.bias = s->bias ? check_floats(s->n) : NULL;
	p.call.residual = s->residual == 2 ? p.c.at : s->residual ? p.before.at : NULL;
	p.call.ldr = s->residual == 2 ? ldc : p.before.ld;
	return p;
}

static void run(const kernels *k, const gemm_call *call, bool reverse)
{
	gemm_call larger = *call;
	larger.m += check_between(0, 50);
	check_product(k, call, &larger, reverse);
}

static void compare(const problem *p, const shape *s, verdict *v)
{
	int group = quant_group(s->type);
	int64_t groups = s->k / group;
	uint8_t *q = check_bytes((size_t)s->k, 1);
	float *d = check_floats(groups), *m = check_floats(groups);
	for (int64_t j = 0; j < s->n; j++) {
		const uint8_t *row = p->b + dtype_bytes(s->type, j * s->k);
		quant_unpack(s->type, s->k, row, q);
		quant_scales(s->type, s->k, row, d, m);
		for (int64_t i = 0; i < s->m; i++) {
			double sum = 0, size = 0;
			for (int64_t g = 0; g < groups; g++) {
				double dot = 0, ones = 0, dots = 0, all = 0, dx = (double)p->dx[i * (s->k / 32) + g * group / 32];
				for (int64_t l = g * group; l < (g + 1) * group; l++) {
					double x = (double)p->a[i * s->k + l];
					dot += q[l] * x;
					ones += x;
					dots += q[l] * fabs(x);
					all += fabs(x);
				}
				sum += dx * ((double)d[g] * dot + (double)m[g] * ones);
				size += dx * (fabs((double)d[g]) * dots + fabs((double)m[g]) * all);
			}
			double bound = CHECK_EPS * (double)(groups + 8) * size + 1e-45 * (double)s->k;
			if (p->call.bias) {
				sum += (double)p->call.bias[j];
				bound += CHECK_EPS * (fabs(sum) + bound);
			}
			if (s->act == ACT_RELU)
				sum = fmax(sum, 0);
			if (s->residual) {
				sum += (double)p->before.at[i * p->before.ld + j];
				bound += CHECK_EPS * (fabs(sum) + bound);
			}
			check_near(v, i, j, p->c.at[i * p->c.ld + j], sum, bound * 1.0001);
		}
	}
}

static void one(const kernels *k, const shape *s)
{
	check_begin();
	problem p = make(s, k);
	run(k, &p.call, false);
	verdict v = {0};
	compare(&p, s, &v);
	bool bounds = check_bounds(p.c), ends = check_end();
	check_case(v.worst <= 1 && bounds && ends, "%s m=%d n=%d k=%d bias=%d act=%d residual=%d: [%d,%d] %.9g want %.9g, %.2f of the bound%s",
	           dtype_name(s->type), (int)s->m, (int)s->n, (int)s->k, s->bias, (int)s->act, s->residual, (int)v.row, (int)v.column, v.got, v.want, v.worst,
	           bounds && ends ? "" : ", wrote out of bounds");
}

static void check_blocks_gemm(const kernels *k)
{
	static const int64_t ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 19}, ns[] = {0, 1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 65};
	static const int64_t large[][3] = {{1, 515, 1536}, {70, 70, 512}, {530, 33, 256}, {12, 130, 4096}, {3, 40, 8192}};
	for (int type = DT_Q4_0; type < DT_COUNT; type++) {
		for (size_t x = 0; x < COUNT_OF(ms) * COUNT_OF(ns); x++) {
			shape s = {.type = (dtype)type, .m = ms[x % COUNT_OF(ms)], .n = ns[x / COUNT_OF(ms)], .k = dtype_block((dtype)type) * check_between(1, 5)};
			s.bias = check_random() % 2;
			s.act = check_random() % 2 ? ACT_RELU : ACT_NONE;
			s.residual = (int)(check_random() % 3);
			one(k, &s);
		}
		for (size_t i = 0; i < COUNT_OF(large); i++) {
			shape s = {.type = (dtype)type, .m = large[i][0], .n = large[i][1], .k = large[i][2], .bias = i % 2, .residual = (int)(i % 3)};
			one(k, &s);
		}
	}
}

/* The bits of a row must not depend on the order of tasks, nor, from 8 rows and below 8, on the other rows. */
static void check_blocks_bits(const kernels *k)
{
	static const int64_t sizes[][3] = {{40, 130, 768}, {530, 40, 256}, {7, 70, 512}};
	for (int type = DT_Q4_0; type < DT_COUNT; type++)
		for (size_t i = 0; i < COUNT_OF(sizes); i++) {
			shape s = {.type = (dtype)type, .m = sizes[i][0], .n = sizes[i][1], .k = sizes[i][2], .bias = true, .residual = 1};
			check_begin();
			problem p = make(&s, k);
			run(k, &p.call, false);
			matrix again = check_output(s.m, s.n, s.n);
			gemm_call other = p.call;
			other.c = again.at;
			other.ldc = again.ld;
			run(k, &other, true);
			bool order = check_same(again, p.c), alone = true;
			for (int64_t rows = s.m < 8 ? 1 : 8; rows <= (s.m < 8 ? 5 : 11); rows += 2) {
				int64_t row = check_between(0, s.m - rows);
				other = p.call;
				other.m = rows;
				other.a += row * other.lda;
				other.residual += row * other.ldr;
				other.c = again.at;
				other.ldc = again.ld;
				run(k, &other, false);
				alone &= check_same(check_part(again, 0, rows), check_part(p.c, row, rows));
			}
			check_case(check_end() && order && alone, "%s m=%d n=%d k=%d: other bits %s", dtype_name(s.type), (int)s.m, (int)s.n, (int)s.k,
			           !order ? "with tasks reversed" : "for some rows alone");
		}
}

/* A group that holds an infinity or a NaN must not look like numbers. */
static void check_blocks_odd(const kernels *k)
{
	static const float odd[] = {INFINITY, -INFINITY, NAN};
	for (size_t i = 0; i < COUNT_OF(odd); i++)
		for (int64_t m = 1; m <= 9; m += 8) {
			check_begin();
			int64_t words = narrow_words(PRECISION_BLOCKS, 64);
			float *x = check_floats(m * 64), *y = check_output(m, words, words).at, *c = check_output(m, 8, 8).at;
			x[40] = odd[i];
			k->narrow(PRECISION_BLOCKS, m, 64, x, 64, y, words);
			gemm_call call = {.form = GEMM_NT, .m = m, .n = 8, .k = 64, .a = y, .lda = words, .b = make_blocks(DT_Q8_0, 8, 64), .ldb = 64, .b_type = DT_Q8_0,
				.c = c, .ldc = 8};
			run(k, &call, false);
			bool seen = true;
			for (int j = 0; j < 8; j++)
				seen &= isnan(c[j]) && (m == 1 || isfinite(c[8 + j]));
			check_case(check_end() && seen, "a row with %g gives numbers", (double)odd[i]);
		}
}

static void bench_blocks(const kernels *k)
{
	static const int64_t cases[][3] = {{1, 49152, 576}, {1, 1536, 576}, {4, 49152, 576}, {37, 1536, 576}, {512, 1536, 576}, {512, 576, 1536},
		{512, 4096, 4096}};
	for (int type = DT_Q4_0; type < DT_COUNT; type++)
		for (size_t i = 0; i < COUNT_OF(cases); i++) {
			shape s = {.type = (dtype)type, .m = cases[i][0], .n = cases[i][1], .k = cases[i][2]};
			if (s.k % dtype_block(s.type))
				s.k = 512;
			check_begin();
			problem p = make(&s, k);
			bench_product t = {.k = k, .call = p.call};
			bench_work w = bench_product_work(&t);
			double amount = s.m < 8 ? (double)dtype_bytes(s.type, s.n * s.k) : 2.0 * (double)(s.m * s.n * s.k);
			bench_run(&w, amount, s.m < 8 ? "GB/s of B" : "GOP/s", "%s m=%d n=%d k=%d", dtype_name(s.type), (int)s.m, (int)s.n, (int)s.k);
			check_end();
		}
}

const check_entry check_blocks[] = {
	{"blocks", check_blocks_gemm, bench_blocks},
	{"blocks_bits", check_blocks_bits, NULL},
	{"blocks_odd", check_blocks_odd, NULL},
	{NULL, NULL, NULL},
};
