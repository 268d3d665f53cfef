/*
 * template_primary.c - what operators stand between: names, literals, and all that may follow them.
 *
 *   primary := name | "text" "text" ... | number | ( tuple ) | [ list ] | { key: item, ... }
 *   postfix := primary ( .name | .0 | [index] | [start:stop:step] | (arguments) )*
 *   unary   := - unary | + unary | postfix ( |filter(arguments) | is [not] test [operand] | (arguments) )*
 *
 * Arguments come in Python's order: those by position, name=value, *list, **dict. A test takes its one operand without
 * brackets too, which is why `x is divisibleby 3 or y` needs to know the words that cannot start one.
 */
#include "text/template_inside.h"

#include <string.h>

static rebus_status parse_args(template_parser *p, node **out);

/* ------------------------------------------------------------------------------------------------ primaries */
static rebus_status parse_constant(template_parser *p, value v, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_node_new(p, NODE_CONST, p->now.line, &n));
	n->constant = v;
	TRY(template_advance(p));
	*out = n;
done:
	return status;
}

static rebus_status parse_name(template_parser *p, bool namespaces, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	if (template_at_name(p, "true") || template_at_name(p, "True"))
		return parse_constant(p, template_flag(true), out);
	if (template_at_name(p, "false") || template_at_name(p, "False"))
		return parse_constant(p, template_flag(false), out);
	if (template_at_name(p, "none") || template_at_name(p, "None"))
		return parse_constant(p, template_none(), out);
	p->saw_caller |= template_at_name(p, "caller");
	p->saw_kwargs |= template_at_name(p, "kwargs");
	p->saw_varargs |= template_at_name(p, "varargs");
	TRY(template_node_new(p, NODE_NAME, p->now.line, &n));
	n->name = p->now.text;
	TRY(template_advance(p));
	if (namespaces && p->now.kind == TOKEN_DOT) {
		TRY(template_node_wrap(p, NODE_NSREF, TOKEN_EOF, n->line, n, NULL, &n));
		TRY(template_advance(p));
		n->name = p->now.text;
		TRY(template_expect(p, TOKEN_NAME, "name"));
	}
	*out = n;
done:
	return status;
}

/* Strings side by side are one string. */
static rebus_status parse_strings(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	const template_token *ahead = NULL;
	template_string *s = p->now.text;
	TRY(template_look(p, &ahead));
	while (ahead->kind == TOKEN_STRING) {
		const template_string *more = ahead->text;
		char *both = template_get(&p->pool, s->size + more->size + 1, 1);
		template_string *joined = template_get(&p->pool, 1, sizeof *joined);
		if (!both || !joined)
			TRY(template_no_room(p));
		memcpy(both, s->data, s->size);
		memcpy(both + s->size, more->data, more->size);
		*joined = (template_string){.data = both, .size = s->size + more->size, .points = SIZE_MAX};
		template_string_ready(joined);
		s = joined;
		TRY(template_advance(p));
		TRY(template_look(p, &ahead));
	}
	TRY(parse_constant(p, (value){.kind = VALUE_TEXT, .as.text = s}, out));
done:
	return status;
}

static rebus_status parse_list(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_node_new(p, NODE_LIST, p->now.line, &n));
	TRY(template_advance(p));
	for (node **last = &n->a; p->now.kind != TOKEN_RBRACKET; last = &(*last)->next) {
		if (n->a)
			TRY(template_expect(p, TOKEN_COMMA, ","));
		if (p->now.kind == TOKEN_RBRACKET)
			break;
		TRY(template_expr(p, true, last));
	}
	TRY(template_node_levels(p, n));
	TRY(template_expect(p, TOKEN_RBRACKET, "]"));
	*out = n;
done:
	return status;
}

/* Keys and items alternate in the list of a DICT. */
static rebus_status parse_dict(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_node_new(p, NODE_DICT, p->now.line, &n));
	TRY(template_advance(p));
	for (node **last = &n->a; p->now.kind != TOKEN_RBRACE; last = &(*last)->next) {
		if (n->a)
			TRY(template_expect(p, TOKEN_COMMA, ","));
		if (p->now.kind == TOKEN_RBRACE)
			break;
		TRY(template_expr(p, true, last));
		last = &(*last)->next;
		TRY(template_expect(p, TOKEN_COLON, ":"));
		TRY(template_expr(p, true, last));
	}
	TRY(template_node_levels(p, n));
	TRY(template_expect(p, TOKEN_RBRACE, "}"));
	*out = n;
done:
	return status;
}

