/*
 * train_parity.c - gradients and ten steps of plain SGD of small classifiers and a small LLaVA against PyTorch.
 *
 *   classifier  pictures of two sizes (one with interpolated positions) ─► logits ─► mean cross-entropy; of a tower its pooled row is taken for
 *               logits
 *   ViT-MAE     pictures of two sizes, patches dropped ─► decoder ─► mean squared error of what was dropped
 *   encoders of text   words of every row, or pooled rows of a tower; both towers of SigLIP 2 with one loss
 *   LLaVA       two graphs, chained by a seed:
 *
 *             pictures ─► tower ─► projector ─► features ─────────► text model ─► logits ─► mean cross-entropy of what follows
 *             d parameters ◄── seed ◄────────── d features ◄─────── gradient        (prompts are masked)
 *
 *           three sequences of different lengths packed, two of them with a picture; embeddings tied
 *
 * A gradient must be within 1e-4 of its own norm or 1e-6 of the whole gradient's norm, whichever is larger; a loss within
 * 3e-5 of itself. Both must have the same bits at 1 and 3 threads. A model opened with copy owns its weights' memory, so that
 * the steps can be taken where they lie.
 */
#include "parity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "generate/sequences.h"

enum { STEPS = 10, MOST = 8, SEQUENCES = 3 };
static const double OWN = 1e-4, WHOLE = 1e-6, LOSS = 3e-5;

typedef struct trainee {
	const char *name;
	rebus_model *m;
	rebus_tensors *want; /* train.safetensors */
	json *golden;
	arena mem;
	team *team;
	rebus_runner runner;
	float losses[STEPS];
	int32_t count; /* prompts */
	rebus_prompt *prompts[MOST];
} trainee;

typedef struct side { /* a net with its gradient, planned */
	net n;
	plan *p;
	feed f;
	node_id out, seed;
	slot seed_at, target;
} side;

static void must(rebus_status status, const rebus_error *err)
{
	if (!check_call(status, err, "training"))
		exit(check_report());
}

static bool trainee_open(trainee *t, const char *name, const char *cpu, int threads)
{
	fixture f = {0};
	rebus_error err = {0};
	rebus_model_options o = rebus_model_defaults();
	char folder[256];
	*t = (trainee){.name = name};
	arena_init(&t->mem, NULL, 0);
	snprintf(folder, sizeof folder, "tests/parity/fixtures/%s", name);
	if (!check(chdir(folder) == 0, "%s: not there", folder))
		return false;
	o.copy = true;
	o.cpu = cpu;
	must(rebus_model_open(".", &o, &t->m, &err), &err);
	must(rebus_tensors_load("train.safetensors", &t->want, &err), &err);
	must(json_load("golden.json", 1 << 20, 1 << 16, &t->golden, &err), &err);
	must(team_open(threads, &base_allocator, &t->team, &err), &err);
	t->runner = team_runner(t->team);
	f = (fixture){.name = name, .golden = t->golden, .model = t->m, .cases = json_count(json_get(t->golden, "cases"))};
	t->count = (int32_t)f.cases;
	return check(f.cases <= MOST && fixture_prompts(&f, 0, f.cases, t->prompts), "%s: prompts", name);
}

static void trainee_close(trainee *t)
{
	prompts_free(t->prompts, (size_t)t->count);
	team_close(t->team);
	json_free(t->golden);
	rebus_tensors_free(t->want);
	rebus_model_close(t->m);
	arena_free(&t->mem);
	if (chdir("../../../.."))
		exit(2);
}

static rebus_tensor wanted(const trainee *t, const char *name)
{
	rebus_tensor x = {0};
	if (!check(rebus_tensors_find(t->want, name, &x), "%s: train.safetensors: no %s", t->name, name))
		exit(check_report());
	return x;
}

/* ------------------------------------------------------------------------------------------------ parameters */
/* What is done with each tensor of the checkpoint that the graph has as a parameter: its values, and its gradient's rows. */
typedef void (*on_tensor)(trainee *t, const char *name, float *values, const plan_rows *gradient, bool turned, void *user);

