/*
 * test_ops.c - every operation that can be differentiated: its rows against a double reference, its gradient against
 * central differences of that reference, at every level this processor has.
 *
 *   case ─build─► graph + data ─► plan ─► rows        ─┬─ relative L2 <= ROWS_BOUND ─── reference, double
 *                                      └► gradients   ─┴─ relative L2 <= GRADIENT_BOUND ── (L(x + h) - L(x - h)) / 2h
 *
 * The loss is each output times a normal matrix. In double with h = 1e-5 a difference is good to about 1e-9, so what is
 * left is the library's own f32 rounding. Measured: rows 2.8e-7 at worst; gradients 5.4e-6 (ALiBi, whose scores reach -70),
 * 1.6e-6 (a norm of one column, all cancellation), and below 6e-7 everywhere else. The bounds stand a factor of five above.
 * A tensor's error is taken over its elements (DIFFERENCES of them, drawn, in a large one) and relative to the norm, but to
 * no less than FLOOR: where the true gradient vanishes (a key's shift under softmax), only rounding of terms of size one is
 * left.
 */
#include "graph_reference.h"

#define ROWS_BOUND 1.5e-6
#define GRADIENT_BOUND 2.5e-5
#define FLOOR 0.3

enum { DIFFERENCES = 40 };

typedef struct {
	const char *name;
	void (*build)(graph_case *c, int v);
	int v;
} op_case;

/* ------------------------------------------------------------------------------------------------ elementwise, linear */
static const int64_t parts_of[3][3] = {{10, 0, 0}, {6, 4, 0}, {7, 1, 5}};

/* v: type, parts - 1, bias (0 none, 1 all, 2 all but the second), shape */
static void build_linear(graph_case *c, int v)
{
	dtype type = (dtype)(v % 4);
	int parts = v / 4 % 4, bias = v / 16 % 4;
	weight *w = case_weight(c, type, 9, parts_of[parts], bias == 1 ? 7 : bias == 2 ? 5 : 0);
	case_out(c, graph_linear(c->g, "y", case_input(c, case_space(c, v >= 64 ? 5 : 11), 9), w));
}
#define LINEAR(type, parts, bias) DT_##type + 4 * ((parts)-1) + 16 * (bias)

static void build_wide(graph_case *c, int v)
{
	int64_t out[3] = {130, v ? 70 : 0, 0};
	node_id x = case_input(c, case_space(c, v ? 70 : 6), 300);
	case_out(c, graph_linear(c->g, "y", x, case_weight(c, v ? DT_F32 : DT_BF16, 300, out, 1)));
}

static void build_no_rows(graph_case *c, int v)
{
	(void)v;
	node_id x = graph_layer_norm(c->g, "n", case_input(c, case_space(c, 0), 8), case_vector(c, 8), case_vector(c, 8), 1e-5f);
	case_out(c, graph_linear(c->g, "y", x, case_matrix(c, DT_F32, 12, 8, true)));
	case_out(c, graph_column_sum(c->g, "s", x));
}

/* linear, act, add: what the plan makes one step of */
static void build_fused(graph_case *c, int v)
{
	space_id s = case_space(c, 12);
	node_id x = case_input(c, s, 8), r = case_input(c, s, 8);
	node_id y = graph_linear(c->g, "up", x, case_weight(c, DT_F32, 8, parts_of[1], 3));
	y = graph_act(c->g, "act", ACT_GELU, y);
	y = graph_linear(c->g, "down", y, case_matrix(c, DT_F32, 8, 10, true));
	if (v == 2) /* of two activations one belongs to the product */
		y = graph_act(c->g, "second", ACT_TANH, graph_act(c->g, "first", ACT_SILU, y));
	y = v ? graph_add(c->g, "sum", r, y) : graph_add(c->g, "sum", y, x);
	if (v == 3) { /* stacked parts, and what is added is a view */
		y = graph_linear(c->g, "stacked", y, case_weight(c, DT_F32, 8, (int64_t[]){3, 2, 1}, 7));
		y = graph_add(c->g, "sum2", graph_act(c->g, "act2", ACT_TANH, y), graph_view(c->g, r, 2, 6));
	}
	case_out(c, y);
}

static void build_add(graph_case *c, int v)
{
	space_id s = case_space(c, 7);
	node_id a = case_input(c, s, 12), b = case_input(c, s, 12);
	if (v == 0)
		case_out(c, graph_add(c->g, "y", a, b));
	else if (v == 1)
		case_out(c, graph_add(c->g, "y", a, a));
	else
		case_out(c, graph_add(c->g, "y", graph_view(c->g, a, 1, 5), graph_view(c->g, a, 4, 5)));
}

