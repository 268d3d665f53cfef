/* prompt.c - collecting pieces: rebus_prompt_* of rebus.h. Pictures are decoded and processed as they come. */
#include "generate/prompt.h"
#include "rebus_lab.h"

#include <string.h>

#include "tokens/noise.h"

enum { PIECE_MOST = 1 << 20 };

rebus_prompt_options rebus_prompt_defaults(void)
{
	return (rebus_prompt_options){0};
}

static bool parse_positions(const char *name, grid_method *out)
{
	static const struct {
		const char *name;
		grid_method method;
	} list[] = {{"bicubic", GRID_BICUBIC}, {"bilinear", GRID_BILINEAR}, {"antialias", GRID_BICUBIC_WIDE}, {"none", GRID_NONE}};
	for (size_t i = 0; name && i < COUNT_OF(list); i++)
		if (!strcmp(name, list[i].name)) {
			*out = list[i].method;
			return true;
		}
	return !name;
}

static rebus_status check_size(const rebus_model *m, const rebus_prompt_options *o, rebus_error *err)
{
	bool budget = m->vision.f && m->vision.f->tower(m->vision.config)->flat;
	if (o->max_patches && (!budget || o->max_patches < 1 || o->max_patches > PATCHES_MOST))
		return error_set(err, REBUS_MISUSE, "max_patches %d: %s", o->max_patches, budget ? "expected 1 to 65536" : "this model has no budget of patches");
	if (!o->height && !o->width)
		return REBUS_OK;
	if (!m->vision.f)
		return error_set(err, REBUS_MISUSE, "size %dx%d: a %s model reads no pictures", o->height, o->width, rebus_model_family(m));
	const tower_shape *t = m->vision.f->tower(m->vision.config);
	if (o->height < (t->pads ? 1 : t->patch[0]) || o->width < (t->pads ? 1 : t->patch[1]) || o->height > 16384 || o->width > 16384)
		return error_set(err, REBUS_MISUSE, "size %dx%d: expected at least one patch of %dx%d and at most 16384x16384",
			o->height, o->width, t->patch[0], t->patch[1]);
	if (t->flat && (o->height % t->patch[0] || o->width % t->patch[1]))
		return error_set(err, REBUS_MISUSE, "size %dx%d: expected multiples of a patch of %dx%d", o->height, o->width, t->patch[0], t->patch[1]);
	return REBUS_OK;
}

static rebus_status check_mask(const rebus_model *m, const rebus_prompt_options *o, rebus_error *err)
{
	bool masks = m->vision.f && m->vision.f->tower(m->vision.config)->masks;
	if (!masks && (o->mask_given || o->seed_given))
		return error_set(err, REBUS_MISUSE, "%s: a %s model drops no patches", o->mask_given ? "mask ratio" : "seed", rebus_model_family(m));
	if (o->mask_given && !(o->mask_ratio >= 0 && o->mask_ratio < 1))
		return error_set(err, REBUS_MISUSE, "mask ratio %g, expected 0 to below 1", o->mask_ratio);
	return REBUS_OK;
}

rebus_status prompt_new(const rebus_model *m, const rebus_prompt_options *options, const rebus_allocator *from, rebus_prompt **out, rebus_error *err)
{
	rebus_prompt_options o = options ? *options : rebus_prompt_defaults();
	grid_method positions = m->vision.f ? m->vision.f->tower(m->vision.config)->resample : GRID_NONE;
	if (!parse_positions(o.positions, &positions))
		return error_set(err, REBUS_MISUSE, "positions %s, expected bicubic, bilinear, antialias or none", o.positions);
	rebus_status status = check_size(m, &o, err);
	if (!status)
		status = check_mask(m, &o, err);
	if (status)
		return status;
	arena mem;
	arena_init(&mem, from, 0);
	rebus_prompt *p = arena_zero(&mem, 1, sizeof *p);
	if (!p) {
		arena_free(&mem);
		return error_memory(err, "a prompt");
	}
	*p = (rebus_prompt){.m = m, .mem = mem, .options = o, .positions = positions, .listed = o.lists};
	p->options.positions = NULL; /* the caller's string */
	*out = p;
	return REBUS_OK;
}

