/* test_picture.c - decoding against Pillow, orientation, transparency, limits, and what is cut, damaged or no picture. */
#include "scratch.h"

#include "vision_expected.h"

#define FOLDER "tests/unit/data/vision/"

static picture load(arena *a, const char *file)
{
	picture p;
	rebus_error err;
	char path[256];
	snprintf(path, sizeof path, FOLDER "%s", file);
	if (vision_load(a, path, NULL, &p, &err))
		fail_msg("%s", err.text);
	return p;
}

static int planes_of(const char *mode)
{
	return !strcmp(mode, "L") ? 1 : !strcmp(mode, "LA") ? 2 : !strcmp(mode, "RGB") ? 3 : 4;
}

/* The hash of the first n planes. */
static uint64_t hash_planes(arena *a, const picture *p, int n)
{
	size_t cells = (size_t)p->width * (size_t)p->height;
	uint8_t *copy = arena_get(a, cells, (size_t)n);
	assert_non_null(copy);
	for (size_t i = 0; i < cells; i++)
		memcpy(copy + i * (size_t)n, p->pixels + i * (size_t)p->channels, (size_t)n);
	return fnv(copy, cells * (size_t)n);
}

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(picture_cases); i++) {
		const picture_case *c = &picture_cases[i];
		arena a;
		rebus_error err;
		picture rgb;
		arena_init(&a, NULL, 1 << 20);
		picture p = load(&a, c->file);
		assert_int_equal(p.width, c->width);
		assert_int_equal(p.height, c->height);
		assert_string_equal(p.mode, c->mode);
		if (c->own && hash_planes(&a, &p, planes_of(c->mode)) != c->own)
			fail_msg("%s: planes differ", c->file);
		assert_int_equal(vision_rgb(&a, &p, &rgb, &err), REBUS_OK);
		assert_int_equal(rgb.channels, 3);
		if (hash_planes(&a, &rgb, 3) != c->rgb)
			fail_msg("%s: differs in RGB", c->file);
		arena_free(&a);
	}
}

static void test_one_pixel(void **state)
{
	(void)state;
	arena a;
	arena_init(&a, NULL, 0);
	picture p = load(&a, "one.png");
	assert_int_equal(p.channels, 3);
	assert_int_equal(p.pixels[0], 200);
	assert_int_equal(p.pixels[1], 100);
	assert_int_equal(p.pixels[2], 50);
	arena_free(&a);
}

static void test_on_white(void **state)
{
	(void)state;
	static uint8_t bytes[] = {10, 20, 30, 0, 10, 20, 30, 255, 10, 20, 30, 128};
	static const uint8_t want[] = {255, 255, 255, 10, 20, 30, 132, 137, 142};
	picture in = {.width = 3, .height = 1, .channels = 4, .pixels = bytes}, out;
	arena a;
	rebus_error err;
	arena_init(&a, NULL, 0);
	assert_int_equal(vision_rgb(&a, &in, &out, &err), REBUS_OK);
	assert_memory_equal(out.pixels, want, sizeof want);
	arena_free(&a);
}

/* a b c        each as EXIF says the stored picture lies */
/* d e f                                                  */
static void test_orient(void **state)
{
	(void)state;
	static const struct {
		int32_t width, height;
		const char *want;
	} cases[] = {{3, 2, "abcdef"}, {3, 2, "abcdef"}, {3, 2, "cbafed"}, {3, 2, "fedcba"}, {3, 2, "defabc"},
	             {2, 3, "adbecf"}, {2, 3, "daebfc"}, {2, 3, "fcebda"}, {2, 3, "cfbead"}, {3, 2, "abcdef"}};
	for (int i = 0; i < (int)COUNT_OF(cases); i++) {
		uint8_t bytes[] = {'a', 'b', 'c', 'd', 'e', 'f'};
		picture p = {.width = 3, .height = 2, .channels = 1, .pixels = bytes};
		arena a;
		rebus_error err;
		arena_init(&a, NULL, 0);
		assert_int_equal(vision_orient(&a, &p, i, &err), REBUS_OK);
		assert_int_equal(p.width, cases[i].width);
		assert_int_equal(p.height, cases[i].height);
		assert_memory_equal(bytes, cases[i].want, 6);
		arena_free(&a);
	}
}

/* Every cut of every file: an error, or the whole picture; never anything else, and nothing left in the arena. */
static void test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(picture_cases); i++) {
		file_map f;
		rebus_error err;
		char path[256];
		snprintf(path, sizeof path, FOLDER "%s", picture_cases[i].file);
		assert_int_equal(file_open(&f, path, 0, true, NULL, &err), REBUS_OK);
		for (size_t n = 0; n < f.size; n++) {
			arena a;
			picture p = {.width = -7};
			uint8_t *part = malloc(n ? n : 1);
			assert_non_null(part);
			memcpy(part, f.data, n);
			arena_init(&a, NULL, 1 << 20);
			err.text[0] = 0;
			if (vision_decode(&a, part, n, "cut", NULL, &p, &err)) {
				assert_int_equal(p.width, -7);
				assert_int_equal(a.total, 0);
				assert_has(err.text, "cut: ");
			} else {
				assert_true(n + 16 >= f.size); /* only what follows the pixels was missing */
			}
			arena_free(&a);
			free(part);
		}
		file_close(&f);
	}
}

