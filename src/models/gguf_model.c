/*
 * gguf_model.c - a GGUF file as a model: its metadata as the config.json of the family that computes it, its tensors under the
 * names that family's table has.
 *
 *   general.architecture ─► row of `kinds` ─┬─ ARCH.block_count, ... ─► {"num_hidden_layers": ...}
 *                                           └─ blk.3.attn_q.weight   ─► model.layers.3.self_attn.q_proj.weight
 *
 * What such files have otherwise than folders do is said to the families, and nothing is moved or copied for it:
 *   - llama: query and key are stored for pairs (2i, 2i + 1) where the family turns (i, i + d/2). A head's product is the same
 *     in either order of its columns, so "rope_interleaved" has the pairs turned as they lie.
 *   - gemma: norms hold 1 + w (m->plain); gpt2: matrices are [out, in] (m->plain).
 *   - rope_freqs.weight: what each frequency is divided by, as longrope's factors.
 *   - a file without output.weight uses its embedding for the head.
 *
 * Reference: the Python package gguf 0.19 (constants.py, tensor_mapping.py) and llama.cpp's own reading of the keys.
 */
#include "models/gguf_model.h"

#include <math.h>
#include <string.h>

enum { ROPE_PAIRS = 1, ROPE_PARTIAL = 2, OWN_WINDOWS = 4, SCORE_SCALE = 8, FOUR_NORMS = 16, GPT2 = 32 };

typedef struct kind {
	const char *name, *family, *class;
	unsigned has;
	int64_t large;   /* SCORE_SCALE: with so many blocks scores are scaled by hidden / heads instead of the head's size */
} kind;

static const kind kinds[] = {
	{"llama", "llama", "LlamaForCausalLM", ROPE_PAIRS, 0},
	{"mistral", "llama", "LlamaForCausalLM", ROPE_PAIRS, 0},
	{"qwen2", "qwen2", "Qwen2ForCausalLM", 0, 0},
	{"qwen3", "qwen3", "Qwen3ForCausalLM", 0, 0},
	{"phi3", "phi3", "Phi3ForCausalLM", ROPE_PARTIAL | OWN_WINDOWS, 0},
	{"gemma", "gemma", "GemmaForCausalLM", 0, 0},
	{"gemma2", "gemma2", "Gemma2ForCausalLM", OWN_WINDOWS | SCORE_SCALE | FOUR_NORMS, 46},
	{"gemma3", "gemma3_text", "Gemma3ForCausalLM", OWN_WINDOWS | SCORE_SCALE | FOUR_NORMS, 62},
	{"gpt2", "gpt2", "GPT2LMHeadModel", GPT2, 0},
};

typedef struct making {
	const gguf *g;
	const kind *k;
	buf out;
	rebus_error *err;
	rebus_status status; /* the first failure */
} making;

/* ------------------------------------------------------------------------------------------------ values */
static const gguf_value *find(const making *k, const char *key, char name[128])
{
	size_t n = strlen(k->k->name);
	memcpy(name, k->k->name, n);
	name[n++] = '.';
	memcpy(name + n, key, strlen(key) + 1);
	return gguf_find(k->g, name);
}

static bool wrong(making *k, const char *name, const char *expected)
{
	if (!k->status)
		k->status = error_set(k->err, REBUS_FORMAT, "%s: %s: expected %s", gguf_name(k->g), name, expected);
	return false;
}

/* A number, maybe a list of equal ones; false: absent, or failed. */
static bool get_int(making *k, const char *key, int64_t *out)
{
	char name[128];
	const gguf_value *v = find(k, key, name);
	int64_t x, y;
	if (!v)
		return false;
	if (!gguf_int(v, 0, &x))
		return wrong(k, name, "a whole number");
	for (uint64_t i = 1; i < v->count; i++)
		if (!gguf_int(v, i, &y) || y != x)
			return wrong(k, name, "the same for every block");
	*out = x;
	return true;
}

static bool get_real(making *k, const char *key, double *out)
{
	char name[128];
	const gguf_value *v = find(k, key, name);
	return v && (gguf_real(v, 0, out) && isfinite(*out) ? true : wrong(k, name, "a finite number"));
}

static void put_int(making *k, const char *member, const char *key, bool needed)
{
	int64_t x;
	char name[128];
	if (get_int(k, key, &x))
		buf_format(&k->out, ",\"%s\":%lld", member, (long long)x);
	else if (needed && !k->status && !find(k, key, name))
		wrong(k, name, "a whole number");
}

static void put_real(making *k, const char *member, const char *key)
{
	double x;
	if (get_real(k, key, &x))
		buf_format(&k->out, ",\"%s\":%.17g", member, x);
}

