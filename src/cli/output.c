/*
 * output.c - what the program writes: results on standard output, progress and warnings on standard error.
 *
 * Results are kept in memory until a command has succeeded; text of `ask` that is streamed is flushed piece by piece. Every
 * write is checked: a full disk and a closed pipe are errors with a message, not silence (SIGPIPE is ignored, setup.c).
 * Memory is asked for here and in lines.c only.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

static rebus_status error_write(rebus_error *err, rebus_status code, const char *format, va_list args)
{
	if (!err)
		return code;
	err->code = code;
	vsnprintf(err->text, sizeof err->text, format, args);
	one_line(err->text);
	return code;
}

rebus_status cli_error(rebus_error *err, rebus_status code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	error_write(err, code, format, args);
	va_end(args);
	return code;
}

rebus_status cli_no_memory(rebus_error *err)
{
	return cli_error(err, REBUS_MEMORY, "no memory for the command's inputs and results");
}

static bool grow(void **data, size_t *room, size_t need, size_t size)
{
	if (need <= *room)
		return true;
	size_t more = *room ? *room : 16;
	while (more < need) {
		if (more > SIZE_MAX / 2 / size)
			return false;
		more *= 2;
	}
	void *p = realloc(*data, more * size);
	if (!p)
		return false;
	*data = p;
	*room = more;
	return true;
}

void *cli_list_add(cli_list *l, size_t size)
{
	if (!grow(&l->items, &l->room, l->count + 1, size))
		return NULL;
	return (char *)l->items + size * l->count++;
}

void cli_list_free(cli_list *l)
{
	free(l->items);
	*l = (cli_list){.items = NULL};
}

/* ------------------------------------------------------------------------------------------------ results */
void cli_put(cli_out *o, const char *text, size_t size)
{
	void *data = o->data;
	if (o->failed || size > SIZE_MAX / 4 - o->size || !grow(&data, &o->room, o->size + size + 1, 1)) {
		o->failed = true;
		return;
	}
	o->data = data;
	memcpy(o->data + o->size, text, size);
	o->size += size;
}

void cli_print(cli_out *o, const char *format, ...)
{
	char small[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(small, sizeof small, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof small) {
		cli_put(o, small, (size_t)n);
		return;
	}
	void *data = o->data;
	if (n < 0 || o->failed || !grow(&data, &o->room, o->size + (size_t)n + 1, 1)) {
		o->failed = true;
		return;
	}
	o->data = data;
	va_start(args, format);
	vsnprintf(o->data + o->size, (size_t)n + 1, format, args);
	va_end(args);
	o->size += (size_t)n;
}

/* Bytes of the character at s, 0 where they are not UTF-8. */
static size_t character(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
	if (n == 1)
		return 1;
	if (s[0] < 0xC2 || s[0] > 0xF4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	bool short_form = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
	bool no_character = (s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF4 && s[1] >= 0x90);
	return short_form || no_character ? 0 : n;
}

void cli_print_json(cli_out *o, const char *text)
{
	cli_put(o, "\"", 1);
	while (*text) {
		size_t n = character((const unsigned char *)text);
		unsigned char c = (unsigned char)*text;
		if (!n)
			cli_put(o, "\xEF\xBF\xBD", 3);
		else if (c == '"' || c == '\\')
			cli_print(o, "\\%c", c);
		else if (c == '\n')
			cli_put(o, "\\n", 2);
		else if (c == '\t')
			cli_put(o, "\\t", 2);
		else if (c < 0x20 || c == 0x7f)
			cli_print(o, "\\u%04x", c);
		else
			cli_put(o, text, n);
		text += n ? n : 1;
	}
	cli_put(o, "\"", 1);
}

void cli_print_float(cli_out *o, double value)
{
	if (isfinite(value))
		cli_print(o, "%.9g", value);
	else
		cli_put(o, "null", 4);
}

rebus_status cli_out_flush(cli_out *o, rebus_error *err)
{
	if (o->failed)
		return cli_no_memory(err);
	for (size_t done = 0; done < o->size;) {
		ssize_t n = write(STDOUT_FILENO, o->data + done, o->size - done);
		if (n < 0 && errno == EINTR) {
			rebus_status status = cli_check_stop(err);
			if (status)
				return status;
			continue;
		}
		if (n <= 0)
			return cli_error(err, REBUS_IO, "standard output: cannot be written: %s", n ? strerror(errno) : "no room");
		done += (size_t)n;
	}
	o->size = 0;
	return REBUS_OK;
}

void cli_out_free(cli_out *o)
{
	free(o->data);
	*o = (cli_out){.data = NULL};
}

/* ------------------------------------------------------------------------------------------------ progress */
void cli_say(const char *text)
{
	char line[1024];
	snprintf(line, sizeof line, "%s", text);
	one_line(line);
	fprintf(stderr, "rebus: %s\n", line);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool cli_progress_wanted(const cli_request *r)
{
	return !r->quiet && isatty(STDERR_FILENO);
}

void cli_progress_begin(cli_progress *p, const cli_request *r, const char *what, size_t total, size_t from)
{
	*p = (cli_progress){.what = what, .total = total, .from = from, .done = from, .began = now()};
	p->visible = total != 1 && cli_progress_wanted(r);
	cli_progress_move(p, from);
}

void cli_progress_move(cli_progress *p, size_t done)
{
	enum { WIDE = 30 };
	double t = now();
	p->done = done;
	if (!p->visible || (t - p->shown < 0.1 && done < p->total))
		return;
	p->shown = t;
	char bar[WIDE + 1], left[64] = "";
	double rate = t > p->began ? (double)(done - p->from) / (t - p->began) : 0;
	if (!p->total) {
		fprintf(stderr, "\r%s %zu  %.1f/s\033[K", p->what, done, rate);
		fflush(stderr);
		return;
	}
	size_t full = (size_t)((double)(done < p->total ? done : p->total) / (double)p->total * WIDE);
	for (size_t i = 0; i < WIDE; i++)
		bar[i] = i < full ? '#' : '.';
	bar[WIDE] = 0;
	if (rate > 0) {
		double seconds = done < p->total ? (double)(p->total - done) / rate : 0;
		long s = seconds < 359999 ? (long)(seconds + 0.5) : 359999;
		snprintf(left, sizeof left, "  %.1f/s  %ld:%02ld:%02ld left", rate, s / 3600, s / 60 % 60, s % 60);
	}
	fprintf(stderr, "\r%s [%s] %zu/%zu%s\033[K", p->what, bar, done, p->total, left);
	fflush(stderr);
}

void cli_progress_clear(cli_progress *p)
{
	if (!p->visible)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	p->shown = 0;
}
