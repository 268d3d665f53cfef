/*
 * plan.c - making a plan: which nodes are needed, which are fused, in which order they run and where their rows lie.
 *
 *   1. need    from the kept nodes backwards
 *   2. fuse    act(linear) and linear + residual become one step, where nobody else reads what lies between:
 *                  linear ─► act ─► add(other)   =   one matrix product with an epilogue at the place of the last
 *              and a step whose rows are only read rounded (narrow, op_narrow.c) writes them so, if its operation can
 *   3. order   the nodes' own: a graph is built inputs first
 *   4. place   greedy: every matrix, in the order of the steps, gets the lowest gap between those that still live; caches get
 *              memory of their own
 *
 * Everything is computed for the spaces' maxima, so the memory is known here and nothing is taken while running.
 */
#include "graph/plan_internal.h"

#include <string.h>

enum { ALIGN = 64 };

typedef struct maker {
	const graph *g;
	bool *need;        /* [nodes + 1] */
	int32_t *uses;     /* [nodes + 1] */
	node_id *linear;   /* [nodes + 1]: the linear node this node's step computes, 0 none */
	node_id *residual; /* [nodes + 1] */
	act_kind *act;     /* [nodes + 1] */
	node_id *rounded;  /* [nodes + 1]: the node whose step writes this one, a narrow node; 0 none */
	bool *gone;        /* [nodes + 1]: fused into a later step */
} maker;

node_id plan_root(const graph *g, node_id id, int32_t *column)
{
	int32_t c = 0;
	while (graph_node(g, id)->view_of) {
		c += graph_node(g, id)->column;
		id = graph_node(g, id)->view_of;
	}
	if (column)
		*column = c;
	return id;
}

static bool reads_forward(const node *n)
{
	return n->op == &op_attend_delta || n->op == &op_attend_dq || n->op == &op_attend_dkv || n->op == &op_attend_dtable;
}

/* Calls visit for every node whose rows this one reads. */
static void each_source(const maker *m, node_id id, void (*visit)(void *, node_id), void *arg)
{
	const node *n = graph_node(m->g, id);
	for (int i = 0; i < NODE_INPUTS; i++)
		if (n->in[i])
			visit(arg, n->in[i]);
	if (reads_forward(n)) {
		visit(arg, n->a.of);
		visit(arg, graph_node(m->g, n->a.of)->lse);
	}
	if (n->op == &op_attend_lse)
		visit(arg, n->a.of);
}

static void mark_need(void *arg, node_id id)
{
	maker *m = arg;
	m->need[id] = true;
	m->uses[id]++;
}

static void find_needed(maker *m)
{
	for (node_id id = graph_count(m->g); id > 0; id--) {
		if (graph_node(m->g, id)->keep)
			m->need[id] = true;
		if (m->need[id])
			each_source(m, id, mark_need, m);
	}
}

/* The node whose operation the step of this one runs and whose inputs it reads */
static node_id computed(const maker *m, node_id id)
{
	return m->linear[id] ? m->linear[id] : m->rounded[id] ? m->rounded[id] : id;
}

/* Whether the step of a can write what narrow node n rounds it to. */
static bool can_round(const maker *m, const node *n)
{
	const node *a = graph_node(m->g, n->in[0]), *by = graph_node(m->g, computed(m, n->in[0]));
	return m->uses[n->in[0]] == 1 && !a->keep && !a->lse && !a->view_of && by->op->narrows && by->op->narrows(by, (precision)n->a.which);
}

/* A linear step that only `by` reads and that nobody wants to see. */
static bool can_fuse(const maker *m, node_id id)
{
	return id && m->linear[id] && !m->residual[id] && m->uses[id] == 1 && !graph_node(m->g, id)->keep;
}

static int32_t fuse(maker *m)
{
	int32_t fused = 0;
	for (node_id id = 1; id <= graph_count(m->g); id++) {
		const node *n = graph_node(m->g, id);
		if (!m->need[id])
			continue;
		if (n->op == &op_linear)
			m->linear[id] = id;
		node_id a = n->in[0], b = n->in[1], from = 0;
		if (n->op == &op_act && can_fuse(m, a) && !m->act[a]) {
			from = a;
			m->act[id] = n->a.act;
		} else if (n->op == &op_add && (can_fuse(m, a) || can_fuse(m, b)) && a != b) {
			from = can_fuse(m, a) ? a : b;
			m->act[id] = m->act[from];
			m->residual[id] = from == a ? b : a;
		}
		if (n->op == &op_narrow && can_round(m, n)) {
			from = m->rounded[id] = a;
			m->act[id] = m->act[a];
			m->residual[id] = m->residual[a];
		}
		if (from) {
			m->linear[id] = m->linear[from];
			m->gone[from] = true;
			fused++;
		}
	}
	return fused;
}

