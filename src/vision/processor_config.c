/*
 * processor_config.c - reads a processor from its JSON file; see processor.h.
 *
 *   preprocessor_config.json                     processor_config.json (transformers 5)
 *   { "image_processor_type": "CLIP...",         { "image_processor": { "image_processor_type": "CLIP...", ... },
 *     "size": 224, "crop_size": 224, ... }         "processor_class": "CLIPProcessor" }
 *
 * The class is named by image_processor_type, in old files by feature_extractor_type (CLIPFeatureExtractor is
 * CLIPImageProcessor), with Fast or Pil behind it or not. A field that is absent has the class's value, from
 * models/<family>/image_processing_<family>.py of transformers 5.23.0, in the table below. A null is Python's None: a step
 * is off, and what a step needs is missing, which is an error where the step is on.
 *
 * size and crop_size come in several forms: a number (a square, or the shortest edge where default_to_square is false),
 * [height, width], {height, width}, {shortest_edge}, {shortest_edge, longest_edge}, {max_height, max_width}.
 */
#include "vision/processor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SIDE = 65535, MOST_WARNINGS = 32, MOST_BYTES = 1 << 20, MOST_VALUES = 20000, MOST_NAME = 64 };

typedef struct {
	const char *name;
	vision_filter filter;
	bool openai, convert_rgb, square, pads_square; /* mean and std of CLIP, else 0.5; square: default_to_square */
	processor_size size;
	int32_t crop; /* side; 0: none */
	int32_t patch, budget; /* 0: none */
} class_defaults;

static const class_defaults classes[] = {
	{.name = "ViTImageProcessor", .filter = VISION_BILINEAR, .square = true, .size = {.height = 224, .width = 224}},
	{.name = "DeiTImageProcessor", .filter = VISION_BICUBIC, .square = true, .size = {.height = 256, .width = 256}, .crop = 224},
	{.name = "CLIPImageProcessor", .filter = VISION_BICUBIC, .openai = true, .convert_rgb = true, .size = {.shortest = 224},
	 .crop = 224},
	{.name = "LlavaImageProcessor", .filter = VISION_BICUBIC, .openai = true, .convert_rgb = true, .pads_square = true,
	 .size = {.shortest = 224}, .crop = 224},
	{.name = "BitImageProcessor", .filter = VISION_BICUBIC, .openai = true, .convert_rgb = true, .size = {.shortest = 224},
	 .crop = 224},
	{.name = "BlipImageProcessor", .filter = VISION_BICUBIC, .openai = true, .convert_rgb = true, .square = true,
	 .size = {.height = 384, .width = 384}},
	{.name = "SiglipImageProcessor", .filter = VISION_BICUBIC, .convert_rgb = true, .size = {.height = 224, .width = 224}},
	{.name = "Siglip2ImageProcessor", .filter = VISION_BILINEAR, .patch = 16, .budget = 256},
};

static const double openai_mean[3] = {0.48145466, 0.4578275, 0.40821073}, openai_std[3] = {0.26862954, 0.26130258, 0.27577711};

/* Read here, or understood and without effect on one picture's values. */
static const char *const known_fields[] = {
	"image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "do_convert_rgb", "do_resize", "size",
	"default_to_square", "crop_size", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std",
	"do_pad", "pad_size", "do_center_crop", "data_format", "input_data_format", "device", "return_tensors",
	"disable_grouping", "image_seq_length", "_valid_processor_keys",
};

typedef struct {
	arena *a;
	const json *map;
	const char *file;
	const char *lines[MOST_WARNINGS];
	int32_t count;
} reading;

/* ------------------------------------------------------------------------------------------------ the class */
static int32_t distance(const char *a, const char *b)
{
	int32_t row[MOST_NAME + 1], n = (int32_t)strlen(b);
	for (int32_t j = 0; j <= n; j++)
		row[j] = j;
	for (int32_t i = 0; a[i]; i++) {
		int32_t corner = row[0];
		row[0] = i + 1;
		for (int32_t j = 1; j <= n; j++) {
			int32_t change = corner + (a[i] != b[j - 1]);
			corner = row[j];
			row[j] = (int32_t)int_min(change, int_min(row[j], row[j - 1]) + 1);
		}
	}
	return row[n];
}

static rebus_status unknown_class(const reading *r, const char *name, rebus_error *err)
{
	const char *best = classes[0].name;
	for (size_t i = 1; i < COUNT_OF(classes); i++)
		if (distance(name, classes[i].name) < distance(name, best))
			best = classes[i].name;
	return error_set(err, REBUS_UNSUPPORTED, "%s: image processor %s is not supported; the nearest that is: %s", r->file, name,
	                 best);
}

static void cut_tail(char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);
	if (n > t && !strcmp(name + n - t, tail))
		name[n - t] = 0;
}

