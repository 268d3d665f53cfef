/*
 * objective_answer.c - learning to answer: next-token cross-entropy of what an assistant says, the prompt masked.
 *
 *     turns ─► chat template, up to each answer and with it ─► ids; the rows before an answer's ids are the ones that learn
 *
 *       ids      <s> USER : <image>... what colour ? ASSISTANT :   red  </s>
 *       target    -    -  -   -  -  -   -      -    -     -      red </s>   -
 *
 *     pictures ─► tower ─► features ┐
 *                                   ├─► text model ─► logits of those rows ─► mean cross-entropy (Liu et al. 2023, equation 1)
 *     ids ──────────────────────────┘
 *
 * Without a chat template the texts are joined as they are, and the tokenizer's end token follows an answer. A sample of one
 * text alone is learned as a whole. Right, in an evaluation: every id of a sample's answers is the most likely one, which is
 * what greedy decoding would give.
 */
#include <string.h>

#include "text/tokenizer.h"
#include "train/trainer.h"

static rebus_status check(const trainer *t, rebus_error *err)
{
	if (!(t->m->self.f->abilities & REBUS_GENERATES))
		return error_set(err, REBUS_MISUSE, "objective answer: a %s model does not generate", t->m->self.f->model_type);
	if (t->m->self.f->build_encoder)
		return error_set(err, REBUS_UNSUPPORTED, "objective answer: a %s model has an encoder beside its text model, which is not trained yet",
			t->m->self.f->model_type);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ a sample */
static const int64_t *feature_rows(const rebus_prompt *p, arena *a)
{
	int64_t *rows = arena_get(a, (size_t)p->picture_count, sizeof *rows);
	for (int32_t i = 0; rows && i < p->picture_count; i++)
		rows[i] = prompt_feature_rows(p->m, &p->pictures[i]);
	return rows;
}

static int32_t common(const sequence *x, const sequence *y)
{
	int32_t n = 0;
	while (n < x->count && n < y->count && x->ids[n] == y->ids[n])
		n++;
	return n;
}

/* LLaVA's data write "<image>" and a line's end into the text where a template puts the picture itself. */
static const char *without_marker(const char *text, arena *a)
{
	static const char marker[] = "<image>";
	const char *at = strstr(text, marker);
	if (!at)
		return text;
	const char *rest = at + strlen(marker), *first = at;
	if (*rest == '\n')
		rest++;
	else if (first > text && !*rest && first[-1] == '\n')
		first--;
	return arena_format(a, "%.*s%s", (int)(first - text), text, rest);
}

static rebus_status add_turn(rebus_prompt *p, bool chat, const turn *x, bool first, const picture *pic, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *text = chat && first && pic->pixels ? without_marker(x->text, &p->mem) : x->text;
	TRY(text ? REBUS_OK : error_memory(err, "a sample"));
	if (chat)
		TRY(rebus_prompt_message(p, x->role, err));
	if (first && pic->pixels)
		TRY(prompt_picture(p, pic, "a sample", err));
	TRY(rebus_prompt_text(p, text, err));
done:
	return status;
}

static rebus_status room_for_targets(item *it, arena *a, rebus_error *err)
{
	it->target = arena_get(a, (size_t)it->text.count, sizeof *it->target);
	if (!it->target)
		return error_memory(err, "a sample");
	for (int32_t i = 0; i < it->text.count; i++)
		it->target[i] = -1;
	return REBUS_OK;
}

/* The end token after an answer, where no template writes it. */
static rebus_status add_end(const rebus_model *m, arena *a, sequence *s, rebus_error *err)
{
	if (!m->eos_count || (s->count && s->ids[s->count - 1] == m->eos[0]))
		return REBUS_OK;
	sequence more = {.ids = arena_get(a, (size_t)s->count + 1, sizeof *more.ids), .picture = arena_get(a, (size_t)s->count + 1, sizeof *more.picture),
		.count = s->count + 1};
	if (!more.ids || !more.picture)
		return error_memory(err, "a sample");
	memcpy(more.ids, s->ids, (size_t)s->count * sizeof *s->ids);
	memcpy(more.picture, s->picture, (size_t)s->count * sizeof *s->picture);
	more.ids[s->count] = m->eos[0];
	more.picture[s->count] = -1;
	*s = more;
	return REBUS_OK;
}

static rebus_status with_turns(const rebus_model *m, const sample *s, bool chat, arena *a, item *it, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	int32_t spans[2 * TURNS_MOST], count = 0;
	it->prompt->listed = m->self.f->image_token != NULL; /* as data for such models are written: their templates walk a list */
	bool pictured = false;
	for (int32_t i = 0; i < s->turn_count; i++) {
		bool answer = !strcmp(s->turns[i].role, "assistant");
		sequence before = {0};
		const int64_t *rows;
		if (answer) {
			rows = feature_rows(it->prompt, a);
			TRY(rows ? prompt_sequence(it->prompt, a, rows, &before, err) : error_memory(err, "a sample"));
		}
		bool first = !pictured && strcmp(s->turns[i].role, "system");
		TRY(add_turn(it->prompt, chat, &s->turns[i], first, &s->pic, err));
		pictured |= first;
		if (!answer)
			continue;
		rows = feature_rows(it->prompt, a);
		TRY(rows ? prompt_conversation(it->prompt, a, rows, &it->text, err) : error_memory(err, "a sample"));
		if (!chat)
			TRY(add_end(m, a, &it->text, err));
		if (count == TURNS_MOST) {
			status = error_set(err, REBUS_LIMIT, "a sample with more than %d answers", TURNS_MOST);
			goto done;
		}
		spans[2 * count] = common(&before, &it->text);
		spans[2 * count++ + 1] = it->text.count;
	}
	TRY(room_for_targets(it, a, err));
	for (int32_t k = 0; k < count; k++)
		for (int32_t i = spans[2 * k] > 0 ? spans[2 * k] : 1; i < spans[2 * k + 1] && i < it->text.count; i++)
			it->target[i - 1] = it->text.ids[i];
done:
	return status;
}

static rebus_status whole_text(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err)
{
	rebus_status status;
	it->prompt->options.raw = true;
	TRY(add_turn(it->prompt, false, &s->turns[0], true, &s->pic, err));
	const int64_t *rows = feature_rows(it->prompt, a);
	TRY(rows ? prompt_sequence(it->prompt, a, rows, &it->text, err) : error_memory(err, "a sample"));
	TRY(add_end(m, a, &it->text, err));
	TRY(room_for_targets(it, a, err));
	for (int32_t i = 1; i < it->text.count; i++)
		it->target[i - 1] = it->text.picture[i] < 0 ? it->text.ids[i] : -1;
done:
	return status;
}

static rebus_status prepare(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err)
{
	if (!s->turn_count)
		return error_set(err, REBUS_MISUSE, "a sample without a text, expected \"text\" with \"answer\", \"messages\" or \"conversations\" to learn answers");
	rebus_status status = s->turn_count == 1 ? whole_text(m, s, a, it, err) : with_turns(m, s, m->chat != NULL, a, it, err);
	const text_shape *w = m->text.f->words(m->text.config);
	if (!status && it->text.count > w->positions)
		return error_set(err, REBUS_LIMIT, "a sample of %d tokens, expected at most the model's %lld positions", it->text.count, (long long)w->positions);
	return status;
}

/* ------------------------------------------------------------------------------------------------ a batch */
typedef struct text_batch {
	tokens table;
	rowmap source, position, pick;
	layout self, near;
	int32_t *picked, *target, *owner; /* of the rows that learn; owner: which sample */
	int32_t *length; /* [samples] */
	int32_t count, features;
	float *angles, *near_angles;
} text_batch;

static void add_item(text_batch *x, const item *it, int32_t i)
{
	for (int32_t k = 0; k < it->text.count; k++) {
		bool image = it->text.picture[k] >= 0;
		if (it->target[k] >= 0) {
			x->picked[x->count] = (int32_t)x->table.rows;
			x->target[x->count] = it->target[k];
			x->owner[x->count++] = i;
		}
		tokens_add(&x->table, image ? TOKEN_IMAGE : TOKEN_TEXT, i, k, it->text.picture[k], image ? x->features++ : it->text.ids[k]);
	}
}

static rebus_status turn_rows(const rope *of, const text_batch *x, arena *a, float **out, rebus_error *err)
{
	if (!of)
		return REBUS_OK;
	*out = arena_get(a, (size_t)x->table.rows, 2 * (size_t)of->half * sizeof(float));
	if (!*out)
		return error_memory(err, "texts");
	part_rope_angles(of, &x->table, x->length, *out);
	return REBUS_OK;
}

static rebus_status take_items(const batch *b, text_batch *x, arena *a, rebus_error *err)
{
	size_t total = 0;
	*x = (text_batch){.length = arena_get(a, (size_t)b->count, sizeof(int32_t))};
	for (int32_t i = 0; i < b->count; i++)
		total += (size_t)b->at[i]->text.count;
	x->picked = arena_get(a, total, sizeof(int32_t));
	x->target = arena_get(a, total, sizeof(int32_t));
	x->owner = arena_get(a, total, sizeof(int32_t));
	if (!x->length || !x->picked || !x->target || !x->owner)
		return error_memory(err, "texts");
	rebus_status status = tokens_new(a, (int64_t)total, &x->table, err);
	for (int32_t i = 0; i < b->count && !status; i++) {
		x->length[i] = b->at[i]->text.count;
		add_item(x, b->at[i], i);
	}
	if (!status && !x->count)
		return error_set(err, REBUS_MISUSE, "a batch without an answer, expected messages of an assistant");
	return status;
}

/* As growth.c feeds a prefill, without a cache. */
static rebus_status lay_out(trainer *t, const batch *b, int64_t features, text_batch *x, net_run *run, rebus_error *err)
{
	rebus_status status;
	const text_shape *w = t->m->text.f->words(t->m->text.config);
	arena *a = &t->step;
	int64_t base[TOKEN_KINDS] = {0, w->vocabulary, -1, -1, -1};
	TRY(take_items(b, x, a, err));
	TRY(tokens_map_sources(a, &x->table, base, w->vocabulary + features, &x->source, err));
	TRY(tokens_map_pick(a, x->picked, x->count, x->table.rows, &x->pick, err));
	TRY(tokens_layout(a, &x->table, !w->both_ways, &x->self, err));
	if (w->window)
		TRY(tokens_layout_near(a, &x->self, x->table.rows, w->window, &x->near, err));
	if (w->learned_order)
		TRY(tokens_map_order(a, &x->table, w->order_offset, w->order_offset + w->positions, &x->position, err));
	TRY(turn_rows(w->turn, x, a, &x->angles, err));
	TRY(turn_rows(w->near_turn, x, a, &x->near_angles, err));
	*run = (net_run){.table = &x->table, .feature_rows = features, .source = &x->source, .position = &x->position, .pick = &x->pick, .self = &x->self,
		.near = &x->near, .angles = x->angles, .near_angles = x->near_angles};
done:
	return status;
}

static rebus_status see_ends(const trainer *t, train_net *x, rebus_error *err)
{
	const net_output *o = net_find(&x->n, "image_features");
	if (!o)
		return error_set(err, REBUS_MISUSE, "objective answer: a %s model gives no picture features", t->m->self.f->model_type);
	x->out = x->seen = o->node;
	return REBUS_OK;
}

static rebus_status read_ends(const trainer *t, train_net *x, rebus_error *err)
{
	const net_output *o = net_find(&x->n, "logits");
	if (!o)
		return error_set(err, REBUS_MISUSE, "objective answer: a %s model gives no logits", t->m->self.f->model_type);
	x->seen = o->node;
	x->target = graph_slot_column(x->n.g, "target", x->n.picked, 1);
	x->out = graph_cross_entropy_smooth(x->n.g, "loss", o->node, x->target, (float)t->r->smoothing);
	x->features = x->n.features_in ? graph_find(x->n.g, "features") : 0;
	return REBUS_OK;
}

/* The first batch may have no picture: the tower's tensors are known all the same, by a grey one that is never run. */
static rebus_status see_none(trainer *t, rebus_error *err)
{
	enum { SIDE = 32 };
	rebus_status status;
	rebus_prompt *p = NULL;
	picture_list list;
	run_rows rows;
	net_size need;
	net_run run;
	uint8_t grey[SIDE * SIDE * 3];
	if (!t->m->vision.f || t->vision.counted)
		return REBUS_OK;
	memset(grey, 128, sizeof grey);
	TRY(rebus_prompt_new(t->m, NULL, &p, err));
	TRY(rebus_prompt_image_rgb(p, grey, SIDE, SIDE, err));
	TRY(session_pictures(&p, 1, &t->step, &list, err));
	TRY(session_sight(t->m, &list, &t->step, &rows, &need, &run, err));
	TRY(train_net_feed(t, &t->vision, true, need, &run, see_ends, err));
done:
	rebus_prompt_free(p);
	return status;
}

/* Pictures, if there are any; their features side by side. */
static rebus_status see(trainer *t, const batch *b, int64_t *features, float **rows_out, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	run_rows rows;
	net_size need;
	net_run run;
	*features = 0;
	*rows_out = NULL;
	TRY(session_pictures(b->prompts, (size_t)b->count, &t->step, &list, err));
	if (!list.count)
		return see_none(t, err);
	TRY(session_sight(t->m, &list, &t->step, &rows, &need, &run, err));
	TRY(train_net_feed(t, &t->vision, true, need, &run, see_ends, err));
	TRY(train_net_forward(t, &t->vision, err));
	plan_rows x = plan_output(t->vision.p, t->vision.out);
	float *to = arena_get(&t->step, (size_t)x.rows, (size_t)x.width * sizeof *to);
	TRY(to ? REBUS_OK : error_memory(err, "picture features"));
	for (int64_t i = 0; i < x.rows; i++)
		memcpy(to + i * x.width, x.data + i * x.stride, (size_t)x.width * sizeof *to);
	*features = x.rows;
	*rows_out = to;
done:
	return status;
}

static rebus_status forward(trainer *t, const batch *b, text_batch *x, int64_t *features, rebus_error *err)
{
	rebus_status status;
	net_run run;
	float *rows;
	TRY(see(t, b, features, &rows, err));
	TRY(lay_out(t, b, *features, x, &run, err));
	run.features = rows;
	TRY(train_net_feed(t, &t->text, false, (net_size){.rows = x->table.rows, .features = *features, .picked = x->count}, &run, read_ends, err));
	t->text.f.at[t->text.target] = x->target;
	TRY(train_net_forward(t, &t->text, err));
done:
	return status;
}

static rebus_status pass(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	rebus_status status;
	text_batch x;
	int64_t features;
	TRY(forward(t, b, &x, &features, err));
	*loss = (double)plan_output(t->text.p, t->text.out).data[0];
	TRY(train_net_backward(t, &t->text, err));
	node_id d = graph_gradient_of(t->text.n.g, t->text.features);
	if (!features || !d)
		goto done;
	plan_rows g = plan_output(t->text.p, d);
	for (int64_t i = 0; i < features; i++)
		memcpy(t->vision.seed + i * g.width, g.data + i * g.stride, (size_t)g.width * sizeof(float));
	TRY(train_net_backward(t, &t->vision, err));
done:
	return status;
}

static rebus_status score_batch(trainer *t, const batch *b, score *sum, rebus_error *err)
{
	text_batch x;
	int64_t features;
	rebus_status status = forward(t, b, &x, &features, err);
	if (status)
		return status;
	plan_rows logits = plan_output(t->text.p, t->text.seen);
	for (int32_t i = 0; i < x.count;) {
		bool right = true;
		int32_t owner = x.owner[i];
		double loss = 0;
		int32_t n = 0;
		for (; i < x.count && x.owner[i] == owner; i++, n++) {
			const float *row = logits.data + i * logits.stride;
			int32_t best = 0;
			for (int32_t k = 1; k < logits.width; k++)
				best = row[k] > row[best] ? k : best;
			right &= best == x.target[i];
			loss += (double)t->m->k->log_sum_exp(logits.width, row) - (double)row[x.target[i]];
		}
		sum->right += right;
		sum->loss += loss / n;
		sum->count++;
	}
	return REBUS_OK;
}

const objective objective_answer = {.name = "answer", .check = check, .prepare = prepare, .pass = pass, .score = score_batch};
