/* report.h - an owned string being written; rebus_text of rebus_lab.h. */
#ifndef REBUS_REPORT_H
#define REBUS_REPORT_H

#include "base/base.h"
#include "rebus_lab.h"

struct rebus_text {
	arena mem;
	buf out;
};

rebus_status report_new(const rebus_allocator *from, rebus_text **out, rebus_error *err);
/* Hands it over, or frees it and reports what went wrong while writing. */
rebus_status report_finish(rebus_text *r, rebus_text **out, rebus_error *err);
void report_key(buf *b, const char *key); /* "key": with a comma before it where one is needed */
void report_bytes(buf *b, double bytes);  /* "3.2 MiB" */

#endif
