/*
 * safetensors_header.c - a cursor over one file's header; the format and its rules are in safetensors.h.
 *
 *   header  {  "name" : tensor ,  "__metadata__" : { "key" : "value" , ... } ,  ... }  blanks
 *   tensor  { "dtype" : text , "shape" : [ n , ... ] , "data_offsets" : [ begin , end ] }      members in any order
 *
 * No tree is built: a header of 100 MB costs its tensors' records and nothing else. The cursor never passes `end`, every
 * function either moves it over exactly what it names or reports the byte where it stood. JSON is read as strictly as the
 * reference (Rust's serde_json) reads it: no control bytes in strings, no lone surrogates, no leading zeros, no fractions.
 */
#include "files/safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MOST = 100000000, TYPE_ROOM = 32 };

typedef struct {
	const char *at, *end, *start;
	const uint8_t *section; /* the data section */
	size_t section_size;
	const char *shown, *tensor; /* for messages: the file, and the tensor we are in or NULL */
	rebus_error *err;
} cursor;

static rebus_status expected(const cursor *c, const char *what)
{
	const char *t = c->tensor, *where = c->at == c->end ? ", where it ends" : "";
	return error_set(c->err, REBUS_FORMAT, "%s: %s%.80s%sheader byte %zu%s: expected %s", c->shown, t ? "tensor " : "",
	                 t ? t : "", t ? ": " : "", (size_t)(c->at - c->start), where, what);
}

static void blanks(cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
		c->at++;
}

/* Moves over one byte and the blanks around it, if it is the one asked for. */
static bool take(cursor *c, char byte)
{
	blanks(c);
	if (c->at == c->end || *c->at != byte)
		return false;
	c->at++;
	blanks(c);
	return true;
}

static bool take_hex(cursor *c, uint32_t *out)
{
	uint32_t v = 0;
	if (c->end - c->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char x = c->at[i];
		uint32_t digit = x >= '0' && x <= '9' ? (uint32_t)(x - '0') : x >= 'a' && x <= 'f' ? (uint32_t)(x - 'a' + 10)
		                 : x >= 'A' && x <= 'F'                                   ? (uint32_t)(x - 'A' + 10) : 16;
		if (digit == 16)
			return false;
		v = v << 4 | digit;
	}
	c->at += 4;
	*out = v;
	return true;
}

/* After the backslash. Surrogates must come in pairs. */
static bool take_escape(cursor *c, uint32_t *cp)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (c->at == c->end)
		return false;
	char e = *c->at++;
	const char *p = e ? strchr(from, e) : NULL;
	if (p) {
		*cp = (unsigned char)to[p - from];
		return true;
	}
	uint32_t low;
	if (e != 'u' || !take_hex(c, cp) || (*cp >= 0xDC00 && *cp < 0xE000))
		return false;
	if (*cp < 0xD800 || *cp >= 0xDC00)
		return true;
	if (c->end - c->at < 6 || c->at[0] != '\\' || c->at[1] != 'u')
		return false;
	c->at += 2;
	if (!take_hex(c, &low) || low < 0xDC00 || low >= 0xE000)
		return false;
	*cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
	return true;
}

/* A JSON string, decoded into out (room counts the NUL; out NULL: only checked). No NUL inside one that is kept. */
static rebus_status take_text(cursor *c, char *out, size_t room, const char *what)
{
	size_t n = 0;
	blanks(c);
	if (c->at == c->end || *c->at != '"')
		return expected(c, what);
	for (c->at++; c->at < c->end && *c->at != '"';) {
		uint32_t cp;
		char utf8[4];
		unsigned char byte = (unsigned char)*c->at;
		if (byte == '\\') {
			c->at++;
			if (!take_escape(c, &cp))
				return expected(c, "an escape of JSON, surrogates in pairs");
		} else {
			size_t k = utf8_get(c->at, (size_t)(c->end - c->at), &cp);
			if (byte < 0x20 || (byte >= 0x80 && k == 1))
				return expected(c, "UTF-8 text without control bytes");
			c->at += k;
		}
		if (!out)
			continue;
		size_t k = utf8_put(cp, utf8);
		if (!cp)
			return expected(c, "text without NUL");
		if (n + k >= room)
			return error_set(c->err, REBUS_LIMIT, "%s: header byte %zu: %s of more than %zu bytes", c->shown,
			                 (size_t)(c->at - c->start), what, room - 1);
		memcpy(out + n, utf8, k);
		n += k;
	}
	if (c->at == c->end)
		return expected(c, "'\"'");
	c->at++;
	if (out)
		out[n] = 0;
	return REBUS_OK;
}

static rebus_status take_number(cursor *c, uint64_t *out)
{
	uint64_t v = 0;
	const char *from = c->at;
	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
		unsigned digit = (unsigned)(*c->at - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return expected(c, "a number below 2^64");
		v = v * 10 + digit;
	}
	if (c->at == from || (*from == '0' && c->at - from > 1))
		return expected(c, "a whole number");
	*out = v;
	return REBUS_OK;
}

