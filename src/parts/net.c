/* net.c - see net.h. */
#include "parts/net.h"

#include <string.h>

bool net_size_fits(const net_size *have, const net_size *need)
{
	bool fits = need->rows <= have->rows && need->patches <= have->patches && need->features <= have->features && need->picked <= have->picked &&
		need->cache <= have->cache && !need->cache == !have->cache && need->memory <= have->memory &&
		!need->memory == !have->memory && need->whole <= have->whole;
	for (int32_t s = 0; s < PYRAMID_STAGES; s++)
		fits = fits && need->stage_rows[s] <= have->stage_rows[s] && need->window_rows[s][0] <= have->window_rows[s][0] &&
			need->window_rows[s][1] <= have->window_rows[s][1];
	return fits;
}

bool net_size_join(net_size *to, const net_size *other)
{
	if (to->cache || other->cache)
		return false;
	to->rows = int_max(to->rows, other->rows);
	to->patches = int_max(to->patches, other->patches);
	to->features = int_max(to->features, other->features);
	to->picked = int_max(to->picked, other->picked);
	to->whole = int_max(to->whole, other->whole);
	for (int32_t s = 0; s < PYRAMID_STAGES; s++) {
		to->stage_rows[s] = int_max(to->stage_rows[s], other->stage_rows[s]);
		for (int32_t k = 0; k < 2; k++)
			to->window_rows[s][k] = int_max(to->window_rows[s][k], other->window_rows[s][k]);
	}
	return true;
}

static void add_stages(net *n)
{
	for (int32_t s = 0; s < PYRAMID_STAGES && n->size.stage_rows[s]; s++) {
		n->stage[s].rows = s ? graph_space(n->g, "rows of a stage", n->size.stage_rows[s]) : n->rows;
		for (int32_t v = 0; v < 2; v++)
			n->stage[s].cut[v].rows = graph_space(n->g, v ? "shifted windows" : "windows", n->size.window_rows[s][v]);
	}
}

rebus_status net_new(net *n, const rebus_allocator *from, net_size size, net_wants wants, rebus_error *err)
{
	*n = (net){.size = size, .wants = wants};
	arena_init(&n->mem, from, 0);
	rebus_status status = graph_new(from, wants.train, &n->g, err);
	if (status)
		return status;
	n->outputs = arena_get(&n->mem, NET_OUTPUTS, sizeof *n->outputs);
	if (!n->outputs) {
		net_free(n);
		return error_memory(err, "a graph");
	}
	n->rows = graph_space(n->g, "tokens", size.rows);
	n->picked = graph_space(n->g, "rows asked for", size.picked);
	n->patches = graph_space(n->g, "patches", size.patches);
	n->features = graph_space(n->g, "picture features", size.features);
	n->cache = graph_space(n->g, "cache", size.cache);
	n->memory = graph_space(n->g, "memory", size.memory);
	n->whole.rows = graph_space(n->g, "whole pictures", size.whole);
	add_stages(n);
	status = graph_check(n->g, err);
	if (status)
		net_free(n);
	return status;
}

void net_free(net *n)
{
	graph_free(n->g);
	arena_free(&n->mem);
	*n = (net){0};
}

void net_see(net *n, const char *name, node_id id, output_kind kind, bool essential)
{
	if (!id || !(essential || n->wants.all || n->wants.train))
		return;
	if (n->output_count == NET_OUTPUTS) {
		graph_fail(n->g, REBUS_LIMIT, "%s: more than %d outputs", name, NET_OUTPUTS);
		return;
	}
	graph_keep(n->g, id);
	n->outputs[n->output_count++] = (net_output){.name = name, .node = id, .kind = kind};
}

void net_see_stage(net *n, const char *name, node_id id, int32_t stage)
{
	int32_t count = n->output_count;
	net_see(n, name, id, OUTPUT_ROWS, false);
	if (n->output_count > count)
		n->outputs[count].stage = stage;
}

