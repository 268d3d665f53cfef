/*
 * bench.c - rebus_bench: the parts of a prompt timed apart.
 *
 *   picture   decode and preprocess the picture files, one thread      (pictures a second)
 *   vision    one run of the tower over all pictures                   (pictures a second)
 *   text      encoders: one run of the text tower over all texts       (texts a second)
 *   prefill   one run of the text model over all prompts               (tokens a second)
 *   decode    one new token for every prompt                           (tokens a second)
 *
 * Every part runs once to warm up, then `repeat` times (decode: one growth, its first token to warm up). Steps are measured
 * in the same runs: member 0 of the team looks at the clock when it leaves a step, which it does some hundred times a run.
 * Operations and bytes are counted from the shapes of each run: a multiply and an add are two; bytes are what a step must read
 * and write at least, weights in their file's type.
 */
#include "lab/bench.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "generate/batching.h"
#include "generate/sequences.h"

typedef struct benching {
	rebus_session *s;
	rebus_prompt *const *prompts;
	size_t count;
	const rebus_bench_options *o;
	arena a;
	bench_result r;
} benching;

/* NULL: no memory */
static bench_part *add_part(benching *b, const char *name, const char *unit)
{
	bench_part *p = arena_zero(&b->a, 1, sizeof *p);
	if (p) {
		p->name = name;
		p->unit = unit;
	}
	return p;
}

/* Parts that timed nothing are not told. */
static void end_part(benching *b, bench_part *p)
{
	if (p->count)
		b->r.part[b->r.part_count++] = p;
}

static void start_lines(bench_part *p)
{
	for (int32_t i = 0; i < p->line_count; i++)
		p->lines[i] = (bench_line){0};
	p->flops = p->bytes = 0;
	p->count = 0;
}

/* The steps of one run of a plan, which stay the same from run to run. */
static rebus_status take_steps(benching *b, bench_part *p, plan *from, rebus_error *err)
{
	plan_info info = plan_about(from);
	plan_step_info s;
	if (!p->lines) {
		p->lines = arena_zero(&b->a, (size_t)info.steps, sizeof *p->lines);
		if (!p->lines)
			return error_memory(err, "a profile");
		p->line_count = info.steps;
		p->planned = info.total;
	}
	if (p->line_count != info.steps) { /* planned anew for more rows: begin again */
		p->lines = NULL;
		start_lines(p);
		return take_steps(b, p, from, err);
	}
	for (int32_t i = 0; plan_step_at(from, i, &s); i++) {
		bench_line *l = &p->lines[i];
		l->op = s.op;
		l->name = s.name;
		l->steps = 1;
		l->rows = s.rows;
		l->width = s.width;
		l->seconds += s.seconds;
		l->flops += s.cost.flops;
		l->bytes += s.cost.bytes;
		p->flops += s.cost.flops;
		p->bytes += s.cost.bytes;
	}
	return REBUS_OK;
}

static rebus_status take_run(benching *b, bench_part *p, plan *from, double seconds, rebus_error *err)
{
	rebus_status status = take_steps(b, p, from, err);
	if (!status)
		p->seconds[p->count++] = seconds;
	return status;
}

/* ------------------------------------------------------------------------------------------------ the parts */
static rebus_status bench_pictures(benching *b, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	rebus_prompt *scratch = NULL;
	bench_part *p = add_part(b, "picture", "pictures");
	if (!p)
		return error_memory(err, "timings");
	p->units = (double)b->o->picture_count;
	for (int32_t i = 0; i <= b->o->repeat; i++) {
		TRY(rebus_prompt_new(b->s->m, &b->prompts[0]->options, &scratch, err));
		double start = time_now();
		for (size_t k = 0; k < b->o->picture_count; k++)
			TRY(rebus_prompt_image_file(scratch, b->o->pictures[k], err));
		if (i)
			p->seconds[p->count++] = time_now() - start;
		rebus_prompt_free(scratch);
		scratch = NULL;
	}
	end_part(b, p);
done:
	rebus_prompt_free(scratch);
	return status;
}

