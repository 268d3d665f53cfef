/* test_scan.c - the matcher for simple patterns beside PCRE2: on every code point, and on random texts. */
#include "scratch.h"

#include "text/regex.h"
#include "text/scan.h"

static const char *const simple[] = {
	"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	"<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
	"\\s+", "[ -~]{2,5}a?", " {2,}", "\\P{L}\\p{L}?\\P{N}*x", "(?i:ask|k)|[a-f]{3}",
	"a*ab|\\s*\\n", "\\p{N}{2}(?!\\p{N})|\\S",
};

/* What is not simple must not be taken for it. */
static const char *const other[] = {
	"", "a*", "(a)", "a|", "|a", "a+?", "a++", "a{2}+", "\\d", "\\p{Lu}", "[[:alpha:]]", "[a&&b]",
	"^a", "a$", ".", "\\bx", "(?i:a", "(?!a)", "a(?=b)",
	"(?<!a)b",
	"[^", "a{", "a{3,1}", "a{1,2000}", "\xc3\xa9", "(?i:[a-z])", "a(?!b)c", "[]a]", "\\x41", "\\u0041", "a{,3}", "(?i)a", "a)",
};

/* A pattern that scan.c refuses, with the same matches: PCRE2's. */
static text_regex *by_pcre2(const char *pattern)
{
	char text[512];
	text_regex *r = NULL;
	rebus_error err;
	snprintf(text, sizeof text, "(?:%s)", pattern);
	text_scan *scan = scan_open(text, strlen(text));
	assert_null(scan);
	if (regex_open(text, strlen(text), "t", &r, &err))
		fail_msg("%s: %s", pattern, err.text);
	return r;
}

static void compare(const char *pattern, const text_scan *scan, const text_regex *r, const char *s, size_t n)
{
	regex_run run;
	regex_at at = {0};
	bool found = true;
	size_t from = 0;
	uint64_t steps = 1 << 30;
	assert_int_equal(regex_run_begin(&run, n, NULL), REBUS_OK);
	while (found) {
		size_t first = 0, last = 0;
		assert_int_equal(regex_next(r, &run, s, n, &at, &found, NULL), REBUS_OK);
		scan_result got = scan_find(scan, s, n, from, &first, &last, &steps);
		if (got != (found ? SCAN_FOUND : SCAN_NONE) || (found && (first != at.first || last != at.last)))
			fail_msg("%s in '%.*s' from %zu: %zu..%zu (%d), want %zu..%zu", pattern, (int)n, s, from, first, last, (int)got, at.first, at.last);
		from = last;
	}
	regex_run_end(&run);
}

static void test_every_character(void **state)
{
	(void)state;
	buf text;
	buf_init(&text, NULL, 0);
	for (uint32_t cp = 1; cp <= 0x10FFFF; cp++) { /* a long text of each: blanks between, so that classes show */
		char c[4];
		if (cp >= 0xD800 && cp < 0xE000)
			continue;
		buf_text(&text, cp % 3 ? " " : "a");
		buf_add(&text, c, utf8_put(cp, c));
		if (cp % 4096 && cp != 0x10FFFF)
			continue;
		for (size_t i = 0; i < 4; i++) {
			text_regex *r = by_pcre2(simple[i]);
			text_scan *scan = scan_open(simple[i], strlen(simple[i]));
			assert_non_null(scan);
			compare(simple[i], scan, r, text.data, text.size);
			scan_close(scan);
			regex_close(r);
		}
		text.size = 0;
	}
	buf_free(&text);
}

static void test_random_texts(void **state)
{
	(void)state;
	static const char *const parts[] = {" ", "  ", "\n", "\r\n", "\t", "a", "B", "xyz", "'s", "'S", "'RE", "'\xc5\xbf", "'ll", "1", "42",
		"\xd9\xa3", ".", "!?", "<|endoftext|>",
		"<|", "\xc3\xa9", "e\xcc\x81", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xc2\xa0", "\xe2\x84\xaa", "k",
		"\xe2\x80\x83", "\xc2\x85", "\xe1\xa0\x8e", "_", "-"};
	for (size_t i = 0; i < COUNT_OF(simple); i++) {
		text_regex *r = by_pcre2(simple[i]);
		text_scan *scan = scan_open(simple[i], strlen(simple[i]));
		if (!scan)
			fail_msg("%s: not simple", simple[i]);
		for (uint64_t round = 0; round < 1500; round++) {
			char text[256];
			size_t n = 0;
			for (uint64_t k = 0; k < 1 + round % 24; k++) {
				const char *p = parts[bits_mix(round * 64 + k + i * 1000003) % COUNT_OF(parts)];
				memcpy(text + n, p, strlen(p));
				n += strlen(p);
			}
			char *own = malloc(n); /* so that a sanitizer sees the end */
			assert_non_null(own);
			memcpy(own, text, n);
			compare(simple[i], scan, r, own, n);
			free(own);
		}
		scan_close(scan);
		regex_close(r);
	}
}

static void test_not_simple(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(other); i++) {
		text_scan *scan = scan_open(other[i], strlen(other[i]));
		if (scan)
			fail_msg("%s: taken for simple", other[i]);
	}
	scan_close(NULL);
}

/* A text made to be slow ends UNSURE instead of late. */
static void test_steps(void **state)
{
	(void)state;
	enum { SIZE = 100000 };
	static const char pattern[] = "a*a*b";
	text_scan *scan = scan_open(pattern, sizeof pattern - 1);
	char *text = malloc(SIZE);
	uint64_t steps = 1 << 20;
	size_t first, last;
	assert_non_null(scan);
	assert_non_null(text);
	memset(text, 'a', SIZE);
	assert_int_equal(scan_find(scan, text, SIZE, 0, &first, &last, &steps), SCAN_UNSURE);
	free(text);
	scan_close(scan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_random_texts),
		cmocka_unit_test(test_not_simple),
		cmocka_unit_test(test_steps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
