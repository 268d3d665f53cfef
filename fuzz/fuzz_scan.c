/*
 * fuzz_scan.c - any pattern that scan.c takes for simple: its matches in any text are those of PCRE2.
 *
 *   input = pattern NUL text
 */
#include "text/regex.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *pattern = (const char *)data, *nul = size && size < 4096 ? memchr(pattern, 0, size) : NULL;
	if (!nul)
		return 0;
	const char *text = nul + 1;
	size_t n = size - (size_t)(text - pattern);
	text_regex *r = NULL;
	regex_run quick = {0}, slow = {0};
	if (!utf8_valid(text, n) || regex_open(pattern, (size_t)(nul - pattern), "fuzz", &r, NULL))
		return 0;
	if (!regex_run_begin(&quick, n, NULL) && !regex_run_begin(&slow, n, NULL)) {
		regex_at a = {0}, b = {0};
		bool found = true, too = true;
		slow.steps = 0; /* scan.c is unsure at once */
		while (found && !regex_next(r, &quick, text, n, &a, &found, NULL) && !regex_next(r, &slow, text, n, &b, &too, NULL))
			if (found != too || (found && (a.first != b.first || a.last != b.last)))
				abort();
		regex_run_end(&slow);
	}
	regex_run_end(&quick);
	regex_close(r);
	return 0;
}