/* A model that generates sees all pictures of its prompts in one run. */
static rebus_status cut_pictures(benching *b, const picture_list *list, batch_list *out, rebus_error *err)
{
	rebus_session one = *b->s;
	if (b->s->m->self.f->abilities & REBUS_GENERATES)
		one.options.batching = REBUS_PACK, one.options.batch_tokens = 0;
	return batching_cut_pictures(&one, list, &b->a, out, err);
}

static rebus_status see_batch(benching *b, bench_part *p, const picture_list *list, const batch_list *batches, int32_t k, bool timed, double *took,
                              rebus_error *err)
{
	arena scratch;
	picture_list some;
	run_rows rows;
	arena_init(&scratch, b->s->m->mem.from, 0);
	double start = time_now();
	rebus_status status = batching_pictures(batches, k, list, &scratch, &some, err);
	if (!status)
		status = session_see(b->s, &some, (net_wants){0}, &scratch, &rows, err);
	*took += time_now() - start;
	arena_free(&scratch);
	if (status)
		return status;
	plan_profile(b->s->vision.p, true);
	return timed ? take_steps(b, p, b->s->vision.p, err) : REBUS_OK;
}

static rebus_status bench_vision(benching *b, plan_rows *features, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	batch_list batches;
	bench_part *p = add_part(b, "vision", "pictures");
	if (!p)
		return error_memory(err, "timings");
	TRY(session_pictures(b->prompts, b->count, &b->a, &list, err));
	if (!list.count)
		return REBUS_OK;
	TRY(cut_pictures(b, &list, &batches, err));
	p->units = list.count;
	p->batches = batches.count;
	p->rows = batches.real;
	p->computed = batches.computed;
	for (int32_t i = 0; i <= b->o->repeat; i++) {
		double took = 0;
		for (int32_t k = 0; k < batches.count; k++)
			TRY(see_batch(b, p, &list, &batches, k, i > 0, &took, err));
		if (i)
			p->seconds[p->count++] = took;
	}
	end_part(b, p);
	session_output(&b->s->vision, "image_features", features, NULL);
done:
	return status;
}

static rebus_status read_batch(benching *b, bench_part *p, const sequence *list, const batch_list *batches, int32_t k, bool timed, double *took,
                               rebus_error *err)
{
	arena scratch;
	sequence *some;
	run_rows rows;
	arena_init(&scratch, b->s->m->mem.from, 0);
	double start = time_now();
	rebus_status status = batching_texts(batches, k, list, &scratch, &some, err);
	if (!status)
		status = session_read_padded(b->s, some, batches->at[k].count, batches->at[k].pad_to, (net_wants){0}, &scratch, &rows, err);
	*took += time_now() - start;
	arena_free(&scratch);
	if (status)
		return status;
	plan_profile(b->s->text.p, true);
	return timed ? take_steps(b, p, b->s->text.p, err) : REBUS_OK;
}

static rebus_status bench_reading(benching *b, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	int32_t texts = 0, count = 0;
	batch_list batches;
	for (size_t i = 0; i < b->count; i++)
		texts += prompt_texts(b->prompts[i]);
	if (!texts)
		return REBUS_OK;
	bench_part *p = add_part(b, "text", "texts");
	sequence *list = arena_zero(&b->a, (size_t)texts, sizeof *list);
	if (!p || !list)
		return error_memory(err, "timings");
	for (size_t i = 0; i < b->count; i++)
		for (int32_t k = 0; k < b->prompts[i]->piece_count; k++)
			if (!b->prompts[i]->pieces[k].image)
				TRY(prompt_text_ids(b->prompts[i], &b->a, &b->prompts[i]->pieces[k], false, &list[count++], err));
	p->units = count;
	TRY(batching_cut_texts(b->s, list, count, &b->a, &batches, err));
	p->batches = batches.count;
	p->rows = batches.real;
	p->computed = batches.computed;
	for (int32_t i = 0; i <= b->o->repeat; i++) {
		double took = 0;
		for (int32_t k = 0; k < batches.count; k++)
			TRY(read_batch(b, p, list, &batches, k, i > 0, &took, err));
		if (i)
			p->seconds[p->count++] = took;
	}
	end_part(b, p);
done:
	return status;
}

