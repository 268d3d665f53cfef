/*
 * cli.h - what the files of the program share. Nothing here knows the library below its two public headers.
 *
 *   argv ─► options.c ─► cli_request ─► cmd_NAME.c ─► setup.c: model, session, prompts
 *                                           │
 *                                           ├─► output.c: results, kept until the command has succeeded ─► standard output
 *                                           └─► rebus_error ─► main.c: one line on standard error, exit code
 *
 * The contract: results on standard output and nothing there when a command fails; warnings and progress on standard error;
 * exit code 0 done, 1 failed, 2 misused, 130 and 143 stopped by SIGINT and SIGTERM.
 */
#ifndef REBUS_CLI_H
#define REBUS_CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rebus.h"
#include "rebus_lab.h"

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CLI_TRY(call)                                                                                                      \
	do {                                                                                                               \
		if ((status = (call)) != REBUS_OK)                                                                         \
			goto done;                                                                                         \
	} while (0)

/* ------------------------------------------------------------------------------------------------ request (options.c) */
typedef struct cli_piece {
	bool picture;
	const char *text; /* a path, or the text itself */
	const char *pair; /* second segment of the text; NULL: none */
	const char *name; /* in an index; NULL: the text */
} cli_piece;

typedef struct cli_setting {
	const char *name, *value;
} cli_setting;

/* Grows by doubling; items of one size. */
typedef struct cli_list {
	void *items;
	size_t count, room;
} cli_list;

/* What the command line says. Numbers are -1 where nothing was said; texts are NULL then. */
typedef struct cli_request {
	const char *model, *cpu, *load, *precision, *batch, *inputs, *out, *files, *positions, *backend, *adapter, *plain;
	const char *grammar, *grammar_file, *schema, *schema_file, *regex, *system;
	const char *batching, *labels_file, *templates_file, *store, *attention;
	cli_list pieces; /* cli_piece, in the order given */
	cli_list labels, templates, stops; /* const char * */
	cli_list biases; /* rebus_token_bias */
	cli_list settings; /* cli_setting: options of a recipe, in the order given */
	bool rollout, json, quiet, raw, bare, hidden_states, ignore_eos, logprobs, stats, profile, weights, restart, help;
	int64_t threads, height, width, patch, max_patches, max_tokens, top, top_k, seed, mask_seed, repeat, copies, batch_size, batch_tokens, layer, head;
	int64_t beams;
	bool early_stopping;
	double length_penalty;
	double temperature, mask_ratio, top_p, min_p, repetition, presence, frequency;
} cli_request;

/* One bit a command, to say which options it takes. */
enum {
	CLI_ASK = 1,
	CLI_BENCH = 2,
	CLI_CLASSIFY = 4,
	CLI_EMBED = 8,
	CLI_INSPECT = 16,
	CLI_SEARCH = 32,
	CLI_TOKENS = 64,
	CLI_TRACE = 128,
	CLI_ALL = 255,  /* those that take a model and inputs */
	CLI_TRAIN = 256, /* its options are a recipe's, apart from a few */
	CLI_CONVERT = 512,
	CLI_CHAT = 1024
};

/* What an argument that is no option means. */
typedef enum { PLAIN_NONE, PLAIN_PICTURES, PLAIN_TEXT, PLAIN_INDEX, PLAIN_MODEL, PLAIN_RECIPE } cli_plain;

typedef struct cli_command {
	const char *name;
	unsigned bit;
	cli_plain plain;
	const char *summary;  /* for the list of commands */
	const char *usage;    /* after "rebus NAME [options]" */
	const char *about;    /* paragraphs, wrapped */
	const char *examples; /* lines */
	const char *model;    /* the folder of models/ that stands in for -m */
	rebus_status (*run)(const cli_request *r, rebus_error *err);
} cli_command;

extern const cli_command cli_ask, cli_bench, cli_chat, cli_classify, cli_convert, cli_embed, cli_inspect, cli_search, cli_tokens, cli_trace, cli_train;

rebus_status cli_parse(const cli_command *command, int argc, char **argv, cli_request *out, rebus_error *err);
void cli_request_free(cli_request *r);
void cli_print_options(unsigned bit, int (*print)(const char *format, ...)); /* the table, for --help */
size_t cli_distance(const char *a, const char *b);                           /* edits between two words */

