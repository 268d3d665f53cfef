/*
 * template_eval.c - runs expressions.
 *
 *   node ─► template_eval ─► value
 *
 * Straight over the tree. Each step counts against limits.steps, each level of recursion against 16 times limits.depth (an
 * expression of a macro called by a macro ... goes through several), each call inside a call against limits.depth.
 *
 * A name is looked up from the innermost scope outwards, then among the caller's variables, then among the functions that
 * Jinja provides; template_scope.c has prepared what starts undefined.
 */
#include "text/template_inside.h"

#include <stdio.h>
#include <string.h>

rebus_status template_fail(template_run *r, rebus_status code, const char *format, ...)
{
	char text[220];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return error_set(r->err, code, "template line %d: %s", r->line, text);
}

rebus_status template_no_memory(template_run *r)
{
	if (r->pool.full)
		return template_fail(r, REBUS_LIMIT, "rendering needs more than %zu bytes", r->pool.limit);
	return error_memory(r->err, "rendering a template");
}

rebus_status template_step(template_run *r, size_t work)
{
	if (work > (size_t)r->limits.steps || r->steps > r->limits.steps - (int64_t)work)
		return template_fail(r, REBUS_LIMIT, "more than %lld steps", (long long)r->limits.steps);
	r->steps += (int64_t)work;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ names */
static rebus_status eval_name(template_run *r, const node *n, value *out)
{
	for (const template_scope *s = r->scope; s; s = s->outer) {
		const template_pair *pair = template_map_text(&s->names, n->name);
		if (pair) {
			*out = pair->item;
			return template_step(r, 1);
		}
	}
	const template_pair *pair = r->globals.kind == VALUE_DICT ? template_map_text(r->globals.as.map, n->name) : NULL;
	if (pair) {
		*out = pair->item;
		return REBUS_OK;
	}
	if (template_function_named(n->name, out))
		return REBUS_OK;
	return template_undefined_new(r, &(template_undefined){.name = n->name}, out);
}

rebus_status template_bind(template_run *r, template_scope *s, template_string *name, value v)
{
	return template_map_set(r, &s->names, (value){.kind = VALUE_TEXT, .as.text = name}, v);
}

/* ------------------------------------------------------------------------------------------------ assignment */
static rebus_status assign_attribute(template_run *r, const node *target, value v)
{
	rebus_status status = REBUS_OK;
	value space;
	TRY(eval_name(r, target->a, &space));
	r->line = target->line;
	if (space.kind != VALUE_NAMESPACE)
		TRY(template_fail(r, REBUS_FORMAT, "cannot assign attribute on non-namespace object"));
	if (target->name->size && target->name->data[0] == '_')
		TRY(template_fail(r, REBUS_FORMAT, "Chat templates cannot store underscore-prefixed attributes on a namespace"));
	TRY(template_map_set(r, space.as.map, (value){.kind = VALUE_TEXT, .as.text = target->name}, v));
done:
	return status;
}

rebus_status template_assign(template_run *r, const node *target, value v)
{
	rebus_status status = REBUS_OK;
	value *at;
	size_t count, want = 0;
	if (target->kind == NODE_NAME)
		return template_bind(r, r->scope, target->name, v);
	if (target->kind == NODE_NSREF)
		return assign_attribute(r, target, v);
	r->line = target->line;
	if (v.kind == VALUE_UNDEFINED && !target->a)
		return REBUS_OK;
	TRY(template_items(r, v, &at, &count));
	for (const node *item = target->a; item; item = item->next)
		want++;
	if (count > want)
		TRY(template_fail(r, REBUS_FORMAT, "too many values to unpack (expected %zu)", want));
	if (count < want)
		TRY(template_fail(r, REBUS_FORMAT, "not enough values to unpack (expected %zu, got %zu)", want, count));
	size_t i = 0;
	for (const node *item = target->a; item; item = item->next)
		TRY(template_assign(r, item, at[i++]));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ literals */
static rebus_status eval_sequence(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value item;
	TRY(template_seq_new(r, n->kind == NODE_TUPLE ? VALUE_TUPLE : VALUE_LIST, 0, out));
	for (const node *at = n->a; at; at = at->next) {
		TRY(template_eval(r, at, &item));
		TRY(template_seq_add(r, *out, item));
	}
done:
	return status;
}

static rebus_status eval_dict(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value key, item;
	TRY(template_map_new(r, VALUE_DICT, out));
	for (const node *at = n->a; at; at = at->next->next) {
		TRY(template_eval(r, at, &key));
		TRY(template_eval(r, at->next, &item));
		r->line = at->line;
		TRY(template_map_set(r, out->as.map, key, item));
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ operators */
static rebus_status compare(template_run *r, token_kind op, value a, value b, bool *out)
{
	static const char *const signs[] = {[TOKEN_GT] = ">", [TOKEN_GE] = ">=", [TOKEN_LT] = "<", [TOKEN_LE] = "<="};
	rebus_status status = REBUS_OK;
	int order;
	if (op == TOKEN_EQ || op == TOKEN_NE) {
		TRY(template_equal(r, a, b, out));
		*out = *out == (op == TOKEN_EQ);
	} else if (op == TOKEN_IN || op == TOKEN_NOT_IN) {
		TRY(template_contains(r, b, a, out));
		*out = *out == (op == TOKEN_IN);
	} else {
		TRY(template_order(r, a, b, signs[op], &order));
		*out = order != 2 && (op == TOKEN_GT ? order > 0 : op == TOKEN_GE ? order >= 0 : op == TOKEN_LT ? order < 0 : order <= 0);
	}
done:
	return status;
}

static rebus_status eval_compare(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value left, right;
	bool holds = true;
	TRY(template_eval(r, n->a, &left));
	for (const node *operand = n->b; operand && holds; operand = operand->next) {
		TRY(template_eval(r, operand->a, &right));
		r->line = operand->line;
		TRY(compare(r, (token_kind)operand->op, left, right, &holds));
		left = right;
	}
	*out = template_flag(holds);
done:
	return status;
}

static rebus_status eval_concat(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value item;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	for (const node *at = n->a; at; at = at->next) {
		TRY(template_eval(r, at, &item));
		r->line = n->line;
		TRY(template_str(r, item, &b));
	}
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

static rebus_status eval_logic(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	TRY(template_eval(r, n->a, out));
	if (n->kind == NODE_NOT)
		*out = template_flag(!template_truth(*out));
	else if (template_truth(*out) == (n->kind == NODE_AND))
		TRY(template_eval(r, n->b, out));
done:
	return status;
}

static rebus_status eval_cond(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value test;
	TRY(template_eval(r, n->a, &test));
	if (template_truth(test) || n->c)
		return template_eval(r, template_truth(test) ? n->b : n->c, out);
	TRY(template_undefined_hint(r, "the inline if-expression evaluated to false and no else section was defined.", out));
done:
	return status;
}

static rebus_status eval_item(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value of, index, part[3];
	TRY(template_eval(r, n->a, &of));
	if (n->b->kind != NODE_SLICE) {
		TRY(template_eval(r, n->b, &index));
		r->line = n->line;
		return template_item(r, of, index, out);
	}
	const node *from[] = {n->b->a, n->b->b, n->b->c};
	for (int i = 0; i < 3; i++) {
		part[i] = template_none();
		if (from[i])
			TRY(template_eval(r, from[i], &part[i]));
	}
	r->line = n->line;
	TRY(template_slice(r, of, part[0], part[1], part[2], out));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ calls */
static rebus_status add_keyword(template_run *r, template_map *m, value key, value item)
{
	rebus_status status = REBUS_OK;
	template_pair *pair = NULL;
	if (key.kind != VALUE_TEXT)
		TRY(template_fail(r, REBUS_FORMAT, "keywords must be strings"));
	TRY(template_map_find(r, m, key, &pair));
	if (pair)
		TRY(template_fail(r, REBUS_FORMAT, "got multiple values for keyword argument '%.*s'", (int)int_min((int64_t)key.as.text->size, 80),
			key.as.text->data));
	TRY(template_map_set(r, m, key, item));
done:
	return status;
}

static rebus_status spread_keywords(template_run *r, template_map *m, value from)
{
	rebus_status status = REBUS_OK;
	if (from.kind != VALUE_DICT)
		TRY(template_fail(r, REBUS_FORMAT, "argument after ** must be a mapping, not %s", template_type(from)));
	for (size_t i = 0; i < from.as.map->count; i++)
		TRY(add_keyword(r, m, from.as.map->at[i].key, from.as.map->at[i].item));
done:
	return status;
}

rebus_status template_args_eval(template_run *r, const node *args, template_args *out)
{
	rebus_status status = REBUS_OK;
	value list, keywords, item;
	*out = (template_args){0};
	if (!args)
		return REBUS_OK;
	TRY(template_seq_new(r, VALUE_LIST, 0, &list));
	TRY(template_map_new(r, VALUE_DICT, &keywords));
	for (; args; args = args->next) {
		bool plain = args->kind != NODE_KEYWORD && args->kind != NODE_STAR && args->kind != NODE_STARSTAR;
		TRY(template_eval(r, plain ? args : args->a, &item));
		r->line = args->line;
		if (args->kind == NODE_KEYWORD) {
			TRY(add_keyword(r, keywords.as.map, (value){.kind = VALUE_TEXT, .as.text = args->name}, item));
		} else if (args->kind == NODE_STARSTAR) {
			TRY(spread_keywords(r, keywords.as.map, item));
		} else if (args->kind == NODE_STAR) {
			value *at;
			size_t count;
			TRY(template_items(r, item, &at, &count));
			for (size_t i = 0; i < count; i++)
				TRY(template_seq_add(r, list, at[i]));
		} else {
			TRY(template_seq_add(r, list, item));
		}
	}
	*out = (template_args){.at = list.as.list->at, .count = list.as.list->count, .keywords = keywords.as.map->at,
		.keyword_count = keywords.as.map->count};
done:
	return status;
}

rebus_status template_call(template_run *r, value f, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	if (r->calls >= r->limits.depth)
		TRY(template_fail(r, REBUS_LIMIT, "calls nested deeper than %d", r->limits.depth));
	r->calls++;
	switch (f.kind) {
	case VALUE_MACRO:
		TRY(template_call_macro(r, f.as.macro, args, out));
		break;
	case VALUE_METHOD:
		TRY(template_method_call(r, f.as.method, args, out));
		break;
	case VALUE_FUNCTION:
		TRY(template_function_call(r, f.as.function, args, out));
		break;
	case VALUE_LOOP:
		if (args->count != 1 || args->keyword_count)
			TRY(template_fail(r, REBUS_FORMAT, "loop(...) takes one iterable"));
		TRY(template_call_loop(r, f.as.loop, args->at[0], out));
		break;
	case VALUE_JOINER: /* nothing the first time, the separator from then on */
		*out = f.as.wheel->at[f.as.wheel->next];
		f.as.wheel->next = 1;
		break;
	case VALUE_UNDEFINED:
		TRY(template_undefined_fail(r, f));
		break;
	default:
		TRY(template_fail(r, REBUS_FORMAT, "'%s' object is not callable", template_type(f)));
	}
	r->calls--;
done:
	return status;
}

static rebus_status eval_call(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value f;
	template_args args;
	TRY(template_eval(r, n->a, &f));
	TRY(template_args_eval(r, n->args, &args));
	r->line = n->line;
	TRY(template_call(r, f, &args, out));
done:
	return status;
}

static rebus_status eval_filter(template_run *r, const node *n, const value *inner, value *out)
{
	rebus_status status = REBUS_OK;
	value on = {.kind = VALUE_MISSING};
	template_args args;
	if (r->depth >= r->limits.depth * 16)
		TRY(template_fail(r, REBUS_LIMIT, "evaluating nests deeper than %d", r->limits.depth * 16));
	r->depth++;
	if (n->a && n->a->kind == NODE_FILTER)
		TRY(eval_filter(r, n->a, inner, &on));
	else if (n->a)
		TRY(template_eval(r, n->a, &on));
	else
		on = *inner;
	TRY(template_args_eval(r, n->args, &args));
	r->line = n->line;
	if (n->which < 0)
		TRY(template_fail(r, REBUS_FORMAT, "No filter named '%.*s'.", (int)int_min((int64_t)n->name->size, 80), n->name->data));
	TRY(template_filter_call(r, n->which, on, &args, out));
	r->depth--;
done:
	return status;
}

rebus_status template_eval_filter(template_run *r, const node *n, value on, value *out)
{
	return eval_filter(r, n, &on, out);
}

static rebus_status eval_test(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value on;
	template_args args;
	bool holds = false;
	TRY(template_eval(r, n->a, &on));
	TRY(template_args_eval(r, n->args, &args));
	r->line = n->line;
	if (n->which < 0)
		TRY(template_fail(r, REBUS_FORMAT, "No test named '%.*s'.", (int)int_min((int64_t)n->name->size, 80), n->name->data));
	TRY(template_test_call(r, n->which, on, &args, &holds));
	*out = template_flag(holds);
done:
	return status;
}

static rebus_status eval_binary(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value a, b;
	TRY(template_eval(r, n->a, &a));
	TRY(template_eval(r, n->b, &b));
	r->line = n->line;
	TRY(template_binary(r, (token_kind)n->op, a, b, out));
done:
	return status;
}

static rebus_status eval_unary(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value a;
	TRY(template_eval(r, n->a, &a));
	r->line = n->line;
	TRY(template_unary(r, (token_kind)n->op, a, out));
done:
	return status;
}

static rebus_status eval_attr(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value of;
	TRY(template_eval(r, n->a, &of));
	r->line = n->line;
	TRY(template_attr(r, of, n->name, out));
done:
	return status;
}

static rebus_status eval_any(template_run *r, const node *n, value *out)
{
	switch (n->kind) {
	case NODE_NAME:
		return eval_name(r, n, out);
	case NODE_TUPLE:
	case NODE_LIST:
		return eval_sequence(r, n, out);
	case NODE_DICT:
		return eval_dict(r, n, out);
	case NODE_BINARY:
		return eval_binary(r, n, out);
	case NODE_UNARY:
		return eval_unary(r, n, out);
	case NODE_AND:
	case NODE_OR:
	case NODE_NOT:
		return eval_logic(r, n, out);
	case NODE_COMPARE:
		return eval_compare(r, n, out);
	case NODE_CONCAT:
		return eval_concat(r, n, out);
	case NODE_COND:
		return eval_cond(r, n, out);
	case NODE_FILTER:
		return eval_filter(r, n, NULL, out);
	case NODE_TEST:
		return eval_test(r, n, out);
	case NODE_CALL:
		return eval_call(r, n, out);
	case NODE_ATTR:
		return eval_attr(r, n, out);
	case NODE_ITEM:
		return eval_item(r, n, out);
	default: /* a slice among several indices */
		return template_fail(r, REBUS_FORMAT, "a slice stands where it cannot");
	}
}

rebus_status template_eval(template_run *r, const node *n, value *out)
{
	rebus_status status = REBUS_OK;
	value v;
	if (n->kind == NODE_CONST) {
		*out = n->constant;
		return template_step(r, 1);
	}
	r->line = n->line;
	TRY(template_step(r, 1));
	if (r->depth >= r->limits.depth * 16)
		TRY(template_fail(r, REBUS_LIMIT, "evaluating nests deeper than %d", r->limits.depth * 16));
	r->depth++;
	TRY(eval_any(r, n, &v));
	r->depth--;
	*out = v;
done:
	return status;
}
