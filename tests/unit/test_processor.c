/* test_processor.c - processors against transformers, their files' old and new forms, the pipe's text, and bad configurations. */
#include "scratch.h"

#include "vision/patches.h"
#include "vision_expected.h"

static json *parse(const char *text)
{
	json *j = NULL;
	rebus_error err;
	if (json_parse(text, strlen(text), "t", 1000, &j, &err))
		fail_msg("%s: %s", text, err.text);
	return j;
}

static rebus_status read_config(arena *a, const char *text, processor *p, rebus_error *err)
{
	json *j = parse(text);
	rebus_status status = vision_processor_parse(a, j, "p.json", NULL, p, err);
	json_free(j);
	return status;
}

static void test_reference(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(processor_cases); i++) {
		const processor_case *c = &processor_cases[i];
		uint8_t noise[45 * 62 * 4];
		picture in = {.width = 62, .height = 45, .channels = c->channels, .pixels = noise};
		arena a;
		rebus_error err;
		processor p;
		pixels out;
		vision_size size = {.height = c->to_height, .width = c->to_width};
		fill_noise(noise, sizeof noise, 77);
		arena_init(&a, NULL, 0);
		const vision_size *asked = size.height ? &size : NULL;
		if (read_config(&a, c->config, &p, &err) || vision_process(&a, kernels_get(cpu_detect()), &p, &in, c->backend, asked, &out, &err))
			fail_msg("%s: %s", c->config, err.text);
		assert_int_equal(p.warning_count, 0);
		assert_int_equal(out.channels, c->out_channels);
		assert_int_equal(out.height, c->out_height);
		assert_int_equal(out.width, c->out_width);
		size_t n = (size_t)out.channels * (size_t)out.height * (size_t)out.width;
		if (fnv(out.data, n * sizeof(float)) != c->hash)
			fail_msg("%s, %s: differs", c->config, c->backend == VISION_PIL ? "pil" : "torchvision");
		arena_free(&a);
	}
}

static void test_pipe(void **state)
{
	(void)state;
	static const char clip_numbers[] = "normalize([0.48145466,0.4578275,0.40821073],[0.26862954,0.26130258,0.27577711])";
	static const struct {
		const char *config, *want;
	} cases[] = {
		{"{\"image_processor_type\": \"ViTImageProcessor\"}",
	     "resize(224x224,bilinear)|rescale(1/255)|normalize([0.5,0.5,0.5],[0.5,0.5,0.5])"},
		{"{\"image_processor_type\": \"DeiTImageProcessorFast\"}",
	     "resize(256x256,bicubic)|center_crop(224x224)|rescale(1/255)|normalize([0.5,0.5,0.5],[0.5,0.5,0.5])"},
		{"{\"image_processor_type\": \"CLIPImageProcessorPil\"}",
	     "convert_rgb|resize(shortest_edge=224,bicubic)|center_crop(224x224)|rescale(1/255)|"},
		{"{\"image_processor_type\": \"LlavaImageProcessor\", \"do_pad\": true, \"size\": 64}",
	     "convert_rgb|pad_square(122,116,104)|resize(shortest_edge=64,bicubic)|"},
		{"{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"crop_size\": 64, \"do_resize\": false, \"do_rescale\": false}",
	     "convert_rgb|center_crop(64x64)|normalize("},
		{"{\"image_processor_type\": \"ViTImageProcessor\", \"do_normalize\": null, \"do_resize\": false, \"do_rescale\": false}",
	     ""},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		rebus_error err;
		processor p;
		arena_init(&a, NULL, 0);
		if (read_config(&a, cases[i].config, &p, &err))
			fail_msg("%s: %s", cases[i].config, err.text);
		const char *text = vision_pipe_text(&a, &p, NULL);
		assert_non_null(text);
		if (strncmp(text, cases[i].want, strlen(cases[i].want)))
			fail_msg("%s: %s", cases[i].config, text);
		if (i == 2)
			assert_has(text, clip_numbers);
		arena_free(&a);
	}
}

static void test_pipe_of_size(void **state)
{
	(void)state;
	arena a;
	rebus_error err;
	processor p;
	arena_init(&a, NULL, 0);
	assert_int_equal(read_config(&a, "{\"image_processor_type\": \"CLIPImageProcessor\"}", &p, &err), REBUS_OK);
	assert_has(vision_pipe_text(&a, &p, &(vision_size){.height = 80, .width = 112}), "convert_rgb|resize(80x112,bicubic)|center_crop(80x112)|");
	arena_free(&a);
}