/* ------------------------------------------------------------------------------------------------ output (output.c) */
rebus_status cli_error(rebus_error *err, rebus_status code, const char *format, ...) CLI_PRINTF(3, 4);
rebus_status cli_no_memory(rebus_error *err);
/* Room for one more item; NULL: no memory. */
void *cli_list_add(cli_list *l, size_t size);
void cli_list_free(cli_list *l);

/* Results. They are kept until cli_out_flush, so that a command that fails prints none. */
typedef struct cli_out {
	char *data;
	size_t size, room;
	bool failed; /* no memory */
} cli_out;
void cli_put(cli_out *o, const char *text, size_t size);
void cli_print(cli_out *o, const char *format, ...) CLI_PRINTF(2, 3);
void cli_print_json(cli_out *o, const char *text); /* as a JSON string; what is not UTF-8 becomes U+FFFD */
void cli_print_float(cli_out *o, double value);    /* as JSON; null where it is not finite */
/* Writes all to standard output and forgets it. Fails with IO: full disk, closed pipe. */
rebus_status cli_out_flush(cli_out *o, rebus_error *err);
void cli_out_free(cli_out *o);

void cli_say(const char *text); /* one line "rebus: TEXT" on standard error */

/* A bar with count, rate and remaining time, or without a total (0) a count and a rate; only where standard error is a terminal. */
typedef struct cli_progress {
	const char *what;
	size_t done, total, from; /* from: done before this call, which the rate leaves out */
	double began, shown;
	bool visible;
} cli_progress;
bool cli_progress_wanted(const cli_request *r);
void cli_progress_begin(cli_progress *p, const cli_request *r, const char *what, size_t total, size_t from);
void cli_progress_move(cli_progress *p, size_t done);
void cli_progress_clear(cli_progress *p); /* before anything else is written, and at the end */

/* ------------------------------------------------------------------------------------------------ setup (setup.c) */
/* The signal that asked to stop; 0: none. */
int cli_stopped(void);
rebus_status cli_signals(rebus_error *err);
rebus_status cli_check_stop(rebus_error *err);
/* For chat: SIGINT stops what is being done, not the program; cli_stop_taken says whether it came, and forgets it. */
rebus_status cli_signals_kept(rebus_error *err);
bool cli_stop_taken(void);

typedef struct cli_engine {
	rebus_model *model;
	rebus_session *session;
	const char *folder; /* what was opened */
	char found[4096];
} cli_engine;
/* with_session false: the model alone, for what computes nothing. */
rebus_status cli_engine_open(cli_engine *e, const cli_command *command, const cli_request *r, bool with_session,
                             rebus_error *err);
void cli_engine_close(cli_engine *e);
size_t cli_batch_tokens(const cli_request *r, unsigned command); /* of a run at most; 0: no bound */
void cli_engine_warn(const cli_engine *e, const cli_request *r); /* the model's warnings */

