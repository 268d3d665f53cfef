/*
 * json_tree.h - how a parsed document lies in memory; for json.c and json_read.c alone.
 *
 *   {"a": [1, "x"], "b": 2.5}
 *
 *   document  root ─► MAP 2 ─► items  "a" | LIST 2 | "b" | REAL       a map: name, value, name, value
 *                                         └► items  INT | TEXT        a list: its elements
 *
 * Values are 16 bytes; those of one list or map lie side by side. A map of more members than MAP_SMALL has a table of places by
 * hash before its items, so that looking a name up costs the same in a vocabulary of a million.
 */
#ifndef REBUS_JSON_TREE_H
#define REBUS_JSON_TREE_H

#include "files/json.h"

enum { MAP_SMALL = 16 };

struct json_value {
	uint32_t kind;  /* json_kind */
	uint32_t count; /* bytes of a text, elements of a list, members of a map */
	union {
		int64_t whole;
		double real;
		bool flag;
		const char *text; /* NUL after it */
		const json *items;
	} is;
};

typedef struct json_table { /* lies right before the items of a large map */
	const uint32_t *slots;  /* member plus 1; 0: free */
	size_t mask;
} json_table;

/* Where the member of that name is, or would be put: a slot of the table. *probes counts on. */
size_t json_slot(const json_table *t, const json *items, const char *name, size_t size, uint64_t *probes);

#endif