static void each_part(trainee *t, const side *s, node_id id, on_tensor do_it, void *user)
{
	const node *n = graph_node(s->n.g, id);
	node_id d = graph_gradient_of(s->n.g, id);
	bool bias = n->a.which == 1;
	int64_t at = 0;
	if (!d)
		return;
	plan_rows g = plan_output(s->p, d);
	for (int32_t k = 0; k < n->w->parts; k++) {
		const matrix *part = &n->w->part[k];
		char name[320];
		bool vector = bias || n->w->f32;
		plan_rows mine = {g.data + (vector ? at : at * g.stride), vector ? 1 : part->out, vector ? part->out : part->in, g.stride};
		at += part->out;
		if (bias && !n->w->bias[k])
			continue;
		snprintf(name, sizeof name, "gradient.%s", bias ? n->w->bias_name[k] : part->name);
		do_it(t, name, (float *)(uintptr_t)(bias ? (const void *)n->w->bias[k] : part->data), &mine, part->turned && !bias, user);
	}
}

static void each_tensor(trainee *t, const side *s, on_tensor do_it, void *user)
{
	for (node_id id = 1; id <= graph_count(s->n.g); id++)
		if (graph_node(s->n.g, id)->op == &op_param)
			each_part(t, s, id, do_it, user);
}

static double norm_of(const rebus_tensor *x)
{
	double sum = 0;
	for (int64_t i = 0; i < tensor_count(x); i++)
		sum += (double)((const float *)x->data)[i] * (double)((const float *)x->data)[i];
	return sqrt(sum);
}

typedef struct comparison {
	double whole, worst;
	size_t found;
} comparison;

static void compare(trainee *t, const char *name, float *values, const plan_rows *g, bool turned, void *user)
{
	comparison *c = user;
	rebus_tensor x;
	double apart = 0;
	bool there = rebus_tensors_find(t->want, name, &x);
	if (there && tensor_count(&x) == 3 * g->rows * g->width) { /* query, key and value in one tensor, read as three: which of them is this? */
		const tensor_info *all = safetensors_find(t->m->weights, name + strlen("gradient."));
		ptrdiff_t third = values - (const float *)all->data;
		x.data = (const float *)x.data + third;
		x.shape[0] /= 3;
		c->found -= third != 0;
	}
	if (!check(there && tensor_count(&x) == g->rows * g->width, "%s: %s: the reference has none such", t->name, name))
		return;
	for (int64_t r = 0; r < g->rows; r++)
		for (int64_t i = 0; i < g->width; i++) {
			double d = (double)g->data[r * g->stride + i] - (double)((const float *)x.data)[turned ? i * g->rows + r : r * g->width + i];
			apart += d * d;
		}
	apart = sqrt(apart);
	double bound = fmax(OWN * norm_of(&x), WHOLE * c->whole);
	check(apart <= bound, "%s: %s: off by %.3g of %.3g, at most %.3g", t->name, name, apart, norm_of(&x), bound);
	c->worst = fmax(c->worst, apart / bound);
	c->found++;
}

static void descend(trainee *t, const char *name, float *values, const plan_rows *g, bool turned, void *user)
{
	float rate = *(const float *)user;
	(void)t;
	(void)name;
	(void)turned; /* as the values are here */
	for (int64_t r = 0; r < g->rows; r++)
		for (int64_t i = 0; i < g->width; i++)
			values[r * g->width + i] -= rate * g->data[r * g->stride + i];
}

static comparison comparison_begin(const trainee *t)
{
	double sum = 0;
	for (size_t i = 0; i < rebus_tensors_count(t->want); i++) {
		rebus_tensor x = rebus_tensors_at(t->want, i);
		if (!strncmp(x.name, "gradient.", 9))
			sum += norm_of(&x) * norm_of(&x);
	}
	return (comparison){.whole = sqrt(sum)};
}

