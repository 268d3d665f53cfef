/*
 * open.c - opening a folder: which family, its configuration and parts, weights, processor, tokenizer, template.
 *
 *     config.json ─► family (registry) ─► parts ─► weights bound and checked ─► processor, tokenizer, chat template
 *
 * Everything lives in the model's arena; weights stay where the mapped file has them. Nothing is computed here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/hub.h"
#include "models/adapter.h"
#include "models/gguf_model.h"
#include "models/model.h"
#include "models/timm.h"

enum { CONFIG_BYTES = 64 << 20, CONFIG_VALUES = 4 << 20, TEMPLATE_BYTES = 1 << 20 };

rebus_model_options rebus_model_defaults(void)
{
	return (rebus_model_options){0};
}

const char *model_architecture(const json *config)
{
	return json_text(json_at(json_get(config, "architectures"), 0), NULL);
}

const char *model_precision(const struct rebus_model *m)
{
	precision as = packs_precision(m->ready);
	return m->gguf && !m->widened && as == PRECISION_F32 ? "stored" : precision_name(as);
}

void model_warn(struct rebus_model *m, const char *text)
{
	if (text && m->warning_count < MODEL_WARNINGS)
		m->warnings[m->warning_count++] = text;
}

static const char *path_in(struct rebus_model *m, const char *file)
{
	return arena_format(&m->mem, "%s/%s", m->folder, file);
}

/* ------------------------------------------------------------------------------------------------ configuration */
static rebus_status known_families(const char *type, rebus_error *err)
{
	char list[160] = "";
	for (size_t i = 0, n = 0; registry_at(i); i++) {
		const family *f = registry_at(i);
		bool told = f->architectures && !f->builds && f == registry_find(f->model_type);
		if (told && n + strlen(f->model_type) + 3 < sizeof list)
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", f->model_type);
	}
	return error_set(err, REBUS_UNSUPPORTED, "config.json: model_type: %s, expected one of %s", type, list);
}

/* Weights of other kinds than numbers, and models that are code. */
static rebus_status refuse(const json *config, rebus_error *err)
{
	const json *q = json_get(config, "quantization_config");
	const char *method = json_text(json_get(q, "quant_method"), NULL), *type = json_text(json_get(config, "model_type"), NULL);
	if (json_kind_of(q) == JSON_MAP)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: quantization_config: %.40s, expected weights in f32, f16 or bf16",
			method ? method : "bitsandbytes");
	if (json_kind_of(json_get(config, "auto_map")) == JSON_MAP && (!type || !registry_find(type)))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: auto_map: %.60s is code in the folder, which is never run, expected a family rebus knows",
			type ? type : "the model");
	return REBUS_OK;
}

static rebus_status check_architecture(struct rebus_model *m, const family *f, rebus_error *err)
{
	m->architecture = model_architecture(m->config);
	if (!m->architecture && f->builds)
		m->architecture = timm_architecture(m->config);
	if (!m->architecture || f->builds)
		return REBUS_OK;
	for (size_t i = 0; f->architectures[i]; i++)
		if (!strcmp(f->architectures[i], m->architecture))
			return REBUS_OK;
	char list[150] = ""; /* of a message of 256 */
	size_t n = 0;
	for (size_t k = 0; registry_at(k); k++)
		for (size_t i = 0; !strcmp(registry_at(k)->model_type, f->model_type) && registry_at(k)->architectures && registry_at(k)->architectures[i]; i++)
			if (n + strlen(registry_at(k)->architectures[i]) + 3 < sizeof list)
				n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", registry_at(k)->architectures[i]);
	return error_set(err, REBUS_UNSUPPORTED, "config.json: architectures: %.60s, expected one of %s", m->architecture, list);
}

static rebus_status read_component(struct rebus_model *m, const family *f, const json *object, const char *where, component *out, rebus_error *err)
{
	out->f = f;
	out->config = arena_zero(&m->mem, 1, f->config_size);
	if (!out->config)
		return error_memory(err, "config.json");
	rebus_status status = f->begin ? f->begin(object, out->config, err) : REBUS_OK;
	if (!status)
		status = config_read(&m->mem, object, where, f->fields, f->field_count, out->config, err);
	if (!status && f->derive)
		status = f->derive(&m->mem, out->config, err);
	return status;
}

