/*
 * template_exec.c - runs statements: loops, macros, blocks that capture, and the whole template.
 *
 *   top buf ◄─ text, {{ }}                        r->out says where output goes
 *      ▲
 *   capture ◄─ {% set x %} {% filter %} {% call %} macros, recursive loops: a buffer of their own, then a value
 *
 * Each body of a loop, macro, block or with has a scope; an `if` has none. A loop gives each turn a fresh scope (the same
 * memory again, unless a macro was made in it), so that what a turn sets is gone in the next.
 *
 * Quirks of the reference that templates may rest on: a loop's filter runs when its item is due, not before; a loop's else
 * also runs if each turn ended by break or continue; macros see variables as they are when called.
 */
#include "text/template_inside.h"

#include <string.h>

static rebus_status exec_body(template_run *r, const node *body);

/* ------------------------------------------------------------------------------------------------ scopes */
static rebus_status scope_push(template_run *r, template_scope *outer, template_scope **out)
{
	template_scope *s = template_get(&r->pool, 1, sizeof *s);
	if (!s)
		return template_no_memory(r);
	s->outer = outer;
	*out = s;
	return REBUS_OK;
}

static rebus_status bind_missing(template_run *r, template_scope *s, const node *missing)
{
	rebus_status status = REBUS_OK;
	value v;
	for (; missing; missing = missing->next) {
		TRY(template_undefined_new(r, &(template_undefined){.name = missing->name}, &v));
		TRY(template_bind(r, s, missing->name, v));
	}
done:
	return status;
}

/* Runs a body in a scope of its own. */
static rebus_status exec_scoped(template_run *r, const node *body, const node *missing)
{
	rebus_status status = REBUS_OK;
	template_scope *before = r->scope, *s = NULL;
	TRY(scope_push(r, before, &s));
	TRY(bind_missing(r, s, missing));
	r->scope = s;
	TRY(exec_body(r, body));
	r->scope = before;
done:
	return status;
}

/* What a body writes, as a text. It and all that waits for it are no longer than the output may be. */
static rebus_status capture(template_run *r, rebus_status (*run)(template_run *, const void *), const void *what, value *out)
{
	rebus_status status = REBUS_OK;
	buf b, *before = r->out;
	size_t held = r->held;
	r->held += before->size;
	buf_init(&b, r->scratch->from, r->held < r->limits.output ? r->limits.output - r->held : 1);
	r->out = &b;
	TRY(run(r, what));
	TRY(template_string_take(r, &b, out));
done:
	r->out = before;
	r->held = held;
	buf_free(&b);
	return status;
}

static rebus_status run_scoped(template_run *r, const void *what)
{
	const node *n = what;
	return exec_scoped(r, n->body, n->missing);
}

static rebus_status run_body(template_run *r, const void *what)
{
	return exec_body(r, what);
}

/* ------------------------------------------------------------------------------------------------ macros */
static rebus_status macro_new(template_run *r, const node *n, value *out)
{
	template_macro *m = template_get(&r->pool, 1, sizeof *m);
	if (!m)
		return template_no_memory(r);
	*m = (template_macro){n, r->scope};
	for (template_scope *s = r->scope; s && !s->kept; s = s->outer)
		s->kept = true;
	*out = (value){.kind = VALUE_MACRO, .as.macro = m};
	return REBUS_OK;
}

/* Takes a keyword out of a call's; VALUE_MISSING: it was not given. */
static value keyword_take(template_args *args, const template_string *name)
{
	for (size_t i = 0; i < args->keyword_count; i++) {
		const template_string *s = args->keywords[i].key.as.text;
		if (s->size == name->size && memcmp(s->data, name->data, s->size) == 0) {
			value v = args->keywords[i].item;
			memmove(&args->keywords[i], &args->keywords[i + 1], (args->keyword_count - i - 1) * sizeof *args->keywords);
			args->keyword_count--;
			return v;
		}
	}
	return (value){.kind = VALUE_MISSING};
}

