/*
 * template_scope.c - what Jinja decides about names before anything runs.
 *
 * Jinja turns a template into Python functions, so some things are settled by position alone:
 *
 *   {% for x in y %}{{ a }}{% endfor %}{% set a = 1 %}     `a` is the template's own variable: undefined in the loop, even if
 *                                                          the caller passed an `a`
 *   {% if y %}{% set a = 1 %}{% endif %}{{ a }}            set on one way only: the caller's `a` where y is false
 *   {% if y %}{{ x|nosuch }}{% endif %}                    an unknown filter is an error when it is met
 *   {{ x|nosuch }}                                         and at once where it would be met for certain
 *
 * A frame is the template, or the body of a loop, macro, block or with. One walk over each frame lists the names that start
 * undefined in it (node.missing): their first mention is a `set` outside of any if, and no frame around mentions them. The
 * frames inside are walked after the frame itself, as they see all of its names. Follows jinja2/idtracking.py.
 *
 * All the walks recurse only as deep as statements and expressions nest, which the parser has bounded.
 */
#include "text/template_inside.h"

#include <string.h>

typedef struct frame {
	const struct frame *outer;
	template_map seen; /* names that the frame mentions */
	node **missing;    /* where its list goes; NULL: a frame that is not executed */
	template_parser *p;
	bool loop;         /* break and continue have a loop to leave */
	bool soft;         /* inside an if */
} frame;

static rebus_status walk_body(frame *f, node *body, bool branch);
static rebus_status walk_inner(frame *f, node *body);

static bool mentioned(const frame *f, const template_string *name)
{
	for (; f; f = f->outer)
		if (template_map_text(&f->seen, name))
			return true;
	return false;
}

static rebus_status mention(frame *f, template_string *name)
{
	value key = {.kind = VALUE_TEXT, .as.text = name};
	if (!template_map_text(&f->seen, name) && !template_pool_map_set(&f->p->pool, &f->seen, key, template_none()))
		return template_no_room(f->p);
	return REBUS_OK;
}

static rebus_status walk_load(frame *f, template_string *name)
{
	return mentioned(f, name) ? REBUS_OK : mention(f, name);
}

