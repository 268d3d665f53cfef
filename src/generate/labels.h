/* labels.h - texts to choose among, and their vectors. */
#ifndef REBUS_LABELS_H
#define REBUS_LABELS_H

#include "generate/session.h"

struct rebus_labels {
	arena mem; /* holds this struct too */
	size_t count, width;
	const char *const *names; /* [count] */
	float *vectors;           /* [count, width] */
};

#endif
