/*
 * tokenizer.h - text to token ids and back, as the checkpoint's own tokenizer does it.
 *
 *   text ─► added tokens cut out ─► normalizer ─► pre-tokenizer ─► model ─► post-processor ─► ids
 *                                                                   ids ─► tokens ─► decoder ─► text
 *
 * The model is BPE, WordPiece or Unigram.
 *
 * A tokenizer is read from a checkpoint folder: tokenizer.json holds the parts, or older files hold a vocabulary
 * (vocab_files.c), tokenizer_config.json the class and the special tokens, config.json the model type that chooses the class
 * where the two disagree. The result is that of
 * AutoTokenizer of transformers 5 (class_rules.c says where that departs from tokenizer.json). Padding and truncation
 * stored in tokenizer.json are reported, not applied: transformers applies them only when a call asks for it. The same
 * holds for add_bos_token and add_eos_token, which it ignores where a tokenizer.json exists.
 *
 * Input text need not be valid UTF-8: every maximal invalid part becomes one U+FFFD, as Python's errors="replace" does
 * (the reference cannot be given such a text at all). Decoded text is always valid UTF-8.
 *
 * A tokenizer never changes after text_open and may be used by any number of threads. It lives in the arena, but holds
 * compiled regular expressions that text_close frees; the arena stays the caller's.
 */
#ifndef REBUS_TOKENIZER_H
#define REBUS_TOKENIZER_H

#include "base/base.h"

enum {
	TEXT_FILE_MOST = 256 << 20,      /* bytes of tokenizer.json */
	TEXT_VOCABULARY_MOST = 2 << 20,  /* tokens of the model, and of the added ones */
	TEXT_MERGES_MOST = 4 << 20,
	TEXT_INPUT_MOST = 64 << 20,      /* bytes of one text */
	TEXT_IDS_MOST = 16 << 20,        /* ids of one text */
};

/* A growing list of ids with a hard cap. */
typedef struct ids {
	buf bytes;
} ids;

void ids_init(ids *list, const rebus_allocator *from, size_t most); /* most 0: TEXT_IDS_MOST */
void ids_free(ids *list);
void ids_add(ids *list, int32_t id); /* like buf_add: a failure is kept and seen by ids_check */
size_t ids_count(const ids *list);
const int32_t *ids_data(const ids *list); /* NULL while empty */
rebus_status ids_check(const ids *list, rebus_error *err);

typedef struct tokenizer tokenizer;

/* Fails with IO, FORMAT, LIMIT, MEMORY, or UNSUPPORTED (naming the part that is not done). */
rebus_status text_open(arena *a, const char *folder, tokenizer **out, rebus_error *err);

/* Does the folder hold a file that a tokenizer is made of? */
rebus_status text_exists(const rebus_allocator *from, const char *folder, bool *out, rebus_error *err);

/* The same from memory; only tokenizer_json is needed, or the older files of the class; the others may be NULL. */
typedef struct text_file {
	const char *data; /* NULL: there is none */
	size_t size;
} text_file;
typedef struct text_files {
	const char *tokenizer_json, *tokenizer_config, *special_tokens_map, *added_tokens, *config;
	size_t tokenizer_json_size, tokenizer_config_size, special_tokens_map_size, added_tokens_size, config_size;
	text_file vocab_json, merges_txt, vocab_txt, sentencepiece; /* read where there is no tokenizer_json */
	const char *sentencepiece_name;                             /* tokenizer.model or spiece.model, for messages */
} text_files;
rebus_status text_open_memory(arena *a, const text_files *files, tokenizer **out, rebus_error *err);
/* The same from a GGUF file's metadata (gguf_words.c). */
struct gguf;
bool text_gguf_exists(const struct gguf *g); /* does it describe one? */
rebus_status text_open_gguf(arena *a, const struct gguf *g, tokenizer **out, rebus_error *err);
void text_close(tokenizer *t); /* NULL is fine */

