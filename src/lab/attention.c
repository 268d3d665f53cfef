/*
 * attention.c - rebus_attention: who a picture's rows look at, and maps of it over the patches.
 *
 *   A_l[h] = softmax(scale Q K^T) of layer l, head h, computed again from the queries and keys that the run has kept
 *
 *   one layer   the row of the class token, of one head or the mean of all; towers without a class token: the mean of all rows,
 *               how much each patch is looked at
 *   rolled out  Abnar & Zuidema (2020): R = (A_L + I)/2 ... (A_1 + I)/2 with A the mean of the heads, the class token's row of
 *               it; a tower that pools by a probe (SigLIP) begins with what its probe looks at
 *
 * A map is r A for a row vector r, so nothing of [rows, rows] is held: r is carried from the last layer to the first. The
 * probe of a tower counts as one more layer behind its own.
 */
#include "lab/attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "generate/session_net.h"
#include "lab/tensors.h"

typedef struct looked { /* queries and keys of a layer */
	const attention *spec;
	plan_rows q, k;
} looked;

typedef struct looking {
	const rebus_session *s;
	looked *layers; /* [count] */
	int32_t count;
	bool probe; /* the last one is the probe's */
	int64_t rows, learned;
	double *p; /* [rows]: a row of probabilities */
} looking;

static rebus_status find_layers(looking *l, arena *a, rebus_error *err)
{
	const graph *g = l->s->vision.n.g;
	l->layers = arena_zero(a, (size_t)graph_count(g), sizeof *l->layers);
	if (!l->layers)
		return error_memory(err, "attention");
	for (node_id id = 1; id <= graph_count(g); id++) {
		const node *n = graph_node(g, id);
		if (n->op != &op_attend)
			continue;
		if (n->a.attend.bias.kind != BIAS_NONE || n->rows == 0 || l->s->m->vision.f->tower(l->s->m->vision.config)->windows)
			return error_set(err, REBUS_UNSUPPORTED, "attention: a %s model looks through windows, expected one whose rows see the whole picture",
			                 rebus_model_family(l->s->m));
		looked *x = &l->layers[l->count++];
		*x = (looked){&n->a.attend, plan_output(l->s->vision.p, n->in[0]), plan_output(l->s->vision.p, n->in[1])};
		l->probe = x->q.rows != x->k.rows;
		if (x->k.rows != l->rows || (!l->probe && x->q.rows != l->rows))
			return error_set(err, REBUS_UNSUPPORTED, "attention: layer %d of a %s model has %lld rows, expected %lld", l->count - 1,
			                 rebus_model_family(l->s->m), (long long)x->k.rows, (long long)l->rows);
	}
	return l->count ? REBUS_OK : error_set(err, REBUS_UNSUPPORTED, "attention: a %s model has none", rebus_model_family(l->s->m));
}

/* The probabilities of query row i in a head. */
static void row_of(const looking *l, const looked *x, int32_t head, int64_t i, double *out)
{
	int32_t d = x->spec->head_dim, kv_head = head / (x->spec->heads / x->spec->kv_heads);
	const float *q = x->q.data + i * x->q.stride + (int64_t)head * d;
	double most = -INFINITY, sum = 0;
	for (int64_t j = 0; j < l->rows; j++) {
		const float *k = x->k.data + j * x->k.stride + (int64_t)kv_head * d;
		double dot = 0;
		for (int32_t c = 0; c < d; c++)
			dot += (double)q[c] * k[c];
		out[j] = dot * x->spec->scale;
		most = fmax(most, out[j]);
	}
	for (int64_t j = 0; j < l->rows; j++)
		sum += out[j] = exp(out[j] - most);
	for (int64_t j = 0; j < l->rows; j++)
		out[j] /= sum;
}

/* to = sum over rows i of weight[i] * A[i], of a head, or (-1) the mean of all */
static void look_through(const looking *l, const looked *x, int32_t head, const double *weight, double *to)
{
	memset(to, 0, (size_t)l->rows * sizeof *to);
	for (int64_t i = 0; i < x->q.rows; i++)
		for (int32_t h = 0; h < x->spec->heads && weight[i] != 0; h++) {
			if (head >= 0 && h != head)
				continue;
			row_of(l, x, h, i, l->p);
			for (int64_t j = 0; j < l->rows; j++)
				to[j] += weight[i] * l->p[j] / (head >= 0 ? 1 : x->spec->heads);
		}
}

/* The row that speaks for the picture: the class token's, or all alike. */
static void first_weights(const looking *l, const looked *x, double *to)
{
	bool one = x->q.rows == 1 || l->learned;
	for (int64_t i = 0; i < l->rows; i++)
		to[i] = one ? i == 0 : 1.0 / (double)l->rows;
}

