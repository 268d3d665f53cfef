/*
 * ask.c - rebus_ask: pictures through the tower, prompts through the text model, then a token for each at a time.
 *
 *   prompts ─► session_see ─► growth_begin ─► { sample, stream, growth_step } until every answer has ended ─► answer
 */
#include <math.h>
#include <string.h>

#include "generate/beams.h"
#include "generate/grammar.h"
#include "generate/sample.h"
#include "generate/sequences.h"
#include "generate/session.h"
#include "text/unicode.h"

enum { RESERVED_TOKENS = 1024, TOKEN_BYTES = 8 };

typedef struct one_answer {
	ids ids;
	buf text, chances; /* chances: floats */
	size_t handed; /* of the text: what cannot be the beginning of a stop any more */
	text_stream stream;
	grammar_at at;  /* with a grammar: where the answer is, */
	uint32_t *mask; /* what may come next, */
	size_t shown;   /* how much of its bytes went into text, whole characters only, */
	bool may_end;   /* whether it may end here */
	rebus_end end;
	bool running, streaming;
	int64_t prompt_tokens;
} one_answer;

struct rebus_answer {
	arena mem;
	size_t count;
	one_answer *at;
	double prefill, decode;
};

rebus_ask_options rebus_ask_defaults(void)
{
	return (rebus_ask_options){.max_tokens = 256, .top_p = 1, .repetition_penalty = 1, .length_penalty = 1};
}

static rebus_status check_options(const rebus_session *s, const rebus_ask_options *o, rebus_error *err)
{
	if (!(s->m->self.f->abilities & REBUS_GENERATES))
		return error_set(err, REBUS_MISUSE, "a %s model does not generate text", rebus_model_family(s->m));
	if (!s->m->words)
		return error_set(err, REBUS_IO, "%s: no tokenizer.json, so there are no words to answer with", s->m->folder);
	if (o->max_tokens < 0 || o->max_tokens > (1 << 20))
		return error_set(err, REBUS_MISUSE, "max_tokens %d, expected 0 to %d", o->max_tokens, 1 << 20);
	if (!(o->temperature >= 0 && o->temperature <= 100))
		return error_set(err, REBUS_MISUSE, "temperature %g, expected 0 to 100", (double)o->temperature);
	if (!(o->top_p > 0 && o->top_p <= 1) || o->top_k < 0)
		return error_set(err, REBUS_MISUSE, "top_p %g and top_k %d, expected 0 < top_p <= 1 and top_k >= 0", (double)o->top_p, o->top_k);
	if (!(o->min_p >= 0 && o->min_p <= 1) || !(o->repetition_penalty > 0 && o->repetition_penalty <= 100))
		return error_set(err, REBUS_MISUSE, "min_p %g and repetition_penalty %g, expected 0 <= min_p <= 1 and 0 < repetition_penalty <= 100", (double)o->min_p,
			(double)o->repetition_penalty);
	if (!(fabsf(o->presence_penalty) <= 100) || !(fabsf(o->frequency_penalty) <= 100))
		return error_set(err, REBUS_MISUSE, "presence_penalty %g and frequency_penalty %g, expected -100 to 100", (double)o->presence_penalty,
			(double)o->frequency_penalty);
	if (o->beams < 0 || o->beams > BEAMS_MOST || !(fabsf(o->length_penalty) <= 100))
		return error_set(err, REBUS_MISUSE, "%d beams, length_penalty %g, expected 0 to %d, -100 to 100", o->beams, (double)o->length_penalty, BEAMS_MOST);
	if (o->beams > 1 && (o->temperature > 0 || o->stop_count || o->log_probabilities || o->grammar))
		return error_set(err, REBUS_MISUSE, "beams: given with a temperature, stops, log-probabilities or a grammar, which go with one answer at a time");
	for (size_t i = 0; i < o->stop_count; i++)
		if (!o->stops[i] || !o->stops[i][0])
			return error_set(err, REBUS_MISUSE, "stop %zu: an empty text", i);
	if (o->grammar && !grammar_for(o->grammar, s->m->words))
		return error_set(err, REBUS_MISUSE, "grammar: made for another model, expected one that rebus_grammar_new made for this one");
	for (size_t i = 0; i < o->bias_count; i++)
		if (isnan(o->bias[i].value) || o->bias[i].id < 0)
			return error_set(err, REBUS_MISUSE, "bias of token %d: %g, expected a token and a number", o->bias[i].id, (double)o->bias[i].value);
	return REBUS_OK;
}

