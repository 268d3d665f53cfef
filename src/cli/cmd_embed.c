/*
 * cmd_embed.c - rebus embed: a vector for every picture and text, for any number of them.
 *
 *   sources ─► block: N inputs of one kind ─► decoded ahead by threads ─► runs of a budget of tokens ─► OUT.part ─► OUT
 *              the block after it is being decoded meanwhile                                            at the end
 *
 * What is held is two blocks, whatever the number of inputs. A call that resumes finds its rows in OUT.part and goes on.
 * Blocks keep their bounds whatever was done before (a block that is half done is computed whole and only its missing rows
 * are added), so that a resumed file has the same bytes as one that was written in one go. An input that cannot be read is
 * reported, has no row, and makes the exit code 1.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, BUCKET_RUNS = 8 };

typedef enum { TODO, DONE, SKIPPED } entry_state;

typedef struct {
	cli_input in;
	entry_state state;
} entry;

/* Inputs of one kind, in order; their vectors are added together. */
typedef struct {
	cli_list entries; /* entry */
	bool todo;        /* something has no row yet; its pictures are in the queue then */
} block;

typedef struct {
	const cli_engine *engine;
	const cli_request *request;
	cli_sources sources;
	cli_input next; /* the first of the block after the last one, if any */
	bool has_next;
	rebus_ahead *ahead;
	cli_list prompts, members; /* of a run: rebus_prompt *, entry * */
	size_t gathered;           /* tokens of the run */
	rebus_index_writer *writer; /* NULL: vectors go to standard output */
	size_t have, found;        /* rows that OUT.part had, and those of them whose inputs were met */
	cli_list passed;           /* char *: what to say of inputs met on the way there that have no row */
	cli_out out;
	cli_progress bar;
	size_t inputs, rows, width, skipped;
} embedding;

static entry *entry_at(const block *b, size_t i)
{
	return (entry *)b->entries.items + i;
}

static void tell(embedding *m, const char *why)
{
	cli_progress_clear(&m->bar);
	cli_say(why);
	m->skipped++;
}

/* What the vectors depend on besides the inputs' names. */
static rebus_status about(const cli_engine *e, const cli_request *r, cli_out *o, rebus_error *err)
{
	char *path = realpath(e->folder, NULL);
	cli_print(o, "model %s size %d %d patches %d backend %s positions %s precision %s", path ? path : e->folder, (int)r->height, (int)r->width,
	          (int)r->max_patches, r->backend ? r->backend : "", r->positions ? r->positions : "", r->precision ? r->precision : "");
	cli_put(o, "", 1);
	free(path);
	return o->failed ? cli_no_memory(err) : REBUS_OK;
}

static rebus_status writer_open(embedding *m, rebus_error *err)
{
	rebus_status status;
	cli_out key = {.data = NULL};
	CLI_TRY(about(m->engine, m->request, &key, err));
	const char *name = m->request->store;
	rebus_store store = !name || !strcmp(name, "f32") ? REBUS_STORE_F32 : !strcmp(name, "f16") ? REBUS_STORE_F16 : REBUS_STORE_INT8;
	CLI_TRY(rebus_index_create(m->request->out, store, key.data, !m->request->restart, &m->writer, &m->have, err));
	m->rows = m->have;
done:
	cli_out_free(&key);
	return status;
}

/* ------------------------------------------------------------------------------------------------ blocks */
/* An input before the last one that OUT.part has a row of: it is the next of these, or could not be read then. */
static rebus_status find_row(embedding *m, entry *e, rebus_error *err)
{
	if (!e->in.broken && !strcmp(e->in.name, rebus_index_have(m->writer, m->found))) {
		e->state = DONE;
		m->found++;
	} else {
		char why[512], **text = cli_list_add(&m->passed, sizeof *text);
		snprintf(why, sizeof why, "%.400s: skipped, it could not be read before this call resumed", e->in.name);
		if (!text || !(*text = strdup(e->in.broken ? e->in.broken : why)))
			return cli_no_memory(err);
		e->state = SKIPPED;
	}
	for (size_t i = 0; m->found == m->have && i < m->passed.count; i++)
		tell(m, ((char **)m->passed.items)[i]);
	if (m->found == m->have)
		cli_texts_free(&m->passed);
	return REBUS_OK;
}