static const tensor_info *find_tensor(const making *k, const char *name)
{
	for (const tensor_node *n = gguf_tensors(k->g)->first; n; n = n->next)
		if (!strcmp(n->info.name, name))
			return &n->info;
	return NULL;
}

/* ------------------------------------------------------------------------------------------------ rotary scaling */
/* A tensor of factors as a list. */
static void put_factors(making *k, const char *member, const tensor_info *t)
{
	if (t->type != TENSOR_F32 || t->rank != 1 || t->shape[0] > CONFIG_INTS_MOST) {
		wrong(k, t->name, "at most 4096 numbers in F32");
		return;
	}
	buf_format(&k->out, ",\"%s\":[", member);
	for (int64_t i = 0; i < t->shape[0]; i++) {
		float x;
		memcpy(&x, (const char *)t->data + 4 * i, sizeof x);
		buf_format(&k->out, "%s%.9g", i ? "," : "", x > 0 && x < 1e6f ? (double)x : 0); /* 0: refused with the factors' own range */
	}
	buf_text(&k->out, "]");
}

static void put_scaling(making *k)
{
	size_t n = 0;
	char name[128];
	const char *type = gguf_text(find(k, "rope.scaling.type", name), &n);
	const tensor_info *both = find_tensor(k, "rope_freqs.weight"), *near = find_tensor(k, "rope_factors_short.weight");
	const tensor_info *far = find_tensor(k, "rope_factors_long.weight");
	bool factors = both || (near && far);
	if (!factors && (!type || text_is(type, n, "none")))
		return;
	if (!factors && !text_is(type, n, "linear") && !text_is(type, n, "yarn")) {
		k->status = error_set(k->err, REBUS_UNSUPPORTED, "%s: %s: %.*s, expected none, linear, yarn or longrope with its factors", gguf_name(k->g), name,
			(int)int_min((int64_t)n, 40), type);
		return;
	}
	put_int(k, "original_max_position_embeddings", both ? "context_length" : "rope.scaling.original_context_length", both);
	buf_format(&k->out, ",\"rope_scaling\":{\"rope_type\":\"%s\"", factors ? "longrope" : text_is(type, n, "linear") ? "linear" : "yarn");
	put_real(k, "factor", "rope.scaling.factor");
	if (both) /* the same however long a sequence is */
		buf_text(&k->out, ",\"attention_factor\":1");
	else
		put_real(k, "attention_factor", "rope.scaling.attn_factor");
	put_real(k, "beta_fast", "rope.scaling.yarn_beta_fast");
	put_real(k, "beta_slow", "rope.scaling.yarn_beta_slow");
	if (factors) {
		put_factors(k, "short_factor", both ? both : near);
		put_factors(k, "long_factor", both ? both : far);
	}
	buf_text(&k->out, "}");
}

static void put_rotary(making *k)
{
	int64_t turned, dim, hidden, heads;
	put_real(k, "rope_theta", "rope.freq_base");
	put_real(k, "rope_local_base_freq", "rope.freq_base_swa");
	put_scaling(k);
	if (!get_int(k, "attention.key_length", &dim)) {
		if (!get_int(k, "embedding_length", &hidden) || !get_int(k, "attention.head_count", &heads) || heads < 1)
			return;
		dim = hidden / heads;
	}
	if (!get_int(k, "rope.dimension_count", &turned) || turned == dim)
		return;
	if (!(k->k->has & ROPE_PARTIAL) || turned < 2 || turned > dim)
		k->status = error_set(k->err, REBUS_UNSUPPORTED, "%s: %s.rope.dimension_count: %lld, expected the head's %lld", gguf_name(k->g), k->k->name,
			(long long)turned, (long long)dim);
	else /* a little more, so that the product is no less than the whole number */
		buf_format(&k->out, ",\"partial_rotary_factor\":%.17g", ((double)turned + 0.001) / (double)dim);
}

/* ------------------------------------------------------------------------------------------------ the configuration */
static void put_gpt2(making *k)
{
	put_int(k, "n_embd", "embedding_length", true);
	put_int(k, "n_layer", "block_count", true);
	put_int(k, "n_head", "attention.head_count", true);
	put_int(k, "n_inner", "feed_forward_length", false);
	put_int(k, "n_positions", "context_length", true);
	put_real(k, "layer_norm_epsilon", "attention.layer_norm_epsilon");
}

