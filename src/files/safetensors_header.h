/* safetensors_header.h - between the parser of one file's header and safetensors.c, which opens checkpoints. */
#ifndef REBUS_SAFETENSORS_HEADER_H
#define REBUS_SAFETENSORS_HEADER_H

#include "files/safetensors.h"

typedef struct tensor_node {
	tensor_info info;
	struct tensor_node *next;
	char name[]; /* info.name */
} tensor_node;

typedef struct tensor_list {
	tensor_node *first, *last; /* in the order of the headers */
	size_t count;
} tensor_list;

/* The end of a path: messages hold 255 bytes, and what matters comes after it. */
const char *safetensors_tail(const char *path);

/*
 * Appends the tensors of one file image, each checked by itself and all checked to cover the data section. file goes into
 * tensor_info.file as it is; shown stands for it in messages. On failure the list holds some of them.
 */
rebus_status safetensors_header_read(arena *a, const uint8_t *data, size_t size, const char *file, const char *shown,
                                     tensor_list *list, rebus_error *err);

#endif