rebus_prompt_options cli_prompt_options(const cli_request *r);
/* Decodes pictures for such prompts ahead of the session. */
rebus_status cli_ahead_open(const cli_engine *e, const cli_request *r, rebus_ahead **out, rebus_error *err);
rebus_status cli_prompt_new(const cli_engine *e, const cli_request *r, rebus_prompt **out, rebus_error *err);
rebus_status cli_prompt_add(rebus_prompt *p, const cli_piece *piece, rebus_error *err);
/* Draws what --attention asks for, of the one picture that the options give. */
rebus_status cli_attention(const cli_engine *e, const cli_request *r, rebus_error *err);
/* The prompt that the options give: pieces, then the plain text. */
rebus_status cli_prompt_from(const cli_engine *e, const cli_request *r, rebus_prompt **out, rebus_error *err);
/* Fails with MISUSE unless there is an input: pieces, a plain text, or a batch and neither. */
/* What --grammar, --json-schema or --regex ask for; NULL: nothing. */
rebus_ask_options cli_ask_options(const cli_request *r, const rebus_grammar *grammar); /* cmd_ask.c */
rebus_status cli_grammar(const cli_engine *e, const cli_request *r, rebus_grammar **out, rebus_error *err);
rebus_status cli_check_input(const char *command, const cli_request *r, rebus_error *err);
/* Fails with IO where a file cannot be made at this path: no such folder, no permission, a folder of that name. */
rebus_status cli_check_out(const char *path, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ lines (lines.c) */
/* Lines of a file, or of standard input for "-". */
typedef struct cli_lines {
	const char *path;
	void *file;
	char *line; /* without its end */
	size_t size, room, number;
} cli_lines;
rebus_status cli_lines_open(cli_lines *l, const char *path, rebus_error *err);
rebus_status cli_lines_next(cli_lines *l, bool *got, rebus_error *err); /* got false: the end */
void cli_lines_close(cli_lines *l);
/* Adds a copy (char *) of every line that is not empty; cli_texts_free. MISUSE where there is none. */
rebus_status cli_lines_all(const char *path, cli_list *texts, rebus_error *err);

/* Prompts of a --batch file, `most` at a time. */
typedef struct cli_batch {
	cli_lines lines;
	rebus_prompt **prompts;
	size_t count, room, first; /* first: number of prompts[0] in the file, from 0 */
} cli_batch;
rebus_status cli_batch_open(cli_batch *b, const char *path, rebus_error *err);
/* The next prompts, replacing the last ones; count 0 at the end. */
rebus_status cli_batch_next(cli_batch *b, const cli_engine *e, const cli_request *r, size_t most, rebus_error *err);
void cli_batch_close(cli_batch *b);

/* Pictures and texts of encoders: pieces, --files, --batch, in this order. Adds cli_piece whose texts live in `texts`. */
rebus_status cli_inputs(const cli_request *r, cli_list *pieces, cli_list *texts, rebus_error *err);
void cli_texts_free(cli_list *texts);
/* The pieces of the line of a --batch file that was read last, added to those lists. */
rebus_status cli_line_pieces(const cli_lines *l, cli_list *pieces, cli_list *texts, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ sources (walk.c, sources.c) */
typedef struct cli_walk cli_walk;
rebus_status cli_walk_open(const char *path, bool pattern, cli_walk **out, rebus_error *err); /* path must outlive it */
/* The next file; NULL past the last. After a failure with *out set, a folder of that name, it may go on. */
rebus_status cli_walk_next(cli_walk *w, const char **out, rebus_error *err);
void cli_walk_close(cli_walk *w);
bool cli_is_picture_name(const char *name); /* by its ending */
bool cli_is_tar_name(const char *name);
bool cli_is_pattern(const char *name);

typedef struct cli_shard cli_shard; /* an open tar file, held by the inputs that lie in it */

typedef struct cli_input {
	bool picture;
	char *name;              /* what an index calls it: the file, SHARD.tar/MEMBER, the text, or both segments of it */
	char *text, *pair;       /* of a text; pair NULL: none */
	char *broken;            /* why there is nothing to read; NULL: there is */
	const void *bytes;       /* of a member of the shard, [size]; NULL: a file of that name */
	size_t size;
	cli_shard *shard;
} cli_input;
void cli_input_free(cli_input *in);

typedef struct cli_sources {
	const cli_request *request;
	size_t argument, piece, count; /* next of the command line, next of the line, inputs handed out */
	bool files_done, batch_done, listing, json, walked;
	const char *path; /* what is being walked */
	cli_lines lines;  /* where listing */
	cli_list pieces, texts;
	cli_walk *walk;
	cli_shard *shard;
} cli_sources;
void cli_sources_open(cli_sources *s, const cli_request *r);
rebus_status cli_sources_next(cli_sources *s, cli_input *out, bool *got, rebus_error *err);
/* How many there are; 0: unknown, because standard input is read. */
rebus_status cli_sources_count(const cli_request *r, size_t *out, rebus_error *err);
void cli_sources_close(cli_sources *s);

/* ------------------------------------------------------------------------------------------------ conversation (reader.c) */
typedef struct cli_reader cli_reader;
typedef enum { CLI_LINE_READ, CLI_LINE_STOPPED, CLI_LINE_END } cli_line; /* stopped: by SIGINT */
rebus_status cli_reader_open(bool terminal, cli_reader **out, rebus_error *err);
/* The next message, without its line end; it lives until the next call. */
rebus_status cli_reader_line(cli_reader *r, const char **line, cli_line *got, rebus_error *err);
void cli_reader_close(cli_reader *r); /* NULL is fine */

#endif
