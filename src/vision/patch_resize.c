/*
 * patch_resize.c - see patch_resize.h. Singular values by one-sided Jacobi rotations (Hestenes 1958): the columns of a
 * matrix are turned in pairs until all are orthogonal; their lengths are the singular values then.
 */
#include "vision/patch_resize.h"

#include <math.h>
#include <string.h>

#include "vision/position_grid.h"

enum { SIDE_MOST = 128, SWEEPS = 60 };

typedef struct spectrum { /* of the resize of one axis, [to, from] = u diag(value) v^T */
	int32_t from, to, count;
	double *u, *v; /* [count, to], [count, from]: a singular vector a row */
	double *value; /* [count] */
} spectrum;

/* columns of rows[n][length], here stored as rows; turned along with `with`. */
static void orthogonalise(double *x, int32_t n, int32_t length, double *with, int32_t with_length)
{
	bool turned = true;
	for (int sweep = 0; turned && sweep < SWEEPS; sweep++) {
		turned = false;
		for (int32_t i = 0; i < n; i++)
			for (int32_t j = i + 1; j < n; j++) {
				double *a = x + i * length, *b = x + j * length, aa = 0, bb = 0, ab = 0;
				for (int32_t k = 0; k < length; k++) {
					aa += a[k] * a[k];
					bb += b[k] * b[k];
					ab += a[k] * b[k];
				}
				if (fabs(ab) <= 1e-15 * sqrt(aa * bb))
					continue;
				turned = true;
				double zeta = (bb - aa) / (2 * ab), t = (zeta < 0 ? -1 : 1) / (fabs(zeta) + sqrt(1 + zeta * zeta));
				double c = 1 / sqrt(1 + t * t), s = c * t;
				for (int32_t k = 0; k < length; k++) {
					double p = a[k], q = b[k];
					a[k] = c * p - s * q;
					b[k] = s * p + c * q;
				}
				a = with + i * with_length;
				b = with + j * with_length;
				for (int32_t k = 0; k < with_length; k++) {
					double p = a[k], q = b[k];
					a[k] = c * p - s * q;
					b[k] = s * p + c * q;
				}
			}
	}
}

/* The resize from -> to as a dense matrix: element (i, k) at out[i * step_to + k * step_from]. */
static rebus_status dense(arena *a, int32_t from, int32_t to, double *out, int32_t step_to, int32_t step_from, rebus_error *err)
{
	grid_taps t;
	rebus_status status = vision_grid_taps(a, GRID_BICUBIC_WIDE, (grid_size){1, from}, (grid_size){1, to}, &t, err);
	for (int32_t i = 0; !status && i < to; i++)
		for (int32_t k = 0; k < t.taps; k++)
			out[i * step_to + t.from[i * t.taps + k] * step_from] += (double)t.coef[i * t.taps + k];
	return status;
}

/* The side with fewer rows is the one whose vectors are turned; the other side's are what comes out, divided by its length. */
static rebus_status decompose(arena *a, int32_t from, int32_t to, spectrum *out, rebus_error *err)
{
	bool grows = to >= from;
	int32_t n = grows ? from : to, length = grows ? to : from;
	double *x = arena_zero(a, (size_t)n * (size_t)length, sizeof *x), *turn = arena_zero(a, (size_t)n * (size_t)n, sizeof *turn);
	double *value = arena_get(a, (size_t)n, sizeof *value);
	if (!x || !turn || !value)
		return error_memory(err, "patches of another size");
	rebus_status status = dense(a, from, to, x, grows ? 1 : length, grows ? length : 1, err);
	if (status)
		return status;
	for (int32_t i = 0; i < n; i++)
		turn[i * n + i] = 1;
	orthogonalise(x, n, length, turn, n);
	for (int32_t i = 0; i < n; i++) {
		double sum = 0;
		for (int32_t k = 0; k < length; k++)
			sum += x[i * length + k] * x[i * length + k];
		value[i] = sqrt(sum);
		for (int32_t k = 0; k < length; k++)
			x[i * length + k] /= value[i] > 0 ? value[i] : 1;
	}
	*out = (spectrum){.from = from, .to = to, .count = n, .u = grows ? x : turn, .v = grows ? turn : x, .value = value};
	return REBUS_OK;
}

static double largest(const spectrum *s)
{
	double most = 0;
	for (int32_t i = 0; i < s->count; i++)
		most = fmax(most, s->value[i]);
	return most;
}

