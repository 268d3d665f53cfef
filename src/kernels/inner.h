/*
 * inner.h - what gemm.c, attend.c and attend_back.c need of a level: one register-tiled product and a few loops over a
 * tile of scores. The algorithms are written once, above; a level gives this struct, and its table's entries bind it.
 *
 *   packed panel: B as [k][columns], zero beyond n     tile: C[m, n] (+)= A[m, k] B[k, n], A by two strides
 *
 *         columns                     a + i * row_step + p * k_step
 *      ┌───────────┐                  NT, NN: row_step lda, k_step 1;  TN: row_step 1, k_step lda
 *    k │  panel 0  │ panel 1 ...
 *      └───────────┘
 */
#ifndef REBUS_INNER_H
#define REBUS_INNER_H

#include "kernels/quant.h"

enum { TILE = ATTEND_KEYS }; /* row stride of a tile of scores */

/* One register tile of a product with a pack: see narrow rows in kernels.h. */
typedef struct {
	int64_t m, words; /* at most the tile's rows */
	const void *a;
	int64_t row_step; /* words from a row to the next */
	const void *panel;
	void *c; /* f32, or int32 for INT8 */
	int64_t ldc;
	bool add;
	/* What will be read soon, of the panels and of A: asked for on the way, so many bytes further with every word */
	const char *soon, *rows_soon;
	int64_t soon_step, rows_step;
} packed_call;

typedef struct {
	int32_t rows, columns, depth; /* of the register tile; of a panel; words of a block of k at most, a multiple of 16 */
	/* c [m, columns] = A [m, words] times a panel [words][columns]; with add, added to c. One chain over the words ascending, from 0. */
	void (*tile)(const packed_call *call);
} packed_tile;

/* The epilogue over the product of a register tile. */
typedef struct {
	int64_t rows, n;
	float *tile;                /* [rows, columns] of f32, or of int32 where there is a scale; may be written */
	int64_t columns;
	const float *scale;         /* INT8: [n] of the columns; else NULL */
	const int32_t *offset;      /* INT8: [n]: what the + 128 of the activations adds to a sum */
	const float *row_scale;     /* INT8: of row i at row_scale[i * row_step] */
	int64_t row_step;
	const float *bias;          /* [n] or NULL */
	act_kind act;
	const float *residual;      /* [rows, ldr] or NULL */
	int64_t ldr;
	float *c;
	int64_t ldc;
	uint16_t *half; /* C of bfloat16, instead of c; NULL: c */
	int64_t ldh;
} tile_end;

/* ---- products with weights in blocks (gemm_quant.c) */
enum { QUANT_PANEL = 32 };
typedef struct { /* a narrow row */
	const float *scale, *sum, *half; /* [k / 32], [k / 32], [k / 16] */
	const uint8_t *byte;             /* [k] */
} quant_row;
typedef struct { /* one to be filled */
	float *scale, *sum, *half;
	uint8_t *byte;
} quant_made;
typedef struct { /* c [m, n] = rows of A by rows of B, m < 8 */
	int64_t m, n, k, lda, ldc;
	const float *a; /* narrow rows, lda words apart */
	dtype type;
	const void *b;  /* n rows of whole blocks, one after the other */
	float *c;
	void *scratch;  /* quant_few_room bytes */
} quant_few;
typedef struct quant_lanes {
	void (*few)(const quant_few *f);
	void (*narrow)(int64_t groups, const float *x, const quant_made *row); /* whole groups; NULL: as gemm_quant.c has it */
	/* Where the level has one: up to QUANT_PANEL columns unpacked, and a tile [m, QUANT_PANEL] of up to `rows` rows over them */
	int32_t rows;
	size_t (*panel_room)(dtype type, int64_t k);
	void (*panel)(dtype type, int64_t n, int64_t k, const void *b, void *panel);
	void (*tile)(dtype type, int64_t m, int64_t k, const float *a, int64_t lda, const void *panel, float *c);
} quant_lanes;
extern const quant_lanes quant_portable, quant_avx2, quant_avx512bf16;

