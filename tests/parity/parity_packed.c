/*
 * parity_packed.c - prompts of one run against the same prompts alone, and one number of threads against another.
 *
 * The cases of a fixture differ in pictures, patch grids, lengths and options; packed they are one run of one plan. A row's
 * result has the same bits wherever it stands, but that a matrix product of fewer than 8 rows may sum in another order than
 * one of more. So a tensor whose run had 8 rows or more alone must be the same to the bit, another to relative L2 1e-6.
 */
#include "parity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, MOST = 16 };
static const double NEAR = 1e-6;

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* Rows of the matrix products of a single call that a tensor comes of. */
static int64_t product_rows(const rebus_tensor *x)
{
	return starts(x->name, "generated_logits") ? 1 : tensor_rows(x);
}

static void compare_one(const fixture *f, const rebus_tensors *packed, const rebus_tensors *single, size_t at, size_t count, size_t of)
{
	for (size_t k = 0; k < rebus_tensors_count(single); k++) {
		char name[160];
		rebus_tensor x = rebus_tensors_at(single, k), y;
		snprintf(name, sizeof name, "%zu.%s", at, x.name);
		if (!check(rebus_tensors_find(packed, name, &y), "%s %s of %zu: %s: missing", f->name, fixture_case(f, of), count, name))
			continue;
		bool bits = x.type == REBUS_I64 || !strcmp(x.name, "pixel_values") || product_rows(&x) >= ROWS;
		double d = x.type == REBUS_F32 ? tensor_distance(&y, &x) : 0;
		check(bits ? tensor_same(&y, &x) : d <= NEAR, "%s %s as one of %zu: %s: relative L2 %.3g from the run alone%s", f->name, fixture_case(f, of),
			  count, x.name, d, bits ? ", expected the same bits" : "");
	}
}

/* `count` prompts in one run, beginning with case `first`, and each alone. */
static void pack(const fixture *f, size_t first, size_t count)
{
	rebus_prompt *prompts[MOST];
	if (!fixture_prompts(f, first, count, prompts))
		return;
	rebus_tensors *packed = trace_run(f, prompts, count, true, fixture_tokens(f, 0), NULL);
	prompts_free(prompts, count);
	for (size_t k = 0; packed && k < count && k < f->cases; k++) {
		rebus_tensors *single = trace_case(f, first + k);
		if (single)
			compare_one(f, packed, single, k, count, first + k);
		rebus_tensors_free(single);
	}
	rebus_tensors_free(packed);
}

/* The embeddings of rebus_embed: all in one run, each alone. */
static void pack_vectors(const fixture *f)
{
	rebus_prompt *prompts[MOST];
	rebus_vectors *all = NULL;
	rebus_error err = {0};
	size_t rows, width, at = 0;
	if (f->generates || !fixture_prompts(f, 0, f->cases, prompts))
		return;
	if (check_call(rebus_embed(f->session, prompts, f->cases, &all, &err), &err, f->name)) {
		const float *x = rebus_vectors_data(all, &rows, &width);
		bool pictures_only = !(rebus_model_abilities(f->model) & REBUS_READS_TEXT);
		for (size_t i = 0; i < f->cases && pictures_only; i++) {
			rebus_vectors *one = NULL;
			size_t n, w;
			if (!check_call(rebus_embed(f->session, &prompts[i], 1, &one, &err), &err, f->name))
				continue;
			const float *y = rebus_vectors_data(one, &n, &w);
			rebus_tensor a = {.rank = 2, .shape = {(int64_t)n, (int64_t)w}, .data = x + at * width}, b = a;
			b.data = y;
			check(w == width && at + n <= rows && tensor_distance(&a, &b) <= NEAR, "%s: embeddings of case %zu differ from the run alone", f->name,
				  i);
			at += n;
			rebus_vectors_free(one);
		}
		check(!pictures_only || at == rows, "%s: %zu embeddings packed, %zu alone", f->name, rows, at);
	}
	rebus_vectors_free(all);
	prompts_free(prompts, f->cases);
}

/*
 * Every policy of batching gives the vectors of one packed run; all cases twice, so that a bucket has several. Padding in
 * front of windows would change what they see, and is refused.
 */
