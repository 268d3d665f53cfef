/* journal.h - log.jsonl: a JSON object a line, each written whole; what a resumed run will repeat is cut off first. */
#ifndef REBUS_JOURNAL_H
#define REBUS_JOURNAL_H

#include "base/base.h"

typedef struct journal {
	const char *path;
	int fd; /* -1: closed */
} journal;

/* Lines begin with {"step": N; those of steps after `step`, and what is no whole line, are cut off. path must stay. */
rebus_status journal_open(journal *j, const char *path, int64_t step, rebus_error *err);
/* Adds a line without its end. */
rebus_status journal_add(journal *j, const buf *line, rebus_error *err);
void journal_close(journal *j);

#endif
