/*
 * layout.c - walking an attention layout: blocks of query rows, and what a block's rows see of a tile of keys.
 *
 *   segments        seg 0 [q0 ───────── q1)        seg 1 [q0 ── q1)      first = {0, 2, 3}
 *   blocks          │ 64 rows │ the rest │         │ 40 rows │           a block never spans two segments
 *
 *   keys of a segment, from kv0:   │ tile 0 │ tile 1 │ tile 2 ...        row i sees [lo[i], hi[i]) of them
 *
 * Blocks and tiles are counted from the segment's own start, so a segment's result does not depend on what is packed
 * beside it.
 */
#include "kernels/inner.h"

void layout_finish(layout *l, int32_t *first)
{
	first[0] = 0;
	for (int32_t i = 0; i < l->count; i++)
		first[i + 1] = first[i] + (int32_t)ceil_div(int_max(l->seg[i].q1 - l->seg[i].q0, 0), ATTEND_ROWS);
	l->first = first;
}

int64_t attend_blocks(const layout *at)
{
	return at->count ? at->first[at->count] : 0;
}

attend_block attend_find(const layout *at, int64_t block)
{
	int32_t low = 0, high = at->count; /* first[low] <= block < first[high] */
	while (high - low > 1) {
		int32_t middle = low + (high - low) / 2;
		if (at->first[middle] <= block)
			low = middle;
		else
			high = middle;
	}
	attend_block b = {.seg = at->seg[low]};
	b.row = b.seg.q0 + (int32_t)(block - at->first[low]) * ATTEND_ROWS;
	b.rows = (int32_t)int_min(ATTEND_ROWS, b.seg.q1 - b.row);
	return b;
}

bool attend_seen(const layout *at, const attend_block *b, int32_t j0, int32_t span, int32_t *lo, int32_t *hi, int32_t *from, int32_t *to)
{
	int32_t keys = (int32_t)int_min(span, b->seg.kv1 - b->seg.kv0 - j0), low = span, high = 0;
	bool partial = false;
	for (int32_t i = 0; i < b->rows; i++) {
		int64_t l = at->lo ? (int64_t)at->lo[b->row + i] - j0 : 0, h = at->hi ? (int64_t)at->hi[b->row + i] - j0 : keys;
		lo[i] = (int32_t)int_min(int_max(l, 0), keys);
		hi[i] = (int32_t)int_max(int_min(h, keys), lo[i]);
		if (lo[i] < hi[i]) {
			low = (int32_t)int_min(low, lo[i]);
			high = (int32_t)int_max(high, hi[i]);
		}
	}
	for (int32_t i = 0; i < b->rows && !partial; i++)
		partial = lo[i] != low || hi[i] != high;
	*from = low;
	*to = high;
	return partial;
}