static void comparison_end(const trainee *t, const comparison *c)
{
	size_t gradients = 0;
	for (size_t i = 0; i < rebus_tensors_count(t->want); i++)
		gradients += !strncmp(rebus_tensors_at(t->want, i).name, "gradient.", 9);
	check(c->found == gradients && gradients, "%s: %zu of the reference's %zu gradients", t->name, c->found, gradients);
	printf("%s (%s): %zu gradients, the worst at %.2g of its bound\n", t->name, cpu_name(t->m->k->level), gradients, c->worst);
}

static void compare_losses(const trainee *t)
{
	rebus_tensor x = wanted(t, "losses");
	double worst = 0;
	for (int i = 0; i < STEPS; i++) {
		double want = (double)((const float *)x.data)[i], d = fabs((double)t->losses[i] - want) / want;
		check(d <= LOSS, "%s: loss %d is %.9g, expected %.9g", t->name, i, (double)t->losses[i], want);
		worst = fmax(worst, d);
	}
	printf("%s (%s): losses %.6f ... %.6f, within %.2g\n", t->name, cpu_name(t->m->k->level), (double)t->losses[0], (double)t->losses[STEPS - 1],
		   worst);
}

/* ------------------------------------------------------------------------------------------------ nets */
/* Gradients of everything that needs one are kept; then the plan. */
static void side_plan(trainee *t, side *s)
{
	rebus_error err = {0};
	int32_t count = graph_count(s->n.g);
	graph_gradient(s->n.g, &s->out, s->seed ? &s->seed : NULL, 1);
	for (node_id id = 1; id <= count; id++)
		if (graph_node(s->n.g, id)->op == &op_param || graph_node(s->n.g, id)->op == &op_input)
			graph_keep(s->n.g, graph_gradient_of(s->n.g, id));
	graph_keep(s->n.g, s->out);
	must(plan_make(s->n.g, t->m->k, t->runner.threads, 0, &base_allocator, &s->p, &err), &err);
}

static void side_run(trainee *t, side *s)
{
	rebus_error err = {0};
	must(plan_run(s->p, &s->f, &t->runner, NULL, NULL, &err), &err);
}

static void side_end(side *s)
{
	plan_free(s->p);
	net_free(&s->n);
}

/* All pictures of all prompts, packed. loss: the net's own, or cross-entropy of "logits"; else "image_features" with a seed. */
static void vision_side(trainee *t, side *s, bool loss)
{
	rebus_error err = {0};
	picture_list list;
	run_rows rows;
	net_size need;
	net_run run;
	*s = (side){0};
	must(session_pictures(t->prompts, (size_t)t->count, &t->mem, &list, &err), &err);
	must(session_sight(t->m, &list, &t->mem, &rows, &need, &run, &err), &err);
	must(net_new(&s->n, NULL, need, (net_wants){.train = true}, &err), &err);
	t->m->self.f->build_vision(&s->n, t->m);
	const net_output *o = net_find(&s->n, loss ? "logits" : "image_features");
	o = o ? o : net_find(&s->n, "vision.pooler_output");
	s->out = o ? o->node : 0;
	if (loss && net_find(&s->n, NET_LOSS)) {
		s->out = net_find(&s->n, NET_LOSS)->node;
	} else if (loss) {
		s->target = graph_slot_column(s->n.g, "target", s->n.picked, 1);
		s->out = graph_cross_entropy(s->n.g, "loss", s->out, s->target);
	} else {
		const node *n = graph_node(s->n.g, s->out);
		s->seed = graph_input(s->n.g, "seed", n->rows, n->width, &s->seed_at);
	}
	side_plan(t, s);
	must(net_feed(&s->n, &run, &t->mem, &s->f, &err), &err);
}

/* ------------------------------------------------------------------------------------------------ classifiers */
static void class_targets(const trainee *t, side *s, int32_t column[MOST])
{
	rebus_tensor targets = wanted(t, "targets");
	for (int64_t i = 0; i < tensor_count(&targets) && i < MOST; i++)
		column[i] = (int32_t)((const int64_t *)targets.data)[i];
	s->f.at[s->target] = column;
}

