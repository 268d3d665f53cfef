/*
 * adapter_read.c - an adapter folder of PEFT: its configuration, its factors, and the tensors it has whole.
 *
 * A module's key counts under its name in memory and under its name in the checkpoint, as PEFT's folders made with other
 * versions of transformers have either. A key that fits nothing is an error: an adapter that is half there computes nonsense.
 */
#include <math.h>
#include <string.h>

#include "models/adapter_inside.h"
#include "text/regex.h"

enum { CONFIG_BYTES = 4 << 20, CONFIG_VALUES = 1 << 18 };

typedef struct reading {
	struct rebus_model *m;
	adapter_set *set;
	safetensors *from;
	json *config;
	uint8_t *used;
	int32_t room;
} reading;

/* ------------------------------------------------------------------------------------------------ configuration */
static bool something(const json *j)
{
	bool flag = false;
	json_kind k = json_kind_of(j);
	return (json_flag(j, &flag) && flag) || ((k == JSON_LIST || k == JSON_MAP) && json_count(j) > 0) || k == JSON_TEXT;
}

static rebus_status read_config(reading *x, const char *folder, rebus_error *err)
{
	static const char *const refused[] = {"use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication", "trainable_token_indices",
		"target_parameters", "alora_invocation_tokens"};
	adapter_plan *p = &x->set->plan;
	const char *path = arena_format(&x->m->mem, "%s/adapter_config.json", folder);
	if (!path)
		return error_memory(err, "an adapter");
	rebus_status status = json_load(path, CONFIG_BYTES, CONFIG_VALUES, &x->config, err);
	if (status)
		return status;
	const char *type = json_text(json_get(x->config, "peft_type"), NULL);
	if (!type || strcmp(type, "LORA"))
		return error_set(err, REBUS_UNSUPPORTED, "%s: peft_type: %.40s, expected LORA", path, type ? type : "missing");
	for (size_t i = 0; i < COUNT_OF(refused); i++)
		if (something(json_get(x->config, refused[i])))
			return error_set(err, REBUS_UNSUPPORTED, "%s: %s: is set, expected plain low-rank factors", path, refused[i]);
	p->dropout = 0;
	json_real(json_get(x->config, "lora_dropout"), &p->dropout);
	json_flag(json_get(x->config, "use_rslora"), &p->rslora);
	if (!json_real(json_get(x->config, "lora_alpha"), &p->alpha) || !json_int(json_get(x->config, "r"), &p->rank) || p->rank < 1 || p->rank > 65536 ||
	    !(p->dropout >= 0 && p->dropout < 1))
		return error_set(err, REBUS_FORMAT, "%s: r, lora_alpha, lora_dropout: expected a whole number from 1, a number, a share below 1", path);
	return REBUS_OK;
}

/* PEFT: the keys of alpha_pattern are expressions for a module's name, or for what follows a dot in it. */
static rebus_status alpha_of(reading *x, const char *module, double *alpha, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	*alpha = x->set->plan.alpha;
	json_each it = json_first(json_get(x->config, "alpha_pattern"));
	while (!status && json_next(&it)) {
		text_regex *r = NULL;
		regex_run run = {0};
		regex_at at = {0};
		bool found = false;
		const char *pattern = arena_format(&x->m->mem, "^(.*\\.)?(%s)$", it.key);
		status = pattern ? regex_open(pattern, strlen(pattern), "alpha_pattern", &r, err) : error_memory(err, "an adapter");
		if (!status)
			status = regex_run_begin(&run, 1 << 16, err);
		if (!status)
			status = regex_next(r, &run, module, strlen(module), &at, &found, err);
		if (r)
			regex_run_end(&run);
		regex_close(r);
		if (!status && found && !json_real(it.value, alpha))
			status = error_set(err, REBUS_FORMAT, "adapter_config.json: alpha_pattern: %.60s: expected a number", it.key);
		if (found)
			break;
	}
	return status;
}

