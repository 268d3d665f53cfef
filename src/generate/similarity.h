/* similarity.h - how much pictures and texts of two towers agree: logits = exp(scale) * <picture, text> + bias, unit vectors. */
#ifndef REBUS_SIMILARITY_H
#define REBUS_SIMILARITY_H

#include "generate/session.h"

/* Of the last runs of both towers: [pictures, texts] in the arena. */
rebus_status similarity_logits(rebus_session *s, arena *a, plan_rows *out, rebus_error *err);

#endif
