/* cmd_trace.c - rebus trace: inputs and outputs of one call as named tensors, to be compared with the reference. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One JSON object of name, type and shape; `prefix` ("3.") picks the tensors of an item. */
static void print_tensors(cli_out *o, const cli_request *r, const rebus_tensors *tensors, const char *prefix)
{
	bool first = true;
	cli_print(o, "{\"output\": ");
	cli_print_json(o, r->out);
	if (*prefix)
		cli_print(o, ", \"item\": %.*s", (int)strlen(prefix) - 1, prefix);
	cli_print(o, ", \"tensors\": {");
	for (size_t i = 0; i < rebus_tensors_count(tensors); i++) {
		rebus_tensor t = rebus_tensors_at(tensors, i);
		if (strncmp(t.name, prefix, strlen(prefix)))
			continue;
		cli_put(o, ", ", first ? 0 : 2);
		cli_print_json(o, t.name);
		cli_print(o, ": {\"dtype\": \"%s\", \"shape\": [", t.type == REBUS_F32 ? "F32" : "I64");
		for (int32_t k = 0; k < t.rank; k++)
			cli_print(o, k ? ", %" PRId64 : "%" PRId64, t.shape[k]);
		cli_print(o, "]}");
		first = false;
	}
	cli_print(o, "}}\n");
}

static rebus_status trace(const cli_engine *e, const cli_request *r, rebus_prompt *const *prompts, size_t count,
                          const rebus_tensors *inputs, rebus_error *err)
{
	rebus_status status;
	rebus_tensors *tensors = NULL;
	cli_out out = {.data = NULL};
	const rebus_trace_options o = {
		.hidden_states = r->hidden_states,
		.max_tokens = r->max_tokens > 0 ? (int32_t)r->max_tokens : 0,
		.ignore_eos = r->ignore_eos,
		.batch = r->batch != NULL,
		.inputs = inputs,
	};
	CLI_TRY(rebus_trace(e->session, prompts, count, &o, &tensors, err));
	CLI_TRY(cli_check_stop(err));
	CLI_TRY(rebus_tensors_save(tensors, r->out, err));
	for (size_t i = 0; r->json && i < count; i++) {
		char prefix[24] = "";
		if (r->batch)
			snprintf(prefix, sizeof prefix, "%zu.", i);
		print_tensors(&out, r, tensors, prefix);
	}
	CLI_TRY(cli_out_flush(&out, err));
done:
	cli_out_free(&out);
	rebus_tensors_free(tensors);
	return status;
}

static rebus_status trace_input(const cli_engine *e, const cli_request *r, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *prompt = NULL;
	rebus_tensors *inputs = NULL;
	cli_batch batch = {.count = 0};
	if (r->batch) {
		CLI_TRY(cli_batch_open(&batch, r->batch, err));
		CLI_TRY(cli_batch_next(&batch, e, r, SIZE_MAX, err));
		CLI_TRY(trace(e, r, batch.prompts, batch.count, NULL, err));
	} else {
		if (r->inputs)
			CLI_TRY(rebus_tensors_load(r->inputs, &inputs, err));
		CLI_TRY(cli_prompt_from(e, r, &prompt, err));
		CLI_TRY(trace(e, r, &prompt, 1, inputs, err));
	}
done:
	cli_batch_close(&batch);
	rebus_prompt_free(prompt);
	rebus_tensors_free(inputs);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	CLI_TRY(cli_check_input("trace", r, err));
	if (!r->out)
		return cli_error(err, REBUS_MISUSE, "trace: no output, expected -o OUT.safetensors");
	CLI_TRY(cli_check_out(r->out, err));
	CLI_TRY(cli_engine_open(&e, &cli_trace, r, true, err));
	status = trace_input(&e, r, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	return status;
}

const cli_command cli_trace = {
	.name = "trace",
	.bit = CLI_TRACE,
	.plain = PLAIN_NONE,
	.summary = "write inputs and outputs of a call under the reference's names and shapes",
	.usage = "[--image FILE]... [--text STRING]... -o OUT.safetensors",
	.about = "Without --batch one call is one call of the reference (transformers), in float32: OUT holds what that call takes "
	         "and gives. Models that generate read the pieces as one user message; encoders and two-tower models read every "
	         "picture and every text as a row of a batch, padded as the reference does. With --batch all lines run packed in "
	         "one pass, and item I (from 0) gives the tensors I.NAME. Prints nothing; --json prints the names, types and shapes.",
	.examples = "rebus trace -m vit --image a.png --image b.jpg --hidden-states -o out.safetensors\n"
	            "rebus trace -m clip --image a.png --text \"a cat\" --text \"a rocket\" -o out.safetensors\n"
	            "rebus trace -m llava --image a.png --text \"What is it?\" --max-tokens 16 --ignore-eos -o out.safetensors\n"
	            "rebus trace -m vit --inputs pixels.safetensors -o out.safetensors",
	.model = "llava-easyvqa",
	.run = run,
};
