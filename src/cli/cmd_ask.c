/* cmd_ask.c - rebus ask: pictures and a text in, text out; streamed for one prompt, packed for a batch. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

enum { PACKED = 32 };

/* Text on its way to standard output as it comes. */
typedef struct {
	cli_out out;
	rebus_error err;
	rebus_status status;
	bool open_line; /* the last character was no line break */
} stream;

static bool on_text(void *user, size_t prompt, const char *text, size_t size)
{
	stream *s = user;
	(void)prompt;
	if (!size || s->status)
		return !s->status;
	cli_put(&s->out, text, size);
	s->open_line = text[size - 1] != '\n';
	s->status = cli_out_flush(&s->out, &s->err);
	return !s->status;
}

rebus_ask_options cli_ask_options(const cli_request *r, const rebus_grammar *grammar)
{
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = r->max_tokens >= 0 ? (int32_t)r->max_tokens : o.max_tokens;
	o.temperature = r->temperature >= 0 ? (float)r->temperature : o.temperature;
	o.top_k = r->top_k >= 0 ? (int32_t)r->top_k : o.top_k;
	o.top_p = r->top_p > 0 ? (float)r->top_p : o.top_p;
	o.seed = r->seed >= 0 ? (uint64_t)r->seed : o.seed;
	o.ignore_eos = r->ignore_eos;
	o.beams = (int32_t)r->beams;
	o.length_penalty = (float)r->length_penalty;
	o.early_stopping = r->early_stopping;
	o.min_p = r->min_p >= 0 ? (float)r->min_p : o.min_p;
	o.repetition_penalty = r->repetition > 0 ? (float)r->repetition : o.repetition_penalty;
	o.presence_penalty = (float)r->presence;
	o.frequency_penalty = (float)r->frequency;
	o.stops = r->stops.items;
	o.stop_count = r->stops.count;
	o.bias = r->biases.items;
	o.bias_count = r->biases.count;
	o.log_probabilities = r->logprobs;
	o.grammar = grammar;
	return o;
}

static void print_json(cli_out *o, const rebus_answer *answer, size_t i)
{
	static const char *const ends[] = {[REBUS_END_TOKEN] = "stop", [REBUS_END_LENGTH] = "length",
	                                   [REBUS_END_CALLER] = "cancelled", [REBUS_END_STOP] = "stop", [REBUS_END_GRAMMAR] = "stop"};
	size_t count;
	const int32_t *ids = rebus_answer_ids(answer, i, &count);
	cli_print(o, "{\"text\": ");
	cli_print_json(o, rebus_answer_text(answer, i));
	cli_print(o, ", \"ids\": [");
	for (size_t k = 0; k < count; k++)
		cli_print(o, k ? ", %d" : "%d", (int)ids[k]);
	size_t chances;
	const float *chance = rebus_answer_log_probabilities(answer, i, &chances);
	for (size_t k = 0; k < chances; k++)
		cli_print(o, k ? ", %.7g" : "], \"logprobs\": [%.7g", (double)chance[k]);
	cli_print(o, "], \"finish\": \"%s\", \"prompt_tokens\": %zu}\n", ends[rebus_answer_end(answer, i)],
	          rebus_answer_prompt_tokens(answer, i));
}

typedef struct {
	size_t asked, said, answers;
	double prefill, decode;
} stats;

static void count_stats(stats *s, const rebus_answer *answer)
{
	double prefill, decode;
	rebus_answer_seconds(answer, &prefill, &decode);
	s->prefill += prefill;
	s->decode += decode;
	s->answers += rebus_answer_count(answer);
	for (size_t i = 0; i < rebus_answer_count(answer); i++) {
		size_t n;
		rebus_answer_ids(answer, i, &n);
		s->said += n;
		s->asked += rebus_answer_prompt_tokens(answer, i);
	}
}

static void print_stats(const cli_request *r, const stats *s)
{
	if (!r->stats)
		return;
	size_t steps = s->said > s->answers ? s->said - s->answers : 0; /* the first token of an answer comes of the prefill */
	fprintf(stderr, "rebus: %zu prompt tokens, with their pictures, in %.3f s (%.1f/s); %zu new tokens, %zu of them in steps, in %.3f s (%.1f/s)\n", s->asked,
		s->prefill, s->prefill > 0 ? (double)s->asked / s->prefill : 0, s->said, steps, s->decode, s->decode > 0 ? (double)steps / s->decode : 0);
}

