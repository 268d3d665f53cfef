/*
 * check_attention.c - attention and its three gradients against a plain double loop over the layout; masked garbage; and
 * equal bits packed, alone, in chunks and in any order of tasks.
 *
 * Bounds, u = 2^-24, for a row with n visible keys:
 *   score   es = u (d + 4) |scale| sum |q k| + 3 u |score|, its largest over the row
 *   out     (2 es + 8e-7 + u (n + 8)) sum p |v|            (p within e^es and exp's 2e-7, numerator and denominator)
 *   bf16    operands are rounded, w = 2^-9: score es + ((2 + w) w + u (d + 4)) |scale| sum |q k| (two roundings an addition),
 *           out + ((2 + w) w + u n) sum p |v|
 *   lse     es + 4e-7 + u (n + 4) + u |lse|
 *   dS      p (es + 4e-7) |dP - delta| + p u ((v_dim + 3) sum |dO v| + |delta|), and from it the sums' own bounds
 */
#include "check.h"

#include <math.h>
#include <string.h>

#define BF16_TWICE (0x1p-8 + 0x1p-18) /* a product of two operands that are rounded to bf16 */

enum { MAX_SEGMENTS = 8, MAX_ROWS = 1200 };
typedef enum { SEE_ALL, SEE_CAUSAL, SEE_WINDOW, SEE_RANDOM } seeing;

typedef struct {
	int32_t heads, kv_heads, head_dim, v_dim;
	bias_kind bias;
	int segments;
	int32_t q[MAX_SEGMENTS], kv[MAX_SEGMENTS];
	seeing see;
	float cap;
	dtype products; /* 0: f32 */
	bool gaps, shared, bounds; /* rows in no segment; all segments on the same keys; lo and hi given though all is seen */
} shape;

typedef struct {
	attention spec;
	layout at;
	segment seg[MAX_SEGMENTS];
	int32_t first[MAX_SEGMENTS + 1], lo[MAX_ROWS], hi[MAX_ROWS];
	attend_call call;
	attend_back_call back;
	matrix q, k, v, out, d_out, dq, dkv;
	float *lse, *delta, *table, *d_table;
	int32_t *q_at, *kv_at;
	int64_t entries;
} problem;

static const char *const bias_names[] = {"none", "grid", "bucket", "slope"};

static void make_layout(problem *p, const shape *s)
{
	int32_t q = 0, kv = 0, kv_end = 0;
	for (int i = 0; i < s->segments; i++) {
		q += s->gaps ? 3 : 0;
		kv += s->gaps ? 2 : 0;
		kv = s->shared ? 0 : kv;
		p->seg[i] = (segment){q, q + s->q[i], kv, kv + s->kv[i]};
		q += s->q[i];
		kv += s->kv[i];
		kv_end = kv > kv_end ? kv : kv_end;
		for (int32_t r = p->seg[i].q0; r < q; r++) {
			int32_t at = s->kv[i] - s->q[i] + (r - p->seg[i].q0), n = s->kv[i]; /* its own key, the last ones line up */
			p->lo[r] = 0;
			p->hi[r] = n;
			if (s->see == SEE_CAUSAL || s->see == SEE_WINDOW)
				p->hi[r] = at + 1 < 0 ? 0 : at + 1 > n ? n : at + 1;
			if (s->see == SEE_WINDOW)
				p->lo[r] = p->hi[r] > 37 ? p->hi[r] - 37 : 0;
			if (s->see == SEE_RANDOM) {
				p->lo[r] = (int32_t)check_between(0, n);
				p->hi[r] = (int32_t)check_between(p->lo[r], n);
			}
		}
	}
	p->call.q_rows = q + (s->gaps ? 2 : 0);
	p->call.kv_rows = kv_end + (s->gaps ? 3 : 0);
	p->at = (layout){.count = s->segments, .seg = p->seg};
	if (s->see != SEE_ALL || s->bounds) {
		p->at.lo = p->lo;
		p->at.hi = p->hi;
	}
	layout_finish(&p->at, p->first);
}

