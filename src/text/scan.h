/*
 * scan.h - regular expressions simple enough to need no general matcher: what published tokenizers cut texts with.
 */
#ifndef REBUS_TEXT_SCAN_H
#define REBUS_TEXT_SCAN_H

#include "base/base.h"

typedef struct text_scan text_scan;

/* NULL: the pattern (Oniguruma's syntax) is not of the simple kind, or there is no memory. scan_close takes NULL. */
text_scan *scan_open(const char *pattern, size_t n);
void scan_close(text_scan *scan);

typedef enum { SCAN_NONE, SCAN_FOUND, SCAN_UNSURE } scan_result;
/* The first match at or after `from` in s (valid UTF-8). *steps counts down; UNSURE once there are none left. */
scan_result scan_find(const text_scan *scan, const char *s, size_t n, size_t from, size_t *first, size_t *last, uint64_t *steps);

#endif
