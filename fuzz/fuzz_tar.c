/* fuzz_tar.c - any bytes as a tar file: every member must lie in them, its name end, and the walk end. */
#include "files/tar.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	tar t;
	tar_member m;
	bool got = true;
	rebus_error err = {.code = REBUS_OK};
	tar_begin(&t, data, size, "fuzz", NULL);
	for (size_t members = 0; got; members++) {
		rebus_status status = tar_next(&t, &m, &got, &err);
		if (status != err.code || members > size / 512)
			abort();
		if (status)
			break;
		if (got && (m.data < data || m.size > size - (size_t)(m.data - data) || strlen(m.name) > 1 << 20))
			abort();
	}
	tar_end(&t);
	return 0;
}
