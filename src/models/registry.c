/* registry.c - the one list of families: a line here and a file beside it make a new one. */
#include "models/family.h"

#include <string.h>

#define FAMILY_LIST(X)                                                                                                     \
	X(vit)                                                                                                             \
	X(deit)                                                                                                            \
	X(vit_mae)                                                                                                         \
	X(dinov2)                                                                                                          \
	X(dinov2_with_registers)                                                                                           \
	X(swin)                                                                                                            \
	X(swinv2)                                                                                                          \
	X(timm_vit)                                                                                                        \
	X(timm_swin)                                                                                                       \
	X(timm_distilled)                                                                                                  \
	X(clip)                                                                                                            \
	X(clip_classifier)                                                                                                 \
	X(clip_vision)                                                                                                     \
	X(clip_text)                                                                                                       \
	X(siglip)                                                                                                          \
	X(siglip_classifier)                                                                                               \
	X(siglip_vision)                                                                                                   \
	X(siglip2)                                                                                                         \
	X(siglip2_classifier)                                                                                              \
	X(siglip2_vision)                                                                                                  \
	X(siglip2_text)                                                                                                    \
	X(siglip_text)                                                                                                     \
	X(bert)                                                                                                            \
	X(llama)                                                                                                           \
	X(gpt2)                                                                                                            \
	X(opt)                                                                                                             \
	X(mistral)                                                                                                         \
	X(qwen2)                                                                                                           \
	X(qwen3)                                                                                                           \
	X(gemma)                                                                                                           \
	X(gemma2)                                                                                                          \
	X(gemma3_text)                                                                                                     \
	X(phi3)                                                                                                            \
	X(t5)                                                                                                              \
	X(llava)

#define X(name) extern const family family_##name;
FAMILY_LIST(X)
#undef X

static const family *const list[] = {
#define X(name) &family_##name,
	FAMILY_LIST(X)
#undef X
};

const family *registry_at(size_t i)
{
	return i < COUNT_OF(list) ? list[i] : NULL;
}

const family *registry_find(const char *model_type)
{
	for (size_t i = 0; i < COUNT_OF(list); i++)
		if (!strcmp(list[i]->model_type, model_type))
			return list[i];
	return NULL;
}

const family *registry_choose(const char *model_type, const char *architecture)
{
	for (size_t i = 0; i < COUNT_OF(list); i++)
		for (size_t k = 0; architecture && !strcmp(list[i]->model_type, model_type) && list[i]->architectures && list[i]->architectures[k]; k++)
			if (!strcmp(list[i]->architectures[k], architecture))
				return list[i];
	return registry_find(model_type);
}

const family *registry_builds(const char *architecture)
{
	for (size_t i = 0; i < COUNT_OF(list); i++)
		if (list[i]->builds && list[i]->builds(architecture))
			return list[i];
	return NULL;
}

int64_t component_layers(const component *c)
{
	int64_t n;
	memcpy(&n, (const char *)c->config + c->f->layer_count_at, sizeof n);
	return n;
}
