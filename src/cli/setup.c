/*
 * setup.c - from a request to a model, a session and prompts; signals.
 *
 *   -m DIR or ORG/NAME        as given
 *   else $REBUS_MODEL         as given
 *   else models/NAME          in share/rebus beside the program's bin folder, or beside its build folder, build/ or build/X/
 *
 * Signals. SIGINT and SIGTERM only set a flag, which the session asks between steps; the command then fails with CANCELLED
 * and releases what it holds, temporary files included. A second one ends the program at once. SIGPIPE and SIGXFSZ are
 * ignored, so that a closed pipe and a file that may not grow are failed writes with a message. SIGBUS means that a mapped
 * file was cut off by somebody else while we read it: nothing can be saved then, but the reason is told.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH_TOKENS = 8192 }; /* of a run of embed and classify */

static volatile sig_atomic_t stopped;

static void on_stop(int signal_number)
{
	stopped = signal_number;
}

static void on_bus(int signal_number)
{
	static const char text[] = "rebus: a mapped file was cut off while it was read, expected it to stay as it was "
	                           "(--load copy reads weights into memory)\n";
	(void)signal_number;
	if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
		_exit(1); /* nobody to tell */
	_exit(1);
}

int cli_stopped(void)
{
	return stopped;
}

rebus_status cli_check_stop(rebus_error *err)
{
	return stopped ? cli_error(err, REBUS_CANCELLED, "stopped by %s", stopped == SIGINT ? "SIGINT" : "SIGTERM") : REBUS_OK;
}

static bool ask_stop(void *user)
{
	(void)user;
	return stopped != 0;
}

rebus_status cli_signals(rebus_error *err)
{
	struct sigaction stop = {.sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND}, before;
	struct sigaction none = {.sa_handler = SIG_IGN}, bus = {.sa_handler = on_bus};
	/* Whoever started us in the background with SIGINT ignored means it. */
	if (sigaction(SIGINT, NULL, &before))
		goto failed;
	if (before.sa_handler != SIG_IGN && sigaction(SIGINT, &stop, NULL))
		goto failed;
	if (sigaction(SIGTERM, &stop, NULL) || sigaction(SIGBUS, &bus, NULL))
		goto failed;
	if (sigaction(SIGPIPE, &none, NULL) || sigaction(SIGXFSZ, &none, NULL))
		goto failed;
	return REBUS_OK;
failed:
	return cli_error(err, REBUS_IO, "signals cannot be set: %s", strerror(errno));
}

rebus_status cli_signals_kept(rebus_error *err)
{
	struct sigaction stop = {.sa_handler = on_stop}, before;
	if (sigaction(SIGINT, NULL, &before) || (before.sa_handler != SIG_IGN && sigaction(SIGINT, &stop, NULL)))
		return cli_error(err, REBUS_IO, "signals cannot be set: %s", strerror(errno));
	return REBUS_OK;
}

bool cli_stop_taken(void)
{
	bool taken = stopped == SIGINT;
	if (taken)
		stopped = 0;
	return taken;
}

/* ------------------------------------------------------------------------------------------------ model */
/* The folder of the running program. */
static bool program_folder(char *out, size_t room)
{
	ssize_t n = readlink("/proc/self/exe", out, room - 1);
	if (n <= 0)
		return false;
	out[n] = 0;
	char *slash = strrchr(out, '/');
	if (!slash)
		return false;
	*slash = 0;
	return true;
}

static rebus_status default_model(const cli_command *c, char *out, size_t room, rebus_error *err)
{
	static const char *const places[] = {"../share/rebus/models", "../models", "../../models"};
	char folder[2048], path[4096];
	bool known = program_folder(folder, sizeof folder);
	for (size_t i = 0; known && i < CLI_COUNT(places); i++) {
		struct stat st;
		int n = snprintf(path, sizeof path, "%s/%s/%s", folder, places[i], c->model);
		if (n > 0 && (size_t)n < room && !stat(path, &st) && S_ISDIR(st.st_mode)) {
			memcpy(out, path, (size_t)n + 1);
			return REBUS_OK;
		}
	}
	return cli_error(err, REBUS_IO, "no model given, and models/%s is not beside the program, expected -m DIR or $REBUS_MODEL",
	                 c->model);
}

