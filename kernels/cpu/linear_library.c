// Products by oneDNN. A part is a slice of output channels: widened once into this thread's scratch, then multiplied
// with each picture's rows by themselves, always in the same shape: bits depend on neither the batch nor the threads.
#include "kernels/cpu/linear.h"
#include "kernels/cpu/ops.h"

enum { SLICE = 64 };

typedef struct slices {
    const ecd_linear_job *job;
    ecd_onednn_product *whole, *last; // of SLICE channels, and of what is left
    size_t weights_bytes;
} slices;

static ecd_onednn_shape shape_of(const ecd_linear_job *j, int64_t channels)
{
    ecd_dtype act = ecd_cpu_act(j->be);
    return (ecd_onednn_shape){act, j->op->rows, channels, j->op->w->cols, j->x_stride, SLICE};
}

static void widen_slice(const ecd_linear_job *j, const ecd_pack *pack, int64_t first, int64_t channels, char *to)
{
    const ecd_weight *w = j->op->w, *scaled = ecd_block_scaled(w);
    ecd_dtype act = ecd_cpu_act(j->be);
    for (int64_t row = first; row < first + channels; row++, to += (size_t)w->cols * vsize(act))
        for (int64_t k = 0; k < w->cols; k += LANES) {
            int64_t count = w->cols - k < LANES ? w->cols - k : LANES;
            vstore_some(act, to + (size_t)k * vsize(act), ecd_widen(w->dtype, pack, scaled, row, k, count), count);
        }
}

static void multiply(const slices *s, const ecd_pack *pack, int64_t first, int64_t channels, int thread)
{
    const ecd_linear_job *j = s->job;
    const ecd_linear *op = j->op;
    char *weights = ecd_cpu_scratch(j->be, thread);
    float *sums = (float *)(weights + s->weights_bytes);
    widen_slice(j, pack, first, channels, weights);
    for (int64_t picture = 0; picture < op->pictures; picture++) {
        int64_t row = picture * op->rows;
        const char *x = (const char *)op->x + (size_t)(row * j->x_stride) * j->be->act_bytes;
        if (!ecd_onednn_multiply(channels == SLICE ? s->whole : s->last, thread, x, weights, sums))
            ecd_cpu_part_failed(j->be);
        for (int64_t r = 0; r < op->rows; r++)
            ecd_linear_store(j, sums + r * SLICE, row + r, first, channels);
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    const slices *s = context;
    ecd_linear_slice slice;
    if (!ecd_linear_slice_of(s->job, part, ecd_cpu_scratch(s->job->be, thread), &slice))
        return;
    for (int64_t n = 0; n < slice.channels; n += SLICE) {
        int64_t left = slice.channels - n;
        multiply(s, &slice.pack, slice.first + n, left < SLICE ? left : SLICE, thread);
    }
}

bool ECD_NAME(linear_library)(ecd_linear_job *j)
{
    ecd_onednn *library = ecd_cpu_of(j->be)->onednn;
    const ecd_weight *w = j->op->w;
    int64_t channels = w->rows, tail = channels % SLICE, parts = (channels + SLICE - 1) / SLICE;
    slices s = {.job = j};
    ecd_onednn_shape whole = shape_of(j, SLICE), last = shape_of(j, tail);
    if (channels >= SLICE && !(s.whole = ecd_onednn_product_of(library, &whole)))
        return false;
    if (tail && !(s.last = ecd_onednn_product_of(library, &last)))
        return false;
    s.weights_bytes = ((size_t)(SLICE * w->cols) * j->be->act_bytes + 63) / 64 * 64;
    j->slice = SLICE;
    if (w->coded) {
        j->cut = ecd_cpu_cut_of(w, SLICE, j->rows, j->be->threads);
        parts = j->cut.parts;
    }
    // A whole vector past the sums: the last row of a cut slice is read in whole vectors.
    size_t sums_bytes = (size_t)(j->op->rows * SLICE + LANES) * sizeof(float);
    ecd_linear_run(j, parts, s.weights_bytes + sums_bytes, run_part, &s);
    ecd_cpu_parts_done(j->be, "oneDNN failed to multiply");
    return true;
}
