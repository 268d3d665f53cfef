/*
 * trace.c - rebus_trace: what a call of the reference takes and gives, under its names and with its shapes.
 *
 * Everything runs packed; here rows are handed back to the prompt they came from, in the shape the reference has:
 *
 *   encoder      pictures (n, ...), texts (n, longest, ...): rows that are padding hold 0
 *   generating   (1, tokens, ...), picture features (rows, width)
 *
 * `inputs` replace what preprocessing gives: pixel_values become pictures, input_ids the text, token_type_ids its segments;
 * where attention_mask is 0 a token is padding and does not exist.
 */
#include <string.h>

#include "generate/sample.h"
#include "generate/sequences.h"
#include "generate/session.h"
#include "generate/similarity.h"
#include "lab/trace_noise.h"
#include "lab/trace_patches.h"

typedef struct tracing {
	rebus_session *s;
	rebus_prompt *const *prompts;
	size_t count;
	const rebus_trace_options *o;
	rebus_tensors *out;
	arena a;
	net_wants wants;
	sequence *texts;     /* generating: one a prompt; encoders: all texts, prompt by prompt */
	int32_t *text_first; /* encoders: [count + 1] */
	int32_t *picture_first; /* [count + 1] */
} tracing;

/* NULL: no memory, which tensors_add remembers. */
static const char *prefix_of(tracing *t, size_t i)
{
	return t->o->batch ? arena_format(&t->a, "%zu.", i) : "";
}

/* ------------------------------------------------------------------------------------------------ inputs */
static rebus_status wrong_input(const char *name, const char *expected, rebus_error *err)
{
	return error_set(err, REBUS_MISUSE, "inputs: %s: expected %s", name, expected);
}

static rebus_status take_pixels(rebus_prompt *p, const rebus_tensors *inputs, const rebus_tensor *x, rebus_error *err)
{
	bool flat = trace_flat(p->m);
	if (!p->m->vision.f)
		return wrong_input("pixel_values", "a model that reads pictures", err);
	if (!flat && (x->type != REBUS_F32 || x->rank != 4 || x->shape[0] < 1 || x->shape[1] < 1 || x->shape[1] > 64 || x->shape[2] < 1 ||
		x->shape[3] < 1 || x->shape[2] > 65536 || x->shape[3] > 65536))
		return wrong_input("pixel_values", "F32 (pictures, channels, height, width)", err);
	int32_t kept = 0;
	for (int32_t i = 0; i < p->piece_count; i++) /* texts stay, pictures are replaced */
		if (!p->pieces[i].image)
			p->pieces[kept++] = p->pieces[i];
	p->piece_count = kept;
	p->picture_count = 0;
	if (flat)
		return trace_take_patches(p, inputs, x, err);
	int64_t n = x->shape[1] * x->shape[2] * x->shape[3];
	for (int64_t i = 0; i < x->shape[0]; i++) {
		rebus_status status = prompt_add_pixels(p, (const float *)x->data + i * n, (int32_t)x->shape[1], (int32_t)x->shape[2], (int32_t)x->shape[3], 0, err);
		if (status)
			return status;
	}
	return REBUS_OK;
}

static rebus_status check_inputs(const tracing *t, rebus_error *err)
{
	const rebus_tensors *in = t->o->inputs;
	for (size_t i = 0; in && i < rebus_tensors_count(in); i++) {
		const char *name = rebus_tensors_at(in, i).name;
		bool answer = !strcmp(name, "decoder_input_ids") && t->s->m->self.f->build_encoder;
		bool text = answer || !strcmp(name, "input_ids") || !strcmp(name, "attention_mask");
		bool types = !strcmp(name, "token_type_ids") && t->s->m->text.f && t->s->m->text.f->words(t->s->m->text.config)->segments;
		bool flat = trace_flat(t->s->m) && (!strcmp(name, "spatial_shapes") || !strcmp(name, "pixel_attention_mask"));
		text = text || types;
		bool mask = !strcmp(name, "attention_mask") && t->s->m->text.f && t->s->m->text.f->words(t->s->m->text.config)->full; /* padding counts */
		bool noise = !strcmp(name, "noise") && t->s->m->vision.f && t->s->m->vision.f->tower(t->s->m->vision.config)->masks;
		if ((strcmp(name, "pixel_values") && !text && !flat && !noise) || mask)
			return error_set(err, REBUS_MISUSE, "inputs: %s: not an input of a %s model", name, rebus_model_family(t->s->m));
		if (text && !t->s->m->text.f)
			return error_set(err, REBUS_MISUSE, "inputs: %s: a %s model reads pictures only", name, rebus_model_family(t->s->m));
	}
	if (in && t->count != 1)
		return error_set(err, REBUS_MISUSE, "inputs: given for %zu prompts, expected one", t->count);
	return REBUS_OK;
}

