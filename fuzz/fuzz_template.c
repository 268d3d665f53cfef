/*
 * fuzz_template.c - hostile chat templates: parsed, and rendered with hostile variables.
 *
 *   input = template [ NUL JSON ]      without JSON the variables are those of a small chat
 *
 * The limits are small, so that each input is quick; what must hold is that nothing crashes, hangs or grows past them.
 */
#include "text/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char plain[] =
	"{\"messages\": [{\"role\": \"user\", \"content\": \"Hi \\u00e9\"}, {\"role\": \"assistant\", \"content\": [{\"type\": \"text\","
	" \"text\": \"a\"}]}], \"x\": 5, \"y\": -2.5, \"d\": {\"a\": 1, \"b\": [1, 2, 3]}, \"s\": \"one two\", \"none\": null, \"bos_token\": \"<s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const template_limits limits = {.source = 1 << 16, .output = 1 << 16, .memory = 8 << 20, .steps = 50000, .depth = 64};
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t length = end ? (size_t)(end - data) : size;
	const char *text = end ? (const char *)end + 1 : plain;
	size_t text_size = end ? size - length - 1 : sizeof plain - 1;
	arena program_arena, scratch;
	template_program *program = NULL;
	template_value globals = {.kind = VALUE_MISSING};
	template_spans spans = {0};
	const template_options options = {.generation = &spans, .now = 1700000000};
	rebus_error err;
	json *variables = NULL;
	buf out;
	arena_init(&program_arena, NULL, 64 << 20);
	arena_init(&scratch, NULL, 64 << 20);
	buf_init(&out, NULL, 1 << 20);
	if (template_parse(&program_arena, (const char *)data, length, &limits, &program, &err) == REBUS_OK) {
		if (json_parse(text, text_size, "variables", 10000, &variables, &err) == REBUS_OK && json_kind_of(variables) == JSON_MAP)
			template_from_json(&scratch, variables, &globals, &err);
		if (template_render(program, &scratch, globals, &options, &out, &err) == REBUS_OK)
			for (size_t i = 0; i < spans.count; i++)
				if (spans.at[i].begin > spans.at[i].end)
					abort();
	}
	json_free(variables);
	buf_free(&out);
	arena_free(&scratch);
	arena_free(&program_arena);
	return 0;
}
