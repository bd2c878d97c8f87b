// The CPU backend's packed convolution weights.
#ifndef ECD_KERNELS_CPU_CONV_WEIGHT_H
#define ECD_KERNELS_CPU_CONV_WEIGHT_H

#include "kernels/backend.h"

struct ecd_conv_weight {
    ecd_conv_shape shape;
    size_t size_bytes;
    float *values; // [panel of output channels][kernel row][kernel column][in][PANEL]
    float *bias;   // [out_channels up to a whole panel], zeros where there is none
    float *scale;  // likewise; applied after the sum
    void *rows;    // act [out_channels][kernel row][kernel column][in] for oneDNN, or NULL
};

// values of size_bytes, without content; NULL when memory is out.
ecd_conv_weight *ecd_cpu_conv_new(ecd_backend *be, const ecd_conv_shape *shape, size_t size_bytes);
// w->rows of size_bytes, without content, or NULL when memory is out.
void *ecd_cpu_conv_keep(ecd_backend *be, ecd_conv_weight *w, size_t size_bytes);
void ecd_cpu_conv_free(ecd_backend *be, ecd_conv_weight *w);

#endif