static void put_decoder(making *k)
{
	int64_t heads, blocks, hidden, experts = 0;
	put_int(k, "hidden_size", "embedding_length", true);
	put_int(k, "num_hidden_layers", "block_count", true);
	put_int(k, "num_attention_heads", "attention.head_count", true);
	put_int(k, "intermediate_size", "feed_forward_length", true);
	put_int(k, "max_position_embeddings", "context_length", true);
	put_int(k, "head_dim", "attention.key_length", false);
	put_real(k, "rms_norm_eps", "attention.layer_norm_rms_epsilon");
	if (get_int(k, "attention.head_count_kv", &heads) || get_int(k, "attention.head_count", &heads))
		buf_format(&k->out, ",\"num_key_value_heads\":%lld", (long long)heads);
	bool biased = find_tensor(k, "blk.0.attn_q.bias") != NULL;
	buf_format(&k->out, ",\"attention_bias\":%s,\"mlp_bias\":%s", biased ? "true" : "false", find_tensor(k, "blk.0.ffn_gate.bias") ? "true" : "false");
	put_rotary(k);
	if (k->k->has & ROPE_PAIRS)
		buf_text(&k->out, ",\"rope_interleaved\":true");
	if (k->k->has & OWN_WINDOWS)
		put_int(k, "sliding_window", "attention.sliding_window", false);
	put_real(k, "attn_logit_softcapping", "attn_logit_softcapping");
	put_real(k, "final_logit_softcapping", "final_logit_softcapping");
	if (k->k->has & SCORE_SCALE && get_int(k, "block_count", &blocks) && get_int(k, "embedding_length", &hidden) &&
		get_int(k, "attention.head_count", &heads)) {
		int64_t dim = hidden / int_max(heads, 1);
		if (blocks != k->k->large)
			get_int(k, "attention.key_length", &dim);
		buf_format(&k->out, ",\"query_pre_attn_scalar\":%lld", (long long)dim);
	}
	if (!k->status && get_int(k, "expert_count", &experts) && experts > 0)
		k->status = error_set(k->err, REBUS_UNSUPPORTED, "%s: %s.expert_count: %lld, expected a model without experts", gguf_name(k->g), k->k->name,
			(long long)experts);
}

