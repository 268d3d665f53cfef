/* adapter.c - see adapter.h: which modules are adapted, and new factors. */
#include "models/adapter.h"

#include <math.h>
#include <string.h>

#include "text/regex.h"

/* ------------------------------------------------------------------------------------------------ every weight */
static rebus_status visit_component(const component *c, model_visit visit, void *arg, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const family *f = c->f;
	size_t size = f->layer_size ? f->layer_size : sizeof(block_weights);
	char *layers = NULL;
	if (f->layers_at != SIZE_MAX)
		memcpy(&layers, (char *)c->weights + f->layers_at, sizeof layers);
	for (size_t r = 0; r < f->row_count && !status; r++) {
		const weight_row *row = &f->rows[r];
		bool layered = strstr(row->names, "{i}") != NULL;
		int64_t count = !layered ? 1 : layers ? component_layers(c) : 0;
		for (int64_t i = 0; i < count && !status && row->part == 0 && row->kind != WEIGHT_BIAS; i++)
			status = visit(arg, (weight *)(void *)((layered ? layers + (size_t)i * size : (char *)c->weights) + row->at), row, err);
	}
	for (int64_t i = 0; i < c->stages && !status; i++)
		status = visit_component(&c->stage[i], visit, arg, err);
	return status;
}

rebus_status model_each_weight(struct rebus_model *m, model_visit visit, void *arg, rebus_error *err)
{
	rebus_status status = visit_component(&m->self, visit, arg, err);
	if (!status && m->vision.f && m->vision.weights != m->self.weights)
		status = visit_component(&m->vision, visit, arg, err);
	if (!status && m->text.f && m->text.weights != m->self.weights)
		status = visit_component(&m->text, visit, arg, err);
	return status;
}

/* ------------------------------------------------------------------------------------------------ names */
bool adapter_is_key(const char *name)
{
	size_t n = strlen(name), k = strlen(".lora_A.weight");
	return n > k && (!strcmp(name + n - k, ".lora_A.weight") || !strcmp(name + n - k, ".lora_B.weight"));
}

typedef struct matcher { /* of a plan's target */
	text_regex *r;
	regex_run run;
	const char *names; /* apart by ','; NULL: the expression */
	bool every;
} matcher;

static rebus_status matcher_open(matcher *x, const char *target, arena *a, rebus_error *err)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,-";
	*x = (matcher){.every = !strcmp(target, "all-linear")};
	if (x->every || !target[strspn(target, plain)]) {
		x->names = target;
		return REBUS_OK;
	}
	const char *whole = arena_format(a, "^(?:%s)$", target);
	rebus_status status = whole ? regex_open(whole, strlen(whole), "lora", &x->r, err) : error_memory(err, "an adapter");
	return status ? status : regex_run_begin(&x->run, 1 << 20, err);
}

static void matcher_close(matcher *x)
{
	if (x->r)
		regex_run_end(&x->run);
	regex_close(x->r);
}

/* A name of the list is the module's, or what follows a dot in it. */
static bool listed(const char *names, const char *module)
{
	size_t n = strlen(module);
	for (const char *p = names; *p;) {
		size_t k = strcspn(p, ",");
		if (k && n >= k && !strncmp(module + n - k, p, k) && (n == k || module[n - k - 1] == '.'))
			return true;
		p += k + (p[k] == ',');
	}
	return false;
}

