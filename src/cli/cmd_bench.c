/*
 * cmd_bench.c - rebus bench: how long the parts of a run take.
 *
 * Without inputs one is made up, so that a bare call says something: a picture of 224 x 224 with a colour gradient, a
 * question, or both, whatever the model reads.
 */
#include "cli.h"

#include <string.h>

enum { SIDE = 224 };

static rebus_status made_up(const cli_engine *e, rebus_prompt *p, rebus_error *err)
{
	unsigned abilities = rebus_model_abilities(e->model);
	rebus_status status = REBUS_OK;
	if (abilities & REBUS_READS_PICTURES) {
		cli_out rgb = {.data = NULL};
		for (int y = 0; y < SIDE; y++)
			for (int x = 0; x < SIDE; x++)
				cli_put(&rgb, (const char[3]){(char)y, (char)x, (char)((x + y) / 2)}, 3);
		status = rgb.failed ? cli_no_memory(err) : rebus_prompt_image_rgb(p, (const uint8_t *)rgb.data, SIDE, SIDE, err);
		cli_out_free(&rgb);
	}
	if (!status && abilities & REBUS_READS_TEXT)
		status = rebus_prompt_text(p, "What is in this image?", err);
	return status;
}

static rebus_status prompt_of(const cli_engine *e, const cli_request *r, rebus_prompt **out, rebus_error *err)
{
	if (r->pieces.count)
		return cli_prompt_from(e, r, out, err);
	rebus_prompt *p = NULL;
	rebus_status status = cli_prompt_new(e, r, &p, err);
	if (!status)
		status = made_up(e, p, err);
	if (status)
		rebus_prompt_free(p);
	else
		*out = p;
	return status;
}

/* The files of --image. */
static rebus_status pictures_of(const cli_request *r, cli_list *out, rebus_error *err)
{
	for (size_t i = 0; i < r->pieces.count; i++) {
		const cli_piece *piece = (const cli_piece *)r->pieces.items + i;
		if (!piece->picture)
			continue;
		const char **path = cli_list_add(out, sizeof *path);
		if (!path)
			return cli_no_memory(err);
		*path = piece->text;
	}
	return REBUS_OK;
}

static rebus_status bench(const cli_engine *e, const cli_request *r, rebus_prompt *const *prompts, size_t count, rebus_error *err)
{
	rebus_bench_options o = {.repeat = 5, .max_tokens = 32, .profile = r->profile, .json = r->json, .shares = true};
	cli_list pictures = {.items = NULL};
	rebus_text *text = NULL;
	cli_out out = {.data = NULL};
	size_t size;
	o.repeat = r->repeat > 0 ? (int32_t)r->repeat : o.repeat;
	o.max_tokens = r->max_tokens > 0 ? (int32_t)r->max_tokens : o.max_tokens;
	rebus_status status = pictures_of(r, &pictures, err);
	o.pictures = pictures.items;
	o.picture_count = pictures.count;
	if (!status)
		status = rebus_bench(e->session, prompts, count, &o, &text, err);
	cli_list_free(&pictures);
	if (status)
		return status;
	const char *data = rebus_text_data(text, &size);
	cli_put(&out, data, size);
	cli_put(&out, "\n", size && data[size - 1] != '\n');
	status = cli_out_flush(&out, err);
	cli_out_free(&out);
	rebus_text_free(text);
	return status;
}

static rebus_status bench_input(const cli_engine *e, const cli_request *r, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	cli_batch batch = {.count = 0};
	cli_list prompts = {.items = NULL};
	if (r->batch) {
		CLI_TRY(cli_batch_open(&batch, r->batch, err));
		CLI_TRY(cli_batch_next(&batch, e, r, SIZE_MAX, err));
		CLI_TRY(bench(e, r, batch.prompts, batch.count, err));
		goto done;
	}
	for (int64_t i = 0; i < (r->copies > 0 ? r->copies : 1); i++) {
		rebus_prompt **p = cli_list_add(&prompts, sizeof *p);
		if (!p) {
			status = cli_no_memory(err);
			goto done;
		}
		*p = NULL;
		CLI_TRY(cli_check_stop(err));
		CLI_TRY(prompt_of(e, r, p, err));
	}
	CLI_TRY(bench(e, r, prompts.items, prompts.count, err));
done:
	for (size_t i = 0; i < prompts.count; i++)
		rebus_prompt_free(((rebus_prompt **)prompts.items)[i]);
	cli_list_free(&prompts);
	cli_batch_close(&batch);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	if (r->batch && (r->pieces.count || r->copies > 0))
		return cli_error(err, REBUS_MISUSE, "--batch: given beside other inputs, expected either");
	CLI_TRY(cli_engine_open(&e, &cli_bench, r, true, err));
	status = bench_input(&e, r, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	return status;
}

const cli_command cli_bench = {
	.name = "bench",
	.bit = CLI_BENCH,
	.plain = PLAIN_NONE,
	.summary = "time the parts of a run on this machine",
	.usage = "[--image FILE]... [--text STRING]...",
	.about = "Prints the median time of each part: decoding and preprocessing the files of --image (one thread), picture "
	         "tower, prefill of the prompt, one decode step; and what share that is of the machine's peak arithmetic or "
	         "reading, which it measures itself. Without inputs a picture and a text are made up. --batch and --copies run "
	         "several inputs packed in one pass.",
	.examples = "rebus bench\n"
	            "rebus bench -m vit --copies 32 -t 4 --profile\n"
	            "rebus bench -m llava --image a.png --text \"What is it?\" --repeat 20 --json",
	.model = "llava-easyvqa",
	.run = run,
};
