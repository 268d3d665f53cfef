/*
 * tokens_report.c - rebus_tokens_json and rebus_tokens_table: the token table that a prompt becomes, row by row.
 *
 * For models that generate it is the one sequence the text model reads; for encoders every picture and every text is a
 * sequence. Positions are those of the table: t, y, x of picture rows, 1-D order.
 */
#include <string.h>

#include "generate/session.h"
#include "lab/report.h"

typedef struct telling {
	const rebus_model *m;
	const rebus_prompt *p;
	arena a;
	tokens table;
	ids ids; /* of all texts, in order */
} telling;

static rebus_status tell_generating(telling *t, rebus_error *err)
{
	sequence q;
	int64_t *rows = arena_get(&t->a, (size_t)t->p->picture_count, sizeof *rows);
	if (!rows)
		return error_memory(err, "tokens");
	for (int32_t k = 0; k < t->p->picture_count; k++)
		rows[k] = prompt_feature_rows(t->m, &t->p->pictures[k]);
	rebus_status status = prompt_sequence(t->p, &t->a, rows, &q, err);
	if (!status)
		status = tokens_new(&t->a, q.count, &t->table, err);
	int32_t feature = 0, start = 0;
	for (int32_t i = 0; !status && i < q.count; i++) {
		int32_t k = q.picture[i];
		ids_add(&t->ids, q.ids[i]);
		tokens_add(&t->table, k < 0 ? TOKEN_TEXT : TOKEN_IMAGE, 0, i, k, k < 0 ? q.ids[i] : feature++);
		if (k < 0)
			continue;
		start = i && q.picture[i - 1] == k ? start : i;
		int32_t columns = t->p->pictures[k].columns, extra = (int32_t)(rows[k] - (int64_t)t->p->pictures[k].rows * columns), at = i - start - extra;
		if (at >= 0) { /* a kept class row stands before the grid and has no place in it */
			t->table.at[AT_Y][i] = (float)(at / columns);
			t->table.at[AT_X][i] = (float)(at % columns);
		}
	}
	return status;
}

/* A text's ids where there is no model, only a tokenizer. */
static rebus_status words_ids(telling *t, const piece *x, sequence *out, rebus_error *err)
{
	ids list;
	ids_init(&list, t->a.from, 0);
	rebus_status status = text_encode_pair(t->m->words, x->text, x->size, x->pair, x->pair_size, !t->p->options.bare, INT64_MAX, &list, NULL, err);
	size_t n = ids_count(&list);
	out->count = (int32_t)n;
	out->ids = arena_get(&t->a, n + 1, sizeof *out->ids);
	if (!status && !out->ids)
		status = error_memory(err, "tokens");
	if (!status && n)
		memcpy(out->ids, ids_data(&list), n * sizeof *out->ids);
	ids_free(&list);
	return status;
}

static rebus_status tell_encoder(telling *t, rebus_error *err)
{
	const tower_shape *shape = t->m->vision.f ? t->m->vision.f->tower(t->m->vision.config) : NULL;
	int32_t count = t->p->piece_count, seq = 0, patch = 0;
	int64_t total = 0;
	sequence *texts = arena_zero(&t->a, (size_t)count, sizeof *texts);
	if (!texts)
		return error_memory(err, "tokens");
	for (int32_t i = 0; i < count; i++) {
		const piece *x = &t->p->pieces[i];
		const grid_picture *g = x->image ? &t->p->pictures[x->picture] : NULL;
		rebus_status status = g ? REBUS_OK : t->m->config ? prompt_text_ids(t->p, &t->a, x, true, &texts[i], err) :
			words_ids(t, x, &texts[i], err);
		if (status)
			return status;
		total += g ? shape->learned + g->seen : texts[i].count;
	}
	rebus_status status = tokens_new(&t->a, total, &t->table, err);
	for (int32_t i = 0; !status && i < count; i++, seq++) {
		const piece *x = &t->p->pieces[i];
		if (x->image) {
			const grid_picture *g = &t->p->pictures[x->picture];
			for (int32_t k = 0; k < shape->learned; k++)
				tokens_add(&t->table, TOKEN_LEARNED, seq, k, x->picture, k);
			if (g->kept)
				tokens_add_some(&t->table, TOKEN_IMAGE, seq, (int32_t)shape->learned, x->picture, patch, g->kept, g->seen, g->columns);
			else
				tokens_add_grid(&t->table, TOKEN_IMAGE, seq, (int32_t)shape->learned, x->picture, patch, g->rows, g->columns);
			patch += g->rows * g->columns;
		}
		for (int32_t k = 0; k < texts[i].count; k++) {
			ids_add(&t->ids, texts[i].ids[k]);
			tokens_add(&t->table, TOKEN_TEXT, seq, k, -1, texts[i].ids[k]);
			if (texts[i].segment)
				t->table.segment[t->table.rows - 1] = texts[i].segment[k];
		}
	}
	return status;
}

