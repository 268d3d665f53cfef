/*
 * objective_contrast.c - learning which picture and which text belong together, over two towers.
 *
 *     pictures ─► tower ─► unit rows I [n, d] ┐                         the n samples of a batch; sample i's text is its own
 *                                             ├─► S = exp(scale) I T' + bias
 *     texts    ─► tower ─► unit rows T [n, d] ┘
 *
 *     softmax (CLIP, Radford et al. 2021, figure 3)     (CE over rows + CE over columns) / 2, the diagonal is right
 *     sigmoid (SigLIP, Zhai et al. 2023, algorithm 1)   -1/n sum over i, j of log sigmoid(z S), z = 1 on the diagonal, else -1
 *
 * The loss and dL/dI, dL/dT are n x n work between the two halves of the towers' plans.
 */
#include <math.h>
#include <string.h>

#include "train/trainer.h"

static rebus_status check(const trainer *t, rebus_error *err)
{
	if (!(t->m->self.f->abilities & REBUS_TWO_TOWERS) || !t->m->self.f->similarity_scale)
		return error_set(err, REBUS_MISUSE, "objective contrast: a %s model has no two towers", t->m->self.f->model_type);
	return REBUS_OK;
}

static rebus_status prepare(const rebus_model *m, const sample *s, arena *a, item *it, rebus_error *err)
{
	(void)m;
	if (!s->pic.pixels || s->turn_count != 1)
		return error_set(err, REBUS_MISUSE, "a sample without a picture or a text, expected both to learn what belongs together");
	rebus_status status = prompt_picture(it->prompt, &s->pic, "a sample", err);
	if (!status)
		status = rebus_prompt_text(it->prompt, s->turns[0].text, err);
	return status ? status : prompt_text_ids(it->prompt, a, &it->prompt->pieces[it->prompt->piece_count - 1], false, &it->text, err);
}

static rebus_status ends(const trainer *t, train_net *x, rebus_error *err)
{
	const net_output *o = net_find(&x->n, NET_EMBEDDING);
	if (!o)
		return error_set(err, REBUS_MISUSE, "objective contrast: a %s model gives no embedding", t->m->self.f->model_type);
	x->out = x->seen = o->node;
	return REBUS_OK;
}

static rebus_status forward(trainer *t, const batch *b, rebus_error *err)
{
	rebus_status status;
	picture_list list;
	run_rows rows;
	net_size need;
	net_run run;
	sequence *texts = arena_get(&t->step, (size_t)b->count, sizeof *texts);
	TRY(texts ? REBUS_OK : error_memory(err, "texts"));
	for (int32_t i = 0; i < b->count; i++)
		texts[i] = b->at[i]->text;
	TRY(session_pictures(b->prompts, (size_t)b->count, &t->step, &list, err));
	TRY(session_sight(t->m, &list, &t->step, &rows, &need, &run, err));
	TRY(train_net_feed(t, &t->vision, true, need, &run, ends, err));
	TRY(train_net_forward(t, &t->vision, err));
	TRY(session_reading(t->m, texts, b->count, &t->step, &rows, &need, &run, err));
	TRY(train_net_feed(t, &t->text, false, need, &run, ends, err));
	TRY(train_net_forward(t, &t->text, err));
done:
	return status;
}

typedef struct similarity {
	int64_t n;
	float factor, bias; /* exp(scale) */
	float *cosine, *d; /* [n, n]; d: dL/dS */
} similarity;

static void product(const kernels *k, gemm_form form, int64_t m, int64_t n, int64_t depth, const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                    int64_t ldc, void *scratch)
{
	gemm_call g = {.form = form, .m = m, .n = n, .k = depth, .a = a, .lda = lda, .b = b, .ldb = ldb, .b_type = DT_F32, .c = c, .ldc = ldc};
	for (int64_t i = 0; i < k->gemm_tasks(&g); i++)
		k->gemm_run(&g, i, scratch);
}

/* Room for any product of these three shapes. */
static void *scratch_for(const kernels *k, int64_t n, int64_t d, arena *a)
{
	size_t most = 0;
	for (int form = GEMM_NT; form <= GEMM_TN; form++) {
		gemm_call g = {.form = (gemm_form)form, .m = n, .n = n > d ? n : d, .k = n > d ? n : d, .b_type = DT_F32};
		size_t size = k->gemm_scratch(&g);
		most = size > most ? size : most;
	}
	return arena_get(a, most, 1);
}

static rebus_status compare(trainer *t, similarity *s, void **scratch, rebus_error *err)
{
	plan_rows x = plan_output(t->vision.p, t->vision.out), y = plan_output(t->text.p, t->text.out);
	const family *f = t->m->self.f;
	if (x.rows != y.rows || x.width != y.width)
		return error_set(err, REBUS_SHAPE, "pictures are rows of %lld, texts of %lld", (long long)x.width, (long long)y.width);
	*s = (similarity){.n = x.rows, .factor = (float)exp((double)f->similarity_scale(t->m)->f32[0]),
		.bias = f->similarity_bias ? f->similarity_bias(t->m)->f32[0] : 0.0f};
	s->cosine = arena_get(&t->step, (size_t)(s->n * s->n), sizeof(float));
	s->d = arena_get(&t->step, (size_t)(s->n * s->n), sizeof(float));
	*scratch = scratch_for(t->m->k, s->n, x.width, &t->step);
	if (!s->cosine || !s->d || !*scratch)
		return error_memory(err, "similarities");
	product(t->m->k, GEMM_NT, s->n, s->n, x.width, x.data, x.stride, y.data, y.stride, s->cosine, s->n, *scratch);
	return REBUS_OK;
}

