// Weights as a product takes them: widened to float, block scales applied, rounded for bf16 compute.
#ifndef ECD_KERNELS_CPU_WIDEN_H
#define ECD_KERNELS_CPU_WIDEN_H

#include "kernels/backend.h"
#include "kernels/cpu/simd.h"

// Rows of a matrix, from row `first` on: element (r, k) lies at data + ((r - first) * stride + k) elements of dtype.
typedef struct ecd_pack {
    ecd_dtype dtype;
    const void *data;
    int64_t stride;
    bool round; // to BF16, for bf16 compute
    int64_t first;
} ecd_pack;

static inline ecd_pack ecd_pack_of(const ecd_weight *w, ecd_compute compute)
{
    bool exact = w->dtype >= ECD_BF16 && w->scale_kind != ECD_SCALE_BLOCK;
    return (ecd_pack){w->dtype, w->data, w->cols, compute == ECD_COMPUTE_BF16 && !exact, 0};
}

// The weight whose block scales ecd_widen applies, or NULL.
static inline const ecd_weight *ecd_block_scaled(const ecd_weight *w)
{
    return w->scale_kind == ECD_SCALE_BLOCK ? w : NULL;
}

static inline float ecd_block_scale(const ecd_weight *w, int64_t row, int64_t k)
{
    int64_t blocks = (w->cols + ECD_SCALE_BLOCK_SIZE - 1) / ECD_SCALE_BLOCK_SIZE;
    return w->scale[row / ECD_SCALE_BLOCK_SIZE * blocks + k / ECD_SCALE_BLOCK_SIZE];
}

// min(count, LANES) elements of a row from column k, a multiple of LANES: so one block's scale serves them all. dtype is
// from->dtype, a constant where the caller is a copy for one type.
ALWAYS_INLINE vf ecd_widen(ecd_dtype dtype, const ecd_pack *from, const ecd_weight *scaled, int64_t row, int64_t k,
                           int64_t count)
{
    const char *data = (const char *)from->data + (size_t)((row - from->first) * from->stride + k) * vsize(dtype);
    vf v = vload_some(dtype, data, count);
    if (scaled)
        v *= vsplat(ecd_block_scale(scaled, row, k));
    return from->round ? vround_bf16(v) : v;
}

#endif
