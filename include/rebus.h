/*
 * rebus.h - runs vision-language transformers straight from Hugging Face checkpoint folders.
 *
 * The stable API. A model is opened once and may be shared by any number of threads; a session belongs to one thread at a
 * time and holds everything a run needs (plans, caches, scratch). Nothing is global, nothing is printed, nothing exits.
 *
 *   rebus_model   *model;    rebus_model_open("models/llava-easyvqa", NULL, &model, &err);
 *   rebus_session *session;  rebus_session_open(model, NULL, &session, &err);
 *   rebus_prompt  *prompt;   rebus_prompt_new(model, &prompt, &err);
 *   rebus_prompt_image_file(prompt, "0.png", &err);
 *   rebus_prompt_text(prompt, "what shape is in the image?", &err);
 *   rebus_answer  *answer;   rebus_ask(session, &prompt, 1, NULL, &answer, &err);
 *   puts(rebus_answer_text(answer, 0));
 *
 * Errors: every function that can fail returns a rebus_status, 0 for success, and writes what, where and what was expected
 * into the caller's rebus_error (which may be NULL). Results leave by out parameters, untouched on failure.
 * Ownership: whoever gets a handle from an open or new function releases it with the matching close or free, which accept
 * NULL. Strings and arrays returned by accessors belong to the handle they were asked of and live as long as it does.
 */
#ifndef REBUS_H
#define REBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define REBUS_API __attribute__((visibility("default")))
#else
#define REBUS_API
#endif

#define REBUS_VERSION_MAJOR 0
#define REBUS_VERSION_MINOR 1
#define REBUS_VERSION_PATCH 0

/* code, name, meaning */
#define REBUS_STATUS_LIST(X)                                                                                               \
	X(OK, 0, "done")                                                                                                   \
	X(MISUSE, 1, "the request cannot be meant")                                                                        \
	X(IO, 2, "a file cannot be read or written")                                                                       \
	X(FORMAT, 3, "a file is not what it should be")                                                                    \
	X(SHAPE, 4, "weights and configuration do not fit")                                                                \
	X(UNSUPPORTED, 5, "understood, but not something rebus does")                                                      \
	X(LIMIT, 6, "a stated limit was reached")                                                                          \
	X(MEMORY, 7, "no memory")                                                                                          \
	X(CANCELLED, 8, "the caller asked to stop")

typedef enum {
#define X(name, value, meaning) REBUS_##name = value,
	REBUS_STATUS_LIST(X)
#undef X
} rebus_status;

typedef struct rebus_error {
	rebus_status code;
	char text[256]; /* one line: what, where, what was expected */
} rebus_error;

REBUS_API const char *rebus_status_name(rebus_status code);
REBUS_API const char *rebus_status_meaning(rebus_status code);
REBUS_API const char *rebus_version(void);

/* Memory comes from here. alloc returns 64-byte aligned memory or NULL; free gets the size that was asked. Thread-safe. */
typedef struct rebus_allocator {
	void *user;
	void *(*alloc)(void *user, size_t size);
	void (*free)(void *user, void *memory, size_t size);
} rebus_allocator;

/*
 * A team of threads. run calls work(arg, i) once for every i in 0 ... threads - 1, best all at the same time (they share the work
 * as they come; one that comes late finds less to do), and returns when all are done. A session calls it once for each run of a
 * plan, and starts no threads of its own beside it.
 */
typedef struct rebus_runner {
	void *user;
	int threads;
	void (*run)(void *user, void (*work)(void *arg, int index), void *arg);
} rebus_runner;

/* ------------------------------------------------------------------------------------------------ model */
typedef struct rebus_model rebus_model;

