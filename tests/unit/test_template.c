/*
 * test_template.c - chat templates against what transformers rendered (tests/unit/data/template_cases.json), then what it has
 * no counterpart for: bounds, the kinds of failure and their lines, values made by hand, memory that runs out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/template.h"

static const char cases_path[] = "tests/unit/data/template_cases.json";

typedef struct {
	arena program_arena, scratch;
	buf out;
	template_spans spans;
	rebus_error err;
} bench;

static void bench_open(bench *b)
{
	*b = (bench){0};
	arena_init(&b->program_arena, NULL, 0);
	arena_init(&b->scratch, NULL, 0);
	buf_init(&b->out, NULL, 0);
}

static void bench_close(bench *b)
{
	buf_free(&b->out);
	arena_free(&b->scratch);
	arena_free(&b->program_arena);
}

static rebus_status render(bench *b, const char *text, size_t size, const template_limits *limits, template_value globals, int64_t now)
{
	template_program *p = NULL;
	const template_options options = {.generation = &b->spans, .now = now};
	rebus_status status = template_parse(&b->program_arena, text, size, limits, &p, &b->err);
	return status ? status : template_render(p, &b->scratch, globals, &options, &b->out, &b->err);
}

static json *load_cases(void)
{
	json *j = NULL;
	rebus_error err;
	if (json_load(cases_path, 1 << 20, 1 << 20, &j, &err))
		fail_msg("%s", err.text);
	return j;
}

/* What was rendered against [text, [[begin, end], ...]]; text null: it had to be refused. */
static void check(bench *b, rebus_status status, const char *name, const json *text, const json *spans)
{
	size_t size;
	const char *want = json_text(text, &size);
	if (!want) {
		if (!status)
			fail_msg("%s: want a refusal, got %s", name, b->out.data ? b->out.data : "");
		if (status == REBUS_MEMORY || strncmp(b->err.text, "template line ", 14) != 0)
			fail_msg("%s: refused with %s", name, b->err.text);
		return;
	}
	if (status)
		fail_msg("%s: %s", name, b->err.text);
	if (b->out.size != size || (size && memcmp(b->out.data, want, size) != 0))
		fail_msg("%s: want\n%s\ngot\n%s", name, want, b->out.data ? b->out.data : "");
	assert_int_equal(b->spans.count, json_count(spans));
	for (size_t i = 0; i < b->spans.count; i++) {
		int64_t begin = -1, end = -1;
		json_int(json_at(json_at(spans, i), 0), &begin);
		json_int(json_at(json_at(spans, i), 1), &end);
		assert_int_equal(b->spans.at[i].begin, begin);
		assert_int_equal(b->spans.at[i].end, end);
	}
}

static void test_cases(void **state)
{
	(void)state;
	json *j = load_cases();
	const json *cases = json_get(j, "cases");
	int64_t now = 0;
	assert_true(json_int(json_get(j, "now"), &now));
	assert_true(json_count(cases) > 1000);
	for (size_t i = 0; i < json_count(cases); i++) {
		const json *c = json_at(cases, i);
		template_value globals;
		size_t size;
		const char *text = json_text(json_at(c, 0), &size);
		bench b;
		bench_open(&b);
		assert_int_equal(template_from_json(&b.scratch, json_get(j, "context"), &globals, &b.err), REBUS_OK);
		rebus_status status = render(&b, text, size, NULL, globals, now);
		check(&b, status, text, json_at(c, 1), json_at(c, 2));
		bench_close(&b);
	}
	json_free(j);
}

static void from_json(bench *b, const json *from, template_value *out)
{
	if (from)
		assert_int_equal(template_from_json(&b->scratch, from, out, &b->err), REBUS_OK);
}

static void run_chat(const json *j, size_t which_template, size_t which_chat, int64_t now)
{
	const json *c = json_at(json_get(j, "conversations"), which_chat);
	const json *want = json_at(json_at(json_get(j, "chats"), which_template), which_chat);
	size_t size;
	const char *text = json_text(json_at(json_get(j, "templates"), which_template), &size);
	template_program *p = NULL;
	bench b;
	bench_open(&b);
	template_chat_call call = {.options = {.generation = &b.spans, .now = now}};
	from_json(&b, json_get(c, "messages"), &call.messages);
	from_json(&b, json_get(c, "tools"), &call.tools);
	from_json(&b, json_get(c, "documents"), &call.documents);
	from_json(&b, json_get(c, "extra"), &call.extra);
	from_json(&b, json_get(j, "tokens"), &call.tokens);
	json_flag(json_get(c, "add_generation_prompt"), &call.add_generation_prompt);
	if (template_parse(&b.program_arena, text, size, NULL, &p, &b.err))
		fail_msg("%s", b.err.text);
	rebus_status status = template_chat(p, &b.scratch, &call, &b.out, &b.err);
	check(&b, status, text, json_at(want, 0), json_at(want, 1));
	bench_close(&b);
}