typedef struct {
	int32_t rows, columns, depth; /* of the register tile; of a panel: 16, 32 or 64; of a block of k */

	/* Every element: one chain over k ascending that starts from 0; with add, the result is added to c. */
	void (*tile)(int64_t m, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb,
	             float *c, int64_t ldc, bool add);
	/* A panel of up to `columns` columns, widened to f32: pack_rows from B[n, k] (transposing), pack_columns from B[k, n] */
	void (*pack_rows)(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel);
	void (*pack_columns)(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel);
	/* C[m, n] = A[m, k] B[n, k]^T for m < 8 by dot products; an element's chain depends on k alone */
	void (*few)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b, int64_t ldb, float *c,
	            int64_t ldc);

	/* Asks for memory that will be read soon: rows of `bytes` bytes, `step` bytes apart. Changes nothing. */
	void (*ahead)(int64_t rows, int64_t bytes, const void *from, int64_t step);

	/* Values of f32 as words of two bfloat16 that follow each other in k, 0 beyond k and n: pairs_rows from b [n, k] and pairs_columns
	 * from b [k, n] to a panel [words][columns]; pairs_turned from a [k, m] to rows [m][ldto words], up to 15 words more written */
	void (*pairs_rows)(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns);
	void (*pairs_columns)(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns);
	void (*pairs_turned)(int64_t m, int64_t k, const float *a, int64_t lda, uint32_t *to, int64_t ldto);

	/* One step of the online softmax over a tile s [rows, TILE]; row i sees columns lo[i] <= j < hi[i] of it, others are not
	 * read. m, l: the running maximum and sum. Leaves s = exp(s * scale + bias - m), 0 where not seen up to TILE, and in
	 * alpha the factor for what was summed before: exactly 1 for a row that sees nothing here. */
	void (*softmax_tile)(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
	                     float *l, float *alpha);
	/* p = exp(s * scale + bias - lse), 0 where not seen; s := p, dp := p * (dp - delta) (0 where not seen) */
	void (*grad_tile)(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo, const int32_t *hi,
	                  const float *lse, const float *delta);
	bool (*finite)(int64_t n, const float *x); /* no infinity or NaN among x */
	const struct attend_lanes *attend, *attend_bf16; /* attend_inner.h: tiles of attention, products in f32 and in bf16 */

	packed_tile packed[PRECISIONS];
	const quant_lanes *quant;
	void (*finish)(const tile_end *end); /* c = act(sum + bias) + residual; c may be the residual */
	void (*fetch)(const tile_end *end); /* asks for the memory that finish will read and write; the tile is computed meanwhile */
	float (*largest)(int64_t n, const float *x);                            /* max |x|; NaN if an x is not finite */
	void (*to_int8)(int64_t n, const float *x, float factor, uint8_t *y);   /* round(x * factor) + 128, to nearest even; |x * factor| < 127.5 */
	void (*to_bf16)(int64_t n, const float *x, uint16_t *y);                /* to nearest even; subnormals may become 0 */
	const kernels *table;
} inner;

extern const inner inner_portable, inner_avx2, inner_avx512, inner_avx512bf16, inner_neon;
extern const kernels kernels_portable, kernels_avx2, kernels_avx512, kernels_avx512bf16, kernels_neon;

/* softmax.c: the portable loops over a tile of scores */
void softmax_tile_portable(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                           float *l, float *alpha);
void softmax_grad_portable(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo,
                           const int32_t *hi, const float *lse, const float *delta);
bool softmax_finite_portable(int64_t n, const float *x);

/* gemm.c, gemm_avx2.c: inner.ahead */
void gemm_ahead_portable(int64_t rows, int64_t bytes, const void *from, int64_t step);
void gemm_ahead_avx2(int64_t rows, int64_t bytes, const void *from, int64_t step);

/* few.c, few_avx2.c, few_avx512.c: inner.few */
void gemm_few_portable(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b, int64_t ldb, float *c, int64_t ldc);
void gemm_few_avx2(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b, int64_t ldb, float *c, int64_t ldc);
void gemm_few_avx512(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, dtype type, const void *b, int64_t ldb, float *c, int64_t ldc);

/* attend_avx2.c */
void attend_softmax_avx2(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                         float *l, float *alpha);
void attend_grad_avx2(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo, const int32_t *hi,
                      const float *lse, const float *delta);
bool attend_finite_avx2(int64_t n, const float *x);

/* attend_avx512.c */
void attend_softmax_avx512(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                           float *l, float *alpha);
void attend_grad_avx512(int64_t rows, float *s, float *dp, float scale, const float *bias, const int32_t *lo, const int32_t *hi,
                        const float *lse, const float *delta);
bool attend_finite_avx512(int64_t n, const float *x);

/* attend_neon.c */
void attend_softmax_neon(int64_t rows, float *s, float scale, const float *bias, const int32_t *lo, const int32_t *hi, float *m,
                         float *l, float *alpha);