/* [n, ...], at most `most` of them */
static rebus_status take_numbers(cursor *c, uint64_t *out, size_t most, size_t *count, const char *what)
{
	rebus_status status = REBUS_OK;
	size_t n = 0;
	if (!take(c, '['))
		return expected(c, what);
	if (!take(c, ']')) {
		do {
			if (n == most)
				return error_set(c->err, REBUS_LIMIT, "%s: header byte %zu: more than %zu numbers, expected %s", c->shown,
				                 (size_t)(c->at - c->start), most, what);
			TRY(take_number(c, &out[n]));
			n++;
		} while (take(c, ','));
		if (!take(c, ']'))
			return expected(c, "',' or ']'");
	}
	*count = n;
done:
	return status;
}

/* {"key": "value", ...} or null; what it says is not kept */
static rebus_status take_metadata(cursor *c)
{
	rebus_status status = REBUS_OK;
	if (c->end - c->at >= 4 && !memcmp(c->at, "null", 4)) {
		c->at += 4;
		return REBUS_OK;
	}
	if (!take(c, '{'))
		return expected(c, "{\"key\": \"value\"} of __metadata__");
	if (take(c, '}'))
		return REBUS_OK;
	do {
		TRY(take_text(c, NULL, 0, "a key of __metadata__"));
		if (!take(c, ':'))
			return expected(c, "':'");
		TRY(take_text(c, NULL, 0, "text, as every value of __metadata__ is"));
	} while (take(c, ','));
	if (!take(c, '}'))
		return expected(c, "',' or '}'");
done:
	return status;
}

typedef struct {
	char type[TYPE_ROOM];
	uint64_t shape[TENSOR_RANK], offsets[2];
	size_t rank, ends;
	unsigned seen; /* bit: dtype, shape, data_offsets */
} record;

static rebus_status take_record(cursor *c, record *r)
{
	static const char *const members[] = {"dtype", "shape", "data_offsets"};
	rebus_status status = REBUS_OK;
	*r = (record){.seen = 0};
	if (!take(c, '{'))
		return expected(c, "'{' of a tensor");
	do {
		char key[16] = "";
		unsigned i = 0;
		const char *before = c->at;
		TRY(take_text(c, key, sizeof key, "dtype, shape or data_offsets"));
		while (i < COUNT_OF(members) && strcmp(key, members[i]))
			i++;
		if (i == COUNT_OF(members) || r->seen & 1u << i) {
			c->at = before;
			return expected(c, "dtype, shape and data_offsets, each once");
		}
		r->seen |= 1u << i;
		if (!take(c, ':'))
			return expected(c, "':'");
		if (i == 0)
			TRY(take_text(c, r->type, sizeof r->type, "a dtype"));
		else if (i == 1)
			TRY(take_numbers(c, r->shape, TENSOR_RANK, &r->rank, "a shape of at most 8 sides"));
		else
			TRY(take_numbers(c, r->offsets, 2, &r->ends, "[begin, end]"));
	} while (take(c, ','));
	if (r->seen != 7 || r->ends != 2)
		return expected(c, "dtype, shape and data_offsets: [begin, end] before this");
	if (!take(c, '}'))
		return expected(c, "',' or '}'");
done:
	return status;
}

/* Checks a record against the data section and itself. */
static rebus_status record_check(const cursor *c, const record *r, tensor_info *out)
{
	tensor_info t = {.rank = (int32_t)r->rank, .type = tensor_type_parse(r->type, strlen(r->type))};
	size_t elements = 1, bits = (size_t)tensor_type_bits(t.type);
	uint64_t begin = r->offsets[0], end = r->offsets[1];
	bool fits = true;
	if (begin > end || end > c->section_size)
		return error_set(c->err, REBUS_FORMAT,
		                 "%s: tensor %.80s: data_offsets [%" PRIu64 ",%" PRIu64 "], expected a range of the %zu bytes of data",
		                 c->shown, c->tensor, begin, end, c->section_size);
	t.data = c->section + begin;
	t.size = (size_t)(end - begin);
	for (size_t i = 0; i < r->rank; i++) {
		fits = fits && r->shape[i] <= INT64_MAX && size_mul(elements, (size_t)r->shape[i], &elements);
		t.shape[i] = (int64_t)(r->shape[i] & INT64_MAX);
	}
	if (!fits || (t.type && !size_mul(elements, bits, &bits)))
		return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: the sides of its shape multiply to more than a file can hold",
		                 c->shown, c->tensor);
	if (t.type && (bits % 8 || bits / 8 != t.size)) {
		char shape[192];
		tensor_shape_text(&t, shape, sizeof shape);
		return error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: %zu bytes of data, expected %zu for %s %.60s", c->shown,
		                 c->tensor, t.size,
		                 bits / 8, r->type, shape);
	}
	*out = t;
	return REBUS_OK;
}

