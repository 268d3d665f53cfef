/*
 * fuzz_config.c - any bytes as the config.json of a folder with small weights for every family: what opens must run.
 *
 *   bytes ─► config.json ┐
 *   weights of ViT, ViT-MAE, timm's ViT, CLIP,
 *   BERT, Llama, LLaVA          ├─► open ─► a picture, a text ─► classify, embed, ask ─► close
 *   tokenizer, processor ┘
 *
 * The folder is made once, under $TMPDIR. Whatever the numbers of the configuration say, there is either a clean error or a
 * run within bounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/safetensors.h"
#include "rebus_lab.h"

enum { HIDDEN = 8, MLP = 12, PATCH = 4, PATCHES = 4, WORDS = 8, LAYERS = 2, MOST = 512, MEMORY = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tokenizer_json[] =
	"{\"added_tokens\":[{\"id\":3,\"content\":\"<image>\",\"special\":true,\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"
	"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"<image>\":3,\"ab\":4,\"<|startoftext|>\":5,\"<|endoftext|>\":6},\"merges\":[\"a b\"]}}";
static const char processor_json[] = "{\"size\":{\"height\":8,\"width\":8},\"crop_size\":{\"height\":8,\"width\":8},\"do_resize\":true,"
	"\"do_normalize\":true,\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.5,0.5,0.5]}";

static char folder[200], config[240];

static void check(bool good)
{
	if (!good)
		abort();
}

/* ------------------------------------------------------------------------------------------------ the folder */
typedef struct weights {
	tensor_out list[MOST];
	char names[MOST][96];
	size_t count;
} weights;

static float numbers[MLP * HIDDEN * 8];

static void add(weights *w, const char *prefix, const char *name, int64_t a, int64_t b)
{
	check(w->count < MOST && a * (b ? b : 1) <= (int64_t)COUNT_OF(numbers));
	tensor_out *t = &w->list[w->count];
	snprintf(w->names[w->count], sizeof w->names[0], "%s%s", prefix, name);
	*t = (tensor_out){.name = w->names[w->count++], .type = TENSOR_F32, .rank = b ? 2 : 1, .shape = {a, b}, .data = numbers};
}

static void add_linear(weights *w, const char *prefix, const char *name, int64_t out, int64_t in, bool bias)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	add(w, prefix, full, out, in);
	snprintf(full, sizeof full, "%s.bias", name);
	if (bias)
		add(w, prefix, full, out, 0);
}

static void add_patches(weights *w, const char *name)
{
	add(w, "", name, HIDDEN, 0);
	w->list[w->count - 1].rank = 4;
	memcpy(w->list[w->count - 1].shape, (int64_t[]){HIDDEN, 3, PATCH, PATCH}, 4 * sizeof(int64_t));
}

