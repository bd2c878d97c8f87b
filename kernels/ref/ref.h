// The reference backend: plain C in f32, the specification of every operation.
//
// Sums run in one fixed order and nothing is contracted (-ffp-contract=off), so its results are the same on every
// machine. Transcendental functions are taken in double and rounded once; statistics and softmax sums stay in double.
#ifndef ECD_KERNELS_REF_H
#define ECD_KERNELS_REF_H

#include "kernels/backend.h"

typedef struct ecd_ref {
    ecd_backend base;
    uint64_t held_bytes; // packed convolution weights
} ecd_ref;

void ecd_ref_linear(ecd_backend *be, const ecd_linear *op);
void ecd_ref_norm(ecd_backend *be, const ecd_norm *op);
void ecd_ref_attention(ecd_backend *be, const ecd_attention *op);
void ecd_ref_rope(ecd_backend *be, const ecd_rope *op);
void ecd_ref_to_act(ecd_backend *be, const float *x, int64_t count, bool silu, void *out);
void ecd_ref_to_f32(ecd_backend *be, const void *x, int64_t count, float *out);
void ecd_ref_add_rows(ecd_backend *be, const ecd_weight *table, const int64_t *ids, int64_t count, float *out);
void ecd_ref_patchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height, int64_t width,
                      int patch, void *out);
void ecd_ref_unpatchify(ecd_backend *be, const float *x, int64_t batch, int64_t channels, int64_t height,
                        int64_t width, int patch, bool channels_first, float *out);
void ecd_ref_combine(ecd_backend *be, const ecd_combine *op);
void ecd_ref_to_bytes(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, uint8_t *out);
ecd_conv_weight *ecd_ref_conv_prepare(ecd_backend *be, const ecd_conv_shape *shape, const ecd_weight *w,
                                      const float *bias);
void ecd_ref_conv_free(ecd_backend *be, ecd_conv_weight *w);
void ecd_ref_conv(ecd_backend *be, const ecd_conv *op);
void ecd_ref_group_norm(ecd_backend *be, const ecd_group_norm *op);
void ecd_ref_group_measure(ecd_backend *be, const ecd_group_norm *op);
void ecd_ref_to_channels_last(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, void *out);
void ecd_ref_to_channels_first(ecd_backend *be, const float *x, int64_t channels, int64_t pixels, float *out);

// out[i] = element (row, i) of the weight for i < cols, block scales applied; the scales of a tensor or row are not.
void ecd_ref_widen_row(const ecd_weight *w, int64_t row, float *out);

// One pixel of [channels] by op's measured, gamma, beta and silu.
void ecd_ref_group_apply(const ecd_group_norm *op, int64_t channels, const float *pixel, float *out);

float ecd_ref_silu(float v);
float ecd_ref_gelu_tanh(float v);
float ecd_ref_quick_gelu(float v);

#endif
