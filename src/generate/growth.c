/*
 * growth.c - sequences that grow: one prefill, then one row for each sequence a step, against a cache.
 *
 *     cache rows   sequence 0: [0, n0 + max)    sequence 1: [n0 + max, ...)    region[i] is where each begins
 *     prefill      all rows of all prompts in one run
 *     step         a row for each sequence that goes on; its key and value land at region[i] + past[i]
 *
 * With beams, sequences 0 ... beams - 1 are of prompt 0 and so on: the first is read, its rows are copied to the others' regions. When
 * two go on from one (growth_select), a region changes hands, or what came after the prompt is copied to one that nobody goes on from.
 *
 * Where other angles count beyond a length (text_shape.restart), the step that grows beyond it has all rows of its sequence again.
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
	int32_t *length; /* of each sequence, with the rows of this run */
	float *angles, *near_angles;
	int32_t *order, *where_memory;
	rowmap source, position, pick;
	layout self, near, cross;
} run_parts;

static int64_t total_rows(const growth *g)
{
	int64_t total = 0;
	for (int32_t i = 0; i < g->count; i += g->beams)
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

static rebus_status turn(const rope *of, const run_parts *r, arena *a, float **out, rebus_error *err)
{
	if (!of)
		return REBUS_OK;
	*out = arena_get(a, (size_t)r->table.rows, 2 * (size_t)of->half * sizeof(float));
	if (!*out)
		return error_memory(err, "a run");
	part_rope_angles(of, &r->table, r->length, *out);
	return REBUS_OK;
}

static rebus_status turns(const growth *g, run_parts *r, const text_shape *w, arena *a, rebus_error *err)
{
	r->length = arena_get(a, (size_t)g->count, sizeof *r->length);
	if (!r->length)
		return error_memory(err, "a run");
	memcpy(r->length, g->past, (size_t)g->count * sizeof *r->length);
	for (int64_t i = 0; i < r->table.rows; i++)
		r->length[r->table.seq[i]]++;
	rebus_status status = turn(w->turn, r, a, &r->angles, err);
	return status ? status : turn(w->near_turn, r, a, &r->near_angles, err);
}

/* Places for biases by distance, and the encoder's rows. */
static rebus_status across(const growth *g, run_parts *r, const text_shape *w, arena *a, rebus_error *err)
{
	size_t rows = (size_t)r->table.rows;
	r->order = w->relative ? arena_zero(a, rows, 3 * sizeof *r->order) : NULL;
	r->where_memory = g->memory ? arena_get(a, (size_t)r->feature_rows, sizeof *r->where_memory) : NULL;
	if ((w->relative && !r->order) || (g->memory && !r->where_memory))
		return error_memory(err, "a run");
	for (size_t i = 0; r->order && i < rows; i++)
		r->order[3 * i] = r->table.order[i];
	for (int64_t i = 0; r->where_memory && i < r->feature_rows; i++)
		r->where_memory[i] = (int32_t)i;
	return g->memory ? tokens_layout_across(a, &r->table, g->memory, g->beams, &r->cross, err) : REBUS_OK;
}

/* Maps, layout and angles of the table that is in r; everything from arena a. */
static rebus_status complete(const growth *g, run_parts *r, arena *a, rebus_error *err)
{
	rebus_status status;
	const rebus_model *m = g->s->m;
	const text_shape *w = m->text.f->words(m->text.config);
	int64_t rows = r->table.rows, base[TOKEN_KINDS] = {0, w->vocabulary, -1, -1, -1};
	r->where = arena_get(a, (size_t)rows, sizeof *r->where);
	if (!r->where)
		return error_memory(err, "a run");
	TRY(tokens_map_sources(a, &r->table, base, w->vocabulary + (g->memory ? 0 : r->feature_rows), &r->source, err));
	TRY(tokens_map_pick(a, r->picked, r->picked_count, rows, &r->pick, err));
	TRY(tokens_layout_cached(a, &r->table, g->region, g->past, r->where, &r->self, err));
	if (w->window)
		TRY(tokens_layout_near(a, &r->self, rows, w->window, &r->near, err));
	if (w->learned_order)
		TRY(tokens_map_order(a, &r->table, w->order_offset, w->order_offset + w->positions, &r->position, err));
	TRY(turns(g, r, w, a, err));
	TRY(across(g, r, w, a, err));
done:
	return status;
}

static net_run feed_of(const growth *g, const run_parts *r)
{
	return (net_run){.table = &r->table, .features = r->features, .feature_rows = r->feature_rows, .source = &r->source, .position = &r->position,
		.pick = &r->pick, .self = &r->self, .near = &r->near, .angles = r->angles, .near_angles = r->near_angles, .where = r->where,
		.where_memory = r->where_memory, .order = r->order, .cache_order = g->cache_order, .cross = &r->cross};
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
		if (i % g->beams) {
			g->logits_at[i] = g->logits_at[i - 1];
			continue;
		}
		for (int32_t k = 0; k < q->count; k++) {
			bool image = q->picture[k] >= 0;
			tokens_add(&r->table, image ? TOKEN_IMAGE : TOKEN_TEXT, i, k, q->picture[k], image ? feature++ : q->ids[k]);
		}
		if (!g->all)
			r->picked[r->picked_count++] = (int32_t)r->table.rows - 1;
		g->logits_at[i] = g->all ? (int32_t)r->table.rows - 1 : (int32_t)r->picked_count - 1;
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
	net_run fed = feed_of(g, &r);
	TRY(net_feed(&g->s->text.n, &fed, &a, &f, err));
	TRY(run(g, &r, &f, err));
done:
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ begin, step, end */
static size_t turned(const rope *r)
{
	return r ? 2 * (size_t)r->half : 1;
}

/* A step's objects: at most 20 columns, each of at most a cache line's rounding, the angles, and what feed_new takes. */
static size_t step_bytes(const growth *g)
{
	const rebus_model *m = g->s->m;
	const net *n = &g->s->text.n;
	const text_shape *w = m->text.f->words(m->text.config);
	size_t rows = (size_t)g->step_rows + 1, width = turned(w->turn) + turned(w->near_turn);
	return 32 * (rows * sizeof(segment) + 128) + rows * width * sizeof(float) + ((size_t)graph_spaces(n->g) + (size_t)graph_slots(n->g) + 4) * 16 + 4096;
}

/* Does it grow beyond the length from which on it must be read again? */
static bool restarts(const growth *g, const text_shape *w, int32_t i, int32_t max_tokens)
{
	bool own = g->s->m->self.f->words; /* a composed model's reference does not */
	return own && w->restart && g->list[i].count <= w->restart && g->list[i].count + (int64_t)max_tokens > w->restart;
}

static rebus_status keep_grown(growth *g, const text_shape *w, int32_t max_tokens, int64_t *rows, rebus_error *err)
{
	int64_t again = 0;
	g->grown = arena_zero(&g->fixed, (size_t)g->count, sizeof *g->grown);
	for (int32_t i = 0; g->grown && i < g->count; i++) {
		if (!restarts(g, w, i, max_tokens))
			continue;
		again += w->restart + 1;
		g->grown[i] = arena_get(&g->fixed, (size_t)max_tokens, sizeof **g->grown);
		if (!g->grown[i])
			return error_memory(err, "an answer");
	}
	g->step_rows = again + g->count;
	*rows = int_max(*rows, again ? g->step_rows : 0);
	return g->grown ? REBUS_OK : error_memory(err, "an answer");
}

/* What grows where an encoder reads the prompts: an id each. */
static rebus_status begin_answers(growth *g, rebus_session *s, int32_t count, const sequence **out, rebus_error *err)
{
	sequence *list = arena_get(&g->fixed, (size_t)count, sizeof *list);
	int32_t *both = arena_get(&g->fixed, (size_t)count, 2 * sizeof *both);
	if (!list || !both)
		return error_memory(err, "an answer");
	for (int32_t i = 0; i < count; i++) {
		both[2 * i] = (int32_t)s->m->text.f->words(s->m->text.config)->start;
		both[2 * i + 1] = -1;
		list[i] = (sequence){.ids = &both[2 * i], .picture = &both[2 * i + 1], .count = 1};
	}
	*out = list;
	return REBUS_OK;
}

/* An empty growth; with an encoder also room for where its rows are, and what the answers begin with. */
static rebus_status start(growth *g, rebus_session *s, int32_t count, int32_t beams, const sequence **starts, rebus_error *err)
{
	*g = (growth){.s = s, .count = count * beams, .beams = beams};
	arena_init(&g->fixed, s->m->mem.from, 0);
	arena_init(&g->step, s->m->mem.from, 0);
	if (!s->m->self.f->build_encoder)
		return REBUS_OK;
	g->memory = arena_zero(&g->fixed, (size_t)count + 1, sizeof *g->memory);
	if (!g->memory)
		return error_memory(err, "an answer");
	return *starts ? REBUS_OK : begin_answers(g, s, count, starts, err);
}

/* A sequence for each beam of each prompt. */
static rebus_status fan_out(growth *g, const sequence *prompts, rebus_error *err)
{
	sequence *list = g->beams > 1 ? arena_get(&g->fixed, (size_t)g->count, sizeof *list) : NULL;
	if (g->beams > 1 && !list)
		return error_memory(err, "an answer");
	for (int32_t i = 0; list && i < g->count; i++)
		list[i] = prompts[i / g->beams];
	g->list = list ? list : prompts;
	return REBUS_OK;
}

/* Everything but what lies in plans; size: what the plan is made for. growth_end also after a failure. */
static rebus_status prepare(growth *g, rebus_session *s, const sequence *prompts, int64_t feature_rows, int32_t max_tokens, bool all, net_size *size,
                            rebus_error *err)
{
	rebus_status status;
	int32_t count = g->count;
	g->all = all;
	TRY(fan_out(g, prompts, err));
	const sequence *list = g->list;
	const text_shape *w = s->m->text.f->words(s->m->text.config);
	size_t n = (size_t)count + 1;
	g->region = arena_zero(&g->fixed, n, sizeof(int32_t));
	g->past = arena_zero(&g->fixed, n, sizeof(int32_t));
	g->row = arena_zero(&g->fixed, n, sizeof(int32_t));
	g->logits_at = arena_zero(&g->fixed, n, sizeof(int32_t));
	if (!g->region || !g->past || !g->row || !g->logits_at)
		return error_memory(err, "an answer");
	TRY(check_lengths(g, w, err));
	int64_t rows = total_rows(g), cache = g->beams * rows + (int64_t)count * max_tokens;
	if (cache > INT32_MAX / 4)
		return error_set(err, REBUS_LIMIT, "%lld tokens with their answers in one call", (long long)cache);
	for (int32_t i = 0; i + 1 < count; i++)
		g->region[i + 1] = g->region[i] + list[i].count + max_tokens;
	TRY(keep_grown(g, w, max_tokens, &rows, err));
	rows = int_max(rows, count);
	*size = (net_size){.rows = rows, .features = feature_rows, .picked = all ? rows : count, .cache = cache, .memory = g->memory ? feature_rows : 0};
done:
	return status;
}

static rebus_status place_cache(growth *g, int64_t rows, rebus_error *err)
{
	g->cache_order = arena_zero(&g->fixed, (size_t)rows, 3 * sizeof *g->cache_order);
	if (!g->cache_order)
		return error_memory(err, "an answer");
	for (int32_t i = 0; i < g->count; i++)
		for (int64_t k = g->region[i]; k < (i + 1 < g->count ? g->region[i + 1] : rows); k++)
			g->cache_order[3 * k] = (int32_t)k - g->region[i];
	return REBUS_OK;
}

/* The prompts through the encoder; its rows are the features of what grows. */
static rebus_status read_prompts(growth *g, rebus_session *s, const sequence *list, int32_t count, net_wants wants, plan_rows *features, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, s->m->mem.from, 0);
	TRY(session_encode(s, list, count, wants, &a, g->memory, err));
	if (!session_output(&s->encoder, "encoder_last_hidden_state", features, NULL))
		status = error_set(err, REBUS_UNSUPPORTED, "the encoder of a %s model gives no rows", rebus_model_family(s->m));
done:
	arena_free(&a);
	return status;
}

/* The cache of what was read, for the other beams of each prompt. */
static void share_prompts(growth *g)
{
	for (int32_t i = 0; i < g->count; i++) {
		int32_t first = i - i % g->beams;
		if (i == first)
			continue;
		g->past[i] = g->past[first];
		plan_copy_cached(g->s->text.p, g->s->text.n.cache, g->region[i], g->region[first], g->past[i]);
	}
}

static rebus_status begin(growth *g, rebus_session *s, const sequence *list, const sequence *starts, int32_t count, plan_rows features, int32_t max_tokens,
	int32_t beams, net_wants wants, bool all, rebus_error *err)
{
	rebus_status status;
	net_size size;
	TRY(start(g, s, count, beams, &starts, err));
	if (g->memory)
		TRY(read_prompts(g, s, list, count, wants, &features, err));
	TRY(prepare(g, s, g->memory ? starts : list, features.rows, max_tokens, all, &size, err));
	TRY(session_net(s, NET_TEXT, size, wants, err));
	if (s->text.n.cache_order)
		TRY(place_cache(g, s->text.n.size.cache, err));
	if (features.rows && s->text.n.features_in && features.width != graph_slot_info(s->text.n.g, s->text.n.features_in)->width)
		return error_set(err, REBUS_SHAPE, "the projector gives %lld columns, the text model reads %lld", (long long)features.width,
			(long long)graph_slot_info(s->text.n.g, s->text.n.features_in)->width);
	TRY(prefill(g, features, err));
	share_prompts(g);
	if (!arena_reserve(&g->step, step_bytes(g)))
		return error_memory(err, "an answer");
	g->step_mark = arena_here(&g->step);
done:
	return status;
}

rebus_status growth_begin(growth *g, rebus_session *s, const sequence *list, const sequence *starts, int32_t count, plan_rows features, int32_t max_tokens,
	net_wants wants, bool all, rebus_error *err)
{
	return begin(g, s, list, starts, count, features, max_tokens, 1, wants, all, err);
}

rebus_status growth_begin_beams(growth *g, rebus_session *s, const sequence *list, int32_t count, plan_rows features, int32_t max_tokens, int32_t beams,
                                rebus_error *err)
{
	if (beams < 1 || beams > BEAMS_MOST || count > INT32_MAX / 4 / beams)
		return error_set(err, REBUS_MISUSE, "%d beams of %d prompts, expected 1 to %d", beams, count, BEAMS_MOST);
	return begin(g, s, list, NULL, count, features, max_tokens, beams, (net_wants){0}, false, err);
}

void growth_select(growth *g, int32_t first, const int32_t *parent)
{
	int32_t region[BEAMS_MOST], unused[BEAMS_MOST], count = 0, *grown[BEAMS_MOST];
	bool kept[BEAMS_MOST] = {false}, own[BEAMS_MOST];
	for (int32_t i = 0; i < g->beams; i++) {
		own[i] = !kept[parent[i]];
		kept[parent[i]] = true;
	}
	for (int32_t i = 0; i < g->beams; i++) {
		region[i] = g->region[first + i];
		grown[i] = g->grown[first + i];
		if (!kept[i])
			unused[count++] = i;
	}
	for (int32_t i = 0; i < g->beams; i++) {
		int32_t from = parent[i], to = own[i] ? from : unused[--count], prompt = g->list[first].count, more = g->past[first] - prompt;
		g->region[first + i] = region[to];
		g->grown[first + i] = grown[to];
		if (own[i])
			continue;
		plan_copy_cached(g->s->text.p, g->s->text.n.cache, region[to] + prompt, region[from] + prompt, more);
		if (grown[to])
			memcpy(grown[to], grown[from], (size_t)more * sizeof **grown);
	}
}

rebus_status growth_measure(rebus_session *s, const sequence *list, int32_t count, int64_t feature_rows, int32_t max_tokens, arena *a, size_t *plan_bytes,
                            rebus_error *err)
{
	rebus_status status;
	growth g;
	net_size size;
	size_t read = 0;
	const sequence *starts = NULL;
	TRY(start(&g, s, count, 1, &starts, err));
	if (g.memory) {
		TRY(session_measure_encode(s, list, count, a, g.memory, &read, err));
		feature_rows = g.memory[count];
	}
	run_parts r = {.feature_rows = feature_rows};
	TRY(prepare(&g, s, g.memory ? starts : list, feature_rows, max_tokens, false, &size, err));
	TRY(lay_out(&g, &r, a, err));
	TRY(session_measure_net(s, NET_TEXT, size, plan_bytes, err));
	*plan_bytes += read;
done:
	growth_end(&g);
	return status;
}

/* The next row of sequence i; before it, all others once more where the sequence has to be read again. */
static void add_next(growth *g, run_parts *r, int32_t i, int32_t id)
{
	const text_shape *w = g->s->m->text.f->words(g->s->m->text.config);
	const sequence *q = &g->list[i];
	if (g->grown[i]) {
		g->grown[i][g->past[i] - q->count] = id;
		if (g->past[i] == w->restart) {
			for (int32_t k = 0; k < g->past[i]; k++)
				tokens_add(&r->table, TOKEN_TEXT, i, k, -1, k < q->count ? q->ids[k] : g->grown[i][k - q->count]);
			g->past[i] = 0;
		}
	}
	int32_t at = g->past[i] ? g->past[i] : (int32_t)w->restart;
	tokens_add(&r->table, TOKEN_TEXT, i, at, -1, id);
}

rebus_status growth_step(growth *g, const int32_t *id, rebus_error *err)
{
	rebus_status status;
	run_parts r = {0};
	feed f;
	arena_release(&g->step, g->step_mark);
	TRY(tokens_new(&g->step, g->step_rows, &r.table, err));
	r.picked = arena_get(&g->step, (size_t)g->count, sizeof *r.picked);
	if (!r.picked)
		return error_memory(err, "a step");
	for (int32_t i = 0; i < g->count; i++) {
		g->logits_at[i] = id[i] < 0 ? -1 : (int32_t)r.picked_count;
		if (id[i] < 0)
			continue;
		add_next(g, &r, i, id[i]);
		r.picked[r.picked_count++] = (int32_t)r.table.rows - 1;
	}
	TRY(complete(g, &r, &g->step, err));
	net_run fed = feed_of(g, &r);
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
