/*
 * growth.c - sequences that grow: one prefill, then one row for each sequence a step, against a cache.
 *
 *     cache rows   sequence 0: [0, n0 + max)    sequence 1: [n0 + max, ...)    region[i] is where each begins
 *     prefill      all rows of all prompts in one run
 *     step         a row for each sequence that goes on; its key and value land at region[i] + past[i]
 *
 * A step plans nothing and allocates nothing: its table, maps and layout lie in an arena reserved before the first one.
 */
#include <string.h>

#include "generate/session_net.h"

typedef struct run_parts { /* what a run is fed with */
	tokens table;
	int32_t *picked, *where;
	int64_t picked_count, feature_rows;
	const float *features;
	float *angles;
	rowmap source, pick;
	layout self;
} run_parts;

static int64_t total_rows(const growth *g)
{
	int64_t total = 0;
	for (int32_t i = 0; i < g->count; i++)
		total += g->list[i].count;
	return total;
}

static rebus_status check_lengths(const growth *g, const text_shape *w, rebus_error *err)
{
	for (int32_t i = 0; i < g->count; i++) {
		if (g->list[i].count < 1)
			return error_set(err, REBUS_MISUSE, "prompt %d: no tokens", i);
		if (g->list[i].count > w->positions)
			return error_set(err, REBUS_LIMIT, "prompt %d: %d tokens, expected at most the model's %lld positions", i,
				g->list[i].count, (long long)w->positions);
	}
	return REBUS_OK;
}

/* Maps, layout and angles of the table that is in r; everything from arena a. */
static rebus_status complete(const growth *g, run_parts *r, arena *a, rebus_error *err)
{
	rebus_status status;
	const rebus_model *m = g->s->m;
	const text_shape *w = m->text.f->words(m->text.config);
	int64_t rows = r->table.rows, base[TOKEN_KINDS] = {0, w->vocabulary, -1, -1, -1};
	r->where = arena_get(a, (size_t)rows, sizeof *r->where);
	r->angles = arena_get(a, (size_t)rows, (size_t)(w->rotary + 1) * sizeof(float));
	if (!r->where || !r->angles)
		return error_memory(err, "a run");
	TRY(tokens_map_sources(a, &r->table, base, w->vocabulary + r->feature_rows, &r->source, err));
	TRY(tokens_map_pick(a, r->picked, r->picked_count, rows, &r->pick, err));
	TRY(tokens_layout_cached(a, &r->table, g->region, g->past, r->where, &r->self, err));
	if (w->rotary)
		tokens_angles(&r->table, AT_ORDER, w->inv_freq, (int32_t)(w->rotary / 2), r->angles);
done:
	return status;
}

static net_run feed_of(const run_parts *r)
{
	return (net_run){.table = &r->table, .features = r->features, .feature_rows = r->feature_rows, .source = &r->source, .pick = &r->pick, .self = &r->self,
		.angles = r->angles, .where = r->where};
}

static rebus_status run(growth *g, const run_parts *r, const feed *f, rebus_error *err)
{
	rebus_session *s = g->s;
	rebus_status status = plan_run(s->text.p, f, &s->runner, s->options.stop, s->options.user, err);
	for (int64_t i = 0; !status && i < r->table.rows; i++)
		g->past[r->table.seq[i]]++;
	return status;
}

/* ------------------------------------------------------------------------------------------------ prefill */
static void add_prompts(growth *g, run_parts *r)
{
	int32_t feature = 0;
	for (int32_t i = 0; i < g->count; i++) {
		const sequence *q = &g->list[i];
		g->row[i] = (int32_t)r->table.rows;
		for (int32_t k = 0; k < q->count; k++) {
			bool image = q->picture[k] >= 0;
			tokens_add(&r->table, image ? TOKEN_IMAGE : TOKEN_TEXT, i, k, q->picture[k], image ? feature++ : q->ids[k]);
		}
		if (!g->all)
			r->picked[r->picked_count++] = (int32_t)r->table.rows - 1;
		g->logits_at[i] = g->all ? (int32_t)r->table.rows - 1 : i;
	}
	g->row[g->count] = (int32_t)r->table.rows;
	for (int64_t k = 0; g->all && k < r->table.rows; k++)
		r->picked[r->picked_count++] = (int32_t)k;
}

static rebus_status lay_out(growth *g, run_parts *r, arena *a, rebus_error *err)
{
	int64_t rows = total_rows(g);
	rebus_status status = tokens_new(a, rows, &r->table, err);
	if (status)
		return status;
	r->picked = arena_get(a, (size_t)rows, sizeof *r->picked);
	if (!r->picked)
		return error_memory(err, "a run");
	add_prompts(g, r);
	return complete(g, r, a, err);
}

static rebus_status prefill(growth *g, plan_rows features, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, g->s->m->mem.from, 0);
	run_parts r = {.features = features.data, .feature_rows = features.rows};
	feed f;
	TRY(lay_out(g, &r, &a, err));
	net_run fed = feed_of(&r);
	TRY(net_feed(&g->s->text.n, &fed, &a, &f, err));
	TRY(run(g, &r, &f, err));
