/*
 * fresh.c - new weights for a configuration: which tensors its model has, of which shape, and what they begin as.
 *
 *     parts ─► table rows, layer by layer ─► name (the first alternative), sides ─► values by kind ─► .safetensors
 *
 *     biases                                   0
 *     norm weights                             1
 *     layer scales                             config's layerscale_value
 *     logit_scale, logit_bias                  config's logit_scale_init_value, else log 10 (SigLIP, Swin V2); -10
 *     positions that are not learned           sines and cosines (ViTMAE)
 *     everything else                          normal, deviation initializer_range (0.02), cut at two deviations
 *
 * as transformers' _init_weights does it for these families (CLIP's own factors aside).
 */
#include <math.h>
#include <string.h>

#include "files/safetensors.h"
#include "models/model.h"

typedef struct making {
	const struct rebus_model *m;
	arena *a;
	tensor_out *list;
	size_t count, room;
	uint64_t seed;
	double deviation;
	rebus_error *err;
} making;

/* ------------------------------------------------------------------------------------------------ values */
static double unit(uint64_t seed, uint64_t i)
{
	return (double)(bits_mix(bits_mix(seed) ^ i) >> 11) * 0x1p-53;
}

/* Box and Muller; what lies beyond two deviations is drawn again. */
static double cut_normal(uint64_t seed, uint64_t i)
{
	for (uint64_t k = 0; k < 64; k++) {
		double u = unit(seed, 128 * i + 2 * k), v = unit(seed, 128 * i + 2 * k + 1), x = sqrt(-2 * log(1 - u)) * cos(2 * acos(-1.0) * v);
		if (fabs(x) <= 2)
			return x;
	}
	return 0;
}

static double real_of(const making *x, const char *key, double fallback)
{
	double v = fallback;
	json_real(json_get(x->m->config, key), &v);
	return v;
}

static bool ends(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);
	return n >= k && !strcmp(text + n - k, end);
}

/* NAN: drawn */
static double constant(const making *x, const char *name, weight_kind kind, bool plus_one)
{
	bool one = kind == WEIGHT_VECTOR || kind == WEIGHT_SCALAR;
	if (kind == WEIGHT_BIAS || (one && ends(name, ".bias")))
		return 0;
	if (strstr(name, "logit_scale"))
		return real_of(x, "logit_scale_init_value", log(10));
	if (strstr(name, "logit_bias"))
		return -10;
	if (strstr(name, "lambda"))
		return real_of(x, "layerscale_value", 1);
	if (one && ends(name, ".weight"))
		return plus_one ? 0 : 1;
	return NAN;
}

/*
 * Vaswani et al. 2017, in two dimensions, as ViTMAE has them: a quarter of the columns each sin and cos of the column, then of the
 * row, times 10000^-(i / quarter). Learned rows before the patches have zeros.
 */
static void waves(const tower_shape *s, const tensor_out *t, float *data)
{
	int64_t wide = t->shape[t->rank - 1], quarter = wide / 4, columns = s->image[1] / s->patch[1];
	memset(data, 0, (size_t)(s->positions * wide) * sizeof *data);
	for (int64_t cell = 0; cell < s->positions - s->placed; cell++) {
		float *row = data + (s->placed + cell) * wide;
		for (int64_t i = 0; i < quarter; i++) {
			double turn = pow(10000, -(double)i / (double)quarter), x = (double)(cell % columns) * turn, y = (double)(cell / columns) * turn;
			row[i] = (float)sin(x);
			row[quarter + i] = (float)cos(x);
			row[2 * quarter + i] = (float)sin(y);
			row[3 * quarter + i] = (float)cos(y);
		}
	}
}

static bool flag(const component *c, int32_t where)
{
	bool v = false;
	if (where)
		memcpy(&v, (const char *)c->config + where - 1, sizeof v);
	return v;
}

