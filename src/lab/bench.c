/*
 * bench.c - rebus_bench: the parts of a prompt timed apart, and the steps that cost most.
 *
 *   vision    one run of the tower over all pictures        (pictures, patch tokens a second)
 *   prefill   one run of the text model over all prompts    (tokens a second)
 *   decode    one new token for every prompt                (tokens a second)
 *
 * Every part runs once to warm up, then `repeat` times; minimum, median and maximum are given. Operations are counted from
 * the shapes of the last run: a multiply and an add are two.
 */
#include <stdlib.h>
#include <string.h>

#include "generate/sequences.h"
#include "lab/report.h"

enum { REPEAT_MOST = 1000, PROFILE_STEPS = 12 };

typedef struct timing {
	const char *part, *unit;
	double seconds[REPEAT_MOST];
	int32_t count;
	double units, flops, bytes;
} timing;

typedef struct benching {
	rebus_session *s;
	rebus_prompt *const *prompts;
	size_t count;
	const rebus_bench_options *o;
	arena a;
	rebus_text *report;
	bool first;
} benching;

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void count_cost(const plan *p, timing *t)
{
	plan_step_info s;
	t->flops = t->bytes = 0;
	for (int32_t i = 0; plan_step_at(p, i, &s); i++) {
		t->flops += s.cost.flops;
		t->bytes += s.cost.bytes;
	}
}

static void write_timing(benching *b, timing *t)
{
	buf *out = &b->report->out;
	qsort(t->seconds, (size_t)t->count, sizeof t->seconds[0], ascending);
	double low = t->seconds[0], mid = t->seconds[t->count / 2], high = t->seconds[t->count - 1];
	if (b->o->json) {
		buf_text(out, b->first ? "{" : ", {");
		report_key(out, "part");
		buf_json(out, t->part, strlen(t->part));
		buf_format(out, ", \"ms\": {\"min\": %.4f, \"median\": %.4f, \"max\": %.4f}, \"runs\": %d, \"%s_per_second\": %.2f, \"gflops_per_second\": %.3f}", low * 1e3,
			mid * 1e3, high * 1e3, t->count, t->unit, t->units / mid, t->flops / mid * 1e-9);
	} else {
		buf_format(out, "%-8s %10.3f ms  (%.3f to %.3f, %d runs)  %10.1f %s/s  %8.2f GFLOP/s\n", t->part, mid * 1e3, low * 1e3, high * 1e3, t->count, t->units / mid,
			t->unit, t->flops / mid * 1e-9);
	}
	b->first = false;
}

typedef struct costly {
	plan_step_info info;
} costly;

static int dearest(const void *a, const void *b)
{
	const costly *x = a, *y = b;
	return x->info.seconds > y->info.seconds ? -1 : x->info.seconds < y->info.seconds;
}

/* The steps of the last run that took longest. */
static rebus_status write_profile(benching *b, const plan *p, rebus_error *err)
{
	if (!b->o->profile || b->o->json)
		return REBUS_OK;
	int32_t n = plan_about(p).steps;
	costly *list = arena_get(&b->a, (size_t)n, sizeof *list);
	double total = 0;
	if (!list)
		return error_memory(err, "a profile");
	for (int32_t i = 0; i < n; i++) {
		plan_step_at(p, i, &list[i].info);
		total += list[i].info.seconds;
	}
	qsort(list, (size_t)n, sizeof *list, dearest);
	for (int32_t i = 0; i < n && i < PROFILE_STEPS; i++) {
		const plan_step_info *s = &list[i].info;
		buf_format(&b->report->out, "    %5.1f %%  %9.3f ms  %8.2f GFLOP/s  %7.2f GB/s  %-12s [%lld, %lld]  %s\n", total > 0 ? 100 * s->seconds / total : 0.0, s->seconds * 1e3,
			s->seconds > 0 ? s->cost.flops / s->seconds * 1e-9 : 0.0, s->seconds > 0 ? s->cost.bytes / s->seconds * 1e-9 : 0.0, s->op, (long long)s->rows,
			(long long)s->width, s->name ? s->name : "");
	}
	return REBUS_OK;
}

