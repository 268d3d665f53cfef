/*
 * check_products.c - the matrix product: all forms, types of B, epilogues, tails, and equal bits however it is cut.
 *
 * Bound of an element before the epilogue: u (min(k, depth) + k / depth + 3) sum |a b|, the textbook bound of a chain of
 * fused multiply-adds cut into partial sums (Higham, Accuracy and Stability, section 3.1), with no level's
 * depth above 1024, and no block of k shorter than 128 where there are several.
 */
#include "check.h"

#include <math.h>
#include <string.h>

typedef struct {
	gemm_form form;
	dtype type;
	int64_t m, n, k;
	bool bias, strided, extreme;
	act_kind act;
	int residual; /* 0 none, 1 apart, 2 c itself */
	bool rounded; /* factors are bfloat16 already, and rounded again on the way */
} shape;

typedef struct {
	gemm_call call;
	matrix a, c, c_before;
	float *bias;
	uint8_t *b;
	matrix residual;
	int64_t b_rows, b_width;
} problem;

static const char *const form_names[] = {"NT", "NN", "TN"};

static float b_at(const problem *p, int64_t r, int64_t c)
{
	const uint8_t *at = p->b + (r * p->call.ldb + c) * (int64_t)dtype_size(p->call.b_type);
	uint16_t half;
	float x;
	if (p->call.b_type == DT_F32) {
		memcpy(&x, at, 4);
		return x;
	}
	memcpy(&half, at, 2);
	return p->call.b_type == DT_F16 ? dtype_half(half) : dtype_bfloat(half);
}

/* a value of the type, as its bits; halves with exponents about 1 */
static void put(uint8_t *at, dtype type)
{
	float x = check_value();
	uint16_t half = type == DT_BF16
	                    ? dtype_to_bfloat(x)
	                    : (uint16_t)((check_random() & 0x83FF) | (uint64_t)check_between(check_random() % 16 ? 11 : 0, 15) << 10);
	if (type == DT_F32)
		memcpy(at, &x, 4);
	else
		memcpy(at, &half, 2);
}

static problem make(const shape *s)
{
	static const float extremes[] = {0, -0.0f, 1e15f, 1e30f, 1e-25f, 1e-38f, 1e-44f, INFINITY};
	problem p = {0};
	int64_t pad = s->strided ? check_between(1, 9) : 0;
	int64_t a_rows = s->form == GEMM_TN ? s->k : s->m, a_width = s->form == GEMM_TN ? s->m : s->k;
	p.b_rows = s->form == GEMM_NT ? s->n : s->k;
	p.b_width = s->form == GEMM_NT ? s->k : s->n;
	p.a = check_matrix(a_rows, a_width, a_width + pad);
	for (int64_t r = 0; r < a_rows && s->extreme; r++)
		for (int64_t c = 0; c < a_width; c++)
			if (check_random() % 4 == 0)
				p.a.at[r * p.a.ld + c] *= extremes[check_random() % COUNT_OF(extremes)];
	int64_t ldb = p.b_width + (s->strided ? check_between(1, 9) : 0), size = (int64_t)dtype_size(s->type);
	int64_t count = p.b_rows ? (p.b_rows - 1) * ldb + p.b_width : 0;
	p.b = check_bytes((size_t)(count * size), (size_t)size);
	for (int64_t r = 0; r < p.b_rows; r++)
		for (int64_t c = 0; c < p.b_width; c++)
			put(p.b + (r * ldb + c) * size, s->type);
	int64_t ldc = s->n + (s->strided ? check_between(1, 9) : 0);
	p.c = s->residual == 2 ? check_matrix(s->m, s->n, ldc) : check_output(s->m, s->n, ldc);
	if (s->residual == 2) {
		p.c_before = check_output(s->m, s->n, s->n);
		for (int64_t r = 0; r < s->m; r++)
			memcpy(p.c_before.at + r * s->n, p.c.at + r * ldc, (size_t)s->n * 4);
	} else if (s->residual == 1) {
		p.c_before = check_matrix(s->m, s->n, s->n + pad);
	}
	for (int64_t r = 0; r < a_rows && s->rounded; r++)
		for (int64_t c = 0; c < a_width; c++)
			p.a.at[r * p.a.ld + c] = dtype_bfloat(dtype_to_bfloat(p.a.at[r * p.a.ld + c]));
	for (int64_t r = 0; r < p.b_rows && s->rounded; r++)
		for (int64_t c = 0; c < p.b_width; c++) {
			float x;
			memcpy(&x, p.b + (r * ldb + c) * 4, 4);
			x = dtype_bfloat(dtype_to_bfloat(x));
			memcpy(p.b + (r * ldb + c) * 4, &x, 4);
		}
	p.bias = s->bias ? check_floats(s->n) : NULL;
	p.call = (gemm_call){
		.form = s->form,
		.m = s->m,
		.n = s->n,
		.k = s->k,
		.a = p.a.at,
		.lda = p.a.ld,
		.b = p.b,
		.ldb = ldb,
		.b_type = s->type,
		.c = p.c.at,
		.ldc = ldc,
		.bias = p.bias,
		.act = s->act,
		.residual = s->residual == 2 ? p.c.at
		            : s->residual    ? p.c_before.at
		                             : NULL,
		.ldr = s->residual == 2 ? ldc : p.c_before.ld,
		.products = s->rounded ? PRECISION_BF16 : PRECISION_F32,
	};
	return p;
}

