// Layers that transformers share, over a block's weights. A matrix is followed by its bias in the block's list.
#ifndef ECD_DIT_TRANSFORMER_LAYERS_H
#define ECD_DIT_TRANSFORMER_LAYERS_H

#include "kernels/backend.h"
#include "weights/store.h"

// out = epilogue(x w^T + b) of `rows` rows a picture, dense.
void ecd_layer_linear(ecd_backend *be, const ecd_block *b, int weight, int64_t pictures, int64_t rows, const void *x,
                      ecd_epilogue epilogue, bool out_f32, void *out);

// Queries, keys and values: out[i] (act) = x w^T + b of three layers of one x that follow each other in the block's list.
void ecd_layer_qkv(ecd_backend *be, const ecd_block *b, int q_weight, int64_t pictures, int64_t rows, const void *x,
                   void *const out[3]);

// x += gate (in w^T + b); a gate serves gate_rows rows, `stride` floats before the next.
void ecd_layer_gated(ecd_backend *be, const ecd_block *b, int weight, int64_t pictures, int64_t rows, const void *in,
                     float *x, const float *gate, int64_t gate_rows, int64_t stride);

typedef struct ecd_layer_modulation {
    const float *shift, *scale; // of the first group
    int64_t group_rows, stride; // rows that one vector serves, floats from one to the next
} ecd_layer_modulation;

// out := LayerNorm(x) (1 + scale) + shift, of x [rows, cols].
void ecd_layer_modulate(ecd_backend *be, const float *x, int64_t rows, int64_t cols, float eps, ecd_layer_modulation by,
                        void *out);

#endif
