/*
 * rebus_lab.h - looking inside: trace, tokens, inspect, bench. Openly unstable: names and meanings may change in any release.
 *
 * Ownership and errors as in rebus.h.
 */
#ifndef REBUS_LAB_H
#define REBUS_LAB_H

#include "rebus.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------ named tensors */
typedef struct rebus_tensors rebus_tensors;
typedef enum { REBUS_F32, REBUS_I64 } rebus_dtype;
typedef struct rebus_tensor {
	const char *name;
	rebus_dtype type;
	int32_t rank;
	int64_t shape[8];
	const void *data; /* row-major */
} rebus_tensor;

REBUS_API rebus_status rebus_tensors_load(const char *path, rebus_tensors **out, rebus_error *err); /* F32, I64, I32 (widened) of a .safetensors file */
REBUS_API rebus_status rebus_tensors_save(const rebus_tensors *tensors, const char *path, rebus_error *err); /* .safetensors, whole or not at all */
REBUS_API void rebus_tensors_free(rebus_tensors *tensors);
REBUS_API size_t rebus_tensors_count(const rebus_tensors *tensors);
REBUS_API rebus_tensor rebus_tensors_at(const rebus_tensors *tensors, size_t number);
REBUS_API bool rebus_tensors_find(const rebus_tensors *tensors, const char *name, rebus_tensor *out);

/* ------------------------------------------------------------------------------------------------ trace, tokens */
REBUS_API size_t rebus_prompt_rows(const rebus_prompt *prompt); /* rows of the tower's token table that its pictures are */
typedef struct rebus_trace_options {
	bool hidden_states;
	int32_t max_tokens;          /* generate so many, greedily */
	bool ignore_eos;
	bool batch;                  /* names are "0.logits", "1.logits", ... even for one prompt */
	const rebus_tensors *inputs; /* replace what preprocessing gives, by name; one prompt only */
	uint8_t reserved[64];
} rebus_trace_options;
/* Inputs and outputs under the reference's names and with its shapes: one call of the reference for each prompt, all packed. */
REBUS_API rebus_status rebus_trace(rebus_session *session, rebus_prompt *const *prompts, size_t count, const rebus_trace_options *options, rebus_tensors **out,
                                   rebus_error *err);

/* The token table of a prompt, as JSON: {"ids": [...], "text": ..., "text_with_special": ..., "rows": [{...}, ...]}. */
typedef struct rebus_text rebus_text; /* an owned string */
REBUS_API rebus_status rebus_tokens_json(const rebus_model *model, rebus_prompt *prompt, rebus_text **out, rebus_error *err);
REBUS_API rebus_status rebus_tokens_table(const rebus_model *model, rebus_prompt *prompt, rebus_text **out, rebus_error *err); /* for people */
/* The folder, its parts, weights, processor pipe, memory of a run, as JSON or for people; prompt: the run to plan for, or NULL. */
REBUS_API rebus_status rebus_inspect(rebus_session *session, rebus_prompt *prompt, int32_t max_tokens, bool json, bool weights, rebus_text **out,
                                     rebus_error *err);
REBUS_API const char *rebus_text_data(const rebus_text *text, size_t *size);
REBUS_API void rebus_text_free(rebus_text *text);

/* ------------------------------------------------------------------------------------------------ counters, bench */
typedef struct rebus_counters {
	int64_t plans;           /* made since the session was opened */
	int64_t runs;            /* of plans */
	int64_t matrix_products; /* steps that were one */
	size_t planned_bytes;    /* of the plans alive: activations, caches, scratch */
} rebus_counters;
REBUS_API rebus_counters rebus_session_counters(const rebus_session *session);

/*
 * Times the parts of a prompt: the tower, the prefill, decode steps; median of `repeat` runs after one to warm up, with the
 * operations and bytes that the shapes tell. JSON, or for people.
 */
