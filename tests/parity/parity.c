/*
 * parity.c - every fixture against the reference, at every level of kernels the processor has.
 *
 *   pixels       the bits of the reference's own processor, torchvision's and Pillow's
 *   ids          equal, also the greedy ones
 *   stages       every named one within relative L2 1e-4; the first that is not is named, in the order they are computed
 *   text         equal
 *
 * Then what holds between our own runs: parity_packed.c, parity_grow.c.
 */
#include "parity.h"

#include <stdio.h>
#include <string.h>

static const double BOUND = 1e-4;

/* Where the golden has the last rows only ([1, n, width]), those of x. */
static rebus_tensor last_rows(rebus_tensor x, const rebus_tensor *want)
{
	if (x.type == REBUS_F32 && x.rank == 3 && want->rank == 3 && x.shape[0] == 1 && want->shape[1] < x.shape[1] && x.shape[2] == want->shape[2]) {
		x.data = (const float *)x.data + (x.shape[1] - want->shape[1]) * x.shape[2];
		x.shape[1] = want->shape[1];
	}
	return x;
}

static bool compare(const char *where, const rebus_tensor *x, const rebus_tensor *want, bool first)
{
	if (want->type == REBUS_I64)
		return check(tensor_same(x, want), "%s: %s differs", where, x->name);
	if (!strcmp(x->name, "pixel_values"))
		return check(tensor_same(x, want), "%s: %s: not the reference's bits (relative L2 %.3g)", where, x->name, tensor_distance(x, want));
	rebus_tensor part = last_rows(*x, want);
	double d = tensor_distance(&part, want);
	return check(d <= BOUND, "%s: %s%s: relative L2 %.3g", where, first ? "first to diverge: " : "", x->name, d);
}

static void golden_case(const fixture *f, size_t i, const char *cpu)
{
	char where[128], name[160];
	snprintf(where, sizeof where, "%s %s (%s)", f->name, fixture_case(f, i), cpu);
	rebus_tensors *got = trace_case(f, i);
	if (!got)
		return;
	size_t prefix = strlen(fixture_case(f, i)) + 1, expected = 0, seen = 0;
	bool good = true;
	for (size_t k = 0; k < rebus_tensors_count(f->want); k++) {
		rebus_tensor w = rebus_tensors_at(f->want, k);
		expected += !strncmp(w.name, fixture_case(f, i), prefix - 1) && w.name[prefix - 1] == '.';
	}
	for (size_t k = 0; k < rebus_tensors_count(got); k++) {
		rebus_tensor x = rebus_tensors_at(got, k), w;
		snprintf(name, sizeof name, "%s.%s", fixture_case(f, i), x.name);
		if (!rebus_tensors_find(f->want, name, &w))
			continue;
		good &= compare(where, &x, &w, good);
		seen++;
	}
	check(seen == expected && seen, "%s: %zu of the golden's %zu tensors are traced", where, seen, expected);
	rebus_tensors_free(got);
}

static void golden_answer(const fixture *f, size_t i)
{
	rebus_prompt *p = fixture_answer(f, i) ? fixture_prompt(f, i, NULL) : NULL;
	if (!p)
		return;
	rebus_ask_options o = rebus_ask_defaults();
	o.max_tokens = fixture_tokens(f, i);
	o.ignore_eos = true;
	rebus_answer *a = NULL;
	rebus_error err = {0};
	if (check_call(rebus_ask(f->session, &p, 1, &o, &a, &err), &err, f->name))
		check(!strcmp(rebus_answer_text(a, 0), fixture_answer(f, i)), "%s %s: answer \"%s\", expected \"%s\"", f->name, fixture_case(f, i),
			  rebus_answer_text(a, 0), fixture_answer(f, i));
	rebus_answer_free(a);
	rebus_prompt_free(p);
}

static void golden_checks(const char *name)
{
	static const char *const levels[] = {"portable", "avx2", "avx512"};
	for (size_t v = 0; v < COUNT_OF(levels); v++) {
		fixture f;
		if (!fixture_open(&f, name, &(fixture_how){.cpu = levels[v], .threads = 2}))
			continue;
		check(!rebus_model_warning(f.model, 0), "%s: warning: %s", name, rebus_model_warning(f.model, 0));
		for (size_t i = 0; i < f.cases; i++) {
			golden_case(&f, i, levels[v]);
			golden_answer(&f, i);
		}
		fixture_close(&f);
	}
}

int main(int argc, char **argv)
{
	for (size_t i = 0; fixture_names[i]; i++) {
		if (argc > 1 && strcmp(argv[1], fixture_names[i]))
			continue;
		golden_checks(fixture_names[i]);
		packed_checks(fixture_names[i]);
		threads_checks(fixture_names[i]);
		grow_checks(fixture_names[i]);
	}
	positions_checks();
	return check_report();
}