static void build_act(graph_case *c, int v)
{
	case_out(c, graph_act(c->g, "y", (act_kind)v, case_input(c, case_space(c, 9), 37)));
}

static void build_gate(graph_case *c, int v)
{
	node_id x = case_input(c, case_space(c, 9), 42);
	case_out(c, graph_gate(c->g, "y", (act_kind)v, graph_view(c->g, x, 0, 21), graph_view(c->g, x, 21, 21)));
}

static void build_scale(graph_case *c, int v)
{
	node_id x = case_input(c, case_space(c, 9), 42);
	if (v == 0)
		case_out(c, graph_scale(c->g, "y", graph_view(c->g, x, 3, 21), 0.3f));
	else
		case_out(c, graph_scale_columns(c->g, "y", v == 1 ? x : graph_view(c->g, x, 5, 33), case_vector(c, v == 1 ? 42 : 33)));
}

/* v: of one head, of three, of three in a view */
static void build_norm_heads(graph_case *c, int v)
{
	int32_t d = v ? 11 : 70;
	node_id x = case_input(c, case_space(c, 9), v ? 42 : 70);
	case_out(c, graph_rms_norm_heads(c->g, "y", v == 2 ? graph_view(c->g, x, 4, 33) : v ? graph_view(c->g, x, 0, 33) : x, case_vector(c, d), d, 1e-5f));
}

static void build_norm_bare(graph_case *c, int v)
{
	(void)v;
	case_out(c, graph_layer_norm(c->g, "y", case_input(c, case_space(c, 9), 33), NULL, NULL, 1e-5f));
}

/* v: 0 plain; else with a scale, one head of it beyond `most` */
static void build_cosine(graph_case *c, int v)
{
	node_id x = case_input(c, case_space(c, 9), 42);
	weight *w = v ? case_vector(c, 3) : NULL;
	if (v)
		((float *)(uintptr_t)w->f32)[1] = 1.5f;
	case_out(c, graph_cosine(c->g, "y", graph_view(c->g, x, 4, 33), w, 11, 1.2f));
}

static void build_concat(graph_case *c, int v)
{
	space_id s = case_space(c, 7);
	node_id a = case_input(c, s, 3), b = case_input(c, s, 8);
	node_id in[] = {a, graph_view(c->g, b, 2, 4), b, a, graph_view(c->g, b, 1, 1), a};
	case_out(c, graph_concat(c->g, "y", in, v));
}

/* ------------------------------------------------------------------------------------------------ norms, losses */
static void build_norm(graph_case *c, int v)
{
	int32_t width = v / 4 ? v / 4 : 40;
	node_id x = case_input(c, case_space(c, 9), width);
	weight *w = case_vector(c, width);
	if (v % 4 == 0)
		case_out(c, graph_layer_norm(c->g, "y", x, w, NULL, 1e-5f));
	else if (v % 4 == 1)
		case_out(c, graph_layer_norm(c->g, "y", x, w, case_vector(c, width), 1e-6f));
	else if (v % 4 == 2)
		case_out(c, graph_rms_norm(c->g, "y", x, w, 1e-5f));
	else
		case_out(c, graph_unit(c->g, "y", x));
}

static void build_softmax(graph_case *c, int v)
{
	case_out(c, graph_softmax(c->g, "y", case_input(c, case_space(c, 6), v)));
}

static void build_entropy(graph_case *c, int v)
{
	int32_t target[9];
	space_id s = case_space(c, 9);
	for (int i = 0; i < 9; i++)
		target[i] = v == 2 || (v == 1 && i % 3 == 1) ? -100 : case_below(c, 13);
	case_out(c, graph_cross_entropy(c->g, "loss", case_input(c, s, 13), case_column(c, s, 1, case_ints(c, target, 9))));
}

/* v: 0 plain, 1 normed, 2 nothing dropped, 3 through a product, a view and several tasks' rows */
static void build_pixels(graph_case *c, int v)
{
	int32_t at[300], rows = v == 3 ? 300 : 7, wide = v == 3 ? 108 : 12;
	space_id s = case_space(c, rows);
	slot in;
	for (int i = 0; i < rows; i++)
		at[i] = v == 2 ? 0 : case_below(c, 3) > 0;
	node_id patches = graph_input(c->g, "patches", s, wide, &in), x = case_input(c, s, v == 3 ? 5 : wide);
	float *values = case_floats(c, (int64_t)rows * wide, 1);
	c->at[in] = values;
	if (v == 3)
		x = graph_view(c->g, graph_linear(c->g, "said", x, case_matrix(c, DT_F32, wide + 4, 5, true)), 3, wide);
	case_out(c, graph_pixel_error(c->g, "loss", x, patches, case_column(c, s, 1, case_ints(c, at, rows)), v == 1 ? 2 : 3, v == 1 || v == 3, NULL));
}

