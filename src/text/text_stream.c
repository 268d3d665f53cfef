/*
 * text_stream.c - decoding one id at a time; see tokenizer.h.
 *
 *   ids pushed   ... | window: the last ids ─► text_decoder.c ─► ... given out | done | may still change
 *                                                                                     └ held back
 *
 * The window's text only grows at its end as ids are pushed, and what can still change there is held back: U+FFFD at the end
 * (bytes of an unfinished character), a run of byte tokens. When all of a long window's text was given out, its older ids
 * are dropped, since they cannot matter any more.
 */
#include <string.h>

#include "text/text_inside.h"

enum { WINDOW_MOST = 96, WINDOW_KEPT = 24, TOKEN_BYTES = 12 };

/* Room for a window of ordinary tokens, so that later ones ask for none. A failure is kept, and seen by the next push. */
static void reserve(buf *b, size_t each)
{
	static const char blank[(size_t)WINDOW_MOST * sizeof(text_piece)];
	buf_add(b, blank, WINDOW_MOST * each);
	b->size = 0;
}

void text_stream_begin(text_stream *s, const tokenizer *t, bool skip_special)
{
	*s = (text_stream){.t = t, .skip_special = skip_special};
	ids_init(&s->window, t->from, 0);
	buf_init(&s->text, t->from, WORK_MOST);
	buf_init(&s->held, t->from, WORK_MOST);
	decoder_room_begin(s->room, t->from);
	buf_init(&s->plain, t->from, WORK_MOST);
	buf *texts[] = {&s->text, &s->held, &s->plain, &s->room[0], &s->room[2], &s->room[4]};
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		reserve(texts[i], TOKEN_BYTES);
	reserve(&s->window.bytes, sizeof(int32_t));
	reserve(&s->room[1], sizeof(text_piece));
	reserve(&s->room[3], sizeof(text_piece));
}

rebus_status text_stream_ready(const text_stream *s, rebus_error *err)
{
	const buf *all[] = {&s->window.bytes, &s->text, &s->held, &s->plain, &s->room[0], &s->room[1], &s->room[2], &s->room[3],
		&s->room[4]};
	for (size_t i = 0; i < COUNT_OF(all); i++)
		if (all[i]->failed)
			return error_memory(err, "a decoded text");
	return REBUS_OK;
}

void text_stream_free(text_stream *s)
{
	ids_free(&s->window);
	buf_free(&s->text);
	buf_free(&s->held);
	decoder_room_free(s->room);
	buf_free(&s->plain);
}

static size_t steps_of(const tokenizer *t, decode_kind kind)
{
	size_t n = 0;
	for (size_t i = 0; i < t->decode_count; i++)
		n += t->decodes[i].kind == kind && (kind != DECODE_STRIP || t->decodes[i].stop);
	return n;
}

/* Nothing is sure before the end: clean-up, a Strip on the right, bytes within bytes, replacing in what was joined. */
static bool hold_all(const tokenizer *t)
{
	bool joined = false;
	for (size_t i = 0; i < t->decode_count; i++) {
		const decode_step *step = &t->decodes[i];
		if (step->kind == DECODE_REPLACE && (step->regex || joined))
			return true;
		joined = joined || step->kind == DECODE_FUSE || step->kind == DECODE_BYTES;
	}
	return t->clean_up || steps_of(t, DECODE_STRIP) || steps_of(t, DECODE_BYTES) > 1;
}

/* Bytes at the end of the window's text that later ids may change. */
static size_t unsure(const text_stream *s, const char *text, size_t n)
{
	size_t end = n;
	while (end >= 3 && memcmp(text + end - 3, "\xEF\xBF\xBD", 3) == 0)
		end -= 3;
	if (s->t->strip_decoded && s->t->bpe.o.suffix.n) { /* the beginning of </w> */
		text_span suffix = s->t->bpe.o.suffix;
		for (size_t k = suffix.n - 1; k > 0; k--)
			if (end >= k && memcmp(text + end - k, suffix.s, k) == 0)
				return n - end + k;
	}
	return n - end;
}

static bool ends_in_byte_run(const text_stream *s)
{
	const int32_t *id = ids_data(&s->window);
	for (size_t i = ids_count(&s->window); i-- > 0;) {
		size_t n;
		const char *token = text_token(s->t, id[i], &n);
		if (!token || (s->skip_special && text_is_special(s->t, id[i])))
			continue;
		return decoder_byte(token, n) >= 0;
	}
	return false;
}