static void test_chats(void **state)
{
	(void)state;
	json *j = load_cases();
	int64_t now = 0;
	json_int(json_get(j, "now"), &now);
	assert_true(json_count(json_get(j, "templates")) >= 8);
	for (size_t t = 0; t < json_count(json_get(j, "templates")); t++)
		for (size_t c = 0; c < json_count(json_get(j, "conversations")); c++)
			run_chat(j, t, c, now);
	json_free(j);
}

static void test_refusals(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		rebus_status status;
		const char *message;
	} refusals[] = {
		{"a\n{% if %}", REBUS_FORMAT, "template line 2: Expected an expression, got 'end of statement block'"},
		{"\n\n{{ x", REBUS_FORMAT, "template line 3: unexpected end of template, expected 'end of print statement'"},
		{"{# a\n\n", REBUS_FORMAT, "template line 1: Missing end of comment tag"},
		{"{% for i in x %}\n", REBUS_FORMAT, "template line 1: unexpected end of template, looking for 'endfor' or 'else'"},
		{"{% nosuch %}", REBUS_FORMAT, "template line 1: Encountered unknown tag 'nosuch'."},
		{"\n{{ 1|nosuch }}", REBUS_FORMAT, "template line 2: No filter named 'nosuch'."},
		{"{{ 1 is nosuch }}", REBUS_FORMAT, "template line 1: No test named 'nosuch'."},
		{"{{ 'a'|urlize }}", REBUS_UNSUPPORTED, "template line 1: the filter urlize"},
		{"{{ 'a'.encode() }}", REBUS_UNSUPPORTED, "template line 1: the method str.encode"},
		{"{% include 'x' %}", REBUS_UNSUPPORTED, "template line 1: the tag 'include', which chat templates do not need"},
		{"{{ lipsum() }}", REBUS_UNSUPPORTED, "template line 1: the function lipsum"},
		{"\n\n{{ raise_exception('no ' ~ 'way') }}", REBUS_MISUSE, "template line 3: no way"},
		{"{{ a.b }}", REBUS_FORMAT, "template line 1: 'a' is undefined"},
		{"{{ {}.b.c }}", REBUS_FORMAT, "template line 1: 'dict object' has no attribute 'b'"},
		{"{{ [].append(1) }}", REBUS_FORMAT, "template line 1: access to attribute 'append' of 'list' object is unsafe."},
		{"{{ {}.update({}) }}", REBUS_FORMAT, "template line 1: access to attribute 'update' of 'dict' object is unsafe."},
		{"{{ 1 + 'a' }}", REBUS_FORMAT, "template line 1: unsupported operand type(s) for +: 'int' and 'str'"},
		{"{{ 1 // 0 }}", REBUS_FORMAT, "template line 1: division by zero"},
		{"\xff", REBUS_FORMAT, "a template that is not UTF-8"},
	};
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		bench b;
		bench_open(&b);
		buf_text(&b.out, "kept");
		rebus_status status = render(&b, refusals[i].text, strlen(refusals[i].text), NULL, (template_value){0}, 0);
		assert_string_equal(b.err.text, refusals[i].message);
		assert_int_equal(status, refusals[i].status);
		assert_int_equal(b.err.code, status);
		assert_string_equal(b.out.data, "kept");
		bench_close(&b);
	}
}

static void want_limit(const char *text, size_t size, const template_limits *limits)
{
	bench b;
	bench_open(&b);
	rebus_status status = render(&b, text, size, limits, (template_value){0}, 0);
	if (status != REBUS_LIMIT)
		fail_msg("%.60s: want LIMIT, got %s %s", text, rebus_status_name(status), status ? b.err.text : "");
	bench_close(&b);
}