static void build_column_sum(graph_case *c, int v)
{
	node_id x = case_input(c, case_space(c, 9), 150);
	case_out(c, graph_column_sum(c->g, "y", v ? graph_view(c->g, x, 70, 67) : x));
}

/* ------------------------------------------------------------------------------------------------ chance */
static void draw_for(graph_case *c, bool counts)
{
	c->at[graph_draw(c->g, true)] = case_ints(c, (int32_t[]){case_below(c, INT32_MAX), -7, counts, 0}, 4);
}

/* v: by element, evaluated (nothing drops), by sample, a view */
static void build_dropout(graph_case *c, int v)
{
	static const int32_t sample[] = {0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5, 6};
	space_id s = case_space(c, 13);
	node_id x = case_input(c, s, 33);
	x = v == 3 ? graph_view(c->g, x, 3, 21) : x;
	x = v == 2 ? graph_drop_path(c->g, "y", x, 0.4f, case_column(c, s, 1, case_ints(c, sample, 13))) : graph_dropout(c->g, "y", x, 0.3f);
	draw_for(c, v != 1);
	case_out(c, graph_scale(c->g, "z", x, 2));
}

/* v: one matrix; two of three parts; one branch beside two parts and one beside the third; with dropout */
static void build_beside(graph_case *c, int v)
{
	weight *w = case_weight(c, DT_F32, 9, v ? (int64_t[]){6, 4, 7} : (int64_t[]){10, 0, 0}, v == 1 ? 7 : 1);
	adapter *b = case_get(c, 2, sizeof *b);
	int32_t at[2] = {0, v == 2 ? 2 : 1}, parts[2] = {v == 2 ? 2 : 1, 1};
	for (int i = 0; i < (v ? 2 : 1); i++) {
		int64_t outputs = 0;
		for (int p = at[i]; p < at[i] + parts[i]; p++)
			outputs += w->part[p].out;
		b[i] = (adapter){.down = case_matrix(c, DT_F32, 3, 9, false), .up = case_matrix(c, DT_F32, outputs, 3, false), .scale = 1.5f, .parts = parts[i],
			.drop = v == 3 ? 0.25f : 0};
		w->beside[at[i]] = &b[i];
	}
	case_out(c, graph_linear(c->g, "y", case_input(c, case_space(c, 11), 9), w));
	if (v == 3)
		draw_for(c, true);
}

/* ------------------------------------------------------------------------------------------------ moves */
static const int32_t gather[] = {3, -1, 0, 3, 3, 6, -1, 2, 5, 1, 4, 0};
static const int32_t starts[] = {0, 0, 3, 4, 4, 9, 12};
static const float coefs[] = {0.5f, -1, 2, 0.25f, 1, 1, -0.75f, 3, 0.1f, 0.2f, -0.3f, 0};

static void build_move(graph_case *c, int v)
{
	static const struct {
		int64_t rows;
		int32_t taps;
		bool concat, start, coef;
	} kinds[] = {{12, 1, false, false, false}, {6, 2, false, true, true}, {4, 3, false, false, true}, {3, 4, true, false, false},
		{6, 2, false, false, false}, {6, 2, false, true, false}, {12, 1, false, false, true}, {12, 1, true, false, false}};
	space_id in = case_space(c, 7), out = case_space(c, kinds[v].rows);
	rowmap m = {.rows_out = kinds[v].rows, .rows_in = 7, .taps = kinds[v].taps, .concat = kinds[v].concat, .from = gather,
		.start = kinds[v].start ? starts : NULL, .coef = kinds[v].coef ? coefs : NULL};
	slot map = case_map(c, out, kinds[v].taps, m);
	node_id x = case_input(c, in, 10), y = graph_view(c->g, x, 3, 5);
	case_out(c, graph_move(c->g, "y", &x, 1, out, map));
	case_out(c, graph_move(c->g, "z", &y, 1, out, map)); /* one map, two uses, one of them of a view */
}

/* an embedding table, features and a learned row, stacked; v: the table's type, 3: only the table */
static void build_embedding(graph_case *c, int v)
{
	space_id s = case_space(c, 12), features = case_space(c, 4);
	int32_t from[12];
	for (int i = 0; i < 12; i++)
		from[i] = i % 5 == 4 ? -1 : case_below(c, v == 3 ? 20 : 25);
	slot map = case_map(c, s, 1, (rowmap){.rows_out = 12, .rows_in = v == 3 ? 20 : 25, .taps = 1, .from = case_ints(c, from, 12)});
	node_id in[] = {graph_param(c->g, case_matrix(c, v == 3 ? DT_F32 : (dtype)v, 20, 6, false)), case_input(c, features, 6),
		graph_param(c->g, case_vector(c, 6))};
	case_out(c, graph_move(c->g, "y", in, v == 3 ? 1 : 3, s, map));
}

