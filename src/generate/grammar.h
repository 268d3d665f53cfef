/*
 * grammar.h - what an answer may be: rules over characters, run byte by byte, and the tokens that may come next.
 *
 *   GBNF text     grammar_text.c   ┐                                                   ┌ tokens sorted by bytes (text/spellings.h)
 *   JSON schema   grammar_schema.c ├─► rules ─► machine over bytes ─► stands, cached ──┤
 *   expression    grammar_regex.c  ┘   (nodes)  (grammar_machine.c)  (grammar_walk.c)  └► mask of tokens (grammar_mask.c)
 *
 * Rules. A node is a text, a set of characters, a list in order or of alternatives, a repetition, or a call of a rule. Nodes
 * are in one place each; what is used twice is a rule. A node is made by a rules_ function, which gives NULL where memory or a
 * limit ends it: rules_check tells at last, so that front ends need no checks on the way.
 *
 * Machine. Every rule becomes states joined by edges: a range of bytes (characters as UTF-8), nothing, or a call. A call
 * remembers where to go on in a frame; frames are a tree, so that many of them share what is below:
 *
 *   rule value ─ "[" ─► o ─ call value ─► o ─ "]" ─► end         frames:  (after value, ·) ─► (after value, ·) ─► bottom
 *
 * A call that is the last thing of its rule keeps no frame, so lists that are written as a rule calling itself at the end take
 * no room. What can never end (a rule that always needs itself) is taken out: whatever may come next can be finished.
 * A rule that may begin with itself would not end either and is refused by name.
 *
 * Stands. Where the machine is after some bytes is a set of (state, frame); equal sets are one stand, and a stand's step by a
 * byte is computed once. Walking over the sorted tokens costs a look-up a byte, shared beginnings once.
 *
 * Bounds. States, nodes, places of one stand, frames, the memory of stands, steps of one mask; beyond: LIMIT, in one line. Stands
 * are forgotten when they take too much memory; an answer keeps the places of its own.
 *
 * llama.cpp's users know this form (GBNF) and write it by hand; it says all that the two others do, so those become rules too.
 */
#ifndef REBUS_GRAMMAR_H
#define REBUS_GRAMMAR_H

#include "models/model.h"
#include "text/spellings.h"

enum {
	GRAMMAR_TEXT_MOST = 1 << 20,
	GRAMMAR_NODES_MOST = 1 << 20,
	GRAMMAR_RULES_MOST = 1 << 17,
	GRAMMAR_STATES_MOST = 1 << 20,
	GRAMMAR_EDGES_MOST = 1 << 22,
	GRAMMAR_DEPTH_MOST = 200,       /* of brackets within brackets */
	GRAMMAR_PLACES_MOST = 1 << 15,  /* of one stand */
	GRAMMAR_FRAMES_MOST = 1 << 22,
	GRAMMAR_CACHE_MOST = 96 << 20,  /* bytes of stands before they are forgotten */
	GRAMMAR_CACHE_END = 256 << 20,  /* of one mask */
	GRAMMAR_STEPS_MOST = 400 << 20, /* of one mask */
	GRAMMAR_CHECKED_MOST = 64,      /* stands looked at to see whether tokens can end it; see grammar_mask.c */
};

/* ------------------------------------------------------------------------------------------------ rules (grammar_rules.c) */
typedef struct code_range {
	uint32_t first, last;
} code_range;

typedef enum { NODE_TEXT, NODE_SET, NODE_SEQUENCE, NODE_EITHER, NODE_REPEAT, NODE_CALL } node_kind;
typedef struct grammar_node {
	node_kind kind;
	const char *text; /* of `size` bytes */
	size_t size;
	const code_range *set; /* [size] sorted, apart from each other */
	struct grammar_node *first, *last, *next; /* of a list: its children */
	uint32_t min, max; /* of a repetition; max UINT32_MAX: any number */
	int32_t rule;
} grammar_node;

typedef struct grammar_rule {
	const char *name; /* for messages */
	grammar_node *body; /* NULL: not defined */
} grammar_rule;

typedef struct rules {
	arena *mem;
	buf list; /* grammar_rule */
	size_t nodes;
	rebus_status failed;
} rules;

void rules_begin(rules *r, arena *mem);
void rules_end(rules *r);
rebus_status rules_check(const rules *r, rebus_error *err);
grammar_node *rules_text(rules *r, const char *s, size_t n); /* copied; n 0: nothing */
grammar_node *rules_set(rules *r, const code_range *list, size_t count); /* in any order; surrogates and U+0000 are left out */
grammar_node *rules_list(rules *r, node_kind kind);
void rules_add(rules *r, grammar_node *list, grammar_node *child);
grammar_node *rules_repeat(rules *r, grammar_node *child, uint32_t min, uint32_t max);
grammar_node *rules_call(rules *r, int32_t rule);
int32_t rules_new(rules *r, const char *name, size_t n); /* -1 and failed: no room */
void rules_define(rules *r, int32_t rule, grammar_node *body);
size_t rules_count(const rules *r);
grammar_rule *rules_at(const rules *r, int32_t rule);