static void run(const kernels *k, const gemm_call *call, bool reverse)
{
	gemm_call larger = *call;
	larger.m += check_between(0, 50);
	larger.n += check_between(0, 300);
	larger.k += check_between(0, 500);
	check_product(k, call, &larger, reverse);
}

static double act_of(act_kind kind, double x)
{
	switch (kind) {
	case ACT_RELU:
		return x > 0 ? x : 0;
	case ACT_GELU:
		return 0.5 * x * (1 + erf(x * 0.70710678118654752));
	case ACT_SILU:
		return x / (1 + exp(-x));
	default:
		return x;
	}
}

static void compare(const problem *p, const shape *s, verdict *v)
{
	for (int64_t i = 0; i < s->m; i++)
		for (int64_t j = 0; j < s->n; j++) {
			double sum = 0, size = 0;
			for (int64_t q = 0; q < s->k; q++) {
				double a = s->form == GEMM_TN ? p->a.at[q * p->a.ld + i] : p->a.at[i * p->a.ld + q];
				double b = s->form == GEMM_NT ? b_at(p, j, q) : b_at(p, q, j);
				sum += a * b;
				size += fabs(a * b);
			}
			double chain = fmin((double)s->k, 1024) + (double)s->k / 128 + 3;
			double bound = chain * CHECK_EPS * size + 1e-45 * (double)s->k; /* what underflow adds */
			if (p->bias) {
				sum += p->bias[j];
				bound += CHECK_EPS * fabs(sum);
			}
			if (s->act != ACT_NONE) {
				sum = act_of(s->act, sum);
				bound = 1.13 * bound + 1e-6 * fmax(1, fabs(sum)); /* 1.13: the steepest slope of GELU */
			}
			if (s->residual) {
				sum += p->c_before.at[i * p->c_before.ld + j];
				bound += CHECK_EPS * fabs(sum);
			}
			check_near(v, i, j, p->c.at[i * p->c.ld + j], sum, bound * 1.0001);
		}
}

static void one(const kernels *k, const shape *s)
{
	check_begin();
	problem p = make(s);
	run(k, &p.call, false);
	verdict v = {0};
	compare(&p, s, &v);
	bool bounds = check_bounds(p.c), ends = check_end();
	check_case(v.worst <= 1 && bounds && ends,
	           "%s %s m=%d n=%d k=%d bias=%d act=%d residual=%d: [%d,%d] %.9g want %.9g, %.2f of the bound%s",
	           form_names[s->form], dtype_name(s->type), (int)s->m, (int)s->n, (int)s->k, s->bias, (int)s->act, s->residual,
	           (int)v.row, (int)v.column, v.got, v.want, v.worst, bounds && ends ? "" : ", wrote out of bounds");
}

