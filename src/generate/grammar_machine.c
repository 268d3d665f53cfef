/*
 * grammar_machine.c - rules to states and edges over bytes, and what can be said of them before anything runs; see grammar.h.
 *
 *   set of characters    UTF-8's shapes, tails shared:   [é-ñ] ─► C3 ─► A9-B1
 *   repetition           x{2,4}: s0 x s1 x s2 x s3 x s4, s2 and s3 go on to the end; x*: one state with x around it
 *                        what is long is a rule of its own first, so that a copy is one edge
 *
 * Then, each by one pass over edges backwards from the ends: which edges are live (an end can be reached over them), which
 * states reach their rule's end without a byte; and by Tarjan's components, whether a rule may begin with itself.
 */
#include <string.h>

#include "generate/grammar.h"

typedef struct making {
	const rules *r;
	arena *a;
	buf states, edges, starts; /* starts: of all rules, those made here as well */
	rebus_status failed;
	uint32_t depth;
} making;

static uint32_t new_state(making *m)
{
	machine_state s = {0};
	if (m->states.size / sizeof s >= GRAMMAR_STATES_MOST)
		m->failed = REBUS_LIMIT;
	else
		buf_add(&m->states, &s, sizeof s);
	return m->failed || m->states.failed ? 0 : (uint32_t)(m->states.size / sizeof s) - 1;
}

static machine_state *state_at(const making *m, uint32_t i)
{
	return (machine_state *)(void *)m->states.data + i;
}

static bool broken(const making *m)
{
	return m->failed || m->states.failed || m->edges.failed || m->starts.failed;
}

static void add_edge(making *m, uint32_t from, machine_edge e)
{
	if (broken(m))
		return;
	if (m->edges.size / sizeof e >= GRAMMAR_EDGES_MOST) {
		m->failed = REBUS_LIMIT;
		return;
	}
	machine_state *s = state_at(m, from);
	e.next = s->edges;
	buf_add(&m->edges, &e, sizeof e);
	if (!m->edges.failed)
		s->edges = (uint32_t)(m->edges.size / sizeof e);
}

static void add_nothing(making *m, uint32_t from, uint32_t to)
{
	if (from != to)
		add_edge(m, from, (machine_edge){.kind = EDGE_NOTHING, .to = to});
}

static void add_bytes(making *m, uint32_t from, int first, int last, uint32_t to)
{
	add_edge(m, from, (machine_edge){.kind = EDGE_BYTES, .first = (uint8_t)first, .last = (uint8_t)last, .to = to});
}

/* ------------------------------------------------------------------------------------------------ characters */
/* tails[k]: the state from which k more continuation bytes, any, lead to `to`; 0: not made yet */
static uint32_t tail(making *m, uint32_t tails[4], int k)
{
	if (k && !tails[k]) {
		tails[k] = new_state(m);
		add_bytes(m, tails[k], 0x80, 0xBF, tail(m, tails, k - 1));
	}
	return tails[k];
}

/* Characters of n bytes from low to high. */
static void add_same_length(making *m, uint32_t from, const unsigned char *low, const unsigned char *high, int n, uint32_t tails[4])
{
	if (n == 1) {
		add_bytes(m, from, low[0], high[0], tails[0]);
		return;
	}
	if (low[0] == high[0]) {
		uint32_t next = new_state(m);
		add_bytes(m, from, low[0], low[0], next);
		add_same_length(m, next, low + 1, high + 1, n - 1, tails);
		return;
	}
	static const unsigned char least[4] = {0x80, 0x80, 0x80, 0x80}, most[4] = {0xBF, 0xBF, 0xBF, 0xBF};
	bool low_whole = !memcmp(low + 1, least, (size_t)n - 1), high_whole = !memcmp(high + 1, most, (size_t)n - 1);
	int begin = low[0] + !low_whole, end = high[0] - !high_whole;
	if (!low_whole) {
		uint32_t next = new_state(m);
		add_bytes(m, from, low[0], low[0], next);
		add_same_length(m, next, low + 1, most, n - 1, tails);
	}
	if (begin <= end)
		add_bytes(m, from, begin, end, tail(m, tails, n - 1));
	if (!high_whole) {
		uint32_t next = new_state(m);
		add_bytes(m, from, high[0], high[0], next);
		add_same_length(m, next, least, high + 1, n - 1, tails);
	}
}

