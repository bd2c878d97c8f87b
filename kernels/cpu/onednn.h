// Products by oneDNN 3, one thread each: the pool's threads call it side by side, so no sum is split by threads.
//
// It is taken for BF16 where the CPU multiplies BF16 (AVX512_BF16, AMX). In f32 own kernels are as fast
// (docs/SPEED.md) and widen FP8 on the way; oneDNN can still be asked for: so its use is tested on every machine.
// Without oneDNN at build time all of this is there and finds nothing.
#ifndef ECD_KERNELS_CPU_ONEDNN_H
#define ECD_KERNELS_CPU_ONEDNN_H

#include "base/cpu.h"
#include "base/dtype.h"

typedef struct ecd_onednn ecd_onednn;
typedef struct ecd_onednn_product ecd_onednn_product;

// NULL where there is no oneDNN, where `level` is scalar, or when memory is out: own kernels take over.
// oneDNN's instructions are capped at `level`; that is process-wide and must come first, so later openings in the same
// process keep the first one's cap.
ecd_onednn *ecd_onednn_open(ecd_cpu_level level, int threads);
void ecd_onednn_close(ecd_onednn *library); // NULL is allowed
uint64_t ecd_onednn_memory_bytes(const ecd_onednn *library);

// Whether oneDNN has a BF16 product for this CPU at all.
bool ecd_onednn_has_bf16(ecd_onednn *library);

// The product sums[rows][sums_stride] (f32) = x[rows][x_stride] w[channels][depth]^T, x and w of `dtype` (ECD_F32 or
// ECD_BF16). Made at its first use and kept: call it from one thread. NULL where oneDNN has none or memory is out.
typedef struct ecd_onednn_shape {
    ecd_dtype dtype;
    int64_t rows, channels, depth, x_stride, sums_stride;
} ecd_onednn_shape;
ecd_onednn_product *ecd_onednn_product_of(ecd_onednn *library, const ecd_onednn_shape *shape);

// Multiplies on the calling thread, the pool's number `thread`. False if oneDNN failed.
bool ecd_onednn_multiply(ecd_onednn_product *product, int thread, const void *x, const void *w, float *sums);

#endif
