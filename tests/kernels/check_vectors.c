/*
 * check_vectors.c - norms, activations, sums, widening, rotary, softmax: values, tails, bounds, and equal bits of a row
 * alone and among others, and of a value at any place of a vector.
 *
 * Bounds, u = 2^-24. A sum of n terms in any order: u n sum |x|, tightened to u (n / 8 + 12) sum |x| for at least eight
 * partial sums. Functions: 1e-6 max(1, |result|), as the table's header promises; exp-based sums: 2e-7 relative each.
 */
#include "check.h"

#include <math.h>
#include <string.h>

static const char *const act_text[ACT_COUNT] = {"none", "relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "tanh", "sigmoid"};
static const int64_t widths[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 100, 127, 128, 129, 768};

static double chain(int64_t n)
{
	return CHECK_EPS * ((double)n / 8 + 12);
}

/* ------------------------------------------------------------------------------------------------ norms */
typedef struct {
	double mean, rstd, mean_error, rstd_error; /* of mean absolute, of rstd relative */
} moments;

static moments plain_moments(const float *x, int64_t n, double eps, bool rms)
{
	moments m = {0};
	double size = 0, var = 0;
	for (int64_t c = 0; c < n; c++) {
		m.mean += x[c] / (double)n;
		size += fabs((double)x[c]) / (double)n;
	}
	m.mean_error = rms ? 0 : chain(n) * size;
	if (rms)
		m.mean = 0;
	double spread = 0;
	for (int64_t c = 0; c < n; c++) {
		var += (x[c] - m.mean) * (x[c] - m.mean) / (double)n;
		spread += fabs(x[c] - m.mean) / (double)n;
	}
	m.rstd = 1 / sqrt((n ? var : 0) + eps);
	double error = chain(n) * var + 2 * spread * (CHECK_EPS * size + CHECK_EPS * fabs(m.mean)) + m.mean_error * m.mean_error;
	m.rstd_error = 0.5 * error * m.rstd * m.rstd + 4 * CHECK_EPS;
	return m;
}

static matrix norm_input(int64_t rows, int64_t width)
{
	matrix x = check_matrix(rows, width, width + check_between(0, 5));
	for (int64_t r = 0; r < rows; r++) {
		float scale = r % 4 == 1 ? 1e4f : r % 4 == 2 ? 1e-5f : 1, shift = r % 4 == 3 ? 30 : 0;
		for (int64_t c = 0; c < width; c++)
			x.at[r * x.ld + c] = x.at[r * x.ld + c] * scale + shift;
	}
	return x;
}

static void check_norm(const kernels *k)
{
	for (size_t i = 0; i < COUNT_OF(widths); i++)
		for (int kind = 0; kind < 6; kind++) { /* rms, and with which of w and b */
			bool rms = kind >= 4, with_w = kind & 1, with_b = kind & 2;
			int64_t n = widths[i], rows = check_between(0, 9);
			check_begin();
			matrix x = norm_input(rows, n), y = check_output(rows, n, n + 2), alone = check_output(1, n, n);
			float *w = with_w ? check_floats(n) : NULL, *b = with_b && !rms ? check_floats(n) : NULL,
				  *stats = check_output(rows, 2, 2).at;
			double eps = 1e-5;
			k->norm_stats(rows, n, x.at, x.ld, 1e-5f, rms, stats);
			if (rms)
				k->rms_norm(rows, n, x.at, x.ld, w, 1e-5f, y.at, y.ld);
			else
				k->layer_norm(rows, n, x.at, x.ld, w, b, 1e-5f, y.at, y.ld);
			verdict v = {0};
			bool same = true;
			for (int64_t r = 0; r < rows; r++) {
				const float *row = x.at + r * x.ld;
				moments m = plain_moments(row, n, eps, rms);
				check_near(&v, r, -1, stats[2 * r], m.mean, m.mean_error + CHECK_EPS * fabs(m.mean));
				check_near(&v, r, -2, stats[2 * r + 1], m.rstd, m.rstd * m.rstd_error * 1.01);
				for (int64_t c = 0; c < n; c++) {
					double d = row[c] - m.mean, want = d * m.rstd * (w ? w[c] : 1);
					double bound = fabs(want) * (m.rstd_error * 1.01 + 4 * CHECK_EPS) +
					               (m.mean_error + CHECK_EPS * fabs(d)) * m.rstd * fabs(w ? w[c] : 1);
					want += b ? b[c] : 0;
					check_near(&v, r, c, y.at[r * y.ld + c], want,
					           bound + CHECK_EPS * (fabs(want) + (b ? fabs((double)b[c]) : 0)));
				}
				if (rms)
					k->rms_norm(1, n, row, x.ld, w, 1e-5f, alone.at, n);
				else
					k->layer_norm(1, n, row, x.ld, w, b, 1e-5f, alone.at, n);
				same = same && check_same(alone, check_part(y, r, 1));
			}
			bool bounds = check_bounds(y);
			check_case(check_end() && bounds && same && v.worst <= 1,
			           "%s width=%d rows=%d w=%d b=%d: [%d,%d] %.9g want %.9g, %.2f of the bound%s", rms ? "rms" : "layer",
			           (int)n, (int)rows, with_w, with_b, (int)v.row, (int)v.column, v.got, v.want, v.worst,
			           same ? "" : "; other bits alone");
		}
}

static void check_norm_back(const kernels *k)
{
	for (size_t i = 0; i < COUNT_OF(widths); i++)
		for (int kind = 0; kind < 4; kind++) {
			bool rms = kind & 1;
			int64_t n = widths[i], rows = check_between(0, 9), c0 = check_between(0, n), c1 = check_between(c0, n);
			check_begin();
			matrix x = check_matrix(rows, n, n + 1), dy = check_matrix(rows, n, n + 4), dx = check_output(rows, n, n + 3),
				   alone = check_output(1, n, n);
			float *w = kind & 2 ? check_floats(n) : NULL, *stats = check_output(rows, 2, 2).at, *dw = check_output(1, n, n).at;
			k->norm_stats(rows, n, x.at, x.ld, 1e-5f, rms, stats);
			k->norm_dx(rows, n, x.at, x.ld, stats, w, rms, dy.at, dy.ld, dx.at, dx.ld);
			k->norm_dw(rows, c0, c1, x.at, x.ld, stats, dy.at, dy.ld, dw);
			verdict v = {0};
			bool same = true, outside = true;
			for (int64_t r = 0; r < rows; r++) {
				const float *a = x.at + r * x.ld, *b = dy.at + r * dy.ld;
				double mean = stats[2 * r], rstd = stats[2 * r + 1], g_mean = 0, gx_mean = 0, g_size = 0, gx_size = 0;
				for (int64_t c = 0; c < n; c++) {
					double g = (double)b[c] * (w ? w[c] : 1), hat = (a[c] - mean) * rstd;
					g_mean += g / (double)n;
					g_size += fabs(g) / (double)n;
					gx_mean += g * hat / (double)n;
					gx_size += fabs(g * hat) / (double)n;
				}
				for (int64_t c = 0; c < n; c++) {
					double g = (double)b[c] * (w ? w[c] : 1), hat = (a[c] - mean) * rstd;
					double want = rstd * (g - (rms ? 0 : g_mean) - hat * gx_mean);
					double size = fabs(g) + (rms ? 0 : fabs(g_mean)) + fabs(hat * gx_mean);
					double bound =
						rstd * (5 * CHECK_EPS * size + chain(n) * (g_size + fabs(hat) * gx_size)) + 2 * CHECK_EPS * fabs(want);
					check_near(&v, r, c, dx.at[r * dx.ld + c], want, bound);
				}
				k->norm_dx(1, n, a, x.ld, stats + 2 * r, w, rms, b, dy.ld, alone.at, n);
				same = same && check_same(alone, check_part(dx, r, 1));
			}
			for (int64_t c = 0; c < n; c++) {
				double want = 0, size = 0;
				for (int64_t r = 0; r < rows; r++) {
					double t = dy.at[r * dy.ld + c] * ((x.at[r * x.ld + c] - (double)stats[2 * r]) * stats[2 * r + 1]);
					want += t;
					size += fabs(t);
				}
				if (c >= c0 && c < c1)
					check_near(&v, -1, c, dw[c], want, CHECK_EPS * (double)(rows + 4) * size);
				else
					outside = outside && check_poison(dw[c]);
			}
			bool bounds = check_bounds(dx);
			check_case(check_end() && bounds && same && outside && v.worst <= 1,
			           "rms=%d width=%d rows=%d w=%d columns %d to %d: [%d,%d] %.9g want %.9g, %.2f of the bound%s", rms, (int)n,
			           (int)rows, w != NULL, (int)c0, (int)c1, (int)v.row, (int)v.column, v.got, v.want, v.worst,
			           same ? "" : "; other bits alone");
		}
}

/* ------------------------------------------------------------------------------------------------ activations */
static double plain_act(act_kind kind, double x)
{
	switch (kind) {
	case ACT_RELU:
		return x > 0 ? x : 0;
	case ACT_GELU:
		return 0.5 * x * erfc(-x * M_SQRT1_2);
	case ACT_GELU_TANH:
		return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
	case ACT_QUICK_GELU:
		return x / (1 + exp(-1.702 * x));
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_TANH:
		return tanh(x);
	case ACT_SIGMOID:
		return 1 / (1 + exp(-x));
	default:
		return x;
	}
}

static double plain_slope(act_kind kind, double x)
{
	double s = 1 / (1 + exp(-x)), q = 1 / (1 + exp(-1.702 * x)), t = tanh(x);
	double u = fmin(fmax(x, -100), 100), g = tanh(sqrt(2 / M_PI) * (u + 0.044715 * u * u * u));
	switch (kind) {
	case ACT_RELU:
		return x > 0;
	case ACT_GELU:
		return 0.5 * erfc(-x * M_SQRT1_2) + u * exp(-0.5 * u * u) / sqrt(2 * M_PI);
	case ACT_GELU_TANH:
		return 0.5 * (1 + g) + 0.5 * u * (1 - g * g) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * u * u);
	case ACT_QUICK_GELU:
		return q + 1.702 * x * q * (1 - q);
	case ACT_SILU:
		return s + x * s * (1 - s);
	case ACT_TANH:
		return 1 - t * t;
	case ACT_SIGMOID:
		return s * (1 - s);
	default:
		return 1;
	}
}