typedef struct rebus_bench_options {
	int32_t repeat;     /* 5 */
	int32_t max_tokens; /* decode steps; 32 */
	bool profile, json; /* profile: what the steps cost too, by operation and by name */
	bool shares;        /* measure this machine's peaks too (half a second, up to 256 MiB) and tell each time's share of them */
	const char *const *pictures; /* [picture_count] files whose decoding and preprocessing is timed too, in this thread alone */
	size_t picture_count;
	uint8_t reserved[64];
} rebus_bench_options;
REBUS_API rebus_status rebus_bench(rebus_session *session, rebus_prompt *const *prompts, size_t count, const rebus_bench_options *options, rebus_text **out,
                                   rebus_error *err);

/*
 * Vectors by name, as `rebus embed` writes them: PATH.npy with PATH.npy.files beside it, .safetensors or .jsonl.
 * Search gives the rows nearest to a query, best first, by the cosine of the angle between them.
 */
typedef struct rebus_index rebus_index;
REBUS_API rebus_status rebus_index_load(const char *path, rebus_index **out, rebus_error *err);
REBUS_API void rebus_index_free(rebus_index *index);
/* rows, scores [top]; found: how many were filled. threads 0: what the process may use; their number does not change the result. */
REBUS_API rebus_status rebus_index_search(const rebus_index *index, const float *query, size_t width, size_t top, int threads, size_t *rows, float *scores,
                                          size_t *found, rebus_error *err);
REBUS_API size_t rebus_index_rows(const rebus_index *index);
REBUS_API const char *rebus_index_file(const rebus_index *index, size_t row);
/*
 * Writes such a file row by row; the kind by the ending of path. Rows are kept in PATH.part until finish, also when the
 * program is killed. about: what the rows depend on besides their names (model, options). With resume the whole rows of a
 * PATH.part that says the same are kept, and `have` says how many; one that says something else fails. Without, it begins anew.
 */
typedef struct rebus_index_writer rebus_index_writer;
/* What the file holds: the numbers as they are, rounded to half precision, or as 8-bit integers with a scale a row. */
typedef enum { REBUS_STORE_F32, REBUS_STORE_F16, REBUS_STORE_INT8 } rebus_store;
REBUS_API rebus_status rebus_index_create(const char *path, rebus_store store, const char *about, bool resume, rebus_index_writer **out, size_t *have,
                                          rebus_error *err);
REBUS_API rebus_status rebus_index_add(rebus_index_writer *writer, const char *file, const float *vector, size_t width, rebus_error *err);
REBUS_API rebus_status rebus_index_finish(rebus_index_writer *writer, rebus_error *err); /* frees it, also on failure */
REBUS_API void rebus_index_abandon(rebus_index_writer *writer);                         /* frees it; PATH.part stays if it has rows */
REBUS_API const char *rebus_index_have(const rebus_index_writer *writer, size_t row);  /* the name of a row kept from before; NULL past the last */

/* ------------------------------------------------------------------------------------------------ attention */
/*
 * Where a tower looks: for the one picture of a prompt, "attentions.N" [1, heads, rows, rows] of the layer asked for or of all,
 * and "map" [patch rows, patch columns]: the class token's row of that layer and head (towers without one: the mean of all
 * rows), or the attention of all layers rolled out (Abnar & Zuidema 2020). A pooling probe is one more layer. UNSUPPORTED for
 * towers with windows.
 */
typedef struct rebus_attention_options {
	int32_t layer; /* from 0; -1: rolled out, the default */
	int32_t head;  /* from 0; -1: the mean of all, the default */
	uint8_t reserved[64];
} rebus_attention_options;
REBUS_API rebus_attention_options rebus_attention_defaults(void);
REBUS_API rebus_status rebus_attention(rebus_session *session, rebus_prompt *prompt, const rebus_attention_options *options, rebus_tensors **out,
                                       rebus_error *err);
/* The map drawn over the picture as the model saw it. */
REBUS_API rebus_status rebus_attention_png(rebus_session *session, rebus_prompt *prompt, const rebus_attention_options *options, const char *path,
                                           rebus_error *err);

/* ------------------------------------------------------------------------------------------------ tar files */
/* The regular files in a tar file (ustar, pax, GNU; not compressed), where they lie in the mapped file. */
typedef struct rebus_tar rebus_tar;
REBUS_API rebus_status rebus_tar_open(const char *path, rebus_tar **out, rebus_error *err);
/* The next one; *got false at the end. name is valid until the next call, bytes until the tar file is closed. After a failure there is no next. */
REBUS_API rebus_status rebus_tar_next(rebus_tar *tar, const char **name, const void **bytes, size_t *size, bool *got, rebus_error *err);
REBUS_API void rebus_tar_close(rebus_tar *tar);