/* Ends of an answer: those that are named, and those that chat models have under known names. */
static void put_ends(making *k)
{
	static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
	static const char *const known[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>", "<|end_of_text|>"};
	int64_t id;
	int count = 0;
	buf_text(&k->out, ",\"eos_token_id\":[");
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		if (gguf_int(gguf_find(k->g, keys[i]), 0, &id))
			buf_format(&k->out, "%s%lld", count++ ? "," : "", (long long)id);
	gguf_texts it = gguf_each(gguf_find(k->g, "tokenizer.ggml.tokens"));
	const gguf_value *types = gguf_find(k->g, "tokenizer.ggml.token_type");
	for (uint64_t i = 0; gguf_next(&it); i++)
		for (size_t e = 0; e < COUNT_OF(known) && count < 12; e++)
			if (text_is(it.text, it.size, known[e]) && gguf_int(types, i, &id) && id == 3)
				buf_format(&k->out, "%s%llu", count++ ? "," : "", (unsigned long long)i);
	buf_text(&k->out, "]");
}

rebus_status gguf_model_config(struct rebus_model *m, rebus_error *err)
{
	making k = {.g = m->gguf, .err = err};
	size_t n = 0;
	const char *name = gguf_text(gguf_find(m->gguf, "general.architecture"), &n);
	for (size_t i = 0; name && i < COUNT_OF(kinds); i++)
		if (text_is(name, n, kinds[i].name))
			k.k = &kinds[i];
	if (!k.k)
		return error_set(err, REBUS_UNSUPPORTED, "%s: general.architecture: %.*s, expected llama, qwen2, qwen3, gemma, gemma2, gemma3, phi3 or gpt2",
			gguf_name(m->gguf), name ? (int)int_min((int64_t)n, 40) : 7, name ? name : "missing");
	buf_init(&k.out, m->mem.from, 64 << 20);
	const tensor_info *table = find_tensor(&k, "token_embd.weight");
	buf_format(&k.out, "{\"model_type\":\"%s\",\"architectures\":[\"%s\"],\"tie_word_embeddings\":%s", k.k->family, k.k->class,
		find_tensor(&k, "output.weight") ? "false" : "true");
	if (table && table->rank == 2)
		buf_format(&k.out, ",\"vocab_size\":%lld", (long long)table->shape[0]);
	if (k.k->has & GPT2)
		put_gpt2(&k);
	else
		put_decoder(&k);
	put_ends(&k);
	buf_text(&k.out, "}");
	rebus_status status = k.status;
	if (!status)
		status = buf_check(&k.out, err, gguf_name(m->gguf));
	if (!status)
		status = json_parse(k.out.data, k.out.size, gguf_name(m->gguf), 1 << 20, &m->config, err);
	m->gguf_kind = k.k;
	buf_free(&k.out);
	return status;
}

/* ------------------------------------------------------------------------------------------------ the tensors' names */
typedef struct name_row {
	const char *from, *to; /* before .weight or .bias */
	unsigned has, not; /* only for kinds that have it, or do not */
} name_row;

static const name_row outer[] = {
	{"token_embd", "model.embed_tokens", 0, GPT2}, {"output_norm", "model.norm", 0, GPT2}, {"output", "lm_head", 0, 0},
	{"token_embd", "transformer.wte", GPT2, 0}, {"position_embd", "transformer.wpe", GPT2, 0}, {"output_norm", "transformer.ln_f", GPT2, 0},
};
static const name_row inner[] = {
	{"attn_norm", "input_layernorm", 0, GPT2}, {"attn_q", "self_attn.q_proj", 0, GPT2}, {"attn_k", "self_attn.k_proj", 0, GPT2},
	{"attn_v", "self_attn.v_proj", 0, GPT2}, {"attn_output", "self_attn.o_proj", 0, GPT2}, {"attn_q_norm", "self_attn.q_norm", 0, GPT2},
	{"attn_k_norm", "self_attn.k_norm", 0, GPT2}, {"attn_qkv", "self_attn.qkv_proj", 0, GPT2}, {"ffn_gate", "mlp.gate_proj", 0, GPT2 | ROPE_PARTIAL},
	{"ffn_up", "mlp.up_proj", 0, GPT2 | ROPE_PARTIAL}, {"ffn_up", "mlp.gate_up_proj", ROPE_PARTIAL, 0}, {"ffn_down", "mlp.down_proj", 0, GPT2},
	{"ffn_norm", "post_attention_layernorm", 0, GPT2 | FOUR_NORMS}, {"ffn_norm", "pre_feedforward_layernorm", FOUR_NORMS, 0},
	{"post_attention_norm", "post_attention_layernorm", FOUR_NORMS, 0}, {"post_ffw_norm", "post_feedforward_layernorm", FOUR_NORMS, 0},
	{"attn_norm", "ln_1", GPT2, 0}, {"attn_qkv", "attn.c_attn", GPT2, 0}, {"attn_output", "attn.c_proj", GPT2, 0}, {"ffn_norm", "ln_2", GPT2, 0},
	{"ffn_up", "mlp.c_fc", GPT2, 0}, {"ffn_down", "mlp.c_proj", GPT2, 0},
};

static const char *renamed(const name_row *rows, size_t count, const kind *k, const char *name, size_t n)
{
	for (size_t i = 0; i < count; i++)
		if (text_is(name, n, rows[i].from) && (rows[i].has & k->has) == rows[i].has && !(rows[i].not & k->has))
			return rows[i].to;
	return NULL;
}

/* The family's name, in the arena; as it is where none is known. NULL: no memory. */
static const char *name_of(arena *a, const kind *k, const char *name)
{
	const char *dot = strrchr(name, '.'), *at = name, *to = NULL;
	size_t n = dot ? (size_t)(dot - name) : strlen(name), digits = 0;
	if (!strncmp(name, "blk.", 4)) {
		at = name + 4;
		digits = strspn(at, "0123456789");
		if (at[digits] == '.' && dot > at + digits)
			to = renamed(inner, COUNT_OF(inner), k, at + digits + 1, n - 4 - digits - 1);
		if (to)
			return arena_format(a, "%s.%.*s.%s%s", k->has & GPT2 ? "transformer.h" : "model.layers", (int)digits, at, to, dot);
	}
	to = dot ? renamed(outer, COUNT_OF(outer), k, name, n) : NULL;
	return to ? arena_format(a, "%s%s", to, dot) : arena_text(a, name, strlen(name));
}

rebus_status gguf_model_weights(struct rebus_model *m, rebus_error *err)
{
	const tensor_list *from = gguf_tensors(m->gguf);
	tensor_list list = {.count = 0};
	for (const tensor_node *n = from->first; n; n = n->next) {
		if (!strncmp(n->info.name, "rope_f", 6)) /* read with the configuration */
			continue;
		tensor_node *to = arena_zero(&m->mem, 1, sizeof *to);
		const char *name = name_of(&m->mem, m->gguf_kind, n->info.name);
		if (!to || !name)
			return error_memory(err, gguf_name(m->gguf));
		to->info = n->info;
		to->info.name = name;
		to->info.number = (uint32_t)list.count++;
		*(list.last ? &list.last->next : &list.first) = to;
		list.last = to;
	}
	return safetensors_open_list(&m->mem, &list, gguf_name(m->gguf), &m->weights, err);
}
