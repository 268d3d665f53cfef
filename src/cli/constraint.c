/*
 * constraint.c - what an answer may be, as the options say: one of --grammar, --json-schema and --regex, in the text or from a file.
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONSTRAINT_MOST = 1 << 20 };

/* A whole file as a text. */
static rebus_status read_text(const char *path, char **out, rebus_error *err)
{
	char *text = malloc(CONSTRAINT_MOST + 1);
	errno = 0;
	FILE *f = text ? fopen(path, "rb") : NULL;
	size_t n = f ? fread(text, 1, CONSTRAINT_MOST + 1, f) : 0;
	rebus_status status = REBUS_OK;
	if (!text)
		status = cli_no_memory(err);
	else if (!f || ferror(f))
		status = cli_error(err, REBUS_IO, "%.160s: cannot be read: %s", path, strerror(errno));
	else if (n > CONSTRAINT_MOST)
		status = cli_error(err, REBUS_LIMIT, "%.160s: more than %d bytes", path, CONSTRAINT_MOST);
	else if (memchr(text, 0, n))
		status = cli_error(err, REBUS_MISUSE, "%.160s: holds a NUL, expected a text", path);
	if (f)
		fclose(f);
	if (status) {
		free(text);
		return status;
	}
	text[n] = 0;
	*out = text;
	return REBUS_OK;
}

rebus_status cli_grammar(const cli_engine *e, const cli_request *r, rebus_grammar **out, rebus_error *err)
{
	const struct {
		const char *text, *file;
		rebus_grammar_kind kind;
	} given[] = {
		{r->grammar, NULL, REBUS_GRAMMAR_GBNF},       {NULL, r->grammar_file, REBUS_GRAMMAR_GBNF},       {r->schema, NULL, REBUS_GRAMMAR_JSON_SCHEMA},
		{NULL, r->schema_file, REBUS_GRAMMAR_JSON_SCHEMA}, {r->regex, NULL, REBUS_GRAMMAR_REGEX},
	};
	size_t count = 0, which = 0;
	char *text = NULL;
	*out = NULL;
	for (size_t i = 0; i < CLI_COUNT(given); i++)
		if (given[i].text || given[i].file) {
			count++;
			which = i;
		}
	if (count > 1)
		return cli_error(err, REBUS_MISUSE, "--grammar, --json-schema, --regex: an answer is bound by one of them, %zu were given", count);
	if (!count)
		return REBUS_OK;
	rebus_status status = given[which].file ? read_text(given[which].file, &text, err) : REBUS_OK;
	if (!status)
		status = rebus_grammar_new(e->model, given[which].kind, text ? text : given[which].text, out, err);
	free(text);
	return status;
}
