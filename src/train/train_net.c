/* train_net.c - see train_net.h. */
#include "train/train_net.h"

#include "train/trainer.h"

static rebus_status finish(trainer *t, train_net *x, rebus_error *err)
{
	graph *g = x->n.g;
	rebus_status status;
	node_id seed = 0;
	precision as = PRECISION_F32;
	int32_t built = graph_count(g);
	const node *out = graph_node(g, x->out);
	if (!x->target && !x->loss)
		seed = graph_input(g, "seed", out->rows, out->width, &x->seed_at);
	TRY(parameters_freeze(g, &(freeze_rule){t->r->freeze, t->m->adapter}, err));
	for (int32_t i = 0; i < x->n.output_count; i++)
		graph_unkeep(g, x->n.outputs[i].node);
	graph_keep(g, x->out);
	graph_keep(g, x->seen);
	precision_parse(t->r->precision, &as);
	graph_round(g, as);
	graph_recompute(g, t->r->checkpoint ? AGAIN_BLOCKS : AGAIN_CHEAP);
	graph_gradient(g, &x->out, seed ? &seed : NULL, 1);
	TRY(graph_check(g, err));
	for (node_id id = 1; id <= built; id++)
		if (graph_node(g, id)->op == &op_param)
			graph_keep(g, graph_gradient_of(g, id));
	if (x->features)
		graph_keep(g, graph_gradient_of(g, x->features));
	if (!x->counted)
		TRY(parameters_add(&t->list, &t->mem, &x->n, &x->p, &x->ran, err));
	x->counted = true;
	TRY(plan_make(g, t->m->k, t->runner.threads, 0, t->m->mem.from, &x->p, err));
	x->forward = plan_steps_until(x->p, built);
done:
	return status;
}

static net_wants wants_of(const trainer *t, bool vision)
{
	const component *c = vision ? &t->m->vision : &t->m->text;
	int64_t blocks = c->stages ? 0 : component_layers(c);
	for (int64_t i = 0; i < c->stages; i++)
		blocks += component_layers(&c->stage[i]);
	return (net_wants){.train = true, .dropout = (float)t->r->dropout, .drop_path = (float)t->r->drop_path, .blocks = (int32_t)blocks};
}

static rebus_status build(trainer *t, train_net *x, bool vision, net_size need, find_ends ends, rebus_error *err)
{
	rebus_status status;
	train_net_end(x);
	TRY(net_new(&x->n, t->m->mem.from, need, wants_of(t, vision), err));
	x->made = true;
	if (vision)
		t->m->self.f->build_vision(&x->n, t->m);
	else
		t->m->self.f->build_text(&x->n, t->m);
	TRY(graph_check(x->n.g, err));
	TRY(ends(t, x, err));
	TRY(finish(t, x, err));
done:
	return status;
}

rebus_status train_net_feed(trainer *t, train_net *x, bool vision, net_size need, const net_run *run, find_ends ends, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	if (!x->p || !net_size_fits(&x->n.size, &need))
		TRY(build(t, x, vision, need, ends, err));
	TRY(net_feed(&x->n, run, &t->step, &x->f, err));
	if (graph_draw(x->n.g, false))
		x->f.at[graph_draw(x->n.g, false)] = t->draw;
	if (x->seed_at) {
		const node *out = graph_node(x->n.g, x->out);
		x->seed = arena_zero(&t->step, (size_t)x->f.rows[out->rows] * (size_t)out->width + 1, sizeof *x->seed);
		TRY(x->seed ? REBUS_OK : error_memory(err, "training"));
		x->f.at[x->seed_at] = x->seed;
	}
done:
	return status;
}

rebus_status train_net_forward(trainer *t, train_net *x, rebus_error *err)
{
	return plan_run_steps(x->p, &x->f, 0, x->forward, &t->runner, t->options->stop, t->options->user, err);
}

rebus_status train_net_backward(trainer *t, train_net *x, rebus_error *err)
{
	x->ran = true;
	return plan_run_steps(x->p, &x->f, x->forward, plan_about(x->p).steps, &t->runner, t->options->stop, t->options->user, err);
}

void train_net_end(train_net *x)
{
	plan_free(x->p);
	x->p = NULL;
	if (x->made)
		net_free(&x->n);
	*x = (train_net){.counted = x->counted};
}