static rebus_status read_part(struct rebus_model *m, const sub_config *s, component *out, rebus_error *err)
{
	if (!s->member)
		return REBUS_OK;
	const json *object = json_get(m->config, s->member);
	const char *type = json_text(json_get(object, "model_type"), NULL);
	const family *f = registry_find(type ? type : s->fallback);
	json_kind kind = json_kind_of(json_get(object, "model_type"));
	if (!type && kind != JSON_NONE && kind != JSON_NULL)
		return error_set(err, REBUS_FORMAT, "config.json: %s.model_type: expected the name of a family", s->member);
	if (!f || (s->exact && strcmp(f->model_type, s->fallback)))
		return error_set(err, REBUS_UNSUPPORTED, "config.json: %s.model_type: %s, expected %s", s->member, type, s->fallback);
	bool tower = s == &m->self.f->vision;
	if (tower ? !f->tower_layers : !f->text_layers)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: %s.model_type: %s is not a %s", s->member, f->model_type, tower ? "vision tower" : "text model");
	const char *where = arena_format(&m->mem, "config.json: %s", s->member);
	if (!where)
		return error_memory(err, "config.json");
	return read_component(m, f, object, where, out, err);
}

/* By model_type, or where the folder is timm's by its architecture. */
static rebus_status find_family(const struct rebus_model *m, const char *path, const family **out, rebus_error *err)
{
	const char *built = timm_architecture(m->config), *type = json_text(json_get(m->config, "model_type"), NULL);
	const family *f = built ? registry_builds(built) : type ? registry_choose(type, model_architecture(m->config)) : NULL;
	rebus_status refused = refuse(m->config, err);
	if (refused)
		return refused;
	if (built && !f)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: architecture: %.60s, expected one of timm's ViT, DeiT, FlexiViT or Swin", built);
	if (!built && !type)
		return error_set(err, REBUS_FORMAT, "%s: model_type: missing, expected the name of a family", path);
	if (!f || !f->architectures)
		return known_families(type, err);
	*out = f;
	return REBUS_OK;
}

/* A folder with a tokenizer and no config.json: its tokens can be shown, nothing else. config stays NULL. */
static const family words_only = {.model_type = "words only"};