/* Rows of input_ids as sequences; tokens whose mask is 0 are left out. */
static rebus_status take_ids(tracing *t, const rebus_tensor *x, const char *name, sequence **out, int32_t *count, rebus_error *err)
{
	rebus_tensor mask, types;
	bool masked = !strcmp(name, "input_ids") && rebus_tensors_find(t->o->inputs, "attention_mask", &mask);
	bool typed = rebus_tensors_find(t->o->inputs, "token_type_ids", &types);
	if (x->type != REBUS_I64 || x->rank != 2 || x->shape[0] < 1 || x->shape[0] > (1 << 20) || x->shape[1] > TEXT_IDS_MOST)
		return wrong_input(name, "I64 (texts, tokens)", err);
	if (masked && (mask.type != REBUS_I64 || mask.rank != 2 || mask.shape[0] != x->shape[0] || mask.shape[1] != x->shape[1]))
		return wrong_input("attention_mask", "I64 of the shape of input_ids", err);
	if (typed && (types.type != REBUS_I64 || types.rank != 2 || types.shape[0] != x->shape[0] || types.shape[1] != x->shape[1]))
		return wrong_input("token_type_ids", "I64 of the shape of input_ids", err);
	const text_shape *w = t->s->m->text.f->words(t->s->m->text.config);
	sequence *list = arena_zero(&t->a, (size_t)x->shape[0], sizeof *list);
	if (!list)
		return error_memory(err, "inputs");
	for (int64_t r = 0; r < x->shape[0]; r++) {
		sequence *q = &list[r];
		q->ids = arena_get(&t->a, (size_t)x->shape[1], sizeof(int32_t));
		q->picture = arena_get(&t->a, (size_t)x->shape[1], sizeof(int32_t));
		q->segment = typed ? arena_get(&t->a, (size_t)x->shape[1], sizeof(int32_t)) : NULL;
		if (!q->ids || !q->picture || (typed && !q->segment))
			return error_memory(err, "inputs");
		for (int64_t c = 0; c < x->shape[1]; c++) {
			int64_t id = ((const int64_t *)x->data)[r * x->shape[1] + c];
			if (masked && !((const int64_t *)mask.data)[r * x->shape[1] + c])
				continue;
			if (id < 0 || id >= w->vocabulary)
				return error_set(err, REBUS_MISUSE, "inputs: %s: %lld, expected 0 to %lld", name, (long long)id, (long long)w->vocabulary - 1);
			int64_t type = typed ? ((const int64_t *)types.data)[r * x->shape[1] + c] : 0;
			if (typed && (type < 0 || type >= w->segments))
				return error_set(err, REBUS_MISUSE, "inputs: token_type_ids: %lld, expected 0 to %lld", (long long)type, (long long)w->segments - 1);
			if (typed)
				q->segment[q->count] = (int32_t)type;
			q->picture[q->count] = -1;
			q->ids[q->count++] = (int32_t)id;
		}
	}
	*out = list;
	*count = (int32_t)x->shape[0];
	return REBUS_OK;
}

/* Marks which rows of given ids are which picture's, and checks that there are as many as the pictures have. */
static rebus_status place_pictures(const rebus_prompt *p, sequence *q, rebus_error *err)
{
	int64_t image = p->m->self.f->image_token ? p->m->self.f->image_token(p->m->self.config) : -1, found = 0, rows = 0;
	for (int32_t k = 0; k < p->picture_count; k++)
		rows += prompt_feature_rows(p->m, &p->pictures[k]);
	int32_t k = 0;
	int64_t left = p->picture_count ? prompt_feature_rows(p->m, &p->pictures[0]) : 0;
	for (int32_t i = 0; i < q->count; i++) {
		if (image < 0 || q->ids[i] != image)
			continue;
		if (++found > rows)
			break;
		while (!left)
			left = prompt_feature_rows(p->m, &p->pictures[++k]);
		q->picture[i] = k;
		left--;
	}
	if (found != rows)
		return error_set(err, REBUS_MISUSE, "inputs: input_ids: %lld placeholders, the pictures have %lld rows", (long long)found, (long long)rows);
	return REBUS_OK;
}