static rebus_status tell(telling *t, const rebus_model *m, const rebus_prompt *p, rebus_error *err)
{
	*t = (telling){.m = m, .p = p};
	arena_init(&t->a, m->mem.from, 0);
	ids_init(&t->ids, m->mem.from, 0);
	rebus_status status = m->self.f->abilities & REBUS_GENERATES ? tell_generating(t, err) : tell_encoder(t, err);
	return status ? status : ids_check(&t->ids, err);
}

static void told(telling *t)
{
	ids_free(&t->ids);
	arena_free(&t->a);
}

static rebus_status add_decoded(const telling *t, buf *out, const char *key, bool skip_special, rebus_error *err)
{
	buf text;
	buf_init(&text, t->m->mem.from, 0);
	rebus_status status = t->m->words ? text_decode(t->m->words, ids_data(&t->ids), ids_count(&t->ids), skip_special, &text, err) : REBUS_OK;
	if (!status)
		status = buf_check(&text, err, "decoded text");
	report_key(out, key);
	buf_json(out, text.data ? text.data : "", text.size);
	buf_free(&text);
	return status;
}

rebus_status rebus_tokens_json(const rebus_model *m, rebus_prompt *prompt, rebus_text **out, rebus_error *err)
{
	rebus_status status;
	telling t;
	rebus_text *r = NULL;
	TRY(tell(&t, m, prompt, err));
	TRY(report_new(m->mem.from, &r, err));
	buf *b = &r->out;
	buf_text(b, "{\"ids\": [");
	for (size_t i = 0; i < ids_count(&t.ids); i++)
		buf_format(b, "%s%d", i ? ", " : "", ids_data(&t.ids)[i]);
	buf_text(b, "]");
	TRY(add_decoded(&t, b, "text", true, err));
	TRY(add_decoded(&t, b, "text_with_special", false, err));
	report_key(b, "rows");
	buf_text(b, "[");
	for (int64_t i = 0; i < t.table.rows; i++)
		buf_format(b, "%s{\"kind\": \"%s\", \"seq\": %d, \"order\": %d, \"picture\": %d, \"t\": %g, \"y\": %g, \"x\": %g, "
			"\"source\": %d, \"segment\": %d}", i ? ", " : "",
			tokens_kind_name((token_kind)t.table.kind[i]), t.table.seq[i], t.table.order[i], t.table.picture[i], (double)t.table.at[AT_T][i],
			(double)t.table.at[AT_Y][i], (double)t.table.at[AT_X][i], t.table.source[i], t.table.segment[i]);
	buf_text(b, "]}");
	status = report_finish(r, out, err);
	r = NULL;
done:
	rebus_text_free(r);
	told(&t);
	return status;
}

/* Rows of one picture after the first few are summed up in a line. */
static bool dull(const tokens *t, int64_t i)
{
	enum { SHOWN = 3 };
	if (t->kind[i] != TOKEN_IMAGE || i < SHOWN || i + 1 >= t->rows)
		return false;
	for (int64_t k = i - SHOWN; k <= i + 1; k++)
		if (t->kind[k] != TOKEN_IMAGE || t->picture[k] != t->picture[i])
			return false;
	return true;
}

rebus_status rebus_tokens_table(const rebus_model *m, rebus_prompt *prompt, rebus_text **out, rebus_error *err)
{
	rebus_status status;
	telling t;
	rebus_text *r = NULL;
	TRY(tell(&t, m, prompt, err));
	TRY(report_new(m->mem.from, &r, err));
	buf *b = &r->out;
	buf_text(b, "   row  kind     seq  order  picture  source     t    y    x  token\n");
	int64_t hidden = 0;
	for (int64_t i = 0; i < t.table.rows; i++) {
		if (dull(&t.table, i)) {
			hidden++;
			continue;
		}
		if (hidden)
			buf_format(b, "   ...  %lld more rows of picture %d\n", (long long)hidden, t.table.picture[i]);
		hidden = 0;
		buf_format(b, "%6lld  %-7s %4d %6d %8d %7d  %4g %4g %4g  ", (long long)i, tokens_kind_name((token_kind)t.table.kind[i]),
			t.table.seq[i], t.table.order[i],
			t.table.picture[i], t.table.source[i], (double)t.table.at[AT_T][i], (double)t.table.at[AT_Y][i], (double)t.table.at[AT_X][i]);
		size_t n = 0;
		const char *token = t.table.kind[i] == TOKEN_TEXT && m->words ? text_token(m->words, t.table.source[i], &n) : NULL;
		if (token)
			buf_json(b, token, n);
		buf_byte(b, '\n');
	}
	buf_format(b, "%lld rows, %zu of them read as ids\n", (long long)t.table.rows, ids_count(&t.ids));
	status = report_finish(r, out, err);
	r = NULL;
done:
	rebus_text_free(r);
	told(&t);
	return status;
}
