/*
 * export.c - the trained model as a checkpoint folder of its own: the files beside the weights copied, the weights written
 * under their names and shapes; what was not trained is copied as it is.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "files/safetensors.h"
#include "train/trainer.h"

enum { MOST_BYTES = 256 << 20 };

rebus_status make_folder(const char *path, rebus_error *err)
{
	if (mkdir(path, 0777) && errno != EEXIST)
		return error_set(err, REBUS_IO, "%s: cannot be made: %s", path, strerror(errno));
	return file_is_folder(path) ? REBUS_OK : error_set(err, REBUS_IO, "%s: is a file, expected a folder to write", path);
}

static bool ends(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);
	return n >= k && !strcmp(text + n - k, end);
}

/* What describes a model, its tokenizer and processor, and its licence. */
static bool wanted(const char *name)
{
	if (ends(name, ".index.json") || name[0] == '.')
		return false;
	return ends(name, ".json") || ends(name, ".jinja") || ends(name, ".txt") || ends(name, ".model") || !strncmp(name, "LICENSE", 7);
}

static rebus_status copy_file(const char *from, const char *to, rebus_error *err)
{
	file_map f;
	file_out out;
	rebus_status status = file_open(&f, from, MOST_BYTES, true, NULL, err);
	if (status)
		return status;
	status = file_create(&out, to, err);
	if (!status) {
		status = file_write(&out, f.data, f.size, err);
		if (!status)
			status = file_commit(&out, err);
		if (status)
			file_discard(&out);
	}
	file_close(&f);
	return status;
}

rebus_status copy_folder(const char *from, const char *to, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena a;
	DIR *d = opendir(from);
	if (!d)
		return error_set(err, REBUS_IO, "%s: cannot be read", from);
	arena_init(&a, NULL, 0);
	for (struct dirent *e; !status && (e = readdir(d));) {
		if (!wanted(e->d_name))
			continue;
		const char *source = arena_format(&a, "%s/%s", from, e->d_name), *copy = arena_format(&a, "%s/%s", to, e->d_name);
		if (!source || !copy)
			status = error_memory(err, "a folder");
		else if (!file_is_folder(source))
			status = copy_file(source, copy, err);
	}
	closedir(d);
	arena_free(&a);
	return status;
}

rebus_status fresh_folder(const char *from, const char *to, uint64_t seed, rebus_error *err)
{
	rebus_status status;
	rebus_model *m = NULL;
	arena a;
	arena_init(&a, NULL, 0);
	const char *path = arena_format(&a, "%s/model.safetensors", to);
	TRY(path ? REBUS_OK : error_memory(err, "a folder"));
	TRY(model_open_config(from, &m, err));
	TRY(make_folder(to, err));
	TRY(copy_folder(from, to, err));
	TRY(model_write_fresh(m, seed, path, err));
done:
	rebus_model_close(m);
	arena_free(&a);
	return status;
}

/* ------------------------------------------------------------------------------------------------ weights */
static const parameter *find(const trainer *t, const char *name)
{
	for (int32_t i = 0; i < t->list.count; i++)
		if (!t->list.at[i].frozen && t->list.at[i].name && !strcmp(t->list.at[i].name, name))
			return &t->list.at[i];
	return NULL;
}

static rebus_status place(const parameter *p, const tensor_info *x, arena *a, tensor_out *out, rebus_error *err)
{
	const float *from = p->average ? p->average : p->value;
	out->type = TENSOR_F32;
	out->data = from;
	if (!p->turned && !p->plus_one)
		return REBUS_OK;
	float *to = arena_get(a, (size_t)p->count, sizeof *to);
	if (!to)
		return error_memory(err, x->name);
	for (int64_t o = 0; o < p->rows; o++)
		for (int64_t i = 0; i < p->width; i++)
			to[p->turned ? i * p->rows + o : o * p->width + i] = from[o * p->width + i] - (p->plus_one ? 1.0f : 0.0f);
	out->data = to;
	return REBUS_OK;
}

/* "dtype": "bfloat16" in the text of config.json becomes "float32", which is what the weights are now. */
static rebus_status write_config(const char *path, arena *a, rebus_error *err)
{
	rebus_status status;
	file_map f;
	file_out out;
	buf b;
	buf_init(&b, NULL, MOST_BYTES);
	TRY(file_open(&f, path, MOST_BYTES, true, NULL, err));
	const char *text = arena_text(a, (const char *)f.data, f.size);
	file_close(&f);
	TRY(text ? REBUS_OK : error_memory(err, path));
	while (*text) {
		size_t n = strcspn(text, "\"");
		buf_add(&b, text, n);
		text += n;
		size_t key = !strncmp(text, "\"dtype\"", 7) ? 7 : !strncmp(text, "\"torch_dtype\"", 13) ? 13 : 0;
		size_t blank = key ? strspn(text + key, " \t\r\n:") : 0;
		const char *value = text + key + blank, *stop = key && *value == '"' ? strchr(value + 1, '"') : NULL;
		if (stop) {
			buf_add(&b, text, key + blank);
			buf_text(&b, "\"float32\"");
			text = stop + 1;
		} else if (*text) {
			buf_byte(&b, *text++);
		}
	}
	TRY(buf_check(&b, err, path));
	TRY(file_create(&out, path, err));
	status = file_write(&out, b.data, b.size, err);
	if (!status)
		status = file_commit(&out, err);
	if (status)
		file_discard(&out);
done:
	buf_free(&b);
	return status;
}

