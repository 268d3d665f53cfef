/*
 * phi3.c - Phi-3 and 3.5 mini (Abdin et al. 2024): Phi3ForCausalLM.
 *
 * Llama's stack with query, key and value in one tensor, and gate and up in one; partial_rotary_factor of a head's columns are
 * turned. The long-context checkpoints scale angles by longrope, which older files call su or yarn; when an answer grows beyond
 * the original context, the reference drops its cache and reads all again with the long factors.
 */
#include "models/decoder.h"

#include <string.h>

typedef struct phi3_config {
	decoder_config d; /* first: decoder.c reads it */
	int64_t qkv, gate_up;
} phi3_config;

static const field fields[] = {
	DECODER_FIELDS(3072, 32, 32, 0, 8192, 32064, 4096, 1e-5, false),
	CONFIG_INT(decoder_config, head_dim, "head_dim", 1, 512, 0),
	CONFIG_INT_OR_NULL(decoder_config, window, "sliding_window", 1, 1 << 28, 0),
	CONFIG_ACT(decoder_config, act, "hidden_act", "silu"),
	ROPE_FIELDS(decoder_config, rope),
	CONFIG_REAL(decoder_config, rope.original, "original_max_position_embeddings", 1, 1e9, 4096),
};

static const weight_row rows[] = {
	DECODER_OUTER,
	WEIGHT_ROW(VECTOR, "{p}norm.weight", DECODER_V(norm), .out = DECODER_D(hidden)),
	DECODER_NORM("input_layernorm", norm1, .part = 0),
	WEIGHT_ROW(LINEAR, DECODER_LAYER "self_attn.qkv_proj.weight", DECODER_L(qkv), .out = WEIGHT_DIM(phi3_config, qkv), .in = DECODER_D(hidden)),
	DECODER_OUT,
	DECODER_NORM("post_attention_layernorm", norm2, .part = 0),
	WEIGHT_ROW(LINEAR, DECODER_LAYER "mlp.gate_up_proj.weight", DECODER_L(up), .out = WEIGHT_DIM(phi3_config, gate_up), .in = DECODER_D(hidden)),
	DECODER_DOWN,
};

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	phi3_config *c = config;
	if (!strcmp(c->d.rope.type, "su") || !strcmp(c->d.rope.type, "yarn"))
		c->d.rope.type = "longrope";
	c->d.partial = true;
	rebus_status status = decoder_derive(a, &c->d, err);
	c->d.shape.restart = c->d.turn.long_freq ? c->d.turn.original : 0;
	c->qkv = c->d.q_width + 2 * c->d.kv_width;
	c->gate_up = 2 * c->d.mlp;
	return status;
}

static const char *const architectures[] = {"Phi3ForCausalLM", NULL};

const family family_phi3 = {DECODER_FAMILY_OF(phi3_config, "phi3", architectures, fields, rows, derive)};
