/*
 * inspect.c - rebus_inspect: what a folder holds, how it is read, and the memory a run will take.
 *
 * Memory is said in the parts it consists of. All but the first are exact: they are counted in the arenas and in the plans
 * that a run of this prompt makes.
 *
 *   program    what this process has in memory already, mapped weights aside
 *   pictures   processed pixels and patch rows of the prompt
 *   vision     the tower's plan: activations, scratch          text   the text model's: the same and the cache
 */
#include <stdio.h>
#include <string.h>

#include "generate/sequences.h"
#include "generate/session_net.h"
#include "lab/report.h"

typedef struct memory_parts {
	size_t program, pictures, vision, text, total;
	size_t weights; /* mapped: the system's pages */
	int64_t rows;
	bool known;
} memory_parts;

/* Resident memory that is not file-backed plus the program's own text, in bytes; 0 where the system does not tell. */
static size_t resident(void)
{
	size_t total = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long kb;
		if (sscanf(line, "VmRSS: %lu kB", &kb) == 1)
			total += kb << 10;
	}
	if (f)
		fclose(f);
	return total;
}

/* Pages of a mapping of the checkpoint that are in memory now. */
static size_t resident_weights(const char *folder)
{
	size_t total = 0;
	char line[4352];
	bool ours = false;
	FILE *f = fopen("/proc/self/smaps", "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long kb;
		if (strstr(line, ".safetensors") || (strchr(line, '/') && strchr(line, '-') && !strstr(line, "kB")))
			ours = strstr(line, ".safetensors") != NULL;
		else if (ours && sscanf(line, "Rss: %lu kB", &kb) == 1)
			total += kb << 10;
	}
	if (f)
		fclose(f);
	(void)folder;
	return total;
}

static size_t weight_bytes(const rebus_model *m)
{
	size_t total = 0;
	for (size_t i = 0; i < safetensors_count(m->weights); i++)
		total += safetensors_at(m->weights, i)->size;
	return total;
}