static void make_bias(problem *p, const shape *s)
{
	bias_spec *b = &p->spec.bias;
	int32_t far = check_random() % 2 ? 128 : 3000, step = far > 1000 ? 7 : 1; /* 3000: beyond the tabulated buckets */
	*b = (bias_spec){
		.kind = s->bias, .side = {9, 7}, .buckets = 32, .far = far, .both_ways = s->see == SEE_ALL, .other_region = -3.5f};
	p->entries = bias_entries(b);
	if (s->bias == BIAS_NONE)
		return;
	p->table = check_floats(p->entries * s->heads);
	p->d_table = check_output(p->entries, s->heads, s->heads).at;
	for (int64_t i = 0; i < p->entries * s->heads && s->bias == BIAS_SLOPE; i++)
		p->table[i] = fabsf(p->table[i]) * 0.05f;
	for (int side = 0; side < 2; side++) {
		int64_t rows = side ? p->call.kv_rows : p->call.q_rows;
		int32_t *at = check_bytes((size_t)rows * 12, 4);
		for (int64_t r = 0; r < rows; r++) {
			at[3 * r] =
				s->bias == BIAS_GRID ? (int32_t)check_between(0, 8) : (int32_t)(step * r + (side ? 0 : check_between(0, 20)));
			at[3 * r + 1] = (int32_t)check_between(0, 6);
			at[3 * r + 2] = (int32_t)check_between(0, 1);
		}
		*(side ? &p->kv_at : &p->q_at) = at;
	}
}

static void make(problem *p, const shape *s)
{
	*p = (problem){.spec = {s->heads, s->kv_heads, s->head_dim, s->v_dim, 1.0f / sqrtf((float)s->head_dim), s->cap, {.kind = BIAS_NONE}}};
	make_layout(p, s);
	make_bias(p, s);
	int64_t nq = p->call.q_rows, nk = p->call.kv_rows, wide_q = (int64_t)s->heads * s->head_dim,
			wide_o = (int64_t)s->heads * s->v_dim;
	int64_t wide_k = (int64_t)s->kv_heads * s->head_dim, wide_v = (int64_t)s->kv_heads * s->v_dim;
	p->q = check_matrix(nq, wide_q, wide_q + 3);
	p->k = check_matrix(nk, wide_k, wide_k + 1);
	p->v = check_matrix(nk, wide_v, wide_v + 5);
	p->out = check_output(nq, wide_o, wide_o + 2);
	p->lse = check_output(nq, s->heads, s->heads).at;
	p->call = (attend_call){
		.spec = &p->spec,
		.at = &p->at,
		.q_rows = nq,
		.kv_rows = nk,
		.q = p->q.at,
		.k = p->k.at,
		.v = p->v.at,
		.ldq = p->q.ld,
		.ldk = p->k.ld,
		.ldv = p->v.ld,
		.ldo = p->out.ld,
		.table = p->table,
		.q_at = p->q_at,
		.kv_at = p->kv_at,
		.out = p->out.at,
		.lse = p->lse,
		.products = s->products,
	};
}

static void make_back(problem *p)
{
	int64_t heads = p->spec.heads, vd = p->spec.v_dim, wide = (int64_t)p->spec.kv_heads * (p->spec.head_dim + p->spec.v_dim);
	p->d_out = check_matrix(p->call.q_rows, heads * vd, heads * vd + 1);
	p->delta = check_floats(p->call.q_rows * heads);
	for (int64_t r = 0; r < p->call.q_rows; r++)
		for (int64_t h = 0; h < heads; h++) {
			double sum = 0;
			for (int64_t c = h * vd; c < (h + 1) * vd; c++)
				sum += (double)p->d_out.at[r * p->d_out.ld + c] * p->out.at[r * p->out.ld + c];
			p->delta[r * heads + h] = (float)sum;
		}
	p->dq = check_output(p->call.q_rows, p->q.width, p->q.width + 2);
	p->dkv = check_output(p->call.kv_rows, wide, wide + 3);
	p->back = (attend_back_call){
		.f = p->call,
		.d_out = p->d_out.at,
		.ld_dout = p->d_out.ld,
		.delta = p->delta,
		.dq = p->dq.at,
		.ld_dq = p->dq.ld,
		.dkv = p->dkv.at,
		.ld_dkv = p->dkv.ld,
		.d_table = p->d_table,
	};
}

static void forward(const kernels *k, const attend_call *call, bool reverse)
{
	size_t size = k->attend_scratch(call->spec);
	int64_t tasks = k->attend_tasks(call);
	void *scratch = check_bytes(size, 64);
	for (int64_t t = 0; t < tasks; t++)
		k->attend_run(call, reverse ? tasks - 1 - t : t, scratch);
}

