/*
 * recipe.c - see recipe.h.
 *
 * Sources of the defaults: AdamW's betas and eps, Loshchilov & Hutter 2019 as PyTorch has them; decay of matrices only and
 * warm-up with a cosine, Touvron et al. 2021 (arXiv 2012.12877, table 9); layer-wise decay, Bao et al. 2022 (arXiv
 * 2106.08254, appendix); label smoothing, Szegedy et al. 2016 (arXiv 1512.00567, section 7).
 */
#include "train/recipe.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(m) offsetof(recipe, m)
#define TEXT_OPTION(n, m, help_, source_) {.name = n, .kind = RECIPE_TEXT, .at = AT(m), .help = help_, .source = source_}
#define CHOICE_OPTION(n, m, words, help_, source_) {.name = n, .kind = RECIPE_CHOICE, .at = AT(m), .text = words, .help = help_, .source = source_}
#define WHOLE_OPTION(n, m, l, h, f, help_, source_) \
	{.name = n, .kind = RECIPE_WHOLE, .at = AT(m), .low = l, .high = h, .fallback = f, .help = help_, .source = source_}
#define REAL_OPTION(n, m, l, h, f, help_, source_) \
	{.name = n, .kind = RECIPE_REAL, .at = AT(m), .low = l, .high = h, .fallback = f, .help = help_, .source = source_}