/* Rows of S, or with `turned` its columns: adds half their cross-entropy's gradient to d, returns half the loss. */
static double softmax_half(const kernels *k, const similarity *s, bool turned, float *row)
{
	double loss = 0;
	int64_t n = s->n, step = turned ? n : 1, next = turned ? 1 : n;
	float share = 0.5f / (float)n;
	for (int64_t i = 0; i < n; i++) {
		for (int64_t j = 0; j < n; j++)
			row[j] = s->factor * s->cosine[i * next + j * step];
		loss += (double)k->log_sum_exp(n, row) - (double)row[i];
		k->softmax(1, n, row, n, row, n);
		for (int64_t j = 0; j < n; j++)
			s->d[i * next + j * step] += share * (row[j] - (j == i ? 1.0f : 0.0f));
	}
	return 0.5 * loss / (double)n;
}

static double softmax_loss(const kernels *k, const similarity *s, float *row)
{
	memset(s->d, 0, (size_t)(s->n * s->n) * sizeof *s->d);
	double rows = softmax_half(k, s, false, row);
	return rows + softmax_half(k, s, true, row);
}

static double sigmoid_loss(const similarity *s)
{
	double loss = 0;
	for (int64_t i = 0; i < s->n; i++)
		for (int64_t j = 0; j < s->n; j++) {
			double z = i == j ? 1 : -1, x = z * ((double)s->factor * (double)s->cosine[i * s->n + j] + (double)s->bias);
			loss += x > 0 ? log1p(exp(-x)) : log1p(exp(x)) - x; /* -log sigmoid */
			s->d[i * s->n + j] = (float)(-z / (1 + exp(x)) / (double)s->n);
		}
	return loss / (double)s->n;
}

static double loss_of(trainer *t, const similarity *s, rebus_error *err)
{
	float *row = arena_get(&t->step, (size_t)s->n, sizeof *row);
	if (!row) {
		error_memory(err, "similarities");
		return NAN;
	}
	return t->m->self.f->independent ? sigmoid_loss(s) : softmax_loss(t->m->k, s, row);
}

/* dL/dscale = sum of d * S's part, dL/dbias = sum of d; dL/dI = exp(scale) d T, dL/dT = exp(scale) d' I. */
static void spread(trainer *t, const similarity *s, void *scratch)
{
	plan_rows x = plan_output(t->vision.p, t->vision.out), y = plan_output(t->text.p, t->text.out);
	double scale = 0, bias = 0;
	for (int64_t i = 0; i < s->n * s->n; i++) {
		scale += (double)s->d[i] * (double)(s->factor * s->cosine[i]);
		bias += (double)s->d[i];
		s->d[i] *= s->factor;
	}
	t->scale_gradient[0] = (float)scale;
	t->scale_gradient[1] = (float)bias;
	product(t->m->k, GEMM_NN, s->n, x.width, s->n, s->d, s->n, y.data, y.stride, t->vision.seed, x.width, scratch);
	product(t->m->k, GEMM_TN, s->n, x.width, s->n, s->d, s->n, x.data, x.stride, t->text.seed, x.width, scratch);
}

static rebus_status add_scale(trainer *t, rebus_error *err)
{
	const family *f = t->m->self.f;
	const weight *w[] = {f->similarity_scale(t->m), f->similarity_bias ? f->similarity_bias(t->m) : NULL};
	rebus_status status = REBUS_OK;
	for (int i = 0; i < 2 && w[i] && !status; i++)
		status = parameters_add_number(&t->list, &t->mem, w[i]->name, (float *)(uintptr_t)w[i]->f32, &t->scale_gradient[i], err);
	return status;
}

static rebus_status pass(trainer *t, const batch *b, double *loss, rebus_error *err)
{
	rebus_status status;
	similarity s;
	void *scratch;
	bool first = !t->vision.counted;
	TRY(forward(t, b, err));
	if (first)
		TRY(add_scale(t, err));
	TRY(compare(t, &s, &scratch, err));
	*loss = loss_of(t, &s, err);
	spread(t, &s, scratch);
	TRY(train_net_backward(t, &t->vision, err));
	TRY(train_net_backward(t, &t->text, err));
done:
	return status;
}

static bool same_text(const item *a, const item *b)
{
	return a->text.count == b->text.count && !memcmp(a->text.ids, b->text.ids, (size_t)a->text.count * sizeof(int32_t));
}

/* Right: the nearest text of the batch is the picture's own, or one that reads the same. */
static rebus_status score_batch(trainer *t, const batch *b, score *sum, rebus_error *err)
{
	rebus_status status;
	similarity s;
	void *scratch;
	TRY(forward(t, b, err));
	TRY(compare(t, &s, &scratch, err));
	sum->loss += loss_of(t, &s, err) * (double)s.n;
	for (int64_t i = 0; i < s.n; i++) {
		const float *row = s.cosine + i * s.n;
		int64_t best = 0;
		for (int64_t j = 1; j < s.n; j++)
			best = row[j] > row[best] ? j : best;
		sum->right += same_text(b->at[i], b->at[best]);
	}
	sum->count += s.n;
done:
	return status;
}

const objective objective_contrast = {.name = "contrast", .check = check, .prepare = prepare, .pass = pass, .score = score_batch};
