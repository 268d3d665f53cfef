/*
 * picture_gif.c - GIF, read here because the reference's answers are its own reader's: giflib refuses what Pillow shows
 * (frames outside the screen, codes after the end code) and shows what Pillow refuses (a picture that ends early).
 *
 *   GIF89a | width, height, flags, background | palette | ! extension ... | , x, y, width, height, flags | palette |
 *   code size | blocks of 1 + n bytes, 0 ends them | ! ... | , ... | ;
 *
 * Pillow's rules (GifImagePlugin.py, GifDecode.c):
 *
 *   - A palette that is the ramp 0, 1, 2, ... is none: the picture is grey. A frame's own palette wins, also as a ramp.
 *   - The first frame stands on its transparent index if it names one, else on index 0, and makes the screen larger if it
 *     reaches beyond it.
 *   - An empty block does not end the codes, nor does the end code: reading goes on with what follows until the frame is
 *     full, and a file without it is cut off. (An end code is only an error where the file has been read to its end; Pillow
 *     reads 65536 bytes at a time, so how long the file is matters, and it does here.)
 *   - Bytes between blocks that are neither ! , nor ; are skipped.
 *
 * Later frames are laid over what is there, after the one before was disposed of: left, replaced by its transparency or the
 * background colour, or taken back. (Where only the first is grey, Pillow 13 takes the next one's indices for greys; here they
 * have their colours. Frames that reach beyond the first one's screen are refused.)
 */
#include "vision/picture.h"

#include <string.h>

enum { BITS = 12, TABLE = 1 << BITS, CHUNK = 65536 };

typedef struct {
	const uint8_t *bytes;
	size_t size, at;
	const char *name;
	uint32_t width, height, colours;
	bool coloured; /* there is a global palette, which is not the grey ramp */
	uint8_t background;
	uint8_t palette[256][3]; /* the global one */
	int disposal;            /* kept by frames that name none */
} gif;

typedef struct {
	uint32_t x, y, width, height, colours; /* colours: of the palette */
	bool coloured, interlaced;
	int transparent; /* index, or -1 */
	int disposal;
	int32_t duration;
	int code_bits;
	size_t codes; /* where the blocks start */
	uint8_t palette[256][3];
} frame;

static rebus_status cut(const gif *g, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: GIF ends inside the picture, after %zu bytes", g->name, g->size);
}

static uint32_t u16(const uint8_t *p)
{
	return picture_little(p, 2);
}

/* A block's bytes, fewer where the file ends; NULL for the empty block and at the end. */
static const uint8_t *block(gif *g, size_t *n)
{
	*n = 0;
	if (g->at >= g->size)
		return NULL;
	size_t want = g->bytes[g->at++], there = g->size - g->at;
	const uint8_t *p = g->bytes + g->at;
	*n = want < there ? want : there;
	g->at += *n;
	return want ? p : NULL;
}

/* As Pillow's `while self.data()`: an empty read ends it too */
static void skip_blocks(gif *g)
{
	size_t n;
	while (block(g, &n) && n)
		;
}

static rebus_status read_palette(gif *g, int bits, uint8_t palette[256][3], uint32_t *colours, bool *coloured, rebus_error *err)
{
	size_t n = (size_t)3 << bits;
	if (g->size - g->at < n)
		return cut(g, err);
	memset(palette, 0, 256 * 3);
	memcpy(palette, g->bytes + g->at, n);
	g->at += n;
	*colours = (uint32_t)n / 3;
	*coloured = false;
	for (size_t i = 0; i < n / 3; i++)
		*coloured |= palette[i][0] != i || palette[i][1] != i || palette[i][2] != i;
	return REBUS_OK;
}

static rebus_status read_screen(gif *g, rebus_error *err)
{
	if (g->size < 13)
		return cut(g, err);
	g->width = u16(g->bytes + 6);
	g->height = u16(g->bytes + 8);
	g->at = 13;
	int flags = g->bytes[10];
	if (!(flags & 128))
		return REBUS_OK;
	g->background = g->bytes[11];
	return read_palette(g, (flags & 7) + 1, g->palette, &g->colours, &g->coloured, err);
}

