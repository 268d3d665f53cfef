/*
 * sources.c - the inputs of a command that takes any number of them, one at a time:
 *
 *   FILE, --text, --pair        as given
 *   FOLDER, PATTERN             the pictures and tar files under or behind it (walk.c)
 *   SHARD.tar                   its members that are pictures, named SHARD.tar/MEMBER (the form of WebDataset)
 *   -  --files-from LIST        lines of standard input or a file, each a FILE, FOLDER or SHARD.tar
 *   --batch FILE.jsonl          the pieces of each line
 *
 * Nothing is held of inputs that were handed out, nor read of those that were not asked for. What cannot be opened on the way
 * (a folder, a tar file that breaks off) is an input too, one that is broken, so that it is told and counted like a picture.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct cli_shard {
	rebus_tar *tar;
	char *path;
	size_t uses;
};

void cli_input_free(cli_input *in)
{
	free(in->name);
	free(in->text);
	free(in->pair);
	free(in->broken);
	if (in->shard && !--in->shard->uses) {
		rebus_tar_close(in->shard->tar);
		free(in->shard->path);
		free(in->shard);
	}
	*in = (cli_input){.name = NULL};
}

void cli_sources_open(cli_sources *s, const cli_request *r)
{
	*s = (cli_sources){.request = r};
}

static void shard_drop(cli_sources *s)
{
	cli_input last = {.shard = s->shard};
	cli_input_free(&last);
	s->shard = NULL;
}

void cli_sources_close(cli_sources *s)
{
	shard_drop(s);
	cli_walk_close(s->walk);
	if (s->listing)
		cli_lines_close(&s->lines);
	cli_list_free(&s->pieces);
	cli_texts_free(&s->texts);
	*s = (cli_sources){.request = s->request};
}

static rebus_status give_file(const char *path, cli_input *out, rebus_error *err)
{
	*out = (cli_input){.picture = true, .name = strdup(path)};
	return out->name ? REBUS_OK : cli_no_memory(err);
}

/* An input in whose place only this can be told. What is our own trouble stays an error. */
static rebus_status give_broken(rebus_status why, const char *path, cli_input *out, rebus_error *err)
{
	if (why != REBUS_IO && why != REBUS_FORMAT && why != REBUS_LIMIT && why != REBUS_UNSUPPORTED)
		return why;
	*out = (cli_input){.picture = true, .name = strdup(path), .broken = strdup(err->text)};
	if (out->name && out->broken)
		return REBUS_OK;
	cli_input_free(out);
	return cli_no_memory(err);
}

static rebus_status shard_open(cli_sources *s, const char *path, rebus_error *err)
{
	rebus_tar *tar = NULL;
	rebus_status status = rebus_tar_open(path, &tar, err);
	if (status)
		return status;
	s->shard = calloc(1, sizeof *s->shard);
	if (s->shard)
		*s->shard = (cli_shard){.tar = tar, .path = strdup(path), .uses = 1};
	if (s->shard && s->shard->path)
		return REBUS_OK;
	if (s->shard)
		shard_drop(s);
	else
		rebus_tar_close(tar);
	return cli_no_memory(err);
}

/* The next picture of the shard; given false: it has no more. */
static rebus_status shard_next(cli_sources *s, cli_input *out, bool *given, rebus_error *err)
{
	for (;;) {
		const char *member;
		const void *bytes;
		size_t size;
		bool got;
		rebus_status status = rebus_tar_next(s->shard->tar, &member, &bytes, &size, &got, err);
		if (status) {
			*given = true;
			status = give_broken(status, s->shard->path, out, err);
			shard_drop(s);
			return status;
		}
		if (!got) {
			shard_drop(s);
			*given = false;
			return REBUS_OK;
		}
		if (!cli_is_picture_name(member))
			continue;
		size_t n = strlen(s->shard->path), m = strlen(member);
		char *name = malloc(n + m + 2);
		if (!name)
			return cli_no_memory(err);
		memcpy(name, s->shard->path, n);
		name[n] = '/';
		memcpy(name + n + 1, member, m + 1);
		s->shard->uses++;
		*out = (cli_input){.picture = true, .name = name, .bytes = bytes, .size = size, .shard = s->shard};
		*given = true;
		return REBUS_OK;
	}
}

/* The next file of the folder or pattern, or nothing where it is a tar file, which is open then. */
static rebus_status walk_next(cli_sources *s, cli_input *out, bool *given, rebus_error *err)
{
	const char *path = NULL;
	rebus_status status = cli_walk_next(s->walk, &path, err);
	*given = true;
	if (status)
		return path ? give_broken(status, path, out, err) : status;
	if (!path) {
		cli_walk_close(s->walk);
		s->walk = NULL;
		*given = !s->walked;
		return s->walked ? REBUS_OK : give_broken(cli_error(err, REBUS_IO, "%.160s: no pictures there", s->path), s->path, out, err);
	}
	s->walked = true;
	if (!cli_is_tar_name(path))
		return give_file(path, out, err);
	status = shard_open(s, path, err);
	*given = status;
	return status ? give_broken(status, path, out, err) : REBUS_OK;
}

