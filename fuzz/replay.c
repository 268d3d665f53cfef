/*
 * replay.c - main for a fuzz target where there is no fuzzer: feeds it each file given, and each file of a folder.
 *
 *   fuzz_json fuzz/corpus/json            the seeds, and every input that once broke something
 *   fuzz_json crash-0123                  one input under a debugger
 *
 * Each input lies in memory of exactly its size, so that the address sanitizer sees a read past its end.
 * The last line is `N passed, 0 failed`; an input that fails does not return.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long passed, unread;

static void replay_file(const char *path)
{
	uint8_t *data = NULL;
	long size = -1;
	FILE *f = fopen(path, "rb");
	if (f && !fseek(f, 0, SEEK_END) && (size = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET))
		data = malloc((size_t)size ? (size_t)size : 1);
	if (data && fread(data, 1, (size_t)size, f) == (size_t)size) {
		printf("%s\n", path);
		fflush(stdout); /* the last name printed is the input that broke it */
		LLVMFuzzerTestOneInput(data, (size_t)size);
		passed++;
	} else {
		printf("%s: cannot be read\n", path);
		unread++;
	}
	free(data);
	if (f)
		fclose(f);
}

static void replay(const char *path)
{
	struct stat s;
	if (stat(path, &s) || !S_ISDIR(s.st_mode)) {
		replay_file(path);
		return;
	}
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char inside[4096];
		if (entries[i]->d_name[0] != '.' && snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name) < (int)sizeof inside)
			replay(inside);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (!passed)
		printf("no inputs\n");
	printf("%ld passed, %ld failed\n", passed, unread);
	return unread || !passed;
}
