/*
 * template_format.c - the two formatting languages of Python's texts.
 *
 *   "%(name)-08.3f" % x          template_percent
 *   "{name.x[0]!r:>+08,.3f}"     template_braces
 *      │         │  └ fill, align, sign, #, 0, width, grouping, precision, type
 *      │         └ conversion: s, r
 *      └ argument by position, by name or in turn, then attributes and items
 *
 * Both end in one description of a field, which place() turns into text. Numbers are written by printf, whose rounding is
 * Python's, then grouped and padded here. Widths count code points; a precision of more than 300 is refused.
 */
#include "text/template_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_PRECISION = 300, DIGITS = 1000 };

typedef struct field {
	uint32_t fill;
	char align, sign, group, type; /* 0: not given; align one of < > ^ = */
	bool alternate, zero;
	int64_t width, precision; /* -1: not given */
} field;

/* ------------------------------------------------------------------------------------------------ placing */
static void add_fill(buf *out, uint32_t fill, int64_t times)
{
	char letter[4];
	size_t n = utf8_put(fill, letter);
	for (; times > 0 && !out->failed; times--)
		buf_add(out, letter, n);
}

/* prefix (sign, 0x) and body, padded; `=` puts the padding between them */
static rebus_status place(template_run *r, const field *f, const char *prefix, const char *body, size_t size, buf *out)
{
	rebus_status status = REBUS_OK;
	template_string s = {.data = body, .size = size, .points = SIZE_MAX};
	int64_t pad = f->width - (int64_t)template_points(&s) - (int64_t)strlen(prefix);
	if (f->width > (int64_t)r->limits.output)
		TRY(template_fail(r, REBUS_LIMIT, "a field %lld wide", (long long)f->width));
	pad = pad > 0 ? pad : 0;
	TRY(template_step(r, (size_t)pad / 16 + size / 64));
	int64_t left = f->align == '>' ? pad : f->align == '^' ? pad / 2 : 0, middle = f->align == '=' ? pad : 0;
	add_fill(out, f->fill, left);
	buf_text(out, prefix);
	add_fill(out, f->fill, middle);
	buf_add(out, body, size);
	add_fill(out, f->fill, pad - left - middle);
	if (out->failed)
		TRY(template_fail(r, out->failed, "a string of more than %zu bytes", out->limit));
done:
	return status;
}

static rebus_status place_text(template_run *r, const field *f, template_string *s, buf *out)
{
	size_t size = f->precision >= 0 ? template_offset(s, (size_t)f->precision) : s->size;
	field text = *f;
	if (!text.align)
		text.align = '<';
	return place(r, &text, "", s->data, size, out);
}

/* Puts separators between the thousands of the digits that text starts with. */
static void group_digits(char *text, char mark, int each)
{
	char copy[DIGITS];
	size_t digits = strspn(text, each == 3 ? "0123456789" : "0123456789abcdefABCDEF"), n = 0;
	strcpy(copy, text);
	for (size_t i = 0; i < digits; i++) {
		if (i && (digits - i) % (size_t)each == 0)
			text[n++] = mark;
		text[n++] = copy[i];
	}
	strcpy(text + n, copy + digits);
}

static rebus_status place_number(template_run *r, const field *f, bool negative, const char *base, char *digits, buf *out)
{
	char prefix[8];
	field number = *f;
	if (!number.align)
		number.align = f->zero ? '=' : '>';
	if (f->zero && !f->fill)
		number.fill = '0';
	number.fill = number.fill ? number.fill : ' ';
	if (f->group)
		group_digits(digits, f->group, *base || f->type == 'b' || f->type == 'o' || f->type == 'x' || f->type == 'X' ? 4 : 3);
	snprintf(prefix, sizeof prefix, "%s%s", negative ? "-" : f->sign == '+' ? "+" : f->sign == ' ' ? " " : "", base);
	return place(r, &number, prefix, digits, strlen(digits), out);
}

static rebus_status place_int(template_run *r, const field *f, int64_t i, buf *out)
{
	char digits[DIGITS], *at = digits + 100;
	uint64_t x = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	unsigned base = f->type == 'b' ? 2 : f->type == 'o' ? 8 : f->type == 'x' || f->type == 'X' ? 16 : 10;
	const char *letters = f->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	const char *mark = !f->alternate ? "" : base == 2 ? "0b" : base == 8 ? "0o" : base == 16 ? (f->type == 'X' ? "0X" : "0x") : "";
	char text[DIGITS];
	*at = 0;
	do
		*--at = letters[x % base];
	while (x /= base);
	size_t n = strlen(at), zeros = f->precision > (int64_t)n && f->precision <= MOST_PRECISION ? (size_t)f->precision - n : 0;
	memset(text, '0', zeros);
	strcpy(text + zeros, at);
	return place_number(r, f, i < 0, mark, text, out);
}

