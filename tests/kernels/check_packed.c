/*
 * check_packed.c - products with weights made ready, in every precision: packs, narrow rows, epilogues, tails, and equal bits
 * however a product is cut.
 *
 * The reference rounds the factors as kernels.h says and sums in double, so bounds hold sums and epilogue alone:
 *   F32, BF16  u (words in a chain + chains + 3) sum |a b|, two additions a word for BF16, and for BF16 what factors and sums
 *              below 2^-126, taken as 0, may add
 *   INT8       the sum is exact; three roundings of the result: into f32, by the scales' product, by that
 */
#include "check.h"

#include <math.h>
#include <string.h>

typedef struct {
	precision as;
	dtype type;
	int64_t m, n, k;
	bool bias;
	act_kind act;
	int residual; /* 0 none, 1 apart, 2 c itself */
} shape;

typedef struct {
	matrix x;           /* [m, k] before rounding */
	uint8_t *b;         /* [n, k] of the type */
	gemm_pack *pack;
	gemm_call call;
	matrix c, before;
	float *a, *w;       /* [m, k], [n, k]: the factors as rounded, INT8 as whole numbers */
	float *a_scale, *w_scale;
} problem;

static float stored(const uint8_t *at, dtype type)
{
	float x;
	uint16_t half;
	memcpy(&x, at, type == DT_F32 ? 4 : 0);
	memcpy(&half, at, 2);
	return type == DT_F32 ? x : type == DT_F16 ? dtype_half(half) : dtype_bfloat(half);
}

/* A row as the precision rounds it, by the definition. */
static float round_row(precision as, int64_t k, const float *x, float *y)
{
	float most = 0;
	for (int64_t i = 0; i < k; i++)
		most = fmaxf(most, fabsf(x[i]));
	float factor = most < 0x1p-100f ? 0 : 127 / most;
	for (int64_t i = 0; i < k; i++)
		y[i] = as == PRECISION_F32 ? x[i] : as == PRECISION_BF16 ? dtype_bfloat(dtype_to_bfloat(x[i])) : nearbyintf(x[i] * factor);
	return as != PRECISION_INT8 ? 1 : most < 0x1p-100f ? 0 : most / 127;
}

static void make_weights(problem *p, const shape *s, const kernels *k)
{
	int64_t size = (int64_t)dtype_size(s->type), ldb = s->k + check_between(0, 3);
	p->b = check_bytes((size_t)(s->n ? ((s->n - 1) * ldb + s->k) * size : 0), (size_t)size);
	p->w = check_floats(s->n * s->k);
	p->w_scale = check_floats(s->n);
	for (int64_t j = 0; j < s->n; j++) {
		float *row = p->w + j * s->k;
		for (int64_t i = 0; i < s->k; i++) {
			uint8_t *at = p->b + (j * ldb + i) * size;
			uint16_t half = s->type == DT_BF16 ? dtype_to_bfloat(row[i]) : (uint16_t)((check_random() & 0x83FF) | (uint64_t)check_between(11, 15) << 10);
			if (s->type == DT_F32)
				memcpy(at, &row[i], 4);
			else
				memcpy(at, &half, 2);
			row[i] = stored(at, s->type);
		}
		p->w_scale[j] = round_row(s->as, s->k, row, row);
	}
	p->pack = check_bytes(sizeof *p->pack, 64);
	*p->pack = (gemm_pack){.as = s->as, .n = s->n, .k = s->k};
	p->pack->data = check_bytes(k->pack_size(s->as, s->n, s->k), 64);
	for (int64_t t = k->pack_tasks(p->pack) - 1; t >= 0; t--)
		k->pack_run(p->pack, s->type, p->b, ldb, t);
}

