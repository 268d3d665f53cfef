/*
 * lines.c - inputs that come as lines: --batch (JSON lines) and --files (a name a line), from a file or standard input.
 *
 * A line of --batch is read by the library (rebus_prompt_json); its mistakes are reported with the line's number. Lines are
 * at most 64 MiB long, so that a file without line breaks cannot take all memory.
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_MOST = 64 << 20, BATCH_MOST = 1 << 20 };

rebus_status cli_lines_open(cli_lines *l, const char *path, rebus_error *err)
{
	struct stat st;
	*l = (cli_lines){.path = path};
	if (!strcmp(path, "-")) {
		l->path = "standard input";
		l->file = stdin;
		return REBUS_OK;
	}
	l->file = fopen(path, "r");
	if (!l->file)
		return cli_error(err, REBUS_IO, "%s: cannot be opened: %s", path, strerror(errno));
	if (!fstat(fileno(l->file), &st) && S_ISDIR(st.st_mode)) {
		cli_lines_close(l);
		return cli_error(err, REBUS_IO, "%s: is a folder, expected a file", path);
	}
	return REBUS_OK;
}

rebus_status cli_lines_next(cli_lines *l, bool *got, rebus_error *err)
{
	l->size = 0;
	l->number++;
	errno = 0;
	int c;
	while ((c = getc(l->file)) != EOF && c != '\n') {
		if (l->size + 1 >= l->room) {
			size_t room = l->room ? 2 * l->room : 256;
			char *p = room <= LINE_MOST ? realloc(l->line, room) : NULL;
			if (!p)
				return cli_error(err, REBUS_LIMIT, "%s: line %zu is longer than %d bytes", l->path, l->number, LINE_MOST / 2);
			l->line = p;
			l->room = room;
		}
		l->line[l->size++] = (char)c;
	}
	if (c == EOF && ferror((FILE *)l->file)) {
		rebus_status status = cli_check_stop(err);
		return status ? status : cli_error(err, REBUS_IO, "%s: cannot be read: %s", l->path, strerror(errno));
	}
	*got = c != EOF || l->size;
	if (l->size && l->line[l->size - 1] == '\r')
		l->size--;
	if (l->line)
		l->line[l->size] = 0;
	return REBUS_OK;
}

void cli_lines_close(cli_lines *l)
{
	if (l->file && l->file != stdin)
		fclose(l->file);
	free(l->line);
	*l = (cli_lines){.path = NULL};
}

rebus_status cli_lines_all(const char *path, cli_list *texts, rebus_error *err)
{
	cli_lines l;
	bool got = true;
	size_t before = texts->count;
	rebus_status status = cli_lines_open(&l, path, err);
	while (!status && !(status = cli_lines_next(&l, &got, err)) && got) {
		if (!l.size)
			continue;
		if (strlen(l.line) != l.size) {
			status = cli_error(err, REBUS_MISUSE, "%.100s: line %zu holds a NUL, expected a text", l.path, l.number);
			break;
		}
		char **copy = cli_list_add(texts, sizeof *copy);
		if (copy)
			*copy = strdup(l.line);
		if (!copy || !*copy)
			status = cli_no_memory(err);
	}
	if (!status && texts->count == before)
		status = cli_error(err, REBUS_MISUSE, "%.160s: holds no lines, expected one text a line", l.path);
	cli_lines_close(&l);
	return status;
}

/* "FILE: line N: " before the text of an error. */
static rebus_status line_error(const cli_lines *l, rebus_status code, rebus_error *err)
{
	char text[sizeof err->text];
	snprintf(text, sizeof text, "%s", err->text);
	return cli_error(err, code, "%.100s: line %zu: %s", l->path, l->number, text);
}

/* ------------------------------------------------------------------------------------------------ prompts */
rebus_status cli_batch_open(cli_batch *b, const char *path, rebus_error *err)
{
	*b = (cli_batch){.count = 0};
	return cli_lines_open(&b->lines, path, err);
}

static void prompts_free(cli_batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		rebus_prompt_free(b->prompts[i]);
	b->first += b->count;
	b->count = 0;
}