static rebus_status walk_store(frame *f, node *name, bool branch)
{
	rebus_status status = REBUS_OK;
	node *start = NULL;
	if (!branch && f->missing && !mentioned(f, name->name)) {
		TRY(template_node_new(f->p, NODE_NAME, name->line, &start));
		start->name = name->name;
		start->next = *f->missing;
		*f->missing = start;
	}
	TRY(mention(f, name->name));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ expressions */
static rebus_status unknown(frame *f, const node *n)
{
	return template_fail_at(f->p->err, REBUS_FORMAT, n->line, "No %s named '%.*s'.", n->kind == NODE_FILTER ? "filter" : "test",
		(int)int_min((int64_t)n->name->size, 80), n->name->data);
}

/* Names of an expression or a list of them. */
static rebus_status walk_expr(frame *f, node *n)
{
	rebus_status status = REBUS_OK;
	bool soft = f->soft;
	for (; n; n = n->next) {
		if (n->kind == NODE_NAME)
			TRY(walk_load(f, n->name));
		if (n->kind == NODE_COND)
			f->soft = true;
		if ((n->kind == NODE_FILTER || n->kind == NODE_TEST) && n->which < 0 && !f->soft)
			TRY(unknown(f, n));
		TRY(walk_expr(f, n->a));
		TRY(walk_expr(f, n->b));
		TRY(walk_expr(f, n->c));
		TRY(walk_expr(f, n->args));
		f->soft = soft;
	}
done:
	f->soft = soft;
	return status;
}

static rebus_status walk_target(frame *f, node *target, bool branch, bool parameter)
{
	rebus_status status = REBUS_OK;
	if (target->kind == NODE_NAME)
		return parameter ? mention(f, target->name) : walk_store(f, target, branch);
	if (target->kind == NODE_NSREF)
		return walk_load(f, target->a->name);
	for (node *item = target->a; item; item = item->next)
		TRY(walk_target(f, item, branch, parameter));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ statements */
static rebus_status walk_statement(frame *f, node *n, bool branch)
{
	rebus_status status = REBUS_OK;
	switch (n->kind) {
	case NODE_PRINT:
		return walk_expr(f, n->a);
	case NODE_IF: {
		bool soft = f->soft;
		f->soft = true;
		for (node *at = n; at; at = at->b) {
			TRY(walk_expr(f, at->a));
			TRY(walk_body(f, at->body, true));
		}
		TRY(walk_body(f, n->other, true));
		f->soft = soft;
		break;
	}
	case NODE_FOR:
		return walk_expr(f, n->b);
	case NODE_SET:
		TRY(walk_expr(f, n->b));
		TRY(walk_target(f, n->a, branch, false));
		break;
	case NODE_SETBLOCK:
		TRY(walk_target(f, n->a, branch, false));
		break;
	case NODE_MACRO: {
		node name = {.kind = NODE_NAME, .line = n->line, .name = n->name};
		return walk_store(f, &name, branch);
	}
	case NODE_CALLBLOCK:
	case NODE_WITH:
		return walk_expr(f, n->b);
	case NODE_FILTERBLOCK:
		return walk_expr(f, n->a);
	case NODE_BREAK:
	case NODE_CONTINUE:
		if (!f->loop)
			TRY(template_fail_at(f->p->err, REBUS_FORMAT, n->line, "'%s' outside loop", n->kind == NODE_BREAK ? "break" : "continue"));
		break;
	default:
		break;
	}
done:
	return status;
}

static rebus_status walk_body(frame *f, node *body, bool branch)
{
	rebus_status status = REBUS_OK;
	for (; body; body = body->next)
		TRY(walk_statement(f, body, branch));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ frames inside */
static frame inner(const frame *f, node **missing, bool loop)
{
	return (frame){.outer = f, .missing = missing, .p = f->p, .loop = loop};
}

static rebus_status finish(frame *f, node *body)
{
	rebus_status status = REBUS_OK;
	TRY(walk_body(f, body, false));
	TRY(walk_inner(f, body));
done:
	return status;
}

static bool sets_loop(const node *target)
{
	if (target->kind == NODE_NAME)
		return text_is(target->name->data, target->name->size, "loop");
	for (const node *item = target->kind == NODE_TUPLE ? target->a : NULL; item; item = item->next)
		if (sets_loop(item))
			return true;
	return false;
}

/* Jinja refuses {% set loop = ... %} anywhere below a for, and `for loop in` */
static rebus_status refuse_loop(frame *f, const node *body)
{
	rebus_status status = REBUS_OK;
	for (; body; body = body->next) {
		bool bad = (body->kind == NODE_SET || body->kind == NODE_SETBLOCK || body->kind == NODE_FOR) && sets_loop(body->a);
		if (bad)
			TRY(template_fail_at(f->p->err, REBUS_FORMAT, body->line, "Can't assign to special loop variable in for-loop target"));
		for (const node *branch = body->kind == NODE_IF ? body->b : NULL; branch; branch = branch->b)
			TRY(refuse_loop(f, branch->body));
		TRY(refuse_loop(f, body->body));
		TRY(refuse_loop(f, body->other));
	}
done:
	return status;
}

static rebus_status inner_for(frame *f, node *n)
{
	rebus_status status = REBUS_OK;
	template_string *loop = template_get(&f->p->pool, 1, sizeof *loop);
	if (!loop)
		return template_no_room(f->p);
	*loop = (template_string){.data = "loop", .size = 4, .points = 4};
	frame test = inner(f, NULL, false), body = inner(f, &n->missing, true), other = inner(f, &n->missing_other, f->loop);
	if (sets_loop(n->a))
		TRY(template_fail_at(f->p->err, REBUS_FORMAT, n->line, "Can't assign to special loop variable in for-loop target"));
	if (!f->loop) { /* the outermost loop looks for all */
		TRY(refuse_loop(f, n->body));
		TRY(refuse_loop(f, n->other));
	}
	TRY(walk_target(&test, n->a, false, true));
	TRY(walk_expr(&test, n->c));
	TRY(mention(&body, loop));
	TRY(walk_target(&body, n->a, false, true));
	TRY(finish(&body, n->body));
	TRY(finish(&other, n->other));
done:
	return status;
}

static rebus_status inner_callable(frame *f, node *n)
{
	rebus_status status = REBUS_OK;
	frame body = inner(f, &n->missing, false);
	for (node *parameter = n->a; parameter; parameter = parameter->next)
		TRY(mention(&body, parameter->name));
	for (node *parameter = n->a; parameter; parameter = parameter->next)
		TRY(walk_expr(&body, parameter->a));
	TRY(finish(&body, n->body));
done:
	return status;
}

static rebus_status inner_with(frame *f, node *n)
{
	rebus_status status = REBUS_OK;
	frame body = inner(f, &n->missing, f->loop);
	for (node *target = n->a; target; target = target->next)
		TRY(walk_target(&body, target, false, true));
	TRY(finish(&body, n->body));
done:
	return status;
}

static rebus_status walk_inner(frame *f, node *body)
{
	rebus_status status = REBUS_OK;
	for (; body; body = body->next) {
		frame plain = inner(f, &body->missing, f->loop && body->kind != NODE_GENERATION);
		switch (body->kind) {
		case NODE_IF:
			for (node *at = body; at; at = at->b)
				TRY(walk_inner(f, at->body));
			TRY(walk_inner(f, body->other));
			break;
		case NODE_FOR:
			TRY(inner_for(f, body));
			break;
		case NODE_MACRO:
		case NODE_CALLBLOCK:
			TRY(inner_callable(f, body));
			break;
		case NODE_WITH:
			TRY(inner_with(f, body));
			break;
		case NODE_SETBLOCK:
			TRY(walk_expr(&plain, body->b));
			TRY(finish(&plain, body->body));
			break;
		case NODE_FILTERBLOCK:
		case NODE_GENERATION:
			TRY(finish(&plain, body->body));
			break;
		default:
			break;
		}
	}
done:
	return status;
}

rebus_status template_scope_check(template_parser *p, template_program *program)
{
	frame top = {.missing = &program->missing, .p = p};
	return finish(&top, program->body);
}
