/*
 * run.c - running a plan: one team enters once, takes tasks of a step until there are none, waits until all are done, goes on.
 *
 *   rows, slots ─► transposed maps ─► pointers and counts of every step ─► team: for each step { tasks; until they are done }
 *
 * Nothing is allocated. Which thread computes a task never matters: tasks are cut by shape and write disjoint rows.
 */
#include "graph/plan_internal.h"

#include <string.h>

rebus_status feed_new(arena *a, const graph *g, feed *out, rebus_error *err)
{
	feed f = {.rows = arena_zero(a, (size_t)graph_spaces(g) + 1, sizeof *f.rows), .at = arena_zero(a, (size_t)graph_slots(g) + 1, sizeof *f.at)};
	if (!f.rows || !f.at)
		return error_memory(err, "a run");
	*out = f;
	return REBUS_OK;
}

const void *step_at(const step *s, slot id)
{
	return s->plan->at[id];
}

int64_t plan_rows_now(const plan *p, space_id rows)
{
	return p->rows[rows];
}

int64_t step_row_block(const step *s)
{
	return int_max(1, STEP_FLOATS / int_max(1, s->n->width));
}

int64_t step_row_tasks(const step *s)
{
	return ceil_div(s->rows, step_row_block(s));
}

double step_writes(const step *s)
{
	return 4.0 * (double)s->rows * (double)narrow_words(s->as, s->n->width);
}

static plan_rows rows_of(const plan *p, node_id id)
{
	const node *n = graph_node(p->g, id);
	int32_t column;
	node_id root = plan_root(p->g, id, &column);
	const node *base = graph_node(p->g, root);
	const float *data = NULL;
	if (base->op == &op_input)
		data = p->at[base->a.at];
	else if (base->op == &op_param && base->a.which == 1)
		data = base->w->bias[0];
	else if (base->op == &op_param)
		data = base->w->f32 ? base->w->f32 : base->w->part[0].data;
	else if (p->places[root].used)
		data = (const float *)(const void *)(p->memory + p->places[root].offset);
	return (plan_rows){data ? data + column : NULL, p->rows[n->rows], n->width, p->places[root].used ? plan_stride(base) : base->width};
}

plan_rows plan_matrix(const plan *p, node_id id)
{
	return rows_of(p, id);
}

plan_rows plan_output(const plan *p, node_id id)
{
	return rows_of(p, id);
}

void plan_copy_cached(plan *p, space_id cache, int64_t to, int64_t from, int64_t rows)
{
	for (node_id id = 1; id <= graph_count(p->g); id++) {
		const node *n = graph_node(p->g, id);
		if (n->op != &op_cache || n->rows != cache || !p->places[id].used)
			continue;
		float *data = (float *)(void *)(p->memory + p->places[id].offset);
		int64_t stride = rows_of(p, id).stride;
		memcpy(data + to * stride, data + from * stride, (size_t)rows * (size_t)stride * sizeof(float));
	}
}

/* Sources ascending: walking the forward map in order and appending keeps them so. */
static void transpose(const rowmap *m, rowmap *out)
{
	int32_t *start = (int32_t *)out->start, *from = (int32_t *)out->from;
	float *coef = (float *)out->coef;
	int64_t total = m->start ? m->start[m->rows_out] : m->rows_out * m->taps;
	memset(start, 0, (size_t)(m->rows_in + 1) * sizeof *start);
	for (int64_t j = 0; j < total; j++)
		if (m->from[j] >= 0)
			start[m->from[j] + 1]++;
	for (int64_t r = 0; r < m->rows_in; r++)
		start[r + 1] += start[r];
	for (int64_t i = 0; i < m->rows_out; i++) {
		int64_t j0 = m->start ? m->start[i] : i * m->taps, j1 = m->start ? m->start[i + 1] : j0 + m->taps;
		for (int64_t j = j0; j < j1; j++)
			if (m->from[j] >= 0) {
				int32_t to = start[m->from[j]]++;
				from[to] = (int32_t)(m->concat ? j : i);
				coef[to] = m->coef ? m->coef[j] : 1.0f;
			}
	}
	for (int64_t r = m->rows_in; r > 0; r--)
		start[r] = start[r - 1];
	start[0] = 0;
	out->rows_out = m->rows_in;
	out->rows_in = m->rows_out;
}

