/*
 * bind.c - finds, checks and places a model's tensors by its table; see bind.h.
 *
 *   row ─► when? ─► names with {p}, {i} filled in ─► tensor ─► sides seen as [out, in] ─► compared with the configuration
 *       ─► dtype ─► data: where it lies, or a copy that is aligned, turned or widened ─► part, bias or f32 of the weight
 */
#include "files/bind.h"
#include "kernels/quant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct {
	arena *a;
	const bind_job *job;
	const weight_row *row;
	int64_t layer;
	rebus_error *err;
} binding;

/* One alternative, up to '|' or the end, with {p} and {i} filled in. false: longer than any tensor's name. */
static bool expand(const char *from, size_t size, const char *prefix, int64_t layer, char out[TENSOR_NAME + 1])
{
	size_t n = 0;
	for (const char *end = from + size; from < end;) {
		char number[24];
		const char *put = from;
		size_t k = 1, eaten = 1;
		if (end - from >= 3 && !memcmp(from, "{p}", 3)) {
			put = prefix;
			k = strlen(prefix);
			eaten = 3;
		} else if (end - from >= 3 && !memcmp(from, "{i}", 3)) {
			k = (size_t)snprintf(number, sizeof number, "%" PRId64, layer);
			put = number;
			eaten = 3;
		}
		if (n + k > TENSOR_NAME)
			return false;
		memcpy(out + n, put, k);
		n += k;
		from += eaten;
	}
	out[n] = 0;
	return true;
}

static const tensor_info *find(const safetensors *from, const char *prefix, const char *names, int64_t layer)
{
	for (const char *p = names;; p++) {
		char name[TENSOR_NAME + 1];
		size_t n = strcspn(p, "|");
		const tensor_info *t = expand(p, n, prefix, layer, name) ? safetensors_find(from, name) : NULL;
		if (t || !p[n])
			return t;
		p += n;
	}
}

static rebus_status missing(const binding *b)
{
	char all[200];
	size_t n = 0;
	bool several = strchr(b->row->names, '|') != NULL;
	for (const char *p = b->row->names; n < sizeof all; p++) {
		char name[TENSOR_NAME + 1];
		size_t k = strcspn(p, "|");
		if (expand(p, k, b->job->prefix, b->layer, name))
			n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", name);
		p += k;
		if (!*p)
			break;
	}
	return error_set(b->err, REBUS_SHAPE, "weights: missing tensor, expected %s%s", several ? "one of " : "",
	                 n ? all : "a shorter name");
}

bool bind_has(const safetensors *from, const char *prefix, const char *names)
{
	return find(from, prefix, names, 0) != NULL;
}

/* A dimension of the table: -1 any, 0 one, else offset + 1 of an int64_t in the configuration. */
static int64_t dimension(const binding *b, int32_t where)
{
	int64_t v = 1;
	if (where > 0)
		memcpy(&v, (const char *)b->job->config + where - 1, sizeof v);
	return where < 0 ? -1 : v;
}

static bool flag_set(const binding *b)
{
	bool v = true;
	if (b->row->when)
		memcpy(&v, (const char *)b->job->config + b->row->when - 1, sizeof v);
	return v;
}

static bool product(const tensor_info *t, int32_t first, int32_t last, int64_t *out)
{
	size_t n = 1;
	for (int32_t i = first; i < last; i++)
		if (!size_mul(n, (size_t)t->shape[i], &n) || n > INT64_MAX)
			return false;
	*out = (int64_t)n;
	return true;
}

/* The sides as the kind sees them. */
static bool sides(const tensor_info *t, weight_kind kind, int64_t *out, int64_t *in)
{
	int wide = 0;
	*in = 1;
	switch (kind) {
	case WEIGHT_LINEAR:
	case WEIGHT_TURNED:
		*out = t->shape[kind == WEIGHT_TURNED];
		*in = t->shape[kind == WEIGHT_LINEAR];
		return t->rank == 2;
	case WEIGHT_CONV:
		*out = t->shape[0];
		return (t->rank == 4 || t->rank == 5) && product(t, 1, t->rank, in);
	case WEIGHT_BIAS:
	case WEIGHT_VECTOR:
		for (int32_t i = 0; i < t->rank; i++)
			wide += t->shape[i] != 1;
		return t->rank >= 1 && wide <= 1 && product(t, 0, t->rank, out);
	case WEIGHT_SCALAR:
		return product(t, 0, t->rank, out);
	case WEIGHT_TABLE:
	case WEIGHT_LOOKUP:
		*in = t->rank ? t->shape[t->rank - 1] : 1;
		return t->rank >= 2 && product(t, 0, t->rank - 1, out);
	}
	return false;
}

