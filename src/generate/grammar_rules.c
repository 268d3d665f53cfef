/*
 * grammar_rules.c - nodes and rules of a grammar, and sets of characters; see grammar.h.
 *
 * A failure is kept in the rules and seen by rules_check; until then every function accepts NULL and gives NULL, so that a
 * front end reads like the grammar it reads.
 */
#include <stdlib.h>
#include <string.h>

#include "generate/grammar.h"

enum { LAST_CODE = 0x10FFFF, SURROGATES = 0xD800, SURROGATES_END = 0xDFFF, SET_MOST = 1 << 16 };

void rules_begin(rules *r, arena *mem)
{
	*r = (rules){.mem = mem};
	buf_init(&r->list, mem->from, GRAMMAR_RULES_MOST * sizeof(grammar_rule));
}

void rules_end(rules *r)
{
	buf_free(&r->list);
}

rebus_status rules_check(const rules *r, rebus_error *err)
{
	if (r->failed == REBUS_LIMIT || r->list.failed == REBUS_LIMIT)
		return error_set(err, REBUS_LIMIT, "grammar: more than %d parts or %d rules", GRAMMAR_NODES_MOST, GRAMMAR_RULES_MOST);
	if (r->failed || r->list.failed)
		return error_memory(err, "a grammar");
	return REBUS_OK;
}

static grammar_node *new_node(rules *r, node_kind kind)
{
	if (r->nodes == GRAMMAR_NODES_MOST)
		r->failed = REBUS_LIMIT;
	if (r->failed)
		return NULL;
	grammar_node *n = arena_zero(r->mem, 1, sizeof *n);
	if (!n) {
		r->failed = REBUS_MEMORY;
		return NULL;
	}
	n->kind = kind;
	r->nodes++;
	return n;
}

grammar_node *rules_text(rules *r, const char *s, size_t n)
{
	grammar_node *node = new_node(r, NODE_TEXT);
	if (!node)
		return NULL;
	node->text = arena_text(r->mem, s, n);
	node->size = n;
	if (!node->text)
		r->failed = REBUS_MEMORY;
	return node->text ? node : NULL;
}

grammar_node *rules_set(rules *r, const code_range *list, size_t count)
{
	buf ranges;
	buf_init(&ranges, r->mem->from, SET_MOST * sizeof *list);
	for (size_t i = 0; i < count; i++)
		ranges_add(&ranges, list[i].first, list[i].last);
	ranges_normal(&ranges);
	grammar_node *node = ranges.failed ? NULL : new_node(r, NODE_SET);
	size_t n = ranges_count(&ranges);
	code_range *set = node ? arena_get(r->mem, n ? n : 1, sizeof *set) : NULL;
	if (set) {
		if (n)
			memcpy(set, ranges.data, n * sizeof *set);
		node->set = set;
		node->size = n;
	} else if (!r->failed) {
		r->failed = ranges.failed ? ranges.failed : REBUS_MEMORY;
	}
	buf_free(&ranges);
	return set ? node : NULL;
}

grammar_node *rules_list(rules *r, node_kind kind)
{
	return new_node(r, kind);
}

void rules_add(rules *r, grammar_node *list, grammar_node *child)
{
	(void)r;
	if (!list || !child)
		return;
	if (list->last)
		list->last->next = child;
	else
		list->first = child;
	list->last = child;
}

grammar_node *rules_repeat(rules *r, grammar_node *child, uint32_t min, uint32_t max)
{
	grammar_node *node = child ? new_node(r, NODE_REPEAT) : NULL;
	if (!node)
		return NULL;
	node->min = min;
	node->max = max;
	rules_add(r, node, child);
	return node;
}

grammar_node *rules_call(rules *r, int32_t rule)
{
	grammar_node *node = rule >= 0 ? new_node(r, NODE_CALL) : NULL;
	if (node)
		node->rule = rule;
	return node;
}

int32_t rules_new(rules *r, const char *name, size_t n)
{
	grammar_rule rule = {.name = arena_text(r->mem, name, n)};
	if (!rule.name)
		r->failed = REBUS_MEMORY;
	if (r->failed)
		return -1;
	int32_t at = (int32_t)rules_count(r);
	buf_add(&r->list, &rule, sizeof rule);
	return r->list.failed ? -1 : at;
}

void rules_define(rules *r, int32_t rule, grammar_node *body)
{
	if (rule >= 0)
		rules_at(r, rule)->body = body;
}

size_t rules_count(const rules *r)
{
	return r->list.size / sizeof(grammar_rule);
}

grammar_rule *rules_at(const rules *r, int32_t rule)
{
	return (grammar_rule *)(void *)r->list.data + rule;
}

/* ------------------------------------------------------------------------------------------------ sets of characters */
void ranges_add(buf *list, uint32_t first, uint32_t last)
{
	code_range one = {first, last};
	if (first <= last)
		buf_add(list, &one, sizeof one);
}

size_t ranges_count(const buf *list)
{
	return list->size / sizeof(code_range);
}

const code_range *ranges_data(const buf *list)
{
	return (const code_range *)(const void *)list->data;
}

static int by_first(const void *a, const void *b)
{
	const code_range *x = a, *y = b;
	return x->first != y->first ? (x->first < y->first ? -1 : 1) : 0;
}

/* In order, those that touch joined; out may be list. */
static size_t join(code_range *list, size_t n)
{
	size_t kept = 0;
	if (n)
		qsort(list, n, sizeof *list, by_first);
	for (size_t i = 0; i < n; i++) {
		if (kept && list[i].first <= list[kept - 1].last + 1) {
			if (list[i].last > list[kept - 1].last)
				list[kept - 1].last = list[i].last;
		} else {
			list[kept++] = list[i];
		}
	}
	return kept;
}

void ranges_normal(buf *list)
{
	size_t n = ranges_count(list);
	for (size_t i = 0; i < n; i++) {
		code_range *one = (code_range *)(void *)list->data + i;
		if (one->last > LAST_CODE)
			one->last = LAST_CODE;
		if (!one->first)
			one->first = 1; /* texts are C strings */
		if (one->last < SURROGATES || one->first > SURROGATES_END)
			continue;
		code_range above = {SURROGATES_END + 1, one->last}, below = {one->first, SURROGATES - 1};
		bool low = below.first < SURROGATES, high = above.last > SURROGATES_END;
		*one = low ? below : high ? above : (code_range){1, 0};
		if (low && high)
			buf_add(list, &above, sizeof above);
	}
	code_range *all = (code_range *)(void *)list->data;
	size_t kept = 0;
	for (size_t i = 0; i < ranges_count(list); i++)
		if (all[i].first <= all[i].last)
			all[kept++] = all[i];
	list->size = join(all, kept) * sizeof *all;
}

void ranges_invert(buf *list)
{
	ranges_normal(list);
	size_t n = ranges_count(list);
	uint32_t next = 0;
	buf other;
	buf_init(&other, list->from, list->limit);
	for (size_t i = 0; i < n; i++) {
		code_range one = ranges_data(list)[i];
		if (one.first)
			ranges_add(&other, next, one.first - 1);
		next = one.last + 1;
	}
	if (next <= LAST_CODE)
		ranges_add(&other, next, LAST_CODE);
	ranges_normal(&other);
	list->size = 0;
	if (other.size)
		buf_add(list, other.data, other.size);
	if (other.failed)
		list->failed = other.failed;
	buf_free(&other);
}