/* ------------------------------------------------------------------------------------------------ outputs */
static void copy_block(float *to, const plan_rows *from, int64_t first, int64_t rows)
{
	for (int64_t r = 0; r < rows; r++)
		memcpy(to + r * from->width, from->data + (first + r) * from->stride, (size_t)from->width * sizeof(float));
}

/* Sequences [s0, s1) of an output: (n, longest, width) with zeros behind shorter ones, or (n, width). */
static void give_sequences(tracing *t, const char *prefix, const char *name, const plan_rows *x, const net_output *o,
	const run_rows *rows, int32_t s0, int32_t s1)
{
	output_kind kind = o->kind == OUTPUT_COLUMN ? OUTPUT_ROWS : o->kind == OUTPUT_CHOICES ? OUTPUT_PICKED : o->kind;
	const int32_t *at = kind == OUTPUT_PATCHES ? rows->patch : kind != OUTPUT_ROWS ? rows->picked : o->stage ? rows->windows->stage[o->stage].row : rows->row;
	int64_t n = s1 - s0, longest = 0;
	if (kind == OUTPUT_FLAT) {
		int64_t shape[2] = {at[s1] - at[s0], x->width};
		float *to = tensors_add(t->out, prefix, name, REBUS_F32, 2, shape);
		if (to)
			copy_block(to, x, at[s0], shape[0]);
		return;
	}
	for (int32_t i = s0; i < s1; i++)
		longest = int_max(longest, int_max(at[i + 1] - at[i], kind == OUTPUT_ROWS && rows->padded ? rows->padded[i] : 0));
	/* A model that generates has logits for every row, even if it is one. */
	bool single = kind == OUTPUT_PICKED && longest <= 1 && rows->picked != rows->row;
	const int32_t *grid = o->grid ? rows->windows->stage[o->stage].grid[s0] : NULL;
	int64_t shape[4] = {n, grid ? grid[0] : single ? x->width : longest, grid ? grid[1] : x->width, x->width};
	int32_t rank = grid ? 4 : single || o->kind == OUTPUT_COLUMN ? 2 : 3;
	if (o->kind == OUTPUT_CHOICES) {
		shape[0] = 1;
		shape[1] = n;
	}
	float *to = tensors_add(t->out, prefix, name, REBUS_F32, rank, shape);
	for (int32_t i = s0; to && i < s1; i++) {
		int64_t have = at[i + 1] - at[i], each = single ? 1 : longest;
		float *mine = to + (i - s0) * each * x->width;
		copy_block(mine, x, at[i], have);
		memset(mine + have * x->width, 0, (size_t)((each - have) * x->width) * sizeof(float));
	}
}

static void give_outputs(tracing *t, const run_net *net_, const run_rows *rows, const int32_t *first)
{
	for (int32_t k = 0; k < net_->n.output_count; k++) {
		const net_output *o = &net_->n.outputs[k];
		if (o->name[0] == '.')
			continue;
		plan_rows x = plan_output(net_->p, o->node);
		for (size_t i = 0; i < t->count; i++)
			if (first[i + 1] > first[i])
				give_sequences(t, prefix_of(t, i), o->name, &x, o, rows, first[i], first[i + 1]);
	}
}

static rebus_status give_pixels(tracing *t, rebus_error *err)
{
	for (size_t i = 0; i < t->count; i++) {
		const rebus_prompt *p = t->prompts[i];
		if (!p->picture_count)
			continue;
		if (trace_flat(p->m)) {
			rebus_status status = trace_give_patches(t->out, prefix_of(t, i), p, err);
			if (status)
				return status;
			continue;
		}
		const pixels *px = &p->pictures[0].px;
		int64_t shape[4] = {p->picture_count, px->channels, px->height, px->width}, n = shape[1] * shape[2] * shape[3];
		for (int32_t k = 1; k < p->picture_count; k++)
			if (p->pictures[k].px.height != px->height || p->pictures[k].px.width != px->width)
				return error_set(err, REBUS_MISUSE, "pictures of %dx%d and %dx%d in one call, the reference stacks equal ones", px->height, px->width,
					p->pictures[k].px.height, p->pictures[k].px.width);
		float *to = tensors_add(t->out, prefix_of(t, i), "pixel_values", REBUS_F32, 4, shape);
		for (int32_t k = 0; to && k < p->picture_count; k++)
			vision_values(&p->pictures[k].px, to + k * n);
	}
	return REBUS_OK;
}

