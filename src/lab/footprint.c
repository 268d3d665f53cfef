/*
 * footprint.c - measuring what a run will need, before it runs.
 *
 * A run adds to what the process has already, and gives nothing back until it is done:
 *
 *     bytes │                                   ┌──────────  text: graph, plan, cache
 *           │                         ┌─────────┘ words: ids, token table, maps, sampling, answer
 *           │   ╭─╮ decoding    ┌─────┘ vision: graph, plan
 *           │  ╭╯ ╰╮ a picture ┌┘ pictures: patches, token table, maps
 *           │──╯   ╰───────────┘ program
 *           └────────────────────────────────────────────► time
 *
 * The parts on the right are counted: the run's own functions lay everything out in an arena, build the graphs and make the
 * plans as usual, through an allocator that counts, but take no plan's memory and compute nothing. The left is what the system
 * says of this process (Linux: /proc), where mapped weights are subtracted: pages of the checkpoint's files belong to the
 * system, which takes them back when it needs room. Elsewhere the left is 0 and only what is counted is said.
 */
#include "lab/footprint.h"

#include <stdio.h>
#include <string.h>

#include "generate/sequences.h"

/* What a thread's stack may grow by in a run, its kernels' frames in it. */
enum { STACK = 48 << 10 };

/* ------------------------------------------------------------------------------------------------ the process */
typedef struct process {
	size_t now, most; /* resident, and the most there was */
	size_t weights;   /* mapped weights that are resident */
	size_t code;      /* of this library's, not read in so far */
} process;

typedef struct mapping {
	uintptr_t from, to;
	bool file;
	char path[256]; /* the beginning */
} mapping;

static bool parse_mapping(const char *line, mapping *m)
{
	unsigned long from, to, inode;
	int path = 0;
	if (sscanf(line, "%lx-%lx %*4s %*x %*s %lu %n", &from, &to, &inode, &path) < 3)
		return false;
	*m = (mapping){.from = from, .to = to, .file = inode != 0};
	snprintf(m->path, sizeof m->path, "%s", path ? line + path : "");
	return true;
}

/* Do tensors lie in it? Files of the Hugging Face cache have any name, so the name does not tell. */
static bool holds_weights(const mapping *m, const safetensors *s)
{
	for (size_t i = 0; m->file && i < safetensors_count(s); i++) {
		uintptr_t at = (uintptr_t)safetensors_at(s, i)->data;
		if (at >= m->from && at < m->to)
			return true;
	}
	return false;
}

static void look_at_mappings(const safetensors *s, process *out)
{
	char line[512], own[sizeof((mapping *)0)->path] = "";
	uintptr_t here = (uintptr_t)footprint_measure;
	/* The first time finds whose code this is, the second what of it is missing. */
	for (int round = 0; round < 2; round++) {
		mapping m = {0};
		bool weights = false;
		FILE *f = fopen("/proc/self/smaps", "re");
		while (f && fgets(line, sizeof line, f)) {
			unsigned long kb;
			if (parse_mapping(line, &m)) {
				weights = round && holds_weights(&m, s);
				if (here >= m.from && here < m.to)
					memcpy(own, m.path, sizeof own);
			} else if (round && sscanf(line, "Rss: %lu kB", &kb) == 1) {
				size_t size = m.to - m.from, there = (size_t)kb << 10;
				if (weights)
					out->weights += there;
				else if (m.file && own[0] && !strcmp(own, m.path) && there < size)
					out->code += size - there;
			}
		}
		if (f)
			fclose(f);
	}
}

static process look_at_process(const safetensors *s)
{
	process p = {0};
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long kb;
		if (sscanf(line, "VmRSS: %lu kB", &kb) == 1)
			p.now = (size_t)kb << 10;
		else if (sscanf(line, "VmHWM: %lu kB", &kb) == 1)
			p.most = (size_t)kb << 10;
	}
	if (f)
		fclose(f);
	if (p.now)
		look_at_mappings(s, &p);
	return p;
}

/* ------------------------------------------------------------------------------------------------ the run */
static rebus_status measure_pictures(rebus_session *s, rebus_prompt *prompt, footprint *out, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	arena a;
	arena_init(&a, s->m->mem.from, 0);
	TRY(session_pictures(&prompt, 1, &a, &list, err));
	if (list.count)
		TRY(session_measure_see(s, &list, &a, &out->vision, err));
	out->pictures = list.count ? a.total : 0;
done:
	arena_free(&a);
	return status;
}

static rebus_status measure_answer(rebus_session *s, rebus_prompt *prompt, int32_t max_tokens, footprint *out, rebus_error *err)
{
	rebus_status status;
	sequence *list;
	int64_t features = 0;
	arena a;
	arena_init(&a, s->m->mem.from, 0);
	TRY(sequences_make(&prompt, 1, &a, &list, err));
	for (int32_t i = 0; i < prompt->picture_count; i++)
		features += prompt_feature_rows(s->m, &prompt->pictures[i]);
	TRY(growth_measure(s, list, 1, features, max_tokens, &a, &out->text, err));
	const text_shape *w = s->m->text.f->words(s->m->text.config);
	size_t sampling = (size_t)w->vocabulary * (2 * sizeof(float) + 3 * sizeof(int32_t)), answer = (size_t)max_tokens * (2 * sizeof(int32_t) + 16);
	out->words = a.total + sampling + answer;
done:
	arena_free(&a);
	return status;
}

static rebus_status measure_texts(rebus_session *s, rebus_prompt *prompt, footprint *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	int32_t count = 0;
	arena a;
	arena_init(&a, s->m->mem.from, 0);
	sequence *list = arena_zero(&a, (size_t)prompt_texts(prompt), sizeof *list);
	if (!list)
		status = error_memory(err, "texts");
	for (int32_t i = 0; !status && i < prompt->piece_count; i++)
		if (!prompt->pieces[i].image)
			status = prompt_text_ids(prompt, &a, &prompt->pieces[i], false, &list[count++], err);
	if (!status && count)
		status = session_measure_read(s, list, count, &a, &out->text, err);
	out->words = status ? 0 : a.total;
	arena_free(&a);
	return status;
}

rebus_status footprint_measure(rebus_session *s, rebus_prompt *prompt, int32_t max_tokens, footprint *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	footprint x = {.run = prompt && prompt->piece_count};
	if (x.run && s->m->vision.f)
		TRY(measure_pictures(s, prompt, &x, err));
	if (x.run && s->m->self.f->abilities & REBUS_GENERATES)
		TRY(measure_answer(s, prompt, max_tokens, &x, err));
	else if (x.run && s->m->text.f)
		TRY(measure_texts(s, prompt, &x, err));
	process p = look_at_process(s->m->weights);
	x.program = p.now ? p.now - p.weights + (x.run ? p.code + (size_t)s->runner.threads * STACK : 0) : 0;
	x.before = p.most > p.weights ? p.most - p.weights : 0;
	x.total = x.program + x.pictures + x.vision + x.words + x.text;
	if (x.before > x.total)
		x.total = x.before;
	for (size_t i = 0; i < safetensors_count(s->m->weights); i++)
		x.weights += safetensors_at(s->m->weights, i)->size;
	*out = x;
done:
	return status;
}