/* As the types e, f, g and %, and no type: repr, or g with a fraction where a precision is given. */
static rebus_status place_real(template_run *r, const field *f, double x, buf *out)
{
	rebus_status status = REBUS_OK;
	char text[DIGITS], pattern[8];
	bool negative = signbit(x) && !isnan(x), bare = !f->type;
	int precision = f->precision < 0 ? 6 : (int)int_min(f->precision, MOST_PRECISION + 1);
	if (precision > MOST_PRECISION)
		TRY(template_fail(r, REBUS_LIMIT, "a precision of more than %d", MOST_PRECISION));
	char type = bare ? 'g' : f->type == '%' ? 'f' : f->type == 'n' ? 'g' : f->type;
	x = fabs(f->type == '%' ? x * 100 : x);
	if (!isfinite(x)) {
		bool big = f->type >= 'A' && f->type <= 'Z';
		strcpy(text, isnan(x) ? (big ? "NAN" : "nan") : big ? "INF" : "inf");
	} else if (bare && f->precision < 0) {
		template_real_repr(x, text);
	} else {
		snprintf(pattern, sizeof pattern, "%%%s.*%c", f->alternate ? "#" : "", type);
		snprintf(text, sizeof text, pattern, bare && !precision ? 1 : precision, x);
		for (char *c = text; *c; c++) /* a locale's decimal point */
			if (!strchr("0123456789+-eEinfaINFA", *c))
				*c = '.';
		if (bare && !strpbrk(text, ".e"))
			strcat(text, ".0");
	}
	if (f->type == '%')
		strcat(text, "%");
	TRY(place_number(r, f, negative, "", text, out));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ % */
typedef struct percent {
	const template_string *format;
	size_t at;
	value args;
	size_t next; /* of a tuple's arguments */
} percent;

static rebus_status percent_next(template_run *r, percent *p, value *out)
{
	size_t count = p->args.kind == VALUE_TUPLE ? p->args.as.list->count : 1;
	if (p->next >= count)
		return template_fail(r, REBUS_FORMAT, "not enough arguments for format string");
	*out = p->args.kind == VALUE_TUPLE ? p->args.as.list->at[p->next] : p->args;
	p->next++;
	return REBUS_OK;
}

static int percent_peek(const percent *p)
{
	return p->at < p->format->size ? (unsigned char)p->format->data[p->at] : 0;
}

/* A width or precision: digits, or * for the next argument */
static rebus_status percent_number(template_run *r, percent *p, int64_t *out)
{
	rebus_status status = REBUS_OK;
	value v;
	if (percent_peek(p) == '*') {
		p->at++;
		TRY(percent_next(r, p, &v));
		if (!template_is_int(v, out))
			TRY(template_fail(r, REBUS_FORMAT, "* wants int"));
		return REBUS_OK;
	}
	for (*out = 0; percent_peek(p) >= '0' && percent_peek(p) <= '9'; p->at++) {
		*out = *out * 10 + percent_peek(p) - '0';
		if (*out > INT32_MAX)
			TRY(template_fail(r, REBUS_LIMIT, "a width too big"));
	}
done:
	return status;
}

static rebus_status percent_name(template_run *r, percent *p, value *out)
{
	rebus_status status = REBUS_OK;
	size_t begin = ++p->at, depth = 1;
	for (; p->at < p->format->size && depth; p->at++)
		depth += percent_peek(p) == '(' ? 1 : percent_peek(p) == ')' ? (size_t)-1 : 0;
	if (depth)
		return template_fail(r, REBUS_FORMAT, "incomplete format key");
	template_string key = {.data = p->format->data + begin, .size = p->at - 1 - begin, .points = SIZE_MAX};
	if (p->args.kind != VALUE_DICT)
		TRY(template_fail(r, REBUS_FORMAT, "format requires a mapping"));
	const template_pair *pair = template_map_text(p->args.as.map, &key);
	if (!pair)
		TRY(template_fail(r, REBUS_FORMAT, "no such key: '%.*s'", (int)int_min((int64_t)key.size, 80), key.data));
	*out = pair->item;
done:
	return status;
}

static rebus_status percent_flags(template_run *r, percent *p, field *f)
{
	rebus_status status = REBUS_OK;
	for (int c; (c = percent_peek(p)) && strchr("-+ 0#", c); p->at++) {
		f->align = c == '-' ? '<' : f->align;
		f->sign = c == '+' ? '+' : c == ' ' && !f->sign ? ' ' : f->sign;
		f->zero |= c == '0';
		f->alternate |= c == '#';
	}
	TRY(percent_number(r, p, &f->width));
	if (f->width < 0) {
		f->align = '<';
		f->width = f->width > -INT32_MAX ? -f->width : INT32_MAX;
	}
	if (percent_peek(p) == '.') {
		p->at++;
		TRY(percent_number(r, p, &f->precision));
		f->precision = int_max(f->precision, 0);
	}
	if (percent_peek(p) && strchr("hlL", percent_peek(p)))
		p->at++;
	f->zero = f->zero && f->align != '<';
done:
	return status;
}

static rebus_status percent_place(template_run *r, const field *f, value v, buf *out)
{
	rebus_status status = REBUS_OK;
	int64_t i;
	double x;
	value text;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	field plain = *f;
	if (f->type == 's' || f->type == 'r' || f->type == 'a' || f->type == 'c') {
		if (f->type == 'a')
			TRY(template_fail(r, REBUS_UNSUPPORTED, "the conversion %%a"));
		if (f->type == 'c' && template_is_int(v, &i)) {
			char letter[4];
			if (i < 0 || i > 0x10FFFF)
				TRY(template_fail(r, REBUS_FORMAT, "%%c arg not in range(0x110000)"));
			buf_add(&b, letter, utf8_put((uint32_t)i, letter));
		} else if (f->type == 'c' && (v.kind != VALUE_TEXT || template_points(v.as.text) != 1)) {
			TRY(template_fail(r, REBUS_FORMAT, "%%c requires int or char"));
		} else {
			TRY(f->type == 'r' ? template_repr(r, v, &b) : template_str(r, v, &b));
		}
		TRY(template_string_take(r, &b, &text));
		plain.align = f->align ? f->align : '>';
		plain.fill = ' ';
		TRY(place_text(r, &plain, text.as.text, out));
	} else if (strchr("diuxXo", f->type)) {
		plain.type = f->type == 'i' || f->type == 'u' ? 'd' : f->type;
		if (v.kind == VALUE_REAL && plain.type == 'd' && fabs(v.as.real) < 9e18)
			v = template_int((int64_t)v.as.real);
		if (!template_is_int(v, &i))
			TRY(template_fail(r, REBUS_FORMAT, "%%%c format: a real number is required, not %s", f->type, template_type(v)));
		TRY(place_int(r, &plain, i, out));
	} else {
		if (!template_is_number(v, &x))
			TRY(template_fail(r, REBUS_FORMAT, "must be real number, not %s", template_type(v)));
		TRY(place_real(r, &plain, x, out));
	}
done:
	buf_free(&b);
	return status;
}

static rebus_status percent_field(template_run *r, percent *p, buf *out)
{
	rebus_status status = REBUS_OK;
	field f = {.precision = -1};
	value v = {.kind = VALUE_MISSING};
	if (percent_peek(p) == '(')
		TRY(percent_name(r, p, &v));
	TRY(percent_flags(r, p, &f));
	int type = percent_peek(p);
	p->at++;
	if (type == '%') {
		buf_byte(out, '%');
		return REBUS_OK;
	}
	if (!type || !strchr("sracdiuxXoeEfFgG", type))
		TRY(template_fail(r, REBUS_FORMAT, type ? "unsupported format character '%c'" : "incomplete format", type));
	f.type = (char)type;
	if (v.kind == VALUE_MISSING)
		TRY(percent_next(r, p, &v));
	TRY(percent_place(r, &f, v, out));
done:
	return status;
}

rebus_status template_percent(template_run *r, const template_string *format, value args, value *out)
{
	rebus_status status = REBUS_OK;
	percent p = {.format = format, .args = args};
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	while (p.at < format->size) {
		const char *sign = memchr(format->data + p.at, '%', format->size - p.at);
		size_t to = sign ? (size_t)(sign - format->data) : format->size;
		buf_add(&b, format->data + p.at, to - p.at);
		p.at = to;
		if (sign) {
			p.at++;
			TRY(template_step(r, 1));
			TRY(percent_field(r, &p, &b));
		}
	}
	bool mapping = args.kind == VALUE_DICT || args.kind == VALUE_LIST || args.kind == VALUE_RANGE || args.kind == VALUE_UNDEFINED;
	if (!mapping && p.next < (args.kind == VALUE_TUPLE ? args.as.list->count : 1))
		TRY(template_fail(r, REBUS_FORMAT, "not all arguments converted during string formatting"));
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------ {} */
typedef struct braces {
	const template_args *args;
	int64_t next; /* the argument that {} means; -1: they were numbered */
	bool used;
} braces;

static bool read_number(const char **s, const char *end, int64_t *out)
{
	if (*s >= end || **s < '0' || **s > '9')
		return false;
	for (*out = 0; *s < end && **s >= '0' && **s <= '9'; (*s)++)
		*out = *out > INT32_MAX ? *out : *out * 10 + **s - '0';
	return true;
}

/* [[fill]align][sign][z][#][0][width][grouping][.precision][type] */
static rebus_status read_spec(template_run *r, const char *s, size_t n, field *f)
{
	const char *end = s + n;
	uint32_t cp;
	*f = (field){.precision = -1};
	size_t first = n ? utf8_get(s, n, &cp) : 0;
	if (first && first < n && strchr("<>^=", s[first])) {
		f->fill = cp;
		f->align = s[first];
		s += first + 1;
	} else if (n && strchr("<>^=", *s)) {
		f->align = *s++;
	}
	if (s < end && (*s == '+' || *s == '-' || *s == ' '))
		f->sign = *s++;
	if (s < end && *s == '#')
		s++, f->alternate = true;
	if (s < end && *s == '0') {
		s++;
		f->zero = true;
	}
	read_number(&s, end, &f->width);
	if (s < end && (*s == ',' || *s == '_'))
		f->group = *s++;
	if (s < end && *s == '.') {
		s++;
		if (!read_number(&s, end, &f->precision))
			return template_fail(r, REBUS_FORMAT, "Format specifier missing precision");
	}
	if (s < end)
		f->type = *s++;
	if (s != end)
		return template_fail(r, REBUS_FORMAT, "Invalid format specifier");
	return REBUS_OK;
}

static rebus_status bad_type(template_run *r, const field *f, value v)
{
	return template_fail(r, REBUS_FORMAT, "Unknown format code '%c' for object of type '%s'", f->type ? f->type : '=', template_type(v));
}

static rebus_status braces_place(template_run *r, field *f, bool has_spec, value v, buf *out)
{
	int64_t i;
	double x;
	bool number = template_is_number(v, &x), whole = template_is_int(v, &i);
	if (number && !(v.kind == VALUE_BOOL && !has_spec)) {
		if (whole && (!f->type || strchr("bcdnoxX", f->type))) {
			if (f->precision >= 0)
				return template_fail(r, REBUS_FORMAT, "Precision not allowed in integer format specifier");
			if (f->type == 'c')
				return template_fail(r, REBUS_UNSUPPORTED, "the format code 'c'");
			return place_int(r, f, i, out);
		}
		if (f->type && !strchr("eEfFgGn%", f->type))
			return bad_type(r, f, v);
		return place_real(r, f, x, out);
	}
	if (v.kind != VALUE_TEXT && has_spec)
		return template_fail(r, REBUS_FORMAT, "unsupported format string passed to %s.__format__", template_type(v));
	if (v.kind != VALUE_TEXT)
		return template_str(r, v, out);
	if ((f->type && f->type != 's') || f->align == '=' || f->sign || f->alternate || f->group)
		return bad_type(r, f, v);
	if (!f->fill)
		f->fill = f->zero ? '0' : ' ';
	return place_text(r, f, v.as.text, out);
}

/* The argument that a field names, then .attributes and [items]. */
static rebus_status braces_value(template_run *r, braces *b, const char *s, const char *end, value *out)
{
	rebus_status status = REBUS_OK;
	const char *first = s;
	int64_t index = 0;
	while (s < end && *s != '.' && *s != '[')
		s++;
	const char *digits = first;
	value key;
	if (s == first || (read_number(&digits, s, &index) && digits == s)) {
		bool automatic = s == first;
		if (b->used && automatic != (b->next >= 0))
			TRY(template_fail(r, REBUS_FORMAT, "cannot switch between automatic field numbering and manual field specification"));
		b->used = true;
		if (automatic)
			index = b->next++;
		else
			b->next = -1;
		if (index >= (int64_t)b->args->count)
			TRY(template_fail(r, REBUS_FORMAT, "Replacement index %lld out of range for positional args tuple", (long long)index));
		*out = b->args->at[index];
	} else {
		bool found = false;
		for (size_t i = 0; i < b->args->keyword_count && !found; i++) {
			const template_string *name = b->args->keywords[i].key.as.text;
			found = name->size == (size_t)(s - first) && memcmp(name->data, first, name->size) == 0;
			if (found)
				*out = b->args->keywords[i].item;
		}
		if (!found)
			TRY(template_fail(r, REBUS_FORMAT, "no such key: '%.*s'", (int)int_min(s - first, 80), first));
	}
	while (s < end) {
		bool dot = *s == '.';
		const char *begin = ++s;
		while (s < end && (dot ? *s != '.' && *s != '[' : *s != ']'))
			s++;
		if (s == begin || (!dot && s == end))
			TRY(template_fail(r, REBUS_FORMAT, "Empty attribute in format string"));
		digits = begin;
		if (!dot && read_number(&digits, s, &index) && digits == s)
			key = template_int(index);
		else
			TRY(template_string_view(r, begin, (size_t)(s - begin), &key));
		TRY(dot ? template_attr(r, *out, key.as.text, out) : template_item(r, *out, key, out));
		s += !dot;
		if (!dot && s < end && *s != '.' && *s != '[')
			TRY(template_fail(r, REBUS_FORMAT, "Only '.' or '[' may follow ']' in format field specifier"));
	}
done:
	return status;
}

static rebus_status braces_text(template_run *r, braces *b, const char *s, const char *end, int depth, buf *out);

/* What is between { and }. */
static rebus_status braces_field(template_run *r, braces *b, const char *s, const char *end, int depth, buf *out)
{
	rebus_status status = REBUS_OK;
	const char *name = s;
	char conversion = 0;
	field f;
	value v;
	buf spec;
	buf_init(&spec, r->scratch->from, 4096);
	for (bool item = false; s < end && (item || (*s != '!' && *s != ':')); s++)
		item = *s == '[' ? true : *s == ']' ? false : item;
	TRY(braces_value(r, b, name, s, &v));
	if (s < end && *s == '!') {
		conversion = s + 1 < end ? s[1] : 0;
		s += 2;
		if ((conversion != 's' && conversion != 'r') || (s < end && *s != ':'))
			TRY(template_fail(r, REBUS_FORMAT, "a conversion specifier that is neither !s nor !r"));
	}
	if (s < end)
		TRY(braces_text(r, b, s + 1, end, depth - 1, &spec));
	if (conversion == 's') {
		TRY(template_str_value(r, v, &v));
	} else if (conversion == 'r') {
		buf text;
		buf_init(&text, r->scratch->from, r->limits.output);
		status = template_repr(r, v, &text);
		status = status ? status : template_string_take(r, &text, &v);
		buf_free(&text);
		TRY(status);
	}
	TRY(buf_check(&spec, r->err, "a format specifier"));
	TRY(read_spec(r, spec.data ? spec.data : "", spec.size, &f));
	TRY(braces_place(r, &f, spec.size > 0, v, out));
done:
	buf_free(&spec);
	return status;
}

static rebus_status braces_text(template_run *r, braces *b, const char *s, const char *end, int depth, buf *out)
{
	rebus_status status = REBUS_OK;
	if (depth < 0)
		return template_fail(r, REBUS_FORMAT, "Max string recursion exceeded");
	while (s < end) {
		const char *begin = s;
		while (s < end && *s != '{' && *s != '}')
			s++;
		buf_add(out, begin, (size_t)(s - begin));
		if (s >= end)
			break;
		TRY(template_step(r, 1));
		if (s + 1 < end && s[1] == *s) {
			buf_byte(out, *s);
			s += 2;
			continue;
		}
		if (*s == '}')
			TRY(template_fail(r, REBUS_FORMAT, "Single '}' encountered in format string"));
		int open = 1;
		for (begin = ++s; s < end && open; s++)
			open += *s == '{' ? 1 : *s == '}' ? -1 : 0;
		if (open)
			TRY(template_fail(r, REBUS_FORMAT, "expected '}' before end of string"));
		TRY(braces_field(r, b, begin, s - 1, depth, out));
	}
done:
	return status;
}

rebus_status template_braces(template_run *r, const template_string *format, const template_args *args, value *out)
{
	rebus_status status = REBUS_OK;
	braces b = {.args = args};
	buf text;
	buf_init(&text, r->scratch->from, r->limits.output);
	TRY(braces_text(r, &b, format->data, format->data + format->size, 1, &text));
	TRY(template_string_take(r, &text, out));
done:
	buf_free(&text);
	return status;
}