done:
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ begin, step, end */
/* A step's objects: 14 columns of at most a cache line's rounding each, the angles, and what feed_new takes. */
static size_t step_bytes(const growth *g)
{
	const rebus_model *m = g->s->m;
	const net *n = &g->s->text.n;
	size_t rows = (size_t)g->count + 1, width = (size_t)m->text.f->words(m->text.config)->rotary + 1;
	return 24 * (rows * sizeof(segment) + 128) + rows * width * sizeof(float) + ((size_t)graph_spaces(n->g) + (size_t)graph_slots(n->g) + 4) * 16 + 4096;
}

/* Everything but what lies in plans; size: what the plan is made for. growth_end also after a failure. */
static rebus_status prepare(growth *g, rebus_session *s, const sequence *list, int32_t count, int64_t feature_rows,
	int32_t max_tokens, bool all, net_size *size,
                            rebus_error *err)
{
	rebus_status status;
	*g = (growth){.s = s, .count = count, .list = list, .all = all};
	arena_init(&g->fixed, s->m->mem.from, 0);
	arena_init(&g->step, s->m->mem.from, 0);
	const text_shape *w = s->m->text.f->words(s->m->text.config);
	size_t n = (size_t)count + 1;
	g->region = arena_zero(&g->fixed, n, sizeof(int32_t));
	g->past = arena_zero(&g->fixed, n, sizeof(int32_t));
	g->row = arena_zero(&g->fixed, n, sizeof(int32_t));
	g->logits_at = arena_zero(&g->fixed, n, sizeof(int32_t));
	if (!g->region || !g->past || !g->row || !g->logits_at)
		return error_memory(err, "an answer");
	TRY(check_lengths(g, w, err));
	int64_t rows = total_rows(g), cache = rows + (int64_t)count * max_tokens;
	if (cache > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%lld tokens with their answers in one call", (long long)cache);
	for (int32_t i = 0; i + 1 < count; i++)
		g->region[i + 1] = g->region[i] + list[i].count + max_tokens;
	*size = (net_size){.rows = rows, .features = feature_rows, .picked = all ? rows : count, .cache = cache};
done:
	return status;
}

rebus_status growth_begin(growth *g, rebus_session *s, const sequence *list, int32_t count, plan_rows features, int32_t max_tokens, net_wants wants, bool all,
                          rebus_error *err)
{
	rebus_status status;
	net_size size;
	TRY(prepare(g, s, list, count, features.rows, max_tokens, all, &size, err));
	TRY(session_net(s, false, size, wants, err));
	if (features.rows && s->text.n.features_in && features.width != graph_slot_info(s->text.n.g, s->text.n.features_in)->width)
		return error_set(err, REBUS_SHAPE, "the projector gives %lld columns, the text model reads %lld", (long long)features.width,
			(long long)graph_slot_info(s->text.n.g, s->text.n.features_in)->width);
	TRY(prefill(g, features, err));
	if (!arena_reserve(&g->step, step_bytes(g)))
		return error_memory(err, "an answer");
	g->step_mark = arena_here(&g->step);
done:
	return status;
}

rebus_status growth_measure(rebus_session *s, const sequence *list, int32_t count, int64_t feature_rows, int32_t max_tokens, arena *a, size_t *plan_bytes,
                            rebus_error *err)
{
	rebus_status status;
	growth g;
	net_size size;
	run_parts r = {.feature_rows = feature_rows};
	TRY(prepare(&g, s, list, count, feature_rows, max_tokens, false, &size, err));
	TRY(lay_out(&g, &r, a, err));
	TRY(session_measure_net(s, false, size, plan_bytes, err));
done:
	growth_end(&g);
	return status;
}

rebus_status growth_step(growth *g, const int32_t *id, rebus_error *err)
{
	rebus_status status;
	run_parts r = {0};
	feed f;
	arena_release(&g->step, g->step_mark);
	TRY(tokens_new(&g->step, g->count, &r.table, err));
	r.picked = arena_get(&g->step, (size_t)g->count, sizeof *r.picked);
	if (!r.picked)
		return error_memory(err, "a step");
	for (int32_t i = 0; i < g->count; i++) {
		g->logits_at[i] = id[i] < 0 ? -1 : (int32_t)r.table.rows;
		if (id[i] < 0)
			continue;
		r.picked[r.picked_count++] = (int32_t)r.table.rows;
		tokens_add(&r.table, TOKEN_TEXT, i, g->past[i], -1, id[i]);
	}
	TRY(complete(g, &r, &g->step, err));
	net_run fed = feed_of(&r);
	TRY(net_feed(&g->s->text.n, &fed, &g->step, &f, err));
	TRY(run(g, &r, &f, err));
done:
	return status;
}

const float *growth_logits(const growth *g, int32_t i, int64_t *width)
{
	plan_rows r;
	if (g->logits_at[i] < 0 || !session_output(&g->s->text, "logits", &r, NULL))
		return NULL;
	*width = r.width;
	return r.data + g->logits_at[i] * r.stride;
}

void growth_end(growth *g)
{
	if (!g->s)
		return;
	arena_free(&g->fixed);
	arena_free(&g->step);
	*g = (growth){0};
}
