/* tar.c - see tar.h. */
#include "files/tar.h"

#include <string.h>

enum { BLOCK = 512, NAME_MOST = 1 << 20 };

/* Where a header's fields begin. */
enum { AT_NAME = 0, AT_SIZE = 124, AT_SUM = 148, AT_TYPE = 156, AT_MAGIC = 257, AT_PREFIX = 345 };

/* What headers in front of a member say of it. */
typedef struct overrides {
	bool has_name, has_size; /* the name is in t->name */
	size_t size;
} overrides;

void tar_begin(tar *t, const uint8_t *data, size_t size, const char *file, const rebus_allocator *from)
{
	*t = (tar){.data = data, .size = size, .file = file};
	buf_init(&t->name, from, NAME_MOST);
}

void tar_end(tar *t)
{
	buf_free(&t->name);
}

static rebus_status fail(tar *t, size_t at, rebus_status code, const char *what, rebus_error *err)
{
	t->at = t->size;
	return error_set(err, code, "%.140s: byte %zu: %s", t->file, at, what);
}

/* Digits to base 8 between blanks, up to a NUL or the end of the field. */
static bool octal(const uint8_t *p, size_t n, size_t *out)
{
	size_t i = 0, v = 0, digits = 0;
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++, digits++) {
		if (v >> (8 * sizeof v - 3))
			return false;
		v = v << 3 | (size_t)(p[i] - '0');
	}
	if (i < n && p[i] != ' ' && p[i])
		return false;
	*out = v;
	return true; /* an empty field is 0, as in the headers of some old programs */
}

/* GNU: the first bit is set, the others are the number, big endian. */
static bool number(const uint8_t *p, size_t n, size_t *out)
{
	if (!(p[0] & 0x80))
		return octal(p, n, out);
	size_t v = p[0] & 0x7f;
	for (size_t i = 1; i < n; i++) {
		if (v >> (8 * sizeof v - 8))
			return false;
		v = v << 8 | p[i];
	}
	*out = v;
	return true;
}

/* The sum of all bytes, those of the field itself as blanks; some old programs summed signed chars. */
static bool sum_is_right(const uint8_t *h)
{
	size_t want;
	int64_t plain = 0, with_sign = 0;
	if (!octal(h + AT_SUM, 8, &want))
		return false;
	for (size_t i = 0; i < BLOCK; i++) {
		uint8_t c = i >= AT_SUM && i < AT_SUM + 8 ? ' ' : h[i];
		plain += c;
		with_sign += (int8_t)c;
	}
	return (int64_t)want == plain || (int64_t)want == with_sign;
}

static bool all_zero(const uint8_t *p)
{
	for (size_t i = 0; i < BLOCK; i++)
		if (p[i])
			return false;
	return true;
}

static size_t field_length(const uint8_t *p, size_t n)
{
	const uint8_t *end = memchr(p, 0, n);
	return end ? (size_t)(end - p) : n;
}

/* Up to its first NUL; t->name is replaced. */
static void name_set(tar *t, const uint8_t *p, size_t n)
{
	t->name.size = 0;
	buf_add(&t->name, p, field_length(p, n));
}

static void name_from_header(tar *t, const uint8_t *h)
{
	size_t prefix = !memcmp(h + AT_MAGIC, "ustar", 6) ? field_length(h + AT_PREFIX, 155) : 0; /* GNU has no NUL there and other fields behind */
	t->name.size = 0;
	buf_add(&t->name, h + AT_PREFIX, prefix);
	if (prefix)
		buf_byte(&t->name, '/');
	buf_add(&t->name, h + AT_NAME, field_length(h + AT_NAME, 100));
}

static bool decimal(const uint8_t *p, size_t n, size_t *out)
{
	size_t v = 0;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9' || v > (SIZE_MAX - 9) / 10)
			return false;
		v = 10 * v + (size_t)(p[i] - '0');
	}
	*out = v;
	return n > 0;
}

