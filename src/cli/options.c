/*
 * options.c - the command line: one table says every option's name, commands, kind, range and help.
 *
 *   --name VALUE   --name=VALUE   -n VALUE   -nVALUE   --flag   --  (what follows is no option)
 *
 * A value is the next argument whatever it begins with, so texts may begin with a dash. An option given twice counts as
 * the last says, except pieces and labels, which add up in order. The same name may stand in the table more than once, for
 * commands where it has another default.
 */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { FLAG, WORD, CHOICE, WHOLE, REAL, SIZE, IMAGE, TEXT, PAIR, LABEL, TEMPLATE, STOP, BIAS } option_kind;

typedef struct {
	const char *name;
	char letter;
	option_kind kind;
	unsigned commands;
	size_t field; /* in cli_request */
	const char *value; /* its name in the help; of a CHOICE the words, apart by | */
	double low, high;
	const char *help;
} option;

#define FIELD(name) offsetof(cli_request, name)
#define PRECISE (CLI_ASK | CLI_CHAT | CLI_EMBED | CLI_CLASSIFY | CLI_TRACE | CLI_BENCH | CLI_INSPECT)
#define PROMPTS (CLI_ASK | CLI_TRACE | CLI_TOKENS | CLI_BENCH | CLI_INSPECT)
#define BATCHES (CLI_ASK | CLI_TRACE | CLI_TOKENS | CLI_BENCH | CLI_CLASSIFY | CLI_EMBED)
#define MOST_TOKENS 1e6

