/*
 * fresh.c - new weights for a configuration: the folder of each fixture says which tensors its model has, of which shapes; weights
 * made from its config.json alone must be those tensors, no more and no fewer.
 *
 * Names are compared behind the family's prefix, since a folder may be written with or without it.
 */
#include "parity.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/safetensors.h"
#include "models/model.h"

/* How many bytes of the shorter name end the longer one, if it begins there or after a dot; 0: they are not the same tensor. */
static size_t alike(const char *a, const char *b)
{
	size_t n = strlen(a), k = strlen(b);
	const char *most = n < k ? b : a, *least = n < k ? a : b;
	size_t at = n < k ? k - n : n - k;
	return !strcmp(most + at, least) && (!at || most[at - 1] == '.') ? strlen(least) : 0;
}

static bool ends(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);
	return n >= k && !strcmp(text + n - k, end);
}

/* Names without the member that transformers 5 left out of composed models, and with its names of a norm's two vectors. */
static void plain(const char *name, char out[TENSOR_NAME + 8])
{
	static const char tower[] = "vision_tower.", gone[] = "vision_model.";
	const char *at = strstr(name, "vision_tower.vision_model.");
	size_t before = at ? (size_t)(at - name) + strlen(tower) : strlen(name);
	static const char written[] = "decoder.decoder_encoder.layer."; /* ViTMAE's decoder, as transformers 5 writes it */
	if (!strncmp(name, written, strlen(written))) {
		snprintf(out, TENSOR_NAME + 1, "decoder.decoder_layers.%s", name + strlen(written));
		return;
	}
	int n = snprintf(out, TENSOR_NAME + 1, "%.*s%s", (int)before, name, at ? name + before + strlen(gone) : "");
	if (ends(out, "LayerNorm.gamma"))
		snprintf(out + n - strlen("gamma"), sizeof "weight", "weight");
	else if (ends(out, "cls.predictions.decoder.bias")) /* one vector of two names */
		snprintf(out + n - strlen("decoder.bias"), sizeof "bias", "bias");
	else if (ends(out, "LayerNorm.beta"))
		snprintf(out + n - strlen("beta"), sizeof "bias", "bias");
}

/* The tensor of s that is t: of the longest name that is alike. */
static const tensor_info *same(const safetensors *s, const tensor_info *t)
{
	const tensor_info *found = NULL;
	size_t best = 0;
	char want[TENSOR_NAME + 8], have[TENSOR_NAME + 8];
	plain(t->name, want);
	for (size_t i = 0; i < safetensors_count(s); i++) {
		plain(safetensors_at(s, i)->name, have);
		size_t n = alike(want, have);
		if (n > best) {
			best = n;
			found = safetensors_at(s, i);
		}
	}
	return found;
}

static void compare(const char *name, const safetensors *made, const safetensors *saved)
{
	for (size_t i = 0; i < safetensors_count(made); i++) {
		const tensor_info *t = safetensors_at(made, i), *there = same(saved, t);
		char a[200], b[200];
		if (!check(there != NULL, "%s: %s is made, the saved folder has no such tensor", name, t->name))
			continue;
		tensor_shape_text(t, a, sizeof a);
		tensor_shape_text(there, b, sizeof b);
		check(!strcmp(a, b), "%s: %s is made as %s, saved as %s", name, t->name, a, b);
	}
	for (size_t i = 0; i < safetensors_count(saved); i++) {
		const tensor_info *t = safetensors_at(saved, i);
		/* not read, or tied to what is */
		bool unused = strstr(t->name, "embeddings.mask_token") ||
			strstr(t->name, "cls.predictions.decoder.") != NULL;
		check(unused || same(made, t) != NULL, "%s: %s is saved, not made", name, t->name);
	}
}

/* Positions that are not learned: sines and cosines of the column in the first half, of the row in the second. */
static void check_waves(const char *name, const safetensors *made)
{
	for (size_t i = 0; i < safetensors_count(made); i++) {
		const tensor_info *t = safetensors_at(made, i);
		if (!strstr(t->name, "decoder_pos_embed") && !(strstr(t->name, "position_embeddings") && !strncmp(name, "vit-mae", 7)))
			continue;
		const float *x = t->data;
		int64_t cells = t->shape[1] - 1, wide = t->shape[2], side = 1;
		while ((side + 1) * (side + 1) <= cells)
			side++;
		const float *down = x + (1 + side) * wide, *across = x + 2 * wide; /* cells (1, 0) and (0, 1) */
		bool zero = true, good = down[0] == 0 && down[wide / 4] == 1 && across[wide / 2] == 0 && across[wide * 3 / 4] == 1;
		for (int64_t k = 0; k < wide; k++)
			zero = zero && x[k] == 0;
		good = good && fabs((double)down[wide / 2] - sin(1)) < 1e-7 && fabs((double)across[wide / 4] - cos(1)) < 1e-7;
		good = good && fabs((double)across[1] - sin(pow(10000, -4 / (double)wide))) < 1e-7;
		check(zero && good, "%s: %s does not begin as sines and cosines", name, t->name);
	}
}

/* Made, opened as a model, compared. */
static void make(const char *folder, const char *name, const char *scratch)
{
	struct rebus_model *m = NULL;
	safetensors *made = NULL, *saved = NULL;
	arena a;
	rebus_error err = {0};
	arena_init(&a, NULL, 0);
	if (check_call(model_open_config(folder, &m, &err), &err, name) && check_call(model_write_fresh(m, 1, scratch, &err), &err, name) &&
		check_call(safetensors_open(&a, scratch, LOAD_COPY, &made, &err), &err, name) &&
		check_call(safetensors_open(&a, folder, LOAD_COPY, &saved, &err), &err, name)) {
		compare(name, made, saved);
		check_waves(name, made);
	}
	safetensors_close(made);
	safetensors_close(saved);
	rebus_model_close(m);
	arena_free(&a);
}

int main(void)
{
	char scratch[] = "/tmp/rebus-fresh-XXXXXX", path[600];
	int file = mkstemp(scratch);
	DIR *d = opendir("tests/parity/fixtures");
	if (!check(d != NULL && file >= 0, "the fixtures cannot be listed"))
		return check_report();
	close(file);
	for (struct dirent *e; (e = readdir(d));) {
		snprintf(path, sizeof path, "tests/parity/fixtures/%s/model.safetensors", e->d_name);
		if (e->d_name[0] == '.' || access(path, R_OK))
			continue;
		*strrchr(path, '/') = 0;
		make(path, e->d_name, scratch);
	}
	closedir(d);
	unlink(scratch);
	return check_report();
}
