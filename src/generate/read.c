/* read.c - texts of an encoder: every text a sequence of its own, all in one run, nothing cached. */
#include "generate/session_net.h"

static int32_t end_row(const text_shape *w, const sequence *s)
{
	int32_t at = 0;
	for (int32_t i = 0; i < s->count; i++) {
		if (w->eos == 2 ? s->ids[i] > s->ids[at] : s->ids[i] == w->eos)
			at = i;
		if (w->eos != 2 && s->ids[i] == w->eos)
			break;
	}
	return at;
}

static int32_t pick_of(const rebus_model *m, const text_shape *w, const sequence *s)
{
	switch (m->self.f->text_pick) {
	case PICK_END:
		return end_row(w, s);
	case PICK_LAST:
		return s->count - 1;
	default:
		return 0;
	}
}

typedef struct reading { /* what a run is fed with */
	tokens table;
	rowmap source, position, segment, pick;
	layout self;
} reading;

static void add_row(tokens *t, const sequence *s, int32_t seq, int32_t k)
{
	tokens_add(t, TOKEN_TEXT, seq, k, -1, s->ids[k]);
	if (s->segment)
		t->segment[t->rows - 1] = s->segment[k];
}

static rebus_status lay_out(reading *r, const rebus_model *m, const sequence *list, int32_t count, int32_t pad_to, arena *a, run_rows *rows, rebus_error *err)
{
	rebus_status status;
	const text_shape *w = m->text.f->words(m->text.config);
	int64_t total = 0;
	for (int32_t i = 0; i < count; i++) {
		if (list[i].count < 1)
			return error_set(err, REBUS_MISUSE, "text %d: no tokens", i);
		total += int_max(list[i].count, pad_to);
	}
	size_t n = (size_t)count + 1;
	*rows = (run_rows){.count = count, .row = arena_get(a, n, sizeof(int32_t)), .picked = arena_get(a, n, sizeof(int32_t))};
	int32_t *picked = arena_get(a, n, sizeof *picked);
	if (!rows->row || !rows->picked || !picked)
		return error_memory(err, "texts");
	TRY(tokens_new(a, total, &r->table, err));
	for (int32_t i = 0; i < count; i++) {
		rows->row[i] = (int32_t)r->table.rows;
		rows->picked[i] = i;
		picked[i] = (int32_t)r->table.rows + pick_of(m, w, &list[i]);
		for (int32_t k = 0; k < list[i].count; k++)
			add_row(&r->table, &list[i], i, k);
		for (int32_t k = list[i].count; k < pad_to; k++)
			tokens_add(&r->table, TOKEN_PAD, i, k, -1, 0);
	}
	rows->row[count] = (int32_t)r->table.rows;
	rows->picked[count] = count;
	int64_t base[TOKEN_KINDS] = {0, -1, -1, -1, -1};
	TRY(tokens_map_sources(a, &r->table, base, w->vocabulary, &r->source, err));
	TRY(tokens_map_order(a, &r->table, 0, w->positions, &r->position, err));
	if (w->segments)
		TRY(tokens_map_segments(a, &r->table, w->segments, &r->segment, err));
	TRY(tokens_map_pick(a, picked, count, total, &r->pick, err));
	TRY(tokens_layout(a, &r->table, !w->both_ways, &r->self, err));
done:
	return status;
}

static net_run run_of(const reading *r)
{
	return (net_run){.table = &r->table, .source = &r->source, .position = &r->position, .segment = &r->segment, .pick = &r->pick, .self = &r->self};
}

rebus_status session_reading(const rebus_model *m, const sequence *list, int32_t count, arena *a, run_rows *rows, net_size *need, net_run *out,
                             rebus_error *err)
{
	reading *r = arena_zero(a, 1, sizeof *r);
	if (!r)
		return error_memory(err, "texts");
	rebus_status status = lay_out(r, m, list, count, 0, a, rows, err);
	if (status)
		return status;
	*need = (net_size){.rows = r->table.rows, .picked = count};
	*out = run_of(r);
	return REBUS_OK;
}

rebus_status session_read(rebus_session *s, const sequence *list, int32_t count, net_wants wants, arena *a, run_rows *rows, rebus_error *err)
{
	return session_read_padded(s, list, count, 0, wants, a, rows, err);
}

rebus_status session_read_padded(rebus_session *s, const sequence *list, int32_t count, int32_t pad_to, net_wants wants, arena *a, run_rows *rows,
                                 rebus_error *err)
{
	rebus_status status;
	reading in;
	feed f;
	TRY(lay_out(&in, s->m, list, count, pad_to, a, rows, err));
	TRY(session_net(s, NET_TEXT, (net_size){.rows = in.table.rows, .picked = count}, wants, err));
	net_run r = run_of(&in);
	TRY(net_feed(&s->text.n, &r, a, &f, err));
	TRY(plan_run(s->text.p, &f, &s->runner, s->options.stop, s->options.user, err));
done:
	return status;
}

rebus_status session_measure_read(rebus_session *s, const sequence *list, int32_t count, arena *a, size_t *plan_bytes, rebus_error *err)
{
	reading in;
	run_rows rows;
	rebus_status status = lay_out(&in, s->m, list, count, 0, a, &rows, err);
	return status ? status : session_measure_net(s, NET_TEXT, (net_size){.rows = in.table.rows, .picked = count}, plan_bytes, err);
}