static rebus_status block_take(embedding *m, block *b, const cli_input *in, rebus_error *err)
{
	entry *e = cli_list_add(&b->entries, sizeof *e);
	if (!e)
		return cli_no_memory(err);
	*e = (entry){.in = *in};
	m->inputs++;
	if (m->found < m->have)
		return find_row(m, e, err);
	if (in->broken) {
		e->state = SKIPPED;
		tell(m, in->broken);
	}
	b->todo = b->todo || e->state == TODO;
	return REBUS_OK;
}

/* The next inputs of one kind, and their pictures to the queue; no entries: there are no more inputs. */
static rebus_status block_fill(embedding *m, block *b, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	size_t most = m->request->batch_size > 0 ? (size_t)m->request->batch_size : BLOCK;
	while (b->entries.count < most) {
		if (!m->has_next)
			CLI_TRY(cli_sources_next(&m->sources, &m->next, &m->has_next, err));
		if (!m->has_next || (b->entries.count && entry_at(b, 0)->in.picture != m->next.picture))
			break;
		cli_input in = m->next;
		m->has_next = false;
		status = block_take(m, b, &in, err);
		if (status) {
			if (!b->entries.count || entry_at(b, b->entries.count - 1)->in.name != in.name)
				cli_input_free(&in);
			goto done;
		}
	}
	for (size_t i = 0; b->todo && i < b->entries.count; i++) {
		const cli_input *in = &entry_at(b, i)->in;
		if (!in->picture || entry_at(b, i)->state == SKIPPED)
			continue;
		CLI_TRY(in->bytes ? rebus_ahead_bytes(m->ahead, in->bytes, in->size, in->name, err) : rebus_ahead_file(m->ahead, in->name, err));
	}
done:
	return status;
}

static void block_empty(block *b)
{
	for (size_t i = 0; i < b->entries.count; i++)
		cli_input_free(&entry_at(b, i)->in);
	b->entries.count = 0;
	b->todo = false;
}

/* ------------------------------------------------------------------------------------------------ runs */
static void print_vector(embedding *m, const cli_input *in, const float *vector)
{
	cli_print(&m->out, "{\"%s\": ", in->picture ? "file" : "text");
	cli_print_json(&m->out, in->picture ? in->name : in->text);
	if (in->pair) {
		cli_print(&m->out, ", \"pair\": ");
		cli_print_json(&m->out, in->pair);
	}
	cli_print(&m->out, ", \"vector\": [");
	for (size_t k = 0; k < m->width; k++) {
		cli_put(&m->out, ", ", k ? 2 : 0);
		cli_print_float(&m->out, (double)vector[k]);
	}
	cli_print(&m->out, "]}\n");
}

static void run_free(embedding *m)
{
	for (size_t i = 0; i < m->prompts.count; i++)
		rebus_prompt_free(((rebus_prompt **)m->prompts.items)[i]);
	m->prompts.count = m->members.count = m->gathered = 0;
}

/* What was gathered, through the model. */
static rebus_status run_flush(embedding *m, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	rebus_vectors *vectors = NULL;
	if (!m->prompts.count)
		return REBUS_OK;
	CLI_TRY(rebus_embed(m->engine->session, m->prompts.items, m->prompts.count, &vectors, err));
	size_t rows;
	const float *data = rebus_vectors_data(vectors, &rows, &m->width);
	for (size_t k = 0; k < rows && k < m->members.count; k++) {
		entry *e = ((entry **)m->members.items)[k];
		if (e->state == DONE)
			continue;
		if (m->writer)
			CLI_TRY(rebus_index_add(m->writer, e->in.name, data + k * m->width, m->width, err));
		else
			print_vector(m, &e->in, data + k * m->width);
		e->state = DONE;
		m->rows++;
	}
done:
	rebus_vectors_free(vectors);
	run_free(m);
	return status;
}

