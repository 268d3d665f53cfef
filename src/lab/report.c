/* report.c - see report.h. */
#include "lab/report.h"

#include <string.h>

rebus_status report_new(const rebus_allocator *from, rebus_text **out, rebus_error *err)
{
	arena mem;
	arena_init(&mem, from, 0);
	rebus_text *r = arena_zero(&mem, 1, sizeof *r);
	if (!r) {
		arena_free(&mem);
		return error_memory(err, "a report");
	}
	r->mem = mem;
	buf_init(&r->out, from, 0);
	buf_add(&r->out, "", 0);
	*out = r;
	return REBUS_OK;
}

rebus_status report_finish(rebus_text *r, rebus_text **out, rebus_error *err)
{
	rebus_status status = buf_check(&r->out, err, "a report");
	if (status)
		rebus_text_free(r);
	else
		*out = r;
	return status;
}

void report_key(buf *b, const char *key)
{
	char last = b->size ? b->data[b->size - 1] : '{';
	if (last != '{' && last != '[' && last != ' ')
		buf_text(b, ", ");
	buf_json(b, key, strlen(key));
	buf_text(b, ": ");
}

void report_bytes(buf *b, double bytes)
{
	if (bytes < 1024)
		buf_format(b, "%.0f bytes", bytes);
	else if (bytes < 1024 * 1024)
		buf_format(b, "%.1f KiB", bytes / 1024);
	else if (bytes < 1024.0 * 1024 * 1024)
		buf_format(b, "%.1f MiB", bytes / (1024 * 1024));
	else
		buf_format(b, "%.2f GiB", bytes / (1024.0 * 1024 * 1024));
}

const char *rebus_text_data(const rebus_text *r, size_t *size)
{
	if (size)
		*size = r->out.size;
	return r->out.data;
}

void rebus_text_free(rebus_text *r)
{
	if (!r)
		return;
	buf_free(&r->out);
	arena mem = r->mem; /* the report lies in its own arena */
	arena_free(&mem);
}
