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

static void multiply_rows(const ecd_linear_job *j, const ecd_pack *pack, int64_t first, int64_t width, int64_t row,
                          int64_t rows, float *scratch)
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
            ECD_NAME(pack_panel)(pack, ecd_block_scaled(w), first + n, w->rows, k, depth, panel);
            ECD_NAME(gemm_panel)(rows, depth, x, stride, panel, sums + n, SLICE);
        }
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    const ecd_linear_job *j = context;
    ecd_linear_slice s;
    float *scratch = ecd_cpu_scratch(j->be, thread);
    int64_t begin = part % j->chunks * j->chunk, end = begin + j->chunk < j->rows ? begin + j->chunk : j->rows;
    if (!ecd_linear_slice_of(j, part / j->chunks, (char *)scratch, &s))
        return;
    for (int64_t row = begin; row < end; row += ROWS)
        for (int64_t n = 0; n < s.channels; n += SLICE) {
            int64_t rows = end - row < ROWS ? end - row : ROWS;
            int64_t first = s.first + n, channels = s.channels - n < SLICE ? s.channels - n : SLICE;
            multiply_rows(j, &s.pack, first, channels, row, rows, scratch);
            for (int64_t r = 0; r < rows; r++)
                ecd_linear_store(j, scratch + r * SLICE, row + r, first, channels);
        }
}

// How the work is cut decides nothing about the bits: two parts a thread, equally many for each, rows only if channels
// are few. The number of slices.
static int64_t cut_work(ecd_linear_job *j)
{
    int64_t threads = j->be->threads, channels = j->op->w->rows, slices = j->cut.parts;
    if (!j->op->w->coded) {
        int64_t parts = (channels + SLICE - 1) / SLICE;
        parts = parts < 2 * threads ? 2 * threads : (parts + threads - 1) / threads * threads;
        j->slice = ((channels + parts - 1) / parts + PANEL - 1) / PANEL * PANEL;
        slices = (channels + j->slice - 1) / j->slice;
    }
    while (slices * j->chunks < 2 * threads && j->rows > 2 * ROWS * j->chunks)
        j->chunks *= 2;
    j->chunk = (j->rows + j->chunks - 1) / j->chunks;
    return slices;
}

void ECD_NAME(linear)(ecd_backend *be, const ecd_linear *op)
{
    if (!ecd_shape_linear(be, op))
        return;
    const ecd_weight *w = op->w;
    ecd_linear_job j = {.be = be,
                        .op = op,
                        .pack = ecd_pack_of(w, be->compute),
                        .rows = op->pictures * op->rows,
                        .x_stride = ecd_stride_or(op->x_stride, w->cols),
                        .out_stride = ecd_stride_or(op->out_stride, w->rows),
                        .chunks = 1};
    if (j.rows < 1)
        return;
    if (op->rows <= ECD_LINEAR_SMALL) {
        ECD_NAME(linear_small)(&j);
        return;
    }
    if (ecd_cpu_wants_onednn(be) && ECD_NAME(linear_library)(&j))
        return;
    if (w->coded)
        j.cut = ecd_cpu_cut_of(w, PANEL, j.rows, be->threads);
    int64_t slices = cut_work(&j);
    ecd_linear_run(&j, slices, (size_t)(ROWS * SLICE + PANEL * DEPTH + ROWS * COPIED) * sizeof(float), run_part, &j);
}
