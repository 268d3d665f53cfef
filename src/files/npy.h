/*
 * npy.h - matrices of float32 in NumPy's .npy format: embeddings are written as one, search reads them back.
 *
 *   bytes  93 'N' 'U' 'M' 'P' 'Y'  1  0 ─ u16 little endian: length ─ text ─ rows * width floats, little endian, row-major
 *   text   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   blanks up to a multiple of 64, newline
 *
 * Written files are version 1.0 with a header of 128 bytes whatever the shape, so that the number of rows can be put in at
 * the end. Read files may be version 1, 2 or 3 (length u32 in the latter two) and must hold exactly a C-order float32
 * matrix; the data must be aligned to 4 bytes, which NumPy has always done.
 */
#ifndef REBUS_NPY_H
#define REBUS_NPY_H

#include "base/base.h"

/* Complete or not at all. data [rows, width]. */
rebus_status npy_write(const char *path, int64_t rows, int64_t width, const float *data, rebus_error *err);

/* The same, rows as they come: npy_begin, npy_rows any number of times, npy_end. npy_discard leaves nothing behind. */
typedef struct npy_out {
	file_out file;
	int64_t rows, width;
} npy_out;
rebus_status npy_begin(npy_out *o, const char *path, int64_t width, rebus_error *err);
rebus_status npy_rows(npy_out *o, int64_t rows, const float *data /* [rows, width] */, rebus_error *err);
rebus_status npy_end(npy_out *o, rebus_error *err); /* on failure, too, nothing is left to discard */
void npy_discard(npy_out *o);

typedef struct npy_in {
	file_map file;
	int64_t rows, width;
	const float *data; /* [rows, width], in the file's memory */
} npy_in;
/* Fails with IO, FORMAT, or LIMIT where the file has more than most_bytes (0: no limit; it is mapped). */
rebus_status npy_open(npy_in *in, const char *path, size_t most_bytes, rebus_error *err);
/* The same from memory aligned to 4 bytes, which stays the caller's. */
rebus_status npy_parse(npy_in *in, const void *bytes, size_t size, const char *name, rebus_error *err);
void npy_close(npy_in *in);

#endif