/* Sets of characters while they are put together: a list of ranges in a buf. */
void ranges_add(buf *list, uint32_t first, uint32_t last);
void ranges_normal(buf *list);  /* sorted, apart, without surrogates and U+0000 */
void ranges_invert(buf *list);  /* all other characters */
size_t ranges_count(const buf *list);
const code_range *ranges_data(const buf *list);

/* ------------------------------------------------------------------------------------------------ front ends */
/* Rule 0 is the whole. name is used in messages. */
rebus_status grammar_read_text(rules *r, const char *s, size_t n, rebus_error *err);
rebus_status grammar_read_regex(rules *r, const char *s, size_t n, rebus_error *err);
rebus_status grammar_read_schema(rules *r, const char *s, size_t n, rebus_error *err);

/* A regular expression as a node. quoted: the characters as a JSON string has them; anywhere: it may be a part of the text,
   as "pattern" means it, unless it begins with ^ or ends with $. */
rebus_status grammar_expression(rules *r, const char *s, size_t n, bool quoted, bool anywhere, const char *where, grammar_node **out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ machine (grammar_machine.c) */
typedef enum { EDGE_BYTES, EDGE_NOTHING, EDGE_CALL } edge_kind;
typedef struct machine_edge {
	uint32_t to, next; /* next: of the same state, plus 1; 0: none */
	uint32_t rule;
	uint8_t kind, first, last;
	bool live; /* leads to an end */
} machine_edge;
typedef struct machine_state {
	uint32_t edges; /* the first one plus 1; 0: none */
	bool end;       /* of its rule */
	bool bytes;     /* has live edges over bytes */
} machine_state;
typedef struct machine {
	const machine_state *states;
	const machine_edge *edges;
	const uint32_t *starts; /* [rules] */
	size_t state_count, edge_count, rule_count;
	bool bytes[256]; /* those that live edges hold */
} machine;

rebus_status machine_make(const rules *r, arena *a, machine *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ walk (grammar_walk.c) */
typedef struct place {
	uint32_t state, frame;
} place;
typedef struct frame {
	uint32_t state, below;
} frame;
typedef struct stand {
	uint32_t first, count; /* of places */
	uint32_t *next;        /* [256]: stand plus 1, 0: not computed; NULL: none yet */
	uint32_t *mask, *first_mask; /* [mask words]; NULL: not computed */
	uint32_t allowed, first_allowed; /* tokens in them */
	uint32_t search;       /* the last one that came by; see grammar_mask.c */
	int8_t finishes;       /* 0: not known, 1: tokens can end it, -1: they cannot */
	bool end;              /* the text may end here */
} stand;
enum { STAND_NONE = 0 }; /* nothing may follow, and the text is not one */

typedef struct walk {
	const machine *m;
	const rebus_allocator *from;
	buf stands, places, frames, slots, frame_slots; /* slots: hash tables of index plus 1 */
	arena cache; /* next, masks */
	buf reached, seen; /* scratch */
	uint64_t steps, most_steps; /* of one call from outside */
	uint32_t start;
} walk;

rebus_status walk_begin(walk *w, const machine *m, const rebus_allocator *from, rebus_error *err); /* walk_end also after a failure */
void walk_end(walk *w);
stand *walk_stand(const walk *w, uint32_t at);
rebus_status walk_step(walk *w, uint32_t at, unsigned char byte, uint32_t *out, rebus_error *err);
size_t walk_bytes(const walk *w);    /* memory that forgetting would give back */
rebus_status walk_forget(walk *w, rebus_error *err); /* all stands; frames stay */
const place *walk_places(const walk *w, uint32_t at);
rebus_status walk_find(walk *w, const place *list, size_t n, bool end, uint32_t *out, rebus_error *err);

/* ------------------------------------------------------------------------------------------------ masks (grammar_mask.c) */
typedef struct grammar_at { /* where one answer is */
	buf said;   /* its bytes so far */
	buf places; /* of its stand, by which it is found again where stands were forgotten */
	uint32_t stand, generation;
	uint32_t era; /* of the frames that places speak of; in another, the stand is found from the bytes */
	bool end;
} grammar_at;

rebus_status grammar_begin(const rebus_grammar *g, grammar_at *at, rebus_error *err);
void grammar_end(grammar_at *at);
size_t grammar_mask_words(const rebus_grammar *g);
/* Tokens that may come next, a bit each: mask [grammar_mask_words]; how many; whether the text may end here. */
rebus_status grammar_mask(const rebus_grammar *g, grammar_at *at, uint32_t *mask, size_t *allowed, bool *ends, rebus_error *err);
/* Goes on by a token that the mask allowed; its bytes are the last `size` of at->said. */
rebus_status grammar_take(const rebus_grammar *g, grammar_at *at, int32_t id, size_t *size, rebus_error *err);
/* Is this a text that fits; is it the beginning of one? Without tokens. */
rebus_status grammar_accepts(const rebus_grammar *g, const char *s, size_t n, bool *fits, bool *begins, rebus_error *err);
bool grammar_for(const rebus_grammar *g, const tokenizer *words); /* was it made for this one? */
/* rebus_grammar_new over a tokenizer alone. */
rebus_status grammar_new(const tokenizer *words, const rebus_allocator *from, rebus_grammar_kind kind, const char *text, size_t size, rebus_grammar **out,
                         rebus_error *err);

#endif
