/*
 * template.h - chat templates: the part of Jinja that published checkpoints use, with the bounds that hostile text asks for.
 *
 * A checkpoint's chat template is a program. It is parsed once and rendered as often as needed:
 *
 *   source ─► template_parse ─► template_program ─► template_render ─► text
 *                                                        ▲
 *              JSON, text, numbers ─► template_value ────┘
 *
 * What it follows: jinja2 3.1 as transformers 5 sets it up, an ImmutableSandboxedEnvironment with trim_blocks and
 * lstrip_blocks, loop controls, {% generation %}, its own tojson, raise_exception and strftime_now. Text that renders there
 * renders to the same bytes here. Differences, all of them refusals: integers are 64 bits wide, templates cannot load other
 * templates (include, import, extends, block), and the filters that exist for web pages are not there.
 *
 * Everything made while parsing lives in the caller's arena, everything made while rendering in the scratch arena; both may
 * be released as a whole. A program is read only afterwards and may be rendered by several threads at once; values are not,
 * as a text remembers its length once it was counted.
 *
 * Errors name the line: FORMAT for text that is no template or an operation that Jinja refuses, UNSUPPORTED for what Jinja
 * has and this does not, MISUSE for a template's own raise_exception, LIMIT for a bound reached.
 */
#ifndef REBUS_TEXT_TEMPLATE_H
#define REBUS_TEXT_TEMPLATE_H

#include "base/base.h"
#include "files/json.h"

/* ------------------------------------------------------------------------------------------------ bounds */
typedef struct template_limits { /* a field that is 0 means its default */
	size_t source;               /* bytes of template text: 1 MiB */
	size_t output;               /* bytes rendered, and bytes of any one string on the way: 16 MiB */
	size_t memory;               /* bytes of nodes while parsing, bytes of values while rendering: 256 MiB */
	int64_t steps;               /* work of one rendering, about one for each operation and each item: 10 million */
	int depth;                   /* nesting of the source, and calls inside calls: 128 */
} template_limits;

/* ------------------------------------------------------------------------------------------------ values */
typedef enum {
	VALUE_MISSING, /* nothing at all: an argument that was not given, or a constructor that found no memory */
	VALUE_UNDEFINED,
	VALUE_NONE,
	VALUE_BOOL,
	VALUE_INT,
	VALUE_REAL,
	VALUE_TEXT,
	VALUE_LIST,
	VALUE_TUPLE,
	VALUE_RANGE,
	VALUE_KEYS,   /* a dict's views: can be counted and walked, not indexed */
	VALUE_VALUES,
	VALUE_ITEMS,
	VALUE_STREAM, /* what a generator gives: walked once */
	VALUE_DICT,
	VALUE_NAMESPACE,
	VALUE_LOOP,
	VALUE_MACRO,
	VALUE_METHOD,
	VALUE_FUNCTION,
	VALUE_CYCLER,
	VALUE_JOINER
} template_kind;

typedef struct template_value {
	template_kind kind;
	union {
		bool flag;
		int64_t integer;
		double real;
		struct template_string *text;
		struct template_list *list; /* also tuple, range, views, stream */
		struct template_map *map;   /* also namespace */
		const struct template_undefined *undefined;
		struct template_loop *loop;
		struct template_macro *macro;
		struct template_method *method;
		struct template_wheel *wheel; /* cycler and joiner */
		int function;
	} as;
} template_value;

template_value template_none(void);
template_value template_flag(bool flag);
template_value template_int(int64_t integer);
template_value template_real(double real);
template_value template_text(arena *a, const char *text, size_t size); /* a copy, bytes that are not UTF-8 become U+FFFD */
template_value template_list(arena *a);                                /* empty; VALUE_MISSING where there is no memory */
template_value template_dict(arena *a);
rebus_status template_list_add(arena *a, template_value list, template_value item, rebus_error *err);
rebus_status template_dict_set(arena *a, template_value dict, const char *key, template_value item, rebus_error *err);
rebus_status template_from_json(arena *a, const json *from, template_value *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ programs */
typedef struct template_program template_program;

/* limits may be NULL; they hold for every rendering of the program too. The source is not needed afterwards. */
rebus_status template_parse(arena *a, const char *source, size_t size, const template_limits *limits, template_program **out,
	rebus_error *err);

/* The bytes of the output that lie inside {% generation %}: what the assistant wrote. Starts empty, grows in scratch. */
typedef struct template_spans {
	struct {
		size_t begin, end;
	} *at;
	size_t count, room;
} template_spans;

typedef struct template_options {
	template_spans *generation; /* may be NULL */
	int64_t now;                /* what strftime_now reads, seconds since 1970; 0: the clock */
} template_options;

/* globals is a dict, or VALUE_MISSING for none. Appends to out, which keeps what it had where rendering fails. */
rebus_status template_render(const template_program *p, arena *scratch, template_value globals,
	const template_options *options, buf *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ chats */
typedef struct template_chat_call {
	template_value messages;          /* list of dicts */
	template_value tools, documents;  /* lists of dicts; VALUE_MISSING: None */
	bool add_generation_prompt;
	template_value tokens;            /* dict: bos_token, eos_token, ... : text; VALUE_MISSING: none */
	template_value extra;             /* dict of further variables, which win over the tokens; VALUE_MISSING: none */
	template_options options;
} template_chat_call;

/* Renders as apply_chat_template does: the same variables, the same names for a message's reasoning. */
rebus_status template_chat(const template_program *p, arena *scratch, const template_chat_call *call, buf *out,
	rebus_error *err);

#endif
