/*
 * main.c - rebus: finds the command, runs it, and turns its status into one line and an exit code.
 *
 *   rebus COMMAND [options]      0 done, 1 failed, 2 misused, 130 stopped by SIGINT, 143 by SIGTERM
 */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const cli_command *const commands[] = {&cli_ask, &cli_chat, &cli_classify, &cli_embed, &cli_search, &cli_tokens, &cli_inspect,
                                              &cli_trace, &cli_bench, &cli_train, &cli_convert};

static cli_out text; /* what --help collects; print has no room for an argument */

static int print(const char *format, ...)
{
	char line[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	cli_put(&text, line, n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
	return n;
}

static void print_paragraph(const char *words)
{
	size_t at = 0;
	while (*words) {
		size_t n = strcspn(words, " ");
		if (at && at + 1 + n > 100) {
			print("\n");
			at = 0;
		}
		print(at ? " %.*s" : "%.*s", (int)n, words);
		at += n + (at > 0);
		words += n + (words[n] == ' ');
	}
	print("\n");
}

static const char exit_codes[] =
	"Exit code: 0 done, 1 failed, 2 misused, 130 stopped by SIGINT, 143 by SIGTERM. Results go to standard output, and nothing "
	"goes there when a command fails; warnings and progress go to standard error. What went wrong is told in one line, `rebus: "
	"what, where, what was expected`.";

static void command_help(const cli_command *c)
{
	print("rebus %s - %s\n\nUsage: rebus %s [options] %s\n\n", c->name, c->summary, c->name, c->usage);
	print_paragraph(c->about);
	if (c->model)
		print("\nOptions (the model that comes with rebus for this command: models/%s):\n", c->model);
	else
		print("\nOptions:\n");
	cli_print_options(c->bit, print);
	print("\nExamples:\n");
	for (const char *p = c->examples; *p;) {
		size_t n = strcspn(p, "\n");
		print("  %.*s\n", (int)n, p);
		p += n + (p[n] == '\n');
	}
	print("\n");
	print_paragraph(exit_codes);
}

static void program_help(void)
{
	print("rebus %s - runs vision-language transformers straight from Hugging Face checkpoint folders\n\n", rebus_version());
	print("Usage: rebus COMMAND [options]\n\nCommands:\n");
	for (size_t i = 0; i < CLI_COUNT(commands); i++)
		print("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	print("\n`rebus COMMAND --help` tells a command's options, with examples. `rebus --version` prints the version.\n\n");
	print("Examples:\n"
	      "  rebus ask --image 0.png \"what is the color of the shape?\"\n"
	      "  rebus classify shoe.png\n"
	      "  rebus inspect ORG/NAME\n\n");
	print("Environment:\n  REBUS_MODEL   the model where -m is not given\n"
	      "  REBUS_CPU     highest instruction set to use: portable, avx2, avx512, avx512bf16, neon\n"
	      "  HF_HUB_CACHE, HF_HOME   where the Hugging Face cache is, for -m ORG/NAME\n\n");
	print_paragraph(exit_codes);
}

static rebus_status unknown_command(const char *name, rebus_error *err)
{
	char known[160] = "";
	const char *nearest = NULL;
	for (size_t i = 0; i < CLI_COUNT(commands); i++) {
		size_t n = strlen(known);
		snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", commands[i]->name);
		if (cli_distance(name, commands[i]->name) <= 2)
			nearest = commands[i]->name;
	}
	if (nearest)
		return cli_error(err, REBUS_MISUSE, "%.40s: unknown command, the nearest is %s; expected one of %s", name, nearest,
		                 known);
	return cli_error(err, REBUS_MISUSE, "%.40s: unknown command, expected one of %s", name, known);
}

static rebus_status run(int argc, char **argv, rebus_error *err)
{
	rebus_status status;
	cli_request r;
	if (argc < 2)
		return cli_error(err, REBUS_MISUSE, "no command, expected one of those that `rebus --help` lists");
	if (!strcmp(argv[1], "--version")) {
		print("rebus %s\n", rebus_version());
		return cli_out_flush(&text, err);
	}
	const char *name = !strcmp(argv[1], "help") && argc > 2 ? argv[2] : argv[1];
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		program_help();
		return cli_out_flush(&text, err);
	}
	for (size_t i = 0; i < CLI_COUNT(commands); i++) {
		if (strcmp(name, commands[i]->name))
			continue;
		status = cli_parse(commands[i], argc - 2, argv + 2, &r, err);
		if (name == argv[2] || (!status && r.help)) {
			command_help(commands[i]);
			status = cli_out_flush(&text, err);
		} else if (!status) {
			status = commands[i]->run(&r, err);
		}
		cli_request_free(&r);
		return status;
	}
	if (name[0] == '-')
		return cli_error(err, REBUS_MISUSE, "%.60s: unknown option, expected a command first (rebus --help)", name);
	return unknown_command(name, err);
}

int main(int argc, char **argv)
{
	rebus_error err = {.code = REBUS_OK};
	rebus_status status = cli_signals(&err);
	if (!status)
		status = run(argc, argv, &err);
	cli_out_free(&text);
	if (!status)
		return 0;
	cli_say(err.text);
	if (status == REBUS_CANCELLED && cli_stopped())
		return 128 + cli_stopped();
	return status == REBUS_MISUSE ? 2 : 1;
}
