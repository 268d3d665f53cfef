/*
 * graph.h - what is computed: nodes, the spaces their rows live in, and the slots through which a run's data comes.
 *
 * A node is a matrix [rows of a space, width] of f32. A space has a maximum when the graph is planned and a count when it
 * runs, so one plan serves every mix of pictures and prompts up to its maxima, and a decode step needs no new plan:
 *
 *    graph ──graph_gradient──► graph ──plan_make──► plan ──plan_run(feed)──► outputs
 *    nodes, spaces, slots      + nodes of the       memory, order,           rows of each space, layouts, maps,
 *                              gradient             fusion: once             columns, inputs: every run
 *
 * Parameters are nodes too (graph_param), so their gradients are found as every other node's: graph_gradient appends nodes
 * to the same graph, and graph_gradient_of names the one that holds dL/dnode. Nothing is ever updated in place.
 *
 * Building cannot be half done: the first failure is kept in the graph, every later call returns 0, and plan_make reports it.
 * All checks of shapes are made while building; running a plan cannot fail on a shape.
 */
#ifndef REBUS_GRAPH_H
#define REBUS_GRAPH_H

#include "kernels/kernels.h"
#include "kernels/weight.h"

typedef int32_t node_id, space_id, slot; /* 0 = none */
typedef struct graph graph;
typedef struct plan plan;
typedef struct op op;
typedef struct step step;
typedef struct plan_rows {
	const float *data;
	int64_t rows, width, stride;
} plan_rows;

enum { NODE_INPUTS = 6, GRAPH_NODES = 1 << 16 };

typedef struct space {
	const char *name;
	int64_t max;
	bool fixed; /* has max rows in every run */
} space;

typedef enum { SLOT_LAYOUT, SLOT_MAP, SLOT_COLUMN, SLOT_INPUT } slot_kind;
typedef struct slot_info {
	slot_kind kind;
	const char *name;
	space_id rows;      /* layout: query rows; map: output rows; column, input: its rows */
	space_id kv_rows;   /* layout: key rows */
	int64_t width;      /* column, input: values a row */
	int32_t taps;       /* map: sources an output row at most */
	bool concat;        /* map: side by side, exactly taps each */
	slot transposed_of; /* map made by plan_run from this one */
	int64_t rows_in;    /* transposed: the most rows, all inputs of the map together */
} slot_info;

/* What an operation needs beyond its inputs; which fields count is said beside each operation. */
typedef struct attr {
	act_kind act;
	float eps, factor;
	int32_t heads, head_dim, pairs, pairing, part;
	float sign;
	slot at, q_at, kv_at;
	attention attend;
	node_id of;  /* gradient nodes: the forward node they belong to */
	int32_t which;
	bool rms;
} attr;

typedef struct node {
	const op *op;
	const char *name; /* the reference's module path, or NULL */
	space_id rows;
	int32_t width, column;
	node_id view_of, in[NODE_INPUTS];
	node_id lse; /* attention: where it keeps its log-sum, once a gradient wants it */
	const weight *w;
	attr a;
	bool keep, needs_grad, frozen, mark;
} node;

typedef struct cost {
	double flops, bytes;
} cost;

/* ------------------------------------------------------------------------------------------------ building */
/* from: the allocator of everything the graph holds. train: parameters get gradients. */
rebus_status graph_new(const rebus_allocator *from, bool train, graph **out, rebus_error *err);
void graph_free(graph *g);
rebus_status graph_check(const graph *g, rebus_error *err); /* the first failure, if any */
const char *graph_text(graph *g, const char *format, ...) BASE_PRINTF(2, 3); /* a name that lives as long as the graph */


/*
 * Weights made ready for products (packs.c). A graph that is given packs before its first linear node computes its products
 * in their precision and reads them from there; one without computes in f32 from the weights as they lie. Packs are a
 * model's; sessions share them. prepare makes ready what the graph's products need and is not yet, with the runner's threads,
 * and calls done for every matrix whose own bytes are no longer read. Graph and plan must go before the packs.
 */
typedef struct pack_set pack_set;
rebus_status packs_new(const rebus_allocator *from, precision as, pack_set **out, rebus_error *err);
void packs_free(pack_set *p);
precision packs_precision(const pack_set *p); /* NULL: f32 */
size_t packs_bytes(pack_set *p);              /* what is ready takes; NULL: 0 */
rebus_status packs_measure(pack_set *p, const graph *g, const kernels *k, size_t *bytes, rebus_error *err); /* what prepare would add */
rebus_status packs_prepare(pack_set *p, const graph *g, const kernels *k, const rebus_runner *runner, void (*done)(void *user, const void *data, size_t size),
                           void *user, rebus_error *err);
