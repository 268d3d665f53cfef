/*
 * fuzz_processor.c - any bytes as preprocessor_config.json: what is accepted must print its pipe and process a small
 * picture, or say why not.
 */
#include "vision/processor.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[6 * 9 * 3] = {7, 200, 30, 255};
	static const picture in = {.width = 9, .height = 6, .channels = 3, .mode = "RGB", .pixels = bytes};
	json *j = NULL;
	arena a;
	processor p;
	rebus_error err = {.code = REBUS_OK};
	if (json_parse((const char *)data, size, "fuzz", 1000, &j, &err))
		return 0;
	arena_init(&a, NULL, 4 << 20);
	rebus_status status = vision_processor_parse(&a, j, "fuzz", NULL, &p, &err);
	json_free(j);
	check(status == err.code);
	check(!status || a.total == 0);
	if (!status) {
		check(vision_pipe_text(&a, &p, NULL) != NULL);
		for (int backend = VISION_TORCHVISION; backend <= VISION_PIL; backend++) {
			pixels out;
			err.code = REBUS_OK;
			status = vision_process(&a, kernels_get(cpu_detect()), &p, &in, (vision_backend)backend, NULL, &out, &err);
			check(status == err.code);
			check(status || (out.channels == 3 && out.height >= 1 && out.width >= 1));
		}
	}
	arena_free(&a);
	return 0;
}
