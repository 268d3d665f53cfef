/*
 * pretokenizer.c - the pre-tokenizer of tokenizer.json: a list of steps, each splits every piece of text further.
 *
 *   Split             at the matches of a literal or a regular expression
 *   ByteLevel         GPT-2's regular expression, then every byte becomes a printable character
 *   Digits            numbers (Nd, Nl, No), each alone or in runs
 *   Metaspace         spaces become U+2581, one is put in front, split before each
 *   Whitespace        runs of word characters, runs of others; blanks go
 *   WhitespaceSplit   blanks go
 *   Punctuation       around punctuation
 *   BertPreTokenizer  WhitespaceSplit, then Punctuation
 *   CharDelimiterSplit, FixedLength
 *
 * A step first marks the piece: ranges that match and ranges between. The behaviour then makes pieces of the marks:
 *
 *   "a-b--c" at "-"       marks  a|-|b|-|-|c
 *   Removed               a b c              Isolated             a - b - - c
 *   Contiguous            a - b -- c         MergedWithPrevious   a- b- - c
 *   MergedWithNext        a -b - -c          invert: what matches and what does not change places
 *
 * Reference: tokenizers 0.23, src/pre_tokenizers, src/tokenizer/{pattern,normalizer}.rs.
 */
#include <string.h>

#include "text/text_inside.h"

static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* ------------------------------------------------------------------------------------------------ reading */
static bool behavior_read(const json *j, split_behavior *out)
{
	static const char *const names[] = {"Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (json_is(j, names[i])) {
			*out = (split_behavior)i;
			return true;
		}
	return false;
}

static rebus_status split_read(tokenizer *t, const json *j, pre_step *step, rebus_error *err)
{
	if (!behavior_read(json_get(j, "behavior"), &step->behavior) || !json_flag(json_get(j, "invert"), &step->invert))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: Split without a known behavior and invert");
	return pattern_read(t, j, "tokenizer.json: pre_tokenizer: Split", &step->find, &step->regex, err);
}

static rebus_status metaspace_read(tokenizer *t, const json *j, pre_step *step, rebus_error *err)
{
	uint32_t cp;
	const json *scheme = json_get(j, "prepend_scheme");
	bool prefix = true;
	step->split = true;
	json_flag(json_get(j, "split"), &step->split);
	json_flag(json_get(j, "add_prefix_space"), &prefix);
	step->scheme = json_is(scheme, "first") ? SCHEME_FIRST : json_is(scheme, "never") ? SCHEME_NEVER : SCHEME_ALWAYS;
	if ((scheme && step->scheme == SCHEME_ALWAYS && !json_is(scheme, "always")) || (!prefix && step->scheme != SCHEME_NEVER))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: Metaspace: prepend_scheme is not first, never or always, or contradicts "
		                                    "add_prefix_space");
	rebus_status status = span_need(json_get(j, "replacement"), t->arena, &step->find,
		"tokenizer.json: Metaspace: replacement is not a character", err);
	if (!status && (!step->find.n || utf8_get(step->find.s, step->find.n, &cp) != step->find.n))
		status = error_set(err, REBUS_FORMAT, "tokenizer.json: Metaspace: replacement is not one character");
	return status;
}