static void backward(const kernels *k, const attend_back_call *call, bool reverse)
{
	void *scratch = check_bytes(k->attend_back_scratch(call->f.spec), 64);
	int64_t n = k->attend_dq_tasks(call);
	for (int64_t t = 0; t < n; t++)
		k->attend_dq_run(call, reverse ? n - 1 - t : t, scratch);
	n = k->attend_dkv_tasks(call);
	for (int64_t t = 0; t < n; t++)
		k->attend_dkv_run(call, reverse ? n - 1 - t : t, scratch);
	n = k->attend_dtable_tasks(call);
	for (int64_t t = 0; t < n; t++)
		k->attend_dtable_run(call, reverse ? n - 1 - t : t, scratch);
}

/* ------------------------------------------------------------------------------------------------ the reference */
static int64_t plain_bucket(int64_t d, int64_t n, int64_t far, bool both)
{
	int64_t base = 0;
	if (both) {
		n /= 2;
		base = d > 0 ? n : 0;
		d = d < 0 ? -d : d;
	} else {
		d = d < 0 ? -d : 0;
	}
	int64_t exact = n / 2;
	if (d < exact)
		return base + d;
	int64_t large =
		exact + (int64_t)(logf((float)d / (float)exact) / (float)log((double)far / (double)exact) * (float)(n - exact));
	return base + (large < n - 1 ? large : n - 1);
}

/* The bias of a pair; *entry and *factor say which table value it is linear in. */
static double plain_bias(const problem *p, int64_t q, int64_t key, int64_t h, int64_t *entry, double *factor)
{
	const bias_spec *b = &p->spec.bias;
	const int32_t *x = p->q_at + 3 * q, *y = p->kv_at + 3 * key;
	*factor = 1;
	*entry = 0;
	if (b->kind == BIAS_GRID)
		*entry = (x[0] - y[0] + b->side[0] - 1) * (2 * b->side[1] - 1) + x[1] - y[1] + b->side[1] - 1;
	else if (b->kind == BIAS_BUCKET)
		*entry = plain_bucket(y[0] - x[0], b->buckets, b->far, b->both_ways);
	else
		*factor = -fabs((double)x[0] - y[0]);
	double t = *factor * (double)p->table[*entry * p->spec.heads + h];
	return b->kind == BIAS_GRID && x[2] != y[2] ? t + (double)b->other_region : t;
}

typedef struct {
	int64_t first, last; /* keys seen, rows of the matrix */
	double s[MAX_ROWS], slope[MAX_ROWS], es, top, sum; /* slope: of the cap, 1 without */
} row_scores;

static void score_row(const problem *p, int64_t q, int64_t h, row_scores *r)
{
	const attention *a = &p->spec;
	int64_t d = a->head_dim, kv_head = h / (a->heads / a->kv_heads), entry;
	double factor;
	r->first = r->last = 0;
	for (int i = 0; i < p->at.count; i++)
		if (q >= p->seg[i].q0 && q < p->seg[i].q1) {
			r->first = p->seg[i].kv0 + (p->at.lo ? p->lo[q] : 0);
			r->last = p->at.hi ? p->seg[i].kv0 + p->hi[q] : p->seg[i].kv1;
		}
	r->es = 0;
	r->top = -INFINITY;
	for (int64_t j = r->first; j < r->last; j++) {
		double sum = 0, size = 0;
		for (int64_t c = 0; c < d; c++) {
			double x = (double)p->q.at[q * p->q.ld + h * d + c] * p->k.at[j * p->k.ld + kv_head * d + c];
			sum += x;
			size += fabs(x);
		}
		double bias = a->bias.kind == BIAS_NONE ? 0 : plain_bias(p, q, j, h, &entry, &factor);
		double s = sum * a->scale + bias;
		double curve = a->cap > 0 ? tanh(sum * a->scale / a->cap) : 0;
		if (a->cap > 0)
			s = a->cap * curve;
		r->slope[j - r->first] = 1 - curve * curve;
		r->s[j - r->first] = s;
		r->es = fmax(r->es, CHECK_EPS * ((double)(d + 4) * a->scale * size + 3 * (fabs(bias) + fabs(s))) + 1.2e-6 * a->cap);
		if (p->call.products == DT_BF16)
			r->es = fmax(r->es, (BF16_TWICE + CHECK_EPS * (double)(2 * d + 8)) * a->scale * size +
									CHECK_EPS * 3 * (fabs(bias) + fabs(s)) + 1.2e-6 * a->cap);
		r->top = fmax(r->top, s);
	}
	r->sum = 0;
	for (int64_t j = r->first; j < r->last; j++)
		r->sum += exp(r->s[j - r->first] - r->top);
}

