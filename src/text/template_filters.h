/* template_filters.h - what the table of filters and the filters over sequences know of each other. */
#ifndef REBUS_TEXT_TEMPLATE_FILTERS_H
#define REBUS_TEXT_TEMPLATE_FILTERS_H

#include "text/template_inside.h"

typedef rebus_status filter_run(template_run *r, value on, const value *at, value *out);               /* `at` as the table names them */
typedef rebus_status filter_free(template_run *r, value on, const template_args *args, value *out);

bool template_given(value v); /* neither missing nor None */
rebus_status template_want_int(template_run *r, value v, int64_t missing, int64_t *out);

filter_run sequence_batch, sequence_dictsort, sequence_first, sequence_groupby, sequence_items, sequence_join, sequence_last,
	sequence_length, sequence_list, sequence_max, sequence_min, sequence_reverse, sequence_slice, sequence_sort, sequence_sum,
	sequence_unique;
filter_free sequence_format, sequence_map, sequence_reject, sequence_rejectattr, sequence_select, sequence_selectattr;

#endif
