// FLUX.1 as single files of other programs have it, made of a diffusers folder whose weights are F32: linear weights of
// transformer and T5 cast to E4M3, the rest to BF16, the VAE as it is.
#ifndef ECD_TESTS_SINGLE_FILE_H
#define ECD_TESTS_SINGLE_FILE_H

#include <stdbool.h>

typedef enum single_scales {
    SINGLE_PLAIN,  // casts without scales
    SINGLE_TENSOR, // ComfyUI: "scale_weight" of one value, "scale_input", and the marker "scaled_fp8"
    SINGLE_ROWS,   // "weight_scale" [rows, 1]
    SINGLE_BLOCKS, // "weight_scale_inv" of 128 x 128 blocks
} single_scales;

typedef struct single_options {
    single_scales scales; // of the transformer: powers of two, so that the values are those of the casts, bit by bit
    bool bare;            // the transformer alone, without prefix
    bool diffsynth;       // transformer and T5 as a pipeline of DiffSynth names them
} single_options;

void write_single_file(const char *path, const char *folder, const single_options *options);

// A file of F32 tensors that count 1, 2, 3, ..., for tests of what is refused.
typedef struct single_tensor {
    const char *name;
    long long rows, cols; // cols 0: a vector
} single_tensor;
void write_odd_file(const char *path, const single_tensor *tensors, int count);

#endif
