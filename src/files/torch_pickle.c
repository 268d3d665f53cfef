/*
 * torch_pickle.c - the tensors that a pickle of torch.save names; see torch_file.h for what it may hold.
 *
 *   opcode ─► stack of values (numbers, texts, tuples, lists, dictionaries, storages, tensors; names as what they may mean)
 *   BINPUT, BINGET, MEMOIZE: values kept and used again;  REDUCE: only a tensor or an OrderedDict is made;  BUILD: passed over
 *
 * After Python's pickletools. Values lie in an arena that is given back when the tensors are listed; their number is bounded, and
 * nothing is followed deeper than it is built, so that no pickle can be slow or large.
 */
#include "files/torch_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VALUES_MOST = 1 << 20, PICKLE_MOST = 64 << 20, SHOWN = 60 };

typedef enum { V_MARK, V_NONE, V_NUMBER, V_TEXT, V_SEQUENCE, V_MAP, V_STORAGE_TYPE, V_TENSOR, V_PARAMETER, V_ORDERED, V_STORAGE, V_MADE } kind;

typedef struct value value;
typedef struct pair {
	value *key, *of;
	struct pair *next;
} pair;
struct value {
	kind is;
	int64_t number; /* V_NUMBER; V_SEQUENCE: how many */
	tensor_type type;
	const char *text; /* V_TEXT; V_STORAGE: its name */
	size_t size;
	value **items;
	pair *first, *last; /* V_MAP */
	int32_t rank;
	int64_t shape[TENSOR_RANK], offset; /* V_MADE: of `items[0]`, a storage */
};

typedef struct machine {
	arena mem;
	const uint8_t *at, *end;
	value **stack, **memo; /* [VALUES_MOST] as far as used */
	size_t depth, memo_room, stack_room, memo_count, made;
	const char *shown;
	rebus_error *err;
} machine;

static rebus_status bad(machine *m, const char *what)
{
	return error_set(m->err, REBUS_FORMAT, "%s: pickle: %s", m->shown, what);
}

/* ------------------------------------------------------------------------------------------------ values */
static rebus_status grown(machine *m, value ***list, size_t *room, size_t need)
{
	size_t more = *room ? 2 * *room : 256;
	if (need <= *room)
		return REBUS_OK;
	if (need > VALUES_MOST)
		return error_set(m->err, REBUS_LIMIT, "%s: pickle: more than %d values", m->shown, VALUES_MOST);
	more = more < need ? need : more;
	value **to = arena_zero(&m->mem, more, sizeof *to);
	if (!to)
		return error_memory(m->err, m->shown);
	if (*room)
		memcpy(to, *list, *room * sizeof *to);
	*list = to;
	*room = more;
	return REBUS_OK;
}

static rebus_status push(machine *m, value *v)
{
	rebus_status status = grown(m, &m->stack, &m->stack_room, m->depth + 1);
	if (!status)
		m->stack[m->depth++] = v;
	return status;
}

static value *made(machine *m, kind is)
{
	value *v = m->made++ < VALUES_MOST ? arena_zero(&m->mem, 1, sizeof *v) : NULL;
	if (v)
		v->is = is;
	return v;
}

static rebus_status push_new(machine *m, kind is, int64_t number)
{
	value *v = made(m, is);
	if (!v)
		return error_memory(m->err, m->shown);
	v->number = number;
	return push(m, v);
}

static value *top(const machine *m, size_t below)
{
	return below < m->depth && m->stack[m->depth - 1 - below]->is != V_MARK ? m->stack[m->depth - 1 - below] : NULL;
}

static bool take(machine *m, size_t n, const uint8_t **out)
{
	if ((size_t)(m->end - m->at) < n)
		return false;
	*out = m->at;
	m->at += n;
	return true;
}

static bool take_number(machine *m, int bytes, uint64_t *out)
{
	const uint8_t *p;
	if (!take(m, (size_t)bytes, &p))
		return false;
	*out = 0;
	for (int i = bytes; i-- > 0;)
		*out = *out << 8 | p[i];
	return true;
}

