/*
 * tokenize.c - a tokenizer on one thread, as a contender of peers.py: the protocol of worker.py.
 *
 *   tokenize encode FOLDER TEXTS     every document of TEXTS (NUL between them) to ids
 *   tokenize open FOLDER             from the folder to a tokenizer that is ready
 *
 * "ready {...}", then on every line "go" the seconds of some runs.
 */
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { RUNS_MOST = 50, TEXTS_MOST = 64 << 20 };

static rebus_status encode_all(const tokenizer *t, const file_map *texts, int64_t *tokens, uint64_t *sum, rebus_error *err)
{
	const char *s = (const char *)texts->data;
	ids list;
	ids_init(&list, NULL, 0);
	rebus_status status = REBUS_OK;
	*tokens = 0;
	*sum = 0;
	for (size_t at = 0; at < texts->size && !status;) {
		const char *end = memchr(s + at, 0, texts->size - at);
		size_t n = end ? (size_t)(end - s) - at : texts->size - at;
		list.bytes.size = 0;
		status = text_encode(t, s + at, n, false, &list, err);
		for (size_t i = 0; i < ids_count(&list); i++)
			*sum = (*sum * 31 + (uint64_t)ids_data(&list)[i]) % 1000000007;
		*tokens += (int64_t)ids_count(&list);
		at += n + 1;
	}
	ids_free(&list);
	return status;
}

static rebus_status open_once(const char *folder, rebus_error *err)
{
	arena a;
	tokenizer *t = NULL;
	arena_init(&a, NULL, 0);
	rebus_status status = text_open(&a, folder, &t, err);
	text_close(t);
	arena_free(&a);
	return status;
}

static size_t resident(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (size_t)u.ru_maxrss << 10;
}

int main(int argc, char **argv)
{
	bool encoding = argc == 4 && !strcmp(argv[1], "encode");
	if (!encoding && (argc != 3 || strcmp(argv[1], "open") != 0)) {
		fprintf(stderr, "usage: tokenize encode FOLDER TEXTS | tokenize open FOLDER\n");
		return 2;
	}
	rebus_status status = REBUS_OK;
	rebus_error err;
	arena a;
	tokenizer *t = NULL;
	file_map texts = {0};
	int64_t tokens = 0;
	uint64_t sum = 0;
	arena_init(&a, NULL, 0);
	if (encoding) {
		TRY(file_open(&texts, argv[3], TEXTS_MOST, true, NULL, &err));
		TRY(text_open(&a, argv[2], &t, &err));
	}
	char line[16] = "go\n";
	double once = 0;
	for (bool first = true; first || (fgets(line, sizeof line, stdin) && !strcmp(line, "go\n")); first = false) {
		int runs = first ? 2 : (int)int_max(1, int_min(RUNS_MOST, (int64_t)(0.6 / once)));
		if (!first)
			printf("{\"seconds\": [");
		for (int i = 0; i < runs; i++) {
			double start = time_now();
			TRY(encoding ? encode_all(t, &texts, &tokens, &sum, &err) : open_once(argv[2], &err));
			once = time_now() - start;
			if (!first)
				printf("%s%.6f", i ? ", " : "", once);
		}
		if (first && encoding)
			printf("ready {\"size\": %zu, \"tokens\": %" PRId64 ", \"sum\": %" PRIu64 "}\n", texts.size, tokens, sum);
		else if (first)
			printf("ready {}\n");
		else
			printf("], \"resident\": %zu}\n", resident());
		fflush(stdout);
	}
done:
	if (status)
		fprintf(stderr, "tokenize: %s\n", err.text);
	text_close(t);
	if (encoding)
		file_close(&texts);
	arena_free(&a);
	return status ? 1 : 0;
}