/* ------------------------------------------------------------------------------------------------ rotation, cache */
static void build_rotate(graph_case *c, int v)
{
	space_id s = case_space(c, 9);
	node_id x = case_input(c, s, 24), y = case_input(c, s, v / 2 ? 4 : 8);
	case_out(c, graph_rotate(c->g, "y", x, y, 8, v % 2));
}

/* Not learned: cos and sin of angles, which no gradient reaches; x is a view. */
static void build_rotate_fixed(graph_case *c, int v)
{
	space_id s = case_space(c, 9);
	node_id x = case_input(c, s, 30), y = case_input(c, s, 6);
	graph_freeze(c->g, y);
	case_out(c, graph_rotate(c->g, "y", graph_view(c->g, x, 2, 24), y, 8, v));
}

static void build_cache(graph_case *c, int v)
{
	static const int32_t where[] = {4, 5, 6, 7, 8, 14, 15, 16, 2}, hi[] = {1, 2, 3, 4, 5, 1, 2, 3, 1};
	static const int32_t lo[9] = {0};
	static const segment seg[] = {{0, 5, 4, 9}, {5, 8, 14, 17}, {8, 9, 2, 3}};
	space_id s = case_space(c, 9), cache = case_space(c, 20);
	slot at = case_column(c, s, 1, where);
	node_id x = case_input(c, s, 24);
	node_id k = graph_cache(c->g, "k", graph_view(c->g, x, 8, 8), cache, at), w = graph_cache(c->g, "v", graph_view(c->g, x, 16, 8), cache, at);
	attention spec = {.heads = 2, .kv_heads = 2, .head_dim = 4, .v_dim = 4, .scale = 0.5f};
	(void)v;
	case_out(c, graph_attend(c->g, "y", graph_view(c->g, x, 0, 8), k, w, &spec, case_layout(c, s, cache, 3, seg, lo, hi), 0, 0, 0));
}

/* ------------------------------------------------------------------------------------------------ attention */
typedef enum { SEE_ALL, SEE_CAUSAL, SEE_WINDOW } seeing;
typedef struct {
	const char *name;
	int32_t q_rows, kv_rows; /* kv_rows 0: self, q, k and v are views of one matrix */
	int32_t heads, kv_heads, head_dim, v_dim;
	seeing see;
	bias_kind bias;
	bool both_ways;
	int32_t segments;
	segment seg[4];
	float cap;
} attend_case;

static const attend_case attends[] = {
	{"attend self", 13, 0, 2, 2, 6, 6, SEE_ALL, BIAS_NONE, false, 1, {{0, 13, 0, 13}}, 0},
	{"attend few rows", 5, 0, 2, 2, 6, 6, SEE_CAUSAL, BIAS_NONE, false, 1, {{0, 5, 0, 5}}, 0},
	{"attend causal over tiles", 140, 0, 1, 1, 4, 4, SEE_CAUSAL, BIAS_NONE, false, 1, {{0, 140, 0, 140}}, 0},
	{"attend cross over tiles", 70, 133, 2, 1, 4, 6, SEE_ALL, BIAS_NONE, false, 1, {{0, 70, 0, 133}}, 0},
	{"attend grouped, wide values", 12, 0, 6, 2, 4, 7, SEE_CAUSAL, BIAS_NONE, false, 1, {{0, 12, 0, 12}}, 0},
	{"attend windows, some empty", 80, 0, 2, 2, 4, 4, SEE_WINDOW, BIAS_NONE, false, 1, {{0, 80, 0, 80}}, 0},
	{"attend packed", 40, 0, 2, 2, 4, 4, SEE_CAUSAL, BIAS_NONE, false, 3, {{0, 9, 0, 9}, {9, 12, 9, 12}, {12, 40, 12, 40}}, 0},
	{"attend shared keys", 30, 21, 2, 2, 4, 4, SEE_ALL, BIAS_NONE, false, 3, {{0, 9, 0, 21}, {9, 12, 5, 14}, {12, 30, 10, 21}}, 0},
	{"attend rows in no segment", 30, 25, 2, 2, 4, 4, SEE_ALL, BIAS_NONE, false, 2, {{2, 11, 3, 9}, {15, 26, 7, 20}}, 0},
	{"attend no segment", 10, 12, 2, 2, 4, 4, SEE_ALL, BIAS_NONE, false, 0, {{0}}, 0},
	{"attend segment without keys", 20, 12, 2, 2, 4, 4, SEE_ALL, BIAS_NONE, false, 2, {{0, 9, 4, 4}, {9, 20, 4, 12}}, 0},
	{"attend grid", 48, 0, 2, 2, 4, 4, SEE_ALL, BIAS_GRID, false, 2, {{0, 16, 0, 16}, {16, 48, 16, 48}}, 0},
	{"attend bucket both ways", 75, 0, 2, 2, 4, 4, SEE_ALL, BIAS_BUCKET, true, 1, {{0, 75, 0, 75}}, 0},
	{"attend bucket causal", 75, 0, 2, 1, 4, 4, SEE_CAUSAL, BIAS_BUCKET, false, 1, {{0, 75, 0, 75}}, 0},
	{"attend slope", 70, 0, 2, 2, 4, 4, SEE_CAUSAL, BIAS_SLOPE, false, 2, {{0, 4, 0, 4}, {4, 70, 4, 70}}, 0},
	{"attend slope windows", 70, 0, 2, 1, 4, 5, SEE_WINDOW, BIAS_SLOPE, false, 1, {{0, 70, 0, 70}}, 0},
	{"attend capped", 140, 0, 2, 1, 6, 6, SEE_CAUSAL, BIAS_NONE, false, 1, {{0, 140, 0, 140}}, 1.5f},
	{"attend capped windows", 80, 0, 2, 2, 4, 4, SEE_WINDOW, BIAS_NONE, false, 2, {{0, 6, 0, 6}, {6, 80, 6, 80}}, 0.8f},
};

