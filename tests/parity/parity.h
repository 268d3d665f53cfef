/*
 * parity.h - what the parity programs share: counted checks, fixtures, and comparing named tensors.
 *
 *   tests/parity/fixtures/NAME/  a checkpoint folder, golden.json (cases) and golden.safetensors (CASE.NAME)
 *
 * A program prints a line for each check that fails, and `N passed, N failed` last. It runs from the root of the source
 * tree; a fixture's paths are relative to its own folder, which is the working folder while the fixture is open.
 */
#ifndef TESTS_PARITY_H
#define TESTS_PARITY_H

#include "base/base.h"
#include "files/json.h"
#include "rebus.h"
#include "rebus_lab.h"

/* Counts; prints the line where ok is false. Returns ok. */
bool check(bool ok, const char *format, ...) BASE_PRINTF(2, 3);
/* The same for a call: its message is printed. */
bool check_call(rebus_status status, const rebus_error *err, const char *what);
int check_report(void); /* the last line; what main returns */

typedef struct fixture {
	const char *name;
	json *golden;
	rebus_tensors *want;
	rebus_model *model;
	rebus_session *session;
	size_t cases;
	bool generates;
} fixture;

typedef struct fixture_how {
	const char *cpu;                  /* NULL: the best */
	int threads;                      /* 0: one */
	const rebus_allocator *allocator; /* NULL: malloc */
	bool (*stop)(void *user);
	void *user;
} fixture_how;

bool fixture_open(fixture *f, const char *name, const fixture_how *how);
void fixture_close(fixture *f);
const char *fixture_case(const fixture *f, size_t i);   /* its name */
int32_t fixture_tokens(const fixture *f, size_t i);     /* max_tokens */
const char *fixture_answer(const fixture *f, size_t i); /* NULL: none */
/* NULL after a failed check. positions overrides the case's. */
rebus_prompt *fixture_prompt(const fixture *f, size_t i, const char *positions);
/* Prompts of the cases (first + k) % cases for k < count. */
bool fixture_prompts(const fixture *f, size_t first, size_t count, rebus_prompt **out);
void prompts_free(rebus_prompt **prompts, size_t count);

/* Traces and checks that it worked; names have a prefix where batch is set. */
rebus_tensors *trace_run(const fixture *f, rebus_prompt *const *prompts, size_t count, bool batch, int32_t max_tokens, const rebus_tensors *inputs);
rebus_tensors *trace_case(const fixture *f, size_t i); /* as the golden was made */

double tensor_distance(const rebus_tensor *a, const rebus_tensor *b); /* relative L2 of a from b; infinite where shapes differ */
bool tensor_same(const rebus_tensor *a, const rebus_tensor *b);       /* bits, type and shape */
int64_t tensor_count(const rebus_tensor *t);
int64_t tensor_rows(const rebus_tensor *t); /* all sides but the last, together */

extern const char *const fixture_names[]; /* NULL-terminated */

/* parity_packed.c, parity_grow.c */
void packed_checks(const char *name);
void threads_checks(const char *name);
void positions_checks(void);
void grow_checks(const char *name);

#endif