static rebus_status read_extension(gif *g, frame *f, bool first, rebus_error *err)
{
	size_t n;
	if (g->at >= g->size)
		return cut(g, err);
	int label = g->bytes[g->at++];
	const uint8_t *p = block(g, &n);
	if (label == 0xfe) {
		if (p && n)
			skip_blocks(g);
		return REBUS_OK;
	}
	if (label == 0xf9 && p) {
		if (n < 3 || ((p[0] & 1) && n < 4))
			return error_set(err, REBUS_FORMAT, "%s: GIF control block of %zu bytes, expected 4", g->name, n);
		if (p[0] & 1)
			f->transparent = p[3];
		f->duration = (int32_t)u16(p + 1) * 10;
		if (p[0] >> 2 & 7)
			g->disposal = p[0] >> 2 & 7;
	}
	if (label == 0xff && first && p && n >= 11 && !memcmp(p, "NETSCAPE2.0", 11))
		block(g, &n);
	skip_blocks(g);
	return REBUS_OK;
}

static rebus_status read_descriptor(gif *g, frame *f, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	if (g->size - g->at < 9)
		return cut(g, err);
	const uint8_t *s = g->bytes + g->at;
	g->at += 9;
	f->x = u16(s);
	f->y = u16(s + 2);
	f->width = u16(s + 4);
	f->height = u16(s + 6);
	f->interlaced = s[8] & 64;
	f->coloured = g->coloured;
	f->colours = g->colours;
	memcpy(f->palette, g->palette, sizeof f->palette);
	if (s[8] & 128)
		TRY(read_palette(g, (s[8] & 7) + 1, f->palette, &f->colours, &f->coloured, err));
	if (g->at >= g->size)
		return cut(g, err);
	f->code_bits = g->bytes[g->at++];
	f->codes = g->at;
	f->disposal = g->disposal;
done:
	return status;
}

