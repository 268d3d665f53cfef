/*
 * tokenizer_check.h - opening tokenizers written into a test, and comparing what they do with what the reference does.
 *
 * To stay readable the JSON is written with ' for ".
 */
#ifndef REBUS_TOKENIZER_CHECK_H
#define REBUS_TOKENIZER_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "text/tokenizer.h"

#define SPECIAL(id, content) "{'id':" id ",'content':'" content "','single_word':false,'lstrip':false,'rstrip':false," \
	                     "'normalized':false,'special':true}"

typedef struct {
	arena a;
	tokenizer *t;
	rebus_error err;
} subject;

static inline const char *quoted(char *to, size_t room, const char *text)
{
	snprintf(to, room, "%s", text ? text : "");
	for (char *c = to; *c; c++)
		if (*c == '\'')
			*c = '"';
	return text ? to : NULL;
}

/* files: what there is beside tokenizer.json and tokenizer_config.json; NULL: nothing */
static inline rebus_status open_files(subject *s, const text_files *files, const char *file, const char *config)
{
	char text[2][8000];
	text_files f = files ? *files : (text_files){0};
	f.tokenizer_json = quoted(text[0], sizeof(text[0]), file);
	f.tokenizer_json_size = strlen(text[0]);
	f.tokenizer_config = quoted(text[1], sizeof(text[1]), config);
	f.tokenizer_config_size = strlen(text[1]);
	*s = (subject){0};
	arena_init(&s->a, NULL, 0);
	return text_open_memory(&s->a, &f, &s->t, &s->err);
}

static inline rebus_status open_quoted(subject *s, const char *file, const char *config)
{
	return open_files(s, NULL, file, config);
}

static inline void end(subject *s)
{
	text_close(s->t);
	arena_free(&s->a);
}

static inline void check_ids(const ids *got, const int32_t *want, size_t n)
{
	assert_int_equal(ids_count(got), n);
	if (n)
		assert_memory_equal(ids_data(got), want, n * sizeof(*want));
}

static inline void check_encode(const subject *s, const char *text, size_t size, bool special, const int32_t *want, size_t n)
{
	ids out;
	ids_init(&out, NULL, 0);
	assert_int_equal(text_encode(s->t, text, size, special, &out, NULL), REBUS_OK);
	check_ids(&out, want, n);
	ids_free(&out);
}

static inline void check_decode(const subject *s, const int32_t *id, size_t n, bool skip, const char *want)
{
	buf out, pieces;
	buf_init(&out, NULL, 0);
	buf_init(&pieces, NULL, 0);
	assert_int_equal(text_decode(s->t, id, n, skip, &out, NULL), REBUS_OK);
	assert_string_equal(out.data ? out.data : "", want);
	text_stream stream;
	const char *piece;
	size_t size;
	text_stream_begin(&stream, s->t, skip);
	for (size_t i = 0; i <= n; i++) {
		if (i < n)
			assert_int_equal(text_stream_push(&stream, id[i], &piece, &size, NULL), REBUS_OK);
		else
			assert_int_equal(text_stream_end(&stream, &piece, &size, NULL), REBUS_OK);
		assert_true(utf8_valid(piece, size));
		buf_add(&pieces, piece, size);
	}
	assert_string_equal(pieces.data ? pieces.data : "", want);
	text_stream_free(&stream);
	buf_free(&out);
	buf_free(&pieces);
}

#define LIST(...) (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)
#define ENCODES(s, text, special, ...) check_encode(s, text, strlen(text), special, LIST(__VA_ARGS__))

static inline void refused(const char *file, const char *config, rebus_status want, const char *part)
{
	subject s;
	assert_int_equal(open_quoted(&s, file, config), want);
	assert_non_null(strstr(s.err.text, part));
	end(&s);
}

#endif