static rebus_status shape_check(const binding *b, const tensor_info *t, int64_t *out, int64_t *in)
{
	int64_t want_out = b->row->kind == WEIGHT_SCALAR ? 1 : dimension(b, b->row->out) * (b->row->third ? 3 : 1), want_in = dimension(b, b->row->in);
	if (sides(t, b->row->kind, out, in) && (want_out < 0 || *out == want_out) && (want_in < 0 || *in == want_in))
		return REBUS_OK;
	char shape[192], o[24] = "any", i[24] = "any";
	tensor_shape_text(t, shape, sizeof shape);
	if (want_out >= 0)
		snprintf(o, sizeof o, "%" PRId64, want_out);
	if (want_in >= 0)
		snprintf(i, sizeof i, "%" PRId64, want_in);
	bool one = b->row->kind == WEIGHT_BIAS || b->row->kind == WEIGHT_VECTOR || b->row->kind == WEIGHT_SCALAR;
	bool turned = b->row->kind == WEIGHT_TURNED;
	return error_set(b->err, REBUS_SHAPE, "%.120s: shape %.60s, want [%s%s%s]%s", t->name, shape, turned ? i : o, one ? "" : ",",
	                 one ? "" : turned ? o : i,
	                 b->row->kind == WEIGHT_CONV ? ", the latter over all sides but the first" : "");
}

static bool type_of(const tensor_info *t, dtype *out)
{
	static const struct {
		tensor_type from;
		dtype to;
	} types[] = {{TENSOR_F32, DT_F32}, {TENSOR_F16, DT_F16}, {TENSOR_BF16, DT_BF16},
#define X(name) {TENSOR_##name, DT_##name},
		TENSOR_BLOCK_LIST(X)
#undef X
	};
	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (types[i].from == t->type) {
			*out = types[i].to;
			return true;
		}
	return false;
}

static rebus_status type_wrong(const tensor_info *t, rebus_error *err)
{
	return error_set(err, REBUS_UNSUPPORTED, "%.120s: dtype %s, expected F32, F16 or BF16%s", t->name, t->type_text,
	                 t->type == TENSOR_UNKNOWN ? ", or in GGUF Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K" : "");
}

rebus_status bind_f32(arena *a, const tensor_info *t, const float **out, rebus_error *err)
{
	dtype type;
	if (!type_of(t, &type))
		return type_wrong(t, err);
	size_t size = dtype_size(type), n = t->size / dtype_bytes(type, dtype_block(type)) * (size_t)dtype_block(type);
	float *to = arena_get(a, n, sizeof *to);
	if (!to)
		return error_memory(err, t->name);
	const char *from = t->data;
	if (!size)
		quant_widen(type, (int64_t)n, from, to);
	if (type == DT_F32 && n)
		memcpy(to, from, n * size);
	for (size_t i = 0; size == 2 && i < n; i++) {
		uint16_t bits;
		memcpy(&bits, from + i * size, sizeof bits);
		to[i] = type == DT_F16 ? dtype_half(bits) : dtype_bfloat(bits);
	}
	*out = to;
	return REBUS_OK;
}

/* [in, out] in the file, [out, in] in the arena */
static void turn(const char *from, char *to, size_t size, int64_t out, int64_t in)
{
	for (int64_t o = 0; o < out; o++)
		for (int64_t i = 0; i < in; i++)
			memcpy(to + (size_t)(o * in + i) * size, from + (size_t)(i * out + o) * size, size);
}

static void add_one(const matrix *m, float *values)
{
	for (int64_t i = 0; m->plus_one && i < m->out; i++)
		values[i] += 1;
}

/* In f32, of its own and aligned; one tensor bound twice (tied weights) is one copy. */
static rebus_status place_own(const binding *b, const tensor_info *t, matrix *m)
{
	float **own = &b->job->own[t->number];
	if (!*own) {
		const float *f32;
		rebus_status status = bind_f32(b->a, t, &f32, b->err);
		if (status)
			return status;
		*own = (float *)(uintptr_t)f32;
		if (b->row->kind == WEIGHT_TURNED) {
			*own = arena_get(b->a, t->size / dtype_size(m->type), sizeof **own);
			if (!*own)
				return error_memory(b->err, t->name);
			turn((const char *)f32, (char *)*own, sizeof **own, m->out, m->in);
		}
	}
	add_one(m, *own);
	m->data = *own;
	m->type = DT_F32;
	return REBUS_OK;
}

/* Where the data is to be used: in the file, or in a copy. */
static rebus_status place(const binding *b, const tensor_info *t, matrix *m)
{
	size_t size = dtype_size(m->type);
	weight_kind kind = b->row->kind;
	m->name = t->name;
	m->turned = kind == WEIGHT_TURNED;
	m->plus_one = b->row->plus_one;
	if (b->job->own)
		return place_own(b, t, m);
	bool vector = kind == WEIGHT_BIAS || kind == WEIGHT_VECTOR || kind == WEIGHT_SCALAR;
	if (vector || (kind == WEIGHT_TABLE && m->type != DT_F32) || (!size && !b->job->blocks)) {
		const float *f32;
		rebus_status status = bind_f32(b->a, t, &f32, b->err);
		if (status)
			return status;
		add_one(m, (float *)(uintptr_t)f32);
		m->data = f32;
		m->type = DT_F32;
	} else if (kind == WEIGHT_TURNED || (size && (uintptr_t)t->data % size)) {
		char *copy = arena_get(b->a, t->size, 1);
		if (!copy)
			return error_memory(b->err, t->name);
		if (kind == WEIGHT_TURNED)
			turn(t->data, copy, size, m->out, m->in);
		else
			memcpy(copy, t->data, t->size);
		m->data = copy;
	} else {
		m->data = t->data;
	}
	return REBUS_OK;
}