rebus_status cli_engine_open(cli_engine *e, const cli_command *command, const cli_request *r, bool with_session, rebus_error *err)
{
	rebus_status status;
	rebus_model_options model = rebus_model_defaults();
	rebus_session_options session = rebus_session_defaults();
	const char *given = getenv("REBUS_MODEL");
	e->model = NULL;
	e->session = NULL;
	e->folder = command->plain == PLAIN_MODEL && r->plain ? r->plain : r->model ? r->model : given && *given ? given : e->found;
	if (e->folder == e->found)
		CLI_TRY(default_model(command, e->found, sizeof e->found, err));
	model.cpu = r->cpu;
	model.precision = r->precision;
	model.adapter = r->adapter;
	model.patch_size = r->patch > 0 ? (int32_t)r->patch : 0;
	model.copy = r->load && !strcmp(r->load, "copy");
	CLI_TRY(rebus_model_open(e->folder, &model, &e->model, err));
	if (with_session) {
		session.threads = r->threads > 0 ? (int)r->threads : 0;
		session.stop = ask_stop;
		session.batching = !r->batching || !strcmp(r->batching, "pack") ? REBUS_PACK : !strcmp(r->batching, "bucket") ? REBUS_BUCKET : REBUS_PAD;
		session.batch_tokens = (int64_t)cli_batch_tokens(r, command->bit);
		CLI_TRY(rebus_session_open(e->model, &session, &e->session, err));
	}
done:
	if (status)
		cli_engine_close(e);
	return status;
}

size_t cli_batch_tokens(const cli_request *r, unsigned command)
{
	return r->batch_tokens >= 0 ? (size_t)r->batch_tokens : command & (CLI_EMBED | CLI_CLASSIFY) ? BATCH_TOKENS : 0;
}

void cli_engine_close(cli_engine *e)
{
	rebus_session_close(e->session);
	rebus_model_close(e->model);
	e->session = NULL;
	e->model = NULL;
}

void cli_engine_warn(const cli_engine *e, const cli_request *r)
{
	const char *warning;
	for (size_t i = 0; !r->quiet && (warning = rebus_model_warning(e->model, i)); i++)
		cli_say(warning);
}

/* ------------------------------------------------------------------------------------------------ prompts */
rebus_prompt_options cli_prompt_options(const cli_request *r)
{
	rebus_prompt_options o = rebus_prompt_defaults();
	o.raw = r->raw;
	o.bare = r->bare;
	o.height = r->height > 0 ? (int32_t)r->height : 0;
	o.width = r->width > 0 ? (int32_t)r->width : 0;
	o.max_patches = r->max_patches > 0 ? (int32_t)r->max_patches : 0;
	o.pil = r->backend && !strcmp(r->backend, "pil");
	o.positions = r->positions;
	o.mask_given = r->mask_ratio >= 0;
	o.mask_ratio = o.mask_given ? r->mask_ratio : 0;
	o.seed_given = r->mask_seed >= 0;
	o.mask_seed = o.seed_given ? (uint64_t)r->mask_seed : 0;
	return o;
}

rebus_status cli_prompt_new(const cli_engine *e, const cli_request *r, rebus_prompt **out, rebus_error *err)
{
	rebus_prompt_options o = cli_prompt_options(r);
	return rebus_prompt_new(e->model, &o, out, err);
}

rebus_status cli_ahead_open(const cli_engine *e, const cli_request *r, rebus_ahead **out, rebus_error *err)
{
	rebus_prompt_options prompt = cli_prompt_options(r);
	rebus_ahead_options o = rebus_ahead_defaults();
	o.threads = r->threads > 0 ? (int)r->threads : 0;
	return rebus_ahead_open(e->model, &prompt, &o, out, err);
}