typedef struct rebus_model_options {
	const rebus_allocator *allocator; /* NULL: malloc and free */
	bool copy;                        /* read the weights into memory instead of mapping the file */
	bool trainable;                   /* weights are copied as f32, where training changes them */
	const char *cpu;                  /* highest level to use: "portable", "avx2", "avx512", "avx512bf16", "neon"; NULL: $REBUS_CPU, else the best */
	/*
	 * What the factors of matrix products are rounded to; sums, norms, attention's softmax and outputs stay f32. "f32" (or NULL): the
	 * exact mode. "bf16": weights and activations to bfloat16. "int8": to 8 bits, with a scale for each output's weights and each row
	 * of activations. docs/numerics.md says what is lost. Weights are made ready once, when a session first runs that part.
	 */
	const char *precision;
	const char *adapter;              /* folder of a LoRA adapter in PEFT's form, computed beside the weights; NULL: none */
	int32_t patch_size;               /* FlexiViT and timm's other ViTs: patches of this size, 8 to 48; 0: the checkpoint's */
	uint8_t reserved[44];             /* zero */
} rebus_model_options;
REBUS_API rebus_model_options rebus_model_defaults(void);

/* folder: a Hugging Face checkpoint folder, a .gguf file, or ORG/NAME found in the Hugging Face cache. options NULL: the defaults. */
REBUS_API rebus_status rebus_model_open(const char *folder, const rebus_model_options *options, rebus_model **out, rebus_error *err);
REBUS_API void rebus_model_close(rebus_model *model);

/* What it can be asked for. */
typedef enum {
	REBUS_READS_PICTURES = 1,
	REBUS_READS_TEXT = 2,
	REBUS_GENERATES = 4,  /* rebus_ask */
	REBUS_CLASSIFIES = 8, /* has labels of its own */
	REBUS_TWO_TOWERS = 16 /* pictures and texts are embedded apart; rebus_classify takes labels */
} rebus_ability;
REBUS_API unsigned rebus_model_abilities(const rebus_model *model);
REBUS_API const char *rebus_model_family(const rebus_model *model); /* "llava" */
/* Things in the folder that were not understood but do no harm, one line each; NULL past the last. */
REBUS_API const char *rebus_model_warning(const rebus_model *model, size_t number);

/* ------------------------------------------------------------------------------------------------ prompt */
/*
 * What goes in: pieces in order, pictures and texts. A model that generates reads them as the content of one user message
 * (through the folder's chat template, unless raw), or as a conversation after rebus_prompt_message. Encoders read every
 * picture and every text as a row of its own. Pictures are decoded and processed when they are added.
 */
typedef struct rebus_prompt rebus_prompt;

typedef struct rebus_prompt_options {
	bool raw;             /* no chat template; pictures stand where the texts hold the model's placeholder, or in order */
	bool bare;            /* no special tokens around the text */
	int32_t height, width; /* pictures are resized to this and positions interpolated; 0: as the checkpoint says */
	bool pil;             /* the reference's PIL image processor instead of its torchvision one */
	int32_t max_patches;  /* budget of a picture's patches, for models that have one (SigLIP 2 NaFlex); 0: as the checkpoint says */
	const char *positions; /* how a position table is resampled: NULL as the reference, "bicubic", "bilinear", "antialias", "none" */
	bool mask_given;      /* mask_ratio instead of the checkpoint's, for models that drop patches at random (ViTMAE) */
	double mask_ratio;    /* share of patches that are dropped, 0 to below 1 */
	bool seed_given;      /* mask_seed instead of 0, for the same models */
	uint64_t mask_seed;   /* which ones depends on it, the picture's number in the prompt and the patch's */
	bool lists;            /* the chat template gets every message as a list of pieces, also where all is text, as conversations about pictures are written */
	uint8_t reserved[39]; /* zero */
} rebus_prompt_options;
REBUS_API rebus_prompt_options rebus_prompt_defaults(void);