static const recipe_option options[] = {
	TEXT_OPTION("model", model, "checkpoint folder to train further", ""),
	TEXT_OPTION("init", init, "folder with config.json (and the files beside weights) to train from new weights", ""),
	TEXT_OPTION("data", data,
		"training set: idx:IMAGES,LABELS, or a folder of folders, one a class, or FILE.jsonl, FILE.csv, FILE.tar", ""),
	TEXT_OPTION("evaluation", evaluation, "held-out set, in the same forms", ""),
	TEXT_OPTION("out", out, "folder to write: the model, its state and log.jsonl", ""),
	CHOICE_OPTION("objective", objective, "auto|classify|contrast|answer|restore|words",
		"what is learned: the class; which picture and text belong together; the answer; dropped patches; masked words; auto: what fits the model", ""),
	CHOICE_OPTION("optimiser", optimiser, "adamw|sgd|lion", "how weights move", "adamw: arXiv 1711.05101; lion: arXiv 2302.06675"),
	CHOICE_OPTION("schedule", schedule, "cosine|linear|constant", "the rate after the warm-up", "cosine: arXiv 1608.03983"),
	TEXT_OPTION("freeze", freeze, "regular expression: weights whose name it finds stay as they are", ""),
	TEXT_OPTION("groups", groups,
		"[{\"match\": EXPRESSION, \"rate\": R, \"decay\": D}, ...]: weights whose name one finds, the first that does, have that highest rate and decay", ""),
	TEXT_OPTION("lora", lora,
		"low-rank factors are trained beside these linear layers and nothing else: names apart by commas (a module's, or what follows a dot in it), "
		"all-linear, or a regular expression for whole names, as PEFT's target_modules", "arXiv 2106.09685"),
	WHOLE_OPTION("lora-rank", lora_rank, 1, 65536, 8, "rank of the factors", "arXiv 2106.09685; default: PEFT's"),
	REAL_OPTION("lora-alpha", lora_alpha, 0, 1e6, 8, "what the factors give is multiplied by alpha / rank", "arXiv 2106.09685; default: PEFT's"),
	REAL_OPTION("lora-dropout", lora_dropout, 0, 0.999, 0, "share of the factors' inputs that is dropped", "PEFT's lora_dropout"),
	CHOICE_OPTION("lora-root", lora_root, "no|yes", "alpha / root of the rank instead", "arXiv 2312.03732, PEFT's use_rslora"),
	TEXT_OPTION("lora-whole", lora_whole, "regular expression: weights whose name it finds are trained whole beside the factors", "PEFT's modules_to_save"),
	TEXT_OPTION("adapter", adapter, "folder of an adapter in PEFT's form to train further, instead of lora", ""),
	TEXT_OPTION("merge", merge, "folder to write the model to with the adapter folded into its weights; OUT has the adapter alone", ""),
	CHOICE_OPTION("keep", keep, "last|best", "which weights are written: the last ones, or those of the best evaluation", ""),
	CHOICE_OPTION("precision", precision, "f32|bf16",
		"what factors of products are rounded to, forward and backward; sums, weights and the optimiser's moments stay f32", "arXiv 1905.12322"),
	WHOLE_OPTION("epochs", epochs, 1, 1e6, 10, "passes over the training set", ""),
	WHOLE_OPTION("steps", steps, 0, 1e12, 0, "steps in all instead of epochs; 0: by epochs", ""),
	WHOLE_OPTION("batch", batch, 1, 65536, 64, "samples a step runs packed in one pass", ""),
	WHOLE_OPTION("accumulate", accumulate, 1, 65536, 1, "passes whose gradients are averaged for one step", ""),
	WHOLE_OPTION("warmup", warmup, 0, 1e9, 0, "steps over which the rate rises from 0", "arXiv 1706.02677, section 2.2"),
	WHOLE_OPTION("evaluate-every", evaluate_every, 0, 1e12, 0, "steps between evaluations; 0: after each epoch", ""),
	WHOLE_OPTION("save-every", save_every, 0, 1e12, 0, "steps between states to resume from; 0: after each epoch", ""),
	WHOLE_OPTION("log-every", log_every, 1, 1e12, 10, "steps between lines of log.jsonl", ""),
	WHOLE_OPTION("layer-stats", layer_stats, 0, 1e12, 0,
		"steps between lines with each tensor's gradient norm and variance, and update-to-weight ratio; 0: none", ""),
	WHOLE_OPTION("patience", patience, 0, 1e9, 0, "evaluations without a better one before training ends early; 0: never", ""),
	WHOLE_OPTION("ahead", ahead, 0, 16, 2, "batches read, decoded and prepared ahead by threads of their own; 0: each when its step begins", ""),
	WHOLE_OPTION("checkpoint", checkpoint, 0, 1, 0,
		"1: only what enters each block is kept for the gradient, the rest is computed again: less memory, a third more work, the same bits",
		"arXiv 1604.06174"),
	WHOLE_OPTION("seed", seed, 0, 9007199254740992.0, 0, "what order, augmentation and new weights depend on", ""),
	REAL_OPTION("rate", rate, 0, 1e3, 1e-3, "learning rate at its highest", ""),
	REAL_OPTION("final-rate", final_rate, 0, 1, 0, "share of the rate that the schedule ends at", ""),
	REAL_OPTION("weight-decay", weight_decay, 0, 1e3, 0.05, "decoupled decay of matrices", "arXiv 1711.05101"),
	REAL_OPTION("decay-vectors", decay_vectors, 0, 1e3, 0, "decay of biases, norms and single rows", ""),
	REAL_OPTION("beta1", beta1, 0, 1, 0.9, "decay of the first moment (lion: of the update, too)", ""),
	REAL_OPTION("beta2", beta2, 0, 1, 0.999, "decay of the second moment (lion: of the moment)", ""),
	REAL_OPTION("eps", eps, 0, 1, 1e-8, "adamw: added to the root of the second moment", ""),
	REAL_OPTION("momentum", momentum, 0, 1, 0.9, "sgd: share of the last update that is kept", ""),
	REAL_OPTION("clip", clip, 0, 1e9, 1, "largest norm of the whole gradient; 0: any", "arXiv 1211.5063"),
	REAL_OPTION("ema", ema, 0, 1, 0, "decay of the moving average of weights that is evaluated and written; 0: none", ""),
	REAL_OPTION("layer-decay", layer_decay, 0, 1, 1, "factor on the rate from each block to the one below", "arXiv 2106.08254"),
	REAL_OPTION("smoothing", smoothing, 0, 1, 0, "label smoothing", "arXiv 1512.00567, section 7"),
	REAL_OPTION("mask-ratio", mask_ratio, -1, 0.99, -1, "restore: share of patches that are dropped; below 0: as the checkpoint says", "arXiv 2111.06377"),
	REAL_OPTION("mask-share", mask_share, 0, 1, 0.15, "words: share of words that are drawn", "arXiv 1810.04805, section 3.1"),
	REAL_OPTION("token-drop", token_drop, 0, 0.99, 0, "share of a picture's patches that are dropped", "arXiv 2212.00794"),
	REAL_OPTION("token-drop-final", token_drop_final, -1, 0.99, -1, "the same at the end of the run, reached in a line; below 0: it stays", ""),
	REAL_OPTION("token-mask", token_mask, 0, 1, 0, "share of a picture's patches that are read as zeros", ""),
	CHOICE_OPTION("token-mask-kind", token_mask_kind, "random|block", "masked one by one, or as one box", "arXiv 2106.08254, section 2.3"),
	REAL_OPTION("token-cut", token_cut, 0.01, 1, 1, "a box of this share of the grid stays, the patches around it are dropped", ""),
	REAL_OPTION("token-shuffle", token_shuffle, 0, 1, 0, "share of pictures whose patches are shuffled", ""),
	REAL_OPTION("token-reverse", token_reverse, 0, 1, 0, "share of pictures whose patches come in reverse", ""),
	CHOICE_OPTION("token-positions", token_positions, "move|stay", "in another order: each patch with its position, or positions stay as they are", ""),
	CHOICE_OPTION("token-evaluate", token_evaluate, "no|yes", "evaluations have their tokens arranged too", ""),
	REAL_OPTION("resize", resize, 0, 0.9, 0, "pictures are processed at a size up to this share smaller or larger, in whole patches", "arXiv 2307.06304"),
	REAL_OPTION("dropout", dropout, 0, 0.999, 0, "share dropped of what each half of a block gives, and of patches' embeddings",
		"arXiv 2010.11929, appendix B.1"),
	REAL_OPTION("drop-path", drop_path, 0, 0.999, 0, "share of samples that pass by a half of the last block; it grows from 0 at the first",
		"arXiv 1603.09382; 2012.12877, table 9"),
	REAL_OPTION("flip", flip, 0, 1, 0, "share of training pictures mirrored left to right", ""),
	REAL_OPTION("shift", shift, 0, 1, 0, "most that a training picture is moved either way, as a share of its side; edges repeat", ""),
	REAL_OPTION("erase", erase, 0, 1, 0, "share of training pictures in which a box is overwritten with noise", "arXiv 1708.04896"),
};

