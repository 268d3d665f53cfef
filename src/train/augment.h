/* augment.h - changes of a training picture, on its 8-bit pixels, before the model's own processor. */
#ifndef REBUS_AUGMENT_H
#define REBUS_AUGMENT_H

#include "train/recipe.h"
#include "vision/picture.h"

/* In place. at: the sample's number counted over all epochs, which with the recipe's seed decides everything. */
rebus_status augment_picture(const recipe *r, uint64_t at, arena *a, picture *p, rebus_error *err);

#endif
