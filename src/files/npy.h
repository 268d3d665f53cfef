/*
 * npy.h - matrices in NumPy's .npy format: embeddings are written as one, search reads them back.
 *
 *   bytes  93 'N' 'U' 'M' 'P' 'Y'  1  0 ─ u16 little endian: length ─ text ─ rows * width numbers, little endian, row-major
 *   text   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   blanks up to a multiple of 64, newline
 *
 * Written files are version 1.0 with a header of 128 bytes whatever the shape, so that the number of rows can be put in at
 * the end. Read files may be version 1, 2 or 3 (length u32 in the latter two) and must hold exactly a C-order matrix of
 * float32 ('<f4'), float16 ('<f2') or int8 ('|i1'); the data must be aligned to a number's size, which NumPy has always done.
 */
#ifndef REBUS_NPY_H
#define REBUS_NPY_H

#include "base/base.h"

typedef enum { NPY_F32, NPY_F16, NPY_I8 } npy_type;
size_t npy_size(npy_type type); /* bytes of a number */

/* Complete or not at all. data [rows, width], float32. */
rebus_status npy_write(const char *path, int64_t rows, int64_t width, const float *data, rebus_error *err);

/* The same, rows as they come: npy_begin, npy_rows any number of times, npy_end. npy_discard leaves nothing behind. */
typedef struct npy_out {
	file_out file;
	npy_type type;
	int64_t rows, width;
} npy_out;
rebus_status npy_begin(npy_out *o, const char *path, npy_type type, int64_t width, rebus_error *err);
rebus_status npy_rows(npy_out *o, int64_t rows, const void *data /* [rows, width] */, rebus_error *err);
rebus_status npy_end(npy_out *o, rebus_error *err); /* on failure, too, nothing is left to discard */
void npy_discard(npy_out *o);

typedef struct npy_in {
	file_map file;
	int64_t rows, width;
	npy_type type;
	const void *data; /* [rows, width], in the file's memory */
} npy_in;
/* Fails with IO, FORMAT, or LIMIT where the file has more than most_bytes (0: no limit; it is mapped). */
rebus_status npy_open(npy_in *in, const char *path, size_t most_bytes, rebus_error *err);
/* The same from memory aligned to a number's size, which stays the caller's. */
rebus_status npy_parse(npy_in *in, const void *bytes, size_t size, const char *name, rebus_error *err);
void npy_close(npy_in *in);

#endif