static rebus_status put(const binding *b, const tensor_info *t, const matrix *m, weight *w)
{
	int32_t part = b->row->part;
	if (b->row->kind == WEIGHT_BIAS) {
		if (b->row->optional && !w->parts)
			return REBUS_OK;
		if (part >= w->parts || w->part[part].out != m->out)
			return error_set(b->err, REBUS_SHAPE,
			                 "%.120s: %" PRId64 " numbers, want as many as its weight has outputs (%" PRId64 ")", t->name, m->out,
			                 part < w->parts ? w->part[part].out : 0);
		w->bias[part] = m->data;
		w->bias_name[part] = t->name;
		return REBUS_OK;
	}
	if (part != w->parts)
		return error_set(b->err, REBUS_SHAPE, "%.120s: is part %d of a stacked weight, but the part before it is missing",
		                 t->name, (int)part + 1);
	if (part && w->in != m->in)
		return error_set(b->err, REBUS_SHAPE, "%.120s: %" PRId64 " inputs, want %" PRId64 " as in %.80s", t->name, m->in, w->in,
		                 w->name);
	if (!part)
		w->name = t->name;
	w->part[part] = *m;
	w->parts = part + 1;
	w->in = m->in;
	w->out += m->out;
	if (b->row->kind == WEIGHT_VECTOR || b->row->kind == WEIGHT_SCALAR)
		w->f32 = m->data;
	return REBUS_OK;
}

static rebus_status bind_one(const binding *b, weight *w)
{
	rebus_status status = REBUS_OK;
	matrix m = {.data = NULL};
	const tensor_info *t = flag_set(b) ? find(b->job->from, b->job->prefix, b->row->names, b->layer) : NULL;
	if (!t)
		return b->row->optional || !flag_set(b) ? REBUS_OK : missing(b);
	if (!type_of(t, &m.type))
		return type_wrong(t, b->err);
	TRY(shape_check(b, t, &m.out, &m.in));
	TRY(place(b, t, &m));
	if (b->row->third) {
		m.out /= 3;
		m.data = (const char *)m.data + (size_t)(b->row->third - 1) * dtype_bytes(m.type, m.out * m.in);
	}
	TRY(put(b, t, &m, w));
	if (b->job->used)
		b->job->used[t->number / 8] |= (uint8_t)(1u << t->number % 8);
done:
	return status;
}

rebus_status bind_weights(arena *a, const bind_job *job, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (size_t r = 0; r < job->count; r++) {
		weight_row row = job->rows[r];
		row.plus_one &= !job->plain;
		if (job->plain && row.kind == WEIGHT_TURNED)
			row.kind = WEIGHT_LINEAR;
		binding b = {.a = a, .job = job, .row = &row, .err = err};
		bool layered = strstr(b.row->names, "{i}") != NULL;
		if (!layered)
			TRY(bind_one(&b, (weight *)(void *)((char *)job->into + b.row->at)));
		int64_t most = b.row->upto ? int_min(dimension(&b, b.row->upto), job->layer_count) : job->layer_count;
		for (int64_t i = 0; layered && job->layers && i < most; i++) {
			b.layer = job->layer_first + i;
			TRY(bind_one(&b, (weight *)(void *)((char *)job->layers + (size_t)i * job->layer_size + b.row->at)));
		}
	}
done:
	return status;
}

uint8_t *bind_used(arena *a, const safetensors *from)
{
	return arena_zero(a, safetensors_count(from) / 8 + 1, 1);
}

/* '*' stands for any text. Going back to the last '*' only is enough. */
static bool matches(const char *pattern, const char *name)
{
	const char *star = NULL, *from = NULL;
	while (*name)
		if (*pattern == '*') {
			star = pattern++;
			from = name;
		} else if (*pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++from;
		} else {
			return false;
		}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

const tensor_info *bind_unused(const safetensors *from, const uint8_t *used, const char *const *ignore, size_t count, size_t *at)
{
	while (*at < safetensors_count(from)) {
		const tensor_info *t = safetensors_at(from, (*at)++);
		bool known = used[t->number / 8] >> t->number % 8 & 1;
		for (size_t i = 0; !known && i < count; i++)
			known = matches(ignore[i], t->name);
		if (!known)
			return t;
	}
	return NULL;
}
