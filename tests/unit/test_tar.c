/*
 * test_tar.c - members of tar files, made here byte by byte: every form of name and size, what is passed over, and what is
 * refused. tests/cli compares with what Python's tarfile writes.
 */
#include "scratch.h"

#include "files/tar.h"

enum { BLOCK = 512 };
static uint8_t image[64 * BLOCK];
static size_t image_size;

static void sum(uint8_t *h)
{
	unsigned s = 0;
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		s += h[i];
	snprintf((char *)h + 148, 8, "%06o", s);
}

/* Appends a header and data; returns the header. */
static uint8_t *add(const char *name, char type, const void *data, size_t size)
{
	uint8_t *h = image + image_size;
	memset(h, 0, BLOCK + size_round(size, BLOCK));
	memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
	for (size_t i = 0, left = size; i < 11; i++, left >>= 3)
		h[134 - i] = (uint8_t)('0' + (left & 7));
	h[156] = (uint8_t)type;
	memcpy(h + 257, "ustar\00000", 8);
	sum(h);
	memcpy(h + BLOCK, data, size);
	image_size += BLOCK + size_round(size, BLOCK);
	return h;
}

static void add_end(void)
{
	memset(image + image_size, 0, 2 * BLOCK);
	image_size += 2 * BLOCK;
}

static int begin(void **state)
{
	(void)state;
	image_size = 0;
	return 0;
}

static void expect_member(tar *t, const char *name, const char *data)
{
	tar_member m;
	rebus_error err = {0};
	bool got = false;
	if (tar_next(t, &m, &got, &err))
		fail_msg("%s", err.text);
	assert_true(got);
	assert_string_equal(m.name, name);
	assert_int_equal(m.size, strlen(data));
	assert_memory_equal(m.data, data, m.size);
}

static void expect_end(tar *t)
{
	tar_member m;
	bool got = true;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tar_next(t, &m, &got, NULL), REBUS_OK);
		assert_false(got);
	}
	tar_end(t);
}

static void expect_failure(size_t size, rebus_status code, const char *words)
{
	tar t;
	tar_member m;
	rebus_error err = {0};
	bool got = true;
	rebus_status status = REBUS_OK;
	tar_begin(&t, image, size, "a.tar", NULL);
	while (!status && got)
		status = tar_next(&t, &m, &got, &err);
	assert_int_equal(status, code);
	assert_has(err.text, words);
	assert_int_equal(tar_next(&t, &m, &got, NULL), REBUS_OK); /* nothing comes after it */
	assert_false(got);
	tar_end(&t);
}

static void names(void **state)
{
	(void)state;
	char hundred[102], far[302];
	tar t;
	memset(hundred, 'n', sizeof hundred);
	memset(far, 'f', sizeof far);
	hundred[100] = far[300] = 0;
	add("a.png", '0', "one", 3);
	memcpy(add("b.png", '0', "", 0) + 345, "under/here", 10);
	sum(image + image_size - BLOCK);
	add(hundred, 0, "x", 1);
	add("././@LongLink", 'L', far, 301);
	add("cut", '0', "two", 3);
	add("PaxHeaders/c", 'x', "19 path=deep/c.png\n13 mtime=1.5\n", 32);
	add("c", '0', "three", 5);
	add("global", 'g', "14 path=other\n", 14); /* says nothing of one member */
	add("d", '7', "four", 4);
	add("././@LongLink", 'K', far, 301);
	add("link", '2', "", 0);
	add("folder/", '5', "", 0);
	add("old folder/", 0, "", 0);
	add("device", '3', "", 0);
	add("what", 'Q', "unknown", 7);
	add("e", '0', "five", 4);
	size_t plain = image_size;
	add_end();
	for (size_t size = image_size; size >= plain; size -= BLOCK) { /* with both blocks of zeros, with one, with none */
		tar_begin(&t, image, size, "a.tar", NULL);
		expect_member(&t, "a.png", "one");
		expect_member(&t, "under/here/b.png", "");
		expect_member(&t, hundred, "x");
		expect_member(&t, far, "two");
		expect_member(&t, "deep/c.png", "three");
		expect_member(&t, "d", "four");
		expect_member(&t, "e", "five");
		expect_end(&t);
	}
	tar_begin(&t, NULL, 0, "empty.tar", NULL);
	expect_end(&t);
}

static void sizes(void **state)
{
	(void)state;
	tar t;
	uint8_t *h = add("a", '0', "three", 5);
	memset(h + 124, 0, 12);
	h[124] = 0x80; /* base 256 */
	h[135] = 5;
	sum(h);
	h = add("b", '0', "two", 3);
	memcpy(h + 124, "          3 ", 12);
	sum(h);
	add("PaxHeaders/c", 'x', "9 size=4\n", 9);
	h = add("c", '0', "four", 4);
	memcpy(h + 124, "00000000000\0", 12);
	sum(h);
	tar_begin(&t, image, image_size, "a.tar", NULL);
	expect_member(&t, "a", "three");
	expect_member(&t, "b", "two");
	expect_member(&t, "c", "four");
	expect_end(&t);
}

static void broken(void **state)
{
	(void)state;
	uint8_t *h = add("a.png", '0', "one", 3);
	expect_failure(BLOCK, REBUS_FORMAT, "inside a member");
	expect_failure(BLOCK + 2, REBUS_FORMAT, "inside a member");
	expect_failure(BLOCK - 1, REBUS_FORMAT, "inside a header");
	expect_failure(BLOCK + 3, REBUS_OK, ""); /* the padding of the last member is missing: it is whole */
	h[0]++;
	expect_failure(image_size, REBUS_FORMAT, "byte 0: no tar header");
	h[0]--;
	memcpy(h + 124, "777777777777", 12);
	sum(h);
	expect_failure(image_size, REBUS_FORMAT, "inside a member");
	memset(h + 124, 0xff, 12);
	sum(h);
	expect_failure(image_size, REBUS_FORMAT, "no number");
	memcpy(h + 124, "0000000003x\0", 12);
	sum(h);
	expect_failure(image_size, REBUS_FORMAT, "no number");
	memcpy(h, "\x1f\x8b\x08\x00", 4);
	expect_failure(image_size, REBUS_UNSUPPORTED, "compressed");
	begin(NULL);
	add("s", 'S', "", 0);
	expect_failure(image_size, REBUS_UNSUPPORTED, "sparse");
	begin(NULL);
	add("././@LongLink", 'L', "far", 3);
	expect_failure(image_size, REBUS_FORMAT, "belongs to a member");
	begin(NULL);
	h = add("././@LongLink", 'L', "far", 3);
	memcpy(h + 124, "00007777777\0", 12);
	sum(h);
	expect_failure(image_size, REBUS_FORMAT, "inside a member");
}

static void broken_pax(void **state)
{
	(void)state;
	static const char *const records[] = {"x", "9 size=4", "9 size=x\n", "99 size=4\n", "4 a\n", "0 =\n", "2 \n", " path=a\n", "18446744073709551626 path=a\n",
		"32 size=99999999999999999999999\n"};
	for (size_t i = 0; i < COUNT_OF(records); i++) {
		begin(NULL);
		add("PaxHeaders/c", 'x', records[i], strlen(records[i]));
		add("c", '0', "four", 4);
		expect_failure(image_size, REBUS_FORMAT, "no pax header");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(names, begin),
		cmocka_unit_test_setup(sizes, begin),
		cmocka_unit_test_setup(broken, begin),
		cmocka_unit_test_setup(broken_pax, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
