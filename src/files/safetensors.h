/*
 * safetensors.h - checkpoints in the safetensors format: reading them in place, and writing them.
 *
 *   file   u64 little endian: n ─ n bytes of JSON ─ data section, up to the end of the file
 *   JSON   {"__metadata__": {"format": "pt"}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *
 * Offsets count from the start of the data section. As the reference implementation demands, n is at most 100,000,000, the
 * tensors cover the data section exactly, without holes and without overlaps, and the shape gives the number of bytes.
 * Stricter than the reference, so that nothing is ever ambiguous or unbounded:
 *   - the header begins with '{' (as the specification says) and a tensor has exactly the three members above;
 *   - a name occurs once, also over all shards, has at most 1024 bytes and no NUL; a dtype's name has at most 31 bytes;
 *   - at most 8 dimensions a tensor, 1 Mi tensors and 1000 shards a checkpoint; no side of 2^63 or more.
 * Looser: a dtype that is unknown here is kept as TENSOR_UNKNOWN, so that only whoever asks for that tensor fails.
 *
 * A sharded checkpoint is a folder whose model.safetensors.index.json maps names to files:
 *   {"metadata": {...}, "weight_map": {"NAME": "model-00001-of-00002.safetensors", ...}}
 * A shard's name is a plain file name of that folder: no '/', no "..". Every name of the map must be in its shard.
 *
 * Data lies where the file has it: any alignment, little endian like the hosts this runs on. With LOAD_MAP the pages belong
 * to the system; if somebody shortens the file while it is open, touching them raises SIGBUS. LOAD_COPY reads everything
 * into memory at open and so cannot be hurt afterwards.
 */
#ifndef REBUS_SAFETENSORS_H
#define REBUS_SAFETENSORS_H

#include "base/base.h"

enum { TENSOR_RANK = 8, TENSOR_NAME = 1024, TENSOR_MOST = 1 << 20, SHARD_MOST = 1000 };

/* name, bits an element */
#define TENSOR_TYPE_LIST(X)                                                                                                \
	X(F64, 64) X(F32, 32) X(F16, 16) X(BF16, 16) X(I64, 64) X(I32, 32) X(I16, 16) X(I8, 8) X(U64, 64) X(U32, 32) X(U16, 16)    \
	X(U8, 8) X(BOOL, 8) X(C64, 64) X(F8_E4M3, 8) X(F8_E5M2, 8) X(F8_E8M0, 8) X(F8_E4M3FNUZ, 8) X(F8_E5M2FNUZ, 8)               \
	X(F6_E2M3, 6) X(F6_E3M2, 6) X(F4, 4)

/* Values in blocks, in GGUF files only (kernels/quant.h) */
#define TENSOR_BLOCK_LIST(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K)

typedef enum {
	TENSOR_UNKNOWN,
#define X(name, bits) TENSOR_##name,
	TENSOR_TYPE_LIST(X)
#undef X
	TENSOR_TYPES,
	TENSOR_BEFORE_BLOCKS = TENSOR_TYPES - 1,
#define X(name) TENSOR_##name,
	TENSOR_BLOCK_LIST(X)
#undef X
	TENSOR_ENDS
} tensor_type;

const char *tensor_type_name(tensor_type type); /* "F32"; "unknown" */
int tensor_type_bits(tensor_type type);         /* 0 for TENSOR_UNKNOWN and blocks */
tensor_type tensor_type_parse(const char *name, size_t size); /* never a type of blocks */

typedef struct tensor_info {
	const char *name;      /* UTF-8 */
	const char *file;      /* the file it lies in, without folder */
	const char *type_text; /* the dtype as the file spells it */
	tensor_type type;
	int32_t rank; /* 0: a scalar */
	int64_t shape[TENSOR_RANK];
	const void *data;
	size_t size;     /* bytes */
	uint32_t number; /* place in safetensors_at order */
} tensor_info;

typedef struct safetensors safetensors;
typedef enum { LOAD_MAP, LOAD_COPY } safetensors_load;

/*
 * path is a file, or a folder with model.safetensors or model.safetensors.index.json. Everything but the files' bytes lies
 * in the arena, which must outlive the handle. Fails with IO, FORMAT, LIMIT or MEMORY; the arena is then as before.
 */
rebus_status safetensors_open(arena *a, const char *path, safetensors_load load, safetensors **out, rebus_error *err);
/* One file that is in memory already; data stays the caller's and must outlive the handle. name is used in messages. */
rebus_status safetensors_open_memory(arena *a, const void *data, size_t size, const char *name, safetensors **out,
                                     rebus_error *err);
/* Tensors that another reader found (gguf.h), in files that stay that reader's; shown stands for them in messages. */
struct tensor_list;
rebus_status safetensors_open_list(arena *a, const struct tensor_list *list, const char *shown, safetensors **out, rebus_error *err);
void safetensors_close(safetensors *s); /* unmaps or frees the files' bytes; NULL is fine */

/* Says that [data, data + size) will hardly be read again: pages of a mapped file leave this process's account. Other memory
 * is left alone. */
void safetensors_forget(const safetensors *s, const void *data, size_t size);

const tensor_info *safetensors_find(const safetensors *s, const char *name); /* NULL: absent */
size_t safetensors_count(const safetensors *s);
const tensor_info *safetensors_at(const safetensors *s, size_t number); /* in the order of the headers */
void tensor_shape_text(const tensor_info *t, char *out, size_t room);   /* "[2,3]" */

/*
 * Writes a file of that format, complete or not at all. Data is laid out by element size, largest first, and in the order
 * given within a size, so that every tensor is aligned; the header is padded with blanks to a multiple of 8 and says
 * "format": "pt", which transformers asks for. Fails with MISUSE for a list that no reader would take.
 */
typedef struct tensor_out {
	const char *name;
	tensor_type type; /* whole bytes an element */
	int32_t rank;
	int64_t shape[TENSOR_RANK];
	const void *data; /* NULL only if a side is 0 */
} tensor_out;
rebus_status safetensors_write(const char *path, const tensor_out *list, size_t count, rebus_error *err);

#endif
