/*
 * samples.h - what a model learns from: numbered samples, each a picture with a class or with texts.
 *
 *     idx:IMAGES,LABELS   two files of the MNIST form, plain or gzip      picture, class
 *     FOLDER              FOLDER/CLASS/FILE, classes and files by name    picture, class
 *     FILE.jsonl          {"image": FILE, "label": NAME or NUMBER}        picture, class
 *                         {"image": FILE, "text": T}                      picture, caption
 *                         {"image": FILE, "text": T, "answer": A}         a question and its answer; the picture may be missing
 *                         {"image": FILE, "messages": [{"role": R, "content": T}, ...]}
 *                         {"image": FILE, "conversations": [{"from": "human" or "gpt", "value": T}, ...]}      LLaVA's form
 *     FILE.csv, FILE.tsv  a picture and a caption or class by named columns                (samples_csv.c)
 *     FILE.tar            WebDataset shards, also PREFIX{000..012}.tar                     (samples_tar.c)
 *
 * Reading a sample is thread-safe; nothing is kept decoded.
 */
#ifndef REBUS_SAMPLES_H
#define REBUS_SAMPLES_H

#include "files/json.h"
#include "vision/picture.h"

enum { TURNS_MOST = 256 };
typedef struct turn {
	const char *role, *text; /* role: "user", "assistant", "system" */
} turn;

typedef struct sample {
	picture pic; /* pixels NULL: none */
	int32_t label; /* -1 none */
	const turn *turns; /* a caption is one turn of a user */
	int32_t turn_count;
} sample;

typedef struct samples samples;
struct samples {
	const char *name;
	int64_t count;
	const char *const *classes; /* [class_count] by number, or NULL where the set has numbers only */
	int32_t class_count;
	bool numbered; /* a class name that is no label may be a number: a table has no other way to write one */
	/* The picture's pixels lie in a. */
	rebus_status (*get)(const samples *s, int64_t i, arena *a, sample *out, rebus_error *err);
	void *own;
};

/* Everything lies in the arena. labels [label_count]: the model's classes, by which names are numbered; NULL: by the set's. */
rebus_status samples_open(arena *a, const char *spec, const char *const *labels, int32_t label_count, samples **out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ inside src/train */
rebus_status samples_idx(arena *a, const char *spec, samples *out, rebus_error *err);
rebus_status samples_folder(arena *a, const char *path, samples *out, rebus_error *err);
rebus_status samples_csv(arena *a, const char *path, samples *out, rebus_error *err);
rebus_status samples_tar(arena *a, const char *spec, const char *const *labels, int32_t label_count, samples *out, rebus_error *err);
rebus_status samples_lines(arena *a, const char *path, samples *out, rebus_error *err);

/* A sample that is a file: its name, and its class by name or number. */
typedef struct sample_file {
	const char *path, *class_name; /* path NULL: no picture */
	int32_t label;
	const turn *turns;
	int32_t turn_count;
} sample_file;
/* A line's object. folder: names of files count from it; NULL: the picture lies elsewhere, and "image" is not read. */
rebus_status samples_read_json(arena *a, const json *j, const char *folder, sample_file *out, rebus_error *err);
typedef struct sample_files {
	sample_file *at;
	int64_t count;
} sample_files;
rebus_status samples_get_file(const samples *s, int64_t i, arena *a, sample *out, rebus_error *err); /* own: sample_files */

#endif
