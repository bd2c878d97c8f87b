#include "kernels/cpu/gemm.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum {
    SLICE = 128,  // output channels of a part, at most
    ROWS = 256,   // rows of x that meet a slice before the next ones
    DEPTH = 256,  // input channels of a pass: a panel and a tile's rows of x stay in the first cache, x in the second
    COPIED = DEPTH + 16, // floats between rows that are copied: an odd number of cache lines
};

// A pass's input channels: passes of about equal length, whole vectors of the widest level.
static int64_t pass_depth(int64_t cols)
{
    int64_t passes = (cols + DEPTH - 1) / DEPTH;
    return ((cols + passes - 1) / passes + 15) / 16 * 16;
}

static void multiply_rows(const ecd_linear_job *j, int64_t first, int64_t width, int64_t row, int64_t rows,
                          float *scratch)
{
    const ecd_weight *w = j->op->w;
    float *sums = scratch, *panel = sums + ROWS * SLICE, *copies = panel + PANEL * DEPTH;
    int64_t pass = pass_depth(w->cols);
    // Rows whose distance is a multiple of 1 KiB fall into few sets of the first cache (1.5 times slower at K = 1536).
    bool copy = j->x_stride % 256 == 0;
    memset(sums, 0, (size_t)(rows * SLICE) * sizeof *sums);
    for (int64_t k = 0; k < w->cols; k += pass) {
        int64_t depth = w->cols - k < pass ? w->cols - k : pass, stride = COPIED;
        const float *x = ecd_linear_rows(j, row, rows, k, depth, copy, copies, &stride);
        for (int64_t n = 0; n < width; n += PANEL) {
            ECD_NAME(pack_panel)(&j->pack, ecd_block_scaled(w), first + n, w->rows, k, depth, panel);
            ECD_NAME(gemm_panel)(rows, depth, x, stride, panel, sums + n, SLICE);
        }
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    const ecd_linear_job *j = context;
    const ecd_weight *w = j->op->w;
    float *scratch = ecd_cpu_scratch(j->be, thread);
    int64_t first = part / j->chunks * j->slice, begin = part % j->chunks * j->chunk;
    int64_t channels = w->rows - first < j->slice ? w->rows - first : j->slice;
    int64_t end = begin + j->chunk < j->rows ? begin + j->chunk : j->rows;
    for (int64_t row = begin; row < end; row += ROWS) {
        int64_t rows = end - row < ROWS ? end - row : ROWS;
        multiply_rows(j, first, channels, row, rows, scratch);
        for (int64_t r = 0; r < rows; r++)
            ecd_linear_store(j, scratch + r * SLICE, row + r, first, channels);
    }
}

void ECD_NAME(linear)(ecd_backend *be, const ecd_linear *op)
{
    if (!ecd_shape_linear(be, op))
        return;
    const ecd_weight *w = op->w;
    ecd_linear_job j = {be, op, ecd_pack_of(w, be->compute), op->pictures * op->rows,
                        ecd_stride_or(op->x_stride, w->cols), ecd_stride_or(op->out_stride, w->rows), SLICE, 0, 1};
    if (op->rows <= ECD_LINEAR_SMALL) {
        if (j.rows > 0)
            ECD_NAME(linear_small)(&j);
        return;
    }
    if (j.rows > 0 && ecd_cpu_wants_onednn(be) && ECD_NAME(linear_library)(&j))
        return;
    // How the work is cut decides nothing about the bits: two parts a thread, equally many for each, rows only if
    // channels are few.
    int64_t threads = be->threads, parts = (w->rows + SLICE - 1) / SLICE;
    parts = parts < 2 * threads ? 2 * threads : (parts + threads - 1) / threads * threads;
    j.slice = ((w->rows + parts - 1) / parts + PANEL - 1) / PANEL * PANEL;
    int64_t slices = (w->rows + j.slice - 1) / j.slice;
    while (slices * j.chunks < 2 * threads && j.rows > 2 * ROWS * j.chunks)
        j.chunks *= 2;
    j.chunk = (j.rows + j.chunks - 1) / j.chunks;
    size_t floats = (size_t)(ROWS * SLICE + PANEL * DEPTH + ROWS * COPIED);
    if (j.rows > 0 && ecd_cpu_reserve(be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(be)->pool, slices * j.chunks, run_part, &j);
}