const recipe_option *recipe_option_at(size_t i)
{
	return i < COUNT_OF(options) ? &options[i] : NULL;
}

static void put_text(recipe *r, const recipe_option *o, const char *text)
{
	memcpy((char *)r + o->at, &text, sizeof text);
}

static void put_number(recipe *r, const recipe_option *o, double value)
{
	if (o->kind == RECIPE_WHOLE)
		memcpy((char *)r + o->at, &(int64_t){(int64_t)value}, sizeof(int64_t));
	else
		memcpy((char *)r + o->at, &value, sizeof value);
}

void recipe_defaults(recipe *r)
{
	*r = (recipe){0};
	for (size_t i = 0; i < COUNT_OF(options); i++)
		if (options[i].kind == RECIPE_WHOLE || options[i].kind == RECIPE_REAL)
			put_number(r, &options[i], options[i].fallback);
	r->objective = "auto";
	r->optimiser = "adamw";
	r->schedule = "cosine";
	r->keep = "last";
	r->lora_root = "no";
	r->precision = "f32";
	r->token_mask_kind = "random";
	r->token_positions = "move";
	r->token_evaluate = "no";
}

static const recipe_option *find(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(options); i++)
		if (!strcmp(options[i].name, name))
			return &options[i];
	return NULL;
}

static rebus_status set_number(recipe *r, const recipe_option *o, double value, const char *shown, rebus_error *err)
{
	bool whole = o->kind == RECIPE_WHOLE;
	if (!(value >= o->low && value <= o->high) || (whole && value != floor(value)))
		return error_set(err, REBUS_MISUSE, "%s %.40s: expected %s from %g to %g", o->name, shown, whole ? "a whole number" : "a number", o->low, o->high);
	put_number(r, o, value);
	return REBUS_OK;
}

