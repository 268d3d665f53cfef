/* test_picture.c - decoding against Pillow, orientation, transparency, limits, and what is cut, damaged or no picture. */
#include "scratch.h"

#include "vision_expected.h"

#define FOLDER "tests/unit/data/vision/"
#define PICTURES "tests/pictures/pictures/"
#define HOSTILE "tests/pictures/hostile/"

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
				assert_true(n + 22 >= f.size); /* only what follows the pixels was missing: PNG 2 + 4 bytes of the stream, CRC, IEND */
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
	rebus_status status = vision_decode(&a, bytes, size, "x", limits, &p, &err);
	if (status != code)
		fail_msg("status %d, want %d (%s): %s", (int)status, (int)code, part, err.text);
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

static bool decodes(const char *format)
{
	return strstr(vision_formats(), format);
}

static void test_limits(void **state)
{
	(void)state;
	static const struct {
		const char *format, *file;
		picture_limits limits;
		const char *part;
	} cases[] = {
		{"JPEG", FOLDER "rgb_420.jpg", {.pixels = 37 * 29 - 1}, "in all"},
		{"JPEG", FOLDER "rgb_420.jpg", {.side = 36}, "a side"},
		{"JPEG", FOLDER "rgb_420.jpg", {.bytes = 100}, "bytes"},
		{"JPEG", FOLDER "rgb_420.jpg", {.memory = 37 * 29 * 3}, "while decoding"},
		{"JPEG", FOLDER "progressive.jpg", {.scans = 3}, "scans"},
		{"PNG", FOLDER "rgba.png", {.pixels = 39}, "in all"},
		{"PNG", FOLDER "rgba_adam7.png", {.memory = 11 * 13 * 7}, "while decoding"},
		{"GIF", PICTURES "221.gif", {.pixels = 10}, "in all"},
		{"GIF", PICTURES "221.gif", {.memory = 100}, "while decoding"},
		{"BMP", PICTURES "052.bmp", {.pixels = 10}, "in all"},
		{"BMP", PICTURES "052.bmp", {.memory = 100}, "while decoding"},
		{"WebP", PICTURES "109.webp", {.pixels = 10}, "in all"},
		{"WebP", PICTURES "109.webp", {.memory = 100}, "while decoding"},
		{"TIFF", PICTURES "130.tif", {.pixels = 10}, "in all"},
		{"TIFF", PICTURES "130.tif", {.memory = 100}, "100 byte limit"},
		{"AVIF", PICTURES "220.avif", {.memory = 100}, "while decoding"},
		{"HEIC", HOSTILE "still.heic", {.pixels = 10}, "in all"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		file_map f;
		rebus_error err;
		if (!decodes(cases[i].format))
			continue;
		assert_int_equal(file_open(&f, cases[i].file, 0, true, NULL, &err), REBUS_OK);
		refused(f.data, f.size, &cases[i].limits, REBUS_LIMIT, cases[i].part);
		file_close(&f);
	}
}

/* A GIF of 3 x 2 pixels with `count` frames of one. */
static uint8_t *many_frames(size_t count, size_t *size)
{
	static const uint8_t head[] = {'G', 'I', 'F', '8', '9', 'a', 3, 0, 2, 0, 0x80, 0, 0, 1, 2, 3, 4, 5, 6};
	static const uint8_t one[] = {0x21, 0xf9, 4, 0, 7, 0, 0, 0, ',', 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0};
	uint8_t *bytes = malloc(sizeof head + count * sizeof one + 1), *to = bytes;
	assert_non_null(bytes);
	memcpy(to, head, sizeof head);
	to += sizeof head;
	for (size_t i = 0; i < count; i++, to += sizeof one)
		memcpy(to, one, sizeof one);
	*to++ = ';';
	*size = (size_t)(to - bytes);
	return bytes;
}

static void test_frames(void **state)
{
	(void)state;
	static const struct {
		size_t count;
		picture_limits limits;
		const char *part; /* NULL: decodes */
	} cases[] = {
		{5, {0}, NULL},
		{10000, {0}, NULL},
		{10001, {0}, "10001 frames, more than the limit of 10000"},
		{6, {.frames = 5}, "6 frames"},
		{500, {.memory = 500 * 6 * 4 - 1}, "500 frames"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t size;
		uint8_t *bytes = many_frames(cases[i].count, &size);
		arena a;
		picture_frames all = {.count = -7};
		rebus_error err = {.text = ""};
		arena_init(&a, NULL, 0);
		rebus_status status = vision_decode_frames(&a, bytes, size, "x", &cases[i].limits, &all, &err);
		assert_int_equal(status, cases[i].part ? REBUS_LIMIT : REBUS_OK);
		assert_int_equal(all.count, cases[i].part ? -7 : (int)cases[i].count);
		if (cases[i].part)
			assert_has(err.text, cases[i].part);
		else
			assert_true(all.duration[0] == 70 && all.at[0].width == 3 && all.at[cases[i].count - 1].height == 2);
		arena_free(&a);
		free(bytes);
	}
	/* a format without animations is one frame */
	arena a;
	file_map f;
	picture_frames all;
	rebus_error err;
	arena_init(&a, NULL, 0);
	assert_int_equal(file_open(&f, FOLDER "exif6.jpg", 0, true, NULL, &err), REBUS_OK);
	assert_int_equal(vision_decode_frames(&a, f.data, f.size, "x", NULL, &all, &err), REBUS_OK);
	assert_true(all.count == 1 && all.at[0].width == 12 && all.at[0].height == 20);
	file_close(&f);
	arena_free(&a);
}

/* ------------------------------------------------------------------------------------------------ refused memory */
typedef struct {
	long calls, refuse, in_use;
} counted;

static void *counted_alloc(void *user, size_t size)
{
	counted *c = user;
	if (++c->calls == c->refuse)
		return NULL;
	void *p = base_allocator.alloc(NULL, size);
	c->in_use += p != NULL;
	return p;
}

static void counted_free(void *user, void *memory, size_t size)
{
	counted *c = user;
	c->in_use -= memory != NULL;
	base_allocator.free(NULL, memory, size);
}

/* Decodes with the n-th allocation refused; false: there were fewer. */
static bool refuse_one(const file_map *f, bool frames, long n)
{
	counted c = {.refuse = n};
	rebus_allocator from = {&c, counted_alloc, counted_free};
	arena a;
	picture p;
	picture_frames all;
	rebus_error err = {.text = ""};
	arena_init(&a, &from, 0);
	rebus_status status = frames ? vision_decode_frames(&a, f->data, f->size, "x", NULL, &all, &err)
	                             : vision_decode(&a, f->data, f->size, "x", NULL, &p, &err);
	if (c.calls >= n && status != REBUS_MEMORY)
		fail_msg("refused %ld: status %d, %s", n, (int)status, err.text);
	if (status)
		assert_int_equal(c.in_use, 0);
	arena_free(&a);
	assert_int_equal(c.in_use, 0);
	return c.calls >= n;
}

static void test_refused_memory(void **state)
{
	(void)state;
	char line[512], name[200], format[32], path[300];
	FILE *list = fopen("tests/pictures/pictures.txt", "r");
	long files = 0, refusals = 0;
	assert_non_null(list);
	while (fgets(line, sizeof line, list)) {
		file_map f;
		rebus_error err;
		if (line[0] == '#' || sscanf(line, "%199s %31s", name, format) != 2 || strchr(name, '#') || !decodes(format))
			continue;
		snprintf(path, sizeof path, PICTURES "%s", name);
		assert_int_equal(file_open(&f, path, 0, true, NULL, &err), REBUS_OK);
		for (int frames = 0; frames < 2; frames++)
			for (long n = 1; refuse_one(&f, frames, n); n++)
				refusals++;
		file_close(&f);
		files++;
	}
	fclose(list);
	assert_true(files >= 100 && refusals >= 2 * files);
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
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_frames),       cmocka_unit_test(test_refused_memory),
		cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests_name("picture", tests, NULL, NULL);
}