/* The input's prompt; NULL where it cannot be read. */
static rebus_status prompt_of(embedding *m, entry *e, rebus_prompt **out, rebus_error *err)
{
	rebus_status status;
	if (e->in.picture) {
		status = rebus_ahead_next(m->ahead, out, err);
		if (status != REBUS_IO && status != REBUS_FORMAT && status != REBUS_LIMIT && status != REBUS_UNSUPPORTED)
			return status;
		e->state = SKIPPED;
		tell(m, err->text);
		return REBUS_OK;
	}
	const cli_piece piece = {.text = e->in.text, .pair = e->in.pair};
	status = cli_prompt_new(m->engine, m->request, out, err);
	return status ? status : cli_prompt_add(*out, &piece, err);
}

/* Adds to the run; it runs first if it would become longer than the budget (buckets: than several, so that there are some). */
static rebus_status run_add(embedding *m, entry *e, rebus_prompt *prompt, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	size_t budget = cli_batch_tokens(m->request, CLI_EMBED), tokens = rebus_prompt_rows(prompt);
	budget *= m->request->batching && !strcmp(m->request->batching, "bucket") ? BUCKET_RUNS : 1;
	if (budget && m->gathered + tokens > budget)
		status = run_flush(m, err);
	rebus_prompt **p = status ? NULL : cli_list_add(&m->prompts, sizeof *p);
	entry **member = status ? NULL : cli_list_add(&m->members, sizeof *member);
	if (p)
		*p = prompt;
	else
		rebus_prompt_free(prompt);
	if (status || !p || !member)
		return status ? status : cli_no_memory(err);
	*member = e;
	m->gathered += tokens;
	return REBUS_OK;
}

static rebus_status block_run(embedding *m, block *b, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (size_t i = 0; b->todo && i < b->entries.count; i++) {
		entry *e = entry_at(b, i);
		rebus_prompt *prompt = NULL;
		CLI_TRY(cli_check_stop(err));
		if (e->state == SKIPPED)
			continue;
		status = prompt_of(m, e, &prompt, err);
		if (status) {
			rebus_prompt_free(prompt);
			goto done;
		}
		if (prompt)
			CLI_TRY(run_add(m, e, prompt, err));
	}
	CLI_TRY(run_flush(m, err));
done:
	run_free(m);
	return status;
}

static rebus_status all_blocks(embedding *m, rebus_error *err)
{
	rebus_status status;
	block now = {.todo = false}, next = {.todo = false};
	size_t total = 0, done = 0;
	bool began = false;
	if (cli_progress_wanted(m->request))
		CLI_TRY(cli_sources_count(m->request, &total, err));
	CLI_TRY(block_fill(m, &now, err));
	while (now.entries.count) {
		CLI_TRY(block_fill(m, &next, err));
		if (now.todo && !began) {
			cli_progress_begin(&m->bar, m->request, "embed", total, done);
			began = true;
		}
		CLI_TRY(block_run(m, &now, err));
		done += now.entries.count;
		if (began)
			cli_progress_move(&m->bar, done);
		block_empty(&now);
		block swap = now;
		now = next;
		next = swap;
	}
	if (m->found < m->have)
		status = cli_error(err, REBUS_FORMAT,
		                   "%.120s.part: holds a row of %.60s, expected only inputs of this call, in order; remove it or give "
		                   "--restart",
		                   m->request->out, rebus_index_have(m->writer, m->found));
done:
	cli_progress_clear(&m->bar);
	block_empty(&now);
	block_empty(&next);
	cli_list_free(&now.entries);
	cli_list_free(&next.entries);
	return status;
}