rebus_status cli_prompt_add(rebus_prompt *p, const cli_piece *piece, rebus_error *err)
{
	rebus_status status = piece->picture ? rebus_prompt_image_file(p, piece->text, err) : rebus_prompt_text(p, piece->text, err);
	return status || !piece->pair ? status : rebus_prompt_pair(p, piece->pair, err);
}

rebus_status cli_prompt_from(const cli_engine *e, const cli_request *r, rebus_prompt **out, rebus_error *err)
{
	rebus_prompt *p = NULL;
	rebus_status status;
	CLI_TRY(cli_prompt_new(e, r, &p, err));
	for (size_t i = 0; i < r->pieces.count; i++) {
		CLI_TRY(cli_check_stop(err));
		CLI_TRY(cli_prompt_add(p, (const cli_piece *)r->pieces.items + i, err));
	}
	if (r->plain)
		CLI_TRY(rebus_prompt_text(p, r->plain, err));
	*out = p;
	p = NULL;
done:
	rebus_prompt_free(p);
	return status;
}

rebus_status cli_attention(const cli_engine *e, const cli_request *r, rebus_error *err)
{
	rebus_status status;
	rebus_prompt *p = NULL;
	rebus_attention_options o = rebus_attention_defaults();
	o.layer = (int32_t)r->layer;
	o.head = (int32_t)r->head;
	if (!r->attention) {
		return r->layer < 0 && r->head < 0 && !r->rollout
		           ? REBUS_OK
		           : cli_error(err, REBUS_MISUSE, "--layer, --head, --rollout: nothing to draw, expected --attention OUT.png");
	}
	const cli_piece *piece = r->pieces.items;
	if (r->pieces.count != 1 || !piece->picture || r->files || r->batch)
		return cli_error(err, REBUS_MISUSE, "--attention: expected one picture on the command line and nothing else");
	if (r->rollout && (r->layer >= 0 || r->head >= 0))
		return cli_error(err, REBUS_MISUSE, "--rollout: goes over all layers and heads, expected no --layer and no --head");
	CLI_TRY(cli_check_out(r->attention, err));
	CLI_TRY(cli_prompt_new(e, r, &p, err));
	CLI_TRY(cli_prompt_add(p, piece, err));
	CLI_TRY(rebus_attention_png(e->session, p, &o, r->attention, err));
done:
	rebus_prompt_free(p);
	return status;
}

rebus_status cli_check_input(const char *command, const cli_request *r, rebus_error *err)
{
	bool single = r->pieces.count || (r->plain && !strcmp(command, "ask"));
	if (r->batch && (single || r->inputs))
		return cli_error(err, REBUS_MISUSE, "--batch: given beside other inputs, expected either");
	if (!r->batch && !single && !r->inputs)
		return cli_error(err, REBUS_MISUSE, "%s: nothing to work on, expected --image, --text or --batch (rebus %s --help)",
		                 command, command);
	return REBUS_OK;
}

rebus_status cli_check_out(const char *path, rebus_error *err)
{
	char folder[4096];
	struct stat st;
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	if (strlen(path) >= sizeof folder)
		return cli_error(err, REBUS_IO, "%.80s...: the path is too long", path);
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return cli_error(err, REBUS_IO, "%.160s: is a folder, expected a file to write", path);
	memcpy(folder, slash ? (n ? path : "/") : ".", slash && n ? n : 1);
	folder[slash && n ? n : 1] = 0;
	if (stat(folder, &st))
		return cli_error(err, REBUS_IO, "%.160s: cannot be written: no folder %.60s", path, folder);
	if (!S_ISDIR(st.st_mode) || access(folder, W_OK | X_OK))
		return cli_error(err, REBUS_IO, "%.160s: cannot be written: %s", path,
		                 S_ISDIR(st.st_mode) ? strerror(errno) : "its folder is not one");
	return REBUS_OK;
}