static const option table[] = {
	{"--model", 'm', WORD, CLI_ALL | CLI_CHAT | CLI_CONVERT, FIELD(model), "DIR", 0, 0,
	 "checkpoint folder, FILE.gguf, or ORG/NAME found in the Hugging Face cache (default: $REBUS_MODEL, else the model that comes with "
	 "rebus, named above)"},
	{"--image", 0, IMAGE, CLI_ALL, FIELD(pieces), "FILE", 0, 0, "a picture; repeatable, order counts"},
	{"--text", 0, TEXT, CLI_ALL & ~(unsigned)CLI_CLASSIFY, FIELD(pieces), "STRING", 0, 0,
	 "a text, UTF-8 as it stands; repeatable, order counts"},
	{"--pair", 0, PAIR, CLI_ALL & ~(unsigned)(CLI_CLASSIFY | CLI_ASK), FIELD(pieces), "STRING", 0, 0,
	 "a second segment of the --text before it, for models that read pairs (BERT)"},
	{"--batch", 0, WORD, BATCHES, FIELD(batch), "FILE.jsonl", 0, 0,
	 "inputs from a file (- is standard input), one JSON object a line: {\"image\": FILE or [FILES], \"text\": T}, "
	 "{\"text\": T, \"pair\": T}, {\"content\": [{\"text\": T}, {\"image\": FILE}, ...]} or {\"messages\": [{\"role\": \"user\", \"content\": T or [...]}, "
	 "...]}; names count from the current folder"},
	{"--files-from", 0, WORD, CLI_CLASSIFY | CLI_EMBED, FIELD(files), "LIST", 0, 0,
	 "more pictures, a name a line, from a file (- is standard input)"},
	{"--files", 0, WORD, CLI_CLASSIFY | CLI_EMBED, FIELD(files), "LIST", 0, 0, "the same"},
	{"--label", 0, LABEL, CLI_CLASSIFY, FIELD(labels), "TEXT", 0, 0,
	 "a text to choose from, repeatable, as it stands (no template is added); for models that have no labels of their own"},
	{"--labels", 0, WORD, CLI_CLASSIFY, FIELD(labels_file), "FILE", 0, 0, "more labels, one a line (- is standard input)"},
	{"--template", 0, TEMPLATE, CLI_CLASSIFY, FIELD(templates), "TEXT", 0, 0,
	 "a text with {} in it, where each label goes: \"a photo of a {}.\"; repeatable: a label's vector is then the mean of all of "
	 "them, as CLIP's ensembles are made"},
	{"--templates", 0, WORD, CLI_CLASSIFY, FIELD(templates_file), "FILE", 0, 0, "more templates, one a line (- is standard input)"},
	{"--top", 0, WHOLE, CLI_CLASSIFY, FIELD(top), "K", 0, 1e9, "how many labels to print, best first; 0: all (default: 5)"},
	{"--top", 0, WHOLE, CLI_SEARCH, FIELD(top), "K", 0, 1e9, "how many files to print, best first; 0: all (default: 10)"},
	{"--output", 'o', WORD, CLI_TRACE, FIELD(out), "OUT.safetensors", 0, 0,
	 "the file to write; it appears when it is complete, or stays as it was (required)"},
	{"--output", 'o', WORD, CLI_CONVERT, FIELD(out), "OUT", 0, 0, "the folder to write (required)"},
	{"--output", 'o', WORD, CLI_EMBED, FIELD(out), "OUT", 0, 0,
	 "the file to write, OUT.npy (the names go to OUT.npy.files), OUT.safetensors or OUT.jsonl; without it, --json prints the "
	 "vectors"},
	{"--store", 0, CHOICE, CLI_EMBED, FIELD(store), "f32|f16|int8", 0, 0,
	 "how OUT.npy and OUT.safetensors hold the numbers: as they are, rounded to half precision, or as bytes with a scale a row "
	 "(in OUT.npy.scales, or the tensor \"scales\"); search reads all three (default: f32)"},
	{"--restart", 0, FLAG, CLI_EMBED, FIELD(restart), NULL, 0, 0, "do not resume from OUT.part, begin anew"},
	{"--batch-size", 0, WHOLE, CLI_CLASSIFY | CLI_ASK, FIELD(batch_size), "N", 1, 65536,
	 "how many inputs run packed in one pass (default: 32)"},
	{"--batch-size", 0, WHOLE, CLI_EMBED, FIELD(batch_size), "N", 1, 65536,
	 "how many inputs are taken at a time, and computed again where a call resumes; runs are parts of them (default: 256)"},
	{"--batching", 0, CHOICE, CLI_EMBED | CLI_CLASSIFY | CLI_BENCH, FIELD(batching), "pack|bucket|pad", 0, 0,
	 "how inputs share a run, with the same results: packed without padding, those of one shape together, or padded to the "
	 "longest (default: pack)"},
	{"--batch-tokens", 0, WHOLE, CLI_EMBED | CLI_CLASSIFY, FIELD(batch_tokens), "N", 0, 1e9,
	 "tokens of one run at most, unless one input has more; 0: no bound (default: 8192)"},
	{"--batch-tokens", 0, WHOLE, CLI_BENCH, FIELD(batch_tokens), "N", 0, 1e9,
	 "tokens of one run at most, unless one input has more; 0: no bound (default: 0)"},
	{"--attention", 0, WORD, CLI_EMBED | CLI_CLASSIFY, FIELD(attention), "OUT.png", 0, 0,
	 "also draw where the model looks, over its one picture: rolled out over all layers, or of --layer (and --head)"},
	{"--layer", 0, WHOLE, CLI_EMBED | CLI_CLASSIFY, FIELD(layer), "L", 0, 999, "the layer of --attention, from 0"},
	{"--head", 0, WHOLE, CLI_EMBED | CLI_CLASSIFY, FIELD(head), "H", 0, 9999, "the head of --layer, from 0 (default: the mean of all)"},
	{"--rollout", 0, FLAG, CLI_EMBED | CLI_CLASSIFY, FIELD(rollout), NULL, 0, 0, "attention rolled out over all layers (the default without --layer)"},
	{"--raw", 0, FLAG, PROMPTS, FIELD(raw), NULL, 0, 0,
	 "no chat template: texts are joined with nothing between, pictures stand where the texts hold the model's placeholder, or "
	 "in order"},
	{"--no-special", 0, FLAG, CLI_TOKENS | CLI_ASK | CLI_TRACE, FIELD(bare), NULL, 0, 0, "no special tokens around the text"},
	{"--inputs", 0, WORD, CLI_TRACE, FIELD(inputs), "FILE.safetensors", 0, 0,
	 "input tensors by name (pixel_values, input_ids, ...); they replace those of preprocessing, the others are computed as "
	 "usual"},
	{"--hidden-states", 0, FLAG, CLI_TRACE, FIELD(hidden_states), NULL, 0, 0, "also write hidden_states.0 ... hidden_states.N"},
	{"--max-tokens", 0, WHOLE, CLI_ASK | CLI_CHAT, FIELD(max_tokens), "N", 0, MOST_TOKENS,
	 "length of the answer at most, in tokens (default: 256)"},
	{"--max-tokens", 0, WHOLE, CLI_TRACE, FIELD(max_tokens), "N", 0, MOST_TOKENS,
	 "also generate N tokens, greedily: generated_ids, generated_logits (default: 0)"},
	{"--max-tokens", 0, WHOLE, CLI_BENCH, FIELD(max_tokens), "N", 1, MOST_TOKENS,
	 "decode steps to time, for models that generate (default: 32)"},
	{"--max-tokens", 0, WHOLE, CLI_INSPECT, FIELD(max_tokens), "N", 0, MOST_TOKENS,
	 "length of the answer to plan memory for (default: 256)"},
	{"--ignore-eos", 0, FLAG, CLI_ASK | CLI_TRACE, FIELD(ignore_eos), NULL, 0, 0, "do not stop at the end token"},
	{"--temperature", 0, REAL, CLI_ASK | CLI_CHAT, FIELD(temperature), "T", 0, 100,
	 "0: the most likely token each time (greedy); above: draw, the flatter the higher (default: 0)"},
	{"--beams", 0, WHOLE, CLI_ASK, FIELD(beams), "N", 1, 64, "grow N answers side by side and print the likeliest (default: 1, the likeliest token each time)"},
	{"--length-penalty", 0, REAL, CLI_ASK, FIELD(length_penalty), "X", -100, 100,
	 "with --beams: the logarithm of an answer's probability counts divided by length ^ X (default: 1)"},
	{"--early-stopping", 0, FLAG, CLI_ASK, FIELD(early_stopping), NULL, 0, 0, "with --beams: done once N answers have ended"},
	{"--top-k", 0, WHOLE, CLI_ASK | CLI_CHAT, FIELD(top_k), "K", 0, 1e9, "draw from the K most likely tokens only; 0: all (default: 0)"},
	{"--top-p", 0, REAL, CLI_ASK | CLI_CHAT, FIELD(top_p), "P", 0, 1,
	 "draw from the most likely tokens that make up P together (default: 1, all)"},
	{"--min-p", 0, REAL, CLI_ASK | CLI_CHAT, FIELD(min_p), "P", 0, 1, "draw from tokens at least P times as likely as the most likely one (default: 0, all)"},
	{"--repetition-penalty", 0, REAL, CLI_ASK | CLI_CHAT, FIELD(repetition), "R", 0, 100,
	 "logits of tokens that the prompt or the answer has: divided by R if positive, else multiplied (default: 1, none)"},
	{"--presence-penalty", 0, REAL, CLI_ASK | CLI_CHAT, FIELD(presence), "X", -100, 100, "taken off the logits of tokens that the answer has (default: 0)"},
	{"--frequency-penalty", 0, REAL, CLI_ASK | CLI_CHAT, FIELD(frequency), "X", -100, 100, "taken off them once for every time they are there (default: 0)"},
	{"--logit-bias", 0, BIAS, CLI_ASK | CLI_CHAT, FIELD(biases), "ID:X", 0, 0, "X is added to the logit of token ID, -inf forbids it; repeatable"},
	{"--system", 0, WORD, CLI_CHAT, FIELD(system), "TEXT", 0, 0, "what the model is told before everything else"},
	{"--stop", 0, STOP, CLI_ASK | CLI_CHAT, FIELD(stops), "STRING", 0, 0, "end the answer before this text, which is not printed; repeatable"},
	{"--grammar", 0, WORD, CLI_ASK | CLI_CHAT, FIELD(grammar), "TEXT", 0, 0,
	 "the answer is a text of this grammar, in llama.cpp's form: root ::= \"yes\" | \"no\""},
	{"--grammar-file", 0, WORD, CLI_ASK | CLI_CHAT, FIELD(grammar_file), "FILE", 0, 0, "the same from a file"},
	{"--json-schema", 0, WORD, CLI_ASK | CLI_CHAT, FIELD(schema), "TEXT", 0, 0,
	 "the answer is JSON that is valid by this schema; {} is any JSON"},
	{"--json-schema-file", 0, WORD, CLI_ASK | CLI_CHAT, FIELD(schema_file), "FILE", 0, 0, "the same from a file"},
	{"--regex", 0, WORD, CLI_ASK | CLI_CHAT, FIELD(regex), "TEXT", 0, 0, "the answer as a whole is what this regular expression fits"},
	{"--logprobs", 0, FLAG, CLI_ASK, FIELD(logprobs), NULL, 0, 0, "with --json: the logarithm of each new token's probability, \"logprobs\""},
	{"--stats", 0, FLAG, CLI_ASK | CLI_CHAT, FIELD(stats), NULL, 0, 0, "tokens, seconds and tokens a second on standard error when all is done"},
	{"--seed", 0, WHOLE, CLI_ASK | CLI_CHAT, FIELD(seed), "N", 0, 9007199254740992.0,
	 "what drawing depends on; the same seed gives the same text (default: 0)"},
	{"--seed", 0, WHOLE, CLI_TRACE | CLI_EMBED | CLI_BENCH | CLI_TOKENS | CLI_INSPECT, FIELD(mask_seed), "N", 0, 9007199254740992.0,
	 "which patches are dropped depends on it, for models that drop some at random (ViTMAE; default: 0)"},
	{"--mask-ratio", 0, REAL, CLI_TRACE | CLI_EMBED | CLI_BENCH | CLI_TOKENS | CLI_INSPECT, FIELD(mask_ratio), "R", 0, 1,
	 "share of patches that are dropped instead of the checkpoint's, below 1, for the same models"},
	{"--size", 0, SIZE, CLI_ALL | CLI_CHAT, FIELD(height), "HxW", 1, 32768,
	 "resize pictures to H rows and W columns instead of the checkpoint's size; positions are interpolated"},
	{"--max-patches", 0, WHOLE, CLI_ALL | CLI_CHAT, FIELD(max_patches), "N", 1, 65536,
	 "budget of a picture's patches instead of the processor's, for models that have one (SigLIP 2 NaFlex)"},
	{"--patch-size", 0, WHOLE, CLI_ALL, FIELD(patch), "P", 1, 4096,
	 "patches of P x P instead of the checkpoint's (8 to 48); the patches' weights are resampled by the pseudo-inverse of the "
	 "resize and positions follow the grid; FlexiViT and other ViTs of timm's"},
	{"--resample-positions", 0, CHOICE, CLI_ALL, FIELD(positions), "bicubic|bilinear|antialias|none", 0, 0,
	 "how the position table is resampled for --size (default: as the reference does for this model)"},
	{"--image-backend", 0, CHOICE, CLI_ALL | CLI_CHAT, FIELD(backend), "torchvision|pil", 0, 0,
	 "which of the reference's image processors is followed (default: torchvision)"},
	{"--weights", 0, FLAG, CLI_INSPECT, FIELD(weights), NULL, 0, 0, "list every weight: name, type, shape"},
	{"--repeat", 0, WHOLE, CLI_BENCH, FIELD(repeat), "N", 1, 1000,
	 "timed runs after one to warm up; the median is printed (default: 5)"},
	{"--copies", 0, WHOLE, CLI_BENCH, FIELD(copies), "N", 1, 4096, "run the input N times packed in one pass (default: 1)"},
	{"--profile", 0, FLAG, CLI_BENCH, FIELD(profile), NULL, 0, 0, "also print the steps that cost most"},
	{"--json", 0, FLAG, CLI_ALL | CLI_TRAIN | CLI_CONVERT, FIELD(json), NULL, 0, 0,
	 "print the result as JSON; with --batch or several files one value a line"},
	{"--threads", 't', WHOLE, CLI_ALL | CLI_CHAT | CLI_TRAIN, FIELD(threads), "N", 1, 1024, "threads (default: the processors this process may use)"},
	{"--cpu", 0, CHOICE, CLI_ALL | CLI_CHAT | CLI_TRAIN, FIELD(cpu), "portable|avx2|avx512|avx512bf16|neon", 0, 0,
	 "highest instruction set to use (default: $REBUS_CPU, else the best there is)"},
	{"--precision", 0, CHOICE, PRECISE, FIELD(precision), "f32|bf16|int8", 0, 0,
	 "what factors of matrix products are rounded to: f32 exact; bf16 and int8 faster, less exact (default: f32)"},
	{"--adapter", 0, WORD, PRECISE | CLI_CONVERT, FIELD(adapter), "DIR", 0, 0,
	 "a LoRA adapter in PEFT's form (adapter_config.json, adapter_model.safetensors), computed beside the model's weights"},
	{"--load", 0, CHOICE, CLI_ALL | CLI_CHAT, FIELD(load), "map|copy", 0, 0,
	 "map the weights, or read them into memory, where later changes of the file do no harm (default: map)"},
	{"--quiet", 'q', FLAG, CLI_ALL | CLI_CHAT | CLI_TRAIN | CLI_CONVERT, FIELD(quiet), NULL, 0, 0, "no warnings and no progress on standard error"},
	{"--help", 'h', FLAG, CLI_ALL | CLI_CHAT | CLI_TRAIN | CLI_CONVERT, FIELD(help), NULL, 0, 0, "this text"},
};

