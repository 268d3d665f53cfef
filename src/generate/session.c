/* session.c - opening and closing sessions, and making their nets; see session.h. */
#include "files/gguf.h"
#include "generate/session_net.h"

#include <math.h>
#include <string.h>

enum { RAW_ROWS = 512 }; /* of a run that does not wait for weights to be made ready */

rebus_session_options rebus_session_defaults(void)
{
	return (rebus_session_options){0};
}

rebus_status rebus_session_open(rebus_model *m, const rebus_session_options *options, rebus_session **out, rebus_error *err)
{
	rebus_session_options o = options ? *options : rebus_session_defaults();
	rebus_status status = REBUS_OK;
	arena mem;
	if (!m->config)
		return error_set(err, REBUS_MISUSE, "%s: a tokenizer without config.json, of which only tokens can be shown", m->folder);
	if (o.batching < REBUS_PACK || o.batching > REBUS_PAD || o.batch_tokens < 0)
		return error_set(err, REBUS_MISUSE, "batching %d of %lld tokens, expected one of rebus_batching and no negative number", (int)o.batching,
		                 (long long)o.batch_tokens);
	arena_init(&mem, m->mem.from, 0);
	rebus_session *s = arena_zero(&mem, 1, sizeof *s);
	if (!s) {
		arena_free(&mem);
		return error_memory(err, "a session");
	}
	*s = (rebus_session){.m = m, .mem = mem, .options = o};
	if (o.runner) {
		s->runner = *o.runner;
	} else {
		TRY(team_open(o.threads ? o.threads : cpu_quota(), m->mem.from, &s->team, err));
		s->runner = team_runner(s->team);
	}
	*out = s;
	s = NULL;
done:
	rebus_session_close(s);
	return status;
}

static void net_drop(rebus_session *s, run_net *r)
{
	if (r->p) {
		plan_count c = plan_counts(r->p);
		s->gone.runs += c.runs;
		s->gone.steps += c.steps;
		s->gone.products += c.products;
	}
	plan_free(r->p);
	if (r->made)
		net_free(&r->n);
	*r = (run_net){0};
}

void rebus_session_close(rebus_session *s)
{
	if (!s)
		return;
	net_drop(s, &s->vision);
	net_drop(s, &s->encoder);
	net_drop(s, &s->text);
	team_close(s->team);
	arena mem = s->mem; /* the session lies in its own arena */
	arena_free(&mem);
}

static bool fits(const run_net *r, net_size need, net_wants wants)
{
	return r->p && !memcmp(&r->n.wants, &wants, sizeof wants) && net_size_fits(&r->n.size, &need);
}

/* Weights that training changes are read where they lie. So are those of a model that generates, in f32: a row at a time, at the
 * speed of memory. */
static bool reads_packs(const rebus_session *s, net_part part, net_wants wants)
{
	bool grows = part != NET_VISION && s->m->self.f->abilities & REBUS_GENERATES;
	return packs_precision(s->m->ready) != PRECISION_F32 || (!grows && !wants.train && !s->m->own);
}

static void forget(void *user, const void *data, size_t size)
{
	const rebus_model *m = user;
	safetensors_forget(m->weights, data, size);
	if (m->gguf)
		gguf_forget(m->gguf, data, size);
}

static void keep_scores(graph *g)
{
	for (node_id id = 1; id <= graph_count(g); id++)
		for (int i = 0; i < 2 && graph_node(g, id)->op == &op_attend; i++) {
			node_id x = graph_node(g, id)->in[i];
			graph_keep(g, x);
			graph_keep(g, graph_node(g, x)->view_of);
		}
}

static rebus_status build(rebus_session *s, const rebus_allocator *from, net *n, net_part part, net_size size, net_wants wants, rebus_error *err)
{
	rebus_status status = net_new(n, from, size, wants, err);
	if (status)
		return status;
	if (reads_packs(s, part, wants))
		graph_use_packs(n->g, s->m->ready);
	if (part == NET_VISION)
		s->m->self.f->build_vision(n, s->m);
	else if (part == NET_ENCODER)
		s->m->self.f->build_encoder(n, s->m);
	else
		s->m->self.f->build_text(n, s->m);
	status = graph_check(n->g, err);
	if (status)
		net_free(n);
	else if (wants.scores)
		keep_scores(n->g);
	return status;
}

