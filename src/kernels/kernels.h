/*
 * kernels.h - the table of kernels, and the plain types they share with everything above: dtypes, row maps, attention
 * layouts, score bias, matrix product.
 *
 * Kernels see pointers and counts, never a node or a step. One portable C version (kernels_*.c without a suffix) is the
 * definition; files with an ISA suffix overwrite entries of the table at run time, lowest level first. Only such files
 * include intrinsics, and each is compiled with the flags its suffix names.
 *
 * Determinism. The result of a row never depends on how many other rows there are, on where it lies, or on the number of
 * threads: work is cut by shape only. Across levels only the stated error bounds hold.
 *
 * Aliasing: no output overlaps an input unless an entry says "may be in place". Alignment: none required. Every count may
 * be 0. Tails of any length are handled; nothing is read or written outside the stated ranges.
 */
#ifndef REBUS_KERNELS_H
#define REBUS_KERNELS_H

#include "base/base.h"

/* From DT_Q4_0 on values come in blocks (quant.h); rows of them are whole blocks. */
typedef enum {
	DT_F32, DT_F16, DT_BF16, DT_I32, DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_COUNT
} dtype;

size_t dtype_size(dtype type);                  /* bytes of a value; 0 where values come in blocks */
int64_t dtype_block(dtype type);                /* values of a block; 1 where they do not */
size_t dtype_bytes(dtype type, int64_t values); /* whole blocks */
const char *dtype_name(dtype type);
float dtype_half(uint16_t bits);     /* IEEE half to float, exact */
float dtype_bfloat(uint16_t bits);   /* bfloat16 to float, exact */
uint16_t dtype_to_bfloat(float x);   /* round to nearest even */
uint16_t dtype_to_half(float x);     /* round to nearest even */

/*
 * The row map: the only way rows move. out[i] is, over start[i] <= j < start[i + 1] (start NULL: taps each),
 *   sum:     sum of coef[j] * in[from[j]]                       (coef NULL: 1)
 *   concat:  in[from[j]] side by side, taps each; coef is NULL, start is NULL
 * A `from` of -1 reads a zero row. Several inputs count as stacked, in order, by their row counts of this run.
 */
typedef struct {
	int64_t rows_out, rows_in;
	int32_t taps;
	bool concat;
	const int32_t *start; /* [rows_out + 1] or NULL */
	const int32_t *from;
	const float *coef;
} rowmap;

/*
 * The attention layout: data of a run, never shape. A segment pairs a range of query rows with a range of key rows. Each
 * query row sees keys [lo, hi) counted from its segment's kv0 (lo, hi NULL: all of its segment). Segments are in
 * ascending order of q0 and their query ranges do not overlap; key ranges may. A query row in no segment, or with
 * lo == hi, gets exactly 0. first is made by layout_finish.
 */
typedef struct {
	int32_t q0, q1, kv0, kv1;
} segment;
typedef struct {
	int32_t count;
	const segment *seg;
	const int32_t *lo, *hi;  /* [query rows] */
	const int32_t *first;    /* [count + 1]: blocks of ATTEND_ROWS query rows before this segment */
} layout;
enum { ATTEND_ROWS = 64, ATTEND_KEYS = 64 };
void layout_finish(layout *l, int32_t *first /* [count + 1], caller's */);

/*
 * Score bias from coordinates, made inside the tile. Added to scale * q.k before the softmax:
 *   GRID    table[((yq - yk) + side[0] - 1) * (2 side[1] - 1) + (xq - xk) + side[1] - 1][head]; |differences| < side
 *           (Swin's relative position bias, Liu et al. 2021), and other_region where the regions differ
 *   BUCKET  table[bucket(order_k - order_q)][head], T5's buckets (Raffel et al. 2020): buckets, far, both_ways
 *   SLOPE   -slope[head] * |order_q - order_k| with slope = table[0][head] (ALiBi, Press et al. 2022)
 * Coordinates are [rows, 3] int32: y, x, region for GRID; order, unused, region for the others.
 */
typedef enum { BIAS_NONE, BIAS_GRID, BIAS_BUCKET, BIAS_SLOPE } bias_kind;
typedef struct {
	bias_kind kind;
	int32_t side[2], buckets, far;
	bool both_ways;
	float other_region;
} bias_spec;
int64_t bias_entries(const bias_spec *b); /* rows of the table */

typedef struct {
	int32_t heads, kv_heads, head_dim, v_dim; /* heads is a multiple of kv_heads; query head h reads kv head h / (heads / kv_heads) */
	float scale;
	float cap; /* scores: cap tanh(scale q.k / cap) before the softmax (Gemma 2); 0: as they are. Not together with a bias. */
	bias_spec bias;
} attention;

