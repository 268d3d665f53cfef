/* tensors.h - a list of named tensors being put together; see rebus_lab.h. */
#ifndef REBUS_TENSORS_H
#define REBUS_TENSORS_H

#include "base/base.h"
#include "rebus_lab.h"

enum { TENSORS_MOST = 1 << 20 };

rebus_status tensors_new(const rebus_allocator *from, rebus_tensors **out, rebus_error *err);
/* Room for a tensor's data, not cleared; NULL after a failure, which tensors_check reports. prefix "" or "3.". */
void *tensors_add(rebus_tensors *t, const char *prefix, const char *name, rebus_dtype type, int32_t rank, const int64_t *shape);
rebus_status tensors_check(const rebus_tensors *t, rebus_error *err);

#endif
