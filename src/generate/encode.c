/* encode.c - prompts through an encoder: every prompt a sequence, all in one run; the text net sees the rows that come out. */
#include "generate/session_net.h"

typedef struct encoding { /* what a run is fed with */
	tokens table;
	rowmap source;
	layout self;
	int32_t *order;
} encoding;

static rebus_status lay_out(encoding *x, const rebus_model *m, const sequence *list, int32_t count, arena *a, int32_t *row, rebus_error *err)
{
	rebus_status status;
	const text_shape *w = m->text.f->words(m->text.config);
	int64_t total = 0, base[TOKEN_KINDS] = {0, -1, -1, -1, -1};
	for (int32_t i = 0; i < count; i++) {
		if (list[i].count < 1)
			return error_set(err, REBUS_MISUSE, "prompt %d: no tokens", i);
		total += list[i].count;
	}
	TRY(tokens_new(a, total, &x->table, err));
	x->order = arena_zero(a, (size_t)total, 3 * sizeof *x->order);
	if (!x->order)
		return error_memory(err, "prompts");
	for (int32_t i = 0; i < count; i++) {
		row[i] = (int32_t)x->table.rows;
		for (int32_t k = 0; k < list[i].count; k++) {
			x->order[3 * x->table.rows] = k;
			tokens_add(&x->table, TOKEN_TEXT, i, k, -1, list[i].ids[k]);
		}
	}
	row[count] = (int32_t)x->table.rows;
	TRY(tokens_map_sources(a, &x->table, base, w->vocabulary, &x->source, err));
	TRY(tokens_layout(a, &x->table, false, &x->self, err));
done:
	return status;
}

rebus_status session_encode(rebus_session *s, const sequence *list, int32_t count, net_wants wants, arena *a, int32_t *row, rebus_error *err)
{
	rebus_status status;
	encoding x;
	feed f;
	TRY(lay_out(&x, s->m, list, count, a, row, err));
	TRY(session_net(s, NET_ENCODER, (net_size){.rows = x.table.rows}, wants, err));
	net_run r = {.table = &x.table, .source = &x.source, .self = &x.self, .order = x.order};
	TRY(net_feed(&s->encoder.n, &r, a, &f, err));
	TRY(plan_run(s->encoder.p, &f, &s->runner, s->options.stop, s->options.user, err));
done:
	return status;
}

rebus_status session_measure_encode(rebus_session *s, const sequence *list, int32_t count, arena *a, int32_t *row, size_t *plan_bytes, rebus_error *err)
{
	encoding x;
	rebus_status status = lay_out(&x, s->m, list, count, a, row, err);
	return status ? status : session_measure_net(s, NET_ENCODER, (net_size){.rows = x.table.rows}, plan_bytes, err);
}
