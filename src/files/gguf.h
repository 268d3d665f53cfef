/*
 * gguf.h - GGUF files, versions 2 and 3: what they say of a model, and their tensors as they lie.
 *
 *   "GGUF" | u32 version | u64 tensors | u64 values
 *   a value    text key | u32 kind | the value                    text: u64 bytes, then the bytes
 *              kinds: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool, 8 text, 9 list, 10 u64, 11 i64, 12 f64
 *              a list: u32 kind of its elements | u64 how many | they
 *   a tensor   text name | u32 sides | u64 side ..., innermost first | u32 type | u64 offset into the data
 *   padding up to a multiple of general.alignment (32 where it is not said)
 *   data       each tensor at a multiple of it
 *
 * Every number of a file is hostile: sizes go through size_mul and size_add, and what a count claims must fit into what is left
 * of the file, so that nothing is ever larger than the file says it is. Stricter than what the format's own readers check:
 *   - little endian; a key occurs once, has 1 to 65535 bytes of UTF-8 without NUL; no lists of lists; texts as keys are not asked
 *     to be UTF-8, but whoever uses them asks;
 *   - a tensor has 1 to 4 sides of at least 1, whole blocks in a row, and lies wholly in the file, where no other tensor lies;
 *   - general.alignment is a power of two from 1 to 65536.
 * Looser: a type of ggml's that is not computed with here is kept as TENSOR_UNKNOWN, so that only whoever asks for that tensor
 * fails. Holes between tensors are allowed.
 *
 * Reference: the format's document (ggml/docs/gguf.md) and the Python package gguf 0.19.
 */
#ifndef REBUS_GGUF_H
#define REBUS_GGUF_H

#include "files/safetensors_header.h"

typedef enum {
	GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_TEXT, GGUF_LIST, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_KINDS
} gguf_kind;
enum { GGUF_ALIGNMENT = 32, GGUF_ALIGNMENT_MOST = 65536, GGUF_SIDES = 4, GGUF_KEY = 65535 };

typedef struct gguf_value {
	const char *key; /* not NUL-terminated */
	size_t key_size;
	gguf_kind kind;    /* of a list: of its elements */
	bool list;
	uint64_t count;    /* elements; 1 */
	const uint8_t *at; /* the first one's bytes */
	size_t size;       /* of all of them */
} gguf_value;

typedef struct gguf gguf;

/* path or name is used in messages. Everything but the file's bytes lies in the arena. FORMAT, LIMIT, UNSUPPORTED, IO or MEMORY. */
rebus_status gguf_open(arena *a, const char *path, safetensors_load load, gguf **out, rebus_error *err);
rebus_status gguf_open_memory(arena *a, const void *data, size_t size, const char *name, gguf **out, rebus_error *err);
void gguf_close(gguf *g); /* NULL is fine */
void gguf_forget(const gguf *g, const void *data, size_t size); /* as safetensors_forget */
const char *gguf_name(const gguf *g); /* for messages */

const gguf_value *gguf_find(const gguf *g, const char *key); /* NULL: absent */
size_t gguf_count(const gguf *g);
const gguf_value *gguf_at(const gguf *g, size_t i); /* in file order */
/* One element as a number, a truth or text; false: of another kind. v may be NULL. */
bool gguf_int(const gguf_value *v, uint64_t i, int64_t *out); /* beyond 2^63 - 1: false */
bool gguf_real(const gguf_value *v, uint64_t i, double *out);
bool gguf_flag(const gguf_value *v, bool *out);
const char *gguf_text(const gguf_value *v, size_t *size); /* NULL: no single text */
/* The texts of a list in order: gguf_texts it = gguf_each(v); while (gguf_next(&it)) ... it.text, it.size */
typedef struct gguf_texts {
	const uint8_t *at;
	uint64_t left;
	const char *text;
	size_t size;
} gguf_texts;
gguf_texts gguf_each(const gguf_value *v); /* no list of texts: nothing comes */
bool gguf_next(gguf_texts *it);

/* The tensors as the file names them, sides outermost first, as everything else here has them. */
const tensor_list *gguf_tensors(const gguf *g);

/* gguf_tensors.c: reads the list of tensors at *at; data, size are the whole file. */
typedef struct gguf_cursor {
	const uint8_t *data, *at, *end;
	const char *shown;
	rebus_error *err;
} gguf_cursor;
bool gguf_take(gguf_cursor *c, size_t size, uint64_t *out);                   /* a number of so many bytes; false at the end */
bool gguf_take_text(gguf_cursor *c, const char **text, size_t *size);
rebus_status gguf_ends(const gguf_cursor *c, const char *what);              /* FORMAT: the file ends within */
rebus_status gguf_read_tensors(arena *a, gguf_cursor *c, uint64_t count, size_t alignment, const char *file, tensor_list *out);

#endif