static rebus_status matcher_finds(matcher *x, const char *module, bool *found, rebus_error *err)
{
	regex_at at = {0};
	if (x->every)
		*found = !listed("lm_head", module);
	else if (x->names)
		*found = listed(x->names, module);
	else
		return regex_next(x->r, &x->run, module, strlen(module), &at, found, err);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ factors */
/* Uniform within 1 / sqrt(in), as PEFT draws A (Kaiming with a = sqrt 5); B begins as 0. */
static rebus_status draw(arena *a, weight *w, uint64_t seed, bool zero, rebus_error *err)
{
	int64_t n = w->out * w->in;
	float *data = arena_zero(a, (size_t)n, sizeof *data);
	if (!data)
		return error_memory(err, w->name);
	for (const char *p = w->name; *p; p++)
		seed = bits_mix(seed ^ (uint8_t)*p);
	for (int64_t i = 0; i < n && !zero; i++)
		data[i] = (float)((2 * (double)(bits_mix(bits_mix(seed) ^ (uint64_t)i) >> 11) * 0x1p-53 - 1) / sqrt((double)w->in));
	w->part[0].data = data;
	return REBUS_OK;
}

static weight factor(const char *name, int64_t out, int64_t in)
{
	return (weight){.name = name, .parts = 1, .part[0] = {.type = DT_F32, .out = out, .in = in, .name = name}, .out = out, .in = in};
}

typedef struct making {
	struct rebus_model *m;
	adapter_set *set;
	matcher target;
	int32_t room;
} making;

/* "a.b.query.weight" without its end, NULL: another end. */
static const char *module_of(arena *a, const char *tensor)
{
	size_t n = strlen(tensor), k = strlen(".weight");
	return n > k && !strcmp(tensor + n - k, ".weight") ? arena_text(a, tensor, n - k) : NULL;
}

rebus_status adapter_module_at(struct rebus_model *m, weight *w, int32_t at, adapted_module *out, bool *fits, rebus_error *err)
{
	char name[TENSOR_NAME + 1];
	adapted_module x = {.of = w, .at = at, .beside.parts = 1, .outputs = w->part[at].out};
	*fits = false;
	if (w->f32 || !w->part[at].name || (at && w->part[at - 1].name && !strcmp(w->part[at - 1].name, w->part[at].name)) || !strstr(w->part[at].name, ".weight"))
		return REBUS_OK;
	for (int32_t p = at + 1; p < w->parts && w->part[p].name && !strcmp(w->part[p].name, w->part[at].name); p++, x.beside.parts++)
		x.outputs += w->part[p].out;
	x.file = module_of(&m->mem, w->part[at].name);
	if (!x.file)
		return REBUS_OK;
	model_module_name(m, x.file, name);
	x.name = arena_text(&m->mem, name, strlen(name));
	if (!x.name)
		return error_memory(err, "an adapter");
	*out = x;
	*fits = true;
	return REBUS_OK;
}

rebus_status adapter_add(struct rebus_model *m, adapter_set *set, int32_t *room, const adapted_module *x, rebus_error *err)
{
	if (set->count == *room) {
		int32_t more = *room ? 2 * *room : 64;
		adapted_module *at = arena_get(&m->mem, (size_t)more, sizeof *at);
		if (!at)
			return error_memory(err, "an adapter");
		if (set->count)
			memcpy(at, set->at, (size_t)set->count * sizeof *at);
		set->at = at;
		*room = more;
	}
	set->at[set->count++] = *x;
	return REBUS_OK;
}

/* Once all are there, and so lie still. */
void adapter_attach(adapter_set *set)
{
	for (int32_t i = 0; i < set->count; i++) {
		adapted_module *x = &set->at[i];
		x->beside.down = &x->down;
		x->beside.up = &x->up;
		x->of->beside[x->at] = &x->beside;
	}
}

static rebus_status make_module(making *k, adapted_module *x, rebus_error *err)
{
	arena *a = &k->m->mem;
	const adapter_plan *p = &k->set->plan;
	rebus_status status;
	const char *down = arena_format(a, "base_model.model.%s.lora_A.weight", x->name), *up = arena_format(a, "base_model.model.%s.lora_B.weight", x->name);
	TRY(down && up ? REBUS_OK : error_memory(err, "an adapter"));
	x->down = factor(down, p->rank, x->of->in);
	x->up = factor(up, x->outputs, p->rank);
	TRY(draw(a, &x->down, p->seed, false, err));
	TRY(draw(a, &x->up, p->seed, true, err));
	x->beside.scale = (float)(p->alpha / (p->rslora ? sqrt((double)p->rank) : (double)p->rank));
	x->beside.drop = (float)p->dropout;
	TRY(adapter_add(k->m, k->set, &k->room, x, err));
done:
	return status;
}

static rebus_status make_beside(void *arg, weight *w, const weight_row *row, rebus_error *err)
{
	making *k = arg;
	rebus_status status = REBUS_OK;
	for (int32_t p = 0; p < w->parts && (row->kind == WEIGHT_LINEAR || row->kind == WEIGHT_TURNED); p++) {
		adapted_module x;
		bool fits, found;
		TRY(adapter_module_at(k->m, w, p, &x, &fits, err));
		if (!fits)
			continue;
		TRY(matcher_finds(&k->target, x.name, &found, err));
		if (!found)
			TRY(matcher_finds(&k->target, x.file, &found, err));
		if (found)
			TRY(make_module(k, &x, err));
	}
done:
	return status;
}

rebus_status adapter_make(struct rebus_model *m, const adapter_plan *plan, rebus_error *err)
{
	rebus_status status;
	making k = {.m = m, .set = arena_zero(&m->mem, 1, sizeof *k.set)};
	if (!k.set)
		return error_memory(err, "an adapter");
	k.set->plan = *plan;
	TRY(matcher_open(&k.target, plan->target, &m->mem, err));
	TRY(model_each_weight(m, make_beside, &k, err));
	if (!k.set->count) {
		status = error_set(err, REBUS_MISUSE, "lora %.100s: no linear layer of a %s model has such a name", plan->target, m->self.f->model_type);
		goto done;
	}
	adapter_attach(k.set);
	m->adapter = k.set;
done:
	matcher_close(&k.target);
	return status;
}
