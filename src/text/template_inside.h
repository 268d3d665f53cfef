/*
 * template_inside.h - what the files of the template interpreter share: nodes, values, the state of a rendering.
 *
 *   template_lex.c       source ─► tokens                       template_value.c    making, dicts (template_compare.c: == < in)
 *   template_parse.c     statements ─► nodes                    template_show.c     str, repr, tojson
 *   template_expr.c, template_primary.c  expressions            template_number.c   reading and writing numbers, arithmetic
 *   template_scope.c     names and tags that cannot be meant    template_string.c   code points, search (template_case.c: case)
 *   template_exec.c      runs statements                        template_format.c   "%d" % x and "{}".format(x)
 *   template_eval.c      runs expressions                       template_lookup.c   obj.name; template_methods.c, template_functions.c
 *   template_chat.c      the variables of a chat                template_filters.c, template_sequences.c, template_tests.c
 *
 * Memory: a pool cuts small pieces from the arena's 64-byte objects and counts them against limits.memory. Nothing made
 * while rendering is given back before the end, so a value may point anywhere.
 *
 * The reference is Python, so the vocabulary is Python's: a text is a sequence of code points held as UTF-8, True is 1,
 * repr is how a value looks inside a list.
 */
#ifndef REBUS_TEXT_TEMPLATE_INSIDE_H
#define REBUS_TEXT_TEMPLATE_INSIDE_H

#include "text/template.h"

typedef template_value value;

/* ------------------------------------------------------------------------------------------------ pools */
typedef struct template_pool {
	arena *from;
	char *at;
	size_t left, used, limit;
	bool full; /* refused for the limit's sake, not for want of memory */
} template_pool;

void *template_get(template_pool *p, size_t count, size_t size); /* cleared, 16-byte aligned; NULL: no memory, or the limit */

/* ------------------------------------------------------------------------------------------------ values */
typedef struct template_string {
	const char *data; /* not always ended by NUL */
	size_t size;
	size_t points; /* code points, SIZE_MAX: not counted yet */
	uint32_t hash; /* 0: not computed yet */
	bool safe;     /* Markup: what |escape and |safe give */
} template_string;

typedef struct template_list {
	value *at;
	size_t count, room;
	size_t next;      /* VALUE_STREAM: how far it was walked */
	int64_t start, stop, step; /* VALUE_RANGE */
	bool group;       /* a tuple of |groupby, with .grouper and .list */
} template_list_body;

typedef struct template_pair {
	value key, item;
} template_pair;

typedef struct template_map { /* pairs in order of insertion; slots index them by hash once there are more than a few */
	template_pair *at;
	size_t count, room;
	uint32_t *slots; /* index into `at` plus one, 0: free */
	size_t slot_count;
} template_map;

typedef struct template_undefined {
	const char *hint;            /* the whole message, or NULL: made from owner and name */
	const template_string *name; /* NULL: see index */
	const char *owner;           /* a type's name, or NULL: a variable */
	value index;
	bool unsafe;
} template_undefined;

typedef struct template_scope {
	struct template_scope *outer;
	template_map names;
	bool kept; /* a macro may still look here */
} template_scope;

typedef struct template_macro {
	const struct template_node *node;
	template_scope *scope;
} template_macro;

typedef struct template_method {
	value self;
	int which; /* index into the table of template_methods.c */
} template_method;

typedef struct template_wheel { /* cycler(...), joiner(...) */
	value *at;
	size_t count, next;
} template_wheel;

/* jinja2's LoopContext: pulls items as they are asked for, so that a loop's filter sees what the body did before */
typedef struct template_loop {
	value from;       /* list, tuple, ... or stream; a text was split into its letters */
	size_t at;        /* next item of `from` */
	const struct template_node *node;
	template_scope *scope; /* where the filter looks names up */
	value before, current, after;
	bool has_after, is_recursive;
	value *drained; /* all further items, once the length was asked for */
	size_t drained_count, drained_at;
	bool is_drained;
	int64_t index0, length, depth0;
	value changed; /* tuple of the last loop.changed(...) */
} template_loop;

enum { FUNCTION_RANGE, FUNCTION_NAMESPACE, FUNCTION_DICT, FUNCTION_RAISE, FUNCTION_NOW, FUNCTION_CYCLER, FUNCTION_JOINER, FUNCTION_LIPSUM };

