/* cmd_tokens.c - rebus tokens: the token table of a prompt, as the model reads it. */
#include "cli.h"

/* JSON on one line: a line break can only be between tokens of JSON, where a blank means the same. */
static rebus_status print_prompt(const cli_engine *e, const cli_request *r, rebus_prompt *prompt, bool more, cli_out *out,
                                 rebus_error *err)
{
	rebus_text *text = NULL;
	size_t size;
	rebus_status status = (r->json ? rebus_tokens_json : rebus_tokens_table)(e->model, prompt, &text, err);
	if (status)
		return status;
	const char *data = rebus_text_data(text, &size);
	while (size && (data[size - 1] == '\n' || data[size - 1] == ' '))
		size--;
	if (more && !r->json)
		cli_put(out, "\n", 1);
	for (size_t i = 0; i < size; i++)
		cli_put(out, r->json && data[i] == '\n' ? " " : data + i, 1);
	cli_put(out, "\n", 1);
	rebus_text_free(text);
	return REBUS_OK;
}

static rebus_status tokens_batch(const cli_engine *e, const cli_request *r, cli_out *out, rebus_error *err)
{
	rebus_status status;
	cli_batch batch = {.count = 0};
	CLI_TRY(cli_batch_open(&batch, r->batch, err));
	for (;;) {
		CLI_TRY(cli_batch_next(&batch, e, r, 1, err));
		if (!batch.count)
			break;
		CLI_TRY(print_prompt(e, r, batch.prompts[0], batch.first > 0, out, err));
	}
done:
	cli_batch_close(&batch);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	rebus_prompt *prompt = NULL;
	cli_out out = {.data = NULL};
	CLI_TRY(cli_check_input("tokens", r, err));
	CLI_TRY(cli_engine_open(&e, &cli_tokens, r, false, err));
	if (r->batch) {
		status = tokens_batch(&e, r, &out, err);
	} else {
		status = cli_prompt_from(&e, r, &prompt, err);
		if (!status)
			status = print_prompt(&e, r, prompt, false, &out, err);
		rebus_prompt_free(prompt);
	}
	if (!status)
		status = cli_out_flush(&out, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	cli_out_free(&out);
	return status;
}

const cli_command cli_tokens = {
	.name = "tokens",
	.bit = CLI_TOKENS,
	.plain = PLAIN_NONE,
	.summary = "the tokens of a text or a prompt with pictures, and where each comes from",
	.usage = "[--image FILE]... [--text STRING]...",
	.about = "Prints the table of tokens that the model reads: one row a token, with its kind, its sequence and order, the "
	         "picture it belongs to, its place there (t, y, x) and its source. --json prints {\"ids\", \"text\" without and "
	         "\"text_with_special\" with special tokens, \"rows\"}.",
	.examples = "rebus tokens --image 0.png --text \"what shape is it?\"\n"
	            "rebus tokens -m clip --text \"a cat\" --json\n"
	            "rebus tokens -m llama --batch chat.jsonl --json",
	.model = "llava-easyvqa",
	.run = run,
};
