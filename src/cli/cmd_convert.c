/*
 * cmd_convert.c - rebus convert: a checkpoint folder from a checkpoint folder and an adapter.
 */
#include "cli.h"

#include <string.h>

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_out out = {.data = NULL};
	const char *folder = r->model ? r->model : r->plain;
	if (!folder || !r->adapter || !r->out)
		return cli_error(err, REBUS_MISUSE, "convert: expected -m DIR, --adapter DIR and -o OUT (rebus convert --help)");
	CLI_TRY(rebus_merge(folder, r->adapter, r->out, err));
	if (r->json)
		cli_print(&out, "{\"folder\": ");
	if (r->json)
		cli_print_json(&out, r->out);
	cli_print(&out, r->json ? "}\n" : "%s\n", r->out);
	CLI_TRY(cli_out_flush(&out, err));
done:
	cli_out_free(&out);
	return status;
}

const cli_command cli_convert = {
	.name = "convert",
	.bit = CLI_CONVERT,
	.plain = PLAIN_MODEL,
	.summary = "write a model with an adapter folded into its weights",
	.usage = "-m DIR --adapter DIR -o OUT",
	.about = "OUT becomes a checkpoint folder like any other, of the model with W + scale B A in place of each weight W that the LoRA "
	         "adapter stands beside, and of the tensors that the adapter has whole. Weights that change become f32. The adapter is one "
	         "of PEFT's, or one that `rebus train --lora` wrote.",
	.examples = "rebus convert -m vit --adapter tuned -o vit-tuned",
	.run = run,
};