static float act_input(int64_t i)
{
	static const float special[] = {0,   -0.0f, 1e-30f, -1e-30f, 1e-40f, 1e30f,      -1e30f, 88, -88,
	                                104, -104,  0.5f,   -0.5f,   0.875f, 1.2374369f, 4,      -4, 1e-3f};
	if (i % 5 == 0)
		return special[check_random() % COUNT_OF(special)];
	return check_value() * (i % 3 == 0 ? 8.0f : i % 3 == 1 ? 2.0f : 0.3f);
}

static void check_act(const kernels *k)
{
	for (int kind = 0; kind < ACT_COUNT; kind++)
		for (size_t i = 0; i < COUNT_OF(widths) + 1; i++) {
			int64_t n = i < COUNT_OF(widths) ? widths[i] : 5000;
			check_begin();
			float *x = check_floats(n), *dy = check_floats(n), *b = check_floats(n), *y = check_output(1, n, n).at,
				  *dx = check_output(1, n, n).at;
			float *gate = check_output(1, n, n).at, *da = check_output(1, n, n).at, *db = check_output(1, n, n).at,
				  *in_place = check_output(1, n, n).at;
			float *back = check_output(1, n, n).at;
			for (int64_t j = 0; j < n; j++)
				x[j] = act_input(j);
			memcpy(in_place, x, (size_t)n * 4);
			memcpy(back, dy, (size_t)n * 4);
			k->act((act_kind)kind, n, x, y);
			k->act((act_kind)kind, n, in_place, in_place);
			k->act_back((act_kind)kind, n, x, dy, dx);
			k->act_back((act_kind)kind, n, x, back, back);
			k->gate((act_kind)kind, n, x, b, gate);
			k->gate_back((act_kind)kind, n, x, b, dy, da, db);
			verdict v = {0};
			bool same = n == 0 || (!memcmp(y, in_place, (size_t)n * 4) && !memcmp(dx, back, (size_t)n * 4));
			for (int64_t j = 0; j < n; j++) {
				double f = plain_act((act_kind)kind, x[j]), s = plain_slope((act_kind)kind, x[j]), ef = 1e-6 * fmax(1, fabs(f)),
					   es = 1e-6 * fmax(1, fabs(s));
				check_near(&v, 0, j, y[j], f, ef);
				check_near(&v, 1, j, dx[j], dy[j] * s, fabs(dy[j] * es) + CHECK_EPS * fabs(dy[j] * s) + 1e-45);
				check_near(&v, 2, j, gate[j], f * b[j], fabs(b[j] * ef) + CHECK_EPS * fabs(b[j] * f) + 1e-45);
				check_near(&v, 3, j, da[j], (double)dy[j] * b[j] * s,
				           fabs((double)dy[j] * b[j]) * (es + 3 * CHECK_EPS * fabs(s)) + 1e-45);
				check_near(&v, 4, j, db[j], dy[j] * f, fabs(dy[j] * ef) + CHECK_EPS * fabs(dy[j] * f) + 1e-45);
				float one;
				k->act((act_kind)kind, 1, x + j, &one);
				same = same && !memcmp(&one, y + j, 4);
			}
			check_case(check_end() && same && v.worst <= 1, "%s n=%d: output %d [%d] %.9g want %.9g, %.2f of the bound%s",
			           act_text[kind], (int)n, (int)v.row, (int)v.column, v.got, v.want, v.worst,
			           same ? "" : "; other bits alone or in place");
		}
}

