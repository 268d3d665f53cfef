/* sequences.h - from prompts of a model that generates to the sequences and picture features of a run. */
#ifndef REBUS_SEQUENCES_H
#define REBUS_SEQUENCES_H

#include "generate/session.h"

/* One sequence a prompt, in the arena. */
rebus_status sequences_make(rebus_prompt *const *prompts, size_t count, arena *a, sequence **out, rebus_error *err);
/* The features of all their pictures, in order; no rows where there are none. They stay valid until the next session_see. */
rebus_status sequences_features(rebus_session *s, rebus_prompt *const *prompts, size_t count, net_wants wants, arena *a, plan_rows *out, rebus_error *err);

#endif
