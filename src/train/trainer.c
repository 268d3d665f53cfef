/*
 * trainer.c - the loop: rebus_train.
 *
 * The step's number decides everything else: which epoch, which samples in which order, how they are augmented, the learning
 * rate. So a state is the weights, the moments and a number, and going on is the same as never having stopped.
 */
#include <math.h>
#include <string.h>

#include "train/arrange.h"
#include "train/crew.h"
#include "train/trainer.h"

struct rebus_recipe {
	arena mem;
	recipe r;
};

/* ------------------------------------------------------------------------------------------------ recipe */
rebus_status rebus_recipe_new(rebus_recipe **out, rebus_error *err)
{
	arena mem;
	arena_init(&mem, NULL, 16 << 20);
	rebus_recipe *r = arena_zero(&mem, 1, sizeof *r);
	if (!r)
		return error_memory(err, "a recipe");
	recipe_defaults(&r->r);
	r->mem = mem;
	*out = r;
	return REBUS_OK;
}

void rebus_recipe_free(rebus_recipe *r)
{
	if (!r)
		return;
	arena mem = r->mem; /* the recipe lies in its own arena */
	arena_free(&mem);
}

rebus_status rebus_recipe_read(rebus_recipe *r, const char *path, rebus_error *err)
{
	return recipe_read(&r->mem, &r->r, path, err);
}

rebus_status rebus_recipe_set(rebus_recipe *r, const char *name, const char *value, rebus_error *err)
{
	return recipe_set(&r->mem, &r->r, name, value, err);
}

bool rebus_recipe_option_at(size_t number, rebus_recipe_option *out)
{
	const recipe_option *o = recipe_option_at(number);
	if (!o)
		return false;
	*out = (rebus_recipe_option){.name = o->name, .help = o->help, .source = o->source, .words = o->kind == RECIPE_CHOICE ? o->text : NULL, .low = o->low,
		.high = o->high, .fallback = o->fallback, .number = o->kind == RECIPE_WHOLE || o->kind == RECIPE_REAL, .whole = o->kind == RECIPE_WHOLE};
	return true;
}

/* ------------------------------------------------------------------------------------------------ opening */
static rebus_status check_recipe(const recipe *r, rebus_error *err)
{
	if (!r->model == !r->init)
		return error_set(err, REBUS_MISUSE, "model, init: expected one of them, a folder to train further or one with a configuration to begin from");
	if (!r->data)
		return error_set(err, REBUS_MISUSE, "data: missing, expected a training set");
	if (!r->out)
		return error_set(err, REBUS_MISUSE, "out: missing, expected the folder to write");
	if (r->lora && r->adapter)
		return error_set(err, REBUS_MISUSE, "lora, adapter: expected one of them, new factors or those of a folder");
	if ((r->lora || r->adapter) && !r->model)
		return error_set(err, REBUS_MISUSE, "lora: expected model, a checkpoint to stand beside");
	if ((r->merge || r->lora_whole) && !r->lora && !r->adapter)
		return error_set(err, REBUS_MISUSE, "merge, lora-whole: expected lora or adapter");
	if (!strcmp(r->keep, "best") && !r->evaluation)
		return error_set(err, REBUS_MISUSE, "keep best: needs an evaluation set");
	return REBUS_OK;
}

/* The folder whose weights are trained: a given one, or OUT with new weights in it. */
static rebus_status open_model(trainer *t, const char *cpu, rebus_error *err)
{
	const recipe *r = t->r;
	rebus_status status;
	rebus_model_options o = rebus_model_defaults();
	const char *weights = arena_format(&t->mem, "%s/model.safetensors", r->out), *state = arena_format(&t->mem, "%s/state.safetensors", r->out);
	o.cpu = cpu;
	o.trainable = !r->lora || r->lora_whole; /* else the weights stay, and may stay where and as the file has them */
	o.copy = o.trainable;
	o.adapter = r->adapter;
	TRY(weights && state ? REBUS_OK : error_memory(err, "training"));
	if (r->init && !(file_exists(weights) && file_exists(state)))
		TRY(fresh_folder(r->init, r->out, (uint64_t)r->seed, err));
	TRY(rebus_model_open(r->model ? r->model : r->out, &o, &t->m, err));
	if (r->lora)
		TRY(adapter_make(t->m, &(adapter_plan){.target = r->lora, .whole = r->lora_whole, .rank = r->lora_rank, .alpha = r->lora_alpha,
			.dropout = r->lora_dropout, .rslora = !strcmp(r->lora_root, "yes"), .seed = (uint64_t)r->seed}, err));
	else if (t->m->adapter)
		t->m->adapter->plan.whole = r->lora_whole;
	TRY(make_folder(r->out, err)); /* not before something is known to be there to train */
done:
	return status;
}

