#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "kernels/shape.h"

struct ecd_conv_weight {
    ecd_conv_shape shape;
    size_t size_bytes;
    float *bias;    // [out_channels], zeros where there is none
    float *scale;   // [out_channels], applied after the sum
    float values[]; // [kernel row][kernel column][in][out], then bias, then scale
};

static void pack(ecd_conv_weight *packed, const ecd_weight *w, const float *bias, float *row)
{
    int64_t in = packed->shape.in_channels, out = packed->shape.out_channels, taps = w->cols / in;
    for (int64_t o = 0; o < out; o++) {
        ecd_ref_widen_row(w, o, row);
        for (int64_t i = 0; i < in; i++)
            for (int64_t tap = 0; tap < taps; tap++)
                packed->values[(tap * in + i) * out + o] = row[i * taps + tap];
        packed->bias[o] = bias ? bias[o] : 0.0f;
        packed->scale[o] = ecd_weight_row_scale(w, o);
    }
}

ecd_conv_weight *ecd_ref_conv_prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                      const float *bias)
{
    if (!ecd_shape_conv_weight(be, shape, w))
        return NULL;
    size_t count = (size_t)(w->rows * w->cols);
    size_t size = sizeof(ecd_conv_weight) + (count + 2 * (size_t)w->rows) * sizeof(float);
    ecd_conv_weight *packed = malloc(size);
    float *row = malloc((size_t)w->cols * sizeof *row);
    if (packed && row) {
        packed->shape = *shape;
        packed->size_bytes = size;
        packed->bias = packed->values + count;
        packed->scale = packed->bias + w->rows;
        pack(packed, w, bias, row);
        ((ecd_ref *)be)->held_bytes += size;
    } else {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %zu bytes for a convolution's weights", size);
        free(packed);
        packed = NULL;
    }
    free(row);
    return packed;
}

void ecd_ref_conv_free(ecd_backend *be, ecd_conv_weight *w)
{
    if (w)
        ((ecd_ref *)be)->held_bytes -= w->size_bytes;
    free(w);
}

// The input pixel (y, x) of the picture as the kernel sees it, after upsampling; NULL in the padding.
static const float *pixel(const ecd_conv *op, int64_t y, int64_t x)
{
    int64_t grow = op->upsample ? 2 : 1;
    if (y < 0 || x < 0 || y >= op->height * grow || x >= op->width * grow)
        return NULL;
    return (const float *)op->x + (y / grow * op->width + x / grow) * op->w->shape.in_channels;
}

// sum[o] over the taps in order of kernel row, kernel column, input channel.
static void convolve_pixel(const ecd_conv *op, int64_t out_y, int64_t out_x, float *sum)
{
    const ecd_conv_shape *s = &op->w->shape;
    for (int64_t tap = 0; tap < s->kernel * s->kernel; tap++) {
        const float *in = pixel(op, out_y * s->stride - s->pad_before + tap / s->kernel,
                                out_x * s->stride - s->pad_before + tap % s->kernel);
        const float *w = op->w->values + tap * s->in_channels * s->out_channels;
        for (int64_t i = 0; in && i < s->in_channels; i++)
            for (int64_t o = 0; o < s->out_channels; o++)
                sum[o] += in[i] * w[i * s->out_channels + o];
    }
}

void ecd_ref_conv(ecd_backend *be, const ecd_conv *op)
{
    if (!ecd_backend_ok(be) || !ecd_shape_conv(be, &op->w->shape, op))
        return;
    const ecd_conv_shape *s = &op->w->shape;
    int64_t grow = op->upsample ? 2 : 1, out_channels = s->out_channels;
    int64_t out_height = ecd_conv_out(s, op->height * grow), out_width = ecd_conv_out(s, op->width * grow);
    float *sum = malloc((size_t)out_channels * sizeof *sum);
    if (!sum) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a pixel of %lld channels", (long long)out_channels);
        return;
    }
    for (int64_t p = 0; p < out_height * out_width; p++) {
        memset(sum, 0, (size_t)out_channels * sizeof *sum);
        convolve_pixel(op, p / out_width, p % out_width, sum);
        for (int64_t o = 0; o < out_channels; o++) {
            float v = sum[o] * op->w->scale[o] + op->w->bias[o];
            if (op->residual)
                v += ((const float *)op->residual)[p * out_channels + o];
            ((float *)op->out)[p * out_channels + o] = v;
        }
    }
    free(sum);
}
