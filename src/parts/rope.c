/* rope.c - see rope.h. */
#include "parts/rope.h"

#include <math.h>
#include <string.h>

static float blend(const rope_config *c, float f)
{
	const float pi2 = 6.283185307179586f;
	float wavelength = pi2 / f, factor = (float)c->factor, original = (float)c->original;
	if (wavelength > original / (float)c->low)
		return f / factor;
	if (wavelength < original / (float)c->high)
		return f;
	float smooth = (original / wavelength - (float)c->low) / ((float)c->high - (float)c->low);
	return (1 - smooth) * f / factor + smooth * f;
}

rebus_status part_rope(arena *a, const rope_config *c, int64_t dim, const float **out, rebus_error *err)
{
	bool linear = !strcmp(c->type, "linear"), llama3 = !strcmp(c->type, "llama3");
	if (!linear && !llama3 && strcmp(c->type, "default"))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: rope_type %s, expected default, linear or llama3", c->type);
	if (llama3 && !(c->high > c->low && c->low > 0 && c->original > 0))
		return error_set(err, REBUS_FORMAT,
			"config.json: rope_parameters: llama3 needs low_freq_factor < high_freq_factor and original_max_position_embeddings");
	float *f = arena_get(a, (size_t)(dim / 2), sizeof *f);
	if (!f)
		return error_memory(err, "rotary frequencies");
	for (int64_t i = 0; i < dim / 2; i++) {
		float exponent = (float)(2 * i) / (float)dim;
		f[i] = 1.0f / (float)pow(c->theta, (double)exponent);
		if (linear)
			f[i] /= (float)c->factor;
		else if (llama3)
			f[i] = blend(c, f[i]);
	}
	*out = f;
	return REBUS_OK;
}
