/*
 * template_expr.c - expressions of a template to nodes.
 *
 * Weakest first, each level made of the next:
 *
 *   a if b else c      (else is optional)
 *   or   and   not
 *   == != < <= > >= in, not in       (chains: a < b < c)
 *   + -
 *   ~                  (joins as text)
 *   * / // %
 *   **                 (from the left, unlike Python)
 *   + - x              (binds tighter than **, unlike Python)
 *   name literal (...) [...] {...}   then  .name  [index]  (call)  |filter  is test       (template_primary.c)
 *
 * Chains of one level nest to the left without recursion here; a node's `level` says how deep evaluating it recurses, and a
 * bound on that refuses chains that are too long.
 */
#include "text/template_inside.h"

#include <string.h>

enum { LEVELS = 1000 };

static rebus_status parse_or(template_parser *p, node **out);

static rebus_status level_over(template_parser *p, node *n, const node *below)
{
	for (; below; below = below->next)
		if (below->level >= n->level)
			n->level = (uint16_t)(below->level + 1);
	if (n->level > LEVELS)
		return template_fail_at(p->err, REBUS_LIMIT, n->line, "an expression nested deeper than %d", LEVELS);
	return REBUS_OK;
}

rebus_status template_node_levels(template_parser *p, node *n)
{
	rebus_status status = REBUS_OK;
	TRY(level_over(p, n, n->a));
	TRY(level_over(p, n, n->b));
	TRY(level_over(p, n, n->c));
	TRY(level_over(p, n, n->args));
done:
	return status;
}

/* A node over `left` (and `right`), put in the place of `left`. */
rebus_status template_node_wrap(template_parser *p, node_kind kind, token_kind op, int line, node *left, node *right, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_node_new(p, kind, line, &n));
	n->op = (uint8_t)op;
	n->a = left;
	n->b = right;
	TRY(template_node_levels(p, n));
	*out = n;
done:
	return status;
}

rebus_status template_expr(template_parser *p, bool with_cond, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_enter(p));
	TRY(parse_or(p, &n));
	while (with_cond && template_at_name(p, "if")) {
		node *cond = NULL, *other = NULL;
		int line = p->now.line;
		TRY(template_advance(p));
		TRY(template_node_new(p, NODE_COND, line, &cond));
		TRY(parse_or(p, &cond->a));
		if (template_at_name(p, "else")) {
			TRY(template_advance(p));
			TRY(template_expr(p, true, &other));
		}
		cond->b = n;
		cond->c = other;
		TRY(template_node_levels(p, cond));
		n = cond;
	}
	p->depth--;
	*out = n;
done:
	return status;
}

static rebus_status parse_compare(template_parser *p, node **out);

static rebus_status parse_not(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node *n = NULL;
	if (!template_at_name(p, "not"))
		return parse_compare(p, out);
	int line = p->now.line;
	TRY(template_enter(p));
	TRY(template_advance(p));
	TRY(parse_not(p, &n));
	TRY(template_node_wrap(p, NODE_NOT, TOKEN_EOF, line, n, NULL, out));
	p->depth--;
done:
	return status;
}

static rebus_status parse_logic(template_parser *p, const char *word, node_kind kind,
	rebus_status (*below)(template_parser *, node **), node **out)
{
	rebus_status status = REBUS_OK;
	node *left = NULL, *right = NULL;
	TRY(below(p, &left));
	while (template_at_name(p, word)) {
		int line = p->now.line;
		TRY(template_advance(p));
		TRY(below(p, &right));
		TRY(template_node_wrap(p, kind, TOKEN_EOF, line, left, right, &left));
	}
	*out = left;
done:
	return status;
}

static rebus_status parse_and(template_parser *p, node **out)
{
	return parse_logic(p, "and", NODE_AND, parse_not, out);
}

static rebus_status parse_or(template_parser *p, node **out)
{
	return parse_logic(p, "or", NODE_OR, parse_and, out);
}

/* Binary operators from `first` to `last` of one level, from the left. */
static rebus_status parse_chain(template_parser *p, const token_kind *ops, rebus_status (*below)(template_parser *, node **),
	node **out)
{
	rebus_status status = REBUS_OK;
	node *left = NULL, *right = NULL;
	TRY(below(p, &left));
	for (;;) {
		const token_kind *op = ops;
		while (*op != TOKEN_EOF && *op != p->now.kind)
			op++;
		if (*op == TOKEN_EOF)
			break;
		int line = p->now.line;
		TRY(template_advance(p));
		TRY(below(p, &right));
		TRY(template_node_wrap(p, NODE_BINARY, *op, line, left, right, &left));
	}
	*out = left;
done:
	return status;
}

