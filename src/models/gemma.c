/*
 * gemma.c - Gemma 1 (Mesnard et al. 2024): GemmaForCausalLM; Gemma 2 (Riviere et al. 2024): Gemma2ForCausalLM; the text of
 * Gemma 3 (Kamath et al. 2025): Gemma3ForCausalLM.
 *
 *            norms a block   heads' norms   blocks that see the last keys        scores              logits
 *   Gemma 1  2               no             none                                 / sqrt(head_dim)    as they are
 *   Gemma 2  4               no             every second, from the first         / sqrt(scalar),     capped
 *                                                                                capped
 *   Gemma 3  4               yes            all but every sixth, at their        / sqrt(scalar)      capped where the file says
 *                                           own rotary base
 *
 * Common: embeddings times sqrt(hidden), norms with 1 + w, gated tanh GELU, a head size of its own, the head tied. Gemma 1's
 * files say "gelu" and mean the tanh form. Gemma 3's configuration has a cap of scores too, which the reference does not apply.
 * Rotary scalings of Gemma 3 count for the blocks that see all keys.
 */
#include "models/decoder.h"

#define GEMMA_FIELDS(hidden, layers, heads, kv_heads, mlp, vocabulary, positions)                                          \
	DECODER_FIELDS(hidden, layers, heads, kv_heads, mlp, vocabulary, positions, 1e-6, true),                          \
	CONFIG_INT(decoder_config, head_dim, "head_dim", 1, 512, 256),                                                    \
	CONFIG_FLAG(decoder_config, qkv_bias, "attention_bias", false),                                                   \
	CONFIG_FLAG(decoder_config, out_bias, "attention_bias", false),                                                   \
	CONFIG_FLAG(decoder_config, both_ways, "use_bidirectional_attention", false)
#define GEMMA_WINDOWS                                                                                                      \
	CONFIG_ACT(decoder_config, act, "hidden_activation", "gelu_pytorch_tanh"),                                        \
	CONFIG_REAL(decoder_config, score_dim, "query_pre_attn_scalar", 1e-6, 1e9, 256),                                  \
	CONFIG_INT_OR_NULL(decoder_config, window, "sliding_window", 1, 1 << 28, 4096),                                   \
	CONFIG_NAMES(decoder_config, layer_types, "layer_types")
#define FULL(name) "rope_scaling." name "|rope_parameters.full_attention." name
#define NEAR(name) "rope_parameters.sliding_attention." name

static const field fields1[] = {
	GEMMA_FIELDS(3072, 28, 16, 16, 24576, 256000, 8192),
	CONFIG_ACT(decoder_config, act, "hidden_act", "gelu_pytorch_tanh"),
	ROPE_FIELDS(decoder_config, rope),
};

static const field fields2[] = {
	GEMMA_FIELDS(2304, 26, 8, 4, 9216, 256000, 8192),
	GEMMA_WINDOWS,
	CONFIG_REAL_OR_NULL(decoder_config, cap, "attn_logit_softcapping", 1e-6, 1e9, 50),
	CONFIG_REAL_OR_NULL(decoder_config, logit_cap, "final_logit_softcapping", 1e-6, 1e9, 30),
	ROPE_FIELDS(decoder_config, rope),
};

static const field fields3[] = {
	GEMMA_FIELDS(2304, 26, 8, 4, 9216, 262208, 131072),
	GEMMA_WINDOWS,
	CONFIG_REAL_OR_NULL(decoder_config, logit_cap, "final_logit_softcapping", 1e-6, 1e9, 0),
	CONFIG_INT(decoder_config, window_skip, "sliding_window_pattern", 1, 1 << 20, 6),
	ROPE_FIELDS_AT(decoder_config, rope, FULL, "rope_theta", 1000000),
	CONFIG_TEXT(decoder_config, rope.type, FULL("rope_type") "|rope_parameters.full_attention.type", "default"), /* rope_scaling.type does not count */
	ROPE_FIELDS_AT(decoder_config, near_rope, NEAR, "rope_local_base_freq", 10000),
};

#define GEMMA_OUTER                                                                                                        \
	DECODER_OUTER,                                                                                                    \
	WEIGHT_ROW(VECTOR, "{p}norm.weight", DECODER_V(norm), .out = DECODER_D(hidden), .plus_one = true)
#define GEMMA_NORM(name, m) DECODER_NORM(name, m, .plus_one = true)

static const weight_row rows1[] = {
	GEMMA_OUTER,
	GEMMA_NORM("input_layernorm", norm1),
	DECODER_QKV,
	DECODER_OUT,
	GEMMA_NORM("post_attention_layernorm", norm2),
	DECODER_UP,
	DECODER_DOWN,
};

#define GEMMA_FOUR_NORMS                                                                                                   \
	GEMMA_OUTER, GEMMA_NORM("input_layernorm", norm1), GEMMA_NORM("post_attention_layernorm", after1),                \
		GEMMA_NORM("pre_feedforward_layernorm", norm2), GEMMA_NORM("post_feedforward_layernorm", after2),         \
		DECODER_QKV, DECODER_OUT, DECODER_UP, DECODER_DOWN

static const weight_row rows2[] = {
	GEMMA_FOUR_NORMS,
};

static const weight_row rows3[] = {
	GEMMA_FOUR_NORMS,
	WEIGHT_ROW(VECTOR, DECODER_LAYER "self_attn.q_norm.weight", DECODER_L(q_norm), .out = DECODER_D(head_dim), .plus_one = true),
	WEIGHT_ROW(VECTOR, DECODER_LAYER "self_attn.k_norm.weight", DECODER_L(k_norm), .out = DECODER_D(head_dim), .plus_one = true),
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	decoder_config *c = config;
	if (c->both_ways)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: use_bidirectional_attention: true, expected a model that generates");
	c->scale_embedding = true;
	return decoder_derive(a, config, err);
}

static rebus_status derive1(arena *a, void *config, rebus_error *err)
{
	decoder_config *c = config;
	c->act = c->act == ACT_GELU ? ACT_GELU_TANH : c->act;
	return derive(a, config, err);
}

static rebus_status derive2(arena *a, void *config, rebus_error *err)
{
	((decoder_config *)config)->window_skip = 2;
	return derive(a, config, err);
}

static const char *const architectures1[] = {"GemmaForCausalLM", NULL};
static const char *const architectures2[] = {"Gemma2ForCausalLM", NULL};
static const char *const architectures3[] = {"Gemma3ForCausalLM", NULL};

const family family_gemma = {DECODER_FAMILY("gemma", architectures1, fields1, rows1, derive1)};
const family family_gemma2 = {DECODER_FAMILY("gemma2", architectures2, fields2, rows2, derive2)};
const family family_gemma3_text = {DECODER_FAMILY("gemma3_text", architectures3, fields3, rows3, derive)};
