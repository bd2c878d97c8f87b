#include "kernels/cpu/linear.h"

enum {
    SLICE = 64,     // output channels of a part
    SMALL_COST = 8, // a weight that is read for few rows takes as long as so many rows of a packed one
};

// The last columns, fewer than SUM_LANES, of the rows and behind them of the weight, with zeros past the end: these are
// added to all lanes, so that -0 becomes 0. Out of line, since it would stand in every copy of dot_rows.
__attribute__((noinline)) static void fill_rest(int rows, ecd_dtype dtype, const ecd_linear_job *j, const ecd_pack *pack,
                                                int64_t channel, const float *x, int64_t stride, int64_t k,
                                                float rest[][SUM_LANES])
{
    const ecd_weight *scaled = ecd_block_scaled(j->op->w);
    int64_t left = j->op->w->cols - k;
    for (int i = 0; i < SUM_VECTORS; i++, k += LANES, left -= LANES) {
        for (int r = 0; r < rows; r++)
            vstore(rest[r] + i * LANES, left > 0 ? vload_some(ECD_F32, x + r * stride + k, left) : (vf){0});
        vstore(rest[ECD_LINEAR_SMALL] + i * LANES,
               left > 0 ? ecd_widen(dtype, pack, scaled, channel, k, left) : (vf){0});
    }
}

// sums[r * SLICE] = x[r] . w[channel] for `rows` rows, a constant at each call. A row has sums of its own (simd.h, vsum),
// so its order does not depend on the rows beside it.
ALWAYS_INLINE void dot_rows(const int rows, const ecd_dtype dtype, const ecd_linear_job *j, const ecd_pack *pack,
                            int64_t channel, const float *x, int64_t stride, float *sums)
{
    const ecd_weight *scaled = ecd_block_scaled(j->op->w);
    int64_t cols = j->op->w->cols, k = 0;
    vf sum[ECD_LINEAR_SMALL][SUM_VECTORS] = {0}, w[SUM_VECTORS];
    for (; k + SUM_LANES <= cols; k += SUM_LANES) {
#pragma GCC unroll 4
        for (int i = 0; i < SUM_VECTORS; i++)
            w[i] = ecd_widen(dtype, pack, scaled, channel, k + i * LANES, LANES);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int i = 0; i < SUM_VECTORS; i++)
                sum[r][i] = vfma(vload(x + r * stride + k + i * LANES), w[i], sum[r][i]);
    }
    if (k < cols) {
        float rest[ECD_LINEAR_SMALL + 1][SUM_LANES];
        fill_rest(rows, dtype, j, pack, channel, x, stride, k, rest);
#pragma GCC unroll 4
        for (int i = 0; i < SUM_VECTORS; i++)
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++)
                sum[r][i] = vfma(vload(rest[r] + i * LANES), vload(rest[ECD_LINEAR_SMALL] + i * LANES), sum[r][i]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
        sums[r * SLICE] = vsum(sum[r]);
}

ALWAYS_INLINE void dot_type(const int rows, const ecd_linear_job *j, const ecd_pack *pack, int64_t first,
                            int64_t channels, const float *x, int64_t stride, float *sums)
{
#define EACH(type)                                                                                                     \
    for (int64_t n = 0; n < channels; n++)                                                                             \
        dot_rows(rows, type, j, pack, first + n, x, stride, sums + n);                                                       \
    break;
    switch (pack->dtype) {
    case ECD_F16: EACH(ECD_F16)
    case ECD_BF16: EACH(ECD_BF16)
    case ECD_E4M3: EACH(ECD_E4M3)
    case ECD_E5M2: EACH(ECD_E5M2)
    default: EACH(ECD_F32)
    }
#undef EACH
}

static void run_slice(const ecd_linear_job *j, const ecd_pack *pack, int64_t first, int64_t channels, float *sums)
{
    int64_t cols = j->op->w->cols;
    for (int64_t row = 0, rows; row < j->rows; row += rows) {
        int64_t left = j->rows - row, stride = cols;
        rows = left >= ECD_LINEAR_SMALL ? ECD_LINEAR_SMALL : left >= 2 ? 2 : 1;
        const float *x = ecd_linear_rows(j, row, rows, 0, cols, false, sums + ECD_LINEAR_SMALL * SLICE, &stride);
        switch (rows) {
        case 1: dot_type(1, j, pack, first, channels, x, stride, sums); break;
        case 2: dot_type(2, j, pack, first, channels, x, stride, sums); break;
        default: dot_type(ECD_LINEAR_SMALL, j, pack, first, channels, x, stride, sums); break;
        }
        for (int64_t r = 0; r < rows; r++)
            ecd_linear_store(j, sums + r * SLICE, row + r, first, channels);
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    const ecd_linear_job *j = context;
    ecd_linear_slice s;
    float *scratch = ecd_cpu_scratch(j->be, thread);
    if (!ecd_linear_slice_of(j, part, (char *)scratch, &s))
        return;
    for (int64_t n = 0; n < s.channels; n += SLICE)
        run_slice(j, &s.pack, s.first + n, s.channels - n < SLICE ? s.channels - n : SLICE, scratch);
}

void ECD_NAME(linear_small)(ecd_linear_job *j)
{
    const ecd_weight *w = j->op->w;
    int64_t slices = (w->rows + SLICE - 1) / SLICE;
    j->slice = SLICE;
    if (w->coded) {
        j->cut = ecd_cpu_cut_of(w, 1, SMALL_COST, j->be->threads);
        slices = j->cut.parts;
    }
    ecd_linear_run(j, slices, (size_t)(ECD_LINEAR_SMALL * (SLICE + w->cols)) * sizeof(float), run_part, j);
}
