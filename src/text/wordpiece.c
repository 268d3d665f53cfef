/*
 * wordpiece.c - the model of BERT: a word is cut from the left, each time at the longest token that fits.
 *
 *   unaffable      un | ##aff | ##able           tokens inside a word carry the prefix
 *   unaffablex     [UNK]                         no token fits the rest: the whole word is unknown
 *
 * A word of more than max_input_chars_per_word characters is unknown too. Two tries, one over all tokens for a word's
 * beginning, one over those with the prefix for the rest, so that a word costs its length. Reference: tokenizers 0.23,
 * src/models/wordpiece.
 */
#include <string.h>

#include "text/text_inside.h"

static rebus_status options_read(tokenizer *t, const json *model, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	wordpiece_options *o = &t->wordpiece.o;
	TRY(model_affix(t, model, "unk_token", &o->unk, err));
	TRY(model_affix(t, model, "continuing_subword_prefix", &o->prefix, err));
	if (!o->unk.s || !o->prefix.s || !json_int(json_get(model, "max_input_chars_per_word"), &o->longest) || o->longest < 0)
		status = error_set(err, REBUS_FORMAT, "tokenizer.json: model: WordPiece needs unk_token, continuing_subword_prefix and "
		                                      "max_input_chars_per_word");
done:
	return status;
}

rebus_status wordpiece_read(tokenizer *t, const json *model, const wordpiece_options *rebuilt, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	wordpiece_model *m = &t->wordpiece;
	if (rebuilt)
		m->o = *rebuilt;
	else
		TRY(options_read(t, model, err));
	m->unk_id = vocabulary_find(&t->vocabulary, m->o.unk.s, m->o.unk.n);
	TRY(token_trie_build(t, (text_span){"", 0}, &m->begin, err));
	TRY(token_trie_build(t, m->o.prefix, &m->going, err));
done:
	return status;
}

static rebus_status unknown(text_work *w, ids *out)
{
	const wordpiece_model *m = &w->t->wordpiece;
	if (m->unk_id < 0)
		return error_set(w->err, REBUS_FORMAT, "tokenizer.json: the unknown token %.40s is not in the vocabulary", m->o.unk.s);
	ids_add(out, m->unk_id);
	return REBUS_OK;
}

/* The longest token at s; 0: none. */
static size_t longest(const token_trie *trie, const char *s, size_t n, int32_t *id, size_t *steps)
{
	size_t size = 0;
	uint32_t node = 0;
	for (size_t i = 0; i < n && (node = token_trie_step(trie, node, (unsigned char)s[i])); i++) {
		++*steps;
		if (trie->nodes[node].id >= 0) {
			*id = trie->nodes[node].id;
			size = i + 1;
		}
	}
	return size;
}

static size_t characters(const char *s, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xC0) != 0x80;
	return count;
}

rebus_status wordpiece_run(text_work *w, const char *s, size_t n, ids *out)
{
	const wordpiece_model *m = &w->t->wordpiece;
	size_t before = out->bytes.size;
	if ((int64_t)characters(s, n) > m->o.longest)
		return unknown(w, out);
	for (size_t at = 0; at < n;) {
		int32_t id = -1;
		size_t steps = 1, size = longest(at ? &m->going : &m->begin, s + at, n - at, &id, &steps);
		rebus_status status = token_trie_spend(w, steps);
		if (status)
			return status;
		if (!size) {
			out->bytes.size = before; /* none of the word's tokens count */
			return unknown(w, out);
		}
		ids_add(out, id);
		at += size;
	}
	return REBUS_OK;
}
