/*
 * attention_maps.c - where towers look, against transformers' output_attentions (make_attentions.py), and the maps made of it
 * against maps made here from the golden by plain loops.
 */
#include "parity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double BOUND = 1e-4;
enum { ROWS_MOST = 64 };

static rebus_prompt *one_picture(const fixture *f, const char *path)
{
	rebus_prompt_options o = rebus_prompt_defaults();
	rebus_prompt *p = NULL;
	rebus_error err = {0};
	o.pil = true;
	if (check_call(rebus_prompt_new(f->model, &o, &p, &err), &err, f->name) && check_call(rebus_prompt_image_file(p, path, &err), &err, f->name))
		return p;
	rebus_prompt_free(p);
	return NULL;
}

static bool layer_of(const rebus_tensors *t, int layer, rebus_tensor *out)
{
	char name[40];
	snprintf(name, sizeof name, "attentions.%d", layer);
	return rebus_tensors_find(t, name, out);
}

static void rows_sum_to_one(const fixture *f, const rebus_tensor *x)
{
	const float *p = x->data;
	int64_t width = x->shape[3];
	for (int64_t r = 0; r < tensor_rows(x); r++) {
		double sum = 0;
		for (int64_t i = 0; i < width; i++)
			sum += (double)p[r * width + i];
		check(fabs(sum - 1) < 1e-5, "%s: %s: row %lld sums to %.9g", f->name, x->name, (long long)r, sum);
	}
}

/* r = r A, A the mean of the heads or one; half: r = (r A + r) / 2. */
static void through(const rebus_tensor *x, int head, bool half, double *r)
{
	double next[ROWS_MOST] = {0};
	const float *p = x->data;
	int64_t heads = x->shape[1], rows = x->shape[2], width = x->shape[3];
	for (int64_t h = 0; h < heads; h++)
		for (int64_t i = 0; i < rows; i++)
			for (int64_t j = 0; j < width; j++)
				if (head < 0 || head == h)
					next[j] += r[i] * (double)p[(h * rows + i) * width + j] / (head < 0 ? (double)heads : 1);
	for (int64_t j = 0; j < width; j++)
		r[j] = half ? 0.5 * (r[j] + next[j]) : next[j];
}

static void begin(const rebus_tensor *x, bool learned, double *r)
{
	for (int64_t i = 0; i < ROWS_MOST; i++)
		r[i] = x->shape[2] == 1 || learned ? i == 0 : i < x->shape[3] ? 1.0 / (double)x->shape[3] : 0;
}

static void map_is(const fixture *f, rebus_prompt *p, int layer, int head, const double *want, int64_t rows)
{
	rebus_attention_options o = rebus_attention_defaults();
	rebus_tensors *got = NULL;
	rebus_tensor map;
	rebus_error err = {0};
	o.layer = layer;
	o.head = head;
	if (!check_call(rebus_attention(f->session, p, &o, &got, &err), &err, f->name))
		return;
	check(rebus_tensors_find(got, "map", &map), "%s: no map", f->name);
	double off = 0;
	int64_t n = tensor_count(&map);
	for (int64_t i = 0; i < n; i++)
		off = fmax(off, fabs((double)((const float *)map.data)[i] - want[rows - n + i]));
	check(off < 1e-5, "%s: map of layer %d, head %d: off by %.3g", f->name, layer, head, off);
	rebus_tensors_free(got);
}

static void maps_are(const fixture *f, rebus_prompt *p, const rebus_tensors *all, bool learned)
{
	double r[ROWS_MOST];
	rebus_tensor x;
	int count = 0;
	while (layer_of(all, count, &x))
		count++;
	for (int layer = 0; layer < count; layer++)
		for (int head = -1; head < (layer_of(all, layer, &x) ? x.shape[1] : 0); head++) {
			begin(&x, learned, r);
			through(&x, head, false, r);
			map_is(f, p, layer, head, r, x.shape[3]);
		}
	layer_of(all, count - 1, &x);
	bool probe = x.shape[2] == 1;
	begin(&x, learned, r);
	if (probe)
		through(&x, -1, false, r);
	for (int layer = count - 1 - probe; layer >= 0 && layer_of(all, layer, &x); layer--)
		through(&x, -1, true, r);
	map_is(f, p, -1, -1, r, x.shape[3]);
}

static void refuse(const fixture *f, rebus_prompt *p, int layer, int head)
{
	rebus_tensors *got = NULL;
	rebus_error err = {0};
	rebus_attention_options o = rebus_attention_defaults();
	o.layer = layer;
	o.head = head;
	check(rebus_attention(f->session, p, &o, &got, &err) == REBUS_MISUSE, "%s: layer %d, head %d is no misuse", f->name, layer, head);
}

static void golden(const char *name, bool learned)
{
	fixture f;
	rebus_tensors *want = NULL, *got = NULL;
	rebus_error err = {0};
	if (!fixture_open(&f, name, &(fixture_how){.threads = 2}))
		return;
	rebus_prompt *p = one_picture(&f, "../../pictures/shapes.png");
	if (p && check_call(rebus_tensors_load("attentions.safetensors", &want, &err), &err, name) &&
	    check_call(rebus_attention(f.session, p, NULL, &got, &err), &err, name)) {
		rebus_tensor x, y;
		for (size_t i = 0; i < rebus_tensors_count(want); i++) {
			x = rebus_tensors_at(want, i);
			if (check(rebus_tensors_find(got, x.name, &y), "%s: %s is missing", name, x.name))
				check(tensor_distance(&y, &x) < BOUND, "%s: %s: relative L2 %.3g", name, x.name, tensor_distance(&y, &x));
		}
		for (int i = 0; layer_of(got, i, &x); i++)
			rows_sum_to_one(&f, &x);
		maps_are(&f, p, got, learned);
		refuse(&f, p, 99, -1);
		refuse(&f, p, 0, 99);
		refuse(&f, p, -1, 0);
	}
	rebus_tensors_free(want);
	rebus_tensors_free(got);
	rebus_prompt_free(p);
	fixture_close(&f);
}

static void windows_are_refused(void)
{
	fixture f;
	rebus_tensors *got = NULL;
	rebus_error err = {0};
	if (!fixture_open(&f, "swin-hub", NULL))
		return;
	rebus_prompt *p = one_picture(&f, "../../pictures/shapes.png");
	check(p && rebus_attention(f.session, p, NULL, &got, &err) == REBUS_UNSUPPORTED && strstr(err.text, "windows"), "swin: \"%s\"", err.text);
	rebus_prompt_free(p);
	fixture_close(&f);
}

int main(void)
{
	golden("vit-hub", true);
	golden("deit-hub", true);
	golden("dinov2-registers-v5", true);
	golden("clip-hub", true);
	golden("siglip-hub", false);
	windows_are_refused();
	return check_report();
}