/* ------------------------------------------------------------------------------------------------ plain loops */
static void check_loops(const kernels *k)
{
	for (size_t i = 0; i < COUNT_OF(widths); i++) {
		int64_t n = widths[i];
		check_begin();
		float *a = check_floats(n), *b = check_floats(n), *sum = check_output(1, n, n).at, *scaled = check_output(1, n, n).at,
			  *axpy = check_floats(n);
		float *before = check_output(1, n, n).at;
		memcpy(before, axpy, (size_t)n * 4);
		float s = check_value(), dot = k->dot(n, a, b);
		k->add(n, a, b, sum);
		k->scale(n, s, a, scaled);
		k->axpy(n, s, a, axpy);
		verdict v = {0};
		double want = 0, size = 0;
		for (int64_t j = 0; j < n; j++) {
			want += (double)a[j] * b[j];
			size += fabs((double)a[j] * b[j]);
			check_near(&v, 0, j, sum[j], (double)(a[j] + b[j]), 0);
			check_near(&v, 1, j, scaled[j], (double)(s * a[j]), 0);
			check_near(&v, 2, j, axpy[j], before[j] + (double)s * a[j],
			           CHECK_EPS * (fabs((double)s * a[j]) + fabs(before[j] + (double)s * a[j])) * 1.0001);
		}
		check_near(&v, 3, 0, dot, want, chain(n) * size);
		k->add(n, a, b, a);
		k->scale(n, s, scaled, scaled);
		for (int64_t j = 0; j < n; j++)
			check_near(&v, 4, j, a[j], sum[j], 0);
		check_case(check_end() && v.worst <= 1, "n=%d: loop %d [%d] %.9g want %.9g", (int)n, (int)v.row, (int)v.column, v.got,
		           v.want);
	}
}

