/*
 * optimiser.c - see optimiser.h. Every value moves by itself, so pieces go to threads in any order.
 *
 *   adamw   w -= rate * decay * w;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;      (Loshchilov & Hutter 2019, as PyTorch
 *           w -= rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)                 computes it)
 *   sgd     w -= rate * decay * w;  m = momentum m + g;  w -= rate * m
 *   lion    w -= rate * decay * w;  w -= rate * sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g    (Chen et al. 2023)
 */
#include "train/optimiser.h"

#include <math.h>
#include <string.h>

optimiser_kind optimiser_parse(const char *name)
{
	return !strcmp(name, "sgd") ? SGD : !strcmp(name, "lion") ? LION : ADAMW;
}

double optimiser_rate(const recipe *r, int64_t number, int64_t total)
{
	if (number <= r->warmup)
		return r->rate * (double)number / (double)r->warmup;
	double at = total > r->warmup ? (double)(number - r->warmup) / (double)(total - r->warmup) : 1, share = 1;
	if (!strcmp(r->schedule, "cosine"))
		share = r->final_rate + (1 - r->final_rate) * 0.5 * (1 + cos(acos(-1.0) * at));
	else if (!strcmp(r->schedule, "linear"))
		share = 1 - (1 - r->final_rate) * at;
	return r->rate * share;
}

/* ------------------------------------------------------------------------------------------------ norm */
static void square_piece(void *arg, parameters *list, int64_t piece)
{
	const kernels *k = arg;
	const piece_of *c = &list->pieces[piece];
	const parameter *p = &list->at[c->parameter];
	const float *g = p->gradient ? p->gradient + c->first : NULL;
	list->part[4 * piece] = g ? (double)k->dot(c->count, g, g) : 0;
}

double optimiser_norm(parameters *list, const rebus_runner *team, const kernels *k)
{
	double sum = 0;
	parameters_each(list, team, square_piece, (void *)(uintptr_t)k);
	for (int64_t i = 0; i < list->piece_count; i++)
		sum += list->part[4 * i];
	return sqrt(sum);
}

/* ------------------------------------------------------------------------------------------------ moves */
static void adamw(const optimiser_step *s, const parameter *p, const piece_of *c)
{
	double t = (double)s->number, rate = s->rate * p->rate;
	const float b1 = (float)(1 - s->r->beta1), b2 = (float)s->r->beta2, c2 = (float)(1 - s->r->beta2), eps = (float)s->r->eps, factor = s->factor;
	const float shrink = (float)(1 - rate * p->decay), size = (float)(rate / (1 - pow(s->r->beta1, t))), root = (float)sqrt(1 - pow(s->r->beta2, t));
	const float *restrict g = p->gradient + c->first;
	float *restrict w = p->value + c->first, *restrict m = p->moment1 + c->first, *restrict v = p->moment2 + c->first;
	for (int64_t i = 0; i < c->count; i++) {
		float x = factor * g[i];
		m[i] += b1 * (x - m[i]);
		v[i] = b2 * v[i] + c2 * (x * x);
		w[i] = shrink * w[i] - size * (m[i] / (sqrtf(v[i]) / root + eps));
	}
}

static void sgd(const optimiser_step *s, const parameter *p, const piece_of *c)
{
	double rate = s->rate * p->rate;
	const float shrink = (float)(1 - rate * p->decay), size = (float)rate, momentum = (float)s->r->momentum, factor = s->factor;
	const float *restrict g = p->gradient + c->first;
	float *restrict w = p->value + c->first, *restrict m = p->moment1 + c->first;
	for (int64_t i = 0; i < c->count; i++) {
		m[i] = momentum * m[i] + factor * g[i];
		w[i] = shrink * w[i] - size * m[i];
	}
}

static void lion(const optimiser_step *s, const parameter *p, const piece_of *c)
{
	double rate = s->rate * p->rate;
	const float b1 = (float)s->r->beta1, b2 = (float)s->r->beta2, shrink = (float)(1 - rate * p->decay), size = (float)rate, factor = s->factor;
	const float *restrict g = p->gradient + c->first;
	float *restrict w = p->value + c->first, *restrict m = p->moment1 + c->first;
	for (int64_t i = 0; i < c->count; i++) {
		float x = factor * g[i], u = b1 * m[i] + (1 - b1) * x;
		w[i] = shrink * w[i] - (u > 0 ? size : u < 0 ? -size : 0.0f);
		m[i] = b2 * m[i] + (1 - b2) * x;
	}
}

/* gradient's sum and squares, update's squares, weight's squares; before holds the weights as they were */
static void watch(const optimiser_step *s, const parameter *p, const piece_of *c, const float *before, double part[4])
{
	const float *g = p->gradient + c->first, *w = p->value + c->first;
	double sum = 0, squares = 0, moved = 0, size = 0;
	for (int64_t i = 0; i < c->count; i++) {
		double x = (double)(s->factor * g[i]), d = (double)w[i] - (double)before[i];
		sum += x;
		squares += x * x;
		moved += d * d;
		size += (double)before[i] * (double)before[i];
	}
	part[0] = squares;
	part[1] = sum;
	part[2] = moved;
	part[3] = size;
}

static void move_piece(void *arg, parameters *list, int64_t piece)
{
	const optimiser_step *s = arg;
	const piece_of *c = &list->pieces[piece];
	const parameter *p = &list->at[c->parameter];
	float before[PIECE];
	if (!p->gradient) {
		memset(list->part + 4 * piece, 0, 4 * sizeof *list->part);
		return;
	}
	if (s->watch)
		memcpy(before, p->value + c->first, (size_t)c->count * sizeof *before);
	if (s->kind == ADAMW)
		adamw(s, p, c);
	else if (s->kind == SGD)
		sgd(s, p, c);
	else
		lion(s, p, c);
	if (s->watch)
		watch(s, p, c, before, list->part + 4 * piece);
	const float keep = (float)s->r->ema;
	for (int64_t i = c->first; p->average && i < c->first + c->count; i++)
		p->average[i] = keep * p->average[i] + (1 - keep) * p->value[i];
}

void optimiser_move(parameters *list, const rebus_runner *team, optimiser_step *s)
{
	parameters_each(list, team, move_piece, s);
}

optimiser_seen optimiser_saw(const parameters *list, int32_t parameter)
{
	double sum[4] = {0}, n = (double)list->at[parameter].count;
	for (int64_t i = 0; i < list->piece_count; i++)
		for (int k = 0; k < 4 && list->pieces[i].parameter == parameter; k++)
			sum[k] += list->part[4 * i + k];
	double mean = sum[1] / n;
	return (optimiser_seen){sqrt(sum[0]), sum[0] / n - mean * mean, sqrt(sum[2]), sqrt(sum[3])};
}