static rebus_status take_rows(plan *p, const feed *f, rebus_error *err)
{
	for (space_id i = 1; i <= graph_spaces(p->g); i++) {
		const space *s = graph_space_info(p->g, i);
		p->rows[i] = s->fixed ? s->max : f->rows[i];
		if (p->rows[i] < 0 || p->rows[i] > s->max)
			return error_set(err, REBUS_LIMIT, "%s: %lld rows, planned for at most %lld", s->name, (long long)p->rows[i], (long long)s->max);
	}
	return REBUS_OK;
}

/* Every source once: what passes here is walked without asking by moves, their gradients and transpose. */
static rebus_status check_map(const plan *p, const slot_info *s, const rowmap *m, rebus_error *err)
{
	int64_t rows = m->rows_out, most = graph_space_info(p->g, s->rows)->max * s->taps;
	if (rows != p->rows[s->rows] || m->concat != s->concat || m->taps < 0 || (m->concat && (m->taps != s->taps || m->start || m->coef)))
		return error_set(err, REBUS_LIMIT, "%s: a map of %lld rows, %d sources each, planned for %lld rows and %d", s->name, (long long)rows, m->taps,
			(long long)p->rows[s->rows], s->taps);
	bool sound = !m->start || m->start[0] == 0;
	for (int64_t i = 0; i < rows && m->start; i++)
		sound &= m->start[i] <= m->start[i + 1];
	int64_t total = m->start ? m->start[rows] : rows * m->taps;
	if (!sound || total > most)
		return error_set(err, REBUS_LIMIT, "%s: a map of %lld sources, planned for %lld", s->name, (long long)total, (long long)most);
	for (int64_t j = 0; j < total; j++)
		if (m->from[j] < -1 || m->from[j] >= m->rows_in)
			return error_set(err, REBUS_MISUSE, "%s: a map reads row %d of %lld", s->name, m->from[j], (long long)m->rows_in);
	return REBUS_OK;
}

static rebus_status check_layout(const plan *p, const slot_info *s, const layout *l, rebus_error *err)
{
	int64_t row = 0, rows = p->rows[s->rows], keys = p->rows[s->kv_rows];
	bool sound = l->count >= 0 && (l->first || !l->count) && !l->lo == !l->hi;
	for (int32_t i = 0; i < l->count && sound; i++) {
		segment g = l->seg[i];
		sound = g.q0 >= row && g.q1 >= g.q0 && g.q1 <= rows && g.kv0 >= 0 && g.kv1 >= g.kv0 && g.kv1 <= keys;
		row = g.q1;
	}
	if (!sound)
		return error_set(err, REBUS_MISUSE, "%s: a layout whose segments are not finished, or not ascending within %lld rows and %lld keys", s->name,
			(long long)rows, (long long)keys);
	return REBUS_OK;
}

static rebus_status take_transposed(plan *p, slot i, const slot_info *s, rebus_error *err)
{
	const rowmap *m = p->at[s->transposed_of];
	if (m->rows_in > s->rows_in)
		return error_set(err, REBUS_LIMIT, "%s: a map from %lld rows, planned for %lld", s->name, (long long)m->rows_in, (long long)s->rows_in);
	transpose(m, &p->maps[i]);
	p->at[i] = &p->maps[i];
	return REBUS_OK;
}