static rebus_status set_text(arena *a, recipe *r, const recipe_option *o, const char *value, rebus_error *err)
{
	size_t n = strlen(value);
	bool known = o->kind == RECIPE_TEXT;
	for (const char *p = o->text; p && !known; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		known = n && !strncmp(p, value, n) && (p[n] == '|' || !p[n]);
	if (!known)
		return error_set(err, REBUS_MISUSE, "%s %.40s: expected %s", o->name, value, o->text);
	const char *copy = arena_text(a, value, n);
	if (!copy)
		return error_memory(err, "a recipe");
	put_text(r, o, copy);
	return REBUS_OK;
}

static rebus_status unknown(const char *name, rebus_error *err)
{
	return error_set(err, REBUS_MISUSE, "%.60s: not an option of a recipe, expected one of those that `rebus train --help` lists", name);
}

rebus_status recipe_set(arena *a, recipe *r, const char *name, const char *value, rebus_error *err)
{
	const recipe_option *o = find(name);
	char *end;
	if (!o)
		return unknown(name, err);
	if (o->kind == RECIPE_TEXT || o->kind == RECIPE_CHOICE)
		return set_text(a, r, o, value, err);
	double v = strtod(value, &end);
	return set_number(r, o, *value && !*end ? v : NAN, value, err);
}

/* {"match": "x", "rate": 1} as it was. */
static bool add_object(buf *b, const json *j)
{
	bool sound = json_kind_of(j) == JSON_MAP, first = true;
	json_each it = json_first(j);
	buf_text(b, "{");
	while (sound && json_next(&it)) {
		const char *text = json_text(it.value, NULL);
		double v = 0;
		buf_text(b, first ? "" : ", ");
		buf_json(b, it.key, strlen(it.key));
		buf_text(b, ": ");
		first = false;
		if (text)
			buf_json(b, text, strlen(text));
		else if ((sound = json_real(it.value, &v)))
			buf_format(b, "%.17g", v);
	}
	buf_text(b, "}");
	return sound;
}

/* ["a", "b"] is "a,b"; a list of objects stays one. */
static rebus_status set_list(arena *a, recipe *r, const recipe_option *o, const json *list, rebus_error *err)
{
	buf b;
	buf_init(&b, a->from, 1 << 20);
	bool objects = json_kind_of(json_at(list, 0)) == JSON_MAP, sound = o->kind == RECIPE_TEXT && json_count(list) > 0;
	buf_text(&b, objects ? "[" : "");
	for (size_t i = 0; i < json_count(list) && sound; i++) {
		const char *text = json_text(json_at(list, i), NULL);
		buf_text(&b, i ? "," : "");
		sound = objects ? add_object(&b, json_at(list, i)) : text && !strchr(text, ',');
		buf_text(&b, sound && !objects ? text : "");
	}
	buf_text(&b, objects ? "]" : "");
	const char *joined = sound && !b.failed ? arena_text(a, b.data, b.size) : NULL;
	buf_free(&b);
	if (!sound)
		return error_set(err, REBUS_MISUSE, "%s: expected %s", o->name, o->kind == RECIPE_TEXT ? "a text, or a list of them or of objects" : "no list");
	return joined ? set_text(a, r, o, joined, err) : error_memory(err, "a recipe");
}

rebus_status recipe_read(arena *a, recipe *r, const char *path, rebus_error *err)
{
	rebus_status status;
	json *j = NULL;
	TRY(json_load(path, 1 << 20, 10000, &j, err));
	if (json_kind_of(j) != JSON_MAP) {
		status = error_set(err, REBUS_FORMAT, "%s: not an object of options", path);
		goto done;
	}
	json_each it = json_first(j);
	while (json_next(&it)) {
		const recipe_option *o = find(it.key);
		const char *text = json_text(it.value, NULL);
		double v;
		if (!strcmp(it.key, "about") || !strcmp(it.key, "measured")) /* for people */
			continue;
		if (!o)
			status = unknown(it.key, err);
		else if (text && (o->kind == RECIPE_TEXT || o->kind == RECIPE_CHOICE))
			status = set_text(a, r, o, text, err);
		else if (json_kind_of(it.value) == JSON_LIST)
			status = set_list(a, r, o, it.value, err);
		else if (json_real(it.value, &v) && (o->kind == RECIPE_WHOLE || o->kind == RECIPE_REAL))
			status = set_number(r, o, v, it.key, err);
		else
			status = error_set(err, REBUS_MISUSE, "%s: expected %s", it.key, o->kind == RECIPE_TEXT || o->kind == RECIPE_CHOICE ? "a text" : "a number");
		if (status) {
			error_prefix(err, status, "%s", path);
			goto done;
		}
	}
done:
	json_free(j);
	return status;
}

const char *recipe_about(arena *a, const recipe *r)
{
	buf b;
	buf_init(&b, a->from, 1 << 16);
	for (size_t i = 0; i < COUNT_OF(options); i++) {
		const recipe_option *o = &options[i];
		static const char *const free_ones[] = {"out", "merge", "checkpoint", "ahead", "save-every", "log-every", "layer-stats"};
		bool counts = true;
		for (size_t k = 0; k < COUNT_OF(free_ones); k++)
			counts &= strcmp(o->name, free_ones[k]) != 0;
		if (!counts)
			continue;
		const char *text;
		int64_t whole;
		double real;
		memcpy(&text, (const char *)r + o->at, sizeof text);
		memcpy(&whole, (const char *)r + o->at, sizeof whole);
		memcpy(&real, (const char *)r + o->at, sizeof real);
		if (o->kind == RECIPE_WHOLE)
			buf_format(&b, "%s=%lld ", o->name, (long long)whole);
		else if (o->kind == RECIPE_REAL)
			buf_format(&b, "%s=%.17g ", o->name, real);
		else
			buf_format(&b, "%s=%s ", o->name, text ? text : "");
	}
	const char *out = b.failed ? NULL : arena_text(a, b.data, b.size);
	buf_free(&b);
	return out;
}
