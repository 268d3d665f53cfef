/* png_write.c - 8-bit RGB pixels as a PNG file, through libpng's simplified interface; in place whole or not at all. */
#include <png.h>
#include <string.h>

#include "vision/picture.h"

rebus_status vision_png_write(const char *path, const picture *p, rebus_error *err)
{
	rebus_status status;
	file_out f = {.fd = -1};
	arena a;
	png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)p->width, .height = (png_uint_32)p->height, .format = PNG_FORMAT_RGB};
	png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
	arena_init(&a, NULL, 0);
	void *bytes = arena_get(&a, size, 1);
	if (!bytes) {
		status = error_memory(err, path);
		goto done;
	}
	if (!png_image_write_to_memory(&image, bytes, &size, 0, p->pixels, 0, NULL)) {
		status = error_set(err, REBUS_IO, "%s: libpng: %s", path, image.message);
		goto done;
	}
	TRY(file_create(&f, path, err));
	TRY(file_write(&f, bytes, size, err));
	TRY(file_commit(&f, err));
done:
	png_image_free(&image);
	file_discard(&f);
	arena_free(&a);
	return status;
}
