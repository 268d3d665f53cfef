/*
 * template_parse.c - statements of a template to nodes.
 *
 *   body := (text | {{ tuple }} | {% statement %})*
 *   statement := for | if | set | macro | call | filter | with | print | generation | break | continue
 *
 * A recursive descent with one token of look-ahead, in the order of jinja2/parser.py, so that what it accepts by accident is
 * accepted here too (`{% if x: %}`, a trailing comma, `{% endfor anything` is refused). Depth is bounded by
 * limits.depth: each nested statement and each bracket counts one. Expressions are in template_expr.c.
 */
#include "text/template_inside.h"

#include <stdio.h>
#include <string.h>

rebus_status template_fail_at(rebus_error *err, rebus_status code, int line, const char *format, ...)
{
	char text[200];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return error_set(err, code, "template line %d: %s", line, text);
}

rebus_status template_advance(template_parser *p)
{
	if (p->has_ahead) {
		p->now = p->ahead;
		p->has_ahead = false;
		return REBUS_OK;
	}
	return template_lex_next(p, &p->now);
}

rebus_status template_look(template_parser *p, const template_token **out)
{
	rebus_status status = REBUS_OK;
	if (!p->has_ahead) {
		TRY(template_lex_next(p, &p->ahead));
		p->has_ahead = true;
	}
	*out = &p->ahead;
done:
	return status;
}

bool template_at_name(const template_parser *p, const char *name)
{
	return p->now.kind == TOKEN_NAME && text_is(p->now.text->data, p->now.text->size, name);
}

rebus_status template_expect(template_parser *p, token_kind kind, const char *what)
{
	char room[48];
	if (p->now.kind == kind)
		return template_advance(p);
	if (p->now.kind == TOKEN_EOF)
		return template_fail_at(p->err, REBUS_FORMAT, p->now.line, "unexpected end of template, expected '%s'", what);
	return template_fail_at(p->err, REBUS_FORMAT, p->now.line, "expected token '%s', got '%s'", what,
		template_token_name(&p->now, room));
}

static rebus_status expect_name(template_parser *p, template_string **out)
{
	template_string *name = p->now.text;
	rebus_status status = REBUS_OK;
	TRY(template_expect(p, TOKEN_NAME, "name"));
	*out = name;
done:
	return status;
}

/* Passes a keyword if it is the current token. */
static rebus_status skip_name(template_parser *p, const char *name, bool *was)
{
	*was = template_at_name(p, name);
	return *was ? template_advance(p) : REBUS_OK;
}

rebus_status template_no_room(template_parser *p)
{
	if (p->pool.full)
		return template_fail_at(p->err, REBUS_LIMIT, p->lex_line, "the template needs more than %zu bytes", p->pool.limit);
	return error_memory(p->err, "a template");
}

rebus_status template_node_new(template_parser *p, node_kind kind, int line, node **out)
{
	node *n = template_get(&p->pool, 1, sizeof *n);
	if (!n)
		return template_no_room(p);
	n->kind = (uint8_t)kind;
	n->line = line;
	*out = n;
	return REBUS_OK;
}

