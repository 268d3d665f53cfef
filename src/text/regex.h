/*
 * regex.h - regular expressions of tokenizer.json, which are Oniguruma's (Ruby syntax), run under limits: by scan.c where they are
 * simple, else by PCRE2.
 */
#ifndef REBUS_TEXT_REGEX_H
#define REBUS_TEXT_REGEX_H

#include "base/base.h"

typedef struct text_regex text_regex;

/* where names the pattern in messages. close frees it; NULL is fine. */
rebus_status regex_open(const char *pattern, size_t n, const char *where, text_regex **out, rebus_error *err);
void regex_close(text_regex *r);

/* The pattern in PCRE2's syntax, appended to out; refuses by name what PCRE2 cannot do. */
rebus_status regex_rewrite(const char *pattern, size_t n, const char *where, buf *out, rebus_error *err);

/* What one thread needs while matching; the budget of steps is shared by all matches until regex_run_end. */
typedef struct regex_run {
	void *data, *context;
	uint64_t budget, steps; /* of PCRE2, and of scan.c */
} regex_run;
rebus_status regex_run_begin(regex_run *run, size_t text_bytes, rebus_error *err);
void regex_run_end(regex_run *run);

/*
 * Successive matches in s (valid UTF-8), left to right, as Oniguruma's find_iter gives them: an empty match right at the end
 * of the match before is passed over. *at starts as {0}; *found says whether first..last is a match.
 */
typedef struct regex_at {
	size_t next, end;
	bool any;
	size_t first, last;
} regex_at;
rebus_status regex_next(const text_regex *r, regex_run *run, const char *s, size_t n, regex_at *at, bool *found,
                        rebus_error *err);

#endif