static rebus_status bind_named(template_run *r, template_scope *s, const char *name, value v)
{
	rebus_status status = REBUS_OK;
	value key;
	TRY(template_string_c(r, name, &key));
	TRY(template_bind(r, s, key.as.text, v));
done:
	return status;
}

static rebus_status bind_extra(template_run *r, template_scope *s, const node *n, template_args *left)
{
	rebus_status status = REBUS_OK;
	value v;
	static const template_string caller_name = {.data = "caller", .size = 6, .points = 6};
	if (n->wants_caller) {
		v = keyword_take(left, &caller_name);
		if (v.kind == VALUE_MISSING)
			TRY(template_undefined_hint(r, "No caller defined", &v));
		TRY(bind_named(r, s, "caller", v));
	}
	if (n->wants_kwargs) {
		TRY(template_map_new(r, VALUE_DICT, &v));
		for (size_t i = 0; i < left->keyword_count; i++)
			TRY(template_map_set(r, v.as.map, left->keywords[i].key, left->keywords[i].item));
		left->keyword_count = 0;
		TRY(bind_named(r, s, "kwargs", v));
	}
	if (n->wants_varargs) {
		TRY(template_seq_new(r, VALUE_TUPLE, left->count, &v));
		for (size_t i = 0; i < left->count; i++)
			TRY(template_seq_add(r, v, left->at[i]));
		left->count = 0;
		TRY(bind_named(r, s, "varargs", v));
	}
done:
	return status;
}

static rebus_status refuse_extra(template_run *r, const node *n, const template_args *left, size_t parameters)
{
	const char *name = n->name ? n->name->data : "caller";
	int size = n->name ? (int)int_min((int64_t)n->name->size, 60) : 6;
	if (left->keyword_count) {
		const template_string *key = left->keywords[0].key.as.text;
		return template_fail(r, REBUS_FORMAT, "macro '%.*s' takes no keyword argument '%.*s'", size, name,
			(int)int_min((int64_t)key->size, 60), key->data);
	}
	if (left->count)
		return template_fail(r, REBUS_FORMAT, "macro '%.*s' takes not more than %zu argument(s)", size, name, parameters);
	return REBUS_OK;
}

static rebus_status bind_parameters(template_run *r, template_scope *s, const node *n, const template_args *args)
{
	rebus_status status = REBUS_OK;
	template_args left = *args;
	size_t parameters = 0;
	value v;
	for (const node *p = n->a; p; p = p->next, parameters++) {
		v = left.count ? *left.at : keyword_take(&left, p->name);
		if (left.count)
			left.at++, left.count--;
		if (v.kind == VALUE_MISSING)
			TRY(template_undefined_new(r, &(template_undefined){.name = p->name}, &v));
		TRY(template_bind(r, s, p->name, v));
	}
	TRY(bind_extra(r, s, n, &left));
	TRY(refuse_extra(r, n, &left, parameters));
	for (const node *p = n->a; p; p = p->next) {
		const template_pair *pair = template_map_text(&s->names, p->name);
		bool missing = pair->item.kind == VALUE_UNDEFINED && pair->item.as.undefined && pair->item.as.undefined->name == p->name;
		if (missing && p->a) { /* the name object of a parameter is its own: no value given can carry it */
			TRY(template_eval(r, p->a, &v));
			TRY(template_bind(r, s, p->name, v));
		}
	}
done:
	return status;
}

rebus_status template_call_macro(template_run *r, template_macro *m, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	template_scope *before = r->scope, *s = NULL;
	TRY(scope_push(r, m->scope, &s));
	r->scope = s;
	TRY(bind_parameters(r, s, m->node, args));
	TRY(bind_missing(r, s, m->node->missing));
	TRY(capture(r, run_body, m->node->body, out));
	r->scope = before;
done:
	return status;
}

/* What a call or filter block writes is not turned into text first: it has to be one. */
static rebus_status write_text(template_run *r, const node *n, value v)
{
	r->line = n->line;
	if (v.kind != VALUE_TEXT)
		return template_fail(r, REBUS_FORMAT, "a block's result: expected str instance, %s found", template_type(v));
	return template_str(r, v, r->out);
}