/* ------------------------------------------------------------------------------------------------ factors */
static const tensor_info *find_key(const reading *x, const char *module, const char *end)
{
	char key[TENSOR_NAME + 1];
	int n = snprintf(key, sizeof key, "base_model.model.%s%s", module, end);
	return n > 0 && (size_t)n < sizeof key ? safetensors_find(x->from, key) : NULL;
}

static rebus_status take_factor(reading *x, const tensor_info *t, int64_t out, int64_t in, weight *w, rebus_error *err)
{
	const float *values;
	const char *name = arena_text(&x->m->mem, t->name, strlen(t->name));
	if (!name)
		return error_memory(err, "an adapter");
	if (t->rank != 2 || (out >= 0 && t->shape[0] != out) || (in >= 0 && t->shape[1] != in) || !t->shape[0] || !t->shape[1])
		return error_set(err, REBUS_SHAPE, "%.120s: sides do not fit the model's layer or each other", t->name);
	rebus_status status = bind_f32(&x->m->mem, t, &values, err);
	if (status)
		return status;
	*w = (weight){.name = name, .parts = 1, .part[0] = {.data = values, .type = DT_F32, .out = t->shape[0], .in = t->shape[1], .name = name},
		.out = t->shape[0], .in = t->shape[1]};
	x->used[t->number / 8] |= (uint8_t)(1u << t->number % 8);
	return REBUS_OK;
}

