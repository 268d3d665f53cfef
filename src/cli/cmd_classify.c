/* cmd_classify.c - rebus classify: the best labels of every picture. */
#include "cli.h"

#include <string.h>

enum { PACKED = 32, TOP = 5 };

static void print_json(cli_out *o, const char *file, const rebus_scores *s, size_t picture, size_t top)
{
	cli_print(o, "{\"file\": ");
	cli_print_json(o, file);
	cli_print(o, ", \"labels\": [");
	for (size_t k = 0; k < top; k++) {
		cli_put(o, ", ", k ? 2 : 0);
		cli_print_json(o, rebus_scores_label(s, picture, k));
	}
	cli_print(o, "], \"scores\": [");
	for (size_t k = 0; k < top; k++) {
		cli_put(o, ", ", k ? 2 : 0);
		cli_print_float(o, (double)rebus_scores_value(s, picture, k));
	}
	cli_print(o, "]}\n");
}

static void print_lines(cli_out *o, const char *file, const rebus_scores *s, size_t picture, size_t top, bool several)
{
	if (several)
		cli_print(o, "%s%s:\n", o->size ? "\n" : "", file);
	for (size_t k = 0; k < top; k++)
		cli_print(o, "%.4f  %s\n", (double)rebus_scores_value(s, picture, k), rebus_scores_label(s, picture, k));
}

/* Puts the files up to `end` to work; *put of them were before. */
static rebus_status put_ahead(rebus_ahead *ahead, const cli_list *pieces, size_t *put, size_t end, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (; *put < end && *put < pieces->count && !status; *put += !status) {
		const cli_piece *piece = (const cli_piece *)pieces->items + *put;
		if (!piece->picture)
			return cli_error(err, REBUS_MISUSE, "classify: a text (%.100s), expected pictures", piece->text);
		status = rebus_ahead_file(ahead, piece->text, err);
	}
	return status;
}

/* Pictures first ... first + count - 1, packed; they are the oldest of those ahead. */
static rebus_status classify_some(const cli_engine *e, const cli_request *r, const cli_list *pieces, const rebus_labels *among, rebus_ahead *ahead,
                                  size_t first, size_t count, cli_out *out, rebus_error *err)
{
	rebus_status status;
	cli_list prompts = {.items = NULL};
	rebus_scores *scores = NULL;
	for (size_t i = 0; i < count; i++) {
		CLI_TRY(cli_check_stop(err));
		rebus_prompt **p = cli_list_add(&prompts, sizeof *p);
		if (!p) {
			status = cli_no_memory(err);
			goto done;
		}
		*p = NULL;
		CLI_TRY(rebus_ahead_next(ahead, p, err));
	}
	CLI_TRY(rebus_classify_among(e->session, prompts.items, count, among, &scores, err));
	size_t labels = rebus_scores_labels(scores), top = r->top < 0 ? TOP : r->top ? (size_t)r->top : labels;
	for (size_t i = 0; i < count; i++) {
		const char *file = ((const cli_piece *)pieces->items)[first + i].text;
		if (r->json)
			print_json(out, file, scores, i, top < labels ? top : labels);
		else
			print_lines(out, file, scores, i, top < labels ? top : labels, pieces->count > 1);
	}
done:
	rebus_scores_free(scores);
	for (size_t i = 0; i < prompts.count; i++)
		rebus_prompt_free(((rebus_prompt **)prompts.items)[i]);
	cli_list_free(&prompts);
	return status;
}

/* The options' texts, then those of a file. */
static rebus_status texts_of(const cli_list *given, const char *path, cli_list *all, rebus_error *err)
{
	for (size_t i = 0; i < given->count; i++) {
		char **copy = cli_list_add(all, sizeof *copy);
		if (copy)
			*copy = strdup(((const char *const *)given->items)[i]);
		if (!copy || !*copy)
			return cli_no_memory(err);
	}
	return path ? cli_lines_all(path, all, err) : REBUS_OK;
}

