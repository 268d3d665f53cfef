/*
 * text_inside.h - what the tokenizer's files share; see tokenizer.h for the way of a text through them.
 *
 * A text on its way is a list of pieces, each a range of bytes. A piece with an id is an added token and passes unchanged;
 * the others are split further and, at last, turned into ids by the model:
 *
 *   "<s>Hello world"   ─►  [<s> = 1] ["Hello world"]  ─►  [<s> = 1] ["Hello"] [" world"]  ─►  1 15043 3186
 *
 * `first` marks the piece that begins where the whole text begins: Metaspace with "first" puts its mark only there.
 */
#ifndef REBUS_TEXT_INSIDE_H
#define REBUS_TEXT_INSIDE_H

#include "files/json.h"
#include "text/regex.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

typedef struct text_span {
	const char *s;
	size_t n;
} text_span;

typedef struct {
	size_t from, size;
	int32_t id; /* -1: still text */
	bool first;
} text_piece;
typedef struct {
	buf text, list; /* list: text_piece */
} text_pieces;

enum { WORK_MOST = 256 << 20, PARTS_MOST = 64 };

void pieces_init(text_pieces *p, const rebus_allocator *from);
void pieces_free(text_pieces *p);
void pieces_clear(text_pieces *p);
void pieces_add(text_pieces *p, size_t from, size_t size, int32_t id, bool first);
size_t pieces_count(const text_pieces *p);
const text_piece *pieces_at(const text_pieces *p, size_t i);
const char *pieces_text(const text_pieces *p, size_t i); /* where piece i's bytes are; never NULL */

/* ------------------------------------------------------------------------------------------------ normalizer.c */
typedef enum {
	NORM_FORM,
	NORM_LOWER,
	NORM_STRIP,
	NORM_ACCENTS,
	NORM_REPLACE,
	NORM_PREPEND,
	NORM_NMT,
	NORM_BYTES,
	NORM_CHARSMAP,
	NORM_CLEAN,      /* of BertNormalizer, as the next two */
	NORM_IDEOGRAPHS,
	NORM_NONSPACING,
} norm_kind;
/* ------------------------------------------------------------------------------------------------ charsmap.c */
typedef struct {
	const uint32_t *units; /* a double array */
	const char *texts;     /* what its leaves point into: texts with NUL after each */
	size_t count, size;
} text_charsmap;

typedef struct {
	norm_kind kind;
	unicode_form form;
	bool left, right;
	text_span find, put; /* REPLACE: find literally unless regex; PREPEND: put */
	text_regex *regex;
	text_charsmap map;
} norm_step;

/* ------------------------------------------------------------------------------------------------ pretokenizer.c */
typedef enum { PRE_SPLIT, PRE_BYTES, PRE_DIGITS, PRE_METASPACE, PRE_WORDS, PRE_BLANKS, PRE_PUNCTUATION, PRE_LENGTH } pre_kind;
typedef enum { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_CONTIGUOUS, SPLIT_PREVIOUS, SPLIT_NEXT } split_behavior;
typedef enum { SCHEME_FIRST, SCHEME_NEVER, SCHEME_ALWAYS } prepend_scheme;
typedef struct {
	pre_kind kind;
	split_behavior behavior;
	prepend_scheme scheme;
	bool invert, prefix, split; /* ByteLevel: prefix = add_prefix_space, split = use_regex; Metaspace: split */
	text_span find;             /* SPLIT: literal unless regex; METASPACE: the replacement */
	size_t length;              /* LENGTH: characters */
	text_regex *regex;
} pre_step;

/* ------------------------------------------------------------------------------------------------ text_decoder.c */
typedef enum {
	DECODE_BYTES,
	DECODE_METASPACE,
	DECODE_REPLACE,
	DECODE_FALLBACK,
	DECODE_FUSE,
	DECODE_STRIP,
	DECODE_SUFFIX,
	DECODE_WORDPIECE,
} decode_kind;
typedef struct {
	decode_kind kind;
	prepend_scheme scheme;
	text_span find, put; /* METASPACE, STRIP: find is one character; SUFFIX: find; WORDPIECE: find is the prefix */
	bool clean;          /* WORDPIECE */
	text_regex *regex;
	size_t start, stop;  /* STRIP */
} decode_step;

/* ------------------------------------------------------------------------------------------------ post_processor.c */
typedef struct {
	int sequence;        /* 0: A, 1: B, -1: special */
	int32_t type;        /* -1: as encoded */
	const int32_t *id;   /* special: [count] */
	size_t count;
} post_item;
typedef struct {
	const post_item *items;
	size_t count;
} post_template;
typedef struct {
	post_template single, pair; /* without special tokens the special items are passed over */
	bool once; /* a special item is left out where its id is the last one already (SigLIP) */
} post_steps;

