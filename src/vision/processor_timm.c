/*
 * processor_timm.c - a processor from timm's pretrained_cfg: create_transform(**resolve_data_config(pretrained_cfg)) of timm
 * 1.0.31 for evaluation, which is a pipe of torchvision's on PIL pictures whatever back end transformers would take.
 *
 *   {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
 *    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
 *
 *   crop_mode   resized to                                                              then cut in the middle to input_size
 *   center      both sides at least floor(side / crop_pct), aspect kept                  zeros where smaller
 *   squash      exactly floor(side / crop_pct)                                           zeros where smaller
 *   border      both sides at most floor(side / crop_pct), aspect kept                   the mean's colour where smaller
 *
 * A picture becomes RGB as timm's data sets open it, Image.convert("RGB"): alpha is dropped. Values are x / 255, then
 * (x - mean) / std, in float.
 */
#include "vision/processor.h"

#include <math.h>
#include <string.h>

static rebus_status wrong(const char *file, const char *key, const char *expected, rebus_error *err)
{
	return error_set(err, REBUS_FORMAT, "%s: pretrained_cfg.%s: expected %s", file, key, expected);
}

static rebus_status read_numbers(const json *about, const char *file, const char *key, double out[4], int32_t *count, rebus_error *err)
{
	const json *j = json_get(about, key);
	bool list = json_kind_of(j) == JSON_LIST;
	size_t n = list ? json_count(j) : 1;
	if (!j || (list && !n)) /* timm takes its default for nothing, and for an empty list */
		return REBUS_OK;
	if (!list || n > 4)
		return wrong(file, key, "a list of 1 to 4 numbers", err);
	for (size_t i = 0; i < n; i++)
		if (!json_real(json_at(j, i), &out[i]) || !isfinite(out[i]) || fabs(out[i]) > 1e30)
			return wrong(file, key, "a list of 1 to 4 numbers", err);
	*count = (int32_t)n;
	return REBUS_OK;
}

static rebus_status read_words(const json *about, const char *file, processor *p, rebus_error *err)
{
	static const char *const fits[] = {[FIT_CENTER] = "center", [FIT_SQUASH] = "squash", [FIT_BORDER] = "border"};
	const char *filter = json_text(json_get(about, "interpolation"), NULL), *mode = json_text(json_get(about, "crop_mode"), NULL);
	if (filter && *filter && !vision_filter_parse(filter, &p->filter))
		return wrong(file, "interpolation", "nearest, bilinear, bicubic, lanczos, box or hamming", err);
	for (int i = FIT_CENTER; mode && i <= FIT_BORDER; i++)
		if (!strcmp(mode, fits[i]))
			p->fit = i; /* another word is "center" to timm */
	const json *pct = json_get(about, "crop_pct");
	double x = 0;
	if (pct && (!json_real(pct, &x) || !(x >= 0 && x <= 16)))
		return wrong(file, "crop_pct", "a number from 0 to 16", err);
	p->crop_pct = x > 0 ? x : p->crop_pct;
	return REBUS_OK;
}

rebus_status vision_processor_timm(const json *about, const char *file, processor *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	processor p = {.name = "timm", .resize = true, .crop = true, .rescale = true, .normalize = true, .fit = FIT_CENTER, .filter = VISION_BICUBIC,
		.rescale_factor = 1.0 / 255.0, .crop_pct = 0.875, .crop_height = 224, .crop_width = 224, .means = 3, .stds = 3,
		.mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}};
	const json *size = json_get(about, "input_size");
	int64_t h = 0, w = 0;
	if (size && (json_count(size) != 3 || !json_int(json_at(size, 1), &h) || !json_int(json_at(size, 2), &w) || h < 1 || h > 65535 || w < 1 || w > 65535))
		return wrong(file, "input_size", "[planes, height, width]", err);
	if (size) {
		p.crop_height = (int32_t)h;
		p.crop_width = (int32_t)w;
	}
	TRY(read_numbers(about, file, "mean", p.mean, &p.means, err));
	TRY(read_numbers(about, file, "std", p.std, &p.stds, err));
	TRY(read_words(about, file, &p, err));
	for (int32_t i = 0; i < p.stds; i++)
		if (fabs(p.std[i]) < 1e-30)
			return wrong(file, "std", "numbers other than 0", err);
	for (int32_t i = 0; i < p.means; i++)
		if (p.fit == FIT_BORDER && !(p.mean[i] >= 0 && p.mean[i] <= 1))
			return wrong(file, "mean", "0 to 1, as it is the colour of the border", err);
	*out = p;
done:
	return status;
}
