/*
 * fuzz_grammar.c - hostile grammars, schemas and expressions, and texts that are run through them.
 *
 *   input = G grammar | R expression | J schema [ NUL text ]
 *
 * What is accepted is walked: by the text's bytes, then by tokens, each time the one that the input chooses among those allowed.
 * A token that is allowed can be taken, and what may end fits.
 */
#include "generate/grammar.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char words_json[] =
	"{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
	"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\\u00c3\":2,\"\\u00a9\":3,\"{\":4,\"}\":5,\"\\\"\":6,\":\":7,\"\\\":\":8,\"1\":9,"
		"\"0\":10,\",\":11,\"\\u0120\":12,"
	"\"[\":13,\"]\":14,\"x\":15,\"true\":16,\"null\":17,\"\\\\\":18,\"n\":19,\"ab\":20,\"{\\\"\":21,\"-\":22,\".\":23,\"\\u010a\":24},\"merges\":[]}}";

static void walk_tokens(const rebus_grammar *g, const uint8_t *data, size_t size)
{
	grammar_at at;
	uint32_t mask[4];
	bool ends = false, fits, begins;
	if (grammar_begin(g, &at, NULL) == REBUS_OK)
		for (size_t i = 0; i < 24; i++) {
			size_t allowed, n;
			int32_t pick = -1;
			if (grammar_mask(g, &at, mask, &allowed, &ends, NULL) != REBUS_OK || !allowed)
				break;
			size_t which = (size ? data[(i * 7) % size] + i : i) % allowed;
			for (int32_t id = 0; id < 128 && pick < 0; id++)
				if (mask[id / 32] >> id % 32 & 1 && !which--)
					pick = id;
			if (pick < 0)
				abort();
			rebus_status status = grammar_take(g, &at, pick, &n, NULL);
			if (status != REBUS_OK && status != REBUS_LIMIT)
				abort();
			if (status || grammar_accepts(g, at.said.data, at.said.size, &fits, &begins, NULL) != REBUS_OK)
				break;
			if (!begins)
				abort();
		}
	grammar_end(&at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static tokenizer *words;
	static arena words_mem;
	const text_files files = {.tokenizer_json = words_json, .tokenizer_json_size = sizeof words_json - 1};
	rebus_error err;
	if (!words) {
		arena_init(&words_mem, NULL, 0);
		if (text_open_memory(&words_mem, &files, &words, &err) != REBUS_OK)
			abort();
	}
	if (!size || size > 4096)
		return 0;
	rebus_grammar_kind kind = data[0] == 'G' ? REBUS_GRAMMAR_GBNF : data[0] == 'R' ? REBUS_GRAMMAR_REGEX : REBUS_GRAMMAR_JSON_SCHEMA;
	const char *s = (const char *)data + 1, *nul = size > 1 ? memchr(s, 0, size - 1) : NULL;
	size_t n = nul ? (size_t)(nul - s) : size - 1;
	rebus_grammar *g = NULL;
	if (grammar_new(words, NULL, kind, s, n, &g, &err) == REBUS_OK) {
		bool fits, begins;
		if (nul)
			grammar_accepts(g, nul + 1, size - 2 - n, &fits, &begins, &err);
		walk_tokens(g, data, size);
	}
	rebus_grammar_free(g);
	return 0;
}
