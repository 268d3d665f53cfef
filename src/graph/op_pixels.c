/*
 * op_pixels.c - the error of patches that were not seen (He et al. 2022, "Masked autoencoders", section 3), and its gradient.
 *
 *     patches as a tower reads them, channel by channel      x as a decoder says them, pixel by pixel
 *         r r r r  g g g g  b b b b                              r g b  r g b  r g b  r g b
 *
 *   pixel_rows   in: x, patches; column attr.at -> mean over the row of (x - t)^2; 0 where the column is 0 (the patch was seen)
 *   pixel_error  in: x, patches, pixel_rows     -> mean over rows where the column is not 0
 *   pixel_back   in: x, patches, dL; column attr.at: 2 (x - t) / width * dL / rows
 *
 * attr.part: channels. t are the patch's values; attr.rms: less their mean, over the root of their variance (of width - 1)
 * and 1e-6, each patch for itself (norm_pix_loss). The values get no gradient. pixel_error is one task: rows in ascending
 * order, one sum in double, so the loss has the same bits everywhere; where nothing was dropped it is 0.
 */
#include "graph/graph.h"

#include <math.h>
#include <string.h>

typedef struct patch_frame { /* t = (value - shift) * scale */
	float shift, scale;
} patch_frame;

static patch_frame frame_of(const node *n, const float *patch, int64_t width)
{
	if (!n->a.rms)
		return (patch_frame){0, 1};
	double sum = 0, apart = 0;
	for (int64_t i = 0; i < width; i++)
		sum += (double)patch[i];
	double mean = sum / (double)width;
	for (int64_t i = 0; i < width; i++)
		apart += ((double)patch[i] - mean) * ((double)patch[i] - mean);
	return (patch_frame){(float)mean, (float)(1 / sqrt(apart / (double)int_max(1, width - 1) + 1e-6))};
}

/* x less what it should be, pixel by pixel. */
static void apart_from(const node *n, const float *x, const float *patch, int64_t width, float *out)
{
	int64_t channels = n->a.part, cells = width / channels;
	patch_frame f = frame_of(n, patch, width);
	for (int64_t i = 0; i < cells; i++)
		for (int64_t c = 0; c < channels; c++)
			out[i * channels + c] = x[i * channels + c] - (patch[c * cells + i] - f.shift) * f.scale;
}

static bool dropped(const step *s, int64_t row)
{
	return ((const int32_t *)step_at(s, s->n->a.at))[row] != 0;
}

/* ------------------------------------------------------------------------------------------------ forward */
static bool rows_shape(graph *g, node *n)
{
	const node *x = graph_node(g, n->in[0]), *t = graph_node(g, n->in[1]);
	n->rows = x->rows;
	n->width = 1;
	if (x->rows != t->rows || x->width != t->width || n->a.part < 1 || x->width % n->a.part)
		return graph_fail(g, REBUS_SHAPE, "%s: rows of %d columns for patches of %d, expected as many, of %d channels", n->name ? n->name : "pixels",
			x->width, t->width, n->a.part);
	return graph_slot_is(g, n->a.at, SLOT_COLUMN, x->rows) && graph_slot_info(g, n->a.at)->width == 1;
}

/* Cut by what is read. */
static int64_t rows_block(const step *s)
{
	return int_max(1, STEP_FLOATS / int_max(1, s->in_width[0]));
}

static int64_t rows_tasks(const step *s)
{
	return ceil_div(s->rows, rows_block(s));
}

static size_t rows_scratch(const graph *g, const node *n, const kernels *k)
{
	(void)k;
	return (size_t)graph_node(g, n->in[0])->width * sizeof(float);
}

static void rows_forward(const step *s, int64_t task, void *scratch)
{
	int64_t block = rows_block(s), r1 = int_min(s->rows, (task + 1) * block), width = s->in_width[0];
	float *d = scratch;
	for (int64_t r = task * block; r < r1; r++) {
		s->out[r * s->ldo] = 0;
		if (!dropped(s, r))
			continue;
		apart_from(s->n, s->in[0] + r * s->ld[0], s->in[1] + r * s->ld[1], width, d);
		s->out[r * s->ldo] = s->k->dot(width, d, d) / (float)width;
	}
}

static bool error_shape(graph *g, node *n)
{
	n->rows = graph_space_fixed(g, 1);
	n->width = 1;
	return n->in[2] != 0;
}

static int64_t one_task(const step *s)
{
	(void)s;
	return 1;
}

static int64_t count_dropped(const step *s, int64_t rows)
{
	int64_t count = 0;
	for (int64_t r = 0; r < rows; r++)
		count += dropped(s, r);
	return count;
}

static void error_forward(const step *s, int64_t task, void *scratch)
{
	(void)task;
	(void)scratch;
	int64_t count = count_dropped(s, s->in_rows[2]);
	double sum = 0;
	for (int64_t r = 0; r < s->in_rows[2]; r++)
		sum += (double)s->in[2][r * s->ld[2]];
	s->out[0] = count ? (float)(sum / (double)count) : 0.0f;
}

/* ------------------------------------------------------------------------------------------------ gradient */
static void error_gradient(graph *g, node_id self, node_id d)
{
	node n = *graph_node(g, self);
	if (graph_needs(g, n.in[0]))
		graph_flow(g, n.in[0], graph_append(g, &op_pixel_back, NULL, (node_id[]){n.in[0], n.in[1], d}, 3, NULL, &n.a));
}

static bool back_shape(graph *g, node *n)
{
	n->rows = graph_node(g, n->in[0])->rows;
	n->width = graph_node(g, n->in[0])->width;
	return true;
}

static void back_forward(const step *s, int64_t task, void *scratch)
{
	(void)scratch;
	int64_t block = step_row_block(s), r1 = int_min(s->rows, (task + 1) * block), count = count_dropped(s, s->rows), w = s->n->width;
	float scale = count ? 2 * s->in[2][0] / ((float)w * (float)count) : 0.0f;
	for (int64_t r = task * block; r < r1; r++) {
		float *out = s->out + r * s->ldo;
		if (!dropped(s, r)) {
			memset(out, 0, (size_t)w * sizeof *out);
			continue;
		}
		apart_from(s->n, s->in[0] + r * s->ld[0], s->in[1] + r * s->ld[1], w, out);
		s->k->scale(w, scale, out, out);
	}
}

const op op_pixel_rows = {.name = "pixel_rows", .shape = rows_shape, .scratch = rows_scratch, .tasks = rows_tasks, .forward = rows_forward};
const op op_pixel_error = {.name = "pixel_error", .shape = error_shape, .tasks = one_task, .forward = error_forward, .gradient = error_gradient};
const op op_pixel_back = {.name = "pixel_back", .shape = back_shape, .tasks = step_row_tasks, .forward = back_forward};

node_id graph_pixel_error(graph *g, const char *name, node_id x, node_id patches, slot at, int32_t channels, bool normed, node_id *rows)
{
	attr a = {.at = at, .part = channels, .rms = normed};
	node_id each = graph_append(g, &op_pixel_rows, graph_text(g, "%s.rows", name), (node_id[]){x, patches}, 2, NULL, &a);
	if (rows)
		*rows = each;
	return graph_append(g, &op_pixel_error, name, (node_id[]){x, patches, each}, 3, NULL, &a);
}
