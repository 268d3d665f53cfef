/* error.c - one line of text about what went wrong, written into the caller's struct. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

rebus_status error_set(rebus_error *err, rebus_status code, const char *format, ...)
{
	if (!err)
		return code;
	va_list args;
	va_start(args, format);
	err->code = code;
	vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
	one_line(err->text);
	return code;
}

rebus_status error_prefix(rebus_error *err, rebus_status code, const char *format, ...)
{
	if (!err)
		return code;
	char old[sizeof err->text], head[sizeof err->text];
	memcpy(old, err->text, sizeof old);
	va_list args;
	va_start(args, format);
	vsnprintf(head, sizeof head, format, args);
	va_end(args);
	int n = snprintf(err->text, sizeof err->text, "%s: ", head);
	if (n > 0 && (size_t)n < sizeof err->text)
		snprintf(err->text + n, sizeof err->text - (size_t)n, "%.*s", (int)(sizeof err->text - (size_t)n) - 1, old);
	one_line(err->text);
	return code;
}

rebus_status error_memory(rebus_error *err, const char *what)
{
	return error_set(err, REBUS_MEMORY, "no memory for %s", what);
}

const char *rebus_status_name(rebus_status code)
{
	switch (code) {
#define X(name, value, meaning)                                                                                            \
	case REBUS_##name:                                                                                                 \
		return #name;
		REBUS_STATUS_LIST(X)
#undef X
	}
	return "UNKNOWN";
}

const char *rebus_status_meaning(rebus_status code)
{
	switch (code) {
#define X(name, value, meaning)                                                                                            \
	case REBUS_##name:                                                                                                 \
		return meaning;
		REBUS_STATUS_LIST(X)
#undef X
	}
	return "unknown";
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *rebus_version(void)
{
	return TEXT(REBUS_VERSION_MAJOR) "." TEXT(REBUS_VERSION_MINOR) "." TEXT(REBUS_VERSION_PATCH);
}
