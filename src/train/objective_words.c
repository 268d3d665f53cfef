/*
 * objective_words.c - learning words from the words around them: masked language modelling (Devlin et al. 2019, section 3.1).
 *
 *     ids      [CLS] the cat sat on the mat [SEP]     of the words that are not special, mask-share (0.15) are drawn; of those
 *     read     [CLS] the [MASK] sat on mug mat [SEP]   8 in 10 are read as [MASK], 1 as any word, 1 as it is
 *     target     -    -   cat   -   -  the  -    -     and all of them are to be told: mean cross-entropy
 *
 * Drawn anew for each sample and epoch; in an evaluation by sample alone. A text of which nothing was drawn has its luckiest word
 * drawn, so that no sample is for nothing. Right, in an evaluation: a drawn word is the likeliest.
 */
#include "train/trainer.h"

static rebus_status check(const trainer *t, rebus_error *err)
{
	const family *f = t->m->self.f;
	bool reads = (f->abilities & REBUS_READS_TEXT) && !(f->abilities & (REBUS_GENERATES | REBUS_TWO_TOWERS));
	if (!reads || !t->m->words)
		return error_set(err, REBUS_MISUSE, "objective words: a %s model, expected an encoder of text with a tokenizer", f->model_type);
	if (text_named_id(t->m->words, TEXT_MASK) < 0)
		return error_set(err, REBUS_MISUSE, "objective words: the tokenizer has no mask token");
	return REBUS_OK;
}

/* What is read in place of a drawn word. */
static int32_t in_place(const rebus_model *m, const item *it, int32_t i, int32_t id)
{
	const text_shape *w = m->text.f->words(m->text.config);
	double what = item_unit(it, 3 * (uint64_t)i + 1);
	if (what < 0.8)
		return text_named_id(m->words, TEXT_MASK);
	return what < 0.9 ? (int32_t)(item_unit(it, 3 * (uint64_t)i + 2) * (double)w->vocabulary) : id;
}

static rebus_status prepare(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err)
{
	rebus_status status;
	if (!s->turn_count)
		return error_set(err, REBUS_MISUSE, "a sample without a text, expected one to learn words");
	TRY(rebus_prompt_text(it->prompt, s->turns[0].text, err));
	TRY(prompt_text_ids(it->prompt, a, &it->prompt->pieces[it->prompt->piece_count - 1], false, &it->text, err));
	it->target = arena_get(a, (size_t)it->text.count + 1, sizeof *it->target);
	TRY(it->target ? REBUS_OK : error_memory(err, "a sample"));
	int32_t best = -1, drawn = 0;
	for (int32_t i = 0; i < it->text.count; i++) {
		it->target[i] = -1;
		if (text_is_special(m->words, it->text.ids[i]))
			continue;
		best = best < 0 || item_unit(it, 3 * (uint64_t)i) < item_unit(it, 3 * (uint64_t)best) ? i : best;
	}
	for (int32_t i = 0; i < it->text.count; i++) {
		if (text_is_special(m->words, it->text.ids[i]) || (item_unit(it, 3 * (uint64_t)i) >= it->r->mask_share && i != best))
			continue;
		it->target[i] = it->text.ids[i];
		drawn++;
	}
	for (int32_t i = 0; i < it->text.count; i++)
		if (it->target[i] >= 0)
			it->text.ids[i] = in_place(m, it, i, it->text.ids[i]);
	if (!drawn)
		status = error_set(err, REBUS_FORMAT, "a text without a word to learn");
done:
	return status;
}

static rebus_status ends(const trainer *t, train_net *x, rebus_error *err)
{
	const net_output *o = net_find(&x->n, "prediction_logits");
	o = o ? o : net_find(&x->n, "logits");
	if (!o || o->kind != OUTPUT_ROWS || graph_node(x->n.g, o->node)->width < t->m->text.f->words(t->m->text.config)->vocabulary)
		return error_set(err, REBUS_MISUSE, "objective words: a %s model without scores of words, expected BertForMaskedLM", t->m->self.f->model_type);
	x->seen = o->node;
	x->target = graph_slot_column(x->n.g, "target", x->n.rows, 1);
	x->out = graph_cross_entropy(x->n.g, "loss", o->node, x->target);
	return REBUS_OK;
}

static rebus_status forward(trainer *t, const batch *b, int32_t **target, int64_t *rows_out, rebus_error *err)
{
	rebus_status status;
	run_rows rows;
	net_size need;
	net_run run;
	sequence *texts = arena_get(&t->step, (size_t)b->count, sizeof *texts);
	TRY(texts ? REBUS_OK : error_memory(err, "texts"));
	for (int32_t i = 0; i < b->count; i++)
		texts[i] = b->at[i]->text;
	TRY(session_reading(t->m, texts, b->count, &t->step, &rows, &need, &run, err));
	*target = arena_get(&t->step, (size_t)run.table->rows + 1, sizeof **target);
	TRY(*target ? REBUS_OK : error_memory(err, "texts"));
	for (int64_t r = 0; r < run.table->rows; r++)
		(*target)[r] = b->at[run.table->seq[r]]->target[run.table->order[r]];
	*rows_out = run.table->rows;
	TRY(train_net_feed(t, &t->text, false, need, &run, ends, err));
	t->text.f.at[t->text.target] = *target;
	TRY(train_net_forward(t, &t->text, err));
done:
	return status;
}

static rebus_status pass(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	int32_t *target;
	int64_t rows;
	rebus_status status = forward(t, b, &target, &rows, err);
	if (!status)
		*loss = (double)plan_output(t->text.p, t->text.out).data[0];
	return status ? status : train_net_backward(t, &t->text, err);
}

static rebus_status score_batch(trainer *t, const batch *b, score *sum, rebus_error *err)
{
	int32_t *target;
	int64_t rows;
	rebus_status status = forward(t, b, &target, &rows, err);
	if (status)
		return status;
	plan_rows x = plan_output(t->text.p, t->text.seen);
	for (int64_t r = 0; r < rows; r++) {
		const float *row = x.data + r * x.stride;
		if (target[r] < 0)
			continue;
		int32_t best = 0;
		for (int32_t k = 1; k < x.width; k++)
			best = row[k] > row[best] ? k : best;
		sum->right += best == target[r];
		sum->loss += (double)t->m->k->log_sum_exp(x.width, row) - (double)row[target[r]];
		sum->count++;
	}
	return REBUS_OK;
}

const objective objective_words = {.name = "words", .check = check, .prepare = prepare, .pass = pass, .score = score_batch};