/* ------------------------------------------------------------------------------------------------ vocabulary.c */
enum { TEXT_AFFIX_MOST = 256, TEXT_TOKEN_MOST = 64 << 10 };
typedef struct {
	text_span token;
	int32_t id;
} vocabulary_entry;
typedef struct {
	vocabulary_entry *entries; /* in file order */
	uint32_t *slots, *by_id;   /* index into entries plus 1, by hash of the token and by id; 0: none */
	size_t count, mask, ids, distinct; /* distinct: count without tokens that a later one is spelled like */
} vocabulary_table;

/* ------------------------------------------------------------------------------------------------ token_trie.c */
typedef struct {
	uint32_t children; /* the first of count nodes, in the order of their bytes */
	int32_t id;        /* of the token that ends here; -1: none */
	uint16_t count;
	unsigned char byte;
} trie_node;
typedef struct {
	const trie_node *nodes; /* [0]: the root */
	uint32_t begins[256];   /* the root's children by byte; 0: none */
} token_trie;

/* ------------------------------------------------------------------------------------------------ bpe.c */
enum { BPE_CHARS = 0x250 };
typedef struct {
	uint64_t pair;   /* left << 32 | right; UINT64_MAX: free */
	uint32_t rank;
	int32_t made;
} bpe_merge;

typedef struct {
	bool fuse_unk, byte_fallback, ignore_merges;
	bool make_merges; /* of the vocabulary, where the model has none */
	text_span unk, prefix, suffix; /* s NULL: none */
} bpe_options;

typedef struct {
	const vocabulary_table *vocabulary;
	bpe_merge *merges;
	size_t merge_mask;
	bpe_options o;
	int32_t unk_id;        /* -1: not in the vocabulary */
	int32_t byte_ids[256]; /* <0x00> ...; -1: none */
	int32_t char_ids[BPE_CHARS]; /* of the first characters; -1: none */
	bool apart;            /* no merge joins U+2581 to a token before it that does not end so: a text may be cut there */
	_Atomic unsigned char *whole; /* [vocabulary->count], by entry: a whole_word */
} bpe_model;

/* Do the merges make the word that a token is spelled like into that token? Found out when it first comes up, by whichever thread. */
typedef enum { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO } whole_word;

/* ------------------------------------------------------------------------------------------------ wordpiece.c */
typedef struct {
	text_span unk, prefix;
	int64_t longest; /* characters of a word */
} wordpiece_options;
typedef struct {
	wordpiece_options o;
	int32_t unk_id;          /* -1: not in the vocabulary */
	token_trie begin, going; /* going: tokens with the prefix, without it */
} wordpiece_model;

/* ------------------------------------------------------------------------------------------------ unigram.c */
typedef struct {
	int32_t unk_id; /* -1: none */
	bool byte_fallback;
} unigram_options;
typedef struct {
	unigram_options o;
	const double *scores; /* [id] */
	double unk_score;
	int32_t byte_ids[256];
	token_trie trie;
} unigram_model;

typedef enum { MODEL_BPE, MODEL_WORDPIECE, MODEL_UNIGRAM } model_kind;

/* ------------------------------------------------------------------------------------------------ added_tokens.c */
typedef struct {
	text_span content, shown; /* shown: normalised where `normalized`, which is also what is searched and decoded */
	int32_t id;
	bool single_word, lstrip, rstrip, normalized, special;
	bool ever_special; /* once special, always left out by skip_special */
} added_token;

typedef struct {
	uint32_t node, child; /* child 0: free */
	unsigned char byte;
} added_edge;
typedef struct {
	added_edge *edges; /* by hash of node and byte */
	int32_t *hits;     /* [nodes] index of the added token that ends here, or -1 */
	size_t mask, nodes;
	bool begins[256];
} added_trie;

typedef struct {
	added_token *list;
	uint32_t *slots; /* index plus 1, by hash of content */
	size_t count, most, mask;
	int32_t next_id;
	added_trie raw, normal;
	int32_t *by_id; /* [id_end] index into list, or -1 */
	size_t id_end;
	bool split_special; /* special tokens in a text are text */
} added_tokens;