static void check_widen(const kernels *k)
{
	for (int type = 0; type <= DT_I32; type++) /* blocks: tests/unit/test_gguf.c */
		for (size_t i = 0; i < COUNT_OF(widths) + 1; i++) {
			int64_t n = i < COUNT_OF(widths) ? widths[i] : 65536, size = (int64_t)dtype_size((dtype)type);
			check_begin();
			uint8_t *x = check_bytes((size_t)(n * size), (size_t)size);
			float *y = check_output(1, n, n).at;
			for (int64_t j = 0; j < n; j++)
				for (int64_t s = 0; s < size; s++)
					x[j * size + s] = (uint8_t)(n == 65536 && size == 2 ? j >> 8 * s : (int64_t)(check_random() & 255));
			k->widen((dtype)type, n, x, y);
			int64_t bad = -1;
			for (int64_t j = 0; j < n; j++) {
				uint16_t half;
				int32_t whole;
				float want;
				memcpy(&half, x + j * size, 2);
				memcpy(&want, x + j * size, size == 4 ? 4 : 2);
				memcpy(&whole, x + j * size, size == 4 ? 4 : 2);
				if (type == DT_F16) {
					int exponent = half >> 10 & 31, fraction = half & 1023;
					want = exponent == 31 ? (fraction ? NAN : INFINITY)
					       : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
					                      : ldexpf((float)fraction, -24);
					want = half & 0x8000 ? -want : want;
				} else if (type == DT_BF16) {
					uint32_t bits = (uint32_t)half << 16;
					memcpy(&want, &bits, 4);
				} else if (type == DT_I32) {
					want = (float)whole;
				}
				if (memcmp(&want, y + j, 4) && !(isnan(want) && isnan(y[j])))
					bad = j;
			}
			check_case(check_end() && bad < 0, "%s n=%d: [%d] is not exact", dtype_name((dtype)type), (int)n, (int)bad);
		}
}

