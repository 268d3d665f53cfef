/*
 * scratch.h - what the tests of file formats share: a folder of their own that is gone afterwards, files in it, and a
 * safetensors image made from a header's text.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static char scratch_folder[256];

static inline int scratch_begin(void **state)
{
	(void)state;
	const char *under = getenv("TMPDIR");
	snprintf(scratch_folder, sizeof scratch_folder, "%.200s/rebus-test-XXXXXX", under ? under : "/tmp");
	return mkdtemp(scratch_folder) ? 0 : -1;
}

/* The path of a file in the folder; four results live at a time. */
static inline const char *scratch_path(const char *name)
{
	static char paths[4][600];
	static unsigned next;
	char *p = paths[next++ % 4];
	snprintf(p, sizeof paths[0], "%s/%s", scratch_folder, name);
	return p;
}

static inline int scratch_end(void **state)
{
	(void)state;
	DIR *d = opendir(scratch_folder);
	for (struct dirent *e; d && (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlink(scratch_path(e->d_name));
	if (d)
		closedir(d);
	return rmdir(scratch_folder);
}

static inline void scratch_write(const char *name, const void *data, size_t size)
{
	FILE *f = fopen(scratch_path(name), "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

/* Writes length, header and `data` bytes 0, 1, 2, ... into out, which has room; returns the size. */
static inline size_t scratch_image(uint8_t *out, const char *header, size_t data)
{
	size_t n = strlen(header);
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)((uint64_t)n >> 8 * i);
	memcpy(out + 8, header, n);
	for (size_t i = 0; i < data; i++)
		out[8 + n + i] = (uint8_t)i;
	return 8 + n + data;
}

#define assert_has(text, part)                                                                                             \
	do {                                                                                                               \
		if (!strstr(text, part))                                                                                   \
			fail_msg("'%s' lacks '%s'", text, part);                                                           \
	} while (0)

#endif
