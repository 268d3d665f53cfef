/* arrange.h - pictures' tokens dropped, masked, cut and put in another order, and pictures of another resolution. */
#ifndef REBUS_ARRANGE_H
#define REBUS_ARRANGE_H

#include "train/loader.h"

bool arrange_any(const recipe *r);
rebus_status arrange_check(const rebus_model *m, const recipe *r, rebus_error *err);
/* Before the picture is added: its resolution. */
void arrange_size(const rebus_model *m, item *it);
/* After it: its tokens. progress: share of the run that is done. */
rebus_status arrange_tokens(item *it, double progress, rebus_error *err);

#endif
