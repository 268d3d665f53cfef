/*
 * mistral.c - Mistral 7B (Jiang et al. 2023): MistralForCausalLM.
 *
 * Llama's stack; every block sees the last sliding_window keys only, its own among them, where that is not null. Absent it is
 * 4096, so files of later releases write the null. No biases.
 */
#include "models/decoder.h"

static const field fields[] = {
	DECODER_FIELDS(4096, 32, 32, 8, 14336, 32000, 131072, 1e-6, false),
	CONFIG_INT(decoder_config, head_dim, "head_dim", 1, 512, 0),
	CONFIG_INT_OR_NULL(decoder_config, window, "sliding_window", 1, 1 << 28, 4096),
	CONFIG_ACT(decoder_config, act, "hidden_act", "silu"),
	ROPE_FIELDS(decoder_config, rope),
};

static const weight_row rows[] = {
	DECODER_OUTER,
	WEIGHT_ROW(VECTOR, "{p}norm.weight", DECODER_V(norm), .out = DECODER_D(hidden)),
	DECODER_NORM("input_layernorm", norm1, .part = 0),
	DECODER_QKV,
	DECODER_OUT,
	DECODER_NORM("post_attention_layernorm", norm2, .part = 0),
	DECODER_UP,
	DECODER_DOWN,
};

static const char *const architectures[] = {"MistralForCausalLM", NULL};

const family family_mistral = {DECODER_FAMILY("mistral", architectures, fields, rows, decoder_derive)};
