// Group norm as its own operation and as convolutions apply it to the rows that they read: the same bits in both.
#ifndef ECD_KERNELS_CPU_GROUP_NORM_H
#define ECD_KERNELS_CPU_GROUP_NORM_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

// What group_measure leaves in op->measured: [channels] of each.
typedef struct ecd_group_factors {
    const float *centre; // the group's mean, repeated
    const float *factor; // gamma / standard deviation
    const float *beta;
    bool silu;
} ecd_group_factors;

static inline ecd_group_factors ecd_group_factors_of(const ecd_group_norm *op, int64_t channels)
{
    const float *measured = op->measured;
    return (ecd_group_factors){measured, measured + channels, op->beta, op->silu};
}

// LANES or fewer (`left`) channels of a pixel, from channel c: in the type of activations, rounded to it, as floats.
ALWAYS_INLINE vf ecd_group_apply(const ecd_group_factors *f, const ecd_dtype act, const bool silu, const char *pixel,
                                 int64_t c, int64_t left)
{
    vf v = vload_some(act, pixel + (size_t)c * vsize(act), left) - vload_some(ECD_F32, f->centre + c, left);
    v = vfma(v, vload_some(ECD_F32, f->factor + c, left), vload_some(ECD_F32, f->beta + c, left));
    return silu ? vsilu(v) : v;
}

#endif