static void batching_checks(const fixture *f)
{
	static const struct {
		rebus_batching policy;
		int64_t tokens;
	} ways[] = {{REBUS_PACK, 60}, {REBUS_BUCKET, 0}, {REBUS_BUCKET, 60}, {REBUS_PAD, 0}, {REBUS_PAD, 60}};
	rebus_prompt *prompts[MOST];
	rebus_vectors *all = NULL;
	rebus_error err = {0};
	size_t count = 2 * f->cases, rows, width, rows_now, width_now;
	if (f->generates || count > MOST || !fixture_prompts(f, 0, count, prompts))
		return;
	bool windows = strstr(rebus_model_family(f->model), "swin") != NULL;
	for (size_t w = 0; check_call(rebus_embed(f->session, prompts, count, &all, &err), &err, f->name) && w < COUNT_OF(ways); w++) {
		rebus_session_options o = rebus_session_defaults();
		rebus_session *s = NULL;
		rebus_vectors *one = NULL;
		o.threads = 1;
		o.batching = ways[w].policy;
		o.batch_tokens = ways[w].tokens;
		if (!check_call(rebus_session_open(f->model, &o, &s, &err), &err, f->name))
			break;
		rebus_status status = rebus_embed(s, prompts, count, &one, &err);
		if (!(windows && o.batching == REBUS_PAD && status == REBUS_UNSUPPORTED) && check_call(status, &err, f->name)) {
			const float *x = rebus_vectors_data(all, &rows, &width), *y = rebus_vectors_data(one, &rows_now, &width_now);
			rebus_tensor a = {.rank = 2, .shape = {(int64_t)rows, (int64_t)width}, .data = x},
			             b = {.rank = 2, .shape = {(int64_t)rows_now, (int64_t)width_now}, .data = y};
			double d = tensor_distance(&b, &a);
			check(d <= NEAR, "%s: batching %d of %d tokens: relative L2 %.3g from one packed run", f->name, (int)o.batching, (int)o.batch_tokens, d);
		}
		rebus_vectors_free(one);
		rebus_session_close(s);
		rebus_vectors_free(all);
		all = NULL;
	}
	rebus_vectors_free(all);
	prompts_free(prompts, count);
}

void packed_checks(const char *name)
{
	fixture f;
	if (!fixture_open(&f, name, NULL))
		return;
	pack(&f, 0, f.cases);
	pack(&f, 1, 2);
	pack(&f, 0, 11); /* from 8 on a step of the decoder has 8 rows */
	pack_vectors(&f);
	batching_checks(&f);
	fixture_close(&f);
}

/* ------------------------------------------------------------------------------------------------ threads */
static rebus_tensors *trace_all(const char *name, const fixture_how *how)
{
	fixture f;
	rebus_prompt *prompts[MOST];
	rebus_tensors *out = NULL;
	if (!fixture_open(&f, name, how))
		return NULL;
	if (fixture_prompts(&f, 0, f.cases, prompts)) {
		out = trace_run(&f, prompts, f.cases, true, fixture_tokens(&f, 0), NULL);
		prompts_free(prompts, f.cases);
	}
	fixture_close(&f);
	return out;
}

void threads_checks(const char *name)
{
	static const int threads[] = {2, 3, 8};
	static const char *const levels[] = {"portable", NULL};
	for (size_t v = 0; v < COUNT_OF(levels); v++) {
		rebus_tensors *one = trace_all(name, &(fixture_how){.cpu = levels[v], .threads = 1});
		for (size_t i = 0; one && i < COUNT_OF(threads); i++) {
			rebus_tensors *many = trace_all(name, &(fixture_how){.cpu = levels[v], .threads = threads[i]});
			size_t n = many ? rebus_tensors_count(many) : 0;
			check(n == rebus_tensors_count(one), "%s: other outputs at %d threads", name, threads[i]);
			for (size_t k = 0; k < n; k++) {
				rebus_tensor x = rebus_tensors_at(one, k), y = rebus_tensors_at(many, k);
				check(tensor_same(&x, &y), "%s: %s: other bits at %d threads than at one", name, x.name, threads[i]);
			}
			rebus_tensors_free(many);
		}
		rebus_tensors_free(one);
	}
}

/* ------------------------------------------------------------------------------------------------ positions */
/* Each prompt of a run has its own way to resample positions. */
void positions_checks(void)
{
	static const char *const ways[] = {NULL, "bilinear", "antialias", "bicubic"};
	enum { COUNT = COUNT_OF(ways) };
	fixture f;
	rebus_prompt *prompts[COUNT];
	rebus_tensor x, first = {0};
	size_t made = 0;
	if (!fixture_open(&f, "vit-v5", NULL))
		return;
	while (made < COUNT && (prompts[made] = fixture_prompt(&f, 2, ways[made])))
		made++;
	rebus_tensors *all = made == COUNT ? trace_run(&f, prompts, COUNT, true, 0, NULL) : NULL;
	for (size_t i = 0; all && i < COUNT; i++) {
		char name[64];
		snprintf(name, sizeof name, "%zu.last_hidden_state", i);
		rebus_tensors *one = trace_run(&f, &prompts[i], 1, false, 0, NULL);
		rebus_tensor y;
		if (one && check(rebus_tensors_find(all, name, &x) && rebus_tensors_find(one, "last_hidden_state", &y), "positions: no %s", name)) {
			check(tensor_same(&x, &y), "positions %s: packed differs from alone", ways[i] ? ways[i] : "as the reference");
			if (!i)
				first = x;
			else
				check(tensor_same(&x, &first) == (i == 3), "positions %s: %s as the reference's bicubic", ways[i], i == 3 ? "not" : "the same");
		}
		rebus_tensors_free(one);
	}
	rebus_tensors_free(all);
	prompts_free(prompts, made);
	fixture_close(&f);
}