static void check_column_sum(const kernels *k)
{
	for (size_t i = 0; i < COUNT_OF(widths); i++)
		for (int64_t rows = 0; rows < 20; rows += 3) {
			int64_t n = widths[i], c0 = check_between(0, n), c1 = check_between(c0, n);
			check_begin();
			matrix x = check_matrix(rows, n, n + 3);
			float *s = check_output(1, n, n).at, *all = check_output(1, n, n).at;
			k->column_sum(rows, c0, c1, x.at, x.ld, s);
			k->column_sum(rows, 0, n, x.at, x.ld, all);
			verdict v = {0};
			bool ok = c0 == c1 || !memcmp(s + c0, all + c0, (size_t)(c1 - c0) * 4);
			for (int64_t c = 0; c < n; c++) {
				double want = 0, size = 0;
				for (int64_t r = 0; r < rows; r++) {
					want += x.at[r * x.ld + c];
					size += fabs((double)x.at[r * x.ld + c]);
				}
				check_near(&v, 0, c, all[c], want, CHECK_EPS * (double)rows * size);
				ok = ok && ((c >= c0 && c < c1) || check_poison(s[c]));
			}
			check_case(check_end() && ok && v.worst <= 1, "rows=%d columns %d to %d of %d: [%d] %.9g want %.9g", (int)rows,
			           (int)c0, (int)c1, (int)n, (int)v.column, v.got, v.want);
		}
}