static void intervals(graph_case *c, const attend_case *a, int32_t **lo, int32_t **hi)
{
	*lo = a->see == SEE_ALL ? NULL : case_get(c, a->q_rows, sizeof(int32_t));
	*hi = a->see == SEE_ALL ? NULL : case_get(c, a->q_rows, sizeof(int32_t));
	for (int32_t i = 0; i < a->segments && *lo; i++)
		for (int32_t r = a->seg[i].q0; r < a->seg[i].q1; r++) {
			int32_t at = r - a->seg[i].q0, keys = a->seg[i].kv1 - a->seg[i].kv0;
			(*lo)[r] = a->see == SEE_WINDOW ? (int32_t)int_max(0, at - 9) : 0;
			(*hi)[r] = a->see == SEE_WINDOW ? (r % 11 == 3 ? (*lo)[r] : (int32_t)int_min(keys, at + 5)) : at + 1;
		}
}

/* Coordinates: a grid of 4 columns, regions that change at row 24; or the order within 70 rows. */
static const int32_t *coordinates(graph_case *c, int32_t rows, bias_kind kind)
{
	int32_t *at = case_get(c, 3 * rows, sizeof *at);
	for (int32_t r = 0; r < rows; r++) {
		at[3 * r] = kind == BIAS_GRID ? r % 16 / 4 : r;
		at[3 * r + 1] = kind == BIAS_GRID ? r % 4 : 0;
		at[3 * r + 2] = kind == BIAS_GRID ? r / 24 : 0;
	}
	return at;
}

static void build_attend(graph_case *c, int v)
{
	const attend_case *a = &attends[v];
	attention spec = {.heads = a->heads, .kv_heads = a->kv_heads, .head_dim = a->head_dim, .v_dim = a->v_dim, .scale = 0.4f, .cap = a->cap,
		.bias = {.kind = a->bias, .side = {4, 4}, .buckets = 16, .far = 50, .both_ways = a->both_ways, .other_region = -2}};
	int32_t wide = a->heads * a->head_dim, k_wide = a->kv_heads * a->head_dim, v_wide = a->kv_heads * a->v_dim, *lo, *hi;
	space_id qs = case_space(c, a->q_rows), ks = a->kv_rows ? case_space(c, a->kv_rows) : qs;
	node_id x = case_input(c, qs, wide + (a->kv_rows ? 0 : k_wide + v_wide)), q = graph_view(c->g, x, 0, wide);
	node_id k = a->kv_rows ? case_input(c, ks, k_wide) : graph_view(c->g, x, wide, k_wide);
	node_id w = a->kv_rows ? case_input(c, ks, v_wide) : graph_view(c->g, x, wide + k_wide, v_wide);
	node_id table = a->bias ? graph_param(c->g, case_matrix(c, DT_F32, bias_entries(&spec.bias), a->heads, false)) : 0;
	slot at = a->bias ? case_column(c, qs, 3, coordinates(c, a->q_rows, a->bias)) : 0;
	intervals(c, a, &lo, &hi);
	case_out(c, graph_attend(c->g, "y", q, k, w, &spec, case_layout(c, qs, ks, a->segments, a->seg, lo, hi), table, at, at));
}