static rebus_status take_slot(plan *p, slot i, const void *fed, rebus_error *err)
{
	static const int64_t nothing = 0;
	const slot_info *s = graph_slot_info(p->g, i);
	bool values = s->kind == SLOT_COLUMN || s->kind == SLOT_INPUT;
	p->at[i] = fed ? fed : values && !p->rows[s->rows] ? &nothing : NULL;
	if (!p->reads[i])
		return REBUS_OK;
	if (s->transposed_of)
		return take_transposed(p, i, s, err);
	if (!p->at[i])
		return error_set(err, REBUS_MISUSE, "slot %s: nothing is fed", s->name);
	if (s->kind == SLOT_MAP)
		return check_map(p, s, fed, err);
	return s->kind == SLOT_LAYOUT ? check_layout(p, s, fed, err) : REBUS_OK;
}

static rebus_status take_slots(plan *p, const feed *f, rebus_error *err)
{
	for (slot i = 1; i <= graph_slots(p->g); i++) {
		rebus_status status = take_slot(p, i, f->at[i], err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

/* Where a member's share of the tasks starts */
static int64_t share(int64_t tasks, int member, int threads)
{
	return tasks * member / threads;
}

static rebus_status prepare(plan *p, rebus_error *err)
{
	for (int32_t i = 0; i < p->step_count; i++) {
		step *s = &p->steps[i];
		plan_rows out = rows_of(p, s->id);
		s->out = (float *)out.data;
		s->ldo = out.stride;
		s->rows = out.rows;
		for (int j = 0; j < NODE_INPUTS; j++) {
			if (!s->in_id[j])
				continue;
			plan_rows in = rows_of(p, s->in_id[j]);
			s->in[j] = in.data;
			s->ld[j] = in.stride;
			s->in_rows[j] = in.rows;
			s->in_width[j] = (int32_t)in.width;
		}
		if (s->residual_id) {
			plan_rows r = rows_of(p, s->residual_id);
			s->residual = r.data;
			s->ldr = r.stride;
		}
		node_id lse = graph_node(p->g, s->id)->lse;
		s->lse = lse && p->places[lse].used ? (float *)rows_of(p, lse).data : NULL;
		rebus_status status = s->op->check ? s->op->check(s, err) : REBUS_OK;
		if (status)
			return status;
		s->tasks = s->op->tasks(s);
		p->costs[i] = (cost){0};
		if (s->op->cost) /* now, while what is fed is there */
			s->op->cost(s, &p->costs[i]);
		atomic_store_explicit(&p->done[i], 0, memory_order_relaxed);
		for (int k = 0; k < p->threads; k++)
			atomic_store_explicit(&p->next[(int64_t)k * p->step_count + i], share(int_max(1, s->tasks), k, p->threads), memory_order_relaxed);
	}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ the members */
/* Steps of at most one task in a row are one piece of work: whoever takes the first does them all. A decode step is full of them. */
static int32_t row_end(const plan *p, int32_t i)
{
	int32_t end = i + 1;
	if (p->steps[i].tasks <= 1)
		while (end < p->end && p->steps[end].tasks <= 1)
			end++;
	return end;
}

static int64_t tasks_of(const plan *p, int32_t i)
{
	return int_max(1, p->steps[i].tasks);
}

/*
 * Every member has a share of the tasks, side by side, so that it reads memory in one stream (weights read by two members in
 * turn, 16 KiB each, come at half the speed); who is done with its own takes from the others'. -1: none is left.
 */
static int64_t take_task(plan *p, int32_t i, int64_t tasks, int member)
{
	for (int k = 0; k < p->threads; k++) {
		int owner = (member + k) % p->threads;
		_Atomic int64_t *next = &p->next[(int64_t)owner * p->step_count + i];
		int64_t end = share(tasks, owner + 1, p->threads);
		if (atomic_load_explicit(next, memory_order_relaxed) >= end)
			continue;
		int64_t task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
		if (task < end)
			return task;
	}
	return -1;
}

static void add_seconds(plan *p, int32_t i, double *last)
{
	double now = time_now();
	p->seconds[i] = now - *last;
	*last = now;
}

static void do_row(plan *p, int32_t i, int32_t end, void *scratch)
{
	double t = p->profile ? time_now() : 0;
	for (; i < end; i++) {
		if (p->steps[i].tasks)
			p->steps[i].op->forward(&p->steps[i], 0, scratch);
		if (p->profile)
			add_seconds(p, i, &t);
	}
}

/* Member 0 asks the caller: after every step, and between tasks when some time has passed. */
static void ask(plan *p, double patience)
{
	if (!p->stop)
		return;
	double now = time_now();
	if (now - p->asked < patience)
		return;
	p->asked = now;
	if (p->stop(p->stop_user))
		barrier_break(p->meet, true);
}

/*
 * Nobody waits for a member, only for tasks: one that the system keeps off a processor holds the others up only if it was in
 * the middle of a task. When it comes back it walks past what is done.
 */
static void work(void *arg, int index)
{
	static const double patience = 1e-3;
	plan *p = arg;
	void *scratch = p->scratch + (size_t)index * p->scratch_each;
	for (int32_t i = p->begin, end; i < p->end && !barrier_broken(p->meet); i = end) {
		const step *s = &p->steps[i];
		int64_t tasks = tasks_of(p, i), task, mine = 0;
		double t = p->profile && !index ? time_now() : 0;
		end = row_end(p, i);
		while (!barrier_broken(p->meet) && (task = take_task(p, i, tasks, index)) >= 0) {
			if (s->tasks > 1)
				s->op->forward(s, task, scratch);
			else
				do_row(p, i, end, scratch);
			mine++;
			if (!index)
				ask(p, patience);
		}
		if (mine && atomic_fetch_add(&p->done[i], mine) + mine == tasks)
			barrier_tell(p->meet);
		barrier_until(p->meet, &p->done[i], tasks);
		if (p->profile && !index && s->tasks > 1)
			add_seconds(p, i, &t);
		if (!index && end < p->end && !barrier_broken(p->meet))
			ask(p, 0);
	}
}

int32_t plan_steps_until(const plan *p, node_id id)
{
	int32_t n = 0;
	while (n < p->step_count && p->steps[n].id <= id)
		n++;
	return n;
}

/* The step before which all are done, the run's end unless the caller stopped. */
static int32_t steps_done(const plan *p)
{
	int32_t i = p->begin;
	while (i < p->end && atomic_load(&p->done[i]) >= tasks_of(p, i))
		i = row_end(p, i);
	return i;
}

rebus_status plan_run(plan *p, const feed *f, const rebus_runner *runner, bool (*stop)(void *), void *user, rebus_error *err)
{
	return plan_run_steps(p, f, 0, p->step_count, runner, stop, user, err);
}

rebus_status plan_run_steps(plan *p, const feed *f, int32_t first, int32_t last, const rebus_runner *runner, bool (*stop)(void *), void *user,
                            rebus_error *err)
{
	if (runner->threads != p->threads)
		return error_set(err, REBUS_MISUSE, "a plan for %d threads is run by %d", p->threads, runner->threads);
	rebus_status status = take_rows(p, f, err);
	if (!status)
		status = take_slots(p, f, err);
	if (!status)
		status = prepare(p, err);
	if (status)
		return status;
	p->stop = stop;
	p->stop_user = user;
	p->begin = first;
	p->end = last;
	p->asked = stop ? time_now() : 0;
	barrier_break(p->meet, false);
	runner->run(runner->user, work, p);
	int32_t end = steps_done(p);
	p->count.runs++;
	p->count.steps += end - first;
	for (int32_t i = first; i < end; i++)
		p->count.products += p->steps[i].op->products;
	return barrier_broken(p->meet) ? error_set(err, REBUS_CANCELLED, "stopped by the caller") : REBUS_OK;
}

void plan_profile(plan *p, bool on)
{
	p->profile = on;
}

bool plan_step_at(const plan *p, int32_t i, plan_step_info *out)
{
	if (i < 0 || i >= p->step_count)
		return false;
	const step *s = &p->steps[i];
	const node *n = graph_node(p->g, s->shown);
	*out = (plan_step_info){.op = s->op->name, .name = n->name, .seconds = p->seconds[i], .cost = p->costs[i], .rows = s->rows, .width = n->width};
	return true;
}
