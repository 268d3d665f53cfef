/*
 * llama.c - Llama (Touvron et al. 2023): LlamaForCausalLM, and the text part of other models.
 *
 *     ids ─► embedding ─► L x block ─► RMS norm ─► rows asked for ─► lm_head
 *     block:  x + attention(norm x);  x + down(silu(gate norm x) * up norm x)
 *
 * Attention is causal, with num_key_value_heads shared by groups of query heads (Ainslie et al. 2023), queries and keys
 * turned by half-split rotary angles (Su et al. 2021), scale d^-1/2. No biases unless attention_bias or mlp_bias says so.
 * lm_head.weight counts where the file has it; else the embedding is used, if tie_word_embeddings allows.
 */
#include "models/decoder.h"

static const field fields[] = {
	DECODER_FIELDS(4096, 32, 32, 0, 11008, 32000, 2048, 1e-6, false),
	CONFIG_INT(decoder_config, head_dim, "head_dim", 1, 512, 0),
	CONFIG_FLAG(decoder_config, qkv_bias, "attention_bias", false),
	CONFIG_FLAG(decoder_config, out_bias, "attention_bias", false),
	CONFIG_FLAG(decoder_config, mlp_bias, "mlp_bias", false),
	CONFIG_FLAG(decoder_config, pairs, "rope_interleaved", false), /* of GGUF files: gguf_model.c */
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

static const char *const architectures[] = {"LlamaForCausalLM", NULL};

const family family_llama = {DECODER_FAMILY("llama", architectures, fields, rows, decoder_derive)};
