/*
 * cmd_chat.c - rebus chat: a conversation, line by line, from a terminal or a pipe.
 *
 *   line ─┬─ /command              system, reset, save, image, help, quit
 *         └─ text ─► a message ─► all messages so far as a prompt ─► answer, streamed ─► a message
 *
 * Every turn is a prompt of the whole conversation: that is what the folder's chat template is made for, and what the model
 * would be asked by any other program; of a model that reads pictures it gets every message as a list of pieces, as such
 * conversations are written. A turn that fails or is stopped before its first word leaves no message behind.
 *
 * Ctrl-C stops the answer, not the program; what was said until then stays. On an empty line it only says how to leave.
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
	const char *role; /* "system", "user", "assistant" */
	char *text;
	cli_list images; /* char *, before the text */
} turn;

typedef struct {
	const cli_engine *e;
	const cli_request *r;
	cli_reader *reader;
	cli_list turns;  /* turn */
	cli_list images; /* char *, of the next message */
	cli_out said;    /* the answer as far as it has come */
	rebus_ask_options ask;
	bool terminal, leave;
	rebus_error write_error;
	rebus_status write_status;
} talk;

static void texts_free(cli_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(((char **)list->items)[i]);
	cli_list_free(list);
}

static void turn_free(turn *t)
{
	free(t->text);
	texts_free(&t->images);
}

/* Keeps so many of the first turns. */
static void turns_cut(talk *c, size_t count)
{
	while (c->turns.count > count)
		turn_free((turn *)c->turns.items + --c->turns.count);
}

static rebus_status turn_add(talk *c, const char *role, const char *text, rebus_error *err)
{
	turn *t = cli_list_add(&c->turns, sizeof *t);
	if (!t)
		return cli_no_memory(err);
	*t = (turn){.role = role, .text = strdup(text)};
	return t->text ? REBUS_OK : cli_no_memory(err);
}

static void note(const talk *c, const char *text)
{
	if (c->terminal && !c->r->quiet)
		fprintf(stderr, "%s\n", text);
}

/* ------------------------------------------------------------------------------------------------ answers */
static bool on_text(void *user, size_t prompt, const char *text, size_t size)
{
	talk *c = user;
	cli_out now = {.data = NULL};
	(void)prompt;
	cli_put(&c->said, text, size);
	cli_put(&now, text, size);
	c->write_status = cli_out_flush(&now, &c->write_error);
	cli_out_free(&now);
	return !c->write_status && !cli_stopped();
}

static rebus_status prompt_of(const talk *c, rebus_prompt **out, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *p = NULL;
	rebus_prompt_options o = cli_prompt_options(c->r);
	o.lists = rebus_model_abilities(c->e->model) & REBUS_READS_PICTURES;
	CLI_TRY(rebus_prompt_new(c->e->model, &o, &p, err));
	for (size_t i = 0; i < c->turns.count; i++) {
		const turn *t = (const turn *)c->turns.items + i;
		CLI_TRY(rebus_prompt_message(p, t->role, err));
		for (size_t k = 0; k < t->images.count; k++)
			CLI_TRY(rebus_prompt_image_file(p, ((char **)t->images.items)[k], err));
		CLI_TRY(rebus_prompt_text(p, t->text, err));
	}
	*out = p;
	p = NULL;
done:
	rebus_prompt_free(p);
	return status;
}

static void end_line(talk *c)
{
	cli_out now = {.data = NULL};
	if (!c->said.size || c->said.data[c->said.size - 1] != '\n')
		cli_put(&now, "\n", 1);
	if (!c->write_status)
		c->write_status = cli_out_flush(&now, &c->write_error);
	cli_out_free(&now);
}

static void print_stats(const talk *c, const rebus_answer *a)
{
	double prefill, decode;
	size_t said;
	if (!c->r->stats || !a)
		return;
	rebus_answer_seconds(a, &prefill, &decode);
	rebus_answer_ids(a, 0, &said);
	fprintf(stderr, "rebus: %zu prompt tokens in %.3f s, %zu new ones in %.3f s\n", rebus_answer_prompt_tokens(a, 0), prefill, said, decode);
}