static void check_rotate(const kernels *k)
{
	static const int32_t halves[] = {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 32, 40, 64};
	for (size_t i = 0; i < COUNT_OF(halves); i++)
		for (int kind = 0; kind < 8; kind++) {
			int32_t half = halves[i], rest = kind & 1 ? (int32_t)check_between(1, 9) : 0, dim = 2 * half + rest,
					heads = (int32_t)check_between(0, 3);
			int pairing = kind >> 1 & 1;
			float sign = kind & 4 ? -1 : 1;
			int64_t rows = check_between(0, 5), width = (int64_t)heads * dim;
			check_begin();
			matrix x = check_matrix(rows, width, width + 3), y = check_output(rows, width, width + 1),
				   cs = check_matrix(rows, 2 * half, 2 * half + 5);
			k->rotate(rows, heads, dim, half, pairing, sign, x.at, x.ld, cs.at, cs.ld, y.at, y.ld);
			verdict v = {0};
			for (int64_t r = 0; r < rows; r++)
				for (int64_t h = 0; h < heads; h++)
					for (int32_t d = 0; d < dim; d++) {
						const float *from = x.at + r * x.ld + h * dim;
						double want = from[d], bound = 0;
						if (d < 2 * half) {
							int32_t pair = pairing ? d / 2 : d % half, first = pairing ? 2 * pair : pair,
									second = pairing ? first + 1 : pair + half;
							double c = cs.at[r * cs.ld + pair], s = sign * cs.at[r * cs.ld + half + pair], x1 = from[first],
								   x2 = from[second];
							want = d == first ? x1 * c - x2 * s : x2 * c + x1 * s;
							bound = CHECK_EPS * (2 * fabs(x1 * c) + 2 * fabs(x2 * s) + 2 * fabs(x2 * c) + 2 * fabs(x1 * s));
						}
						check_near(&v, r, h * dim + d, y.at[r * y.ld + h * dim + d], want, bound);
					}
			k->rotate(rows, heads, dim, half, pairing, sign, x.at, x.ld, cs.at, cs.ld, x.at, x.ld);
			bool same = check_same(x, y), bounds = check_bounds(x) && check_bounds(y);
			check_case(check_end() && v.worst <= 1 && same && bounds,
			           "rows=%d heads=%d dim=%d half=%d pairing=%d sign=%g: [%d,%d] %.9g want %.9g%s", (int)rows, heads, dim,
			           half, pairing, (double)sign, (int)v.row, (int)v.column, v.got, v.want,
			           same ? "" : "; other bits in place");
		}
}

/* ------------------------------------------------------------------------------------------------ softmax */
static void check_softmax(const kernels *k)
{
	for (size_t i = 0; i < COUNT_OF(widths); i++)
		for (int kind = 0; kind < 4; kind++) {
			int64_t n = widths[i], rows = check_between(1, 6);
			check_begin();
			matrix x = check_matrix(rows, n, n + 2), y = check_output(rows, n, n + 3), dy = check_matrix(rows, n, n + 1),
				   dx = check_output(rows, n, n + 4);
			matrix alone = check_output(1, n, n);
			for (int64_t r = 0; r < rows; r++)
				for (int64_t c = 0; c < n; c++) {
					float *at = x.at + r * x.ld + c;
					*at = kind == 1 ? *at * 50 : kind == 2 ? *at + 1e4f : *at;
					if ((kind == 3 && check_random() % 3 == 0) || (kind == 3 && r == 1))
						*at = -INFINITY;
				}
			k->softmax(rows, n, x.at, x.ld, y.at, y.ld);
			k->softmax_back(rows, n, y.at, y.ld, dy.at, dy.ld, dx.at, dx.ld);
			verdict v = {0};
			bool same = true;
			for (int64_t r = 0; r < rows; r++) {
				const float *row = x.at + r * x.ld, *p = y.at + r * y.ld, *g = dy.at + r * dy.ld;
				double top = -INFINITY, sum = 0, dot = 0, size = 0;
				for (int64_t c = 0; c < n; c++)
					top = fmax(top, row[c]);
				for (int64_t c = 0; c < n && top > -INFINITY; c++)
					sum += exp(row[c] - top);
				for (int64_t c = 0; c < n; c++) {
					double want = top > -INFINITY ? exp(row[c] - top) / sum : 0;
					double shift =
						top > -INFINITY && row[c] > -INFINITY ? CHECK_EPS * fabs(row[c] - top) : 0; /* rounding of x - max */
					check_near(&v, r, c, p[c], want, want * (5e-7 + chain(n) + 2 * shift) + 1e-44);
					dot += (double)p[c] * g[c];
					size += fabs((double)p[c] * g[c]);
				}
				for (int64_t c = 0; c < n; c++)
					check_near(&v, 100 + r, c, dx.at[r * dx.ld + c], p[c] * (g[c] - dot),
					           p[c] * (chain(n) * size + 3 * CHECK_EPS * (fabs((double)g[c]) + fabs(dot))) + 1e-44);
				double lse = top > -INFINITY ? top + log(sum) : -INFINITY;
				check_near(&v, 200 + r, 0, k->log_sum_exp(n, row), lse, 3e-7 + chain(n) + CHECK_EPS * fabs(lse));
				k->softmax(1, n, row, x.ld, alone.at, n);
				same = same && check_same(alone, check_part(y, r, 1));
			}
			bool bounds = check_bounds(y) && check_bounds(dx);
			check_case(check_end() && bounds && same && v.worst <= 1,
			           "width=%d rows=%d kind=%d: [%d,%d] %.9g want %.9g, %.2f of the bound%s", (int)n, (int)rows, kind,
			           (int)v.row, (int)v.column, v.got, v.want, v.worst, same ? "" : "; other bits alone");
		}
}

