/*
 * table.c - the portable table, and the choice of a level's.
 *
 * Tables are constants. An ISA's table lies in a file compiled for it and is never touched on a processor without it.
 * REBUS_X86 is defined by the build where the files with an x86 suffix are part of it, REBUS_NEON where those with NEON's are.
 */
#include "kernels/entries.h"
#include "kernels/inner.h"

static int64_t gemm_tasks(const gemm_call *call)
{
	return gemm_cut_tasks(&inner_portable, call);
}

static size_t gemm_scratch(const gemm_call *call)
{
	return gemm_cut_scratch(&inner_portable, call);
}

static void gemm_run(const gemm_call *call, int64_t task, void *scratch)
{
	gemm_cut_run(&inner_portable, call, task, scratch);
}

static size_t pack_size(precision as, int64_t n, int64_t k)
{
	return pack_bytes(&inner_portable, as, n, k);
}

static int64_t pack_tasks(const gemm_pack *p)
{
	return pack_panels(&inner_portable, p);
}

static void pack_run(const gemm_pack *p, dtype type, const void *b, int64_t ldb, int64_t task)
{
	pack_panel(&inner_portable, p, type, b, ldb, task);
}

static void narrow(precision as, int64_t rows, int64_t width, const float *x, int64_t ldx, void *y, int64_t ldy)
{
	narrow_rows(&inner_portable, as, rows, width, x, ldx, y, ldy);
}

static void attend_run(const attend_call *call, int64_t task, void *scratch)
{
	attend_cut_run(&inner_portable, call, task, scratch);
}

static void dq_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dq(&inner_portable, call, task, scratch);
}

static void dkv_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dkv(&inner_portable, call, task, scratch);
}

static void dtable_run(const attend_back_call *call, int64_t task, void *scratch)
{
	attend_back_dtable(&inner_portable, call, task, scratch);
}

const kernels kernels_portable = {
	.level = CPU_PORTABLE,
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
	.layer_norm = kernel_layer_norm,
	.rms_norm = kernel_rms_norm,
	.norm_stats = kernel_norm_stats,
	.norm_dx = kernel_norm_dx,
	.norm_dw = kernel_norm_dw,
	.act = kernel_act,
	.act_back = kernel_act_back,
	.gate = kernel_gate,
	.gate_back = kernel_gate_back,
	.add = kernel_add,
	.axpy = kernel_axpy,
	.scale = kernel_scale,
	.widen = kernel_widen,
	.dot = kernel_dot,
	.column_sum = kernel_column_sum,
	.rotate = kernel_rotate,
	.softmax = kernel_softmax,
	.softmax_back = kernel_softmax_back,
	.log_sum_exp = kernel_log_sum_exp,
	.resample_across = kernel_resample_across,
	.resample_down = kernel_resample_down,
};

const kernels *kernels_get(cpu_level level)
{
	cpu_level have = cpu_detect();
	if (have < level)
		level = have;
#ifdef REBUS_X86
	if (level == CPU_AVX512BF16)
		return &kernels_avx512bf16;
	if (level == CPU_AVX512)
		return &kernels_avx512;
	if (level == CPU_AVX2)
		return &kernels_avx2;
#endif
#ifdef REBUS_NEON
	if (level == CPU_NEON)
		return &kernels_neon;
#endif
	return &kernels_portable;
}
