#include "kernels/cpu/linear.h"
#include "kernels/shape.h"

enum { SLICE = 64 }; // output channels of a part

// sums[r * SLICE] = x[r] . w[channel] for `rows` rows, a constant at each call. A row has sums of its own (simd.h, vsum),
// so its order does not depend on the rows beside it.
ALWAYS_INLINE void dot_rows(const int rows, const ecd_dtype dtype, const ecd_linear_job *j, int64_t channel,
                            const float *x, int64_t stride, float *sums)
{
    const ecd_weight *scaled = ecd_block_scaled(j->op->w);
    int64_t cols = j->op->w->cols, k = 0;
    vf sum[ECD_LINEAR_SMALL][SUM_VECTORS] = {0}, w[SUM_VECTORS];
    for (; k + SUM_LANES <= cols; k += SUM_LANES) {
#pragma GCC unroll 4
        for (int i = 0; i < SUM_VECTORS; i++)
            w[i] = ecd_widen(dtype, &j->pack, scaled, channel, k + i * LANES, LANES);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int i = 0; i < SUM_VECTORS; i++)
                sum[r][i] = vfma(vload(x + r * stride + k + i * LANES), w[i], sum[r][i]);
    }
#pragma GCC unroll 4
    for (int i = 0; k < cols && i < SUM_VECTORS; i++) { // zeros are added to all lanes past the end: so -0 becomes 0
        int64_t at = k + i * LANES, left = cols - at;
        w[i] = left > 0 ? ecd_widen(dtype, &j->pack, scaled, channel, at, left) : (vf){0};
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            sum[r][i] = vfma(left > 0 ? vload_some(ECD_F32, x + r * stride + at, left) : (vf){0}, w[i], sum[r][i]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        sums[r * SLICE] = vsum(sum[r]);
}

ALWAYS_INLINE void dot_type(const int rows, const ecd_linear_job *j, int64_t first, int64_t channels, const float *x,
                            int64_t stride, float *sums)
{
#define EACH(type)                                                                                                     \
    for (int64_t n = 0; n < channels; n++)                                                                             \
        dot_rows(rows, type, j, first + n, x, stride, sums + n);                                                       \
    break;
    switch (j->pack.dtype) {
    case ECD_F16: EACH(ECD_F16)
    case ECD_BF16: EACH(ECD_BF16)
    case ECD_E4M3: EACH(ECD_E4M3)
    case ECD_E5M2: EACH(ECD_E5M2)
    default: EACH(ECD_F32)
    }
#undef EACH
}

static void run_part(void *context, int64_t part, int thread)
{
    const ecd_linear_job *j = context;
    const ecd_weight *w = j->op->w;
    float *sums = ecd_cpu_scratch(j->be, thread), *scratch = sums + ECD_LINEAR_SMALL * SLICE;
    int64_t first = part * SLICE, channels = w->rows - first < SLICE ? w->rows - first : SLICE;
    for (int64_t row = 0; row < j->rows; row += ECD_LINEAR_SMALL) {
        int64_t rows = j->rows - row < ECD_LINEAR_SMALL ? j->rows - row : ECD_LINEAR_SMALL, stride = w->cols;
        const float *x = ecd_linear_rows(j, row, rows, 0, w->cols, false, scratch, &stride);
        switch (rows) {
        case 1: dot_type(1, j, first, channels, x, stride, sums); break;
        case 2: dot_type(2, j, first, channels, x, stride, sums); break;
        case 3: dot_type(3, j, first, channels, x, stride, sums); break;
        default: dot_type(4, j, first, channels, x, stride, sums); break;
        }
        for (int64_t r = 0; r < rows; r++)
            ecd_linear_store(j, sums + r * SLICE, row + r, first, channels);
    }
}

void ECD_NAME(linear_small)(ecd_linear_job *j)
{
    const ecd_weight *w = j->op->w;
    size_t floats = (size_t)(ECD_LINEAR_SMALL * (SLICE + w->cols));
    if (ecd_cpu_reserve(j->be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(j->be)->pool, (w->rows + SLICE - 1) / SLICE, run_part, j);
}