static void compare_forward(const problem *p, verdict *v)
{
	static row_scores r;
	const attention *a = &p->spec;
	for (int64_t q = 0; q < p->call.q_rows; q++)
		for (int64_t h = 0; h < a->heads; h++) {
			score_row(p, q, h, &r);
			int64_t n = r.last - r.first, kv_head = h / (a->heads / a->kv_heads);
			double lse = n > 0 ? r.top + log(r.sum) : -INFINITY, eps = 2 * r.es + 8e-7 + CHECK_EPS * (double)(n + 8);
			double weights = p->call.products == DT_BF16 ? BF16_TWICE + CHECK_EPS * (double)n : 0;
			check_near(v, q, h, p->lse[q * a->heads + h], lse, eps + CHECK_EPS * fabs(lse));
			for (int64_t c = 0; c < a->v_dim; c++) {
				double sum = 0, size = 0;
				for (int64_t j = r.first; j < r.last; j++) {
					double x = exp(r.s[j - r.first] - lse) * p->v.at[j * p->v.ld + kv_head * a->v_dim + c];
					sum += x;
					size += fabs(x);
				}
				check_near(v, q, h * a->v_dim + c, p->out.at[q * p->out.ld + h * a->v_dim + c], sum, n > 0 ? (eps + weights) * size : 0);
			}
		}
}

/* Sums in double with the bound beside: [..][0] value, [..][1] bound, [..][2] sum of magnitudes */
typedef double triple[3];
static triple ref_dq[700 * 64], ref_dkv[700 * 128], ref_table[512 * 8];
static int32_t ref_terms[700], ref_entry_terms[512];

static void compare_backward(const problem *p, verdict *v)
{
	static row_scores r;
	const attention *a = &p->spec;
	int64_t d = a->head_dim, vd = a->v_dim, heads = a->heads, wide = p->dkv.width;
	memset(ref_dq, 0, sizeof ref_dq);
	memset(ref_dkv, 0, sizeof ref_dkv);
	memset(ref_table, 0, sizeof ref_table);
	memset(ref_terms, 0, sizeof ref_terms);
	memset(ref_entry_terms, 0, sizeof ref_entry_terms);
	for (int64_t q = 0; q < p->call.q_rows; q++)
		for (int64_t h = 0; h < heads; h++) {
			score_row(p, q, h, &r);
			int64_t kv_head = h / (heads / a->kv_heads), entry = 0;
			double lse = p->lse[q * heads + h], delta = p->delta[q * heads + h], n = (double)(r.last - r.first);
			for (int64_t j = r.first; j < r.last; j++) {
				const float *k = p->k.at + j * p->k.ld + kv_head * d, *x = p->q.at + q * p->q.ld + h * d;
				const float *y = p->v.at + j * p->v.ld + kv_head * vd, *g = p->d_out.at + q * p->d_out.ld + h * vd;
				double prob = exp(r.s[j - r.first] - lse), dp = 0, size = 0, factor = 1;
				double ep = prob * (r.es + 4e-7 + CHECK_EPS * fabs(r.s[j - r.first] - lse));
				for (int64_t c = 0; c < vd; c++) {
					dp += (double)y[c] * g[c];
					size += fabs((double)y[c] * g[c]);
				}
				double ds = prob * (dp - delta);
				double eds =
					ep * fabs(dp - delta) + prob * CHECK_EPS * ((double)(vd + 3) * size + fabs(delta) + 2 * fabs(dp - delta));
				double slope = r.slope[j - r.first];
				eds = a->cap > 0 ? eds * slope + fabs(ds) * 4e-6 : eds;
				ds *= slope;
				triple *dq = ref_dq + q * heads * d + h * d, *dk = ref_dkv + j * wide + kv_head * d,
					   *dv = ref_dkv + j * wide + a->kv_heads * d + kv_head * vd;
				for (int64_t c = 0; c < d; c++) {
					dq[c][0] += a->scale * ds * k[c];
					dq[c][1] += fabs(a->scale * eds * k[c]);
					dq[c][2] += fabs(a->scale * ds * k[c]);
					dk[c][0] += a->scale * ds * x[c];
					dk[c][1] += fabs(a->scale * eds * x[c]);
					dk[c][2] += fabs(a->scale * ds * x[c]);
				}
				for (int64_t c = 0; c < vd; c++) {
					dv[c][0] += prob * g[c];
					dv[c][1] += fabs(ep * g[c]);
					dv[c][2] += fabs(prob * g[c]);
				}
				ref_terms[j]++;
				if (a->bias.kind == BIAS_NONE)
					continue;
				plain_bias(p, q, j, h, &entry, &factor);
				ref_table[entry * heads + h][0] += factor * ds;
				ref_table[entry * heads + h][1] += fabs(factor) * eds;
				ref_table[entry * heads + h][2] += fabs(factor * ds);
				ref_entry_terms[entry]++;
			}
			for (int64_t c = h * d; c < (h + 1) * d; c++) {
				const double *want = ref_dq[q * heads * d + c];
				check_near(v, q, c, p->dq.at[q * p->dq.ld + c], want[0], want[1] + CHECK_EPS * (n + 4) * want[2]);
			}
		}
	for (int64_t j = 0; j < p->call.kv_rows; j++)
		for (int64_t c = 0; c < wide; c++) {
			const double *want = ref_dkv[j * wide + c];
			check_near(v, 10000 + j, c, p->dkv.at[j * p->dkv.ld + c], want[0],
			           want[1] + CHECK_EPS * (ref_terms[j] + 4) * want[2]);
		}
	for (int64_t e = 0; e < p->entries; e++)
		for (int64_t h = 0; h < heads; h++) {
			const double *want = ref_table[e * heads + h];
			check_near(v, 20000 + e, h, p->d_table[e * heads + h], want[0], want[1] + 2 * CHECK_EPS * want[2]);
		}
}

