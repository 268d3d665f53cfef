/*
 * sentencepiece.c - SentencePiece's model file (tokenizer.model, spiece.model), as far as tokenizers are made of it.
 *
 * The file is a protocol buffer: fields, each a key (number << 3 | kind) and a varint (kind 0), 8 bytes (1), a length with so
 * many bytes (2), or 4 bytes (5). Unknown fields are passed over; of one stated twice the last counts.
 *
 *   ModelProto       1 pieces ...        2 trainer_spec        3 normalizer_spec
 *   SentencePiece    1 piece             2 score (float)       3 type: 1 normal 2 unknown 3 control 4 user 5 unused 6 byte
 *   TrainerSpec      3 model_type: 1 unigram 2 BPE
 *   NormalizerSpec   2 precompiled_charsmap
 */
#include <math.h>
#include <string.h>

#include "text/sentencepiece.h"
#include "text/text_inside.h"

typedef struct {
	const unsigned char *at, *end;
} wire;
typedef struct {
	uint64_t number, value; /* value: of a varint or the 4 bytes */
	int kind;
	wire bytes;
} wire_field;

static bool varint(wire *w, uint64_t *out)
{
	uint64_t v = 0;
	for (int shift = 0; shift < 64 && w->at < w->end; shift += 7) {
		unsigned char c = *w->at++;
		v |= (uint64_t)(c & 0x7F) << shift;
		if (c < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

/* The next field; false at the end and where the bytes make no sense, which *bad tells. */
static bool next_field(wire *w, wire_field *f, bool *bad)
{
	uint64_t key, size = 0;
	if (w->at >= w->end)
		return false;
	*bad = true;
	if (!varint(w, &key))
		return false;
	*f = (wire_field){.number = key >> 3, .kind = (int)(key & 7)};
	if (f->kind == 0 ? !varint(w, &f->value) : f->kind == 2 && !varint(w, &size))
		return false;
	size = f->kind == 1 ? 8 : f->kind == 5 ? 4 : size;
	if (f->kind == 3 || f->kind == 4 || f->kind > 5 || !f->number || size > (uint64_t)(w->end - w->at))
		return false;
	f->bytes = (wire){w->at, w->at + size};
	w->at += size;
	for (int i = 0; i < 4 && f->kind == 5; i++)
		f->value |= (uint64_t)f->bytes.at[i] << 8 * i;
	*bad = false;
	return true;
}

static rebus_status not_a_model(const char *name, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: not a SentencePiece model", name);
}

static rebus_status piece_read(const char *name, size_t i, wire w, text_piece_model *out, rebus_error *err)
{
	bool bad = false;
	text_piece_model p = {.type = PIECE_NORMAL, .text = {"", 0}};
	for (wire_field f; next_field(&w, &f, &bad);) {
		if (f.number == 1 && f.kind == 2)
			p.text = (text_span){(const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at)};
		uint32_t bits = (uint32_t)f.value;
		if (f.number == 2 && f.kind == 5)
			memcpy(&p.score, &bits, sizeof(bits));
		if (f.number == 3 && f.kind == 0)
			p.type = f.value >= PIECE_NORMAL && f.value <= PIECE_BYTE ? (piece_type)f.value : PIECE_NORMAL;
	}
	if (bad)
		return not_a_model(name, err);
	if (!utf8_valid(p.text.s, p.text.n) || !isfinite(p.score))
		return error_set(err, REBUS_FORMAT, "%s: piece %zu is not UTF-8, or has a score that is no number", name, i);
	if (p.text.n > TEXT_TOKEN_MOST)
		return error_set(err, REBUS_LIMIT, "%s: a piece of %zu bytes, more than %d", name, p.text.n, TEXT_TOKEN_MOST);
	*out = p;
	return REBUS_OK;
}

static bool specs_read(wire w, bool normalizer, sentencepiece_model *m)
{
	bool bad = false;
	for (wire_field f; next_field(&w, &f, &bad);) {
		if (normalizer && f.number == 2 && f.kind == 2)
			m->charsmap = (text_span){(const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at)};
		if (!normalizer && f.number == 3 && f.kind == 0)
			m->unigram = f.value == 1;
		if (!normalizer && f.number == 35 && f.kind == 0)
			m->byte_fallback = f.value != 0;
		if (!normalizer && f.number >= 40 && f.number < 43 && f.kind == 0)
			m->ids[f.number - 40] = (int32_t)(uint32_t)f.value;
		if (!normalizer && f.number >= 45 && f.number < 48 && f.kind == 2)
			m->named[f.number - 45] = (text_span){(const char *)f.bytes.at, (size_t)(f.bytes.end - f.bytes.at)};
	}
	return !bad;
}

rebus_status sentencepiece_read(arena *a, const char *name, const char *s, size_t n, sentencepiece_model *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	sentencepiece_model m = {.unigram = true, .ids = {0, 1, 2}, .named = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}}, .charsmap = {"", 0}};
	const wire whole = {(const unsigned char *)s, (const unsigned char *)s + n};
	bool bad = false;
	wire w = whole;
	for (wire_field f; next_field(&w, &f, &bad);)
		m.count += f.number == 1 && f.kind == 2;
	if (bad || !m.count)
		return not_a_model(name, err);
	if (m.count > TEXT_VOCABULARY_MOST)
		return error_set(err, REBUS_LIMIT, "%s: %zu pieces, more than %d", name, m.count, TEXT_VOCABULARY_MOST);
	text_piece_model *pieces = arena_get(a, m.count, sizeof(*pieces));
	if (!pieces)
		return error_memory(err, "the vocabulary");
	size_t i = 0;
	w = whole;
	for (wire_field f; next_field(&w, &f, &bad);) {
		if (f.kind != 2)
			continue;
		if (f.number == 1) {
			TRY(piece_read(name, i, f.bytes, &pieces[i], err));
			i++;
		}
		if ((f.number == 2 || f.number == 3) && !specs_read(f.bytes, f.number == 3, &m))
			return not_a_model(name, err);
	}
	m.pieces = pieces;
	for (i = 0; i < COUNT_OF(m.named); i++)
		if (!utf8_valid(m.named[i].s, m.named[i].n) || memchr(m.named[i].s, 0, m.named[i].n) || m.named[i].n > TEXT_TOKEN_MOST)
			return not_a_model(name, err);
	*out = m;
done:
	return status;
}