static void roll_out(const looking *l, double *r, double *next)
{
	int32_t layer = l->count;
	first_weights(l, &l->layers[layer - 1], r);
	if (l->probe) {
		look_through(l, &l->layers[--layer], -1, r, next);
		memcpy(r, next, (size_t)l->rows * sizeof *r);
	}
	while (layer-- > 0) {
		look_through(l, &l->layers[layer], -1, r, next);
		for (int64_t i = 0; i < l->rows; i++)
			r[i] = 0.5 * r[i] + 0.5 * next[i];
	}
}

/* "attentions.N" as the reference names and shapes them: [1, heads, rows, rows]. */
static void give_full(looking *l, int32_t layer, rebus_tensors *to)
{
	const looked *x = &l->layers[layer];
	char name[40];
	snprintf(name, sizeof name, "attentions.%d", layer);
	float *data = tensors_add(to, "", name, REBUS_F32, 4, (int64_t[]){1, x->spec->heads, x->q.rows, l->rows});
	for (int32_t h = 0; data && h < x->spec->heads; h++)
		for (int64_t i = 0; i < x->q.rows; i++) {
			row_of(l, x, h, i, l->p);
			for (int64_t j = 0; j < l->rows; j++)
				*data++ = (float)l->p[j];
		}
}

static rebus_status check_options(const looking *l, const rebus_attention_options *o, rebus_error *err)
{
	if (o->layer < -1 || o->layer >= l->count)
		return error_set(err, REBUS_MISUSE, "attention: layer %d, expected 0 to %d", o->layer, l->count - 1);
	int32_t heads = l->layers[o->layer < 0 ? 0 : o->layer].spec->heads;
	if (o->head < -1 || o->head >= heads)
		return error_set(err, REBUS_MISUSE, "attention: head %d, expected 0 to %d", o->head, heads - 1);
	if (o->layer < 0 && o->head >= 0)
		return error_set(err, REBUS_MISUSE, "attention: a head without a layer; rolled out it is the mean of all");
	return REBUS_OK;
}

rebus_status attention_look(rebus_session *s, rebus_prompt *prompt, const rebus_attention_options *o, arena *a, rebus_tensors *full, attention_map *out,
                            rebus_error *err)
{
	rebus_status status;
	picture_list list;
	run_rows rows;
	if (!s->m->vision.f)
		return error_set(err, REBUS_MISUSE, "attention: a %s model reads no pictures", rebus_model_family(s->m));
	TRY(session_pictures(&prompt, 1, a, &list, err));
	if (list.count != 1) {
		status = error_set(err, REBUS_MISUSE, "attention: %d pictures, expected one", list.count);
		goto done;
	}
	TRY(session_see(s, &list, (net_wants){.scores = true}, a, &rows, err));
	looking l = {.s = s, .rows = rows.row[1], .learned = s->m->vision.f->tower(s->m->vision.config)->learned};
	TRY(find_layers(&l, a, err));
	TRY(check_options(&l, o, err));
	int64_t patches = (int64_t)list.at[0]->rows * list.at[0]->columns;
	double *r = arena_zero(a, (size_t)l.rows, sizeof *r), *next = arena_zero(a, (size_t)l.rows, sizeof *next);
	l.p = arena_get(a, (size_t)l.rows, sizeof *l.p);
	*out = (attention_map){list.at[0]->rows, list.at[0]->columns, arena_get(a, (size_t)patches, sizeof *out->values)};
	if (!r || !next || !l.p || !out->values) {
		status = error_memory(err, "attention");
		goto done;
	}
	if (o->layer < 0) {
		roll_out(&l, r, next);
	} else {
		first_weights(&l, &l.layers[o->layer], next);
		look_through(&l, &l.layers[o->layer], o->head, next, r);
	}
	for (int64_t i = 0; i < patches; i++)
		out->values[i] = (float)r[l.learned + i];
	for (int32_t i = 0; full && i < l.count; i++)
		if (o->layer < 0 || i == o->layer)
			give_full(&l, i, full);
done:
	return status;
}

rebus_status rebus_attention(rebus_session *s, rebus_prompt *prompt, const rebus_attention_options *options, rebus_tensors **out, rebus_error *err)
{
	const rebus_attention_options o = options ? *options : rebus_attention_defaults();
	rebus_status status;
	attention_map map;
	rebus_tensors *t = NULL;
	arena a;
	arena_init(&a, s->m->mem.from, 0);
	TRY(tensors_new(s->m->mem.from, &t, err));
	TRY(attention_look(s, prompt, &o, &a, t, &map, err));
	float *values = tensors_add(t, "", "map", REBUS_F32, 2, (int64_t[]){map.rows, map.columns});
	if (values)
		memcpy(values, map.values, (size_t)map.rows * (size_t)map.columns * sizeof *values);
	TRY(tensors_check(t, err));
	*out = t;
	t = NULL;
done:
	rebus_tensors_free(t);
	arena_free(&a);
	return status;
}

rebus_attention_options rebus_attention_defaults(void)
{
	return (rebus_attention_options){.layer = -1, .head = -1};
}