/* exp itself, through a softmax of two: y1 / y0 = exp(x1 - x0) with x0 = 0 the maximum */
static void check_exp(const kernels *k)
{
	double worst = 0, at = 0;
	float x[2] = {0, 0}, y[2];
	for (int i = 0; i < 200000; i++) {
		x[1] = -87.0f * (float)i / 200000.0f;
		k->softmax(1, 2, x, 2, y, 2);
		double got = (double)y[1] / (double)y[0],
			   error = fabs(got / exp((double)x[1]) - 1); /* two roundings of the quotient more */
		if (error > worst) {
			worst = error;
			at = x[1];
		}
	}
	check_case(worst <= 2e-7 + 3 * CHECK_EPS, "exp(%g): relative error %.3g", at, worst);
	x[1] = -INFINITY;
	k->softmax(1, 2, x, 2, y, 2);
	check_case(y[0] == 1 && y[1] == 0, "exp(-infinity) or exp(0): %.9g, %.9g", (double)y[1], (double)y[0]);
}

static void check_dtype(const kernels *k)
{
	act_kind kind;
	size_t missing = 0;
	for (size_t at = offsetof(kernels, gemm_tasks); at < sizeof *k; at += sizeof(uintptr_t)) {
		uintptr_t entry;
		memcpy(&entry, (const char *)k + at, sizeof entry);
		missing += !entry;
	}
	check_case(!missing, "the table has %zu empty entries", missing);
	check_case(kernels_get(k->level) == k && kernels_get(CPU_PORTABLE)->level == CPU_PORTABLE &&
	               kernels_get(CPU_NEON) == kernels_get(cpu_detect()),
	           "the choice of a level");
	check_case(act_parse("gelu_new", &kind) && kind == ACT_GELU_TANH && act_parse("linear", &kind) && kind == ACT_NONE &&
	               !act_parse("mish", &kind),
	           "act_parse");
	bool ok = true;
	for (uint32_t i = 0; i < 65536; i++) { /* every bfloat comes back; so does the nearest even of a float between two */
		float x = dtype_bfloat((uint16_t)i), half;
		uint32_t bits = i << 16 | 0x8000u;
		memcpy(&half, &bits, 4);
		ok = ok && (isnan(x) ? isnan(dtype_bfloat(dtype_to_bfloat(x))) : dtype_to_bfloat(x) == i);
		if (!isnan(half) && isfinite(x))
			ok = ok && dtype_to_bfloat(half) == (uint16_t)(i + (i & 1));
	}
	check_case(ok, "bfloat rounding");
}

/* ------------------------------------------------------------------------------------------------ speed */
enum { BENCH_ROWS = 64, BENCH_WIDTH = 768 };
typedef struct {
	const kernels *k;
	int what;
	matrix x, y, dy;
	float *w, *b, *stats;
	uint16_t *half;
} timed;