/* ------------------------------------------------------------------------------------------------ cases */
static void name_of(const shape *s, char *out, size_t size)
{
	static const char *const see[] = {"all", "causal", "window", "random"};
	buf b;
	buf_init(&b, NULL, 0);
	buf_format(&b, "%sheads=%d/%d dim=%d/%d bias=%s %s%s%s", s->products == DT_BF16 ? "bf16 " : "", s->heads, s->kv_heads, s->head_dim,
	           s->v_dim, bias_names[s->bias], see[s->see], s->gaps ? " gaps" : "", s->shared ? " shared" : "");
	for (int i = 0; i < s->segments; i++)
		buf_format(&b, " %dx%d", s->q[i], s->kv[i]);
	size_t n = b.size < size - 1 ? b.size : size - 1;
	memcpy(out, b.data, n);
	out[n] = 0;
	buf_free(&b);
}

static problem p; /* large */

static void one(const kernels *k, const shape *s, bool back)
{
	char name[160];
	name_of(s, name, sizeof name);
	check_begin();
	make(&p, s);
	forward(k, &p.call, false);
	verdict v = {0};
	if (!back)
		compare_forward(&p, &v);
	bool bounds = check_bounds(p.out);
	if (back) {
		make_back(&p);
		backward(k, &p.back, false);
		compare_backward(&p, &v);
		bounds = bounds && check_bounds(p.dq) && check_bounds(p.dkv);
	}
	bounds = check_end() && bounds;
	check_case(v.worst <= 1 && bounds, "%s: [%d,%d] %.9g want %.9g, %.2f of the bound%s", name, (int)v.row, (int)v.column, v.got,
	           v.want, v.worst, bounds ? "" : ", wrote out of bounds");
}

static const int32_t dims[][2] = {{1, 1}, {12, 12}, {16, 20}, {20, 16}, {64, 64}, {80, 80}, {33, 31}, {128, 40}};