static void step_sources(step *s, const node *n, node_id residual)
{
	for (int i = 0; i < NODE_INPUTS; i++)
		s->in_id[i] = n->in[i];
	s->residual_id = residual;
}

void plan_use_packs(plan *p)
{
	for (int32_t i = 0; i < p->step_count && graph_packs(p->g); i++) {
		step *s = &p->steps[i];
		for (int j = 0; s->op == &op_linear && j < s->n->w->parts; j++)
			s->pack[j] = packs_find(graph_packs(p->g), &s->n->w->part[j]);
	}
}

static bool make_steps(plan *p, const maker *m)
{
	int32_t count = 0;
	for (node_id id = 1; id <= graph_count(p->g); id++)
		count += m->need[id] && !m->gone[id] && graph_node(p->g, id)->op->forward;
	p->steps = arena_zero(&p->mem, (size_t)count + 1, sizeof *p->steps);
	size_t shares;
	if (!size_mul((size_t)count + 1, (size_t)p->threads, &shares))
		return false;
	p->next = arena_zero(&p->mem, shares, sizeof *p->next);
	p->done = arena_zero(&p->mem, (size_t)count + 1, sizeof *p->done);
	p->seconds = arena_zero(&p->mem, (size_t)count + 1, sizeof *p->seconds);
	p->costs = arena_zero(&p->mem, (size_t)count + 1, sizeof *p->costs);
	if (!p->steps || !p->next || !p->done || !p->seconds || !p->costs)
		return false;
	for (node_id id = 1; id <= graph_count(p->g); id++) {
		const node *n = graph_node(p->g, id);
		if (!m->need[id] || m->gone[id] || !n->op->forward)
			continue;
		const precision as = m->rounded[id] ? (precision)n->a.which : PRECISION_F32;
		n = graph_node(p->g, computed(m, id));
		step *s = &p->steps[p->step_count++];
		*s = (step){.op = n->op, .n = n, .id = id, .plan = p, .k = p->k, .act = m->act[id], .as = as, .shown = m->rounded[id] ? m->rounded[id] : id};
		step_sources(s, n, m->residual[id]);
	}
	plan_use_packs(p);
	return true;
}

/* ------------------------------------------------------------------------------------------------ lives */
typedef struct life_arg {
	plan *p;
	int32_t now;
} life_arg;

static void live_until(void *arg, node_id id)
{
	life_arg *l = arg;
	place *x = &l->p->places[plan_root(l->p->g, id, NULL)];
	if (l->now > x->last)
		x->last = l->now;
}

static bool has_memory(const node *n)
{
	return n->op != &op_input && n->op != &op_param && !n->view_of;
}

int64_t plan_stride(const node *n)
{
	enum { SETS = 512, LINE = 16 }; /* floats */
	return n->width % SETS || n->keep || n->op == &op_cache ? n->width : n->width + LINE;
}

static bool define(plan *p, node_id id, int32_t now)
{
	const node *n = graph_node(p->g, id);
	size_t size;
	if (!size_mul((size_t)graph_rows_max(p->g, id), (size_t)plan_stride(n), &size) || !size_mul(size, sizeof(float), &size) || size > SIZE_MAX / 4)
		return false;
	place *x = &p->places[id];
	x->size = size_round(size, ALIGN);
	x->used = true;
	x->first = x->last = now;
	x->persistent = n->op == &op_cache;
	return true;
}

static bool find_lives(plan *p, const maker *m)
{
	for (int32_t i = 0; i < p->step_count; i++) {
		const step *s = &p->steps[i];
		const node *made = graph_node(p->g, s->id);
		if (has_memory(made) && !define(p, s->id, i))
			return false;
		if (made->lse && m->need[made->lse] && !define(p, made->lse, i))
			return false;
	}
	for (int32_t i = 0; i < p->step_count; i++) {
		const step *s = &p->steps[i];
		life_arg l = {p, i};
		each_source(m, computed(m, s->id), live_until, &l);
		if (s->residual_id)
			live_until(&l, s->residual_id);
	}
	for (node_id id = 1; id <= graph_count(p->g); id++)
		if (graph_node(p->g, id)->keep) {
			life_arg l = {p, p->step_count};
			live_until(&l, id);
		}
	return true;
}

/* ------------------------------------------------------------------------------------------------ places */
typedef struct alive { /* what is placed and still lives, by offset */
	place **at;
	int32_t count;
	size_t top; /* the highest byte ever used */
} alive;

