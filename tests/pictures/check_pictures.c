/*
 * check_pictures.c - decodes picture files and compares with what Pillow and transformers made of them.
 *
 *   check_pictures LIST          each line of tests/pictures/LIST.txt, made by make_pictures.py; the files lie in LIST/
 *   check_pictures show [-]      names from standard input; one line each of what was decoded, for comparisons by hand
 *
 * A line of a list: FILE FORMAT WIDTH HEIGHT RGB WHITE, where RGB is the SHA-256 of the bytes of Image.convert("RGB") of the
 * upright picture, and WHITE that of transformers' convert_to_rgb, which lays transparency on white; FILE#N is frame N of an
 * animation, WHITE then that of convert("RGBA"). In the list of hostile files: FILE FORMAT STATUS TEXT, the text to be found
 * in the one line of the message, or FILE FORMAT OK.
 *
 * A format this build is without must be refused by the library's name. The last line is `N passed, N failed`.
 */
#include "vision/picture.h"
#include "sha256.h"

#include <stdlib.h>

#define FOLDER "tests/pictures/"

static const char *const names[] = {"ok", "misuse", "io", "format", "shape", "unsupported", "limit", "memory", "cancelled"};

typedef struct {
	int width, height, channels;
	char mode[8], rgb[65], white[65], rgba[65];
	rebus_error err;
	rebus_status status;
} result;

static bool hash(arena *a, const picture *p, result *r)
{
	picture white;
	size_t n = (size_t)p->width * (size_t)p->height;
	uint8_t *rgb = arena_get(a, n, 3), *rgba = arena_get(a, n, 4);
	if (!rgb || !rgba || vision_rgb(a, p, &white, &r->err))
		return false;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *from = p->pixels + i * (size_t)p->channels;
		for (int c = 0; c < 3; c++)
			rgb[3 * i + (size_t)c] = rgba[4 * i + (size_t)c] = from[p->channels > 2 ? c : 0];
		rgba[4 * i + 3] = p->channels % 2 ? 255 : from[p->channels - 1];
	}
	r->width = p->width;
	r->height = p->height;
	r->channels = p->channels;
	snprintf(r->mode, sizeof r->mode, "%s", p->mode);
	sha256(rgb, 3 * n, r->rgb);
	sha256(rgba, 4 * n, r->rgba);
	sha256(white.pixels, 3 * n, r->white);
	return true;
}

/* frame: -1 for the picture */
static result decode(const char *path, const picture_limits *limits, int frame)
{
	result r = {.err = {.text = ""}};
	arena a;
	file_map f = {0};
	picture p;
	picture_frames all = {0};
	arena_init(&a, NULL, 0);
	r.status = file_open(&f, path, 0, true, NULL, &r.err);
	if (!r.status && frame < 0)
		r.status = vision_decode(&a, f.data, f.size, path, limits, &p, &r.err);
	else if (!r.status && !(r.status = vision_decode_frames(&a, f.data, f.size, path, limits, &all, &r.err)))
		p = all.at[frame < all.count ? frame : all.count - 1];
	if (!r.status && frame >= all.count && frame >= 0)
		r.status = error_set(&r.err, REBUS_MISUSE, "%s: has %d frames", path, (int)all.count);
	if (!r.status && !hash(&a, &p, &r))
		r.status = REBUS_MEMORY;
	file_close(&f);
	arena_free(&a);
	return r;
}

static int show(void)
{
	char path[4096];
	while (fgets(path, sizeof path, stdin)) {
		path[strcspn(path, "\n")] = 0;
		char *hash_at = strrchr(path, '#');
		int frame = hash_at && hash_at[1] >= '0' && hash_at[1] <= '9' ? atoi(hash_at + 1) : -1;
		if (frame >= 0)
			*hash_at = 0;
		result r = decode(path, NULL, frame);
		if (r.status)
			printf("no %s %s\n", names[r.status], r.err.text);
		else
			printf("ok %d %d %d %s %s %s %s\n", r.width, r.height, r.channels, r.mode, r.rgb, r.white, r.rgba);
		fflush(stdout);
	}
	return 0;
}

/* What this build must say of a format it is without; NULL: it has the format. */
static const char *without(const char *format)
{
	return strstr(vision_formats(), format) || !strcmp(format, "-") ? NULL : "was built without";
}

static bool matches(const char *line, const char *path, const char *format, const result *r)
{
	char kind[32] = "", rgb[80] = "", white[80] = "", text[200] = "";
	int width, height;
	const char *missing = without(format);
	if (missing)
		return r->status == REBUS_UNSUPPORTED && strstr(r->err.text, missing);
	if (sscanf(line, "%*s %*s %d %d %79s %79s", &width, &height, rgb, white) == 4)
		return !r->status && r->width == width && r->height == height && !strcmp(r->rgb, rgb) &&
		       !strcmp(strchr(path, '#') ? r->rgba : r->white, white);
	if (sscanf(line, "%*s %*s %31s %199[^\n]", kind, text) < 1)
		return false;
	if (!strcmp(kind, "ok"))
		return !r->status;
	return r->status && !strcmp(kind, names[r->status]) && text[0] && strstr(r->err.text, text) && !strchr(r->err.text, '\n');
}

static int check(const char *list)
{
	char path[512], line[512], file[200], format[32], full[800];
	long passed = 0, failed = 0;
	snprintf(path, sizeof path, FOLDER "%s.txt", list);
	FILE *f = fopen(path, "r");
	if (!f) {
		printf("%s: cannot be opened\n0 passed, 1 failed\n", path);
		return 1;
	}
	while (fgets(line, sizeof line, f)) {
		if (line[0] == '#' || sscanf(line, "%199s %31s", file, format) != 2)
			continue;
		snprintf(full, sizeof full, FOLDER "%s/%s", list, file);
		char *frame = strchr(full, '#');
		if (frame)
			*frame = 0;
		double begin = time_now();
		result r = decode(full, NULL, frame ? atoi(frame + 1) : -1);
		double took = time_now() - begin;
		bool good = matches(line, file, format, &r) && took < 10;
		passed += good;
		failed += !good;
		if (!good)
			printf("%s: %s %s, want %s", file, r.status ? names[r.status] : "ok", r.status ? r.err.text : r.rgb, line);
	}
	fclose(f);
	printf("%ld passed, %ld failed\n", passed, failed);
	return failed || !passed;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: check_pictures LIST | show\n", stderr);
		return 2;
	}
	return strcmp(argv[1], "show") ? check(argv[1]) : show();
}