/* STEPS steps of sides whose losses add up. */
static void take_steps(trainee *t, side *s, int sides)
{
	float rate = *(const float *)wanted(t, "rate").data;
	for (int k = 0; k < STEPS; k++) {
		comparison c = comparison_begin(t);
		t->losses[k] = 0;
		for (int i = 0; i < sides; i++) {
			side_run(t, &s[i]);
			t->losses[k] += plan_output(s[i].p, s[i].out).data[0];
			if (!k)
				each_tensor(t, &s[i], compare, &c);
		}
		if (!k)
			comparison_end(t, &c);
		for (int i = 0; i < sides; i++)
			each_tensor(t, &s[i], descend, &rate);
	}
	compare_losses(t);
}

/* What was dropped is to be restored: the loss is the net's. */
static void train_restorer(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side s;
	if (!trainee_open(&t, name, cpu, threads))
		return;
	vision_side(&t, &s, true);
	take_steps(&t, &s, 1);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&s);
	trainee_close(&t);
}

static void train_classifier(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side s;
	if (!trainee_open(&t, name, cpu, threads))
		return;
	vision_side(&t, &s, true);
	int32_t column[MOST];
	class_targets(&t, &s, column);
	take_steps(&t, &s, 1);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&s);
	trainee_close(&t);
}

/* ------------------------------------------------------------------------------------------------ LLaVA */
typedef struct text_run { /* what the text net is fed with */
	tokens table;
	rowmap source, position, pick;
	layout self, near;
	int32_t *picked, *target;
	int32_t picked_count;
	float *angles, *near_angles;
	net_run run;
} text_run;

/* Rows of sequence i: ids, and for each that has a label the row before it is one whose logits count. */
static void add_sequence(trainee *t, text_run *r, int32_t i, int32_t *feature)
{
	char name[64];
	const char *of = json_text(json_get(json_at(json_get(t->golden, "cases"), (size_t)i), "name"), NULL);
	snprintf(name, sizeof name, "%s.input_ids", of);
	rebus_tensor ids = wanted(t, name);
	snprintf(name, sizeof name, "%s.labels", of);
	rebus_tensor labels = wanted(t, name);
	int64_t image = t->m->self.f->image_token ? t->m->self.f->image_token(t->m->self.config) : -1;
	for (int32_t k = 0; k < (int32_t)ids.shape[1]; k++) {
		int64_t id = ((const int64_t *)ids.data)[k], label = ((const int64_t *)labels.data)[k];
		bool apart = t->m->self.f->build_encoder; /* its labels stand at the rows that are to say them */
		if (label >= 0 && (k || apart)) {
			r->picked[r->picked_count] = (int32_t)r->table.rows - !apart;
			r->target[r->picked_count++] = (int32_t)label;
		}
		tokens_add(&r->table, id == image ? TOKEN_IMAGE : TOKEN_TEXT, i, k, -1, id == image ? (*feature)++ : (int32_t)id);
	}
}

static float *turn(trainee *t, const rope *of, const tokens *table)
{
	int32_t length[SEQUENCES] = {0};
	for (int64_t i = 0; i < table->rows; i++)
		length[table->seq[i]]++;
	float *angles = of ? arena_get(&t->mem, (size_t)(table->rows * 2 * of->half), sizeof *angles) : NULL;
	if (of)
		part_rope_angles(of, table, length, angles);
	return angles;
}

/* Positions, angles and who sees whom, as the text model's shape asks. */
static void text_places(trainee *t, text_run *r, const text_shape *w)
{
	rebus_error err = {0};
	if (w->learned_order)
		must(tokens_map_order(&t->mem, &r->table, w->order_offset, w->order_offset + w->positions, &r->position, &err), &err);
	must(tokens_layout(&t->mem, &r->table, true, &r->self, &err), &err);
	if (w->window)
		must(tokens_layout_near(&t->mem, &r->self, r->table.rows, w->window, &r->near, &err), &err);
	r->angles = turn(t, w->turn, &r->table);
	r->near_angles = turn(t, w->near_turn, &r->table);
}

