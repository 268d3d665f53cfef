/*
 * batching.h - how many inputs become runs: packed, by equal shape, or padded; the same vectors each way.
 *
 *     tokens of each input    5 9 5 9 5       budget 20
 *     pack                    5 9 5 | 9 5     in order, as many as the budget holds
 *     bucket                  5 5 5 | 9 9     inputs of one shape together
 *     pad                     9 9 | 9 9 | 9   in order, everything as long as the run's longest
 *
 * Pack wastes nothing and is the default. The others are what programs without packing must do, kept to be measured.
 */
#ifndef REBUS_BATCHING_H
#define REBUS_BATCHING_H

#include "generate/session.h"

typedef struct batch_item {
	int32_t learned, rows; /* rows that no padding multiplies, and the others */
	int32_t shape[2];      /* inputs of equal shape make a bucket */
} batch_item;

typedef struct batch {
	int32_t first, count; /* members: order[first] ... */
	int32_t pad_to;       /* rows of each but the learned ones; 0: as they are */
} batch;

typedef struct batch_list {
	int32_t *order; /* [inputs] */
	batch *at;      /* [count] */
	int32_t count;
	int64_t real, computed; /* rows, without and with padding */
} batch_list;

/* tokens: rows a run has at most, unless one input has more; 0: no bound. */
rebus_status batching_cut(arena *a, rebus_batching policy, int64_t tokens, const batch_item *items, int32_t count, batch_list *out, rebus_error *err);
rebus_status batching_cut_pictures(const rebus_session *s, const picture_list *list, arena *a, batch_list *out, rebus_error *err);
rebus_status batching_cut_texts(const rebus_session *s, const sequence *list, int32_t count, arena *a, batch_list *out, rebus_error *err);
/* The members of a batch. */
rebus_status batching_pictures(const batch_list *b, int32_t i, const picture_list *from, arena *a, picture_list *out, rebus_error *err);
rebus_status batching_texts(const batch_list *b, int32_t i, const sequence *from, arena *a, sequence **out, rebus_error *err);

/*
 * Runs all, as the session's options say, and gives the rows of a named output, one an input, in order. MISUSE where the
 * net has no such output.
 */
rebus_status batching_see(rebus_session *s, const picture_list *list, const char *output, arena *a, plan_rows *out, rebus_error *err);
rebus_status batching_read(rebus_session *s, const sequence *list, int32_t count, const char *output, arena *a, plan_rows *out, rebus_error *err);

#endif