/* ------------------------------------------------------------------------------------------------ how nodes are joined */
static void build_views(graph_case *c, int v)
{
	space_id s = case_space(c, 8);
	node_id x = case_input(c, s, 20), a = graph_view(c->g, x, 2, 16), b = graph_view(c->g, a, 3, 9), d = graph_view(c->g, b, 1, 4);
	if (v == 0) { /* overlapping, nested, with the whole beside them */
		case_out(c, graph_act(c->g, "y", ACT_TANH, d));
		case_out(c, graph_act(c->g, "z", ACT_SILU, graph_view(c->g, a, 5, 4)));
		case_out(c, graph_act(c->g, "u", ACT_SIGMOID, x));
	} else if (v == 1) { /* a view is an output itself, and of a computed node */
		node_id y = graph_act(c->g, "y", ACT_TANH, x);
		case_out(c, graph_view(c->g, graph_view(c->g, y, 4, 9), 2, 5));
	} else { /* many narrow ones: more than one layer of parts */
		for (int32_t i = 0; i < 20; i += 2)
			d = graph_add(c->g, "sum", d, graph_act(c->g, "part", ACT_TANH, graph_view(c->g, x, i < 16 ? i : 16, 4)));
		case_out(c, d);
	}
}

static void build_reuse(graph_case *c, int v)
{
	space_id s = case_space(c, 9);
	node_id x = case_input(c, s, 8), y = graph_act(c->g, "a", ACT_TANH, x);
	weight *w = case_matrix(c, DT_F32, 8, 8, true);
	(void)v;
	y = graph_linear(c->g, "l1", y, w); /* a weight used twice, a node used three times */
	y = graph_linear(c->g, "l2", graph_add(c->g, "s", y, x), w);
	y = graph_gate(c->g, "g", ACT_SILU, y, y);
	case_out(c, graph_add(c->g, "t", graph_add(c->g, "u", y, y), x));
}

/* Embedding and head share a matrix; a loss on top; one more output beside it. */
static void build_tied(graph_case *c, int v)
{
	static const int32_t ids[] = {3, 0, 3, 7, 11, 2, 2, 5, 9}, target[] = {0, 3, 7, -100, 2, 2, 5, 9, -1};
	space_id s = case_space(c, 9);
	slot map = case_map(c, s, 1, (rowmap){.rows_out = 9, .rows_in = 12, .taps = 1, .from = ids});
	weight *w = case_matrix(c, v ? DT_BF16 : DT_F32, 12, 8, false);
	node_id table = graph_param(c->g, w), x = graph_move(c->g, "x", &table, 1, s, map);
	x = graph_layer_norm(c->g, "n", x, case_vector(c, 8), case_vector(c, 8), 1e-5f);
	case_out(c, graph_cross_entropy(c->g, "loss", graph_linear(c->g, "head", x, w), case_column(c, s, 1, target)));
	case_out(c, x);
}