/* Appends to out. add_special: with what the post-processor puts around a text. */
rebus_status text_encode(const tokenizer *t, const char *s, size_t n, bool add_special, ids *out, rebus_error *err);
/* Two texts through the pair template; types may be NULL, else gets as many type ids as out gets ids. An empty b counts as
   none, as in the reference. most: so many ids at most, special ones counted; the longer text is cut first (truncation of
   tokenizers 0.23, longest_first), at the side that the tokenizer says; INT64_MAX: no limit. */
rebus_status text_encode_pair(const tokenizer *t, const char *a, size_t a_size, const char *b, size_t b_size, bool add_special,
                              int64_t most, ids *out, ids *types, rebus_error *err);
/* Appends to out. Ids that no token has are passed over. */
rebus_status text_decode(const tokenizer *t, const int32_t *id, size_t n, bool skip_special, buf *out, rebus_error *err);

/*
 * Decoding one id at a time. A piece is what has become final; it never ends inside a UTF-8 sequence. All pieces and the one
 * of text_stream_end together are what text_decode gives for all ids, but for decoders that look back (a suffix in the
 * middle of a token); where clean-up of blanks is asked for, everything comes with text_stream_end.
 * A piece lives until the next call on the stream.
 */
enum { DECODE_ROOM = 5 };
typedef struct text_stream {
	const tokenizer *t;
	bool skip_special, started;
	ids window;
	buf text, held;
	buf plain, room[DECODE_ROOM]; /* kept from id to id, so that decoding one asks for no memory */
	size_t done;  /* bytes of the window's text that were put into held */
	size_t given; /* bytes of held that the last piece is */
} text_stream;
void text_stream_begin(text_stream *s, const tokenizer *t, bool skip_special);
rebus_status text_stream_ready(const text_stream *s, rebus_error *err); /* did begin get the room it wants? */
rebus_status text_stream_push(text_stream *s, int32_t id, const char **piece, size_t *n, rebus_error *err);
rebus_status text_stream_end(text_stream *s, const char **piece, size_t *n, rebus_error *err);
void text_stream_free(text_stream *s);

int32_t text_id(const tokenizer *t, const char *token);              /* -1: no such token */
const char *text_token(const tokenizer *t, int32_t id, size_t *n);   /* as the model spells it; NULL: none; n may be NULL */
bool text_is_special(const tokenizer *t, int32_t id);                /* what skip_special leaves out */
size_t text_vocabulary(const tokenizer *t);                          /* tokens, added ones included */

typedef enum { TEXT_BOS, TEXT_EOS, TEXT_UNK, TEXT_SEP, TEXT_PAD, TEXT_CLS, TEXT_MASK, TEXT_NAMED } text_named;
/* A named special token; NULL and -1: the checkpoint names none (or, for the id, no token is spelled so). */
const char *text_named_token(const tokenizer *t, text_named which);
int32_t text_named_id(const tokenizer *t, text_named which);
/* Further ones: members of tokenizer_config.json that end in _token, or of extra_special_tokens: "image_token". */
const char *text_named_extra(const tokenizer *t, const char *name);

typedef struct text_info {
	const char *class_name;      /* the reference's class: "CLIPTokenizer", "TokenizersBackend" */
	int64_t model_max_length;    /* INT64_MAX: none stated */
	bool pad_left, truncate_left;
	bool type_ids;               /* the class gives token_type_ids to the model */
	const char *chat_template;   /* of tokenizer_config.json: the string, or the one named default; NULL: none */
	struct {
		bool stated;
		int64_t length;            /* 0: longest of the batch */
		int64_t multiple;          /* 0: none */
		int32_t id, type_id;
	} padding;                   /* of tokenizer.json: not applied */
	struct {
		bool stated;
		int64_t length, stride;
	} truncation;                /* of tokenizer.json: not applied */
} text_info;
const text_info *text_get_info(const tokenizer *t);

#endif
