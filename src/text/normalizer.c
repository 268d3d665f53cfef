/*
 * normalizer.c - the normalizer of tokenizer.json: a list of steps, each a text to a text.
 *
 *   Sequence            flattened into the list
 *   NFC NFD NFKC NFKD   unicode.c
 *   Lowercase           char by char, so that a final sigma stays an ordinary one
 *   Strip               White_Space on the left, on the right
 *   StripAccents        combining marks dropped (it does not decompose by itself)
 *   Replace             every match of a literal or a regular expression
 *   Prepend             before a text that is not empty
 *   Nmt                 control characters dropped, further blanks to a space
 *   ByteLevel           every byte to GPT-2's character
 *   Precompiled         charsmap.c
 *   BertNormalizer      up to four steps: controls dropped and blanks to a space; spaces around ideographs; NFD without its
 *                       nonspacing marks (unless said otherwise, where lower case is asked for); lower case
 *
 * Reference: tokenizers 0.23, src/normalizers and src/tokenizer/normalizer.rs. `first` follows its alignments as far as
 * Metaspace's "first" can see them: the text no longer begins where the input began once its first character was taken away,
 * or was part of a longer match that was replaced.
 */
#include <string.h>

#include "text/text_inside.h"

static rebus_status step_new(tokenizer *t, norm_step **out, rebus_error *err)
{
	if (t->norm_count == PARTS_MOST)
		return error_set(err, REBUS_LIMIT, "tokenizer.json: normalizer: more than %d steps", PARTS_MOST);
	*out = &t->norms[t->norm_count++];
	**out = (norm_step){0};
	return REBUS_OK;
}

static rebus_status bert_read(tokenizer *t, const json *j, rebus_error *err)
{
	bool clean, spaced, lowered, bare;
	if (!json_flag(json_get(j, "clean_text"), &clean) || !json_flag(json_get(j, "handle_chinese_chars"), &spaced) ||
	    !json_flag(json_get(j, "lowercase"), &lowered))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: BertNormalizer needs clean_text, handle_chinese_chars "
		                                    "and lowercase");
	if (!json_flag(json_get(j, "strip_accents"), &bare))
		bare = lowered;
	const norm_step steps[] = {{.kind = NORM_CLEAN}, {.kind = NORM_IDEOGRAPHS}, {.kind = NORM_FORM, .form = UNICODE_NFD},
	                           {.kind = NORM_NONSPACING}, {.kind = NORM_LOWER}};
	const bool wanted[] = {clean, spaced, bare, bare, lowered};
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		norm_step *step = NULL;
		rebus_status status = wanted[i] ? step_new(t, &step, err) : REBUS_OK;
		if (status)
			return status;
		if (wanted[i])
			*step = steps[i];
	}
	return REBUS_OK;
}

static rebus_status step_read(tokenizer *t, const json *j, rebus_error *err)
{
	static const struct {
		const char *type;
		norm_kind kind;
		unicode_form form;
	} kinds[] = {
		{"NFC", NORM_FORM, UNICODE_NFC},     {"NFD", NORM_FORM, UNICODE_NFD}, {"NFKC", NORM_FORM, UNICODE_NFKC},
		{"NFKD", NORM_FORM, UNICODE_NFKD},   {"Lowercase", NORM_LOWER, 0},    {"Strip", NORM_STRIP, 0},
		{"StripAccents", NORM_ACCENTS, 0},   {"Replace", NORM_REPLACE, 0},    {"Prepend", NORM_PREPEND, 0},
		{"Nmt", NORM_NMT, 0},                {"ByteLevel", NORM_BYTES, 0},
		{"Precompiled", NORM_CHARSMAP, 0},
	};
	const char *type = json_text(json_get(j, "type"), NULL);
	if (!type)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: a step without its type");
	if (strcmp(type, "BertNormalizer") == 0)
		return bert_read(t, j, err);
	size_t k = 0;
	while (k < COUNT_OF(kinds) && strcmp(kinds[k].type, type) != 0)
		k++;
	if (k == COUNT_OF(kinds))
		return error_set(err, REBUS_UNSUPPORTED, "tokenizer.json: normalizer: type %.40s is not supported", type);
	norm_step *step = NULL;
	size_t n;
	rebus_status status = step_new(t, &step, err);
	if (status)
		return status;
	step->kind = kinds[k].kind;
	step->form = kinds[k].form;
	if (step->kind == NORM_CHARSMAP) {
		const char *map = json_text(json_get(j, "precompiled_charsmap"), &n);
		return map ? charsmap_read(t->arena, map, n, &step->map, err) :
		             error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: Precompiled without precompiled_charsmap");
	}
	if (step->kind == NORM_STRIP && (!json_flag(json_get(j, "strip_left"), &step->left) ||
	                                 !json_flag(json_get(j, "strip_right"), &step->right)))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: Strip without strip_left and strip_right");
	if (step->kind == NORM_PREPEND)
		TRY(span_need(json_get(j, "prepend"), t->arena, &step->put, "tokenizer.json: normalizer: Prepend without its text", err));
	if (step->kind != NORM_REPLACE)
		return REBUS_OK;
	TRY(span_need(json_get(j, "content"), t->arena, &step->put, "tokenizer.json: normalizer: Replace without content", err));
	TRY(pattern_read(t, j, "tokenizer.json: normalizer: Replace", &step->find, &step->regex, err));
done:
	return status;
}

