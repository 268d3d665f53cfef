/* journal.c - see journal.h. */
#include "train/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static rebus_status broken(const journal *j, rebus_error *err)
{
	return error_set(err, REBUS_IO, "%s: cannot be written: %s", j->path, strerror(errno));
}

/* How many bytes of the file are whole lines of steps up to this one. */
static rebus_status find_end(const char *path, int64_t step, off_t *out, rebus_error *err)
{
	static const char begin[] = "{\"step\": ";
	file_map f;
	*out = 0;
	rebus_status status = file_open(&f, path, 0, true, NULL, err);
	if (status)
		return status;
	for (size_t at = 0; at < f.size;) {
		const char *line = (const char *)f.data + at, *end = memchr(line, '\n', f.size - at);
		size_t n = end ? (size_t)(end - line) : 0;
		char number[24] = "";
		if (n < sizeof begin || memcmp(line, begin, sizeof begin - 1))
			break;
		n -= sizeof begin - 1;
		memcpy(number, line + sizeof begin - 1, n < sizeof number ? n : sizeof number - 1);
		if (strtoll(number, NULL, 10) > step)
			break;
		at = (size_t)(end - (const char *)f.data) + 1;
		*out = (off_t)at;
	}
	file_close(&f);
	return REBUS_OK;
}

rebus_status journal_open(journal *j, const char *path, int64_t step, rebus_error *err)
{
	off_t end;
	*j = (journal){path, open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666)};
	if (j->fd < 0)
		return broken(j, err);
	rebus_status status = find_end(path, step, &end, err);
	if (!status && (ftruncate(j->fd, end) || lseek(j->fd, end, SEEK_SET) < 0))
		status = broken(j, err);
	if (status)
		journal_close(j);
	return status;
}

rebus_status journal_add(journal *j, const buf *line, rebus_error *err)
{
	rebus_status status = buf_check(line, err, j->path);
	for (size_t at = 0; !status && at < line->size;) {
		ssize_t n = write(j->fd, line->data + at, line->size - at);
		if (n < 0 && errno != EINTR)
			status = broken(j, err);
		at += n > 0 ? (size_t)n : 0;
	}
	return status;
}

void journal_close(journal *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
}
