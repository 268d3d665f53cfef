/* cpu.c - which instructions this processor has, and how many processors this process may use. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[CPU_LEVELS] = {"portable", "avx2", "avx512", "avx512bf16", "neon"};

#if defined(__x86_64__)
/* Conversions of half precision, which the AVX2 files use; not every compiler's __builtin_cpu_supports knows the name. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* Leaf 7: VNNI is bit 11 of ecx, BF16 bit 5 of eax of the second part. */
static bool has_narrow_products(void)
{
	unsigned a, b, c, d;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 11) && a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}
#endif

cpu_level cpu_detect(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init(); /* asks the system too: no level whose registers it does not save */
	if (!has_f16c())
		return CPU_PORTABLE;
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return has_narrow_products() ? CPU_AVX512BF16 : CPU_AVX512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return CPU_AVX2;
	return CPU_PORTABLE;
#else
	return CPU_PORTABLE;
#endif
}

bool cpu_parse(const char *name, cpu_level *out)
{
	for (int i = 0; i < CPU_LEVELS; i++)
		if (!strcmp(name, names[i])) {
			*out = (cpu_level)i;
			return true;
		}
	return false;
}

const char *cpu_name(cpu_level level)
{
	return names[level];
}

/* The container's limit: "QUOTA PERIOD" in microseconds (cgroup v2), or two files (v1). */
static int quota_of_group(void)
{
	long quota = -1, period = 0;
	FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
	if (f) {
		if (fscanf(f, "%ld %ld", &quota, &period) != 2)
			quota = -1;
		fclose(f);
	} else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"))) {
		if (fscanf(f, "%ld", &quota) != 1)
			quota = -1;
		fclose(f);
		if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re"))) {
			if (fscanf(f, "%ld", &period) != 1)
				period = 0;
			fclose(f);
		}
	}
	return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

int cpu_quota(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
	int quota = quota_of_group();
	if (quota && quota < n)
		n = quota;
	return n > 0 ? n : 1;
}