rebus_status template_enter(template_parser *p)
{
	if (p->depth >= p->limits.depth)
		return template_fail_at(p->err, REBUS_LIMIT, p->now.line, "nested deeper than %d", p->limits.depth);
	p->depth++;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ bodies */
static rebus_status parse_statement(template_parser *p, node **out);

/*
 * Text and statements until a tag whose name is in `ends` ("endfor", "else", NULL); NULL: until the end of the template.
 * Then the current token is that name.
 */
static rebus_status parse_body(template_parser *p, const char *const *ends, node **out)
{
	rebus_status status = REBUS_OK;
	node *first = NULL, **last = &first;
	static const template_tuple_rules print = {.simple = false};
	while (p->now.kind != TOKEN_EOF) {
		int line = p->now.line;
		if (p->now.kind == TOKEN_DATA) {
			TRY(template_node_new(p, NODE_DATA, line, last));
			(*last)->constant = (value){.kind = VALUE_TEXT, .as.text = p->now.text};
			TRY(template_advance(p));
		} else if (p->now.kind == TOKEN_PRINT_BEGIN) {
			TRY(template_advance(p));
			TRY(template_node_new(p, NODE_PRINT, line, last));
			TRY(template_expr_tuple(p, &print, &(*last)->a));
			TRY(template_expect(p, TOKEN_PRINT_END, "end of print statement"));
		} else {
			TRY(template_expect(p, TOKEN_BLOCK_BEGIN, "begin of statement block"));
			for (const char *const *end = ends; end && *end; end++)
				if (template_at_name(p, *end)) {
					*out = first;
					goto done;
				}
			TRY(parse_statement(p, last));
			TRY(template_expect(p, TOKEN_BLOCK_END, "end of statement block"));
		}
		while (*last)
			last = &(*last)->next;
	}
	*out = first;
	if (ends)
		status = template_fail_at(p->err, REBUS_FORMAT, p->now.line, "unexpected end of template, looking for '%s'%s%s%s", ends[0],
			ends[1] ? " or '" : "", ends[1] ? ends[1] : "", ends[1] ? "'" : "");
done:
	return status;
}

/* The rest of an opening tag, its body, and the first token of the tag that ends it. */
static rebus_status parse_block(template_parser *p, const char *const *ends, node **out)
{
	rebus_status status = REBUS_OK;
	if (p->now.kind == TOKEN_COLON)
		TRY(template_advance(p));
	TRY(template_expect(p, TOKEN_BLOCK_END, "end of statement block"));
	TRY(template_enter(p));
	TRY(parse_body(p, ends, out));
	p->depth--;
done:
	return status;
}

/* As parse_block, with a single end, whose name is passed. */
static rebus_status parse_closed(template_parser *p, const char *end, node **out)
{
	const char *const ends[] = {end, NULL};
	rebus_status status = REBUS_OK;
	TRY(parse_block(p, ends, out));
	TRY(template_advance(p));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ targets */
static rebus_status check_target(template_parser *p, const node *n)
{
	if (n->kind == NODE_NAME || n->kind == NODE_NSREF)
		return REBUS_OK;
	if (n->kind != NODE_TUPLE)
		return template_fail_at(p->err, REBUS_FORMAT, n->line, "can't assign to this");
	rebus_status status = REBUS_OK;
	for (const node *item = n->a; item && !status; item = item->next)
		status = check_target(p, item);
	return status;
}

static rebus_status parse_target(template_parser *p, bool namespaces, node **out)
{
	const template_tuple_rules rules = {.simple = true, .namespaces = namespaces};
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_expr_tuple(p, &rules, &n));
	TRY(check_target(p, n));
	*out = n;
done:
	return status;
}

static rebus_status parse_name_target(template_parser *p, node **out)
{
	static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
	rebus_status status = REBUS_OK;
	node *n = NULL;
	TRY(template_node_new(p, NODE_NAME, p->now.line, &n));
	for (size_t i = 0; i < COUNT_OF(constants); i++)
		if (template_at_name(p, constants[i]))
			TRY(template_fail_at(p->err, REBUS_FORMAT, p->now.line, "can't assign to '%s'", constants[i]));
	TRY(expect_name(p, &n->name));
	*out = n;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ statements */
static rebus_status parse_for(template_parser *p, node *n)
{
	static const char *const ends[] = {"endfor", "else", NULL};
	static const template_tuple_rules iterable = {.no_cond = true};
	rebus_status status = REBUS_OK;
	bool was;
	TRY(parse_target(p, false, &n->a));
	TRY(skip_name(p, "in", &was));
	if (!was) {
		char room[48];
		TRY(template_fail_at(p->err, REBUS_FORMAT, p->now.line, "expected token 'in', got '%s'", template_token_name(&p->now, room)));
	}
	TRY(template_expr_tuple(p, &iterable, &n->b));
	TRY(skip_name(p, "if", &was));
	if (was)
		TRY(template_expr(p, true, &n->c));
	TRY(skip_name(p, "recursive", &n->recursive));
	TRY(parse_block(p, ends, &n->body));
	TRY(skip_name(p, "else", &was));
	if (was)
		TRY(parse_closed(p, "endfor", &n->other));
	else
		TRY(template_advance(p));
done:
	return status;
}

static rebus_status parse_if(template_parser *p, node *n)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL};
	static const template_tuple_rules test = {.no_cond = true};
	rebus_status status = REBUS_OK;
	bool was;
	for (node *branch = n;;) {
		TRY(template_expr_tuple(p, &test, &branch->a));
		TRY(parse_block(p, ends, &branch->body));
		int line = p->now.line;
		TRY(skip_name(p, "elif", &was));
		if (!was)
			break;
		TRY(template_node_new(p, NODE_IF, line, &branch->b));
		branch = branch->b;
	}
	TRY(skip_name(p, "else", &was));
	if (was)
		TRY(parse_closed(p, "endif", &n->other));
	else
		TRY(template_advance(p));
done:
	return status;
}