static rebus_status finish(embedding *m, rebus_error *err)
{
	rebus_status status;
	const cli_request *r = m->request;
	rebus_index_writer *w = m->writer;
	if (!m->inputs)
		return cli_error(err, REBUS_MISUSE, "%.160s: holds no inputs", r->batch ? r->batch : r->files ? r->files : "standard input");
	if (!m->rows)
		return cli_error(err, REBUS_IO, "embed: none of %zu inputs could be read", m->inputs);
	if (w) {
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
		status = cli_error(err, REBUS_IO, "embed: %zu of %zu inputs could not be read, the others are done", m->skipped, m->inputs);
done:
	return status;
}

static rebus_status embed_all(embedding *m, rebus_error *err)
{
	rebus_status status;
	const cli_request *r = m->request;
	if (r->out)
		CLI_TRY(writer_open(m, err));
	CLI_TRY(cli_ahead_open(m->engine, r, &m->ahead, err));
	CLI_TRY(all_blocks(m, err));
	CLI_TRY(finish(m, err));
done:
	if (status == REBUS_CANCELLED && m->writer && m->rows)
		cli_error(err, status, "embed: stopped, %zu rows are in %.150s.part, the same call goes on from there", m->rows, r->out);
	rebus_ahead_close(m->ahead); /* before the bytes go that it may be reading */
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
	if (r->store && !r->out)
		return cli_error(err, REBUS_MISUSE, "--store: no file to store in, expected -o OUT.npy or OUT.safetensors");
	if (!r->out && !r->json && !r->attention)
		return cli_error(err, REBUS_MISUSE, "embed: no output, expected -o OUT.npy, OUT.safetensors or OUT.jsonl, or --json");
	if (r->out)
		CLI_TRY(cli_check_out(r->out, err));
	CLI_TRY(cli_engine_open(&e, &cli_embed, r, true, err));
	cli_sources_open(&m.sources, r);
	status = cli_attention(&e, r, err);
	if (!status && (r->out || r->json))
		status = embed_all(&m, err);
	if (!status)
		cli_engine_warn(&e, r);
	cli_engine_close(&e);
done:
	if (m.has_next)
		cli_input_free(&m.next);
	cli_sources_close(&m.sources);
	cli_texts_free(&m.passed);
	cli_out_free(&m.out);
	cli_list_free(&m.prompts);
	cli_list_free(&m.members);
	return status;
}

const cli_command cli_embed = {
	.name = "embed",
	.bit = CLI_EMBED,
	.plain = PLAIN_PICTURES,
	.summary = "vectors of pictures and texts, for `rebus search` or anything else",
	.usage = "FILE|FOLDER|PATTERN|SHARD.tar|-... [--text STRING]... -o OUT.npy|OUT.safetensors|OUT.jsonl",
	.about = "Writes one row a picture and text, in the order given, then those of --files-from and --batch; a two-tower model "
	         "(CLIP) gives vectors of unit length, in which pictures and texts are comparable. A folder stands for the pictures "
	         "and tar files under it, by the endings of their names, a tar file for the pictures in it (named SHARD.tar/MEMBER), a "
	         "quoted pattern for what matches it (** is any number of folders), - for a list on standard input. Pictures are "
	         "decoded ahead by threads of their own, and memory does not grow with their number. OUT.npy is float32 [rows, "
	         "width], with the names in OUT.npy.files, one a line; OUT.safetensors holds \"embeddings\" and \"files\" (U8, one "
	         "name a line); --store makes them smaller; OUT.jsonl has {\"file\", \"vector\"} a line. Rows are kept in OUT.part until all are done: the same "
	         "call resumes after it was stopped or killed. A picture that cannot be read is reported and skipped, the rest is "
	         "written, and the exit code is 1. --json prints {\"output\", \"rows\", \"skipped\"}, or without -o the vectors, "
	         "one line each.",
	.examples = "rebus embed photos/*.jpg -o photos.npy\n"
	            "rebus embed photos shards/*.tar 'more/**/*.png' -o photos.safetensors\n"
	            "find photos -name '*.jpg' | rebus embed - -o photos.npy\n"
	            "rebus embed -m clip --text \"a cat\" --text \"a rocket\" --json",
	.model = "clip-fashion",
	.run = run,
};
