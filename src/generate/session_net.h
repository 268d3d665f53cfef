/* session_net.h - what session.c offers to the other files of src/generate. */
#ifndef REBUS_SESSION_NET_H
#define REBUS_SESSION_NET_H

#include "generate/session.h"

/* A net of a session. */
typedef enum { NET_TEXT, NET_VISION, NET_ENCODER } net_part;

/* Makes the net's graph and plan, unless what is there fits. */
rebus_status session_net(rebus_session *s, net_part part, net_size need, net_wants wants, rebus_error *err);
/* What its graph and plan would take, the plan's memory and their own, and the weights that would be made ready for it. */
rebus_status session_measure_net(rebus_session *s, net_part part, net_size size, size_t *bytes, rebus_error *err);

/*
 * One run of the encoder over the sequences; of its rows ("encoder_last_hidden_state") those of sequence i are row[i] ... row[i + 1].
 * row [count + 1]. a holds what the run is fed with.
 */
rebus_status session_encode(rebus_session *s, const sequence *list, int32_t count, net_wants wants, arena *a, int32_t *row, rebus_error *err);
rebus_status session_measure_encode(rebus_session *s, const sequence *list, int32_t count, arena *a, int32_t *row, size_t *plan_bytes, rebus_error *err);

#endif
