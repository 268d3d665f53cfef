/*
 * objective_restore.c - learning to restore pictures of which most patches are dropped (He et al. 2022, section 3): the model's
 * own loss, the mean squared error of the dropped patches, less their mean over their deviation where it says so.
 *
 *     picture ─► patches, a share of them drawn and dropped ─► tower ─► decoder ─► every patch ─► error of the dropped ones
 *
 * Which are dropped is drawn anew for each sample and epoch; in an evaluation by sample alone. The score is the loss with a minus.
 */
#include "train/trainer.h"

static rebus_status check(const trainer *t, rebus_error *err)
{
	const family *f = t->m->self.f;
	if (!f->tower || !f->tower(t->m->self.config)->restores)
		return error_set(err, REBUS_MISUSE, "objective restore: a %s model without a decoder of patches, expected ViTMAEForPreTraining", f->model_type);
	return REBUS_OK;
}

static rebus_status prepare(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err)
{
	rebus_prompt_options *o = &it->prompt->options;
	(void)m;
	(void)a;
	if (!s->pic.pixels)
		return error_set(err, REBUS_MISUSE, "a sample without a picture, expected one to restore");
	o->mask_given = it->r->mask_ratio >= 0;
	o->mask_ratio = o->mask_given ? it->r->mask_ratio : 0;
	o->mask_seed = item_bits(it, 0);
	return prompt_picture(it->prompt, &s->pic, "a sample", err);
}

static rebus_status ends(const trainer *t, train_net *x, rebus_error *err)
{
	const net_output *o = net_find(&x->n, NET_LOSS);
	if (!o)
		return error_set(err, REBUS_MISUSE, "objective restore: a %s model without a loss of its own", t->m->self.f->model_type);
	x->out = x->seen = o->node;
	x->loss = true;
	return REBUS_OK;
}

static rebus_status forward(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	run_rows rows;
	net_size need;
	net_run run;
	TRY(session_pictures(b->prompts, (size_t)b->count, &t->step, &list, err));
	TRY(session_sight(t->m, &list, &t->step, &rows, &need, &run, err));
	TRY(train_net_feed(t, &t->vision, true, need, &run, ends, err));
	TRY(train_net_forward(t, &t->vision, err));
	*loss = (double)plan_output(t->vision.p, t->vision.out).data[0];
done:
	return status;
}

static rebus_status pass(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	rebus_status status = forward(t, b, loss, err);
	return status ? status : train_net_backward(t, &t->vision, err);
}

static rebus_status score_batch(trainer *t, const batch *b, score *sum, rebus_error *err)
{
	double loss;
	rebus_status status = forward(t, b, &loss, err);
	if (status)
		return status;
	sum->loss += loss * b->count;
	sum->right -= loss * b->count;
	sum->count += b->count;
	return REBUS_OK;
}

const objective objective_restore = {.name = "restore", .check = check, .prepare = prepare, .pass = pass, .score = score_batch};