static rebus_status find_class(const reading *r, const char *fallback, const class_defaults **out, rebus_error *err)
{
	char name[MOST_NAME + 1] = "";
	size_t n = 0;
	const char *type = json_text(json_get(r->map, "image_processor_type"), &n);
	if (!type && (type = json_text(json_get(r->map, "feature_extractor_type"), &n)) == NULL && fallback) {
		type = fallback;
		n = strlen(fallback);
	}
	if (!type)
		return error_set(err, REBUS_FORMAT, "%s: names no image_processor_type", r->file);
	if (n > MOST_NAME - 8 || memchr(type, 0, n))
		return error_set(err, REBUS_UNSUPPORTED, "%s: image_processor_type is a text of %zu bytes, expected a class name",
		                 r->file, n);
	memcpy(name, type, n);
	cut_tail(name, "Fast");
	cut_tail(name, "Pil");
	size_t stem = strlen(name);
	cut_tail(name, "FeatureExtractor");
	if (strlen(name) < stem)
		strcat(name, "ImageProcessor"); /* two letters shorter than what was cut */
	for (size_t i = 0; i < COUNT_OF(classes); i++)
		if (!strcmp(classes[i].name, name)) {
			*out = &classes[i];
			return REBUS_OK;
		}
	return unknown_class(r, name, err);
}

/* ------------------------------------------------------------------------------------------------ fields */
static rebus_status wrong(const reading *r, const char *key, const char *expected, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: %s: expected %s", r->file, key, expected);
}

static bool is_null(const reading *r, const char *key)
{
	return json_has(r->map, key) && !json_get(r->map, key);
}

static rebus_status read_flag(const reading *r, const char *key, bool *out, rebus_error *err)
{
	const json *j = json_get(r->map, key);
	if (is_null(r, key))
		*out = false;
	else if (j && !json_flag(j, out))
		return wrong(r, key, "true or false", err);
	return REBUS_OK;
}

static bool side(const json *j, int32_t *out)
{
	int64_t v;
	if (!json_int(j, &v) || v < 1 || v > MOST_SIDE)
		return false;
	*out = (int32_t)v;
	return true;
}

static bool size_from_map(const json *j, processor_size *out)
{
	processor_size s = {0};
	int32_t longest_only = 0, least = 0, most = 0;
	const struct {
		const char *key;
		int32_t *to;
	} fields[] = {
		{"height", &s.height}, {"width", &s.width}, {"shortest_edge", &s.shortest}, {"longest_edge", &s.longest},
		{"max_height", &s.max_height}, {"max_width", &s.max_width}, {"min_pixels", &least}, {"max_pixels", &most},
	};
	size_t given = 0, read = 0;
	for (json_each it = json_first(j); json_next(&it);)
		given += json_kind_of(it.value) != JSON_NULL && json_kind_of(it.value) != JSON_NONE;
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		const json *v = json_get(j, fields[i].key);
		if (v && !side(v, fields[i].to))
			return false;
		read += v != NULL;
	}
	longest_only = s.longest && !s.shortest;
	bool one_form = (s.height && s.width && read == 2) || (s.shortest && read == (s.longest ? 2u : 1u)) ||
	                (s.max_height && s.max_width && read == 2);
	*out = s;
	return read == given && one_form && !longest_only;
}

/* Unchanged where the field is absent. */
static rebus_status read_size(const reading *r, const char *key, bool square, processor_size *out, rebus_error *err)
{
	static const char forms[] = "a number, [height, width], {height, width}, {shortest_edge}, {shortest_edge, longest_edge} "
	                            "or {max_height, max_width}, each 1 ... 65535";
	const json *j = json_get(r->map, key);
	processor_size s = {0};
	if (!j)
		return REBUS_OK;
	switch (json_kind_of(j)) {
	case JSON_INT:
	case JSON_REAL:
		if (!side(j, square ? &s.height : &s.shortest))
			return wrong(r, key, forms, err);
		s.width = s.height;
		break;
	case JSON_LIST:
		if (json_count(j) != 2 || !side(json_at(j, 0), &s.height) || !side(json_at(j, 1), &s.width))
			return wrong(r, key, forms, err);
		break;
	default:
		if (!size_from_map(j, &s))
			return wrong(r, key, forms, err);
	}
	*out = s;
	return REBUS_OK;
}

static rebus_status read_exact(const reading *r, const char *key, int32_t *height, int32_t *width, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	processor_size s = {.height = *height, .width = *width};
	TRY(read_size(r, key, true, &s, err));
	if (json_get(r->map, key) && !s.height)
		return wrong(r, key, "height and width", err);
	*height = s.height;
	*width = s.width;
done:
	return status;
}