static rebus_status bench_vision(benching *b, plan_rows *features, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	run_rows rows;
	timing *t = arena_zero(&b->a, 1, sizeof *t);
	if (!t)
		return error_memory(err, "timings");
	TRY(session_pictures(b->prompts, b->count, &b->a, &list, err));
	if (!list.count)
		return REBUS_OK;
	*t = (timing){.part = "vision", .unit = "pictures", .units = list.count};
	for (int32_t i = 0; i <= b->o->repeat; i++) {
		arena scratch;
		arena_init(&scratch, b->s->m->mem.from, 0);
		double start = time_now();
		status = session_see(b->s, &list, (net_wants){0}, &scratch, &rows, err);
		double took = time_now() - start;
		arena_free(&scratch);
		if (status)
			return status;
		plan_profile(b->s->vision.p, true);
		if (i)
			t->seconds[t->count++] = took;
	}
	count_cost(b->s->vision.p, t);
	write_timing(b, t);
	TRY(write_profile(b, b->s->vision.p, err));
	session_output(&b->s->vision, "image_features", features, NULL);
done:
	return status;
}

static rebus_status bench_text(benching *b, plan_rows features, rebus_error *err)
{
	rebus_status status;
	growth g = {0};
	sequence *list;
	timing *prefill = arena_zero(&b->a, 1, sizeof *prefill), *decode = arena_zero(&b->a, 1, sizeof *decode);
	int32_t *next = arena_zero(&b->a, b->count, sizeof *next);
	if (!prefill || !decode || !next)
		return error_memory(err, "timings");
	TRY(sequences_make(b->prompts, b->count, &b->a, &list, err));
	*prefill = (timing){.part = "prefill", .unit = "tokens"};
	*decode = (timing){.part = "decode", .unit = "tokens", .units = (double)b->count};
	for (size_t i = 0; i < b->count; i++)
		prefill->units += list[i].count;
	for (int32_t i = 0; i <= b->o->repeat; i++) {
		growth_end(&g);
		double start = time_now();
		TRY(growth_begin(&g, b->s, list, (int32_t)b->count, features, b->o->max_tokens, (net_wants){0}, false, err));
		if (i)
			prefill->seconds[prefill->count++] = time_now() - start;
		plan_profile(b->s->text.p, true);
	}
	count_cost(b->s->text.p, prefill);
	write_timing(b, prefill);
	TRY(write_profile(b, b->s->text.p, err));
	for (int32_t i = 0; i < b->o->max_tokens; i++) { /* the ids do not matter to the time */
		double start = time_now();
		TRY(growth_step(&g, next, err));
		if (i && decode->count < REPEAT_MOST)
			decode->seconds[decode->count++] = time_now() - start;
	}
	if (decode->count) {
		count_cost(b->s->text.p, decode);
		write_timing(b, decode);
		TRY(write_profile(b, b->s->text.p, err));
	}
done:
	growth_end(&g);
	return status;
}

rebus_status rebus_bench(rebus_session *s, rebus_prompt *const *prompts, size_t count, const rebus_bench_options *options, rebus_text **out, rebus_error *err)
{
	rebus_bench_options o = options ? *options : (rebus_bench_options){.repeat = 5, .max_tokens = 32};
	rebus_status status;
	plan_rows features = {0};
	benching b = {.s = s, .prompts = prompts, .count = count, .o = &o, .first = true};
	arena_init(&b.a, s->m->mem.from, 0);
	if (!count || o.repeat < 1 || o.repeat > REPEAT_MOST || o.max_tokens < 0 || o.max_tokens > (1 << 20)) {
		status = error_set(err, REBUS_MISUSE, "%zu prompts, repeat %d, max_tokens %d, expected at least one, 1 to %d, 0 to %d", count, o.repeat, o.max_tokens, REPEAT_MOST, 1 << 20);
		goto done;
	}
	TRY(report_new(s->m->mem.from, &b.report, err));
	if (o.json)
		buf_format(&b.report->out, "{\"cpu\": \"%s\", \"threads\": %d, \"parts\": [", cpu_name(s->m->k->level), s->runner.threads);
	else
		buf_format(&b.report->out, "%s, %d threads, %zu prompts\n", cpu_name(s->m->k->level), s->runner.threads, count);
	if (s->m->vision.f)
		TRY(bench_vision(&b, &features, err));
	if (s->m->self.f->abilities & REBUS_GENERATES)
		TRY(bench_text(&b, features, err));
	if (b.first) {
		status = error_set(err, REBUS_MISUSE, "nothing to time: no picture and no prompt");
		goto done;
	}
	if (o.json)
		buf_text(&b.report->out, "]}\n");
	status = report_finish(b.report, out, err);
	b.report = NULL;
done:
	rebus_text_free(b.report);
	arena_free(&b.a);
	return status;
}