/* Options of the design whose models or commands are not here yet. */
static const char *const later[][2] = {
	{"--video", "no model of this version takes videos, expected --image"},
	{"--fps", "no model of this version takes videos, expected --image"},
};

size_t cli_distance(const char *a, const char *b)
{
	enum { MOST = 40 };
	size_t row[MOST + 1], n = strlen(a), m = strlen(b);
	if (n > MOST || m > MOST)
		return MOST;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t corner = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t change = corner + (a[i - 1] != b[j - 1]), other = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
			corner = row[j];
			row[j] = change < other ? change : other;
		}
	}
	return row[m];
}

static rebus_status unknown_option(const cli_command *c, const char *name, rebus_error *err)
{
	const char *nearest = "--help";
	size_t best = SIZE_MAX;
	for (size_t i = 0; i < CLI_COUNT(later); i++)
		if (!strcmp(name, later[i][0]))
			return cli_error(err, REBUS_MISUSE, "%s: %s (rebus %s --help)", name, later[i][1], c->name);
	for (size_t i = 0; i < CLI_COUNT(table); i++) {
		size_t d = cli_distance(name, table[i].name);
		if (d == 0)
			return cli_error(err, REBUS_MISUSE, "%s: not an option of %s, expected one of those that `rebus %s --help` lists",
			                 name, c->name, c->name);
		if (table[i].commands & c->bit && d < best) {
			best = d;
			nearest = table[i].name;
		}
	}
	return cli_error(err, REBUS_MISUSE, "%.60s: unknown option of %s, the nearest is %s (rebus %s --help)", name, c->name,
	                 nearest, c->name);
}