static void each_shape(const kernels *k, bool back, dtype products)
{
	for (size_t i = 0; i < COUNT_OF(dims); i++)
		for (int see = SEE_ALL; see <= SEE_RANDOM; see++)
			for (int bias = BIAS_NONE; bias <= BIAS_SLOPE + 1; bias++) { /* the last: no bias, but a cap */
				if (back && dims[i][0] > 64)
					continue;
				int32_t group = (int32_t)check_between(1, 2), kv_heads = back ? 1 : (int32_t)check_between(1, 2);
				shape s = {group * kv_heads, kv_heads, dims[i][0], dims[i][1], .see = (seeing)see};
				s.bias = (bias_kind)(bias % (BIAS_SLOPE + 1));
				s.cap = bias > BIAS_SLOPE ? 1.5f : 0;
				s.products = products;
				if (back && s.heads * s.head_dim > 64)
					s.heads = 1;
				s.gaps = check_random() % 2;
				s.shared = check_random() % 3 == 0;
				s.bounds = check_random() % 2;
				s.segments = (int)check_between(1, 4);
				for (int j = 0; j < s.segments; j++) {
					static const int32_t sizes[] = {1, 2, 7, 8, 9, 20, 63, 64, 65, 100, 130};
					s.q[j] = sizes[check_random() % COUNT_OF(sizes)];
					s.kv[j] = check_random() % 2 ? s.q[j] : (int32_t)check_between(1, back ? 140 : 300);
				}
				one(k, &s, back);
			}
	shape empty = {2, 1, 16, 16, .segments = 0, .gaps = true},
		  no_keys = {2, 2, 16, 16, .segments = 2, .q = {9, 3}, .kv = {0, 0}, .gaps = true};
	one(k, &empty, back);
	one(k, &no_keys, back);
}

static void check_attend(const kernels *k)
{
	each_shape(k, false, DT_F32);
	each_shape(k, false, DT_BF16);
	shape cache = {4, 2, 64, 64, .segments = 1, .q = {1}, .kv = {700}, .see = SEE_CAUSAL};
	one(k, &cache, false);
	shape wide = {1, 1, 512, 512, .segments = 1, .q = {70}, .kv = {70}, .see = SEE_CAUSAL};
	one(k, &wide, false);
	for (int32_t rows = 30; rows < 700; rows = rows * 3 + 1) { /* more rows than a task has, more keys than two tiles */
		shape large = {1, 1, 24, 40, .segments = 1, .q = {rows}, .kv = {rows + 100}, .see = rows % 2 ? SEE_ALL : SEE_WINDOW};
		one(k, &large, false);
		large.products = DT_BF16;
		one(k, &large, false);
	}
}

static void check_attend_back(const kernels *k)
{
	each_shape(k, true, DT_F32);
}

/* Narrow rows must be the rows, rounded. */
static bool same_rounded(const kernels *k, const problem *x)
{
	int64_t words = x->out.width / 2;
	matrix want = check_output(x->call.q_rows, words, words), got = check_output(x->call.q_rows, words, words + 5);
	attend_call call = x->call;
	k->narrow(PRECISION_BF16, call.q_rows, x->out.width, x->out.at, x->out.ld, want.at, want.ld);
	call.out_as = PRECISION_BF16;
	call.out = got.at;
	call.ldo = got.ld;
	forward(k, &call, false);
	return check_same(got, want) && check_bounds(got);
}

/* Packed equals alone, chunks equal the whole, reversed tasks equal ordered ones. */
static void bits_of(const kernels *k, dtype products)
{
	for (int see = SEE_ALL; see <= SEE_WINDOW; see++)
		for (int bias = BIAS_NONE; bias <= BIAS_SLOPE; bias++)
			for (size_t i = 0; i < COUNT_OF(dims); i++) {
				char name[160];
				shape s = {2, 1, dims[i][0], dims[i][1], .bias = (bias_kind)bias, .see = (seeing)see, .products = products, .segments = 3};
				for (int j = 0; j < 3; j++)
					s.q[j] = s.kv[j] = (int32_t)check_between(8, i % 3 ? 150 : 300);
				name_of(&s, name, sizeof name);
				check_begin();
				make(&p, &s);
				forward(k, &p.call, true);
				bool alone = true, chunks = true, order = true;
				for (int part = 0; part < 4; part++) { /* part 3: all again, in the other order */
					segment seg = p.seg[part % 3];
					int32_t step = part == 1 && see != SEE_ALL ? 13 : seg.q1 - seg.q0;
					matrix out = check_output(p.call.q_rows, p.out.width, p.out.width);
					attend_call call = p.call;
					call.out = out.at;
					call.ldo = out.ld;
					if (part == 3) {
						forward(k, &call, false);
						order = check_same(out, p.out);
						continue;
					}
					for (int32_t r = seg.q0; r < seg.q1;) {
						int32_t end = r + step + 8 > seg.q1 ? seg.q1 : r + step, first[2],
								seen = see != SEE_ALL ? seg.kv0 + end - seg.q0 : seg.kv1;
						segment only = {r, end, seg.kv0, seen};
						layout at = {.count = 1, .seg = &only, .lo = p.at.lo, .hi = p.at.hi};
						layout_finish(&at, first);
						call.at = &at;
						forward(k, &call, false);
						bool same = check_same(check_part(out, r, end - r), check_part(p.out, r, end - r));
						alone = alone && (same || step == 13);
						chunks = chunks && (same || step != 13);
						r = end;
					}
				}
				bool narrow = s.v_dim % 2 || same_rounded(k, &p);
				check_case(check_end() && alone && chunks && order && narrow, "%s: other bits%s%s%s%s", name,
				           alone ? "" : " packed than alone", chunks ? "" : " in chunks",
				           order ? "" : " in another order of tasks", narrow ? "" : " as narrow rows");
			}
}