/* Asks the model; the answer becomes a message. stopped: by Ctrl-C, which is no failure. */
static rebus_status answer(talk *c, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *prompt = NULL;
	rebus_answer *a = NULL;
	c->said.size = 0;
	c->write_status = REBUS_OK;
	CLI_TRY(prompt_of(c, &prompt, err));
	status = rebus_ask(c->e->session, &prompt, 1, &c->ask, &a, err);
	bool stopped = cli_stop_taken();
	if (status == REBUS_CANCELLED && stopped)
		status = REBUS_OK;
	if (!status || c->said.size)
		end_line(c);
	if (!status && c->write_status) {
		status = c->write_status;
		*err = c->write_error;
	}
	CLI_TRY(status);
	CLI_TRY(cli_check_stop(err));
	print_stats(c, a);
	if (stopped)
		note(c, "(stopped)");
	cli_put(&c->said, "", 1);
	c->said.size -= !c->said.failed;
	if (c->said.failed)
		status = cli_no_memory(err);
	else if (stopped && !c->said.size)
		turns_cut(c, c->turns.count - 1);
	else
		status = turn_add(c, "assistant", c->said.data, err);
done:
	rebus_answer_free(a);
	rebus_prompt_free(prompt);
	return status;
}

static rebus_status say(talk *c, const char *text, rebus_error *err)
{
	rebus_status status;
	size_t before = c->turns.count;
	CLI_TRY(turn_add(c, "user", text, err));
	((turn *)c->turns.items)[before].images = c->images;
	c->images = (cli_list){.items = NULL};
	status = answer(c, err);
done:
	if (status)
		turns_cut(c, before);
	return status;
}

/* ------------------------------------------------------------------------------------------------ commands */
static const char help_text[] =
	"/system TEXT   what the model is told before everything else (without TEXT: nothing); begins anew\n"
	"/reset         begins anew, but for what /system said\n"
	"/image FILE    a picture, which the next message begins with\n"
	"/save FILE     writes the conversation as a line of JSON that --batch reads\n"
	"/help          this text\n"
	"/quit          ends; so does the end of input (Ctrl-D)\n"
	"Ctrl-C         stops the answer\n"
	"A line that ends with \\ goes on with the next; // at the beginning is one / of a message.";

static rebus_status system_said(talk *c, const char *text, rebus_error *err)
{
	turns_cut(c, 0);
	return *text ? turn_add(c, "system", text, err) : REBUS_OK;
}

static rebus_status reset(talk *c)
{
	bool told = c->turns.count && !strcmp(((const turn *)c->turns.items)->role, "system");
	turns_cut(c, told);
	texts_free(&c->images);
	return REBUS_OK;
}

/* A picture is read at once, so that one that cannot be is told of before the message is written. */
static rebus_status image(talk *c, const char *path, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *p = NULL;
	if (!*path)
		return cli_error(err, REBUS_MISUSE, "/image: expected the name of a picture");
	CLI_TRY(cli_prompt_new(c->e, c->r, &p, err));
	CLI_TRY(rebus_prompt_image_file(p, path, err));
	char **name = cli_list_add(&c->images, sizeof *name);
	if (!name)
		return cli_no_memory(err);
	*name = strdup(path);
	if (!*name) {
		c->images.count--;
		status = cli_no_memory(err);
	}
done:
	rebus_prompt_free(p);
	return status;
}

static void print_turn(cli_out *o, const turn *t)
{
	cli_print(o, "{\"role\": \"%s\", \"content\": ", t->role);
	if (t->images.count) {
		cli_print(o, "[");
		for (size_t i = 0; i < t->images.count; i++) {
			cli_print(o, "{\"image\": ");
			cli_print_json(o, ((char **)t->images.items)[i]);
			cli_print(o, "}, ");
		}
		cli_print(o, "{\"text\": ");
	}
	cli_print_json(o, t->text);
	cli_print(o, t->images.count ? "}]}" : "}");
}

static rebus_status save(const talk *c, const char *path, rebus_error *err)
{
	rebus_status status;
	cli_out o = {.data = NULL};
	FILE *f = NULL;
	if (!*path)
		return cli_error(err, REBUS_MISUSE, "/save: expected the name of a file");
	CLI_TRY(cli_check_out(path, err));
	cli_print(&o, "{\"messages\": [");
	for (size_t i = 0; i < c->turns.count; i++) {
		cli_print(&o, i ? ", " : "");
		print_turn(&o, (const turn *)c->turns.items + i);
	}
	cli_print(&o, "]}\n");
	f = o.failed ? NULL : fopen(path, "wb");
	if (o.failed)
		status = cli_no_memory(err);
	else if (!f)
		status = cli_error(err, REBUS_IO, "%.160s: cannot be written: %s", path, strerror(errno));
	bool written = f && fwrite(o.data, 1, o.size, f) == o.size;
	if (f && (fclose(f) || !written))
		status = cli_error(err, REBUS_IO, "%.160s: cannot be written: %s", path, strerror(errno));
done:
	cli_out_free(&o);
	return status;
}

