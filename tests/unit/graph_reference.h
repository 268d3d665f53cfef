/*
 * graph_reference.h - every differentiable operation once more, in double, straight from its formula; for test_ops.c.
 *
 * reference_run walks the nodes of a case in order. Nothing is shared with the library but the types: no tiles, no online
 * softmax, no fusion, views are copies. Sources (inputs, parameters) hold doubles that the test may move, which is what
 * makes central differences sharp: loss in double, so a step of 1e-5 leaves an error of about 1e-10.
 */
#ifndef TESTS_GRAPH_REFERENCE_H
#define TESTS_GRAPH_REFERENCE_H

#include "graph_case.h"

enum { REFERENCE_NODES = 128 };

typedef struct reference {
	graph_case *c;
	int32_t count; /* nodes up to here */
	double *value[REFERENCE_NODES];
	int64_t rows[REFERENCE_NODES];
	int32_t width[REFERENCE_NODES];
} reference;

static inline double widened(dtype type, const void *data, int64_t i)
{
	if (type == DT_F32)
		return (double)((const float *)data)[i];
	uint16_t bits = ((const uint16_t *)data)[i];
	return (double)(type == DT_F16 ? dtype_half(bits) : dtype_bfloat(bits));
}

static void param_values(const node *n, double *y)
{
	const weight *w = n->w;
	for (int p = 0; p < w->parts; p++) {
		const matrix *m = &w->part[p];
		if (n->a.which == 1)
			for (int64_t i = 0; i < m->out; i++)
				*y++ = w->bias[p] ? (double)w->bias[p][i] : 0;
		else
			for (int64_t i = 0; i < m->out * m->in; i++)
				*y++ = widened(m->type, m->data, i);
	}
}

/* Memory for every node, and the values of sources. */
static void reference_begin(reference *ref, graph_case *c)
{
	*ref = (reference){.c = c, .count = graph_count(c->g)};
	assert_true(ref->count < REFERENCE_NODES);
	for (node_id id = 1; id <= ref->count; id++) {
		const node *n = graph_node(c->g, id);
		ref->rows[id] = case_rows(c, n->rows);
		ref->width[id] = n->width;
		int64_t size = ref->rows[id] * n->width;
		ref->value[id] = case_get(c, size, sizeof(double));
		if (n->op == &op_param)
			param_values(n, ref->value[id]);
		for (int64_t i = 0; i < size && n->op == &op_input; i++)
			ref->value[id][i] = (double)((const float *)c->at[n->a.at])[i];
	}
}

