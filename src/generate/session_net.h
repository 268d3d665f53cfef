/* session_net.h - what session.c offers to the other files of src/generate. */
#ifndef REBUS_SESSION_NET_H
#define REBUS_SESSION_NET_H

#include "generate/session.h"

/* Makes the net's graph and plan, unless what is there fits. */
rebus_status session_net(rebus_session *s, bool vision, net_size need, net_wants wants, rebus_error *err);
/* What its graph and plan would take, the plan's memory and their own, and the weights that would be made ready for it. */
rebus_status session_measure_net(rebus_session *s, bool vision, net_size size, size_t *bytes, rebus_error *err);

#endif
