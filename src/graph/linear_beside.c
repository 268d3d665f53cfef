/*
 * linear_beside.c - low-rank branches beside a matrix product (LoRA, Hu et al. 2021, figure 1), as PEFT computes them.
 *
 *     x ─┬─► W ──────────────────────────────┬─► y
 *        └─► dropout ─► A ─► scale ─► B ──────┘        A [rank, in], B [outputs, rank]
 *
 * A weight of stacked parts (query, key, value) may have a branch beside some of its parts, or one beside several that the
 * checkpoint has as one tensor: the product's columns are then joined again.
 */
#include "graph/graph.h"

static node_id branch(graph *g, const char *name, node_id x, node_id y, const adapter *b)
{
	node_id in = graph_dropout(g, graph_text(g, "%s.lora_dropout", name), x, b->drop);
	node_id low = graph_linear(g, graph_text(g, "%s.lora_A", name), in, b->down);
	low = graph_scale(g, graph_text(g, "%s.lora_scale", name), low, b->scale);
	return graph_add(g, NULL, y, graph_linear(g, graph_text(g, "%s.lora_B", name), low, b->up));
}

bool graph_has_beside(const weight *w)
{
	for (int p = 0; p < w->parts; p++)
		if (w->beside[p])
			return true;
	return false;
}

node_id graph_linear_beside(graph *g, const char *name, node_id x, node_id y, const weight *w)
{
	node_id part[WEIGHT_PARTS];
	int count = 0;
	int64_t column = 0;
	const char *base = name ? name : w->name;
	for (int p = 0; p < w->parts && y;) {
		const adapter *b = w->beside[p];
		int64_t width = 0, end = b ? p + b->parts : p + 1;
		for (; p < end && p < w->parts; p++)
			width += w->part[p].out;
		node_id at = width == w->out ? y : graph_view(g, y, (int32_t)column, (int32_t)width);
		part[count++] = b ? branch(g, base, x, at, b) : at;
		column += width;
	}
	if (!y || count == 1) {
		if (y)
			graph_rename(g, part[0], name);
		return y ? part[0] : 0;
	}
	return graph_concat(g, name, part, count);
}