/* ------------------------------------------------------------------------------------------------ the table */
static const op_case cases[] = {
	{"linear f32", build_linear, LINEAR(F32, 1, 0)},
	{"linear f32 bias", build_linear, LINEAR(F32, 1, 1)},
	{"linear f16 bias", build_linear, LINEAR(F16, 1, 1)},
	{"linear bf16", build_linear, LINEAR(BF16, 1, 0)},
	{"linear f32 2 parts", build_linear, LINEAR(F32, 2, 0)},
	{"linear f32 2 parts, one bias", build_linear, LINEAR(F32, 2, 2)},
	{"linear f32 3 parts bias", build_linear, LINEAR(F32, 3, 1)},
	{"linear f16 3 parts", build_linear, LINEAR(F16, 3, 0)},
	{"linear bf16 3 parts, two biases", build_linear, LINEAR(BF16, 3, 2)},
	{"linear few rows, 3 parts", build_linear, 64 + LINEAR(F32, 3, 1)},
	{"linear few rows, f16", build_linear, 64 + LINEAR(F16, 1, 1)},
	{"linear wide, few rows", build_wide, 0},
	{"linear wide", build_wide, 1},
	{"no rows", build_no_rows, 0},
	{"fused, residual second", build_fused, 0},
	{"fused, residual first", build_fused, 1},
	{"fused, two activations", build_fused, 2},
	{"fused, parts and a view", build_fused, 3},
	{"add", build_add, 0},
	{"add itself", build_add, 1},
	{"add overlapping views", build_add, 2},
	{"act none", build_act, ACT_NONE},
	{"act relu", build_act, ACT_RELU},
	{"act gelu", build_act, ACT_GELU},
	{"act gelu tanh", build_act, ACT_GELU_TANH},
	{"act quick gelu", build_act, ACT_QUICK_GELU},
	{"act silu", build_act, ACT_SILU},
	{"act tanh", build_act, ACT_TANH},
	{"act sigmoid", build_act, ACT_SIGMOID},
	{"gate none", build_gate, ACT_NONE},
	{"gate relu", build_gate, ACT_RELU},
	{"gate gelu", build_gate, ACT_GELU},
	{"gate gelu tanh", build_gate, ACT_GELU_TANH},
	{"gate quick gelu", build_gate, ACT_QUICK_GELU},
	{"gate silu", build_gate, ACT_SILU},
	{"gate tanh", build_gate, ACT_TANH},
	{"gate sigmoid", build_gate, ACT_SIGMOID},
	{"scale", build_scale, 0},
	{"scale columns", build_scale, 1},
	{"scale columns of a view", build_scale, 2},
	{"cosine", build_cosine, 0},
	{"cosine, scaled", build_cosine, 1},
	{"layer norm without bias", build_norm, 0},
	{"layer norm", build_norm, 1},
	{"rms norm", build_norm, 2},
	{"unit", build_norm, 3},
	{"layer norm without weights", build_norm_bare, 0},
	{"rms norm of one head", build_norm_heads, 0},
	{"rms norm of heads", build_norm_heads, 1},
	{"rms norm of heads in a view", build_norm_heads, 2},
	{"layer norm of 3", build_norm, 1 + 4 * 3},
	{"rms norm of 1", build_norm, 2 + 4 * 1},
	{"rms norm of 257", build_norm, 2 + 4 * 257},
	{"concat 1", build_concat, 1},
	{"concat 2", build_concat, 2},
	{"concat 6", build_concat, 6},
	{"move gather", build_move, 0},
	{"move variable, weighted", build_move, 1},
	{"move 3 taps, weighted", build_move, 2},
	{"move concat", build_move, 3},
	{"move 2 taps, plain", build_move, 4},
	{"move variable, plain", build_move, 5},
	{"move 1 tap, weighted", build_move, 6},
	{"move concat of 1", build_move, 7},
	{"embedding f32 stacked", build_embedding, DT_F32},
	{"embedding f16 stacked", build_embedding, DT_F16},
	{"embedding bf16 stacked", build_embedding, DT_BF16},
	{"embedding alone", build_embedding, 3},
	{"rotate half-split", build_rotate, 0},
	{"rotate interleaved", build_rotate, 1},
	{"rotate half-split, partial", build_rotate, 2},
	{"rotate interleaved, partial", build_rotate, 3},
	{"rotate a view, fixed angles", build_rotate_fixed, 0},
	{"rotate interleaved, fixed angles", build_rotate_fixed, 1},
	{"cache", build_cache, 0},
	{"softmax", build_softmax, 13},
	{"softmax of 1", build_softmax, 1},
	{"cross entropy", build_entropy, 0},
	{"cross entropy, ignored rows", build_entropy, 1},
	{"cross entropy, all ignored", build_entropy, 2},
	{"pixels", build_pixels, 0},
	{"pixels, normed", build_pixels, 1},
	{"pixels, none dropped", build_pixels, 2},
	{"pixels of a product", build_pixels, 3},
	{"dropout", build_dropout, 0},
	{"dropout, evaluated", build_dropout, 1},
	{"drop path", build_dropout, 2},
	{"dropout of a view", build_dropout, 3},
	{"a branch beside a matrix", build_beside, 0},
	{"branches beside two of three parts", build_beside, 1},
	{"a branch beside two parts", build_beside, 2},
	{"branches with dropout", build_beside, 3},
	{"column sum", build_column_sum, 0},
	{"column sum of a view", build_column_sum, 1},
	{"views of views", build_views, 0},
	{"a view as output", build_views, 1},
	{"many views", build_views, 2},
	{"nodes and weights used again", build_reuse, 0},
	{"tied", build_tied, 0},
	{"tied bf16", build_tied, 1},
};

/* ------------------------------------------------------------------------------------------------ the check */
typedef struct {
	double rows, gradient;
	const char *rows_at, *gradient_at;
} worst_seen;

static void check_rows(const op_case *o, const reference *ref, const plan *p, worst_seen *worst)
{
	for (int i = 0; i < ref->c->outs; i++) {
		node_id id = ref->c->out[i];
		plan_rows y = plan_output(p, id);
		double error = 0, norm = 0;
		assert_int_equal(y.rows, ref->rows[id]);
		for (int64_t j = 0; j < y.rows * y.width; j++) {
			double want = ref->value[id][j], is = (double)y.data[j / y.width * y.stride + j % y.width];
			error += (is - want) * (is - want);
			norm += want * want;
		}
		error = sqrt(error) / fmax(sqrt(norm), FLOOR);
		if (!(error <= ROWS_BOUND))
			fail_msg("%s: output %d is off by %.3g", o->name, i, error);
		if (error > worst->rows)
			*worst = (worst_seen){error, worst->gradient, o->name, worst->gradient_at};
	}
}

