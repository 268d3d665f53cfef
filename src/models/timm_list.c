/*
 * timm_list.c - the Vision Transformers that timm 1.0.31 names and that timm_vit.c builds: what each entry function of
 * vision_transformer.py and deit.py passes to the constructor.
 *
 *     vit_small_patch32_384  ─► a row of that very name, else the one without what follows the last '_', if that is a number
 *
 * The number is the size of the pictures, which config.json states itself. Not here, and so refused: models whose blocks are
 * of another kind (parallel, post-norm, normalised queries, differential attention, AIMv2, BEiT-3).
 */
#include "models/timm.h"

#include <string.h>

#define CLIP (TIMM_PRE_NORM | TIMM_EPS_5)
#define GAP (TIMM_CLASSLESS | TIMM_AVERAGE)
#define MAP (TIMM_CLASSLESS | TIMM_LATENT)

/* name, patch, width, blocks, heads, width of the MLP by that of the block, registers */
static const timm_vit_row rows[] = {
	{"deit3_base_patch16", 16, 768, 12, 12, 4, 0, TIMM_UNPLACED | TIMM_SCALED},
	{"deit3_huge_patch14", 14, 1280, 32, 16, 4, 0, TIMM_UNPLACED | TIMM_SCALED},
	{"deit3_large_patch16", 16, 1024, 24, 16, 4, 0, TIMM_UNPLACED | TIMM_SCALED},
	{"deit3_medium_patch16", 16, 512, 12, 8, 4, 0, TIMM_UNPLACED | TIMM_SCALED},
	{"deit3_small_patch16", 16, 384, 12, 6, 4, 0, TIMM_UNPLACED | TIMM_SCALED},
	{"deit_base_distilled_patch16", 16, 768, 12, 12, 4, 0, TIMM_DISTILLED},
	{"deit_base_patch16", 16, 768, 12, 12, 4, 0, 0},
	{"deit_small_distilled_patch16", 16, 384, 12, 6, 4, 0, TIMM_DISTILLED},
	{"deit_small_patch16", 16, 384, 12, 6, 4, 0, 0},
	{"deit_tiny_distilled_patch16", 16, 192, 12, 3, 4, 0, TIMM_DISTILLED},
	{"deit_tiny_patch16", 16, 192, 12, 3, 4, 0, 0},
	{"eva_large_patch14", 14, 1024, 24, 16, 4, 0, TIMM_AVERAGE},
	{"flexivit_base", 16, 768, 12, 12, 4, 0, TIMM_UNPLACED},
	{"flexivit_large", 16, 1024, 24, 16, 4, 0, TIMM_UNPLACED},
	{"flexivit_small", 16, 384, 12, 6, 4, 0, TIMM_UNPLACED},
	{"test_vit", 16, 64, 6, 2, 3, 0, 0},
	{"test_vit2", 16, 64, 8, 2, 3, 1, GAP | TIMM_SCALED},
	{"test_vit3", 16, 96, 9, 3, 2, 1, MAP | TIMM_SCALED | TIMM_ALL_ROWS},
	{"vit_base_patch14_dinov2", 14, 768, 12, 12, 4, 0, TIMM_SCALED},
	{"vit_base_patch14_reg1_tipsv2", 14, 768, 12, 12, 4, 1, TIMM_UNPLACED | TIMM_SCALED},
	{"vit_base_patch14_reg4_dinov2", 14, 768, 12, 12, 4, 4, TIMM_UNPLACED | TIMM_SCALED},
	{"vit_base_patch16", 16, 768, 12, 12, 4, 0, 0},
	{"vit_base_patch16_224_miil", 16, 768, 12, 12, 4, 0, TIMM_PLAIN_QKV},
	{"vit_base_patch16_clip", 16, 768, 12, 12, 4, 0, CLIP},
	{"vit_base_patch16_clip_quickgelu", 16, 768, 12, 12, 4, 0, CLIP | TIMM_QUICK},
	{"vit_base_patch16_gap", 16, 768, 12, 16, 4, 0, GAP | TIMM_NORM_FIRST},
	{"vit_base_patch16_plus", 16, 896, 12, 14, 4, 0, TIMM_SCALED},
	{"vit_base_patch16_plus_clip", 16, 896, 12, 14, 4, 0, CLIP},
	{"vit_base_patch16_radio_v3", 16, 768, 12, 12, 4, 7, TIMM_UNPLACED | TIMM_SCALED | TIMM_UNNORMED},
	{"vit_base_patch16_reg4_gap", 16, 768, 12, 12, 4, 4, GAP | TIMM_UNPLACED},
	{"vit_base_patch16_siglip", 16, 768, 12, 12, 4, 0, MAP},
	{"vit_base_patch16_siglip_gap", 16, 768, 12, 12, 4, 0, GAP | TIMM_NORM_FIRST},
	{"vit_base_patch32", 32, 768, 12, 12, 4, 0, 0},
	{"vit_base_patch32_clip", 32, 768, 12, 12, 4, 0, CLIP},
	{"vit_base_patch32_clip_quickgelu", 32, 768, 12, 12, 4, 0, CLIP | TIMM_QUICK},
	{"vit_base_patch32_plus", 32, 896, 12, 14, 4, 0, TIMM_SCALED},
	{"vit_base_patch32_siglip", 32, 768, 12, 12, 4, 0, MAP | TIMM_TANH},
	{"vit_base_patch32_siglip_gap", 32, 768, 12, 12, 4, 0, GAP | TIMM_NORM_FIRST | TIMM_TANH},
	{"vit_base_patch8", 8, 768, 12, 12, 4, 0, 0},
	{"vit_betwixt_patch16_gap", 16, 640, 12, 10, 4, 0, GAP | TIMM_SCALED | TIMM_PLAIN_QKV | TIMM_NORM_FIRST},
	{"vit_betwixt_patch16_reg1_gap", 16, 640, 12, 10, 4, 1, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_betwixt_patch16_reg4_gap", 16, 640, 12, 10, 4, 4, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_betwixt_patch32_clip", 32, 640, 12, 10, 4, 0, CLIP},
	{"vit_giant_patch14", 14, 1408, 40, 16, 48.0 / 11, 0, 0},
	{"vit_giant_patch14_clip", 14, 1408, 40, 16, 48.0 / 11, 0, CLIP},
	{"vit_giant_patch14_dinov2", 14, 1536, 40, 24, 5.33334, 0, TIMM_SCALED | TIMM_GATED},
	{"vit_giant_patch14_reg1_tipsv2", 14, 1536, 40, 24, 5.33334, 1, TIMM_UNPLACED | TIMM_SCALED | TIMM_GATED},
	{"vit_giant_patch14_reg4_dinov2", 14, 1536, 40, 24, 5.33334, 4, TIMM_UNPLACED | TIMM_SCALED | TIMM_GATED},
	{"vit_giant_patch16_gap", 16, 1408, 40, 16, 48.0 / 11, 0, GAP | TIMM_NORM_FIRST},
	{"vit_giant_patch16_radio_v3", 16, 1536, 40, 24, 4, 7, TIMM_UNPLACED | TIMM_UNNORMED},
	{"vit_giantopt_patch16_siglip", 16, 1536, 40, 16, 4, 0, MAP | TIMM_TANH},
	{"vit_giantopt_patch16_siglip_gap", 16, 1536, 40, 16, 4, 0, GAP | TIMM_NORM_FIRST | TIMM_TANH},
	{"vit_gigantic_patch14", 14, 1664, 48, 16, 64.0 / 13, 0, 0},
	{"vit_gigantic_patch14_clip", 14, 1664, 48, 16, 64.0 / 13, 0, CLIP},
	{"vit_gigantic_patch14_clip_quickgelu", 14, 1664, 48, 16, 64.0 / 13, 0, CLIP | TIMM_QUICK},
	{"vit_huge_patch14", 14, 1280, 32, 16, 4, 0, 0},
	{"vit_huge_patch14_clip", 14, 1280, 32, 16, 4, 0, CLIP},
	{"vit_huge_patch14_clip_quickgelu", 14, 1280, 32, 16, 4, 0, CLIP | TIMM_QUICK},
	{"vit_huge_patch14_gap", 14, 1280, 32, 16, 4, 0, GAP | TIMM_NORM_FIRST},
	{"vit_huge_patch16_gap", 16, 1280, 32, 16, 4, 0, GAP | TIMM_NORM_FIRST},
	{"vit_huge_patch16_radio_v3", 16, 1280, 32, 16, 4, 7, TIMM_UNPLACED | TIMM_UNNORMED},
	{"vit_huge_patch16_radio_v4", 16, 1280, 32, 16, 4, 9, TIMM_UNPLACED | TIMM_UNNORMED},
	{"vit_intern300m_patch14", 14, 1024, 24, 16, 4, 0, TIMM_SCALED | TIMM_UNNORMED},
	{"vit_large_patch14", 14, 1024, 24, 16, 4, 0, 0},
	{"vit_large_patch14_clip", 14, 1024, 24, 16, 4, 0, CLIP},
	{"vit_large_patch14_clip_quickgelu", 14, 1024, 24, 16, 4, 0, CLIP | TIMM_QUICK},
	{"vit_large_patch14_dinov2", 14, 1024, 24, 16, 4, 0, TIMM_SCALED},
	{"vit_large_patch14_reg1_tipsv2", 14, 1024, 24, 16, 4, 1, TIMM_UNPLACED | TIMM_SCALED},
	{"vit_large_patch14_reg4_dinov2", 14, 1024, 24, 16, 4, 4, TIMM_UNPLACED | TIMM_SCALED},
	{"vit_large_patch16", 16, 1024, 24, 16, 4, 0, 0},
	{"vit_large_patch16_radio_v3", 16, 1024, 24, 16, 4, 7, TIMM_UNPLACED | TIMM_SCALED | TIMM_UNNORMED},
	{"vit_large_patch16_siglip", 16, 1024, 24, 16, 4, 0, MAP},
	{"vit_large_patch16_siglip_512", 16, 1024, 24, 16, 4, 0, MAP | TIMM_TANH},
	{"vit_large_patch16_siglip_gap", 16, 1024, 24, 16, 4, 0, GAP | TIMM_NORM_FIRST},
	{"vit_large_patch16_siglip_gap_512", 16, 1024, 24, 16, 4, 0, GAP | TIMM_NORM_FIRST | TIMM_TANH},
	{"vit_large_patch32", 32, 1024, 24, 16, 4, 0, 0},
	{"vit_little_patch16_reg1_gap", 16, 320, 14, 5, 5.6, 1, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_little_patch16_reg4_gap", 16, 320, 14, 5, 5.6, 4, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_medium_patch16_clip", 16, 512, 12, 8, 4, 0, CLIP},
	{"vit_medium_patch16_gap", 16, 512, 12, 8, 4, 0, GAP | TIMM_SCALED | TIMM_PLAIN_QKV | TIMM_NORM_FIRST},
	{"vit_medium_patch16_reg1_gap", 16, 512, 12, 8, 4, 1, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_medium_patch16_reg4_gap", 16, 512, 12, 8, 4, 4, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_medium_patch32_clip", 32, 512, 12, 8, 4, 0, CLIP},
	{"vit_mediumd_patch16_reg4_gap", 16, 512, 20, 8, 4, 4, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_small_patch14_dinov2", 14, 384, 12, 6, 4, 0, TIMM_SCALED},
	{"vit_small_patch14_reg4_dinov2", 14, 384, 12, 6, 4, 4, TIMM_UNPLACED | TIMM_SCALED},
	{"vit_small_patch16", 16, 384, 12, 6, 4, 0, 0},
	{"vit_small_patch16_36x1", 16, 384, 36, 6, 4, 0, TIMM_SCALED},
	{"vit_small_patch32", 32, 384, 12, 6, 4, 0, 0},
	{"vit_small_patch8", 8, 384, 12, 6, 4, 0, 0},
	{"vit_so150m2_patch16_reg1_gap", 16, 832, 21, 13, 34.0 / 13, 1, GAP | TIMM_SCALED | TIMM_PLAIN_QKV},
	{"vit_so150m_patch16_reg4_gap", 16, 896, 18, 14, 2.572, 4, GAP | TIMM_NORM_FIRST},
	{"vit_so150m_patch16_reg4_map", 16, 896, 18, 14, 2.572, 4, MAP},
	{"vit_so400m_patch14_reg1_tipsv2", 14, 1152, 27, 16, 269.0 / 72, 1, TIMM_UNPLACED | TIMM_SCALED},
	{"vit_so400m_patch14_siglip", 14, 1152, 27, 16, 3.7362, 0, MAP},
	{"vit_so400m_patch14_siglip_gap", 14, 1152, 27, 16, 3.7362, 0, GAP | TIMM_NORM_FIRST},
	{"vit_so400m_patch16_radio_v4", 16, 1152, 27, 16, 269.0 / 72, 9, TIMM_UNPLACED | TIMM_UNNORMED},
	{"vit_so400m_patch16_siglip", 16, 1152, 27, 16, 3.7362, 0, MAP | TIMM_TANH},
	{"vit_so400m_patch16_siglip_gap", 16, 1152, 27, 16, 3.7362, 0, GAP | TIMM_NORM_FIRST | TIMM_TANH},
	{"vit_tiny_patch16", 16, 192, 12, 3, 4, 0, 0},
	{"vit_wee_patch16_reg1_gap", 16, 256, 14, 4, 5, 1, GAP | TIMM_UNPLACED | TIMM_SCALED},
	{"vit_xsmall_patch16_clip", 16, 256, 10, 4, 4, 0, CLIP},
};

static const timm_vit_row *find(const char *name, size_t size)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (strlen(rows[i].name) == size && !memcmp(rows[i].name, name, size))
			return &rows[i];
	return NULL;
}

const timm_vit_row *timm_vit_find(const char *architecture)
{
	const timm_vit_row *row = find(architecture, strlen(architecture));
	const char *tail = strrchr(architecture, '_');
	if (row || !tail || !tail[1] || tail[1 + strspn(tail + 1, "0123456789")])
		return row;
	return find(architecture, (size_t)(tail - architecture));
}