/* The labels to choose among, read once; NULL: the model's own. */
static rebus_status labels_of(const cli_engine *e, const cli_request *r, rebus_labels **out, rebus_error *err)
{
	rebus_status status;
	unsigned abilities = rebus_model_abilities(e->model);
	cli_list labels = {.items = NULL}, templates = {.items = NULL};
	if (abilities & REBUS_TWO_TOWERS && !r->labels.count && !r->labels_file)
		return cli_error(err, REBUS_MISUSE, "classify: %.100s has no labels of its own, expected --label TEXT for each, or --labels FILE",
		                 e->folder);
	if (abilities & REBUS_CLASSIFIES && (r->labels.count || r->labels_file))
		return cli_error(err, REBUS_MISUSE, "--label: %.100s has labels of its own, expected none", e->folder);
	if (!r->labels.count && !r->labels_file && (r->templates.count || r->templates_file))
		return cli_error(err, REBUS_MISUSE, "--template: no labels to put in, expected --label TEXT or --labels FILE");
	CLI_TRY(texts_of(&r->labels, r->labels_file, &labels, err));
	CLI_TRY(texts_of(&r->templates, r->templates_file, &templates, err));
	if (labels.count)
		CLI_TRY(rebus_labels_new(e->session, labels.items, labels.count, templates.items, templates.count, out, err));
done:
	cli_texts_free(&labels);
	cli_texts_free(&templates);
	return status;
}

static rebus_status classify_all(const cli_engine *e, const cli_request *r, const cli_list *pieces, rebus_error *err)
{
	rebus_status status;
	size_t most = r->batch_size > 0 ? (size_t)r->batch_size : PACKED, put = 0;
	cli_out out = {.data = NULL};
	cli_progress bar;
	rebus_ahead *ahead = NULL;
	rebus_labels *among = NULL;
	CLI_TRY(labels_of(e, r, &among, err));
	CLI_TRY(cli_ahead_open(e, r, &ahead, err));
	cli_progress_begin(&bar, r, "classify", pieces->count, 0);
	for (size_t i = 0; i < pieces->count && !status; i += most) {
		size_t count = pieces->count - i < most ? pieces->count - i : most;
		status = put_ahead(ahead, pieces, &put, i + 2 * most, err); /* the block after this one is decoded meanwhile */
		if (!status)
			status = classify_some(e, r, pieces, among, ahead, i, count, &out, err);
		cli_progress_move(&bar, i + count);
	}
	cli_progress_clear(&bar);
	if (!status)
		status = cli_out_flush(&out, err);
done:
	rebus_ahead_close(ahead);
	rebus_labels_free(among);
	cli_out_free(&out);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	cli_list pieces = {.items = NULL}, texts = {.items = NULL};
	if (!r->pieces.count && !r->batch && !r->files)
		return cli_error(err, REBUS_MISUSE, "classify: no pictures, expected FILE... (rebus classify --help)");
	CLI_TRY(cli_inputs(r, &pieces, &texts, err));
	CLI_TRY(cli_engine_open(&e, &cli_classify, r, true, err));
	status = cli_attention(&e, r, err);
	if (!status)
		status = classify_all(&e, r, &pieces, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	cli_list_free(&pieces);
	cli_texts_free(&texts);
	return status;
}

const cli_command cli_classify = {
	.name = "classify",
	.bit = CLI_CLASSIFY,
	.plain = PLAIN_PICTURES,
	.summary = "the best labels of pictures",
	.usage = "FILE... [--label TEXT]...",
	.about = "Prints a line \"score  label\" for the best labels of every picture, best first. A model with labels of its own "
	         "chooses among them; a two-tower model (CLIP, SigLIP) chooses among the texts given by --label and --labels, put into "
	         "each --template if there are any. Scores are the softmax over all labels (SigLIP: a sigmoid of each). "
	         "--json prints {\"file\", \"labels\", \"scores\"}, one line a picture.",
	.examples = "rebus classify shoe.png\n"
	            "rebus classify -m clip a.png b.png --label \"a photo of a cat\" --label \"a photo of a rocket\" --top 0\n"
	            "rebus classify -m clip a.png --labels animals.txt --template \"a photo of a {}.\" --template \"a drawing of a {}.\"\n"
	            "find photos -name '*.jpg' | rebus classify --files - --top 1 --json",
	.model = "vit-fashion",
	.run = run,
};