static rebus_status exec_call_block(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value f, caller, key, v, keywords;
	template_args args;
	TRY(macro_new(r, n, &caller));
	TRY(template_eval(r, n->b->a, &f));
	TRY(template_args_eval(r, n->b->args, &args));
	TRY(template_map_new(r, VALUE_DICT, &keywords));
	TRY(template_string_c(r, "caller", &key));
	for (size_t i = 0; i < args.keyword_count; i++)
		TRY(template_map_set(r, keywords.as.map, args.keywords[i].key, args.keywords[i].item));
	TRY(template_map_set(r, keywords.as.map, key, caller));
	args.keywords = keywords.as.map->at;
	args.keyword_count = keywords.as.map->count;
	r->line = n->line;
	TRY(template_call(r, f, &args, &v));
	TRY(write_text(r, n, v));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ loops */
/* The next item that the loop's filter lets through. */
static rebus_status pull(template_run *r, template_loop *l, value *out, bool *any)
{
	rebus_status status = REBUS_OK;
	template_list_body *from = l->from.as.list;
	size_t *at = l->from.kind == VALUE_STREAM ? &from->next : &l->at;
	template_scope *before = r->scope, *s = NULL;
	*any = false;
	while (!*any && *at < from->count) {
		*out = from->at[(*at)++];
		TRY(template_step(r, 1));
		*any = true;
		if (l->node->c) {
			value test;
			TRY(scope_push(r, l->scope, &s));
			r->scope = s;
			TRY(template_assign(r, l->node->a, *out));
			TRY(template_eval(r, l->node->c, &test));
			r->scope = before;
			*any = template_truth(test);
		}
	}
done:
	return status;
}

rebus_status template_loop_pull(template_run *r, template_loop *l, value *out, bool *any)
{
	if (l->has_after) {
		*out = l->after;
		l->has_after = false;
		*any = true;
		return REBUS_OK;
	}
	if (l->is_drained) {
		*any = l->drained_at < l->drained_count;
		if (*any)
			*out = l->drained[l->drained_at++];
		return REBUS_OK;
	}
	return pull(r, l, out, any);
}

rebus_status template_loop_peek(template_run *r, template_loop *l, bool *any)
{
	rebus_status status = REBUS_OK;
	value v;
	if (!l->has_after) {
		TRY(template_loop_pull(r, l, &v, any));
		if (*any)
			l->after = v;
		l->has_after = *any;
	}
	*any = l->has_after;
done:
	return status;
}

rebus_status template_loop_length(template_run *r, template_loop *l, int64_t *out)
{
	rebus_status status = REBUS_OK;
	value rest, item;
	bool any = true;
	if (l->length < 0 && !l->node->c && l->from.kind != VALUE_STREAM)
		l->length = (int64_t)l->from.as.list->count;
	if (l->length < 0) {
		TRY(template_seq_new(r, VALUE_LIST, 0, &rest));
		for (;;) {
			TRY(pull(r, l, &item, &any));
			if (!any)
				break;
			TRY(template_seq_add(r, rest, item));
		}
		l->drained = rest.as.list->at;
		l->drained_count = rest.as.list->count;
		l->is_drained = true;
		l->length = (int64_t)l->drained_count + l->index0 + 1 + l->has_after;
	}
	*out = l->length;
done:
	return status;
}

static rebus_status loop_new(template_run *r, const node *n, value items, template_scope *scope, template_loop **out)
{
	rebus_status status = REBUS_OK;
	template_loop *l = template_get(&r->pool, 1, sizeof *l);
	if (!l)
		return template_no_memory(r);
	*l = (template_loop){.from = items, .node = n, .scope = scope, .is_recursive = n->recursive, .index0 = -1, .length = -1};
	if (!template_is_seq(items)) {
		value *at;
		size_t count;
		TRY(template_items(r, items, &at, &count));
		TRY(template_seq_new(r, VALUE_LIST, 0, &l->from));
		l->from.as.list->at = at;
		l->from.as.list->count = l->from.as.list->room = count;
	}
	*out = l;
done:
	return status;
}

static rebus_status turn(template_run *r, template_loop *l, template_scope **scope, value item)
{
	rebus_status status = REBUS_OK;
	template_scope *s = *scope;
	if (!s || s->kept)
		TRY(scope_push(r, l->scope, &s));
	s->names.count = 0;
	TRY(template_step(r, s->names.slot_count / 64));
	if (s->names.slots)
		memset(s->names.slots, 0, s->names.slot_count * sizeof *s->names.slots);
	*scope = s;
	l->index0++;
	l->before = l->current;
	l->current = item;
	r->scope = s;
	TRY(bind_named(r, s, "loop", (value){.kind = VALUE_LOOP, .as.loop = l}));
	TRY(bind_missing(r, s, l->node->missing));
	TRY(template_assign(r, l->node->a, item));
	TRY(exec_body(r, l->node->body));
done:
	return status;
}

static rebus_status run_loop(template_run *r, const void *what)
{
	rebus_status status = REBUS_OK;
	const template_loop *given = what;
	template_loop *l = NULL;
	template_scope *before = r->scope, *s = NULL;
	bool any, ended = false;
	value item;
	TRY(loop_new(r, given->node, given->from, given->scope, &l));
	l->depth0 = given->depth0;
	for (;;) {
		TRY(template_loop_pull(r, l, &item, &any));
		if (!any)
			break;
		TRY(turn(r, l, &s, item));
		template_flow flow = r->flow;
		r->flow = FLOW_ON;
		if (flow == FLOW_BREAK)
			break;
		ended |= flow == FLOW_ON;
	}
	r->scope = given->scope;
	if (!ended && l->node->other)
		TRY(exec_scoped(r, l->node->other, l->node->missing_other));
	r->scope = before;
done:
	return status;
}

static rebus_status exec_for(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value items, text;
	TRY(template_eval(r, n->b, &items));
	r->line = n->line;
	template_loop start = {.from = items, .node = n, .scope = r->scope};
	if (n->recursive) {
		TRY(capture(r, run_loop, &start, &text));
		TRY(template_str(r, text, r->out));
	} else {
		TRY(run_loop(r, &start));
	}
done:
	return status;
}

rebus_status template_call_loop(template_run *r, template_loop *l, value items, value *out)
{
	template_loop start = {.from = items, .node = l->node, .scope = l->scope, .depth0 = l->depth0 + 1};
	if (!l->is_recursive)
		return template_fail(r, REBUS_FORMAT, "The loop must have the 'recursive' marker to be called recursively.");
	return capture(r, run_loop, &start, out);
}

/* ------------------------------------------------------------------------------------------------ other statements */
static rebus_status exec_if(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value test;
	for (const node *branch = n; branch; branch = branch->b) {
		TRY(template_eval(r, branch->a, &test));
		if (template_truth(test))
			return exec_body(r, branch->body);
	}
	TRY(exec_body(r, n->other));
done:
	return status;
}

static rebus_status exec_set_block(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value v;
	TRY(capture(r, run_scoped, n, &v));
	if (r->flow != FLOW_ON)
		return REBUS_OK;
	if (n->b)
		TRY(template_eval_filter(r, n->b, v, &v));
	TRY(template_assign(r, n->a, v));
done:
	return status;
}

static rebus_status exec_filter_block(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value v;
	TRY(capture(r, run_scoped, n, &v));
	if (r->flow != FLOW_ON)
		return REBUS_OK;
	TRY(template_eval_filter(r, n->a, v, &v));
	TRY(write_text(r, n, v));
done:
	return status;
}

static rebus_status exec_with(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	template_scope *before = r->scope, *s = NULL;
	value v;
	TRY(scope_push(r, before, &s));
	for (const node *target = n->a, *item = n->b; target; target = target->next, item = item->next) {
		TRY(template_eval(r, item, &v));
		r->scope = s;
		TRY(template_assign(r, target, v));
		r->scope = before;
	}
	TRY(bind_missing(r, s, n->missing));
	r->scope = s;
	TRY(exec_body(r, n->body));
	r->scope = before;
done:
	return status;
}

static rebus_status span_add(template_run *r, size_t begin, size_t end)
{
	template_spans *spans = r->options.generation;
	if (!spans)
		return REBUS_OK;
	if (spans->count == spans->room) {
		size_t room = spans->room ? spans->room * 2 : 8;
		void *at = template_get(&r->pool, room, sizeof *spans->at);
		if (!at)
			return template_no_memory(r);
		if (spans->count)
			memcpy(at, spans->at, spans->count * sizeof *spans->at);
		spans->at = at;
		spans->room = room;
	}
	spans->at[spans->count].begin = begin;
	spans->at[spans->count++].end = end;
	return REBUS_OK;
}

/* The span starts where the template's own output has got to, even inside a macro, as in the reference. */
static rebus_status exec_generation(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value v;
	TRY(capture(r, run_scoped, n, &v));
	TRY(span_add(r, r->top->size, r->top->size + v.as.text->size));
	TRY(template_str(r, v, r->out));
done:
	return status;
}

static rebus_status exec_simple(template_run *r, const node *n)
{
	rebus_status status = REBUS_OK;
	value v;
	switch (n->kind) {
	case NODE_DATA:
		TRY(template_str(r, n->constant, r->out));
		break;
	case NODE_PRINT:
		TRY(template_eval(r, n->a, &v));
		r->line = n->line;
		TRY(template_str(r, v, r->out));
		break;
	case NODE_SET:
		TRY(template_eval(r, n->b, &v));
		r->line = n->line;
		TRY(template_assign(r, n->a, v));
		break;
	case NODE_MACRO:
		TRY(macro_new(r, n, &v));
		TRY(template_bind(r, r->scope, n->name, v));
		break;
	default:
		r->flow = n->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
	}
done:
	return status;
}

static rebus_status exec_statement(template_run *r, const node *n)
{
	switch (n->kind) {
	case NODE_FOR:
		return exec_for(r, n);
	case NODE_IF:
		return exec_if(r, n);
	case NODE_SETBLOCK:
		return exec_set_block(r, n);
	case NODE_CALLBLOCK:
		return exec_call_block(r, n);
	case NODE_FILTERBLOCK:
		return exec_filter_block(r, n);
	case NODE_WITH:
		return exec_with(r, n);
	case NODE_GENERATION:
		return exec_generation(r, n);
	default:
		return exec_simple(r, n);
	}
}

static rebus_status exec_body(template_run *r, const node *body)
{
	rebus_status status = REBUS_OK;
	if (r->depth >= r->limits.depth * 16)
		return template_fail(r, REBUS_LIMIT, "statements nest deeper than %d", r->limits.depth * 16);
	r->depth++;
	for (; body && r->flow == FLOW_ON; body = body->next) {
		r->line = body->line;
		TRY(template_step(r, 1));
		TRY(exec_statement(r, body));
	}
	r->depth--;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ the template */
rebus_status template_render(const template_program *p, arena *scratch, template_value globals,
	const template_options *options, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	buf top;
	template_spans spans = {0}, *wanted = options ? options->generation : NULL;
	template_run r = {.program = p, .limits = p->limits, .err = err, .globals = globals, .out = &top, .top = &top, .scratch = scratch};
	buf_init(&top, scratch->from, p->limits.output);
	r.pool = (template_pool){.from = scratch, .limit = p->limits.memory};
	r.options = (template_options){.generation = wanted ? &spans : NULL, .now = options ? options->now : 0};
	if (globals.kind != VALUE_DICT && globals.kind != VALUE_MISSING)
		TRY(error_set(err, REBUS_MISUSE, "a template's variables: a %s, want a dict", template_type(globals)));
	TRY(scope_push(&r, NULL, &r.scope));
	TRY(bind_missing(&r, r.scope, p->missing));
	TRY(exec_body(&r, p->body));
	size_t before = out->size;
	buf_add(out, top.data, top.size);
	TRY(buf_check(out, err, "rendered text"));
	for (size_t i = 0; i < spans.count; i++) {
		spans.at[i].begin += before;
		spans.at[i].end += before;
	}
	if (wanted)
		*wanted = spans;
done:
	buf_free(&top);
	return status;
}
