/*
 * blocks.h - what families share: embeddings, blocks with norms before or after, attention with a cache, rows for heads.
 *
 * A block's weights are one struct that the families' tables bind into; a part that a family does not have stays with
 * parts == 0 and is left out.
 */
#ifndef REBUS_BLOCKS_H
#define REBUS_BLOCKS_H

#include "parts/net.h"

typedef struct block_weights {
	weight norm1, norm1_bias; /* before attention, or after its sum */
	weight qkv;               /* query, key, value stacked */
	weight out;
	weight norm2, norm2_bias; /* before the MLP, or after its sum */
	weight after1, after2;    /* norms of attention's and the MLP's results, before they are added (Gemma 2) */
	weight q_norm, k_norm;    /* of each head, before it is turned */
	weight up;                /* fc1; gated: gate and up stacked */
	weight down;
	weight scale1, scale2;    /* of the columns of attention's and the MLP's results (LayerScale) */
	weight table;             /* added to scores by distance in a window */
	weight table_up, table_down, table_scale; /* cosine scores: the MLP that makes the table, and each head's scale */
} block_weights;

typedef struct block_options {
	int64_t heads, kv_heads, head_dim;
	double eps;
	act_kind act;
	bool rms;     /* RMS norm, else layer norm */
	bool after;   /* norms after each sum, not before each half: x = norm(x + attention x); x = norm(x + mlp x) */
	bool gated;   /* down(act(gate) * up), else down(act(up)) */
	bool rotary;  /* queries and keys turned by net->angles, half-split pairs */
	slot at;      /* a layout of other rows than the table's, without a cache; 0: net->self or net->near */
	bool pairs;   /* rotary: neighbouring columns instead */
	bool near;    /* rows see the last keys only: net->near, and net->near_angles where there are such */
	double scale; /* of scores; 0: head_dim^-1/2 */
	double cap;   /* scores: cap tanh(score / cap); 0: none */
	const weight *buckets; /* added to scores by distance (T5): [buckets, heads]; NULL: none */
	int64_t far;  /* from this distance on they share a bucket */
	bool both_ways; /* keys after the query have buckets of their own */
	const char *attention, *mlp; /* how the reference calls the two halves, below the block's name */
} block_options;

/*
 * x = x + scale1 after1(attention(norm x)); x = x + scale2 after2(mlp(norm x)). name: the block's module path. The layout is
 * net->self or net->near, made here at the
 * first call; with net->size.cache > 0 keys and values go through a cache of that many rows.
 */
node_id part_block(net *n, const char *name, node_id x, const block_weights *w, const block_options *o);

/* The parts of a block, for blocks of another order; attention and MLP read what is normed already. */
/* What a half of a block gives, with dropout and drop path as the net wants them (Dosovitskiy et al. 2021; Huang et al. 2016). */
node_id part_chance(net *n, const char *name, node_id x);
node_id part_attention(net *n, const char *name, node_id x, const block_weights *w, const block_options *o);
node_id part_norm(net *n, const char *name, node_id x, const weight *w, const weight *b, const block_options *o);
node_id part_mlp(net *n, const char *name, node_id x, const weight *up, const weight *down, const block_options *o);

typedef struct cross_weights { /* attention to rows that another net made */
	weight norm, norm_bias;
	weight q, kv, out; /* key and value stacked */
} cross_weights;
/*
 * Queries from x, keys and values from net->features, through net->cross. With net->size.memory > 0 keys and values are made in
 * the run that has features, and stay for the steps after it.
 */
node_id part_cross(net *n, const char *name, node_id x, const cross_weights *w, const block_options *o);
/* Rows that another net made, as an input: what part_cross reads. Needed once, before it. */
void part_features(net *n, int64_t width);

/* Sources of a resampled position: what a gradient has room for (antialiased, to half of each side), and any. */
enum { POSITION_TAPS = 64, POSITION_TAPS_MOST = 1 << 14 };

/*
 * Patches through their convolution, learned rows (class, registers; `count` tables, their rows in order) before them, a
 * learned position added: net->source, net->position.
 */
node_id part_patch_embedding(net *n, const char *name, const weight *patch, const weight *const *learned, int count, const weight *position);
/* A position added to rows that have none yet: net->position. */
node_id part_positions(net *n, const char *name, node_id x, const weight *table);
/* Rows of the token table (TEXT: id) and of features that another net made (IMAGE), in the table's order: net->source. */
node_id part_token_embedding(net *n, const char *name, const weight *table, bool features);
/* The same, the table's rows times scale; features are left as they are. */
node_id part_scaled_embedding(net *n, const char *name, const weight *table, bool features, float scale);
/* A learned table by place in the sequence, added: net->position. */
node_id part_order_embedding(net *n, const char *name, node_id x, const weight *table);
/* A learned table by segment of the text, added: net->segment. */
node_id part_segment_embedding(net *n, const char *name, node_id x, const weight *table);
/* The rows heads are run on: net->pick. */
node_id part_pick(net *n, const char *name, node_id x);
/* Logits by a matrix of their own where the file has one, else by the embedding; tied NULL: it may not be taken. */
node_id part_head(net *n, const char *name, node_id x, const weight *own, const weight *tied);
/* As many rows by the family's second rule, such as the mean of each picture's patches: net->pool. */
node_id part_pool(net *n, const char *name, node_id x);

typedef struct probe_weights { /* pooling by attention: a learned row asks, the picture's rows answer */
	weight probe, in, out, norm, norm_bias, up, down; /* in: query, key and value as one tensor */
} probe_weights;
/* y = attention(probe, x); y + mlp(norm y): a row for each picture, through net->probe and net->cross. */
node_id part_probe(net *n, const char *name, node_id x, const probe_weights *w, const block_options *o);
/* An input of rotary angles for every token, of `turned` columns of a head: net->angles_in, or net->near_angles_in. */
void part_angles(net *n, int64_t turned, bool near);

#endif