const gemm_pack *packs_find(pack_set *p, const matrix *m); /* NULL: not ready */
void graph_use_packs(graph *g, pack_set *p);               /* not in a graph that trains */
pack_set *graph_packs(const graph *g);                     /* NULL: none */

space_id graph_space(graph *g, const char *name, int64_t max);
space_id graph_space_fixed(graph *g, int64_t rows);
slot graph_slot_layout(graph *g, const char *name, space_id q, space_id kv);
slot graph_slot_map(graph *g, const char *name, space_id out, int32_t taps, bool concat);
slot graph_slot_column(graph *g, const char *name, space_id rows, int32_t width);

int32_t graph_count(const graph *g); /* ids run from 1 to this */
const node *graph_node(const graph *g, node_id id);
const space *graph_space_info(const graph *g, space_id id);
const slot_info *graph_slot_info(const graph *g, slot id);
int32_t graph_spaces(const graph *g);
int32_t graph_slots(const graph *g);
node_id graph_find(const graph *g, const char *name); /* the last node of that name, 0 none */
void graph_keep(graph *g, node_id id);                /* an output: its rows are there after the run */
void graph_unkeep(graph *g, node_id id);              /* no output any more */
void graph_rename(graph *g, node_id id, const char *name);
void graph_freeze(graph *g, node_id id);              /* no gradient for this node, and none through it */

/* ------------------------------------------------------------------------------------------------ operations */
/*
 * Every operation fails on an input that is 0, and checks that rows, widths, slots and the types it reads fit. Of stacked or
 * not f32 parameters only matrix products (and moves, if it is one matrix) can read.
 */
node_id graph_input(graph *g, const char *name, space_id rows, int32_t width, slot *out); /* fed each run; needs no gradient unless asked */
void graph_want(graph *g, node_id input);                                                /* ask for an input's gradient */
node_id graph_param(graph *g, const weight *w);      /* [out, in], fixed rows; the same node for the same weight */
node_id graph_param_bias(graph *g, const weight *w); /* [1, out] */
node_id graph_view(graph *g, node_id of, int32_t column, int32_t width); /* columns of a node; without a name */

node_id graph_linear(graph *g, const char *name, node_id x, const weight *w);                    /* x W^T + b */
/* y with what the branches beside w give to the rows x; graph_linear calls it. */
node_id graph_linear_beside(graph *g, const char *name, node_id x, node_id y, const weight *w);
bool graph_has_beside(const weight *w);
/* x m / (1 - p), m = 0 with probability p for each element, else 1; x itself where the graph does not train. */
node_id graph_dropout(graph *g, const char *name, node_id x, float p);
/* The same with one m for all rows of a sample; sample: a column of width 1. */
node_id graph_drop_path(graph *g, const char *name, node_id x, float p, slot sample);
/* The column [1, 4] that says what a run draws: two words, whether it counts (else nothing is dropped), 0. make: also where there is none yet. */
slot graph_draw(graph *g, bool make);
node_id graph_add(graph *g, const char *name, node_id a, node_id b);                             /* same rows and width */
node_id graph_act(graph *g, const char *name, act_kind act, node_id x);
node_id graph_gate(graph *g, const char *name, act_kind act, node_id a, node_id b);              /* act(a) * b */
node_id graph_scale(graph *g, const char *name, node_id x, float factor);                        /* factor * x */
node_id graph_scale_columns(graph *g, const char *name, node_id x, const weight *w);             /* column c times w[c] */
node_id graph_layer_norm(graph *g, const char *name, node_id x, const weight *w, const weight *b, float eps); /* w, b NULL: none */
node_id graph_rms_norm(graph *g, const char *name, node_id x, const weight *w, float eps);
node_id graph_rms_norm_heads(graph *g, const char *name, node_id x, const weight *w, int32_t head_dim, float eps); /* each head's columns, w [head_dim] */
node_id graph_unit(graph *g, const char *name, node_id x);                                       /* x / |x|_2 a row */
/* Each head's columns as x / |x|_2, times exp(min(scale[head], most)) where there is a scale. */
node_id graph_cosine(graph *g, const char *name, node_id x, const weight *scale, int32_t head_dim, float most);
node_id graph_concat(graph *g, const char *name, const node_id *in, int count);                  /* columns side by side */
node_id graph_move(graph *g, const char *name, const node_id *in, int count, space_id out, slot map);
/* The rows that a map of one source each selects of x, and what is above x computed for those alone, as far as it works on each
 * row by itself and nobody else reads it (early.c). */