/* The window's text as far as it is part of the stream, in s->text. */
static rebus_status window_decode(text_stream *s, rebus_error *err)
{
	s->text.size = 0;
	if (!s->t->strip_decoded)
		return decoder_run(s->t, ids_data(&s->window), ids_count(&s->window), s->skip_special, s->room, &s->text, err);
	buf *plain = &s->plain;
	plain->size = 0;
	rebus_status status = decoder_run(s->t, ids_data(&s->window), ids_count(&s->window), s->skip_special, s->room, plain, err);
	if (status == REBUS_OK && plain->size) {
		size_t held = unsure(s, plain->data, plain->size); /* in characters that </w> has not eaten: keep it as it is */
		if (s->t->bpe.o.suffix.n)
			decoder_replace(plain->data, plain->size - held, s->t->bpe.o.suffix, " ", 1, &s->text);
		else
			buf_add(&s->text, plain->data, plain->size - held);
		buf_add(&s->text, plain->data + plain->size - held, held);
		status = buf_check(&s->text, err, "a decoded text");
	}
	return status;
}

/* Moves the window's text up to `end` into held, then gives out of held what stripping cannot take any more. */
static void give(text_stream *s, size_t end, const char **piece, size_t *n)
{
	while (s->done < end && ((unsigned char)s->text.data[s->done] & 0xC0) == 0x80) /* a decoder that took back what it gave */
		s->done++;
	if (end > s->done) {
		buf_add(&s->held, s->text.data + s->done, end - s->done);
		s->done = end;
	}
	s->given = s->held.size;
	if (s->t->strip_decoded && s->held.size) {
		size_t from, stop;
		decoder_strip(s->held.data, s->held.size, &from, &stop);
		if (!s->started && from) {
			memmove(s->held.data, s->held.data + from, s->held.size - from);
			s->held.size -= from;
			stop -= from;
		} else if (s->started && stop == from) {
			stop = 0; /* nothing but blanks: they may be the last */
		}
		s->given = stop;
	}
	s->started = s->started || s->given;
	*piece = s->held.data ? s->held.data : "";
	*n = s->given;
}

/* Forgets the piece that the last call gave out. */
static void forget(text_stream *s)
{
	if (s->given && s->held.size > s->given)
		memmove(s->held.data, s->held.data + s->given, s->held.size - s->given);
	s->held.size -= s->given;
	s->given = 0;
}

static rebus_status window_shrink(text_stream *s, rebus_error *err)
{
	size_t n = ids_count(&s->window);
	if (n < WINDOW_MOST || s->done != s->text.size || ends_in_byte_run(s) || hold_all(s->t))
		return REBUS_OK;
	memmove(s->window.bytes.data, s->window.bytes.data + (n - WINDOW_KEPT) * sizeof(int32_t), WINDOW_KEPT * sizeof(int32_t));
	s->window.bytes.size = WINDOW_KEPT * sizeof(int32_t);
	rebus_status status = window_decode(s, err);
	s->done = s->text.size;
	return status;
}

rebus_status text_stream_push(text_stream *s, int32_t id, const char **piece, size_t *n, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *out = "";
	size_t size = 0;
	forget(s);
	TRY(window_shrink(s, err));
	ids_add(&s->window, id);
	TRY(ids_check(&s->window, err));
	if (!hold_all(s->t)) {
		TRY(window_decode(s, err));
		bool run = steps_of(s->t, DECODE_FALLBACK) && ends_in_byte_run(s);
		size_t end = run ? 0 : s->text.size - unsure(s, s->text.data ? s->text.data : "", s->text.size);
		give(s, end, &out, &size);
	}
	TRY(buf_check(&s->held, err, "a decoded text"));
	*piece = out;
	*n = size;
done:
	return status;
}

rebus_status text_stream_end(text_stream *s, const char **piece, size_t *n, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *out = "";
	size_t size = 0;
	forget(s);
	if (hold_all(s->t)) {
		s->held.size = 0;
		TRY(text_decode(s->t, ids_data(&s->window), ids_count(&s->window), s->skip_special, &s->held, err));
		out = s->held.data ? s->held.data : "";
		size = s->given = s->held.size;
	} else {
		TRY(window_decode(s, err));
		give(s, s->text.size, &out, &size);
	}
	TRY(buf_check(&s->held, err, "a decoded text"));
	*piece = out;
	*n = size;
done:
	return status;
}