static rebus_status step_new(tokenizer *t, pre_kind kind, pre_step **out, rebus_error *err)
{
	if (t->pre_count == PARTS_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: pre_tokenizer: more than %d steps", PARTS_MOST);
	*out = &t->pres[t->pre_count++];
	**out = (pre_step){.kind = kind, .behavior = kind == PRE_PUNCTUATION || kind == PRE_LENGTH ? SPLIT_ISOLATED : SPLIT_REMOVED};
	return REBUS_OK;
}

static rebus_status bert_read(tokenizer *t, rebus_error *err)
{
	pre_step *step = NULL;
	rebus_status status = step_new(t, PRE_BLANKS, &step, err);
	return status ? status : step_new(t, PRE_PUNCTUATION, &step, err);
}

static rebus_status delimiter_read(tokenizer *t, const json *j, rebus_error *err)
{
	pre_step *step = NULL;
	uint32_t cp;
	rebus_status status = step_new(t, PRE_SPLIT, &step, err);
	if (!status)
		status = span_need(json_get(j, "delimiter"), t->arena, &step->find,
			"tokenizer.json: CharDelimiterSplit: delimiter is not a character", err);
	if (!status && (!step->find.n || utf8_get(step->find.s, step->find.n, &cp) != step->find.n))
		status = error_set(err, REBUS_FORMAT, "tokenizer.json: CharDelimiterSplit: delimiter is not one character");
	return status;
}

static rebus_status step_read(tokenizer *t, const json *j, rebus_error *err)
{
	static const struct {
		const char *type;
		pre_kind kind;
	} kinds[] = {
		{"Split", PRE_SPLIT},     {"ByteLevel", PRE_BYTES},        {"Digits", PRE_DIGITS},          {"Metaspace", PRE_METASPACE},
		{"Whitespace", PRE_WORDS}, {"WhitespaceSplit", PRE_BLANKS}, {"Punctuation", PRE_PUNCTUATION},
		{"FixedLength", PRE_LENGTH},
	};
	const char *type = json_text(json_get(j, "type"), NULL);
	if (!type)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: a step without its type");
	if (strcmp(type, "BertPreTokenizer") == 0)
		return bert_read(t, err);
	if (strcmp(type, "CharDelimiterSplit") == 0)
		return delimiter_read(t, j, err);
	size_t k = 0;
	while (k < COUNT_OF(kinds) && strcmp(kinds[k].type, type) != 0)
		k++;
	if (k == COUNT_OF(kinds))
		return error_set(err, REBUS_UNSUPPORTED, "tokenizer.json: pre_tokenizer: type %.40s is not supported", type);
	pre_step *step = NULL;
	int64_t length = 5;
	rebus_status status = step_new(t, kinds[k].kind, &step, err);
	if (status)
		return status;
	switch (step->kind) {
	case PRE_SPLIT:
		return split_read(t, j, step, err);
	case PRE_METASPACE:
		return metaspace_read(t, j, step, err);
	case PRE_BYTES:
		step->split = true;
		json_flag(json_get(j, "use_regex"), &step->split);
		if (!json_flag(json_get(j, "add_prefix_space"), &step->prefix))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: ByteLevel without add_prefix_space");
		if (step->split && !t->gpt2)
			return regex_open(gpt2_pattern, sizeof(gpt2_pattern) - 1, "ByteLevel", &t->gpt2, err);
		return REBUS_OK;
	case PRE_DIGITS: {
		bool each;
		if (!json_flag(json_get(j, "individual_digits"), &each))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: Digits without individual_digits");
		step->behavior = each ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
		return REBUS_OK;
	}
	case PRE_LENGTH:
		if (json_has(j, "length") && (!json_int(json_get(j, "length"), &length) || length < 1))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: FixedLength: length is not a number of characters");
		step->length = (size_t)length;
		return REBUS_OK;
	case PRE_PUNCTUATION:
		if (json_has(j, "behavior") && !behavior_read(json_get(j, "behavior"), &step->behavior))
			return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: Punctuation: unknown behavior");
		return REBUS_OK;
	case PRE_WORDS:
	case PRE_BLANKS:
		return REBUS_OK;
	}
	return REBUS_OK;
}

rebus_status pretokenizer_read(tokenizer *t, const json *j, rebus_error *err)
{
	if (json_kind_of(j) == JSON_NONE || json_kind_of(j) == JSON_NULL)
		return REBUS_OK;
	if (!json_is(json_get(j, "type"), "Sequence"))
		return step_read(t, j, err);
	const json *list = json_get(j, "pretokenizers");
	if (json_kind_of(list) != JSON_LIST)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: pre_tokenizer: Sequence without pretokenizers");
	for (size_t i = 0; i < json_count(list); i++) {
		rebus_status status = pretokenizer_read(t, json_at(list, i), err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ marking */
typedef struct {
	size_t from, end;
	bool match;
} mark;

static void mark_add(buf *marks, size_t from, size_t end, bool match)
{
	mark m = {from, end, match};
	buf_add(marks, &m, sizeof(m));
}

static rebus_status mark_regex(text_work *w, const text_regex *r, const char *s, size_t n)
{
	rebus_status status = REBUS_OK;
	regex_at at = {0};
	size_t done_to = 0;
	bool found;
	for (;;) {
		TRY(regex_next(r, &w->run, s, n, &at, &found, w->err));
		if (!found || w->marks.failed)
			break;
		if (at.first > done_to)
			mark_add(&w->marks, done_to, at.first, false);
		mark_add(&w->marks, at.first, at.last, true);
		done_to = at.last;
	}
	if (done_to < n)
		mark_add(&w->marks, done_to, n, false);
done:
	return status;
}

static void mark_literal(buf *marks, text_span find, const char *s, size_t n)
{
	size_t done_to = 0;
	for (;;) {
		size_t at = text_find(s, n, done_to, find);
		if (at > done_to)
			mark_add(marks, done_to, at, false);
		if (at >= n)
			return;
		mark_add(marks, at, at + find.n, true);
		done_to = at + find.n;
	}
}

static void mark_chars(buf *marks, bool (*is)(uint32_t), const char *s, size_t n)
{
	size_t done_to = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		if ((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z')) { /* is none of what is looked for: blank, number, punctuation */
			i++;
			continue;
		}
		size_t k = utf8_get(s + i, n - i, &cp);
		if (is(cp)) {
			if (i > done_to)
				mark_add(marks, done_to, i, false);
			mark_add(marks, i, i + k, true);
			done_to = i + k;
		}
		i += k;
	}
	if (done_to < n)
		mark_add(marks, done_to, n, false);
}

static void mark_lengths(buf *marks, size_t length, const char *s, size_t n)
{
	size_t from = 0, count = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		if (count++ == length) {
			mark_add(marks, from, i, true);
			from = i;
			count = 1;
		}
		i += utf8_get(s + i, n - i, &cp);
	}
	if (from < n)
		mark_add(marks, from, n, true);
}

/* \w+|[^\w\s]+ with what it does not match as the match to remove */
static void mark_words(buf *marks, const char *s, size_t n)
{
	size_t from = 0;
	int before = -1;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t k = utf8_get(s + i, n - i, &cp);
		int kind = unicode_word(cp) ? 0 : unicode_white(cp) ? 2 : 1;
		if (kind != before && before >= 0) {
			mark_add(marks, from, i, before == 2);
			from = i;
		}
		before = kind;
		i += k;
	}
	if (from < n)
		mark_add(marks, from, n, before == 2);
}

/* ------------------------------------------------------------------------------------------------ behaviours */
/* Turns marks into the pieces to keep (those with match false), in place. */
static void behave(buf *marks, split_behavior behavior, bool invert)
{
	mark *m = (mark *)(void *)marks->data;
	size_t n = marks->size / sizeof(mark), kept = 0;
	for (size_t i = 0; i < n && invert; i++)
		m[i].match = !m[i].match;
	if (behavior == SPLIT_REMOVED)
		return;
	if (behavior == SPLIT_NEXT) { /* from the right: a match joins the text behind it, unless that is a match too */
		bool before = false;
		size_t top = n;
		for (size_t i = n; i-- > 0;) {
			mark now = m[i];
			if (now.match && !before && top < n)
				m[top].from = now.from;
			else
				m[--top] = (mark){now.from, now.end, false};
			before = now.match;
		}
		memmove(m, m + top, (n - top) * sizeof(mark));
		marks->size = (n - top) * sizeof(mark);
		return;
	}
	bool before = false;
	for (size_t i = 0; i < n; i++) {
		mark now = m[i];
		bool join = (behavior == SPLIT_CONTIGUOUS && now.match == before) || (behavior == SPLIT_PREVIOUS && now.match && !before);
		if (join && kept)
			m[kept - 1].end = now.end;
		else
			m[kept++] = (mark){now.from, now.end, false};
		before = now.match;
	}
	marks->size = kept * sizeof(mark);
}

/* ------------------------------------------------------------------------------------------------ running */
static void marks_keep(text_work *w, const char *s, bool bytes, bool first)
{
	const mark *m = (const mark *)(const void *)w->marks.data;
	for (size_t i = 0; i < w->marks.size / sizeof(mark); i++) {
		if (m[i].match || m[i].end == m[i].from)
			continue;
		size_t base = w->next.text.size;
		if (bytes)
			text_bytes_write(s + m[i].from, m[i].end - m[i].from, &w->next.text);
		else
			buf_add(&w->next.text, s + m[i].from, m[i].end - m[i].from);
		pieces_add(&w->next, base, w->next.text.size - base, -1, first && m[i].from == 0);
	}
}

/* The text with what ByteLevel or Metaspace put into it, in w->a. */
static void prepare(text_work *w, const pre_step *step, const char *s, size_t n, bool first)
{
	buf *to = &w->a;
	to->size = 0;
	if (step->kind == PRE_BYTES) {
		if (step->prefix && n && s[0] != ' ')
			buf_byte(to, ' ');
		buf_add(to, s, n);
		return;
	}
	bool marked = n >= step->find.n && memcmp(s, step->find.s, step->find.n) == 0;
	if (n && s[0] != ' ' && !marked && (step->scheme == SCHEME_ALWAYS || (step->scheme == SCHEME_FIRST && first)))
		buf_add(to, step->find.s, step->find.n);
	for (size_t i = 0; i < n;) {
		const char *blank = memchr(s + i, ' ', n - i);
		size_t end = blank ? (size_t)(blank - s) : n;
		buf_add(to, s + i, end - i);
		if (blank)
			buf_add(to, step->find.s, step->find.n);
		i = end + 1;
	}
}

static rebus_status piece_run(text_work *w, const pre_step *step, const char *s, size_t n, bool first)
{
	rebus_status status = REBUS_OK;
	w->marks.size = 0;
	if ((step->kind == PRE_BYTES && step->prefix) || step->kind == PRE_METASPACE) {
		prepare(w, step, s, n, first);
		TRY(buf_check(&w->a, w->err, "a text"));
		s = w->a.data ? w->a.data : "";
		n = w->a.size;
	}
	split_behavior behavior = step->behavior;
	switch (step->kind) {
	case PRE_SPLIT:
		if (step->regex)
			TRY(mark_regex(w, step->regex, s, n));
		else
			mark_literal(&w->marks, step->find, s, n);
		break;
	case PRE_BYTES:
		behavior = SPLIT_ISOLATED;
		if (step->split)
			TRY(mark_regex(w, w->t->gpt2, s, n));
		else
			mark_add(&w->marks, 0, n, false);
		break;
	case PRE_METASPACE:
		behavior = SPLIT_NEXT;
		if (step->split)
			mark_literal(&w->marks, step->find, s, n);
		else
			mark_add(&w->marks, 0, n, false);
		break;
	case PRE_DIGITS:
		mark_chars(&w->marks, unicode_numeric, s, n);
		break;
	case PRE_BLANKS:
		behavior = SPLIT_REMOVED;
		mark_chars(&w->marks, unicode_white, s, n);
		break;
	case PRE_PUNCTUATION:
		mark_chars(&w->marks, unicode_punctuated, s, n);
		break;
	case PRE_LENGTH:
		mark_lengths(&w->marks, step->length, s, n);
		break;
	case PRE_WORDS:
		behavior = SPLIT_REMOVED;
		mark_words(&w->marks, s, n);
		break;
	}
	TRY(buf_check(&w->marks, w->err, "the pieces of a text"));
	behave(&w->marks, behavior, step->invert);
	marks_keep(w, s, step->kind == PRE_BYTES, first);
	status = buf_check(&w->next.text, w->err, "a text");
done:
	return status;
}

rebus_status pretokenizer_run(text_work *w)
{
	rebus_status status = REBUS_OK;
	for (size_t k = 0; k < w->t->pre_count; k++) {
		pieces_clear(&w->next);
		for (size_t i = 0; i < pieces_count(&w->now); i++) {
			const text_piece *p = pieces_at(&w->now, i);
			if (p->id >= 0)
				pieces_add(&w->next, 0, 0, p->id, false);
			else
				TRY(piece_run(w, &w->t->pres[k], pieces_text(&w->now, i), p->size, p->first));
		}
		TRY(buf_check(&w->next.list, w->err, "the pieces of a text"));
		text_pieces swap = w->now;
		w->now = w->next;
		w->next = swap;
	}
done:
	return status;
}
