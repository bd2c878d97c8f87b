// The product's core: C += A B, with B packed in panels of PANEL output channels. Each sum is one chain of fused
// multiply-adds in the order of k, whatever the tile, so that a row's bits do not depend on the rows beside it.
#ifndef ECD_KERNELS_CPU_GEMM_H
#define ECD_KERNELS_CPU_GEMM_H

#include "kernels/cpu/widen.h"

enum {
    PANEL = 2 * LANES,
    TILE_ROWS = LANES == 16 ? 12 : 6, // with two vectors of channels this fills the register file
};

// c[i][0..PANEL) += sum_k a[i][k] b[k][0..PANEL) for `rows` rows, a constant at each call.
ALWAYS_INLINE void ecd_gemm_tile(const int rows, int64_t depth, const float *a, int64_t a_stride, const float *b,
                                 float *c, int64_t c_stride)
{
    vf sum[TILE_ROWS][2];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        sum[i][0] = vload(c + i * c_stride);
        sum[i][1] = vload(c + i * c_stride + LANES);
    }
    for (int64_t k = 0; k < depth; k++) {
        vf b0 = vload(b + k * PANEL), b1 = vload(b + k * PANEL + LANES);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            vf x = vsplat(a[i * a_stride + k]);
            sum[i][0] = vfma(x, b0, sum[i][0]);
            sum[i][1] = vfma(x, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        vstore(c + i * c_stride, sum[i][0]);
        vstore(c + i * c_stride + LANES, sum[i][1]);
    }
}

// ecd_gemm_tile for any number of rows.
void ECD_NAME(gemm_panel)(int64_t rows, int64_t depth, const float *a, int64_t a_stride, const float *b, float *c,
                          int64_t c_stride);

// panel[i][j] = element (first + j, k + i), i < depth; rows past `rows` are zero. scaled: the block-scaled weight, or NULL.
void ECD_NAME(pack_panel)(const ecd_pack *from, const ecd_weight *scaled, int64_t first, int64_t rows, int64_t k,
                          int64_t depth, float *panel);

#endif