static void text_side(trainee *t, side *s, text_run *r, int64_t features)
{
	rebus_error err = {0};
	enum { ROOM = 400 };
	const text_shape *w = t->m->text.f->words(t->m->text.config);
	int32_t feature = 0;
	*s = (side){0};
	*r = (text_run){.picked = arena_get(&t->mem, ROOM, sizeof(int32_t)), .target = arena_get(&t->mem, ROOM, sizeof(int32_t))};
	must(tokens_new(&t->mem, ROOM, &r->table, &err), &err);
	for (int32_t i = 0; i < SEQUENCES; i++)
		add_sequence(t, r, i, &feature);
	check(feature == features || t->m->self.f->build_encoder, "%s: %d placeholders, %lld rows of pictures", t->name, feature, (long long)features);
	int64_t rows = r->table.rows, base[TOKEN_KINDS] = {0, w->vocabulary, -1, -1, -1};
	must(tokens_map_sources(&t->mem, &r->table, base, w->vocabulary + (t->m->self.f->build_encoder ? 0 : features), &r->source, &err), &err);
	must(tokens_map_pick(&t->mem, r->picked, r->picked_count, rows, &r->pick, &err), &err);
	text_places(t, r, w);
	must(net_new(&s->n, NULL, (net_size){.rows = rows, .features = features, .picked = r->picked_count}, (net_wants){.train = true}, &err), &err);
	t->m->self.f->build_text(&s->n, t->m);
	const net_output *o = net_find(&s->n, "logits");
	s->target = graph_slot_column(s->n.g, "target", s->n.picked, 1);
	s->out = graph_cross_entropy(s->n.g, "loss", o ? o->node : 0, s->target);
	side_plan(t, s);
	r->run = (net_run){.table = &r->table, .feature_rows = features, .source = &r->source, .position = &r->position, .pick = &r->pick,
		.self = &r->self, .near = &r->near, .angles = r->angles, .near_angles = r->near_angles};
	must(net_feed(&s->n, &r->run, &t->mem, &s->f, &err), &err);
	s->f.at[s->target] = r->target;
}

static void train_llava(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side tower, text;
	text_run r;
	if (!trainee_open(&t, name, cpu, threads))
		return;
	vision_side(&t, &tower, false);
	int64_t features = tower.f.rows[graph_node(tower.n.g, tower.out)->rows], width = graph_node(tower.n.g, tower.out)->width;
	float *seed = arena_zero(&t.mem, (size_t)(features * width), sizeof *seed), *seen = arena_get(&t.mem, (size_t)(features * width), sizeof *seen);
	tower.f.at[tower.seed_at] = seed;
	text_side(&t, &text, &r, features);
	text.f.at[text.n.features_in] = seen;
	node_id d = graph_gradient_of(text.n.g, graph_find(text.n.g, "features"));
	float rate = *(const float *)wanted(&t, "rate").data;
	check(d > 0, "%s: no gradient of the features", t.name);
	for (int k = 0; k < STEPS && d; k++) {
		side_run(&t, &tower);
		plan_rows x = plan_output(tower.p, tower.out);
		for (int64_t i = 0; i < features; i++)
			memcpy(seen + i * width, x.data + i * x.stride, (size_t)width * sizeof *seen);
		side_run(&t, &text);
		x = plan_output(text.p, d);
		for (int64_t i = 0; i < features; i++)
			memcpy(seed + i * width, x.data + i * x.stride, (size_t)width * sizeof *seed);
		side_run(&t, &tower);
		t.losses[k] = plan_output(text.p, text.out).data[0];
		if (!k) {
			comparison c = comparison_begin(&t);
			each_tensor(&t, &tower, compare, &c);
			each_tensor(&t, &text, compare, &c);
			comparison_end(&t, &c);
		}
		each_tensor(&t, &tower, descend, &rate);
		each_tensor(&t, &text, descend, &rate);
	}
	compare_losses(&t);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&text);
	side_end(&tower);
	trainee_close(&t);
}

