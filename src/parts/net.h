/*
 * net.h - one graph with the spaces and slots that every family's graph shares, and the feeding of a run from a token table.
 *
 * A tower (pictures in) and a text model (tokens in) are each a net. A family builds nodes on it and names what may be seen:
 *
 *     patches ─► linear ─┐
 *     class row ─────────┴─► move(source) ─► + move(position) ─► blocks(self) ─► norm ─► move(pick) ─► head
 *     token table ───────┐
 *     features ──────────┴─► move(source) ─► blocks(self, angles, cache) ─► norm ─► move(pick) ─► head
 *
 * Slots that a family does not use stay 0 and are not fed.
 */
#ifndef REBUS_NET_H
#define REBUS_NET_H

#include "graph/graph.h"
#include "tokens/windows.h"

/* How an output's rows fall to sequences: as the rows of the table; one (or the picked rows) a sequence; as they are; as the patches.
 * COLUMN: rows of one number, told as (sequences, rows); CHOICES: one number a sequence, told as (1, sequences). */
typedef enum { OUTPUT_ROWS, OUTPUT_PICKED, OUTPUT_FLAT, OUTPUT_PATCHES, OUTPUT_COLUMN, OUTPUT_CHOICES } output_kind;
typedef struct net_output {
	const char *name; /* the reference's: "last_hidden_state" */
	node_id node;
	output_kind kind;
	int32_t stage; /* OUTPUT_ROWS: of the rows of which stage; 0 the table's own */
	bool grid;     /* of a stage: rows and columns are sides of their own */
} net_output;
enum { NET_OUTPUTS = 1100 };
#define NET_LOSS ".loss"                 /* [1, 1]: of a model that restores what was dropped (ViTMAE); named where a net trains */
#define NET_PATCH_ERRORS ".patch_errors" /* [patches, 1]: the terms of its mean, 0 where a patch was seen */
#define NET_EMBEDDING ".embedding" /* what rebus_embed gives; names with a dot in front are not the reference's */

typedef struct net_size { /* maxima a net is planned for */
	int64_t rows, patches, features, picked, cache;
	int64_t memory; /* rows of an encoder that stay for all steps; 0: the text net sees the features themselves */
	int64_t whole;  /* rows of pictures whose dropped patches are restored */
	int64_t stage_rows[PYRAMID_STAGES], window_rows[PYRAMID_STAGES][2]; /* of a pyramid of windows */
} net_size;
bool net_size_fits(const net_size *have, const net_size *need);
bool net_size_join(net_size *to, const net_size *other); /* the larger of each; false: one of them has a cache, which must be as long as asked */

typedef struct net_cut { /* a stage in windows, plain or shifted */
	space_id rows;
	slot into, back, at, place;
} net_cut;
typedef struct net_stage {
	space_id rows;
	slot sample; /* column: whose each row is */
	slot merge; /* to the next one */
	net_cut cut[2];
} net_stage;

typedef struct net_whole { /* pictures with all their patches again, those that were dropped among them */
	space_id rows;
	slot source, position, self, patches, dropped;
} net_whole;

typedef struct net_wants {
	bool all;    /* every named output (trace), not only what the task needs */
	bool hidden; /* hidden states of every layer too */
	bool train;  /* parameters get gradients; no cache */
	float dropout, drop_path; /* while training: of what each half of a block gives; the last block's share, which grows from 0 at the first */
	int32_t blocks;           /* that there are, for drop_path */
	bool scores; /* queries and keys of every attention stay, so that its probabilities can be made again */
} net_wants;

typedef struct net {
	graph *g;
	net_size size;
	net_wants wants;
	space_id rows, patches, features, picked, cache, memory;
	slot patches_in;  /* input [patches, patch width] */
	slot features_in; /* input [features, width]: rows another net made */
	slot source;      /* map: where the embeddings' rows come from */
	slot position;    /* map into a learned position table */
	slot sample;      /* column: the sequence of each row */
	int32_t block;    /* blocks built so far */
	slot segment;     /* map into a learned table by segment */
	slot self;        /* layout over rows, or over the cache */
	slot near;        /* the same, but a row sees the last keys only */
	slot angles_in, near_angles_in; /* input [rows, 2 * half]; of blocks that see the last keys only, where they have their own */
	slot where;       /* column: the cache row of each token */
	slot order, cache_order; /* columns of 3: the place of each row, of each row of the cache; for biases by distance */
	slot where_memory; /* column: the memory's row of each feature */
	slot pick;        /* map: rows that heads are run on */
	slot probe, cross; /* map: one row for every picture; layout: each sees its picture's rows, or an encoder's rows */
	slot pool;        /* map: a second row for each of them, or a mean of rows */
	net_whole whole;
	net_stage stage[PYRAMID_STAGES]; /* the rows of stage 0 are those of the table */
	node_id angles, near_angles, given; /* given: the features, where part_features asked for them */
	net_output *outputs; /* [NET_OUTPUTS] */
	int32_t output_count;
	arena mem;
} net;

rebus_status net_new(net *n, const rebus_allocator *from, net_size size, net_wants wants, rebus_error *err);
void net_free(net *n);
/* Names an output. essential: needed whatever was asked for. */
void net_see(net *n, const char *name, node_id id, output_kind kind, bool essential);
/* Rows of a stage. */
void net_see_stage(net *n, const char *name, node_id id, int32_t stage);
/* The same, as (pictures, rows, columns, width), which timm has. */
void net_see_grid(net *n, const char *name, node_id id, int32_t stage);
/* hidden_states.N; prefix "" or "vision." */
void net_see_hidden(net *n, const char *prefix, int64_t layer, node_id id);
const net_output *net_find(const net *n, const char *name);

/* Pictures put together again (ViTMAE): a row for the class, then one for every patch, picture by picture. */
typedef struct whole_run {
	int64_t rows;
	rowmap source;          /* from the table's rows, then one row that stands for what was dropped */
	rowmap position;        /* from the decoder's table */
	layout self;            /* every row of a picture sees all of them */
	rowmap patches;         /* to rows of patches: from the picture's rows without the class row */
	const int32_t *dropped; /* [rows of patches]: 1 where the patch was dropped */
} whole_run;

/* Everything a run is fed with; what a net has no slot for is ignored. */
typedef struct net_run {
	const tokens *table;
	const float *patches, *features;
	int64_t patch_rows, feature_rows;
	const rowmap *source, *position, *segment, *pick, *pool;
	const rowmap *probe;
	const layout *self, *near, *cross;
	const float *angles, *near_angles;
	const int32_t *where, *where_memory;
	const int32_t *order, *cache_order;
	const pyramid *windows;
	const whole_run *whole;
} net_run;
rebus_status net_feed(const net *n, const net_run *r, arena *a, feed *out, rebus_error *err);

#endif
