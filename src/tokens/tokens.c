/* tokens.c - the table itself, and the layouts made from it; see tokens.h. */
#include "tokens/tokens.h"

static const char *const kind_names[TOKEN_KINDS] = {"text", "image", "video", "learned", "pad"};

const char *tokens_kind_name(token_kind kind)
{
	return kind_names[kind];
}

rebus_status tokens_new(arena *a, int64_t cap, tokens *out, rebus_error *err)
{
	if (cap < 0 || cap > INT32_MAX / 2)
		return error_set(err, REBUS_LIMIT, "%lld tokens, expected at most %d", (long long)cap, INT32_MAX / 2);
	size_t n = (size_t)cap;
	tokens t = {.cap = cap, .kind = arena_get(a, n, 1)};
	int32_t **columns[] = {&t.seq, &t.order, &t.picture, &t.source, &t.segment};
	bool room = t.kind != NULL;
	for (size_t i = 0; i < COUNT_OF(columns); i++)
		room &= (*columns[i] = arena_get(a, n, sizeof(int32_t))) != NULL;
	for (int i = 0; i < AT_AXES; i++)
		room &= (t.at[i] = arena_get(a, n, sizeof(float))) != NULL;
	if (!room)
		return error_memory(err, "the token table");
	*out = t;
	return REBUS_OK;
}

void tokens_add(tokens *t, token_kind kind, int32_t seq, int32_t order, int32_t picture, int32_t source)
{
	int64_t r = t->rows++;
	t->kind[r] = (uint8_t)kind;
	t->seq[r] = seq;
	t->order[r] = order;
	t->picture[r] = picture;
	t->source[r] = source;
	t->segment[r] = 0;
	t->at[AT_T][r] = t->at[AT_Y][r] = t->at[AT_X][r] = 0;
	t->at[AT_ORDER][r] = (float)order;
}

void tokens_add_grid(tokens *t, token_kind kind, int32_t seq, int32_t order, int32_t picture, int32_t source, int32_t rows, int32_t columns)
{
	for (int32_t y = 0; y < rows; y++)
		for (int32_t x = 0; x < columns; x++) {
			int32_t i = y * columns + x;
			tokens_add(t, kind, seq, order + i, picture, source + i);
			t->at[AT_Y][t->rows - 1] = (float)y;
			t->at[AT_X][t->rows - 1] = (float)x;
		}
}

void tokens_add_some(tokens *t, token_kind kind, int32_t seq, int32_t order, int32_t picture, int32_t source, const int32_t *patch, int32_t count,
                     int32_t columns)
{
	for (int32_t i = 0; i < count; i++) {
		tokens_add(t, kind, seq, order + i, picture, source + patch[i]);
		t->at[AT_Y][t->rows - 1] = (float)(patch[i] / columns);
		t->at[AT_X][t->rows - 1] = (float)(patch[i] % columns);
	}
}

/* The row after the run of equal sequence numbers that begins at r. */
static int64_t sequence_end(const tokens *t, int64_t r)
{
	int64_t end = r + 1;
	while (end < t->rows && t->seq[end] == t->seq[r])
		end++;
	return end;
}

static int32_t sequence_count(const tokens *t)
{
	int32_t n = 0;
	for (int64_t r = 0; r < t->rows; r = sequence_end(t, r))
		n++;
	return n;
}

typedef struct parts { /* a layout's arrays while they are written */
	segment *seg;
	int32_t *lo, *hi, *first;
} parts;

static bool parts_room(arena *a, int32_t segments, int64_t rows, parts *p)
{
	p->seg = arena_get(a, (size_t)segments + 1, sizeof *p->seg);
	p->first = arena_get(a, (size_t)segments + 1, sizeof *p->first);
	p->lo = arena_zero(a, (size_t)rows, sizeof *p->lo);
	p->hi = arena_get(a, (size_t)rows, sizeof *p->hi);
	return p->seg && p->first && p->lo && p->hi;
}

rebus_status tokens_layout(arena *a, const tokens *t, bool causal, layout *out, rebus_error *err)
{
	parts p;
	int32_t count = sequence_count(t);
	if (!parts_room(a, count, t->rows, &p))
		return error_memory(err, "an attention layout");
	layout l = {.count = count, .seg = p.seg};
	int32_t i = 0;
	bool padded = false;
	for (int64_t r = 0, end; r < t->rows; r = end, i++) {
		end = sequence_end(t, r);
		int64_t real = end - r;
		while (real && t->kind[r + real - 1] == TOKEN_PAD)
			real--;
		padded = padded || real < end - r;
		p.seg[i] = (segment){(int32_t)r, (int32_t)end, (int32_t)r, (int32_t)end};
		for (int64_t q = r; q < end; q++)
			p.hi[q] = (int32_t)(causal && q - r < real ? q - r + 1 : real);
	}
	if (causal || padded) {
		l.lo = p.lo;
		l.hi = p.hi;
	}
	layout_finish(&l, p.first);
	*out = l;
	return REBUS_OK;
}

rebus_status tokens_layout_cached(arena *a, const tokens *t, const int32_t *region, const int32_t *past, int32_t *where, layout *out, rebus_error *err)
{
	parts p;
	int32_t count = sequence_count(t);
	if (!parts_room(a, count, t->rows, &p))
		return error_memory(err, "an attention layout");
	layout l = {.count = count, .seg = p.seg, .lo = p.lo, .hi = p.hi};
	int32_t i = 0;
	for (int64_t r = 0, end; r < t->rows; r = end, i++) {
		end = sequence_end(t, r);
		int32_t s = t->seq[r], have = past[s];
		p.seg[i] = (segment){(int32_t)r, (int32_t)end, region[s], region[s] + have + (int32_t)(end - r)};
		for (int64_t q = r; q < end; q++) {
			where[q] = region[s] + have + (int32_t)(q - r);
			p.hi[q] = have + (int32_t)(q - r) + 1;
		}
	}
	layout_finish(&l, p.first);
	*out = l;
	return REBUS_OK;
}

rebus_status tokens_layout_near(arena *a, const layout *from, int64_t rows, int64_t window, layout *out, rebus_error *err)
{
	int32_t *lo = arena_get(a, (size_t)rows, sizeof *lo);
	if (!lo)
		return error_memory(err, "an attention layout");
	for (int64_t r = 0; r < rows; r++)
		lo[r] = (int32_t)int_max(from->lo[r], from->hi[r] - window);
	*out = *from;
	out->lo = lo;
	return REBUS_OK;
}

rebus_status tokens_layout_across(arena *a, const tokens *t, const int32_t *first, int32_t share, layout *out, rebus_error *err)
{
	parts p;
	int32_t count = sequence_count(t), i = 0;
	if (!parts_room(a, count, t->rows, &p))
		return error_memory(err, "an attention layout");
	layout l = {.count = count, .seg = p.seg};
	for (int64_t r = 0, end; r < t->rows; r = end, i++) {
		end = sequence_end(t, r);
		p.seg[i] = (segment){(int32_t)r, (int32_t)end, first[t->seq[r] / share], first[t->seq[r] / share + 1]};
	}
	layout_finish(&l, p.first);
	*out = l;
	return REBUS_OK;
}