/* Puts x into the lowest gap between those that live with it; the others are struck off. Places come in the order of their births. */
static bool put(alive *l, place *x)
{
	size_t offset = 0;
	int32_t kept = 0, before = 0; /* where x goes */
	bool found = false;
	for (int32_t i = 0; i < l->count; i++) {
		place *y = l->at[i];
		if (y->last < x->first)
			continue;
		found |= y->offset >= offset && y->offset - offset >= x->size;
		if (!found) {
			offset = y->offset + y->size > offset ? y->offset + y->size : offset;
			before = kept + 1;
		}
		l->at[kept++] = y;
	}
	if (offset > SIZE_MAX / 4)
		return false;
	memmove(l->at + before + 1, l->at + before, (size_t)(kept - before) * sizeof(place *));
	l->at[before] = x;
	l->count = kept + 1;
	x->offset = offset;
	l->top = x->offset + x->size > l->top ? x->offset + x->size : l->top;
	return true;
}

static bool find_places(plan *p)
{
	alive l = {.at = arena_get(&p->mem, (size_t)graph_count(p->g) + 1, sizeof *l.at)};
	if (!l.at)
		return false;
	for (int32_t i = 0; i < p->step_count; i++) {
		place *made = &p->places[p->steps[i].id], *lse = &p->places[graph_node(p->g, p->steps[i].id)->lse];
		if (!made->persistent && made->size && !put(&l, made))
			return false;
		if (lse->used && lse->size && !put(&l, lse))
			return false;
	}
	size_t top = p->info.activations = l.top;
	for (node_id id = 1; id <= graph_count(p->g); id++) {
		place *x = &p->places[id];
		if (x->used && x->persistent) {
			x->offset = top;
			if (!size_add(top, x->size, &top) || top > SIZE_MAX / 2)
				return false;
		}
	}
	p->info.persistent = top - p->info.activations;
	p->memory_size = top;
	return true;
}

/* ------------------------------------------------------------------------------------------------ slots, maps, scratch */
static void find_reads(plan *p, const maker *m)
{
	for (node_id id = 1; id <= graph_count(p->g); id++) {
		const attr *a = &graph_node(p->g, id)->a;
		if (m->need[id])
			p->reads[a->at] = p->reads[a->q_at] = p->reads[a->kv_at] = true;
	}
	for (slot i = 1; i <= graph_slots(p->g); i++)
		if (p->reads[i])
			p->reads[graph_slot_info(p->g, i)->transposed_of] = true;
	p->reads[0] = false;
}

static bool transposed_room(plan *p, bool dry)
{
	int32_t slots = graph_slots(p->g);
	p->maps = arena_zero(&p->mem, (size_t)slots + 1, sizeof *p->maps);
	if (!p->maps)
		return false;
	for (slot i = 1; i <= slots; i++) {
		const slot_info *s = graph_slot_info(p->g, i);
		if (!s->transposed_of || !p->reads[i])
			continue;
		size_t taps = (size_t)graph_space_info(p->g, s->rows)->max * (size_t)s->taps, rows = (size_t)s->rows_in;
		p->info.maps += (rows + 1) * sizeof(int32_t) + taps * (sizeof(int32_t) + sizeof(float));
		if (dry)
			continue;
		rowmap *m = &p->maps[i];
		m->start = arena_get(&p->mem, rows + 1, sizeof(int32_t));
		m->from = arena_get(&p->mem, taps + 1, sizeof(int32_t));
		m->coef = arena_get(&p->mem, taps + 1, sizeof(float));
		if (!m->start || !m->from || !m->coef)
			return false;
	}
	return true;
}

static void find_scratch(plan *p)
{
	size_t most = 0;
	for (int32_t i = 0; i < p->step_count; i++) {
		const step *s = &p->steps[i];
		size_t n = s->op->scratch ? s->op->scratch(p->g, s->n, p->k) : 0;
		most = n > most ? n : most;
	}
	p->scratch_each = size_round(most, ALIGN);
	p->info.scratch = p->scratch_each * (size_t)p->threads;
}

static bool maker_room(maker *m, arena *a)
{
	size_t n = (size_t)graph_count(m->g) + 1;
	m->need = arena_zero(a, n, sizeof *m->need);
	m->gone = arena_zero(a, n, sizeof *m->gone);
	m->uses = arena_zero(a, n, sizeof *m->uses);
	m->linear = arena_zero(a, n, sizeof *m->linear);
	m->residual = arena_zero(a, n, sizeof *m->residual);
	m->act = arena_zero(a, n, sizeof *m->act);
	m->rounded = arena_zero(a, n, sizeof *m->rounded);
	return m->need && m->gone && m->uses && m->linear && m->residual && m->act && m->rounded;
}