/* Records "LENGTH KEY=VALUE\n", LENGTH counting all of the record. */
static bool pax_read(tar *t, const uint8_t *p, size_t n, overrides *o)
{
	while (n) {
		const uint8_t *blank = memchr(p, ' ', n < 20 ? n : 20);
		size_t length;
		if (!blank || !decimal(p, (size_t)(blank - p), &length) || length > n || length < (size_t)(blank - p) + 2 || p[length - 1] != '\n')
			return false;
		const uint8_t *key = blank + 1, *end = p + length - 1, *equals = memchr(key, '=', (size_t)(end - key));
		if (!equals)
			return false;
		size_t key_size = (size_t)(equals - key), value_size = (size_t)(end - equals - 1);
		if (key_size == 4 && !memcmp(key, "path", 4)) {
			name_set(t, equals + 1, value_size);
			o->has_name = true;
		} else if (key_size == 4 && !memcmp(key, "size", 4)) {
			o->has_size = true;
			if (!decimal(equals + 1, value_size, &o->size))
				return false;
		}
		p += length;
		n -= length;
	}
	return true;
}

/* A header that says something of the member behind it. */
static rebus_status extension(tar *t, size_t at, uint8_t type, const uint8_t *data, size_t size, overrides *o, rebus_error *err)
{
	if (size > NAME_MOST)
		return fail(t, at, REBUS_LIMIT, "a header of more than 1 MiB, expected a name", err);
	if (type == 'L') {
		name_set(t, data, size);
		o->has_name = true;
	} else if (type == 'x' && !pax_read(t, data, size, o)) {
		return fail(t, at, REBUS_FORMAT, "no pax header, expected records of a length, a key and a value", err);
	}
	return REBUS_OK;
}

/* Types that Python's tarfile takes for regular: these, and what it does not know. */
static bool regular(uint8_t type)
{
	return type == '0' || type == 0 || type == '7';
}

static bool without_data(uint8_t type)
{
	return type >= '1' && type <= '6';
}

rebus_status tar_next(tar *t, tar_member *out, bool *got, rebus_error *err)
{
	overrides o = {0};
	for (;;) {
		size_t at = t->at, size, next;
		if (t->size - at < BLOCK || all_zero(t->data + at)) {
			if (t->size - at && t->size - at < BLOCK)
				return fail(t, at, REBUS_FORMAT, "the file ends inside a header", err);
			if (o.has_name || o.has_size)
				return fail(t, at, REBUS_FORMAT, "the file ends after a header that belongs to a member", err);
			t->at = t->size;
			*got = false;
			return REBUS_OK;
		}
		const uint8_t *h = t->data + at;
		if (!sum_is_right(h)) {
			bool packed = !at && (!memcmp(h, "\x1f\x8b", 2) || !memcmp(h, "BZh", 3) || !memcmp(h, "\xfd" "7zXZ", 5) || !memcmp(h, "\x28\xb5\x2f\xfd", 4));
			return fail(t, at, packed ? REBUS_UNSUPPORTED : REBUS_FORMAT,
			            packed ? "compressed, expected a plain tar file; unpack it first" : "no tar header, or its checksum is wrong", err);
		}
		uint8_t type = h[AT_TYPE];
		if (!number(h + AT_SIZE, 12, &size))
			return fail(t, at, REBUS_FORMAT, "a size that is no number", err);
		bool extends = type == 'L' || type == 'x' || type == 'K' || type == 'g';
		if (type == 'S')
			return fail(t, at, REBUS_UNSUPPORTED, "a sparse member, expected plain ones", err);
		if (!extends && o.has_size)
			size = o.size;
		if (without_data(type))
			size = 0;
		t->at = at + BLOCK;
		if (size > t->size - t->at)
			return fail(t, at, REBUS_FORMAT, "the file ends inside a member", err);
		next = t->at + size_round(size, BLOCK); /* no overflow: size is less than the file's */
		const uint8_t *data = t->data + t->at;
		t->at = next < t->size ? next : t->size;
		if (extends) {
			rebus_status status = extension(t, at, type, data, size, &o, err);
			if (status)
				return status;
			continue;
		}
		if (!o.has_name)
			name_from_header(t, h);
		rebus_status status = buf_check(&t->name, err, t->file);
		if (status)
			return status;
		if (regular(type) && !(t->name.size && t->name.data[t->name.size - 1] == '/')) {
			*out = (tar_member){t->name.size ? t->name.data : "", data, size};
			*got = true;
			return REBUS_OK;
		}
		o = (overrides){0};
	}
}
