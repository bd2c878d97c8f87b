// What own convolutions and those by oneDNN share: the picture's rows as the kernel sees them, and what follows the sums.
#ifndef ECD_KERNELS_CPU_CONV_H
#define ECD_KERNELS_CPU_CONV_H

#include "kernels/cpu/conv_weight.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/group_norm.h"
#include "kernels/shape.h"

typedef struct ecd_conv_job {
    ecd_backend *be;
    const ecd_conv *op;
    int64_t in_height, in_width; // of the picture as the kernel sees it: after upsampling, without padding
    int64_t out_height, out_width;
    int64_t strip;        // output rows that are summed together
    int64_t padded_width; // input pixels of a row in scratch
    int64_t first, end;   // output rows that are computed
    int64_t part;         // rows of a part: some strips, so that the rows between two strips are filled once
    ecd_group_factors factors; // where op->norm is there
} ecd_conv_job;

// A pixel as group_norm makes it: rounded to the type of activations as there, the bits are the same.
ALWAYS_INLINE void ecd_conv_norm_pixel_as(const ecd_conv_job *j, const ecd_dtype act, const bool silu, const char *pixel,
                                          float *to)
{
    int64_t in = j->op->w->shape.in_channels;
    for (int64_t c = 0; c < in; c += LANES) {
        vf v = ecd_group_apply(&j->factors, act, silu, pixel, c, in - c);
        if (act == ECD_BF16) {
            uint16_t narrow[LANES];
            vstore_some(ECD_BF16, narrow, v, LANES);
            v = vload_some(ECD_BF16, narrow, LANES);
        }
        vstore_some(ECD_F32, to + c, v, in - c);
    }
}

static inline void ecd_conv_norm_pixel(const ecd_conv_job *j, const char *pixel, float *to)
{
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    if (j->factors.silu)
        narrow ? ecd_conv_norm_pixel_as(j, ECD_BF16, true, pixel, to) : ecd_conv_norm_pixel_as(j, ECD_F32, true, pixel, to);
    else
        narrow ? ecd_conv_norm_pixel_as(j, ECD_BF16, false, pixel, to)
               : ecd_conv_norm_pixel_as(j, ECD_F32, false, pixel, to);
}

// `count` pixels, from x_stride apart to dense floats, normalised first where op->norm says so.
static inline void ecd_conv_widen_pixels(const ecd_conv_job *j, const char *from, int64_t count, float *to)
{
    ecd_dtype act = ecd_cpu_act(j->be);
    int64_t in = j->op->w->shape.in_channels, stride = ecd_stride_or(j->op->x_stride, in);
    if (j->op->norm) {
        for (int64_t p = 0; p < count; p++)
            ecd_conv_norm_pixel(j, from + (size_t)(p * stride) * vsize(act), to + p * in);
        return;
    }
    if (stride == in) { // all of them at once
        in *= count;
        count = 1;
    }
    for (int64_t p = 0; p < count; p++, from += (size_t)stride * vsize(act), to += in) {
        if (act == ECD_F32)
            memcpy(to, from, (size_t)in * sizeof *to);
        for (int64_t i = 0; act == ECD_BF16 && i < in; i += LANES)
            vstore_some(ECD_F32, to + i, vload_some(ECD_BF16, from + 2 * i, in - i), in - i);
    }
}

// Row y of the picture with its padding, upsampled and widened, into scratch.
static inline void ecd_conv_fill_row(const ecd_conv_job *j, int64_t y, float *to)
{
    const ecd_conv_shape *s = &j->op->w->shape;
    int64_t in = s->in_channels, grow = j->op->upsample ? 2 : 1, stride = ecd_stride_or(j->op->x_stride, in);
    if (y < 0 || y >= j->in_height) {
        memset(to, 0, (size_t)(j->padded_width * in) * sizeof *to);
        return;
    }
    size_t pixel = (size_t)stride * j->be->act_bytes;
    const char *from = (const char *)j->op->x + (size_t)(y / grow * j->op->width) * pixel;
    memset(to, 0, (size_t)(s->pad_before * in) * sizeof *to);
    to += s->pad_before * in;
    if (grow == 1) {
        ecd_conv_widen_pixels(j, from, j->in_width, to);
        to += j->in_width * in;
    }
    for (int64_t x = 0; grow == 2 && x < j->op->width; x++, to += 2 * in) {
        ecd_conv_widen_pixels(j, from + (size_t)x * pixel, 1, to);
        memcpy(to + in, to, (size_t)in * sizeof *to);
    }
    memset(to, 0, (size_t)(s->pad_after * in) * sizeof *to);
}

// Finishes and stores PANEL or fewer channels of a pixel, from channel `first`; the types are constants at each call.
ALWAYS_INLINE void ecd_conv_store_pixel(const ecd_conv *op, const ecd_dtype act, const ecd_dtype type, const float *sum,
                               int64_t pixel, int64_t first)
{
    int64_t channels = op->w->shape.out_channels;
    int64_t out = pixel * ecd_stride_or(op->out_stride, channels);
    int64_t residual = pixel * ecd_stride_or(op->residual_stride, channels);
    for (int64_t n = 0; n < PANEL && first + n < channels; n += LANES) {
        int64_t left = channels - first - n;
        size_t at = (size_t)(out + first + n), added = (size_t)(residual + first + n);
        vf v = vload(sum + n) * vload(op->w->scale + first + n) + vload(op->w->bias + first + n);
        if (op->residual)
            v += vload_some(act, (const char *)op->residual + added * vsize(act), left);
        vstore_some(type, (char *)op->out + at * vsize(type), v, left);
    }
}

// The same of `count` pixels, whose sums lie sums_stride apart.
static inline void ecd_conv_store(const ecd_conv_job *j, const float *sums, int64_t sums_stride, int64_t pixel,
                                  int64_t count, int64_t first)
{
    bool narrow = ecd_cpu_act(j->be) == ECD_BF16;
    for (int64_t p = 0; p < count; p++, sums += sums_stride) {
        if (!narrow)
            ecd_conv_store_pixel(j->op, ECD_F32, ECD_F32, sums, pixel + p, first);
        else if (j->op->out_f32)
            ecd_conv_store_pixel(j->op, ECD_BF16, ECD_F32, sums, pixel + p, first);
        else
            ecd_conv_store_pixel(j->op, ECD_BF16, ECD_BF16, sums, pixel + p, first);
    }
}

// Sees to it that scratch holds the `needed` rows from row y of the picture on, of which the last `kept` of the call before
// (0 at first) stay: they move to the front.
static inline void ecd_conv_slide_rows(const ecd_conv_job *j, int64_t y, int64_t kept, int64_t before, int64_t needed,
                                       float *rows)
{
    int64_t row = j->padded_width * j->op->w->shape.in_channels;
    memmove(rows, rows + (before - kept) * row, (size_t)(kept * row) * sizeof *rows);
    for (int64_t r = kept; r < needed; r++)
        ecd_conv_fill_row(j, y + r, rows + r * row);
}

// Convolutions by oneDNN (onednn.h), as products over patches; false if it has none and nothing was done.
bool ECD_NAME(conv_library)(ecd_conv_job *j);

#endif
