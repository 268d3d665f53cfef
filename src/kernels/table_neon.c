/* table_neon.c - the table of the NEON level. Gradients, rotary and column sums are the portable ones. */
#include "kernels/entries.h"
#include "kernels/inner.h"

KERNEL_DECLARE(_neon)

static int64_t gemm_tasks(const gemm_call *call)
{
	return gemm_cut_tasks(&inner_neon, call);
}

static size_t gemm_scratch(const gemm_call *call)
{
	return gemm_cut_scratch(&inner_neon, call);
}

static void gemm_run(const gemm_call *call, int64_t task, void *scratch)
{
	gemm_cut_run(&inner_neon, call, task, scratch);
}

static size_t pack_size(precision as, int64_t n, int64_t k)
{
	return pack_bytes(&inner_neon, as, n, k);
}

static int64_t pack_tasks(const gemm_pack *p)
{
	return pack_panels(&inner_neon, p);
}

static void pack_run(const gemm_pack *p, dtype type, const void *b, int64_t ldb, int64_t task)
{
	pack_panel(&inner_neon, p, type, b, ldb, task);
}

static void narrow(precision as, int64_t rows, int64_t width, const float *x, int64_t ldx, void *y, int64_t ldy)
{
	narrow_rows(&inner_neon, as, rows, width, x, ldx, y, ldy);
}

static void attend_run(const attend_call *call, int64_t task, void *scratch)
{
	attend_cut_run(&inner_neon, call, task, scratch);
}

static void dq_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dq(&inner_neon, call, task, scratch);
}

static void dkv_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dkv(&inner_neon, call, task, scratch);
}

static void dtable_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dtable(&inner_neon, call, task, scratch);
}

const kernels kernels_neon = {
	.level = CPU_NEON,
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
	.layer_norm = kernel_layer_norm_neon,
	.rms_norm = kernel_rms_norm_neon,
	.norm_stats = kernel_norm_stats_neon,
	.norm_dx = kernel_norm_dx,
	.norm_dw = kernel_norm_dw,
	.act = kernel_act_neon,
	.act_back = kernel_act_back,
	.gate = kernel_gate_neon,
	.gate_back = kernel_gate_back,
	.add = kernel_add_neon,
	.axpy = kernel_axpy_neon,
	.scale = kernel_scale_neon,
	.widen = kernel_widen_neon,
	.dot = kernel_dot_neon,
	.column_sum = kernel_column_sum,
	.rotate = kernel_rotate,
	.softmax = kernel_softmax_neon,
	.softmax_back = kernel_softmax_back,
	.log_sum_exp = kernel_log_sum_exp_neon,
	.resample_across = kernel_resample_across_neon,
	.resample_down = kernel_resample_down_neon,
};
