/*
 * session.h - what a session holds, and its two kinds of runs: pictures through the tower, sequences through the text model.
 *
 *     pictures of all prompts ─► one table, one run of the vision net ─► features, embeddings, logits
 *     sequences of all prompts ─► one table, one run of the text net  ─► embeddings or logits; then one run a new token
 *
 * A net is planned for maxima; it is made again only when a run needs more, or other outputs, than it was made for.
 */
#ifndef REBUS_SESSION_H
#define REBUS_SESSION_H

#include "generate/prompt.h"
#include "graph/graph.h"

typedef struct run_net {
	net n;
	plan *p;
	bool made;
	bool raw; /* its plan reads weights as they lie that could be made ready: after the first run of few rows */
} run_net;

struct rebus_session {
	const rebus_model *m;
	arena mem;
	team *team; /* NULL: the caller's runner */
	rebus_runner runner;
	rebus_session_options options;
	run_net vision, encoder, text; /* encoder: of the prompt, where the text net does not read it */
	int64_t plans;
	plan_count gone; /* counts of plans that were made again */
};

/* Rows of sequence i in a run: [row[i], row[i + 1]) of the table, [picked[i], picked[i + 1]) of what heads saw. */
typedef struct run_rows {
	int32_t count;
	int32_t *row, *picked; /* [count + 1] */
	int32_t *padded;        /* [count]: rows that the reference fills sequence i up to; NULL: to the longest */
	int32_t *patch;         /* [count + 1]: rows of the patches of picture i; NULL: of texts */
	const int32_t *dropped; /* [rows of patches]: 1 where the patch was dropped; NULL: nothing is restored */
	const pyramid *windows; /* rows of later stages; NULL: there are none */
} run_rows;

typedef struct picture_list {
	const grid_picture **at; /* [count] */
	int32_t count;
	int32_t pad_to; /* every picture gets so many patches, the rest is padding that nobody sees; 0: none */
} picture_list;

/* Every picture of every prompt, prompt by prompt. */
rebus_status session_pictures(rebus_prompt *const *prompts, size_t count, arena *a, picture_list *out, rebus_error *err);
/* What a run of the vision net over these pictures is fed with, and the maxima it needs; all of it lies in a. */
rebus_status session_sight(const rebus_model *m, const picture_list *list, arena *a, run_rows *rows, net_size *need, net_run *out, rebus_error *err);
/* One run of the vision net; a holds what the run is fed with and rows. */
rebus_status session_see(rebus_session *s, const picture_list *list, net_wants wants, arena *a, run_rows *rows, rebus_error *err);
/* What session_see takes: fills the arena as it does, and says what its graph and plan would be. */
rebus_status session_measure_see(rebus_session *s, const picture_list *list, arena *a, size_t *plan_bytes, rebus_error *err);
/* What a run of the text net over texts of an encoder is fed with, and the maxima it needs; all of it lies in a. */
rebus_status session_reading(const rebus_model *m, const sequence *list, int32_t count, arena *a, run_rows *rows, net_size *need, net_run *out,
                             rebus_error *err);
/* One run of the text net over texts of an encoder, nothing cached. */
rebus_status session_read(rebus_session *s, const sequence *list, int32_t count, net_wants wants, arena *a, run_rows *rows, rebus_error *err);
/* The same, every text padded to so many rows at least. */
rebus_status session_read_padded(rebus_session *s, const sequence *list, int32_t count, int32_t pad_to, net_wants wants, arena *a, run_rows *rows,
                                 rebus_error *err);
rebus_status session_measure_read(rebus_session *s, const sequence *list, int32_t count, arena *a, size_t *plan_bytes, rebus_error *err);
/* FORMAT where something of a result is not a number, or infinite: broken weights must not look like an answer. */
rebus_status session_numbers(const plan_rows *x, const char *what, rebus_error *err);
/* A named output of the last run; false if the net has none of that name. */
bool session_output(const run_net *r, const char *name, plan_rows *out, output_kind *kind);

/* ------------------------------------------------------------------------------------------------ generation */
enum { BEAMS_MOST = 64 };
/* Sequences that grow: prefill once, then a row for each that is still running. */
typedef struct growth {
	rebus_session *s;
	int32_t count, beams; /* sequences; so many in a row grow out of one prompt */
	const sequence *list;
	int32_t *memory;              /* with an encoder: [prompts + 1], its rows of each prompt; else NULL */
	int32_t *cache_order;         /* [rows of the cache, 3]: places, for biases by distance; else NULL */
	int32_t **grown;              /* [count][max]: what came after the prompts, where a sequence may have to be read again; else NULL */
	int32_t *region, *past, *row; /* [count], [count], [count + 1] rows of the last run */
	int64_t step_rows;            /* the most a step has */
	bool all;                     /* heads saw every row of the prefill */
	int32_t *logits_at;           /* [count]: row of "logits" that tells the next token, -1: not in the last run */
	arena fixed, step;            /* step: reserved once, released every step */
	arena_mark step_mark;
} growth;

/*
 * pictures: features were made by session_see, rows in the order of the sequences' pictures. max_tokens: how far each grows.
 * With an encoder it reads the list, and what grows begins as starts has it (NULL: with the family's first id).
 */
rebus_status growth_begin(growth *g, rebus_session *s, const sequence *list, const sequence *starts, int32_t count, plan_rows features, int32_t max_tokens,
	net_wants wants, bool all, rebus_error *err);
/* The same, and out of each prompt grow so many sequences: sequence i out of prompt i / beams. It is read once. */
rebus_status growth_begin_beams(growth *g, rebus_session *s, const sequence *list, int32_t count, plan_rows features, int32_t max_tokens, int32_t beams,
                                rebus_error *err);
/* Sequence first + i of a prompt goes on from where first + parent[i] is. */
void growth_select(growth *g, int32_t first, const int32_t *parent);
/* What growth_begin takes, as session_measure_see. */
rebus_status growth_measure(rebus_session *s, const sequence *list, int32_t count, int64_t feature_rows, int32_t max_tokens, arena *a, size_t *plan_bytes,
                            rebus_error *err);
/* One more token for every sequence with id[i] >= 0. Allocates nothing, plans nothing. */
rebus_status growth_step(growth *g, const int32_t *id, rebus_error *err);
const float *growth_logits(const growth *g, int32_t i, int64_t *width);
void growth_end(growth *g);

#endif
