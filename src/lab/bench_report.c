/*
 * bench_report.c - the measured parts as text or as JSON.
 *
 *   steps ──group by operation──► linear, attend, layer_norm ...
 *         ──group by name──────► vit.encoder.layer.*.intermediate.dense ...   (numbers between dots become *)
 *
 * A share is the time that the machine's peaks would need at least, of the time it took; the peak that needs longer bounds it.
 * What no step accounts for (feeding the run, waking the team) is told as "outside".
 */
#include "lab/bench.h"

#include <stdlib.h>
#include <string.h>

enum { PROFILE_LINES = 12 };

typedef struct roofed { /* a time beside its roof */
	double seconds, flops, bytes;
	const char *bound;
	double share; /* 0: not known */
} roofed;

static roofed under_roof(const bench_result *r, double seconds, double flops, double bytes)
{
	roofed x = {seconds, flops, bytes, "arithmetic", 0};
	if (!r->measured)
		return x;
	double arithmetic = flops / r->peak.flops, reading = bytes / r->peak.bytes;
	if (reading > arithmetic)
		x.bound = "reading";
	x.share = seconds > 0 ? (reading > arithmetic ? reading : arithmetic) / seconds : 0;
	return x;
}

/* ------------------------------------------------------------------------------------------------ groups */
typedef struct grouping {
	bench_line *at;
	int32_t count;
} grouping;

/* Numbers that are whole parts of a dotted name become '*'. */
static const char *without_numbers(arena *a, const char *name)
{
	size_t n = strlen(name), w = 0;
	char *out = arena_text(a, name, n);
	for (size_t i = 0; out && i < n;) {
		size_t end = i + strcspn(name + i, ".");
		if (end > i && strspn(name + i, "0123456789") == end - i) {
			out[w++] = '*';
		} else {
			memmove(out + w, name + i, end - i);
			w += end - i;
		}
		if (end < n)
			out[w++] = '.';
		i = end + 1;
	}
	if (out)
		out[w] = 0;
	return out;
}

static int dearest(const void *a, const void *b)
{
	const bench_line *x = a, *y = b;
	return x->seconds > y->seconds ? -1 : x->seconds < y->seconds;
}