/* ------------------------------------------------------------------------------------------------ nodes */
typedef enum {
	/* expressions */
	NODE_CONST, NODE_NAME, NODE_TUPLE, NODE_LIST, NODE_DICT, NODE_BINARY, NODE_UNARY, NODE_AND, NODE_OR, NODE_NOT,
	NODE_COMPARE, NODE_OPERAND, NODE_CONCAT, NODE_COND, NODE_FILTER, NODE_TEST, NODE_CALL, NODE_ATTR, NODE_ITEM, NODE_SLICE,
	NODE_NSREF, NODE_KEYWORD, NODE_STAR, NODE_STARSTAR,
	/* statements */
	NODE_DATA, NODE_PRINT, NODE_FOR, NODE_IF, NODE_SET, NODE_SETBLOCK, NODE_MACRO, NODE_CALLBLOCK, NODE_FILTERBLOCK,
	NODE_WITH, NODE_GENERATION, NODE_BREAK, NODE_CONTINUE
} node_kind;

typedef enum {
	TOKEN_EOF, TOKEN_DATA, TOKEN_PRINT_BEGIN, TOKEN_PRINT_END, TOKEN_BLOCK_BEGIN, TOKEN_BLOCK_END, TOKEN_NAME, TOKEN_STRING,
	TOKEN_INT, TOKEN_REAL, TOKEN_ADD, TOKEN_SUB, TOKEN_DIV, TOKEN_FLOORDIV, TOKEN_MUL, TOKEN_MOD, TOKEN_POW, TOKEN_TILDE,
	TOKEN_LBRACKET, TOKEN_RBRACKET, TOKEN_LPAREN, TOKEN_RPAREN, TOKEN_LBRACE, TOKEN_RBRACE, TOKEN_EQ, TOKEN_NE, TOKEN_GT,
	TOKEN_GE, TOKEN_LT, TOKEN_LE, TOKEN_ASSIGN, TOKEN_DOT, TOKEN_COLON, TOKEN_PIPE, TOKEN_COMMA, TOKEN_SEMICOLON,
	TOKEN_IN, TOKEN_NOT_IN /* not tokens: operators of a comparison */
} token_kind;

typedef struct template_token {
	token_kind kind;
	int line;
	template_string *text; /* data, name, string */
	int64_t integer;
	double real;
} template_token;

/*
 * One shape for all nodes. Lists are linked by `next`.
 *   a, b, c      operands; FOR: target, iterable, test; IF: test, and b the elif that follows; SET: target, value;
 *                SETBLOCK: target, filter; MACRO: a parameters (NAME nodes, `a` of each its default); CALLBLOCK: a
 *                parameters, b the call; WITH: a targets, b values; ITEM: object, index; SLICE: start, stop, step
 *   args         FILTER, TEST, CALL: arguments in order, then KEYWORD (name, a), STAR (a), STARSTAR (a)
 *   body, other  statements; other: else
 */
typedef struct template_node {
	uint8_t kind, op;    /* op: a token_kind */
	bool recursive;      /* FOR */
	bool wants_caller, wants_kwargs, wants_varargs; /* MACRO, CALLBLOCK: names the body looks up */
	uint16_t level;      /* nodes below on the longest way: how deep evaluating recurses */
	int line;
	int which;           /* FILTER, TEST: index into the table, -1: there is none of this name */
	struct template_node *next, *a, *b, *c, *args, *body, *other;
	struct template_node *missing, *missing_other; /* NAMEs that a new scope for body (other) starts with undefined */
	template_string *name; /* NAME, ATTR, FILTER, TEST, KEYWORD, MACRO, NSREF's attribute (its object is `a`) */
	value constant;        /* CONST, DATA */
} node;

struct template_program {
	template_limits limits;
	node *body, *missing;
};

/* ------------------------------------------------------------------------------------------------ parsing */
enum { LEX_ROOT, LEX_BLOCK, LEX_PRINT };
enum { TEMPLATE_BRACES = 512 };

typedef struct template_parser {
	/* lexer */
	const char *source, *at, *end;
	int lex_line, state;
	bool line_starting;
	char braces[TEMPLATE_BRACES]; /* what closes the open brackets */
	int brace_count;
	/* parser */
	template_token now, ahead;
	bool has_ahead;
	int depth;
	bool saw_caller, saw_kwargs, saw_varargs;
	template_pool pool;
	template_limits limits;
	rebus_error *err;
} template_parser;

rebus_status template_lex_open(template_parser *p, const char *source, size_t size);
rebus_status template_lex_next(template_parser *p, template_token *out);
const char *template_token_name(const template_token *t, char room[48]); /* for messages */

rebus_status template_fail_at(rebus_error *err, rebus_status code, int line, const char *format, ...) BASE_PRINTF(4, 5);
rebus_status template_no_room(template_parser *p); /* LIMIT where the pool's bound was reached, else MEMORY */
rebus_status template_advance(template_parser *p);
rebus_status template_look(template_parser *p, const template_token **out); /* the token after the current one */
bool template_at_name(const template_parser *p, const char *name);          /* the current token is this name */
rebus_status template_expect(template_parser *p, token_kind kind, const char *what);
rebus_status template_node_new(template_parser *p, node_kind kind, int line, node **out);
rebus_status template_node_wrap(template_parser *p, node_kind kind, token_kind op, int line, node *left, node *right, node **out);
rebus_status template_node_levels(template_parser *p, node *n); /* n->level, once its operands are there */
rebus_status template_enter(template_parser *p); /* one level deeper, LIMIT past the limit; p->depth-- leaves */