static bool is_end(const rebus_model *m, int32_t id)
{
	for (int32_t i = 0; i < m->eos_count; i++)
		if (m->eos[i] == id)
			return true;
	return false;
}

/* ------------------------------------------------------------------------------------------------ the loop */
typedef struct asking {
	rebus_session *s;
	const rebus_ask_options *o;
	rebus_answer *answer;
	growth g;
	int32_t *next;
	sample_room room;
	int32_t running;
} asking;

static void end(one_answer *a, rebus_end how)
{
	a->running = false;
	a->end = how;
}

/* The first place from `from` on where a stop begins; the size of the text where none does. */
static size_t find_stop(const asking *x, const one_answer *a, size_t from)
{
	size_t best = a->text.size;
	for (size_t i = 0; i < x->o->stop_count; i++) {
		size_t n = strlen(x->o->stops[i]);
		for (size_t at = from; at + n <= a->text.size && at < best; at++)
			if (!memcmp(a->text.data + at, x->o->stops[i], n))
				best = at;
	}
	return best;
}

/* How many bytes at the end of the text may be the beginning of a stop. */
static size_t undecided(const asking *x, const one_answer *a)
{
	size_t most = 0;
	for (size_t i = 0; i < x->o->stop_count; i++) {
		size_t n = strlen(x->o->stops[i]) - 1;
		for (n = n < a->text.size ? n : a->text.size; n > most; n--)
			if (!memcmp(a->text.data + a->text.size - n, x->o->stops[i], n))
				most = n;
	}
	return most;
}

/* New text; last: nothing comes after it. What a stop may begin with is held back until it is known. */
static void hand_out(asking *x, size_t i, const char *bytes, size_t n, bool last)
{
	one_answer *a = &x->answer->at[i];
	if (a->end == REBUS_END_STOP)
		return;
	buf_add(&a->text, bytes, n);
	if (!a->text.data)
		return;
	size_t stop = find_stop(x, a, a->handed), ready = stop;
	if (stop < a->text.size) {
		a->text.size = stop;
		a->text.data[stop] = 0;
		end(a, REBUS_END_STOP);
	} else if (!last) {
		ready -= undecided(x, a);
	}
	size_t more = ready > a->handed ? ready - a->handed : 0;
	const char *from = a->text.data + a->handed;
	a->handed += more;
	if (more && x->o->on_text && !x->o->on_text(x->o->user, i, from, more))
		end(a, REBUS_END_CALLER);
}

/* log softmax of the model's own logits at the id that was chosen */
static void note_chance(const asking *x, one_answer *a, const float *logits, int64_t width, int32_t id)
{
	float chance = logits[id] - x->s->m->k->log_sum_exp(width, logits);
	if (x->o->log_probabilities)
		buf_add(&a->chances, (const char *)&chance, sizeof chance);
}

/* ------------------------------------------------------------------------------------------------ with a grammar */
/* What may come next; ends the answer where nothing may. */
static rebus_status look_ahead(const asking *x, one_answer *a, rebus_error *err)
{
	size_t allowed;
	if (!x->o->grammar || !a->running)
		return REBUS_OK;
	rebus_status status = grammar_mask(x->o->grammar, &a->at, a->mask, &allowed, &a->may_end, err);
	if (status || allowed)
		return status;
	if (!a->may_end)
		return error_set(err, REBUS_UNSUPPORTED, "grammar: after %zu bytes no token of this tokenizer goes on, expected characters that it has",
			a->at.said.size);
	end(a, REBUS_END_GRAMMAR);
	return REBUS_OK;
}