static void refused(const void *bytes, size_t size, const picture_limits *limits, rebus_status code, const char *part)
{
	arena a;
	picture p;
	rebus_error err = {.text = ""};
	arena_init(&a, NULL, 0);
	assert_int_equal(vision_decode(&a, bytes, size, "x", limits, &p, &err), code);
	assert_has(err.text, part);
	assert_int_equal(a.total, 0);
	arena_free(&a);
}

/* The start of a format that a build may be without: the library is then named. */
static void optional(const char *bytes, size_t size, const char *format, const char *library)
{
	bool there = strstr(vision_formats(), format);
	refused(bytes, size, NULL, there ? REBUS_FORMAT : REBUS_UNSUPPORTED, there ? format : library);
}

static void test_not_pictures(void **state)
{
	(void)state;
	refused("", 0, NULL, REBUS_FORMAT, "empty");
	refused("GIF89a..", 8, NULL, REBUS_FORMAT, "GIF ends");
	refused("BM......", 8, NULL, REBUS_FORMAT, "BMP ends");
	refused("\0\0\0\x0cjP  \r\n", 10, NULL, REBUS_UNSUPPORTED, "JPEG 2000");
	refused("\0\0\0\x18" "ftypisom", 12, NULL, REBUS_UNSUPPORTED, "video");
	optional("RIFF\4\0\0\0WEBPVP8 ", 16, "WebP", "libwebp");
	optional("II*\0....", 8, "TIFF", "libtiff");
	optional("MM\0*....", 8, "TIFF", "libtiff");
	optional("\0\0\0\x1c" "ftypavif", 12, "AVIF", "libavif");
	optional("\0\0\0\x1c" "ftypmif1\0\0\0\0mif1avif", 24, "AVIF", "libavif");
	optional("\0\0\0\x1c" "ftypheic", 12, "HEIC", "libheif");
	optional("\0\0\0\x1c" "ftypmif1\0\0\0\0mif1heic", 24, "HEIC", "libheif");
	refused("<!DOCTYPE html>", 15, NULL, REBUS_FORMAT, "HTML");
	refused("version https://git-lfs.github.com/spec/v1\n", 43, NULL, REBUS_FORMAT, "LFS");
	refused("hello", 5, NULL, REBUS_FORMAT, "not a picture");
	refused("\xff\xd8\xff", 3, NULL, REBUS_FORMAT, "ends");
	refused("\xff\xd8\xff\xd9", 4, NULL, REBUS_FORMAT, "JPEG");
	refused("\x89PNG\r\n\x1a\n", 8, NULL, REBUS_FORMAT, "ends");
}

static void test_limits(void **state)
{
	(void)state;
	static const struct {
		const char *file;
		picture_limits limits;
		const char *part;
	} cases[] = {
		{"rgb_420.jpg", {.pixels = 37 * 29 - 1}, "in all"}, {"rgb_420.jpg", {.side = 36}, "a side"},
		{"rgb_420.jpg", {.bytes = 100}, "bytes"},           {"progressive.jpg", {.scans = 3}, "scans"},
		{"rgba.png", {.pixels = 39}, "in all"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		file_map f;
		rebus_error err;
		char path[256];
		snprintf(path, sizeof path, FOLDER "%s", cases[i].file);
		assert_int_equal(file_open(&f, path, 0, true, NULL, &err), REBUS_OK);
		refused(f.data, f.size, &cases[i].limits, REBUS_LIMIT, cases[i].part);
		file_close(&f);
	}
}

/* A PNG of 16,777,216 x 16,777,216 and a damaged one; a small arena. */
static void test_hostile(void **state)
{
	(void)state;
	file_map f;
	rebus_error err;
	arena a;
	picture p;
	assert_int_equal(file_open(&f, FOLDER "rgba.png", 0, true, NULL, &err), REBUS_OK);
	uint8_t *copy = malloc(f.size);
	assert_non_null(copy);
	memcpy(copy, f.data, f.size);
	copy[16] = copy[20] = 1; /* the sides; the chunk's checksum no longer holds */
	refused(copy, f.size, NULL, REBUS_FORMAT, "PNG");
	memcpy(copy, f.data, f.size);
	copy[f.size / 2] ^= 0x10; /* inside the pixels */
	refused(copy, f.size, NULL, REBUS_FORMAT, "PNG");
	free(copy);
	arena_init(&a, NULL, 100);
	assert_int_equal(vision_decode(&a, f.data, f.size, "x", NULL, &p, &err), REBUS_MEMORY);
	arena_free(&a);
	file_close(&f);
	assert_int_equal(vision_load(&a, FOLDER "absent.png", NULL, &p, &err), REBUS_IO);
	assert_int_equal(vision_load(&a, FOLDER, NULL, &p, &err), REBUS_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),   cmocka_unit_test(test_one_pixel),    cmocka_unit_test(test_on_white),
		cmocka_unit_test(test_orient),  cmocka_unit_test(test_cut),          cmocka_unit_test(test_not_pictures),
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests_name("picture", tests, NULL, NULL);
}
