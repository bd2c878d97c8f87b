// Which instruction sets this CPU has, and which of them to use.
#include <stdlib.h>

#include "codec/lanes.h"

static bool has(ecf8_cpu cpu)
{
    switch (cpu) {
    case ECF8_CPU_SCALAR: return true;
#if defined(__x86_64__)
    case ECF8_CPU_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    case ECF8_CPU_AVX512:
        return has(ECF8_CPU_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    default: return false;
    }
}

const char *ecf8_cpu_name(ecf8_cpu cpu)
{
    switch (cpu) {
    case ECF8_CPU_AUTO: return "auto";
    case ECF8_CPU_SCALAR: return "scalar";
    case ECF8_CPU_AVX2: return "avx2";
    case ECF8_CPU_AVX512: return "avx512";
    }
    return "unknown";
}

ecf8_cpu ecf8_cpu_best(void)
{
    const char *wish = getenv("ECD_CPU");
    for (ecf8_cpu cpu = ECF8_CPU_AVX512; cpu >= ECF8_CPU_SCALAR; cpu--)
        if (wish && *wish ? strcmp(wish, ecf8_cpu_name(cpu)) == 0 && has(cpu) : has(cpu))
            return cpu;
    return (ecf8_cpu)0;
}

const ecf8_kernels *ecf8_kernels_of(ecf8_cpu cpu)
{
    if (!has(cpu))
        return NULL;
#if defined(__x86_64__)
    if (cpu == ECF8_CPU_AVX2)
        return &ecf8_kernels_avx2;
    if (cpu == ECF8_CPU_AVX512)
        return &ecf8_kernels_avx512;
#endif
    return &ecf8_kernels_scalar;
}