static rebus_status push_text(machine *m, int bytes)
{
	uint64_t n;
	const uint8_t *p;
	if (!take_number(m, bytes, &n) || n > PICKLE_MOST || !take(m, (size_t)n, &p))
		return bad(m, "a text beyond its end");
	value *v = made(m, V_TEXT);
	if (!v || !(v->text = arena_text(&m->mem, (const char *)p, (size_t)n)))
		return error_memory(m->err, m->shown);
	v->size = (size_t)n;
	return push(m, v);
}

/* The topmost n values become one. */
static rebus_status gather(machine *m, size_t n)
{
	value *v = made(m, V_SEQUENCE);
	if (!v || !(v->items = arena_get(&m->mem, n + 1, sizeof *v->items)))
		return error_memory(m->err, m->shown);
	if (m->depth < n)
		return bad(m, "a tuple of more than there is");
	m->depth -= n;
	if (n)
		memcpy(v->items, m->stack + m->depth, n * sizeof *v->items);
	v->number = (int64_t)n;
	return push(m, v);
}

/* How many values stand above the last mark, which goes. */
static bool above_mark(machine *m, size_t *n)
{
	for (size_t i = m->depth; i-- > 0;)
		if (m->stack[i]->is == V_MARK) {
			*n = m->depth - 1 - i;
			memmove(m->stack + i, m->stack + i + 1, *n * sizeof *m->stack);
			m->depth--;
			return true;
		}
	return false;
}

