/* parameters.c - see parameters.h. */
#include "train/parameters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/json.h"
#include "text/regex.h"
#include "train/crew.h"

enum { MOST = 1 << 20 };

/* ------------------------------------------------------------------------------------------------ collecting */
static parameter *find(const parameters *list, const float *value)
{
	for (int32_t i = 0; i < list->count; i++)
		if (list->at[i].value == value)
			return &list->at[i];
	return NULL;
}

static rebus_status add_source(parameters *list, parameter p, gradient_source source, rebus_error *err)
{
	parameter *x = find(list, p.value); /* a tied weight has a gradient from each of its uses */
	if (!x) {
		if (list->count == MOST)
			return error_set(err, REBUS_LIMIT, "training: more than %d tensors", MOST);
		x = &list->at[list->count++];
		*x = p;
	}
	if (x->sources == GRADIENT_SOURCES || x->count != p.count)
		return error_set(err, REBUS_UNSUPPORTED, "%.100s: is used in more than %d places", p.name, GRADIENT_SOURCES);
	x->source[x->sources++] = source;
	return REBUS_OK;
}

static rebus_status add_node(parameters *list, const net *n, node_id id, plan *const *plan, const bool *live, rebus_error *err)
{
	const node *x = graph_node(n->g, id);
	node_id d = graph_gradient_of(n->g, id);
	bool bias = x->a.which == 1, vector = bias || x->w->f32;
	int64_t row = 0;
	for (int32_t k = 0; d && k < x->w->parts; k++) {
		const matrix *m = &x->w->part[k];
		const void *value = bias ? (const void *)x->w->bias[k] : m->data;
		parameter p = {.name = bias ? x->w->bias_name[k] : m->name, .value = (float *)(uintptr_t)value, .rows = m->out, .width = bias ? 1 : m->in,
			.turned = m->turned && !bias, .plus_one = m->plus_one && !bias, .matrix = !vector && m->out > 1 && m->in > 1};
		p.count = p.rows * p.width;
		gradient_source source = {plan, live, d, vector ? 0 : row};
		if (vector)
			source.row0 = -1 - row; /* columns of the one row */
		row += m->out;
		if (!value)
			continue;
		rebus_status status = add_source(list, p, source, err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

rebus_status parameters_add(parameters *list, arena *a, const net *n, plan *const *plan, const bool *live, rebus_error *err)
{
	int32_t room = list->count;
	for (node_id id = 1; id <= graph_count(n->g); id++)
		room += graph_node(n->g, id)->op == &op_param ? WEIGHT_PARTS : 0;
	parameter *at = arena_zero(a, (size_t)room + 1, sizeof *at);
	if (!at)
		return error_memory(err, "parameters");
	if (list->count)
		memcpy(at, list->at, (size_t)list->count * sizeof *at);
	list->at = at;
	for (node_id id = 1; id <= graph_count(n->g); id++) {
		rebus_status status = graph_node(n->g, id)->op == &op_param ? add_node(list, n, id, plan, live, err) : REBUS_OK;
		if (status)
			return status;
	}
	return REBUS_OK;
}

rebus_status parameters_add_number(parameters *list, arena *a, const char *name, float *value, const float *gradient, rebus_error *err)
{
	parameter *at = arena_zero(a, (size_t)list->count + 1, sizeof *at);
	if (!at)
		return error_memory(err, "parameters");
	if (list->count)
		memcpy(at, list->at, (size_t)list->count * sizeof *at);
	at[list->count++] = (parameter){.name = name, .value = value, .rows = 1, .width = 1, .count = 1, .given = gradient};
	list->at = at;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ names */
typedef struct pattern {
	text_regex *r;
	regex_run run;
} pattern;

static rebus_status pattern_open(pattern *p, const char *text, const char *what, rebus_error *err)
{
	*p = (pattern){0};
	if (!text)
		return REBUS_OK;
	rebus_status status = regex_open(text, strlen(text), what, &p->r, err);
	return status ? status : regex_run_begin(&p->run, 1 << 20, err);
}

static void pattern_close(pattern *p)
{
	if (p->r)
		regex_run_end(&p->run);
	regex_close(p->r);
}

static rebus_status pattern_finds(pattern *p, const char *name, bool *found, rebus_error *err)
{
	regex_at at = {0};
	*found = false;
	return name && p->r ? regex_next(p->r, &p->run, name, strlen(name), &at, found, err) : REBUS_OK;
}

typedef struct freezer {
	const freeze_rule *rule;
	pattern frozen, whole;
} freezer;

static rebus_status freezer_open(freezer *f, const freeze_rule *rule, rebus_error *err)
{
	*f = (freezer){.rule = rule};
	rebus_status status = pattern_open(&f->frozen, rule->pattern, "freeze", err);
	return status || !rule->set ? status : pattern_open(&f->whole, rule->set->plan.whole, "lora-whole", err);
}

static void freezer_close(freezer *f)
{
	pattern_close(&f->frozen);
	pattern_close(&f->whole);
}

static rebus_status freezes(freezer *f, const char *name, bool *out, rebus_error *err)
{
	const adapter_set *s = f->rule->set;
	bool whole = false;
	rebus_status status = pattern_finds(&f->frozen, name, out, err);
	if (status || *out || !s || !name || adapter_is_key(name))
		return status;
	status = pattern_finds(&f->whole, name, &whole, err);
	for (int32_t i = 0; i < s->whole_count; i++)
		whole |= !strcmp(s->whole[i].name, name);
	*out = !whole;
	return status;
}

rebus_status parameters_freeze(graph *g, const freeze_rule *rule, rebus_error *err)
{
	freezer f;
	rebus_status status = freezer_open(&f, rule, err);
	for (node_id id = 1; id <= graph_count(g) && !status; id++) {
		const node *n = graph_node(g, id);
		bool all = n->op == &op_param, one;
		for (int32_t k = 0; all && !status && k < n->w->parts; k++) {
			const char *name = n->a.which == 1 ? n->w->bias_name[k] : n->w->part[k].name;
			status = freezes(&f, name, &one, err);
			all = one || !name;
		}
		if (all && !status)
			graph_freeze(g, id);
	}
	freezer_close(&f);
	return status;
}

static rebus_status freeze(parameters *list, const freeze_rule *rule, rebus_error *err)
{
	freezer f;
	rebus_status status = freezer_open(&f, rule, err);
	for (int32_t i = 0; i < list->count && !status; i++)
		status = freezes(&f, list->at[i].name, &list->at[i].frozen, err);
	freezer_close(&f);
	return status;
}

/* One group's rate and decay, for whom no group before found. */
static rebus_status set_group(parameters *list, const json *group, const recipe *r, bool *taken, rebus_error *err)
{
	const char *match = json_text(json_get(group, "match"), NULL);
	double rate = r->rate, decay = -1;
	json_each it = json_first(group);
	pattern p;
	bool sound = match != NULL;
	while (json_next(&it))
		sound &= !strcmp(it.key, "match") || (!strcmp(it.key, "rate") && json_real(it.value, &rate) && rate >= 0 && rate <= 1e3) ||
			(!strcmp(it.key, "decay") && json_real(it.value, &decay) && decay >= 0 && decay <= 1e3);
	if (!sound)
		return error_set(err, REBUS_MISUSE, "groups: expected [{\"match\": EXPRESSION, \"rate\": R, \"decay\": D}, ...], rate or decay may be missing");
	rebus_status status = pattern_open(&p, match, "groups", err);
	for (int32_t i = 0; i < list->count && !status; i++) {
		bool found = false;
		status = taken[i] ? REBUS_OK : pattern_finds(&p, list->at[i].name, &found, err);
		if (!found)
			continue;
		taken[i] = true;
		list->at[i].rate *= r->rate > 0 ? rate / r->rate : 0;
		list->at[i].decay = decay >= 0 ? decay : list->at[i].decay;
	}
	pattern_close(&p);
	return status;
}

static rebus_status set_groups(parameters *list, arena *a, const recipe *r, rebus_error *err)
{
	rebus_status status;
	json *j = NULL;
	bool *taken = arena_zero(a, (size_t)list->count + 1, sizeof *taken);
	TRY(taken ? REBUS_OK : error_memory(err, "parameters"));
	TRY(json_parse(r->groups, strlen(r->groups), "groups", 10000, &j, err));
	if (json_kind_of(j) != JSON_LIST) {
		status = error_set(err, REBUS_MISUSE, "groups: expected a list [{\"match\": EXPRESSION, \"rate\": R, \"decay\": D}, ...]");
		goto done;
	}
	for (size_t i = 0; i < json_count(j); i++)
		TRY(set_group(list, json_at(j, i), r, taken, err));
done:
	json_free(j);
	return status;
}

/* The number after "layer.", "layers." or "blocks." in a name, -1 none. */
static int64_t layer_of(const char *name)
{
	static const char *const words[] = {"layer.", "layers.", "blocks."};
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		const char *at = strstr(name, words[i]);
		if (at && at[strlen(words[i])] >= '0' && at[strlen(words[i])] <= '9')
			return strtoll(at + strlen(words[i]), NULL, 10);
	}
	return -1;
}

/* Embeddings are layer 0, block i is i + 1, what follows is the last (Bao et al. 2022). */
static void decay_layers(parameters *list, double decay)
{
	int64_t most = -1;
	for (int32_t i = 0; i < list->count; i++)
		most = int_max(most, layer_of(list->at[i].name));
	for (int32_t i = 0; i < list->count; i++) {
		int64_t layer = layer_of(list->at[i].name);
		bool embedding = layer < 0 && strstr(list->at[i].name, "embed");
		int64_t id = embedding ? 0 : layer >= 0 ? layer + 1 : most + 2;
		list->at[i].rate = pow(decay, (double)(most + 2 - id));
	}
}

/* ------------------------------------------------------------------------------------------------ memory */
static bool keep_room(parameter *p, arena *a, const recipe *r)
{
	bool adam = !strcmp(r->optimiser, "adamw"), more = r->accumulate > 1 || p->sources > 1;
	size_t n = (size_t)p->count;
	p->moment1 = arena_zero(a, n, sizeof(float));
	p->moment2 = adam ? arena_zero(a, n, sizeof(float)) : NULL;
	p->sum = more ? arena_zero(a, n, sizeof(float)) : NULL;
	p->average = r->ema > 0 ? arena_get(a, n, sizeof(float)) : NULL;
	if (p->average)
		memcpy(p->average, p->value, n * sizeof(float));
	return p->moment1 && (p->moment2 || !adam) && (p->sum || !more) && (p->average || r->ema <= 0);
}

static rebus_status cut(parameters *list, arena *a, rebus_error *err)
{
	for (int32_t i = 0; i < list->count; i++)
		list->piece_count += ceil_div(list->at[i].count, PIECE);
	list->pieces = arena_get(a, (size_t)list->piece_count, sizeof *list->pieces);
	list->part = arena_zero(a, (size_t)list->piece_count, 4 * sizeof *list->part);
	if (!list->pieces || !list->part)
		return error_memory(err, "parameters");
	int64_t n = 0;
	for (int32_t i = 0; i < list->count; i++)
		for (int64_t at = 0; at < list->at[i].count; at += PIECE)
			list->pieces[n++] = (piece_of){i, at, int_min(PIECE, list->at[i].count - at)};
	return REBUS_OK;
}

rebus_status parameters_ready(parameters *list, arena *a, const recipe *r, const freeze_rule *rule, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (int32_t i = 0; i < list->count; i++) {
		parameter *p = &list->at[i];
		p->rate = 1;
		p->decay = p->matrix ? r->weight_decay : r->decay_vectors;
	}
	if (r->layer_decay < 1)
		decay_layers(list, r->layer_decay);
	if (r->groups)
		TRY(set_groups(list, a, r, err));
	TRY(freeze(list, rule, err));
	for (int32_t i = 0; i < list->count; i++) {
		if (!list->at[i].frozen && !keep_room(&list->at[i], a, r)) {
			status = error_memory(err, "the optimiser");
			goto done;
		}
		list->values += list->at[i].frozen ? 0 : list->at[i].count;
	}
	TRY(cut(list, a, err));
	if (!list->values)
		status = error_set(err, REBUS_MISUSE, "freeze %s: nothing is left to train", r->freeze ? r->freeze : "");
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ work */
typedef struct pieces_job {
	parameters *list;
	piece_work work;
	void *arg;
} pieces_job;

static void one_piece(void *arg, int64_t piece, int member)
{
	const pieces_job *j = arg;
	(void)member;
	j->work(j->arg, j->list, piece);
}

void parameters_each(parameters *list, const rebus_runner *team, piece_work work, void *arg)
{
	crew_run(team, list->piece_count, one_piece, &(pieces_job){list, work, arg});
}

static const float *source_rows(const gradient_source *s)
{
	plan_rows g = plan_output(*s->p, s->node); /* rows of a gradient lie side by side */
	return s->row0 < 0 ? g.data + (-1 - s->row0) : g.data + s->row0 * g.stride;
}

typedef struct gathering {
	bool first;
	float share;
} gathering;

/* The k-th place a gradient comes from in this pass; NULL past the last. */
static const float *live_rows(const parameter *p, int32_t k)
{
	for (int32_t i = 0; i < p->sources; i++)
		if (*p->source[i].live && k-- == 0)
			return source_rows(&p->source[i]);
	return k == 0 ? p->given : NULL;
}

static void sum_piece(void *arg, parameters *list, int64_t piece)
{
	const gathering *g = arg;
	const piece_of *c = &list->pieces[piece];
	parameter *p = &list->at[c->parameter];
	if (p->frozen || !p->sum)
		return;
	float *to = p->sum + c->first;
	if (g->first)
		memset(to, 0, (size_t)c->count * sizeof *to);
	const float *from;
	for (int32_t k = 0; (from = live_rows(p, k)); k++)
		for (int64_t i = 0; i < c->count; i++)
			to[i] += g->share * from[c->first + i];
}

void parameters_gather(parameters *list, const rebus_runner *team, bool sum, bool first, float share)
{
	bool any = sum;
	for (int32_t i = 0; i < list->count; i++) {
		parameter *p = &list->at[i];
		const float *from = p->frozen ? NULL : live_rows(p, 0);
		any |= p->sum != NULL;
		p->reached = from || (p->reached && !first);
		p->gradient = !p->reached || p->frozen ? NULL : p->sum ? p->sum : from;
	}
	if (any)
		parameters_each(list, team, sum_piece, &(gathering){first, share});
}