static void test_limits(void **state)
{
	(void)state;
	static const char *const bombs[] = {
		"{{ 'a' * 1000000000 }}",
		"{{ 1000000000000 * [1] }}",
		"{{ 'a'.center(1000000000) }}",
		"{{ '%1000000000d' % 1 }}",
		"{{ '{:1000000000}'.format(1) }}",
		"{{ range(100001) }}",
		"{{ 9223372036854775807 + 1 }}",
		"{{ -9223372036854775807 - 2 }}",
		"{{ 9223372036854775807 * 3 }}",
		"{{ 10 ** 19 }}",
		"{{ 9223372036854775808 }}",
		"{{ 1e30|int }}",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"{% set ns = namespace() %}{% set ns.a = [ns, ns] %}{{ ns }}",
		"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
		"{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"{% set ns = namespace(s='a') %}{% for a in range(100) %}{% set ns.s = ns.s.replace('a', 'aaaa') %}{% endfor %}",
		"{% set ns = namespace(l=[1]) %}{% for a in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
		"{% set ns = namespace(l=[1]) %}{% for a in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == ns.l }}",
		"{% set ns = namespace(l=[1]) %}{% for a in range(90) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
		"{{ [1]|batch(1000000000, 0)|list }}",
		"{{ [1]|slice(1000000000)|list }}",
		"{{ strftime_now('%1000000000d') }}",
	};
	for (size_t i = 0; i < COUNT_OF(bombs); i++)
		want_limit(bombs[i], strlen(bombs[i]), &(template_limits){.steps = 300000, .output = 1 << 20, .memory = 16 << 20});
	want_limit("aaaa", 4, &(template_limits){.source = 3});
	want_limit("{{ 'aaaa' ~ 'aaaa' }}", 21, &(template_limits){.output = 7});
	want_limit("aaaaaaaa", 8, &(template_limits){.output = 7});
	want_limit("{% for i in range(9) %}{{ i }}{% endfor %}", 42, &(template_limits){.steps = 10});
	want_limit("{{ range(9000) }}", 17, &(template_limits){.memory = 30000});
}

/* `count` times open, then close: nested as deep as that. */
static char *nested(const char *open, const char *middle, const char *close, size_t count)
{
	buf b;
	buf_init(&b, NULL, 0);
	for (size_t i = 0; i < count; i++)
		buf_text(&b, open);
	buf_text(&b, middle);
	for (size_t i = 0; i < count; i++)
		buf_text(&b, close);
	char *copy = malloc(b.size + 1);
	assert_non_null(copy);
	memcpy(copy, b.data, b.size + 1);
	buf_free(&b);
	return copy;
}

static void test_depth(void **state)
{
	(void)state;
	static const struct {
		const char *open, *middle, *close;
		size_t refused, accepted; /* 0: not asked */
	} shapes[] = {
		{"(", "1", ")", 100000, 100},
		{"[", "1", "]", 100000, 100},
		{"{1:", "1", "}", 100000, 100},
		{"not ", "1", "", 100000, 100},
		{"-", "1", "", 100000, 100},
		{"1 + ", "1", "", 100000, 500},
		{"1 ~ ", "1", "", 0, 20000},
		{"", "x", ".a", 100000, 0},
		{"", "'a'", "|upper", 100000, 500},
		{"", "1", " if 1", 100000, 500},
		{"1 if 1 else ", "1", "", 100000, 100},
	};
	for (size_t i = 0; i < COUNT_OF(shapes); i++)
		for (int big = 0; big < 2; big++) {
			size_t count = big ? shapes[i].refused : shapes[i].accepted;
			char *inside = nested(shapes[i].open, shapes[i].middle, shapes[i].close, count), *text = malloc(strlen(inside) + 7);
			assert_non_null(text);
			sprintf(text, "{{ %s }}", inside);
			bench b;
			bench_open(&b);
			rebus_status status = count ? render(&b, text, strlen(text), NULL, (template_value){0}, 0) : REBUS_OK;
			if (count && status != (big ? REBUS_LIMIT : REBUS_OK))
				fail_msg("%s x %zu: %s %s", shapes[i].open, count, rebus_status_name(status), status ? b.err.text : "");
			bench_close(&b);
			free(text);
			free(inside);
		}
	char *text = nested("{% if 1 %}", "x", "{% endif %}", 5000);
	want_limit(text, strlen(text), NULL);
	free(text);
	text = nested("{% for i in [1] %}", "x", "{% endfor %}", 100);
	bench b;
	bench_open(&b);
	assert_int_equal(render(&b, text, strlen(text), NULL, (template_value){0}, 0), REBUS_OK);
	assert_string_equal(b.out.data, "x");
	bench_close(&b);
	free(text);
}

