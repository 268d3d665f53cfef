/* similarity.h - how much pictures and texts of two towers agree: logits = exp(scale) * <picture, text> + bias, unit vectors. */
#ifndef REBUS_SIMILARITY_H
#define REBUS_SIMILARITY_H

#include "generate/session.h"

/* pictures [pictures, width], texts [texts, width]: unit rows; out: [pictures, texts] in the arena. */
rebus_status similarity_logits(const rebus_session *s, const plan_rows *pictures, const plan_rows *texts, arena *a, plan_rows *out, rebus_error *err);

#endif