typedef enum { ACT_NONE, ACT_RELU, ACT_GELU, ACT_GELU_TANH, ACT_QUICK_GELU, ACT_SILU, ACT_TANH, ACT_SIGMOID, ACT_COUNT } act_kind;
/* Names of configurations: relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, quick_gelu, silu, swish, tanh, sigmoid, linear */
bool act_parse(const char *name, act_kind *out);

/*
 * Precision of matrix products: what the factors are rounded to. Sums are f32 (int8: exact, in 32 bits), outputs always f32.
 *   F32   as they are
 *   BF16  both factors rounded to bfloat16, to nearest even
 *   INT8  a row of activations and an output's row of weights each become 8-bit numbers and a scale, round(x / scale) with
 *         scale = max |x| / 127, so that the sum of products is exact and the same at every level
 */
typedef enum {
	PRECISION_F32, PRECISION_BF16, PRECISION_INT8, PRECISIONS,
	PRECISION_BLOCKS = PRECISIONS /* of rows only: groups of 32 in 8 bits with a scale each, for weights in blocks (gemm_quant.c) */
} precision;
bool precision_parse(const char *name, precision *out); /* f32, bf16, int8 */
const char *precision_name(precision p);

/*
 * Narrow rows, in units of 32-bit words, so that a row has the same shape for every product's inner loop:
 *   BF16  [width / 2 words of two values]
 *   INT8  [scale, f32][width / 4 words of four bytes, value + 128]      what is beyond the width is zero (128)
 *   BLOCKS  gemm_quant.c
 */
int64_t narrow_words(precision as, int64_t width); /* of one row, scale included; F32: width */
enum { INT8_DEPTH = 65536 };                       /* the most k of an INT8 product: beyond it the sums could overflow */

/* A matrix B[n, k] made ready once for products NT, in panels of the level's own shape. */
typedef struct gemm_pack {
	precision as;
	int64_t n, k;
	void *data; /* pack_size bytes, 64-byte aligned */
} gemm_pack;

/*
 * Matrix product. An element of C is one chain of fused multiply-adds over k in ascending order, cut into partial sums at
 * multiples of the level's fixed kc, the partial sums added in ascending order; never cut by m, n, tile or thread. With
 * fewer than 8 rows (m < 8) a second chain may be used, the same for every m < 8.
 *   NT  C[m, n] = A[m, k] B[n, k]^T    y = x W^T
 *   NN  C[m, n] = A[m, k] B[k, n]      dx = dy W
 *   TN  C[m, n] = A[k, m]^T B[k, n]    dW = dy^T x
 * then C = act(C + bias) + residual. residual may be c itself. k == 0 gives the epilogue of 0.
 *
 * Products of BF16 without a pack have one chain for every m, over pairs, cut at multiples of a depth that k gives.
 *
 * With a pack (NT only) b is not read, and what is said holds for every m, 1 to 7 too. BF16 and INT8 packs: a points to
 * narrow rows and lda counts their words. A word is then what a value is above: chains over pairs of products for BF16; an
 * INT8 sum is exact, and C = act(scale of the row * scale of the column * sum + bias) + residual.
 */
typedef enum { GEMM_NT, GEMM_NN, GEMM_TN } gemm_form;
typedef struct {
	gemm_form form;
	int64_t m, n, k;
	const float *a;
	int64_t lda;
	const void *b; /* where it lies: any alignment of its type's size, widened to f32 on the fly */
	int64_t ldb;
	dtype b_type; /* F32, F16, BF16; in NT also blocks: then a points to narrow rows of BLOCKS and lda counts their words */
	float *c;
	int64_t ldc;
	const float *bias;     /* [n] or NULL */
	act_kind act;
	const float *residual; /* [m, ldr] or NULL */
	int64_t ldr;
	const gemm_pack *pack; /* B made ready, or NULL */
	precision products;    /* without a pack, B of f32: BF16 rounds both factors on the fly; else F32 */
	bool whole;            /* NT without a pack: fewer than 8 rows take the chain of 8 and more, which is that of an F32 pack */
	precision c_as;        /* BF16: C is narrow rows, ldc counts their words; n is even then, with a pack only */
} gemm_call;

/* One attention over a layout. q [q rows, heads * head_dim], k [kv rows, kv_heads * head_dim], v [kv rows, kv_heads * v_dim],
 * out [q rows, heads * v_dim], rows by the strides given. lse [q rows, heads]: log of the sum of exp of the scores
 * (-INFINITY where a row sees nothing), or NULL. */
