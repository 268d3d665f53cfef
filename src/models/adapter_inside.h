/* adapter_inside.h - what the adapter files of src/models share. */
#ifndef REBUS_ADAPTER_INSIDE_H
#define REBUS_ADAPTER_INSIDE_H

#include <stdio.h>

#include "models/adapter.h"

/* *fits: a module begins at that part of a weight; its names, and how many parts and outputs it has. */
rebus_status adapter_module_at(struct rebus_model *m, weight *w, int32_t at, adapted_module *out, bool *fits, rebus_error *err);
rebus_status adapter_add(struct rebus_model *m, adapter_set *set, int32_t *room, const adapted_module *x, rebus_error *err);
void adapter_attach(adapter_set *set);

#endif
