// Experimental: a product of few rows whose weights are decoded where they are multiplied and never written to memory. A warp
// takes a tile, as in ecf8_decode.h; its lanes multiply what they decode by the activations, which lie in shared memory.
//
// Sums are f32 in an order that the weight's shape and tiles fix: a lane adds its weights of a row in turn, the lanes' sums are
// added in a butterfly, then the tiles' that the row lies in, the first first. So a row of activations gives the same bits
// beside whatever others. The order is another than a library's: with this, ECF8 and raw weights differ in the last bits.
#ifndef ECD_KERNELS_CUDA_ECF8_PRODUCT_H
#define ECD_KERNELS_CUDA_ECF8_PRODUCT_H

#include "kernels/cuda/ecf8_decode.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ECD_ECF8_PRODUCT_ROWS = 16 };

// Whether the container can be multiplied so: E4M3 in pairs, rows of whole groups, no patch over a code that may be NaN. `cols`:
// weights of a row, `rows` of activations at once, `shared_bytes` that a block can have on the device.
bool ecd_ecf8_product_fits(const ecf8_view *view, uint64_t cols, uint32_t rows, uint32_t shared_bytes);

// Bytes of device memory for the tiles' sums.
uint64_t ecd_ecf8_product_bytes(const ecf8_view *view, uint64_t cols, uint32_t rows);

typedef struct ecd_ecf8_product {
    const void *x; // BF16 [rows][cols], x_stride elements apart
    uint64_t x_stride, sums_stride;
    uint32_t rows, cols, channels; // channels: rows of the weight
    void *partials; // ecd_ecf8_product_bytes
    float *sums;    // [rows][channels], sums_stride apart
} ecd_ecf8_product;

// sums = x w^T. `plan`: of form BF16, its one part the whole tensor; image and status as ecd_ecf8_decode takes them. Returns a
// cudaError_t.
int ecd_ecf8_multiply(const ecd_ecf8_plan *plan, const void *image, const ecd_ecf8_product *p, uint32_t *status, void *stream);

#ifdef __cplusplus
}
#endif

#endif