/* ------------------------------------------------------------------------------------------------ class_rules.c */
/* what is put around a text, whatever the file says: <bos> A <eos> as RobertaProcessing; [CLS] A [SEP] of types; A <eos>; the same, unless A ends so */
typedef enum { POST_FILE, POST_CLIP, POST_BERT, POST_T5, POST_SIGLIP } post_kind;
typedef struct {
	const char *name;
	const char *normalizer, *pre_tokenizer, *decoder; /* JSON; NULL with rebuilt false: as tokenizer.json says */
	bool rebuilt;
	model_kind model;    /* where rebuilt */
	post_kind post;
	bool charsmap;       /* T5: the normalizer is the file's Precompiled, alone */
	bool pad_left, two_inputs; /* two_inputs: no token_type_ids */
	bool fuse_unk, byte_fallback, unk_in_model;
	const char *suffix;
	const char *named[TEXT_NAMED];
	bool strip_decoded;  /* CLIP: suffix to blank, blanks stripped, after decoding; SigLIP: stripped */
	bool respecial;      /* Qwen2: named tokens are added once more as plain special tokens */
	bool pieces, lower;  /* SigLIP: spiece.model counts, even beside tokenizer.json; lower case first */
	bool extra_ids;      /* T5: <extra_id_0> to <extra_id_99> are special unless others are listed */
} class_rule;
/* The class that AutoTokenizer picks for these files (any may be NULL); pieces: there is a spiece.model. */
rebus_status rule_choose(arena *a, const json *tokenizer_config, const json *config, const char *tokenizer_json, size_t n, bool pieces,
                         class_rule *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ special_tokens.c */
typedef struct {
	const char *name, *token;
	added_token how; /* its flags */
} text_extra;
typedef struct {
	const json *tokenizer, *tokenizer_config, *special_tokens_map, *added_tokens, *config; /* all but the first may be NULL */
	bool made; /* tokenizer stands for older files; see vocab_files.c */
} text_trees;
rebus_status special_names(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err); /* t->named, extras */
rebus_status special_add(tokenizer *t, const class_rule *rule, const text_trees *j, rebus_error *err);   /* t->added */

/* ------------------------------------------------------------------------------------------------ vocab_files.c */
/* The tokenizer.json that older files stand for. */
rebus_status vocab_files_read(const rebus_allocator *from, const text_files *f, const class_rule *rule, const json *config,
	json **out,
                              rebus_error *err);

/* ------------------------------------------------------------------------------------------------ tokenizer.c */
#define TEXT_PIECES_BEFORE "<unk>"

struct tokenizer {
	const rebus_allocator *from;
	arena *arena;
	norm_step *norms;
	pre_step *pres;
	decode_step *decodes;
	size_t norm_count, pre_count, decode_count;
	bool has_decoder;
	post_steps post;
	bool pieces;          /* SigLIP; see tokenizer.c */
	size_t pieces_before; /* ids of TEXT_PIECES_BEFORE */
	model_kind model;
	vocabulary_table vocabulary;
	bpe_model bpe;
	wordpiece_model wordpiece;
	unigram_model unigram;
	added_tokens added;
	text_info info;
	const char *named[TEXT_NAMED];
	int32_t named_id[TEXT_NAMED];
	text_extra *extras; /* named tokens beyond the standard ones, then tokens without a name (name NULL) */
	size_t extra_count;
	bool strip_decoded, clean_up;
	text_regex *gpt2; /* ByteLevel's own expression, where used */
};

/* Everything one encode call needs beside the tokenizer. */
typedef struct {
	const tokenizer *t;
	regex_run run;
	text_pieces now, next;
	buf a, b;              /* normalizer's two sides */
	buf marks;             /* pretokenizer.c */
	buf symbols, queue;    /* bpe.c; unigram.c: its best paths in symbols */
	uint64_t steps, most_steps; /* in the tries; see token_trie.c */
	rebus_error *err;
} text_work;

text_span span_copy(arena *a, const char *s, size_t n); /* s NULL: no memory */
bool span_json(const json *j, arena *a, text_span *out);
rebus_status span_need(const json *j, arena *a, text_span *out, const char *or_else,
	rebus_error *err); /* FORMAT with that message if j is no text */
size_t text_table_size(size_t entries); /* power of two, at most half full */
rebus_status work_begin(text_work *w, const tokenizer *t, size_t text_bytes, rebus_error *err);
void work_end(text_work *w);
/* Writes the character that GPT-2 gives to a byte; and back: -1 where it gives none. */
uint32_t text_byte_to_char(int byte);
int text_char_to_byte(uint32_t cp);
void text_bytes_write(const char *s, size_t n, buf *out);
/* First place of find in s from `at`; n where there is none. */
size_t text_find(const char *s, size_t n, size_t at, text_span find);

/* {"String": ...} into find, or {"Regex": ...} compiled. */
rebus_status pattern_read(tokenizer *t, const json *j, const char *where, text_span *find, text_regex **regex, rebus_error *err);

rebus_status normalizer_read(tokenizer *t, const json *j, rebus_error *err);
/* Normalises s into one of w->a, w->b and says which; first becomes false where the text's beginning was cut off. */
rebus_status normalizer_run(text_work *w, const char *s, size_t n, bool *first, const buf **out);
rebus_status pretokenizer_read(tokenizer *t, const json *j, rebus_error *err);
rebus_status pretokenizer_run(text_work *w); /* w->now to w->now */
rebus_status decoder_read(tokenizer *t, const json *j, rebus_error *err);
/* room: two text_pieces and a buffer, begun already, for the steps. */
rebus_status decoder_run(const tokenizer *t, const int32_t *id, size_t n, bool skip_special, buf room[DECODE_ROOM], buf *out,
	rebus_error *err);
void decoder_room_begin(buf room[DECODE_ROOM], const rebus_allocator *from);
void decoder_room_free(buf room[DECODE_ROOM]);
void decoder_replace(const char *s, size_t n, text_span find, const char *put, size_t put_size, buf *out); /* every find */
/* One token of a WordPiece step; spare is scratch. */
void decoder_wordpiece(const decode_step *step, const char *s, size_t n, bool first, buf *out, buf *spare);
int decoder_byte(const char *s, size_t n);                                    /* the byte of a token <0x0A>; -1: none */
void decoder_strip(const char *s, size_t n, size_t *from, size_t *end);       /* where str.strip() starts and ends */
rebus_status post_read(tokenizer *t, const json *j, rebus_error *err);
rebus_status post_class(tokenizer *t, post_kind kind, rebus_error *err); /* the class's, from the named tokens */
rebus_status post_ends(tokenizer *t, bool bos, bool eos, rebus_error *err); /* bos before, eos behind each text */
size_t post_special(const tokenizer *t, bool pair); /* ids that post_run adds with add_special */
rebus_status post_run(const tokenizer *t, const ids *a, const ids *b, bool add_special, ids *out, ids *types, rebus_error *err);
rebus_status bpe_read(tokenizer *t, const json *model, const bpe_options *rebuilt, rebus_error *err);
rebus_status bpe_run(text_work *w, const char *s, size_t n, ids *out);

const vocabulary_entry *vocabulary_look(const vocabulary_table *v, const char *s, size_t n); /* NULL: none */
int32_t vocabulary_find(const vocabulary_table *v, const char *s, size_t n);
/* A map of tokens to ids, or a list of [token, score], whose ids are their places; scores NULL: the map. */
rebus_status vocabulary_read(tokenizer *t, const json *j, const double **scores, rebus_error *err);
void vocabulary_bytes(const vocabulary_table *v, int32_t out[256]); /* ids of <0x00>, <0x01>, ...; -1: none */
/* A member of the model that is a short string, absent or null. */
rebus_status model_affix(tokenizer *t, const json *model, const char *name, text_span *out, rebus_error *err);

/* Tokens that begin with the prefix, without it; those that are nothing then are left out. */
rebus_status token_trie_build(tokenizer *t, text_span prefix, token_trie *out, rebus_error *err);
/* The node one byte further; 0: no token goes on so. */
uint32_t token_trie_step(const token_trie *trie, uint32_t node, unsigned char byte);
rebus_status token_trie_spend(text_work *w, size_t steps); /* LIMIT when a text's steps are used up */

rebus_status wordpiece_read(tokenizer *t, const json *model, const wordpiece_options *rebuilt, rebus_error *err);
rebus_status wordpiece_run(text_work *w, const char *s, size_t n, ids *out);
rebus_status unigram_read(tokenizer *t, const json *model, const unigram_options *rebuilt, rebus_error *err);
rebus_status unigram_run(text_work *w, const char *s, size_t n, ids *out);

/* precompiled_charsmap in base64. */
rebus_status charsmap_read(arena *a, const char *s, size_t n, text_charsmap *out, rebus_error *err);
void charsmap_run(const text_charsmap *map, const char *s, size_t n, buf *out);

/* Room for most tokens. Then, for each time the reference adds a list: added_list, and added_put for its tokens in order. */
rebus_status added_begin(tokenizer *t, size_t most, rebus_error *err);
void added_list(tokenizer *t);
rebus_status added_put(tokenizer *t, const added_token *token, rebus_error *err);
const added_token *added_find(const tokenizer *t, const char *s, size_t n);
const added_token *added_by_id(const tokenizer *t, int32_t id);
rebus_status added_finish(tokenizer *t, rebus_error *err); /* normalises and builds the tries */
/* Appends to out's list the pieces of s: text and added tokens (by content, or by normal form), moved by base. */
void added_cut(const tokenizer *t, bool normal, const char *s, size_t n, size_t base, bool first, text_pieces *out);

#endif
