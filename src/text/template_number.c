/*
 * template_number.c - numbers of templates: reading, writing, arithmetic.
 *
 * Integers have 64 bits and say so when they overflow; Python's would grow. Real numbers are written as repr does: the
 * fewest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on. Division and remainder
 * round down: -7 // 2 is -4, -7 % 2 is 1. + and * also join and repeat texts and lists, whose size is checked first.
 *
 * The C library's decimal point may be another character where the program has set a locale; both directions see to it.
 */
#include "text/template_inside.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ writing */
/* "d.ddde+xx" to digits and exponent */
static int take_digits(const char *text, char digits[24])
{
	int n = 0;
	const char *e = strchr(text, 'e');
	for (; text < e && n < 23; text++)
		if (*text >= '0' && *text <= '9')
			digits[n++] = *text;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	digits[n] = 0;
	return (int)strtol(e + 1, NULL, 10);
}

void template_real_repr(double x, char out[40])
{
	char text[48], digits[24];
	if (isnan(x) || isinf(x)) {
		strcpy(out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
		return;
	}
	for (int precision = 0; precision < 17; precision++) {
		snprintf(text, sizeof text, "%.*e", precision, x);
		if (strtod(text, NULL) == x)
			break;
	}
	int exponent = take_digits(text, digits), n = (int)strlen(digits);
	char *to = out;
	if (signbit(x))
		*to++ = '-';
	if (exponent < -4 || exponent >= 16) {
		*to++ = digits[0];
		if (n > 1) {
			*to++ = '.';
			memcpy(to, digits + 1, (size_t)n - 1);
			to += n - 1;
		}
		snprintf(to, 16, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return;
	}
	if (exponent < 0) {
		*to++ = '0';
		*to++ = '.';
		for (int i = -1; i > exponent; i--)
			*to++ = '0';
		strcpy(to, digits);
		return;
	}
	for (int i = 0; i <= exponent || i < n; i++) {
		if (i == exponent + 1)
			*to++ = '.';
		*to++ = i < n ? digits[i] : '0';
	}
	strcpy(to, n > exponent + 1 ? "" : ".0");
}

/* ------------------------------------------------------------------------------------------------ reading */
static void trim(const char **s, size_t *n)
{
	size_t start = template_space_start(*s, *n);
	*s += start;
	*n -= start;
	*n -= template_space_end(*s, *n);
}

static bool same_word(const char *s, size_t n, const char *word)
{
	if (n != strlen(word))
		return false;
	for (size_t i = 0; i < n; i++)
		if ((s[i] | 0x20) != word[i])
			return false;
	return true;
}

/* Digits with single underlines between them, to *to without those; returns how many bytes were passed. */
static size_t pass_digits(const char *s, size_t n, char *to, size_t *at)
{
	size_t i = 0;
	for (; i < n; i++) {
		if (s[i] >= '0' && s[i] <= '9')
			to[(*at)++] = s[i];
		else if (s[i] != '_' || !i || s[i - 1] == '_' || i + 1 == n || s[i + 1] < '0' || s[i + 1] > '9')
			break;
	}
	return i;
}

bool template_read_real(const char *s, size_t n, double *out)
{
	char text[512];
	size_t at = 0, i = 0, digits = 0;
	trim(&s, &n);
	if (!n || n > sizeof text - 16)
		return false;
	if (s[i] == '+' || s[i] == '-')
		text[at++] = s[i++];
	double sign = at && text[0] == '-' ? -1 : 1;
	if (same_word(s + i, n - i, "inf") || same_word(s + i, n - i, "infinity")) {
		*out = sign * (double)INFINITY;
		return true;
	}
	if (same_word(s + i, n - i, "nan")) {
		*out = (double)NAN;
		return true;
	}
	size_t k = pass_digits(s + i, n - i, text, &at);
	i += k;
	digits += k;
	if (i < n && s[i] == '.') {
		const char *point = localeconv()->decimal_point;
		size_t size = strlen(point) < 8 ? strlen(point) : 0;
		memcpy(text + at, point, size);
		at += size;
		i++;
		k = pass_digits(s + i, n - i, text, &at);
		i += k;
		digits += k;
	}
	if (!digits)
		return false;
	if (i < n && (s[i] == 'e' || s[i] == 'E')) {
		text[at++] = s[i++];
		if (i < n && (s[i] == '+' || s[i] == '-'))
			text[at++] = s[i++];
		k = pass_digits(s + i, n - i, text, &at);
		if (!k)
			return false;
		i += k;
	}
	if (i != n)
		return false;
	text[at] = 0;
	*out = strtod(text, NULL);
	return true;
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

bool template_read_int(const char *s, size_t n, int base, int64_t *out, bool *too_big)
{
	*too_big = false;
	trim(&s, &n);
	bool negative = n && *s == '-', any = false;
	if (n && (*s == '-' || *s == '+'))
		s++, n--;
	if (n > 1 && *s == '0') { /* a prefix that says the base, where it is that base or any */
		int mark = s[1] | 0x20, named = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
		if (named && (base == named || base == 0)) {
			base = named;
			s += 2;
			n -= 2;
			if (n > 1 && *s == '_')
				s++, n--;
		} else if (base == 0) {
			any = true; /* only zeros may follow */
		}
	}
	base = base ? base : 10;
	if (base < 2 || base > 36 || !n)
		return false;
	uint64_t x = 0, most = (uint64_t)INT64_MAX + negative;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '_' && i && i + 1 < n && s[i - 1] != '_')
			continue;
		int d = digit_of(s[i]);
		if (d >= base || (any && d))
			return false;
		if (x > (most - (uint64_t)d) / (uint64_t)base)
			*too_big = true;
		x = *too_big ? 0 : x * (uint64_t)base + (uint64_t)d;
	}
	if (*too_big)
		return false;
	*out = negative ? (int64_t)(0 - x) : (int64_t)x;
	return true;
}

/* ------------------------------------------------------------------------------------------------ integers */
static rebus_status overflow(template_run *r)
{
	return template_fail(r, REBUS_LIMIT, "an integer of more than 64 bits");
}

static rebus_status division_by_zero(template_run *r)
{
	return template_fail(r, REBUS_FORMAT, "division by zero");
}

static bool add_int(int64_t a, int64_t b, int64_t *out)
{
	if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b))
		return false;
	*out = a + b;
	return true;
}