static rebus_status set_items(machine *m, size_t n)
{
	value *map = m->depth > n ? m->stack[m->depth - 1 - n] : NULL;
	if (!map || n % 2 || (map->is != V_MAP && map->is != V_SEQUENCE))
		return bad(m, "members without a dictionary");
	for (size_t i = 0; i < n && map->is == V_MAP; i += 2) {
		pair *p = arena_zero(&m->mem, 1, sizeof *p);
		if (!p || ++m->made > VALUES_MOST)
			return error_memory(m->err, m->shown);
		p->key = m->stack[m->depth - n + i];
		p->of = m->stack[m->depth - n + i + 1];
		*(map->last ? &map->last->next : &map->first) = p;
		map->last = p;
	}
	m->depth -= n;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ names */
static const struct {
	const char *module, *name;
	kind is;
	tensor_type type;
} names[] = {
	{"collections", "OrderedDict", V_ORDERED, TENSOR_UNKNOWN},
	{"torch._utils", "_rebuild_tensor_v2", V_TENSOR, TENSOR_UNKNOWN},
	{"torch._utils", "_rebuild_parameter", V_PARAMETER, TENSOR_UNKNOWN},
	{"torch", "FloatStorage", V_STORAGE_TYPE, TENSOR_F32},
	{"torch", "HalfStorage", V_STORAGE_TYPE, TENSOR_F16},
	{"torch", "BFloat16Storage", V_STORAGE_TYPE, TENSOR_BF16},
	{"torch", "DoubleStorage", V_STORAGE_TYPE, TENSOR_F64},
	{"torch", "LongStorage", V_STORAGE_TYPE, TENSOR_I64},
	{"torch", "IntStorage", V_STORAGE_TYPE, TENSOR_I32},
	{"torch", "ShortStorage", V_STORAGE_TYPE, TENSOR_I16},
	{"torch", "CharStorage", V_STORAGE_TYPE, TENSOR_I8},
	{"torch", "ByteStorage", V_STORAGE_TYPE, TENSOR_U8},
	{"torch", "BoolStorage", V_STORAGE_TYPE, TENSOR_BOOL},
};

static rebus_status push_name(machine *m, const char *module, size_t n, const char *name, size_t k)
{
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (text_is(module, n, names[i].module) && text_is(name, k, names[i].name)) {
			value *v = made(m, names[i].is);
			if (!v)
				return error_memory(m->err, m->shown);
			v->type = names[i].type;
			return push(m, v);
		}
	return error_set(m->err, REBUS_UNSUPPORTED, "%s: pickle: names %.*s.%.*s, expected tensors and nothing that could be run", m->shown,
		(int)(n < SHOWN ? n : SHOWN), module, (int)(k < SHOWN ? k : SHOWN), name);
}

static bool line(machine *m, const char **out, size_t *n)
{
	const uint8_t *stop = memchr(m->at, '\n', (size_t)(m->end - m->at));
	if (!stop)
		return false;
	*out = (const char *)m->at;
	*n = (size_t)(stop - m->at);
	m->at = stop + 1;
	return true;
}

/* ------------------------------------------------------------------------------------------------ storages, tensors */
static value *item(const value *v, int64_t i, kind is)
{
	return v && v->is == V_SEQUENCE && i < v->number && v->items[i]->is == is ? v->items[i] : NULL;
}

/* ('storage', type, name, place, elements) */
static rebus_status storage(machine *m)
{
	value *id = top(m, 0), *type = item(id, 1, V_STORAGE_TYPE), *name = item(id, 2, V_TEXT), *count = item(id, 4, V_NUMBER);
	value *v = made(m, V_STORAGE);
	if (!type || !name || !count || count->number < 0)
		return bad(m, "a storage that is none");
	if (!v)
		return error_memory(m->err, m->shown);
	v->type = type->type;
	v->text = name->text;
	v->size = name->size;
	v->number = count->number;
	m->stack[m->depth - 1] = v;
	return REBUS_OK;
}

/* (storage, offset, sides, strides, ...): strides of rows that follow one another only */
static rebus_status tensor(machine *m, const value *of, value **out)
{
	value *from = item(of, 0, V_STORAGE), *offset = item(of, 1, V_NUMBER), *sides = item(of, 2, V_SEQUENCE), *strides = item(of, 3, V_SEQUENCE);
	value *v = made(m, V_MADE);
	if (!v)
		return error_memory(m->err, m->shown);
	if (!from || !offset || !sides || !strides || sides->number != strides->number || sides->number > TENSOR_RANK || offset->number < 0)
		return bad(m, "a tensor that is none");
	size_t step = 1;
	for (int64_t i = sides->number; i-- > 0;) {
		value *side = item(sides, i, V_NUMBER), *stride = item(strides, i, V_NUMBER);
		if (!side || !stride || side->number < 0)
			return bad(m, "a tensor without sides");
		if (side->number > 1 && stride->number != (int64_t)step)
			return error_set(m->err, REBUS_UNSUPPORTED, "%s: pickle: a tensor whose elements do not follow one another", m->shown);
		if (!size_mul(step, (size_t)side->number, &step) || step > INT64_MAX / 16)
			return bad(m, "a tensor of too many elements");
		v->shape[i] = side->number;
	}
	v->rank = (int32_t)sides->number;
	v->offset = offset->number;
	v->number = (int64_t)step;
	v->items = arena_get(&m->mem, 1, sizeof *v->items);
	if (!v->items)
		return error_memory(m->err, m->shown);
	v->items[0] = from;
	*out = v;
	return REBUS_OK;
}

static rebus_status reduce(machine *m)
{
	value *with = top(m, 0), *what = top(m, 1), *out = NULL;
	rebus_status status = REBUS_OK;
	if (!with || !what || with->is != V_SEQUENCE)
		return bad(m, "a call of nothing");
	if (what->is == V_TENSOR)
		status = tensor(m, with, &out);
	else if (what->is == V_PARAMETER)
		out = item(with, 0, V_MADE);
	else if (what->is == V_ORDERED && !with->number)
		out = made(m, V_MAP);
	if (status)
		return status;
	if (!out)
		return bad(m, "a call that makes no tensor and no dictionary");
	m->stack[--m->depth - 1] = out;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ opcodes */
static rebus_status put(machine *m, uint64_t at)
{
	value *v = top(m, 0);
	if (!v || at > VALUES_MOST)
		return bad(m, "nothing to remember");
	rebus_status status = grown(m, &m->memo, &m->memo_room, (size_t)at + 1);
	if (!status) {
		m->memo[at] = v;
		m->memo_count = at + 1 > m->memo_count ? (size_t)at + 1 : m->memo_count;
	}
	return status;
}

static rebus_status get(machine *m, uint64_t at)
{
	if (at >= m->memo_count || !m->memo[at])
		return bad(m, "something that was not remembered");
	return push(m, m->memo[at]);
}

/* A whole number of any length that fits 64 bits; two's complement, lowest byte first. */
static rebus_status push_long(machine *m)
{
	uint64_t n, v = 0;
	const uint8_t *p;
	if (!take_number(m, 1, &n) || n > 8 || !take(m, (size_t)n, &p))
		return bad(m, "a number of more than 64 bits");
	for (size_t i = (size_t)n; i-- > 0;)
		v = v << 8 | p[i];
	if (n && n < 8 && p[n - 1] & 0x80)
		v |= ~(uint64_t)0 << 8 * n;
	return push_new(m, V_NUMBER, (int64_t)v);
}

static rebus_status push_named(machine *m, bool stacked)
{
	const char *module, *name;
	size_t n, k;
	if (!stacked)
		return line(m, &module, &n) && line(m, &name, &k) ? push_name(m, module, n, name, k) : bad(m, "a name beyond its end");
	value *b = top(m, 0), *a = top(m, 1);
	if (!a || !b || a->is != V_TEXT || b->is != V_TEXT)
		return bad(m, "a name that is no text");
	m->depth -= 2;
	return push_name(m, a->text, a->size, b->text, b->size);
}

/* Elements of lists and what BUILD adds mean nothing to tensors: they are dropped. */
static rebus_status drop(machine *m, size_t n, size_t keep)
{
	if (m->depth < n + keep)
		return bad(m, "an operation on nothing");
	m->depth -= n;
	return REBUS_OK;
}

static rebus_status marked(machine *m, uint8_t op)
{
	size_t n;
	if (!above_mark(m, &n))
		return bad(m, "no mark");
	return op == 't' || op == 'l' ? gather(m, n) : op == 'u' ? set_items(m, n) : drop(m, n, 1);
}

static rebus_status numbered(machine *m, uint8_t op)
{
	uint64_t n;
	int bytes = op == 'M' ? 2 : op == 'J' || op == 'r' || op == 'j' ? 4 : op == 'G' || op == 0x95 ? 8 : 1;
	if (!take_number(m, bytes, &n))
		return bad(m, "ends in a number");
	switch (op) {
	case 'q':
	case 'r':
		return put(m, n);
	case 'h':
	case 'j':
		return get(m, n);
	case 'J':
		return push_new(m, V_NUMBER, (int32_t)(uint32_t)n);
	case 'K':
	case 'M':
		return push_new(m, V_NUMBER, (int64_t)n);
	case 'G':
		return push_new(m, V_NONE, 0); /* no real number says anything of a tensor */
	default:
		return REBUS_OK; /* protocol, frame */
	}
}

static rebus_status step(machine *m, uint8_t op)
{
	switch (op) {
	case 0x80: case 0x95: case 'q': case 'r': case 'h': case 'j': case 'J': case 'K': case 'M': case 'G':
		return numbered(m, op);
	case 't': case 'l': case 'u': case 'e':
		return marked(m, op);
	case '(':
		return push_new(m, V_MARK, 0);
	case ')': case ']':
		return gather(m, 0);
	case '}':
		return push_new(m, V_MAP, 0);
	case 'N':
		return push_new(m, V_NONE, 0);
	case 0x88: case 0x89:
		return push_new(m, V_NUMBER, op == 0x88);
	case 0x8a:
		return push_long(m);
	case 0x85: case 0x86: case 0x87:
		return gather(m, (size_t)op - 0x84);
	case 'X': case 'T':
		return push_text(m, 4);
	case 0x8c: case 'U':
		return push_text(m, 1);
	case 'c':
		return push_named(m, false);
	case 0x93:
		return push_named(m, true);
	case 0x94:
		return put(m, m->memo_count);
	case 's':
		return set_items(m, 2);
	case 'a': case 'b':
		return drop(m, 1, 1);
	case 'Q':
		return storage(m);
	case 'R':
		return reduce(m);
	default:
		return error_set(m->err, REBUS_UNSUPPORTED, "%s: pickle: operation 0x%02x, expected those that make tensors", m->shown, op);
	}
}

static rebus_status run(machine *m, value **out)
{
	while (m->at < m->end) {
		uint8_t op = *m->at++;
		if (op == '.') {
			*out = top(m, 0);
			return *out && (*out)->is == V_MAP ? REBUS_OK : bad(m, "no dictionary of tensors");
		}
		rebus_status status = step(m, op);
		if (status)
			return status;
	}
	return bad(m, "no end");
}

/* ------------------------------------------------------------------------------------------------ the tensors */
static rebus_status add(arena *a, const machine *m, const pair *p, const torch_zip *zip, const char *file, tensor_list *list, rebus_error *err)
{
	const value *v = p->of, *from = v->items[0];
	char ending[128];
	size_t each = (size_t)tensor_type_bits(from->type) / 8, size, first;
	if (from->size > 32 || p->key->size > TENSOR_NAME || !p->key->size || strlen(p->key->text) != p->key->size)
		return error_set(err, REBUS_FORMAT, "%s: pickle: a tensor or storage without a usable name", m->shown);
	snprintf(ending, sizeof ending, "/data/%s", from->text);
	torch_bytes bytes = torch_zip_find(zip, ending);
	bool fits = size_mul((size_t)v->number, each, &size) && size_mul((size_t)v->offset, each, &first);
	if (!fits || !bytes.data || first > bytes.size || size > bytes.size - first)
		return error_set(err, REBUS_FORMAT, "%s: tensor %.80s: beyond the end of storage %.32s", m->shown, p->key->text, from->text);
	if (list->count >= TENSOR_MOST)
		return error_set(err, REBUS_LIMIT, "%s: more than %d tensors", m->shown, TENSOR_MOST);
	tensor_node *n = arena_zero(a, 1, sizeof *n + p->key->size + 1);
	if (!n)
		return error_memory(err, m->shown);
	memcpy(n->name, p->key->text, p->key->size);
	n->info = (tensor_info){.name = n->name, .file = file, .type_text = tensor_type_name(from->type), .type = from->type, .rank = v->rank,
		.data = bytes.data + first, .size = size, .number = (uint32_t)list->count};
	memcpy(n->info.shape, v->shape, sizeof n->info.shape);
	*(list->last ? &list->last->next : &list->first) = n;
	list->last = n;
	list->count++;
	return REBUS_OK;
}

rebus_status torch_read(arena *a, const uint8_t *data, size_t size, const char *file, const char *shown, tensor_list *list, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	torch_zip zip;
	value *all = NULL;
	size_t before = list->count;
	machine m = {.shown = shown, .err = err};
	arena_init(&m.mem, a->from, 0);
	TRY(torch_zip_open(&m.mem, data, size, shown, &zip, err));
	torch_bytes pickle = torch_zip_find(&zip, "/data.pkl"), order = torch_zip_find(&zip, "/byteorder");
	if (!pickle.data || pickle.size > PICKLE_MOST || (order.data && !text_is((const char *)order.data, order.size, "little"))) {
		status = error_set(err, REBUS_UNSUPPORTED, "%s: expected data.pkl of at most %d MiB and little-endian numbers", shown, PICKLE_MOST >> 20);
		goto done;
	}
	m.at = pickle.data;
	m.end = pickle.data + pickle.size;
	TRY(run(&m, &all));
	for (const pair *p = all->first; p; p = p->next)
		if (p->of->is == V_MADE && p->key->is == V_TEXT)
			TRY(add(a, &m, p, &zip, file, list, err));
	if (list->count == before)
		status = error_set(err, REBUS_FORMAT, "%s: pickle: no tensors by name", shown);
done:
	arena_free(&m.mem);
	return status;
}
