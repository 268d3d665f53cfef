/* cmd_inspect.c - rebus inspect: what a checkpoint folder holds and what running it takes. */
#include "cli.h"

enum { ANSWER = 256 };

static rebus_status inspect(const cli_engine *e, const cli_request *r, cli_out *out, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *prompt = NULL;
	rebus_text *text = NULL;
	size_t size;
	if (r->pieces.count) {
		CLI_TRY(cli_prompt_new(e, r, &prompt, err));
		for (size_t i = 0; i < r->pieces.count; i++)
			CLI_TRY(cli_prompt_add(prompt, (const cli_piece *)r->pieces.items + i, err));
	}
	CLI_TRY(rebus_inspect(e->session, prompt, r->max_tokens >= 0 ? (int32_t)r->max_tokens : ANSWER, r->json, r->weights, &text,
	                      err));
	const char *data = rebus_text_data(text, &size);
	cli_put(out, data, size);
	cli_put(out, "\n", size && data[size - 1] != '\n');
done:
	rebus_text_free(text);
	rebus_prompt_free(prompt);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	cli_out out = {.data = NULL};
	if (r->plain && r->model)
		return cli_error(err, REBUS_MISUSE, "inspect: a model twice, expected DIR or -m DIR");
	CLI_TRY(cli_engine_open(&e, &cli_inspect, r, true, err));
	status = inspect(&e, r, &out, err);
	if (!status)
		status = cli_out_flush(&out, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	cli_out_free(&out);
	return status;
}

const cli_command cli_inspect = {
	.name = "inspect",
	.bit = CLI_INSPECT,
	.plain = PLAIN_MODEL,
	.summary = "what a model folder holds: family, parts, preprocessing, weights, memory of a run",
	.usage = "[DIR] [--image FILE]... [--text STRING]...",
	.about = "Prints the model's family and parts, its preprocessing as a pipe, the size of its weights, and the memory that a "
	         "run takes. With --image and --text the run to plan for is that of the prompt they make, else one of the usual "
	         "size.",
	.examples = "rebus inspect models/clip-fashion\n"
	            "rebus inspect -m ORG/NAME --weights --json\n"
	            "rebus inspect -m llava --image a.png --text \"What is it?\" --max-tokens 64",
	.model = "llava-easyvqa",
	.run = run,
};