static double difference(reference *ref, double *x)
{
	double keep = *x, h = 1e-5, up, down;
	*x = keep + h;
	up = reference_loss(ref);
	*x = keep - h;
	down = reference_loss(ref);
	*x = keep;
	return (up - down) / (2 * h);
}

static void check_gradient(const op_case *o, reference *ref, const plan *p, node_id id, worst_seen *worst)
{
	int64_t size = ref->rows[id] * ref->width[id], checked = int_min(size, size > 2 * DIFFERENCES ? DIFFERENCES : size);
	node_id d = graph_gradient_of(ref->c->g, id);
	double error = 0, norm = 0;
	plan_rows y = d ? plan_output(p, d) : (plan_rows){0};
	if (d) {
		assert_int_equal(y.rows, ref->rows[id]);
		assert_int_equal(y.width, ref->width[id]);
	}
	for (int64_t i = 0; i < checked; i++) {
		int64_t j = checked == size ? i : (int64_t)(case_bits(ref->c) % (uint64_t)size);
		double want = difference(ref, ref->value[id] + j), is = d ? (double)y.data[j / y.width * y.stride + j % y.width] : 0;
		error += (is - want) * (is - want);
		norm += want * want;
	}
	error = sqrt(error) / fmax(sqrt(norm), FLOOR);
	if (!(error <= GRADIENT_BOUND))
		fail_msg("%s: the gradient of node %d (%s) is off by %.3g of %.3g", o->name, id, graph_node(ref->c->g, id)->op->name, error, sqrt(norm));
	if (error > worst->gradient)
		*worst = (worst_seen){worst->rows, error, worst->rows_at, o->name};
}

static void check_case(const op_case *o, const kernels *k, worst_seen *worst)
{
	graph_case c;
	reference ref;
	case_begin(&c, true, 1000 + (uint64_t)o->v);
	o->build(&c, o->v);
	reference_begin(&ref, &c);
	reference_run(&ref);
	graph_gradient(c.g, c.out, c.seeds, c.outs);
	for (node_id id = 1; id <= ref.count; id++)
		graph_keep(c.g, graph_gradient_of(c.g, id));
	plan *p = case_plan(&c, k, 2);
	case_run(&c, p, 2);
	check_rows(o, &ref, p, worst);
	for (node_id id = 1; id <= ref.count; id++)
		if (graph_needs(c.g, id) && (graph_node(c.g, id)->op == &op_input || graph_node(c.g, id)->op == &op_param))
			check_gradient(o, &ref, p, id, worst);
	plan_free(p);
	case_end(&c);
}

static void check_all(cpu_level level)
{
	worst_seen worst = {0};
	const kernels *k = kernels_get(level);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		check_case(&cases[i], k, &worst);
	for (size_t i = 0; i < COUNT_OF(attends); i++)
		check_case(&(op_case){attends[i].name, build_attend, (int)i}, k, &worst);
	print_message("%s: rows within %.2g (%s), gradients within %.2g (%s)\n", cpu_name(k->level), worst.rows, worst.rows_at, worst.gradient,
		worst.gradient_at);
}

static void portable_level(void **state)
{
	(void)state;
	check_all(CPU_PORTABLE);
}

static void other_levels(void **state)
{
	(void)state;
	for (cpu_level level = CPU_AVX2; level < CPU_LEVELS; level++)
		if (kernels_get(level)->level == level)
			check_all(level);
}

/* Without a seed the loss itself is differentiated. */
static void no_seed(void **state)
{
	(void)state;
	graph_case c;
	reference ref;
	worst_seen worst = {0};
	case_begin(&c, true, 5);
	build_entropy(&c, 1);
	*(float *)(uintptr_t)c.at[graph_node(c.g, c.seeds[0])->a.at] = 1;
	reference_begin(&ref, &c);
	reference_run(&ref);
	graph_gradient(c.g, c.out, NULL, 1);
	graph_keep(c.g, graph_gradient_of(c.g, 1));
	plan *p = case_plan(&c, kernels_get(CPU_PORTABLE), 1);
	case_run(&c, p, 1);
	check_gradient(&(op_case){"no seed", NULL, 0}, &ref, p, 1, &worst);
	plan_free(p);
	case_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(portable_level), cmocka_unit_test(other_levels), cmocka_unit_test(no_seed)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