/* input_ids, attention_mask and where there are segments token_type_ids of sequences [s0, s1), padded to the longest. */
static void give_ids(tracing *t, size_t i, const sequence *list, int32_t s0, int32_t s1)
{
	int64_t longest = 0;
	for (int32_t k = s0; k < s1; k++)
		longest = int_max(longest, list[k].count);
	int64_t shape[2] = {s1 - s0, longest};
	int32_t pad = t->s->m->words ? text_named_id(t->s->m->words, TEXT_PAD) : -1;
	int64_t *id = tensors_add(t->out, prefix_of(t, i), "input_ids", REBUS_I64, 2, shape);
	int64_t *mask = tensors_add(t->out, prefix_of(t, i), "attention_mask", REBUS_I64, 2, shape);
	bool typed = t->s->m->text.f->words(t->s->m->text.config)->segments > 0;
	int64_t *type = typed ? tensors_add(t->out, prefix_of(t, i), "token_type_ids", REBUS_I64, 2, shape) : NULL;
	for (int32_t k = s0; id && mask && (type || !typed) && k < s1; k++)
		for (int64_t c = 0; c < longest; c++) {
			bool there = c < list[k].count;
			id[(k - s0) * longest + c] = there ? list[k].ids[c] : pad < 0 ? 0 : pad;
			mask[(k - s0) * longest + c] = there;
			if (typed)
				type[(k - s0) * longest + c] = there && list[k].segment ? list[k].segment[c] : 0;
		}
}

/* ------------------------------------------------------------------------------------------------ encoders */
static rebus_status list_texts(tracing *t, rebus_error *err)
{
	rebus_tensor x;
	int32_t total = 0;
	if (t->o->inputs && rebus_tensors_find(t->o->inputs, "input_ids", &x)) {
		rebus_status status = take_ids(t, &x, "input_ids", &t->texts, &total, err);
		t->text_first[1] = total;
		return status;
	}
	for (size_t i = 0; i < t->count; i++)
		total += prompt_texts(t->prompts[i]);
	t->texts = arena_zero(&t->a, (size_t)total, sizeof *t->texts);
	if (!t->texts)
		return error_memory(err, "texts");
	total = 0;
	for (size_t i = 0; i < t->count; i++) {
		for (int32_t k = 0; k < t->prompts[i]->piece_count; k++)
			if (!t->prompts[i]->pieces[k].image) {
				rebus_status status = prompt_text_ids(t->prompts[i], &t->a, &t->prompts[i]->pieces[k], false, &t->texts[total++], err);
				if (status)
					return status;
			}
		t->text_first[i + 1] = total;
	}
	return REBUS_OK;
}

static rebus_status give_similarity(tracing *t, rebus_error *err)
{
	plan_rows all, pictures, texts;
	if (!session_output(&t->s->vision, "image_embeds", &pictures, NULL) || !session_output(&t->s->text, "text_embeds", &texts, NULL))
		return error_set(err, REBUS_MISUSE, "a %s model does not compare pictures with texts", rebus_model_family(t->s->m));
	rebus_status status = similarity_logits(t->s, &pictures, &texts, &t->a, &all, err);
	for (size_t i = 0; !status && i < t->count; i++) {
		int64_t p0 = t->picture_first[i], t0 = t->text_first[i], np = t->picture_first[i + 1] - p0, nt = t->text_first[i + 1] - t0;
		if (!np || !nt)
			continue;
		float *image = tensors_add(t->out, prefix_of(t, i), "logits_per_image", REBUS_F32, 2, (int64_t[]){np, nt});
		float *text = tensors_add(t->out, prefix_of(t, i), "logits_per_text", REBUS_F32, 2, (int64_t[]){nt, np});
		for (int64_t p = 0; image && text && p < np; p++)
			for (int64_t q = 0; q < nt; q++)
				image[p * nt + q] = text[q * np + p] = all.data[(p0 + p) * all.stride + t0 + q];
	}
	return status;
}

