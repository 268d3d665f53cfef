/*
 * charsmap.c - SentencePiece's normal form as its model files carry it: the Precompiled normalizer (nmt_nfkc and the like).
 *
 *   precompiled_charsmap, base64 of:   u32 bytes of the trie | u32 units[] | texts, a NUL after each
 *
 * The trie is a double array (darts-clone). From a unit, byte c leads to the unit at (place ^ offset ^ c), if that bears the
 * label c; a unit with a leaf has at (place ^ offset) where its text begins:
 *
 *   unit    31        30 .......... 10   9       8      7 ..... 0
 *           is leaf   offset            x 256    leaf?  label              leaf unit: bits 30..0 are the place in texts
 *
 * Applied as the reference does (tokenizers 0.23, src/normalizers/precompiled.rs; spm_precompiled), which is not quite as
 * SentencePiece does: a grapheme cluster of less than six bytes becomes, as a whole, the text of the SHORTEST key that begins
 * it; where there is none, and in longer clusters, each character is looked up by itself. The map is hostile: places beyond the
 * arrays, and texts that begin inside a character, are no match.
 */
#include <string.h>

#include "text/text_inside.h"

enum { CLUSTER_LESS = 6 };

static int digit(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 :
	       c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 with its padding. false: it is not that. out has room for n / 4 * 3 bytes. */
static bool base64_read(const char *s, size_t n, unsigned char *out, size_t *size)
{
	if (n % 4)
		return false;
	size_t pad = n && s[n - 1] == '=' ? 1 + (s[n - 2] == '=') : 0, at = 0;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 4; k++) {
			int d = i + k >= n - pad ? 0 : digit((unsigned char)s[i + k]);
			if (d < 0)
				return false;
			bits = bits << 6 | (uint32_t)d;
		}
		out[at++] = (unsigned char)(bits >> 16);
		out[at++] = (unsigned char)(bits >> 8);
		out[at++] = (unsigned char)bits;
	}
	*size = at - pad;
	return true;
}

static uint32_t word(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

rebus_status charsmap_read(arena *a, const char *s, size_t n, text_charsmap *out, rebus_error *err)
{
	size_t size = 0;
	unsigned char *raw = arena_get(a, n + 1, 1);
	if (!raw)
		return error_memory(err, "a normalizer");
	if (!base64_read(s, n, raw, &size) || size < 4 || word(raw) > size - 4)
		return error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: precompiled_charsmap is not a trie and its texts in base64");
	size_t count = word(raw) / 4, texts = 4 + 4 * count;
	uint32_t *units = arena_get(a, count + 1, sizeof(*units));
	if (!units)
		return error_memory(err, "a normalizer");
	for (size_t i = 0; i < count; i++)
		units[i] = word(raw + 4 + 4 * i);
	if (!utf8_valid((const char *)raw + texts, size - texts))
		return error_set(err, REBUS_FORMAT, "tokenizer.json: normalizer: precompiled_charsmap: its texts are not UTF-8");
	raw[size] = 0; /* there is room: base64 is longer */
	*out = (text_charsmap){units, (const char *)raw + texts, count, size - texts};
	return REBUS_OK;
}

static size_t offset_of(uint32_t unit)
{
	return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* The text of the shortest key that begins s; NULL: none. */
static const char *find(const text_charsmap *map, const char *s, size_t n)
{
	if (!map->count)
		return NULL;
	size_t at = offset_of(map->units[0]);
	for (size_t i = 0; i < n && s[i]; i++) {
		unsigned char c = (unsigned char)s[i];
		at ^= c;
		if (at >= map->count || (map->units[at] & (1u << 31 | 0xFF)) != c)
			return NULL;
		uint32_t unit = map->units[at];
		at ^= offset_of(unit);
		if (!(unit >> 8 & 1))
			continue;
		if (at >= map->count)
			return NULL;
		size_t text = map->units[at] & ~(1u << 31);
		return text > map->size || ((unsigned char)map->texts[text] & 0xC0) == 0x80 ? NULL : map->texts + text;
	}
	return NULL;
}

void charsmap_run(const text_charsmap *map, const char *s, size_t n, buf *out)
{
	for (size_t at = 0; at < n && !out->failed;) {
		size_t end = at + unicode_cluster(s + at, n - at);
		const char *text = end - at < CLUSTER_LESS ? find(map, s + at, end - at) : NULL;
		if (text) {
			buf_text(out, text);
			at = end;
		}
		while (at < end) {
			uint32_t cp;
			size_t k = utf8_get(s + at, end - at, &cp);
			text = find(map, s + at, k);
			if (text)
				buf_text(out, text);
			else
				buf_add(out, s + at, k);
			at += k;
		}
	}
}