/* ------------------------------------------------------------------------------------------------ text */
static void train_text(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side text;
	text_run r;
	if (!trainee_open(&t, name, cpu, threads))
		return;
	text_side(&t, &text, &r, 0);
	float rate = *(const float *)wanted(&t, "rate").data;
	for (int k = 0; k < STEPS; k++) {
		side_run(&t, &text);
		t.losses[k] = plan_output(text.p, text.out).data[0];
		if (!k) {
			comparison c = comparison_begin(&t);
			each_tensor(&t, &text, compare, &c);
			comparison_end(&t, &c);
		}
		each_tensor(&t, &text, descend, &rate);
	}
	compare_losses(&t);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&text);
	trainee_close(&t);
}

/* ------------------------------------------------------------------------------------------------ encoders of text */
/* All texts of all prompts, packed; loss: cross-entropy of every row's words, or of the pooled rows of a tower. */
static void words_side(trainee *t, side *s, const char *targets)
{
	enum { TEXTS = 16 };
	rebus_error err = {0};
	sequence list[TEXTS] = {{0}};
	int32_t count = 0;
	run_rows rows;
	net_size need;
	net_run run;
	*s = (side){0};
	for (int32_t i = 0; i < t->count; i++)
		for (int32_t k = 0; k < t->prompts[i]->piece_count && count < TEXTS; k++)
			if (!t->prompts[i]->pieces[k].image)
				must(prompt_text_ids(t->prompts[i], &t->mem, &t->prompts[i]->pieces[k], false, &list[count++], &err), &err);
	must(session_reading(t->m, list, count, &t->mem, &rows, &need, &run, &err), &err);
	must(net_new(&s->n, NULL, need, (net_wants){.train = true}, &err), &err);
	t->m->self.f->build_text(&s->n, t->m);
	const net_output *o = net_find(&s->n, "logits");
	o = o ? o : net_find(&s->n, "text.pooler_output");
	bool by_row = o && o->kind == OUTPUT_ROWS;
	s->target = graph_slot_column(s->n.g, "target", by_row ? s->n.rows : s->n.picked, 1);
	s->out = graph_cross_entropy(s->n.g, "loss", o ? o->node : 0, s->target);
	side_plan(t, s);
	must(net_feed(&s->n, &run, &t->mem, &s->f, &err), &err);
	rebus_tensor x = wanted(t, targets);
	int32_t *column = arena_get(&t->mem, (size_t)tensor_count(&x), sizeof *column);
	check(tensor_count(&x) == (by_row ? need.rows : need.picked), "%s: %s: another number of rows", t->name, targets);
	for (int64_t i = 0; i < tensor_count(&x); i++)
		column[i] = (int32_t)((const int64_t *)x.data)[i];
	s->f.at[s->target] = column;
}

static void train_words(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side s;
	if (!trainee_open(&t, name, cpu, threads))
		return;
	words_side(&t, &s, "targets");
	take_steps(&t, &s, 1);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&s);
	trainee_close(&t);
}

/* Both towers at once, the losses added up. */
static void train_towers(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side s[2];
	int32_t column[MOST];
	if (!trainee_open(&t, name, cpu, threads))
		return;
	vision_side(&t, &s[0], true);
	class_targets(&t, &s[0], column);
	words_side(&t, &s[1], "text_targets");
	take_steps(&t, s, 2);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&s[0]);
	side_end(&s[1]);
	trainee_close(&t);
}

/* ------------------------------------------------------------------------------------------------ encoder and decoder */
/* A weight of both nets has the sum of two gradients: they are gathered by name first. */
enum { GATHERED = 64 };
typedef struct gathered {
	int32_t count;
	struct {
		char name[320];
		float *sum;
		plan_rows rows;
		bool turned;
	} at[GATHERED];
} gathered;

