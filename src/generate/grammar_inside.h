/*
 * grammar_inside.h - what the readers of JSON schemas share.
 *
 *   grammar_schema.c   which keywords, types, references      ┐
 *   grammar_object.c   objects and arrays                     ├─► rules
 *   grammar_string.c   strings: lengths, formats, names       │
 *   grammar_number.c   numbers between bounds                 ┘
 */
#ifndef REBUS_GRAMMAR_INSIDE_H
#define REBUS_GRAMMAR_INSIDE_H

#include "files/json.h"
#include "generate/grammar.h"

/* Characters of a set inside a JSON string: as they are, or escaped where they must be. */
grammar_node *string_set(rules *r, const code_range *list, size_t count);

typedef struct schema_entry {
	const json *at;
	int32_t rule;
} schema_entry;

typedef struct schema {
	rules *r;
	const json *root;
	schema_entry *known; /* [SCHEMA_SLOTS] schemas that have a rule, by address */
	buf todo;            /* schema_todo: rules whose bodies are to be read */
	int32_t space, value, object, array, string, letter; /* rules made when they are first asked for; -1: not yet */
	int32_t number, integer;
	rebus_error *err;
} schema;
typedef struct schema_todo {
	const json *at;
	const char *where;
	int32_t rule;
} schema_todo;
enum { SCHEMA_VALUES_MOST = 1 << 16, SCHEMA_SLOTS = 1 << 17 };

/* A schema as a node; where is its JSON pointer, for messages. */
rebus_status schema_read(schema *x, const json *j, const char *where, grammar_node **out);
/* A call of the rule for a schema that is used more than once; its body is read later. */
grammar_node *schema_call(schema *x, const json *j, const char *where);
rebus_status schema_refuse(const schema *x, const char *where, const char *what, const char *expected);
rebus_status schema_wrong(const schema *x, const char *where, const char *what, const char *expected);
/* A number of items or characters: absent leaves *out as it is. */
rebus_status schema_count(const schema *x, const json *j, const char *name, const char *where, uint32_t *out);

grammar_node *schema_space(schema *x);  /* nothing, a blank, or a line end and up to 20 blanks */
grammar_node *schema_value(schema *x);  /* any value */
grammar_node *schema_object(schema *x); /* any object, ... */
grammar_node *schema_array(schema *x);
grammar_node *schema_string(schema *x);
grammar_node *schema_regex(schema *x, const char *expression, bool quoted);
/* s followed by space */
grammar_node *schema_mark(schema *x, const char *s);

rebus_status object_read(schema *x, const json *j, const char *where, grammar_node **out);
rebus_status array_read(schema *x, const json *j, const char *where, grammar_node **out);
rebus_status string_read(schema *x, const json *j, const char *where, grammar_node **out);
rebus_status number_read(schema *x, const json *j, const char *where, bool whole, grammar_node **out);
/* A string that is none of these names, [count], quoted; names: texts of JSON, not yet escaped. */
grammar_node *string_other_than(schema *x, const text_file *names, size_t count);
/* A text as a JSON string. */
grammar_node *string_literal(schema *x, const char *s, size_t n);
void json_write(const json *j, buf *out); /* as JSON text, without blanks */

#endif
