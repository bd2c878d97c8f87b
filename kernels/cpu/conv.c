#include <stdlib.h>

#include "kernels/coded.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum {
    DEPTH = 384,    // terms of a sum that are added in one pass
    PART_ROWS = 16, // output rows of a part, about
};

// The weights once more, as oneDNN's products take them. Without memory for it own kernels serve.
static void keep_rows(ecd_backend *be, ecd_conv_weight *w)
{
    ecd_dtype act = ecd_cpu_act(be);
    int64_t cols = w->shape.kernel * w->shape.kernel * w->shape.in_channels;
    char *to = ecd_cpu_conv_keep(be, w, (size_t)(w->shape.out_channels * cols) * vsize(act));
    for (int64_t o = 0; to && o < w->shape.out_channels; o++)
        for (int64_t i = 0; i < cols; i++, to += vsize(act)) {
            float value = w->values[o / PANEL * PANEL * cols + i * PANEL + o % PANEL];
            uint16_t narrow = ecd_to_bf16(value);
            memcpy(to, act == ECD_BF16 ? (const void *)&narrow : &value, vsize(act));
        }
}

static ecd_conv_weight *prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w, const float *bias)
{
    int64_t in = shape->in_channels, taps = w->cols / in, panels = (w->rows + PANEL - 1) / PANEL;
    size_t padded = (size_t)(panels * PANEL);
    size_t size = (2 * padded + padded * (size_t)w->cols) * sizeof(float);
    ecd_conv_weight *packed = ecd_cpu_conv_new(be, shape, size);
    float *row = malloc((size_t)w->cols * PANEL * sizeof *row);
    if (!packed || !row) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %zu bytes for a convolution's weights", size);
        ecd_cpu_conv_free(be, packed);
        free(row);
        return NULL;
    }
    packed->bias = packed->values + padded * (size_t)w->cols;
    packed->scale = packed->bias + padded;
    ecd_pack pack = ecd_pack_of(w, be->compute);
    for (int64_t n = 0; n < panels * PANEL; n += PANEL) {
        ECD_NAME(pack_panel)(&pack, ecd_block_scaled(w), n, w->rows, 0, w->cols, row);
        float *panel = packed->values + n * w->cols; // [tap][in][PANEL], from torch's [in][tap]
        for (int64_t i = 0; i < w->cols; i++)
            memcpy(panel + (i % taps * in + i / taps) * PANEL, row + i * PANEL, PANEL * sizeof *row);
    }
    for (int64_t o = 0; o < (int64_t)padded; o++) {
        packed->bias[o] = bias && o < w->rows ? bias[o] : 0.0f;
        packed->scale[o] = o < w->rows ? ecd_weight_row_scale(w, o) : 0.0f;
    }
    free(row);
    if (ecd_cpu_wants_onednn(be))
        keep_rows(be, packed);
    return packed;
}

ecd_conv_weight *ECD_NAME(conv_prepare)(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                        const float *bias)
{
    ecd_weight elements;
    void *memory;
    if (!ecd_shape_conv_weight(be, shape, w))
        return NULL;
    ecd_conv_weight *packed = ecd_coded_expand(be, w, &elements, &memory) ? prepare(be, shape, &elements, bias) : NULL;
    free(memory);
    return packed;
}

static void run_panel(const ecd_conv_job *j, const float *rows, int64_t n, int64_t y, int64_t count, float *sums)
{
    const ecd_conv_shape *s = &j->op->w->shape;
    int64_t in = s->in_channels, deep = s->kernel * in, width = j->out_width;
    const float *panel = j->op->w->values + n * s->kernel * deep;
    memset(sums, 0, (size_t)(count * width * PANEL) * sizeof *sums);
    // The taps of a kernel row lie side by side in the picture and in the panel: one sum, in pieces whose panel stays in
    // the first cache.
    for (int64_t y_tap = 0; y_tap < s->kernel; y_tap++)
        for (int64_t k = 0; k < deep; k += DEPTH)
            for (int64_t r = 0; r < count; r++)
                ECD_NAME(gemm_panel)(width, deep - k < DEPTH ? deep - k : DEPTH,
                                     rows + (r * s->stride + y_tap) * j->padded_width * in + k, s->stride * in,
                                     panel + (y_tap * deep + k) * PANEL, sums + r * width * PANEL, PANEL);
    ecd_conv_store(j, sums, PANEL, y * width, count * width, n);
}

static void run_part(void *context, int64_t part, int thread)
{
    const ecd_conv_job *j = context;
    const ecd_conv_shape *s = &j->op->w->shape;
    int64_t y = j->first + part * j->part, end = y + j->part < j->end ? y + j->part : j->end, held = 0;
    float *sums = ecd_cpu_scratch(j->be, thread), *rows = sums + j->strip * j->out_width * PANEL;
    for (; y < end; y += j->strip) {
        int64_t count = end - y < j->strip ? end - y : j->strip, needed = (count - 1) * s->stride + s->kernel;
        int64_t kept = held && s->kernel > s->stride ? s->kernel - s->stride : 0;
        ecd_conv_slide_rows(j, y * s->stride - s->pad_before, kept, held, needed, rows);
        held = needed;
        for (int64_t n = 0; n < s->out_channels; n += PANEL)
            run_panel(j, rows, n, y, count, sums);
    }
}

void ECD_NAME(conv)(ecd_backend *be, const ecd_conv *op)
{
    if (!ecd_backend_ok(be) || !ecd_shape_conv(be, &op->w->shape, op))
        return;
    const ecd_conv_shape *s = &op->w->shape;
    int64_t grow = op->upsample ? 2 : 1;
    ecd_conv_job j = {.be = be,
                      .op = op,
                      .in_height = op->height * grow,
                      .in_width = op->width * grow,
                      .out_height = ecd_conv_out(s, op->height * grow),
                      .out_width = ecd_conv_out(s, op->width * grow),
                      .strip = 1,
                      .padded_width = op->width * grow + s->pad_before + s->pad_after,
                      .first = op->first_row};
    j.end = op->rows ? j.first + op->rows : j.out_height;
    if (op->norm)
        j.factors = ecd_group_factors_of(op->norm, s->in_channels);
    if (op->w->rows && ecd_cpu_wants_onednn(be) && ECD_NAME(conv_library)(&j))
        return;
    int64_t height = j.end - j.first;
    while (j.strip < 8 && j.strip * j.out_width < 256 && height >= 4 * j.strip * be->threads)
        j.strip *= 2;
    j.part = j.strip;
    while (j.part < PART_ROWS && height >= 8 * j.part * be->threads)
        j.part *= 2;
    int64_t rows = (j.strip - 1) * s->stride + s->kernel;
    size_t floats = (size_t)(j.strip * j.out_width * PANEL + rows * j.padded_width * s->in_channels);
    if (ecd_cpu_reserve(be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(be)->pool, (height + j.part - 1) / j.part, run_part, &j);
}
