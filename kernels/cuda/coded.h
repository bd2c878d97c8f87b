// Weights that stay ECF8 on the device, between the files that hold them (coded.c) and multiply them (coded_linear.c).
#ifndef ECD_KERNELS_CUDA_CODED_H
#define ECD_KERNELS_CUDA_CODED_H

#include "kernels/coded.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/ecf8_product.h"

// A plan for the weight, and its image on the device.
typedef struct ecd_coded_image {
    ecd_ecf8_plan plan;
    const void *there;
} ecd_coded_image;

struct ecd_coded_held {
    ecf8_view view;
    int64_t rows, cols, chunk_rows;
    uint32_t chunks;
    ecd_dtype dtype; // that chunks are decoded to
    void *memory;    // device: the container, the images, status
    size_t size_bytes;
    ecd_coded_image used, checked; // chunks to `dtype`; chunks to their own type, for checksums
    ecd_coded_image whole;         // all in one, for ecd_ecf8_multiply
    bool multiplies;               // `whole` is there
    uint32_t *status, *host_status;
    size_t status_count;
};

// Rows of a chunk of a weight of so many columns, coded or not; and those of a weight's chunk, of which the last has fewer.
int64_t ecd_cuda_chunk_rows(ecd_backend *be, int64_t cols);
int64_t ecd_cuda_chunk_height(const ecd_coded_held *h, uint32_t chunk);

// Puts a chunk into the next slot, on the decoding stream; operations queued from now on see it. Returns where its first row is,
// NULL after a failure. ecd_cuda_chunk_used once the operations that read it are queued.
const char *ecd_cuda_chunk_decode(ecd_backend *be, const ecd_coded_held *h, const ecd_coded_image *from, uint32_t chunk,
                                  bool checksums, size_t element_bytes);
void ecd_cuda_chunk_used(ecd_backend *be);

// Compares the CRC of each tile, and waits for it. False after keeping a failure.
bool ecd_cuda_coded_check(ecd_backend *be, ecd_coded_held *h, ecd_coded *coded);

#endif
