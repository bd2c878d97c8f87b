#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum {
    SLICE = 64,     // output channels whose weights are widened together
    ROWS = 128,     // rows of x that meet a slice before the next ones
    CACHED = 65536, // floats of a slice that stay in the second cache
    DEPTH = 384,    // input channels of a pass: a panel of them stays in the first cache
    COPIED = DEPTH + 16, // floats between rows that are copied: an odd number of cache lines
};

typedef struct job {
    ecd_backend *be;
    const ecd_linear *op;
    ecd_pack pack;
    int64_t rows, x_stride, out_stride, slice, chunk, chunks; // a part: `slice` channels of `chunk` rows
} job;

ALWAYS_INLINE vf finish(const ecd_linear *op, vf sum, int64_t channel, int64_t count)
{
    vf scale = vsplat(1.0f);
    if (op->w->scale_kind == ECD_SCALE_TENSOR)
        scale = vsplat(op->w->scale[0]);
    else if (op->w->scale_kind == ECD_SCALE_ROW)
        scale = vload_some(ECD_F32, op->w->scale + channel, count);
    vf v = sum * scale;
    if (op->bias)
        v += vload_some(ECD_F32, op->bias + channel, count);
    if (op->epilogue == ECD_EPILOGUE_GELU_TANH)
        return vgelu_tanh(v);
    return op->epilogue == ECD_EPILOGUE_SILU ? vsilu(v) : v;
}

static void store_row(const job *j, const float *sum, int64_t row, int64_t first, int64_t channels)
{
    const ecd_linear *op = j->op;
    bool residual = op->epilogue == ECD_EPILOGUE_RESIDUAL;
    ecd_dtype type = op->out_f32 || residual ? ECD_F32 : ecd_cpu_act(j->be);
    char *out = (char *)op->out + (size_t)(row * j->out_stride + first) * ecd_dtype_size(type);
    const float *gate = residual && op->gate ? op->gate + row / op->gate_rows * op->gate_stride + first : NULL;
    for (int64_t n = 0; n < channels; n += LANES) {
        char *to = out + (size_t)n * ecd_dtype_size(type);
        vf v = finish(op, vload(sum + n), first + n, channels - n);
        if (gate)
            v *= vload_some(ECD_F32, gate + n, channels - n);
        if (residual)
            v += vload_some(ECD_F32, to, channels - n);
        vstore_some(type, to, v, channels - n);
    }
}

// Activations as float: widened into `scratch` for BF16; f32 in place, unless the rows of a tile lie so far apart that
// they fall into the same few sets of the first cache (1.5 times slower at K = 1536 and 4608): then copied too.
static const float *widen_rows(const job *j, int64_t row, int64_t rows, int64_t k, int64_t depth, float *scratch,
                               int64_t *stride)
{
    const ecd_linear *op = j->op;
    *stride = j->x_stride;
    ecd_dtype act = ecd_cpu_act(j->be);
    if (act == ECD_F32 && j->x_stride % 256)
        return (const float *)op->x + row * j->x_stride + k;
    *stride = COPIED;
    for (int64_t r = 0; r < rows; r++) {
        const char *x = (const char *)op->x + (size_t)((row + r) * j->x_stride + k) * j->be->act_bytes;
        for (int64_t i = 0; i < depth; i += LANES)
            vstore_some(ECD_F32, scratch + r * COPIED + i,
                        vload_some(act, x + (size_t)i * j->be->act_bytes, depth - i), depth - i);
    }
    return scratch;
}

static void multiply_rows(const job *j, const float *panels, int64_t width, int64_t row, int64_t rows, float *sums,
                          float *scratch)
{
    int64_t cols = j->op->w->cols, stride;
    memset(sums, 0, (size_t)(rows * SLICE) * sizeof *sums);
    for (int64_t k = 0; k < cols; k += DEPTH) {
        int64_t depth = cols - k < DEPTH ? cols - k : DEPTH;
        const float *x = widen_rows(j, row, rows, k, depth, scratch, &stride);
        for (int64_t n = 0; n < width; n += PANEL)
            ECD_NAME(gemm_panel)(rows, depth, x, stride, panels + n * cols + k * PANEL, sums + n, SLICE);
    }
}

static void run_part(void *context, int64_t part, int thread)
{
    const job *j = context;
    const ecd_weight *w = j->op->w;
    float *panels = ecd_cpu_scratch(j->be, thread), *sums = panels + SLICE * w->cols, *x = sums + ROWS * SLICE;
    int64_t first = part / j->chunks * j->slice, begin = part % j->chunks * j->chunk;
    int64_t channels = w->rows - first < j->slice ? w->rows - first : j->slice;
    int64_t end = begin + j->chunk < j->rows ? begin + j->chunk : j->rows;
    for (int64_t n = 0; n < channels; n += PANEL)
        ECD_NAME(pack_panel)(&j->pack, ecd_block_scaled(w), first + n, w->rows, w->cols, panels + n * w->cols);
    for (int64_t row = begin; row < end; row += ROWS) {
        int64_t rows = end - row < ROWS ? end - row : ROWS;
        multiply_rows(j, panels, channels, row, rows, sums, x);
        for (int64_t r = 0; r < rows; r++)
            store_row(j, sums + r * SLICE, row + r, first, channels);
    }
}

void ECD_NAME(linear)(ecd_backend *be, const ecd_linear *op)
{
    if (!ecd_shape_linear(be, op))
        return;
    const ecd_weight *w = op->w;
    job j = {be, op, ecd_pack_of(w, be->compute), op->pictures * op->rows, ecd_stride_or(op->x_stride, w->cols),
             ecd_stride_or(op->out_stride, w->rows), SLICE, 0, 1};
    // How the work is cut decides nothing about the bits: enough parts for the threads, rows only if channels are few.
    while (j.slice > PANEL && (w->rows < 3 * j.slice * be->threads || j.slice * w->cols > CACHED))
        j.slice /= 2;
    int64_t slices = (w->rows + j.slice - 1) / j.slice;
    while (slices * j.chunks < 2 * be->threads && j.rows > 2 * ROWS * j.chunks)
        j.chunks *= 2;
    j.chunk = (j.rows + j.chunks - 1) / j.chunks;
    size_t floats = (size_t)(SLICE * w->cols + ROWS * SLICE + ROWS * COPIED);
    if (j.rows > 0 && ecd_cpu_reserve(be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(be)->pool, slices * j.chunks, run_part, &j);
}
