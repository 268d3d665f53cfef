/*
 * torch_file.h - pytorch_model.bin and .pth files: a zip with a pickle that says what tensors there are, and their bytes.
 *
 *     archive/data.pkl     pickle: {"name": _rebuild_tensor_v2(storage 0, offset, sides, strides, ...), ...}
 *     archive/data/0       the bytes of storage 0, stored as they are, at a multiple of 64
 *     archive/byteorder    "little" (absent in old files, which are)
 *
 * A pickle is a program. This reader is no interpreter of it: it knows the few operations that make numbers, texts, tuples,
 * lists, dictionaries and tensors, and the few names torch.save writes (torch._utils._rebuild_tensor_v2, _rebuild_parameter, torch's
 * storages, OrderedDict), which it never looks up but only compares. Anything else is refused with its name.
 */
#ifndef REBUS_TORCH_FILE_H
#define REBUS_TORCH_FILE_H

#include "files/safetensors_header.h"

typedef struct torch_bytes { /* an entry of the zip */
	const uint8_t *data;
	size_t size;
	const char *name; /* from its first slash on */
	size_t name_size;
} torch_bytes;
typedef struct torch_zip {
	const torch_bytes *list; /* [count], by name */
	size_t count;
} torch_zip;

/* torch_zip.c. An entry is found by how its name ends ("/data/0"): the first folder may have any name. */
bool torch_is_zip(const uint8_t *data, size_t size);
rebus_status torch_zip_open(arena *a, const uint8_t *data, size_t size, const char *shown, torch_zip *out, rebus_error *err);
torch_bytes torch_zip_find(const torch_zip *z, const char *ending); /* data NULL: absent */

/* torch_pickle.c. Appends the tensors of one file image, as safetensors_header_read does; data lies in the image. */
rebus_status torch_read(arena *a, const uint8_t *data, size_t size, const char *file, const char *shown, tensor_list *list, rebus_error *err);

#endif
