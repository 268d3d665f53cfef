/*
 * train_net.h - a net with its gradient and the plan of both. Forward and backward are parts of one plan, so that what lies
 * between (a loss over two towers, a gradient that comes from another net) is computed once both ends are there.
 *
 *     feed ─► steps of the forward nodes ─► out ...... seed ─► steps of the gradient's nodes ─► parameters' gradients
 */
#ifndef REBUS_TRAIN_NET_H
#define REBUS_TRAIN_NET_H

#include "generate/session.h"
#include "train/parameters.h"

typedef struct train_net {
	net n;
	plan *p;
	feed f;
	node_id out;         /* what the gradient begins from: a loss [1, 1], or rows that another part gives a gradient for */
	node_id seen;        /* kept for whoever scores: the logits, or out */
	node_id features;    /* of a text net: input whose gradient is wanted; 0 none */
	bool loss;           /* out is one, [1, 1], and needs no seed */
	slot target, seed_at;
	float *seed;         /* [rows of out, width], where out is no loss */
	int32_t forward;     /* steps that are forward */
	bool made, counted;  /* counted: its parameters are in the list */
	bool ran;            /* backward, in this pass */
} train_net;

typedef struct trainer trainer;
/* Finds out and seen on a net that has been built; target: made here where there is a loss. */
typedef rebus_status (*find_ends)(const trainer *t, train_net *x, rebus_error *err);

/* Makes the net for `need`, unless what is there fits; feeds it. */
rebus_status train_net_feed(trainer *t, train_net *x, bool vision, net_size need, const net_run *run, find_ends ends, rebus_error *err);
rebus_status train_net_forward(trainer *t, train_net *x, rebus_error *err);
rebus_status train_net_backward(trainer *t, train_net *x, rebus_error *err);
void train_net_end(train_net *x);

#endif