/* Scores with what the grammar forbids taken out. */
static rebus_status constrain(const asking *x, const one_answer *a, const float **scores, int64_t width, rebus_error *err)
{
	float *out = x->room.scores, most = -INFINITY;
	if (!x->o->grammar)
		return REBUS_OK;
	int64_t masked = (int64_t)grammar_mask_words(x->o->grammar) * 32;
	if (*scores != out)
		memcpy(out, *scores, (size_t)width * sizeof *out);
	for (int64_t id = 0; id < width; id++) {
		bool text = id < masked && a->mask[id / 32] >> id % 32 & 1;
		if (!x->o->ignore_eos && is_end(x->s->m, (int32_t)id) ? !a->may_end : !text)
			out[id] = -INFINITY;
		most = out[id] > most ? out[id] : most;
	}
	*scores = out;
	return most > -INFINITY ? REBUS_OK : error_set(err, REBUS_MISUSE, "bias: forbids every token that the grammar allows");
}

/* The token's bytes; a character is handed out when it is whole. */
static rebus_status take_bytes(asking *x, size_t i, int32_t id, rebus_error *err)
{
	one_answer *a = &x->answer->at[i];
	size_t size;
	rebus_status status = grammar_take(x->o->grammar, &a->at, id, &size, err);
	if (status)
		return status;
	const buf *said = &a->at.said;
	size_t whole = said->size - unicode_unfinished(said->data, said->size);
	if (whole > a->shown) {
		hand_out(x, i, said->data + a->shown, whole - a->shown, false);
		a->shown = whole;
	}
	return look_ahead(x, a, err);
}

static rebus_status take_token(asking *x, size_t i, int32_t id, int64_t number, rebus_error *err)
{
	one_answer *a = &x->answer->at[i];
	const char *bytes;
	size_t n;
	ids_add(&a->ids, id);
	rebus_status status = ids_check(&a->ids, err);
	if (status)
		return status;
	if (!x->o->ignore_eos && is_end(x->s->m, id)) {
		end(a, REBUS_END_TOKEN);
		return REBUS_OK;
	}
	if (x->o->grammar) {
		status = take_bytes(x, i, id, err);
	} else {
		status = text_stream_push(&a->stream, id, &bytes, &n, err);
		if (!status)
			hand_out(x, i, bytes, n, false);
	}
	if (!status && a->running && number + 1 == x->o->max_tokens)
		end(a, REBUS_END_LENGTH);
	return status;
}

static rebus_status grow(asking *x, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const rebus_ask_options *o = x->o;
	sampling how = {o->temperature, o->top_p, o->top_k, o->seed, o->min_p, o->repetition_penalty, o->presence_penalty, o->frequency_penalty, o->bias,
		o->bias_count};
	for (size_t i = 0; i < x->answer->count; i++)
		TRY(look_ahead(x, &x->answer->at[i], err));
	for (int64_t number = 0; number < x->o->max_tokens; number++) {
		x->running = 0;
		for (size_t i = 0; i < x->answer->count; i++) {
			int64_t width;
			one_answer *a = &x->answer->at[i];
			x->next[i] = -1;
			if (!a->running)
				continue;
			const float *logits = growth_logits(&x->g, (int32_t)i, &width);
			TRY(session_numbers(&(plan_rows){logits, 1, width, width}, "logits", err));
			const sequence *q = &x->g.list[i];
			sample_history h = {q->ids, ids_data(&a->ids), q->count, (int64_t)ids_count(&a->ids)};
			const float *scores = sample_scores(&how, &h, logits, width, &x->room);
			TRY(constrain(x, a, &scores, width, err));
			int32_t id = sample_next(x->s->m->k, &how, scores, width, (int64_t)i, number, &x->room);
			note_chance(x, a, logits, width, id);
			TRY(take_token(x, i, id, number, err));
			x->next[i] = a->running ? id : -1;
			x->running += a->running;
		}
		if (!x->running)
			break;
		TRY(growth_step(&x->g, x->next, err));
	}
done:
	return status;
}