static double act_value(act_kind kind, double x)
{
	switch (kind) {
	case ACT_RELU:
		return x > 0 ? x : 0;
	case ACT_GELU:
		return x * 0.5 * erfc(-x * 0.70710678118654752);
	case ACT_GELU_TANH:
		return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
	case ACT_QUICK_GELU:
		return x / (1 + exp(-1.702 * x));
	case ACT_SILU:
		return x / (1 + exp(-x));
	case ACT_TANH:
		return tanh(x);
	case ACT_SIGMOID:
		return 1 / (1 + exp(-x));
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	return x;
}

static void norm_row(const node *n, int32_t width, const double *x, const double *w, const double *b, double *y)
{
	double mean = 0, var = 0, eps = (double)n->a.eps;
	for (int32_t i = 0; i < width && n->op == &op_layer_norm; i++)
		mean += x[i] / width;
	for (int32_t i = 0; i < width; i++)
		var += (x[i] - mean) * (x[i] - mean) / width;
	for (int32_t i = 0; i < width; i++)
		y[i] = (x[i] - mean) / sqrt(var + eps) * (w ? w[i] : 1) + (b ? b[i] : 0);
}

static void softmax_row(int32_t width, const double *x, double *y)
{
	double top = x[0], sum = 0;
	for (int32_t i = 1; i < width; i++)
		top = fmax(top, x[i]);
	for (int32_t i = 0; i < width; i++)
		sum += y[i] = exp(x[i] - top);
	for (int32_t i = 0; i < width; i++)
		y[i] /= sum;
}

static void move_rows(const reference *ref, const node *n, double *y)
{
	const rowmap *m = ref->c->at[n->a.at];
	int32_t width = ref->width[n->in[0]];
	for (int64_t i = 0; i < m->rows_out; i++)
		for (int64_t j = m->start ? m->start[i] : i * m->taps; j < (m->start ? m->start[i + 1] : (i + 1) * m->taps); j++) {
			int64_t from = m->from[j];
			int input = 0;
			if (from < 0)
				continue;
			for (; from >= ref->rows[n->in[input]]; input++)
				from -= ref->rows[n->in[input]];
			double *to = y + i * n->width + (m->concat ? (j - i * m->taps) * width : 0);
			for (int32_t c = 0; c < width; c++)
				to[c] += (m->coef ? (double)m->coef[j] : 1) * ref->value[n->in[input]][from * width + c];
		}
}

static void rotate_row(const node *n, int32_t half, const double *x, const double *cos_sin, double *y)
{
	int32_t d = n->a.head_dim;
	memcpy(y, x, (size_t)n->width * sizeof *y);
	for (int32_t h = 0; h < n->width / d; h++)
		for (int32_t i = 0; i < half; i++) {
			int32_t a = h * d + (n->a.pairing ? 2 * i : i), b = h * d + (n->a.pairing ? 2 * i + 1 : i + half);
			y[a] = x[a] * cos_sin[i] - x[b] * cos_sin[half + i];
			y[b] = x[b] * cos_sin[i] + x[a] * cos_sin[half + i];
		}
}

/* T5's buckets, in float where the reference is */
static int64_t bucket(const bias_spec *b, int64_t distance)
{
	int64_t n = b->buckets, base = 0;
	if (b->both_ways) {
		n /= 2;
		base = distance > 0 ? n : 0;
		distance = distance < 0 ? -distance : distance;
	} else {
		distance = distance < 0 ? -distance : 0;
	}
	int64_t exact = n / 2;
	if (distance < exact)
		return base + distance;
	int64_t large = exact + (int64_t)(logf((float)distance / (float)exact) / (float)log((double)b->far / (double)exact) * (float)(n - exact));
	return base + (large < n ? large : n - 1);
}

static double score_bias(const node *n, const double *table, const int32_t *q, const int32_t *k, int32_t h)
{
	const bias_spec *b = &n->a.attend.bias;
	int32_t heads = n->a.attend.heads;
	switch (b->kind) {
	case BIAS_GRID:
		return table[((q[0] - k[0] + b->side[0] - 1) * (2 * b->side[1] - 1) + q[1] - k[1] + b->side[1] - 1) * heads + h] +
			(q[2] == k[2] ? 0 : (double)b->other_region);
	case BIAS_BUCKET:
		return table[bucket(b, k[0] - q[0]) * heads + h];
	case BIAS_SLOPE:
		return -table[h] * fabs((double)q[0] - k[0]);
	case BIAS_NONE:
		break;
	}
	return 0;
}

static void attend_row(const reference *ref, const node *n, int64_t r, int32_t h, int64_t k0, int64_t k1, double *y)
{
	const attention *a = &n->a.attend;
	int32_t kh = h / (a->heads / a->kv_heads);
	const double *q = ref->value[n->in[0]] + r * a->heads * a->head_dim + h * a->head_dim, *k = ref->value[n->in[1]], *v = ref->value[n->in[2]];
	const int32_t *q_at = n->a.q_at ? ref->c->at[n->a.q_at] : NULL, *kv_at = n->a.kv_at ? ref->c->at[n->a.kv_at] : NULL;
	double p[512];
	if (k0 >= k1)
		return;
	assert_true(k1 - k0 <= 512);
	for (int64_t j = k0; j < k1; j++) {
		double s = 0;
		for (int32_t i = 0; i < a->head_dim; i++)
			s += q[i] * k[(j * a->kv_heads + kh) * a->head_dim + i];
		p[j - k0] = s * (double)a->scale;
		if (a->cap > 0)
			p[j - k0] = (double)a->cap * tanh(p[j - k0] / (double)a->cap);
		if (a->bias.kind != BIAS_NONE)
			p[j - k0] += score_bias(n, ref->value[n->in[3]], q_at + 3 * r, kv_at + 3 * j, h);
	}
	softmax_row((int32_t)(k1 - k0), p, p);
	for (int64_t j = k0; j < k1; j++)
		for (int32_t i = 0; i < a->v_dim; i++)
			y[h * a->v_dim + i] += p[j - k0] * v[(j * a->kv_heads + kh) * a->v_dim + i];
}

static void attend_rows(const reference *ref, const node *n, double *y)
{
	const layout *l = ref->c->at[n->a.at];
	for (int32_t i = 0; i < l->count; i++)
		for (int64_t r = l->seg[i].q0; r < l->seg[i].q1; r++)
			for (int32_t h = 0; h < n->a.attend.heads; h++) {
				int64_t k0 = l->seg[i].kv0 + (l->lo ? l->lo[r] : 0), k1 = l->hi ? l->seg[i].kv0 + l->hi[r] : l->seg[i].kv1;
				attend_row(ref, n, r, h, k0, k1, y + r * n->width);
			}
}

static double pixel_error(const reference *ref, const node *n)
{
	const int32_t *at = ref->c->at[n->a.at];
	int32_t width = ref->width[n->in[0]], channels = n->a.part, cells = width / channels;
	double sum = 0, count = 0;
	for (int64_t r = 0; r < ref->rows[n->in[0]]; r++) {
		const double *x = ref->value[n->in[0]] + r * width, *t = ref->value[n->in[1]] + r * width;
		double mean = 0, apart = 0, error = 0;
		for (int32_t i = 0; i < width; i++)
			mean += t[i] / width;
		for (int32_t i = 0; i < width; i++)
			apart += (t[i] - mean) * (t[i] - mean) / (width - 1);
		for (int32_t i = 0; i < width; i++) {
			double want = t[i % channels * cells + i / channels];
			want = n->a.rms ? (want - mean) / sqrt(apart + 1e-6) : want;
			error += (x[i] - want) * (x[i] - want) / width;
		}
		sum += at[r] ? error : 0;
		count += at[r] != 0;
	}
	return count > 0 ? sum / count : 0;
}

static double entropy(const reference *ref, const node *n)
{
	const int32_t *target = ref->c->at[n->a.at];
	int32_t width = ref->width[n->in[0]];
	double sum = 0, count = 0;
	for (int64_t r = 0; r < ref->rows[n->in[0]]; r++) {
		const double *x = ref->value[n->in[0]] + r * width;
		double top = x[0], total = 0;
		for (int32_t i = 0; i < width; i++)
			top = fmax(top, x[i]);
		for (int32_t i = 0; i < width; i++)
			total += exp(x[i] - top);
		if (target[r] >= 0) {
			sum += top + log(total) - x[target[r]];
			count++;
		}
	}
	return count > 0 ? sum / count : 0;
}

/* What op_dropout.c says it draws. */
static double dropped(const reference *ref, const node *n, int64_t r, int32_t i, double x)
{
	const int32_t *draw = ref->c->at[n->a.at], *sample = n->a.q_at ? ref->c->at[n->a.q_at] : NULL;
	uint64_t run = (uint64_t)(uint32_t)draw[0] | (uint64_t)(uint32_t)draw[1] << 32, key = bits_mix(run ^ bits_mix((uint64_t)n->a.which));
	uint64_t bits = sample ? bits_mix(key ^ (uint64_t)(uint32_t)sample[r]) : bits_mix(bits_mix(key ^ (uint64_t)r) ^ (uint64_t)(i & ~1)) >> 32 * (i & 1 ? 1 : 0);
	double share = (double)(uint32_t)bits / 4294967296.0;
	return !draw[2] ? x : share < (double)n->a.factor ? 0 : x / (1 - (double)n->a.factor);
}

/* Row r of nodes whose rows are those of their first input. */
static void one_row(const reference *ref, const node *n, int64_t r, double *y)
{
	int32_t wide = ref->width[n->in[0]];
	const double *x = ref->value[n->in[0]] + r * wide, *other = n->in[1] ? ref->value[n->in[1]] : NULL, *third = n->in[2] ? ref->value[n->in[2]] : NULL;
	double length = 0, first = 0;
	int32_t unit = n->op == &op_rms_norm && n->a.head_dim ? n->a.head_dim : wide;
	for (int32_t c = 0; c < wide && (n->op == &op_layer_norm || n->op == &op_rms_norm); c += unit)
		norm_row(n, unit, x + c, other, third, y + c);
	if (n->op == &op_layer_norm || n->op == &op_rms_norm)
		return;
	if (n->op == &op_softmax)
		softmax_row(wide, x, y);
	else if (n->op == &op_rotate)
		rotate_row(n, ref->width[n->in[1]] / 2, x, other + r * ref->width[n->in[1]], y);
	for (int32_t i = 0; i < wide && n->op == &op_unit; i++)
		length += x[i] * x[i];
	for (int32_t i = 0; i < n->width; i++) {
		int32_t head = n->op == &op_cosine ? i / n->a.head_dim : 0;
		first = n->op == &op_cosine && i % n->a.head_dim == 0 ? 0 : first;
		for (int32_t j = 0; j < n->a.head_dim && n->op == &op_cosine && i % n->a.head_dim == 0; j++)
			first += x[i + j] * x[i + j];
		if (n->op == &op_unit)
			y[i] = x[i] / sqrt(length);
		else if (n->op == &op_cosine)
			y[i] = x[i] / sqrt(first) * (other ? exp(fmin(other[head], (double)n->a.factor)) : 1);
		else if (n->op == &op_view)
			y[i] = x[n->column + i];
		else if (n->op == &op_add)
			y[i] = x[i] + other[r * wide + i];
		else if (n->op == &op_act)
			y[i] = act_value(n->a.act, x[i]);
		else if (n->op == &op_scale)
			y[i] = (double)n->a.factor * x[i];
		else if (n->op == &op_dropout)
			y[i] = dropped(ref, n, r, i, x[i]);
		else if (n->op == &op_scale_columns)
			y[i] = x[i] * other[i];
		else if (n->op == &op_gate)
			y[i] = act_value(n->a.act, x[i]) * other[r * wide + i];
		for (int32_t j = 0; j < wide && n->op == &op_linear; j++)
			y[i] += x[j] * other[i * wide + j];
		if (n->op == &op_linear && third)
			y[i] += third[i];
	}
}

static void concat_rows(const reference *ref, const node *n, double *y)
{
	for (int64_t r = 0; r < ref->rows[n->in[0]]; r++)
		for (int i = 0; i < NODE_INPUTS && n->in[i]; i++) {
			int32_t w = ref->width[n->in[i]];
			memcpy(y, ref->value[n->in[i]] + r * w, (size_t)w * sizeof *y);
			y += w;
		}
}

static void reference_run(reference *ref)
{
	for (node_id id = 1; id <= ref->count; id++) {
		const node *n = graph_node(ref->c->g, id);
		double *y = ref->value[id];
		if (n->op == &op_input || n->op == &op_param)
			continue;
		memset(y, 0, (size_t)(ref->rows[id] * n->width) * sizeof *y);
		if (n->op == &op_move) {
			move_rows(ref, n, y);
		} else if (n->op == &op_concat) {
			concat_rows(ref, n, y);
		} else if (n->op == &op_attend) {
			attend_rows(ref, n, y);
		} else if (n->op == &op_cross_entropy) {
			y[0] = entropy(ref, n);
		} else if (n->op == &op_pixel_error) {
			y[0] = pixel_error(ref, n);
		} else if (n->op == &op_cache) {
			const int32_t *where = ref->c->at[n->a.at];
			for (int64_t r = 0; r < ref->rows[n->in[0]]; r++)
				memcpy(y + where[r] * n->width, ref->value[n->in[0]] + r * n->width, (size_t)n->width * sizeof *y);
		} else if (n->op == &op_column_sum) {
			for (int64_t i = 0; i < ref->rows[n->in[0]] * n->width; i++)
				y[i % n->width] += ref->value[n->in[0]][i];
		} else {
			for (int64_t r = 0; r < ref->rows[id]; r++)
				one_row(ref, n, r, y + r * n->width);
		}
	}
}

/* The loss the gradients are of: every output times its seed, summed. */
static double reference_loss(reference *ref)
{
	double sum = 0;
	reference_run(ref);
	for (int i = 0; i < ref->c->outs; i++) {
		node_id out = ref->c->out[i], seed = ref->c->seeds[i];
		for (int64_t j = 0; j < ref->rows[out] * ref->width[out]; j++)
			sum += ref->value[out][j] * ref->value[seed][j];
	}
	return sum;
}

#endif
