/* parity_common.c - see parity.h. */
#include "parity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int passed, failed;

const char *const fixture_names[] = {
	"vit-hub",   "vit-v5",   "vit-bare-hub", "vit-bare-v5", "vit-train",   "clip-hub", "clip-v5",
	"deit-hub",  "deit-v5",  "deit-bare-v5", "deit-train",  "dinov2-hub",  "dinov2-bare-v5", "dinov2-registers-v5", "dinov2-registers-bare-hub",
	"dinov2-train", "dinov2-registers-train", "swin-hub", "swin-v5", "swin-train", "swinv2-hub", "swinv2-v5", "swinv2-train",
	"siglip-hub", "siglip-v5", "siglip-train", "siglip2-hub", "siglip2-v5", "siglip2-train",
	"bert-hub", "bert-v5", "bert-bare-v5", "bert-train",
	"flexivit", "flexivit-train", "timm-deit", "timm-gap", "timm-map", "timm-clip",
	"timm-swin", "timm-swinv2", "timm-swin-train", "vit-mae-v5", "vit-mae-hub", "vit-mae-pre-v5", "vit-mae-train", "vit-mae-normed-train",
	"bert-pre-hub", "bert-next-v5", "bert-choice-v5", "bert-span-hub", "bert-class-hub", "bert-rows-v5",
	"clip-class-v5", "clip-tower-hub", "clip-tower-v5", "clip-words-hub", "clip-words-v5", "siglip-class-hub", "siglip2-class-v5", "siglip2-fixed-hub",
	"timm-swinv2-train", "siglip-class-train", "bert-class-train",
	"llama-hub", "llama-v5", "llava-hub",    "llava-v5",    "llava-train",
	"gpt2-train", "gpt2-v5", "mistral-train", "mistral-v5", "qwen2-train", "qwen2-hub", "qwen3-train", "gemma-train", "gemma2-train", "gemma3-train",
	"phi3-train", "phi3-v5", "opt-train", "opt-hub", "t5-train", "t5-hub", NULL,
};

bool check(bool ok, const char *format, ...)
{
	*(ok ? &passed : &failed) += 1;
	if (!ok) {
		va_list args;
		va_start(args, format);
		printf("FAIL ");
		vprintf(format, args);
		printf("\n");
		va_end(args);
	}
	return ok;
}

bool check_call(rebus_status status, const rebus_error *err, const char *what)
{
	return check(status == REBUS_OK, "%s: %s", what, status ? err->text : "");
}

int check_report(void)
{
	printf("%d passed, %d failed\n", passed, failed);
	return failed || !passed;
}

/* ------------------------------------------------------------------------------------------------ fixtures */
bool fixture_open(fixture *f, const char *name, const fixture_how *how)
{
	fixture_how plain = {0}, h = how ? *how : plain;
	rebus_error err = {0};
	char folder[256];
	*f = (fixture){.name = name};
	snprintf(folder, sizeof folder, "tests/parity/fixtures/%s", name);
	if (!check(chdir(folder) == 0, "%s: not there", folder))
		exit(check_report());
	rebus_model_options mo = rebus_model_defaults();
	rebus_session_options so = rebus_session_defaults();
	int64_t patch = 0;
	mo.allocator = h.allocator;
	mo.cpu = h.cpu;
	so.threads = h.threads ? h.threads : 1;
	so.stop = h.stop;
	so.user = h.user;
	bool read = check_call(json_load("golden.json", 1 << 20, 1 << 16, &f->golden, &err), &err, name);
	if (json_int(json_get(f->golden, "patch_size"), &patch))
		mo.patch_size = (int32_t)patch;
	if (!read || !check_call(rebus_model_open(".", &mo, &f->model, &err), &err, name) ||
		!check_call(rebus_session_open(f->model, &so, &f->session, &err), &err, name) ||
		!check_call(rebus_tensors_load("golden.safetensors", &f->want, &err), &err, name)) {
		fixture_close(f);
		return false;
	}
	f->cases = json_count(json_get(f->golden, "cases"));
	f->generates = rebus_model_abilities(f->model) & REBUS_GENERATES;
	return check(f->cases > 0, "%s: no cases", name);
}

void fixture_close(fixture *f)
{
	rebus_session_close(f->session);
	rebus_model_close(f->model);
	rebus_tensors_free(f->want);
	json_free(f->golden);
	*f = (fixture){0};
	if (chdir("../../../.."))
		exit(2);
}

static const json *case_at(const fixture *f, size_t i)
{
	return json_at(json_get(f->golden, "cases"), i % f->cases);
}

const char *fixture_case(const fixture *f, size_t i)
{
	return json_text(json_get(case_at(f, i), "name"), NULL);
}