/*
 * A process that embeds one picture and ends should not copy all weights first: in f32 the first run of few rows packs panels on the
 * fly, which costs little where each is used for one block of rows; the bits are the same. Whoever comes back gets them made ready.
 */
static bool starts_raw(const rebus_session *s, const run_net *r)
{
	return !s->plans && packs_precision(s->m->ready) == PRECISION_F32 && !packs_bytes(s->m->ready) && r->n.size.rows <= RAW_ROWS;
}

static rebus_status make_ready(rebus_session *s, run_net *r, rebus_error *err)
{
	rebus_status status = packs_prepare(s->m->ready, r->n.g, s->m->k, &s->runner, forget, (void *)(uintptr_t)s->m, err);
	if (!status && r->p)
		plan_use_packs(r->p);
	r->raw = r->raw && status;
	return status;
}

static rebus_status make(rebus_session *s, run_net *r, net_part part, net_size size, net_wants wants, rebus_error *err)
{
	rebus_status status = build(s, s->m->mem.from, &r->n, part, size, wants, err);
	if (status)
		return status;
	r->made = true;
	r->raw = graph_packs(r->n.g) && starts_raw(s, r);
	if (graph_packs(r->n.g) && !r->raw)
		status = make_ready(s, r, err);
	if (!status)
		status = plan_make(r->n.g, s->m->k, s->runner.threads, s->options.memory, s->m->mem.from, &r->p, err);
	if (status)
		net_drop(s, r);
	s->plans += !status;
	return status;
}

/* Runs that need more of this and then more of that would have it made again each time: it is made for both, if the session's
 * limit allows. */
rebus_status session_net(rebus_session *s, net_part part, net_size need, net_wants wants, rebus_error *err)
{
	run_net *r = part == NET_VISION ? &s->vision : part == NET_ENCODER ? &s->encoder : &s->text;
	if (fits(r, need, wants))
		return r->raw ? make_ready(s, r, err) : REBUS_OK;
	net_size both = need;
	bool wider = r->p && !memcmp(&r->n.wants, &wants, sizeof wants) && net_size_join(&both, &r->n.size);
	net_drop(s, r);
	rebus_status status = wider ? make(s, r, part, both, wants, err) : REBUS_LIMIT;
	return status == REBUS_LIMIT ? make(s, r, part, need, wants, err) : status;
}

bool session_output(const run_net *r, const char *name, plan_rows *out, output_kind *kind)
{
	const net_output *o = r->p ? net_find(&r->n, name) : NULL;
	if (!o)
		return false;
	*out = plan_output(r->p, o->node);
	if (kind)
		*kind = o->kind;
	return true;
}

rebus_status session_numbers(const plan_rows *x, const char *what, rebus_error *err)
{
	for (int64_t r = 0; r < x->rows; r++)
		for (int64_t i = 0; i < x->width; i++)
			if (!isfinite(x->data[r * x->stride + i]))
				return error_set(err, REBUS_FORMAT, "%s: not a number comes out, expected weights and pixels without NaN and infinity", what);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ measuring */
typedef struct counted { /* an allocator that counts what it hands on */
	const rebus_allocator *from;
	size_t now, most;
} counted;

static void *counted_alloc(void *user, size_t size)
{
	counted *c = user;
	void *p = c->from->alloc(c->from->user, size);
	c->now += p ? size : 0;
	c->most = c->now > c->most ? c->now : c->most;
	return p;
}

static void counted_free(void *user, void *memory, size_t size)
{
	counted *c = user;
	c->now -= size;
	c->from->free(c->from->user, memory, size);
}

rebus_status session_measure_net(rebus_session *s, net_part part, net_size size, size_t *bytes, rebus_error *err)
{
	net n;
	plan_info info;
	counted c = {.from = s->m->mem.from};
	const rebus_allocator counting = {&c, counted_alloc, counted_free};
	rebus_status status = build(s, &counting, &n, part, size, (net_wants){0}, err);
	if (status)
		return status;
	size_t ready = 0;
	status = plan_measure(n.g, s->m->k, s->runner.threads, &counting, &info, err);
	if (!status && graph_packs(n.g))
		status = packs_measure(s->m->ready, n.g, s->m->k, &ready, err);
	net_free(&n);
	if (!status)
		*bytes = info.total + c.most + ready;
	return status;
}