static rebus_status read_config(struct rebus_model *m, rebus_error *err)
{
	rebus_status status;
	const char *path = path_in(m, "config.json");
	if (!path)
		return error_memory(err, "config.json");
	bool words = false;
	if (!m->gguf && !file_exists(path))
		TRY(text_exists(m->mem.from, m->folder, &words, err));
	if (words) {
		m->self.f = &words_only;
		return REBUS_OK;
	}
	TRY(m->gguf ? gguf_model_config(m, err) : json_load(path, CONFIG_BYTES, CONFIG_VALUES, &m->config, err));
	const family *f = NULL;
	TRY(find_family(m, path, &f, err));
	TRY(check_architecture(m, f, err));
	TRY(read_component(m, f, m->config, "config.json", &m->self, err));
	TRY(read_part(m, &f->vision, &m->vision, err));
	TRY(read_part(m, &f->text, &m->text, err));
	if (f->tower)
		m->vision = m->self;
	if (f->words)
		m->text = m->self;
	TRY(f->classes ? model_label_names(m, m->config, f->classes(m->self.config), err) : model_labels(m, m->config, err));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ weights */
/* Does any tensor of the table lie there? Layers do not count, nor names with alternatives, which may lie elsewhere. */
static bool prefix_fits(const struct rebus_model *m, const family *f, const char *prefix)
{
	for (size_t i = 0; i < f->row_count; i++) {
		const char *names = f->rows[i].names;
		bool counts = !i || (!strncmp(names, "{p}", 3) && !strstr(names, "{i}") && !strchr(names, '|'));
		if (counts && bind_has(m->weights, prefix, names))
			return true;
	}
	return false;
}

/* The first of '|' separated prefixes that fits; the last one if none does. */
static const char *find_prefix(struct rebus_model *m, const family *f, const char *prefixes)
{
	const char *p = prefixes ? prefixes : "", *best = NULL;
	for (;;) {
		size_t n = strcspn(p, "|");
		best = arena_text(&m->mem, p, n);
		if (!best || !p[n] || prefix_fits(m, f, best))
			return best;
		p += n + 1;
	}
}

static rebus_status bind_stages(struct rebus_model *m, component *c, const char *prefix, rebus_error *err);

static rebus_status bind_component(struct rebus_model *m, component *c, const char *prefixes, rebus_error *err)
{
	const family *f = c->f;
	c->weights = arena_zero(&m->mem, 1, f->weights_size);
	const char *prefix = find_prefix(m, f, prefixes);
	if (!c->weights || !prefix)
		return error_memory(err, "weights");
	bind_job job = {.from = m->weights, .prefix = prefix, .rows = f->rows, .count = f->row_count, .config = c->config, .into = c->weights, .used = m->used,
		.own = m->own, .plain = m->gguf, .blocks = m->gguf && !m->widened};
	if (f->layers_at != SIZE_MAX) {
		job.layer_count = component_layers(c);
		job.layer_size = f->layer_size ? f->layer_size : sizeof(block_weights);
		job.layers = arena_zero(&m->mem, (size_t)job.layer_count, job.layer_size);
		if (!job.layers)
			return error_memory(err, "weights");
		memcpy((char *)c->weights + f->layers_at, &job.layers, sizeof job.layers);
	}
	rebus_status status = bind_weights(&m->mem, &job, err);
	return status || !f->stage ? status : bind_stages(m, c, prefix, err);
}

static rebus_status bind_stages(struct rebus_model *m, component *c, const char *prefix, rebus_error *err)
{
	while (c->f->stage_config(c->config, c->stages))
		c->stages++;
	c->stage = arena_zero(&m->mem, (size_t)c->stages, sizeof *c->stage);
	if (!c->stage)
		return error_memory(err, "weights");
	for (int64_t i = 0; i < c->stages; i++) {
		c->stage[i] = (component){.f = c->f->stage, .config = c->f->stage_config(c->config, i)};
		const char *own = arena_format(&m->mem, "%s%s%lld.", prefix, c->f->stage_prefix, (long long)i);
		if (!own)
			return error_memory(err, "weights");
		rebus_status status = bind_component(m, &c->stage[i], own, err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

static rebus_status warn_unused(struct rebus_model *m, rebus_error *err)
{
	size_t ignored = 0, at = 0, count = 0;
	while (m->self.f->ignored && m->self.f->ignored[ignored])
		ignored++;
	const tensor_info *first = NULL, *t;
	while ((t = bind_unused(m->weights, m->used, m->self.f->ignored, ignored, &at))) {
		first = first ? first : t;
		count++;
	}
	if (!count)
		return REBUS_OK;
	const char *text = arena_format(&m->mem, "%zu tensors of the checkpoint are not used, the first is %s", count, first->name);
	if (!text)
		return error_memory(err, "a warning");
	model_warn(m, text);
	return REBUS_OK;
}

static rebus_status read_weights(struct rebus_model *m, const rebus_model_options *o, rebus_error *err)
{
	rebus_status status;
	TRY(m->gguf ? gguf_model_weights(m, err) : safetensors_open(&m->mem, m->folder, o->copy ? LOAD_COPY : LOAD_MAP, &m->weights, err));
	m->used = bind_used(&m->mem, m->weights);
	if (o->trainable)
		m->own = arena_zero(&m->mem, safetensors_count(m->weights) + 1, sizeof *m->own);
	if (!m->used || (o->trainable && !m->own)) {
		status = error_memory(err, "weights");
		goto done;
	}
	const family *f = m->self.f;
	TRY(bind_component(m, &m->self, f->prefixes, err));
	if (f->tower)
		m->vision = m->self;
	else if (m->vision.f)
		TRY(bind_component(m, &m->vision, f->vision.prefixes, err));
	if (f->words)
		m->text = m->self;
	else if (m->text.f)
		TRY(bind_component(m, &m->text, f->text.prefixes, err));
	if (o->patch_size && (!f->repatch || o->trainable)) {
		status = error_set(err, REBUS_MISUSE, "patch size %d: a %s model%s has patches of one size", o->patch_size, f->model_type,
			f->repatch ? " that is trained" : "");
		goto done;
	}
	if (o->patch_size)
		TRY(f->repatch(&m->mem, &m->self, o->patch_size, err));
	TRY(warn_unused(m, err));
	if (o->adapter)
		TRY(adapter_read(m, o->adapter, err));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ processor, words */
/* The path of a file of the folder, NULL where there is none. */
static rebus_status find_file(struct rebus_model *m, const char *file, const char **path, rebus_error *err)
{
	const char *p = path_in(m, file);
	if (!p)
		return error_memory(err, file);
	*path = file_exists(p) ? p : NULL;
	return REBUS_OK;
}

static rebus_status read_processor(struct rebus_model *m, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	const char *old = NULL, *combined = NULL;
	if (!m->vision.f)
		return REBUS_OK;
	bool built = m->self.f->builds != NULL;
	TRY(find_file(m, "preprocessor_config.json", &old, err));
	TRY(find_file(m, "processor_config.json", &combined, err));
	if (!old && !combined && !built)
		return REBUS_OK;
	processor *p = arena_zero(&m->mem, 1, sizeof *p);
	if (!p)
		return error_memory(err, "the image processor");
	if (built) {
		const json *about = json_get(m->config, "pretrained_cfg");
		TRY(vision_processor_timm(about ? about : m->config, "config.json", p, err));
		m->pictures = p;
		return REBUS_OK;
	}
	TRY(vision_processor_load(&m->mem, m->folder, m->self.f->processor, p, err));
	for (int32_t i = 0; i < p->warning_count; i++)
		model_warn(m, p->warnings[i]);
	m->pictures = p;
done:
	return status;
}

static rebus_status parse_chat(struct rebus_model *m, const char *source, size_t size, const char *file, rebus_error *err)
{
	rebus_status status = template_parse(&m->mem, source, size, NULL, &m->chat, err);
	return status ? error_prefix(err, status, "%s", file) : REBUS_OK;
}

/* chat_template.jinja, else chat_template.json, else the tokenizer's. */
static rebus_status read_chat(struct rebus_model *m, rebus_error *err)
{
	rebus_status status;
	file_map f = {0};
	json *j = NULL;
	const char *path = NULL, *s;
	size_t n;
	if (!m->gguf)
		TRY(find_file(m, "chat_template.jinja", &path, err));
	if (path) {
		TRY(file_open(&f, path, TEMPLATE_BYTES, true, m->mem.from, err));
		status = parse_chat(m, (const char *)f.data, f.size, "chat_template.jinja", err);
		file_close(&f);
		return status;
	}
	if (!m->gguf)
		TRY(find_file(m, "chat_template.json", &path, err));
	if (path) {
		TRY(json_load(path, 2 * TEMPLATE_BYTES, 1000, &j, err));
		s = json_text(json_get(j, "chat_template"), &n);
		status = s ? parse_chat(m, s, n, "chat_template.json", err) : error_set(err, REBUS_FORMAT, "chat_template.json: chat_template: missing, expected text");
		json_free(j);
		return status;
	}
	s = text_get_info(m->words)->chat_template;
	status = s ? parse_chat(m, s, strlen(s), m->gguf ? "tokenizer.chat_template" : "tokenizer_config.json: chat_template", err) : REBUS_OK;
done:
	return status;
}

static void add_eos(struct rebus_model *m, const json *j)
{
	int64_t id;
	for (size_t i = 0; i < (json_kind_of(j) == JSON_LIST ? json_count(j) : 1) && m->eos_count < (int32_t)COUNT_OF(m->eos); i++)
		if (json_int(json_kind_of(j) == JSON_LIST ? json_at(j, i) : j, &id) && id >= 0 && id <= INT32_MAX)
			m->eos[m->eos_count++] = (int32_t)id;
}

/* generation_config.json, else config.json, else its text_config, else the tokenizer: as generate() finds it. */
static rebus_status read_eos(struct rebus_model *m, rebus_error *err)
{
	rebus_status status;
	json *g = NULL;
	const char *path = NULL;
	if (!m->gguf)
		TRY(find_file(m, "generation_config.json", &path, err));
	if (path) {
		TRY(json_load(path, 1 << 20, 10000, &g, err));
		if (json_kind_of(g) == JSON_MAP)
			add_eos(m, json_get(g, "eos_token_id"));
		else
			status = error_set(err, REBUS_FORMAT, "generation_config.json: not an object");
		json_free(g);
		TRY(status);
	}
	if (!m->eos_count)
		add_eos(m, json_get(m->config, "eos_token_id"));
	if (!m->eos_count && m->self.f->text.member)
		add_eos(m, json_get(json_get(m->config, m->self.f->text.member), "eos_token_id"));
	if (!m->eos_count && m->words && text_named_id(m->words, TEXT_EOS) >= 0)
		m->eos[m->eos_count++] = text_named_id(m->words, TEXT_EOS);
done:
	return status;
}

static rebus_status read_words(struct rebus_model *m, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool there = false;
	if (!m->text.f && m->config)
		return REBUS_OK;
	if (m->gguf)
		there = text_gguf_exists(m->gguf);
	else
		TRY(text_exists(m->mem.from, m->folder, &there, err));
	if (there) {
		TRY(m->gguf ? text_open_gguf(&m->mem, m->gguf, &m->words, err) : text_open(&m->mem, m->folder, &m->words, err));
		if (m->self.f->abilities & REBUS_GENERATES)
			TRY(read_chat(m, err));
	}
	if (m->self.f->abilities & REBUS_GENERATES)
		TRY(read_eos(m, err));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ open, close */
static rebus_status pick_level(struct rebus_model *m, const char *asked, rebus_error *err)
{
	const char *name = asked ? asked : getenv("REBUS_CPU");
	cpu_level level = cpu_detect();
	if (name && *name && !cpu_parse(name, &level))
		return error_set(err, REBUS_MISUSE, "cpu level %s, expected portable, avx2, avx512, avx512bf16 or neon", name);
	m->k = kernels_get(level);
	return REBUS_OK;
}

static rebus_status pick_precision(struct rebus_model *m, const char *asked, bool trainable, rebus_error *err)
{
	precision as = PRECISION_F32;
	if (asked && !precision_parse(asked, &as))
		return error_set(err, REBUS_MISUSE, "precision %s, expected f32, bf16 or int8", asked);
	if (trainable && as != PRECISION_F32)
		return error_set(err, REBUS_UNSUPPORTED, "precision %s: a model to be trained computes in f32", asked);
	return packs_new(m->mem.from, as, &m->ready, err);
}

static bool ends_as_gguf(const char *path)
{
	size_t n = strlen(path);
	return n > 5 && !strcmp(path + n - 5, ".gguf");
}

/* A GGUF file, or a folder. In f32, asked for by name, weights in blocks are widened when opened; else they stay as they lie. */
static rebus_status find_model(struct rebus_model *m, const char *path, const rebus_model_options *o, bool whole, rebus_error *err)
{
	if (file_is_folder(path) || !ends_as_gguf(path))
		return hub_folder(&m->mem, path, &m->folder, err);
	if (o->trainable || !whole)
		return error_set(err, REBUS_UNSUPPORTED, "%s: a GGUF file, expected a folder to train from", path);
	m->folder = arena_text(&m->mem, path, strlen(path));
	m->widened = o->precision && packs_precision(m->ready) == PRECISION_F32;
	return m->folder ? gguf_open(&m->mem, path, o->copy ? LOAD_COPY : LOAD_MAP, &m->gguf, err) : error_memory(err, path);
}

static rebus_status open_folder(const char *folder, const rebus_model_options *options, bool whole, rebus_model **out, rebus_error *err)
{
	rebus_model_options o = options ? *options : rebus_model_defaults();
	rebus_status status;
	arena mem;
	arena_init(&mem, o.allocator, 0);
	rebus_model *m = arena_zero(&mem, 1, sizeof *m);
	if (!m) {
		arena_free(&mem);
		return error_memory(err, "a model");
	}
	m->mem = mem;
	TRY(pick_level(m, o.cpu, err));
	TRY(pick_precision(m, o.precision, o.trainable, err));
	TRY(find_model(m, folder, &o, whole, err));
	status = read_config(m, err);
	if (status && m->gguf && !strncmp(err ? err->text : "", "config.json", 11))
		error_prefix(err, status, "%s: as its", gguf_name(m->gguf));
	TRY(status);
	if (m->config && whole) {
		TRY(read_weights(m, &o, err));
		TRY(read_processor(m, err));
	}
	if (whole)
		TRY(read_words(m, err));
	*out = m;
	m = NULL;
done:
	rebus_model_close(m);
	return status;
}

rebus_status rebus_model_open(const char *folder, const rebus_model_options *options, rebus_model **out, rebus_error *err)
{
	return open_folder(folder, options, true, out, err);
}

rebus_status model_open_config(const char *folder, rebus_model **out, rebus_error *err)
{
	return open_folder(folder, NULL, false, out, err);
}

void rebus_model_close(rebus_model *m)
{
	if (!m)
		return;
	packs_free(m->ready);
	text_close(m->words);
	safetensors_close(m->weights);
	gguf_close(m->gguf);
	json_free(m->config);
	arena mem = m->mem; /* the model lies in its own arena */
	arena_free(&mem);
}

unsigned rebus_model_abilities(const rebus_model *m)
{
	return m->self.f->abilities & (m->labels ? ~0u : ~(unsigned)REBUS_CLASSIFIES);
}

const char *rebus_model_family(const rebus_model *m)
{
	return m->self.f->model_type;
}

const char *rebus_model_warning(const rebus_model *m, size_t number)
{
	return number < m->warning_count ? m->warnings[number] : NULL;
}