node_id graph_move_early(graph *g, const char *name, node_id x, space_id out, slot map);
node_id graph_rotate(graph *g, const char *name, node_id x, node_id cos_sin, int32_t head_dim, int pairing);
/* Rows that stay between runs; where: a column of width 1, the cache row of each, no two the same in one run. */
node_id graph_cache(graph *g, const char *name, node_id rows, space_id cache, slot where);
/* at: the layout; table: [bias_entries, heads] or 0; q_at, kv_at: [rows, 3] columns or 0 */
node_id graph_attend(graph *g, const char *name, node_id q, node_id k, node_id v, const attention *spec, slot at, node_id table, slot q_at, slot kv_at);
node_id graph_softmax(graph *g, const char *name, node_id x);
/* Mean over rows with target >= 0 of log sum exp(x) - x[target]; target: a column of width 1, negative = ignored. [1, 1] */
node_id graph_cross_entropy(graph *g, const char *name, node_id x, slot target);
/* With labels smoothed (Szegedy et al. 2016, section 7): the target's share is 1 - smooth, every class has smooth / width besides. */
node_id graph_cross_entropy_smooth(graph *g, const char *name, node_id x, slot target, float smooth);
/*
 * Mean over rows whose column is not 0 of the mean of (x - what the patch is)^2 (op_pixels.c). x: pixel by pixel; patches: the tower's,
 * channel by channel; normed: of each patch less its mean over its deviation. rows, may be NULL: the error of each row, [rows, 1].
 */
node_id graph_pixel_error(graph *g, const char *name, node_id x, node_id patches, slot dropped, int32_t channels, bool normed, node_id *rows);
node_id graph_column_sum(graph *g, const char *name, node_id x);                                 /* [1, width] */

/*
 * What the gradient reads of the forward run is kept until then, or computed once more, from what was kept, where it is needed.
 *   AGAIN_CHEAP   activations, gates, norms and rotations are computed once more: they cost little beside a product
 *   AGAIN_BLOCKS  everything between the marked nodes (Chen et al. 2016, arXiv 1604.06174); without marks as AGAIN_CHEAP
 * The kernels and what they read are the same, so the bits are.
 */
void graph_round(graph *g, precision as);       /* products, forward and backward, and the forward of attention: F32 or BF16 */
precision graph_rounds(const graph *g);
typedef enum { AGAIN_CHEAP, AGAIN_BLOCKS } again_kind;
void graph_recompute(graph *g, again_kind how);
void graph_mark(graph *g, node_id id);          /* a block ends here: its rows are kept */
node_id graph_again(graph *g, node_id id);      /* for gradients: the node that has a forward node's rows while they are computed */

/*
 * Appends the nodes that compute dL/d(every node that needs it), where dL/d out[i] = seed[i] (a node of out[i]'s shape;
 * 0: ones, for a loss of [1, 1]). Seeds are given, so that graphs chain: the gradient of a text graph's input is the seed
 * of a tower's. Call once for each graph.
 */
void graph_gradient(graph *g, const node_id *out, const node_id *seed, int count);
node_id graph_gradient_of(const graph *g, node_id id); /* 0: none was needed or nothing flows there */

/* ------------------------------------------------------------------------------------------------ one operation */
/* One planned node while it runs. Kernels get pointers and counts out of it. */
struct step {
	const op *op;
	const node *n;
	node_id id;
	const plan *plan;
	const kernels *k;
	float *out;
	int64_t ldo, rows; /* rows of this run */
	const float *in[NODE_INPUTS];
	int64_t ld[NODE_INPUTS], in_rows[NODE_INPUTS];
	int32_t in_width[NODE_INPUTS];
	float *lse;
	const gemm_pack *pack[WEIGHT_PARTS]; /* of a matrix product; NULL: the weight as it lies */
	precision as; /* of what it writes: BF16, INT8 are narrow rows, where op.narrows said so */
	/* fused into a matrix product */
	act_kind act;
	const float *residual;
	int64_t ldr;
	node_id in_id[NODE_INPUTS], residual_id;
	node_id shown; /* the node whose name and width a profile shows: id, or what was rounded into it */
	int64_t tasks;
};
const void *step_at(const step *s, slot id); /* this run's layout, row map, column or input */
const graph *plan_graph(const plan *p);
int64_t plan_rows_now(const plan *p, space_id rows);
plan_rows plan_matrix(const plan *p, node_id id); /* any planned node; its memory may be another node's by then */

struct op {
	const char *name;
	bool (*shape)(graph *g, node *n);                 /* checks inputs, sets rows and width; false after graph_fail */
	void (*cost)(const step *s, cost *c);             /* of this run */
	rebus_status (*check)(const step *s, rebus_error *err); /* whether what this run feeds fits; NULL: nothing to ask */
	size_t (*scratch)(const graph *g, const node *n, const kernels *k); /* bytes a thread needs at maximum rows; NULL none */
	int64_t (*tasks)(const step *s);                  /* how the work is cut: by shape only */
	void (*forward)(const step *s, int64_t task, void *scratch); /* NULL: nothing to compute (sources, views) */
	void (*gradient)(graph *g, node_id self, node_id d_out);     /* appends nodes, hands them on with graph_flow */
	bool (*narrows)(const node *n, precision as);     /* whether forward can write narrow rows itself; NULL: never */
	int products;                                     /* matrix products it counts for */
};
#define OP(name) extern const op op_##name;
#include "graph/ops.h"
#undef OP

