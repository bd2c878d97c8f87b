// The operations of one level, declared for its table.
#ifndef ECD_KERNELS_CPU_OPS_H
#define ECD_KERNELS_CPU_OPS_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

void ECD_NAME(linear)(ecd_backend *be, const ecd_linear *op);
void ECD_NAME(norm)(ecd_backend *be, const ecd_norm *op);
void ECD_NAME(attention)(ecd_backend *be, const ecd_attention *op);
void ECD_NAME(rope)(ecd_backend *be, const ecd_rope *op);
void ECD_NAME(to_act)(ecd_backend *be, const float *x, int64_t count, bool silu, void *out);
void ECD_NAME(to_f32)(ecd_backend *be, const void *x, int64_t count, float *out);
void ECD_NAME(combine)(ecd_backend *be, const ecd_combine *op);
void ECD_NAME(to_bytes)(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out);
void ECD_NAME(add_rows)(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out);
void ECD_NAME(group_norm)(ecd_backend *be, const ecd_group_norm *op);
void ECD_NAME(group_measure)(ecd_backend *be, const ecd_group_norm *op);
ecd_conv_weight *ECD_NAME(conv_prepare)(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                        const float *bias);
void ECD_NAME(conv)(ecd_backend *be, const ecd_conv *op);
void ECD_NAME(fill)(ecd_backend_ops *ops);

#endif