/* What a name on the command line or in a list stands for. */
static rebus_status expand(cli_sources *s, const char *path, bool patterns, cli_input *out, bool *given, rebus_error *err)
{
	struct stat st;
	rebus_status status = REBUS_OK;
	bool there = !stat(path, &st);
	*given = false;
	s->path = path;
	s->walked = false;
	if (there && S_ISDIR(st.st_mode))
		status = cli_walk_open(path, false, &s->walk, err);
	else if (there && cli_is_tar_name(path))
		status = shard_open(s, path, err);
	else if (!there && patterns && cli_is_pattern(path))
		status = cli_walk_open(path, true, &s->walk, err);
	else {
		*given = true;
		return give_file(path, out, err);
	}
	if (!status)
		return status;
	*given = true;
	return give_broken(status, path, out, err);
}

static rebus_status give_piece(cli_sources *s, const cli_piece *p, bool patterns, cli_input *out, bool *given, rebus_error *err)
{
	if (p->picture)
		return expand(s, p->text, patterns, out, given, err);
	size_t n = strlen(p->text), m = p->pair ? strlen(p->pair) + 1 : 0;
	*given = true;
	*out = (cli_input){.name = malloc(n + m + 1), .text = strdup(p->text), .pair = p->pair ? strdup(p->pair) : NULL};
	if (!out->name || !out->text || (p->pair && !out->pair)) {
		cli_input_free(out);
		return cli_no_memory(err);
	}
	memcpy(out->name, p->text, n + 1);
	if (p->pair) {
		out->name[n] = '\t';
		memcpy(out->name + n + 1, p->pair, m);
	}
	return REBUS_OK;
}

static rebus_status list_open(cli_sources *s, const char *path, bool json, rebus_error *err)
{
	rebus_status status = cli_lines_open(&s->lines, path, err);
	if (status)
		return status;
	s->listing = true;
	s->json = json;
	return REBUS_OK;
}

/* The next line of the list; its pieces wait in s->pieces where it is JSON. */
static rebus_status list_next(cli_sources *s, cli_input *out, bool *given, rebus_error *err)
{
	bool got = false;
	rebus_status status = cli_lines_next(&s->lines, &got, err);
	*given = false;
	if (status)
		return status;
	if (!got) {
		cli_lines_close(&s->lines);
		s->listing = false;
		return REBUS_OK;
	}
	if (s->json) {
		cli_list_free(&s->pieces);
		cli_texts_free(&s->texts);
		s->piece = 0;
		return cli_line_pieces(&s->lines, &s->pieces, &s->texts, err);
	}
	if (!s->lines.size)
		return REBUS_OK;
	if (strlen(s->lines.line) != s->lines.size)
		return cli_error(err, REBUS_MISUSE, "%.100s: line %zu: holds a NUL, expected the name of a file", s->lines.path, s->lines.number);
	return expand(s, s->lines.line, false, out, given, err);
}

/* One step of the way to the next input. */
static rebus_status advance(cli_sources *s, cli_input *out, bool *given, bool *end, rebus_error *err)
{
	const cli_request *r = s->request;
	if (s->shard)
		return shard_next(s, out, given, err);
	if (s->walk)
		return walk_next(s, out, given, err);
	if (s->piece < s->pieces.count)
		return give_piece(s, (const cli_piece *)s->pieces.items + s->piece++, false, out, given, err);
	if (s->listing)
		return list_next(s, out, given, err);
	if (s->argument < r->pieces.count) {
		const cli_piece *p = (const cli_piece *)r->pieces.items + s->argument++;
		return p->picture && !strcmp(p->text, "-") ? list_open(s, "-", false, err) : give_piece(s, p, true, out, given, err);
	}
	if (r->files && !s->files_done) {
		s->files_done = true;
		return list_open(s, r->files, false, err);
	}
	if (r->batch && !s->batch_done) {
		s->batch_done = true;
		return list_open(s, r->batch, true, err);
	}
	*end = true;
	return REBUS_OK;
}

rebus_status cli_sources_next(cli_sources *s, cli_input *out, bool *got, rebus_error *err)
{
	bool given = false, end = false;
	rebus_status status = REBUS_OK;
	while (!status && !given && !end) {
		status = cli_check_stop(err);
		if (!status)
			status = advance(s, out, &given, &end, err);
	}
	if (status)
		return status;
	s->count += given;
	*got = given;
	return REBUS_OK;
}

static bool reads_standard_input(const cli_request *r)
{
	bool reads = (r->files && !strcmp(r->files, "-")) || (r->batch && !strcmp(r->batch, "-"));
	for (size_t i = 0; i < r->pieces.count && !reads; i++) {
		const cli_piece *p = (const cli_piece *)r->pieces.items + i;
		reads = p->picture && !strcmp(p->text, "-");
	}
	return reads;
}

rebus_status cli_sources_count(const cli_request *r, size_t *out, rebus_error *err)
{
	cli_sources s;
	cli_input in;
	bool got = true;
	rebus_status status = REBUS_OK;
	*out = 0;
	if (reads_standard_input(r))
		return REBUS_OK;
	cli_sources_open(&s, r);
	while (!status && got) {
		status = cli_sources_next(&s, &in, &got, err);
		if (!status && got)
			cli_input_free(&in);
	}
	if (!status)
		*out = s.count;
	cli_sources_close(&s);
	return status;
}