/* Up to the next frame's codes; *found false: there is none. */
static rebus_status next_frame(gif *g, frame *f, bool first, bool *found, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	*f = (frame){.transparent = -1};
	*found = false;
	while (!*found && g->at < g->size) {
		int c = g->bytes[g->at++];
		if (c == ';')
			break;
		if (c == '!')
			TRY(read_extension(g, f, first, err));
		if (c == ',') {
			TRY(read_descriptor(g, f, err));
			*found = true;
		}
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ codes */
/*
 * A code below `clear` is an index; clear and clear + 1 restart and end; the others name a string that is another code's
 * string and one index more. Strings come out from their last index to their first, so they are turned in `string`.
 */
typedef struct {
	const gif *g;
	size_t at, seen; /* seen: what Pillow would have read of the file by now */
	size_t left;     /* of the block */
	uint32_t bits;
	int count; /* of bits */
} bit_reader;

typedef struct {
	uint16_t link[TABLE];
	uint8_t last[TABLE], string[TABLE];
} code_table;

/* Where the codes go: index by index, row by row, in the order of the passes. */
typedef struct {
	uint8_t *to; /* the frame's first index */
	size_t stride;
	uint32_t width, height, x, y, step;
	int pass; /* 1 to 3: the next pass to come; 0: none */
} filler;

/* false: the frame is full */
static bool put(filler *f, uint8_t index)
{
	static const uint8_t first[] = {0, 4, 2, 1}, steps[] = {0, 8, 4, 2};
	f->to[f->y * f->stride + f->x] = index;
	if (++f->x < f->width)
		return true;
	f->x = 0;
	f->y += f->step;
	while (f->y >= f->height) {
		if (!f->pass)
			return false;
		f->y = first[f->pass];
		f->step = steps[f->pass];
		f->pass = f->pass < 3 ? f->pass + 1 : 0;
	}
	return true;
}

/* More of the file, where there is more */
static bool see_more(bit_reader *r)
{
	if (r->seen >= r->g->size)
		return false;
	r->seen = r->g->size - r->seen < CHUNK ? r->g->size : r->seen + CHUNK;
	return true;
}

/* -1: cut off */
static int next_code(bit_reader *r, int size)
{
	while (r->count < size) {
		if (!r->left) {
			while (r->at >= r->seen || r->seen - r->at < (size_t)r->g->bytes[r->at] + 1)
				if (!see_more(r))
					return -1;
			r->left = r->g->bytes[r->at++];
			continue;
		}
		r->bits |= (uint32_t)r->g->bytes[r->at++] << r->count;
		r->count += 8;
		r->left--;
	}
	int code = (int)(r->bits & ((1u << size) - 1));
	r->bits >>= size;
	r->count -= size;
	return code;
}

static rebus_status broken(const gif *g, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: GIF cannot be decoded: a code that names nothing", g->name);
}

static rebus_status read_codes(const gif *g, const frame *f, code_table *t, filler *fill, rebus_error *err)
{
	bit_reader r = {.g = g, .at = f->codes, .seen = f->codes};
	if (f->code_bits > BITS)
		return error_set(err, REBUS_FORMAT, "%s: GIF codes of %d bits, expected at most %d", g->name, f->code_bits, BITS);
	const int clear = 1 << f->code_bits;
	int size = f->code_bits + 1, next = clear + 2, last_code = 0, code;
	uint8_t last = 0;
	bool fresh = true; /* nothing came since the last clear code */
	see_more(&r);
	for (;;) {
		if ((code = next_code(&r, size)) < 0)
			return cut(g, err);
		if (code == clear) {
			size = f->code_bits + 1;
			next = clear + 2;
			fresh = true;
			continue;
		}
		if (code == clear + 1) {
			if (!see_more(&r))
				return cut(g, err);
			continue;
		}
		int n = TABLE; /* the string starts here and runs to the end of t->string */
		if (fresh) {
			if (code > clear)
				return broken(g, err);
			fresh = false;
			last = (uint8_t)code;
			last_code = code;
		} else {
			int c = code;
			if (c > next)
				return broken(g, err);
			if (c == next) { /* the string before, and its first index again */
				t->string[--n] = last;
				c = last_code;
			}
			for (; c >= clear; c = t->link[c]) {
				if (!n || c >= TABLE)
					return broken(g, err);
				t->string[--n] = t->last[c];
			}
			last = (uint8_t)c;
			if (next < TABLE) {
				t->last[next] = last;
				t->link[next] = (uint16_t)last_code;
				if (next == (1 << size) - 1 && size < BITS)
					size++;
				next++;
			}
			last_code = code;
		}
		if (!put(fill, last))
			return REBUS_OK;
		while (n < TABLE)
			if (!put(fill, t->string[n++]))
				return REBUS_OK;
	}
}

/* indices: the whole picture, `width` indices a row */
static rebus_status decode_frame(const gif *g, arena *a, const frame *f, uint8_t *indices, uint32_t width, rebus_error *err)
{
	arena_mark here = arena_here(a);
	code_table *t = arena_zero(a, 1, sizeof *t);
	if (!t)
		return error_memory(err, g->name);
	filler fill = {
		.to = indices + (size_t)f->y * width + f->x, .stride = width, .width = f->width, .height = f->height,
		.step = f->interlaced ? 8 : 1, .pass = f->interlaced,
	};
	rebus_status status = read_codes(g, f, t, &fill, err);
	arena_release(a, here);
	return status;
}

/* ------------------------------------------------------------------------------------------------ pictures */
static rebus_status first_frame(gif *g, const picture_source *in, frame *f, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool found = false;
	*g = (gif){.bytes = in->bytes, .size = in->size, .name = in->name};
	TRY(read_screen(g, err));
	TRY(next_frame(g, f, true, &found, err));
	if (!found)
		return error_set(err, REBUS_FORMAT, "%s: GIF without a picture", in->name);
	if (!f->width || !f->height)
		return error_set(err, REBUS_FORMAT, "%s: GIF frame of %u x %u pixels, expected at least 1 x 1", in->name, (unsigned)f->width,
		                 (unsigned)f->height);
	g->width = f->x + f->width > g->width ? f->x + f->width : g->width;
	g->height = f->y + f->height > g->height ? f->y + f->height : g->height;
done:
	return status;
}

/* One index as the planes of a picture. */
static void colour(const frame *f, uint8_t index, int channels, uint8_t *out)
{
	for (int c = 0; c < (channels > 2 ? 3 : 1); c++)
		out[c] = f->coloured ? f->palette[index][c] : index;
	if (channels == 2 || channels == 4)
		out[channels - 1] = index == f->transparent ? 0 : 255;
}

static rebus_status read_first(const gif *g, arena *a, const picture_source *in, const frame *f, int channels, picture *p,
                               uint8_t **indices, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	TRY(picture_new(a, in, g->width, g->height, channels, 1, f->coloured ? "P" : "L", p, err));
	size_t all = (size_t)g->width * g->height;
	*indices = arena_get(a, all, 1);
	if (!*indices)
		return error_memory(err, in->name);
	memset(*indices, f->transparent < 0 ? 0 : f->transparent, all);
	TRY(decode_frame(g, a, f, *indices, g->width, err));
	for (size_t i = 0; i < all; i++)
		colour(f, (*indices)[i], channels, p->pixels + i * (size_t)channels);
done:
	return status;
}

rebus_status picture_gif(arena *a, const picture_source *in, picture *out, int *orientation, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	gif g;
	frame f;
	picture p = {0};
	uint8_t *indices;
	(void)orientation;
	TRY(first_frame(&g, in, &f, err));
	TRY(read_first(&g, a, in, &f, (f.coloured ? 3 : 1) + (f.transparent >= 0), &p, &indices, err));
	*out = p;
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ animations */
static rebus_status count_frames(gif g, int64_t *count, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	frame f;
	bool found = true;
	for (*count = 1; found; *count += found) {
		skip_blocks(&g);
		TRY(next_frame(&g, &f, false, &found, err));
	}
done:
	return status;
}

static void fill_extent(picture *p, const frame *f, const uint8_t value[4])
{
	for (size_t y = f->y; y < f->y + f->height; y++)
		for (size_t x = f->x; x < f->x + f->width; x++)
			memcpy(p->pixels + (y * (size_t)p->width + x) * (size_t)p->channels, value, (size_t)p->channels);
}

/* What frame f leaves for the next one, on `p`, which shows f; before: what was there before f, NULL for the first frame. */
static void dispose(const gif *g, picture *p, const picture *before, const frame *f)
{
	uint8_t value[4], index = f->transparent >= 0 ? (uint8_t)f->transparent : g->background;
	if (f->disposal < 2 || (f->disposal > 2 && !before && f->transparent < 0))
		return;
	if (f->disposal > 2 && before) {
		for (size_t y = f->y; y < f->y + f->height; y++) {
			size_t at = (y * (size_t)p->width + f->x) * (size_t)p->channels;
			memcpy(p->pixels + at, before->pixels + at, f->width * (size_t)p->channels);
		}
		return;
	}
	colour(f, index, p->channels, value);
	if (before && f->coloured && index >= f->colours)
		memcpy(value, f->palette[0], 3);
	fill_extent(p, f, value);
}

static void lay_over(picture *p, const frame *f, const uint8_t *indices)
{
	frame opaque = *f;
	opaque.transparent = -1;
	for (size_t y = f->y; y < f->y + f->height; y++)
		for (size_t x = f->x; x < f->x + f->width; x++) {
			size_t i = y * (size_t)p->width + x;
			if (indices[i] != f->transparent)
				colour(&opaque, indices[i], p->channels, p->pixels + i * (size_t)p->channels);
		}
}

rebus_status picture_gif_frames(arena *a, const picture_source *in, picture_frames *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	gif g;
	frame f;
	picture_frames all = {0};
	picture canvas, before = {0};
	uint8_t *indices;
	int64_t count;
	bool found;
	TRY(first_frame(&g, in, &f, err));
	TRY(count_frames(g, &count, err));
	TRY(picture_frames_new(a, in, count, g.width, g.height, &all, err));
	int channels = f.transparent >= 0 ? 4 : 3;
	TRY(read_first(&g, a, in, &f, channels, &canvas, &indices, err));
	TRY(picture_new(a, in, g.width, g.height, channels, 0, NULL, &before, err));
	size_t bytes = (size_t)g.width * g.height * (size_t)channels;
	canvas.mode = channels == 4 ? "RGBA" : "RGB";
	for (int32_t k = 0;; k++) {
		TRY(picture_new(a, in, g.width, g.height, channels, 0, canvas.mode, &all.at[k], err));
		memcpy(all.at[k].pixels, canvas.pixels, bytes);
		all.duration[k] = f.duration;
		if (k + 1 == all.count)
			break;
		dispose(&g, &canvas, k ? &before : NULL, &f);
		skip_blocks(&g);
		TRY(next_frame(&g, &f, false, &found, err));
		if (!f.width || !f.height || f.x + f.width > g.width || f.y + f.height > g.height) {
			status = error_set(err, REBUS_UNSUPPORTED, "%s: GIF frame %d of %u x %u at %u, %u, beyond the picture's %u x %u", in->name,
			                   (int)k + 1, (unsigned)f.width, (unsigned)f.height, (unsigned)f.x, (unsigned)f.y, (unsigned)g.width,
			                   (unsigned)g.height);
			goto done;
		}
		memcpy(before.pixels, canvas.pixels, bytes);
		TRY(decode_frame(&g, a, &f, indices, g.width, err));
		lay_over(&canvas, &f, indices);
	}
	*out = all;
done:
	return status;
}