static void timed_task(void *arg, int64_t task, void *scratch)
{
	timed *t = arg;
	const kernels *k = t->k;
	int64_t n = (int64_t)BENCH_ROWS * BENCH_WIDTH, ld = BENCH_WIDTH;
	(void)task;
	(void)scratch;
	switch (t->what) {
	case 0:
		k->layer_norm(BENCH_ROWS, ld, t->x.at, ld, t->w, t->b, 1e-5f, t->y.at, ld);
		break;
	case 1:
		k->rms_norm(BENCH_ROWS, ld, t->x.at, ld, t->w, 1e-5f, t->y.at, ld);
		break;
	case 2:
		k->norm_dx(BENCH_ROWS, ld, t->x.at, ld, t->stats, t->w, false, t->dy.at, ld, t->y.at, ld);
		break;
	case 3:
		k->norm_dw(BENCH_ROWS, 0, ld, t->x.at, ld, t->stats, t->dy.at, ld, t->y.at);
		break;
	case 4:
		k->softmax(BENCH_ROWS, ld, t->x.at, ld, t->y.at, ld);
		break;
	case 5:
		k->add(n, t->x.at, t->dy.at, t->y.at);
		break;
	case 6:
		k->rotate(BENCH_ROWS, 12, 64, 32, 0, 1, t->x.at, ld, t->dy.at, ld, t->y.at, ld);
		break;
	case 7:
		k->rotate(BENCH_ROWS, 12, 64, 32, 1, 1, t->x.at, ld, t->dy.at, ld, t->y.at, ld);
		break;
	case 8:
		k->widen(DT_BF16, n, t->half, t->y.at);
		break;
	case 9:
		k->widen(DT_F16, n, t->half, t->y.at);
		break;
	case 10:
		t->y.at[0] = k->dot(n, t->x.at, t->dy.at);
		break;
	case 11:
		k->column_sum(BENCH_ROWS, 0, ld, t->x.at, ld, t->y.at);
		break;
	default:
		if (t->what < 20 + ACT_COUNT)
			k->act((act_kind)(t->what - 20), n, t->x.at, t->y.at);
		else
			k->act_back((act_kind)(t->what - 40), n, t->x.at, t->dy.at, t->y.at);
	}
}

static void bench_all(const kernels *k)
{
	static const struct {
		const char *name;
		double bytes; /* per value */
	} names[] = {{"layer_norm", 8}, {"rms_norm", 8},  {"norm_dx", 12},    {"norm_dw", 8},
	             {"softmax", 8},    {"add", 12},      {"rotate half", 8}, {"rotate interleaved", 8},
	             {"widen bf16", 6}, {"widen f16", 6}, {"dot", 8},         {"column_sum", 4}};
	check_begin();
	int64_t n = (int64_t)BENCH_ROWS * BENCH_WIDTH;
	timed t = {
		.k = k, .x = check_matrix(BENCH_ROWS, BENCH_WIDTH, BENCH_WIDTH), .y = check_output(BENCH_ROWS, BENCH_WIDTH, BENCH_WIDTH)};
	t.dy = check_matrix(BENCH_ROWS, BENCH_WIDTH, BENCH_WIDTH);
	t.w = check_floats(BENCH_WIDTH);
	t.b = check_floats(BENCH_WIDTH);
	t.stats = check_floats(2 * BENCH_ROWS);
	t.half = check_bytes((size_t)n * 2, 2);
	bench_work w = {timed_task, &t, 1, 0};
	for (t.what = 0; t.what < (int)COUNT_OF(names); t.what++)
		bench_run(&w, names[t.what].bytes * (double)n, "GB/s", "%s 64 x 768", names[t.what].name);
	for (int kind = ACT_RELU; kind < ACT_COUNT; kind++)
		for (int back = 0; back < 2; back++) {
			t.what = (back ? 40 : 20) + kind;
			bench_run(&w, (back ? 12 : 8) * (double)n, "GB/s", "%s %s", back ? "act_back" : "act", act_text[kind]);
		}
	check_end();
}

const check_entry check_vectors[] = {
	{"dtype", check_dtype, NULL},
	{"norm", check_norm, bench_all},
	{"norm_back", check_norm_back, NULL},
	{"act", check_act, NULL},
	{"loops", check_loops, NULL},
	{"widen", check_widen, NULL},
	{"column_sum", check_column_sum, NULL},
	{"rotate", check_rotate, NULL},
	{"softmax", check_softmax, NULL},
	{"exp", check_exp, NULL},
	{NULL, NULL, NULL},
};
