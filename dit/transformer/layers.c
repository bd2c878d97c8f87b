#include "dit/transformer/layers.h"

void ecd_layer_linear(ecd_backend *be, const ecd_block *b, int weight, int64_t pictures, int64_t rows, const void *x,
                      ecd_epilogue epilogue, bool out_f32, void *out)
{
    ecd_linear op = {.w = &b->weights[weight],
                     .bias = b->vectors[weight + 1],
                     .pictures = pictures,
                     .rows = rows,
                     .x = x,
                     .out = out,
                     .out_f32 = out_f32,
                     .epilogue = epilogue};
    be->ops->linear(be, &op);
}

void ecd_layer_qkv(ecd_backend *be, const ecd_block *b, int q_weight, int64_t pictures, int64_t rows, const void *x,
                   void *const out[3])
{
    for (int i = 0; i < 3; i++) {
        const int weight = q_weight + 2 * i;
        const ecd_linear op = {.w = &b->weights[weight],
                               .bias = b->vectors[weight + 1],
                               .pictures = pictures,
                               .rows = rows,
                               .x = x,
                               .out = out[i],
                               .x_again = i > 0};
        be->ops->linear(be, &op);
    }
}

void ecd_layer_gated(ecd_backend *be, const ecd_block *b, int weight, int64_t pictures, int64_t rows, const void *in,
                     float *x, const float *gate, int64_t gate_rows, int64_t stride)
{
    ecd_linear op = {.w = &b->weights[weight],
                     .bias = b->vectors[weight + 1],
                     .pictures = pictures,
                     .rows = rows,
                     .x = in,
                     .out = x,
                     .out_f32 = true,
                     .epilogue = ECD_EPILOGUE_RESIDUAL,
                     .gate = gate,
                     .gate_rows = gate_rows,
                     .gate_stride = stride};
    be->ops->linear(be, &op);
}

void ecd_layer_modulate(ecd_backend *be, const float *x, int64_t rows, int64_t cols, float eps, ecd_layer_modulation by,
                        void *out)
{
    ecd_norm op = {.x = x,
                   .rows = rows,
                   .cols = cols,
                   .eps = eps,
                   .shift = by.shift,
                   .scale = by.scale,
                   .group_rows = by.group_rows,
                   .mod_stride = by.stride,
                   .out = out};
    be->ops->norm(be, &op);
}