/* A number and nothing else. */
static bool number(const char *text, bool whole, double low, double high, double *out)
{
	char *end;
	size_t n = strspn(text, whole ? "0123456789" : "0123456789.eE+-");
	if (!n || text[n] || (!whole && (text[0] == 'e' || text[0] == 'E')))
		return false;
	errno = 0;
	*out = strtod(text, &end);
	return !*end && end != text && isfinite(*out) && *out >= low && *out <= high;
}

static rebus_status set_number(const option *o, const char *value, cli_request *out, rebus_error *err)
{
	char *field = (char *)out + o->field;
	double v;
	bool open = o->kind == REAL && (o->field == FIELD(top_p) || o->field == FIELD(repetition)); /* a share of nothing draws nothing */
	if (!number(value, o->kind == WHOLE, o->low, o->high, &v) || (open && v <= 0))
		return cli_error(err, REBUS_MISUSE, "%s %.40s: expected %s %s %.0f %s %.0f", o->name, value,
		                 o->kind == WHOLE ? "a whole number" : "a number",
		                 open ? "above" : "from", o->low, open ? "and at most" : "to", o->high);
	if (o->kind == WHOLE)
		memcpy(field, &(int64_t){(int64_t)v}, sizeof(int64_t));
	else
		memcpy(field, &v, sizeof v);
	return REBUS_OK;
}

