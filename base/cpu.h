// What the CPU can do, and the level that kernels may use.
//
// ECD_CPU=scalar|avx2|avx512 in the environment lowers the level for tests; a name not known, or a level that this
// CPU lacks, is an error (ecd_cpu_init), never silently ignored.
#ifndef ECD_BASE_CPU_H
#define ECD_BASE_CPU_H

#include "base/status.h"

typedef enum ecd_cpu_level {
    ECD_CPU_SCALAR = 0,
    ECD_CPU_AVX2,   // AVX2, FMA, F16C, BMI2
    ECD_CPU_AVX512, // and AVX-512 F, BW, DQ, VL
} ecd_cpu_level;

// Reads ECD_CPU and the CPU. Call it at the start of the program; the calls below do so if it was not called,
// and then take the detected level where ECD_CPU is bad.
ecd_status ecd_cpu_init(ecd_diag *diag);

ecd_cpu_level ecd_cpu_detect(void); // the highest level of this CPU
ecd_cpu_level ecd_cpu(void);        // the level to use
bool ecd_cpu_has_fma(void);         // fused multiply-adds, at any level: all levels then give the same bits
bool ecd_cpu_has_bf16(void);        // AVX512_BF16 or AMX-BF16 at the level in use: BF16 products pay
const char *ecd_cpu_level_name(ecd_cpu_level level);

// The processor's own name, "AMD EPYC ...", or "unknown".
const char *ecd_cpu_model(char *out, size_t size);

// Processors that this process may run on (affinity and cgroup quota considered), at least 1.
int ecd_cpu_count(void);

#endif