static rebus_status read_module(reading *x, adapted_module *to, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *module = find_key(x, to->name, ".lora_A.weight") ? to->name : to->file;
	const tensor_info *down = find_key(x, module, ".lora_A.weight"), *up = find_key(x, module, ".lora_B.weight");
	double alpha;
	if (!down)
		return REBUS_OK;
	if (!up)
		return error_set(err, REBUS_FORMAT, "%.120s: without its lora_B", down->name);
	TRY(take_factor(x, down, -1, to->of->in, &to->down, err));
	TRY(take_factor(x, up, to->outputs, to->down.out, &to->up, err));
	TRY(alpha_of(x, module, &alpha, err));
	to->beside.scale = (float)(alpha / (x->set->plan.rslora ? sqrt((double)to->down.out) : (double)to->down.out));
	to->beside.drop = (float)x->set->plan.dropout;
	TRY(adapter_add(x->m, x->set, &x->room, to, err));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ whole tensors */
/* The tensor that takes a checkpoint's place: under either of its names, with or without PEFT's marks within. */
static const tensor_info *find_whole(const reading *x, const char *tensor)
{
	char name[TENSOR_NAME + 1], parts[TENSOR_NAME + 1];
	const tensor_info *t;
	model_module_name(x->m, tensor, name);
	for (int i = 0; i < 2; i++) {
		const char *of = i ? tensor : name, *dot = strrchr(of, '.');
		if ((t = find_key(x, of, "")))
			return t;
		for (int k = 0; dot && k < 2; k++) {
			int n = snprintf(parts, sizeof parts, "%.*s%s%s", (int)(dot - of), of, k ? ".base_layer" : ".modules_to_save", dot);
			if (n > 0 && (size_t)n < sizeof parts && (t = find_key(x, parts, "")))
				return t;
		}
	}
	return NULL;
}

static rebus_status note_whole(reading *x, const char *tensor, const float *values, rebus_error *err)
{
	adapter_set *s = x->set;
	for (int32_t i = 0; i < s->whole_count; i++)
		if (!strcmp(s->whole[i].name, tensor))
			return REBUS_OK;
	whole_tensor *more = arena_get(&x->m->mem, (size_t)s->whole_count + 1, sizeof *more);
	if (!more)
		return error_memory(err, "an adapter");
	if (s->whole_count)
		memcpy(more, s->whole, (size_t)s->whole_count * sizeof *more);
	more[s->whole_count++] = (whole_tensor){tensor, values};
	s->whole = more;
	return REBUS_OK;
}

/* New values for [out, in] of which `first` rows are another part's; where training changes them, they go where the old ones are. */
static rebus_status put_whole(reading *x, const tensor_info *t, const char *tensor, const matrix *m, int64_t first, int64_t outputs, const void **data,
                              rebus_error *err)
{
	const float *values;
	size_t n = (size_t)(m->out * m->in);
	if (t->size / (size_t)int_max(1, tensor_type_bits(t->type) / 8) != (size_t)(outputs * m->in))
		return error_set(err, REBUS_SHAPE, "%.120s: is of another size than the checkpoint's tensor", t->name);
	rebus_status status = bind_f32(&x->m->mem, t, &values, err);
	float *to = status ? NULL : x->m->own ? (float *)(uintptr_t)*data : arena_get(&x->m->mem, n, sizeof *to);
	if (status || !to)
		return status ? status : error_memory(err, t->name);
	for (int64_t o = 0; o < m->out; o++)
		for (int64_t i = 0; i < m->in; i++)
			to[o * m->in + i] = (m->turned ? values[i * outputs + first + o] : values[(first + o) * m->in + i]) + (m->plus_one ? 1.0f : 0.0f);
	*data = to;
	x->used[t->number / 8] |= (uint8_t)(1u << t->number % 8);
	return note_whole(x, tensor, values, err);
}

static rebus_status whole_part(reading *x, weight *w, int32_t p, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	matrix *m = &w->part[p];
	const tensor_info *t = m->name ? find_whole(x, m->name) : NULL;
	int64_t first = 0, outputs = 0;
	for (int32_t i = 0; i < w->parts; i++)
		if (m->name && w->part[i].name && !strcmp(w->part[i].name, m->name)) {
			first += i < p ? w->part[i].out : 0;
			outputs += w->part[i].out;
		}
	if (t) {
		TRY(put_whole(x, t, m->name, m, first, outputs, &m->data, err));
		m->type = DT_F32;
		if (w->f32)
			w->f32 = m->data;
	}
	t = w->bias_name[p] ? find_whole(x, w->bias_name[p]) : NULL;
	if (t) {
		matrix bias = {.out = m->out, .in = 1};
		const void *data = w->bias[p];
		bool shared = m->name && outputs > m->out;
		TRY(put_whole(x, t, w->bias_name[p], &bias, shared ? first : 0, shared ? outputs : m->out, &data, err));
		w->bias[p] = data;
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ all of it */
static rebus_status read_beside(void *arg, weight *w, const weight_row *row, rebus_error *err)
{
	reading *x = arg;
	rebus_status status = REBUS_OK;
	for (int32_t p = 0; p < w->parts; p++) {
		adapted_module to;
		bool fits = false;
		TRY(whole_part(x, w, p, err));
		if (row->kind == WEIGHT_LINEAR || row->kind == WEIGHT_TURNED)
			TRY(adapter_module_at(x->m, w, p, &to, &fits, err));
		if (fits)
			TRY(read_module(x, &to, err));
	}
done:
	return status;
}

static rebus_status all_used(const reading *x, const char *path, rebus_error *err)
{
	for (size_t i = 0; i < safetensors_count(x->from); i++)
		if (!(x->used[i / 8] >> i % 8 & 1))
			return error_set(err, REBUS_SHAPE, "%s: %.120s: fits no linear layer or tensor of a %s model", path, safetensors_at(x->from, i)->name,
				x->m->self.f->model_type);
	return REBUS_OK;
}

rebus_status adapter_read(struct rebus_model *m, const char *folder, rebus_error *err)
{
	rebus_status status;
	reading x = {.m = m, .set = arena_zero(&m->mem, 1, sizeof *x.set)};
	const char *path = arena_format(&m->mem, "%s/adapter_model.safetensors", folder);
	TRY(x.set && path ? REBUS_OK : error_memory(err, "an adapter"));
	TRY(read_config(&x, folder, err));
	TRY(safetensors_open(&m->mem, path, LOAD_MAP, &x.from, err));
	x.used = bind_used(&m->mem, x.from);
	TRY(x.used ? REBUS_OK : error_memory(err, "an adapter"));
	TRY(model_each_weight(m, read_beside, &x, err));
	TRY(all_used(&x, path, err));
	adapter_attach(x.set);
	m->adapter = x.set;
done:
	safetensors_close(x.from);
	json_free(x.config);
	return status;
}
