/*
 * regex.c - regular expressions compiled once and matched under limits; see regex.h. The only file that includes PCRE2.
 *
 * Limits. PCRE2 counts steps of backtracking for each starting position. Positions are first tried with a small count; one
 * for which that is not enough gets sixteen times as many, and again, taken from a budget that grows with the text. Plain
 * patterns hardly touch it; a hostile pattern or text ends with LIMIT. JIT is not used: it counts otherwise.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>

#include "text/scan.h"

enum { PATTERN_MOST = 64 << 10, COMPILED_MOST = 1 << 20, FRAME_MOST = 4096, GROUPS_MOST = 200 };
enum { FIRST_LIMIT = 128, LAST_LIMIT = 1 << 26, BUDGET = 1 << 25, BUDGET_PER_BYTE = 64, HEAP_KIB = 192 << 10 };

struct text_regex {
	pcre2_code *code;
	text_scan *scan; /* the same; NULL: not that simple */
};

/* ------------------------------------------------------------------------------------------------ compiling */
rebus_status regex_open(const char *pattern, size_t n, const char *where, text_regex **out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	pcre2_compile_context *context = NULL;
	text_regex *r = NULL;
	buf text;
	buf_init(&text, NULL, 1 << 20);
	if (n > PATTERN_MOST) {
		status = error_set(err, REBUS_LIMIT, "%s: regular expression: %zu bytes, more than %d", where, n, PATTERN_MOST);
		goto done;
	}
	TRY(regex_rewrite(pattern, n, where, &text, err));
	context = pcre2_compile_context_create(NULL);
	r = base_allocator.alloc(NULL, sizeof(*r));
	if (r)
		*r = (text_regex){0};
	if (!context || !r) {
		status = error_memory(err, "a regular expression");
		goto done;
	}
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	pcre2_set_parens_nest_limit(context, GROUPS_MOST);
	int code;
	PCRE2_SIZE at;
	r->code = pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.size,
	                        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
	                        &code, &at, context);
	if (!r->code && code == PCRE2_ERROR_HEAP_FAILED) {
		status = error_memory(err, "a regular expression");
		goto done;
	}
	if (!r->code) {
		unsigned char why[120];
		pcre2_get_error_message(code, why, sizeof(why));
		status = error_set(err, REBUS_FORMAT, "%s: regular expression: %s", where, (const char *)why);
		goto done;
	}
	size_t size = 0, frame = 0; /* a step costs its frame */
	pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &size);
	pcre2_pattern_info(r->code, PCRE2_INFO_FRAMESIZE, &frame);
	if (size > COMPILED_MOST || frame > FRAME_MOST) {
		status = error_set(err, REBUS_LIMIT, "%s: regular expression: too large once compiled", where);
		goto done;
	}
	r->scan = scan_open(pattern, n);
	*out = r;
	r = NULL;
done:
	regex_close(r);
	pcre2_compile_context_free(context);
	buf_free(&text);
	return status;
}

void regex_close(text_regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	scan_close(r->scan);
	base_allocator.free(NULL, r, sizeof(*r));
}

/* ------------------------------------------------------------------------------------------------ matching */
rebus_status regex_run_begin(regex_run *run, size_t text_bytes, rebus_error *err)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	if (!context || !data) {
		pcre2_match_context_free(context);
		pcre2_match_data_free(data);
		return error_memory(err, "matching a regular expression");
	}
	pcre2_set_heap_limit(context, HEAP_KIB);
	*run = (regex_run){.data = data, .context = context, .budget = BUDGET + BUDGET_PER_BYTE * (uint64_t)text_bytes};
	run->steps = run->budget;
	return REBUS_OK;
}

void regex_run_end(regex_run *run)
{
	pcre2_match_data_free(run->data);
	pcre2_match_context_free(run->context);
	*run = (regex_run){0};
}

/* One call of PCRE2: starting positions from..last, each with at most `limit` steps. */
static int try_range(const text_regex *r, regex_run *run, const char *s, size_t n, size_t from, size_t last, uint32_t limit)
{
	pcre2_set_match_limit(run->context, limit);
	pcre2_set_depth_limit(run->context, limit);
	pcre2_set_offset_limit(run->context, last);
	return pcre2_match(r->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, run->data, run->context);
}

static bool too_many(int rc)
{
	return rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT;
}

/* The one position `from` with more and more steps. */
static int try_harder(const text_regex *r, regex_run *run, const char *s, size_t n, size_t from)
{
	int rc = PCRE2_ERROR_MATCHLIMIT;
	for (uint32_t limit = FIRST_LIMIT * 16u; too_many(rc) && limit <= LAST_LIMIT && limit <= run->budget; limit *= 16) {
		rc = try_range(r, run, s, n, from, from, limit);
		run->budget -= limit;
	}
	return rc;
}

/*
 * Where a range of positions fails for lack of steps, PCRE2 does not tell which position it was. So from there single
 * positions are tried, then two, four, ... until it shows; that costs but a few times what the positions before it cost.
 */
static rebus_status search(const text_regex *r, regex_run *run, const char *s, size_t n, size_t from, bool *found,
                           rebus_error *err)
{
	size_t window = n + 1;
	while (from <= n) {
		size_t last = window > n - from ? n : from + window - 1;
		int rc = try_range(r, run, s, n, from, last, FIRST_LIMIT);
		if (too_many(rc) && last > from) {
			window = 1;
			continue;
		}
		if (too_many(rc))
			rc = try_harder(r, run, s, n, from);
		if (rc >= 0) {
			*found = true;
			return REBUS_OK;
		}
		if (rc == PCRE2_ERROR_NOMEMORY)
			return error_memory(err, "matching a regular expression");
		if (rc != PCRE2_ERROR_NOMATCH)
			return error_set(err, REBUS_LIMIT, "text: byte %zu: the tokenizer's regular expression needs too many steps", from);
		from = last + 1;
		while (from < n && ((unsigned char)s[from] & 0xC0) == 0x80)
			from++;
		window = window > n ? window : window * 2;
	}
	return REBUS_OK;
}

static rebus_status find(const text_regex *r, regex_run *run, const char *s, size_t n, size_t from, bool *found, size_t *first,
                         size_t *last, rebus_error *err)
{
	scan_result quick = r->scan ? scan_find(r->scan, s, n, from, first, last, &run->steps) : SCAN_UNSURE;
	*found = quick == SCAN_FOUND;
	if (quick != SCAN_UNSURE)
		return REBUS_OK;
	rebus_status status = search(r, run, s, n, from, found, err);
	const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(run->data);
	*first = pair[0];
	*last = pair[1];
	return status;
}

rebus_status regex_next(const text_regex *r, regex_run *run, const char *s, size_t n, regex_at *at, bool *found, rebus_error *err)
{
	*found = false;
	while (at->next <= n) {
		bool hit = false;
		size_t first = 0, last = 0;
		rebus_status status = find(r, run, s, n, at->next, &hit, &first, &last, err);
		if (status)
			return status;
		if (!hit) {
			at->next = n + 1;
			return REBUS_OK;
		}
		if (first > last) /* \K in a look-ahead */
			return error_set(err, REBUS_UNSUPPORTED, "text: a regular expression's match ends before it starts");
		if (first == last && at->any && at->end == last) {
			uint32_t cp;
			at->next = last < n ? last + utf8_get(s + last, n - last, &cp) : n + 1;
			continue;
		}
		at->next = at->end = last;
		at->any = *found = true;
		at->first = first;
		at->last = last;
		return REBUS_OK;
	}
	return REBUS_OK;
}