rebus_status rebus_prompt_new(const rebus_model *m, const rebus_prompt_options *options, rebus_prompt **out, rebus_error *err)
{
	return prompt_new(m, options, m->mem.from, out, err);
}

void rebus_prompt_free(rebus_prompt *p)
{
	if (!p)
		return;
	arena mem = p->mem; /* the prompt lies in its own arena */
	arena_free(&mem);
}

static void *room_for(arena *a, void *list, int32_t count, int32_t *room, size_t size)
{
	if (count < *room)
		return list;
	int32_t next = *room ? 2 * *room : 8;
	void *p = next <= PIECE_MOST ? arena_get(a, (size_t)next, size) : NULL;
	if (p && count)
		memcpy(p, list, (size_t)count * size);
	if (p)
		*room = next;
	return p;
}

static rebus_status add_piece(rebus_prompt *p, piece x, rebus_error *err)
{
	piece *list = room_for(&p->mem, p->pieces, p->piece_count, &p->piece_room, sizeof *list);
	if (!list)
		return error_memory(err, "a prompt");
	x.message = p->role_count;
	p->pieces = list;
	p->pieces[p->piece_count++] = x;
	return REBUS_OK;
}

rebus_status rebus_prompt_text(rebus_prompt *p, const char *text, rebus_error *err)
{
	if (!(p->m->self.f->abilities & REBUS_READS_TEXT) && p->m->config)
		return error_set(err, REBUS_MISUSE, "a text: a %s model reads pictures only", rebus_model_family(p->m));
	size_t n = strlen(text);
	const char *copy = arena_text(&p->mem, text, n);
	if (!copy)
		return error_memory(err, "a prompt");
	return add_piece(p, (piece){.text = copy, .size = n, .picture = -1}, err);
}

rebus_status rebus_prompt_pair(rebus_prompt *p, const char *text, rebus_error *err)
{
	return prompt_pair(p, text, strlen(text), err);
}

rebus_status prompt_pair(rebus_prompt *p, const char *text, size_t size, rebus_error *err)
{
	const text_shape *w = p->m->text.f ? p->m->text.f->words(p->m->text.config) : NULL;
	if (p->m->config && (!w || !w->segments))
		return error_set(err, REBUS_MISUSE, "a pair: a %s model takes no second segment", rebus_model_family(p->m));
	piece *last = p->piece_count ? &p->pieces[p->piece_count - 1] : NULL;
	if (!last || last->image || last->pair)
		return error_set(err, REBUS_MISUSE, "a pair: expected right after the text it belongs to");
	const char *copy = arena_text(&p->mem, text, size);
	if (!copy)
		return error_memory(err, "a prompt");
	last->pair = copy;
	last->pair_size = size;
	return REBUS_OK;
}