void net_see_grid(net *n, const char *name, node_id id, int32_t stage)
{
	int32_t count = n->output_count;
	net_see_stage(n, name, id, stage);
	if (n->output_count > count)
		n->outputs[count].grid = true;
}

void net_see_hidden(net *n, const char *prefix, int64_t layer, node_id id)
{
	if (n->wants.train)
		graph_mark(n->g, id);
	if (n->wants.hidden)
		net_see(n, graph_text(n->g, "%shidden_states.%lld", prefix, (long long)layer), id, OUTPUT_ROWS, false);
}

const net_output *net_find(const net *n, const char *name)
{
	for (int32_t i = 0; i < n->output_count; i++)
		if (!strcmp(n->outputs[i].name, name))
			return &n->outputs[i];
	return NULL;
}

/* The picture of each row of a stage. */
static rebus_status feed_samples(const net_stage *to, const pyramid_stage *from, arena *a, feed *out, rebus_error *err)
{
	if (!to->sample)
		return REBUS_OK;
	int32_t *sample = arena_get(a, (size_t)from->rows + 1, sizeof *sample);
	if (!sample)
		return error_memory(err, "a run");
	for (int64_t r = 0, i = 0; r < from->rows; r++) {
		while (r >= from->row[i + 1])
			i++;
		sample[r] = (int32_t)i;
	}
	out->at[to->sample] = sample;
	return REBUS_OK;
}

static void feed_stage(const net_stage *to, const pyramid_stage *from, feed *out)
{
	out->rows[to->rows] = from->rows;
	if (to->merge)
		out->at[to->merge] = &from->merge;
	for (int32_t v = 0; v < 2; v++) {
		const net_cut *c = &to->cut[v];
		out->rows[c->rows] = from->cut[v].rows;
		if (!c->into)
			continue;
		out->at[c->into] = &from->cut[v].into;
		out->at[c->back] = &from->cut[v].back;
		out->at[c->at] = &from->cut[v].at;
		out->at[c->place] = from->cut[v].place;
	}
}

static void feed_whole(const net_whole *to, const whole_run *from, feed *out)
{
	out->rows[to->rows] = from ? from->rows : 0;
	if (!from || !to->source)
		return;
	out->at[to->source] = &from->source;
	out->at[to->position] = &from->position;
	out->at[to->self] = &from->self;
	out->at[to->patches] = &from->patches;
	out->at[to->dropped] = from->dropped;
}

rebus_status net_feed(const net *n, const net_run *r, arena *a, feed *out, rebus_error *err)
{
	rebus_status status = feed_new(a, n->g, out, err);
	if (status)
		return status;
	out->rows[n->rows] = r->table->rows;
	out->rows[n->picked] = r->pick ? r->pick->rows_out : 0;
	out->rows[n->patches] = r->patch_rows;
	out->rows[n->features] = r->feature_rows;
	out->rows[n->cache] = n->size.cache;
	out->rows[n->memory] = n->size.memory;
	const void *values[] = {r->patches, r->features, r->source, r->position, r->self, r->near, r->angles, r->near_angles,
		r->where, r->pick, r->pool, r->probe, r->cross, r->segment,
		r->where_memory, r->order, r->cache_order};
	slot slots[] = {n->patches_in, n->features_in, n->source, n->position, n->self, n->near, n->angles_in, n->near_angles_in,
		n->where, n->pick, n->pool, n->probe, n->cross, n->segment,
		n->where_memory, n->order, n->cache_order};
	static const float nothing[1];
	for (size_t i = 0; i < COUNT_OF(slots); i++)
		if (slots[i])
			out->at[slots[i]] = values[i] ? values[i] : i < 2 ? nothing : NULL; /* an input without rows has no memory */
	feed_whole(&n->whole, r->whole, out);
	if (n->sample)
		out->at[n->sample] = r->table->seq;
	for (int32_t s = 0; r->windows && s < r->windows->stages && !status; s++) {
		feed_stage(&n->stage[s], &r->windows->stage[s], out);
		status = feed_samples(&n->stage[s], &r->windows->stage[s], a, out, err);
	}
	return status;
}
