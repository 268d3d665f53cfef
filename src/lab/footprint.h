/* footprint.h - the memory that a run of a prompt will need, said in the parts it consists of. */
#ifndef REBUS_FOOTPRINT_H
#define REBUS_FOOTPRINT_H

#include "generate/session.h"

typedef struct footprint { /* bytes */
	size_t program;  /* resident now and what a run adds to it besides the parts below */
	size_t pictures; /* what the tower is fed with */
	size_t vision;   /* the tower's graph and plan */
	size_t words;    /* what the text model is fed with, sampling, the answer */
	size_t text;     /* the text model's graph and plan, its cache in it */
	size_t before;   /* the most that opening the model and preparing the prompt took, as far as the system tells */
	size_t total;    /* the most there will be: before, or the sum of the others */
	size_t weights;  /* of the files; mapped ones are the system's pages and in none of the others */
	bool run;        /* a run was measured */
} footprint;

/* prompt NULL: no run. */
rebus_status footprint_measure(rebus_session *s, rebus_prompt *prompt, int32_t max_tokens, footprint *out, rebus_error *err);

#endif