static rebus_status parse_set(template_parser *p, node *n)
{
	static const template_tuple_rules any = {.simple = false};
	rebus_status status = REBUS_OK;
	TRY(parse_target(p, true, &n->a));
	if (p->now.kind == TOKEN_ASSIGN) {
		TRY(template_advance(p));
		TRY(template_expr_tuple(p, &any, &n->b));
	} else {
		n->kind = NODE_SETBLOCK;
		TRY(template_expr_filters(p, false, NULL, &n->b));
		TRY(parse_closed(p, "endset", &n->body));
	}
done:
	return status;
}

static rebus_status parse_signature(template_parser *p, node **out)
{
	rebus_status status = REBUS_OK;
	node **last = out;
	bool defaults = false;
	TRY(template_expect(p, TOKEN_LPAREN, "("));
	while (p->now.kind != TOKEN_RPAREN) {
		if (*out)
			TRY(template_expect(p, TOKEN_COMMA, ","));
		TRY(parse_name_target(p, last));
		if (p->now.kind == TOKEN_ASSIGN) {
			defaults = true;
			TRY(template_advance(p));
			TRY(template_expr(p, true, &(*last)->a));
		} else if (defaults) {
			TRY(template_fail_at(p->err, REBUS_FORMAT, p->now.line, "non-default argument follows default argument"));
		}
		last = &(*last)->next;
	}
	TRY(template_advance(p));
done:
	return status;
}

/* The body of a macro or call block: notes whether it looks up the names that ask for extra arguments. */
static rebus_status parse_callable(template_parser *p, const char *end, node *n)
{
	rebus_status status = REBUS_OK;
	bool caller = p->saw_caller, kwargs = p->saw_kwargs, varargs = p->saw_varargs;
	p->saw_caller = p->saw_kwargs = p->saw_varargs = false;
	TRY(parse_closed(p, end, &n->body));
	n->wants_caller = p->saw_caller;
	n->wants_kwargs = p->saw_kwargs;
	n->wants_varargs = p->saw_varargs;
	for (const node *parameter = n->a; parameter; parameter = parameter->next) {
		const template_string *name = parameter->name;
		if (text_is(name->data, name->size, "caller")) {
			if (n->wants_caller && !parameter->a)
				TRY(template_fail_at(p->err, REBUS_FORMAT, n->line, "the special \"caller\" argument must be omitted or be given a default"));
			n->wants_caller = false;
		}
		n->wants_kwargs = n->wants_kwargs && !text_is(name->data, name->size, "kwargs");
		n->wants_varargs = n->wants_varargs && !text_is(name->data, name->size, "varargs");
	}
	p->saw_caller |= caller;
	p->saw_kwargs |= kwargs;
	p->saw_varargs |= varargs;
done:
	return status;
}

static rebus_status parse_macro(template_parser *p, node *n)
{
	rebus_status status = REBUS_OK;
	node *name = NULL;
	TRY(parse_name_target(p, &name));
	n->name = name->name;
	TRY(parse_signature(p, &n->a));
	TRY(parse_callable(p, "endmacro", n));
done:
	return status;
}

static rebus_status parse_call_block(template_parser *p, node *n)
{
	rebus_status status = REBUS_OK;
	if (p->now.kind == TOKEN_LPAREN)
		TRY(parse_signature(p, &n->a));
	TRY(template_expr(p, true, &n->b));
	if (n->b->kind != NODE_CALL)
		TRY(template_fail_at(p->err, REBUS_FORMAT, n->line, "expected call"));
	TRY(parse_callable(p, "endcall", n));
done:
	return status;
}

static rebus_status parse_filter_block(template_parser *p, node *n)
{
	rebus_status status = REBUS_OK;
	TRY(template_expr_filters(p, true, NULL, &n->a));
	TRY(parse_closed(p, "endfilter", &n->body));
done:
	return status;
}

static rebus_status parse_with(template_parser *p, node *n)
{
	rebus_status status = REBUS_OK;
	node **target = &n->a, **item = &n->b;
	while (p->now.kind != TOKEN_BLOCK_END) {
		if (n->a)
			TRY(template_expect(p, TOKEN_COMMA, ","));
		TRY(parse_target(p, false, target));
		TRY(template_expect(p, TOKEN_ASSIGN, "="));
		TRY(template_expr(p, true, item));
		target = &(*target)->next;
		item = &(*item)->next;
	}
	TRY(parse_closed(p, "endwith", &n->body));
done:
	return status;
}