static void make_set(making *m, const grammar_node *node, uint32_t from, uint32_t to)
{
	static const uint32_t ends[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
	uint32_t tails[4] = {to};
	for (size_t i = 0; i < node->size; i++) {
		uint32_t first = node->set[i].first, last = node->set[i].last;
		for (int n = 1; n <= 4 && first <= last; n++) {
			char low[4], high[4];
			if (first > ends[n - 1])
				continue;
			uint32_t end = last < ends[n - 1] ? last : ends[n - 1];
			utf8_put(first, low);
			utf8_put(end, high);
			add_same_length(m, from, (unsigned char *)low, (unsigned char *)high, n, tails);
			first = end + 1;
		}
	}
}

/* ------------------------------------------------------------------------------------------------ nodes */
static void make(making *m, const grammar_node *node, uint32_t from, uint32_t to);

static void make_text(making *m, const grammar_node *node, uint32_t from, uint32_t to)
{
	if (!node->size)
		add_nothing(m, from, to);
	for (size_t i = 0; i < node->size; i++) {
		uint32_t next = i + 1 < node->size ? new_state(m) : to;
		add_bytes(m, from, (unsigned char)node->text[i], (unsigned char)node->text[i], next);
		from = next;
	}
}

static void add_call(making *m, uint32_t from, uint32_t rule, uint32_t to)
{
	add_edge(m, from, (machine_edge){.kind = EDGE_CALL, .rule = rule, .to = to});
}

/* A rule for a node, which has none. */
static uint32_t make_rule(making *m, const grammar_node *node)
{
	uint32_t rule = (uint32_t)(m->starts.size / sizeof(uint32_t)), start = new_state(m), end = new_state(m);
	buf_add(&m->starts, &start, sizeof start);
	if (broken(m))
		return 0;
	state_at(m, end)->end = true;
	make(m, node, start, end);
	return rule;
}

/* Is a copy of it one edge? */
static bool short_node(const grammar_node *n)
{
	return n->kind == NODE_CALL || (n->kind == NODE_TEXT && n->size <= 1) || (n->kind == NODE_SET && n->size == 1 && n->set[0].last < 0x80);
}

static void make_repeat(making *m, const grammar_node *node, uint32_t from, uint32_t to)
{
	const grammar_node *x = node->first;
	bool any = node->max == UINT32_MAX;
	uint64_t copies = any ? (uint64_t)node->min + 1 : node->max;
	bool called = copies > 2 && !short_node(x);
	uint32_t rule = called ? make_rule(m, x) : 0, last = any ? node->min : node->max;
	if (copies > GRAMMAR_STATES_MOST)
		m->failed = REBUS_LIMIT;
	for (uint32_t i = 0; i < last && !broken(m); i++) {
		bool ends = i + 1 == last && !any;
		uint32_t next = ends ? to : new_state(m);
		if (i >= node->min)
			add_nothing(m, from, to);
		if (called)
			add_call(m, from, rule, next);
		else
			make(m, x, from, next);
		from = next;
	}
	if (any) {
		uint32_t loop = new_state(m);
		add_nothing(m, from, loop);
		add_nothing(m, loop, to);
		if (called)
			add_call(m, loop, rule, loop);
		else
			make(m, x, loop, loop);
	} else if (!last) {
		add_nothing(m, from, to);
	}
}

static void make(making *m, const grammar_node *node, uint32_t from, uint32_t to)
{
	if (broken(m))
		return;
	if (++m->depth > 8 * GRAMMAR_DEPTH_MOST) {
		m->failed = REBUS_LIMIT;
		return;
	}
	switch (node->kind) {
	case NODE_TEXT:
		make_text(m, node, from, to);
		break;
	case NODE_SET:
		make_set(m, node, from, to);
		break;
	case NODE_SEQUENCE:
		if (!node->first)
			add_nothing(m, from, to);
		for (const grammar_node *c = node->first; c; c = c->next) {
			uint32_t next = c->next ? new_state(m) : to;
			make(m, c, from, next);
			from = next;
		}
		break;
	case NODE_EITHER:
		for (const grammar_node *c = node->first; c; c = c->next)
			make(m, c, from, to);
		break;
	case NODE_REPEAT:
		make_repeat(m, node, from, to);
		break;
	case NODE_CALL:
		add_call(m, from, (uint32_t)node->rule, to);
		break;
	}
	m->depth--;
}

/* ------------------------------------------------------------------------------------------------ backwards from the ends */
typedef struct backwards {
	machine_edge *edges;
	const machine_state *states;
	const uint32_t *starts;
	uint32_t *from;                /* [edges] */
	uint32_t *into, *next_into;    /* [states], [edges]: edges by the state they lead to, plus 1 */
	uint32_t *calls, *next_call;   /* [rules], [edges]: by the rule they call */
	uint32_t *starts_rule;         /* [states]: rule that begins there plus 1 */
	uint32_t *todo;                /* [states] */
	size_t state_count, edge_count, rule_count;
} backwards;

static rebus_status backwards_make(backwards *b, const making *m, arena *a, rebus_error *err)
{
	*b = (backwards){.edges = (machine_edge *)(void *)m->edges.data, .states = state_at(m, 0), .starts = (const uint32_t *)(const void *)m->starts.data};
	b->state_count = m->states.size / sizeof(machine_state);
	b->edge_count = m->edges.size / sizeof(machine_edge);
	b->rule_count = m->starts.size / sizeof(uint32_t);
	b->from = arena_zero(a, b->edge_count + 1, sizeof(uint32_t));
	b->into = arena_zero(a, b->state_count, sizeof(uint32_t));
	b->next_into = arena_zero(a, b->edge_count + 1, sizeof(uint32_t));
	b->calls = arena_zero(a, b->rule_count, sizeof(uint32_t));
	b->next_call = arena_zero(a, b->edge_count + 1, sizeof(uint32_t));
	b->starts_rule = arena_zero(a, b->state_count, sizeof(uint32_t));
	b->todo = arena_get(a, b->state_count, sizeof(uint32_t));
	if (!b->from || !b->into || !b->next_into || !b->calls || !b->next_call || !b->starts_rule || !b->todo)
		return error_memory(err, "a grammar");
	for (uint32_t s = 0; s < b->state_count; s++)
		for (uint32_t e = b->states[s].edges; e; e = b->edges[e - 1].next) {
			machine_edge *edge = &b->edges[e - 1];
			b->from[e - 1] = s;
			b->next_into[e - 1] = b->into[edge->to];
			b->into[edge->to] = e;
			if (edge->kind == EDGE_CALL) {
				b->next_call[e - 1] = b->calls[edge->rule];
				b->calls[edge->rule] = e;
			}
		}
	for (uint32_t r = 0; r < b->rule_count; r++)
		b->starts_rule[b->starts[r]] = r + 1;
	return REBUS_OK;
}

static void mark(const backwards *b, bool *reached, uint32_t state, size_t *n)
{
	if (reached[state])
		return;
	reached[state] = true;
	b->todo[(*n)++] = state;
}

/* States from which their rule's end can be reached; bytes: over bytes too. reached: [states], cleared. */
static void reach(const backwards *b, bool bytes, bool *reached)
{
	size_t n = 0;
	for (uint32_t s = 0; s < b->state_count; s++)
		if (b->states[s].end)
			mark(b, reached, s, &n);
	while (n) {
		uint32_t s = b->todo[--n];
		for (uint32_t e = b->into[s]; e; e = b->next_into[e - 1]) {
			const machine_edge *edge = &b->edges[e - 1];
			if (edge->kind == EDGE_NOTHING || (edge->kind == EDGE_BYTES && bytes) || (edge->kind == EDGE_CALL && reached[b->starts[edge->rule]]))
				mark(b, reached, b->from[e - 1], &n);
		}
		for (uint32_t e = b->starts_rule[s] ? b->calls[b->starts_rule[s] - 1] : 0; e; e = b->next_call[e - 1])
			if (reached[b->edges[e - 1].to])
				mark(b, reached, b->from[e - 1], &n);
	}
}

/* ------------------------------------------------------------------------------------------------ rules that begin with themselves */
typedef struct search {
	const backwards *b;
	const bool *empty;           /* [states]: reaches its end without a byte */
	uint32_t *number, *low, *at; /* [states]: Tarjan's; at: the edge to look at next, plus 1, and twice that for the return of a call */
	uint32_t *stack, *path;      /* [states] */
	bool *open;
	uint32_t *component;         /* [states] */
} search;

/* The next state that s leads to without a byte; false: no more. A call leads into the rule, and past it where that may be empty. */
static bool next_of(const search *x, uint32_t s, uint32_t *out)
{
	while (x->at[s]) {
		uint32_t at = x->at[s], e = at >> 1;
		const machine_edge *edge = &x->b->edges[e - 1];
		bool second = at & 1;
		bool into = edge->kind == EDGE_CALL && !second;
		x->at[s] = into ? at | 1 : edge->next << 1;
		if (!edge->live || edge->kind == EDGE_BYTES)
			continue;
		if (into)
			*out = x->b->starts[edge->rule];
		else if (edge->kind == EDGE_NOTHING || x->empty[x->b->starts[edge->rule]])
			*out = edge->to;
		else
			continue;
		return true;
	}
	return false;
}

static void components(search *x)
{
	uint32_t count = 0, made = 0;
	size_t depth = 0, open = 0;
	for (uint32_t root = 0; root < x->b->state_count; root++) {
		if (x->number[root])
			continue;
		x->path[depth++] = root;
		while (depth) {
			uint32_t s = x->path[depth - 1], next;
			if (!x->number[s]) {
				x->number[s] = x->low[s] = ++count;
				x->at[s] = x->b->states[s].edges << 1;
				x->stack[open++] = s;
				x->open[s] = true;
			}
			if (next_of(x, s, &next)) {
				if (!x->number[next])
					x->path[depth++] = next;
				else if (x->open[next] && x->number[next] < x->low[s])
					x->low[s] = x->number[next];
				continue;
			}
			depth--;
			if (depth && x->low[s] < x->low[x->path[depth - 1]])
				x->low[x->path[depth - 1]] = x->low[s];
			if (x->low[s] != x->number[s])
				continue;
			made++;
			uint32_t member;
			do {
				member = x->stack[--open];
				x->open[member] = false;
				x->component[member] = made;
			} while (member != s);
		}
	}
}

static rebus_status check_beginnings(const backwards *b, const bool *empty, const rules *r, arena *a, rebus_error *err)
{
	size_t n = b->state_count;
	search x = {b, empty, arena_zero(a, n, 4), arena_zero(a, n, 4), arena_zero(a, n, 4), arena_get(a, n, 4), arena_get(a, n, 4), arena_zero(a, n, 1),
		arena_zero(a, n, 4)};
	if (!x.number || !x.low || !x.at || !x.stack || !x.path || !x.open || !x.component)
		return error_memory(err, "a grammar");
	components(&x);
	for (size_t e = 0; e < b->edge_count; e++) {
		const machine_edge *edge = &b->edges[e];
		if (edge->kind == EDGE_CALL && edge->live && x.component[b->from[e]] == x.component[b->starts[edge->rule]])
			return error_set(err, REBUS_UNSUPPORTED, "grammar: rule %.60s may begin with itself (left recursion), expected that it begins with something else",
				edge->rule < rules_count(r) ? rules_at(r, (int32_t)edge->rule)->name : "of a repetition");
	}
	return REBUS_OK;
}

static rebus_status look_over(const making *m, arena *a, machine *out, rebus_error *err)
{
	rebus_status status;
	backwards b;
	bool *live = arena_zero(a, m->states.size / sizeof(machine_state), 1), *empty = arena_zero(a, m->states.size / sizeof(machine_state), 1);
	if (!live || !empty)
		return error_memory(err, "a grammar");
	TRY(backwards_make(&b, m, a, err));
	reach(&b, true, live);
	reach(&b, false, empty);
	if (!live[b.starts[0]]) {
		status = error_set(err, REBUS_MISUSE, "grammar: no text fits it, however long: every way needs itself, or something that cannot be");
		goto done;
	}
	for (size_t e = 0; e < b.edge_count; e++) {
		machine_edge *edge = &b.edges[e];
		edge->live = live[edge->to] && (edge->kind != EDGE_CALL || live[b.starts[edge->rule]]);
		if (!edge->live || edge->kind != EDGE_BYTES)
			continue;
		state_at(m, b.from[e])->bytes = true;
		for (int byte = edge->first; byte <= edge->last; byte++)
			out->bytes[byte] = true;
	}
	status = check_beginnings(&b, empty, m->r, a, err);
done:
	return status;
}

static void *keep(arena *a, const buf *b)
{
	void *p = arena_get(a, b->size + 1, 1);
	if (p && b->size)
		memcpy(p, b->data, b->size);
	return p;
}

rebus_status machine_make(const rules *r, arena *a, machine *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	making m = {.r = r, .a = a};
	arena scratch;
	arena_init(&scratch, a->from, 0);
	buf_init(&m.states, a->from, 0);
	buf_init(&m.edges, a->from, 0);
	buf_init(&m.starts, a->from, 0);
	*out = (machine){0};
	for (size_t i = 0; i < rules_count(r); i++) {
		uint32_t start = new_state(&m);
		buf_add(&m.starts, &start, sizeof start);
	}
	for (size_t i = 0; i < rules_count(r) && !broken(&m); i++) {
		uint32_t end = new_state(&m);
		if (broken(&m))
			break;
		state_at(&m, end)->end = true;
		make(&m, rules_at(r, (int32_t)i)->body, ((uint32_t *)(void *)m.starts.data)[i], end);
	}
	if (m.failed == REBUS_LIMIT) {
		status = error_set(err, REBUS_LIMIT, "grammar: too large: more than %d states, %d edges or %d levels", GRAMMAR_STATES_MOST, GRAMMAR_EDGES_MOST,
			8 * GRAMMAR_DEPTH_MOST);
		goto done;
	}
	if (broken(&m)) {
		status = error_memory(err, "a grammar");
		goto done;
	}
	TRY(look_over(&m, &scratch, out, err));
	out->state_count = m.states.size / sizeof(machine_state);
	out->edge_count = m.edges.size / sizeof(machine_edge);
	out->rule_count = m.starts.size / sizeof(uint32_t);
	out->states = keep(a, &m.states);
	out->edges = keep(a, &m.edges);
	out->starts = keep(a, &m.starts);
	if (!out->states || !out->edges || !out->starts)
		status = error_memory(err, "a grammar");
done:
	buf_free(&m.states);
	buf_free(&m.edges);
	buf_free(&m.starts);
	arena_free(&scratch);
	return status;
}