static rebus_status read_count(const reading *r, const char *key, int32_t most, int32_t *out, rebus_error *err)
{
	int64_t v = *out;
	if (is_null(r, key) || (json_has(r->map, key) && (!json_int(json_get(r->map, key), &v) || v < 1 || v > most)))
		return error_set(err, REBUS_FORMAT, "%s: %s: expected a whole number from 1 to %d", r->file, key, (int)most);
	*out = (int32_t)v;
	return REBUS_OK;
}

/* One number for all channels (count 0) or a list of 1 ... 4 */
static rebus_status read_numbers(const reading *r, const char *key, bool divisor, int32_t *count, double out[4], rebus_error *err)
{
	const json *j = json_get(r->map, key);
	bool list = json_kind_of(j) == JSON_LIST;
	size_t n = list ? json_count(j) : 1;
	double v[4] = {0};
	if (!j)
		return REBUS_OK;
	if (n < 1 || n > 4)
		return wrong(r, key, "a number or a list of 1 to 4 numbers", err);
	for (size_t i = 0; i < n; i++) {
		if (!json_real(list ? json_at(j, i) : j, &v[i]) || !isfinite(v[i]) || fabs(v[i]) > 1e30)
			return wrong(r, key, "a number or a list of 1 to 4 numbers", err);
		if (divisor && fabs(v[i]) < 1e-30)
			return wrong(r, key, "numbers other than 0", err);
	}
	*count = list ? (int32_t)n : 0;
	memcpy(out, v, sizeof(v));
	return REBUS_OK;
}

static rebus_status read_filter(const reading *r, vision_filter *out, rebus_error *err)
{
	const json *j = json_get(r->map, "resample");
	int64_t v;
	if (!j)
		return REBUS_OK;
	if (!json_int(j, &v) || v < 0 || v >= VISION_FILTERS)
		return wrong(r, "resample", "a number of Pillow's: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming", err);
	*out = (vision_filter)v;
	return REBUS_OK;
}

static rebus_status read_scale(const reading *r, double *out, rebus_error *err)
{
	const json *j = json_get(r->map, "rescale_factor");
	if (j && (!json_real(j, out) || !isfinite(*out) || fabs(*out) < 1e-30 || fabs(*out) > 1e30))
		return wrong(r, "rescale_factor", "a number other than 0", err);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ warnings */
static rebus_status warn(reading *r, const char *before, const char *key, const char *after, rebus_error *err)
{
	if (r->count == MOST_WARNINGS)
		return REBUS_OK;
	char *line = arena_format(r->a, "%s: %s%.64s%s", r->file, before, key, after);
	if (!line)
		return error_memory(err, r->file);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 32 || *c == 127)
			*c = ' ';
	r->lines[r->count++] = line;
	return REBUS_OK;
}