REBUS_API rebus_status rebus_prompt_new(const rebus_model *model, const rebus_prompt_options *options, rebus_prompt **out, rebus_error *err);
REBUS_API void rebus_prompt_free(rebus_prompt *prompt); /* before its model is closed */
REBUS_API rebus_status rebus_prompt_text(rebus_prompt *prompt, const char *text, rebus_error *err); /* UTF-8, copied */
/* A second segment of the text just added, for models that read pairs (BERT). */
REBUS_API rebus_status rebus_prompt_pair(rebus_prompt *prompt, const char *text, rebus_error *err);
REBUS_API rebus_status rebus_prompt_image_file(rebus_prompt *prompt, const char *path, rebus_error *err);
/* An encoded picture (README.md lists the formats) in memory; read, not kept. name is used in messages. */
REBUS_API rebus_status rebus_prompt_image_bytes(rebus_prompt *prompt, const void *bytes, size_t size, const char *name, rebus_error *err);
/* 8-bit RGB rows, [height, width, 3]; read, not kept. */
REBUS_API rebus_status rebus_prompt_image_rgb(rebus_prompt *prompt, const uint8_t *rgb, int32_t height, int32_t width, rebus_error *err);
/* Starts a message of that role ("system", "user", "assistant"); pieces added from now on are its content. */
REBUS_API rebus_status rebus_prompt_message(rebus_prompt *prompt, const char *role, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ pictures ahead */
/*
 * Many pictures: decoded and processed by threads of their own while a session computes, and handed out in the order they
 * were put, each as a prompt of one picture, or as the error that stands in its place. One thread puts and takes.
 *
 *   rebus_ahead_file a, b, c ─► threads ─► rebus_ahead_next: a's prompt, then b's error, then c's prompt
 *
 * What waits takes at most `memory` bytes, besides what libjpeg and the like keep for themselves; a picture that needs more
 * goes through alone. A prompt is the same as if it had been made in place.
 */
typedef struct rebus_ahead rebus_ahead;

typedef struct rebus_ahead_options {
	int threads;          /* 0: what affinity and the container's quota give */
	size_t memory;        /* 0: 256 MiB */
	uint8_t reserved[64]; /* zero */
} rebus_ahead_options;
REBUS_API rebus_ahead_options rebus_ahead_defaults(void);

/* Either options may be NULL: the defaults. */
REBUS_API rebus_status rebus_ahead_open(const rebus_model *model, const rebus_prompt_options *prompt, const rebus_ahead_options *options, rebus_ahead **out,
                                        rebus_error *err);
/* Never waits; a file that waits costs a few KiB and is opened when its turn comes. path is copied. */
REBUS_API rebus_status rebus_ahead_file(rebus_ahead *ahead, const char *path, rebus_error *err);
/* An encoded file in memory, which must stay until it is taken. name is copied. */
REBUS_API rebus_status rebus_ahead_bytes(rebus_ahead *ahead, const void *bytes, size_t size, const char *name, rebus_error *err);
/*
 * Takes the oldest, waiting for it. Its prompt is the caller's (rebus_prompt_free, before the model is closed). Fails as
 * rebus_prompt_image_file does; that picture is then taken, too. MISUSE where nothing was put.
 */
REBUS_API rebus_status rebus_ahead_next(rebus_ahead *ahead, rebus_prompt **out, rebus_error *err);
REBUS_API size_t rebus_ahead_count(const rebus_ahead *ahead); /* put and not yet taken */
REBUS_API void rebus_ahead_close(rebus_ahead *ahead);         /* before its model is closed; waits for those at work, drops the rest */

/* ------------------------------------------------------------------------------------------------ session */
/* One thread at a time. Holds threads, plans, caches and scratch; several sessions may share a model. */
typedef struct rebus_session rebus_session;

/*
 * How rebus_embed and rebus_classify cut many inputs into runs. The results are the same; pack is the fastest, the others are
 * there to be measured: bucket runs inputs of one shape together, pad computes everything as long as the longest of a run.
 */
typedef enum { REBUS_PACK, REBUS_BUCKET, REBUS_PAD } rebus_batching;

typedef struct rebus_session_options {
	int threads;                /* 0: what affinity and the container's quota give */
	const rebus_runner *runner; /* threads of the caller's instead; copied; NULL: a team of its own */
	size_t memory;              /* bytes a run may take at most; 0: no limit. A run that would need more fails with LIMIT */
	rebus_batching batching;    /* REBUS_PACK */
	int64_t batch_tokens;       /* rows of a run at most, unless one input has more; 0: all inputs of a call are one run (a bucket: of a shape) */
	bool (*stop)(void *user);   /* asked between steps and tasks of a run, by the calling thread; true ends it with CANCELLED */
	void *user;
	uint8_t reserved[64];       /* zero */
} rebus_session_options;
REBUS_API rebus_session_options rebus_session_defaults(void);

REBUS_API rebus_status rebus_session_open(rebus_model *model, const rebus_session_options *options, rebus_session **out, rebus_error *err);
REBUS_API void rebus_session_close(rebus_session *session); /* before its model is closed */

/* ------------------------------------------------------------------------------------------------ ask */
typedef struct rebus_token_bias { /* added to a token's logit; -INFINITY forbids it */
	int32_t id;
	float value;
} rebus_token_bias;

/*
 * What an answer may be: every answer that is not cut off is a text that fits, and so is the beginning of every other. Made for
 * one model, used by any number of its sessions and threads, freed before the model is closed.
 *
 *   GBNF          llama.cpp's form: root ::= "yes" | "no" ", " [a-z]+        docs/text.md has all of it
 *   REGEX         an expression that fits the whole answer: (0[1-9]|1[0-2])/\d{2}
 *   JSON_SCHEMA   a schema: the answer is JSON text that is valid by it
 *
 * What is not supported is refused by name.
 */
typedef struct rebus_grammar rebus_grammar;
typedef enum { REBUS_GRAMMAR_GBNF, REBUS_GRAMMAR_REGEX, REBUS_GRAMMAR_JSON_SCHEMA } rebus_grammar_kind;
REBUS_API rebus_status rebus_grammar_new(const rebus_model *model, rebus_grammar_kind kind, const char *text, rebus_grammar **out, rebus_error *err);
REBUS_API void rebus_grammar_free(rebus_grammar *grammar);

/*
 * What is done to logits, in this order, as transformers does it: bias; repetition_penalty (of tokens of the prompt and the
 * answer: a positive logit divided by it, a negative one multiplied); presence and frequency penalties (of tokens of the answer:
 * logit - presence - frequency * times said, as OpenAI's interface has them); what the grammar forbids; temperature; top_k; top_p;
 * min_p.
 */
typedef struct rebus_ask_options {
	int32_t max_tokens;  /* 256 */
	float temperature;   /* 0: the most likely token each time (greedy); the default */
	int32_t top_k;       /* 0: all */
	float top_p;         /* 1: all */
	float min_p;         /* 0: all; else tokens at least so likely, relative to the most likely one */
	float repetition_penalty;                   /* 1: none */
	float presence_penalty, frequency_penalty;  /* 0: none */
	const rebus_token_bias *bias; /* [bias_count], must stay during the call */
	size_t bias_count;
	const char *const *stops;     /* [stop_count]: an answer ends before the first of these texts, which is not part of it */
	size_t stop_count;
	bool log_probabilities;       /* keep those of the new tokens, of the model's own distribution */
	uint64_t seed;
	bool ignore_eos;     /* do not stop at the end token */
	const rebus_grammar *grammar; /* what the answers may be; NULL: anything */
	/*
	 * 0 or 1: none. More: so many beginnings of an answer grow side by side, and the answer is the one of the largest sum of log-probabilities
	 * divided by length ^ length_penalty, found as transformers finds it (num_beams). early_stopping: done once so many have ended, instead of
	 * when no longer one can become better. Greedy only, and without stops, log_probabilities, grammar; the text comes at the end.
	 */
	int32_t beams;
	float length_penalty; /* 1 */
	bool early_stopping;
	/* Called for every piece of text that is final (whole characters), prompt by prompt; false ends that answer. NULL: none */
	bool (*on_text)(void *user, size_t prompt, const char *text, size_t size);
	void *user;
	uint8_t reserved[56]; /* zero */
} rebus_ask_options;
REBUS_API rebus_ask_options rebus_ask_defaults(void);

/* GRAMMAR: the text is one that fits the grammar, and nothing may follow it. */
typedef enum { REBUS_END_TOKEN, REBUS_END_LENGTH, REBUS_END_CALLER, REBUS_END_STOP, REBUS_END_GRAMMAR } rebus_end;
typedef struct rebus_answer rebus_answer;

/* All prompts run packed, in one pass of the model each step. options NULL: the defaults. */
REBUS_API rebus_status rebus_ask(rebus_session *session, rebus_prompt *const *prompts, size_t count, const rebus_ask_options *options, rebus_answer **out,
                                 rebus_error *err);
REBUS_API void rebus_answer_free(rebus_answer *answer);
REBUS_API size_t rebus_answer_count(const rebus_answer *answer);
REBUS_API const char *rebus_answer_text(const rebus_answer *answer, size_t prompt); /* without special tokens */
REBUS_API const int32_t *rebus_answer_ids(const rebus_answer *answer, size_t prompt, size_t *count); /* new ids */
/* Natural logarithms, one for each new id; NULL unless they were asked for. */
REBUS_API const float *rebus_answer_log_probabilities(const rebus_answer *answer, size_t prompt, size_t *count);
/* Seconds of the whole call until the first token of every answer could be chosen, and of all steps after that. */
REBUS_API void rebus_answer_seconds(const rebus_answer *answer, double *prefill, double *decode);
REBUS_API rebus_end rebus_answer_end(const rebus_answer *answer, size_t prompt);
REBUS_API size_t rebus_answer_prompt_tokens(const rebus_answer *answer, size_t prompt);

/* ------------------------------------------------------------------------------------------------ embed, classify */
/* Vectors of every picture and every text of the prompts, in order. Two towers: of unit length, comparable with each other. */
typedef struct rebus_vectors rebus_vectors;
REBUS_API rebus_status rebus_embed(rebus_session *session, rebus_prompt *const *prompts, size_t count, rebus_vectors **out, rebus_error *err);
REBUS_API void rebus_vectors_free(rebus_vectors *vectors);
REBUS_API const float *rebus_vectors_data(const rebus_vectors *vectors, size_t *rows, size_t *width); /* [rows, width] */

/*
 * Scores of every picture of the prompts, best first. Models with labels of their own: softmax over them; labels must be
 * NULL. Two towers: labels are the texts to choose from, as given; softmax over them.
 */
typedef struct rebus_scores rebus_scores;
REBUS_API rebus_status rebus_classify(rebus_session *session, rebus_prompt *const *prompts, size_t count, const char *const *labels, size_t label_count,
                                      rebus_scores **out, rebus_error *err);
/*
 * Labels that are read once for any number of pictures. Each template holds {} once, where the label goes; a label's vector
 * is the mean of its templates' unit vectors, of unit length again, as CLIP makes its ensembles. No templates: the labels as
 * given. Needs two towers; used with the model of the session it was made by.
 */
typedef struct rebus_labels rebus_labels;
REBUS_API rebus_status rebus_labels_new(rebus_session *session, const char *const *labels, size_t label_count, const char *const *templates,
                                        size_t template_count, rebus_labels **out, rebus_error *err);
REBUS_API void rebus_labels_free(rebus_labels *labels);
/* labels NULL: the model's own. */
REBUS_API rebus_status rebus_classify_among(rebus_session *session, rebus_prompt *const *prompts, size_t count, const rebus_labels *labels,
                                            rebus_scores **out, rebus_error *err);
REBUS_API void rebus_scores_free(rebus_scores *scores);
REBUS_API size_t rebus_scores_pictures(const rebus_scores *scores);
REBUS_API size_t rebus_scores_labels(const rebus_scores *scores);
REBUS_API const char *rebus_scores_label(const rebus_scores *scores, size_t picture, size_t rank);
REBUS_API float rebus_scores_value(const rebus_scores *scores, size_t picture, size_t rank);

#ifdef __cplusplus
}
#endif
#endif
