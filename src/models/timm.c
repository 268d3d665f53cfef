/* timm.c - see timm.h. */
#include "models/timm.h"

#include <string.h>

/* Arguments that change nothing once a model is trained, or that only say how the file was made. */
static const char *const harmless[] = {
	"drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "weight_init", "fix_init",
	"dynamic_img_size", "strict_img_size", "num_classes", "in_chans", "img_size", NULL,
};

const char *timm_architecture(const json *config)
{
	const char *type = json_text(json_get(config, "model_type"), NULL);
	return type && strcmp(type, "timm_wrapper") ? NULL : json_text(json_get(config, "architecture"), NULL);
}

static bool listed(const char *const *list, const char *name)
{
	for (size_t i = 0; list[i]; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

rebus_status timm_check_args(const json *config, const char *const *known, rebus_error *err)
{
	for (json_each it = json_first(json_get(config, "model_args")); json_next(&it);) {
		json_kind kind = json_kind_of(it.value);
		bool off = false;
		if (kind == JSON_NULL || kind == JSON_NONE || (json_flag(it.value, &off) && !off))
			off = true;
		if (!off && !listed(harmless, it.key) && !listed(known, it.key))
			return error_set(err, REBUS_UNSUPPORTED, "config.json: model_args.%.64s: not an argument rebus knows", it.key);
	}
	return REBUS_OK;
}

static bool side(const json *j, int64_t most, int64_t *out)
{
	int64_t v;
	if (!json_int(j, &v) || v < 1 || v > most)
		return false;
	*out = v;
	return true;
}

rebus_status timm_input(const json *config, int64_t *channels, int32_t image[2], rebus_error *err)
{
	const json *about = json_get(config, "pretrained_cfg"), *args = json_get(config, "model_args");
	const json *size = json_get(about ? about : config, "input_size"), *own = json_get(args, "img_size"), *planes = json_get(args, "in_chans");
	int64_t c = *channels, h = image[0], w = image[1];
	bool list = json_kind_of(own) == JSON_LIST;
	if (size && (json_count(size) != 3 || !side(json_at(size, 0), 64, &c) || !side(json_at(size, 1), 65535, &h) || !side(json_at(size, 2), 65535, &w)))
		return error_set(err, REBUS_FORMAT, "config.json: pretrained_cfg.input_size: expected [planes, height, width]");
	if (own && ((list && json_count(own) != 2) || !side(list ? json_at(own, 0) : own, 65535, &h) || !side(list ? json_at(own, 1) : own, 65535, &w)))
		return error_set(err, REBUS_FORMAT, "config.json: model_args.img_size: expected a number or [height, width] from 1 to 65535");
	if (planes && !side(planes, 64, &c))
		return error_set(err, REBUS_FORMAT, "config.json: model_args.in_chans: expected a number from 1 to 64");
	*channels = c;
	image[0] = (int32_t)h;
	image[1] = (int32_t)w;
	return REBUS_OK;
}