/* A folder like the one that was opened, with what was trained, and with an adapter folded in. */
typedef struct writing {
	const rebus_model *m;
	const trainer *t; /* NULL: nothing was trained */
	const char *from, *to;
	bool fold;
} writing;

static const float *trained(void *user, const char *key, const float *as_it_is)
{
	const trainer *t = user;
	const parameter *p = t ? find(t, key) : NULL;
	return !p ? as_it_is : p->average ? p->average : p->value;
}

static rebus_status new_values(const writing *w, const tensor_info *x, arena *a, tensor_out *out, rebus_error *err)
{
	const parameter *p = w->t ? find(w->t, x->name) : NULL;
	const float *folded = NULL;
	if (p)
		return place(p, x, a, out, err);
	rebus_status status = w->fold ? adapter_fold(w->m, x, &(adapter_values){trained, (void *)(uintptr_t)w->t}, a, &folded, err) : REBUS_OK;
	if (folded)
		*out = (tensor_out){.name = x->name, .type = TENSOR_F32, .rank = x->rank, .data = folded};
	memcpy(out->shape, x->shape, sizeof x->shape);
	return status;
}

static rebus_status write_model(const writing *w, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, NULL, 0);
	size_t count = safetensors_count(w->m->weights);
	bool narrow = false;
	tensor_out *list = arena_zero(&a, count + 1, sizeof *list);
	const char *path = arena_format(&a, "%s/model.safetensors", w->to), *config = arena_format(&a, "%s/config.json", w->to);
	if (!list || !path || !config) {
		status = error_memory(err, "a model");
		goto done;
	}
	for (size_t i = 0; i < count; i++) {
		const tensor_info *x = safetensors_at(w->m->weights, i);
		list[i] = (tensor_out){.name = x->name, .type = x->type, .rank = x->rank, .data = x->data};
		memcpy(list[i].shape, x->shape, sizeof x->shape);
		TRY(new_values(w, x, &a, &list[i], err));
		narrow |= list[i].type != x->type;
	}
	if (w->from)
		TRY(copy_folder(w->from, w->to, err));
	TRY(safetensors_write(path, list, count, err));
	if (narrow)
		TRY(write_config(config, &a, err));
done:
	arena_free(&a);
	return status;
}

/* What is trained whole beside the factors, as the checkpoint has it. */
static rebus_status whole_tensors(const trainer *t, arena *a, tensor_out **out, size_t *count, rebus_error *err)
{
	size_t n = safetensors_count(t->m->weights);
	tensor_out *list = arena_zero(a, n + 1, sizeof *list);
	if (!list)
		return error_memory(err, "an adapter");
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		const tensor_info *x = safetensors_at(t->m->weights, i);
		const parameter *p = find(t, x->name);
		if (!p)
			continue;
		tensor_out *to = &list[(*count)++];
		*to = (tensor_out){.name = x->name, .rank = x->rank};
		memcpy(to->shape, x->shape, sizeof x->shape);
		rebus_status status = place(p, x, a, to, err);
		if (status)
			return status;
	}
	*out = list;
	return REBUS_OK;
}

static rebus_status export_adapter(trainer *t, rebus_error *err)
{
	rebus_status status;
	arena a;
	tensor_out *whole = NULL;
	size_t count = 0;
	arena_init(&a, NULL, 0);
	TRY(whole_tensors(t, &a, &whole, &count, err));
	TRY(adapter_write(t->m, t->r->out, t->r->model, &(adapter_values){trained, t}, whole, count, err));
	if (t->r->merge) {
		TRY(make_folder(t->r->merge, err));
		TRY(write_model(&(writing){.m = t->m, .t = t, .from = t->m->folder, .to = t->r->merge, .fold = true}, err));
	}
done:
	arena_free(&a);
	return status;
}

rebus_status export_model(trainer *t, rebus_error *err)
{
	if (t->m->adapter)
		return export_adapter(t, err);
	return write_model(&(writing){.m = t->m, .t = t, .from = t->r->model ? t->m->folder : NULL, .to = t->r->out}, err);
}

rebus_status rebus_merge(const char *folder, const char *adapter, const char *out, rebus_error *err)
{
	rebus_status status;
	rebus_model *m = NULL;
	rebus_model_options o = rebus_model_defaults();
	o.adapter = adapter;
	TRY(rebus_model_open(folder, &o, &m, err));
	TRY(make_folder(out, err));
	TRY(write_model(&(writing){.m = m, .from = m->folder, .to = out, .fold = true}, err));
done:
	rebus_model_close(m);
	return status;
}
