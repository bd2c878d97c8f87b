// What own convolutions and those by oneDNN share: the picture's rows as the kernel sees them, and what follows the sums.
#ifndef ECD_KERNELS_CPU_CONV_H
#define ECD_KERNELS_CPU_CONV_H

#include "kernels/cpu/conv_weight.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

typedef struct ecd_conv_job {
    ecd_backend *be;
    const ecd_conv *op;
    int64_t in_height, in_width; // of the picture as the kernel sees it: after upsampling, without padding
    int64_t out_height, out_width;
    int64_t strip;        // output rows of a part
    int64_t padded_width; // input pixels of a row in scratch
} ecd_conv_job;

static inline void ecd_conv_widen_row(ecd_dtype act, const char *from, int64_t count, float *to)
{
    if (act == ECD_F32) {
        memcpy(to, from, (size_t)count * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < count; i += LANES)
        vstore_some(ECD_F32, to + i, vload_some(ECD_BF16, from + 2 * i, count - i), count - i);
}

// Row y of the picture with its padding, upsampled and widened, into scratch.
static inline void ecd_conv_fill_row(const ecd_conv_job *j, int64_t y, float *to)
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
        ecd_conv_widen_row(act, from, j->in_width * in, to);
        to += j->in_width * in;
    }
    for (int64_t x = 0; grow == 2 && x < j->op->width; x++, to += 2 * in) {
        ecd_conv_widen_row(act, from + (size_t)(x * in) * vsize(act), in, to);
        memcpy(to + in, to, (size_t)in * sizeof *to);
    }
    memset(to, 0, (size_t)(s->pad_after * in) * sizeof *to);
}

// Finishes and stores PANEL or fewer channels of a pixel, from channel `first`; the types are constants at each call.
ALWAYS_INLINE void ecd_conv_store_pixel(const ecd_conv *op, const ecd_dtype act, const ecd_dtype type, const float *sum,
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

// Convolutions by oneDNN (onednn.h), as products over patches; false if it has none and nothing was done.
bool ECD_NAME(conv_library)(ecd_conv_job *j);

#endif