/* ID:X */
static rebus_status add_bias(cli_request *out, const char *value, rebus_error *err)
{
	char id[16] = "";
	double which = 0, x = 0;
	size_t n = strspn(value, "0123456789");
	memcpy(id, value, n < sizeof id ? n : 0);
	bool forbids = value[n] == ':' && !strcmp(value + n + 1, "-inf");
	if (value[n] != ':' || !number(id, true, 0, INT32_MAX, &which) || (!forbids && !number(value + n + 1, false, -1e6, 1e6, &x)))
		return cli_error(err, REBUS_MISUSE, "--logit-bias %.40s: expected ID:X, a token and a number or -inf, like 42:-3.5", value);
	rebus_token_bias *b = cli_list_add(&out->biases, sizeof *b);
	if (!b)
		return cli_no_memory(err);
	*b = (rebus_token_bias){(int32_t)which, forbids ? -INFINITY : (float)x};
	return REBUS_OK;
}

static rebus_status set_size(const option *o, const char *value, cli_request *out, rebus_error *err)
{
	char height[8] = "", width[8] = "";
	double h, w;
	size_t n = strspn(value, "0123456789");
	if (n && n < sizeof height && value[n] == 'x' && strlen(value + n + 1) < sizeof width) {
		memcpy(height, value, n);
		memcpy(width, value + n + 1, strlen(value + n + 1));
	}
	if (!number(height, true, o->low, o->high, &h) || !number(width, true, o->low, o->high, &w))
		return cli_error(err, REBUS_MISUSE, "--size %.40s: expected HxW, rows and columns from %.0f to %.0f, like 224x224",
		                 value, o->low, o->high);
	out->height = (int64_t)h;
	out->width = (int64_t)w;
	return REBUS_OK;
}

