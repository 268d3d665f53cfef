/*
 * index.h - vectors by name on disk: what index.c (reading, search) and index_writer.c share.
 *
 *   PATH.npy           [rows, width] float32, and PATH.npy.files beside it: the list of names
 *   PATH.safetensors   tensors "embeddings" F32 [rows, width] and "files" U8: the same list as bytes
 *   PATH.jsonl         a line a row: {"file": NAME, "vector": [width numbers]}
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

#endif
