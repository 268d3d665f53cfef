/* batching.c - see batching.h. */
#include "generate/batching.h"

#include <stdlib.h>
#include <string.h>

typedef struct ranked {
	const batch_item *item;
	int32_t number;
} ranked;

static int by_shape(const void *x, const void *y)
{
	const ranked *a = x, *b = y;
	for (int i = 0; i < 2; i++)
		if (a->item->shape[i] != b->item->shape[i])
			return a->item->shape[i] < b->item->shape[i] ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static bool same_shape(const batch_item *a, const batch_item *b)
{
	return a->shape[0] == b->shape[0] && a->shape[1] == b->shape[1];
}

/* The largest batch that begins with member `first` of the order. */
static batch next_batch(rebus_batching policy, int64_t tokens, const ranked *list, int32_t count, int32_t first)
{
	batch b = {.first = first};
	int64_t sum = 0, learned = 0;
	int32_t longest = 0;
	for (int32_t i = first; i < count; i++) {
		const batch_item *x = list[i].item;
		int32_t most = (int32_t)int_max(longest, x->rows), n = b.count + 1;
		int64_t rows = policy == REBUS_PAD ? learned + x->learned + (int64_t)n * most : sum + x->learned + x->rows;
		if (b.count && ((tokens && rows > tokens) || (policy == REBUS_BUCKET && !same_shape(list[first].item, x))))
			break;
		sum += x->learned + x->rows;
		learned += x->learned;
		longest = most;
		b.count = n;
	}
	b.pad_to = policy == REBUS_PAD ? longest : 0;
	return b;
}

rebus_status batching_cut(arena *a, rebus_batching policy, int64_t tokens, const batch_item *items, int32_t count, batch_list *out, rebus_error *err)
{
	size_t n = (size_t)count;
	ranked *list = arena_get(a, n, sizeof *list);
	batch_list b = {.order = arena_get(a, n, sizeof *b.order), .at = arena_get(a, n, sizeof *b.at)};
	if (!list || !b.order || !b.at)
		return error_memory(err, "batches");
	for (int32_t i = 0; i < count; i++)
		list[i] = (ranked){&items[i], i};
	if (policy == REBUS_BUCKET)
		qsort(list, n, sizeof *list, by_shape);
	for (int32_t i = 0; i < count; i += b.at[b.count++].count)
		b.at[b.count] = next_batch(policy, tokens, list, count, i);
	for (int32_t k = 0; k < b.count; k++)
		for (int32_t i = b.at[k].first; i < b.at[k].first + b.at[k].count; i++) {
			const batch_item *x = list[i].item;
			b.order[i] = list[i].number;
			b.real += x->learned + x->rows;
			b.computed += x->learned + int_max(x->rows, b.at[k].pad_to);
		}
	*out = b;
	return REBUS_OK;
}

rebus_status batching_cut_pictures(const rebus_session *s, const picture_list *list, arena *a, batch_list *out, rebus_error *err)
{
	const tower_shape *t = s->m->vision.f->tower(s->m->vision.config);
	batch_item *items = arena_get(a, (size_t)list->count, sizeof *items);
	if (!items)
		return error_memory(err, "batches");
	for (int32_t i = 0; i < list->count; i++) {
		const grid_picture *g = list->at[i];
		items[i] = (batch_item){(int32_t)t->learned, g->seen, {g->rows, g->columns}};
	}
	return batching_cut(a, s->options.batching, s->options.batch_tokens, items, list->count, out, err);
}

rebus_status batching_cut_texts(const rebus_session *s, const sequence *list, int32_t count, arena *a, batch_list *out, rebus_error *err)
{
	batch_item *items = arena_get(a, (size_t)count, sizeof *items);
	if (!items)
		return error_memory(err, "batches");
	for (int32_t i = 0; i < count; i++)
		items[i] = (batch_item){0, list[i].count, {list[i].count, 0}};
	return batching_cut(a, s->options.batching, s->options.batch_tokens, items, count, out, err);
}

rebus_status batching_pictures(const batch_list *b, int32_t i, const picture_list *from, arena *a, picture_list *out, rebus_error *err)
{
	const batch *x = &b->at[i];
	picture_list list = {.at = arena_get(a, (size_t)x->count, sizeof *list.at), .count = x->count, .pad_to = x->pad_to};
	if (!list.at)
		return error_memory(err, "batches");
	for (int32_t k = 0; k < x->count; k++)
		list.at[k] = from->at[b->order[x->first + k]];
	*out = list;
	return REBUS_OK;
}

rebus_status batching_texts(const batch_list *b, int32_t i, const sequence *from, arena *a, sequence **out, rebus_error *err)
{
	const batch *x = &b->at[i];
	sequence *list = arena_get(a, (size_t)x->count, sizeof *list);
	if (!list)
		return error_memory(err, "batches");
	for (int32_t k = 0; k < x->count; k++)
		list[k] = from[b->order[x->first + k]];
	*out = list;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ runs */
typedef struct gathering { /* rows of all inputs, while batches run */
	const batch_list *batches;
	const char *output;
	int32_t inputs;
	float *data; /* [inputs, width] once the width is known */
	int64_t width;
} gathering;

static rebus_status gather(gathering *g, const run_net *r, const rebus_model *m, int32_t batch_number, arena *a, rebus_error *err)
{
	const batch *b = &g->batches->at[batch_number];
	plan_rows x;
	if (!session_output(r, g->output, &x, NULL) || x.rows != b->count)
		return error_set(err, REBUS_MISUSE, "a %s model gives no %s", rebus_model_family(m), !strcmp(g->output, NET_EMBEDDING) ? "embeddings" : g->output);
	if (!g->data) {
		g->width = x.width;
		g->data = arena_get(a, (size_t)g->inputs, (size_t)x.width * sizeof *g->data);
		if (!g->data)
			return error_memory(err, "embeddings");
	}
	for (int32_t k = 0; k < b->count; k++)
		memcpy(g->data + g->batches->order[b->first + k] * g->width, x.data + k * x.stride, (size_t)g->width * sizeof *g->data);
	return REBUS_OK;
}

static plan_rows gathered(const gathering *g)
{
	return (plan_rows){g->data, g->inputs, g->width, g->width};
}

rebus_status batching_see(rebus_session *s, const picture_list *list, const char *output, arena *a, plan_rows *out, rebus_error *err)
{
	rebus_status status;
	batch_list batches;
	gathering g = {.batches = &batches, .output = output, .inputs = list->count};
	TRY(batching_cut_pictures(s, list, a, &batches, err));
	for (int32_t i = 0; i < batches.count; i++) {
		arena scratch;
		picture_list some;
		run_rows rows;
		arena_init(&scratch, s->m->mem.from, 0);
		status = batching_pictures(&batches, i, list, &scratch, &some, err);
		if (!status)
			status = session_see(s, &some, (net_wants){0}, &scratch, &rows, err);
		if (!status)
			status = gather(&g, &s->vision, s->m, i, a, err);
		arena_free(&scratch);
		TRY(status);
	}
	*out = gathered(&g);
done:
	return status;
}

rebus_status batching_read(rebus_session *s, const sequence *list, int32_t count, const char *output, arena *a, plan_rows *out, rebus_error *err)
{
	rebus_status status;
	batch_list batches;
	gathering g = {.batches = &batches, .output = output, .inputs = count};
	TRY(batching_cut_texts(s, list, count, a, &batches, err));
	for (int32_t i = 0; i < batches.count; i++) {
		arena scratch;
		sequence *some;
		run_rows rows;
		arena_init(&scratch, s->m->mem.from, 0);
		status = batching_texts(&batches, i, list, &scratch, &some, err);
		if (!status)
			status = session_read_padded(s, some, batches.at[i].count, batches.at[i].pad_to, (net_wants){0}, &scratch, &rows, err);
		if (!status)
			status = gather(&g, &s->text, s->m, i, a, err);
		arena_free(&scratch);
		TRY(status);
	}
	*out = gathered(&g);
done:
	return status;
}
