/* cmd_search.c - rebus search: the rows of an index that are nearest to a text or a picture. */
#include "cli.h"

#include <string.h>

enum { TOP = 10 };

static void print_json(cli_out *o, const rebus_index *index, const size_t *rows, const float *scores, size_t found)
{
	cli_print(o, "{\"files\": [");
	for (size_t i = 0; i < found; i++) {
		cli_put(o, ", ", i ? 2 : 0);
		cli_print_json(o, rebus_index_file(index, rows[i]));
	}
	cli_print(o, "], \"scores\": [");
	for (size_t i = 0; i < found; i++) {
		cli_put(o, ", ", i ? 2 : 0);
		cli_print_float(o, (double)scores[i]);
	}
	cli_print(o, "]}\n");
}

static rebus_status search(const cli_engine *e, const cli_request *r, const rebus_index *index, cli_out *out, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *prompt = NULL;
	rebus_vectors *vectors = NULL;
	cli_list rows = {.items = NULL}, scores = {.items = NULL};
	size_t count, width, found, all = rebus_index_rows(index), top = r->top < 0 ? TOP : r->top ? (size_t)r->top : all;
	top = top < all ? top : all;
	CLI_TRY(cli_prompt_new(e, r, &prompt, err));
	CLI_TRY(cli_prompt_add(prompt, r->pieces.items, err));
	CLI_TRY(rebus_embed(e->session, &prompt, 1, &vectors, err));
	const float *query = rebus_vectors_data(vectors, &count, &width);
	for (size_t i = 0; i < top; i++)
		if (!cli_list_add(&rows, sizeof(size_t)) || !cli_list_add(&scores, sizeof(float))) {
			status = cli_no_memory(err);
			goto done;
		}
	CLI_TRY(rebus_index_search(index, query, width, top, r->threads > 0 ? (int)r->threads : 0, rows.items, scores.items, &found, err));
	if (r->json)
		print_json(out, index, rows.items, scores.items, found);
	else
		for (size_t i = 0; i < found; i++)
			cli_print(out, "%.4f  %s\n", (double)((float *)scores.items)[i], rebus_index_file(index, ((size_t *)rows.items)[i]));
done:
	cli_list_free(&rows);
	cli_list_free(&scores);
	rebus_vectors_free(vectors);
	rebus_prompt_free(prompt);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	rebus_index *index = NULL;
	cli_out out = {.data = NULL};
	if (!r->plain)
		return cli_error(err, REBUS_MISUSE,
		                 "search: no index, expected INDEX, a file that `rebus embed -o` wrote (rebus search --help)");
	if (r->pieces.count != 1)
		return cli_error(err, REBUS_MISUSE, "search: %zu things to search for, expected one --text STRING or --image FILE",
		                 r->pieces.count);
	CLI_TRY(rebus_index_load(r->plain, &index, err));
	CLI_TRY(cli_engine_open(&e, &cli_search, r, true, err));
	status = search(&e, r, index, &out, err);
	if (!status)
		status = cli_out_flush(&out, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	cli_out_free(&out);
	rebus_index_free(index);
	return status;
}

const cli_command cli_search = {
	.name = "search",
	.bit = CLI_SEARCH,
	.plain = PLAIN_INDEX,
	.summary = "find the pictures nearest to a text or a picture",
	.usage = "INDEX --text STRING | --image FILE",
	.about = "INDEX is a file that `rebus embed` wrote with the same model: .npy with its .files beside it, .safetensors or "
	         ".jsonl. Prints a line \"score  file\" for the best rows, best first; the score is the cosine of the angle between "
	         "the vectors. A text needs a two-tower model (CLIP). --json prints {\"files\", \"scores\"}.",
	.examples = "rebus search photos.npy --text \"a photo of a bag.\"\n"
	            "rebus search photos.npy --image bag.png --top 3 --json",
	.model = "clip-fashion",
	.run = run,
};
