/*
 * cmd_embed.c - rebus embed: a vector for every picture and text, for any number of them.
 *
 *   inputs   0 ... B-1 | B ... 2B-1 | ...     each block, pictures or texts alone, is one packed pass of the model
 *   rows ─► OUT.part ─► OUT at the end
 *
 * A call that resumes finds its rows in OUT.part and goes on. Blocks keep their bounds whatever was done before (a block
 * that is half done is computed whole and only its missing rows are added), so that a resumed file has the same bytes as
 * one that was written in one go. A picture that cannot be read is reported, has no row, and makes the exit code 1.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKED = 32 };

typedef enum { TODO, DONE, SKIPPED } input_state;

typedef struct {
	const cli_engine *engine;
	const cli_request *request;
	cli_list inputs; /* cli_piece */
	cli_list texts;
	cli_list states; /* input_state */
	cli_list prompts, members; /* of a block: rebus_prompt *, number of the input */
	rebus_index_writer *writer; /* NULL: vectors go to standard output */
	cli_out out;
	cli_progress bar;
	size_t rows, width, skipped;
} embedding;

static const cli_piece *input(const embedding *m, size_t i)
{
	return (const cli_piece *)m->inputs.items + i;
}

/* What an index calls it: the file, the text, or both segments of a text. */
static const char *name_of(const cli_piece *p)
{
	return p->name ? p->name : p->text;
}

static rebus_status name_pair(cli_piece *p, cli_list *texts, rebus_error *err)
{
	cli_out both = {.data = NULL};
	char **kept = cli_list_add(texts, sizeof *kept);
	if (!kept)
		return cli_no_memory(err);
	cli_print(&both, "%s\t%s", p->text, p->pair);
	cli_put(&both, "", 1);
	*kept = both.data;
	p->name = both.data;
	return both.failed ? cli_no_memory(err) : REBUS_OK;
}

static input_state *state(const embedding *m, size_t i)
{
	return (input_state *)m->states.items + i;
}

static void skip(embedding *m, size_t i, const char *why)
{
	cli_progress_clear(&m->bar);
	cli_say(why);
	*state(m, i) = SKIPPED;
	m->skipped++;
}

/* What the vectors depend on besides the inputs' names. */
static rebus_status about(const cli_engine *e, const cli_request *r, cli_out *o, rebus_error *err)
{
	char *path = realpath(e->folder, NULL);
	cli_print(o, "model %s size %d %d patches %d backend %s positions %s", path ? path : e->folder, (int)r->height, (int)r->width, (int)r->max_patches,
	          r->backend ? r->backend : "", r->positions ? r->positions : "");
	cli_put(o, "", 1);
	free(path);
	return o->failed ? cli_no_memory(err) : REBUS_OK;
}

/* Marks the inputs whose rows OUT.part has. Those passed over on the way there could not be read then. */
static rebus_status resume(embedding *m, size_t have, rebus_error *err)
{
	size_t row = 0, last = 0;
	for (size_t i = 0; i < m->inputs.count && row < have; i++)
		if (!strcmp(name_of(input(m, i)), rebus_index_have(m->writer, row))) {
			*state(m, i) = DONE;
			row++;
			last = i;
		}
	if (row < have)
		return cli_error(err, REBUS_FORMAT,
		                 "%.120s.part: holds a row of %.60s, expected only inputs of this call, in order; remove it or give "
		                 "--restart",
		                 m->request->out, rebus_index_have(m->writer, row));
	for (size_t i = 0; i < last; i++)
		if (*state(m, i) == TODO) {
			char why[512];
			snprintf(why, sizeof why, "%.400s: skipped, it could not be read before this call resumed", name_of(input(m, i)));
			skip(m, i, why);
		}
	m->rows = have;
	return REBUS_OK;
}

