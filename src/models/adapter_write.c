/* adapter_write.c - an adapter in PEFT's form, and folded into the weights it stands beside. */
#include <math.h>
#include <string.h>

#include "models/adapter_inside.h"

/* ------------------------------------------------------------------------------------------------ adapter_config.json */
static double alpha_of(const adapter_set *s, const adapted_module *x)
{
	double rank = (double)x->down.out;
	return (double)x->beside.scale * (s->plan.rslora ? sqrt(rank) : rank);
}

/* {module: number} of the modules whose number is not the plan's. */
static void add_pattern(buf *b, const char *key, const adapter_set *s, bool rank)
{
	int n = 0;
	buf_format(b, "  \"%s\": {", key);
	for (int32_t i = 0; i < s->count; i++) {
		const adapted_module *x = &s->at[i];
		double v = rank ? (double)x->down.out : alpha_of(s, x), usual = rank ? (double)s->plan.rank : s->plan.alpha;
		if (fabs(v - usual) <= 1e-6 * fabs(usual))
			continue;
		buf_text(b, n++ ? ", " : "");
		buf_json(b, x->name, strlen(x->name));
		buf_format(b, ": %.9g", v);
	}
	buf_text(b, "},\n");
}

/* The modules of the tensors that are written whole, each once. */
static void add_whole(buf *b, const struct rebus_model *m, const tensor_out *whole, size_t count)
{
	int n = 0;
	char before[TENSOR_NAME + 1] = "", name[TENSOR_NAME + 1];
	buf_text(b, "  \"modules_to_save\": ");
	for (size_t i = 0; i < count; i++) {
		model_module_name(m, whole[i].name, name);
		char *dot = strrchr(name, '.');
		if (dot)
			*dot = 0;
		if (!strcmp(before, name))
			continue;
		buf_text(b, n++ ? ", " : "[");
		buf_json(b, name, strlen(name));
		memcpy(before, name, sizeof before);
	}
	buf_text(b, n ? "],\n" : "null,\n");
}

static rebus_status write_config(const struct rebus_model *m, const char *path, const char *base, const tensor_out *whole, size_t count, rebus_error *err)
{
	const adapter_set *s = m->adapter;
	file_out out;
	buf b;
	buf_init(&b, m->mem.from, 64 << 20);
	bool turned = true;
	buf_text(&b, "{\n");
	add_pattern(&b, "alpha_pattern", s, false);
	buf_text(&b, "  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
	buf_json(&b, base, strlen(base));
	for (int32_t i = 0; i < s->count; i++)
		turned &= s->at[i].of->part[s->at[i].at].turned;
	buf_format(&b, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": %s,\n  \"inference_mode\": true,\n", turned ? "true" : "false");
	buf_text(&b, "  \"init_lora_weights\": true,\n");
	buf_format(&b, "  \"lora_alpha\": %.9g,\n  \"lora_dropout\": %.9g,\n", s->plan.alpha, s->plan.dropout);
	add_whole(&b, m, whole, count);
	buf_format(&b, "  \"peft_type\": \"LORA\",\n  \"r\": %lld,\n", (long long)s->plan.rank);
	add_pattern(&b, "rank_pattern", s, true);
	buf_text(&b, "  \"target_modules\": [");
	for (int32_t i = 0; i < s->count; i++) {
		buf_text(&b, i ? ", " : "");
		buf_json(&b, s->at[i].name, strlen(s->at[i].name));
	}
	buf_format(&b, "],\n  \"task_type\": null,\n  \"use_dora\": false,\n  \"use_rslora\": %s\n}\n", s->plan.rslora ? "true" : "false");
	rebus_status status = buf_check(&b, err, path);
	if (!status)
		status = file_create(&out, path, err);
	if (!status) {
		status = file_write(&out, b.data, b.size, err);
		if (!status)
			status = file_commit(&out, err);
		if (status)
			file_discard(&out);
	}
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ adapter_model.safetensors */
static tensor_out factor_out(arena *a, const adapted_module *x, bool up, const adapter_values *values)
{
	const weight *w = up ? &x->up : &x->down;
	const char *name = arena_format(a, "base_model.model.%s.lora_%c.weight", x->name, up ? 'B' : 'A');
	return (tensor_out){name, TENSOR_F32, 2, {w->out, w->in}, values->get(values->user, w->name, w->part[0].data)};
}

rebus_status adapter_write(const struct rebus_model *m, const char *folder, const char *base, const adapter_values *values, const tensor_out *whole,
                           size_t whole_count, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, m->mem.from, 0);
	const adapter_set *s = m->adapter;
	size_t n = 0;
	const char *config = arena_format(&a, "%s/adapter_config.json", folder), *path = arena_format(&a, "%s/adapter_model.safetensors", folder);
	tensor_out *list = arena_zero(&a, 2 * (size_t)s->count + whole_count + 1, sizeof *list);
	TRY(config && path && list ? REBUS_OK : error_memory(err, "an adapter"));
	for (int32_t i = 0; i < s->count; i++) {
		list[n++] = factor_out(&a, &s->at[i], false, values);
		list[n++] = factor_out(&a, &s->at[i], true, values);
	}
	for (size_t i = 0; i < whole_count; i++) {
		char name[TENSOR_NAME + 1];
		model_module_name(m, whole[i].name, name);
		list[n] = whole[i];
		list[n++].name = arena_format(&a, "base_model.model.%s", name);
	}
	for (size_t i = 0; i < n; i++)
		TRY(list[i].name ? REBUS_OK : error_memory(err, "an adapter"));
	TRY(safetensors_write(path, list, n, err));
	TRY(write_config(m, config, base, whole, whole_count, err));
done:
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ folding */
/* to += scale B A; turned: to is [in, out]. Sums in double, so that they do not depend on the order they are made in. */
static void add_product(const adapted_module *x, bool turned, const adapter_values *values, float *to)
{
	int64_t rank = x->down.out, in = x->down.in, out = x->up.out;
	const float *b = x->up.part[0].data, *a = x->down.part[0].data;
	if (values) {
		b = values->get(values->user, x->up.name, b);
		a = values->get(values->user, x->down.name, a);
	}
	for (int64_t o = 0; o < out; o++)
		for (int64_t i = 0; i < in; i++) {
			double sum = 0;
			for (int64_t k = 0; k < rank; k++)
				sum += (double)b[o * rank + k] * (double)a[k * in + i];
			to[turned ? i * out + o : o * in + i] += (float)((double)x->beside.scale * sum);
		}
}

rebus_status adapter_fold(const struct rebus_model *m, const tensor_info *t, const adapter_values *values, arena *a, const float **out, rebus_error *err)
{
	const adapter_set *s = m->adapter;
	float *to = NULL;
	for (int32_t i = 0; s && i < s->count; i++) {
		const matrix *of = &s->at[i].of->part[s->at[i].at];
		if (strcmp(of->name, t->name))
			continue;
		const float *base = to;
		rebus_status status = to ? REBUS_OK : bind_f32(a, t, &base, err);
		if (status)
			return status;
		to = (float *)(uintptr_t)base;
		add_product(&s->at[i], of->turned, values, to);
	}
	*out = to;
	for (int32_t i = 0; s && i < s->whole_count; i++)
		if (!strcmp(s->whole[i].name, t->name))
			*out = s->whole[i].values;
	return REBUS_OK;
}