/* The best of the beams of each prompt, as one answer. */
static rebus_status search(asking *x, arena *a, rebus_error *err)
{
	rebus_status status;
	const rebus_ask_options *o = x->o;
	sampling how = {.repetition = o->repetition_penalty, .presence = o->presence_penalty, .frequency = o->frequency_penalty, .bias = o->bias,
		.bias_count = o->bias_count};
	beam_search b = {&x->g, &how, &x->room, o->max_tokens, o->length_penalty, o->early_stopping, o->ignore_eos};
	beam_answer *best = arena_zero(a, x->answer->count, sizeof *best);
	if (!best)
		return error_memory(err, "an answer");
	TRY(beams_run(&b, a, best, err));
	for (size_t i = 0; i < x->answer->count; i++)
		for (int32_t k = 0; k < best[i].count && x->answer->at[i].running; k++)
			TRY(take_token(x, i, best[i].ids[k], k, err));
done:
	return status;
}

static rebus_status finish(asking *x, rebus_error *err)
{
	for (size_t i = 0; i < x->answer->count; i++) {
		one_answer *a = &x->answer->at[i];
		const char *bytes;
		size_t n;
		rebus_status status = text_stream_end(&a->stream, &bytes, &n, err);
		if (status)
			return status;
		if (x->o->grammar) { /* a character that was cut off by max_tokens */
			bool cut = a->at.said.size > a->shown;
			bytes = cut ? "\xEF\xBF\xBD" : "";
			n = cut ? 3 : 0;
		}
		hand_out(x, i, bytes, n, true);
		status = buf_check(&a->text, err, "an answer");
		if (!status)
			status = buf_check(&a->chances, err, "an answer");
		if (status)
			return status;
	}
	return REBUS_OK;
}

/* So that an answer of ordinary length grows without asking the allocator. */
static void reserve(buf *b, int64_t tokens, size_t each)
{
	static const char blank[RESERVED_TOKENS * TOKEN_BYTES];
	buf_add(b, blank, (size_t)int_min(tokens, RESERVED_TOKENS) * each);
	b->size = 0;
	buf_add(b, "", 0);
}

/* Where the answers are in a grammar; grammar NULL: nothing. */
static rebus_status begin_grammar(rebus_answer *a, const rebus_grammar *grammar, rebus_error *err)
{
	for (size_t i = 0; grammar && i < a->count; i++) {
		rebus_status status = grammar_begin(grammar, &a->at[i].at, err);
		a->at[i].mask = arena_zero(&a->mem, grammar_mask_words(grammar) + 1, sizeof *a->at[i].mask);
		if (status || !a->at[i].mask)
			return status ? status : error_memory(err, "an answer");
	}
	return REBUS_OK;
}

static rebus_status new_answer(const rebus_session *s, size_t count, int32_t max_tokens, rebus_answer **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena mem;
	arena_init(&mem, s->m->mem.from, 0);
	rebus_answer *a = arena_zero(&mem, 1, sizeof *a);
	one_answer *at = a ? arena_zero(&mem, count, sizeof *at) : NULL;
	if (!at) {
		arena_free(&mem);
		return error_memory(err, "an answer");
	}
	*a = (rebus_answer){.mem = mem, .count = count, .at = at};
	for (size_t i = 0; i < count; i++) {
		ids_init(&at[i].ids, mem.from, 0);
		buf_init(&at[i].text, mem.from, 0);
		buf_init(&at[i].chances, mem.from, 0);
		reserve(&at[i].ids.bytes, max_tokens, sizeof(int32_t));
		reserve(&at[i].text, max_tokens, TOKEN_BYTES);
		text_stream_begin(&at[i].stream, s->m->words, true);
		at[i].streaming = true;
		at[i].running = true;
		at[i].end = REBUS_END_LENGTH;
	}
	for (size_t i = 0; !status && i < count; i++)
		status = text_stream_ready(&at[i].stream, err);
	if (status)
		rebus_answer_free(a);
	else
		*out = a;
	return status;
}

