/* rope.c - see rope.h. */
#include "parts/rope.h"

#include <math.h>
#include <string.h>

typedef struct making {
	const rope_config *c;
	int64_t dim, positions;
	double original, factor;
} making;

static float power(double theta, int64_t i, int64_t dim)
{
	return (float)pow(theta, (double)((float)(2 * i) / (float)dim));
}

static float blend(const rope_config *c, double original_, float f)
{
	const float pi2 = 6.283185307179586f;
	float wavelength = pi2 / f, factor = (float)c->factor, original = (float)original_;
	if (wavelength > original / (float)c->low)
		return f / factor;
	if (wavelength < original / (float)c->high)
		return f;
	float smooth = (original / wavelength - (float)c->low) / ((float)c->high - (float)c->low);
	return (1 - smooth) * f / factor + smooth * f;
}

/* ------------------------------------------------------------------------------------------------ yarn */
/* The column whose wave turns so often in the original context. */
static double column_of(const making *m, double turns)
{
	return (double)m->dim * log(m->original / (turns * 6.283185307179586)) / (2 * log(m->c->theta));
}

static double mscale_of(double factor, double mscale)
{
	return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static void yarn(const making *m, float *f, float *scale)
{
	const rope_config *c = m->c;
	double low = column_of(m, c->fast ? c->fast : 32), high = column_of(m, c->slow ? c->slow : 1);
	if (c->truncate) {
		low = floor(low);
		high = ceil(high);
	}
	low = fmax(low, 0);
	high = fmin(high, (double)(m->dim - 1));
	if (low == high)
		high += 0.001;
	for (int64_t i = 0; i < m->dim / 2; i++) {
		float ramp = ((float)i - (float)low) / (float)(high - low);
		float keep = 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp), p = power(c->theta, i, m->dim);
		f[i] = 1.0f / ((float)m->factor * p) * (1 - keep) + 1.0f / p * keep;
	}
	double own = c->mscale && c->mscale_all ? mscale_of(m->factor, c->mscale) / mscale_of(m->factor, c->mscale_all) : mscale_of(m->factor, 1);
	*scale = (float)(c->attention ? c->attention : own);
}

/* ------------------------------------------------------------------------------------------------ longrope */
static rebus_status divided(const making *m, const char *name, const real_list *by, float *f, rebus_error *err)
{
	if (by->count != m->dim / 2)
		return error_set(err, REBUS_FORMAT, "config.json: rope_parameters: %s: %d numbers, expected %lld", name, by->count, (long long)(m->dim / 2));
	for (int64_t i = 0; i < m->dim / 2; i++)
		f[i] = 1.0f / ((float)by->at[i] * power(m->c->theta, i, m->dim));
	return REBUS_OK;
}

static rebus_status longrope(arena *a, const making *m, float *f, rope *r, rebus_error *err)
{
	float *beyond = arena_get(a, (size_t)(m->dim / 2), sizeof *beyond);
	if (!beyond)
		return error_memory(err, "rotary frequencies");
	rebus_status status = divided(m, "short_factor", &m->c->short_factor, f, err);
	if (!status)
		status = divided(m, "long_factor", &m->c->long_factor, beyond, err);
	r->long_freq = beyond;
	r->original = (int64_t)m->original;
	r->scale = (float)(m->c->attention ? m->c->attention : m->factor <= 1 ? 1 : sqrt(1 + log(m->factor) / log(m->original)));
	return status;
}

/* ------------------------------------------------------------------------------------------------ all of them */
static rebus_status check(const making *m, bool scaled, rebus_error *err)
{
	const rope_config *c = m->c;
	bool llama3 = !strcmp(c->type, "llama3"), derived = !strcmp(c->type, "yarn") || !strcmp(c->type, "longrope");
	if (scaled && !derived && !c->factor)
		return error_set(err, REBUS_FORMAT, "config.json: rope_parameters: factor: missing, expected a number for rope_type %s", c->type);
	if (llama3 && !(c->high > c->low))
		return error_set(err, REBUS_FORMAT, "config.json: rope_parameters: low_freq_factor %g, expected less than high_freq_factor (%g)", c->low, c->high);
	if (!strcmp(c->type, "dynamic") && m->dim <= 2)
		return error_set(err, REBUS_FORMAT, "config.json: rope_type dynamic: heads of %lld columns, expected more than 2", (long long)m->dim);
	if (derived && m->original <= 1)
		return error_set(err, REBUS_FORMAT, "config.json: rope_parameters: original_max_position_embeddings: %g, expected more than 1", m->original);
	return REBUS_OK;
}

rebus_status part_rope(arena *a, const rope_config *c, int64_t dim, int64_t positions, rope *out, rebus_error *err)
{
	static const char *const types[] = {"default", "linear", "dynamic", "yarn", "llama3", "longrope"};
	size_t type = 0;
	while (type < COUNT_OF(types) && strcmp(c->type, types[type]))
		type++;
	if (type == COUNT_OF(types))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: rope_type %s, expected default, linear, dynamic, yarn, llama3 or longrope", c->type);
	making m = {c, dim, positions, c->original ? c->original : (double)positions, c->factor};
	if (!m.factor)
		m.factor = (double)positions / m.original;
	rebus_status status = check(&m, type > 0, err);
	if (status)
		return status;
	float *f = arena_get(a, (size_t)(dim / 2), sizeof *f);
	if (!f)
		return error_memory(err, "rotary frequencies");
	rope r = {.half = (int32_t)(dim / 2), .scale = 1, .inv_freq = f, .theta = c->theta, .factor = m.factor};
	for (int64_t i = 0; i < dim / 2; i++) {
		f[i] = 1.0f / power(c->theta, i, dim);
		if (type == 1)
			f[i] /= (float)c->factor;
		else if (type == 4)
			f[i] = blend(c, m.original, f[i]);
	}
	r.dynamic = type == 2;
	r.original = positions;
	if (type == 3)
		yarn(&m, f, &r.scale);
	if (type == 5)
		status = longrope(a, &m, f, &r, err);
	if (!status)
		*out = r;
	return status;
}

/* ------------------------------------------------------------------------------------------------ angles */
static float frequency(const rope *r, int32_t i, float theta, bool beyond)
{
	if (!beyond)
		return r->inv_freq[i];
	return r->dynamic ? 1.0f / power((double)theta, i, 2 * (int64_t)r->half) : r->long_freq ? r->long_freq[i] : r->inv_freq[i];
}

void part_rope_angles(const rope *r, const tokens *t, const int32_t *length, float *out)
{
	double dim = 2.0 * r->half;
	for (int64_t row = 0, end; row < t->rows; row = end) {
		int32_t n = length[t->seq[row]];
		bool beyond = n > r->original;
		float grown = (float)r->factor * (float)n / (float)r->original - (float)(r->factor - 1);
		float theta = r->dynamic && beyond ? (float)r->theta * (float)pow((double)grown, dim / (dim - 2)) : 0;
		for (end = row; end < t->rows && t->seq[end] == t->seq[row];)
			end++;
		for (int32_t i = 0; i < r->half; i++) {
			float f = frequency(r, i, theta, beyond);
			for (int64_t k = row; k < end; k++) {
				float angle = t->at[AT_ORDER][k] * f;
				out[k * 2 * r->half + i] = (float)cos((double)angle) * r->scale;
				out[k * 2 * r->half + r->half + i] = (float)sin((double)angle) * r->scale;
			}
		}
	}
}