/* narrow_neon.c */
void narrow_tile_bf16_neon(const packed_call *p);
void narrow_tile_int8_neon(const packed_call *p);
void narrow_finish_neon(const tile_end *end);
float narrow_largest_neon(int64_t n, const float *x);
void narrow_to_int8_neon(int64_t n, const float *x, float factor, uint8_t *y);
void narrow_to_bf16_neon(int64_t n, const float *x, uint16_t *y);

/* gemm.c */
int64_t gemm_cut_tasks(const inner *in, const gemm_call *call);
size_t gemm_cut_scratch(const inner *in, const gemm_call *call);
void gemm_cut_run(const inner *in, const gemm_call *call, int64_t task, void *scratch);
int64_t gemm_depth(int64_t k, int64_t most); /* words of a block of k: blocks as equal as can be */
/* Of TN, in f32 and rounded: rows and columns of a task, how many tasks are wanted of at least so many rows, words of a block of k */
enum { TURNED_LEAST = 48, TURNED_ROWS = 196, TURNED_COLUMNS = 192, TURNED_TASKS = 4, TURNED_DEPTH = 128 };

/* gemm_rounded.c, gemm_rounded_avx512bf16.c */
int64_t gemm_rounded_tasks(const inner *in, const gemm_call *call);
size_t gemm_rounded_scratch(const inner *in, const gemm_call *call);
void gemm_rounded_run(const inner *in, const gemm_call *call, int64_t task, void *scratch);
void pairs_rows_portable(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns);
void pairs_columns_portable(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns);
void pairs_turned_portable(int64_t m, int64_t k, const float *a, int64_t lda, uint32_t *to, int64_t ldto);
void pairs_rows_avx512bf16(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns);
void pairs_columns_avx512bf16(int64_t n, int64_t k, const float *b, int64_t ldb, uint32_t *panel, int64_t columns);
void pairs_turned_avx512bf16(int64_t m, int64_t k, const float *a, int64_t lda, uint32_t *to, int64_t ldto);

/* gemm_packed.c */
int64_t gemm_packed_tasks(const inner *in, const gemm_call *call);
size_t gemm_packed_scratch(const inner *in, const gemm_call *call);
void gemm_packed_run(const inner *in, const gemm_call *call, int64_t task, void *scratch);
/* The epilogue of C's columns [column, column + n) of rows [row, row + rows), whose sums are in tile; not what INT8 adds. */
tile_end gemm_end(const gemm_call *call, int64_t row, int64_t rows, int64_t column, int64_t n, float *tile, int64_t columns);

/* gemm_quant.c */
int64_t quant_row_head(int64_t n); /* words of a narrow row before its bytes */
quant_row quant_row_of(const void *row, int64_t n);
void quant_narrow(const inner *in, int64_t n, const float *x, void *row);
size_t quant_few_room(int64_t k);
int64_t gemm_quant_tasks(const inner *in, const gemm_call *call);
size_t gemm_quant_scratch(const inner *in, const gemm_call *call);
void gemm_quant_run(const inner *in, const gemm_call *call, int64_t task, void *scratch);

/* pack.c */
size_t pack_bytes(const inner *in, precision as, int64_t n, int64_t k);
int64_t pack_panels(const inner *in, const gemm_pack *p);
void pack_panel(const inner *in, const gemm_pack *p, dtype type, const void *b, int64_t ldb, int64_t panel);
const float *pack_scales(const inner *in, const gemm_pack *p);   /* INT8: [n] */
const int32_t *pack_offsets(const inner *in, const gemm_pack *p); /* INT8: [n] */
void narrow_rows(const inner *in, precision as, int64_t rows, int64_t width, const float *x, int64_t ldx, void *y, int64_t ldy);

/* narrow.c: the portable tiles, epilogue and roundings; their AVX2 forms in narrow_avx2.c */
void narrow_tile_bf16(const packed_call *p);
void narrow_tile_int8(const packed_call *p);
void narrow_finish(const tile_end *end);
void narrow_fetch(const tile_end *end);
float narrow_largest(int64_t n, const float *x);
void narrow_to_int8(int64_t n, const float *x, float factor, uint8_t *y);
void narrow_to_bf16(int64_t n, const float *x, uint16_t *y);
void narrow_tile_bf16_avx2(const packed_call *p);
void narrow_tile_int8_avx2(const packed_call *p);
void narrow_finish_avx2(const tile_end *end);
void narrow_fetch_avx2(const tile_end *end);
float narrow_largest_avx2(int64_t n, const float *x);
void narrow_to_int8_avx2(int64_t n, const float *x, float factor, uint8_t *y);
void narrow_to_bf16_avx2(int64_t n, const float *x, uint16_t *y);
/* narrow_avx512.c */
void narrow_finish_avx512(const tile_end *end);
float narrow_largest_avx512(int64_t n, const float *x);
void narrow_to_int8_avx512(int64_t n, const float *x, float factor, uint8_t *y);
void narrow_to_bf16_avx512(int64_t n, const float *x, uint16_t *y);
/* gemm_avx512.c, for both AVX-512 levels */
void gemm_tile_avx512(int64_t m, int64_t n, int64_t k, const float *a, int64_t row_step, int64_t k_step, const float *b, int64_t ldb,
                      float *c, int64_t ldc, bool add);