/* The plans that a run of this prompt makes, and what it is fed with. */
static rebus_status measure(rebus_session *s, rebus_prompt *p, int32_t max_tokens, memory_parts *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const rebus_model *m = s->m;
	arena a;
	plan_info vision = {0}, text = {0};
	int64_t patches = 0, rows = 0, features = 0, picked = 0;
	arena_init(&a, m->mem.from, 0);
	for (int32_t i = 0; i < p->picture_count; i++) {
		const grid_picture *g = &p->pictures[i];
		const tower_shape *t = m->vision.f->tower(m->vision.config);
		int64_t n = (int64_t)g->rows * g->columns;
		patches += n;
		rows += n + t->learned;
		features += prompt_feature_rows(m, g);
		out->pictures += sizeof(float) * (size_t)(g->px.channels * g->px.height * g->px.width + n * t->channels * t->patch[0] * t->patch[1]);
	}
	picked = features;
	if (p->picture_count)
		TRY(session_measure_net(s, true, (net_size){.rows = rows, .patches = patches, .picked = picked}, &vision, err));
	if (m->self.f->abilities & REBUS_GENERATES) {
		sequence *list;
		TRY(sequences_make(&p, 1, &a, &list, err));
		out->rows = list[0].count;
		net_size size = {.rows = list[0].count, .features = features, .picked = 1, .cache = list[0].count + (int64_t)max_tokens};
		TRY(session_measure_net(s, false, size, &text, err));
	} else if (prompt_texts(p)) {
		net_size size = {.picked = prompt_texts(p)};
		for (int32_t i = 0; i < p->piece_count; i++) {
			sequence q;
			if (p->pieces[i].image)
				continue;
			TRY(prompt_text_ids(p, &a, &p->pieces[i], false, &q, err));
			size.rows += q.count;
		}
		out->rows = size.rows;
		TRY(session_measure_net(s, false, size, &text, err));
	}
	out->vision = vision.total;
	out->text = text.total;
	out->known = true;
done:
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ writing */
static void write_component(buf *b, const char *role, const component *c, bool json_)
{
	if (!c->f)
		return;
	if (json_) {
		report_key(b, role);
		buf_json(b, c->f->model_type, strlen(c->f->model_type));
	} else {
		buf_format(b, "%-12s%s\n", role, c->f->model_type);
	}
}

static void write_weights_json(buf *b, const rebus_model *m)
{
	report_key(b, "weights");
	buf_text(b, "[");
	for (size_t i = 0; i < safetensors_count(m->weights); i++) {
		const tensor_info *t = safetensors_at(m->weights, i);
		char shape[256];
		tensor_shape_text(t, shape, sizeof shape);
		buf_text(b, i ? ", {" : "{");
		report_key(b, "name");
		buf_json(b, t->name, strlen(t->name));
		report_key(b, "type");
		buf_json(b, t->type_text, strlen(t->type_text));
		report_key(b, "shape");
		buf_text(b, shape);
		report_key(b, "used");
		buf_text(b, m->used[i / 8] >> (i % 8) & 1 ? "true}" : "false}");
	}
	buf_text(b, "]");
}

static void write_weights(buf *b, const rebus_model *m)
{
	buf_text(b, "\n");
	for (size_t i = 0; i < safetensors_count(m->weights); i++) {
		const tensor_info *t = safetensors_at(m->weights, i);
		char shape[256];
		tensor_shape_text(t, shape, sizeof shape);
		buf_format(b, "  %-5s %-20s %s%s\n", t->type_text, shape, t->name, m->used[i / 8] >> (i % 8) & 1 ? "" : "   (not used)");
	}
}

static void write_json(buf *b, arena *a, rebus_session *s, const memory_parts *x, bool weights)
{
	const rebus_model *m = s->m;
	buf_text(b, "{");
	report_key(b, "folder");
	buf_json(b, m->folder, strlen(m->folder));
	report_key(b, "family");
	buf_json(b, m->self.f->model_type, strlen(m->self.f->model_type));
	if (m->architecture) {
		report_key(b, "architecture");
		buf_json(b, m->architecture, strlen(m->architecture));
	}
	write_component(b, "vision", &m->vision, true);
	write_component(b, "text", &m->text, true);
	report_key(b, "tensors");
	buf_format(b, "%zu", safetensors_count(m->weights));
	report_key(b, "weight_bytes");
	buf_format(b, "%zu", weight_bytes(m));
	const char *pipe = m->pictures ? vision_pipe_text(a, m->pictures, NULL) : NULL;
	if (pipe) {
		report_key(b, "processor");
		buf_json(b, pipe, strlen(pipe));
	}
	if (m->words) {
		report_key(b, "tokenizer");
		buf_json(b, text_get_info(m->words)->class_name, strlen(text_get_info(m->words)->class_name));
		report_key(b, "vocabulary");
		buf_format(b, "%zu", text_vocabulary(m->words));
	}
	report_key(b, "chat_template");
	buf_text(b, m->chat ? "true" : "false");
	report_key(b, "labels");
	buf_format(b, "%lld", (long long)m->label_count);
	report_key(b, "cpu");
	buf_json(b, cpu_name(m->k->level), strlen(cpu_name(m->k->level)));
	report_key(b, "threads");
	buf_format(b, "%d", s->runner.threads);
	report_key(b, "memory");
	buf_format(b, "{\"program\": %zu, \"pictures\": %zu, \"vision_plan\": %zu, \"text_plan\": %zu, \"total\": %zu, \"mapped_weights\": %zu}", x->program, x->pictures,
		x->vision, x->text, x->total, x->weights);
	if (weights)
		write_weights_json(b, m);
	report_key(b, "warnings");
	buf_text(b, "[");
	for (size_t i = 0; i < m->warning_count; i++) {
		buf_text(b, i ? ", " : "");
		buf_json(b, m->warnings[i], strlen(m->warnings[i]));
	}
	buf_text(b, "]}\n");
}

static void write_line(buf *b, const char *what, size_t bytes)
{
	buf_format(b, "%-12s  ", what);
	report_bytes(b, (double)bytes);
	buf_byte(b, '\n');
}

static void write_people(buf *b, arena *a, rebus_session *s, const memory_parts *x, bool weights)
{
	const rebus_model *m = s->m;
	buf_format(b, "%-12s%s\n", "folder", m->folder);
	buf_format(b, "%-12s%s (%s)\n", "family", m->self.f->model_type, m->architecture ? m->architecture : "no architecture stated");
	if (m->vision.f != m->self.f)
		write_component(b, "vision", &m->vision, false);
	if (m->text.f != m->self.f)
		write_component(b, "text", &m->text, false);
	buf_format(b, "%-12s%zu tensors, ", "weights", safetensors_count(m->weights));
	report_bytes(b, (double)weight_bytes(m));
	buf_byte(b, '\n');
	const char *pipe = m->pictures ? vision_pipe_text(a, m->pictures, NULL) : NULL;
	if (pipe)
		buf_format(b, "%-12s%s\n", "pictures", pipe);
	if (m->words)
		buf_format(b, "%-12s%s, %zu tokens%s\n", "words", text_get_info(m->words)->class_name, text_vocabulary(m->words), m->chat ? ", chat template" : "");
	if (m->labels)
		buf_format(b, "%-12s%lld\n", "labels", (long long)m->label_count);
	buf_format(b, "%-12s%s, %d threads\n", "cpu", cpu_name(m->k->level), s->runner.threads);
	buf_text(b, x->known ? "memory of this run, mapped weights aside\n" : "memory before a run, mapped weights aside (give --image or --text to plan one)\n");
	write_line(b, "  program", x->program);
	if (x->known) {
		write_line(b, "  pictures", x->pictures);
		write_line(b, "  vision", x->vision);
		write_line(b, "  text", x->text);
	}
	write_line(b, "  total", x->total);
	for (size_t i = 0; i < m->warning_count; i++)
		buf_format(b, "%-12s%s\n", "warning", m->warnings[i]);
	if (weights)
		write_weights(b, m);
}

rebus_status rebus_inspect(rebus_session *s, rebus_prompt *prompt, int32_t max_tokens, bool json_, bool weights, rebus_text **out, rebus_error *err)
{
	rebus_text *r;
	memory_parts x = {0};
	if (max_tokens < 0 || max_tokens > (1 << 20))
		return error_set(err, REBUS_MISUSE, "max_tokens %d, expected 0 to %d", max_tokens, 1 << 20);
	size_t now = resident(), mapped = resident_weights(s->m->folder);
	x.program = now > mapped ? now - mapped : now;
	x.weights = weight_bytes(s->m);
	rebus_status status = prompt && prompt->piece_count ? measure(s, prompt, max_tokens, &x, err) : REBUS_OK;
	if (status)
		return status;
	x.total = x.program + x.vision + x.text + x.pictures;
	status = report_new(s->m->mem.from, &r, err);
	if (status)
		return status;
	if (json_)
		write_json(&r->out, &r->mem, s, &x, weights);
	else
		write_people(&r->out, &r->mem, s, &x, weights);
	return report_finish(r, out, err);
}

rebus_counters rebus_session_counters(const rebus_session *s)
{
	rebus_counters c = {.plans = s->plans, .runs = s->gone.runs, .matrix_products = s->gone.products};
	const run_net *nets[] = {&s->vision, &s->text};
	for (size_t i = 0; i < COUNT_OF(nets); i++)
		if (nets[i]->p) {
			plan_count n = plan_counts(nets[i]->p);
			c.runs += n.runs;
			c.matrix_products += n.products;
			c.planned_bytes += plan_about(nets[i]->p).total;
		}
	return c;
}
