/* index_scan.c - see index_scan.h. */
#include "lab/index_scan.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

enum { LANES = 16 };

typedef struct lanes {
	float xy[LANES], yy[LANES];
} lanes;

static void add_lane(lanes *l, size_t i, float x, float y)
{
	l->xy[i % LANES] += x * y;
	l->yy[i % LANES] += x * x;
}

static void add_up(const lanes *l, float *xy, float *yy)
{
	double a = 0, b = 0;
	for (size_t k = 0; k < LANES; k++) {
		a += (double)l->xy[k];
		b += (double)l->yy[k];
	}
	*xy = (float)a;
	*yy = (float)b;
}

static void dots_f32(const void *row, const float *query, size_t n, float *xy, float *yy)
{
	lanes l = {{0}, {0}};
	const uint8_t *p = row;
	for (size_t i = 0; i < n; i++) {
		float x;
		memcpy(&x, p + i * sizeof x, sizeof x);
		add_lane(&l, i, x, query[i]);
	}
	add_up(&l, xy, yy);
}

static void dots_f16(const void *row, const float *query, size_t n, float *xy, float *yy)
{
	lanes l = {{0}, {0}};
	const uint8_t *p = row;
	for (size_t i = 0; i < n; i++) {
		uint16_t bits;
		memcpy(&bits, p + i * sizeof bits, sizeof bits);
		add_lane(&l, i, dtype_half(bits), query[i]);
	}
	add_up(&l, xy, yy);
}

static void dots_i8(const void *row, const float *query, size_t n, float *xy, float *yy)
{
	lanes l = {{0}, {0}};
	const int8_t *p = row;
	for (size_t i = 0; i < n; i++)
		add_lane(&l, i, (float)p[i], query[i]);
	add_up(&l, xy, yy);
}

index_dots index_dots_of(rebus_store store, cpu_level level)
{
#if defined(REBUS_X86)
	if (level == CPU_AVX2 || level == CPU_AVX512)
		return store == REBUS_STORE_F32 ? index_dots_f32_avx2 : store == REBUS_STORE_F16 ? index_dots_f16_avx2 : index_dots_i8_avx2;
#endif
	(void)level;
	return store == REBUS_STORE_F32 ? dots_f32 : store == REBUS_STORE_F16 ? dots_f16 : dots_i8;
}

static size_t item_size(rebus_store store)
{
	return store == REBUS_STORE_F32 ? 4 : store == REBUS_STORE_F16 ? 2 : 1;
}

/* ------------------------------------------------------------------------------------------------ the best */
/* Order of results: higher score first, then lower row. */
static bool is_worse(float score, size_t row, float than, size_t than_row)
{
	return score < than || (score == than && row > than_row);
}

static void swap(size_t *rows, float *scores, size_t a, size_t b)
{
	float score = scores[a];
	size_t row = rows[a];
	scores[a] = scores[b];
	rows[a] = rows[b];
	scores[b] = score;
	rows[b] = row;
}

/* Heap with the worst result at the root; the entry at `at` sinks to its place among n. */
static void heap_sink(size_t *rows, float *scores, size_t n, size_t at)
{
	for (size_t child = 2 * at + 1; child < n; at = child, child = 2 * at + 1) {
		if (child + 1 < n && is_worse(scores[child + 1], rows[child + 1], scores[child], rows[child]))
			child++;
		if (!is_worse(scores[child], rows[child], scores[at], rows[at]))
			return;
		swap(rows, scores, at, child);
	}
}

static void heap_make(size_t *rows, float *scores, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		heap_sink(rows, scores, n, i);
}

/* The worst goes to the end, again and again: best first remains. */
static void heap_sort(size_t *rows, float *scores, size_t n)
{
	for (; n > 1; heap_sink(rows, scores, n, 0))
		swap(rows, scores, 0, --n);
}

typedef struct stripe { /* rows from ... end - 1, and the best of them */
	size_t from, end, most, found;
	size_t *rows; /* [most] */
	float *scores;
} stripe;

static void stripe_offer(stripe *s, size_t row, float score)
{
	if (s->found < s->most) {
		s->rows[s->found] = row;
		s->scores[s->found++] = score;
		if (s->found == s->most)
			heap_make(s->rows, s->scores, s->most);
	} else if (is_worse(s->scores[0], s->rows[0], score, row)) {
		s->rows[0] = row;
		s->scores[0] = score;
		heap_sink(s->rows, s->scores, s->most, 0);
	}
}

typedef struct scan {
	const index_rows *x;
	const float *query;
	index_dots dots;
	double length; /* of the query */
	stripe *stripes; /* [threads] */
} scan;

static void scan_stripe(void *arg, int number)
{
	const scan *c = arg;
	stripe *s = &c->stripes[number];
	size_t step = c->x->width * item_size(c->x->store);
	const uint8_t *p = (const uint8_t *)c->x->data + s->from * step;
	for (size_t row = s->from; row < s->end && s->most; row++, p += step) {
		float xy, yy;
		c->dots(p, c->query, c->x->width, &xy, &yy);
		double cosine = c->length > 0 && yy > 0 ? (double)xy / (c->length * sqrt((double)yy)) : 0;
		stripe_offer(s, row, isfinite(cosine) ? (float)cosine : -2.0f); /* numbers of a hostile file; worse than any */
	}
}

static bool stripes_make(arena *a, const index_rows *x, size_t top, int threads, stripe **out)
{
	stripe *s = arena_zero(a, (size_t)threads, sizeof *s);
	for (int t = 0; s && t < threads; t++) {
		s[t].from = x->rows / (size_t)threads * (size_t)t;
		s[t].end = t + 1 == threads ? x->rows : x->rows / (size_t)threads * (size_t)(t + 1);
		size_t most = s[t].most = top < s[t].end - s[t].from ? top : s[t].end - s[t].from;
		s[t].rows = arena_get(a, most, sizeof *s[t].rows);
		s[t].scores = arena_get(a, most, sizeof *s[t].scores);
		if (!s[t].rows || !s[t].scores)
			return false;
	}
	*out = s;
	return s != NULL;
}

rebus_status index_scan(const index_rows *x, const float *query, size_t top, int threads, cpu_level level, size_t *rows, float *scores, rebus_error *err)
{
	rebus_status status;
	arena a;
	team *members = NULL;
	scan c = {.x = x, .query = query, .dots = index_dots_of(x->store, level)};
	arena_init(&a, NULL, 0);
	for (size_t i = 0; i < x->width; i++)
		c.length += (double)query[i] * query[i];
	c.length = sqrt(c.length);
	threads = threads ? threads : cpu_quota();
	threads = (size_t)threads > x->rows / 256 + 1 ? (int)(x->rows / 256 + 1) : threads;
	TRY(team_open(threads, NULL, &members, err));
	if (!stripes_make(&a, x, top, threads, &c.stripes)) {
		status = error_memory(err, "a search");
		goto done;
	}
	rebus_runner r = team_runner(members);
	r.run(r.user, scan_stripe, &c);
	stripe best = {.most = top < x->rows ? top : x->rows, .rows = rows, .scores = scores};
	for (int t = 0; t < threads && best.most; t++)
		for (size_t i = 0; i < c.stripes[t].found; i++)
			stripe_offer(&best, c.stripes[t].rows[i], c.stripes[t].scores[i]);
	heap_sort(rows, scores, best.found);
done:
	team_close(members);
	arena_free(&a);
	return status;
}