/* For the operations' own files. */
double step_writes(const step *s); /* bytes of its output */
/* One row of forward's, made in scratch (of the node's width), as row r of the step's output */
void step_narrow(const step *s, const float *row, int64_t r);
node_id graph_narrow(graph *g, node_id x, precision as); /* x rounded for products; the same node for the same x */
bool graph_is_narrow(const graph *g); /* are products of rounded rows, by its packs or by weights in blocks? Then attention's are, too */
void graph_set_narrow(graph *g);
node_id graph_append(graph *g, const op *kind, const char *name, const node_id *in, int count, const weight *w, const attr *a);
bool graph_fail(graph *g, rebus_status code, const char *format, ...) BASE_PRINTF(3, 4);      /* false */
void graph_flow(graph *g, node_id to, node_id d); /* adds d to the gradient of `to` */
bool graph_needs(const graph *g, node_id id); /* known once graph_gradient has begun */
bool graph_slot_is(const graph *g, slot id, slot_kind kind, space_id rows);
slot graph_slot_transposed(graph *g, slot map, int64_t rows_in);
bool graph_trains(const graph *g);
void graph_set_lse(graph *g, node_id attend, node_id lse); /* where attention keeps its log-sum */
int64_t graph_rows_max(const graph *g, node_id id);
float *graph_constant(graph *g, int64_t count); /* floats that live as long as the graph, zeroed; NULL after a failure */

enum { STEP_FLOATS = 16384 }; /* an elementwise task is about this many values */
int64_t step_row_block(const step *s);  /* rows a task for STEP_FLOATS values of the output's width */
int64_t step_row_tasks(const step *s);

/* ------------------------------------------------------------------------------------------------ plan and run */
typedef struct feed {
	int64_t *rows;   /* [spaces + 1] by space id; fixed spaces are filled in */
	const void **at; /* [slots + 1] by slot: const layout *, const rowmap *, const int32_t *, const float * */
} feed;
rebus_status feed_new(arena *a, const graph *g, feed *out, rebus_error *err);

typedef struct plan_info {
	size_t activations, persistent, maps, scratch, total; /* bytes */
	int32_t steps, fused;
} plan_info;
typedef struct plan_count {
	int64_t runs, steps, products;
} plan_count;

/*
 * Plans kept nodes and what they need for the maxima. All memory a run touches is taken here: `limit` bytes at most
 * (0: none). The graph must outlive the plan; it must not change any more. threads: of the runner that will run it.
 */
rebus_status plan_make(const graph *g, const kernels *k, int threads, size_t limit, const rebus_allocator *from, plan **out, rebus_error *err);
/* The same without taking the memory: what it would be. */
rebus_status plan_measure(const graph *g, const kernels *k, int threads, const rebus_allocator *from, plan_info *out, rebus_error *err);
void plan_use_packs(plan *p); /* looks again for weights that were made ready since */
void plan_free(plan *p);
plan_info plan_about(const plan *p);
plan_count plan_counts(const plan *p);
/*
 * Allocates nothing. A slot that no planned node reads need not be fed, nor one of no rows. What is fed is checked: MISUSE or
 * LIMIT, and nothing has run then. It must stay until the run is over. stop: asked wherever the team meets between steps, true ends the run
 * with CANCELLED; may be NULL.
 */
rebus_status plan_run(plan *p, const feed *f, const rebus_runner *runner, bool (*stop)(void *), void *user, rebus_error *err);
/* How many steps, in the order they run, compute nodes up to this one; and a run of steps [first, last) only, the others' rows as they are. */
int32_t plan_steps_until(const plan *p, node_id id);
rebus_status plan_run_steps(plan *p, const feed *f, int32_t first, int32_t last, const rebus_runner *runner, bool (*stop)(void *), void *user,
                            rebus_error *err);
plan_rows plan_output(const plan *p, node_id id); /* a kept node after a run */
/* Between runs: rows [to, to + rows) of every cache in that space become what [from, from + rows) are; the two do not overlap. */
void plan_copy_cached(plan *p, space_id cache, int64_t to, int64_t from, int64_t rows);
void plan_profile(plan *p, bool on);              /* measure each step of the runs from now on */
typedef struct plan_step_info {
	const char *op, *name;
	double seconds;
	cost cost; /* with rows, of the last run; seconds, of the last one that was profiled */
	int64_t rows, width;
} plan_step_info;
bool plan_step_at(const plan *p, int32_t i, plan_step_info *out);

#endif