rebus_status rebus_ask(rebus_session *s, rebus_prompt *const *prompts, size_t count, const rebus_ask_options *options, rebus_answer **out, rebus_error *err)
{
	rebus_ask_options o = options ? *options : rebus_ask_defaults();
	rebus_status status;
	double began = time_now();
	arena a;
	plan_rows features = {0};
	asking x = {.s = s, .o = &o};
	sequence *list;
	arena_init(&a, s->m->mem.from, 0);
	TRY(check_options(s, &o, err));
	if (!count) {
		status = error_set(err, REBUS_MISUSE, "no prompt");
		goto done;
	}
	TRY(new_answer(s, count, o.max_tokens, &x.answer, err));
	TRY(begin_grammar(x.answer, o.grammar, err));
	TRY(sequences_make(prompts, count, &a, &list, err));
	TRY(sequences_features(s, prompts, count, (net_wants){0}, &a, &features, err));
	TRY(growth_begin_beams(&x.g, s, list, (int32_t)count, features, o.max_tokens, o.beams > 1 ? o.beams : 1, err));
	int64_t width = 0;
	growth_logits(&x.g, 0, &width);
	x.next = arena_get(&a, count, sizeof *x.next);
	x.room = (sample_room){arena_get(&a, (size_t)width, sizeof *x.room.list), arena_get(&a, (size_t)width, sizeof(float)),
		arena_get(&a, (size_t)width, sizeof(float)), arena_zero(&a, (size_t)width, sizeof(int32_t))};
	if (!x.next || !x.room.list || !x.room.probability || !x.room.scores || !x.room.counts) {
		status = error_memory(err, "an answer");
		goto done;
	}
	for (size_t i = 0; i < count; i++)
		x.answer->at[i].prompt_tokens = list[i].count;
	x.answer->prefill = time_now() - began;
	TRY(o.beams > 1 ? search(&x, &a, err) : grow(&x, err));
	x.answer->decode = time_now() - began - x.answer->prefill;
	TRY(finish(&x, err));
	*out = x.answer;
	x.answer = NULL;
done:
	growth_end(&x.g);
	rebus_answer_free(x.answer);
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ accessors */
void rebus_answer_free(rebus_answer *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++) {
		ids_free(&a->at[i].ids);
		buf_free(&a->at[i].text);
		buf_free(&a->at[i].chances);
		if (a->at[i].at.said.from)
			grammar_end(&a->at[i].at);
		if (a->at[i].streaming)
			text_stream_free(&a->at[i].stream);
	}
	arena mem = a->mem; /* the answer lies in its own arena */
	arena_free(&mem);
}

size_t rebus_answer_count(const rebus_answer *a)
{
	return a->count;
}

const char *rebus_answer_text(const rebus_answer *a, size_t prompt)
{
	return prompt < a->count && a->at[prompt].text.data ? a->at[prompt].text.data : "";
}

const int32_t *rebus_answer_ids(const rebus_answer *a, size_t prompt, size_t *count)
{
	*count = prompt < a->count ? ids_count(&a->at[prompt].ids) : 0;
	return *count ? ids_data(&a->at[prompt].ids) : NULL;
}

const float *rebus_answer_log_probabilities(const rebus_answer *a, size_t prompt, size_t *count)
{
	*count = prompt < a->count ? a->at[prompt].chances.size / sizeof(float) : 0;
	return *count ? (const float *)(const void *)a->at[prompt].chances.data : NULL;
}

void rebus_answer_seconds(const rebus_answer *a, double *prefill, double *decode)
{
	*prefill = a->prefill;
	*decode = a->decode;
}

rebus_end rebus_answer_end(const rebus_answer *a, size_t prompt)
{
	return prompt < a->count ? a->at[prompt].end : REBUS_END_LENGTH;
}

size_t rebus_answer_prompt_tokens(const rebus_answer *a, size_t prompt)
{
	return prompt < a->count ? (size_t)a->at[prompt].prompt_tokens : 0;
}
