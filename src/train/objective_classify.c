/*
 * objective_classify.c - learning a class: cross-entropy of the model's logits, which may be smoothed.
 *
 *     pictures ─► tower ─► classifier ─► logits ─► mean over pictures of  -(1 - e) log p(label) - e mean over classes log p
 */
#include "train/trainer.h"

static rebus_status check(const trainer *t, rebus_error *err)
{
	if (!t->m->labels || !(t->m->self.f->abilities & REBUS_CLASSIFIES))
		return error_set(err, REBUS_MISUSE, "objective classify: a %s model without a classifier", t->m->self.f->model_type);
	return REBUS_OK;
}

static rebus_status prepare(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err)
{
	(void)a;
	if (!s->pic.pixels || s->label < 0)
		return error_set(err, REBUS_MISUSE, "a sample without a picture or a label, expected both to learn classes");
	if (s->label >= m->label_count)
		return error_set(err, REBUS_SHAPE, "label %d, expected 0 to %lld as the model has %lld classes", s->label, (long long)m->label_count - 1,
			(long long)m->label_count);
	return prompt_picture(it->prompt, &s->pic, "a sample", err);
}

static rebus_status ends(const trainer *t, train_net *x, rebus_error *err)
{
	const net_output *o = net_find(&x->n, "logits");
	if (!o)
		return error_set(err, REBUS_MISUSE, "objective classify: the checkpoint has no classifier");
	x->seen = o->node;
	x->target = graph_slot_column(x->n.g, "target", x->n.picked, 1);
	x->out = graph_cross_entropy_smooth(x->n.g, "loss", o->node, x->target, (float)t->r->smoothing);
	return REBUS_OK;
}

static rebus_status forward(trainer *t, const batch *b, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	run_rows rows;
	net_size need;
	net_run run;
	int32_t *labels = arena_get(&t->step, (size_t)b->count, sizeof *labels);
	TRY(labels ? REBUS_OK : error_memory(err, "labels"));
	for (int32_t i = 0; i < b->count; i++)
		labels[i] = b->at[i]->label;
	TRY(session_pictures(b->prompts, (size_t)b->count, &t->step, &list, err));
	TRY(session_sight(t->m, &list, &t->step, &rows, &need, &run, err));
	TRY(train_net_feed(t, &t->vision, true, need, &run, ends, err));
	t->vision.f.at[t->vision.target] = labels;
	TRY(train_net_forward(t, &t->vision, err));
done:
	return status;
}

static rebus_status pass(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	rebus_status status = forward(t, b, err);
	if (!status)
		*loss = (double)plan_output(t->vision.p, t->vision.out).data[0];
	return status ? status : train_net_backward(t, &t->vision, err);
}

static rebus_status score_batch(trainer *t, const batch *b, score *sum, rebus_error *err)
{
	rebus_status status = forward(t, b, err);
	if (status)
		return status;
	plan_rows x = plan_output(t->vision.p, t->vision.seen);
	for (int32_t i = 0; i < b->count; i++) {
		const float *row = x.data + i * x.stride;
		int32_t best = 0;
		for (int32_t k = 1; k < x.width; k++)
			best = row[k] > row[best] ? k : best;
		sum->right += best == b->at[i]->label;
		sum->loss += (double)t->m->k->log_sum_exp(x.width, row) - (double)row[b->at[i]->label];
		sum->count++;
	}
	return REBUS_OK;
}

const objective objective_classify = {.name = "classify", .check = check, .prepare = prepare, .pass = pass, .score = score_batch};