static rebus_status writer_open(embedding *m, rebus_error *err)
{
	rebus_status status;
	cli_out key = {.data = NULL};
	size_t have;
	CLI_TRY(about(m->engine, m->request, &key, err));
	CLI_TRY(rebus_index_create(m->request->out, key.data, !m->request->restart, &m->writer, &have, err));
	CLI_TRY(resume(m, have, err));
done:
	cli_out_free(&key);
	return status;
}

/* A prompt of the input, unless it cannot be read. */
static rebus_status block_add(embedding *m, size_t i, rebus_error *err)
{
	rebus_prompt **p = cli_list_add(&m->prompts, sizeof *p);
	size_t *number = cli_list_add(&m->members, sizeof *number);
	if (p)
		*p = NULL;
	if (!p || !number)
		return cli_no_memory(err);
	*number = i;
	rebus_status status = cli_prompt_new(m->engine, m->request, p, err);
	if (status)
		return status;
	status = cli_prompt_add(*p, input(m, i), err);
	bool unreadable = status == REBUS_IO || status == REBUS_FORMAT || status == REBUS_LIMIT || status == REBUS_UNSUPPORTED;
	if (!input(m, i)->picture || !unreadable)
		return status;
	rebus_prompt_free(*p);
	m->prompts.count--;
	m->members.count--;
	skip(m, i, err->text);
	return REBUS_OK;
}

static void print_vector(embedding *m, const cli_piece *piece, const float *vector)
{
	cli_print(&m->out, "{\"%s\": ", piece->picture ? "file" : "text");
	cli_print_json(&m->out, piece->text);
	if (piece->pair) {
		cli_print(&m->out, ", \"pair\": ");
		cli_print_json(&m->out, piece->pair);
	}
	cli_print(&m->out, ", \"vector\": [");
	for (size_t k = 0; k < m->width; k++) {
		cli_put(&m->out, ", ", k ? 2 : 0);
		cli_print_float(&m->out, (double)vector[k]);
	}
	cli_print(&m->out, "]}\n");
}

static rebus_status block_run(embedding *m, size_t first, size_t end, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	rebus_vectors *vectors = NULL;
	bool any = false;
	for (size_t i = first; i < end; i++)
		any = any || *state(m, i) == TODO;
	if (!any)
		return REBUS_OK;
	for (size_t i = first; i < end; i++) {
		CLI_TRY(cli_check_stop(err));
		if (*state(m, i) != SKIPPED)
			CLI_TRY(block_add(m, i, err));
	}
	if (!m->prompts.count)
		goto done;
	CLI_TRY(rebus_embed(m->engine->session, m->prompts.items, m->prompts.count, &vectors, err));
	size_t rows;
	const float *data = rebus_vectors_data(vectors, &rows, &m->width);
	for (size_t k = 0; k < rows && k < m->members.count; k++) {
		size_t i = ((const size_t *)m->members.items)[k];
		if (*state(m, i) == DONE)
			continue;
		if (m->writer)
			CLI_TRY(rebus_index_add(m->writer, name_of(input(m, i)), data + k * m->width, m->width, err));
		else
			print_vector(m, input(m, i), data + k * m->width);
		*state(m, i) = DONE;
		m->rows++;
	}
done:
	rebus_vectors_free(vectors);
	for (size_t i = 0; i < m->prompts.count; i++)
		rebus_prompt_free(((rebus_prompt **)m->prompts.items)[i]);
	m->prompts.count = m->members.count = 0;
	return status;
}

/* A block has at most `most` inputs, of one kind. */
static size_t block_end(const embedding *m, size_t first, size_t most)
{
	size_t end = first + 1;
	while (end < m->inputs.count && end - first < most && input(m, end)->picture == input(m, first)->picture)
		end++;
	return end;
}

