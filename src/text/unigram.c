/*
 * unigram.c - the model of T5 and SigLIP: of all ways to cut a text into tokens, the one with the highest sum of scores.
 *
 *   text    ▁ a b c            score of the best way to each place, and the token that ends there:
 *   place  0 1 2 3 4           best[end] = max over tokens (start, end) of best[start] + score
 *
 * A character that is no token by itself may be crossed as an unknown one, ten worse than the worst score. On the way back
 * unknown characters side by side become one; it is a token's if one is spelled so, else the bytes <0x0A> with byte_fallback if
 * all are there, else the unknown token. The tokens at a place come from a trie, so a text costs its length times the
 * length of the tokens.
 *
 * Scores are doubles and equal ones keep what came first, as in the reference (tokenizers 0.23, src/models/unigram/model.rs,
 * encode_optimized), so the choice is the same bit by bit.
 */
#include <math.h>
#include <string.h>

#include "text/text_inside.h"

#define UNKNOWN_PENALTY 10.0

typedef struct {
	double score;
	uint32_t start; /* of the token that ends here; UINT32_MAX: none yet */
	int32_t id;
} best_path;

rebus_status unigram_read(tokenizer *t, const json *model, const unigram_options *rebuilt, rebus_error *err)
{
	unigram_model *m = &t->unigram;
	int64_t unk;
	m->o.unk_id = -1;
	if (rebuilt) {
		m->o = *rebuilt;
	} else {
		json_flag(json_get(model, "byte_fallback"), &m->o.byte_fallback);
		if (json_get(model, "unk_id")) {
			if (!json_int(json_get(model, "unk_id"), &unk) || unk < 0 || unk > INT32_MAX)
				return error_set(err, REBUS_FORMAT, "tokenizer.json: model.unk_id is not an id");
			m->o.unk_id = (int32_t)unk;
		}
	}
	if (m->o.unk_id >= 0 && (size_t)m->o.unk_id >= t->vocabulary.count)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: model.unk_id %d: there are only %zu tokens", (int)m->o.unk_id,
		                 t->vocabulary.count);
	double least = HUGE_VAL;
	for (size_t i = 0; i < t->vocabulary.count; i++)
		least = m->scores[i] < least ? m->scores[i] : least;
	m->unk_score = least - UNKNOWN_PENALTY;
	vocabulary_bytes(&t->vocabulary, m->byte_ids);
	return token_trie_build(t, (text_span){"", 0}, &m->trie, err);
}

static void offer(best_path *to, double score, uint32_t start, int32_t id)
{
	if (to->start == UINT32_MAX || score > to->score)
		*to = (best_path){score, start, id};
}

/* Fills best[1..n]. */
static rebus_status forward(text_work *w, const char *s, size_t n, best_path *best)
{
	const unigram_model *m = &w->t->unigram;
	for (size_t at = 0; at < n;) {
		uint32_t cp, node = 0;
		size_t one = utf8_get(s + at, n - at, &cp), i = at;
		double till = best[at].score;
		bool alone = false;
		while (i < n && (node = token_trie_step(&m->trie, node, (unsigned char)s[i]))) {
			i++;
			int32_t id = m->trie.nodes[node].id;
			if (id < 0)
				continue;
			offer(&best[i], m->scores[id] + till, (uint32_t)at, id);
			alone = alone || i == at + one;
		}
		rebus_status status = token_trie_spend(w, i - at + 1);
		if (status)
			return status;
		if (!alone) {
			double score = m->unk_score + till;
			if (m->o.unk_id < 0 && (best[at + one].start == UINT32_MAX || score > best[at + one].score))
				return error_set(w->err, REBUS_FORMAT, "tokenizer.json: model.unk_id is missing, and the text has unknown characters");
			offer(&best[at + one], score, (uint32_t)at, m->o.unk_id);
		}
		at += one;
	}
	return REBUS_OK;
}

/* Unknown characters s[0..n), backwards. */
static void unknown_add(const tokenizer *t, const char *s, size_t n, ids *out)
{
	const unigram_model *m = &t->unigram;
	int32_t id = vocabulary_find(&t->vocabulary, s, n);
	bool bytes = id < 0 && m->o.byte_fallback;
	for (size_t i = 0; i < n && bytes; i++)
		bytes = m->byte_ids[(unsigned char)s[i]] >= 0;
	if (!bytes) {
		ids_add(out, id < 0 ? m->o.unk_id : id);
		return;
	}
	for (size_t i = n; i-- > 0;)
		ids_add(out, m->byte_ids[(unsigned char)s[i]]);
}

static void backward(const tokenizer *t, const char *s, size_t n, const best_path *best, ids *out)
{
	size_t first = ids_count(out);
	for (size_t end = n; end > 0;) {
		size_t start = best[end].start;
		if (best[end].id != t->unigram.o.unk_id) {
			ids_add(out, best[end].id);
		} else {
			while (start > 0 && best[start].id == t->unigram.o.unk_id)
				start = best[start].start;
			unknown_add(t, s + start, end - start, out);
		}
		end = start;
	}
	if (out->bytes.failed)
		return;
	int32_t *id = (int32_t *)(void *)out->bytes.data;
	for (size_t i = first, k = ids_count(out); i + 1 < k; i++) {
		int32_t swap = id[i];
		id[i] = id[--k];
		id[k] = swap;
	}
}

rebus_status unigram_run(text_work *w, const char *s, size_t n, ids *out)
{
	rebus_status status = REBUS_OK;
	if (!n)
		return REBUS_OK;
	w->symbols.size = 0;
	for (size_t i = 0; i <= n && !w->symbols.failed; i++)
		buf_add(&w->symbols, &(best_path){.start = UINT32_MAX}, sizeof(best_path));
	TRY(buf_check(&w->symbols, w->err, "a text's best tokens"));
	best_path *best = (best_path *)(void *)w->symbols.data;
	TRY(forward(w, s, n, best));
	backward(w->t, s, n, best, out);
done:
	return status;
}