static problem make(const shape *s, const kernels *k)
{
	problem p = {0};
	int64_t words = narrow_words(s->as, s->k), ldc = s->n + check_between(0, 9);
	int64_t lda = check_random() % 8 ? words + check_between(0, 5) : (words / 512 + 1) * 512;
	make_weights(&p, s, k);
	p.x = check_matrix(s->m, s->k, s->k + check_between(0, 5));
	for (int64_t i = 0; i < s->m * s->k && s->k && check_random() % 4 == 0; i += 1 + check_between(0, 40)) /* rows of all sizes, zeros too */
		p.x.at[i / s->k * p.x.ld + i % s->k] *= (float)ldexp(1, (int)check_between(-40, 40)) * (float)check_between(0, 1);
	matrix narrow = check_output(s->m, words, lda);
	k->narrow(s->as, s->m, s->k, p.x.at, p.x.ld, narrow.at, lda);
	check_case(check_bounds(narrow), "narrow %s: wrote between rows of %d words", precision_name(s->as), (int)words);
	p.a = check_floats(s->m * s->k);
	p.a_scale = check_floats(s->m);
	for (int64_t i = 0; i < s->m; i++)
		p.a_scale[i] = round_row(s->as, s->k, p.x.at + i * p.x.ld, p.a + i * s->k);
	p.c = s->residual == 2 ? check_matrix(s->m, s->n, ldc) : check_output(s->m, s->n, ldc);
	p.before = check_matrix(s->m, s->n, s->n + 3);
	for (int64_t i = 0; i < s->m && s->residual == 2 && s->n; i++)
		memcpy(p.before.at + i * p.before.ld, p.c.at + i * ldc, (size_t)s->n * 4);
	p.call = (gemm_call){.form = GEMM_NT, .m = s->m, .n = s->n, .k = s->k, .a = narrow.at, .lda = lda, .c = p.c.at, .ldc = ldc};
	p.call.act = s->act;
	p.call.pack = p.pack;
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

static double act_of(act_kind kind, double x)
{
	return kind == ACT_RELU ? fmax(x, 0) : kind == ACT_GELU ? 0.5 * x * (1 + erf(x * 0.70710678118654752)) : x;
}

/* what rounding may add to the sum of a row and a column */
static double sum_bound(const shape *s, double sum, double size, double factors)
{
	double values = fmin((double)s->k, s->as == PRECISION_BF16 ? 2048 : 1024), chains = (double)s->k / 128 + 3;
	if (s->as == PRECISION_INT8)
		return 3 * CHECK_EPS * fabs(sum);
	return (values + chains) * CHECK_EPS * size + (s->as == PRECISION_BF16 ? 0x1p-126 * (factors + (double)s->k) : 1e-45 * (double)s->k);
}

static void compare(const problem *p, const shape *s, verdict *v)
{
	for (int64_t i = 0; i < s->m; i++)
		for (int64_t j = 0; j < s->n; j++) {
			const float *a = p->a + i * s->k, *w = p->w + j * s->k;
			double sum = 0, size = 0, factors = 0;
			for (int64_t q = 0; q < s->k; q++) {
				sum += (double)a[q] * w[q];
				size += fabs((double)a[q] * w[q]);
				factors += fabs((double)a[q]) + fabs((double)w[q]);
			}
			sum *= (double)p->a_scale[i] * p->w_scale[j];
			double bound = sum_bound(s, sum, size, factors);
			if (p->call.bias) {
				sum += (double)p->call.bias[j];
				bound += CHECK_EPS * (fabs(sum) + bound);
			}
			if (s->act != ACT_NONE) {
				sum = act_of(s->act, sum);
				bound = 1.13 * bound + 1e-6 * fmax(1, fabs(sum)); /* 1.13: the steepest slope of GELU */
			}
			if (s->residual) {
				sum += (double)p->before.at[i * p->before.ld + j];
				bound += CHECK_EPS * (fabs(sum) + bound);
			}
			check_near(v, i, j, p->c.at[i * p->c.ld + j], sum, bound * 1.0001);
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
	check_case(v.worst <= 1 && bounds && ends, "%s of %s m=%d n=%d k=%d bias=%d act=%d residual=%d: [%d,%d] %.9g want %.9g, %.2f of the bound%s",
	           precision_name(s->as), dtype_name(s->type), (int)s->m, (int)s->n, (int)s->k, s->bias, (int)s->act, s->residual, (int)v.row, (int)v.column,
	           v.got, v.want, v.worst, bounds && ends ? "" : ", wrote out of bounds");
}

static void check_packed_gemm(const kernels *k)
{
	static const int64_t ms[] = {0, 1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 29}, ns[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 65};
	static const int64_t ks[] = {0, 1, 2, 3, 4, 5, 15, 16, 33, 67};
	static const int64_t large[][3] = {{40, 130, 700}, {9, 65, 2050}, {1, 515, 513}, {350, 70, 50}, {15, 33, 4100}, {3, 40, 9000}, {16, 40, 1024}};
	static const act_kind acts[] = {ACT_NONE, ACT_NONE, ACT_RELU, ACT_GELU};
	for (int as = 0; as < PRECISIONS; as++)
		for (int type = DT_F32; type <= DT_BF16; type++) {
			for (size_t x = 0; x < COUNT_OF(ms) * COUNT_OF(ns) * COUNT_OF(ks); x++) {
				if (type != DT_F32 && check_random() % 4)
					continue;
				shape s = {.as = (precision)as, .type = (dtype)type, .m = ms[x % COUNT_OF(ms)], .n = ns[x / COUNT_OF(ms) % COUNT_OF(ns)]};
				s.k = ks[x / COUNT_OF(ms) / COUNT_OF(ns)];
				s.bias = check_random() % 2;
				s.act = acts[check_random() % COUNT_OF(acts)];
				s.residual = (int)(check_random() % 3);
				one(k, &s);
			}
			for (size_t i = 0; i < COUNT_OF(large); i++) {
				shape s = {.as = (precision)as, .type = (dtype)type, .m = large[i][0], .n = large[i][1], .k = large[i][2]};
				s.bias = i % 2;
				s.residual = (int)(i % 3);
				one(k, &s);
			}
		}
}

/* C of narrow rows must be C, rounded. */
static bool same_rounded(const kernels *k, const problem *p)
{
	int64_t words = p->call.n / 2;
	matrix want = check_output(p->call.m, words, words), got = check_output(p->call.m, words, words + 3);
	gemm_call call = p->call;
	k->narrow(PRECISION_BF16, call.m, call.n, p->c.at, p->c.ld, want.at, want.ld);
	call.c_as = PRECISION_BF16;
	call.c = got.at;
	call.ldc = got.ld;
	run(k, &call, false);
	return check_same(got, want) && check_bounds(got);
}

/* The bits of a row must not depend on the other rows, nor on the order of tasks; those of f32 are gemm's from 8 rows. */
static void check_packed_bits(const kernels *k)
{
	static const int64_t sizes[][3] = {{40, 130, 700}, {61, 70, 512}, {380, 40, 90}, {29, 100, 2100}, {5, 77, 301}};
	for (int as = 0; as < PRECISIONS; as++)
		for (size_t i = 0; i < COUNT_OF(sizes); i++) {
			shape s = {.as = (precision)as, .m = sizes[i][0], .n = sizes[i][1], .k = sizes[i][2], .bias = true, .act = ACT_GELU, .residual = 1};
			check_begin();
			problem p = make(&s, k);
			run(k, &p.call, false);
			matrix again = check_output(s.m, s.n, s.n);
			gemm_call other = p.call;
			other.c = again.at;
			other.ldc = again.ld;
			run(k, &other, true);
			bool order = check_same(again, p.c), alone = true, unpacked = true;
			for (int64_t rows = 1; rows <= 5; rows += 2) {
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
			if (s.as == PRECISION_F32 && s.m >= 8) {
				other = p.call;
				other.pack = NULL;
				other.b = p.w;
				other.ldb = s.k;
				other.c = again.at;
				other.ldc = again.ld;
				run(k, &other, false);
				unpacked = check_same(again, p.c);
				other.m = 3;
				other.whole = true;
				run(k, &other, false);
				unpacked &= check_same(check_part(again, 0, 3), check_part(p.c, 0, 3));
			}
			bool narrow = s.n % 2 || same_rounded(k, &p);
			check_case(check_end() && order && alone && unpacked && narrow, "%s m=%d n=%d k=%d: other bits %s", precision_name(s.as), (int)s.m, (int)s.n,
			           (int)s.k, !order ? "with tasks reversed" : !alone ? "for some rows alone" : !unpacked ? "without a pack" : "as narrow rows");
		}
}

/* Narrow rows by the definition, to the bit; what is no number must not go unseen. */
static void check_narrow(const kernels *k)
{
	static const float odd[] = {INFINITY, -INFINITY, NAN, 0, -0.0f, 0x1p-101f, 3e38f, 0x1.01p0f, 0x1.03p0f};
	for (int64_t width = 0; width < 70; width++)
		for (int as = PRECISION_BF16; as < PRECISIONS; as++) {
			check_begin();
			int64_t words = narrow_words((precision)as, width);
			float *x = check_floats(width), *y = check_output(1, words, words).at, *want = check_floats(width);
			if (width && width % 3 == 0)
				x[check_between(0, width - 1)] = odd[check_random() % COUNT_OF(odd)];
			k->narrow((precision)as, 1, width, x, width, y, words);
			float scale = round_row((precision)as, width, x, want), got = 0;
			bool finite = true, same = true;
			for (int64_t i = 0; i < width; i++)
				finite &= isfinite(x[i]) != 0;
			if (as == PRECISION_INT8)
				memcpy(&got, y, 4);
			for (int64_t i = 0; i < words * (as == PRECISION_INT8 ? 4 : 2) - (as == PRECISION_INT8 ? 4 : 0) && finite; i++) {
				float is = as == PRECISION_INT8 ? (float)((uint8_t *)y)[4 + i] - 128 : dtype_bfloat(((uint16_t *)(void *)y)[i]);
				same &= is == (i < width ? want[i] : 0);
			}
			if (as == PRECISION_INT8)
				same &= finite ? got == scale : isnan(got);
			for (int64_t i = 0; i < width && as == PRECISION_BF16 && !finite; i++) {
				float is = dtype_bfloat(((uint16_t *)(void *)y)[i]);
				same &= is == want[i] || (isnan(is) && isnan(x[i]));
			}
			check_case(check_end() && same, "%s, width %d: not as defined", precision_name((precision)as), (int)width);
		}
}

static void bench_packed(const kernels *k)
{
	static const struct {
		int64_t m, n, k;
		act_kind act;
	} cases[] = {{197, 768, 768, ACT_NONE},  {197, 3072, 768, ACT_NONE},         {197, 3072, 768, ACT_GELU}, {197, 768, 3072, ACT_NONE},
	             {3152, 768, 768, ACT_NONE}, {257, 4096, 1024, ACT_QUICK_GELU}, {32, 768, 768, ACT_NONE},   {8, 768, 768, ACT_NONE},
	             {1, 4096, 4096, ACT_NONE}};
	for (int as = 0; as < PRECISIONS; as++)
		for (size_t i = 0; i < COUNT_OF(cases); i++) {
			shape s = {.as = (precision)as, .m = cases[i].m, .n = cases[i].n, .k = cases[i].k, .act = cases[i].act, .bias = true};
			check_begin();
			problem p = make(&s, k);
			bench_product t = {.k = k, .call = p.call};
			bench_work w = bench_product_work(&t);
			bench_run(&w, 2.0 * (double)(s.m * s.n * s.k), "GFLOP/s", "%s m=%d n=%d k=%d%s", precision_name(s.as), (int)s.m,
			          (int)s.n, (int)s.k, s.act ? " act" : "");
			check_end();
		}
}

const check_entry check_packed[] = {
	{"packed", check_packed_gemm, bench_packed},
	{"packed_bits", check_packed_bits, NULL},
	{"narrow", check_narrow, NULL},
	{NULL, NULL, NULL},
};