static bool plan_room(plan *p)
{
	p->places = arena_zero(&p->mem, (size_t)graph_count(p->g) + 1, sizeof *p->places);
	p->rows = arena_zero(&p->mem, (size_t)graph_spaces(p->g) + 1, sizeof *p->rows);
	p->at = arena_zero(&p->mem, (size_t)graph_slots(p->g) + 1, sizeof *p->at);
	p->reads = arena_zero(&p->mem, (size_t)graph_slots(p->g) + 1, sizeof *p->reads);
	return p->places && p->rows && p->at && p->reads;
}

/* Products of bf16 and int8 read nothing but packs. */
static rebus_status check_packs(const plan *p, rebus_error *err)
{
	for (int32_t i = 0; i < p->step_count; i++)
		for (int j = 0; p->steps[i].op == &op_linear && j < p->steps[i].n->w->parts; j++)
			if (packs_precision(graph_packs(p->g)) != PRECISION_F32 && !p->steps[i].pack[j])
				return error_set(err, REBUS_MISUSE, "%s: not ready in %s", p->steps[i].n->w->name ? p->steps[i].n->w->name : "a weight",
					precision_name(packs_precision(graph_packs(p->g))));
	return REBUS_OK;
}

static rebus_status take_memory(plan *p, rebus_error *err)
{
	rebus_status status = check_packs(p, err);
	if (status)
		return status;
	p->meet = barrier_new(&p->mem, p->threads);
	p->memory = p->from->alloc(p->from->user, p->memory_size ? p->memory_size : 1);
	p->scratch = p->from->alloc(p->from->user, p->info.scratch ? p->info.scratch : 1);
	if (!p->meet || !p->memory || !p->scratch)
		return error_set(err, REBUS_MEMORY, "no memory for a plan of %zu MiB", p->info.total >> 20);
	return REBUS_OK;
}

static rebus_status make(const graph *g, const kernels *k, int threads, size_t limit, const rebus_allocator *from, bool dry, plan **out, rebus_error *err)
{
	rebus_status status = graph_check(g, err);
	if (status)
		return status;
	if (threads < 1)
		return error_set(err, REBUS_MISUSE, "threads: %d, expected at least 1", threads);
	arena mem;
	arena_init(&mem, from, 0);
	plan *p = arena_zero(&mem, 1, sizeof *p);
	if (!p) {
		arena_free(&mem);
		return error_memory(err, "a plan");
	}
	*p = (plan){.mem = mem, .g = g, .k = k, .from = from ? from : &base_allocator, .threads = threads};
	maker m = {.g = g};
	bool room = maker_room(&m, &p->mem) && plan_room(p);
	if (room) {
		find_needed(&m);
		find_reads(p, &m);
		p->info.fused = fuse(&m);
		room = make_steps(p, &m);
	}
	if (!room || !find_lives(p, &m) || !find_places(p) || !transposed_room(p, dry)) {
		status = error_memory(err, "a plan");
		goto done;
	}
	find_scratch(p);
	p->info.steps = p->step_count;
	p->info.total = p->info.activations + p->info.persistent + p->info.scratch + p->info.maps;
	if (limit && p->info.total > limit) {
		status = error_set(err, REBUS_LIMIT, "a run of this size needs %zu MiB, more than the limit of %zu MiB", p->info.total >> 20, limit >> 20);
		goto done;
	}
	if (!dry)
		TRY(take_memory(p, err));
	*out = p;
	p = NULL;
done:
	plan_free(p);
	return status;
}

rebus_status plan_make(const graph *g, const kernels *k, int threads, size_t limit, const rebus_allocator *from, plan **out, rebus_error *err)
{
	return make(g, k, threads, limit, from, false, out, err);
}

rebus_status plan_measure(const graph *g, const kernels *k, int threads, const rebus_allocator *from, plan_info *out, rebus_error *err)
{
	plan *p;
	rebus_status status = make(g, k, threads, 0, from, true, &p, err);
	if (status)
		return status;
	*out = p->info;
	plan_free(p);
	return REBUS_OK;
}

void plan_free(plan *p)
{
	if (!p)
		return;
	barrier_end(p->meet);
	if (p->memory)
		p->from->free(p->from->user, p->memory, p->memory_size ? p->memory_size : 1);
	if (p->scratch)
		p->from->free(p->from->user, p->scratch, p->info.scratch ? p->info.scratch : 1);
	arena mem = p->mem; /* the plan lies in its own arena */
	arena_free(&mem);
}

plan_info plan_about(const plan *p)
{
	return p->info;
}

plan_count plan_counts(const plan *p)
{
	return p->count;
}

const graph *plan_graph(const plan *p)
{
	return p->g;
}