static rebus_status pick_objective(trainer *t, rebus_error *err)
{
	static const objective *const all[] = {&objective_classify, &objective_contrast, &objective_answer, &objective_restore, &objective_words};
	rebus_error why = {0};
	for (size_t i = 0; i < COUNT_OF(all) && !t->goal; i++)
		if (!strcmp(t->r->objective, all[i]->name) || (!strcmp(t->r->objective, "auto") && !all[i]->check(t, &why)))
			t->goal = all[i];
	if (!t->goal)
		return error_set(err, why.code ? why.code : REBUS_MISUSE, "objective auto: nothing fits a %s model: %s", rebus_model_family(t->m), why.text);
	return t->goal->check(t, err);
}

static rebus_status open_sets(trainer *t, rebus_error *err)
{
	rebus_status status;
	TRY(samples_open(&t->mem, t->r->data, t->m->labels, (int32_t)t->m->label_count, &t->data, err));
	TRY(loader_open(&t->train, t->m, t->r, t->data, &t->runner, true, t->goal->prepare, &t->mem, err));
	if (t->r->evaluation) {
		TRY(samples_open(&t->mem, t->r->evaluation, t->m->labels, (int32_t)t->m->label_count, &t->held_out, err));
		TRY(loader_open(&t->test, t->m, t->r, t->held_out, &t->runner, false, t->goal->prepare, &t->mem, err));
	}
	t->in_epoch = ceil_div(t->data->count, t->r->batch * t->r->accumulate);
	t->total = t->r->steps ? t->r->steps : t->r->epochs * t->in_epoch;
	t->train.in_epoch = t->in_epoch;
	t->train.total = t->total;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ log */
static rebus_status log_open(trainer *t, rebus_error *err)
{
	const char *path = arena_format(&t->mem, "%s/log.jsonl", t->r->out);
	return path ? journal_open(&t->log, path, t->number, err) : error_memory(err, "training");
}

static rebus_status log_step(trainer *t, const rebus_train_state *s, rebus_error *err)
{
	buf b;
	buf_init(&b, NULL, 1 << 12);
	buf_format(&b, "{\"step\": %lld, \"loss\": %.9g, \"rate\": %.9g, \"norm\": %.9g", (long long)s->step, s->loss, s->rate, s->norm);
	if (s->evaluated)
		buf_format(&b, ", \"score\": %.9g, \"score_loss\": %.9g", s->score, s->score_loss);
	buf_text(&b, "}\n");
	rebus_status status = journal_add(&t->log, &b, err);
	buf_free(&b);
	return status;
}

static rebus_status log_tensors(trainer *t, int64_t step, rebus_error *err)
{
	buf b;
	buf_init(&b, NULL, 64 << 20);
	buf_format(&b, "{\"step\": %lld, \"tensors\": {", (long long)step);
	for (int32_t i = 0, n = 0; i < t->list.count; i++) {
		if (t->list.at[i].frozen)
			continue;
		optimiser_seen s = optimiser_saw(&t->list, i);
		buf_text(&b, n++ ? ", " : "");
		buf_json(&b, t->list.at[i].name, strlen(t->list.at[i].name));
		buf_format(&b, ": {\"gradient\": %.6g, \"variance\": %.6g, \"update_to_weight\": %.6g}", s.gradient, s.variance,
			s.weight > 0 ? s.update / s.weight : 0);
	}
	buf_text(&b, "}}\n");
	rebus_status status = journal_add(&t->log, &b, err);
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ a step */
static void note_skipped(trainer *t, const batch *b, rebus_train_state *s)
{
	t->skipped += b->skipped;
	if (b->skipped)
		s->warning = arena_format(&t->step, "%d samples of a batch cannot be read and are left out, the first: %s", b->skipped, b->reason.text);
}

/* What dropout draws in a pass; pass < 0: in an evaluation, nothing. */
static void draw(trainer *t, int64_t pass)
{
	uint64_t bits = random_bits((uint64_t)t->r->seed, RANDOM_DROPOUT, (uint64_t)t->number, (uint64_t)pass);
	t->draw[0] = (int32_t)(uint32_t)bits;
	t->draw[1] = (int32_t)(uint32_t)(bits >> 32);
	t->draw[2] = pass >= 0;
}

/* Forward and backward over the step's batches; gradients averaged. */
static rebus_status passes(trainer *t, rebus_train_state *s, rebus_error *err)
{
	int64_t epoch = t->number / t->in_epoch, at = t->number % t->in_epoch * t->r->batch * t->r->accumulate, done = 0;
	double sum = 0;
	rebus_status status = REBUS_OK;
	int64_t left = int_min(t->data->count - at, t->r->batch * t->r->accumulate), parts = ceil_div(left, t->r->batch);
	for (int64_t i = 0; i < parts; i++) {
		batch b;
		double loss = 0;
		int64_t count = int_min(t->r->batch, left - i * t->r->batch);
		TRY(loader_get(&t->train, epoch, at + i * t->r->batch, count, &t->step, &b, err));
		note_skipped(t, &b, s);
		if (!b.count)
			continue;
		t->vision.ran = t->text.ran = false;
		draw(t, i);
		TRY(t->goal->pass(t, &b, &loss, err));
		if (!t->list.pieces)
			TRY(parameters_ready(&t->list, &t->mem, t->r, &(freeze_rule){t->r->freeze, t->m->adapter}, err));
		parameters_gather(&t->list, &t->runner, t->r->accumulate > 1, done == 0, 1.0f / (float)parts);
		sum += loss;
		done++;
	}
	if (!done) {
		status = error_set(err, REBUS_IO, "%s: no sample of a whole step can be read", t->data->name);
		goto done;
	}
	s->loss = sum / (double)done;
done:
	return status;
}

static rebus_status move(trainer *t, rebus_train_state *s, rebus_error *err)
{
	const recipe *r = t->r;
	s->norm = optimiser_norm(&t->list, &t->runner, t->m->k);
	s->rate = optimiser_rate(r, t->number + 1, t->total);
	if (!isfinite(s->loss) || !isfinite(s->norm))
		return error_set(err, REBUS_FORMAT, "step %lld: the loss or its gradient is no number (loss %g, norm %g); what was saved stays, try a lower rate",
			(long long)t->number + 1, s->loss, s->norm);
	float factor = r->clip > 0 && s->norm > r->clip ? (float)(r->clip / s->norm) : 1.0f;
	optimiser_step o = {.kind = optimiser_parse(r->optimiser), .k = t->m->k, .r = r, .number = t->number + 1, .rate = s->rate, .factor = factor};
	o.watch = r->layer_stats && (t->number + 1) % r->layer_stats == 0;
	optimiser_move(&t->list, &t->runner, &o);
	t->number++;
	return o.watch ? log_tensors(t, t->number, err) : REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ evaluation */
/* The moving average takes the weights' places, and back. */
static void swap_average(trainer *t)
{
	for (int32_t i = 0; i < t->list.count; i++) {
		parameter *p = &t->list.at[i];
		for (int64_t k = 0; p->average && k < p->count; k++) {
			float v = p->value[k];
			p->value[k] = p->average[k];
			p->average[k] = v;
		}
	}
}

static rebus_status evaluate(trainer *t, rebus_train_state *s, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	score sum = {0};
	swap_average(t);
	draw(t, -1);
	for (int64_t at = 0; at < t->held_out->count; at += t->r->batch) {
		batch b;
		arena_release(&t->step, (arena_mark){0});
		TRY(loader_get(&t->test, 0, at, int_min(t->r->batch, t->held_out->count - at), &t->step, &b, err));
		if (b.count)
			TRY(t->goal->score(t, &b, &sum, err));
	}
	if (!sum.count) {
		status = error_set(err, REBUS_IO, "%s: no sample can be read", t->held_out->name);
		goto done;
	}
	s->evaluated = true;
	s->score = sum.right / (double)sum.count;
	s->score_loss = sum.loss / (double)sum.count;
done:
	swap_average(t);
	return status;
}

static bool due(int64_t number, int64_t every, int64_t in_epoch, int64_t total)
{
	return number == total || number % (every ? every : in_epoch) == 0;
}

/* Evaluation, log, the best weights, the state, in this order: what is logged was never lost. */
static rebus_status after_step(trainer *t, rebus_train_state *s, rebus_error *err)
{
	const recipe *r = t->r;
	rebus_status status = REBUS_OK;
	if (t->held_out && due(t->number, r->evaluate_every, t->in_epoch, t->total)) {
		TRY(evaluate(t, s, err));
		t->worse++;
		if (!t->best_at || s->score > t->best) {
			t->best = s->score;
			t->best_at = t->number;
			t->worse = 0;
			if (!strcmp(r->keep, "best"))
				TRY(export_model(t, err));
		}
	}
	s->step = t->number;
	s->epoch = (t->number - 1) / t->in_epoch;
	s->best = t->best;
	s->best_at = t->best_at;
	s->skipped = t->skipped;
	if (s->evaluated || t->number == 1 || t->number == t->total || t->number % r->log_every == 0)
		TRY(log_step(t, s, err));
	if (due(t->number, r->save_every, t->in_epoch, t->total))
		TRY(state_save(t, err));
done:
	return status;
}

static bool ended(const trainer *t)
{
	return t->number >= t->total || (t->r->patience && t->worse >= t->r->patience);
}

/* ------------------------------------------------------------------------------------------------ the run */
/* Parameters are known once a graph is there; the first batch makes it, and its pass is repeated by the first step. */
static rebus_status warm_up(trainer *t, rebus_train_state *s, rebus_error *err)
{
	rebus_status status;
	TRY(passes(t, s, err));
	t->skipped = 0;
	s->warning = NULL;
	TRY(state_load(t, &s->resumed, err));
done:
	return status;
}

static rebus_status one_step(trainer *t, rebus_train_state *now, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_release(&t->step, (arena_mark){0});
	if (t->options->stop && t->options->stop(t->options->user))
		return REBUS_CANCELLED;
	TRY(passes(t, now, err));
	TRY(move(t, now, err));
	TRY(after_step(t, now, err));
done:
	return status;
}

/* A step that was stopped has moved nothing: what is saved is the state after the one before. */
static rebus_status stopped(trainer *t, rebus_error *err)
{
	rebus_error why = {0};
	rebus_status status = t->number ? state_save(t, &why) : REBUS_OK;
	if (status)
		return error_set(err, status, "stopped after step %lld, and its state cannot be saved: %.120s", (long long)t->number, why.text);
	return error_set(err, REBUS_CANCELLED, "stopped after step %lld of %lld; the same command goes on from there", (long long)t->number, (long long)t->total);
}

static rebus_status train(trainer *t, rebus_train_state *s, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	double began = time_now();
	TRY(warm_up(t, s, err));
	s->steps = t->total;
	s->step = t->number;
	s->best = t->best;
	s->best_at = t->best_at;
	s->skipped = t->skipped;
	s->finished = ended(t);
	TRY(log_open(t, err));
	while (!ended(t)) {
		rebus_train_state now = {.steps = t->total, .resumed = s->resumed, .samples = s->samples + t->r->batch * t->r->accumulate};
		status = one_step(t, &now, err);
		if (status == REBUS_CANCELLED)
			return stopped(t, err);
		TRY(status);
		now.seconds = time_now() - began;
		now.finished = ended(t);
		*s = now;
		if (t->options->on_step)
			t->options->on_step(t->options->user, s);
		s->warning = NULL;
	}
	if (strcmp(t->r->keep, "best"))
		TRY(export_model(t, err));
done:
	return status;
}

static void end(trainer *t)
{
	journal_close(&t->log);
	train_net_end(&t->vision);
	train_net_end(&t->text);
	loader_close(&t->train);
	loader_close(&t->test);
	rebus_model_close(t->m);
	team_close(t->team);
	arena_free(&t->step);
	arena_free(&t->mem);
}

rebus_status rebus_train(const rebus_recipe *recipe, const rebus_train_options *options, rebus_train_state *out, rebus_error *err)
{
	static const rebus_train_options none;
	rebus_status status;
	rebus_train_state s = {0};
	trainer t = {.r = &recipe->r, .options = options ? options : &none, .log.fd = -1};
	arena_init(&t.mem, NULL, 0);
	arena_init(&t.step, NULL, 0);
	TRY(check_recipe(t.r, err));
	t.about = recipe_about(&t.mem, t.r);
	TRY(t.about ? REBUS_OK : error_memory(err, "training"));
	TRY(team_open(t.options->threads ? t.options->threads : cpu_quota(), NULL, &t.team, err));
	t.runner = team_runner(t.team);
	TRY(open_model(&t, t.options->cpu, err));
	TRY(pick_objective(&t, err));
	TRY(arrange_check(t.m, t.r, err));
	TRY(open_sets(&t, err));
	TRY(train(&t, &s, err));
	if (out)
		*out = s;
done:
	end(&t);
	return status;
}
