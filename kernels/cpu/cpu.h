// The CPU backend: its state, and the tables of its levels. The kernels are templates (simd.h), compiled once a level.
#ifndef ECD_KERNELS_CPU_CPU_H
#define ECD_KERNELS_CPU_CPU_H

#include <stdatomic.h>

#include "kernels/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/pool.h"

typedef struct ecd_cpu_backend {
    ecd_backend base;
    ecd_pool *pool;
    char *scratch;        // threads pieces of scratch_bytes, grown on first use of a larger shape
    size_t scratch_bytes; // a thread
    void *tables;         // ECF8_DECODER_MAX_BYTES: of the ECF8 weight that is being used
    ecd_backend_ops ops;    // the level's table
    uint64_t held_bytes;  // packed convolution weights
    ecd_onednn *onednn;   // NULL: own kernels alone
    bool prefer_onednn;   // set where it pays at opening, and by tests
    atomic_bool part_failed; // set by pool threads, turned into the failure by the caller
    char text[64];        // base.detail
} ecd_cpu_backend;

static inline ecd_cpu_backend *ecd_cpu_of(ecd_backend *be)
{
    return (ecd_cpu_backend *)be;
}

static inline ecd_dtype ecd_cpu_act(const ecd_backend *be)
{
    return be->act_bytes == 2 ? ECD_BF16 : ECD_F32;
}

// Makes every thread's scratch at least size_bytes large; false after keeping a failure.
bool ecd_cpu_reserve(ecd_backend *be, size_t size_bytes);

static inline void *ecd_cpu_scratch(ecd_backend *be, int thread)
{
    return ecd_cpu_of(be)->scratch + (size_t)thread * ecd_cpu_of(be)->scratch_bytes;
}

static inline bool ecd_cpu_wants_onednn(ecd_backend *be)
{
    return ecd_cpu_of(be)->prefer_onednn && ecd_cpu_of(be)->onednn;
}

// Pool threads may not touch be->failure: they note it, and the caller keeps it when all parts are done.
static inline void ecd_cpu_part_failed(ecd_backend *be)
{
    atomic_store(&ecd_cpu_of(be)->part_failed, true);
}
void ecd_cpu_parts_done(ecd_backend *be, const char *failure);

// Fills the operations that are compiled for a level.
void ecd_cpu_fill_scalar(ecd_backend_ops *ops);
void ecd_cpu_fill_fused(ecd_backend_ops *ops); // vectors of the same width, with fused multiply-adds
void ecd_cpu_fill_avx2(ecd_backend_ops *ops);
void ecd_cpu_fill_avx512(ecd_backend_ops *ops);
void ecd_cpu_fill_wide(ecd_backend_ops *ops); // vectors of AVX-512's width on AVX2, for tests (ECD_BUILD_WIDE)

#endif