static void check_attend_bits(const kernels *k)
{
	bits_of(k, DT_F32);
	bits_of(k, DT_BF16);
}

/* What a row does not see may hold anything: rows keep their bits when keys beyond them become NaN or infinite; huge: when only their
 * values change, to finite ones that bfloat16 rounds to infinity. */
static void leak_of(const kernels *k, dtype products, bool huge)
{
	for (size_t i = 0; i < COUNT_OF(dims); i++)
		for (int bias = BIAS_NONE; bias <= BIAS_GRID; bias++)
			for (int32_t rows = 5; rows < 200; rows += 41) {
				shape s = {2,
				           1,
				           dims[i][0],
				           dims[i][1],
				           .bias = (bias_kind)bias,
				           .see = SEE_CAUSAL,
				           .products = products,
				           .segments = 1,
				           .q = {rows},
				           .kv = {rows + 3},
				           .gaps = true};
				if (s.heads * s.head_dim > 64)
					s.heads = 1;
				check_begin();
				make(&p, &s);
				forward(k, &p.call, false);
				matrix out = p.out;
				p.out = check_output(out.rows, out.width, out.ld);
				int32_t cut = rows / 2, bad = p.seg[0].kv0 + p.hi[p.seg[0].q0 + cut - 1], from = p.seg[0].q0,
						last = p.seg[0].q1 - 1;
				for (int64_t r = bad; r < p.call.kv_rows; r++) {
					for (int64_t c = 0; c < p.k.width && !huge; c++)
						p.k.at[r * p.k.ld + c] = r % 2 ? NAN : INFINITY;
					for (int64_t c = 0; c < p.v.width; c++)
						p.v.at[r * p.v.ld + c] = huge ? 0x1.FFp127f : r % 2 ? INFINITY : NAN;
				}
				p.call.out = p.out.at;
				forward(k, &p.call, false);
				bool ok = check_same(check_part(out, from, cut), check_part(p.out, from, cut)),
					 shows = huge || isnan(p.out.at[last * p.out.ld]);
				make_back(&p);
				backward(k, &p.back, false);
				for (int64_t c = 0; c < p.dq.width; c++)
					for (int64_t r = from; r < from + cut; r++)
						ok = ok && isfinite(p.dq.at[r * p.dq.ld + c]);
				for (int64_t r = p.seg[0].kv1; r < p.call.kv_rows; r++) /* in no segment */
					for (int64_t c = 0; c < p.dkv.width; c++)
						ok = ok && p.dkv.at[r * p.dkv.ld + c] == 0;
				check_case(check_end() && ok && shows, "dim=%d/%d %d rows bias=%s: %s", s.head_dim, s.v_dim, rows,
				           bias_names[bias], ok ? "a NaN that is seen is lost" : "garbage in keys that are not seen leaks");
			}
}

static void check_attend_leak(const kernels *k)
{
	leak_of(k, DT_F32, false);
	leak_of(k, DT_BF16, false);
	leak_of(k, DT_F32, true);
	leak_of(k, DT_BF16, true);
}