rebus_status template_expr_primary(template_parser *p, bool namespaces, node **out)
{
	static const template_tuple_rules parens = {.parens = true};
	rebus_status status = REBUS_OK;
	char room[48];
	switch (p->now.kind) {
	case TOKEN_NAME:
		return parse_name(p, namespaces, out);
	case TOKEN_STRING:
		return parse_strings(p, out);
	case TOKEN_INT:
		return parse_constant(p, template_int(p->now.integer), out);
	case TOKEN_REAL:
		return parse_constant(p, template_real(p->now.real), out);
	case TOKEN_LPAREN:
		TRY(template_advance(p));
		TRY(template_expr_tuple(p, &parens, out));
		TRY(template_expect(p, TOKEN_RPAREN, ")"));
		break;
	case TOKEN_LBRACKET:
		return parse_list(p, out);
	case TOKEN_LBRACE:
		return parse_dict(p, out);
	default:
		return template_fail_at(p->err, REBUS_FORMAT, p->now.line, "unexpected '%s'", template_token_name(&p->now, room));
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ after a primary */
static rebus_status slice_part(template_parser *p, node **out)
{
	if (p->now.kind == TOKEN_COLON || p->now.kind == TOKEN_RBRACKET || p->now.kind == TOKEN_COMMA)
		return REBUS_OK;
	return template_expr(p, true, out);
}

/* What stands between brackets: an index, or start:stop:step with any of them left out. */
static rebus_status parse_index(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node *start = NULL, *n = NULL;
	TRY(slice_part(p, &start));
	if (p->now.kind != TOKEN_COLON) {
		char room[48];
		if (!start)
			TRY(template_fail_at(p->err, REBUS_FORMAT, p->now.line, "unexpected '%s'", template_token_name(&p->now, room)));
		*out = start;
		goto done;
	}
	TRY(template_node_new(p, NODE_SLICE, p->now.line, &n));
	n->a = start;
	TRY(template_advance(p));
	TRY(slice_part(p, &n->b));
	if (p->now.kind == TOKEN_COLON) {
		TRY(template_advance(p));
		TRY(slice_part(p, &n->c));
	}
	TRY(template_node_levels(p, n));
	*out = n;
done:
	return status;
}

static rebus_status parse_brackets(template_parser *p, node *of, node **out)
{
	rebus_status status = REBUS_OK;
	node *first = NULL, **last = &first;
	int line = p->now.line;
	TRY(template_advance(p));
	while (p->now.kind != TOKEN_RBRACKET) {
		if (first)
			TRY(template_expect(p, TOKEN_COMMA, ","));
		TRY(parse_index(p, last));
		last = &(*last)->next;
	}
	TRY(template_advance(p));
	if (!first || first->next)
		TRY(template_node_wrap(p, NODE_TUPLE, TOKEN_EOF, line, first, NULL, &first));
	TRY(template_node_wrap(p, NODE_ITEM, TOKEN_EOF, line, of, first, out));
done:
	return status;
}

static rebus_status parse_dot(template_parser *p, node *of, node **out)
{
	rebus_status status = REBUS_OK;
	node *index = NULL;
	TRY(template_advance(p));
	int line = p->now.line;
	if (p->now.kind == TOKEN_INT) {
		TRY(parse_constant(p, template_int(p->now.integer), &index));
		TRY(template_node_wrap(p, NODE_ITEM, TOKEN_EOF, line, of, index, out));
	} else if (p->now.kind != TOKEN_NAME) {
		TRY(template_fail_at(p->err, REBUS_FORMAT, line, "expected name or number"));
	} else {
		TRY(template_node_wrap(p, NODE_ATTR, TOKEN_EOF, line, of, NULL, out));
		(*out)->name = p->now.text;
		TRY(template_advance(p));
	}
done:
	return status;
}

static rebus_status parse_call(template_parser *p, node *of, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_node_new(p, NODE_CALL, p->now.line, &n));
	n->a = of;
	TRY(parse_args(p, &n->args));
	TRY(template_node_levels(p, n));
	*out = n;
done:
	return status;
}

static rebus_status parse_postfix(template_parser *p, node *n, node **out)
{
	rebus_status status = REBUS_OK;
	for (;;) {
		if (p->now.kind == TOKEN_DOT)
			TRY(parse_dot(p, n, &n));
		else if (p->now.kind == TOKEN_LBRACKET)
			TRY(parse_brackets(p, n, &n));
		else if (p->now.kind == TOKEN_LPAREN)
			TRY(parse_call(p, n, &n));
		else
			break;
	}
	*out = n;
done:
	return status;
}

/* most: the latest kind of argument so far. Keywords may follow a *list, nothing may follow a **dict. */
static bool may_follow(node_kind kind, node_kind most)
{
	if (kind == NODE_CONST)
		return most == NODE_CONST;
	return kind == NODE_KEYWORD ? most != NODE_STARSTAR : most < kind;
}

static rebus_status parse_args(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	const template_token *ahead = NULL;
	node **last = out;
	int line = p->now.line;
	node_kind most = NODE_CONST; /* order: positional, then keywords, then *x, then **x */
	TRY(template_expect(p, TOKEN_LPAREN, "("));
	while (p->now.kind != TOKEN_RPAREN) {
		if (last != out) {
			TRY(template_expect(p, TOKEN_COMMA, ","));
			if (p->now.kind == TOKEN_RPAREN)
				break;
		}
		node_kind kind = p->now.kind == TOKEN_MUL ? NODE_STAR : p->now.kind == TOKEN_POW ? NODE_STARSTAR : NODE_CONST;
		if (p->now.kind == TOKEN_NAME) {
			TRY(template_look(p, &ahead));
			kind = ahead->kind == TOKEN_ASSIGN ? NODE_KEYWORD : NODE_CONST;
		}
		if (!may_follow(kind, most))
			TRY(template_fail_at(p->err, REBUS_FORMAT, line, "invalid syntax for function call expression"));
		if (kind > most)
			most = kind;
		if (kind != NODE_CONST) {
			TRY(template_node_new(p, kind, p->now.line, last));
			(*last)->name = p->now.text;
			TRY(template_advance(p));
			if (kind == NODE_KEYWORD)
				TRY(template_advance(p));
			TRY(template_expr(p, true, &(*last)->a));
			TRY(template_node_levels(p, *last));
		} else {
			TRY(template_expr(p, true, last));
		}
		last = &(*last)->next;
	}
	TRY(template_advance(p));
done:
	return status;
}

/* a.b.c of a filter's or a test's name: one name with dots in it */
static rebus_status parse_dotted(template_parser *p, template_string **out)
{
	rebus_status status = REBUS_OK;
	template_string *name = p->now.text;
	TRY(template_expect(p, TOKEN_NAME, "name"));
	while (p->now.kind == TOKEN_DOT) { /* no filter is named so; the first part stands for the message */
		TRY(template_advance(p));
		TRY(template_expect(p, TOKEN_NAME, "name"));
		static const template_string none = {.data = "with.dots", .size = 9, .points = 9};
		template_string *dotted = template_get(&p->pool, 1, sizeof *dotted);
		if (!dotted)
			TRY(template_no_room(p));
		*dotted = none;
		name = dotted;
	}
	*out = name;
done:
	return status;
}

rebus_status template_expr_filters(template_parser *p, bool start_inline, node *on, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = on;
	while (p->now.kind == TOKEN_PIPE || start_inline) {
		node *filter = NULL;
		if (!start_inline)
			TRY(template_advance(p));
		TRY(template_node_new(p, NODE_FILTER, p->now.line, &filter));
		filter->a = n;
		TRY(parse_dotted(p, &filter->name));
		filter->which = template_filter_named(filter->name);
		if (p->now.kind == TOKEN_LPAREN)
			TRY(parse_args(p, &filter->args));
		TRY(template_node_levels(p, filter));
		n = filter;
		start_inline = false;
	}
	*out = n;
done:
	return status;
}

static bool test_has_operand(const template_parser *p)
{
	if (p->now.kind == TOKEN_NAME)
		return !template_at_name(p, "else") && !template_at_name(p, "or") && !template_at_name(p, "and");
	return p->now.kind == TOKEN_STRING || p->now.kind == TOKEN_INT || p->now.kind == TOKEN_REAL ||
	       p->now.kind == TOKEN_LBRACKET || p->now.kind == TOKEN_LBRACE;
}

static rebus_status parse_test(template_parser *p, node *on, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	int line = p->now.line;
	TRY(template_advance(p));
	bool negated = template_at_name(p, "not");
	if (negated)
		TRY(template_advance(p));
	TRY(template_node_new(p, NODE_TEST, line, &n));
	n->a = on;
	TRY(parse_dotted(p, &n->name));
	n->which = template_test_named(n->name);
	if (p->now.kind == TOKEN_LPAREN) {
		TRY(parse_args(p, &n->args));
	} else if (test_has_operand(p)) {
		if (template_at_name(p, "is"))
			TRY(template_fail_at(p->err, REBUS_FORMAT, p->now.line, "You cannot chain multiple tests with is"));
		TRY(template_expr_primary(p, false, &n->args));
		TRY(parse_postfix(p, n->args, &n->args));
	}
	TRY(template_node_levels(p, n));
	if (negated)
		TRY(template_node_wrap(p, NODE_NOT, TOKEN_EOF, line, n, NULL, &n));
	*out = n;
done:
	return status;
}

rebus_status template_expr_unary(template_parser *p, bool filters, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	int line = p->now.line;
	if (p->now.kind == TOKEN_SUB || p->now.kind == TOKEN_ADD) {
		token_kind op = p->now.kind;
		TRY(template_enter(p));
		TRY(template_advance(p));
		TRY(template_expr_unary(p, false, &n));
		TRY(template_node_wrap(p, NODE_UNARY, op, line, n, NULL, &n));
		p->depth--;
	} else {
		TRY(template_expr_primary(p, false, &n));
	}
	TRY(parse_postfix(p, n, &n));
	while (filters) {
		if (p->now.kind == TOKEN_PIPE)
			TRY(template_expr_filters(p, false, n, &n));
		else if (template_at_name(p, "is"))
			TRY(parse_test(p, n, &n));
		else if (p->now.kind == TOKEN_LPAREN)
			TRY(parse_call(p, n, &n));
		else
			break;
	}
	*out = n;
done:
	return status;
}