static void gather(trainee *t, const char *name, float *values, const plan_rows *g, bool turned, void *user)
{
	gathered *all = user;
	int32_t i = 0;
	(void)values;
	while (i < all->count && strcmp(all->at[i].name, name))
		i++;
	if (!check(i < GATHERED, "%s: more than %d parameters", t->name, GATHERED))
		return;
	if (i == all->count) {
		snprintf(all->at[i].name, sizeof all->at[i].name, "%s", name);
		all->at[i].sum = arena_zero(&t->mem, (size_t)(g->rows * g->width), sizeof(float));
		all->at[i].rows = (plan_rows){all->at[i].sum, g->rows, g->width, g->width};
		all->at[i].turned = turned;
		all->count++;
	}
	for (int64_t r = 0; r < g->rows; r++)
		for (int64_t c = 0; c < g->width; c++)
			all->at[i].sum[r * g->width + c] += g->data[r * g->stride + c];
}

/* All prompts through the encoder, its rows seeded. row [SEQUENCES + 1]. */
static void encoder_side(trainee *t, side *s, int32_t *row)
{
	rebus_error err = {0};
	sequence *list;
	tokens *table = arena_get(&t->mem, 1, sizeof *table);
	rowmap *source = arena_get(&t->mem, 1, sizeof *source);
	layout *self = arena_get(&t->mem, 1, sizeof *self);
	int64_t base[TOKEN_KINDS] = {0, -1, -1, -1, -1};
	must(sequences_make(t->prompts, SEQUENCES, &t->mem, &list, &err), &err);
	must(tokens_new(&t->mem, 400, table, &err), &err);
	int32_t *order = arena_zero(&t->mem, 400, 3 * sizeof *order);
	for (int32_t i = 0; i < SEQUENCES; i++) {
		row[i] = (int32_t)table->rows;
		for (int32_t k = 0; k < list[i].count; k++) {
			order[3 * table->rows] = k;
			tokens_add(table, TOKEN_TEXT, i, k, -1, list[i].ids[k]);
		}
	}
	row[SEQUENCES] = (int32_t)table->rows;
	must(tokens_map_sources(&t->mem, table, base, t->m->text.f->words(t->m->text.config)->vocabulary, source, &err), &err);
	must(tokens_layout(&t->mem, table, false, self, &err), &err);
	*s = (side){0};
	must(net_new(&s->n, NULL, (net_size){.rows = table->rows}, (net_wants){.train = true}, &err), &err);
	t->m->self.f->build_encoder(&s->n, t->m);
	const net_output *o = net_find(&s->n, "encoder_last_hidden_state");
	s->out = o ? o->node : 0;
	const node *n = graph_node(s->n.g, s->out);
	s->seed = graph_input(s->n.g, "seed", n->rows, n->width, &s->seed_at);
	side_plan(t, s);
	net_run run = {.table = table, .source = source, .self = self, .order = order};
	must(net_feed(&s->n, &run, &t->mem, &s->f, &err), &err);
}

/* What text_side does not know: the encoder's rows, and the places of the rows. */
static void join(trainee *t, side *text, text_run *r, const int32_t *row)
{
	rebus_error err = {0};
	layout *cross = arena_get(&t->mem, 1, sizeof *cross);
	int32_t *order = arena_zero(&t->mem, (size_t)r->table.rows, 3 * sizeof *order);
	for (int64_t i = 0; i < r->table.rows; i++)
		order[3 * i] = r->table.order[i];
	must(tokens_layout_across(&t->mem, &r->table, row, 1, cross, &err), &err);
	text->f.at[text->n.cross] = cross;
	text->f.at[text->n.order] = order;
}

static void copy_rows(plan_rows x, float *to)
{
	for (int64_t i = 0; i < x.rows; i++)
		memcpy(to + i * x.width, x.data + i * x.stride, (size_t)x.width * sizeof *to);
}