rebus_status rebus_prompt_message(rebus_prompt *p, const char *role, rebus_error *err)
{
	if (!(p->m->self.f->abilities & REBUS_GENERATES))
		return error_set(err, REBUS_MISUSE, "a message: a %s model holds no conversation", rebus_model_family(p->m));
	if (p->options.raw)
		return error_set(err, REBUS_MISUSE, "a message: raw prompts have none");
	const char **list = room_for(&p->mem, (void *)p->roles, p->role_count, &p->role_room, sizeof *list);
	if (!list)
		return error_memory(err, "a prompt");
	p->roles = list; /* its room has been counted */
	const char *copy = arena_text(&p->mem, role, strlen(role));
	if (!copy)
		return error_memory(err, "a prompt");
	p->roles[p->role_count++] = copy;
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ pictures */
/* The patch grid of a picture; positions are interpolated where it is not the checkpoint's own size. */
static rebus_status make_grid(const rebus_prompt *p, grid_picture *g, rebus_error *err)
{
	const tower_shape *t = p->m->vision.f->tower(p->m->vision.config);
	bool asked = p->options.height > 0; /* interpolate_pos_encoding=True */
	if (g->px.channels != t->channels)
		return error_set(err, REBUS_MISUSE, "a picture of %d planes, expected %lld", g->px.channels, (long long)t->channels);
	g->rows = t->pads ? (int32_t)ceil_div(g->px.height, t->patch[0]) : g->px.height / t->patch[0];
	g->columns = t->pads ? (int32_t)ceil_div(g->px.width, t->patch[1]) : g->px.width / t->patch[1];
	if (!g->rows || !g->columns)
		return error_set(err, REBUS_MISUSE, "a picture of %dx%d after processing, expected at least one patch of %dx%d",
			g->px.height, g->px.width, t->patch[0], t->patch[1]);
	if (t->flat && (g->px.height % t->patch[0] || g->px.width % t->patch[1]))
		return error_set(err, REBUS_MISUSE, "a picture of %dx%d after processing, expected multiples of a patch of %dx%d", g->px.height, g->px.width,
			t->patch[0], t->patch[1]);
	if (t->grid[0]) {
		g->resample = t->positions && (g->rows != t->grid[0] || g->columns != t->grid[1]);
		return REBUS_OK;
	}
	bool own = g->px.height == t->image[0] && g->px.width == t->image[1];
	bool square = (int64_t)g->rows * g->columns == t->positions - t->placed && g->px.height == g->px.width;
	g->resample = t->positions && !(asked || t->always ? square : own);
	return REBUS_OK;
}

/* The patches of the least noise, in its order, as ViTMAE's argsort has them. */
static rebus_status keep_least(rebus_prompt *p, grid_picture *g, rebus_error *err)
{
	const tower_shape *t = p->m->vision.f->tower(p->m->vision.config);
	int32_t count = g->rows * g->columns;
	g->kept = arena_get(&p->mem, (size_t)count, sizeof *g->kept);
	if (!g->kept)
		return error_memory(err, "a picture");
	tokens_by_noise(g->noise, count, g->kept);
	g->seen = (int32_t)((double)count * (1 - (p->options.mask_given ? p->options.mask_ratio : t->mask_ratio)));
	return REBUS_OK;
}

rebus_status prompt_mask(rebus_prompt *p, int32_t number, const float *noise, rebus_error *err)
{
	grid_picture *g = &p->pictures[number];
	memcpy(g->noise, noise, (size_t)(g->rows * g->columns) * sizeof *noise);
	return keep_least(p, g, err);
}

/* Noise of our own: of the seed, the picture's number and the patch's alone. */
static rebus_status drop_patches(rebus_prompt *p, grid_picture *g, rebus_error *err)
{
	size_t count = (size_t)g->rows * (size_t)g->columns;
	g->noise = arena_get(&p->mem, count, sizeof *g->noise);
	if (!g->noise)
		return error_memory(err, "a picture");
	for (size_t i = 0; i < count; i++)
		g->noise[i] = tokens_noise(p->options.mask_seed, (uint64_t)p->picture_count, i);
	return keep_least(p, g, err);
}

static rebus_status add_processed(rebus_prompt *p, pixels px, int32_t padded, rebus_error *err)
{
	grid_picture g = {.px = px, .positions = p->positions};
	rebus_status status = make_grid(p, &g, err);
	g.seen = g.rows * g.columns;
	if (!status && p->m->vision.f->tower(p->m->vision.config)->masks)
		status = drop_patches(p, &g, err);
	if (status)
		return status;
	g.padded = padded ? (int32_t)int_max(padded, g.rows * g.columns) : 0;
	grid_picture *list = room_for(&p->mem, p->pictures, p->picture_count, &p->picture_room, sizeof *list);
	if (!list)
		return error_memory(err, "a picture");
	p->pictures = list;
	p->pictures[p->picture_count] = g;
	status = add_piece(p, (piece){.image = true, .text = "", .picture = p->picture_count}, err);
	p->picture_count += !status;
	return status;
}

rebus_status prompt_add_pixels(rebus_prompt *p, const float *data, int32_t channels, int32_t height, int32_t width, int32_t padded, rebus_error *err)
{
	size_t n = (size_t)channels * (size_t)height * (size_t)width;
	float *copy = arena_get(&p->mem, n, sizeof *copy);
	if (!copy)
		return error_memory(err, "a picture");
	memcpy(copy, data, n * sizeof *copy);
	return add_processed(p, (pixels){.data = copy, .channels = channels, .height = height, .width = width}, padded, err);
}

static rebus_status reads_pictures(const rebus_prompt *p, rebus_error *err)
{
	if (!p->m->vision.f)
		return error_set(err, REBUS_MISUSE, "a picture: a %s model reads text only", rebus_model_family(p->m));
	if (!p->m->pictures)
		return error_set(err, REBUS_IO, "%s: no preprocessor_config.json, so pictures cannot be prepared", p->m->folder);
	return REBUS_OK;
}

/* Decoded pixels are scratch; only what the tower reads stays. */
static rebus_status process(rebus_prompt *p, const picture *in, const char *name, rebus_error *err)
{
	const processor *pipe = p->m->pictures;
	const tower_shape *t = p->m->vision.f->tower(p->m->vision.config);
	vision_size size = {p->options.height, p->options.width, p->options.max_patches};
	pixels px;
	if (t->flat && pipe->budget && (pipe->patch != t->patch[0] || pipe->patch != t->patch[1]))
		return error_set(err, REBUS_SHAPE, "%s: the image processor's patch_size is %d, expected the model's, %d", p->m->folder, pipe->patch, t->patch[0]);
	int32_t padded = !t->flat || !pipe->budget ? 0 : size.budget ? size.budget : pipe->budget;
	vision_backend backend = p->options.pil ? VISION_PIL : VISION_TORCHVISION;
	rebus_status status = vision_prepare(&p->mem, p->m->k, pipe, in, backend, &size, &px, err);
	if (!status)
		status = add_processed(p, px, padded, err);
	return status ? error_prefix(err, status, "%s", name) : REBUS_OK;
}

rebus_status rebus_prompt_image_bytes(rebus_prompt *p, const void *bytes, size_t size, const char *name, rebus_error *err)
{
	rebus_status status = reads_pictures(p, err);
	if (status)
		return status;
	arena scratch;
	arena_init(&scratch, p->mem.from, 0);
	picture pic;
	status = vision_decode(&scratch, bytes, size, name, NULL, &pic, err);
	if (!status)
		status = process(p, &pic, name, err);
	arena_free(&scratch);
	return status;
}

rebus_status rebus_prompt_image_file(rebus_prompt *p, const char *path, rebus_error *err)
{
	rebus_status status = reads_pictures(p, err);
	if (status)
		return status;
	arena scratch;
	arena_init(&scratch, p->mem.from, 0);
	picture pic;
	status = vision_load(&scratch, path, NULL, &pic, err);
	if (!status)
		status = process(p, &pic, path, err);
	arena_free(&scratch);
	return status;
}

rebus_status rebus_prompt_image_rgb(rebus_prompt *p, const uint8_t *rgb, int32_t height, int32_t width, rebus_error *err)
{
	rebus_status status = reads_pictures(p, err);
	if (status)
		return status;
	if (height < 1 || width < 1)
		return error_set(err, REBUS_MISUSE, "a picture of %dx%d", height, width);
	picture pic = {.width = width, .height = height, .channels = 3, .pixels = (uint8_t *)rgb};
	return process(p, &pic, "picture", err);
}

rebus_status prompt_picture(rebus_prompt *p, const picture *in, const char *name, rebus_error *err)
{
	rebus_status status = reads_pictures(p, err);
	return status ? status : process(p, in, name, err);
}

int32_t prompt_texts(const rebus_prompt *p)
{
	int32_t n = 0;
	for (int32_t i = 0; i < p->piece_count; i++)
		n += !p->pieces[i].image;
	return n;
}

int64_t prompt_feature_rows(const rebus_model *m, const grid_picture *g)
{
	const tower_shape *t = m->vision.f->tower(m->vision.config);
	int64_t patches = (int64_t)g->rows * g->columns;
	switch (m->self.f->vision_pick(m)) {
	case PICK_PATCHES:
		return patches;
	case PICK_ALL:
		return patches + t->learned;
	default:
		return 1;
	}
}

size_t rebus_prompt_rows(const rebus_prompt *p)
{
	int64_t rows = 0;
	for (int32_t i = 0; i < p->picture_count; i++)
		rows += p->m->vision.f->tower(p->m->vision.config)->learned + (int64_t)p->pictures[i].rows * p->pictures[i].columns;
	return (size_t)rows;
}