rebus_status cli_batch_next(cli_batch *b, const cli_engine *e, const cli_request *r, size_t most, rebus_error *err)
{
	rebus_status status;
	most = most < BATCH_MOST ? most : BATCH_MOST;
	prompts_free(b);
	while (b->count < most) {
		bool got;
		CLI_TRY(cli_check_stop(err));
		CLI_TRY(cli_lines_next(&b->lines, &got, err));
		if (!got)
			break;
		if (b->count == b->room) {
			size_t room = b->room ? 2 * b->room : 16;
			rebus_prompt **p = realloc(b->prompts, room * sizeof *p);
			if (!p)
				return cli_no_memory(err);
			b->prompts = p;
			b->room = room;
		}
		CLI_TRY(cli_prompt_new(e, r, &b->prompts[b->count], err));
		b->count++;
		status = rebus_prompt_json(b->prompts[b->count - 1], b->lines.line ? b->lines.line : "", b->lines.size, err);
		if (status)
			return line_error(&b->lines, status, err);
	}
	if (!b->count && !b->first)
		return cli_error(err, REBUS_MISUSE, "%s: holds no lines, expected one JSON object a line", b->lines.path);
	status = REBUS_OK;
done:
	return status;
}

void cli_batch_close(cli_batch *b)
{
	prompts_free(b);
	free(b->prompts);
	cli_lines_close(&b->lines);
	b->prompts = NULL;
	b->room = 0;
}

/* ------------------------------------------------------------------------------------------------ inputs of encoders */
typedef struct {
	cli_list *pieces, *texts;
} collector;

static rebus_status collect(void *user, rebus_piece_kind kind, const char *text, rebus_error *err)
{
	collector *c = user;
	cli_piece *last = c->pieces->count ? (cli_piece *)c->pieces->items + c->pieces->count - 1 : NULL;
	if (kind == REBUS_PIECE_PAIR && (!last || last->picture || last->pair))
		return cli_error(err, REBUS_MISUSE, "\"pair\": expected beside the text that it belongs to");
	char **copy = cli_list_add(c->texts, sizeof *copy);
	if (!copy)
		return cli_no_memory(err);
	*copy = strdup(text);
	if (kind == REBUS_PIECE_PAIR && *copy) {
		last->pair = *copy;
		return REBUS_OK;
	}
	cli_piece *piece = *copy ? cli_list_add(c->pieces, sizeof *piece) : NULL;
	if (!piece)
		return cli_no_memory(err);
	*piece = (cli_piece){.picture = kind == REBUS_PIECE_IMAGE, .text = *copy};
	return REBUS_OK;
}

rebus_status cli_line_pieces(const cli_lines *l, cli_list *pieces, cli_list *texts, rebus_error *err)
{
	collector c = {pieces, texts};
	rebus_status status = rebus_pieces_json(l->line ? l->line : "", l->size, collect, &c, err);
	return status ? line_error(l, status, err) : REBUS_OK;
}

static rebus_status collect_lines(const char *path, bool json, collector *c, rebus_error *err)
{
	cli_lines l;
	bool got = true;
	rebus_status status = cli_lines_open(&l, path, err);
	while (!status && !(status = cli_lines_next(&l, &got, err)) && got) {
		const char *line = l.line ? l.line : "";
		if (json)
			status = rebus_pieces_json(line, l.size, collect, c, err);
		else if (strlen(line) != l.size)
			status = cli_error(err, REBUS_MISUSE, "holds a NUL, expected the name of a file");
		else if (l.size)
			status = collect(c, REBUS_PIECE_IMAGE, line, err);
		if (status)
			line_error(&l, status, err);
	}
	cli_lines_close(&l);
	return status;
}

rebus_status cli_inputs(const cli_request *r, cli_list *pieces, cli_list *texts, rebus_error *err)
{
	collector c = {pieces, texts};
	rebus_status status = REBUS_OK;
	for (size_t i = 0; i < r->pieces.count; i++) {
		const cli_piece *given = (const cli_piece *)r->pieces.items + i;
		if (given->picture && !strcmp(given->text, "-")) {
			CLI_TRY(collect_lines("-", false, &c, err));
			continue;
		}
		cli_piece *p = cli_list_add(pieces, sizeof *p);
		if (!p)
			return cli_no_memory(err);
		*p = *given;
	}
	if (r->files)
		CLI_TRY(collect_lines(r->files, false, &c, err));
	if (r->batch)
		CLI_TRY(collect_lines(r->batch, true, &c, err));
	if (!pieces->count)
		return cli_error(err, REBUS_MISUSE, "%s: holds no inputs",
		                 r->batch ? r->batch : r->files ? r->files : "the command line");
done:
	return status;
}

void cli_texts_free(cli_list *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		free(((char **)texts->items)[i]);
	cli_list_free(texts);
}