static rebus_status trace_encoder(tracing *t, const picture_list *pictures, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	run_rows rows;
	if (pictures->count) {
		TRY(give_pixels(t, err));
		for (size_t i = 0; i < t->count; i++)
			trace_give_masks(t->out, prefix_of(t, i), t->prompts[i]);
		TRY(session_see(t->s, pictures, t->wants, &t->a, &rows, err));
		give_outputs(t, &t->s->vision, &rows, t->picture_first);
		for (size_t i = 0; i < t->count; i++)
			trace_give_loss(t->out, prefix_of(t, i), &t->s->vision, &rows, t->picture_first[i], t->picture_first[i + 1]);
	}
	if (t->s->m->text.f)
		TRY(list_texts(t, err));
	int32_t texts = t->text_first[t->count];
	if (texts) {
		for (size_t i = 0; i < t->count; i++)
			if (t->text_first[i + 1] > t->text_first[i])
				give_ids(t, i, t->texts, t->text_first[i], t->text_first[i + 1]);
		TRY(session_read(t->s, t->texts, texts, t->wants, &t->a, &rows, err));
		give_outputs(t, &t->s->text, &rows, t->text_first);
	}
	if (!pictures->count && !texts)
		return error_set(err, REBUS_MISUSE, "nothing to trace: no picture and no text");
	if (pictures->count && texts)
		TRY(give_similarity(t, err));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ generating */
typedef struct grown { /* what a prompt's answer adds */
	int64_t *ids;  /* [max] */
	float *logits; /* [max, width] */
	int32_t count;
	bool running;
} grown;

static bool is_end(const rebus_model *m, int32_t id)
{
	for (int32_t i = 0; i < m->eos_count; i++)
		if (m->eos[i] == id)
			return true;
	return false;
}

static rebus_status grow(tracing *t, growth *g, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	int64_t width = 0, most = t->o->max_tokens;
	growth_logits(g, 0, &width);
	grown *x = arena_zero(&t->a, t->count, sizeof *x);
	int32_t *next = arena_get(&t->a, t->count, sizeof *next);
	if (!x || !next)
		return error_memory(err, "an answer");
	for (size_t i = 0; i < t->count; i++) {
		x[i] = (grown){arena_get(&t->a, (size_t)most, sizeof(int64_t)), arena_get(&t->a, (size_t)most, (size_t)width * sizeof(float)), 0, true};
		if (!x[i].ids || !x[i].logits)
			return error_memory(err, "an answer");
	}
	for (int64_t k = 0, running = 1; k < most && running; k++) {
		running = 0;
		for (size_t i = 0; i < t->count; i++) {
			next[i] = -1;
			if (!x[i].running)
				continue;
			const float *logits = growth_logits(g, (int32_t)i, &width);
			int32_t id = sample_next(t->s->m->k, &(sampling){0}, logits, width, (int64_t)i, k, NULL);
			memcpy(x[i].logits + x[i].count * width, logits, (size_t)width * sizeof(float));
			x[i].ids[x[i].count++] = id;
			x[i].running = k + 1 < most && (t->o->ignore_eos || !is_end(t->s->m, id));
			next[i] = x[i].running ? id : -1;
			running += x[i].running;
		}
		if (running)
			TRY(growth_step(g, next, err));
	}
	for (size_t i = 0; i < t->count; i++) {
		int64_t *ids_ = tensors_add(t->out, prefix_of(t, i), "generated_ids", REBUS_I64, 2, (int64_t[]){1, x[i].count});
		float *logits = tensors_add(t->out, prefix_of(t, i), "generated_logits", REBUS_F32, 3, (int64_t[]){1, x[i].count, width});
		if (!ids_ || !logits)
			break;
		memcpy(ids_, x[i].ids, (size_t)x[i].count * sizeof *ids_);
		memcpy(logits, x[i].logits, (size_t)(x[i].count * width) * sizeof *logits);
	}
done:
	return status;
}

/* One sequence for each prompt, from the prompt or from given input_ids. */
static rebus_status list_sequences(tracing *t, rebus_error *err)
{
	rebus_tensor x;
	int32_t count;
	if (!t->o->inputs || !rebus_tensors_find(t->o->inputs, "input_ids", &x))
		return sequences_make(t->prompts, t->count, &t->a, &t->texts, err);
	rebus_status status = take_ids(t, &x, "input_ids", &t->texts, &count, err);
	if (!status && count != 1)
		return wrong_input("input_ids", "I64 (1, tokens)", err);
	return status ? status : place_pictures(t->prompts[0], &t->texts[0], err);
}

/* What the answer begins with, where an encoder reads the prompt: NULL, or given decoder_input_ids. */
static rebus_status list_starts(tracing *t, const sequence **out, rebus_error *err)
{
	rebus_tensor x;
	sequence *list;
	int32_t count;
	if (!t->o->inputs || !rebus_tensors_find(t->o->inputs, "decoder_input_ids", &x))
		return REBUS_OK;
	rebus_status status = take_ids(t, &x, "decoder_input_ids", &list, &count, err);
	if (!status && count != 1)
		return wrong_input("decoder_input_ids", "I64 (1, tokens)", err);
	*out = status ? NULL : list;
	return status;
}

static rebus_status trace_generating(tracing *t, const picture_list *pictures, rebus_error *err)
{
	rebus_status status;
	growth g = {0};
	run_rows rows, own;
	plan_rows features = {0};
	const sequence *starts = NULL;
	int32_t *first = arena_get(&t->a, t->count + 1, sizeof *first);
	if (!first)
		return error_memory(err, "a trace");
	TRY(list_sequences(t, err));
	if (pictures->count) {
		TRY(give_pixels(t, err));
		TRY(session_see(t->s, pictures, t->wants, &t->a, &rows, err));
		give_outputs(t, &t->s->vision, &rows, t->picture_first);
		if (!session_output(&t->s->vision, "image_features", &features, NULL))
			return error_set(err, REBUS_UNSUPPORTED, "a %s model gives no picture features", rebus_model_family(t->s->m));
	}
	for (size_t i = 0; i < t->count; i++)
		give_ids(t, i, t->texts + i, 0, 1);
	TRY(list_starts(t, &starts, err));
	TRY(growth_begin(&g, t->s, t->texts, starts, (int32_t)t->count, features, t->o->max_tokens, t->wants, true, err));
	for (size_t i = 0; i <= t->count; i++)
		first[i] = (int32_t)i;
	own = (run_rows){.count = (int32_t)t->count, .row = g.memory, .picked = g.memory};
	if (g.memory)
		give_outputs(t, &t->s->encoder, &own, first);
	own = (run_rows){.count = (int32_t)t->count, .row = g.row, .picked = g.row};
	give_outputs(t, &t->s->text, &own, first);
	if (t->o->max_tokens > 0)
		TRY(grow(t, &g, err));
done:
	growth_end(&g);
	return status;
}

/* ------------------------------------------------------------------------------------------------ the call */
rebus_status rebus_trace(rebus_session *s, rebus_prompt *const *prompts, size_t count, const rebus_trace_options *options,
	rebus_tensors **out, rebus_error *err)
{
	static const rebus_trace_options plain;
	rebus_status status;
	rebus_tensor x;
	picture_list pictures = {0};
	tracing t = {.s = s, .prompts = prompts, .count = count, .o = options ? options : &plain};
	t.wants = (net_wants){.all = true, .hidden = t.o->hidden_states};
	arena_init(&t.a, s->m->mem.from, 0);
	bool generates = s->m->self.f->abilities & REBUS_GENERATES;
	if (!count || t.o->max_tokens < 0 || t.o->max_tokens > (1 << 20)) {
		status = error_set(err, REBUS_MISUSE, "%zu prompts and max_tokens %d, expected at least one and 0 to %d", count, t.o->max_tokens, 1 << 20);
		goto done;
	}
	if (t.o->max_tokens && !generates) {
		status = error_set(err, REBUS_MISUSE, "max_tokens: a %s model does not generate text", rebus_model_family(s->m));
		goto done;
	}
	TRY(check_inputs(&t, err));
	if (t.o->inputs && rebus_tensors_find(t.o->inputs, "pixel_values", &x))
		TRY(take_pixels(prompts[0], t.o->inputs, &x, err));
	if (t.o->inputs && rebus_tensors_find(t.o->inputs, "noise", &x))
		TRY(trace_take_noise(prompts[0], &x, err));
	TRY(tensors_new(s->m->mem.from, &t.out, err));
	t.text_first = arena_zero(&t.a, count + 1, sizeof(int32_t));
	t.picture_first = arena_zero(&t.a, count + 1, sizeof(int32_t));
	if (!t.text_first || !t.picture_first) {
		status = error_memory(err, "a trace");
		goto done;
	}
	if (s->m->vision.f)
		TRY(session_pictures(prompts, count, &t.a, &pictures, err));
	for (size_t i = 0; i < count; i++)
		t.picture_first[i + 1] = t.picture_first[i] + prompts[i]->picture_count;
	TRY(generates ? trace_generating(&t, &pictures, err) : trace_encoder(&t, &pictures, err));
	TRY(tensors_check(t.out, err));
	*out = t.out;
	t.out = NULL;
done:
	rebus_tensors_free(t.out);
	arena_free(&t.a);
	return status;
}