static rebus_status command(talk *c, const char *line, rebus_error *err)
{
	size_t n = strcspn(line, " \t");
	const char *rest = line + n + strspn(line + n, " \t");
	const struct {
		const char *name;
		bool takes;
	} known[] = {{"/system", true}, {"/reset", false}, {"/save", true}, {"/image", true}, {"/help", false}, {"/quit", false}, {"/exit", false}};
	size_t i = 0;
	while (i < CLI_COUNT(known) && (strlen(known[i].name) != n || memcmp(known[i].name, line, n) != 0))
		i++;
	if (i == CLI_COUNT(known))
		return cli_error(err, REBUS_MISUSE,
			"%.*s: unknown, expected a message or one of /system /reset /image /save /help /quit (// for a message that begins with /)",
			n < 60 ? (int)n : 60, line);
	if (!known[i].takes && *rest)
		return cli_error(err, REBUS_MISUSE, "%s: takes nothing after it", known[i].name);
	switch (i) {
	case 0:
		return system_said(c, rest, err);
	case 1:
		return reset(c);
	case 2:
		return save(c, rest, err);
	case 3:
		return image(c, rest, err);
	case 4:
		fprintf(stderr, "%s\n", help_text);
		return REBUS_OK;
	default:
		c->leave = true;
		return REBUS_OK;
	}
}

/* ------------------------------------------------------------------------------------------------ the conversation */
static rebus_status take(talk *c, const char *line, rebus_error *err)
{
	if (!line[strspn(line, " \t")])
		return REBUS_OK;
	if (line[0] == '/' && line[1] != '/')
		return command(c, line, err);
	return say(c, line + (line[0] == '/'), err);
}

/* On a terminal a mistake is told, and the conversation goes on. From a pipe nobody could mend it. */
static rebus_status go_on(talk *c, rebus_status status, rebus_error *err)
{
	if (!status || !c->terminal || status == REBUS_CANCELLED || status == REBUS_MEMORY)
		return status;
	cli_say(err->text);
	if (status == REBUS_LIMIT)
		note(c, "(the conversation is as it was before this message; /reset begins anew)");
	return REBUS_OK;
}

static rebus_status converse(talk *c, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	note(c, "/help tells what there is, Ctrl-D ends.");
	while (!status && !c->leave) {
		cli_line got;
		const char *line = NULL;
		CLI_TRY(cli_reader_line(c->reader, &line, &got, err));
		CLI_TRY(cli_check_stop(err));
		if (got == CLI_LINE_STOPPED) {
			note(c, "(Ctrl-D or /quit ends)");
			continue;
		}
		if (got == CLI_LINE_END)
			break;
		status = go_on(c, take(c, line, err), err);
	}
done:
	return status;
}

static rebus_status run(const cli_request *r, rebus_error *err)
{
	rebus_status status;
	cli_engine e = {.model = NULL};
	rebus_grammar *grammar = NULL;
	talk c = {.e = &e, .r = r, .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
	CLI_TRY(cli_engine_open(&e, &cli_chat, r, true, err));
	if (!(rebus_model_abilities(e.model) & REBUS_GENERATES)) {
		status = cli_error(err, REBUS_MISUSE, "a %s model does not generate text", rebus_model_family(e.model));
		goto done;
	}
	CLI_TRY(cli_grammar(&e, r, &grammar, err));
	c.ask = cli_ask_options(r, grammar);
	c.ask.on_text = on_text;
	c.ask.user = &c;
	if (r->system)
		CLI_TRY(system_said(&c, r->system, err));
	cli_engine_warn(&e, r);
	CLI_TRY(cli_reader_open(c.terminal, &c.reader, err));
	CLI_TRY(cli_signals_kept(err));
	status = converse(&c, err);
done:
	cli_reader_close(c.reader);
	turns_cut(&c, 0);
	cli_list_free(&c.turns);
	texts_free(&c.images);
	cli_out_free(&c.said);
	rebus_grammar_free(grammar);
	cli_engine_close(&e);
	return status;
}

const cli_command cli_chat = {
	.name = "chat",
	.bit = CLI_CHAT,
	.plain = PLAIN_NONE,
	.summary = "talk with a model about pictures and anything else",
	.usage = "[< MESSAGES]",
	.about = "Reads a message a line and prints the answer as it comes, through the folder's chat template; everything said before "
	         "is part of the next prompt. Commands: /system TEXT, /reset, /image FILE, /save FILE, /help, /quit. Ctrl-C stops the answer "
	         "and not the program. On a terminal lines can be edited and come back with the arrow keys (where rebus was built with "
	         "libedit). From a pipe nothing but answers is printed, and the first mistake ends it.",
	.examples = "rebus chat -m ORG/NAME\n"
	            "rebus chat -m ORG/NAME --system \"Answer in one word.\" --temperature 0.7\n"
	            "printf '%s\\n' '/image a.png' 'What is it?' 'And its colour?' | rebus chat",
	.model = "llava-easyvqa",
	.run = run,
};
