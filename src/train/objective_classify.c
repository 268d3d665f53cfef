/*
 * objective_classify.c - learning a class: cross-entropy of the model's logits, which may be smoothed.
 *
 *     pictures ─► tower ─► classifier ─► logits ─► mean over pictures of  -(1 - e) log p(label) - e mean over classes log p
 */
#include <math.h>
#include <string.h>

#include "train/trainer.h"

static rebus_status check(const trainer *t, rebus_error *err)
{
	if (!t->m->labels || !(t->m->self.f->abilities & REBUS_CLASSIFIES))
		return error_set(err, REBUS_MISUSE, "objective classify: a %s model without a classifier", t->m->self.f->model_type);
	return REBUS_OK;
}

static rebus_status build(trainer *t, net_size need, rebus_error *err)
{
	train_net *x = &t->net;
	bool first = !x->made;
	rebus_status status;
	plan_free(x->p);
	x->p = NULL;
	if (x->made)
		net_free(&x->n);
	x->made = false;
	TRY(net_new(&x->n, t->m->mem.from, need, (net_wants){.train = true}, err));
	x->made = true;
	t->m->self.f->build_vision(&x->n, t->m);
	const net_output *o = net_find(&x->n, "logits");
	if (!o) {
		TRY(graph_check(x->n.g, err));
		status = error_set(err, REBUS_MISUSE, "objective classify: the checkpoint has no classifier");
		goto done;
	}
	x->target = graph_slot_column(x->n.g, "target", x->n.picked, 1);
	x->loss = graph_cross_entropy_smooth(x->n.g, "loss", o->node, x->target, (float)t->r->smoothing);
	if (t->r->freeze)
		TRY(parameters_freeze(x->n.g, t->r->freeze, err));
	int32_t forward = graph_count(x->n.g);
	graph_gradient(x->n.g, &x->loss, NULL, 1);
	TRY(graph_check(x->n.g, err));
	for (int32_t i = 0; i < x->n.output_count; i++)
		graph_unkeep(x->n.g, x->n.outputs[i].node);
	for (node_id id = 1; id <= forward; id++)
		if (graph_node(x->n.g, id)->op == &op_param)
			graph_keep(x->n.g, graph_gradient_of(x->n.g, id));
	graph_keep(x->n.g, x->loss);
	if (first)
		TRY(parameters_add(&t->list, &t->mem, &x->n, &x->p, err));
	TRY(plan_make(x->n.g, t->m->k, t->runner.threads, 0, t->m->mem.from, &x->p, err));
done:
	return status;
}

static rebus_status check_labels(const trainer *t, const batch *b, rebus_error *err)
{
	for (int32_t i = 0; i < b->count; i++)
		if (b->labels[i] < 0 || b->labels[i] >= t->m->label_count)
			return error_set(err, REBUS_FORMAT, "%s: label %d, expected 0 to %lld as the model has %lld classes", t->data->name, b->labels[i],
				(long long)t->m->label_count - 1, (long long)t->m->label_count);
	return REBUS_OK;
}

static rebus_status pass(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	rebus_status status;
	picture_list list = {.at = b->pictures, .count = b->count};
	run_rows rows;
	net_size need;
	net_run run;
	TRY(check_labels(t, b, err));
	TRY(session_sight(t->m, &list, &t->step, &rows, &need, &run, err));
	if (!t->net.p || !net_size_fits(&t->net.n.size, &need))
		TRY(build(t, need, err));
	TRY(net_feed(&t->net.n, &run, &t->step, &t->net.f, err));
	t->net.f.at[t->net.target] = b->labels;
	TRY(plan_run(t->net.p, &t->net.f, &t->runner, t->options->stop, t->options->user, err));
	*loss = (double)plan_output(t->net.p, t->net.loss).data[0];
done:
	return status;
}

static rebus_status score_batch(trainer *t, const batch *b, score *sum, rebus_error *err)
{
	rebus_status status;
	picture_list list = {.at = b->pictures, .count = b->count};
	run_rows rows;
	plan_rows x;
	TRY(check_labels(t, b, err));
	TRY(session_see(t->session, &list, (net_wants){0}, &t->step, &rows, err));
	if (!session_output(&t->session->vision, "logits", &x, NULL)) {
		status = error_set(err, REBUS_MISUSE, "objective classify: the checkpoint has no classifier");
		goto done;
	}
	for (int32_t i = 0; i < b->count; i++) {
		const float *row = x.data + i * x.stride;
		int32_t best = 0;
		for (int32_t k = 1; k < x.width; k++)
			best = row[k] > row[best] ? k : best;
		sum->right += best == b->labels[i];
		sum->loss += (double)t->m->k->log_sum_exp(x.width, row) - (double)row[b->labels[i]];
		sum->count++;
	}
done:
	return status;
}

const objective objective_classify = {.name = "classify", .check = check, .pass = pass, .score = score_batch};
