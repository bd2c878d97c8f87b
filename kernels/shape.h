// Checks of an operation's arguments, shared by the backends. Each returns whether the operation may run: false after a
// failure (kept in the backend) and while an earlier one stands.
#ifndef ECD_KERNELS_SHAPE_H
#define ECD_KERNELS_SHAPE_H

#include "kernels/backend.h"

bool ecd_shape_weight(ecd_backend *be, const ecd_weight *w);
bool ecd_shape_linear(ecd_backend *be, const ecd_linear *op);
bool ecd_shape_norm(ecd_backend *be, const ecd_norm *op);
bool ecd_shape_attention(ecd_backend *be, const ecd_attention *op);
bool ecd_shape_rope(ecd_backend *be, const ecd_rope *op);
bool ecd_shape_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count);
bool ecd_shape_patches(ecd_backend *be, int64_t batch, int64_t channels, int64_t height, int64_t width, int patch);
bool ecd_shape_combine(ecd_backend *be, const ecd_combine *op);
bool ecd_shape_pixels(ecd_backend *be, int64_t channels, int64_t pixels);
bool ecd_shape_conv_weight(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w);
bool ecd_shape_conv(ecd_backend *be, const ecd_conv_shape *shape, const ecd_conv *op);
bool ecd_shape_group_norm(ecd_backend *be, const ecd_group_norm *op);

// A stride of 0 stands for a dense buffer.
static inline int64_t ecd_stride_or(int64_t stride, int64_t dense)
{
    return stride ? stride : dense;
}

// The scale that is applied to output channel `row` after the product; 1 for a block scale, applied before.
static inline float ecd_weight_row_scale(const ecd_weight *w, int64_t row)
{
    if (w->scale_kind == ECD_SCALE_TENSOR)
        return w->scale[0];
    return w->scale_kind == ECD_SCALE_ROW ? w->scale[row] : 1.0f;
}

#endif