static bool mul_int(int64_t a, int64_t b, int64_t *out)
{
	uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
	bool negative = (a < 0) != (b < 0);
	uint64_t most = (uint64_t)INT64_MAX + negative;
	if (x && y > most / x)
		return false;
	*out = negative ? (int64_t)(0 - x * y) : (int64_t)(x * y);
	return true;
}

static bool pow_int(int64_t a, int64_t b, int64_t *out)
{
	int64_t x = 1;
	if (a == 0 || a == 1 || a == -1) {
		*out = !b || a == 1 ? 1 : a == 0 ? 0 : b % 2 ? -1 : 1;
		return true;
	}
	for (; b > 0; b--) /* |a| is at least 2: it overflows before the 64th turn */
		if (!mul_int(x, a, &x))
			return false;
	*out = x;
	return true;
}

static rebus_status int_binary(template_run *r, token_kind op, int64_t a, int64_t b, value *out)
{
	int64_t x = 0;
	bool fits = true;
	switch (op) {
	case TOKEN_ADD:
		fits = add_int(a, b, &x);
		break;
	case TOKEN_SUB:
		fits = b != INT64_MIN ? add_int(a, -b, &x) : a < 0 && add_int(a - b, 0, &x);
		break;
	case TOKEN_MUL:
		fits = mul_int(a, b, &x);
		break;
	case TOKEN_POW:
		fits = pow_int(a, b, &x);
		break;
	default:
		if (!b)
			return division_by_zero(r);
		if (b == -1) { /* INT64_MIN / -1 traps */
			fits = op == TOKEN_MOD || a != INT64_MIN;
			x = op == TOKEN_MOD || !fits ? 0 : -a;
			break;
		}
		x = op == TOKEN_MOD ? a % b : a / b;
		if (a % b && (a % b < 0) != (b < 0))
			x += op == TOKEN_MOD ? b : -1;
	}
	if (!fits)
		return overflow(r);
	*out = template_int(x);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ real numbers */
static double floor_div(double a, double b)
{
	double rest = fmod(a, b), div = (a - rest) / b;
	if (rest != 0 && (b < 0) != (rest < 0))
		div -= 1;
	if (div == 0)
		return copysign(0.0, a / b);
	double whole = floor(div);
	return div - whole > 0.5 ? whole + 1 : whole;
}

static double floor_mod(double a, double b)
{
	double rest = fmod(a, b);
	if (rest == 0)
		return copysign(0.0, b);
	return (b < 0) != (rest < 0) ? rest + b : rest;
}

static rebus_status real_pow(template_run *r, double a, double b, value *out)
{
	if (a == 0 && b < 0)
		return template_fail(r, REBUS_FORMAT, "0.0 cannot be raised to a negative power");
	if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
		return template_fail(r, REBUS_UNSUPPORTED, "a complex number");
	double x = pow(a, b);
	if (isinf(x) && isfinite(a) && isfinite(b))
		return template_fail(r, REBUS_FORMAT, "Numerical result out of range");
	*out = template_real(x);
	return REBUS_OK;
}

static rebus_status real_binary(template_run *r, token_kind op, double a, double b, value *out)
{
	if (b == 0 && (op == TOKEN_DIV || op == TOKEN_FLOORDIV || op == TOKEN_MOD))
		return division_by_zero(r);
	switch (op) {
	case TOKEN_ADD:
		*out = template_real(a + b);
		break;
	case TOKEN_SUB:
		*out = template_real(a - b);
		break;
	case TOKEN_MUL:
		*out = template_real(a * b);
		break;
	case TOKEN_DIV:
		*out = template_real(a / b);
		break;
	case TOKEN_FLOORDIV:
		*out = template_real(floor_div(a, b));
		break;
	case TOKEN_MOD:
		*out = template_real(floor_mod(a, b));
		break;
	default:
		return real_pow(r, a, b, out);
	}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ joining, repeating */
rebus_status template_repeat(template_run *r, value seq, int64_t times, value *out)
{
	rebus_status status = REBUS_OK;
	size_t count = times > 0 ? (size_t)times : 0, total;
	if (seq.kind == VALUE_TEXT) {
		const template_string *s = seq.as.text;
		if (!size_mul(s->size, count, &total) || total > r->limits.output)
			return template_fail(r, REBUS_LIMIT, "a string of %zu bytes repeated %lld times", s->size, (long long)times);
		char *to = template_get(&r->pool, total + 1, 1);
		if (!to)
			return template_no_memory(r);
		TRY(template_step(r, total / 64 + (s->size ? count / 4 : 0)));
		for (size_t i = 0; s->size && i < count; i++)
			memcpy(to + i * s->size, s->data, s->size);
		TRY(template_string_view(r, to, total, out));
		out->as.text->safe = s->safe;
		return REBUS_OK;
	}
	const template_list_body *l = seq.as.list;
	if (!size_mul(l->count, count, &total))
		return template_fail(r, REBUS_LIMIT, "a list of %zu items repeated %lld times", l->count, (long long)times);
	TRY(template_step(r, total));
	TRY(template_seq_new(r, seq.kind, total, out));
	for (size_t i = 0; l->count && i < total; i++)
		out->as.list->at[out->as.list->count++] = l->at[i % l->count];
done:
	return status;
}

/* What |escape does to a text that is not marked as safe. */
static void add_escaped(buf *b, const template_string *s)
{
	for (size_t i = 0; i < s->size; i++) {
		char c = s->data[i];
		const char *name = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&#34;" : c == '\'' ? "&#39;" : NULL;
		if (name)
			buf_text(b, name);
		else
			buf_byte(b, c);
	}
}

rebus_status template_escape(template_run *r, const template_string *s, value *out)
{
	rebus_status status = REBUS_OK;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	TRY(template_step(r, s->size / 16));
	if (s->safe)
		buf_add(&b, s->data, s->size);
	else
		add_escaped(&b, s);
	TRY(template_string_take(r, &b, out));
	out->as.text->safe = true;
done:
	buf_free(&b);
	return status;
}

static rebus_status join_texts(template_run *r, value a, value b, value *out)
{
	rebus_status status = REBUS_OK;
	bool safe = a.as.text->safe || b.as.text->safe;
	if (safe && !a.as.text->safe)
		TRY(template_escape(r, a.as.text, &a));
	if (safe && !b.as.text->safe)
		TRY(template_escape(r, b.as.text, &b));
	const template_string *x = a.as.text, *y = b.as.text;
	size_t size = x->size + y->size;
	if (size > r->limits.output)
		TRY(template_fail(r, REBUS_LIMIT, "a string of %zu bytes, at most %zu", size, r->limits.output));
	char *to = template_get(&r->pool, size + 1, 1);
	if (!to)
		TRY(template_no_memory(r));
	TRY(template_step(r, size / 64));
	memcpy(to, x->data, x->size);
	memcpy(to + x->size, y->data, y->size);
	TRY(template_string_view(r, to, size, out));
	out->as.text->safe = safe;
done:
	return status;
}

static rebus_status join_lists(template_run *r, value a, value b, value *out)
{
	rebus_status status = REBUS_OK;
	const template_list_body *x = a.as.list, *y = b.as.list;
	TRY(template_step(r, x->count + y->count));
	TRY(template_seq_new(r, a.kind, x->count + y->count, out));
	template_list_body *l = out->as.list;
	if (x->count)
		memcpy(l->at, x->at, x->count * sizeof *l->at);
	if (y->count)
		memcpy(l->at + x->count, y->at, y->count * sizeof *l->at);
	l->count = x->count + y->count;
done:
	return status;
}

static bool repeats(value v)
{
	return v.kind == VALUE_TEXT || v.kind == VALUE_LIST || v.kind == VALUE_TUPLE;
}

static rebus_status type_error(template_run *r, token_kind op, value a, value b)
{
	static const char *const signs[] = {[TOKEN_ADD] = "+", [TOKEN_SUB] = "-", [TOKEN_MUL] = "*", [TOKEN_DIV] = "/",
		[TOKEN_FLOORDIV] = "//", [TOKEN_MOD] = "%", [TOKEN_POW] = "** or pow()"};
	if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, a.kind == VALUE_UNDEFINED ? a : b);
	if (op == TOKEN_ADD && (a.kind == VALUE_TEXT || a.kind == VALUE_LIST || a.kind == VALUE_TUPLE))
		return template_fail(r, REBUS_FORMAT, "can only concatenate %s (not \"%s\") to %s", template_type(a), template_type(b),
			template_type(a));
	return template_fail(r, REBUS_FORMAT, "unsupported operand type(s) for %s: '%s' and '%s'", signs[op], template_type(a),
		template_type(b));
}

rebus_status template_binary(template_run *r, token_kind op, value a, value b, value *out)
{
	int64_t i, j;
	double x, y;
	bool whole = template_is_int(a, &i) && template_is_int(b, &j);
	if (whole && op != TOKEN_DIV && !(op == TOKEN_POW && j < 0))
		return int_binary(r, op, i, j, out);
	if (template_is_number(a, &x) && template_is_number(b, &y))
		return real_binary(r, op, x, y, out);
	if (op == TOKEN_MOD && a.kind == VALUE_TEXT)
		return template_percent(r, a.as.text, b, out);
	if (op == TOKEN_ADD && a.kind == VALUE_TEXT && b.kind == VALUE_TEXT)
		return join_texts(r, a, b, out);
	if (op == TOKEN_ADD && a.kind == b.kind && (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE))
		return join_lists(r, a, b, out);
	if (op == TOKEN_MUL && repeats(a) && template_is_int(b, &j))
		return template_repeat(r, a, j, out);
	if (op == TOKEN_MUL && repeats(b) && template_is_int(a, &i))
		return template_repeat(r, b, i, out);
	return type_error(r, op, a, b);
}

rebus_status template_unary(template_run *r, token_kind op, value a, value *out)
{
	int64_t i;
	if (template_is_int(a, &i)) {
		if (op == TOKEN_SUB && i == INT64_MIN)
			return overflow(r);
		*out = template_int(op == TOKEN_SUB ? -i : i);
		return REBUS_OK;
	}
	if (a.kind == VALUE_REAL) {
		*out = template_real(op == TOKEN_SUB ? -a.as.real : a.as.real);
		return REBUS_OK;
	}
	if (a.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, a);
	return template_fail(r, REBUS_FORMAT, "bad operand type for unary %c: '%s'", op == TOKEN_SUB ? '-' : '+', template_type(a));
}

/* ------------------------------------------------------------------------------------------------ rounding */
/* To a multiple of 10 ** -digits, halves to the even one. */
static rebus_status round_int(template_run *r, int64_t i, int64_t digits, value *out)
{
	int64_t unit = 1;
	for (; digits < 0 && unit <= INT64_MAX / 10; digits++)
		unit *= 10;
	if (digits < 0) {
		*out = template_int(0);
		return REBUS_OK;
	}
	int64_t rest = ((i % unit) + unit) % unit, below;
	if (!add_int(i, -rest, &below))
		return overflow(r);
	bool up = rest > unit - rest || (rest == unit - rest && rest && below / unit % 2);
	if (up && !add_int(below, unit, &below))
		return overflow(r);
	*out = template_int(below);
	return REBUS_OK;
}

rebus_status template_round(template_run *r, value v, int64_t digits, value *out)
{
	int64_t i;
	char text[400];
	if (template_is_int(v, &i))
		return round_int(r, i, digits, out);
	if (v.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, v);
	if (v.kind != VALUE_REAL)
		return template_fail(r, REBUS_FORMAT, "type %s doesn't define __round__ method", template_type(v));
	double x = v.as.real;
	if (!isfinite(x) || digits > 22 + 308) {
		*out = v;
	} else if (digits < -308) {
		*out = template_real(copysign(0.0, x));
	} else if (digits >= 0) { /* printf rounds the exact value correctly */
		if (digits > 50 || fabs(x) > 1e300) {
			*out = v;
			return REBUS_OK;
		}
		snprintf(text, sizeof text, "%.*f", (int)digits, x);
		*out = template_real(strtod(text, NULL));
	} else {
		double unit = pow(10, (double)-digits);
		*out = template_real(nearbyint(x / unit) * unit);
	}
	return REBUS_OK;
}
