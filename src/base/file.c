/*
 * file.c - reading whole files (mapped or copied) and writing them so that nobody sees half of one.
 *
 * A mapped file can be cut off by somebody else while we read it, which the system reports as SIGBUS. The library installs
 * no signal handlers, so the caller who cannot trust his files' owner opens models with copy instead of map.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LARGE = 64 << 20, LARGE_PART = 2 << 20, LARGE_THREADS = 4 };

static rebus_status read_all(int fd, uint8_t *to, size_t size, const char *path, rebus_error *err)
{
	for (size_t got = 0; got < size;) {
		ssize_t n = read(fd, to + got, size - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, REBUS_IO, "%s: cannot be read: %s", path, strerror(errno));
		if (n == 0)
			return error_set(err, REBUS_IO, "%s: ends at byte %zu of %zu while being read", path, got, size);
		got += (size_t)n;
	}
	return REBUS_OK;
}

rebus_status file_open(file_map *f, const char *path, size_t limit, bool copy, const rebus_allocator *from, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	file_map out = {.from = from ? from : &base_allocator};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(err, REBUS_IO, "%s: cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		status = error_set(err, REBUS_IO, "%s: not a regular file", path);
		goto done;
	}
	if ((uintmax_t)st.st_size > (limit ? limit : SIZE_MAX / 2)) {
		status = error_set(err, REBUS_LIMIT, "%s: %jd bytes, more than the limit of %zu", path, (intmax_t)st.st_size, limit);
		goto done;
	}
	out.size = (size_t)st.st_size;
	if (!out.size)
		goto done;
	if (!copy) {
		void *p = mmap(NULL, out.size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p != MAP_FAILED) {
			out.data = p;
			out.mapped = true;
			goto done;
		}
	}
	uint8_t *p = out.from->alloc(out.from->user, out.size);
	if (!p) {
		status = error_memory(err, path);
		goto done;
	}
	out.data = p;
	status = read_all(fd, p, out.size, path, err);
done:
	close(fd);
	if (status)
		file_close(&out);
	else
		*f = out;
	return status;
}

/* A mapping that is let go by threads: taking pages out costs some 50 us a MiB, as much as a tenth of a short program's run. */
typedef struct {
	uint8_t *data;
	size_t size;
	size_t threads;
} letting_go;

static void let_go_part(void *arg, int index)
{
	const letting_go *g = arg;
	size_t part = size_round(g->size / g->threads + 1, LARGE_PART), from = (size_t)index * part;
	if (from < g->size)
		(void)madvise(g->data + from, g->size - from < part ? g->size - from : part, MADV_DONTNEED);
}

static void unmap(const file_map *f)
{
	team *t = NULL;
	letting_go g = {(uint8_t *)f->data, f->size, (size_t)int_min(cpu_quota(), LARGE_THREADS)};
	if (f->size >= LARGE && g.threads > 1 && team_open((int)g.threads, f->from, &t, NULL) == REBUS_OK) {
		rebus_runner r = team_runner(t);
		r.run(r.user, let_go_part, &g);
	}
	team_close(t);
	munmap(g.data, g.size);
}

void file_close(file_map *f)
{
	if (f->data && f->mapped)
		unmap(f);
	else if (f->data)
		f->from->free(f->from->user, (void *)f->data, f->size);
	f->data = NULL;
	f->size = 0;
}

void file_forget(const file_map *f, const void *data, size_t size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data, base = (uintptr_t)f->data;
	if (!f->mapped || at < base || at - base > f->size || size > f->size - (at - base))
		return;
	uintptr_t from = (at + page - 1) / page * page, to = (at + size) / page * page;
	if (from < to)
		(void)!madvise((void *)from, to - from, MADV_DONTNEED); /* a hint: nothing to do if it is refused */
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

bool file_is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

rebus_status file_create(file_out *f, const char *path, rebus_error *err)
{
	f->fd = -1;
	f->written = 0;
	if (strlen(path) >= sizeof f->path)
		return error_set(err, REBUS_IO, "%.80s...: the path is too long", path);
	snprintf(f->path, sizeof f->path, "%s", path);
	snprintf(f->temporary, sizeof f->temporary, "%s.tmp", path);
	if (file_is_folder(path))
		return error_set(err, REBUS_IO, "%s: is a folder, expected a file to write", path);
	f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (f->fd < 0)
		return error_set(err, REBUS_IO, "%s: cannot be written: %s", path, strerror(errno));
	return REBUS_OK;
}

rebus_status file_write(file_out *f, const void *data, size_t size, rebus_error *err)
{
	const char *p = data;
	while (size) {
		ssize_t n = write(f->fd, p, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, REBUS_IO, "%s: cannot be written: %s", f->path, strerror(errno));
		p += n;
		size -= (size_t)n;
		f->written += (size_t)n;
	}
	return REBUS_OK;
}

rebus_status file_commit(file_out *f, rebus_error *err)
{
	int fd = f->fd;
	f->fd = -1;
	if (close(fd)) {
		unlink(f->temporary);
		return error_set(err, REBUS_IO, "%s: cannot be written: %s", f->path, strerror(errno));
	}
	if (rename(f->temporary, f->path)) {
		rebus_status s = error_set(err, REBUS_IO, "%s: cannot be put in place: %s", f->path, strerror(errno));
		unlink(f->temporary);
		return s;
	}
	return REBUS_OK;
}

void file_discard(file_out *f)
{
	if (f->fd < 0)
		return;
	close(f->fd);
	f->fd = -1;
	unlink(f->temporary);
}

double time_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
