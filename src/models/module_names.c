/*
 * module_names.c - what transformers 5 calls, in memory, the modules whose tensors a checkpoint names otherwise.
 *
 * save_pretrained writes the old names back, so files keep them; but whoever names modules (PEFT: target_modules, the keys of
 * an adapter) means those in memory. A family's list is gone through in order, each entry replacing its first occurrence:
 *
 *     vit.encoder.layer.3.attention.attention.query.weight  ─►  vit.layers.3.attention.q_proj.weight
 *
 * Source: the names of state_dict() beside those of the files, transformers 5.23.0; tests/train/test_adapters.py compares.
 */
#include <stdio.h>
#include <string.h>

#include "models/adapter.h"

typedef struct rename_rule {
	const char *from, *to; /* from with ^ in front: at the name's beginning only */
} rename_rule;

#define ATTENTION_RULES                                                                                                    \
	{"attention.attention.query", "attention.q_proj"}, {"attention.attention.key", "attention.k_proj"},                       \
	{"attention.attention.value", "attention.v_proj"}, {"attention.output.dense", "attention.o_proj"}

static const rename_rule vit_rules[] = {
	{"decoder_encoder.layer.", "decoder_layers."}, {"encoder.layer.", "layers."}, ATTENTION_RULES,
	{"intermediate.dense", "mlp.fc1"}, {"output.dense", "mlp.fc2"}, {NULL, NULL},
};
static const rename_rule dinov2_rules[] = {ATTENTION_RULES, {NULL, NULL}};
static const rename_rule swin_rules[] = {
	{"attention.self.query", "attention.q_proj"}, {"attention.self.key", "attention.k_proj"}, {"attention.self.value", "attention.v_proj"},
	{"attention.output.dense", "attention.o_proj"}, {"intermediate.dense", "mlp.fc1"}, {"output.dense", "mlp.fc2"}, {NULL, NULL},
};
static const rename_rule llava_rules[] = {
	{"^language_model.lm_head", "lm_head"}, {"^language_model.model.", "model.language_model."}, {"^vision_tower.", "model.vision_tower."},
	{"^multi_modal_projector.", "model.multi_modal_projector."}, {"model.vision_tower.vision_model.", "model.vision_tower."}, {NULL, NULL},
};

static const struct {
	const char *family;
	const rename_rule *rules;
} all[] = {
	{"vit", vit_rules}, {"deit", vit_rules}, {"vit_mae", vit_rules}, {"dinov2", dinov2_rules}, {"dinov2_with_registers", dinov2_rules},
	{"swin", swin_rules}, {"llava", llava_rules},
};

static void replace(char *name, size_t room, const rename_rule *r)
{
	bool first = r->from[0] == '^';
	const char *from = r->from + first;
	char *at = first ? (!strncmp(name, from, strlen(from)) ? name : NULL) : strstr(name, from);
	char rest[TENSOR_NAME + 1];
	if (!at || strlen(name) + strlen(r->to) >= room)
		return;
	snprintf(rest, sizeof rest, "%s", at + strlen(from));
	snprintf(at, room - (size_t)(at - name), "%s%s", r->to, rest);
}

void model_module_name(const struct rebus_model *m, const char *tensor, char out[TENSOR_NAME + 1])
{
	snprintf(out, TENSOR_NAME + 1, "%s", tensor);
	for (size_t i = 0; i < COUNT_OF(all); i++)
		if (!strcmp(all[i].family, m->self.f->model_type))
			for (const rename_rule *r = all[i].rules; r->from; r++)
				replace(out, TENSOR_NAME + 1, r);
}
