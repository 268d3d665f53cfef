/* test_npy.c - matrices written whole and row by row, read back, and headers that are wrong in one way each. */
#include "scratch.h"

#include "files/npy.h"

static const float numbers[6] = {1, -2, 3.5f, 4, 5, 6e30f};

static void test_whole(void **state)
{
	(void)state;
	rebus_error err;
	npy_in in;
	const char *path = scratch_path("a.npy");
	assert_int_equal(npy_write(path, 2, 3, numbers, &err), REBUS_OK);
	assert_int_equal(npy_open(&in, path, 0, &err), REBUS_OK);
	assert_int_equal(in.rows, 2);
	assert_int_equal(in.width, 3);
	assert_int_equal(in.file.size, 128 + sizeof numbers);
	assert_memory_equal(in.data, numbers, sizeof numbers);
	static const char header[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ";
	assert_memory_equal(in.file.data, header, sizeof header - 1);
	assert_int_equal(in.file.data[127], '\n');
	npy_close(&in);
	assert_int_equal(npy_open(&in, path, 100, &err), REBUS_LIMIT);
	assert_int_equal(npy_write(path, 2, 0, numbers, &err), REBUS_MISUSE);
	assert_int_equal(npy_write(scratch_path("no/a.npy"), 2, 3, numbers, &err), REBUS_IO);
	assert_int_equal(npy_write(path, INT64_MAX, 3, numbers, &err), REBUS_LIMIT);
	assert_false(file_exists(scratch_path("a.npy.tmp")));
	assert_int_equal(npy_open(&in, path, 0, &err), REBUS_OK);
	npy_close(&in);
}

static void test_rows(void **state)
{
	(void)state;
	rebus_error err;
	npy_out o;
	npy_in in;
	const char *path = scratch_path("b.npy");
	assert_int_equal(npy_begin(&o, path, NPY_F32, 2, &err), REBUS_OK);
	assert_int_equal(npy_rows(&o, 1, numbers, &err), REBUS_OK);
	assert_int_equal(npy_rows(&o, 0, NULL, &err), REBUS_OK);
	assert_int_equal(npy_rows(&o, 2, numbers + 2, &err), REBUS_OK);
	assert_false(file_exists(path));
	assert_int_equal(npy_end(&o, &err), REBUS_OK);
	npy_discard(&o);
	assert_int_equal(npy_open(&in, path, 0, &err), REBUS_OK);
	assert_int_equal(in.rows, 3);
	assert_int_equal(in.width, 2);
	assert_memory_equal(in.data, numbers, sizeof numbers);
	npy_close(&in);
	assert_int_equal(npy_begin(&o, scratch_path("c.npy"), NPY_F32, 2, &err), REBUS_OK);
	npy_discard(&o);
	assert_false(file_exists(scratch_path("c.npy")));
	assert_false(file_exists(scratch_path("c.npy.tmp")));
}

static size_t image(uint8_t *out, int version, const char *text, size_t data)
{
	size_t n = strlen(text), head = version == 1 ? 10 : 12;
	memcpy(out, "\x93NUMPY", 6);
	out[6] = (uint8_t)version;
	out[7] = 0;
	for (size_t i = 8; i < head; i++)
		out[i] = (uint8_t)(n >> 8 * (i - 8));
	memcpy(out + head, text, n);
	memset(out + head + n, 0, data);
	return head + n + data;
}

static void test_headers(void **state)
{
	(void)state;
	static const struct {
		int version;
		const char *text;
		size_t data;
		const char *says; /* NULL: accepted */
	} cases[] = {
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1)}   ", 4, NULL},
		{2, "{'descr':'<f4','fortran_order':False,'shape':(1,1)} ", 4, NULL},
		{3, "{\"shape\": ( 1 , 1 , ) , \"descr\": \"<f4\", \"fortran_order\": False, }  \n", 4, NULL},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(0,9)}   ", 0, NULL},
		{4, "{'descr':'<f4','fortran_order':False,'shape':(1,1)} ", 4, "version 1, 2 or 3"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1)}  ", 4, "begins at byte 63"},
		{1, "{'descr':'<f8','fortran_order':False,'shape':(1,1)}   ", 8, "descr"},
		{1, "{'descr':'>f4','fortran_order':False,'shape':(1,1)}   ", 4, "descr"},
		{1, "{'descr':[('a','<f4')],'fortran_order':False,'shape':(1,1)}", 4, "descr"},
		{1, "{'descr':'<f4','fortran_order':True,'shape':(1,1)}   ", 4, "fortran_order"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,)}   ", 4, "a shape (rows, width)"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1,1)}", 4, "a shape (rows, width)"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,-1)}", 4, "a shape (rows, width)"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(9999999999999999999,1)}", 4, "a shape (rows, width)"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(4611686018427387904,4)}", 0, "bytes of data"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1)}   ", 8, "8 bytes of data"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1)}   ", 0, "0 bytes of data"},
		{1, "{'descr':'<f4','fortran_order':False}", 4, "expected {"},
		{1, "{'descr':'<f4','descr':'<f4','fortran_order':False,'shape':(1,1)}", 4, "expected {"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1)}x", 4, "expected {"},
		{1, "{'descr':'<f4' 'fortran_order':False,'shape':(1,1)}", 4, "expected {"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1),,}", 4, "expected {"},
		{1, "{'descr':'<f4','fortran_order':False,'shape':(1,1)", 4, "expected {"},
		{1, "{'descr", 4, "expected {"},
		{1, "", 4, "expected {"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		_Alignas(8) uint8_t bytes[256];
		rebus_error err;
		npy_in in;
		size_t size = image(bytes, cases[i].version, cases[i].text, cases[i].data);
		rebus_status status = npy_parse(&in, bytes, size, "x.npy", &err);
		if (cases[i].says && !status)
			fail_msg("case %zu was accepted: %s", i, cases[i].text);
		if (!cases[i].says && status)
			fail_msg("case %zu: %s", i, err.text);
		if (cases[i].says)
			assert_has(err.text, cases[i].says);
		for (size_t n = 0; !status && n < size; n++) { /* a copy of the exact size: a sanitizer sees a read beyond it */
			uint8_t *part = malloc(n ? n : 1);
			assert_non_null(part);
			memcpy(part, bytes, n);
			assert_int_equal(npy_parse(&in, part, n, "x.npy", NULL), REBUS_FORMAT);
			free(part);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, scratch_begin, scratch_end),
		cmocka_unit_test_setup_teardown(test_rows, scratch_begin, scratch_end),
		cmocka_unit_test(test_headers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
