/* inspect.c - rebus_inspect: what a folder holds, how it is read, and the memory that a run will need (footprint.h). */
#include <string.h>

#include "lab/footprint.h"
#include "lab/report.h"

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

/* How many tensors a type has and the bytes they take; types that are not known together. */
static void write_types(buf *b, const rebus_model *m, bool json_)
{
	size_t count[TENSOR_ENDS] = {0}, bytes[TENSOR_ENDS] = {0};
	bool first = true;
	for (size_t i = 0; i < safetensors_count(m->weights); i++) {
		const tensor_info *t = safetensors_at(m->weights, i);
		count[t->type]++;
		bytes[t->type] += t->size;
	}
	for (int i = 0; i < TENSOR_ENDS; i++) {
		const char *name = i == TENSOR_UNKNOWN ? "others" : tensor_type_name((tensor_type)i);
		if (!count[i])
			continue;
		if (json_) {
			buf_format(b, "%s\"%s\": {\"tensors\": %zu, \"bytes\": %zu}", first ? "" : ", ", name, count[i], bytes[i]);
		} else {
			buf_format(b, "  %-10s%zu tensors, ", name, count[i]);
			report_bytes(b, (double)bytes[i]);
			buf_byte(b, '\n');
		}
		first = false;
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

static void write_json(buf *b, const char *pipe, rebus_session *s, const footprint *x, bool weights)
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
	buf_format(b, "%zu", x->weights);
	report_key(b, "types");
	buf_text(b, "{");
	write_types(b, m, true);
	buf_text(b, "}");
	report_key(b, "precision");
	buf_json(b, model_precision(m), strlen(model_precision(m)));
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
	buf_format(b,
		"{\"program\": %zu, \"pictures\": %zu, \"vision\": %zu, \"words\": %zu, \"text\": %zu, \"before\": %zu, \"total\": %zu}", x->program, x->pictures,
		x->vision, x->words, x->text, x->before, x->total);
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

static void write_people(buf *b, const char *pipe, rebus_session *s, const footprint *x, bool weights)
{
	const rebus_model *m = s->m;
	buf_format(b, "%-12s%s\n", "folder", m->folder);
	buf_format(b, "%-12s%s (%s)\n", "family", m->self.f->model_type, m->architecture ? m->architecture : "no architecture stated");
	if (m->vision.f != m->self.f)
		write_component(b, "vision", &m->vision, false);
	if (m->text.f != m->self.f)
		write_component(b, "text", &m->text, false);
	buf_format(b, "%-12s%zu tensors, ", "weights", safetensors_count(m->weights));
	report_bytes(b, (double)x->weights);
	buf_byte(b, '\n');
	write_types(b, m, false);
	if (pipe)
		buf_format(b, "%-12s%s\n", "pictures", pipe);
	if (m->words)
		buf_format(b, "%-12s%s, %zu tokens%s\n", "words", text_get_info(m->words)->class_name, text_vocabulary(m->words), m->chat ? ", chat template" : "");
	if (m->labels)
		buf_format(b, "%-12s%lld\n", "labels", (long long)m->label_count);
	buf_format(b, "%-12s%s, %d threads, precision %s\n", "cpu", cpu_name(m->k->level), s->runner.threads, model_precision(m));
	buf_text(b, x->run ? "memory of this run, mapped weights aside\n" : "memory before a run, mapped weights aside (give --image or --text to plan one)\n");
	write_line(b, "  program", x->program);
	if (x->run) {
		write_line(b, "  pictures", x->pictures);
		write_line(b, "  vision", x->vision);
		write_line(b, "  words", x->words);
		write_line(b, "  text", x->text);
		write_line(b, "  before it", x->before);
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
	footprint x;
	if (max_tokens < 0 || max_tokens > (1 << 20))
		return error_set(err, REBUS_MISUSE, "max_tokens %d, expected 0 to %d", max_tokens, 1 << 20);
	rebus_status status = footprint_measure(s, prompt, max_tokens, &x, err);
	if (!status)
		status = report_new(s->m->mem.from, &r, err);
	if (status)
		return status;
	const char *pipe = s->m->pictures ? vision_pipe_text(&r->mem, s->m->pictures, NULL) : NULL;
	if (s->m->pictures && !pipe) {
		rebus_text_free(r);
		return error_memory(err, "a report");
	}
	if (json_)
		write_json(&r->out, pipe, s, &x, weights);
	else
		write_people(&r->out, pipe, s, &x, weights);
	return report_finish(r, out, err);
}

rebus_counters rebus_session_counters(const rebus_session *s)
{
	rebus_counters c = {.plans = s->plans, .runs = s->gone.runs, .matrix_products = s->gone.products};
	const run_net *nets[] = {&s->vision, &s->encoder, &s->text};
	for (size_t i = 0; i < COUNT_OF(nets); i++)
		if (nets[i]->p) {
			plan_count n = plan_counts(nets[i]->p);
			c.runs += n.runs;
			c.matrix_products += n.products;
			c.planned_bytes += plan_about(nets[i]->p).total;
		}
	return c;
}