static void test_values(void **state)
{
	(void)state;
	bench b;
	bench_open(&b);
	arena *a = &b.scratch;
	template_value globals = template_dict(a), list = template_list(a);
	assert_int_equal(template_list_add(a, list, template_none(), &b.err), REBUS_OK);
	assert_int_equal(template_list_add(a, list, template_flag(true), &b.err), REBUS_OK);
	assert_int_equal(template_list_add(a, list, template_int(-7), &b.err), REBUS_OK);
	assert_int_equal(template_list_add(a, list, template_real(0.5), &b.err), REBUS_OK);
	assert_int_equal(template_list_add(a, list, template_text(a, "a\0b\xff", 4), &b.err), REBUS_OK);
	assert_int_equal(template_dict_set(a, globals, "list", list, &b.err), REBUS_OK);
	assert_int_equal(template_dict_set(a, globals, "n", template_int(1), &b.err), REBUS_OK);
	assert_int_equal(template_dict_set(a, globals, "n", template_int(2), &b.err), REBUS_OK);
	static const char text[] = "{{ list }}{{ n }}{{ list[4]|length }}";
	assert_int_equal(render(&b, text, sizeof text - 1, NULL, globals, 0), REBUS_OK);
	assert_string_equal(b.out.data, "[None, True, -7, 0.5, 'a\\x00b\xef\xbf\xbd']24");
	assert_int_equal(template_list_add(a, list, (template_value){0}, &b.err), REBUS_MEMORY);
	assert_int_equal(template_dict_set(a, list, "x", list, &b.err), REBUS_MEMORY);
	bench_close(&b);
	bench_open(&b);
	assert_int_equal(render(&b, "x", 1, NULL, template_int(1), 0), REBUS_MISUSE);
	template_program *p = NULL;
	template_chat_call call = {.messages = template_int(3)};
	assert_int_equal(template_parse(&b.program_arena, "x", 1, NULL, &p, &b.err), REBUS_OK);
	assert_int_equal(template_chat(p, &b.scratch, &call, &b.out, &b.err), REBUS_MISUSE);
	bench_close(&b);
}

/* An allocator that gives memory a set number of times. */
typedef struct {
	long left, live;
} meter;

static void *meter_alloc(void *user, size_t size)
{
	meter *m = user;
	if (m->left-- <= 0)
		return NULL;
	m->live++;
	return base_allocator.alloc(base_allocator.user, size);
}

static void meter_free(void *user, void *memory, size_t size)
{
	((meter *)user)->live--;
	base_allocator.free(base_allocator.user, memory, size);
}

static void test_memory_runs_out(void **state)
{
	(void)state;
	static const char text[] =
		"{% macro m(a, b=[1]) %}{{ caller(a) }}{% endmacro %}{% call(x) m({'k': 'v'}) %}{{ x.items()|list|tojson }}{% endcall %}"
		"{% for i in range(6) recursive %}{% set q %}{{ '%05d' % i }}{% endset %}{{ q|replace('0', '--') }}{{ '{:>4}'.format(i) }}"
		"{% endfor %}{% generation %}{{ 'x' * 5000 }}{% endgeneration %}{% filter upper %}{{ ['b', 'a']|sort|join }}{% endfilter %}";
	rebus_status status = REBUS_MEMORY;
	long turns = 0;
	for (; status == REBUS_MEMORY; turns++) {
		meter m = {.left = turns};
		const rebus_allocator allocator = {&m, meter_alloc, meter_free};
		bench b;
		template_program *p = NULL;
		bench_open(&b);
		arena_init(&b.program_arena, &allocator, 0);
		arena_init(&b.scratch, &allocator, 0);
		const template_options options = {.generation = &b.spans};
		status = template_parse(&b.program_arena, text, sizeof text - 1, NULL, &p, &b.err);
		if (!status)
			status = template_render(p, &b.scratch, (template_value){0}, &options, &b.out, &b.err);
		bench_close(&b);
		assert_int_equal(m.live, 0);
	}
	assert_int_equal(status, REBUS_OK);
	assert_true(turns > 10);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_chats),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_memory_runs_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
