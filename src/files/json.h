/*
 * json.h - reading JSON: json-c behind bounds, so that one file knows the library.
 *
 * A document is checked before it is built: its bytes, its nesting (64) and its number of values are bounded first, so a
 * bomb costs one pass over the text. Published files contain what strict parsers refuse and this accepts: integers beyond
 * 64 bits (clamped), Infinity and NaN, \u0000 inside strings, lone surrogates (they become U+FFFD).
 * Every accessor accepts NULL and the wrong kind and then gives nothing, so that json_get chains need no checks.
 */
#ifndef REBUS_JSON_H
#define REBUS_JSON_H

#include "base/base.h"

typedef struct json_object json;
typedef enum { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_TEXT, JSON_LIST, JSON_MAP, JSON_NONE } json_kind;
enum { JSON_DEPTH = 64 };

/* name is used in messages ("config.json"). Fails with FORMAT, LIMIT or MEMORY. */
rebus_status json_parse(const char *text, size_t size, const char *name, size_t most_values, json **out, rebus_error *err);
rebus_status json_load(const char *path, size_t most_bytes, size_t most_values, json **out, rebus_error *err);
void json_free(json *j); /* NULL is fine; frees everything reached from it */

json_kind json_kind_of(const json *j);      /* JSON_NONE: absent (j NULL); a JSON null is JSON_NULL */
const json *json_get(const json *j, const char *key); /* member of a map; NULL: absent, or null: see json_has */
bool json_has(const json *j, const char *key);
const json *json_at(const json *j, size_t i); /* element of a list */
size_t json_count(const json *j);             /* elements of a list, members of a map, else 0 */

const char *json_text(const json *j, size_t *size); /* NULL unless text; may hold NUL bytes; size may be NULL */
bool json_is(const json *j, const char *literal);   /* is the text `literal` */
bool json_int(const json *j, int64_t *out);         /* an integer, or a real with an integral value */
bool json_real(const json *j, double *out);         /* a number */
bool json_flag(const json *j, bool *out);           /* true or false only */

/* Members of a map in file order: json_each it = json_first(j); while (json_next(&it)) ... it.key, it.value */
typedef struct {
	const char *key;
	const json *value;
	void *at;
} json_each;
json_each json_first(const json *j);
bool json_next(json_each *it);

#endif
