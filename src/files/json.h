/*
 * json.h - reading JSON, untrusted and of any size.
 *
 * Nesting (64) and the number of values are bounded, so a bomb costs no more than its own size. What Python's json reads is read,
 * as published files are written by it: integers beyond 64 bits (clamped), Infinity and NaN, \u0000 inside strings, lone
 * surrogates (they become U+FFFD); a name given twice has its last value. Texts must be UTF-8.
 * Every accessor accepts NULL and the wrong kind and then gives nothing, so that json_get chains need no checks.
 */
#ifndef REBUS_JSON_H
#define REBUS_JSON_H

#include "base/base.h"

typedef struct json_value json;
typedef enum { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_TEXT, JSON_LIST, JSON_MAP, JSON_NONE } json_kind;
enum { JSON_DEPTH = 64 };

/* name is used in messages ("config.json"). Fails with FORMAT, LIMIT or MEMORY. */
rebus_status json_parse(const char *text, size_t size, const char *name, size_t most_values, json **out, rebus_error *err);
rebus_status json_load(const char *path, size_t most_bytes, size_t most_values, json **out, rebus_error *err);
void json_free(json *j); /* what json_parse gave, with everything in it; NULL is fine */

json_kind json_kind_of(const json *j);      /* JSON_NONE: absent, or null as json_get and its like give it (j NULL) */
const json *json_get(const json *j, const char *key); /* member of a map; NULL: absent, or null: see json_has */
bool json_has(const json *j, const char *key);
const json *json_at(const json *j, size_t i); /* element of a list */
size_t json_count(const json *j);             /* elements of a list, members of a map, else 0 */

const char *json_text(const json *j, size_t *size); /* NULL unless text; NUL after it, may hold others; size may be NULL */
bool json_is(const json *j, const char *literal);   /* is the text `literal` */
bool json_int(const json *j, int64_t *out);         /* an integer, or a real with an integral value */
bool json_real(const json *j, double *out);         /* a number */
bool json_flag(const json *j, bool *out);           /* true or false only */

/* Members of a map in file order: json_each it = json_first(j); while (json_next(&it)) ... it.key, it.value */
typedef struct {
	const char *key;
	size_t key_size;
	const json *value;
	const json *at, *end;
} json_each;
json_each json_first(const json *j);
bool json_next(json_each *it);

#endif