static int by_key(const void *a, const void *b)
{
	const bench_line *x = a, *y = b;
	int order = strcmp(x->op, y->op);
	return order ? order : strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

/* Lines of the same operation, or of the same operation and name, as one; the dearest first. */
static rebus_status group(const bench_part *p, bool names, arena *a, grouping *out, rebus_error *err)
{
	*out = (grouping){.at = arena_get(a, (size_t)p->line_count, sizeof *out->at)};
	if (!out->at && p->line_count)
		return error_memory(err, "a profile");
	for (int32_t i = 0; i < p->line_count; i++) {
		out->at[i] = p->lines[i];
		if (!names)
			out->at[i].name = NULL;
		else if (p->lines[i].name && !(out->at[i].name = without_numbers(a, p->lines[i].name)))
			return error_memory(err, "a profile");
	}
	qsort(out->at, (size_t)p->line_count, sizeof *out->at, by_key);
	for (int32_t i = 0; i < p->line_count; i++) {
		bench_line *x = &out->at[i], *last = out->count ? &out->at[out->count - 1] : NULL;
		if (last && !by_key(last, x)) {
			last->steps += x->steps;
			last->seconds += x->seconds;
			last->flops += x->flops;
			last->bytes += x->bytes;
		} else {
			out->at[out->count++] = *x;
		}
	}
	qsort(out->at, (size_t)out->count, sizeof *out->at, dearest);
	return REBUS_OK;
}

static double sum_of_steps(const bench_part *p)
{
	double sum = 0;
	for (int32_t i = 0; i < p->line_count; i++)
		sum += p->lines[i].seconds;
	return sum / p->count;
}

static double mean_of(const bench_part *p)
{
	double sum = 0;
	for (int32_t i = 0; i < p->count; i++)
		sum += p->seconds[i];
	return sum / p->count;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* ------------------------------------------------------------------------------------------------ JSON */
static void json_roofed(buf *b, roofed x)
{
	buf_format(b, "\"ms\": %.4f, \"flops\": %.0f, \"bytes\": %.0f", x.seconds * 1e3, x.flops, x.bytes);
	if (x.share > 0)
		buf_format(b, ", \"bound\": \"%s\", \"share\": %.4f", x.bound, x.share);
}

static void json_lines(const bench_result *r, const bench_part *p, const char *key, const bench_line *at, int32_t count, bool named, buf *b)
{
	buf_format(b, ", \"%s\": [", key);
	for (int32_t i = 0; i < count; i++) {
		buf_text(b, i ? ", {" : "{");
		report_key(b, "op");
		buf_json(b, at[i].op, strlen(at[i].op));
		if (named) {
			report_key(b, "name");
			if (at[i].name)
				buf_json(b, at[i].name, strlen(at[i].name));
			else
				buf_text(b, "null");
		}
		if (at[i].steps == 1)
			buf_format(b, ", \"rows\": %lld, \"width\": %lld, ", (long long)at[i].rows, (long long)at[i].width);
		else
			buf_format(b, ", \"steps\": %d, ", at[i].steps);
		json_roofed(b, under_roof(r, at[i].seconds / p->count, at[i].flops / p->count, at[i].bytes / p->count));
		buf_byte(b, '}');
	}
	buf_byte(b, ']');
}

static rebus_status json_part(const bench_result *r, const bench_part *p, bool profile, arena *a, buf *b, rebus_error *err)
{
	const double *s = p->seconds;
	double median = s[p->count / 2];
	report_key(b, "part");
	buf_json(b, p->name, strlen(p->name));
	buf_format(b, ", \"ms\": {\"min\": %.4f, \"median\": %.4f, \"max\": %.4f}", s[0] * 1e3, median * 1e3, s[p->count - 1] * 1e3);
	buf_format(b, ", \"runs\": %d, \"units\": %.0f, \"%s_per_second\": %.3f", p->count, p->units, p->unit, p->units / median);
	if (!p->lines)
		return REBUS_OK;
	roofed x = under_roof(r, median, p->flops / p->count, p->bytes / p->count);
	buf_format(b, ", \"gflops_per_second\": %.3f, \"gb_per_second\": %.3f", x.flops / median * 1e-9, x.bytes / median * 1e-9);
	buf_format(b, ", \"flops\": %.0f, \"bytes\": %.0f", x.flops, x.bytes);
	if (x.share > 0)
		buf_format(b, ", \"bound\": \"%s\", \"share\": %.4f", x.bound, x.share);
	if (p->batches)
		buf_format(b, ", \"batches\": %lld, \"tokens\": %lld, \"tokens_with_padding\": %lld", (long long)p->batches, (long long)p->rows,
			(long long)p->computed);
	double steps = sum_of_steps(p);
	buf_format(b, ", \"planned_bytes\": %zu, \"steps_ms\": %.4f, \"outside_ms\": %.4f", p->planned, steps * 1e3, (mean_of(p) - steps) * 1e3);
	grouping ops, names;
	rebus_status status = group(p, false, a, &ops, err);
	if (!status)
		status = group(p, true, a, &names, err);
	if (status)
		return status;
	json_lines(r, p, "operations", ops.at, ops.count, false, b);
	if (profile) {
		json_lines(r, p, "names", names.at, names.count, true, b);
		json_lines(r, p, "steps", p->lines, p->line_count, true, b);
	}
	return REBUS_OK;
}

static rebus_status write_json(const bench_result *r, bool profile, arena *a, buf *b, rebus_error *err)
{
	buf_format(b, "{\"cpu\": \"%s\", \"precision\": \"%s\", \"threads\": %d, \"prompts\": %zu", r->cpu, r->precision, r->threads, r->prompts);
	if (r->measured)
		buf_format(b, ", \"peaks\": {\"gflops_per_second\": %.2f, \"gb_per_second\": %.2f, \"barrier_us\": %.3f, \"entry_us\": %.3f}", r->peak.flops * 1e-9,
			r->peak.bytes * 1e-9, r->peak.barrier * 1e6, r->peak.entry * 1e6);
	buf_format(b, ", \"resident_bytes\": %zu, \"weight_bytes\": %zu, \"ready_bytes\": %zu, \"parts\": [", r->resident, r->weights, r->ready);
	for (int32_t i = 0; i < r->part_count; i++) {
		buf_text(b, i ? ", {" : "{");
		rebus_status status = json_part(r, r->part[i], profile, a, b, err);
		if (status)
			return status;
		buf_byte(b, '}');
	}
	buf_text(b, "]}\n");
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ for people */
static void text_rates(buf *b, roofed x)
{
	double s = x.seconds > 0 ? x.seconds : 1;
	buf_format(b, "%9.2f GFLOP/s %8.2f GB/s", x.flops / s * 1e-9, x.bytes / s * 1e-9);
	if (x.share > 0)
		buf_format(b, "  %5.1f %% of %s", 100 * x.share, x.bound);
}

static void text_lines(const bench_result *r, const bench_part *p, const grouping *g, bool names, buf *b)
{
	double whole = mean_of(p);
	buf_format(b, "    by %s\n", names ? "name" : "operation");
	for (int32_t i = 0; i < g->count && i < PROFILE_LINES; i++) {
		const bench_line *l = &g->at[i];
		buf_format(b, "    %5.1f %%  %9.3f ms %5d x ", 100 * l->seconds / p->count / whole, l->seconds / p->count * 1e3, l->steps);
		text_rates(b, under_roof(r, l->seconds / p->count, l->flops / p->count, l->bytes / p->count));
		buf_format(b, "  %-12s", l->op);
		if (names)
			buf_format(b, " [%lld, %lld] %s", (long long)l->rows, (long long)l->width, l->name ? l->name : "");
		buf_byte(b, '\n');
	}
	if (g->count > PROFILE_LINES)
		buf_format(b, "    and %d more\n", g->count - PROFILE_LINES);
}

static rebus_status text_part(const bench_result *r, const bench_part *p, bool profile, arena *a, buf *b, rebus_error *err)
{
	const double *s = p->seconds;
	double median = s[p->count / 2];
	buf_format(b, "%-8s %10.3f ms (%.3f to %.3f, %d runs) %9.2f %s/s", p->name, median * 1e3, s[0] * 1e3, s[p->count - 1] * 1e3, p->count,
		p->units / median, p->unit);
	if (!p->lines) {
		buf_text(b, "  one thread\n");
		return REBUS_OK;
	}
	text_rates(b, under_roof(r, median, p->flops / p->count, p->bytes / p->count));
	buf_text(b, "; planned ");
	report_bytes(b, (double)p->planned);
	if (p->batches > 1 || p->computed > p->rows)
		buf_format(b, "; %lld runs, %lld tokens, %.1f %% padding", (long long)p->batches, (long long)p->computed,
			100 * (double)(p->computed - p->rows) / (double)p->computed);
	buf_byte(b, '\n');
	if (!profile)
		return REBUS_OK;
	grouping ops, names;
	rebus_status status = group(p, false, a, &ops, err);
	if (!status)
		status = group(p, true, a, &names, err);
	if (status)
		return status;
	text_lines(r, p, &ops, false, b);
	double outside = mean_of(p) - sum_of_steps(p);
	buf_format(b, "    %5.1f %%  %9.3f ms outside the steps\n", 100 * outside / mean_of(p), outside * 1e3);
	text_lines(r, p, &names, true, b);
	return REBUS_OK;
}

static rebus_status write_text(const bench_result *r, bool profile, arena *a, buf *b, rebus_error *err)
{
	buf_format(b, "%s, %s, %d thread%s, %zu prompt%s\n", r->cpu, r->precision, r->threads, r->threads == 1 ? "" : "s", r->prompts, r->prompts == 1 ? "" : "s");
	if (r->measured)
		buf_format(b, "peaks    %.1f GFLOP/s of %s, %.1f GB/s; %.2f us a step's barrier, %.1f us to wake the team\n", r->peak.flops * 1e-9, r->precision,
			r->peak.bytes * 1e-9, r->peak.barrier * 1e6, r->peak.entry * 1e6);
	for (int32_t i = 0; i < r->part_count; i++) {
		rebus_status status = text_part(r, r->part[i], profile, a, b, err);
		if (status)
			return status;
	}
	if (r->resident) {
		buf_text(b, "memory   ");
		report_bytes(b, (double)r->resident);
		buf_text(b, " resident at most, of them up to ");
		report_bytes(b, (double)r->weights);
		buf_text(b, " of the checkpoint's files");
		if (r->ready) {
			buf_text(b, "; ");
			report_bytes(b, (double)r->ready);
			buf_text(b, " of weights made ready for products");
		}
		buf_byte(b, '\n');
	}
	return REBUS_OK;
}

rebus_status bench_write(const bench_result *r, bool json, bool profile, arena *a, buf *out, rebus_error *err)
{
	for (int32_t i = 0; i < r->part_count; i++)
		qsort(r->part[i]->seconds, (size_t)r->part[i]->count, sizeof r->part[i]->seconds[0], ascending);
	return json ? write_json(r, profile, a, out, err) : write_text(r, profile, a, out, err);
}