static void check_gemm(const kernels *k)
{
	static const int64_t ms[] = {0, 1, 2, 3, 5, 7, 8, 9, 12, 13, 14, 15, 27, 29}, ns[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 65};
	static const int64_t ks[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33};
	static const act_kind acts[] = {ACT_NONE, ACT_NONE, ACT_RELU, ACT_GELU, ACT_SILU};
	for (int form = 0; form < 3; form++)
		for (int type = DT_F32; type <= DT_BF16; type++)
			for (size_t i = 0; i < COUNT_OF(ms); i++)
				for (size_t j = 0; j < COUNT_OF(ns); j++)
					for (size_t q = 0; q < COUNT_OF(ks); q++) {
						if (type != DT_F32 && check_random() % 4)
							continue;
						shape s = {.form = (gemm_form)form, .type = (dtype)type, .m = ms[i], .n = ns[j], .k = ks[q]};
						s.strided = check_random() % 2;
						s.bias = check_random() % 2;
						s.act = acts[check_random() % COUNT_OF(acts)];
						s.residual = (int)(check_random() % 3);
						s.extreme = s.act == ACT_NONE && check_random() % 4 == 0;
						one(k, &s);
					}
	static const int64_t large[][3] = {{40, 130, 700}, {9, 65, 1024}, {1, 515, 513},  {7, 520, 300}, {350, 70, 50},
	                                   {30, 257, 257}, {13, 33, 400}, {16, 40, 2048}, {4, 530, 512}};
	for (int form = 0; form < 3; form++)
		for (int type = DT_F32; type <= DT_BF16; type++)
			for (size_t i = 0; i < COUNT_OF(large); i++) {
				shape s = {.form = (gemm_form)form, .type = (dtype)type, .m = large[i][0], .n = large[i][1], .k = large[i][2]};
				s.residual = (int)(i % 3);
				s.bias = i % 2;
				one(k, &s);
			}
}

/* Factors that are bfloat16 already: what is left is the sum's own error. Odd k, tails, blocks of k. */
static void check_gemm_rounded(const kernels *k)
{
	static const int64_t depths[] = {0, 1, 2, 3, 31, 32, 33, 64, 255, 300, 1023, 1024, 1025, 2101};
	for (int form = 0; form < 3; form++)
		for (size_t i = 0; i < COUNT_OF(depths); i++)
			for (int turn = 0; turn < 4; turn++) {
				shape s = {.form = (gemm_form)form, .type = DT_F32, .m = check_between(1, turn == 3 ? 420 : 40), .n = check_between(1, turn == 2 ? 420 : 80),
					.k = depths[i], .rounded = true, .strided = turn % 2, .bias = turn % 2, .act = turn == 1 ? ACT_GELU : ACT_NONE, .residual = turn % 3};
				one(k, &s);
			}
}

/* The bits of a row must not depend on the other rows, nor a column's on the other columns, nor on the order of tasks. */
static void check_gemm_bits(const kernels *k)
{
	static const int64_t sizes[][3] = {{40, 130, 700}, {61, 70, 512}, {380, 40, 90}, {29, 200, 33}, {29, 100, 1024}};
	for (int form = 0; form < 3; form++)
		for (size_t i = 0; i < 2 * COUNT_OF(sizes); i++)
			for (int64_t rows = 8; rows <= 20; rows += 5) {
				const int64_t *size = sizes[i / 2];
				shape s = {.form = (gemm_form)form,
				           .rounded = i % 2,
				           .m = size[0],
				           .n = size[1],
				           .k = size[2],
				           .bias = true,
				           .act = ACT_GELU,
				           .residual = 1};
				check_begin();
				problem p = make(&s);
				run(k, &p.call, false);
				gemm_call part = p.call;
				int64_t row = check_between(0, s.m - rows), column = check_between(0, s.n - 9), n = 9;
				matrix c = check_output(rows, n, n), again = check_output(s.m, s.n, s.n);
				part.m = rows;
				part.n = n;
				part.a += form == GEMM_TN ? row : row * part.lda;
				part.b = p.b + 4 * (form == GEMM_NT ? column * part.ldb : column);
				part.bias += column;
				part.residual += row * part.ldr + column;
				part.c = c.at;
				part.ldc = n;
				run(k, &part, true);
				matrix want = {rows, n, p.c.ld, p.c.at + row * p.c.ld + column};
				bool same = check_same(c, want);
				part = p.call;
				part.c = again.at;
				part.ldc = again.ld;
				run(k, &part, true);
				bool order = check_same(again, p.c);
				check_case(check_end() && same && order, "%s m=%d n=%d k=%d: %d rows at %d, 9 columns at %d: %s",
				           form_names[form], (int)s.m, (int)s.n, (int)s.k, (int)rows, (int)row, (int)column,
				           order ? "other bits than in the whole" : "other bits with tasks reversed");
			}
	for (int64_t m = 1; m < 8; m++) { /* the second chain: the same for every m < 8 */
		shape s = {.form = GEMM_NT, .m = m, .n = 77, .k = 301};
		check_begin();
		problem p = make(&s);
		run(k, &p.call, false);
		gemm_call part = p.call;
		matrix c = check_output(1, 77, 77);
		part.m = 1;
		part.a += (m - 1) * part.lda;
		part.c = c.at;
		run(k, &part, true);
		bool same = check_same(c, check_part(p.c, m - 1, 1));
		check_case(check_end() && same, "NT m=%d: its last row has other bits than alone", (int)m);
	}
}

