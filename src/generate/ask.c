/*
 * ask.c - rebus_ask: pictures through the tower, prompts through the text model, then a token for each at a time.
 *
 *   prompts ─► session_see ─► growth_begin ─► { sample, stream, growth_step } until every answer has ended ─► answer
 */
#include <string.h>

#include "generate/sample.h"
#include "generate/sequences.h"
#include "generate/session.h"

enum { RESERVED_TOKENS = 1024, TOKEN_BYTES = 8 };

typedef struct one_answer {
	ids ids;
	buf text;
	text_stream stream;
	rebus_end end;
	bool running, streaming;
	int64_t prompt_tokens;
} one_answer;

struct rebus_answer {
	arena mem;
	size_t count;
	one_answer *at;
};

rebus_ask_options rebus_ask_defaults(void)
{
	return (rebus_ask_options){.max_tokens = 256, .top_p = 1};
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
	candidate *scratch;
	float *probability;
	int32_t running;
} asking;

static void hand_out(asking *x, size_t i, const char *bytes, size_t n)
{
	one_answer *a = &x->answer->at[i];
	buf_add(&a->text, bytes, n);
	if (n && x->o->on_text && !x->o->on_text(x->o->user, i, bytes, n)) {
		a->running = false;
		a->end = REBUS_END_CALLER;
	}
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
		a->running = false;
		a->end = REBUS_END_TOKEN;
		return REBUS_OK;
	}
	status = text_stream_push(&a->stream, id, &bytes, &n, err);
	if (status)
		return status;
	hand_out(x, i, bytes, n);
	if (a->running && number + 1 == x->o->max_tokens) {
		a->running = false;
		a->end = REBUS_END_LENGTH;
	}
	return REBUS_OK;
}

static rebus_status grow(asking *x, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	sampling how = {x->o->temperature, x->o->top_p, x->o->top_k, x->o->seed};
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
			int32_t id = sample_next(x->s->m->k, &how, logits, width, (int64_t)i, number, x->scratch, x->probability);
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

static rebus_status finish(asking *x, rebus_error *err)
{
	for (size_t i = 0; i < x->answer->count; i++) {
		one_answer *a = &x->answer->at[i];
		const char *bytes;
		size_t n;
		rebus_status status = text_stream_end(&a->stream, &bytes, &n, err);
		if (status)
			return status;
		hand_out(x, i, bytes, n);
		status = buf_check(&a->text, err, "an answer");
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
	TRY(sequences_make(prompts, count, &a, &list, err));
	TRY(sequences_features(s, prompts, count, (net_wants){0}, &a, &features, err));
	TRY(growth_begin(&x.g, s, list, NULL, (int32_t)count, features, o.max_tokens, (net_wants){0}, false, err));
	int64_t width = 0;
	growth_logits(&x.g, 0, &width);
	x.next = arena_get(&a, count, sizeof *x.next);
	x.scratch = arena_get(&a, (size_t)width, sizeof *x.scratch);
	x.probability = arena_get(&a, (size_t)width, sizeof *x.probability);
	if (!x.next || !x.scratch || !x.probability) {
		status = error_memory(err, "an answer");
		goto done;
	}
	for (size_t i = 0; i < count; i++)
		x.answer->at[i].prompt_tokens = list[i].count;
	TRY(grow(&x, err));
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

rebus_end rebus_answer_end(const rebus_answer *a, size_t prompt)
{
	return prompt < a->count ? a->at[prompt].end : REBUS_END_LENGTH;
}

size_t rebus_answer_prompt_tokens(const rebus_answer *a, size_t prompt)
{
	return prompt < a->count ? (size_t)a->at[prompt].prompt_tokens : 0;
}
