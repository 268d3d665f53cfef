/*
 * qwen.c - Qwen 2 and 2.5 (Yang et al. 2024): Qwen2ForCausalLM; Qwen 3 (Yang et al. 2025): Qwen3ForCausalLM.
 *
 *            query, key, value      each head of query and key       head size
 *   Qwen 2   with a bias            as it is                         hidden / heads
 *   Qwen 3   without one            RMS norm, then turned            head_dim, whatever hidden and heads are
 *
 * Else Llama's stack. Where use_sliding_window says so, blocks from max_window_layers on see the last keys only; layer_types,
 * where it is there, says which.
 */
#include "models/decoder.h"

#define QWEN_FIELDS                                                                                                        \
	DECODER_FIELDS(4096, 32, 32, 32, 22016, 151936, 32768, 1e-6, false),                                              \
	CONFIG_FLAG(decoder_config, use_window, "use_sliding_window", false),                                             \
	CONFIG_INT_OR_NULL(decoder_config, window, "sliding_window", 1, 1 << 28, 4096),                                   \
	CONFIG_INT(decoder_config, window_from, "max_window_layers", 0, 1 << 20, 28),                                     \
	CONFIG_NAMES(decoder_config, layer_types, "layer_types"),                                                         \
	CONFIG_ACT(decoder_config, act, "hidden_act", "silu"),                                                            \
	ROPE_FIELDS(decoder_config, rope)

static const field fields2[] = {
	QWEN_FIELDS,
	CONFIG_INT(decoder_config, head_dim, "head_dim", 1, 512, 0),
};

static const field fields3[] = {
	QWEN_FIELDS,
	CONFIG_INT(decoder_config, head_dim, "head_dim", 1, 512, 128),
	CONFIG_FLAG(decoder_config, qkv_bias, "attention_bias", false),
	CONFIG_FLAG(decoder_config, out_bias, "attention_bias", false),
};

static const weight_row rows2[] = {
	DECODER_OUTER,
	WEIGHT_ROW(VECTOR, "{p}norm.weight", DECODER_V(norm), .out = DECODER_D(hidden)),
	DECODER_NORM("input_layernorm", norm1, .part = 0),
	DECODER_QKV,
	DECODER_OUT,
	DECODER_NORM("post_attention_layernorm", norm2, .part = 0),
	DECODER_UP,
	DECODER_DOWN,
};

static const weight_row rows3[] = {
	DECODER_OUTER,
	WEIGHT_ROW(VECTOR, "{p}norm.weight", DECODER_V(norm), .out = DECODER_D(hidden)),
	DECODER_NORM("input_layernorm", norm1, .part = 0),
	DECODER_QKV,
	WEIGHT_ROW(VECTOR, DECODER_LAYER "self_attn.q_norm.weight", DECODER_L(q_norm), .out = DECODER_D(head_dim)),
	WEIGHT_ROW(VECTOR, DECODER_LAYER "self_attn.k_norm.weight", DECODER_L(k_norm), .out = DECODER_D(head_dim)),
	DECODER_OUT,
	DECODER_NORM("post_attention_layernorm", norm2, .part = 0),
	DECODER_UP,
	DECODER_DOWN,
};

static rebus_status derive3(arena *a, void *config, rebus_error *err)
{
	decoder_config *c = config;
	c->window = c->use_window ? c->window : 0;
	return decoder_derive(a, config, err);
}

static rebus_status derive2(arena *a, void *config, rebus_error *err)
{
	((decoder_config *)config)->qkv_bias = true;
	return derive3(a, config, err);
}

static const char *const architectures2[] = {"Qwen2ForCausalLM", NULL};
static const char *const architectures3[] = {"Qwen3ForCausalLM", NULL};

const family family_qwen2 = {DECODER_FAMILY("qwen2", architectures2, fields2, rows2, derive2)};
const family family_qwen3 = {DECODER_FAMILY("qwen3", architectures3, fields3, rows3, derive3)};