static void train_apart(const char *name, const char *cpu, int threads, float losses[STEPS])
{
	trainee t;
	side encoder, text;
	text_run r;
	int32_t row[SEQUENCES + 1];
	static gathered all;
	if (!trainee_open(&t, name, cpu, threads))
		return;
	encoder_side(&t, &encoder, row);
	int64_t width = graph_node(encoder.n.g, encoder.out)->width;
	float *seed = arena_zero(&t.mem, (size_t)(row[SEQUENCES] * width), sizeof *seed), *seen = arena_get(&t.mem, (size_t)(row[SEQUENCES] * width), sizeof *seen);
	encoder.f.at[encoder.seed_at] = seed;
	text_side(&t, &text, &r, row[SEQUENCES]);
	join(&t, &text, &r, row);
	text.f.at[text.n.features_in] = seen;
	node_id d = graph_gradient_of(text.n.g, text.n.given);
	float rate = *(const float *)wanted(&t, "rate").data;
	check(d > 0, "%s: no gradient of the encoder's rows", t.name);
	for (int k = 0; k < STEPS && d; k++) {
		side_run(&t, &encoder);
		copy_rows(plan_output(encoder.p, encoder.out), seen);
		side_run(&t, &text);
		copy_rows(plan_output(text.p, d), seed);
		side_run(&t, &encoder);
		t.losses[k] = plan_output(text.p, text.out).data[0];
		if (!k) {
			comparison c = comparison_begin(&t);
			all.count = 0;
			each_tensor(&t, &encoder, gather, &all);
			each_tensor(&t, &text, gather, &all);
			for (int32_t i = 0; i < all.count; i++)
				compare(&t, all.at[i].name, NULL, &all.at[i].rows, all.at[i].turned, &c);
			comparison_end(&t, &c);
		}
		each_tensor(&t, &encoder, descend, &rate);
		each_tensor(&t, &text, descend, &rate);
	}
	compare_losses(&t);
	memcpy(losses, t.losses, sizeof t.losses);
	side_end(&text);
	side_end(&encoder);
	trainee_close(&t);
}

int main(int argc, char **argv)
{
	static const char *const levels[] = {"portable", "avx2", "avx512"};
	static const struct {
		const char *name;
		void (*run)(const char *, const char *, int, float *);
	} train[] = {
		{"vit-train", train_classifier},
		{"deit-train", train_classifier},
		{"dinov2-train", train_classifier},
		{"dinov2-registers-train", train_classifier},
		{"swin-train", train_classifier},
		{"swinv2-train", train_classifier},
		{"flexivit-train", train_classifier},
		{"timm-swin-train", train_classifier},
		{"vit-mae-train", train_restorer},
		{"vit-mae-normed-train", train_restorer},
		{"timm-swinv2-train", train_classifier},
		{"siglip-class-train", train_classifier},
		{"siglip-train", train_classifier},
		{"siglip2-train", train_towers},
		{"bert-train", train_words},
		{"bert-class-train", train_words},
		{"llava-train", train_llava},
		{"gpt2-train", train_text},
		{"mistral-train", train_text},
		{"qwen2-train", train_text},
		{"qwen3-train", train_text},
		{"gemma-train", train_text},
		{"gemma2-train", train_text},
		{"gemma3-train", train_text},
		{"phi3-train", train_text},
		{"opt-train", train_text},
		{"t5-train", train_apart},
	};
	for (size_t i = 0; i < COUNT_OF(train); i++)
		for (size_t v = 0; v < COUNT_OF(levels); v++) {
			float one[STEPS] = {0}, three[STEPS] = {0};
			if (argc > 1 && strcmp(argv[1], train[i].name))
				continue;
			train[i].run(train[i].name, levels[v], 1, one);
			train[i].run(train[i].name, levels[v], 3, three);
			check(!memcmp(one, three, sizeof one), "%s (%s): other losses at 3 threads than at one", train[i].name, levels[v]);
		}
	return check_report();
}
