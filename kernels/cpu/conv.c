#include <stdlib.h>

#include "kernels/cpu/conv_weight.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

enum { DEPTH = 384 }; // terms of a sum that are added in one pass

typedef struct job {
    ecd_backend *be;
    const ecd_conv *op;
    int64_t in_height, in_width; // of the picture as the kernel sees it: after upsampling, without padding
    int64_t out_height, out_width;
    int64_t strip;        // output rows of a part
    int64_t padded_width; // input pixels of a row in scratch
} job;

ecd_conv_weight *ECD_NAME(conv_prepare)(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                        const float *bias)
{
    if (!ecd_shape_conv_weight(be, shape, w))
        return NULL;
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
    return packed;
}

static void widen_row(ecd_dtype act, const char *from, int64_t count, float *to)
{
    if (act == ECD_F32) {
        memcpy(to, from, (size_t)count * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < count; i += LANES)
        vstore_some(ECD_F32, to + i, vload_some(ECD_BF16, from + 2 * i, count - i), count - i);
}

// Row y of the picture with its padding, upsampled and widened, into scratch.
static void fill_row(const job *j, int64_t y, float *to)
{
    const ecd_conv_shape *s = &j->op->w->shape;
    ecd_dtype act = ecd_cpu_act(j->be);
    int64_t in = s->in_channels, grow = j->op->upsample ? 2 : 1;
    if (y < 0 || y >= j->in_height) {
        memset(to, 0, (size_t)(j->padded_width * in) * sizeof *to);
        return;
    }
    const char *from = (const char *)j->op->x + (size_t)(y / grow * j->op->width * in) * vsize(act);
    memset(to, 0, (size_t)(s->pad_before * in) * sizeof *to);
    to += s->pad_before * in;
    if (grow == 1) {
        widen_row(act, from, j->in_width * in, to);
        to += j->in_width * in;
    }
    for (int64_t x = 0; grow == 2 && x < j->op->width; x++, to += 2 * in) {
        widen_row(act, from + (size_t)(x * in) * vsize(act), in, to);
        memcpy(to + in, to, (size_t)in * sizeof *to);
    }
    memset(to, 0, (size_t)(s->pad_after * in) * sizeof *to);
}

// PANEL or fewer channels of a pixel, from channel `first`; the types are constants at each call.
ALWAYS_INLINE void store_pixel(const ecd_conv *op, const ecd_dtype act, const ecd_dtype type, const float *sum,
                               int64_t pixel, int64_t first)
{
    int64_t channels = op->w->shape.out_channels;
    for (int64_t n = 0; n < PANEL && first + n < channels; n += LANES) {
        int64_t left = channels - first - n;
        size_t at = (size_t)(pixel * channels + first + n);
        vf v = vload(sum + n) * vload(op->w->scale + first + n) + vload(op->w->bias + first + n);
        if (op->residual)
            v += vload_some(act, (const char *)op->residual + at * vsize(act), left);
        vstore_some(type, (char *)op->out + at * vsize(type), v, left);
    }
}

static void store_pixels(const job *j, const float *sums, int64_t pixel, int64_t count, int64_t first)
{
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    for (int64_t p = 0; p < count; p++, sums += PANEL) {
        if (!narrow)
            store_pixel(j->op, ECD_F32, ECD_F32, sums, pixel + p, first);
        else if (j->op->out_f32)
            store_pixel(j->op, ECD_BF16, ECD_F32, sums, pixel + p, first);
        else
            store_pixel(j->op, ECD_BF16, ECD_BF16, sums, pixel + p, first);
    }
}

static void run_panel(const job *j, const float *rows, int64_t n, int64_t y, int64_t count, float *sums)
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
    store_pixels(j, sums, y * width, count * width, n);
}

static void run_part(void *context, int64_t part, int thread)
{
    const job *j = context;
    const ecd_conv_shape *s = &j->op->w->shape;
    int64_t y = part * j->strip, count = j->out_height - y < j->strip ? j->out_height - y : j->strip;
    int64_t needed = (count - 1) * s->stride + s->kernel, row = j->padded_width * s->in_channels;
    float *sums = ecd_cpu_scratch(j->be, thread), *rows = sums + j->strip * j->out_width * PANEL;
    for (int64_t r = 0; r < needed; r++)
        fill_row(j, y * s->stride - s->pad_before + r, rows + r * row);
    for (int64_t n = 0; n < s->out_channels; n += PANEL)
        run_panel(j, rows, n, y, count, sums);
}

void ECD_NAME(conv)(ecd_backend *be, const ecd_conv *op)
{
    if (!ecd_backend_ok(be) || !ecd_shape_conv(be, &op->w->shape, op))
        return;
    const ecd_conv_shape *s = &op->w->shape;
    int64_t grow = op->upsample ? 2 : 1;
    job j = {be, op, op->height * grow, op->width * grow, ecd_conv_out(s, op->height * grow),
             ecd_conv_out(s, op->width * grow), 1, op->width * grow + s->pad_before + s->pad_after};
    while (j.strip < 8 && j.strip * j.out_width < 256 && j.out_height >= 4 * j.strip * be->threads)
        j.strip *= 2;
    int64_t rows = (j.strip - 1) * s->stride + s->kernel;
    size_t floats = (size_t)(j.strip * j.out_width * PANEL + rows * j.padded_width * s->in_channels);
    if (ecd_cpu_reserve(be, floats * sizeof(float)))
        ecd_pool_run(ecd_cpu_of(be)->pool, (j.out_height + j.strip - 1) / j.strip, run_part, &j);
}
