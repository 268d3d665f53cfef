/* cpu.c - which instructions this processor has. */
#include "base/base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <string.h>

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
#elif defined(__aarch64__)
	return CPU_NEON; /* part of every armv8-a */
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