static rebus_status parse_filtered(template_parser *p, node **out)
{
	return template_expr_unary(p, true, out);
}

static rebus_status parse_pow(template_parser *p, node **out)
{
	static const token_kind ops[] = {TOKEN_POW, TOKEN_EOF};
	return parse_chain(p, ops, parse_filtered, out);
}

static rebus_status parse_product(template_parser *p, node **out)
{
	static const token_kind ops[] = {TOKEN_MUL, TOKEN_DIV, TOKEN_FLOORDIV, TOKEN_MOD, TOKEN_EOF};
	return parse_chain(p, ops, parse_pow, out);
}

static rebus_status parse_concat(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node *first = NULL, *n = NULL;
	TRY(parse_product(p, &first));
	if (p->now.kind == TOKEN_TILDE) {
		TRY(template_node_new(p, NODE_CONCAT, p->now.line, &n));
		n->a = first;
		for (node **last = &first->next; p->now.kind == TOKEN_TILDE; last = &(*last)->next) {
			TRY(template_advance(p));
			TRY(parse_product(p, last));
		}
		TRY(template_node_levels(p, n));
		first = n;
	}
	*out = first;
done:
	return status;
}

static rebus_status parse_sum(template_parser *p, node **out)
{
	static const token_kind ops[] = {TOKEN_ADD, TOKEN_SUB, TOKEN_EOF};
	return parse_chain(p, ops, parse_concat, out);
}

/* The operator of a comparison at the current token, passed; TOKEN_EOF: there is none. */
static rebus_status compare_operator(template_parser *p, token_kind *op)
{
	rebus_status status = REBUS_OK;
	const template_token *ahead = NULL;
	*op = TOKEN_EOF;
	if (p->now.kind >= TOKEN_EQ && p->now.kind <= TOKEN_LE) {
		*op = p->now.kind;
	} else if (template_at_name(p, "in")) {
		*op = TOKEN_IN;
	} else if (template_at_name(p, "not")) {
		TRY(template_look(p, &ahead));
		if (ahead->kind != TOKEN_NAME || !text_is(ahead->text->data, ahead->text->size, "in"))
			return REBUS_OK;
		TRY(template_advance(p));
		*op = TOKEN_NOT_IN;
	}
	if (*op != TOKEN_EOF)
		TRY(template_advance(p));
done:
	return status;
}

static rebus_status parse_compare(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node *first = NULL, *compare = NULL, **last = NULL;
	TRY(parse_sum(p, &first));
	for (;;) {
		token_kind op;
		int line = p->now.line;
		TRY(compare_operator(p, &op));
		if (op == TOKEN_EOF)
			break;
		if (!compare) {
			TRY(template_node_new(p, NODE_COMPARE, line, &compare));
			compare->a = first;
			last = &compare->b;
		}
		node *right = NULL;
		TRY(parse_sum(p, &right));
		TRY(template_node_wrap(p, NODE_OPERAND, op, line, right, NULL, last));
		last = &(*last)->next;
	}
	if (compare)
		TRY(template_node_levels(p, compare));
	*out = compare ? compare : first;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ tuples */
/* What ends a tuple after a comma. Not `in`: Jinja means to, but {% for a, in b %} is an error there. */
static bool tuple_ends(const template_parser *p)
{
	return p->now.kind == TOKEN_PRINT_END || p->now.kind == TOKEN_BLOCK_END || p->now.kind == TOKEN_RPAREN;
}

rebus_status template_expr_tuple(template_parser *p, const template_tuple_rules *rules, node **out)
{
	rebus_status status = REBUS_OK;
	node *first = NULL, **last = &first, *tuple = NULL;
	int line = p->now.line;
	char room[48];
	bool is_tuple = false;
	for (;;) {
		if (first)
			TRY(template_expect(p, TOKEN_COMMA, ","));
		if (tuple_ends(p))
			break;
		TRY(rules->simple ? template_expr_primary(p, rules->namespaces, last) : template_expr(p, !rules->no_cond, last));
		last = &(*last)->next;
		if (p->now.kind != TOKEN_COMMA)
			break;
		is_tuple = true;
	}
	if (!is_tuple && first) {
		*out = first;
		goto done;
	}
	if (!is_tuple && !rules->parens)
		TRY(template_fail_at(p->err, REBUS_FORMAT, p->now.line, "Expected an expression, got '%s'", template_token_name(&p->now, room)));
	TRY(template_node_wrap(p, NODE_TUPLE, TOKEN_EOF, line, first, NULL, &tuple));
	*out = tuple;
done:
	return status;
}
