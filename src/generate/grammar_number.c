/*
 * grammar_number.c - JSON numbers between bounds, as rules over digits.
 *
 *   17 ≤ n ≤ 342     1[7-9] | [2-9][0-9] | [12][0-9]{2} | 3[0-3][0-9] | 34[0-2]
 *
 * Whole numbers have at most 18 digits where nothing bounds them. Others have no exponent where there are bounds, which must be
 * whole, and so few digits that double precision tells them from their bounds:  5 < x < 100  is  5.(...[1-9]) | [6-99](.[0-9]+)?
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate/grammar_inside.h"

enum { WHOLE_DIGITS = 18, REAL_DIGITS = 15 };
#define LARGEST 999999999999999999LL

static grammar_node *digit_range(rules *r, char first, char last)
{
	code_range one = {(uint32_t)first, (uint32_t)last};
	return rules_set(r, &one, 1);
}

static grammar_node *digits(rules *r, uint32_t min, uint32_t max)
{
	return rules_repeat(r, digit_range(r, '0', '9'), min, max);
}

static void add_branch(rules *r, grammar_node *either, grammar_node *a, grammar_node *b)
{
	grammar_node *list = rules_list(r, NODE_SEQUENCE);
	rules_add(r, list, a);
	rules_add(r, list, b);
	rules_add(r, either, list);
}

/* Numbers of n digits from low to high. */
static grammar_node *same_length(rules *r, const char *low, const char *high, uint32_t n)
{
	grammar_node *either = rules_list(r, NODE_EITHER);
	if (!n)
		return rules_text(r, "", 0);
	if (low[0] == high[0]) {
		add_branch(r, either, digit_range(r, low[0], low[0]), same_length(r, low + 1, high + 1, n - 1));
		return either;
	}
	static const char zeros[] = "000000000000000000000", nines[] = "999999999999999999999";
	bool low_whole = !strncmp(low + 1, zeros, n - 1), high_whole = !strncmp(high + 1, nines, n - 1);
	char first = (char)(low[0] + !low_whole), last = (char)(high[0] - !high_whole);
	if (!low_whole)
		add_branch(r, either, digit_range(r, low[0], low[0]), same_length(r, low + 1, nines, n - 1));
	if (first <= last)
		add_branch(r, either, digit_range(r, first, last), digits(r, n - 1, n - 1));
	if (!high_whole)
		add_branch(r, either, digit_range(r, high[0], high[0]), same_length(r, zeros, high + 1, n - 1));
	return either;
}

/* 0 <= low <= high: without leading zeros */
static grammar_node *between(rules *r, int64_t low, int64_t high)
{
	grammar_node *either = rules_list(r, NODE_EITHER);
	while (low <= high) {
		char a[32], b[32];
		int64_t end = 9;
		while (end < low)
			end = end * 10 + 9;
		end = end < high ? end : high;
		int n = snprintf(a, sizeof a, "%" PRId64, low);
		snprintf(b, sizeof b, "%" PRId64, end);
		rules_add(r, either, same_length(r, a, b, (uint32_t)n));
		low = end + 1;
	}
	return either;
}

static grammar_node *negative(rules *r, grammar_node *of)
{
	grammar_node *list = rules_list(r, NODE_SEQUENCE);
	rules_add(r, list, rules_text(r, "-", 1));
	rules_add(r, list, of);
	return list;
}

typedef struct {
	int64_t low, high;
	bool open_low, open_high; /* the bound itself is not allowed */
} bounds;

/* ------------------------------------------------------------------------------------------------ reading bounds */
/* A bound as a whole number; of whole numbers it is rounded inwards. */
static rebus_status bound_read(schema *x, const json *j, const char *name, const char *where, bool whole, bool up, int64_t *out, bool *open)
{
	double v = 0;
	bool exclusive = name[0] == 'e';
	if (!json_real(j, &v))
		return schema_wrong(x, where, name, "a number");
	double inwards = up ? ceil(v) : floor(v);
	if (!whole && inwards != v)
		return schema_refuse(x, where, name, "a whole number as the bound of numbers that are not whole");
	if (fabs(inwards) > (whole ? 1e17 : 1e14))
		return schema_refuse(x, where, name, whole ? "a bound of at most 1e17" : "a bound of at most 1e14");
	int64_t found = (int64_t)inwards;
	if (whole && exclusive && inwards == v)
		found += up ? 1 : -1;
	exclusive = exclusive && !whole;
	if (up ? found > *out || (found == *out && exclusive) : found < *out || (found == *out && exclusive)) {
		*out = found;
		*open = exclusive;
	}
	return REBUS_OK;
}