int32_t fixture_tokens(const fixture *f, size_t i)
{
	int64_t n = 0;
	json_int(json_get(case_at(f, i), "max_tokens"), &n);
	return (int32_t)n;
}

const char *fixture_answer(const fixture *f, size_t i)
{
	return json_text(json_get(case_at(f, i), "answer"), NULL);
}

rebus_prompt *fixture_prompt(const fixture *f, size_t i, const char *positions)
{
	const json *c = case_at(f, i), *o = json_get(c, "options");
	rebus_prompt_options options = rebus_prompt_defaults();
	rebus_prompt *p = NULL;
	rebus_error err = {0};
	int64_t height = 0, width = 0, patches = 0, seed = 0;
	size_t size;
	json_int(json_get(o, "height"), &height);
	json_int(json_get(o, "width"), &width);
	json_int(json_get(o, "max_patches"), &patches);
	json_flag(json_get(o, "raw"), &options.raw);
	json_flag(json_get(o, "pil"), &options.pil);
	options.height = (int32_t)height;
	options.width = (int32_t)width;
	options.max_patches = (int32_t)patches;
	options.positions = positions ? positions : json_text(json_get(o, "positions"), NULL);
	options.seed_given = json_int(json_get(o, "mask_seed"), &seed);
	options.mask_seed = (uint64_t)seed;
	options.mask_given = json_real(json_get(o, "mask_ratio"), &options.mask_ratio);
	const char *line = json_text(json_get(c, "prompt"), &size);
	if (!check_call(rebus_prompt_new(f->model, &options, &p, &err), &err, f->name))
		return NULL;
	if (check_call(rebus_prompt_json(p, line, size, &err), &err, f->name))
		return p;
	rebus_prompt_free(p);
	return NULL;
}

bool fixture_prompts(const fixture *f, size_t first, size_t count, rebus_prompt **out)
{
	for (size_t k = 0; k < count; k++) {
		out[k] = fixture_prompt(f, first + k, NULL);
		if (!out[k]) {
			prompts_free(out, k);
			return false;
		}
	}
	return true;
}

void prompts_free(rebus_prompt **prompts, size_t count)
{
	for (size_t k = 0; k < count; k++)
		rebus_prompt_free(prompts[k]);
}

/* ------------------------------------------------------------------------------------------------ traces */
rebus_tensors *trace_run(const fixture *f, rebus_prompt *const *prompts, size_t count, bool batch, int32_t max_tokens, const rebus_tensors *inputs)
{
	rebus_trace_options o = {.hidden_states = true, .max_tokens = max_tokens, .ignore_eos = true, .batch = batch, .inputs = inputs};
	rebus_tensors *out = NULL;
	rebus_error err = {0};
	check_call(rebus_trace(f->session, prompts, count, &o, &out, &err), &err, f->name);
	return out;
}

rebus_tensors *trace_case(const fixture *f, size_t i)
{
	rebus_prompt *p = fixture_prompt(f, i, NULL);
	rebus_tensors *out = p ? trace_run(f, &p, 1, false, fixture_tokens(f, i), NULL) : NULL;
	rebus_prompt_free(p);
	return out;
}

int64_t tensor_count(const rebus_tensor *t)
{
	int64_t n = 1;
	for (int32_t i = 0; i < t->rank; i++)
		n *= t->shape[i];
	return n;
}

int64_t tensor_rows(const rebus_tensor *t)
{
	return t->rank && t->shape[t->rank - 1] ? tensor_count(t) / t->shape[t->rank - 1] : 1;
}

static bool same_shape(const rebus_tensor *a, const rebus_tensor *b)
{
	bool same = a->type == b->type && a->rank == b->rank;
	for (int32_t i = 0; same && i < a->rank; i++)
		same = a->shape[i] == b->shape[i];
	return same;
}

double tensor_distance(const rebus_tensor *a, const rebus_tensor *b)
{
	double apart = 0, all = 0;
	const float *x = a->data, *y = b->data;
	if (!same_shape(a, b) || a->type != REBUS_F32)
		return INFINITY;
	for (int64_t i = 0; i < tensor_count(a); i++) {
		double d = (double)x[i] - (double)y[i];
		apart += d * d;
		all += (double)y[i] * (double)y[i];
	}
	double r = all > 0 ? sqrt(apart / all) : sqrt(apart);
	return r == r ? r : INFINITY;
}

bool tensor_same(const rebus_tensor *a, const rebus_tensor *b)
{
	size_t n = (size_t)tensor_count(a) * (a->type == REBUS_I64 ? sizeof(int64_t) : sizeof(float));
	return same_shape(a, b) && (!n || !memcmp(a->data, b->data, n));
}