void gemm_packed_tile_avx512(const packed_call *p);
void gemm_pack_rows_avx512(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel);
void gemm_pack_columns_avx512(dtype type, int64_t n, int64_t k, const void *b, int64_t ldb, float *panel);

/* layout.c and bias.c; a block is up to ATTEND_ROWS query rows of one segment */
typedef struct {
	segment seg;
	int32_t row, rows; /* first query row, how many */
} attend_block;
int64_t attend_blocks(const layout *at);
attend_block attend_find(const layout *at, int64_t block);
enum { BIAS_QUERIES = 32 };
typedef struct {
	const attention *spec;
	const float *table;
	const int32_t *q_at, *kv_at;
	int32_t *buckets; /* by distance, 0 ... BUCKET_FAR; filled where the kind is BUCKET */
	int32_t filled;
	int32_t key_a[TILE], key_b[TILE]; /* of the current tile's keys: GRID offset and region, else order */
	int32_t query_a[BIAS_QUERIES], query_b[BIAS_QUERIES]; /* of the current query rows, the same */
} attend_bias;
enum { BUCKET_FAR = 1024 };
size_t attend_bias_size(const bias_spec *b);
void attend_bias_open(attend_bias *bias, const attend_call *call, void *memory);
/* Before a tile: reads the coordinates of keys key + lo ... key + hi - 1. */
void attend_bias_keys(attend_bias *bias, int64_t key, int32_t lo, int32_t hi);
/* bias of query row q of head h against the tile's keys lo ... hi - 1 into out[lo ... hi - 1]; index: the entries used */
void attend_bias_row(const attend_bias *bias, int32_t h, int64_t q, int32_t lo, int32_t hi, float *out, int32_t *index);
/* The other way: before a tile, its up to BIAS_QUERIES query rows; then for a row of keys the bias of each of them that sees key j
 * of the tile (lo NULL: all do), 0 for the others */
void attend_bias_queries(attend_bias *bias, int64_t row, int32_t rows);
void attend_bias_against(const attend_bias *bias, int32_t h, int64_t key, int32_t j, const int32_t *lo, const int32_t *hi, int32_t rows, float *out);
/* lo, hi of rows against the tile [j0, j0 + span) of their segment; returns the union in *from, *to (from >= to: none see it)
 * and whether some row sees less than the union */
bool attend_seen(const layout *at, const attend_block *b, int32_t j0, int32_t span, int32_t *lo, int32_t *hi, int32_t *from, int32_t *to);

/* attend.c; its tiles: attend_inner.h */
int64_t attend_cut_tasks(const attend_call *call);
size_t attend_cut_scratch(const attention *spec);
void attend_cut_run(const inner *in, const attend_call *call, int64_t task, void *scratch);
/* attend_row.c */
/* s := cap tanh(s scale / cap), columns from ... to of every row; what is left to scale by: 1, without a cap spec->scale */
float attend_cap(const inner *in, const attention *spec, int64_t rows, int32_t from, int32_t to, float *s);
/* Query row `row` of a segment, head h, by dot products */
size_t attend_row_size(const attention *spec);
void attend_row(const inner *in, const attend_call *call, const segment *seg, int32_t row, int32_t h, void *scratch);

/* attend_back.c */
int64_t attend_back_dq_tasks(const attend_back_call *call);
int64_t attend_back_dkv_tasks(const attend_back_call *call);
int64_t attend_back_dtable_tasks(const attend_back_call *call);
size_t attend_back_size(const attention *spec);
void attend_back_dq(const inner *in, const attend_back_call *call, int64_t task, void *scratch);
void attend_back_dkv(const inner *in, const attend_back_call *call, int64_t task, void *scratch);
void attend_back_dtable(const inner *in, const attend_back_call *call, int64_t task, void *scratch);

#endif