rebus_status normalizer_read(tokenizer *t, const json *j, rebus_error *err)
{
	if (json_kind_of(j) == JSON_NONE || json_kind_of(j) == JSON_NULL)
		return REBUS_OK;
	if (!json_is(json_get(j, "type"), "Sequence"))
		return step_read(t, j, err);
	const json *list = json_get(j, "normalizers");
	if (json_kind_of(list) != JSON_LIST)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: Sequence without normalizers");
	for (size_t i = 0; i < json_count(list); i++) {
		rebus_status status = normalizer_read(t, json_at(list, i), err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ running */
static void lower(const char *s, size_t n, buf *out)
{
	char *to = n > SIZE_MAX / 4 ? NULL : buf_reserve(out, 2 * n + 8), *from = to; /* two bytes become three at most */
	for (size_t i = 0; to && i < n;) {
		uint32_t cp, low[2];
		if ((unsigned char)s[i] < 0x80) {
			*to++ = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 32) : s[i];
			i++;
			continue;
		}
		i += utf8_get(s + i, n - i, &cp);
		size_t k = unicode_lower(cp, low);
		for (size_t j = 0; j < k; j++)
			to += utf8_put(low[j], to);
	}
	out->size += (size_t)(to - from);
}

static void strip(const norm_step *step, const char *s, size_t n, buf *out, bool *first)
{
	size_t from = 0, end = n;
	uint32_t cp;
	while (step->left && from < n) {
		size_t k = utf8_get(s + from, n - from, &cp);
		if (!unicode_white(cp))
			break;
		from += k;
	}
	while (step->right && end > from) {
		size_t at = end - 1;
		while (at > from && ((unsigned char)s[at] & 0xC0) == 0x80)
			at--;
		utf8_get(s + at, end - at, &cp);
		if (!unicode_white(cp))
			break;
		end = at;
	}
	if (from)
		*first = false;
	buf_add(out, s + from, end - from);
}

static bool nmt_drops(uint32_t cp)
{
	return (cp >= 1 && cp <= 8) || cp == 0xB || (cp >= 0xE && cp <= 0x1F) || cp == 0x7F || cp == 0x8F || cp == 0x9F;
}

static bool nmt_blank(uint32_t cp)
{
	return cp == 9 || cp == 10 || cp == 12 || cp == 13 || cp == 0x1680 || (cp >= 0x200B && cp <= 0x200F) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x2581 || cp == 0xFEFF || cp == 0xFFFD;
}

static bool drops(norm_kind kind, uint32_t cp)
{
	return kind == NORM_ACCENTS ? unicode_mark(cp) : kind == NORM_NMT ? nmt_drops(cp) :
	       kind == NORM_CLEAN ? unicode_in(&unicode_dropped, cp) : cp >= 0x300 && unicode_in(&unicode_nonspacing, cp);
}

static void filter(norm_kind kind, const char *s, size_t n, buf *out, bool *first)
{
	char *to = buf_reserve(out, n), *from = to;
	for (size_t i = 0; to && i < n;) {
		uint32_t cp;
		if (s[i] >= ' ' && s[i] < 0x7F) {
			*to++ = s[i++];
			continue;
		}
		size_t k = utf8_get(s + i, n - i, &cp);
		if (drops(kind, cp)) {
			if (i == 0)
				*first = false;
		} else if ((kind == NORM_NMT && nmt_blank(cp)) || (kind == NORM_CLEAN && unicode_white(cp))) {
			*to++ = ' ';
		} else {
			memcpy(to, s + i, k);
			to += k;
		}
		i += k;
	}
	out->size += (size_t)(to - from);
}

static void space_ideographs(const char *s, size_t n, buf *out)
{
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t run = 0;
		while (i + run < n && (unsigned char)s[i + run] < 0xE3) /* below U+3000 */
			run++;
		buf_add(out, s + i, run);
		i += run;
		if (i >= n)
			break;
		size_t k = utf8_get(s + i, n - i, &cp);
		bool apart = cp >= 0x3400 && unicode_in(&unicode_ideographs, cp);
		if (apart)
			buf_byte(out, ' ');
		buf_add(out, s + i, k);
		if (apart)
			buf_byte(out, ' ');
		i += k;
	}
}

static rebus_status replace(text_work *w, const norm_step *step, const char *s, size_t n, buf *out, bool *first)
{
	size_t done_to = 0;
	regex_at at = {0};
	for (;;) {
		bool found = false;
		if (step->regex) {
			rebus_status status = regex_next(step->regex, &w->run, s, n, &at, &found, w->err);
			if (status)
				return status;
		} else {
			at.first = text_find(s, n, done_to, step->find);
			found = at.first < n;
			at.last = at.first + step->find.n;
		}
		if (!found)
			break;
		uint32_t cp;
		if (at.first == 0 && at.last > 0 && (step->put.n == 0 || at.last > utf8_get(s, n, &cp)))
			*first = false;
		buf_add(out, s + done_to, at.first - done_to);
		buf_add(out, step->put.s, step->put.n);
		done_to = at.last;
		if (out->failed)
			break;
	}
	buf_add(out, s + done_to, n - done_to);
	return REBUS_OK;
}

static rebus_status step_run(text_work *w, const norm_step *step, const char *s, size_t n, buf *out, bool *first)
{
	switch (step->kind) {
	case NORM_FORM:
		return unicode_normal(step->form, s, n, out, w->err);
	case NORM_LOWER:
		lower(s, n, out);
		return REBUS_OK;
	case NORM_STRIP:
		strip(step, s, n, out, first);
		return REBUS_OK;
	case NORM_IDEOGRAPHS:
		space_ideographs(s, n, out);
		return REBUS_OK;
	case NORM_CHARSMAP:
		charsmap_run(&step->map, s, n, out);
		return REBUS_OK;
	case NORM_ACCENTS:
	case NORM_NMT:
	case NORM_CLEAN:
	case NORM_NONSPACING:
		filter(step->kind, s, n, out, first);
		return REBUS_OK;
	case NORM_REPLACE:
		return n ? replace(w, step, s, n, out, first) : REBUS_OK;
	case NORM_PREPEND:
		if (n)
			buf_add(out, step->put.s, step->put.n);
		buf_add(out, s, n);
		return REBUS_OK;
	case NORM_BYTES:
		text_bytes_write(s, n, out);
		return REBUS_OK;
	}
	return REBUS_OK;
}

rebus_status normalizer_run(text_work *w, const char *s, size_t n, bool *first, const buf **out)
{
	buf *to = &w->a;
	to->size = 0;
	if (!w->t->norm_count)
		buf_add(to, s, n);
	for (size_t i = 0; i < w->t->norm_count; i++) {
		to = i % 2 ? &w->b : &w->a;
		to->size = 0;
		rebus_status status = step_run(w, &w->t->norms[i], s, n, to, first);
		if (status == REBUS_OK)
			status = buf_check(to, w->err, "a normalised text");
		if (status)
			return status;
		s = to->data ? to->data : "";
		n = to->size;
	}
	*out = to;
	return buf_check(to, w->err, "a normalised text");
}
