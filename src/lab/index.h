/*
 * index.h - vectors by name on disk: what index.c (reading, search) and index_writer.c share.
 *
 *   PATH.npy           [rows, width] float32, and PATH.npy.files beside it: the list of names
 *   PATH.safetensors   tensors "embeddings" F32 [rows, width] and "files" U8: the same list as bytes
 *   PATH.jsonl         a line a row: {"file": NAME, "vector": [width numbers]}
 *
 * With f16 the numbers are '<f2' or F16. With int8 they are '|i1' or I8, and each row has a scale they are multiplied by:
 * PATH.npy.scales, [rows, 1] float32 as .npy, or the tensor "scales" F32 [rows]. The angle between rows, all that search
 * needs, does not depend on scales. Lines of .jsonl are always what the model gave.
 *
 * The list of names has one name a line. A name that holds a line break or begins with a quote is written as a JSON string,
 * so a line that begins with a quote is one.
 */
#ifndef REBUS_INDEX_H
#define REBUS_INDEX_H

#include "base/base.h"
#include "rebus_lab.h"

typedef enum { INDEX_NPY, INDEX_SAFETENSORS, INDEX_JSONL } index_kind;

/* By the ending of path; fails with MISUSE. */
rebus_status index_kind_of(const char *path, index_kind *out, rebus_error *err);
void index_name_put(buf *b, const char *name, size_t size); /* one line of the list */
bool index_name_is_plain(const char *name, size_t size);

size_t index_store_size(rebus_store store); /* bytes of a number */
/* Adds a row of floats, unaligned, in the store's form; false: a number too large for it. */
bool index_store_put(buf *b, rebus_store store, const uint8_t *vector, size_t width);
float index_scale(const uint8_t *vector, size_t width); /* of a row of int8 */
uint16_t index_half(float x);

#endif