/* A query row that sees nothing gives 0 and leaves no trace in the gradients, whatever it holds. */
static void check_attend_blind(const kernels *k)
{
	for (size_t i = 0; i < COUNT_OF(dims); i++)
		for (int32_t rows = 6; rows < 100; rows += 41) {
			shape s = {2, 1, dims[i][0], dims[i][1], .see = SEE_CAUSAL, .segments = 1, .q = {rows}, .kv = {rows}};
			check_begin();
			make(&p, &s);
			int64_t blind = rows / 3;
			p.lo[blind] = p.hi[blind] = 0;
			for (int64_t c = 0; c < p.q.width; c++)
				p.q.at[blind * p.q.ld + c] = NAN;
			forward(k, &p.call, false);
			make_back(&p);
			for (int64_t c = 0; c < p.d_out.width; c++)
				p.d_out.at[blind * p.d_out.ld + c] = INFINITY;
			backward(k, &p.back, false);
			bool ok = true;
			for (int64_t r = 0; r < rows; r++) {
				for (int64_t c = 0; c < p.out.width; c++)
					ok = ok && (r == blind ? p.out.at[r * p.out.ld + c] == 0 : isfinite(p.out.at[r * p.out.ld + c]));
				for (int64_t c = 0; c < p.dq.width; c++)
					ok = ok && (r == blind ? p.dq.at[r * p.dq.ld + c] == 0 : isfinite(p.dq.at[r * p.dq.ld + c]));
				for (int64_t c = 0; c < p.dkv.width; c++)
					ok = ok && isfinite(p.dkv.at[r * p.dkv.ld + c]);
			}
			check_case(check_end() && ok, "dim=%d/%d %d rows: a row that sees nothing shows", s.head_dim, s.v_dim, rows);
		}
}

/* ------------------------------------------------------------------------------------------------ speed */
typedef struct {
	const kernels *k;
	problem *p;
} timed;

static void timed_forward(void *arg, int64_t task, void *scratch)
{
	timed *t = arg;
	t->k->attend_run(&t->p->call, task, scratch);
}

static void timed_dq(void *arg, int64_t task, void *scratch)
{
	timed *t = arg;
	t->k->attend_dq_run(&t->p->back, task, scratch);
}

static void timed_dkv(void *arg, int64_t task, void *scratch)
{
	timed *t = arg;
	t->k->attend_dkv_run(&t->p->back, task, scratch);
}

static double pairs(const problem *x)
{
	double n = 0;
	for (int i = 0; i < x->at.count; i++)
		for (int32_t r = x->seg[i].q0; r < x->seg[i].q1; r++)
			n += x->hi[r] - x->lo[r];
	return n * x->spec.heads;
}

static void bench_attend(const kernels *k)
{
	static const shape cases[] = {
		{12, 12, 64, 64, .segments = 1, .q = {197}, .kv = {197}},
		{16, 16, 64, 64, .segments = 1, .q = {577}, .kv = {577}},
		{12, 12, 64, 64, .segments = 1, .q = {1024}, .kv = {1024}, .see = SEE_CAUSAL},
		{4, 4, 128, 128, .segments = 1, .q = {512}, .kv = {512}, .see = SEE_CAUSAL},
		{12, 12, 32, 32, .segments = 4, .q = {49, 49, 49, 49}, .kv = {49, 49, 49, 49}, .bias = BIAS_GRID},
		{32, 8, 64, 64, .segments = 1, .q = {1}, .kv = {1100}},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char name[160];
		name_of(&cases[i], name, sizeof name);
		check_begin();
		make(&p, &cases[i]);
		timed t = {k, &p};
		double work = pairs(&p) * 2 * (p.spec.head_dim + p.spec.v_dim);
		bench_work w = {timed_forward, &t, k->attend_tasks(&p.call), k->attend_scratch(&p.spec)};
		bench_run(&w, work, "GFLOP/s", "%s", name);
		p.call.products = DT_BF16;
		bench_run(&w, work, "GFLOP/s", "bf16 %s", name);
		p.call.products = DT_F32;
		forward(k, &p.call, false);
		make_back(&p);
		w = (bench_work){timed_dq, &t, k->attend_dq_tasks(&p.back), k->attend_back_scratch(&p.spec)};
		bench_run(&w, work * 1.5, "GFLOP/s", "dq  %s", name);
		w = (bench_work){timed_dkv, &t, k->attend_dkv_tasks(&p.back), k->attend_back_scratch(&p.spec)};
		bench_run(&w, work * 2, "GFLOP/s", "dkv %s", name);
		check_end();
	}
}

const check_entry check_attention[] = {
	{"attend", check_attend, bench_attend},     {"attend_back", check_attend_back, NULL},
	{"attend_bits", check_attend_bits, NULL},   {"attend_leak", check_attend_leak, NULL},
	{"attend_blind", check_attend_blind, NULL}, {NULL, NULL, NULL},
};