static rebus_status embed_all(embedding *m, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const cli_request *r = m->request;
	size_t most = r->batch_size > 0 ? (size_t)r->batch_size : PACKED, n = m->inputs.count;
	if (r->out)
		CLI_TRY(writer_open(m, err));
	cli_progress_begin(&m->bar, r, "embed", n, m->rows + m->skipped);
	for (size_t i = 0, end; i < n && !status; i = end) {
		end = block_end(m, i, most);
		status = block_run(m, i, end, err);
		if (end >= m->bar.from)
			cli_progress_move(&m->bar, end);
	}
	cli_progress_clear(&m->bar);
	if (status)
		goto done;
	if (!m->rows) {
		status = cli_error(err, REBUS_IO, "embed: none of %zu pictures could be read", n);
		goto done;
	}
	if (m->writer) {
		rebus_index_writer *w = m->writer;
		m->writer = NULL;
		CLI_TRY(rebus_index_finish(w, err));
		if (r->json) {
			cli_print(&m->out, "{\"output\": ");
			cli_print_json(&m->out, r->out);
			cli_print(&m->out, ", \"rows\": %zu, \"skipped\": %zu}\n", m->rows, m->skipped);
		}
	}
	CLI_TRY(cli_out_flush(&m->out, err));
	if (m->skipped)
		status = cli_error(err, REBUS_IO, "embed: %zu of %zu inputs could not be read, the others are done", m->skipped, n);
done:
	if (status == REBUS_CANCELLED && m->writer && m->rows)
		cli_error(err, status, "embed: stopped, %zu rows are in %.150s.part, the same call goes on from there", m->rows, r->out);
	rebus_index_abandon(m->writer);
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e;
	embedding m = {.engine = &e, .request = r};
	if (!r->pieces.count && !r->batch && !r->files)
		return cli_error(err, REBUS_MISUSE, "embed: nothing to work on, expected FILE... or --text STRING (rebus embed --help)");
	if (!r->out && !r->json)
		return cli_error(err, REBUS_MISUSE, "embed: no output, expected -o OUT.npy, OUT.safetensors or OUT.jsonl, or --json");
	if (r->out)
		CLI_TRY(cli_check_out(r->out, err));
	CLI_TRY(cli_inputs(r, &m.inputs, &m.texts, err));
	for (size_t i = 0; i < m.inputs.count; i++) {
		input_state *s = cli_list_add(&m.states, sizeof *s);
		if (!s) {
			status = cli_no_memory(err);
			goto done;
		}
		*s = TODO;
		cli_piece *p = (cli_piece *)m.inputs.items + i;
		if (p->pair)
			CLI_TRY(name_pair(p, &m.texts, err));
	}
	CLI_TRY(cli_engine_open(&e, &cli_embed, r, true, err));
	status = embed_all(&m, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	cli_out_free(&m.out);
	cli_list_free(&m.inputs);
	cli_list_free(&m.states);
	cli_list_free(&m.prompts);
	cli_list_free(&m.members);
	cli_texts_free(&m.texts);
	return status;
}

const cli_command cli_embed = {
	.name = "embed",
	.bit = CLI_EMBED,
	.plain = PLAIN_PICTURES,
	.summary = "vectors of pictures and texts, for `rebus search` or anything else",
	.usage = "FILE... [--text STRING]... -o OUT.npy|OUT.safetensors|OUT.jsonl",
	.about = "Writes one row a picture and text, in the order given, then those of --files and --batch; a two-tower model "
	         "(CLIP) gives vectors of unit length, in which pictures and texts are comparable. OUT.npy is float32 [rows, "
	         "width], with the names in OUT.npy.files, one a line; OUT.safetensors holds \"embeddings\" and \"files\" (U8, one "
	         "name a line); OUT.jsonl has {\"file\", \"vector\"} a line. Rows are kept in OUT.part until all are done: the same "
	         "call resumes after it was stopped or killed. A picture that cannot be read is reported and skipped, the rest is "
	         "written, and the exit code is 1. --json prints {\"output\", \"rows\", \"skipped\"}, or without -o the vectors, "
	         "one line each.",
	.examples = "rebus embed photos/*.jpg -o photos.npy\n"
	            "find photos -name '*.jpg' | rebus embed --files - -o photos.npy\n"
	            "rebus embed -m clip --text \"a cat\" --text \"a rocket\" --json",
	.model = "clip-fashion",
	.run = run,
};