static rebus_status warn_unknown(reading *r, const class_defaults *c, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	for (json_each it = json_first(r->map); json_next(&it);) {
		bool known = !strcmp(it.key, "use_square_size") && !strcmp(c->name, "CLIPImageProcessor");
		known |= c->budget && (!strcmp(it.key, "patch_size") || !strcmp(it.key, "max_num_patches"));
		for (size_t i = 0; i < COUNT_OF(known_fields) && !known; i++)
			known = !strcmp(it.key, known_fields[i]);
		if (!known)
			TRY(warn(r, "field \"", it.key, "\" is not read by this image processor", err));
	}
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ the whole */
static processor from_class(const class_defaults *c)
{
	processor p = {
		.name = c->name,
		.convert_rgb = c->convert_rgb,
		.resize = true,
		.crop = c->crop > 0,
		.rescale = true,
		.normalize = true,
		.size = c->size,
		.crop_height = c->crop,
		.crop_width = c->crop,
		.patch = c->patch,
		.budget = c->budget,
		.filter = c->filter,
		.rescale_factor = 1.0 / 255.0,
		.means = 3,
		.stds = 3,
	};
	for (int i = 0; i < 3; i++) {
		p.mean[i] = c->openai ? openai_mean[i] : 0.5;
		p.std[i] = c->openai ? openai_std[i] : 0.5;
	}
	return p;
}

static rebus_status check(const reading *r, const processor *p, rebus_error *err)
{
	const struct {
		bool on;
		const char *step, *needs;
	} pairs[] = {
		{p->resize && !p->budget, "do_resize", "size"},           {p->resize, "do_resize", "resample"},
		{p->rescale, "do_rescale", "rescale_factor"}, {p->normalize, "do_normalize", "image_mean"},
		{p->normalize, "do_normalize", "image_std"}, {p->crop, "do_center_crop", "crop_size"},
	};
	for (size_t i = 0; i < COUNT_OF(pairs); i++)
		if (pairs[i].on && is_null(r, pairs[i].needs))
			return error_set(err, REBUS_FORMAT, "%s: %s is null, but %s needs it", r->file, pairs[i].needs, pairs[i].step);
	if (p->crop && !p->crop_height)
		return error_set(err, REBUS_FORMAT, "%s: do_center_crop without crop_size", r->file);
	if (!p->pad_square)
		return REBUS_OK;
	for (int32_t i = 0; i < p->means; i++)
		if (p->mean[i] < 0.0 || p->mean[i] > 1.0)
			return wrong(r, "image_mean", "0 ... 1, as it is the colour of do_pad", err);
	return p->means == 3 ? REBUS_OK : wrong(r, "image_mean", "three numbers, as it is the colour of do_pad", err);
}

static rebus_status read_fields(reading *r, const class_defaults *c, processor *p, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	bool square = c->square, square_size = false;
	TRY(read_flag(r, "do_convert_rgb", &p->convert_rgb, err));
	TRY(read_flag(r, "do_resize", &p->resize, err));
	TRY(read_flag(r, "do_center_crop", &p->crop, err));
	TRY(read_flag(r, "do_rescale", &p->rescale, err));
	TRY(read_flag(r, "do_normalize", &p->normalize, err));
	TRY(read_flag(r, "do_pad", c->pads_square ? &p->pad_square : &p->pad, err));
	TRY(read_flag(r, "default_to_square", &square, err));
	TRY(read_flag(r, "use_square_size", &square_size, err));
	if (square_size && c->size.shortest && !c->pads_square)
		p->size = (processor_size){.height = c->size.shortest, .width = c->size.shortest};
	else if (!c->budget)
		TRY(read_size(r, "size", square, &p->size, err));
	if (c->budget) {
		TRY(read_count(r, "patch_size", 4096, &p->patch, err));
		TRY(read_count(r, "max_num_patches", PATCHES_MOST, &p->budget, err));
	}
	TRY(read_exact(r, "crop_size", &p->crop_height, &p->crop_width, err));
	TRY(read_exact(r, "pad_size", &p->pad_height, &p->pad_width, err));
	TRY(read_numbers(r, "image_mean", false, &p->means, p->mean, err));
	TRY(read_numbers(r, "image_std", true, &p->stds, p->std, err));
	TRY(read_filter(r, &p->filter, err));
	TRY(read_scale(r, &p->rescale_factor, err));
	TRY(check(r, p, err));
	TRY(warn_unknown(r, c, err));
	if (p->pad && !p->pad_height)
		TRY(warn(r, "", "do_pad", " without pad_size pads a batch to its largest picture: use pictures of one size", err));
done:
	return status;
}

rebus_status vision_processor_parse(arena *a, const json *root, const char *file, const char *fallback, processor *out,
                                    rebus_error *err)
{
	rebus_status status = REBUS_OK;
	arena_mark start = arena_here(a);
	const class_defaults *c = NULL;
	const json *inner = json_get(root, "image_processor");
	reading r = {.a = a, .map = inner ? inner : root, .file = file};
	if (json_kind_of(r.map) != JSON_MAP) {
		status = error_set(err, REBUS_FORMAT, "%s: expected a JSON object with an image processor's fields", file);
		goto done;
	}
	TRY(find_class(&r, fallback, &c, err));
	processor p = from_class(c);
	TRY(read_fields(&r, c, &p, err));
	if (r.count) {
		const char **lines = arena_get(a, (size_t)r.count, sizeof(*lines));
		if (!lines) {
			status = error_memory(err, file);
			goto done;
		}
		memcpy(lines, r.lines, (size_t)r.count * sizeof(*lines));
		p.warnings = lines;
		p.warning_count = r.count;
	}
	*out = p;
done:
	if (status)
		arena_release(a, start);
	return status;
}

rebus_status vision_processor_load(arena *a, const char *folder, const char *fallback, processor *out, rebus_error *err)
{
	static const char *const names[] = {"processor_config.json", "preprocessor_config.json"};
	rebus_status status = REBUS_OK;
	json *root = NULL;
	char path[4096];
	for (int i = 0; i < 2; i++) {
		int n = snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		if (n < 0 || (size_t)n >= sizeof(path))
			return error_set(err, REBUS_LIMIT, "%.60s...: path of more than %zu bytes", folder, sizeof(path) - 1);
		if (!file_exists(path))
			continue;
		TRY(json_load(path, MOST_BYTES, MOST_VALUES, &root, err));
		if (i == 1 || json_get(root, "image_processor")) {
			status = vision_processor_parse(a, root, path, fallback, out, err);
			goto done;
		}
		json_free(root);
		root = NULL;
	}
	status = error_set(err, REBUS_IO,
	                   "%s: holds neither preprocessor_config.json nor an image_processor in processor_config.json", folder);
done:
	json_free(root);
	return status;
}
