/* fuzz_npy.c - any bytes as a .npy file: what is accepted must be a matrix that lies inside the bytes. */
#include "files/npy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	npy_in in;
	rebus_error err = {.code = REBUS_OK};
	rebus_status status = npy_parse(&in, data, size, "fuzz", &err);
	if (status != err.code)
		abort();
	if (!status) {
		size_t bytes = (size_t)in.rows * (size_t)in.width * npy_size(in.type);
		if (bytes > size || (const uint8_t *)(in.data) + bytes != data + size)
			abort();
	}
	return 0;
}
