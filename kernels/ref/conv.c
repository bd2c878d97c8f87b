#include <stdlib.h>
#include <string.h>

#include "kernels/coded.h"
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

static ecd_conv_weight *prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w, const float *bias)
{
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

ecd_conv_weight *ecd_ref_conv_prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
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

void ecd_ref_conv_free(ecd_backend *be, ecd_conv_weight *w)
{
    if (w)
        ((ecd_ref *)be)->held_bytes -= w->size_bytes;
    free(w);
}

// The rows of x that an output row's kernel sees, after upsampling: NULL in the padding.
typedef struct tap_rows {
    const float *at[3];
    int64_t stride; // from pixel to pixel
    float *normed;  // [kernel][width][in_channels], where x is normalised first
} tap_rows;

static void find_rows(const ecd_conv *op, int64_t out_y, tap_rows *rows)
{
    const ecd_conv_shape *s = &op->w->shape;
    int64_t grow = op->upsample ? 2 : 1, in = s->in_channels, stride = ecd_stride_or(op->x_stride, in);
    rows->stride = op->norm ? in : stride;
    for (int tap = 0; tap < s->kernel; tap++) {
        int64_t y = out_y * s->stride - s->pad_before + tap;
        const float *from = (const float *)op->x + y / grow * op->width * stride;
        float *normed = rows->normed + tap * op->width * in;
        rows->at[tap] = y < 0 || y >= op->height * grow ? NULL : op->norm ? normed : from;
        for (int64_t x = 0; rows->at[tap] && op->norm && x < op->width; x++)
            ecd_ref_group_apply(op->norm, in, from + x * stride, normed + x * in);
    }
}

// sum[o] over the taps in order of kernel row, kernel column, input channel.
static void convolve_pixel(const ecd_conv *op, const tap_rows *rows, int64_t out_x, float *sum)
{
    const ecd_conv_shape *s = &op->w->shape;
    int64_t grow = op->upsample ? 2 : 1;
    for (int64_t tap = 0; tap < s->kernel * s->kernel; tap++) {
        const float *row = rows->at[tap / s->kernel];
        int64_t x = out_x * s->stride - s->pad_before + tap % s->kernel;
        if (!row || x < 0 || x >= op->width * grow)
            continue;
        const float *in = row + x / grow * rows->stride, *w = op->w->values + tap * s->in_channels * s->out_channels;
        for (int64_t i = 0; i < s->in_channels; i++)
            for (int64_t o = 0; o < s->out_channels; o++)
                sum[o] += in[i] * w[i * s->out_channels + o];
    }
}

static void store_pixel(const ecd_conv *op, int64_t p, const float *sum)
{
    int64_t channels = op->w->shape.out_channels;
    const float *residual = op->residual;
    if (residual)
        residual += p * ecd_stride_or(op->residual_stride, channels);
    float *out = (float *)op->out + p * ecd_stride_or(op->out_stride, channels);
    for (int64_t o = 0; o < channels; o++) {
        float v = sum[o] * op->w->scale[o] + op->w->bias[o];
        out[o] = residual ? v + residual[o] : v;
    }
}

void ecd_ref_conv(ecd_backend *be, const ecd_conv *op)
{
    if (!ecd_backend_ok(be) || !ecd_shape_conv(be, &op->w->shape, op))
        return;
    const ecd_conv_shape *s = &op->w->shape;
    int64_t grow = op->upsample ? 2 : 1, channels = s->out_channels, normed = op->norm ? op->width * s->in_channels : 0;
    int64_t out_height = ecd_conv_out(s, op->height * grow), out_width = ecd_conv_out(s, op->width * grow);
    float *sum = malloc((size_t)(channels + s->kernel * normed) * sizeof *sum);
    if (!sum) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: a pixel of %lld channels", (long long)channels);
        return;
    }
    tap_rows rows = {.normed = sum + channels};
    for (int64_t y = op->first_row; y < (op->rows ? op->first_row + op->rows : out_height); y++) {
        find_rows(op, y, &rows);
        for (int64_t x = 0; x < out_width; x++) {
            memset(sum, 0, (size_t)channels * sizeof *sum);
            convolve_pixel(op, &rows, x, sum);
            store_pixel(op, y * out_width + x, sum);
        }
    }
    free(sum);
}
