/*
 * reader.c - lines of a conversation: from a terminal with editing and history (libedit, where the build has it), else as they
 * come. A line that ends with a backslash goes on with the next one.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#ifdef REBUS_LIBEDIT
#include <histedit.h>
#endif

enum { LINES_MOST = 1 << 20, HISTORY = 500 };

struct cli_reader {
	bool terminal, more; /* more: the line goes on */
	cli_out line;
	cli_lines plain;
#ifdef REBUS_LIBEDIT
	EditLine *edit;
	History *history;
#endif
};

#ifdef REBUS_LIBEDIT
static char *prompt_of(EditLine *e)
{
	void *user = NULL;
	static char first[] = "> ", later[] = ". ";
	el_get(e, EL_CLIENTDATA, &user);
	return ((cli_reader *)user)->more ? later : first;
}

static rebus_status edit_open(cli_reader *r, rebus_error *err)
{
	HistEvent event;
	r->edit = el_init("rebus", stdin, stdout, stderr);
	r->history = history_init();
	if (!r->edit || !r->history)
		return cli_no_memory(err);
	history(r->history, &event, H_SETSIZE, HISTORY);
	history(r->history, &event, H_SETUNIQUE, 1);
	el_set(r->edit, EL_CLIENTDATA, r);
	el_set(r->edit, EL_PROMPT, prompt_of);
	el_set(r->edit, EL_EDITOR, "emacs");
	el_set(r->edit, EL_HIST, history, r->history);
	return REBUS_OK;
}

static rebus_status edit_line(cli_reader *r, const char **line, int *size, cli_line *got)
{
	HistEvent event;
	errno = 0;
	*line = el_gets(r->edit, size);
	if (!*line || *size <= 0) {
		*got = cli_stop_taken() ? CLI_LINE_STOPPED : CLI_LINE_END;
		if (*got == CLI_LINE_STOPPED) {
			el_reset(r->edit);
			fputc('\n', stdout);
		}
		return REBUS_OK;
	}
	*got = CLI_LINE_READ;
	if (*size > 1)
		history(r->history, &event, H_ENTER, *line);
	return REBUS_OK;
}
#endif

rebus_status cli_reader_open(bool terminal, cli_reader **out, rebus_error *err)
{
	cli_reader *r = calloc(1, sizeof *r);
	if (!r)
		return cli_no_memory(err);
	r->terminal = terminal;
	rebus_status status = cli_lines_open(&r->plain, "-", err);
#ifdef REBUS_LIBEDIT
	if (!status && terminal)
		status = edit_open(r, err);
#endif
	if (status)
		cli_reader_close(r);
	else
		*out = r;
	return status;
}

void cli_reader_close(cli_reader *r)
{
	if (!r)
		return;
#ifdef REBUS_LIBEDIT
	if (r->history)
		history_end(r->history);
	if (r->edit)
		el_end(r->edit);
#endif
	cli_out_free(&r->line);
	cli_lines_close(&r->plain);
	free(r);
}

/*
 * Waits for a line of the terminal, or for SIGINT: let in while waiting only, so that none comes between the question whether
 * one came and the read, which would then wait for a line that nobody means to type.
 */
static void wait_for_line(void)
{
	sigset_t stops, before;
	fd_set input;
	sigemptyset(&stops);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stops, &before);
	FD_ZERO(&input);
	FD_SET(STDIN_FILENO, &input);
	if (!cli_stopped())
		pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static rebus_status plain_line(cli_reader *r, const char **line, int *size, cli_line *got, rebus_error *err)
{
	bool any = false;
	rebus_status status = REBUS_OK;
	if (r->terminal) {
		fputs(r->more ? ". " : "> ", stdout);
		fflush(stdout);
		wait_for_line();
	}
	if (!cli_stopped())
		status = cli_lines_next(&r->plain, &any, err);
	if (cli_stop_taken()) { /* what was typed is dropped */
		clearerr(stdin);
		*got = CLI_LINE_STOPPED;
		return REBUS_OK;
	}
	if (status)
		return status;
	*line = any && r->plain.line ? r->plain.line : "";
	*size = (int)r->plain.size;
	*got = any ? CLI_LINE_READ : CLI_LINE_END;
	if (any && memchr(*line, 0, r->plain.size))
		return cli_error(err, REBUS_MISUSE, "line %zu: holds a NUL, expected a text", r->plain.number);
	return REBUS_OK;
}

static rebus_status one_line(cli_reader *r, const char **line, int *size, cli_line *got, rebus_error *err)
{
#ifdef REBUS_LIBEDIT
	if (r->edit)
		return edit_line(r, line, size, got);
#endif
	return plain_line(r, line, size, got, err);
}

rebus_status cli_reader_line(cli_reader *r, const char **line, cli_line *got, rebus_error *err)
{
	r->line.size = 0;
	r->more = false;
	for (;;) {
		const char *part = "";
		int size = 0;
		rebus_status status = one_line(r, &part, &size, got, err);
		if (status || *got == CLI_LINE_STOPPED)
			return status;
		while (size && (part[size - 1] == '\n' || part[size - 1] == '\r'))
			size--;
		bool goes_on = *got == CLI_LINE_READ && size && part[size - 1] == '\\';
		cli_put(&r->line, part, (size_t)(size - goes_on));
		if (r->line.size > LINES_MOST)
			return cli_error(err, REBUS_LIMIT, "a message of more than %d bytes", LINES_MOST);
		if (goes_on) {
			cli_put(&r->line, "\n", 1);
			r->more = true;
			continue;
		}
		if (*got == CLI_LINE_END && r->terminal)
			fputc('\n', stdout);
		if (*got == CLI_LINE_END && r->more)
			*got = CLI_LINE_READ;
		cli_put(&r->line, "", 1);
		if (r->line.failed)
			return cli_no_memory(err);
		*line = r->line.data;
		return REBUS_OK;
	}
}