typedef struct {
	const attention *spec;
	const layout *at;
	int64_t q_rows, kv_rows;
	const float *q, *k, *v;
	int64_t ldq, ldk, ldv, ldo;
	const float *table;       /* [bias_entries, heads] or NULL */
	const int32_t *q_at, *kv_at; /* [rows, 3] or NULL */
	float *out;
	float *lse;
	dtype products; /* DT_BF16: operands of both products rounded to bf16, sums and softmax in f32; else all in f32 */
	precision out_as; /* BF16: out is narrow rows, ldo counts their words; v_dim is even then */
} attend_call;

/* Its gradient. delta [q rows, heads] = sum over v_dim of d_out * out. Any of dq, dkv, d_table NULL: not wanted. */
typedef struct {
	attend_call f;        /* the forward's own call: q, k, v, layout, bias; out and lse are read */
	const float *d_out;   /* [q rows, heads * v_dim] */
	int64_t ld_dout;
	const float *delta;
	float *dq;            /* [q rows, heads * head_dim] */
	int64_t ld_dq;
	float *dkv;           /* [kv rows, kv_heads * head_dim + kv_heads * v_dim]: dk then dv */
	int64_t ld_dkv;
	float *d_table;       /* [bias_entries, heads] */
} attend_back_call;

/*
 * Weighted sums of bytes along an axis, for resizing pictures (vision/resize.h): position i of n_out is
 *   clip((sum over j < count[i] of q[i][j] * in[lo[i] + j] + 2^(shift - 1)) >> shift, 0, 255)
 * in exact integers, so every level gives the same bits. No sum passes 31 bits; |q| < 2^25; 0 <= count <= taps.
 */
typedef struct {
	int32_t n_in, n_out, shift;
	int32_t taps;          /* places a position has in q; a multiple of 4 */
	bool narrow;           /* every q fits 16 bits */
	const int32_t *lo, *count; /* [n_out] */
	const int32_t *q;      /* [n_out, taps], 0 from count on */
	const int16_t *low, *high; /* [n_out, taps]: q = 2048 * high + low; narrow: low is q, high is not read */
} resample;