/* out [rows(a), b] = a [m, k] by b [k, n], or with the transposed a [k, m] */
static void multiply(const double *a, bool turned, const double *b, int32_t m, int32_t k, int32_t n, double *out)
{
	for (int32_t i = 0; i < m; i++)
		for (int32_t j = 0; j < n; j++) {
			double sum = 0;
			for (int32_t l = 0; l < k; l++)
				sum += (turned ? a[l * m + i] : a[i * k + l]) * b[l * n + j];
			out[i * n + j] = sum;
		}
}

typedef struct resizing {
	spectrum y, x;
	double least;                 /* smaller products count as zero */
	double *in, *half, *core, *wide; /* scratch, SIDE_MOST^2 each */
} resizing;

/* One plane, [y.from, x.from] -> [y.to, x.to]. */
static void resize(const resizing *r, const float *from, float *to)
{
	const spectrum *y = &r->y, *x = &r->x;
	for (int32_t i = 0; i < y->from * x->from; i++)
		r->in[i] = (double)from[i];
	multiply(y->v, false, r->in, y->count, y->from, x->from, r->half); /* Vy^T w */
	for (int32_t i = 0; i < y->count; i++)
		for (int32_t j = 0; j < x->count; j++) {
			double sum = 0, value = y->value[i] * x->value[j];
			for (int32_t k = 0; k < x->from; k++)
				sum += r->half[i * x->from + k] * x->v[j * x->from + k];
			r->core[i * x->count + j] = value > r->least ? sum / value : 0;
		}
	multiply(r->core, false, x->u, y->count, x->count, x->to, r->wide);
	multiply(y->u, true, r->wide, y->to, y->count, x->to, r->in);
	for (int32_t i = 0; i < y->to * x->to; i++)
		to[i] = (float)r->in[i];
}

static rebus_status prepare(arena *a, const int32_t size[2], int32_t patch, resizing *r, rebus_error *err)
{
	enum { ROOM = SIDE_MOST * SIDE_MOST };
	rebus_status status = decompose(a, size[0], patch, &r->y, err);
	if (!status)
		status = decompose(a, size[1], patch, &r->x, err);
	if (status)
		return status;
	double *scratch = arena_get(a, 4 * ROOM, sizeof *scratch);
	if (!scratch)
		return error_memory(err, "patches of another size");
	r->in = scratch;
	r->half = scratch + ROOM;
	r->core = scratch + 2 * ROOM;
	r->wide = scratch + 3 * ROOM;
	double old = (double)size[0] * size[1], now = (double)patch * patch;
	r->least = fmax(old, now) * (double)1.1920929e-7f * largest(&r->y) * largest(&r->x);
	return REBUS_OK;
}

/* The element of a matrix as f32. */
static float value_at(const matrix *m, int64_t i)
{
	if (m->type == DT_F32)
		return ((const float *)m->data)[i];
	uint16_t bits = ((const uint16_t *)m->data)[i];
	return m->type == DT_F16 ? dtype_half(bits) : dtype_bfloat(bits);
}

rebus_status vision_patch_resize(arena *a, weight *w, int64_t channels, const int32_t size[2], int32_t patch, rebus_error *err)
{
	rebus_status status;
	resizing r = {0};
	arena scratch;
	if (size[0] == patch && size[1] == patch)
		return REBUS_OK;
	if (patch < PATCH_LEAST || patch > PATCH_MOST)
		return error_set(err, REBUS_MISUSE, "patch size %d, expected %d to %d, or %d, the checkpoint's", patch, PATCH_LEAST, PATCH_MOST, size[0]);
	if (size[0] > SIDE_MOST || size[1] > SIDE_MOST)
		return error_set(err, REBUS_UNSUPPORTED, "patch size %d: from patches of %dx%d, expected at most %d a side", patch, size[0], size[1], SIDE_MOST);
	arena_init(&scratch, a->from, 0);
	int64_t planes = w->out * channels, old = (int64_t)size[0] * size[1], now = (int64_t)patch * patch;
	float *to = arena_get(a, (size_t)planes, (size_t)now * sizeof *to), *plane = arena_get(&scratch, (size_t)old, sizeof *plane);
	if (!to || !plane) {
		status = error_memory(err, "patches of another size");
		goto done;
	}
	TRY(prepare(&scratch, size, patch, &r, err));
	for (int64_t p = 0; p < planes; p++) {
		for (int64_t i = 0; i < old; i++)
			plane[i] = value_at(&w->part[0], p * old + i);
		resize(&r, plane, to + p * now);
	}
	w->in = channels * now;
	w->part[0] = (matrix){.data = to, .type = DT_F32, .out = w->out, .in = w->in};
done:
	arena_free(&scratch);
	return status;
}