/* Of ViT, and of ViTMAE's decoder. */
static void add_vit_blocks(weights *w, const char *prefix)
{
	for (int i = 0; i < LAYERS; i++) {
		char p[48];
		snprintf(p, sizeof p, "%s.%d.", prefix, i);
		add_linear(w, p, "layernorm_before", HIDDEN, 0, true);
		add_linear(w, p, "layernorm_after", HIDDEN, 0, true);
		add_linear(w, p, "attention.attention.query", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.attention.key", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.attention.value", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.output.dense", HIDDEN, HIDDEN, true);
		add_linear(w, p, "intermediate.dense", MLP, HIDDEN, true);
		add_linear(w, p, "output.dense", HIDDEN, MLP, true);
	}
}

static void add_vit(weights *w)
{
	add(w, "vit.", "embeddings.cls_token", HIDDEN, 0);
	add(w, "vit.", "embeddings.position_embeddings", 1 + PATCHES, HIDDEN);
	add_patches(w, "vit.embeddings.patch_embeddings.projection.weight");
	add(w, "vit.", "embeddings.patch_embeddings.projection.bias", HIDDEN, 0);
	add_vit_blocks(w, "vit.encoder.layer");
	add_linear(w, "vit.", "layernorm", HIDDEN, 0, true);
	add_linear(w, "", "classifier", 2, HIDDEN, true);
}

/* ViTMAE's decoder, of one head's width. */
static void add_decoder(weights *w)
{
	add(w, "decoder.", "mask_token", HIDDEN, 0);
	add(w, "decoder.", "decoder_pos_embed", 1 + PATCHES, HIDDEN);
	add_linear(w, "decoder.", "decoder_embed", HIDDEN, HIDDEN, true);
	add_vit_blocks(w, "decoder.decoder_layers");
	add_linear(w, "decoder.", "decoder_norm", HIDDEN, 0, true);
	add_linear(w, "decoder.", "decoder_pred", 3 * PATCH * PATCH, HIDDEN, true);
}

static void add_timm(weights *w)
{
	add(w, "", "cls_token", HIDDEN, 0);
	add(w, "", "pos_embed", 1 + PATCHES, HIDDEN);
	add_patches(w, "patch_embed.proj.weight");
	add(w, "", "patch_embed.proj.bias", HIDDEN, 0);
	for (int i = 0; i < LAYERS; i++) {
		char p[48];
		snprintf(p, sizeof p, "blocks.%d.", i);
		add_linear(w, p, "norm1", HIDDEN, 0, true);
		add_linear(w, p, "norm2", HIDDEN, 0, true);
		add_linear(w, p, "attn.qkv", 3 * HIDDEN, HIDDEN, true);
		add_linear(w, p, "attn.proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "mlp.fc1", MLP, HIDDEN, true);
		add_linear(w, p, "mlp.fc2", HIDDEN, MLP, true);
	}
	add_linear(w, "", "norm", HIDDEN, 0, true);
	add_linear(w, "", "head", 2, HIDDEN, true);
}

static void add_clip_blocks(weights *w, const char *prefix)
{
	for (int i = 0; i < LAYERS; i++) {
		char p[64];
		snprintf(p, sizeof p, "%sencoder.layers.%d.", prefix, i);
		add_linear(w, p, "layer_norm1", HIDDEN, 0, true);
		add_linear(w, p, "layer_norm2", HIDDEN, 0, true);
		add_linear(w, p, "self_attn.q_proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "self_attn.k_proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "self_attn.v_proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "self_attn.out_proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "mlp.fc1", MLP, HIDDEN, true);
		add_linear(w, p, "mlp.fc2", HIDDEN, MLP, true);
	}
}

static void add_clip_tower(weights *w, const char *prefix)
{
	char patch[64];
	add(w, prefix, "embeddings.class_embedding", HIDDEN, 0);
	add(w, prefix, "embeddings.position_embedding.weight", 1 + PATCHES, HIDDEN);
	snprintf(patch, sizeof patch, "%sembeddings.patch_embedding.weight", prefix);
	add_patches(w, patch);
	add_linear(w, prefix, "pre_layrnorm", HIDDEN, 0, true);
	add_clip_blocks(w, prefix);
	add_linear(w, prefix, "post_layernorm", HIDDEN, 0, true);
}

static void add_clip(weights *w)
{
	add_clip_tower(w, "vision_model.");
	add(w, "text_model.", "embeddings.token_embedding.weight", WORDS, HIDDEN);
	add(w, "text_model.", "embeddings.position_embedding.weight", WORDS, HIDDEN);
	add_clip_blocks(w, "text_model.");
	add_linear(w, "text_model.", "final_layer_norm", HIDDEN, 0, true);
	add(w, "", "visual_projection.weight", HIDDEN, HIDDEN);
	add(w, "", "text_projection.weight", HIDDEN, HIDDEN);
	add(w, "", "logit_scale", 1, 0);
}

static void add_bert(weights *w)
{
	add(w, "bert.", "embeddings.word_embeddings.weight", WORDS, HIDDEN);
	add(w, "bert.", "embeddings.position_embeddings.weight", WORDS, HIDDEN);
	add(w, "bert.", "embeddings.token_type_embeddings.weight", 2, HIDDEN);
	add_linear(w, "bert.", "embeddings.LayerNorm", HIDDEN, 0, true);
	for (int i = 0; i < LAYERS; i++) {
		char p[48];
		snprintf(p, sizeof p, "bert.encoder.layer.%d.", i);
		add_linear(w, p, "attention.self.query", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.self.key", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.self.value", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.output.dense", HIDDEN, HIDDEN, true);
		add_linear(w, p, "attention.output.LayerNorm", HIDDEN, 0, true);
		add_linear(w, p, "intermediate.dense", MLP, HIDDEN, true);
		add_linear(w, p, "output.dense", HIDDEN, MLP, true);
		add_linear(w, p, "output.LayerNorm", HIDDEN, 0, true);
	}
	add_linear(w, "bert.", "pooler.dense", HIDDEN, HIDDEN, true);
	add_linear(w, "cls.predictions.", "transform.dense", HIDDEN, HIDDEN, true);
	add_linear(w, "cls.predictions.", "transform.LayerNorm", HIDDEN, 0, true);
	add(w, "cls.predictions.", "bias", WORDS, 0);
}

static void add_llama(weights *w, const char *prefix, const char *head)
{
	add(w, prefix, "embed_tokens.weight", WORDS, HIDDEN);
	for (int i = 0; i < LAYERS; i++) {
		char p[64];
		snprintf(p, sizeof p, "%slayers.%d.", prefix, i);
		add_linear(w, p, "input_layernorm", HIDDEN, 0, false);
		add_linear(w, p, "post_attention_layernorm", HIDDEN, 0, false);
		add_linear(w, p, "self_attn.q_proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "self_attn.k_proj", HIDDEN / 2, HIDDEN, true);
		add_linear(w, p, "self_attn.v_proj", HIDDEN / 2, HIDDEN, true);
		add_linear(w, p, "self_attn.o_proj", HIDDEN, HIDDEN, true);
		add_linear(w, p, "mlp.gate_proj", MLP, HIDDEN, false);
		add_linear(w, p, "mlp.up_proj", MLP, HIDDEN, false);
		add_linear(w, p, "mlp.down_proj", HIDDEN, MLP, false);
	}
	add_linear(w, prefix, "norm", HIDDEN, 0, false);
	add(w, "", head, WORDS, HIDDEN);
}

static void put(const char *name, const void *data, size_t size)
{
	char path[240];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "wb");
	check(f != NULL);
	check(fwrite(data, 1, size, f) == size);
	check(!fclose(f));
}

static void leave(void)
{
	static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"};
	char path[240];
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static void make_folder(void)
{
	static weights w;
	const char *under = getenv("TMPDIR");
	rebus_error err;
	snprintf(folder, sizeof folder, "%.150s/rebus-fuzz-XXXXXX", under && *under ? under : "/tmp");
	check(mkdtemp(folder) != NULL);
	atexit(leave);
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		numbers[i] = (float)((int)(i * 37 % 19) - 9) * 0.05f;
	add_vit(&w);
	add_decoder(&w);
	add_timm(&w);
	add_clip(&w);
	add_bert(&w);
	add_llama(&w, "model.", "lm_head.weight");
	add_clip_tower(&w, "vision_tower.");
	add_linear(&w, "", "multi_modal_projector.linear_1", HIDDEN, HIDDEN, true);
	add_linear(&w, "", "multi_modal_projector.linear_2", HIDDEN, HIDDEN, true);
	add_llama(&w, "language_model.model.", "language_model.lm_head.weight");
	snprintf(config, sizeof config, "%s/model.safetensors", folder);
	check(!safetensors_write(config, w.list, w.count, &err));
	put("tokenizer.json", tokenizer_json, sizeof tokenizer_json - 1);
	put("preprocessor_config.json", processor_json, sizeof processor_json - 1);
}

/* ------------------------------------------------------------------------------------------------ a run */
static bool done(rebus_status status, rebus_error *err)
{
	check(status == err->code);
	check(!status || err->text[0]);
	err->code = REBUS_OK;
	return !status;
}

static rebus_prompt *prompt(const rebus_model *m, bool raw)
{
	static const uint8_t grey[8 * 8 * 3] = {9, 200, 30};
	rebus_error err = {.code = REBUS_OK};
	rebus_prompt_options o = rebus_prompt_defaults();
	rebus_prompt *p;
	unsigned can = rebus_model_abilities(m);
	o.raw = raw;
	if (!done(rebus_prompt_new(m, &o, &p, &err), &err))
		return NULL;
	if (can & REBUS_READS_PICTURES)
		done(rebus_prompt_image_rgb(p, grey, 8, 8, &err), &err);
	if (can & REBUS_READS_TEXT)
		done(rebus_prompt_text(p, "abcab", &err), &err);
	if (can == REBUS_READS_TEXT)
		done(rebus_prompt_pair(p, "ab", &err), &err);
	return p;
}

static void use(rebus_model *m, rebus_session *s, rebus_prompt *p)
{
	static const char *const labels[] = {"a", "b"};
	rebus_error err = {.code = REBUS_OK};
	rebus_vectors *vectors;
	rebus_scores *scores;
	rebus_answer *answer;
	rebus_text *text;
	rebus_ask_options o = rebus_ask_defaults();
	unsigned can = rebus_model_abilities(m);
	o.max_tokens = 3;
	o.ignore_eos = true;
	if (done(rebus_inspect(s, p, 3, true, false, &text, &err), &err))
		rebus_text_free(text);
	if (can & REBUS_GENERATES && done(rebus_ask(s, &p, 1, &o, &answer, &err), &err)) {
		check(rebus_answer_count(answer) == 1);
		rebus_answer_free(answer);
	}
	if (!(can & REBUS_GENERATES) && done(rebus_embed(s, &p, 1, &vectors, &err), &err))
		rebus_vectors_free(vectors);
	rebus_tensors *tensors;
	rebus_trace_options all = {.hidden_states = true};
	if ((can == REBUS_READS_TEXT || can == REBUS_READS_PICTURES) && done(rebus_trace(s, &p, 1, &all, &tensors, &err), &err))
		rebus_tensors_free(tensors);
	bool two = can & REBUS_TWO_TOWERS;
	if (done(rebus_classify(s, &p, 1, two ? labels : NULL, two ? 2 : 0, &scores, &err), &err))
		rebus_scores_free(scores);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rebus_error err = {.code = REBUS_OK};
	rebus_model *m;
	rebus_session *s;
	rebus_session_options o = rebus_session_defaults();
	if (!folder[0])
		make_folder();
	put("config.json", data, size);
	if (!done(rebus_model_open(folder, NULL, &m, &err), &err))
		return 0;
	o.threads = 1;
	o.memory = MEMORY;
	check(done(rebus_session_open(m, &o, &s, &err), &err));
	rebus_prompt *p = prompt(m, size & 1);
	if (p)
		use(m, s, p);
	rebus_prompt_free(p);
	rebus_session_close(s);
	rebus_model_close(m);
	return 0;
}