static rebus_status bench_text(benching *b, plan_rows features, rebus_error *err)
{
	rebus_status status;
	growth g = {0};
	sequence *list;
	bench_part *prefill = add_part(b, "prefill", "tokens"), *decode = add_part(b, "decode", "tokens");
	int32_t *next = arena_zero(&b->a, b->count, sizeof *next);
	if (!prefill || !decode || !next)
		return error_memory(err, "timings");
	TRY(sequences_make(b->prompts, b->count, &b->a, &list, err));
	for (size_t i = 0; i < b->count; i++)
		prefill->units += list[i].count;
	decode->units = (double)b->count;
	for (int32_t i = 0; i <= b->o->repeat; i++) {
		growth_end(&g);
		double start = time_now();
		TRY(growth_begin(&g, b->s, list, NULL, (int32_t)b->count, features, b->o->max_tokens, (net_wants){0}, false, err));
		double took = time_now() - start;
		plan_profile(b->s->text.p, true);
		if (i)
			TRY(take_run(b, prefill, b->s->text.p, took, err));
	}
	end_part(b, prefill);
	for (int32_t i = 0; i < b->o->max_tokens; i++) { /* the ids do not matter to the time */
		double start = time_now();
		TRY(growth_step(&g, next, err));
		double took = time_now() - start;
		if (i && decode->count < BENCH_REPEAT_MOST)
			TRY(take_run(b, decode, b->s->text.p, took, err));
	}
	end_part(b, decode);
done:
	growth_end(&g);
	return status;
}

/* ------------------------------------------------------------------------------------------------ the whole */
static size_t most_resident(void)
{
	struct rusage u;
	return getrusage(RUSAGE_SELF, &u) ? 0 : (size_t)u.ru_maxrss << 10; /* Linux counts KiB */
}

static rebus_status measure(benching *b, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const rebus_model *m = b->s->m;
	plan_rows features = {0};
	b->r = (bench_result){.cpu = cpu_name(m->k->level), .threads = b->s->runner.threads, .prompts = b->count};
	b->r.precision = model_precision(m);
	if (b->o->picture_count)
		TRY(bench_pictures(b, err));
	if (m->vision.f)
		TRY(bench_vision(b, &features, err));
	if (m->self.f->abilities & REBUS_GENERATES)
		TRY(bench_text(b, features, err));
	else if (m->text.f)
		TRY(bench_reading(b, err));
	if (!b->r.part_count) {
		status = error_set(err, REBUS_MISUSE, "nothing to time: no picture and no prompt");
		goto done;
	}
	b->r.resident = most_resident(); /* before the peaks take their buffer */
	for (size_t i = 0; i < safetensors_count(m->weights); i++)
		b->r.weights += safetensors_at(m->weights, i)->size;
	if (b->o->shares)
		TRY(peaks_measure(&b->s->runner, m->k->level, packs_precision(m->ready), m->mem.from, &b->r.peak, err));
	b->r.ready = packs_bytes(m->ready);
	b->r.measured = b->o->shares;
done:
	return status;
}

rebus_status rebus_bench(rebus_session *s, rebus_prompt *const *prompts, size_t count, const rebus_bench_options *options, rebus_text **out, rebus_error *err)
{
	rebus_bench_options o = options ? *options : (rebus_bench_options){.repeat = 5, .max_tokens = 32};
	rebus_status status;
	rebus_text *report = NULL;
	benching b = {.s = s, .prompts = prompts, .count = count, .o = &o};
	arena_init(&b.a, s->m->mem.from, 0);
	if (!count || o.repeat < 1 || o.repeat > BENCH_REPEAT_MOST || o.max_tokens < 0 || o.max_tokens > (1 << 20)) {
		status = error_set(err, REBUS_MISUSE, "%zu prompts, repeat %d, max_tokens %d, expected at least one, 1 to %d, 0 to %d", count, o.repeat,
			o.max_tokens, BENCH_REPEAT_MOST, 1 << 20);
		goto done;
	}
	TRY(measure(&b, err));
	TRY(report_new(s->m->mem.from, &report, err));
	TRY(bench_write(&b.r, o.json, o.profile, &b.a, &report->out, err));
	status = report_finish(report, out, err);
	report = NULL;
done:
	rebus_text_free(report);
	arena_free(&b.a);
	return status;
}
