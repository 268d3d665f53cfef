/* attention.h - what attention.c computes and heat_map.c draws. */
#ifndef REBUS_LAB_ATTENTION_H
#define REBUS_LAB_ATTENTION_H

#include "generate/session.h"
#include "rebus_lab.h"

typedef struct attention_map {
	int32_t rows, columns;
	float *values; /* [rows, columns] of the picture's patches, in the arena it was made in */
} attention_map;

/* The prompt's one picture through the tower, and its map. full NULL, or [layers asked] tensors are added to it. */
rebus_status attention_look(rebus_session *s, rebus_prompt *prompt, const rebus_attention_options *o, arena *a, rebus_tensors *full, attention_map *out,
                            rebus_error *err);

#endif
