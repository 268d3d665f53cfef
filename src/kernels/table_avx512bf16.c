/*
 * table_avx512bf16.c - the table of AVX-512 with VNNI and BF16: that of AVX-512 but for the products of narrow types.
 */
#include "kernels/entries.h"
#include "kernels/inner.h"

KERNEL_DECLARE(_avx2)
KERNEL_DECLARE(_avx512)

static int64_t gemm_tasks(const gemm_call *call)
{
	return gemm_cut_tasks(&inner_avx512bf16, call);
}

static size_t gemm_scratch(const gemm_call *call)
{
	return gemm_cut_scratch(&inner_avx512bf16, call);
}

static void gemm_run(const gemm_call *call, int64_t task, void *scratch)
{
	gemm_cut_run(&inner_avx512bf16, call, task, scratch);
}

static size_t pack_size(precision as, int64_t n, int64_t k)
{
	return pack_bytes(&inner_avx512bf16, as, n, k);
}

static int64_t pack_tasks(const gemm_pack *p)
{
	return pack_panels(&inner_avx512bf16, p);
}

static void pack_run(const gemm_pack *p, dtype type, const void *b, int64_t ldb, int64_t task)
{
	pack_panel(&inner_avx512bf16, p, type, b, ldb, task);
}

static void narrow(precision as, int64_t rows, int64_t width, const float *x, int64_t ldx, void *y, int64_t ldy)
{
	narrow_rows(&inner_avx512bf16, as, rows, width, x, ldx, y, ldy);
}

static void attend_run(const attend_call *call, int64_t task, void *scratch)
{
	attend_cut_run(&inner_avx512bf16, call, task, scratch);
}

static void dq_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dq(&inner_avx512bf16, call, task, scratch);
}

static void dkv_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dkv(&inner_avx512bf16, call, task, scratch);
}

static void dtable_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dtable(&inner_avx512bf16, call, task, scratch);
}

const kernels kernels_avx512bf16 = {
	.level = CPU_AVX512BF16,
	.gemm_tasks = gemm_tasks,
	.gemm_scratch = gemm_scratch,
	.gemm_run = gemm_run,
	.pack_size = pack_size,
	.pack_tasks = pack_tasks,
	.pack_run = pack_run,
	.narrow = narrow,
	.attend_tasks = attend_cut_tasks,
	.attend_scratch = attend_cut_scratch,
	.attend_run = attend_run,
	.attend_dq_tasks = attend_back_dq_tasks,
	.attend_dq_run = dq_run,
	.attend_dkv_tasks = attend_back_dkv_tasks,
	.attend_dkv_run = dkv_run,
	.attend_dtable_tasks = attend_back_dtable_tasks,
	.attend_dtable_run = dtable_run,
	.attend_back_scratch = attend_back_size,
	.layer_norm = kernel_layer_norm_avx512,
	.rms_norm = kernel_rms_norm_avx512,
	.norm_stats = kernel_norm_stats_avx512,
	.norm_dx = kernel_norm_dx_avx512,
	.norm_dw = kernel_norm_dw_avx2,
	.act = kernel_act_avx512,
	.act_back = kernel_act_back_avx512,
	.gate = kernel_gate_avx512,
	.gate_back = kernel_gate_back_avx512,
	.add = kernel_add_avx2,
	.axpy = kernel_axpy_avx2,
	.scale = kernel_scale_avx2,
	.widen = kernel_widen_avx2,
	.dot = kernel_dot_avx2,
	.column_sum = kernel_column_sum_avx2,
	.rotate = kernel_rotate_avx2,
	.softmax = kernel_softmax_avx512,
	.softmax_back = kernel_softmax_back_avx512,
	.log_sum_exp = kernel_log_sum_exp_avx512,
	.resample_across = kernel_resample_across_avx2,
	.resample_down = kernel_resample_down_avx2,
};