typedef struct template_tuple_rules {
	bool simple;          /* names and literals only */
	bool no_cond;         /* no `a if b else c` */
	bool parens;          /* inside parentheses: () is a tuple */
	bool namespaces;      /* ns.name is a target */
} template_tuple_rules;

rebus_status template_expr(template_parser *p, bool with_cond, node **out);
rebus_status template_expr_tuple(template_parser *p, const template_tuple_rules *rules, node **out);
rebus_status template_expr_primary(template_parser *p, bool namespaces, node **out);
rebus_status template_expr_unary(template_parser *p, bool filters, node **out);
rebus_status template_expr_filters(template_parser *p, bool start_inline, node *on, node **out);
rebus_status template_scope_check(template_parser *p, template_program *program);

/* ------------------------------------------------------------------------------------------------ rendering */
typedef enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } template_flow;

typedef struct template_run {
	const template_program *program;
	template_limits limits;
	template_pool pool;
	rebus_error *err;
	value globals;
	template_scope *scope;
	buf *out, *top; /* where output goes now; the rendering's own */
	template_flow flow;
	template_options options;
	arena *scratch;
	int64_t steps;
	size_t held; /* bytes in the buffers that wait for `out` to be captured */
	int line, depth, calls;
} template_run;

typedef struct template_args {
	value *at;
	size_t count;
	template_pair *keywords; /* keys are texts */
	size_t keyword_count;
} template_args;

rebus_status template_fail(template_run *r, rebus_status code, const char *format, ...) BASE_PRINTF(3, 4); /* with the line */
rebus_status template_no_memory(template_run *r); /* LIMIT where the run's bound was reached, else MEMORY */
rebus_status template_step(template_run *r, size_t work);

/* values (template_value.c) */
rebus_status template_string_new(template_run *r, const char *data, size_t size, value *out);  /* copies */
rebus_status template_string_view(template_run *r, const char *data, size_t size, value *out); /* data outlives the run */
rebus_status template_string_take(template_run *r, const buf *b, value *out);                  /* copies, checks b */
void template_string_ready(template_string *s); /* fills what is computed once */
rebus_status template_string_c(template_run *r, const char *text, value *out);
rebus_status template_seq_new(template_run *r, template_kind kind, size_t room, value *out);
rebus_status template_seq_add(template_run *r, value seq, value item);
rebus_status template_map_new(template_run *r, template_kind kind, value *out);
rebus_status template_map_set(template_run *r, template_map *m, value key, value item); /* FORMAT: not hashable */
rebus_status template_map_find(template_run *r, const template_map *m, value key, template_pair **out); /* *out NULL: none */
template_pair *template_map_text(const template_map *m, const template_string *key);    /* NULL: none */
rebus_status template_undefined_new(template_run *r, const template_undefined *u, value *out);
rebus_status template_undefined_hint(template_run *r, const char *hint, value *out);
rebus_status template_undefined_fail(template_run *r, value v); /* the error that touching it gives */
bool template_pool_map_set(template_pool *p, template_map *m, value key, value item); /* false: no memory, or not hashable */
bool template_truth(value v);
rebus_status template_equal(template_run *r, value a, value b, bool *out);
rebus_status template_order(template_run *r, value a, value b, const char *op, int *out); /* -1, 0, 1, 2: a NaN */
rebus_status template_contains(template_run *r, value in, value what, bool *out);
bool template_is_number(value v, double *out); /* bool, int, real */
bool template_is_int(value v, int64_t *out);   /* bool, int */
bool template_is_seq(value v);                 /* something with a template_list inside */
const char *template_type(value v);            /* Python's name of the type */
rebus_status template_items(template_run *r, value v, value **at, size_t *count); /* walks any iterable: streams are used up */
rebus_status template_length(template_run *r, value v, int64_t *out);
/* Stable, by keys where there are any (they move along). Fails where two keys cannot be compared. */
rebus_status template_sort(template_run *r, value *items, value *keys, size_t count, bool descending);

/* strings (template_string.c) */
size_t template_points(template_string *s);
size_t template_offset(template_string *s, size_t point); /* bytes before a code point */
bool template_space(uint32_t cp);
size_t template_space_start(const char *s, size_t n); /* bytes of white space at the start */
size_t template_space_end(const char *s, size_t n);   /* at the end */
typedef enum { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL, CASE_SWAP, CASE_WORDS } template_case;
rebus_status template_recase(template_run *r, const template_string *s, template_case how, value *out);
const char *template_find(const char *s, size_t n, const char *what, size_t size);      /* NULL: nowhere */
const char *template_find_last(const char *s, size_t n, const char *what, size_t size);
rebus_status template_replace(template_run *r, const template_string *s, const template_string *from, const template_string *to,
	int64_t most, value *out);