static void bench_gemm(const kernels *k)
{
	static const struct {
		gemm_form form;
		dtype type;
		int64_t m, n, k;
		act_kind act;
	} cases[] = {
		{GEMM_NT, DT_F32, 197, 768, 768, ACT_NONE},   {GEMM_NT, DT_F32, 197, 3072, 768, ACT_GELU},
		{GEMM_NT, DT_F32, 197, 768, 3072, ACT_NONE},  {GEMM_NT, DT_F32, 1024, 768, 768, ACT_NONE},
		{GEMM_NT, DT_F32, 1024, 3072, 768, ACT_NONE}, {GEMM_NT, DT_BF16, 1024, 768, 768, ACT_NONE},
		{GEMM_NT, DT_F16, 1024, 768, 768, ACT_NONE},  {GEMM_NT, DT_F32, 512, 1024, 1024, ACT_NONE},
		{GEMM_NN, DT_F32, 1024, 768, 768, ACT_NONE},  {GEMM_TN, DT_F32, 768, 768, 1024, ACT_NONE},
		{GEMM_NT, DT_F32, 32, 768, 768, ACT_NONE},    {GEMM_NT, DT_F32, 8, 768, 768, ACT_NONE},
		{GEMM_NT, DT_F32, 1, 4096, 4096, ACT_NONE},   {GEMM_NT, DT_BF16, 1, 4096, 4096, ACT_NONE},
		{GEMM_NT, DT_F16, 1, 4096, 4096, ACT_NONE},   {GEMM_NT, DT_F32, 4, 4096, 4096, ACT_NONE},
		{GEMM_NT, DT_F32, 1, 768, 768, ACT_NONE},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		shape s = {.form = cases[i].form,
		           .type = cases[i].type,
		           .m = cases[i].m,
		           .n = cases[i].n,
		           .k = cases[i].k,
		           .act = cases[i].act,
		           .bias = true};
		check_begin();
		bench_product t = {.k = k, .call = make(&s).call};
		bench_work w = bench_product_work(&t);
		if (s.m < 8)
			bench_run(&w, (double)(s.n * s.k) * (double)dtype_size(s.type), "GB/s of B", "%s %s m=%d n=%d k=%d",
			          form_names[s.form], dtype_name(s.type), (int)s.m, (int)s.n, (int)s.k);
		else
			bench_run(&w, 2.0 * (double)(s.m * s.n * s.k), "GFLOP/s", "%s %s m=%d n=%d k=%d%s", form_names[s.form],
			          dtype_name(s.type), (int)s.m, (int)s.n, (int)s.k, s.act ? " gelu" : "");
		check_end();
	}
}

const check_entry check_products[] = {
	{"gemm", check_gemm, bench_gemm},
	{"gemm_rounded", check_gemm_rounded, NULL},
	{"gemm_bits", check_gemm_bits, NULL},
	{NULL, NULL, NULL},
};
