/*
 * trainer.h - a training run while it goes on.
 *
 *     loader ─► batch ─► objective: forward, loss, backward ─► parameters: gradients ─► optimiser ─► weights in the model
 *                                                                                          │
 *                               log.jsonl, state.safetensors, model.safetensors ◄──────────┘
 */
#ifndef REBUS_TRAINER_H
#define REBUS_TRAINER_H

#include "generate/session.h"
#include "rebus_lab.h"
#include "train/journal.h"
#include "train/loader.h"
#include "train/optimiser.h"
#include "train/train_net.h"

typedef struct score { /* of an evaluation, summed */
	double loss, right;
	int64_t count;
} score;

typedef struct objective {
	const char *name;
	rebus_status (*check)(const trainer *t, rebus_error *err); /* whether the model and the set fit it */
	prepare_item prepare;
	/* Forward, loss, backward over one batch; gradients are then where the parameters' sources say. */
	rebus_status (*pass)(trainer *t, const batch *b, double *loss, rebus_error *err);
	rebus_status (*score)(trainer *t, const batch *b, score *sum, rebus_error *err);
} objective;
extern const objective objective_classify, objective_contrast, objective_answer, objective_restore, objective_words;

struct trainer {
	arena mem, step; /* step: released after each pass */
	const recipe *r;
	rebus_model *m;
	team *team;
	rebus_runner runner;
	const objective *goal;
	samples *data, *held_out;
	loader train, test;
	train_net vision, text;
	float scale_gradient[2]; /* of two towers' scale and bias */
	int32_t draw[4]; /* graph_draw: of this pass */
	parameters list;
	const char *about;
	/* where it stands */
	int64_t number, total, in_epoch, skipped; /* steps done, of all; steps an epoch */
	double best;
	int64_t best_at, worse; /* evaluations since the best one */
	journal log;
	const rebus_train_options *options;
};

/* Saves what resuming needs; reads it back, *found false where there is none. */
rebus_status state_save(trainer *t, rebus_error *err);
rebus_status state_load(trainer *t, bool *found, rebus_error *err);
/* The folder as transformers would have saved it. */
rebus_status export_model(trainer *t, rebus_error *err);
/* New weights for the folder `from`, written to `to` with the files beside it. */
rebus_status fresh_folder(const char *from, const char *to, uint64_t seed, rebus_error *err);
/* Copies the files of a checkpoint folder that are no weights. */
rebus_status copy_folder(const char *from, const char *to, rebus_error *err);
rebus_status make_folder(const char *path, rebus_error *err);

#endif
