// Convolutions by oneDNN: the patches of a strip of output pixels are laid out as rows and multiplied with the weights.
// Strips are the same for any number of threads, so the bits are too.
#include "kernels/cpu/conv.h"

enum { PIXELS = 256 }; // of a strip, about: its patches stay in the second cache

typedef struct strips {
    const ecd_conv_job *job;
    ecd_onednn_product *whole, *last;
    int64_t depth; // elements of a patch
    size_t patches_bytes, sums_bytes;
} strips;

static ecd_onednn_shape shape_of(const ecd_conv_job *j, int64_t rows)
{
    const ecd_conv_shape *s = &j->op->w->shape;
    int64_t depth = s->kernel * s->kernel * s->in_channels;
    return (ecd_onednn_shape){ecd_cpu_act(j->be), rows * j->out_width, s->out_channels, depth, depth, s->out_channels};
}

// The patches of an output row: for each pixel the kernel's rows, one after the other.
static void lay_patches(const ecd_conv_job *j, const float *rows, char *to)
{
    const ecd_conv_shape *s = &j->op->w->shape;
    ecd_dtype act = ecd_cpu_act(j->be);
    int64_t length = s->kernel * s->in_channels, row = j->padded_width * s->in_channels;
    for (int64_t x = 0; x < j->out_width; x++)
        for (int64_t y_tap = 0; y_tap < s->kernel; y_tap++, to += (size_t)length * vsize(act)) {
            const float *from = rows + y_tap * row + x * s->stride * s->in_channels;
            for (int64_t i = 0; i < length; i += LANES)
                vstore_some(act, to + (size_t)i * vsize(act), vload_some(ECD_F32, from + i, length - i), length - i);
        }
}

// A strip always has its place in the whole picture and all its rows, so that a product's shape, and with it the bits, do
// not depend on which rows are asked for. Rows that are not, zeros take part for and are not stored.
static void run_part(void *context, int64_t part, int thread)
{
    const strips *st = context;
    const ecd_conv_job *j = st->job;
    const ecd_conv_shape *s = &j->op->w->shape;
    int64_t y = (j->first / j->strip + part) * j->strip;
    int64_t count = j->out_height - y < j->strip ? j->out_height - y : j->strip;
    int64_t first = y > j->first ? y : j->first, end = y + count < j->end ? y + count : j->end;
    int64_t needed = (count - 1) * s->stride + s->kernel, row = j->padded_width * s->in_channels;
    char *patches = ecd_cpu_scratch(j->be, thread);
    float *sums = (float *)(patches + st->patches_bytes), *rows = (float *)((char *)sums + st->sums_bytes);
    for (int64_t r = 0; r < needed; r++) {
        bool seen = r >= (first - y) * s->stride && r < (end - 1 - y) * s->stride + s->kernel;
        ecd_conv_fill_row(j, seen ? y * s->stride - s->pad_before + r : -1, rows + r * row);
    }
    for (int64_t r = 0; r < count; r++)
        lay_patches(j, rows + r * s->stride * row, patches + (size_t)(r * j->out_width * st->depth) * j->be->act_bytes);
    if (!ecd_onednn_multiply(count == j->strip ? st->whole : st->last, thread, patches, j->op->w->rows, sums))
        ecd_cpu_part_failed(j->be);
    sums += (first - y) * j->out_width * s->out_channels;
    for (int64_t n = 0; n < s->out_channels; n += PANEL)
        ecd_conv_store(j, sums + n, s->out_channels, first * j->out_width, (end - first) * j->out_width, n);
}

static size_t aligned(int64_t elements, size_t element_bytes)
{
    return ((size_t)elements * element_bytes + 63) / 64 * 64;
}

bool ECD_NAME(conv_library)(ecd_conv_job *j)
{
    const ecd_conv_shape *s = &j->op->w->shape;
    ecd_onednn *library = ecd_cpu_of(j->be)->onednn;
    int64_t strip = j->out_width < PIXELS ? PIXELS / j->out_width : 1, before = j->strip;
    j->strip = strip < j->out_height ? strip : j->out_height;
    ecd_onednn_shape whole = shape_of(j, j->strip), last = shape_of(j, j->out_height % j->strip);
    strips st = {.job = j, .depth = whole.depth};
    st.whole = ecd_onednn_product_of(library, &whole);
    st.last = last.rows ? ecd_onednn_product_of(library, &last) : st.whole;
    if (!st.whole || !st.last) {
        j->strip = before;
        return false;
    }
    int64_t pixels = j->strip * j->out_width, rows = (j->strip - 1) * s->stride + s->kernel;
    st.patches_bytes = aligned(pixels * st.depth, j->be->act_bytes);
    st.sums_bytes = aligned(pixels * s->out_channels + PANEL, sizeof(float)); // the last panel is read whole
    size_t size = st.patches_bytes + st.sums_bytes + aligned(rows * j->padded_width * s->in_channels, sizeof(float));
    if (!ecd_cpu_reserve(j->be, size))
        return true; // the failure is kept
    ecd_pool_run(ecd_cpu_of(j->be)->pool, (j->end + j->strip - 1) / j->strip - j->first / j->strip, run_part, &st);
    ecd_cpu_parts_done(j->be, "oneDNN failed to multiply");
    return true;
}