static rebus_status list_add(tensor_list *list, arena *a, const cursor *c, const tensor_info *t, const char *type,
                             const char *file)
{
	if (list->count == TENSOR_MOST)
		return error_set(c->err, REBUS_LIMIT, "%s: more than %d tensors", c->shown, TENSOR_MOST);
	size_t n = strlen(c->tensor);
	tensor_node *node = arena_get(a, 1, sizeof *node + n + 1);
	const char *text = t->type ? tensor_type_name(t->type) : arena_text(a, type, strlen(type));
	if (!node || !text)
		return error_memory(c->err, c->shown);
	memcpy(node->name, c->tensor, n + 1);
	node->info = *t;
	node->info.name = node->name;
	node->info.file = file;
	node->info.type_text = text;
	node->info.number = (uint32_t)list->count++;
	node->next = NULL;
	if (list->last)
		list->last->next = node;
	else
		list->first = node;
	list->last = node;
	return REBUS_OK;
}

static int by_place(const void *x, const void *y)
{
	const tensor_info *a = *(const tensor_info *const *)x, *b = *(const tensor_info *const *)y;
	uintptr_t p = (uintptr_t)a->data, q = (uintptr_t)b->data;
	return p != q ? (p > q) - (p < q) : (a->size > b->size) - (a->size < b->size);
}

/* Sorted by place, each tensor of this file must begin where the one before ended, and the last end where the file does. */
static rebus_status cover_check(const cursor *c, const tensor_node *first, size_t count, const rebus_allocator *from)
{
	rebus_status status = REBUS_OK;
	arena scratch;
	size_t i = 0, done_bytes = 0;
	arena_init(&scratch, from, 0);
	const tensor_info **at = arena_get(&scratch, count, sizeof *at);
	if (!at) {
		status = error_memory(c->err, c->shown);
		goto done;
	}
	for (const tensor_node *n = first; n; n = n->next)
		at[i++] = &n->info;
	qsort(at, count, sizeof *at, by_place);
	for (i = 0; i < count; i++) {
		size_t begin = (size_t)((const uint8_t *)at[i]->data - c->section);
		if (begin != done_bytes) {
			status = error_set(c->err, REBUS_FORMAT, "%s: tensor %.80s: begins at byte %zu of the data, expected %zu (%s)",
			                   c->shown, at[i]->name, begin, done_bytes, begin < done_bytes ? "they overlap" : "a hole");
			goto done;
		}
		done_bytes += at[i]->size;
	}
	if (done_bytes != c->section_size)
		status = error_set(c->err, REBUS_FORMAT, "%s: %zu bytes of data, expected the %zu of its tensors", c->shown,
		                   c->section_size, done_bytes);
done:
	arena_free(&scratch);
	return status;
}

/* {"NAME": tensor, ..., "__metadata__": {...}} and blanks up to the end */
static rebus_status read_all(cursor *c, arena *a, const char *file, tensor_list *list)
{
	rebus_status status = REBUS_OK;
	bool metadata = false;
	if (c->at == c->end || *c->at != '{')
		return expected(c, "'{'");
	c->at++;
	if (take(c, '}'))
		return c->at == c->end ? REBUS_OK : expected(c, "only blanks after '}'");
	do {
		char name[TENSOR_NAME + 1];
		record r;
		tensor_info t;
		TRY(take_text(c, name, sizeof name, "a tensor's name"));
		if (!take(c, ':'))
			return expected(c, "':'");
		if (!strcmp(name, "__metadata__")) {
			if (metadata)
				return expected(c, "one __metadata__");
			metadata = true;
			TRY(take_metadata(c));
			continue;
		}
		c->tensor = name;
		TRY(take_record(c, &r));
		TRY(record_check(c, &r, &t));
		TRY(list_add(list, a, c, &t, r.type, file));
		c->tensor = NULL;
	} while (take(c, ','));
	if (!take(c, '}'))
		return expected(c, "',' or '}'");
	if (c->at != c->end)
		return expected(c, "only blanks after the last '}'");
done:
	c->tensor = NULL;
	return status;
}

rebus_status safetensors_header_read(arena *a, const uint8_t *data, size_t size, const char *file, const char *shown,
                                     tensor_list *list, rebus_error *err)
{
	uint64_t n = 0;
	if (size < 8)
		return error_set(err, REBUS_FORMAT, "%s: %zu bytes, expected a safetensors file, which has at least 10", shown, size);
	for (int i = 0; i < 8; i++)
		n |= (uint64_t)data[i] << 8 * i;
	if (n > HEADER_MOST)
		return error_set(err, REBUS_FORMAT, "%s: header of %" PRIu64 " bytes, expected at most %d (not a safetensors file?)",
		                 shown, n, HEADER_MOST);
	if (n > size - 8)
		return error_set(err, REBUS_FORMAT, "%s: header of %" PRIu64 " bytes, expected at most the %zu that follow (cut short?)",
		                 shown, n, size - 8);
	const char *text = (const char *)data + 8;
	cursor c = {.start = text, .at = text, .end = text + n, .section = data + 8 + n, .section_size = size - 8 - (size_t)n,
	            .shown = shown, .err = err};
	size_t before = list->count;
	const tensor_node *tail = list->last;
	rebus_status status = read_all(&c, a, file, list);
	return status ? status : cover_check(&c, tail ? tail->next : list->first, list->count - before, a->from);
}
