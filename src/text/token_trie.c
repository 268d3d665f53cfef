/*
 * token_trie.c - all tokens that a text goes on with, found byte by byte; see text_inside.h.
 *
 * The tokens are sorted; a node is a range of them that begins alike, and its children are the ranges by the next byte. Nodes
 * are laid out in the order of their depth, so that the children of one lie side by side and a step is a binary search
 * among a few bytes (the root has a table):
 *
 *   a, ab, abc, b        nodes  0: root [1..2] | 1: a* [3..3] | 2: b* | 3: ab* [4..4] | 4: abc*
 *
 * A walk from a place of the text is as long as the longest beginning of a token that stands there. That is short in any honest
 * vocabulary, but a hostile one may hold a token of thousands of equal letters, and a text may be made of them: the steps
 * of one text are counted, and bounded by so many for each byte.
 */
#include <stdlib.h>
#include <string.h>

#include "text/text_inside.h"

enum { NODES_MOST = 32 << 20 };

typedef struct {
	uint64_t begin; /* the first eight bytes, so that most comparisons are one of numbers */
	const char *s;
	size_t n;
	int32_t id;
} sorted_token;
typedef struct {
	uint32_t from, end; /* of the sorted tokens */
	uint32_t depth;
} node_range;

static int by_bytes(const void *a, const void *b)
{
	const sorted_token *x = a, *y = b;
	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
	if (order)
		return order;
	return x->n != y->n ? (x->n < y->n ? -1 : 1) : x->id < y->id ? -1 : x->id > y->id;
}

static uint64_t first_bytes(const char *s, size_t n)
{
	uint64_t begin = 0;
	for (size_t i = 0; i < 8; i++)
		begin = begin << 8 | (i < n ? (unsigned char)s[i] : 0);
	return begin;
}

static size_t common(const sorted_token *a, const sorted_token *b)
{
	size_t n = a->n < b->n ? a->n : b->n, i = 0;
	while (i < n && a->s[i] == b->s[i])
		i++;
	return i;
}

/* The tokens to be in the trie, sorted, the last of equal ones only; and how many nodes they make. */
static size_t tokens_sort(const vocabulary_table *v, text_span prefix, sorted_token *list, size_t *nodes)
{
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < v->count; i++) {
		const vocabulary_entry *e = &v->entries[i];
		if (e->token.n > prefix.n && (!prefix.n || memcmp(e->token.s, prefix.s, prefix.n) == 0))
			list[n++] = (sorted_token){first_bytes(e->token.s + prefix.n, e->token.n - prefix.n), e->token.s + prefix.n, e->token.n - prefix.n, e->id};
	}
	if (n)
		qsort(list, n, sizeof(*list), by_bytes);
	*nodes = 1;
	for (size_t i = 0; i < n; i++) {
		size_t same = kept ? common(&list[kept - 1], &list[i]) : 0;
		if (kept && same == list[i].n && same == list[kept - 1].n) {
			list[kept - 1] = list[i];
			continue;
		}
		*nodes += list[i].n - same;
		list[kept++] = list[i];
	}
	return kept;
}

static void nodes_fill(const sorted_token *list, size_t tokens, trie_node *nodes, node_range *ranges)
{
	size_t made = 1;
	nodes[0] = (trie_node){.id = -1};
	ranges[0] = (node_range){0, (uint32_t)tokens, 0};
	for (size_t i = 0; i < made; i++) {
		node_range r = ranges[i];
		nodes[i].children = (uint32_t)made;
		if (r.from < r.end && list[r.from].n == r.depth) /* the shortest stands first */
			nodes[i].id = list[r.from++].id;
		while (r.from < r.end) {
			unsigned char byte = (unsigned char)list[r.from].s[r.depth];
			uint32_t end = r.from + 1;
			while (end < r.end && (unsigned char)list[end].s[r.depth] == byte)
				end++;
			nodes[made] = (trie_node){.id = -1, .byte = byte};
			ranges[made++] = (node_range){r.from, end, r.depth + 1};
			nodes[i].count++;
			r.from = end;
		}
	}
}

rebus_status token_trie_build(tokenizer *t, text_span prefix, token_trie *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena scratch;
	arena_init(&scratch, t->from, 0);
	size_t nodes = 1;
	sorted_token *list = arena_get(&scratch, t->vocabulary.count + 1, sizeof(*list));
	size_t tokens = list ? tokens_sort(&t->vocabulary, prefix, list, &nodes) : 0;
	if (nodes > NODES_MOST) {
		status = error_set(err, REBUS_LIMIT, "tokenizer.json: model.vocab: more than %d different beginnings of tokens", NODES_MOST);
		goto done;
	}
	node_range *ranges = arena_get(&scratch, nodes, sizeof(*ranges));
	trie_node *made = arena_get(t->arena, nodes, sizeof(*made));
	if (!list || !ranges || !made) {
		status = error_memory(err, "the vocabulary");
		goto done;
	}
	nodes_fill(list, tokens, made, ranges);
	out->nodes = made;
	for (uint32_t i = 0; i < made[0].count; i++)
		out->begins[made[made[0].children + i].byte] = made[0].children + i;
done:
	arena_free(&scratch);
	return status;
}

uint32_t token_trie_step(const token_trie *trie, uint32_t node, unsigned char byte)
{
	if (!node)
		return trie->begins[byte];
	const trie_node *n = &trie->nodes[node];
	uint32_t low = n->children, high = low + n->count;
	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (trie->nodes[mid].byte < byte)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n->children + n->count && trie->nodes[low].byte == byte ? low : 0;
}

rebus_status token_trie_spend(text_work *w, size_t steps)
{
	w->steps += steps;
	if (w->steps > w->most_steps)
		return error_set(w->err, REBUS_LIMIT, "text: more than %llu steps through the vocabulary", (unsigned long long)w->most_steps);
	return REBUS_OK;
}