static rebus_status fill(making *x, const component *c, const weight_row *row, tensor_out *t)
{
	weight_kind kind = row->kind;
	size_t n = 1;
	for (int32_t i = 0; i < t->rank; i++)
		if (!size_mul(n, (size_t)t->shape[i], &n))
			return error_memory(x->err, t->name);
	float *data = arena_get(x->a, n, sizeof *data);
	if (!data)
		return error_memory(x->err, t->name);
	t->data = data;
	if (flag(c, row->blank)) {
		memset(data, 0, n * sizeof *data);
		return REBUS_OK;
	}
	if (flag(c, row->waves)) {
		waves(c->f->tower(c->config), t, data);
		return REBUS_OK;
	}
	uint64_t seed = x->seed;
	for (const char *p = t->name; *p; p++)
		seed = bits_mix(seed ^ (uint8_t)*p);
	double value = constant(x, t->name, kind, row->plus_one);
	for (size_t i = 0; i < n; i++)
		data[i] = (float)(isnan(value) ? x->deviation * cut_normal(seed, i) : value);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ tensors */
static int64_t width(const component *c)
{
	int64_t v;
	memcpy(&v, (const char *)c->config + c->f->width_at, sizeof v);
	return v;
}

static int64_t side(const making *x, const void *config, int32_t where)
{
	int64_t v = 1;
	if (where > 0)
		memcpy(&v, (const char *)config + where - 1, sizeof v);
	if (where == WEIGHT_TOWER || where == WEIGHT_WORDS)
		return width(where == WEIGHT_TOWER ? &x->m->vision : &x->m->text);
	return where < 0 ? x->m->label_count : v;
}

static void shape(const making *x, const component *c, const weight_row *row, tensor_out *t)
{
	int64_t out = side(x, c->config, row->out) * (row->third ? 3 : 1), in = side(x, c->config, row->in) * side(x, c->config, row->times);
	for (int32_t i = 0; i < row->lead; i++)
		t->shape[t->rank++] = 1;
	if (row->kind == WEIGHT_SCALAR)
		return;
	if (row->kind == WEIGHT_TURNED) {
		t->shape[t->rank++] = in;
		t->shape[t->rank++] = out;
	} else if (row->kind == WEIGHT_CONV) {
		const tower_shape *s = c->f->tower(c->config);
		t->shape[t->rank++] = out;
		t->shape[t->rank++] = s->channels;
		t->shape[t->rank++] = s->patch[0];
		t->shape[t->rank++] = s->patch[1];
	} else {
		t->shape[t->rank++] = out;
		if (row->kind != WEIGHT_BIAS && row->kind != WEIGHT_VECTOR)
			t->shape[t->rank++] = in;
	}
	for (int32_t i = 0; i < row->trail; i++)
		t->shape[t->rank++] = 1;
}

/* one: endings, '|' separated; NULL: none */
static bool ends_with_one(const char *text, const char *one)
{
	size_t n = strlen(text);
	for (const char *p = one; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL) {
		size_t k = strcspn(p, "|");
		if (n >= k && !strncmp(text + n - k, p, k))
			return true;
	}
	return false;
}

static bool belongs(const making *x, const component *c, const weight_row *row)
{
	bool there = (!row->when || flag(c, row->when)) && !flag(c, row->unless);
	return there && (!row->optional || (x->m->architecture && ends_with_one(x->m->architecture, row->only)));
}

/* The first of a row's names. */
static const char *name_of(arena *a, const char *names, const char *prefix, int64_t layer)
{
	buf b;
	buf_init(&b, a->from, TENSOR_NAME);
	for (const char *p = names; *p && *p != '|';) {
		if (!strncmp(p, "{p}", 3))
			buf_text(&b, prefix);
		else if (!strncmp(p, "{i}", 3))
			buf_format(&b, "%lld", (long long)layer);
		else
			buf_byte(&b, *p);
		p += !strncmp(p, "{p}", 3) || !strncmp(p, "{i}", 3) ? 3 : 1;
	}
	const char *text = b.failed ? NULL : arena_text(a, b.data, b.size);
	buf_free(&b);
	return text;
}

static rebus_status make_tensor(making *x, const component *c, const weight_row *row, const char *prefix, int64_t layer)
{
	tensor_out t = {.name = name_of(x->a, row->names, prefix, layer), .type = TENSOR_F32};
	if (!t.name)
		return error_memory(x->err, "weights");
	for (size_t i = 0; i < x->count; i++)
		if (!strcmp(x->list[i].name, t.name)) /* the same tensor seen as two weights */
			return REBUS_OK;
	if (x->count == x->room) {
		size_t room = x->room ? 2 * x->room : 256;
		tensor_out *more = arena_get(x->a, room, sizeof *more);
		if (!more)
			return error_memory(x->err, "weights");
		if (x->count)
			memcpy(more, x->list, x->count * sizeof *more);
		x->list = more;
		x->room = room;
	}
	shape(x, c, row, &t);
	rebus_status status = fill(x, c, row, &t);
	if (!status)
		x->list[x->count++] = t;
	return status;
}

/* A bare model's tensors have no prefix, where its family may be without one. */
static const char *first_prefix(const making *x, const family *f, const char *prefixes)
{
	const char *p = prefixes ? prefixes : "";
	bool bare = f == x->m->self.f && x->m->architecture && ends(x->m->architecture, "Model") && (ends(p, "|") || p[0] == '|');
	return bare ? "" : arena_text(x->a, p, strcspn(p, "|"));
}

static rebus_status make_component(making *x, const component *c, const char *prefixes)
{
	const family *f = c->f;
	const char *prefix = first_prefix(x, f, prefixes);
	if (!prefix)
		return error_memory(x->err, "weights");
	for (size_t r = 0; r < f->row_count; r++) {
		const weight_row *row = &f->rows[r];
		bool layered = strstr(row->names, "{i}") != NULL;
		int64_t count = !layered ? 1 : f->layers_at == SIZE_MAX ? 0 : row->upto ? side(x, c->config, row->upto) : component_layers(c);
		for (int64_t i = 0; i < count && belongs(x, c, row); i++) {
			rebus_status status = make_tensor(x, c, row, prefix, i);
			if (status)
				return status;
		}
	}
	for (int64_t i = 0; f->stage && f->stage_config(c->config, i); i++) {
		component stage = {.f = f->stage, .config = f->stage_config(c->config, i)};
		const char *own = arena_format(x->a, "%s%s%lld.", prefix, f->stage_prefix, (long long)i);
		rebus_status status = own ? make_component(x, &stage, own) : error_memory(x->err, "weights");
		if (status)
			return status;
	}
	return REBUS_OK;
}

rebus_status model_write_fresh(const struct rebus_model *m, uint64_t seed, const char *path, rebus_error *err)
{
	rebus_status status;
	arena a;
	arena_init(&a, m->mem.from, 0);
	making x = {.m = m, .a = &a, .seed = seed, .err = err};
	x.deviation = real_of(&x, "initializer_range", 0.02);
	const family *f = m->self.f;
	if (!m->config) {
		status = error_set(err, REBUS_IO, "%s: no config.json, expected one to make weights for", m->folder);
		goto done;
	}
	TRY(make_component(&x, &m->self, f->prefixes));
	if (!f->tower && m->vision.f)
		TRY(make_component(&x, &m->vision, f->vision.prefixes));
	if (!f->words && m->text.f)
		TRY(make_component(&x, &m->text, f->text.prefixes));
	TRY(safetensors_write(path, x.list, x.count, err));
done:
	arena_free(&a);
	return status;
}