rebus_status template_split(template_run *r, const template_string *s, const template_string *by, int64_t most, bool right, value *out);
rebus_status template_lines(template_run *r, const template_string *s, bool keep, value *out);
rebus_status template_strip(template_run *r, const template_string *s, const template_string *set, bool left, bool right, value *out);
rebus_status template_pad(template_run *r, template_string *s, int64_t width, uint32_t fill, int where, value *out); /* -1 left-justified, 0, 1 */
rebus_status template_letters(template_run *r, template_string *s, value *out); /* a list of its code points */
bool template_is_class(const template_string *s, int which); /* "alpha" ... see CLASS_ */
enum { CLASS_ALPHA, CLASS_DIGIT, CLASS_ALNUM, CLASS_SPACE, CLASS_LOWER, CLASS_UPPER, CLASS_ASCII, CLASS_DECIMAL, CLASS_NUMERIC, CLASS_TITLE };
bool template_word(uint32_t cp); /* \w */

/* numbers (template_number.c) */
void template_real_repr(double x, char out[40]);
bool template_read_real(const char *s, size_t n, double *out);                 /* as float() reads */
bool template_read_int(const char *s, size_t n, int base, int64_t *out, bool *too_big);
rebus_status template_binary(template_run *r, token_kind op, value a, value b, value *out);
rebus_status template_unary(template_run *r, token_kind op, value a, value *out);
rebus_status template_round(template_run *r, value v, int64_t digits, value *out);
rebus_status template_repeat(template_run *r, value seq, int64_t times, value *out);
rebus_status template_escape(template_run *r, const template_string *s, value *out);

/* output (template_show.c) */
rebus_status template_str(template_run *r, value v, buf *out);
rebus_status template_repr(template_run *r, value v, buf *out);
rebus_status template_str_value(template_run *r, value v, value *out); /* str(v); a text stays itself */
typedef struct template_json {
	bool ascii, sorted, pretty;
	const template_string *indent, *item, *key; /* pretty: indent; separators */
} template_json;
rebus_status template_to_json(template_run *r, value v, const template_json *how, buf *out);

/* formatting (template_format.c) */
rebus_status template_percent(template_run *r, const template_string *format, value args, value *out);
rebus_status template_braces(template_run *r, const template_string *format, const template_args *args, value *out);

/* evaluation (template_eval.c, template_exec.c) */
rebus_status template_eval(template_run *r, const node *n, value *out);
rebus_status template_eval_filter(template_run *r, const node *n, value on, value *out); /* the chain of a filter block */
rebus_status template_assign(template_run *r, const node *target, value v);
rebus_status template_call(template_run *r, value f, const template_args *args, value *out);
rebus_status template_call_macro(template_run *r, template_macro *m, const template_args *args, value *out);
rebus_status template_call_loop(template_run *r, template_loop *l, value items, value *out);
rebus_status template_args_eval(template_run *r, const node *args, template_args *out);
rebus_status template_loop_pull(template_run *r, template_loop *l, value *out, bool *any);
rebus_status template_loop_length(template_run *r, template_loop *l, int64_t *out);
rebus_status template_loop_peek(template_run *r, template_loop *l, bool *any);
rebus_status template_bind(template_run *r, template_scope *s, template_string *name, value v);

/* lookups (template_lookup.c, template_methods.c, template_functions.c) */
rebus_status template_attr(template_run *r, value of, template_string *name, value *out);
rebus_status template_item(template_run *r, value of, value index, value *out);
rebus_status template_slice(template_run *r, value of, value start, value stop, value step, value *out);
int template_method_named(value of, const template_string *name, bool *unsafe); /* -1: none, or one the sandbox hides */
rebus_status template_dict_view(template_run *r, const template_map *m, template_kind kind, value *out); /* a stream or list: of items */
rebus_status template_method_call(template_run *r, const template_method *m, const template_args *args, value *out);
rebus_status template_function_call(template_run *r, int which, const template_args *args, value *out);
bool template_function_named(const template_string *name, value *out);
/* Puts arguments in the order of names (NULL ends); out[i] is VALUE_MISSING where none was given. */
rebus_status template_take(template_run *r, const template_args *args, const char *what, const char *const *names, size_t needed,
	value *out);

/* filters and tests: -1 where there is none of this name */
int template_filter_named(const template_string *name);
int template_test_named(const template_string *name);
rebus_status template_filter_call(template_run *r, int which, value on, const template_args *args, value *out);
rebus_status template_test_call(template_run *r, int which, value on, const template_args *args, bool *out);

#endif
