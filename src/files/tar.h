/*
 * tar.h - members of a tar file, one after the other, where they lie in the mapped file; WebDataset's shards are such files.
 *
 *   header 512 bytes ─ data, rounded up to 512 ─ header ─ data ─ ... ─ two blocks of zeros (or the end of the file)
 *
 *   header   name 100 | mode, uid, gid 8 each | size 12 | mtime 12 | checksum 8 | type 1 | link 100 | "ustar" ... | prefix 155
 *
 * Read are POSIX ustar (name behind its prefix), pax ("x" headers: path, size), GNU ("L": a long name; sizes in base 256) and
 * the old form without a magic, as Python's tarfile does. Links, folders and devices are passed over; nothing is ever
 * unpacked, so what a name says harms nobody. Sparse members and compressed files are not read.
 *
 * Every header must have a right checksum, every member must lie in the file; names are at most 1 MiB.
 */
#ifndef REBUS_TAR_H
#define REBUS_TAR_H

#include "base/base.h"

typedef struct tar {
	const uint8_t *data; /* [size] */
	size_t size, at;
	const char *file; /* for messages */
	buf name;         /* of the member, and of what a longer name says */
} tar;

typedef struct tar_member {
	const char *name; /* valid until the next call */
	const uint8_t *data;
	size_t size;
} tar_member;

/* data and file must outlive t; tar_end frees what it holds. */
void tar_begin(tar *t, const uint8_t *data, size_t size, const char *file, const rebus_allocator *from);
void tar_end(tar *t);
/* The next regular file; *got false at the end. After a failure t is at its end: what follows cannot be found. */
rebus_status tar_next(tar *t, tar_member *out, bool *got, rebus_error *err);

#endif