typedef struct kernels {
	cpu_level level;

	/* ---- matrix product: gemm_run(call, t, scratch) for every t in 0 ... gemm_tasks(call) - 1, in any order, any thread.
	 * gemm_scratch: bytes one task needs, for any shape up to the given one; 64-byte aligned by the caller. */
	int64_t (*gemm_tasks)(const gemm_call *call);
	size_t (*gemm_scratch)(const gemm_call *call);
	void (*gemm_run)(const gemm_call *call, int64_t task, void *scratch);

	/* ---- a pack: pack_size bytes; pack_run(pack, type, b, ldb, t) for every t in 0 ... pack_tasks - 1 fills it, in any order,
	 * any thread. Packs are read by the level that made them only. */
	size_t (*pack_size)(precision as, int64_t n, int64_t k);
	int64_t (*pack_tasks)(const gemm_pack *p);
	void (*pack_run)(const gemm_pack *p, dtype type, const void *b, int64_t ldb, int64_t task);
	/* rows of x as narrow rows of y, ldy words apart. A row of INT8 that holds an infinity or a NaN gets the scale NaN. */
	void (*narrow)(precision as, int64_t rows, int64_t width, const float *x, int64_t ldx, void *y, int64_t ldy);

	/* ---- attention; in tiles with an online softmax, counted from kv0, linear memory. Segments of fewer than 8 query rows take f32
	 * products whatever the call says. The gradient takes f32 everywhere.
	 * The last task also zeroes query rows that are in no segment. exp: own, relative error <= 2e-7. */
	int64_t (*attend_tasks)(const attend_call *call);
	size_t (*attend_scratch)(const attention *spec);
	void (*attend_run)(const attend_call *call, int64_t task, void *scratch);
	/* three passes over the same tiles, each with tasks of its own; a pass fills its whole output (rows in no segment: 0) */
	int64_t (*attend_dq_tasks)(const attend_back_call *call);
	void (*attend_dq_run)(const attend_back_call *call, int64_t task, void *scratch);
	int64_t (*attend_dkv_tasks)(const attend_back_call *call);
	void (*attend_dkv_run)(const attend_back_call *call, int64_t task, void *scratch);
	int64_t (*attend_dtable_tasks)(const attend_back_call *call);
	void (*attend_dtable_run)(const attend_back_call *call, int64_t task, void *scratch);
	size_t (*attend_back_scratch)(const attention *spec);

	/* ---- norms over rows of `width`; sums in f32 with a fixed order (mean first, then squared differences).
	 * layer: y = (x - mean) * rstd * w + b (w, b may be NULL); rms: y = x * rstd * w. rstd = 1 / sqrt(var + eps).
	 * stats [rows, 2]: mean, rstd (rms: mean 0). */
	void (*layer_norm)(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, const float *b, float eps, float *y, int64_t ldy);
	void (*rms_norm)(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *w, float eps, float *y, int64_t ldy);
	void (*norm_stats)(int64_t rows, int64_t width, const float *x, int64_t ldx, float eps, bool rms, float *stats);
	/* dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy * w, xhat = (x - mean) * rstd; rms: without mean(g) */
	void (*norm_dx)(int64_t rows, int64_t width, const float *x, int64_t ldx, const float *stats, const float *w, bool rms,
		const float *dy, int64_t lddy, float *dx, int64_t lddx);
	/* dw[c] = sum over rows, ascending, of dy * xhat, for columns [c0, c1); dw points at column 0 */
	void (*norm_dw)(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, const float *stats, const float *dy, int64_t lddy, float *dw);

	/* ---- elementwise over n values; may be in place (y == x, dx == dy).
	 * act: own exp, erf, tanh; absolute error <= 1e-6 of max(1, |result|).  act_back: dx = dy * act'(x).
	 * gate: y = act(a) * b.  gate_back: da = dy * b * act'(a), db = dy * act(a). */
	void (*act)(act_kind kind, int64_t n, const float *x, float *y);
	void (*act_back)(act_kind kind, int64_t n, const float *x, const float *dy, float *dx);
	void (*gate)(act_kind kind, int64_t n, const float *a, const float *b, float *y);
	void (*gate_back)(act_kind kind, int64_t n, const float *a, const float *b, const float *dy, float *da, float *db);
	void (*add)(int64_t n, const float *a, const float *b, float *y);            /* y = a + b */
	void (*axpy)(int64_t n, float s, const float *x, float *y);                  /* y += s * x */
	void (*scale)(int64_t n, float s, const float *x, float *y);                 /* y = s * x */
	void (*widen)(dtype type, int64_t n, const void *x, float *y);               /* to f32, exact */
	float (*dot)(int64_t n, const float *a, const float *b);                     /* fixed order */
	/* s[c] = sum over rows, ascending, of x[r][c], for columns [c0, c1) */
	void (*column_sum)(int64_t rows, int64_t c0, int64_t c1, const float *x, int64_t ldx, float *s);

	/* ---- rotary: rows of `heads` heads of head_dim; cos_sin [rows, 2 * half] holds cos then sin, half = pairs rotated.
	 * pairing 0 (half-split): (x[i], x[i + half]); 1 (interleaved): (x[2i], x[2i + 1]). y1 = x1 c - x2 s, y2 = x2 c + x1 s;
	 * dims from 2 * half on are copied. sign -1 rotates back (the gradient). May be in place. */
	void (*rotate)(int64_t rows, int32_t heads, int32_t head_dim, int32_t half, int pairing, float sign, const float *x,
		int64_t ldx, const float *cos_sin, int64_t ldc, float *y, int64_t ldy);

	/* ---- softmax of each row; row_max and sum in a fixed order. Own exp. -INFINITY gives 0; a row of all -INFINITY gives 0. */
	void (*softmax)(int64_t rows, int64_t width, const float *x, int64_t ldx, float *y, int64_t ldy);
	/* dx = y * (dy - sum(dy * y)) */
	void (*softmax_back)(int64_t rows, int64_t width, const float *y, int64_t ldy, const float *dy, int64_t lddy, float *dx, int64_t lddx);
	/* log of the sum of exp of a row; -INFINITY if empty */
	float (*log_sum_exp)(int64_t width, const float *x);

	/* ---- pictures of bytes, exact. across: in [rows, n_in, channels] -> out [rows, n_out, channels], rows by the strides
	 * given, 1 to 4 channels; down: in [n_in, width] -> out [n_out, width]. */
	void (*resample_across)(const resample *x, int64_t rows, int32_t channels, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo);
	void (*resample_down)(const resample *x, int64_t width, const uint8_t *in, int64_t ldi, uint8_t *out, int64_t ldo);
} kernels;

/* The table of a level, clipped to what the processor has and this build contains. Constant, thread-safe, never NULL. */
const kernels *kernels_get(cpu_level level);

#endif
