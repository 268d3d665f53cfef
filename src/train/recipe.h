/*
 * recipe.h - everything that decides a training run, as one table of options: a JSON file's members, the program's options
 * and docs/training.md are all this table.
 *
 *     RECIPE.json ─┐
 *     --NAME VALUE ┴─► recipe ─► trainer
 */
#ifndef REBUS_RECIPE_H
#define REBUS_RECIPE_H

#include "files/json.h"

typedef struct recipe {
	const char *model, *init, *data, *evaluation, *out, *objective, *optimiser, *schedule, *freeze, *keep, *precision;
	const char *adapter, *lora, *lora_whole, *lora_root, *merge, *groups;
	int64_t epochs, steps, batch, accumulate, warmup, evaluate_every, save_every, log_every, seed, layer_stats, patience, checkpoint, ahead;
	double rate, final_rate, weight_decay, decay_vectors, beta1, beta2, eps, momentum, clip, ema, layer_decay;
	int64_t lora_rank;
	double lora_alpha, lora_dropout;
	double smoothing, dropout, drop_path, mask_ratio, mask_share;
	double token_drop, token_drop_final, token_mask, token_shuffle, token_reverse, token_cut, resize;
	const char *token_mask_kind, *token_positions, *token_evaluate;
	double flip, shift, erase;
} recipe;

typedef enum { RECIPE_TEXT, RECIPE_CHOICE, RECIPE_WHOLE, RECIPE_REAL } recipe_kind;
typedef struct recipe_option {
	const char *name;
	recipe_kind kind;
	size_t at;            /* in recipe */
	double low, high, fallback;
	const char *text;     /* fallback of a text; the words of a choice, apart by '|', the first is the fallback */
	const char *help, *source;
} recipe_option;

const recipe_option *recipe_option_at(size_t i); /* NULL past the last */
void recipe_defaults(recipe *r);
/* Texts are copied into a. Fails with MISUSE: no such option, a value out of its range. */
rebus_status recipe_set(arena *a, recipe *r, const char *name, const char *value, rebus_error *err);
rebus_status recipe_read(arena *a, recipe *r, const char *path, rebus_error *err); /* a JSON object; other members fail */
/* What the numbers of a run depend on, as one line: a state is resumed only by the same. */
const char *recipe_about(arena *a, const recipe *r);

#endif