/* {% print a, b %}: as many PRINT nodes as expressions */
static rebus_status parse_print(template_parser *p, node *n)
{
	rebus_status status = REBUS_OK;
	if (p->now.kind == TOKEN_BLOCK_END) { /* prints nothing */
		TRY(template_node_new(p, NODE_CONST, n->line, &n->a));
		n->a->constant = (value){.kind = VALUE_UNDEFINED};
	} else {
		TRY(template_expr(p, true, &n->a));
	}
	while (p->now.kind != TOKEN_BLOCK_END) {
		TRY(template_expect(p, TOKEN_COMMA, ","));
		TRY(template_node_new(p, NODE_PRINT, n->line, &n->next));
		n = n->next;
		TRY(template_expr(p, true, &n->a));
	}
done:
	return status;
}

static rebus_status parse_generation(template_parser *p, node *n)
{
	return parse_closed(p, "endgeneration", &n->body);
}

static rebus_status parse_bare(template_parser *p, node *n)
{
	(void)p;
	(void)n;
	return REBUS_OK;
}

static const struct {
	const char *name;
	node_kind kind;
	rebus_status (*parse)(template_parser *p, node *n);
} statements[] = {
	{"for", NODE_FOR, parse_for},
	{"if", NODE_IF, parse_if},
	{"set", NODE_SET, parse_set},
	{"macro", NODE_MACRO, parse_macro},
	{"call", NODE_CALLBLOCK, parse_call_block},
	{"filter", NODE_FILTERBLOCK, parse_filter_block},
	{"with", NODE_WITH, parse_with},
	{"print", NODE_PRINT, parse_print},
	{"generation", NODE_GENERATION, parse_generation},
	{"break", NODE_BREAK, parse_bare},
	{"continue", NODE_CONTINUE, parse_bare},
};

static rebus_status parse_statement(template_parser *p, node **out)
{
	static const char *const others[] = {"include", "import", "from", "extends", "block", "autoescape"};
	char room[48];
	rebus_status status = REBUS_OK;
	int line = p->now.line;
	if (p->now.kind != TOKEN_NAME)
		TRY(template_fail_at(p->err, REBUS_FORMAT, line, "tag name expected"));
	for (size_t i = 0; i < COUNT_OF(statements); i++)
		if (template_at_name(p, statements[i].name)) {
			TRY(template_node_new(p, statements[i].kind, line, out));
			TRY(template_advance(p));
			TRY(statements[i].parse(p, *out));
			goto done;
		}
	for (size_t i = 0; i < COUNT_OF(others); i++)
		if (template_at_name(p, others[i]))
			TRY(template_fail_at(p->err, REBUS_UNSUPPORTED, line, "the tag '%s', which chat templates do not need", others[i]));
	status = template_fail_at(p->err, REBUS_FORMAT, line, "Encountered unknown tag '%s'.", template_token_name(&p->now, room));
done:
	return status;
}

static template_limits with_defaults(const template_limits *limits)
{
	template_limits l = limits ? *limits : (template_limits){0};
	l.source = l.source ? l.source : (size_t)1 << 20;
	l.output = l.output ? l.output : (size_t)16 << 20;
	l.memory = l.memory ? l.memory : (size_t)256 << 20;
	l.steps = l.steps > 0 ? l.steps : 10000000;
	l.depth = l.depth > 0 && l.depth <= 128 ? l.depth : 128;
	return l;
}

rebus_status template_parse(arena *a, const char *source, size_t size, const template_limits *limits, template_program **out,
	rebus_error *err)
{
	rebus_status status = REBUS_OK;
	template_parser p = {.limits = with_defaults(limits), .err = err};
	p.pool = (template_pool){.from = a, .limit = p.limits.memory};
	if (size > p.limits.source)
		return error_set(err, REBUS_LIMIT, "a template of %zu bytes, at most %zu are read", size, p.limits.source);
	if (!utf8_valid(source, size))
		return error_set(err, REBUS_FORMAT, "a template that is not UTF-8");
	template_program *program = template_get(&p.pool, 1, sizeof *program);
	if (!program)
		return error_memory(err, "a template");
	program->limits = p.limits;
	TRY(template_lex_open(&p, source, size));
	TRY(template_advance(&p));
	TRY(parse_body(&p, NULL, &program->body));
	TRY(template_scope_check(&p, program));
	*out = program;
done:
	return status;
}
