/*
 * cmd_train.c - rebus train: a model from a recipe. Its options are the recipe's, which the library lists.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

typedef struct watch {
	const cli_request *r;
	cli_progress bar;
	char what[64];
	double before, first, fastest; /* seconds at the step before; after the first step; of the fastest step */
	int64_t steps; /* of this call */
	bool begun;
} watch;

static bool stop(void *user)
{
	(void)user;
	return cli_stopped() != 0;
}

static void on_step(void *user, const rebus_train_state *s)
{
	watch *w = user;
	char line[512];
	double took = s->seconds - w->before;
	if (w->steps++)
		w->fastest = w->steps == 2 || took < w->fastest ? took : w->fastest;
	else
		w->first = s->seconds;
	w->before = s->seconds;
	if (w->r->quiet)
		return;
	if (!w->begun) {
		cli_progress_begin(&w->bar, w->r, "training", (size_t)s->steps, (size_t)s->step - 1);
		w->begun = true;
		if (s->resumed)
			snprintf(line, sizeof line, "goes on after step %lld of %lld", (long long)s->step - 1, (long long)s->steps);
		if (s->resumed)
			cli_say(line);
	}
	if (s->evaluated || s->warning) {
		cli_progress_clear(&w->bar);
		if (s->warning)
			cli_say(s->warning);
		snprintf(line, sizeof line, "step %lld of %lld: loss %.4f, held out %.4f right, loss %.4f (best %.4f at step %lld), %.0f samples/s",
			(long long)s->step, (long long)s->steps, s->loss, s->score, s->score_loss, s->best, (long long)s->best_at, (double)s->samples / s->seconds);
		if (s->evaluated)
			cli_say(line);
	}
	snprintf(w->what, sizeof w->what, "training, loss %.4f", s->loss);
	w->bar.what = w->what;
	cli_progress_move(&w->bar, (size_t)s->step);
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	rebus_recipe *recipe = NULL;
	rebus_train_state s;
	watch w = {.r = r};
	rebus_train_options o = {.threads = r->threads > 0 ? (int)r->threads : 0, .cpu = r->cpu, .on_step = on_step, .stop = stop, .user = &w};
	cli_out out = {.data = NULL};
	CLI_TRY(cli_signals(err));
	CLI_TRY(rebus_recipe_new(&recipe, err));
	if (r->plain)
		CLI_TRY(rebus_recipe_read(recipe, r->plain, err));
	for (size_t i = 0; i < r->settings.count; i++) {
		const cli_setting *x = (const cli_setting *)r->settings.items + i;
		CLI_TRY(rebus_recipe_set(recipe, x->name, x->value, err));
	}
	status = rebus_train(recipe, &o, &s, err);
	cli_progress_clear(&w.bar);
	if (status)
		goto done;
	if (r->json)
		cli_print(&out, "{\"steps\": %lld, \"loss\": %.9g, \"score\": %.9g, \"best\": %.9g, \"best_at\": %lld, \"skipped\": %lld, "
			"\"seconds_a_step\": %.4g, \"fastest_step\": %.4g}\n", (long long)s.step, s.loss,
			s.score, s.best, (long long)s.best_at, (long long)s.skipped, w.steps > 1 ? (w.before - w.first) / (double)(w.steps - 1) : 0, w.fastest);
	else
		cli_print(&out, "%lld steps, loss %.4f\n", (long long)s.step, s.loss);
	if (!r->json && s.best_at)
		cli_print(&out, "held out: %.4f right, best %.4f at step %lld\n", s.score, s.best, (long long)s.best_at);
	CLI_TRY(cli_out_flush(&out, err));
	if (s.skipped)
		status = cli_error(err, REBUS_IO, "%lld samples could not be read and were left out", (long long)s.skipped);
done:
	cli_out_free(&out);
	rebus_recipe_free(recipe);
	return status;
}

const cli_command cli_train = {
	.name = "train",
	.bit = CLI_TRAIN,
	.plain = PLAIN_RECIPE,
	.summary = "train a model, or train one further",
	.usage = "[RECIPE.json] --data SET --out DIR (--model DIR | --init DIR)",
	.about = "Trains what a recipe says; options add to it. OUT becomes a checkpoint folder like any other, with log.jsonl and the "
	         "state to go on from beside it: the same command after an interruption, even kill -9, ends with the same bits as if "
	         "it had not been interrupted.",
	.examples = "rebus train recipes/vit-fashion.json\n"
	            "rebus train --model vit --data pictures/ --evaluation held-out/ --out tuned --rate 1e-4 --epochs 3",
	.run = run,
};