static void test_warnings(void **state)
{
	(void)state;
	arena a;
	rebus_error err;
	processor p;
	arena_init(&a, NULL, 0);
	static const char config[] = "{\"image_processor\": {\"image_processor_type\": \"CLIPImageProcessor\", \"do_sharpen\": true, "
	                             "\"crop_pct\": 1, \"auto_map\": {}}, \"processor_class\": \"CLIPProcessor\"}";
	assert_int_equal(read_config(&a, config, &p, &err), REBUS_OK);
	assert_int_equal(p.warning_count, 2);
	assert_has(p.warnings[0], "do_sharpen");
	assert_has(p.warnings[1], "crop_pct");
	arena_free(&a);
}

static void test_bad_configs(void **state)
{
	(void)state;
#define VIT "{\"image_processor_type\": \"ViTImageProcessor\", "
	static const struct {
		const char *config;
		rebus_status code;
		const char *part;
	} cases[] = {
		{"[]", REBUS_FORMAT, "object"},
		{"{}", REBUS_FORMAT, "image_processor_type"},
		{"{\"image_processor_type\": \"CLIPImageProcesor\"}", REBUS_UNSUPPORTED, "nearest that is: CLIPImageProcessor"},
		{"{\"image_processor_type\": \"Qwen2VLImageProcessor\"}", REBUS_UNSUPPORTED, "Qwen2VLImageProcessor"},
		{VIT "\"size\": 0}", REBUS_FORMAT, "size"},
		{VIT "\"size\": 65536}", REBUS_FORMAT, "size"},
		{VIT "\"size\": 1e30}", REBUS_FORMAT, "size"},
		{VIT "\"size\": \"big\"}", REBUS_FORMAT, "size"},
		{VIT "\"size\": [1]}", REBUS_FORMAT, "size"},
		{VIT "\"size\": {\"height\": 3}}", REBUS_FORMAT, "size"},
		{VIT "\"size\": {\"longest_edge\": 3}}", REBUS_FORMAT, "size"},
		{VIT "\"size\": {\"height\": 3, \"width\": 3, \"shortest_edge\": 3}}", REBUS_FORMAT, "size"},
		{VIT "\"size\": {\"height\": 3, \"width\": 3, \"depth\": 3}}", REBUS_FORMAT, "size"},
		{VIT "\"size\": null}", REBUS_FORMAT, "size is null"},
		{VIT "\"crop_size\": {\"shortest_edge\": 3}}", REBUS_FORMAT, "crop_size"},
		{VIT "\"do_center_crop\": true}", REBUS_FORMAT, "crop_size"},
		{VIT "\"do_resize\": 1}", REBUS_FORMAT, "do_resize"},
		{VIT "\"resample\": 6}", REBUS_FORMAT, "resample"},
		{VIT "\"image_mean\": []}", REBUS_FORMAT, "image_mean"},
		{VIT "\"image_mean\": [1, 2, 3, 4, 5]}", REBUS_FORMAT, "image_mean"},
		{VIT "\"image_mean\": [1, \"2\", 3]}", REBUS_FORMAT, "image_mean"},
		{VIT "\"image_std\": [1, 0, 1]}", REBUS_FORMAT, "image_std"},
		{VIT "\"image_std\": NaN}", REBUS_FORMAT, "image_std"},
		{VIT "\"rescale_factor\": 0}", REBUS_FORMAT, "rescale_factor"},
		{"{\"image_processor_type\": \"LlavaImageProcessor\", \"do_pad\": true, \"image_mean\": [2, 0, 0]}",
		 REBUS_FORMAT, "image_mean"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		arena a;
		rebus_error err = {.text = ""};
		processor p = {.means = -7};
		arena_init(&a, NULL, 0);
		if (read_config(&a, cases[i].config, &p, &err) != cases[i].code || !strstr(err.text, cases[i].part))
			fail_msg("%s: %d %s", cases[i].config, (int)err.code, err.text);
		assert_int_equal(p.means, -7);
		assert_int_equal(a.total, 0);
		arena_free(&a);
	}
}

static void test_bad_pictures(void **state)
{
	(void)state;
	static const struct {
		const char *config, *mode;
		int32_t channels, width, height;
		const char *part;
	} cases[] = {
		{VIT "\"size\": 8}", "L", 1, 4, 4, "planes"},
		{VIT "\"size\": 8}", "RGBA", 4, 4, 4, "planes"},
		{VIT "\"size\": 8}", "P", 3, 4, 4, "mode P"},
		{VIT "\"size\": 8}", "CMYK", 3, 4, 4, "mode CMYK"},
		{VIT "\"size\": {\"max_height\": 8, \"max_width\": 8}}", "RGB", 3, 1, 100, "resized to 8 x 0"},
		{VIT "\"size\": {\"shortest_edge\": 65535}}", "RGB", 3, 1, 100, "more than"},
		{VIT "\"size\": 8, \"do_pad\": true, \"pad_size\": 7}", "RGB", 3, 4, 4, "pad_size"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint8_t bytes[400] = {0};
		picture in = {.width = cases[i].width, .height = cases[i].height, .channels = cases[i].channels, .mode = cases[i].mode,
		              .pixels = bytes};
		arena a;
		rebus_error err = {.text = ""};
		processor p;
		pixels out = {.height = -7};
		arena_init(&a, NULL, 0);
		assert_int_equal(read_config(&a, cases[i].config, &p, &err), REBUS_OK);
		size_t before = a.total;
		assert_true(vision_process(&a, kernels_get(cpu_detect()), &p, &in, VISION_TORCHVISION, NULL, &out, &err) != REBUS_OK);
		assert_has(err.text, cases[i].part);
		assert_int_equal(out.height, -7);
		assert_int_equal(a.total, before);
		arena_free(&a);
	}
}

static void test_folder(void **state)
{
	(void)state;
	static const char with[] = "{\"image_processor\": {\"image_processor_type\": \"CLIPImageProcessor\"}}";
	static const char without[] = "{\"processor_class\": \"CLIPProcessor\"}", old[] = "{\"size\": 30}";
	arena a;
	rebus_error err;
	processor p;
	arena_init(&a, NULL, 0);
	assert_int_equal(vision_processor_load(&a, scratch_folder, NULL, &p, &err), REBUS_IO);
	scratch_write("processor_config.json", without, sizeof without - 1);
	assert_int_equal(vision_processor_load(&a, scratch_folder, NULL, &p, &err), REBUS_IO);
	scratch_write("preprocessor_config.json", old, sizeof old - 1);
	assert_int_equal(vision_processor_load(&a, scratch_folder, NULL, &p, &err), REBUS_FORMAT);
	assert_int_equal(vision_processor_load(&a, scratch_folder, "ViTImageProcessor", &p, &err), REBUS_OK);
	assert_string_equal(p.name, "ViTImageProcessor");
	assert_int_equal(p.size.height, 30);
	scratch_write("processor_config.json", with, sizeof with - 1);
	assert_int_equal(vision_processor_load(&a, scratch_folder, NULL, &p, &err), REBUS_OK);
	assert_string_equal(p.name, "CLIPImageProcessor");
	arena_free(&a);
}

/* Two channels of 4 x 5 in patches of 2 x 2: the fifth column is dropped. */
static void test_patches(void **state)
{
	(void)state;
	float in[2 * 4 * 5], out[4 * 8];
	static const float want[4][8] = {
		{0, 1, 5, 6, 20, 21, 25, 26},
		{2, 3, 7, 8, 22, 23, 27, 28},
		{10, 11, 15, 16, 30, 31, 35, 36},
		{12, 13, 17, 18, 32, 33, 37, 38},
	};
	for (int i = 0; i < 40; i++)
		in[i] = (float)i;
	vision_patches(&(pixels){.data = in, .channels = 2, .height = 4, .width = 5}, 2, 2, 2, 2, out);
	assert_memory_equal(out, want, sizeof want);
}

/* Patches of bytes have the bits of patches of floats, with zeros where the grid goes beyond the picture. */
static void test_patches_of_bytes(void **state)
{
	(void)state;
	enum { H = 13, W = 17, ROWS = 4, COLUMNS = 5, P = 4, MOST = 4 };
	uint8_t bytes[H * W * MOST];
	float table[MOST * 256], values[H * W * MOST], a[ROWS * COLUMNS * MOST * P * P], b[ROWS * COLUMNS * MOST * P * P];
	fill_noise(bytes, sizeof bytes, 3);
	for (int i = 0; i < MOST * 256; i++)
		table[i] = ((float)(i % 256) - 100.0f * (float)(i / 256)) / 77.0f;
	for (int32_t t = 0; t < 2 * MOST; t++) {
		const int32_t rows = ROWS - t % 2, columns = rows + 1, C = t / 2 + 1, WIDTH = C * P * P;
		pixels px = {.channels = C, .height = H, .width = W, .bytes = bytes, .table = table};
		vision_values(&px, values);
		pixels floats = {.data = values, .channels = C, .height = H, .width = W};
		vision_patches_last(&px, rows, columns, P, P, a);
		vision_patches_last(&floats, rows, columns, P, P, b);
		assert_memory_equal(a, b, (size_t)(rows * columns * WIDTH) * sizeof *a);
		vision_pixels_last(a, C, rows, columns, P, P, b);
		vision_patches(&(pixels){.data = b, .channels = C, .height = rows * P, .width = columns * P}, rows, columns, P, P, a);
		vision_patches(&px, rows, columns, P, P, b);
		assert_memory_equal(a, b, (size_t)(rows * columns * WIDTH) * sizeof *a);
		vision_patches(&px, rows, columns, P, P, a);
		vision_patches(&floats, rows, columns, P, P, b);
		assert_memory_equal(a, b, (size_t)(rows * columns * WIDTH) * sizeof *a);
		for (int32_t i = 0; i < rows * columns * WIDTH; i++) {
			int32_t patch = i / WIDTH, c = i % WIDTH / (P * P), y = patch / columns * P + i / P % P, x = patch % columns * P + i % P;
			bool inside = y < H && x < W;
			assert_true(a[i] == (inside ? values[((size_t)c * H + (size_t)y) * W + (size_t)x] : 0.0f));
		}
	}
}

/* Kept as bytes where that can be, and then the floats are those of vision_process. */
static void test_prepared(void **state)
{
	(void)state;
	uint8_t bytes[30 * 40 * 3];
	fill_noise(bytes, sizeof bytes, 9);
	picture in = {.width = 40, .height = 30, .channels = 3, .pixels = bytes};
	for (int i = 0; i < 32; i++) {
		arena a;
		rebus_error err;
		pixels kept, all;
		arena_init(&a, NULL, 0);
		processor p = {.name = "test", .convert_rgb = true, .resize = i & 1, .crop = i & 2, .rescale = i & 4, .normalize = i & 8, .rescale_factor = 1 / 255.0,
			.size = {.shortest = 20}, .filter = VISION_BICUBIC, .crop_height = i & 16 ? 16 : 64, .crop_width = 18, .means = 3, .stds = 3,
			.mean = {0.1, 0.2, 0.3}, .std = {0.4, 0.5, 0.6}};
		assert_int_equal(vision_prepare(&a, kernels_get(cpu_detect()), &p, &in, i % 3 ? VISION_PIL : VISION_TORCHVISION, NULL, &kept, &err), REBUS_OK);
		assert_int_equal(vision_process(&a, kernels_get(cpu_detect()), &p, &in, i % 3 ? VISION_PIL : VISION_TORCHVISION, NULL, &all, &err), REBUS_OK);
		assert_true(kept.channels == all.channels && kept.height == all.height && kept.width == all.width);
		assert_int_equal(kept.data != NULL, (i & 2) && !(i & 16)); /* the crop is larger than the picture */
		size_t n = (size_t)all.height * (size_t)all.width * 3;
		float *values = arena_get(&a, n, sizeof *values);
		vision_values(&kept, values);
		assert_memory_equal(values, all.data, n * sizeof *values);
		assert_true(kept.bytes != bytes);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference),   cmocka_unit_test(test_pipe),         cmocka_unit_test(test_pipe_of_size),
		cmocka_unit_test(test_warnings),    cmocka_unit_test(test_bad_configs),  cmocka_unit_test(test_bad_pictures),
		cmocka_unit_test_setup_teardown(test_folder, scratch_begin, scratch_end), cmocka_unit_test(test_patches),
		cmocka_unit_test(test_patches_of_bytes), cmocka_unit_test(test_prepared),
	};
	return cmocka_run_group_tests_name("processor", tests, NULL, NULL);
}