/* ------------------------------------------------------------------------------------------------ JSON lines */
/*
 * Adds what a line of a --batch file holds, one JSON object:
 *   {"image": "a.png" or [...], "text": "..."}     {"content": [{"text": "..."}, {"image": "a.png"}, ...]}
 *   {"text": "...", "pair": "..."}                 {"content": [..., {"text": "..."}, {"pair": "..."}]}: two segments of one text
 *   {"messages": [{"role": "user", "content": "..." or [pieces]}, ...]}
 * Anything else fails with MISUSE. After a failure the prompt holds a part of the line and is of no further use.
 */
REBUS_API rebus_status rebus_prompt_json(rebus_prompt *prompt, const char *line, size_t size, rebus_error *err);
typedef enum { REBUS_PIECE_TEXT, REBUS_PIECE_IMAGE, REBUS_PIECE_PAIR } rebus_piece_kind; /* PAIR: the second segment of a text */
/* The same line, its pieces given to on_piece in order instead (roles are left out); a failure of on_piece ends it. */
REBUS_API rebus_status rebus_pieces_json(const char *line, size_t size,
                                         rebus_status (*on_piece)(void *user, rebus_piece_kind kind, const char *text, rebus_error *err),
                                         void *user, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ training */
/*
 * A recipe is everything that decides a training run: names with values, as `rebus train --help` lists them. Values from a
 * JSON file and from set add up; the last said counts.
 */
typedef struct rebus_recipe rebus_recipe;
REBUS_API rebus_status rebus_recipe_new(rebus_recipe **out, rebus_error *err);
REBUS_API void rebus_recipe_free(rebus_recipe *recipe);
REBUS_API rebus_status rebus_recipe_read(rebus_recipe *recipe, const char *path, rebus_error *err); /* a JSON object */
REBUS_API rebus_status rebus_recipe_set(rebus_recipe *recipe, const char *name, const char *value, rebus_error *err);
/* The options there are, by number; false past the last. fallback: as text, "" none. */
typedef struct rebus_recipe_option {
	const char *name, *help, *source, *words; /* words: of a choice, apart by |; NULL: a text or a number */
	double low, high, fallback;
	bool number, whole;
} rebus_recipe_option;
REBUS_API bool rebus_recipe_option_at(size_t number, rebus_recipe_option *out);

typedef struct rebus_train_state {
	int64_t step, steps, epoch, samples; /* samples: in this call */
	double seconds, loss, rate, norm;    /* of this call; of the last step: its loss, learning rate, norm of the gradient */
	bool evaluated;                      /* in this step: */
	double score, score_loss, best;      /* share that was right; mean loss; the best score so far */
	int64_t best_at, skipped;            /* the step of that; samples that could not be read */
	const char *warning;                 /* one line about this step, or NULL */
	bool resumed, finished;
} rebus_train_state;
typedef struct rebus_train_options {
	int threads;                /* 0: what affinity and the container's quota give */
	const char *cpu;            /* as in rebus_model_options */
	void (*on_step)(void *user, const rebus_train_state *state); /* after every step; NULL: none */
	bool (*stop)(void *user);   /* asked within and between steps; true saves a state and ends with CANCELLED */
	void *user;
	uint8_t reserved[64];       /* zero */
} rebus_train_options;
/* Trains until the recipe's end; goes on from OUT/state.safetensors where there is one. options NULL: the defaults. */
/* Writes the folder `out`: that model with an adapter of PEFT's form folded into its weights. Weights it changes become f32. */
REBUS_API rebus_status rebus_merge(const char *folder, const char *adapter, const char *out, rebus_error *err);
REBUS_API rebus_status rebus_train(const rebus_recipe *recipe, const rebus_train_options *options, rebus_train_state *out, rebus_error *err);

#ifdef __cplusplus
}
#endif
#endif
