#define _GNU_SOURCE
#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = {"scalar", "avx2", "avx512"};

// The one mutable global: the level in use, -1 before the first look.
static atomic_int level_in_use = -1;

const char *ecd_cpu_level_name(ecd_cpu_level level)
{
    return (unsigned)level <= ECD_CPU_AVX512 ? level_names[level] : "unknown";
}

#if defined(__x86_64__)
// clang 14's __builtin_cpu_supports does not know "f16c".
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

ecd_cpu_level ecd_cpu_detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
                has_f16c();
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return ECD_CPU_AVX512;
    if (avx2)
        return ECD_CPU_AVX2;
#endif
    return ECD_CPU_SCALAR;
}

ecd_status ecd_cpu_init(ecd_diag *diag)
{
    ecd_cpu_level best = ecd_cpu_detect();
    const char *wanted = getenv("ECD_CPU");
    int level = (int)best;
    ecd_status status = ECD_OK;
    if (wanted && *wanted) {
        for (level = ECD_CPU_SCALAR; level <= ECD_CPU_AVX512 && strcmp(wanted, level_names[level]);)
            level++;
        if (level > ECD_CPU_AVX512)
            status = ecd_fail(diag, ECD_USAGE, "ECD_CPU=%s: expected scalar, avx2 or avx512", wanted);
        else if (level > (int)best)
            status = ecd_fail(diag, ECD_USAGE, "ECD_CPU=%s: this CPU has no more than %s", wanted, level_names[best]);
    }
    atomic_store(&level_in_use, status ? (int)best : level); // once: others may be reading it
    return status;
}

ecd_cpu_level ecd_cpu(void)
{
    if (atomic_load(&level_in_use) < 0)
        ecd_cpu_init(NULL);
    return (ecd_cpu_level)atomic_load(&level_in_use);
}

bool ecd_cpu_has_fma(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

bool ecd_cpu_has_bf16(void)
{
#if defined(__x86_64__)
    // AMX-BF16 machines have AVX512_BF16 too.
    return ecd_cpu() == ECD_CPU_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

const char *ecd_cpu_model(char *out, size_t size)
{
    snprintf(out, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file)
        return out;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (!value || strncmp(line, "model name", 10))
            continue;
        value += 1 + strspn(value + 1, " ");
        value[strcspn(value, "\n")] = 0;
        snprintf(out, size, "%s", value);
        break;
    }
    fclose(file);
    return out;
}

// CPUs that the cgroup's quota allows (v2), rounded up; a large number where there is no quota.
static int quota_count(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    long quota = 0, period = 0;
    int fields = file ? fscanf(file, "%ld %ld", &quota, &period) : 0;
    if (file)
        fclose(file);
    return fields == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 1 << 16;
}

int ecd_cpu_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int quota = quota_count();
    if (quota < count)
        count = quota;
    return count > 0 ? count : 1;
}
