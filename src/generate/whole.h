/*
 * whole.h - pictures put together again after patches were dropped (He et al. 2022): what a decoder reads.
 *
 *     the encoder's rows   class 3 1 | class 0 2          whole   class . 1 . 3 | class 0 . 2 .      a dot: the mask row
 */
#ifndef REBUS_WHOLE_H
#define REBUS_WHOLE_H

#include "generate/session.h"

/* Of the pictures of a run whose rows are known; everything lies in a. rows->dropped is set. */
rebus_status whole_pictures(const tower_shape *shape, const picture_list *list, run_rows *rows, arena *a, whole_run **out, rebus_error *err);

#endif
