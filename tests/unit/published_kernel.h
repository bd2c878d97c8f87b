// A reader of published ECF8 0.2.0 that shares no code with libecf8: written from the description of the method, it
// goes the way of a GPU. Each thread has 8 bytes of the stream, its gap, and a look-ahead of 2 bytes; a first pass
// counts each thread's weights, a sum over the block's threads gives their places, a second pass writes.
#ifndef ECD_TESTS_PUBLISHED_KERNEL_H
#define ECD_TESTS_PUBLISHED_KERNEL_H

#include <stdint.h>

typedef struct published_arrays {
    const uint8_t *luts, *encoded, *packed_other_4bits, *gaps, *output_positions;
    uint32_t n_luts;                       // rows
    uint64_t n_bytes, n_gaps, n_positions; // of encoded; bytes of gaps; entries of output_positions
    uint64_t n_elements;
} published_arrays;

// 0, or the number of the rule that the arrays break, as published_kernel.c numbers them. `out` has n_elements.
int published_kernel_decode(const published_arrays *in, uint32_t threads_per_block, uint8_t *out);

#endif