static rebus_status set_choice(const option *o, const char *value, cli_request *out, rebus_error *err)
{
	size_t n = strlen(value);
	for (const char *p = o->value; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (n && !strncmp(p, value, n) && (p[n] == '|' || !p[n])) {
			memcpy((char *)out + o->field, &value, sizeof value);
			return REBUS_OK;
		}
	return cli_error(err, REBUS_MISUSE, "%s %.40s: expected %s", o->name, value, o->value);
}

static rebus_status add_piece(cli_request *out, bool picture, const char *text, rebus_error *err)
{
	cli_piece *p = cli_list_add(&out->pieces, sizeof *p);
	if (!p)
		return cli_no_memory(err);
	*p = (cli_piece){.picture = picture, .text = text};
	return REBUS_OK;
}

static rebus_status add_pair(cli_request *out, const char *text, rebus_error *err)
{
	cli_piece *last = out->pieces.count ? (cli_piece *)out->pieces.items + out->pieces.count - 1 : NULL;
	if (!last || last->picture || last->pair)
		return cli_error(err, REBUS_MISUSE, "--pair: expected right after the --text that it belongs to");
	last->pair = text;
	return REBUS_OK;
}

static rebus_status add_text(cli_list *to, const char *text, rebus_error *err)
{
	const char **p = cli_list_add(to, sizeof *p);
	if (!p)
		return cli_no_memory(err);
	*p = text;
	return REBUS_OK;
}

/* Any --NAME VALUE of rebus train is the recipe's, which knows what it takes. */
static rebus_status add_setting(cli_request *out, const char *name, const char *value, rebus_error *err)
{
	if (!value)
		return cli_error(err, REBUS_MISUSE, "--%s: its value is missing", name);
	cli_setting *s = cli_list_add(&out->settings, sizeof *s);
	if (!s)
		return cli_no_memory(err);
	*s = (cli_setting){name, value};
	return REBUS_OK;
}

/* The recipe's own spelling of an option; NULL: it has none of that name. */
static const char *recipe_name(const char *name)
{
	rebus_recipe_option o;
	for (size_t i = 0; rebus_recipe_option_at(i, &o); i++)
		if (!strcmp(name, o.name))
			return o.name;
	return NULL;
}

static rebus_status set(const option *o, const char *value, cli_request *out, rebus_error *err)
{
	switch (o->kind) {
	case FLAG:
		*(bool *)((char *)out + o->field) = true;
		return REBUS_OK;
	case WORD:
		if (!*value)
			return cli_error(err, REBUS_MISUSE, "%s: an empty value, expected %s", o->name, o->value);
		memcpy((char *)out + o->field, &value, sizeof value);
		return REBUS_OK;
	case CHOICE:
		return set_choice(o, value, out, err);
	case WHOLE:
	case REAL:
		return set_number(o, value, out, err);
	case SIZE:
		return set_size(o, value, out, err);
	case IMAGE:
	case TEXT:
		return add_piece(out, o->kind == IMAGE, value, err);
	case PAIR:
		return add_pair(out, value, err);
	case LABEL:
		return add_text(&out->labels, value, err);
	case STOP:
		if (!*value)
			return cli_error(err, REBUS_MISUSE, "--stop: an empty text");
		return add_text(&out->stops, value, err);
	case BIAS:
		return add_bias(out, value, err);
	case TEMPLATE:
		return add_text(&out->templates, value, err);
	}
	return REBUS_OK;
}

static rebus_status plain(const cli_command *c, const char *text, cli_request *out, rebus_error *err)
{
	if (c->plain == PLAIN_PICTURES)
		return add_piece(out, true, text, err);
	if (c->plain == PLAIN_NONE)
		return cli_error(err, REBUS_MISUSE, "%.80s: not an option, expected --image FILE or --text STRING (rebus %s --help)",
		                 text, c->name);
	if (out->plain)
		return cli_error(err, REBUS_MISUSE, "%.80s: a second plain argument, expected one (%s); quote a text with blanks", text,
		                 c->plain == PLAIN_TEXT ? "the text" : c->plain == PLAIN_INDEX ? "the index" : c->plain == PLAIN_RECIPE ? "the recipe" : "the model");
	out->plain = text;
	return REBUS_OK;
}

/* The option that an argument names; *value is what is attached to it, or NULL. */
static const option *find(const cli_command *c, const char *arg, char *name, size_t room, const char **value)
{
	bool is_long = arg[1] == '-';
	size_t n = is_long ? strcspn(arg, "=") : 2;
	snprintf(name, room, "%.*s", (int)(n < room ? n : room - 1), arg);
	*value = is_long ? (arg[n] ? arg + n + 1 : NULL) : arg[2] ? arg + 2 : NULL;
	for (size_t i = 0; i < CLI_COUNT(table); i++)
		if (table[i].commands & c->bit && (is_long ? !strcmp(table[i].name, name) : table[i].letter == arg[1]))
			return &table[i];
	return NULL;
}

rebus_status cli_parse(const cli_command *command, int argc, char **argv, cli_request *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool options = true;
	*out = (cli_request){.threads = -1, .height = -1, .width = -1, .patch = -1, .max_patches = -1, .max_tokens = -1, .top = -1,
	                     .top_k = -1, .seed = -1, .mask_seed = -1, .repeat = -1, .copies = -1, .batch_size = -1, .batch_tokens = -1, .layer = -1, .head = -1,
	                     .temperature = -1, .mask_ratio = -1, .top_p = -1, .min_p = -1, .repetition = -1, .length_penalty = 1};
	for (int i = 0; i < argc && !status; i++) {
		char name[64];
		const char *value;
		if (!options || argv[i][0] != '-' || !argv[i][1]) {
			status = plain(command, argv[i], out, err);
			continue;
		}
		if (!strcmp(argv[i], "--")) {
			options = false;
			continue;
		}
		const option *o = find(command, argv[i], name, sizeof name, &value);
		const char *setting = !o && command->bit == CLI_TRAIN && name[1] == '-' ? recipe_name(name + 2) : NULL;
		if (setting)
			status = add_setting(out, setting, value ? value : i + 1 < argc ? argv[++i] : NULL, err);
		else if (!o)
			status = unknown_option(command, name, err);
		else if (o->kind == FLAG && value)
			status = cli_error(err, REBUS_MISUSE, "%s: a flag, expected no value", argv[i]);
		else if (o->kind != FLAG && !value && i + 1 == argc)
			status = cli_error(err, REBUS_MISUSE, "%s: its value is missing, expected %s", name, o->value);
		else
			status = set(o, o->kind == FLAG ? "" : value ? value : argv[++i], out, err);
		if (out->help)
			return REBUS_OK;
	}
	return status;
}

void cli_request_free(cli_request *r)
{
	cli_list_free(&r->pieces);
	cli_list_free(&r->labels);
	cli_list_free(&r->templates);
	cli_list_free(&r->stops);
	cli_list_free(&r->biases);
	cli_list_free(&r->settings);
}

enum { OPTION_COLUMN = 30 };

/* Words of text from `column` on, in lines of at most 100 columns. */
static void print_wrapped(const char *text, size_t column, int (*print)(const char *format, ...))
{
	size_t at = column;
	while (*text) {
		size_t n = strcspn(text, " ");
		if (at > column && at + 1 + n > 100) {
			print("\n%*s", (int)column, "");
			at = column;
		}
		print(at > column ? " %.*s" : "%.*s", (int)n, text);
		at += n + (at > column);
		text += n + (text[n] == ' ');
	}
	print("\n");
}

/* The recipe's table, in the same form. */
static void print_recipe(int (*print)(const char *format, ...))
{
	rebus_recipe_option o;
	for (size_t i = 0; rebus_recipe_option_at(i, &o); i++) {
		char head[80], help[400];
		snprintf(head, sizeof head, "      --%s %s", o.name, o.words ? o.words : o.number ? "N" : "TEXT");
		if (o.number)
			snprintf(help, sizeof help, "%s (default: %g)", o.help, o.fallback);
		else
			snprintf(help, sizeof help, "%s", o.help);
		print("%-*s", OPTION_COLUMN, head);
		if (strlen(head) >= OPTION_COLUMN - 1)
			print("\n%*s", OPTION_COLUMN, "");
		print_wrapped(help, OPTION_COLUMN, print);
	}
}

void cli_print_options(unsigned bit, int (*print)(const char *format, ...))
{
	enum { COLUMN = OPTION_COLUMN };
	for (size_t i = 0; i < CLI_COUNT(table); i++) {
		const option *o = &table[i];
		char head[80];
		if (!(o->commands & bit))
			continue;
		char letter[8] = "    ";
		if (o->letter)
			snprintf(letter, sizeof letter, "-%c, ", o->letter);
		int n = snprintf(head, sizeof head, "  %s%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
		if (n >= COLUMN - 1)
			print("%s\n%*s", head, COLUMN, "");
		else
			print("%-*s", COLUMN, head);
		print_wrapped(o->help, COLUMN, print);
	}
	if (bit == CLI_TRAIN)
		print_recipe(print);
}
