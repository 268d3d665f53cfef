/*
 * rope.h - rotary frequencies from a configuration (Su et al. 2021), with the scalings of published checkpoints.
 *
 *   default   f[i] = theta^(-2 i / dim), dim the columns of a head that are turned
 *   linear    f / factor
 *   dynamic   theta grows with the sequence (NTK-aware): theta (factor n / positions - (factor - 1))^(dim / (dim - 2)) for the
 *             length n of a sequence beyond max_position_embeddings
 *   yarn      (Peng et al. 2023) f blended with f / factor by a ramp over i between the turns beta_fast and beta_slow that the
 *             original context has; cos and sin times 0.1 log(factor) + 1, or attention_factor, or the quotient of mscales
 *   llama3    wavelength > original / low: f / factor; < original / high: f; between: blended
 *             smooth = (original / wavelength - low) / (high - low), (1 - smooth) f / factor + smooth f
 *   longrope  (Ding et al. 2024) f / short_factor[i], in a sequence longer than the original context f / long_factor[i];
 *             cos and sin times sqrt(1 + log(factor) / log(original)), or attention_factor
 *
 * All in f32 as transformers computes them (modeling_rope_utils.py). Where frequencies depend on the length of a sequence, it
 * is that of the run: keys that a cache holds keep the angles they were written with, as the reference's do.
 */
#ifndef REBUS_ROPE_H
#define REBUS_ROPE_H

#include "files/config.h"
#include "tokens/tokens.h"

typedef struct rope_config { /* what absent fields leave as 0 is derived */
	const char *type;
	double theta, factor, low, high, original, attention, fast, slow, mscale, mscale_all, partial;
	bool truncate;
	real_list short_factor, long_factor;
} rope_config;

/* Rows of a family's table of fields; the nearer path first. */
#define ROPE_PATHS(name) "rope_scaling." name "|rope_parameters." name
#define ROPE_FIELDS_AT(config, m, paths, theta_path, default_theta)                                                        \
	CONFIG_TEXT(config, m.type, paths("rope_type") "|" paths("type"), "default"),                                     \
	CONFIG_REAL(config, m.theta, paths("rope_theta") "|" theta_path, 1, 1e12, default_theta),                         \
	CONFIG_REAL(config, m.factor, paths("factor"), 1e-6, 1e6, 0),                                                     \
	CONFIG_REAL(config, m.low, paths("low_freq_factor"), 1e-6, 1e6, 1),                                               \
	CONFIG_REAL(config, m.high, paths("high_freq_factor"), 1e-6, 1e6, 4),                                             \
	CONFIG_REAL(config, m.original, "original_max_position_embeddings|" paths("original_max_position_embeddings"), 1, 1e9, 0), \
	CONFIG_REAL(config, m.attention, paths("attention_factor"), 1e-6, 1e6, 0),                                        \
	CONFIG_REAL(config, m.fast, paths("beta_fast"), 0, 1e6, 0),                                                       \
	CONFIG_REAL(config, m.slow, paths("beta_slow"), 0, 1e6, 0),                                                       \
	CONFIG_REAL(config, m.mscale, paths("mscale"), 0, 1e6, 0),                                                        \
	CONFIG_REAL(config, m.mscale_all, paths("mscale_all_dim"), 0, 1e6, 0),                                            \
	CONFIG_REAL(config, m.partial, paths("partial_rotary_factor") "|partial_rotary_factor", 0, 1, 1),                 \
	CONFIG_FLAG(config, m.truncate, paths("truncate"), true),                                                         \
	CONFIG_REALS(config, m.short_factor, paths("short_factor"), 1e-6, 1e6),                                           \
	CONFIG_REALS(config, m.long_factor, paths("long_factor"), 1e-6, 1e6)
#define ROPE_FIELDS(config, m) ROPE_FIELDS_AT(config, m, ROPE_PATHS, "rope_theta", 10000)

typedef struct rope {
	int32_t half;           /* columns turned / 2 */
	float scale;            /* of cos and sin */
	const float *inv_freq;  /* [half] */
	const float *long_freq; /* [half], of sequences longer than `original`; NULL: the same */
	bool dynamic;           /* of sequences longer than `original`: made from their length */
	int64_t original;
	double theta, factor;
} rope;

/* For heads of dim columns to turn, in the arena. positions: max_position_embeddings. UNSUPPORTED for another type. */
rebus_status part_rope(arena *a, const rope_config *c, int64_t dim, int64_t positions, rope *out, rebus_error *err);
/* cos and sin of every row, [rows, 2 half]; length: of each sequence, with the rows of this run. */
void part_rope_angles(const rope *r, const tokens *t, const int32_t *length, float *out);

#endif