/* On one line: line breaks inside the answer become blanks. */
static void print_line(cli_out *o, const char *text)
{
	for (const char *p = text; *p; p++)
		cli_put(o, *p == '\n' || *p == '\r' ? " " : p, 1);
	cli_put(o, "\n", 1);
}

static rebus_status ask_one(const cli_engine *e, const cli_request *r, const rebus_grammar *grammar, rebus_error *err)
{
	rebus_status status;
	rebus_ask_options o = cli_ask_options(r, grammar);
	rebus_prompt *prompt = NULL;
	rebus_answer *answer = NULL;
	stream s = {.status = REBUS_OK};
	if (!r->json) {
		o.on_text = on_text;
		o.user = &s;
	}
	CLI_TRY(cli_prompt_from(e, r, &prompt, err));
	status = rebus_ask(e->session, &prompt, 1, &o, &answer, err);
	if (status) {
		if (s.open_line) { /* what was streamed stays; the message gets a line of its own */
			cli_put(&s.out, "\n", 1);
			cli_out_flush(&s.out, NULL);
		}
		goto done;
	}
	if (s.status) {
		status = s.status;
		*err = s.err;
		goto done;
	}
	stats st = {0};
	count_stats(&st, answer);
	if (r->json)
		print_json(&s.out, answer, 0);
	else
		cli_put(&s.out, "\n", s.open_line || !rebus_answer_text(answer, 0)[0]);
	CLI_TRY(cli_out_flush(&s.out, err));
	print_stats(r, &st);
done:
	cli_out_free(&s.out);
	rebus_answer_free(answer);
	rebus_prompt_free(prompt);
	return status;
}

static rebus_status ask_batch(const cli_engine *e, const cli_request *r, const rebus_grammar *grammar, rebus_error *err)
{
	rebus_status status;
	const rebus_ask_options o = cli_ask_options(r, grammar);
	cli_batch batch = {.count = 0};
	cli_out out = {.data = NULL};
	stats st = {0};
	CLI_TRY(cli_batch_open(&batch, r->batch, err));
	for (;;) {
		rebus_answer *answer = NULL;
		CLI_TRY(cli_batch_next(&batch, e, r, r->batch_size > 0 ? (size_t)r->batch_size : PACKED, err));
		if (!batch.count)
			break;
		CLI_TRY(rebus_ask(e->session, batch.prompts, batch.count, &o, &answer, err));
		for (size_t i = 0; i < batch.count; i++)
			if (r->json)
				print_json(&out, answer, i);
			else
				print_line(&out, rebus_answer_text(answer, i));
		count_stats(&st, answer);
		rebus_answer_free(answer);
	}
	CLI_TRY(cli_out_flush(&out, err));
	print_stats(r, &st);
done:
	cli_out_free(&out);
	cli_batch_close(&batch);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	rebus_grammar *grammar = NULL;
	CLI_TRY(cli_check_input("ask", r, err));
	CLI_TRY(cli_engine_open(&e, &cli_ask, r, true, err));
	status = cli_grammar(&e, r, &grammar, err);
	if (!status)
		status = r->batch ? ask_batch(&e, r, grammar, err) : ask_one(&e, r, grammar, err);
	if (!status)
		cli_engine_warn(&e, r);
	rebus_grammar_free(grammar);
	cli_engine_close(&e);
done:
	return status;
}

const cli_command cli_ask = {
	.name = "ask",
	.bit = CLI_ASK,
	.plain = PLAIN_TEXT,
	.summary = "answer a question about pictures, or go on with a text",
	.usage = "[--image FILE]... [--text STRING]... [PROMPT]",
	.about = "Prints what the model writes, as it comes. --image and --text, in the order given, and then PROMPT are the pieces "
	         "of one user message; the folder's chat template is put around it unless --raw is given or there is none. With "
	         "--batch every line is a prompt of its own, and one answer a line is printed (line breaks inside become blanks) "
	         "when all are done. --json prints {\"text\", \"ids\": the new tokens, \"finish\": \"stop\" or \"length\", "
	         "\"prompt_tokens\"}, with --logprobs also \"logprobs\".",
	.examples = "rebus ask --image 0.png \"what is the color of the shape?\"\n"
	            "rebus ask -m llava --raw --image a.png --image b.png $'USER: <image>\\n<image>\\nCompare. ASSISTANT:'\n"
	            "rebus ask -m ORG/NAME --image a.png \"Describe it.\" --max-tokens 100 --temperature 0.7 --seed 1\n"
	            "rebus ask --batch questions.jsonl --json > answers.jsonl",
	.model = "llava-easyvqa",
	.run = run,
};