static rebus_status bounds_read(schema *x, const json *j, const char *where, bool whole, bounds *out)
{
	rebus_status status = REBUS_OK;
	static const char *const names[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"};
	double step;
	const json *multiple = json_get(j, "multipleOf");
	if (multiple && !(whole && json_real(multiple, &step) && step == 1))
		return schema_refuse(x, where, "multipleOf", "1, of whole numbers");
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const json *one = json_get(j, names[i]);
		if (one)
			TRY(bound_read(x, one, names[i], where, whole, i < 2, i < 2 ? &out->low : &out->high, i < 2 ? &out->open_low : &out->open_high));
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ kinds of numbers */
static grammar_node *whole_between(rules *r, const bounds *b)
{
	grammar_node *either = rules_list(r, NODE_EITHER);
	if (b->low < 0)
		rules_add(r, either, negative(r, between(r, b->high < 0 ? -b->high : 1, -b->low)));
	if (b->high >= 0)
		rules_add(r, either, between(r, b->low > 0 ? b->low : 0, b->high));
	return either;
}

static grammar_node *fraction(rules *r, uint32_t places, bool nonzero)
{
	grammar_node *list = rules_list(r, NODE_SEQUENCE);
	rules_add(r, list, rules_text(r, ".", 1));
	rules_add(r, list, nonzero ? digits(r, 0, places - 1) : digits(r, 1, places));
	if (nonzero)
		rules_add(r, list, digit_range(r, '1', '9'));
	return list;
}

static grammar_node *zeros(rules *r, uint32_t places)
{
	grammar_node *list = rules_list(r, NODE_SEQUENCE);
	rules_add(r, list, rules_text(r, ".", 1));
	rules_add(r, list, rules_repeat(r, digit_range(r, '0', '0'), 1, places));
	return list;
}

/* Numbers of 0 <= low to high with a fraction, each bound included or not. */
static void add_real(rules *r, grammar_node *either, bounds b, uint32_t places, bool minus)
{
	grammar_node *of = rules_list(r, NODE_EITHER);
	int64_t first = b.low + b.open_low;
	if (b.open_low && b.low < b.high)
		add_branch(r, of, between(r, b.low, b.low), fraction(r, places, true));
	if (first <= b.high - 1)
		add_branch(r, of, between(r, first, b.high - 1), rules_repeat(r, fraction(r, places, false), 0, 1));
	if (!b.open_high && b.high >= first)
		add_branch(r, of, between(r, b.high, b.high), rules_repeat(r, zeros(r, places), 0, 1));
	rules_add(r, either, minus ? negative(r, of) : of);
}

static grammar_node *real_between(rules *r, const bounds *b)
{
	grammar_node *either = rules_list(r, NODE_EITHER);
	int64_t low = b->low == -LARGEST ? 0 : b->low, high = b->high == LARGEST ? 0 : b->high, most = 0;
	uint32_t places = REAL_DIGITS;
	most = llabs(low) > llabs(high) ? llabs(low) : llabs(high);
	for (; most >= 1 && places > 1; most /= 10)
		places--;
	low = b->low == -LARGEST ? -999999999999999 : b->low;
	high = b->high == LARGEST ? 999999999999999 : b->high;
	if (low < 0 && high >= (int64_t)b->open_high)
		add_real(r, either, (bounds){0, -low, true, b->open_low}, places, true);
	else if (low < 0)
		add_real(r, either, (bounds){-high, -low, b->open_high || !high, b->open_low}, places, true);
	if (high >= 0)
		add_real(r, either, (bounds){low > 0 ? low : 0, high, low >= 0 && b->open_low, b->open_high}, places, false);
	return either;
}

rebus_status number_read(schema *x, const json *j, const char *where, bool whole, grammar_node **out)
{
	bounds b = {-LARGEST, LARGEST, false, false};
	rebus_status status = bounds_read(x, j, where, whole, &b);
	if (status)
		return status;
	bool bounded = b.low != -LARGEST || b.high != LARGEST;
	if (whole)
		*out = bounded ? whole_between(x->r, &b) : schema_regex(x, "0|-?[1-9][0-9]{0,17}", false);
	else
		*out = bounded ? real_between(x->r, &b) : schema_regex(x, "-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?", false);
	return REBUS_OK;
}
